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
    header: Box<[u8]>,
    pub(crate) ack_mode: AckMode,
    /// Its deliveries come from a queue, which keeps them until they are settled.
    is_queue: bool,
    /// UNSUBSCRIBE was received, and has no reply yet.
    pub(crate) is_leaving: bool,
    /// Deliveries that may wait for an acknowledgement, or that credit is given for at once.
    pub(crate) prefetch: u32,
    pub(crate) deliveries: Deliveries,
}

/// What a subscription keeps of its deliveries.
#[derive(Debug)]
pub(crate) enum Deliveries {
    /// From a topic: how many there were. None is remembered.
    Topic { count: u64 },
    /// From a queue, the client's when they are sent: how many since credit was given.
    Automatic { count: u64 },
    /// From a queue, or a topic with credit, until an ACK or NACK is carried out.
    Unacked {
        list: VecDeque<Unacked>,
        /// How many of them have theirs in an open transaction.
        in_transactions: usize,
    },
    /// From a queue that is browsed.
    Browse {
        /// How many since credit was given.
        count: u64,
    },
}

/// The header `ack` of SUBSCRIBE.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum AckMode {
    /// A message is the client's when it is sent.
    Auto,
    /// ACK means this message and all before it.
    Client,
    /// ACK means this message.
    Individual,
}

#[derive(Debug)]
pub(crate) struct Unacked {
    tag: Tag,
    message: u128,
    /// An ACK or NACK in an open transaction.
    in_transaction: bool,
}

/// The deliveries that an ACK or NACK settles: ranges of neighbours.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    pub(crate) ranges: Vec<RangeInclusive<Tag>>,
    /// How many deliveries they are.
    pub(crate) count: usize,
    /// For how many the subscription is to be given credit.
    pub(crate) credit: usize,
    /// They come from a queue.
    pub(crate) is_queue: bool,
}

/// What an ACK or NACK names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AckId {
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
        ack_mode: AckMode,
        prefetch: u32,
        is_queue: bool,
        deliveries: Deliveries,
    ) -> SubscriptionId {
        let id = SubscriptionId(self.next);
        self.next = self.next.wrapping_add(1);
        let header = header(version, name);
        // Most sessions have few, and keep them.
        if self.list.len() < 4 {
            self.list.reserve_exact(1);
        }
        self.list.push(Subscription {
            id,
            header,
            ack_mode,
            is_queue,
            is_leaving: false,
            prefetch,
            deliveries,
        });
        id
    }

    pub(crate) fn remove(&mut self, id: SubscriptionId) -> Option<Subscription> {
        let index = self.list.binary_search_by_key(&id, |subscription| subscription.id).ok()?;
        Some(self.list.remove(index))
    }

    pub(crate) fn get_mut(&mut self, id: SubscriptionId) -> Option<&mut Subscription> {
        let index = self.list.binary_search_by_key(&id, |subscription| subscription.id).ok()?;
        self.list.get_mut(index)
    }

    pub(crate) fn named(&mut self, version: Version, name: &str) -> Option<&mut Subscription> {
        let header = header(version, name);
        self.list.iter_mut().find(|one| !one.is_leaving && one.header == header)
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
    pub(crate) fn header(&self) -> &[u8] {
        &self.header
    }

    /// How each MESSAGE begins.
    pub(crate) fn start(&self) -> &[u8] {
        self.header.get(Version::V1_2.as_str().len()..).unwrap_or_default()
    }

    /// Whether it knows which deliveries wait for an ACK or NACK.
    pub(crate) const fn remembers(&self) -> bool {
        !matches!(self.deliveries, Deliveries::Topic { .. })
    }

    /// Counts a delivery that is settled already.
    pub(crate) const fn count(&mut self) -> u64 {
        match &mut self.deliveries {
            Deliveries::Topic { count }
            | Deliveries::Automatic { count }
            | Deliveries::Browse { count } => {
                *count += 1;
                *count
            }
            Deliveries::Unacked { .. } => 0,
        }
    }

    /// For how many deliveries it should have credit: those whose ACK is in a transaction have had
    /// theirs, or a transaction could hold no more of them than `prefetch`.
    pub(crate) fn room(&self) -> usize {
        let Deliveries::Unacked { list, in_transactions } = &self.deliveries else { return 0 };
        (self.prefetch as usize).saturating_sub(list.len() - in_transactions)
    }

    /// The count of an automatic subscription that is to get credit again.
    pub(crate) fn used_credit(&mut self) -> Option<&mut u64> {
        let batch = u64::from(self.prefetch / 2).max(1);
        match &mut self.deliveries {
            Deliveries::Automatic { count } if *count >= batch && !self.is_leaving => Some(count),
            Deliveries::Topic { .. }
            | Deliveries::Automatic { .. }
            | Deliveries::Unacked { .. }
            | Deliveries::Browse { .. } => None,
        }
    }

    /// Remembers a delivery until it is acknowledged.
    pub(crate) fn remember(&mut self, tag: Tag, message: u128) {
        if let Deliveries::Unacked { list, .. } = &mut self.deliveries {
            list.push_back(Unacked { tag, message, in_transaction: false });
        }
    }

    /// Takes note of an ACK or NACK; `None` when there is no such delivery.
    pub(crate) fn acknowledge(&mut self, id: AckId, in_transaction: bool) -> Option<Acknowledged> {
        let room = self.room();
        let (list, in_transactions) = match &mut self.deliveries {
            Deliveries::Topic { count } if self.ack_mode != AckMode::Auto => {
                return id.may_be_one_of(*count).then(Acknowledged::default);
            }
            Deliveries::Unacked { list, in_transactions } => (list, in_transactions),
            Deliveries::Topic { .. } | Deliveries::Automatic { .. } | Deliveries::Browse { .. } => {
                return None;
            }
        };
        let index = id.index_in(list)?;
        let first = if self.ack_mode == AckMode::Client { 0 } else { index };
        let mut acknowledged = mark(list.range_mut(first..=index), in_transaction);
        if in_transaction {
            *in_transactions += acknowledged.count;
        } else {
            for range in &acknowledged.ranges {
                self.forget(range);
            }
        }
        acknowledged.credit = self.room() - room;
        acknowledged.is_queue = self.is_queue;
        Some(acknowledged)
    }

    /// Forgets the deliveries of a range that was acknowledged.
    pub(crate) fn forget(&mut self, tags: &RangeInclusive<Tag>) {
        let Deliveries::Unacked { list, in_transactions } = &mut self.deliveries else { return };
        let forgotten = list.drain(indexes(list, tags));
        *in_transactions -= forgotten.filter(|unacked| unacked.in_transaction).count();
        if list.is_empty() {
            *list = VecDeque::new();
        }
    }

    /// Makes the deliveries of a range that was acknowledged acknowledgeable again, after ABORT.
    pub(crate) fn give_back(&mut self, tags: &RangeInclusive<Tag>) {
        let Deliveries::Unacked { list, in_transactions } = &mut self.deliveries else { return };
        for unacked in list.range_mut(indexes(list, tags)) {
            unacked.in_transaction = false;
            *in_transactions -= 1;
        }
    }
}

impl AckId {
    /// Where the delivery is, unless an ACK or NACK of it is in a transaction.
    fn index_in(self, list: &VecDeque<Unacked>) -> Option<usize> {
        let index = match self {
            Self::Number(number) => list.binary_search_by_key(&Tag(number), |one| one.tag).ok(),
            Self::Message(id) => {
                list.iter().position(|one| one.message == id && !one.in_transaction)
            }
        };
        index.filter(|&index| list.get(index).is_some_and(|one| !one.in_transaction))
    }

    /// Whether it may name one of the first `count` deliveries from a topic, which are not
    /// remembered.
    fn may_be_one_of(self, count: u64) -> bool {
        match self {
            Self::Number(number) => (1..=count).contains(&number),
            Self::Message(_) => count > 0,
        }
    }
}

/// Collects the ranges of the deliveries that are in no transaction.
fn mark<'d>(
    deliveries: impl Iterator<Item = &'d mut Unacked>,
    in_transaction: bool,
) -> Acknowledged {
    let mut acknowledged = Acknowledged::default();
    let mut touches = false;
    for unacked in deliveries {
        if unacked.in_transaction {
            touches = false;
            continue;
        }
        unacked.in_transaction = in_transaction;
        acknowledged.count += 1;
        match acknowledged.ranges.last_mut() {
            Some(range) if touches => *range = *range.start()..=unacked.tag,
            Some(_) | None => acknowledged.ranges.push(unacked.tag..=unacked.tag),
        }
        touches = true;
    }
    acknowledged
}

/// Where the deliveries with these tags are.
fn indexes(list: &VecDeque<Unacked>, tags: &RangeInclusive<Tag>) -> Range<usize> {
    let start = list.partition_point(|one| one.tag < *tags.start());
    start..start.max(list.partition_point(|one| one.tag <= *tags.end()))
}

fn header(version: Version, name: &str) -> Box<[u8]> {
    let mut header = version.as_str().as_bytes().to_vec();
    Writer::begin(&mut header, version, Verb::Message).header("subscription", name);
    header.into()
}
