//! Random input, from the protocol's vocabulary and from nowhere.
#![expect(clippy::unwrap_used, reason = "in a test a panic is a finding")]

mod client;

use client::{agreed, frame, frame06};
use contract::ConnectionLimits;
use flate2::{Compress, Compression, FlushCompress};
use websocket::{Decoder, Deflate, Event, InflaterPool, Unread, Version};

const SEEDS: u64 = 200;
const STEPS: usize = 10_000;

const LIMITS: (usize, u32) = (20_000, 5);

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % bound
    }

    fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        choices.get(self.below(choices.len())).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}

/// The next thing that a client might send: mostly right, often odd.
fn words(random: &mut Random, version: Version, compressed: &[Vec<u8>]) -> Vec<u8> {
    let payload = payload(random, compressed);
    let (firsts, frame): (&[u8], fn(u8, &[u8]) -> Vec<u8>) = match version {
        Version::Hybi06 => (&[0x84, 0x85, 0x04, 0x05, 0x00, 0x80, 0x82, 0x83, 0x81, 0x86], frame06),
        Version::Rfc6455 | Version::Hybi08 => (
            &[0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0xC1, 0xC2, 0x41, 0x42, 0x89, 0x8A, 0x88, 0x83],
            frame,
        ),
    };
    let mut bytes = frame(*random.one_of(firsts), &payload);
    if random.below(20) == 0 {
        let at = random.below(bytes.len().min(16));
        if let Some(byte) = bytes.get_mut(at) {
            *byte = random.byte();
        }
    }
    if random.below(50) == 0 {
        bytes.truncate(random.below(bytes.len()));
    }
    bytes
}

fn payload(random: &mut Random, compressed: &[Vec<u8>]) -> Vec<u8> {
    let large = random.below(100) == 0;
    let len = if large { 9000 } else { *random.one_of(&[0, 1, 2, 5, 30, 125, 126, 300]) };
    match random.below(5) {
        0 => (0..len).map(|_| random.byte()).collect(),
        1 => "κόσμε €".bytes().cycle().take(len).collect(),
        2 => [0x03, 0xE8].into_iter().chain((2..len).map(|_| b'r')).collect(),
        _ => {
            let mut payload = random.one_of(compressed).clone();
            payload.truncate(payload.len() - random.below(6).min(payload.len()));
            payload
        }
    }
}

/// Some compressed messages, text and not, most within the limit.
fn compressed() -> Vec<Vec<u8>> {
    let mut stream = Compress::new(Compression::fast(), false);
    let lens = [0, 1, 20, 500, 9000, 16_384, 17_000, 21_000];
    let texts = ["a", "quote ", "κόσμε €", "\0"].map(str::as_bytes);
    let mut all = Vec::new();
    for text in texts.into_iter().chain([&[0xFF, 0xC3][..]]) {
        for len in lens {
            let plain: Vec<u8> = text.iter().copied().cycle().take(len).collect();
            let mut payload = Vec::with_capacity(len + 100);
            stream.reset();
            stream.compress_vec(&plain, &mut payload, FlushCompress::Sync).unwrap();
            all.push(payload);
        }
    }
    all
}

/// Decodes in pieces of random sizes, checking what holds for any input. Says what came out.
fn decode(
    bytes: &[u8],
    version: Version,
    random: &mut Random,
    pool: &mut InflaterPool,
    deflate: Deflate,
    shown: &str,
) -> Vec<String> {
    let (message_bytes_max, fragments_max) = LIMITS;
    let limits =
        ConnectionLimits { message_bytes_max, fragments_max, ..ConnectionLimits::default() };
    let mut decoder = Decoder::new(version, (version != Version::Hybi06).then_some(deflate));
    let mut events = Vec::new();
    let (mut buffered, mut rest) = (Vec::new(), bytes);
    let (mut message, mut closed) = (Vec::new(), false);
    let mut idle = 0;
    while idle < 2 {
        let most = if buffered.len() > 3000 { 0 } else { rest.len().min(3000) };
        let (piece, after) = rest.split_at(random.below(most + 1));
        rest = after;
        buffered.extend_from_slice(piece);
        let mut unread = Unread::new(&mut buffered);
        let mut stopped = false;
        for _ in 0..=random.below(4) {
            stopped = true;
            match decoder.next(&mut unread, &limits, pool) {
                Ok(None) => {
                    assert!(unread.is_empty(), "{shown}: something is left");
                    stopped = false;
                    break;
                }
                _ if closed => panic!("{shown}: something after the end"),
                Ok(Some(Event::Data(data))) => {
                    message.extend_from_slice(data.bytes);
                    assert!(message.len() <= message_bytes_max, "{shown}: {} bytes", message.len());
                    if data.last {
                        events.push(format!("{:?} {}", data.kind, message.escape_ascii()));
                        message.clear();
                    }
                }
                Ok(Some(Event::Close(close))) => {
                    closed = true;
                    events.push(format!("{close:?}"));
                }
                Ok(Some(event @ (Event::Ping(payload) | Event::Pong(payload)))) => {
                    assert!(payload.len() <= 125, "{shown}: {event:?}");
                    events.push(format!("{event:?}"));
                }
                Err(error) => {
                    closed = true;
                    events.push(format!("{error:?}"));
                }
            }
        }
        buffered = unread.rest().to_vec();
        idle = if rest.is_empty() && !stopped { idle + 1 } else { 0 };
    }
    assert!(!closed || decoder.is_between_messages(), "{shown}: an end that keeps a message");
    events
}

#[test]
fn a_storm_breaks_nothing_and_splits_change_nothing() {
    let mut pool = InflaterPool::new();
    let deflate = agreed("permessage-deflate");
    let compressed = compressed();
    let mut ends = 0;
    for seed in 1..=SEEDS {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut steps = 0;
        while steps < STEPS {
            let version = *random.one_of(&[Version::Rfc6455, Version::Hybi08, Version::Hybi06]);
            let count = 1 + random.below(30);
            steps += count;
            let bytes = if random.below(10) == 0 {
                (0..count * 10).map(|_| random.byte()).collect()
            } else {
                (0..count)
                    .flat_map(|_| words(&mut random, version, &compressed))
                    .collect::<Vec<u8>>()
            };
            let shown = format!("seed {seed}, step {steps}, {version:?}");
            let first = decode(&bytes, version, &mut random, &mut pool, deflate, &shown);
            let second = decode(&bytes, version, &mut random, &mut pool, deflate, &shown);
            assert_eq!(first, second, "{shown}: {}", bytes.escape_ascii());
            ends += usize::from(first.len() > 1);
        }
    }
    assert!(ends > 1000, "the random input has whole messages: {ends}");
}
