//! Random frames, answers and deliveries, in any order.

use stomp::Session;
use testkit::{Peer, Random, Setup, Storm};

#[global_allocator]
static ALLOCATOR: testkit::Counting = testkit::Counting;

#[test]
fn a_session_withstands_a_storm() {
    let setup = Setup::stream().limited(|limits| {
        limits.message_bytes_max = 2_000;
        limits.head_bytes_max = 1_000;
        limits.subscriptions_max = 10;
        limits.temporary_max = 3;
        limits.transactions_max = 2;
        limits.transaction_operations_max = 10;
        limits.transaction_bytes_max = 4_000;
        limits.prefetch_max = 20;
        limits.prefetch_default = 5;
    });
    let tally = Storm::new(setup, 64 << 10).rage(Session::open, words);
    println!("{tally:?}");
}

/// What a client may say, mostly well.
fn words(random: &mut Random, peer: &mut Peer) -> Vec<u8> {
    if peer.spoken == 0 && !random.once_in(20) {
        return b"CONNECT\naccept-version:1.2,1.1\nheart-beat:1000,1000\n\n\0".to_vec();
    }
    let mut text = String::new();
    for _ in 0..=random.below(3) {
        if random.once_in(200) {
            text.push_str(random.pick(&["\n", "\r\n", "\0", ":", "\\", "é", "BYE\n", "\n\n"]));
            continue;
        }
        let verb = if random.once_in(300) { random.pick(&RARE) } else { random.pick(&VERBS) };
        text.push_str(verb);
        text.push('\n');
        if matches!(verb, "ACK" | "NACK") {
            acknowledge(random, peer, &mut text);
        }
        for (header, values) in HEADERS {
            if header_belongs(verb, header, random) != random.once_in(2_000) {
                text.push_str(&format!("{header}:{}\n", random.pick(values)));
            }
        }
        if matches!(verb, "SUBSCRIBE" | "UNSUBSCRIBE") {
            text.push_str(&format!("id:{}\n", random.below(30)));
        }
        text.extend(["\n", if verb == "SEND" { random.pick(&["", "hello"]) } else { "" }, "\0"]);
    }
    let mut bytes = text.into_bytes();
    if random.once_in(500) {
        let place = random.below(bytes.len());
        if let Some(byte) = bytes.get_mut(place) {
            *byte ^= 1 << random.below(8);
        }
    }
    bytes
}

/// Names a message that was heard, if there is one.
fn acknowledge(random: &mut Random, peer: &mut Peer, text: &mut String) {
    let place = random.below(peer.heard.len());
    let heard = peer.heard.remove(place).unwrap_or_default();
    for line in String::from_utf8_lossy(&heard).lines() {
        match line.split_once(':') {
            Some(("ack", ack)) => text.push_str(&format!("id:{ack}\n")),
            Some(("message-id" | "subscription", _)) => text.extend([line, "\n"]),
            _ => {}
        }
    }
}

fn header_belongs(verb: &str, header: &str, random: &mut Random) -> bool {
    match header {
        "accept-version" | "heart-beat" | "login" => matches!(verb, "CONNECT" | "STOMP"),
        "destination" => matches!(verb, "SEND" | "SUBSCRIBE"),
        "ack" | "prefetch" => verb == "SUBSCRIBE",
        "reply-to" | "priority" | "expires" => verb == "SEND" && random.once_in(3),
        "transaction" => match verb {
            "BEGIN" | "COMMIT" | "ABORT" => true,
            "SEND" | "ACK" | "NACK" => random.once_in(4),
            _ => false,
        },
        "receipt" => random.once_in(2),
        _ => false,
    }
}

const VERBS: [&str; 24] = [
    "SEND",
    "SEND",
    "SEND",
    "SEND",
    "SEND",
    "SEND",
    "SUBSCRIBE",
    "SUBSCRIBE",
    "SUBSCRIBE",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "ACK",
    "ACK",
    "ACK",
    "ACK",
    "ACK",
    "ACK",
    "NACK",
    "NACK",
    "BEGIN",
    "COMMIT",
    "COMMIT",
    "ABORT",
    "SEND",
];

const RARE: [&str; 6] = ["CONNECT", "STOMP", "DISCONNECT", "MESSAGE", "ERROR", "DISCONNECT"];

const HEADERS: &[(&str, &[&str])] = &[
    ("accept-version", &["1.0", "1.1", "1.2", "1.0,1.1,1.2", "1.2", "1.2"]),
    ("heart-beat", &["0,0", "1000,1000", "500,0", "60000,60000"]),
    ("login", &["ann"]),
    ("destination", &["/topic/a", "/queue/a", "/queue/b", "/queue/c", "/topic/a.b", "/queue/d"]),
    ("reply-to", &["/temp-queue/a", "/temp-queue/b", "/queue/r"]),
    ("ack", &["auto", "client", "client-individual", "client"]),
    ("prefetch", &["1", "2", "10", "1000"]),
    ("transaction", &["t1"]),
    ("receipt", &["r1", "r2"]),
    ("content-length", &["5", "0"]),
    ("priority", &["0", "9"]),
    ("expires", &["0", "1001000"]),
];
