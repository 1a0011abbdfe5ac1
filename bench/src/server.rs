use std::{
    error::Error,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::system;

/// A server of its own process group, until it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
    pub(crate) address: SocketAddr,
    /// From its start until it responded.
    pub(crate) start: Duration,
}

/// How one knows that a server is there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Readiness {
    /// It says `listening on` and an address.
    Says,
    /// It takes connections at this port.
    Accepts(u16),
}

impl Server {
    /// Starts it on these cores.
    pub(crate) fn start(
        command: &mut Command,
        cores: &[usize],
        readiness: Readiness,
    ) -> Result<Self, Box<dyn Error>> {
        command.stdin(Stdio::null()).process_group(0);
        match readiness {
            Readiness::Says => command.stdout(Stdio::piped()),
            Readiness::Accepts(_) => command.stdout(Stdio::null()),
        };
        if std::env::var_os("BENCH_SERVER_LOG").is_none() {
            command.stderr(Stdio::null());
        }
        let began = Instant::now();
        let mut process = spawn_on(command, cores)?;
        let address = match readiness {
            Readiness::Says => {
                let stdout = process.stdout.take().ok_or("no standard output")?;
                let mut lines = BufReader::new(stdout);
                let address = said_address(&mut lines)?;
                // What else it says is read, so that it never waits for us.
                thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
                Some(address)
            }
            Readiness::Accepts(_) => None,
        };
        let mut server = Self {
            process,
            address: address.unwrap_or_else(|| ([127, 0, 0, 1], 0).into()),
            start: Duration::ZERO,
        };
        if let Readiness::Accepts(port) = readiness {
            server.address.set_port(port);
            server.await_port()?;
        }
        server.start = began.elapsed();
        Ok(server)
    }

    fn await_port(&mut self) -> Result<(), Box<dyn Error>> {
        let began = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.process.try_wait()? {
                return Err(format!("it ended with {status}").into());
            }
            if began.elapsed() > Duration::from_secs(90) {
                return Err("it does not respond".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn terminate(mut self) -> Result<(), Box<dyn Error>> {
        if let Some(process) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
            kill_process(process, Signal::TERM)?;
        }
        self.process.wait()?;
        Ok(())
    }

    /// Its processes.
    pub(crate) fn family(&self) -> Vec<u32> {
        system::family(&[self.id()])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
            kill_process_group(group, Signal::KILL).ok();
        }
        drop(self.process.wait());
    }
}

/// Runs it to its end.
pub(crate) fn run(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let name = command.get_program().display().to_string();
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let status = command.status().map_err(|error| format!("{name}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{name} ended with {status}").into()) }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A child inherits the cores of the thread that starts it.
pub(crate) fn spawn_on(command: &mut Command, cores: &[usize]) -> Result<Child, Box<dyn Error>> {
    let spawned = thread::scope(|scope| {
        let starting = scope.spawn(|| {
            system::stay_on(cores)?;
            command.spawn()
        });
        starting.join()
    });
    let spawned = spawned.map_err(|_| "the starting thread panicked")?;
    Ok(spawned.map_err(|error| format!("{}: {error}", command.get_program().display()))?)
}

fn said_address(lines: &mut impl BufRead) -> Result<SocketAddr, Box<dyn Error>> {
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        if let Some(address) = line.trim().strip_prefix("listening on ") {
            let address = address
                .trim_start_matches("https://")
                .trim_start_matches("http://")
                .trim_end_matches('/');
            return Ok(address.parse()?);
        }
        line.clear();
    }
    Err("it ended without saying where it listens".into())
}
