//! `passerelle check`, `passerelle password` and `passerelle store`, as an operator runs them.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
};

use broker::{QueueId, QueuePosition, Record, RecordBatch, WriteId};
use config::{Config, describe};
use contract::{Body, Destination, Message, Secret};
use passerelle::{available::Available, configuration::Source};
use store::{Completions, Folder, Options, WriteRefusal};

fn passerelle(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_passerelle"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

fn file(name: &str, content: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, content).unwrap();
    path
}

#[test]
fn check_says_what_it_will_do() {
    let output = passerelle(&["check"], "");
    let mut config = Config::default();
    Available::of_process().complete(&mut config);
    assert_eq!(text(&output.stdout).trim_end(), describe(&config).trim_end());
    assert!(text(&output.stdout).contains("[memory] inbound-bytes-max = \""));
    assert!(output.status.success());
}

#[test]
fn check_refuses_with_the_place_and_what_to_do() {
    let path = file("refused.toml", "[log]\nlvel = \"info\"\n");
    let path = path.to_str().unwrap();
    let output = passerelle(&["check", "--config", path], "");
    let expected =
        format!("passerelle: {path}:2:1: unknown key `lvel` in [log]: did you mean `level`?\n");
    assert_eq!(text(&output.stderr), expected);
    assert_eq!((output.status.code(), &*output.stdout), (Some(1), &b""[..]));
}

#[test]
fn what_password_prints_can_be_pasted() {
    let output = passerelle(&["password"], "correct horse\r\n");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let line = text(&output.stdout);
    assert_eq!(line.lines().count(), 1);
    let path = file("pasted.toml", &format!("[[user]]\nname = \"ann\"\n{line}"));
    let config = Source { file: Some(path), listen: None }.load().unwrap();
    let password = config.users.get("ann").unwrap().password();
    assert!(password.verify(&Secret::new("correct horse")));
    assert!(!password.verify(&Secret::new("correct horse\r")));
}

#[test]
fn a_password_may_be_long_but_not_without_end() {
    for (input, fits) in [
        ("x".repeat(1024), true),
        (format!("{}\r\n", "ä".repeat(512)), true),
        ("x".repeat(1025), false),
        (format!("{}\r\n", "x".repeat(1025)), false),
        (format!("{}x", "ä".repeat(600)), false),
    ] {
        let output = passerelle(&["password"], &input);
        let refused = "passerelle: the password has more than 1024 bytes\n";
        assert_eq!(text(&output.stderr), if fits { "" } else { refused });
        assert_eq!(output.status.success(), fits);
    }
    let endless = std::fs::File::open("/dev/zero").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_passerelle"));
    let output = command.arg("password").stdin(endless).output().unwrap();
    assert_eq!(text(&output.stderr), "passerelle: the password has more than 1024 bytes\n");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn an_empty_password_is_refused() {
    let output = passerelle(&["password"], "\n");
    assert_eq!(text(&output.stderr), "passerelle: the password is empty: pipe it in, or type it\n");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_store_is_checked_shown_and_compacted() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("command-line-store");
    if path.exists() {
        std::fs::remove_dir_all(&path).unwrap();
    }
    let shown = path.to_str().unwrap();
    let output = passerelle(&["store", "check", shown], "");
    assert_eq!(text(&output.stderr), format!("passerelle: there is no store in {shown}\n"));
    write_store(&path);
    let output = passerelle(&["store", "check", shown], "");
    assert!(text(&output.stdout).starts_with("1 messages in 1 queues, "), "{output:?}");
    assert!(output.status.success());
    let output = passerelle(&["store", "dump", shown], "");
    assert!(
        text(&output.stdout).contains("body 1: to /queue/orders, id 7, 4 bytes\n"),
        "{output:?}"
    );
    let locked = Folder::open(&path).unwrap();
    let output = passerelle(&["store", "compact", shown], "");
    let expected = format!("the store in {shown} is used by process {} (", std::process::id());
    assert!(text(&output.stderr).contains(&expected), "{output:?}");
    drop(locked);
    let output = passerelle(&["store", "compact", shown], "");
    assert!(text(&output.stdout).contains("\nafter:  1 messages in 1 queues, "), "{output:?}");
    damage(&path);
    let output = passerelle(&["store", "check", shown], "");
    assert!(text(&output.stdout).contains(" is damaged at byte "), "{output:?}");
    assert_eq!(text(&output.stderr), "passerelle: 1 messages cannot be read\n");
    assert_eq!(output.status.code(), Some(1));
}

/// A store with a message.
fn write_store(path: &Path) {
    let folder = Arc::new(Folder::open(path).unwrap());
    let (store, writer) = store::open(folder, Options::new(1, 1)).unwrap().start(Ignored);
    let to = Destination::parse("/queue/orders").unwrap();
    let queue = QueueId::of(&to).unwrap();
    let message = Message::new(to, 7, 0, Body::Text("body".into()));
    let put = Record::Put(queue, QueuePosition::from_bits(1), Arc::new(message));
    store.write(0, [RecordBatch::awaited(WriteId(1), vec![put])]);
    store.close();
    writer.run().unwrap();
}

/// Changes a byte of its body.
fn damage(path: &Path) {
    let mut found = 0;
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        let mut content = std::fs::read(&path).unwrap();
        let is_log = path.file_name().unwrap().to_str().unwrap().starts_with("log-");
        let at = content.windows(4).position(|bytes| bytes == b"body").filter(|_| is_log);
        if let Some(at) = at {
            *content.get_mut(at).unwrap() = b'B';
            std::fs::write(path, content).unwrap();
            found += 1;
        }
    }
    assert_eq!(found, 1);
}

struct Ignored;

impl Completions for Ignored {
    fn stored(&mut self, _core: u16, _upto: WriteId) {}

    fn refused(&mut self, _core: u16, write: WriteId, refusal: WriteRefusal) {
        panic!("{write:?}: {refusal}");
    }
}
