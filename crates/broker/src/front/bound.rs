//! Durable subscriptions at a front: which queues get a publication to a topic, and what they say to it.

use std::sync::Arc;

use contract::{ConnectionId, DurableName, Message, Refusal, Reply, Token, internal};

use super::{End, Front, buffered::OFFER_LOOKUPS};
use crate::{
    output::ShardOutput,
    queued::QueueId,
    quota::Account,
    record::Terms,
    shard_message::{Publisher, Subscriber, ToHome},
};

/// A publication that several queues take, each by itself.
#[derive(Debug)]
pub(super) struct Gathering {
    connection: ConnectionId,
    token: Token,
    /// Replies that have not come.
    missing: usize,
    refusal: Option<Refusal>,
    /// A core to which too much is in flight for another reason.
    full: Option<u16>,
}

impl Front {
    /// A durable subscription gets what matches its pattern.
    pub(super) fn bind(
        &mut self,
        queue: &QueueId,
        terms: &Terms,
        request: u64,
        output: &mut ShardOutput<'_>,
    ) {
        self.topics.enter(&terms.pattern).1.bind(queue);
        let home = self.home_of(queue.name());
        output.send_home(home, ToHome::Bound { queue: queue.clone(), request });
    }

    pub(super) fn unbind(&mut self, queue: &QueueId, terms: &Terms) {
        let Some(id) = self.topics.find(&terms.pattern) else { return };
        if let Some(topic) = self.topics.get_mut(id) {
            topic.unbind(queue);
        }
        self.topics.tidy(id);
    }

    /// As [`Front::bind`], when the process begins.
    pub(crate) fn restore_binding(&mut self, queue: &QueueId, terms: &Terms) {
        self.topics.enter(&terms.pattern).1.bind(queue);
    }

    pub(super) fn displace(&mut self, subscriber: Subscriber, output: &mut ShardOutput<'_>) {
        self.end(subscriber, End::Cancelled(Refusal::Displaced), output);
    }

    pub(super) fn delete(
        &self,
        connection: ConnectionId,
        token: Token,
        name: &DurableName,
        output: &mut ShardOutput<'_>,
    ) {
        let queue = QueueId::of_subscription(name);
        let home = self.home_of(queue.name());
        output.send_home(home, ToHome::Delete { connection, token, queue });
    }

    pub(super) fn find_durable(
        &self,
        connection: ConnectionId,
        token: Token,
        name: &DurableName,
        output: &mut ShardOutput<'_>,
    ) {
        let queue = QueueId::of_subscription(name);
        let home = self.home_of(queue.name());
        output.send_home(home, ToHome::Find { connection, token, queue });
    }

    /// Whether a publication may be sent to the homes of all these queues.
    pub(super) fn has_room_for(
        &mut self,
        queues: &[QueueId],
        message: &Message,
        output: &ShardOutput<'_>,
    ) -> bool {
        self.lookups += queues.len() * OFFER_LOOKUPS;
        let (mut bytes, cost) = (vec![0_usize; self.cores.into()], message.cost());
        for queue in queues {
            if let Some(bytes) = bytes.get_mut(usize::from(self.home_of(queue.name()))) {
                *bytes = bytes.saturating_add(cost);
            }
        }
        let mut homes = (0..self.cores).zip(bytes).filter(|(_, bytes)| *bytes > 0);
        homes.all(|(home, bytes)| output.windows.has_room(home, bytes))
    }

    /// A publication goes to these queues too; the reply to it comes when all have taken it.
    pub(super) fn publish_to_bound(
        &mut self,
        publisher: Publisher,
        queues: &[QueueId],
        message: &Arc<Message>,
        full: Option<u16>,
        output: &mut ShardOutput<'_>,
    ) {
        let gathering = self.next_request();
        let Publisher { connection, token, .. } = publisher;
        let (missing, refusal) = (queues.len(), None);
        let gathered = Gathering { connection, token, missing, refusal, full };
        self.gatherings.insert(gathering, gathered);
        for queue in queues {
            let home = self.home_of(queue.name());
            let publisher = Publisher { gathering, ..publisher };
            let (queue, message) = (Some(Box::new(queue.clone())), Arc::clone(message));
            let account: Option<Account> = None;
            output.send_home(home, ToHome::Publish { publisher, queue, message, account });
        }
    }

    /// The queue of a publication, or one of them, has replied.
    pub(super) fn published(
        &mut self,
        publisher: Publisher,
        result: Result<(), Refusal>,
        output: &mut ShardOutput<'_>,
    ) {
        let Publisher { connection, token, gathering, .. } = publisher;
        if gathering == 0 {
            return self.reply(connection, token, result.map(|()| Reply::Done), output);
        }
        let Some(gathered) = self.gatherings.get_mut(&gathering) else {
            return internal!("a reply to a publication that is not in flight");
        };
        gathered.missing -= 1;
        gathered.refusal = gathered.refusal.or_else(|| result.err());
        if gathered.missing > 0 {
            return;
        }
        let Some(gathered) = self.gatherings.remove(&gathering) else { return };
        let Gathering { connection, token, refusal, full, .. } = gathered;
        match refusal {
            Some(refusal) => self.reply(connection, token, Err(refusal), output),
            None => self.reply_when_not_full(full, connection, token, output),
        }
    }
}
