//! What a shard writes to the store.

use std::sync::Arc;

use contract::{DeadLetterReason, Message, Producer};

use crate::queued::{QueueId, QueuePosition, QueuedMessage};

/// Names a batch of records of one shard; each is greater than the one before.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct WriteId(pub u64);

/// Names a transaction over the homes of several cores.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TransactionId {
    /// The core that coordinates it.
    pub core: u16,
    /// Its number there.
    pub number: u64,
}

/// A change of what the store keeps: the durable messages of the queues that outlive the process.
///
/// The records of a batch take effect together.
#[derive(Clone, Debug)]
pub enum Record {
    /// A message is in a queue.
    Put(QueueId, QueuePosition, Arc<Message>),
    /// It is there no more.
    Remove(QueueId, QueuePosition),
    /// It is to leave the queue for its dead-letter queue, where it may not have come yet: it is not
    /// delivered from here any more.
    DeadLetter(QueueId, QueuePosition, DeadLetterReason),
    /// The greatest number of a producer whose message is in this batch or an earlier one: lower ones are
    /// duplicates. It counts if there is none that is greater; with `after`, only if that is the greatest
    /// before it, since the batches between may be refused.
    LastSeen {
        /// Where the messages went.
        queue: QueueId,
        /// Who numbers them.
        producer: Producer,
        /// What was the last number before.
        after: Option<u64>,
        /// The number.
        last: u64,
    },
    /// Nothing is known of a producer any more.
    Forget {
        /// Where its messages went.
        queue: QueueId,
        /// Who it is.
        producer: Producer,
    },
    /// What a transaction does to the queues of one home, once it is committed.
    Prepare(TransactionId, Vec<Self>),
    /// All that was prepared for a transaction takes effect. Comes after all of that is stored. A
    /// transaction without this record is rolled back when the process ends.
    Commit(TransactionId),
    /// What one home prepared for a transaction takes no effect.
    Rollback(TransactionId),
}

impl Record {
    /// A message is in a queue.
    pub(crate) fn put(queue: &QueueId, queued: &QueuedMessage) -> Self {
        Self::Put(queue.clone(), queued.position, Arc::clone(&queued.message))
    }

    /// Whether it does nothing but add messages, or prepare to: the store may refuse a batch of such
    /// records.
    #[must_use]
    pub const fn is_addition(&self) -> bool {
        matches!(self, Self::Put(..) | Self::LastSeen { .. } | Self::Prepare(..))
    }

    /// Memory that it takes until it is stored, in bytes.
    #[must_use]
    pub fn cost(&self) -> usize {
        let content = match self {
            Self::Put(_, _, message) => message.cost(),
            Self::Prepare(_, records) => records.iter().map(Self::cost).sum(),
            Self::LastSeen { producer, .. } | Self::Forget { producer, .. } => {
                producer.heap_bytes()
            }
            Self::Remove(..) | Self::DeadLetter(..) | Self::Commit(_) | Self::Rollback(_) => 0,
        };
        size_of::<Self>() + content
    }
}
