//! What a home does of a transaction; `front/transaction.rs` has the whole picture.

use std::sync::Arc;

use contract::{
    ConnectionId, DestinationKind, Message, Now, Operation, Outcome, Refusal, Settle, Tag,
};

use super::Home;
use crate::{
    output::ShardOutput,
    queued::{QueueId, QueuedMessage},
    shard_message::{Subscriber, ToFront},
};

/// The branch of a transaction that one home is ready to commit.
#[derive(Debug, Default)]
pub(super) struct Branch {
    /// Room is reserved for them.
    pub(super) publications: Vec<(QueueId, Arc<Message>)>,
    temp_topic_publications: Vec<Arc<Message>>,
    /// Taken from their consumers.
    pub(super) settlements: Vec<SettledDelivery>,
}

/// A delivery that a transaction settles.
#[derive(Debug)]
pub(super) struct SettledDelivery {
    pub(super) queue: QueueId,
    subscriber: Subscriber,
    tag: Tag,
    outcome: Outcome,
    pub(super) queued: QueuedMessage,
}

impl Home {
    pub(super) fn prepare(
        &mut self,
        connection: ConnectionId,
        transaction: u64,
        operations: Vec<Operation>,
        alone: bool,
        now: Now,
        output: &mut ShardOutput<'_>,
    ) {
        let mut branch = Branch::default();
        let mut take = |operation| self.take(connection, operation, &mut branch);
        let result = operations.into_iter().try_for_each(&mut take);
        output.send_front(connection.core, ToFront::Voted { transaction, result });
        match result {
            Err(_) => self.roll_back(branch, now, output),
            Ok(()) if alone => self.commit(branch, now, output),
            Ok(()) => drop(self.prepared.insert((connection.core, transaction), branch)),
        }
    }

    pub(super) fn decide(
        &mut self,
        core: u16,
        transaction: u64,
        commit: bool,
        now: Now,
        output: &mut ShardOutput<'_>,
    ) {
        match self.prepared.remove(&(core, transaction)) {
            Some(branch) if commit => self.commit(branch, now, output),
            Some(branch) => self.roll_back(branch, now, output),
            None => {} // It voted against.
        }
    }

    fn take(
        &mut self,
        connection: ConnectionId,
        operation: Operation,
        branch: &mut Branch,
    ) -> Result<(), Refusal> {
        match operation {
            Operation::Publish(message) if message.to.kind() == DestinationKind::TempTopic => {
                if !self.temp_topics.contains_key(&message.to) {
                    return Err(Refusal::NotFound);
                }
                branch.temp_topic_publications.push(message);
            }
            Operation::Publish(mut message) => {
                let queue = self.reserve(&mut message)?;
                branch.publications.push((queue, message));
            }
            Operation::Settle(Settle { subscription, tags, outcome }) => {
                let subscriber = Subscriber { connection, subscription };
                let consumer = self.consumers.get_mut(&subscriber).ok_or(Refusal::Stale)?;
                let queue = &self.queues.get(consumer.queue).ok_or(Refusal::Stale)?.id;
                if ![tags.start(), tags.end()]
                    .iter()
                    .all(|tag| consumer.unsettled.contains_key(tag))
                {
                    return Err(Refusal::Stale);
                }
                while let Some((tag, queued)) = consumer.take_first(&tags) {
                    let queue = queue.clone();
                    branch.settlements.push(SettledDelivery {
                        queue,
                        subscriber,
                        tag,
                        outcome,
                        queued,
                    });
                }
            }
        }
        Ok(())
    }

    fn reserve(&mut self, message: &mut Arc<Message>) -> Result<QueueId, Refusal> {
        let index = self.find_or_make_queue(&message.to)?;
        let queue = self.queues.get_mut(index).ok_or(Refusal::NotFound)?;
        message.share_name(queue.id.name());
        if !queue.takes(message, &self.limits) {
            self.stats.refused_full += 1;
            return Err(Refusal::Full);
        }
        queue.reserve(message);
        Ok(queue.id.clone())
    }

    fn commit(&mut self, branch: Branch, now: Now, output: &mut ShardOutput<'_>) {
        for message in branch.temp_topic_publications {
            // If it has gone since, so has everyone who would get it.
            let _gone = self.publish_temp_topic(&message, output);
        }
        for (queue, message) in branch.publications {
            if let Some(index) = self.index_of(&queue) {
                self.release(index, &message);
                self.put_new(index, message, now);
                self.dispatch_ready(index, now, output);
            } else {
                self.stats.queue_published += 1;
                self.stats.dropped += 1;
            }
        }
        for SettledDelivery { queue, subscriber, outcome, queued, .. } in branch.settlements {
            self.apply_outcome_in(&queue, queued, outcome, now, output);
            self.dispatch_to(subscriber, now, output);
        }
    }

    fn roll_back(&mut self, branch: Branch, now: Now, output: &mut ShardOutput<'_>) {
        for (queue, message) in branch.publications {
            if let Some(index) = self.index_of(&queue) {
                self.release(index, &message);
                self.dispatch_ready(index, now, output);
            }
        }
        for SettledDelivery { queue, subscriber, tag, queued, .. } in branch.settlements {
            match self.consumers.get_mut(&subscriber) {
                Some(consumer) if tag > consumer.since => {
                    consumer.unsettled.insert(tag, queued);
                }
                Some(_) | None => {
                    self.apply_outcome_in(&queue, queued, Outcome::Failed, now, output);
                }
            }
        }
    }

    /// As [`Home::apply_outcome`]; the queue may have been temporary and gone with its owner.
    fn apply_outcome_in(
        &mut self,
        queue: &QueueId,
        queued: QueuedMessage,
        outcome: Outcome,
        now: Now,
        output: &mut ShardOutput<'_>,
    ) {
        if let Some(index) = self.index_of(queue) {
            self.apply_outcome(index, queued, outcome, output);
            self.dispatch_ready(index, now, output);
        } else if outcome == Outcome::Accepted {
            self.stats.queue_settled += 1;
        } else {
            self.stats.dropped += 1;
        }
    }

    fn release(&mut self, index: usize, message: &Message) {
        if let Some(queue) = self.queues.get_mut(index) {
            queue.release(message);
        }
    }
}
