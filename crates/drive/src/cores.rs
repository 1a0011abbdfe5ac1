//! What all cores share, and the way to each of them.

use std::{
    io,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use auth::{Access, Logins, Mechanism, Users};
use broker::{
    LoadId, OnDisk, Placement, QueueId, QueuePosition, Restored, RestoredNumbers, ShardMessage,
    StoreStats, Terms, WriteId,
};
use contract::{
    BrokerLimits, ClientRules, ConnectionId, ConnectionLimits, Message, ProtocolLimits, QueueRules,
    QuotaLimits, Refusal, Step, Token, internal,
};
use tokio::sync::oneshot;
use transports::Reactor;

use crate::{
    counters::Counters,
    event_loop::{Connection, CoreRef, NewCore, Reload},
    inbound::InboundPool,
    logins::{Waiter, login_key},
    permit::ConnectionPermit,
    quotas::{Accounts, SharedLedger},
    store::Store,
    upstream::{Upstream, UpstreamQueue, UpstreamStats},
};

/// All cores, and what they share. For a message nothing of it is written but counters and, for
/// other cores, their channels; for some hundred messages to queues, the ledger.
#[derive(Debug)]
pub struct Cores {
    pub(crate) settings: Settings,
    handles: Vec<CoreHandle>,
    pub(crate) ledger: Arc<SharedLedger>,
    pub(crate) accounts: Accounts,
    /// Whether much memory has been freed since [`Cores::take_freed`] was last called.
    freed: AtomicBool,
    messages_left: AtomicUsize,
    /// Rounds at their end, of all cores.
    rounds_ended: AtomicUsize,
    pub(crate) inbound: InboundPool,
    pub(crate) logins: Mutex<Logins<Waiter>>,
    /// [`Logins::users_version`], to be read without the lock.
    pub(crate) users_version: AtomicU64,
    /// Every user can log in by SCRAM-SHA-256.
    pub(crate) scram_for_all: AtomicBool,
    /// The access rules; each core has a reference of its own to them.
    pub(crate) access: Mutex<Access>,
    /// Wakes a hashing thread that waits for jobs.
    pub(crate) hashing: Condvar,
}

/// What is the same on all cores, and does not change.
#[derive(Debug)]
pub struct Settings {
    /// The services, which connections name by their index here.
    pub services: Vec<Service>,
    /// What metrics and logs call what is spoken on a connection.
    pub labels: Vec<&'static str>,
    /// The bounds of the broker.
    pub broker_limits: Arc<BrokerLimits>,
    /// What is said of queues at first.
    pub queue_rules: QueueRules,
    /// What holds for clients of the broker.
    pub client_rules: ClientRules,
    /// The bounds of what all its shards have together.
    pub quotas: QuotaLimits,
    /// The bounds of what belongs to no service.
    pub limits: Arc<ConnectionLimits>,
    /// Who may log in at first.
    pub users: Users,
    /// Who may subscribe and send where at first.
    pub access: Access,
    /// Where durable messages are kept; `None`: in memory, as all others.
    pub store: Option<Arc<dyn Store>>,
    /// Whether io_uring sends what goes to many sockets at once.
    pub io_uring: bool,
    /// Bytes that wait for slow peers, over all connections of a core; beyond, the largest backlog
    /// is closed first.
    pub unsent_bytes_max_per_core: usize,
    /// The memory of what peers have sent in part, over all cores; beyond, the largest is refused.
    pub inbound_bytes_max: usize,
}

/// A service, as far as its connections need it.
#[derive(Debug)]
pub struct Service {
    /// What logs call it.
    pub path: Box<str>,
    /// What its connections are relayed to, if they are.
    pub upstream: Option<Arc<Upstream>>,
    /// The bounds of its connections.
    pub limits: Arc<ConnectionLimits>,
    /// The bounds of the protocols that are spoken on them.
    pub protocol_limits: Arc<ProtocolLimits>,
}

/// The way to a core from outside its thread.
#[derive(Debug)]
pub struct CoreHandle {
    inbox: mpsc::Sender<ToCore>,
    /// Wakes its reactor.
    waker: Arc<mio::Waker>,
    connections: Arc<AtomicUsize>,
    arriving: AtomicUsize,
    counters: Arc<Counters>,
}

/// What is sent to a core.
pub(crate) enum ToCore {
    /// A new socket.
    Socket(Arrival),
    /// What another core's shard has to say to this one's, in order.
    ShardMessages(u16, Vec<ShardMessage>),
    /// The outcome of a session's login, by users with this version.
    Login(ConnectionId, Token, Result<Step, Refusal>, u64),
    /// Users and access rules were changed.
    Reload(Arc<Reload>),
    /// What is said of queues from now on.
    QueueRules(QueueRules),
    /// The batches of its shard up to this one are stored.
    Stored(WriteId),
    /// This one is not, and will not be.
    StoreRefused(WriteId, Refusal),
    /// The store is open, or could not be opened.
    StoreOpened(bool),
    /// The durable subscriptions that the store has kept.
    Bound(Vec<(QueueId, Arc<Terms>)>),
    /// What it has kept for its shard.
    Restored(Vec<Restored>),
    /// What it has kept of producers for its shard.
    RestoredNumbers(Vec<RestoredNumbers>),
    /// What a queue of its shard works by of what it has kept.
    RestoredOnDisk(QueueId, Vec<OnDisk>),
    /// What it was to load for its shard.
    Loaded(LoadId, QueueId, Vec<LoadedMessage>),
    /// Something to do there.
    Call(Box<dyn FnOnce(&CoreRef) + Send>),
    /// Refuse the largest message received in part: others have no memory left.
    FreeInbound,
    /// Close all connections, in their protocols' ways.
    Shutdown,
    /// All cores have come to the end of a round of their end.
    RoundEnded,
}

/// A message that was to be loaded; `None`: it cannot be read, or is not there any more.
pub type LoadedMessage = (QueuePosition, Option<Arc<Message>>);

/// A socket that was accepted, for the core that is to have it.
#[derive(Debug)]
pub struct Arrival {
    /// The socket.
    pub stream: std::net::TcpStream,
    /// The listener that accepted it.
    pub listener: usize,
    /// Counts it.
    pub permit: ConnectionPermit,
}

impl Cores {
    /// This many cores, which are still to run, each on a thread of its own.
    ///
    /// # Errors
    /// When the kernel has no descriptors for them.
    pub fn new(settings: Settings, count: usize) -> io::Result<(Arc<Self>, Vec<NewCore>)> {
        let mut handles = Vec::new();
        let mut parts = Vec::new();
        for _ in 0..count {
            let (reactor, waker) = Reactor::<Connection>::new()?;
            let (sender, inbox) = mpsc::channel();
            let services = settings.services.len();
            handles.push(CoreHandle {
                inbox: sender,
                waker,
                connections: Arc::default(),
                arriving: AtomicUsize::new(0),
                counters: Arc::new(Counters::new(&settings.labels, services)),
            });
            parts.push((reactor, inbox));
        }
        // What delays failed logins must leave time for one everywhere.
        let times = settings.services.iter().map(|service| service.limits.login_timeout);
        let login_timeout = times.fold(settings.limits.login_timeout, Duration::min);
        let logins = Logins::new(settings.users.clone(), &login_key(), login_timeout);
        let ledger = Arc::new(SharedLedger::new(settings.quotas));
        let inbound = InboundPool::new(settings.inbound_bytes_max, count);
        let access = settings.access.clone();
        let scram_for_all = AtomicBool::new(settings.users.all_have(Mechanism::Sha256));
        let cores = Arc::new(Self {
            settings,
            handles,
            ledger,
            accounts: Accounts::default(),
            freed: AtomicBool::new(false),
            messages_left: AtomicUsize::new(0),
            rounds_ended: AtomicUsize::new(0),
            inbound,
            logins: Mutex::new(logins),
            users_version: AtomicU64::new(0),
            scram_for_all,
            access: Mutex::new(access),
            hashing: Condvar::new(),
        });
        let new = (0..).zip(parts).map(|(index, (reactor, inbox))| {
            NewCore::new(Arc::clone(&cores), index, inbox, reactor)
        });
        let new = new.collect();
        Ok((cores, new))
    }

    /// The memory for what peers have sent in part.
    #[must_use]
    pub const fn inbound(&self) -> &InboundPool {
        &self.inbound
    }

    /// What is known of the addresses of each service's upstream, by the service's index.
    pub fn upstreams(&self) -> impl Iterator<Item = (usize, UpstreamStats)> {
        let services = self.settings.services.iter().enumerate();
        services.flat_map(|(index, service)| {
            service
                .upstream
                .iter()
                .flat_map(move |upstream| upstream.stats().map(move |s| (index, s)))
        })
    }

    /// The connections that wait for their turn to be opened, by the index of their service.
    pub fn upstream_queues(&self) -> impl Iterator<Item = (usize, UpstreamQueue)> {
        let services = self.settings.services.iter().enumerate();
        services.filter_map(|(index, service)| Some((index, service.upstream.as_ref()?.queue())))
    }

    /// So many are left on a core, which has said before that it were others.
    pub(crate) fn add_messages_left(&self, messages: usize, before: usize) {
        self.messages_left.fetch_add(messages, Ordering::Relaxed);
        self.messages_left.fetch_sub(before, Ordering::Relaxed);
    }

    /// A core has no connections any more, and has done all that came until now. What it sent others meanwhile
    /// is in their inboxes before they know that all have.
    pub(crate) fn core_ended_round(&self) {
        let ended = self.rounds_ended.fetch_add(1, Ordering::AcqRel) + 1;
        if ended.is_multiple_of(self.handles.len()) {
            self.handles.iter().for_each(|core| core.send(ToCore::RoundEnded));
        }
    }

    /// Replaces what is said of queues.
    pub fn set_queue_rules(&self, rules: &QueueRules) {
        for core in self.handles() {
            core.send(ToCore::QueueRules(rules.clone()));
        }
    }

    /// The batches of a core's shard up to this one are stored.
    pub fn stored(&self, core: u16, upto: WriteId) {
        self.send_of_store(core, ToCore::Stored(upto));
    }

    /// The store has refused a batch of a core's shard; [`broker::Event::StoreRefused`] says which may
    /// be.
    pub fn store_refused(&self, core: u16, write: WriteId, refusal: Refusal) {
        self.send_of_store(core, ToCore::StoreRefused(write, refusal));
    }

    /// The store is open, or could not be opened: all shards are told, behind what it has kept.
    pub fn store_opened(&self, is_open: bool) {
        self.handles.iter().for_each(|core| core.send(ToCore::StoreOpened(is_open)));
    }

    /// The store has loaded messages of a queue of a core's shard.
    pub fn loaded(&self, core: u16, id: LoadId, queue: QueueId, messages: Vec<LoadedMessage>) {
        self.send_of_store(core, ToCore::Loaded(id, queue, messages));
    }

    /// As [`Cores::restore`], of messages whose bodies stay on the disk.
    pub fn restore_on_disk(&self, queue: &QueueId, messages: Vec<OnDisk>) {
        let placement = Placement::new(u16::try_from(self.handles.len()).unwrap_or(u16::MAX));
        let home = placement.home(queue.name());
        self.send_of_store(home, ToCore::RestoredOnDisk(queue.clone(), messages));
    }

    fn send_of_store(&self, core: u16, what: ToCore) {
        match self.handles.get(usize::from(core)) {
            Some(core) => core.send(what),
            None => internal!("the store has a batch of a core that does not exist"),
        }
    }

    /// Binds the durable subscriptions that the store has kept, and puts messages into their queues,
    /// before all that comes later.
    pub fn restore(
        &self,
        bindings: &[(QueueId, Arc<Terms>)],
        messages: impl IntoIterator<Item = Restored>,
    ) {
        for core in self.handles.iter().filter(|_| !bindings.is_empty()) {
            core.send(ToCore::Bound(bindings.to_vec()));
        }
        for (core, restored) in self.by_home(messages, |restored| &restored.queue) {
            core.send(ToCore::Restored(restored));
        }
    }

    /// Tells the cores what the store has kept of producers, before all that comes later.
    pub fn restore_numbers(&self, producers: impl IntoIterator<Item = RestoredNumbers>) {
        for (core, restored) in self.by_home(producers, |restored| &restored.queue) {
            core.send(ToCore::RestoredNumbers(restored));
        }
    }

    /// What each core's shard is to have, where it is something.
    fn by_home<T>(
        &self,
        all: impl IntoIterator<Item = T>,
        queue: impl Fn(&T) -> &QueueId,
    ) -> impl Iterator<Item = (&CoreHandle, Vec<T>)> {
        let placement = Placement::new(u16::try_from(self.handles.len()).unwrap_or(u16::MAX));
        let mut by_core: Vec<Vec<T>> = self.handles.iter().map(|_| Vec::new()).collect();
        for one in all {
            let home = placement.home(queue(&one).name());
            if let Some(core) = by_core.get_mut(usize::from(home)) {
                core.push(one);
            }
        }
        self.handles.iter().zip(by_core).filter(|(_, of_core)| !of_core.is_empty())
    }

    /// Messages that were in queues when their cores ended, or had no connections any more.
    #[must_use]
    pub fn messages_left(&self) -> usize {
        self.messages_left.load(Ordering::Relaxed)
    }

    /// What the store has done; `None`: none is open.
    #[must_use]
    pub fn store_stats(&self) -> Option<StoreStats> {
        self.settings.store.as_ref().and_then(|store| store.stats())
    }

    /// The way to each core.
    #[must_use]
    pub fn handles(&self) -> &[CoreHandle] {
        &self.handles
    }

    /// The core that has the fewest connections.
    #[must_use]
    pub fn least_loaded(&self) -> Option<&CoreHandle> {
        self.handles.iter().min_by_key(|core| core.connections())
    }

    /// The connections of all cores.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.handles.iter().map(CoreHandle::connections).sum()
    }

    /// Closes all connections, in their protocols' ways. The cores end when all have gone.
    pub fn shut_down(&self) {
        for core in &self.handles {
            core.send(ToCore::Shutdown);
        }
    }

    /// Calls a function on each core, and returns their results in the cores' order.
    pub async fn call_all<T: Send + 'static>(&self, call: fn(&CoreRef) -> T) -> Vec<T> {
        let mut pending = Vec::new();
        for core in &self.handles {
            let (sender, receiver) = oneshot::channel();
            // The caller may have gone.
            let call = Box::new(move |core: &CoreRef| drop(sender.send(call(core))));
            core.send(ToCore::Call(call));
            pending.push(receiver);
        }
        let mut results = Vec::new();
        for result in pending {
            results.extend(result.await);
        }
        results
    }

    /// Whether much memory has been freed since this was last called.
    #[must_use]
    pub fn take_freed(&self) -> bool {
        self.freed.swap(false, Ordering::Relaxed)
    }

    /// Much memory has been freed.
    pub(crate) fn set_freed(&self) {
        self.freed.store(true, Ordering::Relaxed);
    }
}

impl CoreHandle {
    /// Its connections, those on their way to it included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Sockets on their way to it.
    #[must_use]
    pub fn arriving(&self) -> usize {
        self.arriving.load(Ordering::Relaxed)
    }

    /// Hands it a socket.
    pub fn accept(&self, stream: std::net::TcpStream, listener: usize) {
        self.arriving.fetch_add(1, Ordering::Relaxed);
        let permit = ConnectionPermit::new(&self.connections);
        self.send(ToCore::Socket(Arrival { stream, listener, permit }));
    }

    /// A socket has been taken from the inbox.
    pub(crate) fn arrived(&self) {
        self.arriving.fetch_sub(1, Ordering::Relaxed);
    }

    /// What it counts.
    #[must_use]
    pub const fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Sends something and wakes the core. A core that has ended takes nothing.
    pub(crate) fn send(&self, what: ToCore) {
        if self.inbox.send(what).is_ok() {
            drop(self.waker.wake());
        }
    }
}
