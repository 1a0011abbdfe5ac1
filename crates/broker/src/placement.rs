use std::sync::Arc;

use contract::Destination;

/// At which core's shard a queue or a temporary destination lives.
///
/// Queues are spread over a fixed number of partitions by a stable hash of their names, and the
/// partitions over the cores. So a queue's partition does not depend on the number of cores, and
/// another map may place partitions elsewhere. A temporary destination has no partition: it lives
/// at its random bits modulo the number of cores, so that a core can make names that fall to itself.
#[derive(Clone, Debug)]
pub struct Placement {
    /// By partition.
    cores: Arc<[u16]>,
    cores_count: u16,
}

impl Placement {
    /// The partitions spread over the cores.
    #[must_use]
    pub fn new(cores_count: u16) -> Self {
        let cores_count = cores_count.max(1);
        let cores = (0..PARTITIONS).map(|partition| partition % cores_count).collect();
        Self { cores, cores_count }
    }

    /// How many cores there are.
    pub(crate) const fn cores(&self) -> u16 {
        self.cores_count
    }

    /// The core at which it lives.
    #[must_use]
    pub fn home(&self, destination: &Destination) -> u16 {
        if let Some(random) = destination.random() {
            return u16::try_from(random % u128::from(self.cores_count)).unwrap_or_default();
        }
        self.cores.get(partition(destination)).copied().unwrap_or_default()
    }
}

/// Depends on the name alone.
fn partition(destination: &Destination) -> usize {
    let hash = fnv_1a(destination.text().flat_map(str::bytes));
    usize::try_from(hash % u64::from(PARTITIONS)).unwrap_or_default()
}

/// More cores than this have no queues at home.
const PARTITIONS: u16 = 64;

/// FNV-1a, 64 bits, with the high half folded into the low one, which alone is uneven for short
/// names.
fn fnv_1a(bytes: impl Iterator<Item = u8>) -> u64 {
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use contract::DestinationKind;

    use super::*;

    #[test]
    fn names_spread_over_the_cores() {
        let mut counts = [0; 4];
        let placement = Placement::new(4);
        for n in 0..1000 {
            let queue = Destination::parse(&format!("/queue/q{n}")).unwrap();
            counts[usize::from(placement.home(&queue))] += 1;
        }
        assert!(counts.iter().all(|count| (150..350).contains(count)), "{counts:?}");
    }

    #[test]
    fn temporary_names_choose_their_home() {
        for (random, cores, core) in [(0, 4, 0), (7, 4, 3), (u128::MAX, 3, 0), (5, 1, 0)] {
            let destination = Destination::temporary(DestinationKind::TempQueue, random);
            assert_eq!(Placement::new(cores).home(&destination), core);
        }
        let other = Destination::parse("/temp-queue/x").unwrap();
        assert_eq!(Placement::new(1).home(&other), 0);
    }

    #[test]
    fn partitions_are_spread_evenly_and_names_stay_in_theirs() {
        for cores in 1..=64 {
            let mut counts = vec![0; cores.into()];
            for &core in &*Placement::new(cores).cores {
                counts[usize::from(core)] += 1;
            }
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(most - least <= 1 && *least > 0, "{cores} cores: {counts:?}");
        }
        // What a store keeps by partition is found there for ever.
        for (name, expected) in [("/queue/a", 55), ("/queue/orders.new", 49), ("/queue/DLQ.a", 31)]
        {
            assert_eq!(partition(&Destination::parse(name).unwrap()), expected, "{name}");
        }
    }
}
