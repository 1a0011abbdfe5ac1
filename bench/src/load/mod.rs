//! The load generator: a process of its own, one thread on one core.
mod amqp;
mod connection;
mod drive;
mod frames;
mod latest;
mod opening;
mod stomp;
mod window;

pub(crate) use drive::run;
pub(crate) use frames::encode;
pub(crate) use latest::{Readers, Received, Stamp};
pub(crate) use opening::open;
