//! Messages that a queue has and may not deliver yet: their sender wants them later, or an attempt to
//! deliver them has failed. They hold up nothing behind them.
//!
//! What is due becomes ready when the shard is told that time has passed, so up to 100 ms late; a queue
//! that has none of them pays a word.

use std::collections::BTreeMap;

use crate::queued::{QueuePosition, QueuedMessage};

/// The messages of a queue that become ready when their time has come.
#[derive(Debug, Default)]
pub(super) struct Delayed {
    /// By when there is something to do about each one, in milliseconds since 1970: it may be
    /// delivered, or has expired before that. Those of one time are in the order of the queue.
    #[expect(clippy::box_collection, reason = "a word in each queue that has none, and not three")]
    messages: Option<Box<BTreeMap<(u64, QueuePosition), QueuedMessage>>>,
}

impl Delayed {
    /// A message is to become ready at this time, if it has not expired then.
    pub(super) fn insert(&mut self, queued: QueuedMessage, due_unix_ms: u64) {
        let due = queued.expires_unix_ms().map_or(due_unix_ms, |expires| expires.min(due_unix_ms));
        self.messages.get_or_insert_default().insert((due, queued.position), queued);
    }

    /// The next message whose time has come. It may have expired.
    pub(super) fn pop_due(&mut self, unix_ms: u64) -> Option<QueuedMessage> {
        if self.is_due(unix_ms) { self.pop() } else { None }
    }

    /// The message that comes first of all.
    pub(super) fn pop(&mut self) -> Option<QueuedMessage> {
        let messages = self.messages.as_mut()?;
        let (_, queued) = messages.pop_first()?;
        if messages.is_empty() {
            self.messages = None;
        }
        Some(queued)
    }

    pub(super) fn is_due(&self, unix_ms: u64) -> bool {
        let first = self.messages.as_ref().and_then(|messages| messages.first_key_value());
        first.is_some_and(|(&(due, _), _)| due <= unix_ms)
    }

    pub(super) fn len(&self) -> usize {
        self.messages.as_ref().map_or(0, |messages| messages.len())
    }

    /// Memory that it takes beside what each message does in any queue, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.len() * TIME_BYTES
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &QueuedMessage> {
        self.messages.iter().flat_map(|messages| messages.values())
    }
}

/// Messages of all queues of a home that become ready with one time-out at most, so that many with one
/// time do not hold up the core: 100,000 in a second.
pub(super) const DUE_MAX: usize = 10_000;

/// Their times, in a tree that is filled to a half.
const TIME_BYTES: usize = 16;
