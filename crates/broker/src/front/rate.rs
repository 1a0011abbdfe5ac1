use std::num::NonZero;

/// How many messages a second a subscription gets at most: a token bucket, as the time from which the
/// next one may come.
#[derive(Debug)]
pub(super) struct Rate {
    interval_ns: u64,
    next_mono_ns: u64,
}

impl Rate {
    pub(super) fn new(per_second: NonZero<u32>) -> Self {
        Self { interval_ns: 1_000_000_000 / u64::from(per_second.get()), next_mono_ns: 0 }
    }

    /// When the next message may come.
    pub(super) const fn next_mono_ns(&self) -> u64 {
        self.next_mono_ns
    }

    pub(super) const fn allows_one(&self, mono_ns: u64) -> bool {
        self.next_mono_ns <= mono_ns
    }

    /// A message comes. What was not used of the last tenth of a second may still be: time is seen to
    /// pass in such steps.
    pub(super) fn take_one(&mut self, mono_ns: u64) {
        let unused_since = mono_ns.saturating_sub(BURST_NS);
        self.next_mono_ns = self.next_mono_ns.max(unused_since) + self.interval_ns;
    }
}

/// As [`crate::Event::Timeout`] is expected.
const BURST_NS: u64 = 100_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// How many come in ten seconds, when it is tried so often.
    fn count(per_second: u32, step_ms: u64) -> usize {
        let mut rate = Rate::new(NonZero::new(per_second).unwrap());
        let mut count = 0;
        for step in 0..10_000 / step_ms {
            let now = 5_000_000_000 + step * step_ms * 1_000_000;
            while rate.allows_one(now) {
                rate.take_one(now);
                count += 1;
            }
        }
        count
    }

    #[test]
    fn a_rate_is_kept_on_average() {
        for per_second in [1, 3, 10, 50, 1_000, 1_000_000] {
            for step_ms in [1, 10, 100] {
                let (count, all) = (count(per_second, step_ms), 10 * per_second as usize);
                // With what was unused before the first, and what time is left after the last step.
                let burst = per_second as usize / 10 + 1;
                assert!((all - burst..=all + burst).contains(&count), "{per_second}: {count}");
            }
        }
    }

    #[test]
    fn what_was_not_used_long_ago_is_lost() {
        let mut rate = Rate::new(NonZero::new(10).unwrap());
        rate.take_one(1_000_000_000);
        let now = 60_000_000_000;
        let burst = std::iter::repeat_with(|| rate.allows_one(now).then(|| rate.take_one(now)));
        assert_eq!(burst.take_while(Option::is_some).count(), 2);
    }
}
