//! What consumers make of their deliveries.

use std::ops::RangeInclusive;

use contract::{Outcome, Tag};

use super::{Home, dead_letter::dead_letter_reason};
use crate::{
    output::ShardOutput,
    queued::{QueuePosition, QueuedMessage},
    record::{Attempts, Record, WriteId},
    shard_message::Subscriber,
};

impl Home {
    /// Returns the last batch that tells the store what this consumer settled.
    pub(super) fn settle(
        &mut self,
        subscriber: Subscriber,
        tags: &RangeInclusive<Tag>,
        outcome: Outcome,
        output: &mut ShardOutput<'_>,
    ) -> Option<WriteId> {
        let index = self.consumers.get(&subscriber)?.queue;
        let mut written = None;
        while let Some((_, queued)) =
            self.consumers.get_mut(&subscriber).and_then(|consumer| consumer.take_first(tags))
        {
            if matches!(outcome, Outcome::Undeliverable { .. }) {
                self.exclude(subscriber, queued.position);
            }
            written = self.apply_outcome(index, queued, outcome, output).max(written);
        }
        let consumer = self.consumers.get_mut(&subscriber)?;
        consumer.settled_write = written.unwrap_or(consumer.settled_write);
        let settled_write = consumer.settled_write;
        self.dispatch_to(subscriber, output);
        Some(settled_write)
    }

    /// A message that a consumer had comes to it no more.
    pub(super) fn exclude(&mut self, subscriber: Subscriber, position: QueuePosition) {
        if let Some((consumer, queue)) = self.consumer_and_queue(subscriber) {
            queue.exclude(consumer, position);
        }
    }

    /// What a consumer that was stopped has and was not handed goes to others now.
    pub(super) fn release_behind(
        &mut self,
        subscriber: Subscriber,
        handed_over: Tag,
        output: &mut ShardOutput<'_>,
    ) {
        let Some(consumer) = self.consumers.get_mut(&subscriber) else { return };
        let index = consumer.queue;
        let behind = Tag(handed_over.0.saturating_add(1));
        for queued in consumer.unsettled.split_off(&behind).into_values() {
            self.apply_outcome(index, queued, Outcome::Released, output);
        }
        self.dispatch_ready(index, output);
    }

    /// Deliveries were written: that settles them up to `settled`, and makes room for more.
    pub(super) fn written(
        &mut self,
        subscriber: Subscriber,
        bytes: usize,
        settled: Option<Tag>,
        output: &mut ShardOutput<'_>,
    ) {
        if let Some(consumer) = self.consumers.get_mut(&subscriber) {
            consumer.allowance.written(bytes);
            match settled {
                Some(tag) => {
                    self.settle(subscriber, &(Tag(0)..=tag), Outcome::Accepted, output);
                }
                None => self.dispatch_to(subscriber, output),
            }
        } else if let Some(browser) = self.browsers.get_mut(&subscriber) {
            browser.allowance.written(bytes);
            self.browse(subscriber, output);
        }
    }

    /// What became of a delivery, which the queue still counts. [`Home::dispatch_ready`] is to
    /// follow. Returns the batch that tells the store.
    pub(super) fn apply_outcome(
        &mut self,
        index: usize,
        mut queued: QueuedMessage,
        outcome: Outcome,
        output: &mut ShardOutput<'_>,
    ) -> Option<WriteId> {
        let queue = self.queues.get_mut(index)?;
        let reason = dead_letter_reason(outcome, queued.attempts, &queue.settings, &self.limits);
        if let Some(reason) = reason {
            let record = Record::DeadLetter(queue.id.clone(), queued.position, reason);
            let write = queued.is_durable().then(|| output.writes.add(record));
            self.dead_letter(index, queued, reason, output);
            return write;
        }
        match outcome {
            Outcome::Accepted => {
                self.stats.queue_settled += 1;
                return queue.remove(&queued, output);
            }
            Outcome::Failed | Outcome::Undeliverable { failed: true } => {
                queued.attempts += 1;
                if queued.is_durable() {
                    let last_unix_ms = output.now.unix_ms;
                    let attempts = Attempts { count: queued.attempts, last_unix_ms };
                    output.writes.attempts_failed(&queue.id, queued.position, attempts);
                }
                let wait_ms = queue.settings.redelivery.wait_ms(queued.attempts);
                if wait_ms > 0 {
                    queue.delay(queued, output.now.unix_ms.saturating_add(wait_ms));
                    return None;
                }
            }
            Outcome::Released | Outcome::Rejected | Outcome::Undeliverable { failed: false } => {}
        }
        queue.make_ready(queued);
        None
    }
}
