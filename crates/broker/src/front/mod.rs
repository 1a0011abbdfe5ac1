//! The front of a core: its connections, their subscriptions and transactions, and the topics.

mod audience;
mod bound;
mod buffer;
mod buffered;
mod by_bytes;
mod clients;
mod ending;
mod fan_out;
mod later;
mod latest;
mod rate;
mod reader;
mod sieve;
mod table;
mod topics;
mod transaction;
mod wildcards;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use contract::{
    ClientName, Command, ConnectionId, ConnectionLimits, Credit, Declare, Destination,
    DestinationKind, Ending, Lane, Message, Mode, Pattern, Refusal, Reply, Selector, Settle,
    Subscribe, SubscriptionId, Tag, Token, internal,
};
use slab::Slab;
use wire::Map;

use self::{
    bound::Gathering,
    buffered::Buffered,
    by_bytes::ByBytes,
    ending::End,
    fan_out::Scratch,
    later::Later,
    reader::{Parked, Reader},
    sieve::Sieve,
    table::Table,
    topics::{Topic, Topics},
    transaction::{Deferred, Transaction},
};
use crate::{
    effort::Effort,
    event::Effect,
    output::ShardOutput,
    placement::Placement,
    queued::QueueId,
    quota::{Account, Usage},
    record::Terms,
    shard_message::{Consume, Publisher, Subscriber, ToFront, ToHome},
    stats::{Shed, Stats},
};

/// What a core knows of its connections, and of the topics.
#[derive(Debug)]
pub(crate) struct Front {
    core: u16,
    cores: u16,
    placement: Placement,
    limits: Arc<ConnectionLimits>,
    clients: Map<ConnectionId, Client>,
    subscriptions: Map<Subscriber, Subscription>,
    /// What is kept of the buffered ones among them.
    buffered: Slab<Buffered>,
    /// Those of them that may be handed more once time has passed, and when.
    timed: BinaryHeap<Reverse<(u64, usize)>>,
    /// What waits for those that want the latest.
    tables: Slab<Table>,
    /// What their places take, see [`Table::places_bytes`].
    places_bytes: usize,
    /// What selects for those with a selector, and where it is.
    sieves: Slab<Sieve>,
    sieves_by_selector: Map<(usize, Arc<Selector>), usize>,
    /// Those with something that is to be looked at, and their serials. Some may have gone.
    unfinished: VecDeque<(usize, u64)>,
    effort: Effort,
    /// Memory for those that are woken.
    woken: Vec<usize>,
    /// Deliveries of the latest that a turn of the core makes, and that are left of it; those that
    /// have theirs in the next, with their serials.
    per_turn: usize,
    turn_left: usize,
    deferred: VecDeque<(usize, u64)>,
    /// The cost of what waits for them, of each message once, and what it may be.
    waiting_bytes: Arc<AtomicUsize>,
    waiting_bytes_max: usize,
    /// Where it waits.
    by_waiting: ByBytes<Holder>,
    /// When the part of each subscription in that is to be measured anew, once more waits than may.
    measure_mono_ns: u64,
    /// See [`crate::Shard::take_shed`].
    shed: Option<Shed>,
    /// Those for which more waits than may.
    overflowing: Vec<Subscriber>,
    /// The connections that were handed something of which it matters when it is written.
    readers: Map<ConnectionId, Reader>,
    topics: Topics,
    /// Those in flight that this front coordinates.
    transactions: BTreeMap<u64, Transaction>,
    /// Publications in flight to several queues.
    gatherings: BTreeMap<u64, Gathering>,
    later: Later,
    /// Numbers requests to other shards: interests, transactions.
    request_last: u64,
    scratch: Scratch,
    /// See [`crate::Shard::take_lookups`].
    lookups: usize,
    topic_published: u64,
    topic_delivered: u64,
    topic_expired: u64,
    topic_dropped: u64,
    topic_conflated: u64,
    queue_delivered: u64,
}

/// A connection of this core that has sent a command.
#[derive(Debug)]
struct Client {
    limits: Arc<ConnectionLimits>,
    subscriptions: Vec<SubscriptionId>,
    /// Of the names of these.
    pattern_bytes: u32,
    temporaries: Vec<Destination>,
    /// Who it is, or wants to be.
    claimed: Option<Box<ClientName>>,
    /// For each lane with a transaction in flight: what must come after it.
    lanes: BTreeMap<Lane, Deferred>,
    /// A publication or a transaction in [`Lane::CONNECTION`] was refused.
    is_refused: bool,
    /// It has ended, only its transactions have not.
    gone: bool,
}

impl Client {
    const fn new(limits: Arc<ConnectionLimits>) -> Self {
        Self {
            limits,
            subscriptions: Vec::new(),
            pattern_bytes: 0,
            temporaries: Vec::new(),
            claimed: None,
            lanes: BTreeMap::new(),
            is_refused: false,
            gone: false,
        }
    }

    /// Whether it may not do this, since it is behind what was refused.
    const fn refuses(&self, command: &Command) -> bool {
        self.is_refused
            && matches!(
                command,
                Command::Publish(Lane::CONNECTION, _) | Command::Transact(Lane::CONNECTION, _)
            )
    }

    /// The bytes of all names with one more, if the limit allows that.
    fn with_name(&self, bytes: usize) -> Option<u32> {
        let all_bytes = self.pattern_bytes as usize + bytes;
        u32::try_from(all_bytes).ok().filter(|_| all_bytes <= self.limits.pattern_bytes_max)
    }

    fn remove_name(&mut self, bytes: usize) {
        match u32::try_from(bytes).ok().and_then(|bytes| self.pattern_bytes.checked_sub(bytes)) {
            Some(rest) => self.pattern_bytes = rest,
            None => internal!("a name was not counted"),
        }
    }
}

/// A subscription of a connection of this core.
#[derive(Debug)]
enum Subscription {
    /// To a topic, at an index of its list; the token waits until all shards know of it.
    Topic { topic: usize, index: usize, pending: Option<Token> },
    /// To a topic, by its credit, rate or policy; its key.
    Buffered(usize),
    /// To a queue or temporary destination, at its home.
    Home(Box<HomeSubscription>),
}

#[derive(Debug)]
struct HomeSubscription {
    core: u16,
    destination: Destination,
    /// The topics of a durable one; its queue is the destination.
    durable: Option<Box<Pattern>>,
    /// What its names and its selector take.
    name_bytes: usize,
    /// What becomes of a durable one.
    becomes: Ending,
    /// Tells it from others that had its name.
    serial: u64,
    /// How many deliveries were handed over.
    delivered: u64,
    /// The last that was handed over, and the last that was written to the connection.
    handed_over: Tag,
    written: Tag,
    /// The cost of those that were written since its home was last told.
    written_bytes: usize,
    /// How many were handed over that are settled when they are written.
    unwritten: usize,
    /// What its connection has no room for.
    parked: VecDeque<Parked>,
    /// It was ended, its home has not confirmed that.
    ending: Option<End>,
}

/// Where messages to topics wait.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Holder {
    /// For subscriptions of a connection, each alone.
    Connection(ConnectionId),
    /// For those that share a table.
    Table(usize),
    /// To be looked at for those that share a selector.
    Sieve(usize),
}

impl Front {
    pub(crate) fn new(
        core: u16,
        cores: u16,
        placement: Placement,
        limits: Arc<ConnectionLimits>,
    ) -> Self {
        Self {
            core,
            cores,
            placement,
            limits,
            clients: Map::default(),
            subscriptions: Map::default(),
            buffered: Slab::new(),
            timed: BinaryHeap::new(),
            tables: Slab::new(),
            places_bytes: 0,
            sieves: Slab::new(),
            sieves_by_selector: Map::default(),
            unfinished: VecDeque::new(),
            effort: Effort::new(),
            woken: Vec::new(),
            per_turn: usize::MAX,
            turn_left: usize::MAX,
            deferred: VecDeque::new(),
            waiting_bytes: Arc::default(),
            waiting_bytes_max: usize::MAX,
            by_waiting: ByBytes::default(),
            measure_mono_ns: 0,
            shed: None,
            overflowing: Vec::new(),
            readers: Map::default(),
            topics: Topics::default(),
            transactions: BTreeMap::new(),
            gatherings: BTreeMap::new(),
            later: Later::default(),
            request_last: 0,
            scratch: Scratch::default(),
            lookups: 0,
            topic_published: 0,
            topic_delivered: 0,
            topic_expired: 0,
            topic_dropped: 0,
            topic_conflated: 0,
            queue_delivered: 0,
        }
    }

    pub(crate) const fn set_waiting_bytes_max(&mut self, bytes: usize) {
        self.waiting_bytes_max = bytes;
    }

    pub(crate) fn opened(&mut self, connection: ConnectionId, limits: Arc<ConnectionLimits>) {
        self.clients.insert(connection, Client::new(limits));
    }

    pub(crate) fn subscriptions(&self, connection: ConnectionId) -> &[SubscriptionId] {
        self.clients.get(&connection).map_or(&[], |client| &client.subscriptions)
    }

    pub(crate) fn pattern_of(&self, subscriber: Subscriber) -> Option<Pattern> {
        Some(match self.subscriptions.get(&subscriber)? {
            Subscription::Topic { topic, .. } => self.topics.get(*topic)?.pattern().clone(),
            Subscription::Buffered(key) => {
                let buffered = self.buffered.get(*key)?;
                self.topics.get(buffered.audience.topic)?.pattern().clone()
            }
            Subscription::Home(home) => match &home.durable {
                Some(pattern) => Pattern::clone(pattern),
                None => home.destination.clone().into(),
            },
        })
    }

    pub(crate) fn command(
        &mut self,
        connection: ConnectionId,
        token: Token,
        command: Command,
        account: Option<Account>,
        output: &mut ShardOutput<'_>,
    ) {
        let make = || Client::new(Arc::clone(&self.limits));
        if self.clients.get_or_insert_with(connection, make).refuses(&command) {
            return self.reply(connection, token, Err(Refusal::Busy), output);
        }
        match self.defer(connection, token, command, account) {
            Some(Command::Claim(client, contest)) => {
                self.claim(connection, token, client, contest, output);
            }
            Some(Command::Subscribe(subscribe)) => {
                let result = self.subscribe(connection, token, &subscribe, account, output);
                if let Err(refusal) = result {
                    self.reply(connection, token, Err(refusal), output);
                }
            }
            Some(Command::Unsubscribe(subscription, becomes)) => {
                let subscriber = Subscriber { connection, subscription };
                if let Some(Subscription::Home(home)) = self.subscriptions.get_mut(&subscriber) {
                    home.becomes = becomes;
                }
                self.unsubscribe(subscriber, token, output);
            }
            Some(Command::Delete(name)) => self.delete(connection, token, &name, output),
            Some(Command::Find(name)) => self.find_durable(connection, token, &name, output),
            Some(Command::Undeclare(destination)) => {
                let result = self.undeclare(connection, destination, output);
                self.reply(connection, token, result.map(|()| Reply::Done), output);
            }
            Some(Command::Publish(lane, message)) => {
                let in_order = lane == Lane::CONNECTION;
                let publisher = Publisher { connection, token, gathering: 0, in_order };
                self.publish(publisher, message, account, output);
            }
            Some(Command::Declare(Declare { destination })) => {
                self.declare(connection, token, destination, account, output);
            }
            Some(Command::Transact(lane, operations)) => {
                self.transact(connection, token, lane, operations, account, output);
            }
            Some(Command::Drain(subscription)) => {
                self.drain(Subscriber { connection, subscription }, token, output);
            }
            None => {}
        }
    }

    /// A message from the home of a queue or temporary destination, on core `from`.
    pub(crate) fn receive(&mut self, from: u16, message: ToFront, output: &mut ShardOutput<'_>) {
        match message {
            ToFront::Replied { connection, token, result } => {
                self.reply(connection, token, result, output);
            }
            ToFront::Bind { queue, terms, request } => self.bind(&queue, &terms, request, output),
            ToFront::Unbind { queue, terms } => self.unbind(&queue, &terms),
            ToFront::DisplaceClient { connection } => self.displace_client(connection, output),
            ToFront::Displace { subscriber } => self.displace(subscriber, output),
            ToFront::Published { publisher, result } => {
                if publisher.in_order && result.is_err_and(Refusal::ends_lane) {
                    self.refuse_behind(publisher.connection);
                    let connection = publisher.connection;
                    output.send_home(from, ToHome::KnowsRefusal { connection });
                }
                self.published(publisher, result, output);
            }
            ToFront::Drained { subscriber, token } => self.drained(subscriber, token, output),
            ToFront::Subscribed { subscriber, token, result } => {
                self.subscribed(subscriber, token, result, output);
            }
            ToFront::Unsubscribed { subscriber } => self.unsubscribed(subscriber, output),
            ToFront::Declared { owner, token, destination, result } => {
                self.declared(owner, token, &destination, result, output);
            }
            ToFront::Deliver { subscriber, source, delivery } => {
                self.deliver(subscriber, source, delivery, output);
            }
            ToFront::Voted { transaction, result } => self.voted(transaction, result, output),
            ToFront::Decided { transaction } => self.decided(transaction, output),
        }
    }

    fn subscribe(
        &mut self,
        connection: ConnectionId,
        token: Token,
        subscribe: &Subscribe,
        account: Option<Account>,
        output: &mut ShardOutput<'_>,
    ) -> Result<(), Refusal> {
        let &Subscribe { id, mode, settlement, .. } = subscribe;
        let pattern = &subscribe.pattern;
        let subscriber = Subscriber { connection, subscription: id };
        if self.subscriptions.contains_key(&subscriber) {
            return Err(Refusal::DuplicateId);
        }
        if !self.allows_latest(subscribe) {
            return Err(Refusal::Limit);
        }
        if !Topics::allows(pattern) {
            return Err(Refusal::TooDeep);
        }
        let Some(client) = self.clients.get_mut(&connection) else {
            internal!("a command of a connection that is not open");
            return Err(Refusal::Busy);
        };
        if client.subscriptions.len() >= client.limits.subscriptions_max {
            return Err(Refusal::Limit);
        }
        let is_buffered = subscribe.is_buffered();
        let key_bytes = if is_buffered { subscribe.on_slow.name_bytes() } else { 0 };
        let selector_bytes = subscribe.selector.as_ref().map_or(0, |selector| selector.bytes());
        let durable = subscribe.durable.as_deref();
        let queue = match durable {
            Some(durable) => Some(QueueId::of_subscription(&durable.name).name().clone()),
            None if pattern.kind() == DestinationKind::Topic => None,
            None => pattern.destination().cloned(),
        };
        let durable_bytes = queue.as_ref().filter(|_| durable.is_some());
        let durable_bytes = durable_bytes.map_or(0, Destination::name_bytes);
        let name_bytes = pattern.name_bytes() + key_bytes + selector_bytes + durable_bytes;
        let pattern_bytes = client.with_name(name_bytes).ok_or(Refusal::PatternBytes)?;
        if mode == Mode::Browse && (!pattern.kind().is_queue() || durable.is_some()) {
            return Err(Refusal::NotFound);
        }
        client.subscriptions.push(id);
        client.pattern_bytes = pattern_bytes;
        let unsettled_max = client.limits.unsettled_max();
        match queue {
            Some(destination) => {
                let core = self.home_of(&destination);
                let subscription = HomeSubscription {
                    core,
                    destination: destination.clone(),
                    durable: durable.map(|_| Box::new(pattern.clone())),
                    name_bytes,
                    becomes: Ending::Suspend,
                    serial: self.next_request(),
                    delivered: 0,
                    handed_over: Tag(0),
                    written: Tag(0),
                    written_bytes: 0,
                    unwritten: 0,
                    parked: VecDeque::new(),
                    ending: None,
                };
                let subscription = Subscription::Home(Box::new(subscription));
                self.subscriptions.insert(subscriber, subscription);
                let consume = Consume {
                    subscriber,
                    token,
                    destination,
                    mode,
                    settlement,
                    credit: subscribe.credit.unwrap_or_default(),
                    unsettled_max,
                    account,
                    selector: subscribe.selector.clone().filter(|_| durable.is_none()),
                    durable: durable.map(|durable| {
                        Arc::new(Terms {
                            pattern: pattern.clone(),
                            selector: subscribe.selector.clone(),
                            is_shared: durable.is_shared,
                            no_local: durable.no_local,
                        })
                    }),
                    displaces: durable.is_some_and(|durable| durable.displaces),
                    precedence: subscribe.precedence,
                };
                output.send_home(core, ToHome::Subscribe(Box::new(consume)));
            }
            None => {
                let confirmed = if is_buffered {
                    self.join_buffered(subscriber, token, subscribe, output)
                } else {
                    let join = |topic: &mut Topic| topic.join(subscriber);
                    let (topic, index, confirmed) = self.join(pattern, join, output);
                    let pending = (!confirmed).then_some(token);
                    let subscription = Subscription::Topic { topic, index, pending };
                    self.subscriptions.insert(subscriber, subscription);
                    confirmed
                };
                if confirmed {
                    self.reply(connection, token, Ok(Reply::Done), output);
                }
            }
        }
        Ok(())
    }

    fn publish(
        &mut self,
        publisher: Publisher,
        message: Arc<Message>,
        account: Option<Account>,
        output: &mut ShardOutput<'_>,
    ) {
        if message.to.kind() == DestinationKind::Topic {
            if message.header.durable == Some(true)
                && let Some(refusal) = output.writes.unread()
            {
                return self.refuse_publisher(publisher, refusal, output);
            }
            let due = message.header.due_unix_ms().filter(|&due| due > output.now.unix_ms);
            return match due {
                None => self.publish_to_topic(publisher, &message, output),
                Some(due) => self.publish_later(publisher, &message, due, account, output),
            };
        }
        let home = self.home_of(&message.to);
        if output.windows.has_room(home, message.cost()) {
            let publish = ToHome::Publish { publisher, queue: None, message, account };
            output.send_home(home, publish);
        } else {
            self.refuse_publisher(publisher, Refusal::Busy, output);
        }
    }

    fn refuse_publisher(
        &mut self,
        publisher: Publisher,
        refusal: Refusal,
        output: &mut ShardOutput<'_>,
    ) {
        let Publisher { connection, token, in_order, .. } = publisher;
        if in_order {
            self.refuse_behind(connection);
        }
        self.reply(connection, token, Err(refusal), output);
    }

    /// What comes behind in [`Lane::CONNECTION`] is refused too.
    fn refuse_behind(&mut self, connection: ConnectionId) {
        if let Some(client) = self.clients.get_mut(&connection) {
            client.is_refused = true;
        }
    }

    fn declare(
        &mut self,
        connection: ConnectionId,
        token: Token,
        destination: Destination,
        account: Option<Account>,
        output: &mut ShardOutput<'_>,
    ) {
        let Some(client) = self.clients.get_mut(&connection) else {
            internal!("a command of a connection that is not open");
            return self.reply(connection, token, Err(Refusal::Busy), output);
        };
        if client.temporaries.len() >= client.limits.temporary_max {
            return self.reply(connection, token, Err(Refusal::Limit), output);
        }
        if !client.temporaries.contains(&destination) {
            client.temporaries.push(destination.clone());
        }
        let home = self.home_of(&destination);
        let owner = connection;
        output.send_home(home, ToHome::Declare { owner, token, destination, account });
    }

    /// Deletes a temporary destination that nothing reads.
    fn undeclare(
        &mut self,
        owner: ConnectionId,
        destination: Destination,
        output: &mut ShardOutput<'_>,
    ) -> Result<(), Refusal> {
        let client = self.clients.get_mut(&owner).ok_or(Refusal::NotFound)?;
        let index = client.temporaries.iter().position(|other| *other == destination);
        let index = index.ok_or(Refusal::NotFound)?;
        let reads = |&subscription: &SubscriptionId| {
            let subscriber = Subscriber { connection: owner, subscription };
            match self.subscriptions.get(&subscriber) {
                Some(Subscription::Home(home)) => home.destination == destination,
                Some(Subscription::Topic { .. } | Subscription::Buffered(_)) | None => false,
            }
        };
        if client.subscriptions.iter().any(reads) {
            return Err(Refusal::Busy);
        }
        client.temporaries.swap_remove(index);
        output.send_home(self.home_of(&destination), ToHome::Undeclare { owner, destination });
        Ok(())
    }

    pub(crate) fn settle(
        &self,
        connection: ConnectionId,
        settle: Settle,
        reply: Option<Token>,
        output: &mut ShardOutput<'_>,
    ) {
        let Settle { subscription, tags, outcome } = settle;
        let subscriber = Subscriber { connection, subscription };
        if let Some(Subscription::Home(home)) = self.subscriptions.get(&subscriber) {
            output.send_home(home.core, ToHome::Settle { subscriber, tags, outcome, reply });
        } else if let Some(token) = reply {
            self.reply(connection, token, Ok(Reply::Done), output);
        }
    }

    pub(crate) fn credit(
        &mut self,
        connection: ConnectionId,
        subscription: SubscriptionId,
        credit: Credit,
        output: &mut ShardOutput<'_>,
    ) {
        let subscriber = Subscriber { connection, subscription };
        match self.subscriptions.get(&subscriber) {
            Some(Subscription::Home(home)) if home.ending.is_none() => {
                let delivered = home.delivered;
                output.send_home(home.core, ToHome::Credit { subscriber, credit, delivered });
            }
            Some(&Subscription::Buffered(key)) => self.credit_buffered(key, credit, output),
            Some(Subscription::Home(_) | Subscription::Topic { .. }) | None => {}
        }
    }

    /// Where nothing needs credit, or nothing is subscribed, none is left.
    fn drain(&mut self, subscriber: Subscriber, token: Token, output: &mut ShardOutput<'_>) {
        match self.subscriptions.get(&subscriber) {
            Some(Subscription::Home(home)) if home.ending.is_none() => {
                output.send_home(home.core, ToHome::Drain { subscriber, token });
            }
            Some(&Subscription::Buffered(key)) => self.drain_buffered(key, token, output),
            Some(_) | None => {
                self.reply(subscriber.connection, token, Ok(Reply::Drained), output);
            }
        }
    }

    /// A home has refused or confirmed a subscription.
    fn subscribed(
        &mut self,
        subscriber: Subscriber,
        token: Token,
        result: Result<(), Refusal>,
        output: &mut ShardOutput<'_>,
    ) {
        if result.is_err()
            && let Some(Subscription::Home(home)) = self.subscriptions.get(&subscriber)
            && home.ending.is_none()
        {
            self.forget(subscriber);
        }
        self.reply(subscriber.connection, token, result.map(|()| Reply::Done), output);
    }

    fn declared(
        &mut self,
        owner: ConnectionId,
        token: Token,
        destination: &Destination,
        result: Result<(), Refusal>,
        output: &mut ShardOutput<'_>,
    ) {
        if result.is_err()
            && let Some(client) = self.clients.get_mut(&owner)
        {
            client.temporaries.retain(|other| other != destination);
        }
        self.reply(owner, token, result.map(|()| Reply::Done), output);
    }

    /// Another shard has processed so much of what was published here.
    pub(crate) fn window_updated(&self, from: u16, bytes: usize, output: &mut ShardOutput<'_>) {
        for (connection, token) in output.windows.updated(from, bytes) {
            self.reply(connection, token, Ok(Reply::Done), output);
        }
    }

    /// Replies to a publication, at once or when the window to `full` has room again.
    fn reply_when_not_full(
        &self,
        full: Option<u16>,
        connection: ConnectionId,
        token: Token,
        output: &mut ShardOutput<'_>,
    ) {
        if !full.is_some_and(|core| output.windows.delay(core, connection, token)) {
            self.reply(connection, token, Ok(Reply::Done), output);
        }
    }

    /// Replies, if the connection is still there.
    fn reply(
        &self,
        connection: ConnectionId,
        token: Token,
        result: Result<Reply, Refusal>,
        output: &mut ShardOutput<'_>,
    ) {
        if self.clients.get(&connection).is_some_and(|client| !client.gone) {
            output.effects.push(Effect::Reply(connection, token, result));
        }
    }

    fn home_of(&self, destination: &Destination) -> u16 {
        self.placement.home(destination)
    }

    /// A number never used before.
    const fn next_request(&mut self) -> u64 {
        self.request_last += 1;
        self.request_last
    }

    fn others(&self) -> impl Iterator<Item = u16> + use<> {
        let core = self.core;
        (0..self.cores).filter(move |&other| other != core)
    }

    /// See [`crate::Shard::take_lookups`].
    pub(crate) const fn take_lookups(&mut self) -> usize {
        std::mem::replace(&mut self.lookups, 0) + self.effort.take_spent()
    }

    pub(crate) fn add_stats(&self, stats: &mut Stats) {
        stats.connections = self.clients.len();
        stats.subscriptions = self.subscriptions.len();
        stats.topics = self.topics.len();
        stats.transactions += self.transactions.len();
        stats.topic_published = self.topic_published;
        stats.topic_delivered = self.topic_delivered;
        stats.expired += self.topic_expired;
        stats.waiting_bytes = self.waiting_bytes.load(Ordering::Relaxed);
        stats.topic_dropped = self.topic_dropped;
        stats.topic_conflated = self.topic_conflated;
        stats.queue_delivered = self.queue_delivered;
    }

    /// See [`crate::Shard::assert_empty`].
    pub(crate) fn assert_empty(&self) {
        assert_eq!(self.clients.len(), 0, "connections");
        assert_eq!(self.subscriptions.len(), 0, "subscriptions");
        assert_eq!(self.buffered.len(), 0, "buffered subscriptions");
        assert_eq!(self.waiting_bytes.load(Ordering::Relaxed), 0, "bytes that wait for them");
        assert_eq!(self.tables.len(), 0, "tables");
        assert_eq!((self.sieves.len(), self.sieves_by_selector.len()), (0, 0), "sieves");
        assert_eq!(self.readers.len(), 0, "readers");
        assert_eq!(self.transactions.len(), 0, "transactions");
        assert_eq!(self.gatherings.len(), 0, "publications to several queues");
        self.later.assert_empty();
        self.topics.assert_empty();
    }

    /// See [`crate::Shard::assert_consistent`].
    pub(crate) fn assert_consistent(&self, usage: &mut Usage) {
        self.later.add_usage(usage);
        self.add_usage_of_transactions(usage);
        self.readers.all(|reader| {
            reader.assert_consistent();
            true
        });
        self.assert_buffered_consistent();
        self.topics.assert_consistent(|subscriber, topic, index| {
            matches!(
                self.subscriptions.get(subscriber),
                Some(&Subscription::Topic { topic: t, index: i, .. }) if (t, i) == (topic, index)
            )
        });
    }
}
