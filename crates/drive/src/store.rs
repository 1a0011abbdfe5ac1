use broker::{Record, StoreGate, WriteId};

/// Where the shards of all cores keep what is durable.
pub trait Store: StoreGate {
    /// Takes the next batch of a core's shard, without waiting. [`crate::Cores::stored`] is to be
    /// called once it, and all before it of this core, are stored.
    fn write(&self, core: u16, id: WriteId, records: Vec<Record>);
}
