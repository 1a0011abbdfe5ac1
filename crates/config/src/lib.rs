//! The configuration: what the gateway listens on, which services it offers and to whom.
//!
//! [`Config::parse`] is the only way from a string to a [`Config`]: what it returns is complete and
//! free of contradictions; else it returns all that is wrong. It opens no file and no socket:
//! certificates and folders are named by their paths ([`NamedPath`]), and the caller that opens
//! them reports what is wrong with them.
//!
//! What stands in the environment or on the command line is handed in ([`Outside`]).
//!
//! `tables` and `limits` declare every key, with the macro in `keys`. `form` says how the values
//! of each type are written, `value` how single strings are; `located` has where keys stand.
//! `source` holds the text and the errors found in it, `parse` checks what relates keys to each
//! other, `reference` writes the pages about the keys and `describe` says what a configuration
//! does.
#![forbid(unsafe_code)]

mod authority;
mod describe;
mod error;
mod form;
mod keys;
mod limits;
mod located;
mod named_path;
mod networks;
pub mod origin;
mod outside;
mod parse;
mod reference;
mod section;
mod service;
mod source;
mod tables;
#[cfg(test)]
mod tests;
mod value;

use core::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;

use auth::{Access, Users};
use contract::QueueRules;

pub use authority::{Authority, AuthorityError, Host, Scheme};
pub use describe::describe;
pub use error::{ConfigError, ConfigErrors};
pub use limits::Limits;
pub use named_path::NamedPath;
pub use networks::Networks;
pub use origin::{AllowedOrigin, Origin};
pub use outside::{Environment, NoEnvironment, Outside};
pub use parse::Reading;
pub use reference::{reference, schema};
pub use service::{Feed, HostPort, Server, ServerScheme, Service, ServiceKind};
pub use tables::{
    Broadcast, CertificateFiles, Clients, Directory, Http, Listen, Log, Memory, Operations, Proxy,
    Shutdown, Store, WebSocketService,
};

/// What the operator wants.
#[derive(Clone, Debug)]
pub struct Config {
    /// Cores to use; `None`: as many as the machine has for this process.
    pub threads: Option<NonZeroUsize>,
    /// Whether io_uring sends what goes to many sockets at once.
    pub io_uring: bool,
    /// Where peers connect; never empty.
    pub listens: Vec<Listen>,
    /// What they find, in the order of the file, then metrics, health and readiness.
    pub services: Vec<Service>,
    /// The bounds of the broker, which all services share.
    pub limits: Limits,
    /// Who may log in.
    pub users: Users,
    /// Who may subscribe and send where.
    pub access: Access,
    /// What is said of queues.
    pub queues: QueueRules,
    /// What holds for clients of the broker.
    pub clients: Clients,
    /// What is logged, and how.
    pub log: Log,
    /// Who may see what is for operators.
    pub operations: Operations,
    /// HTTP connections.
    pub http: Http,
    /// How the gateway stops.
    pub shutdown: Shutdown,
    /// Bounds over many connections.
    pub memory: Memory,
    /// Where persistent messages are kept; `None`: in the state directory, once it is needed.
    pub store: Option<Store>,
}

/// When what is written to the store is brought to the disk.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SyncPolicy {
    /// Before it is confirmed.
    #[default]
    Always,
    /// Ten times a second.
    Interval,
}

/// What becomes of a client that connects with the client id of another connection of its user.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SameClientId {
    /// It is refused.
    #[default]
    Refuse,
    /// The other is ended.
    Displace,
    /// Both are connected.
    Share,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How important a log line is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogLevel {
    /// Something is broken.
    Error,
    /// Something is not as it should be.
    Warn,
    /// What happens to connections.
    #[default]
    Info,
    /// What happens to messages.
    Debug,
    /// Everything.
    Trace,
}

impl Config {
    /// Reads a configuration. Its relative paths start from the folder of `file_name`, which
    /// also stands in errors. No file is opened, not those that it names either, and there are no
    /// environment variables.
    ///
    /// # Errors
    /// All that is unknown, malformed or contradicts another.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, ConfigErrors> {
        Self::read(text, file_name, Outside::default()).finish()
    }

    /// What differs in another configuration, by keys and tables; users, access rules and settings of queues
    /// left out.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let differs = [
            ("threads", self.threads != other.threads),
            ("io-uring", self.io_uring != other.io_uring),
            ("[[listen]]", self.listens != other.listens),
            ("[[service]] or its defaults", self.services != other.services),
            ("[limits]", self.limits != other.limits),
            ("[log]", self.log != other.log),
            ("[operations]", self.operations != other.operations),
            ("[http]", self.http != other.http),
            ("[shutdown]", self.shutdown != other.shutdown),
            ("[memory]", self.memory != other.memory),
            ("[store]", self.store != other.store),
        ];
        differs.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
    }

    /// As [`Config::parse`], for a caller that has more to check, the files that it names, and that
    /// knows what is outside the file.
    #[must_use]
    pub fn read(text: &str, file_name: &str, outside: Outside<'_>) -> Reading {
        parse::read(text, file_name, outside)
    }

    /// The service of a request's path, by its index in [`Config::services`], and what
    /// follows the service's own path, without the slash between. Of several the longest path
    /// wins; a path ends where a `/` does.
    #[must_use]
    pub fn service<'a>(&self, path: &'a str) -> Option<(usize, &'a str)> {
        self.service_among(path, |_| true)
    }

    /// As [`Config::service`], for whom services for operators do not exist.
    #[must_use]
    pub fn public_service<'a>(&self, path: &'a str) -> Option<(usize, &'a str)> {
        self.service_among(path, |kind| !kind.is_for_operators())
    }

    fn service_among<'a>(
        &self,
        path: &'a str,
        exists: impl Fn(&ServiceKind) -> bool,
    ) -> Option<(usize, &'a str)> {
        let rest =
            |service: &Service| match path.strip_prefix(service.path.trim_end_matches('/'))? {
                "" => Some(""),
                rest => rest.strip_prefix('/'),
            };
        let matching = self.services.iter().enumerate().filter(|(_, one)| exists(&one.kind));
        matching
            .filter_map(|(index, service)| Some((service.path.len(), index, rest(service)?)))
            .max_by_key(|&(len, ..)| len)
            .map(|(_, index, rest)| (index, rest))
    }

    /// What may have been meant by `path`: the path of a service of such a kind, if
    /// it is nearly the beginning of `path`, and the rest of that.
    #[must_use]
    pub fn near(&self, path: &str, is_meant: impl Fn(&ServiceKind) -> bool) -> Option<String> {
        let near = |service: &Service| {
            let segments = service.path.matches('/').count();
            let end = path.match_indices('/').nth(segments).map_or(path.len(), |(at, _)| at);
            let (start, rest) = path.split_at(end);
            let distance_max = 1 + service.path.len() / 5;
            if start.len().abs_diff(service.path.len()) > distance_max {
                return None;
            }
            let distance = strsim::damerau_levenshtein(start, &service.path);
            (distance <= distance_max).then(|| (distance, format!("{}{rest}", service.path)))
        };
        let meant = self.services.iter().filter(|service| is_meant(&service.kind));
        meant.filter_map(near).min().map(|(_, path)| path)
    }

    /// The service that plain TCP reaches, by its index in [`Config::services`].
    #[must_use]
    pub fn first_broker(&self) -> Option<usize> {
        self.services.iter().position(|service| service.kind == ServiceKind::Broker)
    }
}

impl Listen {
    /// The one that there is without a `[[listen]]`, at this address. What needs no login is for this
    /// machine alone.
    fn only(address: SocketAddr) -> Self {
        Self {
            address,
            names: Vec::new(),
            anonymous: address.ip().is_loopback(),
            operations: address.ip().is_loopback(),
            proxy_protocol_from: Networks::default(),
            forwarded_from: Networks::default(),
            connections_max_per_address: None,
            tls: Vec::new(),
        }
    }
}

/// What runs without a configuration: the embedded broker and a service of each kind that needs
/// no more to be said, for this machine alone.
impl Default for Config {
    fn default() -> Self {
        let limits = Limits::default();
        let services = [
            ("/", ServiceKind::Pages),
            ("/messaging", ServiceKind::Broker),
            ("/echo", ServiceKind::Echo),
            ("/broadcast", ServiceKind::Broadcast(Broadcast::default())),
            ("/topics", ServiceKind::Topics),
            ("/queues", ServiceKind::Queues),
            ("/metrics", ServiceKind::Metrics),
            ("/healthz", ServiceKind::Health),
            ("/readyz", ServiceKind::Readiness),
        ];
        Self {
            threads: None,
            io_uring: false,
            listens: vec![Listen::only(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)))],
            services: services.map(|(path, kind)| Service::new(path, kind)).into(),
            limits,
            users: Users::default(),
            access: Access::default(),
            queues: QueueRules::default(),
            log: Log::default(),
            clients: Clients::default(),
            operations: Operations::default(),
            http: Http::default(),
            shutdown: Shutdown::default(),
            memory: Memory::default(),
            store: None,
        }
    }
}
