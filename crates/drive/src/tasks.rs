//! The one place where tasks and threads start.

use std::{io, thread};

/// Starts a task on this core. It must not block.
pub fn local(task: impl Future<Output = ()> + 'static) {
    #[expect(clippy::disallowed_methods, reason = "the one place where tasks start")]
    drop(tokio::task::spawn_local(task));
}

/// Starts a thread.
///
/// # Errors
/// When the kernel has no more threads.
pub fn thread<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<thread::JoinHandle<T>> {
    thread::Builder::new().name(name.to_owned()).spawn(run)
}
