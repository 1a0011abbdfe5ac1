//! The store itself, on a disk of its own, beside the map of what it has to keep: whenever the process or
//! the machine ends, what is on the disk is what the map was at a time that the rules allow.

use std::{
    mem,
    sync::{Arc, Mutex},
};

use broker::{QueueId, QueuePosition, Record, RecordBatch, WriteId};
use contract::Message;
use store::{Completions, Opened, Options, Store, WriteRefusal, Writer, files::SimulatedDisk};
use testkit::Random;

use crate::disk::Disk;

/// A store of a process that runs.
pub(crate) struct RealStore {
    disk: SimulatedDisk,
    store: Store,
    writer: Writer<Told>,
    told: Told,
    random: Random,
    pub(crate) syncs_commits: bool,
    /// What is synced.
    synced: Disk,
    /// The batches that are written since, in their order.
    unsynced: Vec<Vec<Record>>,
    /// How often it was looked at what a process would find that had ended in between.
    pub(crate) ends: u64,
}

/// What the store tells the cores.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<(u16, WriteId)>>>);

impl Completions for Told {
    fn stored(&mut self, core: u16, upto: WriteId) {
        self.0.lock().unwrap().push((core, upto));
    }

    fn refused(&mut self, _: u16, write: WriteId, refusal: WriteRefusal) {
        panic!("{write:?} is refused: {refusal}");
    }
}

impl RealStore {
    /// An empty one. `syncs_commits`: what is reported as stored is synced.
    pub(crate) fn new(seed: u64, cores: u16, syncs_commits: bool) -> Self {
        Self::begin(SimulatedDisk::default(), Random::new(seed), cores, syncs_commits)
    }

    fn begin(disk: SimulatedDisk, mut random: Random, cores: u16, syncs_commits: bool) -> Self {
        let salt = random.bits();
        let mut options = options(cores, salt);
        options.syncs_commits = syncs_commits;
        let opened = store::open(Arc::new(disk.clone()), options).unwrap();
        let (synced, told) = (content(&opened), Told::default());
        let (store, writer) = opened.start(told.clone());
        let unsynced = Vec::new();
        Self { disk, store, writer, told, random, syncs_commits, synced, unsynced, ends: 0 }
    }

    /// Writes batches of a core, and now and then does what is done beside them.
    pub(crate) fn write(&mut self, core: u16, batches: &[RecordBatch]) {
        let Some(last) = batches.last() else { return };
        let reported = self.unsynced.len();
        self.unsynced.extend(batches.iter().map(|batch| batch.records.clone()));
        self.ends_now_and_then(reported, |this| {
            this.store.write(core, batches.iter().cloned());
            this.writer.write_queued().unwrap();
        });
        let told = mem::take(&mut *self.told.0.lock().unwrap());
        assert_eq!(told.last(), Some(&(core, last.id)));
        if self.syncs_commits {
            self.synced();
        }
        if self.random.once_in(2) {
            self.ends_now_and_then(self.unsynced.len(), |this| {
                this.writer.step_beside().unwrap();
            });
            self.synced();
        }
    }

    /// What is written is synced.
    fn synced(&mut self) {
        self.unsynced.drain(..).flatten().for_each(|record| self.synced.apply(record));
    }

    /// A message as its reader finds it.
    pub(crate) fn read(&self, queue: &QueueId, position: QueuePosition) -> Option<Arc<Message>> {
        self.store.reader().read_from(queue, position).unwrap().map(Arc::new)
    }

    /// Does something, and looks at what there were if the process or the machine had ended meanwhile.
    /// The first of the unsynced batches, so many, are reported as stored.
    fn ends_now_and_then(&mut self, reported: usize, act: impl FnOnce(&mut Self)) {
        if self.random.once_in(4) {
            self.disk.copy_after(self.random.below(8) as u64);
        }
        act(self);
        let Some(copy) = self.disk.take_copy() else { return };
        self.ends += 1;
        let is_killed = self.random.once_in(2);
        let (found, least) = if is_killed {
            (copy.after_kill(), reported)
        } else {
            (copy.after_crash(|bound| self.random.below(bound)), 0)
        };
        let opened = store::open(Arc::new(found), options(1, self.random.bits())).unwrap();
        let found = content(&opened);
        let allowed = least..=self.unsynced.len();
        let mut allowed = allowed.map(|count| self.upto(count).differences(&found));
        let fewest = allowed.by_ref().min_by_key(Vec::len).unwrap();
        assert!(
            fewest.is_empty(),
            "after an end (killed: {is_killed}), {reported} batches of {} reported: {fewest:#?}",
            self.unsynced.len()
        );
    }

    /// What is stored with the first of the unsynced batches.
    fn upto(&self, count: usize) -> Disk {
        let mut disk = self.synced.clone();
        let records = self.unsynced.iter().take(count).flatten();
        records.for_each(|record| disk.apply(record.clone()));
        disk
    }

    /// The store of the next process, were this one to be killed, or where that loses nothing, were the
    /// machine to lose its power; and what is in it.
    pub(crate) fn next(&mut self, cores: u16) -> (Self, Disk) {
        let disk = if self.syncs_commits && self.random.once_in(2) {
            self.disk.after_crash(|bound| self.random.below(bound))
        } else {
            self.disk.after_kill()
        };
        let random = Random::new(self.random.bits());
        let next = Self::begin(disk, random, cores, self.syncs_commits);
        let found = next.synced.clone();
        self.assert_keeps_the_same(&found);
        (next, found)
    }

    pub(crate) fn assert_keeps_the_same(&self, other: &Disk) {
        let differences = self.upto(self.unsynced.len()).differences(other);
        assert!(differences.is_empty(), "the store keeps something else: {differences:#?}");
    }
}

/// What a store contains that was opened.
fn content(opened: &Opened) -> Disk {
    let mut disk = Disk::default();
    for queue in opened.queues() {
        for stored in opened.messages(&queue) {
            let message = opened.reader().read(stored.body).unwrap().expect("what is in a queue");
            let header = &message.header;
            let traits = (header.expires_unix_ms, header.due_unix_ms(), header.group);
            assert_eq!((stored.expires_unix_ms, stored.due_unix_ms, stored.group), traits);
            disk.apply(Record::Put(queue.clone(), stored.position, Arc::new(message)));
            if let Some(reason) = stored.dead_letter {
                disk.apply(Record::DeadLetter(queue.clone(), stored.position, reason));
            }
            disk.apply(Record::Attempted(queue.clone(), stored.position, stored.attempts));
        }
    }
    for (queue, terms) in opened.bindings() {
        disk.apply(Record::Bind(queue, terms));
    }
    for (queue, producer, numbers) in opened.producers() {
        disk.restore_numbers(broker::RestoredNumbers { queue, producer, numbers });
    }
    disk
}

/// Segments so small that there are many of them.
const fn options(cores: u16, salt: u64) -> Options {
    let mut options = Options::new(cores, salt);
    options.segment_bytes = 16 << 10;
    options
}
