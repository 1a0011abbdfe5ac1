//! STOMP 1.0, 1.1 and 1.2.
//!
//! [`Session`] is the server's side of a connection, a pure state machine. [`Frame`] and
//! [`Decoder`] also serve clients.
//!
//! What STOMP leaves to the server:
//!
//! - SEND: `reply-to`, `expires` (milliseconds since 1970, 0 for never), `priority` (0 to 9),
//!   `persistent`, `content-type` and `correlation-id` are parts of the message, all headers that
//!   STOMP does not know are its properties. A body that is UTF-8 is text.
//! - MESSAGE: those, and `timestamp`; `redelivered` and `delivery-count` when it was delivered
//!   before. `destination` is where the message was sent, which for a temporary destination is its
//!   real name.
//! - SUBSCRIBE: `prefetch` bounds the messages of a queue that are under way and not acknowledged.
//! - `/temp-queue/name` and `/temp-topic/name`, in `reply-to` or in a SUBSCRIBE, make a temporary
//!   destination that only this connection knows by that name. Others know its real one, 32
//!   hexadecimal digits, and may send to it. A message to one that is gone is dropped.
//! - NACK counts as a failed delivery: the message comes again, or goes to the dead-letter queue.
//!   On a topic ACK and NACK have no effect.
//! - An ERROR ends the connection.
#![forbid(unsafe_code)]

mod commands;
mod decode;
mod detect;
mod encode;
mod fault;
mod frame;
mod heart;
mod message;
mod open;
mod pending;
mod session;
mod subscriptions;
mod temporaries;
mod transactions;
mod version;

pub use decode::Decoder;
pub use detect::detect;
pub use frame::{Frame, FrameError, Verb};
pub use session::Session;
pub use version::Version;
