//! The checker: tells from a ledger alone which promises were broken.
//!
//! It shares no code with the gateway, and knows nothing of the clients but their ledger.

mod history;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display, Formatter},
};

use self::history::{Browser, Delivery, History, Message, Outcome, is_dead, source};
use super::event::{Event, MessageId};

/// A broken promise.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    text: String,
}

/// Which promise was broken.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    /// A confirmed message is nowhere.
    Lost,
    /// A message came again after its acknowledgement was confirmed.
    Returned,
    /// A message came again while a consumer had it.
    Doubled,
    /// A message came again, or after a restart, and was not marked as redelivered.
    Unmarked,
    /// A message of a producer came after a later one.
    Order,
    /// A dead letter is in two queues, was none, or came back.
    DeadLetter,
    /// A part of a transaction was carried out.
    Half,
    /// A message came that was not sent, not sent there, or whose transaction was not committed.
    Phantom,
    /// A browser was shown what it should not have been.
    Browsed,
    /// The ledger contradicts itself.
    Ledger,
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.text)
    }
}

/// All that is wrong by this ledger.
pub(crate) fn check(events: &[Event]) -> Vec<Fault> {
    let history = History::new(events);
    let mut check = Check { history: &history, faults: Vec::new() };
    for contradiction in &history.contradictions {
        check.fault(Kind::Ledger, contradiction.clone());
    }
    check.phantoms();
    for (&id, message) in &history.messages {
        for queue in check.queues(message) {
            check.deliveries(id, message, &queue);
        }
        if history.is_emptied {
            check.lost(id, message);
        }
    }
    if history.is_emptied {
        check.transactions();
    }
    check.order();
    for (&id, browser) in &history.browsers {
        check.browser(id, browser);
    }
    check.faults
}

struct Check<'a> {
    history: &'a History,
    faults: Vec<Fault>,
}

impl Check<'_> {
    fn fault(&mut self, kind: Kind, text: String) {
        self.faults.push(Fault { kind, text });
    }

    /// The queues where a message may be.
    fn queues(&self, message: &Message) -> BTreeSet<String> {
        if !is_topic(&message.to) {
            return [message.to.clone()].into();
        }
        let bound = self.history.bound.iter();
        bound.filter(|(_, topic, _)| *topic == message.to).map(|(name, ..)| name.clone()).collect()
    }

    /// What was delivered must have been sent there, and committed before.
    fn phantoms(&mut self) {
        for (number, delivery) in &self.history.deliveries {
            let Delivery { message: id, from, at, .. } = delivery;
            let shown = format!("{id} from {from} (delivery {number})");
            let Some(message) = self.history.messages.get(id) else {
                self.fault(Kind::Phantom, format!("{shown} was never sent"));
                continue;
            };
            if !self.queues(message).contains(&source(from)) {
                self.fault(Kind::Phantom, format!("{shown} was sent to {}", message.to));
            }
            if message.sent > *at {
                self.fault(Kind::Phantom, format!("{shown} came before it was sent"));
            }
            if !self.is_committed_before(message, *at) {
                self.fault(Kind::Phantom, format!("{shown} came before its COMMIT was sent"));
            }
        }
    }

    fn is_committed_before(&self, message: &Message, at: usize) -> bool {
        let mut within = self.history.transactions_of(message);
        message.transactions.is_empty()
            || within.any(|transaction| transaction.commit.is_some_and(|commit| commit < at))
    }

    /// What came of a message in one queue, and in its dead-letter queue.
    fn deliveries(&mut self, id: MessageId, message: &Message, queue: &str) {
        let all = self.history.deliveries(message, queue);
        for (index, later) in all.iter().enumerate() {
            let before = all.get(..index).unwrap_or_default();
            let shown = format!("{id} from {}", later.from);
            if let Some(settled) = before
                .iter()
                .filter_map(|earlier| self.history.acknowledged(earlier))
                .find(|settled| *settled < later.at)
            {
                let text = format!("{shown} came at {} but was settled at {settled}", later.at);
                self.fault(Kind::Returned, text);
            }
            if let Some(last) = before.last() {
                self.again(&shown, last, later);
            }
            if is_dead(&later.from) {
                self.dead_letter(&shown, before, later);
            } else {
                self.alive(&shown, before, later);
            }
            self.marked(&shown, message, before, later);
        }
    }

    /// What comes again in the same life must have been refused, or its consumer have left.
    fn again(&mut self, shown: &str, last: &Delivery, later: &Delivery) {
        let refused = last.nacked.is_some_and(|nacked| nacked < later.at);
        let left = self.history.has_left(last, later.at);
        if last.life == later.life && !refused && !left {
            let text = format!("{shown} came at {} and {}, with no reason", last.at, later.at);
            self.fault(Kind::Doubled, text);
        }
    }

    /// A dead letter failed before.
    fn dead_letter(&mut self, shown: &str, before: &[&Delivery], later: &Delivery) {
        let refused = before.iter().any(|delivery| delivery.nacked.is_some());
        // What its consumer was sent and never read has failed too.
        let lost = || self.lost_consumers(&source(&later.from)).any(|at| at < later.at);
        if !refused && !lost() {
            self.fault(Kind::DeadLetter, format!("{shown} has never failed"));
        }
    }

    /// When consumers of a queue closed their connections without a word.
    fn lost_consumers(&self, queue: &str) -> impl Iterator<Item = usize> {
        let left = self.history.left.iter().filter(|(_, left)| left.lost);
        let of_queue = left.filter(move |(id, _)| {
            self.history.subscriptions.get(id).is_some_and(|(of, _)| of == queue)
        });
        of_queue.map(|(_, left)| left.at)
    }

    /// What is in its queue is no dead letter.
    fn alive(&mut self, shown: &str, before: &[&Delivery], later: &Delivery) {
        if before.iter().any(|delivery| is_dead(&delivery.from)) {
            self.fault(Kind::DeadLetter, format!("{shown} came from its dead-letter queue before"));
        }
        let mut refused: BTreeMap<u32, u32> = BTreeMap::new();
        for delivery in before {
            if delivery.nacked.is_some() && delivery.settled.is_some_and(|at| at < later.at) {
                *refused.entry(delivery.life).or_default() += 1;
            }
        }
        let enough = |count: &u32| *count >= self.history.deliveries_max;
        if self.history.deliveries_max > 0 && refused.values().any(enough) {
            self.fault(Kind::DeadLetter, format!("{shown} was refused as often as may be before"));
        }
    }

    /// What comes again, and what a gateway began with, is marked.
    fn marked(&mut self, shown: &str, message: &Message, before: &[&Delivery], later: &Delivery) {
        let same = before.iter().rev().find(|earlier| earlier.from == later.from);
        let has_failed = same.is_some_and(|earlier| {
            earlier.life < later.life || self.history.has_failed(earlier, later.at)
        });
        let was_restored = !is_dead(&later.from) && message.last_sent_life < later.life;
        if (has_failed || was_restored) && !later.redelivered {
            let text = format!("{shown} came at {} as if for the first time", later.at);
            self.fault(Kind::Unmarked, text);
        }
    }

    /// What was confirmed must have been delivered, and acknowledged.
    fn lost(&mut self, id: MessageId, message: &Message) {
        let Some(confirmed) = self.history.confirmed(message).filter(|_| message.durable) else {
            return;
        };
        let mut queues = self.queues(message);
        queues.retain(|queue| {
            let bound = self.history.bound.iter().find(|(name, ..)| name == queue);
            bound.is_none_or(|&(.., since)| since < message.sent)
        });
        for queue in queues {
            let deliveries = self.history.deliveries(message, &queue);
            let left = |delivery: &&Delivery| {
                let happened = |id| {
                    let transaction = self.history.transactions.get(id);
                    transaction.is_some_and(|found| self.history.outcome(found) != Outcome::Nothing)
                };
                delivery.acked || delivery.transactions.iter().any(happened)
            };
            if deliveries.iter().any(left) {
                continue;
            }
            let begun = deliveries.iter().flat_map(|delivery| &delivery.transactions);
            let mut undecided = begun.filter(|id| {
                let transaction = self.history.transactions.get(id);
                transaction.is_some_and(|found| found.commit.is_some())
            });
            let times = deliveries.len();
            let shown = format!("{id} of {queue}, confirmed at {confirmed}");
            match undecided.next_back() {
                Some(transaction) => self.fault(
                    Kind::Half,
                    format!(
                        "{shown}, is nowhere, nor is what transaction {transaction} sent that \
                         acknowledges it"
                    ),
                ),
                None => self.fault(
                    Kind::Lost,
                    format!(
                        "{shown} and delivered {times} times, was not acknowledged and is nowhere"
                    ),
                ),
            }
        }
    }

    /// A transaction takes effect as a whole.
    fn transactions(&mut self) {
        for (id, transaction) in &self.history.transactions {
            if self.history.outcome(transaction) != Outcome::Happened {
                continue;
            }
            let Some(commit) = transaction.commit else { continue };
            for sent in &transaction.sends {
                let durable = self.history.messages.get(sent).is_some_and(|sent| sent.durable);
                // One that was confirmed is lost.
                if durable && transaction.committed.is_none() {
                    self.parts(*id, *sent);
                }
            }
            let acks = transaction.acks.iter().filter_map(|id| self.history.deliveries.get(id));
            for ack in acks {
                let message = self.history.messages.get(&ack.message);
                let mut deliveries = message.iter().flat_map(|message| {
                    self.history.deliveries(message, &source(&ack.from)).into_iter()
                });
                let later = deliveries.rfind(|later| later.at > commit);
                if let Some(later) = later.filter(|_| transaction.committed.is_none()) {
                    let text = format!(
                        "{} came again at {}, but transaction {id} acknowledges it and its \
                         messages are there",
                        ack.message, later.at
                    );
                    self.fault(Kind::Half, text);
                }
            }
        }
    }

    /// A message of a transaction that was carried out is in all queues where it belongs.
    fn parts(&mut self, transaction: u32, id: MessageId) {
        let Some(message) = self.history.messages.get(&id) else { return };
        for queue in self.queues(message) {
            if self.history.deliveries(message, &queue).is_empty() {
                let text =
                    format!("{id} is not in {queue}, but more of transaction {transaction} is");
                self.fault(Kind::Half, text);
            }
        }
    }

    /// To each subscription, the messages of a producer come as they were sent, but what returns.
    fn order(&mut self) {
        let mut seen_in_life: BTreeSet<(MessageId, &str, u32)> = BTreeSet::new();
        let mut seen: BTreeSet<(MessageId, &str)> = BTreeSet::new();
        let mut last: BTreeMap<(u32, u32), MessageId> = BTreeMap::new();
        let mut last_of_queue: BTreeMap<(&str, u32), MessageId> = BTreeMap::new();
        let mut deliveries: Vec<&Delivery> = self.history.deliveries.values().collect();
        deliveries.sort_by_key(|delivery| delivery.at);
        let first_left = self.history.first_left();
        for delivery in deliveries {
            let Delivery { message: id, from, life, .. } = delivery;
            let is_first_ever = seen.insert((*id, from));
            // What a consumer had that has left without reading it may come late.
            let has_left =
                first_left.get(&(from.as_str(), *life)).is_some_and(|left| *left < delivery.at);
            if !seen_in_life.insert((*id, from, *life)) || is_dead(from) || has_left {
                continue;
            }
            let before = last.insert((delivery.subscription, id.producer), *id);
            if let Some(before) = before.filter(|before| before.number > id.number) {
                let text = format!("{id} of {from} came at {} behind {before}", delivery.at);
                self.fault(Kind::Order, text);
            } else if is_first_ever && self.history.ordered.contains(from) {
                let before = last_of_queue.insert((from, id.producer), *id);
                if let Some(before) = before.filter(|before| before.number > id.number) {
                    let text = format!(
                        "{id} of {from} came for the first time at {}, and {before} in a life \
                         before",
                        delivery.at
                    );
                    self.fault(Kind::Order, text);
                }
            }
        }
    }

    /// A browser is shown what is there, once, in the order of the queue.
    fn browser(&mut self, browser: u32, browse: &Browser) {
        let mut last: BTreeMap<u32, MessageId> = BTreeMap::new();
        for (id, at) in &browse.seen {
            let shown = format!("browser {browser} was shown {id} of {}", browse.queue);
            let Some(message) = self.history.messages.get(id) else {
                self.fault(Kind::Phantom, format!("{shown}, which was never sent"));
                continue;
            };
            if !self.queues(message).contains(&source(&browse.queue)) {
                self.fault(Kind::Browsed, format!("{shown}, which is not there"));
            }
            if !self.is_committed_before(message, *at) {
                self.fault(Kind::Browsed, format!("{shown} before its COMMIT was sent"));
            }
            let deliveries = self.history.deliveries(message, &source(&browse.queue));
            let mut settled =
                deliveries.iter().filter_map(|delivery| self.history.acknowledged(delivery));
            if settled.any(|settled| settled < browse.at) {
                self.fault(Kind::Browsed, format!("{shown}, which was settled before"));
            }
            let before = last.insert(id.producer, *id).filter(|_| !is_dead(&browse.queue));
            if let Some(before) = before.filter(|before| before.number >= id.number) {
                self.fault(Kind::Browsed, format!("{shown} behind {before}"));
            }
        }
    }
}

fn is_topic(destination: &str) -> bool {
    destination.starts_with("/topic/")
}
