//! What is offered to a peer, how a connection that is not opened ends, and who settles last.

use amqp_types::Fields;
use amqp10::{PLAIN_HEADER, SASL_HEADER};
use contract::{Data, Input, Kind, Now, Principal, Refusal, Reply, Token};
use testkit::Setup;

use crate::play::{Play, begin, frame, open, transfer};

/// What cannot succeed is not offered: clients take the strongest that is.
#[test]
fn mechanisms_are_offered_that_may_succeed() {
    for (scram_for_all, anonymous, known) in
        [(false, false, false), (true, false, false), (false, true, false), (false, false, true)]
    {
        let principal = known.then(|| Principal::new("ann", []));
        let mut play =
            Play::with(&Setup { scram_for_all, anonymous, principal, ..Setup::stream() });
        play.receive(&SASL_HEADER);
        assert!(play.was_told("PLAIN"));
        assert_eq!(play.was_told("SCRAM-SHA-256"), scram_for_all);
        assert_eq!(play.was_told("ANONYMOUS"), anonymous || known);
    }
}

/// A close ends what an open has begun: what ends before has the gateway's open first.
#[test]
fn a_close_follows_an_open() {
    let late = Now { mono_ns: u64::MAX, ..Setup::START };
    let shutdown = || Input::Shutdown;
    let logged_in = Play::new;
    let logging_in = || {
        let mut play = Play::unknown();
        play.receive(&PLAIN_HEADER);
        play
    };
    let claiming = || {
        let mut play = Play::new();
        play.unanswered = Some(Vec::new());
        play.receive(&frame(0, |to| {
            to.composite(0x10, |fields| {
                fields.string("c");
                (0..7).for_each(|_| fields.null());
                fields.symbols(&["sole-connection-for-container"]);
            });
        }));
        play
    };
    let begin = begin(1);
    let malformed = Input::Received(Data { kind: Kind::Stream, bytes: &begin, last: true });
    let text = Input::Received(Data { kind: Kind::Text, bytes: b"x", last: true });
    let refused = Input::Replied(Token(1), Err(Refusal::Unauthenticated));
    for (mut play, end) in [
        (logged_in(), Input::Timeout),
        (logged_in(), shutdown()),
        (logged_in(), malformed),
        (logged_in(), text),
        (logging_in(), Input::Timeout),
        (logging_in(), refused),
        (claiming(), Input::Timeout),
        (claiming(), shutdown()),
    ] {
        assert_eq!(play.count(0x10), 0);
        play.handle(end, late);
        assert_eq!((play.count(0x10), play.count(0x18)), (1, 1), "{:?}", play.sent);
        assert!(play.out.is_closed());
    }
}

/// A sender may settle last (receiver-settle-mode second): it is told the outcome, and settles.
#[test]
fn a_sender_that_settles_last_is_told_the_outcome_unsettled() {
    for mode in [0, 1] {
        let mut play = Play::new();
        let attach = frame(0, |to| {
            to.composite(0x12, |fields| {
                fields.string("link");
                fields.u32(0);
                fields.bool(false);
                fields.null();
                fields.u8(mode);
                fields.composite(0x28, |source| source.string("q"));
                fields.composite(0x29, |target| target.string("q"));
            });
        });
        play.unanswered = Some(Vec::new());
        for frame in [open(512, 0), begin(5), attach, transfer(0, false)] {
            play.receive(&frame);
        }
        let token = play.unanswered.take().unwrap()[0];
        play.handle(Input::Replied(token, Ok(Reply::Done)), Setup::START);
        let disposition = play.sent.iter().find(|bytes| bytes.get(8..11) == Some(&[0, 0x53, 0x15]));
        let mut fields = Fields::of(&disposition.unwrap()[11..]).unwrap();
        fields.skip(3).unwrap();
        assert_eq!(fields.bool(), Ok(Some(mode == 0)));
        let settle = frame(0, |to| {
            to.composite(0x15, |fields| {
                fields.bool(false);
                fields.u32(0);
                fields.null();
                fields.bool(true);
            });
        });
        play.receive(&settle);
        assert!(!play.out.is_closed());
    }
}
