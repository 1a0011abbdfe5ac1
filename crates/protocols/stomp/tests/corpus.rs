//! Replays what is in `corpus/`, which the fuzzer starts from: no split changes what comes of it.

use std::{fs, path::Path};

use contract::{Data, Input, Principal, Reply, Session as _, Step, Token};
use stomp::Session;
use testkit::{Output, Recorder, Setup};

#[test]
fn no_split_changes_the_frames_of_the_corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 15, "the corpus is missing");
    for file in files {
        let bytes = fs::read(&file).unwrap();
        let whole = play(&[&bytes]);
        for split in 0..=bytes.len() {
            let played = play(&[&bytes[..split], &bytes[split..]]);
            assert_eq!(played, whole, "{}, split at {split}", file.display());
        }
        let bytewise: Vec<_> = bytes.chunks(1).collect();
        assert_eq!(play(&bytewise), whole, "{}, byte by byte", file.display());
    }
}

/// What comes of the pieces, when each command is carried out at once.
fn play(pieces: &[&[u8]]) -> Vec<String> {
    let setup = Setup { principal: Some(Principal::anonymous()), ..Setup::stream() };
    let mut session = Session::open(&setup.opening(), Setup::START);
    let mut out = Recorder::new();
    let mut played = Vec::new();
    let mut replies = Vec::new();
    for bytes in pieces {
        let data = Data { kind: setup.kind, bytes, last: true };
        session.handle(Input::Received(data), Setup::START, &mut out);
        played.extend(take(&mut out, &mut replies));
    }
    // Replies that come between pieces would change the order of receipts.
    for (token, reply) in replies {
        session.handle(Input::Replied(token, Ok(reply)), Setup::START, &mut out);
        played.extend(take(&mut out, &mut Vec::new()));
    }
    played
}

fn take(out: &mut Recorder, replies: &mut Vec<(Token, Reply)>) -> Vec<String> {
    let outputs = out.take();
    replies.extend(outputs.iter().filter_map(|output| match output {
        Output::Command(token, _) => Some((*token, Reply::Done)),
        Output::Login(token, _) => {
            let accepted = Step::Accepted(Principal::anonymous(), Vec::new());
            Some((*token, Reply::Login(Box::new(accepted))))
        }
        Output::Send(..)
        | Output::Share(..)
        | Output::Settle(..)
        | Output::Credit(..)
        | Output::Close(..) => None,
    }));
    outputs.iter().map(|output| format!("{output:?}")).collect()
}
