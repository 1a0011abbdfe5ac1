//! The newest message of each key of a topic, kept once for all the subscriptions that want no more
//! than these: so a publication costs the same, and takes the same memory, however many they are.
//!
//! ```text
//! publication --> the place of its key: the newest message, and how many there were
//!                   |
//!                   +--> each subscription, when it can take one: how many it has seen of each place
//! ```

use std::{
    hash::{BuildHasher, Hash, Hasher, RandomState},
    iter, mem,
    sync::Arc,
};

use contract::{ConflationKey, Message, Value, internal};
use hashbrown::HashTable;

use super::{audience::AudienceId, buffer::Waiting};

/// The newest messages of a topic, for its subscriptions with one conflation key.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) audience: AudienceId,
    key: ConflationKey,
    places: Vec<Place>,
    /// How many messages came to each place, modulo 2^32. It goes on when another key comes there.
    counts: Vec<u32>,
    /// The places without a message.
    free: Vec<u32>,
    /// The places with one, by the hash of its key.
    indices: HashTable<u32>,
    hasher: RandomState,
    /// The ends of the list of these, in the order of their messages.
    newest: u32,
    oldest: u32,
    /// How many changes there were, each a message that came or was dropped.
    changes: u64,
    /// The last of them that dropped one.
    dropped: u64,
    /// What the messages cost, and what they may. One may always be there, however large.
    bytes: usize,
    bytes_max: usize,
    /// What it is known by among those with something waiting.
    pub(super) known_bytes: usize,
    /// Its subscriptions, by their keys.
    members: Vec<usize>,
    /// Those that had seen all: a publication wakes them.
    pub(super) idle: Vec<usize>,
}

/// Where the newest message of a key is.
#[derive(Debug)]
struct Place {
    message: Option<Arc<Waiting>>,
    /// The change with which its last message came.
    changed: u64,
    /// How many subscriptions have seen less than what came; without any, the message goes.
    behind: usize,
    older: u32,
    newer: u32,
}

/// What a subscription has seen of its table.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) table: usize,
    /// Where it is among the members, and among those that had seen all.
    pub(super) member: usize,
    pub(super) idle: Option<usize>,
    /// How many messages of each place it has seen; none of those beyond.
    seen: Vec<u32>,
    /// The place whose turn is next: all keys have theirs, however often some change.
    next: usize,
    /// It has seen all that came up to this change.
    changes: u64,
    /// It has counted what was dropped up to this one.
    dropped: u64,
    /// What waits for it alone, having no key, goes before the table.
    pub(super) is_keyless_next: bool,
}

/// Messages that a subscription does not get.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Missed {
    pub(super) dropped: u32,
    /// Newer ones have come in their places.
    pub(super) replaced: u32,
}

impl Missed {
    /// So many came to a place, of which the last is still there, or none is.
    const fn add(&mut self, count: u32, is_there: bool) {
        if count > 0 {
            self.replaced = self.replaced.saturating_add(count - 1);
            self.dropped = self.dropped.saturating_add(if is_there { 0 } else { 1 });
        }
    }
}

impl Table {
    pub(super) fn new(audience: AudienceId, key: ConflationKey) -> Self {
        Self {
            audience,
            key,
            places: Vec::new(),
            counts: Vec::new(),
            free: Vec::new(),
            indices: HashTable::new(),
            hasher: RandomState::new(),
            newest: NONE,
            oldest: NONE,
            changes: 0,
            dropped: 0,
            bytes: 0,
            bytes_max: 0,
            known_bytes: 0,
            members: Vec::new(),
            idle: Vec::new(),
        }
    }

    pub(super) const fn key(&self) -> &ConflationKey {
        &self.key
    }

    pub(super) fn members(&self) -> &[usize] {
        &self.members
    }

    /// What the messages in it cost.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the places take beside the messages, here and in each cursor. They stay.
    pub(super) const fn places_bytes(&self) -> usize {
        self.places.len() * (PLACE_BYTES + self.members.len() * size_of::<u32>())
    }

    /// Whether one more subscription may take as much again for them.
    pub(super) const fn may_be_joined(&self, bytes_left: usize) -> bool {
        self.places.len() <= PLACES_MIN || self.places.len() * size_of::<u32>() <= bytes_left
    }

    /// Adds a subscription, which gets what comes from now on. What waits may cost the most that one
    /// of them allows.
    pub(super) fn join(&mut self, table: usize, key: usize, bytes_max: usize) -> Cursor {
        self.bytes_max = self.bytes_max.max(bytes_max);
        self.members.push(key);
        self.idle.push(key);
        Cursor {
            table,
            member: self.members.len() - 1,
            idle: Some(self.idle.len() - 1),
            seen: self.counts.clone(),
            next: 0,
            changes: self.changes,
            dropped: self.dropped,
            is_keyless_next: false,
        }
    }

    /// Removes a subscription; returns what it missed, and those that are now where it was among the
    /// members and among those that had seen all.
    pub(super) fn leave(&mut self, cursor: &Cursor) -> (Missed, Option<usize>, Option<usize>) {
        let mut missed = Missed::default();
        let seen = cursor.seen.iter().copied().chain(iter::repeat(0));
        for (index, seen) in (0..self.places.len()).zip(seen) {
            let count = self.unseen(index, seen);
            if count > 0 {
                missed.add(count, self.see(index).is_some());
            }
        }
        if cursor.member < self.members.len() {
            self.members.swap_remove(cursor.member);
        }
        let moved = self.members.get(cursor.member).copied();
        let moved_idle = cursor.idle.and_then(|index| {
            self.idle.swap_remove(index);
            self.idle.get(index).copied()
        });
        (missed, moved, moved_idle)
    }

    /// A subscription has seen all; returns where it is among these.
    pub(super) fn add_idle(&mut self, key: usize) -> usize {
        self.idle.push(key);
        self.idle.len() - 1
    }

    /// The hash of a message's key, if it has one.
    pub(super) fn hash(&self, message: &Message) -> Option<u64> {
        hash_key(&self.key, &self.hasher, message)
    }

    /// A message comes whose key has this hash, and replaces the one with the same key. Without one,
    /// and where no more places may be made, it comes to the place of the oldest; what has no room
    /// drops the oldest.
    pub(super) fn put(&mut self, hash: u64, message: Arc<Waiting>, may_grow: bool) {
        let index = match self.find(hash, &message) {
            Some(index) => {
                self.detach(index);
                index
            }
            None => {
                let index = self.vacant(may_grow);
                let (places, key, hasher) = (&self.places, &self.key, &self.hasher);
                self.indices.insert_unique(hash, index, |&index| {
                    let message = places.get(at(index)).and_then(|place| place.message.as_ref());
                    message.and_then(|one| hash_key(key, hasher, one)).unwrap_or_default()
                });
                index
            }
        };
        self.changes += 1;
        self.bytes += message.bytes();
        let (Some(place), Some(count)) =
            (self.places.get_mut(at(index)), self.counts.get_mut(at(index)))
        else {
            return internal!("a message comes to a place that does not exist");
        };
        *count = count.wrapping_add(1);
        place.changed = self.changes;
        place.behind = self.members.len();
        if let Some(replaced) = place.message.replace(message) {
            self.bytes -= replaced.bytes();
        }
        self.append(index);
        while self.bytes > self.bytes_max && self.newest != self.oldest {
            self.drop_oldest();
        }
    }

    /// Drops the message of the key that had none for longest; returns how many subscriptions do not
    /// get it.
    pub(super) fn drop_oldest(&mut self) -> usize {
        let Some(behind) = self.places.get(at(self.oldest)).map(|place| place.behind) else {
            return 0;
        };
        self.changes += 1;
        self.dropped = self.changes;
        self.vacate(self.oldest);
        behind
    }

    /// The place of the next message for a subscription. What it missed elsewhere is added, and how
    /// many places were looked at.
    pub(super) fn find_next(
        &mut self,
        cursor: &mut Cursor,
        missed: &mut Missed,
        looked: &mut usize,
    ) -> Option<usize> {
        if cursor.changes == self.changes {
            return None;
        }
        cursor.seen.resize(self.counts.len(), 0);
        if cursor.dropped != self.dropped {
            *looked += self.free.len();
            self.count_dropped(cursor, missed);
        }
        let found = match self.find_recent(cursor) {
            Ok(found) => found,
            Err(TooMany) => {
                let found = self.find_any(cursor);
                let end = found.unwrap_or(cursor.next);
                *looked += distance(cursor.next, end, self.places.len());
                *looked += if found.is_none() { self.places.len() } else { 0 };
                found
            }
        };
        *looked += 1;
        match found {
            Some(index) => cursor.next = index,
            None => (cursor.changes, cursor.next) = (self.changes, 0),
        }
        found
    }

    /// The message at a place, which a subscription sees with that, and what it missed before.
    pub(super) fn take(
        &mut self,
        cursor: &mut Cursor,
        index: usize,
        missed: &mut Missed,
    ) -> Option<Arc<Message>> {
        let seen = cursor.seen.get_mut(index)?;
        let count = self.unseen(index, *seen);
        *seen = seen.wrapping_add(count);
        cursor.next = index + 1;
        missed.add(count, true);
        self.see(index)
    }

    /// How many wait for a subscription, and what it missed of which it will learn.
    pub(super) fn waiting(&self, cursor: &Cursor) -> (usize, Missed) {
        let (mut waiting, mut missed) = (0, Missed::default());
        let seen = cursor.seen.iter().copied().chain(iter::repeat(0));
        for (index, (place, seen)) in self.places.iter().zip(seen).enumerate() {
            let count = self.unseen(index, seen);
            missed.add(count, place.message.is_some());
            waiting += usize::from(count > 0 && place.message.is_some());
        }
        (waiting, missed)
    }

    /// How many came to a place that were not seen.
    fn unseen(&self, index: usize, seen: u32) -> u32 {
        self.counts.get(index).map_or(0, |count| count.wrapping_sub(seen))
    }

    /// One more subscription has seen what came to a place; returns what is there.
    fn see(&mut self, index: usize) -> Option<Arc<Message>> {
        let place = self.places.get_mut(index)?;
        place.behind -= 1;
        let is_last = place.behind == 0;
        let message = place.message.as_ref().map(|message| Arc::<Message>::clone(message));
        if is_last && message.is_some() {
            self.vacate(u32::try_from(index).unwrap_or(NONE));
        }
        message
    }

    /// What a subscription has not seen of the places whose messages were dropped.
    fn count_dropped(&mut self, cursor: &mut Cursor, missed: &mut Missed) {
        cursor.dropped = self.dropped;
        for &index in &self.free {
            let (Some(place), Some(&count), Some(seen)) = (
                self.places.get_mut(at(index)),
                self.counts.get(at(index)),
                cursor.seen.get_mut(at(index)),
            ) else {
                continue;
            };
            if *seen != count {
                missed.add(count.wrapping_sub(*seen), false);
                *seen = count;
                place.behind -= 1;
            }
        }
    }

    /// As [`Table::find_next`], where not much has changed since a subscription had seen all.
    fn find_recent(&self, cursor: &Cursor) -> Result<Option<usize>, TooMany> {
        let is_unseen = |index: usize| self.counts.get(index) != cursor.seen.get(index);
        if is_unseen(cursor.next) {
            return Ok(Some(cursor.next));
        }
        let mut nearest: Option<usize> = None;
        let mut newest = self.newest;
        let away = |index: usize| distance(cursor.next, index, self.places.len());
        for _ in 0..RECENT_MAX {
            let index = at(newest);
            let Some(place) = self.places.get(index) else { return Ok(nearest) };
            if place.changed <= cursor.changes {
                return Ok(nearest);
            }
            if is_unseen(index) && nearest.is_none_or(|other| away(index) < away(other)) {
                nearest = Some(index);
            }
            newest = place.older;
        }
        Err(TooMany)
    }

    fn find_any(&self, cursor: &Cursor) -> Option<usize> {
        let next = cursor.next.min(self.counts.len());
        let (counts_before, counts) = self.counts.split_at(next);
        let (seen_before, seen) = cursor.seen.split_at(next.min(cursor.seen.len()));
        let find = |counts: &[u32], seen: &[u32]| {
            counts.iter().zip(seen).position(|(count, seen)| count != seen)
        };
        find(counts, seen).map(|index| next + index).or_else(|| find(counts_before, seen_before))
    }

    fn find(&self, hash: u64, message: &Message) -> Option<u32> {
        let is_same = |other: &Message| match &self.key {
            ConflationKey::Destination => other.to == message.to,
            ConflationKey::Property(name) => other.property(name) == message.property(name),
        };
        let found = self.indices.find(hash, |&index| {
            let place = self.places.get(at(index));
            place.and_then(|place| place.message.as_ref()).is_some_and(|other| is_same(other))
        });
        found.copied()
    }

    /// A place without a message.
    fn vacant(&mut self, may_grow: bool) -> u32 {
        if self.free.is_empty() && !may_grow && self.places.len() >= PLACES_MIN {
            self.drop_oldest();
        }
        if let Some(index) = self.free.pop() {
            return index;
        }
        let index = u32::try_from(self.places.len()).unwrap_or(NONE);
        self.counts.push(0);
        self.places.push(Place { message: None, changed: 0, behind: 0, older: NONE, newer: NONE });
        index
    }

    /// Takes the message out of a place.
    fn vacate(&mut self, index: u32) {
        self.detach(index);
        let place = self.places.get_mut(at(index));
        let Some(message) = place.and_then(|place| place.message.take()) else {
            return internal!("a message is dropped that does not wait");
        };
        self.bytes -= message.bytes();
        self.free.push(index);
        let hash = self.hash(&message).unwrap_or_default();
        match self.indices.find_entry(hash, |&other| other == index) {
            Ok(entry) => _ = entry.remove(),
            Err(_) => internal!("a message with a key is not found by it"),
        }
    }

    /// Adds a place to the list, as the newest.
    fn append(&mut self, index: u32) {
        let older = mem::replace(&mut self.newest, index);
        if let Some(place) = self.places.get_mut(at(index)) {
            (place.older, place.newer) = (older, NONE);
        }
        match self.places.get_mut(at(older)) {
            Some(place) => place.newer = index,
            None => self.oldest = index,
        }
    }

    /// Removes a place from the list.
    fn detach(&mut self, index: u32) {
        let Some(place) = self.places.get(at(index)) else {
            return internal!("a place is not in the list");
        };
        let (older, newer) = (place.older, place.newer);
        match self.places.get_mut(at(older)) {
            Some(place) => place.newer = newer,
            None => self.oldest = newer,
        }
        match self.places.get_mut(at(newer)) {
            Some(place) => place.older = older,
            None => self.newest = older,
        }
    }

    /// See [`crate::Shard::assert_consistent`]. `cursor` is that of a member.
    pub(super) fn assert_consistent<'a>(&self, cursor: impl Fn(usize) -> Option<&'a Cursor>) {
        let cursors: Vec<&Cursor> = self.members.iter().filter_map(|&key| cursor(key)).collect();
        assert_eq!(cursors.len(), self.members.len(), "members of a table");
        for (index, place) in self.places.iter().enumerate() {
            let count = |cursor: &Cursor| {
                self.unseen(index, cursor.seen.get(index).copied().unwrap_or_default())
            };
            let behind = cursors.iter().filter(|cursor| count(cursor) > 0);
            assert_eq!(place.behind, behind.count(), "those behind at {index}");
            assert!(place.message.is_none() || place.behind > 0, "all have seen what is kept");
            let is_free = self.free.iter().any(|&other| at(other) == index);
            assert_eq!(place.message.is_none(), is_free, "a free place");
        }
        let (mut index, mut bytes, mut keys) = (self.newest, 0, 0);
        let mut changed = u64::MAX;
        while let Some(place) = self.places.get(at(index)) {
            let message = place.message.as_ref().expect("a place in the list has a message");
            let hash = self.hash(message).expect("what has a place has a key");
            assert_eq!(self.find(hash, message), Some(index), "where the message with a key is");
            assert!(place.changed < changed, "the order of the list");
            changed = place.changed;
            bytes += message.bytes();
            keys += 1;
            index = place.older;
        }
        assert_eq!(self.bytes, bytes, "bytes that wait in a table");
        assert_eq!(self.indices.len(), keys, "keys");
        assert_eq!(self.places.len(), keys + self.free.len(), "places");
        for (index, cursor) in cursors.iter().enumerate() {
            assert_eq!(cursor.member, index, "where a member is");
            let idle = cursor.idle.map(|index| self.idle.get(index));
            assert!(idle.is_none_or(|key| key == self.members.get(index)), "where an idle one is");
        }
        let idle = cursors.iter().filter(|cursor| cursor.idle.is_some());
        assert_eq!(idle.count(), self.idle.len(), "those that have seen all");
    }
}

/// More has changed than is looked at one by one.
struct TooMany;

/// How far a place is behind another one, in turn.
const fn distance(from: usize, to: usize, places: usize) -> usize {
    if to >= from { to - from } else { to + places - from }
}

/// An index; none is there for [`NONE`].
const fn at(index: u32) -> usize {
    index as usize
}

fn hash_key(key: &ConflationKey, hasher: &RandomState, message: &Message) -> Option<u64> {
    match key {
        ConflationKey::Destination => Some(hasher.hash_one(&message.to)),
        ConflationKey::Property(name) => {
            let mut hasher = hasher.build_hasher();
            hash_value(message.property(name)?, &mut hasher);
            Some(hasher.finish())
        }
    }
}

/// Floats by their bits: the two zeros are two keys, and what is no number is none.
fn hash_value(value: Value<'_>, hasher: &mut impl Hasher) {
    mem::discriminant(&value).hash(hasher);
    match value {
        Value::Null => {}
        Value::Bool(value) => value.hash(hasher),
        Value::I8(value) => value.hash(hasher),
        Value::I16(value) => value.hash(hasher),
        Value::I32(value) => value.hash(hasher),
        Value::I64(value) => value.hash(hasher),
        Value::F32(value) => value.to_bits().hash(hasher),
        Value::F64(value) => value.to_bits().hash(hasher),
        Value::String(value) => value.hash(hasher),
        Value::Bytes(value) => value.hash(hasher),
    }
}

const NONE: u32 = u32::MAX;
/// Places that are looked at from the newest on, before all are in their order.
const RECENT_MAX: usize = 8;
/// Places that a table may always have.
const PLACES_MIN: usize = 16;
/// A place, its count, and its index among the free ones and by its hash.
const PLACE_BYTES: usize = size_of::<Place>() + 3 * size_of::<u32>() + 8;

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use contract::{Body, Destination};
    use testkit::Random;

    use super::*;

    /// A table, the cursors of its members by their keys, and what each got and missed.
    struct Scene {
        table: Table,
        cursors: Vec<Option<Cursor>>,
        got: Vec<Vec<u128>>,
        missed: Vec<u32>,
        total: Arc<AtomicUsize>,
    }

    impl Scene {
        fn new(members: usize, bytes_max: usize) -> Self {
            let mut scene = Self {
                table: Table::new(AudienceId { topic: 0, sieve: None }, ConflationKey::Destination),
                cursors: Vec::new(),
                got: Vec::new(),
                missed: Vec::new(),
                total: Arc::default(),
            };
            (0..members).for_each(|_| scene.join(bytes_max));
            scene
        }

        fn join(&mut self, bytes_max: usize) {
            let cursor = self.table.join(0, self.cursors.len(), bytes_max);
            self.cursors.push(Some(cursor));
            self.got.push(Vec::new());
            self.missed.push(0);
        }

        fn leave(&mut self, key: usize) {
            let Some(cursor) = self.cursors[key].take() else { return };
            let (missed, moved, moved_idle) = self.table.leave(&cursor);
            self.miss(key, missed);
            if let Some(moved) = moved.and_then(|key| self.cursors[key].as_mut()) {
                moved.member = cursor.member;
            }
            if let Some(moved) = moved_idle.and_then(|key| self.cursors[key].as_mut()) {
                moved.idle = cursor.idle;
            }
        }

        fn put(&mut self, id: u128, to: usize, may_grow: bool) {
            let to = Destination::parse(&format!("/topic/{to}")).unwrap();
            let message = Arc::new(Message::new(to, id, 0, Body::Text("x".into())));
            let hash = self.table.hash(&message).unwrap();
            self.table.put(hash, Waiting::new(&message, &self.total), may_grow);
        }

        fn take(&mut self, key: usize) -> Option<u128> {
            let cursor = self.cursors[key].as_mut()?;
            let mut missed = Missed::default();
            let place = self.table.find_next(cursor, &mut missed, &mut 0);
            let message = place.and_then(|place| self.table.take(cursor, place, &mut missed));
            self.miss(key, missed);
            let id = message.map(|message| message.id);
            self.got[key].extend(id);
            id
        }

        fn miss(&mut self, key: usize, missed: Missed) {
            self.missed[key] += missed.dropped + missed.replaced;
        }

        fn assert_consistent(&self) {
            self.table.assert_consistent(|key| self.cursors[key].as_ref());
        }
    }

    #[test]
    fn each_key_has_its_turn_however_often_others_change() {
        let mut scene = Scene::new(1, usize::MAX);
        let mut got = Vec::new();
        for id in 0..100 {
            // One changes all the time.
            scene.put(3 * id, 0, true);
            scene.put(3 * id + 1, 1 + id as usize % 9, true);
            scene.put(3 * id + 2, 0, true);
            got.extend(scene.take(0).map(|id| if id % 3 == 1 { 1 + id / 3 % 9 } else { 0 }));
        }
        for turns in got.chunks_exact(20) {
            assert!((0..10).all(|key| turns.contains(&key)), "{turns:?}");
        }
        scene.assert_consistent();
    }

    #[test]
    fn what_all_have_seen_takes_no_memory() {
        let mut scene = Scene::new(3, usize::MAX);
        for id in 0..1_000 {
            scene.put(id, id as usize, true);
            (0..2).for_each(|key| assert_eq!(scene.take(key), Some(id)));
            assert_eq!(scene.table.indices.len(), 1);
            assert_eq!(scene.take(2), Some(id));
            assert_eq!((scene.table.indices.len(), scene.table.bytes()), (0, 0));
        }
        assert_eq!(scene.table.places.len(), 1);
        assert_eq!(scene.total.load(std::sync::atomic::Ordering::Relaxed), 0);
    }

    #[test]
    fn what_has_no_room_drops_the_oldest() {
        let mut scene = Scene::new(2, 3_000);
        (0..100).for_each(|id| scene.put(id, id as usize, true));
        scene.assert_consistent();
        assert!(scene.table.bytes() <= 3_000);
        while scene.take(0).is_some() {}
        let left = scene.got[0].len() as u128;
        assert!(left > 2);
        scene.got[0].sort_unstable();
        assert_eq!(scene.got[0], (100 - left..100).collect::<Vec<_>>());
        assert_eq!(u128::from(scene.missed[0]), 100 - left);
    }

    #[test]
    fn without_memory_for_more_places_the_oldest_gives_way() {
        let mut scene = Scene::new(1, usize::MAX);
        (0..100).for_each(|id| scene.put(id, id as usize, false));
        assert_eq!(scene.table.places.len(), PLACES_MIN);
        while scene.take(0).is_some() {}
        assert_eq!(scene.got[0].len(), PLACES_MIN);
        assert_eq!(scene.missed[0] as usize, 100 - PLACES_MIN);
    }

    #[test]
    fn all_that_came_is_seen_or_missed() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let bytes_max = if random.once_in(2) { 3_000 } else { usize::MAX };
            let (keys, may_grow) = (random.pick(&[1, 5, 40]), random.once_in(2));
            let mut scene = Scene::new(3, bytes_max);
            let (mut id, mut since) = (0, vec![0; 3]);
            for _ in 0..500 {
                match random.below(12) {
                    0..5 => {
                        scene.put(id, random.below(keys), may_grow);
                        id += 1;
                    }
                    5 if random.once_in(4) => {
                        scene.join(bytes_max);
                        since.push(id);
                    }
                    6 if random.once_in(4) && scene.cursors.len() > 3 => {
                        scene.leave(3 + random.below(since.len() - 3));
                    }
                    7 if random.once_in(10) => _ = scene.table.drop_oldest(),
                    _ => {
                        let key = random.below(since.len());
                        let got = scene.take(key);
                        assert!(got.is_none_or(|got| got >= since[key]), "from before");
                    }
                }
                scene.assert_consistent();
            }
            for (key, since) in since.iter().enumerate() {
                if scene.cursors[key].is_none() {
                    continue;
                }
                while scene.take(key).is_some() {}
                let all = scene.got[key].len() + scene.missed[key] as usize;
                assert_eq!(all as u128, id - since, "seed {seed}: of {key}");
            }
            (0..since.len()).for_each(|key| scene.leave(key));
            assert_eq!((scene.table.bytes(), scene.table.members.len()), (0, 0));
        }
    }
}
