//! What came of an attack, and the table of all.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use crate::honest::{Notes, Sample, Visit};

/// What came of one attack.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) figures: Option<Figures>,
    /// What should have been otherwise.
    pub(crate) faults: Vec<String>,
}

/// What was measured.
#[derive(Debug)]
pub(crate) struct Figures {
    /// p99 of the honest echo before, during and after.
    pub(crate) echo_p99: [Option<Duration>; 3],
    /// The slowest new connection of each kind, during and after.
    pub(crate) visits: Vec<(Visit, Option<Duration>, usize)>,
    /// Bytes at the start, at most, and in the end.
    pub(crate) memory: [u64; 3],
}

/// When the attack began and ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) begin: Instant,
    pub(crate) end: Instant,
}

/// Where a time lies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    Before,
    During,
    After,
}

impl Times {
    /// Where a time lies.
    pub(crate) fn phase(self, at: Instant) -> Phase {
        if at < self.begin {
            Phase::Before
        } else if at < self.end {
            Phase::During
        } else {
            Phase::After
        }
    }
}

impl Figures {
    pub(crate) fn new(notes: &Notes, kinds: &[Visit], times: Times, memory: [u64; 3]) -> Self {
        let echo_p99 = [Phase::Before, Phase::During, Phase::After].map(|phase| {
            let samples = notes.echo.iter().filter(|sample| times.phase(sample.at) == phase);
            p99(samples.filter_map(|sample| sample.result.as_ref().ok().copied()).collect())
        });
        let visits = kinds.iter().map(|&kind| {
            let during = |(visit, sample): &&(Visit, Sample)| {
                *visit == kind && times.phase(sample.at) == Phase::During
            };
            let during = notes.visits.iter().filter(during).map(|(_, sample)| &sample.result);
            let failed = during.clone().filter(|result| result.is_err()).count();
            let worst = during.filter_map(|result| result.as_ref().ok().copied()).max();
            (kind, worst, failed)
        });
        Self { echo_p99, visits: visits.collect(), memory }
    }
}

fn p99(mut latencies: Vec<Duration>) -> Option<Duration> {
    latencies.sort_unstable();
    let index = (latencies.len() * 99).div_ceil(100).checked_sub(1)?;
    latencies.get(index).copied()
}

/// The table, in Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut table = String::from(
        "| attack | echo p99 before | during | after | slowest new connection during | memory \
         start | peak | final | |\n|---|--:|--:|--:|---|--:|--:|--:|---|\n",
    );
    for row in rows {
        let verdict = if row.faults.is_empty() { "held" } else { "FAILED" };
        let cells = row.figures.as_ref().map_or_else(
            || " | | | | | | ".to_owned(),
            |figures| {
                let [before, during, after] = figures.echo_p99.map(shown);
                let [start, peak, last] = figures.memory.map(mebibytes);
                let visits: Vec<String> = figures.visits.iter().map(visit).collect();
                let visits = visits.join(", ");
                format!("{before} | {during} | {after} | {visits} | {start} | {peak} | {last}")
            },
        );
        // A string takes all that is written to it.
        let _ = writeln!(table, "| {} | {cells} | {verdict} |", row.name);
    }
    table
}

fn visit((kind, worst, failed): &(Visit, Option<Duration>, usize)) -> String {
    let failed = if *failed > 0 { format!(" ({failed} refused)") } else { String::new() };
    format!("{} {}{failed}", kind.name(), shown(*worst))
}

/// Nothing is left of a gateway that has ended.
fn mebibytes(bytes: u64) -> String {
    if bytes == 0 { "-".to_owned() } else { format!("{} MiB", bytes >> 20) }
}

fn shown(latency: Option<Duration>) -> String {
    latency.map_or_else(
        || "-".to_owned(),
        |latency| match latency.as_secs_f64() {
            secs if secs < 0.01 => format!("{:.1} ms", secs * 1e3),
            secs if secs < 1.0 => format!("{:.0} ms", secs * 1e3),
            secs => format!("{secs:.1} s"),
        },
    )
}
