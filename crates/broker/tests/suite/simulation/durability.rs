//! What the store must have when something is confirmed or delivered.

use contract::{Message, Outcome, Settle, Tag};

use super::{
    Simulation,
    model::{Arrival, CommandId},
};

/// What a command, once it is confirmed, has done to the store.
#[derive(Debug)]
pub(super) enum Promise {
    /// A message has entered a queue, unless it has expired.
    Entered { queue: String, message: u128, expires_unix_ms: Option<u64> },
    /// A message has left a queue.
    Left { queue: String, message: u128 },
}

impl Simulation {
    /// A command publishes a message.
    pub(super) fn promise_entry(&mut self, command: CommandId, message: &Message) {
        let queue = message.to.to_string();
        if message.header.durable && is_kept(&queue) {
            let (message, expires_unix_ms) = (message.id, message.header.expires_unix_ms);
            let promise = Promise::Entered { queue, message, expires_unix_ms };
            self.promises.entry(command).or_default().push(promise);
        }
    }

    /// A command settles what a subscription has, as the model knows it before; `earlier` ones of the
    /// same transaction come first.
    pub(super) fn promise_removal(
        &mut self,
        command: CommandId,
        earlier: &[Settle],
        settle: &Settle,
    ) {
        let client = &self.model.clients[&command.0];
        let Some(subscription) = client.subscriptions.get(&settle.subscription) else { return };
        if settle.outcome == Outcome::Accepted && is_kept(&subscription.pattern) {
            let is_settled = |tag: &Tag| {
                earlier.iter().any(|earlier| {
                    earlier.subscription == settle.subscription && earlier.tags.contains(tag)
                })
            };
            let deliveries = subscription.unsettled.range(settle.tags.clone());
            let messages = deliveries.filter(|(tag, _)| !is_settled(tag)).map(|(_, &id)| id);
            let queue = &subscription.pattern;
            let promises = messages.map(|message| Promise::Left { queue: queue.clone(), message });
            self.promises.entry(command).or_default().extend(promises);
        }
    }

    /// A command was carried out, or refused.
    pub(super) fn check_promises(&mut self, command: CommandId, is_done: bool) {
        let promises = self.promises.remove(&command).unwrap_or_default();
        for promise in promises.iter().filter(|_| is_done) {
            let is_kept = match promise {
                &Promise::Entered { ref queue, message, expires_unix_ms } => {
                    self.world.disk.has_entered(queue, message)
                        || expires_unix_ms.is_some_and(|ms| ms <= self.latest_unix_ms)
                }
                Promise::Left { queue, message } => {
                    !self.world.disk.queues_of(*message).contains(queue)
                }
            };
            assert!(is_kept, "{command:?} is confirmed, but {promise:?} is not stored");
        }
    }

    /// A message comes from the queue of a subscription.
    pub(super) fn check_is_stored(&self, queue: &str, arrival: &Arrival) {
        let is_stored = self.world.disk.has_entered(queue, arrival.id);
        assert!(is_stored, "message {} comes from {queue} and is not stored", arrival.id);
    }

    /// Everything is stored: what the store keeps is what the queues hold.
    pub(super) fn check_disk(&self, queue: &str, messages: usize) {
        let stored = self.world.disk.count(queue);
        let all_are_durable = self.schedule.durable_in == 1;
        assert!(
            if all_are_durable { stored == messages } else { stored <= messages },
            "{queue} holds {messages} messages, the store {stored}"
        );
    }
}

/// Whether the durable messages of a queue are stored.
pub(super) fn is_kept(queue: &str) -> bool {
    queue.starts_with("/queue/")
}
