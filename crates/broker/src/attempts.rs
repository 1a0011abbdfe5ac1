//! Attempts to deliver durable messages of which the store does not know yet.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    queued::{QueueId, QueuePosition},
    record::{Attempts, WriteId},
};

/// The messages with a record of their attempts in flight: one each, however often they fail until that is
/// stored.
#[derive(Debug, Default)]
pub(crate) struct UnstoredAttempts {
    /// In the order of their batches. Some messages may have gone.
    in_flight: VecDeque<(WriteId, QueueId, QueuePosition)>,
    /// What has failed since the record of each.
    since: BTreeMap<(QueueId, QueuePosition), Option<Attempts>>,
}

impl UnstoredAttempts {
    /// More have failed; `false`: no record of the message is in flight.
    pub(crate) fn replace(
        &mut self,
        queue: &QueueId,
        position: QueuePosition,
        attempts: Attempts,
    ) -> bool {
        if self.since.is_empty() {
            return false;
        }
        let since = self.since.get_mut(&(queue.clone(), position));
        since.map(|since| *since = Some(attempts)).is_some()
    }

    /// A record of a message is in this batch.
    pub(crate) fn add(&mut self, write: WriteId, queue: QueueId, position: QueuePosition) {
        self.since.insert((queue.clone(), position), None);
        self.in_flight.push_back((write, queue, position));
    }

    /// A message has gone.
    pub(crate) fn forget(&mut self, queue: &QueueId, position: QueuePosition) {
        if !self.since.is_empty() {
            self.since.remove(&(queue.clone(), position));
        }
    }

    /// The next message whose record is stored, and what has failed since, if that is to be stored too.
    pub(crate) fn next_stored(
        &mut self,
        upto: WriteId,
    ) -> Option<(QueueId, QueuePosition, Option<Attempts>)> {
        let (_, queue, position) = self.in_flight.pop_front_if(|(write, ..)| *write <= upto)?;
        let key = (queue, position);
        let since = self.since.remove(&key).flatten();
        Some((key.0, position, since))
    }

    /// See [`crate::Shard::assert_empty`].
    pub(crate) fn assert_empty(&self) {
        assert!(self.in_flight.is_empty() && self.since.is_empty(), "attempts in flight: {self:?}");
    }
}

/// What a message takes here, or more.
pub(crate) const UNSTORED_ATTEMPTS_BYTES: usize = 160;
