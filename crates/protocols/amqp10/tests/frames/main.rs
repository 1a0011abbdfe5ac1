//! Frames of a peer, and what it is told: errors by their conditions, and deliveries as far as it has
//! room for them.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod openings;
mod play;
mod topics;
mod transactions;
mod windows;

use amqp10::{PLAIN_HEADER, SASL_HEADER};
use contract::{Command, Input, Now, Principal, Refusal, Reply, Session as _, Step, Token};
use play::{Play, attach, begin, detach, end, flow, frame, open, sasl_init, transfer};
use testkit::Setup;

#[test]
fn what_a_peer_does_wrong_has_the_condition_of_the_standard() {
    let wrong_type = frame(0, |to| to.composite(0x11, |fields| fields.string("no channel")));
    let unknown = frame(0, |to| to.composite(0x50, |_| {}));
    let mut large = open(u32::MAX, 0);
    large[..4].copy_from_slice(&(1_u32 << 20).to_be_bytes());
    let sasl = {
        let mut bytes = frame(0, |to| to.composite(0x41, |fields| fields.symbol("PLAIN")));
        bytes[5] = 1;
        bytes
    };
    let opened = || vec![open(u32::MAX, 0)];
    let begun = || vec![open(u32::MAX, 0), begin(10)];
    let with = |mut frames: Vec<Vec<u8>>, more: &[&[u8]]| {
        frames.extend(more.iter().map(|bytes| bytes.to_vec()));
        frames
    };
    let sender = attach(0, false);
    let without_credit: Vec<Vec<u8>> = (0..101).map(|id| transfer(id, false)).collect();
    let without_credit = with(begun(), &[&sender]).into_iter().chain(without_credit).collect();
    let cases: Vec<(&str, Vec<Vec<u8>>, &str, bool)> = vec![
        ("a frame larger than agreed", vec![large], "amqp:connection:framing-error", true),
        ("frames of less than 512 bytes", vec![open(511, 0)], "amqp:invalid-field", true),
        ("an idle time that is not kept", vec![open(512, 10)], "amqp:not-allowed", true),
        ("begin before open", vec![begin(1)], "amqp:illegal-state", true),
        ("a second open", with(opened(), &[&open(512, 0)]), "amqp:illegal-state", true),
        ("attach before begin", with(opened(), &[&sender]), "amqp:illegal-state", true),
        ("a field of another type", with(opened(), &[&wrong_type]), "amqp:decode-error", true),
        ("no performative", with(opened(), &[&unknown]), "amqp:decode-error", true),
        ("a SASL frame", with(opened(), &[&sasl]), "amqp:decode-error", true),
        ("a session twice", with(begun(), &[&begin(1)]), "amqp:illegal-state", true),
        (
            "a handle twice",
            with(begun(), &[&sender, &attach(0, true)]),
            "amqp:session:handle-in-use",
            false,
        ),
        (
            "a link that is not there",
            with(begun(), &[&transfer(0, false)]),
            "amqp:session:unattached-handle",
            false,
        ),
        (
            "more than there is credit for",
            without_credit,
            "amqp:link:transfer-limit-exceeded",
            false,
        ),
        (
            "deliveries one in another",
            with(begun(), &[&sender, &transfer(0, true), &transfer(1, false)]),
            "amqp:invalid-field",
            false,
        ),
    ];
    for (rule, frames, condition, closes) in cases {
        let mut play = Play::new();
        for frame in &frames {
            if !play.out.is_closed() {
                play.receive(frame);
            }
        }
        assert!(play.was_told(condition), "{rule}");
        assert_eq!(play.out.is_closed(), closes, "{rule}");
    }
}

#[test]
fn all_may_come_at_once_before_the_login_is_decided() {
    let frames = [
        SASL_HEADER.to_vec(),
        sasl_init(),
        PLAIN_HEADER.to_vec(),
        open(512, 0),
        begin(5),
        attach(0, false),
    ];
    let all = frames.concat();
    for split in 0..all.len() {
        let mut play = Play::unknown();
        play.receive(&all[..split]);
        play.receive(&all[split..]);
        assert_eq!(play.count(0x10), 0, "nobody knows who it is");
        let accepted = Step::Accepted(Principal::new("ann", []), Vec::new());
        let reply = Reply::Login(Box::new(accepted));
        play.handle(Input::Replied(Token(1), Ok(reply)), Setup::START);
        assert_eq!((play.count(0x44), play.count(0x10), play.count(0x12)), (1, 1, 1));
        assert_eq!(play.count(0x13), 1, "and credit");
    }
}

#[test]
fn a_login_that_is_refused_ends_with_its_outcome() {
    let refused = Err(Refusal::Unauthenticated);
    let late = Now { mono_ns: u64::MAX, ..Setup::START };
    for (end, outcomes) in [(Input::Replied(Token(1), refused), 1), (Input::Timeout, 0)] {
        let mut play = Play::unknown();
        play.receive(&SASL_HEADER);
        play.receive(&sasl_init());
        play.handle(end, late);
        assert_eq!(play.count(0x44), outcomes);
        assert_eq!(play.count(0x18), 0, "a close, where the header of the connection was not sent");
        assert!(play.out.is_closed());
    }
}

#[test]
fn a_detach_frees_the_handle_at_once() {
    let mut play = Play::new();
    for frame in [open(512, 0), begin(5), attach(0, true)] {
        play.receive(&frame);
    }
    play.unanswered = Some(Vec::new());
    play.receive(&detach(0));
    assert_eq!(play.count(0x16), 0, "the broker delivers still");
    play.receive(&attach(0, true));
    assert_eq!((play.count(0x16), play.count(0x17)), (1, 0), "the first link is gone");
    for token in play.unanswered.take().unwrap() {
        play.handle(Input::Replied(token, Ok(Reply::Done)), Setup::START);
    }
    assert_eq!((play.count(0x12), play.count(0x16)), (2, 1), "the second one is there");
    play.receive(&attach(0, true));
    assert!(play.was_told("amqp:session:handle-in-use"));
}

#[test]
fn a_session_that_was_ended_may_be_begun_again_on_its_channel() {
    let mut play = Play::new();
    for frame in [open(512, 0), begin(5), transfer(0, false), transfer(1, false), end(), begin(5)] {
        play.receive(&frame);
    }
    assert_eq!((play.count(0x17), play.count(0x11)), (1, 2), "what came meanwhile is no error");
    play.receive(&attach(0, false));
    assert_eq!(play.count(0x12), 1);
}

#[test]
fn no_more_is_sent_than_the_window_of_the_session_has_room_for() {
    let mut play = Play::new();
    for frame in [open(512, 0), begin(1), attach(0, true), flow(0, 1, 10)] {
        play.receive(&frame);
    }
    play.deliver(1, b"small");
    play.deliver(2, &[7; 2000]);
    play.deliver(3, b"small");
    assert_eq!(play.count(0x14), 1);
    // One frame each time: the second message has five.
    for next in 1..7 {
        play.receive(&flow(next, 1, 10));
        assert_eq!(play.count(0x14), 1 + next as usize);
    }
    play.receive(&flow(7, 1, 10));
    assert_eq!(play.count(0x14), 7, "no more was there");
    assert!(play.sent.iter().all(|bytes| bytes.len() <= 512));
}

#[test]
fn a_peer_that_is_silent_is_given_up_and_one_that_is_not_hears_something() {
    let mut play = Play::new();
    play.receive(&open(512, 2000));
    let at = |ms: u64| Now { mono_ns: ms * 1_000_000, unix_ms: 1_000_000 + ms };
    assert_eq!(play.connection.deadline(), Some(at(1000).mono_ns), "half of what the peer allows");
    let before = play.sent.len();
    play.handle(Input::Timeout, at(1000));
    assert_eq!(play.sent.split_off(before), [vec![0, 0, 0, 8, 2, 0, 0, 0]], "an empty frame");
    play.handle(Input::Timeout, at(60_000));
    assert!(play.out.is_closed());
    assert!(play.was_told("amqp:resource-limit-exceeded"));
}

#[test]
fn a_message_that_passes_keeps_its_bytes() {
    let mut play = Play::new();
    for frame in [open(512, 0), begin(5), attach(0, false), transfer(7, false)] {
        play.receive(&frame);
    }
    let Some(Command::Publish(_, message)) = play.commands.last() else {
        panic!("{:?}", play.commands)
    };
    let contract::Content::Amqp(sections) = &message.content else { panic!("{message:?}") };
    assert_eq!(sections.bytes(), &b"\0\x53\x75\xa0\x01x"[..]);
}
