//! A configuration in plain words.

use core::net::{IpAddr, Ipv6Addr};
use std::{fmt::Write as _, sync::Arc, time::Duration};

use auth::{Grant, Rule};
use contract::{DeadLetters, Pattern, QueueSettings, Redelivery};

use crate::{
    Broadcast, Config, Directory, Limits, Listen, Proxy, Service, ServiceKind, SyncPolicy,
    WebSocketService, limits, value,
};

/// Says what the gateway will do with this configuration.
#[must_use]
pub fn describe(config: &Config) -> String {
    let mut text = String::new();
    let mut section = |title: &str, lines: Vec<String>| {
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "{title}");
        for line in lines {
            let _infallible = writeln!(text, "  {line}");
        }
    };
    section(
        "Listens on",
        config.listens.iter().flat_map(|listen| listens(listen, config)).collect(),
    );
    section("Services", services(config));
    section("Users", users(config));
    section("Access", access(config));
    let queues = queues(config);
    if !queues.is_empty() {
        section("Queues", queues);
    }
    section("Limits", global_limits(&config.limits));
    section("Otherwise", rest(config));
    let notes = notes(config);
    if !notes.is_empty() {
        section("Mind", notes);
    }
    text
}

fn listens(listen: &Listen, config: &Config) -> Vec<String> {
    // Names every key; `operations` is said at the services that it is about.
    let Listen {
        address,
        names,
        anonymous,
        operations: _,
        proxy_protocol_from,
        forwarded_from,
        connections_max_per_address,
        tls,
    } = listen;
    let who = match (config.users.is_empty(), anonymous) {
        (true, _) => "everybody may connect",
        (false, true) => "login is optional",
        (false, false) => "login is required",
    };
    let own = match &**names {
        [] => "any loopback address or localhost".into(),
        names => names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let tls: Vec<_> = tls.iter().map(|files| files.certificate.display().to_string()).collect();
    let tls = match &*tls {
        [] => String::new(),
        certificates => format!(", TLS with {}", certificates.join(", ")),
    };
    let kind = match address.ip() {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => " (all of IPv6, and no IPv4)",
        IpAddr::V4(_) | IpAddr::V6(_) => "",
    };
    let mut lines = vec![format!("{address}{kind}{tls}: {who}; its own pages are those of {own}")];
    if !proxy_protocol_from.is_empty() {
        let from = proxy_protocol_from;
        lines.push(format!("· {from} must say by the PROXY protocol whose connection it is"));
    }
    if !forwarded_from.is_empty() {
        let from = forwarded_from;
        lines.push(format!("· {from} may say by Forwarded or X-Forwarded-For whose request it is"));
    }
    if let Some(max) = connections_max_per_address {
        lines.push(format!("· at most {max} connections from one address"));
    }
    lines
}

fn services(config: &Config) -> Vec<String> {
    let width = config.services.iter().map(|service| service.path.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for service in &config.services {
        let path = &service.path;
        lines.push(format!("{path:width$}  {}", purpose(service, config)));
        lines.extend(details(service, config).map(|line| format!("{:width$}  · {line}", "")));
    }
    lines
}

fn purpose(service: &Service, config: &Config) -> String {
    match &service.kind {
        ServiceKind::Pages => "the pages that come with the gateway".into(),
        ServiceKind::Echo => "echo: sends back what it receives".into(),
        ServiceKind::Broadcast(Broadcast { feed }) => {
            let feed = feed.as_ref().map(|feed| format!(", and what comes from {feed}"));
            format!("broadcast: what one sends all get{}", feed.unwrap_or_default())
        }
        ServiceKind::Directory(Directory { root, welcome }) => {
            format!("directory: the files of {}, {welcome} first", root.display())
        }
        ServiceKind::Proxy(Proxy { connect, text, connect_timeout, .. }) => {
            let kind = match connect.first().is_some_and(|server| server.scheme.is_websocket()) {
                true => "",
                false if *text => ", which replies in text",
                false => ", which replies in binary",
            };
            let time = value::show_duration(*connect_timeout);
            let which = if connect.len() > 1 { "one of the servers" } else { "the server" };
            let servers: Vec<_> = connect.iter().map(ToString::to_string).collect();
            let servers = servers.join(", ");
            format!("proxy: to {which} {servers} within {time}{kind}")
        }
        ServiceKind::Broker => {
            let first = config.first_broker().and_then(|first| config.services.get(first));
            let is_first = first.is_some_and(|first| first.path == service.path);
            let tcp = if is_first { ", also for STOMP over plain TCP" } else { "" };
            format!("broker: topics and queues, by subprotocol{tcp}")
        }
        ServiceKind::Topics => "topics: a POST below it publishes to a topic".into(),
        ServiceKind::Queues => "queues: a POST below it sends to a queue".into(),
        ServiceKind::Metrics => format!("metrics, for {}", operators(config)),
        ServiceKind::Health => "health: whether the process lives".into(),
        ServiceKind::Readiness => "readiness: whether it takes new connections".into(),
    }
}

/// Who may see what is for operators.
fn operators(config: &Config) -> String {
    let listens = config.listens.iter().filter(|listen| listen.operations);
    let addresses: Vec<_> = listens.map(|listen| listen.address.to_string()).collect();
    let everybody = format!("everybody who reaches {}", addresses.join(" or "));
    let users = format!("users who are {}", config.operations.roles.join(" or "));
    match (addresses.is_empty(), config.operations.roles.is_empty()) {
        (true, true) => "no request".into(),
        (false, true) => everybody,
        (true, false) => users,
        (false, false) => format!("{everybody}, and {users}"),
    }
}

/// What is not as it would be without a word about it.
fn details(service: &Service, config: &Config) -> impl Iterator<Item = String> {
    let origins: Vec<_> = service.allow_origins.iter().map(ToString::to_string).collect();
    let origins = match &*origins {
        [] => None,
        origins => Some(format!("also for pages of {}", origins.join(", "))),
    };
    let WebSocketService { compression, ping } = &service.websocket;
    let plain =
        (service.kind.takes_websockets() && !compression).then(|| "without compression".to_owned());
    let pings = ping.iter().map(|(subprotocol, &interval)| {
        let name = if subprotocol.is_empty() { "no subprotocol" } else { subprotocol };
        match interval {
            Duration::ZERO => format!("no pings with {name}"),
            _ => format!("pings with {name} after {}", value::show_duration(interval)),
        }
    });
    let differ = limits::figures(&service.limits)
        .zip(limits::figures(&config.limits))
        .filter(|((key, own), (_, global))| own != global && service.kind.has_limit(key))
        .map(|((key, own), _)| format!("{key} {own}"));
    let limits = differ.collect::<Vec<_>>().join(", ");
    let limits = (!limits.is_empty()).then_some(limits);
    let upstream = upstream(&service.kind);
    origins.into_iter().chain(upstream).chain(plain).chain(pings).chain(limits)
}

/// Whom a proxy trusts to be its server, and what it tells that.
fn upstream(kind: &ServiceKind) -> Vec<String> {
    let ServiceKind::Proxy(proxy) = kind else { return Vec::new() };
    // Names every key; the others are said in the first line.
    let Proxy { connect, text: _, connect_timeout: _, ca, server_name, proxy_protocol } = proxy;
    let verified = connect.iter().any(|server| server.scheme.has_tls()).then(|| {
        let ca = match ca {
            Some(ca) => format!("the certificates in {}", ca.display()),
            None => "the certificates that the system trusts".into(),
        };
        let name = server_name.as_ref().map(|name| format!(", as {name}"));
        format!("servers with TLS are verified by {ca}{}", name.unwrap_or_default())
    });
    let header =
        proxy_protocol.then(|| "the PROXY protocol tells servers the client's address".into());
    verified.into_iter().chain(header).collect()
}

fn users(config: &Config) -> Vec<String> {
    if config.users.is_empty() {
        return vec!["none: credentials are ignored".into()];
    }
    let user = |user: &auth::User| match &*user.principal().roles {
        [] => user.name().into(),
        roles => format!("{} ({})", user.name(), roles.join(", ")),
    };
    config.users.iter().map(|entry| user(entry)).collect()
}

fn access(config: &Config) -> Vec<String> {
    if config.access.is_open() {
        return vec![
            "everybody may subscribe everywhere, and send but to dead-letter queues".into(),
        ];
    }
    let rule = |rule: &Rule| {
        format!(
            "{}: {} may subscribe, {} may send",
            rule.scope.as_str(),
            grants(&rule.subscribe),
            grants(&rule.send)
        )
    };
    let rest = [
        "any other: none",
        "dead-letter queues, besides: who may subscribe to the queue may subscribe, none may send",
    ];
    config.access.rules().iter().map(rule).chain(rest.map(str::to_owned)).collect()
}

fn queues(config: &Config) -> Vec<String> {
    let line = |(pattern, settings): &(Pattern, Arc<QueueSettings>)| {
        let QueueSettings { is_durable, redelivery, dead_letters } = &**settings;
        let Redelivery { attempts, delay_ms, factor, delay_max_ms } = *redelivery;
        let keeps =
            if *is_durable { "keeps messages that do not say" } else { "keeps what says so" };
        let shown = |ms| value::show_duration(Duration::from_millis(ms));
        let again = if delay_ms == 0 {
            "at once".into()
        } else if factor > 1.0 && delay_ms < delay_max_ms {
            format!(
                "after {}, then {factor} times as long each time, up to {}",
                shown(delay_ms),
                shown(delay_max_ms)
            )
        } else {
            format!("after {}", shown(delay_ms))
        };
        let attempts = attempts.unwrap_or(config.limits.broker.deliveries_max);
        let dead = match dead_letters {
            DeadLetters::Own => "go to DLQ. and its name".into(),
            DeadLetters::To(queue) => format!("go to {queue}"),
            DeadLetters::Dropped => "are dropped".into(),
        };
        format!(
            "{pattern}: {keeps}; what failed is delivered again {again}, {attempts} times in all; \
             dead letters {dead}"
        )
    };
    config.queues.rules().iter().map(line).collect()
}

fn grants(grants: &[Grant]) -> String {
    let words = grants.iter().map(|grant| match grant {
        Grant::Everybody => "everybody".into(),
        Grant::Users => "who logged in".into(),
        Grant::User(name) => name.to_string(),
        Grant::Role(role) => format!("every {role}"),
    });
    match &*words.collect::<Vec<String>>() {
        [] => "none".into(),
        words => words.join(" and "),
    }
}

fn global_limits(limits: &Limits) -> Vec<String> {
    let changed: Vec<_> = limits::figures(limits)
        .zip(limits::figures(&Limits::default()))
        .filter(|((_, now), (_, default))| now != default)
        .map(|((key, now), (_, default))| format!("{key} {now} (default {default})"))
        .collect();
    if changed.is_empty() { vec!["the defaults".into()] } else { changed }
}

fn rest(config: &Config) -> Vec<String> {
    let Config { clients, log, http, shutdown, memory, .. } = config;
    let cores = match config.threads {
        Some(threads) => format!("uses {threads} cores"),
        None => "uses the cores of the machine".into(),
    };
    let io_uring = config.io_uring.then(|| "sends to many sockets at once by io_uring".into());
    let settings = [
        clients.settings(),
        log.settings(),
        http.settings(),
        shutdown.settings(),
        memory.settings(),
    ];
    [cores].into_iter().chain(io_uring).chain(settings).chain([store(config)]).collect()
}

/// Where persistent messages are kept, and what is lost of them when the machine stops.
fn store(config: &Config) -> String {
    let Some(store) = &config.store else {
        return "keeps persistent messages in the state directory, once there are any".into();
    };
    let path = match &store.path {
        Some(path) => path.display().to_string(),
        None => "the state directory".into(),
    };
    match store.sync {
        SyncPolicy::Always => {
            format!("keeps persistent messages in {path}: they are on the disk when confirmed")
        }
        SyncPolicy::Interval => format!(
            "keeps persistent messages in {path}: a machine that stops without warning loses up to \
             100 ms of what was confirmed (sync = \"interval\")"
        ),
    }
}

/// Services that take larger messages than the peers of another may be sent.
fn undeliverable(config: &Config) -> impl Iterator<Item = String> {
    let senders = config.services.iter().filter(|service| service.kind.uses_broker());
    let largest = senders.max_by_key(|service| service.limits.connection.message_bytes_max);
    let receivers = config.services.iter().filter(|one| matches!(one.kind, ServiceKind::Broker));
    let pairs = receivers.flat_map(move |receiver| largest.map(|largest| (receiver, largest)));
    pairs.filter_map(|(receiver, largest)| {
        let unsent = receiver.limits.connection.unsent_bytes_max;
        let message = largest.limits.connection.message_bytes_max;
        (message > unsent).then(|| {
            format!(
                "{} takes messages of {}, and a peer at {} is closed when {} wait for it \
                 (unsent-bytes-max): it cannot receive the largest",
                largest.path,
                value::show_bytes(message),
                receiver.path,
                value::show_bytes(unsent)
            )
        })
    })
}

/// What is allowed and may not be meant.
fn notes(config: &Config) -> Vec<String> {
    let mut notes = Vec::new();
    for listen in config.listens.iter().filter(|listen| !listen.address.ip().is_loopback()) {
        let address = listen.address;
        if !config.users.is_empty() && listen.tls.is_empty() {
            notes.push(format!(
                "{address} has no TLS of its own: passwords cross the network in clear"
            ));
        }
        if listen.anonymous {
            notes.push(format!("{address} lets other machines connect without logging in"));
        }
        if listen.names.is_empty() {
            notes.push(format!(
                "{address} has no `names`: its own pages work from this machine alone"
            ));
        }
        if listen.operations {
            let tls = if listen.tls.is_empty() { ", and without TLS" } else { "" };
            notes.push(format!(
                "{address} shows what is for operators (/metrics) to every machine that reaches \
                 it{tls}"
            ));
        }
    }
    for listen in &config.listens {
        let address = listen.address;
        if listen.proxy_protocol_from.has_all() || listen.forwarded_from.has_all() {
            notes.push(format!(
                "{address} believes everybody who says to be a proxy: name the proxies alone"
            ));
        }
    }
    notes.extend(undeliverable(config));
    let has_operations = config.services.iter().any(|service| service.kind.is_for_operators());
    if has_operations
        && config.operations.roles.is_empty()
        && !config.listens.iter().any(|listen| listen.operations)
    {
        notes.push(
            "no request sees /metrics: say operations = true in a [[listen]] that only operators \
             reach, or name [operations] roles"
                .into(),
        );
    }
    notes
}
