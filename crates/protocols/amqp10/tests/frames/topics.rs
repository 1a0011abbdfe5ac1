//! What a link sends again of a topic, and what it keeps for that.

use amqp_types::Fields;
use contract::{Principal, ProtocolLimits};
use testkit::Setup;

use crate::play::{
    Play, begin, coordinator, declare, detach, discharge, disposition, frame, link_flow, open,
};

/// A receiver of a topic, or of a temporary one, by the link 0.
fn subscribe(is_temporary: bool) -> Vec<u8> {
    frame(0, |to| {
        to.composite(0x12, |fields| {
            fields.string("link-0");
            fields.u32(0);
            fields.bool(true);
            fields.null();
            fields.null();
            fields.composite(0x28, |source| {
                if is_temporary {
                    (0..4).for_each(|_| source.null());
                    source.bool(true);
                    (0..5).for_each(|_| source.null());
                    source.symbols(&["temporary-topic"]);
                } else {
                    source.string("topic://t");
                }
            });
            fields.composite(0x29, |target| target.string("t"));
        });
    })
}

fn limited(
    is_temporary: bool,
    limit: impl FnOnce(&mut contract::ConnectionLimits, &mut ProtocolLimits),
) -> Play {
    let mut setup = Setup::stream().limited(limit);
    setup.principal = Some(Principal::new("ann", []));
    let mut play = Play::with(&setup);
    play.receive(&amqp10::PLAIN_HEADER);
    for bytes in [open(u32::MAX, 0), begin(100_000), subscribe(is_temporary)] {
        play.receive(&bytes);
    }
    play
}

fn receiving(credit: u32) -> Play {
    let mut play = limited(false, |_, _| {});
    play.receive(&credits(0, credit));
    play
}

/// Credit from a count of deliveries on.
fn credits(count: u32, credit: u32) -> Vec<u8> {
    link_flow((count, 100_000), (count, credit), false, false)
}

/// Settles one with an outcome.
fn outcome(id: u32, code: u8, flags: &[bool]) -> Vec<u8> {
    frame(0, |to| {
        to.composite(0x15, |fields| {
            fields.bool(true);
            fields.u32(id);
            fields.null();
            fields.bool(true);
            fields.composite(code, |state| flags.iter().for_each(|flag| state.bool(*flag)));
        });
    })
}

fn accepted(id: u32) -> Vec<u8> {
    outcome(id, 0x24, &[])
}

fn released(id: u32) -> Vec<u8> {
    outcome(id, 0x26, &[])
}

fn failed(id: u32) -> Vec<u8> {
    outcome(id, 0x27, &[true])
}

/// The last letter and the delivery-count of each message that was sent.
fn sent(play: &Play) -> Vec<(char, u32)> {
    let of = |bytes: &Vec<u8>| {
        let mut reader = wire::Reader::new(&bytes[8..]);
        amqp_types::skip(&mut reader).unwrap();
        let mut fields = Fields::of(&reader.rest()[3..]).unwrap();
        fields.skip(4).unwrap();
        (char::from(*bytes.last().unwrap()), fields.u32().unwrap().unwrap_or(0))
    };
    play.sent.iter().filter(|bytes| bytes.get(10) == Some(&0x14)).map(of).collect()
}

#[test]
fn what_is_given_back_is_sent_again_in_its_order_as_credit_comes() {
    let mut play = receiving(4);
    for (number, body) in (1..).zip([b"a", b"b", b"c", b"d"]) {
        play.deliver(number, body);
    }
    for bytes in [failed(1), released(0), accepted(3)] {
        play.receive(&bytes);
    }
    assert_eq!(play.count(0x14), 4, "there is no credit");
    // What comes meanwhile comes behind.
    play.deliver(5, b"e");
    play.receive(&credits(4, 2));
    assert_eq!(sent(&play)[4..], [('a', 0), ('b', 1)]);
    play.receive(&credits(6, 2));
    assert_eq!(sent(&play)[6..], [('e', 0)]);
    // With credit it comes at once.
    play.receive(&failed(5));
    assert_eq!(sent(&play)[7..], [('b', 2)]);
    assert!(play.settled.is_empty(), "the broker knows nothing of it");
    assert_eq!(play.delivery_ids(), [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn nothing_comes_between_the_parts_of_a_message() {
    let mut play = receiving(10);
    play.receive(&link_flow((0, 2), (0, 10), false, false));
    play.deliver(1, b"a");
    play.deliver(2, &[b'x'; 200_000]);
    assert_eq!(play.count(0x14), 2);
    play.receive(&released(0));
    play.receive(&link_flow((2, 1), (1, 9), false, false));
    assert_eq!(play.count(0x14), 3);
    play.receive(&link_flow((3, 100), (1, 9), false, false));
    let last: Vec<_> = play.sent.iter().rev().filter_map(|bytes| bytes.last()).take(2).collect();
    assert_eq!(last, [&b'a', &b'x']);
}

#[test]
fn a_message_that_fails_is_dropped_as_often_as_queues_deliver() {
    let mut play = receiving(100);
    play.deliver(1, b"a");
    for id in 0..10 {
        play.receive(&failed(id));
    }
    let counts: Vec<_> = sent(&play).into_iter().map(|(_, count)| count).collect();
    assert_eq!(counts, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn what_is_refused_or_cannot_be_processed_is_dropped() {
    let mut play = receiving(100);
    play.deliver(1, b"a");
    play.deliver(2, b"b");
    play.deliver(3, b"c");
    play.receive(&outcome(0, 0x25, &[]));
    play.receive(&outcome(1, 0x27, &[false, true]));
    play.receive(&accepted(2));
    assert_eq!(play.count(0x14), 3);
}

#[test]
fn a_rollback_sends_again_what_was_settled_in_it() {
    let mut play = receiving(100);
    play.receive(&coordinator(1));
    play.receive(&declare(1, 0));
    for (number, body) in (1..).zip([b"a", b"b", b"c", b"d"]) {
        play.deliver(number, body);
    }
    play.receive(&disposition(0, 1, Some(1)));
    play.receive(&released(3));
    play.receive(&discharge(1, 1, 1, true));
    assert_eq!(sent(&play)[4..], [('d', 0), ('a', 1), ('b', 1)]);
    // And of one that is carried out, what was not accepted in it alone.
    play.receive(&declare(1, 2));
    play.receive(&disposition(5, 6, Some(2)));
    play.receive(&discharge(1, 3, 2, false));
    assert_eq!(play.count(0x14), 7);
    // A link that ends takes all with it.
    play.receive(&declare(1, 4));
    play.receive(&disposition(2, 2, Some(3)));
    play.receive(&detach(0));
    play.receive(&discharge(1, 5, 3, true));
    assert_eq!(play.count(0x14), 7);
}

#[test]
fn what_is_kept_is_bounded() {
    let mut play = limited(false, |limits, _| limits.unsent_bytes_max = 300_000);
    play.receive(&credits(0, 1000));
    let before = play.credit;
    assert!(before > 500);
    for number in 0..40 {
        play.deliver(number, &[b'x'; 10_000]);
    }
    assert_eq!(play.credit, 0, "what was granted is taken back");
    play.receive(&disposition(0, 20, None));
    assert!(play.credit > 500);
}

#[test]
fn what_a_transaction_keeps_is_bounded() {
    let mut play = limited(false, |_, limits| limits.transaction_bytes_max = 50_000);
    for bytes in [credits(0, 1000), coordinator(1), declare(1, 0)] {
        play.receive(&bytes);
    }
    for number in 0..4 {
        play.deliver(number.into(), &[b'x'; 10_000]);
        play.receive(&disposition(number, number, Some(1)));
    }
    assert_eq!(play.count(0x16), 0);
    for number in 4..6 {
        play.deliver(number.into(), &[b'x'; 10_000]);
        play.receive(&disposition(number, number, Some(1)));
    }
    assert_eq!(play.count(0x16), 1, "the link ends");
    assert!(play.was_told("limits.transaction-bytes-max"));
}

#[test]
fn what_waits_of_a_temporary_topic_is_bounded_by_its_bytes() {
    let mut play = limited(true, |limits, _| limits.unsent_bytes_max = 4 << 20);
    for number in 0..5000 {
        play.deliver(number, b"x");
    }
    assert_eq!(play.count(0x16), 0);
    play.receive(&credits(0, 5000));
    assert_eq!(play.count(0x14), 1000, "limits.prefetch-max");
    play.receive(&disposition(0, 499, None));
    assert_eq!(play.count(0x14), 1500);
    // A drain does not wait for what is to be settled first.
    let flows = play.count(0x13);
    play.receive(&link_flow((1500, 100_000), (1500, 10), true, false));
    assert_eq!((play.count(0x13), play.last_flow().2), (flows + 1, 0));
    for number in 0..500 {
        play.deliver(number, &[b'x'; 10_000]);
    }
    assert_eq!(play.count(0x16), 1);
    assert!(play.was_told("limits.unsent-bytes-max"));
}
