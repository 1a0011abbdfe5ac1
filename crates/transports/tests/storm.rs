//! A socket of a reactor and its peer, without TLS and with: both send at random, in pieces of
//! any size, through system buffers that are too small. What one sends arrives at the other, and
//! whatever waits is accounted for.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use bytes::Bytes;
use contract::{Body, Destination, Detection, Message, SendBuffer};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::ring,
    pki_types::PrivateKeyDer,
    version::{TLS12, TLS13},
};
use socket2::SockRef;
use testkit::Random;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use transports::{Accepted, Outgoing, Reactor, Read as Got, Slot};

/// The most that each side sends.
const BYTES_MAX: usize = 300_000;
const STEPS_MAX: usize = 10_000_000;

#[test]
fn what_is_sent_arrives() {
    for seed in 0..60 {
        storm(None, seed);
        storm(Some(&TLS12), seed);
        storm(Some(&TLS13), seed);
    }
}

fn storm(version: Option<&'static SupportedProtocolVersion>, seed: u64) {
    let shown = format!("seed {seed}, {version:?}");
    let mut random = Random::new(seed);
    let (mut gateway, mut peer) = connect(version, &mut random);
    // Either may be the last.
    let (ours, theirs) = (random.below(BYTES_MAX), random.below(BYTES_MAX));
    let mut steps = 0..STEPS_MAX;
    while gateway.sent < ours
        || peer.sent < theirs
        || gateway.received < peer.sent
        || peer.received < gateway.sent
        || peer.waiting()
    {
        steps.next().unwrap_or_else(|| panic!("{shown}: {gateway:?} {peer:?}"));
        match random.below(4) {
            0 if gateway.sent < ours => gateway.send(&mut random),
            1 if peer.sent < theirs => peer.send(&mut random),
            2 => peer.turn(&mut random),
            _ => gateway.turn(),
        }
    }
    gateway.turn();
    let socket = &mut gateway.reactor.get_mut(gateway.slot).unwrap().socket;
    assert_eq!((socket.backlog_bytes(), socket.backlog_since()), (0, None), "{shown}");
    socket.finish();
    while !peer.half_closed {
        steps.next().unwrap_or_else(|| panic!("{shown}: the peer hears no end"));
        peer.turn(&mut random);
    }
    peer.finish();
    while !gateway.half_closed {
        steps.next().unwrap_or_else(|| panic!("{shown}: the gateway hears no end"));
        gateway.turn();
    }
}

/// The byte that each side sends at a position.
fn byte(position: usize) -> u8 {
    u8::try_from((position * 31 + position / 257) % 256).unwrap()
}

fn bytes(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(byte).collect()
}

fn check(from: usize, got: &[u8]) {
    assert!(got == bytes(from, got.len()), "{} bytes from {from}", got.len());
}

struct Gateway {
    reactor: Reactor<()>,
    slot: Slot,
    outgoing: Outgoing,
    buffer: Vec<u8>,
    now: u64,
    sent: usize,
    received: usize,
    half_closed: bool,
}

impl Gateway {
    /// Sends frames of its own, and some as if others had them too; of both, parts are referenced.
    fn send(&mut self, random: &mut Random) {
        let socket = &mut self.reactor.get_mut(self.slot).unwrap().socket;
        if socket.backlog_bytes() > 300_000 {
            return;
        }
        for _ in 0..=random.below(5) {
            let max = random.pick(&[10, 1000, 100_000]);
            let frame = Bytes::from(bytes(self.sent, random.below(max)));
            self.sent += frame.len();
            let (from, to) = (random.below(frame.len() + 1), random.below(frame.len() + 1));
            let (from, to) = (from.min(to), from.max(to));
            let encode = |out: &mut SendBuffer| {
                out.extend_from_slice(&frame.slice(..from));
                out.append_shared(&frame, from..to);
                out.extend_from_slice(&frame.slice(to..));
            };
            if random.once_in(2) {
                self.outgoing.append(socket, encode);
            } else {
                let destination = Destination::parse("/topic/t").unwrap();
                let body = Body::Binary(frame.clone());
                let message = Arc::new(Message::new(destination, 0, 0, body));
                self.outgoing.append_shared(socket, &message, 0, b"", encode);
            }
        }
        self.flush();
    }

    fn flush(&mut self) {
        self.now += 1;
        let socket = &mut self.reactor.get_mut(self.slot).unwrap().socket;
        self.outgoing.send_ahead([&*socket, &*socket].into_iter()).unwrap();
        let flushed = self.outgoing.flush(socket, self.now).unwrap();
        self.outgoing.clear();
        assert_eq!(flushed.backlog_bytes, socket.backlog_bytes());
        let shared = socket.backlog_bytes() - socket.own_backlog_bytes();
        assert!(shared <= self.outgoing.shared_backlog_bytes());
        assert_eq!(shared == 0, self.outgoing.shared_backlog_bytes() == 0);
        assert_eq!(socket.backlog_since().is_some(), socket.backlog_bytes() > 0);
    }

    fn turn(&mut self) {
        self.reactor.poll().unwrap();
        while let Some(slot) = self.reactor.next_readable() {
            let socket = &mut self.reactor.get_mut(slot).unwrap().socket;
            match socket.read(&mut self.buffer).unwrap() {
                Got::Bytes(count) => {
                    check(self.received, self.buffer.get(..count).unwrap());
                    self.received += count;
                }
                Got::Nothing => {}
                Got::End | Got::Truncated => {
                    self.half_closed = true;
                    return;
                }
            }
            self.reactor.requeue(slot);
        }
        while self.reactor.next_writable().is_some() {
            self.flush();
        }
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "gateway: {} sent, {} received", self.sent, self.received)
    }
}

struct Peer {
    socket: std::net::TcpStream,
    tls: Option<ClientConnection>,
    /// Not accepted by the kernel yet, without TLS.
    unsent: Vec<u8>,
    sent: usize,
    received: usize,
    half_closed: bool,
}

impl Peer {
    fn send(&mut self, random: &mut Random) {
        if self.waiting() {
            return self.turn(random);
        }
        let max = random.pick(&[2, 1000, 60_000]);
        let plain = bytes(self.sent, random.below(max));
        match &mut self.tls {
            Some(tls) => {
                if random.once_in(20) {
                    // Fails before TLS 1.3.
                    drop(tls.refresh_traffic_keys());
                }
                self.sent += tls.writer().write(&plain).unwrap();
            }
            None => {
                self.sent += plain.len();
                self.unsent = plain;
            }
        }
    }

    fn waiting(&self) -> bool {
        !self.unsent.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Writes some, and reads some.
    fn turn(&mut self, random: &mut Random) {
        let mut limited = Limited { socket: &self.socket, len: 1 + random.below(20_000) };
        match &mut self.tls {
            Some(tls) => {
                let written = if tls.wants_write() { tls.write_tls(&mut limited) } else { Ok(0) };
                would_block(written);
                match would_block(tls.read_tls(&mut limited)) {
                    Some(0) => self.half_closed = true,
                    _ => drop(tls.process_new_packets().unwrap()),
                }
                let mut plain = Vec::new();
                would_block(tls.reader().read_to_end(&mut plain));
                check(self.received, &plain);
                self.received += plain.len();
            }
            None => {
                let count = would_block(limited.write(&self.unsent)).unwrap_or(0);
                self.unsent.drain(..count);
                let mut plain = vec![0; limited.len];
                let count = would_block(limited.read(&mut plain));
                self.half_closed = count == Some(0);
                plain.truncate(count.unwrap_or(0));
                check(self.received, &plain);
                self.received += plain.len();
            }
        }
    }

    fn finish(&mut self) {
        match &mut self.tls {
            Some(tls) => {
                tls.send_close_notify();
                tls.write_tls(&mut self.socket).unwrap();
            }
            None => self.socket.shutdown(std::net::Shutdown::Write).unwrap(),
        }
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "peer: {} sent, {} received", self.sent, self.received)
    }
}

/// `None`: later.
fn would_block<T>(result: io::Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) => panic!("{error}"),
    }
}

/// Reads and writes at most `len` bytes at a time.
struct Limited<'a> {
    socket: &'a std::net::TcpStream,
    len: usize,
}

impl Read for Limited<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.len.min(buffer.len());
        self.socket.read(buffer.get_mut(..len).unwrap_or_default())
    }
}

impl Write for Limited<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes.get(..self.len).unwrap_or(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// A connection whose first bytes came before the reactor had it.
fn connect(
    version: Option<&'static SupportedProtocolVersion>,
    random: &mut Random,
) -> (Gateway, Peer) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = bytes(0, 1 + random.below(12_000));
    let (stream, early, socket, tls) = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (client, server) = (client.unwrap(), server.unwrap().0);
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
            SockRef::from(stream).set_send_buffer_size(20_000).unwrap();
            SockRef::from(stream).set_recv_buffer_size(20_000).unwrap();
        }
        let protocols: [fn(&[u8]) -> Detection; 2] = [
            |bytes| Detection::by_prefix(bytes, &[&[1, 2]]),
            |bytes| Detection::by_prefix(bytes, &[&[0]]),
        ];
        if let Some(version) = version {
            let (ours, theirs) = configurations(version);
            let connector = TlsConnector::from(theirs);
            let name = "localhost".try_into().unwrap();
            let client = async {
                let (socket, mut tls) = connector.connect(name, client).await.unwrap().into_inner();
                tls.writer().write_all(&first).unwrap();
                let socket = socket.into_std().unwrap();
                while would_block(tls.write_tls(&mut &socket)).is_some_and(|count| count > 0) {}
                (socket, tls)
            };
            let (accepted, (socket, tls)) =
                tokio::join!(Accepted::tls(server, ours, async |_: &TcpStream| Some(())), client);
            let mut accepted = accepted.unwrap().unwrap();
            assert_eq!(accepted.detect(&protocols).await.unwrap(), Some(1));
            let (stream, early) = accepted.into_stream().unwrap();
            (stream, early, socket, Some(tls))
        } else {
            let socket = client.into_std().unwrap();
            (&socket).write_all(&first).unwrap();
            let mut accepted = Accepted::plain(server);
            assert_eq!(accepted.detect(&protocols).await.unwrap(), Some(1));
            let (stream, early) = accepted.into_stream().unwrap();
            (stream, early, socket, None)
        }
    });
    check(0, &early);
    let (mut reactor, _) = Reactor::new().unwrap();
    let slot = reactor.insert(stream, ()).unwrap();
    // Not every system has io_uring, or allows it.
    let ring = random.once_in(2).then(Outgoing::with_ring).and_then(Result::ok);
    let gateway = Gateway {
        reactor,
        slot,
        outgoing: ring.unwrap_or_default(),
        buffer: vec![0; 64 << 10],
        now: 0,
        sent: 0,
        received: early.len(),
        half_closed: false,
    };
    let unsent = Vec::new();
    (gateway, Peer { socket, tls, unsent, sent: first.len(), received: 0, half_closed: false })
}

fn configurations(
    version: &'static SupportedProtocolVersion,
) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}
