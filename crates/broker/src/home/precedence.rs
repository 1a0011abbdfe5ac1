//! Which consumers of a queue get its messages before others: one that wants all of it, or those with a
//! higher priority.
//!
//! Ready consumers are in the order of their keys, which begin with their precedence. That of the exclusive
//! consumer whose turn it is comes before all; while there is one, nobody else is offered anything.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use contract::{Precedence, Selector, Tag, internal};

use super::{Home, queue::Consumer};
use crate::shard_message::{Consume, Subscriber};

/// The exclusive consumers of a queue.
#[derive(Debug, Default)]
pub(super) struct Exclusives {
    /// First the one that gets all.
    in_order: BTreeMap<(Reverse<i8>, u64), Subscriber>,
    keys: BTreeMap<Subscriber, (Reverse<i8>, u64)>,
    last: u64,
}

impl Exclusives {
    pub(super) fn insert(&mut self, priority: i8, subscriber: Subscriber) {
        self.last += 1;
        let key = (Reverse(priority), self.last);
        self.in_order.insert(key, subscriber);
        self.keys.insert(subscriber, key);
    }

    pub(super) fn remove(&mut self, subscriber: Subscriber) {
        if let Some(key) = self.keys.remove(&subscriber) {
            self.in_order.remove(&key);
        }
    }

    /// The one that gets all messages.
    pub(super) fn active(&self) -> Option<Subscriber> {
        self.in_order.first_key_value().map(|(_, &subscriber)| subscriber)
    }

    pub(super) fn len(&self) -> usize {
        self.in_order.len()
    }
}

impl Home {
    pub(super) fn add_consumer(
        &mut self,
        index: usize,
        consume: &Consume,
        selector: Option<&Arc<Selector>>,
    ) {
        let subscriber = consume.subscriber;
        let mut consumer = Consumer::new(index, consume, Tag(self.tag));
        let Some(queue) = self.queues.get_mut(index) else {
            return internal!("a queue was found and is not there");
        };
        let passed = queue.add_consumer(subscriber, &mut consumer, selector);
        self.consumers.insert(subscriber, consumer);
        self.enqueue_anew(passed);
    }

    /// The precedence of a consumer has changed.
    pub(super) fn enqueue_anew(&mut self, subscriber: Option<Subscriber>) {
        if let Some(subscriber) = subscriber
            && let Some((consumer, queue)) = self.consumer_and_queue(subscriber)
        {
            queue.dequeue_consumer(consumer);
            queue.enqueue_consumer(subscriber, consumer);
        }
    }
}

/// The beginning of the key of a ready consumer, and its end.
pub(super) const fn ready_key(precedence: Precedence, is_active: bool, number: u64) -> u64 {
    let order = if is_active { 0 } else { 1 + i8::MAX.abs_diff(precedence.priority) as u64 };
    order << NUMBER_BITS | number
}

/// All keys of consumers that are not the active one are at least this.
pub(super) const ACTIVE_END: u64 = 1 << NUMBER_BITS;

/// No queue has that many.
const NUMBER_BITS: u32 = 54;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_of_precedence() {
        let key = |priority, is_active, number| {
            ready_key(Precedence { is_exclusive: is_active, priority }, is_active, number)
        };
        let keys = [
            key(-5, true, 9),
            key(i8::MAX, false, 1),
            key(1, false, 8),
            key(0, false, 2),
            key(0, false, 3),
            key(-1, false, 1),
            key(i8::MIN, false, 0),
        ];
        assert!(keys.is_sorted(), "{keys:?}");
        assert!(keys[0] < ACTIVE_END && keys[1] > ACTIVE_END);
    }
}
