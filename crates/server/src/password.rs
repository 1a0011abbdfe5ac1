//! `passerelle password`: from a password to the line of the configuration that holds it.

use std::io::{self, IsTerminal as _, Write as _};

use auth::Password;
use contract::Secret;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Reads a password and gives back the line to paste. At a terminal it is typed twice, unseen.
pub(crate) fn run() -> Result<String, String> {
    let secret = if io::stdin().is_terminal() {
        let hidden = Hidden::new().map_err(|error| error.to_string())?;
        let first = ask("Password: ")?;
        let second = ask("Again: ")?;
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

fn ask(prompt: &str) -> Result<Secret, String> {
    // Not by the log's queue: the terminal is what the question is for, and it is waited for.
    let mut terminal = io::stderr();
    write!(terminal, "{prompt}").map_err(|error| error.to_string())?;
    let secret = read_line();
    writeln!(terminal).map_err(|error| error.to_string())?;
    secret
}

fn read_line() -> Result<Secret, String> {
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(|error| error.to_string())?;
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    Ok(Secret::new(line))
}

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
