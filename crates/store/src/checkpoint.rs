//! The index on the disk, so that a start reads no bodies.
//!
//! ```text
//! file header | Begin | Changes* | Queue* | Bodies* | Changes* | End
//! ```
//!
//! A body is its id, where it is, and, if it has any, its times and its group: so a queue is restored
//! without it.
//!
//! It is written a few entries at a time, while the index changes. That is no matter, since what
//! changed from [`Begin`](Kind::Begin) on is in the log behind it, and to do it again changes
//! nothing. The file replaces the last one when it is whole and on the disk; then what is before
//! its beginning in the log has no meaning any more but for the bodies that are still in queues.

use std::{
    io,
    ops::Bound::{Excluded, Included, Unbounded},
    sync::{Arc, Mutex},
};

use broker::{QueueId, QueuePosition};
use contract::{Group, Producer};
use wire::Reader;

use crate::{
    change::{BodyId, Change, read_queue},
    error::{StoreError, doing},
    files::{File, Files},
    index::{Index, Place, Traits},
    log::lock,
    message,
    packed::PackedMap,
    record::{self, Kind, RawRecord, Seed},
    segment::{FILE_HEADER_BYTES, FIRST_OFFSET, FileHeader, read_whole},
};

/// Where the log goes on from a checkpoint.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct LogPosition {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    /// That of the record there.
    pub(crate) sequence: u64,
}

impl LogPosition {
    /// That of the first record of a segment.
    pub(crate) const fn beginning(segment: u32, sequence: u64) -> Self {
        Self { segment, offset: FIRST_OFFSET, sequence }
    }
}

/// A checkpoint that is being written.
#[derive(Debug)]
pub(crate) struct CheckpointWriter {
    file: Arc<dyn File>,
    seed: Seed,
    pub(crate) begin: LogPosition,
    /// Bytes of the log between the beginning of the last one and that of this one.
    pub(crate) log_bytes: u64,
    /// The last body when it was begun. Later ones are in the log behind that; with them it might never end.
    last_body: BodyId,
    pub(crate) offset: u64,
    synced: u64,
    blocks: u64,
    buffer: Vec<u8>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The queues behind this position are next.
    Queues(Option<(QueueId, QueuePosition)>),
    /// The bodies behind this one are next.
    Bodies(Option<BodyId>),
    /// The producers behind this one are next.
    Producers(Option<(QueueId, Producer)>),
    /// The attempts to deliver what is behind this position are next.
    Attempts(Option<(QueueId, QueuePosition)>),
    Written,
}

impl CheckpointWriter {
    /// Begins one in a file of zeros; the log up to `begin` is synced, and in the index.
    pub(crate) fn begin(
        file: Arc<dyn File>,
        salt: u64,
        begin: LogPosition,
        log_bytes: u64,
        index: &Index,
    ) -> Self {
        let header = FileHeader { magic: MAGIC, number: 0, salt, first_sequence: begin.sequence };
        let mut writer = Self {
            file,
            seed: header.seed(),
            begin,
            log_bytes,
            last_body: index.bodies.last_key().unwrap_or_default(),
            offset: 0,
            synced: 0,
            blocks: 0,
            buffer: header.to_bytes(),
            stage: Stage::Queues(None),
        };
        writer.block(Kind::Begin, |buffer| {
            buffer.extend(begin.segment.to_be_bytes());
            buffer.extend(begin.offset.to_be_bytes());
            buffer.extend(begin.sequence.to_be_bytes());
        });
        for change in index.pending() {
            writer.block(Kind::Changes, |buffer| change.write(buffer));
        }
        writer
    }

    /// Writes some of it; `true`: that was the last.
    ///
    /// # Errors
    /// When the file cannot be written or synced.
    pub(crate) fn step(&mut self, index: &Mutex<Index>) -> io::Result<bool> {
        let index = lock(index);
        self.stage = match &self.stage {
            Stage::Queues(after) => self.write_queues(&index, after.clone().as_ref()),
            Stage::Bodies(after) => self.write_bodies(&index, *after),
            Stage::Producers(after) => self.write_producers(&index, after.clone()),
            Stage::Attempts(after) => self.write_attempts(&index, after.clone().as_ref()),
            Stage::Written => Stage::Written,
        };
        drop(index);
        self.flush()?;
        Ok(matches!(self.stage, Stage::Written))
    }

    /// Ends it and gives it its name. All that is in the log before `sequence` is synced. Returns
    /// its size.
    ///
    /// # Errors
    /// When that fails; then the last checkpoint counts, or this one.
    pub(crate) fn finish(
        mut self,
        files: &dyn Files,
        sequence: u64,
        body_next: BodyId,
    ) -> io::Result<u64> {
        self.block(Kind::End, |buffer| {
            buffer.extend(sequence.to_be_bytes());
            buffer.extend(body_next.0.to_be_bytes());
        });
        self.flush()?;
        self.file.sync()?;
        files.rename(NEW, NAME)?;
        files.sync_folder()?;
        Ok(self.offset)
    }

    fn write_queues(&mut self, index: &Index, after: Option<&(QueueId, QueuePosition)>) -> Stage {
        let from = after.map_or(Unbounded, |(queue, _)| Included(queue));
        for (queue, positions) in index.queues.range::<QueueId, _>((from, Unbounded)) {
            let behind = match after {
                Some((last, position)) if last == queue => Excluded(*position),
                _ => Unbounded,
            };
            let last_body = self.last_body;
            let is_known = |(_, body): &(QueuePosition, &BodyId)| **body <= last_body;
            let mut rest = positions.iter_from(behind).filter(is_known).peekable();
            while rest.peek().is_some() {
                let mut last = QueuePosition::default();
                self.block(Kind::Queue, |buffer| {
                    message::write_destination(buffer, queue.name());
                    for (position, body) in rest.by_ref().take(BLOCK_ENTRIES) {
                        buffer.extend(position.bits().to_be_bytes());
                        buffer.extend(body.0.to_be_bytes());
                        last = position;
                    }
                });
                if self.buffer.len() >= STEP_BYTES {
                    return Stage::Queues(Some((queue.clone(), last)));
                }
            }
        }
        Stage::Bodies(None)
    }

    fn write_bodies(&mut self, index: &Index, after: Option<BodyId>) -> Stage {
        let from = after.map_or(Unbounded, Excluded);
        let (rest, last_body) = (index.bodies.iter_from(from), self.last_body);
        let known = rest.take_while(|(body, _)| *body <= last_body);
        let mut bodies = known.take(2 * BLOCK_ENTRIES).peekable();
        if bodies.peek().is_none() {
            return Stage::Producers(None);
        }
        let mut last = BodyId::default();
        self.block(Kind::Bodies, |buffer| {
            for (body, at) in bodies {
                buffer.extend(body.0.to_be_bytes());
                let Place { segment, offset, bytes } = at.place;
                let traits = index.traits(body);
                let flags = if traits == Traits::default() { 0 } else { HAS_TRAITS };
                for number in [segment, offset, bytes | flags] {
                    buffer.extend(number.to_be_bytes());
                }
                if flags > 0 {
                    write_traits(buffer, traits);
                }
                last = body;
            }
        });
        Stage::Bodies(Some(last))
    }

    fn write_producers(&mut self, index: &Index, after: Option<(QueueId, Producer)>) -> Stage {
        let from = after.map_or(Unbounded, Excluded);
        for ((queue, producer), numbers) in index.producers.range((from, Unbounded)) {
            let (queue, producer) = (queue.clone(), producer.clone());
            let change = Change::Numbers(queue.clone(), producer.clone(), numbers.clone().into());
            self.block(Kind::Changes, |buffer| change.write(buffer));
            if self.buffer.len() >= STEP_BYTES {
                return Stage::Producers(Some((queue, producer)));
            }
        }
        Stage::Attempts(None)
    }

    fn write_attempts(&mut self, index: &Index, after: Option<&(QueueId, QueuePosition)>) -> Stage {
        let from = after.map_or(Unbounded, |(queue, _)| Included(queue));
        let queues = index.attempts.range::<QueueId, _>((from, Unbounded));
        let mut left = queues.flat_map(|(queue, attempts)| {
            let behind = match after {
                Some((last, position)) if last == queue => Excluded(*position),
                _ => Unbounded,
            };
            let attempts = attempts.iter_from(behind);
            attempts.map(move |(position, attempts)| (queue, position, *attempts))
        });
        let mut last = None;
        self.block(Kind::Changes, |buffer| {
            for (queue, position, attempts) in left.by_ref().take(BLOCK_ENTRIES) {
                Change::Attempted(queue.clone(), position, attempts).write(buffer);
                last = Some((queue, position));
            }
        });
        last.map_or(Stage::Written, |(queue, position)| {
            Stage::Attempts(Some((queue.clone(), position)))
        })
    }

    fn block(&mut self, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) {
        record::append(&mut self.buffer, &self.seed, self.blocks, self.blocks, kind, write);
        self.blocks += 1;
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(&self.buffer, self.offset)?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        // Little by little, so that no sync takes long: commits wait for it.
        if self.offset - self.synced >= SYNC_BYTES {
            self.file.sync()?;
            self.synced = self.offset;
        }
        Ok(())
    }
}

/// A checkpoint as it was read.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    /// What the log from `begin` on is to be applied to.
    pub(crate) index: Index,
    pub(crate) begin: LogPosition,
    /// The log is synced up to this record at least.
    pub(crate) end_sequence: u64,
    pub(crate) body_next: BodyId,
    pub(crate) bytes: u64,
}

impl Checkpoint {
    /// Reads the one of a store.
    pub(crate) fn load(files: &dyn Files) -> Result<Self, StoreError> {
        let file = files.open(NAME).map_err(doing("open", NAME))?;
        let bytes = read_whole(&*file).map_err(doing("read", NAME))?;
        let header = FileHeader::read(NAME, &bytes, MAGIC)?;
        let seed = header.seed();
        let mut checkpoint = Self {
            index: Index::replaying(),
            begin: LogPosition::default(),
            end_sequence: 0,
            body_next: BodyId::default(),
            bytes: 0,
        };
        let mut offset = FILE_HEADER_BYTES;
        for block in 0.. {
            let damaged =
                |what| StoreError::Damaged { file: NAME.to_owned(), offset: offset as u64, what };
            let rest = bytes.get(offset..).unwrap_or_default();
            let record = record::read(rest, &seed)
                .filter(|record| record.sequence == block)
                .ok_or_else(|| damaged("a block is not what was written"))?;
            let kind = record.known_kind().filter(|kind| (*kind == Kind::Begin) == (block == 0));
            let kind = kind.ok_or_else(|| damaged("a block of a kind that is not known"))?;
            let read = checkpoint.read(kind, record);
            read.ok_or_else(|| damaged("a block has not the form of its kind"))?;
            offset += record.bytes();
            if kind == Kind::End {
                break;
            }
        }
        checkpoint.bytes = offset as u64;
        Ok(checkpoint)
    }

    fn read(&mut self, kind: Kind, record: RawRecord<'_>) -> Option<()> {
        let mut reader = Reader::new(record.payload);
        match kind {
            Kind::Begin => {
                let (segment, offset) = (reader.u32()?, reader.u32()?);
                self.begin = LogPosition { segment, offset, sequence: reader.u64()? };
            }
            Kind::Changes => {
                let changes = Change::read_all(&mut reader)?;
                changes.into_iter().for_each(|change| self.index.apply(change));
            }
            Kind::Queue => {
                let queue = read_queue(&mut reader)?;
                let positions = self.index.queues.entry(queue).or_default();
                while !reader.is_empty() {
                    let position = QueuePosition::from_bits(reader.u64()?);
                    positions.insert(position, BodyId(reader.u64()?));
                }
            }
            Kind::Bodies => {
                while !reader.is_empty() {
                    let body = BodyId(reader.u64()?);
                    let (segment, offset) = (reader.u32()?, reader.u32()?);
                    let bytes = reader.u32()?;
                    let has_traits = bytes & HAS_TRAITS > 0;
                    let traits =
                        if has_traits { read_traits(&mut reader)? } else { Traits::default() };
                    let place = Place { segment, offset, bytes: bytes & !HAS_TRAITS };
                    self.index.place_with(body, place, traits);
                }
            }
            Kind::End => {
                self.end_sequence = reader.u64()?;
                self.body_next = BodyId(reader.u64()?);
            }
            Kind::Body | Kind::Synced => return None,
        }
        reader.is_empty().then_some(())
    }
}

/// What a checkpoint of this index takes at most, in bytes.
pub(crate) fn bytes_of(index: &Index) -> u64 {
    const QUEUE_BYTES: usize = record::HEADER_BYTES + 5 + contract::Destination::NAME_BYTES_MAX;
    const POSITION_BYTES: usize = 16 + 1;
    const BODY_BYTES: usize = 20 + 1;
    const NUMBERS_BYTES: usize = 1 + 2 * 4 + 17 * 8;
    const ENDS_BYTES: usize = 256;
    let prepared: usize = index.prepared.values().map(Vec::len).sum();
    let pending = index.prepared.len() + prepared + index.dead_letters.len();
    let attempts: usize = index.attempts.values().map(PackedMap::len).sum();
    let pending = pending + attempts;
    let bytes = ENDS_BYTES
        + index.messages() * POSITION_BYTES
        + index.bodies.len() * BODY_BYTES
        + (index.expires.len() + index.due.len()) * 9
        + index.groups.len() * 3
        + (index.queues.len() + pending) * (QUEUE_BYTES + POSITION_BYTES);
    let bindings = index.bindings.values().map(|terms| QUEUE_BYTES + 16 + terms.bytes());
    let names = |producer: &Producer| producer.user.len() + producer.name.len();
    let producers = index.producers.keys();
    let producers = producers.map(|(_, producer)| QUEUE_BYTES + NUMBERS_BYTES + names(producer));
    (bytes + bindings.sum::<usize>() + producers.sum::<usize>()) as u64
}

fn write_traits(buffer: &mut Vec<u8>, traits: Traits) {
    let Traits { expires_unix_ms, due_unix_ms, group } = traits;
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    buffer.push(
        flag(expires_unix_ms.is_some(), EXPIRES)
            | flag(due_unix_ms.is_some(), IS_DUE)
            | flag(group.is_some(), IS_GROUPED),
    );
    for time in expires_unix_ms.into_iter().chain(due_unix_ms) {
        buffer.extend(time.to_be_bytes());
    }
    if let Some(group) = group {
        buffer.extend(group.bits().to_be_bytes());
    }
}

fn read_traits(reader: &mut Reader<'_>) -> Option<Traits> {
    let flags = reader.u8().filter(|flags| *flags <= EXPIRES | IS_DUE | IS_GROUPED)?;
    let mut traits = Traits::default();
    if flags & EXPIRES > 0 {
        traits.expires_unix_ms = Some(reader.u64()?);
    }
    if flags & IS_DUE > 0 {
        traits.due_unix_ms = Some(reader.u64()?);
    }
    if flags & IS_GROUPED > 0 {
        traits.group = Some(Group::from_bits(reader.u16()?)?);
    }
    Some(traits)
}

/// The name of the checkpoint that counts.
pub(crate) const NAME: &str = "checkpoint";

/// The name of the one that is being written.
pub(crate) const NEW: &str = "checkpoint.new";

const MAGIC: [u8; 8] = *b"PASSRCKP";

/// A flag of the size of a body, which is less than [`crate::BATCH_BYTES_MAX`] and some: its traits follow.
const HAS_TRAITS: u32 = 1 << 31;

/// Flags of the traits that follow: it expires,
const EXPIRES: u8 = 1;
/// it is due later,
const IS_DUE: u8 = 2;
/// it is in a group.
const IS_GROUPED: u8 = 4;

/// Entries of a queue in a block.
const BLOCK_ENTRIES: usize = 4096;

/// A step ends when it has written this many bytes.
const STEP_BYTES: usize = 64 << 10;

/// Bytes that are written between two syncs.
const SYNC_BYTES: u64 = 1 << 20;
