//! The quotas that the shards of all cores draw on, and who draws.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use auth::AddressKey;
use broker::{Account, Ledger, Pool, Quota};
use contract::{Command, Principal, QuotaLimits};

/// A ledger behind a lock, which is taken when an amount moves: for many messages, or a queue.
#[derive(Debug)]
pub(crate) struct SharedLedger(Mutex<Ledger>);

impl SharedLedger {
    pub(crate) const fn new(limits: QuotaLimits) -> Self {
        Self(Mutex::new(Ledger::new(limits)))
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool for SharedLedger {
    fn draw(&self, quota: Quota, least: usize) -> usize {
        self.lock().draw(quota, least)
    }

    fn overdraw(&self, quota: Quota, amount: usize) {
        self.lock().overdraw(quota, amount);
    }

    fn give_back(&self, quota: Quota, amount: usize) {
        self.lock().give_back(quota, amount);
    }
}

/// Names the accounts of principals, by a key of this process.
#[derive(Debug, Default)]
pub(crate) struct Accounts(RandomState);

/// Who has an account.
#[derive(Hash)]
enum Holder<'a> {
    User(&'a str),
    Anonymous(AddressKey),
}

impl Accounts {
    /// The account of a user, or of all at an address who have not logged in.
    pub(crate) fn of(&self, principal: &Principal, address: IpAddr) -> Account {
        let holder = if principal.is_anonymous() {
            Holder::Anonymous(address.into())
        } else {
            Holder::User(&principal.name)
        };
        Account::new(self.0.hash_one(holder))
    }
}

/// Whether a command may make a queue, or put something into one.
pub(crate) fn is_charged(command: &Command) -> bool {
    match command {
        Command::Subscribe(subscribe) => {
            subscribe.pattern.kind().is_queue() || subscribe.durable.is_some()
        }
        Command::Publish(_, message) => message.to.kind().is_queue(),
        Command::Declare(declare) => declare.destination.kind().is_queue(),
        Command::Transact(..) => true,
        Command::Claim(..)
        | Command::Unsubscribe(..)
        | Command::Delete(_)
        | Command::Find(_)
        | Command::Undeclare(_)
        | Command::Drain(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_one_everywhere_and_an_anonymous_peer_is_its_address() {
        let accounts = Accounts::default();
        let account = |name: Option<&str>, address: &str| {
            let principal = name.map_or_else(Principal::anonymous, |name| Principal::new(name, []));
            accounts.of(&principal, address.parse().unwrap())
        };
        let ann = account(Some("ann"), "192.0.2.1");
        assert_eq!(ann, account(Some("ann"), "2001:db8::1"));
        assert_ne!(ann, account(Some("bob"), "192.0.2.1"));
        let address = account(None, "192.0.2.1");
        assert_ne!(address, account(Some("192.0.2.1"), "192.0.2.1"));
        assert_ne!(address, account(None, "192.0.2.2"));
        assert_eq!(address, account(None, "::ffff:192.0.2.1"));
        let network = account(None, "2001:db8:1:2::1");
        assert_eq!(network, account(None, "2001:db8:1:2:3:4:5:6"));
        assert_ne!(network, account(None, "2001:db8:1:3::1"));
    }
}
