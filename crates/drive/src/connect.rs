//! Connections from a core to an upstream. All of it is tokio's, until the socket is the reactor's.

use std::{cell::Cell, fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use rustix::io::Errno;
use tokio::{io::AsyncWriteExt as _, time};
use transports::{Connected, Stream, TlsError, dial, proxy_header};
use websocket::client::{self, ResponseError};

use crate::{
    clock,
    upstream::{Address, Recovery, Resource, Upstream, UpstreamPermit},
};

/// A connection to an upstream that is open.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) stream: Stream,
    /// What was read already and belongs to the protocol.
    pub(crate) early: Vec<u8>,
    pub(crate) permit: UpstreamPermit,
}

/// For whom a connection is opened.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// The index of its service.
    pub(crate) service: u16,
    /// Its address.
    pub(crate) source: SocketAddr,
    /// The gateway's own that it connected to.
    pub(crate) target: SocketAddr,
    /// The subprotocol that it speaks; empty: none.
    pub(crate) subprotocol: Box<str>,
}

/// No address of an upstream could be connected to.
#[derive(Debug)]
pub(crate) struct Unreachable {
    /// The last address that was tried, and what is wrong there, for the log.
    pub(crate) why: String,
    pub(crate) cause: Cause,
}

/// Why no address of an upstream could be connected to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Cause {
    /// Something is wrong with the servers.
    Upstream,
    /// The gateway lacks descriptors, memory or ports.
    Gateway,
    /// Too many connections are being opened.
    Queue,
}

/// Why a connection to an address cannot be opened, in the words of who operates it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// There is no such name, or it cannot be found out.
    #[error("its name cannot be resolved: {0}")]
    Lookup(Arc<io::Error>),
    /// It refuses, or there is no way to it.
    #[error("cannot connect: {0}")]
    Tcp(io::Error),
    /// There is no TLS with it.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// It is no WebSocket, or does not become one.
    #[error("{0}")]
    WebSocket(#[from] ResponseError),
    /// The connection ends in the WebSocket handshake.
    #[error("the connection ended in the WebSocket handshake: {0}")]
    Ended(io::Error),
    /// It replies to the WebSocket handshake with too much.
    #[error("its reply to the WebSocket handshake has more than 16 KiB")]
    TooLong,
    /// It is too slow.
    #[error("{0} takes longer than connect-timeout allows")]
    Late(Stage),
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stage {
    Lookup,
    Tcp,
    Tls,
    WebSocket,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lookup => "the look-up of its name",
            Self::Tcp => "the TCP connection",
            Self::Tls => "the TLS handshake",
            Self::WebSocket => "the WebSocket handshake",
        })
    }
}

impl ConnectError {
    /// Whether the server replies that it does not want the connection, which may be due to the client.
    fn is_refusal(&self) -> bool {
        use ResponseError::{Status, Subprotocol};
        matches!(self, Self::WebSocket(Status(400..=499) | Subprotocol))
    }

    /// Whether the TLS handshake failed, or took too long.
    fn is_of_tls(&self) -> bool {
        matches!(self, Self::Tls(_) | Self::Late(Stage::Tls))
    }

    /// Whether it may be due to the subprotocol that the client chose: some servers end the
    /// connection, or reply with a 5xx, to one that they do not know.
    fn may_be_of_subprotocol(&self) -> bool {
        match self {
            Self::WebSocket(_) | Self::Ended(_) | Self::TooLong | Self::Late(Stage::WebSocket) => {
                true
            }
            Self::Lookup(_)
            | Self::Tcp(_)
            | Self::Tls(_)
            | Self::Late(Stage::Lookup | Stage::Tcp | Stage::Tls) => false,
        }
    }

    /// Whether it is the gateway that lacks what a connection takes: descriptors, memory or ports.
    pub(crate) fn is_own(&self) -> bool {
        let own = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::AGAIN];
        self.is_out_of_ports() || own.into_iter().any(|errno| self.is_of(errno))
    }

    /// Whether all ports for connections to this address are in use. Those to another address have
    /// theirs.
    fn is_out_of_ports(&self) -> bool {
        self.is_of(Errno::ADDRNOTAVAIL)
    }

    fn is_of(&self, errno: Errno) -> bool {
        let error = match self {
            Self::Lookup(error) => error,
            Self::Tcp(error) | Self::Ended(error) | Self::Tls(TlsError::Broken(error)) => error,
            Self::Tls(_) | Self::WebSocket(_) | Self::TooLong | Self::Late(_) => return false,
        };
        error.raw_os_error() == Some(errno.raw_os_error())
    }
}

/// Opens a connection to one address of an upstream after the other, until one is open. `service`
/// is the path of the service, for the log; `random` returns bits that others cannot foresee.
///
/// # Errors
/// When none is open within [`Upstream::connect_timeout`].
pub(crate) async fn connect(
    upstream: &Arc<Upstream>,
    service: &str,
    client: &Client,
    random: impl Fn() -> u128,
) -> Result<Opened, Unreachable> {
    let end = clock::now().after(upstream.connect_timeout);
    let left = || Duration::from_nanos(end.saturating_sub(clock::now().mono_ns));
    let too_many = "too many connections to the upstream are being opened";
    let Ok(_turn) = upstream.turn_to_open(left()).await else {
        return Err(Unreachable { why: too_many.to_owned(), cause: Cause::Queue });
    };
    // A server that is too slow for what the queue has left of the time may be well.
    let is_hurried = left() < upstream.connect_timeout / 2;
    let header =
        upstream.proxy_protocol.then(|| proxy_header::encode(client.source, client.target));
    // One that is due only now, when the others have used up the time, is not tried in none.
    let least = upstream.connect_timeout / 100;
    let mut tried = Vec::new();
    let mut unreachable = Unreachable { why: too_many.to_owned(), cause: Cause::Queue };
    while left() >= least
        && let Some((permit, others)) = upstream.choose(&tried, clock::now())
    {
        let address = permit.address();
        let stage = Cell::new(Stage::Lookup);
        // Each of those that are left has its part of the time.
        let part = left() / u32::try_from(others + 1).unwrap_or(u32::MAX);
        // Where a look-up takes long, there is to be time left for addresses from before.
        let open = open(address, header.as_deref(), client, &random, part / 2, &stage);
        let outcome = match time::timeout(part, open).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(ConnectError::Late(stage.get())),
        };
        let label = &*address.label;
        let error = match outcome {
            Ok((stream, early)) => {
                if address.tls.is_some() {
                    permit.shook_hands(true);
                }
                log_recovery(permit.opened(&client.subprotocol, clock::now()), service, label);
                return Ok(Opened { stream, early, permit });
            }
            Err(error) => error,
        };
        if address.tls.is_some() && (error.is_of_tls() || stage.get() == Stage::WebSocket) {
            permit.shook_hands(!error.is_of_tls());
        }
        let why = error.to_string();
        let cause = if error.is_own() { Cause::Gateway } else { Cause::Upstream };
        unreachable = Unreachable { why: format!("{label}: {why}"), cause };
        if error.is_out_of_ports() {
            tried.push(permit.index());
            continue;
        }
        if cause == Cause::Gateway {
            break;
        }
        if is_hurried && matches!(error, ConnectError::Late(_)) {
            let why = format!("{label}: {why}, since {too_many}");
            unreachable = Unreachable { why, cause: Cause::Queue };
            break;
        }
        let agreed = permit.agreed_to(&client.subprotocol);
        // What the server knows of a client is its subprotocol, and from a PROXY header its address.
        if error.is_refusal() && (upstream.proxy_protocol || agreed != Some(true)) {
            log_recovery(permit.refused(clock::now()), service, label);
        } else if error.may_be_of_subprotocol() && agreed == Some(false) {
            permit.not_opened();
        } else if let Some(missed) = permit.failed(&why, clock::now(), random()) {
            tracing::warn!(service, upstream = label, error = why, missed, "the upstream is down");
        }
        tried.push(permit.index());
    }
    Err(unreachable)
}

fn log_recovery(recovery: Option<Recovery>, service: &str, upstream: &str) {
    if let Some(Recovery { down_for, missed }) = recovery {
        tracing::info!(service, upstream, ?down_for, missed, "the upstream is up again");
    }
}

async fn open(
    address: &Address,
    header: Option<&[u8]>,
    client: &Client,
    random: impl Fn() -> u128,
    fallback_timeout: Duration,
    stage: &Cell<Stage>,
) -> Result<(Stream, Vec<u8>), ConnectError> {
    let ips = address.name.addresses(fallback_timeout).await.map_err(ConnectError::Lookup)?;
    stage.set(Stage::Tcp);
    let mut stream = dial(&ips, address.port).await.map_err(ConnectError::Tcp)?;
    if let Some(header) = header {
        stream.write_all(header).await.map_err(ConnectError::Tcp)?;
    }
    let mut connected = match &address.tls {
        None => Connected::Plain(stream),
        Some(tls) => {
            stage.set(Stage::Tls);
            Connected::tls(stream, tls).await?
        }
    };
    let mut early = Vec::new();
    if let Some(resource) = &address.websocket {
        stage.set(Stage::WebSocket);
        let Resource { host, path } = resource;
        let subprotocol = &*client.subprotocol;
        let request = client::Request { host, path, subprotocol, nonce: random() };
        early = shake_hands(&mut connected, &request).await?;
    }
    let (stream, decrypted) = connected.into_stream().map_err(ConnectError::Tcp)?;
    early.extend(decrypted);
    Ok((stream, early))
}

/// Makes a connection a WebSocket. Returns what came behind the response.
async fn shake_hands(
    connected: &mut Connected,
    request: &client::Request<'_>,
) -> Result<Vec<u8>, ConnectError> {
    let mut response = client::Response::new(*request);
    let parse = |received: &[u8]| response.parse(received).transpose();
    let exchanged = connected.exchange(&request.encode(), RESPONSE_BYTES_MAX, parse).await;
    let (len, mut received) = exchanged.map_err(ConnectError::Ended)?;
    let len = len.ok_or(ConnectError::TooLong)??;
    Ok(received.split_off(len))
}

/// The header of a response to a WebSocket handshake.
const RESPONSE_BYTES_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{TcpListener, TcpStream},
    };

    use contract::Now;

    use super::*;
    use crate::{tasks, upstream::UpstreamAddress};

    /// What a server does with a request for a WebSocket.
    type Serve = fn(TcpStream, &str);

    /// A WebSocket server, with a thread that lasts until the process ends.
    fn server(serve: Serve) -> UpstreamAddress {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let run = move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") || request.len() == 4 {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    request.extend(byte);
                    if request == b"\r\n\r\n\0" {
                        // The rest of a PROXY header, which has 28 bytes for IPv4.
                        stream.read_exact(&mut [0; 23]).unwrap();
                        request.clear();
                    }
                }
                serve(stream, str::from_utf8(&request).unwrap());
            }
        };
        tasks::thread("server", run).unwrap();
        let resource = Resource { host: "127.0.0.1".into(), path: "/".into() };
        let (label, host) = (format!("ws://127.0.0.1:{port}").into(), "127.0.0.1".into());
        UpstreamAddress { label, host, port, tls: None, websocket: Some(resource) }
    }

    fn upstream(addresses: Vec<UpstreamAddress>) -> Arc<Upstream> {
        Arc::new(Upstream::new(addresses, Duration::from_millis(500), false))
    }

    async fn open(upstream: &Arc<Upstream>, subprotocol: &str) -> Result<Opened, Unreachable> {
        let any = SocketAddr::from(([127, 0, 0, 1], 1));
        let subprotocol = subprotocol.into();
        let client = Client { service: 0, source: any, target: any, subprotocol };
        // The key of RFC 6455 section 1.3.
        let nonce = || u128::from_ne_bytes(*b"the sample nonce");
        connect(upstream, "/", &client, nonce).await
    }

    fn reply(mut to: TcpStream, head: &str) {
        // The other side may have gone.
        drop(to.write_all(head.as_bytes()));
    }

    const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
         Sec-WebSocket-Protocol: known\r\n\r\n";

    /// Agrees to the subprotocol `known`, and does something else with others.
    macro_rules! knows {
        (|$stream:ident| $else:expr) => {
            |stream, request| {
                if request.contains("Sec-WebSocket-Protocol: known\r\n") {
                    return reply(stream, AGREED);
                }
                let $stream = stream;
                $else;
            }
        };
    }

    #[tokio::test]
    async fn no_subprotocol_of_a_client_brings_a_server_down() {
        let cases: [(&str, Serve); 9] = [
            ("another subprotocol", knows!(|stream| reply(stream, AGREED))),
            ("400", knows!(|stream| reply(stream, "HTTP/1.1 400 Bad Request\r\n\r\n"))),
            ("500", knows!(|stream| reply(stream, "HTTP/1.1 500 Internal Error\r\n\r\n"))),
            ("503", knows!(|stream| reply(stream, "HTTP/1.1 503 Unavailable\r\n\r\n"))),
            ("200", knows!(|stream| reply(stream, "HTTP/1.1 200 OK\r\n\r\n"))),
            ("the end", knows!(|stream| drop(stream))),
            ("no HTTP", knows!(|stream| reply(stream, "ERROR\n"))),
            (
                "too much",
                knows!(|stream| reply(stream, &format!("HTTP/1.1 {}", "2".repeat(1 << 15)))),
            ),
            ("silence", knows!(|stream| tasks::thread("silent", || wait_for_end(stream)).unwrap())),
        ];
        for (rule, serve) in cases {
            let upstream = upstream(vec![server(serve)]);
            let is_up = || upstream.stats().next().unwrap().is_up;
            assert!(open(&upstream, "known").await.is_ok(), "{rule}");
            for subprotocol in ["unknown", "other", ""] {
                let unreachable = open(&upstream, subprotocol).await.unwrap_err();
                assert_eq!(unreachable.cause, Cause::Upstream, "{rule}: {unreachable:?}");
                assert!(is_up(), "{rule}: {unreachable:?}");
            }
            assert_eq!(upstream.stats().next().unwrap().failed, 3, "{rule}");
            assert!(open(&upstream, "known").await.is_ok(), "{rule}, afterwards");
        }
    }

    fn wait_for_end(mut stream: TcpStream) {
        drop(stream.read(&mut [0]));
    }

    #[tokio::test]
    async fn what_fails_with_the_subprotocol_that_worked_is_down() {
        for before in [false, true] {
            let broken = server(|stream, _| reply(stream, "HTTP/1.1 503 Unavailable\r\n\r\n"));
            let upstream = upstream(vec![broken, server(|stream, _| reply(stream, AGREED))]);
            if before {
                let (permit, _) = upstream.choose(&[1], clock::now()).unwrap();
                assert_eq!(permit.opened("known", clock::now()), None);
            }
            // One goes to the one that is broken first, and from there to the other.
            for _ in 0..2 {
                assert!(open(&upstream, "known").await.is_ok());
            }
            let is_up: Vec<_> = upstream.stats().map(|stats| stats.is_up).collect();
            assert_eq!(is_up, [false, true], "agreed to before: {before}");
        }
    }

    #[tokio::test]
    async fn a_server_that_refuses_all_draws_no_connections() {
        let refusals: [Serve; 3] = [
            |stream, _| reply(stream, "HTTP/1.1 404 Not Found\r\n\r\n"),
            |stream, _| reply(stream, "HTTP/1.1 429 Too Many Requests\r\n\r\n"),
            |stream, _| reply(stream, &AGREED.replace("known", "other")),
        ];
        for (index, refuse) in refusals.into_iter().enumerate() {
            for (before, proxy_protocol) in [(false, false), (true, false), (true, true)] {
                let shown = format!("{index}, agreed to before: {before}, PROXY: {proxy_protocol}");
                let addresses = vec![server(refuse), server(|stream, _| reply(stream, AGREED))];
                let timeout = Duration::from_millis(500);
                let upstream = Arc::new(Upstream::new(addresses, timeout, proxy_protocol));
                if before {
                    let (permit, _) = upstream.choose(&[1], clock::now()).unwrap();
                    permit.opened("known", clock::now());
                }
                let mut all = Vec::new();
                for _ in 0..4 {
                    all.push(open(&upstream, "known").await.expect(&shown));
                }
                let stats: Vec<_> = upstream.stats().collect();
                assert_eq!((stats[1].is_up, stats[1].open), (true, 4), "{shown}");
                // Not where it may be due to the client.
                let is_down = before && !proxy_protocol;
                assert_eq!(stats[0].is_up, !is_down, "{shown}");
                assert!(stats[0].failed >= if is_down { 1 } else { 3 }, "{shown}: {stats:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_client_that_all_refuse_is_told_what_the_last_says() {
        let first = server(|stream, _| reply(stream, "HTTP/1.1 401 Unauthorized\r\n\r\n"));
        let last = server(|stream, _| reply(stream, "HTTP/1.1 403 Forbidden\r\n\r\n"));
        let upstream = upstream(vec![first, last]);
        let why = open(&upstream, "known").await.unwrap_err().why;
        assert!(why.ends_with("it replies with status 403 to the WebSocket handshake"), "{why}");
        assert!(upstream.stats().all(|stats| stats.is_up && stats.failed == 1));
    }

    #[tokio::test]
    async fn a_server_that_is_due_when_the_time_is_over_is_not_tried() {
        let silent =
            server(|stream, _| drop(tasks::thread("silent", || wait_for_end(stream)).unwrap()));
        let upstream = upstream(vec![silent, server(|stream, _| reply(stream, AGREED))]);
        let (other, _) = upstream.choose(&[0], clock::now()).unwrap();
        let mono_ns = clock::now().after(Duration::from_secs(60));
        other.failed("refused", Now { mono_ns, unix_ms: 0 }, 0);
        let recover = async {
            while upstream.stats().next().unwrap().open == 0 {
                tokio::task::yield_now().await;
            }
            other.opened("known", clock::now());
        };
        let (outcome, ()) = tokio::join!(open(&upstream, "known"), recover);
        let why = outcome.unwrap_err().why;
        let late = "the WebSocket handshake takes longer than connect-timeout allows";
        assert!(why.ends_with(late), "{why}");
        let is_up: Vec<_> = upstream.stats().map(|stats| stats.is_up).collect();
        assert_eq!(is_up, [false, true]);
    }

    #[test]
    fn what_the_gateway_lacks_says_nothing_of_the_server() {
        let of = |errno: Errno| io::Error::from(errno);
        let own = [
            ConnectError::Tcp(of(Errno::MFILE)),
            ConnectError::Tcp(of(Errno::NFILE)),
            ConnectError::Tcp(of(Errno::ADDRNOTAVAIL)),
            ConnectError::Tcp(of(Errno::NOBUFS)),
            ConnectError::Lookup(Arc::new(of(Errno::MFILE))),
            ConnectError::Tls(TlsError::from(of(Errno::NOBUFS))),
            ConnectError::Ended(of(Errno::NOMEM)),
        ];
        for error in own {
            assert!(error.is_own(), "{error}");
        }
        let others = [
            ConnectError::Tcp(of(Errno::CONNREFUSED)),
            ConnectError::Tcp(of(Errno::NETUNREACH)),
            ConnectError::Tcp(of(Errno::TIMEDOUT)),
            ConnectError::Tls(TlsError::Closed),
            ConnectError::Late(Stage::Tcp),
        ];
        for error in others {
            assert!(!error.is_own(), "{error}");
        }
    }
}
