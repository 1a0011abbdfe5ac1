//! What a connection is handed from queues: no more than its socket takes.
//!
//! ```text
//! home --Deliver--> parked --less than a window unwritten--> handed over --written--> home: settled,
//!                                                                                     more may come
//! ```

use std::collections::VecDeque;

use contract::{ConnectionId, Delivery, Reply, Settlement, SubscriptionId, Tag, Token, internal};

use super::{Front, Subscription};
use crate::{
    event::Effect,
    output::ShardOutput,
    shard_message::{Source, Subscriber, ToHome},
};

/// What a connection was handed that is not written to its socket, and what waits for that.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// In the order in which it was handed over.
    unwritten: VecDeque<Unwritten>,
    /// What it costs.
    unwritten_bytes: usize,
    parked: VecDeque<Parked>,
    /// Subscriptions that end once what they were handed is written.
    ending: Vec<SubscriptionId>,
}

/// A delivery that was handed over.
#[derive(Clone, Copy, Debug)]
struct Unwritten {
    /// `None`: it has ended, and its home wants to know nothing more.
    subscription: Option<SubscriptionId>,
    bytes: usize,
    /// What its queue knows it by.
    tag: Option<Tag>,
    /// It is settled when it is written.
    is_automatic: bool,
}

/// What a connection is not handed yet.
#[derive(Debug)]
enum Parked {
    Delivery(SubscriptionId, Source, Delivery),
    /// The reply to a drain, which comes behind the deliveries.
    Drained(SubscriptionId, Token),
}

impl Parked {
    const fn subscription(&self) -> SubscriptionId {
        match self {
            Self::Delivery(subscription, ..) | Self::Drained(subscription, _) => *subscription,
        }
    }
}

impl Reader {
    /// One delivery may always be unwritten, however large.
    const fn is_full(&self) -> bool {
        self.unwritten_bytes >= UNWRITTEN_BYTES_MAX
    }

    /// Whether it is not known of a delivery that is settled automatically if it was written.
    fn awaits(&self, subscription: SubscriptionId) -> bool {
        self.unwritten.iter().any(|one| one.is_automatic && one.subscription == Some(subscription))
    }

    /// Whether a subscription ends later than its session knows.
    pub(super) const fn is_ending(&self) -> bool {
        !self.ending.is_empty()
    }

    /// Whether this one does.
    pub(super) fn ends(&self, subscription: SubscriptionId) -> bool {
        self.ending.contains(&subscription)
    }

    /// This one waits no longer.
    pub(super) fn forget(&mut self, subscription: SubscriptionId) {
        self.ending.retain(|&other| other != subscription);
    }

    /// Those that wait no longer, now that nothing more is written.
    pub(super) fn end(self) -> Vec<SubscriptionId> {
        self.ending
    }

    fn pop_unwritten(&mut self) -> Option<Unwritten> {
        let unwritten = self.unwritten.pop_front()?;
        self.unwritten_bytes -= unwritten.bytes;
        if self.unwritten.is_empty() {
            self.unwritten.shrink_to(UNWRITTEN_KEPT);
        }
        Some(unwritten)
    }

    pub(super) fn assert_consistent(&self) {
        let bytes: usize = self.unwritten.iter().map(|one| one.bytes).sum();
        assert_eq!(self.unwritten_bytes, bytes, "unwritten bytes");
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
        let Some(Subscription::Home { ending: None, .. }) = self.subscriptions.get(&subscriber)
        else {
            return;
        };
        let Subscriber { connection, subscription } = subscriber;
        let reader = self.readers.get_or_insert_with(connection, Reader::default);
        match source {
            Source::Queue(_) | Source::Browse if reader.is_full() => {
                reader.parked.push_back(Parked::Delivery(subscription, source, delivery));
            }
            Source::Queue(_) | Source::Browse | Source::TempTopic => {
                self.hand_over(subscriber, source, delivery, output);
            }
        }
    }

    fn hand_over(
        &mut self,
        subscriber: Subscriber,
        source: Source,
        mut delivery: Delivery,
        output: &mut ShardOutput<'_>,
    ) {
        let Subscriber { connection, subscription } = subscriber;
        let (Some(Subscription::Home { delivered, .. }), Some(reader)) =
            (self.subscriptions.get_mut(&subscriber), self.readers.get_mut(&connection))
        else {
            return internal!("a delivery is handed to a subscription that has gone");
        };
        *delivered += 1;
        let is_automatic = matches!(source, Source::Queue(Settlement::Automatic));
        let (bytes, tag) = match source {
            Source::Queue(_) => {
                self.queue_delivered += 1;
                (delivery.message.cost(), delivery.tag)
            }
            Source::Browse => (delivery.message.cost(), None),
            // Its slow readers are closed.
            Source::TempTopic => (0, None),
        };
        if is_automatic {
            // The session has nothing to settle.
            delivery.tag = None;
        }
        let subscription = Some(subscription);
        reader.unwritten.push_back(Unwritten { subscription, bytes, tag, is_automatic });
        reader.unwritten_bytes += bytes;
        output.effects.push(Effect::Deliver(subscriber, delivery));
    }

    /// A home has replied to a drain.
    pub(super) fn drained(
        &mut self,
        subscriber: Subscriber,
        token: Token,
        output: &mut ShardOutput<'_>,
    ) {
        let Subscriber { connection, subscription } = subscriber;
        match self.readers.get_mut(&connection) {
            Some(reader) if reader.parked.iter().any(|p| p.subscription() == subscription) => {
                reader.parked.push_back(Parked::Drained(subscription, token));
            }
            Some(_) | None => self.reply(connection, token, Ok(Reply::Drained), output),
        }
    }

    /// The next deliveries that a connection was handed were written to its socket.
    pub(crate) fn written(
        &mut self,
        connection: ConnectionId,
        count: usize,
        output: &mut ShardOutput<'_>,
    ) {
        let mut run: Option<Unwritten> = None;
        for _ in 0..count {
            // Without a reader the connection is closing, and no home waits for this.
            let Some(reader) = self.readers.get_mut(&connection) else { return };
            let Some(next) = reader.pop_unwritten() else {
                internal!("a delivery was written that was not handed over");
                break;
            };
            match &mut run {
                Some(run) if run.subscription == next.subscription => {
                    run.bytes += next.bytes;
                    run.tag = next.tag.or(run.tag);
                }
                Some(run) => self.report(connection, std::mem::replace(run, next), output),
                None => run = Some(next),
            }
        }
        if let Some(run) = run {
            self.report(connection, run, output);
        }
        self.unpark(connection, output);
        self.end_written(connection, output);
    }

    /// Tells a home what was written of its deliveries: at once where that settles them, else when it
    /// has come to a part of the window.
    fn report(&mut self, connection: ConnectionId, run: Unwritten, output: &mut ShardOutput<'_>) {
        let Unwritten { subscription: Some(subscription), bytes, tag, is_automatic } = run else {
            return;
        };
        let subscriber = Subscriber { connection, subscription };
        let Some(Subscription::Home { core, written, written_bytes, .. }) =
            self.subscriptions.get_mut(&subscriber)
        else {
            return;
        };
        *written = tag.unwrap_or(*written);
        *written_bytes += bytes;
        if is_automatic || *written_bytes >= REPORTED_BYTES {
            let bytes = std::mem::take(written_bytes);
            let settled = tag.filter(|_| is_automatic);
            output.send_home(*core, ToHome::Written { subscriber, bytes, settled });
        }
    }

    /// Hands over what is parked, as far as the window allows.
    fn unpark(&mut self, connection: ConnectionId, output: &mut ShardOutput<'_>) {
        while let Some(reader) = self.readers.get_mut(&connection)
            && !reader.is_full()
            && let Some(parked) = reader.parked.pop_front()
        {
            match parked {
                Parked::Delivery(subscription, source, delivery) => {
                    let subscriber = Subscriber { connection, subscription };
                    self.hand_over(subscriber, source, delivery, output);
                }
                Parked::Drained(_, token) => {
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
        let Some(reader) = self.readers.get_mut(&connection) else { return false };
        let mut drains = Vec::new();
        reader.parked.retain(|parked| {
            if let &Parked::Drained(of, token) = parked
                && of == subscription
            {
                drains.push(token);
            }
            parked.subscription() != subscription
        });
        // Another one may have its name before they are written.
        let unwritten = reader.unwritten.iter_mut().filter(|one| !one.is_automatic);
        for one in unwritten.filter(|one| one.subscription == Some(subscription)) {
            one.subscription = None;
        }
        let awaits = reader.awaits(subscription);
        if awaits {
            reader.ending.push(subscription);
        }
        for token in drains {
            self.reply(connection, token, Ok(Reply::Drained), output);
        }
        awaits
    }

    /// Ends the subscriptions at their homes of which it is known now what was written.
    fn end_written(&mut self, connection: ConnectionId, output: &mut ShardOutput<'_>) {
        let Some(reader) = self.readers.get_mut(&connection) else { return };
        if reader.ending.is_empty() {
            return;
        }
        let ending = std::mem::take(&mut reader.ending);
        let ended: Vec<SubscriptionId>;
        (reader.ending, ended) = ending.into_iter().partition(|&id| reader.awaits(id));
        for subscription in ended {
            self.end_at_home(Subscriber { connection, subscription }, output);
        }
        let is_closing = self.clients.get(&connection).is_none_or(|client| client.gone);
        if is_closing && self.readers.get(&connection).is_some_and(|r| !r.is_ending()) {
            self.readers.remove(&connection);
        }
    }
}

/// What a connection may have unwritten while it is handed more.
const UNWRITTEN_BYTES_MAX: usize = 256 << 10;
/// What was written of a subscription's deliveries before its home is told.
const REPORTED_BYTES: usize = 64 << 10;
/// Deliveries for which memory stays allocated.
const UNWRITTEN_KEPT: usize = 32;
