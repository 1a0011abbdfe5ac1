//! What came of an attack, and the table of all.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use crate::{
    honest::{Notes, Sample, Visit},
    ledger::Count,
};

/// What came of one attack.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) figures: Option<Figures>,
    /// What should have been otherwise.
    pub(crate) faults: Vec<String>,
    /// Why it was not run.
    pub(crate) skipped: Option<String>,
}

/// What was measured.
#[derive(Debug)]
pub(crate) struct Figures {
    /// p99 of the honest echo before, during and after.
    pub(crate) echo_p99: [Option<Duration>; 3],
    /// p99 of the time until a RECEIPT, during.
    pub(crate) send_p99: Option<Duration>,
    /// The slowest new connection of each kind, during and after.
    pub(crate) visits: Vec<(Visit, Option<Duration>, usize)>,
    /// Confirmed messages, and those lost of them; unless the gateway ended with the attack.
    pub(crate) count: Option<Count>,
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
    pub(crate) fn new(
        notes: &Notes,
        kinds: &[Visit],
        times: Times,
        count: Option<Count>,
        memory: [u64; 3],
    ) -> Self {
        let p99 = |samples: &[Sample], phase| {
            let samples = samples.iter().filter(|sample| times.phase(sample.at) == phase);
            p99(samples.filter_map(|sample| sample.result.as_ref().ok().copied()).collect())
        };
        let echo_p99 =
            [Phase::Before, Phase::During, Phase::After].map(|phase| p99(&notes.echo, phase));
        let send_p99 = p99(&notes.sends, Phase::During);
        let visits = kinds.iter().map(|&kind| {
            let during = |(visit, sample): &&(Visit, Sample)| {
                *visit == kind && times.phase(sample.at) == Phase::During
            };
            let during = notes.visits.iter().filter(during).map(|(_, sample)| &sample.result);
            let failed = during.clone().filter(|result| result.is_err()).count();
            let worst = during.filter_map(|result| result.as_ref().ok().copied()).max();
            (kind, worst, failed)
        });
        Self { echo_p99, send_p99, visits: visits.collect(), count, memory }
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
        "| attack | echo p99 before | during | after | RECEIPT p99 during | slowest new connection \
         during | confirmed messages lost | memory start | peak | final | |\n\
         |---|--:|--:|--:|--:|---|--:|--:|--:|--:|---|\n",
    );
    for row in rows {
        let verdict = match &row.skipped {
            Some(why) => &format!("not run: {why}"),
            None if row.faults.is_empty() => "held",
            None => "FAILED",
        };
        let cells = row.figures.as_ref().map_or_else(
            || " | | | | | | | | ".to_owned(),
            |figures| {
                let [before, during, after] = figures.echo_p99.map(shown);
                let [start, peak, last] = figures.memory.map(mebibytes);
                let visits: Vec<String> = figures.visits.iter().map(visit).collect();
                let (send, visits) = (shown(figures.send_p99), visits.join(", "));
                let lost = figures.count.map_or_else(
                    || "-".to_owned(),
                    |count| format!("{} of {}", count.lost, count.confirmed),
                );
                format!(
                    "{before} | {during} | {after} | {send} | {visits} | {lost} | {start} | {peak} \
                     | {last}"
                )
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
