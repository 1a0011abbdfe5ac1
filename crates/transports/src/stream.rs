use std::{io, net::SocketAddr};

use mio::net::TcpStream;
use rustls::Connection;

use crate::tls::Tls;

/// A connected socket on its way into a [`crate::Reactor`], with TLS or without.
#[derive(Debug)]
pub struct Stream {
    pub(crate) tcp: TcpStream,
    pub(crate) tls: Option<Box<Tls>>,
}

impl Stream {
    pub(crate) const fn plain(tcp: TcpStream) -> Self {
        Self { tcp, tls: None }
    }

    /// With TLS whose handshake is done; no plaintext may be left in it. `half_closed`: the peer
    /// has sent close_notify.
    pub(crate) fn tls(
        tcp: TcpStream,
        connection: impl Into<Connection>,
        half_closed: bool,
    ) -> Self {
        Self { tcp, tls: Some(Box::new(Tls::new(connection, half_closed))) }
    }

    /// The gateway's own address on the connection.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

impl From<TcpStream> for Stream {
    fn from(tcp: TcpStream) -> Self {
        Self::plain(tcp)
    }
}
