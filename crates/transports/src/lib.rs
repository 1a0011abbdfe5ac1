//! Sockets: the reactor, HTTP and the first bytes of a connection.
//!
//! Nothing here knows a protocol above its transport. [`Reactor`] holds the sockets of a core,
//! [`Outgoing`] what they send in a tick, [`Timers`] when to look at one again.

mod first_bytes;
/// HTTP/1.1, by hyper.
pub mod http1;
mod outgoing;
mod reactor;
mod timers;

pub use first_bytes::first_bytes;
pub use outgoing::{Flushed, Outgoing};
pub use reactor::{Entry, Reactor, Read, Slot, Socket};
pub use timers::Timers;
