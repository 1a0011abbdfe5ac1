use std::{collections::VecDeque, mem};

use contract::Refusal;

use crate::{
    record::{Record, WriteId},
    shard_message::Payload,
};

/// The records of a shard that are not known to be stored, and the shard messages that wait for
/// that: what confirms something to a client leaves when it would survive the end of the process.
///
/// While [`Writes::OPEN_BYTES`] are in flight, publishers of durable messages wait, as at a full
/// queue; beyond [`Writes::REFUSE_BYTES`] transactions with durable messages are refused.
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
    /// A publisher waits for room: those that come later wait too, until [`Writes::reopen`].
    is_closed: bool,
    /// Why the store takes no new messages; what is in flight it will take all the same.
    refusal: Option<Refusal>,
}

impl Writes {
    const OPEN_BYTES: usize = 4 << 20;
    const REFUSE_BYTES: usize = 64 << 20;

    /// Whether a durable message may be added; if not, its publisher waits, and all that come
    /// later. One of any size may, while there is any room.
    pub(crate) const fn admits(&mut self) -> bool {
        self.is_closed |= self.is_full();
        !self.is_closed
    }

    /// Why the durable messages of a transaction may not be added, if so.
    pub(crate) fn transaction_refusal(&self) -> Option<Refusal> {
        let is_full = self.bytes() >= Self::REFUSE_BYTES;
        self.refusal.or_else(|| is_full.then_some(Refusal::Busy))
    }

    /// Why no durable message may be added, if so, however long its publisher waits.
    pub(crate) const fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// The store takes no new messages, for this reason; or takes them again.
    pub(crate) const fn set_refusal(&mut self, refusal: Option<Refusal>) {
        self.refusal = refusal;
    }

    /// Lets those that wait try again, if there is room.
    pub(crate) const fn reopen(&mut self) {
        self.is_closed = self.is_full();
    }

    const fn is_full(&self) -> bool {
        self.refusal.is_some() || self.bytes() >= Self::OPEN_BYTES
    }

    /// Whether no publisher waits for room.
    pub(crate) const fn is_open(&self) -> bool {
        !self.is_closed
    }

    const fn bytes(&self) -> usize {
        self.in_flight_bytes + self.records_bytes
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

    /// See [`crate::Shard::assert_empty`].
    pub(crate) fn assert_empty(&self) {
        assert!(self.records.is_empty() && self.in_flight.is_empty(), "records in flight");
        assert_eq!(self.in_flight_bytes, 0, "bytes in flight to the store");
        assert!(self.delayed.is_empty(), "shard messages wait for the store");
    }
}
