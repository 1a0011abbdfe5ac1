//! What systemd is told (`sd_notify(3)`), when it has started us.

use std::{
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    sync::mpsc,
    time::Duration,
};

use drive::{clock, tasks};

/// The way to systemd. A thread of its own sends: its socket may be full.
#[derive(Debug)]
pub(crate) struct Systemd(Option<mpsc::SyncSender<String>>);

impl Systemd {
    /// Finds whether systemd wants to be told.
    ///
    /// # Errors
    /// When the kernel has no more threads.
    pub(crate) fn new() -> io::Result<Self> {
        let Some(socket) = env::var_os("NOTIFY_SOCKET") else { return Ok(Self(None)) };
        let (sender, states) = mpsc::sync_channel::<String>(STATES_MAX);
        drop(tasks::thread("systemd", move || {
            for state in states {
                if let Err(error) = send(&socket, &state) {
                    tracing::warn!(%error, state = state.trim_end(), "systemd was not told");
                }
            }
        })?);
        Ok(Self(Some(sender)))
    }

    /// It serves: at the start, and after a reload.
    pub(crate) fn ready(&self) {
        self.tell("READY=1\n".to_owned());
    }

    /// A reload begins. Only the time tells systemd which one.
    pub(crate) fn reloading(&self) {
        self.tell(format!("RELOADING=1\nMONOTONIC_USEC={}\n", clock::monotonic_us()));
    }

    /// It stops.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1\n".to_owned());
    }

    fn tell(&self, state: String) {
        if let Some(sender) = &self.0
            && let Err(error) = sender.try_send(state)
        {
            tracing::warn!(%error, "systemd takes nothing");
        }
    }
}

/// Sends a state in one datagram. `@` stands for the zero byte of an abstract name.
fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let sender = UnixDatagram::unbound()?;
    sender.set_write_timeout(Some(SEND_TIMEOUT))?;
    sender.send_to_addr(state.as_bytes(), &address).map(drop)
}

/// What may wait to be told.
const STATES_MAX: usize = 16;
/// How long a full socket is waited for.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
