//! What all queues may take together, and one principal: exactly, on any number of cores.

use std::sync::Arc;

use broker::{Account, Event, Placement, Quota, Shard};
use bytes::Bytes;
use contract::{
    Body, BrokerLimits, Command, ConnectionId, Declare, Destination, DestinationKind, Lane,
    Message, Operation, Outcome as Settled, Pattern, QuotaLimits, Refusal, Settle, Settlement,
    Subscribe, SubscriptionId, Tag, Token,
};

use crate::world::{Limits, Outcome, World};

#[test]
fn one_principal_makes_as_many_queues_as_it_may_on_any_cores() {
    for cores in [1, 4] {
        let quotas = QuotaLimits { queues_max_per_principal: 1000, ..ROOMY };
        let mut world = world(cores, quotas);
        // In three ways: all count.
        for n in 0..1000 {
            let name = format!("/queue/{n}");
            let result = match n % 3 {
                0 => send(&mut world, ANN, &name, 1),
                1 => subscribe(&mut world, ANN, n, &name),
                _ => declare(&mut world, ANN, n),
            };
            assert_eq!(result, Ok(()), "{n} on {cores} cores");
        }
        for n in 1000..1004 {
            let name = format!("/queue/{n}");
            assert_eq!(send(&mut world, ANN, &name, 1), Err(Refusal::PrincipalQueues));
            assert_eq!(subscribe(&mut world, ANN, n, &name), Err(Refusal::PrincipalQueues));
            assert_eq!(declare(&mut world, ANN, n), Err(Refusal::PrincipalQueues));
            assert_eq!(transact(&mut world, ANN, &[&name]), Err(Refusal::PrincipalQueues));
        }
        assert_eq!(send(&mut world, BOB, "/queue/1000", 1), Ok(()), "others make queues");
        assert_eq!(send(&mut world, ANN, "/queue/1000", 1), Ok(()), "which all use");
        // An empty queue ends and makes room for one.
        subscribe_as(&mut world, BOB, 1, "/queue/0", Settlement::Automatic).unwrap();
        gone(&mut world, BOB);
        assert_eq!(send(&mut world, ANN, "/queue/1001", 1), Ok(()));
        assert_eq!(send(&mut world, ANN, "/queue/1002", 1), Err(Refusal::PrincipalQueues));
    }
}

#[test]
fn lasting_queues_leave_room_for_temporary_ones_and_for_dead_letters() {
    for (queues_max, lasting) in [(10_000, 9_000), (1000, 900), (300, 200), (8, 4)] {
        let broker = BrokerLimits { queues_max, ..BrokerLimits::default() };
        let mut world = World::new(1, Limits { broker, quotas: ROOMY, ..Limits::default() });
        world.is_checked = false;
        for n in 0..lasting {
            let who = (n, Account::new(n.into()));
            assert_eq!(send(&mut world, who, &format!("/queue/{n}"), 1), Ok(()), "{n}");
        }
        assert_eq!(send(&mut world, BOB, "/queue/more", 1), Err(Refusal::Queues), "{queues_max}");
        let temporary = u32::try_from(queues_max).unwrap() - lasting;
        for n in 0..temporary {
            assert_eq!(declare(&mut world, BOB, n), Ok(()), "{n} of {queues_max}");
        }
        assert_eq!(declare(&mut world, BOB, temporary), Err(Refusal::Queues), "{queues_max}");
        subscribe_as(&mut world, BOB, 1, "/queue/0", Settlement::Explicit).unwrap();
        settle(&mut world, Settled::Rejected, 1);
        assert!(world.shards[0].queues().any(|queue| queue.name.to_string() == "/queue/DLQ.0"));
    }
}

#[test]
fn dead_letters_take_none_of_the_room_for_temporary_queues() {
    let broker = BrokerLimits { queues_max: 200, ..BrokerLimits::default() };
    let mut world = World::new(1, Limits { broker, quotas: ROOMY, ..Limits::default() });
    world.is_checked = false;
    let queues: Vec<_> = (0..100).map(|n| format!("/queue/{n}")).collect();
    for queue in queues.iter().chain(&queues) {
        assert_eq!(send(&mut world, ANN, queue, 1), Ok(()));
    }
    for (queue, count) in queues.iter().zip(1..) {
        subscribe_as(&mut world, BOB, 1, queue, Settlement::Explicit).unwrap();
        settle(&mut world, Settled::Rejected, count);
        gone(&mut world, BOB);
    }
    assert_eq!(world.shards[0].queues().count(), 200);
    assert_eq!(send(&mut world, ANN, "/queue/more", 1), Err(Refusal::Queues));
    for n in 0..100 {
        assert_eq!(declare(&mut world, BOB, n), Ok(()), "{n}");
    }
    assert_eq!(declare(&mut world, BOB, 100), Err(Refusal::Queues));
    world.shards[0].assert_consistent();
    // One that ends makes room for another.
    gone(&mut world, (7, BOB.1));
    assert_eq!(declare(&mut world, BOB, 100), Ok(()));
    assert_eq!(declare(&mut world, BOB, 101), Err(Refusal::Queues));
    world.shards[0].assert_consistent();
}

#[test]
fn temporary_queues_leave_lasting_ones_their_room() {
    let broker = BrokerLimits { queues_max: 300, ..BrokerLimits::default() };
    let mut world = World::new(1, Limits { broker, quotas: ROOMY, ..Limits::default() });
    world.is_checked = false;
    for n in 0..150 {
        assert_eq!(declare(&mut world, BOB, n), Ok(()), "{n}");
    }
    for n in 0..150 {
        assert_eq!(send(&mut world, ANN, &format!("/queue/{n}"), 1), Ok(()), "{n}");
    }
    assert_eq!(send(&mut world, ANN, "/queue/more", 1), Err(Refusal::Queues));
    assert_eq!(declare(&mut world, BOB, 150), Err(Refusal::Queues));
}

#[test]
fn one_queue_may_take_all_the_memory_on_any_core() {
    for cores in [1, 4] {
        let quotas = QuotaLimits { queued_bytes_max: 64 << 20, ..ROOMY };
        let mut world = world(cores, quotas);
        for name in ["/queue/a", "/queue/b", "/queue/c", "/queue/d"] {
            let sent = fill(&mut world, ANN, name, 1 << 20, Refusal::QueueMemory);
            assert_eq!(sent, 63, "{name} on {cores} cores");
            assert_eq!(send(&mut world, BOB, "/queue/e", 1 << 20), Err(Refusal::QueueMemory));
            assert!(world.ledger.drawn(Quota::Bytes) <= 64 << 20);
            // What was taken stays until a consumer has it; then all is free for the next.
            subscribe_as(&mut world, BOB, sent, name, Settlement::Automatic).unwrap();
            let delivered = world.outcomes.iter().filter(|o| matches!(o, Outcome::Delivered(..)));
            assert_eq!(delivered.count(), 63);
            world.outcomes.clear();
            gone(&mut world, BOB);
            world.time_out();
            assert!(world.ledger.is_unused(), "{:?}", world.ledger);
        }
    }
}

#[test]
fn what_is_little_used_is_free_for_others_at_once() {
    let quotas = QuotaLimits { queued_bytes_max: 64 << 20, ..ROOMY };
    let mut world = world(4, quotas);
    let [near, far] = homes(4);
    fill(&mut world, ANN, &near, 1 << 20, Refusal::QueueMemory);
    subscribe_as(&mut world, BOB, 63, &near, Settlement::Automatic).unwrap();
    // No time has passed.
    let sent = fill(&mut world, ANN, &far, 1 << 20, Refusal::QueueMemory);
    assert!(sent >= 58, "{sent} MiB of 64");
}

#[test]
fn one_principal_has_its_part_over_all_cores_and_others_have_theirs() {
    for cores in [1, 4] {
        let quotas = QuotaLimits { queued_bytes_max_per_principal: 16 << 20, ..ROOMY };
        let mut world = world(cores, quotas);
        let mut sent = 0;
        loop {
            let name = format!("/queue/{}", sent % 60);
            match send(&mut world, ANN, &name, 100_000) {
                Ok(()) => sent += 1,
                Err(refusal) => {
                    assert_eq!(refusal, Refusal::PrincipalMemory);
                    break;
                }
            }
        }
        // The steps of other cores, of a 64th each.
        assert!((157..=167).contains(&sent), "{sent} on {cores} cores");
        assert_eq!(transact(&mut world, ANN, &["/queue/1"; 200]), Err(Refusal::PrincipalMemory));
        assert_eq!(send(&mut world, BOB, "/queue/1", 100_000), Ok(()));
        // What transactions reserved that were refused is free again.
        world.time_out();
        let drawn: usize = world.shards.iter().map(|shard| shard.stats().queued_bytes).sum();
        assert_eq!(world.ledger.drawn(Quota::Bytes), drawn);
    }
}

#[test]
fn what_is_unsettled_or_waits_at_a_full_queue_counts() {
    let quotas = QuotaLimits { queued_bytes_max: 64 << 20, ..ROOMY };
    let broker = BrokerLimits { queue_messages_max: 20, ..BrokerLimits::default() };
    let mut world = World::new(1, Limits { broker, quotas, ..Limits::default() });
    subscribe_as(&mut world, BOB, 20, "/queue/a", Settlement::Explicit).unwrap();
    for n in 0..20 {
        assert_eq!(send(&mut world, ANN, "/queue/a", 3 << 20), Ok(()), "{n} of 20");
    }
    // There is room for one to wait, and for no more.
    assert_eq!(publish(&mut world, ANN, "/queue/a", 3 << 20), None);
    assert_eq!(send(&mut world, ANN, "/queue/b", 2 << 20), Err(Refusal::QueueMemory));
    settle(&mut world, Settled::Accepted, 1);
    assert!(matches!(world.outcomes.pop(), Some(Outcome::Replied(_, _, Ok(_)))), "it entered");
    world.advance(60_000);
    world.time_out();
    assert_eq!(send(&mut world, ANN, "/queue/b", 2 << 20), Ok(()));
}

#[test]
fn a_dead_letter_has_room_however_full_all_is_and_stays_its_senders() {
    for cores in [1, 4] {
        let quotas = QuotaLimits {
            queued_bytes_max: 64 << 20,
            queued_bytes_max_per_principal: 32 << 20,
            queues_max_per_principal: 1,
        };
        let mut world = world(cores, quotas);
        let sent = fill(&mut world, ANN, "/queue/a", 1 << 20, Refusal::PrincipalMemory);
        subscribe_as(&mut world, BOB, sent, "/queue/a", Settlement::Explicit).unwrap();
        settle(&mut world, Settled::Rejected, sent.into());
        let dead: usize = world
            .shards
            .iter()
            .flat_map(Shard::queues)
            .filter(|queue| queue.name.to_string() == "/queue/DLQ.a")
            .map(|queue| queue.ready)
            .sum();
        assert_eq!(dead, sent as usize, "on {cores} cores");
        world.time_out();
        // They are what ANN has in queues, and so is their queue.
        assert_eq!(send(&mut world, ANN, "/queue/b", 1), Err(Refusal::PrincipalQueues));
        assert_eq!(send(&mut world, ANN, "/queue/DLQ.a", 1 << 20), Err(Refusal::PrincipalMemory));
        assert_eq!(send(&mut world, BOB, "/queue/DLQ.a", 1 << 20), Ok(()));
    }
}

fn world(cores: u16, quotas: QuotaLimits) -> World {
    let broker = BrokerLimits { queue_bytes_max: 1 << 40, ..BrokerLimits::default() };
    World::new(cores, Limits { broker, quotas, ..Limits::default() })
}

/// Two queues whose homes are not the same.
fn homes(cores: u16) -> [String; 2] {
    let placement = Placement::new(cores);
    let home = |name: &str| placement.home(&destination(name));
    let far = (0..).map(|n| format!("/queue/far{n}"));
    [NEAR.to_owned(), far.into_iter().find(|name| home(name) != home(NEAR)).unwrap()]
}

/// Sends until that is refused; returns how many were taken.
fn fill(world: &mut World, who: Who, queue: &str, bytes: usize, refusal: Refusal) -> u32 {
    (0..)
        .find(|_| match send(world, who, queue, bytes) {
            Ok(()) => false,
            Err(why) => {
                assert_eq!(why, refusal);
                true
            }
        })
        .unwrap()
}

fn send(world: &mut World, who: Who, queue: &str, bytes: usize) -> Result<(), Refusal> {
    publish(world, who, queue, bytes).expect("a reply")
}

/// Sends; `None`: it waits.
fn publish(world: &mut World, who: Who, queue: &str, bytes: usize) -> Option<Result<(), Refusal>> {
    command(world, who, Command::Publish(Lane::default(), Arc::new(message(queue, bytes))))
}

fn transact(world: &mut World, who: Who, queues: &[&str]) -> Result<(), Refusal> {
    let message = |queue: &&str| Operation::Publish(Arc::new(message(queue, 100_000)));
    let operations = queues.iter().map(message).collect();
    command(world, who, Command::Transact(Lane::default(), operations)).expect("a reply")
}

fn declare(world: &mut World, who: Who, n: u32) -> Result<(), Refusal> {
    // Each connection may have a hundred.
    let who = (n, who.1);
    let destination = Destination::temporary(DestinationKind::TempQueue, n.into());
    command(world, who, Command::Declare(Declare { destination })).expect("a reply")
}

fn subscribe(world: &mut World, who: Who, n: u32, queue: &str) -> Result<(), Refusal> {
    subscribe_as(world, (n, who.1), 0, queue, Settlement::Automatic)
}

fn subscribe_as(
    world: &mut World,
    who: Who,
    credit: u32,
    queue: &str,
    settlement: Settlement,
) -> Result<(), Refusal> {
    let (id, pattern) = (SubscriptionId(1), Pattern::from(destination(queue)));
    let credit = Some(credit);
    let subscribe = Subscribe { settlement, credit, ..Subscribe::new(id, pattern) };
    command(world, who, Command::Subscribe(Box::new(subscribe))).expect("a reply")
}

/// BOB settles its first deliveries.
fn settle(world: &mut World, outcome: Settled, count: u64) {
    let settle = Settle { subscription: SubscriptionId(1), tags: Tag(1)..=Tag(count), outcome };
    world.apply(0, Event::Settle(connection(BOB), settle, None));
    world.carry_all();
}

fn gone(world: &mut World, who: Who) {
    world.apply(0, Event::Gone(connection(who)));
    world.carry_all();
}

fn command(world: &mut World, (n, account): Who, command: Command) -> Option<Result<(), Refusal>> {
    let event = Event::Command(connection((n, account)), Token(1), command, Some(account));
    world.apply(0, event);
    world.carry_all();
    let replied = |o: &Outcome| matches!(o, Outcome::Replied(..));
    match world.outcomes.iter().position(replied).map(|at| world.outcomes.remove(at)) {
        Some(Outcome::Replied(_, _, result)) => Some(result.map(drop)),
        _ => None,
    }
}

const fn connection((slot, _): Who) -> ConnectionId {
    ConnectionId { core: 0, slot, generation: 0 }
}

fn message(queue: &str, bytes: usize) -> Message {
    let body = Body::Binary(Bytes::from(vec![0; bytes].into_boxed_slice()));
    Message::new(destination(queue), 1, 0, body)
}

fn destination(name: &str) -> Destination {
    Destination::parse(name).unwrap()
}

/// A connection and its account.
type Who = (u32, Account);

const ANN: Who = (1_000_001, Account::new(1));
const BOB: Who = (1_000_002, Account::new(2));
const NEAR: &str = "/queue/near";
const ROOMY: QuotaLimits = QuotaLimits {
    queued_bytes_max: 1 << 40,
    queued_bytes_max_per_principal: 1 << 40,
    queues_max_per_principal: 1 << 20,
};
