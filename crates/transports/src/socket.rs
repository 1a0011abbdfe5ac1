use std::{
    io::{self, IoSlice, Read as _, Write as _},
    net::Shutdown,
    os::fd::{AsFd, AsRawFd as _, RawFd},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use mio::net::TcpStream;
use socket2::{SockRef, TcpKeepalive};
use tokio::sync::Notify;

use crate::{
    backlog::Backlog,
    io::{Carried, Io},
    tls::Tls,
};

/// An entry of a [`crate::Reactor`]: most often a connected TCP socket, with TLS or without.
#[derive(Debug)]
pub struct Socket {
    pub(crate) io: Io,
    pub(crate) generation: u32,
    pub(crate) input: Input,
    pub(crate) output: Output,
    /// Nothing is to be read for now.
    pub(crate) paused: bool,
    /// It is among those to be read.
    pub(crate) queued: bool,
    /// What this turn has for it.
    pub(crate) pending: Pending,
    /// What was sent before and not accepted: by the kernel, or by the peer of a carried connection.
    pub(crate) backlog: Option<Box<Backlog>>,
}

/// What is known of the bytes that come from the peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Input {
    /// There is nothing to read: an event tells of more.
    Dry,
    /// There may be something to read.
    Ready,
    /// The peer has closed its side, or the connection is broken: a short read does not mean that an
    /// event is to come, since the one event has come already.
    Ended,
}

/// Whether bytes can be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Output {
    /// The kernel's buffer was not full after the last write.
    Ready,
    /// The kernel accepts nothing now; or the bytes wait until they are pulled.
    Full,
    /// A write has failed: nothing is written any more. What the peer sent before is still read.
    Broken,
}

impl Socket {
    /// Counts as readable at first, since its bytes may have come before.
    pub(crate) fn new(io: Io, generation: u32) -> Self {
        let output = Output::of(&io);
        Self {
            io,
            generation,
            input: Input::Ready,
            output,
            paused: false,
            queued: true,
            pending: Pending::default(),
            backlog: None,
        }
    }

    /// Puts something else in the place of what carries it, and returns that. What has been given to a
    /// TCP connection counts as sent; of what was given to a carried one, all that was not
    /// acknowledged waits.
    pub(crate) fn replace(&mut self, io: Io, mono_ns: u64) -> Io {
        self.output = Output::of(&io);
        self.input = Input::Ready;
        let old = std::mem::replace(&mut self.io, io);
        let encrypted = self.io.encrypted_bytes();
        match &mut self.backlog {
            Some(backlog) => {
                backlog.encrypted = encrypted;
                backlog.since_mono_ns = mono_ns;
                if backlog.bytes() == 0 {
                    self.backlog = None;
                }
            }
            None if encrypted > 0 => {
                self.backlog = Some(Box::new(Backlog::new(mono_ns, encrypted)));
            }
            None => {}
        }
        old
    }

    /// Lets the kernel end the TCP connection of a peer that takes nothing for this time.
    ///
    /// # Errors
    /// As for [`set_user_timeout`].
    pub fn set_user_timeout(&self, time: Duration) -> io::Result<()> {
        match &self.io {
            Io::Tcp(tcp, _) => set_user_timeout(tcp, time),
            Io::Carried(_) | Io::Away { .. } => Ok(()),
        }
    }

    /// Has the kernel accept no more while it has this many bytes that are not sent yet
    /// (`TCP_NOTSENT_LOWAT`): what waits elsewhere can still be replaced by what is newer.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn set_unsent_max(&mut self, bytes: u32) -> io::Result<()> {
        match &mut self.io {
            Io::Tcp(tcp, tls) => {
                SockRef::from(&*tcp).set_tcp_notsent_lowat(bytes)?;
                if let Some(tls) = tls {
                    tls.note_unsent_max();
                }
                Ok(())
            }
            Io::Carried(_) | Io::Away { .. } => Ok(()),
        }
    }

    /// Reads once. A short read means that nothing is left: the next event tells of more.
    ///
    /// With TLS the buffer must be larger than a record, 16 KiB; its back is used for what is not
    /// decrypted yet.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Read> {
        match &mut self.io {
            Io::Tcp(tcp, None) => read_tcp(tcp, &mut self.input, buffer),
            Io::Tcp(tcp, Some(tls)) => {
                read_tls(tcp, tls, &mut self.input, &mut self.output, buffer)
            }
            Io::Carried(carried) => Ok(carried.read(&mut self.input, buffer)),
            Io::Away { .. } => {
                self.input = Input::Dry;
                Ok(Read::Nothing)
            }
        }
    }

    /// The descriptor to which bytes could be sent as they are.
    pub(crate) fn plain_descriptor(&self) -> Option<RawFd> {
        match &self.io {
            Io::Tcp(tcp, None) if self.output == Output::Ready && self.backlog.is_none() => {
                Some(tcp.as_raw_fd())
            }
            Io::Tcp(..) | Io::Carried(_) | Io::Away { .. } => None,
        }
    }

    /// Whether a write has failed. The next reads return what the peer sent before, then its end.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.output == Output::Broken
    }

    /// Since when nothing carries it, on the clock of [`contract::Now::mono_ns`]; `None`: something
    /// does.
    #[must_use]
    pub const fn away_since(&self) -> Option<u64> {
        match self.io {
            Io::Away { since_mono_ns } => Some(since_mono_ns),
            Io::Tcp(..) | Io::Carried(_) => None,
        }
    }

    /// Whether it is a TCP connection: the kernel has what was sent to it, and ends it.
    #[must_use]
    pub const fn is_tcp(&self) -> bool {
        matches!(self.io, Io::Tcp(..))
    }

    /// Whether a task carries it.
    #[must_use]
    pub const fn is_carried(&self) -> bool {
        matches!(self.io, Io::Carried(_))
    }

    /// Whether the task that this wakes carries it.
    #[must_use]
    pub fn is_carried_by(&self, changed: &Arc<Notify>) -> bool {
        self.carried().is_some_and(|carried| carried.is_carried_by(changed))
    }

    /// Whether what was handed over last is not read yet, of a connection that a task carries.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.carried().is_some_and(Carried::is_full)
    }

    fn carried(&self) -> Option<&Carried> {
        match &self.io {
            Io::Carried(carried) => Some(carried),
            Io::Tcp(..) | Io::Away { .. } => None,
        }
    }

    /// Wakes the task that carries it, if one does: there may be something for the peer.
    pub fn wake(&self) {
        if let Some(carried) = self.carried() {
            carried.wake();
        }
    }

    /// What waits first, at most so many bytes. It goes on waiting.
    #[must_use]
    pub fn peek(&self, max: usize) -> Bytes {
        self.backlog.as_ref().map_or_else(Bytes::new, |backlog| backlog.peek(max))
    }

    /// The peer of a carried connection has so many more bytes of what waits, which must be no more
    /// than wait.
    pub fn acknowledge(&mut self, count: usize, mono_ns: u64) -> Flushed {
        if let Some(backlog) = &mut self.backlog
            && count > 0
        {
            backlog.consume(count);
            backlog.since_mono_ns = mono_ns;
            if backlog.bytes() == 0 {
                self.backlog = None;
            }
        }
        Flushed { written: count, backlog_bytes: self.backlog_bytes() }
    }

    /// Writes pieces until all are gone or the kernel's buffer is full.
    pub(crate) fn write(&mut self, mut pieces: &mut [IoSlice<'_>]) -> io::Result<usize> {
        let tcp = match &mut self.io {
            Io::Tcp(tcp, None) => tcp,
            Io::Tcp(tcp, Some(tls)) => {
                let (written, all_gone) = tls.write(tcp, pieces)?;
                self.output = if all_gone { Output::Ready } else { Output::Full };
                return Ok(written);
            }
            // It is always full.
            Io::Carried(_) | Io::Away { .. } => return Ok(0),
        };
        let mut written = 0;
        if pieces.first().is_some_and(|piece| piece.is_empty()) {
            IoSlice::advance_slices(&mut pieces, 0);
        }
        while !pieces.is_empty() {
            let result =
                if let [piece] = pieces { tcp.write(piece) } else { tcp.write_vectored(pieces) };
            match result {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    written += count;
                    if let [piece] = pieces
                        && piece.len() == count
                    {
                        break;
                    }
                    IoSlice::advance_slices(&mut pieces, count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.output = Output::Full;
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
        while self.output == Output::Ready
            && let Some(mut backlog) = self.backlog.take()
        {
            let pieces = backlog.pieces().take(PIECES_PER_WRITE).map(IoSlice::new);
            let result = self.write(&mut pieces.collect::<Vec<_>>());
            if let Ok(count) = result {
                backlog.consume(count);
                written += count;
                let encrypted = self.io.encrypted_bytes();
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
        match &mut self.io {
            Io::Tcp(tcp, tls) => {
                if let Some(tls) = tls {
                    tls.finish(tcp);
                }
                // Fails only when the connection is broken already, which the next read tells.
                drop(tcp.shutdown(Shutdown::Write));
            }
            Io::Carried(carried) => carried.wake(),
            Io::Away { .. } => {}
        }
    }

    /// Bytes that were sent and the kernel has not accepted yet, or the peer of a carried connection
    /// not acknowledged, those of this turn not counted.
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

    /// The memory of its backlog: of what others share, its part.
    #[must_use]
    pub fn backlog_memory(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.memory())
    }

    /// When something of what waits was last accepted, on the clock of
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

impl Output {
    /// That of a socket which begins.
    const fn of(io: &Io) -> Self {
        match io {
            Io::Tcp(..) => Self::Ready,
            Io::Carried(_) | Io::Away { .. } => Self::Full,
        }
    }
}

fn read_tcp(tcp: &mut TcpStream, input: &mut Input, buffer: &mut [u8]) -> io::Result<Read> {
    match tcp.read(buffer) {
        Ok(0) => Ok(Read::End),
        Ok(count) => {
            if count < buffer.len() && *input == Input::Ready {
                *input = Input::Dry;
            }
            Ok(Read::Bytes(count))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            *input = Input::Dry;
            Ok(Read::Nothing)
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Read::Bytes(0)),
        Err(error) => Err(error),
    }
}

/// Reads until something is decrypted: the bytes of one read may be a part of a record only, or no
/// data at all.
fn read_tls(
    tcp: &mut TcpStream,
    tls: &mut Tls,
    input: &mut Input,
    output: &mut Output,
    buffer: &mut [u8],
) -> io::Result<Read> {
    let (plaintext, ciphertext) = Tls::split(buffer);
    loop {
        if tls.is_half_closed() {
            return Ok(Read::End);
        }
        let arrived = match read_tcp(tcp, input, ciphertext)? {
            Read::Bytes(count) => ciphertext.get(..count).unwrap_or_default(),
            Read::End => return Ok(Read::Truncated),
            nothing @ (Read::Nothing | Read::Truncated) => return Ok(nothing),
        };
        let count = tls.decrypt(tcp, arrived, plaintext)?;
        if *output == Output::Ready {
            *output = match tls.send(tcp) {
                Ok(true) => Output::Ready,
                Ok(false) => Output::Full,
                Err(_) => Output::Broken,
            };
        }
        if tls.is_half_closed() && *input == Input::Dry {
            // The next read tells.
            *input = Input::Ready;
        }
        if count > 0 {
            return Ok(Read::Bytes(count));
        }
        if *input == Input::Dry {
            return Ok(Read::Nothing);
        }
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
    /// As [`Read::End`], but without the close_notify of TLS (RFC 8446 section 6.1): the peer, or
    /// another in its name, may have ended it before all was sent.
    Truncated,
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

/// Has the kernel find out whether a peer that is silent is still there.
///
/// # Errors
/// Those of the kernel.
pub fn set_keepalive(socket: &impl AsFd) -> io::Result<()> {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4);
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}

/// Silence after which the kernel asks a peer.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// Of a backlog.
const PIECES_PER_WRITE: usize = 64;
/// In place of the index of a segment.
pub(crate) const NO_SEGMENT: u32 = u32::MAX;
