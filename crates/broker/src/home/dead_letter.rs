use std::sync::Arc;

use contract::{BrokerLimits, DeadLetter, DeadLetterReason, Message, Outcome};

use crate::queued::QueueId;

/// The message as it goes to the dead-letter queue of its queue: addressed to it, saying why, and
/// without a time to live. `None` if there is no such queue.
pub(super) fn dead_letter(
    queue: &QueueId,
    message: Arc<Message>,
    reason: DeadLetterReason,
) -> Option<Arc<Message>> {
    let queue = queue.name();
    let to = queue.dead_letter_queue()?;
    let dead_letter = DeadLetter { queue: queue.clone(), reason };
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
