use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use contract::Now;

/// Counts failed logins by key; each is forgotten after a while.
///
/// A key's count falls by one each minute. A full table drops the key whose count would reach zero
/// first: keys with the most failures stay.
#[derive(Debug)]
pub(crate) struct Failures<K> {
    records: BTreeMap<K, Record>,
    /// The keys by when they are forgotten.
    ends: BTreeSet<(u64, K)>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    /// When the count is zero, which says what it is now.
    end_ns: u64,
    /// No login of this key is checked before.
    until_ns: u64,
}

impl Record {
    fn count(self, now: Now) -> u32 {
        let count = self.end_ns.saturating_sub(now.mono_ns).div_ceil(FORGOTTEN_NS);
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

impl<K: Copy + Ord> Failures<K> {
    /// Keys that are remembered.
    pub(crate) const KEYS_MAX: usize = 10_000;
    /// More is not counted: all is forgotten after half an hour.
    const COUNT_MAX: u64 = 30;

    pub(crate) const fn new() -> Self {
        Self { records: BTreeMap::new(), ends: BTreeSet::new() }
    }

    /// Failures that are not forgotten yet.
    pub(crate) fn count(&self, key: K, now: Now) -> u32 {
        self.records.get(&key).map_or(0, |record| record.count(now))
    }

    /// The time before which no login of this key is checked.
    pub(crate) fn until(&self, key: K) -> u64 {
        self.records.get(&key).map_or(0, |record| record.until_ns)
    }

    /// Counts one more. `delay` is the delay after `n` failures.
    pub(crate) fn add(&mut self, key: K, now: Now, delay: impl FnOnce(u32) -> Duration) {
        let before_ns = self.remove(key).map_or(0, |record| record.end_ns);
        while let Some(&(end_ns, first)) = self.ends.first()
            && (end_ns <= now.mono_ns || self.records.len() >= Self::KEYS_MAX)
        {
            self.remove(first);
        }
        let end_ns = (before_ns.max(now.mono_ns) + FORGOTTEN_NS)
            .min(now.mono_ns + Self::COUNT_MAX * FORGOTTEN_NS);
        let mut record = Record { end_ns, until_ns: 0 };
        record.until_ns = now.after(delay(record.count(now)));
        self.insert(key, record);
    }

    /// Forgets half of them.
    pub(crate) fn halve(&mut self, key: K, now: Now) {
        if let Some(record) = self.remove(key)
            && record.end_ns > now.mono_ns
        {
            let end_ns = now.mono_ns + (record.end_ns - now.mono_ns) / 2;
            self.insert(key, Record { end_ns, ..record });
        }
    }

    /// Forgets them.
    pub(crate) fn remove_all(&mut self, key: K) {
        self.remove(key);
    }

    fn insert(&mut self, key: K, record: Record) {
        self.records.insert(key, record);
        self.ends.insert((record.end_ns, key));
    }

    fn remove(&mut self, key: K) -> Option<Record> {
        let record = self.records.remove(&key)?;
        self.ends.remove(&(record.end_ns, key));
        Some(record)
    }
}

/// Time in which one failure is forgotten: a minute.
const FORGOTTEN_NS: u64 = 60_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        Now { mono_ns: seconds * 1_000_000_000, unix_ms: 0 }
    }

    fn second(_: u32) -> Duration {
        Duration::from_secs(1)
    }

    #[test]
    fn failures_are_forgotten_one_by_one() {
        let mut failures = Failures::new();
        for _ in 0..3 {
            failures.add(7, at(10), second);
        }
        let counts = [10, 69, 70, 71, 130, 189, 190, 1000].map(|s| failures.count(7, at(s)));
        assert_eq!(counts, [3, 3, 2, 2, 1, 1, 0, 0]);
        assert_eq!((failures.count(8, at(10)), failures.until(8)), (0, 0));
        assert_eq!(failures.until(7), at(11).mono_ns);
        for _ in 0..100 {
            failures.add(7, at(20), second);
        }
        assert_eq!(failures.count(7, at(20)), 30);
        failures.halve(7, at(20));
        assert_eq!(failures.count(7, at(20)), 15);
        failures.remove_all(7);
        assert_eq!(failures.count(7, at(20)), 0);
    }

    #[test]
    fn a_full_table_keeps_the_keys_with_most_failures() {
        let mut failures = Failures::new();
        failures.add(0, at(0), second);
        failures.add(0, at(0), second);
        for key in 1..=2 * Failures::<usize>::KEYS_MAX {
            failures.add(key, at(1), second);
        }
        assert_eq!(failures.records.len(), Failures::<usize>::KEYS_MAX);
        assert_eq!(failures.ends.len(), failures.records.len());
        assert_eq!(failures.count(0, at(1)), 2);
        failures.add(1, at(1000), second);
        assert_eq!(failures.records.len(), 1, "all others are forgotten");
    }
}
