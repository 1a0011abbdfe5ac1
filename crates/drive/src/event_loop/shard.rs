use std::sync::Arc;

use broker::{
    Effect, Event, LoadId, LostDeadLetters, QueueId, Record, Restored, RestoredNumbers,
    ShardMessage, Shed, Subscriber,
};
use contract::{ConnectionId, Delivery, Input, Reason, Refusal, Reply, Step, Token, internal};

use super::{
    Core, SPENT_PER_TURN,
    connection::{Connection, Life},
    name,
    outlet::Request,
    service, slot_of,
};
use crate::{
    clock,
    cores::{LoadedMessage, ToCore},
    counters::Refused,
    logins::{Decision, Requester, Waiter},
};

impl Core {
    /// Applies the requests of sessions to the shard and carries out its effects, until neither is
    /// left, or what is left waits for the next turn.
    pub(super) fn process_requests(&mut self) {
        loop {
            self.apply_requests();
            if self.effects.is_empty() {
                return;
            }
            self.carry_out_effects();
        }
    }

    /// The next request of a session. Once the turn is spent, what was written has queues hand over
    /// no more in it: that could go on for as long as sockets take it. All behind waits as well, so
    /// that the end of a connection is not told before what was written to it.
    fn next_request(&mut self) -> Option<Request> {
        let pending = &mut self.tools.pending_requests;
        pending.pop_front_if(|request| {
            self.spent <= SPENT_PER_TURN || !matches!(request, Request::Written(..))
        })
    }

    /// Applies the pending requests of sessions: to logins, or to the shard, which adds effects.
    fn apply_requests(&mut self) {
        while let Some(request) = self.next_request() {
            match request {
                Request::Opened(id, index) => {
                    let limits = Arc::clone(&service(&self.cores, index).limits);
                    self.apply(Event::Opened(id, limits));
                }
                Request::Command(id, token, command, account) => {
                    self.apply(Event::Command(id, token, command, account));
                }
                Request::Settle(id, settle, outcome) => {
                    self.apply(Event::Settle(id, settle, outcome));
                }
                Request::Credit(id, subscription, credit) => {
                    self.apply(Event::Credit(id, subscription, credit));
                }
                Request::Login(id, token, login) => {
                    // A peer that has gone in the meantime needs no reply.
                    let Some(entry) = self.reactor.get_mut(slot_of(id)) else { continue };
                    let context = &mut entry.state.context;
                    let waiter = Waiter {
                        requester: Requester::Session(id, token),
                        address: context.peer.ip(),
                        protocol: self.tools.counters().name(context.protocol),
                    };
                    let exchange = context.login.take();
                    match self.cores.login(&login, exchange, context.anonymous, waiter) {
                        Decision::Done(outcome, users_version) => {
                            self.logged_in(id, token, outcome, users_version);
                        }
                        Decision::Challenge(exchange, challenge) => {
                            context.login = Some(exchange);
                            let step = Box::new(Step::Challenge(challenge));
                            self.reply(id, token, Ok(Reply::Login(step)));
                            self.update_inbound(slot_of(id));
                        }
                        Decision::Later(id) => context.login = Some(id),
                    }
                }
                Request::Denied(id, token, refusal) => {
                    if let Some(entry) = self.reactor.get_mut(slot_of(id)) {
                        entry.state.context.has_denial = false;
                    }
                    self.reply(id, token, Err(refusal));
                }
                Request::Written(id, count) => {
                    self.apply(Event::Written(id, count));
                    // What queues hand over for it may be large: it counts before more is.
                    if !self.effects.is_empty() {
                        return;
                    }
                }
                Request::Closing(id, leave) => self.apply(Event::Closing(id, leave)),
                Request::Gone(id) => self.apply(Event::Gone(id)),
            }
        }
    }

    /// Logs that queues may take no more, or no more of one principal: a line a second.
    fn log_over_quota(&mut self, id: ConnectionId, refusal: Refusal) {
        let is_quota = matches!(
            refusal,
            Refusal::QueueMemory
                | Refusal::PrincipalMemory
                | Refusal::PrincipalQueues
                | Refusal::Queues
        );
        let Some(missed) = is_quota.then(|| self.quota_limiter.due(self.now)).flatten() else {
            return;
        };
        // For whom a task publishes is not known here.
        let context = self.reactor.get(slot_of(id)).map(|entry| &entry.state.context);
        tracing::warn!(
            peer = context.map(|context| tracing::field::display(context.peer)),
            principal = context.and_then(|context| context.principal.as_ref()).map(|p| &*p.name),
            missed,
            detail = %refusal,
            "queues are full"
        );
    }

    /// Logs what subscriptions to topics lost, because too much waited for them on this core: a line a
    /// second.
    pub(super) fn log_shed(&mut self) {
        let is_due = || self.shed_limiter.due(self.now).is_some();
        let Some(Shed { from, dropped, ended }) = self.shard.take_shed(is_due) else { return };
        let context = self.reactor.get(slot_of(from.connection)).map(|e| &e.state.context);
        tracing::warn!(
            connection = %name(from.connection),
            peer = context.map(|context| tracing::field::display(context.peer)),
            principal = context.and_then(|context| context.principal.as_ref()).map(|p| &*p.name),
            dropped,
            ended,
            "more waits for the slow subscribers of a core than may: those with the most lose it, or end"
        );
    }

    /// Logs that full dead-letter queues dropped some: a line a second.
    pub(super) fn log_lost_dead_letters(&mut self) {
        let is_due = || self.dead_letters_limiter.due(self.now).is_some();
        let Some(lost) = self.shard.take_lost_dead_letters(is_due) else { return };
        let LostDeadLetters { queue, count } = lost;
        tracing::warn!(%queue, count, "a full dead-letter queue has dropped messages that are not persistent");
    }

    /// Hands a session the outcome of its login that another thread has decided, by users with this
    /// version. Others may have replaced them by now.
    pub(crate) fn login_decided(
        &mut self,
        id: ConnectionId,
        token: Token,
        outcome: Result<Step, Refusal>,
        users_version: u64,
    ) {
        if users_version >= self.users_version {
            return self.logged_in(id, token, outcome, users_version);
        }
        let now = match outcome {
            Ok(Step::Accepted(principal, message)) => self
                .cores
                .principal_now(&principal, users_version)
                .map(|(principal, version)| (Step::Accepted(principal, message), version)),
            Ok(Step::Challenge(_)) | Err(_) => Err(Refusal::Busy),
        };
        let version = now.as_ref().map_or(users_version, |(_, version)| *version);
        self.logged_in(id, token, now.map(|(step, _)| step), version);
    }

    /// Hands a session the outcome of its login, by users with this version.
    fn logged_in(
        &mut self,
        id: ConnectionId,
        token: Token,
        outcome: Result<Step, Refusal>,
        users_version: u64,
    ) {
        self.now = clock::now();
        if let Some(entry) = self.reactor.get_mut(slot_of(id)) {
            entry.state.context.login = None;
        }
        if let Ok(Step::Accepted(principal, _)) = &outcome {
            self.set_principal(slot_of(id), principal, users_version);
        }
        if outcome.is_err() {
            self.tools.counters().refuse(Refused::Login);
        }
        self.reply(id, token, outcome.map(|step| Reply::Login(Box::new(step))));
        // What was received behind the login has been decoded.
        self.update_inbound(slot_of(id));
        self.schedule_check(slot_of(id));
    }

    fn reply(&mut self, id: ConnectionId, token: Token, outcome: Result<Reply, Refusal>) {
        if let Err(refusal) = outcome {
            self.log_over_quota(id, refusal);
        }
        if id == self.task_id() {
            if let Some(task) = self.tasks.remove(&token) {
                // A task that has gone needs no reply.
                _ = task.send(outcome.map(|_done| ()));
            }
            return;
        }
        let slot = slot_of(id);
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let context = &mut entry.state.context;
        context.in_flight = context.in_flight.saturating_sub(1);
        let waits = context.unread.is_some();
        self.step(slot, Input::Replied(token, outcome));
        // One that waits with unread bytes may go on.
        if waits && self.has_room(slot) {
            self.reactor.resume(slot);
        }
        let is_last = |Connection { life, context }: &Connection| {
            matches!(life, Life::HalfClosed(_))
                && context.in_flight == 0
                && context.unread.is_none()
        };
        if self.reactor.get(slot).is_some_and(|entry| is_last(&entry.state)) {
            self.close(slot, Reason::Lost, "");
        }
    }

    pub(super) fn apply(&mut self, event: Event) {
        self.shard.apply(event, self.now, &mut self.effects);
        self.spent += self.shard.take_lookups() / LOOKUPS_PER_SPENT;
    }

    /// Takes the messages of another core's shard.
    pub(crate) fn apply_shard_messages(&mut self, from: u16, messages: Vec<ShardMessage>) {
        self.apply_all(messages.into_iter().map(|message| Event::FromShard(from, message)));
    }

    /// Puts what the store has kept into the queues of the shard.
    pub(crate) fn restore(&mut self, messages: Vec<Restored>) {
        self.apply_all(messages.into_iter().map(|one| Event::Restored(Box::new(one))));
    }

    /// Tells the shard what the store has kept of producers.
    pub(crate) fn restore_numbers(&mut self, producers: Vec<RestoredNumbers>) {
        let restored = |one| Event::RestoredNumbers(Box::new(one));
        self.apply_all(producers.into_iter().map(restored));
    }

    /// The store has loaded messages of a queue.
    pub(crate) fn loaded(&mut self, load: LoadId, queue: QueueId, messages: Vec<LoadedMessage>) {
        let before = self.shard.unreadable();
        let name = queue.clone();
        self.apply_all([Event::Loaded(load, queue, messages)]);
        let messages = self.shard.unreadable() - before;
        if messages > 0 {
            tracing::error!(
                queue = %name,
                messages,
                "a queue goes on without messages that could not be loaded: it has them again after a restart, if they can be read then"
            );
        }
    }

    /// Applies what happened elsewhere.
    pub(crate) fn apply_all(&mut self, events: impl IntoIterator<Item = Event>) {
        self.now = clock::now();
        for event in events {
            self.apply(event);
        }
        while !self.effects.is_empty() {
            self.carry_out_effects();
        }
    }

    /// Carries out the effects of the shard. What is stored then has effects of its own.
    fn carry_out_effects(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        let mut rest = effects.drain(..).peekable();
        while let Some(effect) = rest.next() {
            let Effect::Fanout(subscribers, message) = effect else {
                self.carry_out(effect);
                continue;
            };
            let mut run = std::mem::take(&mut self.run);
            let mut late = std::mem::take(&mut self.late_effects);
            run.push(Delivery::new(message));
            while run.len() < RUN_MAX
                && let Some(effect) = rest.next_if(|effect| goes_along(effect, &subscribers))
            {
                if let Effect::Fanout(_, message) = effect {
                    run.push(Delivery::new(message));
                } else {
                    late.push(effect);
                }
            }
            self.fan_out(&subscribers, &run);
            run.clear();
            self.run = run;
            late.drain(..).for_each(|effect| self.carry_out(effect));
            self.late_effects = late;
        }
        drop(rest);
        self.effects = effects;
        if let Some(id) = self.stored_in_memory.take() {
            self.apply(Event::Stored(id));
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Reply(id, token, outcome) => self.reply(id, token, outcome),
            Effect::Notice(id, notice) => self.step(slot_of(id), Input::Notice(notice)),
            Effect::Deliver(subscriber, delivery) => {
                self.spent += 1;
                self.deliver(subscriber, &delivery);
            }
            Effect::Fanout(subscribers, message) => {
                self.fan_out(&subscribers, &[Delivery::new(message)]);
            }
            Effect::Store(batch) => match &self.cores.settings.store {
                Some(_) => {
                    self.record_bytes += batch.records.iter().map(Record::cost).sum::<usize>();
                    self.record_batches.push(batch);
                    if self.record_bytes >= RECORD_BYTES_PER_WRITE {
                        self.store_records();
                    }
                }
                None => self.stored_in_memory = Some(batch.id),
            },
            Effect::Load(id, queue, positions) => match &self.cores.settings.store {
                Some(store) => store.load(self.index, id, queue, positions),
                None => internal!("something is to be loaded where there is no store"),
            },
            Effect::ToShard(to, message) => match self.shard_messages.get_mut(usize::from(to)) {
                Some(messages) => messages.push(message),
                None => internal!("a shard message to a core that does not exist"),
            },
        }
        self.flush_if_much();
    }

    /// Delivers messages to the same subscriptions: all of them to each in turn, so that each
    /// session comes into the processor's cache once.
    fn fan_out(&mut self, subscribers: &[Subscriber], run: &[Delivery]) {
        self.spent += subscribers.len() * run.len();
        for subscriber in subscribers {
            let deliver = |delivery| Input::Delivered(subscriber.subscription, delivery);
            self.step_each(slot_of(subscriber.connection), run.iter().map(deliver));
            self.flush_if_much();
        }
    }

    /// Gives the store what the shard wrote in this turn: all at once, so that it is synced together.
    pub(super) fn store_records(&mut self) {
        if let Some(store) = &self.cores.settings.store
            && !self.record_batches.is_empty()
        {
            self.record_bytes = 0;
            store.write(self.index, std::mem::take(&mut self.record_batches));
        }
    }

    /// Sends each other core the messages of this one's shard.
    pub(super) fn send_shard_messages(&mut self) {
        for (to, messages) in self.cores.handles().iter().zip(&mut self.shard_messages) {
            if !messages.is_empty() {
                to.send(ToCore::ShardMessages(self.index, std::mem::take(messages)));
            }
        }
    }
}

/// Whether an effect may be carried out together with a fan-out to these: another one, or what may as
/// well come a little later. Deliveries to others among that have no order with these.
fn goes_along(effect: &Effect, subscribers: &Arc<Vec<Subscriber>>) -> bool {
    match effect {
        Effect::Fanout(others, _) => Arc::ptr_eq(others, subscribers),
        Effect::Reply(..)
        | Effect::Notice(..)
        | Effect::Deliver(..)
        | Effect::Load(..)
        | Effect::ToShard(..) => true,
        Effect::Store(..) => false,
    }
}

/// Messages that are delivered together to the same subscriptions.
const RUN_MAX: usize = 64;
/// What is written in a turn goes to the store sooner once it has this many bytes.
const RECORD_BYTES_PER_WRITE: usize = 1 << 20;
/// Look-ups of a publication in tables of patterns that cost as much as a delivery.
const LOOKUPS_PER_SPENT: usize = 64;
