//! What a ledger says of each message, delivery and transaction.

use std::collections::BTreeMap;

use crate::kill::event::{Event, MessageId};

/// A ledger by what it is about. Times are the indices of events.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) deliveries_max: u32,
    pub(super) ordered: Vec<String>,
    pub(super) messages: BTreeMap<MessageId, Message>,
    pub(super) deliveries: BTreeMap<u32, Delivery>,
    pub(super) transactions: BTreeMap<u32, Transaction>,
    /// The queue of each subscription, and its life.
    pub(super) subscriptions: BTreeMap<u32, (String, u32)>,
    /// When a subscription ended before the gateway did, and how.
    pub(super) left: BTreeMap<u32, Left>,
    /// When a gateway was told to end, by its life.
    pub(super) stopped: BTreeMap<u32, usize>,
    pub(super) browsers: BTreeMap<u32, Browser>,
    /// Durable subscriptions: name, topic, since when.
    pub(super) bound: Vec<(String, String, usize)>,
    /// Whether all queues were emptied.
    pub(super) is_emptied: bool,
    /// What no client can have written down so.
    pub(super) contradictions: Vec<String>,
    life: u32,
}

#[derive(Debug)]
pub(super) struct Message {
    pub(super) to: String,
    pub(super) durable: bool,
    /// One, or several when a producer sent it again with all that was in the first.
    pub(super) transactions: Vec<u32>,
    pub(super) sent: usize,
    /// A producer may send it again, as the same message.
    pub(super) last_sent_life: u32,
    pub(super) confirmed: Option<usize>,
    /// In the order in which they came.
    pub(super) deliveries: Vec<u32>,
}

#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) message: MessageId,
    pub(super) from: String,
    pub(super) subscription: u32,
    pub(super) redelivered: bool,
    pub(super) at: usize,
    pub(super) life: u32,
    /// An ACK outside of transactions was sent.
    pub(super) acked: bool,
    /// Transactions that acknowledge it.
    pub(super) transactions: Vec<u32>,
    pub(super) nacked: Option<usize>,
    /// The RECEIPT of its ACK or NACK.
    pub(super) settled: Option<usize>,
}

#[derive(Debug, Default)]
pub(super) struct Transaction {
    pub(super) commit: Option<usize>,
    pub(super) committed: Option<usize>,
    pub(super) sends: Vec<MessageId>,
    pub(super) acks: Vec<u32>,
}

#[derive(Debug)]
pub(super) struct Left {
    pub(super) at: usize,
    pub(super) lost: bool,
}

#[derive(Debug)]
pub(super) struct Browser {
    pub(super) queue: String,
    pub(super) at: usize,
    pub(super) seen: Vec<(MessageId, usize)>,
}

impl History {
    pub(super) fn new(events: &[Event]) -> Self {
        let mut history = Self::default();
        for (at, event) in events.iter().enumerate() {
            if history.add(at, event).is_none() {
                history.contradictions.push(format!("event {at}, {event}: of nothing known"));
            }
        }
        history
    }

    /// Nothing, if what the event is about is not known.
    fn add(&mut self, at: usize, event: &Event) -> Option<()> {
        match event {
            Event::DeliveriesMax(count) => self.deliveries_max = *count,
            Event::Ordered(queue) => self.ordered.push(queue.clone()),
            Event::Start => self.life += 1,
            Event::Stop => {
                self.stopped.insert(self.life, at);
            }
            Event::Send { message, to, durable, transaction } => {
                if let Some(transaction) = transaction {
                    self.transactions.entry(*transaction).or_default().sends.push(*message);
                }
                let life = self.life;
                let known = self.messages.entry(*message).or_insert_with(|| Message {
                    to: to.clone(),
                    durable: *durable,
                    transactions: Vec::new(),
                    sent: at,
                    last_sent_life: life,
                    confirmed: None,
                    deliveries: Vec::new(),
                });
                known.transactions.extend(*transaction);
                known.last_sent_life = life;
            }
            Event::Confirmed(message) => {
                self.messages.get_mut(message)?.confirmed.get_or_insert(at);
            }
            Event::Commit(id) => self.transactions.entry(*id).or_default().commit = Some(at),
            Event::Committed(id) => {
                let transaction = self.transactions.get_mut(id)?;
                transaction.commit?;
                transaction.committed = Some(at);
            }
            Event::Subscribe { subscription, queue } => {
                self.subscriptions.insert(*subscription, (queue.clone(), self.life));
            }
            Event::Got { delivery, message, from, subscription, redelivered } => {
                self.subscriptions
                    .entry(*subscription)
                    .or_insert_with(|| (from.clone(), self.life));
                let got = Delivery {
                    message: *message,
                    from: from.clone(),
                    subscription: *subscription,
                    redelivered: *redelivered,
                    at,
                    life: self.life,
                    acked: false,
                    transactions: Vec::new(),
                    nacked: None,
                    settled: None,
                };
                if self.deliveries.insert(*delivery, got).is_some() {
                    self.contradictions.push(format!("two deliveries have the number {delivery}"));
                }
                // One that was never sent is found by what the checks say of deliveries.
                if let Some(message) = self.messages.get_mut(message) {
                    message.deliveries.push(*delivery);
                }
            }
            Event::Ack { delivery: id, transaction } => {
                let delivery = self.deliveries.get_mut(id)?;
                match transaction {
                    None => delivery.acked = true,
                    Some(transaction) => {
                        delivery.transactions.push(*transaction);
                        self.transactions.entry(*transaction).or_default().acks.push(*id);
                    }
                }
            }
            Event::Nack(delivery) => self.deliveries.get_mut(delivery)?.nacked = Some(at),
            Event::Settled(delivery) => {
                let delivery = self.deliveries.get_mut(delivery)?;
                (delivery.acked || delivery.nacked.is_some()).then_some(())?;
                delivery.settled = Some(at);
            }
            Event::Left { subscription, lost } => {
                self.left.insert(*subscription, Left { at, lost: *lost });
            }
            Event::Browse { browser, queue } => {
                let browse = Browser { queue: queue.clone(), at, seen: Vec::new() };
                self.browsers.insert(*browser, browse);
            }
            Event::Seen { browser, message } => {
                self.browsers.get_mut(browser)?.seen.push((*message, at));
            }
            Event::Bound { name, topic } => self.bound.push((name.clone(), topic.clone(), at)),
            Event::Empty => self.is_emptied = true,
        }
        Some(())
    }

    /// When it was confirmed that a message is kept.
    pub(super) fn confirmed(&self, message: &Message) -> Option<usize> {
        let within = self.transactions_of(message);
        within.filter_map(|transaction| transaction.committed).chain(message.confirmed).min()
    }

    /// The transactions in which a message was sent.
    pub(super) fn transactions_of(&self, message: &Message) -> impl Iterator<Item = &Transaction> {
        message.transactions.iter().filter_map(|id| self.transactions.get(id))
    }

    /// When it was confirmed that a delivery is acknowledged.
    pub(super) fn acknowledged(&self, delivery: &Delivery) -> Option<usize> {
        let alone = delivery.settled.filter(|_| delivery.acked);
        let within = delivery.transactions.iter().filter_map(|id| self.transactions.get(id));
        within.filter_map(|transaction| transaction.committed).chain(alone).min()
    }

    /// The deliveries of a message from a queue and its dead-letter queue.
    pub(super) fn deliveries(&self, message: &Message, queue: &str) -> Vec<&Delivery> {
        let known = message.deliveries.iter().filter_map(|id| self.deliveries.get(id));
        known.filter(|delivery| source(&delivery.from) == queue).collect()
    }

    /// Whether a message is in a queue, by what was delivered.
    pub(super) fn is_found(&self, message: MessageId) -> bool {
        self.messages.get(&message).is_some_and(|message| !message.deliveries.is_empty())
    }

    /// Whether the consumer of a delivery left before a time.
    pub(super) fn has_left(&self, delivery: &Delivery, before: usize) -> bool {
        let left = self.left.get(&delivery.subscription).map(|left| left.at);
        let stopped = self.stopped.get(&delivery.life).copied();
        left.into_iter().chain(stopped).any(|at| at < before)
    }

    /// Whether a delivery has failed before a time, so that the message is marked: its consumer refused
    /// it, or was lost. Of one that was told to end it is not known in which order the gateway saw what,
    /// and what it releases at its end has not failed.
    pub(super) fn has_failed(&self, delivery: &Delivery, before: usize) -> bool {
        if delivery.nacked.is_some() && delivery.settled.is_some() {
            return true;
        }
        let stopped = self.stopped.get(&delivery.life);
        let lost = self.left.get(&delivery.subscription).is_some_and(|left| left.lost);
        (delivery.nacked.is_some() || lost) && stopped.is_none_or(|stopped| before < *stopped)
    }

    /// When the first consumer of each queue has left, in each life.
    pub(super) fn first_left(&self) -> BTreeMap<(&str, u32), usize> {
        let mut first = BTreeMap::new();
        for (id, (queue, life)) in &self.subscriptions {
            let left = self.left.get(id).map(|left| left.at);
            let stopped = self.stopped.get(life).copied();
            if let Some(left) = left.into_iter().chain(stopped).min() {
                let at = first.entry((queue.as_str(), *life)).or_insert(left);
                *at = left.min(*at);
            }
        }
        first
    }

    /// What became of a transaction, as far as it shows. One that was sent again is the same as the first.
    pub(super) fn outcome(&self, transaction: &Transaction) -> Outcome {
        let durable = |id: &&MessageId| self.messages.get(id).is_some_and(|sent| sent.durable);
        match transaction {
            Transaction { commit: None, .. } => Outcome::Nothing,
            Transaction { committed: Some(_), .. } => Outcome::Happened,
            Transaction { sends, .. } if sends.iter().any(|&id| self.is_found(id)) => {
                Outcome::Happened
            }
            Transaction { sends, .. } if sends.iter().any(|id| durable(&id)) => Outcome::Nothing,
            Transaction { .. } => Outcome::Unknown,
        }
    }
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    Happened,
    /// Once all queues are empty.
    Nothing,
    /// It has sent nothing that is kept, so nothing shows it.
    Unknown,
}

/// The queue in which a message was before it was a dead letter.
pub(super) fn source(queue: &str) -> String {
    queue.strip_prefix(DEAD).map_or_else(|| queue.to_owned(), |name| format!("/queue/{name}"))
}

/// Whether it is a dead-letter queue.
pub(super) fn is_dead(queue: &str) -> bool {
    queue.starts_with(DEAD)
}

const DEAD: &str = "/queue/DLQ.";
