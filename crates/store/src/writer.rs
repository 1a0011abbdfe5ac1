mod stepwise;

use std::{
    collections::{BTreeSet, VecDeque},
    mem,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use broker::{Record, RecordBatch, WriteId};
use contract::internal;

use crate::{
    Options,
    compaction::STEP_BYTES,
    error::{StoreError, WriteRefusal},
    log::Log,
    reader::Reader,
    stats::Counts,
};

/// What the writer tells the cores: on its thread, in the order of each core's batches.
pub trait Completions {
    /// All batches of this core up to this one are on the disk, but those that were refused before.
    fn stored(&mut self, core: u16, upto: WriteId);

    /// Nothing of a batch is stored, now or later. Only one that does nothing but add is refused
    /// ([`Record::Put`], [`Record::Prepare`]).
    fn refused(&mut self, core: u16, write: WriteId, refusal: WriteRefusal);
}

/// Where the cores put their batches. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
    pub(crate) reader: Reader,
}

/// What writes them, for the thread that the caller makes for it.
#[derive(Debug)]
pub struct Writer<C> {
    log: Log,
    shared: Arc<Shared>,
    completions: C,
    /// Batches for which there is no room, and those of their cores that came behind them: a core is
    /// told in order, whatever was written before.
    waiting: VecDeque<Submitted>,
    /// When they are to be tried again.
    retry_at: Option<Instant>,
    pace: Pace,
}

/// How the steps beside the batches keep up with these while they come without a pause.
#[derive(Debug)]
struct Pace {
    /// When one is due, whatever was written.
    next: Instant,
    /// Bytes of the log when the last one ended.
    appended: u64,
    /// One is due when this many more are written.
    due_bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) counts: Arc<Counts>,
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Of each core.
    in_flight_bytes: Box<[AtomicUsize]>,
    in_flight_bytes_max: usize,
}

#[derive(Debug, Default)]
struct Queue {
    batches: VecDeque<Submitted>,
    /// Something waits until one of them is stored.
    is_awaited: bool,
    writer: Waiting,
    /// [`Store::sync`] was called.
    is_sync_due: bool,
    is_closed: bool,
}

/// What the writer waits for.
#[derive(Clone, Copy, Debug, Default)]
enum Waiting {
    #[default]
    No,
    ForAny,
    /// It has batches, none of which is awaited.
    ForAwaited,
}

#[derive(Debug)]
struct Submitted {
    core: u16,
    write: WriteId,
    records: Vec<Record>,
    bytes: usize,
    /// It is not to be written; it is here because the core is told in order.
    outcome: Option<Result<(), WriteRefusal>>,
}

/// What the writer is to do next.
enum Next {
    Batches(VecDeque<Submitted>),
    Maintenance,
    /// What waits for room is to be tried again.
    Retry,
    End,
}

impl Store {
    pub(crate) fn new<C>(
        mut log: Log,
        reader: Reader,
        options: Options,
        completions: C,
    ) -> (Self, Writer<C>) {
        let Options { cores, in_flight_bytes_max, syncs_commits, .. } = options;
        let shared = Arc::new(Shared {
            counts: Arc::clone(&log.counts),
            queue: Mutex::default(),
            wake: Condvar::new(),
            in_flight_bytes: (0..cores).map(|_| AtomicUsize::new(0)).collect(),
            in_flight_bytes_max,
        });
        log.syncs_commits = syncs_commits;
        let due_bytes = (log.segment_bytes / STEPS_PER_SEGMENT).min(STEP_DUE_BYTES_MAX);
        let writer = Writer {
            log,
            shared: Arc::clone(&shared),
            completions,
            waiting: VecDeque::new(),
            retry_at: None,
            pace: Pace { next: now(), appended: 0, due_bytes },
        };
        (Self { shared, reader }, writer)
    }

    /// Puts batches of a core into the queue; [`Completions`] tells what became of them. Never waits.
    /// Batches of which none is awaited are written a little later, so that others are synced with them.
    ///
    /// A batch that does nothing but add is refused while [`crate::Options::in_flight_bytes_max`] of
    /// its core are in flight. Any other is stored, however long it takes until there is room.
    pub fn write(&self, core: u16, batches: impl IntoIterator<Item = RecordBatch>) {
        let Some(in_flight) = self.shared.in_flight_bytes.get(usize::from(core)) else {
            return internal!("a batch of a core that does not exist");
        };
        let mut queue = self.shared.lock();
        for RecordBatch { id: write, mut records, is_awaited } in batches {
            let is_full = in_flight.load(Ordering::Relaxed) >= self.shared.in_flight_bytes_max;
            let is_refused = is_full && Record::only_add(&records);
            let outcome = is_refused.then_some(Err(WriteRefusal::InFlight));
            if is_refused {
                records = Vec::new();
            }
            let bytes = records.iter().map(Record::cost).sum();
            in_flight.fetch_add(bytes, Ordering::Relaxed);
            queue.batches.push_back(Submitted { core, write, records, bytes, outcome });
            queue.is_awaited |= is_awaited;
        }
        let wakes = match queue.writer {
            Waiting::No => false,
            Waiting::ForAny => true,
            Waiting::ForAwaited => queue.is_awaited,
        };
        if wakes {
            queue.writer = Waiting::No;
            drop(queue);
            self.shared.wake.notify_one();
        }
    }

    /// Bytes of a core's batches that it was not yet told of: what its publishers wait by.
    #[must_use]
    pub fn in_flight_bytes(&self, core: u16) -> usize {
        let in_flight = self.shared.in_flight_bytes.get(usize::from(core));
        in_flight.map_or(0, |bytes| bytes.load(Ordering::Relaxed))
    }

    /// Has what was written synced: for a store that does not sync before it reports
    /// ([`Options::syncs_commits`]).
    pub fn sync(&self) {
        // Without batches the writer syncs by itself.
        self.shared.lock().is_sync_due = true;
    }

    /// What reads messages.
    #[must_use]
    pub const fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Lets the writer return when it has written what is in the queue.
    pub fn close(&self) {
        self.shared.lock().is_closed = true;
        self.shared.wake.notify_one();
    }
}

impl<C: Completions> Writer<C> {
    /// Writes batches until [`Store::close`].
    ///
    /// # Errors
    /// When it is not known what is on the disk. The process has to end then: what was not reported
    /// as stored may be there or not, and a second try would not tell.
    pub fn run(mut self) -> Result<(), StoreError> {
        let mut has_more = true;
        loop {
            self.log.counts.set_disk_full(self.log.spares.is_disk_full);
            match self.shared.next(has_more, self.retry_at) {
                Next::Batches(batches) => {
                    self.commit(batches)?;
                    has_more = true;
                    if !self.shared.has_batches() {
                        self.log.write_synced()?;
                    }
                    if self.is_step_due() {
                        self.step()?;
                    }
                }
                Next::Retry => {
                    has_more = self.log.maintain()?;
                    self.retry_at = None;
                    self.commit(VecDeque::new())?;
                }
                Next::Maintenance => has_more = self.step()?,
                Next::End => return self.log.close(),
            }
        }
    }

    /// A step beside the batches, which syncs them: as large as what was written since the last, so that
    /// the disk that all takes stays bounded by what is in queues.
    fn step(&mut self) -> Result<bool, StoreError> {
        let begin = now();
        if !self.log.syncs_commits {
            self.log.sync()?;
        }
        let bytes = u32::try_from(2 * self.written()).unwrap_or(u32::MAX);
        let bytes = bytes.clamp(STEP_BYTES, STEP_BYTES_MAX);
        let has_more = self.log.maintain_for(bytes)?;
        self.pace.next = now() + (STEP_TIMES * begin.elapsed()).max(STEP_PAUSE);
        self.pace.appended = self.log.counts.appended_bytes();
        Ok(has_more)
    }

    /// Bytes of the log that were written since the last step.
    fn written(&self) -> u64 {
        self.log.counts.appended_bytes() - self.pace.appended
    }

    /// Whether a step is due though there is no pause: a core may write again whenever it is told.
    fn is_step_due(&self) -> bool {
        let is_time = if self.log.syncs_commits {
            self.pace.next <= now()
        } else {
            mem::take(&mut self.shared.lock().is_sync_due)
        };
        is_time || self.written() >= self.pace.due_bytes
    }

    /// Writes batches, and those that wait if they are to be tried again, and tells what became of
    /// them.
    fn commit(&mut self, batches: VecDeque<Submitted>) -> Result<(), StoreError> {
        // They are tried while others come without a pause, too.
        let is_retry = self.retry_at.is_none_or(|at| at <= now());
        let skipped = if is_retry { 0 } else { self.waiting.len() };
        let before: BTreeSet<_> =
            self.waiting.iter().take(skipped).map(|batch| batch.core).collect();
        let mut all = mem::take(&mut self.waiting);
        all.extend(batches);
        let tried = |batch: &&mut Submitted| batch.outcome.is_none();
        let accepted = all.iter().skip(skipped).filter(|batch| batch.outcome.is_none());
        let accepted: Vec<_> = accepted.map(|batch| (batch.core, &*batch.records)).collect();
        let outcomes = self.log.commit(&accepted, &before)?;
        let mut stored = 0;
        for (batch, outcome) in all.iter_mut().skip(skipped).filter(tried).zip(outcomes) {
            stored += usize::from(outcome == Some(Ok(())));
            batch.outcome = outcome;
        }
        self.log.counts.stored(stored);
        self.tell(all);
        self.retry_at = match self.retry_at {
            _ if self.waiting.is_empty() => None,
            Some(retry_at) if !is_retry => Some(retry_at),
            Some(_) | None => Some(now() + NO_ROOM_PAUSE),
        };
        Ok(())
    }

    /// Tells what became of batches, each core in order. What is not known yet waits, and what is
    /// behind it.
    fn tell(&mut self, batches: VecDeque<Submitted>) {
        let mut stored = vec![None; self.shared.in_flight_bytes.len()];
        let mut waiting = BTreeSet::new();
        for mut batch in batches {
            let core = batch.core;
            let core_index = usize::from(core);
            if batch.outcome.is_some() {
                batch.records = Vec::new();
                let bytes = mem::take(&mut batch.bytes);
                if let Some(in_flight) = self.shared.in_flight_bytes.get(core_index) {
                    in_flight.fetch_sub(bytes, Ordering::Relaxed);
                }
            }
            let outcome = batch.outcome.filter(|_| !waiting.contains(&core));
            let Some(outcome) = outcome else {
                waiting.insert(core);
                self.waiting.push_back(batch);
                continue;
            };
            let Some(upto) = stored.get_mut(core_index) else { continue };
            match outcome {
                Ok(()) => *upto = Some(batch.write),
                Err(refusal) => {
                    if let Some(upto) = upto.take() {
                        self.completions.stored(core, upto);
                    }
                    self.completions.refused(core, batch.write, refusal);
                }
            }
        }
        for (core, upto) in (0..).zip(stored) {
            if let Some(upto) = upto {
                self.completions.stored(core, upto);
            }
        }
    }
}

impl Shared {
    /// What is next; waits for it. What waits for room is due at `retry_at`.
    fn next(&self, has_more: bool, retry_at: Option<Instant>) -> Next {
        let mut queue = self.lock();
        let mut write_at = None;
        loop {
            let has_batches = !queue.batches.is_empty();
            let is_due = queue.is_awaited || queue.is_closed;
            if has_batches && (is_due || write_at.is_some_and(|at| at <= now())) {
                return Next::Batches(queue.take_group());
            }
            if queue.is_closed {
                return Next::End;
            }
            let until_retry = retry_at.map(|at| at.saturating_duration_since(now()));
            if until_retry == Some(Duration::ZERO) {
                return Next::Retry;
            }
            let step = has_more.then_some(STEP_PAUSE);
            let pause = if has_batches {
                let write_at = *write_at.get_or_insert_with(|| now() + UNAWAITED_PAUSE);
                Some(write_at.saturating_duration_since(now()))
            } else {
                step
            };
            let pause = pause.into_iter().chain(until_retry).min();
            queue.writer = if has_batches { Waiting::ForAwaited } else { Waiting::ForAny };
            let timed_out;
            (queue, timed_out) = match pause {
                None => {
                    let queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
                    (queue, false)
                }
                Some(pause) => {
                    let waited = self.wake.wait_timeout(queue, pause);
                    let (queue, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
                    (queue, timed_out.timed_out())
                }
            };
            queue.writer = Waiting::No;
            let is_idle = queue.batches.is_empty() && !queue.is_closed;
            if has_more && timed_out && is_idle {
                return Next::Maintenance;
            }
        }
    }

    fn has_batches(&self) -> bool {
        !self.lock().batches.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// The batches that are written and synced together: all, up to a number of bytes.
    fn take_group(&mut self) -> VecDeque<Submitted> {
        let mut bytes = 0;
        let count = self.batches.iter().take_while(|batch| {
            let fits = bytes < GROUP_BYTES_MAX;
            bytes += batch.bytes;
            fits
        });
        let count = count.count();
        // Whether one that is left is awaited is not known.
        self.is_awaited &= count < self.batches.len();
        self.batches.drain(..count).collect()
    }
}

#[expect(clippy::disallowed_methods, reason = "only when a batch is tried again depends on it")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// A group ends at the batch with which it has this many bytes.
const GROUP_BYTES_MAX: usize = 8 << 20;

/// The writer waits this long between two steps beside the batches, so that what they read and write
/// is little against what the disk can: some 50 MiB a second.
const STEP_PAUSE: Duration = Duration::from_millis(5);

/// How long batches wait that nobody waits for: so many more of what was settled without an answer
/// come again when the process is killed, and a disk is synced a hundred times a second for them at
/// most.
const UNAWAITED_PAUSE: Duration = Duration::from_millis(10);

/// Until a batch for which there is no room is tried again.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(100);

/// While batches come without a pause, steps have so large a part of the time, one of this many and one
/// more,
const STEP_TIMES: u32 = 3;

/// and there is one, whatever the time, when such a part of a segment was written,
const STEPS_PER_SEGMENT: u64 = 8;

/// or this: a step moves twice as much.
const STEP_DUE_BYTES_MAX: u64 = STEP_BYTES_MAX as u64 / 2;

/// What one step reads and writes at most.
const STEP_BYTES_MAX: u32 = 8 << 20;
