use std::{fs, path::Path, sync::Arc};

use store::{Options, StoreError, disk_of_records};

/// Whatever the records of a log contain, a start reads it or says where it cannot. `made.bin` was
/// made by a program of its own from the format as it is documented.
#[test]
fn the_corpus_is_read_or_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let data = fs::read(&path).unwrap();
        files += 1;
        for end in 0..=data.len() {
            let disk = disk_of_records(&data[..end]);
            store::dump(&disk, |_line| {}).unwrap();
            match store::open(Arc::new(disk), options()) {
                Ok(opened) => {
                    for stored in opened.queues().iter().flat_map(|queue| opened.messages(queue)) {
                        // A message, or an error that names it.
                        drop(opened.reader().read(stored.body));
                    }
                }
                Err(StoreError::Damaged { .. }) => {}
                Err(error) => panic!("{}, {end} bytes: {error}", path.display()),
            }
        }
    }
    assert!(files > 0);
}

#[test]
fn the_format_is_what_is_documented() {
    let data = include_bytes!("../../corpus/made.bin");
    let disk = disk_of_records(data);
    let findings = store::check(&disk).unwrap().unwrap();
    assert_eq!((findings.messages, findings.queues), (3, 2));
    assert!(findings.damaged.is_empty(), "{:?}", findings.damaged);
    let opened = store::open(Arc::new(disk), options()).unwrap();
    let mut shown = Vec::new();
    for queue in opened.queues() {
        for stored in opened.messages(&queue) {
            let message = opened.reader().read(stored.body).unwrap().unwrap();
            let body = String::from_utf8_lossy(message.body().bytes()).into_owned();
            let dead_letter = stored.dead_letter.map_or_else(String::new, |r| r.to_string());
            let sender = message.sender.as_ref().map_or("", |sender| sender.name());
            let position = stored.position.bits();
            let failed = stored.attempts.count;
            shown
                .push(format!("{} {position} {body} {dead_letter}{sender} {failed}", queue.name()));
        }
    }
    assert_eq!(
        shown,
        ["/queue/a 1 one rejected 0", "/queue/a 3 three ann 2", "/queue/b.c 3 three ann 0"],
        "2 was removed, 4 was prepared and not committed"
    );
}

fn options() -> Options {
    let mut options = Options::new(1, 1);
    options.segment_bytes = 64 << 10;
    options
}
