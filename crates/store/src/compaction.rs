//! Work between the batches: checkpoints, the end of segments, and moving what is left in sparse
//! ones. Each step is small.

use std::{collections::BTreeSet, io, ops::Bound};

use crate::{
    change::BodyId,
    checkpoint::{self, CheckpointWriter},
    error::{StoreError, doing},
    index::Place,
    log::{Addition, Log, lock},
    record, segment,
};

/// Which segment is being emptied, and how far.
#[derive(Debug, Default)]
pub(crate) struct Compaction {
    segment: Option<u32>,
    /// The bodies up to this one are elsewhere.
    after: BodyId,
    /// Steps that are left out, since there was no room for the last.
    pause: u32,
    /// Segments with bodies that could not be moved.
    skipped: BTreeSet<u32>,
    /// What a step moves, if that is more than [`STEP_BYTES`].
    step_bytes: u32,
}

impl Log {
    /// Does some of what is to be done beside the batches. `true`: there is more.
    ///
    /// # Errors
    /// As [`Log::sync`].
    pub(crate) fn maintain(&mut self) -> Result<bool, StoreError> {
        if self.checkpoint.is_some() {
            return self.step_checkpoint();
        }
        if self.is_checkpoint_due() {
            return self.begin_checkpoint();
        }
        self.refill_sometimes()?;
        if self.compaction.pause > 0 {
            self.compaction.pause -= 1;
            return Ok(false);
        }
        self.step_compaction(SPARSE_PERCENT, self.active.number)
    }

    /// As [`Log::maintain`], of so many bytes or less: until something of it was synced.
    ///
    /// # Errors
    /// As [`Log::sync`].
    pub(crate) fn maintain_for(&mut self, bytes: u32) -> Result<bool, StoreError> {
        let synced = self.synced;
        self.compaction.step_bytes = bytes;
        let mut left = bytes;
        let mut has_more = true;
        while has_more && left > 0 && self.synced == synced {
            let offset = self.checkpoint.as_ref().map(|checkpoint| checkpoint.offset);
            let is_compacting = offset.is_none() && self.compaction.segment.is_some();
            has_more = self.maintain()?;
            // What chooses what is next costs nothing.
            if is_compacting {
                left = 0;
            } else if let Some(offset) = offset {
                let now = self.checkpoint.as_ref().map_or(offset, |checkpoint| checkpoint.offset);
                let written = u32::try_from(now - offset).unwrap_or(u32::MAX);
                left = left.saturating_sub(written.max(CHECKPOINT_STEP_BYTES));
            }
        }
        self.compaction.step_bytes = 0;
        Ok(has_more)
    }

    /// Writes a whole checkpoint. `false`: there is no room for it.
    ///
    /// # Errors
    /// As [`Log::sync`].
    pub(crate) fn write_checkpoint(&mut self) -> Result<bool, StoreError> {
        self.checkpoint = None;
        if !self.begin_checkpoint()? {
            return Ok(false);
        }
        while self.checkpoint.is_some() {
            if !self.step_checkpoint()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Syncs all, and writes a checkpoint if there is room: the next start reads no more than that.
    ///
    /// # Errors
    /// As [`Log::sync`].
    pub(crate) fn close(&mut self) -> Result<(), StoreError> {
        self.sync()?;
        if self.since_checkpoint > 0 {
            self.write_checkpoint()?;
        }
        self.write_synced()?;
        self.sync()
    }

    /// Moves the bodies that are left in segments of which less than this part is in use, until
    /// there are none.
    pub(crate) fn compact(&mut self, sparse_percent: u64) -> Result<(), StoreError> {
        // What it moves may be sparse again where bodies are large.
        let before = self.active.number;
        while self.step_compaction(sparse_percent, before)? {}
        self.write_checkpoint()?;
        Ok(())
    }

    fn is_checkpoint_due(&self) -> bool {
        let index = lock(&self.index);
        let sealed = index.segments.range(..self.active.number);
        let dead = sealed.filter(|(_, segment)| segment.live_bytes == 0);
        let dead: u64 = dead.map(|(_, segment)| segment.bytes).sum();
        let grown = self.since_checkpoint;
        // What a checkpoint writes is no more than what it frees, or a part of what was written.
        let is_long = grown >= CHECKPOINT_FACTOR * self.segment_bytes.max(self.checkpoint_bytes);
        if self.spares.is_disk_full {
            // One that frees nothing would take the room that is reserved for one that does.
            return dead > 0;
        }
        dead > 0 && dead >= self.checkpoint_bytes || is_long
    }

    fn begin_checkpoint(&mut self) -> Result<bool, StoreError> {
        self.sync()?;
        let name = checkpoint::NEW;
        let file = if self.spares.take_checkpoint_reserve() {
            self.files.open(name)
        } else {
            self.files.create(name, 0)
        };
        let file = match file {
            Ok(file) => file,
            Err(error) => return no_room(error, name),
        };
        let (begin, index) = (self.position(), lock(&self.index));
        let writer = CheckpointWriter::begin(file, self.salt, begin, self.since_checkpoint, &index);
        drop(index);
        self.checkpoint = Some(writer);
        Ok(true)
    }

    fn step_checkpoint(&mut self) -> Result<bool, StoreError> {
        let Some(mut writer) = self.checkpoint.take() else { return Ok(false) };
        match writer.step(&self.index) {
            Ok(true) => self.finish_checkpoint(writer),
            Ok(false) => {
                self.checkpoint = Some(writer);
                Ok(true)
            }
            Err(error) => no_room(error, checkpoint::NEW),
        }
    }

    fn finish_checkpoint(&mut self, writer: CheckpointWriter) -> Result<bool, StoreError> {
        let (begin, log_bytes) = (writer.begin, writer.log_bytes);
        match writer.finish(&*self.files, self.synced, self.body_next) {
            Ok(bytes) => self.checkpoint_bytes = bytes,
            Err(error) => return no_room(error, checkpoint::NEW),
        }
        self.since_checkpoint -= log_bytes;
        self.drop_segments(begin.segment)?;
        Ok(true)
    }

    /// Removes the segments before this one that no message is in. A checkpoint that begins behind
    /// them is on the disk, so what they say of others is not required any more.
    ///
    /// # Errors
    /// When a file cannot be removed, or the folder not be synced: then a file might get its next
    /// content and keep its old name.
    pub(crate) fn drop_segments(&mut self, before: u32) -> Result<(), StoreError> {
        let mut index = lock(&self.index);
        let sealed = index.segments.range(..before.min(self.active.number));
        let dead = sealed.filter(|(_, segment)| segment.live_bytes == 0);
        let dead: Vec<_> = dead.map(|(&number, segment)| (number, segment.bytes)).collect();
        for (number, _) in &dead {
            index.segments.remove(number);
        }
        drop(index);
        for &(number, bytes) in &dead {
            let name = segment::name(number);
            // The room of the next checkpoint comes before the spares.
            let fits = bytes == self.segment_bytes && self.reserve_checkpoint()?;
            let removed = match fits.then(|| self.spares.recycle()).flatten() {
                Some(spare) => self.files.rename(&name, &spare),
                None => self.files.remove(&name),
            };
            removed.map_err(doing("remove", &name))?;
        }
        if !dead.is_empty() {
            self.spares.room_was_made();
            self.compaction.pause = 0;
            self.files.sync_folder().map_err(doing("sync", "the folder of the store"))?;
        }
        Ok(())
    }

    fn step_compaction(&mut self, sparse_percent: u64, before: u32) -> Result<bool, StoreError> {
        let Some(segment) = self.compaction.segment else {
            self.compaction.segment = self.sparsest(sparse_percent, before);
            self.compaction.after = BodyId::default();
            return Ok(self.compaction.segment.is_some());
        };
        let (places, last) = self.bodies_in(segment);
        let mut bodies = Vec::new();
        for (body, place) in places {
            match self.read_body(place) {
                Some(payload) => bodies.push((body, payload)),
                // Damage is reported to who reads the message; until then the segment stays.
                None => _ = self.compaction.skipped.insert(segment),
            }
        }
        if !bodies.is_empty() {
            let appended = self.append(&Addition::Bodies(&bodies))?;
            self.sync()?;
            if appended.is_err() || self.spares.is_disk_full {
                self.compaction.segment = None;
                self.compaction.pause = if appended.is_err() { FULL_PAUSE } else { 0 };
                return Ok(false);
            }
        }
        match last {
            Some(last) => self.compaction.after = last,
            None => self.compaction.segment = None,
        }
        Ok(true)
    }

    /// The next bodies that are in a segment, and the last that was looked at; `None`: there are no
    /// more.
    fn bodies_in(&self, segment: u32) -> (Vec<(BodyId, Place)>, Option<BodyId>) {
        let bytes_max = self.compaction.step_bytes.max(STEP_BYTES);
        let count_max = STEP_BODIES * (bytes_max / STEP_BYTES) as usize;
        let index = lock(&self.index);
        let behind = Bound::Excluded(self.compaction.after);
        let (mut found, mut bytes, mut last) = (Vec::new(), 0, None);
        for (count, (id, body)) in index.bodies.iter_from(behind).enumerate() {
            if count == count_max || bytes >= bytes_max {
                return (found, last);
            }
            if body.place.segment == segment {
                bytes += body.place.bytes;
                found.push((id, body.place));
            }
            last = Some(id);
        }
        (found, None)
    }

    fn read_body(&self, place: Place) -> Option<Vec<u8>> {
        let (file, seed) = {
            let index = lock(&self.index);
            let segment = index.segments.get(&place.segment)?;
            (segment.file.clone(), segment.seed.clone())
        };
        let mut bytes = vec![0; usize::try_from(place.bytes).ok()?];
        file.read_at(&mut bytes, place.offset.into()).ok()?;
        record::read(&bytes, &seed).map(|record| record.payload.to_vec())
    }

    /// The segment that moving what is left in it frees the most of.
    fn sparsest(&self, sparse_percent: u64, before: u32) -> Option<u32> {
        let index = lock(&self.index);
        let sealed = index.segments.range(..before);
        let sparse = sealed.filter(|(number, segment)| {
            segment.live_bytes > 0
                && segment.live_bytes * 100 < segment.bytes * sparse_percent
                && !self.compaction.skipped.contains(number)
        });
        sparse.min_by_key(|(_, segment)| segment.live_bytes).map(|(&number, _)| number)
    }
}

/// That a checkpoint has no room is no error: the last one counts, and the log behind it.
fn no_room(error: io::Error, name: &str) -> Result<bool, StoreError> {
    if error.kind() == io::ErrorKind::StorageFull {
        return Ok(false);
    }
    Err(doing("write", name)(error))
}

/// A segment is emptied when less than this part of it is in use: then moving a byte frees more.
const SPARSE_PERCENT: u64 = 50;

/// A checkpoint is due when the log has grown by this many segments, or checkpoints, since the last:
/// what a start reads, against what is written for it.
const CHECKPOINT_FACTOR: u64 = 4;

/// Steps that a compaction leaves out after there was no room for one.
const FULL_PAUSE: u32 = 64;

/// What a step of a checkpoint counts for at least.
const CHECKPOINT_STEP_BYTES: u32 = 4 << 10;

/// What one step of a compaction looks at, and moves, at least.
const STEP_BODIES: usize = 8192;
pub(crate) const STEP_BYTES: u32 = 256 << 10;
