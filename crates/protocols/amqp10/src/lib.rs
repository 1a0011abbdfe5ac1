//! AMQP 1.0 (OASIS, parts 1 to 5), with the mapping that clients of JMS use.
//!
//! [`Connection`] is the server's side of a connection, a pure state machine.
//!
//! What AMQP leaves to the server, such as how addresses are written, is in `docs/amqp.md`.
#![forbid(unsafe_code)]

mod attach;
mod codes;
mod connection;
mod coordinator;
#[cfg(test)]
mod decode_cost;
mod deliver;
mod detach;
mod detect;
mod disposition;
mod error;
mod flow;
mod frame;
mod identity;
mod idle;
mod kept;
mod link;
mod mapping;
mod open;
mod opening;
mod outcome;
mod pending;
mod performative;
mod reply;
mod sasl;
mod session;
mod temporaries;
mod terminus;
mod transfer;
mod unsettled;
#[cfg(test)]
mod wrapping;

pub use connection::Connection;
pub use detect::{PLAIN_HEADER, SASL_HEADER, detect};
