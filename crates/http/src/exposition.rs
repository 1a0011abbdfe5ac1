//! What Prometheus reads at `/metrics`.

mod process;

use std::{cmp::Reverse, collections::BTreeSet, fmt, sync::Arc};

use auth::Denial;
use broker::{QueueDepth, StoreStats};
use drive::{
    Count, Counters, HandshakeOutcome, Refused, Row, UpstreamQueue, UpstreamStats, internal_errors,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet, prometheus_text},
    metrics::MetricType,
    registry::Registry,
};

pub(crate) use self::process::Process;
use crate::{gateway::Gateway, slow_subscriptions::SlowSubscriptions};

/// The type of what [`render`] writes.
pub(crate) const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// All that is known at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The path and type of each service, in the configuration's order.
    pub services: Vec<(Box<str>, &'static str)>,
    /// The scope of each access rule, in the configuration's order.
    pub rules: Vec<Box<str>>,
    /// What is known of the addresses that services relay to, by the service's index.
    pub upstreams: Vec<(usize, UpstreamStats)>,
    /// The connections that wait to be opened to those, by the service's index.
    pub upstream_queues: Vec<(usize, UpstreamQueue)>,
    /// The counts of each core, in their order.
    pub cores: Vec<Core>,
    /// What the messages in all queues may take, in bytes.
    pub queued_bytes_max: usize,
    /// What the store has done; `None`: none is open.
    pub store: Option<StoreStats>,
    /// The memory drawn for what peers have sent in part.
    pub inbound_bytes: usize,
    /// Log lines that were dropped.
    pub log_lines_dropped: u64,
    /// States that should be impossible.
    pub internal_errors: u64,
}

/// The counts of one core.
#[derive(Debug)]
pub(crate) struct Core {
    /// Its connections, those on their way to it included.
    pub connections: usize,
    /// What it counts.
    pub counters: Arc<Counters>,
    /// What its shard of the broker counts.
    pub broker: broker::Stats,
    /// The queues at home on it.
    pub queues: Queues,
    /// The subscriptions of its connections that miss most.
    pub slow: SlowSubscriptions,
}

/// How full queues are: the fullest by name, the others as one.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    named: Vec<(Box<str>, Depth)>,
    others: Option<Depth>,
    /// Together, as their names are secrets: who knows one may send to it.
    temporary: Option<Depth>,
}

/// How full a queue is, or several are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Depth {
    ready: usize,
    delayed: usize,
    unsettled: usize,
    bytes: usize,
    consumers: usize,
    blocked: usize,
}

impl Snapshot {
    /// Requests from all cores what they count.
    pub(crate) async fn take(gateway: &Gateway) -> Self {
        let cores = gateway.cores.call_all(|core| core.with(|core| Core::of(core))).await;
        let services = gateway.config.services.iter();
        let services = services.map(|s| (s.path.clone(), s.kind.as_str())).collect();
        let access = gateway.cores.access();
        let rules = access.rules().iter().map(|rule| rule.scope.as_str().into()).collect();
        Self {
            services,
            rules,
            upstreams: gateway.cores.upstreams().collect(),
            upstream_queues: gateway.cores.upstream_queues().collect(),
            cores,
            queued_bytes_max: gateway.config.memory.quotas().queued_bytes_max,
            store: gateway.cores.store_stats(),
            inbound_bytes: gateway.cores.inbound().drawn(),
            log_lines_dropped: logging::dropped(),
            internal_errors: internal_errors::count(),
        }
    }
}

impl Core {
    fn of(core: &drive::Core) -> Self {
        Self {
            connections: core.connections(),
            counters: Arc::clone(core.counters()),
            broker: core.broker_stats(),
            queues: Queues::collect(core.queues()),
            slow: SlowSubscriptions::collect(core.slow_subscriptions()),
        }
    }
}

/// Writes it all in Prometheus's text format.
pub(crate) fn render(snapshot: Snapshot, process: Option<Process>) -> String {
    let mut registry = Registry::default();
    if let Some(process) = process {
        registry.register_collector(Box::new(process));
    }
    let own = registry.sub_registry_with_prefix("passerelle");
    own.register_collector(Box::new(snapshot));
    let mut text = String::new();
    if let Err(error) = prometheus_text::encode(&mut text, &registry) {
        // A string takes all that is written to it.
        tracing::error!(%error, "metrics cannot be written");
    }
    text
}

impl Queues {
    /// How many queues are named. Each name is a time series of its own in Prometheus.
    const NAMED_MAX: usize = 1000;

    /// Takes what a shard says. It never holds more than twice what it keeps.
    pub(crate) fn collect<'a>(depths: impl Iterator<Item = QueueDepth<'a>>) -> Self {
        let mut queues = Self::default();
        for queue in depths {
            let depth = Depth {
                ready: queue.ready,
                delayed: queue.delayed,
                unsettled: queue.unsettled,
                bytes: queue.bytes,
                consumers: queue.consumers,
                blocked: queue.blocked,
            };
            if queue.name.name().kind().is_temporary() {
                queues.temporary.get_or_insert_default().add(depth);
            } else {
                queues.named.push((queue.name.to_string().into(), depth));
                if queues.named.len() == 2 * Self::NAMED_MAX {
                    queues.keep_fullest();
                }
            }
        }
        queues.keep_fullest();
        queues
    }

    /// The queues of several cores, which have none in common.
    fn merge<'a>(parts: impl Iterator<Item = &'a Self>) -> Self {
        let mut all = Self::default();
        for part in parts {
            all.named.extend_from_slice(&part.named);
            for (sum, depth) in
                [(&mut all.others, part.others), (&mut all.temporary, part.temporary)]
            {
                if let Some(depth) = depth {
                    sum.get_or_insert_default().add(depth);
                }
            }
        }
        all.keep_fullest();
        all.named.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    fn keep_fullest(&mut self) {
        if self.named.len() <= Self::NAMED_MAX {
            return;
        }
        self.named.sort_by(|(a_name, a), (b_name, b)| {
            Reverse(a.messages()).cmp(&Reverse(b.messages())).then_with(|| a_name.cmp(b_name))
        });
        for (_, depth) in self.named.drain(Self::NAMED_MAX..) {
            self.others.get_or_insert_default().add(depth);
        }
    }

    /// Each label with its depth. No queue is called like the last two: names begin with a slash.
    fn labelled(&self) -> impl Iterator<Item = (&str, &Depth)> {
        let named = self.named.iter().map(|(name, depth)| (&**name, depth));
        let others = self.others.iter().map(|depth| ("others", depth));
        named.chain(others).chain(self.temporary.iter().map(|depth| ("temporary", depth)))
    }
}

impl Depth {
    fn add(&mut self, other: Self) {
        self.ready += other.ready;
        self.delayed += other.delayed;
        self.unsettled += other.unsettled;
        self.bytes += other.bytes;
        self.consumers += other.consumers;
        self.blocked += other.blocked;
    }

    const fn messages(&self) -> usize {
        self.ready + self.delayed + self.unsettled
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.about(&mut encoder)?;
        self.connections(&mut encoder)?;
        self.upstreams(&mut encoder)?;
        self.access(&mut encoder)?;
        self.inbound(&mut encoder)?;
        self.output(&mut encoder)?;
        self.broker(&mut encoder)?;
        self.store(&mut encoder)?;
        self.slow_subscriptions(&mut encoder)?;
        self.queues(&mut encoder)
    }
}

impl Snapshot {
    fn about(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let build = [("version", env!("CARGO_PKG_VERSION"))];
        gauges(encoder, "build_info", "The version that runs", [(build, 1)])?;
        let services =
            self.services.iter().map(|(path, kind)| ([("service", &**path), ("type", kind)], 1));
        gauges(encoder, "service_info", "The services and their types", services)?;
        let dropped = [(UNLABELLED, self.log_lines_dropped)];
        counters(encoder, "log_lines_dropped", "Log lines that could not be written", dropped)?;
        let internal = [(UNLABELLED, self.internal_errors)];
        counters(
            encoder,
            "internal_errors",
            "Bugs noticed and survived: please report them",
            internal,
        )
    }

    /// What the rows of all cores count, by service and protocol.
    fn connections(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let open = self.rows(|row| &row.open);
        gauges(encoder, "connections_open", "Connections open now", open)?;
        for (name, help, count) in EVER {
            counters(encoder, name, help, self.rows(count))?;
        }
        let refusals = Refused::ALL
            .into_iter()
            .map(|why| ([("reason", why.as_str())], self.sum(|core| core.counters.refused(why))));
        let handshakes = HandshakeOutcome::ALL.into_iter().map(|end| {
            let count = self.sum(|core| core.counters.handshakes(end).get());
            ([("outcome", end.as_str())], count)
        });
        counters(encoder, "tls_handshakes", "TLS handshakes", handshakes)?;
        counters(encoder, "refusals", "Connections, requests and commands refused", refusals)?;
        let per_core = self.cores.iter().enumerate();
        let per_core = per_core.map(|(core, said)| ([("core", core)], wide(said.connections)));
        gauges(encoder, "core_connections", "Connections of each core", per_core)
    }

    /// What is known of each address that a service relays to.
    fn upstreams(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let rows = |of: fn(&UpstreamStats) -> u64| {
            self.upstreams.iter().filter_map(move |(index, stats)| {
                let (service, _) = self.services.get(*index)?;
                Some(([("service", &**service), ("upstream", &*stats.label)], of(stats)))
            })
        };
        let up = rows(|stats| stats.is_up.into());
        gauges(encoder, "upstream_up", "Whether the last connection could be opened", up)?;
        let open = rows(|stats| wide(stats.open));
        let help = "Connections open now, or being opened";
        gauges(encoder, "upstream_connections_open", help, open)?;
        let opened = rows(|stats| stats.opened);
        counters(encoder, "upstream_connections_opened", "Connections ever opened", opened)?;
        let failed = rows(|stats| stats.failed);
        let help = "Connections that could not be opened";
        counters(encoder, "upstream_connections_failed", help, failed)?;
        let handshakes = self.upstreams.iter().flat_map(|(index, stats)| {
            let service = self.services.get(*index);
            let counts = ["done", "failed"].into_iter().zip(stats.handshakes.into_iter().flatten());
            counts.filter_map(move |(outcome, count)| {
                let (service, _) = service?;
                let upstream = &*stats.label;
                let labels =
                    [("service", &**service), ("upstream", upstream), ("outcome", outcome)];
                Some((labels, count))
            })
        });
        counters(encoder, "upstream_tls_handshakes", "TLS handshakes with servers", handshakes)?;
        let rows = |of: fn(&UpstreamQueue) -> u64| {
            self.upstream_queues.iter().filter_map(move |(index, queue)| {
                let (service, _) = self.services.get(*index)?;
                Some(([("service", &**service)], of(queue)))
            })
        };
        let waiting = rows(|queue| wide(queue.waiting));
        let help = "Connections that wait until others are opened";
        gauges(encoder, "upstream_connections_waiting", help, waiting)?;
        let refused = rows(|queue| queue.refused);
        let help = "Connections refused, as too many were being opened";
        counters(encoder, "upstream_connections_refused", help, refused)
    }

    /// What each access rule has denied. Nothing where there are no rules.
    fn access(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let scopes = self.rules.iter().map(|scope| &**scope).chain([Denial::NO_RULE]);
        // Several rules may have the same scope.
        let scopes: BTreeSet<_> = scopes.filter(|_| !self.rules.is_empty()).collect();
        let rows = scopes.into_iter().flat_map(|rule| {
            let of: [(&str, fn([u64; 2]) -> u64); 2] =
                [("subscribe", |[subscribe, _]| subscribe), ("send", |[_, send]| send)];
            of.map(|(action, of)| {
                let denied = self.sum(|core| of(core.counters.denied(rule)));
                ([("rule", rule), ("action", action)], denied)
            })
        });
        counters(encoder, "access_denied", "What each access rule has denied", rows)
    }

    /// What is done to send.
    fn inbound(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Memory drawn for what peers have sent in part";
        gauges(encoder, "inbound_bytes", help, [(UNLABELLED, self.inbound_bytes as u64)])?;
        let refused = self.sum(|core| core.counters.inbound_refused.get());
        let help = "Messages received in part and refused, as the memory for them was full";
        counters(encoder, "inbound_refused", help, [(UNLABELLED, refused)])
    }

    fn output(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let counts: [(&str, &str, fn(&Counters) -> &Count); 3] = [
            ("frames_encoded", "Publications encoded", |counters| &counters.encoded),
            ("frames_shared", "Frames copied from one encoded before", |counters| &counters.shared),
            ("socket_writes", "Writes to sockets", |counters| &counters.writes),
        ];
        for (name, help, count) in counts {
            let value = self.sum(|core| count(&core.counters).get());
            counters(encoder, name, help, [(UNLABELLED, value)])?;
        }
        Ok(())
    }

    fn broker(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let now: &[(&str, &str, fn(&broker::Stats) -> usize)] = &[
            ("broker_connections", "Connections known to the broker", |stats| stats.connections),
            ("broker_subscriptions", "Subscriptions", |stats| stats.subscriptions),
            ("broker_queues", "Queues, temporary ones included", |stats| stats.queues),
            ("broker_clients", "Client ids that connections have", |stats| stats.clients),
            ("broker_transactions", "Branches of transactions in flight", |stats| {
                stats.transactions
            }),
            ("broker_on_disk", "Messages in queues that are in the store only", |stats| {
                stats.on_disk
            }),
        ];
        for &(name, help, stat) in now {
            let value = self.sum(|core| wide(stat(&core.broker)));
            gauges(encoder, name, help, [(UNLABELLED, value)])?;
        }
        let kinds = |topic: fn(&broker::Stats) -> u64, queue: fn(&broker::Stats) -> u64| {
            [
                ([("kind", "topic")], self.sum(|core| topic(&core.broker))),
                ([("kind", "queue")], self.sum(|core| queue(&core.broker))),
            ]
        };
        let published = kinds(|stats| stats.topic_published, |stats| stats.queue_published);
        counters(encoder, "broker_published", "Messages published", published)?;
        let delivered = kinds(|stats| stats.topic_delivered, |stats| stats.queue_delivered);
        counters(encoder, "broker_delivered", "Messages handed to subscriptions", delivered)?;
        let waiting = self.sum(|core| wide(core.broker.waiting_bytes));
        gauges(
            encoder,
            "broker_waiting_bytes",
            "Memory of messages to topics that wait for subscriptions",
            [(UNLABELLED, waiting)],
        )?;
        let bytes = self.sum(|core| wide(core.broker.queued_bytes));
        gauges(
            encoder,
            "broker_queued_bytes",
            "Memory of all messages in queues",
            [(UNLABELLED, bytes)],
        )?;
        let max = [(UNLABELLED, wide(self.queued_bytes_max))];
        gauges(
            encoder,
            "broker_queued_bytes_max",
            "What it may be (memory.queued-bytes-max)",
            max,
        )?;
        let ever: &[(&str, &str, fn(&broker::Stats) -> u64)] = &[
            (
                "broker_topic_dropped",
                "Messages to topics dropped, as no more may wait for a subscription",
                |stats| stats.topic_dropped,
            ),
            (
                "broker_topic_conflated",
                "Messages to topics replaced by newer ones while they waited for a subscription",
                |stats| stats.topic_conflated,
            ),
            ("broker_settled", "Messages that consumers have taken", |stats| stats.queue_settled),
            (
                "broker_expired",
                "Messages that expired in a queue, before a topic had them or a subscription could get them",
                |stats| stats.expired,
            ),
            ("broker_loaded", "Messages loaded from the store", |stats| stats.loaded),
            (
                "broker_unreadable",
                "Messages that could not be loaded: the log says why, and their queue goes on without them",
                |stats| stats.unreadable,
            ),
            ("broker_dead_lettered", "Messages moved to a dead-letter queue", |stats| {
                stats.dead_lettered
            }),
            (
                "broker_dead_letters_dropped",
                "Dead letters that a full dead-letter queue dropped: none was durable",
                |stats| stats.dead_letters_dropped,
            ),
            ("broker_dropped", "Messages lost with their queue or dead", |stats| stats.dropped),
            (
                "broker_duplicates",
                "Messages that a queue did not take again, by the number of their producer",
                |stats| stats.duplicates,
            ),
            (
                "broker_clients_refused",
                "Connections refused as another had their client id",
                |stats| stats.clients_refused,
            ),
            (
                "broker_clients_displaced",
                "Connections ended as another wanted their client id",
                |stats| stats.clients_displaced,
            ),
            ("broker_refused_full", "Publications refused as a destination was full", |stats| {
                stats.refused_full
            }),
            (
                "broker_refused_memory",
                "Messages refused as the memory for queues was full",
                |stats| stats.refused_memory,
            ),
            (
                "broker_refused_principal",
                "Messages and queues refused as their principal had all that one may",
                |stats| stats.refused_principal,
            ),
        ];
        for &(name, help, stat) in ever {
            let value = self.sum(|core| stat(&core.broker));
            counters(encoder, name, help, [(UNLABELLED, value)])?;
        }
        Ok(())
    }

    /// Nothing while no store is open.
    fn store(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(stats) = &self.store else { return Ok(()) };
        let now = [
            ("store_messages", "Messages in the store, for each queue", wide(stats.messages)),
            ("store_segments", "Files of the store's log", wide(stats.segments)),
            ("store_segment_bytes", "What these take on the disk", stats.segment_bytes),
            (
                "store_disk_full",
                "Whether there was no room for another of them",
                stats.is_disk_full.into(),
            ),
        ];
        for (name, help, value) in now {
            gauges(encoder, name, help, [(UNLABELLED, value)])?;
        }
        let ever = [
            ("store_appended_bytes", "Bytes written to the store's log", stats.appended_bytes),
            ("store_batches", "Batches of changes stored", stats.batches),
            ("store_syncs", "Syncs of the store's log, one for all batches that wait", stats.syncs),
        ];
        for (name, help, value) in ever {
            counters(encoder, name, help, [(UNLABELLED, value)])?;
        }
        let help = "Time that these syncs took";
        let mut family =
            encoder.encode_descriptor("store_sync_seconds", help, None, MetricType::Counter)?;
        let mut metric = family.encode_family(&UNLABELLED)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&stats.sync_time.as_secs_f64(), None)
    }

    /// By connection, subscription and destination, no more than there are time series to spare.
    fn slow_subscriptions(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let all = SlowSubscriptions::merge(self.cores.iter().map(|core| &core.slow));
        let shown = "of the 100 subscriptions to topics that miss most";
        let dropped = all.iter().map(|slow| (slow.labels(), slow.dropped));
        let help = format!("Messages dropped, as no more may wait, {shown}");
        counters(encoder, "subscription_dropped", &help, dropped)?;
        let conflated = all.iter().map(|slow| (slow.labels(), slow.conflated));
        let help = format!("Messages replaced by newer ones, {shown}");
        counters(encoder, "subscription_conflated", &help, conflated)?;
        let waiting = all.iter().map(|slow| (slow.labels(), slow.waiting));
        gauges(encoder, "subscription_waiting", &format!("Messages that wait, {shown}"), waiting)
    }

    fn queues(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let queues = Queues::merge(self.cores.iter().map(|core| &core.queues));
        let depths: [(&str, &str, fn(&Depth) -> usize); 6] = [
            ("queue_ready", "Messages that wait for a consumer", |depth| depth.ready),
            ("queue_delayed", "Messages that wait for their time", |depth| depth.delayed),
            ("queue_unsettled", "Messages that a consumer has not settled", |depth| {
                depth.unsettled
            }),
            ("queue_bytes", "Bytes of all messages of a queue", |depth| depth.bytes),
            ("queue_consumers", "Consumers of a queue", |depth| depth.consumers),
            ("queue_waiting", "Publications that wait for room", |depth| depth.blocked),
        ];
        for (name, help, of) in depths {
            let values =
                queues.labelled().map(|(name, depth)| ([("queue", name)], wide(of(depth))));
            gauges(encoder, name, help, values)?;
        }
        Ok(())
    }

    /// A count by service and protocol. What never saw anything is left out.
    fn rows(&self, count: fn(&Row) -> &Count) -> impl Iterator<Item = (RowLabels<'_>, u64)> {
        let services = self.services.iter().enumerate();
        let rows = services.flat_map(|(index, (path, _))| {
            let labels = self.cores.first().map(|core| core.counters.labels());
            labels.into_iter().flatten().map(move |(label, name)| (index, &**path, label, name))
        });
        rows.filter_map(move |(index, path, label, name)| {
            let of = |count: fn(&Row) -> &Count| {
                self.sum(|core| count(core.counters.row(index, label)).get())
            };
            let labels = [("service", path), ("protocol", name)];
            EVER.into_iter().any(|(_, _, ever)| of(ever) > 0).then(|| (labels, of(count)))
        })
    }

    fn sum(&self, of: impl Fn(&Core) -> u64) -> u64 {
        self.cores.iter().map(of).fold(0, u64::wrapping_add)
    }
}

type RowLabels<'a> = [(&'static str, &'a str); 2];

/// What rows count, other than the connections open now.
const EVER: [(&str, &str, fn(&Row) -> &Count); 6] = [
    ("connections_opened", "Connections ever opened", |row| &row.opened),
    ("messages_received", "Messages received", |row| &row.messages_in),
    ("messages_sent", "Messages sent", |row| &row.messages_out),
    ("bytes_received", "Bytes received, framing included", |row| &row.bytes_in),
    ("bytes_sent", "Bytes sent, framing included", |row| &row.bytes_out),
    ("slow_consumers", "Connections closed because the peer was too slow", |row| &row.slow),
];

const UNLABELLED: [(&str, &str); 0] = [];

fn gauges<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (L, u64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        family.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

/// Their names end with `_total`, which need not be said.
fn counters<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (L, u64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in values {
        family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
    }
    Ok(())
}

fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
