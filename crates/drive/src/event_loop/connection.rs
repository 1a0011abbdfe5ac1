use std::{net::SocketAddr, sync::Arc};

use auth::LoginId;
use contract::{Assembly, Kind, Now, Principal, Reason, Session};
use transports::Slot;
use websocket::{Decoder, Deflate, Version};

use super::Registration;
use crate::{counters::Label, permit::ConnectionPermit};

/// What belongs to each socket of a core.
pub(crate) struct Connection {
    pub(crate) kind: ConnectionKind,
    pub(crate) context: Context,
}

/// What a connection is for.
pub(crate) enum ConnectionKind {
    /// It speaks a protocol.
    Session(Box<dyn Session>),
    /// Its messages go to another server, to which [`Upstream`] is the connection.
    Relay(Relay),
    /// The upstream's side of a relay.
    Upstream(Upstream),
    /// Nothing is added to its backlog; once that is sent, the peer's end is awaited.
    Closing(Closing),
}

/// The browser's side of a proxied connection.
#[derive(Debug, Default)]
pub(crate) struct Relay {
    /// The upstream's socket; `None` while it is being connected.
    pub(crate) upstream: Option<Slot>,
}

/// The upstream's side of a proxied connection.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// The browser's socket.
    pub(crate) relay: Slot,
    /// Send the upstream's bytes as text, split at characters.
    pub(crate) text: bool,
    /// The beginning of a character whose rest has not been received: at most three bytes.
    pub(crate) partial_character: Vec<u8>,
}

/// A connection that only waits for its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closing {
    pub(crate) reason: Reason,
    /// When it is ended anyway, on the clock of [`contract::Now::mono_ns`]; `None` while there is
    /// a backlog, for which the write timeout holds.
    pub(crate) until_mono_ns: Option<u64>,
}

/// What every connection has, whatever its kind.
pub(crate) struct Context {
    /// The index of the service.
    pub(crate) service: u16,
    /// What is spoken on it, for metrics and logs.
    pub(crate) protocol: Label,
    pub(crate) framing: Framing,
    /// Decodes WebSocket frames; `None` on a plain stream.
    pub(crate) decoder: Option<Decoder>,
    pub(crate) peer: SocketAddr,
    pub(crate) principal: Option<Arc<Principal>>,
    /// What was wrong, as the peer was told, for its last line in the log.
    pub(crate) detail: Option<Box<str>>,
    /// Whether its listener lets sessions log in as anonymous.
    pub(crate) anonymous: bool,
    /// A login that waits for its outcome.
    pub(crate) login: Option<LoginId>,
    /// Commands and logins of the session that wait for their replies.
    pub(crate) in_flight: u32,
    /// It is the upstream's side of a relay: not a connection that is counted and logged.
    pub(crate) is_upstream: bool,
    /// The peer has closed its side, and only waits for the replies to what it sent.
    pub(crate) half_closed: bool,
    /// It is registered with the shard, which must be told of its end.
    pub(crate) registered: bool,
    /// It was handed deliveries from queues that are not written to its socket.
    pub(crate) has_unwritten: bool,
    /// It has sent something in part whose memory is counted.
    pub(crate) has_inbound: bool,
    /// A ping was sent and nothing received since.
    pub(crate) pinged: bool,
    /// It was denied something and is not told yet.
    pub(crate) has_denial: bool,
    /// Time of silence after which a WebSocket is pinged, in milliseconds; zero: never.
    ping_interval_ms: u32,
    /// When something was last received.
    pub(crate) heard_mono_ns: u64,
    /// When its deadlines are checked next: the earliest entry in the timers, or `u64::MAX`.
    pub(crate) check_mono_ns: u64,
    /// The deadlines of the WebSocket message, and of the session's frame, received in part.
    pub(crate) assemblies: [Assembly; 2],
    /// Bytes in its backlog when it was last flushed.
    pub(crate) backlog_bytes: usize,
    /// Those of them that no other connection shares.
    pub(crate) own_backlog_bytes: usize,
    /// Read, and not decoded yet: the session is busy, or has had its share of this turn, or they
    /// came with the handshake. May be empty, when only the decoder holds something.
    pub(crate) unread: Option<Box<[u8]>>,
    pub(crate) counts: Counts,
    /// Messages sent since the last flush, and not in the metrics yet.
    pub(crate) sent: u32,
    /// Counts for as long as the connection lasts.
    pub(crate) _permit: Option<ConnectionPermit>,
}

impl Context {
    /// That of a connection which begins now.
    pub(crate) fn new(
        registration: Registration<'_>,
        protocol: Label,
        is_upstream: bool,
        now: Now,
    ) -> Self {
        let Registration { framing, ping_interval, early, .. } = registration;
        let (decoder, ping_interval_ms) = match framing {
            Framing::Stream => (None, 0),
            Framing::WebSocket { version, deflate } => {
                let ms = ping_interval.as_nanos().div_ceil(1_000_000);
                let ms = u32::try_from(ms).unwrap_or(u32::MAX);
                (Some(Decoder::new(version, deflate)), ms)
            }
        };
        Self {
            service: registration.service,
            protocol,
            framing,
            decoder,
            peer: registration.peer,
            principal: registration.principal.map(Arc::new),
            detail: None,
            anonymous: registration.anonymous,
            login: None,
            in_flight: 0,
            is_upstream,
            half_closed: false,
            registered: false,
            has_unwritten: false,
            has_inbound: false,
            pinged: false,
            has_denial: false,
            ping_interval_ms,
            heard_mono_ns: now.mono_ns,
            check_mono_ns: u64::MAX,
            assemblies: Default::default(),
            backlog_bytes: 0,
            own_backlog_bytes: 0,
            unread: (!early.is_empty()).then(|| early.into()),
            counts: Counts { bytes_in: early.len() as u64, ..Counts::default() },
            sent: 0,
            _permit: registration.permit,
        }
    }

    /// Time of silence after which a WebSocket is pinged, in nanoseconds; zero: never.
    pub(crate) const fn ping_ns(&self) -> u64 {
        self.ping_interval_ms as u64 * 1_000_000
    }

    /// When what the peer began to send is too late.
    pub(crate) fn late_at(&self) -> Option<u64> {
        self.assemblies.iter().filter_map(Assembly::deadline).min()
    }
}

/// What a connection has carried, for its last line in the log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) messages_in: u64,
    pub(crate) messages_out: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

/// How what a session sends is put on the wire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// As it is.
    Stream,
    /// In WebSocket frames.
    WebSocket {
        /// The version agreed on.
        version: Version,
        /// How messages are compressed, if they are.
        deflate: Option<Deflate>,
    },
}

impl Framing {
    /// What a session should send in it, where its protocol leaves the choice.
    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::Stream => Kind::Stream,
            Self::WebSocket { .. } => Kind::Text,
        }
    }
}
