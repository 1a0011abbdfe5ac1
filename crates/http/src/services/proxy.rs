use std::{io, time::Duration};

use config::HostPort;
use drive::{CoreRef, Registration, tasks};
use tokio::{net::TcpStream, time};
use transports::{Slot, Stream};

/// Registers a WebSocket and connects to its upstream.
pub(super) fn register(
    core: &CoreRef,
    stream: Stream,
    registration: Registration<'_>,
    connect: &HostPort,
    text: bool,
    timeout: Duration,
) {
    if let Some(relay) = core.register_relay(stream, registration) {
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
            tracing::warn!(upstream = %server, %error, "the upstream does not respond");
            core.with(|core| core.relay_failed(relay, "the upstream does not respond"));
        }
    }
}

fn prepare(stream: TcpStream) -> io::Result<mio::net::TcpStream> {
    stream.set_nodelay(true)?;
    Ok(mio::net::TcpStream::from_std(stream.into_std()?))
}
