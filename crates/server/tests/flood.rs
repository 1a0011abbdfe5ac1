//! A flood of TLS handshakes from one address: others are served meanwhile, with TLS and without.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]
#![expect(clippy::disallowed_methods, reason = "clients have threads of their own, and wait")]

mod two_ports;

use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustls::{ClientConnection, StreamOwned};
use socket2::{Domain, Socket, Type};
use two_ports::Gateway;

/// Handshakes of the flood.
const FLOOD: usize = 4000;
/// The most of them that are open at a time.
const OPEN_MAX: usize = 400;
/// Enough for any machine; a client behind all of the flood would wait far longer.
const TIMEOUT: Duration = Duration::from_secs(5);

#[test]
fn a_flood_of_handshakes_delays_no_other_address() {
    let gateway = Gateway::start("flood", "");
    let hello = hello(&gateway);
    let is_over = Arc::new(AtomicBool::new(false));
    let flood = {
        let (address, is_over) = (gateway.tls, Arc::clone(&is_over));
        thread::spawn(move || {
            let mut open = VecDeque::new();
            let mut sent = 0;
            for n in 0..FLOOD {
                let mut stream = connect(Ipv4Addr::LOCALHOST, address);
                sent += u64::from(stream.write_all(&hello).is_ok());
                // Some wait for the response, some have gone before it.
                if n % 2 == 0 {
                    open.push_back(stream);
                }
                if open.len() > OPEN_MAX {
                    open.pop_front();
                }
            }
            is_over.store(true, Ordering::Relaxed);
            (sent, open)
        })
    };
    let other = Ipv4Addr::new(127, 0, 0, 2);
    let mut rounds = 0;
    while !is_over.load(Ordering::Relaxed) || rounds == 0 {
        assert!(get(connect(other, gateway.plain), "/healthz").starts_with("HTTP/1.1 200"));
        assert!(get(secure(&gateway, other), "/healthz").starts_with("HTTP/1.1 200"));
        rounds += 1;
    }
    let (sent, open) = flood.join().unwrap();
    // The queue that the flood has left does not matter either.
    assert!(get(connect(other, gateway.plain), "/healthz").starts_with("HTTP/1.1 200"));
    assert!(get(secure(&gateway, other), "/healthz").starts_with("HTTP/1.1 200"));
    drop(open);
    let total = || {
        let page = get(connect(other, gateway.plain), "/metrics");
        let lines =
            page.lines().filter(|line| line.starts_with("passerelle_tls_handshakes_total{"));
        let counts: Vec<(String, u64)> = lines
            .map(|line| line.rsplit_once(' ').unwrap())
            .map(|(series, count)| (series.to_owned(), count.parse().unwrap()))
            .collect();
        let of =
            |outcome: &str| counts.iter().find(|(series, _)| series.contains(outcome)).unwrap().1;
        (counts.iter().map(|(_, count)| count).sum::<u64>(), of("gone"), of("done"))
    };
    let expected = sent + rounds + 1;
    let mut last = (0, 0, 0);
    for _ in 0..100 {
        last = total();
        if last.0 >= expected {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!((last.0, last.2), (expected, rounds + 1), "{last:?}");
    assert!(last.1 > 0, "some had gone before anything was signed");
}

#[test]
fn without_tls_one_is_told_so() {
    let gateway = Gateway::start("flood", "");
    for (sent, expected) in [
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"),
        ("CONNECT\naccept-version:1.2\n\n\0", "ERROR\nmessage:this port speaks TLS\n"),
        ("\x05\x01\0", "HTTP/1.1 400 Bad Request\r\n"),
        ("get / http/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"),
    ] {
        let mut stream = connect(Ipv4Addr::LOCALHOST, gateway.tls);
        stream.write_all(sent.as_bytes()).unwrap();
        let mut response = Vec::new();
        drop(stream.read_to_end(&mut response));
        let response = String::from_utf8_lossy(&response).into_owned();
        assert!(response.starts_with(expected), "{sent:?}: {response:?}");
        if expected.starts_with("HTTP") {
            assert!(response.ends_with("use https:// or wss:// instead of http:// or ws://\n"));
        }
    }
}

fn connect(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect_timeout(&to.into(), TIMEOUT).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream
}

fn get(mut connection: impl Read + Write, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    connection.read_to_string(&mut response).unwrap();
    response
}

/// What a handshake begins with.
fn hello(gateway: &Gateway) -> Vec<u8> {
    let mut hello = Vec::new();
    gateway.client().write_tls(&mut hello).unwrap();
    hello
}

fn secure(gateway: &Gateway, from: Ipv4Addr) -> StreamOwned<ClientConnection, TcpStream> {
    StreamOwned::new(gateway.client(), connect(from, gateway.tls))
}
