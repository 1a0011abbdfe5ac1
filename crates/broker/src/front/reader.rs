//! What a connection is handed from queues, and by its buffered subscriptions to topics: no more than
//! its socket takes.
//!
//! ```text
//! home --Deliver--> parked --less than a window unwritten--> handed over --written--> home: settled,
//!                                                                                     more may come
//! ```

use std::{collections::VecDeque, sync::Arc};

use contract::{
    ConnectionId, Delivery, Refusal, Reply, Settlement, SubscriptionId, Tag, Token, internal,
};

use super::{End, Front, Subscription, by_bytes::ByBytes};
use crate::{
    event::Effect,
    output::ShardOutput,
    shard_message::{Source, Subscriber, ToHome, WINDOW_BYTES},
};

/// What a connection was handed that is not written to its socket, and what waits for that.
#[derive(Debug, Default)]
pub(super) struct Reader {
    handed_over: VecDeque<HandedOver>,
    /// What these cost.
    bytes: usize,
    /// The subscriptions with something that they would be handed, each once: they have their turns.
    parked: VecDeque<SubscriptionId>,
    /// The cost of what is parked and no queue has any more, as it may be with what was browsed.
    browsed_bytes: usize,
    /// The cost of what waits for its buffered subscriptions, and what it is known by among the
    /// connections for which something does.
    pub(super) waiting_bytes: usize,
    pub(super) known_bytes: usize,
    /// These subscriptions, by their keys.
    pub(super) by_waiting: ByBytes<usize>,
    /// Subscriptions that end once what they were handed is written.
    ending: Vec<SubscriptionId>,
}

/// A delivery that was handed over and is not written.
#[derive(Clone, Copy, Debug)]
struct HandedOver {
    subscription: SubscriptionId,
    /// Tells the subscription from others that had its name.
    serial: u64,
    bytes: usize,
    /// What its queue knows it by.
    tag: Option<Tag>,
    /// It is settled when it is written.
    is_automatic: bool,
}

/// What a subscription is not handed yet.
#[derive(Debug)]
pub(super) enum Parked {
    Delivery(Source, Delivery),
    /// The reply to a drain, which comes behind the deliveries.
    Drained(Token),
}

impl Parked {
    /// What it costs, if no queue has it any more.
    fn browsed_bytes(&self) -> usize {
        match self {
            Self::Delivery(Source::Browse, delivery) => delivery.message.cost(),
            Self::Delivery(Source::Queue(_) | Source::TempTopic, _) | Self::Drained(_) => 0,
        }
    }
}

impl Reader {
    /// One delivery may always be unwritten, however large.
    pub(super) const fn is_full(&self) -> bool {
        self.bytes >= WINDOW_BYTES
    }

    /// A subscription is handed what costs so much, and is settled without it.
    pub(super) fn hand_over(&mut self, subscription: SubscriptionId, serial: u64, bytes: usize) {
        let tag = None;
        let handed_over = HandedOver { subscription, serial, bytes, tag, is_automatic: false };
        self.handed_over.push_back(handed_over);
        self.bytes += bytes;
    }

    /// A subscription is to have its turn; it is not parked yet.
    pub(super) fn park(&mut self, subscription: SubscriptionId) {
        self.parked.push_back(subscription);
    }

    /// A subscription is to have no turn.
    pub(super) fn unpark(&mut self, subscription: SubscriptionId) {
        self.parked.retain(|&other| other != subscription);
    }

    pub(super) fn has_parked(&self, subscription: SubscriptionId) -> bool {
        self.parked.contains(&subscription)
    }

    fn pop_written(&mut self) -> Option<HandedOver> {
        let written = self.handed_over.pop_front()?;
        self.bytes -= written.bytes;
        if self.handed_over.is_empty() {
            self.handed_over.shrink_to(KEPT);
        }
        Some(written)
    }

    /// Whether a subscription ends later than its session knows.
    pub(super) const fn is_ending(&self) -> bool {
        !self.ending.is_empty()
    }

    /// This one waits no longer; `false`: it did not.
    pub(super) fn end(&mut self, subscription: SubscriptionId) -> bool {
        let index = self.ending.iter().position(|&other| other == subscription);
        index.map(|index| self.ending.swap_remove(index)).is_some()
    }

    /// Those that wait no longer, now that nothing more is written.
    pub(super) fn into_ending(self) -> Vec<SubscriptionId> {
        self.ending
    }

    pub(super) fn assert_consistent(&self) {
        let bytes: usize = self.handed_over.iter().map(|one| one.bytes).sum();
        assert_eq!(self.bytes, bytes, "unwritten bytes");
        assert!(self.parked.is_empty() || self.is_full(), "parked without need");
    }
}

impl Front {
    /// A delivery from a home. Without its subscription it is dropped: the queue has it unsettled, and
    /// learns of the end.
    pub(super) fn deliver(
        &mut self,
        subscriber: Subscriber,
        source: Source,
        delivery: Delivery,
        output: &mut ShardOutput<'_>,
    ) {
        let Subscriber { connection, subscription } = subscriber;
        let Some(Subscription::Home(home)) = self.subscriptions.get_mut(&subscriber) else {
            return;
        };
        if home.ending.is_some() {
            return;
        }
        if matches!(source, Source::TempTopic) {
            // As other topics: its slow readers are closed.
            self.topic_delivered += 1;
            let fan_out = Effect::Fanout(Arc::new(vec![subscriber]), delivery.message);
            return output.effects.push(fan_out);
        }
        let reader = self.readers.get_or_insert_with(connection, Reader::default);
        if !reader.is_full() {
            return self.hand_over(subscriber, source, delivery, output);
        }
        let parked = Parked::Delivery(source, delivery);
        let browsed_bytes = reader.browsed_bytes + parked.browsed_bytes();
        let limits = self.clients.get(&connection).map(|client| &client.limits);
        if reader.browsed_bytes > 0 && limits.is_some_and(|l| browsed_bytes > l.unsent_bytes_max) {
            return self.end(subscriber, End::Cancelled(Refusal::Limit), output);
        }
        reader.browsed_bytes = browsed_bytes;
        if home.parked.is_empty() {
            reader.parked.push_back(subscription);
        }
        home.parked.push_back(parked);
    }

    fn hand_over(
        &mut self,
        subscriber: Subscriber,
        source: Source,
        mut delivery: Delivery,
        output: &mut ShardOutput<'_>,
    ) {
        let Subscriber { connection, subscription } = subscriber;
        let (Some(Subscription::Home(home)), Some(reader)) =
            (self.subscriptions.get_mut(&subscriber), self.readers.get_mut(&connection))
        else {
            return internal!("a delivery is handed to a subscription that has gone");
        };
        home.delivered += 1;
        let is_automatic = matches!(source, Source::Queue(Settlement::Automatic));
        let (serial, bytes, tag) = (home.serial, delivery.message.cost(), delivery.tag);
        self.queue_delivered += u64::from(tag.is_some());
        home.handed_over = tag.unwrap_or(home.handed_over);
        if is_automatic {
            home.unwritten += 1;
            // The session has nothing to settle.
            delivery.tag = None;
        }
        let handed_over = HandedOver { subscription, serial, bytes, tag, is_automatic };
        reader.handed_over.push_back(handed_over);
        reader.bytes += bytes;
        output.effects.push(Effect::Deliver(subscriber, delivery));
    }

    /// A home has replied to a drain.
    pub(super) fn drained(
        &mut self,
        subscriber: Subscriber,
        token: Token,
        output: &mut ShardOutput<'_>,
    ) {
        match self.subscriptions.get_mut(&subscriber) {
            Some(Subscription::Home(home)) if !home.parked.is_empty() => {
                home.parked.push_back(Parked::Drained(token));
            }
            Some(_) | None => {
                self.reply(subscriber.connection, token, Ok(Reply::Drained), output);
            }
        }
    }

    /// The next deliveries that a connection was handed were written to its socket.
    pub(crate) fn written(
        &mut self,
        connection: ConnectionId,
        count: usize,
        output: &mut ShardOutput<'_>,
    ) {
        let mut run: Option<(HandedOver, usize)> = None;
        for _ in 0..count {
            // Without a reader the connection is closing, and no home waits for this.
            let Some(reader) = self.readers.get_mut(&connection) else { return };
            let Some(next) = reader.pop_written() else {
                internal!("a delivery was written that was not handed over");
                break;
            };
            match &mut run {
                Some((run, length)) if run.serial == next.serial => {
                    *length += 1;
                    run.bytes += next.bytes;
                    run.tag = next.tag.or(run.tag);
                }
                Some(run) => {
                    let (run, length) = std::mem::replace(run, (next, 1));
                    self.report(connection, run, length, output);
                }
                None => run = Some((next, 1)),
            }
        }
        if let Some((run, length)) = run {
            self.report(connection, run, length, output);
        }
        self.unpark(connection, output);
        let is_closing = self.clients.get(&connection).is_none_or(|client| client.gone);
        if is_closing && self.readers.get(&connection).is_some_and(|r| !r.is_ending()) {
            self.readers.remove(&connection);
        }
    }

    /// Tells a home what was written of its deliveries: at once where that settles them, else when it
    /// has come to a part of the window.
    fn report(
        &mut self,
        connection: ConnectionId,
        run: HandedOver,
        length: usize,
        output: &mut ShardOutput<'_>,
    ) {
        let HandedOver { subscription, serial, bytes, tag, is_automatic } = run;
        let subscriber = Subscriber { connection, subscription };
        let home = match self.subscriptions.get_mut(&subscriber) {
            Some(Subscription::Home(home)) => home,
            Some(&mut Subscription::Buffered(key)) => {
                if self.buffered.get(key).is_some_and(|buffered| buffered.serial == serial) {
                    self.written_buffered(key, length, bytes, output);
                }
                return;
            }
            Some(Subscription::Topic { .. }) | None => return,
        };
        if home.serial != serial {
            return;
        }
        home.written = tag.unwrap_or(home.written);
        home.written_bytes += bytes;
        if is_automatic || home.written_bytes >= REPORTED_BYTES {
            let bytes = std::mem::take(&mut home.written_bytes);
            let settled = tag.filter(|_| is_automatic);
            output.send_home(home.core, ToHome::Written { subscriber, bytes, settled });
        }
        if is_automatic {
            home.unwritten -= length;
            let is_last = home.unwritten == 0;
            if is_last && self.readers.get_mut(&connection).is_some_and(|r| r.end(subscription)) {
                self.end_at_home(subscriber, output);
            }
        }
    }

    /// Hands over what is parked, as far as the window allows.
    pub(super) fn unpark(&mut self, connection: ConnectionId, output: &mut ShardOutput<'_>) {
        while let Some(reader) = self.readers.get_mut(&connection)
            && !reader.is_full()
            && let Some(subscription) = reader.parked.pop_front()
        {
            let subscriber = Subscriber { connection, subscription };
            let home = match self.subscriptions.get_mut(&subscriber) {
                Some(Subscription::Home(home)) => home,
                Some(&mut Subscription::Buffered(key)) => {
                    self.take_turn(key, output);
                    continue;
                }
                Some(Subscription::Topic { .. }) | None => {
                    return internal!("a subscription has something parked and is not there");
                }
            };
            let Some(parked) = home.parked.pop_front() else {
                return internal!("a subscription has nothing parked");
            };
            reader.browsed_bytes -= parked.browsed_bytes();
            if home.parked.is_empty() {
                home.parked = VecDeque::new();
            } else {
                reader.parked.push_back(subscription);
            }
            match parked {
                Parked::Delivery(source, delivery) => {
                    self.hand_over(subscriber, source, delivery, output);
                }
                Parked::Drained(token) => {
                    self.reply(connection, token, Ok(Reply::Drained), output);
                }
            }
        }
    }

    /// A subscription ends: it is handed nothing more. Whether its home is to be told of the end
    /// later, when it is known what was written of what it was handed.
    pub(super) fn stop_reading(
        &mut self,
        subscriber: Subscriber,
        output: &mut ShardOutput<'_>,
    ) -> bool {
        let Subscriber { connection, subscription } = subscriber;
        let (Some(Subscription::Home(home)), Some(reader)) =
            (self.subscriptions.get_mut(&subscriber), self.readers.get_mut(&connection))
        else {
            return false;
        };
        let parked = std::mem::take(&mut home.parked);
        if !parked.is_empty() {
            reader.unpark(subscription);
        }
        let awaits = home.unwritten > 0;
        if awaits {
            reader.ending.push(subscription);
        }
        reader.browsed_bytes -= parked.iter().map(Parked::browsed_bytes).sum::<usize>();
        for parked in parked {
            if let Parked::Drained(token) = parked {
                self.reply(connection, token, Ok(Reply::Drained), output);
            }
        }
        awaits
    }
}

/// What was written of a subscription's deliveries before its home is told.
const REPORTED_BYTES: usize = WINDOW_BYTES / 4;
/// Deliveries for which memory stays allocated.
const KEPT: usize = 32;
