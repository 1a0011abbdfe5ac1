//! Dead letters: why a delivery becomes one, and its way to the dead-letter queue.

use std::sync::Arc;

use contract::{BrokerLimits, DeadLetter, DeadLetterReason, Message, Outcome, internal};

use super::Home;
use crate::{
    output::ShardOutput,
    queued::{QueueId, QueuePosition, QueuedMessage, queued_cost},
    quota::Account,
    record::Record,
    shard_message::ToHome,
};

impl Home {
    /// A dead letter never waits and is never refused: for it a full dead-letter queue drops what would
    /// be delivered first.
    pub(super) fn add_dead_letter(
        &mut self,
        mut message: Arc<Message>,
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
        while !queue.has_room(queued_cost(&message), &self.limits) {
            let Some(evicted) = queue.pop() else { break };
            self.stats.dropped += 1;
            queue.remove(&evicted, output);
        }
        output.quotas.charge_anyway(account, &message);
        let queued = QueuedMessage::new(message, account, self.next_sequence());
        self.enter(index, queued, output);
        self.dispatch_ready(index, output);
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
        let QueuedMessage { position, message, account, .. } = queued;
        let queue = queue.id.clone();
        self.send_dead_letter(&queue, position, message, account, reason, output);
    }

    pub(super) fn send_dead_letter(
        &mut self,
        queue: &QueueId,
        position: QueuePosition,
        message: Arc<Message>,
        account: Option<Account>,
        reason: DeadLetterReason,
        output: &mut ShardOutput<'_>,
    ) {
        let stored_at = queue.is_durable(&message).then(|| (queue.clone(), position));
        match dead_letter(queue, message, reason) {
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
/// subscription: addressed to it, saying why, and
/// without a time to live. `None` if there is no such queue.
fn dead_letter(
    queue: &QueueId,
    message: Arc<Message>,
    reason: DeadLetterReason,
) -> Option<Arc<Message>> {
    let (queue, to) = if queue.is_subscription() {
        (message.to.clone(), message.to.topic_dead_letter_queue()?)
    } else {
        (queue.name().clone(), queue.name().dead_letter_queue()?)
    };
    let dead_letter = DeadLetter { queue, reason };
    Some(Arc::new(Arc::unwrap_or_clone(message).into_dead_letter(to, dead_letter)))
}

/// Why a delivery with this outcome leaves its queue for the dead-letter queue; `None`: it does not.
pub(super) fn dead_letter_reason(
    outcome: Outcome,
    attempts: u32,
    limits: &BrokerLimits,
) -> Option<DeadLetterReason> {
    match outcome {
        Outcome::Rejected => Some(DeadLetterReason::Rejected),
        Outcome::Failed if attempts + 1 >= limits.deliveries_max => {
            Some(DeadLetterReason::Failed(attempts + 1))
        }
        Outcome::Accepted | Outcome::Released | Outcome::Failed => None,
    }
}
