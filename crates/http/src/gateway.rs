//! What the tasks of all cores share, and what those of one core do.

use std::{
    cell::RefCell,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
};

use config::Config;
use drive::{
    AddressLimit, AddressPermit, CoreRef, Cores, LimitReached, LogLimiter, Refused, clock,
};
use tokio::sync::{Semaphore, watch};

use crate::protocols::Protocols;

/// What the tasks of all cores share.
#[derive(Debug)]
pub struct Gateway {
    /// The configuration.
    pub config: Config,
    /// The cores.
    pub cores: Arc<Cores>,
    /// How far the process is from stopping.
    pub phase: watch::Receiver<Phase>,
    /// The sessions that services open.
    pub protocols: Protocols,
    /// What the pages tell of the process.
    pub about: About,
    /// As many bodies of requests are decoded at a time as there are cores.
    pub(crate) decoding: Semaphore,
    addresses: AddressLimit,
}

/// What the pages tell of the process, besides its services.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The version of the program.
    pub version: &'static str,
    /// The file of the configuration; `None`: the defaults hold.
    pub file: Option<Box<str>>,
    /// Whether the demo's market trades here: then the pages begin with the Trader.
    pub has_market: bool,
}

/// How far the process is from stopping.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Phase {
    /// At work.
    Serving,
    /// Told to stop: `/readyz` says so, new connections are still served.
    Leaving,
    /// No listener any more; connections are being closed.
    Draining,
}

impl Gateway {
    /// Puts the parts together.
    #[must_use]
    pub fn new(
        config: Config,
        cores: Arc<Cores>,
        phase: watch::Receiver<Phase>,
        protocols: Protocols,
        about: About,
    ) -> Self {
        let decoding = Semaphore::new(cores.handles().len());
        Self {
            config,
            cores,
            phase,
            protocols,
            about,
            decoding,
            addresses: AddressLimit::default(),
        }
    }

    /// Takes one of the connections that an address may have by a listener; `None`: it has no limit.
    ///
    /// # Errors
    /// When all are taken.
    pub fn address_permit(
        &self,
        listen: usize,
        address: IpAddr,
    ) -> Result<Option<AddressPermit>, LimitReached> {
        let listener = self.config.listens.get(listen);
        let max = listener.and_then(|listener| listener.connections_max_per_address);
        max.map(|max| self.addresses.acquire(listen, address, max)).transpose()
    }
}

/// A core, for the tasks on its thread that see to new connections and to requests.
#[derive(Clone, Debug)]
pub struct Worker {
    /// The core.
    pub core: CoreRef,
    /// What it shares with the others.
    pub gateway: Arc<Gateway>,
    limiters: Rc<RefCell<LogLimiters>>,
}

/// What would fill the log in a flood, by what is logged.
#[derive(Debug, Default)]
pub struct LogLimiters {
    /// Connections of proxies without a well-formed PROXY header.
    pub proxy_header: LogLimiter,
    /// Requests whose two headers of proxies contradict each other.
    pub(crate) forwarded: LogLimiter,
    /// Connections of addresses that have all they may have.
    pub(crate) address_limit: LogLimiter,
    /// Connections beyond the number of TLS handshakes.
    pub handshakes: LogLimiter,
    /// Connections without TLS to a listener with TLS.
    pub without_tls: LogLimiter,
    pub(crate) host: LogLimiter<REFUSALS>,
    pub(crate) origin: LogLimiter<REFUSALS>,
    pub(crate) handshake: LogLimiter<REFUSALS>,
    pub(crate) publication: LogLimiter<REFUSALS>,
}

/// Requests of a kind whose refusal is logged, a second and core: those of a page that is being
/// mended, not those of a flood.
const REFUSALS: u32 = 100;

impl Worker {
    /// A core, and what it shares with the others.
    #[must_use]
    pub fn new(core: CoreRef, gateway: Arc<Gateway>) -> Self {
        Self { core, gateway, limiters: Rc::default() }
    }

    /// Counts a refusal.
    pub fn refuse(&self, why: Refused) {
        self.core.with(|core| core.counters().refuse(why));
    }

    /// Counts and logs that an address has all connections that it may have.
    pub fn refuse_address(&self, peer: SocketAddr) {
        self.refuse(Refused::AddressLimit);
        if let Some(missed) = self.may_log(|limiters| &mut limiters.address_limit) {
            tracing::info!(%peer, missed, "connection refused: its address has all that it may have");
        }
    }

    /// Whether to log one more line of a kind, and how many were not logged since the last.
    pub fn may_log<const LINES: u32>(
        &self,
        kind: impl Fn(&mut LogLimiters) -> &mut LogLimiter<LINES>,
    ) -> Option<u64> {
        kind(&mut self.limiters.borrow_mut()).due(clock::now())
    }
}

/// An index into the configuration, which is far shorter than 65,536 rows.
#[must_use]
pub fn index_u16(index: usize) -> u16 {
    u16::try_from(index).unwrap_or(u16::MAX)
}
