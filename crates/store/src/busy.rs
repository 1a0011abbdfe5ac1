//! A store whose cores write again as soon as they are told, so that it is never without work for long.

use std::{
    collections::BTreeSet,
    sync::{Arc, mpsc},
    thread,
};

use broker::{QueuePosition, Record, RecordBatch, StoreStats, WriteId};

use crate::{
    Completions, Options, Store, WriteRefusal,
    files::SimulatedDisk,
    log::{Log, lock},
    model::{contents, message, open, options, queue},
    recovery,
};

/// Fails when `Writer::run` does steps in pauses alone: no segment is ever removed.
#[test]
fn segments_are_removed_while_one_producer_waits_for_each_of_its_messages() {
    let disk = SimulatedDisk::default();
    let mut most = 0;
    run(&disk, options(1), |_, _| most = most.max(disk.used()));
    assert!(most < 300 << 10, "{most} bytes");
}

/// Fails when `Writer::run` leaves what is to be synced to the next pause.
#[test]
fn what_is_to_be_synced_is_synced_while_one_producer_waits_for_each_of_its_messages() {
    let disk = SimulatedDisk::default();
    let mut kept = None;
    // Each segment that is begun syncs the one before it.
    let options = Options { syncs_commits: false, segment_bytes: 4 << 20, ..options(1) };
    run(&disk, options, |id, store| {
        if id == 100 {
            store.sync();
        }
        if id == 200 {
            kept = Some(disk.after_crash(|_| 0));
        }
    });
    let log = open(&kept.unwrap(), 2).unwrap();
    let kept = contents(&log).unwrap().queues.into_keys().last();
    let last = kept.map(|(_, position)| position.bits());
    assert!(last >= Some(100), "{last:?} is the last one");
}

/// Fails when steps are not paced by what is written: with one for eight groups sparse segments stay until
/// the last of their messages goes.
#[test]
fn sparse_segments_are_emptied_as_fast_as_batches_come() {
    for syncs_commits in [true, false] {
        let disk = SimulatedDisk::default();
        let options = Options { segment_bytes: 128 << 10, syncs_commits, ..options(1) };
        let (mut most, mut end) = (0, StoreStats::default());
        let batch = |number: u64| {
            let at = |number: u64, of: u64| QueuePosition::from_bits(number * 10 + of);
            let put = |of| Record::Put(queue(0), at(number, of), message(of, 2500));
            let remove = |number: u64, of| Record::Remove(queue(0), at(number, of));
            let mut records: Vec<_> = (0..10).map(put).collect();
            // Of each batch one stays for longer.
            records.extend((1..10).filter(|_| number > 1).map(|of| remove(number - 1, of)));
            records.extend((number > 200).then(|| remove(number - 200, 0)));
            records
        };
        run_batches(&disk, options, 600, batch, |_, store| {
            most = most.max(disk.used());
            end = store.stats();
        });
        assert!(most < 3 << 20, "{most} bytes, while some 500 KiB are in the queue");
        // A step between two batches, which moves twice what these are.
        assert!(end.appended_bytes <= 3 * 600 * 26_000, "{end:?}");
    }
}

/// Fails when a step goes on until nothing is left to do: who waits for a batch waits for a step.
#[test]
fn a_step_syncs_and_moves_a_bounded_part_of_what_is_to_be_done() {
    const STEP: u32 = 300 << 10;
    const BODY: u64 = 2500;
    let options = Options { segment_bytes: 128 << 10, ..options(1) };
    let mut log = recovery::open(Arc::new(SimulatedDisk::default()), &options).unwrap();
    let at = QueuePosition::from_bits;
    let commit = |log: &mut Log, records: Vec<Record>| {
        log.commit(&[(0, &*records)], &BTreeSet::new()).unwrap();
    };
    for id in 1..=4000 {
        commit(&mut log, vec![Record::Put(queue(0), at(id), message(id, 2500))]);
    }
    let left = (1..=4000).filter(|id| id % 4 > 0);
    commit(&mut log, left.map(|id| Record::Remove(queue(0), at(id))).collect());
    let done = |log: &Log| (log.counts.syncs(), log.counts.appended_bytes());
    let (mut before, mut steps, mut has_more) = (done(&log), 0, true);
    while has_more {
        has_more = log.maintain_for(STEP).unwrap();
        let after = done(&log);
        assert!(after.0 <= before.0 + 1, "step {steps} syncs {} times", after.0 - before.0);
        let moved = after.1 - before.1;
        assert!(moved < u64::from(STEP) + 2 * BODY, "step {steps} moves {moved} bytes");
        (before, steps) = (after, steps + 1);
    }
    assert!((10..1000).contains(&steps), "{steps} steps");
    let (on_disk, waits) = (lock(&log.index).segments.len() * (128 << 10), 1000 * 2500);
    assert!(on_disk < 2 * waits, "{on_disk} bytes for {waits}");
}

/// Stores messages one after the other, and removes each with the next; `then` is called behind each.
fn run(disk: &SimulatedDisk, options: Options, then: impl FnMut(u64, &Store)) {
    let batch = |id| {
        let put = Record::Put(queue(0), QueuePosition::from_bits(id), message(id, 700));
        let before = Record::Remove(queue(0), QueuePosition::from_bits(id - 1));
        if id == 1 { vec![put] } else { vec![put, before] }
    };
    run_batches(disk, options, 3000, batch, then);
}

fn run_batches(
    disk: &SimulatedDisk,
    options: Options,
    count: u64,
    batch: impl Fn(u64) -> Vec<Record>,
    mut then: impl FnMut(u64, &Store),
) {
    let opened = crate::open(Arc::new(disk.clone()), options).unwrap();
    let (told, stored) = mpsc::channel();
    let (store, writer) = opened.start(Told(told));
    thread::scope(|scope| {
        let writer = scope.spawn(|| writer.run());
        for id in 1..=count {
            store.write(0, [RecordBatch::awaited(WriteId(id), batch(id))]);
            assert_eq!(stored.recv().unwrap(), WriteId(id));
            then(id, &store);
        }
        store.close();
        writer.join().unwrap().unwrap();
    });
}

struct Told(mpsc::Sender<WriteId>);

impl Completions for Told {
    fn stored(&mut self, _: u16, upto: WriteId) {
        self.0.send(upto).unwrap();
    }

    fn refused(&mut self, _: u16, _: WriteId, refusal: WriteRefusal) {
        panic!("{refusal}");
    }
}
