//! Log lines about what may happen thousands of times a second.

use std::time::Duration;

use contract::Now;

/// Lets through one line in a while, with how many were kept back since.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    next_mono_ns: u64,
    missed: u64,
}

impl Seldom {
    /// Whether to log now, and how often it was not done since the last time.
    pub(crate) fn due(&mut self, now: Now) -> Option<u64> {
        if now.mono_ns < self.next_mono_ns {
            self.missed += 1;
            return None;
        }
        self.next_mono_ns = now.after(PAUSE);
        Some(std::mem::take(&mut self.missed))
    }
}

const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_line_a_second() {
        let mut seldom = Seldom::default();
        let at = |ms: u64| Now { mono_ns: 1_000_000 * ms, unix_ms: 0 };
        let said: Vec<_> = (0..3000).filter_map(|ms| seldom.due(at(ms))).collect();
        assert_eq!(said, [0, 999, 999]);
    }
}
