use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use contract::{ConnectionLimits, Now, Opening, ProtocolLimits, Session};
use drive::{Arrival, CoreRef, Cores, Framing, Registration, tasks};
use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use tokio::sync::{mpsc, oneshot};
use transports::Accepted;

use crate::{
    common,
    peer::{self, Carry, Peer},
};

/// What carries the connections of a scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Transport {
    Tcp,
    Tls,
    Carried,
}

/// What the connections of a scenario are opened with.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) open: fn(&Opening<'_>, Now) -> Box<dyn Session>,
    pub(crate) limits: ConnectionLimits,
    pub(crate) protocol_limits: ProtocolLimits,
    pub(crate) framing: Framing,
    pub(crate) ping_interval: Duration,
}

impl Setup {
    pub(crate) fn new(open: fn(&Opening<'_>, Now) -> Box<dyn Session>) -> Self {
        Self {
            open,
            limits: ConnectionLimits::default(),
            protocol_limits: ProtocolLimits::default(),
            framing: Framing::Stream,
            ping_interval: Duration::ZERO,
        }
    }

    fn registration<'a>(&self, peer: SocketAddr, early: &'a [u8]) -> Registration<'a> {
        Registration {
            framing: self.framing,
            ping_interval: self.ping_interval,
            early,
            ..common::registration(peer)
        }
    }
}

/// A core, and a thread for its peers.
pub(crate) struct Gateway {
    pub(crate) cores: Arc<Cores>,
    transport: Transport,
    listener: TcpListener,
    carry: mpsc::UnboundedSender<Carry>,
    client: Arc<ClientConfig>,
    peers: tokio::runtime::Handle,
    stop: Option<oneshot::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Gateway {
    pub(crate) fn start(transport: Transport, setup: Setup) -> Self {
        let mut settings = common::settings(setup.limits.clone());
        settings.unsent_bytes_max_per_core = 64 << 20;
        settings.services[0].protocol_limits = Arc::new(setup.protocol_limits.clone());
        let (cores, new) = Cores::new(settings, 1).unwrap();
        let (server, client) = configurations();
        let (carry, carried) = mpsc::unbounded_channel();
        let core = new.into_iter().next().unwrap();
        let start = move |core: CoreRef| {
            tasks::local(peer::carry_all(core.clone(), setup.clone(), carried));
            move |arrival: Arrival| {
                tasks::local(accept(core.clone(), setup.clone(), Arc::clone(&server), arrival));
            }
        };
        let core = tasks::thread("core", move || core.run(start).unwrap()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let peers = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let run = move || drop(runtime.block_on(stopped));
        let threads = vec![core, tasks::thread("peers", run).unwrap()];
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { cores, transport, listener, carry, client, peers, stop: Some(stop), threads }
    }

    pub(crate) fn connect(&self) -> Peer {
        let is_tls = matches!(self.transport, Transport::Tls);
        if let Transport::Carried = self.transport {
            let (carry, peer) = peer::carried();
            assert!(self.carry.send(carry).is_ok(), "the core has ended");
            return peer;
        }
        let socket = std::net::TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
        let (stream, _) = self.listener.accept().unwrap();
        for socket in [&socket, &stream] {
            socket.set_nodelay(true).unwrap();
            socket.set_nonblocking(true).unwrap();
        }
        self.cores.handles()[0].accept(stream, usize::from(is_tls));
        peer::over_tcp(&self.peers, socket, is_tls.then(|| Arc::clone(&self.client)))
    }

    /// Connections that were closed as too slow.
    pub(crate) fn slow(&self) -> u64 {
        let counters = self.cores.handles()[0].counters();
        counters.row(0, counters.label("test")).slow.get()
    }

    /// Drops the peers, and ends.
    pub(crate) fn stop<T>(mut self, peers: T) {
        drop(peers);
        self.cores.shut_down();
        self.threads.remove(0).join().unwrap();
        drop(self.stop.take());
        self.threads.remove(0).join().unwrap();
    }
}

/// Listener 1 has TLS.
async fn accept(core: CoreRef, setup: Setup, server: Arc<ServerConfig>, arrival: Arrival) {
    let Arrival { stream, listener, permit } = arrival;
    let peer = stream.peer_addr().unwrap();
    let stream = tokio::net::TcpStream::from_std(stream).unwrap();
    let accepted = if listener == 1 {
        let permit = async |_: &tokio::net::TcpStream| Some(());
        Accepted::tls(stream, server, permit).await.unwrap().unwrap()
    } else {
        Accepted::plain(stream)
    };
    let (stream, early) = accepted.into_stream().unwrap();
    let registration = Registration { permit: Some(permit), ..setup.registration(peer, &early) };
    core.register(stream, registration, setup.open);
}

impl Setup {
    /// That of a connection which a task carries.
    pub(crate) fn carried(&self) -> Registration<'static> {
        self.registration(SocketAddr::from(([127, 0, 0, 1], 1)), &[])
    }
}

fn configurations() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}
