//! What the model knows of one subscription.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use contract::{Credit, Group, Precedence, Refusal, Settlement, Subscribe, Tag, Token};

use super::{
    Arrival, CommandId, Producer, Sent,
    bound::Joined,
    buffered::Buffered,
    credit::Allowance,
    selection::{Selects, selects},
};

/// A subscription, from the command for it to the reply to the command for its end.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// Tells it from others that had its name.
    pub(super) serial: u64,
    pub(crate) pattern: String,
    pub(super) is_explicit: bool,
    pub(super) precedence: Precedence,
    /// Its queue has known of it since the last rest.
    pub(super) is_settled: bool,
    selects: Selects,
    /// Messages that are not to come to it again, and those of which a transaction may have said so.
    pub(super) excluded: BTreeSet<u128>,
    pub(super) may_exclude: BTreeSet<u128>,
    /// It looks at the messages of a queue.
    pub(super) browse: Option<Browse>,
    /// It is to a durable or shared one.
    pub(super) joined: Option<Joined>,
    /// It is to topics, which do not push to it.
    pub(super) buffered: Option<Buffered>,
    pub(crate) phase: Phase,
    /// Deliveries that it has not settled.
    pub(crate) unsettled: BTreeMap<Tag, u128>,
    /// Deliveries that it has settled in transactions whose end is not known.
    pub(crate) settling: BTreeSet<Tag>,
    /// The last delivery that it settled by itself.
    pub(crate) settled_last: Option<Tag>,
    /// How many it may hold.
    pub(super) unsettled_max: usize,
    pub(super) allowance: Allowance,
    /// Deliveries that came back to it with transactions that were refused.
    pub(super) restored: usize,
    /// Messages to its topics, which must come if their commands are carried out.
    pub(super) awaited: BTreeMap<u128, CommandId>,
    /// Messages that have come and cannot be settled.
    pub(super) got: BTreeSet<u128>,
    /// The latest message of each producer, destination, priority and group that has come.
    latest: BTreeMap<(Producer, String, u8, Option<u16>), u128>,
    /// The priority of the last message of those that come in the order of the queue.
    priority_last: Option<u8>,
}

/// What a subscription is to: a queue of its own where it is a durable or shared one.
pub(super) fn queue_name(subscribe: &Subscribe) -> String {
    let durable = subscribe.durable.as_ref().map(|durable| durable.name.to_string());
    durable.unwrap_or_else(|| subscribe.pattern.to_string())
}

/// How far a subscription has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    Requested,
    Confirmed,
    /// By the command with this token.
    Ending(Token),
    /// From outside: a notice comes, or the reply of an unsubscribe that is sent meanwhile.
    Cancelled(Refusal),
}

/// What a subscription that browses must and may be shown.
#[derive(Debug)]
pub(super) struct Browse {
    /// Messages that were ready when it began, in this epoch, and must come if they stay.
    pub(super) ready: Vec<u128>,
    pub(super) epoch: u64,
    /// The last message that was sent before it was confirmed.
    pub(super) message_last: u128,
}

impl Subscription {
    pub(super) fn new(serial: u64, subscribe: &Subscribe, unsettled_max: usize) -> Self {
        let mut allowance = Allowance::default();
        allowance.change(Credit::Add(subscribe.credit.unwrap_or_default()));
        Self {
            serial,
            pattern: queue_name(subscribe),
            is_explicit: subscribe.settlement == Settlement::Explicit,
            precedence: subscribe.precedence,
            is_settled: false,
            selects: selects(subscribe),
            excluded: BTreeSet::new(),
            may_exclude: BTreeSet::new(),
            browse: None,
            joined: None,
            buffered: subscribe.is_buffered().then(|| Buffered::new(subscribe)),
            phase: Phase::Requested,
            unsettled: BTreeMap::new(),
            settling: BTreeSet::new(),
            settled_last: None,
            unsettled_max,
            allowance,
            restored: 0,
            awaited: BTreeMap::new(),
            got: BTreeSet::new(),
            latest: BTreeMap::new(),
            priority_last: None,
        }
    }

    pub(super) fn selects(&self, sent: &Sent) -> bool {
        (self.selects)(sent.priority, sent.key.as_deref())
    }

    pub(super) fn selects_arrival(&self, arrival: &Arrival) -> bool {
        (self.selects)(arrival.priority, arrival.key.as_deref())
    }

    pub(crate) const fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Ending(_) | Phase::Cancelled(_))
    }

    /// Whether nothing keeps it from what is published, when nothing is in flight.
    pub(super) fn is_unblocked(&self) -> bool {
        let is_allowed = |buffered: &Buffered| !buffered.has_credit || self.allowance.is_left();
        self.phase == Phase::Confirmed && self.buffered.as_ref().is_some_and(is_allowed)
    }

    /// Takes out what it has not settled of these.
    pub(super) fn take(&mut self, tags: &RangeInclusive<Tag>) -> Vec<(Tag, u128)> {
        let mut taken = Vec::new();
        self.unsettled.retain(|&tag, &mut id| {
            let is_taken = tags.contains(&tag);
            if is_taken {
                taken.push((tag, id));
            }
            !is_taken
        });
        taken
    }

    /// Whether a message that is ready must come, when nothing is in flight.
    pub(super) fn is_ready(&self) -> bool {
        self.phase == Phase::Confirmed
            && self.browse.is_none()
            && self.allowance.is_left()
            && self.unsettled.len() < self.unsettled_max
    }

    /// A message has come from a topic, or from a queue that is browsed: once.
    pub(super) fn get(&mut self, id: u128) {
        assert!(self.got.insert(id), "message {id} comes twice");
        self.awaited.remove(&id);
    }

    /// The last message of the same producer, destination, priority and group that came before, if it was
    /// sent later than this one. Dead letters have no place in that order.
    pub(super) fn overtaken_by(&mut self, arrival: &Arrival) -> Option<u128> {
        if arrival.dead.is_some() {
            return None;
        }
        let key = match &self.buffered {
            Some(buffered) => (arrival.producer, buffered.order_key(arrival), 0, None),
            None => {
                let group = arrival.group.map(Group::bucket);
                (arrival.producer, arrival.to.clone(), arrival.priority, group)
            }
        };
        let latest = self.latest.entry(key).or_default();
        let before = *latest;
        *latest = before.max(arrival.id);
        (before > arrival.id).then_some(before)
    }

    /// Messages that are ready together come by priority.
    pub(super) fn check_priority(&mut self, priority: u8) {
        let before = self.priority_last.replace(priority).unwrap_or(u8::MAX);
        assert!(before >= priority, "priority {priority} after {before}");
    }
}
