//! Subscriptions that look at what a queue holds.

use std::{mem, sync::Arc};

use contract::{Delivery, Refusal, Selector, Token};

use super::{Home, allowance::Allowance, drained, paged::Ready};
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
    pub(super) queue: QueueId,
    /// The position of the last message that it was shown.
    last: Option<QueuePosition>,
    /// Messages that came after this one are not shown, so that a browse ends.
    sequence_last: u64,
    /// `None`: it is shown any message.
    selector: Option<Arc<Selector>>,
    /// It goes on later.
    pub(super) is_unfinished: bool,
    /// What it is to be shown next is on the disk.
    pub(super) waits_for_load: bool,
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
        let browser = Browser {
            queue,
            last: None,
            sequence_last,
            selector,
            is_unfinished: false,
            waits_for_load: false,
            allowance,
        };
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
        let index = self.indexes.get(&browser.queue).copied();
        let queue = index.and_then(|index| self.queues.get(index));
        let (last, unix_ms) = (browser.last, output.now.unix_ms);
        let ready = queue.into_iter().flat_map(|queue| queue.all_ready().after(last, unix_ms));
        let mut is_more = false;
        let mut on_disk = None;
        for one in ready {
            let (position, is_expired) = match one {
                Ready::InMemory(queued) => (queued.position, queued.message.is_expired(unix_ms)),
                Ready::OnDisk { position, is_expired, .. } => (position, is_expired),
            };
            let is_shown = position.sequence() <= browser.sequence_last && !is_expired;
            if is_shown && !browser.allowance.allows_one() {
                is_more = true;
                break;
            }
            if self.effort.is_spent() && browser.selector.is_some() {
                if !mem::replace(&mut browser.is_unfinished, true) {
                    self.unfinished.push_back(subscriber);
                }
                return None;
            }
            if !is_shown {
                browser.last = Some(position);
                continue;
            }
            let Ready::InMemory(queued) = one else {
                on_disk = Some(position);
                break;
            };
            browser.last = Some(position);
            let mut selects = |s: &Arc<Selector>| self.effort.selects(s, &queued.message);
            if !browser.selector.as_ref().is_none_or(&mut selects) {
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
        if let (Some(position), Some(index)) = (on_disk, index) {
            if !mem::replace(&mut browser.waits_for_load, true)
                && let Some(queue) = self.queues.get_mut(index)
            {
                queue.wait_for(subscriber, position);
            }
            self.load_next(index, output);
            return None;
        }
        browser.allowance.next_drained(is_more)
    }
}
