//! Clients of AMQP 1.0.
#![expect(clippy::wildcard_enum_match_arm, reason = "a load reads a part of the protocol")]

mod client;
mod drive;
mod frames;
mod message;
mod opening;

pub(super) use drive::Load;

pub(super) type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;
