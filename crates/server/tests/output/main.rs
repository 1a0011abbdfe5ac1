//! The gateway when what it says is not read: closed, full, broken and unread outputs.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

mod support;

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _, pipe},
    process::{Command, Stdio},
};

use self::support::{Gateway, Output, passerelle, reap};

const OUTPUTS: [Output; 6] = [
    Output::Closed,
    Output::Full,
    Output::ReadOnly,
    Output::ReaderGone,
    Output::Unread,
    Output::UnreadNonBlocking,
];

#[test]
fn no_log_output_stops_a_gateway() {
    for output in OUTPUTS.into_iter().chain([Output::LargestFile]) {
        let (stderr, _reader) = output.open();
        let mut gateway = Gateway::start("info", output.redirect("2"), Stdio::null(), stderr);
        let mut first = gateway.connect();
        // Some 100 KiB of log.
        for _ in 0..400 {
            gateway.connect().echo(b"hello");
        }
        gateway.hang_up();
        first.echo(b"still there");
        assert_eq!(
            gateway.lines_dropped() > 0,
            matches!(
                output,
                Output::Full | Output::ReadOnly | Output::LargestFile | Output::ReaderGone
            ),
            "{output:?}"
        );
        gateway.terminate();
        assert_eq!(gateway.exit_code(), Some(0), "{output:?}");
    }
}

#[test]
fn an_unread_standard_output_stops_nothing() {
    for output in OUTPUTS.into_iter().chain([Output::LargestFile]) {
        let (stdout, _reader) = output.open();
        let mut gateway = Gateway::start("info", output.redirect("1"), stdout, Stdio::null());
        gateway.connect().echo(b"hello");
        gateway.terminate();
        assert_eq!(gateway.exit_code(), Some(0), "{output:?}");
    }
}

#[test]
fn a_reader_that_comes_back_sees_that_lines_are_missing() {
    for (output, level, notice) in [
        (
            Output::Unread,
            "format = \"json\"\nlevel = \"trace\"",
            "\"message\":\"log lines were lost here",
        ),
        (Output::UnreadNonBlocking, "level = \"trace\"", " WARN log lines were lost here"),
    ] {
        let (stderr, reader) = output.open();
        let mut gateway = Gateway::start_with_log(level, Stdio::null(), stderr);
        let mut first = gateway.connect();
        let before = gateway.memory();
        let mut rounds = 0;
        while gateway.lines_dropped() < 100_000 {
            gateway.connect().echo(&[b'x'; 1000]);
            rounds += 1;
            assert!(rounds < 100_000, "nothing is dropped");
        }
        let grown = gateway.memory().saturating_sub(before);
        assert!(grown < 16 << 20, "{grown} bytes more");
        first.echo(b"still there");
        let mut reader = reader.unwrap();
        let mut text = Vec::new();
        let mut piece = [0; 64 << 10];
        while !String::from_utf8_lossy(&text).contains(notice) {
            let len = reader.read(&mut piece).unwrap();
            assert!(len > 0, "{}", String::from_utf8_lossy(&text));
            // What the notice may straddle is enough.
            text.drain(..text.len().saturating_sub(1000));
            text.extend_from_slice(&piece[..len]);
        }
        // It is read from here on, so that its last lines arrive.
        gateway.terminate();
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert!(rest.contains("listeners closed"), "{rest}");
        assert_eq!(gateway.exit_code(), Some(0), "{output:?}");
    }
}

#[test]
fn a_hangup_is_logged_without_certificates_too() {
    let (reader, writer) = pipe().unwrap();
    let gateway = Gateway::start("info", "", Stdio::null(), writer.into());
    gateway.hang_up();
    let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
    let said = lines.find(|line| line.contains("users and access rules reloaded")).unwrap();
    assert!(said.contains("users=0 rules=0"), "{said}");
    assert!(lines.any(|line| line.contains("reload ended")));
}

#[test]
fn what_cannot_start_says_so_or_ends_anyway() {
    for output in OUTPUTS {
        for (arguments, code) in [
            (&["check", "--config", "/none"][..], 1),
            (&["serve", "--config", "/none"], 1),
            (&["--nonsense"], 2),
            (&["password"], 1),
        ] {
            let (stderr, _reader) = output.open();
            let mut child = passerelle(arguments, output.redirect("2"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(stderr)
                .spawn()
                .unwrap();
            assert_eq!(reap(&mut child), Some(code), "{output:?}, {arguments:?}");
        }
    }
}

#[test]
fn a_reader_may_have_read_enough() {
    for arguments in [&["check"][..], &["--help"], &["--version"], &["check", "--help"]] {
        let (stdout, _) = Output::ReaderGone.open();
        let output =
            passerelle(arguments, "").stdout(stdout).stderr(Stdio::piped()).output().unwrap();
        assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]), "{arguments:?}");

        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = passerelle(arguments, "").stdout(full).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let start = "passerelle: the standard output cannot be written: No space left";
        assert!(said.starts_with(start), "{arguments:?}: {said}");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    }
}

#[test]
fn what_is_read_late_is_whole() {
    let (mut reader, writer) = pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    let mut filled = 0;
    while let Ok(more) = (&writer).write(&[b'x'; 4096]) {
        filled += more;
    }
    let expected = Command::new(env!("CARGO_BIN_EXE_passerelle")).arg("check").output().unwrap();
    let mut child = passerelle(&["check"], "").stdout(writer).spawn().unwrap();
    let mut text = Vec::new();
    reader.read_to_end(&mut text).unwrap();
    assert_eq!(
        text[filled..].escape_ascii().to_string(),
        expected.stdout.escape_ascii().to_string()
    );
    assert_eq!(reap(&mut child), Some(0));
}
