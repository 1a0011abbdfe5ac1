//! `passerelle password`: from a password to what the configuration holds of it.

use std::io;

use auth::Password;
use contract::Secret;

/// Reads one line and hashes it.
pub(crate) fn run() -> Result<Password, String> {
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(|error| error.to_string())?;
    let secret = Secret::new(line.trim_end_matches(['\r', '\n']));
    if secret.expose().is_empty() {
        return Err("the password is empty: pipe it in, or type it and press Enter".to_owned());
    }
    Password::make(&secret).map_err(|error| error.to_string())
}
