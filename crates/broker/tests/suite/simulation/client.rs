//! What clients do: anything that a session may ask of a broker, at random.

use std::{num::NonZero, sync::Arc};

use broker::{Account, Event, Leave, Subscriber};
use bytes::Bytes;
use contract::{
    Body, Command, ConflationKey, ConnectionId, Credit, Declare, Destination, DestinationKind,
    Ending, Group, Lane, Message, Mode, Operation, Outcome, Parts, Pattern, Precedence, Refusal,
    Selector, Settle, Settlement, SlowPolicy, Strings, Subscribe, SubscriptionId, Tag, Token,
};

use super::{
    Simulation,
    model::{BOUND, Producer, SELECTORS, Sent, Subscription},
    schedule::DELAY_MAX_MS,
};

impl Simulation {
    /// A connection does something.
    pub(super) fn act(&mut self, connection: ConnectionId) {
        match self.random.below(18) {
            0 | 1 => self.subscribe(connection),
            2 if !self.schedule.is_calm && self.schedule.has_bound && self.random.once_in(4) => {
                self.delete(connection);
            }
            2 if !self.schedule.is_calm && self.random.once_in(3) => self.cancel(connection),
            2 if !self.schedule.is_calm => self.unsubscribe(connection),
            3 => self.declare(connection),
            4..7 => self.transact(connection),
            7..11 => self.settle(connection),
            11 | 12 => self.credit(connection),
            13 => self.drain(connection),
            _ => self.publish(connection),
        }
    }

    fn subscribe(&mut self, connection: ConnectionId) {
        if self.schedule.has_bound && self.random.once_in(3) {
            return self.join(connection);
        }
        let pattern = match self.random.below(4) {
            0 => self.random.pick(PATTERNS).to_owned(),
            1 | 2 => self.random.pick(QUEUES).to_owned(),
            _ => match self.any_temporary() {
                Some(temporary) => temporary,
                None => return,
            },
        };
        let free = self.free_id(connection);
        // Now and then a name that is taken.
        let id = if self.random.once_in(20) { SubscriptionId(1) } else { free };
        let mut subscribe = Subscribe::new(id, Pattern::parse(&pattern).unwrap());
        subscribe.credit = Some(u32::try_from(self.random.below(9)).unwrap());
        subscribe.settlement = self.random.pick(&[Settlement::Automatic, Settlement::Explicit]);
        if self.random.once_in(5) && !self.schedule.rules.is_narrow {
            subscribe.mode = Mode::Browse;
        }
        if subscribe.pattern.kind() == DestinationKind::Topic {
            self.choose_flow(&mut subscribe);
        }
        let is_queue = subscribe.pattern.kind() != DestinationKind::Topic;
        if self.random.once_in(if is_queue { 3 } else { 8 }) {
            let (text, _) = self.random.pick(&SELECTORS);
            subscribe.selector = Some(Arc::new(Selector::parse(text, Strings::Strict).unwrap()));
        }
        if self.schedule.has_precedence && is_queue {
            let (is_exclusive, priority) = (self.random.once_in(4), self.random.pick(&[0, 0, 1]));
            subscribe.precedence = Precedence { is_exclusive, priority };
        }
        self.subscribe_as(connection, subscribe);
    }

    fn free_id(&self, connection: ConnectionId) -> SubscriptionId {
        let used = &self.model.clients[&connection].subscriptions;
        (1..).map(SubscriptionId).find(|id| !used.contains_key(id)).unwrap()
    }

    /// Subscribes to a durable or shared subscription.
    fn join(&mut self, connection: ConnectionId) {
        let id = self.free_id(connection);
        let bound = &BOUND[self.random.below(BOUND.len())];
        let mut subscribe = bound.subscribe(id);
        subscribe.credit = Some(u32::try_from(self.random.below(9)).unwrap());
        if self.random.once_in(2) {
            subscribe.settlement = Settlement::Explicit;
        }
        self.subscribe_as(connection, subscribe);
    }

    /// Deletes a durable subscription, if nobody reads it.
    fn delete(&mut self, connection: ConnectionId) {
        let bound = &BOUND[self.random.below(BOUND.len())];
        let token = self.next_token();
        self.model.delete((connection, token), bound.name);
        self.command(connection, token, Command::Delete(bound.durable_name()));
    }

    /// How a subscription gets what is published to topics: one in four is pushed to.
    fn choose_flow(&mut self, subscribe: &mut Subscribe) {
        if self.random.once_in(2) {
            subscribe.credit = None;
        }
        subscribe.on_slow = match self.random.below(8) {
            0 | 1 => SlowPolicy::DropOldest,
            2 => SlowPolicy::Latest(ConflationKey::Destination),
            3 => SlowPolicy::Latest(ConflationKey::Property("key".into())),
            _ => SlowPolicy::Close,
        };
        if self.random.once_in(4) {
            subscribe.rate = NonZero::new(self.random.pick(&[10, 50]));
        }
    }

    pub(super) fn subscribe_as(&mut self, connection: ConnectionId, subscribe: Subscribe) {
        let token = self.next_token();
        self.model.subscribe((connection, token), &subscribe);
        self.command(connection, token, Command::Subscribe(Box::new(subscribe)));
    }

    fn unsubscribe(&mut self, connection: ConnectionId) {
        let id = self.any_subscription(connection);
        let ending = if self.random.once_in(4) { Ending::Delete } else { Ending::Suspend };
        self.unsubscribe_as(connection, id, ending);
    }

    pub(super) fn unsubscribe_as(
        &mut self,
        connection: ConnectionId,
        id: SubscriptionId,
        ending: Ending,
    ) {
        let token = self.next_token();
        self.model.unsubscribe((connection, token), id, ending);
        self.command(connection, token, Command::Unsubscribe(id, ending));
    }

    /// Ends a subscription from outside.
    fn cancel(&mut self, connection: ConnectionId) {
        let subscriber = Subscriber { connection, subscription: self.any_subscription(connection) };
        self.model.cancel(subscriber, Refusal::Forbidden);
        self.apply(connection.core, Event::Cancel(subscriber, Refusal::Forbidden));
    }

    fn declare(&mut self, connection: ConnectionId) {
        let kind = self.random.pick(&[DestinationKind::TempQueue, DestinationKind::TempTopic]);
        let destination = Destination::temporary(kind, self.random.bits().into());
        let token = self.next_token();
        self.model.declare((connection, token), &destination.to_string());
        self.command(connection, token, Command::Declare(Declare { destination }));
    }

    fn publish(&mut self, connection: ConnectionId) {
        let lane = self.any_lane();
        let (message, sent) = self.message((connection, lane));
        let token = self.next_token();
        self.promise_entry((connection, token), &message);
        self.model.publish((connection, token), sent, self.world.now.mono_ns);
        self.command(connection, token, Command::Publish(lane, message));
    }

    fn transact(&mut self, connection: ConnectionId) {
        let lane = self.any_lane();
        let (mut operations, mut all_sent, mut settles) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.random.below(7) {
            if self.random.once_in(2) {
                let (message, sent) = self.message((connection, lane));
                operations.push(Operation::Publish(message));
                all_sent.push(sent);
            } else if let Some(settle) = self.any_settle(connection, 20)
                && !settles.contains(&settle)
            {
                operations.push(Operation::Settle(settle.clone()));
                settles.push(settle);
            }
        }
        let token = self.next_token();
        for operation in &operations {
            if let Operation::Publish(message) = operation {
                self.promise_entry((connection, token), message);
            }
        }
        for (index, settle) in settles.iter().enumerate() {
            self.promise_removal((connection, token), &settles[..index], settle);
        }
        self.model.transact((connection, token), all_sent, &settles);
        self.command(connection, token, Command::Transact(lane, operations));
    }

    fn settle(&mut self, connection: ConnectionId) {
        let Some(settle) = self.any_settle(connection, 10) else { return };
        let mut reply = None;
        if self.random.once_in(4) {
            let token = self.next_token();
            self.promise_removal((connection, token), &[], &settle);
            self.model.settle_with_reply((connection, token), &settle);
            reply = Some(token);
        } else {
            self.model.settle(connection, &settle);
        }
        self.apply(connection.core, Event::Settle(connection, settle, reply));
    }

    fn credit(&mut self, connection: ConnectionId) {
        let id = self.any_subscription(connection);
        let count = u32::try_from(self.random.below(4)).unwrap();
        let credit =
            if self.random.once_in(4) { Credit::Set(2 * count) } else { Credit::Add(count) };
        self.set_credit(connection, id, credit);
    }

    pub(super) fn set_credit(
        &mut self,
        connection: ConnectionId,
        id: SubscriptionId,
        credit: Credit,
    ) {
        self.model.credit(connection, id, credit);
        self.apply(connection.core, Event::Credit(connection, id, credit));
    }

    fn drain(&mut self, connection: ConnectionId) {
        let id = self.any_subscription(connection);
        let token = self.next_token();
        self.model.drain((connection, token), id);
        self.command(connection, token, Command::Drain(id));
    }

    /// A connection begins to close.
    pub(super) fn close(&mut self, connection: ConnectionId) {
        let leave = self.random.pick(&[Leave::Orderly, Leave::Lost]);
        self.model.closing(connection, leave);
        self.closing.push(connection);
        self.apply(connection.core, Event::Closing(connection, leave));
    }

    pub(super) fn vanish(&mut self, connection: ConnectionId) {
        self.model.gone(connection);
        self.closing.retain(|&other| other != connection);
        self.apply(connection.core, Event::Gone(connection));
    }

    /// The next of what a connection was handed is written.
    pub(super) fn write(&mut self, connection: ConnectionId, count: usize) {
        self.trace
            .add(format!("> {0}: {0}/{1} gets {count} written", connection.core, connection.slot));
        self.model.written(connection, count);
        self.world.write(connection, count);
        self.observe();
    }

    fn command(&mut self, connection: ConnectionId, token: Token, command: Command) {
        // Some connections are of one principal, and some of none that is counted.
        let account = connection.slot % 4;
        let account = (account > 0).then(|| Account::new(account.into()));
        self.apply(connection.core, Event::Command(connection, token, command, account));
    }

    fn next_token(&mut self) -> Token {
        self.token_last += 1;
        Token(self.token_last)
    }

    /// Settles a delivery somehow; once in `stale_in` one that was settled before.
    fn any_settle(&mut self, connection: ConnectionId, stale_in: usize) -> Option<Settle> {
        let outcome = match self.random.below(6) {
            0 if !self.schedule.is_calm => Outcome::Failed,
            1 if !self.schedule.is_calm => Outcome::Released,
            2 if !self.schedule.has_bound => Outcome::Rejected,
            3 if !self.schedule.is_calm && self.random.once_in(4) => {
                Outcome::Undeliverable { failed: self.random.once_in(2) }
            }
            _ => Outcome::Accepted,
        };
        let is_stale = self.random.once_in(stale_in);
        let is_range = self.random.once_in(3);
        let client = &self.model.clients[&connection];
        let subscriptions = &client.subscriptions;
        let deliveries: Vec<(SubscriptionId, Tag)> = if is_stale {
            subscriptions.iter().filter_map(|(&id, s)| Some((id, s.settled_last?))).collect()
        } else {
            let unsettled = subscriptions.iter().map(|(&id, s)| (id, s.unsettled.keys()));
            let unsettled = unsettled.flat_map(|(id, tags)| tags.map(move |&tag| (id, tag)));
            // A session does not know that a transaction was rolled back before it has the reply.
            unsettled.filter(|&(id, tag)| !client.is_in_transaction(id, tag)).collect()
        };
        if deliveries.is_empty() {
            return None;
        }
        let (subscription, tag) = self.random.pick(&deliveries);
        // What lies in a range must be known, so none of it is in a transaction.
        let Subscription { unsettled, settling, .. } = &subscriptions[&subscription];
        let first = unsettled.keys().next().copied().unwrap_or(tag).min(tag);
        let is_known = |tag| !client.is_in_transaction(subscription, tag);
        let is_range = is_range
            && settling.range(first..=tag).next().is_none()
            && unsettled.range(first..=tag).all(|(&tag, _)| is_known(tag));
        let first = if is_range { first } else { tag };
        Some(Settle { subscription, tags: first..=tag, outcome })
    }

    /// One of its subscriptions, or one that does not exist.
    fn any_subscription(&mut self, connection: ConnectionId) -> SubscriptionId {
        let subscriptions = &self.model.clients[&connection].subscriptions;
        let mut ids: Vec<SubscriptionId> = subscriptions.keys().copied().collect();
        if self.random.once_in(20) {
            ids.push(SubscriptionId(99));
        }
        if ids.is_empty() { SubscriptionId(99) } else { self.random.pick(&ids) }
    }

    fn any_lane(&mut self) -> Lane {
        self.random.pick(&[Lane(0), Lane(0), Lane(1), Lane(2)])
    }

    fn any_temporary(&mut self) -> Option<String> {
        let clients = self.model.clients.values();
        let all: Vec<&String> = clients.flat_map(|client| client.temporaries.keys()).collect();
        (!all.is_empty()).then(|| self.random.pick(&all).clone())
    }

    fn message(&mut self, producer: Producer) -> (Arc<Message>, Sent) {
        let to = match self.random.below(9) {
            0..3 => self.random.pick(TOPICS).to_owned(),
            3 => self.any_temporary().unwrap_or_else(|| UNDECLARED.to_owned()),
            _ => self.random.pick(QUEUES).to_owned(),
        };
        let size =
            if self.schedule.rules.is_heavy { self.random.pick(&[0, 0, 1, 6]) << 20 } else { 0 };
        let body = Body::Binary(Bytes::from_static(&ZEROS[..size]));
        let destination = Destination::parse(&to).unwrap();
        let unix_ms = self.world.now.unix_ms;
        self.message_last += 1;
        let mut parts = Parts::new(body);
        let key = self.random.pick(&[None, Some("x"), Some("y"), Some("z")]);
        key.into_iter().for_each(|key| parts.properties.push("key", key));
        let mut message = Message::new(destination, self.message_last, unix_ms, parts);
        message.header.priority = self.random.pick(&[4, 4, 4, 0, 9]);
        message.header.durable = match self.random.once_in(self.schedule.durable_in) {
            true => Some(true),
            false => self.random.pick(&[None, None, Some(false)]),
        };
        let is_queue = message.to.kind().is_queue();
        if self.schedule.has_delays && is_queue && self.random.once_in(6) {
            let delay = 1 + self.random.below(usize::try_from(DELAY_MAX_MS).unwrap());
            message.header.delay_ms = u32::try_from(delay).unwrap();
        }
        if self.random.once_in(4) {
            message.header.expires_unix_ms = Some(unix_ms + self.random.below(3000) as u64);
        }
        if self.schedule.has_groups && !self.random.once_in(3) {
            let sequence = self.random.once_in(8).then_some("-1");
            let id = self.random.pick(&["a", "b", "c"]);
            message.header.group = Some(Group::new(id, sequence));
        }
        let sent = Sent {
            id: message.id,
            to,
            lane: producer.1,
            priority: message.header.priority,
            expires_unix_ms: message.header.expires_unix_ms,
            delay_ms: message.header.delay_ms,
            group: message.header.group,
            cost: message.cost(),
            key: key.map(str::to_owned),
        };
        self.producers.insert(message.id, producer);
        (Arc::new(message), sent)
    }
}

const TOPICS: &[&str] = &["/topic/a", "/topic/a.b", "/topic/a.c", "/topic/b.c"];
const PATTERNS: &[&str] = &[
    "/topic/a",
    "/topic/a.b",
    "/topic/b.c",
    "/topic/*",
    "/topic/a.*",
    "/topic/*.c",
    "/topic/a.>",
    "/topic/a.#",
    "/topic/>",
];
const QUEUES: &[&str] = &["/queue/q", "/queue/r", "/queue/s", "/queue/DLQ.q"];
/// A temporary queue that was never declared.
const UNDECLARED: &str = "/temp-queue/00000000000000000000000000000077";
static ZEROS: [u8; 6 << 20] = [0; 6 << 20];
