use std::io::{self, IoSlice, Read, Write as _};

use mio::net::TcpStream;
use rustls::Connection;

use crate::send_queue::SendQueue;

/// The TLS of a socket, after its handshake.
///
/// Between calls it holds no plaintext: what comes is decrypted into the caller's buffer at once,
/// what is sent is encrypted only when the kernel can accept it. It may hold the beginning of a record
/// (at most 18 KiB), and ciphertext that the kernel did not accept: most often none or little of it, at
/// most 64 KiB, since no more is encrypted than the kernel says it has room for.
#[derive(Debug)]
pub struct Tls {
    connection: Connection,
    /// The peer has sent close_notify: it sends nothing more.
    half_closed: bool,
    /// The peer has taken what the kernel had no room for at first: it is not one that never reads.
    takes: bool,
    /// The kernel accepts less than it has room for ([`crate::Socket::set_unsent_max`]).
    has_unsent_max: bool,
}

impl Tls {
    pub(crate) fn new(connection: impl Into<Connection>, half_closed: bool) -> Self {
        Self { connection: connection.into(), half_closed, takes: false, has_unsent_max: false }
    }

    /// Splits a buffer: plaintext goes to its front, ciphertext to its back. The plaintext has room
    /// for all that is decrypted of the ciphertext and of a record that began before it.
    ///
    /// The buffer must be larger than a record.
    pub(crate) fn split(buffer: &mut [u8]) -> (&mut [u8], &mut [u8]) {
        debug_assert!(buffer.len() > RECORD_BYTES_MAX, "{} bytes", buffer.len());
        let ciphertext_len = buffer.len().saturating_sub(RECORD_BYTES_MAX) / 2;
        buffer.split_at_mut(buffer.len() - ciphertext_len)
    }

    /// Decrypts what was received, to the front of `plaintext`; returns the count of its bytes.
    ///
    /// # Errors
    /// When it is no TLS, or not of this connection. The peer is sent an alert, if the kernel accepts
    /// it.
    pub(crate) fn decrypt(
        &mut self,
        tcp: &mut TcpStream,
        ciphertext: &[u8],
        plaintext: &mut [u8],
    ) -> io::Result<usize> {
        let mut rest = ciphertext;
        let mut filled = 0;
        while !rest.is_empty() && !self.half_closed {
            self.connection.read_tls(&mut rest)?;
            let state = match self.connection.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    drop(self.send(tcp));
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
            };
            self.half_closed = state.peer_has_closed();
            let end = filled + state.plaintext_bytes_to_read();
            let room = plaintext.get_mut(filled..end).ok_or(io::ErrorKind::OutOfMemory)?;
            if !room.is_empty() {
                self.connection.reader().read_exact(room)?;
            }
            filled = end;
        }
        if ciphertext.len() > RESTING_BYTES {
            // Makes rustls shrink its buffer.
            drop(self.connection.read_tls(&mut Nothing));
        }
        Ok(filled)
    }

    /// Whether the peer has sent close_notify.
    pub(crate) const fn is_half_closed(&self) -> bool {
        self.half_closed
    }

    /// Encrypts and writes the pieces until all are written or the kernel's buffer is full. Returns
    /// how many bytes of the pieces were encrypted, and whether all ciphertext was written.
    ///
    /// # Errors
    /// When the connection is broken.
    pub(crate) fn write(
        &mut self,
        tcp: &mut TcpStream,
        mut pieces: &mut [IoSlice<'_>],
    ) -> io::Result<(usize, bool)> {
        let mut taken = 0;
        let waited = self.connection.wants_write();
        IoSlice::advance_slices(&mut pieces, 0);
        while self.send(tcp)? {
            self.takes |= waited;
            if pieces.is_empty() {
                return Ok((taken, true));
            }
            // For each record rustls goes through all of them.
            let next = pieces.get(..PIECES_MAX).unwrap_or(pieces);
            let max = self.encrypt_max(tcp, next);
            self.connection.set_buffer_limit(Some(max));
            match self.connection.writer().write_vectored(next)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => {
                    taken += count;
                    IoSlice::advance_slices(&mut pieces, count);
                }
            }
        }
        Ok((taken, false))
    }

    /// How much of the pieces to encrypt and send at once. What is encrypted must be sent as it is: what
    /// the kernel does not accept stays in memory, of this connection alone, whoever shares the pieces.
    ///
    /// So it is no more than the kernel has room for, or little. It is little where the kernel does not
    /// accept all that it has room for. Until it is known that the peer takes something, it is little
    /// also when much waits in the kernel, which has less room than it says when many connections use
    /// it up.
    fn encrypt_max(&self, tcp: &TcpStream, pieces: &[IoSlice<'_>]) -> usize {
        if self.has_unsent_max
            || pieces.iter().map(|piece| piece.len()).sum::<usize>() <= ENCRYPTED_BYTES_FEW
        {
            return ENCRYPTED_BYTES_FEW;
        }
        let Ok(queue) = SendQueue::of(tcp) else { return ENCRYPTED_BYTES_FEW };
        let max = if self.takes || queue.used < QUEUED_BYTES_MANY {
            ENCRYPTED_BYTES_MAX
        } else {
            ENCRYPTED_BYTES_FEW
        };
        // A quarter is for its overhead. Without room, only a try makes the kernel tell when there is
        // some.
        (queue.free / 4 * 3).clamp(ENCRYPTED_BYTES_MIN, max)
    }

    /// The kernel accepts no more while it has some bytes that are not sent yet, whatever its room.
    pub(crate) const fn note_unsent_max(&mut self) {
        self.has_unsent_max = true;
    }

    /// Bytes of ciphertext that the kernel did not accept.
    pub(crate) fn encrypted_bytes(&mut self) -> usize {
        if !self.connection.wants_write() {
            return 0;
        }
        // Nothing new is there to process; this only reads the state.
        self.connection.process_new_packets().map_or(0, |state| state.tls_bytes_to_write())
    }

    /// Writes the ciphertext that waits; `false`: the kernel's buffer is full.
    ///
    /// # Errors
    /// When the connection is broken.
    pub(crate) fn send(&mut self, tcp: &mut TcpStream) -> io::Result<bool> {
        while self.connection.wants_write() {
            match self.connection.write_tls(tcp) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Sends close_notify, if the kernel accepts it.
    pub(crate) fn finish(&mut self, tcp: &mut TcpStream) {
        self.connection.send_close_notify();
        drop(self.send(tcp));
    }
}

/// Has nothing to read now.
struct Nothing;

impl Read for Nothing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// Pieces that are handed to rustls together.
const PIECES_MAX: usize = 64;
/// What is encrypted and sent at once, four records, while the kernel has room.
const ENCRYPTED_BYTES_MAX: usize = 64 << 10;
/// The same when it may have none.
const ENCRYPTED_BYTES_FEW: usize = 8 << 10;
/// The same when it has none.
const ENCRYPTED_BYTES_MIN: usize = 4 << 10;
/// In the kernel, of a peer that may have stalled.
const QUEUED_BYTES_MANY: usize = 256 << 10;
/// Plaintext of a record.
const RECORD_BYTES_MAX: usize = 16 << 10;
/// What rustls reads at a time, and the buffer that it keeps.
const RESTING_BYTES: usize = 4 << 10;
