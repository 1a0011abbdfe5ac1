//! Connections as they are counted: those of each core, and those of each address.

use std::{
    collections::{BTreeMap, btree_map},
    net::IpAddr,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use auth::AddressKey;

/// A connection, as counted by [`crate::CoreHandle::connections`] until this is dropped.
#[derive(Debug)]
pub struct ConnectionPermit {
    connections: Arc<AtomicUsize>,
    /// In a box, since few listeners limit it and every connection has room for it.
    address: Option<Box<AddressPermit>>,
}

impl ConnectionPermit {
    pub(crate) fn new(connections: &Arc<AtomicUsize>) -> Self {
        connections.fetch_add(1, Ordering::Relaxed);
        Self { connections: Arc::clone(connections), address: None }
    }

    /// Counts the connection among those of an address, too.
    pub fn count_among(&mut self, address: Option<AddressPermit>) {
        self.address = address.map(Box::new);
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The connections of each address, by listener, where a listener limits them. Never more entries
/// than connections.
#[derive(Clone, Debug, Default)]
pub struct AddressLimit(Arc<Mutex<BTreeMap<(usize, AddressKey), usize>>>);

/// There are as many as there may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LimitReached;

impl AddressLimit {
    /// Takes one of the connections that an address may have by a listener.
    ///
    /// # Errors
    /// When it has `max` already.
    pub fn acquire(
        &self,
        listener: usize,
        address: IpAddr,
        max: NonZeroUsize,
    ) -> Result<AddressPermit, LimitReached> {
        let key = (listener, AddressKey::from(address));
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key).or_default();
        if *count >= max.get() {
            return Err(LimitReached);
        }
        *count += 1;
        Ok(AddressPermit { key, limit: self.clone() })
    }
}

/// One of the connections that an address may have, until this is dropped.
#[derive(Debug)]
pub struct AddressPermit {
    key: (usize, AddressKey),
    limit: AddressLimit,
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        let mut counts = self.limit.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let btree_map::Entry::Occupied(mut count) = counts.entry(self.key) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}
