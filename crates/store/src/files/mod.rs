//! What the log requires of a file system: a flat folder of files.

mod real;
mod simulated;

use std::{fmt, io, sync::Arc};

pub use real::Folder;
pub use simulated::SimulatedDisk;

/// A folder that belongs to one store.
///
/// What is written survives a crash once [`File::sync`] has returned, and what is created, renamed
/// or removed once [`Files::sync_folder`] has. Before that each change may be lost or kept, whatever
/// came after it.
pub trait Files: fmt::Debug + Send + Sync {
    /// The names of all files.
    ///
    /// # Errors
    /// When the folder cannot be read.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a file of zeros in place of what had that name, with all its blocks allocated.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] when there is no room; the file does not exist then.
    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn File>>;

    /// Opens a file, such that what is read is what a crash would leave: after a failed sync the
    /// kernel may go on showing what it could not write.
    ///
    /// # Errors
    /// When it is not there, or cannot be opened.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Gives a file a name, in place of the file that had it.
    ///
    /// # Errors
    /// When the file system refuses it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; those that have it open can still read it.
    ///
    /// # Errors
    /// When the file system refuses it.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the names of all files durable.
    ///
    /// # Errors
    /// When it is not known whether they are.
    fn sync_folder(&self) -> io::Result<()>;
}

/// An open file, written by one thread and read by any.
pub trait File: fmt::Debug + Send + Sync {
    /// Writes all bytes at this offset.
    ///
    /// # Errors
    /// When that fails; any part of them may be written then.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Reads from this offset until `into` is full.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the file ends before.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()>;

    /// Makes what was written durable.
    ///
    /// # Errors
    /// When it is not known whether it is; trying again would not tell.
    fn sync(&self) -> io::Result<()>;

    /// Its length in bytes.
    ///
    /// # Errors
    /// When that cannot be read.
    fn bytes(&self) -> io::Result<u64>;
}
