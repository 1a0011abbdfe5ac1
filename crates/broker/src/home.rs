use std::{collections::BTreeMap, sync::Arc};

use contract::{
    ConnectionId, Delivery, Destination, DestinationKind, Limits, Message, Now, Outcome, Refusal,
    Settlement, Tag, Token,
};
use slab::Slab;
use wire::Map;

use crate::{
    dead_letter::{self, DeadLetterReason},
    parcel::{Consume, Letter, Post, Subscriber},
    placement,
    queue::{BlockedPublisher, Consumer, Queue, QueuePosition, QueuedMessage},
    stats::{QueueDepth, Stats},
    temporary::TempTopic,
    transaction::Branch,
};

/// The queues and temporary destinations that live on one core, and their consumers on all cores.
#[derive(Debug)]
pub(crate) struct Home {
    cores: u16,
    pub(crate) limits: Arc<Limits>,
    names: Map<Destination, usize>,
    queues: Slab<Queue>,
    pub(crate) consumers: Map<Subscriber, Consumer>,
    pub(crate) temp_topics: Map<Destination, TempTopic>,
    /// By the core that coordinates the transaction, and its number there.
    pub(crate) prepared: BTreeMap<(u16, u64), Branch>,
    sequence: u64,
    tag: u64,
    pub(crate) stats: Stats,
}

impl Home {
    pub(crate) fn new(cores: u16, limits: Arc<Limits>) -> Self {
        Self {
            cores,
            limits,
            names: Map::default(),
            queues: Slab::new(),
            consumers: Map::default(),
            temp_topics: Map::default(),
            prepared: BTreeMap::new(),
            sequence: 0,
            tag: 0,
            stats: Stats::default(),
        }
    }

    pub(crate) fn publish(
        &mut self,
        connection: ConnectionId,
        token: Token,
        message: Arc<Message>,
        now: Now,
        post: &mut Post<'_>,
    ) {
        if message.destination.kind() == DestinationKind::TempTopic {
            let result = self.publish_temp_topic(&message, post);
            return Self::answer(connection, token, result, post);
        }
        let id = match self.enter_queue(&message.destination) {
            Ok(id) => id,
            Err(refusal) => return Self::answer(connection, token, Err(refusal), post),
        };
        let Some(queue) = self.queues.get_mut(id) else { return };
        if queue.takes(&message, &self.limits) {
            self.put_new(id, message, now);
            Self::answer(connection, token, Ok(()), post);
        } else {
            let deadline_ns = now.after(self.limits.publish_timeout);
            if !queue.wait(BlockedPublisher { connection, token, message, deadline_ns }) {
                self.stats.refused_full += 1;
                Self::answer(connection, token, Err(Refusal::Full), post);
            }
        }
        self.pump(id, now, post);
    }

    pub(crate) fn subscribe(&mut self, consume: Consume, now: Now, post: &mut Post<'_>) {
        let Consume { subscriber, token, destination, settlement, credit } = consume;
        let joined = if destination.kind() == DestinationKind::TempTopic {
            self.join_temp_topic(subscriber, &destination).map(|()| None)
        } else {
            self.join_queue(subscriber, &destination, settlement).map(Some)
        };
        let result = joined.map(drop);
        post.send(subscriber.connection.core, Letter::Subscribed { subscriber, token, result });
        if joined.is_ok() {
            self.credit(subscriber, credit, now, post);
        }
    }

    fn join_queue(
        &mut self,
        subscriber: Subscriber,
        destination: &Destination,
        settlement: Settlement,
    ) -> Result<usize, Refusal> {
        if destination.kind().is_temporary() {
            self.check_owner(subscriber.connection, destination)?;
        }
        let id = self.enter_queue(destination)?;
        self.consumers.insert(subscriber, Consumer::new(id, settlement, Tag(self.tag)));
        if let Some(queue) = self.queues.get_mut(id) {
            queue.add_consumer();
        }
        Ok(id)
    }

    /// What the consumer has seen (up to `seen`) and not settled was delivered in vain; the rest
    /// never reached it.
    pub(crate) fn unsubscribe(
        &mut self,
        subscriber: Subscriber,
        destination: &Destination,
        seen: Tag,
        now: Now,
        post: &mut Post<'_>,
    ) {
        self.leave_temp_topic(subscriber, destination);
        let Some(consumer) = self.consumers.remove(&subscriber) else { return };
        let id = consumer.queue;
        if let Some(queue) = self.queues.get_mut(id) {
            queue.remove_consumer(&consumer);
        }
        for (tag, held) in consumer.unsettled {
            let outcome = if tag <= seen { Outcome::Failed } else { Outcome::Released };
            self.conclude(id, held, outcome, post);
        }
        self.pump(id, now, post);
    }

    pub(crate) fn settle(
        &mut self,
        subscriber: Subscriber,
        tag: Tag,
        outcome: Outcome,
        now: Now,
        post: &mut Post<'_>,
    ) {
        let Some(consumer) = self.consumers.get_mut(&subscriber) else { return };
        let Some(held) = consumer.unsettled.remove(&tag) else { return };
        let id = consumer.queue;
        self.conclude(id, held, outcome, post);
        self.enqueue_consumer(subscriber);
        self.pump(id, now, post);
    }

    pub(crate) fn credit(
        &mut self,
        subscriber: Subscriber,
        count: u32,
        now: Now,
        post: &mut Post<'_>,
    ) {
        let Some(consumer) = self.consumers.get_mut(&subscriber) else { return };
        consumer.credit = consumer.credit.saturating_add(count).min(self.limits.prefetch_max);
        let id = consumer.queue;
        self.enqueue_consumer(subscriber);
        self.pump(id, now, post);
    }

    /// A settled delivery did not reach its consumer.
    pub(crate) fn take_back(&mut self, held: QueuedMessage, now: Now, post: &mut Post<'_>) {
        self.stats.queue_settled -= 1;
        let name = &held.message.destination;
        let id = match self.names.get(name) {
            Some(&id) => id,
            None if name.kind().is_temporary() => {
                self.stats.dropped += 1;
                return;
            }
            // Over `queues_max` if need be: it is better than to lose the message.
            None => self.insert_queue(Queue::new(name.clone(), None)),
        };
        if let Some(queue) = self.queues.get_mut(id) {
            queue.put(held);
        }
        self.pump(id, now, post);
    }

    /// A dead letter never waits: what stands first in a full dead-letter queue makes room for it.
    pub(crate) fn dead_letter(&mut self, message: Arc<Message>, now: Now, post: &mut Post<'_>) {
        let Ok(id) = self.enter_queue(&message.destination) else {
            self.stats.dropped += 1;
            return;
        };
        let Some(queue) = self.queues.get_mut(id) else { return };
        while !queue.has_room(message.cost(), &self.limits) {
            self.stats.dropped += 1;
            match queue.pop() {
                Some(oldest) => queue.forget(&oldest.message),
                None => return,
            }
        }
        let held = QueuedMessage { position: self.position(&message), message, deliveries: 0 };
        if let Some(queue) = self.queues.get_mut(id) {
            queue.put(held);
        }
        self.pump(id, now, post);
    }

    /// Drops what has expired and refuses what has waited for too long.
    pub(crate) fn tick(&mut self, now: Now, post: &mut Post<'_>) {
        let due = |queue: &Queue| queue.is_due(now.unix_ms, now.mono_ns);
        let due: Vec<usize> =
            self.queues.iter().filter(|(_, queue)| due(queue)).map(|(id, _)| id).collect();
        for id in due {
            if let Some(queue) = self.queues.get_mut(id) {
                self.stats.expired += queue.expire(now.unix_ms);
            }
            self.pump(id, now, post);
            while let Some(waiting) =
                self.queues.get_mut(id).and_then(|queue| queue.overdue(now.mono_ns))
            {
                self.stats.refused_full += 1;
                Self::answer(waiting.connection, waiting.token, Err(Refusal::Full), post);
            }
            self.pump(id, now, post);
        }
    }

    /// What became of a delivery, which the queue still counts. [`Home::pump`] is to follow.
    pub(crate) fn conclude(
        &mut self,
        id: usize,
        mut held: QueuedMessage,
        outcome: Outcome,
        post: &mut Post<'_>,
    ) {
        let Some(queue) = self.queues.get_mut(id) else { return };
        let reason = match outcome {
            Outcome::Accepted => {
                self.stats.queue_settled += 1;
                return queue.forget(&held.message);
            }
            Outcome::Released => return queue.put_back(held),
            Outcome::Failed if held.deliveries + 1 < self.limits.deliveries_max => {
                held.deliveries += 1;
                return queue.put_back(held);
            }
            Outcome::Failed => DeadLetterReason::Failed(held.deliveries + 1),
            Outcome::Rejected => DeadLetterReason::Rejected,
        };
        queue.forget(&held.message);
        match dead_letter::copy(&held.message, reason) {
            Some(message) => {
                self.stats.dead_lettered += 1;
                let home = placement::home(&message.destination, self.cores);
                post.send(home, Letter::Dead(message));
            }
            None => self.stats.dropped += 1,
        }
    }

    /// Gives what is ready to those who can take it, and the room made so to those who wait;
    /// forgets the queue if nothing is left of it.
    pub(crate) fn pump(&mut self, id: usize, now: Now, post: &mut Post<'_>) {
        loop {
            while self.dispatch(id, now, post) {}
            if !self.admit(id, now, post) {
                break;
            }
        }
        if let Some(queue) = self.queues.get(id)
            && queue.is_idle()
        {
            let name = queue.name.clone();
            self.delete_queue(&name);
        }
    }

    /// Delivers one message. `false` if there is none, or nobody to take it.
    fn dispatch(&mut self, id: usize, now: Now, post: &mut Post<'_>) -> bool {
        let Some(queue) = self.queues.get_mut(id) else { return false };
        self.stats.expired += queue.expire(now.unix_ms);
        let Some(subscriber) = queue.next_consumer() else { return false };
        let Some(consumer) = self.consumers.get_mut(&subscriber) else { return true };
        consumer.dequeued();
        let Some(held) = queue.pop() else { return false };
        consumer.credit -= 1;
        let mut delivery = Delivery {
            message: Arc::clone(&held.message),
            tag: None,
            redeliveries: held.deliveries,
        };
        let position = held.position;
        match consumer.settlement {
            Settlement::Automatic => {
                self.stats.queue_settled += 1;
                queue.forget(&held.message);
            }
            Settlement::Explicit => {
                self.tag += 1;
                delivery.tag = Some(Tag(self.tag));
                consumer.unsettled.insert(Tag(self.tag), held);
            }
        }
        queue.enqueue_consumer(subscriber, consumer, &self.limits);
        post.send(subscriber.connection.core, Letter::Deliver { subscriber, position, delivery });
        true
    }

    /// Lets those in who waited for room. `false` if none came in.
    fn admit(&mut self, id: usize, now: Now, post: &mut Post<'_>) -> bool {
        let mut admitted = false;
        while let Some(waiting) =
            self.queues.get_mut(id).and_then(|queue| queue.admit(&self.limits))
        {
            self.put_new(id, waiting.message, now);
            Self::answer(waiting.connection, waiting.token, Ok(()), post);
            admitted = true;
        }
        admitted
    }

    /// A new message enters a queue that has room.
    pub(crate) fn put_new(&mut self, id: usize, message: Arc<Message>, now: Now) {
        self.stats.queue_published += 1;
        if message.is_expired(now.unix_ms) {
            self.stats.expired += 1;
            return;
        }
        let held = QueuedMessage { position: self.position(&message), message, deliveries: 0 };
        if let Some(queue) = self.queues.get_mut(id) {
            queue.put(held);
        }
    }

    fn position(&mut self, message: &Message) -> QueuePosition {
        self.sequence += 1;
        QueuePosition::new(message.priority, self.sequence)
    }

    fn enqueue_consumer(&mut self, subscriber: Subscriber) {
        if let Some(consumer) = self.consumers.get_mut(&subscriber)
            && let Some(queue) = self.queues.get_mut(consumer.queue)
        {
            queue.enqueue_consumer(subscriber, consumer, &self.limits);
        }
    }

    pub(crate) fn answer(
        connection: ConnectionId,
        token: Token,
        result: Result<(), Refusal>,
        post: &mut Post<'_>,
    ) {
        post.send(connection.core, Letter::Answer { connection, token, result });
    }

    /// The queue with this name; a plain one is made when missing.
    pub(crate) fn enter_queue(&mut self, name: &Destination) -> Result<usize, Refusal> {
        match self.names.get(name) {
            Some(&id) => Ok(id),
            None if name.kind() == DestinationKind::Queue => {
                self.make_queue(Queue::new(name.clone(), None))
            }
            None => Err(Refusal::NotFound),
        }
    }

    pub(crate) fn make_queue(&mut self, queue: Queue) -> Result<usize, Refusal> {
        if self.queues.len() >= self.limits.queues_max {
            return Err(Refusal::Limit);
        }
        Ok(self.insert_queue(queue))
    }

    fn insert_queue(&mut self, queue: Queue) -> usize {
        let name = queue.name.clone();
        let id = self.queues.insert(queue);
        self.names.insert(name, id);
        id
    }

    pub(crate) fn delete_queue(&mut self, name: &Destination) -> Option<Queue> {
        let id = self.names.remove(name)?;
        self.queues.try_remove(id)
    }

    pub(crate) fn queue_id(&self, name: &Destination) -> Option<usize> {
        self.names.get(name).copied()
    }

    pub(crate) fn queue(&self, name: &Destination) -> Option<&Queue> {
        self.queues.get(self.queue_id(name)?)
    }

    pub(crate) fn queue_mut(&mut self, id: usize) -> Option<&mut Queue> {
        self.queues.get_mut(id)
    }

    pub(crate) fn queue_count(&self) -> usize {
        self.queues.len()
    }

    pub(crate) fn depths(&self) -> impl Iterator<Item = QueueDepth<'_>> {
        self.queues.iter().map(|(_, queue)| queue.depth())
    }
}
