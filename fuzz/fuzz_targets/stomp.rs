//! In every version: however the bytes are split, the frames are the same, and what can be read can
//! be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stomp::{Decoder, Frame, FrameError, FrameLimits, Version};

fuzz_target!(|bytes: &[u8]| {
    for version in Version::ALL {
        let whole = decode(version, &[bytes]);
        for quarter in 1..4 {
            let (left, right) = bytes.split_at(bytes.len() * quarter / 4);
            assert_eq!(whole, decode(version, &[left, right]));
        }
        for frame in whole.0.into_iter().filter(is_plain) {
            let mut encoded = Vec::new();
            frame.encode(version, &mut encoded);
            let (again, fault) = decode(version, &[&encoded]);
            assert!(fault.is_none() && again.len() == 1, "{frame:?} became {encoded:?}");
            assert_eq!((again[0].verb, &again[0].body), (frame.verb, &frame.body));
        }
    }
});

/// Whether STOMP 1.0, which has no escapes, could write all names.
fn is_plain(frame: &Frame) -> bool {
    frame.headers.iter().all(|(name, _)| name.trim() == name && !name.contains([':', '\n', '\r']))
}

fn decode(version: Version, pieces: &[&[u8]]) -> (Vec<Frame>, Option<FrameError>) {
    let mut decoder = Decoder::new();
    decoder.set_version(version);
    let mut frames = Vec::new();
    for mut piece in pieces.iter().copied() {
        loop {
            match decoder.next(&mut piece, FrameLimits::default()) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(fault) => return (frames, Some(fault)),
            }
        }
    }
    (frames, None)
}
