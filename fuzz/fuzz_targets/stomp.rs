//! The first byte chooses the version and where the rest is cut in two. However it is cut, the
//! frames are the same, and what can be read can be written and read again.
#![no_main]

use std::sync::Arc;

use contract::Limits;
use libfuzzer_sys::fuzz_target;
use stomp::{Decoder, Frame, FrameError, Version};

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let version = Version::ALL[usize::from(choice) % Version::ALL.len()];
    let cut = usize::from(choice >> 2) * bytes.len() / 64;
    let whole = decode(version, &[bytes]);
    let (left, right) = bytes.split_at(cut);
    assert_eq!(whole, decode(version, &[left, right]));

    // STOMP 1.0 has no escapes: a name of nothing but blanks cannot be written in it.
    let is_plain = |frame: &Frame| frame.headers.iter().all(|(name, _)| !name.trim().is_empty());
    for frame in whole.0.into_iter().filter(is_plain) {
        let mut encoded = Vec::new();
        frame.encode(version, &mut encoded);
        let (again, fault) = decode(version, &[&encoded]);
        assert!(fault.is_none() && again.len() == 1, "{frame:?} became {encoded:?}");
        assert_eq!((again[0].verb, &again[0].body), (frame.verb, &frame.body));
    }
});

fn decode(version: Version, pieces: &[&[u8]]) -> (Vec<Frame>, Option<FrameError>) {
    let mut decoder = Decoder::new(Arc::new(Limits::default()));
    decoder.set_version(version);
    let mut frames = Vec::new();
    for mut piece in pieces.iter().copied() {
        loop {
            match decoder.next(&mut piece) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(fault) => return (frames, Some(fault)),
            }
        }
    }
    (frames, None)
}
