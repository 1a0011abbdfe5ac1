use std::sync::Arc;

use contract::{DeadLetter, DeadLetterReason, Destination, DestinationKind, Header, Message};

use crate::queued::QueueId;

/// The message as it goes to the dead-letter queue of its queue: addressed to it, saying why, and
/// without a time to live.
///
/// `None` if there is no such queue: for a temporary queue, for a dead-letter queue, or where the
/// name would be too long.
pub(super) fn dead_letter(
    queue: &QueueId,
    message: &Message,
    reason: DeadLetterReason,
) -> Option<Arc<Message>> {
    let name = queue.name();
    if queue.is_temporary() || name.name().starts_with(PREFIX) {
        return None;
    }
    let prefix = DestinationKind::Queue.prefix();
    let to = Destination::parse(&format!("{prefix}{PREFIX}{}", name.name())).ok()?;
    Some(Arc::new(Message {
        to,
        header: Header { expires_unix_ms: None, ..message.header },
        dead_letter: Some(Box::new(DeadLetter { queue: name.clone(), reason })),
        ..message.clone()
    }))
}

const PREFIX: &str = "DLQ.";
