//! STOMP 1.0, 1.1 and 1.2.
//!
//! [`Session`] is the server's side of a connection, a pure state machine. [`Frame`] and
//! [`Decoder`] also serve clients.
//!
//! What STOMP leaves to the server, such as how destinations are written, is in `docs/stomp.md`.
#![forbid(unsafe_code)]

mod commands;
mod decode;
mod detect;
mod durable;
mod encode;
mod fault;
mod flow;
mod frame;
mod headers;
mod heartbeat;
mod message;
mod open;
mod pending;
mod precedence;
mod session;
mod subscriptions;
mod temporaries;
mod transactions;
mod unread;
mod version;

pub use decode::{Decoder, FrameLimits};
pub use detect::detect;
pub use frame::{Frame, FrameError, Verb};
pub use headers::Headers;
pub use session::Session;
pub use version::Version;
