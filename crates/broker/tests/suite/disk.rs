//! What a store keeps: all batches that are stored, applied to a map.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::Arc,
};

use broker::{
    Attempts, Numbers, QueueId, QueuePosition, Record, Restored, RestoredNumbers, Terms,
    TransactionId,
};
use contract::{DeadLetterReason, Message, Producer};

/// The content of the store, were the process to end now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    messages: BTreeMap<(QueueId, QueuePosition), Kept>,
    /// The durable subscriptions.
    pub(crate) bindings: BTreeMap<QueueId, Arc<Terms>>,
    prepared: BTreeMap<TransactionId, Vec<Record>>,
    committed: BTreeSet<TransactionId>,
    producers: BTreeMap<(QueueId, Producer), Numbers>,
    /// Messages that were ever in a queue.
    entered: BTreeSet<(String, u128)>,
}

#[derive(Clone, Debug)]
struct Kept {
    message: Arc<Message>,
    /// Why it is on its way to a dead-letter queue.
    dead_letter: Option<DeadLetterReason>,
    attempts: Attempts,
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        let others = (other.dead_letter, other.attempts);
        parts(&self.message) == parts(&other.message) && (self.dead_letter, self.attempts) == others
    }
}

impl Disk {
    pub(crate) fn apply(&mut self, record: Record) {
        match record {
            Record::Put(queue, position, message) => {
                self.entered.insert((queue.to_string(), message.id));
                let kept = Kept { message, dead_letter: None, attempts: Attempts::default() };
                let before = self.messages.insert((queue, position), kept);
                assert!(before.is_none(), "two messages have one position");
            }
            Record::Remove(queue, position) => {
                let key = (queue, position);
                let removed = self.messages.remove(&key);
                // What a deleted subscription was to get may be refused yet.
                assert!(removed.is_some() || key.0.is_subscription(), "{key:?} is not stored");
            }
            Record::DeadLetter(queue, position, reason) => {
                // The home of the dead-letter queue may have been quicker.
                if let Some(kept) = self.messages.get_mut(&(queue, position)) {
                    assert_eq!(kept.dead_letter.replace(reason), None, "a dead letter twice");
                }
            }
            Record::Attempted(queue, position, attempts) => {
                // Here too.
                if let Some(kept) = self.messages.get_mut(&(queue, position)) {
                    kept.attempts = attempts;
                }
            }
            Record::Seen(queue, producer, number) => {
                let numbers = self.producers.entry((queue, producer)).or_default();
                assert!(!numbers.contains(number), "number {number} has entered twice");
                numbers.insert(number);
            }
            Record::Forget(queue, producer) => drop(self.producers.remove(&(queue, producer))),
            Record::Prepare(id, records) => self.prepared.entry(id).or_default().extend(records),
            Record::Commit(id) => {
                self.committed.insert(id);
                let records = self.prepared.remove(&id);
                records.expect("a commit of nothing").into_iter().for_each(|r| self.apply(r));
            }
            Record::Rollback(id) => {
                assert!(!self.committed.contains(&id), "{id:?} was committed");
                self.prepared.remove(&id);
            }
            Record::Bind(queue, terms) => drop(self.bindings.insert(queue, terms)),
            Record::Unbind(queue) => {
                assert!(self.bindings.remove(&queue).is_some(), "{queue} is not there");
            }
        }
    }

    /// What a process that begins with it has.
    pub(crate) fn restored(&self) -> impl Iterator<Item = Restored> {
        self.messages.iter().map(|((queue, position), kept)| Restored {
            queue: queue.clone(),
            position: *position,
            message: Arc::clone(&kept.message),
            dead_letter: kept.dead_letter,
            attempts: kept.attempts,
        })
    }

    /// What it has of producers.
    pub(crate) fn producers(&self) -> impl Iterator<Item = RestoredNumbers> {
        self.producers.iter().map(|((queue, producer), numbers)| RestoredNumbers {
            queue: queue.clone(),
            producer: producer.clone(),
            numbers: numbers.clone(),
        })
    }

    /// It begins with what another had of a producer.
    pub(crate) fn restore_numbers(&mut self, restored: RestoredNumbers) {
        self.producers.insert((restored.queue, restored.producer), restored.numbers);
    }

    /// A message as a process reads it that does not have it in memory.
    pub(crate) fn read(&self, queue: &QueueId, position: QueuePosition) -> Option<Arc<Message>> {
        let kept = self.messages.get(&(queue.clone(), position))?;
        Some(Arc::new((*kept.message).clone()))
    }

    /// Failed attempts to deliver a message that is stored in a queue.
    pub(crate) fn attempts(&self, queue: &str, message: u128) -> Option<u32> {
        let is_it =
            |id: &QueueId, kept: &Kept| kept.message.id == message && id.to_string() == queue;
        let mut all = self.messages.iter();
        all.find(|((id, _), kept)| is_it(id, kept)).map(|(_, kept)| kept.attempts.count)
    }

    /// Whether a message is stored in a queue, or was.
    pub(crate) fn has_entered(&self, queue: &str, message: u128) -> bool {
        self.entered.contains(&(queue.to_owned(), message))
    }

    /// What a process that began with the other would have otherwise; empty if nothing.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let mut differences = of_maps("at", &self.messages, &other.messages);
        differences.extend(of_maps("bound", &self.bindings, &other.bindings));
        differences.extend(of_maps("numbers of", &self.producers, &other.producers));
        differences
    }

    /// The queues that keep a message.
    pub(crate) fn queues_of(&self, message: u128) -> Vec<String> {
        let kept = self.messages.iter().filter(|(_, kept)| kept.message.id == message);
        kept.map(|((queue, _), _)| queue.to_string()).collect()
    }

    /// Whether a message would be delivered from a queue.
    pub(crate) fn delivers(&self, queue: &str, message: u128) -> bool {
        self.messages.iter().any(|((id, _), kept)| {
            kept.message.id == message && kept.dead_letter.is_none() && id.to_string() == queue
        })
    }

    /// How many messages a queue keeps.
    pub(crate) fn count(&self, queue: &str) -> usize {
        self.messages.keys().filter(|(id, _)| id.to_string() == queue).count()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.prepared.is_empty() && self.bindings.is_empty()
    }
}

/// All of a message but what is of its memory only.
pub(crate) fn parts(message: &Message) -> impl Debug + PartialEq {
    let Message { to, id, header, annotation, sender, content, .. } = message;
    (to, id, header, annotation, sender, content)
}

fn of_maps<K: Debug + Ord, V: Debug + PartialEq>(
    what: &str,
    own: &BTreeMap<K, V>,
    other: &BTreeMap<K, V>,
) -> Vec<String> {
    let keys: BTreeSet<_> = own.keys().chain(other.keys()).collect();
    let differ = keys.into_iter().filter(|key| own.get(key) != other.get(key));
    let show = |value: Option<&V>| format!("{value:?}").chars().take(400).collect::<String>();
    differ
        .map(|key| format!("{what} {key:?}: {} and {}", show(own.get(key)), show(other.get(key))))
        .collect()
}
