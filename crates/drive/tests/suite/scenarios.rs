use std::{collections::BTreeSet, time::Duration};

use contract::{Destination, Now, Opening, Session};
use drive::Framing;
use testkit::Random;
use websocket::Version;

use crate::{
    gateway::{Gateway, Setup, Transport},
    peer::Peer,
};

/// Every one of them.
pub(crate) const SCENARIOS: &[fn(Transport)] = &[
    echoes,
    random_pieces,
    reads_slowly,
    reads_late,
    half_closes,
    half_closes_an_echo,
    is_told_an_error,
    leaves,
    is_shut_down,
    stalls,
    is_too_slow,
    sends_too_slowly,
    hearts_beat,
    is_pinged,
    websocket_closes,
    is_pushed_back,
    acknowledges,
    is_broadcast,
];

fn echo(_: &Opening<'_>, _: Now) -> Box<dyn Session> {
    Box::<echo::Echo>::default()
}

fn stomp(opening: &Opening<'_>, now: Now) -> Box<dyn Session> {
    Box::new(stomp::Session::open(opening, now))
}

fn broadcast(_: &Opening<'_>, _: Now) -> Box<dyn Session> {
    Box::new(broadcast::Broadcast::new(Destination::hidden("topic")))
}

fn echoes(transport: Transport) {
    let gateway = Gateway::start(transport, Setup::new(echo));
    let mut peer = gateway.connect();
    for message in ["hello", "", "x", "and again"] {
        peer.send(message);
        assert_eq!(peer.read(message.len()), message.as_bytes());
    }
    gateway.stop(peer);
}

fn random_pieces(transport: Transport) {
    for seed in 0..4 {
        let gateway = Gateway::start(transport, Setup::new(echo));
        let mut random = Random::new(seed);
        let mut peers: Vec<_> = (0..4).map(|_| (gateway.connect(), Vec::new(), 0)).collect();
        for _ in 0..400 {
            let index = random.below(peers.len());
            let (peer, sent, received) = &mut peers[index];
            // No more waits than is allowed.
            if random.once_in(2) && sent.len() - *received < 1_000_000 {
                let most = random.pick(&[1, 100, 100_000]);
                let piece: Vec<u8> =
                    (0..random.below(most)).map(|_| low_byte(&mut random)).collect();
                peer.send(&piece);
                sent.extend(piece);
            } else if sent.len() > *received {
                let most = random.pick(&[1, 1000, 300_000]);
                let bytes = peer.read_some(1 + random.below(most));
                assert!(sent[*received..].starts_with(&bytes), "seed {seed}, peer {index}");
                assert!(!bytes.is_empty(), "seed {seed}, peer {index}: the end");
                *received += bytes.len();
            }
        }
        for (mut peer, sent, received) in peers {
            peer.end();
            assert_eq!(peer.read_to_end(), &sent[received..], "seed {seed}");
        }
        gateway.stop(());
    }
}

fn low_byte(random: &mut Random) -> u8 {
    u8::try_from(random.below(256)).unwrap()
}

fn reads_slowly(transport: Transport) {
    let gateway = Gateway::start(transport, Setup::new(stomp));
    let mut reader = connected(&gateway);
    subscribe(&mut reader, "/queue/a", "auto");
    let mut sender = connected(&gateway);
    let body = ".".repeat(100_000);
    for number in 0..100 {
        send(&sender, "/queue/a", &format!("{number} {body}"), None);
    }
    send(&sender, "/queue/a", "last", Some("all"));
    assert!(sender.frame().starts_with("RECEIPT\nreceipt-id:all"));
    for number in 0..100 {
        assert_eq!(body_of(&reader.frame()), format!("{number} {body}"));
    }
    assert_eq!(body_of(&reader.frame()), "last");
    assert_eq!(gateway.slow(), 0);
    gateway.stop((reader, sender));
}

fn reads_late(transport: Transport) {
    let gateway = Gateway::start(transport, Setup::new(stomp));
    let mut reader = connected(&gateway);
    subscribe(&mut reader, "/topic/a", "auto");
    let mut sender = connected(&gateway);
    let body = ".".repeat(300_000);
    for number in 0..10 {
        send(&sender, "/topic/a", &format!("{number} {body}"), Some(&number.to_string()));
    }
    for number in 0..10 {
        assert!(sender.frame().contains(&format!("receipt-id:{number}\n")));
    }
    for number in 0..10 {
        assert_eq!(body_of(&reader.frame()), format!("{number} {body}"));
    }
    gateway.stop((reader, sender));
}

fn half_closes(transport: Transport) {
    let gateway = Gateway::start(transport, Setup::new(stomp));
    let mut peer = connected(&gateway);
    for number in 0..50 {
        send(&peer, "/queue/a", "x", Some(&number.to_string()));
    }
    peer.end();
    for number in 0..50 {
        assert!(peer.frame().contains(&format!("receipt-id:{number}\n")));
    }
    assert_eq!(peer.read_to_end(), b"");
    gateway.stop(peer);
}

fn half_closes_an_echo(transport: Transport) {
    let gateway = Gateway::start(transport, Setup::new(echo));
    let mut peer = gateway.connect();
    peer.send("bye");
    peer.end();
    assert_eq!(peer.read_to_end(), b"bye");
    let mut silent = gateway.connect();
    silent.end();
    assert_eq!(silent.read_to_end(), b"");
    gateway.stop((peer, silent));
}

fn is_told_an_error(transport: Transport) {
    let gateway = Gateway::start(transport, Setup::new(stomp));
    let mut peer = connected(&gateway);
    peer.send("NOTHING\n\n\0");
    assert!(peer.frame().starts_with("ERROR\n"));
    assert_eq!(peer.read_to_end(), b"");
    gateway.stop(peer);
}

fn leaves(transport: Transport) {
    let gateway = Gateway::start(transport, Setup::new(stomp));
    let mut peer = connected(&gateway);
    send(&peer, "/queue/a", "x", Some("sent"));
    peer.send("DISCONNECT\nreceipt:bye\n\n\0");
    assert!(peer.frame().starts_with("RECEIPT\nreceipt-id:sent"));
    assert!(peer.frame().starts_with("RECEIPT\nreceipt-id:bye"));
    assert_eq!(peer.read_to_end(), b"");
    gateway.stop(peer);
}

fn is_shut_down(transport: Transport) {
    let gateway = Gateway::start(transport, Setup::new(stomp));
    let mut peer = connected(&gateway);
    gateway.cores.shut_down();
    assert!(peer.frame().contains("gateway is stopping"));
    assert_eq!(peer.read_to_end(), b"");
    gateway.stop(peer);
}

fn stalls(transport: Transport) {
    let mut setup = Setup::new(stomp);
    setup.limits.write_timeout = Duration::from_secs(2);
    setup.limits.unsent_bytes_max = 64 << 20;
    let gateway = Gateway::start(transport, setup);
    let mut reader = connected(&gateway);
    subscribe(&mut reader, "/topic/a", "auto");
    flood(&gateway, 20);
    until(|| gateway.slow() == 1);
    // What was on its way comes, and no more.
    assert!(reader.read_to_end().len() < 20 << 20);
    gateway.stop(reader);
}

fn is_too_slow(transport: Transport) {
    let mut setup = Setup::new(stomp);
    setup.limits.unsent_bytes_max = 2 << 20;
    let gateway = Gateway::start(transport, setup);
    let mut reader = connected(&gateway);
    subscribe(&mut reader, "/topic/a", "auto");
    flood(&gateway, 20);
    assert_eq!(gateway.slow(), 1);
    assert!(reader.read_to_end().len() < 20 << 20);
    gateway.stop(reader);
}

/// Publishes messages of 1,000,000 bytes, of which neither the kernel nor a socket takes all.
fn flood(gateway: &Gateway, messages: usize) {
    let mut sender = connected(gateway);
    let body = ".".repeat(1_000_000);
    for number in 0..messages {
        send(&sender, "/topic/a", &body, Some("sent"));
        assert!(sender.frame().starts_with("RECEIPT\n"), "message {number}");
    }
}

fn sends_too_slowly(transport: Transport) {
    let mut setup = Setup::new(stomp);
    setup.limits.assembly_timeout = Duration::from_millis(300);
    let gateway = Gateway::start(transport, setup);
    let mut peer = connected(&gateway);
    peer.send("SEND\ndestination:/queue/a\n");
    let error = peer.frame();
    assert!(error.contains("frame timed out") && error.contains("assembly-timeout"), "{error}");
    assert_eq!(peer.read_to_end(), b"");
    gateway.stop(peer);
}

fn hearts_beat(transport: Transport) {
    let mut setup = Setup::new(stomp);
    setup.protocol_limits.heartbeat_min = Duration::from_millis(100);
    let gateway = Gateway::start(transport, setup);
    let mut peer = gateway.connect();
    peer.send("CONNECT\naccept-version:1.2\nheart-beat:2000,100\n\n\0");
    assert!(peer.frame().contains("heart-beat:100,2000\n"));
    for _ in 0..5 {
        assert_eq!(peer.read(1), b"\n");
    }
    // It sends none itself.
    assert!(peer.frame().contains("no heart-beat"));
    assert_eq!(peer.read_to_end(), b"");
    gateway.stop(peer);
}

fn websocket(open: fn(&Opening<'_>, Now) -> Box<dyn Session>) -> Setup {
    let framing = Framing::WebSocket { version: Version::Rfc6455, deflate: None };
    Setup { framing, ..Setup::new(open) }
}

fn is_pinged(transport: Transport) {
    let setup = Setup { ping_interval: Duration::from_secs(1), ..websocket(echo) };
    let gateway = Gateway::start(transport, setup);
    let mut peer = gateway.connect();
    assert_eq!(peer.read(2), [0x89, 0], "a ping");
    peer.send(masked(0x8a, b""));
    assert_eq!(peer.read(2), [0x89, 0], "a ping");
    // It does not reply to this one.
    let close = peer.read_to_end();
    assert_eq!(close[0], 0x88, "{close:?}");
    assert!(close.ends_with(b"no reply to a ping"), "{close:?}");
    gateway.stop(peer);
}

fn websocket_closes(transport: Transport) {
    let gateway = Gateway::start(transport, websocket(echo));
    let mut peer = gateway.connect();
    peer.send(masked(0x81, b"hello"));
    assert_eq!(peer.read(7), b"\x81\x05hello");
    // A message in pieces, with a ping between them.
    peer.send([masked(0x02, b"ab"), masked(0x89, b"p"), masked(0x80, b"c")].concat());
    let mut received = peer.read(8);
    received.sort_unstable();
    let mut expected = *b"\x8a\x01p\x82\x03abc";
    expected.sort_unstable();
    assert_eq!(received, expected);
    peer.send(masked(0x88, b"\x03\xe8bye"));
    assert_eq!(peer.read_to_end(), b"\x88\x05\x03\xe8bye");
    gateway.stop(peer);
}

/// A frame of a client, with a mask that changes nothing.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(payload.len()).unwrap();
    [&[first, 0x80 | len, 0, 0, 0, 0], payload].concat()
}

fn is_pushed_back(transport: Transport) {
    let mut setup = Setup::new(stomp);
    // Of which 4 go to the queue at once.
    setup.limits.commands_max = 4;
    let gateway = Gateway::start(transport, setup);
    let mut sender = connected(&gateway);
    for number in 0..1000 {
        send(&sender, "/queue/a", &number.to_string(), Some(&number.to_string()));
    }
    for number in 0..1000 {
        assert!(sender.frame().contains(&format!("receipt-id:{number}\n")));
    }
    let mut reader = connected(&gateway);
    subscribe(&mut reader, "/queue/a", "auto");
    for number in 0..1000 {
        assert_eq!(body_of(&reader.frame()), number.to_string());
    }
    gateway.stop((reader, sender));
}

fn acknowledges(transport: Transport) {
    let gateway = Gateway::start(transport, Setup::new(stomp));
    let mut sender = connected(&gateway);
    for number in 0..30 {
        send(&sender, "/queue/a", &number.to_string(), None);
    }
    send(&sender, "/queue/a", "30", Some("all"));
    sender.frame();
    let mut first = connected(&gateway);
    subscribe(&mut first, "/queue/a", "client-individual");
    let mut settled = BTreeSet::new();
    for number in 0..=30 {
        let frame = first.frame();
        assert_eq!(body_of(&frame), number.to_string());
        if number % 3 == 0 {
            let ack = header_of(&frame, "ack");
            first.send(format!("ACK\nid:{ack}\n\n\0"));
            settled.insert(number);
        }
    }
    first.send("DISCONNECT\nreceipt:bye\n\n\0");
    assert!(first.frame().contains("receipt-id:bye"));
    assert_eq!(first.read_to_end(), b"");
    let mut next = connected(&gateway);
    subscribe(&mut next, "/queue/a", "auto");
    for number in (0..=30).filter(|number| !settled.contains(number)) {
        assert_eq!(body_of(&next.frame()), number.to_string());
    }
    gateway.stop((sender, first, next));
}

fn is_broadcast(transport: Transport) {
    let gateway = Gateway::start(transport, Setup::new(broadcast));
    let mut peers: Vec<_> = (0..10).map(|_| gateway.connect()).collect();
    // Each has subscribed when it receives what it sends itself.
    for peer in &mut peers {
        peer.send("!");
        peer.read(1);
    }
    let message = "x".repeat(50_000);
    peers[0].send(&message);
    for peer in &mut peers {
        let mut received = Vec::new();
        while received.iter().filter(|byte| **byte == b'x').count() < message.len() {
            received.extend(peer.read_some(4000));
        }
    }
    gateway.stop(peers);
}

fn connected(gateway: &Gateway) -> Peer {
    let mut peer = gateway.connect();
    peer.send("CONNECT\naccept-version:1.2\n\n\0");
    assert!(peer.frame().starts_with("CONNECTED\n"));
    peer
}

fn subscribe(peer: &mut Peer, to: &str, ack: &str) {
    peer.send(format!("SUBSCRIBE\nid:s\ndestination:{to}\nack:{ack}\nreceipt:subscribed\n\n\0"));
    assert!(peer.frame().contains("receipt-id:subscribed"));
}

fn send(peer: &Peer, to: &str, body: &str, receipt: Option<&str>) {
    let receipt = receipt.map_or_else(String::new, |receipt| format!("receipt:{receipt}\n"));
    peer.send(format!("SEND\ndestination:{to}\n{receipt}\n{body}\0"));
}

fn body_of(frame: &str) -> &str {
    frame.split_once("\n\n").unwrap().1
}

fn header_of<'a>(frame: &'a str, name: &str) -> &'a str {
    let mut lines = frame.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap()
}

/// Waits until something is so.
fn until(mut is_so: impl FnMut() -> bool) {
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    for _ in 0..2000 {
        if is_so() {
            return;
        }
        // A pause.
        receiver.recv_timeout(Duration::from_millis(10)).ok();
    }
    drop(sender);
    panic!("it never is");
}
