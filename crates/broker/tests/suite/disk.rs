//! What a store keeps: all batches that are stored, applied to a map.

use std::collections::{BTreeMap, BTreeSet};

use broker::{QueueId, QueuePosition, Record, TransactionId};

/// The content of the store, were the process to end now.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    messages: BTreeMap<(QueueId, QueuePosition), u128>,
    prepared: BTreeMap<TransactionId, Vec<Record>>,
    committed: BTreeSet<TransactionId>,
    /// Messages that were ever in a queue.
    entered: BTreeSet<(String, u128)>,
}

impl Disk {
    pub(crate) fn apply(&mut self, record: Record) {
        match record {
            Record::Put(queue, position, message) => {
                self.entered.insert((queue.name().to_string(), message.id));
                let before = self.messages.insert((queue, position), message.id);
                assert_eq!(before, None, "two messages have one position");
            }
            Record::Remove(queue, position) => {
                let key = (queue, position);
                assert!(self.messages.remove(&key).is_some(), "{key:?} is not stored");
            }
            Record::Prepare(id, records) => self.prepared.entry(id).or_default().extend(records),
            Record::Commit(id) => {
                self.committed.insert(id);
                let records = self.prepared.remove(&id);
                records.expect("a commit of nothing").into_iter().for_each(|r| self.apply(r));
            }
            Record::Rollback(id) => {
                assert!(!self.committed.contains(&id), "{id:?} was committed");
                self.prepared.remove(&id);
            }
        }
    }

    /// Whether a message is stored in a queue, or was.
    pub(crate) fn has_entered(&self, queue: &str, message: u128) -> bool {
        self.entered.contains(&(queue.to_owned(), message))
    }

    /// The queues that keep a message.
    pub(crate) fn queues_of(&self, message: u128) -> Vec<String> {
        let entries = self.messages.iter().filter(|(_, id)| **id == message);
        entries.map(|((queue, _), _)| queue.name().to_string()).collect()
    }

    /// How many messages a queue keeps.
    pub(crate) fn count(&self, queue: &str) -> usize {
        self.messages.keys().filter(|(id, _)| id.name().to_string() == queue).count()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.prepared.is_empty()
    }
}
