use contract::{Data, Kind, Limits, Partial};
use wire::Utf8;

use crate::{
    Close, Deflate, FrameError, InflaterPool, Opcode, Unread, Version,
    head::{self, HEAD_BYTES_MAX, Head, Progress},
    inflate::{Inflater, deflated_bytes_max},
    mask,
};

/// What the peer says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event<'a> {
    /// A piece of a message, as it arrived; the last one may be empty, others are not.
    Data(Data<'a>),
    /// Wants a pong with the same payload.
    Ping(&'a [u8]),
    /// Answers a ping, or nothing.
    Pong(&'a [u8]),
    /// The peer closes, or answers our close. Nothing comes after this.
    Close(Option<Close<'a>>),
}

/// Decodes what one client sends.
///
/// Feed it what was read and pull events until there are none. Payload is handed out as it
/// arrives and never copied; while nothing is under way a decoder owns no other memory.
///
/// ```text
///          a head
/// Head ------------> Frame       a close, or any error
///      <------------       any ------------------------> Closed
///       all payload
/// ```
#[derive(Debug)]
pub struct Decoder {
    version: Version,
    deflate: bool,
    /// Messages, and control frames outside them, that have come; wrapping.
    count: u32,
    stage: Stage,
    /// The message under way.
    message: Option<Message>,
    /// The beginning of a head or of a control frame that was cut.
    kept: Option<Box<Kept>>,
}

#[derive(Debug)]
enum Stage {
    /// A head comes next.
    Head,
    /// What is left of this frame's payload comes next.
    Frame(Head),
    /// The last word was said.
    Closed,
}

#[derive(Debug)]
struct Message {
    kind: Kind,
    utf8: Utf8,
    fragments: u32,
    /// Bytes that the heads of its frames announced.
    announced: u64,
    /// Present when it is compressed.
    inflater: Option<Box<Inflater>>,
}

/// Where an event's bytes are.
enum Piece<'b> {
    Read(&'b [u8]),
    /// So many bytes of the pool's scratch.
    Inflated(usize),
    Kept,
}

enum Step<'b> {
    Data { kind: Kind, piece: Piece<'b>, last: bool },
    Control(Opcode, Piece<'b>),
}

impl Decoder {
    /// A decoder for a connection that was just upgraded.
    #[must_use]
    pub const fn new(version: Version, deflate: Option<Deflate>) -> Self {
        let deflate = deflate.is_some();
        Self { version, deflate, count: 0, stage: Stage::Head, message: None, kept: None }
    }

    /// The next event; `None` when all was decoded, which took it from `unread`.
    ///
    /// Who stops earlier keeps [`Unread::rest`], even an empty one, and puts it before the next
    /// bytes. After a close or an error there are no events, whatever follows.
    ///
    /// # Errors
    /// When the peer broke the rules or a limit.
    pub fn next<'a, 'b: 'a>(
        &'a mut self,
        unread: &mut Unread<'b>,
        limits: &Limits,
        pool: &'a mut InflaterPool,
    ) -> Result<Option<Event<'a>>, FrameError> {
        if let Some(data) = self.whole(unread, limits)? {
            return Ok(Some(Event::Data(data)));
        }
        self.kept.take_if(|kept| kept.given);
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
            Piece::Kept => self.kept.as_ref().map_or(&[][..], |kept| kept.bytes()),
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
        limits: &Limits,
    ) -> Result<Option<Data<'b>>, FrameError> {
        let is_fresh = matches!(self.stage, Stage::Head)
            && self.message.is_none()
            && self.kept.is_none()
            && self.version != Version::Hybi06;
        if !is_fresh {
            return Ok(None);
        }
        let Some((kind, len, head_len)) = head::whole(unread.rest()) else { return Ok(None) };
        let key = unread.rest().get(head_len - 4..head_len);
        let Some(&[a, b, c, d]) = key else { return Ok(None) };
        if unread.len() < head_len + len || len > limits.message_bytes_max {
            return Ok(None);
        }
        self.count = self.count.wrapping_add(1);
        let _head = unread.take(head_len as u64);
        let bytes = unread.take(len as u64);
        mask::apply([a, b, c, d], bytes);
        if kind == Kind::Text && !wire::is_text(bytes) {
            self.close();
            return Err(FrameError::NotText);
        }
        Ok(Some(Data { kind, bytes, last: true }))
    }

    /// Whether no message of the peer is under way.
    #[must_use]
    pub const fn is_between_messages(&self) -> bool {
        self.message.is_none()
    }

    /// The message, or the frame outside messages, that has come in part.
    ///
    /// The body of a message are the payloads of its own frames as they came, compressed or not:
    /// neither heads nor pings count, so that nothing but its bytes, which are bounded, prolongs it.
    #[must_use]
    pub fn partial(&self) -> Option<Partial> {
        let body_bytes = match (&self.message, &self.stage) {
            (_, Stage::Closed) => return None,
            (Some(message), stage) => {
                let due = match stage {
                    Stage::Frame(head) if !head.opcode.is_control() => head.len,
                    Stage::Frame(_) | Stage::Head | Stage::Closed => 0,
                };
                #[expect(clippy::cast_possible_truncation, reason = "it wraps")]
                Some(message.announced.saturating_sub(due) as u32)
            }
            (None, Stage::Frame(_)) => None,
            (None, Stage::Head) => {
                self.kept.as_ref().filter(|kept| !kept.given)?;
                None
            }
        };
        Some(Partial { number: self.count, body_bytes })
    }

    fn close(&mut self) {
        self.stage = Stage::Closed;
        self.message = None;
        self.kept = None;
    }

    fn advance<'b>(
        &mut self,
        unread: &mut Unread<'b>,
        limits: &Limits,
        pool: &mut InflaterPool,
    ) -> Result<Option<Step<'b>>, FrameError> {
        loop {
            match self.stage {
                Stage::Head => {
                    let Some(head) = self.head(unread)? else { return Ok(None) };
                    self.begin(head, limits, pool)?;
                    self.stage = Stage::Frame(head);
                }
                Stage::Frame(head) if head.opcode.is_control() => {
                    return Ok(self.control(head, unread));
                }
                Stage::Frame(head) => {
                    let step = self.payload(head, unread, limits, pool)?;
                    if step.is_some() || unread.is_empty() {
                        return Ok(step);
                    }
                }
                Stage::Closed => {
                    let _nobody_reads_it = unread.take(u64::MAX);
                    return Ok(None);
                }
            }
        }
    }

    /// The head of the next frame, once all of it is there.
    fn head(&mut self, unread: &mut Unread<'_>) -> Result<Option<Head>, FrameError> {
        if self.kept.is_none() {
            match head::read(self.version, unread.rest())? {
                Progress::Complete(head, count) => {
                    let _read = unread.take(count as u64);
                    return Ok(Some(head));
                }
                Progress::Needs(_) if unread.is_empty() => return Ok(None),
                Progress::Needs(_) => {}
            }
        }
        let kept = self.kept.get_or_insert_default();
        loop {
            match head::read(self.version, kept.bytes())? {
                Progress::Complete(head, _) => {
                    self.kept = None;
                    return Ok(Some(head));
                }
                Progress::Needs(_) if unread.is_empty() => return Ok(None),
                Progress::Needs(count) => kept.fill(count, unread),
            }
        }
    }

    /// Checks a head against what came before it, and the limits.
    fn begin(
        &mut self,
        head: Head,
        limits: &Limits,
        pool: &mut InflaterPool,
    ) -> Result<(), FrameError> {
        if head.deflated && !self.deflate {
            return Err(FrameError::ReservedBit);
        }
        let kind = match head.opcode {
            Opcode::Close | Opcode::Ping | Opcode::Pong => return Ok(()),
            Opcode::Text => Some(Kind::Text),
            Opcode::Binary => Some(Kind::Binary),
            Opcode::Continuation => None,
        };
        let message = match (&mut self.message, kind) {
            (Some(message), None) => message,
            (none @ None, Some(kind)) => {
                let inflater = head.deflated.then(|| pool.lend());
                none.insert(Message::new(kind, inflater))
            }
            (Some(_), Some(_)) => {
                return Err(FrameError::MessageNotEnded);
            }
            (None, None) => return Err(FrameError::MessageNotBegun),
        };
        // Many send an empty frame behind the last byte: it is no fragment.
        let is_fragment = head.len > 0 || !head.last;
        message.fragments = message.fragments.saturating_add(is_fragment.into());
        message.announced = message.announced.saturating_add(head.len);
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
        mut head: Head,
        unread: &mut Unread<'b>,
        limits: &Limits,
        pool: &mut InflaterPool,
    ) -> Result<Option<Step<'b>>, FrameError> {
        let Some(message) = &mut self.message else { return Ok(None) };
        let (piece, count, last) = match &mut message.inflater {
            None => {
                let bytes = unread.take(head.len);
                mask::apply(head.key, bytes);
                head.advance(bytes.len());
                message.check_text(bytes)?;
                (Piece::Read(bytes), bytes.len(), head.last && head.len == 0)
            }
            Some(inflater) => {
                let (scratch, mut count) = (&mut pool.scratch, 0);
                let bytes_max = limits.message_bytes_max;
                let last = inflater.inflate(unread, &mut head, bytes_max, scratch, &mut count);
                message.check_text(scratch.get(..count).unwrap_or_default())?;
                let last = last?;
                (Piece::Inflated(count), count, last)
            }
        };
        let kind = message.kind;
        self.stage = if last {
            self.end_message(pool)?;
            Stage::Head
        } else if head.len == 0 && !head.last {
            Stage::Head
        } else {
            Stage::Frame(head)
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
    fn control<'b>(&mut self, head: Head, unread: &mut Unread<'b>) -> Option<Step<'b>> {
        let piece = if self.kept.is_none() && unread.len() as u64 >= head.len {
            let bytes = unread.take(head.len);
            mask::apply(head.key, bytes);
            Piece::Read(bytes)
        } else {
            if unread.is_empty() {
                return None;
            }
            let kept = self.kept.get_or_insert_default();
            kept.fill(usize::try_from(head.len).unwrap_or(usize::MAX), unread);
            if (kept.bytes().len() as u64) < head.len {
                return None;
            }
            kept.give(head.key);
            Piece::Kept
        };
        self.stage = Stage::Head;
        if self.message.is_none() {
            self.count = self.count.wrapping_add(1);
        }
        if head.opcode == Opcode::Close {
            self.stage = Stage::Closed;
            self.message = None;
        }
        Some(Step::Control(head.opcode, piece))
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

/// A few bytes that must be seen together and were cut.
#[derive(Debug)]
struct Kept {
    bytes: [u8; CONTROL_BYTES_MAX],
    len: u8,
    /// Whether they were given out, and can be forgotten.
    given: bool,
}

impl Default for Kept {
    fn default() -> Self {
        Self { bytes: [0; CONTROL_BYTES_MAX], len: 0, given: false }
    }
}

impl Kept {
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

    fn give(&mut self, key: [u8; 4]) {
        mask::apply(key, &mut self.bytes);
        self.given = true;
    }
}

/// Longest payload of a control frame (RFC 6455 section 5.5).
const CONTROL_BYTES_MAX: usize = 125;

const _: () = assert!(HEAD_BYTES_MAX <= CONTROL_BYTES_MAX);
const _: () = assert!(size_of::<Decoder>() <= 64, "ten thousand idle ones cost little");
