use std::{
    error::Error,
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use super::{Places, brokers::installed};
use crate::server::{Readiness, Server};

/// The gateway with a thread for each core; `more` goes into the table of limits, and behind it.
pub(crate) fn start(
    places: &Places,
    cores: &[usize],
    more: &str,
) -> Result<Server, Box<dyn Error>> {
    start_with(places, cores, "", more)
}

/// The same, with syncs of its store that take so long, by strace.
pub(crate) fn start_on_slow_disk(
    places: &Places,
    cores: &[usize],
    more: &str,
    sync_ms: u32,
) -> Result<Server, Box<dyn Error>> {
    let mut command = Command::new(installed("strace", "strace")?);
    // Nothing else that it calls is stopped at.
    command.args(["-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fdatasync", "-e"]);
    command.arg(format!("inject=fdatasync:delay_enter={}", sync_ms * 1000)).arg(&places.gateway);
    start_by(command, places, cores, "", more)
}

/// The same with TLS; gives its certificate, too.
pub(crate) fn start_tls(
    places: &Places,
    cores: &[usize],
) -> Result<(Server, Vec<u8>), Box<dyn Error>> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    fs::write(places.work.join("localhost.pem"), made.cert.pem())?;
    fs::write(places.work.join("localhost.key"), made.signing_key.serialize_pem())?;
    let tls = "tls = { certificate = \"localhost.pem\", key = \"localhost.key\" }\n";
    Ok((start_with(places, cores, tls, "")?, made.cert.der().to_vec()))
}

fn start_with(
    places: &Places,
    cores: &[usize],
    listen: &str,
    more: &str,
) -> Result<Server, Box<dyn Error>> {
    start_by(Command::new(&places.gateway), places, cores, listen, more)
}

fn start_by(
    mut command: Command,
    places: &Places,
    cores: &[usize],
    listen: &str,
    more: &str,
) -> Result<Server, Box<dyn Error>> {
    let file = places.work.join("passerelle.toml");
    // Pings would disturb peers that wait for their turn.
    let config = format!(
        "threads = {}\n[[listen]]\naddress = \"127.0.0.1:0\"\n{listen}[log]\nlevel = \"warn\"\n\
         [limits]\nping-interval = 0\n{more}",
        cores.len()
    );
    fs::write(&file, config)?;
    Server::start(command.args(["serve", "--config"]).arg(&file), cores, Readiness::Says)
}

/// The line of the configuration for a password.
pub(crate) fn password(places: &Places, password: &str) -> Result<String, Box<dyn Error>> {
    let mut process = Command::new(&places.gateway)
        .arg("password")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    writeln!(process.stdin.take().ok_or("no standard input")?, "{password}")?;
    Ok(String::from_utf8(process.wait_with_output()?.stdout)?)
}
