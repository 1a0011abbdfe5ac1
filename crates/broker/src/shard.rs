use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::Arc,
};

use contract::{
    Command, ConnectionId, Delivery, Destination, Limits, Message, Now, Refusal, Reply, Settle,
    SubscriptionId, Tag, Token,
};
use wire::Map;

use crate::{
    home::Home,
    link::Link,
    parcel::{Letter, Parcel, Post, Subscriber},
    stats::{QueueDepth, Stats},
    topics::Topics,
    transaction::{Deferred, Transaction},
};

/// The branch of the broker that lives on one core, as a pure value.
///
/// The same events at the same times give the same effects.
#[derive(Debug)]
pub struct Shard {
    pub(crate) core: u16,
    pub(crate) cores: u16,
    pub(crate) limits: Arc<Limits>,
    pub(crate) clients: Map<ConnectionId, Client>,
    pub(crate) subscriptions: Map<Subscriber, Subscription>,
    pub(crate) topics: Topics,
    pub(crate) home: Home,
    /// To and from each core; that of this one is not used.
    pub(crate) links: Vec<Link>,
    /// Those under way whose coordinator it is.
    pub(crate) transactions: BTreeMap<u64, Transaction>,
    ticket: u64,
    /// Letters to itself; empty between calls, kept for its memory.
    own: VecDeque<Letter>,
    pub(crate) scratch: Scratch,
    pub(crate) stats: Stats,
}

/// What happens to a shard.
#[derive(Debug)]
pub enum Event {
    /// A connection of this core asks; an [`Effect::Reply`] with the token answers, exactly once
    /// unless the connection goes first.
    Command(ConnectionId, Token, Command),
    /// As [`contract::Outbox::settle`].
    Settle(ConnectionId, Settle),
    /// As [`contract::Outbox::credit`].
    Credit(ConnectionId, SubscriptionId, u32),
    /// A connection has ended: the last event that names it. What it has not settled counts as
    /// delivered in vain, if it was handed over.
    Gone(ConnectionId),
    /// The next parcel from this core.
    Peer(u16, Parcel),
    /// Time has passed; wanted every 100 ms or so.
    Tick,
}

/// What a shard wants done.
#[derive(Debug)]
pub enum Effect {
    /// The answer to a command.
    Reply(ConnectionId, Token, Result<Reply, Refusal>),
    /// A message for one subscription.
    Deliver(Subscriber, Delivery),
    /// A publication to a topic, for each of these subscriptions: a delivery without tag or
    /// redeliveries.
    ///
    /// Who keeps the list beyond the next [`Shard::apply`] causes it to be copied when it changes.
    Fanout(Arc<Vec<Subscriber>>, Arc<Message>),
    /// The next parcel for this core.
    Peer(u16, Parcel),
}

/// A connection of this core that has asked something.
#[derive(Debug, Default)]
pub(crate) struct Client {
    pub(crate) subscriptions: Vec<SubscriptionId>,
    pub(crate) temporaries: Vec<Destination>,
    /// While a transaction is under way: what must come after it.
    pub(crate) deferred: Option<Deferred>,
    /// It has ended, only its transaction has not.
    pub(crate) gone: bool,
}

/// A subscription of a connection of this core.
#[derive(Debug)]
pub(crate) enum Subscription {
    /// To a topic, at an index of its list; the token waits until all shards know of it.
    Topic { topic: usize, index: usize, pending: Option<Token> },
    /// To a queue or temporary destination, at its home.
    Home {
        core: u16,
        destination: Destination,
        /// The last delivery that was handed over.
        seen: Tag,
        /// It was ended, its home has not confirmed that.
        ending: bool,
    },
}

/// Where a publication goes; memory that the next one reuses.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) topics: Vec<usize>,
    pub(crate) cores: Vec<u16>,
}

impl Shard {
    /// The shard of `core`, one of `cores`.
    #[must_use]
    pub fn new(core: u16, cores: u16, limits: Arc<Limits>) -> Self {
        Self {
            core,
            cores,
            clients: Map::default(),
            subscriptions: Map::default(),
            topics: Topics::default(),
            home: Home::new(cores, Arc::clone(&limits)),
            limits,
            links: (0..cores).map(|_| Link::default()).collect(),
            transactions: BTreeMap::new(),
            ticket: 0,
            own: VecDeque::new(),
            scratch: Scratch::default(),
            stats: Stats::default(),
        }
    }

    /// Advances the shard by one event; what is to be done is added to `effects`, in order.
    pub fn apply(&mut self, event: Event, now: Now, effects: &mut Vec<Effect>) {
        let mut post = Post { core: self.core, own: mem::take(&mut self.own), effects };
        match event {
            Event::Command(connection, token, command) => {
                self.command(connection, token, command, &mut post);
            }
            Event::Settle(connection, settle) => self.settle(connection, settle, &mut post),
            Event::Credit(connection, subscription, count) => {
                self.credit(Subscriber { connection, subscription }, count, &mut post);
            }
            Event::Gone(connection) => self.gone(connection, &mut post),
            Event::Peer(from, Parcel(letter)) => {
                let load = letter.load();
                self.read(from, letter, now, &mut post);
                self.taken(from, load, &mut post);
            }
            Event::Tick => self.home.tick(now, &mut post),
        }
        while let Some(letter) = post.own.pop_front() {
            self.read(self.core, letter, now, &mut post);
        }
        self.own = post.own;
    }

    /// What it has done and what it holds.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let home = &self.home.stats;
        Stats {
            connections: self.clients.len(),
            subscriptions: self.subscriptions.len(),
            topics: self.topics.len(),
            queues: self.home.queue_count(),
            transactions: self.transactions.len() + self.home.prepared.len(),
            topic_published: self.stats.topic_published,
            topic_delivered: self.stats.topic_delivered,
            queue_published: home.queue_published,
            queue_delivered: self.stats.queue_delivered,
            queue_settled: home.queue_settled,
            expired: home.expired,
            dead_lettered: home.dead_lettered,
            dropped: home.dropped,
            refused_full: home.refused_full,
        }
    }

    /// How full the queues are that live here.
    pub fn queues(&self) -> impl Iterator<Item = QueueDepth<'_>> {
        self.home.depths()
    }

    fn read(&mut self, from: u16, letter: Letter, now: Now, post: &mut Post<'_>) {
        match letter {
            Letter::AddInterest { pattern, topic, ticket } => {
                self.add_interest(from, &pattern);
                post.send(from, Letter::InterestAdded { topic, ticket });
            }
            Letter::InterestAdded { topic, ticket } => self.interest_added(topic, ticket, post),
            Letter::RemoveInterest(pattern) => self.remove_interest(from, &pattern),
            Letter::Topic(message) => self.fan_in(&message, post),
            Letter::WindowUpdate(load) => self.reported(from, load, post),

            Letter::Publish { connection, token, message } => {
                self.home.publish(connection, token, message, now, post);
            }
            Letter::Subscribe(consume) => self.home.subscribe(*consume, now, post),
            Letter::Unsubscribe { subscriber, destination, token, seen } => {
                self.home.unsubscribe(subscriber, &destination, seen, now, post);
                if let Some(token) = token {
                    post.send(from, Letter::Unsubscribed { subscriber, token });
                }
            }
            Letter::Settle { subscriber, tag, outcome } => {
                self.home.settle(subscriber, tag, outcome, now, post);
            }
            Letter::Credit { subscriber, count } => self.home.credit(subscriber, count, now, post),
            Letter::Declare { owner, token, destination } => {
                self.home.declare(owner, token, destination, post);
            }
            Letter::Undeclare { owner, destination } => {
                self.home.undeclare(owner, &destination, post);
            }
            Letter::Return(held) => self.home.take_back(held, now, post),
            Letter::Prepare { connection, ticket, operations, alone } => {
                self.home.prepare(connection, ticket, operations, alone, now, post);
            }
            Letter::Decide { ticket, commit } => self.home.decide(from, ticket, commit, now, post),

            Letter::Dead(message) => self.home.dead_letter(message, now, post),

            Letter::Answer { connection, token, result } => {
                self.reply(connection, token, result.map(|()| Reply::Done), post);
            }
            Letter::Subscribed { subscriber, token, result } => {
                self.subscribed(subscriber, token, result, post);
            }
            Letter::Unsubscribed { subscriber, token } => {
                self.unsubscribed(subscriber, token, post)
            }
            Letter::Declared { owner, token, destination, result } => {
                self.declared(owner, token, &destination, result, post);
            }
            Letter::Deliver { subscriber, position, delivery } => {
                self.deliver(subscriber, position, delivery, post);
            }
            Letter::Voted { ticket, result } => self.voted(ticket, result, post),
        }
    }

    /// A number never used before.
    pub(crate) const fn ticket(&mut self) -> u64 {
        self.ticket += 1;
        self.ticket
    }

    pub(crate) fn others(&self) -> impl Iterator<Item = u16> + use<> {
        let core = self.core;
        (0..self.cores).filter(move |&other| other != core)
    }
}
