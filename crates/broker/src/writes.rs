use std::{collections::VecDeque, fmt, mem, sync::Arc, time::Duration};

use contract::Refusal;

use crate::{
    attempts::UnstoredAttempts,
    queued::{QueueId, QueuePosition},
    record::{Attempts, Record, RecordBatch, WriteId},
    shard_message::Payload,
};

/// The records of a shard that are not known to be stored, and the shard messages that wait for
/// that: what confirms something to a client leaves when it would survive the end of the process.
///
/// While [`Writes::OPEN_BYTES`] are in flight, or the store is not open yet, publishers of durable messages
/// wait, as at a full queue; beyond [`Writes::REFUSE_BYTES`] transactions with durable messages are refused.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    /// The batch that `records` will be, minus one.
    last: WriteId,
    /// Those of the event that is being handled.
    records: Vec<Record>,
    records_bytes: usize,
    /// Something waits until they are stored, or they do more than to remove and to count attempts.
    is_awaited: bool,
    attempts: UnstoredAttempts,
    /// Batches that the store has, and their bytes.
    in_flight: VecDeque<(WriteId, usize)>,
    in_flight_bytes: usize,
    delayed: VecDeque<Delayed>,
    /// A publisher waits for room: those that come later wait too, until [`Writes::reopen`].
    is_closed: bool,
    store: Option<Arc<dyn StoreGate>>,
    /// It is not open, or was not when this shard was told last.
    awaits_store: bool,
}

/// What is to be sent when a batch is stored.
#[derive(Debug)]
pub(crate) struct Delayed {
    pub(crate) write: WriteId,
    /// It confirms what is in the batch; else it only comes after it.
    pub(crate) confirms: bool,
    /// The core that it is for.
    pub(crate) to: u16,
    pub(crate) payload: Payload,
}

/// Whether the store takes new messages. What it was given by [`crate::Effect::Store`] already it
/// stores, or refuses by [`crate::Event::StoreRefused`].
pub trait StoreGate: fmt::Debug + Send + Sync {
    /// Why no durable message may be added, if so. For each of them this is called; it may have the
    /// store opened, and waits for nothing.
    fn refusal(&self) -> Option<Refusal>;

    /// Whether it is open already when a shard is made; [`crate::Event::StoreOpened`] says when it is.
    fn is_open(&self) -> bool {
        true
    }

    /// Whether it is there and not open: then nothing is known of what it has kept.
    fn is_unread(&self) -> bool {
        false
    }
}

/// What a store has done since it was opened, and what it holds.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreStats {
    /// Bytes written to its log.
    pub appended_bytes: u64,
    /// Batches of the cores that were stored.
    pub batches: u64,
    /// How often its log was synced: for several batches together, where they come at a time.
    pub syncs: u64,
    /// How long that took.
    pub sync_time: Duration,
    /// The files of its log.
    pub segments: usize,
    /// What these take on the disk, in bytes.
    pub segment_bytes: u64,
    /// Messages in queues, one in two queues as two.
    pub messages: usize,
    /// There was no room for another file.
    pub is_disk_full: bool,
}

impl Writes {
    const OPEN_BYTES: usize = 4 << 20;
    pub(crate) const REFUSE_BYTES: usize = 64 << 20;

    /// Whether a durable message may be added; if not, its publisher waits, and all that come
    /// later. One of any size may, while there is any room.
    pub(crate) fn admits(&mut self) -> bool {
        self.is_closed |= self.is_full() || self.awaits_store();
        !self.is_closed && self.refusal().is_none()
    }

    /// Why the durable messages of a transaction may not be added, if so.
    pub(crate) fn transaction_refusal(&self) -> Option<Refusal> {
        let is_full = self.bytes() >= Self::REFUSE_BYTES;
        self.refusal_now().or_else(|| is_full.then_some(Refusal::Busy))
    }

    /// Why nothing durable may be added now, if so: by one who does not wait until the store is open. The
    /// store may say something else than it did before.
    pub(crate) fn refusal_now(&self) -> Option<Refusal> {
        self.refusal().or_else(|| self.awaits_store.then_some(Refusal::NoStore))
    }

    /// Why it is not known which durable subscriptions there are, if so. The store is then to be opened.
    pub(crate) fn unread(&self) -> Option<Refusal> {
        let is_unread = |store: &Arc<dyn StoreGate>| self.awaits_store && store.is_unread();
        let is_unread = self.store.as_ref().is_some_and(is_unread);
        is_unread.then(|| self.refusal().unwrap_or(Refusal::Busy))
    }

    /// Why no durable message may be added, if so, however long its publisher waits.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.store.as_ref().and_then(|store| store.refusal())
    }

    /// Whether nothing durable can be added yet, since the store is not open.
    pub(crate) const fn awaits_store(&self) -> bool {
        self.awaits_store
    }

    /// The store is open now, or could not be opened.
    pub(crate) const fn store_opened(&mut self, is_open: bool) {
        self.awaits_store = !is_open;
    }

    pub(crate) fn set_store(&mut self, store: Arc<dyn StoreGate>) {
        self.awaits_store = !store.is_open();
        self.store = Some(store);
    }

    /// Lets those that wait try again, if there is room.
    pub(crate) const fn reopen(&mut self) {
        self.is_closed = self.is_full() || self.awaits_store;
    }

    const fn is_full(&self) -> bool {
        self.bytes() >= Self::OPEN_BYTES
    }

    /// Whether no publisher is to wait for room: there is some, or will be none.
    pub(crate) fn is_open(&self) -> bool {
        !self.is_closed || self.refusal().is_some()
    }

    const fn bytes(&self) -> usize {
        self.in_flight_bytes + self.records_bytes
    }

    /// Adds a record to the batch of this event.
    pub(crate) fn add(&mut self, record: Record) -> WriteId {
        self.records_bytes += record.cost();
        self.is_awaited |= !matches!(record, Record::Remove(..) | Record::Attempted(..));
        if let Record::Remove(queue, position) | Record::DeadLetter(queue, position, _) = &record {
            self.attempts.forget(queue, *position);
        }
        self.records.push(record);
        self.batch()
    }

    /// So many attempts to deliver a durable message have failed. There is one record of that in flight for
    /// each message, and what has failed since comes behind it; while there is no room, none is added.
    pub(crate) fn attempts_failed(
        &mut self,
        queue: &QueueId,
        position: QueuePosition,
        attempts: Attempts,
    ) {
        if self.attempts.replace(queue, position, attempts) || self.is_full() {
            return;
        }
        self.attempts.add(self.batch(), queue.clone(), position);
        self.add(Record::Attempted(queue.clone(), position, attempts));
    }

    /// The batch of this event, if it has one.
    pub(crate) const fn batch(&self) -> WriteId {
        WriteId(self.last.0 + 1)
    }

    /// Whether a batch is not known to be stored. One that this event fills is not.
    pub(crate) fn is_in_flight(&self, write: WriteId) -> bool {
        let first = self.in_flight.front().map_or(self.last.0 + 1, |&(WriteId(first), _)| first);
        write.0 >= first
    }

    pub(crate) fn delay(&mut self, delayed: Delayed) {
        self.is_awaited |= delayed.write == self.batch();
        self.delayed.push_back(delayed);
    }

    /// What confirms a batch that is in flight comes behind what confirms it already.
    pub(crate) fn delay_behind(&mut self, delayed: Delayed) {
        let write = delayed.write;
        let first = self.delayed.iter().rposition(|other| other.confirms && other.write == write);
        match first {
            Some(index) => self.delayed.insert(index + 1, delayed),
            None => self.delayed.push_back(delayed),
        }
    }

    /// The batch of the event that was handled, if it changed anything.
    pub(crate) fn take_batch(&mut self) -> Option<RecordBatch> {
        if self.records.is_empty() {
            return None;
        }
        self.last.0 += 1;
        let bytes = mem::take(&mut self.records_bytes);
        self.in_flight.push_back((self.last, bytes));
        self.in_flight_bytes += bytes;
        // Publishers wait for the room of what is in flight.
        let is_awaited = mem::take(&mut self.is_awaited) || self.is_closed;
        Some(RecordBatch { id: self.last, records: mem::take(&mut self.records), is_awaited })
    }

    /// All batches up to this one are stored.
    pub(crate) fn stored(&mut self, upto: WriteId) {
        while let Some((_, bytes)) = self.in_flight.pop_front_if(|(write, _)| *write <= upto) {
            self.in_flight_bytes -= bytes;
        }
        while let Some((queue, position, since)) = self.attempts.next_stored(upto) {
            if let Some(attempts) = since {
                self.attempts_failed(&queue, position, attempts);
            }
        }
    }

    /// The next thing that waits no longer.
    pub(crate) fn next_to_send(&mut self) -> Option<Delayed> {
        let write = self.delayed.front()?.write;
        if self.is_in_flight(write) {
            return None;
        }
        self.delayed.pop_front()
    }

    /// See [`crate::Shard::assert_empty`].
    pub(crate) fn assert_empty(&self) {
        assert!(self.records.is_empty() && self.in_flight.is_empty(), "records in flight");
        assert_eq!(self.in_flight_bytes, 0, "bytes in flight to the store");
        assert!(self.delayed.is_empty(), "shard messages wait for the store");
        self.attempts.assert_empty();
    }
}
