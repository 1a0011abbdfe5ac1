//! What is durable is confirmed and delivered when it is stored, and nothing else waits for that.

use std::sync::Arc;

use broker::{Event, Shard};
use bytes::Bytes;
use contract::{
    Body, BrokerLimits, Command, ConnectionId, Destination, Durable, DurableName, Lane, Message,
    Operation, Outcome as Settled, Pattern, QueueRules, QueueSettings, Refusal, Reply, Settle,
    Settlement, Subscribe, SubscriptionId, Tag, Token,
};

use crate::world::{Limits, Outcome, World};

/// Fails when `Home::accept` replies at once, or `Queue::enter` makes ready what is to be stored.
#[test]
fn a_durable_message_is_confirmed_and_delivered_when_it_is_stored() {
    let mut world = with_consumers(1, &["/queue/q"]);
    publish(&mut world, 1, durable("/queue/q", 1));
    assert_eq!(seen(&mut world), [""; 0]);
    world.store(0, 1);
    assert_eq!(seen(&mut world), ["done 1", "message 1"]);
}

/// Fails when `Queue::enter` makes a message ready that has nothing to store, whatever arrives before it.
#[test]
fn no_message_overtakes_one_that_is_not_stored() {
    let mut world = with_consumers(1, &["/queue/q", "/queue/r"]);
    publish(&mut world, 1, durable("/queue/q", 1));
    publish(&mut world, 2, message("/queue/q", 2));
    publish(&mut world, 3, message("/queue/r", 3));
    publish(&mut world, 4, durable("/queue/q", 4));
    assert_eq!(seen(&mut world), ["done 3", "message 3"]);
    world.store(0, 1);
    assert_eq!(seen(&mut world), ["done 1", "done 2", "message 1", "message 2"]);
    world.store(0, 1);
    assert_eq!(seen(&mut world), ["done 4", "message 4"]);
}

/// Fails when `Writes::is_in_flight` says that all is stored.
#[test]
fn a_settlement_is_confirmed_when_the_removal_is_stored() {
    let mut world = with_consumers(1, &["/queue/q"]);
    publish(&mut world, 1, durable("/queue/q", 1));
    publish(&mut world, 2, message("/queue/q", 2));
    world.store(0, 1);
    seen(&mut world);
    settle(&mut world, 2..=2, Some(Token(3)));
    assert_eq!(seen(&mut world), ["done 3"], "nothing is to be stored of it");
    settle(&mut world, 1..=1, None);
    settle(&mut world, 1..=1, Some(Token(4)));
    assert_eq!(seen(&mut world), [""; 0], "the settlement before it is not stored");
    world.store(0, 1);
    assert_eq!(seen(&mut world), ["done 4"]);
    assert!(world.disk.is_empty());
}

/// Fails when `Writes::is_in_flight` says that all is stored.
#[test]
fn a_settlement_without_a_reply_is_not_awaited() {
    let mut world = with_consumers(1, &["/queue/q"]);
    publish(&mut world, 1, durable("/queue/q", 1));
    publish(&mut world, 2, durable("/queue/q", 2));
    assert_eq!(world.awaited(0), [true, true]);
    world.store(0, 2);
    settle(&mut world, 1..=1, None);
    assert_eq!(world.awaited(0), [false]);
    settle(&mut world, 2..=2, Some(Token(3)));
    assert_eq!(world.awaited(0), [false, true]);
}

#[test]
fn a_transaction_over_two_homes_is_confirmed_when_both_and_the_decision_are_stored() {
    let (near, far) = two_homes();
    let mut world = World::new(2, Limits::default());
    let publications = [durable(near, 1), durable(far, 2)].map(Operation::Publish);
    command(&mut world, 1, Command::Transact(Lane::default(), publications.into()));
    carry(&mut world);
    for core in [0, 1] {
        assert_eq!(seen(&mut world), [""; 0]);
        world.store(core, 1);
        carry(&mut world);
        assert_eq!(world.disk.count(near) + world.disk.count(far), 0, "it is not decided");
    }
    assert_eq!(seen(&mut world), [""; 0]);
    world.store(0, 1);
    assert_eq!((world.disk.count(near), world.disk.count(far)), (1, 1));
    assert_eq!(seen(&mut world), ["done 1"]);
}

/// Fails when `branch::store` stores its records at once where there are other homes, or `Home::prepare` votes at once.
#[test]
fn a_transaction_over_two_homes_and_a_durable_subscription_is_stored_as_a_whole() {
    let (near, far) = two_homes();
    for order in [[0, 1], [1, 0]] {
        let mut world = World::new(2, Limits::default());
        let subscribe = Subscribe {
            durable: Some(Box::new(durable_name())),
            settlement: Settlement::Explicit,
            ..Subscribe::new(SubscriptionId(0), Pattern::parse("/topic/t").unwrap())
        };
        let subscribe = Command::Subscribe(Box::new(subscribe));
        world.apply(0, Event::Command(CONSUMER, Token(0), subscribe, None));
        world.carry_all();
        world.outcomes.clear();
        let publications = [durable(near, 1), durable(far, 2), durable("/topic/t", 3)];
        let operations = publications.map(Operation::Publish).into();
        command(&mut world, 1, Command::Transact(Lane::default(), operations));
        let mut steps = 0;
        loop {
            carry(&mut world);
            // Were the process to end now: all of it or nothing.
            let stored = [1, 2, 3].map(|id| world.disk.queues_of(id).len());
            assert!(stored == [0; 3] || stored == [1; 3], "{stored:?} after {steps} steps");
            let writing = world.writing();
            let Some(core) = order.into_iter().find(|core| writing.contains(core)) else { break };
            assert_eq!(seen(&mut world), [""; 0], "not confirmed yet");
            world.store(core, 1);
            steps += 1;
        }
        assert!(steps >= 3, "two branches and a decision: {steps}");
        assert_eq!([1, 2, 3].map(|id| world.disk.queues_of(id).len()), [1; 3]);
        assert!(seen(&mut world).contains(&"done 1".to_owned()));
    }
}

/// Fails when the home of the dead-letter queue does not remove the message in the batch that adds it, or that of
/// its queue removes it before.
#[test]
fn a_dead_letter_is_always_stored_somewhere() {
    let placement = broker::Placement::new(2);
    let home = |name: String| placement.home(&Destination::parse(&name).unwrap());
    for is_near in [true, false] {
        let is_wanted = |name: &String| {
            (home(format!("/queue/{name}")) == home(format!("/queue/DLQ.{name}"))) == is_near
        };
        let name = (0..100).map(|n| format!("q{n}")).find(is_wanted).unwrap();
        let (queue, dead) = (format!("/queue/{name}"), format!("/queue/DLQ.{name}"));
        let mut world = with_consumers(2, &[&queue]);
        publish(&mut world, 1, durable(&queue, 1));
        world.carry_all();
        let tag = world.outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Delivered(_, delivery) => delivery.tag,
            Outcome::Replied(..) | Outcome::Noticed(..) => None,
        });
        let settle = Settle::one(SubscriptionId(0), tag.unwrap(), Settled::Rejected);
        world.apply(0, Event::Settle(CONSUMER, settle, None));
        carry(&mut world);
        assert!(world.disk.delivers(&queue, 1));
        while let Some(&core) = world.writing().first() {
            world.store(core, 1);
            let places = world.disk.queues_of(1);
            assert!(places == [queue.clone()] || places == [dead.clone()], "{places:?}");
            assert!(!world.disk.delivers(&queue, 1), "it was settled");
            carry(&mut world);
        }
        assert_eq!(world.disk.queues_of(1), [dead]);
    }
}

/// Fails when `Home::add_dead_letter` makes room for what is durable, or drops what is.
#[test]
fn a_full_dead_letter_queue_drops_nothing_durable() {
    for cores in 1..=2 {
        let broker = BrokerLimits { queue_messages_max: 5, ..BrokerLimits::default() };
        let mut world = World::new(cores, Limits { broker, ..Limits::default() });
        subscribe(&mut world, &["/queue/q"]);
        world.carry_all();
        world.outcomes.clear();
        // First and last some that are not durable.
        for number in 0..14 {
            let is_durable = (2..12).contains(&number);
            let make = if is_durable { durable } else { message };
            publish(&mut world, number, make("/queue/q", number.into()));
            world.carry_all();
            let tag = world.outcomes.iter().find_map(|outcome| match outcome {
                Outcome::Delivered(_, delivery) => delivery.tag,
                Outcome::Replied(..) | Outcome::Noticed(..) => None,
            });
            let settle = Settle::one(SubscriptionId(0), tag.unwrap(), Settled::Rejected);
            world.apply(0, Event::Settle(CONSUMER, settle, None));
            world.carry_all();
            world.outcomes.clear();
        }
        assert_eq!(world.disk.count("/queue/DLQ.q"), 10);
        let lost: Vec<_> = world
            .shards
            .iter_mut()
            .filter_map(|shard| shard.take_lost_dead_letters(|| true))
            .map(|lost| (lost.queue.to_string(), lost.count))
            .collect();
        let dropped: u64 = world.shards.iter().map(|s| s.stats().dead_letters_dropped).sum();
        assert_eq!(lost, [("/queue/DLQ.q".to_owned(), 2)]);
        assert_eq!(dropped, 2, "what comes first and is not durable");
        let depths = world.shards.iter().flat_map(Shard::queues);
        let ready: Vec<_> = depths.filter(|q| q.name.to_string() == "/queue/DLQ.q").collect();
        assert_eq!(ready.iter().map(|queue| queue.ready).sum::<usize>(), 12);
    }
}

#[test]
fn a_rejection_is_confirmed_when_it_is_stored() {
    for is_in_transaction in [false, true] {
        let mut world = with_consumers(1, &["/queue/q"]);
        publish(&mut world, 1, durable("/queue/q", 1));
        world.store(0, 1);
        seen(&mut world);
        let settle = Settle::one(SubscriptionId(0), Tag(1), Settled::Rejected);
        if is_in_transaction {
            let operations = vec![Operation::Settle(settle)];
            let command = Command::Transact(Lane::default(), operations);
            world.apply(0, Event::Command(CONSUMER, Token(2), command, None));
        } else {
            world.apply(0, Event::Settle(CONSUMER, settle, Some(Token(2))));
        }
        assert_eq!(seen(&mut world), [""; 0]);
        assert!(world.disk.delivers("/queue/q", 1));
        world.store(0, 1);
        assert!(!world.disk.delivers("/queue/q", 1));
        assert_eq!(seen(&mut world), ["done 2"]);
        world.store(0, usize::MAX);
        assert_eq!(world.disk.queues_of(1), ["/queue/DLQ.q"]);
    }
}

#[test]
fn what_was_stored_is_delivered_after_a_restart_before_what_is_new() {
    let mut before = World::new(2, Limits::default());
    for (id, priority) in [(1, 4), (2, 4), (3, 9)] {
        let mut message = durable("/queue/q", id);
        Arc::get_mut(&mut message).unwrap().header.priority = priority;
        publish(&mut before, 1, message);
    }
    publish(&mut before, 2, message("/queue/q", 4));
    before.carry_all();
    publish(&mut before, 3, durable("/queue/q", 5));
    carry(&mut before);
    let mut world = World::new(3, Limits::default());
    world.restore(&before.disk);
    publish(&mut world, 6, durable("/queue/q", 6));
    world.carry_all();
    let queues: Vec<_> = world.shards.iter().flat_map(Shard::queues).collect();
    assert_eq!(queues.iter().map(|queue| queue.ready).collect::<Vec<_>>(), [4]);
    subscribe(&mut world, &["/queue/q"]);
    world.carry_all();
    assert_eq!(
        seen(&mut world),
        ["done 6", "message 3 again", "message 1 again", "message 2 again", "message 6"]
    );
}

#[test]
fn a_store_that_refuses_stops_durable_messages_alone() {
    let mut world = World::new(1, Limits::default());
    publish(&mut world, 1, durable("/queue/q", 1));
    world.store(0, 1);
    world.gate.set(Some(Refusal::StoreFull));
    publish(&mut world, 2, durable("/queue/q", 2));
    publish(&mut world, 3, durable("/queue/new", 3));
    publish(&mut world, 4, message("/queue/r", 4));
    let publications = vec![Operation::Publish(durable("/queue/q", 5))];
    command(&mut world, 5, Command::Transact(Lane::default(), publications));
    assert_eq!(seen(&mut world), ["done 1", "full disk 2", "full disk 3", "done 4", "full disk 5"]);
    subscribe(&mut world, &["/queue/q"]);
    settle(&mut world, 1..=1, Some(Token(6)));
    world.store(0, 1);
    assert_eq!(seen(&mut world), ["message 1", "done 6"]);
    world.gate.set(None);
    publish(&mut world, 7, durable("/queue/r", 7));
    world.store(0, 1);
    assert_eq!(seen(&mut world), ["done 7"]);
}

#[test]
fn what_the_store_refuses_is_as_if_it_had_not_been_sent() {
    let (near, far) = two_homes();
    let mut world = with_consumers(2, &[near, far]);
    publish(&mut world, 1, durable(near, 1));
    publish(&mut world, 2, message(near, 2));
    let both = [durable(near, 3), durable(far, 4)].map(Operation::Publish);
    command(&mut world, 3, Command::Transact(Lane(1), both.into()));
    let one = [durable(near, 5), message(near, 6)].map(Operation::Publish);
    command(&mut world, 4, Command::Transact(Lane(2), one.into()));
    carry(&mut world);
    publish(&mut world, 5, message(near, 7));
    world.gate.set(Some(Refusal::StoreFull));
    while let Some(&core) = world.writing().first() {
        world.store(core, usize::MAX);
        carry(&mut world);
    }
    let mut seen = seen(&mut world);
    seen.sort();
    let expected = ["done 2", "done 5", "full disk 1", "full disk 3", "full disk 4", "message 2"];
    assert_eq!(seen, [&expected[..], &["message 7"]].concat());
    assert!(world.disk.is_empty());
}

#[test]
fn a_publisher_that_waits_is_refused_when_the_disk_is_full_and_stops_none_behind_it() {
    let mut world = World::new(1, Limits::default());
    publish(&mut world, 1, make("/queue/q", 1, true, Body::Binary(vec![0; 4 << 20].into())));
    publish(&mut world, 2, durable("/queue/q", 2));
    publish(&mut world, 3, message("/queue/q", 3));
    assert_eq!(seen(&mut world), [""; 0]);
    world.gate.set(Some(Refusal::StoreFull));
    world.time_out();
    world.gate.set(None);
    world.store(0, 1);
    assert_eq!(seen(&mut world), ["full disk 2", "done 1", "done 3"]);
}

#[test]
fn a_transaction_at_one_home_shows_nothing_before_it_is_stored() {
    let mut world = with_consumers(1, &["/queue/q", "/queue/r"]);
    let publications = [message("/queue/q", 1), durable("/queue/r", 2)].map(Operation::Publish);
    command(&mut world, 1, Command::Transact(Lane::default(), publications.into()));
    assert_eq!(seen(&mut world), [""; 0]);
    world.store(0, 1);
    assert_eq!(seen(&mut world), ["done 1", "message 1", "message 2"]);
}

/// Fails when `Writes::is_full` says that there is always room.
#[test]
fn publishers_wait_while_much_is_in_flight_to_the_store() {
    let mut world = World::new(1, Limits::default());
    let publish_large = |world: &mut World, id, queue: &str| {
        let body = Body::Binary(Bytes::from(vec![0; 1 << 20]));
        publish(world, id, make(queue, u128::from(id), true, body));
    };
    // Four are in flight, the others wait, whatever their size and queue.
    (1..=6).for_each(|id| publish_large(&mut world, id, "/queue/q"));
    publish(&mut world, 7, durable("/queue/r", 7));
    publish(&mut world, 8, message("/queue/s", 8));
    assert_eq!(seen(&mut world), ["done 8"], "nothing of it is to be stored");
    world.store(0, 1);
    assert_eq!(seen(&mut world), ["done 1"]);
    world.store(0, usize::MAX);
    assert_eq!(seen(&mut world), ["done 2", "done 3", "done 4", "done 5"]);
    world.store(0, usize::MAX);
    assert_eq!(seen(&mut world), ["done 7", "done 6"]);
    // The last one waits for too long; the queue is not full, and it may try again.
    (11..=15).for_each(|id| publish_large(&mut world, id, "/queue/q"));
    world.advance(6_000);
    world.time_out();
    assert_eq!(seen(&mut world), ["busy 15"]);
    world.store(0, usize::MAX);
    assert_eq!(seen(&mut world), ["done 11", "done 12", "done 13", "done 14"]);
}

#[test]
fn room_in_the_store_is_given_to_queues_in_turn() {
    let mut world = World::new(1, Limits::default());
    let large = |id: u64, queue: &str| {
        make(queue, u128::from(id), true, Body::Binary(Bytes::from(vec![0; 4 << 20])))
    };
    publish(&mut world, 1, large(1, "/queue/a"));
    publish(&mut world, 2, large(2, "/queue/a"));
    publish(&mut world, 3, large(3, "/queue/b"));
    for token in [1, 2, 3] {
        assert_eq!(seen(&mut world), [""; 0]);
        world.store(0, usize::MAX);
        assert_eq!(seen(&mut world), [format!("done {token}")]);
        // One that comes later does not pass those that wait.
        publish(&mut world, 10 + token, durable("/queue/c", 9));
    }
}

#[test]
fn a_message_larger_than_the_room_in_the_store_enters_while_there_is_any() {
    let mut world = World::new(1, Limits::default());
    publish(&mut world, 1, durable("/queue/q", 1));
    publish(&mut world, 2, make("/queue/r", 2, true, Body::Binary(vec![0; 16 << 20].into())));
    world.store(0, usize::MAX);
    assert_eq!(seen(&mut world), ["done 1", "done 2"]);
}

/// What transactions have on its way to the store is bounded, whatever kind of queue it is for.
#[test]
fn too_much_on_its_way_refuses_transactions_to_durable_subscriptions() {
    for to in ["/queue/a", "/topic/a"] {
        let mut world = World::new(1, Limits::default());
        let subscribe = Subscribe {
            settlement: Settlement::Explicit,
            durable: Some(Box::new(durable_name())),
            ..Subscribe::new(SubscriptionId(0), Pattern::parse("/topic/a").unwrap())
        };
        let subscribe = Command::Subscribe(Box::new(subscribe));
        world.apply(0, Event::Command(CONSUMER, Token(0), subscribe, None));
        carry(&mut world);
        world.store(0, usize::MAX);
        seen(&mut world);
        publish(
            &mut world,
            1,
            make("/queue/large", 1, true, Body::Binary(vec![0; 65 << 20].into())),
        );
        let transaction = Command::Transact(Lane(1), vec![Operation::Publish(durable(to, 2))]);
        command(&mut world, 2, transaction);
        assert_eq!(seen(&mut world), ["busy 2"], "{to}");
        world.store(0, usize::MAX);
        assert_eq!(seen(&mut world), ["done 1"], "{to}");
    }
}

/// Some cores, and a consumer of each of these queues on the first one.
pub(super) fn with_consumers(cores: u16, queues: &[&str]) -> World {
    let mut world = World::new(cores, Limits::default());
    subscribe(&mut world, queues);
    carry(&mut world);
    world.outcomes.clear();
    world
}

fn subscribe(world: &mut World, queues: &[&str]) {
    for (id, queue) in (0..).zip(queues) {
        let subscribe = Subscribe {
            settlement: Settlement::Explicit,
            credit: Some(100),
            ..Subscribe::new(SubscriptionId(id), Pattern::parse(queue).unwrap())
        };
        let event =
            Event::Command(CONSUMER, Token(0), Command::Subscribe(Box::new(subscribe)), None);
        world.apply(0, event);
    }
}

pub(super) fn durable_name() -> Durable {
    let name = DurableName::new(None, "c", "d").unwrap();
    Durable { name, is_shared: false, no_local: false, displaces: false }
}

/// A queue at home on core 0, and one on core 1.
pub(super) fn two_homes() -> (&'static str, &'static str) {
    let placement = broker::Placement::new(2);
    let home = |name: &str| placement.home(&Destination::parse(name).unwrap());
    let queues = ["/queue/a", "/queue/b", "/queue/c", "/queue/d", "/queue/e"];
    let of = |core| queues.into_iter().find(|name| home(name) == core).unwrap();
    (of(0), of(1))
}

pub(super) fn publish(world: &mut World, token: u64, message: Arc<Message>) {
    command(world, token, Command::Publish(Lane::default(), message));
}

pub(super) fn command(world: &mut World, token: u64, command: Command) {
    world.apply(0, Event::Command(PRODUCER, Token(token), command, None));
}

fn settle(world: &mut World, tags: std::ops::RangeInclusive<u64>, reply: Option<Token>) {
    let tags = Tag(*tags.start())..=Tag(*tags.end());
    let settle = Settle { subscription: SubscriptionId(0), tags, outcome: Settled::Accepted };
    world.apply(0, Event::Settle(CONSUMER, settle, reply));
}

/// Carries what is in flight between the cores, and stores nothing.
pub(super) fn carry(world: &mut World) {
    while let Some(&(from, to)) = world.busy().first() {
        world.carry(from, to);
    }
}

/// What clients have seen since the last time.
pub(super) fn seen(world: &mut World) -> Vec<String> {
    let outcomes = std::mem::take(&mut world.outcomes).into_iter();
    outcomes
        .filter(|outcome| !matches!(outcome, Outcome::Replied(CONSUMER, Token(0), Ok(Reply::Done))))
        .map(|outcome| match outcome {
            Outcome::Replied(_, Token(token), Ok(Reply::Done)) => format!("done {token}"),
            Outcome::Replied(_, Token(token), Err(Refusal::Busy)) => format!("busy {token}"),
            Outcome::Replied(_, Token(token), Err(Refusal::StoreFull)) => {
                format!("full disk {token}")
            }
            Outcome::Replied(_, Token(token), Err(Refusal::NoStore)) => {
                format!("no store {token}")
            }
            Outcome::Replied(..) | Outcome::Noticed(..) => panic!("{outcome:?}"),
            Outcome::Delivered(_, delivery) => {
                let again = if delivery.redeliveries > 0 { " again" } else { "" };
                format!("message {}{again}", delivery.message.id)
            }
        })
        .collect()
}

pub(super) fn message(to: &str, id: u128) -> Arc<Message> {
    make(to, id, false, Body::Text("x".into()))
}

#[test]
fn a_queue_keeps_messages_that_do_not_say() {
    let settings = QueueSettings { is_durable: true, ..QueueSettings::default() };
    let kept = Pattern::parse_scope("/queue/kept.>").unwrap();
    let rules = QueueRules::new([(kept, settings)]);
    let mut world = World::new(2, Limits { rules, ..Limits::default() });
    publish(&mut world, 1, message("/queue/kept.a", 1));
    publish(&mut world, 2, message("/queue/other", 2));
    let mut unwanted = Message::clone(&message("/queue/kept.a", 3));
    unwanted.header.durable = Some(false);
    publish(&mut world, 3, Arc::new(unwanted));
    let both = [message("/queue/kept.b", 4), message("/queue/other", 5)].map(Operation::Publish);
    let command = Command::Transact(Lane::default(), both.into());
    world.apply(0, Event::Command(PRODUCER, Token(4), command, None));
    world.carry_all();
    let kept: Vec<u128> = world.disk.restored().map(|restored| restored.message.id).collect();
    assert_eq!(kept, [1, 4]);
    // What is said later holds for what enters later.
    for core in 0..2 {
        world.apply(core, Event::QueueRules(QueueRules::default()));
    }
    publish(&mut world, 5, message("/queue/kept.a", 6));
    world.carry_all();
    assert_eq!(world.disk.count("/queue/kept.a"), 1);

    // A dead letter is as durable as the message was, whatever is said of its queue.
    let mut after = World::new(1, Limits::default());
    after.restore(&world.disk);
    assert_eq!(after.disk.count("/queue/kept.a"), 1);
    let subscription = Subscribe {
        settlement: Settlement::Explicit,
        credit: Some(1),
        ..Subscribe::new(SubscriptionId(1), Pattern::parse("/queue/kept.a").unwrap())
    };
    let command = Command::Subscribe(Box::new(subscription));
    after.apply(0, Event::Command(PRODUCER, Token(9), command, None));
    after.carry_all();
    let tag = after.outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Delivered(_, delivery) => delivery.tag,
        Outcome::Replied(..) | Outcome::Noticed(..) => None,
    });
    let settle = Settle::one(SubscriptionId(1), tag.unwrap(), Settled::Rejected);
    after.apply(0, Event::Settle(PRODUCER, settle, None));
    after.carry_all();
    assert_eq!(after.disk.queues_of(1), ["/queue/DLQ.kept.a"]);
}

#[test]
fn what_waits_for_its_time_does_so_after_a_restart() {
    let mut before = World::new(1, Limits::default());
    let mut later = Message::clone(&durable("/queue/q", 1));
    later.header.arrived_unix_ms = before.now.unix_ms;
    later.header.delay_ms = 500;
    publish(&mut before, 1, Arc::new(later));
    before.carry_all();
    assert_eq!(before.disk.count("/queue/q"), 1);
    let mut world = World::new(2, Limits::default());
    world.now = before.now;
    world.advance(300);
    world.restore(&before.disk);
    let delayed = |world: &World| -> usize {
        world.shards.iter().flat_map(Shard::queues).map(|queue| queue.delayed).sum()
    };
    world.advance(100);
    world.time_out();
    assert_eq!(delayed(&world), 1);
    world.advance(100);
    world.time_out();
    assert_eq!(delayed(&world), 0);
}

#[test]
fn many_that_are_due_become_ready_by_and_by() {
    let mut world = World::new(1, Limits::default());
    world.is_checked = false;
    for id in 0..25_000 {
        let mut later = Message::clone(&message("/queue/q", id));
        later.header.arrived_unix_ms = world.now.unix_ms;
        later.header.delay_ms = 1;
        publish(&mut world, 1, Arc::new(later));
    }
    world.advance(1);
    for expected in [15_000, 5_000, 0] {
        world.time_out();
        let delayed: usize = world.shards.iter().flat_map(Shard::queues).map(|q| q.delayed).sum();
        assert_eq!(delayed, expected);
    }
}

pub(super) fn durable(to: &str, id: u128) -> Arc<Message> {
    make(to, id, true, Body::Text("x".into()))
}

fn make(to: &str, id: u128, durable: bool, body: Body) -> Arc<Message> {
    let mut message = Message::new(Destination::parse(to).unwrap(), id, 0, body);
    message.header.durable = durable.then_some(true);
    Arc::new(message)
}

pub(super) const CONSUMER: ConnectionId = ConnectionId { core: 0, slot: 1, generation: 0 };
pub(super) const PRODUCER: ConnectionId = ConnectionId { core: 0, slot: 2, generation: 0 };
