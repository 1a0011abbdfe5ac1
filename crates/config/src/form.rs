//! How the values of keys are written: a [`Form`] of each type.

use core::net::SocketAddr;
use std::{borrow::Cow, collections::BTreeMap, fmt, num::NonZeroUsize, time::Duration};

use auth::{Grant, Mechanism, Password, Scope, Scram};
use contract::{DeadLetters, Destination, DestinationError, DestinationKind, Pattern};
use ipnet::IpNet;
use serde_json::{Value as Json, json};

use crate::{
    AllowedOrigin, Authority, Feed, LogFormat, LogLevel, NamedPath, Networks, SameClientId, Server,
    SyncPolicy, networks,
    section::suggest,
    source::{Form, Value},
    value,
};

/// A default that the reference shows as it would be written.
pub(crate) trait Show {
    /// In Markdown.
    fn show(&self) -> String;
}

/// A type that is written as a string.
pub(crate) trait FromString: Sized {
    /// How to come by a value, where no example would do.
    const HINT: Option<&'static str> = None;
    /// Whether it may stand in a file of its own, which is named instead.
    const IS_SECRET: bool = false;
    /// What may be written, where only some words may.
    const WORDS: &'static [&'static str] = &[];

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it.
    fn from_string(text: &str) -> Result<Self, impl fmt::Display>;
}

impl<T: FromString> Form for T {
    const NAME: &'static str = "a string";
    const HINT: Option<&'static str> = T::HINT;

    fn schema() -> Json {
        match T::WORDS {
            [] => json!({ "type": "string" }),
            words => json!({ "enum": words }),
        }
    }

    fn read(value: &Value<'_>) -> Option<Self> {
        let text = if T::IS_SECRET { value.secret()? } else { value.string()? };
        T::from_string(&text).map_or_else(|error| value.refuse(error), Some)
    }
}

/// Strings, and what is wrong with those that are none of a type.
macro_rules! strings {
    ($($type:ty: $read:expr),* $(,)?) => {
        $(impl FromString for $type {
            fn from_string(text: &str) -> Result<Self, impl fmt::Display> {
                ($read)(text)
            }
        })*
    };
}

strings! {
    SocketAddr: value::address,
    Authority: |text| match Authority::parse(text) {
        Ok(name) if name.port != Some(0) => Ok(name),
        Ok(_) | Err(_) => Err(format!(
            "`{text}` is no name: write the host, and the port unless it is the scheme's, such \
             as gw.example.com:8443"
        )),
    },
    AllowedOrigin: AllowedOrigin::parse,
    IpNet: networks::parse,
    Scope: Scope::parse,
    Grant: Grant::parse,
    Feed: value::feed,
    Server: value::upstream,
    HostName: |text| match value::is_host(text) || text.parse::<core::net::Ipv6Addr>().is_ok() {
        true => Ok(Self(text.into())),
        false => Err(format!("`{text}` is no name of a host, such as rabbit.internal")),
    },
    ServicePath: |text| value::service_path(text).map(|text| Self(text.into())),
    FileName: |text| value::file_name(text).map(|text| Self(text.into())),
    QueuePattern: |text| queue_pattern(text).map(Self),
    Role: |text| match text {
        "" => Err("a role needs a name"),
        _ => Ok(Self(text.into())),
    },
    Box<str>: |text| Ok::<_, &str>(Self::from(text)),
}

/// The path of a service.
#[derive(Debug)]
pub(crate) struct ServicePath(Box<str>);

/// A server, or a list of them.
#[derive(Debug)]
pub(crate) struct Servers(Vec<Server>);

impl Form for Servers {
    const NAME: &'static str = "a string, or a list of strings";

    fn schema() -> Json {
        let one = Server::schema();
        json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
    }

    fn read(value: &Value<'_>) -> Option<Self> {
        if value.is_string() {
            return Server::read(value).map(|server| Self(vec![server]));
        }
        match Vec::<Server>::read(value)? {
            none if none.is_empty() => value.refuse("at least one server is required"),
            servers => Some(Self(servers)),
        }
    }
}

impl From<Servers> for Vec<Server> {
    fn from(Servers(servers): Servers) -> Self {
        servers
    }
}

/// The name of a host, or its address.
#[derive(Debug)]
pub(crate) struct HostName(Box<str>);

impl From<HostName> for Option<Box<str>> {
    fn from(HostName(name): HostName) -> Self {
        Some(name)
    }
}

/// The name of a file, without a folder.
#[derive(Debug)]
pub(crate) struct FileName(Box<str>);

/// The names of roles.
#[derive(Debug)]
pub(crate) struct Roles(Vec<Role>);

/// The name of a role.
#[derive(Debug)]
struct Role(Box<str>);

impl Form for Roles {
    const NAME: &'static str = Vec::<Role>::NAME;

    fn schema() -> Json {
        Vec::<Role>::schema()
    }

    fn read(value: &Value<'_>) -> Option<Self> {
        Form::read(value).map(Self)
    }
}

impl From<Roles> for Vec<Box<str>> {
    fn from(Roles(roles): Roles) -> Self {
        roles.into_iter().map(|Role(role)| role).collect()
    }
}

impl Show for FileName {
    fn show(&self) -> String {
        format!("`\"{}\"`", self.0)
    }
}

/// An Argon2id hash of a password.
impl FromString for Password {
    const HINT: Option<&'static str> = Some("`passerelle password` makes one to paste");
    const IS_SECRET: bool = true;

    fn from_string(text: &str) -> Result<Self, impl fmt::Display> {
        Self::parse(text)
    }
}

/// A verifier for SCRAM-SHA-1.
#[derive(Debug)]
pub(crate) struct ScramSha1(pub(crate) Scram);

/// A verifier for SCRAM-SHA-256.
#[derive(Debug)]
pub(crate) struct ScramSha256(pub(crate) Scram);

impl FromString for ScramSha1 {
    const IS_SECRET: bool = true;

    fn from_string(text: &str) -> Result<Self, impl fmt::Display> {
        Scram::parse(Mechanism::Sha1, text).map(Self)
    }
}

impl FromString for ScramSha256 {
    const IS_SECRET: bool = true;

    fn from_string(text: &str) -> Result<Self, impl fmt::Display> {
        Scram::parse(Mechanism::Sha256, text).map(Self)
    }
}

/// A time, in milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnixTime(pub(crate) u64);

impl Form for UnixTime {
    const NAME: &'static str = "a date and time";

    fn schema() -> Json {
        json!({ "type": "string", "format": "date-time" })
    }

    fn read(value: &Value<'_>) -> Option<Self> {
        value.unix_ms().map(Self)
    }
}

/// Types that are kept as what they hold.
macro_rules! kept_as {
    ($($inner:ty: $form:ident),* $(,)?) => {
        $(impl From<$inner> for $form {
            fn from(inner: $inner) -> Self {
                Self(inner)
            }
        }

        impl From<$form> for $inner {
            fn from($form(inner): $form) -> Self {
                inner
            }
        })*
    };
}

kept_as! {
    Box<str>: ServicePath,
    Box<str>: FileName,
    Duration: Positive,
    usize: Bytes,
    u32: SegmentBytes,
    Option<usize>: MemoryBytes,
}

/// Words of which one is written.
macro_rules! words {
    ($($vis:vis $type:ty, $what:literal: $($word:literal $value:path),*;)*) => {
        $(impl FromString for $type {
            const WORDS: &'static [&'static str] = &[$($word),*];

            fn from_string(text: &str) -> Result<Self, impl fmt::Display> {
                match text {
                    $($word => Ok($value),)*
                    _ => Err(format!("`{text}` is no {}: {}", $what, suggest(text, Self::WORDS))),
                }
            }
        }

        impl $type {
            /// The word in the configuration.
            #[must_use]
            $vis const fn as_str(self) -> &'static str {
                match self {
                    $($value => $word),*
                }
            }
        }

        impl Show for $type {
            fn show(&self) -> String {
                format!("`\"{}\"`", self.as_str())
            }
        })*
    };
}

words! {
    pub LogFormat, "log format": "json" Self::Json, "text" Self::Text;
    pub LogLevel, "log level": "error" Self::Error, "warn" Self::Warn, "info" Self::Info,
        "debug" Self::Debug, "trace" Self::Trace;
    pub SameClientId, "policy": "refuse" Self::Refuse, "displace" Self::Displace,
        "share" Self::Share;
    pub SyncPolicy, "policy": "always" Self::Always, "interval" Self::Interval;
    pub(crate) ServiceType, "type of service": "broadcast" Self::Broadcast, "broker" Self::Broker,
        "directory" Self::Directory, "echo" Self::Echo, "pages" Self::Pages,
        "proxy" Self::Proxy, "queues" Self::Queues, "topics" Self::Topics;
}

/// What a service is, of those that stand in files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ServiceType {
    Broadcast,
    Broker,
    Directory,
    Echo,
    Pages,
    Proxy,
    Queues,
    Topics,
}

impl Form for bool {
    const NAME: &'static str = "true or false";

    fn schema() -> Json {
        json!({ "type": "boolean" })
    }

    fn read(value: &Value<'_>) -> Option<Self> {
        value.flag()
    }
}

impl Show for bool {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Form for Duration {
    const NAME: &'static str = "a duration";

    fn schema() -> Json {
        json!({ "type": ["number", "string"], "minimum": 0 })
    }

    fn read(value: &Value<'_>) -> Option<Self> {
        value.duration()
    }
}

impl Show for Duration {
    fn show(&self) -> String {
        format!("`\"{}\"`", value::show_duration(*self))
    }
}

/// A duration that is not zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Positive(Duration);

impl Form for Positive {
    const NAME: &'static str = Duration::NAME;

    fn schema() -> Json {
        Duration::schema()
    }

    fn read(value: &Value<'_>) -> Option<Self> {
        match value.duration()? {
            Duration::ZERO => value.refuse("0 is too short"),
            time => Some(Self(time)),
        }
    }
}

impl Show for Positive {
    fn show(&self) -> String {
        self.0.show()
    }
}

/// A number from 1 to 100.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Factor(pub(crate) f64);

impl Form for Factor {
    const NAME: &'static str = "a number";

    fn schema() -> Json {
        json!({ "type": "number", "minimum": 1, "maximum": 100 })
    }

    fn read(value: &Value<'_>) -> Option<Self> {
        value.number(1.0..=100.0).map(Self)
    }
}

impl Show for Factor {
    fn show(&self) -> String {
        format!("`{:?}`", self.0)
    }
}

/// Which queues a table is about.
#[derive(Debug)]
pub(crate) struct QueuePattern(Pattern);

impl From<QueuePattern> for Pattern {
    fn from(pattern: QueuePattern) -> Self {
        pattern.0
    }
}

fn queue_pattern(text: &str) -> Result<Pattern, String> {
    let pattern = Pattern::parse_scope(&queue_text(text)).map_err(|error| match error {
        DestinationError::Wildcard => {
            "a wildcard stands for whole levels: * for one, > or # at the \
                                       end for the rest"
                .to_owned()
        }
        DestinationError::Prefix
        | DestinationError::Empty
        | DestinationError::TooLong
        | DestinationError::Control => error.to_string(),
    })?;
    match pattern.kind() {
        DestinationKind::Queue => Ok(pattern),
        DestinationKind::Topic | DestinationKind::TempTopic | DestinationKind::TempQueue => {
            Err(format!("`{text}` is no queue's: write its name alone, such as orders.>"))
        }
    }
}

/// A queue's text form, of its name or of itself.
fn queue_text(text: &str) -> Cow<'_, str> {
    if text.starts_with('/') { text.into() } else { format!("/queue/{text}").into() }
}

/// A dead-letter queue, or `false` for none.
#[derive(Debug)]
pub(crate) struct DeadLetterQueue(DeadLetters);

impl Form for DeadLetterQueue {
    const NAME: &'static str = "a string or false";

    fn schema() -> Json {
        json!({ "anyOf": [{ "type": "string" }, { "const": false }] })
    }

    fn read(value: &Value<'_>) -> Option<Self> {
        match value.as_flag() {
            Some(false) => return Some(Self(DeadLetters::Dropped)),
            Some(true) => return value.refuse("name the queue, or write false for none"),
            None => {}
        }
        let text = value.string()?;
        match Destination::parse(&queue_text(&text)) {
            Ok(queue) if queue.is_dead_letter_queue() => Some(Self(DeadLetters::To(queue))),
            Ok(_) => value.refuse(format_args!(
                "the name of a dead-letter queue begins with DLQ., such as DLQ.{text}"
            )),
            Err(error) => value.refuse(error),
        }
    }
}

impl From<DeadLetterQueue> for DeadLetters {
    fn from(queue: DeadLetterQueue) -> Self {
        queue.0
    }
}

impl Show for DeadLetterQueue {
    fn show(&self) -> String {
        String::new()
    }
}

/// A number of bytes, from 1 on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes(usize);

impl Form for Bytes {
    const NAME: &'static str = "bytes";

    fn schema() -> Json {
        json!({ "type": ["integer", "string"], "minimum": 1 })
    }

    fn read(value: &Value<'_>) -> Option<Self> {
        value.bytes().map(Self)
    }
}

impl Show for Bytes {
    fn show(&self) -> String {
        format!("`\"{}\"`", value::show_bytes(self.0))
    }
}

/// The size of a file of the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SegmentBytes(u32);

impl SegmentBytes {
    const LEAST: u32 = 64 << 10;
    const MOST: u32 = 1 << 30;
}

impl Form for SegmentBytes {
    const NAME: &'static str = Bytes::NAME;

    fn schema() -> Json {
        json!({ "type": ["integer", "string"], "minimum": Self::LEAST, "maximum": Self::MOST })
    }

    fn read(value: &Value<'_>) -> Option<Self> {
        let bytes = value.bytes()?;
        match u32::try_from(bytes) {
            Ok(bytes) if (Self::LEAST..=Self::MOST).contains(&bytes) => Some(Self(bytes)),
            Ok(_) | Err(_) => value.refuse("a segment has from 64KiB to 1GiB"),
        }
    }
}

impl Show for SegmentBytes {
    fn show(&self) -> String {
        format!("`\"{}\"`", value::show_bytes(self.0 as usize))
    }
}

/// A number of bytes, by default a part of the memory that there is: only the server knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemoryBytes(Option<usize>);

impl Form for MemoryBytes {
    const NAME: &'static str = Bytes::NAME;

    fn schema() -> Json {
        Bytes::schema()
    }

    fn read(value: &Value<'_>) -> Option<Self> {
        value.bytes().map(|bytes| Self(Some(bytes)))
    }
}

impl Show for MemoryBytes {
    fn show(&self) -> String {
        self.0.map_or_else(|| "by the memory".into(), |bytes| Bytes(bytes).show())
    }
}

/// A whole number from 1 to a maximum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count<const MAX: u64 = { u64::MAX }>(u64);

/// A whole number of 32 bits, from 1 on.
pub(crate) type Count32 = Count<{ u32::MAX as u64 }>;

impl<const MAX: u64> Form for Count<MAX> {
    const NAME: &'static str = "a number";

    fn schema() -> Json {
        match MAX {
            u64::MAX => json!({ "type": "integer", "minimum": 1 }),
            _ => json!({ "type": "integer", "minimum": 1, "maximum": MAX }),
        }
    }

    fn read(value: &Value<'_>) -> Option<Self> {
        value.count(1..=MAX).map(Self)
    }
}

impl<const MAX: u64> Show for Count<MAX> {
    fn show(&self) -> String {
        format!("`{}`", self.0)
    }
}

impl<const MAX: u64> From<usize> for Count<MAX> {
    fn from(count: usize) -> Self {
        Self(u64::try_from(count).unwrap_or(MAX))
    }
}

impl<const MAX: u64> From<u32> for Count<MAX> {
    fn from(count: u32) -> Self {
        Self(count.into())
    }
}

impl<const MAX: u64> From<Count<MAX>> for usize {
    fn from(Count(count): Count<MAX>) -> Self {
        Self::try_from(count).unwrap_or(Self::MAX)
    }
}

impl<const MAX: u64> From<Count<MAX>> for u32 {
    fn from(Count(count): Count<MAX>) -> Self {
        Self::try_from(count).unwrap_or(Self::MAX)
    }
}

impl<const MAX: u64> From<Count<MAX>> for Option<NonZeroUsize> {
    fn from(count: Count<MAX>) -> Self {
        NonZeroUsize::new(count.into())
    }
}

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

impl From<Bytes> for Figure {
    fn from(Bytes(bytes): Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl<const MAX: u64> From<Count<MAX>> for Figure {
    fn from(Count(count): Count<MAX>) -> Self {
        Self::Count(count)
    }
}

impl From<Duration> for Figure {
    fn from(time: Duration) -> Self {
        Self::Time(time)
    }
}

impl From<Positive> for Figure {
    fn from(Positive(time): Positive) -> Self {
        Self::Time(time)
    }
}

/// After how much silence to ping, by subprotocol; zero: never.
pub(crate) type Pings = BTreeMap<Box<str>, Duration>;

impl Form for Pings {
    const NAME: &'static str = "a table";

    fn schema() -> Json {
        let interval = json!({ "anyOf": [Duration::schema(), { "const": false }] });
        json!({ "type": "object", "additionalProperties": interval })
    }

    fn read(value: &Value<'_>) -> Option<Self> {
        let interval = |value: &Value<'_>| match value.as_flag() {
            Some(false) => Some(Duration::ZERO),
            Some(true) => value.refuse("say how often, such as \"30s\""),
            None => value.duration(),
        };
        let entries = value.entries()?;
        Some(entries.filter_map(|one| Some((one.key().into(), interval(&one)?))).collect())
    }
}

impl Form for NamedPath {
    const NAME: &'static str = "a string";

    fn schema() -> Json {
        json!({ "type": "string" })
    }

    fn read(value: &Value<'_>) -> Option<Self> {
        let path = value.source().folder().join(&*value.string()?);
        let place = value.source().error(value.start(), &format!("`{}`: ", value.key()));
        Some(Self::new(path, place))
    }
}

impl<T: Form> Form for Option<T> {
    const NAME: &'static str = T::NAME;
    const HINT: Option<&'static str> = T::HINT;

    fn schema() -> Json {
        T::schema()
    }

    fn read(value: &Value<'_>) -> Option<Self> {
        T::read(value).map(Some)
    }
}

/// What can be read of a list.
impl<T: FromString> Form for Vec<T> {
    const NAME: &'static str = "a list of strings";

    fn schema() -> Json {
        json!({ "type": "array", "items": T::schema() })
    }

    fn read(value: &Value<'_>) -> Option<Self> {
        Some(value.list()?.filter_map(|item| T::read(&item)).collect())
    }
}

impl Form for Networks {
    const NAME: &'static str = Vec::<IpNet>::NAME;

    fn schema() -> Json {
        Vec::<IpNet>::schema()
    }

    fn read(value: &Value<'_>) -> Option<Self> {
        Vec::<IpNet>::read(value).map(Self::from_iter)
    }
}
