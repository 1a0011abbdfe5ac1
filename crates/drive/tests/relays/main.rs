//! Relays between real sockets: one that understands what it passes on, and storms over one that
//! does not.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test says so by failing")]

#[path = "../common/mod.rs"]
mod common;
mod gateway;
mod upstreams;

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use contract::{End, Kind, Now, Reason, Relay, RelayInput, RelayOutbox};
use drive::tasks;
use socket2::SockRef;
use testkit::Random;

use crate::gateway::Gateway;

#[test]
fn a_relay_may_rewrite_what_it_passes_on() {
    let gateway = Gateway::start(|| Box::<Lines>::default());
    let (mut client, mut upstream) = gateway.connect();
    assert_eq!(read(&mut client, 8), b"welcome\n", "sent once both ends are connected");
    client.write_all(b"one\ntw").unwrap();
    assert_eq!(read(&mut upstream, 4), b"ONE\n");
    client.write_all(b"o\nthree\n").unwrap();
    assert_eq!(read(&mut upstream, 10), b"TWO\nTHREE\n");
    upstream.write_all(b"hel").unwrap();
    upstream.write_all(b"lo\n").unwrap();
    assert_eq!(read(&mut client, 8), b"> hello\n");
    drop(upstream);
    assert_eq!(rest(&mut client), b"the server has gone\n", "said when one end has gone");
    gateway.stop();
}

#[test]
fn a_relay_is_told_which_end_was_reset() {
    let gateway = Gateway::start(|| Box::<Lines>::default());
    let (mut client, upstream) = gateway.connect();
    assert_eq!(read(&mut client, 8), b"welcome\n");
    reset(upstream);
    assert_eq!(rest(&mut client), b"the server has gone\n");
    let (mut client, mut upstream) = gateway.connect();
    assert_eq!(read(&mut client, 8), b"welcome\n");
    reset(client);
    assert_eq!(rest(&mut upstream), b"the client has gone\n");
    drop(upstream);
    gateway.stop();
}

#[test]
fn a_relay_may_reply_by_itself_and_end_both_connections() {
    let gateway = Gateway::start(|| Box::<Lines>::default());
    let (mut client, mut upstream) = gateway.connect();
    client.write_all(b"time\n").unwrap();
    assert_eq!(read(&mut client, 12), b"welcome\nnow\n");
    client.write_all(b"quit\nnot passed on\n").unwrap();
    assert_eq!(rest(&mut client), b"bye\n");
    assert_eq!(rest(&mut upstream), b"");
    drop((client, upstream));
    gateway.stop();
}

#[test]
fn the_client_s_end_is_told_to_the_relay() {
    let gateway = Gateway::start(|| Box::<Lines>::default());
    let (mut client, mut upstream) = gateway.connect();
    assert_eq!(read(&mut client, 8), b"welcome\n");
    drop(client);
    assert_eq!(rest(&mut upstream), b"the client has gone\n");
    drop(upstream);
    gateway.stop();
}

#[test]
fn a_gateway_that_stops_tells_relays() {
    let gateway = Gateway::start(|| Box::<Lines>::default());
    let (mut client, mut upstream) = gateway.connect();
    assert_eq!(read(&mut client, 8), b"welcome\n");
    gateway.cores.shut_down();
    assert_eq!(rest(&mut client), b"stopping\n");
    assert_eq!(rest(&mut upstream), b"");
    drop((client, upstream));
    gateway.stop();
}

#[test]
fn an_end_that_does_not_read_stops_the_other() {
    let gateway = Gateway::start(|| Box::new(proxy::Proxy::new(false)));
    for from_client in [true, false] {
        let (client, upstream) = gateway.connect();
        let (mut writer, mut reader) =
            if from_client { (client, upstream) } else { (upstream, client) };
        writer.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let block = vec![7; 64 << 10];
        let mut written = 0;
        let error = loop {
            match writer.write(&block) {
                Ok(count) => written += count,
                Err(error) => break error,
            }
        };
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
        writer.shutdown(Shutdown::Write).unwrap();
        // Had the gateway more of it than 1 MiB, it would have ended the connection.
        assert_eq!(rest(&mut reader).len(), written, "nothing is lost");
    }
    gateway.stop();
}

/// How one end leaves, after it has sent its bytes.
#[derive(Clone, Copy, Debug)]
enum Leaves {
    ClientCloses,
    ClientResets,
    UpstreamCloses,
    UpstreamResets,
}

#[test]
fn storms_lose_nothing_and_end() {
    let gateway = Gateway::start(|| Box::new(proxy::Proxy::new(false)));
    let leaves = [
        Leaves::ClientCloses,
        Leaves::ClientResets,
        Leaves::UpstreamCloses,
        Leaves::UpstreamResets,
    ];
    for seed in 0..200 {
        for leaves in leaves {
            storm(&gateway, &mut Random::new(seed), leaves, &format!("seed {seed}, {leaves:?}"));
        }
    }
    // Each end after each of the first bytes.
    for len in 0..40 {
        for leaves in leaves {
            let (client, upstream) = gateway.connect();
            let rule = format!("{leaves:?} after {len} bytes");
            end_after(client, upstream, leaves, len, &mut Random::new(1), &rule);
        }
    }
    // One that was reset at once may have failed; or it is not tried further, where it was the
    // client that left before its upstream was connected.
    let tried = gateway.wait_for_end();
    assert!((960 - 2 * 40..=960).contains(&tried), "{tried}");
    gateway.stop();
}

/// Both send at random and read with pauses; then one leaves.
fn storm(gateway: &Gateway, random: &mut Random, leaves: Leaves, rule: &str) {
    let (client, upstream) = gateway.connect();
    let sizes = [0, 1, 100, 5_000, 70_000, 300_000];
    let len = |random: &mut Random| {
        let most: usize = random.pick(&sizes);
        random.below(most + 1)
    };
    let (up, down) = (len(random), len(random));
    let [mut one, mut other] = [(); 2].map(|()| Random::new(random.bits()));
    let ends = [(client.try_clone().unwrap(), down), (upstream.try_clone().unwrap(), up)];
    let readers = ends.map(|(end, expected)| {
        let mut pauses = Random::new(random.bits());
        tasks::thread("reader", move || read_slowly(end, expected, &mut pauses)).unwrap()
    });
    let (mut to_gateway, mut from_upstream) =
        (client.try_clone().unwrap(), upstream.try_clone().unwrap());
    let write = move || write_chunks(&mut from_upstream, down, &mut one);
    let writer = tasks::thread("writer", write).unwrap();
    write_chunks(&mut to_gateway, up, &mut other);
    drop(to_gateway);
    writer.join().unwrap();
    for (reader, expected) in readers.into_iter().zip([down, up]) {
        assert_eq!(reader.join().unwrap(), expected, "{rule}");
    }
    end_after(client, upstream, leaves, random.below(50_000), random, rule);
}

/// One end sends so many bytes and leaves: the other gets them, unless it was a reset, and the end.
fn end_after(
    client: TcpStream,
    upstream: TcpStream,
    leaves: Leaves,
    len: usize,
    random: &mut Random,
    rule: &str,
) {
    let (mut goes, mut stays, is_reset) = match leaves {
        Leaves::ClientCloses => (client, upstream, false),
        Leaves::ClientResets => (client, upstream, true),
        Leaves::UpstreamCloses => (upstream, client, false),
        Leaves::UpstreamResets => (upstream, client, true),
    };
    write_chunks(&mut goes, len, random);
    if is_reset {
        SockRef::from(&goes).set_linger(Some(Duration::ZERO)).unwrap();
    }
    drop(goes);
    let mut received = Vec::new();
    match stays.read_to_end(&mut received) {
        Ok(_) => {}
        Err(error) => {
            assert!(is_reset && error.kind() == ErrorKind::ConnectionReset, "{rule}: {error}");
        }
    }
    assert!(
        received.len() <= len && (is_reset || received.len() == len),
        "{rule}: {}",
        received.len()
    );
    assert!(received.iter().enumerate().all(|(at, byte)| *byte == byte_at(at)), "{rule}");
}

fn byte_at(at: usize) -> u8 {
    u8::try_from(at % 251).unwrap()
}

fn write_chunks(to: &mut TcpStream, len: usize, random: &mut Random) {
    let bytes: Vec<u8> = (0..len).map(byte_at).collect();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let most = random.pick(&[1, 10, 1000, 100_000]);
        let (chunk, after) = rest.split_at((1 + random.below(most)).min(rest.len()));
        to.write_all(chunk).unwrap();
        rest = after;
        if random.below(8) == 0 {
            std::thread::yield_now();
        }
    }
}

/// Reads so many bytes, with pauses. Returns how many were as they must be.
fn read_slowly(mut from: TcpStream, len: usize, random: &mut Random) -> usize {
    let mut at = 0;
    while at < len {
        let mut bytes = vec![0; (1 + random.below(30_000)).min(len - at)];
        let count = from.read(&mut bytes).unwrap();
        assert_ne!(count, 0, "the end after {at} bytes of {len}");
        assert!((at..).zip(&bytes[..count]).all(|(at, byte)| *byte == byte_at(at)));
        at += count;
        if random.below(20) == 0 {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
    at
}

/// Knows lines: those of the client become upper case, those of the upstream are quoted. It replies
/// to `time`, after a deadline, and to `quit` by itself.
#[derive(Default)]
struct Lines {
    from_client: Vec<u8>,
    from_upstream: Vec<u8>,
    due_mono_ns: Option<u64>,
}

impl Relay for Lines {
    fn handle(&mut self, input: RelayInput<'_>, now: Now, out: &mut dyn RelayOutbox) {
        match input {
            RelayInput::Opened => send(out, End::Client, b"welcome\n"),
            RelayInput::Received(End::Client, data) => {
                self.from_client.extend(data.bytes);
                while let Some(line) = take_line(&mut self.from_client) {
                    match &*line {
                        b"time\n" => self.due_mono_ns = Some(now.after(Duration::from_millis(5))),
                        b"quit\n" => {
                            send(out, End::Client, b"bye\n");
                            return out.close(Reason::Normal, "");
                        }
                        line => send(out, End::Upstream, &line.to_ascii_uppercase()),
                    }
                }
            }
            RelayInput::Received(End::Upstream, data) => {
                self.from_upstream.extend(data.bytes);
                while let Some(line) = take_line(&mut self.from_upstream) {
                    send(out, End::Client, &[b"> ", &line[..]].concat());
                }
            }
            RelayInput::Timeout => {
                self.due_mono_ns = None;
                send(out, End::Client, b"now\n");
            }
            RelayInput::Shutdown => {
                send(out, End::Client, b"stopping\n");
                out.close(Reason::Shutdown, "");
            }
            RelayInput::Closed(End::Client, _) => {
                send(out, End::Upstream, b"the client has gone\n");
            }
            RelayInput::Closed(End::Upstream, _) => {
                send(out, End::Client, b"the server has gone\n");
            }
        }
    }

    fn deadline(&self) -> Option<u64> {
        self.due_mono_ns
    }
}

fn send(out: &mut dyn RelayOutbox, to: End, bytes: &[u8]) {
    out.send(to, Kind::Stream, true, &mut |buffer| buffer.extend_from_slice(bytes));
}

fn take_line(from: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = from.iter().position(|byte| *byte == b'\n')? + 1;
    Some(from.drain(..end).collect())
}

fn reset(peer: TcpStream) {
    SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
}

fn read(peer: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    peer.read_exact(&mut bytes).unwrap();
    bytes
}

fn rest(peer: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    peer.read_to_end(&mut bytes).unwrap();
    bytes
}
