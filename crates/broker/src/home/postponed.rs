//! What requires that the store is open, and cannot wait at a queue as a publication does: durable subscriptions
//! and transactions with durable messages. They are postponed, with all that comes behind them.

use std::mem;

use contract::{Operation, Refusal};

use super::{Home, branch::vote};
use crate::{
    output::ShardOutput,
    queued::QueueId,
    record::TransactionId,
    shard_message::{BranchOperation, Consume, Subscriber, ToFront, ToHome},
    writes::Writes,
};

/// A message that waits until the store is open.
#[derive(Debug)]
pub(super) struct Postponed {
    /// The core that it is from.
    from: u16,
    message: ToHome,
    bytes: usize,
    /// When it is refused, on the monotonic clock.
    deadline_ns: u64,
}

impl Home {
    /// Whether a message waits until the store is open, or has it opened and waits then.
    pub(super) fn is_to_wait(&self, from: u16, message: &ToHome, output: &ShardOutput<'_>) -> bool {
        if !output.writes.awaits_store() {
            return false;
        }
        match message {
            ToHome::Subscribe(consume) => {
                self.postpones_subscription(consume.subscriber)
                    || is_kept(consume) && output.writes.refusal().is_none()
            }
            ToHome::Prepare { operations, .. } => {
                self.publishes_durable(operations) && output.writes.refusal().is_none()
            }
            // Else what the transaction settles would be given back first.
            ToHome::Unsubscribe { subscriber, .. } | ToHome::Stop { subscriber, .. } => {
                self.postpones_subscription(*subscriber) || self.postpones_settlement(*subscriber)
            }
            ToHome::Written { subscriber, .. }
            | ToHome::Settle { subscriber, .. }
            | ToHome::Credit { subscriber, .. }
            | ToHome::Drain { subscriber, .. } => self.postpones_subscription(*subscriber),
            &ToHome::Decide { transaction: decided, .. } => self.postponed.iter().any(|postponed| {
                matches!(postponed.message, ToHome::Prepare { transaction, .. }
                    if postponed.from == from && transaction == decided)
            }),
            ToHome::KnowsRefusal { connection: knowing } => self.postponed.iter().any(|postponed| {
                matches!(&postponed.message, ToHome::Prepare { connection, .. } if connection == knowing)
            }),
            ToHome::Publish { .. }
            | ToHome::Claim { .. }
            | ToHome::Release { .. }
            | ToHome::Bound { .. }
            | ToHome::Delete { .. }
            | ToHome::Find { .. }
            | ToHome::Declare { .. }
            | ToHome::Undeclare { .. }
            | ToHome::Committed(_)
            | ToHome::NotCommitted(_)
            | ToHome::DeadLetter { .. } => false,
        }
    }

    /// Postpones a message; where too much waits, all of it is refused.
    pub(super) fn postpone(&mut self, from: u16, message: ToHome, output: &mut ShardOutput<'_>) {
        let deadline_ns = output.now.after(self.limits.publish_timeout);
        let bytes = cost(&message);
        self.postponed.push(Postponed { from, message, bytes, deadline_ns });
        let bytes: usize = self.postponed.iter().map(|postponed| postponed.bytes).sum();
        if bytes >= Writes::REFUSE_BYTES || self.postponed.len() > POSTPONED_MAX {
            for Postponed { from, message, .. } in mem::take(&mut self.postponed) {
                self.refuse_postponed(from, message, output);
            }
        }
    }

    /// What was postponed goes on if the store is open or refuses it, and is refused if it has waited for
    /// too long.
    pub(crate) fn retry_postponed(&mut self, output: &mut ShardOutput<'_>) {
        for postponed in mem::take(&mut self.postponed) {
            if postponed.deadline_ns <= output.now.mono_ns {
                self.refuse_postponed(postponed.from, postponed.message, output);
            } else if self.is_to_wait(postponed.from, &postponed.message, output) {
                self.postponed.push(postponed);
            } else {
                self.carry_out(postponed.from, postponed.message, output);
            }
        }
    }

    fn refuse_postponed(&mut self, from: u16, message: ToHome, output: &mut ShardOutput<'_>) {
        if let &ToHome::Prepare { connection, transaction: number, .. } = &message {
            let transaction = TransactionId { core: from, number };
            return vote(connection, transaction, Err(Refusal::Busy), None, output);
        }
        if let ToHome::Subscribe(consume) = &message
            && is_kept(consume)
        {
            let Consume { subscriber, token, .. } = **consume;
            let result = Err(Refusal::Busy);
            let refused = ToFront::Subscribed { subscriber, token, result };
            return output.send_front(subscriber.connection.core, refused);
        }
        self.carry_out(from, message, output);
    }

    /// Whether a transaction adds what the store is to have.
    pub(super) fn publishes_durable(&self, operations: &[BranchOperation]) -> bool {
        operations.iter().any(|operation| {
            // What goes to a durable subscription was sent to a topic.
            let (message, lasts) = match operation {
                BranchOperation::Own(Operation::Publish(message)) => (message, true),
                BranchOperation::PublishTo(queue, message) => (message, queue.lasts()),
                BranchOperation::Own(Operation::Settle(_)) => return false,
            };
            lasts
                && !message.to.kind().is_temporary()
                && self.rules.settings(&message.to).keeps(&message.header)
        })
    }

    /// Whether a transaction is postponed that settles what a subscription has.
    fn postpones_settlement(&self, of: Subscriber) -> bool {
        let settles = |operation: &BranchOperation| match operation {
            BranchOperation::Own(Operation::Settle(settle)) => {
                settle.subscription == of.subscription
            }
            BranchOperation::Own(Operation::Publish(_)) | BranchOperation::PublishTo(..) => false,
        };
        self.postponed.iter().any(|postponed| {
            matches!(&postponed.message, ToHome::Prepare { connection, operations, .. }
                if *connection == of.connection && operations.iter().any(settles))
        })
    }

    fn postpones_subscription(&self, of: Subscriber) -> bool {
        self.postponed.iter().any(
            |postponed| matches!(&postponed.message, ToHome::Subscribe(consume) if consume.subscriber == of),
        )
    }
}

/// Whether the store is to have the subscription.
fn is_kept(consume: &Consume) -> bool {
    consume.durable.is_some()
        && QueueId::named(consume.destination.clone()).is_some_and(|queue| queue.lasts())
}

/// The memory of a message, in bytes.
fn cost(message: &ToHome) -> usize {
    let ToHome::Prepare { operations, .. } = message else { return size_of::<Postponed>() };
    let published = operations.iter().map(|operation| match operation {
        BranchOperation::Own(Operation::Publish(message))
        | BranchOperation::PublishTo(_, message) => message.cost(),
        BranchOperation::Own(Operation::Settle(_)) => 0,
    });
    size_of::<Postponed>() + size_of_val(operations.as_slice()) + published.sum::<usize>()
}

/// Messages that are postponed at a time.
const POSTPONED_MAX: usize = 4096;
