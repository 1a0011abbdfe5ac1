use std::{
    env,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use contract::Secret;
use rustls::pki_types::ServerName;
use transports::ClientTls;

use super::{Failure, address::Address, say, units};
use crate::{files, password, tls};

/// Where a command connects, and as whom.
#[derive(Args, Debug)]
pub(super) struct Target {
    /// The server: stomp://HOST:PORT, stomps:// with TLS, ws://HOST:PORT/PATH or wss:// by WebSocket.
    /// By default PASSERELLE_URL, else stomp://127.0.0.1:8080.
    #[arg(long, value_name = "URL", help_heading = HEADING)]
    url: Option<Address>,
    /// Log in with this name; by default PASSERELLE_USER. The password is PASSERELLE_PASSWORD, or in
    /// a file, or typed.
    #[arg(short, long, value_name = "NAME", help_heading = HEADING)]
    user: Option<String>,
    /// The file whose first line is the password.
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    password_file: Option<PathBuf>,
    /// The certificates, in PEM, one of which must certify the server's; by default those that the
    /// system trusts.
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    ca: Option<PathBuf>,
    /// The client id, for durable subscriptions.
    #[arg(long, value_name = "ID", help_heading = HEADING)]
    pub(super) client_id: Option<String>,
    /// How long to be connected may take.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::duration, help_heading = HEADING)]
    pub(super) connect_timeout: Duration,
}

/// All that is known before there is a connection.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: Address,
    pub(super) tls: Option<ClientTls>,
    pub(super) login: Option<(String, Secret)>,
}

impl Target {
    /// Reads what the environment, the terminal and files say of it.
    pub(super) fn server(&self) -> Result<Server, Failure> {
        let address = self.address().map_err(Failure::Usage)?;
        let login = self.login()?;
        if login.is_some() && !address.has_tls && !address.is_loopback() {
            say(&format!("note: the password crosses the network in clear: {address} has no TLS"));
        }
        let tls = address.has_tls.then(|| self.tls(&address)).transpose()?;
        Ok(Server { address, tls, login })
    }

    fn address(&self) -> Result<Address, String> {
        if let Some(address) = &self.url {
            return Ok(address.clone());
        }
        let text = variable(URL_VARIABLE)?;
        text.as_deref()
            .unwrap_or(DEFAULT)
            .parse()
            .map_err(|error| format!("{URL_VARIABLE}: {error}"))
    }

    fn login(&self) -> Result<Option<(String, Secret)>, Failure> {
        let user = match &self.user {
            Some(user) => Some(user.clone()),
            None => variable(USER_VARIABLE).map_err(Failure::Usage)?,
        };
        let Some(user) = user else {
            if self.password_file.is_some() {
                return Err(Failure::Usage("--password-file needs --user".to_owned()));
            }
            return Ok(None);
        };
        let password = if let Some(file) = &self.password_file {
            first_line(file)?
        } else if let Some(password) = variable(PASSWORD_VARIABLE).map_err(Failure::Usage)? {
            Secret::new(password)
        } else if io::stdin().is_terminal() {
            password::request(&format!("Password of {user}: ")).map_err(Failure::Usage)?
        } else {
            return Err(Failure::Usage(format!(
                "the password of {user} is missing: set {PASSWORD_VARIABLE}, or name a file by \
                 --password-file"
            )));
        };
        Ok(Some((user, password)))
    }

    fn tls(&self, address: &Address) -> Result<ClientTls, Failure> {
        let usage = |error: tls::CertificateError| Failure::Usage(error.to_string());
        let roots = tls::roots(self.ca.as_deref()).map_err(usage)?;
        let mut config = tls::client_config(roots);
        if address.path.is_some() {
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        let name = ServerName::try_from(address.host.clone()).map_err(|_| {
            Failure::Usage(format!("`{}` is no name that a certificate can be for", address.host))
        })?;
        Ok(ClientTls { config: Arc::new(config), name })
    }
}

fn first_line(file: &Path) -> Result<Secret, Failure> {
    let unreadable = |error: &dyn std::fmt::Display| {
        Failure::Usage(format!("{} cannot be read: {error}", file.display()))
    };
    let text = files::read(file).map_err(|error| unreadable(&error))?;
    let text = String::from_utf8(text).map_err(|_| unreadable(&"it is not UTF-8"))?;
    Ok(Secret::new(text.lines().next().unwrap_or_default()))
}

/// A variable that is set and not empty.
fn variable(name: &str) -> Result<Option<String>, String> {
    let value = env::var_os(name).filter(|value| !value.is_empty());
    value.map(|value| value.into_string().map_err(|_| format!("{name} is not UTF-8"))).transpose()
}

const HEADING: &str = "Connection";
const URL_VARIABLE: &str = "PASSERELLE_URL";
const USER_VARIABLE: &str = "PASSERELLE_USER";
const PASSWORD_VARIABLE: &str = "PASSERELLE_PASSWORD";
/// That of a gateway without a configuration.
const DEFAULT: &str = "stomp://127.0.0.1:8080";
