//! What a batch changes, as the log contains it.
//!
//! ```text
//! Put         1 | queue | position (8) | body (8)
//! Remove      2 | queue | position (8)
//! Prepare     3 | transaction (2 + 8) | home (2) | count (4) | as many of Put, Remove, DeadLetter, Seen, Forget
//! Commit      4 | transaction
//! Rollback    5 | transaction | home
//! DeadLetter  6 | queue | position (8) | reason
//! Bind        7 | queue | terms
//! Unbind      8 | queue
//! Seen        9 | queue | producer | number (8)
//! Forget     10 | queue | producer
//! Attempted  12 | queue | position (8) | failed (4) | time of the last one (8)
//! Numbers    11 | queue | producer | greatest number (8) | a bit for each of the last 1,024 (16 x 8)
//! ```

use std::sync::Arc;

use broker::{Attempts, Numbers, QueueId, QueuePosition, Record, Terms, TransactionId};
use contract::{DeadLetterReason, Message, Producer};
use wire::Reader;

use crate::{message, terms};

/// Names a message of the store, whatever queues it is in and wherever on the disk it is. The ids of
/// a store only grow.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BodyId(pub u64);

/// One of the changes of a batch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Change {
    /// A body is in a queue.
    Put(QueueId, QueuePosition, BodyId),
    /// A position of a queue is empty.
    Remove(QueueId, QueuePosition),
    /// What is at a position of a queue is to leave it for the dead-letter queue.
    DeadLetter(QueueId, QueuePosition, DeadLetterReason),
    /// So many attempts to deliver what is at a position of a queue have failed.
    Attempted(QueueId, QueuePosition, Attempts),
    /// A producer's message with this number has entered a queue.
    Seen(QueueId, Producer, u64),
    /// Nothing is known of a producer at a queue any more.
    Forget(QueueId, Producer),
    /// These of its numbers have entered: only in a checkpoint.
    Numbers(QueueId, Producer, Box<Numbers>),
    /// To be done with [`Change::Commit`], unless this home rolls it back before.
    Prepare(TransactionId, u16, Vec<Self>),
    /// What all homes prepared is done.
    Commit(TransactionId),
    /// What this home prepared is not done.
    Rollback(TransactionId, u16),
    /// A queue is that of a durable subscription with these terms.
    Bind(QueueId, Arc<Terms>),
    /// It is so no more.
    Unbind(QueueId),
}

impl Change {
    pub(crate) fn write(&self, buffer: &mut Vec<u8>) {
        match self {
            Self::Put(queue, position, body) => {
                buffer.push(PUT);
                message::write_destination(buffer, queue.name());
                buffer.extend(position.bits().to_be_bytes());
                buffer.extend(body.0.to_be_bytes());
            }
            Self::Remove(queue, position) => {
                buffer.push(REMOVE);
                message::write_destination(buffer, queue.name());
                buffer.extend(position.bits().to_be_bytes());
            }
            Self::DeadLetter(queue, position, reason) => {
                buffer.push(DEAD_LETTER);
                message::write_destination(buffer, queue.name());
                buffer.extend(position.bits().to_be_bytes());
                message::write_reason(buffer, *reason);
            }
            Self::Attempted(queue, position, attempts) => {
                buffer.push(ATTEMPTED);
                message::write_destination(buffer, queue.name());
                buffer.extend(position.bits().to_be_bytes());
                buffer.extend(attempts.count.to_be_bytes());
                buffer.extend(attempts.last_unix_ms.to_be_bytes());
            }
            Self::Seen(queue, producer, number) => {
                buffer.push(SEEN);
                write_producer(buffer, queue, producer);
                buffer.extend(number.to_be_bytes());
            }
            Self::Forget(queue, producer) => {
                buffer.push(FORGET);
                write_producer(buffer, queue, producer);
            }
            Self::Numbers(queue, producer, numbers) => {
                buffer.push(NUMBERS);
                write_producer(buffer, queue, producer);
                let (last, bits) = numbers.to_parts();
                buffer.extend(last.to_be_bytes());
                bits.iter().for_each(|word| buffer.extend(word.to_be_bytes()));
            }
            Self::Prepare(transaction, home, changes) => {
                buffer.push(PREPARE);
                write_transaction(buffer, *transaction);
                buffer.extend(home.to_be_bytes());
                buffer.extend(u32::try_from(changes.len()).unwrap_or(u32::MAX).to_be_bytes());
                changes.iter().for_each(|change| change.write(buffer));
            }
            Self::Commit(transaction) => {
                buffer.push(COMMIT);
                write_transaction(buffer, *transaction);
            }
            Self::Rollback(transaction, home) => {
                buffer.push(ROLLBACK);
                write_transaction(buffer, *transaction);
                buffer.extend(home.to_be_bytes());
            }
            Self::Bind(queue, terms) => {
                buffer.push(BIND);
                message::write_destination(buffer, queue.name());
                terms::write(buffer, terms);
            }
            Self::Unbind(queue) => {
                buffer.push(UNBIND);
                message::write_destination(buffer, queue.name());
            }
        }
    }

    /// Reads one; `None`: it is none that this version knows.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(match reader.u8()? {
            PREPARE => {
                let transaction = read_transaction(reader)?;
                let home = reader.u16()?;
                let count = reader.u32()?;
                // Collected without trust in the count: each takes bytes.
                let changes = (0..count)
                    .map(|_| reader.u8().and_then(|kind| Self::read_simple(kind, reader)))
                    .collect::<Option<_>>()?;
                Self::Prepare(transaction, home, changes)
            }
            COMMIT => Self::Commit(read_transaction(reader)?),
            ROLLBACK => Self::Rollback(read_transaction(reader)?, reader.u16()?),
            ATTEMPTED => {
                let (queue, position) = (read_queue(reader)?, reader.u64()?);
                let attempts = Attempts { count: reader.u32()?, last_unix_ms: reader.u64()? };
                Self::Attempted(queue, QueuePosition::from_bits(position), attempts)
            }
            BIND => Self::Bind(read_queue(reader)?, Arc::new(terms::read(reader)?)),
            UNBIND => Self::Unbind(read_queue(reader)?),
            NUMBERS => {
                let (queue, producer) = (read_queue(reader)?, read_producer(reader)?);
                let (last, mut bits) = (reader.u64()?, [0; 16]);
                for word in &mut bits {
                    *word = reader.u64()?;
                }
                Self::Numbers(queue, producer, Box::new(Numbers::from_parts(last, bits)))
            }
            kind => Self::read_simple(kind, reader)?,
        })
    }

    /// Reads all that are left.
    pub(crate) fn read_all(reader: &mut Reader<'_>) -> Option<Vec<Self>> {
        let mut changes = Vec::new();
        while !reader.is_empty() {
            changes.push(Self::read(reader)?);
        }
        Some(changes)
    }

    fn read_simple(kind: u8, reader: &mut Reader<'_>) -> Option<Self> {
        let queue = read_queue(reader)?;
        let mut position = || reader.u64().map(QueuePosition::from_bits);
        Some(match kind {
            PUT => Self::Put(queue, position()?, BodyId(reader.u64()?)),
            REMOVE => Self::Remove(queue, position()?),
            DEAD_LETTER => Self::DeadLetter(queue, position()?, message::read_reason(reader)?),
            SEEN => Self::Seen(queue, read_producer(reader)?, reader.u64()?),
            FORGET => Self::Forget(queue, read_producer(reader)?),
            _ => return None,
        })
    }
}

pub(crate) fn read_queue(reader: &mut Reader<'_>) -> Option<QueueId> {
    QueueId::named(message::read_destination(reader)?)
}

/// The bodies and changes of a batch of records. Consecutive records of the same message share a
/// body.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) bodies: Vec<(BodyId, Arc<Message>)>,
    pub(crate) changes: Vec<Change>,
}

impl Batch {
    /// The records of the home on this core; bodies are numbered from `next` on.
    pub(crate) fn of(home: u16, records: &[Record], next: BodyId) -> Self {
        let mut batch = Self { bodies: Vec::new(), changes: Vec::new() };
        batch.changes = batch.convert(home, records, next);
        batch
    }

    fn convert(&mut self, home: u16, records: &[Record], next: BodyId) -> Vec<Change> {
        let convert = |record: &Record| match record {
            Record::Put(queue, position, message) => {
                Change::Put(queue.clone(), *position, self.body(message, next))
            }
            Record::Remove(queue, position) => Change::Remove(queue.clone(), *position),
            Record::DeadLetter(queue, position, reason) => {
                Change::DeadLetter(queue.clone(), *position, *reason)
            }
            Record::Attempted(queue, position, attempts) => {
                Change::Attempted(queue.clone(), *position, *attempts)
            }
            Record::Seen(queue, producer, number) => {
                Change::Seen(queue.clone(), producer.clone(), *number)
            }
            Record::Forget(queue, producer) => Change::Forget(queue.clone(), producer.clone()),
            Record::Prepare(transaction, records) => {
                Change::Prepare(*transaction, home, self.convert(home, records, next))
            }
            Record::Commit(transaction) => Change::Commit(*transaction),
            Record::Rollback(transaction) => Change::Rollback(*transaction, home),
            Record::Bind(queue, terms) => Change::Bind(queue.clone(), Arc::clone(terms)),
            Record::Unbind(queue) => Change::Unbind(queue.clone()),
        };
        records.iter().map(convert).collect()
    }

    fn body(&mut self, message: &Arc<Message>, next: BodyId) -> BodyId {
        match self.bodies.last() {
            Some((body, last)) if Arc::ptr_eq(last, message) => *body,
            _ => {
                let body = BodyId(next.0 + self.bodies.len() as u64);
                self.bodies.push((body, Arc::clone(message)));
                body
            }
        }
    }
}

pub(crate) fn write_transaction(buffer: &mut Vec<u8>, transaction: TransactionId) {
    buffer.extend(transaction.core.to_be_bytes());
    buffer.extend(transaction.number.to_be_bytes());
}

fn write_producer(buffer: &mut Vec<u8>, queue: &QueueId, producer: &Producer) {
    message::write_destination(buffer, queue.name());
    message::write_string(buffer, &producer.user);
    message::write_string(buffer, &producer.name);
}

fn read_producer(reader: &mut Reader<'_>) -> Option<Producer> {
    let user = message::read_string(reader)?.into();
    Some(Producer { user, name: message::read_string(reader)?.into() })
}

fn read_transaction(reader: &mut Reader<'_>) -> Option<TransactionId> {
    Some(TransactionId { core: reader.u16()?, number: reader.u64()? })
}

const PUT: u8 = 1;
const REMOVE: u8 = 2;
const PREPARE: u8 = 3;
const COMMIT: u8 = 4;
const ROLLBACK: u8 = 5;
const DEAD_LETTER: u8 = 6;
const BIND: u8 = 7;
const UNBIND: u8 = 8;
const SEEN: u8 = 9;
const FORGET: u8 = 10;
const NUMBERS: u8 = 11;
const ATTEMPTED: u8 = 12;

#[cfg(test)]
mod tests {
    use contract::{Destination, DurableName, Pattern, Selector, Strings};

    use super::*;

    #[test]
    fn changes_read_as_they_were_written() {
        let queue = QueueId::of(&Destination::parse("/queue/a.b").unwrap()).unwrap();
        let name = DurableName::new(None, "client.1", "name").unwrap();
        let subscription = QueueId::of_subscription(&name);
        let terms = |selector: Option<&str>| Terms {
            pattern: Pattern::parse("/topic/*.b.>").unwrap(),
            selector: selector.map(|text| Selector::parse(text, Strings::Coerced).unwrap().into()),
            is_shared: selector.is_some(),
            no_local: selector.is_none(),
        };
        let position = QueuePosition::from_bits(u64::MAX);
        let transaction = TransactionId { core: 3, number: 9 };
        let producer = Producer { user: "".into(), name: "p".into() };
        let mut numbers = Numbers::default();
        [3, 7, 2_000].into_iter().for_each(|number| numbers.insert(number));
        let seen = Change::Seen(queue.clone(), producer.clone(), u64::MAX);
        let forget = Change::Forget(subscription.clone(), producer.clone());
        let numbers = Change::Numbers(queue.clone(), producer, numbers.into());
        let put = Change::Put(queue.clone(), position, BodyId(4));
        let remove = Change::Remove(queue.clone(), position);
        let failed = Change::DeadLetter(queue.clone(), position, DeadLetterReason::Failed(3));
        let attempts = Attempts { count: 3, last_unix_ms: 1 << 40 };
        let attempted = Change::Attempted(queue.clone(), position, attempts);
        let rejected = Change::DeadLetter(queue, position, DeadLetterReason::Rejected);
        let all = [
            put.clone(),
            remove.clone(),
            failed.clone(),
            rejected,
            Change::Prepare(
                transaction,
                2,
                vec![put, remove, failed, seen.clone(), forget.clone()],
            ),
            Change::Commit(transaction),
            Change::Rollback(transaction, 2),
            Change::Bind(subscription.clone(), Arc::new(terms(Some("a = 'b'")))),
            Change::Bind(subscription.clone(), Arc::new(terms(None))),
            Change::Unbind(subscription),
            seen,
            forget,
            numbers,
            attempted,
        ];
        let mut bytes = Vec::new();
        all.iter().for_each(|change| change.write(&mut bytes));
        assert_eq!(Change::read_all(&mut Reader::new(&bytes)).as_deref(), Some(&all[..]));
        let nested = Change::Prepare(transaction, 2, vec![all[4].clone()]);
        bytes.clear();
        nested.write(&mut bytes);
        assert_eq!(
            Change::read_all(&mut Reader::new(&bytes)),
            None,
            "prepared in what is prepared"
        );
    }
}
