//! What connections ask, and what comes back for them.

use std::sync::Arc;

use contract::{
    Command, ConnectionId, Declare, Delivery, Destination, DestinationKind, Message, Refusal,
    Reply, Settle, Subscribe, SubscriptionId, Tag, Token,
};

use crate::{
    parcel::{Consume, Letter, Post, Subscriber},
    placement,
    queue::{QueuePosition, QueuedMessage},
    shard::{Client, Effect, Shard, Subscription},
    topics::Topics,
};

impl Shard {
    pub(crate) fn command(
        &mut self,
        connection: ConnectionId,
        token: Token,
        command: Command,
        post: &mut Post<'_>,
    ) {
        self.clients.get_or_insert_with(connection, Client::default);
        match self.defer(connection, token, command, post) {
            Some(Command::Subscribe(subscribe)) => {
                if let Err(refusal) = self.subscribe(connection, token, subscribe, post) {
                    self.reply(connection, token, Err(refusal), post);
                }
            }
            Some(Command::Unsubscribe(subscription)) => {
                self.unsubscribe(Subscriber { connection, subscription }, token, post);
            }
            Some(Command::Publish(message)) => {
                self.publish(connection, token, message, post);
            }
            Some(Command::Declare(Declare { destination })) => {
                self.declare(connection, token, destination, post);
            }
            Some(Command::Transact(operations)) => {
                self.transact(connection, token, operations, post);
            }
            None => {}
        }
    }

    fn subscribe(
        &mut self,
        connection: ConnectionId,
        token: Token,
        subscribe: Subscribe,
        post: &mut Post<'_>,
    ) -> Result<(), Refusal> {
        let Subscribe { id, pattern, settlement, credit } = subscribe;
        let subscriber = Subscriber { connection, subscription: id };
        let subscriptions_max = self.limits.subscriptions_max;
        let client = self.clients.get_mut(&connection).ok_or(Refusal::Limit)?;
        if client.subscriptions.len() >= subscriptions_max
            || self.subscriptions.contains_key(&subscriber)
            || !Topics::allows(&pattern)
        {
            return Err(Refusal::Limit);
        }
        client.subscriptions.push(id);
        match pattern.destination() {
            Some(destination) if pattern.kind() != DestinationKind::Topic => {
                let core = self.home_of(destination);
                let destination = destination.clone();
                let subscription = Subscription::Home {
                    core,
                    destination: destination.clone(),
                    seen: Tag(0),
                    ending: false,
                };
                self.subscriptions.insert(subscriber, subscription);
                let consume = Consume { subscriber, token, destination, settlement, credit };
                post.send(core, Letter::Subscribe(Box::new(consume)));
            }
            Some(_) | None => {
                let (topic, index, confirmed) = self.join(subscriber, &pattern, post);
                let pending = (!confirmed).then_some(token);
                let subscription = Subscription::Topic { topic, index, pending };
                self.subscriptions.insert(subscriber, subscription);
                if confirmed {
                    self.reply(connection, token, Ok(Reply::Done), post);
                }
            }
        }
        Ok(())
    }

    fn unsubscribe(&mut self, subscriber: Subscriber, token: Token, post: &mut Post<'_>) {
        let connection = subscriber.connection;
        match self.subscriptions.get_mut(&subscriber) {
            Some(Subscription::Home { core, destination, seen, ending }) if !*ending => {
                *ending = true;
                let (destination, seen, token) = (destination.clone(), *seen, Some(token));
                let letter = Letter::Unsubscribe { subscriber, destination, token, seen };
                post.send(*core, letter);
            }
            Some(Subscription::Home { .. }) | None => {
                self.reply(connection, token, Ok(Reply::Done), post);
            }
            Some(Subscription::Topic { topic, index, pending }) => {
                let (topic, index, pending) = (*topic, *index, *pending);
                if let Some(pending) = pending {
                    self.reply(connection, pending, Ok(Reply::Done), post);
                }
                self.forget(subscriber);
                self.leave(topic, index, post);
                self.reply(connection, token, Ok(Reply::Done), post);
            }
        }
    }

    /// A connection has gone: its subscriptions and temporary destinations with it.
    pub(crate) fn gone(&mut self, connection: ConnectionId, post: &mut Post<'_>) {
        let Some(mut client) = self.clients.remove(&connection) else { return };
        for subscription in std::mem::take(&mut client.subscriptions) {
            let subscriber = Subscriber { connection, subscription };
            match self.subscriptions.remove(&subscriber) {
                Some(Subscription::Topic { topic, index, .. }) => self.leave(topic, index, post),
                Some(Subscription::Home { core, destination, seen, ending: false }) => {
                    let letter = Letter::Unsubscribe { subscriber, destination, token: None, seen };
                    post.send(core, letter);
                }
                Some(Subscription::Home { ending: true, .. }) | None => {}
            }
        }
        for destination in std::mem::take(&mut client.temporaries) {
            let home = self.home_of(&destination);
            post.send(home, Letter::Undeclare { owner: connection, destination });
        }
        if client.deferred.is_some() {
            client.gone = true;
            self.clients.insert(connection, client);
        }
    }

    fn publish(
        &mut self,
        connection: ConnectionId,
        token: Token,
        message: Arc<Message>,
        post: &mut Post<'_>,
    ) {
        if message.destination.kind() == DestinationKind::Topic {
            if !self.topic_has_room(&message, message.cost()) {
                return self.reply(connection, token, Err(Refusal::Busy), post);
            }
            let busy = self.fan_out(&message, post);
            return self.reply_unless_busy(busy, connection, token, post);
        }
        let home = self.home_of(&message.destination);
        if self.link_has_room(home, message.cost()) {
            self.send(home, Letter::Publish { connection, token, message }, post);
        } else {
            self.reply(connection, token, Err(Refusal::Busy), post);
        }
    }

    fn declare(
        &mut self,
        connection: ConnectionId,
        token: Token,
        destination: Destination,
        post: &mut Post<'_>,
    ) {
        let temporary_max = self.limits.temporary_max;
        let Some(client) = self.clients.get_mut(&connection) else { return };
        if client.temporaries.len() >= temporary_max {
            return self.reply(connection, token, Err(Refusal::Limit), post);
        }
        if !client.temporaries.contains(&destination) {
            client.temporaries.push(destination.clone());
        }
        let home = self.home_of(&destination);
        post.send(home, Letter::Declare { owner: connection, token, destination });
    }

    pub(crate) fn settle(&self, connection: ConnectionId, settle: Settle, post: &mut Post<'_>) {
        let Settle { subscription, tag, outcome } = settle;
        let subscriber = Subscriber { connection, subscription };
        if let Some(&Subscription::Home { core, .. }) = self.subscriptions.get(&subscriber) {
            post.send(core, Letter::Settle { subscriber, tag, outcome });
        }
    }

    pub(crate) fn credit(&self, subscriber: Subscriber, count: u32, post: &mut Post<'_>) {
        if let Some(&Subscription::Home { core, .. }) = self.subscriptions.get(&subscriber) {
            post.send(core, Letter::Credit { subscriber, count });
        }
    }

    /// A home has refused or confirmed a subscription.
    pub(crate) fn subscribed(
        &mut self,
        subscriber: Subscriber,
        token: Token,
        result: Result<(), Refusal>,
        post: &mut Post<'_>,
    ) {
        if result.is_err()
            && let Some(Subscription::Home { ending: false, .. }) =
                self.subscriptions.get(&subscriber)
        {
            self.forget(subscriber);
        }
        self.reply(subscriber.connection, token, result.map(|()| Reply::Done), post);
    }

    pub(crate) fn unsubscribed(
        &mut self,
        subscriber: Subscriber,
        token: Token,
        post: &mut Post<'_>,
    ) {
        self.forget(subscriber);
        self.reply(subscriber.connection, token, Ok(Reply::Done), post);
    }

    pub(crate) fn declared(
        &mut self,
        owner: ConnectionId,
        token: Token,
        destination: &Destination,
        result: Result<(), Refusal>,
        post: &mut Post<'_>,
    ) {
        if result.is_err()
            && let Some(client) = self.clients.get_mut(&owner)
        {
            client.temporaries.retain(|other| other != destination);
        }
        self.reply(owner, token, result.map(|()| Reply::Done), post);
    }

    /// Hands a delivery over, unless its subscription has ended: then a settled one returns to
    /// its queue, and an unsettled one is there already, or will be.
    pub(crate) fn deliver(
        &mut self,
        subscriber: Subscriber,
        position: QueuePosition,
        delivery: Delivery,
        post: &mut Post<'_>,
    ) {
        match self.subscriptions.get_mut(&subscriber) {
            Some(Subscription::Home { seen, ending: false, .. }) => {
                if let Some(tag) = delivery.tag {
                    *seen = tag;
                }
                if delivery.message.destination.kind().is_queue() {
                    self.stats.queue_delivered += 1;
                }
                post.effects.push(Effect::Deliver(subscriber, delivery));
            }
            Some(_) | None => {
                let Delivery { message, tag, redeliveries } = delivery;
                if tag.is_none() && message.destination.kind().is_queue() {
                    let home = self.home_of(&message.destination);
                    let held = QueuedMessage { position, message, deliveries: redeliveries };
                    post.send(home, Letter::Return(held));
                }
            }
        }
    }

    /// Answers, if the connection is still there.
    pub(crate) fn reply(
        &self,
        connection: ConnectionId,
        token: Token,
        result: Result<Reply, Refusal>,
        post: &mut Post<'_>,
    ) {
        if self.clients.get(&connection).is_some_and(|client| !client.gone) {
            post.effects.push(Effect::Reply(connection, token, result));
        }
    }

    pub(crate) fn home_of(&self, destination: &Destination) -> u16 {
        placement::home(destination, self.cores)
    }

    fn forget(&mut self, subscriber: Subscriber) {
        let Subscriber { connection, subscription } = subscriber;
        self.subscriptions.remove(&subscriber);
        if let Some(client) = self.clients.get_mut(&connection) {
            client.subscriptions.retain(|&other: &SubscriptionId| other != subscription);
        }
    }
}
