//! Publications to queues: what a queue takes, what waits for room in it, and what is refused.

use std::sync::Arc;

use contract::{DestinationKind, Message, Refusal, internal};

use super::{
    Home,
    queue::{BlockedPublisher, Queue},
};
use crate::{
    output::ShardOutput,
    queued::{QueueId, QueuedMessage, queued_cost},
    quota::Account,
    record::{Record, WriteId},
    shard_message::{Payload, Publisher},
};

impl Home {
    pub(super) fn publish(
        &mut self,
        publisher: Publisher,
        message: Arc<Message>,
        account: Option<Account>,
        output: &mut ShardOutput<'_>,
    ) {
        if message.to.kind() == DestinationKind::TempTopic {
            return match self.publish_temp_topic(&message, output) {
                Ok(()) => output.send_front(publisher.connection.core, publisher.reply(Ok(()))),
                Err(refusal) => self.refuse_publisher(publisher, refusal, output),
            };
        }
        if message.numbered().is_some()
            && let Some(queue) = QueueId::of(&message.to)
            && self.confirms_duplicate(publisher, &queue, &message, output)
        {
            return;
        }
        match self.find_or_make_queue(&message.to, account, output) {
            Ok(index) => self.publish_at(index, publisher, message, account, output),
            Err(refusal) => self.refuse_publisher(publisher, refusal, output),
        }
    }

    /// Whether this comes behind a publication of its connection that was refused, and is refused with it:
    /// so all of it can be sent again in the same order.
    pub(super) fn is_behind_refusal(&self, publisher: Publisher) -> bool {
        publisher.in_order && self.refused.contains(&publisher.connection)
    }

    pub(super) fn refuse_publisher(
        &mut self,
        publisher: Publisher,
        refusal: Refusal,
        output: &mut ShardOutput<'_>,
    ) {
        if refusal.ends_lane() {
            self.refused(publisher);
        }
        output.send_front(publisher.connection.core, publisher.reply(Err(refusal)));
    }

    /// A publication is refused. What its front sends behind it, before it knows that, is refused too;
    /// it is known by a `ToHome::KnowsRefusal`.
    pub(crate) fn refused(&mut self, publisher: Publisher) {
        if publisher.in_order {
            self.refused.insert(publisher.connection);
        }
    }

    /// Refuses what waits at a queue behind what was refused there.
    pub(super) fn refuse_behind(&mut self, index: usize, output: &mut ShardOutput<'_>) {
        let Some(queue) = self.queues.get_mut(index).filter(|_| !self.refused.is_empty()) else {
            return;
        };
        let refused = &self.refused;
        for behind in queue
            .take_blocked(|publisher| publisher.in_order && refused.contains(&publisher.connection))
        {
            output.quotas.uncharge(behind.account, &behind.message);
            let reply = behind.publisher.reply(Err(Refusal::Busy));
            output.send_front(behind.publisher.connection.core, reply);
        }
    }

    /// A publication to a topic comes to a durable subscription. What waits there is charged to who
    /// made that.
    pub(super) fn publish_bound(
        &mut self,
        publisher: Publisher,
        id: &QueueId,
        message: Arc<Message>,
        output: &mut ShardOutput<'_>,
    ) {
        // Without it, it was deleted.
        let index = self.bound(id);
        let queue = index.and_then(|index| self.queues.get(index));
        if let (Some(index), Some(Queue { account, binding: Some(binding), .. })) = (index, queue)
            && binding.takes(publisher.connection, &message, &mut self.effort)
        {
            let account = *account;
            if message.numbered().is_some()
                && self.confirms_duplicate(publisher, id, &message, output)
            {
                return;
            }
            return self.publish_at(index, publisher, message, account, output);
        }
        output.send_front(publisher.connection.core, publisher.reply(Ok(())));
    }

    fn publish_at(
        &mut self,
        index: usize,
        publisher: Publisher,
        mut message: Arc<Message>,
        account: Option<Account>,
        output: &mut ShardOutput<'_>,
    ) {
        let Some(queue) = self.queues.get_mut(index) else {
            internal!("a queue was found and is not there");
            return self.refuse_publisher(publisher, Refusal::Busy, output);
        };
        message.share_name(queue.id.name());
        // Only what is durable has the store opened.
        let is_durable = queue.keeps(&message);
        let refusal = is_durable.then(|| output.writes.refusal()).flatten();
        let charged = refusal.map_or_else(|| output.quotas.charge(account, &message), Err);
        if let Err(refusal) = charged {
            self.refuse_publisher(publisher, refusal, output);
            return self.end_if_idle(index, output);
        }
        let deadline_ns = output.now.after(self.limits.publish_timeout);
        let publisher = BlockedPublisher { publisher, message, is_durable, account, deadline_ns };
        if queue.takes(&publisher.message, &self.limits) && (!is_durable || output.writes.admits())
        {
            self.accept(index, publisher, output);
        } else if let Err(publisher) = queue.block(publisher) {
            self.refuse(index, &publisher, output);
        }
        self.dispatch_ready(index, output);
    }

    /// Takes the messages of blocked publishers for which there is room, and refuses those that the
    /// store refuses. `false` if it took none.
    pub(super) fn unblock(&mut self, index: usize, output: &mut ShardOutput<'_>) -> bool {
        let (mut unblocked, mut refused) = (false, false);
        while let Some(publisher) =
            self.queues.get_mut(index).and_then(|q| q.unblock_refused(&self.limits, output.writes))
        {
            self.refuse(index, &publisher, output);
            refused = true;
        }
        if refused {
            self.refuse_behind(index, output);
        }
        while let Some(publisher) =
            self.queues.get_mut(index).and_then(|q| q.unblock(&self.limits, output.writes))
        {
            self.accept(index, publisher, output);
            unblocked = true;
        }
        unblocked
    }

    /// A publication that is charged for enters a queue that has room.
    fn accept(&mut self, index: usize, publisher: BlockedPublisher, output: &mut ShardOutput<'_>) {
        let BlockedPublisher { publisher, message, is_durable, account, .. } = publisher;
        let numbered = self.numbered(index, &message);
        // It may have waited, and come once more meanwhile.
        if let Some((queue, message)) = &numbered
            && self.confirms_duplicate(publisher, queue, message, output)
        {
            return output.quotas.uncharge(account, message);
        }
        self.stats.queue_published += 1;
        let (to, done) = (publisher.connection.core, Payload::ToFront(publisher.reply(Ok(()))));
        if message.is_expired(output.now.unix_ms) {
            self.stats.expired += 1;
            output.quotas.uncharge(account, &message);
            return output.send(to, done);
        }
        let queued = QueuedMessage::new(message, is_durable, account, self.next_sequence());
        let write = self.enter(index, queued, output);
        if let Some((queue, message)) = &numbered {
            self.number_entered(queue, message, write.filter(|_| is_durable), output);
        }
        match write {
            Some(write) if is_durable => output.send_when_taken(write, to, done),
            write => output.send_when_stored(write, to, done),
        }
    }

    /// A message that its producer has numbered, and the queue that it enters; few are.
    fn numbered(&self, index: usize, message: &Arc<Message>) -> Option<(QueueId, Arc<Message>)> {
        message.numbered()?;
        Some((self.queues.get(index)?.id.clone(), Arc::clone(message)))
    }

    /// A publication that is charged for cannot enter a queue, or could not in time.
    pub(super) fn refuse(
        &mut self,
        index: usize,
        publisher: &BlockedPublisher,
        output: &mut ShardOutput<'_>,
    ) {
        let BlockedPublisher { publisher, ref message, is_durable, account, .. } = *publisher;
        output.quotas.uncharge(account, message);
        let refusal = self.refusal(index, message, is_durable, output);
        self.refuse_publisher(publisher, refusal, output);
    }

    /// A new message enters a queue. Returns the batch with which it is ready, if it is not at once.
    pub(super) fn enter(
        &mut self,
        index: usize,
        queued: QueuedMessage,
        output: &mut ShardOutput<'_>,
    ) -> Option<WriteId> {
        let queue = self.queues.get_mut(index)?;
        let record = queued.is_durable().then(|| Record::put(&queue.id, &queued));
        let write = record.map(|record| output.writes.add(record));
        let ready = queue.enter(queued, write, output.now.unix_ms);
        self.arrivals.extend(ready.map(|write| (write, index)));
        ready
    }

    /// As [`Home::enter`], of a message that is in the store already or is not for it.
    pub(super) fn enter_stored(
        &mut self,
        index: usize,
        queued: QueuedMessage,
        output: &ShardOutput<'_>,
    ) {
        let Some(queue) = self.queues.get_mut(index) else {
            return internal!("a queue was found and is not there");
        };
        let ready = queue.enter(queued, None, output.now.unix_ms);
        self.arrivals.extend(ready.map(|write| (write, index)));
    }

    /// Why a publication cannot enter a queue, or could not in time.
    pub(super) fn refusal(
        &mut self,
        index: usize,
        message: &Message,
        is_durable: bool,
        output: &ShardOutput<'_>,
    ) -> Refusal {
        match self.queues.get(index) {
            Some(queue) if queue.has_room(queued_cost(message), &self.limits) => {
                is_durable.then(|| output.writes.refusal()).flatten().unwrap_or(Refusal::Busy)
            }
            Some(_) | None => {
                self.stats.refused_full += 1;
                Refusal::Full
            }
        }
    }
}
