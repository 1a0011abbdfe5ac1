//! What all cores share: the configuration, who is who, and the way to each core.

use std::{
    collections::{BTreeMap, btree_map},
    net::IpAddr,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use auth::{AddressKey, Authentication, Finished, LoginId, Logins};
use broker::ShardMessage;
use config::Config;
use contract::{ConnectionId, Login, Principal, Refusal, Token};
use rustls::ServerConfig;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::{
    clock,
    drive::CoreRef,
    excerpt::excerpt,
    exposition::Snapshot,
    internal_errors,
    memory::Freed,
    metrics::{Counters, Protocol},
    tls::Endpoint,
};

/// What all cores share. Nothing of it is touched for a message.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// The configuration.
    pub(crate) config: Config,
    /// The TLS of each listener that has it.
    pub(crate) endpoints: Vec<Option<Endpoint>>,
    /// The way to each core.
    pub(crate) cores: Vec<CoreHandle>,
    /// How far the process is from stopping.
    pub(crate) phase: watch::Receiver<Phase>,
    /// As many bodies of requests are decoded at a time as there are cores.
    pub(crate) decoding: Semaphore,
    /// Where cores say that much memory has been freed.
    pub(crate) freed: Freed,
    addresses: Addresses,
    logins: Mutex<Logins<Waiter>>,
    /// Wakes a hashing thread that waits for jobs.
    hashing: Condvar,
}

/// How far the process is from stopping.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Phase {
    /// At work.
    Serving,
    /// Told to stop: `/readyz` says so, new connections are still served.
    Leaving,
    /// No listener any more; goodbyes are being said.
    Draining,
}

/// The way to a core from outside its thread.
#[derive(Debug)]
pub(crate) struct CoreHandle {
    /// What is on its way to it.
    pub(crate) inbox: mpsc::Sender<ToCore>,
    /// Wakes its reactor.
    pub(crate) waker: Arc<mio::Waker>,
    /// Its connections, those on their way included.
    pub(crate) connections: Arc<AtomicUsize>,
    /// Sockets on their way to it.
    pub(crate) arriving: AtomicUsize,
    /// What it counts.
    pub(crate) counters: Arc<Counters>,
}

/// What is sent to a core.
pub(crate) enum ToCore {
    /// A new connection: its socket and its listener's place in the configuration.
    Socket(std::net::TcpStream, usize, Occupied),
    /// What another core's shard has to say to this one's, in order.
    ShardMessages(u16, Vec<ShardMessage>),
    /// The answer to a session's login.
    Login(ConnectionId, Token, Result<Principal, Refusal>),
    /// Something to do there.
    Call(Box<dyn FnOnce(&CoreRef) + Send>),
    /// Say goodbye to everybody.
    Drain,
}

impl std::fmt::Debug for ToCore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Socket(..) => "Socket",
            Self::ShardMessages(..) => "ShardMessages",
            Self::Login(..) => "Login",
            Self::Call(_) => "Call",
            Self::Drain => "Drain",
        })
    }
}

impl CoreHandle {
    /// Sends something and wakes the core. A core that has ended takes nothing.
    pub(crate) fn send(&self, what: ToCore) {
        if self.inbox.send(what).is_ok() {
            drop(self.waker.wake());
        }
    }

    /// Counts one more connection until the result is dropped.
    #[must_use]
    pub(crate) fn occupy(&self) -> Occupied {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Occupied { connections: Arc::clone(&self.connections), share: None }
    }
}

/// A connection, as counted by [`CoreHandle::connections`].
#[derive(Debug)]
pub(crate) struct Occupied {
    connections: Arc<AtomicUsize>,
    /// In a box, since few listeners limit it and every connection has room for it.
    share: Option<Box<Share>>,
}

impl Occupied {
    /// Counts the connection among those of an address, too.
    pub(crate) fn count_among(&mut self, share: Option<Share>) {
        self.share = share.map(Box::new);
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The connections of each address, where a listener limits them. Never more than connections.
type Addresses = Arc<Mutex<BTreeMap<(usize, AddressKey), usize>>>;

/// One of the connections that an address may have.
#[derive(Debug)]
pub(crate) struct Share {
    of: (usize, AddressKey),
    addresses: Addresses,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let btree_map::Entry::Occupied(mut count) = addresses.entry(self.of) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// The address has all connections that it may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AllTaken;

/// Who waits for the outcome of a login.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) asker: Asker,
    /// Where it is.
    pub(crate) address: IpAddr,
    /// What it speaks.
    pub(crate) protocol: Protocol,
}

/// Whom to tell the outcome of a login.
#[derive(Debug)]
pub(crate) enum Asker {
    /// A session, by its connection and token.
    Session(ConnectionId, Token),
    /// An HTTP request.
    Request(oneshot::Sender<Result<Principal, Refusal>>),
}

/// What becomes of a login.
#[derive(Debug)]
pub(crate) enum Decision {
    /// It is decided.
    Answer(Result<Principal, Refusal>),
    /// The asker is told; until then [`Gateway::cancel_login`] says that it has gone.
    Later(LoginId),
}

impl Gateway {
    /// Puts the parts together.
    #[must_use]
    pub(crate) fn new(
        config: Config,
        endpoints: Vec<Option<Endpoint>>,
        cores: Vec<CoreHandle>,
        phase: watch::Receiver<Phase>,
        logins: Logins<Waiter>,
    ) -> Self {
        let decoding = Semaphore::new(cores.len());
        let (addresses, logins) = (Addresses::default(), Mutex::new(logins));
        let (freed, hashing) = (Freed::default(), Condvar::new());
        Self { config, endpoints, cores, phase, decoding, freed, addresses, logins, hashing }
    }

    /// The TLS of a listener.
    pub(crate) fn tls(&self, listen: usize) -> Option<Arc<ServerConfig>> {
        let endpoint = self.endpoints.get(listen)?.as_ref();
        endpoint.map(|endpoint| Arc::clone(&endpoint.config))
    }

    /// Takes one of the connections that an address may have by a listener; `None`: it has no limit.
    ///
    /// # Errors
    /// When all are taken.
    pub(crate) fn share(&self, listen: usize, address: IpAddr) -> Result<Option<Share>, AllTaken> {
        let max = self.config.listens.get(listen);
        let Some(max) = max.and_then(|listen| listen.connections_max_per_address) else {
            return Ok(None);
        };
        let of = (listen, AddressKey::from(address));
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let count = addresses.entry(of).or_default();
        if *count >= max.get() {
            return Err(AllTaken);
        }
        *count += 1;
        Ok(Some(Share { of, addresses: Arc::clone(&self.addresses) }))
    }

    /// Decides a login at once where that takes no time; otherwise the asker is told later.
    pub(crate) fn login(&self, login: &Login, anonymous: bool, waiter: Waiter) -> Decision {
        let key = AddressKey::from(waiter.address);
        let (address, protocol) = (waiter.address, waiter.protocol);
        match self.logins().authenticate(login, anonymous, key, clock::now(), waiter) {
            Authentication::Decided(_, answer) => {
                if let (Login::Password(credentials), Err(Refusal::Unauthenticated)) =
                    (login, &answer)
                {
                    log_failure(&credentials.name, address, protocol.as_str(), 1);
                }
                Decision::Answer(answer)
            }
            Authentication::Pending(id, evicted) => {
                self.hashing.notify_one();
                for waiter in evicted {
                    self.answer(waiter.asker, Err(Refusal::Busy));
                }
                Decision::Later(id)
            }
        }
    }

    /// Whoever waited for this login has gone.
    pub(crate) fn cancel_login(&self, id: LoginId) {
        self.logins().cancel(id);
    }

    /// The peer of whoever waits for this login has closed its side; `false`: there are too many
    /// of those, and this one is not answered.
    pub(crate) fn half_closed(&self, id: LoginId) -> bool {
        self.logins().half_closed(id)
    }

    /// Runs on a hashing thread for as long as the process.
    pub(crate) fn hash_passwords(&self) {
        let mut logins = self.logins();
        loop {
            let now = clock::now();
            match logins.next(now) {
                Ok(job) => {
                    drop(logins);
                    let verdict = job.run();
                    logins = self.logins();
                    let finished = logins.finish(verdict, clock::now());
                    drop(logins);
                    self.finished(finished);
                    logins = self.logins();
                }
                Err(None) => {
                    logins = self.hashing.wait(logins).unwrap_or_else(PoisonError::into_inner);
                }
                Err(Some(at_ns)) => {
                    let time = Duration::from_nanos(at_ns.saturating_sub(now.mono_ns));
                    let waited = self.hashing.wait_timeout(logins, time);
                    (logins, _) = waited.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    fn finished(&self, finished: Finished<Waiter>) {
        let Finished { name, waiters, result } = finished;
        if result.is_err() {
            // One line however many have asked the same from there.
            let mut attempts = BTreeMap::<_, u32>::new();
            for waiter in &waiters {
                *attempts.entry((waiter.address, waiter.protocol.as_str())).or_default() += 1;
            }
            for ((address, protocol), attempts) in attempts {
                log_failure(&name, address, protocol, attempts);
            }
        }
        for waiter in waiters {
            self.answer(waiter.asker, result.clone());
        }
    }

    fn logins(&self) -> MutexGuard<'_, Logins<Waiter>> {
        self.logins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks all cores what they count.
    pub(crate) async fn snapshot(&self) -> Snapshot {
        let mut asked = Vec::new();
        for core in &self.cores {
            let (sender, receiver) = oneshot::channel();
            core.send(ToCore::Call(Box::new(move |core| {
                // Whoever asked may have gone.
                drop(sender.send(core.with(|core| core.report())));
            })));
            asked.push(receiver);
        }
        let mut cores = Vec::new();
        for report in asked {
            cores.extend(report.await);
        }
        let services = self.config.services.iter();
        let services = services.map(|s| (s.path.clone(), s.kind.as_str())).collect();
        let rules = self.config.access.rules().iter().map(|rule| rule.scope.as_str().into());
        let rules = rules.collect();
        Snapshot {
            services,
            rules,
            cores,
            log_lines_dropped: logging::dropped(),
            internal_errors: internal_errors::count(),
        }
    }

    fn answer(&self, asker: Asker, answer: Result<Principal, Refusal>) {
        match asker {
            Asker::Session(id, token) => {
                if let Some(core) = self.cores.get(usize::from(id.core)) {
                    core.send(ToCore::Login(id, token, answer));
                }
            }
            // A request that has gone in the meantime needs no answer.
            Asker::Request(request) => drop(request.send(answer)),
        }
    }
}

/// Says that a login failed, in the words that `docs/security.md` promises to those who read it by
/// a program: the name comes last, quoted and escaped, so that it cannot forge what stands before.
fn log_failure(name: &str, address: IpAddr, protocol: &str, attempts: u32) {
    let address = address.to_canonical();
    let name = &*excerpt(name, NAME_CHARS_MAX);
    tracing::warn!(%address, %protocol, attempts, name, "login failed");
}

/// Characters of a name that are logged.
const NAME_CHARS_MAX: usize = 64;
