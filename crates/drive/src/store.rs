use broker::{LoadId, QueueId, QueuePosition, Record, StoreGate, WriteId};

/// Where the shards of all cores keep what is durable.
pub trait Store: StoreGate {
    /// Takes the next batch of a core's shard, without waiting. [`crate::Cores::stored`] is to be
    /// called once it, and all before it of this core, are stored.
    fn write(&self, core: u16, id: WriteId, records: Vec<Record>);

    /// Loads messages of a queue of a core, without waiting; [`crate::Cores::loaded`] is to be called with
    /// them.
    fn load(&self, core: u16, id: LoadId, queue: QueueId, positions: Vec<QueuePosition>);
}
