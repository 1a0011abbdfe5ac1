//! Transactions of which a part is not taken, and outcomes that come when their session has ended.

use amqp10::PLAIN_HEADER;
use contract::{Input, Principal, Refusal, Reply, Token};
use testkit::Setup;

use crate::play::{Play, attach, begin, detach, disposition, end, flow, frame, open, transfer};

/// A connection with a coordinator at handle 1 and a transaction, whose id is 1; a sender at handle 0.
fn with_transaction() -> Play {
    let mut setup = Setup::stream().limited(|limits, _| limits.message_bytes_max = 1000);
    setup.principal = Some(Principal::new("ann", []));
    let mut play = Play::with(&setup);
    play.receive(&PLAIN_HEADER);
    let coordinator = frame(0, |to| {
        to.composite(0x12, |fields| {
            fields.string("coordinator");
            fields.u32(1);
            fields.bool(false);
            fields.null();
            fields.null();
            fields.null();
            fields.composite(0x30, |target| {
                target.symbols(&["amqp:local-transactions", "amqp:distributed-transactions"]);
            });
        });
    });
    for frame in [open(512, 0), begin(100), attach(0, false), coordinator, declare()] {
        play.receive(&frame);
    }
    assert!(play.was_told("amqp:local-transactions"));
    assert!(!play.was_told("amqp:distributed-transactions"), "it cannot have them");
    play
}

fn declare() -> Vec<u8> {
    coordinated(0, |body| body.composite(0x31, |_| {}))
}

fn discharge() -> Vec<u8> {
    coordinated(1, |body| {
        body.composite(0x32, |fields| {
            fields.binary(&1_u64.to_be_bytes());
            fields.bool(false);
        });
    })
}

fn coordinated(id: u32, write: impl Fn(&mut amqp_types::Writer<'_>)) -> Vec<u8> {
    frame(0, |to| {
        to.composite(0x14, |fields| {
            fields.u32(1);
            fields.u32(id);
            fields.binary(b"t");
        });
        to.descriptor(0x77);
        write(to);
    })
}

/// A piece of a message of the sender, in the transaction.
fn sent(id: u32, bytes: usize, more: bool) -> Vec<u8> {
    frame(0, |to| {
        to.composite(0x14, |fields| {
            fields.u32(0);
            fields.u32(id);
            fields.binary(b"t");
            fields.null();
            fields.null();
            fields.bool(more);
            fields.null();
            fields.composite(0x34, |state| state.binary(&1_u64.to_be_bytes()));
        });
        to.descriptor(0x75);
        to.binary(&vec![7; bytes]);
    })
}

/// Without the failure of the transaction its commit would be accepted, and the message missing.
#[test]
fn what_is_not_taken_in_a_transaction_fails_it() {
    let too_large = [vec![sent(10, 20_000, false)], vec![discharge()]].concat();
    let on_a_link_that_is_gone = vec![sent(10, 20_000, false), sent(11, 1, false), discharge()];
    let in_part = vec![sent(10, 10, true), detach(0), discharge()];
    let in_part_and_stolen = {
        let other = frame(0, |to| {
            to.composite(0x12, |fields| {
                fields.string("link-0");
                fields.u32(5);
                fields.bool(false);
                fields.null();
                fields.null();
                fields.null();
                fields.composite(0x29, |target| target.string("q"));
            });
        });
        vec![sent(10, 10, true), other, discharge()]
    };
    let interleaved = vec![sent(10, 10, true), sent(11, 10, false), discharge()];
    for (case, condition) in [
        (too_large, "amqp:link:message-size-exceeded"),
        (on_a_link_that_is_gone, "amqp:link:message-size-exceeded"),
        (in_part, "amqp:illegal-state"),
        (in_part_and_stolen, "amqp:illegal-state"),
        (interleaved, "amqp:invalid-field"),
    ] {
        let mut play = with_transaction();
        case.iter().for_each(|frame| play.receive(frame));
        let before = play.sent.len();
        let last = play.sent[before - 1].clone();
        let has = |text: &str| last.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(
            has(condition) && has("the transaction was rolled back: "),
            "{condition}: {last:?}"
        );
        assert_eq!(play.commands.len(), 0, "nothing of it is done");
    }
}

/// A session that is begun on the channel of another is not told what became of that one's messages.
#[test]
fn an_outcome_does_not_come_to_another_session() {
    let mut play = Play::new();
    for frame in [open(512, 0), begin(5), attach(0, false)] {
        play.receive(&frame);
    }
    play.unanswered = Some(Vec::new());
    for frame in [transfer(0, false), end(), begin(5), attach(0, false), transfer(0, false)] {
        play.receive(&frame);
    }
    let tokens = play.unanswered.take().unwrap();
    let before = play.count(0x15);
    play.handle(Input::Replied(tokens[0], Err(Refusal::Full)), Setup::START);
    assert_eq!(play.count(0x15), before, "it is of the session that has ended");
    play.handle(Input::Replied(tokens[1], Ok(Reply::Done)), Setup::START);
    assert_eq!(play.count(0x15), before + 1);
}

/// The same of what it was delivered and has not settled by itself.
#[test]
fn what_was_delivered_to_a_session_is_not_settled_in_another() {
    let mut play = Play::new();
    for frame in [open(512, 0), begin(5), attach(0, true), flow(0, 5, 5)] {
        play.receive(&frame);
    }
    play.deliver(1, b"x");
    let unsettled = frame(0, |to| {
        to.composite(0x15, |fields| {
            fields.bool(true);
            fields.u32(0);
            fields.null();
            fields.bool(false);
            fields.composite(0x24, |_| {});
        });
    });
    for frame in [unsettled, end(), begin(5)] {
        play.receive(&frame);
    }
    // The last number that was handed out is that of the settlement, or of a command behind it.
    for token in 0..20 {
        play.handle(Input::Replied(Token(token), Ok(Reply::Done)), Setup::START);
    }
    assert_eq!(play.count(0x15), 0);
    play.receive(&disposition(0, 0, None));
}

/// What senders may send at once, all together, may wait for the broker: what comes behind it is read.
#[test]
fn credit_of_all_senders_is_what_may_wait() {
    let mut play = Play::new();
    play.receive(&open(512, 0));
    play.receive(&begin(5));
    for handle in 0..400 {
        play.receive(&attach(handle, false));
    }
    let credit = |mut fields: amqp_types::Fields<'_>| {
        fields.skip(6).unwrap();
        fields.u32().unwrap().unwrap_or(0)
    };
    let all: u32 = play.fields(0x13).map(credit).sum();
    assert!((400..=1000).contains(&all), "{all} in all");
}

/// A subscription that is received from is not deleted by who looks for it.
#[test]
fn a_look_up_does_not_take_the_place_of_a_consumer() {
    let mut play = Play::new();
    let link = |handle, has_source: bool| {
        frame(0, |to| {
            to.composite(0x12, |fields| {
                fields.string("news");
                fields.u32(handle);
                fields.bool(true);
                fields.null();
                fields.null();
                if has_source {
                    fields.composite(0x28, |source| {
                        source.string("topic://t");
                        source.u32(2);
                        source.symbol("never");
                    });
                } else {
                    fields.null();
                }
            });
        })
    };
    for frame in [open(512, 0), begin(5), link(0, true), link(1, false)] {
        play.receive(&frame);
    }
    assert!(play.was_told("amqp:resource-locked"));
    assert!(!play.was_told("amqp:link:stolen"));
    for frame in [detach(1), detach(0), link(0, false)] {
        play.receive(&frame);
    }
    assert!(
        matches!(play.commands.last(), Some(contract::Command::Find(_))),
        "{:?}",
        play.commands
    );
}
