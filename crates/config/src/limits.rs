//! Limits in the configuration.

use std::{fmt, time::Duration};

use contract::Limits;

use crate::{
    keys::{Form, Key, Section},
    source::{Result, Table},
    value,
};

pub(crate) static GLOBAL: Section = Section {
    header: "[limits]",
    doc: "Bounds. Those of a service go over the global ones; an `echo` takes messages of 16 MiB \
          in 65,536 fragments and keeps 32 MiB unsent unless `[limits]` says how large either is.",
    keys: KEYS,
};

pub(crate) static OF_SERVICE: Section = Section { header: "[service.limits]", doc: "", keys: KEYS };

/// What a limit is set to. Only limits of one kind are compared.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) enum Figure {
    Bytes(usize),
    Count(u64),
    Time(Duration),
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => f.write_str(&value::show_bytes(*bytes)),
            Self::Count(count) => write!(f, "{count}"),
            Self::Time(time) => f.write_str(&value::show_duration(*time)),
        }
    }
}

macro_rules! limits {
    ($($field:ident $name:literal $kind:ident $default:literal $doc:literal)*) => {
        const KEYS: &[Key] = &[$(Key {
            name: $name,
            form: limits!(@form $kind),
            default: limits!(@default $kind $default),
            doc: $doc,
            of: &[],
        }),*];

        /// The limits with those of the table over them.
        pub(crate) fn read(table: &Table<'_>, mut limits: Limits) -> Result<Limits> {
            $(if let Some(value) = table.get($name) {
                limits.$field = limits!(@read $kind value);
            })*
            Ok(limits)
        }

        /// All limits, by the names of their keys.
        pub(crate) fn figures(limits: &Limits) -> impl Iterator<Item = (&'static str, Figure)> {
            // Names every field: a new one must be thought of.
            let Limits { $($field),* } = limits;
            [$(($name, limits!(@figure $kind $field))),*].into_iter()
        }
    };
    (@form bytes) => { Form::Bytes };
    (@form time) => { Form::Duration };
    (@form positive_time) => { Form::Duration };
    (@form count) => { Form::Number };
    (@default count $default:literal) => { concat!("`", $default, "`") };
    (@default $kind:ident $default:literal) => { concat!("`\"", $default, "\"`") };
    (@read bytes $value:ident) => { $value.bytes()? };
    (@read time $value:ident) => { $value.duration()? };
    (@read positive_time $value:ident) => {
        match $value.duration()? {
            Duration::ZERO => return Err($value.error("0 is too short")),
            time => time,
        }
    };
    (@read count $value:ident) => { $value.count(1..=u64::MAX)? };
    (@figure bytes $field:ident) => { Figure::Bytes(*$field) };
    (@figure time $field:ident) => { Figure::Time(*$field) };
    (@figure positive_time $field:ident) => { Figure::Time(*$field) };
    (@figure count $field:ident) => { Figure::Count((*$field).try_into().unwrap_or(u64::MAX)) };
}

limits! {
    message_bytes_max "message-bytes-max" bytes "1MiB"
        "One message: a WebSocket message, a STOMP body."
    fragments_max "fragments-max" count "16384"
        "WebSocket frames of one message: what many small frames may cost."
    header_bytes_max "header-bytes-max" bytes "16KiB"
        "The header of a frame: its command line and header lines."
    headers_max "headers-max" count "100"
        "Headers of one frame."
    login_timeout "login-timeout" positive_time "10s"
        "From the connection to a successful login."
    assembly_timeout "assembly-timeout" time "30s"
        "For the header of a frame that a peer began, and the longest pause in its body, also of a \
         POST. A `proxy` has none. 0: any."
    assembly_bytes_per_second_min "assembly-bytes-per-second-min" bytes "1KiB"
        "How fast a body must come, averaged over `assembly-timeout`; while the gateway itself does \
         not read, no time counts."
    ping_interval "ping-interval" time "30s"
        "After which a silent WebSocket is pinged, where its subprotocol allows it; as long again \
         without a pong ends it. 0: never."
    unsent_bytes_max "unsent-bytes-max" bytes "4MiB"
        "What waits for a slow peer before it is closed. The worst-case memory of a connection is \
         about this and `message-bytes-max`."
    write_timeout "write-timeout" positive_time "30s"
        "How long a peer may take nothing of what waits for it before it is closed."
    subscriptions_max "subscriptions-max" count "1000"
        "Subscriptions of one connection."
    temporary_max "temporary-max" count "100"
        "Temporary destinations of one connection."
    prefetch_max "prefetch-max" count "1000"
        "Unsettled deliveries of one subscription, whatever it asks for."
    prefetch_default "prefetch-default" count "100"
        "The same, when the subscription does not say."
    transactions_max "transactions-max" count "16"
        "Open transactions of one connection."
    transaction_operations_max "transaction-operations-max" count "1000"
        "Operations of one transaction."
    transaction_bytes_max "transaction-bytes-max" bytes "4MiB"
        "The messages of all open transactions of one connection."
    commands_max "commands-max" count "1000"
        "Commands of one connection that wait for their replies; no more is read meanwhile."
    publish_timeout "publish-timeout" time "5s"
        "How long a publisher waits at a full destination before it is refused. Global."
    heartbeat_min "heartbeat-min" positive_time "1s"
        "The shortest heart-beat interval agreed to, in either direction."
    heartbeat_offer "heartbeat-offer" time "30s"
        "The heart-beat interval offered."
    queue_messages_max "queue-messages-max" count "100000"
        "Messages of one queue. Global."
    queue_bytes_max "queue-bytes-max" bytes "64MiB"
        "The messages of one queue. Global."
    queues_max "queues-max" count "10000"
        "Queues of one core. Global."
    deliveries_max "deliveries-max" count "6"
        "Deliveries of one message before it goes to the dead-letter queue. Global."
}

/// Those of the broker, which all services share.
const OF_BROKER: &[&str] =
    &["deliveries-max", "publish-timeout", "queue-bytes-max", "queue-messages-max", "queues-max"];

/// The limits of a service.
pub(crate) fn of_service(table: &Table<'_>, base: Limits, kind: &str) -> Result<Limits> {
    if let Some((key, at)) = table.find(|key| OF_BROKER.contains(&key.name)) {
        let name = key.name;
        let message = format_args!(
            "`{name}` belongs to the broker, which all services share: write it in [limits]"
        );
        return Err(table.source().error(&at, message));
    }
    let limits = read(table, base)?;
    check(table, &limits, kind)?;
    Ok(limits)
}

/// The limits of the broker, and of services without their own.
pub(crate) fn global(table: &Table<'_>) -> Result<Limits> {
    let limits = read(table, Limits::default())?;
    check(table, &limits, "broker")?;
    Ok(limits)
}

/// Refuses limits that cannot both be kept.
fn check(table: &Table<'_>, limits: &Limits, kind: &str) -> Result<()> {
    let uses_broker = matches!(kind, "broker" | "topics" | "queues");
    let figure = |name| figures(limits).find(|(key, _)| *key == name).map(|(_, figure)| figure);
    for (small, large, broker_only) in [
        ("message-bytes-max", "unsent-bytes-max", false),
        ("message-bytes-max", "transaction-bytes-max", true),
        ("message-bytes-max", "queue-bytes-max", true),
        ("prefetch-default", "prefetch-max", true),
        ("heartbeat-min", "heartbeat-offer", true),
    ] {
        let (Some(low), Some(high)) = (figure(small), figure(large)) else { continue };
        if low > high && (uses_broker || !broker_only) {
            let message = format_args!(
                "`{small}` ({low}) is more than `{large}` ({high}): lower the one or raise the other"
            );
            return Err(match table.find(|key| key.name == small || key.name == large) {
                Some((_, at)) => table.source().error(&at, message),
                None => table.error(message),
            });
        }
    }
    Ok(())
}
