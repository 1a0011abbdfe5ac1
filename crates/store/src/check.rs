//! Looking at a store that no gateway uses.

use std::fmt;

use crate::{
    change::Change,
    checkpoint::Checkpoint,
    error::{StoreError, doing},
    files::Files,
    message,
    reader::Reader,
    record::{Kind, RawRecord},
    recovery,
    segment::{self, SegmentReader},
};

/// What [`check`] found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Findings {
    /// Messages in queues, one in two queues as two.
    pub messages: usize,
    /// Queues with messages.
    pub queues: usize,
    /// Segments of the log.
    pub segments: usize,
    /// What these take on the disk, in bytes.
    pub segment_bytes: u64,
    /// What the messages take of that.
    pub message_bytes: u64,
    /// Messages that cannot be read.
    pub damaged: Vec<StoreError>,
}

/// Reads all that is required of a store, each message among it. Changes nothing.
///
/// # Errors
/// As [`crate::open`], for what makes that impossible. Messages that cannot be read are
/// [`Findings::damaged`]. `None`: there is no store.
pub fn check(files: &dyn Files) -> Result<Option<Findings>, StoreError> {
    let Some(recovered) = recovery::recover(files)? else { return Ok(None) };
    let index = recovered.index;
    let mut findings = Findings {
        messages: index.messages(),
        queues: index.queues.len(),
        segments: index.segments.len(),
        segment_bytes: index.segments.values().map(|segment| segment.bytes).sum(),
        message_bytes: index.segments.values().map(|segment| segment.live_bytes).sum(),
        damaged: Vec::new(),
    };
    let bodies: Vec<_> = index.bodies.iter().map(|(body, _)| body).collect();
    let reader = Reader::of(index);
    for body in bodies {
        if let Err(error) = reader.read(body) {
            findings.damaged.push(error);
        }
    }
    Ok(Some(findings))
}

/// Shows all records of the log that can be read, those that mean nothing any more among them: a
/// line each, to `line`. What cannot be read is said, and the next readable record searched for.
///
/// # Errors
/// When the folder cannot be read.
pub fn dump(files: &dyn Files, mut line: impl FnMut(fmt::Arguments<'_>)) -> Result<(), StoreError> {
    match Checkpoint::load(files) {
        Ok(Checkpoint { index, begin, bytes, .. }) => line(format_args!(
            "checkpoint: {bytes} bytes, {} messages; the log goes on in {} at {}, record {}",
            index.messages(),
            segment::name(begin.segment),
            begin.offset,
            begin.sequence
        )),
        Err(error) => line(format_args!("checkpoint: {error}")),
    }
    let names = files.list().map_err(doing("list", "the folder of the store"))?;
    let mut numbers: Vec<_> = names.iter().filter_map(|name| segment::number(name)).collect();
    numbers.sort_unstable();
    for number in numbers {
        match SegmentReader::open(files, number) {
            Ok(reader) => dump_segment(&reader, &mut line),
            Err(error) => line(format_args!("{error}")),
        }
    }
    Ok(())
}

fn dump_segment(reader: &SegmentReader, line: &mut impl FnMut(fmt::Arguments<'_>)) {
    let name = segment::name(reader.header.number);
    line(format_args!("{name}: from record {} on", reader.header.first_sequence));
    let mut end = segment::FILE_HEADER_BYTES;
    for (offset, record) in reader.readable() {
        if offset != end {
            line(format_args!("{name} {end}: {} bytes are unreadable", offset - end));
        }
        end = offset + record.bytes();
        let shown = show(record);
        line(format_args!("{name} {offset}: record {}, {shown}", record.sequence));
    }
    line(format_args!("{name} {end}: the end"));
}

fn show(record: RawRecord<'_>) -> String {
    let mut reader = wire::Reader::new(record.payload);
    match record.known_kind() {
        Some(Kind::Body) => {
            let body = reader.u64().unwrap_or_default();
            match message::read(&mut reader) {
                Some(message) => {
                    let bytes = message.body().bytes().len();
                    format!("body {body}: to {}, id {:x}, {bytes} bytes", message.to, message.id)
                }
                None => format!("body {body}: no message"),
            }
        }
        Some(Kind::Changes) => match Change::read_all(&mut reader) {
            Some(changes) => format!("{changes:?}"),
            None => "changes that are not known here".to_owned(),
        },
        Some(Kind::Synced) => "all before it is synced".to_owned(),
        Some(Kind::Begin | Kind::Queue | Kind::Bodies | Kind::End) | None => {
            format!("kind {}, version {}: not known here", record.kind, record.version)
        }
    }
}
