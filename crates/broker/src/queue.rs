use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use contract::{ConnectionId, Destination, Limits, Message, Settlement, Tag, Token};

use crate::{parcel::Subscriber, stats::QueueDepth};

/// The messages of one queue, those that would like to enter it, and whose turn it is.
///
/// ```text
/// waiting --room--> ready --consumer with credit--> unsettled (kept with the consumer) --> gone
///                     ^------------ failed, released, consumer lost ---------+
/// ```
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) name: Destination,
    /// The connection that a temporary queue belongs to.
    pub(crate) owner: Option<ConnectionId>,
    ready: BTreeMap<QueuePosition, QueuedMessage>,
    /// Those of `ready` that expire, by when in milliseconds since 1970.
    expiring: BTreeSet<(u64, QueuePosition)>,
    waiting: VecDeque<BlockedPublisher>,
    waiting_bytes: usize,
    /// Consumers that can take a message, the one that has waited longest first.
    ready_consumers: BTreeMap<u64, Subscriber>,
    turn_next: u64,
    consumers: usize,
    /// Messages that count for the bounds: ready, unsettled and reserved.
    messages: usize,
    bytes: usize,
    /// Places for messages of transactions under way.
    reserved: usize,
}

/// The place of a message in its queue: higher priorities first, then as they came.
///
/// The sequence is the home's, so that it stays unique when a queue is deleted and made again.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct QueuePosition {
    urgency: u8,
    sequence: u64,
}

impl QueuePosition {
    pub(crate) fn new(priority: u8, sequence: u64) -> Self {
        Self { urgency: PRIORITY_MAX.saturating_sub(priority), sequence }
    }
}

/// A message in a queue.
#[derive(Debug)]
pub(crate) struct QueuedMessage {
    pub(crate) position: QueuePosition,
    pub(crate) message: Arc<Message>,
    /// How many times it was delivered in vain.
    pub(crate) deliveries: u32,
}

/// A publication that waits for room.
#[derive(Debug)]
pub(crate) struct BlockedPublisher {
    pub(crate) connection: ConnectionId,
    pub(crate) token: Token,
    pub(crate) message: Arc<Message>,
    /// When it is refused, on the monotonic clock.
    pub(crate) deadline_ns: u64,
}

/// A subscription to a queue.
#[derive(Debug)]
pub(crate) struct Consumer {
    pub(crate) queue: usize,
    pub(crate) settlement: Settlement,
    pub(crate) credit: u32,
    pub(crate) unsettled: BTreeMap<Tag, QueuedMessage>,
    /// Its tags are greater; tells it from an earlier subscription with the same name.
    pub(crate) since: Tag,
    /// Its key in [`Queue::ready_consumers`].
    turn: Option<u64>,
}

impl Consumer {
    pub(crate) const fn new(queue: usize, settlement: Settlement, since: Tag) -> Self {
        Self { queue, settlement, credit: 0, unsettled: BTreeMap::new(), since, turn: None }
    }

    /// It was dequeued: it does not stand in the line any more.
    pub(crate) const fn dequeued(&mut self) {
        self.turn = None;
    }

    fn can_take(&self, limits: &Limits) -> bool {
        self.credit > 0 && self.unsettled.len() < limits.prefetch_max as usize
    }
}

impl Queue {
    pub(crate) const fn new(name: Destination, owner: Option<ConnectionId>) -> Self {
        Self {
            name,
            owner,
            ready: BTreeMap::new(),
            expiring: BTreeSet::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            ready_consumers: BTreeMap::new(),
            turn_next: 0,
            consumers: 0,
            messages: 0,
            bytes: 0,
            reserved: 0,
        }
    }

    /// Whether one more message may enter. An empty queue takes one of any size.
    pub(crate) fn has_room(&self, cost: usize, limits: &Limits) -> bool {
        self.messages == 0
            || (self.messages < limits.queue_messages_max
                && self.bytes + cost <= limits.queue_bytes_max)
    }

    /// Whether a publication may enter now, none being before it.
    pub(crate) fn takes(&self, message: &Message, limits: &Limits) -> bool {
        self.waiting.is_empty() && self.has_room(message.cost(), limits)
    }

    /// A new message enters.
    pub(crate) fn put(&mut self, held: QueuedMessage) {
        self.count(&held.message);
        self.put_back(held);
    }

    /// A message that never left the counts becomes ready again.
    pub(crate) fn put_back(&mut self, held: QueuedMessage) {
        if let Some(expires) = held.message.expires_unix_ms {
            self.expiring.insert((expires, held.position));
        }
        self.ready.insert(held.position, held);
    }

    /// Takes the first ready message out; it still counts for the bounds.
    pub(crate) fn pop(&mut self) -> Option<QueuedMessage> {
        let (position, held) = self.ready.pop_first()?;
        if let Some(expires) = held.message.expires_unix_ms {
            self.expiring.remove(&(expires, position));
        }
        Some(held)
    }

    /// A message that was taken out has left for good.
    pub(crate) fn forget(&mut self, message: &Message) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(message.cost());
    }

    /// Removes what is ready and worthless; gives how many.
    pub(crate) fn expire(&mut self, unix_ms: u64) -> u64 {
        let mut expired = 0;
        while let Some(&(expires, position)) = self.expiring.first()
            && expires <= unix_ms
        {
            self.expiring.pop_first();
            if let Some(held) = self.ready.remove(&position) {
                self.forget(&held.message);
                expired += 1;
            }
        }
        expired
    }

    /// Keeps a place for a message of a transaction.
    pub(crate) fn reserve(&mut self, message: &Message) {
        self.count(message);
        self.reserved += 1;
    }

    pub(crate) fn unreserve(&mut self, message: &Message) {
        self.forget(message);
        self.reserved = self.reserved.saturating_sub(1);
    }

    fn count(&mut self, message: &Message) {
        self.messages += 1;
        self.bytes += message.cost();
    }

    /// Lets a publication wait for room. `false` if too many wait already.
    pub(crate) fn wait(&mut self, waiting: BlockedPublisher) -> bool {
        let cost = waiting.message.cost();
        let fits = self.waiting.len() < WAITING_MAX && self.waiting_bytes + cost <= WAITING_BYTES;
        if fits || self.waiting.is_empty() {
            self.waiting_bytes += cost;
            self.waiting.push_back(waiting);
            return true;
        }
        false
    }

    /// The next waiting publication for which there is room.
    pub(crate) fn admit(&mut self, limits: &Limits) -> Option<BlockedPublisher> {
        let cost = self.waiting.front()?.message.cost();
        self.has_room(cost, limits).then(|| self.pop_waiting()).flatten()
    }

    /// The next waiting publication that has waited for too long.
    pub(crate) fn overdue(&mut self, mono_ns: u64) -> Option<BlockedPublisher> {
        (self.waiting.front()?.deadline_ns <= mono_ns).then(|| self.pop_waiting()).flatten()
    }

    pub(crate) fn pop_waiting(&mut self) -> Option<BlockedPublisher> {
        let waiting = self.waiting.pop_front()?;
        self.waiting_bytes -= waiting.message.cost();
        Some(waiting)
    }

    pub(crate) const fn add_consumer(&mut self) {
        self.consumers += 1;
    }

    pub(crate) fn remove_consumer(&mut self, consumer: &Consumer) {
        self.consumers -= 1;
        if let Some(turn) = consumer.turn {
            self.ready_consumers.remove(&turn);
        }
    }

    /// Puts a consumer that can take a message at the end of the line, unless it stands there.
    pub(crate) fn enqueue_consumer(
        &mut self,
        subscriber: Subscriber,
        consumer: &mut Consumer,
        limits: &Limits,
    ) {
        if consumer.turn.is_none() && consumer.can_take(limits) {
            consumer.turn = Some(self.turn_next);
            self.ready_consumers.insert(self.turn_next, subscriber);
            self.turn_next += 1;
        }
    }

    /// Whose turn it is, if a message is ready. It is out of the line then, which
    /// [`Consumer::dequeued`] tells it.
    pub(crate) fn next_consumer(&mut self) -> Option<Subscriber> {
        if self.ready.is_empty() {
            return None;
        }
        self.ready_consumers.pop_first().map(|(_, subscriber)| subscriber)
    }

    /// Nothing is in it, and nobody listens: nothing would be lost with it.
    pub(crate) fn is_idle(&self) -> bool {
        self.messages == 0 && self.consumers == 0 && self.waiting.is_empty() && self.owner.is_none()
    }

    /// Whether time alone may have changed something.
    pub(crate) fn is_due(&self, unix_ms: u64, mono_ns: u64) -> bool {
        self.expiring.first().is_some_and(|&(expires, _)| expires <= unix_ms)
            || self.waiting.front().is_some_and(|waiting| waiting.deadline_ns <= mono_ns)
    }

    pub(crate) fn depth(&self) -> QueueDepth<'_> {
        QueueDepth {
            name: &self.name,
            ready: self.ready.len(),
            unsettled: self.messages - self.ready.len() - self.reserved,
            bytes: self.bytes,
            consumers: self.consumers,
            waiting: self.waiting.len(),
        }
    }
}

const PRIORITY_MAX: u8 = 9;

/// Publications that may wait for room in one queue, beyond which they are refused at once.
const WAITING_MAX: usize = 10_000;

/// The same in bytes. One may always wait.
const WAITING_BYTES: usize = 4 << 20;
