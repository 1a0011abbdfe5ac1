//! Memory that goes back to the system.
//!
//! What glibc frees of a thread's heap below what is still in use stays with the process: after a
//! flood of peers that read nothing that is hundreds of MiB.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::time;

use crate::tasks;

/// Cores say here that much has been freed.
#[derive(Debug, Default)]
pub(crate) struct Freed(AtomicBool);

impl Freed {
    /// This much has to be freed before it is worth the work.
    pub(crate) const WORTH_BYTES: usize = 32 << 20;

    /// Much has been freed.
    pub(crate) fn tell(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Gives free memory back when it has been told, and when many `connections` have gone; looks
    /// every few seconds, for ever.
    pub(crate) async fn give_back(&self, connections: impl Fn() -> usize) {
        let mut connections_max = 0;
        loop {
            // What is freed in the meantime comes along.
            time::sleep(PAUSE).await;
            let connections = connections();
            connections_max = connections_max.max(connections);
            let is_told = self.0.swap(false, Ordering::Relaxed);
            if connections_max - connections < MANY_CONNECTIONS && !is_told {
                continue;
            }
            connections_max = connections;
            // It takes milliseconds, in which no other heap is locked but the one that is looked at.
            if let Err(error) = tasks::thread("memory", trim) {
                tracing::debug!(%error, "free memory stays with the process");
            }
        }
    }
}

#[cfg(target_env = "gnu")]
fn trim() {
    #[expect(unsafe_code, reason = "a function of the C library")]
    // SAFETY: it takes a number, and may be called from any thread at any time.
    let _given_back = unsafe { libc::malloc_trim(0) };
}

/// Other allocators have ways of their own.
#[cfg(not(target_env = "gnu"))]
fn trim() {}

const PAUSE: Duration = Duration::from_secs(5);
/// What a thousand TLS handshakes leave is some 15 MiB.
const MANY_CONNECTIONS: usize = 1000;
