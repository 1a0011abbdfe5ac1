use std::{collections::BTreeSet, mem};

/// Those for which something waits, by how much, so that the one with the most is found: to within an
/// eighth, since most changes are to leave the order as it is.
///
/// It learns at once that one has more, and that one has less only when it looks like the one with the
/// most. Each owner keeps the `known` bytes by which its own is found here, 0 at first.
#[derive(Debug)]
pub(super) struct ByBytes<K> {
    order: BTreeSet<(usize, K)>,
    /// Of all, as they are known.
    total: usize,
}

impl<K> Default for ByBytes<K> {
    fn default() -> Self {
        Self { order: BTreeSet::new(), total: 0 }
    }
}

impl<K: Copy + Ord> ByBytes<K> {
    /// One may have more than before.
    pub(super) fn grow(&mut self, key: K, known: &mut usize, bytes: usize) {
        if rounded(bytes) > *known {
            self.correct(key, known, bytes);
        }
    }

    /// The one with the most, unless it has less than is known: see [`ByBytes::correct`].
    pub(super) fn last(&self) -> Option<K> {
        self.order.last().map(|&(_, key)| key)
    }

    /// Returns whether that changes what is known.
    pub(super) fn correct(&mut self, key: K, known: &mut usize, bytes: usize) -> bool {
        let before = mem::replace(known, rounded(bytes));
        if *known == before {
            return false;
        }
        self.order.remove(&(before, key));
        if *known > 0 {
            self.order.insert((*known, key));
        }
        self.total = self.total - before + *known;
        true
    }

    pub(super) const fn total(&self) -> usize {
        self.total
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Panics unless one is found as it is said to be.
    pub(super) fn assert_contains(&self, key: K, known: usize, bytes: usize) {
        assert!(rounded(bytes) <= known, "{bytes} bytes are known as {known}");
        assert_eq!(
            self.order.contains(&(known, key)),
            known > 0,
            "{bytes} bytes, known as {known}"
        );
    }
}

/// Rounded down to four significant bits.
const fn rounded(bytes: usize) -> usize {
    let shift = (usize::BITS - bytes.leading_zeros()).saturating_sub(4);
    bytes >> shift << shift
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The one with the most, and what it has.
    fn most(order: &mut ByBytes<usize>, known: &mut [usize], bytes: &[usize]) -> Option<usize> {
        while let Some(key) = order.last() {
            if !order.correct(key, &mut known[key], bytes[key]) {
                return Some(bytes[key]);
            }
        }
        None
    }

    #[test]
    fn the_one_with_the_most_is_found_to_within_an_eighth() {
        let mut random = testkit::Random::new(1);
        let (mut order, mut known, mut bytes) = (ByBytes::default(), [0; 50], [0; 50]);
        for _ in 0..5_000 {
            let key = random.below(bytes.len());
            bytes[key] = if random.once_in(3) { 0 } else { 1 << random.below(23) };
            bytes[key] += random.below(bytes[key] + 1);
            order.grow(key, &mut known[key], bytes[key]);
            if random.once_in(4) {
                let found = most(&mut order, &mut known, &bytes).unwrap_or_default();
                let most = bytes.iter().max().unwrap();
                assert!(found <= *most && found * 9 >= most * 8, "{found} of {most}");
            }
            for (key, (&known, &bytes)) in known.iter().zip(&bytes).enumerate() {
                order.assert_contains(key, known, bytes);
            }
        }
        bytes.fill(0);
        assert_eq!(most(&mut order, &mut known, &bytes), None);
        assert_eq!((order.len(), order.total()), (0, 0));
    }
}
