//! In every version, with compression and without: however the bytes are split, the events are the
//! same.
#![no_main]

use contract::{Kind, ConnectionLimits};
use http::{HeaderMap, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;
use websocket::{Decoder, Deflate, Event, InflaterPool, Service, Subprotocols, Unread, Version};

fuzz_target!(|bytes: &[u8]| {
    for version in [Version::Hybi06, Version::Hybi08, Version::Rfc6455] {
        for deflate in [None, agreed()] {
            let whole = decode(version, deflate, &[bytes]);
            for quarter in 1..4 {
                let (left, right) = bytes.split_at(bytes.len() * quarter / 4);
                assert_eq!(whole, decode(version, deflate, &[left, right]));
            }
        }
    }
});

/// What came of the bytes: whole messages and control frames, then an error if there was one.
#[derive(Debug, Eq, PartialEq)]
enum Seen {
    Message(Kind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
    Error(u16),
}

fn decode(version: Version, deflate: Option<Deflate>, pieces: &[&[u8]]) -> Vec<Seen> {
    let limits =
        ConnectionLimits { message_bytes_max: 1 << 16, fragments_max: 64, ..Default::default() };
    let mut decoder = Decoder::new(version, deflate);
    let mut pool = InflaterPool::new();
    let mut seen = Vec::new();
    let mut message = Vec::new();
    for piece in pieces {
        let mut piece = piece.to_vec();
        let mut unread = Unread::new(&mut piece);
        loop {
            match decoder.next(&mut unread, &limits, &mut pool) {
                Ok(None) => break,
                Ok(Some(Event::Data(data))) => {
                    message.extend_from_slice(data.bytes);
                    assert!(message.len() <= limits.message_bytes_max);
                    if data.last {
                        let message = std::mem::take(&mut message);
                        assert!(data.kind != Kind::Text || str::from_utf8(&message).is_ok());
                        seen.push(Seen::Message(data.kind, message));
                    }
                }
                Ok(Some(Event::Ping(payload))) => seen.push(Seen::Ping(payload.to_vec())),
                Ok(Some(Event::Pong(payload))) => seen.push(Seen::Pong(payload.to_vec())),
                Ok(Some(Event::Close(close))) => {
                    seen.push(Seen::Close(close.map(|close| close.code)));
                }
                Err(error) => seen.push(Seen::Error(error.code())),
            }
        }
    }
    seen
}

/// The parameters that the usual offer leads to.
fn agreed() -> Option<Deflate> {
    let headers = [
        ("host", "a"),
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ("sec-websocket-extensions", "permessage-deflate"),
    ];
    let headers: HeaderMap = headers
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
        .into_iter()
        .collect();
    let service = Service { subprotocols: Subprotocols::Of(&[]), deflate: true };
    websocket::handshake(&Method::GET, http::Version::HTTP_11, &headers, &service)
        .ok()
        .and_then(|accept| accept.deflate)
}
