use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::{
    plan::{Latency, Order, Round},
    system,
};

/// A warm-up, then the time in which one counts.
#[derive(Debug)]
pub(crate) struct Window {
    began: Instant,
    warm: Duration,
    length: Duration,
    processes: Vec<u32>,
    /// When counting started, and the CPU time then.
    start: Option<(Instant, u64)>,
    counts: bool,
    round: Round,
    latencies: Histogram<u64>,
    pace: Option<f64>,
    due: u64,
}

impl Window {
    pub(crate) fn new(order: &Order, processes: Vec<u32>) -> Self {
        let (warm_ms, ms, pace) = match order {
            Order::Flood { warm_ms, ms } => (*warm_ms, *ms, None),
            Order::Pace { warm_ms, ms, per_second } => (*warm_ms, *ms, Some(*per_second)),
            Order::Count { .. } | Order::Grow { .. } | Order::Return { .. } => (0, 0, None),
        };
        Self {
            began: Instant::now(),
            warm: Duration::from_millis(warm_ms),
            length: Duration::from_millis(ms),
            processes,
            start: None,
            counts: false,
            round: Round::default(),
            latencies: Histogram::new_with_bounds(1, 60_000_000_000, 3)
                .unwrap_or_else(|_| unreachable!("valid bounds")),
            pace,
            due: 0,
        }
    }

    /// Looks at the clock; false once the time is over.
    pub(crate) fn goes_on(&mut self) -> bool {
        match self.start {
            None => {
                if self.began.elapsed() >= self.warm {
                    self.start = Some((Instant::now(), system::cpu_ns(&self.processes)));
                    self.counts = true;
                }
                true
            }
            Some((start, cpu_ns)) => {
                let elapsed = start.elapsed();
                if elapsed < self.length {
                    return true;
                }
                self.round.cpu_ns = system::cpu_ns(&self.processes).saturating_sub(cpu_ns);
                self.round.elapsed_ns = nanos(elapsed);
                false
            }
        }
    }

    pub(crate) fn is_paced(&self) -> bool {
        self.pace.is_some()
    }

    /// The time, since the window began, of the next message that should have been sent by now.
    pub(crate) fn next_due(&mut self) -> Option<u64> {
        let due_ns = (self.due as f64 * 1e9 / self.pace?) as u64;
        (due_ns <= self.now_ns()).then(|| {
            self.due += 1;
            due_ns
        })
    }

    pub(crate) fn now_ns(&self) -> u64 {
        nanos(self.began.elapsed())
    }

    pub(crate) fn count(&mut self, messages: usize, bytes: usize) {
        if self.counts {
            self.round.messages += messages as u64;
            self.round.bytes += bytes as u64;
        }
    }

    /// A message has come that should have been sent at `due_ns`.
    pub(crate) fn note_latency(&mut self, due_ns: u64, now_ns: u64) {
        if self.counts {
            self.latencies.saturating_record(now_ns.saturating_sub(due_ns));
        }
    }

    /// What comes from now on does not count.
    pub(crate) fn stop(&mut self) {
        self.counts = false;
    }

    pub(crate) fn finish(mut self) -> Round {
        if !self.latencies.is_empty() {
            let at = |quantile| self.latencies.value_at_quantile(quantile) / 1000;
            self.round.latency = Some(Latency {
                p50_us: at(0.5),
                p99_us: at(0.99),
                p999_us: at(0.999),
                max_us: self.latencies.max() / 1000,
            });
        }
        self.round
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
