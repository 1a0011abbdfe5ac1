//! Upstreams that are slow, stop or lie.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use drive::{Framing, UpstreamAddress, tasks};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, ServerConnection, crypto::ring,
    pki_types::PrivateKeyDer,
};
use testkit::Random;
use transports::ClientTls;
use websocket::Version;

use crate::{gateway::Gateway, read, reset, rest};

const WEBSOCKET: Framing = Framing::WebSocket { version: Version::Rfc6455, deflate: None };
const HOUR: Duration = Duration::from_secs(3600);

/// A gateway whose clients are WebSockets, to a server with TLS that has one of these certificates.
fn secure(connect_timeout: Duration, roots: RootCertStore) -> Gateway {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = ClientTls { config: Arc::new(config), name: "localhost".try_into().unwrap() };
    let with = |address| UpstreamAddress { tls: Some(tls), ..address };
    Gateway::start_with(WEBSOCKET, connect_timeout, with, || Box::new(proxy::Proxy::new(false)))
}

#[test]
fn a_client_that_leaves_stops_the_connect() {
    let leaves: [(&str, fn(TcpStream) -> Option<TcpStream>); 3] =
        [("closes", |_| None), ("resets", reset_now), ("closes its side", close_side)];
    let gateway = secure(HOUR, RootCertStore::empty());
    let mut tried = 0;
    for (how, leave) in leaves {
        for (first, pause) in [(false, false), (true, false), (true, true)] {
            let rule = format!("{how}, sends first: {first}, with a pause: {pause}");
            let (mut client, mut server) = gateway.connect();
            if first {
                client.write_all(&[0x82; 100]).unwrap();
            }
            // The TLS handshake has begun, and goes on for an hour.
            assert_eq!(read(&mut server, 1), [22], "{rule}");
            if pause {
                // The core has read what the client sent, and reads no more.
                thread::park_timeout(Duration::from_millis(50));
            }
            let client = leave(client);
            rest(&mut server);
            drop(client);
            tried += 1;
        }
    }
    assert_eq!((gateway.wait_for_end(), tried), (0, 9), "none has an outcome");
    gateway.stop();
}

fn reset_now(client: TcpStream) -> Option<TcpStream> {
    reset(client);
    None
}

fn close_side(client: TcpStream) -> Option<TcpStream> {
    client.shutdown(Shutdown::Write).unwrap();
    Some(client)
}

/// What a server does with a connection.
#[derive(Clone, Copy, Debug)]
enum Does {
    /// Sends back what comes, and closes.
    Serves,
    /// The same, but its handshake comes a byte at a time.
    Dribbles,
    /// Sends back what comes, and closes without a close_notify.
    Truncates,
    /// Sends back what comes, and resets the connection.
    ResetsLater,
    /// Shows a certificate for another name.
    WrongName,
    /// Shows a certificate that has expired.
    Expired,
    /// Shows a certificate that is not trusted.
    Unknown,
    /// Sends so many bytes of its handshake, one at a time, and then nothing.
    Stalls(usize),
    /// Sends so many bytes of its handshake, and resets the connection.
    Resets(usize),
    /// Sends so many bytes of its handshake, and closes.
    Closes(usize),
    /// Sends what is no TLS.
    Garbage,
    /// Sends a message of the handshake that never ends.
    Floods,
}

impl Does {
    /// The code and reason with which the client is closed.
    fn told(self) -> (u16, &'static str) {
        match self {
            Self::Serves | Self::Dribbles => (1000, "the upstream closed the connection"),
            Self::Truncates => (
                1014,
                "the upstream ended without a TLS close_notify: what it sent may be incomplete",
            ),
            Self::ResetsLater => (1014, "the upstream reset the connection"),
            Self::WrongName
            | Self::Expired
            | Self::Unknown
            | Self::Stalls(_)
            | Self::Resets(_)
            | Self::Closes(_)
            | Self::Garbage
            | Self::Floods => (1014, "the upstream cannot be reached"),
        }
    }

    fn random(random: &mut Random) -> Self {
        // A resumed handshake has less; all but its last byte is sent then.
        let count = random.below(400);
        random.pick(&[
            Self::Serves,
            Self::Dribbles,
            Self::Truncates,
            Self::ResetsLater,
            Self::WrongName,
            Self::Expired,
            Self::Unknown,
            Self::Stalls(count),
            Self::Resets(count),
            Self::Closes(count),
            Self::Garbage,
            Self::Floods,
        ])
    }
}

#[test]
fn storms_of_bad_servers_end_with_a_reason_and_leave_nothing() {
    let certificates = Certificates::new();
    let gateway = secure(Duration::from_secs(5), certificates.roots.clone());
    let mut random = Random::new(7);
    for round in 0..6 {
        let together: Vec<_> = (0..TOGETHER)
            .map(|index| {
                let does = Does::random(&mut random);
                let leaves = random.once_in(5);
                let (client, server) = gateway.connect();
                let config = certificates.of(does);
                let serve = move || serve(server, does, config);
                let server = tasks::thread("server", serve).unwrap();
                let client = tasks::thread("client", move || exchange(client, leaves)).unwrap();
                (format!("round {round}, {index}, {does:?}"), does, client, server)
            })
            .collect();
        assert!(gateway.upstream.stats().all(|stats| stats.open <= TOGETHER));
        for (rule, does, client, server) in together {
            if let Some((echo, close)) = client.join().unwrap() {
                let (code, why) = does.told();
                assert_eq!(close, (code, why.to_owned()), "{rule}");
                let is_whole = matches!(does, Does::Serves | Does::Dribbles | Does::Truncates);
                assert!(!is_whole || echo == PAYLOAD, "{rule}: {} bytes", echo.len());
            }
            server.join().unwrap();
        }
    }
    gateway.wait_for_end();
    gateway.stop();
}

/// Sends a message; returns what came of it and the close, unless the client is one that leaves.
fn exchange(mut client: TcpStream, leaves: bool) -> Option<(Vec<u8>, (u16, String))> {
    let len = u16::try_from(PAYLOAD.len()).unwrap().to_be_bytes();
    // Masked with zeros.
    let frame = [&[0x82, 0xfe, len[0], len[1], 0, 0, 0, 0], PAYLOAD].concat();
    // The connection may have ended.
    drop(client.write_all(&frame));
    if leaves {
        return None;
    }
    let mut echo = Vec::new();
    loop {
        let [opcode, len] = read(&mut client, 2).try_into().unwrap();
        let len = match len {
            126 => usize::from(u16::from_be_bytes(read(&mut client, 2).try_into().unwrap())),
            len => usize::from(len),
        };
        let payload = read(&mut client, len);
        if opcode == 0x88 {
            let code = u16::from_be_bytes([payload[0], payload[1]]);
            return Some((echo, (code, str::from_utf8(&payload[2..]).unwrap().to_owned())));
        }
        echo.extend(payload);
    }
}

/// Does with a connection what is said; that it ends is no failure.
fn serve(mut stream: TcpStream, does: Does, config: Arc<ServerConfig>) {
    let mut tls = ServerConnection::new(config).unwrap();
    while tls.is_handshaking() {
        if !matches!(tls.read_tls(&mut stream), Ok(1..)) || tls.process_new_packets().is_err() {
            return;
        }
        let mut flight = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut flight).unwrap();
        }
        let sent = match does {
            Does::Dribbles => dribble(&mut stream, &flight),
            Does::Stalls(count) => {
                drop(dribble(&mut stream, &flight[..count.min(flight.len() - 1)]));
                return drop(stream.read(&mut [0]));
            }
            Does::Resets(count) => {
                drop(stream.write_all(&flight[..count.min(flight.len() - 1)]));
                return reset(stream);
            }
            Does::Closes(count) => {
                return drop(stream.write_all(&flight[..count.min(flight.len() - 1)]));
            }
            Does::Garbage => return drop(stream.write_all(b"220 no TLS here\r\n")),
            Does::Floods => return flood(&mut stream),
            Does::Serves
            | Does::Truncates
            | Does::ResetsLater
            | Does::WrongName
            | Does::Expired
            | Does::Unknown => stream.write_all(&flight),
        };
        if sent.is_err() {
            return;
        }
    }
    let mut echo = vec![0; PAYLOAD.len()];
    let mut secure = rustls::Stream::new(&mut tls, &mut stream);
    if secure.read_exact(&mut echo).and_then(|()| secure.write_all(&echo)).is_err() {
        return;
    }
    if matches!(does, Does::ResetsLater) {
        return reset(stream);
    }
    if !matches!(does, Does::Truncates) {
        tls.send_close_notify();
        drop(tls.write_tls(&mut stream));
    }
}

fn dribble(to: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    bytes.iter().try_for_each(|byte| to.write_all(&[*byte]))
}

/// Sends more and more of a ServerHello, until the connection ends.
fn flood(to: &mut TcpStream) {
    let mut record = vec![22, 3, 3, 0x40, 0, 2, 0xff, 0xff, 0xff];
    record.resize(5 + 0x4000, 1);
    for _ in 0..100_000 {
        if to.write_all(&record).is_err() {
            return;
        }
        record[5..9].fill(1);
    }
    panic!("the gateway reads a gigabyte of a handshake");
}

/// Those of the servers, of which the first three are trusted.
struct Certificates {
    good: Arc<ServerConfig>,
    wrong_name: Arc<ServerConfig>,
    expired: Arc<ServerConfig>,
    unknown: Arc<ServerConfig>,
    roots: RootCertStore,
}

impl Certificates {
    fn new() -> Self {
        let mut roots = RootCertStore::empty();
        let mut unknown = RootCertStore::empty();
        Self {
            good: server(&mut roots, "localhost", 2100),
            wrong_name: server(&mut roots, "other.test", 2100),
            expired: server(&mut roots, "localhost", 2001),
            unknown: server(&mut unknown, "localhost", 2100),
            roots,
        }
    }

    fn of(&self, does: Does) -> Arc<ServerConfig> {
        let config = match does {
            Does::WrongName => &self.wrong_name,
            Does::Expired => &self.expired,
            Does::Unknown => &self.unknown,
            Does::Serves
            | Does::Dribbles
            | Does::Truncates
            | Does::ResetsLater
            | Does::Stalls(_)
            | Does::Resets(_)
            | Does::Closes(_)
            | Does::Garbage
            | Does::Floods => &self.good,
        };
        Arc::clone(config)
    }
}

/// A server with a certificate for a name until a year, which is added to the roots.
fn server(roots: &mut RootCertStore, name: &str, until: i32) -> Arc<ServerConfig> {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().der().clone();
    roots.add(certificate.clone()).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    Arc::new(config)
}

/// Connections at a time.
const TOGETHER: usize = 16;
const PAYLOAD: &[u8] = &[7; 1000];
