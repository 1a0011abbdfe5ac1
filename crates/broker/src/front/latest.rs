//! Subscriptions that want only the latest of each key: they share a [`Table`] for each topic,
//! selector and conflation key, and take from it what they have not seen when they can.

use std::{mem, sync::Arc};

use contract::{ConflationKey, Message, SlowPolicy, Subscribe, internal};

use super::{
    Front, Holder,
    audience::AudienceId,
    buffer::Waiting,
    buffered::OFFER_LOOKUPS,
    table::{Cursor, Missed, Table},
};
use crate::{output::ShardOutput, stats::Shed};

impl Front {
    pub(crate) const fn set_latest_per_turn(&mut self, deliveries: usize) {
        self.per_turn = deliveries;
        self.turn_left = deliveries;
    }

    /// See [`crate::Shard::is_turn_used`].
    pub(crate) fn is_turn_used(&self) -> bool {
        self.turn_left < self.per_turn || self.has_unseen()
    }

    /// See [`crate::Shard::has_deferred`].
    pub(crate) fn has_deferred(&self) -> bool {
        !self.deferred.is_empty() || self.has_unseen() || self.has_more_due()
    }

    /// A turn of the core begins: those that the last one left over come first.
    pub(crate) fn begin_turn(&mut self, output: &mut ShardOutput<'_>) {
        self.turn_left = self.per_turn;
        self.effort.begin_turn();
        self.sift_on(output);
        if self.has_more_due() {
            self.publish_due(output);
        }
        while self.turn_left > 0
            && let Some((key, serial)) = self.deferred.pop_front()
        {
            // It may have ended.
            if let Some(buffered) = self.buffered.get_mut(key)
                && buffered.serial == serial
            {
                buffered.is_deferred = false;
                self.wake_up(key, output);
            }
        }
    }

    /// Whether a subscription that wants the latest takes no more memory for the keys of its table than
    /// is left.
    pub(super) fn allows_latest(&self, subscribe: &Subscribe) -> bool {
        let SlowPolicy::Latest(key) = &subscribe.on_slow else { return true };
        let topic = self.topics.find(&subscribe.pattern);
        let selector = subscribe.selector.as_ref();
        let audience = topic.and_then(|topic| self.find_audience(topic, selector));
        let id = audience.and_then(|audience| self.table_of(audience, key));
        let bytes_left = self.places_bytes_max().saturating_sub(self.places_bytes);
        id.and_then(|id| self.tables.get(id)).is_none_or(|table| table.may_be_joined(bytes_left))
    }

    /// Places may take this part of what may wait, beside it.
    const fn places_bytes_max(&self) -> usize {
        self.waiting_bytes_max / 2
    }

    fn table_of(&self, audience: AudienceId, key: &ConflationKey) -> Option<usize> {
        let mut tables = self.audience(audience)?.tables().iter().copied();
        tables.find(|&id| self.tables.get(id).is_some_and(|table| table.key() == key))
    }

    /// Adds a subscription to its table, made when missing.
    pub(super) fn join_table(
        &mut self,
        audience: AudienceId,
        conflation: &ConflationKey,
        key: usize,
        bytes_max: usize,
    ) -> Cursor {
        let id = self.table_of(audience, conflation).unwrap_or_else(|| {
            let id = self.tables.insert(Table::new(audience, conflation.clone()));
            if let Some(audience) = self.audience_mut(audience) {
                audience.add_table(id);
            }
            id
        });
        #[expect(clippy::indexing_slicing, reason = "it was found, or has just been made")]
        let table = &mut self.tables[id];
        self.places_bytes -= table.places_bytes();
        let cursor = table.join(id, key, bytes_max);
        self.places_bytes += table.places_bytes();
        cursor
    }

    /// Removes a subscription from its table, and the last one's table.
    pub(super) fn leave_table(&mut self, cursor: &Cursor, output: &mut ShardOutput<'_>) {
        let id = cursor.table;
        let Some(table) = self.tables.get_mut(id) else {
            return internal!("a subscription has a table that does not exist");
        };
        self.places_bytes -= table.places_bytes();
        let (missed, moved, moved_idle) = table.leave(cursor);
        self.places_bytes += table.places_bytes();
        if let Some(moved) = moved.and_then(|key| self.cursor_mut(key)) {
            moved.member = cursor.member;
        }
        if let Some(moved) = moved_idle.and_then(|key| self.cursor_mut(key)) {
            moved.idle = cursor.idle;
        }
        self.count_missed(missed);
        let Some(table) = self.tables.get_mut(id) else { return };
        let audience = table.audience;
        if table.members().is_empty() {
            self.by_waiting.correct(Holder::Table(id), &mut table.known_bytes, 0);
            self.places_bytes -= table.places_bytes();
            self.tables.remove(id);
            if let Some(audience) = self.audience_mut(audience) {
                audience.remove_table(id);
            }
            self.leave_audience(audience, output);
        }
    }

    fn cursor_mut(&mut self, key: usize) -> Option<&mut Cursor> {
        self.buffered.get_mut(key)?.cursor.as_deref_mut()
    }

    /// Offers a publication to those that share a table: only those are woken that had seen all. One
    /// without a key is offered to each.
    pub(super) fn offer_to_table(
        &mut self,
        id: usize,
        message: &Arc<Message>,
        waiting: &mut Option<Arc<Waiting>>,
        output: &mut ShardOutput<'_>,
    ) {
        self.lookups += OFFER_LOOKUPS;
        let may_grow = self.places_bytes < self.places_bytes_max();
        let Some(table) = self.tables.get_mut(id) else {
            return internal!("a topic has a table that does not exist");
        };
        let Some(hash) = table.hash(message) else {
            return self.offer_to_members(id, message, waiting, output);
        };
        let waiting = waiting.get_or_insert_with(|| Waiting::new(message, &self.waiting_bytes));
        self.places_bytes -= table.places_bytes();
        table.put(hash, Arc::clone(waiting), may_grow);
        self.places_bytes += table.places_bytes();
        let bytes = table.bytes();
        self.by_waiting.grow(Holder::Table(id), &mut table.known_bytes, bytes);
        let mut woken = mem::take(&mut self.woken);
        mem::swap(&mut woken, &mut table.idle);
        for &key in &woken {
            if let Some(cursor) = self.cursor_mut(key) {
                cursor.idle = None;
            }
        }
        for &key in &woken {
            self.wake_up(key, output);
        }
        woken.clear();
        self.woken = woken;
    }

    fn offer_to_members(
        &mut self,
        id: usize,
        message: &Arc<Message>,
        waiting: &mut Option<Arc<Waiting>>,
        output: &mut ShardOutput<'_>,
    ) {
        let mut index = 0;
        // None joins or leaves meanwhile.
        while let Some(&key) = self.tables.get(id).and_then(|table| table.members().get(index)) {
            self.offer_to(key, message, waiting, output);
            index += 1;
        }
        self.lookups += index * OFFER_LOOKUPS;
    }

    /// Drops the oldest message of a table.
    pub(super) fn take_from_table(&mut self, id: usize) {
        let Some(table) = self.tables.get_mut(id) else { return };
        let behind = table.drop_oldest();
        let member = table.members().first().and_then(|&key| self.buffered.get(key));
        let Some(from) = member.map(|member| member.subscriber) else { return };
        let shed = self.shed.get_or_insert(Shed { from, dropped: 0, ended: 0 });
        shed.from = from;
        shed.dropped += behind as u64;
    }

    /// Where the next message of its table is for a subscription, if it has one.
    pub(super) fn find_latest(&mut self, key: usize) -> Option<usize> {
        let buffered = self.buffered.get_mut(key)?;
        let cursor = buffered.cursor.as_deref_mut()?;
        let table = self.tables.get_mut(cursor.table)?;
        let mut missed = Missed::default();
        let found = table.find_next(cursor, &mut missed, &mut self.lookups);
        if missed != Missed::default() {
            buffered.count_missed(missed);
            self.count_missed(missed);
        }
        found
    }

    /// The message there, which the subscription has seen then.
    pub(super) fn take_latest(&mut self, key: usize, place: usize) -> Option<Arc<Message>> {
        let buffered = self.buffered.get_mut(key)?;
        let cursor = buffered.cursor.as_deref_mut()?;
        let table = self.tables.get_mut(cursor.table)?;
        let mut missed = Missed::default();
        let message = table.take(cursor, place, &mut missed);
        buffered.count_missed(missed);
        self.count_missed(missed);
        message
    }

    fn count_missed(&mut self, missed: Missed) {
        self.topic_dropped += u64::from(missed.dropped);
        self.topic_conflated += u64::from(missed.replaced);
    }

    /// A subscription for which nothing waits is woken by the next publication to its table.
    pub(super) fn rest(&mut self, key: usize) {
        if let Some(buffered) = self.buffered.get_mut(key)
            && let Some(cursor) = buffered.cursor.as_deref_mut()
            && cursor.idle.is_none()
            && let Some(table) = self.tables.get_mut(cursor.table)
        {
            cursor.is_keyless_next = false;
            cursor.idle = Some(table.add_idle(key));
        }
    }

    /// See [`crate::Shard::assert_consistent`]. Returns how many tables are known to have something
    /// waiting.
    pub(super) fn assert_tables_consistent(&self) -> usize {
        let (mut known, mut places_bytes) = (0, 0);
        for (id, table) in &self.tables {
            let audience = self.audience(table.audience);
            assert!(audience.is_some_and(|a| a.tables().contains(&id)), "{table:?}");
            assert!(!table.members().is_empty(), "a table without subscriptions");
            table.assert_consistent(|key| {
                let cursor = self.buffered.get(key)?.cursor.as_deref();
                cursor.filter(|cursor| cursor.table == id)
            });
            let holder = Holder::Table(id);
            self.by_waiting.assert_contains(holder, table.known_bytes, table.bytes());
            known += usize::from(table.known_bytes > 0);
            places_bytes += table.places_bytes();
        }
        assert_eq!(self.places_bytes, places_bytes, "bytes of places");
        let deferred = self.buffered.iter().filter(|(_, one)| one.is_deferred);
        assert!(deferred.count() <= self.deferred.len(), "those that wait for a turn");
        known
    }
}
