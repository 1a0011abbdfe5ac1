//! WebSocket (RFC 6455, RFC 7692, hybi-06) as a pure codec: the server's end, and of RFC 6455 the
//! client's, too ([`client`], [`Decoder::of_server`], [`Sender::Client`]).
//!
//! [`handshake()`] says what to respond, a [`Decoder`] for each connection reads what the client
//! sends, [`begin`] and the other encoders write what is sent back. Between messages a connection needs no
//! memory but its decoder; buffers and compression belong to the core, and are lent.
//!
//! ```
//! use contract::{ConnectionLimits, SendBuffer};
//! use websocket::{
//!     Decoder, Deflater, Event, InflaterPool, NO_CODE, Unread, Version, begin, encode_close,
//!     encode_pong,
//! };
//!
//! // The core's:
//! let limits = ConnectionLimits::default();
//! let (mut pool, mut deflater) = (InflaterPool::new(), Deflater::new());
//! // The connection's, from what the handshake agreed on:
//! let (version, deflate) = (Version::Rfc6455, None);
//! let mut decoder = Decoder::new(version, deflate);
//! let mut unsent = SendBuffer::default();
//!
//! // What was left the last time and what was read now: an echo.
//! let mut buffer = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58".to_vec();
//! let mut unread = Unread::new(&mut buffer);
//! loop {
//!     match decoder.next(&mut unread, &limits, &mut pool) {
//!         // All was decoded. A caller that stops before that keeps `unread.rest()` for the next time.
//!         Ok(None) => break,
//!         // One piece of a message; here it is all of it.
//!         Ok(Some(Event::Data(data))) => {
//!             let message = begin(&mut unsent);
//!             unsent.extend_from_slice(data.bytes);
//!             let deflate = deflate.map(|agreed| (&mut deflater, agreed));
//!             message.finish(&mut unsent, version, data.kind, deflate);
//!         }
//!         Ok(Some(Event::Ping(payload))) => encode_pong(unsent.own_mut(), version, payload),
//!         Ok(Some(Event::Pong(_))) => {}
//!         // The reply to the peer's close, unless this is the reply to one sent. No event follows.
//!         Ok(Some(Event::Close(close))) => {
//!             let (code, reason) = close.map_or((NO_CODE, ""), |close| (close.code, close.reason));
//!             encode_close(unsent.own_mut(), version, code, reason);
//!         }
//!         Err(error) => {
//!             encode_close(unsent.own_mut(), version, error.code(), &error.to_string());
//!         }
//!     }
//! }
//! assert_eq!(unsent.own(), b"\x81\x05Hello");
//! ```
#![forbid(unsafe_code)]

pub mod client;
mod close;
mod decoder;
mod deflate;
mod encode;
mod error;
mod handshake;
mod header;
mod hybi06;
mod inflate;
mod lists;
mod mask;
mod offer;
mod rfc6455;
mod unread;
mod version;

pub use close::{Close, NO_CODE, close_code};
pub use decoder::{Decoder, Event};
pub use deflate::Deflater;
pub use encode::{MessageStart, Sender, begin, encode, encode_close, encode_ping, encode_pong};
pub use error::FrameError;
pub use handshake::{Accept, Reject, Service, Subprotocol, Subprotocols, handshake, is_upgrade};
pub use header::Opcode;
pub use inflate::InflaterPool;
pub use offer::Deflate;
pub use unread::Unread;
pub use version::Version;
