//! What waits for subscriptions to topics is bounded on a core.

use std::{collections::BTreeSet, sync::Arc};

use broker::{Effect, Event, Shard, Shed, Subscriber};
use bytes::Bytes;
use contract::{
    Body, Command, ConflationKey, ConnectionId, Credit, Destination, Lane, Message, Notice, Now,
    Pattern, QuotaLimits, Refusal, Reply, Settlement, SlowPolicy, Subscribe, SubscriptionId, Token,
};

use crate::world::SharedLedger;

const ID: SubscriptionId = SubscriptionId(1);
const CONNECTIONS: u32 = 100;
const MESSAGE_BYTES: usize = 1_000;
const WAITING_BYTES_MAX: usize = 10_000;

#[test]
fn a_message_that_waits_for_many_counts_once() {
    let mut shard = shard();
    (0..CONNECTIONS).for_each(|n| subscribe(&mut shard, n, "/topic/all"));
    publish(&mut shard, "/topic/all", 1);
    let bytes = shard.stats().waiting_bytes;
    assert!((MESSAGE_BYTES..2 * MESSAGE_BYTES).contains(&bytes), "{bytes} bytes wait");
    end(shard);
}

#[test]
fn a_message_that_matches_many_patterns_counts_once() {
    let mut shard = shard();
    for (n, pattern) in (0..).zip(["/topic/a.b", "/topic/a.*", "/topic/*.b", "/topic/>"]) {
        subscribe(&mut shard, n, pattern);
    }
    publish(&mut shard, "/topic/a.b", 1);
    let bytes = shard.stats().waiting_bytes;
    assert!((MESSAGE_BYTES..2 * MESSAGE_BYTES).contains(&bytes), "{bytes} bytes wait");
    end(shard);
}

#[test]
fn what_waits_on_a_core_is_bounded() {
    let mut shard = shard();
    for n in 0..CONNECTIONS {
        let topic = format!("/topic/{n}");
        subscribe(&mut shard, n, &topic);
        (1..4).for_each(|id| drop(publish(&mut shard, &topic, id)));
        let bytes = shard.stats().waiting_bytes;
        assert!(bytes <= WAITING_BYTES_MAX, "{bytes} bytes wait");
    }
    // All are told of what they have lost, and what is newer has replaced what has waited longest.
    for n in 0..CONNECTIONS {
        let delivered = take(&mut shard, n);
        let dropped: u32 = delivered.iter().map(|&(_, dropped)| dropped).sum();
        let ids: Vec<u128> = delivered.iter().map(|&(id, _)| id).collect();
        assert!(ids.is_empty() || ids == [3], "{ids:?}");
        assert_eq!(delivered.len() + dropped as usize, 3 * ids.len());
    }
    end(shard);
}

#[test]
fn those_with_the_most_waiting_make_room() {
    for on_slow in [SlowPolicy::DropOldest, SlowPolicy::Latest(ConflationKey::Destination)] {
        let mut shard = shard();
        for n in 0..2 {
            subscribe(&mut shard, n, &format!("/topic/{n}.*"));
            (1..20).for_each(|id| drop(publish(&mut shard, &format!("/topic/{n}.{id}"), id)));
        }
        assert_eq!(shard.take_shed(|| false), None);
        let shed = shard.take_shed(|| true).expect("more than may wait");
        assert_eq!((shed.from.connection.slot, shed.ended), (1, 0));
        assert_eq!(shed.dropped, shard.stats().topic_dropped);
        assert_eq!(shard.take_shed(|| true), None);
        for n in 2..4 {
            let pattern = Pattern::parse(&format!("/topic/{n}")).unwrap();
            let on_slow = if n == 2 { SlowPolicy::Close } else { on_slow.clone() };
            subscribe_as(&mut shard, n, Subscribe { on_slow, ..Subscribe::new(ID, pattern) });
            publish(&mut shard, &format!("/topic/{n}"), 1);
            let shed = shard.take_shed(|| true);
            assert!(shed.is_some_and(|shed| shed.from.connection.slot < 2), "{shed:?}");
        }
        for n in 2..4 {
            assert_eq!(take(&mut shard, n), [(1, 0)], "what another one lost");
        }
        for n in 0..2 {
            let delivered = take(&mut shard, n);
            assert!(delivered.len() > 1, "{delivered:?} of what may wait");
            let dropped: u32 = delivered.iter().map(|&(_, dropped)| dropped).sum();
            assert_eq!(delivered.len() + dropped as usize, 19);
        }
        end(shard);
    }
}

#[test]
fn one_with_the_most_waiting_ends_where_nothing_is_dropped() {
    let mut shard = shard();
    for n in 0..2 {
        let pattern = Pattern::parse(&format!("/topic/{n}")).unwrap();
        subscribe_as(&mut shard, n, Subscribe::new(ID, pattern));
    }
    publish(&mut shard, "/topic/0", 1);
    let mut effects = Vec::new();
    for id in 1.. {
        effects = publish(&mut shard, "/topic/1", id);
        if effects.iter().any(|effect| matches!(effect, Effect::Notice(..))) {
            break;
        }
        assert!(id < 10, "nothing ends");
    }
    let notices = effects.iter().filter_map(|effect| {
        let Effect::Notice(connection, notice) = effect else { return None };
        Some((connection.slot, notice))
    });
    let slow = Notice::Cancelled(ID, Refusal::SlowCore);
    assert_eq!(notices.collect::<Vec<_>>(), [(1, &slow)]);
    let from = Subscriber { connection: connection(1), subscription: ID };
    assert_eq!(shard.take_shed(|| true), Some(Shed { from, dropped: 0, ended: 1 }));
    assert_eq!(take(&mut shard, 0), [(1, 0)]);
    end(shard);
}

/// Of what waits for many, each has its part.
#[test]
fn those_that_share_what_waits_are_not_those_with_the_most() {
    const MANY: u32 = 50;
    let mut shard = shard();
    (0..MANY).for_each(|n| subscribe_to_end(&mut shard, n, "/topic/all"));
    (1..6).for_each(|id| drop(publish(&mut shard, "/topic/all", id)));
    (MANY..MANY + 2).for_each(|n| subscribe_to_end(&mut shard, n, &format!("/topic/{n}")));
    let mut ended = Vec::new();
    for id in 1..10 {
        for n in MANY..MANY + 2 {
            ended.extend(cancelled(&publish(&mut shard, &format!("/topic/{n}"), id)));
        }
    }
    assert!(!ended.is_empty() && ended.iter().all(|&n| n >= MANY), "{ended:?}");
    for n in 0..MANY {
        assert_eq!(take(&mut shard, n).len(), 5);
    }
    end(shard);
}

/// One that others have left alone with what waited for them all has the most.
#[test]
fn a_part_grows_when_others_let_go() {
    const MANY: u32 = 50;
    let mut shard = shard();
    (0..MANY).for_each(|n| subscribe(&mut shard, n, "/topic/all"));
    (1..6).for_each(|id| drop(publish(&mut shard, "/topic/all", id)));
    for n in MANY..MANY + 5 {
        subscribe(&mut shard, n, &format!("/topic/{n}"));
        publish(&mut shard, &format!("/topic/{n}"), 1);
    }
    assert_eq!(shard.take_shed(|| true).map(|shed| shed.from.connection.slot >= MANY), Some(true));
    for n in 1..MANY {
        assert_eq!(take(&mut shard, n).len(), 5);
    }
    let later = Now { mono_ns: 1_000_000_000, ..Now::default() };
    let message = message("/topic/50", 2, MESSAGE_BYTES);
    let publish = Command::Publish(Lane::default(), message);
    let event = Event::Command(connection(CONNECTIONS), Token(1), publish, None);
    shard.apply(event, later, &mut Vec::new());
    assert_eq!(shard.take_shed(|| true).map(|shed| shed.from.connection.slot), Some(0));
    end(shard);
}

/// Where all share with others, those end that free something together.
#[test]
fn no_more_end_than_free_what_is_too_much() {
    const GROUPS: u32 = 4;
    const EACH: u32 = 3;
    let mut shard = shard();
    for n in 0..GROUPS * EACH {
        subscribe_to_end(&mut shard, n, &format!("/topic/{}", n % GROUPS));
    }
    let overhead = message("/topic/0", 1, 0).cost();
    let bytes = WAITING_BYTES_MAX / 2 / GROUPS as usize - overhead - 20;
    for group in 0..GROUPS {
        for id in 1..3 {
            let effects = publish_sized(&mut shard, &format!("/topic/{group}"), id, bytes);
            assert!(cancelled(&effects).is_empty(), "{effects:?}");
        }
    }
    subscribe_to_end(&mut shard, GROUPS * EACH, "/topic/small");
    let ended = cancelled(&publish_sized(&mut shard, "/topic/small", 1, 0));
    let groups: BTreeSet<u32> = ended.iter().map(|n| n % GROUPS).collect();
    assert_eq!((ended.len(), groups.len()), (EACH as usize, 1), "{ended:?}");
    assert!(!ended.contains(&(GROUPS * EACH)));
    end(shard);
}

#[test]
fn a_connection_with_many_subscriptions_has_no_larger_share() {
    let mut shard = shard();
    for id in 0..100 {
        let pattern = Pattern::parse(&format!("/topic/many.{id}")).unwrap();
        let subscribe = Subscribe::new(SubscriptionId(id), pattern);
        subscribe_as(&mut shard, 0, Subscribe { on_slow: SlowPolicy::DropOldest, ..subscribe });
    }
    subscribe(&mut shard, 1, "/topic/one");
    for id in 1..4 {
        publish(&mut shard, "/topic/one", id);
        (0..100).for_each(|n| drop(publish(&mut shard, &format!("/topic/many.{n}"), 100)));
    }
    assert_eq!(take(&mut shard, 1), [(1, 0), (2, 0), (3, 0)]);
    end(shard);
}

#[test]
fn the_subscription_with_the_most_of_a_connection_makes_room() {
    let mut shard = shard();
    for id in [1, 2] {
        let pattern = Pattern::parse(&format!("/topic/{id}")).unwrap();
        let subscribe = Subscribe::new(SubscriptionId(id), pattern);
        subscribe_as(&mut shard, 0, Subscribe { on_slow: SlowPolicy::DropOldest, ..subscribe });
    }
    publish(&mut shard, "/topic/1", 1);
    (1..20).for_each(|id| drop(publish(&mut shard, "/topic/2", id)));
    assert_eq!(take(&mut shard, 0), [(1, 0)]);
    end(shard);
}

#[test]
fn what_is_larger_than_all_that_may_wait_takes_nothing_from_others() {
    let mut shard = shard();
    subscribe(&mut shard, 0, "/topic/0");
    (1..4).for_each(|id| drop(publish(&mut shard, "/topic/0", id)));
    for n in 1..4 {
        subscribe(&mut shard, n, "/topic/large");
    }
    publish_sized(&mut shard, "/topic/large", 1, 2 * WAITING_BYTES_MAX);
    assert_eq!(take(&mut shard, 0), [(1, 0), (2, 0), (3, 0)]);
    publish(&mut shard, "/topic/large", 2);
    assert_eq!(take(&mut shard, 1), [(2, 1)]);
    end(shard);
}

#[test]
fn a_drain_ends_when_what_it_waits_for_is_dropped() {
    let mut shard = shard();
    subscribe(&mut shard, 0, "/topic/0");
    shard.apply(Event::Credit(connection(0), ID, Credit::Add(5)), Now::default(), &mut Vec::new());
    // Of what may be unwritten, the first takes all.
    publish_sized(&mut shard, "/topic/0", 1, 20_000);
    publish(&mut shard, "/topic/0", 2);
    let effects = command(&mut shard, connection(0), Command::Drain(ID));
    assert!(effects.is_empty(), "{effects:?}");
    subscribe(&mut shard, 1, "/topic/1");
    let mut effects = publish_sized(&mut shard, "/topic/0", 3, WAITING_BYTES_MAX);
    effects
        .retain(|effect| matches!(effect, Effect::Reply(connection, ..) if connection.slot == 0));
    assert!(matches!(effects[..], [Effect::Reply(_, _, Ok(Reply::Drained))]), "{effects:?}");
    end(shard);
}

fn shard() -> Shard {
    let pool = SharedLedger::new(QuotaLimits::default());
    let shard = Shard::new(0, 1, Arc::default(), Arc::default(), pool);
    shard.with_waiting_bytes_max(WAITING_BYTES_MAX)
}

fn subscribe(shard: &mut Shard, n: u32, topic: &str) {
    let subscribe = Subscribe::new(ID, Pattern::parse(topic).unwrap());
    subscribe_as(shard, n, Subscribe { on_slow: SlowPolicy::DropOldest, ..subscribe });
}

/// As [`subscribe`], to end where too much waits.
fn subscribe_to_end(shard: &mut Shard, n: u32, topic: &str) {
    subscribe_as(shard, n, Subscribe::new(ID, Pattern::parse(topic).unwrap()));
}

/// The connections whose subscriptions end.
fn cancelled(effects: &[Effect]) -> Vec<u32> {
    let cancelled = effects.iter().filter_map(|effect| {
        let Effect::Notice(connection, Notice::Cancelled(..)) = effect else { return None };
        Some(connection.slot)
    });
    cancelled.collect()
}

/// Subscribes without credit.
fn subscribe_as(shard: &mut Shard, n: u32, subscribe: Subscribe) {
    let (settlement, credit) = (Settlement::Explicit, Some(0));
    let subscribe = Subscribe { settlement, credit, ..subscribe };
    command(shard, connection(n), Command::Subscribe(Box::new(subscribe)));
}

fn publish(shard: &mut Shard, topic: &str, id: u128) -> Vec<Effect> {
    publish_sized(shard, topic, id, MESSAGE_BYTES)
}

fn publish_sized(shard: &mut Shard, topic: &str, id: u128, bytes: usize) -> Vec<Effect> {
    let publish = Command::Publish(Lane::default(), message(topic, id, bytes));
    command(shard, connection(CONNECTIONS), publish)
}

fn message(topic: &str, id: u128, bytes: usize) -> Arc<Message> {
    let body = Body::Binary(Bytes::from(vec![0; bytes]));
    Arc::new(Message::new(Destination::parse(topic).unwrap(), id, 0, body))
}

/// What a connection gets when it has credit for its subscription: ids, and how many were dropped
/// before each.
fn take(shard: &mut Shard, n: u32) -> Vec<(u128, u32)> {
    let mut effects = Vec::new();
    shard.apply(Event::Credit(connection(n), ID, Credit::Add(99)), Now::default(), &mut effects);
    shard.assert_consistent();
    let delivered = effects.iter().filter_map(|effect| {
        let Effect::Deliver(_, delivery) = effect else { return None };
        Some((delivery.message.id, delivery.dropped))
    });
    delivered.collect()
}

fn command(shard: &mut Shard, connection: ConnectionId, command: Command) -> Vec<Effect> {
    let mut effects = Vec::new();
    shard.apply(Event::Command(connection, Token(1), command, None), Now::default(), &mut effects);
    shard.assert_consistent();
    effects
}

fn end(mut shard: Shard) {
    for n in 0..=CONNECTIONS {
        shard.apply(Event::Gone(connection(n)), Now::default(), &mut Vec::new());
    }
    shard.assert_empty();
}

const fn connection(n: u32) -> ConnectionId {
    ConnectionId { core: 0, slot: n, generation: 1 }
}
