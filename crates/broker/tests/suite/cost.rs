//! What queues say they hold is what they hold.

use std::sync::Arc;

use broker::{Event, Placement};
use bytes::Bytes;
use contract::{
    Body, BrokerLimits, Command, ConnectionId, ConnectionLimits, Credit, Destination,
    DestinationKind, Lane, Message, Operation, Outcome as Settled, Parts, Pattern, QuotaLimits,
    Refusal, Settle, Settlement, Subscribe, SubscriptionId, Tag, Token,
};
use testkit::live_bytes;

use crate::world::{Limits, Outcome, World};

/// Messages of one kind, and how many of them.
type Shape = (&'static str, u64, fn() -> Message);

const SHAPES: [Shape; 9] = [
    ("tiny", 10_000, || message("/queue/q", parts(10))),
    ("that expire", 10_000, || {
        let mut message = message("/queue/q", parts(10));
        message.header.expires_unix_ms = Some(1 << 40);
        message
    }),
    ("with a correlation-id of 15 kB", 1_000, || {
        message("/queue/q", Parts { correlation: Some("x".repeat(15_000).into()), ..parts(10) })
    }),
    ("with many tiny properties", 1_000, || {
        let mut parts = parts(10);
        (0..100).for_each(|_| parts.properties.push("a", "b"));
        message("/queue/q", parts)
    }),
    ("with a reply-to and a content-type", 10_000, || {
        let reply_to = Destination::temporary(DestinationKind::TempQueue, 1);
        let content_type = Some("application/json".into());
        message("/queue/q", Parts { reply_to: Some(reply_to), content_type, ..parts(10) })
    }),
    ("to a long name", 1_000, || message(&format!("/queue/{}", "x".repeat(1000)), parts(10))),
    ("with a body of 1 kB", 10_000, || message("/queue/q", parts(1_000))),
    ("with a body of 1 MB", 50, || message("/queue/q", parts(1_000_000))),
    ("that is not shared", 1_000, || message("/queue/a.b.c.d", parts(0))),
];

#[test]
fn a_queue_counts_what_its_messages_take() {
    for (shape, count, make) in SHAPES {
        let mut world = world(1);
        publish(&mut world, count, make);
        let filled = measured(&mut world, |world| publish(world, count, make));
        check(shape, "ready", filled);
        let queue = make().to;
        // What is taken out and not settled is in the memory of its consumer.
        let before = (live_bytes(), bytes(&world));
        subscribe(&mut world, &queue, 2 * u32::try_from(count).unwrap());
        let taken = (live_bytes() - before.0, bytes(&world) - before.1);
        let all = (filled.0 * 2 + taken.0, filled.1 * 2 + taken.1);
        check(shape, "unsettled", all);
        settle(&mut world, 2 * count, Settled::Rejected);
        let dead = (filled.0 * 2 + live_bytes() - before.0, bytes(&world));
        check(shape, "dead-lettered", dead);
    }
}

#[test]
fn publishers_that_wait_for_room_take_no_more_than_their_bound() {
    for (shape, _, make) in SHAPES {
        let broker = BrokerLimits { queue_messages_max: 1, ..BrokerLimits::default() };
        let limits = Limits { broker, ..Limits::default() };
        let mut world = unchecked(1, limits);
        publish(&mut world, 1, make);
        let before = live_bytes();
        let refused = (0..20_000).position(|n| {
            command(&mut world, Token(n), Command::Publish(Lane::default(), Arc::new(make())));
            let last = world.outcomes.pop();
            matches!(last, Some(Outcome::Replied(_, _, Err(Refusal::Full))))
        });
        let taken = live_bytes() - before;
        assert!(refused.is_some(), "{shape}: no end");
        // The bytes, or the number, and one message that may always wait.
        assert!(taken <= (4 << 20) * 11 / 10 + 1_100_000, "{shape}: {taken} bytes");
        let is_full = taken >= (4 << 20) * 9 / 10 - 1_100_000;
        assert!(is_full || refused == Some(10_000), "{shape}: {taken} bytes, {refused:?}");
    }
}

#[test]
fn transactions_and_what_waits_for_them_are_counted() {
    for (shape, count, make) in SHAPES {
        // At two homes, so that a decision is awaited.
        let (mut world, placement) = (world(2), Placement::new(2));
        let far = ["/queue/a", "/queue/b", "/queue/c", "/queue/d"]
            .map(|name| Destination::parse(name).unwrap())
            .into_iter()
            .find(|name| placement.home(name) != placement.home(&make().to))
            .unwrap();
        let count = count.min(100);
        let before = live_bytes();
        let mut operations: Vec<_> =
            (0..count).map(|_| Operation::Publish(Arc::new(make()))).collect();
        operations.push(Operation::Publish(Arc::new(Message::new(far, 1, 0, parts(10)))));
        command(&mut world, Token(1), Command::Transact(Lane::default(), operations));
        // Both homes prepare, and the votes do not come back.
        while world.carry(0, 1) {}
        let reserved = (live_bytes() - before, bytes(&world));
        check(shape, "reserved", reserved);
        // More of the same connection is deferred: what it has in flight takes no more for that but
        // an entry in a ring, which its session counts with its own.
        let deferred = 3 * count.next_power_of_two() / 2;
        let before = live_bytes();
        for n in 0..deferred {
            command(&mut world, Token(2 + n), Command::Publish(Lane::default(), Arc::new(make())));
        }
        let counted = deferred * (make().cost() as u64 + 64);
        check(shape, "deferred", (live_bytes() - before, counted.try_into().unwrap()));
        assert!(world.outcomes.is_empty(), "{shape}: {:?}", world.outcomes);
    }
}

#[test]
fn what_is_on_its_way_to_another_shard_is_counted() {
    for (shape, count, make) in SHAPES {
        let (mut world, placement) = (world(2), Placement::new(2));
        let home = placement.home(&make().to);
        let client = ConnectionId { core: 1 - home, slot: 0, generation: 0 };
        // Where the list of what is in flight is filled to three quarters.
        let count = 3 * count.next_power_of_two() / 4;
        let before = live_bytes();
        for n in 0..count {
            let publish = Command::Publish(Lane::default(), Arc::new(make()));
            world.apply(client.core, Event::Command(client, Token(n), publish, None));
        }
        let in_flight = world.in_flight_bytes().try_into().unwrap();
        check(shape, "on the way to its queue", (live_bytes() - before, in_flight));
    }
}

/// The bytes that an action took, and those that the queues say they took.
fn measured(world: &mut World, action: impl FnOnce(&mut World)) -> (isize, isize) {
    let before = (live_bytes(), bytes(world));
    action(world);
    (live_bytes() - before.0, bytes(world) - before.1)
}

fn check(shape: &str, state: &str, (taken, counted): (isize, isize)) {
    let shown = format!("{shape}, {state}: {taken} bytes taken, {counted} counted");
    assert!(counted * 10 >= taken * 9 && counted * 10 <= taken * 11, "{shown}");
}

/// What all queues say that they hold.
fn bytes(world: &World) -> isize {
    let depths = world.shards.iter().flat_map(broker::Shard::queues);
    depths.map(|depth| isize::try_from(depth.bytes).unwrap()).sum()
}

fn world(cores: u16) -> World {
    let broker = BrokerLimits {
        queue_messages_max: 1_000_000,
        queue_bytes_max: 1 << 30,
        ..BrokerLimits::default()
    };
    let connection = ConnectionLimits { prefetch_max: 1_000_000, ..ConnectionLimits::default() };
    let quotas = QuotaLimits {
        queued_bytes_max: 1 << 40,
        queued_bytes_max_per_principal: 1 << 40,
        ..QuotaLimits::default()
    };
    unchecked(cores, Limits { broker, connection, quotas, ..Limits::default() })
}

/// Whose counts are checked here, and not after each event.
fn unchecked(cores: u16, limits: Limits) -> World {
    let mut world = World::new(cores, limits);
    world.is_checked = false;
    world
}

fn publish(world: &mut World, count: u64, make: fn() -> Message) {
    for n in 0..count {
        command(world, Token(n), Command::Publish(Lane::default(), Arc::new(make())));
        world.outcomes = Vec::new();
    }
}

fn subscribe(world: &mut World, queue: &Destination, credit: u32) {
    let subscribe = Subscribe {
        settlement: Settlement::Explicit,
        credit: Some(0),
        ..Subscribe::new(ID, Pattern::from(queue.clone()))
    };
    command(world, Token(0), Command::Subscribe(Box::new(subscribe)));
    for _ in 0..credit {
        world.apply(0, Event::Credit(CLIENT, ID, Credit::Add(1)));
        world.outcomes = Vec::new();
    }
}

fn settle(world: &mut World, count: u64, outcome: Settled) {
    for tag in 1..=count {
        world.apply(0, Event::Settle(CLIENT, Settle::one(ID, Tag(tag), outcome), None));
        world.outcomes = Vec::new();
    }
}

fn command(world: &mut World, token: Token, command: Command) {
    world.apply(0, Event::Command(CLIENT, token, command, None));
}

fn message(to: &str, parts: Parts) -> Message {
    Message::new(Destination::parse(to).unwrap(), 1, 0, parts)
}

fn parts(body: usize) -> Parts {
    Parts::new(Body::Binary(Bytes::from(vec![b'x'; body].into_boxed_slice())))
}

const CLIENT: ConnectionId = ConnectionId { core: 0, slot: 0, generation: 0 };
const ID: SubscriptionId = SubscriptionId(1);
