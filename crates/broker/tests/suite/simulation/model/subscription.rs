//! What the model knows of one subscription.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use contract::{ConnectionId, Tag, Token};

use super::{Arrival, CommandId};

/// A subscription, from the command for it to the reply to the command for its end.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// Tells it from others that had its name.
    pub(super) serial: u64,
    pub(crate) pattern: String,
    pub(super) is_explicit: bool,
    pub(crate) phase: Phase,
    /// Deliveries that it has not settled.
    pub(crate) held: BTreeMap<Tag, u128>,
    /// Deliveries that it has settled in transactions whose end is not known.
    pub(crate) settling: BTreeSet<Tag>,
    /// The last delivery that it settled by itself.
    pub(crate) settled_last: Option<Tag>,
    held_max: usize,
    /// Deliveries that are allowed.
    credit: u64,
    /// Deliveries that came back to it with transactions that were refused.
    pub(super) restored: usize,
    /// Messages to its topics, which must come if their commands are carried out.
    pub(super) awaited: BTreeMap<u128, CommandId>,
    /// Messages to its topics that have come.
    got: BTreeSet<u128>,
    /// The latest message of each producer, destination and priority that has come.
    latest: BTreeMap<(ConnectionId, String, u8), u128>,
    /// The priority of the last message that was ready when the queues began to be emptied.
    priority_last: Option<u8>,
}

/// How far a subscription has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    Asked,
    Confirmed,
    /// By the command with this token.
    Ending(Token),
}

impl Subscription {
    pub(super) fn new(serial: u64, pattern: String, is_explicit: bool, held_max: u32) -> Self {
        Self {
            serial,
            pattern,
            is_explicit,
            phase: Phase::Asked,
            held: BTreeMap::new(),
            settling: BTreeSet::new(),
            settled_last: None,
            held_max: held_max as usize,
            credit: 0,
            restored: 0,
            awaited: BTreeMap::new(),
            got: BTreeSet::new(),
            latest: BTreeMap::new(),
            priority_last: None,
        }
    }

    pub(crate) const fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Ending(_))
    }

    /// Takes out what it has not settled of these.
    pub(super) fn take(&mut self, tags: &RangeInclusive<Tag>) -> Vec<(Tag, u128)> {
        let mut taken = Vec::new();
        self.held.retain(|&tag, &mut id| {
            let is_taken = tags.contains(&tag);
            if is_taken {
                taken.push((tag, id));
            }
            !is_taken
        });
        taken
    }

    pub(super) fn add_credit(&mut self, count: u32) {
        let count = u64::from(count);
        self.credit += count;
    }

    pub(super) fn use_credit(&mut self) {
        assert!(self.credit > 0, "more than the credit allows");
        self.credit -= 1;
    }

    /// Whether a message that is ready must come, when nothing is in flight.
    pub(super) fn is_ready(&self) -> bool {
        self.phase == Phase::Confirmed && self.credit > 0 && self.held.len() < self.held_max
    }

    /// A message has come from a topic: once.
    pub(super) fn get(&mut self, id: u128) {
        assert!(self.got.insert(id), "message {id} comes twice");
        self.awaited.remove(&id);
    }

    /// The last message of the same producer, destination and priority that came before, if it was
    /// sent later than this one.
    pub(super) fn overtaken_by(&mut self, arrival: &Arrival) -> Option<u128> {
        let key = (arrival.producer, arrival.to.clone(), arrival.priority);
        let latest = self.latest.entry(key).or_default();
        let before = *latest;
        *latest = before.max(arrival.id);
        (before > arrival.id).then_some(before)
    }

    /// The messages that were ready together come by priority.
    pub(super) fn check_priority(&mut self, priority: u8) {
        let before = self.priority_last.replace(priority).unwrap_or(u8::MAX);
        assert!(before >= priority, "priority {priority} after {before}");
    }
}
