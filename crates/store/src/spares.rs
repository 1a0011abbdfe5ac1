//! Files that the next segments are made of, allocated beforehand.

use std::io;

use crate::{
    checkpoint,
    error::{StoreError, doing},
    files::Files,
    log::{Log, lock},
};

/// One spare file is what the next segment is made of. The other is the reserve: while the disk is
/// full, what only takes away from the store goes there, until that makes room.
#[derive(Debug, Default)]
pub(crate) struct Spares {
    names: Vec<String>,
    /// Bytes that are allocated for the next checkpoint.
    checkpoint_reserve: u64,
    /// There was no room for one of these files.
    pub(crate) is_disk_full: bool,
    /// How many times [`Log::refill_sometimes`] does nothing.
    pause: u32,
}

impl Spares {
    /// Those that are left of the last process; what has not the size of a segment is removed.
    pub(crate) fn find(
        files: &dyn Files,
        names: &[String],
        segment_bytes: u64,
    ) -> Result<Self, StoreError> {
        let mut spares = Self::default();
        for name in names {
            if name == checkpoint::NEW {
                files.remove(name).map_err(doing("remove", name))?;
            }
            if !name.starts_with(PREFIX) {
                continue;
            }
            let bytes = files.open(name).and_then(|file| file.bytes());
            let fits = bytes.map_err(doing("open", name))? == segment_bytes;
            if fits && spares.names.len() < COUNT {
                spares.names.push(name.clone());
            } else {
                files.remove(name).map_err(doing("remove", name))?;
            }
        }
        Ok(spares)
    }

    /// Removes a spare from the list: one of this size or more. `None`: there is no room for one.
    pub(crate) fn take(
        &mut self,
        files: &dyn Files,
        bytes: u64,
        segment_bytes: u64,
        may_use_reserve: bool,
    ) -> Result<Option<String>, StoreError> {
        if bytes > segment_bytes {
            let is_made = self.make(files, LARGE, bytes)?;
            return Ok(is_made.then(|| LARGE.to_owned()));
        }
        // On a full disk, what may use the reserve does not wait until there is another.
        if !(may_use_reserve && self.is_disk_full) || self.names.is_empty() {
            self.refill(files, segment_bytes)?;
        }
        let reserved = if may_use_reserve { 0 } else { COUNT - 1 };
        Ok(if self.names.len() > reserved { self.names.pop() } else { None })
    }

    /// Returns what was taken and not used.
    pub(crate) fn put_back(&mut self, name: String) {
        self.is_disk_full = true;
        if name != LARGE {
            self.names.push(name);
        }
    }

    /// Makes what is missing, as far as there is room.
    pub(crate) fn refill(
        &mut self,
        files: &dyn Files,
        segment_bytes: u64,
    ) -> Result<(), StoreError> {
        while let Some(name) = self.unused() {
            if !self.make(files, &name, segment_bytes)? {
                return Ok(());
            }
            self.names.push(name);
        }
        self.is_disk_full = false;
        Ok(())
    }

    /// A file of the store was removed: there may be room again.
    pub(crate) const fn room_was_made(&mut self) {
        self.pause = 0;
    }

    /// Whether nothing is reserved.
    pub(crate) const fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The name under which a file that is not used any more is a spare, if one is missing.
    pub(crate) fn recycle(&mut self) -> Option<String> {
        let name = self.unused()?;
        self.names.push(name.clone());
        Some(name)
    }

    /// Whether there is a file that is allocated for the next checkpoint, which begins.
    pub(crate) const fn take_checkpoint_reserve(&mut self) -> bool {
        std::mem::replace(&mut self.checkpoint_reserve, 0) > 0
    }

    /// A name that no spare has, if one is missing.
    fn unused(&self) -> Option<String> {
        (0..COUNT).map(|n| format!("{PREFIX}{n}")).find(|name| !self.names.contains(name))
    }

    fn make(&mut self, files: &dyn Files, name: &str, bytes: u64) -> Result<bool, StoreError> {
        match files.create(name, bytes) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                self.is_disk_full = true;
                Ok(false)
            }
            Err(error) => Err(doing("create", name)(error)),
        }
    }
}

impl Log {
    /// The name of a file for the next segment; `None`: there is no room for one.
    pub(crate) fn take_spare(
        &mut self,
        bytes: u64,
        may_use_reserve: bool,
    ) -> Result<Option<String>, StoreError> {
        if !may_use_reserve && !self.reserve_checkpoint()? {
            return Ok(None);
        }
        self.spares.take(&*self.files, bytes, self.segment_bytes, may_use_reserve)
    }

    /// Makes the spares that are missing, and before them room for the next checkpoint: without that,
    /// nothing would make room any more.
    pub(crate) fn refill(&mut self) -> Result<(), StoreError> {
        if self.reserve_checkpoint()? {
            self.spares.refill(&*self.files, self.segment_bytes)?;
        }
        Ok(())
    }

    /// As [`Log::refill`], but on a full disk only now and then: a file system may take long to find
    /// that it has no room, and removals wait for that.
    pub(crate) fn refill_sometimes(&mut self) -> Result<(), StoreError> {
        if self.spares.is_disk_full && self.spares.pause > 0 {
            self.spares.pause -= 1;
            return Ok(());
        }
        self.spares.pause = FULL_PAUSE;
        self.refill()
    }

    /// Allocates what the next checkpoint may take, so that a full disk does not prevent it: it is
    /// what makes room. `false`: there is no room.
    pub(crate) fn reserve_checkpoint(&mut self) -> Result<bool, StoreError> {
        if self.checkpoint.is_some() {
            return Ok(true);
        }
        let required = checkpoint::bytes_of(&lock(&self.index)) + self.segment_bytes / 4;
        if required <= self.spares.checkpoint_reserve {
            return Ok(true);
        }
        let before = self.spares.checkpoint_reserve;
        for bytes in [required + required / 2, required, before] {
            if bytes > 0 && self.spares.make(&*self.files, checkpoint::NEW, bytes)? {
                self.spares.checkpoint_reserve = bytes;
                return Ok(bytes >= required);
            }
        }
        self.spares.checkpoint_reserve = 0;
        Ok(false)
    }
}

const PREFIX: &str = "spare-";

/// A spare for a batch that is larger than a segment.
const LARGE: &str = "spare-large";

const COUNT: usize = 2;

/// Steps beside the batches between two attempts to allocate on a full disk.
const FULL_PAUSE: u32 = 64;
