//! The end of the log: batches are appended, and synced together.

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use broker::Record;
use bytes::Bytes;

use crate::{
    BATCH_BYTES_MAX,
    buffer::{Buffer, SHARED_BYTES_MIN},
    change::{Batch, BodyId, Change},
    checkpoint::{CheckpointWriter, LogPosition},
    compaction::Compaction,
    error::{StoreError, WriteRefusal, doing},
    files::{File, Files},
    index::{Index, Place, Segment, Traits},
    message,
    record::{self, Kind, Seed},
    segment::{self, FILE_HEADER_BYTES, FileHeader},
    spares::Spares,
    stats::Counts,
    writer::now,
};

/// The log of an open store: one thread writes it.
///
/// ```text
///  log-1            log-2 (sealed)    log-3 (active)              spare-0   spare-1
///  | live | dead |  | dead | live |   | synced | buffer ... |     what the next ones are made of
/// ```
///
/// What it appends is in `buffer` first. [`Log::sync`] writes that, syncs it, and only then changes
/// the index by it: so whatever is derived from the index, a checkpoint or the end of a segment,
/// depends on nothing that a crash could take back. What is reported before it is synced is in
/// [`Index::written`] meanwhile, where it can be read.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) files: Arc<dyn Files>,
    pub(crate) index: Arc<Mutex<Index>>,
    pub(crate) segment_bytes: u64,
    pub(crate) salt: u64,
    pub(crate) active: Active,
    /// The sequence of the next record.
    pub(crate) sequence: u64,
    /// The first record that is not known to be synced.
    pub(crate) synced: u64,
    pub(crate) body_next: BodyId,
    buffer: Buffer,
    /// What changes in the index when the buffer is synced.
    unapplied: Vec<Unapplied>,
    /// The same of what is written and not synced yet.
    written: Vec<Unapplied>,
    /// The first record that is not written.
    written_sequence: u64,
    /// The first batch of the group for which there was no room after all.
    abandoned: Option<usize>,
    pub(crate) spares: Spares,
    /// Bytes of the log since the beginning of the last checkpoint.
    pub(crate) since_checkpoint: u64,
    pub(crate) checkpoint_bytes: u64,
    pub(crate) checkpoint: Option<CheckpointWriter>,
    pub(crate) compaction: Compaction,
    pub(crate) counts: Arc<Counts>,
    /// `false`: the caller syncs what [`Log::commit`] has written, a little later.
    pub(crate) syncs_commits: bool,
}

/// The segment that is appended to.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) number: u32,
    pub(crate) file: Arc<dyn File>,
    pub(crate) seed: Seed,
    /// Bytes of it that are written.
    pub(crate) written: u64,
    /// Bytes that it has room for.
    pub(crate) capacity: u64,
}

/// The numbers that a log begins with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    pub(crate) salt: u64,
    pub(crate) sequence: u64,
    pub(crate) body_next: BodyId,
    pub(crate) checkpoint_bytes: u64,
}

#[derive(Debug)]
struct Unapplied {
    /// The number of the batch in its group; `None`: it is no batch.
    batch: Option<usize>,
    bodies: Vec<(BodyId, Place, Traits)>,
    changes: Vec<Change>,
}

/// What is appended at once.
pub(crate) enum Addition<'a> {
    /// A batch of the home on this core, and its number in the group.
    Batch(usize, u16, &'a [Record]),
    /// Bodies that are elsewhere already, as the payloads of their records.
    Bodies(&'a [(BodyId, Vec<u8>)]),
}

/// What a batch does: which room it may use depends on that.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Effect {
    Adds,
    Both,
    TakesAway,
    /// It is left out when there is no room ([`Record::is_droppable`]).
    Droppable,
}

impl Addition<'_> {
    fn effect(&self) -> Effect {
        match self {
            Self::Batch(_, _, records) => effect(records),
            Self::Bodies(_) => Effect::Both,
        }
    }

    /// Whether the room that is reserved is for it: for what does not only add.
    fn may_use_reserve(&self) -> bool {
        match self {
            Self::Batch(..) => matches!(self.effect(), Effect::Both | Effect::TakesAway),
            Self::Bodies(_) => false,
        }
    }
}

impl Log {
    pub(crate) fn new(
        files: Arc<dyn Files>,
        index: Arc<Mutex<Index>>,
        segment_bytes: u64,
        active: Active,
        start: Start,
        spares: Spares,
    ) -> Self {
        Self {
            files,
            index,
            segment_bytes,
            salt: start.salt,
            active,
            sequence: start.sequence,
            synced: start.sequence,
            body_next: start.body_next,
            buffer: Buffer::default(),
            unapplied: Vec::new(),
            written: Vec::new(),
            written_sequence: start.sequence,
            abandoned: None,
            spares,
            since_checkpoint: 0,
            checkpoint_bytes: start.checkpoint_bytes,
            checkpoint: None,
            compaction: Compaction::default(),
            counts: Arc::default(),
            syncs_commits: true,
        }
    }

    /// Writes batches, each of the home on a core, and syncs them together, unless
    /// [`Log::syncs_commits`] says otherwise. Returns for each whether it is stored.
    ///
    /// Only batches that do nothing but add are refused. One for which there is no room, not even in
    /// the reserve, has no outcome: it is to be tried again, before the next ones of its core that do
    /// more than to remove messages. Those of the cores in `before` have such a one before them.
    ///
    /// # Errors
    /// When it is not known what is on the disk. The process has to end then.
    pub(crate) fn commit(
        &mut self,
        batches: &[(u16, &[Record])],
        before: &BTreeSet<u16>,
    ) -> Result<Vec<Option<Result<(), WriteRefusal>>>, StoreError> {
        let mut outcomes = Vec::with_capacity(batches.len());
        let mut waiting = before.clone();
        let mut may_add = waiting.is_empty();
        loop {
            while let Some(&(home, records)) = batches.get(outcomes.len()) {
                let only_adds = effect(records) == Effect::Adds;
                if only_adds && !may_add {
                    outcomes.push(Some(Err(WriteRefusal::DiskFull)));
                    continue;
                }
                if waiting.contains(&home) && !may_overtake(records) {
                    outcomes.push(None);
                    continue;
                }
                match self.append(&Addition::Batch(outcomes.len(), home, records))? {
                    Err(WriteRefusal::DiskFull) if !only_adds => {
                        outcomes.push(None);
                        waiting.insert(home);
                        may_add = false;
                    }
                    outcome => outcomes.push(Some(outcome)),
                }
                if self.abandoned.is_some() {
                    break;
                }
            }
            if self.syncs_commits {
                self.sync()?;
            } else {
                self.flush()?;
            }
            match self.abandoned.take() {
                None => return Ok(outcomes),
                // Once more from there on, in another segment.
                Some(number) => {
                    outcomes.truncate(number);
                    may_add = false;
                    // Those that wait are tried again too.
                    waiting.clone_from(before);
                }
            }
        }
    }

    /// Appends to the buffer, unless there is no room. What is droppable is left out on a full disk: the
    /// room that is left there is for what makes room.
    ///
    /// # Errors
    /// As [`Log::sync`].
    pub(crate) fn append(
        &mut self,
        addition: &Addition<'_>,
    ) -> Result<Result<(), WriteRefusal>, StoreError> {
        let effect = addition.effect();
        if effect == Effect::Adds && self.spares.is_empty() {
            self.refill()?;
        }
        for _ in 0..3 {
            if effect == Effect::Droppable && self.drops() {
                return Ok(Ok(()));
            }
            let (mark, start) = (self.buffer.mark(), self.buffer.len());
            let (sequence, body_next) = (self.sequence, self.body_next);
            let unapplied = self.encode(addition);
            let kept = self.room_kept_from(effect);
            if self.active.written + self.buffer.len() as u64 + kept <= self.active.capacity {
                self.unapplied.push(unapplied);
                return Ok(Ok(()));
            }
            let bytes = (self.buffer.len() - start) as u64;
            self.buffer.truncate(mark);
            (self.sequence, self.body_next) = (sequence, body_next);
            if bytes > BATCH_BYTES_MAX as u64 {
                return Ok(Err(WriteRefusal::TooLarge));
            }
            let is_begun = self.begin_segment(bytes, addition.may_use_reserve())?;
            // What was before it in the buffer comes first.
            if !is_begun || self.abandoned.is_some() {
                let is_dropped = effect == Effect::Droppable;
                return Ok(if is_dropped { Ok(()) } else { Err(WriteRefusal::DiskFull) });
            }
        }
        contract::internal!("a batch has no room in a segment that was made for it");
        Ok(Err(WriteRefusal::TooLarge))
    }

    /// Whether what is droppable is left out.
    const fn drops(&self) -> bool {
        self.spares.is_disk_full || self.spares.is_empty()
    }

    /// Bytes of the active segment that are not for a batch with this effect: while there is nothing
    /// behind that segment, its room is for what makes room.
    fn room_kept_from(&self, effect: Effect) -> u64 {
        let is_begun = self.active.written > FILE_HEADER_BYTES as u64;
        match effect {
            // It was made for it.
            Effect::Adds | Effect::Both
                if self.active.capacity > self.segment_bytes && !is_begun =>
            {
                0
            }
            Effect::Adds | Effect::Both if !self.spares.is_empty() => 0,
            Effect::Adds => self.active.capacity,
            Effect::Both => self.segment_bytes / 4,
            Effect::TakesAway | Effect::Droppable => 0,
        }
    }

    /// Writes what is in the buffer, waits until it is on the disk, and changes the index by it.
    ///
    /// # Errors
    /// When that fails: it is not known then what is on the disk, and a second try would not tell,
    /// since the kernel takes pages that it failed to write for written.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        self.flush()?;
        self.sync_written()
    }

    /// As [`Log::sync`], of what the buffer does not contain any more.
    fn sync_written(&mut self) -> Result<(), StoreError> {
        if self.written_sequence == self.synced {
            return Ok(());
        }
        let begin = now();
        self.active.file.sync().map_err(|error| self.failed("sync")(error))?;
        self.counts.synced(begin.elapsed());
        self.synced = self.written_sequence;
        let mut index = lock(&self.index);
        for Unapplied { bodies, changes, .. } in self.written.drain(..) {
            bodies.iter().for_each(|&(body, place, traits)| index.place_with(body, place, traits));
            changes.into_iter().for_each(|change| index.apply(change));
            index.drop_unreferenced(bodies.into_iter().map(|(body, ..)| body));
        }
        index.synced();
        Ok(())
    }

    /// Writes a record that says that all before it is synced: so damage to the last of it is not
    /// taken for what a crash left. It is not synced itself, and costs little.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write_synced(&mut self) -> Result<(), StoreError> {
        let room = self.active.capacity - self.active.written;
        if self.sequence == self.synced && room >= record::HEADER_BYTES as u64 {
            self.encode_record(Kind::Synced, |_| None);
            self.flush()?;
        }
        Ok(())
    }

    /// Where the log goes on. All before is synced.
    pub(crate) fn position(&self) -> LogPosition {
        // Segments are smaller than 4 GiB.
        let offset = u32::try_from(self.active.written).unwrap_or(u32::MAX);
        LogPosition { segment: self.active.number, offset, sequence: self.sequence }
    }

    fn encode(&mut self, addition: &Addition<'_>) -> Unapplied {
        match addition {
            Addition::Batch(number, home, records) => {
                let mut batch = Batch::of(*home, records, self.body_next);
                if self.drops() {
                    batch.changes.retain(|change| !matches!(change, Change::Attempted(..)));
                }
                self.body_next.0 += batch.bodies.len() as u64;
                let bodies = batch.bodies.iter().map(|(body, message)| {
                    let place = self.encode_record(Kind::Body, |buffer| {
                        buffer.extend(body.0.to_be_bytes());
                        Some(message::write_before_end(buffer, message))
                    });
                    (*body, place, Traits::of(&message.header))
                });
                let bodies = bodies.collect();
                self.encode_record(Kind::Changes, |buffer| {
                    batch.changes.iter().for_each(|change| change.write(buffer));
                    None
                });
                Unapplied { batch: Some(*number), bodies, changes: batch.changes }
            }
            Addition::Bodies(payloads) => {
                let bodies = payloads.iter().map(|(body, payload)| {
                    let place = self.encode_record(Kind::Body, |buffer| {
                        buffer.extend(payload);
                        None
                    });
                    // They are known already.
                    (*body, place, Traits::default())
                });
                Unapplied { batch: None, bodies: bodies.collect(), changes: Vec::new() }
            }
        }
    }

    /// Appends a record, whose payload `write` appends but for its end, if it returns that.
    fn encode_record<'a>(
        &mut self,
        kind: Kind,
        write: impl FnOnce(&mut Vec<u8>) -> Option<&'a Bytes>,
    ) -> Place {
        let start = self.buffer.len();
        let (seed, sequence) = (&self.active.seed, self.sequence);
        let mut shared = None;
        let copied = self.buffer.copied();
        record::append_before(copied, seed, sequence, self.synced, kind, |buffer| {
            match write(buffer) {
                Some(end) if end.len() >= SHARED_BYTES_MIN => {
                    shared = Some(end.clone());
                    end
                }
                end => {
                    end.into_iter().for_each(|end| buffer.extend_from_slice(end));
                    &[]
                }
            }
        });
        shared.into_iter().for_each(|end| self.buffer.share(end));
        self.sequence += 1;
        let fits = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
        Place {
            segment: self.active.number,
            offset: fits(self.active.written + start as u64),
            bytes: fits((self.buffer.len() - start) as u64),
        }
    }

    /// Writes the buffer. Where the disk has no room for it after all (its blocks are allocated, but
    /// a file system that never overwrites takes others), what is in it is not stored.
    fn flush(&mut self) -> Result<(), StoreError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut offset = self.active.written;
        let result: io::Result<()> = self.buffer.pieces().try_for_each(|piece| {
            self.active.file.write_at(piece, offset)?;
            offset += piece.len() as u64;
            Ok(())
        });
        match result {
            Ok(()) => {
                self.counts.appended(self.buffer.len());
                self.active.written += self.buffer.len() as u64;
                self.since_checkpoint += self.buffer.len() as u64;
                self.buffer.clear();
                self.written();
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::StorageFull => self.abandon(error),
            Err(error) => Err(self.failed("write")(error)),
        }
    }

    /// What was in the buffer is written. Readers find it, if it is reported before it is synced.
    fn written(&mut self) {
        self.written_sequence = self.sequence;
        if !self.syncs_commits {
            let mut index = lock(&self.index);
            for Unapplied { bodies, changes, .. } in &self.unapplied {
                index.written(bodies.iter().map(|&(body, place, _)| (body, place)), changes);
            }
        }
        self.written.append(&mut self.unapplied);
    }

    /// Forgets what is in the buffer, of which a part may be written. The next segment begins with
    /// the same sequence, which says that this one ends before it; without one, what is refused
    /// might come back at the next start, and so the process has to end.
    fn abandon(&mut self, error: io::Error) -> Result<(), StoreError> {
        let first = self.unapplied.drain(..).find_map(|unapplied| unapplied.batch);
        self.abandoned = self.abandoned.or(first);
        self.buffer.clear();
        self.sequence = self.written_sequence;
        // That was reported, perhaps, and stays.
        self.sync_written()?;
        let is_begun = self.begin_segment(0, true)?;
        self.spares.is_disk_full = true;
        if is_begun { Ok(()) } else { Err(self.failed("write")(error)) }
    }

    /// Seals the active segment and begins another, with room for `bytes` at least. `false`: there
    /// is no room on the disk, or only what is reserved.
    fn begin_segment(&mut self, bytes: u64, may_use_reserve: bool) -> Result<bool, StoreError> {
        self.sync()?;
        let bytes = (bytes + FILE_HEADER_BYTES as u64).max(self.segment_bytes);
        let Some(spare) = self.take_spare(bytes, may_use_reserve)? else { return Ok(false) };
        let number = self.active.number + 1;
        let header = FileHeader {
            magic: segment::MAGIC,
            number,
            salt: self.salt,
            first_sequence: self.sequence,
        };
        let Some(active) = create(&*self.files, &spare, header)? else {
            self.spares.put_back(spare);
            return Ok(false);
        };
        self.active = active;
        self.synced = self.sequence;
        lock(&self.index).segments.insert(number, self.active.to_segment());
        Ok(true)
    }

    fn failed(&self, what: &'static str) -> impl FnOnce(io::Error) -> StoreError {
        let name = segment::name(self.active.number);
        move |error| doing(what, &name)(error)
    }
}

impl Active {
    pub(crate) fn to_segment(&self) -> Segment {
        Segment {
            file: Arc::clone(&self.file),
            seed: self.seed.clone(),
            bytes: self.capacity,
            live_bytes: 0,
        }
    }
}

fn effect(records: &[Record]) -> Effect {
    let adds = |record: &Record| record.is_addition() || matches!(record, Record::Bind(..));
    if Record::only_add(records) {
        Effect::Adds
    } else if records.iter().any(adds) {
        Effect::Both
    } else if records.iter().all(Record::is_droppable) {
        Effect::Droppable
    } else {
        Effect::TakesAway
    }
}

/// Whether it is no matter if a batch is on the disk before one of its core that was there earlier:
/// what it removes was confirmed, so it is in no batch that still waits.
fn may_overtake(records: &[Record]) -> bool {
    records.iter().all(|record| {
        matches!(record, Record::Remove(..) | Record::DeadLetter(..) | Record::Attempted(..))
    })
}

/// Makes a segment of a spare file. It gets its name when its header is on the disk. `None`: there
/// is no room even for that.
///
/// # Errors
/// When that fails. Nothing is known of the disk then.
pub(crate) fn create(
    files: &dyn Files,
    spare: &str,
    header: FileHeader,
) -> Result<Option<Active>, StoreError> {
    let name = segment::name(header.number);
    let bytes = header.to_bytes();
    let create = || -> io::Result<Active> {
        let file = files.open(spare)?;
        let capacity = file.bytes()?;
        file.write_at(&bytes, 0)?;
        file.sync()?;
        files.rename(spare, &name)?;
        files.sync_folder()?;
        let (seed, number) = (header.seed(), header.number);
        Ok(Active { number, file, seed, written: bytes.len() as u64, capacity })
    };
    match create() {
        Ok(active) => Ok(Some(active)),
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(None),
        Err(error) => Err(doing("create", &name)(error)),
    }
}

/// The index, whatever a reader that panicked did: it changes nothing.
pub(crate) fn lock(index: &Mutex<Index>) -> MutexGuard<'_, Index> {
    index.lock().unwrap_or_else(PoisonError::into_inner)
}
