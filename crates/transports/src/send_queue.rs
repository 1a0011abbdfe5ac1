use std::{io, os::fd::AsRawFd as _};

use mio::net::TcpStream;

/// The kernel's buffer of what a TCP connection is to send, in bytes of memory: what lies in it takes
/// some more than its length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SendQueue {
    pub(crate) used: usize,
    pub(crate) free: usize,
}

impl SendQueue {
    /// As it is now; the kernel changes its size all the time.
    ///
    /// # Errors
    /// When the kernel does not tell.
    #[expect(unsafe_code, reason = "no crate wraps SO_MEMINFO")]
    pub(crate) fn of(tcp: &TcpStream) -> io::Result<Self> {
        let mut info = [0_u32; VALUES];
        let mut len = BYTES;
        // SAFETY: the kernel writes at most `len` bytes to `info`, and to `len` how many.
        let result = unsafe {
            libc::getsockopt(
                tcp.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_MEMINFO,
                info.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        // In the order of `SK_MEMINFO_*`.
        let [_, _, _, max, _, used] = info.map(|value| value as usize);
        Ok(Self { used, free: max.saturating_sub(used) })
    }
}

/// Up to `SK_MEMINFO_WMEM_QUEUED`; there are more.
const VALUES: usize = 6;
const BYTES: libc::socklen_t = 4 * 6;
