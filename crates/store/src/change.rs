//! What a batch changes, as the log contains it.
//!
//! ```text
//! Put         1 | queue | position (8) | body (8)
//! Remove      2 | queue | position (8)
//! Prepare     3 | transaction (2 + 8) | home (2) | count (4) | as many of Put, Remove, DeadLetter
//! Commit      4 | transaction
//! Rollback    5 | transaction | home
//! DeadLetter  6 | queue | position (8) | reason
//! LastSeen    7 | queue | user | producer | after? (8) | last (8)
//! Forget      8 | queue | user | producer
//! ```

use std::sync::Arc;

use broker::{QueueId, QueuePosition, Record, TransactionId};
use contract::{DeadLetterReason, Message, Producer};
use wire::Reader;

use crate::message;

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
    /// As [`Record::LastSeen`].
    LastSeen(QueueId, Producer, Option<u64>, u64),
    /// As [`Record::Forget`].
    Forget(QueueId, Producer),
    /// To be done with [`Change::Commit`], unless this home rolls it back before.
    Prepare(TransactionId, u16, Vec<Self>),
    /// What all homes prepared is done.
    Commit(TransactionId),
    /// What this home prepared is not done.
    Rollback(TransactionId, u16),
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
            Self::LastSeen(queue, producer, after, last) => {
                buffer.push(LAST_SEEN);
                message::write_destination(buffer, queue.name());
                write_producer(buffer, producer);
                message::write_option(buffer, *after, |buffer, after| {
                    buffer.extend(after.to_be_bytes());
                });
                buffer.extend(last.to_be_bytes());
            }
            Self::Forget(queue, producer) => {
                buffer.push(FORGET);
                message::write_destination(buffer, queue.name());
                write_producer(buffer, producer);
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
        if matches!(kind, LAST_SEEN | FORGET) {
            let producer = read_producer(reader)?;
            if kind == FORGET {
                return Some(Self::Forget(queue, producer));
            }
            let after = message::read_option(reader, Reader::u64)?;
            return Some(Self::LastSeen(queue, producer, after, reader.u64()?));
        }
        let position = QueuePosition::from_bits(reader.u64()?);
        match kind {
            PUT => Some(Self::Put(queue, position, BodyId(reader.u64()?))),
            REMOVE => Some(Self::Remove(queue, position)),
            DEAD_LETTER => Some(Self::DeadLetter(queue, position, message::read_reason(reader)?)),
            _ => None,
        }
    }
}

pub(crate) fn read_queue(reader: &mut Reader<'_>) -> Option<QueueId> {
    QueueId::of(&message::read_destination(reader)?)
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
            Record::LastSeen { queue, producer, after, last } => {
                Change::LastSeen(queue.clone(), producer.clone(), *after, *last)
            }
            Record::Forget { queue, producer } => Change::Forget(queue.clone(), producer.clone()),
            Record::Prepare(transaction, records) => {
                Change::Prepare(*transaction, home, self.convert(home, records, next))
            }
            Record::Commit(transaction) => Change::Commit(*transaction),
            Record::Rollback(transaction) => Change::Rollback(*transaction, home),
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

fn write_producer(buffer: &mut Vec<u8>, producer: &Producer) {
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
const LAST_SEEN: u8 = 7;
const FORGET: u8 = 8;

#[cfg(test)]
mod tests {
    use contract::Destination;

    use super::*;

    #[test]
    fn changes_read_as_they_were_written() {
        let queue = QueueId::of(&Destination::parse("/queue/a.b").unwrap()).unwrap();
        let position = QueuePosition::from_bits(u64::MAX);
        let transaction = TransactionId { core: 3, number: 9 };
        let put = Change::Put(queue.clone(), position, BodyId(4));
        let remove = Change::Remove(queue.clone(), position);
        let failed = Change::DeadLetter(queue.clone(), position, DeadLetterReason::Failed(3));
        let rejected = Change::DeadLetter(queue, position, DeadLetterReason::Rejected);
        let all = [
            put.clone(),
            remove.clone(),
            failed.clone(),
            rejected,
            Change::Prepare(transaction, 2, vec![put, remove, failed]),
            Change::Commit(transaction),
            Change::Rollback(transaction, 2),
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
