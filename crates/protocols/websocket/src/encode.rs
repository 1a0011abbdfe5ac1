//! Frames: the server's, which are not masked, and the client's, which are.

use contract::{Kind, SendBuffer};

use crate::{Deflate, Deflater, NO_CODE, Opcode, Version, header::HEADER_BYTES_MAX, mask};

/// Who sends a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sender {
    /// The server, in the version that its client speaks.
    Server(Version),
    /// The client, of RFC 6455. The key masks one frame, and no peer must be able to foresee it
    /// (section 5.3).
    Client {
        /// The masking key.
        key: [u8; 4],
    },
}

impl From<Version> for Sender {
    fn from(version: Version) -> Self {
        Self::Server(version)
    }
}

impl Sender {
    const fn version(self) -> Version {
        match self {
            Self::Server(version) => version,
            Self::Client { .. } => Version::Rfc6455,
        }
    }

    fn mask(self, payload: &mut [u8]) {
        match self {
            Self::Server(_) => {}
            Self::Client { key } => mask::apply(key, payload),
        }
    }
}

/// Where a message, or a piece of one, starts whose payload is being appended.
#[derive(Debug)]
#[must_use = "a message that is not finished has no header"]
pub struct MessageStart {
    start: usize,
}

/// Begins a message or a piece of one: append its payload to the buffer, then
/// [`MessageStart::finish`] it.
pub fn begin(out: &mut SendBuffer) -> MessageStart {
    let start = out.own().len();
    out.extend_from_slice(&[0; HEADER_BYTES_USUAL]);
    MessageStart { start }
}

impl MessageStart {
    /// Ends the message with what was appended since as its payload, compressed where that was
    /// agreed on and makes it smaller.
    #[inline]
    pub fn finish(
        self,
        out: &mut SendBuffer,
        sender: impl Into<Sender>,
        kind: Kind,
        deflate: Option<(&mut Deflater, Deflate)>,
    ) {
        let payload = self.start + HEADER_BYTES_USUAL;
        let is_deflated =
            deflate.is_some_and(|(deflater, agreed)| deflater.deflate(agreed, out, payload));
        self.put_header(out, sender.into(), opcode(kind), true, is_deflated);
    }

    /// Ends a piece of a message, as a frame of its own that is not compressed: the `first` piece says
    /// the kind, the `last` one ends the message (RFC 6455 section 5.4).
    pub fn finish_piece(
        self,
        out: &mut SendBuffer,
        sender: impl Into<Sender>,
        kind: Kind,
        first: bool,
        last: bool,
    ) {
        let opcode = if first { opcode(kind) } else { Opcode::Continuation };
        self.put_header(out, sender.into(), opcode, last, false);
    }

    #[inline]
    fn put_header(
        self,
        out: &mut SendBuffer,
        sender: Sender,
        opcode: Opcode,
        last: bool,
        deflated: bool,
    ) {
        let payload = self.start + HEADER_BYTES_USUAL;
        let len = out.len_from(payload);
        let first = first_byte(sender, opcode, last, deflated);
        if let (Sender::Server(_), 0..=LEN_16_MAX) = (sender, len) {
            return self.put_short_header(out.own_mut(), first, len);
        }
        self.put_any_header(out, sender, first, len);
    }

    fn put_any_header(self, out: &mut SendBuffer, sender: Sender, first: u8, len: usize) {
        let payload = self.start + HEADER_BYTES_USUAL;
        if let Sender::Client { .. } = sender {
            copy_shared(out, payload);
            sender.mask(out.own_mut().get_mut(payload..).unwrap_or_default());
        }
        let header = Header::new(sender, first, len);
        let room = HEADER_BYTES_USUAL.min(header.len);
        let (usual, more) = header.bytes().split_at(room);
        if let Some(to) = out.own_mut().get_mut(self.start..self.start + room) {
            to.copy_from_slice(usual);
        }
        if room < HEADER_BYTES_USUAL {
            self.close_gap(out.own_mut(), room);
        }
        if !more.is_empty() {
            out.insert(payload, more);
        }
    }

    /// The header of most frames: a server's of less than 64 KiB.
    #[inline]
    fn put_short_header(self, own: &mut Vec<u8>, first: u8, len: usize) {
        let [.., high, low] = len.to_be_bytes();
        let room = own.get_mut(self.start..).and_then(<[u8]>::first_chunk_mut);
        let Some(room) = room else { return };
        if len > LEN_7_MAX {
            *room = [first, LEN_16, high, low];
        } else {
            let [to_first, to_len, ..]: &mut [u8; HEADER_BYTES_USUAL] = room;
            (*to_first, *to_len) = (first, low);
            self.close_gap(own, 2);
        }
    }

    /// Moves a payload up to a header that is shorter than usual.
    #[inline]
    fn close_gap(&self, own: &mut Vec<u8>, header: usize) {
        own.copy_within(self.start + HEADER_BYTES_USUAL.., self.start + header);
        own.truncate(own.len() - (HEADER_BYTES_USUAL - header));
    }
}

/// Makes what is referenced behind the first `from` bytes the buffer's own: it is to be masked.
fn copy_shared(out: &mut SendBuffer, from: usize) {
    if out.shared_from(from).is_empty() {
        return;
    }
    let mut own = Vec::new();
    let mut copied = 0;
    for shared in out.take_from(from, &mut own) {
        out.extend_from_slice(own.get(copied..shared.at).unwrap_or_default());
        out.extend_from_slice(shared.bytes());
        copied = shared.at;
    }
    out.extend_from_slice(own.get(copied..).unwrap_or_default());
}

/// Appends a frame that is not compressed.
pub fn encode(
    out: &mut Vec<u8>,
    sender: impl Into<Sender>,
    opcode: Opcode,
    last: bool,
    payload: &[u8],
) {
    let sender = sender.into();
    let first = first_byte(sender, opcode, last, false);
    out.extend_from_slice(Header::new(sender, first, payload.len()).bytes());
    let start = out.len();
    out.extend_from_slice(payload);
    sender.mask(out.get_mut(start..).unwrap_or_default());
}

/// Appends a ping. No more than 125 bytes of the payload are sent.
pub fn encode_ping(out: &mut Vec<u8>, sender: impl Into<Sender>, payload: &[u8]) {
    encode(out, sender, Opcode::Ping, true, truncate(payload));
}

/// Appends a pong. No more than 125 bytes of the payload are sent.
pub fn encode_pong(out: &mut Vec<u8>, sender: impl Into<Sender>, payload: &[u8]) {
    encode(out, sender, Opcode::Pong, true, truncate(payload));
}

/// Appends a close; [`NO_CODE`] sends one without a payload. The reason is truncated to 123
/// bytes, between characters.
pub fn encode_close(out: &mut Vec<u8>, sender: impl Into<Sender>, code: u16, reason: &str) {
    let sender = sender.into();
    if code == NO_CODE {
        return encode(out, sender, Opcode::Close, true, &[]);
    }
    let (reason, _) = reason.split_at(reason.floor_char_boundary(CONTROL_BYTES_MAX - 2));
    let code = sender.version().code(code).to_be_bytes();
    encode(out, sender, Opcode::Close, true, &[&code, reason.as_bytes()].concat());
}

/// The header of a frame: `FIN RSV1 0 0 opcode(4) | MASK length(7) | length(0, 16 or 64)`, and the
/// masking key of a client's.
struct Header {
    bytes: [u8; HEADER_BYTES_MAX],
    len: usize,
}

impl Header {
    fn new(sender: Sender, first: u8, payload: usize) -> Self {
        let [.., high, low] = payload.to_be_bytes();
        let mut header = Self { bytes: [0; HEADER_BYTES_MAX], len: 0 };
        if payload <= LEN_7_MAX {
            header.put([first, low]);
        } else if payload <= LEN_16_MAX {
            header.put([first, LEN_16, high, low]);
        } else {
            header.put([first, LEN_64]);
            header.put((payload as u64).to_be_bytes());
        }
        if let Sender::Client { key } = sender {
            header.bytes[1] |= 0x80;
            header.put(key);
        }
        header
    }

    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        if let Some(room) = self.bytes.get_mut(self.len..).and_then(<[u8]>::first_chunk_mut) {
            *room = bytes;
            self.len += N;
        }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

fn first_byte(sender: Sender, opcode: Opcode, last: bool, deflated: bool) -> u8 {
    sender.version().number(opcode) | u8::from(last) << 7 | u8::from(deflated) << 6
}

const fn opcode(kind: Kind) -> Opcode {
    match kind {
        Kind::Text => Opcode::Text,
        Kind::Binary | Kind::Stream => Opcode::Binary,
    }
}

fn truncate(payload: &[u8]) -> &[u8] {
    payload.get(..CONTROL_BYTES_MAX).unwrap_or(payload)
}

/// Longest payload of a control frame (RFC 6455 section 5.5).
const CONTROL_BYTES_MAX: usize = 125;

/// Room left for a header until the length is known: that of messages of 126 bytes to 64 KiB. For
/// others, and where a key is to be in it, the payload moves.
const HEADER_BYTES_USUAL: usize = 4;
/// The longest payloads whose length takes 7 and 16 bits, and what stands before a length of 16 and
/// of 64 bits (RFC 6455 section 5.2).
const LEN_7_MAX: usize = 125;
const LEN_16_MAX: usize = (1 << 16) - 1;
const LEN_16: u8 = 126;
const LEN_64: u8 = 127;
