//! The writer without a thread of its own: for simulations, where a seed decides what happens when.

use super::{Completions, Writer};
use crate::error::StoreError;

impl<C: Completions> Writer<C> {
    /// Writes what is in the queue, awaited or not, and tells what became of it.
    ///
    /// # Errors
    /// As [`Writer::run`].
    #[doc(hidden)]
    pub fn write_queued(&mut self) -> Result<(), StoreError> {
        while self.shared.has_batches() {
            let group = self.shared.lock().take_group();
            self.commit(group)?;
        }
        self.log.write_synced()
    }

    /// Does a step of what is done beside the batches: a part of a checkpoint or of a compaction.
    /// Without [`crate::Options::syncs_commits`] it syncs what is written. Returns whether there is more.
    ///
    /// # Errors
    /// As [`Writer::run`].
    #[doc(hidden)]
    pub fn step_beside(&mut self) -> Result<bool, StoreError> {
        self.step()
    }
}
