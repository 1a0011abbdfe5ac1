//! The protocols that a `broker` service speaks, in one table.

use contract::{Now, Opening, Session};

use crate::metrics;

/// A protocol of ours.
pub(crate) struct Protocol {
    /// How metrics and logs name it.
    pub(crate) name: metrics::Protocol,
    /// WebSocket subprotocols, the preferred first.
    pub(crate) subprotocols: &'static [&'static str],
    /// What a connection without a subprotocol may begin with.
    pub(crate) first_bytes: &'static [&'static [u8]],
    pub(crate) open: fn(&Opening<'_>, Now) -> Box<dyn Session>,
}

/// All of them.
pub(crate) const PROTOCOLS: &[Protocol] = &[Protocol {
    name: metrics::Protocol::Stomp,
    subprotocols: &["v12.stomp", "v11.stomp", "v10.stomp"],
    first_bytes: &[b"CONNECT\n", b"CONNECT\r\n", b"STOMP\n", b"STOMP\r\n"],
    open: |opening, now| Box::new(stomp::Session::open(opening, now)),
}];

/// All subprotocols, the preferred first.
pub(crate) fn subprotocols() -> Vec<&'static str> {
    PROTOCOLS.iter().flat_map(|protocol| protocol.subprotocols).copied().collect()
}

/// The protocol of a subprotocol; without one, the first.
pub(crate) fn by_subprotocol(name: Option<&str>) -> Option<&'static Protocol> {
    match name {
        None => PROTOCOLS.first(),
        Some(name) => PROTOCOLS.iter().find(|protocol| protocol.subprotocols.contains(&name)),
    }
}

/// All first bytes, each with its protocol.
pub(crate) fn first_bytes() -> Vec<(&'static [u8], &'static Protocol)> {
    PROTOCOLS
        .iter()
        .flat_map(|protocol| protocol.first_bytes.iter().map(move |bytes| (*bytes, protocol)))
        .collect()
}
