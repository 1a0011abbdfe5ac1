use broker::{LoadId, QueueId, QueuePosition, RecordBatch, StoreGate, StoreStats};

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
