//! What connections are relayed to: the addresses of a service, and how they are.

use std::{
    cell::Cell,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use contract::Now;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time,
};
use transports::ClientTls;

use crate::{event_loop::Framing, log_limiter::LogLimiter, lookup::Name};

/// The servers that a service relays its connections to. Each is at an address of its own, and any
/// of them will do.
///
/// Nothing polls them: an address is down from a connection that cannot be opened until one is.
/// While it is down it is tried by one connection at a time, after a pause that grows; the others go
/// to those that are up, to the one with the fewest connections. When all are down, the one that
/// failed first is tried.
#[derive(Debug)]
pub struct Upstream {
    addresses: Vec<Address>,
    /// How long a connection may take to be open: the look-up of the name, TCP, TLS and a
    /// WebSocket's handshake, at all addresses together.
    pub(crate) connect_timeout: Duration,
    /// Whether a connection begins with the PROXY protocol, which says whose it is.
    pub(crate) proxy_protocol: bool,
    /// Counts connections, so that of equal addresses each has its turn.
    turn: AtomicUsize,
    /// Connections that may be opened at a time; more wait.
    opening: Semaphore,
    /// Connections that wait for that.
    waiting: AtomicUsize,
    /// Connections that were refused, since too many waited or they would have waited too long.
    refused: AtomicU64,
}

/// An address of an [`Upstream`].
#[derive(Debug)]
pub struct UpstreamAddress {
    /// What logs and metrics call it, such as `tls://rabbit.internal:5671`.
    pub label: Box<str>,
    /// A name, or an IP address without brackets.
    pub host: Box<str>,
    /// The port.
    pub port: u16,
    /// How TLS is spoken, if it is.
    pub tls: Option<ClientTls>,
    /// What is requested there as a WebSocket; `None`: the connection is a stream.
    pub websocket: Option<Resource>,
}

/// What is requested of a server as a WebSocket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Resource {
    /// The host, and the port unless it is the scheme's own.
    pub host: Box<str>,
    /// The path, and the query if there is one.
    pub path: Box<str>,
}

#[derive(Debug)]
pub(crate) struct Address {
    pub(crate) label: Box<str>,
    pub(crate) name: Name,
    pub(crate) port: u16,
    pub(crate) tls: Option<ClientTls>,
    pub(crate) websocket: Option<Resource>,
    /// Connections, those that are being opened included.
    open: AtomicUsize,
    opened: AtomicU64,
    failed: AtomicU64,
    /// TLS handshakes that were completed, and that failed or took too long.
    handshakes: [AtomicU64; 2],
    health: Mutex<Health>,
}

/// How an address is.
#[derive(Debug, Default)]
struct Health {
    down: Option<Down>,
    /// The subprotocol of the client for which a connection was opened last. What fails with another
    /// may be that client's doing.
    agreed: Option<Box<str>>,
    limiter: LogLimiter<LINES_PER_SECOND>,
}

/// How long an address has been down, and why.
#[derive(Debug)]
struct Down {
    why: String,
    /// How often it was tried in vain.
    failures: u32,
    since_mono_ns: u64,
    /// When it was last tried in vain.
    failed_mono_ns: u64,
    /// Not tried before that while others are up.
    until_mono_ns: u64,
}

/// What is known of an address, for metrics.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpstreamStats {
    /// As [`UpstreamAddress::label`].
    pub label: Box<str>,
    /// Whether the last connection could be opened, or none was yet.
    pub is_up: bool,
    /// Connections, those that are being opened included.
    pub open: usize,
    /// Connections that were opened.
    pub opened: u64,
    /// Connections that could not be opened.
    pub failed: u64,
    /// TLS handshakes that were completed, and that failed or took too long; `None`: it has no TLS.
    pub handshakes: Option<[u64; 2]>,
}

/// What is known of the connections that wait until others are opened, for metrics.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UpstreamQueue {
    /// Connections that wait.
    pub waiting: usize,
    /// Connections that were refused, since too many waited or they would have waited too long.
    pub refused: u64,
}

/// Too many connections are being opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct QueueFull;

impl Upstream {
    /// One that is at these addresses. A connection to one must be open within `connect_timeout`; with
    /// `proxy_protocol` it begins with a header of that, version 2.
    #[must_use]
    pub fn new(
        addresses: Vec<UpstreamAddress>,
        connect_timeout: Duration,
        proxy_protocol: bool,
    ) -> Self {
        let address = |UpstreamAddress { label, host, port, tls, websocket }| Address {
            label,
            name: Name::new(host),
            port,
            tls,
            websocket,
            open: AtomicUsize::new(0),
            opened: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            handshakes: Default::default(),
            health: Mutex::default(),
        };
        Self {
            addresses: addresses.into_iter().map(address).collect(),
            connect_timeout,
            proxy_protocol,
            turn: AtomicUsize::new(0),
            opening: Semaphore::new(OPENING_MAX),
            waiting: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// What is known of the connections that wait until others are opened.
    pub fn queue(&self) -> UpstreamQueue {
        UpstreamQueue {
            waiting: self.waiting.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    /// Waits for the turn of a connection to be opened.
    ///
    /// # Errors
    /// When too many wait already, or it does not come within `timeout`.
    pub(crate) async fn turn_to_open(
        &self,
        timeout: Duration,
    ) -> Result<SemaphorePermit<'_>, QueueFull> {
        if let Ok(turn) = self.opening.try_acquire() {
            return Ok(turn);
        }
        let turn = match Waiting::new(&self.waiting) {
            Ok(_waiting) => time::timeout(timeout, self.opening.acquire()).await.ok(),
            Err(QueueFull) => None,
        };
        turn.and_then(Result::ok).ok_or_else(|| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            QueueFull
        })
    }

    /// What is known of each address.
    pub fn stats(&self) -> impl Iterator<Item = UpstreamStats> {
        self.addresses.iter().map(|address| UpstreamStats {
            label: address.label.clone(),
            is_up: address.health().down.is_none(),
            open: address.open.load(Ordering::Relaxed),
            opened: address.opened.load(Ordering::Relaxed),
            failed: address.failed.load(Ordering::Relaxed),
            handshakes: address
                .tls
                .as_ref()
                .map(|_| address.handshakes.each_ref().map(|count| count.load(Ordering::Relaxed))),
        })
    }

    /// The address for a connection that was tried in vain at some already, and how many are left
    /// then. None when all were tried, or when those left are down and not to be tried yet.
    pub(crate) fn choose(
        self: &Arc<Self>,
        tried: &[usize],
        now: Now,
    ) -> Option<(UpstreamPermit, usize)> {
        let count = self.addresses.len();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let after_turn = |index: usize| index.wrapping_sub(turn) % count;
        let open = |index: usize| self.address(index).open.load(Ordering::Relaxed);
        let due = |index: &usize| !tried.contains(index) && self.address(*index).is_due(now);
        let due: Vec<usize> = (0..count).filter(due).collect();
        let chosen = due.iter().copied().min_by_key(|&index| (open(index), after_turn(index)));
        let chosen = chosen.or_else(|| {
            let all = (0..count).filter(|_| tried.is_empty());
            all.min_by_key(|&index| self.address(index).failed_mono_ns())
        })?;
        self.address(chosen).open.fetch_add(1, Ordering::Relaxed);
        let trial = Cell::new(self.address(chosen).claim(now));
        let permit = UpstreamPermit { upstream: Arc::clone(self), index: chosen, trial };
        Some((permit, due.len().saturating_sub(1)))
    }

    #[expect(clippy::indexing_slicing, reason = "indices of addresses, which never change")]
    fn address(&self, index: usize) -> &Address {
        &self.addresses[index]
    }
}

impl Address {
    /// How what is sent there is put on the wire.
    pub(crate) const fn framing(&self) -> Framing {
        match self.websocket {
            Some(_) => Framing::WebSocketClient,
            None => Framing::Stream,
        }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is up, or is to be tried again.
    fn is_due(&self, now: Now) -> bool {
        self.health().down.as_ref().is_none_or(|down| down.until_mono_ns <= now.mono_ns)
    }

    fn failed_mono_ns(&self) -> u64 {
        self.health().down.as_ref().map_or(0, |down| down.failed_mono_ns)
    }

    /// While it is down, one connection at a time tries it.
    fn claim(&self, now: Now) -> Option<Trial> {
        let mut health = self.health();
        let down = health.down.as_mut()?;
        let until_mono_ns = now.after(pause(down.failures, u128::MAX));
        let before_mono_ns = mem::replace(&mut down.until_mono_ns, until_mono_ns);
        Some(Trial { until_mono_ns, before_mono_ns })
    }

    /// A connection that tried it has ended without an outcome: the next may, unless there has been
    /// an outcome of another since, or another tries it.
    fn release(&self, trial: Trial) {
        if let Some(down) = &mut self.health().down
            && down.until_mono_ns == trial.until_mono_ns
        {
            down.until_mono_ns = trial.before_mono_ns;
        }
    }
}

impl Health {
    fn is_well(&mut self, now: Now) -> Option<Recovery> {
        let since_mono_ns = self.down.take()?.since_mono_ns;
        let down_for = Duration::from_nanos(now.mono_ns.saturating_sub(since_mono_ns));
        Some(Recovery { down_for, missed: self.limiter.due(now)? })
    }
}

/// Pauses before an address that is down is tried again grow from the first to the last. Those who
/// share an upstream do not try it together: `random` shortens each by up to a half.
fn pause(failures: u32, random: u128) -> Duration {
    let longest =
        PAUSE_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(PAUSE_LAST);
    let half = longest / 2;
    let part = half.mul_f64(random as f64 / u128::MAX as f64);
    half + part.min(half)
}

/// A connection that waits for its turn, counted until this is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Result<Self, QueueFull> {
        if count.fetch_add(1, Ordering::Relaxed) < WAITING_MAX {
            return Ok(Self(count));
        }
        count.fetch_sub(1, Ordering::Relaxed);
        Err(QueueFull)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a connection that tries an address which is down makes of [`Down::until_mono_ns`], and what
/// that was before.
#[derive(Clone, Copy, Debug)]
struct Trial {
    until_mono_ns: u64,
    before_mono_ns: u64,
}

/// A connection to an address, counted until this is dropped.
#[derive(Debug)]
pub(crate) struct UpstreamPermit {
    upstream: Arc<Upstream>,
    index: usize,
    /// While the address is down this connection tries it, and has no outcome yet.
    trial: Cell<Option<Trial>>,
}

impl UpstreamPermit {
    /// Which of the addresses it is.
    pub(crate) const fn index(&self) -> usize {
        self.index
    }

    pub(crate) fn address(&self) -> &Address {
        self.upstream.address(self.index)
    }

    /// Whether the last connection that was opened had this subprotocol of a client. `None`: none was
    /// opened yet.
    pub(crate) fn agreed_to(&self, subprotocol: &str) -> Option<bool> {
        self.address().health().agreed.as_deref().map(|agreed| agreed == subprotocol)
    }

    /// The connection is open, for a client with this subprotocol. Returns what is to be logged of
    /// that, if the address had been down.
    pub(crate) fn opened(&self, subprotocol: &str, now: Now) -> Option<Recovery> {
        let address = self.address();
        self.trial.set(None);
        address.opened.fetch_add(1, Ordering::Relaxed);
        let mut health = address.health();
        if health.agreed.as_deref() != Some(subprotocol) {
            health.agreed = Some(subprotocol.into());
        }
        health.is_well(now)
    }

    /// The server does not want this client, and so is well. Returns what [`UpstreamPermit::opened`] does.
    pub(crate) fn refused(&self, now: Now) -> Option<Recovery> {
        self.not_opened();
        self.trial.set(None);
        self.address().health().is_well(now)
    }

    /// The TLS handshake with it has ended.
    pub(crate) fn shook_hands(&self, is_done: bool) {
        let [done, failed] = &self.address().handshakes;
        let count = if is_done { done } else { failed };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// The connection could not be opened, which says nothing of the server.
    pub(crate) fn not_opened(&self) {
        self.address().failed.fetch_add(1, Ordering::Relaxed);
    }

    /// The connection cannot be opened. If that is to be logged, since the address was up, or down for
    /// another reason, returns how often such a line was left out.
    pub(crate) fn failed(&self, why: &str, now: Now, random: u128) -> Option<u64> {
        self.not_opened();
        self.trial.set(None);
        let mut health = self.address().health();
        let before = health.down.take();
        let is_news = before.as_ref().is_none_or(|down| down.why != why);
        let failures = before.as_ref().map_or(0, |down| down.failures).saturating_add(1);
        health.down = Some(Down {
            why: why.to_owned(),
            failures,
            since_mono_ns: before.map_or(now.mono_ns, |down| down.since_mono_ns),
            failed_mono_ns: now.mono_ns,
            until_mono_ns: now.after(pause(failures, random)),
        });
        if is_news { health.limiter.due(now) } else { None }
    }
}

/// What is logged of an address that is up again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Recovery {
    pub(crate) down_for: Duration,
    /// How often such a line was left out.
    pub(crate) missed: u64,
}

impl Drop for UpstreamPermit {
    fn drop(&mut self) {
        if let Some(trial) = self.trial.get() {
            self.address().release(trial);
        }
        self.address().open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Connections of one upstream that are opened at a time, over all cores.
const OPENING_MAX: usize = 256;
/// Connections that wait for their turn, over all cores: a service whose browsers all come back at
/// the same time has more only where opening one takes long.
const WAITING_MAX: usize = 4096;
/// Lines of the log about an address that goes down and up all the time.
const LINES_PER_SECOND: u32 = 4;
/// Pauses before an address that is down is tried while others are up.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_LAST: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(count: usize) -> Arc<Upstream> {
        let address = |index| UpstreamAddress {
            label: format!("tcp://127.0.0.{index}:1").into(),
            host: format!("127.0.0.{index}").into(),
            port: 1,
            tls: None,
            websocket: None,
        };
        let addresses = (0..count).map(address).collect();
        Arc::new(Upstream::new(addresses, Duration::from_secs(10), false))
    }

    fn at(ms: u64) -> Now {
        Now { mono_ns: ms * 1_000_000, unix_ms: 0 }
    }

    fn chosen(upstream: &Arc<Upstream>, tried: &[usize], now: Now) -> Option<usize> {
        upstream.choose(tried, now).map(|(permit, _)| permit.index())
    }

    #[test]
    fn connections_go_where_fewest_are() {
        let upstream = upstream(3);
        let mut open: Vec<_> = (0..9).filter_map(|_| upstream.choose(&[], at(0))).collect();
        let counts = || upstream.stats().map(|stats| stats.open).collect::<Vec<_>>();
        assert_eq!(counts(), [3, 3, 3]);
        open.retain(|(permit, _)| permit.index() != 1);
        open.extend((0..2).filter_map(|_| upstream.choose(&[], at(0))));
        assert_eq!(counts(), [3, 2, 3]);
        drop(open);
        assert_eq!(counts(), [0, 0, 0]);
        // Those that are equal take turns.
        let mut order: Vec<_> = (0..3).filter_map(|_| chosen(&upstream, &[], at(0))).collect();
        order.sort_unstable();
        assert_eq!(order, [0, 1, 2]);
    }

    #[test]
    fn a_server_that_refuses_a_client_is_up() {
        let upstream = upstream(1);
        let (permit, _) = upstream.choose(&[], at(0)).unwrap();
        assert_eq!(permit.refused(at(0)), None, "it was up before");
        assert_eq!(permit.failed("refused", at(1_000), 0), Some(0));
        let recovery = Recovery { down_for: Duration::from_secs(2), missed: 0 };
        assert_eq!(permit.refused(at(3_000)), Some(recovery));
        let stats: Vec<_> =
            upstream.stats().map(|one| (one.is_up, one.opened, one.failed)).collect();
        assert_eq!(stats, [(true, 0, 3)]);
    }

    #[test]
    fn an_address_that_is_down_is_passed_over_and_tried_again_by_one() {
        let upstream = upstream(2);
        let (permit, left) = upstream.choose(&[1], at(0)).unwrap();
        assert_eq!((permit.index(), left), (0, 0));
        assert_eq!(permit.failed("refused", at(0), u128::MAX), Some(0), "news");
        assert_eq!(permit.failed("refused", at(0), u128::MAX), None, "no news");
        drop(permit);
        // Down for a second the first time, for two the second.
        assert!((0..10).all(|_| chosen(&upstream, &[], at(1_999)) == Some(1)));
        assert_eq!(chosen(&upstream, &[1], at(1_999)), None, "none is left");
        let (trial, left) = upstream.choose(&[1], at(2_000)).unwrap();
        assert_eq!((trial.index(), left), (0, 0));
        assert_eq!(chosen(&upstream, &[1], at(2_001)), None, "one tries it");
        let recovery = Recovery { down_for: Duration::from_secs(3), missed: 0 };
        assert_eq!(trial.opened("", at(3_000)), Some(recovery));
        assert_eq!(trial.opened("", at(3_000)), None);
        assert_eq!(chosen(&upstream, &[1], at(3_000)), Some(0));
        let stats: Vec<_> = upstream.stats().collect();
        assert!(stats[0].is_up && stats[0].opened == 2 && stats[0].failed == 2, "{stats:?}");
    }

    #[test]
    fn a_trial_without_an_outcome_is_followed_by_the_next() {
        let upstream = upstream(2);
        let (permit, _) = upstream.choose(&[1], at(0)).unwrap();
        permit.failed("refused", at(0), u128::MAX);
        drop(permit);
        for _ in 0..3 {
            let (trial, _) = upstream.choose(&[1], at(2_000)).unwrap();
            assert_eq!(chosen(&upstream, &[1], at(2_000)), None, "one tries it");
            // Its client has left, or offers what the server does not know.
            drop(trial);
        }
        let (trial, _) = upstream.choose(&[1], at(2_000)).unwrap();
        trial.failed("refused", at(2_000), u128::MAX);
        drop(trial);
        assert_eq!(chosen(&upstream, &[1], at(3_999)), None, "that has an outcome");
    }

    #[test]
    fn a_trial_without_an_outcome_leaves_what_is_known_of_others() {
        let upstream = upstream(2);
        let open = |ms| upstream.choose(&[1], at(ms)).unwrap().0;
        let (permit, slow) = (open(0), open(0));
        permit.failed("refused", at(0), u128::MAX);
        let trial = open(2_000);
        // One from when it was up fails only now.
        slow.failed("refused", at(2_500), u128::MAX);
        drop(trial);
        assert_eq!(chosen(&upstream, &[1], at(4_499)), None, "after the second failure");
        let first = open(4_500);
        // That takes longer than the pause, so another tries it.
        let second = open(7_000);
        drop(first);
        assert_eq!(chosen(&upstream, &[1], at(7_000)), None, "one tries it");
        drop(second);
        assert_eq!(chosen(&upstream, &[1], at(7_000)), Some(0));
        // All are down, and it is tried before its pause is over.
        open(7_000).failed("refused", at(7_000), u128::MAX);
        let (other, _) = upstream.choose(&[0], at(7_000)).unwrap();
        other.failed("refused", at(7_001), u128::MAX);
        let (early, _) = upstream.choose(&[], at(7_002)).unwrap();
        assert_eq!(early.index(), 0);
        drop(early);
        assert_eq!(chosen(&upstream, &[1], at(10_999)), None, "its pause goes on");
    }

    #[tokio::test]
    async fn the_connections_that_wait_to_be_opened_are_bounded() {
        let upstream = upstream(1);
        let hour = Duration::from_secs(3600);
        let mut turns = Vec::new();
        for _ in 0..OPENING_MAX {
            turns.push(upstream.turn_to_open(hour).await.unwrap());
        }
        let mut waiting: Vec<_> =
            (0..WAITING_MAX).map(|_| Box::pin(upstream.turn_to_open(hour))).collect();
        for one in &mut waiting {
            assert!(time::timeout(Duration::ZERO, one).await.is_err());
        }
        assert_eq!(upstream.queue(), UpstreamQueue { waiting: WAITING_MAX, refused: 0 });
        assert_eq!(upstream.turn_to_open(hour).await.unwrap_err(), QueueFull);
        assert_eq!(upstream.queue(), UpstreamQueue { waiting: WAITING_MAX, refused: 1 });
        // One that leaves makes room; one that waits too long is refused.
        drop(waiting.pop());
        assert_eq!(upstream.turn_to_open(Duration::ZERO).await.unwrap_err(), QueueFull);
        assert_eq!(upstream.queue(), UpstreamQueue { waiting: WAITING_MAX - 1, refused: 2 });
        // The first is next.
        drop(turns.pop());
        turns.push(waiting.remove(0).await.unwrap());
        drop((turns, waiting));
        assert_eq!(upstream.queue(), UpstreamQueue { waiting: 0, refused: 2 });
        assert_eq!(upstream.opening.available_permits(), OPENING_MAX);
    }

    #[test]
    fn when_all_are_down_the_one_that_failed_first_is_tried() {
        let upstream = upstream(3);
        for (ms, index) in [(0, 1), (1, 2), (2, 0)] {
            let others: Vec<_> = (0..3).filter(|other| *other != index).collect();
            let (permit, _) = upstream.choose(&others, at(ms)).unwrap();
            permit.failed("refused", at(ms), 0);
        }
        for (ms, index) in [(3, 1), (4, 2), (5, 0), (6, 1)] {
            let (permit, left) = upstream.choose(&[], at(ms)).unwrap();
            assert_eq!((permit.index(), left), (index, 0), "at {ms} ms");
            permit.failed("refused", at(ms), 0);
            assert_eq!(chosen(&upstream, &[index], at(ms)), None, "one is enough");
        }
    }

    #[test]
    fn pauses_grow_to_a_bound_and_differ() {
        assert_eq!(pause(1, u128::MAX), PAUSE_FIRST);
        assert_eq!(pause(1, 0), PAUSE_FIRST / 2);
        assert_eq!(pause(3, u128::MAX), PAUSE_FIRST * 4);
        assert_eq!(pause(u32::MAX, u128::MAX), PAUSE_LAST);
    }
}
