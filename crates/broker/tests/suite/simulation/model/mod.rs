//! What clients may expect of a broker, as JMS says it: each message of a queue is settled by one
//! consumer, each message of a topic reaches all who subscribed before, and a transaction happens
//! whole or not at all.
//!
//! The model knows neither cores nor how the broker works. It is told what clients do and what they
//! get, and panics at what must not be. What it cannot know (whether a transaction was committed
//! whose connection has gone) stays open until something shows it.

mod bound;
mod buffered;
mod commands;
mod credit;
mod groups;
mod precedence;
mod queues;
mod rest;
mod selection;
mod subscription;
mod tally;
mod verdicts;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use broker::{Leave, Subscriber};
use contract::{
    ConnectionId, Credit, DeadLetterReason, Ending, Group, Lane, Outcome, Settle, SubscriptionId,
    Tag, Token,
};

use self::{
    bound::Presence,
    commands::{Kind, Pending},
    groups::GroupOwner,
    queues::{Holder, Queues},
    verdicts::Effects,
};
pub(super) use self::{
    bound::{BOUND, bound},
    rest::Depth,
    selection::SELECTORS,
    subscription::Subscription,
    tally::Tally,
    verdicts::CommandId,
};
use crate::world::Limits;

#[derive(Debug)]
pub(super) struct Model {
    limits: Limits,
    rules: Rules,
    pub(super) clients: BTreeMap<ConnectionId, Client>,
    /// Who has the groups of each queue, by their buckets.
    groups: BTreeMap<(String, u16), GroupOwner>,
    /// What each connection was handed from queues and temporary topics, in order, and is not
    /// written. Those that are closing have theirs.
    unwritten: BTreeMap<ConnectionId, VecDeque<Unwritten>>,
    queues: Queues,
    /// Whether there are durable and shared subscriptions.
    has_bound: bool,
    presences: BTreeMap<&'static str, Presence>,
    effects: BTreeMap<CommandId, Effects>,
    /// What becomes of deliveries that are settled in transactions, if these are rolled back: where
    /// their subscription has ended.
    fates: BTreeMap<(u64, Tag), Outcome>,
    /// The commands that published them.
    topic_messages: BTreeMap<u128, CommandId>,
    /// Those that may be in flight.
    topic_messages_since_rest: Vec<(Sent, CommandId)>,
    message_last: u128,
    serial_last: u64,
    /// The latest time that was ever shown: the clock may be set back.
    latest_unix_ms: u64,
    /// The messages that were ready when the queues began to be emptied, at the end.
    draining: Option<BTreeSet<u128>>,
    pub(super) tally: Tally,
}

/// What the bounds of a run may cause.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Queues and their number are not bounded: no message is refused, no dead letter is lost.
    pub(super) is_roomy: bool,
    /// Messages are so big that too many bytes may be in flight.
    pub(super) is_heavy: bool,
    /// What all queues may take, and those of one principal, is soon used up.
    pub(super) is_tight: bool,
    /// Only a few messages may wait for a connection, or on a core. Nobody browses: those who browse too much at a
    /// time have a test of their own.
    pub(super) is_narrow: bool,
    /// The disk of the store is full now and then.
    pub(super) is_filled: bool,
}

#[derive(Debug, Default)]
pub(super) struct Client {
    pending: BTreeMap<Token, Pending>,
    pub(super) subscriptions: BTreeMap<SubscriptionId, Subscription>,
    /// Its temporary destinations, and whether they are confirmed.
    pub(super) temporaries: BTreeMap<String, bool>,
}

impl Client {
    /// Whether a transaction settles a delivery that it has no reply to.
    pub(super) fn is_in_transaction(&self, id: SubscriptionId, tag: Tag) -> bool {
        self.pending.values().any(|pending| {
            let Kind::Transact(settles) = &pending.kind else { return false };
            settles.iter().any(|one| one.subscription == id && one.tags.contains(&tag))
        })
    }
}

/// A delivery that is not written to its connection yet.
#[derive(Debug)]
struct Unwritten {
    subscription: SubscriptionId,
    /// Of the subscription.
    serial: u64,
    queue: String,
    message: u128,
    tag: Option<Tag>,
    /// It is settled when it is written.
    is_automatic: bool,
    /// Its subscription has credit for one more when it is written.
    restores_credit: bool,
    cost: usize,
}

impl Unwritten {
    fn is(&self, subscription: SubscriptionId, tag: Tag) -> bool {
        (self.subscription, self.tag) == (subscription, Some(tag))
    }
}

/// Keeps the order of what it sends: a lane of a connection.
pub(super) type Producer = (ConnectionId, Lane);

/// A message as its producer sent it.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// Grows from message to message.
    pub(super) id: u128,
    pub(super) to: String,
    pub(super) lane: Lane,
    pub(super) priority: u8,
    pub(super) expires_unix_ms: Option<u64>,
    /// How long its queue is to keep it first.
    pub(super) delay_ms: u32,
    pub(super) group: Option<Group>,
    pub(super) cost: usize,
    /// The property by which some subscriptions conflate.
    pub(super) key: Option<String>,
}

impl Sent {
    const fn has_expired(&self, unix_ms: u64) -> bool {
        matches!(self.expires_unix_ms, Some(expires) if expires <= unix_ms)
    }
}

/// A message as it comes to a consumer.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) id: u128,
    pub(super) to: String,
    pub(super) producer: Producer,
    pub(super) priority: u8,
    pub(super) cost: usize,
    pub(super) group: Option<Group>,
    pub(super) tag: Option<Tag>,
    pub(super) redeliveries: u32,
    pub(super) dropped: u32,
    pub(super) key: Option<String>,
    /// Of a dead letter: the queue where it died, and why.
    pub(super) dead: Option<(String, DeadLetterReason)>,
    /// When its queue sent it, or earlier.
    pub(super) left_unix_ms: u64,
}

impl Model {
    pub(super) fn new(limits: Limits, rules: Rules, has_bound: bool) -> Self {
        Self {
            queues: Queues::new(&limits, rules.is_roomy),
            limits,
            rules,
            clients: BTreeMap::new(),
            has_bound,
            presences: BTreeMap::new(),
            groups: BTreeMap::new(),
            unwritten: BTreeMap::new(),
            effects: BTreeMap::new(),
            fates: BTreeMap::new(),
            topic_messages: BTreeMap::new(),
            topic_messages_since_rest: Vec::new(),
            message_last: 0,
            serial_last: 0,
            latest_unix_ms: 0,
            draining: None,
            tally: Tally::default(),
        }
    }

    pub(super) fn connect(&mut self, connection: ConnectionId) {
        self.clients.insert(connection, Client::default());
    }

    /// A connection sends nothing more. Its commands stay open.
    pub(super) fn closing(&mut self, connection: ConnectionId, leave: Leave) {
        let Some(client) = self.clients.remove(&connection) else { return };
        let subscriptions = client.subscriptions.into_iter();
        for (id, subscription) in subscriptions.filter(|(_, s)| !s.is_ending()) {
            let outcome = |tag: Tag| {
                let was_written = !self.unwritten(connection).any(|u| u.is(id, tag));
                let has_failed = leave == Leave::Lost && was_written;
                if has_failed { Outcome::Failed } else { Outcome::Released }
            };
            let unsettled = subscription.unsettled.iter();
            let unsettled = unsettled.map(|(&tag, &message)| (message, outcome(tag))).collect();
            let settling = subscription.settling.iter();
            let fates: Vec<_> =
                settling.map(|&tag| ((subscription.serial, tag), outcome(tag))).collect();
            self.fates.extend(fates);
            self.leaves(&subscription.pattern, Ending::Suspend);
            self.end(&subscription.pattern, unsettled);
        }
        for temporary in client.temporaries.into_keys().filter(|name| is_queue(name)) {
            self.queues.delete(&temporary);
        }
    }

    /// A connection has gone: what was not written to it never will be.
    pub(super) fn gone(&mut self, connection: ConnectionId) {
        self.closing(connection, Leave::Lost);
        for unwritten in self.unwritten.remove(&connection).unwrap_or_default() {
            if unwritten.is_automatic {
                self.end(&unwritten.queue, vec![(unwritten.message, Outcome::Released)]);
            }
        }
    }

    /// The next deliveries that a connection was handed are written.
    pub(super) fn written(&mut self, connection: ConnectionId, count: usize) {
        let Some(all) = self.unwritten.get_mut(&connection) else { return };
        let count = count.min(all.len());
        let written: Vec<Unwritten> = all.drain(..count).collect();
        for unwritten in written {
            let subscriber = Subscriber { connection, subscription: unwritten.subscription };
            if unwritten.is_automatic {
                self.queues.conclude(&unwritten.queue, unwritten.message, Outcome::Accepted);
            } else if unwritten.restores_credit
                && let Some(subscription) = self.subscription(subscriber)
                && subscription.serial == unwritten.serial
                && !subscription.allowance.is_draining()
            {
                subscription.allowance.give_back();
            }
        }
    }

    fn unwritten(&self, connection: ConnectionId) -> impl Iterator<Item = &Unwritten> {
        self.unwritten.get(&connection).into_iter().flatten()
    }

    pub(super) fn credit(&mut self, connection: ConnectionId, id: SubscriptionId, credit: Credit) {
        let Some(subscription) = self.subscription(Subscriber { connection, subscription: id })
        else {
            return;
        };
        subscription.allowance.change(credit);
        let serial = subscription.serial;
        if matches!(credit, Credit::Set(_)) {
            self.forget_credit(connection, serial);
        }
    }

    /// What a subscription has in flight leaves it no credit any more.
    pub(super) fn forget_credit(&mut self, connection: ConnectionId, serial: u64) {
        let unwritten = self.unwritten.get_mut(&connection).into_iter().flatten();
        for unwritten in unwritten.filter(|unwritten| unwritten.serial == serial) {
            unwritten.restores_credit = false;
        }
    }

    /// A consumer settles deliveries; what it does not have is ignored.
    pub(super) fn settle(&mut self, connection: ConnectionId, settle: &Settle) {
        let subscriber = Subscriber { connection, subscription: settle.subscription };
        let Some(subscription) = self.subscription(subscriber) else { return };
        let queue = subscription.pattern.clone();
        let taken = subscription.take(&settle.tags);
        subscription.settled_last = taken.last().map(|&(tag, _)| tag).or(subscription.settled_last);
        if matches!(settle.outcome, Outcome::Undeliverable { .. }) {
            subscription.excluded.extend(taken.iter().map(|&(_, id)| id));
        }
        for (_, id) in taken {
            self.queues.conclude(&queue, id, settle.outcome);
        }
    }

    pub(super) fn delivered(&mut self, to: Subscriber, arrival: &Arrival, now_ns: u64) {
        let Some(subscription) = self.subscription(to) else {
            panic!("{to:?} does not exist");
        };
        assert!(!subscription.is_ending(), "{to:?} was ended");
        assert!(subscription.selects_arrival(arrival), "{to:?} does not select {arrival:?}");
        assert!(!subscription.excluded.contains(&arrival.id), "{to:?} cannot process {arrival:?}");
        let is_local =
            |joined: &bound::Joined| joined.is_local(arrival.producer.0, to.connection, arrival.id);
        assert!(!subscription.joined.as_ref().is_some_and(is_local), "{arrival:?} is local");
        if is_queue(&subscription.pattern) || subscription.buffered.is_some() {
            let buffered = subscription.buffered.as_ref();
            let is_buffered = buffered.is_some();
            let serial = subscription.serial;
            let is_explicit = subscription.is_explicit;
            let unwritten = Unwritten {
                subscription: to.subscription,
                serial,
                queue: subscription.pattern.clone(),
                message: arrival.id,
                tag: arrival.tag,
                is_automatic: subscription.browse.is_none() && !is_explicit && buffered.is_none(),
                restores_credit: buffered.is_some_and(|b| b.has_credit) && !is_explicit,
                cost: arrival.cost,
            };
            let bytes: usize = self.unwritten(to.connection).map(|unwritten| unwritten.cost).sum();
            assert!(bytes < UNWRITTEN_BYTES_MAX, "{bytes} bytes are not written");
            let own = self.unwritten(to.connection).filter(|unwritten| unwritten.serial == serial);
            let bytes: usize = own.map(|unwritten| unwritten.cost).sum();
            let is_slow = bytes >= BUFFERED_BYTES_MAX && is_buffered;
            assert!(!is_slow, "{bytes} bytes of a subscription are not written");
            self.unwritten.entry(to.connection).or_default().push_back(unwritten);
        }
        let Some(subscription) = self.subscription(to) else { return };
        if subscription.browse.is_some() {
            self.delivered_to_browser(to, arrival);
        } else if is_queue(&subscription.pattern) {
            let queue = subscription.pattern.clone();
            self.delivered_from_queue(to, &queue, arrival);
        } else {
            self.delivered_from_topic(to, arrival, now_ns);
        }
    }

    fn delivered_from_topic(&mut self, to: Subscriber, arrival: &Arrival, now_ns: u64) {
        let Some(subscription) = self.subscription(to) else { return };
        assert!(matches(&subscription.pattern, &arrival.to), "{to:?} does not match");
        subscription.get(arrival.id);
        let overtaken_by = subscription.overtaken_by(arrival);
        assert_eq!(overtaken_by, None, "a later message has come before");
        assert_eq!(arrival.redeliveries, 0, "topics keep nothing");
        let is_explicit = subscription.is_explicit;
        match &mut subscription.buffered {
            Some(buffered) => {
                buffered.delivered(arrival, now_ns);
                let has_tag = buffered.has_credit && is_explicit;
                assert_eq!(arrival.tag.is_some(), has_tag, "whether it is settled");
                if buffered.has_credit {
                    subscription.allowance.take_one_here();
                }
                self.tally.buffered += 1;
                self.tally.dropped += u64::from(arrival.dropped);
            }
            None => assert_eq!((arrival.tag, arrival.dropped), (None, 0), "nothing waits"),
        }
        self.show_topic_message(arrival.id);
        self.tally.topic_deliveries += 1;
    }

    /// A queue shows a message, which stays in it.
    fn delivered_to_browser(&mut self, to: Subscriber, arrival: &Arrival) {
        let Some(subscription) = self.subscription(to) else { return };
        let queue = subscription.pattern.clone();
        subscription.allowance.take_one();
        subscription.get(arrival.id);
        subscription.check_priority(arrival.priority);
        let message_last = subscription.browse.as_ref().map(|browse| browse.message_last);
        assert!(Some(arrival.id) <= message_last, "it came after the browse began");
        let overtaken_by = subscription.overtaken_by(arrival);
        self.find_out_origin(&queue, arrival);
        let may_be_late = self.queues.may_be_late(&queue, arrival.id);
        assert!(overtaken_by.is_none() || may_be_late, "{overtaken_by:?} has come before");
        assert_eq!(arrival.tag, None, "what is shown is not settled");
        self.queues.show(&queue, arrival);
        self.tally.shown += 1;
    }

    fn delivered_from_queue(&mut self, to: Subscriber, queue: &str, arrival: &Arrival) {
        self.find_out(queue, arrival);
        let id = arrival.id;
        let may_be_late = self.queues.may_be_late(queue, id);
        let was_ready = self.draining.as_ref().is_some_and(|ready| ready.contains(&id));
        self.queues.deliver(queue, arrival);
        self.check_group(to, queue, arrival);
        self.check_precedence(to, queue);
        let Some(subscription) = self.subscription(to) else { return };
        subscription.allowance.take_one();
        let overtaken_by = subscription.overtaken_by(arrival);
        assert!(overtaken_by.is_none() || may_be_late, "{overtaken_by:?} has come before");
        // One of a group may have been kept back.
        if was_ready && arrival.group.is_none() {
            subscription.check_priority(arrival.priority);
        }
        assert_eq!(arrival.tag.is_some(), subscription.is_explicit, "whether it is settled");
        if let Some(tag) = arrival.tag {
            let before = subscription.unsettled.insert(tag, id);
            assert_eq!(before, None, "{tag:?} names two deliveries");
            let unsettled = subscription.unsettled.len();
            assert!(
                unsettled <= subscription.unsettled_max + subscription.restored,
                "{unsettled} are not settled"
            );
        }
        self.tally.queue_deliveries += 1;
        self.tally.bound += u64::from(bound(queue).is_some());
        self.tally.redeliveries += u64::from(arrival.redeliveries > 0);
        self.tally.dead_letters += u64::from(arrival.dead.is_some());
    }

    /// A subscription ends, and this becomes of what it has not settled.
    fn end(&mut self, pattern: &str, unsettled: Vec<(u128, Outcome)>) {
        if is_queue(pattern) {
            self.queues.disturb(pattern);
            for (id, outcome) in unsettled {
                self.queues.conclude(pattern, id, outcome);
            }
        }
    }

    pub(super) fn subscription(&mut self, subscriber: Subscriber) -> Option<&mut Subscription> {
        let client = self.clients.get_mut(&subscriber.connection)?;
        client.subscriptions.get_mut(&subscriber.subscription)
    }

    /// Whether this subscription lasts, and is not another one with its name.
    fn lasts(&self, holder: Holder) -> bool {
        let Subscriber { connection, subscription } = holder.subscriber;
        let client = self.clients.get(&connection);
        client
            .and_then(|client| client.subscriptions.get(&subscription))
            .is_some_and(|s| s.serial == holder.serial && !s.is_ending())
    }
}

/// A connection is handed no more of queues while this much is not written.
const UNWRITTEN_BYTES_MAX: usize = 256 << 10;
/// The same of a subscription to topics to which nothing is pushed.
const BUFFERED_BYTES_MAX: usize = 8 << 10;

fn is_queue(name: &str) -> bool {
    ["/queue/", "/temp-queue/", "/subscription/"].iter().any(|kind| name.starts_with(kind))
}

fn is_temporary(name: &str) -> bool {
    name.starts_with("/temp-")
}

/// Whether a subscription matches: `*` stands for one level, a final `>` or `#` for any.
fn matches(pattern: &str, name: &str) -> bool {
    let (mut patterns, mut levels) = (pattern.split(['/', '.']), name.split(['/', '.']));
    loop {
        match (patterns.next(), levels.next()) {
            (Some(">" | "#"), _) | (None, None) => return true,
            (Some(pattern), Some(level)) if pattern == level || pattern == "*" => {}
            (Some(_) | None, Some(_) | None) => return false,
        }
    }
}
