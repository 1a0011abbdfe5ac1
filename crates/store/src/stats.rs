//! What a store counts, for who watches it.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use broker::StoreStats;

use crate::{log::lock, writer::Store};

/// Written by the writer alone.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    appended_bytes: AtomicU64,
    batches: AtomicU64,
    syncs: AtomicU64,
    sync_ns: AtomicU64,
    is_disk_full: AtomicBool,
}

impl Counts {
    pub(crate) fn appended(&self, bytes: usize) {
        self.appended_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn appended_bytes(&self) -> u64 {
        self.appended_bytes.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(crate) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    pub(crate) fn synced(&self, took: Duration) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sync_ns.fetch_add(took_ns, Ordering::Relaxed);
    }

    pub(crate) fn stored(&self, batches: usize) {
        self.batches.fetch_add(batches as u64, Ordering::Relaxed);
    }

    pub(crate) fn set_disk_full(&self, is_disk_full: bool) {
        self.is_disk_full.store(is_disk_full, Ordering::Relaxed);
    }
}

impl Store {
    /// What it has done since it was opened, and what it holds.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = &*self.shared.counts;
        let index = lock(self.reader.index());
        StoreStats {
            appended_bytes: get(&counts.appended_bytes),
            batches: get(&counts.batches),
            syncs: get(&counts.syncs),
            sync_time: Duration::from_nanos(get(&counts.sync_ns)),
            segments: index.segments.len(),
            segment_bytes: index.segments.values().map(|segment| segment.bytes).sum(),
            messages: index.messages(),
            is_disk_full: counts.is_disk_full.load(Ordering::Relaxed),
        }
    }
}
