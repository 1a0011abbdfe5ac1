//! `passerelle check` and `passerelle password`, as an operator runs them.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use config::{Config, describe};
use contract::Secret;
use passerelle::{available::Available, configuration};

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
    let config = configuration::load(&path).unwrap();
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
