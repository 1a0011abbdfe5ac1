//! The negotiation of permessage-deflate (RFC 7692 section 7.1).

use std::fmt;

use crate::lists::Element;

/// What was agreed on for compression.
///
/// Neither side keeps a context from one message to the next, so that an idle connection needs
/// no memory for it, and a message for many is compressed once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Deflate {
    server_window_bits: u8,
    /// The client requested that size of window, and is told.
    is_server_window_offered: bool,
}

impl Deflate {
    /// Sizes of window there are.
    pub(crate) const WINDOW_BITS_COUNT: usize = 7;

    /// The size of the window that the server's messages are compressed with, as a power of two:
    /// 9 to 15. What was compressed for one connection fits all with the same size.
    #[must_use]
    pub const fn server_window_bits(self) -> u8 {
        self.server_window_bits
    }

    pub(crate) const fn window_index(self) -> usize {
        self.server_window_bits as usize - 9
    }

    /// The first offer that can be agreed to, if there is one.
    pub(crate) fn choose(offers: &[Element<'_>]) -> Option<Self> {
        offers.iter().filter(|offer| offer.name == NAME).find_map(Self::agree)
    }

    /// `None` declines the offer: for a parameter that is unknown, repeated or has a bad value,
    /// and for a window of 8 bits, which zlib does not have.
    ///
    /// The client's window may have any size: no promise about it is required.
    fn agree(offer: &Element<'_>) -> Option<Self> {
        let mut agreed = Self { server_window_bits: 15, is_server_window_offered: false };
        for (index, (name, value)) in offer.parameters.iter().enumerate() {
            let seen = offer.parameters.iter().take(index);
            if seen.into_iter().any(|(other, _)| other == name) {
                return None;
            }
            match (*name, value.as_deref()) {
                (SERVER_CONTEXT | CLIENT_CONTEXT, None) => {}
                (CLIENT_WINDOW, None) => {}
                (CLIENT_WINDOW, Some(bits)) => _ = window_bits(bits)?,
                (SERVER_WINDOW, Some(bits)) => {
                    agreed.server_window_bits = window_bits(bits).filter(|bits| *bits > 8)?;
                    agreed.is_server_window_offered = true;
                }
                _ => return None,
            }
        }
        Some(agreed)
    }
}

/// The value of `Sec-WebSocket-Extensions` that agrees.
impl fmt::Display for Deflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NAME}; {SERVER_CONTEXT}; {CLIENT_CONTEXT}")?;
        if self.is_server_window_offered {
            write!(f, "; {SERVER_WINDOW}={}", self.server_window_bits)?;
        }
        Ok(())
    }
}

/// 8 to 15, without leading zeros.
fn window_bits(value: &str) -> Option<u8> {
    match value {
        "8" => Some(8),
        "9" => Some(9),
        "10" => Some(10),
        "11" => Some(11),
        "12" => Some(12),
        "13" => Some(13),
        "14" => Some(14),
        "15" => Some(15),
        _ => None,
    }
}

const NAME: &str = "permessage-deflate";
const SERVER_CONTEXT: &str = "server_no_context_takeover";
const CLIENT_CONTEXT: &str = "client_no_context_takeover";
const SERVER_WINDOW: &str = "server_max_window_bits";
const CLIENT_WINDOW: &str = "client_max_window_bits";
