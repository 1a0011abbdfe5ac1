//! Producers that number their messages: what has entered a queue under a number does not enter again.
//!
//! A home remembers the greatest number of each producer that entered a queue, also while there is no
//! such queue; for durable messages the store does too. So a number that is not greater is a duplicate,
//! but for those that the store has refused after all. That would make one of a message that was
//! refused, were a greater number to enter behind it: those that its connection has sent behind it are
//! refused as well, until it comes again.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
    sync::Arc,
};

use contract::{ConnectionId, Message, Numbered, Producer, Refusal, Reply, Token};

use super::{Home, branch::Publication, replied};
use crate::{
    event::RestoredProducer,
    output::ShardOutput,
    queued::QueueId,
    record::{Record, WriteId},
    shard_message::{Payload, ToFront},
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
    /// Batches with their messages.
    in_flight: VecDeque<(WriteId, Key)>,
    /// What the store is to forget too.
    forgotten: BTreeSet<Key>,
}

/// What is known of a producer at a queue.
#[derive(Debug, Default)]
struct Seen {
    /// When it was used last: its key in [`Producers::by_use`].
    used: u64,
    /// The greatest number that entered.
    last: Option<u64>,
    /// The greatest that was given to the store.
    recorded: Option<u64>,
    /// Durable messages that are not known to be stored.
    in_flight: VecDeque<(u64, WriteId)>,
    /// Numbers up to the last that the store has refused.
    missing: BTreeSet<u64>,
    /// What was refused to which connection.
    refused: Vec<(ConnectionId, u64)>,
    /// Transactions that are not decided, and the greatest number in them.
    undecided: usize,
    undecided_last: u64,
    /// The store was not told the last number.
    is_behind: bool,
}

/// The numbers of one producer in a branch of a transaction.
#[derive(Debug)]
pub(super) struct NumberedBranch {
    key: Key,
    numbers: BTreeSet<u64>,
}

impl NumberedBranch {
    fn first(&self) -> u64 {
        self.numbers.first().copied().unwrap_or_default()
    }

    fn last(&self) -> u64 {
        self.numbers.last().copied().unwrap_or_default()
    }
}

/// What a message with a number is.
#[derive(Debug)]
pub(super) enum Verdict {
    New,
    /// It has entered; the batch of the first one, while that is not stored.
    Duplicate(Option<WriteId>),
}

impl Producers {
    fn judge(
        &self,
        key: &Key,
        number: u64,
        connection: ConnectionId,
        writes: &Writes,
    ) -> Result<Verdict, Refusal> {
        let Some(seen) = self.seen.get(key) else { return Ok(Verdict::New) };
        if Some(number) <= seen.last && !seen.missing.contains(&number) {
            let first = seen.in_flight.iter().rev().find(|(other, _)| *other == number);
            let write = first.map(|&(_, write)| write).filter(|&write| writes.is_in_flight(write));
            return Ok(Verdict::Duplicate(write));
        }
        if seen.refused.iter().any(|&(other, first)| other == connection && number > first) {
            return Err(Refusal::Unordered);
        }
        if seen.undecided > 0 && number <= seen.undecided_last {
            return Err(Refusal::Busy);
        }
        Ok(Verdict::New)
    }

    /// A message has entered, and goes to the store with this batch. Returns what goes there with it.
    fn entered(
        &mut self,
        key: &Key,
        number: u64,
        connection: ConnectionId,
        write: Option<WriteId>,
    ) -> Option<Record> {
        let seen = self.touch(key)?;
        seen.last = seen.last.max(Some(number));
        seen.missing.remove(&number);
        seen.refused.retain(|&(other, first)| other != connection || number > first);
        let write = write?;
        let record = seen.record(key, seen.last?);
        seen.in_flight.push_back((number, write));
        self.in_flight.push_back((write, key.clone()));
        record
    }

    fn refused(&mut self, key: &Key, number: u64, connection: ConnectionId) {
        let Some(seen) = self.touch(key) else { return };
        match seen.refused.iter_mut().find(|(other, _)| *other == connection) {
            Some((_, first)) => *first = number.min(*first),
            None => {
                if seen.refused.len() == REFUSED_MAX {
                    seen.refused.remove(0);
                }
                seen.refused.push((connection, number));
            }
        }
    }

    /// What the store was to do for a transaction that is prepared now.
    fn prepared(&mut self, branch: &NumberedBranch, is_durable: bool) -> Option<Record> {
        let seen = self.touch(&branch.key)?;
        let record = is_durable.then(|| seen.record(&branch.key, branch.last())).flatten();
        seen.undecided += 1;
        seen.undecided_last = seen.undecided_last.max(branch.last());
        record
    }

    /// A transaction was decided; `refused` to this connection, or committed.
    fn decided(&mut self, branch: &NumberedBranch, refused: Option<ConnectionId>) {
        let Some(seen) = self.touch(&branch.key) else { return };
        seen.undecided = seen.undecided.saturating_sub(1);
        if seen.undecided == 0 {
            seen.undecided_last = 0;
        }
        match refused {
            Some(connection) => {
                // The store may have been told of it, and has not taken that.
                seen.is_behind = true;
                self.refused(&branch.key, branch.first(), connection);
            }
            None => {
                seen.missing.retain(|number| !branch.numbers.contains(number));
                seen.last = seen.last.max(Some(branch.last()));
            }
        }
    }

    /// The store has refused a message after all.
    fn lost(&mut self, key: &Key, number: u64) {
        let Some(seen) = self.seen.get_mut(key) else { return };
        seen.is_behind = true;
        seen.missing.insert(number);
        if seen.missing.len() > MISSING_MAX {
            self.forget(key);
        }
    }

    /// All batches up to this one are stored, or refused.
    fn stored(&mut self, upto: WriteId) {
        while let Some((_, key)) = self.in_flight.pop_front_if(|(write, _)| *write <= upto) {
            let Some(seen) = self.seen.get_mut(&key) else { continue };
            while seen.in_flight.pop_front_if(|(_, write)| *write <= upto).is_some() {}
            if seen.in_flight.is_empty() {
                seen.in_flight = VecDeque::new();
            }
        }
    }

    /// The entry of a producer, used now; the one that was used least recently makes room for it.
    fn touch(&mut self, key: &Key) -> Option<&mut Seen> {
        let before = self.seen.get(key).map(|seen| seen.used);
        if before != Some(self.use_last) || self.use_last == 0 {
            self.use_last += 1;
            let used = self.use_last;
            let users = self.by_user.entry((key.0.clone(), key.1.user.clone())).or_default();
            if let Some(before) = before {
                self.by_use.remove(&before);
                users.remove(&before);
            }
            users.insert(used);
            let too_many = (users.len() > PER_USER_MAX).then(|| users.first().copied()).flatten();
            self.by_use.insert(used, key.clone());
            self.seen.entry(key.clone()).or_default().used = used;
            let oldest = self.by_use.first_key_value().map(|(&used, _)| used);
            let too_many = too_many.or(oldest.filter(|_| self.seen.len() > PRODUCERS_MAX));
            let forgotten = too_many.and_then(|used| self.by_use.get(&used)).cloned();
            forgotten.iter().for_each(|key| self.forget(key));
        }
        self.seen.get_mut(key)
    }

    fn forget(&mut self, key: &Key) {
        let Some(seen) = self.seen.remove(key) else { return };
        self.by_use.remove(&seen.used);
        let user = (key.0.clone(), key.1.user.clone());
        if let Some(users) = self.by_user.get_mut(&user) {
            users.remove(&seen.used);
            if users.is_empty() {
                self.by_user.remove(&user);
            }
        }
        if seen.recorded.is_some() || seen.is_behind {
            self.forgotten.insert(key.clone());
        }
    }

    /// See [`crate::Shard::assert_consistent`].
    pub(super) fn assert_consistent(&self) {
        let users: usize = self.by_user.values().map(BTreeSet::len).sum();
        assert_eq!((self.by_use.len(), users), (self.seen.len(), self.seen.len()), "producers");
        assert!(self.seen.len() <= PRODUCERS_MAX, "producers");
        assert!(self.by_user.values().all(|users| !users.is_empty()), "producers of nobody");
    }
}

impl Seen {
    /// What the store is to know: that this number is the last. `None`: a lower one is missing there, or
    /// may be.
    fn record(&mut self, key: &Key, last: u64) -> Option<Record> {
        let has_in_flight = !self.in_flight.is_empty();
        self.is_behind |= !self.missing.is_empty() || self.undecided > 0;
        if self.is_behind && (has_in_flight || self.undecided > 0 || !self.missing.is_empty()) {
            return None;
        }
        self.is_behind = false;
        let after = self.recorded.filter(|_| has_in_flight);
        self.recorded = Some(last);
        let (queue, producer) = key.clone();
        Some(Record::LastSeen { queue, producer, after, last })
    }
}

impl Home {
    /// Replies to a message with a number if it is not to enter; returns whether it is.
    pub(super) fn admits_number(
        &mut self,
        connection: ConnectionId,
        token: Token,
        message: &Message,
        output: &mut ShardOutput<'_>,
    ) -> bool {
        let Some((key, number)) = key_of(message) else { return true };
        match self.producers.judge(&key, number, connection, output.writes) {
            Ok(Verdict::New) => return true,
            Ok(Verdict::Duplicate(write)) => {
                self.producers.touch(&key);
                self.stats.duplicates += 1;
                let result = Ok(Reply::Duplicate);
                let reply = Payload::ToFront(ToFront::Replied { connection, token, result });
                match write {
                    Some(write) => output.send_when_taken_too(write, connection.core, reply),
                    None => output.send(connection.core, reply),
                }
            }
            Err(refusal) => {
                self.producers.refused(&key, number, connection);
                replied(connection, token, Err(refusal), output);
            }
        }
        false
    }

    /// A message has entered its queue, with this batch if it is durable.
    pub(super) fn number_entered(
        &mut self,
        message: &Message,
        connection: ConnectionId,
        write: Option<WriteId>,
        output: &mut ShardOutput<'_>,
    ) {
        let Some((key, number)) = key_of(message) else { return };
        if let Some(record) = self.producers.entered(&key, number, connection, write) {
            output.writes.add(record);
        }
    }

    /// A message was refused to a connection.
    pub(super) fn number_refused(&mut self, message: &Message, connection: ConnectionId) {
        if let Some((key, number)) = key_of(message) {
            self.producers.refused(&key, number, connection);
        }
    }

    /// The store has refused a message that has entered.
    pub(super) fn number_lost(&mut self, message: &Message) {
        if let Some((key, number)) = key_of(message) {
            self.producers.lost(&key, number);
        }
    }

    /// Batches are stored, or refused, and the store forgets what this home has forgotten.
    pub(super) fn numbers_stored(&mut self, upto: WriteId, output: &mut ShardOutput<'_>) {
        self.producers.stored(upto);
        for key in mem::take(&mut self.producers.forgotten) {
            if !self.producers.seen.contains_key(&key) {
                let (queue, producer) = key;
                output.writes.add(Record::Forget { queue, producer });
            }
        }
    }

    /// Whether a message of a transaction is to enter.
    pub(super) fn admits_number_in(
        &mut self,
        connection: ConnectionId,
        message: &Message,
        earlier: &[Publication],
        output: &ShardOutput<'_>,
    ) -> Result<bool, Refusal> {
        let Some((key, number)) = key_of(message) else { return Ok(true) };
        let is_repeated = |other: &Publication| {
            other.message.numbered.as_ref().is_some_and(|numbered| {
                numbered.sequence >= number && numbered.producer == key.1 && other.queue == key.0
            })
        };
        match self.producers.judge(&key, number, connection, output.writes)? {
            Verdict::New if earlier.iter().any(is_repeated) => {}
            Verdict::New => return Ok(true),
            // Whether the first one is kept is not known yet.
            Verdict::Duplicate(Some(_)) => return Err(Refusal::Busy),
            Verdict::Duplicate(None) => {}
        }
        self.stats.duplicates += 1;
        Ok(false)
    }

    /// The numbers in a branch that is prepared, and what the store is to do for them.
    pub(super) fn prepare_numbers(
        &mut self,
        publications: &[Publication],
    ) -> (Vec<NumberedBranch>, Vec<Record>) {
        let mut branches: BTreeMap<Key, (BTreeSet<u64>, bool)> = BTreeMap::new();
        let mut records = Vec::new();
        for Publication { queue, message, .. } in publications {
            if let Some((key, number)) = key_of(message) {
                let (numbers, is_durable) = branches.entry(key).or_default();
                numbers.insert(number);
                *is_durable |= queue.is_durable(message);
            }
        }
        let branch = |(key, (numbers, is_durable))| {
            let branch = NumberedBranch { key, numbers };
            records.extend(self.producers.prepared(&branch, is_durable));
            branch
        };
        let branches = branches.into_iter().map(branch).collect();
        (branches, records)
    }

    /// A transaction was rolled back for a connection, or committed.
    pub(super) fn decide_numbers(
        &mut self,
        branches: &[NumberedBranch],
        refused: Option<ConnectionId>,
    ) {
        branches.iter().for_each(|branch| self.producers.decided(branch, refused));
    }

    /// What the store has kept of a producer.
    pub(crate) fn restore_producer(&mut self, restored: RestoredProducer) {
        let RestoredProducer { queue, producer, last } = restored;
        if let Some(seen) = self.producers.touch(&(queue, producer)) {
            seen.last = seen.last.max(Some(last));
            seen.is_behind = true;
        }
    }
}

fn key_of(message: &Message) -> Option<(Key, u64)> {
    let numbered = message.numbered.as_deref()?;
    let Numbered { producer, sequence } = numbered;
    Some(((QueueId::of(&message.to)?, producer.clone()), *sequence))
}

/// Producers that a core remembers, each once for each queue that it sends to.
const PRODUCERS_MAX: usize = 16_384;

/// Those of one user that a queue remembers.
const PER_USER_MAX: usize = 1024;

/// Numbers that the store has refused to a producer; with more it is forgotten.
const MISSING_MAX: usize = 1024;

/// Connections of a producer to which something was refused.
const REFUSED_MAX: usize = 8;
