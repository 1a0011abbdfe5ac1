//! Messages with numbers, sent again and again, enter once.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};

use broker::{Event, QueueId};
use contract::{
    Annotation, Body, BrokerLimits, Command, ConnectionId, Destination, Durable, DurableName,
    Ending, Lane, Message, Numbered, Operation, Pattern, Producer, Refusal, Reply, Subscribe,
    SubscriptionId, Token,
};
use testkit::Random;

use crate::world::{Limits, Outcome, World};

#[test]
fn a_number_enters_once_for_each_queue_and_user() {
    for cores in 1..=3 {
        let mut world = World::new(cores, Limits::default());
        let cases = [
            ("ann", "p", 2_000, "/queue/a", true),
            ("ann", "p", 2_000, "/queue/a", false),
            ("ann", "p", 1_999, "/queue/a", true),
            ("ann", "p", 1_999, "/queue/a", false),
            ("ann", "p", 977, "/queue/a", true),
            ("ann", "p", 976, "/queue/a", false),
            ("ann", "p", 2_000, "/queue/b", true),
            ("bob", "p", 2_000, "/queue/a", true),
            ("ann", "q", 0, "/queue/a", true),
            ("ann", "q", 0, "/queue/a", false),
            ("ann", "p", u64::MAX, "/queue/a", true),
            ("ann", "p", 2_001, "/queue/a", false),
        ];
        let mut duplicates = 0;
        for (user, name, number, queue, enters) in cases {
            let one = numbered(queue, user, name, number, number % 2 == 0);
            publish(&mut world, CLIENT, 1, &one);
            world.carry_all();
            assert_eq!(replies(&mut world), [(1, Ok(Reply::Done))], "{user} {name} {number}");
            duplicates += u64::from(!enters);
            assert_eq!(removed(&world), duplicates, "{user} {name} {number} {queue}");
        }
    }
}

#[test]
fn a_duplicate_is_confirmed_when_the_first_one_is_stored_and_not_when_that_is_refused() {
    let mut world = World::new(1, Limits::default());
    let one = numbered("/queue/a", "ann", "p", 1, true);
    publish(&mut world, CLIENT, 1, &one);
    publish(&mut world, OTHER, 2, &one);
    assert_eq!(replies(&mut world), []);
    world.store(0, usize::MAX);
    assert_eq!(replies(&mut world), [(1, Ok(Reply::Done)), (2, Ok(Reply::Done))]);
    // The store refuses one, and takes the one behind it.
    publish(&mut world, CLIENT, 3, &numbered("/queue/a", "ann", "p", 2, true));
    publish(&mut world, CLIENT, 4, &numbered("/queue/a", "ann", "p", 3, true));
    publish(&mut world, OTHER, 5, &numbered("/queue/a", "ann", "p", 2, true));
    world.gate.set(Some(Refusal::StoreFull));
    world.store(0, 1);
    let full = Err(Refusal::StoreFull);
    assert_eq!(replies(&mut world), [(3, full.clone()), (5, full)]);
    world.gate.set(None);
    world.store(0, usize::MAX);
    assert_eq!(replies(&mut world), [(4, Ok(Reply::Done))]);
    // It enters after all, also after the end of the process, and the one behind it does not.
    let mut after = World::new(2, Limits::default());
    after.restore(&world.disk);
    for world in [&mut world, &mut after] {
        let before = removed(world);
        for (token, number, duplicates) in [(6, 2, 0), (7, 2, 1), (8, 3, 2)] {
            publish(world, OTHER, token, &numbered("/queue/a", "ann", "p", number, true));
            world.carry_all();
            assert_eq!(replies(world), [(token, Ok(Reply::Done))]);
            assert_eq!(removed(world) - before, duplicates, "number {number}");
        }
    }
}

#[test]
fn what_a_full_queue_refuses_enters_when_it_comes_again_and_what_waits_twice_enters_once() {
    let broker = BrokerLimits { queue_messages_max: 1, ..BrokerLimits::default() };
    let mut world = World::new(1, Limits { broker, ..Limits::default() });
    let number = |number| numbered("/queue/a", "ann", "p", number, false);
    publish(&mut world, CLIENT, 1, &number(1));
    publish(&mut world, CLIENT, 2, &number(2));
    world.advance(60_000);
    world.time_out();
    assert_eq!(replies(&mut world), [(1, Ok(Reply::Done)), (2, Err(Refusal::Full))]);
    publish(&mut world, CLIENT, 3, &number(2));
    publish(&mut world, OTHER, 4, &number(2));
    publish(&mut world, OTHER, 5, &number(1));
    assert_eq!(replies(&mut world), [(5, Ok(Reply::Done))], "what has entered waits for no room");
    assert_eq!(taken(&mut world, "/queue/a"), [1]);
    assert_eq!(replies(&mut world), [(3, Ok(Reply::Done))]);
    assert_eq!(taken(&mut world, "/queue/a"), [2]);
    assert_eq!(replies(&mut world), [(4, Ok(Reply::Done))]);
    assert_eq!(taken(&mut world, "/queue/a"), []);
}

#[test]
fn a_transaction_that_is_committed_again_does_nothing() {
    for cores in 1..=4 {
        let mut world = World::new(cores, Limits::default());
        let operations: Vec<_> =
            [("/queue/a", 1), ("/queue/b", 1), ("/queue/a", 2), ("/queue/a", 2)]
                .map(|(queue, number)| numbered(queue, "ann", "p", number, true))
                .map(Operation::Publish)
                .into();
        for token in [1, 2] {
            let command = Command::Transact(Lane::default(), operations.clone());
            world.apply(0, Event::Command(CLIENT, Token(token), command, None));
            world.carry_all();
            assert_eq!(replies(&mut world), [(token, Ok(Reply::Done))]);
        }
        let mut after = World::new(2, Limits::default());
        after.restore(&world.disk);
        for world in [&mut world, &mut after] {
            let command = Command::Transact(Lane::default(), operations.clone());
            world.apply(0, Event::Command(OTHER, Token(3), command, None));
            world.carry_all();
            assert_eq!(replies(world), [(3, Ok(Reply::Done))]);
            assert_eq!((world.disk.count("/queue/a"), world.disk.count("/queue/b")), (2, 1));
        }
    }
}

/// Fails when a number counts that was only reserved.
#[test]
fn a_large_transaction_that_is_refused_and_sent_again_enters_as_a_whole() {
    let topic = Pattern::parse("/topic/a").unwrap();
    let durable = Subscribe { credit: Some(1), durable: durable(), ..Subscribe::new(ID, topic) };
    let bound = QueueId::of_subscription(&durable.durable.as_ref().unwrap().name).to_string();
    let queue =
        Subscribe { credit: Some(1), ..Subscribe::new(ID, Pattern::parse("/queue/a").unwrap()) };
    let cases: [(&[&str], &Subscribe, &[&str]); 3] = [
        (&["/queue/a"], &queue, &["/queue/a"]),
        // Over two homes, too.
        (&["/queue/b", "/queue/a"], &queue, &["/queue/a", "/queue/b"]),
        (&["/topic/a"], &durable, &[&bound]),
    ];
    for (to, consumer, queues) in cases {
        for (cores, is_durable) in [(1, true), (2, true), (3, true), (2, false)] {
            let broker = BrokerLimits { queue_messages_max: 1_500, ..BrokerLimits::default() };
            let mut world = World::new(cores, Limits { broker, ..Limits::default() });
            world.is_checked = false;
            assert!(taken_by(&mut world, consumer).is_empty());
            let filler = numbered(to[to.len() - 1], "bob", "q", 1, is_durable);
            publish(&mut world, CLIENT, 1, &filler);
            world.carry_all();
            let operations: Vec<_> = (1..=1_500)
                .flat_map(|number| to.iter().map(move |name| (name, number)))
                .map(|(name, number)| numbered(name, "ann", "p", number, is_durable))
                .map(Operation::Publish)
                .collect();
            let transact = |world: &mut World, token| {
                let command = Command::Transact(Lane::default(), operations.clone());
                world.apply(0, Event::Command(CLIENT, Token(token), command, None));
                world.carry_all();
            };
            transact(&mut world, 2);
            assert_eq!(replies(&mut world), [(1, Ok(Reply::Done)), (2, Err(Refusal::Full))]);
            assert_eq!(taken_by(&mut world, consumer), [1]);
            transact(&mut world, 3);
            assert_eq!(replies(&mut world), [(3, Ok(Reply::Done))]);
            let shards = world.shards.iter();
            let depths: BTreeMap<_, _> = shards
                .flat_map(|shard| shard.queues().map(|queue| (queue.name.to_string(), queue.ready)))
                .collect();
            for &name in queues {
                assert_eq!(depths.get(name), Some(&1_500), "{name} on {cores} cores");
            }
            assert_eq!(removed(&world), 0, "{queues:?} on {cores} cores");
        }
    }
}

/// Fails as the one above.
#[test]
fn a_number_that_is_rolled_back_makes_no_lower_one_a_duplicate() {
    let mut world = World::new(1, Limits::default());
    let transact = |world: &mut World, token, number| {
        let message = numbered("/queue/a", "ann", "p", number, true);
        let command = Command::Transact(Lane::default(), vec![Operation::Publish(message)]);
        world.apply(0, Event::Command(CLIENT, Token(token), command, None));
    };
    transact(&mut world, 1, 5_000);
    // The same of one whose message alone the store refuses.
    publish(&mut world, CLIENT, 2, &numbered("/queue/b", "ann", "p", 5_000, true));
    world.gate.set(Some(Refusal::StoreFull));
    world.carry_all();
    let full = Err(Refusal::StoreFull);
    assert_eq!(replies(&mut world), [(1, full.clone()), (2, full)]);
    world.gate.set(None);
    transact(&mut world, 3, 100);
    publish(&mut world, CLIENT, 4, &numbered("/queue/b", "ann", "p", 100, true));
    world.carry_all();
    assert_eq!(replies(&mut world).len(), 2);
    assert_eq!((world.disk.count("/queue/a"), world.disk.count("/queue/b")), (1, 1));
    assert_eq!(removed(&world), 0);
}

#[test]
fn a_transaction_is_refused_while_another_with_its_number_is_not_decided() {
    let mut world = World::new(1, Limits::default());
    let one = numbered("/queue/a", "ann", "p", 1, true);
    let transact = |world: &mut World, connection, token| {
        let operations = vec![Operation::Publish(Arc::clone(&one))];
        let command = Command::Transact(Lane::default(), operations);
        world.apply(0, Event::Command(connection, Token(token), command, None));
    };
    transact(&mut world, CLIENT, 1);
    transact(&mut world, OTHER, 2);
    publish(&mut world, OTHER, 3, &one);
    assert_eq!(replies(&mut world), [(2, Err(Refusal::Busy)), (3, Err(Refusal::Busy))]);
    // The store refuses it: then it may enter.
    world.gate.set(Some(Refusal::StoreFull));
    world.carry_all();
    assert_eq!(replies(&mut world), [(1, Err(Refusal::StoreFull))]);
    world.gate.set(None);
    transact(&mut world, OTHER, 4);
    world.carry_all();
    assert_eq!(replies(&mut world), [(4, Ok(Reply::Done))]);
    assert_eq!((world.disk.count("/queue/a"), removed(&world)), (1, 0));
}

#[test]
fn a_durable_subscription_gets_a_number_once_and_who_is_pushed_to_each_time() {
    for cores in 1..=3 {
        let mut world = World::new(cores, Limits::default());
        let (bound, pushed) = (SubscriptionId(0), SubscriptionId(1));
        let pattern = Pattern::parse("/topic/a").unwrap();
        let durable = durable();
        let queue = QueueId::of_subscription(&durable.as_ref().unwrap().name).to_string();
        let subscribe =
            Subscribe { credit: Some(0), durable, ..Subscribe::new(bound, pattern.clone()) };
        for subscribe in [subscribe, Subscribe::new(pushed, pattern)] {
            let command = Command::Subscribe(Box::new(subscribe));
            world.apply(0, Event::Command(CONSUMER, Token(0), command, None));
            world.carry_all();
        }
        world.outcomes.clear();
        let one = numbered("/topic/a", "ann", "p", 1, true);
        let again = vec![Operation::Publish(Arc::clone(&one))];
        for command in [
            Command::Publish(Lane::default(), Arc::clone(&one)),
            Command::Publish(Lane::default(), one),
            Command::Transact(Lane::default(), again),
        ] {
            world.apply(0, Event::Command(CLIENT, Token(1), command, None));
            world.carry_all();
        }
        let (replied, delivered): (Vec<_>, Vec<_>) = mem::take(&mut world.outcomes)
            .into_iter()
            .partition(|outcome| matches!(outcome, Outcome::Replied(_, Token(1), Ok(_))));
        assert_eq!((replied.len(), delivered.len()), (3, 3), "{delivered:?}");
        assert_eq!((world.disk.count(&queue), removed(&world)), (1, 2));
    }
}

#[test]
fn the_producers_that_were_not_used_for_longest_are_forgotten() {
    let mut world = World::new(1, Limits::default());
    world.is_checked = false;
    let enters = |world: &mut World, user: &str, name: u64| {
        let before = removed(world);
        publish(world, CLIENT, 1, &numbered("/queue/a", user, &name.to_string(), 1, true));
        world.carry_all();
        assert_eq!(replies(world), [(1, Ok(Reply::Done))]);
        removed(world) == before
    };
    assert!(enters(&mut world, "bob", 0));
    assert!((0..1024).all(|name| enters(&mut world, "ann", name)));
    assert!(!enters(&mut world, "ann", 0));
    assert!(enters(&mut world, "ann", 1024));
    assert!(!enters(&mut world, "ann", 0), "it was used");
    assert!(!enters(&mut world, "bob", 0), "no other user makes one be forgotten");
    assert_eq!(world.disk.producers().count(), 1025, "the store forgets them too");
    assert!(enters(&mut world, "ann", 1));
    world.shards[0].assert_consistent();
}

/// Producers send what is not confirmed again, over connections that are lost and from processes that
/// end; queues are full, and the store refuses. Whatever happens, each number is stored once.
#[test]
fn each_number_is_stored_once_whatever_happens() {
    for seed in 0..400 {
        Chaos::run(seed);
    }
}

struct Chaos {
    random: Random,
    world: World,
    cores: u16,
    slot_last: u32,
    token_last: u64,
    /// Between two numbers. With more than one, all is in transactions, of which one that is refused has
    /// none behind it: else what is sent again could be too far below the greatest.
    stride: u64,
    producers: Vec<Sender>,
    /// Who sent what with which token.
    sent: BTreeMap<(ConnectionId, u64), (usize, Vec<u64>)>,
}

#[derive(Default)]
struct Sender {
    connection: Option<ConnectionId>,
    /// The next number that is new, and the next to be sent on this connection.
    next: u64,
    confirmed: BTreeSet<u64>,
}

impl Chaos {
    fn run(seed: u64) {
        let mut random = Random::new(seed);
        let cores = 1 + u16::try_from(random.below(4)).unwrap();
        let (world, producers) = (Self::world(cores), Vec::new());
        let (slot_last, token_last, sent) = (10, 0, BTreeMap::new());
        let stride = random.pick(&[1, 1, 700, 3_000]);
        let mut chaos =
            Self { random, world, cores, slot_last, token_last, stride, producers, sent };
        chaos.producers.extend((0..3).map(|_| Sender::default()));
        let mut stored = BTreeMap::new();
        for _ in 0..400 {
            chaos.step(&mut stored);
        }
        chaos.world.gate.set(None);
        for _ in 0..200 {
            chaos.consume(&mut stored);
            chaos.world.carry_all();
            chaos.observe();
            for sender in 0..chaos.producers.len() {
                if chaos.producers[sender].confirmed.len() < usize::try_from(NUMBERS).unwrap() {
                    chaos.send(sender);
                }
            }
        }
        chaos.consume(&mut stored);
        for (sender, producer) in chaos.producers.iter().enumerate() {
            for number in 0..NUMBERS {
                let count = stored.get(&(sender, number)).copied().unwrap_or_default();
                assert_eq!(count, 1, "seed {seed}: number {number} of {sender}");
                assert!(producer.confirmed.contains(&number), "seed {seed}: {number} of {sender}");
            }
        }
        chaos.world.shards.iter().for_each(broker::Shard::assert_consistent);
    }

    fn world(cores: u16) -> World {
        let broker = BrokerLimits { queue_messages_max: 6, ..BrokerLimits::default() };
        World::new(cores, Limits { broker, ..Limits::default() })
    }

    fn step(&mut self, stored: &mut BTreeMap<(usize, u64), usize>) {
        match self.random.below(40) {
            0..14 => {
                let sender = self.random.below(self.producers.len());
                self.send(sender);
            }
            14..22 => {
                let busy = self.world.busy();
                if !busy.is_empty() {
                    let (from, to) = self.random.pick(&busy);
                    self.world.carry(from, to);
                }
            }
            22..30 => {
                let writing = self.world.writing();
                if !writing.is_empty() {
                    let core = self.random.pick(&writing);
                    self.world.store(core, 1 + self.random.below(3));
                }
            }
            30..33 => {
                let sender = self.random.below(self.producers.len());
                if let Some(connection) = self.producers[sender].connection.take() {
                    self.world.apply(connection.core, Event::Gone(connection));
                }
            }
            33..35 => self.world.gate.set(match broker::StoreGate::refusal(&*self.world.gate) {
                Some(_) => None,
                None => Some(Refusal::StoreFull),
            }),
            35 | 36 => {
                self.world.advance(7_000);
                self.world.time_out();
            }
            39 => {
                // The process ends, and another one begins.
                self.cores = 1 + u16::try_from(self.random.below(4)).unwrap();
                let mut world = Self::world(self.cores);
                world.restore(&self.world.disk);
                self.world = world;
                self.producers.iter_mut().for_each(|sender| sender.connection = None);
            }
            _ => self.consume(stored),
        }
        self.observe();
    }

    /// Sends the next number, or the next ones in a transaction.
    fn send(&mut self, sender: usize) {
        let connection = match self.producers[sender].connection {
            Some(connection) => connection,
            None => {
                self.slot_last += 1;
                let core = u16::try_from(self.random.below(self.cores.into())).unwrap();
                let connection = ConnectionId { core, slot: self.slot_last, generation: 0 };
                let confirmed = &self.producers[sender].confirmed;
                let first = (0..).find(|number| !confirmed.contains(number)).unwrap();
                self.producers[sender].next = first;
                self.producers[sender].connection = Some(connection);
                connection
            }
        };
        let first = self.producers[sender].next;
        // Which numbers are in a transaction is the same each time.
        let numbers: Vec<u64> = match first {
            NUMBERS.. => return,
            _ if first % 5 == 3 => (first..first + 2).collect(),
            _ => vec![first],
        };
        self.producers[sender].next = first + numbers.len() as u64;
        let message = |&number: &u64| {
            let queue = ["/queue/a", "/queue/b"][usize::from(number % 3 == 0)];
            numbered(queue, "ann", &sender.to_string(), number * self.stride, true)
        };
        let mut messages: Vec<_> = numbers.iter().map(message).collect();
        let command = if messages.len() > 1 || self.stride > 1 {
            let operations = messages.into_iter().map(Operation::Publish).collect();
            Command::Transact(Lane::CONNECTION, operations)
        } else {
            Command::Publish(Lane::CONNECTION, messages.remove(0))
        };
        self.token_last += 1;
        self.sent.insert((connection, self.token_last), (sender, numbers));
        let event = Event::Command(connection, Token(self.token_last), command, None);
        self.world.apply(connection.core, event);
    }

    fn observe(&mut self) {
        for outcome in mem::take(&mut self.world.outcomes) {
            let Outcome::Replied(connection, Token(token), result) = outcome else { continue };
            let Some((sender, numbers)) = self.sent.remove(&(connection, token)) else { continue };
            if self.producers[sender].connection != Some(connection) {
                continue;
            }
            match result {
                Ok(_) => self.producers[sender].confirmed.extend(numbers),
                // As STOMP does: the client has to connect again.
                Err(_) => {
                    self.producers[sender].connection = None;
                    self.world.apply(connection.core, Event::Gone(connection));
                }
            }
        }
    }

    /// Takes what is in the queues, and counts it.
    fn consume(&mut self, stored: &mut BTreeMap<(usize, u64), usize>) {
        for queue in ["/queue/a", "/queue/b"] {
            self.slot_last += 1;
            let connection = ConnectionId { core: 0, slot: self.slot_last, generation: 0 };
            let subscribe = Subscribe {
                credit: Some(100),
                ..Subscribe::new(SubscriptionId(0), Pattern::parse(queue).unwrap())
            };
            let command = Command::Subscribe(Box::new(subscribe));
            self.world.apply(0, Event::Command(connection, Token(0), command, None));
            self.world.carry_all();
            for outcome in &self.world.outcomes {
                let Outcome::Delivered(subscriber, delivery) = outcome else { continue };
                assert_eq!(subscriber.connection, connection);
                let id = delivery.message.id;
                let number = u64::try_from(id & MASK).unwrap() / self.stride;
                let key = (usize::try_from(id >> 64).unwrap(), number);
                *stored.entry(key).or_default() += 1;
            }
            self.world.apply(0, Event::Gone(connection));
            self.world.carry_all();
            self.observe();
        }
    }
}

fn durable() -> Option<Box<Durable>> {
    let name = DurableName::new(None, "client", "name").unwrap();
    Some(Box::new(Durable { name, is_shared: false, no_local: false, displaces: false }))
}

fn numbered(queue: &str, user: &str, name: &str, sequence: u64, durable: bool) -> Arc<Message> {
    let producer = Producer { user: user.into(), name: name.into() };
    let id = u128::from(name.parse::<u64>().unwrap_or_default()) << 64 | u128::from(sequence);
    let body = Body::Text("x".into());
    let mut message = Message::new(Destination::parse(queue).unwrap(), id, 0, body);
    message.header.durable = Some(durable);
    message.annotation = Some(Box::new(Annotation::Numbered(Numbered { producer, sequence })));
    Arc::new(message)
}

fn publish(world: &mut World, connection: ConnectionId, token: u64, message: &Arc<Message>) {
    let command = Command::Publish(Lane::default(), Arc::clone(message));
    world.apply(0, Event::Command(connection, Token(token), command, None));
}

/// Takes a message that is in a queue; its number. What is sent behind it enters.
fn taken(world: &mut World, queue: &str) -> Vec<u64> {
    let pattern = Pattern::parse(queue).unwrap();
    taken_by(world, &Subscribe { credit: Some(1), ..Subscribe::new(ID, pattern) })
}

fn taken_by(world: &mut World, subscribe: &Subscribe) -> Vec<u64> {
    let before = world.outcomes.len();
    for command in
        [Command::Subscribe(Box::new(subscribe.clone())), Command::Unsubscribe(ID, Ending::Suspend)]
    {
        world.apply(0, Event::Command(CONSUMER, Token(0), command, None));
        world.carry_all();
    }
    let new = world.outcomes.split_off(before);
    let (own, others): (Vec<_>, _) = new.into_iter().partition(
        |outcome| !matches!(outcome, Outcome::Replied(connection, ..) if *connection != CONSUMER),
    );
    world.outcomes.extend(others);
    let delivered = own.into_iter().filter_map(|outcome| match outcome {
        Outcome::Delivered(_, delivery) => Some(u64::try_from(delivery.message.id & MASK).unwrap()),
        Outcome::Replied(..) | Outcome::Noticed(..) => None,
    });
    delivered.collect()
}

fn removed(world: &World) -> u64 {
    world.shards.iter().map(|shard| shard.stats().duplicates).sum()
}

fn replies(world: &mut World) -> Vec<(u64, Result<Reply, Refusal>)> {
    let outcomes = mem::take(&mut world.outcomes).into_iter();
    let reply = |outcome| match outcome {
        Outcome::Replied(_, Token(token), result) => (token, result),
        Outcome::Noticed(..) | Outcome::Delivered(..) => panic!("{outcome:?}"),
    };
    outcomes.map(reply).collect()
}

const NUMBERS: u64 = 25;
const ID: SubscriptionId = SubscriptionId(9);
const MASK: u128 = u64::MAX as u128;
const CLIENT: ConnectionId = ConnectionId { core: 0, slot: 1, generation: 0 };
const OTHER: ConnectionId = ConnectionId { core: 0, slot: 2, generation: 0 };
const CONSUMER: ConnectionId = ConnectionId { core: 0, slot: 3, generation: 0 };
