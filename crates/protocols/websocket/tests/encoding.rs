//! What a server sends, read byte for byte, by our client and by a third-party one.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is a finding")]

mod client;

use std::{
    collections::{BTreeSet, VecDeque},
    io::{self, Read, Write},
};

use bytes::Bytes;
use client::{Transcript, agreed, frame};
use contract::{ConnectionLimits, Kind, Reason, SendBuffer};
use flate2::{Decompress, FlushDecompress};
use proptest::prelude::*;
use tungstenite::{
    Message, WebSocket,
    protocol::{CloseFrame, Role},
};
use websocket::{
    Deflate, Deflater, FrameError, NO_CODE, Opcode, Version, begin, close_code, encode,
    encode_close, encode_ping, encode_pong,
};

fn message(version: Version, kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut out = SendBuffer::default();
    out.extend_from_slice(b"before");
    let start = begin(&mut out);
    out.extend_from_slice(payload);
    start.finish(&mut out, version, kind, None);
    let mut out = out.to_vec();
    assert_eq!(&out[..6], b"before");
    out.split_off(6)
}

#[test]
fn headers_take_the_fewest_bytes() {
    use Version::{Hybi06, Hybi08, Rfc6455};
    let cases: &[(Version, Kind, usize, &[u8])] = &[
        (Rfc6455, Kind::Text, 0, &[0x81, 0]),
        (Rfc6455, Kind::Binary, 125, &[0x82, 125]),
        (Rfc6455, Kind::Stream, 126, &[0x82, 126, 0, 126]),
        (Hybi08, Kind::Text, 65_535, &[0x81, 126, 0xFF, 0xFF]),
        (Rfc6455, Kind::Text, 65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        (Hybi06, Kind::Text, 5, &[0x84, 5]),
        (Hybi06, Kind::Binary, 126, &[0x85, 126, 0, 126]),
    ];
    for (version, kind, len, header) in cases {
        let payload = vec![b'x'; *len];
        let expected = [header, &payload[..]].concat();
        assert!(message(*version, *kind, &payload) == expected, "{version:?} {kind:?} {len}");
        let opcode = if *kind == Kind::Text { Opcode::Text } else { Opcode::Binary };
        let mut out = Vec::new();
        encode(&mut out, *version, opcode, true, &payload);
        assert!(out == expected, "{version:?} {kind:?} {len}");
    }
    let mut out = Vec::new();
    encode(&mut out, Rfc6455, Opcode::Text, false, b"a");
    encode(&mut out, Rfc6455, Opcode::Continuation, true, b"b");
    assert_eq!(out, b"\x01\x01a\x80\x01b");
}

#[test]
fn control_frames_hold_125_bytes() {
    use Version::{Hybi06, Rfc6455};
    let written = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        out
    };
    let truncated = "r".repeat(121) + "€";
    let cases: &[(&str, Vec<u8>, &[u8])] = &[
        ("a ping", written(&|out| encode_ping(out, Rfc6455, b"p")), b"\x89\x01p"),
        ("a ping of 2011", written(&|out| encode_ping(out, Hybi06, b"p")), b"\x82\x01p"),
        ("a pong", written(&|out| encode_pong(out, Rfc6455, b"")), b"\x8A\x00"),
        (
            "a long pong",
            written(&|out| encode_pong(out, Rfc6455, &[0; 200])),
            &[&[0x8A, 125][..], &[0; 125]].concat(),
        ),
        (
            "a close",
            written(&|out| encode_close(out, Rfc6455, 1001, "bye")),
            b"\x88\x05\x03\xE9bye",
        ),
        (
            "a close without a code",
            written(&|out| encode_close(out, Rfc6455, NO_CODE, "")),
            b"\x88\x00",
        ),
        (
            "a reason is truncated between characters",
            written(&|out| encode_close(out, Rfc6455, 1000, &truncated)),
            &[b"\x88\x7B\x03\xE8", &[b'r'; 121][..]].concat(),
        ),
        ("1009 was 1004", written(&|out| encode_close(out, Hybi06, 1009, "")), b"\x81\x02\x03\xEC"),
        (
            "1007 was not yet",
            written(&|out| encode_close(out, Hybi06, 1007, "")),
            b"\x81\x02\x03\xEA",
        ),
        (
            "a peer's 1004 is returned to it",
            written(&|out| encode_close(out, Hybi06, 1004, "large")),
            b"\x81\x07\x03\xEClarge",
        ),
        ("nor 1011", written(&|out| encode_close(out, Hybi06, 1011, "")), b"\x81\x02\x03\xE9"),
        (
            "codes of applications were",
            written(&|out| encode_close(out, Hybi06, 3008, "")),
            b"\x81\x02\x0B\xC0",
        ),
    ];
    for (rule, bytes, expected) in cases {
        assert_eq!(bytes, expected, "{rule}");
    }
}

#[test]
fn each_reason_has_a_code_that_may_be_sent() {
    let reasons = [
        (Reason::Normal, 1000),
        (Reason::Lost, 1001),
        (Reason::Malformed, 1002),
        (Reason::NotText, 1007),
        (Reason::TooLarge, 1009),
        (Reason::Idle, 3008),
        (Reason::Slow, 1008),
        (Reason::Unauthenticated, 3000),
        (Reason::Forbidden, 3003),
        (Reason::Busy, 1013),
        (Reason::Upstream, 1014),
        (Reason::Shutdown, 1001),
        (Reason::Internal, 1011),
    ];
    for (reason, code) in reasons {
        assert_eq!(close_code(reason), code, "{reason:?}");
    }
}

/// The texts are what peers and logs see, the codes what clients act on.
#[test]
fn an_error_has_a_close_code_and_a_text() {
    let cases = [
        (FrameError::UnknownOpcode, 1002, "an unknown opcode"),
        (FrameError::ReservedBit, 1002, "a reserved bit is set"),
        (FrameError::NotMasked, 1002, "a client's frame must be masked"),
        (FrameError::ControlFragmented, 1002, "a control frame must not be fragmented"),
        (FrameError::ControlTooLong, 1002, "a control frame holds at most 125 bytes"),
        (FrameError::LengthNotShortest, 1002, "a length must take the fewest bytes"),
        (FrameError::LengthTooLarge, 1002, "a length has at most 63 bits"),
        (FrameError::MessageNotEnded, 1002, "a message began before the last one ended"),
        (FrameError::MessageNotBegun, 1002, "a continuation without a message"),
        (FrameError::CloseCodeTooShort, 1002, "a close code has two bytes"),
        (FrameError::CloseCode, 1002, "a close code that must not be sent"),
        (FrameError::NotText, 1007, "the text is not UTF-8"),
        (FrameError::NotDeflate, 1007, "the compressed data is wrong"),
        (
            FrameError::MessageTooLarge(1),
            1009,
            "the message has more than 1 bytes (limits.message-bytes-max)",
        ),
        (
            FrameError::DeflatedTooLarge(1),
            1009,
            "the compressed message has more than 1 bytes (from limits.message-bytes-max)",
        ),
        (
            FrameError::TooManyFragments(1),
            1009,
            "the message has more than 1 fragments (limits.fragments-max)",
        ),
    ];
    for (error, code, text) in cases {
        assert_eq!((error.code(), error.to_string().as_str()), (code, text), "{error:?}");
        assert!(text.len() <= 123, "{text} does not fit a close frame");
    }
}

/// Compresses, and gives the frame's first byte and its payload.
fn deflated(deflater: &mut Deflater, agreed: Deflate, payload: &[u8]) -> (u8, Vec<u8>) {
    finished(Some((deflater, agreed)), |out| out.extend_from_slice(payload))
}

/// Frames what is appended, and gives the frame's first byte and its payload.
fn finished(
    deflate: Option<(&mut Deflater, Deflate)>,
    append: impl FnOnce(&mut SendBuffer),
) -> (u8, Vec<u8>) {
    let mut out = SendBuffer::default();
    let start = begin(&mut out);
    append(&mut out);
    start.finish(&mut out, Version::Rfc6455, Kind::Binary, deflate);
    let mut out = out.to_vec();
    let header = match out[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    (out[0], out.split_off(header))
}

/// Decompresses with flate2 alone, in the window that was agreed on: the output is taken away in
/// pieces, so that nothing but the window remembers it.
fn inflated(bits: u8, payload: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    let input = [payload, &[0, 0, 0xFF, 0xFF]].concat();
    let mut stream = Decompress::new_with_window_bits(false, bits);
    loop {
        let rest = &input[usize::try_from(stream.total_in()).unwrap()..];
        let mut piece = Vec::with_capacity(100);
        stream.decompress_vec(rest, &mut piece, FlushDecompress::None).unwrap();
        if piece.is_empty() {
            assert!(rest.is_empty());
            return whole;
        }
        whole.extend(piece);
    }
}

#[test]
fn messages_are_compressed_where_it_helps() {
    let mut deflater = Deflater::new();
    let text = "{\"symbol\":\"ACME\",\"price\":101.25}".repeat(4000);
    let random: Vec<u8> = noise(1).take(100_000).collect();
    for bits in 9..=15 {
        let agreed = agreed(&format!("permessage-deflate; server_max_window_bits={bits}"));
        assert_eq!(agreed.server_window_bits(), bits);
        let (first, payload) = deflated(&mut deflater, agreed, text.as_bytes());
        assert_eq!(first, 0xC2, "compressed with {bits} bits");
        assert!(payload.len() < text.len() / 8, "{} bytes with {bits} bits", payload.len());
        assert!(inflated(bits, &payload) == text.as_bytes(), "{bits} bits");
        let again = deflated(&mut deflater, agreed, text.as_bytes());
        assert!(again == (first, payload), "no context is kept");

        let small = &text.as_bytes()[..63];
        assert_eq!(deflated(&mut deflater, agreed, small), (0x82, small.to_vec()));
        assert!(deflated(&mut deflater, agreed, &random) == (0x82, random.clone()));
    }
}

#[test]
fn what_messages_share_is_compressed_once() {
    let price = |n| format!("{{\"symbol\":\"ACME\",\"price\":{}}}", n * 7919 % 10_007);
    let text = Bytes::from((0..40_000).map(price).collect::<String>());
    let parts: [Bytes; 3] = [text.slice(..100_000), text.slice(100_000..150_000), text.clone()];
    let mut deflater = Deflater::new();
    for bits in 9..=15 {
        let agreed = agreed(&format!("permessage-deflate; server_max_window_bits={bits}"));
        // What stands before, between and behind: nothing, little, and more than a stored block has.
        let own = ["", "x", &"head\n".repeat(40), &"y".repeat(100_000)];
        for (before, between, behind) in (0..own.len()).flat_map(|n| {
            let at = move |add| own[(n + add) % own.len()];
            [(at(0), at(1), at(2)), (at(0), "", ""), (at(0), at(1), "")]
        }) {
            let append = |out: &mut SendBuffer| {
                out.extend_from_slice(before.as_bytes());
                out.append_shared(&parts[0], 0..parts[0].len());
                out.extend_from_slice(between.as_bytes());
                out.append_shared(&parts[1], 0..parts[1].len());
                out.append_shared(&parts[2], 5_000..parts[2].len());
                out.extend_from_slice(behind.as_bytes());
            };
            let plain = finished(None, append).1;
            let (first, payload) = finished(Some((&mut deflater, agreed)), append);
            let own = before.len() + between.len() + behind.len();
            let shown = format!("{bits} bits, {} {} {}", before.len(), between.len(), behind.len());
            assert_eq!(first, 0xC2, "{shown}");
            assert!(payload.len() - own < (plain.len() - own) / 2, "{shown}: {}", payload.len());
            assert!(inflated(bits, &payload) == plain, "{shown}");
        }
    }
    let agreed = agreed("permessage-deflate");
    let compressed = |deflater: &mut Deflater| {
        let mut out = SendBuffer::default();
        let start = begin(&mut out);
        out.append_shared(&text, 0..text.len());
        start.finish(&mut out, Version::Rfc6455, Kind::Text, Some((deflater, agreed)));
        out.shared_from(0)[0].whole.as_ptr()
    };
    let blocks = compressed(&mut deflater);
    assert_eq!(compressed(&mut deflater), blocks, "the same blocks");
    let other = finished(Some((&mut deflater, agreed)), |out| {
        // At the same address, but less of it.
        out.append_shared(&text, 0..text.len() - 1);
    });
    assert!(inflated(15, &other.1) == text[..text.len() - 1]);
}

#[test]
fn what_a_run_shares_is_compressed_once_for_each_window() {
    let body = |seed| noise(seed).take(20_000).map(|byte| b'a' + byte % 16).collect();
    let run: Vec<Bytes> = (0..64).map(body).collect();
    let mut deflater = Deflater::new();
    let mut seen = BTreeSet::new();
    for round in 0..3 {
        for bits in [15, 12] {
            let agreed = agreed(&format!("permessage-deflate; server_max_window_bits={bits}"));
            for body in &run {
                let mut out = SendBuffer::default();
                let start = begin(&mut out);
                out.append_shared(body, 0..body.len());
                start.finish(&mut out, Version::Rfc6455, Kind::Text, Some((&mut deflater, agreed)));
                let blocks = &out.shared_from(0)[0].whole;
                let is_new = seen.insert(blocks.as_ptr().addr());
                assert_eq!(is_new, round == 0, "round {round}, {bits} bits");
            }
        }
    }
}

#[test]
fn little_that_is_saved_is_not_spent_on_the_blocks_around_it() {
    // Just so much shorter that what stands before it costs more.
    let mut body: Vec<u8> = noise(6).take(6000).collect();
    let agreed = agreed("permessage-deflate");
    let mut deflater = Deflater::new();
    for same in 0..120 {
        body[..same].fill(b' ');
        let body = Bytes::from(body.clone());
        let append = |out: &mut SendBuffer| {
            out.extend_from_slice(&[b'h'; 300]);
            out.append_shared(&body, 0..body.len());
        };
        let plain = finished(None, append).1;
        let (first, payload) = finished(Some((&mut deflater, agreed)), append);
        assert!(payload.len() <= plain.len(), "{same}: {} > {}", payload.len(), plain.len());
        assert!(first == 0x82 || inflated(15, &payload) == plain, "{same}");
    }
}

#[test]
fn a_message_that_shares_what_does_not_compress_is_sent_as_it_is() {
    let noise = Bytes::from_iter(noise(5).take(100_000));
    let text = Bytes::from("text ".repeat(1000));
    let agreed = agreed("permessage-deflate");
    let mut deflater = Deflater::new();
    let append = |out: &mut SendBuffer| {
        out.extend_from_slice(&[b'x'; 1000]);
        out.append_shared(&text, 0..text.len());
        out.append_shared(&noise, 0..noise.len());
    };
    for round in 0..2 {
        let sent = finished(Some((&mut deflater, agreed)), append);
        let expected = [&[b'x'; 1000][..], &text, &noise].concat();
        assert!(sent == (0x82, expected), "round {round}");
    }
    // All of them go on to be compressed well.
    let (first, payload) = deflated(&mut deflater, agreed, &text);
    assert_eq!(first, 0xC2);
    assert!(inflated(15, &payload) == text);
}

#[test]
fn what_does_not_compress_spoils_nothing() {
    let text = "{\"symbol\":\"ACME\",\"price\":101.25}".repeat(1000);
    let mut random = noise(3);
    let agreed = agreed("permessage-deflate");
    for size in [100, 4096, 20_000, 200_000] {
        let mut deflater = Deflater::new();
        for round in 0..30 {
            let shown = format!("{size} bytes, round {round}");
            let mut message: Vec<u8> = random.by_ref().take(size).collect();
            assert_eq!(deflated(&mut deflater, agreed, &message).0, 0x82, "{shown}");
            message.extend(&text.as_bytes()[..round * 300]);
            let (first, payload) = deflated(&mut deflater, agreed, &message);
            let back = if first == 0xC2 { inflated(15, &payload) } else { payload };
            assert!(back == message, "{shown}");
        }
    }
}

#[test]
fn a_requested_window_is_kept_to() {
    // All that repeats lies 3,000 bytes back.
    let message = noise(2).take(3000).collect::<Vec<u8>>().repeat(10);
    let mut deflater = Deflater::new();
    for bits in 9..=15 {
        let agreed = agreed(&format!("permessage-deflate; server_max_window_bits={bits}"));
        let (first, payload) = deflated(&mut deflater, agreed, &message);
        assert_eq!(first == 0xC2, bits >= 12, "{bits} bits");
        if bits >= 12 {
            assert!(inflated(bits, &payload) == message, "{bits} bits");
        }
    }
}

/// Incompressible bytes.
fn noise(seed: u64) -> impl Iterator<Item = u8> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    })
}

/// The client's socket: reads what we sent, and keeps what it writes.
#[derive(Default)]
struct Socket {
    to_client: VecDeque<u8>,
    to_server: Vec<u8>,
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.to_client.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to_server.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_third_party_client_and_the_server_understand_each_other() {
    let large = "€".repeat(50_000);
    let mut client = WebSocket::from_raw_socket(Socket::default(), Role::Client, None);
    let sent = [
        Message::text("hello"),
        Message::text(""),
        Message::binary(vec![0xFF; 126]),
        Message::text(large.clone()),
        Message::Ping(b"are you there".to_vec().into()),
    ];
    for message in &sent {
        client.send(message.clone()).unwrap();
    }
    let reason = "done".into();
    client.close(Some(CloseFrame { code: 1000.into(), reason })).unwrap();
    let mut transcript = Transcript::new(Version::Rfc6455, None, ConnectionLimits::default());
    for piece in std::mem::take(&mut client.get_mut().to_server).chunks(1000) {
        transcript.read(piece);
    }
    assert_eq!(
        transcript.lines,
        "text \"hello\"\ntext \"\"\nbinary 126 bytes \"\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\"…\n\
         text 150000 bytes \"\\xe2\\x82\\xac\\xe2\\x82\\xac\\xe2\\x82\"…\n\
         ping \"are you there\"\nclose 1000 \"done\"\n"
    );

    let mut client = WebSocket::from_raw_socket(Socket::default(), Role::Client, None);
    let mut out = message(Version::Rfc6455, Kind::Text, b"hello");
    out.extend(message(Version::Rfc6455, Kind::Binary, &[0xFF; 126]));
    out.extend(message(Version::Rfc6455, Kind::Text, large.as_bytes()));
    encode_ping(&mut out, Version::Rfc6455, b"p");
    encode(&mut out, Version::Rfc6455, Opcode::Text, false, b"frag");
    encode(&mut out, Version::Rfc6455, Opcode::Continuation, true, b"mented");
    encode_close(&mut out, Version::Rfc6455, 1013, "later");
    client.get_mut().to_client.extend(out);
    let expected = [
        Message::text("hello"),
        Message::binary(vec![0xFF; 126]),
        Message::text(large),
        Message::Ping(b"p".to_vec().into()),
        Message::text("fragmented"),
        Message::Close(Some(CloseFrame { code: 1013.into(), reason: "later".into() })),
    ];
    for message in expected {
        assert_eq!(client.read().unwrap(), message);
    }
}

proptest! {
    /// What a server sends as frames, a client would send masked: the decoder reads it back.
    #[test]
    fn messages_come_back(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..8),
        piece_len in 1_usize..50,
        compressed in any::<bool>(),
    ) {
        let mut deflater = Deflater::new();
        let agreed = agreed("permessage-deflate");
        let mut bytes = Vec::new();
        let mut plain = Vec::new();
        for message in &messages {
            // Repeated, so that some compress and some do not.
            let message = message.repeat(if message.len() % 2 == 0 { 5 } else { 1 });
            plain.extend(frame(0x82, &message));
            if compressed {
                let (first, payload) = deflated(&mut deflater, agreed, &message);
                bytes.extend(frame(first, &payload));
            } else {
                bytes.extend(frame(0x82, &message));
            }
        }
        let read = |bytes: &[u8]| {
            let mut transcript = Transcript::new(Version::Rfc6455, Some(agreed), ConnectionLimits::default());
            bytes.chunks(piece_len).for_each(|piece| transcript.read(piece));
            transcript.lines
        };
        prop_assert_eq!(read(&bytes), read(&plain));
    }
}
