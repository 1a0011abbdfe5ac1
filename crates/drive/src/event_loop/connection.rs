use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use auth::LoginId;
use contract::{Assembly, Kind, Now, Partial, Principal, Reason, Relay, Session};
use tokio::sync::oneshot;
use transports::Slot;
use websocket::{Decoder, Deflate, Version};

use super::Registration;
use crate::{counters::Label, permit::ConnectionPermit, upstream::UpstreamPermit};

/// What belongs to each socket of a core.
pub(crate) struct Connection {
    pub(crate) life: Life,
    pub(crate) context: Context,
}

/// How far a connection is in its life.
///
/// ```text
///        the peer's end, but replies are due
///   Open ----------------------------------> HalfClosed
///    ^ | \                                    |   |
///    | |  \ detach                     detach |   |
///    | |   +-------------> Away <-------------+   |
///    | |      attach       | |                    |
///    +-|-------------------+ |                    |
///      | close               | close              | the last reply, or close
///      +---------------------+--------------------+
///                            v
///                         Draining
///                            | all is written
///                            +---- the peer's end came before ----> (removed)
///                            v
///                        Lingering ---- the peer's end, or 2 s ---> (removed)
/// ```
///
/// One that drains or lingers may be away too: what waits for its peer is written when that comes
/// back. A connection that is broken, too slow, or away for too long is removed at once, and so is one
/// whose peer has closed its side when nothing is due to it. One that a task carries lingers for a
/// minute, and is removed when the task has taken the end: so the peer learns why, also one that was
/// away.
pub(crate) enum Life {
    /// Both sides send.
    Open(ConnectionKind),
    /// The peer has closed its side, and only waits for the replies to what it sent.
    HalfClosed(ConnectionKind),
    /// Nothing carries it ([`transports::Io::Away`]).
    Away(ConnectionKind),
    /// Nothing is added to its backlog, which is still written.
    Draining {
        /// Why it was closed.
        reason: Reason,
        /// The peer has closed its side.
        is_half_closed: bool,
    },
    /// All was written; the peer's end is awaited.
    Lingering {
        /// Why it was closed.
        reason: Reason,
        /// When it is removed anyway, on the clock of [`contract::Now::mono_ns`].
        until_mono_ns: u64,
    },
}

impl Life {
    /// What the connection is for, until it is closed.
    pub(crate) const fn kind(&self) -> Option<&ConnectionKind> {
        match self {
            Self::Open(kind) | Self::HalfClosed(kind) | Self::Away(kind) => Some(kind),
            Self::Draining { .. } | Self::Lingering { .. } => None,
        }
    }

    /// See [`Life::kind`].
    pub(crate) const fn kind_mut(&mut self) -> Option<&mut ConnectionKind> {
        match self {
            Self::Open(kind) | Self::HalfClosed(kind) | Self::Away(kind) => Some(kind),
            Self::Draining { .. } | Self::Lingering { .. } => None,
        }
    }

    /// The session of a connection that has one, until it is closed.
    pub(crate) fn session(&self) -> Option<&dyn Session> {
        match self.kind()? {
            ConnectionKind::Session(session) => Some(&**session),
            ConnectionKind::Relay(_) | ConnectionKind::Upstream(_) => None,
        }
    }

    /// See [`Life::session`].
    pub(crate) fn session_mut(&mut self) -> Option<&mut dyn Session> {
        match self.kind_mut()? {
            ConnectionKind::Session(session) => Some(&mut **session),
            ConnectionKind::Relay(_) | ConnectionKind::Upstream(_) => None,
        }
    }

    /// Why the connection was closed, once it is.
    pub(crate) const fn closed(&self) -> Option<Reason> {
        match self {
            Self::Open(_) | Self::HalfClosed(_) | Self::Away(_) => None,
            Self::Draining { reason, .. } | Self::Lingering { reason, .. } => Some(*reason),
        }
    }

    /// The peer has closed its side, and something is still due to it.
    pub(crate) fn half_close(&mut self) {
        *self = match std::mem::replace(self, Self::MOVED) {
            Self::Open(kind) => Self::HalfClosed(kind),
            Self::Draining { reason, .. } => Self::Draining { reason, is_half_closed: true },
            same @ (Self::HalfClosed(_) | Self::Away(_) | Self::Lingering { .. }) => same,
        };
    }

    /// Nothing carries the connection any more.
    pub(crate) fn detach(&mut self) {
        *self = match std::mem::replace(self, Self::MOVED) {
            Self::Open(kind) | Self::HalfClosed(kind) => Self::Away(kind),
            // The end of the peer's side went with what carried it.
            Self::Draining { reason, .. } => Self::Draining { reason, is_half_closed: false },
            same @ (Self::Away(_) | Self::Lingering { .. }) => same,
        };
    }

    /// The connection is carried again. If only its end is left, what carries it has until then to
    /// take that.
    pub(crate) fn attach(&mut self, linger_until_mono_ns: u64) {
        *self = match std::mem::replace(self, Self::MOVED) {
            Self::Away(kind) => Self::Open(kind),
            Self::Lingering { reason, .. } => {
                Self::Lingering { reason, until_mono_ns: linger_until_mono_ns }
            }
            same @ (Self::Open(_) | Self::HalfClosed(_) | Self::Draining { .. }) => same,
        };
    }

    /// The connection is closed; returns what it was for, unless it was closed before.
    pub(crate) fn drain(&mut self, reason: Reason) -> Option<ConnectionKind> {
        let is_half_closed = matches!(self, Self::HalfClosed(_));
        match std::mem::replace(self, Self::Draining { reason, is_half_closed }) {
            Self::Open(kind) | Self::HalfClosed(kind) | Self::Away(kind) => Some(kind),
            closed @ (Self::Draining { .. } | Self::Lingering { .. }) => {
                *self = closed;
                None
            }
        }
    }

    /// All of a connection that drains was written: the peer's end is awaited until then.
    pub(crate) fn linger(&mut self, until_mono_ns: u64) {
        if let Self::Draining { reason, .. } = *self {
            *self = Self::Lingering { reason, until_mono_ns };
        }
    }

    /// In its place while a state becomes another.
    const MOVED: Self = Self::Lingering { reason: Reason::Internal, until_mono_ns: 0 };
}

/// What a connection is for.
pub(crate) enum ConnectionKind {
    /// It speaks a protocol.
    Session(Box<dyn Session>),
    /// What it sends goes to another server, to which [`UpstreamEnd`] is the connection.
    Relay(Box<ClientEnd>),
    /// The upstream's side of a relay.
    Upstream(Box<UpstreamEnd>),
}

/// The client's side of a relay, which has what belongs to both.
pub(crate) struct ClientEnd {
    /// `None` while it handles an input.
    pub(crate) relay: Option<Box<dyn Relay>>,
    pub(crate) upstream: UpstreamState,
    pub(crate) sent_in_part: SentInPart,
}

/// How far a relay is with its upstream.
pub(crate) enum UpstreamState {
    /// A task connects to it, for as long as this is there.
    Connecting { _task: oneshot::Sender<Infallible> },
    /// Its socket.
    Connected(Slot),
}

impl ClientEnd {
    /// The upstream's socket, once it is connected.
    pub(crate) const fn upstream(&self) -> Option<Slot> {
        match self.upstream {
            UpstreamState::Connecting { .. } => None,
            UpstreamState::Connected(slot) => Some(slot),
        }
    }

    /// When the relay is to be called next, once it was first.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.upstream()?;
        self.relay.as_ref()?.deadline()
    }
}

/// The ends to which a message was sent in part.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SentInPart {
    pub(crate) to_client: bool,
    pub(crate) to_upstream: bool,
}

/// The upstream's side of a relay.
#[derive(Debug)]
pub(crate) struct UpstreamEnd {
    /// The client's socket.
    pub(crate) client: Slot,
    /// Which of the upstream's addresses it is connected to.
    pub(crate) permit: UpstreamPermit,
}

/// What every connection has, whatever its kind.
pub(crate) struct Context {
    /// The index of the service.
    pub(crate) service: u16,
    /// What is spoken on it, for metrics and logs.
    pub(crate) protocol: Label,
    pub(crate) codec: Codec,
    pub(crate) peer: SocketAddr,
    pub(crate) principal: Option<Arc<Principal>>,
    /// What was wrong, as the peer was told, for its last line in the log.
    pub(crate) detail: Option<Box<str>>,
    /// Whether its listener lets sessions log in as anonymous.
    pub(crate) anonymous: bool,
    /// A login that waits for its outcome, or for what the peer says next.
    pub(crate) login: Option<LoginId>,
    /// Commands and logins of the session that wait for their replies.
    pub(crate) in_flight: u32,
    /// It is the upstream's side of a relay: not a connection that is counted and logged.
    pub(crate) is_upstream: bool,
    /// The shard knows of it, and must be told of its end.
    pub(crate) is_registered: bool,
    /// It was handed deliveries from queues that are not written to its socket.
    pub(crate) has_unwritten: bool,
    /// It has sent something in part whose memory is counted.
    pub(crate) has_inbound: bool,
    /// It was denied something and is not told yet.
    pub(crate) has_denial: bool,
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
        Self {
            service: registration.service,
            protocol,
            codec: Codec::new(framing, ping_interval, now),
            peer: registration.peer,
            principal: None,
            detail: None,
            anonymous: registration.anonymous,
            login: None,
            in_flight: 0,
            is_upstream,
            is_registered: false,
            has_unwritten: false,
            has_inbound: false,
            has_denial: false,
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

    /// When to look whether the login has expired: when it does, or in a minute, as the clock of the day
    /// may be set.
    pub(crate) fn expiry_at(&self, now: Now) -> Option<u64> {
        let expires_unix_ms = self.principal.as_ref()?.expires_unix_ms?;
        let left = Duration::from_millis(expires_unix_ms.saturating_sub(now.unix_ms));
        Some(now.after(left.min(Duration::from_secs(60))))
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
    /// In the WebSocket frames of a client, on a connection to a server.
    WebSocketClient,
}

/// The framing of a connection, with what that takes.
pub(crate) enum Codec {
    /// None.
    Stream,
    /// WebSocket frames.
    WebSocket(WebSocket),
}

/// A WebSocket.
pub(crate) struct WebSocket {
    version: Version,
    deflate: Option<Deflate>,
    /// The peer is a server, and the gateway its client.
    is_client: bool,
    decoder: Decoder,
    pub(crate) ping: Ping,
}

/// Whether a WebSocket's peer is still there.
pub(crate) struct Ping {
    /// Time of silence after which the peer is pinged, in milliseconds; zero: never.
    interval_ms: u32,
    /// A ping was sent and nothing received since.
    pub(crate) is_sent: bool,
    /// When something was last received.
    heard_mono_ns: u64,
}

impl Codec {
    fn new(framing: Framing, ping_interval: Duration, now: Now) -> Self {
        match framing {
            Framing::Stream => Self::Stream,
            Framing::WebSocket { version, deflate } => Self::WebSocket(WebSocket {
                version,
                deflate,
                is_client: false,
                decoder: Decoder::new(version, deflate),
                ping: Ping::new(ping_interval, now),
            }),
            Framing::WebSocketClient => Self::WebSocket(WebSocket {
                version: Version::Rfc6455,
                deflate: None,
                is_client: true,
                decoder: Decoder::of_server(),
                ping: Ping::new(ping_interval, now),
            }),
        }
    }

    /// What was agreed on.
    pub(crate) const fn framing(&self) -> Framing {
        match self {
            Self::Stream => Framing::Stream,
            Self::WebSocket(WebSocket { is_client: true, .. }) => Framing::WebSocketClient,
            Self::WebSocket(WebSocket { version, deflate, .. }) => {
                Framing::WebSocket { version: *version, deflate: *deflate }
            }
        }
    }

    /// Time of silence after which a WebSocket is pinged; zero: never.
    pub(crate) fn ping_interval(&self) -> Option<Duration> {
        match self {
            Self::Stream => None,
            Self::WebSocket(websocket) => {
                Some(Duration::from_nanos(websocket.ping.interval_ns().unwrap_or(0)))
            }
        }
    }

    /// Something was received.
    pub(crate) const fn heard(&mut self, mono_ns: u64) {
        if let Self::WebSocket(websocket) = self {
            websocket.ping.heard(mono_ns);
        }
    }

    /// The decoder of a WebSocket.
    pub(crate) const fn decoder_mut(&mut self) -> Option<&mut Decoder> {
        match self {
            Self::Stream => None,
            Self::WebSocket(websocket) => Some(&mut websocket.decoder),
        }
    }

    /// Puts back what [`WebSocket::take_decoder`] took.
    pub(crate) fn put_decoder(&mut self, decoder: Decoder) {
        if let Some(place) = self.decoder_mut() {
            *place = decoder;
        }
    }

    /// The message that was received in part, and the memory that its decoder takes for it.
    pub(crate) fn partial(&self) -> (Option<Partial>, usize) {
        let Self::WebSocket(WebSocket { decoder, .. }) = self else { return (None, 0) };
        let partial = decoder.partial();
        (partial, partial.map_or(0, |_| decoder.partial_memory()))
    }
}

impl WebSocket {
    /// Takes the decoder, which is to be put back, so that the connection can be written to
    /// meanwhile.
    pub(crate) const fn take_decoder(&mut self) -> Decoder {
        std::mem::replace(&mut self.decoder, Decoder::new(self.version, self.deflate))
    }
}

impl Ping {
    fn new(interval: Duration, now: Now) -> Self {
        let ms = interval.as_nanos().div_ceil(1_000_000);
        let interval_ms = u32::try_from(ms).unwrap_or(u32::MAX);
        Self { interval_ms, is_sent: false, heard_mono_ns: now.mono_ns }
    }

    /// Something was received.
    pub(crate) const fn heard(&mut self, mono_ns: u64) {
        self.heard_mono_ns = mono_ns;
        self.is_sent = false;
    }

    /// Time of silence after which the peer is pinged, and after a ping ended, in nanoseconds; `None`: never.
    pub(crate) fn interval_ns(&self) -> Option<u64> {
        (self.interval_ms > 0).then(|| u64::from(self.interval_ms) * 1_000_000)
    }

    /// When the silence is too long.
    pub(crate) fn due_at(&self) -> Option<u64> {
        let intervals = if self.is_sent { 2 } else { 1 };
        Some(self.heard_mono_ns.saturating_add(self.interval_ns()? * intervals))
    }
}

impl Framing {
    /// What a session should send in it, where its protocol leaves the choice.
    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::Stream => Kind::Stream,
            Self::WebSocket { .. } | Self::WebSocketClient => Kind::Text,
        }
    }

    /// How messages are compressed, if they are.
    pub(crate) const fn deflate(self) -> Option<Deflate> {
        match self {
            Self::WebSocket { deflate, .. } => deflate,
            Self::Stream | Self::WebSocketClient => None,
        }
    }
}
