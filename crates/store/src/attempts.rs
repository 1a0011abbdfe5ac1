//! What the store does not keep on a full disk: how often messages were attempted to be delivered.

use std::{collections::BTreeSet, sync::Arc};

use broker::{Attempts, QueuePosition, Record};

use crate::{
    WriteRefusal,
    files::SimulatedDisk,
    log::Log,
    model::{fill, message, open, options, queue},
};

/// It is to fail if `Log::append` writes the attempts on a full disk, or has those that only remove wait for them.
#[test]
fn attempts_take_nothing_of_a_full_disk_and_removals_go_on() {
    let disk = SimulatedDisk::default();
    let mut log = open(&disk, 1).unwrap();
    commit(&mut log, &[put(1)]);
    commit(&mut log, &[attempted(1, 1)]);
    let stored = fill(&disk, &mut log, 2);
    let before = log.position();
    for count in 2..20_000 {
        commit(&mut log, &[attempted(1, count)]);
    }
    let after = log.position();
    assert_eq!(
        (before.segment, before.offset),
        (after.segment, after.offset),
        "nothing is written"
    );
    assert_eq!(attempts(&disk), [1]);
    // With each the reserve makes some room.
    for (count, &id) in (2..).zip(&stored) {
        commit(&mut log, &[attempted(1, count), Record::Remove(queue(0), position(id))]);
        while log.maintain().unwrap() {}
    }
    disk.set_capacity(None);
    while log.maintain().unwrap() {}
    commit(&mut log, &[put(5000)]);
    commit(&mut log, &[attempted(1, 7)]);
    assert_eq!(attempts(&disk), [7, 0], "there is room again");
}

/// What is sent with attempts is refused on a full disk, as without.
#[test]
fn what_only_adds_beside_attempts_does_not_wait_for_room() {
    let disk = SimulatedDisk::default();
    let mut log = open(&disk, 1).unwrap();
    fill(&disk, &mut log, 2);
    let outcomes = log.commit(&[(0, &[put(5000), attempted(2, 1)])], &BTreeSet::new()).unwrap();
    assert_eq!(outcomes, [Some(Err(WriteRefusal::DiskFull))]);
}

/// Of each message, what a start finds.
fn attempts(disk: &SimulatedDisk) -> Vec<u32> {
    let opened = crate::open(Arc::new(disk.after_kill()), options(2)).unwrap();
    let messages = opened.messages(&queue(0)).into_iter();
    messages
        .filter(|one| [1, 5000].contains(&one.position.bits()))
        .map(|one| one.attempts.count)
        .collect()
}

fn commit(log: &mut Log, records: &[Record]) {
    let outcomes = log.commit(&[(0, records)], &BTreeSet::new()).unwrap();
    assert_eq!(outcomes, [Some(Ok(()))]);
}

fn put(id: u64) -> Record {
    Record::Put(queue(0), position(id), message(id, 700))
}

fn attempted(id: u64, count: u32) -> Record {
    Record::Attempted(queue(0), position(id), Attempts { count, last_unix_ms: 9 })
}

const fn position(id: u64) -> QueuePosition {
    QueuePosition::from_bits(id)
}
