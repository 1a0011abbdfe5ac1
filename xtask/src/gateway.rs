use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::{
    failure::{Doing, Failure, Outcome},
    paths, shell, web,
};

/// The binaries that the suites run, built once.
#[derive(Clone, Debug)]
pub(crate) struct Binaries {
    /// The gateway.
    pub(crate) gateway: PathBuf,
    /// The market of the demo.
    pub(crate) market: PathBuf,
}

impl Binaries {
    /// Builds the pages and, in release mode, the gateway and the demo's market. `PASSERELLE`
    /// and `PASSERELLE_MARKET` name others, already built.
    pub(crate) fn build() -> Outcome<Self> {
        let named = |name| env::var_os(name).map(PathBuf::from);
        if let (Some(gateway), Some(market)) = (named("PASSERELLE"), named("PASSERELLE_MARKET")) {
            return Ok(Self { gateway, market });
        }
        web::build()?;
        shell::run(shell::cargo().args([
            "build",
            "--release",
            "--locked",
            "--package",
            "passerelle",
            "--package",
            "passerelle-demo-market",
        ]))?;
        let release = paths::target().join("release");
        Ok(Self {
            gateway: release.join("passerelle"),
            market: release.join("passerelle-demo-market"),
        })
    }
}

/// A gateway that serves until it is dropped.
#[derive(Debug)]
pub(crate) struct Gateway {
    process: Child,
    /// Where it listens: `127.0.0.1:PORT`.
    pub(crate) authority: String,
}

impl Gateway {
    /// Starts a gateway with this configuration, which should listen on port 0. What it prints
    /// goes to `target/logs/NAME.log`.
    pub(crate) fn start(binaries: &Binaries, name: &str, config: &str) -> Outcome<Self> {
        let file = paths::folder("logs")?.join(format!("{name}.toml"));
        fs::write(&file, config).doing(file.display())?;
        let log_file = file.with_extension("log");
        let mut log = fs::File::create(&log_file).doing(log_file.display())?;

        let mut command = Command::new(&binaries.gateway);
        command.args(["serve", "--config"]).arg(&file).stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(log.try_clone().doing(log_file.display())?);
        let mut process = command.spawn().map_err(|error| shell::unstarted(&command, &error))?;

        let (send, receive) = mpsc::channel();
        if let Some(stdout) = process.stdout.take() {
            // Reads to the end, so that the gateway never waits for a full pipe.
            thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    let url = line.strip_prefix("listening on ");
                    if let Some((_, authority)) = url.and_then(|url| url.split_once("://")) {
                        drop(send.send(authority.trim_end_matches('/').to_owned()));
                    }
                    drop(writeln!(log, "{line}"));
                }
            });
        }
        let mut gateway = Self { process, authority: String::new() };
        gateway.authority = receive.recv_timeout(START_TIMEOUT).map_err(|_| {
            let log = fs::read_to_string(&log_file).unwrap_or_default();
            Failure::Failed(format!(
                "the gateway did not start, see {}:\n{log}",
                log_file.display()
            ))
        })?;
        Ok(gateway)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

const START_TIMEOUT: Duration = Duration::from_secs(20);
