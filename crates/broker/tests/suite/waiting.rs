//! What waits for subscriptions to topics is bounded on a core.

use std::sync::Arc;

use broker::{Effect, Event, Shard};
use bytes::Bytes;
use contract::{
    Body, Command, ConnectionId, Credit, Destination, Lane, Message, Now, Pattern, QuotaLimits,
    Settlement, SlowPolicy, Subscribe, SubscriptionId, Token,
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
fn nothing_grows_where_too_much_waits() {
    let mut shard = shard();
    for n in 0..CONNECTIONS {
        let topic = format!("/topic/{n}");
        subscribe(&mut shard, n, &topic);
        (1..4).for_each(|id| publish(&mut shard, &topic, id));
        let bytes = shard.stats().waiting_bytes;
        assert!(bytes <= WAITING_BYTES_MAX, "{bytes} bytes wait");
    }
    // What is newer replaces what has waited longest.
    publish(&mut shard, "/topic/0", 4);
    let mut effects = Vec::new();
    shard.apply(Event::Credit(connection(0), ID, Credit::Add(9)), Now::default(), &mut effects);
    let delivered = effects.iter().filter_map(|effect| {
        let Effect::Deliver(_, delivery) = effect else { return None };
        Some((delivery.message.id, delivery.dropped))
    });
    assert_eq!(delivered.collect::<Vec<_>>(), [(2, 1), (3, 0), (4, 0)]);
    end(shard);
}

fn shard() -> Shard {
    let pool = SharedLedger::new(QuotaLimits::default());
    let shard = Shard::new(0, 1, Arc::default(), Arc::default(), pool);
    shard.with_waiting_bytes_max(WAITING_BYTES_MAX)
}

fn subscribe(shard: &mut Shard, n: u32, topic: &str) {
    let subscribe = Subscribe {
        settlement: Settlement::Explicit,
        credit: Some(0),
        on_slow: SlowPolicy::DropOldest,
        ..Subscribe::new(ID, Pattern::parse(topic).unwrap())
    };
    command(shard, connection(n), Command::Subscribe(Box::new(subscribe)));
}

fn publish(shard: &mut Shard, topic: &str, id: u128) {
    let body = Body::Binary(Bytes::from(vec![0; MESSAGE_BYTES]));
    let message = Message::new(Destination::parse(topic).unwrap(), id, 0, body);
    command(shard, connection(CONNECTIONS), Command::Publish(Lane::default(), Arc::new(message)));
}

fn command(shard: &mut Shard, connection: ConnectionId, command: Command) {
    let event = Event::Command(connection, Token(1), command, None);
    shard.apply(event, Now::default(), &mut Vec::new());
    shard.assert_consistent();
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
