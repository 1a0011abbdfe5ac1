use std::{collections::VecDeque, mem, sync::Arc};

use contract::{
    BrokerLimits, ConnectionId, ConnectionLimits, Now, Pattern, QueueRules, Refusal, SubscriptionId,
};

use crate::{
    event::{Effect, Event},
    front::Front,
    home::Home,
    output::ShardOutput,
    placement::Placement,
    quota::{Pool, Quotas},
    record::WriteId,
    shard_message::{Payload, ShardMessage, Subscriber, ToFront},
    stats::{LostDeadLetters, QueueDepth, Shed, SlowSubscription, Stats},
    window::Windows,
    writes::{Delayed, StoreGate, Writes},
};

/// The part of the broker that lives on one core, as a pure value.
///
/// The same events at the same times give the same effects.
#[derive(Debug)]
pub struct Shard {
    core: u16,
    front: Front,
    home: Home,
    windows: Windows,
    writes: Writes,
    quotas: Quotas,
    /// What it sends to itself; empty between calls, kept for its memory.
    own: VecDeque<Payload>,
}

impl Shard {
    /// The shard of `core`, one of `cores`. `connections` bounds those that come with no limits of
    /// their own; all shards of a process have one `pool`.
    #[must_use]
    pub fn new(
        core: u16,
        cores: u16,
        limits: Arc<BrokerLimits>,
        connections: Arc<ConnectionLimits>,
        pool: Arc<dyn Pool>,
    ) -> Self {
        let placement = Placement::new(cores);
        Self {
            core,
            front: Front::new(core, cores, placement.clone(), connections),
            home: Home::new(placement, limits),
            windows: Windows::new(core, cores),
            writes: Writes::default(),
            quotas: Quotas::new(pool),
            own: VecDeque::new(),
        }
    }

    /// Bounds the messages to topics that wait for subscriptions of this core, in bytes
    /// ([`contract::Message::cost`]; one that waits for many counts once). Beyond, the oldest are dropped
    /// of the connections for which the most waits, or their subscriptions end, by their policies.
    #[must_use]
    pub const fn with_waiting_bytes_max(mut self, bytes: usize) -> Self {
        self.front.set_waiting_bytes_max(bytes);
        self
    }

    /// Bounds what subscriptions that want only the latest of each key are handed before the next
    /// [`Event::Turn`], in deliveries of 128 bytes: they can take something new at any time. What they get
    /// then is newer.
    #[must_use]
    pub const fn with_latest_per_turn(mut self, deliveries: usize) -> Self {
        self.front.set_latest_per_turn(deliveries);
        self
    }

    /// Bounds what selectors of subscriptions to topics cost before the next [`Event::Turn`], as
    /// [`contract::Message::selection_cost`] says; the rest is evaluated then.
    #[must_use]
    pub const fn with_selection_per_turn(mut self, cost: usize) -> Self {
        self.front.set_selection_per_turn(cost);
        self
    }

    /// Bounds what consumers and browsers of queues look at in events of one time, in messages, or as
    /// [`contract::Message::selection_cost`] says where a selector is evaluated: what is not finished goes on
    /// later, at the latest with an [`Event::Timeout`] of another time.
    #[must_use]
    pub const fn with_search_per_turn(mut self, cost: usize) -> Self {
        self.home.set_search_per_turn(cost);
        self
    }

    /// Numbers the messages in queues from here on: so that messages which another process numbered,
    /// and left in the store, have other numbers.
    #[must_use]
    pub const fn since(mut self, unix_ms: u64) -> Self {
        self.home.number_since(unix_ms);
        self
    }

    /// Says what is said of queues; [`Event::QueueRules`] says otherwise later.
    #[must_use]
    pub fn with_queue_rules(mut self, rules: QueueRules) -> Self {
        self.home.set_rules(rules);
        self
    }

    /// Uses a store that may refuse durable messages. Without it, all are taken.
    #[must_use]
    pub fn with_store(mut self, store: Arc<dyn StoreGate>) -> Self {
        self.writes.set_store(store);
        self
    }

    /// Bounds the memory of durable messages that wait in queues, in bytes: beyond, they are in the store
    /// only until they are next ([`Effect::Load`]). A queue may have a 64th part of it; all have an equal
    /// part where there are more, and one message each where there are very many. Without it, all are in
    /// memory.
    #[must_use]
    pub const fn with_resident_bytes_max(mut self, bytes: usize) -> Self {
        self.home.set_resident_bytes_max(bytes);
        self
    }

    /// Advances the shard by one event; what is to be done is added to `effects`, in order.
    pub fn apply(&mut self, event: Event, now: Now, effects: &mut Vec<Effect>) {
        let (front, home) = (&mut self.front, &mut self.home);
        let own = mem::take(&mut self.own);
        let (windows, writes) = (&mut self.windows, &mut self.writes);
        let (core, quotas) = (self.core, &mut self.quotas);
        let mut output = ShardOutput { core, now, own, effects, windows, writes, quotas };
        match event {
            Event::Opened(connection, limits) => front.opened(connection, limits),
            Event::Command(connection, token, command, account) => {
                front.command(connection, token, command, account, &mut output);
            }
            Event::Settle(connection, settle, reply) => {
                front.settle(connection, settle, reply, &mut output);
            }
            Event::Credit(connection, subscription, credit) => {
                front.credit(connection, subscription, credit, &mut output);
            }
            Event::Cancel(subscriber, refusal) => front.cancel(subscriber, refusal, &mut output),
            Event::Written(connection, count) => front.written(connection, count, &mut output),
            Event::Closing(connection, leave) => front.closing(connection, leave, &mut output),
            Event::Gone(connection) => front.gone(connection, &mut output),
            Event::KeepInterest(pattern) => front.keep_interest(&pattern, &mut output),
            Event::QueueRules(rules) => home.set_rules(rules),
            Event::FromShard(from, ShardMessage(content)) => {
                let bytes = content.published_bytes();
                receive(front, home, from, content, &mut output);
                if let Some(report) = output.windows.processed(from, bytes) {
                    output.send(from, Payload::WindowUpdate(report));
                }
            }
            Event::Stored(upto) => {
                stored(upto, None, home, &mut output);
            }
            Event::StoreRefused(write, refusal) => {
                stored(write, Some(refusal), home, &mut output);
            }
            Event::StoreOpened(is_open) => {
                output.writes.store_opened(is_open);
                home.retry_waiting(&mut output);
                home.retry_postponed(&mut output);
            }
            Event::Bound(queue, terms) => {
                front.restore_binding(&queue, &terms);
                home.restore_binding(&queue, &terms, &mut output);
            }
            Event::RestoredNumbers(restored) => home.restore_numbers(*restored, &mut output),
            Event::Restored(restored) => home.restore(*restored, &mut output),
            Event::RestoredOnDisk(queue, messages) => {
                home.restore_on_disk(queue, &messages, &mut output);
            }
            Event::Loaded(load, queue, messages) => {
                home.loaded(load, &queue, messages, &mut output);
            }
            Event::Turn => front.begin_turn(&mut output),
            Event::Timeout => {
                front.time_out(&mut output);
                front.publish_due(&mut output);
                home.check_deadlines(&mut output);
                home.retry_waiting(&mut output);
                home.retry_postponed(&mut output);
                output.quotas.give_back();
            }
        }
        while let Some(content) = output.own.pop_front() {
            receive(front, home, self.core, content, &mut output);
        }
        output.effects.extend(output.writes.take_batch().map(Effect::Store));
        self.own = output.own;
    }

    /// The subscriptions of a connection of this core that have not ended.
    #[must_use]
    pub fn subscriptions(&self, connection: ConnectionId) -> &[SubscriptionId] {
        self.front.subscriptions(connection)
    }

    /// What one of them is to; `None`: it has ended.
    #[must_use]
    pub fn pattern_of(&self, subscriber: Subscriber) -> Option<Pattern> {
        self.front.pattern_of(subscriber)
    }

    /// What events have cost since the last call, beside their effects. For publications to topics
    /// that is how many tables of patterns they were looked up in, 2,100 for one at most, and for each
    /// buffered subscription or table of the latest that they were offered to, or that lost a message for them, as much as 16 of these, and
    /// each place of a table that was looked at; for each
    /// message that a selector was evaluated for, as much as the operations in it ([`contract::Message::selection_cost`]).
    pub const fn take_lookups(&mut self) -> usize {
        self.front.take_lookups() + self.home.take_spent()
    }

    /// Whether something is bounded by the turn ([`Shard::with_latest_per_turn`],
    /// [`Shard::with_selection_per_turn`]), and used or waits for the next.
    #[must_use]
    pub fn is_turn_used(&self) -> bool {
        self.front.is_turn_used()
    }

    /// Whether a consumer or a browser of a queue goes on looking ([`Shard::with_search_per_turn`]).
    #[must_use]
    pub fn is_searching(&self) -> bool {
        self.home.is_searching()
    }

    /// Whether something waits for the next turn.
    #[must_use]
    pub fn has_deferred(&self) -> bool {
        self.front.has_deferred()
    }

    /// What was shed since this last returned something, if it is to be known now.
    pub fn take_shed(&mut self, is_due: impl FnOnce() -> bool) -> Option<Shed> {
        self.front.take_shed(is_due)
    }

    /// The dead letters that were dropped since this last returned some, if they are to be known now.
    pub fn take_lost_dead_letters(
        &mut self,
        is_due: impl FnOnce() -> bool,
    ) -> Option<LostDeadLetters> {
        self.home.take_lost(is_due)
    }

    /// What it has done and what it holds.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        self.front.add_stats(&mut stats);
        self.home.add_stats(&mut stats);
        stats.queued_bytes = self.quotas.used_bytes();
        stats.refused_memory = self.quotas.refused_memory;
        stats.refused_principal = self.quotas.refused_principal;
        stats
    }

    /// As in [`Shard::stats`].
    pub const fn unreadable(&self) -> u64 {
        self.home.unreadable()
    }

    /// The subscriptions to topics that got less than was published.
    pub fn slow_subscriptions(&self) -> impl Iterator<Item = SlowSubscription<'_>> {
        self.front.slow_subscriptions()
    }

    /// How full the queues are that live here.
    pub fn queues(&self) -> impl Iterator<Item = QueueDepth<'_>> {
        self.home.depths()
    }

    /// How many messages in queues end with the process, given whether there is a store. Linear in
    /// what the queues have.
    #[must_use]
    pub fn messages_left(&self, is_stored: bool) -> usize {
        self.home.messages_left(is_stored)
    }

    /// Panics unless the counts that are kept beside what they count agree with it; for tests,
    /// after each event. Linear in what the shard holds.
    pub fn assert_consistent(&self) {
        let mut usage = self.home.assert_consistent();
        self.front.assert_consistent(&mut usage);
        self.quotas.assert_is(&usage);
    }

    /// Panics unless nothing is left of what connections did: they are gone, their queues are empty
    /// and no shard message is on its way. For tests.
    pub fn assert_empty(&self) {
        self.assert_consistent();
        self.front.assert_empty();
        self.home.assert_empty();
        self.windows.assert_empty();
        self.writes.assert_empty();
    }
}

/// All batches up to this one are stored; but for the last of them, if it was refused.
fn stored(upto: WriteId, refusal: Option<Refusal>, home: &mut Home, output: &mut ShardOutput<'_>) {
    output.writes.stored(upto);
    while let Some(Delayed { write, confirms, to, payload }) = output.writes.next_to_send() {
        let payload = match refusal {
            Some(refusal) if confirms && write == upto => {
                let refused = payload.into_refusal(refusal);
                if let Payload::ToFront(ToFront::Published { publisher, .. }) = refused {
                    home.refused(publisher);
                }
                refused
            }
            Some(_) | None => payload,
        };
        output.send(to, payload);
    }
    home.stored(upto, refusal.is_some(), output);
}

/// A message from the shard of core `from`, which may be this one.
fn receive(
    front: &mut Front,
    home: &mut Home,
    from: u16,
    content: Payload,
    output: &mut ShardOutput<'_>,
) {
    match content {
        Payload::ToHome(message) => home.receive(from, message, output),
        Payload::ToFront(message) => front.receive(from, message, output),
        Payload::Interest(message) => front.interest(from, message, output),
        Payload::WindowUpdate(bytes) => front.window_updated(from, bytes, output),
    }
}
