use std::{
    borrow::Borrow,
    hash::{BuildHasher, Hash, RandomState},
};

/// A hash map without iteration, so that its random order can have no effect.
#[expect(clippy::disallowed_types, reason = "the one place that makes it safe to use")]
#[derive(Clone, Debug)]
pub struct Map<K, V, S = RandomState>(std::collections::HashMap<K, V, S>);

impl<K, V, S: Default> Default for Map<K, V, S> {
    fn default() -> Self {
        #[expect(clippy::disallowed_types, reason = "as above")]
        Self(std::collections::HashMap::default())
    }
}

impl<K: Eq + Hash, V, S: BuildHasher> Map<K, V, S> {
    /// The value of a key.
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.0.get(key)
    }

    /// The value of a key, to change.
    pub fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.0.get_mut(key)
    }

    /// The value of a key, made when missing.
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        self.0.entry(key).or_insert_with(make)
    }

    /// Whether there is a value for the key.
    pub fn contains_key<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.0.contains_key(key)
    }

    /// Sets a value; returns the one it replaces.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert(key, value)
    }

    /// Takes a value out.
    pub fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.0.remove(key)
    }

    /// Whether something holds for all values; their order, which is random, has no effect on that.
    pub fn all(&self, holds: impl FnMut(&V) -> bool) -> bool {
        self.0.values().all(holds)
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes all values out, keeping the memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}
