//! When the store is opened, and when again if it could not be.

use std::time::Duration;

use contract::Now;

/// How far the store is that is opened with the first durable message.
#[derive(Debug, Default)]
pub(super) struct Opening {
    is_running: bool,
    failed: Option<Failed>,
}

/// Why it could not be opened.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Failure {
    pub(super) what: String,
    /// Much may have been read before it failed.
    pub(super) is_costly: bool,
}

#[derive(Debug)]
struct Failed {
    failure: Failure,
    /// When it is tried again, on the monotonic clock.
    next_ns: u64,
    wait: Duration,
}

impl Opening {
    /// Whether it is to be opened now, by the caller: [`Opening::ended`] is to follow.
    pub(super) fn begin(&mut self, now: Now) -> bool {
        let is_due = self.failed.as_ref().is_none_or(|failed| failed.next_ns <= now.mono_ns);
        let begins = !self.is_running && is_due;
        self.is_running |= begins;
        begins
    }

    /// Whether it is being opened.
    pub(super) const fn is_running(&self) -> bool {
        self.is_running
    }

    /// It is open, or why not. Returns whether that is something else than the last time.
    pub(super) fn ended(&mut self, failure: Option<Failure>, now: Now) -> bool {
        self.is_running = false;
        let before = self.failed.take();
        let Some(failure) = failure else { return true };
        let longer = before.as_ref().filter(|_| failure.is_costly);
        let wait = longer.map_or(RETRY_MIN, |failed| (2 * failed.wait).min(RETRY_MAX));
        let is_new = before.is_none_or(|failed| failed.failure != failure);
        self.failed = Some(Failed { failure, next_ns: now.after(wait), wait });
        is_new
    }
}

/// Until a store that could not be opened is tried again: twice as long each time if that is costly,
const RETRY_MIN: Duration = Duration::from_secs(1);
/// up to this.
const RETRY_MAX: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use contract::Now;

    use super::{Failure, Opening};

    #[test]
    fn what_fails_is_tried_less_and_less_often_and_told_once() {
        let (mut opening, mut begun) = (Opening::default(), Vec::new());
        for second in 0..250 {
            if opening.begin(at(second)) {
                assert!(!opening.begin(at(second)), "one at a time");
                assert_eq!(opening.ended(Some(damaged()), at(second)), begun.is_empty());
                begun.push(second);
            }
        }
        assert_eq!(begun, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]);
        assert!(opening.begin(at(303)));
        assert!(opening.ended(Some(locked()), at(303)), "another failure is news");
        assert!(opening.begin(at(304)));
        assert!(!opening.ended(Some(locked()), at(304)));
        assert!(opening.begin(at(305)), "a lock costs nothing to look at");
        assert!(opening.ended(None, at(305)));
        assert!(opening.begin(at(305)), "it does not wait where it did not fail");
    }

    fn damaged() -> Failure {
        Failure { what: "damaged".into(), is_costly: true }
    }

    fn locked() -> Failure {
        Failure { what: "locked".into(), is_costly: false }
    }

    fn at(seconds: u64) -> Now {
        Now { unix_ms: 0, mono_ns: seconds * 1_000_000_000 }
    }
}
