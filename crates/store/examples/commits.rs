//! How fast a store commits, against the bare system calls, on the disk of a folder.
//!
//! `cargo run --release -p store --example commits -- FOLDER [MESSAGES]`
//!
//! Rows: 1, 32 and 128 producers of 1 KiB, each of which waits for its message to be stored before it
//! sends the next; beside each, one thread that writes and syncs 1 KiB again and again, in the same
//! second. With MESSAGES: as many are written, and then how long a start takes.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "measures, and shows it")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what cannot be measured ends")]

use std::{
    env, fs,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use broker::{QueueId, QueuePosition, Record, RecordBatch, WriteId};
use contract::{Body, Destination, Message};
use store::{Completions, Folder, Options, WriteRefusal};

fn main() {
    let mut arguments = env::args().skip(1);
    let folder = arguments.next().expect("a folder");
    let folder = Path::new(&folder);
    for producers in [1, 32, 128] {
        let rounds: Vec<_> = (0..3).map(|_| (bare(folder), commits(folder, producers))).collect();
        for (bare, commits) in rounds {
            let ratio = commits / bare;
            println!("{producers:>3} producers: {commits:>7.0}/s, bare {bare:>6.0}/s, {ratio:.2}x");
        }
    }
    if let Some(messages) = arguments.next() {
        start(folder, messages.parse().unwrap());
    }
}

/// Writes and syncs, a second: overwriting a file that is allocated.
fn bare(folder: &Path) -> f64 {
    fs::create_dir_all(folder).unwrap();
    let path = folder.join("bare");
    let file = fs::File::create(&path).unwrap();
    file.write_all_at(&vec![0; 16 << 20], 0).unwrap();
    file.sync_all().unwrap();
    let (start, mut count) = (Instant::now(), 0_u32);
    while start.elapsed() < ROUND {
        file.write_all_at(&[1; 1024], u64::from(count) % (16 << 10) * 1024).unwrap();
        file.sync_data().unwrap();
        count += 1;
    }
    fs::remove_file(path).unwrap();
    f64::from(count) / start.elapsed().as_secs_f64()
}

/// Messages stored, a second.
fn commits(folder: &Path, producers: u16) -> f64 {
    let path = folder.join("store");
    let (told, waits): (Vec<_>, Vec<_>) = (0..producers).map(|_| sync_channel(1)).unzip();
    let opened = open(&path, producers);
    let (store, writer) = opened.start(Told(told));
    let start = Instant::now();
    let count: u32 = thread::scope(|scope| {
        let writer = scope.spawn(|| writer.run());
        let producers = (0..).zip(waits).map(|(core, wait)| {
            let store = store.clone();
            scope.spawn(move || produce(&store, core, &wait, start))
        });
        let producers: Vec<_> = producers.collect();
        let count = producers.into_iter().map(|producer| producer.join().unwrap()).sum();
        store.close();
        writer.join().unwrap().unwrap();
        count
    });
    fs::remove_dir_all(path).unwrap();
    f64::from(count) / ROUND.as_secs_f64()
}

fn produce(store: &store::Store, core: u16, stored: &Receiver<()>, start: Instant) -> u32 {
    let mut count = 0;
    while start.elapsed() < ROUND {
        count += 1;
        let write = u64::from(count);
        store.write(
            core,
            [RecordBatch::awaited(WriteId(write), vec![put(u64::from(core) << 32 | write)])],
        );
        stored.recv().unwrap();
    }
    count
}

fn start(folder: &Path, messages: u64) {
    let path = folder.join("store");
    let (told, stored) = sync_channel(1);
    let (store, writer) = open(&path, 1).start(Told(vec![told]));
    let begin = Instant::now();
    thread::scope(|scope| {
        let writer = scope.spawn(|| writer.run());
        for write in 0..messages / BATCH {
            let records = (0..BATCH).map(|n| put(write * BATCH + n)).collect();
            store.write(0, [RecordBatch::awaited(WriteId(write + 1), records)]);
            stored.recv().unwrap();
        }
        println!("{messages} messages of 1 KiB written in {:.1?}", begin.elapsed());
        store.close();
        writer.join().unwrap().unwrap();
    });
    drop(store);
    for _ in 0..3 {
        let begin = Instant::now();
        let opened = open(&path, 1);
        let opened_after = begin.elapsed();
        let queue = &opened.queues()[0];
        let first = opened.messages(queue)[0].body;
        opened.reader().read(first).unwrap().unwrap();
        println!("opened in {opened_after:.1?}, first message read after {:.1?}", begin.elapsed());
    }
    fs::remove_dir_all(path).unwrap();
}

fn open(path: &Path, cores: u16) -> store::Opened {
    store::open(Arc::new(Folder::open(path).unwrap()), Options::new(cores, 1)).unwrap()
}

fn put(id: u64) -> Record {
    let to = Destination::parse("/queue/orders").unwrap();
    let queue = QueueId::of(&to).unwrap();
    let message = Message::new(to, id.into(), id, Body::Binary(vec![7; 1024].into()));
    Record::Put(queue, QueuePosition::from_bits(id), Arc::new(message))
}

struct Told(Vec<SyncSender<()>>);

impl Completions for Told {
    fn stored(&mut self, core: u16, _upto: WriteId) {
        self.0[usize::from(core)].send(()).ok();
    }

    fn refused(&mut self, _core: u16, write: WriteId, refusal: WriteRefusal) {
        panic!("{write:?}: {refusal}");
    }
}

const ROUND: Duration = Duration::from_secs(2);
const BATCH: u64 = 1000;
