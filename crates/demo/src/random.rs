/// A small seeded generator (SplitMix64): the same seed makes the same market.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub(crate) const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `bound` - 1; 0 when `bound` is 0.
    pub(crate) const fn below(&mut self, bound: u32) -> u32 {
        // The high half of a 32 by 32 bit product is less than `bound`.
        let product = (self.bits() >> 32).wrapping_mul(bound as u64);
        (product >> 32) as u32
    }

    /// True once in `n` times.
    pub(crate) const fn once_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_below_their_bound_and_reach_all_values() {
        let mut random = Random::new(7);
        for bound in 1..50 {
            let seen: std::collections::BTreeSet<_> =
                (0..bound * 40).map(|_| random.below(bound)).collect();
            assert_eq!(seen, (0..bound).collect());
        }
        assert_eq!(random.below(0), 0);
    }
}
