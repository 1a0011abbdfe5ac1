//! What the records of a log contain: a start reads it or says where it cannot, and what it read is
//! the same at the next start.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use store::{Opened, Options, disk_of_records, files::SimulatedDisk};

fuzz_target!(|data: &[u8]| {
    let disk = disk_of_records(data);
    store::dump(&disk, |_line| {}).expect("a folder that can be listed");
    let Ok(opened) = open(&disk) else { return };
    let before = contents(&opened);
    drop(opened);
    let again = open(&disk).expect("it was open before");
    assert_eq!(before, contents(&again));
});

fn open(disk: &SimulatedDisk) -> Result<Opened, store::StoreError> {
    let mut options = Options::new(1, 1);
    options.segment_bytes = 64 << 10;
    store::open(Arc::new(disk.clone()), options)
}

fn contents(opened: &Opened) -> Vec<String> {
    let stored = opened.queues().into_iter().flat_map(|queue| {
        let stored = opened.messages(&queue).into_iter();
        stored.map(move |stored| (queue.clone(), stored))
    });
    let shown = stored.map(|(queue, stored)| {
        let message = opened.reader().read(stored.body).ok();
        format!("{queue:?} {stored:?} {message:?}")
    });
    shown.collect()
}
