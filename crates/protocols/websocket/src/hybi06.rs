//! Frames as draft-ietf-hybi-thewebsocketprotocol-06 had them, in 2011.
//!
//! ```text
//! masking key(32) | FIN RSV1 RSV2 RSV3 opcode(4) | RSV4 length(7) | length(0, 16 or 64)
//!                 '------------ masked, with the payload that follows ------------->
//! ```
//!
//! The server's frames have no masking key. A close may hold a code and a reason, as now; the
//! codes are 1000 to 1004 and those of applications, and 1004 is what became 1009.

use wire::Reader;

use crate::{
    FrameError, Opcode,
    header::{Fields, HEADER_BYTES_MAX, Progress},
    mask,
};

/// Reads the header that the bytes begin with.
pub(crate) fn read(bytes: &[u8]) -> Result<Progress, FrameError> {
    let mut header = [0; HEADER_BYTES_MAX];
    let count = bytes.len().min(header.len());
    for (to, from) in header.iter_mut().zip(bytes) {
        *to = *from;
    }
    let [a, b, c, d, masked @ ..] = &mut header;
    let key = [*a, *b, *c, *d];
    mask::apply(key, masked);

    let mut reader = Reader::new(masked);
    let [first, second] = reader.array().unwrap_or_default();
    if count < 6 {
        return Ok(Progress::Needs(6));
    }
    let fields = Fields::read(first, second, opcode_of)?;
    if second & 0x80 != 0 {
        return Err(FrameError::ReservedBit);
    }
    let masked_bytes = 2 + fields.length_bytes();
    if count < 4 + masked_bytes {
        return Ok(Progress::Needs(4 + masked_bytes));
    }
    let len = fields.length(&mut reader)?;
    Ok(Progress::Complete(fields.header(len, mask::after(key, masked_bytes)), 4 + masked_bytes))
}

const fn opcode_of(number: u8) -> Option<Opcode> {
    match number {
        0 => Some(Opcode::Continuation),
        1 => Some(Opcode::Close),
        2 => Some(Opcode::Ping),
        3 => Some(Opcode::Pong),
        4 => Some(Opcode::Text),
        5 => Some(Opcode::Binary),
        _ => None,
    }
}

/// The number of an opcode.
pub(crate) const fn number(opcode: Opcode) -> u8 {
    match opcode {
        Opcode::Continuation => 0,
        Opcode::Close => 1,
        Opcode::Ping => 2,
        Opcode::Pong => 3,
        Opcode::Text => 4,
        Opcode::Binary => 5,
    }
}

/// Whether a client may close with this code.
pub(crate) const fn is_code(code: u16) -> bool {
    matches!(code, 1000..=1004 | 3000..=4999)
}

/// The draft's equivalent of a code of RFC 6455.
pub(crate) const fn code(code: u16) -> u16 {
    match code {
        1007 => 1002,
        1009 => 1004,
        // 1004 is no code of today: it comes from a peer, whose close is returned to it.
        1000..=1004 | 3000..=4999 => code,
        _ => 1001,
    }
}
