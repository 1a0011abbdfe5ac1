use std::{borrow::Cow, mem};

use bytes::Bytes;
use contract::{ConnectionLimits, ProtocolLimits};

use crate::{Frame, FrameError, Headers, Verb, Version};

/// Reads frames from a stream of bytes, however it is split.
///
/// No byte of a frame is read twice: decoding is linear in the bytes received, even one at a time.
/// Between frames it holds no memory.
#[derive(Debug)]
pub struct Decoder {
    version: Version,
    /// The frame that has been received in part.
    partial: Option<Box<Partial>>,
    /// The count of frames received, wrapping.
    count: u32,
}

/// The bounds of a frame.
#[derive(Clone, Copy, Debug)]
pub struct FrameLimits {
    header_bytes_max: usize,
    headers_max: usize,
    body_bytes_max: usize,
}

impl Decoder {
    /// Reads frames with the escapes of STOMP 1.0 at first.
    #[must_use]
    pub const fn new() -> Self {
        Self { version: Version::V1_0, partial: None, count: 0 }
    }

    /// Sets whose escapes the headers of the next frames have.
    pub const fn set_version(&mut self, version: Version) {
        self.version = version;
    }

    /// Decodes the next frame of the input. `None` consumes all of it: the frame is incomplete.
    ///
    /// # Errors
    /// When the input is no frame, or too large a one; the stream cannot be read on.
    pub fn next(
        &mut self,
        input: &mut &[u8],
        limits: FrameLimits,
    ) -> Result<Option<Frame>, FrameError> {
        let mut partial = self.partial.take().map_or_else(Partial::default, |partial| *partial);
        let frame = partial.read(input, self.version, limits)?;
        if frame.is_some() {
            self.count = self.count.wrapping_add(1);
        } else if !partial.is_empty() {
            self.partial = Some(Box::new(partial));
        }
        Ok(frame)
    }

    /// The frame that has been received in part.
    #[must_use]
    pub fn partial(&self) -> Option<contract::Partial> {
        let partial = self.partial.as_ref()?;
        let body_bytes = match partial.stage {
            Stage::Command | Stage::Headers(_) => None,
            #[expect(clippy::cast_possible_truncation, reason = "it wraps")]
            Stage::Counted(..) | Stage::Open(_) => Some(partial.body.len() as u32),
        };
        Some(contract::Partial { number: self.count, body_bytes })
    }

    /// The memory that it takes.
    #[must_use]
    pub fn partial_memory(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| {
            let Partial { line, headers, body, .. } = &**partial;
            size_of::<Partial>() + line.capacity() + headers.memory() + body.capacity()
        })
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl FrameLimits {
    /// What a connection with these limits may send.
    #[must_use]
    pub const fn new(connection: &ConnectionLimits, protocol: &ProtocolLimits) -> Self {
        Self {
            header_bytes_max: protocol.header_bytes_max,
            headers_max: protocol.headers_max,
            body_bytes_max: connection.message_bytes_max,
        }
    }
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self::new(&ConnectionLimits::default(), &ProtocolLimits::default())
    }
}

#[derive(Debug, Default)]
struct Partial {
    stage: Stage,
    /// The line that has been received in part.
    line: Vec<u8>,
    /// Bytes of the lines read, EOLs included.
    header_bytes: usize,
    headers: Headers,
    body: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Stage {
    /// Heart-beats, which are empty lines, then a command.
    #[default]
    Command,
    Headers(Verb),
    /// A body of known length.
    Counted(Verb, usize),
    /// A body up to the first NUL.
    Open(Verb),
}

impl Partial {
    fn is_empty(&self) -> bool {
        matches!(self.stage, Stage::Command) && self.line.is_empty()
    }

    fn read(
        &mut self,
        input: &mut &[u8],
        version: Version,
        limits: FrameLimits,
    ) -> Result<Option<Frame>, FrameError> {
        loop {
            match self.stage {
                Stage::Command => {
                    let Some(line) = self.line(input, limits)? else { return Ok(None) };
                    if line.is_empty() {
                        self.header_bytes = 0;
                    } else {
                        let verb = Verb::parse(&line).ok_or(FrameError::UnknownCommand)?;
                        self.stage = Stage::Headers(verb);
                        self.headers = Headers::with_capacity(USUAL_BYTES, USUAL_COUNT);
                    }
                }
                Stage::Headers(verb) => {
                    let Some(line) = self.line(input, limits)? else { return Ok(None) };
                    if line.is_empty() {
                        self.stage = self.body_stage(verb, limits)?;
                    } else {
                        self.header(&line, if verb.has_escapes() { Some(version) } else { None })?;
                        if self.headers.len() > limits.headers_max {
                            return Err(FrameError::TooManyHeaders(limits.headers_max));
                        }
                    }
                }
                Stage::Counted(verb, length) => {
                    let body = self.counted(input, length)?;
                    return Ok(body.map(|body| self.frame(verb, body)));
                }
                Stage::Open(verb) => {
                    let body = self.until_nul(verb, input, limits)?;
                    return Ok(body.map(|body| self.frame(verb, body)));
                }
            }
        }
    }

    /// Consumes the rest of a line; returns the whole line without its EOL.
    fn line<'i>(
        &mut self,
        input: &mut &'i [u8],
        limits: FrameLimits,
    ) -> Result<Option<Cow<'i, [u8]>>, FrameError> {
        let end = memchr::memchr2(b'\n', 0, input);
        let (piece, rest) = input.split_at(end.map_or(input.len(), |at| at + 1));
        *input = rest;
        self.header_bytes += piece.len();
        if self.header_bytes > limits.header_bytes_max {
            return Err(FrameError::HeaderTooLarge(limits.header_bytes_max));
        }
        if matches!(self.stage, Stage::Command) && self.line.len() + piece.len() > COMMAND_BYTES_MAX
        {
            return Err(FrameError::UnknownCommand);
        }
        let whole: Cow<'i, [u8]> = if end.is_some() && self.line.is_empty() {
            piece.into()
        } else {
            self.line.extend_from_slice(piece);
            if end.is_none() {
                return Ok(None);
            }
            mem::take(&mut self.line).into()
        };
        if whole.last() == Some(&0) {
            return Err(match self.stage {
                Stage::Command => FrameError::StrayNul,
                Stage::Headers(_) | Stage::Counted(..) | Stage::Open(_) => FrameError::NulInHeader,
            });
        }
        let eol = if whole.ends_with(b"\r\n") { 2 } else { 1 };
        let kept = whole.len() - eol;
        Ok(Some(match whole {
            Cow::Borrowed(line) => Cow::Borrowed(line.get(..kept).unwrap_or_default()),
            Cow::Owned(mut line) => {
                line.truncate(kept);
                Cow::Owned(line)
            }
        }))
    }

    fn header(&mut self, line: &[u8], escapes: Option<Version>) -> Result<(), FrameError> {
        let line = str::from_utf8(line).map_err(|_| FrameError::NotUtf8)?;
        let (name, value) = line.split_once(':').ok_or(FrameError::NoColon)?;
        let plain =
            |text| escapes.map_or(Ok(Cow::Borrowed(text)), |version| version.unescape(text));
        let name = plain(name)?;
        if name.is_empty() {
            return Err(FrameError::NoName);
        }
        self.headers.push(&name, &plain(value)?);
        Ok(())
    }

    fn body_stage(&self, verb: Verb, limits: FrameLimits) -> Result<Stage, FrameError> {
        // Where no body may be, some clients leave the header of the message that they acknowledge.
        let length = self.headers.get("content-length").filter(|_| verb.has_body());
        let Some(length) = length else { return Ok(Stage::Open(verb)) };
        if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(FrameError::Length);
        }
        let length = length.parse().unwrap_or(usize::MAX);
        if length > limits.body_bytes_max {
            return Err(FrameError::BodyTooLarge(limits.body_bytes_max));
        }
        Ok(Stage::Counted(verb, length))
    }

    fn counted(&mut self, input: &mut &[u8], length: usize) -> Result<Option<Bytes>, FrameError> {
        let missing = length.saturating_sub(self.body.len());
        let (piece, rest) = input.split_at(missing.min(input.len()));
        let Some((end, rest)) = rest.split_first() else {
            *input = rest;
            wire::extend_within(length, &mut self.body, piece);
            return Ok(None);
        };
        *input = rest;
        if *end == 0 { Ok(Some(self.join(piece))) } else { Err(FrameError::NoNul) }
    }

    fn until_nul(
        &mut self,
        verb: Verb,
        input: &mut &[u8],
        limits: FrameLimits,
    ) -> Result<Option<Bytes>, FrameError> {
        let end = memchr::memchr(0, input);
        let (piece, rest) = input.split_at(end.unwrap_or(input.len()));
        *input = rest.get(1..).unwrap_or_default();
        if !piece.is_empty() && !verb.has_body() {
            return Err(FrameError::Body);
        }
        if self.body.len() + piece.len() > limits.body_bytes_max {
            return Err(FrameError::BodyTooLarge(limits.body_bytes_max));
        }
        if end.is_none() {
            wire::extend_within(limits.body_bytes_max, &mut self.body, piece);
            return Ok(None);
        }
        Ok(Some(self.join(piece)))
    }

    /// The body, in an allocation of its own.
    fn join(&mut self, piece: &[u8]) -> Bytes {
        if self.body.is_empty() {
            return Bytes::copy_from_slice(piece);
        }
        let mut body = mem::take(&mut self.body);
        body.reserve_exact(piece.len());
        body.extend_from_slice(piece);
        body.into_boxed_slice().into()
    }

    fn frame(&mut self, verb: Verb, body: Bytes) -> Frame {
        Frame { verb, headers: mem::take(&mut self.headers), body }
    }
}

/// Enough for the headers of most frames.
const USUAL_BYTES: usize = 128;
const USUAL_COUNT: usize = 8;

/// The longest command is UNSUBSCRIBE, with CR LF.
const COMMAND_BYTES_MAX: usize = 13;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_however_they_are_split() {
        type Expected = Result<&'static [(Verb, &'static str)], FrameError>;
        let cases: &[(&str, &[u8], Expected)] = &[
            ("EOL may be CR LF", b"SEND\r\na:b\r\n\r\nhi\0", Ok(&[(Verb::Send, "hi")])),
            (
                "content-length allows NUL",
                b"SEND\ncontent-length:3\n\na\0b\0",
                Ok(&[(Verb::Send, "a\0b")]),
            ),
            ("half a frame waits", b"SEND\ndestination:a\n\nh", Ok(&[])),
            ("half of the headers wait", b"SEND\ndesti", Ok(&[])),
            ("heart-beats are passed over", b"\n\r\n\n", Ok(&[])),
            (
                "one frame after the other",
                b"\nSEND\n\n1\0\n\nMESSAGE\n\n2\0ACK\n\n\0",
                Ok(&[(Verb::Send, "1"), (Verb::Message, "2"), (Verb::Ack, "")]),
            ),
            (
                "content-length says nothing where no body may be",
                b"ACK\ncontent-length:5\n\n\0SUBSCRIBE\ncontent-length:x\n\n\0",
                Ok(&[(Verb::Ack, ""), (Verb::Subscribe, "")]),
            ),
            ("a body where none may be", b"ACK\ncontent-length:2\n\nhi\0", Err(FrameError::Body)),
            ("a carriage return in a body stays", b"SEND\n\n\r\n\0", Ok(&[(Verb::Send, "\r\n")])),
            ("an undefined escape is fatal", b"SEND\na:\\t\n\n\0", Err(FrameError::Escape)),
            ("CONNECTED has no escapes", b"CONNECTED\na:\\t\n\n\0", Ok(&[(Verb::Connected, "")])),
            ("after a frame, no frame", b"SEND\n\n\0SEND\n\0", Err(FrameError::NulInHeader)),
        ];
        for (rule, bytes, expected) in cases {
            for split in 0..=bytes.len() {
                let read = read_all(&[&bytes[..split], &bytes[split..]]);
                let read: Result<Vec<_>, _> = read.map(|frames| {
                    frames
                        .into_iter()
                        .map(|frame| (frame.verb, String::from_utf8(frame.body.to_vec()).unwrap()))
                        .collect()
                });
                let expected = expected.map(|frames| {
                    frames.iter().map(|(verb, body)| (*verb, (*body).to_owned())).collect()
                });
                assert_eq!(read, expected, "{rule}, split at {split}");
            }
        }
    }

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        for version in Version::ALL {
            let frame = Frame::new(Verb::Message).with("a", "b").with_body("h\0i");
            let frame = match version {
                Version::V1_0 => frame,
                Version::V1_1 => frame.with("c:d", "\\e\nf"),
                Version::V1_2 => frame.with("c:d", "\\e\r\nf"),
            };
            let mut bytes = Vec::new();
            frame.encode(version, &mut bytes);
            let mut decoder = Decoder::new();
            decoder.set_version(version);
            let read =
                decoder.next(&mut bytes.as_slice(), FrameLimits::default()).unwrap().unwrap();
            assert_eq!(read, frame.with("content-length", "3"));
        }
    }

    /// Quadratic decoding would take minutes here.
    #[test]
    fn decoding_is_linear_even_one_byte_at_a_time() {
        let limits = FrameLimits { body_bytes_max: 4 << 20, ..FrameLimits::default() };
        let body = vec![b'x'; 2 << 20];
        for headers in ["SEND\n\n", "SEND\ncontent-length:2097152\n\n"] {
            let bytes = [headers.as_bytes(), &body, b"\0"].concat();
            let mut decoder = Decoder::new();
            let frames: Vec<_> = bytes
                .chunks(1)
                .filter_map(|mut byte| decoder.next(&mut byte, limits).unwrap())
                .collect();
            assert_eq!(frames[0].body, body);
        }
    }

    #[test]
    fn between_frames_no_memory_is_used() {
        let mut decoder = Decoder::new();
        for piece in [&b"SEND\na:b\n"[..], b"\nbo", b"dy\0\n"] {
            let mut piece = piece;
            while decoder.next(&mut piece, FrameLimits::default()).unwrap().is_some() {}
        }
        assert!(decoder.partial.is_none());
        assert_eq!(decoder.partial_memory(), 0);
    }

    #[test]
    fn a_frame_received_in_part_is_reported() {
        let cases: &[(&[u8], Option<(u32, Option<u32>)>)] = &[
            (b"", None),
            (b"\n\r\n", None),
            (b"SE", Some((0, None))),
            (b"SEND\na:b\n", Some((0, None))),
            (b"SEND\na:b\n\n", Some((0, Some(0)))),
            (b"SEND\n\nxyz", Some((0, Some(3)))),
            (b"SEND\ncontent-length:9\n\nx\ny", Some((0, Some(3)))),
            (b"SEND\n\nx\0\n", None),
            (b"SEND\n\nx\0SEND", Some((1, None))),
        ];
        for (bytes, expected) in cases {
            for size in [1, bytes.len().max(1)] {
                let mut decoder = Decoder::new();
                for mut piece in bytes.chunks(size) {
                    while decoder.next(&mut piece, FrameLimits::default()).unwrap().is_some() {}
                }
                let partial = decoder.partial().map(|partial| (partial.number, partial.body_bytes));
                assert_eq!(partial, *expected, "{:?}, {size} at a time", bytes.escape_ascii());
            }
        }
    }

    fn read_all(pieces: &[&[u8]]) -> Result<Vec<Frame>, FrameError> {
        let mut decoder = Decoder::new();
        decoder.set_version(Version::V1_2);
        let mut frames = Vec::new();
        for mut piece in pieces.iter().copied() {
            while let Some(frame) = decoder.next(&mut piece, FrameLimits::default())? {
                frames.push(frame);
            }
        }
        Ok(frames)
    }
}
