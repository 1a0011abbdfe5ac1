//! From the text of a file to a [`Config`].

use core::net::SocketAddr;
use std::{fmt, num::NonZeroUsize, sync::Arc, time::Duration};

use auth::{Access, Grant, Mechanism, Password, Rule, Scope, Scram, User, Users};
use contract::Limits;
use toml::de::DeTable;

use crate::{
    AllowedOrigin, Authority, CertificateFiles, Config, Http, Listen, Log, LogFormat, LogLevel,
    Memory, NamedPath, Networks, Operations, Service, ServiceKind, Shutdown,
    keys::{
        ACCESS, FORMATS, HEALTH, HTTP, LEVELS, LISTEN, LOG, MEMORY, METRICS, OPERATIONS, PASSWORD,
        ROOT, SERVICE, SHUTDOWN, Section, TLS, TYPES, USER, list, suggest,
    },
    limits, networks,
    service::default_limits,
    source::{Result, Source, Table, Value},
    value,
};

pub(crate) fn config(text: &str, file: &str) -> Result<Config> {
    let source = Source { text, file };
    let document = DeTable::parse(text).map_err(|error| {
        source.error(&error.span().unwrap_or_default(), error.message().replace('\n', ", "))
    })?;
    let top = Table::open(&source, &ROOT, &document)?;
    let users = users(&top)?;
    let default = Config::default();

    let threads = top
        .get("threads")
        .map(|value| value.count(1..=THREADS_MAX))
        .transpose()?
        .and_then(NonZeroUsize::new);
    let listens = match top.get("listen") {
        Some(tables) => listens(&tables, &users)?,
        None => default.listens,
    };
    let global_limits = top.get("limits").map(|value| value.table(&limits::GLOBAL)).transpose()?;
    let limits = global_limits.as_ref().map(limits::global).transpose()?.unwrap_or_default();
    let health = top.get("health").map(|value| value.table(&HEALTH)).transpose()?;
    let metrics = table(&top, "metrics", &METRICS)?;
    let with_metrics = flag(metrics.as_ref(), "enabled", true)?;
    let with_health = flag(health.as_ref(), "enabled", true)?;

    let memory = table(&top, "memory", &MEMORY)?;
    let base = Base {
        limits: &limits,
        limits_table: global_limits.as_ref(),
        budget: memory.and_then(|table| table.get(BUDGET)),
        top: &top,
    };
    let memory = base.memory()?;
    let (mut own, others): (Vec<_>, Vec<_>) =
        default.services.into_iter().partition(|service| is_own(&service.kind));
    own.retain(|service| match service.kind == ServiceKind::Metrics {
        true => with_metrics,
        false => with_health,
    });
    let mut services = match top.get("service") {
        Some(tables) => services(&tables, &base, &own)?,
        None => others.into_iter().map(|other| base.apply(other, None)).collect::<Result<_>>()?,
    };
    for service in own {
        services.push(base.apply(service, None)?);
    }
    Ok(Config {
        threads,
        io_uring: flag(Some(&top), "io-uring", false)?,
        listens,
        memory,
        services,
        access: access(&top, &users)?,
        operations: operations(&top, &users)?,
        users,
        limits: Arc::new(limits),
        log: log(&top)?,
        http: http(&top)?,
        shutdown: shutdown(&top)?,
    })
}

/// Their numbers are 16 bits wide.
const THREADS_MAX: u64 = 1024;

/// Whether the gateway has it without being told.
const fn is_own(kind: &ServiceKind) -> bool {
    matches!(kind, ServiceKind::Metrics | ServiceKind::Health | ServiceKind::Readiness)
}

fn listens(tables: &Value<'_>, users: &Users) -> Result<Vec<Listen>> {
    let mut listens: Vec<Listen> = Vec::new();
    for table in tables.tables(&LISTEN)? {
        let at = table.require("address", "\"127.0.0.1:8080\"")?;
        let address: SocketAddr = at.read(value::address)?;
        for other in listens.iter().map(|listen| listen.address) {
            if other == address && address.port() != 0 {
                return Err(at.error(format_args!("{address} is listened on twice")));
            }
            if let Some((all, one)) = overlap(other, address) {
                return Err(at.error(format_args!(
                    "{other} and {address} overlap: {all} has {one}, too; leave one of them out"
                )));
            }
        }
        let names = items(&table, "names", |text| match Authority::parse(text) {
            Ok(name) if name.port != Some(0) => Ok(name),
            Ok(_) | Err(_) => Err(format!(
                "`{text}` is no name: write the host, and the port unless it is the scheme's, such \
                 as gw.example.com:8443"
            )),
        })?;
        let anonymous = flag(Some(&table), "anonymous", address.ip().is_loopback())?;
        if !anonymous && users.is_empty() {
            return Err(match table.get("anonymous") {
                Some(value) => value.error("nobody could log in: add a [[user]]"),
                None => at.error(format_args!(
                    "{address} is open to other machines and nobody could log in: add a [[user]], \
                     or let everybody connect with anonymous = true"
                )),
            });
        }
        let tls = table.get("tls").map_or(Ok(Vec::new()), |value| {
            value.one_or_more(&TLS)?.iter().map(certificate).collect()
        })?;
        let operations = flag(Some(&table), "operations", false)?;
        let networks = |key| items(&table, key, networks::parse).map(Networks::from_iter);
        let max = table.get("connections-max-per-address");
        listens.push(Listen {
            address,
            names,
            anonymous,
            operations,
            proxy_protocol_from: networks("proxy-protocol-from")?,
            forwarded_from: networks("forwarded-from")?,
            connections_max_per_address: max
                .map(|value| value.count(1..=u64::from(u32::MAX)))
                .transpose()?
                .and_then(NonZeroUsize::new),
            tls,
        });
    }
    if listens.is_empty() {
        return Err(tables.error("at least one is required"));
    }
    Ok(listens)
}

/// Of two addresses the one that is all of a kind, and the one that is among them.
fn overlap(one: SocketAddr, other: SocketAddr) -> Option<(SocketAddr, SocketAddr)> {
    if one.port() == 0 || one.port() != other.port() || one.is_ipv4() != other.is_ipv4() {
        return None;
    }
    match (one.ip().is_unspecified(), other.ip().is_unspecified()) {
        (true, _) => Some((one, other)),
        (false, true) => Some((other, one)),
        (false, false) => None,
    }
}

fn certificate(table: &Table<'_>) -> Result<CertificateFiles> {
    let certificate = table.require("certificate", "\"gw.pem\"")?;
    let key = table.require("key", "\"gw.key\"")?;
    Ok(CertificateFiles {
        certificate: NamedPath::read(&certificate, "certificate")?,
        key: NamedPath::read(&key, "key")?,
    })
}

/// What holds for all services.
struct Base<'a> {
    limits: &'a Limits,
    limits_table: Option<&'a Table<'a>>,
    budget: Option<Value<'a>>,
    top: &'a Table<'a>,
}

const BUDGET: &str = "unsent-bytes-max-per-core";

impl Base<'_> {
    /// Completes a service with what its table says, and else the top.
    fn apply(&self, mut service: Service, table: Option<&Table<'_>>) -> Result<Service> {
        let kind = service.kind.as_str();
        let limits = self.limits_for(kind)?;
        let own = table.and_then(|table| table.get("limits"));
        let own = own.map(|own| own.table(&limits::OF_SERVICE)).transpose()?;
        service.limits = Arc::new(match &own {
            Some(own) => limits::of_service(own, limits, kind)?,
            None => limits,
        });
        if service.kind.takes_websockets() {
            self.check_budget(&service, own.as_ref())?;
        }
        let origins = table.filter(|table| table.get("allow-origins").is_some());
        service.allow_origins =
            items(origins.unwrap_or(self.top), "allow-origins", AllowedOrigin::parse)?;
        Ok(service)
    }

    fn memory(&self) -> Result<Memory> {
        let bytes = self.budget.as_ref().map(Value::bytes).transpose()?;
        Ok(bytes.map_or_else(Memory::default, |unsent_bytes_max_per_core| Memory {
            unsent_bytes_max_per_core,
        }))
    }

    /// Refuses that one connection may have more than all of its core.
    fn check_budget(&self, service: &Service, own: Option<&Table<'_>>) -> Result<()> {
        let one = service.limits.unsent_bytes_max;
        let all = self.memory()?.unsent_bytes_max_per_core;
        if one <= all {
            return Ok(());
        }
        let key = "unsent-bytes-max";
        let said = [own, self.limits_table].into_iter().flatten().find_map(|table| table.get(key));
        let (path, one, all) = (&service.path, value::show_bytes(one), value::show_bytes(all));
        let message = format!(
            "`{key}` of one connection at {path} ({one}) is more than all connections of a core \
             may have ({all}): lower it, or raise `{BUDGET}` in [memory]"
        );
        let at = said.as_ref().or(self.budget.as_ref()).map_or(0..0, Value::span);
        Err(self.top.source().error(&at, message))
    }

    /// The limits of a service that names none.
    fn limits_for(&self, kind: &str) -> Result<Limits> {
        let sizes = ["message-bytes-max", "unsent-bytes-max"];
        match self.limits_table {
            Some(table) if sizes.iter().any(|key| table.get(key).is_some()) => {
                Ok(self.limits.clone())
            }
            Some(table) => limits::read(table, default_limits(kind)),
            None => Ok(default_limits(kind)),
        }
    }
}

fn services(tables: &Value<'_>, base: &Base<'_>, own: &[Service]) -> Result<Vec<Service>> {
    let mut services: Vec<(Service, usize)> = Vec::new();
    for table in tables.tables(&SERVICE)? {
        let at = table.require("path", "\"/messaging\"")?;
        let path = at.read(service_path)?;
        if let Some((_, line)) = services.iter().find(|(other, _)| *other.path == *path) {
            return Err(at.error(format_args!("{path} is the path of the service in line {line}")));
        }
        if let Some(own) = own.iter().find(|own| *own.path == *path) {
            let section = if own.kind == ServiceKind::Metrics { "metrics" } else { "health" };
            return Err(at.error(format_args!(
                "{path} is the gateway's own: choose another, or set enabled = false in [{section}]"
            )));
        }
        let kind = table.require("type", "\"echo\"")?;
        let name = choice(&kind, "type of service", TYPES)?;
        if let Some((key, at)) = table.find(|key| !key.of.is_empty() && !key.of.contains(&name)) {
            return Err(table.source().error(
                &at,
                format_args!(
                    "a service of type `{name}` has no `{}`: it is for {}",
                    key.name,
                    list(key.of)
                ),
            ));
        }
        let mut service = Service::new(path, service_kind(&table, name)?);
        service.compression = flag(Some(&table), "compression", true)?;
        if let Some(pings) = table.get("ping") {
            for ping in pings.entries()? {
                service.ping.insert(ping.key().into(), ping_interval(&ping)?);
            }
        }
        services.push((base.apply(service, Some(&table))?, at.line()));
    }
    Ok(services.into_iter().map(|(service, _)| service).collect())
}

fn ping_interval(value: &Value<'_>) -> Result<Duration> {
    match value.as_flag() {
        Some(false) => Ok(Duration::ZERO),
        Some(true) => Err(value.error("say how often, such as \"30s\"")),
        None => value.duration(),
    }
}

fn service_kind(table: &Table<'_>, name: &str) -> Result<ServiceKind> {
    Ok(match name {
        "echo" => ServiceKind::Echo,
        "broadcast" => {
            let feed = table.get("feed").map(|value| value.read(value::feed)).transpose()?;
            ServiceKind::Broadcast { feed }
        }
        "directory" => {
            let root = NamedPath::read(&table.require("root", "\"web\"")?, "root")?;
            let welcome = match table.get("welcome") {
                Some(value) => value.read(file_name)?,
                None => "index.html",
            };
            ServiceKind::Directory { root, welcome: welcome.into() }
        }
        "proxy" => ServiceKind::Proxy {
            connect: table
                .require("connect", "\"tcp://rabbit.internal:5672\"")?
                .read(value::server)?,
            text: flag(Some(table), "text", false)?,
            connect_timeout: match table.get("connect-timeout") {
                Some(value) => positive(&value)?,
                None => Duration::from_secs(10),
            },
        },
        "broker" => ServiceKind::Broker,
        "topics" => ServiceKind::Topics,
        "queues" => ServiceKind::Queues,
        _ => ServiceKind::Pages,
    })
}

fn service_path(text: &str) -> std::result::Result<&str, String> {
    let trouble = match text {
        "/" => return Ok(text),
        _ if !text.starts_with('/') => "begins with a slash",
        _ if text.ends_with('/') => "has no slash at its end: what is below belongs to it anyway",
        _ if text.split('/').skip(1).any(|part| ["", ".", ".."].contains(&part)) => {
            "has no empty parts, and no . or .."
        }
        _ if !text.bytes().all(|b| b.is_ascii_graphic() && !b"?#%\\\"".contains(&b)) => {
            "is made of printable ASCII without ? # % \\ and quotes"
        }
        _ => return Ok(text),
    };
    Err(format!("a path {trouble}"))
}

fn file_name(text: &str) -> std::result::Result<&str, String> {
    match text.is_empty() || text.contains(['/', '\\']) || text.starts_with('.') {
        true => Err(format!("`{text}` is no name of a file, such as index.html")),
        false => Ok(text),
    }
}

fn users(top: &Table<'_>) -> Result<Users> {
    let mut users: Vec<(User, usize)> = Vec::new();
    for table in tables(top, "user", &USER)? {
        let name_value = table.require("name", "\"ann\"")?;
        let roles = items(&table, "roles", |text| match text {
            "" => Err("a role needs a name"),
            _ => Ok(Box::from(text)),
        })?;
        let password = table.get("password").ok_or_else(|| {
            table.error("[[user]] needs `password`: `passerelle password` makes one to paste")
        })?;
        let password = self::password(&password)?;
        let user = name_value.read(|name| User::new(name, roles, password))?;
        if let Some((_, line)) = users.iter().find(|(other, _)| other.name() == user.name()) {
            let name = user.name();
            return Err(name_value.error(format_args!("{name} is the user in line {line} already")));
        }
        users.push((user, name_value.line()));
    }
    Ok(users.into_iter().map(|(user, _)| user).collect())
}

fn password(value: &Value<'_>) -> Result<Password> {
    if value.is_text() {
        return value.read(Password::parse);
    }
    let table = value.table(&PASSWORD)?;
    let hash = table.get("argon2id").ok_or_else(|| {
        value.error("an `argon2id` hash is required: `passerelle password` makes one to paste")
    })?;
    let mut password = hash.read(Password::parse)?;
    for (key, mechanism) in [("scram-sha-1", Mechanism::Sha1), ("scram-sha-256", Mechanism::Sha256)]
    {
        if let Some(verifier) = table.get(key) {
            password = password.with(verifier.read(|text| Scram::parse(mechanism, text))?);
        }
    }
    Ok(password)
}

fn access(top: &Table<'_>, users: &Users) -> Result<Access> {
    let mut rules: Vec<(Rule, usize)> = Vec::new();
    for table in tables(top, "access", &ACCESS)? {
        let at = table.require("destination", "\"/topic/quotes.>\"")?;
        let scope = at.read(Scope::parse)?;
        if let Some((_, line)) = rules.iter().find(|(other, _)| other.scope.includes(&scope)) {
            return Err(at.error(format_args!(
                "this rule never decides: that of line {line} comes first and holds all of it"
            )));
        }
        let grant = |text: &str| grant(text, users);
        let rule = Rule {
            scope,
            subscribe: items(&table, "subscribe", grant)?,
            send: items(&table, "send", grant)?,
        };
        rules.push((rule, at.line()));
    }
    Ok(Access::new(rules.into_iter().map(|(rule, _)| rule).collect()))
}

fn grant(text: &str, users: &Users) -> std::result::Result<Grant, String> {
    let grant = Grant::parse(text).map_err(|error| error.to_string())?;
    match &grant {
        Grant::User(name) if users.get(name).is_none() => {
            let known: Vec<_> = users.iter().map(|user| user.name()).collect();
            Err(unknown(&format!("there is no user `{name}`"), name, &known))
        }
        Grant::Role(role) => known_role(role, users).map(|()| grant),
        Grant::Everybody | Grant::Users | Grant::User(_) => Ok(grant),
    }
}

/// Refuses a role that nobody has.
fn known_role(role: &str, users: &Users) -> std::result::Result<(), String> {
    let known: Vec<&str> =
        users.iter().flat_map(|user| user.principal().roles.iter()).map(|role| &**role).collect();
    match known.contains(&role) {
        true => Ok(()),
        false => Err(unknown(&format!("no user has the role `{role}`"), role, &known)),
    }
}

fn unknown(trouble: &str, wrong: &str, known: &[&str]) -> String {
    match known {
        [] => trouble.into(),
        known => format!("{trouble}: {}", suggest(wrong, known)),
    }
}

fn log(top: &Table<'_>) -> Result<Log> {
    let Some(table) = table(top, "log", &LOG)? else { return Ok(Log::default()) };
    let format = match table.get("format") {
        Some(value) if choice(&value, "log format", FORMATS)? == "json" => LogFormat::Json,
        _ => LogFormat::Text,
    };
    let level = match table.get("level") {
        Some(value) => {
            let word = choice(&value, "log level", LEVELS)?;
            LogLevel::ALL.into_iter().find(|level| level.as_str() == word).unwrap_or_default()
        }
        None => LogLevel::default(),
    };
    Ok(Log { format, level })
}

fn operations(top: &Table<'_>, users: &Users) -> Result<Operations> {
    let Some(table) = table(top, "operations", &OPERATIONS)? else {
        return Ok(Operations::default());
    };
    let roles = items(&table, "roles", |text| known_role(text, users).map(|()| text.into()))?;
    Ok(Operations { roles })
}

fn http(top: &Table<'_>) -> Result<Http> {
    let table = table(top, "http", &HTTP)?;
    match table.and_then(|table| table.get("keep-alive")) {
        Some(value) => Ok(Http { keep_alive: value.duration()? }),
        None => Ok(Http::default()),
    }
}

fn shutdown(top: &Table<'_>) -> Result<Shutdown> {
    let mut shutdown = Shutdown::default();
    if let Some(table) = table(top, "shutdown", &SHUTDOWN)? {
        if let Some(grace) = table.get("grace") {
            shutdown.grace = grace.duration()?;
        }
        if let Some(drain) = table.get("drain") {
            shutdown.drain = drain.duration()?;
        }
    }
    Ok(shutdown)
}

fn table<'a>(
    top: &Table<'a>,
    key: &'static str,
    section: &'static Section,
) -> Result<Option<Table<'a>>> {
    top.get(key).map(|value| value.table(section)).transpose()
}

fn tables<'a>(
    top: &Table<'a>,
    key: &'static str,
    section: &'static Section,
) -> Result<Vec<Table<'a>>> {
    top.get(key).map_or(Ok(Vec::new()), |value| value.tables(section))
}

fn flag(table: Option<&Table<'_>>, key: &'static str, default: bool) -> Result<bool> {
    table.and_then(|table| table.get(key)).map_or(Ok(default), |value| value.flag())
}

fn positive(value: &Value<'_>) -> Result<Duration> {
    match value.duration()? {
        Duration::ZERO => Err(value.error("0 is too short")),
        time => Ok(time),
    }
}

/// The items of a list of strings; none when there is no such key.
fn items<T, E: fmt::Display>(
    table: &Table<'_>,
    key: &'static str,
    read: impl Fn(&str) -> std::result::Result<T, E>,
) -> Result<Vec<T>> {
    match table.get(key) {
        Some(value) => value.list()?.map(|item| item.read(&read)).collect(),
        None => Ok(Vec::new()),
    }
}

fn choice<'a>(value: &Value<'a>, what: &str, words: &[&str]) -> Result<&'a str> {
    value.read(|text| match words.contains(&text) {
        true => Ok(text),
        false => Err(format!("`{text}` is no {what}: {}", suggest(text, words))),
    })
}
