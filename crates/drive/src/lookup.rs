//! Names of servers and their addresses, looked up on threads of their own: the kernel's resolver
//! blocks, for minutes where it has no network.

use std::{
    io,
    net::{IpAddr, ToSocketAddrs as _},
};

use tokio::sync::{Mutex, Semaphore, oneshot};

use crate::{clock, tasks};

/// A name, and the addresses that it had when it was last looked up.
///
/// Only one look-up of it is waited for at a time: who comes meanwhile shares its result.
#[derive(Debug)]
pub(crate) struct Name {
    name: Box<str>,
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    addresses: Vec<IpAddr>,
    /// When they are too old, on the clock of [`contract::Now::mono_ns`].
    until_mono_ns: u64,
}

impl Name {
    /// A name, or an address as text, which is never looked up.
    pub(crate) fn new(name: Box<str>) -> Self {
        let found = match name.parse() {
            Ok(address) => Found { addresses: vec![address], until_mono_ns: u64::MAX },
            Err(_) => Found::default(),
        };
        Self { name, found: Mutex::new(found) }
    }

    /// Its addresses, in the order in which the system prefers them. Nothing bounds the time that
    /// takes; a look-up that is waited for no more goes on by itself.
    ///
    /// # Errors
    /// When the system finds none.
    pub(crate) async fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        let mut found = self.found.lock().await;
        if found.until_mono_ns <= clock::now().mono_ns {
            found.addresses = look_up(self.name.clone()).await?;
            found.until_mono_ns = clock::now().mono_ns + FRESH_NS;
        }
        Ok(found.addresses.clone())
    }
}

async fn look_up(name: Box<str>) -> io::Result<Vec<IpAddr>> {
    static THREADS: Semaphore = Semaphore::const_new(THREADS_MAX);
    let permit = THREADS.acquire().await.map_err(io::Error::other)?;
    let (sender, result) = oneshot::channel();
    tasks::thread("lookup", move || {
        let found = (&*name, 0).to_socket_addrs();
        // The caller may have given up.
        drop(sender.send(found.map(|found| found.map(|address| address.ip()).collect())));
        drop(permit);
    })?;
    result.await.map_err(io::Error::other)?
}

/// For how long addresses are used again: many connections that come together cause one look-up.
const FRESH_NS: u64 = 1_000_000_000;
/// Threads that look names up, those that nothing waits for any more included.
const THREADS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_are_looked_up_and_addresses_are_not() {
        let loopback = Name::new("localhost".into()).addresses().await.unwrap();
        assert!(!loopback.is_empty() && loopback.iter().all(IpAddr::is_loopback), "{loopback:?}");
        for address in ["192.0.2.7", "2001:db8::7"] {
            let found = Name::new(address.into()).addresses().await.unwrap();
            assert_eq!(found, [address.parse::<IpAddr>().unwrap()]);
        }
        // RFC 6761 section 6.4.
        Name::new("none.invalid".into()).addresses().await.unwrap_err();
    }

    #[tokio::test]
    async fn connections_that_come_together_share_a_look_up() {
        let name = Name::new("localhost".into());
        let first = name.addresses().await.unwrap();
        // What is fresh is not looked up again.
        name.found.lock().await.addresses.truncate(0);
        assert!(name.addresses().await.unwrap().is_empty());
        name.found.lock().await.until_mono_ns = 0;
        assert_eq!(name.addresses().await.unwrap(), first);
    }
}
