//! Subscriptions to topics that get what they can take: by their credit, their rate, and what is
//! written of it to their connection. What they cannot take yet waits here, by their policy; what only
//! the latest of wait for, in a table that they share (see `latest`).
//!
//! ```text
//! publication --> buffer --credit, rate, little unwritten--> handed over --written--> more may come
//!                   |
//!                   +-- replaced, dropped; or too much waits: the subscription ends
//! ```

use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
    ptr,
    sync::{Arc, Weak, atomic::Ordering},
};

use contract::{
    ConnectionId, ConnectionLimits, Credit, Delivery, Message, Refusal, Reply, Settlement,
    SlowPolicy, Subscribe, Tag, Token, internal,
};

use super::{
    End, Front, Holder, Subscription,
    audience::AudienceId,
    buffer::{Buffer, Waiting},
    rate::Rate,
    reader::Reader,
    table::{Cursor, Missed},
};
use crate::{
    event::Effect,
    output::ShardOutput,
    shard_message::Subscriber,
    stats::{Shed, SlowSubscription},
};

/// A subscription to topics to which nothing is pushed.
#[derive(Debug)]
pub(super) struct Buffered {
    pub(super) subscriber: Subscriber,
    /// Tells it from others that had its name.
    pub(super) serial: u64,
    pub(super) audience: AudienceId,
    /// In the list of its audience, unless it has a cursor.
    pub(super) index: usize,
    /// In a table of the latest of its audience, if it wants no more.
    pub(super) cursor: Option<Box<Cursor>>,
    /// Waits until all shards know of it.
    pub(super) pending: Option<Token>,
    /// What its selector takes.
    selector_bytes: usize,
    pub(super) on_slow: SlowPolicy,
    settlement: Settlement,
    /// How many deliveries it may get; `None`: any number.
    credit: Option<u32>,
    rate: Option<Rate>,
    /// What waits for it alone, and how much of that may.
    pub(super) waiting: Buffer,
    bytes_max: usize,
    messages_max: usize,
    /// What its connection knows it by among those with something waiting.
    known_bytes: usize,
    /// The cost of what it was handed and is not written.
    unwritten_bytes: usize,
    /// How many deliveries were handed over, and how many of them were written.
    delivered: u64,
    written: u64,
    /// Those up to this one leave no credit when they are written: it was drained or set since.
    spent: u64,
    /// Messages that were dropped since the last delivery.
    dropped_since: u32,
    /// All that were dropped since there was no room for them, and that were replaced by newer ones.
    dropped: u64,
    conflated: u64,
    /// Those that are not replied to: until nothing waits that it has credit for.
    drains: VecDeque<Drain>,
    /// It is among those of its connection that have their turns.
    is_parked: bool,
    /// It is among those that are looked at when time has passed.
    is_timed: bool,
    /// It has its turn when the core has its next.
    pub(super) is_deferred: bool,
}

/// A request to take back what credit is left.
#[derive(Debug)]
struct Drain {
    token: Token,
    /// What was given after it, and stays.
    credit_after: u32,
}

/// Whether a message may be handed over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Readiness {
    Ready,
    /// Once time has passed.
    Later,
    /// Once there is credit, or something is written.
    Blocked,
}

impl Buffered {
    fn new(
        subscriber: Subscriber,
        serial: u64,
        subscribe: &Subscribe,
        limits: &ConnectionLimits,
    ) -> Self {
        let messages_max = match subscribe.on_slow {
            SlowPolicy::DropOldest => limits.prefetch_max.max(1) as usize,
            SlowPolicy::Close | SlowPolicy::Latest(_) => usize::MAX,
        };
        Self {
            subscriber,
            serial,
            audience: AudienceId { topic: 0, sieve: None },
            index: 0,
            cursor: None,
            pending: None,
            selector_bytes: subscribe.selector.as_ref().map_or(0, |selector| selector.bytes()),
            on_slow: subscribe.on_slow.clone(),
            settlement: subscribe.settlement,
            credit: subscribe.credit,
            rate: subscribe.rate.map(Rate::new),
            waiting: Buffer::default(),
            bytes_max: limits.unsent_bytes_max,
            messages_max,
            known_bytes: 0,
            unwritten_bytes: 0,
            delivered: 0,
            written: 0,
            spent: 0,
            dropped_since: 0,
            dropped: 0,
            conflated: 0,
            drains: VecDeque::new(),
            is_parked: false,
            is_timed: false,
            is_deferred: false,
        }
    }

    /// Bytes of names and of its selector that it keeps beside its pattern.
    pub(super) const fn name_bytes(&self) -> usize {
        self.on_slow.name_bytes() + self.selector_bytes
    }

    /// One delivery may always be unwritten, however large.
    const fn readiness(&self, mono_ns: u64) -> Readiness {
        if matches!(self.credit, Some(0)) || self.unwritten_bytes >= UNWRITTEN_BYTES_MAX {
            return Readiness::Blocked;
        }
        match &self.rate {
            Some(rate) if !rate.allows_one(mono_ns) => Readiness::Later,
            Some(_) | None => Readiness::Ready,
        }
    }

    pub(super) const fn count_dropped(&mut self) {
        self.dropped_since = self.dropped_since.saturating_add(1);
    }

    /// It does not get a message for which there is no room.
    pub(super) const fn count_lost(&mut self) {
        self.dropped += 1;
        self.count_dropped();
    }

    /// Of its table it does not get these.
    pub(super) fn count_missed(&mut self, missed: Missed) {
        let Missed { dropped, replaced } = missed;
        self.dropped += u64::from(dropped);
        self.conflated += u64::from(replaced);
        self.dropped_since = self.dropped_since.saturating_add(dropped).saturating_add(replaced);
    }

    /// Drops the message that has waited longest; `false`: none waits.
    fn drop_oldest(&mut self) -> bool {
        let is_dropped = self.waiting.pop().is_some();
        if is_dropped {
            self.count_lost();
        }
        is_dropped
    }
}

impl Front {
    /// Begins a buffered subscription; returns whether all shards know of it.
    pub(super) fn join_buffered(
        &mut self,
        subscriber: Subscriber,
        token: Token,
        subscribe: &Subscribe,
        output: &mut ShardOutput<'_>,
    ) -> bool {
        let key = self.buffered.vacant_key();
        let conflation = match &subscribe.on_slow {
            SlowPolicy::Latest(conflation) => Some(conflation),
            SlowPolicy::Close | SlowPolicy::DropOldest => None,
        };
        let (topic, _, confirmed) = self.join(&subscribe.pattern, |_| 0, output);
        let pending = (!confirmed).then_some(token);
        let serial = self.next_request();
        let client = self.clients.get(&subscriber.connection);
        let limits = client.map_or(&self.limits, |client| &client.limits);
        let buffered = Buffered::new(subscriber, serial, subscribe, limits);
        let bytes_max = buffered.bytes_max;
        let audience = self.enter_audience(topic, subscribe.selector.as_ref(), bytes_max);
        let cursor = conflation.map(|one| Box::new(self.join_table(audience, one, key, bytes_max)));
        let index = match (&cursor, self.audience_mut(audience)) {
            (None, Some(audience)) => audience.join(key),
            (Some(_), _) | (None, None) => 0,
        };
        self.buffered.insert(Buffered { audience, index, cursor, pending, ..buffered });
        self.subscriptions.insert(subscriber, Subscription::Buffered(key));
        confirmed
    }

    /// Offers a publication to an audience. `waiting` is the message as it
    /// waits, once it does for a subscription to one of the topics that match.
    pub(super) fn offer(
        &mut self,
        audience: AudienceId,
        message: &Arc<Message>,
        waiting: &mut Option<Arc<Waiting>>,
        output: &mut ShardOutput<'_>,
    ) {
        let mut index = 0;
        // None joins or leaves meanwhile.
        while let Some(&key) = self.audience(audience).and_then(|a| a.buffered().get(index)) {
            self.offer_to(key, message, waiting, output);
            index += 1;
        }
        self.lookups += index * OFFER_LOOKUPS;
        let mut index = 0;
        while let Some(&table) = self.audience(audience).and_then(|a| a.tables().get(index)) {
            self.offer_to_table(table, message, waiting, output);
            index += 1;
        }
    }

    /// Offers a publication to a subscription, for which it waits alone.
    pub(super) fn offer_to(
        &mut self,
        key: usize,
        message: &Arc<Message>,
        waiting: &mut Option<Arc<Waiting>>,
        output: &mut ShardOutput<'_>,
    ) {
        let Some(buffered) = self.buffered.get_mut(key) else {
            return internal!("a topic has a subscription that does not exist");
        };
        let connection = buffered.subscriber.connection;
        let reader = self.readers.get_or_insert_with(connection, Reader::default);
        let is_ready = buffered.readiness(output.now.mono_ns) == Readiness::Ready;
        let is_first = buffered.waiting.is_empty() && buffered.cursor.is_none();
        if is_first && is_ready && !reader.is_full() {
            return self.hand_over_buffered(key, Arc::clone(message), output);
        }
        let waiting = waiting.get_or_insert_with(|| Waiting::new(message, &self.waiting_bytes));
        reader.waiting_bytes -= buffered.waiting.bytes();
        buffered.waiting.push(Arc::clone(waiting));
        let (bytes_max, messages_max) = (buffered.bytes_max, buffered.messages_max);
        let others_bytes = reader.waiting_bytes;
        loop {
            let (messages, bytes) = (buffered.waiting.len(), buffered.waiting.bytes());
            // One message may always wait on a connection, however large.
            let is_alone = messages == 1 && others_bytes == 0;
            if is_alone || messages <= messages_max && others_bytes + bytes <= bytes_max {
                break;
            }
            if buffered.on_slow == SlowPolicy::Close {
                self.overflowing.push(buffered.subscriber);
                break;
            }
            if !buffered.drop_oldest() {
                break;
            }
            self.topic_dropped += 1;
        }
        reader.waiting_bytes += buffered.waiting.bytes();
        reader.by_waiting.grow(key, &mut buffered.known_bytes, buffered.waiting.share());
        let (holder, bytes) = (Holder::Connection(connection), reader.by_waiting.total());
        self.by_waiting.grow(holder, &mut reader.known_bytes, bytes);
        self.wake_up(key, output);
    }

    /// Where more waits on the core than may, takes from the table with the most, or the subscription
    /// with the largest part in it, of the connection with the largest, until no more does: so none
    /// loses anything that has no more than its share.
    pub(super) fn make_room(&mut self, output: &mut ShardOutput<'_>) {
        while self.waiting_bytes.load(Ordering::Relaxed) > self.waiting_bytes_max {
            if output.now.mono_ns >= self.measure_mono_ns {
                self.measure_mono_ns = output.now.mono_ns + MEASURED_NS;
                self.measure_all();
            }
            self.lookups += OFFER_LOOKUPS;
            let key = match self.with_most_waiting() {
                Some(Most::Subscription(key)) => key,
                Some(Most::Table(id)) => {
                    self.take_from_table(id);
                    continue;
                }
                Some(Most::Sieve(id)) => {
                    self.take_from_sieve(id, output);
                    continue;
                }
                None => return internal!("more waits than may, and for no subscription"),
            };
            let Some(buffered) = self.buffered.get(key) else { return };
            let (audience, oldest) =
                (buffered.audience, buffered.waiting.first().map(Arc::downgrade));
            let bytes = self.known_bytes(key);
            self.take_from(key, output);
            // Nothing is free before the last of them has let it go.
            if let Some(oldest) = oldest.filter(|oldest| oldest.strong_count() > 0) {
                self.take_from_others(audience, &oldest, bytes, output);
            }
        }
    }

    /// As [`Front::take_from`], of those with the same message next whose connections have as much.
    fn take_from_others(
        &mut self,
        audience: AudienceId,
        message: &Weak<Waiting>,
        bytes: usize,
        output: &mut ShardOutput<'_>,
    ) {
        let Some(audience) = self.audience(audience) else { return };
        for key in audience.buffered().to_vec() {
            let first = self.buffered.get(key).and_then(|other| other.waiting.first());
            if first.is_some_and(|first| ptr::eq(Arc::as_ptr(first), message.as_ptr())) {
                self.measure(key);
                if self.known_bytes(key) >= bytes {
                    self.take_from(key, output);
                }
                self.lookups += OFFER_LOOKUPS;
            }
        }
    }

    /// Drops the oldest message of a subscription, or ends it, by its policy.
    fn take_from(&mut self, key: usize, output: &mut ShardOutput<'_>) {
        let Some(buffered) = self.buffered.get_mut(key) else { return };
        let subscriber = buffered.subscriber;
        let shed = self.shed.get_or_insert(Shed { from: subscriber, dropped: 0, ended: 0 });
        shed.from = subscriber;
        if buffered.on_slow == SlowPolicy::Close {
            shed.ended += 1;
            return self.end(subscriber, End::Cancelled(Refusal::SlowCore), output);
        }
        let Some(reader) = self.readers.get_mut(&subscriber.connection) else { return };
        reader.waiting_bytes -= buffered.waiting.bytes();
        buffered.drop_oldest();
        shed.dropped += 1;
        reader.waiting_bytes += buffered.waiting.bytes();
        self.topic_dropped += 1;
        self.end_drains(key, output);
    }

    /// The table or the sieve with the most waiting, or the subscription with the largest part in what waits, of the
    /// connection with the largest.
    fn with_most_waiting(&mut self) -> Option<Most> {
        loop {
            let holder = self.by_waiting.last()?;
            let connection = match holder {
                Holder::Connection(connection) => connection,
                Holder::Table(id) => {
                    let table = self.tables.get_mut(id)?;
                    let bytes = table.bytes();
                    if self.by_waiting.correct(holder, &mut table.known_bytes, bytes) {
                        continue;
                    }
                    return Some(Most::Table(id));
                }
                Holder::Sieve(id) => {
                    let sieve = self.sieves.get_mut(id)?;
                    let bytes = sieve.bytes();
                    if self.by_waiting.correct(holder, &mut sieve.known_bytes, bytes) {
                        continue;
                    }
                    return Some(Most::Sieve(id));
                }
            };
            let key = self.readers.get(&connection)?.by_waiting.last()?;
            if !self.measure(key) {
                return Some(Most::Subscription(key));
            }
        }
    }

    /// What the connection of a subscription is known by.
    fn known_bytes(&self, key: usize) -> usize {
        let connection = self.buffered.get(key).map(|buffered| buffered.subscriber.connection);
        let reader = connection.and_then(|connection| self.readers.get(&connection));
        reader.map_or(0, |reader| reader.known_bytes)
    }

    /// Measures the part of a subscription in what waits, unless little has come since it was measured
    /// last. Returns whether what is known of it or its connection changes.
    fn measure(&mut self, key: usize) -> bool {
        let Some(buffered) = self.buffered.get_mut(key) else { return false };
        let connection = buffered.subscriber.connection;
        let Some(reader) = self.readers.get_mut(&connection) else { return false };
        if !buffered.waiting.is_measured() {
            self.lookups += buffered.waiting.len();
            buffered.waiting.measure();
        }
        let share = buffered.waiting.share();
        let is_changed = reader.by_waiting.correct(key, &mut buffered.known_bytes, share);
        let (holder, bytes) = (Holder::Connection(connection), reader.by_waiting.total());
        self.by_waiting.correct(holder, &mut reader.known_bytes, bytes) || is_changed
    }

    /// Measures all parts anew: those grow whose messages others have let go.
    fn measure_all(&mut self) {
        for (key, buffered) in &mut self.buffered {
            let connection = buffered.subscriber.connection;
            let Some(reader) = self.readers.get_mut(&connection) else { continue };
            self.lookups += buffered.waiting.len();
            buffered.waiting.measure();
            let share = buffered.waiting.share();
            reader.by_waiting.correct(key, &mut buffered.known_bytes, share);
            let (holder, bytes) = (Holder::Connection(connection), reader.by_waiting.total());
            self.by_waiting.correct(holder, &mut reader.known_bytes, bytes);
        }
    }

    /// See [`crate::Shard::take_shed`].
    pub(crate) fn take_shed(&mut self, is_due: impl FnOnce() -> bool) -> Option<Shed> {
        self.shed.take_if(|_| is_due())
    }

    /// Ends the subscriptions for which more waits than may.
    pub(super) fn end_overflowing(&mut self, output: &mut ShardOutput<'_>) {
        while let Some(subscriber) = self.overflowing.pop() {
            self.end(subscriber, End::Cancelled(Refusal::Slow), output);
        }
    }

    /// As [`Front::wake`], of one whose turn may come at once.
    pub(super) fn wake_up(&mut self, key: usize, output: &mut ShardOutput<'_>) {
        if let Some(connection) = self.wake(key, output) {
            self.unpark(connection, output);
        }
    }

    /// What allows more deliveries to a subscription may have happened: it gets its turn on its
    /// connection, which is returned, or later, if it can.
    fn wake(&mut self, key: usize, output: &mut ShardOutput<'_>) -> Option<ConnectionId> {
        self.end_drains(key, output);
        if !self.has_waiting(key) {
            self.rest(key);
            return None;
        }
        let Some(buffered) = self.buffered.get_mut(key) else {
            internal!("a subscription wakes that does not exist");
            return None;
        };
        let Subscriber { connection, subscription } = buffered.subscriber;
        match buffered.readiness(output.now.mono_ns) {
            Readiness::Ready if !buffered.is_parked && !buffered.is_deferred => {
                buffered.is_parked = true;
                let reader = self.readers.get_or_insert_with(connection, Reader::default);
                reader.park(subscription);
                return Some(connection);
            }
            Readiness::Later if !buffered.is_timed => {
                buffered.is_timed = true;
                let next = buffered.rate.as_ref().map_or(0, Rate::next_mono_ns);
                self.timed.push(Reverse((next, key)));
            }
            Readiness::Ready | Readiness::Later | Readiness::Blocked => {}
        }
        None
    }

    /// Whether something waits for a subscription.
    fn has_waiting(&mut self, key: usize) -> bool {
        let waits_alone = |buffered: &Buffered| !buffered.waiting.is_empty();
        self.buffered.get(key).is_some_and(waits_alone) || self.find_latest(key).is_some()
    }

    /// A subscription has its turn on its connection.
    pub(super) fn take_turn(&mut self, key: usize, output: &mut ShardOutput<'_>) {
        let Some(buffered) = self.buffered.get_mut(key) else {
            return internal!("a subscription has its turn and does not exist");
        };
        buffered.is_parked = false;
        if buffered.cursor.is_some() && self.turn_left == 0 {
            buffered.is_deferred = true;
            return self.deferred.push_back((key, buffered.serial));
        }
        if buffered.readiness(output.now.mono_ns) == Readiness::Ready
            && let Some(message) = self.take_next(key)
        {
            if message.is_expired(output.now.unix_ms) {
                if let Some(buffered) = self.buffered.get_mut(key) {
                    buffered.count_dropped();
                }
                self.topic_expired += 1;
            } else {
                self.hand_over_buffered(key, message, output);
            }
        }
        self.wake(key, output);
    }

    /// Takes out the next message for a subscription: those of its table and those that wait for it
    /// alone take turns.
    fn take_next(&mut self, key: usize) -> Option<Arc<Message>> {
        let place = self.find_latest(key);
        let buffered = self.buffered.get_mut(key)?;
        let waits_alone = !buffered.waiting.is_empty();
        if let (Some(cursor), Some(place)) = (&mut buffered.cursor, place)
            && !(waits_alone && cursor.is_keyless_next)
        {
            cursor.is_keyless_next = true;
            return self.take_latest(key, place);
        }
        if let Some(cursor) = &mut buffered.cursor {
            cursor.is_keyless_next = false;
        }
        let message = buffered.waiting.pop()?;
        if let Some(reader) = self.readers.get_mut(&buffered.subscriber.connection) {
            reader.waiting_bytes -= message.bytes();
        }
        Some(Arc::<Message>::clone(&message))
    }

    fn hand_over_buffered(
        &mut self,
        key: usize,
        message: Arc<Message>,
        output: &mut ShardOutput<'_>,
    ) {
        let Some(buffered) = self.buffered.get_mut(key) else { return };
        let subscriber = buffered.subscriber;
        let Some(reader) = self.readers.get_mut(&subscriber.connection) else {
            return internal!("a delivery is handed to a connection that has gone");
        };
        if let Some(credit) = &mut buffered.credit {
            *credit = credit.saturating_sub(1);
        }
        if let Some(rate) = &mut buffered.rate {
            rate.take_one(output.now.mono_ns);
        }
        buffered.delivered += 1;
        let is_explicit = buffered.credit.is_some() && buffered.settlement == Settlement::Explicit;
        let tag = is_explicit.then_some(Tag(buffered.delivered));
        let dropped = std::mem::take(&mut buffered.dropped_since);
        let bytes = message.cost();
        if buffered.cursor.is_some() {
            self.turn_left = self.turn_left.saturating_sub(1 + bytes / BYTES_PER_DELIVERY);
        }
        buffered.unwritten_bytes += bytes;
        reader.hand_over(subscriber.subscription, buffered.serial, bytes);
        self.topic_delivered += 1;
        let delivery = Delivery { tag, dropped, ..Delivery::new(message) };
        output.effects.push(Effect::Deliver(subscriber, delivery));
    }

    /// This many deliveries of a subscription were written, which cost so much.
    pub(super) fn written_buffered(
        &mut self,
        key: usize,
        count: usize,
        bytes: usize,
        output: &mut ShardOutput<'_>,
    ) {
        let Some(buffered) = self.buffered.get_mut(key) else { return };
        buffered.unwritten_bytes -= bytes;
        let before = buffered.written.max(buffered.spent);
        buffered.written += count as u64;
        if buffered.settlement == Settlement::Automatic
            && buffered.drains.is_empty()
            && let Some(credit) = &mut buffered.credit
        {
            let count = buffered.written.saturating_sub(before);
            *credit = credit.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        }
        self.wake(key, output);
    }

    pub(super) fn credit_buffered(
        &mut self,
        key: usize,
        credit: Credit,
        output: &mut ShardOutput<'_>,
    ) {
        let Some(buffered) = self.buffered.get_mut(key) else { return };
        // One that began without needs none.
        let Some(left) = &mut buffered.credit else { return };
        if let Credit::Set(_) = credit {
            buffered.spent = buffered.delivered;
        }
        let left = buffered.drains.back_mut().map_or(left, |drain| &mut drain.credit_after);
        *left = match credit {
            Credit::Add(count) => left.saturating_add(count),
            Credit::Set(count) => count,
        };
        self.wake_up(key, output);
    }

    pub(super) fn drain_buffered(
        &mut self,
        key: usize,
        token: Token,
        output: &mut ShardOutput<'_>,
    ) {
        let Some(buffered) = self.buffered.get_mut(key) else { return };
        let connection = buffered.subscriber.connection;
        if buffered.credit.is_none() {
            return self.reply(connection, token, Ok(Reply::Drained), output);
        }
        buffered.drains.push_back(Drain { token, credit_after: 0 });
        self.wake_up(key, output);
    }

    /// Replies to the drains of a subscription that was handed all that it had credit for before.
    fn end_drains(&mut self, key: usize, output: &mut ShardOutput<'_>) {
        while let Some(buffered) = self.buffered.get(key)
            && !buffered.drains.is_empty()
            && (buffered.credit == Some(0) || !self.has_waiting(key))
            && let Some(buffered) = self.buffered.get_mut(key)
            && let Some(Drain { token, credit_after }) = buffered.drains.pop_front()
        {
            buffered.credit = Some(credit_after);
            buffered.spent = buffered.delivered;
            let connection = buffered.subscriber.connection;
            self.reply(connection, token, Ok(Reply::Drained), output);
        }
    }

    /// Forgets a subscription and what waits for it.
    pub(super) fn remove_buffered(&mut self, key: usize, output: &mut ShardOutput<'_>) {
        let Some(mut buffered) = self.buffered.try_remove(key) else {
            return internal!("a subscription ends that does not exist");
        };
        let Subscriber { connection, subscription } = buffered.subscriber;
        if let Some(reader) = self.readers.get_mut(&connection) {
            reader.waiting_bytes -= buffered.waiting.bytes();
            reader.by_waiting.correct(key, &mut buffered.known_bytes, 0);
            let (holder, bytes) = (Holder::Connection(connection), reader.by_waiting.total());
            self.by_waiting.correct(holder, &mut reader.known_bytes, bytes);
            if buffered.is_parked {
                reader.unpark(subscription);
            }
        }
        if let Some(token) = buffered.pending {
            self.reply(connection, token, Ok(Reply::Done), output);
        }
        for Drain { token, .. } in buffered.drains {
            self.reply(connection, token, Ok(Reply::Drained), output);
        }
        match buffered.cursor {
            Some(cursor) => self.leave_table(&cursor, output),
            None => self.leave_buffered(buffered.audience, buffered.index, output),
        }
    }

    /// Time has passed: those that wait for that get what it allows.
    pub(crate) fn time_out(&mut self, output: &mut ShardOutput<'_>) {
        while let Some(&Reverse((mono_ns, key))) = self.timed.peek()
            && mono_ns <= output.now.mono_ns
        {
            self.timed.pop();
            // It may have ended.
            let Some(buffered) = self.buffered.get_mut(key) else { continue };
            buffered.is_timed = false;
            self.wake_up(key, output);
        }
    }

    /// See [`crate::Shard::slow_subscriptions`].
    pub(crate) fn slow_subscriptions(&self) -> impl Iterator<Item = SlowSubscription<'_>> {
        self.buffered.iter().filter_map(|(_, one)| {
            let table = one.cursor.as_ref().and_then(|cursor| {
                self.tables.get(cursor.table).map(|table| table.waiting(cursor))
            });
            let (waiting, missed) = table.unwrap_or_default();
            let slow = SlowSubscription {
                subscriber: one.subscriber,
                pattern: self.topics.get(one.audience.topic)?.pattern(),
                dropped: one.dropped + u64::from(missed.dropped),
                conflated: one.conflated + u64::from(missed.replaced),
                waiting: one.waiting.len() + waiting,
            };
            (slow.dropped + slow.conflated > 0).then_some(slow)
        })
    }

    pub(super) fn assert_buffered_consistent(&self) {
        let mut waiting = BTreeMap::<_, (usize, usize)>::new();
        for (key, buffered) in &self.buffered {
            let found = self.subscriptions.get(&buffered.subscriber);
            assert!(matches!(found, Some(&Subscription::Buffered(k)) if k == key), "{buffered:?}");
            buffered.waiting.assert_consistent();
            let connection = buffered.subscriber.connection;
            let (bytes, known) = (buffered.waiting.bytes(), buffered.known_bytes);
            let (all_bytes, all_known) = waiting.entry(connection).or_default();
            *all_bytes += bytes;
            *all_known += usize::from(known > 0);
            let reader = self.readers.get(&connection);
            match reader {
                Some(reader) => {
                    reader.by_waiting.assert_contains(key, known, buffered.waiting.share());
                }
                None => assert_eq!((bytes, known), (0, 0), "{buffered:?}"),
            }
            let is_parked = reader.is_some_and(|r| r.has_parked(buffered.subscriber.subscription));
            assert_eq!(buffered.is_parked, is_parked, "{buffered:?}");
            let audience = self.audience(buffered.audience);
            let at = audience.and_then(|audience| audience.buffered().get(buffered.index));
            assert!(buffered.cursor.is_some() || at == Some(&key), "{buffered:?}");
        }
        let mut known = 0;
        for (connection, (bytes, known_here)) in waiting {
            let Some(reader) = self.readers.get(&connection) else { continue };
            assert_eq!(reader.waiting_bytes, bytes, "bytes that wait for {connection:?}");
            assert_eq!(reader.by_waiting.len(), known_here, "subscriptions of {connection:?}");
            let (holder, parts) = (Holder::Connection(connection), reader.by_waiting.total());
            self.by_waiting.assert_contains(holder, reader.known_bytes, parts);
            known += usize::from(reader.known_bytes > 0);
        }
        known += self.assert_tables_consistent() + self.assert_sieves_consistent();
        assert_eq!(self.by_waiting.len(), known, "those with something waiting");
    }
}

/// Who has the most waiting.
#[derive(Clone, Copy, Debug)]
enum Most {
    Subscription(usize),
    Table(usize),
    Sieve(usize),
}

/// Bytes of a subscription's deliveries that may be unwritten while it is handed more, in
/// [`contract::Message::cost`]. What is handed over can be replaced by nothing newer, and a slow link
/// takes seconds for what is much more.
const UNWRITTEN_BYTES_MAX: usize = 8 << 10;
/// How long the parts of subscriptions in what waits are good enough, where others let go: 100 ms.
const MEASURED_NS: u64 = 100_000_000;
/// What it costs to offer a publication to a subscription, in look-ups.
pub(super) const OFFER_LOOKUPS: usize = 16;
/// Bytes that cost as much to encode and to write as a delivery beside them.
const BYTES_PER_DELIVERY: usize = 128;
