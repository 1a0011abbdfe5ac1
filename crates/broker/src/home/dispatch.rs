//! How messages that are ready come to the consumers that can take them.

use std::sync::Arc;

use contract::{Delivery, Tag, internal};

use super::{Home, selection::Search};
use crate::{
    output::ShardOutput,
    shard_message::{Source, Subscriber, ToFront},
};

impl Home {
    /// Gives a consumer that may have become ready what it can take.
    pub(super) fn dispatch_to(&mut self, subscriber: Subscriber, output: &mut ShardOutput<'_>) {
        let Some((consumer, queue)) = self.consumer_and_queue(subscriber) else { return };
        let index = consumer.queue;
        queue.enqueue_consumer(subscriber, consumer);
        self.dispatch_ready(index, output);
        self.finish_drains(subscriber, output);
    }

    /// See [`crate::Shard::with_search_per_turn`].
    pub(crate) const fn set_search_per_turn(&mut self, cost: usize) {
        self.effort.set_per_turn(cost);
    }

    /// See [`crate::Shard::is_searching`].
    pub(crate) fn is_searching(&self) -> bool {
        !self.unfinished.is_empty()
    }

    /// Goes on with searches that were not finished, in turn.
    pub(super) fn search_on(&mut self, output: &mut ShardOutput<'_>) {
        for _ in 0..self.unfinished.len() {
            if self.effort.is_spent() {
                break;
            }
            let Some(subscriber) = self.unfinished.pop_front() else { break };
            if let Some((consumer, queue)) = self.consumer_and_queue(subscriber) {
                consumer.set_unfinished(false);
                // It comes behind the others.
                queue.dequeue_consumer(consumer);
                self.dispatch_to(subscriber, output);
            } else if let Some(browser) = self.browsers.get_mut(&subscriber) {
                browser.is_unfinished = false;
                self.browse(subscriber, output);
            }
        }
    }

    /// Gives what is ready to the consumers that can take it, and the room made so to blocked
    /// publishers; forgets the queue if nothing is left of it.
    pub(super) fn dispatch_ready(&mut self, index: usize, output: &mut ShardOutput<'_>) {
        if let Some(queue) = self.queues.get_mut(index) {
            queue.close_groups(|subscriber, tag| {
                let consumer = self.consumers.get(&subscriber);
                consumer.is_none_or(|consumer| consumer.has_settled(tag))
            });
        }
        loop {
            while self.dispatch(index, output) {}
            if !self.unblock(index, output) {
                break;
            }
        }
        if self.queues.get(index).is_some_and(|q| q.id.is_subscription() && q.binding.is_none()) {
            self.discard(index, output);
        }
        let Some(queue) = self.queues.get_mut(index) else { return };
        if queue.is_idle() {
            self.remove_queue(index, output);
        } else if queue.must_wait_for_store(&self.limits) && !queue.waits_for_store {
            queue.waits_for_store = true;
            self.waiting.push_back(index);
        }
        self.load_next(index, output);
    }

    /// Offers what is ready to the next consumer. `false` if there is nothing, or no consumer that
    /// was not offered it.
    fn dispatch(&mut self, index: usize, output: &mut ShardOutput<'_>) -> bool {
        let Some(queue) = self.queues.get_mut(index) else { return false };
        self.stats.expired += queue.expire(output);
        let Some(subscriber) = queue.next_consumer() else { return false };
        let Some(consumer) = self.consumers.get_mut(&subscriber) else {
            internal!("a ready consumer that does not exist");
            return true;
        };
        let position = match queue.search(subscriber, consumer, &mut self.effort) {
            Search::Found(position) => position,
            Search::Nothing => return true,
            Search::OnDisk(position) => {
                if !std::mem::replace(&mut consumer.waits_for_load, true) {
                    queue.wait_for(subscriber, position);
                }
                return true;
            }
            Search::Unfinished => {
                if consumer.set_unfinished(true) {
                    self.unfinished.push_back(subscriber);
                }
                return true;
            }
        };
        queue.dequeue_consumer(consumer);
        let Some(queued) = queue.take(position) else {
            internal!("a message is ready and is not there");
            return false;
        };
        if queued.position.sequence() <= queue.stale_sequence {
            queue.remove(&queued, output);
            queue.enqueue_consumer(subscriber, consumer);
            self.stats.dropped += 1;
            return true;
        }
        consumer.allowance.take_one(queued.message.cost());
        self.tag += 1;
        let tag = Tag(self.tag);
        queue.assign_group(subscriber, queued.group(), tag);
        let delivery = Delivery {
            tag: Some(tag),
            redeliveries: queued.redeliveries(),
            ..Delivery::new(Arc::clone(&queued.message))
        };
        let source = Source::Queue(consumer.settlement);
        consumer.unsettled.insert(tag, queued);
        queue.enqueue_consumer(subscriber, consumer);
        let message = ToFront::Deliver { subscriber, source, delivery };
        output.send_front(subscriber.connection.core, message);
        true
    }
}
