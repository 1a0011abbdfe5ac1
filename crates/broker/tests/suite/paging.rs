//! Durable messages that are in the store only until they are next.

use std::sync::Arc;

use broker::{Event, QueuePosition};
use contract::{
    Body, BrokerLimits, Command, ConnectionId, ConnectionLimits, Credit, Destination, Group, Lane,
    Message, Mode, Outcome as Settled, Parts, Pattern, Precedence, Selector, Settle, Settlement,
    Strings, Subscribe, SubscriptionId, Tag, Token,
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

/// Fails when `Home::leave` does not say that one that waits has left: each is kept then.
#[test]
fn those_that_come_and_go_while_the_disk_is_slow_leave_nothing() {
    let mut world = filled(300);
    world.is_checked = false;
    let come_and_go = |world: &mut World, times| {
        for number in 0..times {
            // What is in memory goes to the first, and the others wait.
            let mode = if number % 2 == 0 { Mode::Browse } else { Mode::Consume };
            let pattern = Pattern::parse(QUEUE).unwrap();
            let subscribe = Subscribe { mode, credit: Some(1000), ..Subscribe::new(ID, pattern) };
            let command = Command::Subscribe(Box::new(subscribe));
            world.apply(0, Event::Command(connection(2), Token(0), command, None));
            world.apply(0, Event::Gone(connection(2)));
            world.outcomes.clear();
        }
    };
    subscribe_with(&mut world, 1, Precedence::default(), 0);
    come_and_go(&mut world, 100);
    let before = testkit::live_bytes();
    come_and_go(&mut world, 2_000);
    let more = testkit::live_bytes() - before;
    assert!(more < 10_000, "{more} bytes");
    world.carry_all();
    empty(world, 300);
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

/// Each consumer has one group of three, and takes it from the disk, past those of the others.
#[test]
fn each_consumer_gets_its_group_in_order_from_the_disk() {
    for is_restarted in [false, true] {
        let mut world = filled_with(900, |id| Some(["a", "b", "c"][id as usize % 3]));
        if is_restarted {
            let before = world;
            world = World::new(1, limits());
            world.restore(&before.disk);
            world.time_out();
        }
        // The first has taken one, and works on it until the others have done.
        (1..=3).for_each(|slot| subscribe_as(&mut world, slot, Mode::Consume, None, 1));
        let mut seen: [Vec<u128>; 3] = Default::default();
        let mut work = Vec::new();
        let mut busy = None;
        loop {
            for (slot, id, tag) in delivered(&mut world) {
                seen[slot as usize - 1].push(id);
                match busy {
                    None if slot == 1 => busy = Some(tag),
                    _ => work.push((slot, tag)),
                }
            }
            let Some((slot, tag)) = work.pop().or_else(|| {
                let others = seen[1].len() + seen[2].len();
                assert!(busy.is_none() || others == 600, "{others} of 600 while one is busy");
                busy.take().map(|tag| (1, tag))
            }) else {
                break;
            };
            settle_as(&mut world, slot, tag);
            world.apply(0, Event::Credit(connection(slot), ID, Credit::Add(1)));
            world.carry_all();
            let on_disk = world.shards[0].stats().on_disk;
            let resident = 900 - seen.iter().map(Vec::len).sum::<usize>() - on_disk;
            assert!(resident <= 100, "{resident} in memory");
        }
        for (taken, remainder) in seen.iter().zip(0..) {
            assert_eq!(taken.len(), 300);
            assert!(taken.is_sorted(), "in order: {taken:?}");
            let group = taken[0] % 3;
            assert!(taken.iter().all(|id| id % 3 == group), "{remainder} has one group: {taken:?}");
        }
        let loaded = world.shards[0].stats().loaded;
        assert!(loaded < 3 * 900, "{loaded} messages are loaded for 900");
        (1..=3).for_each(|slot| world.apply(0, Event::Gone(connection(slot))));
        world.carry_all();
        world.shards[0].assert_empty();
        assert!(world.disk.is_empty());
    }
}

/// A consumer that leaves with messages of its group leaves what of it is on the disk to another, who gets
/// all in order.
#[test]
fn a_group_on_the_disk_goes_on_with_another_consumer() {
    let mut world = filled_with(200, |_| Some("a"));
    subscribe_as(&mut world, 1, Mode::Consume, None, 5);
    subscribe_as(&mut world, 2, Mode::Consume, None, 1000);
    let selector = Selector::parse("n > 100", Strings::Coerced).unwrap();
    subscribe_as(&mut world, 3, Mode::Consume, Some(selector), 1000);
    let first = delivered(&mut world);
    assert_eq!(
        first.iter().map(|(slot, id, _)| (*slot, *id)).collect::<Vec<_>>(),
        [(1, 1), (1, 2), (1, 3), (1, 4), (1, 5)]
    );
    world.apply(0, Event::Gone(connection(1)));
    world.carry_all();
    let taken = delivered(&mut world);
    assert_eq!(
        taken.iter().map(|(_, id, _)| *id).collect::<Vec<_>>(),
        (1..=200).collect::<Vec<_>>()
    );
    assert!(taken.iter().all(|(slot, ..)| *slot == 2), "one has the group");
    taken.iter().for_each(|(slot, _, tag)| settle_as(&mut world, *slot, *tag));
    (2..=3).for_each(|slot| world.apply(0, Event::Gone(connection(slot))));
    world.carry_all();
    world.shards[0].assert_empty();
}

/// While an exclusive consumer waits for the disk, and while it can take no more, nobody else gets anything.
#[test]
fn an_exclusive_consumer_gets_all_that_is_on_the_disk() {
    let mut world = filled(300);
    let one = Precedence { is_exclusive: true, priority: 0 };
    subscribe_with(&mut world, 2, one, 3);
    subscribe_as(&mut world, 1, Mode::Consume, None, 1000);
    let mut seen = Vec::new();
    while let [(2, id, tag), ..] = delivered(&mut world)[..] {
        seen.push(id);
        settle_as(&mut world, 2, tag);
        world.apply(0, Event::Credit(connection(2), ID, Credit::Set(1)));
        world.carry_all();
        if seen.len() == 100 {
            break;
        }
    }
    assert_eq!(seen.len(), 100);
    world.outcomes.clear();
    world.apply(0, Event::Gone(connection(2)));
    world.carry_all();
    let rest = delivered(&mut world);
    assert!(rest.iter().all(|(slot, ..)| *slot == 1) && rest.is_sorted_by_key(|(_, id, _)| *id));
    rest.iter().for_each(|(slot, _, tag)| settle_as(&mut world, *slot, *tag));
    end(world);
}

/// A world with messages in a queue; one with a number of 1 to `count` each.
fn filled(count: u128) -> World {
    filled_with(count, |_| None)
}

/// As [`filled`], with groups.
fn filled_with(count: u128, group: impl Fn(u128) -> Option<&'static str>) -> World {
    let mut world = World::new(1, limits());
    for id in 1..=count {
        let mut parts = Parts::new(Body::Text("a body".into()));
        parts.properties.push("n", id.to_string().as_str());
        let mut message = Message::new(Destination::parse(QUEUE).unwrap(), id, 0, parts);
        message.header.durable = Some(true);
        message.header.group = group(id).map(|id| Group::new(id, None));
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
    subscribe_as(world, 1, mode, selector, credit);
}

fn subscribe_with(world: &mut World, slot: u32, precedence: Precedence, credit: u32) {
    let pattern = Pattern::parse(QUEUE).unwrap();
    let settlement = Settlement::Explicit;
    let credit = Some(credit);
    let subscribe = Subscribe { precedence, settlement, credit, ..Subscribe::new(ID, pattern) };
    let command = Command::Subscribe(Box::new(subscribe));
    world.apply(0, Event::Command(connection(slot), Token(1), command, None));
    world.carry_all();
}

fn subscribe_as(world: &mut World, slot: u32, mode: Mode, selector: Option<Selector>, credit: u32) {
    let pattern = Pattern::parse(QUEUE).unwrap();
    let subscribe = Subscribe {
        mode,
        selector: selector.map(Arc::new),
        settlement: Settlement::Explicit,
        credit: Some(credit),
        ..Subscribe::new(ID, pattern)
    };
    let command = Command::Subscribe(Box::new(subscribe));
    world.apply(0, Event::Command(connection(slot), Token(1), command, None));
    world.carry_all();
}

fn credit(world: &mut World, count: u32) {
    world.apply(0, Event::Credit(connection(1), ID, Credit::Add(count)));
    world.carry_all();
}

fn settle(world: &mut World, tag: Tag) {
    settle_as(world, 1, tag);
}

fn settle_as(world: &mut World, slot: u32, tag: Tag) {
    let settle = Settle { subscription: ID, tags: tag..=tag, outcome: Settled::Accepted };
    world.apply(0, Event::Settle(connection(slot), settle, None));
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

/// The same, with who got it.
fn delivered(world: &mut World) -> Vec<(u32, u128, Tag)> {
    let outcomes = std::mem::take(&mut world.outcomes);
    let delivered = outcomes.into_iter().filter_map(|outcome| match outcome {
        Outcome::Delivered(to, delivery) => {
            Some((to.connection.slot, delivery.message.id, delivery.tag.unwrap()))
        }
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
