use std::{sync::Arc, thread};

use broker::{Record, RecordBatch, WriteId};
use contract::{Group, Message};
use store::{Folder, Options};

use crate::{Ignored, folder, put};

#[test]
fn a_message_on_disk_takes_at_most_100_bytes_of_memory() {
    let each = bytes_of_each("memory", |record| record);
    assert!((16..=100).contains(&each), "{each} bytes");
}

#[test]
fn one_with_all_that_a_message_can_have_takes_no_more() {
    let each = bytes_of_each("memory-all", |record| {
        let Record::Put(queue, position, message) = record else { panic!("{record:?}") };
        let mut message = Message::clone(&message);
        message.header.expires_unix_ms = Some(u64::MAX - 1);
        message.header.delay_ms = 1;
        message.header.group = Some(Group::new("a group", None));
        Record::Put(queue, position, Arc::new(message))
    });
    assert!((16..=100).contains(&each), "{each} bytes");
}

fn bytes_of_each(name: &str, change: impl Fn(Record) -> Record) -> isize {
    const MESSAGES: u64 = 100_000;
    let path = folder(name);
    let open = || store::open(Arc::new(Folder::open(&path).unwrap()), Options::new(1, 1)).unwrap();
    let (store, writer) = open().start(Ignored);
    thread::scope(|scope| {
        let writer = scope.spawn(|| writer.run());
        for write in 0..MESSAGES / 100 {
            let records = (0..100).map(|n| change(put(write * 100 + n, "a body")));
            store.write(0, [RecordBatch::awaited(WriteId(write + 1), records.collect())]);
        }
        store.close();
        writer.join().unwrap().unwrap();
    });
    drop(store);
    let before = testkit::live_bytes();
    let opened = open();
    let each = (testkit::live_bytes() - before) / isize::try_from(MESSAGES).unwrap();
    drop(opened);
    each
}
