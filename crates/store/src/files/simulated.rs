use std::{
    collections::{BTreeMap, BTreeSet},
    io, mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use crate::files::{File, Files};

/// A disk in memory, for tests: what was not synced may be lost, torn at a sector, or kept although
/// something earlier is lost; and it fails when it is told to.
///
/// After [`SimulatedDisk::crash_at`] each operation fails; [`SimulatedDisk::after_crash`] is the
/// disk that the next process finds.
#[derive(Clone, Debug, Default)]
pub struct SimulatedDisk(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    disk: Mutex<Disk>,
    goes_on: Condvar,
}

#[derive(Debug, Default)]
struct Disk {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<String, u64>,
    /// The names as they were synced, and each change since.
    names_synced: BTreeMap<String, u64>,
    names_changed: Vec<Vec<(String, Option<u64>)>>,
    operations: u64,
    crash_at: Option<u64>,
    syncs: u64,
    sync_failure_at: Option<u64>,
    is_stalled: bool,
    /// Bytes of all files together.
    capacity: Option<u64>,
    writes_fail_when_full: bool,
    next_write_fails: bool,
    /// See [`SimulatedDisk::copy_after`].
    copy_at: Option<u64>,
    copy: Option<SimulatedDisk>,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    content: Vec<u8>,
    synced: Vec<u8>,
    /// What each sector contained since the last sync, from the first write on.
    unsynced: BTreeMap<usize, Vec<Vec<u8>>>,
    /// A sync failed: the content is only in memory.
    sync_failed: bool,
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    inode: u64,
}

impl SimulatedDisk {
    /// Files that change their content or their names so far, and syncs.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Lets the operation with this number, from 0 on, and all later ones fail.
    pub fn crash_at(&self, operation: u64) {
        self.lock().crash_at = Some(operation);
    }

    /// Whether an operation failed by [`SimulatedDisk::crash_at`].
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        let disk = self.lock();
        disk.crash_at.is_some_and(|at| disk.operations > at)
    }

    /// Keeps a copy of the disk as it is after this many operations more, as if the process ended there.
    pub fn copy_after(&self, operations: u64) {
        let mut disk = self.lock();
        disk.copy_at = Some(disk.operations + operations);
        disk.copy = None;
    }

    /// The copy, if there were so many operations. Nothing is to be done to it but what makes it the disk of
    /// the next process: [`SimulatedDisk::after_kill`], [`SimulatedDisk::after_crash`].
    #[must_use]
    pub fn take_copy(&self) -> Option<Self> {
        let mut disk = self.lock();
        disk.copy_at = None;
        disk.copy.take()
    }

    /// Lets the sync that comes after this many others fail. What it was to write never reaches the
    /// disk, though it can be read for now; later syncs report nothing of it, as Linux does it.
    pub fn fail_sync_after(&self, count: u64) {
        let mut disk = self.lock();
        disk.sync_failure_at = Some(disk.syncs + count);
    }

    /// Lets syncs of files wait until this is called with `false`.
    pub fn stall(&self, is_stalled: bool) {
        self.lock().is_stalled = is_stalled;
        self.0.goes_on.notify_all();
    }

    /// Bounds the bytes of all files; `None`: there is room for everything.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// Lets writes fail too while the disk is full, as where blocks that are overwritten are
    /// allocated anew.
    pub fn set_writes_fail_when_full(&self, fail: bool) {
        self.lock().writes_fail_when_full = fail;
    }

    /// Lets the next write fail, as if the disk were full just then.
    pub fn fail_next_write(&self) {
        self.lock().next_write_fails = true;
    }

    /// Bytes that all files take.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.lock().used()
    }

    /// The content of a file.
    #[must_use]
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let disk = self.lock();
        let inode = disk.names.get(name)?;
        Some(disk.inodes.get(inode)?.content.clone())
    }

    /// Changes a byte of a file behind its owner's back.
    pub fn damage(&self, name: &str, offset: usize, change: impl FnOnce(&mut u8)) {
        let mut disk = self.lock();
        let Some(&inode) = disk.names.get(name) else { return };
        if let Some(inode) = disk.inodes.get_mut(&inode) {
            if let Some(byte) = inode.content.get_mut(offset) {
                change(byte);
            }
            inode.synced = inode.content.clone();
        }
    }

    /// A copy of what a process that starts now would find if the last one was killed: all that was
    /// written.
    #[must_use]
    pub fn after_kill(&self) -> Self {
        let disk = self.lock();
        let content = |inode: &Inode| {
            if inode.sync_failed { inode.synced.clone() } else { inode.content.clone() }
        };
        Self::of(disk.names.clone(), disk.inodes.iter().map(|(&id, i)| (id, content(i))))
    }

    /// What the disk may contain after a loss of power. `below(n)` picks a number less than `n`.
    #[must_use]
    pub fn after_crash(&self, mut below: impl FnMut(usize) -> usize) -> Self {
        let disk = self.lock();
        let mut names = disk.names_synced.clone();
        // In order, as journals write them, or each by itself.
        let prefix = (below(2) == 0).then(|| below(disk.names_changed.len() + 1));
        for (index, changes) in disk.names_changed.iter().enumerate() {
            if prefix.map_or_else(|| below(2) == 0, |prefix| index < prefix) {
                apply(&mut names, changes);
            }
        }
        let fates = below(3);
        let inodes = disk.inodes.iter().map(|(&id, inode)| {
            let mut survives = |versions: usize| match fates {
                0 => 0,
                1 => versions - 1,
                _ => below(versions),
            };
            (id, inode.after_crash(&mut survives))
        });
        Self::of(names, inodes)
    }

    fn of(names: BTreeMap<String, u64>, inodes: impl Iterator<Item = (u64, Vec<u8>)>) -> Self {
        let named: BTreeSet<_> = names.values().copied().collect();
        let inodes = inodes.filter(|(id, _)| named.contains(id)).map(|(id, content)| {
            (id, Inode { synced: content.clone(), content, ..Inode::default() })
        });
        let (inodes, names_synced) = (inodes.collect(), names.clone());
        let disk = Mutex::new(Disk { inodes, names, names_synced, ..Disk::default() });
        Self(Arc::new(Shared { disk, ..Shared::default() }))
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, inode: u64) -> Arc<dyn File> {
        Arc::new(SimulatedFile { disk: self.clone(), inode })
    }
}

impl Disk {
    fn operate(&mut self) -> io::Result<()> {
        if self.copy_at == Some(self.operations) {
            self.copy = Some(self.copied());
        }
        self.operations += 1;
        if self.crash_at.is_some_and(|at| self.operations > at) { Err(crashed()) } else { Ok(()) }
    }

    /// What is on it, and what was not synced.
    fn copied(&self) -> SimulatedDisk {
        let disk = Self {
            inodes: self.inodes.clone(),
            names: self.names.clone(),
            names_synced: self.names_synced.clone(),
            names_changed: self.names_changed.clone(),
            ..Self::default()
        };
        SimulatedDisk(Arc::new(Shared { disk: Mutex::new(disk), ..Shared::default() }))
    }

    fn used(&self) -> u64 {
        let named = self.names.values().filter_map(|inode| self.inodes.get(inode));
        named.map(|inode| inode.content.len() as u64).sum()
    }

    fn is_full(&self, more: u64) -> bool {
        self.capacity.is_some_and(|capacity| self.used() + more > capacity)
    }

    fn change_names(&mut self, changes: Vec<(String, Option<u64>)>) {
        apply(&mut self.names, &changes);
        self.names_changed.push(changes);
    }

    fn inode(&mut self, inode: u64) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&inode).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Inode {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if self.content.len() < end {
            self.content.resize(end, 0);
        }
        if let Some(into) = self.content.get_mut(offset..end) {
            into.copy_from_slice(bytes);
        }
        for sector in offset / SECTOR..end.div_ceil(SECTOR) {
            let content = sector_of(&self.content, sector).to_vec();
            self.unsynced.entry(sector).or_default().push(content);
        }
    }

    /// For each sector what was synced or one of what was written since.
    fn after_crash(&self, survives: &mut impl FnMut(usize) -> usize) -> Vec<u8> {
        let mut left = self.synced.clone();
        for (&sector, versions) in &self.unsynced {
            let Some(version) = survives(versions.len() + 1).checked_sub(1) else { continue };
            let version = versions.get(version).map(Vec::as_slice).unwrap_or_default();
            let (start, end) = (sector * SECTOR, sector * SECTOR + version.len());
            if left.len() < end {
                left.resize(end, 0);
            }
            if let Some(into) = left.get_mut(start..end) {
                into.copy_from_slice(version);
            }
        }
        left
    }
}

impl Files for SimulatedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().names.keys().cloned().collect())
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn File>> {
        let mut disk = self.lock();
        disk.operate()?;
        if disk.is_full(bytes) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let inode = disk.inodes.last_key_value().map_or(0, |(last, _)| last + 1);
        let mut created = Inode::default();
        created.write(&vec![0; usize::try_from(bytes).unwrap_or_default()], 0);
        disk.inodes.insert(inode, created);
        disk.change_names(vec![(name.to_owned(), Some(inode))]);
        Ok(self.file(inode))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut disk = self.lock();
        disk.operate()?;
        let inode = disk.names.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        let opened = disk.inode(inode)?;
        if opened.sync_failed {
            opened.content = opened.synced.clone();
        } else {
            opened.synced = opened.content.clone();
        }
        opened.unsynced.clear();
        Ok(self.file(inode))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.lock();
        disk.operate()?;
        let inode = disk.names.get(from).copied().ok_or(io::ErrorKind::NotFound)?;
        disk.change_names(vec![(from.to_owned(), None), (to.to_owned(), Some(inode))]);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.lock();
        disk.operate()?;
        if !disk.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        disk.change_names(vec![(name.to_owned(), None)]);
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut disk = self.lock();
        disk.operate()?;
        disk.names_synced = disk.names.clone();
        disk.names_changed.clear();
        Ok(())
    }
}

impl File for SimulatedFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let outcome = disk.operate();
        let mut bytes = bytes;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let grows = (offset + bytes.len()).saturating_sub(disk.inode(self.inode)?.content.len());
        let is_full = disk.is_full(grows as u64) && (grows > 0 || disk.writes_fail_when_full)
            || mem::take(&mut disk.next_write_fails);
        if outcome.is_err() || is_full {
            // A part of it, as a write may be interrupted.
            bytes = bytes.get(..bytes.len() / 2).unwrap_or_default();
        }
        disk.inode(self.inode)?.write(bytes, offset);
        if is_full { Err(io::ErrorKind::StorageFull.into()) } else { outcome }
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let content = &disk.inode(self.inode)?.content;
        let bytes = offset.checked_add(into.len()).and_then(|end| content.get(offset..end));
        into.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let goes_on = &self.disk.0.goes_on;
        let waited = goes_on.wait_while(self.disk.lock(), |disk| disk.is_stalled);
        let mut disk = waited.unwrap_or_else(PoisonError::into_inner);
        disk.operate()?;
        let fails = disk.sync_failure_at == Some(disk.syncs);
        disk.syncs += 1;
        let inode = disk.inode(self.inode)?;
        if fails {
            inode.sync_failed = true;
        } else if !inode.sync_failed {
            inode.synced = inode.content.clone();
        }
        inode.unsynced.clear();
        if fails { Err(io::Error::other("the disk failed")) } else { Ok(()) }
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.disk.lock().inode(self.inode)?.content.len() as u64)
    }
}

fn apply(names: &mut BTreeMap<String, u64>, changes: &[(String, Option<u64>)]) {
    for (name, inode) in changes {
        match inode {
            Some(inode) => names.insert(name.clone(), *inode),
            None => names.remove(name),
        };
    }
}

fn sector_of(content: &[u8], sector: usize) -> &[u8] {
    let start = sector * SECTOR;
    content.get(start..content.len().min(start + SECTOR)).unwrap_or_default()
}

fn crashed() -> io::Error {
    io::Error::other("the disk is gone")
}

/// What a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;
