use std::{num::NonZero, ops::RangeInclusive, sync::Arc};

use crate::{
    ClientName, Contest, Destination, DestinationKind, Durable, DurableName, Message, Pattern,
    Selector, Step,
};

/// Names one connection of this process; never reused.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConnectionId {
    /// The core that owns the connection.
    pub core: u16,
    /// Its index among that core's connections.
    pub slot: u32,
    /// Tells apart the connections that had this slot one after the other.
    pub generation: u32,
}

/// Joins a request of a session to its reply; chosen by the session, unique within it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Token(pub u64);

/// Names a subscription within its connection; chosen by the session, not reused while it lasts.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SubscriptionId(pub u32);

/// Names an unsettled delivery within its subscription; grows with each delivery.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Tag(pub u64);

/// A sequence of publications and transactions of one connection. Those of one lane take effect in
/// the order in which they were sent; what is in another lane does not wait for them. Chosen by the
/// session: a JMS session is a lane, and so is all of a STOMP connection.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Lane(pub u32);

impl Lane {
    /// The only lane of a connection that a refusal ends, as an ERROR of STOMP does: what comes there behind a
    /// transaction that was refused is refused too, and so is what comes behind a publication that was, to
    /// the same queue. So all of it can be sent again in the same order.
    pub const CONNECTION: Self = Self(u32::MAX);
}

/// What a session commands the broker to do.
#[derive(Clone, Debug)]
pub enum Command {
    /// Be this client, which no other connection is then until this one ends. Once for a connection.
    Claim(ClientName, Contest),
    /// Start a subscription. [`Reply::Done`] comes once every shard knows of it: a message
    /// published after that is delivered.
    Subscribe(Box<Subscribe>),
    /// End a subscription; its unsettled deliveries go to others. No delivery follows the reply. What
    /// is published for one that is durable waits for it, unless it is deleted.
    Unsubscribe(SubscriptionId, Ending),
    /// Delete a durable subscription that has no consumer, with what waits for it; or none.
    Delete(DurableName),
    /// Say whether there is a durable subscription: [`Refusal::NotFound`], if there is none.
    Find(DurableName),
    /// Publish a message. [`Reply::Done`] says that the destination has taken it, and the store if it
    /// is durable. From a full destination or store it comes late, at most
    /// [`crate::BrokerLimits::publish_timeout`], then [`Refusal::Full`] or [`Refusal::Busy`].
    Publish(Lane, Arc<Message>),
    /// Make a temporary destination, owned by this connection and deleted with it.
    Declare(Declare),
    /// Delete a temporary destination of this connection, with what is in it; [`Refusal::Busy`] while a
    /// subscription to it has not ended.
    Undeclare(Destination),
    /// Do all of these or none.
    Transact(Lane, Vec<Operation>),
    /// Deliver what a subscription has credit for and what is ready, and take back the credit that
    /// is left. [`Reply::Drained`] comes after those deliveries.
    Drain(SubscriptionId),
}

/// What becomes of a durable subscription when one that reads it ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// It stays.
    Suspend,
    /// It is deleted with its last consumer.
    Delete,
}

/// A subscription to be.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// Its name from now on.
    pub id: SubscriptionId,
    /// What it subscribes to. A queue's pattern is its plain name.
    pub pattern: Pattern,
    /// What deliveries do to the queue.
    pub mode: Mode,
    /// Whether deliveries must be settled.
    pub settlement: Settlement,
    /// How many deliveries it may get; more are allowed with [`crate::Outbox::credit`]. `None`: a topic
    /// needs no credit, and a queue delivers nothing yet.
    ///
    /// Settling does not give credit back by itself. Of a topic with [`Settlement::Automatic`], a
    /// delivery uses its credit only until it is written, unless that was drained or set meanwhile.
    pub credit: Option<u32>,
    /// What becomes of the messages of a topic while the subscription may get none. Queues keep theirs
    /// and ignore it.
    pub on_slow: SlowPolicy,
    /// How many messages of a topic it gets in a second at most, on average. Queues ignore it.
    pub rate: Option<NonZero<u32>>,
    /// Which messages it gets, by their headers and properties; `None`: all. Those that it does not
    /// select stay in a queue, and of a topic are none of its.
    pub selector: Option<Arc<Selector>>,
    /// It is a queue that is bound to topics, and lasts if its name is a durable one. Where there is one of this name that has no
    /// consumer and differs in its pattern, its selector or what it gets of its own, that is deleted
    /// first; it works as a queue does in all else.
    pub durable: Option<Box<Durable>>,
    /// Whether it gets messages of a queue before others.
    pub precedence: Precedence,
}

/// Which consumers of a queue get its messages before others do.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Precedence {
    /// Of those who want all of a queue one gets all, and no other gets anything: the one with the
    /// highest priority that came first.
    pub is_exclusive: bool,
    /// Others get only what those with a higher one cannot take now; 0 by default.
    pub priority: i8,
}

impl Subscribe {
    /// A subscription that a topic pushes to: it consumes, settles nothing, and has no credit.
    #[must_use]
    pub const fn new(id: SubscriptionId, pattern: Pattern) -> Self {
        Self {
            id,
            pattern,
            mode: Mode::Consume,
            settlement: Settlement::Automatic,
            credit: None,
            on_slow: SlowPolicy::Close,
            rate: None,
            selector: None,
            durable: None,
            precedence: Precedence { is_exclusive: false, priority: 0 },
        }
    }

    /// Whether messages wait for it in a buffer of its own, where others are pushed to: one to topics
    /// with credit, a rate, a selector or a policy of its own.
    #[must_use]
    pub fn is_buffered(&self) -> bool {
        self.durable.is_none()
            && self.pattern.kind() == DestinationKind::Topic
            && (self.credit.is_some()
                || self.rate.is_some()
                || self.selector.is_some()
                || self.on_slow != SlowPolicy::Close)
    }
}

/// What becomes of messages of a topic that come faster than a subscription gets them. Those that wait
/// are bounded by [`crate::ConnectionLimits::unsent_bytes_max`] for all of a connection.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum SlowPolicy {
    /// When more would wait than may, the subscription ends with [`Refusal::Slow`] or
    /// [`Refusal::SlowCore`].
    #[default]
    Close,
    /// The oldest that wait are dropped for new ones, also where there are
    /// [`crate::ConnectionLimits::prefetch_max`] of them.
    DropOldest,
    /// A message replaces the one with the same key that waits, in its position. Where more wait
    /// than may, the oldest are dropped.
    Latest(ConflationKey),
}

/// Which messages are about the same thing, so that the newest says it all.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ConflationKey {
    /// Those that were sent to the same destination.
    Destination,
    /// Those with the same value of this property. One without it is replaced by none.
    Property(Box<str>),
}

impl SlowPolicy {
    /// Bytes of the name of a property in it.
    #[must_use]
    pub const fn name_bytes(&self) -> usize {
        match self {
            Self::Latest(ConflationKey::Property(name)) => name.len(),
            Self::Latest(ConflationKey::Destination) | Self::Close | Self::DropOldest => 0,
        }
    }
}

/// What deliveries do to the queue that they come from. Subscriptions to topics consume.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Each message goes to one consumer, which takes it out of the queue.
    Consume,
    /// The messages that are ready when the subscription begins are delivered once each, in the
    /// order of the queue, and stay in it. A drain that leaves credit over says that they have
    /// been, but for those that a consumer has taken since. They are settled already.
    Browse,
}

/// A change of the deliveries that a subscription may get.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Credit {
    /// This many more.
    Add(u32),
    /// This many, counted from the last delivery that the session was handed. Those that are on
    /// their way use it up; with less credit than they are, they come nevertheless.
    Set(u32),
}

/// Whether a delivery from a queue is the consumer's at once, or once it says so.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Settlement {
    /// A delivery is settled when it is written to the connection: then the queue forgets it. Until
    /// then it may go to another consumer, as if it had not been delivered. Each takes one credit.
    Automatic,
    /// The queue keeps the message until [`crate::Outbox::settle`]; deliveries carry a [`Tag`]. So do
    /// those of a topic to a subscription with credit, which keeps nothing: to settle them has no effect.
    Explicit,
}

/// Makes a temporary destination.
#[derive(Clone, Debug)]
pub struct Declare {
    /// A temporary destination named by [`crate::Outbox::random`], 32 lower-case hex digits.
    pub destination: Destination,
}

/// A part of a [`Command::Transact`].
#[derive(Clone, Debug)]
pub enum Operation {
    /// As [`Command::Publish`].
    Publish(Arc<Message>),
    /// As [`crate::Outbox::settle`].
    Settle(Settle),
}

/// What became of some deliveries.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settle {
    /// The subscription that got them.
    pub subscription: SubscriptionId,
    /// Those with these tags that are unsettled. In a transaction the first and the last must be.
    pub tags: RangeInclusive<Tag>,
    /// What became of each.
    pub outcome: Outcome,
}

impl Settle {
    /// What became of one delivery.
    #[must_use]
    pub const fn one(subscription: SubscriptionId, tag: Tag, outcome: Outcome) -> Self {
        Self { subscription, tags: tag..=tag, outcome }
    }
}

/// What a consumer made of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Processed: the queue forgets it.
    Accepted,
    /// Could not be processed this time: delivered again, with a higher count, up to
    /// [`crate::BrokerLimits::deliveries_max`] times.
    Failed,
    /// Was never looked at: delivered again, with the same count.
    Released,
    /// Can never be processed: to the dead-letter queue at once.
    Rejected,
    /// Can be processed by others alone: delivered again as [`Outcome::Failed`] or
    /// [`Outcome::Released`], and not to this subscription.
    Undeliverable {
        /// Whether this attempt counts.
        failed: bool,
    },
}

impl Outcome {
    /// Whether the attempt counts as one that has failed.
    #[must_use]
    pub const fn is_failed(self) -> bool {
        matches!(self, Self::Failed | Self::Undeliverable { failed: true })
    }
}

/// What a command or a login came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reply {
    /// The command was carried out.
    Done,
    /// [`Command::Drain`]: all credit is used up or taken back.
    Drained,
    /// The login has come this far.
    Login(Box<Step>),
}

/// Why a SASL exchange (RFC 4422) cannot go on. None says whether there is a user of some name.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum SaslError {
    /// A mechanism that there is not.
    #[error("no such SASL mechanism: there are SCRAM-SHA-256 and SCRAM-SHA-1")]
    Mechanism,
    /// The peer requires channel binding.
    #[error(
        "channel binding is not supported: use the mechanism without -PLUS, and tell the server so \
         with the flag n or y"
    )]
    ChannelBinding,
    /// The peer wants to act as another user than the one who logs in.
    #[error(
        "no user may act as another: leave the authorization identity out, or send the user's name"
    )]
    AuthorizationId,
    /// A message that requires what the mechanism does not have (RFC 5802 5.1, attribute `m`).
    #[error("the SASL message requires an extension that is not supported")]
    Extension,
    /// A message that is not the mechanism's next one, or not of this exchange.
    #[error("the SASL message is malformed, or belongs to another exchange")]
    Malformed,
    /// A message that is too long.
    #[error("the SASL message is too long")]
    TooLong,
    /// A response where nothing was begun.
    #[error("there is no SASL exchange that this continues")]
    NoExchange,
}

impl Refusal {
    /// Whether what comes in [`Lane::CONNECTION`] behind a publication that was refused for this is refused
    /// too. Not where a temporary destination has gone, which ends no connection: nothing is to be sent
    /// there again.
    #[must_use]
    pub const fn ends_lane(self) -> bool {
        !matches!(self, Self::NotFound)
    }
}

impl From<SaslError> for Refusal {
    fn from(error: SaslError) -> Self {
        Self::Sasl(error)
    }
}

/// Why a login or a command was not carried out.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Who the peer says it is could not be confirmed.
    #[error("the login or password is wrong")]
    Unauthenticated,
    /// The login has ended by itself, or this user's logins have.
    #[error("the login has expired")]
    Expired,
    /// What the peer says of a SASL exchange cannot be worked with.
    #[error(transparent)]
    Sasl(SaslError),
    /// The access rules, or the ownership of a temporary destination, do not allow it.
    #[error("not allowed for this user")]
    Forbidden,
    /// A dead-letter queue is not what the peer may send to.
    #[error(
        "only the gateway sends to dead-letter queues, unless an access rule that names them allows \
         it"
    )]
    DeadLetterQueue,
    /// The destination stayed full for as long as a publisher may wait.
    #[error("the destination is full")]
    Full,
    /// Too much of this kind is going on; later it may work.
    #[error("too busy, try again later")]
    Busy,
    /// A bound on the number of subscriptions, destinations or operations is reached.
    #[error("a limit of this gateway is reached")]
    Limit,
    /// The messages in all queues take [`crate::QuotaLimits::queued_bytes_max`].
    #[error("the gateway's memory for queues is full (memory.queued-bytes-max)")]
    QueueMemory,
    /// Those that one principal sent take [`crate::QuotaLimits::queued_bytes_max_per_principal`].
    #[error(
        "the messages of this user in queues take all the memory that one user may have \
         (memory.queued-bytes-max-per-principal)"
    )]
    PrincipalMemory,
    /// One principal has made [`crate::QuotaLimits::queues_max_per_principal`] queues that exist.
    #[error(
        "this user or address has made as many queues as one may (memory.queues-max-per-principal)"
    )]
    PrincipalQueues,
    /// A durable message, and the disk of the store is full.
    #[error("the disk is full: messages that are not persistent are taken, and all are delivered")]
    StoreFull,
    /// A durable message, and the gateway has no store to keep it in.
    #[error("this gateway cannot keep persistent messages now: its log says why")]
    NoStore,
    /// The core has [`crate::BrokerLimits::queues_max`] queues, or as many as may be lasting ones.
    #[error("the gateway has as many queues as it may (limits.queues-max)")]
    Queues,
    /// A durable subscription has a consumer, and may have one only; or it is to change or to be
    /// deleted, and has one.
    #[error("the durable subscription has a consumer already")]
    DurableInUse,
    /// A durable subscription is shared and is to be used by one, or the other way round.
    #[error(
        "the durable subscription with this name was made with another value of shared: delete it \
         first, or use another name"
    )]
    DurableShared,
    /// Another connection of this user has the client id.
    #[error("another connection of this user has the same client id")]
    ClientIdInUse,
    /// Another consumer was to have the durable subscription of this one.
    #[error("another consumer has taken over the durable subscription")]
    Displaced,
    /// A subscription of the connection has this id.
    #[error("the id of the subscription is in use")]
    DuplicateId,
    /// A pattern has a wildcard in a level where it could not be looked up in bounded time.
    #[error(
        "a wildcard stands only in the first 10 levels of a pattern; a > or # without * before it, \
         in the first 64"
    )]
    TooDeep,
    /// The names and selectors of a connection's subscriptions have more bytes than
    /// [`crate::ConnectionLimits::pattern_bytes_max`].
    #[error(
        "the names and selectors of this connection's subscriptions are too long \
         (limits.pattern-bytes-max)"
    )]
    PatternBytes,
    /// There is no such destination: a temporary one that has gone.
    #[error("no such destination")]
    NotFound,
    /// More waits for a connection than [`crate::ConnectionLimits::unsent_bytes_max`], and for a
    /// subscription of it with [`SlowPolicy::Close`].
    #[error("more messages wait for its reader than may (limits.unsent-bytes-max)")]
    Slow,
    /// More waits for the connections of a core than may, and the most for this one, with a
    /// subscription that has [`SlowPolicy::Close`].
    #[error(
        "more messages wait for slow readers than may, and the most of them for this one (a quarter of \
         memory.unsent-bytes-max-per-core)"
    )]
    SlowCore,
    /// A transaction named a delivery that is not unsettled any more.
    #[error("the transaction cannot be carried out: a delivery in it is settled already")]
    Stale,
}
