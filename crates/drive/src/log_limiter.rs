//! Log lines about what may happen thousands of times a second.

use std::time::Duration;

use contract::Now;

/// Allows `LINES` a second, and counts those that were left out since.
#[derive(Debug, Default)]
pub struct LogLimiter<const LINES: u32 = 1> {
    next_mono_ns: u64,
    logged: u32,
    missed: u64,
}

impl<const LINES: u32> LogLimiter<LINES> {
    /// Whether to log now, and how often it was not done since the last time.
    pub fn due(&mut self, now: Now) -> Option<u64> {
        if now.mono_ns >= self.next_mono_ns {
            self.next_mono_ns = now.after(PERIOD);
            self.logged = 0;
        }
        if self.logged >= LINES {
            self.missed += 1;
            return None;
        }
        self.logged += 1;
        Some(std::mem::take(&mut self.missed))
    }
}

const PERIOD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_line_a_second() {
        let mut limiter = LogLimiter::<1>::default();
        let at = |ms: u64| Now { mono_ns: 1_000_000 * ms, unix_ms: 0 };
        let said: Vec<_> = (0..3000).filter_map(|ms| limiter.due(at(ms))).collect();
        assert_eq!(said, [0, 999, 999]);
    }

    #[test]
    fn a_few_at_a_time_are_all_said() {
        let mut limiter = LogLimiter::<3>::default();
        let at = |ms: u64| Now { mono_ns: 1_000_000 * ms, unix_ms: 0 };
        let said: Vec<_> = [0, 1, 2, 3, 4, 1000, 1001, 5000].map(|ms| limiter.due(at(ms))).into();
        let few = Some(0);
        assert_eq!(said, [few, few, few, None, None, Some(2), few, few]);
    }
}
