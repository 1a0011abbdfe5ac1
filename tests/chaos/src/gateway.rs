//! The gateway under attack, in a process of its own.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, PipeReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::{fs::OpenOptionsExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rcgen::CertifiedKey;
use rustix::{fs::OFlags, process::Signal};
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use socket2::{Domain, Protocol, Socket, Type};

use crate::process;

/// How a gateway is started.
#[derive(Debug)]
pub(crate) struct Start {
    /// Where its log goes.
    pub(crate) stderr: Stderr,
    /// Where its standard output goes.
    pub(crate) stdout: Stdout,
    /// `[log] level`.
    pub(crate) log_level: &'static str,
    /// More of the configuration, before its tables.
    pub(crate) limits: &'static str,
    /// The keys of `[memory]`.
    pub(crate) memory: &'static str,
    /// More services.
    pub(crate) services: String,
    /// What is before the program in a shell's command.
    pub(crate) launcher: String,
    /// A control group of its own, which is removed when it has ended.
    pub(crate) group: Option<PathBuf>,
    /// The hard limit of open files.
    pub(crate) files_max: Option<u32>,
    /// Variables of its environment.
    pub(crate) environment: Vec<(&'static str, PathBuf)>,
}

impl Default for Start {
    fn default() -> Self {
        Self {
            stderr: Stderr::File,
            stdout: Stdout::Null,
            log_level: "info",
            limits: "",
            memory: "",
            services: String::new(),
            launcher: "exec ".into(),
            group: None,
            files_max: None,
            environment: Vec::new(),
        }
    }
}

/// Where a log goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stderr {
    /// To a file of `target/logs`.
    File,
    /// Nowhere: the descriptor is closed.
    Closed,
    /// To a device that is always full.
    Full,
    /// Into a pipe.
    Pipe,
    /// Into a pipe whose writes fail, not wait, when it is full.
    NonBlockingPipe,
    /// To a file on a disk of one MiB of its own.
    Disk,
}

/// Where the standard output goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stdout {
    /// To `/dev/null`.
    Null,
    /// To a device that is always full.
    Full,
    /// Nowhere: the descriptor is closed.
    Closed,
}

/// What a client needs to know.
#[derive(Debug)]
pub(crate) struct Addresses {
    /// The listener without TLS.
    pub(crate) plain: SocketAddr,
    /// The one with.
    pub(crate) tls: SocketAddr,
    /// Trusts the gateway's certificate.
    pub(crate) trust: Arc<ClientConfig>,
    users: AtomicUsize,
}

impl Addresses {
    /// A user who has not logged in before. The password is `secret`.
    pub(crate) fn next_user(&self) -> String {
        format!("user-{}", self.users.fetch_add(1, Ordering::Relaxed) % USERS)
    }
}

/// A gateway that serves until it is stopped or dropped.
#[derive(Debug)]
pub(crate) struct Gateway {
    process: Child,
    /// Where it is.
    pub(crate) addresses: Arc<Addresses>,
    /// The folder with its configuration, `gw.pem` and `gw.key`.
    pub(crate) folder: PathBuf,
    /// The other end of its standard error.
    pub(crate) pipe: Pipe,
    log: Option<PathBuf>,
    group: Option<PathBuf>,
}

/// How a gateway ended.
#[derive(Debug)]
pub(crate) enum End {
    /// By itself.
    Ended(ExitStatus),
    /// It had to be killed.
    Hung,
}

impl Gateway {
    /// Starts a gateway that keeps its files in `folder`; it serves when this returns.
    pub(crate) fn start(program: &Path, folder: &Path, start: &Start) -> Result<Self, String> {
        let fail = |what: &str| {
            let what = what.to_owned();
            move |error: io::Error| format!("{what}: {error}")
        };
        drop(fs::remove_dir_all(folder));
        fs::create_dir_all(folder).map_err(fail("the gateway's folder"))?;
        let trust = certify(folder)?;
        // Kept until the gateway listens there, so that nothing else takes the ports.
        let plain = reserve_port().map_err(fail("a free port"))?;
        let tls = reserve_port().map_err(fail("a free port"))?;
        let config = folder.join("passerelle.toml");
        let text = configuration(plain.1, tls.1, start);
        fs::write(&config, text).map_err(fail("the configuration"))?;

        let mut command = start.command(program, folder);
        command.arg("serve").arg("--config").arg(&config).stdin(Stdio::null());
        let (log, pipe) = start.redirect(&mut command, folder).map_err(fail("the log"))?;
        let mut process = command.spawn().map_err(fail("the gateway"))?;
        drop(command);
        let log = log.or_else(|| {
            (start.stderr == Stderr::Disk).then(|| disk(process.id(), folder).join("log"))
        });
        let end = Instant::now() + START_MAX;
        while TcpStream::connect(tls.1).is_err() {
            if let Ok(Some(status)) = process.try_wait() {
                return Err(format!("the gateway did not start: {status}{}", tail(log.as_deref())));
            }
            if Instant::now() > end {
                drop(process.kill());
                drop(process.wait());
                return Err(format!("the gateway did not listen{}", tail(log.as_deref())));
            }
            thread::sleep(Duration::from_millis(10));
        }
        let addresses = Addresses { plain: plain.1, tls: tls.1, trust, users: AtomicUsize::new(0) };
        let folder = folder.to_owned();
        let group = start.group.clone();
        Ok(Self { process, addresses: Arc::new(addresses), folder, pipe, log, group })
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where its disk is, if it has one of its own, seen from outside.
    pub(crate) fn disk(&self) -> PathBuf {
        disk(self.id(), &self.folder)
    }

    /// Its memory by a key of /proc, in bytes; 0 when it is gone.
    pub(crate) fn memory(&self, key: &str) -> u64 {
        process::memory(self.id(), key).unwrap_or(0)
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), String> {
        process::signal(&self.process, signal).map_err(|error| format!("{signal:?}: {error}"))
    }

    /// Its log as far as it has been read or written; empty when nothing keeps it.
    pub(crate) fn log(&self) -> String {
        let read = String::from_utf8_lossy(&self.pipe.read()).into_owned();
        let written = self.log.as_ref().and_then(|log| fs::read(log).ok()).unwrap_or_default();
        read + &String::from_utf8_lossy(&written)
    }

    /// Waits until a line of its log has all of these words.
    pub(crate) fn wait_for_line(&self, words: &[&str]) -> Result<String, String> {
        let end = Instant::now() + LINE_MAX;
        loop {
            let log = self.log();
            let found = log.lines().find(|line| words.iter().all(|word| line.contains(word)));
            if let Some(line) = found {
                return Ok(line.to_owned());
            }
            if Instant::now() > end {
                return Err(format!("no line of the log has {words:?}"));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn stop(&mut self) -> io::Result<End> {
        let start = Instant::now();
        if self.process.try_wait()?.is_none() {
            process::signal(&self.process, Signal::TERM)?;
        }
        while start.elapsed() < STOP_MAX {
            if let Some(status) = self.process.try_wait()? {
                return Ok(End::Ended(status));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(End::Hung)
    }

    /// Whether it has ended; how is not known before [`Self::stop`].
    pub(crate) fn is_zombie(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()));
        status.is_ok_and(|status| status.contains("State:\tZ"))
    }

    /// How it ended, if it ended by itself.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let status = self.process.try_wait().ok()??;
        Some(match status.signal() {
            Some(signal) => format!("the gateway was ended by signal {signal}"),
            None => format!("the gateway ended: {status}"),
        })
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        if let Some(group) = &self.group {
            drop(fs::remove_dir(group));
        }
    }
}

impl Start {
    /// The program, in the surroundings that it needs.
    fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut script = String::new();
        if let Some(files) = self.files_max {
            script += &format!("ulimit -n {files} && ");
        }
        if self.stderr == Stderr::Disk {
            script += "mkdir -p \"$DISK\" && mount -t tmpfs -o size=1m chaos \"$DISK\" && ";
        }
        script += &format!("{}\"$0\" \"$@\"", self.launcher);
        match self.stderr {
            Stderr::Closed => script += " 2>&-",
            Stderr::Disk => script += " 2>>\"$DISK/log\"",
            Stderr::File | Stderr::Full | Stderr::Pipe | Stderr::NonBlockingPipe => {}
        }
        if self.stdout == Stdout::Closed {
            script += " >&-";
        }
        let mut command = if self.stderr == Stderr::Disk {
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-root-user", "--mount", "sh"]);
            command.env("DISK", folder.join("disk"));
            command
        } else {
            Command::new("sh")
        };
        command.arg("-c").arg(script).arg(program);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn redirect(
        &self,
        command: &mut Command,
        folder: &Path,
    ) -> io::Result<(Option<PathBuf>, Pipe)> {
        let full = || OpenOptions::new().write(true).open("/dev/full");
        match self.stdout {
            Stdout::Full => command.stdout(full()?),
            Stdout::Null | Stdout::Closed => command.stdout(Stdio::null()),
        };
        let (mut log, mut pipe) = (None, Pipe::default());
        match self.stderr {
            Stderr::File => {
                let file = folder.join("log");
                command.stderr(File::create(&file)?);
                log = Some(file);
            }
            Stderr::Full => {
                command.stderr(full()?);
            }
            Stderr::Pipe | Stderr::NonBlockingPipe => {
                let (reader, writer) = io::pipe()?;
                if self.stderr == Stderr::NonBlockingPipe {
                    rustix::fs::fcntl_setfl(&writer, OFlags::NONBLOCK)?;
                }
                command.stderr(writer);
                pipe.reader = Mutex::new(Some(reader));
            }
            Stderr::Closed | Stderr::Disk => {
                command.stderr(Stdio::null());
            }
        }
        Ok((log, pipe))
    }
}

/// The reading end of a gateway's standard error, and what has been read.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    reader: Mutex<Option<PipeReader>>,
    read: Arc<Mutex<Vec<u8>>>,
}

impl Pipe {
    /// Reads from now on: as fast as possible, or 4 KiB each `pause`.
    pub(crate) fn start_reading(&self, pause: Option<Duration>) {
        let Some(mut reader) = self.take() else { return };
        let read = Arc::clone(&self.read);
        thread::spawn(move || {
            let mut bytes = [0; 4 << 10];
            while let Ok(len @ 1..) = reader.read(&mut bytes) {
                let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
                // Enough to search in.
                let surplus = read.len().saturating_sub(READ_MAX);
                read.drain(..surplus);
                read.extend(bytes.get(..len).unwrap_or_default());
                drop(read);
                thread::sleep(pause.unwrap_or_default());
            }
        });
    }

    /// Closes it: the next write fails.
    pub(crate) fn close(&self) {
        drop(self.take());
    }

    fn take(&self) -> Option<PipeReader> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn read(&self) -> Vec<u8> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Fills a disk to the last byte. Removing the file that this gives frees it.
pub(crate) fn fill(disk: &Path) -> io::Result<PathBuf> {
    let file = disk.join("filler");
    let mut filler = OpenOptions::new().create(true).append(true).mode(0o600).open(&file)?;
    for len in [4 << 10, 1] {
        while filler.write_all(&vec![0; len]).is_ok() {}
    }
    Ok(file)
}

/// The disk of a gateway that has one of its own, as it is seen from outside.
fn disk(process: u32, folder: &Path) -> PathBuf {
    let inside = folder.join("disk");
    Path::new("/proc")
        .join(process.to_string())
        .join("root")
        .join(inside.strip_prefix("/").unwrap_or(&inside))
}

/// The last lines of a log, for an error.
fn tail(log: Option<&Path>) -> String {
    let text = log.and_then(|log| fs::read_to_string(log).ok()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(3).collect();
    lines.iter().rev().map(|line| format!("\n    {line}")).collect()
}

/// A port that is taken, but not listened on, so that the gateway can.
pub(crate) fn reserve_port() -> io::Result<(Socket, SocketAddr)> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    let address = socket.local_addr()?.as_socket();
    Ok((socket, address.ok_or_else(|| io::Error::other("no IPv4 address"))?))
}

/// Makes a certificate in the folder. Gives what trusts it.
fn certify(folder: &Path) -> Result<Arc<ClientConfig>, String> {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()])
            .map_err(|error| error.to_string())?;
    fs::write(folder.join("gw.pem"), cert.pem()).map_err(|error| error.to_string())?;
    fs::write(folder.join("gw.key"), signing_key.serialize_pem())
        .map_err(|error| error.to_string())?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(cert)).map_err(|error| error.to_string())?;
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    // Each handshake is a whole one, as those of new clients are.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

fn configuration(plain: SocketAddr, tls: SocketAddr, start: &Start) -> String {
    let Start { limits, memory, services, log_level: level, .. } = start;
    let mut text = format!(
        "[shutdown]\ngrace = \"0s\"\ndrain = \"5s\"\n\n[log]\nlevel = \"{level}\"\n\n\
         [limits]\n{limits}\n\n[memory]\n{memory}\n\n\
         [[listen]]\naddress = \"{plain}\"\n\n\
         [[listen]]\naddress = \"{tls}\"\ntls = {{ certificate = \"gw.pem\", key = \"gw.key\" }}\n"
    );
    text += services;
    for user in 0..USERS {
        text += &format!("\n[[user]]\nname = \"user-{user}\"\npassword = \"{SECRET}\"\n");
    }
    text
}

/// `secret`, hashed as `passerelle password` does.
const SECRET: &str = "$argon2id$v=19$m=19456,t=2,p=1$fEAW/Qc08zRBgd6k2Pj3Mg$\
    GEG7XPW1cghr1bKOTz7KctawNrvlysEb8tiDizlIciQ";
/// More than log in for the first time in one run.
const USERS: usize = 500;
const START_MAX: Duration = Duration::from_secs(20);
/// SIGTERM has done its work after 5 s at the latest; the rest is for a busy machine.
pub(crate) const STOP_MAX: Duration = Duration::from_secs(25);
const LINE_MAX: Duration = Duration::from_secs(15);
const READ_MAX: usize = 4 << 20;
