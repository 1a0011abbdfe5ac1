//! Durable subscriptions under disorder: their consumers come and go, what is sent and stored is late,
//! and now and then it is looked at what a process would deliver that began with what is stored.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use broker::{Event, Leave};
use contract::{
    Body, Command, ConnectionId, Credit, Destination, Durable, DurableName, Ending, Lane, Message,
    Operation, Outcome as Settled, Pattern, Refusal, Selector, Settle, Settlement, Strings,
    Subscribe, SubscriptionId, Tag, Token,
};
use testkit::Random;

use crate::world::{Limits, Outcome, World};

#[test]
fn a_durable_subscription_misses_nothing() {
    let mut total = Tally::default();
    for seed in 0..SEEDS {
        let tally = Run::new(seed).run();
        total.delivered += tally.delivered;
        total.restarts += tally.restarts;
        total.kept += tally.kept;
        total.refused += tally.refused;
        total.deleted += tally.deleted;
    }
    let Tally { delivered, restarts, kept, refused, deleted } = total;
    let least = [(delivered, 100), (restarts, 4), (kept, 20), (refused, 1), (deleted, 2)];
    assert!(least.iter().all(|(count, each)| *count >= each * SEEDS), "{total:?}");
}

/// How much was tried.
#[derive(Debug, Default)]
struct Tally {
    delivered: u64,
    restarts: u64,
    /// Messages that a process had after a restart, and had to have.
    kept: u64,
    refused: u64,
    deleted: u64,
}

struct Run {
    seed: u64,
    random: Random,
    cores: u16,
    world: World,
    readers: Vec<Reader>,
    /// By the number of the message.
    sent: BTreeMap<u128, Sent>,
    /// What each publication or transaction of a producer published.
    publishing: BTreeMap<(ConnectionId, Token), Vec<u128>>,
    /// Connections that have not gone.
    open: Vec<ConnectionId>,
    token: u64,
    slot: u32,
    tally: Tally,
}

/// A durable subscription, and what its readers know.
struct Reader {
    name: DurableName,
    pattern: &'static str,
    selects_odd: bool,
    state: State,
    connection: Option<ConnectionId>,
    /// What must come, unless it is not confirmed.
    must: BTreeSet<u128>,
    seen: BTreeSet<u128>,
    acked: BTreeSet<u128>,
    /// Those whose settlement was confirmed.
    acked_for_good: BTreeSet<u128>,
    unsettled: BTreeMap<Tag, u128>,
    settling: BTreeMap<Token, u128>,
    /// The last of each producer that came for the first time.
    last: BTreeMap<ConnectionId, u128>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Absent,
    Joining(Token),
    Present,
    Leaving(Token, Ending),
    Deleting(Token),
}

struct Sent {
    to: &'static str,
    producer: ConnectionId,
    durable: bool,
    /// `None`: there is no reply yet.
    is_taken: Option<bool>,
    /// Those of the same transaction.
    with: Vec<u128>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let cores = u16::try_from(1 + random.below(4)).unwrap();
        let reader = |(client, name, pattern, selects_odd)| Reader {
            name: DurableName::new(Some("ann"), client, name).unwrap(),
            pattern,
            selects_odd,
            state: State::Absent,
            connection: None,
            must: BTreeSet::new(),
            seen: BTreeSet::new(),
            acked: BTreeSet::new(),
            acked_for_good: BTreeSet::new(),
            unsettled: BTreeMap::new(),
            settling: BTreeMap::new(),
            last: BTreeMap::new(),
        };
        let readers = [
            ("c", "one", "/topic/a", false),
            ("c", "two", "/topic/>", false),
            ("d", "one", "/topic/*", true),
            ("e", "three", "/topic/b", false),
        ];
        Self {
            seed,
            random,
            cores,
            world: World::new(cores, Limits::default()),
            readers: readers.map(reader).into(),
            sent: BTreeMap::new(),
            publishing: BTreeMap::new(),
            open: PRODUCERS.into(),
            token: 0,
            slot: 100,
            tally: Tally::default(),
        }
    }

    fn run(mut self) -> Tally {
        for step in 0..STEPS {
            self.step();
            self.observe();
            if step % 100 == 99 {
                self.check_restart();
            }
        }
        self.end();
        self.tally
    }

    fn step(&mut self) {
        match self.random.below(14) {
            0 | 1 => self.change_reader(),
            2..5 => self.publish(),
            5..7 => self.settle(),
            7..9 if !self.world.writing().is_empty() => {
                let core = self.random.pick(&self.world.writing());
                let count = 1 + self.random.below(5);
                self.world.store(core, count);
            }
            _ => {
                for _ in 0..1 + self.random.below(3) {
                    let busy = self.world.busy();
                    if busy.is_empty() {
                        break;
                    }
                    let (from, to) = self.random.pick(&busy);
                    self.world.carry(from, to);
                }
                for connection in self.world.reading() {
                    if self.random.once_in(2) {
                        self.world.write(connection, 3);
                    }
                }
            }
        }
    }

    fn next_token(&mut self) -> Token {
        self.token += 1;
        Token(self.token)
    }

    fn command(&mut self, connection: ConnectionId, token: Token, command: Command) {
        self.world.apply(connection.core, Event::Command(connection, token, command, None));
    }

    fn change_reader(&mut self) {
        let index = self.random.below(self.readers.len());
        let token = self.next_token();
        let is_rough = self.random.once_in(2);
        let deletes = self.random.once_in(5);
        let reader = &mut self.readers[index];
        match (reader.state, reader.connection) {
            (State::Absent, None) | (State::Present, None) if !deletes => {
                self.join(index, token);
            }
            (State::Present, None) => {
                reader.state = State::Deleting(token);
                reader.must.clear();
                let delete = Command::Delete(reader.name.clone());
                self.command(PRODUCERS[0], token, delete);
            }
            (State::Present, Some(connection)) if is_rough => {
                let event = if self.random.once_in(2) {
                    Event::Gone(connection)
                } else {
                    Event::Closing(connection, Leave::Orderly)
                };
                reader.leave();
                self.world.apply(connection.core, event);
                // It may be back before its end is known everywhere.
                if self.random.once_in(4) {
                    self.join(index, token);
                }
            }
            (State::Present, Some(connection)) => {
                let ending = if deletes { Ending::Delete } else { Ending::Suspend };
                reader.state = State::Leaving(token, ending);
                if deletes {
                    reader.must.clear();
                }
                let unsubscribe = Command::Unsubscribe(ID, ending);
                self.command(connection, token, unsubscribe);
            }
            _ => {}
        }
    }

    fn join(&mut self, index: usize, token: Token) {
        self.slot += 1;
        let core = u16::try_from(self.random.below(self.cores.into())).unwrap();
        let connection = ConnectionId { core, slot: self.slot, generation: 1 };
        self.open.push(connection);
        let credit = u32::try_from(1 + self.random.below(6)).unwrap();
        let reader = &mut self.readers[index];
        reader.connection = Some(connection);
        reader.state = State::Joining(token);
        let subscribe = reader.subscribe(credit);
        self.command(connection, token, subscribe);
    }

    fn publish(&mut self) {
        let producer = self.random.pick(&PRODUCERS);
        let count = if self.random.once_in(3) { 2 + self.random.below(2) } else { 1 };
        let mut messages = Vec::new();
        let first = self.sent.len() as u128 + 1;
        for id in first..first + count as u128 {
            let to = self.random.pick(&["/topic/a", "/topic/b", "/topic/c"]);
            let mut message = message(to, id);
            let durable = !self.random.once_in(3);
            message.header.durable = Some(durable);
            let with = (first..first + count as u128).collect();
            self.sent.insert(id, Sent { to, producer, durable, is_taken: None, with });
            for reader in self.readers.iter_mut().filter(|reader| reader.wants(to, id)) {
                if reader.is_certain() {
                    reader.must.insert(id);
                }
            }
            messages.push(Arc::new(message));
        }
        let token = self.next_token();
        let ids = (first..first + count as u128).collect();
        self.publishing.insert((producer, token), ids);
        let command = match messages.pop() {
            Some(message) if messages.is_empty() => Command::Publish(Lane(0), message),
            last => {
                let all = messages.into_iter().chain(last).map(Operation::Publish);
                Command::Transact(Lane(0), all.collect())
            }
        };
        self.command(producer, token, command);
    }

    fn settle(&mut self) {
        let index = self.random.below(self.readers.len());
        let token = self.next_token();
        let reader = &mut self.readers[index];
        let Some(connection) = reader.connection.filter(|_| reader.state == State::Present) else {
            return;
        };
        let tags: Vec<Tag> = reader.unsettled.keys().copied().collect();
        if tags.is_empty() {
            return;
        }
        let tag = self.random.pick(&tags);
        let id = reader.unsettled.remove(&tag).unwrap();
        let is_accepted = !self.random.once_in(5);
        let outcome = if is_accepted { Settled::Accepted } else { Settled::Released };
        if is_accepted {
            reader.acked.insert(id);
            reader.settling.insert(token, id);
        }
        let settle = Settle::one(ID, tag, outcome);
        let core = connection.core;
        self.world.apply(core, Event::Settle(connection, settle, is_accepted.then_some(token)));
        self.world.apply(core, Event::Credit(connection, ID, Credit::Add(1)));
    }

    fn observe(&mut self) {
        for outcome in std::mem::take(&mut self.world.outcomes) {
            match outcome {
                Outcome::Replied(connection, token, result) => {
                    self.replied(connection, token, result.map(drop));
                }
                Outcome::Delivered(to, delivery) => {
                    let reader = self.readers.iter_mut();
                    let mut readers = reader.filter(|r| r.connection == Some(to.connection));
                    let reader = readers.next().expect("a delivery to one that has gone");
                    let id = delivery.message.id;
                    let sent = &self.sent[&id];
                    let shown = format!("seed {}: {id} to {}", self.seed, reader.name);
                    assert!(reader.wants(sent.to, id), "{shown}: it does not match");
                    assert!(!reader.acked.contains(&id), "{shown}: it was settled");
                    assert_ne!(sent.is_taken, Some(false), "{shown}: it was refused");
                    if reader.seen.insert(id) {
                        let last = reader.last.insert(sent.producer, id);
                        assert!(last < Some(id), "{shown} after {last:?}");
                    }
                    reader.unsettled.insert(delivery.tag.unwrap(), id);
                    self.tally.delivered += 1;
                }
                Outcome::Noticed(_, notice) => panic!("seed {}: {notice:?}", self.seed),
            }
        }
    }

    fn replied(&mut self, connection: ConnectionId, token: Token, result: Result<(), Refusal>) {
        if let Some(ids) = self.publishing.remove(&(connection, token)) {
            assert_eq!(result, Ok(()), "seed {}: nothing is full", self.seed);
            for id in ids {
                self.sent.get_mut(&id).unwrap().is_taken = Some(true);
            }
            return;
        }
        for reader in &mut self.readers {
            if let Some(id) = reader.settling.remove(&token) {
                reader.acked_for_good.insert(id);
            }
            reader.state = match reader.state {
                State::Joining(other) if other == token => match result {
                    Ok(()) => State::Present,
                    Err(Refusal::DurableInUse) => {
                        // The end of the one before is on its way.
                        self.tally.refused += 1;
                        reader.leave();
                        State::Present
                    }
                    Err(refusal) => panic!("seed {}: {refusal}", self.seed),
                },
                State::Leaving(other, ending) if other == token => {
                    assert_eq!(result, Ok(()), "seed {}", self.seed);
                    reader.leave();
                    if ending == Ending::Delete {
                        reader.forget();
                        self.tally.deleted += 1;
                        State::Absent
                    } else {
                        State::Present
                    }
                }
                State::Deleting(other) if other == token => match result {
                    Ok(()) => {
                        reader.forget();
                        self.tally.deleted += 1;
                        State::Absent
                    }
                    Err(Refusal::DurableInUse) => State::Present,
                    Err(refusal) => panic!("seed {}: {refusal}", self.seed),
                },
                state @ (State::Absent
                | State::Joining(_)
                | State::Present
                | State::Leaving(..)
                | State::Deleting(_)) => state,
            };
        }
    }

    /// What a process would deliver that began now.
    fn check_restart(&mut self) {
        let cores = u16::try_from(1 + self.random.below(4)).unwrap();
        let mut world = World::new(cores, Limits::default());
        world.restore(&self.world.disk);
        self.tally.restarts += 1;
        for (slot, reader) in (1..).zip(&self.readers) {
            if reader.state != State::Present {
                continue;
            }
            let connection = ConnectionId { core: 0, slot, generation: 9 };
            world.outcomes.clear();
            let subscribe = reader.subscribe(u32::MAX);
            world.apply(0, Event::Command(connection, Token(1), subscribe, None));
            world.carry_all();
            let mut found = BTreeSet::new();
            for outcome in &world.outcomes {
                if let Outcome::Delivered(_, delivery) = outcome {
                    assert!(found.insert(delivery.message.id), "seed {}: twice", self.seed);
                    assert!(delivery.redeliveries > 0, "it may have been delivered");
                }
            }
            for (id, sent) in &self.sent {
                let shown =
                    || format!("seed {}: {id} to {} after a restart", self.seed, reader.name);
                let is_found = found.contains(id);
                assert!(!is_found || sent.durable, "{}: it is not durable", shown());
                assert!(!is_found || !reader.acked_for_good.contains(id), "{}: settled", shown());
                let must = sent.durable
                    && sent.is_taken == Some(true)
                    && reader.must.contains(id)
                    && !reader.acked.contains(id);
                assert!(is_found || !must, "{}: lost", shown());
                self.tally.kept += u64::from(must);
                // All of a transaction, or nothing.
                for other in &sent.with {
                    let is_alike = sent.durable
                        && self.sent[other].durable
                        && [id, other]
                            .into_iter()
                            .all(|id| reader.must.contains(id) && !reader.acked.contains(id));
                    assert!(!is_alike || found.contains(other) == is_found, "{}: torn", shown());
                }
            }
        }
    }

    /// All comes to its end: what must have come has, and nothing is left.
    fn end(&mut self) {
        self.world.carry_all();
        self.observe();
        self.readers.iter_mut().for_each(Reader::leave);
        for connection in std::mem::take(&mut self.open) {
            self.world.apply(connection.core, Event::Gone(connection));
        }
        self.world.carry_all();
        self.world.outcomes.clear();
        for index in 0..self.readers.len() {
            let token = self.next_token();
            let reader = &mut self.readers[index];
            let must = std::mem::take(&mut reader.must);
            let is_present = reader.state != State::Absent;
            let connection = ConnectionId { core: 0, slot: 9, generation: 2 };
            (reader.connection, reader.state) = (Some(connection), State::Joining(token));
            let subscribe = reader.subscribe(u32::MAX);
            self.command(connection, token, subscribe);
            self.world.carry_all();
            self.observe();
            let reader = &self.readers[index];
            let here: BTreeSet<u128> = reader.unsettled.values().copied().collect();
            for id in must.iter().filter(|_| is_present) {
                let is_there = here.contains(id) || reader.acked.contains(id);
                assert!(is_there, "seed {}: {id} to {} is lost", self.seed, reader.name);
            }
            let token = self.next_token();
            self.command(connection, token, Command::Unsubscribe(ID, Ending::Delete));
            self.world.carry_all();
            self.world.outcomes.clear();
            self.readers[index].leave();
            self.world.apply(0, Event::Gone(connection));
        }
        self.world.carry_all();
        for shard in &self.world.shards {
            shard.assert_empty();
        }
        assert!(self.world.disk.is_empty(), "seed {}: {:?}", self.seed, self.world.disk);
    }
}

impl Reader {
    fn subscribe(&self, credit: u32) -> Command {
        let text = "n / 2 * 2 <> n";
        let selector = Arc::new(Selector::parse(text, Strings::Coerced).unwrap());
        Command::Subscribe(Box::new(Subscribe {
            settlement: Settlement::Explicit,
            credit: Some(credit),
            selector: self.selects_odd.then_some(selector),
            durable: Some(Box::new(Durable {
                name: self.name.clone(),
                is_shared: false,
                no_local: false,
                displaces: false,
            })),
            ..Subscribe::new(ID, Pattern::parse(self.pattern).unwrap())
        }))
    }

    fn wants(&self, to: &str, id: u128) -> bool {
        let matches = matches!(self.pattern, "/topic/>" | "/topic/*") || self.pattern == to;
        matches && (!self.selects_odd || id % 2 == 1)
    }

    /// Whether all shards know of it, and it lasts.
    const fn is_certain(&self) -> bool {
        match self.state {
            State::Present | State::Leaving(_, Ending::Suspend) => true,
            State::Absent | State::Joining(_) | State::Deleting(_) | State::Leaving(..) => false,
        }
    }

    /// Its connection has ended, or its subscription.
    fn leave(&mut self) {
        self.connection = None;
        self.unsettled.clear();
    }

    fn forget(&mut self) {
        self.must.clear();
        self.last.clear();
    }
}

fn message(to: &str, id: u128) -> Message {
    let mut parts = contract::Parts::new(Body::Text("x".into()));
    parts.properties.push("n", id.to_string().as_str());
    Message::new(Destination::parse(to).unwrap(), id, 0, parts)
}

const ID: SubscriptionId = SubscriptionId(1);
const PRODUCERS: [ConnectionId; 2] = [
    ConnectionId { core: 0, slot: 1, generation: 1 },
    ConnectionId { core: 0, slot: 2, generation: 1 },
];
const SEEDS: u64 = 200;
const STEPS: usize = 800;
