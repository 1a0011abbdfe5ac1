//! Replays what is in `corpus/`, which the fuzzer starts from: what clients have sent, and what the fuzzer
//! has found. However it is split, the same is sent.

#[expect(unreachable_pub, reason = "the fuzz target has it too")]
mod replay;

use std::{fs, path::Path};

use replay::{Split, play};
use testkit::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn no_split_changes_what_the_corpus_is_sent() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 20, "the corpus is missing");
    for path in files {
        let stream = fs::read(&path).unwrap();
        let whole = play(&stream, Split::Whole);
        for len in [1, 7, 100] {
            assert!(whole == play(&stream, Split::Pieces(len)), "{path:?} in pieces of {len}");
        }
    }
}
