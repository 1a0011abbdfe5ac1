//! Connections to servers, as long as tokio drives them.

use std::{
    future::poll_fn,
    io::{self, Read as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use rustix::io::Errno;
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{accepted::unwatched, socket::set_keepalive, stream::Stream};

/// Connects to a server at the first of its addresses that accepts, of which families alternate
/// (as RFC 8305 section 4): the next is tried when one fails, or has not accepted for 250 ms. No
/// more than 16 are tried. Nothing bounds the time that takes.
///
/// # Errors
/// When there is no address, or none accepts: what the first says.
pub async fn dial(ips: &[IpAddr], port: u16) -> io::Result<TcpStream> {
    let mut addresses = alternate(ips).into_iter().map(|ip| SocketAddr::new(ip, port));
    let mut attempts: Vec<Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>> = Vec::new();
    let mut failed: Option<io::Error> = None;
    loop {
        if let Some(address) = addresses.next() {
            attempts.push(Box::pin(connect(address)));
        } else if attempts.is_empty() {
            return Err(failed.unwrap_or_else(|| io::ErrorKind::NotFound.into()));
        }
        let first = poll_fn(|context| {
            for (index, attempt) in attempts.iter_mut().enumerate() {
                if let Poll::Ready(outcome) = attempt.as_mut().poll(context) {
                    drop(attempts.swap_remove(index));
                    return Poll::Ready(outcome);
                }
            }
            Poll::Pending
        });
        let outcome = if addresses.len() == 0 {
            first.await
        } else {
            match time::timeout(NEXT_ATTEMPT, first).await {
                Ok(outcome) => outcome,
                Err(_elapsed) => continue,
            }
        };
        match outcome {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                set_keepalive(&stream)?;
                return Ok(stream);
            }
            Err(error) => drop(failed.get_or_insert(error)),
        }
    }
}

/// Connects to an address.
///
/// The kernel says that no address is available when all ports towards this one are in use, and also
/// where the host has no address of the family; that is said as what it is, an unreachable network.
async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let outcome = TcpStream::connect(address).await;
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable && !has_source(address) => {
            Err(Errno::NETUNREACH.into())
        }
        outcome => outcome,
    }
}

/// Whether this host has an address from which it could send to that one. Nothing is sent.
fn has_source(address: SocketAddr) -> bool {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(address)).is_ok()
}

/// The families by turns, beginning with that of the first.
fn alternate(ips: &[IpAddr]) -> Vec<IpAddr> {
    let is_first_family = |ip: &&IpAddr| ip.is_ipv4() == ips.first().is_some_and(IpAddr::is_ipv4);
    let (mut one, mut other) =
        (ips.iter().filter(is_first_family), ips.iter().filter(|ip| !is_first_family(ip)));
    let mut order = Vec::new();
    while order.len() < ADDRESSES_MAX {
        let before = order.len();
        order.extend(one.next());
        order.extend(other.next());
        if order.len() == before {
            break;
        }
    }
    order.truncate(ADDRESSES_MAX);
    order
}

/// How TLS is spoken to a server.
#[derive(Clone, Debug)]
pub struct ClientTls {
    /// Its versions, the certificates that are trusted, and ALPN.
    pub config: Arc<ClientConfig>,
    /// Whom its certificate must be for.
    pub name: ServerName<'static>,
}

/// A connection to a server, as long as tokio drives it: with TLS or without.
#[derive(Debug)]
pub enum Connected {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS, after its handshake.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connected {
    /// A connection after its TLS handshake. Nothing bounds the time that takes.
    ///
    /// # Errors
    /// When the handshake fails. If the certificate is the reason, the server is told by an alert.
    pub async fn tls(stream: TcpStream, tls: &ClientTls) -> Result<Self, TlsError> {
        let connector = TlsConnector::from(Arc::clone(&tls.config));
        let stream = connector.connect(tls.name.clone(), stream).await?;
        Ok(Self::Tls(Box::new(stream)))
    }

    /// Sends a request, and reads until `parse` returns something of what was received. Returns that,
    /// and all that was received; `None`: `parse` found nothing in the first `bytes_max` bytes.
    /// Nothing bounds the time that takes.
    ///
    /// # Errors
    /// When the connection ends or breaks.
    pub async fn exchange<T>(
        &mut self,
        request: &[u8],
        bytes_max: usize,
        parse: impl FnMut(&[u8]) -> Option<T>,
    ) -> io::Result<(Option<T>, Vec<u8>)> {
        match self {
            Self::Plain(stream) => exchange(stream, request, bytes_max, parse).await,
            Self::Tls(stream) => exchange(stream, request, bytes_max, parse).await,
        }
    }

    /// The connection for a reactor, and what was decrypted already and is not read.
    ///
    /// # Errors
    /// When the kernel does not give the socket back.
    pub fn into_stream(self) -> io::Result<(Stream, Vec<u8>)> {
        let mut early = Vec::new();
        let stream = match self {
            Self::Plain(stream) => Stream::plain(unwatched(stream)?),
            Self::Tls(stream) => {
                let (stream, mut connection) = stream.into_inner();
                // Otherwise there is an error that says: nothing more for now.
                let half_closed = connection.reader().read_to_end(&mut early).is_ok();
                Stream::tls(unwatched(stream)?, connection, half_closed)
            }
        };
        Ok((stream, early))
    }
}

async fn exchange<T>(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &[u8],
    bytes_max: usize,
    mut parse: impl FnMut(&[u8]) -> Option<T>,
) -> io::Result<(Option<T>, Vec<u8>)> {
    stream.write_all(request).await?;
    stream.flush().await?;
    let mut received = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let parsed = parse(&received);
        if parsed.is_some() || received.len() >= bytes_max {
            return Ok((parsed, received));
        }
    }
}

/// Why there is no TLS with a server, in the words of its operator.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate is for others.
    #[error("its certificate is not for {expected}{}", for_whom(.presented))]
    WrongName {
        /// Whom it must be for.
        expected: String,
        /// Whom it is for.
        presented: Vec<String>,
    },
    /// The certificate is too old.
    #[error("its certificate has expired")]
    Expired,
    /// The certificate is too new, or a clock is wrong.
    #[error("its certificate is not valid yet")]
    NotValidYet,
    /// Who signed the certificate is not trusted.
    #[error("its certificate is signed by none of the authorities that are trusted")]
    UnknownIssuer,
    /// Anything else about the certificate.
    #[error("its certificate cannot be used: {0}")]
    Certificate(CertificateError),
    /// The server refuses.
    #[error("it refuses the TLS handshake with the alert {0:?}")]
    Alert(AlertDescription),
    /// What came is no TLS.
    #[error("it does not speak TLS: {0}")]
    NotTls(Error),
    /// No version, suite or group in common, or any other breach of the protocol.
    #[error("the TLS handshake fails: {0}")]
    Handshake(Error),
    /// The connection ended before the handshake did.
    #[error("it closed the connection in the TLS handshake")]
    Closed,
    /// The connection was reset before the handshake ended.
    #[error("it reset the connection in the TLS handshake")]
    Reset,
    /// The connection broke otherwise.
    #[error("the connection broke in the TLS handshake: {0}")]
    Broken(io::Error),
}

/// The first of the names of a certificate, which rustls shows as `DnsName("example.com")`.
fn for_whom(presented: &[String]) -> String {
    let bare = |name: &String| match name.split_once('(') {
        Some((_, inner)) => inner.trim_matches(['"', ')']).to_owned(),
        None => name.clone(),
    };
    let names: Vec<_> = presented.iter().take(NAMES_SHOWN).map(bare).collect();
    if names.is_empty() { String::new() } else { format!(", but for {}", names.join(", ")) }
}

impl From<io::Error> for TlsError {
    fn from(error: io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        match tls.cloned() {
            Some(Error::InvalidCertificate(certificate)) => certificate.into(),
            Some(Error::AlertReceived(alert)) => Self::Alert(alert),
            Some(error @ (Error::InvalidMessage(_) | Error::InappropriateMessage { .. })) => {
                Self::NotTls(error)
            }
            Some(error) => Self::Handshake(error),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::Closed,
            None if RESET.contains(&error.kind()) => Self::Reset,
            None => Self::Broken(error),
        }
    }
}

impl From<CertificateError> for TlsError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "rustls may add reasons")]
    fn from(error: CertificateError) -> Self {
        match error {
            CertificateError::NotValidForNameContext { expected, presented } => {
                Self::WrongName { expected: expected.to_str().into_owned(), presented }
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotValidYet
            }
            // The second: by one that has the name of a trusted one.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownIssuer,
            other => Self::Certificate(other),
        }
    }
}

/// How long one address is waited for before the next is tried, too (RFC 8305 section 8).
const NEXT_ATTEMPT: Duration = Duration::from_millis(250);
/// What a connection that was reset says, by what was done with it.
const RESET: [io::ErrorKind; 2] = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
/// Names of a certificate that are shown.
const NAMES_SHOWN: usize = 4;
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;
