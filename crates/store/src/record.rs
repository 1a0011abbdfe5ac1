//! The unit of everything that is written: a checksummed record.
//!
//! ```text
//! 0          4        8          16         20     21        24
//! | checksum | length | sequence | unsynced | kind | version | 0 0 | payload |
//! ```
//!
//! Integers are big-endian. The checksum (CRC-32) covers all that follows it, after a seed that is
//! the file's own ([`Seed`]): what an earlier use of the same blocks left is no record here, and no
//! peer can write a body that contains one. `sequence` counts the records of the log. `unsynced` is
//! how many records before this one were not known to be on the disk when it was written: so a
//! record that cannot be read, before one that was written after its sync, is damage, and before any
//! other only what a crash left.

use crc32fast::Hasher;
use wire::Reader;

/// What the checksums of a file begin with.
#[derive(Clone, Debug)]
pub(crate) struct Seed(Hasher);

impl Seed {
    /// Of a secret number and what the file is.
    pub(crate) fn new(salt: u64, number: u32) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(&salt.to_be_bytes());
        hasher.update(&number.to_be_bytes());
        Self(hasher)
    }

    pub(crate) fn checksum(&self, bytes: &[u8]) -> u32 {
        let mut hasher = self.0.clone();
        hasher.update(bytes);
        hasher.finalize()
    }
}

/// What a payload is. Another number is of a newer version.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// A body: its id and a message.
    Body = 1,
    /// Changes that take effect together. The bodies that they name come before them. In a
    /// checkpoint: those that are not done yet.
    Changes = 2,
    /// Nothing; says that all before it was synced.
    Synced = 3,
    /// In a checkpoint: where the log goes on from it.
    Begin = 4,
    /// In a checkpoint: positions of one queue and their bodies.
    Queue = 5,
    /// In a checkpoint: where bodies are.
    Bodies = 6,
    /// In a checkpoint: its end.
    End = 7,
}

impl Kind {
    pub(crate) const fn of(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Body,
            2 => Self::Changes,
            3 => Self::Synced,
            4 => Self::Begin,
            5 => Self::Queue,
            6 => Self::Bodies,
            7 => Self::End,
            _ => return None,
        })
    }
}

/// A record as it was read; its checksum is right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawRecord<'a> {
    pub(crate) sequence: u64,
    /// The first record that was not known to be synced when this one was written.
    pub(crate) unsynced_from: u64,
    pub(crate) kind: u8,
    pub(crate) version: u8,
    pub(crate) payload: &'a [u8],
}

impl RawRecord<'_> {
    /// What it takes in the file.
    pub(crate) const fn bytes(&self) -> usize {
        HEADER_BYTES + self.payload.len()
    }

    /// What the payload is, if this version can read it.
    pub(crate) const fn known_kind(&self) -> Option<Kind> {
        if self.version == VERSION { Kind::of(self.kind) } else { None }
    }
}

/// Appends a record, whose payload `write` appends.
pub(crate) fn append(
    buffer: &mut Vec<u8>,
    seed: &Seed,
    sequence: u64,
    unsynced_from: u64,
    kind: Kind,
    write: impl FnOnce(&mut Vec<u8>),
) {
    append_before(buffer, seed, sequence, unsynced_from, kind, |buffer| {
        write(buffer);
        &[]
    });
}

/// Appends a record, whose payload `write` appends but for its end, which it returns and which is to
/// follow.
pub(crate) fn append_before<'a>(
    buffer: &mut Vec<u8>,
    seed: &Seed,
    sequence: u64,
    unsynced_from: u64,
    kind: Kind,
    write: impl FnOnce(&mut Vec<u8>) -> &'a [u8],
) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEADER_BYTES]);
    let end = write(buffer);
    let Some((header, payload)) =
        buffer.get_mut(start..).and_then(<[u8]>::split_first_chunk_mut::<HEADER_BYTES>)
    else {
        return;
    };
    // Neither passes 32 bits: a batch and a group are bounded.
    let length = u32::try_from(payload.len() + end.len()).unwrap_or(u32::MAX);
    let unsynced = u32::try_from(sequence - unsynced_from).unwrap_or(u32::MAX);
    let [s0, s1, s2, s3, s4, s5, s6, s7] = sequence.to_be_bytes();
    let fields = [
        length.to_be_bytes(),
        [s0, s1, s2, s3],
        [s4, s5, s6, s7],
        unsynced.to_be_bytes(),
        [kind as u8, VERSION, 0, 0],
    ];
    let mut hasher = seed.0.clone();
    hasher.update(fields.as_flattened());
    hasher.update(payload);
    hasher.update(end);
    let checksum = hasher.finalize().to_be_bytes();
    for (into, from) in header.iter_mut().zip(checksum.iter().chain(fields.as_flattened())) {
        *into = *from;
    }
}

/// The record at the beginning of `bytes`; `None` when there is none.
pub(crate) fn read<'a>(bytes: &'a [u8], seed: &Seed) -> Option<RawRecord<'a>> {
    let mut reader = Reader::new(bytes);
    let checksum = reader.u32()?;
    let length = reader.u32()?;
    let sequence = reader.u64()?;
    let unsynced = reader.u32()?;
    let [kind, version, 0, 0] = reader.array()? else { return None };
    let payload = reader.take(usize::try_from(length).ok()?)?;
    let unsynced_from = sequence.checked_sub(unsynced.into())?;
    let covered = bytes.get(4..HEADER_BYTES + payload.len())?;
    (seed.checksum(covered) == checksum).then_some(RawRecord {
        sequence,
        unsynced_from,
        kind,
        version,
        payload,
    })
}

/// The sequence that a record at the beginning of `bytes` would have, and what it would take.
pub(crate) fn peek(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut reader = Reader::new(bytes);
    let (_, length, sequence) = (reader.u32()?, reader.u32()?, reader.u64()?);
    let taken = HEADER_BYTES.checked_add(usize::try_from(length).ok()?)?;
    (taken <= bytes.len()).then_some((sequence, taken))
}

/// Where in a record its sequence ends.
pub(crate) const SEQUENCE_END: usize = 16;

/// What a record takes beside its payload.
pub(crate) const HEADER_BYTES: usize = 24;

/// The version of the payloads that are written.
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_as_it_was_written_and_no_other_way() {
        let seed = Seed::new(7, 1);
        let mut bytes = vec![9; 3];
        append(&mut bytes, &seed, 12, 10, Kind::Body, |buffer| buffer.extend(b"body"));
        let written = bytes.split_off(3);
        let record = read(&written, &seed).unwrap();
        assert_eq!((record.sequence, record.unsynced_from), (12, 10));
        assert_eq!((record.known_kind(), record.payload), (Some(Kind::Body), &b"body"[..]));
        assert_eq!(record.bytes(), written.len());
        assert_eq!(peek(&written), Some((12, written.len())));
        for length in 0..written.len() {
            assert!(read(&written[..length], &seed).is_none(), "{length} bytes of it");
        }
        for at in 0..written.len() {
            let mut damaged = written.clone();
            damaged[at] ^= 1;
            assert!(read(&damaged, &seed).is_none(), "byte {at}");
        }
        for other in [Seed::new(8, 1), Seed::new(7, 2)] {
            assert!(read(&written, &other).is_none(), "of another file");
        }
    }
}
