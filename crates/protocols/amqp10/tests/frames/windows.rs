//! Windows, credit and ids at their ends.

use contract::{Command, Content, Outcome, Tag};
use testkit::Setup;

use crate::play::{
    Play, attach, attach_at, begin, begin_at, coordinator, declare, detach, disposition, end, flow,
    frame, link_flow, open, transfer,
};

const MOST: u32 = u32::MAX;

/// A peer that receives on the link 0.
fn receiving(max_frame: u32, window: u32, credit: u32) -> Play {
    let mut play = Play::new();
    for frame in [open(max_frame, 0), begin(window), attach(0, true), flow(0, window, credit)] {
        play.receive(&frame);
    }
    play
}

#[test]
fn the_largest_window_and_credit_are_windows_and_credit() {
    let mut play = receiving(512, MOST, MOST);
    for number in 1..=20 {
        play.deliver(number, b"x");
        // It says so again, having counted nothing of what has come.
        play.receive(&flow(0, MOST, MOST));
    }
    assert_eq!(play.count(0x14), 20);
    play.receive(&flow(20, MOST, MOST));
    assert!(play.credit > 100, "{} for the broker", play.credit);
}

#[test]
fn a_window_that_is_closed_is_opened_again() {
    let mut play = receiving(512, 0, 10);
    play.deliver(1, b"x");
    assert_eq!(play.count(0x14), 0);
    play.receive(&flow(0, 1, 10));
    assert_eq!(play.count(0x14), 1);
    // It has counted none: one of one is under way.
    play.receive(&flow(0, 1, 10));
    play.deliver(2, b"x");
    assert_eq!(play.count(0x14), 1);
    play.receive(&flow(1, 1, 10));
    assert_eq!(play.count(0x14), 2);
    // It has counted more than there were.
    play.receive(&flow(1000, 0, 10));
    play.deliver(3, b"x");
    assert_eq!(play.count(0x14), 3);
}

#[test]
fn a_megabyte_passes_frames_of_512_bytes_one_by_one() {
    let body: Vec<u8> = (0..1 << 20).map(|at: u32| at.to_le_bytes()[(at % 3) as usize]).collect();
    let mut play = receiving(512, 1, 1);
    play.deliver(1, &body);
    for next in 1..5000 {
        play.receive(&flow(next, 1, 1));
    }
    assert_eq!(play.delivery_ids(), [0]);
    let frames = play.count(0x14);
    assert!(play.sent.iter().all(|bytes| bytes.len() <= 512));
    assert!((2100..2400).contains(&frames), "{frames}");
    let of = |bytes: &Vec<u8>| {
        let mut reader = wire::Reader::new(&bytes[8..]);
        amqp_types::skip(&mut reader).unwrap();
        reader.rest().to_vec()
    };
    let transfers = play.sent.iter().filter(|bytes| bytes.get(10) == Some(&0x14));
    let received: Vec<u8> = transfers.flat_map(of).collect();
    assert!(received.ends_with(&body));
    // And the other way.
    let mut play = Play::new();
    for frame in [open(512, 0), begin(1), attach(0, false)] {
        play.receive(&frame);
    }
    let start = received.len() - body.len() - 8;
    let pieces: Vec<_> = received[start..].chunks(450).collect();
    for (index, piece) in (1..).zip(&pieces) {
        let mut bytes = frame(0, |to| {
            to.composite(0x14, |fields| {
                fields.u32(0);
                fields.u32(MOST);
                fields.binary(b"t");
                fields.null();
                fields.null();
                fields.bool(index < pieces.len());
            });
        });
        bytes.extend_from_slice(piece);
        let size = u32::try_from(bytes.len()).unwrap();
        bytes[..4].copy_from_slice(&size.to_be_bytes());
        play.receive(&bytes);
    }
    let Some(Command::Publish(_, message)) = play.commands.last() else { panic!("no message") };
    let Content::Amqp(sections) = &message.content else { panic!("{message:?}") };
    assert!(sections.bytes().ends_with(&body));
}

#[test]
fn a_drain_uses_the_largest_credit_up_and_counts_go_round() {
    let mut play = receiving(512, 100, MOST);
    play.deliver(1, b"x");
    play.deliver(2, b"x");
    play.receive(&link_flow((2, 100), (0, MOST), true, false));
    let (_, count, credit, _) = play.last_flow();
    assert_eq!((count, credit), (MOST, 0), "two were sent, and as many as were left");
    play.deliver(3, b"x");
    assert_eq!(play.count(0x14), 2, "the credit is used up");
    play.receive(&link_flow((2, 100), (MOST, 2), false, false));
    play.deliver(4, b"x");
    play.deliver(5, b"x");
    assert_eq!(play.count(0x14), 4);
    play.receive(&link_flow((4, 100), (1, 1), false, false));
    play.deliver(6, b"x");
    assert_eq!(play.count(0x14), 5);
    play.receive(&link_flow((5, 100), (2, 0), false, true));
    let (_, count, credit, _) = play.last_flow();
    assert_eq!((count, credit), (2, 0));
}

#[test]
fn what_is_in_flight_when_credit_is_lowered_is_given_back() {
    let mut play = receiving(512, 100, 10);
    play.deliver(1, b"x");
    play.receive(&link_flow((1, 100), (1, 0), false, false));
    assert_eq!(play.credit, 0);
    // The broker had sent these before it heard of that.
    play.deliver(2, b"x");
    play.deliver(3, b"x");
    assert_eq!(play.count(0x14), 1);
    let given_back: Vec<_> =
        play.settled.iter().map(|settle| (settle.tags.clone(), settle.outcome)).collect();
    let released = Outcome::Released;
    assert_eq!(given_back, [(Tag(2)..=Tag(2), released), (Tag(3)..=Tag(3), released)]);
    // A drain waits for nothing that does not come.
    let flows = play.count(0x13);
    play.receive(&link_flow((1, 100), (1, 0), true, false));
    assert_eq!(play.count(0x13), flows + 1);
}

#[test]
fn an_echo_is_answered_once_and_wants_no_answer() {
    let mut play = receiving(512, 100, 0);
    let before = play.count(0x13);
    for _ in 0..1000 {
        play.receive(&link_flow((0, 100), (0, 0), false, true));
    }
    assert_eq!(play.count(0x13), before + 1000);
    assert!(!play.last_flow().3);
}

#[test]
fn the_ids_of_a_peer_go_round() {
    let mut play = Play::new();
    for bytes in [open(512, 0), begin_at(MOST - 1, 10), attach_at(0, false, MOST - 1)] {
        play.receive(&bytes);
    }
    assert_eq!(play.last_flow(), (MOST - 1, MOST - 1, 100, false));
    for id in [MOST - 1, MOST, 0, 1] {
        play.receive(&transfer(id, false));
    }
    play.receive(&link_flow((0, 10), (0, 0), false, true));
    assert_eq!(play.last_flow(), (2, 2, 96, false));
    assert_eq!(play.commands.len(), 4);
    // Those of a large message, which takes the window of a session more than once.
    for _ in 0..3000 {
        play.receive(&transfer(2, true));
    }
    play.receive(&transfer(2, false));
    assert_eq!(play.commands.len(), 5);
    assert!(!play.was_told("amqp:session:window-violation"));
}

#[test]
fn a_settlement_costs_what_is_there_and_not_what_it_names() {
    let mut play = receiving(512, 100, 100);
    for number in 1..=6 {
        play.deliver(number, b"x");
    }
    for (first, last) in [(3, 2), (5, 0), (6, 6), (6, MOST / 2), (MOST, MOST)] {
        play.receive(&disposition(first, last, None));
        assert!(play.settled.is_empty(), "{first} to {last}: {:?}", play.settled);
    }
    for _ in 0..100_000 {
        play.receive(&disposition(6, MOST / 2, None));
    }
    play.receive(&disposition(1, 1, None));
    play.receive(&disposition(MOST - 5, 2, None));
    play.receive(&disposition(0, MOST / 2, None));
    let tags: Vec<_> = play.settled.iter().map(|settle| settle.tags.clone()).collect();
    assert_eq!(tags, [Tag(2)..=Tag(2), Tag(1)..=Tag(3), Tag(4)..=Tag(6)]);
    for _ in 0..100_000 {
        play.receive(&disposition(0, MOST / 2, None));
    }
    assert_eq!(play.settled.len(), 3);
}

#[test]
fn a_transaction_does_not_receive_without_an_end() {
    let mut setup = Setup::stream().limited(|limits, _| limits.transaction_operations_max = 3);
    setup.principal = Some(contract::Principal::new("ann", []));
    let mut play = Play::with(&setup);
    play.receive(&amqp10::PLAIN_HEADER);
    for bytes in [open(512, 0), begin(100), attach(0, true), flow(0, 100, 100)] {
        play.receive(&bytes);
    }
    play.receive(&coordinator(1));
    play.receive(&declare(1, 0));
    for number in 0..3 {
        play.deliver(number.into(), b"x");
        play.receive(&disposition(number, number, Some(1)));
    }
    assert_eq!(play.count(0x16), 0);
    play.deliver(3, b"x");
    play.receive(&disposition(3, 3, Some(1)));
    assert_eq!(play.count(0x16), 1, "the link ends");
    assert!(play.was_told("limits.transaction-operations-max"));
}

#[test]
fn a_subscription_is_ended_once_though_its_session_ends_meanwhile() {
    let mut play = receiving(512, 100, 100);
    play.unanswered = Some(Vec::new());
    play.receive(&detach(0));
    play.receive(&end());
    let ends = play.commands.iter().filter(|one| matches!(one, Command::Unsubscribe(..)));
    assert_eq!(ends.count(), 1);
}

#[test]
fn an_echo_of_a_link_that_is_not_attached_says_nothing_of_it() {
    let mut play = Play::new();
    play.receive(&open(512, 0));
    play.receive(&begin(10));
    play.unanswered = Some(Vec::new());
    play.receive(&attach(0, true));
    play.receive(&link_flow((0, 10), (0, 1), false, true));
    assert_eq!((play.count(0x12), play.count(0x13)), (0, 1), "the broker has not subscribed yet");
    let handle = play.fields(0x13).next().map(|mut fields| {
        fields.skip(4).unwrap();
        fields.u32().unwrap()
    });
    assert_eq!(handle, Some(None));
}

#[test]
fn a_flow_that_opens_the_window_and_takes_credit_back_does_both() {
    let mut play = receiving(512, 0, 10);
    play.deliver(1, b"x");
    play.deliver(2, b"x");
    play.receive(&flow(0, 10, 1));
    assert_eq!(play.count(0x14), 1);
    assert_eq!(play.settled.len(), 1, "the other is given back");
}
