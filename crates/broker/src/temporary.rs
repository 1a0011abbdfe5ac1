//! Temporary destinations: what one connection declares, and only it subscribes to.

use std::sync::Arc;

use contract::{
    ConnectionId, Delivery, Destination, DestinationKind, Message, Refusal, SubscriptionId, Token,
};

use crate::{
    home::Home,
    parcel::{Letter, Post, Subscriber},
    queue::{Queue, QueuePosition},
};

/// A temporary topic.
#[derive(Debug)]
pub(crate) struct TempTopic {
    owner: ConnectionId,
    subscriptions: Vec<SubscriptionId>,
}

impl Home {
    pub(crate) fn declare(
        &mut self,
        owner: ConnectionId,
        token: Token,
        destination: Destination,
        post: &mut Post<'_>,
    ) {
        let result = self.make_temporary(owner, &destination);
        post.send(owner.core, Letter::Declared { owner, token, destination, result });
    }

    fn make_temporary(
        &mut self,
        owner: ConnectionId,
        destination: &Destination,
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
        } else {
            self.make_queue(Queue::new(destination.clone(), Some(owner)))?;
        }
        Ok(())
    }

    fn owner(&self, destination: &Destination) -> Option<ConnectionId> {
        match self.temp_topics.get(destination) {
            Some(topic) => Some(topic.owner),
            None => self.queue(destination)?.owner,
        }
    }

    /// Whether this connection may subscribe.
    pub(crate) fn check_owner(
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
    pub(crate) fn undeclare(
        &mut self,
        owner: ConnectionId,
        destination: &Destination,
        post: &mut Post<'_>,
    ) {
        if self.owner(destination) != Some(owner) {
            return;
        }
        self.temp_topics.remove(destination);
        let Some(mut queue) = self.delete_queue(destination) else { return };
        while queue.pop().is_some() {
            self.stats.dropped += 1;
        }
        while let Some(waiting) = queue.pop_waiting() {
            Self::answer(waiting.connection, waiting.token, Err(Refusal::NotFound), post);
        }
    }

    pub(crate) fn join_temp_topic(
        &mut self,
        subscriber: Subscriber,
        destination: &Destination,
    ) -> Result<(), Refusal> {
        self.check_owner(subscriber.connection, destination)?;
        if let Some(topic) = self.temp_topics.get_mut(destination) {
            topic.subscriptions.push(subscriber.subscription);
        }
        Ok(())
    }

    pub(crate) fn leave_temp_topic(&mut self, subscriber: Subscriber, destination: &Destination) {
        if let Some(topic) = self.temp_topics.get_mut(destination)
            && topic.owner == subscriber.connection
        {
            topic.subscriptions.retain(|&subscription| subscription != subscriber.subscription);
        }
    }

    pub(crate) fn publish_temp_topic(
        &self,
        message: &Arc<Message>,
        post: &mut Post<'_>,
    ) -> Result<(), Refusal> {
        let topic = self.temp_topics.get(&message.destination).ok_or(Refusal::NotFound)?;
        let connection = topic.owner;
        for &subscription in &topic.subscriptions {
            let subscriber = Subscriber { connection, subscription };
            let delivery = Delivery { message: Arc::clone(message), tag: None, redeliveries: 0 };
            post.send(
                connection.core,
                Letter::Deliver { subscriber, position: QueuePosition::default(), delivery },
            );
        }
        Ok(())
    }
}
