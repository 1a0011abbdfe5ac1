//! What a home does of a transaction; `front/transaction.rs` has the whole picture.

use std::sync::Arc;

use contract::{
    ConnectionId, DestinationKind, Message, Now, Operation, Outcome, Refusal, Settle, Tag,
};

use super::Home;
use crate::{
    output::ShardOutput,
    queued::{QueueId, QueuedMessage},
    shard_message::{Payload, Subscriber, ToFront},
    store::{Record, TransactionId, WriteId, Writes},
};

/// The branch of a transaction that one home is ready to commit.
#[derive(Debug, Default)]
pub(super) struct Branch {
    pub(super) publications: Vec<Publication>,
    temp_topic_publications: Vec<Arc<Message>>,
    /// Taken from their consumers.
    pub(super) settlements: Vec<SettledDelivery>,
    /// The store knows what it publishes and accepts, and does it by [`Record::Commit`].
    is_stored: bool,
}

/// A message for a queue, in which room and a place in the sequence are reserved for it.
#[derive(Debug)]
pub(super) struct Publication {
    pub(super) queue: QueueId,
    sequence: u64,
    pub(super) message: Arc<Message>,
}

impl Publication {
    fn queued(&self) -> QueuedMessage {
        QueuedMessage::new(Arc::clone(&self.message), self.sequence)
    }
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
        transaction: TransactionId,
        operations: Vec<Operation>,
        alone: bool,
        now: Now,
        output: &mut ShardOutput<'_>,
    ) {
        let is_publication = |operation: &&Operation| matches!(operation, Operation::Publish(_));
        let publications = operations.iter().filter(is_publication).count();
        let mut branch = Branch::default();
        branch.publications.reserve_exact(publications);
        let mut take = |operation| self.take(connection, operation, &mut branch, output.writes);
        let result = operations.into_iter().try_for_each(&mut take);
        let write = match result {
            Err(_) => {
                self.roll_back(branch, now, output);
                None
            }
            Ok(()) if alone => self.commit(branch, now, output),
            Ok(()) => {
                let records = branch.records();
                branch.is_stored = !records.is_empty();
                let is_stored = branch.is_stored;
                self.prepared.insert(transaction, branch);
                is_stored.then(|| output.writes.add(Record::Prepare(transaction, records)))
            }
        };
        let is_stored = write.is_some();
        let voted = ToFront::Voted { transaction: transaction.number, result, is_stored };
        output.send_when_stored(write, connection.core, Payload::ToFront(voted));
    }

    pub(super) fn decide(
        &mut self,
        transaction: TransactionId,
        commit: bool,
        now: Now,
        output: &mut ShardOutput<'_>,
    ) {
        // Without a branch, it voted against.
        let Some(branch) = self.prepared.remove(&transaction) else { return };
        if commit {
            self.commit(branch, now, output);
            return;
        }
        if branch.is_stored {
            output.writes.add(Record::Rollback(transaction));
        }
        self.roll_back(branch, now, output);
    }

    fn take(
        &mut self,
        connection: ConnectionId,
        operation: Operation,
        branch: &mut Branch,
        writes: &mut Writes,
    ) -> Result<(), Refusal> {
        match operation {
            Operation::Publish(message) if message.to.kind() == DestinationKind::TempTopic => {
                if !self.temp_topics.contains_key(&message.to) {
                    return Err(Refusal::NotFound);
                }
                branch.temp_topic_publications.push(message);
            }
            Operation::Publish(message) => {
                branch.publications.push(self.reserve(message, writes)?);
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

    fn reserve(
        &mut self,
        mut message: Arc<Message>,
        writes: &mut Writes,
    ) -> Result<Publication, Refusal> {
        let index = self.find_or_make_queue(&message.to)?;
        let sequence = self.next_sequence();
        let queue = self.queues.get_mut(index).ok_or(Refusal::NotFound)?;
        message.share_name(queue.id.name());
        if !queue.takes(&message, &self.limits, writes) {
            return Err(self.refusal(index, &message));
        }
        queue.reserve(&message);
        Ok(Publication { queue: queue.id.clone(), sequence, message })
    }

    /// Returns the last batch with which its messages are stored, where they are not yet.
    fn commit(
        &mut self,
        branch: Branch,
        now: Now,
        output: &mut ShardOutput<'_>,
    ) -> Option<WriteId> {
        for message in branch.temp_topic_publications {
            // If it has gone since, so have all subscriptions that would get it.
            let _gone = self.publish_temp_topic(&message, output);
        }
        let mut written = None;
        for publication in branch.publications {
            self.stats.queue_published += 1;
            let queued = publication.queued();
            let Publication { queue, message, .. } = publication;
            let Some(index) = self.release(&queue, &message) else {
                self.stats.dropped += 1;
                continue;
            };
            if message.is_expired(now.unix_ms) {
                self.stats.expired += 1;
                if branch.is_stored && queue.stores(&message) {
                    output.writes.add(Record::Remove(queue, queued.position));
                }
            } else if branch.is_stored {
                let _ready = self.arrive(index, queued, None);
            } else {
                written = self.enter(index, queued, output).max(written);
            }
            self.dispatch_ready(index, now, output);
        }
        for settled in branch.settlements {
            let subscriber = settled.subscriber;
            if branch.is_stored && settled.outcome == Outcome::Accepted {
                self.forget_accepted(&settled, now, output);
            } else {
                written = self.settle_one(settled, now, output).max(written);
            }
            self.dispatch_to(subscriber, now, output);
        }
        written
    }

    fn roll_back(&mut self, branch: Branch, now: Now, output: &mut ShardOutput<'_>) {
        for Publication { queue, message, .. } in branch.publications {
            if let Some(index) = self.release(&queue, &message) {
                self.dispatch_ready(index, now, output);
            }
        }
        for settled in branch.settlements {
            match self.consumers.get_mut(&settled.subscriber) {
                Some(consumer) if settled.tag > consumer.since => {
                    consumer.unsettled.insert(settled.tag, settled.queued);
                }
                Some(_) | None => {
                    let failed = SettledDelivery { outcome: Outcome::Failed, ..settled };
                    self.settle_one(failed, now, output);
                }
            }
        }
    }

    /// As [`Home::apply_outcome`]; the queue may have been temporary and gone with its owner.
    fn settle_one(
        &mut self,
        settled: SettledDelivery,
        now: Now,
        output: &mut ShardOutput<'_>,
    ) -> Option<WriteId> {
        let SettledDelivery { queue, outcome, queued, .. } = settled;
        if let Some(index) = self.index_of(&queue) {
            let write = self.apply_outcome(index, queued, outcome, output);
            self.dispatch_ready(index, now, output);
            return write;
        }
        if outcome == Outcome::Accepted {
            self.stats.queue_settled += 1;
        } else {
            self.stats.dropped += 1;
        }
        None
    }

    /// A delivery is accepted, and the store has it from [`Record::Prepare`].
    fn forget_accepted(
        &mut self,
        settled: &SettledDelivery,
        now: Now,
        output: &mut ShardOutput<'_>,
    ) {
        self.stats.queue_settled += 1;
        let Some(index) = self.index_of(&settled.queue) else { return };
        if let Some(queue) = self.queues.get_mut(index) {
            queue.forget(&settled.queued.message);
        }
        self.dispatch_ready(index, now, output);
    }

    /// Gives back the room that was reserved for a message; returns where its queue is.
    fn release(&mut self, queue: &QueueId, message: &Message) -> Option<usize> {
        let index = self.index_of(queue)?;
        self.queues.get_mut(index)?.release(message);
        Some(index)
    }
}

impl Branch {
    /// What the store is to do of it when it is committed. Other outcomes than *accepted* make
    /// records of their own then, where the store has a part in them.
    fn records(&self) -> Vec<Record> {
        let puts = self.publications.iter().filter(|p| p.queue.stores(&p.message));
        let accepted = self.settlements.iter().filter(|settled| {
            settled.outcome == Outcome::Accepted && settled.queue.stores(&settled.queued.message)
        });
        puts.map(|publication| publication.queued().put_record(&publication.queue))
            .chain(accepted.map(|s| Record::Remove(s.queue.clone(), s.queued.position)))
            .collect()
    }
}
