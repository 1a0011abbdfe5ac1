//! Message groups: the messages of a group go to one consumer, as long as that is there.
//!
//! A queue has this once a message with a group is ready in it, and until none is left and no consumer
//! has a group. Each ready message is in a set: that of those without a group, or that of its bucket of
//! groups ([`Group::BUCKETS`]). A consumer takes the first of what has no group, of the buckets
//! that nobody has, and of its own; whose message it takes, that bucket it has until it leaves.
//!
//! ```text
//! nobody's --a consumer takes a message--> its own --it takes one that closes the group--> closing
//!     ^---------------- it leaves ------------+                                               |
//!     +-------- it leaves, or has settled all that was delivered to it up to that message ----+
//! ```

use std::collections::{BTreeMap, BTreeSet};

use contract::{Group, Tag};

use crate::{queued::QueuePosition, shard_message::Subscriber};

/// What is ready in a queue, by the groups that it belongs to.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// What has no group.
    plain: BTreeSet<QueuePosition>,
    buckets: BTreeMap<u16, Bucket>,
    /// The first message of each bucket that nobody has.
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
    ready: BTreeSet<QueuePosition>,
}

/// The buckets of a consumer.
#[derive(Debug, Default)]
struct Owner {
    buckets: BTreeSet<u16>,
    /// The first message of each, but of those that are closing.
    first: BTreeSet<(QueuePosition, u16)>,
}

impl Groups {
    /// Those of a queue in which no ready message has a group.
    pub(super) fn new(plain: impl Iterator<Item = QueuePosition>) -> Self {
        Self { plain: plain.collect(), ..Self::default() }
    }

    /// A message becomes ready.
    pub(super) fn insert(&mut self, position: QueuePosition, group: Option<Group>) {
        match group {
            Some(group) => {
                self.grouped += 1;
                self.change(group.bucket(), |bucket| {
                    bucket.ready.insert(position);
                });
            }
            None => {
                self.plain.insert(position);
            }
        }
    }

    /// A message is taken, or leaves.
    pub(super) fn remove(&mut self, position: QueuePosition, group: Option<Group>) {
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

    /// The first message that a consumer may take.
    pub(super) fn first_for(&self, subscriber: Subscriber) -> Option<QueuePosition> {
        let own = self.owners.get(&subscriber).and_then(|owner| owner.first.first());
        let grouped = self.free.first().into_iter().chain(own).map(|&(position, _)| position);
        grouped.chain(self.plain.first().copied()).min()
    }

    /// Whether a consumer may take messages of a group.
    pub(super) fn allows(&self, subscriber: Subscriber, group: Option<Group>) -> bool {
        group.and_then(|group| self.buckets.get(&group.bucket())).is_none_or(|bucket| {
            bucket.owner.is_none_or(|owner| owner == subscriber && bucket.closing.is_none())
        })
    }

    /// A consumer has taken a message of a group, which it has from now on.
    pub(super) fn assign(&mut self, subscriber: Subscriber, group: Group, tag: Tag) {
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

    pub(super) fn is_closing_any(&self) -> bool {
        !self.closing.is_empty()
    }

    /// A consumer leaves: nobody has its groups, and what is ready of them anyone may take. `freed` is
    /// told that.
    pub(super) fn leave(
        &mut self,
        subscriber: Subscriber,
        freed: impl FnMut(QueuePosition),
    ) -> bool {
        let Some(owner) = self.owners.get(&subscriber) else { return false };
        let buckets = owner.buckets.clone();
        self.free_buckets(&buckets, freed)
    }

    /// As [`Groups::leave`], of the groups that are closed where a consumer has settled all that was
    /// delivered to it up to a tag.
    pub(super) fn close(
        &mut self,
        has_settled: impl Fn(Subscriber, Tag) -> bool,
        freed: impl FnMut(QueuePosition),
    ) -> bool {
        let is_closed = |number: &&u16| {
            let bucket = self.buckets.get(number);
            let closing = bucket.and_then(|bucket| Some((bucket.owner?, bucket.closing?)));
            closing.is_none_or(|(owner, tag)| has_settled(owner, tag))
        };
        let closed: BTreeSet<u16> = self.closing.iter().filter(is_closed).copied().collect();
        self.free_buckets(&closed, freed)
    }

    fn free_buckets(
        &mut self,
        numbers: &BTreeSet<u16>,
        mut freed: impl FnMut(QueuePosition),
    ) -> bool {
        for &number in numbers {
            self.closing.remove(&number);
            let mut owner = None;
            self.change(number, |bucket| {
                owner = bucket.owner.take();
                bucket.closing = None;
                bucket.ready.iter().copied().for_each(&mut freed);
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
        !numbers.is_empty()
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
        let first = place(bucket).filter(|_| bucket.closing.is_none());
        match (bucket.owner, first) {
            (Some(owner), Some(first)) => {
                self.owners.entry(owner).or_default().first.insert(first);
            }
            (None, Some(first)) => {
                self.free.insert(first);
            }
            (None, None) => {
                self.buckets.remove(&number);
            }
            (Some(_), None) => {}
        }
    }

    /// Whether it says nothing: no message is ready, and no consumer has a group.
    pub(super) fn is_unused(&self) -> bool {
        self.plain.is_empty() && self.buckets.is_empty()
    }

    /// Memory that it takes, in bytes, or more.
    pub(super) fn bytes(&self) -> usize {
        (self.plain.len() + self.grouped) * ENTRY_BYTES + self.buckets.len() * BUCKET_BYTES
    }

    /// See [`crate::Shard::assert_consistent`].
    pub(super) fn assert_consistent(
        &self,
        ready: impl Iterator<Item = (QueuePosition, Option<Group>)>,
    ) {
        let (mut plain, mut buckets) = (BTreeSet::new(), BTreeMap::<u16, BTreeSet<_>>::new());
        for (position, group) in ready {
            match group {
                None => drop(plain.insert(position)),
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
            assert_eq!(self.closing.contains(&number), bucket.closing.is_some(), "bucket {number}");
            let first = ready.first().map(|&position| (position, number));
            match bucket.owner {
                None => free.extend(first),
                Some(subscriber) => {
                    let owner = owned.entry(subscriber).or_default();
                    owner.buckets.insert(number);
                    owner.first.extend(first.filter(|_| bucket.closing.is_none()));
                }
            }
        }
        assert!(buckets.is_empty(), "buckets that are missing: {buckets:?}");
        assert_eq!(self.free, free, "first messages");
        let parts = |owners: &BTreeMap<Subscriber, Owner>| -> Vec<_> {
            let owners = owners.iter();
            owners.map(|(&who, o)| (who, o.buckets.clone(), o.first.clone())).collect()
        };
        assert_eq!(parts(&self.owners), parts(&owned), "groups of consumers");
    }
}

/// What a message takes here: an entry in a B-tree that may be half empty.
const ENTRY_BYTES: usize = 24;

/// What a bucket takes: itself, an entry with its owner, one for its first message and a node for what is ready.
const BUCKET_BYTES: usize = 320;
