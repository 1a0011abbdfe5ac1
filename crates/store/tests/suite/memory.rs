use std::{sync::Arc, thread};

use broker::{RecordBatch, WriteId};
use store::{Folder, Options};

use crate::{Ignored, folder, put};

#[test]
fn a_message_on_disk_takes_at_most_100_bytes_of_memory() {
    const MESSAGES: u64 = 100_000;
    let path = folder("memory");
    let open = || store::open(Arc::new(Folder::open(&path).unwrap()), Options::new(1, 1)).unwrap();
    let (store, writer) = open().start(Ignored);
    thread::scope(|scope| {
        let writer = scope.spawn(|| writer.run());
        for write in 0..MESSAGES / 100 {
            let records = (0..100).map(|n| put(write * 100 + n, "a body"));
            store.write(0, [RecordBatch::awaited(WriteId(write + 1), records.collect())]);
        }
        store.close();
        writer.join().unwrap().unwrap();
    });
    drop(store);
    let before = testkit::live_bytes();
    let opened = open();
    let each = (testkit::live_bytes() - before) / isize::try_from(MESSAGES).unwrap();
    assert!((16..=100).contains(&each), "{each} bytes");
    drop(opened);
}
