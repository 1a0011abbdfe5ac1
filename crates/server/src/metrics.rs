//! What is counted, per core and without locks, and how it is shown to Prometheus.

use std::sync::atomic::{AtomicU64, Ordering};

use auth::Denial;
use contract::Refusal;

/// The counts of one core. Only that core writes them.
#[derive(Debug)]
pub(crate) struct Counters {
    /// One row for each service and protocol: service index times [`Protocol::ALL`].
    rows: Vec<Row>,
    /// Connections that were not let in, by [`Refused`].
    refusals: [AtomicU64; Refused::ALL.len()],
    /// What each access rule has denied, subscribing and sending; last what no rule allows.
    denied: Vec<[Count; 2]>,
    /// TLS handshakes that came to their end, by [`Ended`].
    handshakes: [Count; Ended::ALL.len()],
    /// Publications encoded and frames made from the encoding of another.
    pub(crate) encoded: Count,
    /// Frames that went out as a copy of one encoded before.
    pub(crate) shared: Count,
    /// Writes to sockets.
    pub(crate) writes: Count,
}

/// A number that only grows, or that goes up and down by one core's doing.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Adds. One core is the only writer, so that no locked instruction is needed.
    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    /// Takes off.
    pub(crate) fn subtract(&self, less: u64) {
        self.add(less.wrapping_neg());
    }

    /// The number now.
    #[must_use]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts of one service and protocol.
#[derive(Debug, Default)]
pub(crate) struct Row {
    /// Connections open now.
    pub(crate) open: Count,
    /// Connections ever opened.
    pub(crate) opened: Count,
    /// Messages that came in.
    pub(crate) messages_in: Count,
    /// Messages that went out.
    pub(crate) messages_out: Count,
    /// Bytes that came in, framing included.
    pub(crate) bytes_in: Count,
    /// Bytes that went out, framing included.
    pub(crate) bytes_out: Count,
    /// Connections closed because the peer was too slow.
    pub(crate) slow: Count,
}

/// The protocol spoken on a connection, as metrics and logs name it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Protocol {
    /// HTTP requests.
    Http,
    /// WebSocket messages without a protocol of ours.
    WebSocket,
    /// STOMP, over WebSocket or TCP.
    Stomp,
}

impl Protocol {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Http, Self::WebSocket, Self::Stomp];

    /// The word for logs and labels.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::WebSocket => "websocket",
            Self::Stomp => "stomp",
        }
    }
}

/// Why something was refused before it became a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refused {
    /// A TLS handshake that failed.
    Tls,
    /// A `Host` that is not ours, or malformed.
    Host,
    /// The page of another origin.
    Origin,
    /// A WebSocket handshake that is wrong.
    Handshake,
    /// No login or a wrong one.
    Login,
    /// The access rules.
    Access,
    /// No known protocol, or none in time.
    Protocol,
    /// No PROXY protocol header from a proxy that must send one, or a malformed one.
    ProxyHeader,
    /// The limit of connections of one address.
    AddressLimit,
}

impl Refused {
    /// All of them.
    pub(crate) const ALL: [Self; 9] = [
        Self::Tls,
        Self::Host,
        Self::Origin,
        Self::Handshake,
        Self::Login,
        Self::Access,
        Self::Protocol,
        Self::ProxyHeader,
        Self::AddressLimit,
    ];

    /// The word for labels.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Host => "host",
            Self::Origin => "origin",
            Self::Handshake => "handshake",
            Self::Login => "login",
            Self::Access => "access",
            Self::Protocol => "protocol",
            Self::ProxyHeader => "proxy-header",
            Self::AddressLimit => "address-limit",
        }
    }
}

/// How a TLS handshake ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ended {
    /// It was completed.
    Done,
    /// It was not, by the peer's fault.
    Failed,
    /// The peer had gone before anything was signed.
    Gone,
    /// There were too many, of the core or of the peer's address.
    Crowded,
}

impl Ended {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Done, Self::Failed, Self::Gone, Self::Crowded];

    /// The word for labels.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Gone => "gone",
            Self::Crowded => "crowded",
        }
    }
}

impl Counters {
    /// Counters for so many services and access rules.
    #[must_use]
    pub(crate) fn new(services: usize, rules: usize) -> Self {
        let rows = (0..services * Protocol::ALL.len()).map(|_| Row::default()).collect();
        Self {
            rows,
            refusals: Default::default(),
            denied: (0..=rules).map(|_| Default::default()).collect(),
            handshakes: Default::default(),
            encoded: Count::default(),
            shared: Count::default(),
            writes: Count::default(),
        }
    }

    /// The counts of a service and a protocol.
    ///
    /// # Panics
    /// When there is no such service, which would be a fault of ours.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "made for all services of the configuration")]
    pub(crate) fn row(&self, service: usize, protocol: Protocol) -> &Row {
        &self.rows[service * Protocol::ALL.len() + protocol as usize]
    }

    /// The TLS handshakes that ended so.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "as many as there are ends")]
    pub(crate) fn handshakes(&self, end: Ended) -> &Count {
        &self.handshakes[end as usize]
    }

    /// Counts what the access rules denied.
    pub(crate) fn deny(&self, denial: &Denial) {
        self.refuse(Refused::Access);
        let rule = denial.rule.unwrap_or(self.denied.len() - 1);
        if let (Some([subscribe, send]), Refusal::Forbidden) =
            (self.denied.get(rule), denial.refusal)
        {
            if denial.action == "send" { send } else { subscribe }.add(1);
        }
    }

    /// How often each rule has denied subscribing and sending; last what no rule allows.
    pub(crate) fn denied(&self) -> impl Iterator<Item = [u64; 2]> {
        self.denied.iter().map(|counts| counts.each_ref().map(Count::get))
    }

    /// Counts a refusal.
    #[expect(clippy::indexing_slicing, reason = "as many as there are reasons")]
    pub(crate) fn refuse(&self, why: Refused) {
        let count = &self.refusals[why as usize];
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// How often something was refused.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "as many as there are reasons")]
    pub(crate) fn refused(&self, why: Refused) -> u64 {
        self.refusals[why as usize].load(Ordering::Relaxed)
    }
}
