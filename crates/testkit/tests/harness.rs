//! The harnesses find what they are for.

use contract::{
    Command, Credit, Declare, Destination, DestinationKind, Input, Kind, Now, Outbox, Pattern,
    Reason, Session, Settlement, Subscribe, SubscriptionId, Token,
};
use testkit::{Peer, Random, Setup, Storm, conversation};

#[global_allocator]
static ALLOCATOR: testkit::Counting = testkit::Counting;

/// Returns what it receives, and closes at an `x`; with a chosen fault.
#[derive(Default)]
struct Echo {
    fault: Fault,
    closed: bool,
    received: Vec<u8>,
}

#[derive(Clone, Copy, Default, Eq, PartialEq)]
enum Fault {
    #[default]
    None,
    SpeaksAfterTheClose,
    WantsToWakeAfterTheClose,
    UsesATokenTwice,
    Hoards,
    SettlesTheUnknown,
}

impl Session for Echo {
    fn handle(&mut self, input: Input<'_>, _now: Now, out: &mut dyn Outbox) {
        if self.closed {
            return;
        }
        match input {
            Input::Opened => {
                let queue = Destination::parse("/queue/a").expect("a queue");
                let subscribe = Subscribe {
                    settlement: Settlement::Explicit,
                    credit: Some(1),
                    ..Subscribe::new(SubscriptionId(0), Pattern::from(queue))
                };
                out.command(Token(0), Command::Subscribe(Box::new(subscribe)));
            }
            Input::Received(data) => {
                out.send(data.kind, &mut |to| to.extend_from_slice(data.bytes));
                if self.fault == Fault::UsesATokenTwice {
                    let destination = Destination::temporary(DestinationKind::TempQueue, 1);
                    out.command(Token(1), Command::Declare(Declare { destination }));
                }
                if self.fault == Fault::Hoards {
                    self.received.extend_from_slice(data.bytes);
                }
                if data.bytes.contains(&b'x') {
                    self.closed = true;
                    out.close(Reason::Normal, "x", None);
                    if self.fault == Fault::SpeaksAfterTheClose {
                        out.send(Kind::Stream, &mut |to| to.push(b'!'));
                    }
                }
            }
            Input::Delivered(subscription, delivery) => {
                let mut tag = delivery.tag.expect("explicit");
                if self.fault == Fault::SettlesTheUnknown {
                    tag.0 += 1;
                }
                let outcome = contract::Outcome::Accepted;
                out.settle(contract::Settle::one(subscription, tag, outcome), None);
                out.credit(subscription, Credit::Add(1));
            }
            Input::Closed(_) => self.closed = true,
            Input::Timeout
            | Input::GivenUp(..)
            | Input::Shutdown
            | Input::Replied(..)
            | Input::Notice(_) => {}
        }
    }

    fn deadline(&self) -> Option<u64> {
        (self.closed && self.fault == Fault::WantsToWakeAfterTheClose).then_some(0)
    }
}

#[test]
fn a_conversation_as_it_should_be() {
    talk(
        "
        > recv hello|
        < send hello|
        > opened
        < command 0 subscribe 0 /queue/a explicit credit=1
        > reply 0 done
        # A comment.
        > deliver 0 /queue/a tag=3 : hi
        < settle 0 3 Accepted
        < credit 0 1
        > recv x
        < send x
        < close Normal x
        ",
    );
}

#[test]
#[should_panic(expected = "expected: < send bye\n  actual:   < send hello")]
fn a_conversation_that_goes_differently() {
    talk(
        "
        > recv hello
        < send bye
        ",
    );
}

#[test]
#[should_panic(expected = "actual:   < send hello")]
fn a_conversation_with_a_reply_too_many() {
    talk("> recv hello");
}

#[test]
fn a_storm_over_a_good_session() {
    let tally = storm(Fault::None);
    assert!(tally.deliveries > 100 && tally.settles == tally.deliveries, "{tally:?}");
}

#[test]
#[should_panic(expected = "after the close")]
fn a_storm_finds_what_speaks_after_the_close() {
    storm(Fault::SpeaksAfterTheClose);
}

#[test]
#[should_panic(expected = "a deadline after the close")]
fn a_storm_finds_what_wants_to_wake_after_the_close() {
    storm(Fault::WantsToWakeAfterTheClose);
}

#[test]
#[should_panic(expected = "is used twice")]
fn a_storm_finds_a_token_used_twice() {
    storm(Fault::UsesATokenTwice);
}

#[test]
#[should_panic(expected = "the session holds")]
fn a_storm_finds_what_hoards() {
    storm(Fault::Hoards);
}

#[test]
#[should_panic(expected = "is not unsettled")]
fn a_storm_finds_what_settles_the_unknown() {
    storm(Fault::SettlesTheUnknown);
}

fn talk(script: &str) {
    conversation(&Setup::stream(), |_, _| Echo::default(), script);
}

fn storm(fault: Fault) -> testkit::Tally {
    let storm = Storm { steps: 2_000, seeds: 3, ..Storm::new(Setup::stream(), 1_000) };
    storm.run(|_, _| Echo { fault, ..Echo::default() }, words)
}

fn words(random: &mut Random, peer: &mut Peer) -> Vec<u8> {
    let word = if peer.sent > 50 && random.once_in(10) { "x" } else { "hello" };
    word.repeat(1 + random.below(9)).into_bytes()
}
