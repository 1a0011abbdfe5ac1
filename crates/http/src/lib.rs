//! HTTP: requests, the services that they reach, and the pages.
//!
//! [`serve()`] serves the requests of a connection until it ends or becomes a WebSocket, which
//! leaves for the reactor. Nothing here knows a protocol: the sessions of services are handed in
//! ([`Protocols`]).

mod body;
mod exposition;
mod forwarded;
mod gate;
mod gateway;
mod protocols;
mod requests;
mod serve;
mod services;
mod slow_subscriptions;

pub use gateway::{About, Gateway, LogLimiters, Phase, Worker, index_u16};
pub use protocols::{Protocol, Protocols};
pub use serve::{linger, serve};
pub use services::{keep_interests, start_feeds};
