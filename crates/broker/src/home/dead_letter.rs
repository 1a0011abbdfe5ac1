use std::sync::Arc;

use contract::{Destination, DestinationKind, Message};

use crate::queued::QueueId;

/// Why a message is dead-lettered.
#[derive(Clone, Copy, Debug)]
pub(super) enum DeadLetterReason {
    Rejected,
    /// After so many failed attempts.
    Failed(u32),
}

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
    let destination = Destination::parse(&format!("{prefix}{PREFIX}{}", name.name())).ok()?;
    let mut dead = Message { destination, expires_unix_ms: None, ..message.clone() };
    match reason {
        DeadLetterReason::Rejected => dead.properties.push(REASON, "rejected"),
        DeadLetterReason::Failed(deliveries) => {
            dead.properties.push(REASON, &format!("delivered {deliveries} times without success"));
        }
    }
    dead.properties.push("dlq-queue", name.as_str());
    Some(Arc::new(dead))
}

const PREFIX: &str = "DLQ.";
const REASON: &str = "dlq-reason";
