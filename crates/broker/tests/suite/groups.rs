//! What message groups cost.

use std::sync::Arc;

use broker::Event;
use contract::{
    Body, Command, ConnectionId, Destination, Group, Lane, Message, Pattern, Settlement, Subscribe,
    SubscriptionId, Token,
};
use testkit::live_bytes;

use crate::world::{Limits, Outcome, World};

/// It is to fail if the sets of a queue are made of all that is ready when the first message with a group comes.
#[test]
fn the_first_message_with_a_group_costs_as_much_as_any_other() {
    for pages in [false, true] {
        let mut world = world(pages);
        (0..5000).for_each(|id| publish(&mut world, id, None));
        let before = live_bytes();
        publish(&mut world, 5000, Some("a"));
        let taken = live_bytes() - before;
        assert!(taken < 20_000, "{taken} bytes");
        assert_eq!(lookups(&mut world), 0);
        let all: Vec<_> = (0..=5000).collect();
        assert_eq!(subscribe(&mut world, 1), all, "in order");
        assert_eq!(lookups(&mut world), 0, "none was passed");
    }
}

/// It is to fail if `Groups::walk` goes on when the turn is spent, or what is not finished is not gone on with.
#[test]
fn what_has_no_group_is_looked_for_over_many_turns() {
    for pages in [false, true] {
        let mut world = world(pages);
        publish(&mut world, 0, Some("a"));
        assert_eq!(subscribe_for(&mut world, 1, 1), [0]);
        (1..10_000).for_each(|id| publish(&mut world, id, Some("a")));
        publish(&mut world, 10_000, None);
        lookups(&mut world);
        let mut found = subscribe_for(&mut world, 2, 10);
        let (mut turns, mut passed) = (1, lookups(&mut world));
        while found.is_empty() {
            assert!(turns < 100, "never found");
            world.advance(100);
            world.time_out();
            found = delivered(&mut world);
            let spent = lookups(&mut world);
            assert!(spent <= PER_TURN, "{spent} in a turn");
            passed += spent;
            turns += 1;
        }
        assert_eq!(found, [10_000]);
        assert_eq!((passed, turns), (9_999, 10), "each was passed once");
        assert_eq!(subscribe_for(&mut world, 3, 10), [0; 0]);
        assert_eq!(lookups(&mut world), 0, "for all consumers");
    }
}

const PER_TURN: usize = 1000;

/// A world whose messages are in memory, or all on the disk but the first.
fn world(pages: bool) -> World {
    let resident_bytes_max = pages.then_some(64);
    let limits =
        Limits { search_per_turn: Some(PER_TURN), resident_bytes_max, ..Limits::default() };
    let mut world = World::new(1, limits);
    world.is_checked = false;
    world
}

fn publish(world: &mut World, id: u128, group: Option<&str>) {
    let body = Body::Text("a body".into());
    let mut message = Message::new(Destination::parse("/queue/q").unwrap(), id, 0, body);
    message.header.durable = Some(true);
    message.header.group = group.map(|id| Group::new(id, None));
    let command = Command::Publish(Lane::default(), Arc::new(message));
    world.apply(0, Event::Command(connection(9), Token(2), command, None));
    world.carry_all();
    // Each is in a turn of its own.
    world.now.mono_ns += 1;
}

/// A consumer comes; returns what it gets, in as many turns as that takes when some of it is got in each.
fn subscribe(world: &mut World, slot: u32) -> Vec<u128> {
    let mut all = subscribe_for(world, slot, 100_000);
    loop {
        world.advance(100);
        world.time_out();
        let more = delivered(world);
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

fn subscribe_for(world: &mut World, slot: u32, credit: u32) -> Vec<u128> {
    let pattern = Pattern::parse("/queue/q").unwrap();
    let settlement = Settlement::Explicit;
    let id = SubscriptionId(1);
    let subscribe = Subscribe { settlement, credit: Some(credit), ..Subscribe::new(id, pattern) };
    let command = Command::Subscribe(Box::new(subscribe));
    world.apply(0, Event::Command(connection(slot), Token(1), command, None));
    delivered(world)
}

fn delivered(world: &mut World) -> Vec<u128> {
    world.carry_all();
    let outcomes = std::mem::take(&mut world.outcomes).into_iter();
    let delivered = outcomes.filter_map(|outcome| match outcome {
        Outcome::Delivered(_, one) => Some(one.message.id),
        Outcome::Replied(..) | Outcome::Noticed(..) => None,
    });
    delivered.collect()
}

fn lookups(world: &mut World) -> usize {
    world.shards[0].take_lookups()
}

fn connection(slot: u32) -> ConnectionId {
    ConnectionId { core: 0, slot, generation: 1 }
}
