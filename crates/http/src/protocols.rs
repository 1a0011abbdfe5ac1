use std::io;

use contract::{Destination, Detection, Now, Opening, Relay, Session};
use transports::Accepted;

/// The sessions and relays that services open.
#[derive(Clone, Copy, Debug)]
pub struct Protocols {
    /// The protocols of `broker` services. The first is spoken on a WebSocket without a
    /// subprotocol.
    pub broker: &'static [Protocol],
    /// A session of an `echo` service.
    pub echo: fn() -> Box<dyn Session>,
    /// A session of a `broadcast` service, on its topic.
    pub broadcast: fn(Destination) -> Box<dyn Session>,
    /// A relay of a `proxy` service, which passes on streams as text or not.
    pub proxy: fn(bool) -> Box<dyn Relay>,
}

/// A built-in protocol.
#[derive(Debug)]
pub struct Protocol {
    /// What metrics and logs call it.
    pub label: &'static str,
    /// WebSocket subprotocols, the preferred first.
    pub subprotocols: &'static [&'static str],
    /// Whether a TCP connection without HTTP speaks it; always no, if it does not run on that.
    pub detect: fn(&[u8]) -> Detection,
    /// The response to a peer that speaks it without TLS to a listener with TLS.
    pub without_tls: &'static [u8],
    /// Whether its WebSockets are pinged when they are silent, unless the service says something else.
    pub is_pinged: bool,
    /// Opens a session.
    pub open: fn(&Opening<'_>, Now) -> Box<dyn Session>,
}

impl Protocols {
    /// What metrics and logs call what is spoken on connections.
    #[must_use]
    pub fn labels(&self) -> Vec<&'static str> {
        let mut labels = vec![HTTP, WEBSOCKET];
        labels.extend(self.broker.iter().map(|protocol| protocol.label));
        labels
    }

    /// All subprotocols, the preferred first.
    pub(crate) fn subprotocols(&self) -> Vec<&'static str> {
        self.broker.iter().flat_map(|protocol| protocol.subprotocols).copied().collect()
    }

    /// The protocol of a subprotocol; without one, the first.
    pub(crate) fn by_subprotocol(&self, name: Option<&str>) -> Option<&'static Protocol> {
        match name {
            None => self.broker.first(),
            Some(name) => self.broker.iter().find(|protocol| protocol.subprotocols.contains(&name)),
        }
    }

    /// Reads from a connection until it is clear which protocol it speaks; `None`: HTTP, or nothing
    /// that is known.
    ///
    /// # Errors
    /// When the connection ends first, or is broken.
    pub async fn detect(&self, connection: &mut Accepted) -> io::Result<Option<&'static Protocol>> {
        let detect: Vec<_> = self.broker.iter().map(|protocol| protocol.detect).collect();
        let index = connection.detect(&detect).await?;
        Ok(index.and_then(|index| self.broker.get(index)))
    }
}

/// The label of HTTP requests.
pub(crate) const HTTP: &str = "http";
/// The label of WebSocket messages without a built-in protocol.
pub(crate) const WEBSOCKET: &str = "websocket";
