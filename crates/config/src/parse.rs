//! From the keys of a file to a [`Config`]: what a single key cannot say of itself is checked here.

use core::net::SocketAddr;
use std::sync::Arc;

use auth::{Access, Grant, Rule, User, Users};
use contract::Limits;
use toml::de::DeTable;

use crate::{
    Config, ConfigError, ConfigErrors, Listen, Memory, Operations, Service, ServiceKind,
    form::{At, Bytes, Checked, Role, Tables},
    keys::{Keys as _, suggest},
    limits::{self, Place},
    service::default_limits,
    source::{Source, Table},
    tables::{self, MemoryTable, Root},
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

pub(crate) fn read(text: &str, file: &str) -> Reading {
    let mut source = Source::new(text, file);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let start = error.span().unwrap_or_default().start;
        source.report_broken(start, error.message().replace('\n', ", "));
    }
    let table = Table::open(&source, Root::SECTION, document.get_ref(), document.span().start);
    let config = match Root::of_table(&table) {
        Some(root) if !source.is_broken() => Reader { source: &source, root: &root }.config(),
        Some(_) | None => Config::default(),
    };
    Reading { config, errors: source.errors() }
}

/// What relates the keys of a file to each other.
struct Reader<'a> {
    source: &'a Source<'a>,
    root: &'a Root,
}

impl Reader<'_> {
    fn config(&self) -> Config {
        let root = self.root;
        let default = Config::default();
        let users = self.users();
        let limits = root.limits.value.over(Limits::default());
        if root.limits.is_whole {
            let places = root.limits.value.places();
            limits::check(self.source, &limits, &places, root.limits.start, true);
        }
        Config {
            threads: root.threads,
            io_uring: root.io_uring,
            listens: root.listen.as_ref().map_or(default.listens, |listen| self.listens(listen)),
            services: self.services(default.services),
            memory: self.memory(),
            access: self.access(&users),
            operations: self.operations(&users),
            users,
            limits: Arc::new(limits),
            log: root.log,
            http: root.http,
            shutdown: root.shutdown,
        }
    }

    fn listens(&self, tables: &At<Tables<tables::Listen>>) -> Vec<Listen> {
        let mut listens: Vec<Listen> = Vec::new();
        for table in &tables.read {
            let address = table.address.value;
            for other in listens.iter().map(|listen| listen.address) {
                if other == address && address.port() != 0 {
                    let message = format_args!("{address} is listened on twice");
                    table.address.refuse(self.source, message);
                } else if let Some((all, one)) = overlap(other, address) {
                    let message = format_args!(
                        "{other} and {address} overlap: {all} has {one}, too; leave one of them out"
                    );
                    table.address.refuse(self.source, message);
                }
            }
            listens.push(Listen {
                address,
                names: table.names.clone(),
                anonymous: self.anonymous(table),
                operations: table.operations,
                proxy_protocol_from: table.proxy_protocol_from.clone(),
                forwarded_from: table.forwarded_from.clone(),
                connections_max_per_address: table.connections_max_per_address,
                tls: table.tls.as_ref().map_or_else(Vec::new, |tls| tls.0.clone()),
            });
        }
        if tables.count == 0 {
            tables.refuse(self.source, "at least one is required");
        }
        listens
    }

    fn anonymous(&self, table: &tables::Listen) -> bool {
        let address = table.address.value;
        let said = table.anonymous.as_ref();
        let anonymous = said.map_or_else(|| address.ip().is_loopback(), |said| said.value);
        let Checked { value: users, is_whole, .. } = &self.root.user;
        if !anonymous && users.count == 0 && *is_whole {
            match said {
                Some(said) => said.refuse(self.source, "nobody could log in: add a [[user]]"),
                None => table.address.refuse(
                    self.source,
                    format_args!(
                        "{address} is open to other machines and nobody could log in: add a \
                         [[user]], or let everybody connect with anonymous = true"
                    ),
                ),
            }
        }
        anonymous
    }

    /// The services of the file, or the default ones; then those that the gateway has by itself.
    fn services(&self, default: Vec<Service>) -> Vec<Service> {
        let (mut own, others): (Vec<_>, Vec<_>) =
            default.into_iter().partition(|service| is_own(&service.kind));
        own.retain(|service| match service.kind == ServiceKind::Metrics {
            true => self.root.metrics.enabled,
            false => self.root.health.enabled,
        });
        let mut services = match &self.root.service {
            Some(tables) => self.services_of_file(&tables.read, &own),
            None => others.into_iter().map(|other| self.with_defaults(other)).collect(),
        };
        services.extend(own.into_iter().map(|own| self.with_defaults(own)));
        services
    }

    fn services_of_file(&self, tables: &[tables::Service], own: &[Service]) -> Vec<Service> {
        let mut services: Vec<Service> = Vec::new();
        for (index, table) in tables.iter().enumerate() {
            let at = &table.common.path;
            let path = &at.0;
            let earlier = tables.iter().take(index).map(|table| &table.common.path);
            if let Some(other) = earlier.into_iter().find(|other| other.0 == *path) {
                let line = self.source.line(other.start);
                let message = format_args!("{path} is the path of the service in line {line}");
                at.refuse(self.source, message);
            }
            if let Some(own) = own.iter().find(|own| own.path == *path) {
                let section = if own.kind == ServiceKind::Metrics { "metrics" } else { "health" };
                let message = format_args!(
                    "{path} is the gateway's own: choose another, or set enabled = false in \
                     [{section}]"
                );
                at.refuse(self.source, message);
            }
            services.push(self.service(table));
        }
        services
    }

    fn service(&self, table: &tables::Service) -> Service {
        let path = &table.common.path.0;
        let mut service = Service::new(path, table.kind.clone());
        service.compression = table.websocket.compression;
        service.ping = table.websocket.ping.clone();
        let origins = table.common.allow_origins.as_ref();
        service.allow_origins = origins.unwrap_or(&self.root.allow_origins).clone();
        let own = &table.common.limits;
        let places: Vec<_> = own.value.0.places().collect();
        service.limits = Arc::new(own.value.0.over(self.limits_for(&service)));
        if own.is_whole && self.root.limits.is_whole {
            if !places.is_empty() {
                let uses_broker = service.kind.uses_broker();
                limits::check(self.source, &service.limits, &places, own.start, uses_broker);
            }
            self.check_budget(&service, &places);
        }
        service
    }

    /// A service of which the file says nothing.
    fn with_defaults(&self, mut service: Service) -> Service {
        service.limits = Arc::new(self.limits_for(&service));
        service.allow_origins = self.root.allow_origins.clone();
        if self.root.limits.is_whole {
            self.check_budget(&service, &[]);
        }
        service
    }

    /// The limits of a service that sets none.
    fn limits_for(&self, service: &Service) -> Limits {
        let global = &self.root.limits.value;
        let places = global.places();
        let sizes = ["message-bytes-max", "unsent-bytes-max"];
        let says_how_large = sizes.iter().any(|size| limits::start_of(size, &places).is_some());
        global.over(if says_how_large {
            Limits::default()
        } else {
            default_limits(service.kind.as_str())
        })
    }

    fn memory(&self) -> Memory {
        let MemoryTable { unsent_bytes_max_per_core } = &self.root.memory.value;
        unsent_bytes_max_per_core.as_ref().map_or_else(Memory::default, |at| Memory {
            unsent_bytes_max_per_core: at.value.into(),
        })
    }

    /// Reports that one connection may have more than all of its core.
    fn check_budget(&self, service: &Service, own: &[Place]) {
        let one = service.limits.unsent_bytes_max;
        let all = self.memory().unsent_bytes_max_per_core;
        if one <= all || !self.root.memory.is_whole || !service.kind.takes_websockets() {
            return;
        }
        let key = "unsent-bytes-max";
        let budget = self.root.memory.value.unsent_bytes_max_per_core.as_ref();
        let start = limits::start_of(key, own)
            .or_else(|| limits::start_of(key, &self.root.limits.value.places()))
            .or_else(|| budget.map(|at: &At<Bytes>| at.start));
        let (path, one, all) = (&service.path, value::show_bytes(one), value::show_bytes(all));
        let message = format_args!(
            "`{key}` of one connection at {path} ({one}) is more than all connections of a core may \
             have ({all}): lower it, or raise `unsent-bytes-max-per-core` in [memory]"
        );
        self.source.report_once(start.unwrap_or_default(), message);
    }

    fn users(&self) -> Users {
        let mut users: Vec<(User, usize)> = Vec::new();
        for table in &self.root.user.value.read {
            let roles = table.roles.iter().map(|Role(role)| role.clone());
            let user = match User::new(&table.name, roles, table.password.0.clone()) {
                Ok(user) => user,
                Err(error) => {
                    table.name.refuse(self.source, error);
                    continue;
                }
            };
            if let Some((_, start)) = users.iter().find(|(other, _)| other.name() == user.name()) {
                let (name, line) = (user.name(), self.source.line(*start));
                let message = format_args!("{name} is the user in line {line} already");
                table.name.refuse(self.source, message);
                continue;
            }
            users.push((user, table.name.start));
        }
        users.into_iter().map(|(user, _)| user).collect()
    }

    fn access(&self, users: &Users) -> Access {
        let mut rules: Vec<(Rule, usize)> = Vec::new();
        for table in &self.root.access.read {
            let at = &table.destination;
            if let Some((_, start)) = rules.iter().find(|(other, _)| other.scope.includes(at)) {
                let line = self.source.line(*start);
                let message = format_args!(
                    "this rule never decides: that of line {line} comes first and holds all of it"
                );
                at.refuse(self.source, message);
            }
            let rule = Rule {
                scope: at.value.clone(),
                subscribe: self.grants(&table.subscribe, users),
                send: self.grants(&table.send, users),
            };
            rules.push((rule, at.start));
        }
        Access::new(rules.into_iter().map(|(rule, _)| rule).collect())
    }

    fn grants(&self, grants: &[At<Grant>], users: &Users) -> Vec<Grant> {
        for grant in grants {
            match &grant.value {
                Grant::User(name) if users.get(name).is_none() => {
                    let known: Vec<_> = users.iter().map(|user| user.name()).collect();
                    self.refuse_unknown(grant, &format!("there is no user `{name}`"), name, &known);
                }
                Grant::Role(role) => self.check_role(grant, role, users),
                Grant::Everybody | Grant::Users | Grant::User(_) => {}
            }
        }
        grants.iter().map(|grant| grant.value.clone()).collect()
    }

    fn operations(&self, users: &Users) -> Operations {
        let roles = &self.root.operations.roles;
        for role in roles {
            self.check_role(role, &role.0, users);
        }
        Operations { roles: roles.iter().map(|role| role.0.clone()).collect() }
    }

    /// Reports a role that no user has.
    fn check_role<T>(&self, at: &At<T>, role: &str, users: &Users) {
        let roles = users.iter().flat_map(|user| user.principal().roles.iter());
        let known: Vec<&str> = roles.map(|role| &**role).collect();
        if !known.contains(&role) {
            self.refuse_unknown(at, &format!("no user has the role `{role}`"), role, &known);
        }
    }

    /// Reports a name that is not among those of the users, as far as these are known.
    fn refuse_unknown<T>(&self, at: &At<T>, trouble: &str, wrong: &str, known: &[&str]) {
        match known {
            _ if !self.root.user.is_whole => {}
            [] => at.refuse(self.source, trouble),
            known => at.refuse(self.source, format_args!("{trouble}: {}", suggest(wrong, known))),
        }
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
