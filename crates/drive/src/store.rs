use broker::{Record, WriteId};

/// The store of a core's shard: memory, which its queues take already. So a batch is stored at
/// once, and ends with the process as the queues do.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    stored: Option<WriteId>,
}

impl MemoryStore {
    /// Stores a batch.
    pub(crate) fn write(&mut self, id: WriteId, records: Vec<Record>) {
        drop(records);
        self.stored = Some(id);
    }

    /// The last batch that is stored, if there is a new one.
    pub(crate) const fn take_stored(&mut self) -> Option<WriteId> {
        self.stored.take()
    }
}
