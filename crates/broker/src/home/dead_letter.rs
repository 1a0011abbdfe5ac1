use std::sync::Arc;

use contract::{DeadLetter, DeadLetterReason, Message};

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
