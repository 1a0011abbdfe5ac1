use std::{fmt, sync::Arc};

use contract::{Destination, DestinationKind, DurableName, Group, Message};

use crate::quota::Account;

/// Names a queue: what its messages are kept, delivered, returned and dead-lettered under.
///
/// It is not where they were sent: [`Message::to`] says that, and a queue may hold
/// messages that were sent to something else. That of a durable subscription does, which is named by
/// the levels of its [`DurableName`]: as a topic, which no other queue is.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct QueueId(Destination);

impl QueueId {
    /// The queue that is a destination of its own; `None`: the destination is a topic.
    #[must_use]
    pub fn of(destination: &Destination) -> Option<Self> {
        destination.kind().is_queue().then(|| Self(destination.clone()))
    }

    /// The queue of a durable subscription.
    #[must_use]
    pub fn of_subscription(name: &DurableName) -> Self {
        Self(name.as_levels().clone())
    }

    /// The queue that has this [`QueueId::name`]; `None`: none has.
    #[must_use]
    pub fn named(name: Destination) -> Option<Self> {
        match name.kind() {
            DestinationKind::Queue | DestinationKind::TempQueue => Some(Self(name)),
            DestinationKind::Topic => {
                DurableName::from_levels(name).map(|name| Self::of_subscription(&name))
            }
            DestinationKind::TempTopic => None,
        }
    }

    /// The destination that it is, or the levels of the name of a durable subscription.
    #[must_use]
    pub const fn name(&self) -> &Destination {
        &self.0
    }

    /// Whether it is that of a durable subscription.
    #[must_use]
    pub fn is_subscription(&self) -> bool {
        self.0.kind() == DestinationKind::Topic
    }

    /// Whether the store keeps durable messages in it: it outlives its owner and its consumers.
    pub(crate) fn lasts(&self) -> bool {
        match self.0.kind() {
            DestinationKind::Queue => true,
            DestinationKind::Topic => DurableName::is_durable(&self.0),
            DestinationKind::TempQueue | DestinationKind::TempTopic => false,
        }
    }

    /// Whether it ends with its owner.
    pub(crate) const fn is_temporary(&self) -> bool {
        matches!(self.0.kind(), DestinationKind::TempQueue)
    }
}

/// How peers and operators call it.
impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DurableName::from_levels(self.0.clone()) {
            Some(name) => name.fmt(f),
            None => self.0.fmt(f),
        }
    }
}

/// A message in a queue.
#[derive(Debug)]
pub(crate) struct QueuedMessage {
    pub(crate) position: QueuePosition,
    pub(crate) message: Arc<Message>,
    /// Who sent it, and is charged for it.
    pub(crate) account: Option<Account>,
    /// How many attempts to deliver it have failed, as far as this process and the store know.
    pub(crate) attempts: u32,
    /// The store keeps it: decided once, when it enters the queue.
    is_durable: bool,
    /// It was in the store when the process began: it may have been delivered before that.
    pub(crate) is_restored: bool,
}

impl QueuedMessage {
    /// A message that is new in its queue.
    pub(crate) fn new(
        message: Arc<Message>,
        is_durable: bool,
        account: Option<Account>,
        sequence: u64,
    ) -> Self {
        let position = QueuePosition::new(message.header.priority, sequence);
        Self { position, message, account, attempts: 0, is_durable, is_restored: false }
    }

    /// A message that the store has kept.
    pub(crate) const fn restored(message: Arc<Message>, position: QueuePosition) -> Self {
        Self { position, message, account: None, attempts: 0, is_durable: true, is_restored: true }
    }

    /// Whether the store keeps it.
    pub(crate) const fn is_durable(&self) -> bool {
        self.is_durable
    }

    /// When its time to live is over, in milliseconds since 1970; `None`: never.
    pub(crate) fn expires_unix_ms(&self) -> Option<u64> {
        self.message.header.expires_unix_ms
    }

    /// The group that it belongs to.
    pub(crate) fn group(&self) -> Option<Group> {
        self.message.header.group
    }

    /// When it may be delivered first, in milliseconds since 1970, if that was not at once.
    pub(crate) fn due_unix_ms(&self) -> Option<u64> {
        self.message.header.due_unix_ms()
    }

    /// How many times it was delivered before; one that is restored may have been once.
    pub(crate) fn redeliveries(&self) -> u32 {
        self.attempts.max(self.is_restored.into())
    }
}

/// The position of a message in its queue: higher priorities first, then in order of arrival.
///
/// The sequence is unique within a home, so that a message that returns to a queue which was
/// deleted and made again takes no other's position.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct QueuePosition(u64);

impl QueuePosition {
    /// Of 4 bits of urgency over a sequence that never fills the rest.
    fn new(priority: u8, sequence: u64) -> Self {
        let urgency = PRIORITY_MAX.saturating_sub(priority);
        Self(u64::from(urgency) << SEQUENCE_BITS | sequence)
    }

    /// The position that [`QueuePosition::bits`] gave.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// As a number, in the order of the positions: its form in the store.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Grows with the time at which the message came.
    pub(crate) const fn sequence(self) -> u64 {
        self.0 & ((1 << SEQUENCE_BITS) - 1)
    }
}

/// Memory that a message takes in a queue, in bytes: its own, and that of its entry in the queue or
/// with its consumer.
pub(crate) fn queued_cost(message: &Message) -> usize {
    message.cost() + ENTRY_BYTES
}

/// About the same of one that takes so much on the disk.
pub(crate) const fn queued_cost_on_disk(bytes: u32) -> usize {
    bytes as usize + MESSAGE_BYTES + ENTRY_BYTES
}

/// What it takes besides while it is ready and expires.
pub(crate) const EXPIRING_ENTRY_BYTES: usize = 32;

/// What a message takes in memory beside what it does on the disk.
const MESSAGE_BYTES: usize = 200;

const PRIORITY_MAX: u8 = 9;
const SEQUENCE_BITS: u32 = 60;

/// Twice the size of an entry, since a B-tree that grows at its end leaves four of the 11 places of a
/// node free, and half of what a transaction takes beyond that.
const ENTRY_BYTES: usize = 104;
const _: () = assert!(size_of::<(QueuePosition, QueuedMessage)>() == 40);
const _: () = assert!(size_of::<(u64, QueuePosition)>() == 16);
