//! Compressed messages: right, wrong, and far too large.
#![expect(clippy::unwrap_used, reason = "in a test a panic is a finding")]

mod client;

use client::{Transcript, agreed, frame};
use contract::ConnectionLimits;
use flate2::{Compress, Compression, FlushCompress, Status};
use websocket::{Decoder, Deflate, InflaterPool, Unread, Version};

fn deflate() -> Option<Deflate> {
    Some(agreed("permessage-deflate"))
}

fn limits(message_bytes_max: usize) -> ConnectionLimits {
    ConnectionLimits { message_bytes_max, fragments_max: 100, ..ConnectionLimits::default() }
}

/// Compressed as a client does: flushed, without the last four bytes.
fn compressed(level: u32, bits: u8, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() * 2 + 1000);
    let mut stream = Compress::new_with_window_bits(Compression::new(level), false, bits);
    stream.compress_vec(message, &mut out, FlushCompress::Sync).unwrap();
    assert_eq!(stream.total_in(), message.len() as u64);
    out.truncate(out.strip_suffix(&[0, 0, 0xFF, 0xFF]).unwrap().len());
    out
}

/// Compressed as one whole stream, ended by a final block.
fn final_blocks(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() * 2 + 1000);
    let mut stream = Compress::new(Compression::fast(), false);
    let status = stream.compress_vec(message, &mut out, FlushCompress::Finish).unwrap();
    assert_eq!(status, Status::StreamEnd);
    out
}

fn read(max: usize, pieces: &[&[u8]]) -> String {
    let mut transcript = Transcript::new(Version::Rfc6455, deflate(), limits(max));
    pieces.iter().for_each(|piece| transcript.read(piece));
    transcript.lines
}

#[test]
fn a_message_that_is_given_up_takes_no_memory_and_the_next_is_read() {
    let hello = b"\xF2\x48\xCD\xC9\xC9\x07\x00";
    let (mut decoder, mut pool) = (Decoder::new(Version::Rfc6455, deflate()), InflaterPool::new());
    let mut read = |decoder: &mut Decoder, bytes: &[u8]| {
        let (mut bytes, mut pieces) = (bytes.to_vec(), Vec::new());
        let mut unread = Unread::new(&mut bytes);
        while let Some(event) = decoder.next(&mut unread, &limits(100), &mut pool).unwrap() {
            if let websocket::Event::Data(data) = event {
                pieces.push((data.bytes.to_vec(), data.last));
            }
        }
        pieces
    };
    let whole = frame(0xC1, hello);
    let fragments = (frame(0x41, &hello[..3]), frame(0x80, &hello[3..]));
    for (begin, rest) in [fragments, (whole[..9].to_vec(), whole[9..].to_vec())] {
        assert_eq!(decoder.partial_memory(), 0);
        read(&mut decoder, &begin);
        assert!(decoder.partial_memory() > 40 << 10);
        decoder.give_up();
        assert_eq!(decoder.partial_memory(), 0);
        assert!(read(&mut decoder, &rest).last().unwrap().1);
        assert_eq!(read(&mut decoder, &whole), [(b"Hello".to_vec(), true)]);
    }
}

#[test]
fn compressed_frames() {
    const NOT_DEFLATE: &str = "error NotDeflate\n";
    const RESERVED: &str = "error ReservedBit\n";
    let hello = b"\xF2\x48\xCD\xC9\xC9\x07\x00";
    let twice = [&final_blocks(b"Hello, ")[..], &final_blocks(b"world")].concat();
    let halves = [frame(0x41, &hello[..3]), frame(0x89, b"p"), frame(0x80, &hello[3..])];
    let drops = [frame(0x41, hello), frame(0x00, b""), frame(0x80, b"")];
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("the example of RFC 7692 section 7.2.3.1", frame(0xC1, hello), "text \"Hello\"\n"),
        ("in fragments, a ping between", halves.concat(), "ping \"p\"\ntext \"Hello\"\n"),
        ("and empty ones", drops.concat(), "text \"Hello\"\n"),
        (
            "a stored block (7.2.3.3)",
            frame(0xC1, b"\x00\x05\x00\xFA\xFF\x48\x65\x6C\x6C\x6F\x00"),
            "text \"Hello\"\n",
        ),
        (
            "a final block (7.2.3.4)",
            frame(0xC1, b"\xF3\x48\xCD\xC9\xC9\x07\x00\x00"),
            "text \"Hello\"\n",
        ),
        (
            "a final block and nothing behind",
            frame(0xC1, b"\xF3\x48\xCD\xC9\xC9\x07\x00"),
            "text \"Hello\"\n",
        ),
        (
            "two blocks (7.2.3.5)",
            frame(0xC1, b"\xF2\x48\x05\x00\x00\x00\xFF\xFF\xCA\xC9\xC9\x07\x00"),
            "text \"Hello\"\n",
        ),
        ("two final blocks", frame(0xC1, &twice), "text \"Hello, world\"\n"),
        ("an empty message", frame(0xC1, b"\x00"), "text \"\"\n"),
        ("not even a block", frame(0xC1, b""), "text \"\"\n"),
        ("not compressed, though it may be", frame(0x81, b"Hello"), "text \"Hello\"\n"),
        (
            "no context is kept",
            [frame(0xC1, hello), frame(0xC1, hello)].concat(),
            "text \"Hello\"\ntext \"Hello\"\n",
        ),
        (
            "which would be needed here (7.2.3.2)",
            [frame(0xC1, hello), frame(0xC1, b"\xF2\x00\x11\x00\x00")].concat(),
            &format!("text \"Hello\"\n{NOT_DEFLATE}"),
        ),
        ("a compressed ping", frame(0xC9, hello), RESERVED),
        ("a compressed continuation", [frame(0x41, hello), frame(0xC0, hello)].concat(), RESERVED),
        ("RSV2 has no meaning", frame(0xE1, hello), RESERVED),
        ("noise", frame(0xC1, b"\xFF\xFF\xFF\xFF"), NOT_DEFLATE),
        ("a reserved type of block", frame(0xC1, b"\x06"), NOT_DEFLATE),
        ("a truncated block", frame(0xC1, &hello[..4]), NOT_DEFLATE),
        ("a truncated stored block", frame(0xC2, b"\x00\x09\x00\xF6\xFF\x48"), NOT_DEFLATE),
        ("text that is not UTF-8", frame(0xC1, &compressed(6, 15, b"a\xFFb")), "error NotText\n"),
        ("binary may be that", frame(0xC2, &compressed(6, 15, b"a\xFFb")), "binary \"a\\xffb\"\n"),
        (
            "text that ends inside a character",
            frame(0xC1, &compressed(6, 15, b"a\xE2\x82")),
            "error NotText\n",
        ),
        (
            "as large as may be",
            frame(0xC2, &compressed(6, 15, &[b'z'; 1000])),
            "binary 1000 bytes \"zzzzzzzz\"…\n",
        ),
        (
            "a byte too large",
            frame(0xC2, &compressed(6, 15, &[b'z'; 1001])),
            "error MessageTooLarge(1000)\n",
        ),
        (
            "larger compressed than may be",
            frame(0xC2, &[0; 1200]),
            "error DeflatedTooLarge(1189)\n",
        ),
    ];
    for (rule, bytes, expected) in cases {
        assert_eq!(read(1000, &[bytes]), *expected, "{rule}");
        for split in 0..=bytes.len() {
            let (before, after) = bytes.split_at(split);
            assert_eq!(read(1000, &[before, after]), *expected, "{rule}, split at {split}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(1000, &single), *expected, "{rule}, byte by byte");
    }
}

#[test]
fn any_compressor_and_any_size() {
    let text: String = (0..20_000).map(|number| format!("{} ", number * number % 977)).collect();
    for size in [1, 63, 1000, 16_383, 16_384, 16_385, 32_768, text.len()] {
        let expected = read(1 << 20, &[&frame(0x82, &text.as_bytes()[..size])]);
        for (level, bits) in [(0, 15), (1, 15), (1, 9), (6, 12), (9, 15)] {
            let payload = compressed(level, bits, &text.as_bytes()[..size]);
            let bytes = frame(0xC2, &payload);
            let shown = format!("{size} bytes at level {level} with {bits} bits");
            assert_eq!(read(1 << 20, &[&bytes]), expected, "{shown}");
            for piece in [1, 7, 4096, 5000] {
                let pieces: Vec<&[u8]> = bytes.chunks(piece).collect();
                assert_eq!(read(1 << 20, &pieces), expected, "{shown}, {piece} at a time");
            }
            let mut stopping = Transcript::new(Version::Rfc6455, deflate(), limits(1 << 20));
            stopping.pulls = 1;
            stopping.read(&bytes);
            assert_eq!(stopping.lines, expected, "{shown}, one piece at a time");
            assert!(stopping.pieces <= size / 16_384 + 1, "{shown}: {} pieces", stopping.pieces);
        }
    }
}

#[test]
fn a_small_message_that_inflates_hugely_is_stopped_at_the_bound() {
    let bomb = frame(0xC2, &compressed(9, 15, &vec![0; 64 << 20]));
    assert!(bomb.len() < 70_000);
    let mut bytes = bomb.clone();
    let mut unread = Unread::new(&mut bytes);
    let mut decoder = Decoder::new(Version::Rfc6455, deflate());
    let mut pool = InflaterPool::new();
    let mut returned = 0;
    let error = loop {
        match decoder.next(&mut unread, &limits(1 << 20), &mut pool) {
            Ok(Some(websocket::Event::Data(data))) => {
                assert!(data.bytes.len() <= 16 << 10);
                returned += data.bytes.len();
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert_eq!((error, returned), (websocket::FrameError::MessageTooLarge(1 << 20), 1 << 20));
    // One part in a thousand of it was looked at.
    assert!(unread.len() > bomb.len() * 9 / 10);
    assert_eq!(decoder.next(&mut unread, &limits(1 << 20), &mut pool), Ok(None));
    assert!(unread.is_empty());
}
