//! Durable messages that are in the store only until they are next.

use std::sync::Arc;

use broker::{Event, QueuePosition};
use contract::{
    Body, BrokerLimits, Command, ConnectionId, ConnectionLimits, Credit, Destination, Lane,
    Message, Mode, Outcome as Settled, Parts, Pattern, Selector, Settle, Settlement, Strings,
    Subscribe, SubscriptionId, Tag, Token,
};

use crate::world::{Limits, Outcome, World};

/// Without read-ahead each message would be loaded by itself; without the bound all would stay in memory.
#[test]
fn a_queue_has_what_is_next_in_memory_and_the_rest_on_the_disk() {
    let mut world = filled(1000);
    assert!(on_disk(&world) > 900, "{} of 1000 are on the disk", on_disk(&world));
    assert_eq!(world.shards[0].stats().loaded, 0);
    subscribe(&mut world, Mode::Consume, None, 1);
    let mut seen = Vec::new();
    while let [(id, tag)] = taken(&mut world)[..] {
        seen.push(id);
        settle(&mut world, tag.unwrap());
        credit(&mut world, 1);
        let resident = 1000 - seen.len() - on_disk(&world);
        assert!(resident <= 60, "{resident} in memory after {}", seen.len());
    }
    assert_eq!(seen, (1..=1000).collect::<Vec<_>>());
    end(world);
}

#[test]
fn a_browser_is_shown_what_is_on_the_disk_and_it_stays() {
    let mut world = filled(300);
    subscribe(&mut world, Mode::Browse, None, 1000);
    let shown: Vec<u128> = taken(&mut world).into_iter().map(|(id, _)| id).collect();
    assert_eq!(shown, (1..=300).collect::<Vec<_>>());
    assert!(on_disk(&world) > 200, "{} of 300 are on the disk", on_disk(&world));
    empty(world, 300);
}

#[test]
fn a_selector_finds_what_is_on_the_disk() {
    let mut world = filled(300);
    let selector = Selector::parse("n in ('290', '10', '150')", Strings::Strict).unwrap();
    subscribe(&mut world, Mode::Consume, Some(selector), 10);
    let taken = taken(&mut world);
    assert_eq!(taken.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [10, 150, 290]);
    taken.iter().for_each(|(_, tag)| settle(&mut world, tag.unwrap()));
    assert!(on_disk(&world) > 200, "{} of 297 are on the disk", on_disk(&world));
    empty(world, 297);
}

/// What cannot be read is left out, and stays in the store.
#[test]
fn a_queue_goes_on_without_what_cannot_be_read() {
    let mut world = filled(100);
    let positions: Vec<QueuePosition> = world.disk.restored().map(|one| one.position).collect();
    world.unreadable.extend([positions[49], positions[99]]);
    subscribe(&mut world, Mode::Consume, None, 1000);
    let taken = taken(&mut world);
    let expected = (1..=99).filter(|id| *id != 50).collect::<Vec<_>>();
    assert_eq!(taken.iter().map(|(id, _)| *id).collect::<Vec<_>>(), expected);
    taken.iter().for_each(|(_, tag)| settle(&mut world, tag.unwrap()));
    assert_eq!(world.shards[0].stats().unreadable, 2);
    assert_eq!(world.disk.count(QUEUE), 2);
    world.apply(0, Event::Gone(connection(1)));
    world.carry_all();
    world.shards[0].assert_empty();
}

#[test]
fn nothing_is_loaded_after_a_restart_before_there_is_a_consumer() {
    let before = filled(500);
    let mut world = World::new(1, limits());
    world.restore(&before.disk);
    world.time_out();
    world.carry_all();
    assert_eq!(world.shards[0].stats().loaded, 0);
    empty(world, 500);
}

/// What is drained is told when what is on the disk was delivered.
#[test]
fn a_drain_waits_for_what_is_loaded() {
    let mut world = filled(100);
    subscribe(&mut world, Mode::Consume, None, 0);
    world.outcomes.clear();
    world.apply(0, Event::Credit(connection(1), ID, Credit::Add(100)));
    assert!(!world.loading().is_empty(), "what is next is on the disk");
    world.apply(0, Event::Command(connection(1), Token(9), Command::Drain(ID), None));
    world.carry_all();
    let outcomes = std::mem::take(&mut world.outcomes);
    let is_drained = |outcome: &Outcome| matches!(outcome, Outcome::Replied(_, Token(9), Ok(_)));
    assert_eq!(outcomes.iter().position(is_drained), Some(100), "behind all deliveries");
}

/// A world with messages in a queue; one with a number of 1 to `count` each.
fn filled(count: u128) -> World {
    let mut world = World::new(1, limits());
    for id in 1..=count {
        let mut parts = Parts::new(Body::Text("a body".into()));
        parts.properties.push("n", id.to_string().as_str());
        let mut message = Message::new(Destination::parse(QUEUE).unwrap(), id, 0, parts);
        message.header.durable = Some(true);
        let command = Command::Publish(Lane::default(), Arc::new(message));
        world.apply(0, Event::Command(connection(0), Token(0), command, None));
        world.carry_all();
    }
    world.apply(0, Event::Gone(connection(0)));
    world.outcomes.clear();
    world
}

fn limits() -> Limits {
    let broker = BrokerLimits { queue_messages_max: 10_000, ..BrokerLimits::default() };
    let connection = ConnectionLimits { prefetch_max: 10_000, ..ConnectionLimits::default() };
    // Some ten messages of a queue.
    Limits { broker, connection, resident_bytes_max: Some(64 * 4_000), ..Limits::default() }
}

fn on_disk(world: &World) -> usize {
    world.shards[0].stats().on_disk
}

fn subscribe(world: &mut World, mode: Mode, selector: Option<Selector>, credit: u32) {
    let pattern = Pattern::parse(QUEUE).unwrap();
    let subscribe = Subscribe {
        mode,
        selector: selector.map(Arc::new),
        settlement: Settlement::Explicit,
        credit: Some(credit),
        ..Subscribe::new(ID, pattern)
    };
    let command = Command::Subscribe(Box::new(subscribe));
    world.apply(0, Event::Command(connection(1), Token(1), command, None));
    world.carry_all();
}

fn credit(world: &mut World, count: u32) {
    world.apply(0, Event::Credit(connection(1), ID, Credit::Add(count)));
    world.carry_all();
}

fn settle(world: &mut World, tag: Tag) {
    let settle = Settle { subscription: ID, tags: tag..=tag, outcome: Settled::Accepted };
    world.apply(0, Event::Settle(connection(1), settle, None));
    world.carry_all();
}

/// What was delivered since.
fn taken(world: &mut World) -> Vec<(u128, Option<Tag>)> {
    let outcomes = std::mem::take(&mut world.outcomes);
    let delivered = outcomes.into_iter().filter_map(|outcome| match outcome {
        Outcome::Delivered(_, delivery) => Some((delivery.message.id, delivery.tag)),
        Outcome::Replied(..) | Outcome::Noticed(..) => None,
    });
    delivered.collect()
}

/// Another consumer takes all that is left.
fn empty(mut world: World, count: usize) {
    world.apply(0, Event::Gone(connection(1)));
    world.outcomes.clear();
    subscribe(&mut world, Mode::Consume, None, 10_000);
    let taken = taken(&mut world);
    assert_eq!(taken.len(), count);
    assert!(taken.is_sorted(), "in order");
    taken.iter().for_each(|(_, tag)| settle(&mut world, tag.unwrap()));
    end(world);
}

fn end(mut world: World) {
    world.apply(0, Event::Gone(connection(1)));
    world.carry_all();
    world.shards[0].assert_empty();
    assert!(world.disk.is_empty());
}

fn connection(slot: u32) -> ConnectionId {
    ConnectionId { core: 0, slot, generation: 1 }
}

const QUEUE: &str = "/queue/q";
const ID: SubscriptionId = SubscriptionId(1);
