//! What the headers of frames have in all versions.

use wire::Reader;

use crate::{FrameError, mask};

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

/// The header of a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Header {
    pub(crate) opcode: Opcode,
    /// FIN.
    pub(crate) last: bool,
    /// RSV1 (RFC 7692 section 6).
    pub(crate) deflated: bool,
    /// Bytes of payload.
    pub(crate) len: u64,
    /// For the first byte of the payload; zeros for a server's, which is not masked.
    pub(crate) key: [u8; 4],
}

/// Which of the two sends the frames.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    Client,
    Server,
}

/// How far the reading of a header came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Progress {
    /// The bytes that are required, from the beginning, to get further.
    Needs(usize),
    /// The header, and the bytes it has.
    Complete(Header, usize),
}

/// Longest header of a frame, a client's with 64 bits of length, in bytes, in any version.
pub(crate) const HEADER_BYTES_MAX: usize = 14;

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

impl Opcode {
    /// Whether it stands outside messages (RFC 6455 section 5.5).
    pub(crate) const fn is_control(self) -> bool {
        match self {
            Self::Close | Self::Ping | Self::Pong => true,
            Self::Continuation | Self::Text | Self::Binary => false,
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
