use std::sync::Arc;

use contract::{Destination, DestinationKind, Message};

/// Why a message is dead.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DeadLetterReason {
    Rejected,
    /// After so many deliveries.
    Failed(u32),
}

/// The message as it goes to the dead-letter queue of its queue: addressed to it, saying why, and
/// without an end of its worth.
///
/// `None` if it has none: that of a temporary queue, or of a dead-letter queue, or where the name
/// would be too long.
pub(crate) fn copy(message: &Message, reason: DeadLetterReason) -> Option<Arc<Message>> {
    let queue = &message.destination;
    if queue.kind() != DestinationKind::Queue || queue.name().starts_with(PREFIX) {
        return None;
    }
    let prefix = DestinationKind::Queue.prefix();
    let destination = Destination::parse(&format!("{prefix}{PREFIX}{}", queue.name())).ok()?;
    let mut dead = Message { destination, expires_unix_ms: None, ..message.clone() };
    match reason {
        DeadLetterReason::Rejected => dead.properties.push(REASON, "rejected"),
        DeadLetterReason::Failed(deliveries) => {
            dead.properties.push(REASON, &format!("delivered {deliveries} times without success"));
        }
    }
    dead.properties.push("dlq-queue", queue.as_str());
    Some(Arc::new(dead))
}

const PREFIX: &str = "DLQ.";
const REASON: &str = "dlq-reason";
