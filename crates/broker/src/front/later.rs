//! Publications to topics whose senders want them delivered later: the core of the publisher keeps them
//! until then, in memory. Durable subscriptions get them at once, and keep them themselves.

use std::{collections::BTreeMap, sync::Arc};

use contract::{Message, Refusal, Reply};

use super::Front;
use crate::{
    output::ShardOutput,
    quota::{Account, Quotas, Usage},
    shard_message::Publisher,
};

/// What waits for its time, charged as if it were in a queue.
#[derive(Debug, Default)]
pub(super) struct Later {
    /// By when it is due, in milliseconds since 1970, and in which order it came.
    messages: BTreeMap<(u64, u64), (Option<Account>, Arc<Message>)>,
    last: u64,
    /// More is due, and for the next turn.
    is_unfinished: bool,
}

impl Later {
    /// Keeps one that is charged for. One that expires before it is due leaves then.
    fn insert(&mut self, due_unix_ms: u64, account: Option<Account>, message: &Arc<Message>) {
        self.last += 1;
        let due = message.header.expires_unix_ms.map_or(due_unix_ms, |at| at.min(due_unix_ms));
        self.messages.insert((due, self.last), (account, Arc::clone(message)));
    }

    /// The first one, if it is due.
    fn first_due(&self, unix_ms: u64) -> Option<Arc<Message>> {
        let (_, (_, message)) =
            self.messages.first_key_value().filter(|((due, _), _)| *due <= unix_ms)?;
        Some(Arc::clone(message))
    }

    fn remove_first(&mut self, quotas: &mut Quotas) {
        if let Some((_, (account, message))) = self.messages.pop_first() {
            quotas.uncharge(account, &message);
        }
    }

    /// See [`crate::Shard::assert_consistent`].
    pub(super) fn add_usage(&self, usage: &mut Usage) {
        self.messages.values().for_each(|(account, message)| usage.add_message(*account, message));
    }

    /// See [`crate::Shard::assert_empty`].
    pub(super) fn assert_empty(&self) {
        assert_eq!(self.messages.len(), 0, "publications that wait for their time");
    }
}

impl Front {
    /// Publishes to a topic, but not before this time.
    pub(super) fn publish_later(
        &mut self,
        publisher: Publisher,
        message: &Arc<Message>,
        due_unix_ms: u64,
        account: Option<Account>,
        output: &mut ShardOutput<'_>,
    ) {
        let queues = self.bound_queues(&message.to);
        let charged = if self.has_room_for(&queues, message, output) {
            output.quotas.charge(account, message)
        } else {
            Err(Refusal::Busy)
        };
        if let Err(refusal) = charged {
            return self.refuse_publisher(publisher, refusal, output);
        }
        self.later.insert(due_unix_ms, account, message);
        if queues.is_empty() {
            self.reply(publisher.connection, publisher.token, Ok(Reply::Done), output);
        } else {
            self.publish_to_bound(publisher, &queues, message, None, output);
        }
    }

    /// As [`Front::fan_out`], of a message of a transaction that was committed, when it is due. One with a
    /// delay is charged for already.
    pub(super) fn fan_out_when_due(
        &mut self,
        message: &Arc<Message>,
        account: Option<Account>,
        output: &mut ShardOutput<'_>,
    ) -> Option<u16> {
        match message.header.due_unix_ms().filter(|&due| due > output.now.unix_ms) {
            None => {
                if message.header.delay_ms > 0 {
                    output.quotas.uncharge(account, message);
                }
                self.fan_out(message, output)
            }
            Some(due) => {
                self.later.insert(due, account, message);
                None
            }
        }
    }

    /// Publishes what is due, some at a time, and while the other cores keep up.
    pub(crate) fn publish_due(&mut self, output: &mut ShardOutput<'_>) {
        self.later.is_unfinished = false;
        let (mut count, mut bytes) = (0, 0);
        while let Some(message) = self.later.first_due(output.now.unix_ms) {
            if count == DUE_MAX || bytes >= DUE_BYTES_MAX {
                self.later.is_unfinished = true;
                break;
            }
            if !self.fan_out_with_room(&message, output) {
                break;
            }
            self.later.remove_first(output.quotas);
            count += 1;
            bytes += message.cost();
        }
    }

    /// Whether more is due, and waits for the next turn only.
    pub(super) const fn has_more_due(&self) -> bool {
        self.later.is_unfinished
    }
}

/// Publications that one turn makes, and where they are large, so that many with one time do not hold up the
/// core, and are written as they come.
const DUE_MAX: usize = 64;
const DUE_BYTES_MAX: usize = 256 << 10;
