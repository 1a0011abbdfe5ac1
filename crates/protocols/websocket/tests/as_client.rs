//! The client's end of the codec, against the server's and against another library.

mod client;

use std::io::Cursor;

use bytes::Bytes;
use client::frame;
use contract::{ConnectionLimits, Data, Kind, SendBuffer};
use tungstenite::{
    Message,
    protocol::{Role, WebSocket},
};
use websocket::{
    Close, Decoder, Event, FrameError, InflaterPool, Opcode, Sender, Unread, Version, begin,
    encode, encode_close, encode_ping, encode_pong,
};

const CLIENT: Sender = Sender::Client { key: [0x37, 0xFA, 0x21, 0x3D] };
const SERVER: Sender = Sender::Server(Version::Rfc6455);

fn limits() -> ConnectionLimits {
    ConnectionLimits { message_bytes_max: 100_000, fragments_max: 4, ..ConnectionLimits::default() }
}

/// What a decoder makes of bytes that come in two pieces: its events, pieces of data joined.
fn decoded(decoder: Decoder, pieces: [&[u8]; 2]) -> Vec<String> {
    let (mut decoder, mut pool, limits) = (decoder, InflaterPool::new(), limits());
    let mut events = Vec::new();
    let mut message: Vec<u8> = Vec::new();
    for piece in pieces {
        let mut bytes = piece.to_vec();
        let mut unread = Unread::new(&mut bytes);
        loop {
            match decoder.next(&mut unread, &limits, &mut pool) {
                Ok(None) => break,
                Ok(Some(Event::Data(Data { kind, bytes, last }))) => {
                    message.extend(bytes);
                    if last {
                        let text = message.escape_ascii().to_string();
                        events.push(format!("{kind:?} {} {:.9}", message.len(), text));
                        message.clear();
                    }
                }
                Ok(Some(other)) => events.push(format!("{other:?}")),
                Err(error) => {
                    events.push(format!("{error:?}"));
                    return events;
                }
            }
        }
    }
    events
}

fn all_splits(new: fn() -> Decoder, bytes: &[u8], expected: &[String], rule: &str) {
    let near_ends = (0..bytes.len().min(300)).chain(bytes.len().saturating_sub(300)..=bytes.len());
    for split in near_ends {
        let (one, other) = bytes.split_at(split);
        assert_eq!(decoded(new(), [one, other]), expected, "{rule}, split at {split}");
    }
}

fn message(sender: Sender, kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut out = SendBuffer::default();
    out.extend_from_slice(b"before");
    let start = begin(&mut out);
    // Large payloads are others' in part.
    let (own, shared) = payload.split_at(payload.len() / 3);
    out.extend_from_slice(own);
    out.append_shared(&Bytes::copy_from_slice(shared), 0..shared.len());
    start.finish(&mut out, sender, kind, None);
    out.to_vec().split_off(b"before".len())
}

#[test]
fn each_role_reads_what_the_other_writes() {
    let roles: [(Sender, fn() -> Decoder); 2] =
        [(CLIENT, || Decoder::new(Version::Rfc6455, None)), (SERVER, Decoder::of_server)];
    for (sender, decoder) in roles {
        for len in [0, 1, 3, 4, 125, 126, 127, 65_535, 65_536, 100_000] {
            for (kind, shown) in [(Kind::Text, "Text"), (Kind::Binary, "Binary")] {
                let payload = vec![b'a'; len];
                let expected = [format!("{shown} {len} {:.9}", "a".repeat(len))];
                let whole = message(sender, kind, &payload);
                all_splits(decoder, &whole, &expected, &format!("{len} bytes"));
                let mut framed = Vec::new();
                let opcode = if kind == Kind::Text { Opcode::Text } else { Opcode::Binary };
                encode(&mut framed, sender, opcode, true, &payload);
                assert_eq!(framed, whole);
            }
        }
        let mut pieces = SendBuffer::default();
        for (payload, first, last) in [("é", true, false), ("", false, false), ("x", false, true)]
        {
            let start = begin(&mut pieces);
            pieces.extend_from_slice(payload.as_bytes());
            start.finish_piece(&mut pieces, sender, Kind::Text, first, last);
            encode_ping(pieces.own_mut(), sender, payload.as_bytes());
        }
        let mut bytes = pieces.to_vec();
        encode_pong(&mut bytes, sender, b"pong");
        encode_close(&mut bytes, sender, 3999, "späť");
        let expected = [
            format!("{:?}", Event::Ping("é".as_bytes())),
            format!("{:?}", Event::Ping(b"")),
            "Text 3 \\xc3\\xa9x".to_owned(),
            format!("{:?}", Event::Ping(b"x")),
            format!("{:?}", Event::Pong(b"pong")),
            format!("{:?}", Event::Close(Some(Close { code: 3999, reason: "späť" }))),
        ];
        all_splits(decoder, &bytes, &expected, "pieces and control frames");
    }
}

#[test]
fn the_example_of_section_5_7() {
    assert_eq!(
        message(CLIENT, Kind::Text, b"Hello"),
        b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
    );
    assert_eq!(message(SERVER, Kind::Text, b"Hello"), b"\x81\x05Hello");
}

#[test]
fn what_a_server_may_not_send_is_refused() {
    let error = |error: FrameError| format!("{error:?}");
    let cases = [
        ("a masked frame", frame(0x81, b"a"), error(FrameError::Masked)),
        ("a masked ping", frame(0x89, b""), error(FrameError::Masked)),
        (
            "compression, which was not offered",
            b"\xC1\x01a".to_vec(),
            error(FrameError::ReservedBit),
        ),
        ("an unknown opcode", b"\x83\x00".to_vec(), error(FrameError::UnknownOpcode)),
        ("a continuation of nothing", b"\x80\x00".to_vec(), error(FrameError::MessageNotBegun)),
        ("text that is none", b"\x81\x01\xff".to_vec(), error(FrameError::NotText)),
        (
            "a length that is not the shortest",
            b"\x81\x7e\0\x01a".to_vec(),
            error(FrameError::LengthNotShortest),
        ),
        (
            "a message over the bound",
            b"\x82\x7f\0\0\0\0\0\x01\x86\xa1".to_vec(),
            error(FrameError::MessageTooLarge(100_000)),
        ),
        (
            "too many fragments",
            b"\x02\x01a\0\x01a\0\x01a\0\x01a\0\x01a".to_vec(),
            error(FrameError::TooManyFragments(4)),
        ),
        (
            "a close code that is never sent",
            b"\x88\x02\x03\xed".to_vec(),
            error(FrameError::CloseCode),
        ),
    ];
    for (rule, bytes, expected) in cases {
        all_splits(Decoder::of_server, &bytes, &[expected], rule);
    }
}

#[test]
fn another_library_as_the_server_reads_and_is_read() {
    let mut sent = message(CLIENT, Kind::Text, "Grüße".as_bytes());
    sent.extend(message(CLIENT, Kind::Binary, &[7; 70_000]));
    encode_close(&mut sent, CLIENT, 1000, "bye");
    let len = sent.len();
    let mut server = WebSocket::from_raw_socket(Cursor::new(sent), Role::Server, None);
    assert_eq!(server.read().unwrap(), Message::text("Grüße"));
    assert_eq!(server.read().unwrap(), Message::binary(vec![7; 70_000]));
    let Message::Close(Some(close)) = server.read().unwrap() else { panic!("a close") };
    assert_eq!((u16::from(close.code), close.reason.as_str()), (1000, "bye"));
    // Its reply is written behind what it has read.
    server.flush().unwrap_err();
    let written = server.get_ref().get_ref()[len..].to_vec();
    let close = format!("{:?}", Event::Close(Some(Close { code: 1000, reason: "bye" })));
    assert_eq!(decoded(Decoder::of_server(), [&written, b""]), [close]);
}
