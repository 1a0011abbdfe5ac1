//! Frames of a peer that is logged in, split anywhere: no panic, nothing behind a close, and the same
//! replies. Values that are well-formed can be passed over whole.
#![no_main]

use amqp10::{Connection, PLAIN_HEADER};
use contract::{Data, Input, Kind, Principal, Session};
use libfuzzer_sys::fuzz_target;
use testkit::{Output, Recorder, Setup};

fuzz_target!(|bytes: &[u8]| {
    if amqp_types::check(bytes).is_ok() {
        assert_eq!(amqp_types::skip(&mut wire::Reader::new(bytes)), Ok(bytes));
    }
    let whole = play(&[bytes]);
    for quarter in 1..4 {
        let (left, right) = bytes.split_at(bytes.len() * quarter / 4);
        assert_eq!(whole, play(&[left, right]));
    }
});

/// What is sent to a peer that sends this behind its header.
fn play(pieces: &[&[u8]]) -> Vec<u8> {
    let mut setup = Setup::stream();
    setup.principal = Some(Principal::new("ann", []));
    let mut session = Connection::open(&setup.opening(), Setup::START);
    let mut out = Recorder::new();
    let mut sent = Vec::new();
    for bytes in [&PLAIN_HEADER[..]].iter().chain(pieces) {
        if out.is_closed() {
            break;
        }
        let data = Data { kind: Kind::Stream, bytes, last: true };
        session.handle(Input::Received(data), Setup::START, &mut out);
        for output in out.take() {
            if let Output::Send(_, bytes) = output {
                sent.extend(bytes);
            }
        }
    }
    sent
}
