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
        if let Sender::Client { .. } = sender {
            copy_shared(out, payload);
            sender.mask(out.own_mut().get_mut(payload..).unwrap_or_default());
        }
        let header = Header::new(sender, opcode, last, deflated, len);
        let header = header.bytes();
        if let Some(more) = header.get(HEADER_BYTES_USUAL..).filter(|more| !more.is_empty()) {
            out.insert(payload, more);
        }
        let own = out.own_mut();
        match (own.get_mut(self.start..payload), header) {
            // A short payload moves up to its short header.
            (Some([first, second, ..]), &[a, b]) => {
                (*first, *second) = (a, b);
                own.copy_within(payload.., self.start + header.len());
                own.truncate(own.len() - (HEADER_BYTES_USUAL - header.len()));
            }
            (Some([first, second, third, fourth]), &[a, b, c, d, ..]) => {
                (*first, *second, *third, *fourth) = (a, b, c, d);
            }
            (Some(_) | None, _) => {}
        }
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
    out.extend_from_slice(Header::new(sender, opcode, last, false, payload.len()).bytes());
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
    fn new(sender: Sender, opcode: Opcode, last: bool, deflated: bool, payload: usize) -> Self {
        let version = sender.version();
        let first = version.number(opcode) | u8::from(last) << 7 | u8::from(deflated) << 6;
        let [.., high, low] = payload.to_be_bytes();
        let mut header = Self { bytes: [0; HEADER_BYTES_MAX], len: 0 };
        if payload < 126 {
            header.put([first, low]);
        } else if payload < 1 << 16 {
            header.put([first, 126, high, low]);
        } else {
            header.put([first, 127]);
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
