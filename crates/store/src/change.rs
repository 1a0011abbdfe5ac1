//! What a batch changes, as the log contains it.
//!
//! ```text
//! Put         1 | queue | position (8) | body (8)
//! Remove      2 | queue | position (8)
//! Prepare     3 | transaction (2 + 8) | home (2) | count (4) | as many of Put, Remove, DeadLetter
//! Commit      4 | transaction
//! Rollback    5 | transaction | home
//! DeadLetter  6 | queue | position (8) | reason
//! Bind        7 | queue | terms
//! Unbind      8 | queue
//! ```

use std::sync::Arc;

use broker::{QueueId, QueuePosition, Record, Terms, TransactionId};
use contract::{DeadLetterReason, Message};
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
            BIND => Self::Bind(read_queue(reader)?, Arc::new(terms::read(reader)?)),
            UNBIND => Self::Unbind(read_queue(reader)?),
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
            Change::Bind(subscription.clone(), Arc::new(terms(Some("a = 'b'")))),
            Change::Bind(subscription.clone(), Arc::new(terms(None))),
            Change::Unbind(subscription),
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
