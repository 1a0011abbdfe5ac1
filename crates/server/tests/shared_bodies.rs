//! A large message to a thousand peers that read nothing, each of which is sent other headers, stays
//! in memory once, whatever they are connected by.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]
#![expect(clippy::print_stdout, reason = "figures, with --nocapture")]

mod amqp_receivers;
mod two_ports;

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use rustls::{ClientConnection, StreamOwned};
use socket2::{Domain, Socket, Type};
use testkit::Random;
use two_ports::Gateway;

const MIB: usize = 1 << 20;
const BODY_BYTES: usize = 4 * MIB;
/// What a message may take beside its body.
const MORE_MAX: usize = 16 * MIB;
const SUBSCRIBERS: usize = 1000;

#[test]
fn a_body_for_many_is_in_memory_once() {
    for (way, open) in WAYS {
        for headers in ["ack:auto", "ack:client-individual", "ack:auto\nprefetch-count:1"] {
            stall(way, headers, *open);
        }
    }
}

type Stream = Box<dyn Connection>;
type Open = fn(&Gateway) -> Stream;

/// How the subscribers connect.
const WAYS: &[(&str, Open)] = &[
    ("TCP", |gateway| Box::new(connect(gateway.plain))),
    ("TLS", |gateway| Box::new(secure(gateway))),
    ("WebSocket", |gateway| Box::new(upgrade(connect(gateway.plain), ""))),
    ("deflated WebSocket", |gateway| {
        let deflate = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
        Box::new(upgrade(connect(gateway.plain), deflate))
    }),
    ("WebSocket over TLS", |gateway| Box::new(upgrade(secure(gateway), ""))),
];

fn stall(way: &str, headers: &str, open: Open) {
    let shown = format!("{way}, {headers:?}");
    let gateway = start();
    let mut subscribers: Vec<Stream> = Vec::new();
    for n in 0..SUBSCRIBERS {
        let mut stream = open(&gateway);
        let frames = format!(
            "CONNECT\naccept-version:1.2\nhost:x\n\n\0\
             SUBSCRIBE\nid:subscription-{n}\ndestination:/topic/large\n{headers}\nreceipt:r\n\n\0"
        );
        stream.send(frames.as_bytes());
        stream.wait_for(b"receipt-id:r\n\n\0");
        subscribers.push(stream);
    }
    let before = (memory(&gateway), bytes_sent(&gateway));
    let body = text(BODY_BYTES);
    let mut publisher = connect(gateway.plain);
    Connection::send(&mut publisher, b"CONNECT\naccept-version:1.2\nhost:x\n\n\0");
    let head =
        format!("SEND\ndestination:/topic/large\nreceipt:sent\ncontent-length:{}\n\n", body.len());
    Connection::send(&mut publisher, &[head.as_bytes(), &body, b"\0"].concat());
    publisher.wait_for(b"receipt-id:sent\n\n\0");
    // The core responds to this when it has written what can be.
    let sent = bytes_sent(&gateway) - before.1;
    let more = memory(&gateway) - before.0;
    println!("{shown}: {} KiB more, {} KiB sent", more >> 10, sent >> 10);
    // Of what each is to have, which is 3 MiB at least, the kernel takes a part.
    assert!(sent < SUBSCRIBERS * 5 / 2 * MIB, "{shown}: {sent} bytes sent");
    assert!(more <= BODY_BYTES + MORE_MAX, "{shown}: {more} bytes more");
    assert_eq!(metric(&gateway, "passerelle_slow_consumers_total"), 0, "{shown}");
    if matches!(way, "TCP" | "TLS") {
        for (n, stream) in subscribers.iter_mut().enumerate().step_by(499) {
            let head = stream.wait_for(b"\n\n");
            assert!(head.contains(&format!("subscription:subscription-{n}\n")), "{shown}: {head}");
            let is_acked = !headers.starts_with("ack:auto");
            assert_eq!(head.contains("\nack:"), is_acked, "{shown}: {head}");
            let mut received = vec![0; body.len() + 1];
            stream.read_exact(&mut received).unwrap();
            assert!(received.strip_suffix(b"\0") == Some(&body), "{shown}: subscriber {n}");
        }
    }
}

/// Text that compresses, to three quarters.
fn text(len: usize) -> Vec<u8> {
    let mut random = Random::new(1);
    let digits = std::iter::repeat_with(|| b'0' + u8::try_from(random.below(10)).unwrap());
    digits.take(len).collect()
}

/// The client's end, whose kernel takes little that it does not read.
fn connect(to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    socket.connect_timeout(&to.into(), TIMEOUT).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

trait Connection: Read + Write {
    /// Sends a message.
    fn send(&mut self, message: &[u8]) {
        self.write_all(message).unwrap();
    }

    /// Reads up to this, which must come, and nothing behind it.
    fn wait_for(&mut self, end: &[u8]) -> String {
        let mut received = Vec::new();
        let mut byte = [0];
        while !received.ends_with(end) {
            self.read_exact(&mut byte).unwrap();
            received.extend(byte);
        }
        String::from_utf8_lossy(&received).into_owned()
    }
}

impl Connection for TcpStream {}
impl Connection for StreamOwned<ClientConnection, TcpStream> {}
impl<S: Connection> Connection for WebSocket<S> {
    /// In a frame that is not really masked.
    fn send(&mut self, message: &[u8]) {
        let [high, low] = u16::try_from(message.len()).unwrap().to_be_bytes();
        let length = if message.len() < 126 { vec![0x80 | low] } else { vec![0xFE, high, low] };
        self.0.write_all(&[&[0x81], &*length, &[0; 4], message].concat()).unwrap();
    }
}

struct WebSocket<S>(S);

impl<S: Connection> Read for WebSocket<S> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<S: Connection> Write for WebSocket<S> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

fn upgrade<S: Connection>(mut stream: S, headers: &str) -> WebSocket<S> {
    let request = format!(
        "GET /messaging HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: v12.stomp\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let response = stream.wait_for(b"\r\n\r\n");
    assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
    assert_eq!(response.contains("permessage-deflate"), !headers.is_empty(), "{response}");
    WebSocket(stream)
}

/// One whose core may have this much unsent; what many share counts once.
fn start() -> Gateway {
    let config = format!(
        "[limits]\nmessage-bytes-max = '5MiB'\ntransaction-bytes-max = '5MiB'\nunsent-bytes-max = '8MiB'\n\
        [memory]\nunsent-bytes-max-per-core = {MORE_MAX}\n"
    );
    Gateway::start("shared-bodies", &config)
}

fn secure(gateway: &Gateway) -> StreamOwned<ClientConnection, TcpStream> {
    StreamOwned::new(gateway.client(), connect(gateway.tls))
}

/// What the process has in memory.
fn memory(gateway: &Gateway) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
}

fn bytes_sent(gateway: &Gateway) -> usize {
    metric(gateway, "passerelle_bytes_sent_total")
}

/// The sum of a metric's series.
fn metric(gateway: &Gateway, name: &str) -> usize {
    let mut stream = connect(gateway.plain);
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let series = page.lines().filter_map(|line| line.strip_prefix(name));
    let values = series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok());
    let values: Vec<usize> = values.collect();
    assert!(!values.is_empty(), "no {name} in {page}");
    values.into_iter().sum()
}

/// Enough for any machine.
const TIMEOUT: Duration = Duration::from_secs(60);
