//! What the broker holds: bounded while it is flooded, nothing when all is over.

use std::sync::Arc;

use broker::{Effect, Event, Placement, Shard};
use bytes::Bytes;
use contract::{
    Body, BrokerLimits, Command, ConnectionId, Credit, Declare, Destination, DestinationKind,
    Ending, Lane, Message, Now, Outcome as Settled, Pattern, QuotaLimits, Refusal, Settle,
    Settlement, Subscribe, SubscriptionId, Token,
};
use testkit::live_bytes;

use crate::world::{Limits, Outcome, SharedLedger, World};

#[test]
fn a_publication_to_many_allocates_nothing_for_each() {
    let pool = SharedLedger::new(QuotaLimits::default());
    let mut shard = Shard::new(0, 1, Arc::default(), Arc::default(), pool);
    let mut effects = Vec::new();
    for slot in 0..10_000 {
        let connection = ConnectionId { core: 0, slot, generation: 0 };
        let event = Event::Command(connection, Token(1), subscribe(1, "/topic/a"), None);
        shard.apply(event, Now::default(), &mut effects);
    }
    effects.clear();
    let publisher = ConnectionId { core: 0, slot: 10_000, generation: 0 };
    let mut publish = || {
        let event = Event::Command(publisher, Token(1), publish("/topic/a", 10), None);
        let before = live_bytes();
        shard.apply(event, Now::default(), &mut effects);
        let taken = live_bytes() - before;
        let Some(Effect::Fanout(subscribers, _)) = effects.first() else { panic!("{effects:?}") };
        assert_eq!(subscribers.len(), 10_000);
        effects.clear();
        taken
    };
    publish();
    assert_eq!(publish(), 0);
}

#[test]
fn a_life_leaves_nothing_behind() {
    for cores in [1, 3] {
        let mut world = World::new(cores, Limits::default());
        let mut live = |lives: u32| {
            for slot in 0..lives {
                life(&mut world, ConnectionId { core: 0, slot, generation: 0 });
            }
            live_bytes()
        };
        let warm = live(10);
        assert_eq!(live(100), warm, "on {cores} cores");
    }
}

#[test]
fn a_queue_at_work_holds_no_more_with_time() {
    let mut world = World::new(1, Limits::default());
    let connection = ConnectionId { core: 0, slot: 0, generation: 0 };
    world.apply(0, Event::Command(connection, Token(0), subscribe(1, "/queue/q"), None));
    let mut live = |messages: u32| {
        for _ in 0..messages {
            world.apply(0, Event::Command(connection, Token(1), publish("/queue/q", 10), None));
            accept_all(&mut world, connection);
            world.apply(0, Event::Credit(connection, SubscriptionId(1), Credit::Add(1)));
        }
        live_bytes()
    };
    let warm = live(100);
    assert_eq!(live(10_000), warm);
}

/// A connection does a bit of everything and goes.
fn life(world: &mut World, connection: ConnectionId) {
    let n = connection.slot;
    let mut token = 0;
    let mut command = |world: &mut World, command| {
        token += 1;
        world.apply(connection.core, Event::Command(connection, Token(token), command, None));
        world.carry_all();
    };
    let queue = format!("/queue/q{n}");
    let temporary = Destination::temporary(DestinationKind::TempQueue, n.into());
    for (id, pattern) in [(1, "/topic/a.b.c"), (2, "/topic/*.x.>"), (3, "/topic/a.#")] {
        command(world, subscribe(id, pattern));
    }
    command(world, Command::Declare(Declare { destination: temporary.clone() }));
    command(world, publish(&temporary.to_string(), 10));
    command(world, subscribe(4, &temporary.to_string()));
    command(world, publish("/topic/a.b.c", 10));
    command(world, publish(&queue, 10));
    command(world, subscribe(5, &queue));
    command(world, Command::Unsubscribe(SubscriptionId(2), Ending::Suspend));
    accept_all(world, connection);
    world.apply(connection.core, Event::Gone(connection));
    world.carry_all();
}

fn accept_all(world: &mut World, connection: ConnectionId) {
    world.write(connection, usize::MAX);
    for outcome in std::mem::take(&mut world.outcomes) {
        if let Outcome::Delivered(subscriber, delivery) = outcome
            && let Some(tag) = delivery.tag
        {
            let outcome = Settled::Accepted;
            let settle = Settle::one(subscriber.subscription, tag, outcome);
            world.apply(connection.core, Event::Settle(connection, settle, None));
        }
    }
}

#[test]
fn a_full_queue_holds_no_more_than_its_bounds() {
    let broker =
        BrokerLimits { queue_messages_max: 1000, queue_bytes_max: 1 << 20, ..Default::default() };
    let limits = Limits { broker, ..Limits::default() };
    for (size, kept_max) in [(0, 1000), (10_000, 104), (4 << 20, 1)] {
        let mut world = World::new(1, limits.clone());
        // That would look at each message for each message.
        world.is_checked = false;
        let publisher = ConnectionId { core: 0, slot: 1, generation: 0 };
        for n in 0..30_000 {
            let event = Event::Command(publisher, Token(n), publish("/queue/q", size), None);
            world.apply(0, event);
            let full = world.outcomes.drain(..).any(|outcome| {
                matches!(outcome, Outcome::Replied(_, _, Err(refusal)) if refusal == Refusal::Full)
            });
            let depth = world.shards[0].queues().next().unwrap();
            assert!(depth.ready <= kept_max, "{depth:?}");
            assert!(depth.blocked <= 10_000 && depth.blocked * size <= 4 << 20, "{depth:?}");
            assert!(full || n < 12_000, "{depth:?}");
        }
    }
}

#[test]
fn a_shard_that_does_not_listen_stops_publishers() {
    for destination in ["/topic/a", far_queue()] {
        let broker = BrokerLimits { queue_bytes_max: 1 << 30, ..BrokerLimits::default() };
        let limits = Limits { broker, ..Limits::default() };
        let mut world = World::new(2, limits);
        let [publisher, subscriber] =
            [0, 1].map(|core| ConnectionId { core, slot: 1, generation: 0 });
        world.apply(1, Event::Command(subscriber, Token(1), subscribe(1, destination), None));
        world.carry_all();
        world.outcomes.clear();
        for n in 0..200 {
            world
                .apply(0, Event::Command(publisher, Token(n), publish(destination, 1 << 20), None));
        }
        let (mut done, mut busy) = (0, 0);
        let mut count = |world: &mut World| {
            for outcome in world.outcomes.drain(..) {
                match outcome {
                    Outcome::Replied(_, _, Ok(_)) => done += 1,
                    Outcome::Replied(_, _, Err(refusal)) => {
                        assert_eq!(refusal, Refusal::Busy);
                        busy += 1;
                    }
                    Outcome::Noticed(..) | Outcome::Delivered(..) => {}
                }
            }
            (done, busy)
        };
        let (done, busy) = count(&mut world);
        assert!(done < 4 && (130..=140).contains(&busy), "{done} {busy}");
        let in_flight = world.in_flight_bytes();
        assert!(in_flight <= 65 << 20, "{in_flight}");
        world.carry_all();
        assert_eq!(count(&mut world), (200 - busy, busy));
        // All is as before.
        world.apply(0, Event::Command(publisher, Token(200), publish(destination, 1 << 20), None));
        world.carry_all();
        assert_eq!(count(&mut world), (201 - busy, busy));
    }
}

/// A queue at home on the second of two cores.
fn far_queue() -> &'static str {
    ["/queue/a", "/queue/b", "/queue/c", "/queue/d", "/queue/e"]
        .into_iter()
        .find(|name| Placement::new(2).home(&Destination::parse(name).unwrap()) == 1)
        .unwrap()
}

fn subscribe(id: u32, pattern: &str) -> Command {
    let pattern = Pattern::parse(pattern).unwrap();
    Command::Subscribe(Box::new(Subscribe {
        settlement: Settlement::Explicit,
        credit: pattern.kind().is_queue().then_some(100),
        ..Subscribe::new(SubscriptionId(id), pattern)
    }))
}

fn publish(destination: &str, size: usize) -> Command {
    static ZEROS: [u8; 4 << 20] = [0; 4 << 20];
    let body = Body::Binary(Bytes::from_static(&ZEROS[..size]));
    let destination = Destination::parse(destination).unwrap();
    let mut message = Message::new(destination, 1, 0, body);
    message.header.expires_unix_ms = Some(1 << 40);
    Command::Publish(Lane::default(), Arc::new(message))
}
