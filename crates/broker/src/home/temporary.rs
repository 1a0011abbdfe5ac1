//! Temporary destinations: what one connection declares, and only it subscribes to.

use std::sync::Arc;

use contract::{
    ConnectionId, Delivery, Destination, DestinationKind, Message, Refusal, Selector,
    SubscriptionId, Token,
};

use super::{Home, queue::Queue};
use crate::{
    output::ShardOutput,
    queued::QueueId,
    quota::Account,
    shard_message::{Consume, Source, Subscriber, ToFront},
};

/// A temporary topic.
#[derive(Debug)]
pub(super) struct TempTopic {
    owner: ConnectionId,
    subscriptions: Vec<(SubscriptionId, Option<Arc<Selector>>)>,
}

impl Home {
    pub(super) fn declare(
        &mut self,
        owner: ConnectionId,
        token: Token,
        destination: Destination,
        account: Option<Account>,
        output: &mut ShardOutput<'_>,
    ) {
        let result = self.make_temporary(owner, &destination, account, output);
        output.send_front(owner.core, ToFront::Declared { owner, token, destination, result });
    }

    fn make_temporary(
        &mut self,
        owner: ConnectionId,
        destination: &Destination,
        account: Option<Account>,
        output: &mut ShardOutput<'_>,
    ) -> Result<(), Refusal> {
        if destination.random().is_none() {
            return Err(Refusal::Forbidden);
        }
        match self.owner(destination) {
            Some(other) if other == owner => return Ok(()),
            Some(_) => return Err(Refusal::Forbidden),
            None => {}
        }
        if destination.kind() == DestinationKind::TempTopic {
            let topic = TempTopic { owner, subscriptions: Vec::new() };
            self.temp_topics.insert(destination.clone(), topic);
        } else if let Some(id) = QueueId::of(destination) {
            let settings = self.settings(&id);
            self.make_queue(Queue::new(id, Some(owner), account, settings), output)?;
        }
        Ok(())
    }

    fn owner(&self, destination: &Destination) -> Option<ConnectionId> {
        match self.temp_topics.get(destination) {
            Some(topic) => Some(topic.owner),
            None => self.queues.get(self.index_of(&QueueId::of(destination)?)?)?.owner,
        }
    }

    /// Whether this connection may subscribe.
    pub(super) fn check_owner(
        &self,
        connection: ConnectionId,
        destination: &Destination,
    ) -> Result<(), Refusal> {
        match self.owner(destination) {
            Some(owner) if owner == connection => Ok(()),
            Some(_) => Err(Refusal::Forbidden),
            None => Err(Refusal::NotFound),
        }
    }

    /// Deletes what a connection that has gone, and its subscriptions with it, declared.
    pub(super) fn undeclare(
        &mut self,
        owner: ConnectionId,
        destination: &Destination,
        output: &mut ShardOutput<'_>,
    ) {
        if self.owner(destination) != Some(owner) {
            return;
        }
        self.temp_topics.remove(destination);
        let index = QueueId::of(destination).and_then(|id| self.index_of(&id));
        let Some(index) = index else { return };
        let Some(mut queue) = self.remove_queue(index, output) else { return };
        while let Some(queued) = queue.pop().or_else(|| queue.pop_delayed()) {
            self.stats.dropped += 1;
            output.quotas.uncharge(queued.account, &queued.message);
        }
        while let Some(publisher) = queue.pop_blocked() {
            output.quotas.uncharge(publisher.account, &publisher.message);
            self.refuse_publisher(publisher.publisher, Refusal::NotFound, output);
        }
    }

    pub(super) fn join_temp_topic(&mut self, consume: &Consume) -> Result<(), Refusal> {
        let (subscriber, destination) = (consume.subscriber, &consume.destination);
        self.check_owner(subscriber.connection, destination)?;
        if let Some(topic) = self.temp_topics.get_mut(destination) {
            topic.subscriptions.push((subscriber.subscription, consume.selector.clone()));
        }
        Ok(())
    }

    pub(super) fn leave_temp_topic(&mut self, subscriber: Subscriber, destination: &Destination) {
        if let Some(topic) = self.temp_topics.get_mut(destination)
            && topic.owner == subscriber.connection
        {
            topic
                .subscriptions
                .retain(|(subscription, _)| *subscription != subscriber.subscription);
        }
    }

    pub(super) fn publish_temp_topic(
        &mut self,
        message: &Arc<Message>,
        output: &mut ShardOutput<'_>,
    ) -> Result<(), Refusal> {
        let topic = self.temp_topics.get(&message.to).ok_or(Refusal::NotFound)?;
        let connection = topic.owner;
        for (subscription, selector) in &topic.subscriptions {
            let mut selects = |selector: &Arc<Selector>| self.effort.selects(selector, message);
            if !selector.as_ref().is_none_or(&mut selects) {
                continue;
            }
            let subscription = *subscription;
            let subscriber = Subscriber { connection, subscription };
            let delivery = Delivery::new(Arc::clone(message));
            let source = Source::TempTopic;
            let message = ToFront::Deliver { subscriber, source, delivery };
            output.send_front(connection.core, message);
        }
        Ok(())
    }
}
