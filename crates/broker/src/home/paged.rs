//! Messages of which the store has all, and a queue in memory only what it works by.
//!
//! ```text
//! ready, stored ──more than its part of the memory──► on the disk
//!       ^                                                 │ it is next, or a browser or a selector comes to it
//!       └──────── Event::Loaded ◄── store ◄── Effect::Load ┘
//! ```
//!
//! A queue keeps some of what is next in memory, and has more loaded before consumers come to the end
//! of that. Who comes to a message on the disk waits for it, and holds up nobody else; one load of a
//! queue is in flight at a time. When the process begins, all that the store has kept is on the disk.

use std::{
    collections::{BTreeMap, VecDeque},
    iter, mem,
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

use contract::{Group, Message, internal};

use super::{Home, queue::Queue};
use crate::{
    event::{Effect, LoadId, OnDisk},
    output::ShardOutput,
    queued::{QueueId, QueuePosition, QueuedMessage, queued_cost},
    quota::{Account, charged_bytes_of},
    record::Record,
    shard_message::Subscriber,
};

/// The messages of a queue that are on the disk only.
#[derive(Debug, Default)]
pub(super) struct Paging {
    ready: BTreeMap<QueuePosition, Paged>,
    /// By when there is something to do about each one.
    delayed: BTreeMap<(u64, QueuePosition), Paged>,
    /// The load that is in flight.
    loading: Option<LoadId>,
    /// Who waits for a message, and for which.
    waiting: VecDeque<(Subscriber, QueuePosition)>,
    /// How many of these are not there any more.
    waiting_left: usize,
    /// What was loaded, in that order. Some may have gone.
    loaded: VecDeque<QueuePosition>,
}

/// What a queue knows of a message that is on the disk: as little as it can do with, since there may be
/// millions.
#[derive(Debug)]
pub(super) struct Paged {
    account: Option<Account>,
    /// In milliseconds since 1970; [`u64::MAX`]: never.
    expires_unix_ms: u64,
    /// What it counts with in the queue.
    cost: u32,
    group: Option<Group>,
    /// Twice the failed attempts, as far as they fit, and one more if it is restored.
    attempts: u16,
}

const _: () = assert!(size_of::<(QueuePosition, Paged)>() == 32);

impl Paged {
    /// `None`: it is too large to be counted here.
    fn of(queued: &QueuedMessage) -> Option<Self> {
        Some(Self {
            account: queued.account,
            expires_unix_ms: queued.expires_unix_ms().unwrap_or(u64::MAX),
            cost: u32::try_from(queued_cost(&queued.message)).ok()?,
            group: queued.group(),
            attempts: packed(queued.attempts, queued.is_restored),
        })
    }

    fn expires_unix_ms(&self) -> Option<u64> {
        (self.expires_unix_ms < u64::MAX).then_some(self.expires_unix_ms)
    }

    fn is_expired(&self, unix_ms: u64) -> bool {
        self.expires_unix_ms().is_some_and(|expires| expires <= unix_ms)
    }

    const fn cost(&self) -> usize {
        self.cost as usize
    }

    fn charged_bytes(&self) -> usize {
        charged_bytes_of(self.cost(), self.expires_unix_ms().is_some())
    }

    fn into_queued(self, message: Arc<Message>, position: QueuePosition) -> QueuedMessage {
        let mut queued = QueuedMessage::restored(message, position);
        queued.account = self.account;
        queued.attempts = self.attempts().into();
        queued.is_restored = self.attempts % 2 == 1;
        queued
    }

    /// How many have failed.
    const fn attempts(&self) -> u16 {
        self.attempts / 2
    }
}

/// A message that is ready, in memory or on the disk.
pub(super) enum Ready<'q> {
    InMemory(&'q QueuedMessage),
    OnDisk { position: QueuePosition, is_expired: bool, group: Option<Group> },
}

/// What is ready, with what of it is on the disk.
#[derive(Clone, Copy)]
pub(super) struct AllReady<'q> {
    pub(super) in_memory: &'q BTreeMap<QueuePosition, QueuedMessage>,
    on_disk: Option<&'q BTreeMap<QueuePosition, Paged>>,
}

impl<'q> AllReady<'q> {
    pub(super) fn new(
        in_memory: &'q BTreeMap<QueuePosition, QueuedMessage>,
        paging: Option<&'q Paging>,
    ) -> Self {
        Self { in_memory, on_disk: paging.map(|paging| &paging.ready) }
    }

    pub(super) fn is_on_disk(self, position: QueuePosition) -> bool {
        self.on_disk.is_some_and(|on_disk| on_disk.contains_key(&position))
    }

    /// The group of a message that is on the disk; `None`: it is not there.
    pub(super) fn group_on_disk(self, position: QueuePosition) -> Option<Option<Group>> {
        self.on_disk?.get(&position).map(|paged| paged.group)
    }

    /// What is behind a position and its group, in order.
    pub(super) fn groups_after(
        self,
        last: Option<QueuePosition>,
    ) -> impl Iterator<Item = (QueuePosition, Option<Group>)> {
        self.after(last, 0).map(|one| match one {
            Ready::InMemory(queued) => (queued.position, queued.group()),
            Ready::OnDisk { position, group, .. } => (position, group),
        })
    }

    /// What is behind a position, in order.
    pub(super) fn after(
        self,
        last: Option<QueuePosition>,
        unix_ms: u64,
    ) -> impl Iterator<Item = Ready<'q>> {
        let range = (last.map_or(Unbounded, Excluded), Unbounded);
        let mut in_memory = self.in_memory.range(range).peekable();
        let mut on_disk = self.on_disk.map(|on_disk| on_disk.range(range).peekable());
        iter::from_fn(move || {
            let Some(on_disk) = &mut on_disk else {
                return in_memory.next().map(|(_, queued)| Ready::InMemory(queued));
            };
            let next = on_disk.peek().map(|(position, _)| **position);
            match (in_memory.peek(), next) {
                (Some((here, _)), Some(there)) if there < **here => {}
                (None, Some(_)) => {}
                (Some(_) | None, _) => {
                    return in_memory.next().map(|(_, queued)| Ready::InMemory(queued));
                }
            }
            on_disk.next().map(|(position, paged)| Ready::OnDisk {
                position: *position,
                is_expired: paged.is_expired(unix_ms),
                group: paged.group,
            })
        })
    }
}

impl Queue {
    pub(super) fn all_ready(&self) -> AllReady<'_> {
        AllReady::new(&self.ready, self.paging.as_deref())
    }

    /// The first message that is ready, if that is on the disk.
    pub(super) fn first_on_disk(&self) -> Option<QueuePosition> {
        let (&first, _) = self.paging.as_ref()?.ready.first_key_value()?;
        let in_memory = self.ready.first_key_value();
        in_memory.is_none_or(|(position, _)| first < *position).then_some(first)
    }

    pub(super) fn has_ready_on_disk(&self) -> bool {
        self.paging.as_ref().is_some_and(|paging| !paging.ready.is_empty())
    }

    /// Whether a durable message that becomes ready is to be on the disk only: there is enough in memory,
    /// or one before it is not. What comes first of all may have as much room again.
    pub(super) fn is_for_disk(&self, queued: &QueuedMessage) -> bool {
        if self.resident_max == usize::MAX {
            return false;
        }
        let first = self.ready.first_key_value();
        let is_first = first.is_none_or(|(position, _)| queued.position < *position)
            && self.paging.as_ref().is_none_or(|paging| {
                paging.ready.first_key_value().is_none_or(|(first, _)| queued.position < *first)
            });
        let max = if is_first { 2 * self.resident_max } else { self.resident_max };
        let is_full = self.resident > 0 && self.resident + queued_cost(&queued.message) > max;
        is_full || (!is_first && self.has_ready_on_disk())
    }

    /// Keeps of a message that is ready, stored and in no map only what it works by.
    pub(super) fn page_out(&mut self, queued: QueuedMessage) {
        match Paged::of(&queued) {
            Some(paged) => {
                let paging = self.paging.get_or_insert_default();
                paging.ready.insert(queued.position, paged);
            }
            None => self.keep_ready(queued),
        }
    }

    /// Keeps of a message that is stored and waits for its time only what it works by.
    pub(super) fn page_out_delayed(&mut self, queued: &QueuedMessage, due_unix_ms: u64) -> bool {
        let Some(paged) = Paged::of(queued) else { return false };
        self.delay_on_disk(queued.position, due_unix_ms, paged);
        true
    }

    fn delay_on_disk(&mut self, position: QueuePosition, due_unix_ms: u64, paged: Paged) {
        let due = due_unix_ms.min(paged.expires_unix_ms);
        self.paging.get_or_insert_default().delayed.insert((due, position), paged);
    }

    /// Bodies that are stored may take this much memory.
    pub(super) fn set_resident_max(&mut self, bytes: usize) {
        self.resident_max = bytes;
        if self.resident <= bytes.saturating_mul(2) {
            return;
        }
        let last = self.ready.values().rev().take(EXCESS_MAX).filter(|queued| queued.is_durable());
        let last: Vec<_> = last.map(|queued| queued.position).collect();
        for position in last {
            if self.resident <= self.resident_max {
                break;
            }
            self.page_out_at(position);
        }
    }

    fn page_out_at(&mut self, position: QueuePosition) {
        if let Some(queued) = self.ready.remove(&position) {
            self.resident -= resident_cost(&queued);
            self.page_out(queued);
        }
    }

    /// A message that the store has kept is in the queue, over all bounds if it must be. Returns what it is charged with.
    fn restore_on_disk(&mut self, message: &OnDisk, unix_ms: u64) -> usize {
        let OnDisk { position, expires_unix_ms, due_unix_ms, group, attempts, .. } = *message;
        let cost = u32::try_from(message.cost()).unwrap_or(u32::MAX);
        let expires = expires_unix_ms.unwrap_or(u64::MAX);
        let paged = Paged {
            account: None,
            expires_unix_ms: expires,
            cost,
            group,
            attempts: packed(attempts.count, true),
        };
        self.messages += 1;
        self.bytes += paged.cost();
        let charged = paged.charged_bytes();
        let again = self.due_after(attempts, unix_ms);
        match due_unix_ms.filter(|&due| due > unix_ms).max(again) {
            Some(due) => {
                if paged.attempts() > 0 {
                    self.hold_group(group);
                }
                self.delay_on_disk(position, due, paged);
            }
            None => self.make_ready_on_disk(position, paged),
        }
        charged
    }

    fn make_ready_on_disk(&mut self, position: QueuePosition, paged: Paged) {
        if let Some(expires) = paged.expires_unix_ms() {
            self.expiring.insert((expires, position));
        }
        self.late.became_ready(position);
        self.offered = 0;
        self.join_group(position, paged.group);
        self.paging.get_or_insert_default().ready.insert(position, paged);
    }

    /// A message on the disk that has expired leaves, if it is one.
    pub(super) fn expire_on_disk(
        &mut self,
        position: QueuePosition,
        output: &mut ShardOutput<'_>,
    ) -> bool {
        let paged = self.paging.as_mut().and_then(|paging| paging.ready.remove(&position));
        let Some(paged) = paged else { return false };
        self.leave_group(position, paged.group);
        self.remove_on_disk(position, &paged, output);
        true
    }

    /// As [`Queue::release_due`], of those on the disk.
    pub(super) fn release_due_on_disk(&mut self, max: usize, output: &mut ShardOutput<'_>) -> u64 {
        let mut expired = 0;
        for _ in 0..max {
            if !self.is_due_on_disk(output.now.unix_ms) {
                break;
            }
            let Some((position, paged)) = self.pop_delayed_on_disk() else { break };
            if paged.is_expired(output.now.unix_ms) {
                self.remove_on_disk(position, &paged, output);
                expired += 1;
            } else {
                self.make_ready_on_disk(position, paged);
            }
        }
        expired
    }

    pub(super) fn is_due_on_disk(&self, unix_ms: u64) -> bool {
        let delayed = self.paging.as_ref().and_then(|paging| paging.delayed.first_key_value());
        delayed.is_some_and(|(&(due, _), _)| due <= unix_ms)
    }

    /// Drops what comes first of what no consumer has, in memory or on the disk; `false`: there is none.
    pub(super) fn evict_first(&mut self, output: &mut ShardOutput<'_>) -> bool {
        if let Some(position) = self.first_on_disk() {
            return self.discard_at(position, output);
        }
        if let Some(evicted) = self.pop().or_else(|| self.pop_delayed()) {
            self.remove(&evicted, output);
            return true;
        }
        let Some((position, paged)) = self.pop_delayed_on_disk() else { return false };
        self.remove_on_disk(position, &paged, output);
        true
    }

    /// Drops what comes first, unless that is durable; `false`: it is, or there is none.
    pub(super) fn evict_first_transient(&mut self, output: &mut ShardOutput<'_>) -> bool {
        self.first_ready().is_some_and(|queued| !queued.is_durable())
            && self.first_on_disk().is_none()
            && self.evict_first(output)
    }

    fn pop_delayed_on_disk(&mut self) -> Option<(QueuePosition, Paged)> {
        let ((_, position), paged) = self.paging.as_mut()?.delayed.pop_first()?;
        if paged.attempts() > 0 {
            self.let_group_go(paged.group);
        }
        Some((position, paged))
    }

    fn discard_at(&mut self, position: QueuePosition, output: &mut ShardOutput<'_>) -> bool {
        let paged = self.paging.as_mut().and_then(|paging| paging.ready.remove(&position));
        let Some(paged) = paged else { return false };
        if let Some(expires) = paged.expires_unix_ms() {
            self.expiring.remove(&(expires, position));
        }
        self.leave_group(position, paged.group);
        self.remove_on_disk(position, &paged, output);
        true
    }

    /// A message that was taken out has left for good, and leaves the store.
    fn remove_on_disk(
        &mut self,
        position: QueuePosition,
        paged: &Paged,
        output: &mut ShardOutput<'_>,
    ) {
        self.forget_on_disk(paged, output);
        output.writes.add(Record::Remove(self.id.clone(), position));
    }

    fn forget_on_disk(&mut self, paged: &Paged, output: &mut ShardOutput<'_>) {
        self.messages -= 1;
        self.bytes -= paged.cost();
        output.quotas.uncharge_bytes(paged.account, paged.charged_bytes());
    }

    /// Ready and delayed messages that are on the disk.
    pub(super) fn counts_on_disk(&self) -> (usize, usize) {
        self.paging.as_ref().map_or((0, 0), |paging| (paging.ready.len(), paging.delayed.len()))
    }

    /// What those on the disk count with, and what each is charged with: for
    /// [`Queue::assert_consistent`].
    pub(super) fn all_on_disk(&self) -> impl Iterator<Item = (Option<Account>, usize, usize)> {
        let all = self.paging.iter().flat_map(|p| p.ready.values().chain(p.delayed.values()));
        all.map(|paged| (paged.account, paged.cost(), paged.charged_bytes()))
    }

    /// The groups of those on the disk that wait after an attempt to deliver them.
    pub(super) fn groups_failed_on_disk(&self) -> impl Iterator<Item = Group> {
        let delayed = self.paging.iter().flat_map(|paging| paging.delayed.values());
        delayed.filter(|paged| paged.attempts() > 0).filter_map(|paged| paged.group)
    }

    /// How many of those on the disk are ready and expire.
    pub(super) fn expiring_on_disk(&self) -> usize {
        let ready = self.paging.iter().flat_map(|paging| paging.ready.values());
        ready.filter(|paged| paged.expires_unix_ms().is_some()).count()
    }

    /// Someone waits for a message on the disk.
    pub(super) fn wait_for(&mut self, subscriber: Subscriber, position: QueuePosition) {
        match &mut self.paging {
            Some(paging) => paging.waiting.push_back((subscriber, position)),
            None => internal!("a message on the disk of a queue that has none there"),
        }
    }

    /// One that waits for a message on the disk has left. Those that have do not pile up while the disk
    /// is slow.
    pub(super) fn waiting_has_left(&mut self, is_there: impl Fn(Subscriber) -> bool) {
        let Some(paging) = &mut self.paging else { return };
        paging.waiting_left += 1;
        if paging.waiting_left * 2 > paging.waiting.len() {
            paging.waiting.retain(|(subscriber, _)| is_there(*subscriber));
            paging.waiting_left = 0;
        }
    }

    /// Who waits for a message on the disk.
    pub(super) fn waiting_for_load(&self) -> impl Iterator<Item = Subscriber> {
        let waiting = self.paging.iter().flat_map(|paging| &paging.waiting);
        waiting.map(|(subscriber, _)| *subscriber)
    }

    /// What one load takes. The consumers of a queue with groups each want something else: what is loaded
    /// for all of them is to fit.
    fn load_bytes(&self) -> usize {
        let readers = if self.groups.is_some() { self.consumers.max(1) } else { 1 };
        LOAD_BYTES.min(self.resident_max / 2 / readers)
    }

    /// What is to be loaded now: what someone waits for, or what consumers will come to.
    fn next_load(
        &mut self,
        is_consumer: impl Fn(Subscriber) -> bool,
    ) -> Option<Vec<QueuePosition>> {
        let load_bytes = self.load_bytes();
        // What is in memory may all be behind it.
        let is_first_on_disk = self.first_on_disk().is_some();
        let paging = self.paging.as_mut()?;
        if paging.loading.is_some() {
            return None;
        }
        let waiting = paging.waiting.front().copied();
        let from = match waiting {
            Some((_, position)) => position,
            // Who comes to what is next depends on its group.
            None if self.groups.is_some() => return None,
            None if self.consumers == self.late.consumers() => return None,
            None if self.resident > self.resident_max / 2 && !is_first_on_disk => return None,
            None => *paging.ready.first_key_value()?.0,
        };
        while paging.loaded.pop_front_if(|loaded| !self.ready.contains_key(loaded)).is_some() {}
        // What was loaded and nobody took makes room.
        while self.resident + load_bytes > self.resident_max
            && let Some(position) = self.paging.as_mut()?.loaded.pop_front()
        {
            self.page_out_at(position);
        }
        let paging = self.paging.as_mut()?;
        let mut positions = Vec::new();
        let mut bytes = 0;
        let groups = self.groups.as_deref();
        let consumer = waiting.map(|(subscriber, _)| subscriber).filter(|one| is_consumer(*one));
        let is_for = |paged: &Paged| match (groups, consumer) {
            (Some(groups), Some(consumer)) => groups.allows(consumer, paged.group),
            (Some(_) | None, _) => true,
        };
        let looked_at = paging.ready.range(from..).take(LOOKED_AT_MAX);
        for (position, paged) in looked_at.filter(|(_, paged)| is_for(paged)).take(LOAD_MAX) {
            positions.push(*position);
            bytes += paged.cost();
            if bytes >= load_bytes {
                break;
            }
        }
        Some(positions)
    }

    /// A message was loaded, or cannot be read; the latter is what this returns.
    fn loaded(
        &mut self,
        position: QueuePosition,
        message: Option<Arc<Message>>,
        output: &mut ShardOutput<'_>,
    ) -> bool {
        let Some(paging) = &mut self.paging else { return false };
        // It may have gone since.
        let Some(paged) = paging.ready.remove(&position) else { return false };
        if let Some(mut message) = message {
            message.share_name(self.id.name());
            paging.loaded.push_back(position);
            self.forget_on_disk(&paged, output);
            let queued = paged.into_queued(message, position);
            self.count(&queued.message);
            output.quotas.charge_anyway(queued.account, &queued.message);
            self.keep_ready(queued);
            return false;
        }
        if let Some(expires) = paged.expires_unix_ms() {
            self.expiring.remove(&(expires, position));
        }
        self.leave_group(position, paged.group);
        self.forget_on_disk(&paged, output);
        true
    }
}

impl Home {
    /// See [`crate::Shard::with_resident_bytes_max`].
    pub(crate) const fn set_resident_bytes_max(&mut self, bytes: usize) {
        self.resident_bytes_max = Some(bytes);
    }

    /// The part of each queue.
    pub(super) fn resident_max(&self) -> usize {
        self.resident_bytes_max.map_or(usize::MAX, |bytes| {
            let part = bytes / self.queues.len().max(1);
            part.clamp(bytes / QUEUES_WITH_A_PART, bytes / PARTS)
        })
    }

    /// Messages that the store has kept are in their queue, and on the disk.
    pub(crate) fn restore_on_disk(
        &mut self,
        queue: QueueId,
        messages: &[OnDisk],
        output: &mut ShardOutput<'_>,
    ) {
        for message in messages {
            self.sequence = self.sequence.max(message.position.sequence());
        }
        if queue.is_subscription() && self.bound(&queue).is_none() {
            // A transaction with it ended after the subscription did.
            for message in messages {
                output.writes.add(Record::Remove(queue.clone(), message.position));
            }
            return;
        }
        let index = self.find_or_make_queue_anyway(queue, None, output);
        let Some(queue) = self.queues.get_mut(index) else { return };
        for message in messages {
            let bytes = queue.restore_on_disk(message, output.now.unix_ms);
            output.quotas.charge_bytes_anyway(None, bytes);
        }
        self.dispatch_ready(index, output);
    }

    /// Has the store load what is to be loaded next for a queue.
    pub(super) fn load_next(&mut self, index: usize, output: &mut ShardOutput<'_>) {
        let Some(queue) = self.queues.get_mut(index) else { return };
        if queue.paging.is_none() {
            return;
        }
        let is_consumer = |subscriber| self.consumers.contains_key(&subscriber);
        let Some(positions) = queue.next_load(is_consumer) else { return };
        self.load.0 += 1;
        if let Some(paging) = &mut queue.paging {
            paging.loading = Some(self.load);
        }
        if positions.is_empty() {
            // All that someone waits for has gone.
            return self.wake_waiting(index, output);
        }
        output.effects.push(Effect::Load(self.load, queue.id.clone(), positions));
    }

    /// The store has loaded something, or cannot.
    pub(crate) fn loaded(
        &mut self,
        load: LoadId,
        queue: &QueueId,
        messages: Vec<(QueuePosition, Option<Arc<Message>>)>,
        output: &mut ShardOutput<'_>,
    ) {
        self.effort.renew(output.now);
        // The queue may have gone, and have been made again.
        let Some(index) = self.index_of(queue) else { return };
        let Some(queue) = self.queues.get_mut(index) else { return };
        if queue.paging.as_ref().is_none_or(|paging| paging.loading != Some(load)) {
            return;
        }
        for (position, message) in messages {
            let is_unreadable = queue.loaded(position, message, output);
            self.stats.loaded += 1;
            self.stats.unreadable += u64::from(is_unreadable);
        }
        self.wake_waiting(index, output);
    }

    /// All that wait for messages on the disk go on, before anything else is loaded: what was loaded for
    /// one must not make room for another. The first comes last, so that the next load is for another.
    fn wake_waiting(&mut self, index: usize, output: &mut ShardOutput<'_>) {
        let Some(queue) = self.queues.get_mut(index) else { return };
        queue.offered = 0;
        let Some(paging) = &mut queue.paging else { return };
        let mut waiting = mem::take(&mut paging.waiting);
        paging.waiting_left = 0;
        waiting.rotate_left(1.min(waiting.len()));
        // Each may wait again as soon as another goes on.
        for (subscriber, _) in &waiting {
            if let Some(consumer) = self.consumers.get_mut(subscriber) {
                consumer.waits_for_load = false;
            } else if let Some(browser) = self.browsers.get_mut(subscriber) {
                browser.waits_for_load = false;
            }
        }
        for (subscriber, _) in waiting {
            if self.consumers.contains_key(&subscriber) {
                self.dispatch_to(subscriber, output);
            } else if self.browsers.contains_key(&subscriber) {
                self.browse(subscriber, output);
            }
        }
        if let Some(paging) = self.queues.get_mut(index).and_then(|queue| queue.paging.as_mut()) {
            paging.loading = None;
        }
        self.dispatch_ready(index, output);
    }
}

/// Failed attempts, as far as they fit, and whether a message is restored.
fn packed(attempts: u32, is_restored: bool) -> u16 {
    u16::try_from(attempts.min(ATTEMPTS_MAX) * 2).unwrap_or_default() | u16::from(is_restored)
}

/// What a message that no consumer has counts with in [`Queue::resident`].
pub(super) fn resident_cost(queued: &QueuedMessage) -> usize {
    if queued.is_durable() { queued_cost(&queued.message) } else { 0 }
}

/// What one load takes at most, and one message more.
const LOAD_BYTES: usize = 256 << 10;
/// The same in messages.
const LOAD_MAX: usize = 1024;
/// Messages that are looked at for a load, where others are not for the consumer that waits.
const LOOKED_AT_MAX: usize = 16 * LOAD_MAX;

/// Failed attempts that a queue knows of a message that is on the disk.
const ATTEMPTS_MAX: u32 = u16::MAX as u32 / 2;

/// Of what all queues may have in memory together, a queue has no more than this part,
const PARTS: usize = 64;
/// and at least what it would have with this many queues.
const QUEUES_WITH_A_PART: usize = 16 << 10;

/// Messages of a queue that are looked at in a time-out when it has too much in memory.
const EXCESS_MAX: usize = 1024;
