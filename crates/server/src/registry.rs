//! The protocols that a `broker` service speaks, in one table.

use std::io;

use contract::{Detection, Now, Opening, Session};
use transports::Accepted;

/// A built-in protocol.
pub(crate) struct Protocol {
    /// How metrics and logs name it.
    pub(crate) label: &'static str,
    /// WebSocket subprotocols, the preferred first.
    pub(crate) subprotocols: &'static [&'static str],
    /// Whether a TCP connection without HTTP speaks it; always no, if it does not run on that.
    pub(crate) detect: fn(&[u8]) -> Detection,
    /// The answer to a peer that speaks it without TLS to a listener with TLS.
    pub(crate) without_tls: &'static [u8],
    /// Opens a session.
    pub(crate) open: fn(&Opening<'_>, Now) -> Box<dyn Session>,
}

/// All of them.
pub(crate) const PROTOCOLS: &[Protocol] = &[Protocol {
    label: "stomp",
    subprotocols: &["v12.stomp", "v11.stomp", "v10.stomp"],
    detect: stomp::detect,
    without_tls: b"ERROR\nmessage:this port speaks TLS\n\n\
        connect with TLS, or to a port without it\n\0",
    open: |opening, now| Box::new(stomp::Session::open(opening, now)),
}];

/// What metrics and logs call HTTP requests, WebSockets without a built-in protocol, and the
/// built-in protocols.
pub(crate) fn labels() -> Vec<&'static str> {
    let mut labels = vec![HTTP, WEBSOCKET];
    labels.extend(PROTOCOLS.iter().map(|protocol| protocol.label));
    labels
}

/// The label of HTTP requests.
pub(crate) const HTTP: &str = "http";
/// The label of WebSocket messages without a built-in protocol.
pub(crate) const WEBSOCKET: &str = "websocket";

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

/// Reads from a connection until it is clear which protocol it speaks; `None`: HTTP, or nothing
/// that is known.
///
/// # Errors
/// When the connection ends first, or is broken.
pub(crate) async fn detect(connection: &mut Accepted) -> io::Result<Option<&'static Protocol>> {
    let detect: Vec<_> = PROTOCOLS.iter().map(|protocol| protocol.detect).collect();
    let index = connection.detect(&detect).await?;
    Ok(index.and_then(|index| PROTOCOLS.get(index)))
}
