//! From an address to a connection: accepting, and finding out what a peer speaks.

use std::{
    cell::Cell,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use drive::{
    Arrival, ConnectionPermit, Framing, HandshakeOutcome, LimitReached, Refused, Registration,
};
use passerelle_http::{Gateway, Phase, Protocol, Worker, index_u16, linger};
use rustls::ServerConfig;
use socket2::{Domain, Socket, Type};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time};
use transports::{Accepted, Closed, proxy_header};

use crate::tls::Endpoint;

/// The TLS of each listener that has it.
pub(crate) type Endpoints = Arc<[Option<Endpoint>]>;

/// Opens a listening socket.
///
/// # Errors
/// When the address is in use or not this machine's.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket =
        Socket::new(Domain::for_address(address), Type::STREAM, Some(socket2::Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        // So that `[::]` and `0.0.0.0` can stand beside each other, whatever the kernel's default.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts connections and hands each to the core with the fewest, until the gateway shuts down.
/// Afterwards what had come already is still accepted.
///
/// # Errors
/// When the listener cannot be watched.
pub(crate) async fn accept(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    listen: usize,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut phase = gateway.phase.clone();
    let mut full = false;
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            _ = phase.wait_for(|phase| *phase >= Phase::Draining) => return Ok(()),
        };
        match accepted {
            Ok((stream, _)) => {
                if std::mem::take(&mut full) {
                    tracing::info!("descriptors are free again: accepting");
                }
                let core = gateway.cores.least_loaded();
                let write_timeout = gateway.config.limits.connection.write_timeout;
                if let (Some(core), Ok(stream)) = (core, prepare(stream, write_timeout)) {
                    // What a core does not take in waits in the kernel's queue.
                    while core.arriving() >= ARRIVING_MAX {
                        time::sleep(ARRIVING_PAUSE).await;
                    }
                    core.accept(stream, listen);
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(_) if *phase.borrow() >= Phase::Draining => return Ok(()),
            Err(error) => {
                if !std::mem::replace(&mut full, true) {
                    tracing::warn!(
                        %error,
                        "cannot accept more connections; raise the limit of open files (ulimit -n)"
                    );
                }
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn prepare(stream: TcpStream, write_timeout: Duration) -> io::Result<std::net::TcpStream> {
    let stream = stream.into_std()?;
    stream.set_nodelay(true)?;
    transports::set_keepalive(&stream)?;
    // Ends peers that take nothing, HTTP ones too, which hyper would wait for.
    transports::set_user_timeout(&stream, write_timeout)?;
    Ok(stream)
}

/// Whether only the connection that was about to be accepted is at fault.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    [Kind::ConnectionAborted, Kind::ConnectionReset, Kind::Interrupted, Kind::WouldBlock]
        .contains(&error.kind())
}

/// Serves a new connection: finds out what it speaks, and does HTTP until it switches protocols.
pub(crate) async fn serve(worker: Worker, endpoints: Endpoints, arrival: Arrival) {
    let Arrival { stream, listener: listen, mut permit } = arrival;
    // The peer may be gone already.
    let Ok(mut peer) = stream.peer_addr() else { return };
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let gateway = &worker.gateway;
    let tls = endpoints.get(listen).and_then(Option::as_ref).map(|endpoint| &endpoint.config);
    let timeout = gateway.config.limits.connection.login_timeout;
    let mut phase = gateway.phase.clone();
    let detected = tokio::select! {
        detected = time::timeout(timeout, async {
            let stream = identify_peer(&worker, stream, listen, &mut peer, &mut permit).await?;
            detect_protocol(&worker, stream, tls, &peer).await
        }) => detected,
        _ = phase.wait_for(|phase| *phase >= Phase::Draining) => return,
    };
    match detected {
        Ok(Ok(Some((connection, Some(protocol))))) => {
            serve_stream(&worker, connection, protocol, listen, peer, permit);
        }
        Ok(Ok(Some((connection, None)))) => {
            passerelle_http::serve(worker, connection, listen, peer, permit).await;
        }
        Ok(Ok(None)) => {}
        Ok(Err(error)) => tracing::debug!(%peer, %error, "connection ended before it spoke"),
        Err(_elapsed) => worker.refuse(Refused::Protocol),
    }
}

/// Finds out whose connection it is, where a proxy is to say it, and whether that one may have
/// another.
async fn identify_peer(
    worker: &Worker,
    mut stream: TcpStream,
    listen: usize,
    peer: &mut SocketAddr,
    permit: &mut ConnectionPermit,
) -> io::Result<TcpStream> {
    let gateway = &worker.gateway;
    let Some(at) = gateway.config.listens.get(listen) else { return Ok(stream) };
    let mut is_proxy = at.forwarded_from.contains(peer.ip());
    if at.proxy_protocol_from.contains(peer.ip()) {
        let source = proxy_header::read(&mut stream).await.inspect_err(|error| {
            // A peer that ends the connection at once only wants to know whether the port is open.
            if error.kind() == io::ErrorKind::InvalidData {
                refuse_proxy(worker, *peer, error);
            }
        })?;
        match source {
            Some(source) => {
                *peer = SocketAddr::new(source.ip().to_canonical(), source.port());
                is_proxy = at.forwarded_from.contains(peer.ip());
            }
            None => is_proxy = true,
        }
    }
    if !is_proxy {
        let address = gateway.address_permit(listen, peer.ip()).map_err(|LimitReached| {
            worker.refuse_address(*peer);
            io::Error::new(io::ErrorKind::QuotaExceeded, "the address has too many connections")
        })?;
        permit.count_among(address);
    }
    Ok(stream)
}

fn refuse_proxy(worker: &Worker, peer: SocketAddr, error: &io::Error) {
    worker.refuse(Refused::ProxyHeader);
    if let Some(missed) = worker.may_log(|limiters| &mut limiters.proxy_header) {
        tracing::warn!(%peer, %error, missed, "connection of a proxy refused");
    }
}

/// Does the TLS handshake, where there is TLS, and detects the protocol. `None`: that was all, and
/// is logged where it matters.
async fn detect_protocol(
    worker: &Worker,
    stream: TcpStream,
    tls: Option<&Arc<ServerConfig>>,
    peer: &SocketAddr,
) -> io::Result<Option<(Accepted, Option<&'static Protocol>)>> {
    let mut connection = match tls {
        None => Accepted::plain(stream),
        Some(_) if !Accepted::begins_tls(&stream).await? => {
            refuse_without_tls(worker, Accepted::plain(stream), peer).await?;
            return Ok(None);
        }
        Some(config) => match accept_tls(worker, stream, Arc::clone(config), peer).await? {
            Some(connection) => connection,
            None => return Ok(None),
        },
    };
    let protocol = worker.gateway.protocols.detect(&mut connection).await?;
    Ok(Some((connection, protocol)))
}

/// Does the TLS handshake, each signature with a permit. `None`: there are too many, or the peer has gone.
async fn accept_tls(
    worker: &Worker,
    stream: TcpStream,
    config: Arc<ServerConfig>,
    peer: &SocketAddr,
) -> io::Result<Option<Accepted>> {
    let Ok(handshake) = worker.core.handshakes().begin(peer.ip()) else {
        refuse_handshake(worker, peer);
        return Ok(None);
    };
    let has_begun = Cell::new(false);
    let done = tokio::select! {
        biased;
        done = Accepted::tls(stream, config, async |stream: &TcpStream| {
            let permit = handshake.permit().await;
            // Later it may have ended its side behind all that it has to say.
            if !has_begun.replace(true) && Closed::look(stream) != Closed::Nothing {
                permit.release();
                return None;
            }
            Some(permit)
        }) => done,
        () = handshake.ended() => {
            refuse_handshake(worker, peer);
            return Ok(None);
        }
    };
    worker.core.with(|core| {
        let end = match &done {
            Ok(Some(_)) => HandshakeOutcome::Done,
            Ok(None) => HandshakeOutcome::Gone,
            Err(_) => HandshakeOutcome::Failed,
        };
        core.counters().handshakes(end).add(1);
        if end == HandshakeOutcome::Failed {
            core.counters().refuse(Refused::Tls);
        }
    });
    done
}

fn refuse_handshake(worker: &Worker, peer: &SocketAddr) {
    worker.core.with(|core| {
        core.counters().refuse(Refused::Tls);
        core.counters().handshakes(HandshakeOutcome::Refused).add(1);
    });
    if let Some(missed) = worker.may_log(|limiters| &mut limiters.handshakes) {
        tracing::warn!(%peer, missed, "too many TLS handshakes at a time: connection closed");
    }
}

/// Tells a peer that speaks without TLS that it is required here.
async fn refuse_without_tls(
    worker: &Worker,
    mut connection: Accepted,
    peer: &SocketAddr,
) -> io::Result<()> {
    let protocol = worker.gateway.protocols.detect(&mut connection).await?;
    worker.refuse(Refused::Tls);
    if let Some(missed) = worker.may_log(|limiters| &mut limiters.without_tls) {
        tracing::info!(%peer, missed, "connection without TLS refused: this listener speaks TLS");
    }
    let reply = protocol.map_or(HTTP_WITHOUT_TLS, |protocol| protocol.without_tls);
    connection.write_all(reply).await?;
    linger(connection).await;
    Ok(())
}

/// A built-in protocol on TCP, without HTTP, reaches the first `broker` service.
fn serve_stream(
    worker: &Worker,
    connection: Accepted,
    protocol: &Protocol,
    listen: usize,
    peer: SocketAddr,
    permit: ConnectionPermit,
) {
    let config = &worker.gateway.config;
    let Some(service) = config.first_broker() else {
        return worker.refuse(Refused::Protocol);
    };
    let Ok((stream, early)) = connection.into_stream() else { return };
    let registration = Registration {
        service: index_u16(service),
        protocol: protocol.label,
        framing: Framing::Stream,
        ping_interval: Duration::ZERO,
        subprotocol: "",
        host: "",
        anonymous: config.listens.get(listen).is_some_and(|listen| listen.anonymous),
        principal: None,
        users_version: 0,
        peer,
        permit: Some(permit),
        early: &early,
    };
    worker.core.register(stream, registration, protocol.open);
}

/// Sockets on their way to a core, each for the cores' loops a few microseconds.
const ARRIVING_MAX: usize = 1024;
const ARRIVING_PAUSE: Duration = Duration::from_millis(1);
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;
/// The reply to HTTP without TLS where there is TLS.
const HTTP_WITHOUT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\n\
    content-length: 73\r\nconnection: close\r\n\r\n\
    this port speaks TLS: use https:// or wss:// instead of http:// or ws://\n";
/// Pause while there are no descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
