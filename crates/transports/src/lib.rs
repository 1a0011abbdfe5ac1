//! Sockets: the reactor, TLS, HTTP and protocol detection.
//!
//! Nothing here knows a protocol above its transport. [`Accepted`] is a connection that tokio
//! drives, until it is clear what it speaks. [`Reactor`] holds the sockets of a core, [`Outgoing`]
//! what they send in a turn, [`Timers`] when to look at one again.

mod accepted;
mod backlog;
mod client;
/// HTTP/1.1, by hyper.
pub mod http1;
mod io;
mod outgoing;
pub mod proxy_header;
mod reactor;
mod ring;
mod send_queue;
mod socket;
mod stream;
mod timers;
mod tls;

pub use accepted::{Accepted, Closed};
pub use client::{ClientTls, Connected, TlsError, dial};
pub use io::{Carried, Io};
pub use outgoing::Outgoing;
pub use reactor::{Entry, Reactor, Slot};
pub use socket::{Flushed, Read, Socket, set_keepalive, set_user_timeout};
pub use stream::Stream;
pub use timers::Timers;
pub use tls::Tls;
