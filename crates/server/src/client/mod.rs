//! `passerelle pub` and `passerelle sub`: a STOMP client for the shell, for this gateway and for other
//! servers.
//!
//! [`target`] is where it connects and as whom, [`connection`] carries frames, over TCP or a WebSocket, with
//! TLS or without; [`publish`] and [`subscribe`] are the two commands, [`meter`] what they say of rate and
//! latency.

mod address;
mod connection;
mod json;
mod link;
mod messages;
mod meter;
mod publish;
mod subscribe;
mod target;
mod units;

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use tokio::signal::unix::{Signal, SignalKind, signal};

pub(crate) use publish::Publish;
pub(crate) use subscribe::Subscribe;

/// Why a command ended without what it was for, by who must act.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// What stands on the command line, or in what it names, cannot be done.
    #[error("{0}")]
    Usage(String),
    /// There is no connection.
    #[error("cannot connect to {address}: {error}")]
    Unreachable {
        /// The server.
        address: String,
        /// Why.
        error: String,
    },
    /// The server refuses.
    #[error("the server says: {0}")]
    Refused(String),
    /// The connection ended.
    #[error("the connection is lost: {0}")]
    Lost(String),
    /// What is to be printed or sent cannot be.
    #[error("{what}: {error}")]
    Local {
        /// What cannot be done.
        what: &'static str,
        /// Why.
        error: io::Error,
    },
}

impl Failure {
    /// The exit code: what scripts tell apart.
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Unreachable { .. } | Self::Refused(_) | Self::Lost(_) | Self::Local { .. } => 3,
        }
    }
}

/// Whether all was done that a command was to do.
pub(crate) type Outcome = Result<bool, Failure>;

/// Runs a command.
fn block_on(command: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Local { what: "cannot start", error })?;
    runtime.block_on(command)
}

/// Ctrl-C, and what systemd and `timeout` send.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::Local { what: "cannot listen to signals", error })
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Says something to who looks on: on the standard error.
fn say(text: &str) {
    // Who does not look misses nothing.
    let _closed = writeln!(io::stderr(), "{text}");
}

/// The one line that changes while a command runs, where there is a terminal.
struct Progress {
    is_shown: bool,
    width: usize,
}

impl Progress {
    fn new(is_wanted: bool) -> Self {
        Self { is_shown: is_wanted && io::stderr().is_terminal(), width: 0 }
    }

    fn show(&mut self, text: &str) {
        if self.is_shown {
            let width = self.width.max(text.len());
            let _closed = write!(io::stderr(), "\r{text:width$}");
            self.width = text.len();
        }
    }

    /// Removes the line.
    fn clear(&mut self) {
        if self.is_shown && self.width > 0 {
            let _closed = write!(io::stderr(), "\r{:width$}\r", "", width = self.width);
            self.width = 0;
        }
    }
}

/// How often the line changes.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);
