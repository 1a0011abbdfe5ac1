//! Limits in the configuration.

use std::{sync::Arc, time::Duration};

use contract::{BrokerLimits, ConnectionLimits, ProtocolLimits};

use crate::{
    ServiceKind,
    form::{Bytes, Count, Count32, Figure, Positive, Show as _},
    keys::{Keys, keys},
    located::Located,
    section::Section,
    source::{Source, Table},
};

/// All the bounds of a service, by what enforces them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Limits {
    /// Those of its connections.
    pub connection: Arc<ConnectionLimits>,
    /// Those of the protocols that are spoken on them.
    pub protocol: Arc<ProtocolLimits>,
    /// Those of the broker, the same for all services.
    pub broker: Arc<BrokerLimits>,
}

/// `[limits]`: those of a connection, and those of the broker.
#[derive(Debug, Default)]
pub(crate) struct LimitsTable {
    connection: ConnectionKeys,
    broker: BrokerKeys,
}

/// `[service.limits]`: those of a connection.
#[derive(Debug, Default)]
pub(crate) struct ServiceLimits(pub(crate) ConnectionKeys);

impl Keys for LimitsTable {
    const SECTION: &'static Section =
        &Section { more: &[BrokerKeys::SECTION], ..*ConnectionKeys::SECTION };

    fn of_table(table: &Table<'_>) -> Option<Self> {
        let (connection, broker) = (ConnectionKeys::of_table(table), BrokerKeys::of_table(table));
        Some(Self { connection: connection?, broker: broker? })
    }
}

impl Keys for ServiceLimits {
    const SECTION: &'static Section =
        &Section { header: "[service.limits]", docs: &[], ..*LimitsTable::SECTION };

    fn of_table(table: &Table<'_>) -> Option<Self> {
        table.refuse_keys(
            |key| !key.of.is_empty(),
            |key| {
                format!(
                    "`{}` belongs to the broker, which all services share: write it in [limits]",
                    key.name
                )
            },
        );
        ConnectionKeys::of_table(table).map(Self)
    }
}

impl LimitsTable {
    /// The limits with those of the table over them.
    pub(crate) fn over(&self, limits: Limits) -> Limits {
        self.broker.over(self.connection.over(limits))
    }
}

/// Declares limits, each by the field in [`Limits`] that has it and its default, with the text
/// of the reference and what is written.
macro_rules! limits {
    ($(
        $(#[doc = $about:literal])*
        $table:ident $(of [$($of:literal),*])? {
            $($(#[doc = $doc:literal])* $part:ident.$field:ident: $form:ty),* $(,)?
        }
    )*) => {
        $(
            keys! {
                $(#[doc = $about])*
                #[derive(Debug)]
                "[limits]" $(of [$($of),*])?;
                pub(crate) struct $table: Default {
                    $(
                        $(#[doc = $doc])*
                        $field: Option<$form> = None
                            => <$form>::from(Limits::default().$part.$field).show()
                    ),*
                }
            }

            impl $table {
                /// The limits with those of the table over them.
                pub(crate) fn over(&self, mut limits: Limits) -> Limits {
                    $(if let Some(limit) = self.$field {
                        Arc::make_mut(&mut limits.$part).$field = limit.into();
                    })*
                    limits
                }
            }
        )*

        /// All limits, by the names of their keys.
        pub(crate) fn figures(limits: &Limits) -> impl Iterator<Item = (&'static str, Figure)> {
            [$($((keys!(@name $field), <$form>::from(limits.$part.$field).into())),*),*].into_iter()
        }
    };
}

limits! {
    /// Bounds. Those of a service go over the global ones, and what bounds nothing at a type of service is
    /// refused there; an `echo` takes messages of 16 MiB in
    /// 65,536 fragments and keeps 32 MiB unsent unless `[limits]` says how large either is.
    ConnectionKeys {
        /// One message: a WebSocket message, a STOMP body. At most 1 GiB.
        connection.message_bytes_max: Bytes,
        /// WebSocket frames of one message: what many small frames may cost.
        connection.fragments_max: Count32,
        /// The header of a frame: its command line and header lines.
        protocol.header_bytes_max: Bytes,
        /// Headers of one frame.
        protocol.headers_max: Count,
        /// From the connection to a successful login. Until a connection is known to be that of a
        /// service, the time in `[limits]`.
        connection.login_timeout: Positive,
        /// For the header of a frame that a peer began, and the longest pause in its body, also of
        /// a POST. A `proxy` has none. 0: any.
        connection.assembly_timeout: Duration,
        /// How fast a body must come, averaged over `assembly-timeout`; while the gateway itself
        /// does not read, no time counts.
        connection.assembly_bytes_per_second_min: Bytes,
        /// After which a silent WebSocket is pinged, where its subprotocol allows it; as long again
        /// without a pong ends it. 0: never.
        connection.ping_interval: Duration,
        /// What waits for a slow peer before it is closed; what queues sent it does not count, which is
        /// 256 KiB and a message at most. As much again may wait for its subscriptions to topics with
        /// `x-slow`, `x-max-rate` or `prefetch-count`. Besides, a connection takes up to
        /// `message-bytes-max` for a message received in part, and `transaction-bytes-max` for its open
        /// transactions.
        connection.unsent_bytes_max: Bytes,
        /// How long a peer may take nothing of what waits for it before it is closed; one of HTTP has
        /// the time in `[limits]`.
        connection.write_timeout: Positive,
        /// Subscriptions of one connection.
        connection.subscriptions_max: Count,
        /// The names and selectors in all subscriptions of one connection.
        connection.pattern_bytes_max: Bytes,
        /// Temporary destinations of one connection.
        connection.temporary_max: Count,
        /// Unsettled deliveries of one subscription, whatever it requests; those that an open
        /// transaction acknowledges do not count. Messages of topics that wait for one with
        /// `x-slow:drop-oldest`.
        connection.prefetch_max: Count32,
        /// The same, when the subscription does not say.
        protocol.prefetch_default: Count32,
        /// Open transactions of one connection.
        connection.transactions_max: Count,
        /// Messages sent and acknowledged in one transaction.
        connection.transaction_operations_max: Count,
        /// Memory of the messages and acknowledgements of all open transactions of one connection.
        protocol.transaction_bytes_max: Bytes,
        /// Commands of one connection that wait for their replies; no more is read meanwhile, nor
        /// while these and what they publish take 1 MiB.
        connection.commands_max: Count,
        /// The shortest heart-beat interval agreed to, in either direction.
        protocol.heartbeat_min: Positive,
        /// The heart-beat interval offered.
        protocol.heartbeat_offer: Duration,
    }
    /// What all services share.
    BrokerKeys of ["[limits]"] {
        /// How long a publisher waits at a full destination before it is refused.
        broker.publish_timeout: Duration,
        /// Messages of one queue. Persistent dead letters enter beyond this and the next.
        broker.queue_messages_max: Count,
        /// Memory of the messages of one queue, with what the gateway keeps for each.
        broker.queue_bytes_max: Bytes,
        /// Queues of one core. A tenth of them, at least 100, at most half, is kept
        /// for temporary queues. A dead letter makes its queue nevertheless.
        broker.queues_max: Count,
        /// Deliveries of one message before it goes to the dead-letter queue.
        broker.deliveries_max: Count32,
    }
}

/// Reports limits of a service that bound nothing there.
pub(crate) fn check_kind<T>(source: &Source<'_>, table: &Located<T>, kind: &ServiceKind) {
    for (key, _) in figures(&Limits::default()) {
        if let Some(place) = table.place(key)
            && !kind.has_limit(key)
        {
            let kind = kind.as_str();
            source.report(
                place.key_start,
                format_args!("`{key}` bounds nothing at a service of type `{kind}`"),
            );
        }
    }
}

/// Reports limits that cannot both be kept, at the key of the table that sets one. `kind`: that of
/// the service whose they are; `None`: all have them.
pub(crate) fn check<T>(
    source: &Source<'_>,
    limits: &Limits,
    table: &Located<T>,
    kind: Option<&ServiceKind>,
) {
    let figure = |name| figures(limits).find(|(key, _)| *key == name).map(|(_, figure)| figure);
    if let Some(place) = table.place("message-bytes-max")
        && limits.connection.message_bytes_max > MESSAGE_BYTES_MAX
    {
        source.report(place.key_start, "`message-bytes-max` is at most 1GiB");
    }
    for (small, large) in [
        ("message-bytes-max", "unsent-bytes-max"),
        ("message-bytes-max", "transaction-bytes-max"),
        ("message-bytes-max", "queue-bytes-max"),
        ("prefetch-default", "prefetch-max"),
        ("heartbeat-min", "heartbeat-offer"),
    ] {
        let (Some(low), Some(high)) = (figure(small), figure(large)) else { continue };
        if low > high && kind.is_none_or(|kind| kind.has_limit(small) && kind.has_limit(large)) {
            let keys = [small, large].into_iter().filter_map(|key| table.place(key));
            let start = keys.map(|place| place.key_start).min().unwrap_or(table.start);
            source.report(
                start,
                format_args!(
                    "`{small}` ({low}) is more than `{large}` ({high}): lower the one or raise the \
                     other"
                ),
            );
        }
    }
}

/// What one message may have at most: what a core sends in one turn is counted in 32 bits.
const MESSAGE_BYTES_MAX: usize = 1 << 30;
