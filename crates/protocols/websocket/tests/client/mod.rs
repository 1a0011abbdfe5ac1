//! The other end: a client that frames as told, right or wrong, and a reader of transcripts.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is a finding")]

use std::fmt::Write;

use contract::{ConnectionLimits, Data, Kind};
use websocket::{Decoder, Deflate, Event, InflaterPool, Service, Subprotocols, Unread, Version};

/// A masked frame of RFC 6455 with this first byte.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    keyed_frame(first, payload, [0x37, 0xFA, 0x21, 0x3D])
}

/// The same with this masking key.
pub(crate) fn keyed_frame(first: u8, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![first];
    let length = length(payload.len());
    bytes.push(length[0] | 0x80);
    bytes.extend(&length[1..]);
    bytes.extend(key);
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// A frame of hybi-06 with this first byte, masked after its masking key.
pub(crate) fn frame06(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut plain = vec![first];
    plain.extend(length(payload.len()));
    plain.extend(payload);
    masked06(&plain)
}

/// A masking key, and these bytes masked with it.
pub(crate) fn masked06(plain: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xFA, 0x21, 0x3D];
    let masked = plain.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key);
    key.into_iter().chain(masked).collect()
}

fn length(len: usize) -> Vec<u8> {
    match len {
        0..126 => vec![u8::try_from(len).unwrap()],
        126..65_536 => [&[126], &u16::try_from(len).unwrap().to_be_bytes()[..]].concat(),
        _ => [&[127], &(len as u64).to_be_bytes()[..]].concat(),
    }
}

/// What a handshake agrees on for this offer.
pub(crate) fn agreed(offer: &str) -> Deflate {
    let headers = [
        ("host", "h"),
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-extensions", offer),
    ];
    let headers = headers
        .into_iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect();
    let service = Service { subprotocols: Subprotocols::Of(&[]), deflate: true };
    let method = http::Method::GET;
    let accept = websocket::handshake(&method, http::Version::HTTP_11, &headers, &service);
    accept.unwrap().deflate.unwrap()
}

/// Decodes pieces and writes down what comes out, one event a line; the pieces of a message are
/// put together.
pub(crate) struct Transcript {
    decoder: Decoder,
    pool: InflaterPool,
    limits: ConnectionLimits,
    /// Pull this many events, then feed the rest again.
    pub(crate) pulls: usize,
    buffered: Vec<u8>,
    message: Option<(Kind, Vec<u8>)>,
    /// Pieces of the current message.
    pub(crate) pieces: usize,
    pub(crate) lines: String,
}

impl Transcript {
    pub(crate) fn new(
        version: Version,
        deflate: Option<Deflate>,
        limits: ConnectionLimits,
    ) -> Self {
        Self {
            decoder: Decoder::new(version, deflate),
            pool: InflaterPool::new(),
            limits,
            pulls: usize::MAX,
            buffered: Vec::new(),
            message: None,
            pieces: 0,
            lines: String::new(),
        }
    }

    /// Decodes the next bytes.
    pub(crate) fn read(&mut self, bytes: &[u8]) {
        let mut buffer = std::mem::take(&mut self.buffered);
        buffer.extend_from_slice(bytes);
        loop {
            let mut unread = Unread::new(&mut buffer);
            for _ in 0..self.pulls {
                match self.decoder.next(&mut unread, &self.limits, &mut self.pool) {
                    Ok(None) => {
                        assert!(unread.is_empty());
                        return;
                    }
                    Ok(Some(event)) => {
                        Self::event(event, &mut self.message, &mut self.pieces, &mut self.lines);
                    }
                    Err(error) => {
                        writeln!(self.lines, "error {error:?}").unwrap();
                    }
                }
            }
            buffer = unread.rest().to_vec();
        }
    }

    fn event(
        event: Event<'_>,
        message: &mut Option<(Kind, Vec<u8>)>,
        pieces: &mut usize,
        lines: &mut String,
    ) {
        match event {
            Event::Data(Data { kind, bytes, last }) => {
                assert!(last || !bytes.is_empty(), "an empty piece that is not the last");
                let (begun, all) = message.get_or_insert_with(|| (kind, Vec::new()));
                assert_eq!(*begun, kind, "all pieces have the kind of the first");
                *pieces += 1;
                all.extend_from_slice(bytes);
                if last {
                    let (_, all) = message.take().unwrap();
                    let word = if kind == Kind::Text { "text" } else { "binary" };
                    writeln!(lines, "{word} {}", shown(&all)).unwrap();
                }
            }
            Event::Ping(payload) => writeln!(lines, "ping {}", shown(payload)).unwrap(),
            Event::Pong(payload) => writeln!(lines, "pong {}", shown(payload)).unwrap(),
            Event::Close(None) => writeln!(lines, "close").unwrap(),
            Event::Close(Some(close)) => {
                writeln!(lines, "close {} {:?}", close.code, close.reason).unwrap();
            }
        }
    }

    pub(crate) fn is_between_messages(&self) -> bool {
        self.decoder.is_between_messages()
    }
}

/// Short bytes as they are, long ones by their number and first few.
fn shown(bytes: &[u8]) -> String {
    match bytes.get(..8) {
        Some(first) if bytes.len() > 64 => {
            format!("{} bytes \"{}\"…", bytes.len(), first.escape_ascii())
        }
        _ => format!("\"{}\"", bytes.escape_ascii()),
    }
}
