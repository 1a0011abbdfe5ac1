//! Opening a store: what a process that may have ended at any moment left.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

use wire::Reader;

use crate::{
    Options,
    change::{BodyId, Change},
    checkpoint::{self, Checkpoint, CheckpointWriter, LogPosition},
    error::{StoreError, doing},
    files::Files,
    index::{Index, Place, Traits},
    log::{self, Log, Start},
    message,
    record::{Kind, RawRecord},
    segment::{self, FILE_HEADER_BYTES, FileHeader, SegmentEnd, SegmentReader},
    spares::Spares,
};

/// What the disk contains, and where the log goes on.
pub(crate) struct Recovered {
    pub(crate) index: Index,
    /// Behind the last record.
    pub(crate) end: LogPosition,
    pub(crate) body_next: BodyId,
    /// From which position on the log was read.
    pub(crate) begin: LogPosition,
    pub(crate) checkpoint_bytes: u64,
    /// Whether the last checkpoint says the same as all that was read.
    pub(crate) is_checkpointed: bool,
}

/// Reads a store. `None`: there is none.
///
/// Changes nothing, but that what was read is on the disk.
pub(crate) fn recover(files: &dyn Files) -> Result<Option<Recovered>, StoreError> {
    let names = files.list().map_err(doing("list", "the folder of the store"))?;
    let mut numbers: Vec<_> = names.iter().filter_map(|name| segment::number(name)).collect();
    numbers.sort_unstable();
    if !names.iter().any(|name| name == checkpoint::NAME) {
        return match numbers.first() {
            None => Ok(None),
            Some(_) => Err(missing(checkpoint::NAME)),
        };
    }
    let Checkpoint { mut index, begin, end_sequence, mut body_next, bytes } =
        Checkpoint::load(files)?;
    let had_prepared = !index.prepared.is_empty();
    let mut segments = BTreeMap::new();
    let (older, newer) =
        numbers.split_at(numbers.partition_point(|number| *number < begin.segment));
    for &number in older {
        segments.insert(number, segment::open_header(files, number)?);
    }
    let mut end = begin;
    let mut is_checkpointed = !had_prepared;
    if let Some((expected, _)) = (begin.segment..).zip(newer).find(|(a, b)| a != *b) {
        return Err(missing(&segment::name(expected)));
    }
    let mut readers = newer.iter().map(|&number| SegmentReader::open(files, number)).peekable();
    while let Some(reader) = readers.next() {
        let reader = reader?;
        let number = reader.header.number;
        let is_first = number == begin.segment;
        let start = if is_first { begin.offset as usize } else { FILE_HEADER_BYTES };
        if !is_first && reader.header.first_sequence != end.sequence {
            return Err(reader.damaged(0, "its first record is not the next one of the log"));
        }
        let until = match readers.peek() {
            Some(Ok(next)) => Some(next.header.first_sequence),
            _ => None,
        };
        let start = SegmentEnd { offset: start, sequence: end.sequence };
        let at = reader.read(start, until, |offset, record| {
            is_checkpointed &= record.known_kind() == Some(Kind::Synced);
            replay(&mut index, &mut body_next, number, offset, record)
        })?;
        if until.is_none() && readers.peek().is_none() && at.sequence < end_sequence {
            return Err(reader.damaged(at.offset, "the log ends before the checkpoint does"));
        }
        let offset = u32::try_from(at.offset).unwrap_or(u32::MAX);
        end = LogPosition { segment: number, offset, sequence: at.sequence };
        segments.insert(number, reader.into_segment());
    }
    if end.sequence < end_sequence {
        return Err(missing(&segment::name(begin.segment)));
    }
    index.complete().map_err(|_| StoreError::Damaged {
        file: checkpoint::NAME.to_owned(),
        offset: 0,
        what: "a message has no body, neither there nor in the log behind it",
    })?;
    if let Some(number) = index.set_segments(segments) {
        return Err(missing(&segment::name(number)));
    }
    let checkpoint_bytes = bytes;
    Ok(Some(Recovered { index, end, body_next, begin, checkpoint_bytes, is_checkpointed }))
}

/// Opens a store for writing, or makes it.
pub(crate) fn open(files: Arc<dyn Files>, options: &Options) -> Result<Log, StoreError> {
    let recovered = recover(&*files)?.unwrap_or_default();
    let Recovered { index, end, body_next, mut begin, mut checkpoint_bytes, is_checkpointed } =
        recovered;
    let names = files.list().map_err(doing("list", "the folder of the store"))?;
    let segment_bytes = options.segment_bytes.max(SEGMENT_BYTES_MIN).into();
    let mut spares = Spares::find(&*files, &names, segment_bytes)?;
    let last = index.segments.last_key_value().map_or(0, |(&number, _)| number);
    let number = begin.segment.max(last + 1);
    let index = Arc::new(Mutex::new(index));
    if !is_checkpointed {
        begin = LogPosition::beginning(number, end.sequence);
        let written = write_checkpoint(&*files, options.salt, begin, &index, body_next);
        checkpoint_bytes = written.map_err(|error| {
            if error.kind() == io::ErrorKind::StorageFull {
                return StoreError::NoRoom { bytes: checkpoint::bytes_of(&log::lock(&index)) };
            }
            doing("write", checkpoint::NEW)(error)
        })?;
    }
    let (salt, first_sequence) = (options.salt, end.sequence);
    let header = FileHeader { magic: segment::MAGIC, number, salt, first_sequence };
    let spare = spares.take(&*files, segment_bytes, segment_bytes, true)?;
    let spare = spare.ok_or(StoreError::NoRoom { bytes: segment_bytes })?;
    let active = log::create(&*files, &spare, header)?;
    let active = active.ok_or(StoreError::NoRoom { bytes: segment_bytes })?;
    log::lock(&index).segments.insert(number, active.to_segment());
    let start = Start { salt, sequence: first_sequence, body_next, checkpoint_bytes };
    let mut log = Log::new(files, index, segment_bytes, active, start, spares);
    log.drop_segments(begin.segment)?;
    Ok(log)
}

/// Applies a record of the log.
fn replay(
    index: &mut Index,
    body_next: &mut BodyId,
    segment: u32,
    offset: usize,
    record: RawRecord<'_>,
) -> Result<(), &'static str> {
    let mut reader = Reader::new(record.payload);
    match record.known_kind() {
        Some(Kind::Body) => {
            let body = BodyId(reader.u64().ok_or("a body without an id")?);
            // So that counting on from there never ends.
            if body.0 > u64::MAX / 2 {
                return Err("a body with an id that no store comes to");
            }
            let (offset, bytes) = (u32::try_from(offset), u32::try_from(record.bytes()));
            let (Ok(offset), Ok(bytes)) = (offset, bytes) else {
                return Err("a record behind 4 GiB");
            };
            let header = message::read_header(&mut reader).ok_or("a body without a header")?;
            index.place_with(body, Place { segment, offset, bytes }, Traits::of(&header));
            body_next.0 = body_next.0.max(body.0 + 1);
        }
        Some(Kind::Changes) => {
            let changes = Change::read_all(&mut reader).ok_or("a change that is not known here")?;
            changes.into_iter().for_each(|change| index.apply(change));
        }
        Some(Kind::Synced) => {}
        Some(Kind::Begin | Kind::Queue | Kind::Bodies | Kind::End) | None => {
            return Err("a record of a kind that is not known here: a newer version wrote it");
        }
    }
    Ok(())
}

fn write_checkpoint(
    files: &dyn Files,
    salt: u64,
    begin: LogPosition,
    index: &Mutex<Index>,
    body_next: BodyId,
) -> io::Result<u64> {
    let file = files.create(checkpoint::NEW, 0)?;
    let mut writer = CheckpointWriter::begin(file, salt, begin, 0, &log::lock(index));
    while !writer.step(index)? {}
    writer.finish(files, begin.sequence, body_next)
}

fn missing(name: &str) -> StoreError {
    StoreError::Missing { file: name.to_owned() }
}

impl Default for Recovered {
    /// A new store.
    fn default() -> Self {
        let begin = LogPosition { segment: 1, offset: 0, sequence: 1 };
        Self {
            index: Index::default(),
            end: begin,
            body_next: BodyId(1),
            begin,
            checkpoint_bytes: 0,
            is_checkpointed: false,
        }
    }
}

/// A segment smaller than this would be full of headers.
const SEGMENT_BYTES_MIN: u32 = 4 << 10;
