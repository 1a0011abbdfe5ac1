use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// The system's allocator, counting the bytes that each thread holds.
///
/// ```text
/// #[global_allocator]
/// static ALLOCATOR: testkit::Counting = testkit::Counting;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Counting;

/// Bytes that this thread has allocated and not freed, each allocation rounded up as malloc does;
/// 0 where [`Counting`] is not installed.
#[must_use]
pub fn live_bytes() -> isize {
    LIVE.get()
}

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

/// Adds what an allocation of this size takes: 8 bytes more, in steps of 16, 32 at least (glibc).
fn count(size: usize, sign: isize) {
    let taken = (size + 8).next_multiple_of(16).max(32);
    // Fails only while a thread ends.
    LIVE.try_with(|live| live.set(live.get() + sign * isize::try_from(taken).unwrap_or_default()))
        .ok();
}

#[expect(unsafe_code, reason = "an allocator can be written in no other way")]
// SAFETY: passes each call on to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(layout.size(), -1);
        count(size, 1);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(at, layout, size) }
    }
}
