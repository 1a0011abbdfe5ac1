//! An ordered map that takes little more memory than what is in it.

use std::{collections::VecDeque, mem, ops::Bound};

/// An ordered map of small keys and values in sorted runs of up to [`RUN_MAX`] entries. Keys mostly come
/// in their order, as those of a log do: then runs are full, where the nodes of a
/// [`std::collections::BTreeMap`] are half empty.
///
/// An operation takes the time of two binary searches and of moving one run; the first and the last
/// entries are as cheap to remove as others.
#[derive(Clone, Debug)]
pub(crate) struct PackedMap<K, V> {
    /// None is empty, and each is behind the one before.
    runs: VecDeque<Vec<(K, V)>>,
    len: usize,
}

impl<K, V> Default for PackedMap<K, V> {
    fn default() -> Self {
        Self { runs: VecDeque::new(), len: 0 }
    }
}

impl<K: Copy + Ord, V> PackedMap<K, V> {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn contains_key(&self, key: K) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn get(&self, key: K) -> Option<&V> {
        let run = self.runs.get(self.run_of(key))?;
        let index = find(run, key).ok()?;
        run.get(index).map(|(_, value)| value)
    }

    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let number = self.run_of(key);
        let run = self.runs.get_mut(number)?;
        let index = find(run, key).ok()?;
        run.get_mut(index).map(|(_, value)| value)
    }

    /// Inserts a value; returns the one that it replaces.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let number = self.run_of(key);
        let Some(run) = self.runs.get_mut(number) else {
            self.runs.push_back(vec![(key, value)]);
            self.len += 1;
            return None;
        };
        let index = match find(run, key) {
            Ok(index) => {
                let old = run.get_mut(index)?;
                return Some(mem::replace(&mut old.1, value));
            }
            Err(index) => index,
        };
        self.len += 1;
        if run.len() < RUN_MAX {
            make_room(run);
            run.insert(index, (key, value));
            return None;
        }
        // Behind the last one nothing is moved, so that what comes in order leaves full runs.
        let at = if index == RUN_MAX { RUN_MAX } else { RUN_MAX / 2 };
        let mut behind = run.split_off(at);
        run.shrink_to_fit();
        if index > at || behind.is_empty() {
            make_room(&mut behind);
            behind.insert(index - at, (key, value));
        } else {
            make_room(run);
            run.insert(index, (key, value));
        }
        self.runs.insert(number + 1, behind);
        None
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<V> {
        let number = self.run_of(key);
        let run = self.runs.get_mut(number)?;
        let index = find(run, key).ok()?;
        let (_, value) = run.remove(index);
        self.len -= 1;
        if run.is_empty() {
            self.runs.remove(number);
        } else if run.len() * 4 <= run.capacity() {
            self.shrink(number);
        }
        Some(value)
    }

    /// Gives back what a run does not use, or moves its entries to the next one, if both stay small.
    fn shrink(&mut self, number: usize) {
        let len = |number| self.runs.get(number).map(Vec::len);
        let number = match (len(number), len(number + 1), number.checked_sub(1).and_then(len)) {
            (Some(own), Some(next), _) if own + next <= RUN_MAX / 2 => number,
            (Some(own), _, Some(previous)) if own + previous <= RUN_MAX / 2 => number - 1,
            _ => {
                if let Some(run) = self.runs.get_mut(number) {
                    run.shrink_to(run.len() * 2);
                }
                return;
            }
        };
        let behind = self.runs.remove(number + 1).unwrap_or_default();
        if let Some(run) = self.runs.get_mut(number) {
            run.reserve_exact(behind.len());
            run.extend(behind);
        }
    }

    /// Keeps the entries of which this is true.
    pub(crate) fn retain(&mut self, mut keeps: impl FnMut(K, &V) -> bool) {
        for run in &mut self.runs {
            run.retain(|(key, value)| keeps(*key, value));
            if run.len() * 2 <= run.capacity() {
                run.shrink_to_fit();
            }
        }
        self.runs.retain(|run| !run.is_empty());
        self.len = self.runs.iter().map(Vec::len).sum();
    }

    pub(crate) fn last_key(&self) -> Option<K> {
        self.runs.back().and_then(|run| run.last()).map(|(key, _)| *key)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.runs.iter().flatten().map(|(_, value)| value)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.runs.iter_mut().flatten().map(|(_, value)| value)
    }

    /// The entries in the order of their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.runs.iter().flatten().map(|(key, value)| (*key, value))
    }

    /// Those behind a key, or all.
    pub(crate) fn iter_from(&self, from: Bound<K>) -> impl Iterator<Item = (K, &V)> {
        let (number, index) = match from {
            Bound::Unbounded => (0, 0),
            Bound::Included(key) | Bound::Excluded(key) => {
                let number = self.run_of(key);
                let found = self.runs.get(number).map_or(Err(0), |run| find(run, key));
                let is_passed = matches!(from, Bound::Excluded(_)) && found.is_ok();
                let (Ok(index) | Err(index)) = found;
                (number, index + usize::from(is_passed))
            }
        };
        let first = self.runs.get(number).and_then(|run| run.get(index..)).unwrap_or_default();
        let others = self.runs.range((number + 1).min(self.runs.len())..).flatten();
        first.iter().chain(others).map(|(key, value)| (*key, value))
    }

    /// The run in which a key is or belongs: the last one that does not begin behind it.
    fn run_of(&self, key: K) -> usize {
        let begins_behind = |run: &Vec<(K, V)>| run.first().is_some_and(|(first, _)| *first > key);
        self.runs.partition_point(|run| !begins_behind(run)).saturating_sub(1)
    }
}

fn find<K: Copy + Ord, V>(run: &[(K, V)], key: K) -> Result<usize, usize> {
    run.binary_search_by(|(other, _)| other.cmp(&key))
}

/// Room for one entry more, without more than there will ever be.
fn make_room<T>(run: &mut Vec<T>) {
    if run.len() == run.capacity() {
        run.reserve_exact(run.len().clamp(1, RUN_MAX - run.len()));
    }
}

/// Entries of a run.
const RUN_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use testkit::Random;

    use super::*;

    #[test]
    fn it_is_as_a_map_of_the_standard_library() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let (mut packed, mut model) = (PackedMap::default(), BTreeMap::new());
            let (keys, grows) = (random.pick(&[10, 200, 2_000]), random.pick(&[2, 3, 10]));
            for step in 0..2_000_u64 {
                // In order, or anywhere.
                let any = random.below(keys) as u64;
                let key = if random.once_in(2) { step } else { any };
                if random.once_in(grows) {
                    assert_eq!(packed.remove(any), model.remove(&any), "seed {seed}");
                } else {
                    assert_eq!(packed.insert(key, step), model.insert(key, step), "seed {seed}");
                }
                assert_eq!(packed.get(any), model.get(&any));
                assert_eq!(packed.get_mut(any), model.get_mut(&any));
                assert_eq!(packed.contains_key(key), model.contains_key(&key));
                assert_eq!((packed.len(), packed.is_empty()), (model.len(), model.is_empty()));
                assert_eq!(packed.last_key(), model.last_key_value().map(|(&key, _)| key));
                if step % 50 == 0 {
                    for from in [Bound::Unbounded, Bound::Included(any), Bound::Excluded(any)] {
                        let range = model.range((from, Bound::Unbounded)).map(|(&k, v)| (k, v));
                        assert!(packed.iter_from(from).eq(range), "seed {seed} from {from:?}");
                    }
                    assert!(packed.iter().eq(model.iter().map(|(&key, value)| (key, value))));
                }
                if random.once_in(500) {
                    packed.retain(|key, _| key % 3 > 0);
                    model.retain(|key, _| key % 3 > 0);
                }
                let lens = || packed.runs.iter().map(Vec::len);
                assert!(lens().all(|len| (1..=RUN_MAX).contains(&len)), "seed {seed}");
            }
        }
    }

    /// In order, and then what removals leave here and there.
    #[test]
    fn it_takes_little_more_than_what_is_in_it() {
        let mut packed: PackedMap<u64, u64> = PackedMap::default();
        let each = |packed: &PackedMap<u64, u64>| {
            let runs = packed.runs.iter().map(|run| size_of_val(run) + run.capacity() * 16);
            runs.sum::<usize>() / packed.len()
        };
        (0..100_000).for_each(|key| assert_eq!(packed.insert(key, key), None));
        assert_eq!(each(&packed), 16);
        for every in [2, 10, 50, 100] {
            for key in (0..100_000).filter(|key| key % every > 0) {
                packed.remove(key);
            }
            assert!(each(&packed) <= 64, "{} bytes with one of {every}", each(&packed));
        }
    }
}
