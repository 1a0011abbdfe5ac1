use std::{iter, sync::Arc};

use contract::{DeadLetter, DeadLetterReason, Destination, DestinationKind, Message};

use crate::queued::QueueId;

/// The message as it goes to the dead-letter queue of its queue: addressed to it, saying why, and
/// without a time to live.
///
/// `None` if there is no such queue: for a temporary queue, for a dead-letter queue, or where the
/// name would be too long.
pub(super) fn dead_letter(
    queue: &QueueId,
    message: Arc<Message>,
    reason: DeadLetterReason,
) -> Option<Arc<Message>> {
    let name = queue.name();
    let mut levels = name.levels();
    if queue.is_temporary() || (levels.next() == Some(LEVEL) && levels.next().is_some()) {
        return None;
    }
    let levels = iter::once(LEVEL).chain(name.levels());
    let to = Destination::new(DestinationKind::Queue, levels).ok()?;
    let dead_letter = DeadLetter { queue: name.clone(), reason };
    Some(Arc::new(Arc::unwrap_or_clone(message).into_dead_letter(to, dead_letter)))
}

/// The level before those of the queue.
const LEVEL: &str = "DLQ";
