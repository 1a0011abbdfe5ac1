//! `passerelle store`: looks after a store that no gateway uses.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Subcommand;
use store::{Findings, Folder, Options, StoreError};

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Read every message, and say what is there and what is damaged.
    Check {
        /// The folder of the store.
        folder: PathBuf,
    },
    /// Print each record of the log that can be read.
    Dump {
        /// The folder of the store.
        folder: PathBuf,
    },
    /// Move the messages together, and give the disk the rest back.
    Compact {
        /// The folder of the store.
        folder: PathBuf,
    },
}

impl StoreCommand {
    /// Carries it out; `print` prints a line.
    pub(crate) fn run(
        &self,
        mut print: impl FnMut(&str) -> Result<(), String>,
    ) -> Result<(), String> {
        match self {
            Self::Check { folder } => {
                let store = open(folder)?;
                let found = store::check(&store).map_err(|error| error.to_string())?;
                let findings = found.ok_or_else(|| no_store(folder))?;
                print(&describe(&findings))?;
                for error in &findings.damaged {
                    print(&error.to_string())?;
                }
                match findings.damaged.len() {
                    0 => Ok(()),
                    count => Err(format!("{count} messages cannot be read")),
                }
            }
            Self::Dump { folder } => {
                let mut outcome = Ok(());
                let dumped = store::dump(&open(folder)?, |line| {
                    if outcome.is_ok() {
                        outcome = print(&line.to_string());
                    }
                });
                dumped.map_err(|error| error.to_string())?;
                outcome
            }
            Self::Compact { folder } => {
                let store = Arc::new(open(folder)?);
                let show = |error: StoreError| error.to_string();
                let before = store::check(&*store).map_err(show)?;
                let before = before.ok_or_else(|| no_store(folder))?;
                // What peers have sent is written once more: see `Options::salt`.
                let salt = RandomState::new().build_hasher().finish();
                let opened = store::open(Arc::clone(&store) as Arc<_>, Options::new(1, salt));
                opened.and_then(store::Opened::compact).map_err(show)?;
                let after = store::check(&*store).map_err(show)?.unwrap_or_default();
                print(&format!("before: {}\nafter:  {}", describe(&before), describe(&after)))
            }
        }
    }
}

/// Opens a folder that is there already.
fn open(folder: &Path) -> Result<Folder, String> {
    if !folder.is_dir() {
        return Err(no_store(folder));
    }
    Folder::open(folder).map_err(|error| error.to_string())
}

fn no_store(folder: &Path) -> String {
    format!("there is no store in {}", folder.display())
}

fn describe(findings: &Findings) -> String {
    let Findings { messages, queues, segments, segment_bytes, message_bytes, .. } = findings;
    format!(
        "{messages} messages in {queues} queues, {message_bytes} of {segment_bytes} bytes in \
         {segments} segments"
    )
}
