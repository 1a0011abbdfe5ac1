use contract::Destination;

/// The core at whose shard a queue or a temporary destination lives.
///
/// A stable function of the name. A temporary destination lives at its random bits modulo
/// `cores`, so that a core can make names that fall to itself.
#[must_use]
pub fn home_core(destination: &Destination, cores: u16) -> u16 {
    let cores = cores.max(1);
    let remainder = match destination.random() {
        Some(random) => random % u128::from(cores),
        None => u128::from(fnv_1a(destination.text().flat_map(str::bytes)) % u64::from(cores)),
    };
    u16::try_from(remainder).unwrap_or_default()
}

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
        for n in 0..1000 {
            let queue = Destination::parse(&format!("/queue/q{n}")).unwrap();
            counts[usize::from(home_core(&queue, 4))] += 1;
        }
        assert!(counts.iter().all(|count| (150..350).contains(count)), "{counts:?}");
    }

    #[test]
    fn temporary_names_choose_their_home() {
        for (random, cores, core) in [(0, 4, 0), (7, 4, 3), (u128::MAX, 3, 0), (5, 1, 0)] {
            let destination = Destination::temporary(DestinationKind::TempQueue, random);
            assert_eq!(home_core(&destination, cores), core);
        }
        assert_eq!(home_core(&Destination::parse("/temp-queue/x").unwrap(), 1), 0);
    }
}
