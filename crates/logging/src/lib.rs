//! The standard output and error of a process that must not stop when they are not read.
//!
//! All that goes to the standard error is a line in `Lines`, a bounded queue, and leaves it on a
//! thread of its own, which alone waits for a slow reader or a full disk. What finds the queue full
//! or cannot be written is dropped and counted. Nothing here uses `std::io::stderr`: its lock would
//! be held by a thread that hangs, and its macros panic.

mod lines;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    fmt::Write as _,
    io::{self, IsTerminal as _},
    panic::{self, PanicHookInfo},
    sync::OnceLock,
    thread,
    time::Duration,
};

use tracing_subscriber::{
    EnvFilter,
    fmt::{
        format::Writer,
        time::{FormatTime as _, SystemTime},
    },
};

use crate::lines::{Lines, write_all};

/// What goes to the standard error.
static ERRORS: Lines = Lines::new();
/// The form of a log line, once it is known.
static FORMAT: OnceLock<Format> = OnceLock::new();

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Writes lines to the standard error as they come, for ever: the work of a thread of its own.
/// Lines that came before it started wait for it.
pub fn run() {
    // Only the descriptor is used, which needs no lock.
    ERRORS.write_to(io::stderr(), notice);
}

/// Makes `tracing` log what is at least as important as `level` (a word of [`EnvFilter`]).
/// Only the first call in a process counts.
pub fn init(level: &str, format: Format) {
    if FORMAT.set(format).is_err() {
        return;
    }
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(level))
        .with_writer(|| &ERRORS)
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal());
    match format {
        Format::Text => lines.with_target(false).init(),
        Format::Json => lines.json().init(),
    }
}

/// Makes panics go to the log before they do what they do. The default would write to the standard
/// error by itself, and wait for it.
pub fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        say_panic(panic);
        flush();
    }));
}

/// Puts a line on the standard error that is for people and no part of the log.
pub fn say(line: &str) {
    ERRORS.push(format!("{line}\n").as_bytes());
}

/// Waits until all lines have been written, but not for long: the reader may be gone or asleep.
pub fn flush() {
    ERRORS.flush(FLUSH_TIMEOUT);
}

/// Lines that were dropped since the start.
#[must_use]
pub fn dropped() -> u64 {
    ERRORS.dropped()
}

/// Writes to the standard output, and waits for its reader. A reader that has read enough
/// (`| head -1`) is no error.
///
/// # Errors
/// When it cannot be written.
pub fn print(text: &str) -> io::Result<()> {
    match write_all(io::stdout(), text.as_bytes()) {
        Err(failed) if failed.error.kind() != io::ErrorKind::BrokenPipe => Err(failed.error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// As [`print()`], of any bytes; a reader that has read enough is an error of the kind
/// [`io::ErrorKind::BrokenPipe`].
///
/// # Errors
/// When it cannot be written.
pub fn write(bytes: &[u8]) -> io::Result<()> {
    write_all(io::stdout(), bytes).map_err(|failed| failed.error)
}

fn say_panic(panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let message = panic.payload_as_str().unwrap_or("a value that is no string");
    let at = panic.location().map(ToString::to_string).unwrap_or_default();
    // Only where RUST_BACKTRACE asks for it.
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace);
    if FORMAT.get() == Some(&Format::Json) {
        let backtrace = backtrace.map(tracing::field::display);
        tracing::error!(thread, at, backtrace, "panicked: {message}");
    } else {
        let mut line = format!("thread '{thread}' panicked at {at}:\n{message}");
        if let Some(backtrace) = backtrace {
            // A string takes all that is written to it.
            let _ = write!(line, "\n{backtrace}");
        }
        say(&line);
    }
}

/// The line that stands where others were lost, with their number.
fn notice(lost: u64) -> String {
    let mut time = String::new();
    // Without a time it is still true.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    match FORMAT.get().copied().unwrap_or_default() {
        Format::Text => format!("{time}  WARN {LOST} lines={lost}\n"),
        Format::Json => {
            let fields = serde_json::json!({ "message": LOST, "lines": lost });
            let line = serde_json::json!({
                "timestamp": time, "level": "WARN", "fields": fields, "target": "logging",
            });
            format!("{line}\n")
        }
    }
}

const LOST: &str =
    "log lines were lost here: they could not be written, or not as fast as they came";
/// How long the end of a process may wait for its last lines.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
