//! The message log: what the durable queues contain, on disk.
//!
//! One folder is one store, and one process at a time has it open. All cores put their batches
//! ([`broker::Effect::Store`]) into one queue; one thread writes them, all that wait together, and
//! syncs once for all of them; then it tells each core ([`broker::Event::Stored`]).
//!
//! ```text
//!  core 0 ── Store::write ──┐                                  ┌── Completions::stored(0, upto)
//!  core 1 ── Store::write ──┼─► queue ─► Writer::run ──────────┼── Completions::stored(1, upto)
//!  core 2 ── Store::write ──┘            write, sync, index    └── Completions::refused(2, ..)
//!                                              │
//!  any thread ─ Reader::read ◄── index ◄───────┘
//! ```
//!
//! A batch takes effect as a whole or not at all, whenever the process or the machine ends. What was
//! reported as stored is there after that, and nothing of it comes again once its removal was.
//!
//! The whole use:
//!
//! ```
//! use std::{path::Path, sync::Arc, thread};
//!
//! use broker::{RecordBatch, Record, WriteId};
//! use store::{Completions, Folder, Options, StoreError, WriteRefusal};
//!
//! /// What wakes the cores.
//! struct Wakes;
//!
//! impl Completions for Wakes {
//!     fn stored(&mut self, core: u16, upto: WriteId) { /* send the core Event::Stored(upto) */ }
//!
//!     fn refused(&mut self, core: u16, write: WriteId, refusal: WriteRefusal) { /* and that */ }
//! }
//!
//! fn run(path: &Path, salt: u64, records: Vec<Record>) -> Result<(), StoreError> {
//!     // `StoreError::Locked` names the process that has it open.
//!     let folder = Folder::open(path)?;
//!     let opened = store::open(Arc::new(folder), Options::new(1, salt))?;
//!     // What the queues contain, before anything else is written.
//!     for queue in opened.queues() {
//!         for stored in opened.messages(&queue) {
//!             let message = opened.reader().read(stored.body)?.expect("what is in a queue");
//!             println!("{} {stored:?} {message:?}", queue.name());
//!         }
//!     }
//!     let (store, writer) = opened.start(Wakes);
//!     // An error ends the process: `drive::tasks` starts the thread there.
//!     let thread = thread::spawn(move || writer.run());
//!     store.write(0, [RecordBatch::awaited(WriteId(1), records)]);
//!     // At the end: what is in the queue is written, and a checkpoint.
//!     store.close();
//!     thread.join().expect("no panic")
//! }
//! # let folder = std::env::temp_dir().join(format!("store-example-{}", std::process::id()));
//! # for _ in 0..2 {
//! #     run(&folder, 7, Vec::new()).unwrap();
//! # }
//! # std::fs::remove_dir_all(folder).unwrap();
//! ```
//!
//! On the disk: segments of checksummed records (`segment.rs`, `record.rs`), in which a message is
//! written once, and a checkpoint of the index (`checkpoint.rs`), from which on the log is read at a
//! start (`recovery.rs`). A segment is removed when no message is in it any more (`compaction.rs`).
#![forbid(unsafe_code)]

#[cfg(test)]
mod attempts;
mod buffer;
#[cfg(test)]
mod busy;
mod change;
mod check;
mod checkpoint;
mod compaction;
mod error;
#[cfg(test)]
mod faults;
pub mod files;
mod fuzzing;
mod index;
mod lock;
mod log;
mod message;
#[cfg(test)]
mod model;
mod packed;
mod reader;
mod record;
mod recovery;
mod segment;
mod spares;
mod stats;
mod terms;
mod unsynced;
mod writer;

use std::{ops::Bound, sync::Arc};

use broker::{Attempts, Numbers, QueueId, QueuePosition, Terms};
use contract::{DeadLetterReason, Group, Producer};

pub use change::BodyId;
pub use check::{Findings, check, dump};
pub use error::{StoreError, WriteRefusal};
pub use files::{Files, Folder};
#[doc(hidden)]
pub use fuzzing::disk_of_records;
pub use reader::Reader;
pub use writer::{Completions, Store, Writer};

/// How a store is used.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The cores that write, numbered from 0.
    pub cores: u16,
    /// A number that no peer can know, new at each start: it keeps a message that looks like records
    /// of the log from being taken for such.
    pub salt: u64,
    /// The size of a segment: what is allocated at once, and removed at once. At least 4 KiB; three
    /// segments are the least that a store takes. Default: 32 MiB.
    pub segment_bytes: u32,
    /// Bytes of batches of one core, as [`broker::Record::cost`] counts, from which on more are
    /// refused ([`WriteRefusal::InFlight`]) until some are written. Default: 128 MiB, for a caller
    /// that lets its publishers wait long before.
    pub in_flight_bytes_max: usize,
    /// Whether what is reported as stored is synced. Else it is written, and synced with the next
    /// [`Store::sync`], or when there is nothing else to do: it survives the end of the process, and
    /// not that of the machine. Default: true.
    pub syncs_commits: bool,
}

impl Options {
    /// The defaults.
    #[must_use]
    pub const fn new(cores: u16, salt: u64) -> Self {
        Self {
            cores,
            salt,
            segment_bytes: 32 << 20,
            in_flight_bytes_max: 128 << 20,
            syncs_commits: true,
        }
    }
}

/// A store that was read, and is not written yet.
#[derive(Debug)]
pub struct Opened {
    log: log::Log,
    reader: Reader,
    options: Options,
}

/// A message in a queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StoredMessage {
    /// Its position in the queue.
    pub position: QueuePosition,
    /// By which [`Reader::read`] finds it.
    pub body: BodyId,
    /// What it takes in the log.
    pub bytes: u32,
    /// When it expires, in milliseconds since 1970.
    pub expires_unix_ms: Option<u64>,
    /// When it may be delivered first, if that was not at once.
    pub due_unix_ms: Option<u64>,
    /// The group that it is in.
    pub group: Option<Group>,
    /// Why it is to leave for the dead-letter queue, if [`broker::Record::DeadLetter`] says so.
    pub dead_letter: Option<DeadLetterReason>,
    /// Those that have failed, as [`broker::Record::Attempted`] says.
    pub attempts: Attempts,
}

/// Opens a store, or makes it. Reads what was written since the last checkpoint, and no bodies from
/// before; transactions that were prepared and not committed are rolled back.
///
/// # Errors
/// When what was written for good cannot be read ([`StoreError::Damaged`], [`StoreError::Missing`]);
/// nothing is changed then. When there is no room for a segment, and when the file system fails.
pub fn open(files: Arc<dyn Files>, options: Options) -> Result<Opened, StoreError> {
    let log = recovery::open(files, &options)?;
    let reader = Reader::new(Arc::clone(&log.index));
    Ok(Opened { log, reader, options })
}

impl Opened {
    /// The durable subscriptions, by their queues.
    #[must_use]
    pub fn bindings(&self) -> Vec<(QueueId, Arc<Terms>)> {
        let index = log::lock(&self.log.index);
        index.bindings.iter().map(|(queue, terms)| (queue.clone(), Arc::clone(terms))).collect()
    }

    /// What has entered queues of producers that number their messages.
    #[must_use]
    pub fn producers(&self) -> Vec<(QueueId, Producer, Numbers)> {
        let index = log::lock(&self.log.index);
        let producers = index
            .producers
            .iter()
            .map(|((queue, producer), numbers)| (queue.clone(), producer.clone(), numbers.clone()));
        producers.collect()
    }

    /// The queues with messages, in the order of their ids.
    #[must_use]
    pub fn queues(&self) -> Vec<QueueId> {
        log::lock(&self.log.index).queues.keys().cloned().collect()
    }

    /// The messages of a queue, in the order of their positions. One that is in several queues has
    /// the same body in each.
    #[must_use]
    pub fn messages(&self, queue: &QueueId) -> Vec<StoredMessage> {
        self.messages_after(queue, None, usize::MAX)
    }

    /// The first of those behind a position, this many at most.
    #[must_use]
    pub fn messages_after(
        &self,
        queue: &QueueId,
        after: Option<QueuePosition>,
        max: usize,
    ) -> Vec<StoredMessage> {
        let index = log::lock(&self.log.index);
        let attempts = index.attempts.get(queue);
        let mut key = (queue.clone(), QueuePosition::default());
        let mut stored = |(position, &body): (QueuePosition, &BodyId)| {
            key.1 = position;
            let dead_letter = index.dead_letters.get(&key).copied();
            let index::Traits { expires_unix_ms, due_unix_ms, group } = index.traits(body);
            let bytes = index.bodies.get(body).map_or(0, |body| body.place.bytes);
            StoredMessage {
                position,
                body,
                bytes,
                expires_unix_ms,
                due_unix_ms,
                group,
                dead_letter,
                attempts: attempts.and_then(|all| all.get(position)).copied().unwrap_or_default(),
            }
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let positions = index.queues.get(queue).map(|positions| positions.iter_from(from));
        positions.into_iter().flatten().take(max).map(&mut stored).collect()
    }

    /// What reads messages.
    #[must_use]
    pub const fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Moves what is left in segments that are less than nine tenths in use, and removes them; for a
    /// store that no gateway uses.
    ///
    /// # Errors
    /// When it is not known what is on the disk.
    pub fn compact(mut self) -> Result<(), StoreError> {
        self.log.compact(90)?;
        self.log.close()
    }

    /// Begins to write. [`Writer::run`] is for a thread of its own.
    #[must_use]
    pub fn start<C: Completions>(self, completions: C) -> (Store, Writer<C>) {
        Store::new(self.log, self.reader, self.options, completions)
    }
}

/// What one batch may take in the log.
pub const BATCH_BYTES_MAX: usize = 1 << 30;
