//! Publications to topics that are to be delivered later.

use std::sync::Arc;

use broker::{Event, Shard};
use contract::{
    Body, Command, ConnectionId, Destination, Lane, Message, Operation, Pattern, QuotaLimits,
    Refusal, Reply, Subscribe, SubscriptionId, Token,
};

use crate::world::{Limits, Outcome, World};

/// Fails when `Front::publish_due` is not called, or `Front::publish` does not look at the time.
#[test]
fn a_message_to_a_topic_comes_when_it_is_due_to_who_is_there_then() {
    for cores in [1, 2, 3] {
        let mut world = World::new(cores, Limits::default());
        let last = cores - 1;
        subscribe(&mut world, connection(last, 1), None);
        publish(&mut world, 1, 5_000);
        publish(&mut world, 2, 0);
        let operations = vec![Operation::Publish(message(3, 5_000))];
        let command = Command::Transact(Lane::default(), operations);
        world.apply(0, Event::Command(PUBLISHER, Token(3), command, None));
        world.carry_all();
        let mut now = seen(&mut world);
        now.sort();
        assert_eq!(now, ["1 gets 2", "done 1", "done 2", "done 3"], "{cores} cores");
        world.apply(0, Event::Gone(PUBLISHER));
        // One that has no more at a time than it wants.
        subscribe(&mut world, connection(0, 2), Some(100));
        pass(&mut world, 4_999);
        assert_eq!(seen(&mut world), [""; 0], "{cores} cores");
        pass(&mut world, 1);
        let mut came = seen(&mut world);
        came.sort();
        assert_eq!(came, ["1 gets 1", "1 gets 3", "2 gets 1", "2 gets 3"], "{cores} cores");
        for one in [connection(last, 1), connection(0, 2)] {
            world.apply(one.core, Event::Gone(one));
        }
        world.carry_all();
        world.shards.iter().for_each(Shard::assert_empty);
        assert!(world.ledger.is_unused());
    }
}

/// Fails when `Front::publish_later` charges for nothing.
#[test]
fn what_waits_is_bounded_as_in_queues() {
    let queued_bytes_max = 4_000;
    let quotas = QuotaLimits {
        queued_bytes_max,
        queued_bytes_max_per_principal: queued_bytes_max,
        ..QuotaLimits::default()
    };
    let mut world = World::new(1, Limits { quotas, ..Limits::default() });
    for number in 0..100 {
        publish(&mut world, number, 1_000);
    }
    let refused = world
        .outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Outcome::Replied(_, _, Err(Refusal::QueueMemory))));
    let refused = refused.count();
    assert!((70..95).contains(&refused), "{refused} of 100 are refused");
    world.outcomes.clear();
    pass(&mut world, 1_000);
    publish(&mut world, 100, 1_000);
    assert_eq!(seen(&mut world), ["done 100"]);
    pass(&mut world, 1_000);
    // Transactions too, whether they are committed or not.
    for number in 0..100 {
        let mut operations = vec![Operation::Publish(message(number, 2_000_000))];
        if number % 2 == 1 {
            let queue = Destination::parse("/queue/DLQ.of.none").unwrap();
            operations.push(Operation::Publish(Arc::new(Message::new(
                queue,
                number.into(),
                0,
                Body::Text("x".repeat(8_000).into()),
            ))));
        }
        let command = Command::Transact(Lane::default(), operations);
        world.apply(0, Event::Command(PUBLISHER, Token(number), command, None));
        world.carry_all();
    }
    let done = seen_replies(&mut world);
    assert!((5..30).contains(&done), "{done} of 100 are taken");
    pass(&mut world, 2_000_000);
    world.apply(0, Event::Gone(PUBLISHER));
    world.carry_all();
    world.shards[0].assert_empty();
}

/// Fails when `Front::publish_due` has no bound.
#[test]
fn what_is_due_together_comes_over_some_turns() {
    let mut world = World::new(1, Limits::default());
    subscribe(&mut world, connection(0, 1), None);
    for number in 1..=200 {
        publish(&mut world, number, 1_000);
    }
    world.outcomes.clear();
    world.advance(1_000);
    world.apply(0, Event::Timeout);
    assert_eq!(seen(&mut world).len(), 64);
    assert!(world.shards[0].has_deferred());
    world.carry_all();
    assert_eq!(seen(&mut world).len(), 200 - 64);
    assert!(!world.shards[0].has_deferred());
}

/// How many were taken.
fn seen_replies(world: &mut World) -> usize {
    let outcomes = std::mem::take(&mut world.outcomes).into_iter();
    outcomes.filter(|outcome| matches!(outcome, Outcome::Replied(_, _, Ok(_)))).count()
}

fn subscribe(world: &mut World, connection: ConnectionId, credit: Option<u32>) {
    let pattern = Pattern::parse(TOPIC).unwrap();
    let subscribe = Subscribe { credit, ..Subscribe::new(SubscriptionId(0), pattern) };
    let command = Command::Subscribe(Box::new(subscribe));
    world.apply(connection.core, Event::Command(connection, Token(0), command, None));
    world.carry_all();
    world.outcomes.clear();
}

fn message(number: u64, delay_ms: u32) -> Arc<Message> {
    let body = Body::Text("a body".into());
    let to = Destination::parse(TOPIC).unwrap();
    let mut message = Message::new(to, number.into(), 1_000_000, body);
    message.header.delay_ms = delay_ms;
    Arc::new(message)
}

fn publish(world: &mut World, number: u64, delay_ms: u32) {
    let mut message = Message::clone(&message(number, delay_ms));
    message.header.arrived_unix_ms = world.now.unix_ms;
    let command = Command::Publish(Lane::default(), Arc::new(message));
    world.apply(0, Event::Command(PUBLISHER, Token(number), command, None));
    world.carry_all();
}

fn pass(world: &mut World, ms: u64) {
    world.advance(ms);
    world.time_out();
    world.carry_all();
}

fn seen(world: &mut World) -> Vec<String> {
    let outcomes = std::mem::take(&mut world.outcomes);
    let show = |outcome| match outcome {
        Outcome::Replied(_, Token(token), Ok(Reply::Done)) => format!("done {token}"),
        Outcome::Delivered(to, delivery) => {
            format!("{} gets {}", to.connection.slot, delivery.message.id)
        }
        Outcome::Replied(..) | Outcome::Noticed(..) => panic!("{outcome:?}"),
    };
    outcomes.into_iter().map(show).collect()
}

const fn connection(core: u16, slot: u32) -> ConnectionId {
    ConnectionId { core, slot, generation: 0 }
}

const PUBLISHER: ConnectionId = connection(0, 9);
const TOPIC: &str = "/topic/t";
