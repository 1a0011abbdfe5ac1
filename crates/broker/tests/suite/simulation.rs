//! Random connections on random cores, with channels of any latency, watched by a model.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    sync::Arc,
};

use broker::{Event, Stats, Subscriber};
use bytes::Bytes;
use contract::{
    Body, Command, ConnectionId, Credit, Declare, Delivery, Destination, DestinationKind, Limits,
    Message, Mode, Operation, Outcome as Settled, Pattern, Refusal, Settle, Settlement, Subscribe,
    SubscriptionId, Tag, Token,
};
use testkit::Random;

use crate::world::{Outcome, World};

#[test]
fn the_model_holds() {
    let mut total = Stats::default();
    for seed in 0..SEEDS {
        let (log, stats) = Simulation::run(seed);
        if seed % 10 == 0 {
            assert!(log == Simulation::run(seed).0, "seed {seed} does not repeat");
        }
        total.topic_delivered += stats.topic_delivered;
        total.queue_settled += stats.queue_settled;
        total.expired += stats.expired;
        total.dead_lettered += stats.dead_lettered;
        total.dropped += stats.dropped;
        total.refused_full += stats.refused_full;
    }
    // The runs came by what they are to test.
    assert!(total.topic_delivered > 10_000 && total.queue_settled > 5_000, "{total:?}");
    assert!(total.expired > 500 && total.dead_lettered > 200 && total.dropped > 100, "{total:?}");
    assert!(total.refused_full > 100, "{total:?}");
}

struct Simulation {
    world: World,
    random: Random,
    /// No subscription ends and nothing is delivered twice, so that queues keep the order too.
    calm: bool,
    shown: String,
    log: String,
    clients: BTreeMap<ConnectionId, Client>,
    slot_last: u32,
    /// Grows with each message, so that it tells their order.
    id_last: u128,
    producers: BTreeMap<u128, ConnectionId>,
    /// What a subscription to a topic must get, has got, and got last from whom about what.
    expected: BTreeSet<(Subscriber, u128)>,
    got: BTreeSet<(Subscriber, u128)>,
    last: BTreeMap<(Subscriber, ConnectionId, Destination, u8), u128>,
    /// Who has a queue's message, and which messages are done with.
    holders: BTreeMap<u128, Subscriber>,
    settled: BTreeSet<u128>,
    taken: u64,
    /// Publications to queues and settlements in transactions whose answer was never heard.
    unheard_publications: u64,
    unheard_settlements: u64,
}

#[derive(Default)]
struct Client {
    token_last: u64,
    asked: BTreeMap<Token, Asked>,
    subscription_last: u32,
    subscriptions: BTreeMap<SubscriptionId, Subscription>,
    temporaries: Vec<Destination>,
}

enum Asked {
    Subscribe(SubscriptionId),
    Unsubscribe(SubscriptionId),
    Declare,
    PublishTopic,
    PublishQueue,
    Transact { expected: Vec<(Subscriber, u128)>, publications: u64, settles: Vec<(Settle, u128)> },
}

struct Subscription {
    pattern: Pattern,
    settlement: Settlement,
    foreign: bool,
    confirmed: bool,
    ending: bool,
    unsettled: BTreeMap<Tag, u128>,
}

impl Simulation {
    fn run(seed: u64) -> (String, Stats) {
        let limits = Limits {
            subscriptions_max: 6,
            temporary_max: 2,
            prefetch_max: 6,
            transaction_operations_max: 5,
            queue_messages_max: 8,
            queues_max: 8,
            deliveries_max: 3,
            ..Limits::default()
        };
        let cores = u16::try_from(seed % 4 + 1).unwrap();
        let mut simulation = Self {
            world: World::new(cores, limits),
            random: Random::new(seed),
            calm: seed % 8 >= 4,
            shown: String::new(),
            log: String::new(),
            clients: BTreeMap::new(),
            slot_last: 0,
            id_last: 0,
            producers: BTreeMap::new(),
            expected: BTreeSet::new(),
            got: BTreeSet::new(),
            last: BTreeMap::new(),
            holders: BTreeMap::new(),
            settled: BTreeSet::new(),
            taken: 0,
            unheard_publications: 0,
            unheard_settlements: 0,
        };
        for step in 0..STEPS {
            simulation.shown = format!("seed {seed}, step {step}");
            simulation.step();
        }
        simulation.end();
        let stats = simulation.stats();
        (simulation.log, stats)
    }

    fn step(&mut self) {
        match self.random.below(20) {
            0..10 => self.carry(),
            10 => self.pass_time(),
            11 if self.clients.len() < 8 => self.connect(),
            11 if self.random.once_in(8) => self.disconnect(),
            _ => self.act(),
        }
    }

    fn carry(&mut self) {
        let busy = self.world.busy();
        if !busy.is_empty() {
            let (from, to) = self.random.pick(&busy);
            for _ in 0..=self.random.below(4) {
                self.world.carry(from, to);
            }
            self.observe();
        }
    }

    fn pass_time(&mut self) {
        self.world.advance(self.random.below(1500) as u64);
        if self.random.once_in(2) {
            self.world.tick();
            self.observe();
        }
    }

    fn connect(&mut self) {
        self.slot_last += 1;
        let core = u16::try_from(self.random.below(self.world.shards.len())).unwrap();
        let connection = ConnectionId { core, slot: self.slot_last, generation: 1 };
        self.clients.insert(connection, Client::default());
    }

    fn disconnect(&mut self) {
        let connections: Vec<ConnectionId> = self.clients.keys().copied().collect();
        if !self.calm && !connections.is_empty() {
            let connection = self.random.pick(&connections);
            self.gone(connection);
        }
    }

    fn gone(&mut self, connection: ConnectionId) {
        let client = self.clients.remove(&connection).unwrap();
        for asked in client.asked.into_values() {
            match asked {
                Asked::PublishQueue => self.unheard_publications += 1,
                Asked::Transact { publications, settles, .. } => {
                    self.unheard_publications += publications;
                    self.unheard_settlements += settles.len() as u64;
                }
                Asked::Subscribe(_)
                | Asked::Unsubscribe(_)
                | Asked::Declare
                | Asked::PublishTopic => {}
            }
        }
        self.holders.retain(|_, holder| holder.connection != connection);
        self.apply(connection, Event::Gone(connection));
    }

    /// A random connection does something.
    fn act(&mut self) {
        let connections: Vec<ConnectionId> = self.clients.keys().copied().collect();
        if connections.is_empty() {
            return;
        }
        let connection = self.random.pick(&connections);
        match self.random.below(16) {
            0 | 1 => self.subscribe(connection),
            2 if !self.calm => self.unsubscribe(connection),
            3 => self.declare(connection),
            4 | 5 => self.transact(connection),
            6..11 => self.settle(connection),
            11 | 12 => {
                let subscription = self.any_subscription(connection);
                let count = u32::try_from(self.random.below(4)).unwrap();
                self.apply(connection, Event::Credit(connection, subscription, Credit::Add(count)));
            }
            _ => self.publish(connection),
        }
    }

    fn subscribe(&mut self, connection: ConnectionId) {
        let (pattern, foreign) = match self.random.below(4) {
            0 | 1 => (Pattern::parse(self.random.pick(PATTERNS)).unwrap(), false),
            2 => (Pattern::parse(self.random.pick(QUEUES)).unwrap(), false),
            _ => match self.any_temporary() {
                Some((owner, destination)) => (destination.into(), owner != connection),
                None => return,
            },
        };
        let settlement = self.random.pick(&[Settlement::Automatic, Settlement::Explicit]);
        let client = self.clients.get_mut(&connection).unwrap();
        client.subscription_last += 1;
        let id = SubscriptionId(client.subscription_last);
        let subscription = Subscription {
            pattern: pattern.clone(),
            settlement,
            foreign,
            confirmed: false,
            ending: false,
            unsettled: BTreeMap::new(),
        };
        client.subscriptions.insert(id, subscription);
        let credit = u32::try_from(self.random.below(9)).unwrap();
        let subscribe = Subscribe { id, pattern, mode: Mode::Consume, settlement, credit };
        self.ask(connection, Asked::Subscribe(id), Command::Subscribe(Box::new(subscribe)));
    }

    fn unsubscribe(&mut self, connection: ConnectionId) {
        let id = self.any_subscription(connection);
        let client = self.clients.get_mut(&connection).unwrap();
        let subscriber = Subscriber { connection, subscription: id };
        if let Some(subscription) = client.subscriptions.get_mut(&id) {
            if subscription.ending {
                return;
            }
            subscription.ending = true;
            self.holders.retain(|_, holder| *holder != subscriber);
        }
        self.ask(connection, Asked::Unsubscribe(id), Command::Unsubscribe(id));
    }

    fn declare(&mut self, connection: ConnectionId) {
        let kind = self.random.pick(&[DestinationKind::TempQueue, DestinationKind::TempTopic]);
        let destination = Destination::temporary(kind, self.random.bits().into());
        let client = self.clients.get_mut(&connection).unwrap();
        client.temporaries.push(destination.clone());
        self.ask(connection, Asked::Declare, Command::Declare(Declare { destination }));
    }

    fn publish(&mut self, connection: ConnectionId) {
        let message = self.message(connection);
        if message.to.kind().is_queue() {
            return self.ask(connection, Asked::PublishQueue, Command::Publish(message));
        }
        let expected = self.receivers(&message);
        self.expected.extend(expected);
        self.ask(connection, Asked::PublishTopic, Command::Publish(message));
    }

    fn transact(&mut self, connection: ConnectionId) {
        let (mut expected, mut publications, mut settles) = (Vec::new(), 0, Vec::new());
        let mut operations = Vec::new();
        for _ in 0..self.random.below(7) {
            if self.random.once_in(3) {
                if let Some((settle, id)) = self.any_unsettled(connection) {
                    self.holders.remove(&id);
                    operations.push(Operation::Settle(settle.clone()));
                    settles.push((settle, id));
                }
            } else {
                let message = self.message(connection);
                if message.to.kind().is_queue() {
                    publications += 1;
                } else {
                    expected.extend(self.receivers(&message));
                }
                operations.push(Operation::Publish(message));
            }
        }
        let asked = Asked::Transact { expected, publications, settles };
        self.ask(connection, asked, Command::Transact(operations));
    }

    fn settle(&mut self, connection: ConnectionId) {
        let Some((settle, id)) = self.any_unsettled(connection) else { return };
        self.holders.remove(&id);
        if settle.outcome == Settled::Accepted {
            self.finish(id);
        }
        self.apply(connection, Event::Settle(connection, settle, None));
    }

    /// Takes a delivery out of the model, to settle it somehow.
    fn any_unsettled(&mut self, connection: ConnectionId) -> Option<(Settle, u128)> {
        let outcome = match self.random.below(6) {
            0 if !self.calm => Settled::Failed,
            1 if !self.calm => Settled::Released,
            2 => Settled::Rejected,
            _ => Settled::Accepted,
        };
        let client = self.clients.get_mut(&connection)?;
        let lasting = client.subscriptions.iter().filter(|(_, s)| !s.ending);
        let all: Vec<(SubscriptionId, Tag)> =
            lasting.flat_map(|(&id, s)| s.unsettled.keys().map(move |&tag| (id, tag))).collect();
        if all.is_empty() {
            return None;
        }
        let (subscription, tag) = self.random.pick(&all);
        let message = client.subscriptions.get_mut(&subscription)?.unsettled.remove(&tag)?;
        Some((Settle::one(subscription, tag, outcome), message))
    }

    fn any_subscription(&mut self, connection: ConnectionId) -> SubscriptionId {
        let ids: Vec<_> = self.clients[&connection].subscriptions.keys().copied().collect();
        if ids.is_empty() { SubscriptionId(99) } else { self.random.pick(&ids) }
    }

    fn any_temporary(&mut self) -> Option<(ConnectionId, Destination)> {
        let all: Vec<(ConnectionId, &Destination)> = self
            .clients
            .iter()
            .flat_map(|(&owner, client)| client.temporaries.iter().map(move |d| (owner, d)))
            .collect();
        if all.is_empty() {
            return None;
        }
        let (owner, destination) = all[self.random.below(all.len())];
        Some((owner, destination.clone()))
    }

    fn message(&mut self, producer: ConnectionId) -> Arc<Message> {
        let destination = match self.random.below(8) {
            0 | 1 => Destination::parse(self.random.pick(TOPICS)).unwrap(),
            2 => match self.any_temporary() {
                Some((_, destination)) => destination,
                None => Destination::temporary(DestinationKind::TempQueue, 77),
            },
            _ => Destination::parse(self.random.pick(QUEUES)).unwrap(),
        };
        self.id_last += 1;
        self.producers.insert(self.id_last, producer);
        let unix_ms = self.world.now.unix_ms;
        let mut message =
            Message::new(destination, self.id_last, unix_ms, Body::Binary(Bytes::new()));
        message.header.priority = self.random.pick(&[4, 4, 4, 0, 9]);
        if self.random.once_in(4) {
            message.header.expires_unix_ms = Some(unix_ms + self.random.below(3000) as u64);
        }
        Arc::new(message)
    }

    /// The subscriptions that must get this publication to a topic, if they last.
    fn receivers(&self, message: &Message) -> Vec<(Subscriber, u128)> {
        let mut receivers = Vec::new();
        for (&connection, client) in &self.clients {
            for (&subscription, s) in &client.subscriptions {
                if s.confirmed && !s.ending && s.pattern.matches(&message.to) {
                    receivers.push((Subscriber { connection, subscription }, message.id));
                }
            }
        }
        receivers
    }

    fn finish(&mut self, id: u128) {
        assert!(self.settled.insert(id), "{}: message {id} is done with twice", self.shown);
    }

    fn ask(&mut self, connection: ConnectionId, asked: Asked, command: Command) {
        let client = self.clients.get_mut(&connection).unwrap();
        client.token_last += 1;
        let token = Token(client.token_last);
        client.asked.insert(token, asked);
        self.apply(connection, Event::Command(connection, token, command));
    }

    fn apply(&mut self, connection: ConnectionId, event: Event) {
        self.world.apply(connection.core, event);
        self.observe();
    }

    fn observe(&mut self) {
        for outcome in std::mem::take(&mut self.world.outcomes) {
            match outcome {
                Outcome::Replied(connection, token, result) => {
                    writeln!(self.log, "{connection:?} {token:?} {result:?}").unwrap();
                    self.replied(connection, token, result.map(drop));
                }
                Outcome::Delivered(subscriber, delivery) => {
                    writeln!(self.log, "{subscriber:?} {} {:?}", delivery.message.id, delivery.tag)
                        .unwrap();
                    self.delivered(subscriber, &delivery);
                }
            }
        }
    }

    fn replied(&mut self, connection: ConnectionId, token: Token, result: Result<(), Refusal>) {
        let shown = &self.shown;
        let Some(client) = self.clients.get_mut(&connection) else {
            panic!("{shown}: a reply to {connection:?}, which has gone");
        };
        let Some(asked) = client.asked.remove(&token) else {
            panic!("{shown}: a reply to {connection:?} {token:?}, which has one");
        };
        match asked {
            Asked::Subscribe(id) => {
                let subscription = client.subscriptions.get_mut(&id).unwrap();
                assert!(!subscription.foreign || result.is_err(), "{shown}: not the owner");
                subscription.confirmed = result.is_ok();
                if result.is_err() && !subscription.ending {
                    client.subscriptions.remove(&id);
                }
            }
            Asked::Unsubscribe(id) => {
                assert!(result.is_ok(), "{shown}: {result:?}");
                client.subscriptions.remove(&id);
            }
            Asked::Declare | Asked::PublishTopic => {}
            Asked::PublishQueue => self.taken += u64::from(result.is_ok()),
            Asked::Transact { expected, publications, settles } => {
                if result.is_ok() {
                    self.expected.extend(expected);
                    self.taken += publications;
                }
                for (settle, id) in settles {
                    let subscription = client.subscriptions.get_mut(&settle.subscription);
                    if result.is_ok() && settle.outcome == Settled::Accepted {
                        assert!(self.settled.insert(id), "{shown}: {id} is done with twice");
                    } else if result.is_err()
                        && let Some(subscription) = subscription
                    {
                        subscription.unsettled.insert(*settle.tags.start(), id);
                    }
                }
            }
        }
    }

    fn delivered(&mut self, subscriber: Subscriber, delivery: &Delivery) {
        let message = &delivery.message;
        let (id, destination) = (message.id, &message.to);
        let shown = format!("{}: message {id} to {destination} for {subscriber:?}", self.shown);
        let client = self.clients.get_mut(&subscriber.connection);
        let subscription = client.and_then(|c| c.subscriptions.get_mut(&subscriber.subscription));
        let Some(subscription) = subscription else { panic!("{shown}: no such subscription") };
        assert!(!subscription.ending, "{shown}: the subscription has ended");
        assert!(!subscription.foreign, "{shown}: not the owner");
        assert!(subscription.pattern.matches(destination), "{shown}: no interest");
        let explicit =
            destination.kind().is_queue() && subscription.settlement == Settlement::Explicit;
        assert_eq!(delivery.tag.is_some(), explicit, "{shown}");
        let dead = message.dead_letter.is_some();
        if !destination.kind().is_queue() || self.calm && !dead {
            let key =
                (subscriber, self.producers[&id], destination.clone(), message.header.priority);
            let last = self.last.insert(key, id);
            assert!(last < Some(id), "{shown}: after message {last:?}");
        }
        if !destination.kind().is_queue() {
            assert!(self.got.insert((subscriber, id)), "{shown}: twice");
            return;
        }
        assert!(delivery.redeliveries < 3, "{shown}: for the {} time", delivery.redeliveries);
        assert!(!self.settled.contains(&id), "{shown}: done with");
        assert_eq!(self.holders.get(&id), None, "{shown}: in other hands");
        match delivery.tag {
            Some(tag) => {
                subscription.unsettled.insert(tag, id);
                self.holders.insert(id, subscriber);
            }
            None => self.finish(id),
        }
    }

    /// All comes to rest, the queues are emptied, all go; nothing is left.
    fn end(&mut self) {
        self.settle_down();
        for (connection, client) in &self.clients {
            assert!(client.asked.is_empty(), "{}: no reply to {connection:?}", self.shown);
        }
        for &(subscriber, id) in &self.expected {
            let lasts = self.clients.get(&subscriber.connection).is_some_and(|client| {
                client.subscriptions.get(&subscriber.subscription).is_some_and(|s| !s.ending)
            });
            let got = self.got.contains(&(subscriber, id));
            assert!(got || !lasts, "{}: message {id} did not reach {subscriber:?}", self.shown);
        }
        self.check_counts();
        self.calm = false;
        for connection in self.clients.keys().copied().collect::<Vec<_>>() {
            self.gone(connection);
        }
        self.settle_down();
        self.check_counts();

        self.slot_last += 1;
        let drain = ConnectionId { core: 0, slot: self.slot_last, generation: 1 };
        self.clients.insert(drain, Client::default());
        let left: Vec<Destination> = self
            .world
            .shards
            .iter()
            .flat_map(|shard| shard.queues().map(|queue| queue.name.clone()))
            .collect();
        for queue in left {
            let client = self.clients.get_mut(&drain).unwrap();
            client.subscription_last += 1;
            let id = SubscriptionId(client.subscription_last);
            let subscription = Subscription {
                pattern: queue.clone().into(),
                settlement: Settlement::Automatic,
                foreign: false,
                confirmed: false,
                ending: false,
                unsettled: BTreeMap::new(),
            };
            client.subscriptions.insert(id, subscription);
            let subscribe = Subscribe {
                id,
                pattern: queue.into(),
                mode: Mode::Consume,
                settlement: Settlement::Automatic,
                credit: 6,
            };
            self.ask(drain, Asked::Subscribe(id), Command::Subscribe(Box::new(subscribe)));
            for _ in 0..5 {
                self.settle_down();
                self.apply(drain, Event::Credit(drain, id, Credit::Add(6)));
            }
        }
        self.gone(drain);
        self.settle_down();
        self.check_counts();
        for shard in &self.world.shards {
            shard.assert_empty();
        }
    }

    fn settle_down(&mut self) {
        for _ in 0..3 {
            self.world.carry_all();
            self.observe();
            self.world.advance(5000);
            self.world.tick();
            self.observe();
        }
        self.world.carry_all();
        self.observe();
    }

    /// Each message that entered a queue left it in one of the known ways, or is in it.
    fn check_counts(&self) {
        let stats = self.stats();
        let depths = self.world.shards.iter().flat_map(broker::Shard::queues);
        let kept: usize = depths.map(|queue| queue.ready + queue.unsettled).sum();
        let left = stats.queue_settled + stats.expired + stats.dropped;
        assert_eq!(stats.queue_published, left + kept as u64, "{}: {stats:?}", self.shown);
        let unheard = stats.queue_published - self.taken;
        assert!(unheard <= self.unheard_publications, "{}: {stats:?}", self.shown);
        let unheard = stats.queue_settled - self.settled.len() as u64;
        assert!(unheard <= self.unheard_settlements, "{}: {stats:?}", self.shown);
    }

    fn stats(&self) -> Stats {
        let mut total = Stats::default();
        for stats in self.world.shards.iter().map(broker::Shard::stats) {
            total.topic_delivered += stats.topic_delivered;
            total.queue_published += stats.queue_published;
            total.queue_settled += stats.queue_settled;
            total.expired += stats.expired;
            total.dead_lettered += stats.dead_lettered;
            total.dropped += stats.dropped;
            total.refused_full += stats.refused_full;
        }
        total
    }
}

const SEEDS: u64 = 240;
const STEPS: usize = 800;
const TOPICS: &[&str] = &["/topic/a", "/topic/a.b", "/topic/a.c", "/topic/b.c"];
const PATTERNS: &[&str] = &[
    "/topic/a",
    "/topic/a.b",
    "/topic/b.c",
    "/topic/*",
    "/topic/a.*",
    "/topic/*.c",
    "/topic/a.>",
    "/topic/a.#",
    "/topic/>",
];
const QUEUES: &[&str] = &["/queue/q", "/queue/r", "/queue/s", "/queue/DLQ.q"];
