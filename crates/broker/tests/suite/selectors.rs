//! What a search by selectors costs: each turn looks at a bounded number of messages, and each message is
//! looked at once.

use std::sync::Arc;

use broker::Event;
use contract::{
    Body, BrokerLimits, Command, ConnectionId, ConnectionLimits, Credit, Destination, Lane,
    Message, Mode, Outcome as Settled, Parts, Pattern, Refusal, Reply, Selector, Settle,
    Settlement, Strings, Subscribe, SubscriptionId, Tag, Token,
};

use crate::world::{Limits, Outcome, World};

#[test]
fn a_search_goes_on_until_all_was_looked_at_once() {
    for is_browse in [false, true] {
        let mut world = world();
        publish(&mut world, MESSAGES, "other");
        publish(&mut world, 1, "wanted");
        world.shards[0].take_lookups();
        subscribe(&mut world, is_browse, 5);
        command(&mut world, Command::Drain(ID));
        let mut all = 0;
        let mut steps = 0;
        while world.outcomes.len() < 3 {
            all += spent(&mut world, STEP_MAX);
            steps += 1;
            assert!(steps < 1000, "{:?}", world.outcomes);
            world.advance(100);
            world.time_out();
        }
        all += spent(&mut world, STEP_MAX);
        assert!(steps > 1, "{steps} steps of a bounded cost");
        assert_eq!(all, (MESSAGES + 1) * COST, "each was looked at once");
        assert!(matches!(
            &world.outcomes[..],
            [
                Outcome::Replied(_, _, Ok(Reply::Done)),
                Outcome::Delivered(..),
                Outcome::Replied(_, _, Ok(Reply::Drained)),
            ]
        ));
    }
}

#[test]
fn what_returns_is_looked_at_once_more() {
    let mut world = world();
    subscribe(&mut world, false, 1);
    publish(&mut world, 1, "wanted");
    publish(&mut world, 1000, "other");
    world.apply(0, Event::Credit(CLIENT, ID, Credit::Set(1)));
    world.carry_all();
    world.shards[0].take_lookups();
    for _ in 0..5 {
        let tag = last_tag(&mut world);
        world.apply(0, Event::Settle(CLIENT, Settle::one(ID, tag, Settled::Released), None));
        world.apply(0, Event::Credit(CLIENT, ID, Credit::Set(1)));
        world.carry_all();
        assert_eq!(spent(&mut world, STEP_MAX), COST, "of the 1,000 behind it none");
    }
    world.apply(0, Event::Credit(CLIENT, ID, Credit::Set(0)));
    publish(&mut world, 1, "wanted");
    assert_eq!(spent(&mut world, STEP_MAX), 0, "there is no credit");
}

/// A consumer that has missed too many begins again, and gets them all.
#[test]
fn more_than_is_remembered_returns() {
    let mut world = world();
    subscribe(&mut world, false, 5000);
    publish(&mut world, 3000, "wanted");
    publish(&mut world, 10, "other");
    let tags = tags(&mut world);
    assert_eq!(tags.len(), 3000);
    world.apply(0, Event::Credit(CLIENT, ID, Credit::Set(0)));
    let all = Settle { subscription: ID, tags: tags[0]..=tags[2999], outcome: Settled::Released };
    world.apply(0, Event::Settle(CLIENT, all, None));
    world.apply(0, Event::Credit(CLIENT, ID, Credit::Set(5000)));
    world.carry_all();
    for _ in 0..20 {
        world.advance(100);
        world.time_out();
    }
    let again = ids(&mut world);
    assert_eq!(again, (0..3000).collect::<Vec<_>>(), "in their order");
}

#[test]
fn selectors_count_as_names() {
    let mut world = world();
    let text = format!("key = '{}'", "x".repeat(200));
    let count = (0..1000)
        .take_while(|id| {
            let id = SubscriptionId(*id);
            let selector = Some(Arc::new(Selector::parse(&text, Strings::Strict).unwrap()));
            let pattern = Pattern::parse("/queue/q").unwrap();
            let subscribe = Subscribe { selector, credit: Some(0), ..Subscribe::new(id, pattern) };
            command(&mut world, Command::Subscribe(Box::new(subscribe)));
            !matches!(
                world.outcomes.last(),
                Some(Outcome::Replied(_, _, Err(Refusal::PatternBytes)))
            )
        })
        .count();
    let limit = ConnectionLimits::default().pattern_bytes_max;
    assert!((limit / 1000..limit / 200).contains(&count), "{count} subscriptions");
}

fn world() -> World {
    let broker = BrokerLimits { queue_messages_max: 1 << 20, ..BrokerLimits::default() };
    let connection = ConnectionLimits { prefetch_max: 10_000, ..ConnectionLimits::default() };
    let mut world = World::new(1, Limits { broker, connection, ..Limits::default() });
    world.is_checked = false;
    world
}

/// What was spent since the last time, which is to be bounded.
fn spent(world: &mut World, max: usize) -> usize {
    let spent = world.shards[0].take_lookups();
    assert!(spent <= max, "{spent} at once");
    spent
}

fn publish(world: &mut World, count: usize, key: &str) {
    for n in 0..count {
        let mut parts = Parts::new(Body::Text("x".into()));
        parts.properties.push("key", key);
        let to = Destination::parse("/queue/q").unwrap();
        let message = Message::new(to, n as u128, 0, parts);
        let command = Command::Publish(Lane::default(), Arc::new(message));
        world.apply(0, Event::Command(PRODUCER, Token(0), command, None));
        world.carry_all();
    }
    world.outcomes.retain(|outcome| !matches!(outcome, Outcome::Replied(PRODUCER, ..)));
}

fn subscribe(world: &mut World, is_browse: bool, credit: u32) {
    let selector = Selector::parse("key = 'wanted'", Strings::Strict).unwrap();
    assert_eq!(1 + selector.cost(), COST);
    let pattern = Pattern::parse("/queue/q").unwrap();
    let subscribe = Subscribe {
        mode: if is_browse { Mode::Browse } else { Mode::Consume },
        settlement: if is_browse { Settlement::Automatic } else { Settlement::Explicit },
        credit: Some(credit),
        selector: Some(Arc::new(selector)),
        ..Subscribe::new(ID, pattern)
    };
    command(world, Command::Subscribe(Box::new(subscribe)));
}

fn command(world: &mut World, command: Command) {
    world.apply(0, Event::Command(CLIENT, Token(0), command, None));
    world.carry_all();
}

fn last_tag(world: &mut World) -> Tag {
    *tags(world).last().unwrap()
}

fn tags(world: &mut World) -> Vec<Tag> {
    deliveries(world).into_iter().filter_map(|(_, tag)| tag).collect()
}

fn ids(world: &mut World) -> Vec<u128> {
    deliveries(world).into_iter().map(|(id, _)| id).collect()
}

fn deliveries(world: &mut World) -> Vec<(u128, Option<Tag>)> {
    let delivered = world.outcomes.drain(..).filter_map(|outcome| match outcome {
        Outcome::Delivered(_, delivery) => Some((delivery.message.id, delivery.tag)),
        Outcome::Replied(..) | Outcome::Noticed(..) => None,
    });
    delivered.collect()
}

const CLIENT: ConnectionId = ConnectionId { core: 0, slot: 0, generation: 0 };
const PRODUCER: ConnectionId = ConnectionId { core: 0, slot: 1, generation: 0 };
const ID: SubscriptionId = SubscriptionId(1);

const MESSAGES: usize = 150_000;
/// Of the selector, for one message.
const COST: usize = 4;
/// What a turn may spend.
const STEP_MAX: usize = (256 << 10) + COST;

#[test]
fn equal_selectors_of_topics_are_evaluated_once_for_a_publication() {
    let spent = |subscriptions: u32, selectors: &[&str]| {
        let mut world = world();
        for n in 0..subscriptions {
            let text = selectors[n as usize % selectors.len()];
            subscribe_to_topic(&mut world, n, text);
        }
        world.outcomes.clear();
        world.shards[0].take_lookups();
        publish_to_topic(&mut world, "other");
        let spent = world.shards[0].take_lookups();
        assert_eq!(world.outcomes.len(), 1, "{:?}", world.outcomes);
        spent
    };
    assert_eq!(spent(1, &["key = 'wanted'"]), spent(1000, &["key = 'wanted'"]));
    let few = spent(2, &["key = 'wanted'", "key = 'x'"]);
    assert_eq!(few, 2 * spent(1, &["key = 'wanted'"]));
}

#[test]
fn what_selectors_of_topics_cost_is_bounded_by_the_turn() {
    let mut world =
        World::new(1, Limits { selection_per_turn: Some(100 * COST), ..Limits::default() });
    world.is_checked = false;
    for n in 0..1000 {
        subscribe_to_topic(&mut world, n, &format!("key = '{n}'"));
    }
    world.outcomes.clear();
    world.shards[0].take_lookups();
    for n in 0..3 {
        publish_to_topic(&mut world, &format!("{n}"));
    }
    let mut turns = 0;
    while world.shards[0].has_deferred() {
        assert!(world.shards[0].take_lookups() <= 100 * (COST + 17), "in a turn");
        world.apply(0, Event::Turn);
        turns += 1;
    }
    assert_eq!(turns, 29, "and what was done at once");
    let delivered: Vec<u32> = world
        .outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Outcome::Delivered(subscriber, _) => Some(subscriber.connection.slot),
            Outcome::Replied(..) | Outcome::Noticed(..) => None,
        })
        .collect();
    assert_eq!(delivered, [10, 11, 12], "each has what it selects");
    assert_eq!(world.shards[0].stats().waiting_bytes, 0);
}

fn subscribe_to_topic(world: &mut World, n: u32, text: &str) {
    let connection = ConnectionId { slot: 10 + n, ..CLIENT };
    let selector = Selector::parse(text, Strings::Strict).unwrap();
    let subscribe = Subscribe {
        selector: Some(Arc::new(selector)),
        ..Subscribe::new(ID, Pattern::parse("/topic/t").unwrap())
    };
    let command = Command::Subscribe(Box::new(subscribe));
    world.apply(0, Event::Command(connection, Token(1), command, None));
}

fn publish_to_topic(world: &mut World, key: &str) {
    let mut parts = Parts::new(Body::Text("x".into()));
    parts.properties.push("key", key);
    let to = Destination::parse("/topic/t").unwrap();
    let publish = Command::Publish(Lane(0), Arc::new(Message::new(to, 7, 0, parts)));
    world.apply(0, Event::Command(CLIENT, Token(0), publish, None));
}
