//! What the store contains, and where on the disk it is: at most 100 bytes of memory for a message.

use std::{collections::BTreeMap, mem, ops::RangeInclusive, sync::Arc};

use broker::{Attempts, Numbers, QueueId, QueuePosition, Terms, TransactionId};
use contract::{DeadLetterReason, Group, Header, Producer};

use crate::{
    change::{BodyId, Change},
    files::File,
    packed::PackedMap,
    record::Seed,
    unsynced::Unsynced,
};

/// The messages of all queues, their bodies, and the segments that these are in.
///
/// It changes by what is on the disk for good, so what is read here would be found after a crash.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) queues: Queues,
    /// What is to leave for a dead-letter queue; few at a time.
    pub(crate) dead_letters: BTreeMap<(QueueId, QueuePosition), DeadLetterReason>,
    /// Of the messages that have some.
    pub(crate) attempts: BTreeMap<QueueId, PackedMap<QueuePosition, Attempts>>,
    pub(crate) prepared: Prepared,
    /// The durable subscriptions.
    pub(crate) bindings: BTreeMap<QueueId, Arc<Terms>>,
    /// What has entered a queue of producers that number their messages.
    pub(crate) producers: BTreeMap<(QueueId, Producer), Numbers>,
    pub(crate) bodies: PackedMap<BodyId, Body>,
    /// [`Traits::expires_unix_ms`] of those that have one; and so on.
    pub(crate) expires: PackedMap<BodyId, u64>,
    pub(crate) due: PackedMap<BodyId, u64>,
    pub(crate) groups: PackedMap<BodyId, Group>,
    pub(crate) segments: BTreeMap<u32, Segment>,
    /// What is written behind all this, for readers.
    pub(crate) unsynced: Unsynced,
    /// While the log is read, a change may concern what a checkpoint has seen the end of already:
    /// bodies stay until [`Index::complete`].
    is_replaying: bool,
}

pub(crate) type Prepared = BTreeMap<(TransactionId, u16), Vec<Change>>;

pub(crate) type Queues = BTreeMap<QueueId, PackedMap<QueuePosition, BodyId>>;

/// Where a body is, as the record that contains it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    pub(crate) bytes: u32,
}

/// What a queue works by of a message, beside its size.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Traits {
    /// When it expires, in milliseconds since 1970.
    pub(crate) expires_unix_ms: Option<u64>,
    /// When it may be delivered, if not at once.
    pub(crate) due_unix_ms: Option<u64>,
    pub(crate) group: Option<Group>,
}

impl Traits {
    pub(crate) fn of(header: &Header) -> Self {
        Self {
            expires_unix_ms: header.expires_unix_ms,
            due_unix_ms: header.due_unix_ms(),
            group: header.group,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Body {
    pub(crate) place: Place,
    /// Positions of queues and of what is prepared that it is in.
    references: u32,
}

/// A file with bodies.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) file: Arc<dyn File>,
    pub(crate) seed: Seed,
    /// The size of the file.
    pub(crate) bytes: u64,
    /// What the bodies that are in queues take of it.
    pub(crate) live_bytes: u64,
}

const _: () = assert!(size_of::<(BodyId, Body)>() == 24);
const _: () = assert!(size_of::<(QueuePosition, BodyId)>() == 16);
const _: () = assert!(size_of::<(BodyId, u64)>() == 16);

impl Index {
    /// An index that is to be filled from the disk.
    pub(crate) fn replaying() -> Self {
        Self { is_replaying: true, ..Self::default() }
    }

    /// A body is on the disk: for the first time, or once more.
    pub(crate) fn place(&mut self, body: BodyId, place: Place) {
        if let Some(found) = self.bodies.get_mut(body) {
            let old = mem::replace(&mut found.place, place);
            self.count_live(old, false);
        } else {
            self.bodies.insert(body, Body { place, references: 0 });
        }
        self.count_live(place, true);
    }

    /// As [`Index::place`], of a body with these traits.
    pub(crate) fn place_with(
        &mut self,
        body: BodyId,
        place: Place,
        Traits { expires_unix_ms, due_unix_ms, group }: Traits,
    ) {
        self.place(body, place);
        if let Some(unix_ms) = expires_unix_ms {
            self.expires.insert(body, unix_ms);
        }
        if let Some(unix_ms) = due_unix_ms {
            self.due.insert(body, unix_ms);
        }
        if let Some(group) = group {
            self.groups.insert(body, group);
        }
    }

    /// What [`Index::place_with`] was told of a body.
    pub(crate) fn traits(&self, body: BodyId) -> Traits {
        Traits {
            expires_unix_ms: self.expires.get(body).copied(),
            due_unix_ms: self.due.get(body).copied(),
            group: self.groups.get(body).copied(),
        }
    }

    /// Drops these bodies, if they came into no queue.
    pub(crate) fn drop_unreferenced(&mut self, bodies: impl Iterator<Item = BodyId>) {
        for body in bodies {
            if self.bodies.get(body).is_some_and(|body| body.references == 0) {
                self.drop_body(body);
            }
        }
    }

    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Put(queue, position, body) => {
                self.refer(body);
                if let Some(other) = self.queues.entry(queue).or_default().insert(position, body) {
                    self.release(other);
                }
            }
            Change::Remove(queue, position) => self.remove(queue, position),
            Change::DeadLetter(queue, position, reason) => {
                if self.is_replaying || contains(&self.queues, &queue, position) {
                    self.dead_letters.insert((queue, position), reason);
                }
            }
            Change::Attempted(queue, position, attempts) => {
                if self.is_replaying || contains(&self.queues, &queue, position) {
                    self.attempts.entry(queue).or_default().insert(position, attempts);
                }
            }
            Change::Prepare(transaction, home, changes) => {
                bodies_of(&changes).for_each(|body| self.refer(body));
                // A transaction is prepared once; what a second time would replace must not stay.
                let replaced = self.prepared.insert((transaction, home), changes);
                self.release_all(&replaced.unwrap_or_default());
            }
            Change::Commit(transaction) => {
                let homes: Vec<_> =
                    self.prepared.range(homes(transaction)).map(|(&key, _)| key).collect();
                for home in homes {
                    let changes = self.prepared.remove(&home).unwrap_or_default();
                    changes.iter().cloned().for_each(|change| self.apply(change));
                    self.release_all(&changes);
                }
            }
            Change::Rollback(transaction, home) => {
                let changes = self.prepared.remove(&(transaction, home));
                self.release_all(&changes.unwrap_or_default());
            }
            Change::Bind(queue, terms) => drop(self.bindings.insert(queue, terms)),
            Change::Unbind(queue) => drop(self.bindings.remove(&queue)),
            Change::Seen(queue, producer, number) => {
                self.producers.entry((queue, producer)).or_default().insert(number);
            }
            Change::Forget(queue, producer) => drop(self.producers.remove(&(queue, producer))),
            Change::Numbers(queue, producer, numbers) => {
                self.producers.entry((queue, producer)).or_default().merge(&numbers);
            }
        }
    }

    /// Bodies and changes are written, and not synced yet: what [`Index::synced`] ends, when they come
    /// again for good.
    pub(crate) fn written(
        &mut self,
        bodies: impl IntoIterator<Item = (BodyId, Place)>,
        changes: &[Change],
    ) {
        self.unsynced.write(bodies, changes, &self.prepared);
    }

    /// All that was written is synced, and in the index itself.
    pub(crate) fn synced(&mut self) {
        self.unsynced = Unsynced::default();
    }

    /// The durable subscriptions, and what was decided and is not done yet, as the changes that say so.
    pub(crate) fn pending(&self) -> impl Iterator<Item = Change> {
        let prepared = self.prepared.iter().map(|((transaction, home), changes)| {
            Change::Prepare(*transaction, *home, changes.clone())
        });
        let bindings = self.bindings.iter();
        let bindings =
            bindings.map(|(queue, terms)| Change::Bind(queue.clone(), Arc::clone(terms)));
        let dead_letters = self.dead_letters.iter();
        prepared
            .chain(dead_letters.map(|((queue, position), reason)| {
                Change::DeadLetter(queue.clone(), *position, *reason)
            }))
            .chain(bindings)
    }

    fn remove(&mut self, queue: QueueId, position: QueuePosition) {
        let Some(positions) = self.queues.get_mut(&queue) else { return };
        let body = positions.remove(position);
        if positions.is_empty() {
            self.queues.remove(&queue);
        }
        if let Some(body) = body {
            self.release(body);
        }
        self.forget_attempts(&queue, position);
        if !self.dead_letters.is_empty() {
            self.dead_letters.remove(&(queue, position));
        }
    }

    fn forget_attempts(&mut self, queue: &QueueId, position: QueuePosition) {
        if !self.attempts.is_empty()
            && let Some(attempts) = self.attempts.get_mut(queue)
        {
            attempts.remove(position);
            if attempts.is_empty() {
                self.attempts.remove(queue);
            }
        }
    }

    /// What the disk contains was read. Transactions that are not committed are rolled back; bodies
    /// that are in no queue are dropped.
    ///
    /// # Errors
    /// The place of a message whose body is nowhere.
    pub(crate) fn complete(&mut self) -> Result<(), (QueueId, QueuePosition)> {
        self.prepared.clear();
        self.is_replaying = false;
        self.bodies.values_mut().for_each(|body| body.references = 0);
        for (queue, positions) in &self.queues {
            for (position, &body) in positions.iter() {
                let body = self.bodies.get_mut(body).ok_or_else(|| (queue.clone(), position))?;
                body.references += 1;
            }
        }
        self.bodies.retain(|_, body| body.references > 0);
        let Self { queues, dead_letters, attempts, bodies, expires, due, groups, .. } = self;
        attempts.retain(|queue, attempts| {
            attempts.retain(|position, _| contains(queues, queue, position));
            !attempts.is_empty()
        });
        expires.retain(|body, _| bodies.contains_key(body));
        due.retain(|body, _| bodies.contains_key(body));
        groups.retain(|body, _| bodies.contains_key(body));
        dead_letters.retain(|(queue, position), _| contains(queues, queue, *position));
        Ok(())
    }

    /// Adds the segments, once all bodies are known. Returns a segment that a body is in and that is
    /// not among them.
    pub(crate) fn set_segments(&mut self, segments: BTreeMap<u32, Segment>) -> Option<u32> {
        self.segments = segments;
        for body in self.bodies.values() {
            match self.segments.get_mut(&body.place.segment) {
                Some(segment) => segment.live_bytes += u64::from(body.place.bytes),
                None => return Some(body.place.segment),
            }
        }
        None
    }

    /// How many messages are in queues, one in two queues as two.
    pub(crate) fn messages(&self) -> usize {
        self.queues.values().map(PackedMap::len).sum()
    }

    fn refer(&mut self, body: BodyId) {
        if let Some(body) = self.bodies.get_mut(body) {
            body.references += 1;
        } else if !self.is_replaying {
            contract::internal!("a message without its body");
        }
    }

    fn release(&mut self, body: BodyId) {
        let Some(found) = self.bodies.get_mut(body) else { return };
        found.references = found.references.saturating_sub(1);
        if found.references == 0 && !self.is_replaying {
            self.drop_body(body);
        }
    }

    fn release_all(&mut self, changes: &[Change]) {
        bodies_of(changes).for_each(|body| self.release(body));
    }

    fn drop_body(&mut self, body: BodyId) {
        self.expires.remove(body);
        self.due.remove(body);
        self.groups.remove(body);
        if let Some(body) = self.bodies.remove(body) {
            self.count_live(body.place, false);
        }
    }

    fn count_live(&mut self, place: Place, is_live: bool) {
        let Some(segment) = self.segments.get_mut(&place.segment) else { return };
        let bytes = u64::from(place.bytes);
        segment.live_bytes = if is_live {
            segment.live_bytes + bytes
        } else {
            segment.live_bytes.saturating_sub(bytes)
        };
    }
}

/// The branches of a transaction, by the core of each.
pub(crate) fn homes(transaction: TransactionId) -> RangeInclusive<(TransactionId, u16)> {
    (transaction, 0)..=(transaction, u16::MAX)
}

fn contains(queues: &Queues, queue: &QueueId, position: QueuePosition) -> bool {
    queues.get(queue).is_some_and(|positions| positions.contains_key(position))
}

/// The bodies that changes put into queues.
fn bodies_of(changes: &[Change]) -> impl Iterator<Item = BodyId> {
    changes.iter().filter_map(|change| match change {
        Change::Put(_, _, body) => Some(*body),
        Change::Remove(..)
        | Change::DeadLetter(..)
        | Change::Attempted(..)
        | Change::Prepare(..)
        | Change::Commit(_)
        | Change::Rollback(..)
        | Change::Bind(..)
        | Change::Unbind(_)
        | Change::Seen(..)
        | Change::Forget(..)
        | Change::Numbers(..) => None,
    })
}
