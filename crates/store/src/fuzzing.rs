use std::sync::Arc;

use crate::{
    Options,
    files::{Files as _, SimulatedDisk},
    record::{self, Kind, Seed},
    segment::{self, FIRST_OFFSET},
};

/// A disk with a store whose log contains these records, whatever is in them: past the checksums, as
/// damage does not come. Each is a kind, a length of two bytes and a payload.
#[doc(hidden)]
#[must_use]
pub fn disk_of_records(data: &[u8]) -> SimulatedDisk {
    const SALT: u64 = 0;
    let disk = SimulatedDisk::default();
    let options = Options { segment_bytes: 64 << 10, ..Options::new(1, SALT) };
    drop(crate::open(Arc::new(disk.clone()), options));
    let (mut buffer, mut sequence) = (Vec::new(), 1);
    let mut reader = wire::Reader::new(data);
    while let Some([kind, high, low]) = reader.array() {
        let length = usize::from(u16::from_be_bytes([high, low])).min(reader.len());
        let payload = reader.take(length).unwrap_or_default();
        let (kind, seed) = (Kind::of(kind).unwrap_or(Kind::Synced), Seed::new(SALT, 1));
        record::append(&mut buffer, &seed, sequence, sequence, kind, |to| to.extend(payload));
        sequence += 1;
    }
    if let Ok(file) = disk.open(&segment::name(1)) {
        drop(file.write_at(&buffer, FIRST_OFFSET.into()));
    }
    disk
}
