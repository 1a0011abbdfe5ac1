use std::{fmt, io, os::fd::RawFd};

use io_uring::{IoUring, opcode, types};

/// Sends to many sockets in one system call, by io_uring.
///
/// No send waits: each has its result, or was not begun, when [`Ring::submit`] has returned.
pub(crate) struct Ring {
    ring: IoUring,
    queued: usize,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("queued", &self.queued).finish_non_exhaustive()
    }
}

impl Ring {
    /// A ring for this thread.
    pub(crate) fn new() -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .build(ENTRIES)?;
        Ok(Self { ring, queued: 0 })
    }

    /// Whether what is queued must be submitted first.
    pub(crate) const fn is_full(&self) -> bool {
        self.queued == ENTRIES as usize
    }

    /// Queues a send; its result is reported under `name`.
    ///
    /// # Safety
    /// The bytes must stay where they are, and the descriptor open, until [`Ring::submit`] has
    /// returned or the ring is dropped.
    #[expect(unsafe_code, reason = "the kernel reads the bytes later")]
    pub(crate) unsafe fn push(&mut self, descriptor: RawFd, bytes: &[u8], name: u32) {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let send = opcode::Send::new(types::Fd(descriptor), bytes.as_ptr(), len)
            .flags(MSG_DONTWAIT | MSG_NOSIGNAL)
            .build()
            .user_data(name.into());
        // SAFETY: the caller keeps the bytes and the descriptor.
        if unsafe { self.ring.submission().push(&send) }.is_ok() {
            self.queued += 1;
        }
    }

    /// Sends all that was queued and reports the result of each: bytes, or the kernel's negative error.
    ///
    /// # Errors
    /// When the kernel refuses. The ring must be dropped then.
    pub(crate) fn submit(&mut self, mut report: impl FnMut(u64, i32)) -> io::Result<()> {
        while self.queued > 0 {
            let entered = self.ring.submit_and_wait(self.queued);
            for completed in self.ring.completion() {
                self.queued -= 1;
                report(completed.user_data(), completed.result());
            }
            match entered {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }
}

/// Sends in one system call. They take 384 KiB on each core.
const ENTRIES: u32 = 4096;
/// Of Linux: a send that cannot go on at once ends.
const MSG_DONTWAIT: i32 = 0x40;
/// Of Linux: a broken connection is an error, not a signal.
const MSG_NOSIGNAL: i32 = 0x4000;
