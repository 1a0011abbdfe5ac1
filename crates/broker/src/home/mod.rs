//! The home of a core: the queues and temporary destinations whose names fall to it.

mod allowance;
mod branch;
mod browse;
mod clients;
mod dead_letter;
mod delayed;
mod dispatch;
mod durable;
mod groups;
mod paged;
mod postponed;
mod precedence;
mod producers;
mod publish;
mod queue;
mod selection;
mod settlements;
mod temporary;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use contract::{
    BrokerLimits, ConnectionId, Credit, Destination, DestinationKind, Ending, Mode, Outcome,
    QueueRules, QueueSettings, Refusal, Reply, Tag, Token, internal,
};
use slab::Slab;
use wire::Map;

use self::{
    branch::Branch,
    browse::Browser,
    clients::Clients,
    delayed::DUE_MAX,
    postponed::Postponed,
    producers::Producers,
    queue::{Consumer, Counts, Queue},
    temporary::TempTopic,
};
use crate::{
    effort::Effort,
    event::{LoadId, Restored},
    output::ShardOutput,
    placement::Placement,
    queued::{QueueId, QueuedMessage},
    quota::{Account, Usage},
    record::{Record, TransactionId, WriteId},
    shard_message::{Consume, Payload, Subscriber, ToFront, ToHome},
    stats::{LostDeadLetters, QueueDepth, Stats},
};

/// The queues and temporary destinations that live on one core, and their consumers on all cores.
#[derive(Debug)]
pub(crate) struct Home {
    placement: Placement,
    limits: Arc<BrokerLimits>,
    rules: QueueRules,
    /// Where in `queues` each one is.
    indexes: Map<QueueId, usize>,
    queues: Slab<Queue>,
    temporary_queues: usize,
    consumers: Map<Subscriber, Consumer>,
    browsers: Map<Subscriber, Browser>,
    temp_topics: Map<Destination, TempTopic>,
    clients: Clients,
    prepared: BTreeMap<TransactionId, Branch>,
    /// What waits until the store is open.
    postponed: Vec<Postponed>,
    producers: Producers,
    /// Connections whose fronts do not know yet that a publication of theirs was refused: see
    /// [`Home::refused`].
    refused: BTreeSet<ConnectionId>,
    /// Those whose search by a selector goes on when time has passed. Some may have gone.
    unfinished: VecDeque<Subscriber>,
    effort: Effort,
    /// Queues with publishers that wait for room in the store, in order.
    waiting: VecDeque<usize>,
    /// Batches with new messages, and the queues of these, in order.
    arrivals: VecDeque<(WriteId, usize)>,
    sequence: u64,
    tag: u64,
    /// Numbers requests to the fronts.
    request: u64,
    /// The last load.
    load: LoadId,
    /// See [`Home::set_resident_bytes_max`]; `None`: nothing is on the disk only.
    resident_bytes_max: Option<usize>,
    /// See [`crate::Shard::take_lost_dead_letters`].
    lost: Option<LostDeadLetters>,
    stats: Stats,
}

impl Home {
    pub(crate) fn new(placement: Placement, limits: Arc<BrokerLimits>) -> Self {
        Self {
            placement,
            limits,
            rules: QueueRules::default(),
            indexes: Map::default(),
            queues: Slab::new(),
            temporary_queues: 0,
            consumers: Map::default(),
            browsers: Map::default(),
            temp_topics: Map::default(),
            clients: Clients::default(),
            prepared: BTreeMap::new(),
            postponed: Vec::new(),
            producers: Producers::default(),
            refused: BTreeSet::new(),
            unfinished: VecDeque::new(),
            effort: Effort::new(),
            waiting: VecDeque::new(),
            arrivals: VecDeque::new(),
            sequence: 0,
            tag: 0,
            request: 0,
            load: LoadId::default(),
            resident_bytes_max: None,
            lost: None,
            stats: Stats::default(),
        }
    }

    /// See [`crate::Shard::since`]: up to 2^18 messages a millisecond have numbers of their own.
    pub(crate) const fn number_since(&mut self, unix_ms: u64) {
        self.sequence = unix_ms << 18;
    }

    /// What is said of queues from now on. What is in them stays durable, or not, as it entered.
    pub(crate) fn set_rules(&mut self, rules: QueueRules) {
        for (_, queue) in &mut self.queues {
            queue.settings = Arc::clone(rules.settings(queue.id.name()));
        }
        self.rules = rules;
    }

    fn settings(&self, queue: &QueueId) -> Arc<QueueSettings> {
        Arc::clone(self.rules.settings(queue.name()))
    }

    /// A message from a front, or another home, on core `from`.
    pub(crate) fn receive(&mut self, from: u16, message: ToHome, output: &mut ShardOutput<'_>) {
        self.effort.renew(output.now);
        if self.is_to_wait(from, &message, output) {
            return self.postpone(from, message, output);
        }
        self.carry_out(from, message, output);
    }

    fn carry_out(&mut self, from: u16, message: ToHome, output: &mut ShardOutput<'_>) {
        match message {
            ToHome::Publish { publisher, .. } if self.is_behind_refusal(publisher) => {
                output.send_front(from, publisher.reply(Err(Refusal::Busy)));
            }
            ToHome::KnowsRefusal { connection } => {
                self.refused.remove(&connection);
            }
            ToHome::Publish { publisher, queue, message, account } => match queue {
                Some(queue) => self.publish_bound(publisher, &queue, message, output),
                None => self.publish(publisher, message, account, output),
            },
            ToHome::Bound { queue, request } => self.front_bound(&queue, request, output),
            ToHome::Delete { connection, token, queue } => {
                self.delete_durable(connection, token, &queue, output);
            }
            ToHome::Find { connection, token, queue } => {
                self.find_durable(connection, token, &queue, output);
            }
            ToHome::Claim { connection, token, client, contest } => {
                self.claim(connection, token, *client, contest, output);
            }
            ToHome::Release { connection, client } => {
                self.release_client(connection, &client, output);
            }
            ToHome::Subscribe(consume) => self.subscribe(&consume, output),
            ToHome::Unsubscribe { subscriber, destination, confirm, failed, ending } => {
                let write = self.unsubscribe(subscriber, &destination, failed, ending, output);
                if confirm {
                    let ended = ToFront::Unsubscribed { subscriber };
                    output.send_when_stored(write, from, Payload::ToFront(ended));
                }
            }
            ToHome::Stop { subscriber, handed_over } => {
                self.stop(subscriber, output);
                self.leave_binding(subscriber);
                self.release_behind(subscriber, handed_over, output);
            }
            ToHome::Written { subscriber, bytes, settled } => {
                self.written(subscriber, bytes, settled, output);
            }
            ToHome::Settle { subscriber, tags, outcome, reply } => {
                let write = self.settle(subscriber, &tags, outcome, output);
                if let Some(token) = reply {
                    let connection = subscriber.connection;
                    let done = ToFront::Replied { connection, token, result: Ok(Reply::Done) };
                    output.send_when_stored(write, connection.core, Payload::ToFront(done));
                }
            }
            ToHome::Credit { subscriber, credit, delivered } => {
                self.credit(subscriber, credit, delivered, output);
            }
            ToHome::Drain { subscriber, token } => {
                self.drain(subscriber, token, output);
            }
            ToHome::Declare { owner, token, destination, account } => {
                self.declare(owner, token, destination, account, output);
            }
            ToHome::Undeclare { owner, destination } => {
                self.undeclare(owner, &destination, output);
            }
            ToHome::Prepare { connection, transaction: number, operations, account, alone } => {
                let transaction = TransactionId { core: from, number };
                self.prepare(connection, transaction, operations, account, alone, output);
            }
            ToHome::Decide { transaction: number, commit } => {
                self.decide(TransactionId { core: from, number }, commit, output);
            }
            ToHome::Committed(transaction) => self.committed(transaction, output),
            ToHome::NotCommitted(transaction) => self.not_committed(transaction, output),
            ToHome::DeadLetter { message, account, stored_at } => {
                self.add_dead_letter(message, stored_at.is_some(), account, output);
                if let Some((queue, position)) = stored_at {
                    // In one batch, so that it is always in exactly one queue.
                    output.writes.add(Record::Remove(queue, position));
                }
            }
        }
    }

    fn subscribe(&mut self, consume: &Consume, output: &mut ShardOutput<'_>) {
        let Consume { subscriber, token, mode, credit, .. } = *consume;
        let destination = &consume.destination;
        if let Some(terms) = &consume.durable {
            return self.consume_durable(consume, terms, output);
        }
        let result = match mode {
            Mode::Browse => self.begin_browse(consume),
            Mode::Consume if destination.kind() == DestinationKind::TempTopic => {
                self.join_temp_topic(consume)
            }
            Mode::Consume => self.join_queue(consume, output),
        };
        output.send_front(
            subscriber.connection.core,
            ToFront::Subscribed { subscriber, token, result },
        );
        if result.is_ok() {
            self.credit(subscriber, Credit::Add(credit), 0, output);
        }
    }

    fn join_queue(
        &mut self,
        consume: &Consume,
        output: &mut ShardOutput<'_>,
    ) -> Result<(), Refusal> {
        let (subscriber, destination) = (consume.subscriber, &consume.destination);
        if destination.kind().is_temporary() {
            self.check_owner(subscriber.connection, destination)?;
        }
        let index = self.find_or_make_queue(destination, consume.account, output)?;
        self.add_consumer(index, consume, consume.selector.as_ref());
        Ok(())
    }

    /// What is unsettled up to `failed` counts as a failed attempt, the rest is released.
    fn unsubscribe(
        &mut self,
        subscriber: Subscriber,
        destination: &Destination,
        failed: Tag,
        ending: Ending,
        output: &mut ShardOutput<'_>,
    ) -> Option<WriteId> {
        self.stop(subscriber, output);
        self.leave_temp_topic(subscriber, destination);
        if let Some(browser) = self.browsers.remove(&subscriber)
            && browser.waits_for_load
            && let Some(index) = self.index_of(&browser.queue)
        {
            self.waiting_has_left(index);
        }
        let mut consumer = self.consumers.remove(&subscriber)?;
        let index = consumer.queue;
        if consumer.waits_for_load {
            self.waiting_has_left(index);
        }
        let Some(queue) = self.queues.get_mut(index) else {
            internal!("a consumer of a queue that does not exist");
            return None;
        };
        let next = queue.remove_consumer(subscriber, &mut consumer);
        self.enqueue_anew(next);
        if consumer.in_transactions > 0 {
            self.leave_transactions(subscriber, failed);
        }
        for (tag, queued) in consumer.unsettled {
            let outcome = if tag <= failed { Outcome::Failed } else { Outcome::Released };
            self.apply_outcome(index, queued, outcome, output);
        }
        let deleted = self.left_durable(index, subscriber, ending, output);
        self.dispatch_ready(index, output);
        Some(consumer.settled_write).max(deleted)
    }

    /// See [`Queue::waiting_has_left`].
    fn waiting_has_left(&mut self, index: usize) {
        let Some(queue) = self.queues.get_mut(index) else { return };
        queue.waiting_has_left(|subscriber| {
            self.consumers.contains_key(&subscriber) || self.browsers.contains_key(&subscriber)
        });
    }

    /// A consumer is to end: another may have its durable subscription.
    fn leave_binding(&mut self, subscriber: Subscriber) {
        if let Some((_, queue)) = self.consumer_and_queue(subscriber)
            && let Some(binding) = &mut queue.binding
        {
            binding.leave(subscriber);
        }
    }

    fn credit(
        &mut self,
        subscriber: Subscriber,
        credit: Credit,
        delivered: u64,
        output: &mut ShardOutput<'_>,
    ) {
        if let Some((consumer, queue)) = self.consumer_and_queue(subscriber) {
            consumer.allowance.change(credit, delivered);
            queue.dequeue_exhausted(consumer);
            self.dispatch_to(subscriber, output);
        } else if let Some(browser) = self.browsers.get_mut(&subscriber) {
            browser.allowance.change(credit, delivered);
            self.browse(subscriber, output);
        }
    }

    /// Takes back the credit of a subscription, once it has got what is ready and it has credit for.
    fn drain(&mut self, subscriber: Subscriber, token: Token, output: &mut ShardOutput<'_>) {
        if let Some(consumer) = self.consumers.get_mut(&subscriber) {
            consumer.allowance.drain(token);
            self.finish_drains(subscriber, output);
        } else if let Some(browser) = self.browsers.get_mut(&subscriber) {
            browser.allowance.drain(token);
            self.browse(subscriber, output);
        } else {
            drained(subscriber, token, output);
        }
    }

    /// Replies to the drains of a consumer that are done. What it has credit for since is delivered.
    fn finish_drains(&mut self, subscriber: Subscriber, output: &mut ShardOutput<'_>) {
        while let Some((consumer, queue)) = self.consumer_and_queue(subscriber)
            && !consumer.is_unfinished()
        {
            let index = consumer.queue;
            let is_more = queue.has_ready() && consumer.has_unsettled_room();
            let Some(token) = consumer.allowance.next_drained(is_more) else { return };
            drained(subscriber, token, output);
            queue.dequeue_exhausted(consumer);
            queue.enqueue_consumer(subscriber, consumer);
            self.dispatch_ready(index, output);
        }
    }

    /// No delivery to this subscription follows.
    fn stop(&mut self, subscriber: Subscriber, output: &mut ShardOutput<'_>) {
        let tokens = if let Some((consumer, queue)) = self.consumer_and_queue(subscriber) {
            let tokens = consumer.allowance.end();
            queue.dequeue_exhausted(consumer);
            tokens
        } else if let Some(browser) = self.browsers.get_mut(&subscriber) {
            browser.allowance.end()
        } else {
            return;
        };
        tokens.for_each(|token| drained(subscriber, token, output));
    }

    fn consumer_and_queue(
        &mut self,
        subscriber: Subscriber,
    ) -> Option<(&mut Consumer, &mut Queue)> {
        let consumer = self.consumers.get_mut(&subscriber)?;
        let queue = self.queues.get_mut(consumer.queue);
        if queue.is_none() {
            internal!("a consumer of a queue that does not exist");
        }
        Some((consumer, queue?))
    }

    /// A message that the store has kept is in its queue again, over all bounds if it must be.
    pub(crate) fn restore(&mut self, restored: Restored, output: &mut ShardOutput<'_>) {
        let Restored { queue, position, mut message, dead_letter, attempts } = restored;
        self.sequence = self.sequence.max(position.sequence());
        if let Some(reason) = dead_letter {
            let queued = QueuedMessage::restored(message, position);
            self.send_dead_letter(&queue, queued, reason, output);
            return;
        }
        if queue.is_subscription() && self.bound(&queue).is_none() {
            // A transaction with it ended after the subscription did.
            output.writes.add(Record::Remove(queue, position));
            return;
        }
        let index = self.find_or_make_queue_anyway(queue, None, output);
        let queue = self.queues.get_mut(index);
        queue.iter().for_each(|queue| message.share_name(queue.id.name()));
        output.quotas.charge_anyway(None, &message);
        let mut queued = QueuedMessage::restored(message, position);
        queued.attempts = attempts.count;
        match queue.and_then(|queue| Some((queue.due_after(attempts, output.now.unix_ms)?, queue)))
        {
            Some((due, queue)) => {
                queue.count(&queued.message);
                queue.delay(queued, due);
            }
            None => self.enter_stored(index, queued, output),
        }
        self.dispatch_ready(index, output);
    }

    /// What is stored becomes ready, and what waited for room in the store enters.
    /// `refused`: but for the last batch, which is not stored, and will not be.
    pub(crate) fn stored(&mut self, upto: WriteId, refused: bool, output: &mut ShardOutput<'_>) {
        self.effort.renew(output.now);
        let mut lost = Vec::new();
        while let Some((_, index)) = self.arrivals.pop_front_if(|(write, _)| *write <= upto) {
            // An earlier one may have made all its messages ready, and ended it.
            let Some(queue) = self.queues.get_mut(index) else { continue };
            for queued in queue.stored(upto, refused, output.now.unix_ms) {
                self.stats.refused_full += 1;
                output.quotas.uncharge(queued.account, &queued.message);
                lost.push((queue.id.clone(), queued.message));
            }
            if refused {
                self.refuse_behind(index, output);
            }
            self.dispatch_ready(index, output);
        }
        for (queue, message) in lost {
            self.number_lost(&queue, &message);
        }
        self.numbers_stored(upto);
        self.retry_waiting(output);
    }

    /// What waited for room in the store enters, if there is room: in turn, so that no queue takes
    /// all of it.
    pub(crate) fn retry_waiting(&mut self, output: &mut ShardOutput<'_>) {
        output.writes.reopen();
        // Who waits has the store opened, and nobody else.
        while !self.waiting.is_empty()
            && output.writes.is_open()
            && let Some(index) = self.waiting.pop_front()
        {
            if let Some(queue) = self.queues.get_mut(index) {
                queue.waits_for_store = false;
            }
            self.dispatch_ready(index, output);
        }
    }

    /// Drops what has expired and refuses what has waited for too long.
    pub(crate) fn check_deadlines(&mut self, output: &mut ShardOutput<'_>) {
        self.effort.renew(output.now);
        if self.resident_bytes_max.is_some() {
            let resident_max = self.resident_max();
            self.queues.iter_mut().for_each(|(_, queue)| queue.set_resident_max(resident_max));
        }
        let due = |queue: &Queue| queue.is_due(output.now.unix_ms, output.now.mono_ns);
        let due: Vec<usize> =
            self.queues.iter().filter(|(_, queue)| due(queue)).map(|(index, _)| index).collect();
        let due_max = (DUE_MAX / due.len().max(1)).max(1);
        for index in due {
            if let Some(queue) = self.queues.get_mut(index) {
                self.stats.expired += queue.expire(output);
                self.stats.expired += queue.release_due(due_max, output);
            }
            self.dispatch_ready(index, output);
            let mut refused = false;
            while let Some(publisher) =
                self.queues.get_mut(index).and_then(|queue| queue.overdue(output.now.mono_ns))
            {
                self.refuse(index, &publisher, output);
                refused = true;
            }
            if refused {
                self.refuse_behind(index, output);
            }
            self.dispatch_ready(index, output);
        }
        self.search_on(output);
        self.refuse_claims(output);
    }

    /// See [`crate::Shard::take_lookups`].
    pub(crate) const fn take_spent(&mut self) -> usize {
        self.effort.take_spent()
    }

    const fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// The queue that is this destination; a plain one is made when missing.
    fn find_or_make_queue(
        &mut self,
        destination: &Destination,
        account: Option<Account>,
        output: &mut ShardOutput<'_>,
    ) -> Result<usize, Refusal> {
        let id = QueueId::of(destination).ok_or(Refusal::NotFound)?;
        match self.index_of(&id) {
            Some(index) => Ok(index),
            None if id.is_temporary() => Err(Refusal::NotFound),
            None => {
                let settings = self.settings(&id);
                self.make_queue(Queue::new(id, None, account, settings), output)
            }
        }
    }

    fn make_queue(&mut self, queue: Queue, output: &mut ShardOutput<'_>) -> Result<usize, Refusal> {
        // Dead letters may have made queues beyond the bound: they take none of the reserve.
        let free = self.limits.queues_max.saturating_sub(self.queues.len());
        let kept = self.limits.queues_reserved().saturating_sub(self.temporary_queues);
        let has_room = if queue.id.is_temporary() { free + kept > 0 } else { free > kept };
        if !has_room {
            return Err(Refusal::Queues);
        }
        output.quotas.charge_queue(queue.account)?;
        Ok(self.insert_queue(queue))
    }

    /// The queue for a message that was in one before; it is made over `queues_max` and the quota of
    /// the sender if it must be: that is better than to lose the message.
    fn find_or_make_queue_anyway(
        &mut self,
        id: QueueId,
        account: Option<Account>,
        output: &mut ShardOutput<'_>,
    ) -> usize {
        if let Some(index) = self.index_of(&id) {
            return index;
        }
        output.quotas.add_queue(account);
        let settings = self.settings(&id);
        self.insert_queue(Queue::new(id, None, account, settings))
    }

    fn insert_queue(&mut self, mut queue: Queue) -> usize {
        queue.set_resident_max(self.resident_max());
        let id = queue.id.clone();
        self.temporary_queues += usize::from(id.is_temporary());
        let index = self.queues.insert(queue);
        self.indexes.insert(id, index);
        index
    }

    fn remove_queue(&mut self, index: usize, output: &mut ShardOutput<'_>) -> Option<Queue> {
        let queue = self.queues.try_remove(index)?;
        self.indexes.remove(&queue.id);
        self.temporary_queues -= usize::from(queue.id.is_temporary());
        output.quotas.remove_queue(queue.account);
        // A browser does not keep the queue: it goes on with what is there, if it is made again.
        for subscriber in queue.waiting_for_load() {
            if let Some(browser) = self.browsers.get_mut(&subscriber) {
                browser.waits_for_load = false;
                if !std::mem::replace(&mut browser.is_unfinished, true) {
                    self.unfinished.push_back(subscriber);
                }
            }
        }
        Some(queue)
    }

    fn end_if_idle(&mut self, index: usize, output: &mut ShardOutput<'_>) {
        if self.queues.get(index).is_some_and(Queue::is_idle) {
            self.remove_queue(index, output);
        }
    }

    fn index_of(&self, queue: &QueueId) -> Option<usize> {
        self.indexes.get(queue).copied()
    }

    pub(crate) fn depths(&self) -> impl Iterator<Item = QueueDepth<'_>> {
        self.queues.iter().map(|(_, queue)| queue.depth())
    }

    /// See [`crate::Shard::messages_left`].
    pub(crate) fn messages_left(&self, is_stored: bool) -> usize {
        let is_left = |queued: &&QueuedMessage| !is_stored || !queued.is_durable();
        let waiting = self.queues.iter().flat_map(|(_, queue)| queue.waiting());
        let mut left = waiting.filter(is_left).count();
        self.consumers.all(|consumer| {
            left += consumer.unsettled.values().filter(is_left).count();
            true
        });
        left
    }

    pub(crate) const fn unreadable(&self) -> u64 {
        self.stats.unreadable
    }

    pub(crate) fn add_stats(&self, stats: &mut Stats) {
        self.add_client_stats(stats);
        stats.queues = self.queues.len();
        stats.transactions += self.prepared.len();
        stats.queue_published = self.stats.queue_published;
        stats.queue_settled = self.stats.queue_settled;
        stats.expired += self.stats.expired;
        stats.dead_lettered = self.stats.dead_lettered;
        stats.dropped = self.stats.dropped;
        stats.dead_letters_dropped = self.stats.dead_letters_dropped;
        stats.refused_full = self.stats.refused_full;
        stats.duplicates = self.stats.duplicates;
        stats.loaded = self.stats.loaded;
        stats.unreadable = self.stats.unreadable;
        let on_disk = self.queues.iter().map(|(_, queue)| queue.counts_on_disk());
        stats.on_disk = on_disk.map(|(ready, delayed)| ready + delayed).sum();
    }

    /// See [`crate::Shard::assert_empty`].
    pub(crate) fn assert_empty(&self) {
        assert_eq!((self.queues.len(), self.indexes.len()), (0, 0), "queues");
        assert_eq!((self.consumers.len(), self.browsers.len()), (0, 0), "consumers");
        assert_eq!(self.temp_topics.len(), 0, "temporary topics");
        self.assert_no_clients();
        assert_eq!(self.prepared.len(), 0, "branches of transactions");
        assert_eq!(self.postponed.len(), 0, "messages that wait until the store is open");
        self.producers.assert_settled();
        assert!(self.refused.is_empty(), "refusals that a front does not know");
    }

    /// See [`crate::Shard::assert_consistent`]. Returns what all queues take.
    pub(crate) fn assert_consistent(&self) -> Usage {
        let mut usage = Usage::default();
        let mut counts: BTreeMap<&QueueId, Counts> = BTreeMap::new();
        let counted = self.consumers.all(|consumer| {
            let Some(queue) = self.queues.get(consumer.queue) else { return false };
            let counts = counts.entry(&queue.id).or_default();
            counts.consumers += 1;
            counts.selecting += usize::from(consumer.selects());
            counts.exclusive += usize::from(consumer.is_exclusive());
            for queued in consumer.unsettled.values() {
                counts.add(&queued.message);
                usage.add_message(queued.account, &queued.message);
            }
            true
        });
        assert!(counted, "a consumer has no queue");
        self.producers.assert_consistent();
        for branch in self.prepared.values() {
            for publication in &branch.publications {
                let counts = counts.entry(&publication.queue).or_default();
                counts.reserved += 1;
                counts.add(&publication.message);
                usage.add_message(self.charged(publication, branch.account), &publication.message);
            }
            for settlement in &branch.settlements {
                let queued = &settlement.queued;
                counts.entry(&settlement.queue).or_default().add(&queued.message);
                usage.add_message(queued.account, &queued.message);
            }
        }
        let temporary = self.queues.iter().filter(|(_, queue)| queue.id.is_temporary());
        assert_eq!(temporary.count(), self.temporary_queues, "temporary queues");
        for (index, queue) in &self.queues {
            assert_eq!(self.index_of(&queue.id), Some(index), "{:?} is not found", queue.id);
            let elsewhere = counts.get(&queue.id).copied().unwrap_or_default();
            queue.assert_consistent(elsewhere, &mut usage);
            assert!(!queue.is_idle(), "{:?} is idle", queue.id);
            assert!(!queue.waits_for_store || self.waiting.contains(&index), "{:?}", queue.id);
        }
        usage
    }
}

/// Replies to a publication or a settlement.
fn replied(
    connection: ConnectionId,
    token: Token,
    result: Result<Reply, Refusal>,
    output: &mut ShardOutput<'_>,
) {
    output.send_front(connection.core, ToFront::Replied { connection, token, result });
}

/// Replies to a drain, behind what was delivered.
fn drained(subscriber: Subscriber, token: Token, output: &mut ShardOutput<'_>) {
    output.send_front(subscriber.connection.core, ToFront::Drained { subscriber, token });
}
