//! Dead letters: why a delivery becomes one, and its way to the dead-letter queue.

use std::sync::Arc;

use contract::{
    BrokerLimits, DeadLetter, DeadLetterReason, Destination, Message, Outcome, QueueSettings,
    internal,
};

use super::Home;
use crate::{
    output::ShardOutput,
    queued::{QueueId, QueuedMessage, queued_cost},
    quota::Account,
    record::Record,
    shard_message::ToHome,
    stats::LostDeadLetters,
};

impl Home {
    /// A dead letter never waits and is never refused. It is as durable as it was before: a durable one
    /// enters a full dead-letter queue nevertheless, where what all queues take bounds it, as it did where
    /// it was. For another one the queue drops what would be delivered first, unless that is durable.
    pub(super) fn add_dead_letter(
        &mut self,
        mut message: Arc<Message>,
        is_durable: bool,
        account: Option<Account>,
        output: &mut ShardOutput<'_>,
    ) {
        let Some(id) = QueueId::of(&message.to) else {
            return internal!("a dead letter for a topic");
        };
        let index = self.find_or_make_queue_anyway(id, account, output);
        let Some(queue) = self.queues.get_mut(index) else {
            return internal!("a queue was found and is not there");
        };
        message.share_name(queue.id.name());
        while !is_durable && !queue.has_room(queued_cost(&message), &self.limits) {
            if !queue.evict_first_transient(output) {
                break;
            }
            self.stats.dropped += 1;
            self.stats.dead_letters_dropped += 1;
            let queue = &queue.id;
            let lost = || LostDeadLetters { queue: queue.clone(), count: 0 };
            self.lost.get_or_insert_with(lost).count += 1;
        }
        output.quotas.charge_anyway(account, &message);
        let queued = QueuedMessage::new(message, is_durable, account, self.next_sequence());
        self.enter(index, queued, output);
        self.dispatch_ready(index, output);
    }

    pub(crate) fn take_lost(&mut self, is_due: impl FnOnce() -> bool) -> Option<LostDeadLetters> {
        self.lost.take_if(|_| is_due())
    }

    /// A delivery that the queue still counts leaves it for the dead-letter queue. The store, if it
    /// has the message, has [`Record::DeadLetter`].
    pub(super) fn dead_letter(
        &mut self,
        index: usize,
        queued: QueuedMessage,
        reason: DeadLetterReason,
        output: &mut ShardOutput<'_>,
    ) {
        let Some(queue) = self.queues.get_mut(index) else {
            return internal!("a queue was found and is not there");
        };
        queue.uncount(&queued.message);
        output.quotas.uncharge(queued.account, &queued.message);
        let queue = queue.id.clone();
        self.send_dead_letter(&queue, queued, reason, output);
    }

    pub(super) fn send_dead_letter(
        &mut self,
        queue: &QueueId,
        queued: QueuedMessage,
        reason: DeadLetterReason,
        output: &mut ShardOutput<'_>,
    ) {
        let stored_at = queued.is_durable().then(|| (queue.clone(), queued.position));
        let QueuedMessage { message, account, .. } = queued;
        let to = if queue.is_subscription() {
            message.to.topic_dead_letter_queue()
        } else {
            self.rules.settings(queue.name()).dead_letter_queue(queue.name())
        };
        match to.map(|to| dead_letter(queue, to, message, reason)) {
            Some(message) => {
                self.stats.dead_lettered += 1;
                let home = self.placement.home(&message.to);
                output.send_home(home, ToHome::DeadLetter { message, account, stored_at });
            }
            None => {
                self.stats.dropped += 1;
                if let Some((queue, position)) = stored_at {
                    output.writes.add(Record::Remove(queue, position));
                }
            }
        }
    }
}

/// The message as it goes to the dead-letter queue of its queue, or of the topic of a durable
/// subscription: addressed to it, saying why, and without a time to live.
fn dead_letter(
    queue: &QueueId,
    to: Destination,
    message: Arc<Message>,
    reason: DeadLetterReason,
) -> Arc<Message> {
    let queue = if queue.is_subscription() { &message.to } else { queue.name() };
    let dead_letter = DeadLetter { queue: queue.clone(), reason };
    Arc::new(Arc::unwrap_or_clone(message).into_dead_letter(to, dead_letter))
}

/// Why a delivery with this outcome leaves its queue for the dead-letter queue; `None`: it does not.
pub(super) fn dead_letter_reason(
    outcome: Outcome,
    attempts: u32,
    settings: &QueueSettings,
    limits: &BrokerLimits,
) -> Option<DeadLetterReason> {
    let attempts_max = settings.redelivery.attempts.unwrap_or(limits.deliveries_max);
    match outcome {
        Outcome::Rejected => Some(DeadLetterReason::Rejected),
        Outcome::Failed | Outcome::Undeliverable { failed: true }
            if attempts + 1 >= attempts_max =>
        {
            Some(DeadLetterReason::Failed(attempts + 1))
        }
        Outcome::Accepted | Outcome::Released | Outcome::Failed | Outcome::Undeliverable { .. } => {
            None
        }
    }
}
