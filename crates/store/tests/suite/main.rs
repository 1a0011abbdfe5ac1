//! The store on a real file system.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod corpus;
mod folder;
mod memory;
mod writer;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
};

use broker::{QueueId, QueuePosition, Record, WriteId};
use contract::{Body, Destination, Message};
use store::{Completions, WriteRefusal};

/// Counts what the memory of the index is.
#[global_allocator]
static ALLOCATOR: testkit::Counting = testkit::Counting;

/// An empty folder of a test.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if path.exists() {
        fs::remove_dir_all(&path).unwrap();
    }
    path
}

fn queue() -> QueueId {
    QueueId::of(&Destination::parse("/queue/orders").unwrap()).unwrap()
}

fn put(id: u64, body: &str) -> Record {
    let to = queue().name().clone();
    let message = Message::new(to, id.into(), id, Body::Text(body.to_owned().into()));
    Record::Put(queue(), QueuePosition::from_bits(id), Arc::new(message))
}

/// Takes no notice.
#[derive(Debug)]
struct Ignored;

impl Completions for Ignored {
    fn stored(&mut self, _core: u16, _upto: WriteId) {}

    fn refused(&mut self, _core: u16, write: WriteId, refusal: WriteRefusal) {
        panic!("{write:?}: {refusal}");
    }
}

/// Passes on what is stored.
#[derive(Debug)]
struct Told(mpsc::Sender<WriteId>);

impl Completions for Told {
    fn stored(&mut self, _core: u16, upto: WriteId) {
        self.0.send(upto).unwrap();
    }

    fn refused(&mut self, _core: u16, write: WriteId, refusal: WriteRefusal) {
        panic!("{write:?}: {refusal}");
    }
}
