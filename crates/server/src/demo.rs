//! `passerelle demo`: the gateway and the demo's market, as two processes that are kept running.

use std::{
    env, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use config::Config;
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    time,
};

use crate::{configuration::Source, serve};

/// Runs both until SIGTERM or SIGINT. One that ends is started again.
pub(crate) fn run(config: &Config, source: &Source) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let program = env::current_exe()?;
    let market = market_beside(&program)?;
    let Some(listen) = config.listens.iter().find(|listen| listen.tls.is_empty()) else {
        return Err(io::Error::other("the market needs a [[listen]] without `tls`"));
    };
    let connect = reachable(listen.address);
    runtime.block_on(async {
        serve::survive_file_size_limit()?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let gateway = Program { file: program, arguments: serve_arguments(source), name: "gateway" };
        let market = Program {
            file: market,
            arguments: vec!["--connect".into(), connect.to_string().into()],
            name: "market",
        };
        let mut serving = gateway.start()?;
        let mut trading = market.start()?;
        loop {
            tokio::select! {
                ended = serving.wait() => {
                    let ended = ended?;
                    // What cannot start at all is not tried again and again.
                    if ended.code().is_some() && !ended.success() {
                        stop(&mut trading).await;
                        return Err(io::Error::other("the gateway could not start; its reason stands above"));
                    }
                    serving = gateway.again().await?;
                }
                ended = trading.wait() => {
                    tracing::warn!(status = %ended?, "the market ended");
                    trading = market.again().await?;
                }
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            }
        }
        stop(&mut trading).await;
        stop(&mut serving).await;
        Ok(())
    })
}

struct Program {
    file: PathBuf,
    arguments: Vec<std::ffi::OsString>,
    name: &'static str,
}

impl Program {
    fn start(&self) -> io::Result<Child> {
        Command::new(&self.file)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .process_group(0)
            .spawn()
            .map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", self.file.display()))
            })
    }

    async fn again(&self) -> io::Result<Child> {
        time::sleep(RESTART_PAUSE).await;
        tracing::info!(program = self.name, "starting again");
        self.start()
    }
}

/// Tells a child to stop, and waits for it; it is killed when it takes too long.
async fn stop(child: &mut Child) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok())
        && let Some(pid) = rustix::process::Pid::from_raw(pid)
        && rustix::process::kill_process(pid, rustix::process::Signal::TERM).is_ok()
        && time::timeout(STOP_TIMEOUT, child.wait()).await.is_ok()
    {
        return;
    }
    drop(child.kill().await);
}

fn serve_arguments(source: &Source) -> Vec<std::ffi::OsString> {
    let mut arguments = vec!["serve".into(), "--trader".into()];
    if let Some(file) = &source.file {
        arguments.extend(["--config".into(), file.into()]);
    }
    if let Some(listen) = source.listen {
        arguments.extend(["--listen".into(), listen.to_string().into()]);
    }
    arguments
}

/// The market's program lies beside the gateway's.
fn market_beside(gateway: &Path) -> io::Result<PathBuf> {
    let market = gateway.with_file_name("passerelle-demo-market");
    if market.exists() {
        return Ok(market);
    }
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        format!("{} is missing: `cargo xtask demo` builds it", market.display()),
    ))
}

/// An address to connect to for one that is listened on.
fn reachable(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    match address {
        SocketAddr::V4(_) => (Ipv4Addr::LOCALHOST, address.port()).into(),
        SocketAddr::V6(_) => (Ipv6Addr::LOCALHOST, address.port()).into(),
    }
}

/// Pause before a program that ended is started again.
const RESTART_PAUSE: Duration = Duration::from_millis(500);
/// Longer than the gateway takes to close its connections.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
