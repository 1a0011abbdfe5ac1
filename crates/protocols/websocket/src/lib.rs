//! WebSocket (RFC 6455, RFC 7692, hybi-06) as a pure codec: the server's end.
#![forbid(unsafe_code)]

mod close;
mod decoder;
mod deflate;
mod encode;
mod error;
mod handshake;
mod head;
mod hybi06;
mod inflate;
mod lists;
mod mask;
mod offer;
mod unread;

pub use close::{Close, NO_CODE, close_code};
pub use decoder::{Decoder, Event};
pub use deflate::Deflater;
pub use encode::{Mark, begin, encode, encode_close, encode_ping, encode_pong};
pub use error::Error;
pub use handshake::{Accept, Reject, Service, Subprotocol, Subprotocols, handshake};
pub use head::Opcode;
pub use inflate::InflaterPool;
pub use offer::Deflate;
pub use unread::Unread;

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
