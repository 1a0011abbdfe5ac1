use std::{
    collections::VecDeque,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use contract::{ConflationKey, Message, SlowPolicy, Value, internal};
use hashbrown::HashTable;

/// Messages that wait for one subscription, in the order in which they are to be delivered.
#[derive(Debug)]
pub(super) struct Buffer {
    messages: VecDeque<Arc<Waiting>>,
    /// The number of the first of them; each has the next one.
    first: u64,
    /// What they cost.
    bytes: usize,
    conflation: Option<Conflation>,
}

/// A message that waits. Its memory counts once, for however many subscriptions it waits.
#[derive(Debug)]
pub(super) struct Waiting {
    message: Arc<Message>,
    bytes: usize,
    total: Arc<AtomicUsize>,
}

impl Waiting {
    /// `total`: the bytes of all messages that wait.
    pub(super) fn new(message: &Arc<Message>, total: &Arc<AtomicUsize>) -> Arc<Self> {
        let bytes = message.cost();
        total.fetch_add(bytes, Ordering::Relaxed);
        Arc::new(Self { message: Arc::clone(message), bytes, total: Arc::clone(total) })
    }
}

impl Deref for Waiting {
    type Target = Arc<Message>;

    fn deref(&self) -> &Arc<Message> {
        &self.message
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Finds the message with a key.
#[derive(Debug)]
struct Conflation {
    key: ConflationKey,
    /// The numbers of the messages that have a key, by the hash of it.
    numbers: HashTable<u64>,
    hasher: RandomState,
}

impl Buffer {
    pub(super) fn new(policy: &SlowPolicy) -> Self {
        let conflation = match policy {
            SlowPolicy::Latest(key) => Some(Conflation {
                key: key.clone(),
                numbers: HashTable::new(),
                hasher: RandomState::new(),
            }),
            SlowPolicy::Close | SlowPolicy::DropOldest => None,
        };
        Self { messages: VecDeque::new(), first: 0, bytes: 0, conflation }
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// What the messages in it cost.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a message, or replaces one with the same key by it; returns the one that was replaced.
    ///
    /// It stays where the older one was: so each key has its turn, however often the others change.
    pub(super) fn push(&mut self, message: Arc<Waiting>) -> Option<Arc<Waiting>> {
        self.bytes += message.bytes;
        let (messages, first) = (&mut self.messages, self.first);
        if let Some(conflation) = &mut self.conflation
            && let Some(hash) = conflation.hash(&message)
        {
            if let Some(&number) = conflation.find(hash, &message, messages, first) {
                let Some(place) = messages.get_mut(index(number, first)) else {
                    internal!("a key names a message that does not wait");
                    return None;
                };
                let replaced = std::mem::replace(place, message);
                self.bytes -= replaced.bytes;
                return Some(replaced);
            }
            let number = first + messages.len() as u64;
            messages.push_back(message);
            conflation.insert(hash, number, messages, first);
            return None;
        }
        messages.push_back(message);
        None
    }

    /// Takes out the message that is next.
    pub(super) fn pop(&mut self) -> Option<Arc<Waiting>> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.bytes;
        if let Some(conflation) = &mut self.conflation {
            conflation.remove(&message, self.first);
        }
        self.first += 1;
        if self.messages.is_empty() {
            self.messages.shrink_to(KEPT);
            if let Some(conflation) = &mut self.conflation {
                conflation.numbers.shrink_to(KEPT, |_| 0);
            }
        }
        Some(message)
    }

    pub(super) fn assert_consistent(&self) {
        let bytes: usize = self.messages.iter().map(|message| message.bytes).sum();
        assert_eq!(self.bytes, bytes, "bytes that wait");
        let Some(conflation) = &self.conflation else { return };
        let mut keys = 0;
        for (message, number) in self.messages.iter().zip(self.first..) {
            let Some(hash) = conflation.hash(message) else { continue };
            let found = conflation.find(hash, message, &self.messages, self.first);
            assert_eq!(found, Some(&number), "where the message with a key is");
            keys += 1;
        }
        assert_eq!(conflation.numbers.len(), keys, "keys");
    }
}

impl Conflation {
    /// The hash of a message's key, if it has one.
    fn hash(&self, message: &Message) -> Option<u64> {
        match &self.key {
            ConflationKey::Destination => Some(self.hasher.hash_one(&message.to)),
            ConflationKey::Property(name) => {
                let mut hasher = self.hasher.build_hasher();
                hash_value(message.property(name)?, &mut hasher);
                Some(hasher.finish())
            }
        }
    }

    fn find(
        &self,
        hash: u64,
        message: &Message,
        messages: &VecDeque<Arc<Waiting>>,
        first: u64,
    ) -> Option<&u64> {
        self.numbers.find(hash, |&number| {
            let other = messages.get(index(number, first));
            other.is_some_and(|other| match &self.key {
                ConflationKey::Destination => other.to == message.to,
                ConflationKey::Property(name) => other.property(name) == message.property(name),
            })
        })
    }

    fn insert(&mut self, hash: u64, number: u64, messages: &VecDeque<Arc<Waiting>>, first: u64) {
        let mut numbers = std::mem::take(&mut self.numbers);
        let rehash = |&number: &u64| {
            let message = messages.get(index(number, first));
            message.and_then(|message| self.hash(message)).unwrap_or_default()
        };
        numbers.insert_unique(hash, number, rehash);
        self.numbers = numbers;
    }

    fn remove(&mut self, message: &Message, number: u64) {
        let Some(hash) = self.hash(message) else { return };
        match self.numbers.find_entry(hash, |&other| other == number) {
            Ok(entry) => _ = entry.remove(),
            Err(_) => internal!("a message with a key is not found by it"),
        }
    }
}

/// Where the message with a number is.
fn index(number: u64, first: u64) -> usize {
    usize::try_from(number - first).unwrap_or(usize::MAX)
}

/// Floats by their bits: the two zeros are two keys, and what is no number is none.
fn hash_value(value: Value<'_>, hasher: &mut impl Hasher) {
    std::mem::discriminant(&value).hash(hasher);
    match value {
        Value::Null => {}
        Value::Bool(value) => value.hash(hasher),
        Value::I8(value) => value.hash(hasher),
        Value::I16(value) => value.hash(hasher),
        Value::I32(value) => value.hash(hasher),
        Value::I64(value) => value.hash(hasher),
        Value::F32(value) => value.to_bits().hash(hasher),
        Value::F64(value) => value.to_bits().hash(hasher),
        Value::String(value) => value.hash(hasher),
        Value::Bytes(value) => value.hash(hasher),
    }
}

/// Messages for which memory stays allocated.
const KEPT: usize = 16;

#[cfg(test)]
mod tests {
    use contract::{Body, Destination, Parts};

    use super::*;

    fn message(id: u128, to: &str, key: Option<&str>) -> Arc<Waiting> {
        let mut parts = Parts::new(Body::Text("x".into()));
        if let Some(key) = key {
            parts.properties.push("key", key);
        }
        let message = Message::new(Destination::parse(to).unwrap(), id, 0, parts);
        Waiting::new(&Arc::new(message), &Arc::default())
    }

    fn ids(buffer: &mut Buffer) -> Vec<u128> {
        std::iter::from_fn(|| buffer.pop()).map(|message| message.id).collect()
    }

    #[test]
    fn the_latest_of_a_destination_is_where_the_first_was() {
        let mut buffer = Buffer::new(&SlowPolicy::Latest(ConflationKey::Destination));
        let replaced: Vec<Option<u128>> = ["a", "b", "c", "a", "b", "a"]
            .iter()
            .zip(1..)
            .map(|(to, id)| buffer.push(message(id, &format!("/topic/{to}"), None)).map(|m| m.id))
            .collect();
        assert_eq!(replaced, [None, None, None, Some(1), Some(2), Some(4)]);
        buffer.assert_consistent();
        assert_eq!(buffer.pop().map(|message| message.id), Some(6));
        assert_eq!(buffer.push(message(7, "/topic/a", None)).map(|m| m.id), None);
        buffer.assert_consistent();
        assert_eq!(ids(&mut buffer), [5, 3, 7]);
        assert_eq!((buffer.len(), buffer.bytes()), (0, 0));
    }

    #[test]
    fn a_message_without_the_property_is_replaced_by_none() {
        let key = ConflationKey::Property("key".into());
        let mut buffer = Buffer::new(&SlowPolicy::Latest(key));
        for (id, key) in [(1, Some("x")), (2, None), (3, Some("")), (4, None), (5, Some("x"))] {
            buffer.push(message(id, "/topic/a", key));
            buffer.assert_consistent();
        }
        buffer.push(message(6, "/topic/b", Some("")));
        assert_eq!(ids(&mut buffer), [5, 2, 6, 4]);
    }

    #[test]
    fn many_keys_are_found_again() {
        let mut buffer = Buffer::new(&SlowPolicy::Latest(ConflationKey::Destination));
        for id in 0..5_000 {
            buffer.push(message(id, &format!("/topic/{}", id % 1_000), None));
        }
        buffer.assert_consistent();
        assert_eq!(ids(&mut buffer), (4_000..5_000).collect::<Vec<_>>());
    }

    #[test]
    fn without_keys_nothing_is_replaced() {
        for policy in [SlowPolicy::Close, SlowPolicy::DropOldest] {
            let mut buffer = Buffer::new(&policy);
            assert!((1..4).all(|id| buffer.push(message(id, "/topic/a", None)).is_none()));
            assert_eq!(ids(&mut buffer), [1, 2, 3]);
        }
    }
}
