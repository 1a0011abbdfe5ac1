use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
    ops::RangeInclusive,
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
    paged::{AllReady, Paging, resident_cost},
    precedence::{ACTIVE_END, Exclusives, ready_key},
    selection::{Late, Search, Selection},
};
use crate::{
    effort::Effort,
    output::ShardOutput,
    queued::{EXPIRING_ENTRY_BYTES, QueueId, QueuePosition, QueuedMessage, queued_cost},
    quota::{Account, Usage},
    record::{Attempts, Record, WriteId},
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
    /// What is ready and in memory.
    pub(super) ready: BTreeMap<QueuePosition, QueuedMessage>,
    /// What is ready and expires, by when in milliseconds since 1970.
    pub(super) expiring: BTreeSet<(u64, QueuePosition)>,
    pub(super) delayed: Delayed,
    /// What is on the disk only; `None`: nothing ever was.
    pub(super) paging: Option<Box<Paging>>,
    /// What the durable messages take that are in `ready` and `delayed`, in bytes.
    pub(super) resident: usize,
    /// About how much that may be; [`usize::MAX`]: nothing is on the disk only.
    pub(super) resident_max: usize,
    blocked: VecDeque<BlockedPublisher>,
    blocked_bytes: usize,
    /// Consumers that can take a message, by precedence, the one that has waited longest first.
    ready_consumers: BTreeMap<u64, Subscriber>,
    ready_key_next: u64,
    /// Those with lower keys were offered all that is ready.
    pub(super) offered: u64,
    pub(super) late: Late,
    /// `None`: no consumer wants all of it.
    exclusives: Option<Box<Exclusives>>,
    /// `None`: no message is of a group.
    pub(super) groups: Option<Box<Groups>>,
    pub(super) consumers: usize,
    /// Messages that count for the bounds: arriving, ready, delayed, unsettled and reserved.
    pub(super) messages: usize,
    /// Memory that these take, or would if all were in memory, but for their entries in `expiring` and
    /// their times in `delayed`.
    pub(super) bytes: usize,
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
    /// `None`: it takes any message, and has said of none that it cannot.
    selection: Option<Box<Selection>>,
    /// Its next message is on the disk.
    pub(super) waits_for_load: bool,
    /// Its search for a message goes on later.
    is_searching: bool,
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
            waits_for_load: false,
            is_searching: false,
        }
    }

    /// Its search for a message goes on later; returns whether that is new.
    pub(super) const fn set_unfinished(&mut self, is_unfinished: bool) -> bool {
        mem::replace(&mut self.is_searching, is_unfinished) != is_unfinished
    }

    pub(super) const fn is_exclusive(&self) -> bool {
        self.precedence.is_exclusive
    }

    pub(super) const fn selects(&self) -> bool {
        self.selection.is_some()
    }

    /// Whether there may be a message for it that it has not come to.
    pub(super) const fn is_unfinished(&self) -> bool {
        self.waits_for_load || self.is_searching
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
            paging: None,
            resident: 0,
            resident_max: usize::MAX,
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
        self.settings.keeps(&message.header) && self.id.lasts()
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
        if queued.attempts > 0 {
            self.hold_group(queued.group());
        }
        let cost = resident_cost(&queued);
        if cost > 0
            && self.resident + cost > self.resident_max
            && self.page_out_delayed(&queued, due_unix_ms)
        {
            return;
        }
        self.resident += cost;
        self.delayed.insert(queued, due_unix_ms);
    }

    /// Takes a message out that is not due; it still counts for the bounds.
    pub(super) fn pop_delayed(&mut self) -> Option<QueuedMessage> {
        let queued = self.delayed.pop()?;
        self.is_delayed_no_more(&queued);
        Some(queued)
    }

    fn is_delayed_no_more(&mut self, queued: &QueuedMessage) {
        self.resident -= resident_cost(queued);
        if queued.attempts > 0 {
            self.let_group_go(queued.group());
        }
    }

    /// When a message that the store has kept may be delivered again, if that is not now. The wait
    /// counts from the last attempt that failed, by a clock that may have been set back since.
    pub(super) fn due_after(&self, attempts: Attempts, unix_ms: u64) -> Option<u64> {
        let wait_ms = self.settings.redelivery.wait_ms(attempts.count);
        let due = attempts.last_unix_ms.min(unix_ms).saturating_add(wait_ms);
        (due > unix_ms).then_some(due)
    }

    /// What is due becomes ready, so many messages at most; returns how many have expired before.
    pub(super) fn release_due(&mut self, max: usize, output: &mut ShardOutput<'_>) -> u64 {
        let mut expired = 0;
        for _ in 0..max {
            let Some(queued) = self.delayed.pop_due(output.now.unix_ms) else { break };
            self.is_delayed_no_more(&queued);
            if queued.message.is_expired(output.now.unix_ms) {
                self.remove(&queued, output);
                expired += 1;
            } else {
                self.make_ready(queued);
            }
        }
        expired + self.release_due_on_disk(max, output)
    }

    /// A message that counts already becomes ready.
    pub(super) fn make_ready(&mut self, queued: QueuedMessage) {
        if let Some(expires) = queued.expires_unix_ms() {
            self.expiring.insert((expires, queued.position));
        }
        self.late.became_ready(queued.position);
        self.offered = 0;
        self.join_group(queued.position, queued.group());
        if queued.is_durable() && self.is_for_disk(&queued) {
            return self.page_out(queued);
        }
        self.keep_ready(queued);
    }

    /// A ready message is in memory.
    pub(super) fn keep_ready(&mut self, queued: QueuedMessage) {
        self.resident += resident_cost(&queued);
        self.ready.insert(queued.position, queued);
    }

    /// A message is ready no more.
    fn remove_ready(&mut self, position: QueuePosition) -> Option<QueuedMessage> {
        let queued = self.ready.remove(&position)?;
        self.resident -= resident_cost(&queued);
        self.leave_group(position, queued.group());
        Some(queued)
    }

    /// Takes the first ready message out; it still counts for the bounds.
    pub(super) fn pop(&mut self) -> Option<QueuedMessage> {
        let position = *self.ready.first_key_value()?.0;
        self.take(position)
    }

    /// What is ready and comes first of what is in memory.
    pub(super) fn first_ready(&self) -> Option<&QueuedMessage> {
        self.ready.first_key_value().map(|(_, queued)| queued)
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
            } else if self.expire_on_disk(position, output) {
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

    pub(super) fn count(&mut self, message: &Message) {
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

    /// Takes out the blocked publishers that are like this.
    pub(super) fn take_blocked(
        &mut self,
        is_taken: impl Fn(Publisher) -> bool,
    ) -> VecDeque<BlockedPublisher> {
        let blocked = mem::take(&mut self.blocked).into_iter();
        let taken;
        (taken, self.blocked) = blocked.partition(|blocked| is_taken(blocked.publisher));
        self.blocked_bytes -= taken.iter().map(BlockedPublisher::cost).sum::<usize>();
        taken
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
        let select = |selector| Box::new(Selection::new(Some(selector), &mut self.late));
        consumer.selection = selector.cloned().map(select);
        if !consumer.precedence.is_exclusive {
            return None;
        }
        let before = self.active();
        let exclusives = self.exclusives.get_or_insert_default();
        exclusives.insert(consumer.precedence.priority, subscriber);
        before.filter(|_| self.active() != before)
    }

    /// A consumer is not to get the message at this position again.
    pub(super) fn exclude(&mut self, consumer: &mut Consumer, position: QueuePosition) {
        let selection = consumer
            .selection
            .get_or_insert_with(|| Box::new(Selection::new(None, &mut self.late)));
        selection.exclude(position);
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
        self.free_groups(subscriber);
        let exclusives = self.exclusives.as_mut().filter(|_| consumer.precedence.is_exclusive)?;
        exclusives.remove(subscriber);
        self.offered = 0;
        if exclusives.active().is_none() {
            self.exclusives = None;
        }
        self.active()
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
        !self.ready.is_empty() || self.has_ready_on_disk()
    }

    pub(super) const fn consumers(&self) -> usize {
        self.consumers
    }

    /// Takes out the next message that no consumer has and that is in memory; it still counts for the
    /// bounds.
    pub(super) fn pop_waiting(&mut self) -> Option<QueuedMessage> {
        let ready = self.pop().or_else(|| self.pop_delayed());
        ready.or_else(|| self.arriving.pop_front().map(|arriving| arriving.queued))
    }

    /// The messages that no consumer has and that are in memory.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &QueuedMessage> {
        let arriving = self.arriving.iter().map(|arriving| &arriving.queued);
        arriving.chain(self.ready.values()).chain(self.delayed.iter())
    }

    /// The consumer that comes next, if a message is ready; it comes no more until it was dequeued or
    /// a message becomes ready.
    pub(super) fn next_consumer(&mut self) -> Option<Subscriber> {
        if !self.has_ready() {
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
        let ready = AllReady::new(&self.ready, self.paging.as_deref());
        if let Some(selection) = &mut consumer.selection {
            let groups = self.groups.as_deref();
            let allows = |group| groups.is_none_or(|groups| groups.allows(subscriber, group));
            return selection.search(ready, allows, &mut self.late, effort);
        }
        if let Some(groups) = &mut self.groups {
            return groups.first_for(subscriber, ready, effort);
        }
        match self.first_on_disk() {
            Some(position) => Search::OnDisk(position),
            None => match self.ready.first_key_value() {
                Some((position, _)) => Search::Found(*position),
                None => Search::Nothing,
            },
        }
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
            || self.is_due_on_disk(unix_ms)
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
        for (account, cost, charged) in self.all_on_disk() {
            counts.messages += 1;
            counts.bytes += cost;
            usage.add_bytes(account, charged);
        }
        let resident = self.ready.values().chain(self.delayed.iter());
        let resident = resident.map(resident_cost);
        assert_eq!(self.resident, resident.sum::<usize>(), "{id:?}: what is kept in memory");
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
        self.assert_groups_consistent();
        let expiring = self.ready.values().filter(|q| q.expires_unix_ms().is_some());
        let expiring = expiring.count() + self.expiring_on_disk();
        assert_eq!(self.expiring.len(), expiring, "expiring in {id:?}");
    }

    pub(super) fn depth(&self) -> QueueDepth<'_> {
        let (ready_on_disk, delayed_on_disk) = self.counts_on_disk();
        let ready = self.arriving.len() + self.ready.len() + ready_on_disk;
        let delayed = self.delayed.len() + delayed_on_disk;
        QueueDepth {
            name: &self.id,
            ready,
            delayed,
            unsettled: self.messages - ready - delayed - self.reserved,
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
