use std::{
    fs, io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate};

use crate::{
    error::{StoreError, doing},
    files::{File, Files},
    lock::Lock,
};

/// A folder of the file system, locked for this process.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// What is synced for the names in it.
    folder: fs::File,
    _lock: Lock,
}

impl Folder {
    /// Makes the folder, unless it is there, and locks it.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process has it open, and when it cannot be made or opened.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let shown = path.display().to_string();
        if !path.is_dir() {
            fs::create_dir_all(path).map_err(doing("create", &shown))?;
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = parent.unwrap_or_else(|| Path::new("."));
            let sync = fs::File::open(parent).and_then(|parent| parent.sync_all());
            sync.map_err(doing("sync the folder of", &shown))?;
        }
        let lock = Lock::acquire(path)?;
        let folder = fs::File::open(path).map_err(doing("open", &shown))?;
        Ok(Self { path: path.to_path_buf(), folder, _lock: lock })
    }

    fn open_with(&self, name: &str, options: &mut fs::OpenOptions) -> io::Result<fs::File> {
        options.read(true).write(true).mode(0o600).open(self.path.join(name))
    }
}

impl Files for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn File>> {
        let file = self.open_with(name, fs::OpenOptions::new().create(true).truncate(true))?;
        if let Err(error) = allocate(&file, bytes) {
            // What there is no room for must not take the last of it. The error that matters is
            // the first one.
            fs::remove_file(self.path.join(name)).ok();
            return Err(error);
        }
        Ok(Arc::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = self.open_with(name, &mut fs::OpenOptions::new())?;
        file.sync_data()?;
        // Only pages that are written are dropped, and then read from the disk.
        fadvise(&file, 0, None, Advice::DontNeed)?;
        Ok(Arc::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.folder.sync_all()
    }
}

impl File for fs::File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(into, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

/// Allocates the blocks of a new file: by writing them where the file system cannot do it otherwise.
fn allocate(file: &fs::File, bytes: u64) -> io::Result<()> {
    const ZEROS: &[u8] = &[0; 64 << 10];
    if bytes == 0 {
        return Ok(());
    }
    match fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(error) if error == rustix::io::Errno::OPNOTSUPP => {}
        other => return Ok(other?),
    }
    let mut offset = 0;
    while offset < bytes {
        let count =
            usize::try_from(bytes - offset).map_or(ZEROS.len(), |rest| rest.min(ZEROS.len()));
        file.write_all_at(ZEROS.get(..count).unwrap_or_default(), offset)?;
        offset += count as u64;
    }
    Ok(())
}
