//! The files of the log: what stands at their beginning, and where their records end.
//!
//! ```text
//! | magic (8) | format (4) | number (4) | salt (8) | first sequence (8) | checksum (4) |
//! ```
//!
//! A segment gets its name once that is on the disk, so a segment without it is damaged. Its records
//! follow, without a gap.

use std::{io, iter, ops::RangeInclusive, sync::Arc};

use wire::Reader;

use crate::{
    error::{StoreError, doing},
    files::{File, Files},
    index::Segment,
    record::{self, RawRecord, Seed},
};

/// What a file of the store begins with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct FileHeader {
    pub(crate) magic: [u8; 8],
    /// That of the segment; 0 for a checkpoint.
    pub(crate) number: u32,
    /// See [`Seed`].
    pub(crate) salt: u64,
    /// The sequence of the first record; the segment before it ends there.
    pub(crate) first_sequence: u64,
}

impl FileHeader {
    pub(crate) fn seed(&self) -> Seed {
        Seed::new(self.salt, self.number)
    }

    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.magic.to_vec();
        bytes.extend(FORMAT.to_be_bytes());
        bytes.extend(self.number.to_be_bytes());
        bytes.extend(self.salt.to_be_bytes());
        bytes.extend(self.first_sequence.to_be_bytes());
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        bytes
    }

    /// Reads that of a file.
    pub(crate) fn read(name: &str, bytes: &[u8], magic: [u8; 8]) -> Result<Self, StoreError> {
        let damaged = || StoreError::Damaged {
            file: name.to_owned(),
            offset: 0,
            what: "its header is not what was written",
        };
        let (covered, _) = bytes.split_at_checked(FILE_HEADER_BYTES - 4).ok_or_else(damaged)?;
        let mut reader = Reader::new(bytes);
        let mut fields = || {
            let header = (reader.array()?, reader.u32()?);
            let fields = (reader.u32()?, reader.u64()?, reader.u64()?, reader.u32()?);
            Some((header, fields))
        };
        let ((found, format), (number, salt, first_sequence, checksum)) =
            fields().ok_or_else(damaged)?;
        if found != magic || crc32fast::hash(covered) != checksum {
            return Err(damaged());
        }
        if format != FORMAT {
            return Err(StoreError::Newer { file: name.to_owned(), format, known: FORMAT });
        }
        Ok(Self { magic, number, salt, first_sequence })
    }

    fn read_segment(name: &str, bytes: &[u8], expected: u32) -> Result<Self, StoreError> {
        let header = Self::read(name, bytes, MAGIC)?;
        if header.number != expected {
            let what = "its header has the number of another file";
            return Err(StoreError::Damaged { file: name.to_owned(), offset: 0, what });
        }
        Ok(header)
    }
}

/// The name of a segment.
pub(crate) fn name(number: u32) -> String {
    format!("{PREFIX}{number:010}")
}

/// The number of the segment with this name; `None`: it is another file.
pub(crate) fn number(name: &str) -> Option<u32> {
    let digits = name.strip_prefix(PREFIX).filter(|digits| digits.len() == 10)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// A segment that is read from its beginning.
#[derive(Debug)]
pub(crate) struct SegmentReader {
    name: String,
    pub(crate) header: FileHeader,
    file: Arc<dyn File>,
    seed: Seed,
    bytes: Vec<u8>,
}

/// Where the records of a segment end, and why.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct SegmentEnd {
    pub(crate) offset: usize,
    /// The record that would follow.
    pub(crate) sequence: u64,
}

impl SegmentReader {
    pub(crate) fn open(files: &dyn Files, number: u32) -> Result<Self, StoreError> {
        let name = name(number);
        let file = files.open(&name).map_err(doing("open", &name))?;
        let bytes = read_whole(&*file).map_err(doing("read", &name))?;
        let header = FileHeader::read_segment(&name, &bytes, number)?;
        Ok(Self { name, header, file, seed: header.seed(), bytes })
    }

    /// Hands each record from this offset on to `handle`, with its offset, until the one with
    /// sequence `end`, or the last one.
    ///
    /// `sequence` is that of the first. What cannot be read is what a crash left, unless a record
    /// behind it shows that it was once synced.
    pub(crate) fn read(
        &self,
        start: SegmentEnd,
        end: Option<u64>,
        mut handle: impl FnMut(usize, RawRecord<'_>) -> Result<(), &'static str>,
    ) -> Result<SegmentEnd, StoreError> {
        let mut at = start;
        while end != Some(at.sequence) {
            let rest = self.bytes.get(at.offset..).unwrap_or_default();
            match record::read(rest, &self.seed) {
                Some(record) if record.sequence == at.sequence => {
                    handle(at.offset, record).map_err(|what| self.damaged(at.offset, what))?;
                    at = SegmentEnd {
                        offset: at.offset + record.bytes(),
                        sequence: at.sequence + 1,
                    };
                }
                _ if end.is_some() => {
                    return Err(
                        self.damaged(at.offset, "a record that others follow is unreadable")
                    );
                }
                _ => {
                    self.check_nothing_synced_follows(at)?;
                    break;
                }
            }
        }
        Ok(at)
    }

    /// All records that can be read, wherever they are, with their offsets.
    pub(crate) fn readable(&self) -> impl Iterator<Item = (usize, RawRecord<'_>)> {
        let mut offset = FILE_HEADER_BYTES;
        iter::from_fn(move || {
            loop {
                let rest = self.bytes.get(offset..).filter(|rest| !rest.is_empty())?;
                let at = offset;
                match record::read(rest, &self.seed) {
                    Some(record) => {
                        offset += record.bytes();
                        return Some((at, record));
                    }
                    None => offset += 1,
                }
            }
        })
    }

    /// An error if a record behind this place was written after what was here had been synced.
    fn check_nothing_synced_follows(&self, at: SegmentEnd) -> Result<(), StoreError> {
        let rest = self.bytes.get(at.offset..).unwrap_or_default();
        let later = at.sequence.saturating_add(1)..=at.sequence.saturating_add(rest.len() as u64);
        // A body may be made to look like many long records: what was torn must not take long.
        let mut checked_bytes_left = rest.len().saturating_mul(SEARCH_FACTOR);
        for skipped in places_of_sequences(rest, &later) {
            let candidate = rest.get(skipped..).unwrap_or_default();
            let Some((_, bytes)) = record::peek(candidate) else { continue };
            let Some(left) = checked_bytes_left.checked_sub(bytes) else { break };
            checked_bytes_left = left;
            let record = record::read(candidate, &self.seed);
            if record.is_some_and(|record| record.unsynced_from > at.sequence) {
                let what = "what was synced is unreadable, and what was written later is not";
                return Err(self.damaged(at.offset, what));
            }
        }
        Ok(())
    }

    pub(crate) fn into_segment(self) -> Segment {
        let bytes = self.bytes.len() as u64;
        Segment { file: self.file, seed: self.seed, bytes, live_bytes: 0 }
    }

    pub(crate) fn damaged(&self, offset: usize, what: &'static str) -> StoreError {
        StoreError::Damaged { file: self.name.clone(), offset: offset as u64, what }
    }
}

/// Where in `bytes` a record may begin, behind the first byte, by its sequence alone: a start looks
/// through a segment in which most was never written, or is left of an earlier use.
fn places_of_sequences<'a>(
    bytes: &'a [u8],
    sequences: &'a RangeInclusive<u64>,
) -> impl Iterator<Item = usize> + 'a {
    // Behind its sequence, a record has bytes that are not zero.
    let written = bytes.get(..written_bytes(bytes)).unwrap_or_default();
    let mut last = 0;
    written.iter().enumerate().filter_map(move |(at, &byte)| {
        last = last << 8 | u64::from(byte);
        let is_one = sequences.contains(&last);
        if is_one { (at + 1).checked_sub(record::SEQUENCE_END).filter(|&at| at > 0) } else { None }
    })
}

/// How many bytes there are up to the last that is not zero.
fn written_bytes(bytes: &[u8]) -> usize {
    let (chunks, rest) = bytes.as_chunks::<64>();
    if let Some(last) = rest.iter().rposition(|&byte| byte != 0) {
        return bytes.len() - rest.len() + last + 1;
    }
    let last = chunks.iter().rposition(|chunk| *chunk != [0; 64]);
    last.map_or(0, |last| (last + 1) * 64)
}

/// Opens a segment whose records are not read.
pub(crate) fn open_header(files: &dyn Files, number: u32) -> Result<Segment, StoreError> {
    let name = name(number);
    let file = files.open(&name).map_err(doing("open", &name))?;
    let bytes = file.bytes().map_err(doing("read", &name))?;
    let mut header = [0; FILE_HEADER_BYTES];
    if bytes >= header.len() as u64 {
        file.read_at(&mut header, 0).map_err(doing("read", &name))?;
    }
    let header = FileHeader::read_segment(&name, &header, number)?;
    Ok(Segment { file, seed: header.seed(), bytes, live_bytes: 0 })
}

/// The content of a file.
pub(crate) fn read_whole(file: &dyn File) -> io::Result<Vec<u8>> {
    let bytes = usize::try_from(file.bytes()?).map_err(io::Error::other)?;
    let mut content = vec![0; bytes];
    file.read_at(&mut content, 0)?;
    Ok(content)
}

/// What a segment's header begins with.
pub(crate) const MAGIC: [u8; 8] = *b"PASSRLOG";

/// What [`FileHeader`] takes; records follow.
pub(crate) const FILE_HEADER_BYTES: usize = FIRST_OFFSET as usize;

/// Where the first record of a segment is.
pub(crate) const FIRST_OFFSET: u32 = 36;

/// The format of the files.
const FORMAT: u32 = 1;

const PREFIX: &str = "log-";

/// How much is checked in search of a record, as a multiple of what is searched.
const SEARCH_FACTOR: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Kind;

    #[test]
    fn sequences_are_found_wherever_they_are() {
        let sequence = 0x0102_0304_0506_0708_u64;
        for at in [0, 1, 7, 48, 49, 63, 64, 65, 127, 128] {
            for behind in [9, 63, 64, 65, 1000] {
                for stale in [0, 1, 7, 255] {
                    let mut bytes = vec![stale; at];
                    record::append(&mut bytes, &Seed::new(1, 1), sequence, 1, Kind::Synced, |_| {});
                    bytes.extend(vec![0; behind]);
                    let found =
                        |sequences| places_of_sequences(&bytes, &sequences).collect::<Vec<_>>();
                    let expected: Vec<_> = [at].into_iter().filter(|&at| at > 0).collect();
                    let shown = format!("at {at} of {stale}, {behind} behind");
                    assert_eq!(found(sequence..=sequence), expected, "{shown}");
                    assert_eq!(found(sequence - 1..=sequence + 1), expected, "{shown}");
                    assert_eq!(found(sequence + 1..=sequence + 9), [0; 0], "{shown}");
                }
            }
        }
    }

    #[test]
    fn what_was_written_ends_at_the_last_byte_that_is_not_zero() {
        for length in [0, 1, 63, 64, 65, 200] {
            assert_eq!(written_bytes(&vec![0; length]), 0);
            for last in 0..length {
                let mut bytes = vec![0; length];
                bytes[last] = 1;
                let written = written_bytes(&bytes);
                assert!(written > last && written <= length && written - last <= 64, "{last}");
            }
        }
    }
}
