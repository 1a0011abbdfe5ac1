//! Every key of the configuration but the limits: what may stand in a file, and what it means. To
//! add a key, add its field and its doc comment here.

use core::net::SocketAddr;
use std::{num::NonZeroUsize, time::Duration};

use auth::{Grant, Password, Scope};
use contract::{ClientRules, DeadLetters, Pattern, QuotaLimits};

use crate::{
    AllowedOrigin, Authority, Feed, LogFormat, LogLevel, NamedPath, Networks, SameClientId, Server,
    ServiceKind, SyncPolicy,
    form::{
        Bytes, Count, Count32, DeadLetterQueue, Factor, FileName, HostName, MemoryBytes, Pings,
        Positive, QueuePattern, Roles, ScramSha1, ScramSha256, SegmentBytes, Servers, ServicePath,
        ServiceType, UnixTime,
    },
    keys::{Keys, keys},
    limits::{LimitsTable, ServiceLimits},
    located::{Located, OneOrMore, Tables},
    section::{Section, list},
    source::{Form, Table, Value},
};

keys! {
    /// Above all tables. The tables follow, each with a section below.
    #[derive(Debug)]
    "The top of the file";
    pub(crate) struct Root {
        /// Cores to use.
        pub(crate) threads: Option<NonZeroUsize> as Count<THREADS_MAX> = None
            => "the cores of the machine",
        /// Whether what goes to many sockets at once is sent by io_uring (Linux 6.1 or later): less
        /// CPU time for fan-out, 384 KiB more memory for each core.
        pub(crate) io_uring: bool = false,
        /// Origins whose pages may use, cross-origin, the services that do not have a list of their
        /// own: `"https://app.example.com"` as browsers send it, `"null"`, or `"*"` for all.
        /// Requests that act (POST, a WebSocket) and whose browser says that they come from
        /// another origin (`Sec-Fetch-Site`), but not from which, are refused all the same.
        pub(crate) allow_origins: Vec<AllowedOrigin> = Vec::new() => "none",
        /// Where peers connect: `[[listen]]`.
        pub(crate) listen: Option<Tables<Listen>> = None => "127.0.0.1:8080",
        /// What they find: `[[service]]`.
        pub(crate) service: Option<Tables<Service>> = None => "the default services",
        /// Bounds of every service and of the broker: `[limits]`.
        pub(crate) limits: Located<LimitsTable> = Located::default() => "",
        /// Who may log in: `[[user]]`.
        pub(crate) user: Tables<User> = Tables::default() => "none",
        /// Who may subscribe and send where: `[[access]]`.
        pub(crate) access: Tables<Access> = Tables::default() => "none",
        /// What is said of queues: `[[queue]]`.
        pub(crate) queue: Tables<Queue> = Tables::default() => "none",
        /// What holds for clients of the broker: `[clients]`.
        pub(crate) clients: Clients = Clients::default() => "",
        /// What is logged: `[log]`.
        pub(crate) log: Log = Log::default() => "",
        /// Who may see what is for operators: `[operations]`.
        pub(crate) operations: Located<Operations> = Located::default() => "",
        /// The page `/metrics`: `[metrics]`.
        pub(crate) metrics: Metrics = Metrics::default() => "",
        /// The pages `/healthz` and `/readyz`: `[health]`.
        pub(crate) health: Health = Health::default() => "",
        /// HTTP connections: `[http]`.
        pub(crate) http: Http = Http::default() => "",
        /// How the gateway stops: `[shutdown]`.
        pub(crate) shutdown: Shutdown = Shutdown::default() => "",
        /// Bounds over many connections: `[memory]`.
        pub(crate) memory: Located<Memory> = Located::default() => "",
        /// Where persistent messages are kept: `[store]`.
        pub(crate) store: Option<Store> = None
            => "a store in the state directory, made with the first persistent message",
    }
}

/// Their numbers are 16 bits wide.
const THREADS_MAX: u64 = 1024;

keys! {
    /// An address where peers connect: HTTP, WebSocket and STOMP over TCP on one port.
    #[derive(Clone, Debug, Eq, PartialEq)]
    "[[listen]]";
    pub struct Listen {
        /// IP address and port, such as `"127.0.0.1:8080"`; `"0.0.0.0:8080"` is all addresses of
        /// IPv4, `"[::]:8080"` all of IPv6 and none of IPv4: for both write two `[[listen]]`.
        pub address: SocketAddr => "127.0.0.1:8080",
        /// The hosts under which browsers find the gateway's own pages, as in the address bar:
        /// `"gw.example.com:8443"`, without the port where it is the scheme's own. Origins with
        /// that host and port, and the scheme by which the listener is reached (`https` with TLS,
        /// or as a proxy of `forwarded-from` says, else `http`), are not cross-origin. On a
        /// loopback address a request whose `Host` is neither loopback nor one of these, with
        /// whatever port, is refused with 421: a page may let its own name lead here. (Programs of
        /// 2011 that say `Host: pmx` need `"pmx"` here.)
        pub names: Vec<Authority> = Vec::new() => "loopback addresses and `localhost`",
        /// Whether login is optional. Wrong credentials always fail where there are users.
        pub anonymous: bool = address.is_some_and(|address: SocketAddr| address.ip().is_loopback())
            => "true on a loopback address, else false",
        /// Whether what is for operators (`/metrics`) is served here, to everybody who reaches
        /// this address. Elsewhere it is for `[operations]` roles alone, and its paths are to all
        /// others as if it did not exist. Behind a proxy leave it out: to the gateway all requests
        /// of a proxy come from the proxy's address. A second `[[listen]]` that only operators
        /// reach is the place for it.
        pub operations: bool = false
            => "false; true for the listener that there is without a `[[listen]]`",
        /// The proxies, as addresses or networks (`["127.0.0.1", "10.0.0.0/8"]`), that begin each
        /// connection by saying whose it is, in the PROXY protocol, version 1 or 2, before TLS.
        /// From them it is required; all others are served as they are.
        pub proxy_protocol_from: Networks = Networks::default() => "none",
        /// The proxies, as addresses or networks, that say by `Forwarded` or `X-Forwarded-For`
        /// whose request it is, and by `proto` or `X-Forwarded-Proto` whether it came by HTTPS. The
        /// sender is the last that is no such proxy. Where both fields are there and do not agree,
        /// neither is believed: let the proxy set one and remove the other.
        pub forwarded_from: Networks = Networks::default() => "none",
        /// Connections that one address (of IPv6: one /64) may have here at a time. The proxies of
        /// `proxy-protocol-from` and `forwarded-from` have no limit; behind the latter, WebSockets
        /// are counted, by the address of the sender.
        pub connections_max_per_address:
            Option<NonZeroUsize> as Count32 = None => "no limit",
        /// Makes it `https`, `wss` and STOMP over TLS: `tls = { certificate = "gw.pem", key =
        /// "gw.key" }`. Of several the one for the name that a peer requests is used, and the
        /// first where there is none.
        pub tls: Vec<CertificateFiles> as OneOrMore<CertificateFiles> = Vec::new() => "none",
    }
}

keys! {
    /// A certificate in PEM. SIGHUP makes the gateway read the files again, for new connections;
    /// where one of them cannot be used, all stay as they were.
    #[derive(Clone, Debug, Eq, PartialEq)]
    "listen.tls";
    pub struct CertificateFiles {
        /// The file of the certificate, followed by those that certify it.
        pub certificate: NamedPath => "gw.pem",
        /// The file of its private key.
        pub key: NamedPath => "gw.key",
    }
}

/// What a path leads to: the keys of every service, and those of its type.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) common: AnyService,
    pub(crate) kind: ServiceKind,
    pub(crate) websocket: WebSocketService,
}

impl Keys for Service {
    const SECTION: &'static Section = &Section {
        more: &[
            AnyService::SECTION,
            WebSocketService::SECTION,
            Broadcast::SECTION,
            Directory::SECTION,
            Proxy::SECTION,
        ],
        ..*TypeOfService::SECTION
    };

    fn of_table(table: &Table<'_>) -> Option<Self> {
        let common = AnyService::of_table(table);
        let websocket = WebSocketService::of_table(table);
        let kind = TypeOfService::of_table(table).and_then(|TypeOfService { of_type }| {
            let name = of_type.as_str();
            table.refuse_keys(
                |key| !key.of.is_empty() && !key.of.contains(&name),
                |key| {
                    format!(
                        "a service of type `{name}` has no `{}`: it is for {}",
                        key.name,
                        list(key.of)
                    )
                },
            );
            Some(match of_type {
                ServiceType::Broadcast => ServiceKind::Broadcast(Broadcast::of_table(table)?),
                ServiceType::Broker => ServiceKind::Broker,
                ServiceType::Directory => ServiceKind::Directory(Directory::of_table(table)?),
                ServiceType::Echo => ServiceKind::Echo,
                ServiceType::Pages => ServiceKind::Pages,
                ServiceType::Proxy => ServiceKind::Proxy(Proxy::of_table(table)?),
                ServiceType::Queues => ServiceKind::Queues,
                ServiceType::Topics => ServiceKind::Topics,
            })
        });
        Some(Self { common: common?, websocket: websocket?, kind: kind? })
    }
}

keys! {
    /// What a path leads to, and all paths below it that are no other service's.
    #[derive(Debug)]
    "[[service]]";
    pub(crate) struct TypeOfService {
        /// `echo` sends back what it receives. `broadcast` sends what one receives to all.
        /// `directory` has the files of a folder. `proxy` carries WebSockets to another server.
        /// `broker` speaks every protocol, chosen by subprotocol. `topics` and `queues` publish
        /// what is POSTed below them. `pages` are the pages that come with the gateway.
        of_type as "type": ServiceType => "echo",
    }
}

keys! {
    /// What every service has.
    #[derive(Debug)]
    "[[service]]";
    pub(crate) struct AnyService {
        /// The path, such as `"/messaging"`.
        pub(crate) path: Box<str> as ServicePath => "/messaging",
        /// As at the top, for this service.
        pub(crate) allow_origins: Option<Vec<AllowedOrigin>> = None => "that of the top",
        /// Bounds of this service: `[service.limits]`.
        pub(crate) limits: Located<ServiceLimits> = Located::default() => "`[limits]`",
    }
}

keys! {
    /// What services have that WebSockets connect to.
    #[derive(Clone, Debug, Eq, PartialEq)]
    "[[service]]" of ["broadcast", "broker", "echo", "proxy"];
    pub struct WebSocketService: Default {
        /// Whether messages are deflated, for peers who can.
        pub compression: bool = true,
        /// By subprotocol, after how much silence a WebSocket is pinged, or `false` for never:
        /// `ping = { amqp = false, "v12.stomp" = "10s" }`.
        pub ping: Pings = Pings::new()
            => "`limits.ping-interval`, where the subprotocol allows it",
    }
}

keys! {
    /// Sends what one receives to all.
    #[derive(Clone, Debug, Eq, PartialEq)]
    "[[service]]" of ["broadcast"];
    pub struct Broadcast: Default {
        /// Where more messages come from: `"tcp://host:port"` connects to a server whose lines are
        /// messages, `"udp://127.0.0.1:9999"` receives datagrams there.
        pub feed: Option<Feed> = None => "none",
    }
}

keys! {
    /// The files of a folder.
    #[derive(Clone, Debug, Eq, PartialEq)]
    "[[service]]" of ["directory"];
    pub struct Directory {
        /// The folder.
        pub root: NamedPath => "web",
        /// The file that stands for a folder.
        pub welcome: Box<str> as FileName = Box::from("index.html"),
    }
}

keys! {
    /// A WebSocket to another server.
    #[derive(Clone, Debug, Eq, PartialEq)]
    "[[service]]" of ["proxy"];
    pub struct Proxy {
        /// The server: `"tcp://host:port"`, `"tls://host:port"` for TLS, `"ws://host:port/path"` or
        /// `"wss://host:port/path"` for a WebSocket. A list names several of which any will do: a
        /// connection goes to the one that has the fewest. One that cannot be connected to is left
        /// out for a pause that grows from 1 to 30 s; when all are, the one is tried that failed
        /// first.
        pub connect: Vec<Server> as Servers => "tcp://rabbit.internal:5672",
        /// Whether what a stream (`tcp`, `tls`) sends are text messages, split at characters, else
        /// binary.
        pub text: bool = false,
        /// How long it may take to be connected: look-up of the name, TCP, TLS and WebSocket handshake,
        /// at all servers that are tried.
        pub connect_timeout: Duration as Positive = Duration::from_secs(10),
        /// The certificates, in PEM, one of which must certify those of servers with TLS. Read at the
        /// start.
        pub ca: Option<NamedPath> = None => "those that the system trusts",
        /// Whether each connection begins by saying whose it is, in the PROXY protocol, version 2: before
        /// TLS, as HAProxy's `send-proxy-v2` does. For servers that expect that: others take it as a
        /// breach of their protocol.
        pub proxy_protocol: bool = false,
        /// The name that the certificate of servers with TLS must be for.
        pub server_name: Option<Box<str>> as HostName = None => "that in `connect`",
    }
}

keys! {
    /// A user who may log in. Without users credentials are ignored.
    #[derive(Debug)]
    "[[user]]";
    pub(crate) struct User {
        /// The name, as it is sent.
        pub(crate) name: Box<str> => "ann",
        /// What `passerelle password` prints; or an Argon2id hash alone; or verifiers alone, and the
        /// user logs in by SCRAM only.
        pub(crate) password: StoredPassword => "",
        /// What access rules may name besides the user.
        pub(crate) roles: Vec<Box<str>> as Roles = Vec::new() => "none",
        /// When its logins end, with an offset: `2026-12-31T18:00:00Z` or `2026-12-31T19:00:00+01:00`.
        /// Connections that are open then are closed.
        pub(crate) expires: Option<UnixTime> = None => "never",
    }
}

keys! {
    /// What is kept of a password. `passerelle password` makes it.
    #[derive(Debug)]
    "user.password";
    pub(crate) struct PasswordTable {
        /// A hash that checks the password.
        argon2id: Option<Password> = None => "none",
        /// A verifier for SCRAM-SHA-1.
        scram_sha_1: Option<ScramSha1> = None => "none",
        /// A verifier for SCRAM-SHA-256.
        scram_sha_256: Option<ScramSha256> = None => "none",
    }
}

/// What is kept of a password: a hash, or a table with verifiers too.
#[derive(Debug)]
pub(crate) struct StoredPassword(pub(crate) Password);

impl Form for StoredPassword {
    const NAME: &'static str = "a table or a string";
    const HINT: Option<&'static str> = <Password as Form>::HINT;

    fn schema() -> serde_json::Value {
        let one_of = [<Password as Form>::schema(), PasswordTable::SECTION.schema()];
        serde_json::json!({ "anyOf": one_of })
    }

    fn read(value: &Value<'_>) -> Option<Self> {
        if value.is_string() {
            let text = value.secret()?;
            // What a variable or a file has, as `passerelle password` prints it: `password = { … }`.
            let table =
                text.strip_prefix("password").unwrap_or(&text).trim_start_matches([' ', '=']);
            if table.starts_with('{') {
                return value.read_other(table, Self::of_table);
            }
            let hash = Password::parse(&text);
            return hash.map_or_else(|error| value.refuse(error), |hash| Some(Self(hash)));
        }
        Self::of_table(value)
    }
}

impl StoredPassword {
    fn of_table(value: &Value<'_>) -> Option<Self> {
        let PasswordTable { argon2id, scram_sha_1, scram_sha_256 } = Form::read(value)?;
        let verifiers = [scram_sha_1.map(|one| one.0), scram_sha_256.map(|one| one.0)];
        let password = verifiers.into_iter().flatten().fold(argon2id, |password, verifier| {
            Some(match password {
                Some(password) => password.with(verifier),
                None => Password::of_verifier(verifier),
            })
        });
        let hint = <Password as Form>::HINT.unwrap_or_default();
        let missing = || value.refuse(format_args!("a hash or a verifier is required: {hint}"));
        password.map(Self).or_else(missing)
    }
}

keys! {
    /// Who may subscribe and send where. Without rules everybody may everything. With rules the
    /// first whose destination matches decides, and a destination in no rule is refused to all. A
    /// subscription with wildcards must lie within one rule that allows it and overlap none before
    /// it that does not. Temporary destinations are outside the rules.
    ///
    /// Who may subscribe to a queue may subscribe to its dead-letter queue, `/queue/DLQ.` and the
    /// queue's name, and only the gateway sends there. To allow more, a rule must name dead-letter
    /// queues: `"/queue/DLQ.orders"`, `"/queue/DLQ.>"`. It takes nothing from those who may
    /// subscribe to the queue, and may come after rules that hold all of it.
    ///
    /// Lists name everybody (`"*"`), everybody who logged in (`"user:*"`), a user (`"user:ann"`)
    /// or a role (`"role:feeder"`).
    #[derive(Debug)]
    "[[access]]";
    pub(crate) struct Access {
        /// Such as `"/queue/orders"`; `*` stands for one level, a final `>` for the rest:
        /// `"/topic/quotes.>"`; `">"` alone is every destination. `docs/stomp.md` tells how names
        /// with other characters are written.
        pub(crate) destination: Scope => "/topic/quotes.>",
        /// Who may subscribe.
        pub(crate) subscribe: Vec<Grant> = Vec::new() => "none",
        /// Who may send.
        pub(crate) send: Vec<Grant> = Vec::new() => "none",
    }
}

keys! {
    /// What is said of queues. Of the tables that match a queue the first decides; a queue in none has
    /// the defaults. SIGHUP replaces them all: what is in a queue stays persistent, or not, as it
    /// entered.
    #[derive(Debug)]
    "[[queue]]";
    pub(crate) struct Queue {
        /// The queues, by their names without `/queue/`: `"orders"`; `*` stands for one level, a final
        /// `>` for the rest: `"orders.>"` is `orders` and all below it, `">"` every queue but
        /// temporary ones.
        pub(crate) pattern: Pattern as QueuePattern => "orders.>",
        /// Whether messages are persistent here whose sender does not say (`persistent`).
        pub(crate) durable: bool = false,
        /// What becomes of a message after a failed attempt to deliver it:
        /// `redelivery = { attempts = 6, delay = "1s", factor = 2.0, max-delay = "1m" }`. While it waits,
        /// those behind it are delivered, but for those of its message group. A restart changes nothing
        /// in that, where the message is durable.
        pub(crate) redelivery: Located<Redelivery> = Located::default() => "it is delivered again at once",
        /// The queue to which dead letters go; its name begins with `DLQ.`, so that only the gateway
        /// sends there. Who may subscribe to it is up to that name: who may to `orders` may to
        /// `DLQ.orders`. `false`: there is none, and dead letters are dropped.
        pub(crate) dead_letter: DeadLetters as DeadLetterQueue = DeadLetters::Own
            => "`DLQ.` and the queue's name",
    }
}

keys! {
    /// When a message is delivered again, and how often.
    #[derive(Debug)]
    "queue.redelivery";
    pub(crate) struct Redelivery: Default {
        /// Deliveries of one message; when the last one fails, it is a dead letter.
        pub(crate) attempts: Option<Count32> = None => "`deliveries-max` in `[limits]`",
        /// How long it waits after the first attempt that failed. It is looked at ten times a second.
        pub(crate) delay: Duration = Duration::ZERO,
        /// How many times as long it waits after each one more, from 1 to 100.
        pub(crate) factor: Factor = Factor(2.0),
        /// How long it waits at most.
        pub(crate) max_delay: Duration as Positive = Duration::from_secs(60),
    }
}

keys! {
    /// What holds for clients of the broker, whatever they speak.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    "[clients]";
    pub struct Clients: Default + Settings {
        /// Whether receivers see who sent a message: the name of its user, as `JMSXUserID` and `user-id`. Without, only
        /// where the sender says it itself, which is refused where it is not true. Those who have not
        /// logged in have no name.
        pub show_senders: bool = false,
        /// What becomes of a client that connects with the client id of another connection of its user:
        /// `refuse`, `displace` (the other is ended), or `share` (both are connected, and each durable
        /// subscription has one consumer at a time). A client may choose between the first two by itself,
        /// with `displace:true` or `displace:false` on STOMP's CONNECT.
        pub same_client_id: SameClientId = SameClientId::Refuse,
    }
}

impl Clients {
    /// What sessions go by.
    #[must_use]
    pub const fn rules(self) -> ClientRules {
        ClientRules {
            shows_senders: self.show_senders,
            same_client_id: match self.same_client_id {
                SameClientId::Refuse => contract::SameClientId::Refuse,
                SameClientId::Displace => contract::SameClientId::Displace,
                SameClientId::Share => contract::SameClientId::Share,
            },
        }
    }
}

keys! {
    /// What is logged, to the standard error.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    "[log]";
    pub struct Log: Default + Settings {
        /// `text` for people, `json` for programs.
        pub format: LogFormat = LogFormat::Text,
        /// `error`, `warn`, `info`, `debug` or `trace`.
        pub level: LogLevel = LogLevel::Info,
    }
}

keys! {
    /// Who may see what is for operators (`/metrics`), besides those who reach a listener with
    /// `operations = true`.
    #[derive(Clone, Debug, Eq, PartialEq)]
    "[operations]";
    pub struct Operations: Default {
        /// The roles of users who may, on every listener, by HTTP Basic. They are not told to log
        /// in: send name and password with the request (`curl -u`, Prometheus' `basic_auth`).
        /// A request with none, wrong ones or those of another user finds nothing there.
        pub roles: Vec<Box<str>> as Roles = Vec::new() => "none",
    }
}

keys! {
    /// The page `/metrics`, for Prometheus. It is for operators: see `operations` of `[[listen]]`.
    #[derive(Debug)]
    "[metrics]";
    pub(crate) struct Metrics: Default {
        /// Whether there is such a page.
        pub(crate) enabled: bool = true,
    }
}

keys! {
    /// The pages `/healthz` (the process lives) and `/readyz` (it takes new connections).
    #[derive(Debug)]
    "[health]";
    pub(crate) struct Health: Default {
        /// Whether there are such pages.
        pub(crate) enabled: bool = true,
    }
}

keys! {
    /// HTTP connections.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    "[http]";
    pub struct Http: Default + Settings {
        /// How long a connection may rest between two requests; more than a proxy in front keeps
        /// its own, so that none breaks as it is used. 0: a response ends its connection. A header
        /// that has begun has `login-timeout`.
        pub keep_alive: Duration = Duration::from_secs(75),
    }
}

keys! {
    /// How the gateway stops, once told to (SIGTERM).
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    "[shutdown]";
    pub struct Shutdown: Default + Settings {
        /// How long it still takes new connections while `/readyz` says 503.
        pub grace: Duration = Duration::from_secs(1),
        /// How long sessions may take to close before their connections are closed.
        pub drain: Duration = Duration::from_secs(10),
    }
}

keys! {
    /// Bounds over many connections. *The memory* is the least of the machine's, of what the
    /// process's control groups may have, and of its address space (`ulimit -v`).
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    "[memory]";
    pub struct Memory: Default + Settings {
        /// What peers have sent in part: WebSocket messages, STOMP frames and the bodies of HTTP
        /// requests that are incomplete, over all connections. Beyond, the largest of them is
        /// refused: with 1009, ERROR or 503. Large enough for the largest message, and for
        /// decoding it.
        pub inbound_bytes_max: Option<usize> as MemoryBytes = None
            => "an eighth of the memory, and at least twice the largest `message-bytes-max`",
        /// The messages in all queues, with what the gateway keeps for each: those that are not
        /// settled, that transactions reserve room for and whose publishers wait included. Beyond,
        /// a message for a queue is refused, with ERROR or 503; what was confirmed stays. A dead
        /// letter counts, and is never refused.
        pub queued_bytes_max: Option<usize> as MemoryBytes = None
            => "a quarter of the memory, and at least four times the largest `message-bytes-max`",
        /// The same of those that one principal sent: a user, or all who have not logged in at one
        /// IPv4 address or in one /64 of IPv6. At most half of `queued-bytes-max`, so that nobody
        /// takes the room of all others.
        pub queued_bytes_max_per_principal: Option<usize> as MemoryBytes = None
            => "half of `queued-bytes-max`",
        /// Queues that exist because one principal made them, by sending or subscribing to them or
        /// as temporary ones, over all cores. At most half of `queues-max` in `[limits]`.
        pub queues_max_per_principal: usize as Count = 1000
            => "1000, or half of `queues-max` where that is less",
        /// What waits for slow peers, over all connections of a core; beyond, the largest backlog
        /// is closed first. Besides, a quarter as much may wait for subscriptions to topics with
        /// `x-slow`, `x-max-rate` or `prefetch-count`; beyond, those of the connections with the most lose their oldest
        /// messages, or end.
        pub unsent_bytes_max_per_core: usize as Bytes = 256 << 20,
    }
}

impl Memory {
    /// The bounds of what is in queues. What is left open has its default.
    #[must_use]
    pub fn quotas(&self) -> QuotaLimits {
        let default = QuotaLimits::default();
        let queued_bytes_max = self.queued_bytes_max.unwrap_or(default.queued_bytes_max);
        QuotaLimits {
            queued_bytes_max,
            queued_bytes_max_per_principal: self
                .queued_bytes_max_per_principal
                .unwrap_or(queued_bytes_max / 2),
            queues_max_per_principal: self.queues_max_per_principal,
        }
    }
}

keys! {
    /// Where persistent messages are kept. With this table the store is opened when the gateway starts,
    /// which ends if it cannot be. Without it, the store in the state directory is opened if it is
    /// there, and made with the first persistent message; while it cannot be, or another process has
    /// it, the gateway runs and refuses persistent messages. One that is damaged ends the start.
    #[derive(Clone, Debug, Eq, PartialEq)]
    "[store]";
    pub struct Store: Default {
        /// Its folder, which one process uses at a time. The state directory is what systemd calls so
        /// (`STATE_DIRECTORY`), else `passerelle-state` in the current folder.
        pub path: Option<NamedPath> = None => "`store` in the state directory",
        /// When what is written is brought to the disk. `always`: before it is confirmed, so that
        /// nothing confirmed is lost when the machine stops. `interval`: ten times a second; a
        /// machine that stops without warning loses up to 100 ms of what was confirmed, a process
        /// that does so loses nothing.
        pub sync: SyncPolicy = SyncPolicy::Always,
        /// The size of its files, which are allocated as a whole; three are the least that it takes. Smaller
        /// ones take less of a small disk, larger ones mean less work beside. May be changed at any start.
        pub segment_bytes: u32 as SegmentBytes = 32 << 20,
    }
}

/// All tables, in the order of the reference.
pub(crate) const SECTIONS: &[&Section] = &[
    Root::SECTION,
    Listen::SECTION,
    CertificateFiles::SECTION,
    Service::SECTION,
    LimitsTable::SECTION,
    User::SECTION,
    PasswordTable::SECTION,
    Access::SECTION,
    Queue::SECTION,
    Redelivery::SECTION,
    Clients::SECTION,
    Log::SECTION,
    Operations::SECTION,
    Metrics::SECTION,
    Health::SECTION,
    Http::SECTION,
    Shutdown::SECTION,
    Memory::SECTION,
    Store::SECTION,
];
