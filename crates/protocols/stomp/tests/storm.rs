//! Random frames, replies and deliveries, in any order.

use stomp::Session;
use testkit::{Peer, Random, Setup, Storm};

#[global_allocator]
static ALLOCATOR: testkit::Counting = testkit::Counting;

#[test]
fn a_session_withstands_a_storm() {
    let setup = Setup::stream().limited(|limits, protocol| {
        limits.message_bytes_max = 2_000;
        protocol.header_bytes_max = 1_000;
        limits.subscriptions_max = 10;
        limits.temporary_max = 3;
        limits.transactions_max = 2;
        limits.transaction_operations_max = 10;
        protocol.transaction_bytes_max = 4_000;
        limits.prefetch_max = 20;
        protocol.prefetch_default = 5;
    });
    let tally = Storm::new(setup, 64 << 10).run(Session::open, words);
    // It must have reached every part of the session.
    tally.require(tally.transactions > 1_000);
    tally.require(tally.settles > 10_000);
    tally.require(tally.credits > 10_000);
    tally.require(tally.deliveries > 100_000);
}

/// What a client may say, mostly well.
fn words(random: &mut Random, peer: &mut Peer) -> Vec<u8> {
    if peer.sent == 0 && !random.once_in(200) {
        let accept = random.pick(&["1.0", "1.1", "1.2", "1.0,1.1,1.2"]);
        let login = if random.once_in(4) { "sasl-mechanism:X\nsasl-response:eA==\n" } else { "" };
        return format!("CONNECT\naccept-version:{accept}\nheart-beat:5000,1000\n{login}\n\0")
            .into();
    }
    if peer.received.pop_front_if(|frame| frame.starts_with(b"CHALLENGE")).is_some() {
        return b"CONNECT\nsasl-response:eA==\n\n\0".into();
    }
    let mut bytes = Vec::new();
    for _ in 0..=random.below(3) {
        if random.once_in(500) {
            let word = random.pick(&["\n", "\r\n", "\0", ":", "\\", "é", "BYE\n", "\n\n"]);
            bytes.extend_from_slice(word.as_bytes());
        } else {
            bytes.extend_from_slice(frame(random, peer).as_bytes());
        }
    }
    if random.once_in(500) {
        let place = random.below(bytes.len());
        if let Some(byte) = bytes.get_mut(place) {
            *byte ^= 1 << random.below(8);
        }
    }
    bytes
}

fn frame(random: &mut Random, peer: &mut Peer) -> String {
    let sane = !random.once_in(200);
    let verb = if sane { random.pick(&VERBS) } else { random.pick(&RARE) };
    let mut text = format!("{verb}\n");
    match verb {
        "ACK" | "NACK" => {
            let place = random.below(peer.received.len());
            let heard = peer.received.remove(place).unwrap_or_default();
            let before = text.len();
            for line in String::from_utf8_lossy(&heard).lines() {
                match line.split_once(':') {
                    Some(("ack", ack)) => text.push_str(&format!("id:{ack}\n")),
                    Some(("message-id" | "subscription", _)) => text.extend([line, "\n"]),
                    _ => {}
                }
            }
            if sane && (text.len() == before || !text.contains("id:")) {
                return "\n".to_owned();
            }
        }
        "SUBSCRIBE" | "UNSUBSCRIBE" | "BEGIN" | "COMMIT" | "ABORT" => {
            let header = if verb.ends_with("SCRIBE") { "id" } else { "transaction" };
            let name = format!("{header}:{}\n", random.below(8));
            let starts = matches!(verb, "SUBSCRIBE" | "BEGIN");
            let fits =
                if starts { peer.notes.insert(name.clone()) } else { peer.notes.remove(&name) };
            if sane && !fits {
                return "\r\n".to_owned();
            }
            text.push_str(&name);
        }
        _ => {}
    }
    if matches!(verb, "SEND" | "ACK" | "NACK") && random.once_in(2) {
        let open = peer.notes.iter().rfind(|note| note.starts_with("transaction"));
        text.push_str(open.map_or("", String::as_str));
    }
    for (header, values) in HEADERS {
        if header_belongs(verb, header, random) != random.once_in(2_000) {
            text.push_str(&format!("{header}:{}\n", random.pick(values)));
        }
    }
    text.extend(["\n", if verb == "SEND" { random.pick(&["", "hello"]) } else { "" }, "\0"]);
    text
}

fn header_belongs(verb: &str, header: &str, random: &mut Random) -> bool {
    match header {
        "accept-version" | "heart-beat" | "login" => matches!(verb, "CONNECT" | "STOMP"),
        "destination" => matches!(verb, "SEND" | "SUBSCRIBE"),
        "ack" | "prefetch" | "prefetch-count" => verb == "SUBSCRIBE",
        "x-slow" | "x-max-rate" | "x-key" => verb == "SUBSCRIBE" && random.once_in(30),
        "browser" => verb == "SUBSCRIBE" && random.once_in(6),
        "reply-to" | "priority" | "expires" => verb == "SEND" && random.once_in(3),
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
    ("prefetch-count", &["1", "5"]),
    ("x-slow", &["close", "drop-oldest", "latest"]),
    ("x-max-rate", &["1", "10"]),
    ("x-key", &["k"]),
    ("browser", &["true", "false"]),
    ("receipt", &["r1", "r2"]),
    ("content-length", &["5", "0"]),
    ("priority", &["0", "9"]),
    ("expires", &["0", "1001000"]),
];
