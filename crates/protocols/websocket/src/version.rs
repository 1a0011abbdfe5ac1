use crate::{
    FrameError, Opcode,
    header::{Progress, Role},
    hybi06, rfc6455,
};

/// The versions spoken, by their `Sec-WebSocket-Version`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    /// 13: RFC 6455.
    Rfc6455,
    /// 8: drafts 8 to 12, whose frames are those of RFC 6455.
    Hybi08,
    /// 6: draft 6 of 2011, with frames of its own.
    Hybi06,
}

impl Version {
    /// Reads the header that the bytes begin with.
    pub(crate) fn read(self, from: Role, bytes: &[u8]) -> Result<Progress, FrameError> {
        match self {
            Self::Rfc6455 | Self::Hybi08 => rfc6455::read(from, bytes),
            Self::Hybi06 => hybi06::read(bytes),
        }
    }

    /// The number of an opcode.
    pub(crate) const fn number(self, opcode: Opcode) -> u8 {
        match self {
            Self::Rfc6455 | Self::Hybi08 => rfc6455::number(opcode),
            Self::Hybi06 => hybi06::number(opcode),
        }
    }

    /// Whether a peer may close with this code.
    pub(crate) const fn is_code(self, code: u16) -> bool {
        match self {
            Self::Rfc6455 | Self::Hybi08 => rfc6455::is_code(code),
            Self::Hybi06 => hybi06::is_code(code),
        }
    }

    /// The equivalent of a code of RFC 6455.
    pub(crate) const fn code(self, code: u16) -> u16 {
        match self {
            Self::Rfc6455 | Self::Hybi08 => code,
            Self::Hybi06 => hybi06::code(code),
        }
    }
}
