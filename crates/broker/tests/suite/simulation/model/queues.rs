//! What the model knows of the messages in queues: who has each one, and what may become of it.

use std::collections::{BTreeMap, BTreeSet};

use broker::Subscriber;
use contract::{
    ConnectionId, DeadLetterReason, Destination, Group, Outcome, QueueRules, QueueSettings, Tag,
};

use super::{Arrival, CommandId, Sent};
use crate::world::Limits;

/// All queues that were ever named.
#[derive(Debug)]
pub(super) struct Queues {
    queues: BTreeMap<String, Queue>,
    /// Attempts to deliver a message before it is dead.
    deliveries_max: u32,
    rules: QueueRules,
    /// Those of durable and shared subscriptions.
    settings_of_bound: QueueSettings,
    /// On the monotonic clock, when the last event came.
    pub(super) now_ns: u64,
    /// Whether dead-letter queues never fill.
    are_roomy: bool,
    /// Grows at each rest, when all that was in flight has arrived.
    epoch: u64,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) messages: BTreeMap<u128, Queued>,
    /// Messages that are done with, one way or another.
    left: BTreeSet<u128>,
    /// The epoch in which messages that no client has seen may have returned last, out of order.
    disturbed: Option<u64>,
    /// It was temporary, and its owner has gone.
    is_deleted: bool,
}

/// A message that is in a queue, or may be.
#[derive(Clone, Debug)]
pub(super) struct Queued {
    pub(super) sent: Sent,
    /// The command that published it; a dead letter has none.
    pub(super) command: Option<CommandId>,
    /// It may go at any time: its queue may not be there.
    is_optional: bool,
    /// The broker has said or shown that it took the message, and may not lose it.
    pub(super) is_certain: bool,
    /// Why it is dead, and the queue where that happened.
    dead: Option<(String, DeadLetterReason)>,
    pub(super) attempts: u32,
    was_delivered: bool,
    /// It is not delivered before, on the monotonic clock.
    due_ns: u64,
    pub(super) custody: Custody,
    epoch: u64,
}

/// Who has a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Custody {
    /// The queue has it, ready or on its way to a consumer.
    Queue,
    /// A consumer has it.
    Consumer,
    /// A consumer has settled it in a transaction of which nothing has been heard.
    Settling(Settling),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Settling {
    pub(super) command: CommandId,
    pub(super) holder: Holder,
    pub(super) tag: Tag,
    pub(super) outcome: Outcome,
}

/// One of the subscriptions that had the same name one after the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Holder {
    pub(super) subscriber: Subscriber,
    pub(super) serial: u64,
}

/// How many messages a queue must hold at least and may hold at most.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Census {
    pub(super) ready_min: usize,
    pub(super) ready_max: usize,
    pub(super) unsettled_min: usize,
    pub(super) unsettled_max: usize,
    pub(super) bytes_max: usize,
}

impl Queued {
    /// Whether it is ready and always was.
    fn stays(&self) -> bool {
        let was_ready = self.sent.delay_ms == 0;
        self.custody == Custody::Queue && self.is_certain && !self.was_delivered && was_ready
    }
}

impl Queues {
    pub(super) fn new(limits: &Limits, are_roomy: bool) -> Self {
        Self {
            queues: BTreeMap::new(),
            deliveries_max: limits.broker.deliveries_max,
            rules: limits.rules.clone(),
            settings_of_bound: QueueSettings::default(),
            now_ns: 0,
            are_roomy,
            epoch: 0,
        }
    }

    fn settings(&self, name: &str) -> &QueueSettings {
        match Destination::parse(name) {
            Ok(queue) => self.rules.settings(&queue),
            Err(_) => &self.settings_of_bound,
        }
    }

    /// Attempts to deliver a message of this queue before it is dead.
    pub(super) fn attempts_max(&self, name: &str) -> u32 {
        self.settings(name).redelivery.attempts.unwrap_or(self.deliveries_max)
    }

    /// Where the dead letters of a queue go; those of others are lost.
    pub(super) fn dead_letter_queue(&self, name: &str) -> Option<String> {
        let queue = Destination::parse(name).ok()?;
        self.settings(name).dead_letter_queue(&queue).map(|queue| queue.to_string())
    }

    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.queues.keys().cloned()
    }

    pub(super) fn get(&self, queue: &str, id: u128) -> Option<&Queued> {
        self.queues.get(queue)?.messages.get(&id)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&String, u128, &Queued)> {
        self.queues
            .iter()
            .flat_map(|(name, queue)| queue.messages.iter().map(move |(&id, q)| (name, id, q)))
    }

    const fn due_ns(&self, delay_ms: u64) -> u64 {
        if delay_ms == 0 { 0 } else { self.now_ns + delay_ms * NS_PER_MS }
    }

    /// A message was sent; whether the queue takes it is to be heard.
    pub(super) fn publish(&mut self, sent: Sent, command: CommandId, is_optional: bool) {
        let queued = Queued {
            command: Some(command),
            is_optional,
            is_certain: false,
            dead: None,
            attempts: 0,
            was_delivered: false,
            due_ns: self.due_ns(sent.delay_ms.into()),
            custody: Custody::Queue,
            epoch: self.epoch,
            sent,
        };
        self.queue(&queued.sent.to.clone()).messages.insert(queued.sent.id, queued);
    }

    /// The queue has taken a message. It may have left already, or its queue.
    pub(super) fn confirm(&mut self, queue: &str, id: u128) {
        let keeps = self.keeps(queue);
        if let Some(queued) = self.queue(queue).messages.get_mut(&id) {
            queued.is_certain = keeps && !queued.is_optional;
        }
    }

    /// What is in a queue, or what this connection has published to it, may go or not have come.
    pub(super) fn loosen(&mut self, name: &str, publisher: Option<ConnectionId>) {
        let is_of = |queued: &Queued| {
            let own = queued.command.map(|(connection, _)| connection);
            publisher.is_none() || own == publisher
        };
        for queued in self.queue(name).messages.values_mut().filter(|queued| is_of(queued)) {
            (queued.is_optional, queued.is_certain) = (true, false);
        }
    }

    /// The queue has not taken a message, and must not deliver it.
    pub(super) fn refuse(&mut self, queue: &str, id: u128) {
        let queue = self.queue(queue);
        queue.messages.remove(&id);
        let is_new = queue.left.insert(id);
        assert!(is_new || queue.is_deleted, "message {id} was refused and is done with");
    }

    /// A consumer gets a message. Its command, and the transaction that settled it before, are
    /// decided.
    pub(super) fn deliver(&mut self, name: &str, arrival: &Arrival) -> &Queued {
        let id = arrival.id;
        let (keeps, now_ns) = (self.keeps(name), self.now_ns);
        let queue = self.queues.entry(name.to_owned()).or_default();
        assert!(!queue.left.contains(&id), "message {id} was done with in {name}");
        let Some(queued) = queue.messages.get_mut(&id) else {
            panic!("message {id} was never in {name}");
        };
        assert_eq!(queued.custody, Custody::Queue, "message {id} is in other hands");
        assert_eq!(queued.attempts, arrival.redeliveries, "redeliveries of message {id}");
        assert_eq!(queued.dead, arrival.dead, "message {id} is a dead letter, or not");
        assert_eq!(queued.sent.priority, arrival.priority, "priority of message {id}");
        assert!(!queued.sent.has_expired(arrival.left_unix_ms), "message {id} had expired");
        assert!(queued.due_ns <= now_ns, "message {id} is delivered too early");
        queued.is_certain = keeps && !queued.is_optional;
        queued.custody = Custody::Consumer;
        queued
    }

    /// A consumer that browses is shown a message, which may have left since.
    pub(super) fn show(&self, name: &str, arrival: &Arrival) {
        let id = arrival.id;
        let queue = self.queues.get(name);
        let queued = queue.and_then(|queue| queue.messages.get(&id));
        let has_left = queue.is_some_and(|queue| queue.left.contains(&id));
        assert!(queued.is_some() || has_left, "message {id} was never in {name}");
        if let Some(queued) = queued {
            let is_settling = matches!(queued.custody, Custody::Settling(_));
            let attempts_max = queued.attempts + u32::from(is_settling);
            assert!(arrival.redeliveries <= attempts_max, "redeliveries of message {id}");
            assert_eq!(queued.dead, arrival.dead, "message {id} is a dead letter, or not");
            assert!(!queued.sent.has_expired(arrival.left_unix_ms), "message {id} had expired");
        }
    }

    /// Messages that were ready at the last rest, and have been since as far as anybody knows.
    pub(super) fn ready_since_rest(&self, name: &str) -> Vec<u128> {
        let messages = self.queues.get(name).into_iter().flat_map(|queue| &queue.messages);
        messages.filter(|(_, q)| q.epoch < self.epoch && q.stays()).map(|(&id, _)| id).collect()
    }

    /// Whether a message has not moved since this epoch.
    pub(super) fn stayed(&self, name: &str, id: u128, epoch: u64, unix_ms: u64) -> bool {
        self.queues.get(name).is_some_and(|queue| {
            let is_disturbed = queue.disturbed.is_some_and(|disturbed| disturbed >= epoch);
            let queued = queue.messages.get(&id);
            let stays = queued.is_some_and(|q| q.stays() && !q.sent.has_expired(unix_ms));
            stays && !is_disturbed
        })
    }

    pub(super) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether a message that comes behind later ones of its producer may do so: it was elsewhere
    /// when they left.
    pub(super) fn may_be_late(&self, name: &str, id: u128) -> bool {
        self.queues.get(name).is_none_or(|queue| {
            queue.messages.get(&id).is_none_or(|queued| {
                let was_elsewhere = queued.was_delivered || queued.sent.delay_ms > 0;
                was_elsewhere || queue.disturbed.is_some_and(|epoch| epoch >= queued.epoch)
            })
        })
    }

    /// What became of a message that a consumer had.
    pub(super) fn conclude(&mut self, name: &str, id: u128, outcome: Outcome) {
        let (attempts_max, now_ns) = (self.attempts_max(name), self.now_ns);
        let redelivery = self.settings(name).redelivery;
        let queue = self.queue(name);
        let Some(queued) = queue.messages.get_mut(&id) else { return };
        // Of a transaction it is heard later than it was carried out.
        let was_decided_before = matches!(queued.custody, Custody::Settling(_));
        queued.custody = Custody::Queue;
        queued.was_delivered = true;
        queued.attempts += u32::from(outcome.is_failed());
        if outcome.is_failed() {
            queued.due_ns = match redelivery.wait_ms(queued.attempts) {
                0 => 0,
                _ if was_decided_before => 1,
                wait_ms => now_ns + wait_ms * NS_PER_MS,
            };
        }
        let reason = match outcome {
            Outcome::Accepted => return self.leave(name, id),
            Outcome::Rejected => DeadLetterReason::Rejected,
            _ if outcome.is_failed() && queued.attempts >= attempts_max => {
                DeadLetterReason::Failed(queued.attempts)
            }
            Outcome::Failed | Outcome::Released | Outcome::Undeliverable { .. } => return,
        };
        let dead = queued.clone();
        self.leave(name, id);
        self.dead_letter(name, &dead, reason);
    }

    pub(super) fn set_custody(&mut self, name: &str, id: u128, custody: Custody) {
        if let Some(queued) = self.queue(name).messages.get_mut(&id) {
            queued.custody = custody;
        }
    }

    /// The message is in no queue any more.
    pub(super) fn leave(&mut self, name: &str, id: u128) {
        let queue = self.queue(name);
        queue.messages.remove(&id);
        assert!(queue.left.insert(id), "message {id} is done with twice");
    }

    /// A consumer of the queue ends: what was in flight to it returns, unseen.
    pub(super) fn disturb(&mut self, name: &str) {
        let epoch = self.epoch;
        self.queue(name).disturbed = Some(epoch);
    }

    /// The owner of a temporary queue has gone.
    pub(super) fn delete(&mut self, name: &str) {
        let queue = self.queue(name);
        queue.is_deleted = true;
        queue.left.extend(std::mem::take(&mut queue.messages).into_keys());
    }

    /// All that was in flight has arrived.
    pub(super) const fn rest(&mut self) {
        self.epoch += 1;
    }

    /// Whether a message of a group waits to be delivered again, or may, and holds the others up.
    pub(super) fn holds_group(&self, name: &str, group: Group) -> bool {
        let messages = self.queues.get(name).into_iter().flat_map(|queue| queue.messages.values());
        let mut failed = messages.filter(|queued| match queued.custody {
            Custody::Queue => queued.due_ns > 0 && queued.attempts > 0,
            Custody::Consumer => false,
            // Rolled back, it may have failed with its consumer.
            Custody::Settling(_) => true,
        });
        failed.any(|queued| queued.sent.group.is_some_and(|one| one.bucket() == group.bucket()))
    }

    /// The messages that are ready in it for certain.
    pub(super) fn ready(&self, name: &str, unix_ms: u64) -> impl Iterator<Item = &Sent> {
        let messages = self.queues.get(name).into_iter().flat_map(|queue| queue.messages.values());
        let is_ready = move |queued: &&Queued| {
            queued.custody == Custody::Queue
                && queued.is_certain
                // That it comes at all, the end of a run shows.
                && queued.due_ns == 0
                && !queued.sent.has_expired(unix_ms)
        };
        messages.filter(is_ready).map(|queued| &queued.sent)
    }

    pub(super) fn census(&self, name: &str, unix_ms: u64) -> Census {
        let mut census = Census::default();
        for queued in self.queues.get(name).iter().flat_map(|queue| queue.messages.values()) {
            let counts = usize::from(queued.is_certain && !queued.sent.has_expired(unix_ms));
            match queued.custody {
                Custody::Queue => {
                    census.ready_min += counts;
                    census.ready_max += 1;
                }
                Custody::Consumer => {
                    census.unsettled_min += 1;
                    census.unsettled_max += 1;
                }
                // Rolled back it is unsettled, or ready; committed it has left, or is ready.
                Custody::Settling(_) => {
                    census.ready_max += 1;
                    census.unsettled_max += 1;
                }
            }
            census.bytes_max += queued.sent.cost;
        }
        let may_be_dead = self.all().filter(|(queue, _, queued)| {
            matches!(queued.custody, Custody::Settling(_))
                && self.dead_letter_queue(queue).as_deref() == Some(name)
        });
        for (.., queued) in may_be_dead {
            census.ready_max += 1;
            census.unsettled_max += 1;
            census.bytes_max += queued.sent.cost;
        }
        census
    }

    fn dead_letter(&mut self, name: &str, queued: &Queued, reason: DeadLetterReason) {
        let Some(to) = self.dead_letter_queue(name) else { return };
        let dead = Queued {
            sent: Sent {
                to: to.clone(),
                expires_unix_ms: None,
                delay_ms: 0,
                ..queued.sent.clone()
            },
            command: None,
            is_optional: false,
            is_certain: self.keeps(&to),
            dead: Some((name.to_owned(), reason)),
            attempts: 0,
            was_delivered: false,
            due_ns: 0,
            custody: Custody::Queue,
            epoch: self.epoch,
        };
        let queue = self.queue(&to);
        assert!(!queue.left.contains(&dead.sent.id), "message {} is dead twice", dead.sent.id);
        queue.messages.insert(dead.sent.id, dead);
    }

    /// Whether a queue loses nothing: a dead-letter queue that is full drops its first message for
    /// a new one, and may not be made where there are too many queues.
    pub(super) fn keeps(&self, name: &str) -> bool {
        let is_deleted = self.queues.get(name).is_some_and(|queue| queue.is_deleted);
        !is_deleted && (self.are_roomy || !name.starts_with(DEAD_LETTER_PREFIX))
    }

    fn queue(&mut self, name: &str) -> &mut Queue {
        self.queues.entry(name.to_owned()).or_default()
    }
}

const DEAD_LETTER_PREFIX: &str = "/queue/DLQ.";
const NS_PER_MS: u64 = 1_000_000;
