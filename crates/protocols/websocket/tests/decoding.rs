//! The events of a decoder, however its input is split.

mod client;

use client::{Transcript, frame, frame06, keyed_frame, masked06};
use contract::ConnectionLimits;
use websocket::Version::{self, Hybi06, Hybi08, Rfc6455};

fn limits() -> ConnectionLimits {
    ConnectionLimits { message_bytes_max: 1000, fragments_max: 4, ..ConnectionLimits::default() }
}

/// Each case whole, split in two at every byte, byte by byte, and one event at a time.
fn check(cases: &[(&str, Version, Vec<u8>, &str)]) {
    for (rule, version, bytes, expected) in cases {
        let transcript = |pulls: usize, pieces: &[&[u8]]| {
            let mut transcript = Transcript::new(*version, None, limits());
            transcript.pulls = pulls;
            for piece in pieces {
                transcript.read(piece);
            }
            transcript.lines
        };
        let whole = transcript(usize::MAX, &[bytes]);
        let lines: String = expected.lines().map(|line| format!("{}\n", line.trim())).collect();
        assert_eq!(whole, lines, "{rule}");
        assert_eq!(transcript(1, &[bytes]), lines, "{rule}, one event at a time");
        for split in 0..=bytes.len() {
            let (before, after) = bytes.split_at(split);
            assert_eq!(transcript(usize::MAX, &[before, after]), lines, "{rule}, split at {split}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(transcript(usize::MAX, &single), lines, "{rule}, byte by byte");
        assert_eq!(transcript(1, &single), lines, "{rule}, byte by byte and event by event");
    }
}

const RESERVED: &str = "error ReservedBit";
const OPCODE: &str = "error UnknownOpcode";
const CODE: &str = "error CloseCode";
const NOT_TEXT: &str = "error NotText";
const TOO_LARGE: &str = "error MessageTooLarge(1000)";
const TOO_MANY: &str = "error TooManyFragments(4)";
const FEWEST: &str = "error LengthNotShortest";
const FRAGMENTED: &str = "error ControlFragmented";
const AT_MOST_125: &str = "error ControlTooLong";

#[test]
fn frames_of_rfc6455() {
    let f = frame;
    let close = |code: u16, reason: &[u8]| f(0x88, &[&code.to_be_bytes(), reason].concat());
    let rfc = |rule, bytes, expected| (rule, Rfc6455, bytes, expected);
    check(&[
        rfc(
            "the example of section 5.7",
            b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58".to_vec(),
            "text \"Hello\"",
        ),
        ("version 8 has the same frames", Hybi08, f(0x81, b"Hello"), "text \"Hello\""),
        rfc("nothing", vec![], ""),
        rfc("an empty text", f(0x81, b""), "text \"\""),
        rfc("binary may be anything", f(0x82, b"\x00\xFF"), "binary \"\\x00\\xff\""),
        rfc("a key of zeros", keyed_frame(0x81, b"plain", [0; 4]), "text \"plain\""),
        rfc("125 bytes", f(0x82, &[b'a'; 125]), "binary 125 bytes \"aaaaaaaa\"…"),
        rfc("126 bytes", f(0x82, &[b'a'; 126]), "binary 126 bytes \"aaaaaaaa\"…"),
        rfc(
            "fragments are one message",
            [f(0x01, b"a"), f(0x00, b"b"), f(0x80, b"c")].concat(),
            "text \"abc\"",
        ),
        rfc("empty fragments", [f(0x01, b""), f(0x00, b""), f(0x80, b"")].concat(), "text \"\""),
        rfc(
            "a character may be split over fragments",
            [f(0x01, b"\xE2"), f(0x00, b"\x82"), f(0x80, b"\xAC")].concat(),
            "text \"\\xe2\\x82\\xac\"",
        ),
        rfc(
            "a ping between fragments",
            [f(0x01, b"a"), f(0x89, b"p"), f(0x80, b"b")].concat(),
            "ping \"p\"\ntext \"ab\"",
        ),
        rfc("two messages", [f(0x81, b"a"), f(0x82, b"b")].concat(), "text \"a\"\nbinary \"b\""),
        rfc("half a message is no event yet", f(0x01, b"a"), ""),
        rfc(
            "ping and pong",
            [f(0x89, b""), f(0x8A, b"x"), f(0x89, &[b'y'; 125])].concat(),
            "ping \"\"\npong \"x\"\nping 125 bytes \"yyyyyyyy\"…",
        ),
        // Closing.
        rfc("a close without a code", f(0x88, b""), "close"),
        rfc("a close with a code", close(1000, b""), "close 1000 \"\""),
        rfc("a close with a reason", close(3999, "späť".as_bytes()), "close 3999 \"späť\""),
        rfc(
            "the longest close",
            close(1001, &[b'r'; 123]),
            &format!("close 1001 {:?}", "r".repeat(123)),
        ),
        rfc(
            "nothing follows a close",
            [close(1000, b""), f(0x81, b"a"), f(0x83, b"")].concat(),
            "close 1000 \"\"",
        ),
        rfc(
            "a close ends a message that has begun",
            [f(0x01, b"a"), close(4999, b"")].concat(),
            "close 4999 \"\"",
        ),
        rfc("a close with one byte", f(0x88, b"\x03"), "error CloseCodeTooShort"),
        rfc("a close reason that is not UTF-8", close(1000, b"\xFF"), NOT_TEXT),
        rfc("a truncated close reason", close(1000, b"\xE2\x82"), NOT_TEXT),
        rfc("close code 0", close(0, b""), CODE),
        rfc("close code 999", close(999, b""), CODE),
        rfc("close code 1004", close(1004, b""), CODE),
        rfc("close code 1005 is never sent", close(1005, b""), CODE),
        rfc("close code 1006 is never sent", close(1006, b""), CODE),
        rfc("close code 1015 is never sent", close(1015, b""), CODE),
        rfc("close code 1016", close(1016, b""), CODE),
        rfc("close code 2999", close(2999, b""), CODE),
        rfc("close code 5000", close(5000, b""), CODE),
        rfc("close code 1014 is registered", close(1014, b""), "close 1014 \"\""),
        // Headers.
        rfc("a frame without a mask", b"\x81\x01a".to_vec(), "error NotMasked"),
        rfc("RSV1 without compression", f(0xC1, b"a"), RESERVED),
        rfc("RSV2", f(0xA1, b"a"), RESERVED),
        rfc("RSV3", f(0x92, b"a"), RESERVED),
        rfc("RSV1 of a ping", f(0xC9, b"a"), RESERVED),
        rfc("RSV1 of a continuation", [f(0x01, b"a"), f(0xC0, b"b")].concat(), RESERVED),
        rfc("opcode 3", f(0x83, b""), OPCODE),
        rfc("opcode 7", f(0x87, b""), OPCODE),
        rfc("opcode 11", f(0x8B, b""), OPCODE),
        rfc("opcode 15", f(0x8F, b""), OPCODE),
        rfc(
            "what was right comes before the error",
            [f(0x81, b"a"), f(0x8F, b"")].concat(),
            &format!("text \"a\"\n{OPCODE}"),
        ),
        rfc("nothing follows an error", [f(0x8F, b""), f(0x81, b"a")].concat(), OPCODE),
        rfc("a fragmented ping", f(0x09, b"a"), FRAGMENTED),
        rfc("a fragmented close", f(0x08, b""), FRAGMENTED),
        rfc("a ping of 126 bytes", f(0x89, &[0; 126]), AT_MOST_125),
        rfc(
            "a long length in a short pong",
            b"\x8A\xFF\0\0\0\0\0\0\0\x01\0\0\0\0a".to_vec(),
            AT_MOST_125,
        ),
        rfc("125 in 16 bits", b"\x82\xFE\0\x7D\0\0\0\0".to_vec(), FEWEST),
        rfc("65,535 in 64 bits", b"\x82\xFF\0\0\0\0\0\0\xFF\xFF\0\0\0\0".to_vec(), FEWEST),
        rfc(
            "64 bits of length",
            b"\x82\xFF\x80\0\0\0\0\0\0\0\0\0\0\0".to_vec(),
            "error LengthTooLarge",
        ),
        rfc(
            "63 bits of length",
            b"\x82\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\0\0\0\0".to_vec(),
            TOO_LARGE,
        ),
        // Order.
        rfc("a continuation of nothing", f(0x80, b"a"), "error MessageNotBegun"),
        rfc(
            "a continuation after the end",
            [f(0x81, b"a"), f(0x80, b"b")].concat(),
            "text \"a\"\nerror MessageNotBegun",
        ),
        rfc(
            "a text message within another",
            [f(0x01, b"a"), f(0x81, b"b")].concat(),
            "error MessageNotEnded",
        ),
        // Text.
        rfc("not UTF-8", f(0x81, b"a\xFFb"), NOT_TEXT),
        rfc("a surrogate", f(0x81, b"\xED\xA0\x80"), NOT_TEXT),
        rfc("beyond Unicode", f(0x81, b"\xF4\x90\x80\x80"), NOT_TEXT),
        rfc("the shortest form only", f(0x81, b"\xC0\xAF"), NOT_TEXT),
        rfc("a text message that ends inside a character", f(0x81, b"a\xE2\x82"), NOT_TEXT),
        rfc("the last fragment too", [f(0x01, b"\xE2"), f(0x80, b"")].concat(), NOT_TEXT),
        // ConnectionLimits: 1,000 bytes and 4 fragments.
        rfc(
            "a message as large as may be",
            f(0x82, &[b'm'; 1000]),
            "binary 1000 bytes \"mmmmmmmm\"…",
        ),
        rfc("a message too large", f(0x82, &[0; 1001]), TOO_LARGE),
        rfc("the length alone is enough", b"\x82\xFE\x03\xE9\0\0\0\0".to_vec(), TOO_LARGE),
        rfc(
            "fragments too large together",
            [f(0x02, &[0; 600]), f(0x80, &[0; 401])].concat(),
            TOO_LARGE,
        ),
        rfc(
            "four fragments",
            [f(0x02, b"a"), f(0, b"b"), f(0, b"c"), f(0x80, b"d")].concat(),
            "binary \"abcd\"",
        ),
        rfc(
            "an empty last frame is no fifth",
            [f(0x02, b"a"), f(0, b"b"), f(0, b"c"), f(0, b"d"), f(0x80, b"")].concat(),
            "binary \"abcd\"",
        ),
        rfc(
            "five fragments",
            [f(0x02, b"a"), f(0, b"b"), f(0, b"c"), f(0, b"d"), f(0x80, b"e")].concat(),
            TOO_MANY,
        ),
        rfc(
            "empty fragments are counted, pings between them are not",
            [f(0x02, b""), f(0, b""), f(0x89, b""), f(0, b""), f(0, b""), f(0, b"")].concat(),
            &format!("ping \"\"\n{TOO_MANY}"),
        ),
    ]);
}

/// A client in Go writes 400 kB in 749 frames.
#[test]
fn by_default_a_message_of_a_mebibyte_may_come_in_small_frames() {
    let bytes_max = ConnectionLimits::default().message_bytes_max;
    let fragments_max = ConnectionLimits::default().fragments_max as usize;
    for (piece, expected) in [
        (534, "binary"),
        (bytes_max / fragments_max, "binary"),
        (bytes_max / fragments_max - 1, "error TooManyFragments(16384)"),
    ] {
        let mut transcript = Transcript::new(Rfc6455, None, ConnectionLimits::default());
        let mut first = 0x02;
        for piece in vec![b'x'; bytes_max].chunks(piece) {
            transcript.read(&frame(first, piece));
            first = 0;
        }
        transcript.read(&frame(0x80, b""));
        let shown = transcript.lines.chars().take(80).collect::<String>();
        assert!(shown.starts_with(expected), "{piece}: {shown}");
    }
}

#[test]
fn frames_of_hybi06() {
    let f = frame06;
    let old = |rule, bytes, expected| (rule, Hybi06, bytes, expected);
    check(&[
        old("text is 4", f(0x84, b"Hello"), "text \"Hello\""),
        old("binary is 5", f(0x85, b"\xFF"), "binary \"\\xff\""),
        old("ping is 2, pong 3", [f(0x82, b"a"), f(0x83, b"b")].concat(), "ping \"a\"\npong \"b\""),
        old("close is 1", f(0x81, b""), "close"),
        old("a close may have a reason", f(0x81, b"\x03\xE8bye"), "close 1000 \"bye\""),
        old("1004 is too large", f(0x81, b"\x03\xEC"), "close 1004 \"\""),
        old("1009 came later", f(0x81, b"\x03\xF1"), CODE),
        old(
            "fragments",
            [f(0x04, b"a"), f(0x82, b"p"), f(0x80, b"b")].concat(),
            "ping \"p\"\ntext \"ab\"",
        ),
        old("16 bits of length", f(0x84, &[b'a'; 126]), "text 126 bytes \"aaaaaaaa\"…"),
        old("a length too large", masked06(b"\x84\x7F\0\0\0\0\0\x01\0\0"), TOO_LARGE),
        old("opcode 6", f(0x86, b""), OPCODE),
        old("the fourth reserved bit", masked06(b"\x84\x81a"), RESERVED),
        old("RSV1", f(0xC4, b"a"), RESERVED),
        old("a frame of today", frame(0x81, b"Hello"), RESERVED),
        old("a fragmented close", f(0x01, b""), FRAGMENTED),
        old("not UTF-8", f(0x84, b"\xFF"), NOT_TEXT),
    ]);
}

#[test]
fn a_wrong_text_is_refused_at_its_first_wrong_byte() {
    let cases: &[(&[u8], usize)] = &[
        (b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xF4\x90\x80\x80edited", 12),
        (b"abc\xFFdef", 3),
        (b"\xED\xA0\x80", 1),
        (b"\xE0\x9F", 1),
        (b"ab\xC2d", 3),
    ];
    for (text, wrong) in cases {
        let bytes = frame(0x01, text);
        let header = bytes.len() - text.len();
        let mut transcript = Transcript::new(Rfc6455, None, limits());
        transcript.read(&bytes[..header + wrong]);
        assert_eq!(transcript.lines, "", "{text:x?} may still be right");
        transcript.read(&bytes[header + wrong..=header + wrong]);
        assert_eq!(transcript.lines, format!("{NOT_TEXT}\n"), "{text:x?} is wrong now");
    }
}

#[test]
fn a_whole_message_is_one_piece() {
    let mut transcript = Transcript::new(Rfc6455, None, limits());
    transcript.read(&frame(0x81, b"whole"));
    assert_eq!(transcript.pieces, 1);
    assert!(transcript.is_between_messages());
}

#[test]
fn time_is_linear_in_the_bytes_even_one_at_a_time() {
    // Quadratic, this would be 10^11 steps.
    let large = ConnectionLimits { message_bytes_max: 1 << 20, ..ConnectionLimits::default() };
    let mut transcript = Transcript::new(Rfc6455, None, large);
    for byte in frame(0x81, "€".repeat(1 << 18).as_bytes()) {
        transcript.read(&[byte]);
    }
    assert_eq!(
        transcript.lines,
        "text 786432 bytes \"\\xe2\\x82\\xac\\xe2\\x82\\xac\\xe2\\x82\"…\n"
    );
}

#[test]
fn what_has_come_in_part_is_told() {
    let f = frame;
    let limits = ConnectionLimits::default();
    // What is incomplete: the messages before it, and the bytes of its body.
    let cases: &[(&str, Vec<u8>, Option<(u32, Option<u32>)>)] = &[
        ("nothing", vec![], None),
        ("a message", f(0x81, b"abc"), None),
        ("half a header", vec![0x81], Some((0, None))),
        ("half a header after a message", [f(0x81, b"a"), vec![0x81]].concat(), Some((1, None))),
        ("a header", f(0x81, b"abc")[..6].to_vec(), Some((0, Some(0)))),
        ("half a payload", f(0x81, b"abc")[..8].to_vec(), Some((0, Some(2)))),
        ("a fragment", f(0x01, b"abc"), Some((0, Some(3)))),
        ("pings are none of it", [f(0x01, b"abc"), f(0x89, b"ping")].concat(), Some((0, Some(3)))),
        (
            "nor is half a ping",
            [f(0x01, b"abc"), f(0x89, b"ping")[..8].to_vec()].concat(),
            Some((0, Some(3))),
        ),
        ("half a ping alone", f(0x89, b"ping")[..8].to_vec(), Some((0, None))),
        ("a ping alone", f(0x89, b"ping"), None),
        ("empty fragments", [f(0x01, b""), f(0, b""), f(0, b"")].concat(), Some((0, Some(0)))),
        ("after a close", [f(0x88, b""), vec![0x81]].concat(), None),
    ];
    for (rule, bytes, expected) in cases {
        for size in [1, bytes.len().max(1)] {
            let mut decoder = websocket::Decoder::new(Rfc6455, None);
            let mut pool = websocket::InflaterPool::new();
            for piece in bytes.chunks(size) {
                let mut piece = piece.to_vec();
                let mut unread = websocket::Unread::new(&mut piece);
                while decoder.next(&mut unread, &limits, &mut pool).unwrap().is_some() {}
            }
            let partial = decoder.partial().map(|partial| (partial.number, partial.body_bytes));
            assert_eq!(partial, *expected, "{rule}, {size} at a time");
        }
    }
}
