use contract::{ConnectionLimits, Data, Kind, Partial};
use wire::Utf8;

use crate::{
    Close, Deflate, FrameError, InflaterPool, Opcode, Unread, Version,
    header::{HEADER_BYTES_MAX, Header, Progress, Role},
    inflate::{INFLATER_BYTES, Inflater, deflated_bytes_max},
    mask, rfc6455,
};

/// What the peer sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event<'a> {
    /// A piece of a message, as it arrived; the last one may be empty, others are not.
    Data(Data<'a>),
    /// Wants a pong with the same payload.
    Ping(&'a [u8]),
    /// Replies to a ping, or to nothing.
    Pong(&'a [u8]),
    /// A close, or the reply to one that was sent. No event follows.
    Close(Option<Close<'a>>),
}

/// Decodes what one client sends, or what a server does.
///
/// Feed it what was read and pull events until there are none. Payload is handed out as it
/// arrives and never copied; between frames a decoder owns no other memory.
///
/// ```text
///          a header
/// Header ------------> Frame       a close, or any error
///        <------------       any ------------------------> Closed
///         all payload
/// ```
#[derive(Debug)]
pub struct Decoder {
    version: Version,
    from: Role,
    deflate: bool,
    /// Messages, and control frames outside them, that have come; wrapping.
    count: u32,
    stage: Stage,
    /// The message that has begun and not ended.
    message: Option<Message>,
    /// The beginning of a header or of a control frame that came in parts.
    buffered: Option<Box<Buffered>>,
}

#[derive(Debug)]
enum Stage {
    /// A header comes next.
    Header,
    /// What is left of this frame's payload comes next.
    Frame(Header),
    /// After a close or an error.
    Closed,
}

#[derive(Debug)]
struct Message {
    kind: Kind,
    utf8: Utf8,
    fragments: u32,
    /// The sum of the payload lengths in its frames' headers.
    announced: u64,
    /// Present when it is compressed.
    inflater: Option<Box<Inflater>>,
}

/// Where an event's bytes are.
enum Piece<'b> {
    Read(&'b [u8]),
    /// The first `n` bytes of the pool's scratch.
    Inflated(usize),
    Buffered,
}

enum Step<'b> {
    Data { kind: Kind, piece: Piece<'b>, last: bool },
    Control(Opcode, Piece<'b>),
}

impl Decoder {
    /// A decoder of what a client sends on a connection that was just upgraded.
    #[must_use]
    pub const fn new(version: Version, deflate: Option<Deflate>) -> Self {
        Self::from(Role::Client, version, deflate.is_some())
    }

    /// A decoder of what a server of RFC 6455 sends, without compression.
    #[must_use]
    pub const fn of_server() -> Self {
        Self::from(Role::Server, Version::Rfc6455, false)
    }

    const fn from(from: Role, version: Version, deflate: bool) -> Self {
        let stage = Stage::Header;
        Self { version, from, deflate, count: 0, stage, message: None, buffered: None }
    }

    /// The next event; `None` when all was decoded, which took it from `unread`.
    ///
    /// A caller that stops earlier keeps [`Unread::rest`], even an empty one, and puts it before the
    /// next bytes. After a close or an error there are no events, whatever follows.
    ///
    /// # Errors
    /// When the peer broke the rules or a limit.
    pub fn next<'a, 'b: 'a>(
        &'a mut self,
        unread: &mut Unread<'b>,
        limits: &ConnectionLimits,
        pool: &'a mut InflaterPool,
    ) -> Result<Option<Event<'a>>, FrameError> {
        if let Some(data) = self.whole(unread, limits)? {
            return Ok(Some(Event::Data(data)));
        }
        self.buffered.take_if(|buffered| buffered.returned);
        let step = match self.advance(unread, limits, pool) {
            Ok(Some(step)) => step,
            Ok(None) => return Ok(None),
            Err(error) => {
                self.close();
                return Err(error);
            }
        };
        let bytes = |piece| match piece {
            Piece::Read(bytes) => bytes,
            Piece::Inflated(count) => pool.scratch.get(..count).unwrap_or_default(),
            Piece::Buffered => self.buffered.as_ref().map_or(&[][..], |buffered| buffered.bytes()),
        };
        Ok(Some(match step {
            Step::Data { kind, piece, last } => {
                Event::Data(Data { kind, bytes: bytes(piece), last })
            }
            Step::Control(Opcode::Ping, piece) => Event::Ping(bytes(piece)),
            Step::Control(Opcode::Pong, piece) => Event::Pong(bytes(piece)),
            Step::Control(
                Opcode::Close | Opcode::Continuation | Opcode::Text | Opcode::Binary,
                piece,
            ) => Event::Close(Close::read(self.version, bytes(piece))?),
        }))
    }

    /// A message in one frame, not compressed and all of it there, as most are: the short way to
    /// what [`Decoder::advance`] does step by step. `None`: that one has to.
    fn whole<'b>(
        &mut self,
        unread: &mut Unread<'b>,
        limits: &ConnectionLimits,
    ) -> Result<Option<Data<'b>>, FrameError> {
        let is_fresh = self.from == Role::Client
            && matches!(self.stage, Stage::Header)
            && self.message.is_none()
            && self.buffered.is_none()
            && self.version != Version::Hybi06;
        if !is_fresh {
            return Ok(None);
        }
        let Some((kind, len, header_len)) = rfc6455::whole(unread.rest()) else { return Ok(None) };
        let key = unread.rest().get(header_len - 4..header_len);
        let Some(&[a, b, c, d]) = key else { return Ok(None) };
        if unread.len() < header_len + len || len > limits.message_bytes_max {
            return Ok(None);
        }
        self.count = self.count.wrapping_add(1);
        let _header = unread.take(header_len as u64);
        let bytes = unread.take(len as u64);
        mask::apply([a, b, c, d], bytes);
        if kind == Kind::Text && !wire::is_text(bytes) {
            self.close();
            return Err(FrameError::NotText);
        }
        Ok(Some(Data { kind, bytes, last: true }))
    }

    /// Whether no message has begun and not ended.
    #[must_use]
    pub const fn is_between_messages(&self) -> bool {
        self.message.is_none()
    }

    /// The message, or the frame outside messages, that was received in part.
    ///
    /// The body of a message are the payloads of its own frames as they came, compressed or not:
    /// neither headers nor pings count, so that nothing but its bytes, which are bounded, prolongs it.
    #[must_use]
    pub fn partial(&self) -> Option<Partial> {
        let body_bytes = match (&self.message, &self.stage) {
            (_, Stage::Closed) => return None,
            (Some(message), stage) => {
                let due = match stage {
                    Stage::Frame(header) if !header.opcode.is_control() => header.len,
                    Stage::Frame(_) | Stage::Header | Stage::Closed => 0,
                };
                #[expect(clippy::cast_possible_truncation, reason = "it wraps")]
                Some(message.announced.saturating_sub(due) as u32)
            }
            (None, Stage::Frame(_)) => None,
            (None, Stage::Header) => {
                self.buffered.as_ref().filter(|buffered| !buffered.returned)?;
                None
            }
        };
        Some(Partial { number: self.count, body_bytes })
    }

    /// The memory of what was received in part. That of the message itself is its reader's.
    #[must_use]
    pub fn partial_memory(&self) -> usize {
        let inflater = self.message.as_ref().and_then(|message| message.inflater.as_ref());
        let buffered = self.buffered.as_ref().map_or(0, |_| size_of::<Buffered>());
        inflater.map_or(0, |_| INFLATER_BYTES) + buffered
    }

    /// Lets go of the message that was received in part: nothing reads it any more, so the rest of
    /// it is returned as it comes.
    pub fn give_up(&mut self) {
        if let Some(message) = &mut self.message {
            (message.kind, message.utf8, message.inflater) = (Kind::Binary, Utf8::new(), None);
        }
    }

    fn close(&mut self) {
        self.stage = Stage::Closed;
        self.message = None;
        self.buffered = None;
    }

    fn advance<'b>(
        &mut self,
        unread: &mut Unread<'b>,
        limits: &ConnectionLimits,
        pool: &mut InflaterPool,
    ) -> Result<Option<Step<'b>>, FrameError> {
        loop {
            match self.stage {
                Stage::Header => {
                    let Some(header) = self.header(unread)? else { return Ok(None) };
                    self.begin(header, limits, pool)?;
                    self.stage = Stage::Frame(header);
                }
                Stage::Frame(header) if header.opcode.is_control() => {
                    return Ok(self.control(header, unread));
                }
                Stage::Frame(header) => {
                    let step = self.payload(header, unread, limits, pool)?;
                    if step.is_some() || unread.is_empty() {
                        return Ok(step);
                    }
                }
                Stage::Closed => {
                    // Discards it.
                    let _ = unread.take(u64::MAX);
                    return Ok(None);
                }
            }
        }
    }

    /// The header of the next frame, once all of it is there.
    fn header(&mut self, unread: &mut Unread<'_>) -> Result<Option<Header>, FrameError> {
        if self.buffered.is_none() {
            match self.version.read(self.from, unread.rest())? {
                Progress::Complete(header, count) => {
                    let _read = unread.take(count as u64);
                    return Ok(Some(header));
                }
                Progress::Needs(_) if unread.is_empty() => return Ok(None),
                Progress::Needs(_) => {}
            }
        }
        let buffered = self.buffered.get_or_insert_default();
        loop {
            match self.version.read(self.from, buffered.bytes())? {
                Progress::Complete(header, _) => {
                    self.buffered = None;
                    return Ok(Some(header));
                }
                Progress::Needs(_) if unread.is_empty() => return Ok(None),
                Progress::Needs(count) => buffered.fill(count, unread),
            }
        }
    }

    /// Checks a header against what came before it, and the limits.
    fn begin(
        &mut self,
        header: Header,
        limits: &ConnectionLimits,
        pool: &mut InflaterPool,
    ) -> Result<(), FrameError> {
        if header.deflated && !self.deflate {
            return Err(FrameError::ReservedBit);
        }
        let kind = match header.opcode {
            Opcode::Close | Opcode::Ping | Opcode::Pong => return Ok(()),
            Opcode::Text => Some(Kind::Text),
            Opcode::Binary => Some(Kind::Binary),
            Opcode::Continuation => None,
        };
        let message = match (&mut self.message, kind) {
            (Some(message), None) => message,
            (none @ None, Some(kind)) => {
                let inflater = header.deflated.then(|| pool.lend());
                none.insert(Message::new(kind, inflater))
            }
            (Some(_), Some(_)) => {
                return Err(FrameError::MessageNotEnded);
            }
            (None, None) => return Err(FrameError::MessageNotBegun),
        };
        // Many send an empty frame behind the last byte: it is no fragment.
        let is_fragment = header.len > 0 || !header.last;
        message.fragments = message.fragments.saturating_add(is_fragment.into());
        message.announced = message.announced.saturating_add(header.len);
        if message.fragments > limits.fragments_max {
            return Err(FrameError::TooManyFragments(limits.fragments_max));
        }
        let message_max = limits.message_bytes_max;
        let (bytes_max, too_large) = match message.inflater {
            None => (message_max as u64, FrameError::MessageTooLarge(message_max)),
            Some(_) => {
                let most = deflated_bytes_max(message_max);
                (most, FrameError::DeflatedTooLarge(most))
            }
        };
        if message.announced > bytes_max { Err(too_large) } else { Ok(()) }
    }

    /// What there is of a frame of data.
    fn payload<'b>(
        &mut self,
        mut header: Header,
        unread: &mut Unread<'b>,
        limits: &ConnectionLimits,
        pool: &mut InflaterPool,
    ) -> Result<Option<Step<'b>>, FrameError> {
        let Some(message) = &mut self.message else { return Ok(None) };
        let (piece, count, last) = match &mut message.inflater {
            None => {
                let bytes = unread.take(header.len);
                mask::apply(header.key, bytes);
                header.advance(bytes.len());
                message.check_text(bytes)?;
                (Piece::Read(bytes), bytes.len(), header.last && header.len == 0)
            }
            Some(inflater) => {
                let (scratch, mut count) = (&mut pool.scratch, 0);
                let bytes_max = limits.message_bytes_max;
                let last = inflater.inflate(unread, &mut header, bytes_max, scratch, &mut count);
                message.check_text(scratch.get(..count).unwrap_or_default())?;
                let last = last?;
                (Piece::Inflated(count), count, last)
            }
        };
        let kind = message.kind;
        self.stage = if last {
            self.end_message(pool)?;
            Stage::Header
        } else if header.len == 0 && !header.last {
            Stage::Header
        } else {
            Stage::Frame(header)
        };
        Ok((count > 0 || last).then_some(Step::Data { kind, piece, last }))
    }

    fn end_message(&mut self, pool: &mut InflaterPool) -> Result<(), FrameError> {
        let Some(message) = self.message.take() else { return Ok(()) };
        self.count = self.count.wrapping_add(1);
        if let Some(inflater) = message.inflater {
            pool.give_back(inflater);
        }
        if message.utf8.is_complete() { Ok(()) } else { Err(FrameError::NotText) }
    }

    /// A control frame, once all of it is there.
    fn control<'b>(&mut self, header: Header, unread: &mut Unread<'b>) -> Option<Step<'b>> {
        let piece = if self.buffered.is_none() && unread.len() as u64 >= header.len {
            let bytes = unread.take(header.len);
            mask::apply(header.key, bytes);
            Piece::Read(bytes)
        } else {
            if unread.is_empty() {
                return None;
            }
            let buffered = self.buffered.get_or_insert_default();
            buffered.fill(usize::try_from(header.len).unwrap_or(usize::MAX), unread);
            if (buffered.bytes().len() as u64) < header.len {
                return None;
            }
            buffered.unmask(header.key);
            Piece::Buffered
        };
        self.stage = Stage::Header;
        if self.message.is_none() {
            self.count = self.count.wrapping_add(1);
        }
        if header.opcode == Opcode::Close {
            self.stage = Stage::Closed;
            self.message = None;
        }
        Some(Step::Control(header.opcode, piece))
    }
}

impl Message {
    const fn new(kind: Kind, inflater: Option<Box<Inflater>>) -> Self {
        Self { kind, utf8: Utf8::new(), fragments: 0, announced: 0, inflater }
    }

    fn check_text(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        match self.kind {
            Kind::Text => self.utf8.push(bytes).map_err(|_| FrameError::NotText),
            Kind::Binary | Kind::Stream => Ok(()),
        }
    }
}

/// A few bytes that must be read together and came in parts.
#[derive(Debug)]
struct Buffered {
    bytes: [u8; CONTROL_BYTES_MAX],
    len: u8,
    /// Whether they were returned out, and can be forgotten.
    returned: bool,
}

impl Default for Buffered {
    fn default() -> Self {
        Self { bytes: [0; CONTROL_BYTES_MAX], len: 0, returned: false }
    }
}

impl Buffered {
    fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Takes what is missing to `count` bytes, or what there is of it.
    fn fill(&mut self, count: usize, unread: &mut Unread<'_>) {
        let free = self.bytes.get_mut(usize::from(self.len)..count).unwrap_or_default();
        let taken = unread.take(free.len() as u64);
        for (to, from) in free.iter_mut().zip(taken) {
            *to = *from;
            self.len += 1;
        }
    }

    fn unmask(&mut self, key: [u8; 4]) {
        mask::apply(key, &mut self.bytes);
        self.returned = true;
    }
}

/// Longest payload of a control frame (RFC 6455 section 5.5).
const CONTROL_BYTES_MAX: usize = 125;

const _: () = assert!(HEADER_BYTES_MAX <= CONTROL_BYTES_MAX);
const _: () = assert!(size_of::<Decoder>() <= 64, "ten thousand idle ones cost little");
