//! The gateway that is killed, and started again on the same store.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use socket2::Socket;

use crate::{client::RESPONSE_MAX, gateway::reserve_port, process};

/// Where gateways of a round keep their files.
#[derive(Debug)]
pub(super) struct Place<'a> {
    program: &'a Path,
    folder: PathBuf,
    /// Kept, so that nothing else takes it between two gateways.
    _port: Socket,
    address: SocketAddr,
}

/// A gateway, which is killed when it is dropped.
#[derive(Debug)]
pub(super) struct Gateway<'a> {
    place: &'a Place<'a>,
    process: Child,
    started: Instant,
}

impl<'a> Place<'a> {
    /// An empty folder.
    pub(super) fn new(program: &'a Path, folder: PathBuf) -> io::Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let (port, address) = reserve_port()?;
        Ok(Self { program, folder, _port: port, address })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of the store.
    pub(super) fn store(&self) -> PathBuf {
        self.folder.join("store")
    }

    /// Starts a gateway there.
    pub(super) fn start(&'a self, threads: u32, segment_kib: u32) -> Result<Gateway<'a>, String> {
        let text = format!(
            "threads = {threads}\n\n[store]\npath = \"store\"\nsegment-bytes = \"{segment_kib}KiB\"\n\n[limits]\ndeliveries-max = \
             {DELIVERIES_MAX}\n\n[shutdown]\ngrace = \"0s\"\ndrain = \"1s\"\n\n\
             [[listen]]\naddress = \"{}\"\noperations = true\n",
            self.address
        );
        let config = self.folder.join("passerelle.toml");
        let fail = |error: io::Error| format!("the gateway: {error}");
        fs::write(&config, text).map_err(fail)?;
        let log = File::create(self.log()).map_err(fail)?;
        let mut command = Command::new(self.program);
        command.arg("serve").arg("--config").arg(&config).current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let started = Instant::now();
        let process = command.spawn().map_err(fail)?;
        Ok(Gateway { place: self, process, started })
    }

    /// Reads all that the store has kept, while no gateway runs.
    pub(super) fn check(&self) -> Result<(), String> {
        self.tool("check").map(drop)
    }

    /// The bodies in the log that stand behind newer ones: they were moved there.
    pub(super) fn moved(&self) -> Result<Vec<u64>, String> {
        let dump = self.tool("dump")?;
        let (mut newest, mut moved) = (0, Vec::new());
        for line in dump.lines() {
            let body = line.split_once(", body ").and_then(|(_, body)| body.split_once(':'));
            let Some(body) = body.and_then(|(body, _)| body.parse().ok()) else { continue };
            if body < newest {
                moved.push(body);
            }
            newest = newest.max(body);
        }
        Ok(moved)
    }

    fn tool(&self, command: &str) -> Result<String, String> {
        let output = Command::new(self.program).args(["store", command]).arg(self.store()).output();
        let output = output.map_err(|error| format!("store {command}: {error}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("store {command}: {}: {said}", output.status));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }
}

impl Gateway<'_> {
    /// Waits until it listens. Returns how long that took.
    pub(super) fn wait(&mut self) -> Result<Duration, String> {
        while TcpStream::connect(self.place.address).is_err() {
            self.must_live()?;
            if self.started.elapsed() > START_MAX {
                return Err("the gateway does not listen".into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(self.started.elapsed())
    }

    /// How many messages that were sent again it had already, since it was started.
    pub(super) fn duplicates(&self) -> Result<u64, String> {
        let read = || -> io::Result<String> {
            let mut stream = TcpStream::connect(self.place.address)?;
            stream.set_read_timeout(Some(RESPONSE_MAX))?;
            stream.write_all(METRICS)?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        };
        let text = read().map_err(|error| format!("/metrics: {error}"))?;
        let count =
            text.lines().find_map(|line| line.strip_prefix(DUPLICATES)?.trim().parse().ok());
        count.ok_or_else(|| format!("/metrics has no {DUPLICATES}"))
    }

    /// Ends it without warning.
    pub(super) fn kill(mut self) -> Result<(), String> {
        self.must_live()?;
        let killed = self.process.kill().and_then(|()| self.process.wait());
        let status = killed.map_err(|error| format!("SIGKILL: {error}"))?;
        if status.signal() != Some(Signal::KILL.as_raw()) {
            return Err(format!("the gateway ended by itself: {status}{}", self.last_lines()));
        }
        self.must_be_content()
    }

    /// Ends it in good order.
    pub(super) fn stop(mut self) -> Result<(), String> {
        self.must_live()?;
        process::signal(&self.process, Signal::TERM).map_err(|error| error.to_string())?;
        let begin = Instant::now();
        loop {
            match self.process.try_wait() {
                Ok(Some(status)) if status.success() => return self.must_be_content(),
                Ok(Some(status)) => {
                    let lines = self.last_lines();
                    return Err(format!("the gateway did not end with 0: {status}{lines}"));
                }
                Ok(None) if begin.elapsed() < STOP_MAX => {
                    thread::sleep(Duration::from_millis(2));
                }
                Ok(None) => return Err("SIGTERM did not end it".into()),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    fn must_live(&mut self) -> Result<(), String> {
        match self.process.try_wait() {
            Ok(Some(status)) => {
                Err(format!("the gateway ended by itself: {status}{}", self.last_lines()))
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Nothing in its log may be an error.
    fn must_be_content(&self) -> Result<(), String> {
        let log = fs::read_to_string(self.place.log()).unwrap_or_default();
        let mut lines = log.lines();
        let is_error = |line: &&str| line.split_whitespace().nth(1) == Some("ERROR");
        match lines.find(|line| is_error(line) || line.contains("panicked")) {
            Some(line) => Err(format!("its log: {line}")),
            None => Ok(()),
        }
    }

    fn last_lines(&self) -> String {
        let log = fs::read_to_string(self.place.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(3).collect();
        lines.iter().rev().map(|line| format!("\n    {line}")).collect()
    }
}

impl Drop for Gateway<'_> {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// So that some messages are dead letters soon.
pub(super) const DELIVERIES_MAX: u32 = 3;
const METRICS: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const DUPLICATES: &str = "passerelle_broker_duplicates_total";
const START_MAX: Duration = Duration::from_secs(30);
const STOP_MAX: Duration = Duration::from_secs(20);
