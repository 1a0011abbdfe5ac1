//! The life of the process: start the cores, listen, and stop in good order.

use std::{
    fmt, io,
    io::IsTerminal as _,
    net::{SocketAddr, TcpListener},
    process,
    sync::Arc,
    thread,
    time::Duration,
};

use config::{Config, LogFormat};
use drive::{Cores, Settings, clock, tasks};
use passerelle_http::{About, Gateway, Phase, Worker};
use rustix::{io::Errno, process::Signal};
use store::StoreError;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{oneshot, watch},
    task::JoinSet,
    time,
};

use crate::{
    available::Available,
    configuration::Source,
    listen::{self, Endpoints},
    memory,
    registry::PROTOCOLS,
    store::Store,
    systemd::Systemd,
    tls::{CertificateError, Endpoint},
    upstream,
};

/// Why the gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address that cannot be listened on.
    #[error("cannot listen on {address}: {error}{}", advice(.error, *.address))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the kernel reports.
        error: io::Error,
    },
    /// A certificate that cannot be used.
    #[error("cannot listen on {address}: {error}")]
    Certificate {
        /// The listener's address.
        address: SocketAddr,
        /// Why.
        error: CertificateError,
    },
    /// An upstream whose certificates cannot be verified.
    #[error("cannot relay the connections of {service}: {error}")]
    Upstream {
        /// The path of the service.
        service: Box<str>,
        /// Why.
        error: CertificateError,
    },
    /// The store cannot be opened.
    #[error("cannot open the store: {0}")]
    Store(#[from] StoreError),
    /// The kernel has no descriptors or threads.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// Serves until SIGTERM or SIGINT, then stops in good order. `source` is where the configuration comes
/// from: what SIGHUP reads again; `has_market`: the demo's market trades here.
///
/// # Errors
/// When it cannot start.
pub fn serve(mut config: Config, source: Source, has_market: bool) -> Result<(), StartError> {
    let file = source.file.as_ref().map(|file| file.display().to_string());
    let source = Arc::new(Started { source, config: config.clone() });
    let available = Available::of_process();
    available.complete(&mut config);
    let descriptors = raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Before it listens: who can connect may send a signal at once.
    let (stop, mut hangup) = {
        let _context = runtime.enter();
        survive_file_size_limit()?;
        (stop_signal()?, signal(SignalKind::hangup())?)
    };
    let (listeners, endpoints) = open(&config)?;
    let systemd = Systemd::new()?;
    let (set_phase, phase) = watch::channel(Phase::Serving);
    tracing::info!(
        %available,
        inbound_bytes_max = config.memory.inbound_bytes_max,
        queued_bytes_max = config.memory.queued_bytes_max,
        "memory"
    );
    let about = About { version: VERSION, file: file.clone().map(Into::into), has_market };
    let (gateway, store, threads) = start_cores(config, &endpoints, phase, about)?;
    tracing::info!(
        version = VERSION,
        configuration = file.as_deref().unwrap_or("the defaults"),
        threads = threads.len(),
        open_files = %descriptors,
        "started"
    );
    runtime.block_on(async {
        let accepting = accept(&gateway, listeners, &endpoints)?;
        systemd.ready();
        let reload = async {
            // Those that come during a reload are one more.
            while hangup.recv().await.is_some() {
                systemd.reloading();
                reload(&gateway, &endpoints, &source).await;
                systemd.ready();
            }
        };
        tokio::select! {
            () = stop => {}
            // These only when the runtime has gone.
            () = reload => {}
            () = memory::give_back(&gateway.cores) => {}
            () = store.sync() => {}
        }
        let again = stop_signal()?;
        tokio::select! {
            () = stop_in_good_order(&gateway, &systemd, &set_phase, accepting, threads) => {}
            () = again => tracing::warn!("told to stop again: ending at once"),
        }
        store.close();
        tracing::info!("stopped");
        Ok(())
    })
}

/// Binds the listeners, and reads the certificates of those that have TLS.
fn open(config: &Config) -> Result<(Vec<TcpListener>, Endpoints), StartError> {
    let mut listeners = Vec::new();
    let mut endpoints = Vec::new();
    for listen in &config.listens {
        let address = listen.address;
        let endpoint = (!listen.tls.is_empty())
            .then(|| Endpoint::open(&listen.tls))
            .transpose()
            .map_err(|error| StartError::Certificate { address, error })?;
        endpoints.push(endpoint);
        let bound = listen::bind(address).map_err(|error| StartError::Bind { address, error })?;
        listeners.push(bound);
    }
    Ok((listeners, endpoints.into()))
}

/// Accepts connections, and says where on the standard output.
fn accept(
    gateway: &Arc<Gateway>,
    listeners: Vec<TcpListener>,
    endpoints: &Endpoints,
) -> io::Result<Accepting> {
    let mut accepting = JoinSet::new();
    let mut addresses = String::new();
    for (index, listener) in listeners.into_iter().enumerate() {
        let address = listener.local_addr()?;
        accepting.spawn(listen::accept(Arc::clone(gateway), listener, index));
        let scheme =
            if endpoints.get(index).is_some_and(Option::is_some) { "https" } else { "http" };
        addresses.push_str(&format!("listening on {scheme}://{address}/\n"));
        // On a terminal the line on the standard output says it.
        if gateway.config.log.format == LogFormat::Json || !io::stderr().is_terminal() {
            tracing::info!(%address, tls = scheme == "https", "listening");
        }
    }
    print_addresses(addresses);
    Ok(accepting)
}

type Accepting = JoinSet<io::Result<()>>;
type Threads = Vec<thread::JoinHandle<io::Result<()>>>;

fn start_cores(
    config: Config,
    endpoints: &Endpoints,
    phase: watch::Receiver<Phase>,
    about: About,
) -> Result<(Arc<Gateway>, Arc<Store>, Threads), StartError> {
    let count = match config.threads {
        Some(threads) => threads.get(),
        None => thread::available_parallelism()?.get(),
    };
    let store = Store::new(&config, u16::try_from(count).unwrap_or(u16::MAX));
    let settings = settings(&config, Arc::<Store>::clone(&store))?;
    let (cores, new_cores) = Cores::new(settings, count)?;
    store.start(&config, &cores)?;
    let gateway = Arc::new(Gateway::new(config, Arc::clone(&cores), phase, PROTOCOLS, about));
    cores.start_hashing()?;
    let mut threads = Vec::new();
    for core in new_cores {
        let index = core.index();
        let (gateway, endpoints) = (Arc::clone(&gateway), Arc::clone(endpoints));
        let start = move |core| {
            let worker = Worker::new(core, gateway);
            passerelle_http::keep_interests(&worker);
            if index == 0 {
                passerelle_http::start_feeds(&worker);
            }
            move |arrival| {
                tasks::local(listen::serve(worker.clone(), Arc::clone(&endpoints), arrival));
            }
        };
        let run = move || {
            let ended = core.run(start);
            if let Err(error) = &ended {
                // A gateway with a dead core would lose connections one by one.
                tracing::error!(core = index, %error, "a core has failed");
                logging::flush();
                process::exit(1);
            }
            ended
        };
        threads.push(tasks::thread(&format!("core-{index}"), run)?);
    }
    Ok((gateway, store, threads))
}

/// What of the configuration the cores share.
///
/// # Errors
/// When an upstream cannot be spoken to.
fn settings(config: &Config, store: Arc<dyn drive::Store>) -> Result<Settings, StartError> {
    let mut services = Vec::new();
    for service in &config.services {
        let upstream = upstream::open(&service.kind).map_err(|error| {
            let service = service.path.clone();
            StartError::Upstream { service, error }
        })?;
        services.push(drive::Service {
            path: service.path.clone(),
            upstream: upstream.map(Arc::new),
            limits: Arc::clone(&service.limits.connection),
            protocol_limits: Arc::clone(&service.limits.protocol),
        });
    }
    Ok(Settings {
        services,
        labels: PROTOCOLS.labels(),
        broker_limits: Arc::clone(&config.limits.broker),
        queue_rules: config.queues.clone(),
        client_rules: config.clients.rules(),
        quotas: config.memory.quotas(),
        limits: Arc::clone(&config.limits.connection),
        users: config.users.clone(),
        access: config.access.clone(),
        store: Some(store),
        io_uring: config.io_uring,
        unsent_bytes_max_per_core: config.memory.unsent_bytes_max_per_core,
        inbound_bytes_max: config.memory.inbound_bytes_max.unwrap_or(usize::MAX),
    })
}

/// Not ready; still accepting; listeners closed; connections closed; the end.
async fn stop_in_good_order(
    gateway: &Gateway,
    systemd: &Systemd,
    phase: &watch::Sender<Phase>,
    mut accepting: Accepting,
    threads: Threads,
) {
    tracing::info!("stopping: not ready any more");
    systemd.stopping();
    phase.send_replace(Phase::Leaving);
    time::sleep(gateway.config.shutdown.grace).await;
    phase.send_replace(Phase::Draining);
    // Each ends once its queue of connections is empty.
    let closed = async { while accepting.join_next().await.is_some() {} };
    if time::timeout(gateway.config.shutdown.drain, closed).await.is_err() {
        tracing::warn!("more connections come than can be accepted: closing the listeners anyway");
        accepting.abort_all();
    }
    tracing::info!("listeners closed: closing connections");
    gateway.cores.shut_down();
    let end = clock::now().after(gateway.config.shutdown.drain);
    while threads.iter().any(|thread| !thread.is_finished()) {
        if clock::now().mono_ns >= end {
            tracing::warn!("some peers did not leave in time: closing their connections");
            break;
        }
        time::sleep(END_CHECK).await;
    }
    let messages = gateway.cores.messages_left();
    if messages > 0 {
        tracing::warn!(messages, "what is not persistent is gone: messages that were in queues");
    }
}

/// Says on standard output where the gateway is, for people and for scripts. Their reader
/// may not read them, and the gateway does not wait for that.
fn print_addresses(addresses: String) {
    // When it fails there is no reader to miss it.
    let say = move || drop(logging::print(&addresses));
    if let Err(error) = tasks::thread("addresses", say) {
        tracing::warn!(%error, "the addresses cannot be told on the standard output");
    }
}

/// What the gateway was started with.
struct Started {
    source: Source,
    config: Config,
}

/// Does what SIGHUP requests, on a thread of its own: files may be waited for.
async fn reload(gateway: &Arc<Gateway>, endpoints: &Endpoints, started: &Arc<Started>) {
    let (done, finished) = oneshot::channel::<()>();
    let (gateway, endpoints) = (Arc::clone(gateway), Arc::clone(endpoints));
    let started = Arc::clone(started);
    let run = move || {
        reload_certificates(&gateway, &endpoints);
        reload_users(&gateway, &started);
        tracing::info!("reload ended");
        drop(done);
    };
    match tasks::thread("reload", run) {
        // It ends by dropping its end.
        Ok(_) => drop(finished.await),
        Err(error) => tracing::error!(%error, "nothing reloaded: no thread"),
    }
}

/// Reads the certificates again. Connections that are open keep theirs.
fn reload_certificates(gateway: &Gateway, endpoints: &Endpoints) {
    for (listen, endpoint) in gateway.config.listens.iter().zip(&**endpoints) {
        let Some(endpoint) = endpoint else { continue };
        let address = listen.address;
        match endpoint.reload() {
            Ok(()) => tracing::info!(%address, "certificates reloaded"),
            Err(error) => {
                tracing::error!(%address, %error, "certificates not reloaded: the old ones stay");
            }
        }
    }
}

/// Reads the configuration again, and applies its users, access rules and settings of queues.
fn reload_users(gateway: &Gateway, started: &Started) {
    let Some(file) = &started.source.file else {
        tracing::info!("no users reloaded: there is no configuration file");
        return;
    };
    // What was read from a pipe is gone: nothing would stand for everything to be removed.
    if !file.is_file() {
        let error = format!("{} is no regular file", file.display());
        tracing::error!(%error, "users and access rules not reloaded: the old ones stay");
        return;
    }
    let config = match started.source.load() {
        Ok(config) => config,
        Err(errors) => {
            // One line, however many errors there are.
            let error = errors.to_string().replace('\n', "; ");
            tracing::error!(%error, "users and access rules not reloaded: the old ones stay");
            return;
        }
    };
    gateway.cores.reload(config.users.clone(), &config.access);
    gateway.cores.set_queue_rules(&config.queues);
    let (users, rules) = (config.users.len(), config.access.rules().len());
    let queues = config.queues.rules().len();
    tracing::info!(users, rules, queues, "users and access rules reloaded");
    let changed = started.config.differences(&config).join(", ");
    if !changed.is_empty() {
        tracing::warn!(%changed, "not applied: restart to apply these changes of the configuration");
    }
}

/// Completes at SIGTERM or SIGINT.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Makes a write beyond the largest file that the process may have (`ulimit -f`) fail like any
/// other: it would end the process. To be called in a runtime.
pub(crate) fn survive_file_size_limit() -> io::Result<()> {
    // Once a signal has been listened to, it does not do what it does by default any more.
    signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).map(drop)
}

/// How many files may be open, and how many could be before.
struct Descriptors {
    before: u64,
    now: u64,
}

impl fmt::Display for Descriptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.now)?;
        if self.now == self.before { Ok(()) } else { write!(f, " (raised from {})", self.before) }
    }
}

fn raise_descriptor_limit() -> Descriptors {
    let (before, _) = rlimit::Resource::NOFILE.get().unwrap_or_default();
    let now = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(before);
    Descriptors { before, now }
}

fn advice(error: &io::Error, address: SocketAddr) -> String {
    if error.kind() == io::ErrorKind::AddrInUse {
        format!(
            "; another program uses port {}: stop it, or give another address in [[listen]]",
            address.port()
        )
    } else if error.kind() == io::ErrorKind::AddrNotAvailable {
        "; this machine does not have this address".to_owned()
    } else if error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) {
        "; this machine has no IPv6: listen on an address of IPv4".to_owned()
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "; ports below 1024 need the capability CAP_NET_BIND_SERVICE".to_owned()
    } else {
        String::new()
    }
}

/// The version, with the commit where the build knew it.
pub(crate) const VERSION: &str = env!("PASSERELLE_VERSION");
/// How often it is checked whether all have left.
const END_CHECK: Duration = Duration::from_millis(10);
