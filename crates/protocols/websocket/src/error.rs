use contract::Reason;

use crate::close_code;

/// Why the peer's bytes cannot be decoded any further. The text fits a close frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// Not WebSocket; says which rule was broken.
    #[error("{0}")]
    Protocol(&'static str),
    /// A text message or the reason of a close is not UTF-8.
    #[error("the text is not UTF-8")]
    NotText,
    /// The compressed data of a message is wrong or incomplete.
    #[error("the compressed data is wrong")]
    NotDeflate,
    /// Over [`contract::Limits::message_bytes_max`].
    #[error("the message has more than {0} bytes (limits.message-bytes-max)")]
    MessageTooLarge(usize),
    /// More compressed bytes than a message within [`contract::Limits::message_bytes_max`] needs.
    #[error("the compressed message has more than {0} bytes (from limits.message-bytes-max)")]
    DeflatedTooLarge(u64),
    /// Over [`contract::Limits::fragments_max`].
    #[error("the message has more than {0} fragments (limits.fragments-max)")]
    TooManyFragments(u32),
}

impl Error {
    /// What the connection ends with.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Protocol(_) => Reason::Malformed,
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
