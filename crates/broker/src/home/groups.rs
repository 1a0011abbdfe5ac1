//! Message groups: the messages of a group go to one consumer, as long as that is there.
//!
//! A queue has this once a message with a group is ready in it, and until none is left and no consumer
//! has a group. Each ready message with a group is in the set of its bucket of groups
//! ([`Group::BUCKETS`]). Those without a group are in a set up to a place in the queue, which moves on when
//! a consumer comes to the end of that set: it passes each message once, and so many in a turn of the core, so
//! that nothing is done at once for all that a queue has. A consumer takes the first of what has no group,
//! of the buckets that nobody has, and of its own; whose message it takes, that bucket it has until it leaves.
//!
//! ```text
//! nobody's --a consumer takes a message--> its own --it takes one that closes the group--> closing
//!     ^---------------- it leaves ------------+                                               |
//!     +-------- it leaves, or has settled all that was delivered to it up to that message ----+
//! ```
//!
//! While a message of a bucket waits to be delivered again, since an attempt has failed, nothing of the
//! bucket is delivered: it would overtake that.
//!
//! The sets contain what is on the disk too: who may have a message is known without its body.

use std::collections::{BTreeMap, BTreeSet};

use contract::{Group, Tag};

use super::{
    paged::AllReady,
    queue::Queue,
    selection::{Late, Search},
};
use crate::{
    effort::Effort,
    queued::{QueuePosition, QueuedMessage},
    shard_message::Subscriber,
};

/// What is ready in a queue, by the groups that it belongs to.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// What has no group, up to `walked`.
    plain: BTreeSet<QueuePosition>,
    /// The place up to which it was looked for.
    walked: Option<QueuePosition>,
    buckets: BTreeMap<u16, Bucket>,
    /// The first message of each open bucket that nobody has.
    free: BTreeSet<(QueuePosition, u16)>,
    owners: BTreeMap<Subscriber, Owner>,
    /// The buckets that are closing.
    closing: BTreeSet<u16>,
    /// Messages in `buckets`.
    grouped: usize,
}

/// The groups with a hash.
#[derive(Debug, Default)]
struct Bucket {
    /// The consumer that has it.
    owner: Option<Subscriber>,
    /// It has been delivered one that closes the group: nothing of it is delivered for now.
    closing: Option<Tag>,
    /// How many wait to be delivered again: nothing of it is delivered for now.
    failed: usize,
    ready: BTreeSet<QueuePosition>,
}

impl Bucket {
    /// Whether its messages may be delivered, to who has it.
    const fn is_open(&self) -> bool {
        self.closing.is_none() && self.failed == 0
    }

    /// Whether its messages may be delivered to a consumer.
    fn is_open_to(&self, subscriber: Subscriber) -> bool {
        self.is_open() && self.owner.is_none_or(|owner| owner == subscriber)
    }
}

/// The buckets of a consumer.
#[derive(Debug, Default)]
struct Owner {
    buckets: BTreeSet<u16>,
    /// The first message of each that is open.
    first: BTreeSet<(QueuePosition, u16)>,
}

impl Groups {
    /// A message becomes ready.
    fn insert(&mut self, position: QueuePosition, group: Option<Group>) {
        match group {
            Some(group) => {
                self.grouped += 1;
                self.change(group.bucket(), |bucket| {
                    bucket.ready.insert(position);
                });
            }
            None if Some(position) <= self.walked => {
                self.plain.insert(position);
            }
            None => {}
        }
    }

    /// A message is taken, or leaves.
    fn remove(&mut self, position: QueuePosition, group: Option<Group>) {
        match group {
            Some(group) => {
                self.grouped -= 1;
                self.change(group.bucket(), |bucket| {
                    bucket.ready.remove(&position);
                });
            }
            None => {
                self.plain.remove(&position);
            }
        }
    }

    /// The first message that a consumer may take, of what is ready.
    pub(super) fn first_for(
        &mut self,
        subscriber: Subscriber,
        ready: AllReady<'_>,
        effort: &mut Effort,
    ) -> Search {
        let own = self.owners.get(&subscriber).and_then(|owner| owner.first.first());
        let grouped = self.free.first().into_iter().chain(own).map(|&(position, _)| position).min();
        if self.plain.is_empty() && !self.walk(ready, grouped, effort) {
            return Search::Unfinished;
        }
        match grouped.into_iter().chain(self.plain.first().copied()).min() {
            Some(position) if ready.is_on_disk(position) => Search::OnDisk(position),
            Some(position) => Search::Found(position),
            None => Search::Nothing,
        }
    }

    /// Looks for the next message without a group, if that is before `end`. `false`: no more may be spent in
    /// this turn.
    fn walk(
        &mut self,
        ready: AllReady<'_>,
        end: Option<QueuePosition>,
        effort: &mut Effort,
    ) -> bool {
        for (position, group) in ready.groups_after(self.walked) {
            if end.is_some_and(|end| end <= position) {
                break;
            }
            if group.is_none() {
                self.walked = Some(position);
                self.plain.insert(position);
                break;
            }
            if effort.is_spent() {
                return false;
            }
            effort.pass();
            self.walked = Some(position);
        }
        true
    }

    /// Whether a consumer may take messages of a group.
    pub(super) fn allows(&self, subscriber: Subscriber, group: Option<Group>) -> bool {
        let bucket = group.and_then(|group| self.buckets.get(&group.bucket()));
        bucket.is_none_or(|bucket| bucket.is_open_to(subscriber))
    }

    /// A consumer has taken a message of a group, which it has from now on.
    fn assign(&mut self, subscriber: Subscriber, group: Group, tag: Tag) {
        let number = group.bucket();
        self.owners.entry(subscriber).or_default().buckets.insert(number);
        if group.closes() {
            self.closing.insert(number);
        }
        self.change(number, |bucket| {
            bucket.owner = Some(subscriber);
            bucket.closing = group.closes().then_some(tag);
        });
    }

    /// A message of a group waits to be delivered again.
    fn hold(&mut self, group: Group) {
        self.change(group.bucket(), |bucket| bucket.failed += 1);
    }

    /// It waits no more.
    fn let_go(&mut self, group: Group, late: &mut Late) {
        self.change(group.bucket(), |bucket| {
            bucket.failed = bucket.failed.saturating_sub(1);
            late.became_free(bucket.ready.iter().copied());
        });
    }

    /// The closing buckets whose consumer has settled all that was delivered to it up to a tag.
    fn closed(&self, has_settled: impl Fn(Subscriber, Tag) -> bool) -> BTreeSet<u16> {
        let is_closed = |number: &&u16| {
            let bucket = self.buckets.get(number);
            let closing = bucket.and_then(|bucket| Some((bucket.owner?, bucket.closing?)));
            closing.is_none_or(|(owner, tag)| has_settled(owner, tag))
        };
        self.closing.iter().filter(is_closed).copied().collect()
    }

    /// Nobody has these buckets, and what is ready of them anyone may take.
    fn free(&mut self, numbers: &BTreeSet<u16>, late: &mut Late) {
        for &number in numbers {
            self.closing.remove(&number);
            let mut owner = None;
            self.change(number, |bucket| {
                owner = bucket.owner.take();
                bucket.closing = None;
                late.became_free(bucket.ready.iter().copied());
            });
            if let Some(owner) = owner
                && let Some(buckets) = self.owners.get_mut(&owner)
            {
                buckets.buckets.remove(&number);
                if buckets.buckets.is_empty() {
                    self.owners.remove(&owner);
                }
            }
        }
    }

    /// Changes a bucket, and who may take the first message of it; forgets it if that leaves nothing.
    fn change(&mut self, number: u16, change: impl FnOnce(&mut Bucket)) {
        let bucket = self.buckets.entry(number).or_default();
        let place = |bucket: &Bucket| Some((*bucket.ready.first()?, number));
        if let Some(first) = place(bucket) {
            let own = bucket.owner.and_then(|owner| self.owners.get_mut(&owner));
            own.map_or(&mut self.free, |owner| &mut owner.first).remove(&first);
        }
        change(bucket);
        let first = place(bucket).filter(|_| bucket.is_open());
        match (bucket.owner, first) {
            (Some(owner), Some(first)) => {
                self.owners.entry(owner).or_default().first.insert(first);
            }
            (None, Some(first)) => {
                self.free.insert(first);
            }
            (None, None) if bucket.ready.is_empty() && bucket.failed == 0 => {
                self.buckets.remove(&number);
            }
            (Some(_) | None, None) => {}
        }
    }

    /// Whether it says nothing: no message with a group is ready, no consumer has one, and of those
    /// without none is in a set that would have to be dropped at once.
    fn is_unused(&self) -> bool {
        self.plain.is_empty() && self.buckets.is_empty()
    }

    /// Memory that it takes, in bytes, or more.
    pub(super) fn bytes(&self) -> usize {
        (self.plain.len() + self.grouped) * ENTRY_BYTES + self.buckets.len() * BUCKET_BYTES
    }

    fn assert_consistent(
        &self,
        ready: impl Iterator<Item = (QueuePosition, Option<Group>)>,
        failed: impl Iterator<Item = Group>,
    ) {
        let mut failed_in = BTreeMap::<u16, usize>::new();
        failed.for_each(|group| *failed_in.entry(group.bucket()).or_default() += 1);
        let (mut plain, mut buckets) = (BTreeSet::new(), BTreeMap::<u16, BTreeSet<_>>::new());
        for (position, group) in ready {
            match group {
                None if Some(position) <= self.walked => drop(plain.insert(position)),
                None => {}
                Some(group) => {
                    buckets.entry(group.bucket()).or_default().insert(position);
                }
            }
        }
        assert_eq!(self.plain, plain, "without a group");
        assert_eq!(self.grouped, buckets.values().map(BTreeSet::len).sum::<usize>(), "in groups");
        let (mut free, mut owned) = (BTreeSet::new(), BTreeMap::<Subscriber, Owner>::new());
        for (&number, bucket) in &self.buckets {
            let ready = buckets.remove(&number).unwrap_or_default();
            assert_eq!(bucket.ready, ready, "bucket {number}");
            assert_eq!(bucket.failed, failed_in.remove(&number).unwrap_or_default(), "in {number}");
            assert_eq!(self.closing.contains(&number), bucket.closing.is_some(), "bucket {number}");
            let first = ready.first().filter(|_| bucket.is_open());
            let first = first.map(|&position| (position, number));
            match bucket.owner {
                None => free.extend(first),
                Some(subscriber) => {
                    let owner = owned.entry(subscriber).or_default();
                    owner.buckets.insert(number);
                    owner.first.extend(first);
                }
            }
        }
        assert!(buckets.is_empty(), "buckets that are missing: {buckets:?}");
        assert!(failed_in.is_empty(), "buckets that are not held: {failed_in:?}");
        assert_eq!(self.free, free, "first messages");
        let parts = |owners: &BTreeMap<Subscriber, Owner>| -> Vec<_> {
            let owners = owners.iter();
            owners.map(|(&who, o)| (who, o.buckets.clone(), o.first.clone())).collect()
        };
        assert_eq!(parts(&self.owners), parts(&owned), "groups of consumers");
    }
}

impl Queue {
    /// A message becomes ready, in memory or on the disk.
    pub(super) fn join_group(&mut self, position: QueuePosition, group: Option<Group>) {
        if group.is_some() || self.groups.is_some() {
            self.groups.get_or_insert_default().insert(position, group);
        }
    }

    /// A message is ready no more.
    pub(super) fn leave_group(&mut self, position: QueuePosition, group: Option<Group>) {
        if let Some(groups) = &mut self.groups {
            groups.remove(position, group);
            self.drop_unused_groups();
        }
    }

    /// A message waits to be delivered again after an attempt that has failed.
    pub(super) fn hold_group(&mut self, group: Option<Group>) {
        if let Some(group) = group {
            self.groups.get_or_insert_default().hold(group);
        }
    }

    /// It waits no more.
    pub(super) fn let_group_go(&mut self, group: Option<Group>) {
        if let (Some(group), Some(groups)) = (group, &mut self.groups) {
            groups.let_go(group, &mut self.late);
            self.offered = 0;
            self.drop_unused_groups();
        }
    }

    /// A consumer has taken a message, which is delivered with this tag: its group is the consumer's.
    pub(super) fn assign_group(&mut self, subscriber: Subscriber, group: Option<Group>, tag: Tag) {
        if let Some(group) = group {
            self.groups.get_or_insert_default().assign(subscriber, group, tag);
        }
    }

    /// A consumer leaves: nobody has its groups.
    pub(super) fn free_groups(&mut self, subscriber: Subscriber) {
        let Some(groups) = &mut self.groups else { return };
        let Some(owner) = groups.owners.get(&subscriber) else { return };
        let buckets = owner.buckets.clone();
        groups.free(&buckets, &mut self.late);
        self.offered = 0;
        self.drop_unused_groups();
    }

    /// Frees the groups that are closed, where consumers have settled what was delivered.
    pub(super) fn close_groups(&mut self, has_settled: impl Fn(Subscriber, Tag) -> bool) {
        let Some(groups) = self.groups.as_mut().filter(|groups| !groups.closing.is_empty()) else {
            return;
        };
        let closed = groups.closed(has_settled);
        if !closed.is_empty() {
            groups.free(&closed, &mut self.late);
            self.offered = 0;
            self.drop_unused_groups();
        }
    }

    fn drop_unused_groups(&mut self) {
        self.groups.take_if(|groups| groups.is_unused());
    }

    /// See [`crate::Shard::assert_consistent`].
    pub(super) fn assert_groups_consistent(&self) {
        let ready = self.all_ready().groups_after(None);
        let delayed = self.delayed.iter().filter(|queued| queued.attempts > 0);
        let mut failed =
            delayed.filter_map(QueuedMessage::group).chain(self.groups_failed_on_disk());
        match &self.groups {
            Some(groups) => groups.assert_consistent(ready, failed),
            None => {
                let mut groups = ready.filter_map(|(_, group)| group).chain(&mut failed);
                assert_eq!(groups.next(), None, "a group in {:?}", self.id);
            }
        }
    }
}

/// What a message takes here: an entry in a B-tree that may be half empty.
const ENTRY_BYTES: usize = 24;

/// What a bucket takes: itself, an entry with its owner, one for its first message and a node for what is ready.
const BUCKET_BYTES: usize = 320;
