//! From the keys of a file to a [`Config`]: what a single key cannot say of itself is checked here.

use core::net::SocketAddr;
use std::{fmt, time::Duration};

use auth::{Access, Grant, Rule, User, Users};
use contract::{QueueRules, QueueSettings};
use toml::de::DeTable;

use crate::{
    Config, ConfigError, ConfigErrors, Listen, Memory, Outside, Proxy, Service, ServiceKind,
    keys::Keys as _,
    limits::{self, Limits},
    located::{Located, Tables},
    section::suggest,
    service::default_limits,
    source::{Place, Source, Table},
    tables::{self, Root},
    value,
};

/// What was read of a file, and what is wrong with it. A caller that looks at the files which the
/// configuration names adds what is wrong with them.
#[derive(Debug)]
pub struct Reading {
    config: Config,
    errors: ConfigErrors,
}

impl Reading {
    /// What could be read. Defaults stand for what is wrong.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Adds an error.
    pub fn refuse(&mut self, error: ConfigError) {
        self.errors.push(error);
    }

    /// The configuration.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn finish(self) -> Result<Config, ConfigErrors> {
        if self.errors.iter().next().is_none() { Ok(self.config) } else { Err(self.errors) }
    }
}

pub(crate) fn read(text: &str, file: &str, outside: Outside<'_>) -> Reading {
    let mut source = Source::new(text, file, outside.environment);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let start = error.span().unwrap_or_default().start;
        source.report_broken(start, error.message().replace('\n', ", "));
    }
    let reported = source.reported();
    let table = Table::open(&source, Root::SECTION, document.get_ref(), document.span().start);
    let mut unreachable = None;
    let config = match Located::<Root>::of_table(&table, reported) {
        Some(mut root) if !source.is_broken() => {
            if let Some(address) = outside.listen {
                unreachable = listen_at(&source, &mut root.value, address);
            }
            Reader { source: &source, root: &root }.config()
        }
        Some(_) | None => Config::default(),
    };
    let mut reading = Reading { config, errors: source.errors() };
    if let Some(message) = unreachable {
        reading.refuse(ConfigError::of_file(file, message));
    }
    reading
}

/// Lets the one listener have this address. Returns what is wrong with that where no place in the file
/// could be named for it.
fn listen_at(source: &Source<'_>, root: &mut Root, address: SocketAddr) -> Option<String> {
    let users = &root.user;
    let none_can = users.count == 0 && users.is_whole;
    let Some(tables) = &mut root.listen else {
        root.listen = Some(Tables::of(Listen::only(address)));
        return (none_can && !address.ip().is_loopback()).then(|| {
            format!(
                "{address} is open to other machines and no user could log in: write a \
                 configuration with a [[user]] (`passerelle init` begins one), or with a [[listen]] \
                 that has anonymous = true"
            )
        });
    };
    match &mut *tables.read {
        [one] => {
            one.value.address = address;
            if one.place("anonymous").is_none() {
                one.value.anonymous = address.ip().is_loopback();
            }
        }
        [_, second, ..] => source.report(
            second.start,
            "the command line names one address to listen on, and the file has several [[listen]]: \
             leave one of both",
        ),
        // What is wrong with it has been reported.
        [] => {}
    }
    None
}

/// What relates the keys of a file to each other.
struct Reader<'a> {
    source: &'a Source<'a>,
    root: &'a Located<Root>,
}

impl Reader<'_> {
    fn config(&self) -> Config {
        let root = &self.root.value;
        let default = Config::default();
        let users = self.users();
        let limits = root.limits.value.over(Limits::default());
        if root.limits.is_whole {
            limits::check(self.source, &limits, &root.limits, None);
        }
        let memory = self.memory(&limits);
        if let Some(listen) = &root.listen {
            self.check_listens(listen);
        }
        self.check_operations(&users);
        let listens = root
            .listen
            .as_ref()
            .map(|tables| tables.read.iter().map(|table| table.value.clone()).collect());
        Config {
            threads: root.threads,
            io_uring: root.io_uring,
            listens: listens.unwrap_or(default.listens),
            services: self.services(default.services),
            memory,
            access: self.access(&users),
            queues: self.queues(),
            operations: root.operations.value.clone(),
            users,
            limits,
            log: root.log,
            clients: root.clients,
            http: root.http,
            shutdown: root.shutdown,
            store: root.store.clone(),
        }
    }

    fn check_listens(&self, tables: &Tables<Listen>) {
        for (index, table) in tables.read.iter().enumerate() {
            let address = table.value.address;
            let refuse =
                |message: fmt::Arguments<'_>| table.refuse(self.source, "address", message);
            for other in tables.read.iter().take(index).map(|earlier| earlier.value.address) {
                if other == address && address.port() != 0 {
                    refuse(format_args!("{address} is listened on twice"));
                } else if let Some((all, one)) = overlap(other, address) {
                    refuse(format_args!(
                        "{other} and {address} overlap: {all} has {one}, too; leave one of them out"
                    ));
                }
            }
            self.check_login(table);
        }
        if tables.count == 0 {
            self.root.refuse(self.source, "listen", "at least one is required");
        }
    }

    /// Reports a listener that requires a login where no user can log in.
    fn check_login(&self, table: &Located<Listen>) {
        let users = &self.root.value.user;
        if table.value.anonymous || users.count > 0 || !users.is_whole {
            return;
        }
        // That of the command line, without a table in the file.
        if table.is_empty() {
            return;
        }
        if table.place("anonymous").is_some() {
            table.refuse(self.source, "anonymous", "no user could log in: add a [[user]]");
            return;
        }
        let message = format_args!(
            "{} is open to other machines and no user could log in: add a [[user]], or let everybody \
             connect with anonymous = true",
            table.value.address
        );
        table.refuse(self.source, "address", message);
    }

    /// The services of the file, or the default ones; then those that the gateway has by itself.
    fn services(&self, default: Vec<Service>) -> Vec<Service> {
        let (mut own, others): (Vec<_>, Vec<_>) =
            default.into_iter().partition(|service| is_own(&service.kind));
        own.retain(|service| match service.kind == ServiceKind::Metrics {
            true => self.root.value.metrics.enabled,
            false => self.root.value.health.enabled,
        });
        let mut services = match &self.root.value.service {
            Some(tables) => self.services_of_file(&tables.read, &own),
            None => others.into_iter().map(|other| self.with_defaults(other)).collect(),
        };
        services.extend(own.into_iter().map(|own| self.with_defaults(own)));
        services
    }

    fn services_of_file(
        &self,
        tables: &[Located<tables::Service>],
        own: &[Service],
    ) -> Vec<Service> {
        let mut services: Vec<Service> = Vec::new();
        for (index, table) in tables.iter().enumerate() {
            let path = &table.value.common.path;
            let refuse = |message: fmt::Arguments<'_>| table.refuse(self.source, "path", message);
            let mut earlier = tables.iter().take(index);
            if let Some(other) = earlier.find(|other| other.value.common.path == *path) {
                let line = self.line(other, "path");
                refuse(format_args!("{path} is the path of the service in line {line}"));
            }
            if let Some(own) = own.iter().find(|own| own.path == *path) {
                let section = if own.kind == ServiceKind::Metrics { "metrics" } else { "health" };
                refuse(format_args!(
                    "{path} is the gateway's own: choose another, or set enabled = false in \
                     [{section}]"
                ));
            }
            self.check_upstream(table);
            services.push(self.service(&table.value));
        }
        services
    }

    /// Reports keys of a proxy that contradict each other.
    fn check_upstream(&self, table: &Located<tables::Service>) {
        let ServiceKind::Proxy(Proxy { connect, .. }) = &table.value.kind else { return };
        let is_websocket = connect.first().is_some_and(|first| first.scheme.is_websocket());
        for (index, server) in connect.iter().enumerate() {
            let message = if connect.iter().take(index).any(|earlier| earlier == server) {
                format!("{server} is named twice")
            } else if server.scheme.is_websocket() != is_websocket {
                "of one service all are WebSockets (ws, wss), or none is (tcp, tls)".to_owned()
            } else {
                continue;
            };
            table.refuse_item(self.source, ("connect", index), message);
        }
        if connect.iter().all(|server| !server.scheme.has_tls()) {
            for key in ["ca", "server-name"].into_iter().filter(|key| table.place(key).is_some()) {
                table.refuse(self.source, key, "no server of `connect` has TLS: tls:// or wss://");
            }
        }
        if is_websocket && table.place("text").is_some() {
            table.refuse(
                self.source,
                "text",
                "messages of WebSockets (ws, wss) stay what they are",
            );
        }
    }

    fn service(&self, table: &tables::Service) -> Service {
        let mut service = Service::new(&table.common.path, table.kind.clone());
        service.websocket = table.websocket.clone();
        let origins = table.common.allow_origins.as_ref();
        service.allow_origins = origins.unwrap_or(&self.root.value.allow_origins).clone();
        let own = &table.common.limits;
        service.limits = own.value.0.over(self.limits_for(&service));
        limits::check_kind(self.source, own, &service.kind);
        if own.is_whole && self.root.value.limits.is_whole {
            if !own.is_empty() {
                limits::check(self.source, &service.limits, own, Some(&service.kind));
            }
            self.check_budget(&service, own.place(UNSENT));
            self.check_inbound(&service, own.place(MESSAGE));
            self.check_queued(&service, own.place(MESSAGE));
        }
        service
    }

    /// A service of which the file says nothing.
    fn with_defaults(&self, mut service: Service) -> Service {
        service.limits = self.limits_for(&service);
        service.allow_origins = self.root.value.allow_origins.clone();
        if self.root.value.limits.is_whole {
            self.check_budget(&service, None);
            self.check_inbound(&service, None);
            self.check_queued(&service, None);
        }
        service
    }

    /// The limits of a service that sets none.
    fn limits_for(&self, service: &Service) -> Limits {
        let global = &self.root.value.limits;
        let says_how_large = [MESSAGE, UNSENT].iter().any(|size| global.place(size).is_some());
        global.value.over(if says_how_large {
            Limits::default()
        } else {
            default_limits(service.kind.as_str())
        })
    }

    /// Reports that one connection may have more than all of its core.
    fn check_budget(&self, service: &Service, own: Option<&Place>) {
        let Root { memory, limits, .. } = &self.root.value;
        let one = service.limits.connection.unsent_bytes_max;
        let all = memory.value.unsent_bytes_max_per_core;
        if one <= all || !memory.is_whole || !service.kind.takes_websockets() {
            return;
        }
        let place = own.or_else(|| limits.place(UNSENT)).or_else(|| memory.place(BUDGET));
        let (path, one, all) = (&service.path, value::show_bytes(one), value::show_bytes(all));
        let message = format_args!(
            "`{UNSENT}` of one connection at {path} ({one}) is more than all connections of a core \
             may have ({all}): lower it, or raise `{BUDGET}` in [memory]"
        );
        self.source.report_once(place.map_or(0, |place| place.start), message);
    }

    /// The bounds over all connections; reports a part that is more than half of its whole.
    fn memory(&self, limits: &Limits) -> Memory {
        let table = &self.root.value.memory;
        let mut memory = table.value;
        let queues_max = (limits.broker.queues_max / 2).max(1);
        if table.place(QUEUES).is_none() {
            memory.queues_max_per_principal = memory.queues_max_per_principal.min(queues_max);
        } else if memory.queues_max_per_principal > queues_max && self.root.value.limits.is_whole {
            table.refuse(
                self.source,
                QUEUES,
                format_args!("at most half of `queues-max` in [limits]: {queues_max}"),
            );
        }
        match (memory.queued_bytes_max, memory.queued_bytes_max_per_principal) {
            (Some(all), Some(one)) if one > all / 2 => {
                let half = value::show_bytes(all / 2);
                table.refuse(
                    self.source,
                    QUEUED_BY_ONE,
                    format_args!("at most half of `{QUEUED}`: {half}"),
                );
            }
            (None, Some(_)) if table.place(QUEUED).is_none() => table.refuse(
                self.source,
                QUEUED_BY_ONE,
                format_args!(
                    "it is part of `{QUEUED}`, which by default depends on the machine: write both"
                ),
            ),
            _ => {}
        }
        let queue = limits.broker.queue_bytes_max;
        if let Some(all) = memory.queued_bytes_max
            && queue > all
            && let Some(place) = self.root.value.limits.place(QUEUE_BYTES)
        {
            let (queue, all) = (value::show_bytes(queue), value::show_bytes(all));
            let message = format_args!(
                "`{QUEUE_BYTES}` ({queue}) is more than all queues together may take ({all}): lower \
                 it, or raise `{QUEUED}` in [memory]"
            );
            self.source.report_once(place.start, message);
        }
        memory
    }

    /// Reports that the largest message may be refused even if there is no other.
    fn check_inbound(&self, service: &Service, own: Option<&Place>) {
        let Root { memory, limits, .. } = &self.root.value;
        let one = service.limits.connection.message_bytes_max;
        let Some(all) = memory.value.inbound_bytes_max else { return };
        if service.inbound_bytes() <= all || !memory.is_whole {
            return;
        }
        let place = own.or_else(|| limits.place(MESSAGE)).or_else(|| memory.place(INBOUND));
        let (path, one, all) = (&service.path, value::show_bytes(one), value::show_bytes(all));
        let message = format_args!(
            "`{MESSAGE}` at {path} ({one}) is more than half of what all peers together may have \
             sent in part ({all}): lower it, or raise `{INBOUND}` in [memory]"
        );
        self.source.report_once(place.map_or(0, |place| place.start), message);
    }

    /// Reports that the largest message does not fit into what one principal may have in queues.
    fn check_queued(&self, service: &Service, own: Option<&Place>) {
        let Root { memory, limits, .. } = &self.root.value;
        let one = service.limits.connection.message_bytes_max;
        let Some(total) = memory.value.queued_bytes_max else { return };
        let all = memory.value.queued_bytes_max_per_principal.unwrap_or(total / 2);
        if one.saturating_mul(2) <= all || !memory.is_whole || !service.kind.uses_broker() {
            return;
        }
        let key = if memory.place(QUEUED_BY_ONE).is_some() { QUEUED_BY_ONE } else { QUEUED };
        let place = own.or_else(|| limits.place(MESSAGE)).or_else(|| memory.place(key));
        let (path, one, all) = (&service.path, value::show_bytes(one), value::show_bytes(all));
        let message = format_args!(
            "`{MESSAGE}` at {path} ({one}) is more than half of what one principal may have in \
             queues ({all}): lower it, or raise `{key}` in [memory]"
        );
        self.source.report_once(place.map_or(0, |place| place.start), message);
    }

    fn users(&self) -> Users {
        let mut users = Vec::new();
        let tables = &self.root.value.user.read;
        for (index, table) in tables.iter().enumerate() {
            let tables::User { name, password, roles, expires } = &table.value;
            let mut earlier = tables.iter().take(index);
            if let Some(other) = earlier.find(|other| other.value.name == *name) {
                let line = self.line(other, "name");
                let message = format_args!("{name} is the user in line {line} already");
                table.refuse(self.source, "name", message);
            }
            match User::new(name, roles.iter().cloned(), password.0.clone()) {
                Ok(user) => users.push(user.until(expires.map(|time| time.0))),
                Err(error) => table.refuse(self.source, "name", error),
            }
        }
        users.into_iter().collect()
    }

    fn access(&self, users: &Users) -> Access {
        let mut rules = Vec::new();
        let tables = &self.root.value.access.read;
        for (index, table) in tables.iter().enumerate() {
            let tables::Access { destination, subscribe, send } = &table.value;
            let mut earlier = tables.iter().take(index).filter(|other| {
                // Those that name dead-letter queues are looked for by themselves.
                other.value.destination.names_dead_letter_queues()
                    || !destination.names_dead_letter_queues()
            });
            if let Some(other) = earlier.find(|other| other.value.destination.includes(destination))
            {
                let line = self.line(other, "destination");
                let message = format_args!(
                    "this rule never decides: that of line {line} comes first and holds all of it"
                );
                table.refuse(self.source, "destination", message);
            }
            self.check_grants(table, "subscribe", subscribe, users);
            self.check_grants(table, "send", send, users);
            let (subscribe, send) = (subscribe.clone(), send.clone());
            rules.push(Rule { scope: destination.clone(), subscribe, send });
        }
        Access::new(rules)
    }

    /// What is said of queues; reports tables of which nothing comes.
    fn queues(&self) -> QueueRules {
        let tables = &self.root.value.queue.read;
        let rules = tables.iter().enumerate().map(|(index, table)| {
            let tables::Queue { pattern, durable, redelivery, dead_letter } = &table.value;
            let mut earlier = tables.iter().take(index);
            if let Some(other) = earlier.find(|other| other.value.pattern.covers(pattern)) {
                let line = self.line(other, "pattern");
                let message = format_args!(
                    "this table never decides: that of line {line} comes first and holds all of it"
                );
                table.refuse(self.source, "pattern", message);
            }
            let settings = QueueSettings {
                is_durable: *durable,
                redelivery: self.redelivery(redelivery),
                dead_letters: dead_letter.clone(),
            };
            (pattern.clone(), settings)
        });
        QueueRules::new(rules)
    }

    fn redelivery(&self, table: &Located<tables::Redelivery>) -> contract::Redelivery {
        let tables::Redelivery { attempts, delay, factor, max_delay } = table.value;
        let max_delay = if table.place("max-delay").is_some() {
            if delay > max_delay {
                table.refuse(
                    self.source,
                    "max-delay",
                    format_args!("less than `delay`: {}", value::show_duration(delay)),
                );
            }
            max_delay
        } else {
            max_delay.max(delay)
        };
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        contract::Redelivery {
            attempts: attempts.map(Into::into),
            delay_ms: ms(delay),
            factor: factor.0,
            delay_max_ms: ms(max_delay),
        }
    }

    /// Reports users and roles that there are not.
    fn check_grants<T>(&self, table: &Located<T>, key: &str, grants: &[Grant], users: &Users) {
        for (index, grant) in grants.iter().enumerate() {
            let unknown = match grant {
                Grant::User(name) if users.get(name).is_none() => {
                    let known: Vec<_> = users.iter().map(|user| user.name()).collect();
                    Some(unknown(&format!("there is no user `{name}`"), name, &known))
                }
                Grant::Role(role) => unknown_role(role, users),
                Grant::Everybody | Grant::Users | Grant::User(_) => None,
            };
            self.refuse_unknown(table, (key, index), unknown);
        }
    }

    fn check_operations(&self, users: &Users) {
        let table = &self.root.value.operations;
        for (index, role) in table.value.roles.iter().enumerate() {
            self.refuse_unknown(table, ("roles", index), unknown_role(role, users));
        }
    }

    /// Reports a name that no user has, where all users are known.
    fn refuse_unknown<T>(&self, table: &Located<T>, item: (&str, usize), unknown: Option<String>) {
        if let Some(unknown) = unknown.filter(|_| self.root.value.user.is_whole) {
            table.refuse_item(self.source, item, unknown);
        }
    }

    /// The line of a key's value.
    fn line<T>(&self, table: &Located<T>, key: &str) -> usize {
        self.source.line(table.place(key).map_or(table.start, |place| place.start))
    }
}

/// What is wrong with a role that no user has.
fn unknown_role(role: &str, users: &Users) -> Option<String> {
    let roles = users.iter().flat_map(|user| user.principal().roles.iter());
    let known: Vec<&str> = roles.map(|role| &**role).collect();
    (!known.contains(&role))
        .then(|| unknown(&format!("no user has the role `{role}`"), role, &known))
}

fn unknown(trouble: &str, wrong: &str, known: &[&str]) -> String {
    match known {
        [] => trouble.into(),
        known => format!("{trouble}: {}", suggest(wrong, known)),
    }
}

/// Whether the gateway has it without being told.
const fn is_own(kind: &ServiceKind) -> bool {
    matches!(kind, ServiceKind::Metrics | ServiceKind::Health | ServiceKind::Readiness)
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

const MESSAGE: &str = "message-bytes-max";
const INBOUND: &str = "inbound-bytes-max";
const QUEUE_BYTES: &str = "queue-bytes-max";
const QUEUED: &str = "queued-bytes-max";
const QUEUED_BY_ONE: &str = "queued-bytes-max-per-principal";
const QUEUES: &str = "queues-max-per-principal";
const UNSENT: &str = "unsent-bytes-max";
const BUDGET: &str = "unsent-bytes-max-per-core";
