//! What is counted, per core and without locks but for denials, which are rare.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use auth::Denial;
use contract::{Refusal, internal};

/// The counts of one core. Only that core writes them.
#[derive(Debug)]
pub struct Counters {
    labels: Box<[&'static str]>,
    /// One row for each service and label: the service's index times the number of labels, plus
    /// the label's index.
    rows: Vec<Row>,
    /// What was refused, by [`Refused`].
    refusals: [AtomicU64; Refused::ALL.len()],
    /// What access rules have denied, subscribing and sending, by their scopes.
    denied: Mutex<BTreeMap<Box<str>, [u64; 2]>>,
    /// TLS handshakes that came to their end, by [`HandshakeOutcome`].
    handshakes: [Count; HandshakeOutcome::ALL.len()],
    /// Publications encoded and frames made from the encoding of another.
    pub encoded: Count,
    /// Frames that went out as a copy of one encoded before.
    pub shared: Count,
    /// Writes to sockets.
    pub writes: Count,
    /// Messages received in part that were refused, as the memory for them was full.
    pub inbound_refused: Count,
}

/// A number that only grows, or that goes up and down by one core's doing.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds. One core is the only writer, so that no locked instruction is required.
    pub fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    /// Takes off.
    pub fn subtract(&self, less: u64) {
        self.add(less.wrapping_neg());
    }

    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts of one service and label.
#[derive(Debug, Default)]
pub struct Row {
    /// Connections open now.
    pub open: Count,
    /// Connections ever opened.
    pub opened: Count,
    /// Messages received.
    pub messages_in: Count,
    /// Messages sent.
    pub messages_out: Count,
    /// Bytes received, framing included.
    pub bytes_in: Count,
    /// Bytes sent, framing included.
    pub bytes_out: Count,
    /// Connections closed because the peer was too slow.
    pub slow: Count,
}

/// What is spoken on a connection, by its index in [`crate::Settings::labels`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Label(u8);

/// Why a connection, a request or a command was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refused {
    /// A TLS handshake that failed.
    Tls,
    /// A `Host` that is not the gateway's, or malformed.
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
    pub const ALL: [Self; 9] = [
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
    pub const fn as_str(self) -> &'static str {
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
pub enum HandshakeOutcome {
    /// It was completed.
    Done,
    /// It was not, through the peer.
    Failed,
    /// The peer had gone before anything was signed.
    Gone,
    /// It was refused, or ended for another: there were too many, of the core or of the address.
    Refused,
}

impl HandshakeOutcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Done, Self::Failed, Self::Gone, Self::Refused];

    /// The word for labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Gone => "gone",
            Self::Refused => "refused",
        }
    }
}

impl Counters {
    /// Counters for a number of services.
    #[must_use]
    pub fn new(labels: &[&'static str], services: usize) -> Self {
        Self {
            labels: labels.into(),
            rows: (0..services * labels.len()).map(|_| Row::default()).collect(),
            refusals: Default::default(),
            denied: Mutex::default(),
            handshakes: Default::default(),
            encoded: Count::default(),
            shared: Count::default(),
            writes: Count::default(),
            inbound_refused: Count::default(),
        }
    }

    /// All labels, each with its name.
    pub fn labels(&self) -> impl Iterator<Item = (Label, &'static str)> {
        (0..).map(Label).zip(self.labels.iter().copied())
    }

    /// The label of a name, which is one of [`crate::Settings::labels`].
    #[must_use]
    pub fn label(&self, name: &str) -> Label {
        if let Some((label, _)) = self.labels().find(|(_, label)| *label == name) {
            return label;
        }
        internal!("a label that is not in the settings");
        Label(0)
    }

    /// The name of a label.
    #[must_use]
    pub fn name(&self, label: Label) -> &'static str {
        self.labels.get(usize::from(label.0)).copied().unwrap_or_default()
    }

    /// The counts of a service and a label.
    ///
    /// # Panics
    /// When there is no such service, which would be a bug.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "made for all services and labels")]
    pub fn row(&self, service: usize, label: Label) -> &Row {
        &self.rows[service * self.labels.len() + usize::from(label.0)]
    }

    /// The TLS handshakes that ended so.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "as many as there are ends")]
    pub fn handshakes(&self, end: HandshakeOutcome) -> &Count {
        &self.handshakes[end as usize]
    }

    /// Counts what the access rules denied.
    pub fn deny(&self, denial: &Denial) {
        self.refuse(Refused::Access);
        if denial.refusal == Refusal::Unauthenticated {
            return;
        }
        let mut denied = self.lock_denied();
        let [subscribe, send] = denied.entry(denial.rule.clone()).or_default();
        *if denial.action == "send" { send } else { subscribe } += 1;
    }

    /// How often the rules with this scope have denied subscribing and sending; of
    /// [`Denial::NO_RULE`], what no rule allows.
    #[must_use]
    pub fn denied(&self, rule: &str) -> [u64; 2] {
        self.lock_denied().get(rule).copied().unwrap_or_default()
    }

    fn lock_denied(&self) -> MutexGuard<'_, BTreeMap<Box<str>, [u64; 2]>> {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a refusal.
    #[expect(clippy::indexing_slicing, reason = "as many as there are reasons")]
    pub fn refuse(&self, why: Refused) {
        let count = &self.refusals[why as usize];
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// How often something was refused.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "as many as there are reasons")]
    pub fn refused(&self, why: Refused) -> u64 {
        self.refusals[why as usize].load(Ordering::Relaxed)
    }
}
