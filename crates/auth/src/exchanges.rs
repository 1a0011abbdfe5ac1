use std::collections::{BTreeMap, BTreeSet};

use contract::internal;

use crate::{AddressKey, LoginId};

/// Exchanges that wait for their peer's next message.
///
/// One more than there may be takes the place of the oldest: of its address, where that has all that
/// one may have, else of the address with most. A peer that goes on at once is replaced only by a
/// flood that is faster than it.
#[derive(Debug)]
pub(crate) struct Exchanges<T> {
    waiting: BTreeMap<LoginId, (AddressKey, T)>,
    /// Those of each address; the first is the oldest.
    of_address: BTreeMap<AddressKey, BTreeSet<LoginId>>,
    /// The addresses by how many they have.
    by_count: BTreeSet<(usize, AddressKey)>,
}

impl<T> Exchanges<T> {
    /// Exchanges at a time: some 2 KiB each at most, 40 MiB.
    pub(crate) const MAX: usize = 20_000;
    /// Those of one address.
    pub(crate) const ADDRESS_MAX: usize = 10_000;

    pub(crate) const fn new() -> Self {
        Self { waiting: BTreeMap::new(), of_address: BTreeMap::new(), by_count: BTreeSet::new() }
    }

    /// Keeps one. Its number must be higher than those before.
    pub(crate) fn insert(&mut self, id: LoginId, address: AddressKey, exchange: T) {
        let full = if self.count(address) >= Self::ADDRESS_MAX {
            Some(address)
        } else if self.waiting.len() >= Self::MAX {
            self.by_count.last().map(|(_, largest)| *largest)
        } else {
            None
        };
        if let Some(full) = full {
            let oldest = self.of_address.get(&full).and_then(BTreeSet::first).copied();
            match oldest {
                Some(oldest) => drop(self.remove(oldest)),
                None => internal!("an address with exchanges has none"),
            }
        }
        self.waiting.insert(id, (address, exchange));
        self.change(address, |exchanges| exchanges.insert(id));
    }

    /// Takes one out.
    pub(crate) fn remove(&mut self, id: LoginId) -> Option<T> {
        let (address, exchange) = self.waiting.remove(&id)?;
        self.change(address, |exchanges| exchanges.remove(&id));
        Some(exchange)
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    fn count(&self, address: AddressKey) -> usize {
        self.of_address.get(&address).map_or(0, BTreeSet::len)
    }

    fn change(&mut self, address: AddressKey, change: impl FnOnce(&mut BTreeSet<LoginId>) -> bool) {
        let exchanges = self.of_address.entry(address).or_default();
        self.by_count.remove(&(exchanges.len(), address));
        change(exchanges);
        if exchanges.is_empty() {
            self.of_address.remove(&address);
        } else {
            self.by_count.insert((exchanges.len(), address));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn host(number: u32) -> AddressKey {
        IpAddr::from(Ipv4Addr::from_bits(number)).into()
    }

    #[test]
    fn a_flood_replaces_its_own() {
        let (max, address_max) = (Exchanges::<u32>::MAX, Exchanges::<u32>::ADDRESS_MAX);
        // Addresses that the flood comes from.
        for addresses in [1, 2, 3, 1000] {
            let mut exchanges = Exchanges::new();
            let mut ids = (1..).map(LoginId::of_test);
            let honest = ids.next().unwrap();
            exchanges.insert(honest, host(5000), 0);
            for (number, id) in ids.by_ref().take(3 * max).enumerate() {
                let address = u32::try_from(number % addresses).unwrap();
                exchanges.insert(id, host(address), 1);
                assert!(exchanges.len() <= max && exchanges.count(host(address)) <= address_max);
            }
            assert_eq!(exchanges.remove(honest), Some(0), "{addresses} addresses");
            // One that comes now has its place, and so has one behind an address of the flood.
            for address in [host(5000), host(0)] {
                let id = ids.next().unwrap();
                exchanges.insert(id, address, 2);
                assert_eq!(exchanges.remove(id), Some(2));
            }
        }
    }

    #[test]
    fn nothing_is_left_of_what_was_removed() {
        let mut exchanges = Exchanges::new();
        let ids: Vec<_> = (1..100).map(LoginId::of_test).collect();
        for (id, address) in ids.iter().zip((0..7).cycle()) {
            exchanges.insert(*id, host(address), ());
        }
        for id in ids.iter().rev() {
            assert_eq!(exchanges.remove(*id), Some(()));
            assert_eq!(exchanges.remove(*id), None);
        }
        assert!(exchanges.of_address.is_empty() && exchanges.by_count.is_empty());
    }
}
