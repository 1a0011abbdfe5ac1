//! Subscriptions that look at what a queue holds.

use std::sync::Arc;

use contract::{Delivery, Refusal, Selector, Token};

use super::{Home, allowance::Allowance, drained};
use crate::{
    output::ShardOutput,
    queued::{QueueId, QueuePosition},
    shard_message::{Consume, Source, Subscriber, ToFront},
};

/// A subscription that browses a queue.
///
/// It does not keep the queue: one that was deleted has nothing to show.
#[derive(Debug)]
pub(super) struct Browser {
    queue: QueueId,
    /// The position of the last message that it was shown.
    last: Option<QueuePosition>,
    /// Messages that came after this one are not shown, so that a browse ends.
    sequence_last: u64,
    /// `None`: it is shown any message.
    selector: Option<Arc<Selector>>,
    /// It goes on later.
    pub(super) is_unfinished: bool,
    pub(super) allowance: Allowance,
}

impl Home {
    pub(super) fn begin_browse(&mut self, consume: &Consume) -> Result<(), Refusal> {
        let (subscriber, destination) = (consume.subscriber, &consume.destination);
        let queue = QueueId::of(destination).ok_or(Refusal::NotFound)?;
        if queue.is_temporary() {
            self.check_owner(subscriber.connection, destination)?;
        }
        let (sequence_last, allowance) = (self.sequence, Allowance::default());
        let selector = consume.selector.clone();
        let (last, is_unfinished) = (None, false);
        let browser = Browser { queue, last, sequence_last, selector, is_unfinished, allowance };
        self.browsers.insert(subscriber, browser);
        Ok(())
    }

    /// Shows a browser what it may get now, and replies to its drains that are done.
    pub(super) fn browse(&mut self, subscriber: Subscriber, output: &mut ShardOutput<'_>) {
        while let Some(token) = self.show(subscriber, output) {
            drained(subscriber, token, output);
        }
    }

    /// Shows a browser what it may get now; returns a drain that is done with that.
    fn show(&mut self, subscriber: Subscriber, output: &mut ShardOutput<'_>) -> Option<Token> {
        let browser = self.browsers.get_mut(&subscriber)?;
        let index = self.indexes.get(&browser.queue);
        let queue = index.and_then(|&index| self.queues.get(index));
        let last = browser.last;
        let ready = queue.into_iter().flat_map(|queue| queue.ready_after(last));
        let mut is_more = false;
        for queued in ready {
            let is_shown = queued.position.sequence() <= browser.sequence_last
                && !queued.message.is_expired(output.now.unix_ms);
            if is_shown && !browser.allowance.allows_one() {
                is_more = true;
                break;
            }
            if self.effort.is_spent() && browser.selector.is_some() {
                if !std::mem::replace(&mut browser.is_unfinished, true) {
                    self.unfinished.push_back(subscriber);
                }
                return None;
            }
            browser.last = Some(queued.position);
            let mut selects = |s: &Arc<Selector>| self.effort.selects(s, &queued.message);
            if !is_shown || !browser.selector.as_ref().is_none_or(&mut selects) {
                continue;
            }
            browser.allowance.take_one(queued.message.cost());
            let delivery = Delivery {
                redeliveries: queued.attempts,
                ..Delivery::new(Arc::clone(&queued.message))
            };
            let message = ToFront::Deliver { subscriber, source: Source::Browse, delivery };
            output.send_front(subscriber.connection.core, message);
        }
        browser.allowance.next_drained(is_more)
    }
}
