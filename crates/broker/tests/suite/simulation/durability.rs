//! What the store must have when something is confirmed or delivered.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use broker::{Event, QueueId, QueuePosition, Restored, Shard, Subscriber};
use contract::{
    Command, ConnectionId, Credit, Destination, DestinationKind, Group, Message,
    Outcome as Settled, Pattern, Settle, Subscribe, SubscriptionId, Tag, Token, Value,
};

use super::{
    Simulation,
    model::{self, Arrival, BOUND, CommandId},
    schedule::DELAY_MAX_MS,
};
use crate::world::{Limits, Outcome, World};

/// What a command, once it is confirmed, has done to the store.
#[derive(Debug)]
pub(super) enum Promise {
    /// A message has entered a queue, unless it has expired.
    Entered {
        queue: String,
        message: u128,
        expires_unix_ms: Option<u64>,
        /// How often the queue, that of a subscription, may have been deleted before.
        deletions: u64,
    },
    /// A message is not delivered from a queue any more.
    Left { queue: String, message: u128 },
}

impl Simulation {
    /// Whether a queue keeps a message: as its sender wishes, or else as is said of the queue that it
    /// entered first.
    pub(super) fn is_durable(&self, queue: &str, message: &Message) -> bool {
        if !is_kept(queue) {
            return false;
        }
        if model::bound(queue).is_some() {
            return message.header.durable == Some(true);
        }
        let first = message.dead_letter().map(|dead| dead.queue.clone());
        let first = first.unwrap_or_else(|| Destination::parse(queue).unwrap());
        let settings = self.schedule.limits.rules.settings(&first);
        message.header.durable.unwrap_or(settings.is_durable)
    }

    /// A command publishes a message.
    pub(super) fn promise_entry(&mut self, command: CommandId, message: &Message) {
        let queue = message.to.to_string();
        if self.is_durable(&queue, message) {
            let (message, expires_unix_ms) = (message.id, message.header.expires_unix_ms);
            let promise = Promise::Entered { queue, message, expires_unix_ms, deletions: 0 };
            self.promises.entry(command).or_default().push(promise);
            return;
        }
        if message.to.kind() != DestinationKind::Topic || message.header.durable != Some(true) {
            return;
        }
        let key = match message.property("key") {
            Some(Value::String(key)) => Some(key),
            _ => None,
        };
        let priority = message.header.priority;
        let keepers: Vec<_> = self.model.keepers(command.0, &queue, priority, key).collect();
        let promises = keepers.into_iter().map(|(name, deletions)| Promise::Entered {
            queue: name.to_owned(),
            message: message.id,
            expires_unix_ms: message.header.expires_unix_ms,
            deletions,
        });
        self.promises.entry(command).or_default().extend(promises);
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
        if matches!(settle.outcome, Settled::Accepted | Settled::Rejected)
            && is_kept(&subscription.pattern)
        {
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
                &Promise::Entered { ref queue, message, expires_unix_ms, deletions } => {
                    self.world.disk.has_entered(queue, message)
                        || self.model.deletions(queue) != deletions
                        || expires_unix_ms.is_some_and(|ms| ms <= self.latest_unix_ms)
                }
                Promise::Left { queue, message } => !self.world.disk.delivers(queue, *message),
            };
            assert!(is_kept, "{command:?} is confirmed, but {promise:?} is not stored");
        }
    }

    /// A message comes from the queue of a subscription.
    pub(super) fn check_is_stored(&self, queue: &str, arrival: &Arrival) {
        let is_stored = self.world.disk.has_entered(queue, arrival.id);
        assert!(is_stored, "message {} comes from {queue} and is not stored", arrival.id);
    }

    /// Were the process to end now, another one would deliver all that is stored once, in the order
    /// of its queues, and dead letters from where they were to go.
    pub(super) fn check_restart(&mut self) {
        // When all is due that waits, also what came before the clock was set back.
        let mut now = self.world.now;
        now.unix_ms = now.unix_ms.max(self.latest_unix_ms) + DELAY_MAX_MS;
        let cores = 1 + u16::try_from(self.random.below(4)).unwrap();
        let next = self.world.store.as_mut().map(|store| store.next(cores));
        let (store, found) = next.unzip();
        if let Some(found) = &found {
            assert_eq!(self.world.disk.differences(found), [""; 0], "the store and the map");
        }
        let disk = found.as_ref().unwrap_or(&self.world.disk);
        let restored: Vec<Restored> = disk.restored().collect();
        let mut expected: BTreeMap<String, BTreeSet<u128>> = BTreeMap::new();
        for Restored { queue, message, dead_letter, .. } in &restored {
            // What a transaction brought to one that was deleted meanwhile goes with the restart.
            if queue.is_subscription() && !self.world.disk.bindings.contains_key(queue) {
                continue;
            }
            let queue = match dead_letter {
                Some(_) => queue.name().dead_letter_queue().map(|queue| queue.to_string()),
                None => Some(queue.to_string()),
            };
            // A dead letter does not expire.
            let expires = dead_letter.is_none() && message.is_expired(now.unix_ms);
            if let Some(queue) = queue.filter(|_| !expires) {
                let is_new = expected.entry(queue).or_default().insert(message.id);
                assert!(is_new, "message {} is stored twice", message.id);
            }
        }
        let resident_bytes_max = self.random.pick(&[None, Some(64), Some(64 * 1500)]);
        let mut world = World::new(cores, Limits { resident_bytes_max, ..Limits::default() });
        world.now = now;
        for bound in self.model.certain() {
            let id = QueueId::of_subscription(&bound.durable_name());
            assert!(self.world.disk.bindings.contains_key(&id), "{} is not stored", bound.name);
        }
        world.store = store;
        world.restore(disk);
        world.time_out();
        world.carry_all();
        for (slot, (queue, messages)) in (0..).step_by(3).zip(expected) {
            let is_bound = model::bound(&queue).is_some();
            let readers =
                if is_bound { 1 } else { 1 + u32::try_from(self.random.below(3)).unwrap() };
            let readers =
                (slot..slot + readers).map(|slot| ConnectionId { core: 0, slot, generation: 0 });
            // The first one has what is ready before there is another, if it may take it.
            let first_credit = self.random.pick(&[1, 3, u32::MAX]);
            for connection in readers.clone() {
                let plain = || Subscribe::new(SubscriptionId(0), Pattern::parse(&queue).unwrap());
                let subscribe = match model::bound(&queue) {
                    Some(bound) => bound.subscribe(SubscriptionId(0)),
                    None => plain(),
                };
                let is_first = readers.len() > 1 && connection.slot == slot;
                let credit = Some(if is_first { first_credit } else { u32::MAX });
                let subscribe = Subscribe { credit, ..subscribe };
                let command = Command::Subscribe(Box::new(subscribe));
                world.apply(0, Event::Command(connection, Token(0), command, None));
                world.carry_all();
            }
            let first = readers.clone().next().unwrap();
            let credit = Credit::Set(u32::MAX);
            world.apply(0, Event::Credit(first, SubscriptionId(0), credit));
            world.carry_all();
            let mut delivered = BTreeSet::new();
            let mut previous: BTreeMap<Option<u16>, QueuePosition> = BTreeMap::new();
            let mut owners: BTreeMap<u16, Subscriber> = BTreeMap::new();
            for outcome in mem::take(&mut world.outcomes) {
                let Outcome::Delivered(subscriber, delivery) = outcome else { continue };
                let Message { id, annotation, header, .. } = &*delivery.message;
                assert!(delivered.insert(*id), "message {id} is delivered twice after a restart");
                if annotation.is_none() {
                    let failed = self.world.disk.attempts(&queue, *id).unwrap();
                    assert_eq!(delivery.redeliveries, failed.max(1), "{delivery:?}");
                }
                if let Some(group) = header.group {
                    let owner = *owners.entry(group.bucket()).or_insert(subscriber);
                    assert_eq!(owner, subscriber, "{group:?} of {queue} is another's");
                    if group.closes() {
                        owners.remove(&group.bucket());
                    }
                }
                // Those that became dead letters with the restart come behind.
                if annotation.is_none() {
                    let position = restored
                        .iter()
                        .find(|r| r.message.id == *id && r.queue.to_string() == queue)
                        .unwrap()
                        .position;
                    // One of a group may be kept back, and others pass.
                    let previous = previous.insert(header.group.map(Group::bucket), position);
                    assert!(previous < Some(position), "the order of {queue} after a restart");
                }
            }
            assert_eq!(delivered, messages, "{queue} after a restart");
            for connection in readers {
                world.apply(0, Event::Gone(connection));
                world.carry_all();
            }
        }
        let connection = ConnectionId { core: 0, slot: u32::MAX, generation: 0 };
        for (token, bound) in (0..).map(Token).zip(BOUND.iter().filter(|bound| bound.lasts)) {
            let command = Command::Delete(bound.durable_name());
            world.apply(0, Event::Command(connection, token, command, None));
            world.carry_all();
        }
        world.apply(0, Event::Gone(connection));
        world.carry_all();
        world.shards.iter().for_each(Shard::assert_empty);
        world.assert_nothing_is_stored();
    }

    /// Everything is stored: the store knows how many attempts to deliver each durable message have failed,
    /// or fewer where so much was in flight that it was not told.
    pub(super) fn check_attempts(&self) {
        for (queue, message, attempts) in self.model.attempts() {
            if let Some(stored) =
                self.world.disk.attempts(queue, message).filter(|_| is_kept(queue))
            {
                let is_known =
                    stored == attempts || (self.schedule.rules.is_heavy && stored < attempts);
                assert!(is_known, "{stored} of {attempts} to deliver {message} of {queue}");
            }
        }
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
    queue.starts_with("/queue/") || model::bound(queue).is_some_and(|bound| bound.lasts)
}
