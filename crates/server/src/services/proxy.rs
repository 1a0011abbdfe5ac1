use std::{io, time::Duration};

use config::HostPort;
use tokio::{net::TcpStream, time};
use transports::{Slot, Stream};

use crate::{
    drive::{Admission, CoreRef, Relay, Role},
    tasks,
};

/// Lets a WebSocket in and connects to its back-end. Nothing is read from it meanwhile.
pub(super) fn admit(
    core: &CoreRef,
    stream: Stream,
    admission: Admission<'_>,
    connect: &HostPort,
    text: bool,
    timeout: Duration,
) {
    let relay = core.admit(stream, admission, |_, _| Role::Relay(Relay::default()));
    if let Some(relay) = relay {
        tasks::local(reach(core.clone(), relay, connect.clone(), text, timeout));
    }
}

async fn reach(core: CoreRef, relay: Slot, server: HostPort, text: bool, timeout: Duration) {
    let connecting = TcpStream::connect((&*server.host, server.port));
    let reached = match time::timeout(timeout, connecting).await {
        Ok(reached) => reached.and_then(prepare),
        Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
    };
    match reached {
        Ok(stream) => core.with(|core| core.relay_connected(relay, stream, text)),
        Err(error) => {
            tracing::warn!(backend = %server, %error, "the back-end does not answer");
            core.with(|core| core.relay_failed(relay, "the back-end does not answer"));
        }
    }
}

fn prepare(stream: TcpStream) -> io::Result<mio::net::TcpStream> {
    stream.set_nodelay(true)?;
    Ok(mio::net::TcpStream::from_std(stream.into_std()?))
}
