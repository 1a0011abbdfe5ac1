//! Durable and shared subscriptions: queues that are bound to topics. One that is not durable is not stored,
//! and ends with its last consumer.
//!
//! ```text
//! front of a consumer        home of the queue              every front
//!   Subscribe ------------->  Record::Bind, Bind ---------->  what matches goes there too
//!                             all have, and it is stored <--  Bound
//!            <-- Subscribed
//! ```

use std::{mem, sync::Arc};

use contract::{ConnectionId, Credit, Ending, Message, Refusal, Reply, Token, internal};

use super::{Home, queue::Queue, replied};
use crate::{
    effort::Effort,
    output::ShardOutput,
    queued::QueueId,
    record::{Record, Terms, WriteId},
    shard_message::{Consume, Payload, Subscriber, ToFront},
};

/// What makes a queue that of a durable subscription.
#[derive(Debug)]
pub(super) struct Binding {
    terms: Arc<Terms>,
    /// Names the last request to the fronts.
    request: u64,
    /// Those that have not replied to it.
    missing: usize,
    /// The batch that it is stored with.
    write: WriteId,
    /// Those that wait for both.
    waiting: Vec<(Subscriber, Token)>,
    /// The consumer of one that is not shared.
    active: Option<Subscriber>,
}

impl Binding {
    /// Whether a message that this connection publishes to its topics is for it.
    pub(super) fn takes(
        &self,
        connection: ConnectionId,
        message: &Message,
        effort: &mut Effort,
    ) -> bool {
        let is_local = self.terms.no_local
            && self.active.is_some_and(|subscriber| subscriber.connection == connection);
        let mut selects = |selector: &Arc<_>| effort.selects(selector, message);
        !is_local && self.terms.selector.as_ref().is_none_or(&mut selects)
    }

    /// Its consumer gets nothing more.
    pub(super) fn leave(&mut self, subscriber: Subscriber) {
        self.active.take_if(|active| *active == subscriber);
    }
}

impl Home {
    /// Where the queue of a durable subscription is that exists.
    pub(super) fn bound(&self, queue: &QueueId) -> Option<usize> {
        let index = self.index_of(queue)?;
        self.queues.get(index)?.binding.is_some().then_some(index)
    }

    /// A consumer of a durable subscription, made or changed where that is required.
    pub(super) fn consume_durable(
        &mut self,
        consume: &Consume,
        terms: &Arc<Terms>,
        output: &mut ShardOutput<'_>,
    ) {
        let Consume { subscriber, token, credit, .. } = *consume;
        match self.join_durable(consume, terms, output) {
            Ok(()) => self.credit(subscriber, Credit::Add(credit), 0, output),
            Err(refusal) => {
                let result = Err(refusal);
                let refused = ToFront::Subscribed { subscriber, token, result };
                output.send_front(subscriber.connection.core, refused);
            }
        }
    }

    fn join_durable(
        &mut self,
        consume: &Consume,
        terms: &Arc<Terms>,
        output: &mut ShardOutput<'_>,
    ) -> Result<(), Refusal> {
        let (subscriber, token) = (consume.subscriber, consume.token);
        let Some(id) = QueueId::named(consume.destination.clone()) else {
            internal!("a durable subscription without a name");
            return Err(Refusal::Busy);
        };
        let index = match self.bound(&id) {
            Some(index) => {
                self.check_joins(index, consume, terms, output)?;
                index
            }
            None => self.bind(id, consume, terms, output)?,
        };
        self.add_consumer(index, consume, None);
        if let Some(Queue { binding: Some(binding), .. }) = self.queues.get_mut(index) {
            binding.active = (!terms.is_shared).then_some(subscriber);
            binding.waiting.push((subscriber, token));
        }
        self.confirm_bound(index, output);
        Ok(())
    }

    /// Whether a consumer may join a durable subscription that exists; what has other terms and no
    /// consumer begins anew.
    fn check_joins(
        &mut self,
        index: usize,
        consume: &Consume,
        terms: &Arc<Terms>,
        output: &mut ShardOutput<'_>,
    ) -> Result<(), Refusal> {
        let Some(queue) = self.queues.get_mut(index) else { return Err(Refusal::Busy) };
        let consumers = queue.consumers();
        let Some(binding) = &queue.binding else { return Err(Refusal::Busy) };
        if binding.terms.is_shared != terms.is_shared {
            return Err(Refusal::DurableShared);
        }
        let lasts = queue.id.lasts();
        let is_same = *binding.terms == **terms;
        let active = binding.active;
        // One that is ending has released what it had, or will.
        let is_free = if terms.is_shared { consumers == 0 || is_same } else { active.is_none() };
        if !is_free {
            let is_other = |active: &Subscriber| active.connection != consume.subscriber.connection;
            let Some(active) = active.filter(is_other).filter(|_| consume.displaces) else {
                return Err(Refusal::DurableInUse);
            };
            self.stop(active, output);
            let displace = ToFront::Displace { subscriber: active };
            output.send_front(active.connection.core, displace);
        }
        if is_same {
            return Ok(());
        }
        if let Some(refusal) = lasts.then(|| output.writes.refusal_now()).flatten() {
            return Err(refusal);
        }
        self.unbind(index, output);
        self.tell_fronts(index, terms, output);
        Ok(())
    }

    /// Makes a durable subscription.
    fn bind(
        &mut self,
        id: QueueId,
        consume: &Consume,
        terms: &Arc<Terms>,
        output: &mut ShardOutput<'_>,
    ) -> Result<usize, Refusal> {
        if let Some(refusal) = id.lasts().then(|| output.writes.refusal_now()).flatten() {
            return Err(refusal);
        }
        // One that was deleted may wait for the end of transactions.
        let index = match self.index_of(&id) {
            Some(index) => index,
            None => {
                let settings = self.settings(&id);
                self.make_queue(Queue::new(id, None, consume.account, settings), output)?
            }
        };
        self.tell_fronts(index, terms, output);
        Ok(index)
    }

    /// Binds a queue: tells the store and all fronts.
    fn tell_fronts(&mut self, index: usize, terms: &Arc<Terms>, output: &mut ShardOutput<'_>) {
        self.request += 1;
        let (request, fronts) = (self.request, self.placement.cores());
        let Some(queue) = self.queues.get_mut(index) else { return };
        let id = queue.id.clone();
        let write = if id.lasts() {
            output.writes.add(Record::Bind(id.clone(), Arc::clone(terms)))
        } else {
            WriteId::default()
        };
        queue.binding = Some(Box::new(Binding {
            terms: Arc::clone(terms),
            request,
            missing: fronts.into(),
            write,
            waiting: Vec::new(),
            active: None,
        }));
        for core in 0..fronts {
            let (queue, terms) = (id.clone(), Arc::clone(terms));
            output.send_front(core, ToFront::Bind { queue, terms, request });
        }
    }

    /// A front knows of a binding.
    pub(super) fn front_bound(
        &mut self,
        queue: &QueueId,
        request: u64,
        output: &mut ShardOutput<'_>,
    ) {
        let Some(index) = self.bound(queue) else { return };
        let binding = self.queues.get_mut(index).and_then(|queue| queue.binding.as_mut());
        if let Some(binding) = binding.filter(|binding| binding.request == request) {
            binding.missing = binding.missing.saturating_sub(1);
            self.confirm_bound(index, output);
        }
    }

    /// Confirms the subscriptions that wait for all fronts, once these know, and it is stored.
    fn confirm_bound(&mut self, index: usize, output: &mut ShardOutput<'_>) {
        let binding = self.queues.get_mut(index).and_then(|queue| queue.binding.as_mut());
        let Some(binding) = binding.filter(|binding| binding.missing == 0) else { return };
        let write = Some(binding.write);
        for (subscriber, token) in mem::take(&mut binding.waiting) {
            confirm(subscriber, token, write, output);
        }
    }

    /// Says whether there is a durable subscription.
    pub(super) fn find_durable(
        &self,
        connection: ConnectionId,
        token: Token,
        queue: &QueueId,
        output: &mut ShardOutput<'_>,
    ) {
        let missing = || output.writes.unread().unwrap_or(Refusal::NotFound);
        let found = self.bound(queue).map(|_| Reply::Done).ok_or_else(missing);
        replied(connection, token, found, output);
    }

    /// Deletes a durable subscription that no consumer has.
    pub(super) fn delete_durable(
        &mut self,
        connection: ConnectionId,
        token: Token,
        queue: &QueueId,
        output: &mut ShardOutput<'_>,
    ) {
        let Some(index) = self.bound(queue) else {
            let result = output.writes.unread().map_or(Ok(Reply::Done), Err);
            return replied(connection, token, result, output);
        };
        if self.queues.get(index).is_some_and(|queue| queue.consumers() > 0) {
            return replied(connection, token, Err(Refusal::DurableInUse), output);
        }
        let write = self.unbind(index, output);
        self.dispatch_ready(index, output);
        let done = ToFront::Replied { connection, token, result: Ok(Reply::Done) };
        output.send_when_stored(write, connection.core, Payload::ToFront(done));
    }

    /// A consumer of a durable subscription has left. Returns the batch with which that is deleted.
    pub(super) fn left_durable(
        &mut self,
        index: usize,
        subscriber: Subscriber,
        ending: Ending,
        output: &mut ShardOutput<'_>,
    ) -> Option<WriteId> {
        let queue = self.queues.get_mut(index)?;
        queue.binding.as_mut()?.leave(subscriber);
        let is_last = queue.consumers() == 0;
        let is_over = is_last && (ending == Ending::Delete || !queue.id.lasts());
        is_over.then(|| self.unbind(index, output)).flatten()
    }

    /// A queue is that of a durable subscription no more: what it has goes.
    fn unbind(&mut self, index: usize, output: &mut ShardOutput<'_>) -> Option<WriteId> {
        let queue = self.queues.get_mut(index)?;
        let binding = queue.binding.take()?;
        queue.stale_sequence = self.sequence;
        let id = queue.id.clone();
        self.discard(index, output);
        let write = id.lasts().then(|| output.writes.add(Record::Unbind(id.clone())));
        for (subscriber, token) in binding.waiting {
            confirm(subscriber, token, write, output);
        }
        for core in 0..self.placement.cores() {
            let (queue, terms) = (id.clone(), Arc::clone(&binding.terms));
            output.send_front(core, ToFront::Unbind { queue, terms });
        }
        write
    }

    /// Drops what is in the queue of a durable subscription that was deleted, and what waits at it.
    pub(super) fn discard(&mut self, index: usize, output: &mut ShardOutput<'_>) {
        let Some(queue) = self.queues.get_mut(index) else { return };
        while let Some(queued) = queue.pop_waiting() {
            queue.remove(&queued, output);
            self.stats.dropped += 1;
        }
        while queue.evict_first(output) {
            self.stats.dropped += 1;
        }
        while let Some(blocked) = queue.pop_blocked() {
            output.quotas.uncharge(blocked.account, &blocked.message);
            let core = blocked.publisher.connection.core;
            output.send_front(core, blocked.publisher.reply(Ok(())));
        }
    }

    /// The store has kept a durable subscription. Its home gets what is in it next.
    pub(crate) fn restore_binding(
        &mut self,
        queue: &QueueId,
        terms: &Arc<Terms>,
        output: &mut ShardOutput<'_>,
    ) {
        if self.placement.home(queue.name()) != output.core {
            return;
        }
        let index = self.find_or_make_queue_anyway(queue.clone(), None, output);
        let Some(queue) = self.queues.get_mut(index) else { return };
        queue.binding = Some(Box::new(Binding {
            terms: Arc::clone(terms),
            request: 0,
            // All fronts have the same event.
            missing: 0,
            write: WriteId::default(),
            waiting: Vec::new(),
            active: None,
        }));
    }
}

fn confirm(
    subscriber: Subscriber,
    token: Token,
    write: Option<WriteId>,
    output: &mut ShardOutput<'_>,
) {
    let subscribed = ToFront::Subscribed { subscriber, token, result: Ok(()) };
    output.send_when_stored(write, subscriber.connection.core, Payload::ToFront(subscribed));
}
