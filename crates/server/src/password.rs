//! `passerelle password`: from a password to the line of the configuration that holds it.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use auth::Password;
use contract::Secret;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Reads a password and returns the line to paste. At a terminal it is typed twice, unseen.
pub(crate) fn run() -> Result<String, String> {
    let secret = if io::stdin().is_terminal() {
        let hidden = Hidden::new().map_err(|error| error.to_string())?;
        let first = prompt_for("Password: ")?;
        let second = prompt_for("Again: ")?;
        drop(hidden);
        if first != second {
            return Err("the two are not the same".to_owned());
        }
        first
    } else {
        read_line()?
    };
    if secret.expose().is_empty() {
        return Err("the password is empty: pipe it in, or type it".to_owned());
    }
    Password::make(&secret)
        .map(|password| format!("password = {password}"))
        .map_err(|error| error.to_string())
}

/// Asks for a password at the terminal, which does not show it.
pub(crate) fn request(prompt: &str) -> Result<Secret, String> {
    let hidden = Hidden::new().map_err(|error| error.to_string())?;
    let secret = prompt_for(prompt);
    drop(hidden);
    secret
}

fn prompt_for(prompt: &str) -> Result<Secret, String> {
    // Not by the log's queue: the terminal is what the question is for, and it is waited for.
    let mut terminal = io::stderr();
    write!(terminal, "{prompt}").map_err(|error| error.to_string())?;
    let secret = read_line();
    writeln!(terminal).map_err(|error| error.to_string())?;
    secret
}

fn read_line() -> Result<Secret, String> {
    let mut line = Vec::new();
    // With the end of the line, which is no part of it.
    let max = PASSWORD_BYTES_MAX + 2;
    let read = io::stdin().lock().take(max + 1).read_until(b'\n', &mut line);
    let len = read.map_err(|error| error.to_string())?;
    let too_long = || format!("the password has more than {PASSWORD_BYTES_MAX} bytes");
    if len as u64 > max {
        return Err(too_long());
    }
    let mut line = String::from_utf8(line).map_err(|_| "the password is not UTF-8".to_owned())?;
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    if line.len() as u64 > PASSWORD_BYTES_MAX {
        return Err(too_long());
    }
    Ok(Secret::new(line))
}

/// More than anybody remembers or a generator makes; what is piped in may have no end.
const PASSWORD_BYTES_MAX: u64 = 1024;

/// While it lives the terminal does not show what is typed.
struct Hidden(Termios);

impl Hidden {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // When the terminal has gone there is nothing to restore.
        let _gone = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}
