//! A panic is logged even when the log is not read, and ends what it would end without a log.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    env,
    fs::File,
    io::{Write as _, pipe},
    process::{Command, ExitCode, Stdio},
    thread,
};

use logging::Format;

fn main() -> ExitCode {
    // The processes of the test are this one again.
    match env::args().nth(1).as_deref() {
        Some("panic-early") => panic_on_a_thread(None),
        Some("panic-text") => panic_on_a_thread(Some(Format::Text)),
        Some("panic-json") => panic_on_a_thread(Some(Format::Json)),
        Some(_) | None => {
            a_panic_is_a_line();
            a_panic_does_not_wait_for_the_log();
            ExitCode::SUCCESS
        }
    }
}

fn a_panic_is_a_line() {
    for (form, expected) in [
        ("panic-early", "thread 'core-0' panicked at "),
        ("panic-text", "thread 'core-0' panicked at "),
        ("panic-json", r#""message":"panicked: out of order","thread":"core-0","at":"#),
    ] {
        let output = Command::new(env::current_exe().unwrap()).arg(form).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(expected) && said.contains("out of order"), "{form}: {said}");
        assert_eq!(output.status.code(), Some(7), "{form}");
    }
}

fn a_panic_does_not_wait_for_the_log() {
    let (_reader, writer) = pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while (&writer).write(&[b'\n'; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    for stderr in [Stdio::from(writer), full.into(), pipe().unwrap().1.into()] {
        let mut command = Command::new(env::current_exe().unwrap());
        let status = command.arg("panic-text").stderr(stderr).status().unwrap();
        assert_eq!(status.code(), Some(7));
    }
}

/// Ends with 7 when the panic unwound as far as its thread.
fn panic_on_a_thread(format: Option<Format>) -> ExitCode {
    logging::log_panics();
    thread::Builder::new().spawn(logging::run).unwrap();
    if let Some(format) = format {
        logging::init("info", format);
    }
    let core = thread::Builder::new().name("core-0".to_owned());
    let ended = core.spawn(|| panic!("out of {}", "order")).unwrap().join();
    logging::flush();
    ExitCode::from(if ended.is_err() { 7 } else { 1 })
}
