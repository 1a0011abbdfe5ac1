//! Attempts to deliver durable messages, over processes that end.

use std::sync::Arc;

use broker::{Event, Leave};
use contract::{
    Body, Command, ConnectionId, DeadLetters, Destination, Group, Lane, Message,
    Outcome as Settled, Pattern, QueueRules, QueueSettings, Redelivery, Settle, Settlement,
    Subscribe, SubscriptionId, Tag, Token,
};

use crate::world::{Limits, Outcome, World};

/// It is to fail if `Home::apply_outcome` does not record the attempt, or `Queue::due_after` takes the wait
/// to begin with the process.
#[test]
fn what_failed_waits_for_the_rest_of_its_time_after_a_restart() {
    for pages in [false, true] {
        let mut world = begin(pages);
        publish(&mut world, 1, None);
        let [(_, 0, tag)] = delivered(&mut world)[..] else { panic!("it was never delivered") };
        settle(&mut world, tag, Settled::Failed);
        pass(&mut world, 400);
        let mut world = restarted(&world, pages);
        pass(&mut world, 500);
        assert_eq!(delivered(&mut world), [], "after 900 ms of 1000");
        pass(&mut world, 100);
        let [(1, 1, tag)] = delivered(&mut world)[..] else { panic!("after 1000 ms") };
        settle(&mut world, tag, Settled::Failed);
        // The clock may be set back: then it waits no longer than is said.
        world.now.unix_ms -= 100_000;
        let mut world = restarted(&world, pages);
        pass(&mut world, 1900);
        assert_eq!(delivered(&mut world), [], "after 1900 ms of 2000");
        pass(&mut world, 100);
        let [(1, 2, tag)] = delivered(&mut world)[..] else { panic!("after 2000 ms") };
        settle(&mut world, tag, Settled::Failed);
        assert_eq!(world.disk.queues_of(1), [DEAD], "three attempts were made");
    }
}

/// What was delivered and not settled when the process ended has not failed. It is to fail if an attempt is
/// recorded when it begins.
#[test]
fn what_was_delivered_when_the_process_ended_counts_nothing() {
    for pages in [false, true] {
        let mut world = begin(pages);
        publish(&mut world, 1, None);
        settle(&mut world, Tag(1), Settled::Failed);
        world.outcomes.clear();
        pass(&mut world, 1000);
        for _ in 0..20 {
            let [(1, 1, _)] = delivered(&mut world)[..] else { panic!("not delivered") };
            assert_eq!(world.disk.attempts(QUEUE, 1), Some(1));
            world = restarted(&world, pages);
        }
        assert_eq!(world.disk.queues_of(1), [QUEUE]);
    }
}

/// It is to fail if a delivery is recorded, a record of an attempt is awaited, or the reply to a NACK waits for it.
#[test]
fn nothing_waits_for_the_records_of_attempts_and_deliveries_have_none() {
    let mut world = begin(false);
    (0..150).for_each(|id| publish(&mut world, id, None));
    let mut world = restarted(&world, false);
    let tags: Vec<_> = delivered(&mut world).into_iter().map(|(.., tag)| tag).collect();
    assert_eq!((tags.len(), world.awaited(0)), (150, vec![]), "what is delivered is not recorded");
    let (failed, accepted) = tags.split_first().unwrap();
    let settle = Settle { subscription: ID, tags: *failed..=*failed, outcome: Settled::Failed };
    world.apply(0, Event::Settle(connection(1), settle, Some(Token(9))));
    let [Outcome::Replied(_, Token(9), Ok(_))] = world.outcomes[..] else {
        panic!("{:?}", world.outcomes)
    };
    assert_eq!(world.awaited(0), [false], "an attempt");
    for tag in accepted {
        settle_unstored(&mut world, *tag, Settled::Accepted);
    }
    assert_eq!(world.awaited(0), [false; 150], "and removals");
    world.carry_all();
    assert_eq!(world.disk.attempts(QUEUE, 0), Some(1));
}

/// What a connection had been delivered when it was lost has failed, and when it left in good order has not.
#[test]
fn a_consumer_that_is_lost_has_failed() {
    for (is_lost, failed) in [(true, 1), (false, 0)] {
        let mut world = begin(false);
        publish(&mut world, 1, None);
        assert_eq!(ids(&mut world), [1]);
        world.write(connection(1), 1);
        world.apply(
            0,
            match is_lost {
                true => Event::Gone(connection(1)),
                false => Event::Closing(connection(1), Leave::Orderly),
            },
        );
        world.carry_all();
        assert_eq!(world.disk.attempts(QUEUE, 1), Some(failed));
    }
}

/// While nothing is stored, a message that fails again and again has one record in flight, and what
/// failed since is stored behind that. It is to fail if `Writes::attempts_failed` adds each.
#[test]
fn one_record_of_the_attempts_to_deliver_a_message_is_in_flight() {
    let mut world = begin_with(at_once());
    publish(&mut world, 1, None);
    assert_eq!(world.disk.attempts(QUEUE, 1), Some(0));
    for count in 0..1000 {
        let [(1, redeliveries, tag)] = delivered(&mut world)[..] else { panic!("{count}") };
        assert_eq!(redeliveries, count);
        settle_unstored(&mut world, tag, Settled::Failed);
    }
    assert_eq!(world.awaited(0), [false], "batches in flight");
    world.store(0, 1);
    assert_eq!(world.disk.attempts(QUEUE, 1), Some(1));
    assert_eq!(world.awaited(0), [false], "what has failed since");
    world.store(0, 1);
    assert_eq!(world.disk.attempts(QUEUE, 1), Some(1000));
    assert_eq!(world.awaited(0), [], "nothing more");
    // What leaves meanwhile is not counted.
    for _ in 0..2 {
        let [.., (1, _, tag)] = delivered(&mut world)[..] else { panic!("not delivered") };
        settle_unstored(&mut world, tag, Settled::Failed);
    }
    let [(1, _, tag)] = delivered(&mut world)[..] else { panic!("not delivered") };
    settle(&mut world, tag, Settled::Accepted);
    assert_eq!((world.disk.attempts(QUEUE, 1), world.awaited(0)), (None, vec![]));
}

/// It is to fail if `Writes::attempts_failed` adds records though there is no room.
#[test]
fn records_of_attempts_are_bounded_while_nothing_is_stored() {
    let mut world = begin(false);
    world.is_checked = false;
    (0..30_000).for_each(|id| publish(&mut world, id, None));
    let mut failed = 0;
    loop {
        let delivered = delivered(&mut world);
        if delivered.is_empty() {
            break;
        }
        for (.., tag) in delivered {
            settle_unstored(&mut world, tag, Settled::Failed);
            failed += 1;
        }
    }
    let batches = world.awaited(0).len();
    assert_eq!(failed, 30_000);
    assert!((1000..25_000).contains(&batches), "{batches} batches in flight");
    world.carry_all();
    assert_eq!(world.awaited(0), []);
}

/// Those behind a message of their group that has failed wait with it, after a restart too.
#[test]
fn a_group_waits_with_what_failed_after_a_restart() {
    for pages in [false, true] {
        let mut world = begin(pages);
        publish(&mut world, 1, Some("a"));
        settle(&mut world, Tag(1), Settled::Failed);
        publish(&mut world, 2, Some("a"));
        publish(&mut world, 3, None);
        assert_eq!(ids(&mut world), [1, 3]);
        let mut world = restarted(&world, pages);
        pass(&mut world, 900);
        assert_eq!(ids(&mut world), [3]);
        pass(&mut world, 100);
        assert_eq!(ids(&mut world), [1, 2]);
    }
}

/// A process with a consumer.
fn begin(pages: bool) -> World {
    begin_with(limits(pages))
}

fn begin_with(limits: Limits) -> World {
    let mut world = World::new(1, limits);
    subscribe(&mut world);
    world
}

/// The process ends, and another begins with what is stored. A consumer comes at once.
fn restarted(before: &World, pages: bool) -> World {
    let mut world = World::new(1, limits(pages));
    world.now = before.now;
    world.restore(&before.disk);
    subscribe(&mut world);
    world
}

fn limits(pages: bool) -> Limits {
    let redelivery =
        Redelivery { attempts: Some(3), delay_ms: 1000, factor: 2.0, delay_max_ms: 2000 };
    limits_with(redelivery, pages)
}

/// What fails is delivered again at once, as often as one likes.
fn at_once() -> Limits {
    let redelivery = Redelivery { attempts: Some(u32::MAX), ..Redelivery::default() };
    limits_with(redelivery, false)
}

fn limits_with(redelivery: Redelivery, pages: bool) -> Limits {
    let dead_letters = DeadLetters::To(Destination::parse(DEAD).unwrap());
    let settings = QueueSettings { redelivery, dead_letters, ..QueueSettings::default() };
    let rules = QueueRules::new([(Pattern::parse_scope(QUEUE).unwrap(), settings)]);
    let resident_bytes_max = pages.then_some(64);
    Limits { rules, resident_bytes_max, ..Limits::default() }
}

fn subscribe(world: &mut World) {
    let pattern = Pattern::parse(QUEUE).unwrap();
    let settlement = Settlement::Explicit;
    let subscribe = Subscribe { settlement, credit: Some(1 << 20), ..Subscribe::new(ID, pattern) };
    let command = Command::Subscribe(Box::new(subscribe));
    world.apply(0, Event::Command(connection(1), Token(1), command, None));
    world.carry_all();
}

fn publish(world: &mut World, id: u128, group: Option<&str>) {
    let body = Body::Text("a body".into());
    let mut message = Message::new(Destination::parse(QUEUE).unwrap(), id, 0, body);
    message.header.durable = Some(true);
    message.header.group = group.map(|id| Group::new(id, None));
    let command = Command::Publish(Lane::default(), Arc::new(message));
    world.apply(0, Event::Command(connection(2), Token(2), command, None));
    world.carry_all();
}

fn settle(world: &mut World, tag: Tag, outcome: Settled) {
    settle_unstored(world, tag, outcome);
    world.carry_all();
}

/// Nothing is stored yet.
fn settle_unstored(world: &mut World, tag: Tag, outcome: Settled) {
    let settle = Settle { subscription: ID, tags: tag..=tag, outcome };
    world.apply(0, Event::Settle(connection(1), settle, None));
    world.write(connection(1), usize::MAX);
}

fn pass(world: &mut World, ms: u64) {
    world.advance(ms);
    world.time_out();
    world.carry_all();
}

/// What was delivered since: message, redeliveries and tag.
fn delivered(world: &mut World) -> Vec<(u128, u32, Tag)> {
    let outcomes = std::mem::take(&mut world.outcomes);
    let delivered = outcomes.into_iter().filter_map(|outcome| match outcome {
        Outcome::Delivered(_, one) => Some((one.message.id, one.redeliveries, one.tag.unwrap())),
        Outcome::Replied(..) | Outcome::Noticed(..) => None,
    });
    delivered.collect()
}

fn ids(world: &mut World) -> Vec<u128> {
    delivered(world).into_iter().map(|(id, ..)| id).collect()
}

fn connection(slot: u32) -> ConnectionId {
    ConnectionId { core: 0, slot, generation: 1 }
}

const QUEUE: &str = "/queue/q";
const DEAD: &str = "/queue/DLQ.all";
const ID: SubscriptionId = SubscriptionId(1);
