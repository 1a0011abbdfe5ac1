use std::{
    sync::{Arc, mpsc},
    thread,
};

use broker::{RecordBatch, WriteId};
use store::{Folder, Options};

use crate::{Told, folder, put};

/// If every batch is written at once, there is a sync for each.
#[test]
fn what_is_not_awaited_is_synced_with_what_is() {
    const ROUNDS: u64 = 100;
    let path = folder("unawaited");
    let opened = store::open(Arc::new(Folder::open(&path).unwrap()), Options::new(1, 1)).unwrap();
    let (told, stored) = mpsc::channel();
    let (store, writer) = opened.start(Told(told));
    thread::scope(|scope| {
        let writer = scope.spawn(|| writer.run());
        let syncs = store.stats().syncs;
        for round in 0..ROUNDS {
            let (first, second) = (WriteId(2 * round + 1), WriteId(2 * round + 2));
            let records = vec![put(first.0, "a body")];
            store.write(
                0,
                [RecordBatch { is_awaited: false, ..RecordBatch::awaited(first, records) }],
            );
            store.write(0, [RecordBatch::awaited(second, vec![put(second.0, "a body")])]);
            while stored.recv().unwrap() != second {}
        }
        let syncs = store.stats().syncs - syncs;
        assert!(syncs < ROUNDS + ROUNDS / 2, "{syncs} syncs");
        // By itself it is stored too.
        let last = WriteId(2 * ROUNDS + 1);
        let records = vec![put(last.0, "a body")];
        store.write(0, [RecordBatch { is_awaited: false, ..RecordBatch::awaited(last, records) }]);
        assert_eq!(stored.recv().unwrap(), last);
        store.close();
        writer.join().unwrap().unwrap();
    });
}
