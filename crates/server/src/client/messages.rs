//! Where the messages come from that `pub` sends.

use std::{
    fs,
    io::{self, BufRead as _, Read as _},
};

use bytes::Bytes;
use drive::tasks;
use tokio::sync::mpsc;

use super::{Failure, json, units::BODY_BYTES_MAX};

/// A message to send.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// `None`: that of the command line.
    pub(super) destination: Option<String>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
}

/// Messages, one after the other.
pub(super) enum Messages {
    /// The same again and again.
    Repeated(Message),
    /// The lines of the standard input.
    Lines {
        lines: mpsc::Receiver<io::Result<Vec<u8>>>,
        /// Whether each is a message as JSON.
        are_json: bool,
        /// The number of the last one.
        line: u64,
    },
}

impl Messages {
    /// One body, again and again.
    pub(super) fn repeated(body: Vec<u8>) -> Self {
        Self::Repeated(Message { destination: None, headers: Vec::new(), body: body.into() })
    }

    /// The content of a file; `-` is the standard input.
    pub(super) fn of_file(file: &str) -> Result<Self, Failure> {
        let read = || {
            let mut body = Vec::new();
            let max = BODY_BYTES_MAX as u64 + 1;
            if file == "-" {
                io::stdin().lock().take(max).read_to_end(&mut body)?;
            } else {
                fs::File::open(file)?.take(max).read_to_end(&mut body)?;
            }
            if body.len() > BODY_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 1 GiB"));
            }
            Ok(body)
        };
        read()
            .map(Self::repeated)
            .map_err(|error| Failure::Usage(format!("{file} cannot be read: {error}")))
    }

    /// The lines of the standard input, without their ends. A thread waits for them.
    pub(super) fn of_lines(are_json: bool) -> Result<Self, Failure> {
        let (sender, lines) = mpsc::channel(LINES_MAX);
        let read = move || {
            let mut input = io::stdin().lock();
            loop {
                let line = read_line(&mut input).transpose();
                let Some(line) = line else { return };
                // Without a reader nothing more is sent.
                if sender.blocking_send(line).is_err() {
                    return;
                }
            }
        };
        tasks::thread("stdin", read)
            .map_err(|error| Failure::Local { what: "cannot start a thread", error })?;
        Ok(Self::Lines { lines, are_json, line: 0 })
    }

    /// The next one, once there is one; `None`: there are no more. It may be dropped before it ends.
    pub(super) async fn next(&mut self) -> Result<Option<Message>, Failure> {
        match self {
            Self::Repeated(message) => Ok(Some(message.clone())),
            Self::Lines { lines, are_json, line } => {
                let Some(text) = lines.recv().await else { return Ok(None) };
                let text = text.map_err(|error| Failure::Local {
                    what: "the standard input cannot be read",
                    error,
                })?;
                *line += 1;
                if *are_json {
                    let message = json::read(&text);
                    return message
                        .map(Some)
                        .map_err(|error| Failure::Usage(format!("line {line}: {error}")));
                }
                Ok(Some(Message { destination: None, headers: Vec::new(), body: text.into() }))
            }
        }
    }
}

fn read_line(input: &mut impl io::BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    if input.take(BODY_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.pop_if(|last| *last == b'\n').is_some() {
        line.pop_if(|last| *last == b'\r');
    } else if line.len() > BODY_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "a line has more than 1 GiB"));
    }
    Ok(Some(line))
}

/// Lines that wait to be sent.
const LINES_MAX: usize = 64;
