//! Where messages are that were reported as stored and are not synced yet.

use std::collections::BTreeMap;

use broker::{QueueId, QueuePosition, TransactionId};

use crate::{
    change::{BodyId, Change},
    index::{Place, Prepared, homes},
};

/// What is written behind what the index contains: for readers alone, since a crash may take it back.
/// There is nothing in it where commits are synced before they are reported.
#[derive(Debug, Default)]
pub(crate) struct Unsynced {
    positions: BTreeMap<(QueueId, QueuePosition), BodyId>,
    places: BTreeMap<BodyId, Place>,
    prepared: BTreeMap<TransactionId, Vec<Change>>,
}

impl Unsynced {
    /// The body at this position of a queue.
    pub(crate) fn body(&self, queue: &QueueId, position: QueuePosition) -> Option<BodyId> {
        if self.positions.is_empty() {
            return None;
        }
        self.positions.get(&(queue.clone(), position)).copied()
    }

    pub(crate) fn place(&self, body: BodyId) -> Option<Place> {
        self.places.get(&body).copied()
    }

    /// Bodies and changes are written. What was `prepared` before is synced.
    pub(crate) fn write(
        &mut self,
        bodies: impl IntoIterator<Item = (BodyId, Place)>,
        changes: &[Change],
        prepared: &Prepared,
    ) {
        self.places.extend(bodies);
        for change in changes {
            if let Change::Prepare(transaction, _, changes) = change {
                self.prepared.entry(*transaction).or_default().extend(changes.iter().cloned());
            } else if let Change::Commit(transaction) = change {
                let written = self.prepared.remove(transaction).unwrap_or_default();
                let synced = prepared.range(homes(*transaction)).flat_map(|(_, all)| all);
                written.iter().chain(synced).for_each(|change| self.change(change));
            } else {
                self.change(change);
            }
        }
    }

    fn change(&mut self, change: &Change) {
        if let Change::Put(queue, position, body) = change {
            self.positions.insert((queue.clone(), *position), *body);
        } else if let Change::Remove(queue, position) = change {
            self.positions.remove(&(queue.clone(), *position));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use broker::{QueuePosition, Record, TransactionId};

    use crate::{
        WriteRefusal,
        files::SimulatedDisk,
        log::Log,
        model::{contents, message, open, queue},
        reader::Reader,
    };

    /// Without [`crate::index::Index::written`] it is not found before it is synced, and a queue
    /// whose message is on the disk goes on without it.
    #[test]
    fn what_is_reported_before_it_is_synced_can_be_read() {
        let disk = SimulatedDisk::default();
        let mut log = open(&disk, 1).unwrap();
        log.syncs_commits = false;
        let transaction = |number| TransactionId { core: 0, number };
        let prepare = |number, id| Record::Prepare(transaction(number), vec![put(id)]);
        commit(&mut log, &[prepare(1, 1)]);
        log.sync().unwrap();
        commit(&mut log, &[put(2), prepare(2, 3), prepare(3, 4)]);
        assert_eq!(readable(&log), [2]);
        commit(&mut log, &[Record::Commit(transaction(1)), Record::Commit(transaction(2))]);
        assert_eq!(readable(&log), [1, 2, 3]);
        assert!(contents(&log).unwrap().queues.is_empty(), "a crash may take it back");
        log.sync().unwrap();
        assert_eq!(readable(&log), [1, 2, 3]);
        assert!(log.index.lock().unwrap().unsynced.places.is_empty());
        assert_eq!(contents(&log).unwrap().queues.len(), 3);
    }

    /// Where `Log::abandon` forgets all that is not synced, it loses what was reported.
    #[test]
    fn what_is_reported_before_it_is_synced_outlives_a_full_disk() {
        let disk = SimulatedDisk::default();
        let mut log = open(&disk, 1).unwrap();
        log.syncs_commits = false;
        commit(&mut log, &[put(1), put(2)]);
        disk.fail_next_write();
        let outcomes = log.commit(&[(0, &[put(3)])], &BTreeSet::new());
        assert_eq!(outcomes.unwrap(), [Some(Err(WriteRefusal::DiskFull))]);
        assert_eq!(readable(&log), [1, 2]);
        let log = open(&disk.after_kill(), 2).unwrap();
        assert_eq!(readable(&log), [1, 2]);
    }

    fn commit(log: &mut Log, records: &[Record]) {
        let outcomes = log.commit(&[(0, records)], &BTreeSet::new()).unwrap();
        assert_eq!(outcomes, [Some(Ok(()))]);
    }

    fn put(id: u64) -> Record {
        Record::Put(queue(0), QueuePosition::from_bits(id), message(id, 10))
    }

    /// The ids of the messages that can be read.
    fn readable(log: &Log) -> Vec<u64> {
        let reader = Reader::new(Arc::clone(&log.index));
        let read = |id: &u64| {
            reader.read_from(&queue(0), QueuePosition::from_bits(*id)).unwrap().is_some()
        };
        (1..10).filter(read).collect()
    }
}
