//! When the store is opened, and when again if it could not be.

use std::time::Duration;

use contract::Now;

/// How far the store is that is opened with the first durable message.
#[derive(Debug, Default)]
pub(super) struct Opening {
    /// It is being opened, since then on the monotonic clock.
    since_ns: Option<u64>,
    failed: Option<Failed>,
}

#[derive(Debug)]
struct Failed {
    error: String,
    /// When it is tried again, on the monotonic clock.
    next_ns: u64,
    wait: Duration,
}

impl Opening {
    /// Whether it is to be opened now, by the caller: [`Opening::ended`] is to follow.
    pub(super) fn begin(&mut self, now: Now) -> bool {
        let is_due = self.failed.as_ref().is_none_or(|failed| failed.next_ns <= now.mono_ns);
        let begins = self.since_ns.is_none() && is_due;
        if begins {
            self.since_ns = Some(now.mono_ns);
        }
        begins
    }

    /// Since when it is being opened.
    pub(super) const fn since_ns(&self) -> Option<u64> {
        self.since_ns
    }

    /// It is open, or why not. Returns whether that is something else than the last time.
    pub(super) fn ended(&mut self, error: Option<String>, now: Now) -> bool {
        self.since_ns = None;
        let before = self.failed.take();
        let Some(error) = error else { return true };
        let wait = before.as_ref().map_or(RETRY_MIN, |failed| (2 * failed.wait).min(RETRY_MAX));
        let is_new = before.is_none_or(|failed| failed.error != error);
        self.failed = Some(Failed { error, next_ns: now.after(wait), wait });
        is_new
    }
}

/// Until a store that could not be opened is tried again: twice as long each time,
const RETRY_MIN: Duration = Duration::from_secs(1);
/// up to this, since a large one takes a while to read.
const RETRY_MAX: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use contract::Now;

    use super::Opening;

    #[test]
    fn what_fails_is_tried_less_and_less_often_and_told_once() {
        let mut opening = Opening::default();
        let at = |seconds: u64| Now { unix_ms: 0, mono_ns: seconds * 1_000_000_000 };
        let mut begun = Vec::new();
        for second in 0..250 {
            if opening.begin(at(second)) {
                assert!(!opening.begin(at(second)), "one at a time");
                assert_eq!(opening.ended(Some("damaged".into()), at(second)), begun.is_empty());
                begun.push(second);
            }
        }
        assert_eq!(begun, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]);
        assert!(opening.begin(at(303)));
        assert!(opening.ended(Some("locked".into()), at(303)), "another error is news");
        assert!(opening.begin(at(363)));
        assert!(opening.ended(None, at(363)));
        assert!(opening.begin(at(363)), "it does not wait where it did not fail");
    }
}
