//! Each fault that a store may meet, by itself. Each test names the guard without which it fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use broker::{Attempts, QueueId, QueuePosition, Record, RecordBatch, Terms, WriteId};
use contract::{DurableName, Group, Header, Message, Pattern, Selector, Strings};

use crate::{
    Completions, Options, StoreError, StoredMessage, WriteRefusal,
    files::{Files, SimulatedDisk},
    log::Log,
    model::{Model, contents, fill, message, open, options, queue},
    segment,
};

/// Without `?` behind the sync of `Log::sync`, or with a second one after it, the second batch is
/// confirmed and lost.
#[test]
fn a_failed_sync_is_an_error_and_never_tried_again() {
    let disk = SimulatedDisk::default();
    let mut log = open(&disk, 1).unwrap();
    commit(&mut log, &[put(1, 10)]);
    let before = contents(&log).unwrap();
    disk.fail_sync_after(0);
    let outcome = log.commit(&[(0, &[put(2, 10)])], &BTreeSet::new());
    assert!(matches!(outcome, Err(StoreError::Io { doing: "sync", .. })), "{outcome:?}");
    let log = open(&disk.after_kill(), 2).unwrap();
    assert_eq!(contents(&log).unwrap().queues, before.queues);
}

/// Without the salt in `Seed::new` the records are found again.
#[test]
fn records_of_an_earlier_use_of_the_same_blocks_are_none() {
    let old = SimulatedDisk::default();
    let mut log = open(&old, 1).unwrap();
    commit(&mut log, &[put(1, 10), put(2, 10)]);
    let stale = old.content(&segment::name(1)).unwrap();
    let disk = SimulatedDisk::default();
    for name in ["spare-0", "spare-1"] {
        disk.create(name, stale.len() as u64).unwrap().write_at(&stale, 0).unwrap();
    }
    drop(open(&disk, 2).unwrap());
    let log = open(&disk.after_kill(), 3).unwrap();
    assert!(contents(&log).unwrap().queues.is_empty());
}

/// Without the search of `SegmentReader::check_nothing_synced_follows`, or without
/// `Log::write_synced`, what is behind the damage is lost silently.
#[test]
fn a_flipped_byte_is_an_error_or_changes_nothing() {
    let disk = SimulatedDisk::default();
    let mut log = open(&disk, 1).unwrap();
    commit(&mut log, &[put(1, 10), put(2, 1000), put(3, 10)]);
    assert!(log.write_checkpoint().unwrap());
    for id in 4..12 {
        commit(&mut log, &[put(id, 500), remove(id - 2)]);
        log.write_synced().unwrap();
    }
    let expected = contents(&log).unwrap();
    drop(log);
    let (mut found, mut unnoticed) = (0, 0);
    for name in disk.list().unwrap() {
        for offset in 0..disk.content(&name).unwrap().len() {
            let damaged = disk.after_kill();
            damaged.damage(&name, offset, |byte| *byte ^= 0x10);
            match open(&damaged, 2).and_then(|log| contents(&log)) {
                Ok(contents) => {
                    assert_eq!(contents.queues, expected.queues, "byte {offset} of {name}");
                    unnoticed += 1;
                }
                Err(StoreError::Damaged { file, .. }) => {
                    assert_eq!(file, name, "byte {offset}");
                    found += 1;
                }
                Err(error) => panic!("byte {offset} of {name}: {error}"),
            }
        }
    }
    // The files are allocated beforehand, and what is not used of them says nothing.
    assert!(found > 5000 && unnoticed > 5000, "{found} found, {unnoticed} not");
}

/// If `Log::drop_segments` does not wait for a checkpoint, the removed message is back.
#[test]
fn a_removal_outlives_its_segment() {
    let disk = SimulatedDisk::default();
    let mut log = open(&disk, 1).unwrap();
    // Two messages in the first segment, of which one stays.
    commit(&mut log, &[put(1, 2500), put(2, 500)]);
    let mut id = 10;
    while log.active.number == 1 {
        commit(&mut log, &[put(id, 500)]);
        commit(&mut log, &[remove(id)]);
        id += 1;
    }
    let removal_in = log.active.number;
    commit(&mut log, &[remove(2)]);
    while disk.content(&segment::name(removal_in)).is_some() {
        commit(&mut log, &[put(id, 500)]);
        commit(&mut log, &[remove(id)]);
        log.maintain().unwrap();
        id += 1;
        assert!(id < 1000, "no segment is ever dropped");
    }
    assert!(disk.content(&segment::name(1)).is_some(), "the older segment is there");
    let log = open(&disk.after_kill(), 2).unwrap();
    let left: Vec<_> = contents(&log).unwrap().queues.into_keys().collect();
    assert_eq!(left, [(queue(0), QueuePosition::from_bits(1))]);
}

/// If `Store::write` refuses nothing, more than the bound is in flight.
#[test]
fn bytes_in_flight_are_bounded_while_a_sync_takes_long() {
    const BOUND: usize = 256 << 10;
    let disk = SimulatedDisk::default();
    let options = Options { in_flight_bytes_max: BOUND, ..options(1) };
    let opened = crate::open(Arc::new(disk.clone()), options).unwrap();
    let told = Arc::new(Mutex::new(BTreeMap::new()));
    let (store, writer) = opened.start(Told(Arc::clone(&told)));
    disk.stall(true);
    let (mut submitted, mut most) = (0, 0);
    thread::scope(|scope| {
        let writer = scope.spawn(|| writer.run());
        // A thousand producers that do not wait for their replies.
        for round in 0..4 {
            for producer in 0..1000 {
                submitted += 1;
                let mut records = vec![put(round * 1000 + producer, 1024)];
                if producer % 2 > 0 {
                    // That makes it nothing that must be stored.
                    let (one, attempts) = (QueuePosition::from_bits(1), Attempts::default());
                    records.push(Record::Attempted(queue(0), one, attempts));
                }
                store.write(0, [RecordBatch::awaited(WriteId(submitted), records)]);
                most = most.max(store.in_flight_bytes(0));
            }
        }
        submitted += 1;
        store.write(0, [RecordBatch::awaited(WriteId(submitted), vec![remove(1)])]);
        disk.stall(false);
        store.close();
        writer.join().unwrap().unwrap();
    });
    assert!(most < BOUND + 2048, "{most} bytes");
    let told = told.lock().unwrap();
    assert_eq!(told.len() as u64, submitted, "one reply for each");
    let refused = told.values().filter(|refusal| **refusal == Some(WriteRefusal::InFlight));
    assert!(refused.count() > 3000, "most of them");
    assert_eq!(told.last_key_value(), Some((&submitted, &None)), "a removal never");
    assert_eq!(store.in_flight_bytes(0), 0);
}

/// If `begin_segment` never uses the reserve, or the checkpoint has none, the removals are refused,
/// or make no room.
#[test]
fn a_full_disk_refuses_messages_and_takes_removals_which_make_room() {
    let disk = SimulatedDisk::default();
    let mut log = open(&disk, 1).unwrap();
    let stored = fill(&disk, &mut log, 1);
    assert!(stored.len() > 50, "{} messages in 80 KiB", stored.len());
    for &id in &stored {
        commit(&mut log, &[remove(id)]);
        while log.maintain().unwrap() {}
    }
    commit(&mut log, &[put(5000, 700)]);
    let log = open(&disk.after_kill(), 2).unwrap();
    assert_eq!(contents(&log).unwrap().queues.len(), 1);
}

/// Without `Log::room_kept_from`, batches that add more than they take away leave nothing of the
/// reserve for those that make room, and these wait for ever.
#[test]
fn what_makes_room_has_the_last_of_a_full_disk() {
    let disk = SimulatedDisk::default();
    let mut log = open(&disk, 1).unwrap();
    let stored = fill(&disk, &mut log, 1);
    // As a dead letter is moved, again and again.
    let mut moved = stored[0];
    for id in 1000..2000 {
        let records = [put(id, 10), remove(moved)];
        let outcomes = log.commit(&[(0, &records)], &BTreeSet::new()).unwrap();
        while log.maintain().unwrap() {}
        match outcomes[..] {
            [Some(Ok(()))] => moved = id,
            [None] => break,
            ref other => panic!("{other:?}"),
        }
    }
    assert!((1000..1999).contains(&moved), "it was moved until there was no room");
    // The first of these empty no segment, and the last of each does.
    let (first, rest): (Vec<_>, Vec<_>) = (1..).zip(&stored[1..]).partition(|(n, _)| n % 4 == 0);
    for (_, id) in first.iter().take(8).chain(&rest).chain(first.iter().skip(8)) {
        commit(&mut log, &[remove(**id)]);
        while log.maintain().unwrap() {}
    }
    commit(&mut log, &[remove(moved)]);
    assert!(contents(&log).unwrap().queues.is_empty());
}

/// If `Log::commit` ends at a batch for which there is no room, the removals wait with it.
#[test]
fn removals_are_written_while_another_batch_waits_for_room() {
    let disk = SimulatedDisk::default();
    let mut log = open(&disk, 1).unwrap();
    let stored = fill(&disk, &mut log, 1);
    let large = [put(1000, 20_000), remove(stored[0])];
    let removals: Vec<_> = stored.iter().skip(1).map(|&id| [remove(id)]).collect();
    let mut group: Vec<(u16, &[Record])> = vec![(0, &large), (0, &large)];
    group.extend((0..).zip(&removals).map(|(n, removal)| (n % 2, &removal[..])));
    let added = [put(2000, 10)];
    group.push((1, &added));
    let outcomes = log.commit(&group, &BTreeSet::new()).unwrap();
    let (waiting, others) = outcomes.split_at(2);
    assert_eq!(waiting, [None, None]);
    let (added, removed) = others.split_last().unwrap();
    assert_eq!(*added, Some(Err(WriteRefusal::DiskFull)), "behind one that waits");
    assert!(removed.iter().all(|outcome| *outcome == Some(Ok(()))), "{removed:?}");
    while log.maintain().unwrap() {}
    let log = open(&disk.after_kill(), 2).unwrap();
    assert_eq!(contents(&log).unwrap().queues.len(), 1);
}

/// If the writer puts what waits for room before what comes later, the other core is not told; if it
/// tells what is stored at once, the core with the batch that waits is told out of order.
#[test]
fn a_core_is_told_in_order_and_waits_for_no_other_while_the_disk_is_full() {
    let disk = SimulatedDisk::default();
    let mut log = open(&disk, 1).unwrap();
    let stored = fill(&disk, &mut log, 1);
    drop(log);
    disk.set_capacity(Some(disk.used()));
    let opened = crate::open(Arc::new(disk.clone()), Options { cores: 2, ..options(2) }).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let (store, writer) = opened.start(ToldInOrder(Arc::clone(&told)));
    let is_told = |write: (u16, u64)| told.lock().unwrap().contains(&write);
    thread::scope(|scope| {
        let writer = scope.spawn(|| writer.run());
        store.write(
            0,
            [RecordBatch::awaited(WriteId(1), vec![put(1000, 40_000), remove(stored[0])])],
        );
        store.write(0, [RecordBatch::awaited(WriteId(2), vec![remove(stored[1])])]);
        for (write, &id) in (1..).zip(&stored[2..12]) {
            store.write(1, [RecordBatch::awaited(WriteId(write), vec![remove(id)])]);
            until(|| is_told((1, write)));
        }
        assert!(!is_told((0, 1)) && !is_told((0, 2)));
        disk.set_capacity(None);
        until(|| is_told((0, 2)));
        assert_eq!(store.in_flight_bytes(0), 0);
        store.close();
        writer.join().unwrap().unwrap();
    });
}

#[expect(clippy::disallowed_methods, reason = "what another thread does is waited for")]
fn until(is_so: impl Fn() -> bool) {
    for _ in 0..2000 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("it never is");
}

/// The batches of each core that were told, each once and in order.
#[derive(Debug)]
struct ToldInOrder(Arc<Mutex<Vec<(u16, u64)>>>);

impl Completions for ToldInOrder {
    fn stored(&mut self, core: u16, upto: WriteId) {
        let mut told = self.0.lock().unwrap();
        let last = told.iter().rev().find(|(other, _)| *other == core).map_or(0, |&(_, last)| last);
        assert!(upto.0 > last, "core {core}: {} after {last}", upto.0);
        told.extend((last + 1..=upto.0).map(|write| (core, write)));
    }

    fn refused(&mut self, core: u16, write: WriteId, refusal: WriteRefusal) {
        panic!("core {core}, {write:?}: {refusal}");
    }
}

#[test]
fn sparse_segments_are_emptied_and_removed() {
    let disk = SimulatedDisk::default();
    let mut log = open(&disk, 1).unwrap();
    for id in 0..200 {
        commit(&mut log, &[put(id, 400)]);
    }
    let full = disk.used();
    for id in (0..200).filter(|id| id % 10 > 0) {
        commit(&mut log, &[remove(id)]);
    }
    while log.maintain().unwrap() {}
    assert!(disk.used() < full / 3, "{} of {full} bytes", disk.used());
    let expected = contents(&log).unwrap();
    assert_eq!(expected.queues.len(), 20);
    let log = open(&disk.after_kill(), 2).unwrap();
    assert_eq!(contents(&log).unwrap().queues, expected.queues);
}

#[test]
fn a_file_that_is_gone_is_named() {
    let disk = SimulatedDisk::default();
    let mut log = open(&disk, 1).unwrap();
    let mut expected = Model::default();
    for id in 0..20 {
        let records = [put(id, 1000)];
        commit(&mut log, &records);
        expected.apply(0, &records);
    }
    assert_eq!(contents(&log).unwrap().queues, expected.queues);
    for name in ["checkpoint", "log-0000000001", "log-0000000002"] {
        let disk = disk.after_kill();
        disk.remove(name).unwrap();
        let error = open(&disk, 2).unwrap_err();
        assert!(matches!(&error, StoreError::Missing { file } if file == name), "{error}");
    }
}

/// Without the bindings in `Index::pending`, a checkpoint forgets them.
#[test]
fn durable_subscriptions_are_kept_until_they_are_unbound() {
    let mut disk = SimulatedDisk::default();
    let mut log = open(&disk, 1).unwrap();
    let name =
        |name| QueueId::of_subscription(&DurableName::new(Some("ann"), "client", name).unwrap());
    let terms = |pattern| Terms {
        pattern: Pattern::parse(pattern).unwrap(),
        selector: Some(Arc::new(Selector::parse("a = 1", Strings::Coerced).unwrap())),
        is_shared: true,
        no_local: false,
    };
    let bind = |one, pattern| Record::Bind(name(one), Arc::new(terms(pattern)));
    let at = QueuePosition::from_bits(7);
    let put = Record::Put(name("a"), at, message(7, 10));
    commit(&mut log, &[bind("a", "/topic/a"), bind("b", "/topic/b"), put]);
    commit(&mut log, &[bind("b", "/topic/>")]);
    for (round, writes_checkpoint) in [(2, false), (3, true), (4, false)] {
        disk = disk.after_kill();
        log = open(&disk, round).unwrap();
        let bindings = crate::log::lock(&log.index).bindings.clone();
        let found: Vec<_> = bindings.iter().map(|(queue, terms)| (queue, &**terms)).collect();
        let (a, b) = (name("a"), name("b"));
        assert_eq!(found, [(&a, &terms("/topic/a")), (&b, &terms("/topic/>"))]);
        assert_eq!(contents(&log).unwrap().queues.len(), 1);
        assert!(!writes_checkpoint || log.write_checkpoint().unwrap());
    }
    let removed = Record::Remove(name("a"), at);
    commit(&mut log, &[removed, Record::Unbind(name("a")), Record::Unbind(name("b"))]);
    let log = open(&disk.after_kill(), 5).unwrap();
    assert!(crate::log::lock(&log.index).bindings.is_empty());
}

/// Without the times in the index, or in the checkpoint, a start would have to read the bodies.
#[test]
fn a_start_knows_what_queues_work_by_without_the_bodies() {
    let disk = SimulatedDisk::default();
    let mut log = open(&disk, 1).unwrap();
    let mut message = Message::clone(&message(1, 10));
    message.header.arrived_unix_ms = 1000;
    message.header.delay_ms = 200;
    message.header.expires_unix_ms = Some(5000);
    let mut grouped = Message::clone(&message);
    grouped.header = Header { group: Some(Group::new("a", Some("-1"))), ..Header::new(1) };
    let grouped = Record::Put(queue(0), QueuePosition::from_bits(3), Arc::new(grouped));
    let timed = Record::Put(queue(0), QueuePosition::from_bits(1), Arc::new(message));
    commit(&mut log, &[timed, put(2, 10), grouped]);
    for count in [1, 2] {
        let attempts = Attempts { count, last_unix_ms: 9 };
        commit(&mut log, &[Record::Attempted(queue(0), QueuePosition::from_bits(2), attempts)]);
    }
    let known = |salt| {
        let opened = crate::open(Arc::new(disk.after_kill()), options(salt)).unwrap();
        let known = |stored: &StoredMessage| {
            (stored.due_unix_ms, stored.expires_unix_ms, stored.group, stored.attempts)
        };
        let queues = opened.queues().into_iter().flat_map(|queue| opened.messages(&queue));
        queues.map(|stored| known(&stored)).collect::<Vec<_>>()
    };
    let group = Some(Group::new("a", Some("-1")));
    let (none, attempts) = (Attempts::default(), Attempts { count: 2, last_unix_ms: 9 });
    let expected = [
        (Some(1200), Some(5000), None, none),
        (None, None, None, attempts),
        (None, None, group, none),
    ];
    assert_eq!(known(2), expected, "of the log");
    log.close().unwrap();
    assert_eq!(known(3), expected, "of the checkpoint");
}

fn commit(log: &mut Log, records: &[Record]) {
    let outcomes = log.commit(&[(0, records)], &BTreeSet::new()).unwrap();
    assert_eq!(outcomes, [Some(Ok(()))]);
}

fn put(id: u64, bytes: usize) -> Record {
    let message: Arc<Message> = message(id, bytes);
    Record::Put(queue(0), QueuePosition::from_bits(id), message)
}

fn remove(id: u64) -> Record {
    Record::Remove(queue(0), QueuePosition::from_bits(id))
}

/// What was told of each batch.
#[derive(Debug)]
struct Told(Arc<Mutex<BTreeMap<u64, Option<WriteRefusal>>>>);

impl Completions for Told {
    fn stored(&mut self, _core: u16, upto: WriteId) {
        let mut told = self.0.lock().unwrap();
        let first = told.last_key_value().map_or(1, |(last, _)| last + 1);
        told.extend((first..=upto.0).map(|write| (write, None)));
    }

    fn refused(&mut self, _core: u16, write: WriteId, refusal: WriteRefusal) {
        let mut told = self.0.lock().unwrap();
        assert_eq!(told.last_key_value().map_or(1, |(last, _)| last + 1), write.0, "in order");
        told.insert(write.0, Some(refusal));
    }
}
