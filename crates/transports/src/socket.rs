use std::{
    io::{self, IoSlice, Read as _, Write as _},
    net::Shutdown,
    os::fd::AsFd,
    time::Duration,
};

use mio::net::TcpStream;
use socket2::SockRef;

use crate::{backlog::Backlog, stream::Stream, tls::Tls};

/// A connected TCP socket of a [`crate::Reactor`], with TLS or without.
#[derive(Debug)]
pub struct Socket {
    pub(crate) stream: TcpStream,
    pub(crate) tls: Option<Box<Tls>>,
    pub(crate) generation: u32,
    /// There may be something to read.
    pub(crate) readable: bool,
    /// The peer has closed its side, or the connection is broken. With it a short read does not
    /// mean that no event is to come, since the one event has come already.
    pub(crate) half_closed: bool,
    /// The kernel's buffer was not full after the last write.
    pub(crate) writable: bool,
    /// A write has failed: nothing is written any more. What the peer sent before is still read.
    pub(crate) broken: bool,
    /// Nothing is to be read for now.
    pub(crate) paused: bool,
    /// It is among those to be read.
    pub(crate) queued: bool,
    /// What this turn has for it.
    pub(crate) pending: Pending,
    /// What the kernel did not accept before.
    pub(crate) backlog: Option<Box<Backlog>>,
}

impl Socket {
    /// Counts as readable at first, since its bytes may have come before.
    pub(crate) fn new(stream: Stream, generation: u32) -> Self {
        let Stream { tcp: stream, tls } = stream;
        Self {
            stream,
            tls,
            generation,
            readable: true,
            half_closed: false,
            writable: true,
            broken: false,
            paused: false,
            queued: true,
            pending: Pending::default(),
            backlog: None,
        }
    }

    /// Lets the kernel end the connection of a peer that takes nothing for this time.
    ///
    /// # Errors
    /// As for [`set_user_timeout`].
    pub fn set_user_timeout(&self, time: Duration) -> io::Result<()> {
        set_user_timeout(&self.stream, time)
    }

    /// Has the kernel accept no more while it has this many bytes that are not sent yet
    /// (`TCP_NOTSENT_LOWAT`): what waits elsewhere can still be replaced by what is newer.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn set_unsent_max(&self, bytes: u32) -> io::Result<()> {
        SockRef::from(&self.stream).set_tcp_notsent_lowat(bytes)
    }

    /// Reads once. A short read means that nothing is left: the next event tells of more.
    ///
    /// With TLS the buffer must be larger than a record, 16 KiB; its back is used for what is not
    /// decrypted yet.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Read> {
        match self.tls.take() {
            None => self.read_tcp(buffer),
            Some(mut tls) => {
                let result = self.read_tls(&mut tls, buffer);
                self.tls = Some(tls);
                result
            }
        }
    }

    fn read_tcp(&mut self, buffer: &mut [u8]) -> io::Result<Read> {
        match self.stream.read(buffer) {
            Ok(0) => Ok(Read::End),
            Ok(count) => {
                self.readable = count == buffer.len() || self.half_closed;
                Ok(Read::Bytes(count))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(Read::Nothing)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Read::Bytes(0)),
            Err(error) => Err(error),
        }
    }

    /// Reads until something is decrypted: the bytes of one read may be a part of a record only,
    /// or no data at all.
    fn read_tls(&mut self, tls: &mut Tls, buffer: &mut [u8]) -> io::Result<Read> {
        let (plaintext, ciphertext) = Tls::split(buffer);
        loop {
            if tls.is_half_closed() {
                return Ok(Read::End);
            }
            let arrived = match self.read_tcp(ciphertext)? {
                Read::Bytes(count) => ciphertext.get(..count).unwrap_or_default(),
                nothing @ (Read::Nothing | Read::End) => return Ok(nothing),
            };
            let count = tls.decrypt(&mut self.stream, arrived, plaintext)?;
            if self.writable && !self.broken {
                match tls.send(&mut self.stream) {
                    Ok(all_gone) => self.writable = all_gone,
                    Err(_) => self.broken = true,
                }
            }
            // The next read tells.
            self.readable |= tls.is_half_closed();
            if count > 0 {
                return Ok(Read::Bytes(count));
            }
            if !self.readable {
                return Ok(Read::Nothing);
            }
        }
    }

    /// Whether bytes could be sent as they are.
    pub(crate) const fn takes_plain(&self) -> bool {
        self.writable && !self.broken && self.tls.is_none() && self.backlog.is_none()
    }

    /// Whether a write has failed. The next reads return what the peer sent before, then its end.
    #[must_use]
    pub const fn is_broken(&self) -> bool {
        self.broken
    }

    /// Writes pieces until all are gone or the kernel's buffer is full.
    pub(crate) fn write(&mut self, mut pieces: &mut [IoSlice<'_>]) -> io::Result<usize> {
        if let Some(tls) = &mut self.tls {
            let (written, all_gone) = tls.write(&mut self.stream, pieces)?;
            self.writable = all_gone;
            return Ok(written);
        }
        let mut written = 0;
        IoSlice::advance_slices(&mut pieces, 0);
        while !pieces.is_empty() {
            let result = if let [piece] = pieces {
                self.stream.write(piece)
            } else {
                self.stream.write_vectored(pieces)
            };
            match result {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    written += count;
                    IoSlice::advance_slices(&mut pieces, count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writable = false;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// Writes the backlog, as far as the kernel accepts it.
    pub(crate) fn flush_backlog(&mut self, mono_ns: u64) -> io::Result<Flushed> {
        let mut written = 0;
        while self.writable
            && let Some(mut backlog) = self.backlog.take()
        {
            let pieces = backlog.pieces().take(PIECES_PER_WRITE).map(IoSlice::new);
            let result = self.write(&mut pieces.collect::<Vec<_>>());
            if let Ok(count) = result {
                backlog.consume(count);
                written += count;
                let encrypted = self.encrypted_bytes();
                if count > 0 || encrypted < backlog.encrypted {
                    backlog.since_mono_ns = mono_ns;
                }
                backlog.encrypted = encrypted;
            }
            if backlog.bytes() > 0 {
                self.backlog = Some(backlog);
            }
            result?;
        }
        Ok(Flushed { written, backlog_bytes: self.backlog_bytes() })
    }

    /// Tells the peer that nothing more will be sent.
    pub fn finish(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.finish(&mut self.stream);
        }
        // Fails only when the connection is broken already, which the next read tells.
        drop(self.stream.shutdown(Shutdown::Write));
    }

    /// Bytes of ciphertext that the kernel did not accept.
    pub(crate) fn encrypted_bytes(&mut self) -> usize {
        self.tls.as_mut().map_or(0, |tls| tls.encrypted_bytes())
    }

    /// Bytes that were sent and the kernel has not accepted yet, those of this turn not counted.
    #[must_use]
    pub fn backlog_bytes(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.bytes())
    }

    /// Those of [`Socket::backlog_bytes`] that are encrypted already, with TLS.
    #[must_use]
    pub fn encrypted_backlog_bytes(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.encrypted)
    }

    /// Those of [`Socket::backlog_bytes`] that are no share of a large frame.
    #[must_use]
    pub fn own_backlog_bytes(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.own_bytes())
    }

    /// When the kernel last accepted something of what waits, on the clock of
    /// [`contract::Now::mono_ns`]; `None` when nothing waits.
    #[must_use]
    pub fn backlog_since(&self) -> Option<u64> {
        self.backlog.as_ref().map(|backlog| backlog.since_mono_ns)
    }

    /// Whether something of this turn waits for the flush.
    #[must_use]
    pub const fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether reading was paused.
    #[must_use]
    pub const fn is_paused(&self) -> bool {
        self.paused
    }
}

/// The result of a [`Socket::read`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Read {
    /// This many bytes.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// The peer has closed its side.
    End,
}

/// The result of a flush of a socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Flushed {
    /// Bytes that the kernel accepted.
    pub written: usize,
    /// Bytes that are its backlog now.
    pub backlog_bytes: usize,
}

/// What a socket has to send from this turn: a list of segments of [`crate::Outgoing`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    pub(crate) first: u32,
    pub(crate) last: u32,
}

impl Default for Pending {
    fn default() -> Self {
        Self { first: NO_SEGMENT, last: NO_SEGMENT }
    }
}

impl Pending {
    pub(crate) const fn is_empty(self) -> bool {
        self.first == NO_SEGMENT
    }
}

/// Lets the kernel end the connection of a peer that takes nothing for this time
/// (`TCP_USER_TIMEOUT`), or for 24 days if that is less.
///
/// # Errors
/// Those of the kernel.
pub fn set_user_timeout(socket: impl AsFd, time: Duration) -> io::Result<()> {
    let millis = i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
    Ok(rustix::net::sockopt::set_tcp_user_timeout(socket, millis.unsigned_abs())?)
}

/// Of a backlog.
const PIECES_PER_WRITE: usize = 64;
/// In place of the index of a segment.
pub(crate) const NO_SEGMENT: u32 = u32::MAX;
