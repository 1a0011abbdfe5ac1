use std::{
    hash::{BuildHasher, RandomState},
    io::{self, IoSlice},
    ops::Range,
    sync::Arc,
};

use bytes::Bytes;
use contract::{Message, Piece, SendBuffer, internal};
use wire::Map;

use crate::{
    backlog::{Backlog, SharedBytes},
    ring::Ring,
    socket::{Flushed, NO_SEGMENT, Output, Pending, Socket},
};

/// What one core sends in one turn.
///
/// Frames are encoded one behind the other into one buffer; a socket only has a list of segments of
/// it. Adjacent segments become one, so that a socket whose frames were shared with others is
/// written straight from the shared bytes, in one system call. What the kernel does not accept for a
/// socket is copied to its own backlog, but for what the buffer only references: that is sent from
/// where it is, and referenced by backlogs too.
#[derive(Debug, Default)]
pub struct Outgoing {
    frames: SendBuffer,
    /// What the frames of this turn reference, and how many bytes that is.
    bodies: Vec<Bytes>,
    body_bytes: usize,
    /// Bytes of all lists of segments.
    pending_bytes: usize,
    /// The pieces of the frames that others may need too.
    pieces: Vec<Source>,
    segments: Vec<Segment>,
    shared: Shared,
    /// What the backlogs of this core share.
    in_backlogs: SharedBytes,
    gathered: Vec<u8>,
    /// Sends for many sockets at once, where that is wanted.
    ring: Option<Box<Ring>>,
    /// What the ring has sent, by the first segment of a list: bytes, or an error.
    sent: Vec<Option<i32>>,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    source: Source,
    /// Bytes of its list up to its end.
    end: u32,
    next: u32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Source {
    /// A range of [`Outgoing::frames`].
    Frames { start: u32, end: u32 },
    /// A range of one of [`Outgoing::bodies`].
    Body { index: u32, start: u32, end: u32 },
}

/// What was encoded for a message, and others may need too.
#[derive(Clone, Copy, Debug)]
enum Frame {
    /// One piece.
    Whole(Source),
    /// A range of [`Outgoing::pieces`].
    Pieces { start: u32, end: u32 },
}

impl Source {
    const fn len(self) -> u32 {
        match self {
            Self::Frames { start, end } | Self::Body { start, end, .. } => end - start,
        }
    }
}

impl Outgoing {
    /// One that can [`Outgoing::send_ahead`], on the thread that calls this.
    ///
    /// # Errors
    /// When the kernel has no io_uring, or does not allow it.
    pub fn with_ring() -> io::Result<Self> {
        Ok(Self { ring: Some(Box::new(Ring::new()?)), ..Self::default() })
    }

    /// Whether [`Outgoing::send_ahead`] does something.
    #[must_use]
    pub const fn has_ring(&self) -> bool {
        self.ring.is_some()
    }

    /// Sends to these sockets in one system call what lies in one piece. Each must be flushed then,
    /// before anything is appended: the flush sees to the rest.
    ///
    /// # Errors
    /// When the kernel refuses. Everything is sent without a ring from then on.
    pub fn send_ahead<'a>(&mut self, sockets: impl Iterator<Item = &'a Socket>) -> io::Result<()> {
        let Some(mut ring) = self.ring.take() else { return Ok(()) };
        let mut sent = std::mem::take(&mut self.sent);
        sent.clear();
        sent.resize(self.segments.len(), None);
        let result = self.send_by(&mut ring, &mut sent, sockets);
        self.sent = sent;
        if result.is_ok() {
            self.ring = Some(ring);
        }
        result
    }

    #[expect(unsafe_code, reason = "the kernel reads the frames when the ring is submitted")]
    fn send_by<'a>(
        &self,
        ring: &mut Ring,
        sent: &mut [Option<i32>],
        sockets: impl Iterator<Item = &'a Socket>,
    ) -> io::Result<()> {
        for socket in sockets {
            let pending = socket.pending;
            let Some(descriptor) =
                socket.plain_descriptor().filter(|_| pending.first == pending.last)
            else {
                continue;
            };
            let Some(Segment { source, .. }) = self.segments.get(pending.first as usize) else {
                continue;
            };
            // A socket may be named twice.
            let Some(result @ None) = sent.get_mut(pending.first as usize) else { continue };
            *result = Some(NOT_SENT);
            if ring.is_full() {
                ring.submit(|name, result| record(sent, name, result))?;
            }
            // SAFETY: `self` and the sockets are borrowed until the ring is submitted or dropped, so
            // that no frame moves and no socket is closed.
            unsafe { ring.push(descriptor, self.bytes_of(*source), pending.first) };
        }
        ring.submit(|name, result| record(sent, name, result))
    }

    /// What [`Outgoing::send_ahead`] has sent of these `wanted` bytes; `None`: it did not try.
    fn sent_ahead(
        &mut self,
        socket: &mut Socket,
        pending: Pending,
        wanted: usize,
    ) -> Option<io::Result<usize>> {
        let result = self.sent.get_mut(pending.first as usize)?.take()?;
        if result == NOT_SENT {
            return None;
        }
        let result = match usize::try_from(result) {
            Ok(written) => Ok(written),
            Err(_) => match io::Error::from_raw_os_error(result.wrapping_neg()) {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                error => Err(error),
            },
        };
        // After a short send the kernel's buffer is full: an event tells when it is not.
        if result.as_ref().is_ok_and(|written| *written < wanted) {
            socket.output = Output::Full;
        }
        Some(result)
    }

    /// Appends what `encode` writes to what the socket has to send.
    #[inline]
    pub fn append(&mut self, socket: &mut Socket, encode: impl FnOnce(&mut SendBuffer)) {
        let start = self.frames.own().len();
        encode(&mut self.frames);
        if !self.frames.has_shared() {
            return self.push(socket, self.own_from(start));
        }
        let pieces = self.take_pieces(start);
        let first = pieces.start;
        self.push_all(socket, pieces);
        self.pieces.truncate(first);
    }

    /// Appends what `encode` writes, or what it wrote before in this turn for the same `message`
    /// (by identity), `variant` and `header`; `true`: it was called.
    #[inline]
    pub fn append_shared(
        &mut self,
        socket: &mut Socket,
        message: &Arc<Message>,
        variant: u32,
        header: &[u8],
        encode: impl FnOnce(&mut SendBuffer),
    ) -> bool {
        if let Some(frame) = self.shared.find(message, variant, header) {
            self.push_frame(socket, frame);
            return false;
        }
        let start = self.frames.own().len();
        encode(&mut self.frames);
        let frame = if self.frames.has_shared() {
            let Range { start, end } = self.take_pieces(start);
            Frame::Pieces { start: narrow(start), end: narrow(end) }
        } else {
            Frame::Whole(self.own_from(start))
        };
        self.shared.insert(message, variant, header, frame);
        self.push_frame(socket, frame);
        true
    }

    /// Bytes that the socket has to send from this turn.
    #[must_use]
    pub fn pending_bytes(&self, socket: &Socket) -> usize {
        self.total(socket.pending)
    }

    /// Memory of what was encoded since the last [`Outgoing::clear`].
    #[must_use]
    pub const fn encoded_bytes(&self) -> usize {
        self.frames.own().len()
    }

    /// The same, and that of what was referenced.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.frames.own().len() + self.body_bytes
    }

    /// Bytes that all sockets together have to send since the last [`Outgoing::clear`].
    #[must_use]
    pub const fn total_pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Memory of what backlogs share, counted once.
    #[must_use]
    pub fn shared_backlog_bytes(&self) -> usize {
        self.in_backlogs.total()
    }

    /// Whether nothing was appended since the last [`Outgoing::clear`].
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Writes what the socket has to send, after its backlog, in as few system
    /// calls as there can be.
    ///
    /// # Errors
    /// When the connection is broken. Nothing is written to it any more; what the peer sent before
    /// can still be read.
    pub fn flush(&mut self, socket: &mut Socket, mono_ns: u64) -> io::Result<Flushed> {
        let flushed = self.try_flush(socket, mono_ns);
        if flushed.is_err() {
            socket.output = Output::Broken;
            socket.backlog = None;
        }
        flushed
    }

    fn try_flush(&mut self, socket: &mut Socket, mono_ns: u64) -> io::Result<Flushed> {
        let pending = std::mem::take(&mut socket.pending);
        if socket.is_broken() {
            return Ok(Flushed { written: 0, backlog_bytes: 0 });
        }
        if let Some(backlog) = &mut socket.backlog {
            self.keep(pending, 0, backlog);
            return socket.flush_backlog(mono_ns);
        }
        if pending.is_empty() {
            return Ok(Flushed { written: 0, backlog_bytes: 0 });
        }
        let written = if socket.output != Output::Ready {
            0
        } else {
            let wanted = self.total(pending);
            let written = match self.sent_ahead(socket, pending, wanted) {
                Some(sent) => sent?,
                None => self.write(socket, pending, wanted)?,
            };
            if written == wanted && socket.output == Output::Ready {
                return Ok(Flushed { written, backlog_bytes: 0 });
            }
            written
        };
        let encrypted = socket.io.encrypted_bytes();
        let mut backlog = Box::new(Backlog::new(mono_ns, encrypted));
        self.keep(pending, written, &mut backlog);
        let flushed = Flushed { written, backlog_bytes: backlog.bytes() };
        if backlog.bytes() > 0 {
            socket.backlog = Some(backlog);
        }
        Ok(flushed)
    }

    /// Forgets all frames; every socket that has some must have been flushed.
    pub fn clear(&mut self) {
        self.frames.clear(FRAMES_KEPT);
        self.gathered.shrink_to(FRAMES_KEPT);
        self.bodies.clear();
        self.body_bytes = 0;
        self.pending_bytes = 0;
        self.pieces.clear();
        self.segments.clear();
        self.sent.clear();
        self.shared.clear();
    }

    /// What was encoded from `start` on, if it references nothing.
    fn own_from(&self, start: usize) -> Source {
        Source::Frames { start: narrow(start), end: narrow(self.frames.own().len()) }
    }

    /// Cuts what was encoded from `start` on, which references something; returns which are its
    /// pieces.
    fn take_pieces(&mut self, start: usize) -> Range<usize> {
        let first = self.pieces.len();
        for piece in self.frames.pieces_from(start) {
            self.pieces.push(match piece {
                Piece::Own(Range { start, end }) => {
                    Source::Frames { start: narrow(start), end: narrow(end) }
                }
                Piece::Shared(shared) => {
                    let is_last = |last: &Bytes| {
                        last.as_ptr() == shared.whole.as_ptr() && last.len() == shared.whole.len()
                    };
                    if !self.bodies.last().is_some_and(is_last) {
                        self.body_bytes += shared.whole.len();
                        self.bodies.push(shared.whole.clone());
                    }
                    Source::Body {
                        index: narrow(self.bodies.len() - 1),
                        start: narrow(shared.range.start),
                        end: narrow(shared.range.end),
                    }
                }
            });
        }
        self.frames.clear_shared();
        first..self.pieces.len()
    }

    fn push_frame(&mut self, socket: &mut Socket, frame: Frame) {
        match frame {
            Frame::Whole(source) => self.push(socket, source),
            Frame::Pieces { start, end } => self.push_all(socket, start as usize..end as usize),
        }
    }

    fn push_all(&mut self, socket: &mut Socket, pieces: Range<usize>) {
        let mut index = pieces.start;
        while index < pieces.end
            && let Some(source) = self.pieces.get(index)
        {
            self.push(socket, *source);
            index += 1;
        }
    }

    fn push(&mut self, socket: &mut Socket, source: Source) {
        self.pending_bytes += source.len() as usize;
        let pending = &mut socket.pending;
        let index = narrow(self.segments.len());
        let mut end = source.len();
        if let Some(last) = self.segments.get_mut(pending.last as usize) {
            end = last.end.saturating_add(end);
            if let (Source::Frames { end: old_end, .. }, Source::Frames { start, end: new_end }) =
                (&mut last.source, source)
                && *old_end == start
            {
                *old_end = new_end;
                last.end = end;
                return;
            }
            last.next = index;
        } else {
            pending.first = index;
        }
        pending.last = index;
        self.segments.push(Segment { source, end, next: NO_SEGMENT });
    }

    fn bytes_of(&self, source: Source) -> &[u8] {
        let (bytes, start, end) = match source {
            Source::Frames { start, end } => (Some(self.frames.own()), start, end),
            Source::Body { index, start, end } => {
                (self.bodies.get(index as usize).map(Bytes::as_ref), start, end)
            }
        };
        bytes.and_then(|bytes| bytes.get(start as usize..end as usize)).unwrap_or_else(|| {
            internal!("a segment outside the frames of the turn");
            &[]
        })
    }

    fn sources(&self, pending: Pending) -> impl Iterator<Item = Source> {
        let mut next = pending.first;
        std::iter::from_fn(move || {
            let segment = self.segments.get(next as usize)?;
            next = segment.next;
            Some(segment.source)
        })
    }

    fn total(&self, pending: Pending) -> usize {
        self.segments.get(pending.last as usize).map_or(0, |last| last.end as usize)
    }

    /// Writes `wanted` bytes: one piece as it lies, small frames gathered, others as a vector.
    fn write(&mut self, socket: &mut Socket, pending: Pending, wanted: usize) -> io::Result<usize> {
        if pending.first == pending.last {
            let source = self.sources(pending).next().map_or(&[][..], |s| self.bytes_of(s));
            return socket.write(&mut [IoSlice::new(source)]);
        }
        let is_frames = |source| matches!(source, Source::Frames { .. });
        if wanted <= GATHERED_BYTES_MAX && self.sources(pending).all(is_frames) {
            let mut gathered = std::mem::take(&mut self.gathered);
            gathered.clear();
            for source in self.sources(pending) {
                gathered.extend_from_slice(self.bytes_of(source));
            }
            let written = socket.write(&mut [IoSlice::new(&gathered)]);
            self.gathered = gathered;
            return written;
        }
        let mut sources = self.sources(pending).map(|source| IoSlice::new(self.bytes_of(source)));
        // Most often there are few.
        let mut few = [IoSlice::new(&[]); PIECES_FEW];
        let mut len = 0;
        for (to, from) in few.iter_mut().zip(sources.by_ref()) {
            *to = from;
            len += 1;
        }
        let (few, _) = few.split_at_mut(len);
        match sources.next() {
            None => socket.write(few),
            Some(next) => {
                let all = few.iter().copied().chain([next]).chain(sources);
                socket.write(&mut all.collect::<Vec<_>>())
            }
        }
    }

    /// Adds all but the first `written` bytes of a list to a backlog.
    fn keep(&mut self, pending: Pending, mut written: usize, backlog: &mut Backlog) {
        let mut next = pending.first;
        while let Some(segment) = self.segments.get(next as usize) {
            next = segment.next;
            let source = segment.source;
            let len = source.len() as usize;
            let from = written.min(len);
            written -= from;
            if from == len {
                continue;
            }
            match source {
                Source::Frames { .. } => {
                    backlog.copy(self.bytes_of(source).get(from..).unwrap_or_default());
                }
                Source::Body { index, start, end } => {
                    if let Some(body) = self.bodies.get(index as usize) {
                        let shared = self.in_backlogs.share(body);
                        backlog.share(shared, start as usize + from..end as usize);
                    }
                }
            }
        }
    }
}

/// Records the result of a send of the ring.
fn record(sent: &mut [Option<i32>], name: u64, result: i32) {
    let entry = usize::try_from(name).ok().and_then(|name| sent.get_mut(name));
    if let Some(entry) = entry {
        *entry = Some(result);
    }
}

/// The frames of this turn that others may need too.
#[derive(Debug, Default)]
struct Shared {
    entries: Vec<SharedFrame>,
    headers: Vec<u8>,
    /// From the hash of message, variant and header to the entry. Of two with the same hash only the
    /// newer is found.
    index: Map<u64, u32>,
    /// The entry that was last found or made, and that which was last found by its hash.
    found: usize,
    first: usize,
    hasher: RandomState,
}

#[derive(Debug)]
struct SharedFrame {
    /// Referenced, so that its address stays unique for the turn.
    message: Arc<Message>,
    variant: u32,
    header: Range<usize>,
    frame: Frame,
}

impl Shared {
    fn find(&mut self, message: &Arc<Message>, variant: u32, header: &[u8]) -> Option<Frame> {
        let is_it = |frame: &&SharedFrame| {
            Arc::ptr_eq(&frame.message, message)
                && frame.variant == variant
                && self.headers.get(frame.header.clone()) == Some(header)
        };
        // Most often the next receiver needs the same, the one that came after it, or again the first of
        // several: no hash then.
        let near = [self.found, self.found + 1, self.first].into_iter();
        let mut near = near.filter(|&at| self.entries.get(at).is_some_and(|frame| is_it(&frame)));
        let at = match near.next() {
            Some(at) => at,
            None => {
                let at = *self.index.get(&self.hash(message, variant, header))? as usize;
                self.entries.get(at).filter(is_it)?;
                self.first = at;
                at
            }
        };
        self.found = at;
        self.entries.get(at).map(|shared| shared.frame)
    }

    fn insert(&mut self, message: &Arc<Message>, variant: u32, header: &[u8], frame: Frame) {
        let start = self.headers.len();
        self.headers.extend_from_slice(header);
        let header_range = start..self.headers.len();
        self.index.insert(self.hash(message, variant, header), narrow(self.entries.len()));
        let message = Arc::clone(message);
        self.found = self.entries.len();
        self.entries.push(SharedFrame { message, variant, header: header_range, frame });
    }

    fn hash(&self, message: &Arc<Message>, variant: u32, header: &[u8]) -> u64 {
        self.hasher.hash_one((Arc::as_ptr(message) as usize, variant, header))
    }

    fn clear(&mut self) {
        if !self.entries.is_empty() {
            self.entries.clear();
            self.headers.clear();
            self.index.clear();
        }
    }
}

/// Offsets within a turn; the owner flushes long before 4 GiB.
fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or_else(|_| {
        internal!("a turn that sends 4 GiB");
        NO_SEGMENT
    })
}

/// Among the results of the ring: the send has none yet.
const NOT_SENT: i32 = i32::MIN;
/// Up to this much is copied together for one plain write, which is faster than a vector.
const GATHERED_BYTES_MAX: usize = 64 << 10;
/// Pieces of a write for which no memory is required: two large messages.
const PIECES_FEW: usize = 6;
/// Capacity that stays allocated between turns.
const FRAMES_KEPT: usize = 4 << 20;
