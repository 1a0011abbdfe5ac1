//! Memory that goes back to the kernel.
//!
//! What glibc frees of a thread's heap below what is still in use stays with the process: after a
//! flood of peers that read nothing that is hundreds of MiB.

use std::time::Duration;

use drive::{Cores, tasks};
use tokio::time;

/// Returns free memory to the kernel when cores have freed much, and when many connections have
/// gone; looks every few seconds, for ever.
pub(crate) async fn give_back(cores: &Cores) {
    let mut connections_max = 0;
    loop {
        // What is freed in the meantime comes along.
        time::sleep(PAUSE).await;
        let connections = cores.connections();
        connections_max = connections_max.max(connections);
        let has_freed = cores.take_freed();
        if connections_max - connections < MANY_CONNECTIONS && !has_freed {
            continue;
        }
        connections_max = connections;
        // It takes milliseconds, in which no other heap is locked but the one that is looked at.
        if let Err(error) = tasks::thread("memory", trim) {
            tracing::debug!(%error, "free memory stays with the process");
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
