//! What one shard sends to another, by direction.

use std::{ops::RangeInclusive, sync::Arc};

use contract::{
    ClientName, ConnectionId, Contest, Credit, Delivery, Destination, Ending, Message, Mode,
    Operation, Outcome, Pattern, Precedence, Refusal, Reply, Selector, Settlement, SubscriptionId,
    Tag, Token, internal,
};

use crate::{
    queued::{QueueId, QueuePosition},
    quota::Account,
    record::{Terms, TransactionId},
};

/// One subscription of one connection.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Subscriber {
    /// The connection.
    pub connection: ConnectionId,
    /// Its subscription.
    pub subscription: SubscriptionId,
}

/// What one shard sends to another. Those between two shards stay in order; how long they take
/// does not matter.
#[derive(Debug)]
pub struct ShardMessage(pub(crate) Payload);

impl ShardMessage {
    /// Memory it holds, in bytes.
    ///
    /// Shards bound by themselves how much of what publishers send is in flight between them; the
    /// rest is bounded by credit.
    #[must_use]
    pub fn cost(&self) -> usize {
        match self.0.message() {
            Some(message) => ENTRY_BYTES + message.cost(),
            None => ENTRY_BYTES.max(self.0.published_bytes()),
        }
    }
}

/// A shard message by its direction.
#[derive(Debug)]
pub(crate) enum Payload {
    ToHome(ToHome),
    ToFront(ToFront),
    Interest(Interest),
    /// The sender has processed this many bytes of [`Payload::published_bytes`].
    WindowUpdate(usize),
}

/// From a front to the home of a queue or temporary destination, or from home to home.
#[derive(Debug)]
pub(crate) enum ToHome {
    /// [`ToFront::Published`] replies, late if the queue is full.
    Publish {
        publisher: Publisher,
        /// The queue of a durable subscription; `None`: where the message was sent.
        queue: Option<Box<QueueId>>,
        message: Arc<Message>,
        account: Option<Account>,
    },
    /// As [`contract::Command::Claim`]; [`ToFront::Replied`] replies.
    Claim { connection: ConnectionId, token: Token, client: Box<ClientName>, contest: Contest },
    /// A connection that has claimed to be this client has gone.
    Release { connection: ConnectionId, client: Box<ClientName> },
    /// [`ToFront::Subscribed`] replies.
    Subscribe(Box<Consume>),
    /// [`ToFront::Unsubscribed`] replies if it is to be confirmed. Unsettled deliveries up to `failed`
    /// count as a failed attempt, the others are released.
    Unsubscribe {
        subscriber: Subscriber,
        destination: Destination,
        confirm: bool,
        failed: Tag,
        ending: Ending,
    },
    /// A front knows that a durable subscription is bound.
    Bound { queue: QueueId, request: u64 },
    /// [`ToFront::Replied`] replies.
    Delete { connection: ConnectionId, token: Token, queue: QueueId },
    /// As [`ToHome::Delete`], but says only whether it is there.
    Find { connection: ConnectionId, token: Token, queue: QueueId },
    /// No delivery is to follow: [`ToHome::Unsubscribe`] will, once it is known what of those that are
    /// settled automatically was written. Those behind `handed_over` never will be.
    Stop { subscriber: Subscriber, handed_over: Tag },
    /// Deliveries of this cost were written to the connection. Those up to `settled` are settled with
    /// that.
    Written { subscriber: Subscriber, bytes: usize, settled: Option<Tag> },
    /// As [`contract::Outbox::settle`]; [`ToFront::Replied`] replies if there is a token.
    Settle {
        subscriber: Subscriber,
        tags: RangeInclusive<Tag>,
        outcome: Outcome,
        reply: Option<Token>,
    },
    /// As [`contract::Outbox::credit`], counted after this number of deliveries.
    Credit { subscriber: Subscriber, credit: Credit, delivered: u64 },
    /// [`ToFront::Drained`] replies.
    Drain { subscriber: Subscriber, token: Token },
    /// [`ToFront::Declared`] replies.
    Declare {
        owner: ConnectionId,
        token: Token,
        destination: Destination,
        account: Option<Account>,
    },
    /// The owner of a temporary destination has gone, or wants it no more.
    Undeclare { owner: ConnectionId, destination: Destination },
    /// [`ToFront::Voted`] replies; unless it is `alone`, [`ToHome::Decide`] follows.
    Prepare {
        connection: ConnectionId,
        transaction: u64,
        operations: Vec<BranchOperation>,
        account: Option<Account>,
        alone: bool,
    },
    /// From a home to itself: a transaction of it alone is stored.
    Committed(TransactionId),
    /// From a home to itself: the store has refused a transaction of it alone.
    NotCommitted(TransactionId),
    /// The end of a transaction.
    Decide { transaction: u64, commit: bool },
    /// A front knows that a publication of this connection was refused: none of it in
    /// [`contract::Lane::CONNECTION`] follows.
    KnowsRefusal { connection: ConnectionId },
    /// A message for a dead-letter queue, addressed to it, and where it is in the store until it is
    /// in that queue.
    DeadLetter {
        message: Arc<Message>,
        account: Option<Account>,
        stored_at: Option<(QueueId, QueuePosition)>,
    },
}

/// From the home of a queue or temporary destination to the front of a connection, or from a front
/// to itself.
#[derive(Debug)]
pub(crate) enum ToFront {
    /// What gets these topics; [`ToHome::Bound`] replies.
    Bind { queue: QueueId, terms: Arc<Terms>, request: u64 },
    /// It gets them no more.
    Unbind { queue: QueueId, terms: Arc<Terms> },
    /// Another connection takes the client id of this one.
    DisplaceClient { connection: ConnectionId },
    /// Another consumer takes the place of this one.
    Displace { subscriber: Subscriber },
    /// The reply of a queue to a publication.
    Published { publisher: Publisher, result: Result<(), Refusal> },
    /// The reply to a settlement, and to what is asked of a client or a durable subscription.
    Replied { connection: ConnectionId, token: Token, result: Result<Reply, Refusal> },
    /// The reply to a drain, behind the deliveries.
    Drained { subscriber: Subscriber, token: Token },
    /// The reply to a subscription.
    Subscribed { subscriber: Subscriber, token: Token, result: Result<(), Refusal> },
    /// The subscription has ended at its home; nothing from it follows.
    Unsubscribed { subscriber: Subscriber },
    /// The reply to a declaration.
    Declared {
        owner: ConnectionId,
        token: Token,
        destination: Destination,
        result: Result<(), Refusal>,
    },
    /// A message for a subscription.
    Deliver { subscriber: Subscriber, source: Source, delivery: Delivery },
    /// Whether this home can do its branch of a transaction. With `true`, the store has records of it,
    /// and the decision is to be stored too.
    Voted { transaction: u64, result: Result<bool, Refusal> },
    /// From a front to itself: the decision to commit a transaction is stored.
    Decided { transaction: u64 },
}

/// Who waits for the reply to a publication.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publisher {
    pub(crate) connection: ConnectionId,
    pub(crate) token: Token,
    /// What its front gathers the replies of several queues by; 0: there is one.
    pub(crate) gathering: u64,
    /// It is in [`contract::Lane::CONNECTION`]: what comes behind it there is refused with it.
    pub(crate) in_order: bool,
}

impl Publisher {
    /// The reply of a queue.
    pub(crate) const fn reply(self, result: Result<(), Refusal>) -> ToFront {
        ToFront::Published { publisher: self, result }
    }
}

/// A part of a transaction, for one home.
#[derive(Debug)]
pub(crate) enum BranchOperation {
    Own(Operation),
    /// A message for the queue of a durable subscription.
    PublishTo(QueueId, Arc<Message>),
}

/// Where a delivery comes from. A queue has its message until it is settled.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    /// A queue; how it is settled.
    Queue(Settlement),
    /// A queue that shows what it holds.
    Browse,
    /// A temporary topic.
    TempTopic,
}

/// Between the fronts of two cores, about topics: what would go between nodes too.
#[derive(Debug)]
pub(crate) enum Interest {
    /// The sender wants publications that match a pattern; [`Interest::Added`] replies.
    Add { pattern: Pattern, topic: usize, request: u64 },
    /// The reply, with what the request named itself by.
    Added { topic: usize, request: u64 },
    /// The sender wants them no more.
    Remove(Pattern),
    /// A publication to a topic.
    Publication(Arc<Message>),
}

/// Bytes of deliveries that a subscription, and all of a connection, may have unwritten while more
/// are sent, in [`contract::Message::cost`].
pub(crate) const WINDOW_BYTES: usize = 256 << 10;

/// A subscription to a queue or temporary destination.
#[derive(Debug)]
pub(crate) struct Consume {
    pub(crate) subscriber: Subscriber,
    pub(crate) token: Token,
    pub(crate) destination: Destination,
    pub(crate) mode: Mode,
    pub(crate) settlement: Settlement,
    pub(crate) credit: u32,
    /// Deliveries that may be unsettled at one time.
    pub(crate) unsettled_max: usize,
    /// Who is charged for the queue, if it is made.
    pub(crate) account: Option<Account>,
    pub(crate) selector: Option<Arc<Selector>>,
    /// The queue is that of a durable subscription, named by the destination, with these terms.
    pub(crate) durable: Option<Arc<Terms>>,
    /// It takes the place of one that a durable subscription has.
    pub(crate) displaces: bool,
    pub(crate) precedence: Precedence,
}

impl Payload {
    /// What is sent instead of what confirms a batch, since the store has refused it.
    pub(crate) fn into_refusal(self, refusal: Refusal) -> Self {
        match self {
            Self::ToFront(ToFront::Published { publisher, .. }) => {
                Self::ToFront(publisher.reply(Err(refusal)))
            }
            Self::ToFront(ToFront::Voted { transaction, .. }) => {
                Self::ToFront(ToFront::Voted { transaction, result: Err(refusal) })
            }
            Self::ToHome(ToHome::Committed(transaction)) => {
                Self::ToHome(ToHome::NotCommitted(transaction))
            }
            other @ (Self::ToFront(_)
            | Self::ToHome(_)
            | Self::Interest(_)
            | Self::WindowUpdate(_)) => {
                internal!("a batch was refused that may not be");
                other
            }
        }
    }

    /// Bytes that a publisher put into it; bounded per pair of shards.
    pub(crate) fn published_bytes(&self) -> usize {
        if let Self::Interest(Interest::Publication(message))
        | Self::ToHome(ToHome::Publish { message, .. }) = self
        {
            ENTRY_BYTES + message.cost()
        } else if let Self::ToHome(ToHome::Prepare { operations, .. }) = self {
            ENTRY_BYTES + operations.iter().map(BranchOperation::published_bytes).sum::<usize>()
        } else {
            0
        }
    }

    /// The message that it carries, whatever caused it.
    const fn message(&self) -> Option<&Arc<Message>> {
        if let Self::Interest(Interest::Publication(message))
        | Self::ToHome(ToHome::Publish { message, .. } | ToHome::DeadLetter { message, .. })
        | Self::ToFront(ToFront::Deliver { delivery: Delivery { message, .. }, .. }) = self
        {
            Some(message)
        } else {
            None
        }
    }
}

impl BranchOperation {
    /// Memory that it takes, in bytes.
    pub(crate) fn published_bytes(&self) -> usize {
        let message = match self {
            Self::Own(Operation::Publish(message)) | Self::PublishTo(_, message) => message.cost(),
            Self::Own(Operation::Settle(_)) => 0,
        };
        size_of::<Self>() + message
    }
}

/// What a shard message takes in a list that is filled to three quarters, as it is on average.
const ENTRY_BYTES: usize = size_of::<ShardMessage>() * 4 / 3;
