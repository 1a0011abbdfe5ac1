//! What a core does: it reads its sockets, advances their sessions, carries out on its shard of the
//! broker what they command, and writes what comes of it, turn by turn.
//!
//! Nothing here knows HTTP, a file, the format of the configuration or a protocol; of WebSocket the
//! framing alone. What the cores share is handed in ([`Settings`]), and so are what is done with a
//! new socket ([`NewCore::run`]) and the constructor of each session ([`CoreRef::register`]).

pub mod clock;
mod connect;
mod cores;
mod counters;
mod entropy;
mod event_loop;
mod excerpt;
mod handshakes;
mod inbound;
pub mod internal_errors;
mod log_limiter;
mod logins;
mod lookup;
mod permit;
mod quotas;
mod store;
pub mod tasks;
mod upstream;

pub use cores::{Arrival, CoreHandle, Cores, LoadedMessage, Service, Settings};
pub use counters::{Count, Counters, HandshakeOutcome, Label, Refused, Row};
pub use event_loop::{
    Carrier, Core, CoreRef, Framing, Gone, InboundMessage, NewCore, Publisher, Pulled,
    Registration, Subject, name as connection_name,
};
pub use excerpt::{DETAIL_CHARS_MAX, excerpt};
pub use handshakes::{Handshake, Handshakes, SigningPermit};
pub use inbound::{INBOUND_FULL, InboundPool};
pub use log_limiter::LogLimiter;
pub use logins::{Decision, Requester, Waiter};
pub use permit::{AddressLimit, AddressPermit, ConnectionPermit, LimitReached};
pub use store::Store;
pub use upstream::{Resource, Upstream, UpstreamAddress, UpstreamQueue, UpstreamStats};
