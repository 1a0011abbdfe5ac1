use std::{process, sync::Arc, sync::mpsc, thread};

use broker::{QueuePosition, Record, RecordBatch, WriteId};
use store::{Folder, Options, StoreError};

use crate::{Told, folder, put, queue};

#[test]
fn what_several_cores_write_is_there_at_the_next_start() {
    let path = folder("cores");
    let open = || store::open(Arc::new(Folder::open(&path).unwrap()), Options::new(2, 1)).unwrap();
    let opened = open();
    assert!(opened.queues().is_empty());
    let (told, stored) = mpsc::channel();
    let (store, writer) = opened.start(Told(told));
    thread::scope(|scope| {
        let writer = scope.spawn(|| writer.run());
        for core in 0..2_u16 {
            let store = store.clone();
            scope.spawn(move || {
                for write in 1..=100 {
                    let id = u64::from(core) * 1000 + write;
                    store.write(
                        core,
                        [RecordBatch::awaited(
                            WriteId(write),
                            vec![put(id, &format!("body {id}"))],
                        )],
                    );
                }
            });
        }
        let mut left = 2;
        while left > 0 {
            left -= usize::from(stored.recv().unwrap() == WriteId(100));
        }
        let position = QueuePosition::from_bits(1001);
        store.write(
            1,
            [RecordBatch::awaited(WriteId(101), vec![Record::Remove(queue(), position)])],
        );
        while stored.recv().unwrap() != WriteId(101) {}
        // Each is told of when it is there; what follows is only to be quick.
        store.close();
        writer.join().unwrap().unwrap();
    });
    drop(store);
    let opened = open();
    let messages = opened.messages(&queue());
    let expected = (1..=100).chain(1002..=1100).map(QueuePosition::from_bits);
    assert!(messages.iter().map(|stored| stored.position).eq(expected));
    for stored in messages {
        let message = opened.reader().read(stored.body).unwrap().unwrap();
        let expected = format!("body {}", stored.position.bits());
        assert_eq!(message.body().bytes(), expected.as_bytes());
    }
}

#[test]
fn the_process_that_has_a_store_open_is_named() {
    let path = folder("locked");
    let first = Folder::open(&path).unwrap();
    let Err(StoreError::Locked { folder, process, program }) = Folder::open(&path) else {
        panic!("open twice");
    };
    assert_eq!((folder, process), (path.display().to_string(), process::id()));
    assert!(!program.is_empty());
    drop(first);
    Folder::open(&path).unwrap();
}
