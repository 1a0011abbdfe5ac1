//! Subscriptions that look at what a queue holds.

use std::sync::Arc;

use contract::{Delivery, Destination, Refusal};

use super::{Home, allowance::Allowance};
use crate::{
    output::ShardOutput,
    queued::{QueueId, QueuePosition},
    shard_message::{Source, Subscriber, ToFront},
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
    pub(super) allowance: Allowance,
}

impl Home {
    pub(super) fn begin_browse(
        &mut self,
        subscriber: Subscriber,
        destination: &Destination,
    ) -> Result<(), Refusal> {
        let queue = QueueId::of(destination).ok_or(Refusal::NotFound)?;
        if queue.is_temporary() {
            self.check_owner(subscriber.connection, destination)?;
        }
        let (sequence_last, allowance) = (self.sequence, Allowance::default());
        self.browsers.insert(subscriber, Browser { queue, last: None, sequence_last, allowance });
        Ok(())
    }

    /// Shows a browser what it has credit for.
    pub(super) fn browse(&mut self, subscriber: Subscriber, output: &mut ShardOutput<'_>) {
        let Some(browser) = self.browsers.get_mut(&subscriber) else { return };
        let index = self.indexes.get(&browser.queue);
        let Some(queue) = index.and_then(|&index| self.queues.get(index)) else { return };
        for queued in queue.ready_after(browser.last) {
            if browser.allowance.is_used_up() {
                break;
            }
            browser.last = Some(queued.position);
            if !queued.position.is_within(browser.sequence_last)
                || queued.message.is_expired(output.now.unix_ms)
            {
                continue;
            }
            browser.allowance.take_one();
            let delivery = Delivery {
                message: Arc::clone(&queued.message),
                tag: None,
                redeliveries: queued.attempts,
            };
            let message = ToFront::Deliver { subscriber, source: Source::Copy, delivery };
            output.send_front(subscriber.connection.core, message);
        }
    }
}
