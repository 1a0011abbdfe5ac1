use contract::Reason;
use wire::Reader;

use crate::{FrameError, Version};

/// What a close frame says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Close<'a> {
    /// Why, as a number (RFC 6455 section 7.4).
    pub code: u16,
    /// Why, in words; may be empty.
    pub reason: &'a str,
}

/// Stands for a close frame without a code; never sent itself.
pub const NO_CODE: u16 = 1005;

/// The code that tells a peer why its connection ends.
///
/// The numbers from 3000 on are in IANA's registry of WebSocket close codes.
#[must_use]
pub const fn close_code(reason: Reason) -> u16 {
    match reason {
        Reason::Normal => 1000,
        // A lost peer reads nothing; one that a proxy lost behind us goes with us.
        Reason::Lost | Reason::Shutdown => 1001,
        Reason::Malformed => 1002,
        Reason::NotText => 1007,
        // "Policy violation", for want of a code for peers that do not read.
        Reason::Slow => 1008,
        Reason::TooLarge => 1009,
        Reason::Internal => 1011,
        Reason::Busy => 1013,
        Reason::Upstream => 1014,
        Reason::Unauthenticated => 3000,
        Reason::Forbidden => 3003,
        Reason::Idle => 3008,
    }
}

impl<'a> Close<'a> {
    /// Reads the payload of a close frame; an empty one says nothing.
    pub(crate) fn read(version: Version, payload: &'a [u8]) -> Result<Option<Self>, FrameError> {
        if payload.is_empty() {
            return Ok(None);
        }
        let mut reader = Reader::new(payload);
        let code = reader.u16().ok_or(FrameError::CloseCodeTooShort)?;
        if !version.is_code(code) {
            return Err(FrameError::CloseCode);
        }
        let reason = str::from_utf8(reader.rest()).map_err(|_| FrameError::NotText)?;
        Ok(Some(Self { code, reason }))
    }
}
