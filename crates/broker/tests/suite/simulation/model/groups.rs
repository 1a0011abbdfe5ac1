//! What the model knows of message groups: who has each one, and that nobody else gets its messages.

use broker::Subscriber;
use contract::Tag;

use super::{Arrival, Model, Sent, Subscription, queues::Holder};

/// Who has the groups of a bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupOwner {
    holder: Holder,
    /// The delivery that closes the group.
    closing: Option<Option<Tag>>,
}

impl Model {
    /// A message is delivered to the consumer that has its group, or to any if none has.
    pub(super) fn check_group(&mut self, to: Subscriber, queue: &str, arrival: &Arrival) {
        let Some(group) = arrival.group else { return };
        let Some(serial) = self.subscription(to).map(|subscription| subscription.serial) else {
            return;
        };
        let holder = Holder { subscriber: to, serial };
        let key = (queue.to_owned(), group.bucket());
        if let Some(owner) = self.groups.get(&key).copied().filter(|owner| self.lasts(owner.holder))
        {
            match owner.closing {
                None => assert_eq!(owner.holder, holder, "another consumer has {group:?}"),
                Some(tag) => {
                    let unsettled = self.subscription(owner.holder.subscriber);
                    let unsettled = unsettled.zip(tag).and_then(|(subscription, tag)| {
                        subscription.unsettled.range(..=tag).next()
                    });
                    assert_eq!(unsettled, None, "what closes {group:?} is not settled");
                    self.tally.groups_closed += 1;
                }
            }
        }
        self.tally.grouped += 1;
        let closing = group.closes().then_some(arrival.tag);
        self.groups.insert(key, GroupOwner { holder, closing });
    }

    /// Whether a reader of a queue may get a message, as far as its group decides that.
    pub(super) fn has_group(&self, queue: &str, sent: &Sent, reader: &Subscription) -> bool {
        let Some(group) = sent.group else { return true };
        if self.queues.holds_group(queue, group) {
            return false;
        }
        let owner = self.groups.get(&(queue.to_owned(), group.bucket())).copied();
        owner.filter(|owner| self.lasts(owner.holder)).is_none_or(|owner| {
            // Whether what closes it is settled depends on what else its consumer has.
            owner.closing.is_none() && owner.holder.serial == reader.serial
        })
    }
}
