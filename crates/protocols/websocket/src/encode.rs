//! The server's frames, which are not masked.

use contract::{Kind, SendBuffer};

use crate::{Deflate, Deflater, NO_CODE, Opcode, Version};

/// Where a message starts whose payload is being appended.
#[derive(Debug)]
#[must_use = "a message that is not finished has no header"]
pub struct MessageStart {
    start: usize,
}

/// Begins a message: append its payload to the buffer, then [`MessageStart::finish`] it.
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
        version: Version,
        kind: Kind,
        deflate: Option<(&mut Deflater, Deflate)>,
    ) {
        let payload = self.start + HEADER_BYTES_USUAL;
        let is_deflated =
            deflate.is_some_and(|(deflater, agreed)| deflater.deflate(agreed, out, payload));
        let len = out.len_from(payload);
        let header = Header::new(version, opcode(kind), true, is_deflated, len);
        let header = header.bytes();
        if let Some(more) = header.get(HEADER_BYTES_USUAL..).filter(|more| !more.is_empty()) {
            out.insert(payload, more);
        }
        let own = out.own_mut();
        match own.get_mut(self.start..payload) {
            // A short payload moves up to its short header.
            Some(room) if header.len() < room.len() => {
                let (room, _) = room.split_at_mut(header.len());
                room.copy_from_slice(header);
                own.copy_within(payload.., self.start + header.len());
                own.truncate(own.len() - (HEADER_BYTES_USUAL - header.len()));
            }
            Some(room) => room.copy_from_slice(header.get(..room.len()).unwrap_or_default()),
            None => {}
        }
    }
}

/// Appends a frame that is not compressed.
pub fn encode(out: &mut Vec<u8>, version: Version, opcode: Opcode, last: bool, payload: &[u8]) {
    out.extend_from_slice(Header::new(version, opcode, last, false, payload.len()).bytes());
    out.extend_from_slice(payload);
}

/// Appends a ping. No more than 125 bytes of the payload are sent.
pub fn encode_ping(out: &mut Vec<u8>, version: Version, payload: &[u8]) {
    encode(out, version, Opcode::Ping, true, truncate(payload));
}

/// Appends a pong. No more than 125 bytes of the payload are sent.
pub fn encode_pong(out: &mut Vec<u8>, version: Version, payload: &[u8]) {
    encode(out, version, Opcode::Pong, true, truncate(payload));
}

/// Appends a close; [`NO_CODE`] sends one without a payload. The reason is truncated to 123
/// bytes, between characters.
pub fn encode_close(out: &mut Vec<u8>, version: Version, code: u16, reason: &str) {
    if code == NO_CODE {
        return encode(out, version, Opcode::Close, true, &[]);
    }
    let (reason, _) = reason.split_at(reason.floor_char_boundary(CONTROL_BYTES_MAX - 2));
    out.extend_from_slice(
        Header::new(version, Opcode::Close, true, false, reason.len() + 2).bytes(),
    );
    out.extend_from_slice(&version.code(code).to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

/// The header of a server's frame: `FIN RSV1 0 0 opcode(4) | 0 length(7) | length(0, 16 or 64)`.
struct Header {
    bytes: [u8; 10],
    len: usize,
}

impl Header {
    fn new(version: Version, opcode: Opcode, last: bool, deflated: bool, payload: usize) -> Self {
        let first = version.number(opcode) | u8::from(last) << 7 | u8::from(deflated) << 6;
        let [.., high, low] = payload.to_be_bytes();
        if payload < 126 {
            Self { bytes: [first, low, 0, 0, 0, 0, 0, 0, 0, 0], len: 2 }
        } else if payload < 1 << 16 {
            Self { bytes: [first, 126, high, low, 0, 0, 0, 0, 0, 0], len: 4 }
        } else {
            let [a, b, c, d, e, f, g, h] = (payload as u64).to_be_bytes();
            Self { bytes: [first, 127, a, b, c, d, e, f, g, h], len: 10 }
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
/// others the payload moves by two bytes back or six forth.
const HEADER_BYTES_USUAL: usize = 4;
