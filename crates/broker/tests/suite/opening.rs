//! What is durable waits until the store is open, and nothing else does.

use broker::Event;
use contract::{
    Command, Credit, Ending, Lane, Operation, Pattern, QueueRules, QueueSettings, Refusal,
    Settlement, Subscribe, SubscriptionId, Token,
};

use crate::{
    store::{CONSUMER, carry, command, durable, durable_name, message, publish, seen, two_homes},
    world::{Limits, World},
};

/// Fails when `Writes::admits` does not ask whether the store is open: the record has nowhere to go then.
#[test]
fn publishers_wait_until_the_store_is_open() {
    let mut world = world(1);
    publish(&mut world, 1, durable("/queue/q", 1));
    publish(&mut world, 2, message("/queue/r", 2));
    world.time_out();
    assert_eq!(seen(&mut world), ["done 2"]);
    assert!(world.writing().is_empty());
    open(&mut world, true);
    world.store(0, 1);
    assert_eq!(seen(&mut world), ["done 1"]);
}

#[test]
fn they_are_refused_when_that_takes_too_long_or_fails() {
    let mut world = world(1);
    publish(&mut world, 1, durable("/queue/q", 1));
    transact(&mut world, 2, &["/queue/q"]);
    subscribe(&mut world, 3, 0);
    world.advance(6_000);
    world.time_out();
    assert_eq!(seen(&mut world), ["busy 1", "busy 2", "busy 3"]);
    publish(&mut world, 4, durable("/queue/q", 4));
    transact(&mut world, 5, &["/queue/q"]);
    subscribe(&mut world, 6, 0);
    world.gate.set(Some(Refusal::NoStore));
    open(&mut world, false);
    assert_eq!(seen(&mut world), ["no store 4", "no store 5", "no store 6"]);
    publish(&mut world, 7, durable("/queue/q", 7));
    assert_eq!(seen(&mut world), ["no store 7"]);
    // It is tried again.
    world.gate.set(None);
    publish(&mut world, 8, durable("/queue/q", 8));
    assert_eq!(seen(&mut world), [""; 0]);
    open(&mut world, true);
    world.store(0, 1);
    assert_eq!(seen(&mut world), ["done 8"]);
}

/// Fails when `Home::is_to_wait` lets what comes behind it pass: the credit is for nobody then.
#[test]
fn a_durable_subscription_waits_with_its_credit() {
    let mut world = world(1);
    subscribe(&mut world, 1, 0);
    world.apply(0, Event::Credit(CONSUMER, SubscriptionId(0), Credit::Add(5)));
    assert_eq!(seen(&mut world), [""; 0]);
    open(&mut world, true);
    world.store(0, 1);
    assert_eq!(seen(&mut world), ["done 1"]);
    publish(&mut world, 2, message("/topic/a", 2));
    assert_eq!(seen(&mut world), ["done 2", "message 2"]);
}

#[test]
fn one_that_ends_before_the_store_is_open_leaves_nothing() {
    for vanishes in [false, true] {
        let mut world = world(1);
        subscribe(&mut world, 1, 0);
        if vanishes {
            world.apply(0, Event::Gone(CONSUMER));
        } else {
            let unsubscribe = Command::Unsubscribe(SubscriptionId(0), Ending::Delete);
            world.apply(0, Event::Command(CONSUMER, Token(2), unsubscribe, None));
        }
        open(&mut world, true);
        world.carry_all();
        world.time_out();
        let seen = seen(&mut world);
        if !vanishes {
            assert_eq!(seen, ["done 1", "done 2"]);
            assert!(world.disk.is_empty(), "it is deleted");
            world.apply(0, Event::Gone(CONSUMER));
        }
        let subscription = world.shards[0].queues().next();
        assert_eq!(subscription.is_some(), vanishes, "it is durable");
    }
}

/// Fails when `Home::is_to_wait` lets a decision pass the vote that it is about.
#[test]
fn a_transaction_waits_at_each_home() {
    for opens in [true, false] {
        let (near, far) = two_homes();
        let mut world = world(2);
        transact(&mut world, 1, &[near, far]);
        carry(&mut world);
        assert_eq!(seen(&mut world), [""; 0]);
        world.apply(0, Event::StoreOpened(true));
        world.carry_all();
        assert_eq!(seen(&mut world), [""; 0], "one home has not voted");
        if opens {
            world.apply(1, Event::StoreOpened(true));
        } else {
            world.advance(6_000);
            world.time_out();
        }
        world.carry_all();
        world.time_out();
        world.carry_all();
        assert_eq!(seen(&mut world), [if opens { "done 1" } else { "busy 1" }]);
        for queue in [near, far] {
            assert_eq!(world.disk.delivers(queue, 1), opens, "{queue}");
        }
    }
}

#[test]
fn a_consumer_of_a_queue_that_keeps_its_messages_waits_for_nothing() {
    let settings = QueueSettings { is_durable: true, ..QueueSettings::default() };
    let rules = QueueRules::new([(Pattern::parse_scope("/queue/kept.>").unwrap(), settings)]);
    let mut world = World::new(1, Limits { rules, ..Limits::default() });
    open(&mut world, false);
    let subscribe = Subscribe {
        credit: Some(10),
        ..Subscribe::new(SubscriptionId(0), Pattern::parse("/queue/kept.a").unwrap())
    };
    let subscribe = Command::Subscribe(Box::new(subscribe));
    world.apply(0, Event::Command(CONSUMER, Token(1), subscribe, None));
    publish(&mut world, 2, message("/queue/kept.b", 2));
    assert_eq!(seen(&mut world), ["done 1"]);
    publish(&mut world, 3, message("/queue/kept.a", 3));
    assert_eq!(seen(&mut world), [""; 0], "what does not say is durable there");
    open(&mut world, true);
    world.store(0, 1);
    assert_eq!(seen(&mut world), ["done 2", "done 3", "message 3"]);
}

/// Fails when `Home::retry_waiting` asks whether the store is open for nobody: that has it opened.
#[test]
fn nothing_has_the_store_opened_but_what_is_durable() {
    let mut world = world(1);
    world.gate.set(Some(Refusal::NoStore));
    publish(&mut world, 1, message("/queue/q", 1));
    command(
        &mut world,
        2,
        Command::Transact(Lane(2), vec![Operation::Publish(message("/queue/q", 2))]),
    );
    world.time_out();
    assert_eq!(seen(&mut world), ["done 1", "done 2"]);
    assert_eq!(world.gate.calls(), 0);
    publish(&mut world, 3, durable("/queue/q", 3));
    assert!(world.gate.calls() > 0);
}

/// Fails when `Writes::refusal_now` does not see that the store is not open: the record has nowhere to go then.
#[test]
fn a_store_that_begins_to_open_between_two_questions_gets_nothing() {
    let mut world = world(1);
    world.gate.say_first(Refusal::NoStore);
    transact(&mut world, 1, &["/queue/q"]);
    world.gate.say_first(Refusal::NoStore);
    subscribe(&mut world, 2, 0);
    assert_eq!(seen(&mut world), ["no store 1", "no store 2"]);
    assert!(world.writing().is_empty());
}

/// Fails when `Writes::unread` says nothing: who has a durable subscription there misses the message, and
/// it is back after it was deleted.
#[test]
fn while_durable_subscriptions_may_be_unknown_nothing_is_confirmed_that_they_would_get() {
    let mut world = world(1);
    world.gate.set_unread(true);
    for (refusal, said) in [(Some(Refusal::NoStore), "no store"), (None, "busy")] {
        world.gate.set(refusal);
        publish(&mut world, 1, durable("/topic/a", 1));
        let publication = Operation::Publish(durable("/topic/a", 2));
        command(&mut world, 2, Command::Transact(Lane(2), vec![publication]));
        command(&mut world, 3, Command::Delete(durable_name().name));
        command(&mut world, 4, Command::Find(durable_name().name));
        publish(&mut world, 5, message("/topic/a", 5));
        let expected: Vec<_> = (1..=4).map(|token| format!("{said} {token}")).collect();
        let mut seen = seen(&mut world);
        assert_eq!(seen.pop().as_deref(), Some("done 5"), "it is for who is there");
        assert_eq!(seen, expected);
    }
    open(&mut world, true);
    publish(&mut world, 6, durable("/topic/a", 6));
    command(&mut world, 7, Command::Delete(durable_name().name));
    assert_eq!(seen(&mut world), ["done 6", "done 7"]);
}

/// Fails when `Home::postpone` refuses nothing.
#[test]
fn what_waits_is_bounded() {
    let mut world = world(1);
    for token in 1..=5000 {
        transact(&mut world, token, &["/queue/q"]);
    }
    let refused = seen(&mut world);
    assert_eq!(refused.len(), 4097);
    assert!(refused.iter().all(|refused| refused.starts_with("busy ")));
    open(&mut world, true);
    world.carry_all();
    assert_eq!(seen(&mut world).len(), 5000 - 4097);
}

/// Some cores, whose store is not open yet.
fn world(cores: u16) -> World {
    let mut world = World::new(cores, Limits::default());
    open(&mut world, false);
    world
}

fn open(world: &mut World, is_open: bool) {
    for core in 0..u16::try_from(world.shards.len()).unwrap() {
        world.apply(core, Event::StoreOpened(is_open));
    }
}

fn transact(world: &mut World, token: u64, queues: &[&str]) {
    let publications = queues.iter().map(|queue| Operation::Publish(durable(queue, 1)));
    command(
        world,
        token,
        Command::Transact(Lane(u32::try_from(token).unwrap()), publications.collect()),
    );
}

fn subscribe(world: &mut World, token: u64, id: u32) {
    let subscribe = Subscribe {
        settlement: Settlement::Explicit,
        durable: Some(Box::new(durable_name())),
        ..Subscribe::new(SubscriptionId(id), Pattern::parse("/topic/a").unwrap())
    };
    let subscribe = Command::Subscribe(Box::new(subscribe));
    world.apply(0, Event::Command(CONSUMER, Token(token), subscribe, None));
}
