//! What a home does of a transaction; `front/transaction.rs` has the whole picture.

use std::sync::Arc;

use contract::{
    ConnectionId, DeadLetterReason, DestinationKind, Message, Operation, Outcome, Refusal, Settle,
    Tag, internal,
};

use super::{
    Home,
    dead_letter::dead_letter_reason,
    producers::seen_record,
    queue::{Consumer, Queue},
};
use crate::{
    output::ShardOutput,
    queued::{QueueId, QueuedMessage},
    quota::Account,
    record::{Record, TransactionId, WriteId},
    shard_message::{BranchOperation, Payload, Subscriber, ToFront, ToHome},
};

/// The branch of a transaction that one home is ready to commit.
#[derive(Debug, Default)]
pub(super) struct Branch {
    /// Who is charged for what it publishes.
    pub(super) account: Option<Account>,
    pub(super) publications: Vec<Publication>,
    temp_topic_publications: Vec<Arc<Message>>,
    /// Taken from their consumers.
    pub(super) settlements: Vec<SettledDelivery>,
    /// The store has, or will have, what it publishes and settles from [`Branch::records`].
    has_records: bool,
}

/// A message for a queue, in which room and a place in the sequence are reserved for it.
#[derive(Debug)]
pub(super) struct Publication {
    pub(super) queue: QueueId,
    /// Twice its sequence, and one more if it is durable in its queue: in a word, since there may be many.
    numbered: u64,
    pub(super) message: Arc<Message>,
}

impl Publication {
    pub(super) const fn is_durable(&self) -> bool {
        self.numbered & 1 == 1
    }

    fn queued(&self, account: Option<Account>) -> QueuedMessage {
        QueuedMessage::new(
            Arc::clone(&self.message),
            self.is_durable(),
            account,
            self.numbered >> 1,
        )
    }
}

/// A delivery that a transaction settles.
#[derive(Debug)]
pub(super) struct SettledDelivery {
    pub(super) queue: QueueId,
    subscriber: Subscriber,
    tag: Tag,
    outcome: Outcome,
    /// Why it is to be dead-lettered with that, if it is: decided once, since settings may change.
    dead: Option<DeadLetterReason>,
    /// What becomes of it in a rollback, when its consumer has gone.
    if_rolled_back: Outcome,
    pub(super) queued: QueuedMessage,
}

impl Home {
    pub(super) fn prepare(
        &mut self,
        connection: ConnectionId,
        transaction: TransactionId,
        operations: Vec<BranchOperation>,
        account: Option<Account>,
        alone: bool,
        output: &mut ShardOutput<'_>,
    ) {
        if self.refused.contains(&connection) {
            return vote(connection, transaction, Err(Refusal::Busy), None, output);
        }
        let mut branch = match self.take_all(connection, transaction, operations, account, output) {
            Ok(branch) => branch,
            Err((branch, refusal)) => {
                self.roll_back(branch, output);
                return vote(connection, transaction, Err(refusal), None, output);
            }
        };
        let records = branch.records();
        if !records.is_empty() {
            branch.has_records = true;
            self.prepared.insert(transaction, branch);
            let write = store(transaction, records, alone, output);
            let voted = ToFront::Voted { transaction: transaction.number, result: Ok(true) };
            output.send_when_taken(write, connection.core, Payload::ToFront(voted));
            if alone {
                let committed = Payload::ToHome(ToHome::Committed(transaction));
                output.send_when_taken(write, output.core, committed);
            }
        } else if alone {
            let ready = self.commit(branch, output);
            vote(connection, transaction, Ok(false), ready, output);
        } else {
            self.prepared.insert(transaction, branch);
            vote(connection, transaction, Ok(false), None, output);
        }
    }

    /// A transaction of this home alone is stored, and so committed.
    pub(super) fn committed(&mut self, transaction: TransactionId, output: &mut ShardOutput<'_>) {
        match self.prepared.remove(&transaction) {
            Some(branch) => drop(self.commit(branch, output)),
            None => internal!("a transaction is committed that was not prepared"),
        }
    }

    /// A transaction of this home alone is not stored, and will not be.
    pub(super) fn not_committed(
        &mut self,
        transaction: TransactionId,
        output: &mut ShardOutput<'_>,
    ) {
        match self.prepared.remove(&transaction) {
            Some(branch) => self.roll_back(branch, output),
            None => internal!("a transaction is rolled back that was not prepared"),
        }
    }

    pub(super) fn decide(
        &mut self,
        transaction: TransactionId,
        commit: bool,
        output: &mut ShardOutput<'_>,
    ) {
        // Without a branch, it voted against.
        let Some(branch) = self.prepared.remove(&transaction) else { return };
        if commit {
            self.commit(branch, output);
            return;
        }
        if branch.has_records {
            output.writes.add(Record::Rollback(transaction));
        }
        self.roll_back(branch, output);
    }

    /// Takes the deliveries and reserves the room for all operations. A refusal comes with what was
    /// taken before.
    fn take_all(
        &mut self,
        connection: ConnectionId,
        transaction: TransactionId,
        operations: Vec<BranchOperation>,
        account: Option<Account>,
        output: &mut ShardOutput<'_>,
    ) -> Result<Branch, (Branch, Refusal)> {
        let mut branch = Branch { account, ..Branch::default() };
        let is_publication = |operation: &&BranchOperation| match operation {
            BranchOperation::Own(Operation::Publish(_)) | BranchOperation::PublishTo(..) => true,
            BranchOperation::Own(Operation::Settle(_)) => false,
        };
        let count = operations.iter().filter(is_publication).count();
        if self.publishes_durable(&operations)
            && let Some(refusal) = output.writes.transaction_refusal()
        {
            return Err((branch, refusal));
        }
        branch.publications.reserve_exact(count);
        for operation in operations {
            if let Err(refusal) = self.take(connection, transaction, operation, &mut branch, output)
            {
                return Err((branch, refusal));
            }
        }
        Ok(branch)
    }

    fn take(
        &mut self,
        connection: ConnectionId,
        transaction: TransactionId,
        operation: BranchOperation,
        branch: &mut Branch,
        output: &mut ShardOutput<'_>,
    ) -> Result<(), Refusal> {
        let operation = match operation {
            BranchOperation::Own(operation) => operation,
            BranchOperation::PublishTo(queue, message) => {
                let publication =
                    self.reserve_bound(connection, transaction, &queue, message, output)?;
                branch.publications.extend(publication);
                return Ok(());
            }
        };
        match operation {
            Operation::Publish(message) if message.to.kind() == DestinationKind::TempTopic => {
                if !self.temp_topics.contains_key(&message.to) {
                    return Err(Refusal::NotFound);
                }
                branch.temp_topic_publications.push(message);
            }
            Operation::Publish(message) => {
                let publication = self.reserve(transaction, message, branch.account, output)?;
                branch.publications.extend(publication);
            }
            Operation::Settle(Settle { subscription, tags, outcome }) => {
                let subscriber = Subscriber { connection, subscription };
                let consumer = self.consumers.get_mut(&subscriber).ok_or(Refusal::Stale)?;
                let Some(Queue { id: queue, settings, .. }) = self.queues.get(consumer.queue)
                else {
                    internal!("a consumer of a queue that does not exist");
                    return Err(Refusal::Busy);
                };
                if ![tags.start(), tags.end()]
                    .iter()
                    .all(|tag| consumer.unsettled.contains_key(tag))
                {
                    return Err(Refusal::Stale);
                }
                while let Some((tag, queued)) = consumer.take_first(&tags) {
                    consumer.in_transactions += 1;
                    let dead = dead_letter_reason(outcome, queued.attempts, settings, &self.limits);
                    branch.settlements.push(SettledDelivery {
                        queue: queue.clone(),
                        subscriber,
                        tag,
                        outcome,
                        dead,
                        if_rolled_back: Outcome::Released,
                        queued,
                    });
                }
            }
        }
        Ok(())
    }

    /// As [`Home::publish_bound`]; `None`: it is not for that subscription.
    fn reserve_bound(
        &mut self,
        connection: ConnectionId,
        transaction: TransactionId,
        queue: &QueueId,
        message: Arc<Message>,
        output: &mut ShardOutput<'_>,
    ) -> Result<Option<Publication>, Refusal> {
        let Some(index) = self.bound(queue) else { return Ok(None) };
        let Some(Queue { account, binding: Some(binding), .. }) = self.queues.get(index) else {
            return Ok(None);
        };
        if !binding.takes(connection, &message, &mut self.effort) {
            return Ok(None);
        }
        let account = *account;
        if !self.admits_number(transaction, queue, &message, output)? {
            return Ok(None);
        }
        self.reserve_at(index, transaction, message, account, output).map(Some)
    }

    /// `None`: it is a duplicate.
    fn reserve(
        &mut self,
        transaction: TransactionId,
        message: Arc<Message>,
        account: Option<Account>,
        output: &mut ShardOutput<'_>,
    ) -> Result<Option<Publication>, Refusal> {
        if message.numbered().is_some()
            && let Some(queue) = QueueId::of(&message.to)
            && !self.admits_number(transaction, &queue, &message, output)?
        {
            return Ok(None);
        }
        let index = self.find_or_make_queue(&message.to, account, output)?;
        self.reserve_at(index, transaction, message, account, output).map(Some)
    }

    fn reserve_at(
        &mut self,
        index: usize,
        transaction: TransactionId,
        mut message: Arc<Message>,
        account: Option<Account>,
        output: &mut ShardOutput<'_>,
    ) -> Result<Publication, Refusal> {
        let sequence = self.next_sequence();
        let Some(queue) = self.queues.get_mut(index) else {
            internal!("a queue was found and is not there");
            return Err(Refusal::Busy);
        };
        message.share_name(queue.id.name());
        if !queue.takes(&message, &self.limits) {
            let is_durable = queue.keeps(&message);
            return Err(self.refusal(index, &message, is_durable, output));
        }
        if let Err(refusal) = output.quotas.charge(account, &message) {
            self.end_if_idle(index, output);
            return Err(refusal);
        }
        queue.reserve(&message);
        let is_durable = queue.keeps(&message);
        let numbered = sequence << 1 | u64::from(is_durable);
        let publication = Publication { queue: queue.id.clone(), numbered, message };
        self.number_reserved(transaction, &publication, output);
        Ok(publication)
    }

    /// Who is charged for a message: who sent it, or who made a durable subscription, whose queue is
    /// there as long as room is reserved in it.
    pub(super) fn charged(
        &self,
        publication: &Publication,
        sender: Option<Account>,
    ) -> Option<Account> {
        if publication.queue.is_subscription() {
            let index = self.index_of(&publication.queue);
            return index.and_then(|index| self.queues.get(index)?.account);
        }
        sender
    }

    /// Returns the last batch with which its messages are ready, where they are not at once.
    fn commit(&mut self, branch: Branch, output: &mut ShardOutput<'_>) -> Option<WriteId> {
        for message in branch.temp_topic_publications {
            // If it has gone since, so have all subscriptions that would get it.
            let _gone = self.publish_temp_topic(&message, output);
        }
        let mut written = None;
        for publication in branch.publications {
            self.stats.queue_published += 1;
            let account = self.charged(&publication, branch.account);
            let queued = publication.queued(account);
            let Publication { queue, message, .. } = publication;
            self.number_decided(&queue, &message, true);
            let Some(index) = self.release(&queue, &message) else {
                self.stats.dropped += 1;
                output.quotas.uncharge(account, &message);
                continue;
            };
            if message.is_expired(output.now.unix_ms) {
                self.stats.expired += 1;
                output.quotas.uncharge(account, &message);
                if branch.has_records && queued.is_durable() {
                    output.writes.add(Record::Remove(queue, queued.position));
                }
            } else if branch.has_records {
                self.enter_stored(index, queued, output);
            } else {
                written = self.enter(index, queued, output).max(written);
            }
            self.dispatch_ready(index, output);
        }
        for settled in branch.settlements {
            let subscriber = settled.subscriber;
            if let Some(consumer) = self.consumer_of(&settled) {
                consumer.in_transactions -= 1;
                if matches!(settled.outcome, Outcome::Undeliverable { .. }) {
                    self.exclude(subscriber, settled.queued.position);
                }
            }
            if branch.has_records && settled.record().is_some() {
                self.settle_stored(settled, output);
            } else {
                written = self.settle_one(settled, output).max(written);
            }
            self.dispatch_to(subscriber, output);
        }
        written
    }

    fn roll_back(&mut self, branch: Branch, output: &mut ShardOutput<'_>) {
        for publication in branch.publications {
            let account = self.charged(&publication, branch.account);
            let Publication { queue, message, .. } = publication;
            self.number_decided(&queue, &message, false);
            output.quotas.uncharge(account, &message);
            if let Some(index) = self.release(&queue, &message) {
                self.dispatch_ready(index, output);
            }
        }
        for settled in branch.settlements {
            let subscriber = settled.subscriber;
            if let Some(consumer) = self.consumer_of(&settled) {
                consumer.in_transactions -= 1;
                consumer.unsettled.insert(settled.tag, settled.queued);
                // It may have closed a group before.
                self.dispatch_to(subscriber, output);
            } else {
                let outcome = settled.if_rolled_back;
                self.settle_one(SettledDelivery { outcome, ..settled }, output);
            }
        }
    }

    /// The consumer that had a delivery, and not another with its name.
    fn consumer_of(&mut self, settled: &SettledDelivery) -> Option<&mut Consumer> {
        let consumer = self.consumers.get_mut(&settled.subscriber);
        consumer.filter(|consumer| settled.tag > consumer.since)
    }

    /// A consumer leaves while transactions have deliveries of it: those up to `failed` count as a
    /// failed attempt if they are rolled back.
    pub(super) fn leave_transactions(&mut self, subscriber: Subscriber, failed: Tag) {
        let branches = self.prepared.values_mut();
        for settled in branches.flat_map(|branch| &mut branch.settlements) {
            if settled.subscriber == subscriber && settled.tag <= failed {
                settled.if_rolled_back = Outcome::Failed;
            }
        }
    }

    /// As [`Home::apply_outcome`]; the queue may have been temporary and gone with its owner.
    fn settle_one(
        &mut self,
        settled: SettledDelivery,
        output: &mut ShardOutput<'_>,
    ) -> Option<WriteId> {
        let SettledDelivery { queue, outcome, queued, .. } = settled;
        if let Some(index) = self.index_of(&queue) {
            let write = self.apply_outcome(index, queued, outcome, output);
            self.dispatch_ready(index, output);
            return write;
        }
        output.quotas.uncharge(queued.account, &queued.message);
        if outcome == Outcome::Accepted {
            self.stats.queue_settled += 1;
        } else {
            self.stats.dropped += 1;
        }
        None
    }

    /// A delivery is settled, and the store has that from [`SettledDelivery::record`].
    fn settle_stored(&mut self, settled: SettledDelivery, output: &mut ShardOutput<'_>) {
        let SettledDelivery { queue, dead: reason, queued, .. } = settled;
        let Some(index) = self.index_of(&queue) else {
            return internal!("a queue with a delivery that is stored is not there");
        };
        if let Some(reason) = reason {
            self.dead_letter(index, queued, reason, output);
        } else if let Some(queue) = self.queues.get_mut(index) {
            self.stats.queue_settled += 1;
            queue.uncount(&queued.message);
            output.quotas.uncharge(queued.account, &queued.message);
        }
        self.dispatch_ready(index, output);
    }

    /// Gives back the room that was reserved for a message; returns where its queue is.
    fn release(&mut self, queue: &QueueId, message: &Message) -> Option<usize> {
        let index = self.index_of(queue)?;
        self.queues.get_mut(index)?.release(message);
        Some(index)
    }
}

/// Votes, when a batch is stored; says whether the branch has records.
pub(super) fn vote(
    connection: ConnectionId,
    transaction: TransactionId,
    result: Result<bool, Refusal>,
    write: Option<WriteId>,
    output: &mut ShardOutput<'_>,
) {
    let voted = ToFront::Voted { transaction: transaction.number, result };
    output.send_when_stored(write, connection.core, Payload::ToFront(voted));
}

/// Stores the records of a branch: for good if no other home has a part in the transaction.
fn store(
    transaction: TransactionId,
    records: Vec<Record>,
    alone: bool,
    output: &mut ShardOutput<'_>,
) -> WriteId {
    if !alone {
        return output.writes.add(Record::Prepare(transaction, records));
    }
    for record in records {
        output.writes.add(record);
    }
    output.writes.batch()
}

impl Branch {
    /// What the store is to do of it when it is committed.
    fn records(&self) -> Vec<Record> {
        let puts = self.publications.iter().filter(|publication| publication.is_durable());
        let records = |publication: &Publication| {
            let put = Record::put(&publication.queue, &publication.queued(self.account));
            [Some(put), seen_record(&publication.queue, &publication.message)]
        };
        puts.flat_map(records)
            .flatten()
            .chain(self.settlements.iter().filter_map(SettledDelivery::record))
            .collect()
    }
}

impl SettledDelivery {
    /// What the store is to do of it, if it is to do something.
    fn record(&self) -> Option<Record> {
        let Self { queue, queued, .. } = self;
        if !queued.is_durable() {
            return None;
        }
        if self.outcome == Outcome::Accepted {
            return Some(Record::Remove(queue.clone(), queued.position));
        }
        Some(Record::DeadLetter(queue.clone(), queued.position, self.dead?))
    }
}
