use std::{collections::VecDeque, sync::Arc};

use contract::{
    ConnectionId, Delivery, Destination, Message, Operation, Outcome, Pattern, Refusal, Settlement,
    SubscriptionId, Tag, Token,
};

use crate::{Effect, queue::QueuePosition, queue::QueuedMessage};

/// One subscription of one connection.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Subscriber {
    /// The connection.
    pub connection: ConnectionId,
    /// Its subscription.
    pub subscription: SubscriptionId,
}

/// What one shard says to another; to be carried in order, at any speed.
#[derive(Debug)]
pub struct Parcel(pub(crate) Letter);

impl Parcel {
    /// Memory it holds, in bytes.
    ///
    /// Shards bound by themselves how much of what publishers send is under way between them; the
    /// rest is bounded by credit.
    #[must_use]
    pub fn cost(&self) -> usize {
        size_of::<Self>() + self.0.message().map_or_else(|| self.0.load(), |m| m.cost())
    }
}

/// The content of a parcel.
#[derive(Debug)]
pub(crate) enum Letter {
    // Front to front.
    /// The sender is interested in a pattern from now on; wants [`Letter::InterestAdded`].
    AddInterest { pattern: Pattern, topic: usize, ticket: u64 },
    /// The answer, with what the question named itself by.
    InterestAdded { topic: usize, ticket: u64 },
    /// The sender is not interested any more.
    RemoveInterest(Pattern),
    /// A publication to a topic.
    Topic(Arc<Message>),
    /// So many bytes of [`Letter::load`] have been worked off.
    WindowUpdate(usize),

    // Front to home.
    /// Wants [`Letter::Answer`], late if the destination is full.
    Publish { connection: ConnectionId, token: Token, message: Arc<Message> },
    /// Wants [`Letter::Subscribed`].
    Subscribe(Box<Consume>),
    /// Wants [`Letter::Unsubscribed`] if it has a token. Deliveries after `seen` never reached
    /// the consumer.
    Unsubscribe {
        subscriber: Subscriber,
        destination: Destination,
        token: Option<Token>,
        seen: Tag,
    },
    /// As [`contract::Outbox::settle`].
    Settle { subscriber: Subscriber, tag: Tag, outcome: Outcome },
    /// As [`contract::Outbox::credit`].
    Credit { subscriber: Subscriber, count: u32 },
    /// Wants [`Letter::Declared`].
    Declare { owner: ConnectionId, token: Token, destination: Destination },
    /// Its owner has gone.
    Undeclare { owner: ConnectionId, destination: Destination },
    /// A settled delivery whose consumer had gone before it came: back to where it was.
    Return(QueuedMessage),
    /// Wants [`Letter::Voted`]; then, unless it is `alone`, waits for [`Letter::Decide`].
    Prepare { connection: ConnectionId, ticket: u64, operations: Vec<Operation>, alone: bool },
    /// The end of a transaction.
    Decide { ticket: u64, commit: bool },

    // Home to home.
    /// A message for a dead-letter queue, addressed to it.
    Dead(Arc<Message>),

    // Home to front.
    /// The answer to a publication.
    Answer { connection: ConnectionId, token: Token, result: Result<(), Refusal> },
    /// The answer to a subscription.
    Subscribed { subscriber: Subscriber, token: Token, result: Result<(), Refusal> },
    /// The subscription has ended at its home; nothing from it follows.
    Unsubscribed { subscriber: Subscriber, token: Token },
    /// The answer to a declaration.
    Declared {
        owner: ConnectionId,
        token: Token,
        destination: Destination,
        result: Result<(), Refusal>,
    },
    /// A message for a subscription.
    Deliver { subscriber: Subscriber, position: QueuePosition, delivery: Delivery },
    /// Whether this home can do its branch of a transaction.
    Voted { ticket: u64, result: Result<(), Refusal> },
}

/// A subscription to a queue or temporary destination.
#[derive(Debug)]
pub(crate) struct Consume {
    pub(crate) subscriber: Subscriber,
    pub(crate) token: Token,
    pub(crate) destination: Destination,
    pub(crate) settlement: Settlement,
    pub(crate) credit: u32,
}

impl Letter {
    /// Bytes that a publisher put into it; bounded per pair of shards.
    pub(crate) fn load(&self) -> usize {
        if let Self::Topic(message) | Self::Publish { message, .. } = self {
            message.cost()
        } else if let Self::Prepare { operations, .. } = self {
            operations.iter().map(load).sum()
        } else {
            0
        }
    }

    /// The message that it brings, whoever caused it.
    const fn message(&self) -> Option<&Arc<Message>> {
        if let Self::Topic(message)
        | Self::Publish { message, .. }
        | Self::Return(QueuedMessage { message, .. })
        | Self::Dead(message)
        | Self::Deliver { delivery: Delivery { message, .. }, .. } = self
        {
            Some(message)
        } else {
            None
        }
    }
}

/// Bytes of a message that an operation publishes.
pub(crate) fn load(operation: &Operation) -> usize {
    match operation {
        Operation::Publish(message) => message.cost(),
        Operation::Settle(_) => 0,
    }
}

/// Where a shard puts what it has to say.
///
/// Letters to itself wait in `own` and are worked off before [`crate::Shard::apply`] returns.
pub(crate) struct Post<'a> {
    pub(crate) core: u16,
    pub(crate) own: VecDeque<Letter>,
    pub(crate) effects: &'a mut Vec<Effect>,
}

impl Post<'_> {
    pub(crate) fn send(&mut self, to: u16, letter: Letter) {
        if to == self.core {
            self.own.push_back(letter);
        } else {
            self.effects.push(Effect::Peer(to, Parcel(letter)));
        }
    }
}
