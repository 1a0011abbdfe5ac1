//! The log against a model, on a disk that loses, tears and reorders what was not synced.

use std::{
    collections::{BTreeMap, BTreeSet},
    io, mem,
    sync::Arc,
};

use broker::{Attempts, Numbers, QueueId, QueuePosition, Record, TransactionId};
use contract::{Body, DeadLetterReason, Destination, Message, Producer};
use testkit::Random;

use crate::{
    Options, StoreError, WriteRefusal,
    files::SimulatedDisk,
    log::{Log, lock},
    packed::PackedMap,
    reader::Reader,
    recovery,
};

/// What the queues contain by the rules, and what is prepared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) queues: BTreeMap<(QueueId, QueuePosition), ModelMessage>,
    pub(crate) producers: BTreeMap<(QueueId, Producer), Numbers>,
    prepared: BTreeMap<(TransactionId, u16), Vec<Record>>,
}

/// A message, why it is to leave for the dead-letter queue, and attempts to deliver it.
type ModelMessage = (Arc<Message>, Option<DeadLetterReason>, Attempts);

impl Model {
    pub(crate) fn apply(&mut self, home: u16, records: &[Record]) {
        for record in records {
            match record {
                Record::Put(queue, position, message) => {
                    let stored = (Arc::clone(message), None, Attempts::default());
                    self.queues.insert((queue.clone(), *position), stored);
                }
                Record::Remove(queue, position) => {
                    self.queues.remove(&(queue.clone(), *position));
                }
                Record::DeadLetter(queue, position, reason) => {
                    if let Some(stored) = self.queues.get_mut(&(queue.clone(), *position)) {
                        stored.1 = Some(*reason);
                    }
                }
                Record::Attempted(queue, position, attempts) => {
                    if let Some(stored) = self.queues.get_mut(&(queue.clone(), *position)) {
                        stored.2 = *attempts;
                    }
                }
                Record::Prepare(transaction, records) => {
                    self.prepared.insert((*transaction, home), records.clone());
                }
                Record::Commit(transaction) => {
                    for other in 0..HOMES {
                        let records = self.prepared.remove(&(*transaction, other));
                        self.apply(other, &records.unwrap_or_default());
                    }
                }
                Record::Rollback(transaction) => {
                    self.prepared.remove(&(*transaction, home));
                }
                Record::Seen(queue, producer, number) => {
                    let key = (queue.clone(), producer.clone());
                    self.producers.entry(key).or_default().insert(*number);
                }
                Record::Forget(queue, producer) => {
                    self.producers.remove(&(queue.clone(), producer.clone()));
                }
                // What is bound has a test of its own.
                Record::Bind(..) | Record::Unbind(_) => {}
            }
        }
    }

    /// What a start finds: no transactions.
    fn restarted(&self) -> Self {
        Self {
            queues: self.queues.clone(),
            producers: self.producers.clone(),
            prepared: BTreeMap::new(),
        }
    }
}

/// What an open log contains, with all bodies read.
pub(crate) fn contents(log: &Log) -> Result<Model, StoreError> {
    let reader = Reader::new(Arc::clone(&log.index));
    let (queues, dead_letters, attempts, producers) = {
        let index = lock(&log.index);
        (
            index.queues.clone(),
            index.dead_letters.clone(),
            index.attempts.clone(),
            index.producers.clone(),
        )
    };
    let mut model = Model { producers, ..Model::default() };
    for (queue, positions) in queues {
        for (position, &body) in positions.iter() {
            let message = reader.read(body)?.expect("a message that is in a queue");
            let key = (queue.clone(), position);
            let dead_letter = dead_letters.get(&key).copied();
            let attempts = attempts.get(&key.0).and_then(|all| all.get(key.1)).copied();
            let stored = (Arc::new(message), dead_letter, attempts.unwrap_or_default());
            model.queues.insert(key, stored);
        }
    }
    Ok(model)
}

pub(crate) fn open(disk: &SimulatedDisk, salt: u64) -> Result<Log, StoreError> {
    recovery::open(Arc::new(disk.clone()), &options(salt))
}

pub(crate) fn options(salt: u64) -> Options {
    Options { segment_bytes: SEGMENT_BYTES, ..Options::new(HOMES, salt) }
}

/// Stores messages from this number on until the disk is full, and returns them. Something else takes
/// what is left of it.
pub(crate) fn fill(disk: &SimulatedDisk, log: &mut Log, first: u64) -> Vec<u64> {
    disk.set_capacity(Some(80 << 10));
    let mut stored = Vec::new();
    for id in first.. {
        let put = Record::Put(queue(0), QueuePosition::from_bits(id), message(id, 700));
        let outcomes = log.commit(&[(0, &[put])], &BTreeSet::new()).unwrap();
        if outcomes == [Some(Err(WriteRefusal::DiskFull))] {
            break;
        }
        stored.push(id);
        while log.maintain().unwrap() {}
    }
    disk.set_capacity(Some(disk.used()));
    stored
}

pub(crate) fn queue(number: usize) -> QueueId {
    QueueId::of(&Destination::parse(&format!("/queue/q{number}")).unwrap()).unwrap()
}

pub(crate) fn message(id: u64, bytes: usize) -> Arc<Message> {
    let byte = u8::try_from(id % 251).unwrap();
    let to = Destination::parse("/queue/q0").unwrap();
    let mut message = Message::new(to, id.into(), id, Body::Binary(vec![byte; bytes].into()));
    message.header.durable = Some(true);
    Arc::new(message)
}

/// Makes batches that make sense, and now and then some that do not.
#[derive(Debug)]
struct Workload {
    random: Random,
    sequence: u64,
    transaction: u64,
    large_messages: bool,
}

type GroupBatch = (u16, Vec<Record>);

impl Workload {
    fn group(&mut self, model: &Model) -> Vec<GroupBatch> {
        let mut model = model.clone();
        let count = 1 + self.random.below(4);
        let mut batch = |_| {
            let (home, records) = self.batch(&model);
            model.apply(home, &records);
            (home, records)
        };
        (0..count).map(&mut batch).collect()
    }

    fn batch(&mut self, model: &Model) -> GroupBatch {
        let home = u16::try_from(self.random.below(HOMES.into())).unwrap();
        let open: Vec<_> = model.prepared.keys().copied().collect();
        let records = match self.random.below(12) {
            0 => {
                self.transaction += 1;
                // Often the number of one that is open already, at another home.
                let number = self.transaction / 2;
                let transaction = TransactionId { core: 0, number };
                if open.contains(&(transaction, home)) {
                    Vec::new()
                } else {
                    vec![Record::Prepare(transaction, self.changes(model))]
                }
            }
            1 if !open.is_empty() => vec![Record::Commit(self.random.pick(&open).0)],
            2 if !open.is_empty() => {
                let (transaction, home) = self.random.pick(&open);
                return (home, vec![Record::Rollback(transaction)]);
            }
            3 if !model.queues.is_empty() => vec![self.attempted(model)],
            _ => self.changes(model),
        };
        (home, records)
    }

    fn attempted(&mut self, model: &Model) -> Record {
        let index = self.random.below(model.queues.len());
        let (queue, position) = model.queues.keys().nth(index).unwrap().clone();
        let count = u32::try_from(self.random.below(4)).unwrap() + 1;
        Record::Attempted(queue, position, Attempts { count, last_unix_ms: self.sequence })
    }

    fn changes(&mut self, model: &Model) -> Vec<Record> {
        let mut records = Vec::new();
        for _ in 0..=self.random.below(4) {
            let stored: Vec<_> = model.queues.keys().collect();
            if self.random.below(20) < 11 || stored.is_empty() {
                self.sequence += 1;
                let bytes = match self.random.below(30) {
                    0 if self.large_messages => self.random.below(3 * SEGMENT_BYTES as usize),
                    1..4 => self.random.below(1500),
                    _ => self.random.below(100),
                };
                let message = message(self.sequence, bytes);
                if self.random.once_in(4) {
                    records.push(self.of_producer());
                }
                // Up to three queues share the body.
                for _ in 0..=self.random.below(3).saturating_sub(self.random.below(3)) {
                    let position = QueuePosition::from_bits(self.sequence);
                    let queue = queue(self.random.below(4));
                    records.push(Record::Put(queue, position, Arc::clone(&message)));
                }
            } else {
                let index = self.random.below(stored.len().min(8));
                let (queue, position) = stored[index].clone();
                records.push(match self.random.below(8) {
                    0 | 1 => Record::DeadLetter(queue, position, DeadLetterReason::Rejected),
                    _ => Record::Remove(queue, position),
                });
            }
        }
        records
    }
}

impl Workload {
    /// Of a few producers; now and then one is forgotten.
    fn of_producer(&mut self) -> Record {
        let queue = queue(self.random.below(2));
        let name = self.random.pick(&["p", "q", "r"]);
        let producer = Producer { user: "ann".into(), name: name.into() };
        if self.random.once_in(8) {
            return Record::Forget(queue, producer);
        }
        let number = self.sequence * self.random.pick(&[1, 3, 3, 500]);
        Record::Seen(queue, producer, number)
    }
}

/// A run of batches, crashes and starts.
#[derive(Debug)]
struct Run {
    disk: SimulatedDisk,
    random: Random,
    workload: Workload,
    model: Model,
    /// The group that is being committed.
    in_flight: Vec<GroupBatch>,
    has_capacity: bool,
    shown: String,
    refused: usize,
}

impl Run {
    fn new(seed: u64, shown: String) -> Self {
        let mut random = Random::new(seed);
        let has_capacity = random.once_in(4);
        let large_messages = random.once_in(4);
        let workload =
            Workload { random: Random::new(seed ^ 1), sequence: 0, transaction: 0, large_messages };
        Self {
            disk: SimulatedDisk::default(),
            random,
            workload,
            model: Model::default(),
            in_flight: Vec::new(),
            has_capacity,
            shown,
            refused: 0,
        }
    }

    /// Opens the store, and does this many things with it.
    fn live(&mut self, steps: usize) -> Result<(), StoreError> {
        let mut log = open(&self.disk, self.random.bits())?;
        self.assert_is(&contents(&log)?, "just opened");
        for _ in 0..steps {
            match self.random.below(10) {
                0 => log.write_synced()?,
                1 | 2 => _ = log.maintain()?,
                3 if self.random.once_in(4) => while log.maintain()? {},
                4 if self.random.once_in(8) => _ = log.write_checkpoint()?,
                5 if self.random.once_in(8) => log.compact(90)?,
                6 if self.random.once_in(8) => break,
                _ => self.commit(&mut log)?,
            }
            check(&log, &self.shown);
        }
        self.assert_is(&contents(&log)?, "at the end");
        if self.random.once_in(2) {
            log.close()?;
        }
        Ok(())
    }

    fn assert_is(&self, found: &Model, when: &str) {
        assert_eq!(found.queues, self.model.queues, "{}: {when}", self.shown);
        assert_eq!(found.producers, self.model.producers, "{}: {when}", self.shown);
    }

    fn commit(&mut self, log: &mut Log) -> Result<(), StoreError> {
        self.in_flight = self.workload.group(&self.model);
        let group: Vec<_> =
            self.in_flight.iter().map(|(home, records)| (*home, &**records)).collect();
        let outcomes = log.commit(&group, &BTreeSet::new())?;
        let group = mem::take(&mut self.in_flight);
        assert_eq!(outcomes.len(), group.len(), "{}", self.shown);
        for ((home, records), outcome) in group.iter().zip(outcomes) {
            match outcome {
                Some(Ok(())) => self.model.apply(*home, records),
                Some(Err(WriteRefusal::DiskFull)) if self.has_capacity => {
                    assert!(Record::only_add(records), "{}", self.shown);
                    self.refused += 1;
                }
                // To be tried again: here it is not.
                None => assert!(self.has_capacity, "{}", self.shown),
                Some(Err(refusal)) => panic!("{}: {refusal}", self.shown),
            }
        }
        if self.has_capacity {
            // On a full disk they are left out.
            let attempts = lock(&log.index).attempts.clone();
            for ((queue, position), stored) in &mut self.model.queues {
                let known = attempts.get(queue).and_then(|all| all.get(*position));
                stored.2 = known.copied().unwrap_or_default();
            }
        }
        Ok(())
    }

    /// A loss of power, with which a group may be stored in part.
    fn crash(&mut self) {
        let group = mem::take(&mut self.in_flight);
        let random = &mut self.random;
        self.disk = self.disk.after_crash(|bound| random.below(bound));
        let found = open(&self.disk, self.random.bits()).and_then(|log| contents(&log));
        let found = found.unwrap_or_else(|error| panic!("{}: {error}", self.shown));
        let mut possible = Vec::new();
        for chosen in 0..1_u32 << group.len() {
            // A prefix; where the disk was full, without some of it.
            if !self.has_capacity && !(chosen + 1).is_power_of_two() {
                continue;
            }
            let mut model = self.model.clone();
            for (index, (home, records)) in group.iter().enumerate() {
                if chosen >> index & 1 == 1 {
                    model.apply(*home, records);
                }
            }
            possible.push((model.queues, model.producers));
        }
        let found = (found.queues, found.producers);
        assert!(
            possible.contains(&found),
            "{}: found {:?}\nwhere {:#?} would be right",
            self.shown,
            (found.0.keys(), found.1),
            possible
                .iter()
                .map(|(queues, producers)| (queues.keys(), producers))
                .collect::<Vec<_>>()
        );
        let (queues, producers) = found;
        self.model = Model { queues, producers, ..Model::default() };
    }

    /// A start and what follows, and another. At which operation the first one crashes, if any;
    /// later ones do at any. Returns the operations of the last.
    fn lives(&mut self, crash_at: Option<u64>, count: usize) -> u64 {
        let mut operations = 0;
        for number in 0..count {
            if self.has_capacity {
                let capacity = self.disk.used().max(12 * u64::from(SEGMENT_BYTES));
                self.disk.set_capacity(Some(capacity));
                self.disk.set_writes_fail_when_full(self.random.once_in(4));
            }
            if let Some(at) = crash_at {
                let at = if number == 0 { at } else { self.random.below(200) as u64 };
                self.disk.crash_at(at);
            }
            let outcome = self.live(40);
            operations = self.disk.operations();
            match outcome {
                Err(_) if self.disk.has_crashed() => self.crash(),
                Ok(()) => self.model = self.model.restarted(),
                Err(StoreError::NoRoom { .. }) if self.has_capacity => {}
                Err(StoreError::Io { source, .. })
                    if self.has_capacity && source.kind() == io::ErrorKind::StorageFull =>
                {
                    self.crash();
                }
                Err(error) => panic!("{}: {error}", self.shown),
            }
            self.disk = self.disk.after_kill();
        }
        operations
    }
}

/// It is to fail
///
/// - if dead segments are removed in `Log::maintain` without a checkpoint that begins behind them;
/// - if a checkpoint is renamed before it is synced, or a segment before its header is;
/// - if `Log::create` or `CheckpointWriter::finish` does not sync the folder;
/// - if `Log::commit` reports before it syncs;
/// - if a transaction that is prepared and not committed outlives a start (`Index::complete`).
#[test]
fn what_was_confirmed_is_there_after_a_crash_at_any_operation() {
    for seed in 0..PREFIX_SEEDS {
        let mut run = Run::new(seed, format!("seed {seed}"));
        let operations = run.lives(None, 1);
        for crash_at in 0..operations {
            Run::new(seed, format!("seed {seed}, crash at {crash_at}")).lives(Some(crash_at), 1);
        }
    }
}

#[test]
fn what_was_confirmed_is_there_after_crash_upon_crash() {
    let (mut refused, mut last) = (0, 0);
    for seed in 0..SEEDS {
        let mut run = Run::new(seed, format!("seed {seed}"));
        let first = run.random.below(300) as u64;
        run.lives(Some(first), 6);
        refused += run.refused;
        last += run.model.queues.len();
    }
    assert!(refused > 0, "the disk was never full");
    assert!(last > 0, "nothing was ever stored");
}

/// Checks what the index counts.
fn check(log: &Log, shown: &str) {
    let index = lock(&log.index);
    for (number, segment) in &index.segments {
        let bodies = index.bodies.values().filter(|body| body.place.segment == *number);
        let live: u64 = bodies.map(|body| u64::from(body.place.bytes)).sum();
        assert_eq!(segment.live_bytes, live, "{shown}: segment {number}");
    }
    let positions = index.queues.values().flat_map(PackedMap::values);
    assert!(positions.into_iter().all(|body| index.bodies.contains_key(*body)), "{shown}");
}

const HOMES: u16 = 2;
const SEGMENT_BYTES: u32 = 4096;
const PREFIX_SEEDS: u64 = 24;
const SEEDS: u64 = 1000;
