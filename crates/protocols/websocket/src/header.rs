//! The headers of frames (RFC 6455 section 5.2).
//!
//! ```text
//! FIN RSV1 RSV2 RSV3 opcode(4) | MASK length(7) | length(0, 16 or 64) | masking key(32)
//! ```

use contract::Kind;
use wire::Reader;

use crate::{FrameError, Version, hybi06, mask};

/// What a frame is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Opcode {
    /// Goes on with a message.
    Continuation,
    /// Begins a message of text.
    Text,
    /// Begins a message of bytes.
    Binary,
    /// Ends the connection.
    Close,
    /// Wants a pong.
    Ping,
    /// Replies to a ping.
    Pong,
}

/// The header of a frame from a client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Header {
    pub(crate) opcode: Opcode,
    /// FIN.
    pub(crate) last: bool,
    /// RSV1 (RFC 7692 section 6).
    pub(crate) deflated: bool,
    /// Bytes of payload.
    pub(crate) len: u64,
    /// For the first byte of the payload.
    pub(crate) key: [u8; 4],
}

/// How far the reading of a header came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Progress {
    /// The bytes that are required, from the beginning, to get further.
    Needs(usize),
    /// The header, and the bytes it has.
    Complete(Header, usize),
}

/// Longest header of a client's frame, in bytes, in any version.
pub(crate) const HEADER_BYTES_MAX: usize = 14;

/// Reads the header that the bytes begin with.
pub(crate) fn read(version: Version, bytes: &[u8]) -> Result<Progress, FrameError> {
    match version {
        Version::Rfc6455 | Version::Hybi08 => read_rfc6455(bytes),
        Version::Hybi06 => hybi06::read(bytes),
    }
}

/// The kind and length of a final, uncompressed and masked text or binary frame of up to 64 KiB,
/// and the length of its header. `None`: anything else, or not all of the header.
pub(crate) fn whole(bytes: &[u8]) -> Option<(Kind, usize, usize)> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    let kind = match first {
        0x81 => Kind::Text,
        0x82 => Kind::Binary,
        _ => return None,
    };
    match second {
        0x80..=0xFD => Some((kind, usize::from(second & 0x7F), 6)),
        0xFE => {
            let len = u16::from_be_bytes(*rest.first_chunk()?);
            (len > 125).then_some((kind, len.into(), 8))
        }
        _ => None,
    }
}

fn read_rfc6455(bytes: &[u8]) -> Result<Progress, FrameError> {
    let mut reader = Reader::new(bytes);
    let Some([first, second]) = reader.array() else { return Ok(Progress::Needs(2)) };
    let fields = Fields::read(first, second, opcode_of)?;
    if second & 0x80 == 0 {
        return Err(FrameError::NotMasked);
    }
    let needs = 2 + fields.length_bytes() + 4;
    if bytes.len() < needs {
        return Ok(Progress::Needs(needs));
    }
    let len = fields.length(&mut reader)?;
    let key = reader.array().unwrap_or_default();
    Ok(Progress::Complete(fields.header(len, key), needs))
}

/// The fixed fields of a header, which all versions have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields {
    opcode: Opcode,
    last: bool,
    deflated: bool,
    /// The length, or 126 or 127 where more bytes hold it.
    length_code: u8,
}

impl Fields {
    /// Reads the first two bytes, with a version's numbers of opcodes.
    pub(crate) fn read(
        first: u8,
        second: u8,
        opcode: impl Fn(u8) -> Option<Opcode>,
    ) -> Result<Self, FrameError> {
        let opcode = opcode(first & 0x0F).ok_or(FrameError::UnknownOpcode)?;
        let fields = Self {
            opcode,
            last: first & 0x80 != 0,
            deflated: first & 0x40 != 0,
            length_code: second & 0x7F,
        };
        if first & 0x30 != 0 {
            return Err(FrameError::ReservedBit);
        }
        match opcode {
            Opcode::Close | Opcode::Ping | Opcode::Pong => {
                if fields.deflated {
                    return Err(FrameError::ReservedBit);
                }
                if !fields.last {
                    return Err(FrameError::ControlFragmented);
                }
                if fields.length_code > 125 {
                    return Err(FrameError::ControlTooLong);
                }
            }
            Opcode::Continuation if fields.deflated => return Err(FrameError::ReservedBit),
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {}
        }
        Ok(fields)
    }

    /// How many more bytes hold the length.
    pub(crate) const fn length_bytes(self) -> usize {
        match self.length_code {
            126 => 2,
            127 => 8,
            _ => 0,
        }
    }

    /// Reads those bytes, which must be there.
    pub(crate) fn length(self, reader: &mut Reader<'_>) -> Result<u64, FrameError> {
        let (len, least) = match self.length_code {
            126 => (reader.u16().map_or(0, u64::from), 126),
            127 => (reader.u64().unwrap_or(0), 1 << 16),
            short => (u64::from(short), 0),
        };
        if len < least {
            return Err(FrameError::LengthNotShortest);
        }
        if len >> 63 != 0 {
            return Err(FrameError::LengthTooLarge);
        }
        Ok(len)
    }

    pub(crate) const fn header(self, len: u64, key: [u8; 4]) -> Header {
        Header { opcode: self.opcode, last: self.last, deflated: self.deflated, len, key }
    }
}

/// Opcodes by their numbers (RFC 6455 section 11.8).
const fn opcode_of(number: u8) -> Option<Opcode> {
    match number {
        0 => Some(Opcode::Continuation),
        1 => Some(Opcode::Text),
        2 => Some(Opcode::Binary),
        8 => Some(Opcode::Close),
        9 => Some(Opcode::Ping),
        10 => Some(Opcode::Pong),
        _ => None,
    }
}

impl Opcode {
    /// Whether it stands outside messages (RFC 6455 section 5.5).
    pub(crate) const fn is_control(self) -> bool {
        match self {
            Self::Close | Self::Ping | Self::Pong => true,
            Self::Continuation | Self::Text | Self::Binary => false,
        }
    }

    /// The number in a version.
    pub(crate) const fn number(self, version: Version) -> u8 {
        match version {
            Version::Rfc6455 | Version::Hybi08 => match self {
                Self::Continuation => 0,
                Self::Text => 1,
                Self::Binary => 2,
                Self::Close => 8,
                Self::Ping => 9,
                Self::Pong => 10,
            },
            Version::Hybi06 => hybi06::number(self),
        }
    }
}

impl Header {
    /// After `count` bytes of payload.
    pub(crate) fn advance(&mut self, count: usize) {
        self.len = self.len.saturating_sub(count as u64);
        self.key = mask::after(self.key, count);
    }
}
