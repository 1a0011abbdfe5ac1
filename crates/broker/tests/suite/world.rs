//! Some shards, the channels between them, and a store.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use broker::{
    Effect, Event, Ledger, LoadId, OnDisk, Placement, Pool, QueueId, QueuePosition, Quota, Record,
    RecordBatch, Shard, ShardMessage, StoreGate, Subscriber,
};
use contract::{
    BrokerLimits, ConnectionId, ConnectionLimits, Delivery, Message, Notice, Now, QueueRules,
    QuotaLimits, Refusal, Reply, Token,
};

use crate::{
    disk::{self, Disk},
    real_store::RealStore,
};

/// What reaches a connection.
#[derive(Debug)]
pub(crate) enum Outcome {
    Replied(ConnectionId, Token, Result<Reply, Refusal>),
    Noticed(ConnectionId, Notice),
    Delivered(Subscriber, Delivery),
}

/// The limits of the broker, and those of connections that come with none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) broker: BrokerLimits,
    pub(crate) connection: ConnectionLimits,
    pub(crate) quotas: QuotaLimits,
    pub(crate) rules: QueueRules,
    /// See [`Shard::with_waiting_bytes_max`].
    pub(crate) waiting_bytes_max: Option<usize>,
    /// See [`Shard::with_latest_per_turn`].
    pub(crate) latest_per_turn: Option<usize>,
    /// See [`Shard::with_selection_per_turn`].
    pub(crate) selection_per_turn: Option<usize>,
    /// See [`Shard::with_search_per_turn`].
    pub(crate) search_per_turn: Option<usize>,
    /// See [`Shard::with_resident_bytes_max`].
    pub(crate) resident_bytes_max: Option<usize>,
}

/// Where the shards draw on their quotas.
#[derive(Debug)]
pub(crate) struct SharedLedger(Mutex<Ledger>);

impl SharedLedger {
    pub(crate) fn new(limits: QuotaLimits) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Ledger::new(limits))))
    }

    pub(crate) fn drawn(&self, quota: Quota) -> usize {
        self.0.lock().unwrap().drawn(quota)
    }

    pub(crate) fn is_unused(&self) -> bool {
        self.0.lock().unwrap().is_unused()
    }
}

impl Pool for SharedLedger {
    fn draw(&self, quota: Quota, least: usize) -> usize {
        self.0.lock().unwrap().draw(quota, least)
    }

    fn overdraw(&self, quota: Quota, amount: usize) {
        self.0.lock().unwrap().overdraw(quota, amount);
    }

    fn give_back(&self, quota: Quota, amount: usize) {
        self.0.lock().unwrap().give_back(quota, amount);
    }
}

/// Whether the store takes durable messages.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    refusal: Mutex<Option<Refusal>>,
    /// What it says first.
    first: Mutex<Option<Refusal>>,
    /// Of [`StoreGate::refusal`].
    calls: AtomicUsize,
    /// See [`StoreGate::is_unread`].
    is_unread: AtomicBool,
}

impl Gate {
    pub(crate) fn set(&self, refusal: Option<Refusal>) {
        *self.refusal.lock().unwrap() = refusal;
    }

    /// Says this once, and after that what it is set to.
    pub(crate) fn say_first(&self, refusal: Refusal) {
        *self.first.lock().unwrap() = Some(refusal);
    }

    pub(crate) fn set_unread(&self, is_unread: bool) {
        self.is_unread.store(is_unread, Ordering::Relaxed);
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

impl StoreGate for Gate {
    fn refusal(&self) -> Option<Refusal> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let first = self.first.lock().unwrap().take();
        first.or_else(|| *self.refusal.lock().unwrap())
    }

    fn is_unread(&self) -> bool {
        self.is_unread.load(Ordering::Relaxed)
    }
}

pub(crate) struct World {
    pub(crate) shards: Vec<Shard>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) ledger: Arc<SharedLedger>,
    channels: BTreeMap<(u16, u16), VecDeque<InFlight>>,
    /// Batches of each core that are not stored.
    writes: BTreeMap<u16, VecDeque<RecordBatch>>,
    pub(crate) disk: Disk,
    /// The store itself, where it runs too.
    pub(crate) store: Option<RealStore>,
    /// What each core wants loaded.
    loads: BTreeMap<u16, VecDeque<(LoadId, QueueId, Vec<QueuePosition>)>>,
    /// Messages that cannot be read.
    pub(crate) unreadable: BTreeSet<QueuePosition>,
    /// Whether what is restored is on the disk only.
    pages: bool,
    pub(crate) now: Now,
    effects: Vec<Effect>,
    pub(crate) outcomes: Vec<Outcome>,
    /// Connections to which nothing is written by itself.
    pub(crate) stalled: BTreeSet<ConnectionId>,
    /// How many of the deliveries that a connection was handed are not written.
    unwritten: BTreeMap<ConnectionId, usize>,
    /// When the cause of the last event came: a shard message when it was sent, others just now.
    pub(crate) caused_at: Now,
    /// Whether the counts of a shard are checked after each event.
    pub(crate) is_checked: bool,
}

struct InFlight {
    sent_at: Now,
    message: ShardMessage,
}

impl World {
    pub(crate) fn new(cores: u16, limits: Limits) -> Self {
        let (broker, connection) = (Arc::new(limits.broker), Arc::new(limits.connection));
        let (ledger, gate) = (SharedLedger::new(limits.quotas), Arc::<Gate>::default());
        let shard = |core| {
            let pool = Arc::clone(&ledger);
            let shard = Shard::new(core, cores, Arc::clone(&broker), Arc::clone(&connection), pool)
                .with_waiting_bytes_max(limits.waiting_bytes_max.unwrap_or(usize::MAX))
                .with_latest_per_turn(limits.latest_per_turn.unwrap_or(usize::MAX))
                .with_queue_rules(limits.rules.clone())
                .with_selection_per_turn(limits.selection_per_turn.unwrap_or(1 << 20))
                .with_store(Arc::<Gate>::clone(&gate));
            let shard = match limits.search_per_turn {
                Some(cost) => shard.with_search_per_turn(cost),
                None => shard,
            };
            match limits.resident_bytes_max {
                Some(bytes) => shard.with_resident_bytes_max(bytes),
                None => shard,
            }
        };
        Self {
            shards: (0..cores).map(shard).collect(),
            gate: Arc::clone(&gate),
            ledger,
            channels: BTreeMap::new(),
            writes: BTreeMap::new(),
            disk: Disk::default(),
            store: None,
            loads: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            pages: limits.resident_bytes_max.is_some(),
            now: Now { mono_ns: 0, unix_ms: 1_000_000 },
            effects: Vec::new(),
            outcomes: Vec::new(),
            stalled: BTreeSet::new(),
            unwritten: BTreeMap::new(),
            caused_at: Now::default(),
            is_checked: true,
        }
    }

    /// The process begins with what another one stored.
    pub(crate) fn restore(&mut self, disk: &Disk) {
        let placement = Placement::new(u16::try_from(self.shards.len()).unwrap());
        for (queue, terms) in &disk.bindings {
            self.disk.apply(Record::Bind(queue.clone(), Arc::clone(terms)));
            for core in 0..u16::try_from(self.shards.len()).unwrap() {
                self.apply(core, Event::Bound(queue.clone(), Arc::clone(terms)));
            }
        }
        for restored in disk.producers() {
            self.disk.restore_numbers(restored.clone());
            let home = placement.home(restored.queue.name());
            self.apply(home, Event::RestoredNumbers(Box::new(restored)));
        }
        for restored in disk.restored() {
            // A disk of its own has it too.
            let (queue, position) = (restored.queue.clone(), restored.position);
            let put = Record::Put(queue.clone(), position, Arc::clone(&restored.message));
            self.disk.apply(put);
            if restored.attempts.count > 0 {
                self.disk.apply(Record::Attempted(queue, position, restored.attempts));
            }
            let home = placement.home(restored.queue.name());
            // Some in memory, so that both are there.
            let is_on_disk = self.pages && position.bits() % 4 > 0;
            if is_on_disk && restored.dead_letter.is_none() {
                let header = &restored.message.header;
                let on_disk = OnDisk {
                    position,
                    bytes: 100,
                    expires_unix_ms: header.expires_unix_ms,
                    due_unix_ms: header.due_unix_ms(),
                    group: header.group,
                    attempts: restored.attempts,
                };
                self.apply(home, Event::RestoredOnDisk(restored.queue, vec![on_disk]));
            } else {
                self.apply(home, Event::Restored(Box::new(restored)));
            }
        }
        self.carry_all();
    }

    pub(crate) fn apply(&mut self, core: u16, event: Event) {
        self.cause(core, event, self.now);
    }

    fn cause(&mut self, core: u16, event: Event, caused_at: Now) {
        self.caused_at = caused_at;
        if let Event::Gone(connection) = event {
            self.unwritten.remove(&connection);
        }
        if let Event::Written(..) = event {
            // What comes of it may have been sent before any time.
            self.caused_at = Now::default();
        }
        let shard = &mut self.shards[usize::from(core)];
        shard.apply(event, self.now, &mut self.effects);
        if self.is_checked {
            shard.assert_consistent();
        }
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Reply(connection, token, result) => {
                    self.outcomes.push(Outcome::Replied(connection, token, result));
                }
                Effect::Notice(connection, notice) => {
                    self.outcomes.push(Outcome::Noticed(connection, notice));
                }
                Effect::Deliver(subscriber, delivery) => {
                    *self.unwritten.entry(subscriber.connection).or_default() += 1;
                    self.outcomes.push(Outcome::Delivered(subscriber, delivery));
                }
                Effect::Fanout(subscribers, message) => {
                    let delivery = Delivery::new(message);
                    let deliveries = subscribers
                        .iter()
                        .map(|&subscriber| Outcome::Delivered(subscriber, delivery.clone()));
                    self.outcomes.extend(deliveries);
                }
                Effect::Store(batch) => {
                    self.writes.entry(core).or_default().push_back(batch);
                }
                Effect::Load(load, queue, positions) => {
                    assert!(!positions.is_empty(), "a load of nothing");
                    self.loads.entry(core).or_default().push_back((load, queue, positions));
                }
                Effect::ToShard(to, message) => {
                    assert_ne!(to, core, "a shard sends nothing to itself");
                    let in_flight = InFlight { sent_at: self.now, message };
                    self.channels.entry((core, to)).or_default().push_back(in_flight);
                }
            }
        }
    }

    /// Carries one message; `false` if there is none on this channel.
    pub(crate) fn carry(&mut self, from: u16, to: u16) -> bool {
        let channel = self.channels.get_mut(&(from, to));
        let Some(InFlight { sent_at, message }) = channel.and_then(VecDeque::pop_front) else {
            return false;
        };
        self.cause(to, Event::FromShard(from, message), sent_at);
        true
    }

    /// Stores the next batches of a core, and tells it once; those that only add are refused while the
    /// gate is closed.
    pub(crate) fn store(&mut self, core: u16, count: usize) {
        let Some(writes) = self.writes.get_mut(&core) else { return };
        let count = count.min(writes.len());
        let batches: Vec<_> = writes.drain(..count).collect();
        let refusal = self.gate.refusal();
        let refusal_of = |batch: &RecordBatch| refusal.filter(|_| Record::only_add(&batch.records));
        let outcomes: Vec<_> = batches.iter().map(|b| (b.id, refusal_of(b))).collect();
        let taken: Vec<_> = batches.into_iter().filter(|b| refusal_of(b).is_none()).collect();
        self.store.iter_mut().for_each(|store| store.write(core, &taken));
        taken.into_iter().flat_map(|batch| batch.records).for_each(|r| self.disk.apply(r));
        let mut upto = None;
        for (id, refusal) in outcomes {
            let Some(refusal) = refusal else {
                upto = Some(id);
                continue;
            };
            upto.take().into_iter().for_each(|upto| self.apply(core, Event::Stored(upto)));
            self.apply(core, Event::StoreRefused(id, refusal));
        }
        if let Some(upto) = upto {
            self.apply(core, Event::Stored(upto));
        }
    }

    /// Whether something waits for each batch of a core that is not stored.
    pub(crate) fn awaited(&self, core: u16) -> Vec<bool> {
        self.writes.get(&core).into_iter().flatten().map(|batch| batch.is_awaited).collect()
    }

    /// Loads the next messages that a core wants.
    pub(crate) fn load(&mut self, core: u16) {
        let next = self.loads.get_mut(&core).and_then(VecDeque::pop_front);
        let Some((load, queue, positions)) = next else { return };
        let read = |position| {
            let is_readable = !self.unreadable.contains(&position);
            (position, is_readable.then(|| self.read(&queue, position)).flatten())
        };
        let messages = positions.into_iter().map(read).collect();
        self.apply(core, Event::Loaded(load, queue, messages));
    }

    /// A message as a process reads it that does not have it in memory.
    fn read(&self, queue: &QueueId, position: QueuePosition) -> Option<Arc<Message>> {
        let kept = self.disk.read(queue, position);
        let Some(store) = &self.store else { return kept };
        let read = store.read(queue, position);
        let is_same = match (&read, &kept) {
            (Some(read), Some(kept)) => disk::parts(read) == disk::parts(kept),
            // What was removed is there until that is synced.
            (Some(_), None) => !store.syncs_commits,
            (None, kept) => kept.is_none(),
        };
        assert!(is_same, "at {position:?} of {queue}: {read:?} and {kept:?}");
        read
    }

    /// The cores that want something loaded.
    pub(crate) fn loading(&self) -> Vec<u16> {
        self.loads.iter().filter(|(_, loads)| !loads.is_empty()).map(|(&core, _)| core).collect()
    }

    /// Writes the next deliveries of a connection; returns how many.
    pub(crate) fn write(&mut self, connection: ConnectionId, count: usize) -> usize {
        let Some(unwritten) = self.unwritten.get_mut(&connection) else { return 0 };
        let count = count.min(*unwritten);
        *unwritten -= count;
        self.unwritten.retain(|_, unwritten| *unwritten > 0);
        self.apply(connection.core, Event::Written(connection, count));
        count
    }

    /// The connections with deliveries that are not written.
    pub(crate) fn reading(&self) -> Vec<ConnectionId> {
        self.unwritten.keys().copied().collect()
    }

    /// The cores with batches that are not stored.
    pub(crate) fn writing(&self) -> Vec<u16> {
        self.writes.iter().filter(|(_, w)| !w.is_empty()).map(|(&core, _)| core).collect()
    }

    /// The channels that hold something.
    pub(crate) fn busy(&self) -> Vec<(u16, u16)> {
        self.channels
            .iter()
            .filter(|(_, channel)| !channel.is_empty())
            .map(|(&channel, _)| channel)
            .collect()
    }

    pub(crate) fn carry_all(&mut self) {
        loop {
            if let Some(&core) = self.writing().first() {
                self.store(core, usize::MAX);
            } else if let Some(&core) = self.loading().first() {
                self.load(core);
            } else if let Some(&(from, to)) = self.busy().first() {
                self.carry(from, to);
            } else if let Some(&core) = self.deferring().first() {
                self.apply(core, Event::Turn);
            } else if let Some(&connection) =
                self.reading().iter().find(|c| !self.stalled.contains(c))
            {
                self.write(connection, usize::MAX);
            } else {
                break;
            }
        }
    }

    /// The cores on which subscriptions wait for the next turn.
    pub(crate) fn deferring(&self) -> Vec<u16> {
        let cores = (0..).zip(&self.shards).filter(|(_, shard)| shard.has_deferred());
        cores.map(|(core, _)| core).collect()
    }

    /// Nothing is left in the store.
    pub(crate) fn assert_nothing_is_stored(&self) {
        assert!(self.disk.is_empty(), "left in the store: {:?}", self.disk);
        self.store.iter().for_each(|store| store.assert_keeps_the_same(&self.disk));
    }

    /// The cores on which searches in queues go on when time has passed.
    pub(crate) fn searching(&self) -> Vec<u16> {
        let cores = (0..).zip(&self.shards).filter(|(_, shard)| shard.is_searching());
        cores.map(|(core, _)| core).collect()
    }

    /// Memory that is in flight, in bytes.
    pub(crate) fn in_flight_bytes(&self) -> usize {
        self.channels.values().flatten().map(|in_flight| in_flight.message.cost()).sum()
    }

    pub(crate) fn advance(&mut self, ms: u64) {
        self.now.mono_ns += ms * 1_000_000;
        self.now.unix_ms += ms;
    }

    pub(crate) fn time_out(&mut self) {
        for core in 0..u16::try_from(self.shards.len()).unwrap() {
            self.apply(core, Event::Timeout);
        }
    }
}
