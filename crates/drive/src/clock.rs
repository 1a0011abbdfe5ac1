//! The one place where time is read.

use std::{
    sync::OnceLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use contract::Now;
use rustix::time::{ClockId, clock_gettime};

/// Both clocks.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place where time is read")]
pub fn now() -> Now {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(Instant::now);
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now {
        mono_ns: u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX),
        unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX),
    }
}

/// The time in microseconds since 1970-01-01 UTC.
#[must_use]
pub fn unix_us() -> u64 {
    let now = clock_gettime(ClockId::Realtime);
    u64::try_from(now.tv_sec * 1_000_000 + now.tv_nsec / 1000).unwrap_or_default()
}

/// CLOCK_MONOTONIC in microseconds, as systemd compares it with its own.
#[must_use]
pub fn monotonic_us() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}
