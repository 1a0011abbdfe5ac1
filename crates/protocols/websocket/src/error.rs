use contract::Reason;

use crate::close_code;

/// The peer sent something that is no WebSocket, or is too large: its bytes cannot be decoded any
/// further. The text fits a close frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FrameError {
    /// A number that no opcode has (RFC 6455 section 11.8).
    #[error("an unknown opcode")]
    UnknownOpcode,
    /// RSV1 where no message begins or no compression was agreed on, RSV2, RSV3, or the fourth that
    /// hybi-06 has.
    #[error("a reserved bit is set")]
    ReservedBit,
    /// A client's frame without a masking key (RFC 6455 section 5.1).
    #[error("a client's frame must be masked")]
    NotMasked,
    /// A server's frame with a masking key (RFC 6455 section 5.1).
    #[error("a server's frame must not be masked")]
    Masked,
    /// A control frame that is not the last of its message (RFC 6455 section 5.5).
    #[error("a control frame must not be fragmented")]
    ControlFragmented,
    /// A control frame whose payload is too long (RFC 6455 section 5.5).
    #[error("a control frame holds at most 125 bytes")]
    ControlTooLong,
    /// A payload length in more bytes than it needs (RFC 6455 section 5.2).
    #[error("a length must take the fewest bytes")]
    LengthNotShortest,
    /// A payload length whose first bit is set (RFC 6455 section 5.2).
    #[error("a length has at most 63 bits")]
    LengthTooLarge,
    /// A text or binary frame where a continuation must come (RFC 6455 section 5.4).
    #[error("a message began before the last one ended")]
    MessageNotEnded,
    /// A continuation where a message must begin (RFC 6455 section 5.4).
    #[error("a continuation without a message")]
    MessageNotBegun,
    /// A close frame with one byte (RFC 6455 section 5.5.1).
    #[error("a close code has two bytes")]
    CloseCodeTooShort,
    /// A close code that is not for close frames (RFC 6455 section 7.4).
    #[error("a close code that must not be sent")]
    CloseCode,
    /// A text message or the reason of a close is not UTF-8 (RFC 6455 section 8.1).
    #[error("the text is not UTF-8")]
    NotText,
    /// The compressed data of a message is wrong or incomplete (RFC 7692 section 7.2.2).
    #[error("the compressed data is wrong")]
    NotDeflate,
    /// Over [`contract::ConnectionLimits::message_bytes_max`].
    #[error("the message has more than {0} bytes (limits.message-bytes-max)")]
    MessageTooLarge(usize),
    /// More compressed bytes than a message within
    /// [`contract::ConnectionLimits::message_bytes_max`] needs.
    #[error("the compressed message has more than {0} bytes (from limits.message-bytes-max)")]
    DeflatedTooLarge(u64),
    /// Over [`contract::ConnectionLimits::fragments_max`].
    #[error("the message has more than {0} fragments (limits.fragments-max)")]
    TooManyFragments(u32),
}

impl FrameError {
    /// What the connection ends with.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::UnknownOpcode
            | Self::ReservedBit
            | Self::NotMasked
            | Self::Masked
            | Self::ControlFragmented
            | Self::ControlTooLong
            | Self::LengthNotShortest
            | Self::LengthTooLarge
            | Self::MessageNotEnded
            | Self::MessageNotBegun
            | Self::CloseCodeTooShort
            | Self::CloseCode => Reason::Malformed,
            // The frames are right and the data in them is not: 1007 is for both.
            Self::NotText | Self::NotDeflate => Reason::NotText,
            Self::MessageTooLarge(_) | Self::DeflatedTooLarge(_) | Self::TooManyFragments(_) => {
                Reason::TooLarge
            }
        }
    }

    /// The code for the close frame (RFC 6455 section 7.4.1): that of the reason.
    #[must_use]
    pub const fn code(self) -> u16 {
        close_code(self.reason())
    }
}
