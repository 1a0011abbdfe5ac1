use std::io;

/// Why a store cannot be opened, or its writer cannot go on. For the operator.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("the store in {folder} is used by process {process} ({program})")]
    Locked {
        /// The folder of the store.
        folder: String,
        /// The number of the process; 0: it did not write it yet.
        process: u32,
        /// What that process is called.
        program: String,
    },
    /// The file system failed. After a write or a sync it is not known what is on the disk, so the
    /// process has to end; what it finds there at its next start is what counts.
    #[error("cannot {doing} {file}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        file: String,
        /// How it failed.
        source: io::Error,
    },
    /// What was once written for good cannot be read. Nothing is changed.
    #[error(
        "{file} is damaged at byte {offset}: {what}. Restore the folder of the store from a backup; \
         `passerelle store dump` shows what can still be read"
    )]
    Damaged {
        /// The name of the file in the folder of the store.
        file: String,
        /// Where, from the beginning of the file.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// What was once written for good is not there. Nothing is changed.
    #[error(
        "{file} is missing. Restore the folder of the store from a backup, or start with an empty one"
    )]
    Missing {
        /// The name of the file in the folder of the store.
        file: String,
    },
    /// A newer version of the program wrote it.
    #[error("{file} has format {format}, written by a newer version; this one reads up to {known}")]
    Newer {
        /// The name of the file in the folder of the store.
        file: String,
        /// Its format.
        format: u32,
        /// The newest one that is known here.
        known: u32,
    },
    /// There is no room for what a start requires.
    #[error("no room for {bytes} bytes on the disk of the store: free some, and start again")]
    NoRoom {
        /// How much is required.
        bytes: u64,
    },
}

/// Why a batch is not stored; nothing of it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WriteRefusal {
    /// The disk is full. What does not only add is stored nevertheless, in room that is reserved.
    #[error("the disk of the store is full")]
    DiskFull,
    /// Its core has as many bytes in flight as [`crate::Options::in_flight_bytes_max`] allows.
    #[error("too many bytes are in flight to the store")]
    InFlight,
    /// A batch has at most [`crate::BATCH_BYTES_MAX`].
    #[error("more than the store writes at once")]
    TooLarge,
}

/// Makes an error of what failed.
pub(crate) fn doing(doing: &'static str, file: &str) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError::Io { doing, file: file.to_owned(), source }
}
