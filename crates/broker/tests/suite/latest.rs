//! Subscriptions that want the latest of each key: a publication costs the same however many they are,
//! and what waits for them is kept once.

use std::sync::Arc;

use broker::{Effect, Event, Shard};
use bytes::Bytes;
use contract::{
    Body, Command, ConflationKey, ConnectionId, Credit, Destination, Lane, Message, Now, Pattern,
    QuotaLimits, Refusal, SlowPolicy, Subscribe, SubscriptionId, Token,
};
use testkit::live_bytes;

use crate::world::SharedLedger;

const ID: SubscriptionId = SubscriptionId(1);
const PUBLISHER: u32 = u32::MAX;
const KEYS: u128 = 100;

#[test]
fn a_publication_costs_the_same_however_many_wait() {
    let cost = |subscribers: u32| {
        let mut shard = shard();
        (0..subscribers).for_each(|n| drop(subscribe(&mut shard, n, Some(0))));
        publish_all(&mut shard, 0, 10);
        shard.take_lookups();
        let before = live_bytes();
        publish_all(&mut shard, 10, 20);
        (shard.take_lookups(), live_bytes() - before)
    };
    let (few, many) = (cost(10), cost(1_000));
    assert_eq!(few, many, "look-ups and bytes");
    assert_eq!(few.1, 0, "bytes for newer messages");
}

#[test]
fn what_waits_takes_the_memory_of_its_keys() {
    let taken = |subscribers: u32| {
        let mut shard = shard();
        (0..subscribers).for_each(|n| drop(subscribe(&mut shard, n, Some(0))));
        let before = live_bytes();
        publish_all(&mut shard, 0, 10);
        for n in 0..subscribers {
            let effects = give(&mut shard, n, 1);
            assert_eq!(delivered(&effects).len(), 1);
        }
        (live_bytes() - before, shard.stats().waiting_bytes)
    };
    let (few, many) = (taken(10), taken(1_010));
    assert_eq!(few.1, many.1, "bytes that wait");
    // What it has seen of each key, and that one message is on its way.
    let of_each = (many.0 - few.0) / 1_000;
    assert!(of_each <= 4 * isize::try_from(KEYS).unwrap() + 1_024, "{of_each} bytes of each");
}

#[test]
fn each_gets_the_newest_of_each_key_and_is_told_of_the_others() {
    let mut shard = shard();
    (0..3).for_each(|n| drop(subscribe(&mut shard, n, Some(0))));
    publish_all(&mut shard, 0, 5);
    for n in 0..4 {
        if n == 3 {
            // It was not there before.
            subscribe(&mut shard, n, Some(0));
            assert_eq!(delivered(&give(&mut shard, n, 1_000)), []);
            continue;
        }
        let got = delivered(&give(&mut shard, n, 1_000));
        let newest: Vec<(u128, u32)> = (4 * KEYS..5 * KEYS).map(|id| (id, 4)).collect();
        assert_eq!(got, newest);
    }
    let waiting: usize = shard.slow_subscriptions().map(|slow| slow.waiting).sum();
    assert_eq!(waiting, 0);
    assert_eq!(shard.stats().waiting_bytes, 0, "all have seen it");
    assert_eq!(shard.stats().topic_conflated, 3 * 4 * 100);
    end(shard, 4);
}

#[test]
fn those_that_have_seen_all_are_woken() {
    let mut shard = shard();
    (0..100).for_each(|n| drop(subscribe(&mut shard, n, None)));
    for id in 0..10 {
        let effects = publish(&mut shard, id);
        assert_eq!(delivered(&effects), vec![(id, 0); 100]);
        for n in 0..100 {
            shard.apply(Event::Written(connection(n), 1), Now::default(), &mut Vec::new());
        }
    }
    end(shard, 100);
}

#[test]
fn a_turn_hands_over_no_more_than_it_may_and_all_have_their_turn() {
    let mut shard = shard().with_latest_per_turn(10);
    (0..25).for_each(|n| drop(subscribe(&mut shard, n, None)));
    let mut got = deliveries_of(&publish(&mut shard, 0));
    let first = u32::try_from(got.len()).unwrap();
    // The size of messages counts, too.
    assert!((1..=10).contains(&first), "{first}");
    assert!(shard.is_turn_used() && shard.has_deferred());
    assert_eq!(deliveries_of(&publish(&mut shard, KEYS)), [], "the turn is over");
    // One that has its turn later gets what is newest then; one that leaves has none.
    shard.apply(Event::Gone(connection(24)), Now::default(), &mut Vec::new());
    while shard.has_deferred() {
        let mut effects = Vec::new();
        shard.apply(Event::Turn, Now::default(), &mut effects);
        shard.assert_consistent();
        let turn = deliveries_of(&effects);
        assert!(turn.len() <= 10);
        got.extend(turn);
    }
    for n in 0..24 {
        let ids: Vec<u128> = got.iter().filter(|one| one.0 == n).map(|one| one.1).collect();
        let expected: &[u128] = if n < first { &[0, KEYS] } else { &[KEYS] };
        assert_eq!(ids, expected, "{n}");
    }
    end(shard, 24);
}

#[test]
fn the_memory_of_keys_is_bounded() {
    // Places may take half of it.
    let mut shard = shard().with_waiting_bytes_max(200_000);
    subscribe(&mut shard, 0, Some(0));
    publish_all(&mut shard, 0, 1);
    let subscribed = (1..1_000).take_while(|&n| {
        let effects = subscribe(&mut shard, n, Some(0));
        !matches!(effects[..], [Effect::Reply(_, _, Err(Refusal::Limit))])
    });
    let subscribed = 1 + u32::try_from(subscribed.count()).unwrap();
    assert!((100..300).contains(&subscribed), "{subscribed}");
    // More keys take the places of others.
    let before = live_bytes();
    for key in KEYS..1_000 {
        publish_to(&mut shard, key, &format!("/topic/p.{key}"));
    }
    assert!(live_bytes() - before < 10_000);
    let got = delivered(&give(&mut shard, 0, 1_000));
    let missed: u32 = got.iter().map(|one| one.1).sum();
    assert_eq!(got.len() + missed as usize, 1_000);
    // With the one that was refused.
    end(shard, subscribed + 1);
}

fn shard() -> Shard {
    let pool = SharedLedger::new(QuotaLimits::default());
    Shard::new(0, 1, Arc::default(), Arc::default(), pool)
}

fn subscribe(shard: &mut Shard, n: u32, credit: Option<u32>) -> Vec<Effect> {
    let pattern = Pattern::parse("/topic/p.*").unwrap();
    let on_slow = SlowPolicy::Latest(ConflationKey::Destination);
    let subscribe = Subscribe { on_slow, credit, ..Subscribe::new(ID, pattern) };
    command(shard, n, Command::Subscribe(Box::new(subscribe)))
}

/// Publishes all keys in turn, in these rounds.
fn publish_all(shard: &mut Shard, from: u128, to: u128) {
    for id in from * KEYS..to * KEYS {
        publish(shard, id);
    }
    shard.assert_consistent();
}

fn publish(shard: &mut Shard, id: u128) -> Vec<Effect> {
    publish_to(shard, id, &format!("/topic/p.{}", id % KEYS))
}

fn publish_to(shard: &mut Shard, id: u128, to: &str) -> Vec<Effect> {
    let body = Body::Binary(Bytes::from_static(&[0; 100]));
    let message = Arc::new(Message::new(Destination::parse(to).unwrap(), id, 0, body));
    command(shard, PUBLISHER, Command::Publish(Lane::default(), message))
}

/// Gives credit, and writes what comes of it until nothing more does.
fn give(shard: &mut Shard, n: u32, credit: u32) -> Vec<Effect> {
    let mut all = Vec::new();
    let mut effects = Vec::new();
    let event = Event::Credit(connection(n), ID, Credit::Add(credit));
    shard.apply(event, Now::default(), &mut effects);
    while !effects.is_empty() {
        let count = effects.len();
        all.append(&mut effects);
        // What is written is no credit here.
        if credit > 1 {
            shard.apply(Event::Written(connection(n), count), Now::default(), &mut effects);
        }
    }
    shard.assert_consistent();
    all
}

/// The ids that were delivered, and how many were dropped before each.
fn delivered(effects: &[Effect]) -> Vec<(u128, u32)> {
    let deliveries = effects.iter().filter_map(|effect| {
        let Effect::Deliver(_, delivery) = effect else { return None };
        Some((delivery.message.id, delivery.dropped))
    });
    deliveries.collect()
}

/// To whom which ids were delivered.
fn deliveries_of(effects: &[Effect]) -> Vec<(u32, u128)> {
    let deliveries = effects.iter().filter_map(|effect| {
        let Effect::Deliver(subscriber, delivery) = effect else { return None };
        Some((subscriber.connection.slot, delivery.message.id))
    });
    deliveries.collect()
}

fn command(shard: &mut Shard, n: u32, command: Command) -> Vec<Effect> {
    let mut effects = Vec::new();
    shard.apply(
        Event::Command(connection(n), Token(1), command, None),
        Now::default(),
        &mut effects,
    );
    effects
}

fn end(mut shard: Shard, subscribers: u32) {
    for n in (0..subscribers).chain([PUBLISHER]) {
        shard.apply(Event::Gone(connection(n)), Now::default(), &mut Vec::new());
        shard.assert_consistent();
    }
    shard.assert_empty();
}

const fn connection(n: u32) -> ConnectionId {
    ConnectionId { core: 0, slot: n, generation: 1 }
}
