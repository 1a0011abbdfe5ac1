//! What a shard writes to the store.

use std::sync::Arc;

use contract::{DeadLetterReason, Message, Pattern, Producer, Selector};

use crate::{
    attempts::UNSTORED_ATTEMPTS_BYTES,
    queued::{QueueId, QueuePosition, QueuedMessage},
};

/// Names a batch of records of one shard; each is greater than the one before.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct WriteId(pub u64);

/// A batch of records of one shard: they take effect together.
#[derive(Clone, Debug)]
pub struct RecordBatch {
    /// Its name.
    pub id: WriteId,
    /// What it does; never nothing.
    pub records: Vec<Record>,
    /// Whether something waits until it is stored. One that nobody waits for only removes what was
    /// settled without an answer, and counts attempts: it may be stored later, with one that is awaited;
    /// what it removes comes again if the process ends before.
    pub is_awaited: bool,
}

impl RecordBatch {
    /// One that something waits for.
    #[must_use]
    pub const fn awaited(id: WriteId, records: Vec<Record>) -> Self {
        Self { id, records, is_awaited: true }
    }
}

/// Names a transaction over the homes of several cores.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TransactionId {
    /// The core that coordinates it.
    pub core: u16,
    /// Its number there.
    pub number: u64,
}

/// Attempts to deliver a message that have failed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Attempts {
    /// How many.
    pub count: u32,
    /// When the last one failed, in milliseconds since 1970.
    pub last_unix_ms: u64,
}

/// A change of what the store keeps: the durable messages of the queues that outlive the process.
#[derive(Clone, Debug)]
pub enum Record {
    /// A message is in a queue.
    Put(QueueId, QueuePosition, Arc<Message>),
    /// It is there no more.
    Remove(QueueId, QueuePosition),
    /// It is to leave the queue for its dead-letter queue, where it may not have come yet: it is not
    /// delivered from here any more.
    DeadLetter(QueueId, QueuePosition, DeadLetterReason),
    /// So many attempts to deliver it have failed. Nothing waits until this is stored, and a full store may
    /// leave it out.
    Attempted(QueueId, QueuePosition, Attempts),
    /// A producer's message with this number has entered a queue, in this batch.
    Seen(QueueId, Producer, u64),
    /// Nothing is known of a producer at a queue any more.
    Forget(QueueId, Producer),
    /// What a transaction does to the queues of one home, once it is committed.
    Prepare(TransactionId, Vec<Self>),
    /// All that was prepared for a transaction takes effect. Comes after all of that is stored. A
    /// transaction without this record is rolled back when the process ends.
    Commit(TransactionId),
    /// What one home prepared for a transaction takes no effect.
    Rollback(TransactionId),
    /// A durable subscription is there, or has other terms. What is in its queue then is of transactions
    /// that were in flight.
    Bind(QueueId, Arc<Terms>),
    /// It is there no more; what is in its queue has a [`Record::Remove`] each.
    Unbind(QueueId),
}

/// What a durable subscription gets, and who reads it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Terms {
    /// The topics.
    pub pattern: Pattern,
    /// Which of their messages.
    pub selector: Option<Arc<Selector>>,
    /// Whether several consumers may read it at a time.
    pub is_shared: bool,
    /// Whether it does not get what its consumer's own connection publishes.
    pub no_local: bool,
}

impl Terms {
    /// Memory that they take, in bytes, or more.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let selector = self.selector.as_ref().map_or(0, |selector| selector.bytes());
        size_of::<Self>() + self.pattern.name_bytes() + selector
    }
}

impl Record {
    /// A message is in a queue.
    pub(crate) fn put(queue: &QueueId, queued: &QueuedMessage) -> Self {
        Self::Put(queue.clone(), queued.position, Arc::clone(&queued.message))
    }

    /// Whether it adds a message, or prepares to, or concerns who sent it: the store may refuse a batch
    /// of such records.
    #[must_use]
    pub fn is_addition(&self) -> bool {
        match self {
            Self::Put(..) | Self::Seen(..) | Self::Forget(..) => true,
            Self::Prepare(_, records) => records.iter().any(Self::is_addition),
            Self::Remove(..)
            | Self::DeadLetter(..)
            | Self::Attempted(..)
            | Self::Commit(_)
            | Self::Rollback(_)
            | Self::Bind(..)
            | Self::Unbind(_) => false,
        }
    }

    /// Whether the store may leave it out, which tells a start less and loses nothing.
    #[must_use]
    pub const fn is_droppable(&self) -> bool {
        matches!(self, Self::Attempted(..))
    }

    /// Whether a batch does nothing but add, so that the store may refuse it; what is droppable does
    /// not count.
    #[must_use]
    pub fn only_add(batch: &[Self]) -> bool {
        batch.iter().any(Self::is_addition)
            && batch.iter().all(|record| record.is_addition() || record.is_droppable())
    }

    /// Memory that it takes until it is stored, in bytes.
    #[must_use]
    pub fn cost(&self) -> usize {
        let content = match self {
            Self::Put(_, _, message) => message.cost(),
            Self::Prepare(_, records) => records.iter().map(Self::cost).sum(),
            Self::Bind(_, terms) => terms.bytes(),
            Self::Seen(_, producer, _) | Self::Forget(_, producer) => producer.heap_bytes(),
            Self::Attempted(..) => UNSTORED_ATTEMPTS_BYTES,
            Self::Remove(..)
            | Self::DeadLetter(..)
            | Self::Commit(_)
            | Self::Rollback(_)
            | Self::Unbind(_) => 0,
        };
        size_of::<Self>() + content
    }
}
