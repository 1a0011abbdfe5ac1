//! One core, turn by turn. Nothing here waits.

mod authorise;
mod carry;
mod close;
mod connection;
mod deadlines;
mod end;
mod inbound;
mod outlet;
mod output;
mod principals;
mod receive;
mod relay;
mod run;
mod shard;
#[cfg(test)]
mod tests;
mod unwritten;

use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, atomic::Ordering, mpsc},
    time::Duration,
};

use auth::Action;
use broker::{
    Effect, Event, QueueDepth, RecordBatch, Shard, ShardMessage, SlowSubscription, Stats,
    Subscriber, WriteId,
};
use contract::{
    Command, ConnectionId, ConnectionLimits, Delivery, Input, Lane, Now, Opening, Pattern,
    Principal, Refusal, Session, Token,
};
use tokio::sync::{Notify, oneshot};
use transports::{Io, Outgoing, Reactor, Slot, Socket, Stream, Timers};
use websocket::{Deflater, InflaterPool};
use wire::Map;

pub use self::authorise::Subject;
pub use self::carry::{Carrier, Gone, Pulled};
pub(crate) use self::connection::Connection;
pub use self::connection::Framing;
pub use self::inbound::InboundMessage;
pub(crate) use self::principals::Reload;
pub use self::run::NewCore;
use self::{
    connection::{ConnectionKind, Context, Life},
    end::End,
    outlet::{Outlet, Request, Tools},
    principals::{Principals, REVOKED, Review},
    unwritten::Unwritten,
};
use crate::{
    clock,
    cores::{Cores, Service, ToCore},
    counters::Counters,
    entropy::Entropy,
    handshakes::Handshakes,
    inbound::Inbound,
    log_limiter::LogLimiter,
    permit::ConnectionPermit,
    quotas::SharedLedger,
    store::Store,
};

/// One core: its sockets, sessions and shard. Only its own thread touches it.
pub struct Core {
    cores: Arc<Cores>,
    index: u16,
    now: Now,
    reactor: Reactor<Connection>,
    timers: Timers,
    shard: Shard,
    effects: Vec<Effect>,
    /// Messages on their way to the same list of subscriptions.
    run: Vec<Delivery>,
    /// What waits for the end of a run.
    late_effects: Vec<Effect>,
    /// The last batch of the shard, where there is no store.
    stored_in_memory: Option<WriteId>,
    tools: Tools,
    /// The bounds of each service: this core's own copies, whose counts no other core touches.
    limits: Vec<Rc<ConnectionLimits>>,
    buffer: Box<[u8]>,
    inflaters: InflaterPool,
    /// What its peers have sent in part.
    inbound: Inbound,
    inbox: mpsc::Receiver<ToCore>,
    /// Messages of its shard to the others, by core.
    shard_messages: Vec<Vec<ShardMessage>>,
    /// What the shard wrote in this turn, and its bytes.
    record_batches: Vec<RecordBatch>,
    record_bytes: usize,
    /// Of lines about queues that may take no more.
    quota_limiter: LogLimiter,
    /// Of lines about subscribers of topics for whom too much waits.
    shed_limiter: LogLimiter,
    dead_letters_limiter: LogLimiter,
    /// Publications of tasks (HTTP, feeds) that wait for their replies.
    tasks: Map<Token, oneshot::Sender<Result<(), Refusal>>>,
    task_tokens: u64,
    /// Deliveries from queues that are not written, by the index of the slot.
    unwritten: Map<u32, Unwritten>,
    /// Sockets whose backlog has gone since their sessions were last told.
    flushed: Vec<Slot>,
    /// The backlogs of all sockets, in bytes; shares of large frames not counted.
    own_backlog_bytes: usize,
    /// The most memory that backlogs took since some was last returned.
    backlog_memory_max: usize,
    /// What was done in this turn, in deliveries or what costs as much.
    spent: usize,
    /// The connections of those who have logged in.
    principals: Principals,
    /// The last change of users and access rules, while it is still to be compared with connections.
    reload: Option<Arc<Reload>>,
    to_review: VecDeque<Review>,
    /// That of the last such change.
    users_version: u64,
    /// Sockets that are still to be closed, once the core is shut down.
    to_shut_down: VecDeque<Slot>,
    is_shutting_down: bool,
    end: End,
    shutdown_next_mono_ns: u64,
    shard_next_mono_ns: u64,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("index", &self.index).finish_non_exhaustive()
    }
}

/// A core, for the tasks on its thread.
#[derive(Clone)]
pub struct CoreRef {
    core: Rc<RefCell<Core>>,
    /// Wakes the reactor's task.
    work: Rc<Notify>,
    handshakes: Handshakes,
    cores: Arc<Cores>,
    index: u16,
}

impl std::fmt::Debug for CoreRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CoreRef")
    }
}

impl CoreRef {
    fn new(core: Core) -> Self {
        let work = Rc::new(Notify::new());
        Self {
            handshakes: Handshakes::new(Rc::clone(&work)),
            work,
            cores: Arc::clone(&core.cores),
            index: core.index,
            core: Rc::new(RefCell::new(core)),
        }
    }

    /// Does something with the core at once, and wakes its loop for what follows. Within that no other
    /// method may be called, but what is dropped may have a part in the core, as a [`Carrier`] has.
    ///
    /// # Panics
    /// When it is called within itself.
    pub fn with<T>(&self, act: impl FnOnce(&mut Core) -> T) -> T {
        let result = act(&mut self.core.borrow_mut());
        self.work.notify_one();
        result
    }

    /// As [`CoreRef::with`], for what is dropped: if that is within a call, it is done after that.
    fn with_when_free(&self, act: impl FnOnce(&mut Core) + Send + 'static) {
        if self.core.try_borrow_mut().is_ok() {
            self.with(act);
        } else if let Some(handle) = self.cores.handles().get(usize::from(self.index)) {
            handle.send(ToCore::Call(Box::new(move |core| core.with(act))));
        }
    }

    /// The TLS handshakes in flight.
    pub const fn handshakes(&self) -> &Handshakes {
        &self.handshakes
    }

    /// Moves a socket into the reactor, and opens its session. When that fails, the socket has gone
    /// or there are no descriptors left.
    pub fn register(
        &self,
        stream: Stream,
        registration: Registration<'_>,
        open: impl FnOnce(&Opening<'_>, Now) -> Box<dyn Session>,
    ) {
        let kind = |opening: &Opening<'_>, now| ConnectionKind::Session(open(opening, now));
        drop(self.with(|core| core.register(stream, registration, kind)));
    }

    /// Publishes for a task.
    pub async fn publish(
        &self,
        publisher: Publisher<'_>,
        make: impl FnOnce(u128, Now) -> contract::Message,
    ) -> Result<(), Refusal> {
        let reply = self.with(|core| {
            let message = make(core.tools.message_id(), clock::now());
            let account = match publisher {
                Publisher::Peer { subject, users_version } => {
                    // The message may have been received for long.
                    let renewed;
                    let mut subject = *subject;
                    if let Some(before) = subject.principal
                        && users_version < core.cores.users_version()
                    {
                        (renewed, _) = core.cores.principal_now(before, users_version)?;
                        subject.principal = Some(&renewed);
                    }
                    if subject.principal.is_some_and(|who| who.has_expired(clock::now())) {
                        return Err(Refusal::Expired);
                    }
                    core.tools.authorise(&subject, Action::Send(&message.to))?;
                    subject.principal.map(|who| core.cores.accounts.of(who, subject.peer.ip()))
                }
                Publisher::Internal => None,
            };
            core.task_tokens += 1;
            let token = Token(core.task_tokens);
            let (sender, receiver) = oneshot::channel();
            core.tasks.insert(token, sender);
            let command = Command::Publish(Lane::default(), Arc::new(message));
            let request = Request::Command(core.task_id(), token, command, account);
            core.tools.pending_requests.push_back(request);
            Ok(receiver)
        })?;
        reply.await.unwrap_or(Err(Refusal::Busy))
    }
}

/// For whom a task publishes.
#[derive(Clone, Copy, Debug)]
pub enum Publisher<'a> {
    /// A peer, by the access rules, and by what its user may when the message is published.
    Peer {
        /// Who it was when it logged in.
        subject: &'a Subject<'a>,
        /// The [`Cores::users_version`] by which that was so.
        users_version: u64,
    },
    /// The gateway itself, which the rules are not about: a feed, on its service's own topic.
    Internal,
}

/// What a socket is registered with.
#[derive(Debug)]
pub struct Registration<'a> {
    /// The index of its service in [`crate::Settings::services`].
    pub service: u16,
    /// What is spoken on it: one of [`crate::Settings::labels`].
    pub protocol: &'static str,
    /// How what its session sends is put on the wire.
    pub framing: Framing,
    /// Time of silence after which a WebSocket is pinged; zero: never.
    pub ping_interval: Duration,
    /// As [`Opening::subprotocol`].
    pub subprotocol: &'a str,
    /// As [`Opening::host`].
    pub host: &'a str,
    /// Whether its session may log in as anonymous.
    pub anonymous: bool,
    /// As [`Opening::principal`].
    pub principal: Option<Principal>,
    /// The [`Cores::users_version`] by which that was authenticated; anything without.
    pub users_version: u64,
    /// The peer, or whom a trusted proxy says it is.
    pub peer: SocketAddr,
    /// Counts it for as long as it lasts.
    pub permit: Option<ConnectionPermit>,
    /// What was read already and belongs to the protocol.
    pub early: &'a [u8],
}

/// What a turn leaves behind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// Something happened, so that more may have by now.
    pub(crate) busy: bool,
    /// When to turn again at the latest, on the clock of [`Now::mono_ns`].
    pub(crate) next_mono_ns: u64,
}

impl Core {
    pub(crate) fn new(
        cores: Arc<Cores>,
        index: u16,
        inbox: mpsc::Receiver<ToCore>,
        reactor: Reactor<Connection>,
    ) -> Self {
        let count = cores.handles().len();
        let settings = &cores.settings;
        let mut entropy = Entropy::default();
        #[expect(clippy::cast_possible_truncation, reason = "half of the random bits do")]
        let message_epoch = entropy.next() as u64;
        let tools = Tools {
            outgoing: outgoing(settings.io_uring),
            deflater: Deflater::new(),
            entropy,
            pending_requests: VecDeque::new(),
            dirty: Vec::new(),
            message_epoch,
            message_count: 0,
            core: index,
            cores: Arc::clone(&cores),
            access: settings.access.clone(),
            denials: LogLimiter::default(),
        };
        let services = settings.services.iter();
        let limits =
            services.map(|service| Rc::new(ConnectionLimits::clone(&service.limits))).collect();
        #[expect(clippy::cast_possible_truncation, reason = "the configuration bounds the threads")]
        let mut shard = Shard::new(
            index,
            count as u16,
            Arc::clone(&settings.broker_limits),
            Arc::clone(&settings.limits),
            Arc::<SharedLedger>::clone(&cores.ledger),
        )
        .with_waiting_bytes_max(settings.unsent_bytes_max_per_core / WAITING_PART)
        .with_latest_per_turn(LATEST_PER_TURN)
        .with_queue_rules(settings.queue_rules.clone())
        .since(clock::now().unix_ms);
        if let Some(store) = &settings.store {
            shard = shard
                .with_store(Arc::<dyn Store>::clone(store))
                .with_resident_bytes_max(RESIDENT_BYTES_MAX);
        }
        Self {
            cores,
            index,
            now: clock::now(),
            reactor,
            timers: Timers::default(),
            shard,
            effects: Vec::new(),
            run: Vec::new(),
            late_effects: Vec::new(),
            stored_in_memory: None,
            tools,
            limits,
            buffer: vec![0; READ_BYTES].into(),
            inflaters: InflaterPool::new(),
            inbound: Inbound::default(),
            inbox,
            shard_messages: (0..count).map(|_| Vec::new()).collect(),
            record_batches: Vec::new(),
            record_bytes: 0,
            quota_limiter: LogLimiter::default(),
            shed_limiter: LogLimiter::default(),
            dead_letters_limiter: LogLimiter::default(),
            tasks: Map::default(),
            task_tokens: 0,
            unwritten: Map::default(),
            flushed: Vec::new(),
            own_backlog_bytes: 0,
            backlog_memory_max: 0,
            spent: 0,
            principals: Principals::default(),
            reload: None,
            to_review: VecDeque::new(),
            users_version: 0,
            to_shut_down: VecDeque::new(),
            is_shutting_down: false,
            end: End::default(),
            shutdown_next_mono_ns: u64::MAX,
            shard_next_mono_ns: 0,
        }
    }

    /// One turn: does all there is to do, within a budget, and returns when the next is due.
    pub(crate) fn turn(&mut self) -> io::Result<Turn> {
        self.now = clock::now();
        self.spent = 0;
        if self.shard.is_turn_used() {
            self.apply(Event::Turn);
        }
        let mut busy = self.reactor.poll()?;
        for _ in 0..READS_PER_TURN {
            if self.spent > SPENT_PER_TURN {
                break;
            }
            let Some(slot) = self.reactor.next_readable() else { break };
            self.read_socket(slot);
        }
        while let Some(slot) = self.reactor.next_ended() {
            self.paused_peer_ended(slot);
        }
        while let Some(slot) = self.reactor.next_writable() {
            self.tools.dirty.push(slot);
        }
        self.check_deadlines();
        self.shut_down_some();
        self.review();
        if self.now.mono_ns >= self.shard_next_mono_ns {
            self.shard_next_mono_ns = self.now.mono_ns + SHARD_TIMER_NS;
            self.apply(Event::Timeout);
            self.log_shed();
            self.log_lost_dead_letters();
        }
        self.process_requests();
        // Before the sockets: the disk works meanwhile.
        self.store_records();
        self.flush();
        self.tools.deflater.forget_shared();
        self.send_shard_messages();
        busy |= self.reactor.readable_len() > 0 || self.has_unfinished();
        let timer = self.timers.next().unwrap_or(u64::MAX);
        let next_mono_ns = timer.min(self.shutdown_next_mono_ns).min(self.shard_next_mono_ns);
        Ok(Turn { busy, next_mono_ns })
    }

    /// Whether the turn was spent before all was done.
    fn has_unfinished(&self) -> bool {
        !self.tools.dirty.is_empty()
            || !self.tools.pending_requests.is_empty()
            || !self.flushed.is_empty()
            || !self.to_review.is_empty()
            || self.shard.has_deferred()
    }

    /// Takes what other threads have sent.
    pub(crate) fn next_message(&self) -> Option<ToCore> {
        self.inbox.try_recv().ok()
    }

    /// Takes a connection into the reactor. `kind` makes what it is for.
    pub(crate) fn register(
        &mut self,
        io: impl Into<Io>,
        mut registration: Registration<'_>,
        kind: impl FnOnce(&Opening<'_>, Now) -> ConnectionKind,
    ) -> io::Result<Slot> {
        self.now = clock::now();
        let mut is_revoked = false;
        if let Some(principal) = &mut registration.principal
            && registration.users_version < self.users_version
        {
            match self.cores.principal_now(principal, registration.users_version) {
                Ok(now) => (*principal, registration.users_version) = now,
                Err(_gone) => is_revoked = true,
            }
        }
        let users_version = registration.users_version;
        let service = service(&self.cores, registration.service);
        let opening = Opening {
            principal: registration.principal.as_ref(),
            subprotocol: registration.subprotocol,
            host: registration.host,
            kind: registration.framing.kind(),
            limits: &service.limits,
            protocol_limits: &service.protocol_limits,
            client_rules: self.cores.settings.client_rules,
            scram_for_all: self.cores.scram_for_all.load(Ordering::Relaxed),
            anonymous: registration.anonymous,
        };
        let kind = kind(&opening, self.now);
        let is_session = matches!(kind, ConnectionKind::Session(_));
        let principal = registration.principal.take();
        let is_upstream = matches!(kind, ConnectionKind::Upstream(_));
        let protocol = self.tools.counters().label(registration.protocol);
        let context = Context::new(registration, protocol, is_upstream, self.now);
        let slot = self.reactor.insert(io, Connection { life: Life::Open(kind), context })?;
        self.set_user_timeout(slot);
        self.opened(slot);
        if let Some(principal) = &principal {
            self.set_principal(slot, principal, users_version);
        }
        if self.is_shutting_down {
            self.to_shut_down.push_back(slot);
            self.shutdown_next_mono_ns = 0;
        }
        self.schedule_check(slot);
        if is_session {
            // The peer may know already that it is connected: it must receive what others publish
            // from now on. What they have requested before may wait for the next turn.
            let mut earlier = std::mem::take(&mut self.tools.pending_requests);
            self.step(slot, Input::Opened);
            self.process_requests();
            earlier.append(&mut self.tools.pending_requests);
            self.tools.pending_requests = earlier;
        }
        if is_revoked {
            self.end_login(slot, REVOKED);
        }
        Ok(slot)
    }

    /// Has the kernel know the write timeout of a connection, where that is not the one of all, which
    /// its listener has set.
    fn set_user_timeout(&self, slot: Slot) {
        let write_timeout = self.limits(slot).write_timeout;
        let is_usual = write_timeout == self.cores.settings.limits.write_timeout;
        // An upstream has no listener.
        if let Some(entry) = self.reactor.get(slot)
            && (entry.state.context.is_upstream || !is_usual)
            && let Err(error) = entry.socket.set_user_timeout(write_timeout)
        {
            tracing::debug!(%error, "a connection keeps the write timeout of its listener");
        }
    }

    /// See [`Event::KeepInterest`].
    pub fn keep_interest(&mut self, topic: Pattern) {
        self.apply(Event::KeepInterest(topic));
    }

    /// See [`Event::Cancel`].
    pub fn cancel(&mut self, subscriber: Subscriber, refusal: Refusal) {
        self.apply(Event::Cancel(subscriber, refusal));
    }

    fn opened(&self, slot: Slot) {
        let Some(entry) = self.reactor.get(slot) else { return };
        let context = &entry.state.context;
        if context.is_upstream {
            return;
        }
        let row = self.tools.row(context);
        row.open.add(1);
        row.opened.add(1);
        row.bytes_in.add(context.counts.bytes_in);
        tracing::info!(
            connection = %name(self.tools.id(slot)),
            peer = %context.peer,
            service = %service(&self.cores, context.service).path,
            protocol = self.tools.counters().name(context.protocol),
            "open"
        );
    }

    /// Advances a session by one input.
    fn step(&mut self, slot: Slot, input: Input<'_>) {
        self.step_each(slot, [input]);
    }

    /// Advances a session by inputs, one after the other.
    #[inline]
    fn step_each<'a>(&mut self, slot: Slot, inputs: impl IntoIterator<Item = Input<'a>>) {
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let (socket, connection) = (&mut entry.socket, &mut entry.state);
        let Some(session) = connection.life.session_mut() else { return };
        let context = &mut connection.context;
        let closed = advance(session, inputs, self.now, slot, socket, context, &mut self.tools);
        match closed {
            Some((reason, message)) => self.send_close(slot, reason, &message),
            // The other deadlines move earlier elsewhere.
            None if session.deadline().is_some_and(|at| at < context.check_mono_ns) => {
                self.schedule_check(slot);
            }
            None => {}
        }
    }

    /// Names the tasks of this core towards the shard.
    fn task_id(&self) -> ConnectionId {
        ConnectionId { core: self.index, slot: u32::MAX, generation: 0 }
    }

    /// What this core counts.
    pub fn counters(&self) -> &Arc<Counters> {
        self.tools.handle().counters()
    }

    /// What its shard of the broker counts.
    #[must_use]
    pub fn broker_stats(&self) -> Stats {
        self.shard.stats()
    }

    /// The queues at home on its shard of the broker.
    pub fn queues(&self) -> impl Iterator<Item = QueueDepth<'_>> {
        self.shard.queues()
    }

    /// The subscriptions of its connections that got less than was published.
    pub fn slow_subscriptions(&self) -> impl Iterator<Item = SlowSubscription<'_>> {
        self.shard.slow_subscriptions()
    }

    /// Its connections, those on their way to it included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.tools.handle().connections()
    }
}

/// Advances a session by inputs, until it closes; returns why it has.
#[inline]
fn advance<'a>(
    session: &mut dyn Session,
    inputs: impl IntoIterator<Item = Input<'a>>,
    now: Now,
    slot: Slot,
    socket: &mut Socket,
    context: &mut Context,
    tools: &mut Tools,
) -> Option<(contract::Reason, String)> {
    let mut outlet = Outlet { slot, socket, context, tools, closed: None };
    for input in inputs {
        session.handle(input, now, &mut outlet);
        if outlet.closed.is_some() {
            break;
        }
    }
    outlet.closed
}

fn outgoing(with_ring: bool) -> Outgoing {
    if !with_ring {
        return Outgoing::default();
    }
    Outgoing::with_ring().unwrap_or_else(|error| {
        tracing::warn!(%error, "io_uring is not available; each socket is written by itself");
        Outgoing::default()
    })
}

const fn slot_of(id: ConnectionId) -> Slot {
    Slot { index: id.slot, generation: id.generation }
}

/// How logs and metrics name a connection.
#[must_use]
pub fn name(id: ConnectionId) -> String {
    format!("{}.{}.{}", id.core, id.slot, id.generation)
}

#[expect(clippy::indexing_slicing, reason = "indices of services, which never change")]
fn service(cores: &Cores, index: u16) -> &Service {
    &cores.settings.services[usize::from(index)]
}

/// The part of what may be unsent that may wait for subscriptions to topics beside it.
const WAITING_PART: usize = 4;
/// The read buffer that a core's sockets share.
const READ_BYTES: usize = 64 << 10;
/// Sockets read in a turn before what they caused is sent.
const READS_PER_TURN: usize = 1024;
/// Deliveries, or what costs as much, after which a turn reads no more: some 20 ms. Less would cost
/// more writes: what a turn has for a socket goes out together.
const SPENT_PER_TURN: usize = 200_000;
/// Deliveries of the latest in a turn, or what costs as much: some 0.2 ms. Their subscribers can always
/// take more, so that all others wait for as long in each turn.
const LATEST_PER_TURN: usize = 128;
/// Memory of the durable messages that wait in the queues of a core; the rest of them is in the store
/// only.
const RESIDENT_BYTES_MAX: usize = 64 << 20;
/// Bytes whose decoding and copying, or writing, cost about as much as a delivery.
const BYTES_PER_SPENT: usize = 128;
/// How often a shard looks for what has expired: 100 ms.
const SHARD_TIMER_NS: u64 = 100_000_000;
