//! Credit for many messages at once, on a queue whose home is on this core or another.

use std::sync::Arc;

use broker::{Event, Placement};
use contract::{
    Body, BrokerLimits, Command, ConnectionId, ConnectionLimits, Credit, Destination, Lane,
    Message, Outcome as Settled, Pattern, Reply, Settle, Settlement, Subscribe, SubscriptionId,
    Tag, Token,
};

use crate::world::{Limits, Outcome, World};

/// Fails when `Allowance::written` does nothing (a window of them comes), when `Allowance::next_drained` does not look
/// whether there is more, or `Home::settle` takes the first of a range alone.
#[test]
fn five_thousand_that_are_granted_at_once_all_arrive_and_no_more() {
    for (home, is_paged) in [(0, false), (1, false), (0, true), (1, true)] {
        let queue = queue_at(home);
        let mut world = World::new(2, limits(is_paged));
        world.is_checked = false;
        (1..=6000).for_each(|id| publish(&mut world, &queue, id));
        world.carry_all();
        let on_disk: usize = world.shards.iter().map(|shard| shard.stats().on_disk).sum();
        assert_eq!(on_disk > 5000, is_paged, "{on_disk} on the disk");
        subscribe(&mut world, &queue);
        world.outcomes.clear();
        world.apply(0, Event::Credit(CONSUMER, ID, Credit::Set(5000)));
        command(&mut world, 2, Command::Drain(ID));
        world.carry_all();
        let shown = seen(&mut world);
        let (last, delivered) = shown.split_last().unwrap();
        assert_eq!(*last, Seen::Done(2), "the drain comes behind them");
        assert!(delivered.iter().copied().eq((1..=5000).map(Seen::Message)), "{is_paged}");

        let settle =
            Settle { subscription: ID, tags: Tag(1)..=Tag(5000), outcome: Settled::Accepted };
        world.apply(0, Event::Settle(CONSUMER, settle, Some(Token(3))));
        world.carry_all();
        assert_eq!(seen(&mut world), [Seen::Done(3)], "no credit is left");
        assert_eq!(world.disk.count(&queue), 1000);
    }
}

/// Fails when `Home::drain` replies with the next delivery alone, or `Credit::Set` adds.
#[test]
fn without_messages_a_drain_is_replied_to_at_once_and_without_credit_nothing_comes() {
    for home in [0, 1] {
        let queue = queue_at(home);
        let mut world = World::new(2, limits(false));
        subscribe(&mut world, &queue);
        world.outcomes.clear();
        command(&mut world, 2, Command::Drain(ID));
        world.apply(0, Event::Credit(CONSUMER, ID, Credit::Add(7)));
        command(&mut world, 3, Command::Drain(ID));
        world.carry_all();
        assert_eq!(seen(&mut world), [Seen::Done(2), Seen::Done(3)]);
        world.apply(0, Event::Credit(CONSUMER, ID, Credit::Add(7)));
        world.apply(0, Event::Credit(CONSUMER, ID, Credit::Set(0)));
        publish(&mut world, &queue, 1);
        world.carry_all();
        assert_eq!(seen(&mut world), [Seen::Done(1)], "the message is confirmed and waits");
        world.apply(0, Event::Credit(CONSUMER, ID, Credit::Add(1)));
        world.carry_all();
        assert_eq!(seen(&mut world), [Seen::Message(1)]);
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Seen {
    Done(u64),
    Message(u128),
}

/// What clients have seen since the last time.
fn seen(world: &mut World) -> Vec<Seen> {
    let outcomes = std::mem::take(&mut world.outcomes).into_iter();
    let seen = outcomes.map(|outcome| match outcome {
        Outcome::Replied(_, Token(token), Ok(Reply::Done | Reply::Drained)) => Seen::Done(token),
        Outcome::Delivered(_, delivery) => Seen::Message(delivery.message.id),
        Outcome::Replied(..) | Outcome::Noticed(..) => panic!("{outcome:?}"),
    });
    seen.collect()
}

fn publish(world: &mut World, queue: &str, id: u128) {
    let body = Body::Binary(vec![7; 1024].into());
    let mut message = Message::new(Destination::parse(queue).unwrap(), id, 0, body);
    message.header.durable = Some(true);
    let publish = Command::Publish(Lane::default(), Arc::new(message));
    world.apply(0, Event::Command(PRODUCER, Token(1), publish, None));
}

fn subscribe(world: &mut World, queue: &str) {
    let subscribe = Subscribe {
        settlement: Settlement::Explicit,
        credit: Some(0),
        ..Subscribe::new(ID, Pattern::parse(queue).unwrap())
    };
    command(world, 0, Command::Subscribe(Box::new(subscribe)));
    world.carry_all();
}

fn command(world: &mut World, token: u64, command: Command) {
    world.apply(0, Event::Command(CONSUMER, Token(token), command, None));
}

fn queue_at(home: u16) -> String {
    let mut names = (0..100).map(|number| format!("/queue/{number}"));
    let placement = Placement::new(2);
    names.find(|name| placement.home(&Destination::parse(name).unwrap()) == home).unwrap()
}

fn limits(is_paged: bool) -> Limits {
    let broker = BrokerLimits { queue_messages_max: 10_000, ..BrokerLimits::default() };
    let connection = ConnectionLimits { prefetch_max: 10_000, ..ConnectionLimits::default() };
    let resident_bytes_max = is_paged.then_some(256 << 10);
    Limits { broker, connection, resident_bytes_max, ..Limits::default() }
}

const CONSUMER: ConnectionId = ConnectionId { core: 0, slot: 1, generation: 0 };
const PRODUCER: ConnectionId = ConnectionId { core: 0, slot: 2, generation: 0 };
const ID: SubscriptionId = SubscriptionId(0);
