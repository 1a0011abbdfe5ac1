use broker::{LoadId, QueueId, QueuePosition, RecordBatch, StoreGate};

/// What a store has done since it was opened, and what it holds.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreStats {
    /// Bytes written to its log.
    pub appended_bytes: u64,
    /// Batches of the cores that were stored.
    pub batches: u64,
    /// How often its log was synced.
    pub syncs: u64,
    /// How long that took, in seconds.
    pub sync_seconds: f64,
    /// The files of its log.
    pub segments: usize,
    /// What these take on the disk, in bytes.
    pub segment_bytes: u64,
    /// Messages in it, one in two queues as two.
    pub messages: usize,
    /// Its disk has no room for another file.
    pub is_disk_full: bool,
}

/// Where the shards of all cores keep what is durable.
pub trait Store: StoreGate {
    /// Takes the next batches of a core's shard, without waiting. [`crate::Cores::stored`] is to be
    /// called once they, and all before them of this core, are stored.
    fn write(&self, core: u16, batches: Vec<RecordBatch>);

    /// Loads messages of a queue of a core, without waiting; [`crate::Cores::loaded`] is to be called with
    /// them.
    fn load(&self, core: u16, id: LoadId, queue: QueueId, positions: Vec<QueuePosition>);

    /// What it has done; `None`: it is not open.
    fn stats(&self) -> Option<StoreStats>;
}
