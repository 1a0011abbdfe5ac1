//! What a shard gives to the store, and what waits until it is there.

use std::{collections::VecDeque, mem, sync::Arc};

use contract::Message;

use crate::{
    queued::{QueueId, QueuePosition},
    shard_message::Payload,
};

/// Names a batch of records of one shard; each is greater than the one before.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct WriteId(pub u64);

/// Names a transaction over the homes of several cores.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TransactionId {
    /// The core that coordinates it.
    pub core: u16,
    /// Its number there.
    pub number: u64,
}

/// A change of what the store keeps: the durable messages of the queues that outlive the process.
///
/// The records of a batch take effect together.
#[derive(Clone, Debug)]
pub enum Record {
    /// A message is in a queue.
    Put(QueueId, QueuePosition, Arc<Message>),
    /// It is there no more.
    Remove(QueueId, QueuePosition),
    /// What a transaction does to the queues of one home, once it is committed.
    Prepare(TransactionId, Vec<Self>),
    /// All that was prepared for a transaction takes effect. Comes after all of that is stored. A
    /// transaction without this record is rolled back when the process ends.
    Commit(TransactionId),
    /// What one home prepared for a transaction takes no effect.
    Rollback(TransactionId),
}

impl Record {
    /// Memory that it takes until it is stored, in bytes.
    fn cost(&self) -> usize {
        let content = match self {
            Self::Put(_, _, message) => message.cost(),
            Self::Prepare(_, records) => records.iter().map(Self::cost).sum(),
            Self::Remove(..) | Self::Commit(_) | Self::Rollback(_) => 0,
        };
        size_of::<Self>() + content
    }
}

/// The records of a shard that are not known to be stored, and the shard messages that wait for
/// that: what confirms something to a client leaves when it would survive the end of the process.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    /// The batch that `records` will be, minus one.
    last: WriteId,
    /// Those of the event that is being handled.
    records: Vec<Record>,
    records_bytes: usize,
    /// Batches that the store has, and their bytes.
    in_flight: VecDeque<(WriteId, usize)>,
    in_flight_bytes: usize,
    /// What is to be sent, and to which core, when a batch is stored.
    delayed: VecDeque<(WriteId, u16, Payload)>,
    was_full: bool,
}

impl Writes {
    /// Whether a durable message of this size may be added. One of any size may, when nothing is in
    /// flight. After `false`, [`Writes::take_was_full`] says when it is time to try again.
    pub(crate) const fn has_room(&mut self, bytes: usize) -> bool {
        let in_flight = self.in_flight_bytes + self.records_bytes;
        let has_room = in_flight == 0 || in_flight + bytes <= IN_FLIGHT_BYTES_MAX;
        self.was_full |= !has_room;
        has_room
    }

    /// Adds a record to the batch of this event.
    pub(crate) fn add(&mut self, record: Record) -> WriteId {
        self.records_bytes += record.cost();
        self.records.push(record);
        WriteId(self.last.0 + 1)
    }

    /// Whether a batch is not known to be stored. One that this event fills is not.
    pub(crate) fn is_in_flight(&self, write: WriteId) -> bool {
        let first = self.in_flight.front().map_or(self.last.0 + 1, |&(WriteId(first), _)| first);
        write.0 >= first
    }

    /// Sends something when a batch is stored.
    pub(crate) fn delay(&mut self, write: WriteId, to: u16, payload: Payload) {
        self.delayed.push_back((write, to, payload));
    }

    /// The batch of the event that was handled, if it changed anything.
    pub(crate) fn take_batch(&mut self) -> Option<(WriteId, Vec<Record>)> {
        if self.records.is_empty() {
            return None;
        }
        self.last.0 += 1;
        let bytes = mem::take(&mut self.records_bytes);
        self.in_flight.push_back((self.last, bytes));
        self.in_flight_bytes += bytes;
        Some((self.last, mem::take(&mut self.records)))
    }

    /// All batches up to this one are stored.
    pub(crate) fn stored(&mut self, upto: WriteId) {
        while let Some((_, bytes)) = self.in_flight.pop_front_if(|(write, _)| *write <= upto) {
            self.in_flight_bytes -= bytes;
        }
    }

    /// The next thing that waits no longer, and the core it is for.
    pub(crate) fn next_to_send(&mut self) -> Option<(u16, Payload)> {
        let &(write, ..) = self.delayed.front()?;
        if self.is_in_flight(write) {
            return None;
        }
        self.delayed.pop_front().map(|(_, to, payload)| (to, payload))
    }

    /// Whether a message was refused for want of room since this was asked last.
    pub(crate) const fn take_was_full(&mut self) -> bool {
        mem::replace(&mut self.was_full, false)
    }

    /// See [`crate::Shard::assert_empty`].
    pub(crate) fn assert_empty(&self) {
        assert!(self.records.is_empty() && self.in_flight.is_empty(), "records in flight");
        assert_eq!(self.in_flight_bytes, 0, "bytes in flight to the store");
        assert!(self.delayed.is_empty(), "shard messages wait for the store");
    }
}

/// Bytes of records in flight to the store; beyond them publishers of durable messages wait, as at
/// a full queue. A transaction may exceed it by its own size.
const IN_FLIGHT_BYTES_MAX: usize = 4 << 20;
