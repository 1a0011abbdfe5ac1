use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::{Bound, RangeInclusive},
    sync::Arc,
};

use contract::{
    BrokerLimits, ConnectionId, Message, Precedence, QueueSettings, Selector, Settlement, Tag,
};

use super::{
    allowance::Allowance,
    delayed::Delayed,
    durable::Binding,
    groups::Groups,
    precedence::{ACTIVE_END, Exclusives, ready_key},
    selection::{Late, Search, Selection},
};
use crate::{
    effort::Effort,
    output::ShardOutput,
    queued::{EXPIRING_ENTRY_BYTES, QueueId, QueuePosition, QueuedMessage, queued_cost},
    quota::{Account, Usage},
    record::{Record, WriteId},
    shard_message::{Consume, Publisher, Subscriber},
    stats::QueueDepth,
    writes::Writes,
};

/// The messages of one queue, the publishers that wait for room, and the consumers that are ready.
/// Unsettled messages are kept with their consumer.
///
/// ```text
/// blocked --room--> arriving --stored--> ready --consumer with credit--> unsettled --> gone
///                            |             ^-- failed, released, consumer gone --+
///                            +--delayed--> ^   (failed: delayed, where the queue has a delay)
/// ```
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) id: QueueId,
    /// The connection that a temporary queue belongs to.
    pub(super) owner: Option<ConnectionId>,
    /// Who made it, and is charged for it.
    pub(super) account: Option<Account>,
    /// What it gets as the queue of a durable subscription; such a queue without this goes.
    pub(super) binding: Option<Box<Binding>>,
    /// Messages up to this one were for one that had its name.
    pub(super) stale_sequence: u64,
    pub(super) settings: Arc<QueueSettings>,
    /// New messages that wait until they, or those before them, are stored: so that none overtakes.
    arriving: VecDeque<Arriving>,
    ready: BTreeMap<QueuePosition, QueuedMessage>,
    /// Those of `ready` that expire, by when in milliseconds since 1970.
    expiring: BTreeSet<(u64, QueuePosition)>,
    delayed: Delayed,
    blocked: VecDeque<BlockedPublisher>,
    blocked_bytes: usize,
    /// Consumers that can take a message, by precedence, the one that has waited longest first.
    ready_consumers: BTreeMap<u64, Subscriber>,
    ready_key_next: u64,
    /// Those with lower keys were offered all that is ready.
    offered: u64,
    late: Late,
    /// `None`: no consumer wants all of it.
    exclusives: Option<Box<Exclusives>>,
    /// `None`: no message is of a group.
    groups: Option<Box<Groups>>,
    consumers: usize,
    /// Messages that count for the bounds: arriving, ready, delayed, unsettled and reserved.
    messages: usize,
    /// Memory that these take, but for their entries in `expiring` and their times in `delayed`.
    bytes: usize,
    /// Room for messages of transactions that are not decided.
    reserved: usize,
    /// It is among those whose publishers wait for the store.
    pub(super) waits_for_store: bool,
}

/// A new message that is not ready yet.
#[derive(Debug)]
struct Arriving {
    /// It is ready when this batch is stored.
    write: WriteId,
    /// The batch is its own: if the store refuses it, the message goes.
    is_own: bool,
    queued: QueuedMessage,
}

/// What a queue counts beside what it holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Counts {
    pub(super) consumers: usize,
    /// Those with a selector.
    pub(super) selecting: usize,
    /// Those that want all.
    pub(super) exclusive: usize,
    pub(super) messages: usize,
    pub(super) bytes: usize,
    pub(super) reserved: usize,
}

impl Counts {
    pub(super) fn add(&mut self, message: &Message) {
        self.messages += 1;
        self.bytes += queued_cost(message);
    }
}

/// A publisher that waits for room.
#[derive(Debug)]
pub(super) struct BlockedPublisher {
    pub(super) publisher: Publisher,
    pub(super) message: Arc<Message>,
    /// Whether the message is durable in the queue.
    pub(super) is_durable: bool,
    pub(super) account: Option<Account>,
    /// When it is refused, on the monotonic clock.
    pub(super) deadline_ns: u64,
}

impl BlockedPublisher {
    /// Memory that it takes, in bytes: the message, and its entry in a ring that is filled to three
    /// quarters, as it is on average.
    fn cost(&self) -> usize {
        self.message.cost() + size_of::<Self>() * 4 / 3
    }
}

/// A subscription to a queue.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) queue: usize,
    pub(super) settlement: Settlement,
    pub(super) allowance: Allowance,
    pub(super) unsettled: BTreeMap<Tag, QueuedMessage>,
    /// Deliveries that it settles in transactions which are not decided.
    pub(super) in_transactions: usize,
    unsettled_max: usize,
    /// Its tags are greater; tells it from an earlier subscription with the same name.
    pub(super) since: Tag,
    /// The last batch that tells the store what it settled.
    pub(super) settled_write: WriteId,
    /// Its key in [`Queue::ready_consumers`]; `None`: it is not there.
    ready_key: Option<u64>,
    precedence: Precedence,
    /// `None`: it takes any message.
    selection: Option<Box<Selection>>,
}

impl Consumer {
    pub(super) fn new(queue: usize, consume: &Consume, since: Tag) -> Self {
        Self {
            queue,
            settlement: consume.settlement,
            allowance: Allowance::default(),
            unsettled: BTreeMap::new(),
            in_transactions: 0,
            unsettled_max: consume.unsettled_max,
            since,
            settled_write: WriteId::default(),
            ready_key: None,
            precedence: consume.precedence,
            selection: None,
        }
    }

    /// Its search for a message goes on later; returns whether that is new.
    pub(super) fn set_unfinished(&mut self, is_unfinished: bool) -> bool {
        let selection = self.selection.as_mut();
        selection.is_some_and(|selection| {
            std::mem::replace(&mut selection.is_unfinished, is_unfinished) != is_unfinished
        })
    }

    pub(super) const fn is_exclusive(&self) -> bool {
        self.precedence.is_exclusive
    }

    pub(super) const fn has_selector(&self) -> bool {
        self.selection.is_some()
    }

    /// Whether there may be a message for it that it has not come to.
    pub(super) fn is_unfinished(&self) -> bool {
        self.selection.as_ref().is_some_and(|selection| selection.is_unfinished)
    }

    /// Takes out the first unsettled delivery with one of these tags.
    pub(super) fn take_first(
        &mut self,
        tags: &RangeInclusive<Tag>,
    ) -> Option<(Tag, QueuedMessage)> {
        if tags.is_empty() {
            return None;
        }
        let (&tag, _) = self.unsettled.range(tags.clone()).next()?;
        self.unsettled.remove_entry(&tag)
    }

    /// Whether all that was delivered up to this tag is settled for good.
    pub(super) fn has_settled(&self, tag: Tag) -> bool {
        let first = self.unsettled.first_key_value();
        self.in_transactions == 0 && first.is_none_or(|(&first, _)| first > tag)
    }

    fn can_take(&self) -> bool {
        self.allowance.allows_one() && self.has_unsettled_room()
    }

    /// Whether one more may be unsettled.
    pub(super) fn has_unsettled_room(&self) -> bool {
        self.unsettled.len() < self.unsettled_max
    }
}

impl Queue {
    pub(super) fn new(
        id: QueueId,
        owner: Option<ConnectionId>,
        account: Option<Account>,
        settings: Arc<QueueSettings>,
    ) -> Self {
        Self {
            id,
            owner,
            account,
            binding: None,
            stale_sequence: 0,
            settings,
            arriving: VecDeque::new(),
            ready: BTreeMap::new(),
            expiring: BTreeSet::new(),
            delayed: Delayed::default(),
            blocked: VecDeque::new(),
            blocked_bytes: 0,
            ready_consumers: BTreeMap::new(),
            ready_key_next: 0,
            offered: 0,
            late: Late::default(),
            exclusives: None,
            groups: None,
            consumers: 0,
            messages: 0,
            bytes: 0,
            reserved: 0,
            waits_for_store: false,
        }
    }

    /// Whether one more message may enter. An empty queue takes one of any size.
    pub(super) fn has_room(&self, cost: usize, limits: &BrokerLimits) -> bool {
        self.messages == 0
            || (self.messages < limits.queue_messages_max
                && self.bytes() + cost <= limits.queue_bytes_max)
    }

    /// Memory that its messages take, in bytes.
    fn bytes(&self) -> usize {
        let groups = self.groups.as_ref().map_or(0, |groups| groups.bytes());
        self.bytes + self.expiring.len() * EXPIRING_ENTRY_BYTES + self.delayed.bytes() + groups
    }

    /// Whether a publication may enter now, with none before it.
    pub(super) fn takes(&self, message: &Message, limits: &BrokerLimits) -> bool {
        self.blocked.is_empty() && self.has_room(queued_cost(message), limits)
    }

    /// Whether a message that enters is durable here: in a queue that does not end with its owner, as
    /// its sender wishes, or else the queue's settings say.
    pub(super) fn keeps(&self, message: &Message) -> bool {
        !self.id.is_temporary() && self.settings.keeps(&message.header)
    }

    /// A new message enters, to be ready when this batch is stored, and not before those that came
    /// before it. Returns the batch that it waits for.
    pub(super) fn enter(
        &mut self,
        queued: QueuedMessage,
        write: Option<WriteId>,
        unix_ms: u64,
    ) -> Option<WriteId> {
        self.count(&queued.message);
        let is_own = write.is_some();
        let write = write.or_else(|| self.arriving.back().map(|arriving| arriving.write));
        match write {
            Some(write) => self.arriving.push_back(Arriving { write, is_own, queued }),
            None => self.make_ready_when_due(queued, unix_ms),
        }
        write
    }

    /// What waits for the batches up to this one becomes ready. `refused`: but for what the last of
    /// them was to add, which is returned.
    pub(super) fn stored(
        &mut self,
        upto: WriteId,
        refused: bool,
        unix_ms: u64,
    ) -> Vec<QueuedMessage> {
        let mut lost = Vec::new();
        while let Some(arriving) = self.arriving.pop_front_if(|arriving| arriving.write <= upto) {
            if refused && arriving.is_own && arriving.write == upto {
                self.uncount(&arriving.queued.message);
                lost.push(arriving.queued);
            } else {
                self.make_ready_when_due(arriving.queued, unix_ms);
            }
        }
        lost
    }

    /// A message that counts already becomes ready, now or when its sender wants.
    fn make_ready_when_due(&mut self, queued: QueuedMessage, unix_ms: u64) {
        match queued.due_unix_ms().filter(|&due| due > unix_ms) {
            Some(due) => self.delay(queued, due),
            None => self.make_ready(queued),
        }
    }

    /// A message that counts already becomes ready at this time, in milliseconds since 1970.
    pub(super) fn delay(&mut self, queued: QueuedMessage, due_unix_ms: u64) {
        self.delayed.insert(queued, due_unix_ms);
    }

    /// Takes a message out that is not due; it still counts for the bounds.
    pub(super) fn pop_delayed(&mut self) -> Option<QueuedMessage> {
        self.delayed.pop()
    }

    /// What is due becomes ready, so many messages at most; returns how many have expired before.
    pub(super) fn release_due(&mut self, max: usize, output: &mut ShardOutput<'_>) -> u64 {
        let mut expired = 0;
        for _ in 0..max {
            let Some(queued) = self.delayed.pop_due(output.now.unix_ms) else { break };
            if queued.message.is_expired(output.now.unix_ms) {
                self.remove(&queued, output);
                expired += 1;
            } else {
                self.make_ready(queued);
            }
        }
        expired
    }

    /// A message that counts already becomes ready.
    pub(super) fn make_ready(&mut self, queued: QueuedMessage) {
        if let Some(expires) = queued.expires_unix_ms() {
            self.expiring.insert((expires, queued.position));
        }
        self.late.became_ready(queued.position);
        self.offered = 0;
        if self.groups.is_none() && queued.group().is_some() {
            self.groups = Some(Box::new(Groups::new(self.ready.keys().copied())));
        }
        if let Some(groups) = &mut self.groups {
            groups.insert(queued.position, queued.group());
        }
        self.ready.insert(queued.position, queued);
    }

    /// A message is ready no more.
    fn remove_ready(&mut self, position: QueuePosition) -> Option<QueuedMessage> {
        let queued = self.ready.remove(&position)?;
        if let Some(groups) = &mut self.groups {
            groups.remove(position, queued.group());
            if groups.is_unused() {
                self.groups = None;
            }
        }
        Some(queued)
    }

    /// Takes the first ready message out; it still counts for the bounds.
    pub(super) fn pop(&mut self) -> Option<QueuedMessage> {
        let position = *self.ready.first_key_value()?.0;
        self.take(position)
    }

    /// Takes a ready message out; it still counts for the bounds.
    pub(super) fn take(&mut self, position: QueuePosition) -> Option<QueuedMessage> {
        let queued = self.remove_ready(position)?;
        if let Some(expires) = queued.expires_unix_ms() {
            self.expiring.remove(&(expires, position));
        }
        Some(queued)
    }

    /// A message that was taken out counts no longer.
    pub(super) fn uncount(&mut self, message: &Message) {
        self.messages -= 1;
        self.bytes -= queued_cost(message);
    }

    /// Removes what is ready and has expired; returns how many.
    pub(super) fn expire(&mut self, output: &mut ShardOutput<'_>) -> u64 {
        let mut expired = 0;
        while let Some(&(expires, position)) = self.expiring.first()
            && expires <= output.now.unix_ms
        {
            self.expiring.pop_first();
            if let Some(queued) = self.remove_ready(position) {
                self.remove(&queued, output);
                expired += 1;
            }
        }
        expired
    }

    /// A message that was taken out has left for good, and leaves the store with the batch that this
    /// returns.
    pub(super) fn remove(
        &mut self,
        queued: &QueuedMessage,
        output: &mut ShardOutput<'_>,
    ) -> Option<WriteId> {
        self.uncount(&queued.message);
        output.quotas.uncharge(queued.account, &queued.message);
        queued
            .is_durable()
            .then(|| output.writes.add(Record::Remove(self.id.clone(), queued.position)))
    }

    /// Reserves room for a message of a transaction.
    pub(super) fn reserve(&mut self, message: &Message) {
        self.count(message);
        self.reserved += 1;
    }

    pub(super) fn release(&mut self, message: &Message) {
        self.uncount(message);
        self.reserved -= 1;
    }

    fn count(&mut self, message: &Message) {
        self.messages += 1;
        self.bytes += queued_cost(message);
    }

    /// Lets a publisher wait for room; returns it if too many wait already.
    pub(super) fn block(&mut self, publisher: BlockedPublisher) -> Result<(), BlockedPublisher> {
        let cost = publisher.cost();
        let fits = self.blocked.len() < BLOCKED_MAX && self.blocked_bytes + cost <= BLOCKED_BYTES;
        if !fits && !self.blocked.is_empty() {
            return Err(publisher);
        }
        self.blocked_bytes += cost;
        self.blocked.push_back(publisher);
        Ok(())
    }

    /// The next blocked publisher for whose message there is room.
    pub(super) fn unblock(
        &mut self,
        limits: &BrokerLimits,
        writes: &mut Writes,
    ) -> Option<BlockedPublisher> {
        let publisher = self.blocked.front()?;
        let takes = self.has_room(queued_cost(&publisher.message), limits);
        let may_enter = takes && (!publisher.is_durable || writes.admits());
        may_enter.then(|| self.pop_blocked()).flatten()
    }

    /// The next blocked publisher, if only the store has no room for its message and will have none.
    pub(super) fn unblock_refused(
        &mut self,
        limits: &BrokerLimits,
        writes: &Writes,
    ) -> Option<BlockedPublisher> {
        let publisher = self.blocked.front()?;
        let is_refused = self.has_room(queued_cost(&publisher.message), limits)
            && publisher.is_durable
            && writes.refusal().is_some();
        is_refused.then(|| self.pop_blocked()).flatten()
    }

    /// The next blocked publisher that has waited for too long.
    pub(super) fn overdue(&mut self, mono_ns: u64) -> Option<BlockedPublisher> {
        (self.blocked.front()?.deadline_ns <= mono_ns).then(|| self.pop_blocked()).flatten()
    }

    pub(super) fn pop_blocked(&mut self) -> Option<BlockedPublisher> {
        let publisher = self.blocked.pop_front()?;
        self.blocked_bytes -= publisher.cost();
        Some(publisher)
    }

    /// Returns the exclusive consumer whose turn it is no more.
    pub(super) fn add_consumer(
        &mut self,
        subscriber: Subscriber,
        consumer: &mut Consumer,
        selector: Option<&Arc<Selector>>,
    ) -> Option<Subscriber> {
        self.consumers += 1;
        let select = |selector| Box::new(Selection::new(Arc::clone(selector), &mut self.late));
        consumer.selection = selector.map(select);
        if !consumer.precedence.is_exclusive {
            return None;
        }
        let before = self.active();
        let exclusives = self.exclusives.get_or_insert_default();
        exclusives.insert(consumer.precedence.priority, subscriber);
        before.filter(|_| self.active() != before)
    }

    /// The exclusive consumer that gets all messages.
    fn active(&self) -> Option<Subscriber> {
        self.exclusives.as_ref()?.active()
    }

    /// Returns the exclusive consumer whose turn it is now.
    pub(super) fn remove_consumer(
        &mut self,
        subscriber: Subscriber,
        consumer: &mut Consumer,
    ) -> Option<Subscriber> {
        self.consumers -= 1;
        self.dequeue_consumer(consumer);
        if consumer.selection.take().is_some() {
            self.late.remove_consumer();
        }
        self.free_groups(|groups, late| {
            groups.leave(subscriber, |position| late.became_ready(position))
        });
        let exclusives = self.exclusives.as_mut().filter(|_| consumer.precedence.is_exclusive)?;
        exclusives.remove(subscriber);
        self.offered = 0;
        if exclusives.active().is_none() {
            self.exclusives = None;
        }
        self.active()
    }

    /// A consumer has taken a message, which is delivered with this tag: its group is the consumer's.
    pub(super) fn assign(&mut self, subscriber: Subscriber, queued: &QueuedMessage, tag: Tag) {
        let Some(group) = queued.group() else { return };
        // The last one that was ready may have been the only one.
        self.groups.get_or_insert_default().assign(subscriber, group, tag);
    }

    /// Frees the groups that are closed, where consumers have settled what was delivered.
    pub(super) fn close_groups(&mut self, has_settled: impl Fn(Subscriber, Tag) -> bool) {
        if self.groups.as_ref().is_some_and(|groups| groups.is_closing_any()) {
            self.free_groups(|groups, late| {
                groups.close(has_settled, |position| late.became_ready(position))
            });
        }
    }

    /// Makes what a consumer leaves of its groups ready for all.
    fn free_groups(&mut self, free: impl FnOnce(&mut Groups, &mut Late) -> bool) {
        let Some(groups) = &mut self.groups else { return };
        if free(groups, &mut self.late) {
            self.offered = 0;
        }
        if groups.is_unused() {
            self.groups = None;
        }
    }

    pub(super) fn dequeue_consumer(&mut self, consumer: &mut Consumer) {
        if let Some(ready_key) = consumer.ready_key.take() {
            self.ready_consumers.remove(&ready_key);
        }
    }

    /// Puts a consumer that can take a message behind the other ready ones, unless it is there.
    pub(super) fn enqueue_consumer(&mut self, subscriber: Subscriber, consumer: &mut Consumer) {
        if consumer.ready_key.is_none() && consumer.can_take() {
            let is_active = self.active() == Some(subscriber);
            let key = ready_key(consumer.precedence, is_active, self.ready_key_next);
            self.ready_key_next += 1;
            consumer.ready_key = Some(key);
            self.ready_consumers.insert(key, subscriber);
            // It may come before those that were offered what is ready, and leave something.
            self.offered = self.offered.min(key);
        }
    }

    /// A consumer that may have no credit any more is not ready.
    pub(super) fn dequeue_exhausted(&mut self, consumer: &mut Consumer) {
        if !consumer.allowance.allows_one() {
            self.dequeue_consumer(consumer);
        }
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) const fn consumers(&self) -> usize {
        self.consumers
    }

    /// Takes out the next message that no consumer has; it still counts for the bounds.
    pub(super) fn pop_waiting(&mut self) -> Option<QueuedMessage> {
        let ready = self.pop().or_else(|| self.pop_delayed());
        ready.or_else(|| self.arriving.pop_front().map(|arriving| arriving.queued))
    }

    /// The messages that no consumer has.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &QueuedMessage> {
        let arriving = self.arriving.iter().map(|arriving| &arriving.queued);
        arriving.chain(self.ready.values()).chain(self.delayed.iter())
    }

    /// The messages that are ready behind a position, in order.
    pub(super) fn ready_after(
        &self,
        last: Option<QueuePosition>,
    ) -> impl Iterator<Item = &QueuedMessage> {
        let start = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.ready.range((start, Bound::Unbounded)).map(|(_, queued)| queued)
    }

    /// The consumer that comes next, if a message is ready; it comes no more until it was dequeued or
    /// a message becomes ready.
    pub(super) fn next_consumer(&mut self) -> Option<Subscriber> {
        if self.ready.is_empty() {
            return None;
        }
        let (&ready_key, &subscriber) = self.ready_consumers.range(self.offered..).next()?;
        if ready_key >= ACTIVE_END && self.exclusives.is_some() {
            return None;
        }
        self.offered = ready_key + 1;
        Some(subscriber)
    }

    /// The first message that is ready and that a consumer takes.
    pub(super) fn search(
        &mut self,
        subscriber: Subscriber,
        consumer: &mut Consumer,
        effort: &mut Effort,
    ) -> Search {
        let groups = self.groups.as_deref();
        if let Some(selection) = &mut consumer.selection {
            let allows = |queued: &QueuedMessage| {
                groups.is_none_or(|groups| groups.allows(subscriber, queued.group()))
            };
            return selection.search(&self.ready, allows, &mut self.late, effort);
        }
        let first = match groups {
            Some(groups) => groups.first_for(subscriber),
            None => self.ready.first_key_value().map(|(position, _)| *position),
        };
        first.map_or(Search::Nothing, Search::Found)
    }

    /// Nothing is in it and nothing waits at it: nothing would be lost with it.
    pub(super) fn is_idle(&self) -> bool {
        self.messages == 0
            && self.consumers == 0
            && self.blocked.is_empty()
            && self.owner.is_none()
            && self.binding.is_none()
    }

    /// Whether the next blocked publisher waits for the store alone, once [`Queue::unblock`] did not
    /// take it.
    pub(super) fn must_wait_for_store(&self, limits: &BrokerLimits) -> bool {
        self.blocked.front().is_some_and(|p| self.has_room(queued_cost(&p.message), limits))
    }

    /// Whether time alone may have changed something.
    pub(super) fn is_due(&self, unix_ms: u64, mono_ns: u64) -> bool {
        self.expiring.first().is_some_and(|&(expires, _)| expires <= unix_ms)
            || self.blocked.front().is_some_and(|publisher| publisher.deadline_ns <= mono_ns)
            || self.delayed.is_due(unix_ms)
    }

    /// See [`crate::Shard::assert_consistent`]. `elsewhere` is what consumers and transactions have
    /// of it; what is here is added to `usage`.
    pub(super) fn assert_consistent(&self, elsewhere: Counts, usage: &mut Usage) {
        let id = &self.id;
        let mut counts = elsewhere;
        for queued in self.waiting() {
            counts.add(&queued.message);
            usage.add_message(queued.account, &queued.message);
        }
        self.blocked.iter().for_each(|p| usage.add_message(p.account, &p.message));
        usage.add_queue(self.account);
        let kept = Counts {
            consumers: self.consumers,
            selecting: self.late.consumers(),
            exclusive: self.exclusives.as_ref().map_or(0, |exclusives| exclusives.len()),
            messages: self.messages,
            bytes: self.bytes,
            reserved: self.reserved,
        };
        assert_eq!(kept, counts, "{id:?}: what is kept beside what is there");
        let blocked = self.blocked.iter().map(BlockedPublisher::cost);
        assert_eq!(self.blocked_bytes, blocked.sum::<usize>(), "blocked at {id:?}");
        match &self.groups {
            Some(groups) => groups.assert_consistent(
                self.ready.iter().map(|(&position, queued)| (position, queued.group())),
            ),
            None => assert!(self.ready.values().all(|queued| queued.group().is_none()), "{id:?}"),
        }
        let expiring = self.ready.values().filter(|q| q.expires_unix_ms().is_some());
        assert_eq!(self.expiring.len(), expiring.count(), "expiring in {id:?}");
    }

    pub(super) fn depth(&self) -> QueueDepth<'_> {
        let ready = self.arriving.len() + self.ready.len();
        QueueDepth {
            name: &self.id,
            ready,
            delayed: self.delayed.len(),
            unsettled: self.messages - ready - self.delayed.len() - self.reserved,
            bytes: self.bytes(),
            consumers: self.consumers,
            blocked: self.blocked.len(),
        }
    }
}

/// Publishers that may wait for room in one queue; more are refused at once.
const BLOCKED_MAX: usize = 10_000;

/// The same in bytes. One may always wait.
const BLOCKED_BYTES: usize = 4 << 20;
