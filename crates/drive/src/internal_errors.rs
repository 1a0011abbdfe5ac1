//! What [`contract::internal!`] reports in release builds, for the log and `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

static COUNT: AtomicU64 = AtomicU64::new(0);

/// Counts and logs internal errors from now on.
pub fn watch() {
    contract::set_internal_error_hook(record);
}

/// Internal errors since the start.
pub fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

fn record(error: &'static str) {
    let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    // A bug that each message meets must not fill the log.
    if count.is_power_of_two() {
        tracing::error!(error, count, "internal error: a bug, please report it");
    }
}
