use crate::{
    compare::{Cell, Entry, Figure},
    plan::{Latency, Round},
};

/// The figures of a cell, as text.
pub(crate) fn cell(cell: &Cell) -> String {
    let mut text = format!("\n{}: {}\n", cell.scenario, cell.name);
    let Some(first) = cell.entries.first() else { return text };
    for entry in &cell.entries {
        let mut line = format!("  {:<18}", entry.name);
        // Some are only paced.
        if !entry.rounds.is_empty() {
            let cpu_us = median(entry, Round::cpu_ns_each) / 1000.0;
            line += &format!(" {cpu_us:>8.2} µs {:>10.0}/s", median(entry, Round::per_second));
        }
        if let Some(latency) = latency(entry) {
            line += &format!(
                "  p50 {:>6} p99 {:>6} p99.9 {:>6} µs",
                latency.p50_us, latency.p99_us, latency.p999_us
            );
        }
        if entry.name != first.name
            && let Some(ratio) = Ratio::of(first, entry)
        {
            line += &format!("  {} is {ratio} of it", first.name);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A figure, as text.
pub(crate) fn figure(figure: &Figure) -> String {
    let Figure { scenario, who, what, value, unit, most } = figure;
    let most =
        most.map(|most| format!(" (at most {most:.4})").replace(".0000", "")).unwrap_or_default();
    let value = if *value < 100.0 { format!("{value:.2}") } else { format!("{value:.0}") };
    format!("{scenario}: {who}: {what}: {value} {unit}{most}\n")
}

/// What one needs for what another needs 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ratio {
    pub(crate) mean: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Ratio {
    /// The geometric mean of the pairs' ratios of CPU time, with their quartiles.
    pub(crate) fn of(one: &Entry, other: &Entry) -> Option<Self> {
        let pairs = one.rounds.iter().zip(&other.rounds);
        let pairs = pairs.filter_map(|(a, b)| Some((a.as_ref()?, b.as_ref()?)));
        let mut ratios: Vec<f64> = pairs.map(|(a, b)| a.cpu_ns_each() / b.cpu_ns_each()).collect();
        ratios.retain(|ratio| ratio.is_finite() && *ratio > 0.0);
        ratios.sort_by(f64::total_cmp);
        let mean = geometric_mean(&ratios)?;
        let at =
            |part: f64| ratios.get((part * (ratios.len() - 1) as f64).round() as usize).copied();
        Some(Self { mean, low: at(0.25)?, high: at(0.75)? })
    }
}

impl std::fmt::Display for Ratio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} [{:.2}–{:.2}]", self.mean, self.low, self.high)
    }
}

/// How many times as much another needs.
pub(crate) fn gain(one: &Entry, other: &Entry) -> Option<f64> {
    if one.name == other.name { None } else { Ratio::of(one, other).map(|ratio| 1.0 / ratio.mean) }
}

pub(crate) fn geometric_mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty())
        .then(|| (values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp())
}

/// The middle one of the rounds' figures.
pub(crate) fn median(entry: &Entry, figure: fn(&Round) -> f64) -> f64 {
    let mut figures: Vec<f64> = entry.rounds.iter().flatten().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The latency of the paced rounds, or of those where each waits for the one before: of each figure the
/// middle one.
pub(crate) fn latency(entry: &Entry) -> Option<Latency> {
    let rounds = if entry.paced.is_empty() { &entry.rounds } else { &entry.paced };
    let all: Vec<Latency> = rounds.iter().flatten().filter_map(|round| round.latency).collect();
    let middle = |figure: fn(&Latency) -> u64| {
        let mut figures: Vec<u64> = all.iter().map(figure).collect();
        figures.sort_unstable();
        figures.get(figures.len() / 2).copied()
    };
    Some(Latency {
        p50_us: middle(|latency| latency.p50_us)?,
        p99_us: middle(|latency| latency.p99_us)?,
        p999_us: middle(|latency| latency.p999_us)?,
        max_us: middle(|latency| latency.max_us)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_that_of_pairs_and_leaves_out_failed_rounds() {
        let entry = |cpu: &[u64]| {
            let round = |cpu_ns: &u64| {
                (*cpu_ns > 0).then(|| Round { messages: 1, cpu_ns: *cpu_ns, ..Round::default() })
            };
            Entry {
                name: String::new(),
                rounds: cpu.iter().map(round).collect(),
                paced: Vec::new(),
            }
        };
        let ratio = Ratio::of(&entry(&[10, 30, 40, 7]), &entry(&[20, 30, 20, 0])).unwrap();
        assert!((ratio.mean - 1.0).abs() < 1e-9, "{ratio}");
        assert!(Ratio::of(&entry(&[]), &entry(&[])).is_none());
    }
}
