//! How subscriptions and connections end.

use contract::{ConnectionId, Notice, Refusal, Reply, SubscriptionId, Tag, Token, internal};

use super::{Front, Subscription, reader::Reader};
use crate::{
    event::{Effect, Leave},
    output::ShardOutput,
    shard_message::{Subscriber, ToHome},
};

/// What ends a subscription, and so what its connection is told in the end.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Unsubscribed(Token),
    Cancelled(Refusal),
    /// The connection is closing.
    Closed,
}

impl Front {
    pub(super) fn unsubscribe(
        &mut self,
        subscriber: Subscriber,
        token: Token,
        output: &mut ShardOutput<'_>,
    ) {
        let ending = match self.subscriptions.get_mut(&subscriber) {
            Some(Subscription::Home(home)) => &mut home.ending,
            Some(Subscription::Topic { .. } | Subscription::Buffered(_)) => &mut None,
            None => &mut Some(End::Closed),
        };
        match ending {
            Some(end @ End::Cancelled(_)) => *end = End::Unsubscribed(token),
            Some(End::Unsubscribed(_) | End::Closed) => {
                self.reply(subscriber.connection, token, Ok(Reply::Done), output);
            }
            None => self.end(subscriber, End::Unsubscribed(token), output),
        }
    }

    pub(crate) fn cancel(
        &mut self,
        subscriber: Subscriber,
        refusal: Refusal,
        output: &mut ShardOutput<'_>,
    ) {
        self.end(subscriber, End::Cancelled(refusal), output);
    }

    /// Ends a subscription, unless it has ended; its connection is told when nothing of it follows.
    pub(super) fn end(&mut self, subscriber: Subscriber, end: End, output: &mut ShardOutput<'_>) {
        match self.subscriptions.get_mut(&subscriber) {
            Some(Subscription::Home(home)) => {
                if home.ending.is_some() {
                    return;
                }
                home.ending = Some(end);
                let (core, handed_over) = (home.core, home.handed_over);
                if self.stop_reading(subscriber, output) {
                    output.send_home(core, ToHome::Stop { subscriber, handed_over });
                } else {
                    self.end_at_home(subscriber, output);
                }
            }
            None => {}
            Some(&mut Subscription::Buffered(key)) => {
                self.forget(subscriber);
                self.remove_buffered(key, output);
                self.ended(subscriber, end, output);
            }
            Some(&mut Subscription::Topic { topic, index, pending }) => {
                if let Some(pending) = pending {
                    self.reply(subscriber.connection, pending, Ok(Reply::Done), output);
                }
                self.forget(subscriber);
                self.leave(topic, index, output);
                self.ended(subscriber, end, output);
            }
        }
    }

    /// Tells a home that a subscription has ended, which releases what it has unsettled.
    pub(super) fn end_at_home(&mut self, subscriber: Subscriber, output: &mut ShardOutput<'_>) {
        let Some(Subscription::Home(home)) = self.subscriptions.get(&subscriber) else {
            return internal!("a subscription ends at a home and is not there");
        };
        let (core, destination, failed) = (home.core, home.destination.clone(), Tag(0));
        let ending = home.becomes;
        let confirm = !matches!(home.ending, Some(End::Closed));
        if !confirm {
            self.subscriptions.remove(&subscriber);
        }
        let end = ToHome::Unsubscribe { subscriber, destination, confirm, failed, ending };
        self.send_end(subscriber, core, end, output);
    }

    /// A home has confirmed the end of a subscription.
    pub(super) fn unsubscribed(&mut self, subscriber: Subscriber, output: &mut ShardOutput<'_>) {
        // Without it, the connection has gone.
        let Some(Subscription::Home(home)) = self.subscriptions.get(&subscriber) else { return };
        let Some(end) = home.ending else { return };
        self.forget(subscriber);
        self.ended(subscriber, end, output);
    }

    pub(super) fn ended(&self, subscriber: Subscriber, end: End, output: &mut ShardOutput<'_>) {
        let Subscriber { connection, subscription } = subscriber;
        match end {
            End::Unsubscribed(token) => self.reply(connection, token, Ok(Reply::Done), output),
            End::Cancelled(refusal) => {
                let notice = Notice::Cancelled(subscription, refusal);
                output.effects.push(Effect::Notice(connection, notice));
            }
            End::Closed => {}
        }
    }

    /// A connection sends nothing more: its subscriptions and temporary destinations end. What it was
    /// handed may still be written.
    pub(crate) fn closing(
        &mut self,
        connection: ConnectionId,
        leave: Leave,
        output: &mut ShardOutput<'_>,
    ) {
        let Some(mut client) = self.clients.remove(&connection) else { return };
        for subscription in std::mem::take(&mut client.subscriptions) {
            self.close_subscription(Subscriber { connection, subscription }, leave, output);
        }
        if self.readers.get(&connection).is_some_and(|reader| !reader.is_ending()) {
            self.readers.remove(&connection);
        }
        for deferred in client.lanes.values_mut() {
            deferred.send_ends(output);
        }
        for destination in std::mem::take(&mut client.temporaries) {
            let home = self.home_of(&destination);
            output.send_home(home, ToHome::Undeclare { owner: connection, destination });
        }
        self.release(connection, client.claimed.take(), output);
        if !client.lanes.is_empty() {
            client.gone = true;
            self.clients.insert(connection, client);
        }
    }

    pub(super) fn close_subscription(
        &mut self,
        subscriber: Subscriber,
        leave: Leave,
        output: &mut ShardOutput<'_>,
    ) {
        let home = match self.subscriptions.get_mut(&subscriber) {
            Some(Subscription::Home(home)) => home,
            Some(&mut Subscription::Topic { topic, index, .. }) => {
                self.subscriptions.remove(&subscriber);
                return self.leave(topic, index, output);
            }
            Some(&mut Subscription::Buffered(key)) => {
                self.subscriptions.remove(&subscriber);
                return self.remove_buffered(key, output);
            }
            None => return,
        };
        let was_ending = home.ending.replace(End::Closed).is_some();
        let ending = home.becomes;
        let awaits = home.unwritten > 0;
        let (core, destination, handed_over) =
            (home.core, home.destination.clone(), home.handed_over);
        let failed = if leave == Leave::Lost { home.written } else { Tag(0) };
        if !was_ending {
            self.stop_reading(subscriber, output);
        }
        // A temporary queue ends with its owner, and nothing returns to it.
        if awaits && !destination.kind().is_temporary() {
            if !was_ending {
                output.send_home(core, ToHome::Stop { subscriber, handed_over });
            }
            return;
        }
        self.subscriptions.remove(&subscriber);
        if awaits && let Some(reader) = self.readers.get_mut(&subscriber.connection) {
            reader.end(subscriber.subscription);
        }
        if awaits || !was_ending {
            let confirm = false;
            let end = ToHome::Unsubscribe { subscriber, destination, confirm, failed, ending };
            output.send_home(core, end);
        }
    }

    /// A connection has gone. What was not written until now never will be.
    pub(crate) fn gone(&mut self, connection: ConnectionId, output: &mut ShardOutput<'_>) {
        if self.clients.get(&connection).is_some_and(|client| !client.gone) {
            self.closing(connection, Leave::Lost, output);
        }
        for subscription in
            self.readers.remove(&connection).into_iter().flat_map(Reader::into_ending)
        {
            self.end_at_home(Subscriber { connection, subscription }, output);
        }
    }

    pub(super) fn forget(&mut self, subscriber: Subscriber) {
        let Subscriber { connection, subscription } = subscriber;
        let bytes = match self.subscriptions.remove(&subscriber) {
            Some(Subscription::Topic { topic, .. }) => {
                self.topics.get(topic).map_or(0, |topic| topic.pattern().name_bytes())
            }
            Some(Subscription::Buffered(key)) => self.buffered.get(key).map_or(0, |buffered| {
                let topic = self.topics.get(buffered.audience.topic);
                buffered.name_bytes() + topic.map_or(0, |topic| topic.pattern().name_bytes())
            }),
            Some(Subscription::Home(home)) => home.name_bytes,
            None => 0,
        };
        if let Some(client) = self.clients.get_mut(&connection) {
            client.remove_name(bytes);
            client.subscriptions.retain(|&other: &SubscriptionId| other != subscription);
        }
    }
}
