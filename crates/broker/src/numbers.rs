/// Which of the latest numbers of a producer have entered a queue.
///
/// It is known of those less than [`Numbers::SPAN`] below the greatest; all that are lower count as
/// entered.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Numbers {
    last: u64,
    /// That of a number is at its remainder.
    bits: [u64; WORDS],
}

const WORDS: usize = 16;

impl Numbers {
    /// How many numbers are known one by one.
    pub const SPAN: u64 = 64 * WORDS as u64;

    /// The form that [`Numbers::to_parts`] gave.
    #[must_use]
    pub const fn from_parts(last: u64, bits: [u64; 16]) -> Self {
        Self { last, bits }
    }

    /// The greatest number, and a bit for each of those up to it, at its remainder by
    /// [`Numbers::SPAN`]: its form in the store.
    #[must_use]
    pub const fn to_parts(&self) -> (u64, [u64; 16]) {
        (self.last, self.bits)
    }

    /// Whether a number has entered.
    #[must_use]
    pub fn contains(&self, number: u64) -> bool {
        let Some(below) = self.last.checked_sub(number) else { return false };
        let (word, bit) = bit_of(number);
        below >= Self::SPAN || self.bits.get(word).is_some_and(|word| word & bit != 0)
    }

    /// A number enters.
    pub fn insert(&mut self, number: u64) {
        self.advance(number);
        self.set(number, true);
    }

    /// All that entered there has entered here.
    pub fn merge(&mut self, other: &Self) {
        self.advance(other.last);
        let first = other.last.saturating_sub(Self::SPAN - 1);
        for number in (first..=other.last).filter(|&number| other.contains(number)) {
            self.set(number, true);
        }
    }

    fn advance(&mut self, last: u64) {
        let before = self.last;
        if last <= before {
            return;
        }
        self.last = last;
        if last - before >= Self::SPAN {
            self.bits = [0; WORDS];
        } else {
            (before + 1..=last).for_each(|number| self.set(number, false));
        }
    }

    fn set(&mut self, number: u64, is_in: bool) {
        if number > self.last || self.last - number >= Self::SPAN {
            return;
        }
        let (word, bit) = bit_of(number);
        if let Some(word) = self.bits.get_mut(word) {
            *word = if is_in { *word | bit } else { *word & !bit };
        }
    }
}

/// Which word, and which bit of it.
fn bit_of(number: u64) -> (usize, u64) {
    let remainder = usize::try_from(number % Numbers::SPAN).unwrap_or_default();
    (remainder / 64, 1 << (remainder % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use testkit::Random;

    use super::*;

    #[test]
    fn the_latest_numbers_are_known_one_by_one() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let start = random.pick(&[0, 1, 5_000, u64::MAX - 4_000]);
            let (mut numbers, mut model, mut last) = (Numbers::default(), BTreeSet::new(), 0);
            let mut other = Numbers::default();
            for _ in 0..600 {
                let reach = random.pick(&[3, 70, 1_100]);
                let number = start + random.below(reach) as u64 + random.below(900) as u64;
                if random.once_in(5) {
                    other.merge(&numbers);
                    continue;
                }
                numbers.insert(number);
                model.insert(number);
                last = last.max(number);
                for number in start..=start + 2_100 {
                    let expected = number <= last
                        && (last - number >= Numbers::SPAN || model.contains(&number));
                    assert_eq!(numbers.contains(number), expected, "seed {seed}: {number}");
                }
                let (last, bits) = numbers.to_parts();
                assert_eq!(Numbers::from_parts(last, bits), numbers);
            }
            other.merge(&numbers);
            let all = (start..=last).filter(|&number| numbers.contains(number));
            all.for_each(|number| assert!(other.contains(number), "seed {seed}: {number} merged"));
            let before = numbers.clone();
            numbers.merge(&before);
            assert_eq!(numbers, before, "once more");
        }
    }
}
