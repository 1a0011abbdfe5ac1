//! What to do where a look-up that cannot fail does.

use std::sync::OnceLock;

/// Reports a state that the code around it makes impossible: a bug of Passerelle, never something
/// that a peer or an operator did.
///
/// Panics in tests and debug builds. In release builds the hook of [`set_internal_error_hook`] is
/// told, and the caller goes on as if what it looked up were gone. Where a thing may be gone, a
/// plain `else { return }` is right.
///
/// ```should_panic
/// # let (mut queues, id) = (std::collections::BTreeMap::<u32, u32>::new(), 1);
/// let Some(queue) = queues.get_mut(&id) else {
///     return contract::internal!("a consumer of a queue that does not exist");
/// };
/// # *queue += 1;
/// ```
#[macro_export]
macro_rules! internal {
    ($what:literal) => {
        $crate::report_internal_error(::std::concat!(
            ::std::file!(),
            ":",
            ::std::line!(),
            ": ",
            $what
        ))
    };
}

static HOOK: OnceLock<fn(&'static str)> = OnceLock::new();

/// Sets what release builds call with the place and the text of an [`internal!`] error: once, at
/// the start of the process. A later call changes nothing.
pub fn set_internal_error_hook(hook: fn(&'static str)) {
    // The first one stays.
    let _ = HOOK.set(hook);
}

/// What [`internal!`] calls.
///
/// # Panics
/// In debug builds.
#[doc(hidden)]
#[cold]
#[inline(never)]
pub fn report_internal_error(error: &'static str) {
    if cfg!(debug_assertions) {
        panic!("internal error: {error}");
    }
    call_hook(error);
}

fn call_hook(error: &'static str) {
    if let Some(hook) = HOOK.get() {
        hook(error);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    #[should_panic(expected = "internal.rs")]
    fn an_internal_error_panics_in_tests() {
        internal!("a test of the macro");
    }

    #[test]
    fn the_first_hook_is_called_in_release_builds() {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        set_internal_error_hook(|_| _ = CALLS.fetch_add(1, Ordering::Relaxed));
        set_internal_error_hook(|_| unreachable!());
        call_hook("a test of the hook");
        assert_eq!(CALLS.load(Ordering::Relaxed), 1);
    }
}
