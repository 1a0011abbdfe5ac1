//! Inputs worth keeping, in `corpus/`: what begins with `6-` is of hybi-06, the rest of RFC 6455.
//! What a fuzzer finds is put there.

mod client;

use std::{fs, path::Path};

use client::{Transcript, agreed};
use contract::ConnectionLimits;
use websocket::Version;

#[test]
fn each_input_decodes_alike_whole_and_in_parts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let old = name.starts_with("6-");
        let version = if old { Version::Hybi06 } else { Version::Rfc6455 };
        let bytes = fs::read(&path).unwrap();
        let read = |size: usize, pulls: usize| {
            let deflate = (!old).then(|| agreed("permessage-deflate"));
            let mut transcript = Transcript::new(version, deflate, ConnectionLimits::default());
            transcript.pulls = pulls;
            bytes.chunks(size).for_each(|piece| transcript.read(piece));
            transcript.lines
        };
        let whole = read(usize::MAX, usize::MAX);
        for (size, pulls) in [(1, usize::MAX), (3, 1), (1000, 2), (usize::MAX, 1)] {
            assert_eq!(read(size, pulls), whole, "{name} by {size}, {pulls} events at a time");
        }
        count += 1;
    }
    assert!(count >= 30);
}
