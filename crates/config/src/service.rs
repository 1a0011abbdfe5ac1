use core::net::SocketAddr;
use std::{fmt, sync::Arc};

use contract::ConnectionLimits;

use crate::{AllowedOrigin, Broadcast, Directory, Limits, Proxy, WebSocketService};

/// What a path leads to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Service {
    /// The path, which everything below it shares unless it is another service's: `/`, or a path
    /// without a slash at its end.
    pub path: Box<str>,
    /// What is there.
    pub kind: ServiceKind,
    /// The origins, besides its own, whose pages may use it.
    pub allow_origins: Vec<AllowedOrigin>,
    /// What holds for the WebSockets that connect to it.
    pub websocket: WebSocketService,
    /// The bounds of its connections.
    pub limits: Limits,
}

/// What is at a path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ServiceKind {
    /// The pages that come with the gateway.
    Pages,
    /// Sends back what it receives.
    Echo,
    /// Sends what one receives to all.
    Broadcast(Broadcast),
    /// The files of a folder.
    Directory(Directory),
    /// A WebSocket to another server.
    Proxy(Proxy),
    /// The broker, for every protocol.
    Broker,
    /// Topics of the broker by HTTP: a POST to the path and the topic's name publishes.
    Topics,
    /// Queues of the broker by HTTP, as topics.
    Queues,
    /// Counters for Prometheus.
    Metrics,
    /// Whether the process lives.
    Health,
    /// Whether it takes new connections.
    Readiness,
}

impl Service {
    /// Bytes that its largest message may take while it is received: as much again for the growth
    /// of its memory, or for decoding it.
    #[must_use]
    pub fn inbound_bytes(&self) -> usize {
        if !self.kind.assembles_messages() {
            return 0;
        }
        self.limits.connection.message_bytes_max.saturating_mul(2)
    }
}

impl ServiceKind {
    /// The word in the configuration, in logs and in metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pages => "pages",
            Self::Echo => "echo",
            Self::Broadcast { .. } => "broadcast",
            Self::Directory { .. } => "directory",
            Self::Proxy { .. } => "proxy",
            Self::Broker => "broker",
            Self::Topics => "topics",
            Self::Queues => "queues",
            Self::Metrics => "metrics",
            Self::Health => "health",
            Self::Readiness => "readiness",
        }
    }

    /// Whether WebSockets connect to it.
    #[must_use]
    pub const fn takes_websockets(&self) -> bool {
        match self {
            Self::Echo | Self::Broadcast { .. } | Self::Proxy { .. } | Self::Broker => true,
            Self::Pages
            | Self::Directory { .. }
            | Self::Topics
            | Self::Queues
            | Self::Metrics
            | Self::Health
            | Self::Readiness => false,
        }
    }

    /// Whether messages are put together for it; others pass on what comes, or take none.
    #[must_use]
    pub const fn assembles_messages(&self) -> bool {
        match self {
            Self::Echo | Self::Broadcast { .. } | Self::Broker | Self::Topics | Self::Queues => {
                true
            }
            Self::Pages
            | Self::Directory { .. }
            | Self::Proxy { .. }
            | Self::Metrics
            | Self::Health
            | Self::Readiness => false,
        }
    }

    /// Whether the limit with this key bounds anything there.
    #[must_use]
    pub(crate) fn has_limit(&self, key: &str) -> bool {
        match key {
            "message-bytes-max" => self.takes_websockets() || self.uses_broker(),
            "fragments-max" | "ping-interval" | "unsent-bytes-max" | "write-timeout" => {
                self.takes_websockets()
            }
            "assembly-timeout" | "assembly-bytes-per-second-min" => self.assembles_messages(),
            "commands-max" => matches!(self, Self::Broadcast { .. } | Self::Broker),
            "queue-bytes-max" => self.uses_broker(),
            _ => matches!(self, Self::Broker),
        }
    }

    /// Whether its messages are the broker's.
    #[must_use]
    pub const fn uses_broker(&self) -> bool {
        matches!(self, Self::Broker | Self::Topics | Self::Queues)
    }

    /// Whether load balancers and the like poll it for how the process is.
    #[must_use]
    pub const fn is_probe(&self) -> bool {
        matches!(self, Self::Health | Self::Readiness)
    }

    /// Whether it has what a page could embed: scripts, pictures, texts.
    #[must_use]
    pub const fn is_read_by_pages(&self) -> bool {
        matches!(self, Self::Pages | Self::Directory { .. } | Self::Metrics)
    }

    /// Whether it is for operators alone.
    #[must_use]
    pub const fn is_for_operators(&self) -> bool {
        matches!(self, Self::Metrics)
    }
}

impl Service {
    /// A service that says no more than its path and kind.
    pub(crate) fn new(path: &str, kind: ServiceKind) -> Self {
        let limits = default_limits(kind.as_str());
        Self {
            path: path.into(),
            kind,
            allow_origins: Vec::new(),
            websocket: WebSocketService::default(),
            limits,
        }
    }
}

/// The limits of a service whose configuration names none. An echo takes large messages: it is
/// there to try things out.
pub(crate) fn default_limits(kind: &str) -> Limits {
    let connection = match kind {
        "echo" => ConnectionLimits {
            message_bytes_max: 16 << 20,
            fragments_max: 65_536,
            unsent_bytes_max: 32 << 20,
            ..ConnectionLimits::default()
        },
        _ => ConnectionLimits::default(),
    };
    Limits { connection: Arc::new(connection), ..Limits::default() }
}

/// Where a broadcast gets messages besides its peers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Feed {
    /// A TCP server: each line is a message.
    Connect(HostPort),
    /// A UDP socket of the gateway: each datagram is a message.
    Bind(SocketAddr),
}

impl fmt::Display for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(server) => write!(f, "tcp://{server}"),
            Self::Bind(address) => write!(f, "udp://{address}"),
        }
    }
}

/// A server that the connections of a proxy go to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Server {
    /// What it speaks below its protocol.
    pub scheme: ServerScheme,
    /// Where it is.
    pub address: HostPort,
    /// What is requested of a WebSocket server: a path, and a query if there is one; `/` of others.
    pub path: Box<str>,
}

/// What a server speaks below its protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ServerScheme {
    /// A stream.
    Tcp,
    /// A stream over TLS.
    Tls,
    /// WebSocket.
    Ws,
    /// WebSocket over TLS.
    Wss,
}

impl ServerScheme {
    /// The word in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// Whether it is over TLS.
    #[must_use]
    pub const fn has_tls(self) -> bool {
        match self {
            Self::Tls | Self::Wss => true,
            Self::Tcp | Self::Ws => false,
        }
    }

    /// The port where an address names none; `None`: it must.
    #[must_use]
    pub const fn default_port(self) -> Option<u16> {
        match self {
            Self::Tcp | Self::Tls => None,
            Self::Ws => Some(80),
            Self::Wss => Some(443),
        }
    }

    /// Whether it is WebSocket.
    #[must_use]
    pub const fn is_websocket(self) -> bool {
        self.default_port().is_some()
    }
}

impl Server {
    /// The host, and its port unless it is the scheme's own: `Host` of a request.
    #[must_use]
    pub fn authority(&self) -> String {
        let text = self.address.to_string();
        let own = self.scheme.default_port().filter(|port| *port == self.address.port);
        own.and_then(|port| text.strip_suffix(&format!(":{port}")).map(str::to_owned))
            .unwrap_or(text)
    }
}

/// Without the query, which may be a secret: what logs and metrics show.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.scheme.is_websocket() { without_query(&self.path) } else { "" };
        write!(f, "{}://{}{path}", self.scheme.as_str(), self.authority())
    }
}

/// What stands before the query of a URL.
pub(crate) fn without_query(url: &str) -> &str {
    url.split_once('?').map_or(url, |(before, _)| before)
}

/// A TCP server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostPort {
    /// A name or an address; an IPv6 address without its brackets.
    pub host: Box<str>,
    /// The port.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}
