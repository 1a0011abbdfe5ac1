//! Frames of RFC 6455 (section 5.2).
//!
//! ```text
//! FIN RSV1 RSV2 RSV3 opcode(4) | MASK length(7) | length(0, 16 or 64) | masking key(32)
//! ```

use contract::Kind;
use wire::Reader;

use crate::{
    FrameError, Opcode,
    header::{Fields, Progress, Role},
};

/// Reads the header that the bytes begin with. All frames of a client are masked, and none of a
/// server (section 5.1).
pub(crate) fn read(from: Role, bytes: &[u8]) -> Result<Progress, FrameError> {
    let mut reader = Reader::new(bytes);
    let Some([first, second]) = reader.array() else { return Ok(Progress::Needs(2)) };
    let fields = Fields::read(first, second, opcode_of)?;
    let key_bytes = match (from, second & 0x80 != 0) {
        (Role::Client, true) => 4,
        (Role::Server, false) => 0,
        (Role::Client, false) => return Err(FrameError::NotMasked),
        (Role::Server, true) => return Err(FrameError::Masked),
    };
    let needs = 2 + fields.length_bytes() + key_bytes;
    if bytes.len() < needs {
        return Ok(Progress::Needs(needs));
    }
    let len = fields.length(&mut reader)?;
    let key = match from {
        Role::Client => reader.array().unwrap_or_default(),
        Role::Server => [0; 4],
    };
    Ok(Progress::Complete(fields.header(len, key), needs))
}

/// The kind and length of a client's final and uncompressed text or binary frame of up to 64 KiB,
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

/// The number of an opcode.
pub(crate) const fn number(opcode: Opcode) -> u8 {
    match opcode {
        Opcode::Continuation => 0,
        Opcode::Text => 1,
        Opcode::Binary => 2,
        Opcode::Close => 8,
        Opcode::Ping => 9,
        Opcode::Pong => 10,
    }
}

/// Whether a client may close with this code (section 7.4). 1004 to 1006 and 1015 are never sent;
/// 1012 to 1014 came with the registry.
pub(crate) const fn is_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
