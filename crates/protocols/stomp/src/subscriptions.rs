use std::{
    collections::VecDeque,
    ops::{Range, RangeInclusive},
};

use contract::{SubscriptionId, Tag};

use crate::{Verb, Version, encode::Writer};

/// The subscriptions of a session, in the order of their numbers.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    list: Vec<Subscription>,
    next: u32,
}

#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) id: SubscriptionId,
    /// The version, then how each MESSAGE begins, with the name that the client gave it: all that
    /// tells its encoding from another's.
    head: Box<[u8]>,
    pub(crate) mode: Acknowledgement,
    pub(crate) is_queue: bool,
    /// UNSUBSCRIBE is not answered yet.
    pub(crate) is_leaving: bool,
    /// Deliveries after which credit is given back.
    pub(crate) batch: u32,
    /// Deliveries from a queue since credit was given back, or all deliveries from a topic.
    pub(crate) count: u64,
    unacked: VecDeque<Unacked>,
}

/// The header `ack` of SUBSCRIBE.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Acknowledgement {
    /// A message is the client's when it is sent.
    Auto,
    /// ACK means this message and all before it.
    Client,
    /// ACK means this message.
    Individual,
}

#[derive(Debug)]
struct Unacked {
    tag: Tag,
    message: u128,
    /// An ACK or NACK in an open transaction.
    in_transaction: bool,
}

/// The deliveries that an ACK or NACK is about: ranges of neighbours.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) ranges: Vec<RangeInclusive<Tag>>,
    /// How many deliveries they are.
    pub(crate) count: usize,
}

/// What an ACK or NACK names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which {
    /// The number in a MESSAGE's `ack` header (1.2).
    Number(u64),
    /// A `message-id` (1.0 and 1.1).
    Message(u128),
}

impl Subscriptions {
    /// All of them, those that are leaving included.
    pub(crate) const fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn add(
        &mut self,
        name: &str,
        version: Version,
        mode: Acknowledgement,
        is_queue: bool,
        batch: u32,
    ) -> SubscriptionId {
        let id = SubscriptionId(self.next);
        self.next = self.next.wrapping_add(1);
        let head = head(version, name);
        // Most sessions have few, and keep them.
        if self.list.len() < 4 {
            self.list.reserve_exact(1);
        }
        self.list.push(Subscription {
            id,
            head,
            mode,
            is_queue,
            is_leaving: false,
            batch,
            count: 0,
            unacked: VecDeque::new(),
        });
        id
    }

    pub(crate) fn remove(&mut self, id: SubscriptionId) -> Option<Subscription> {
        let place = self.list.binary_search_by_key(&id, |subscription| subscription.id).ok()?;
        Some(self.list.remove(place))
    }

    pub(crate) fn get_mut(&mut self, id: SubscriptionId) -> Option<&mut Subscription> {
        let place = self.list.binary_search_by_key(&id, |subscription| subscription.id).ok()?;
        self.list.get_mut(place)
    }

    pub(crate) fn named(&mut self, version: Version, name: &str) -> Option<&mut Subscription> {
        let head = head(version, name);
        self.list.iter_mut().find(|one| !one.is_leaving && one.head == head)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Subscription> {
        self.list.iter_mut()
    }

    /// Whether a subscription of this number has been.
    pub(crate) const fn existed(&self, id: SubscriptionId) -> bool {
        id.0 < self.next
    }
}

impl Subscription {
    /// Names everything but the message that the encoding of an automatic delivery depends on.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    /// How each MESSAGE begins.
    pub(crate) fn start(&self) -> &[u8] {
        self.head.get(Version::V1_2.as_str().len()..).unwrap_or_default()
    }

    /// Remembers a delivery until it is acknowledged.
    pub(crate) fn remember(&mut self, tag: Tag, message: u128) {
        self.unacked.push_back(Unacked { tag, message, in_transaction: false });
    }

    /// Takes what an ACK or NACK is about; `None` when there is no such delivery.
    pub(crate) fn take(&mut self, which: Which, in_transaction: bool) -> Option<Taken> {
        if self.mode == Acknowledgement::Auto {
            return None;
        }
        if !self.is_queue {
            let known = match which {
                Which::Number(number) => (1..=self.count).contains(&number),
                Which::Message(_) => self.count > 0,
            };
            return known.then(Taken::default);
        }
        let place = match which {
            Which::Number(number) => self.place(Tag(number)),
            Which::Message(id) => {
                self.unacked.iter().position(|one| one.message == id && !one.in_transaction)
            }
        };
        let place = place.filter(|place| {
            self.unacked.get(*place).is_some_and(|unacked| !unacked.in_transaction)
        })?;
        let first = if self.mode == Acknowledgement::Client { 0 } else { place };
        let mut taken = Taken::default();
        let mut touches = false;
        for unacked in self.unacked.range_mut(first..=place) {
            if unacked.in_transaction {
                touches = false;
                continue;
            }
            unacked.in_transaction = in_transaction;
            taken.count += 1;
            match taken.ranges.last_mut() {
                Some(range) if touches => *range = *range.start()..=unacked.tag,
                Some(_) | None => taken.ranges.push(unacked.tag..=unacked.tag),
            }
            touches = true;
        }
        if !in_transaction {
            for range in &taken.ranges {
                self.forget(range);
            }
        }
        Some(taken)
    }

    /// Forgets the deliveries of a range that was taken; returns how many they are.
    pub(crate) fn forget(&mut self, tags: &RangeInclusive<Tag>) -> usize {
        let count = self.unacked.drain(self.places(tags)).count();
        if self.unacked.is_empty() {
            self.unacked = VecDeque::new();
        }
        count
    }

    /// Makes the deliveries of a range that was taken acknowledgeable again, after ABORT.
    pub(crate) fn give_back(&mut self, tags: &RangeInclusive<Tag>) {
        for unacked in self.unacked.range_mut(self.places(tags)) {
            unacked.in_transaction = false;
        }
    }

    fn places(&self, tags: &RangeInclusive<Tag>) -> Range<usize> {
        let start = self.unacked.partition_point(|one| one.tag < *tags.start());
        start..start.max(self.unacked.partition_point(|one| one.tag <= *tags.end()))
    }

    fn place(&self, tag: Tag) -> Option<usize> {
        self.unacked.binary_search_by_key(&tag, |one| one.tag).ok()
    }
}

fn head(version: Version, name: &str) -> Box<[u8]> {
    let mut head = version.as_str().as_bytes().to_vec();
    Writer::begin(&mut head, version, Verb::Message).header("subscription", name);
    head.into()
}
