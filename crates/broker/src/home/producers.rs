//! Producers that number their messages: what has entered a queue under a number does not enter again.
//!
//! A home remembers the latest numbers of each producer at each queue that it sends to, also while there
//! is no such queue; for durable messages the store does too. A number counts once its message has entered
//! for good: it is stored, or its transaction is committed. Until that is known, one that is sent again is
//! confirmed with the first, or refused; should it come to nothing, it is as if it had never been sent.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use contract::{Message, Numbered, Producer, Refusal};

use super::{Home, branch::Publication};
use crate::{
    event::RestoredNumbers,
    numbers::Numbers,
    output::ShardOutput,
    queued::QueueId,
    record::{Record, TransactionId, WriteId},
    shard_message::{Payload, Publisher},
    writes::Writes,
};

type Key = (QueueId, Producer);

/// The producers that this home remembers.
#[derive(Debug, Default)]
pub(super) struct Producers {
    seen: BTreeMap<Key, Seen>,
    /// Those that were used least recently first.
    by_use: BTreeMap<u64, Key>,
    /// The same of each user in each queue.
    by_user: BTreeMap<(QueueId, Arc<str>), BTreeSet<u64>>,
    use_last: u64,
    /// Batches with numbers in [`Seen::pending`].
    in_flight: VecDeque<(WriteId, Key, u64)>,
}

/// What is known of a producer at a queue.
#[derive(Debug, Default)]
struct Seen {
    /// When it was used last: its key in [`Producers::by_use`].
    used: u64,
    numbers: Numbers,
    /// Those that may come to nothing, and count only then if they do not: as many as are in flight.
    pending: BTreeMap<u64, Pending>,
    /// The store may know it.
    is_stored: bool,
}

/// What decides whether a number counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Pending {
    Write(WriteId),
    Transaction(TransactionId),
}

/// What a message with a number is.
#[derive(Debug, Eq, PartialEq)]
enum Verdict {
    New,
    /// It has entered; the batch of the first one, while that is not stored.
    Duplicate(Option<WriteId>),
    /// It is in a transaction that is not decided.
    Undecided,
}

impl Producers {
    fn judge(
        &self,
        key: &Key,
        number: u64,
        transaction: Option<TransactionId>,
        writes: &Writes,
    ) -> Verdict {
        let Some(seen) = self.seen.get(key) else { return Verdict::New };
        match seen.pending.get(&number) {
            None if !seen.numbers.contains(number) => Verdict::New,
            Some(&Pending::Write(write)) if writes.is_in_flight(write) => {
                Verdict::Duplicate(Some(write))
            }
            Some(&Pending::Transaction(id)) if Some(id) != transaction => Verdict::Undecided,
            Some(_) | None => Verdict::Duplicate(None),
        }
    }

    /// A number counts, unless what it waits for comes to nothing. Returns who is forgotten for it, and
    /// is to be in the store.
    fn add(
        &mut self,
        key: &Key,
        number: u64,
        pending: Option<Pending>,
        is_durable: bool,
    ) -> Option<Key> {
        let forgotten = self.touch(key);
        let seen = self.seen.get_mut(key)?;
        seen.is_stored |= is_durable;
        match pending {
            Some(pending) => drop(seen.pending.insert(number, pending)),
            None => seen.numbers.insert(number),
        }
        if let Some(Pending::Write(write)) = pending {
            self.in_flight.push_back((write, key.clone(), number));
        }
        forgotten
    }

    /// A number counts for good, or does not.
    fn settle(&mut self, key: &Key, number: u64, counts: bool) {
        let Some(seen) = self.seen.get_mut(key) else { return };
        seen.pending.remove(&number);
        if counts {
            seen.numbers.insert(number);
        }
    }

    /// All batches up to this one are stored, or refused.
    fn stored(&mut self, upto: WriteId) {
        while let Some((write, key, number)) =
            self.in_flight.pop_front_if(|(write, ..)| *write <= upto)
        {
            let Some(seen) = self.seen.get_mut(&key) else { continue };
            if seen.pending.get(&number) == Some(&Pending::Write(write)) {
                seen.pending.remove(&number);
                seen.numbers.insert(number);
            }
        }
    }

    /// A producer is used now, and remembered; the one of its user that was used least recently, or of
    /// all, makes room for it. Returns that if it is to be forgotten by the store too.
    fn touch(&mut self, key: &Key) -> Option<Key> {
        let before = self.seen.get(key).map(|seen| seen.used);
        if before == Some(self.use_last) {
            return None;
        }
        self.use_last += 1;
        let used = self.use_last;
        let users = self.by_user.entry((key.0.clone(), Arc::clone(&key.1.user))).or_default();
        if let Some(before) = before {
            self.by_use.remove(&before);
            users.remove(&before);
        }
        users.insert(used);
        let of_user = (users.len() > PER_USER_MAX).then(|| users.first().copied()).flatten();
        self.by_use.insert(used, key.clone());
        self.seen.entry(key.clone()).or_default().used = used;
        let first = self.by_use.first_key_value().map(|(&used, _)| used);
        let of_all = first.filter(|_| self.seen.len() > PRODUCERS_MAX);
        let forgotten = self.by_use.get(&of_user.or(of_all)?)?.clone();
        self.forget(&forgotten).then_some(forgotten)
    }

    /// Returns whether the store may know it.
    fn forget(&mut self, key: &Key) -> bool {
        let Some(seen) = self.seen.remove(key) else { return false };
        self.by_use.remove(&seen.used);
        let user = (key.0.clone(), Arc::clone(&key.1.user));
        if let Some(users) = self.by_user.get_mut(&user) {
            users.remove(&seen.used);
            if users.is_empty() {
                self.by_user.remove(&user);
            }
        }
        seen.is_stored
    }

    /// See [`crate::Shard::assert_consistent`].
    pub(super) fn assert_consistent(&self) {
        let users: usize = self.by_user.values().map(BTreeSet::len).sum();
        assert_eq!((self.by_use.len(), users), (self.seen.len(), self.seen.len()), "producers");
        assert!(self.seen.len() <= PRODUCERS_MAX, "producers");
        assert!(self.by_user.values().all(|users| !users.is_empty()), "producers of nobody");
    }

    /// See [`crate::Shard::assert_empty`].
    pub(super) fn assert_settled(&self) {
        assert!(self.in_flight.is_empty(), "numbers in flight to the store");
        assert!(self.seen.values().all(|seen| seen.pending.is_empty()), "numbers in flight");
    }
}

impl Home {
    /// Replies to a publication whose number has entered the queue; returns whether it has.
    pub(super) fn confirms_duplicate(
        &mut self,
        publisher: Publisher,
        queue: &QueueId,
        message: &Message,
        output: &mut ShardOutput<'_>,
    ) -> bool {
        let Some((key, number)) = key_of(queue, message) else { return false };
        let core = publisher.connection.core;
        match self.producers.judge(&key, number, None, output.writes) {
            Verdict::New => return false,
            Verdict::Undecided => self.refuse_publisher(publisher, Refusal::Busy, output),
            Verdict::Duplicate(first) => {
                self.duplicate(&key);
                let reply = Payload::ToFront(publisher.reply(Ok(())));
                match first {
                    Some(write) => output.send_when_taken_too(write, core, reply),
                    None => output.send(core, reply),
                }
            }
        }
        true
    }

    fn duplicate(&mut self, key: &Key) {
        self.stats.duplicates += 1;
        // It is known, so that it makes none be forgotten.
        self.producers.touch(key);
    }

    /// A message has entered its queue, with this batch if it is durable.
    pub(super) fn number_entered(
        &mut self,
        queue: &QueueId,
        message: &Message,
        write: Option<WriteId>,
        output: &mut ShardOutput<'_>,
    ) {
        let Some((key, number)) = key_of(queue, message) else { return };
        let (pending, is_durable) = (write.map(Pending::Write), write.is_some());
        let forgotten = self.producers.add(&key, number, pending, is_durable);
        forget_stored(forgotten, output);
        if is_durable {
            output.writes.add(Record::Seen(key.0, key.1, number));
        }
    }

    /// The store has refused a message that has entered.
    pub(super) fn number_lost(&mut self, queue: &QueueId, message: &Message) {
        if let Some((key, number)) = key_of(queue, message) {
            self.producers.settle(&key, number, false);
        }
    }

    /// All batches up to this one are stored, or refused.
    pub(super) fn numbers_stored(&mut self, upto: WriteId) {
        self.producers.stored(upto);
    }

    /// Whether a message of a transaction is to enter a queue.
    pub(super) fn admits_number(
        &mut self,
        transaction: TransactionId,
        queue: &QueueId,
        message: &Message,
        output: &ShardOutput<'_>,
    ) -> Result<bool, Refusal> {
        let Some((key, number)) = key_of(queue, message) else { return Ok(true) };
        match self.producers.judge(&key, number, Some(transaction), output.writes) {
            Verdict::New => Ok(true),
            Verdict::Duplicate(None) => {
                self.duplicate(&key);
                Ok(false)
            }
            // Whether the first one is kept is not known yet.
            Verdict::Duplicate(Some(_)) | Verdict::Undecided => Err(Refusal::Busy),
        }
    }

    /// A place is reserved for a message of a transaction.
    pub(super) fn number_reserved(
        &mut self,
        transaction: TransactionId,
        publication: &Publication,
        output: &mut ShardOutput<'_>,
    ) {
        let Publication { queue, message, .. } = publication;
        let Some((key, number)) = key_of(queue, message) else { return };
        let pending = Some(Pending::Transaction(transaction));
        let forgotten = self.producers.add(&key, number, pending, publication.is_durable());
        forget_stored(forgotten, output);
    }

    /// A message of a transaction has entered, or will not.
    pub(super) fn number_decided(&mut self, queue: &QueueId, message: &Message, is_commit: bool) {
        if let Some((key, number)) = key_of(queue, message) {
            self.producers.settle(&key, number, is_commit);
        }
    }

    /// What the store has kept of a producer.
    pub(crate) fn restore_numbers(
        &mut self,
        restored: RestoredNumbers,
        output: &mut ShardOutput<'_>,
    ) {
        let RestoredNumbers { queue, producer, numbers } = restored;
        let key = (queue, producer);
        let forgotten = self.producers.touch(&key);
        forget_stored(forgotten, output);
        if let Some(seen) = self.producers.seen.get_mut(&key) {
            seen.numbers.merge(&numbers);
            seen.is_stored = true;
        }
    }
}

/// What the store is to know of a message that enters a queue with it.
pub(super) fn seen_record(queue: &QueueId, message: &Message) -> Option<Record> {
    let ((queue, producer), number) = key_of(queue, message)?;
    Some(Record::Seen(queue, producer, number))
}

fn forget_stored(forgotten: Option<Key>, output: &mut ShardOutput<'_>) {
    if let Some((queue, producer)) = forgotten {
        output.writes.add(Record::Forget(queue, producer));
    }
}

fn key_of(queue: &QueueId, message: &Message) -> Option<(Key, u64)> {
    let Numbered { producer, sequence } = message.numbered()?;
    Some(((queue.clone(), producer.clone()), *sequence))
}

/// Producers that a core remembers, each once for each queue that it sends to.
const PRODUCERS_MAX: usize = 16_384;

/// Those of one user that a queue remembers.
const PER_USER_MAX: usize = 1024;
