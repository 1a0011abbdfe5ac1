//! What clients command, and what the reply may be.

use broker::Subscriber;
use contract::{
    ConnectionId, Ending, Mode, Notice, Outcome, Refusal, Settle, Subscribe, SubscriptionId,
};

use super::{
    CommandId, Holder, Model, Sent, Subscription,
    bound::{Joined, bound},
    is_queue, is_temporary, matches,
    queues::{Custody, Settling},
    selection,
    subscription::{Browse, Phase, queue_name},
};

/// A command that waits for its reply, and what the reply may be.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) kind: Kind,
    may_succeed: bool,
    refusals: Vec<Refusal>,
    /// Destinations that exist as long as their owners are there.
    temporaries: Vec<String>,
    since_ns: u64,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// With the serial of the subscription: another may have its id before the reply comes.
    Subscribe(SubscriptionId, u64),
    /// With a name that is taken.
    SubscribeAgain,
    Unsubscribe(SubscriptionId),
    Declare(String),
    /// Of a durable subscription.
    Delete,
    Publish(Sent),
    /// With what it settles.
    Transact(Vec<Settle>),
    Drain(Holder),
    /// To hear that a settlement was carried out.
    Settle,
}

impl Pending {
    fn new(kind: Kind, since_ns: u64) -> Self {
        Self { kind, may_succeed: true, refusals: Vec::new(), temporaries: Vec::new(), since_ns }
    }

    fn may_be(mut self, refusal: Refusal, condition: bool) -> Self {
        if condition {
            self.refusals.push(refusal);
        }
        self
    }

    fn must_be(mut self, refusal: Refusal, condition: bool) -> Self {
        self.may_succeed &= !condition;
        self.may_be(refusal, condition)
    }
}

impl Model {
    pub(crate) fn subscribe(&mut self, (connection, token): CommandId, subscribe: &Subscribe) {
        let id = subscribe.id;
        let pattern = &queue_name(subscribe);
        let is_browse = subscribe.mode == Mode::Browse;
        let owner = self.owner(pattern);
        let is_bounded = !self.rules.is_roomy && is_queue(pattern) && !is_browse;
        let makes_queues = self.rules.is_tight && is_queue(pattern);
        let is_of_another =
            is_temporary(pattern) && owner.is_none_or(|(owner, _)| owner != connection);
        let is_declared = owner.is_some_and(|(_, is_confirmed)| is_confirmed);
        let selects =
            |sent: &Sent| selection::selects(subscribe)(sent.priority, sent.key.as_deref());
        let mut ready = self.queues.ready_since_rest(pattern);
        ready.retain(|id| self.queues.get(pattern, *id).is_some_and(|q| selects(&q.sent)));
        let epoch = self.queues.epoch();
        let browse = is_browse.then_some(Browse { ready, epoch, message_last: u128::MAX });
        self.serial_last += 1;
        let serial = self.serial_last;
        let limits = &self.limits.connection;
        let subscriptions_max = limits.subscriptions_max;
        let mut subscription = Subscription::new(serial, subscribe, limits.unsettled_max());
        subscription.browse = browse;
        let bound = bound(pattern);
        if let Some(bound) = bound {
            self.may_be_local(bound, connection);
        }
        subscription.joined = bound.map(|bound| Joined::new(bound, self.presence(bound)));
        let is_unshared = subscribe.durable.as_ref().is_some_and(|durable| !durable.is_shared);
        if let Some(buffered) = &mut subscription.buffered {
            for (sent, command) in &self.topic_messages_since_rest {
                if matches(pattern, &sent.to) && selects(sent) {
                    buffered.offer(sent, (command.0, sent.lane), *command, false);
                }
            }
        }
        let Some(client) = self.clients.get_mut(&connection) else { return };
        let is_taken = client.subscriptions.contains_key(&id);
        let is_full = client.subscriptions.len() >= subscriptions_max;
        let kind = if is_taken { Kind::SubscribeAgain } else { Kind::Subscribe(id, serial) };
        let pending = Pending::new(kind, 0)
            .must_be(Refusal::DuplicateId, is_taken)
            .must_be(Refusal::Limit, is_full && !is_taken)
            .must_be(Refusal::NotFound, is_browse && !is_queue(pattern))
            .must_be(Refusal::Forbidden, is_of_another)
            .may_be(Refusal::NotFound, is_temporary(pattern) && (is_of_another || !is_declared))
            .may_be(Refusal::Queues, is_bounded)
            .may_be(Refusal::DurableInUse, is_unshared)
            .may_be(Refusal::PrincipalQueues, makes_queues && !is_browse);
        client.pending.insert(token, pending);
        if !is_taken {
            client.subscriptions.insert(id, subscription);
        }
    }

    pub(crate) fn delete(&mut self, (connection, token): CommandId, name: &str) {
        self.may_delete(name);
        let Some(client) = self.clients.get_mut(&connection) else { return };
        let pending = Pending::new(Kind::Delete, 0).may_be(Refusal::DurableInUse, true);
        client.pending.insert(token, pending);
    }

    pub(crate) fn unsubscribe(
        &mut self,
        (connection, token): CommandId,
        id: SubscriptionId,
        ending: Ending,
    ) {
        let subscriber = Subscriber { connection, subscription: id };
        let name = self.subscription(subscriber).map(|subscription| subscription.pattern.clone());
        self.leaves(&name.unwrap_or_default(), ending);
        let Some(client) = self.clients.get_mut(&connection) else { return };
        client.pending.insert(token, Pending::new(Kind::Unsubscribe(id), 0));
        match self.subscription(subscriber).map(|subscription| &mut subscription.phase) {
            Some(phase @ Phase::Cancelled(_)) => *phase = Phase::Ending(token),
            Some(Phase::Ending(_)) | None => {}
            Some(Phase::Requested | Phase::Confirmed) => {
                self.begin_end(subscriber, Phase::Ending(token));
            }
        }
    }

    /// A subscription is ended from outside.
    pub(crate) fn cancel(&mut self, subscriber: Subscriber, refusal: Refusal) {
        if self.subscription(subscriber).is_some_and(|subscription| !subscription.is_ending()) {
            self.begin_end(subscriber, Phase::Cancelled(refusal));
        }
    }

    fn begin_end(&mut self, subscriber: Subscriber, phase: Phase) {
        let Some(subscription) = self.subscription(subscriber) else { return };
        subscription.phase = phase;
        let unsettled = std::mem::take(&mut subscription.unsettled);
        let pattern = subscription.pattern.clone();
        self.leaves(&pattern, Ending::Suspend);
        let Some(subscription) = self.subscription(subscriber) else { return };
        let unsettled = unsettled.into_values().map(|id| (id, Outcome::Released)).collect();
        let serial = subscription.serial;
        let fates: Vec<_> =
            subscription.settling.iter().map(|&tag| ((serial, tag), Outcome::Released)).collect();
        self.fates.extend(fates);
        self.end(&pattern, unsettled);
    }

    pub(crate) fn noticed(&mut self, connection: ConnectionId, notice: &Notice) {
        let Some(client) = self.clients.get_mut(&connection) else {
            panic!("{notice:?} to {connection:?}, which has gone");
        };
        let Notice::Cancelled(id, refusal) = *notice else { panic!("{notice:?} of a broker") };
        let Some(subscription) = client.subscriptions.remove(&id) else {
            panic!("{notice:?} of what does not exist");
        };
        let is_narrow = [
            (Refusal::Slow, self.rules.is_narrow),
            (Refusal::SlowCore, self.limits.waiting_bytes_max.is_some()),
        ];
        for (closed, (slow, is_narrow)) in self.tally.closed.iter_mut().zip(is_narrow) {
            if refusal == slow {
                let may_be_closed = subscription.buffered.is_some_and(|b| b.may_be_closed());
                assert!(may_be_closed && is_narrow, "{notice:?}");
                *closed += 1;
                return;
            }
        }
        let phase = Some(subscription.phase);
        assert_eq!(phase, Some(Phase::Cancelled(refusal)), "{notice:?} to {connection:?}");
        self.tally.cancelled += 1;
    }

    pub(crate) fn drain(&mut self, (connection, token): CommandId, id: SubscriptionId) {
        let subscriber = Subscriber { connection, subscription: id };
        let mut serial = 0;
        if let Some(subscription) = self.subscription(subscriber) {
            serial = subscription.serial;
            subscription.allowance.drain(token);
        }
        let kind = Kind::Drain(Holder { subscriber, serial });
        let Some(client) = self.clients.get_mut(&connection) else { return };
        client.pending.insert(token, Pending::new(kind, 0));
    }

    pub(crate) fn declare(&mut self, (connection, token): CommandId, name: &str) {
        let is_bounded = !self.rules.is_roomy;
        let is_tight = self.rules.is_tight;
        let temporary_max = self.limits.connection.temporary_max;
        let Some(client) = self.clients.get_mut(&connection) else { return };
        let is_full = client.temporaries.len() >= temporary_max;
        let pending = Pending::new(Kind::Declare(name.to_owned()), 0)
            .must_be(Refusal::Limit, is_full)
            .may_be(Refusal::Queues, is_bounded && is_queue(name))
            .may_be(Refusal::PrincipalQueues, is_tight && is_queue(name));
        client.pending.insert(token, pending);
        client.temporaries.insert(name.to_owned(), false);
    }

    pub(crate) fn publish(&mut self, command: CommandId, sent: Sent, now_ns: u64) {
        let pending = Pending::new(Kind::Publish(sent.clone()), now_ns);
        self.add_publications(command, pending, vec![sent]);
    }

    pub(crate) fn settle_with_reply(&mut self, (connection, token): CommandId, settle: &Settle) {
        self.settle(connection, settle);
        let Some(client) = self.clients.get_mut(&connection) else { return };
        client.pending.insert(token, Pending::new(Kind::Settle, 0));
    }

    /// `settles` are what it holds, and perhaps something that it does not.
    pub(crate) fn transact(&mut self, command: CommandId, sent: Vec<Sent>, settles: &[Settle]) {
        let is_long =
            sent.len() + settles.len() > self.limits.connection.transaction_operations_max;
        let mut pending =
            Pending::new(Kind::Transact(settles.to_vec()), 0).must_be(Refusal::Limit, is_long);
        let mut settled = Vec::new();
        for settle in settles {
            let Settle { subscription, tags, outcome } = settle.clone();
            let subscriber = Subscriber { connection: command.0, subscription };
            let Some(subscription) = self.subscription(subscriber) else {
                pending = pending.must_be(Refusal::Stale, true);
                continue;
            };
            let is_unsettled = |tag| subscription.unsettled.contains_key(tag);
            pending = pending
                .must_be(Refusal::Stale, !is_unsettled(tags.start()) || !is_unsettled(tags.end()));
            let holder = Holder { subscriber, serial: subscription.serial };
            let queue = subscription.pattern.clone();
            let taken = subscription.take(&tags);
            subscription.settling.extend(taken.iter().map(|&(tag, _)| tag));
            if matches!(outcome, Outcome::Undeliverable { .. }) {
                subscription.may_exclude.extend(taken.iter().map(|&(_, id)| id));
            }
            for (tag, id) in taken {
                let settling = Settling { command, holder, tag, outcome };
                self.queues.set_custody(&queue, id, Custody::Settling(settling));
                settled.push((queue.clone(), id));
            }
        }
        self.effects.entry(command).or_default().settled = settled;
        self.add_publications(command, pending, sent);
    }

    fn add_publications(&mut self, command: CommandId, mut pending: Pending, sent: Vec<Sent>) {
        let is_bounded = !self.rules.is_roomy && sent.iter().any(|sent| is_queue(&sent.to));
        let is_tight = self.rules.is_tight && sent.iter().any(|sent| is_queue(&sent.to));
        let temporaries = sent.iter().map(|sent| &sent.to).filter(|to| is_temporary(to));
        pending.temporaries = temporaries.cloned().collect();
        let is_declared = |name: &String| self.owner(name).is_some_and(|(_, confirmed)| confirmed);
        let may_be_missing = !pending.temporaries.iter().all(is_declared);
        let pending = pending
            .may_be(Refusal::Full, is_bounded)
            .may_be(Refusal::Queues, is_bounded)
            .may_be(Refusal::QueueMemory, is_tight)
            .may_be(Refusal::PrincipalMemory, is_tight)
            .may_be(Refusal::PrincipalQueues, is_tight)
            .may_be(Refusal::NotFound, may_be_missing)
            .may_be(Refusal::StoreFull, self.rules.is_filled)
            .may_be(Refusal::Busy, self.rules.is_heavy || self.rules.is_filled);
        for sent in sent {
            self.message_last = sent.id;
            if is_queue(&sent.to) {
                let published = (sent.to.clone(), sent.id);
                self.effects.entry(command).or_default().published.push(published);
                self.queues.publish(sent, command, false);
            } else {
                self.publish_to_bound(&sent, command);
                self.await_everywhere(&sent, command);
            }
        }
        if let Some(client) = self.clients.get_mut(&command.0) {
            client.pending.insert(command.1, pending);
        }
    }

    /// All subscriptions that are confirmed must get a message to a topic, unless it may expire first.
    fn await_everywhere(&mut self, sent: &Sent, command: CommandId) {
        self.topic_messages.insert(sent.id, command);
        self.topic_messages_since_rest.push((sent.clone(), command));
        for client in self.clients.values_mut() {
            for subscription in client.subscriptions.values_mut() {
                let is_confirmed = subscription.phase == Phase::Confirmed;
                if !matches(&subscription.pattern, &sent.to) || !subscription.selects(sent) {
                    continue;
                }
                if let Some(buffered) = &mut subscription.buffered {
                    buffered.offer(sent, (command.0, sent.lane), command, is_confirmed);
                } else if is_confirmed && sent.expires_unix_ms.is_none() {
                    subscription.awaited.insert(sent.id, command);
                }
            }
        }
    }

    pub(crate) fn replied(&mut self, command: CommandId, result: Result<(), Refusal>, now_ns: u64) {
        let (connection, token) = command;
        let Some(client) = self.clients.get_mut(&connection) else {
            panic!("a reply to {connection:?}, which has gone");
        };
        let Some(pending) = client.pending.remove(&token) else {
            panic!("a second reply to {command:?}");
        };
        match result {
            Ok(()) => assert!(pending.may_succeed, "{pending:?} succeeds"),
            Err(refusal) => assert!(self.allows(&pending, refusal), "{refusal:?} to {pending:?}"),
        }
        self.tally.refused += u64::from(result.is_err());
        self.tally.store_full += u64::from(result == Err(Refusal::StoreFull));
        self.tally.busy += u64::from(result == Err(Refusal::Busy));
        let quotas = [Refusal::QueueMemory, Refusal::PrincipalMemory, Refusal::PrincipalQueues];
        for (count, refusal) in self.tally.over_quota.iter_mut().zip(quotas) {
            *count += u64::from(result == Err(refusal));
        }
        let message_last = self.message_last;
        if let Kind::Subscribe(id, serial) = pending.kind
            && result.is_ok()
        {
            self.joined(connection, id, serial);
        }
        let Some(client) = self.clients.get_mut(&connection) else { return };
        match pending.kind {
            Kind::Subscribe(id, serial) => match (result, client.subscriptions.get_mut(&id)) {
                (_, Some(other)) if other.serial != serial => {}
                (Ok(()), Some(s)) if !s.is_ending() => {
                    s.phase = Phase::Confirmed;
                    if let Some(browse) = &mut s.browse {
                        browse.message_last = message_last;
                    }
                }
                (Err(_), Some(s)) if !s.is_ending() => drop(client.subscriptions.remove(&id)),
                _ => {}
            },
            Kind::SubscribeAgain | Kind::Settle | Kind::Delete => {}
            Kind::Unsubscribe(id) => {
                let phase = client.subscriptions.get(&id).map(|s| s.phase);
                if phase == Some(Phase::Ending(token)) {
                    client.subscriptions.remove(&id);
                }
            }
            Kind::Drain(holder) => {
                if self.lasts(holder)
                    && let Some(subscription) = self.subscription(holder.subscriber)
                {
                    subscription.allowance.drained(token);
                    self.forget_credit(connection, holder.serial);
                }
            }
            Kind::Declare(name) if result.is_ok() => drop(client.temporaries.insert(name, true)),
            Kind::Declare(name) => drop(client.temporaries.remove(&name)),
            Kind::Publish(_) => {
                let has_waited = now_ns - pending.since_ns >= self.publish_timeout_ns();
                let is_late = has_waited || self.rules.is_heavy;
                assert!(result != Err(Refusal::Full) || is_late, "refused too early");
                self.decide(command, result.is_ok());
            }
            Kind::Transact(_) => {
                self.decide(command, result.is_ok());
                self.tally.committed += u64::from(result.is_ok());
                self.tally.rolled_back += u64::from(result.is_err());
            }
        }
    }

    fn allows(&self, pending: &Pending, refusal: Refusal) -> bool {
        let is_missing = pending.temporaries.iter().any(|name| self.owner(name).is_none());
        pending.refusals.contains(&refusal) || refusal == Refusal::NotFound && is_missing
    }

    /// Who has declared a temporary destination, and whether that is confirmed.
    fn owner(&self, name: &str) -> Option<(ConnectionId, bool)> {
        self.clients.iter().find_map(|(&owner, client)| {
            client.temporaries.get(name).map(|&is_confirmed| (owner, is_confirmed))
        })
    }

    fn publish_timeout_ns(&self) -> u64 {
        u64::try_from(self.limits.broker.publish_timeout.as_nanos()).unwrap()
    }
}
