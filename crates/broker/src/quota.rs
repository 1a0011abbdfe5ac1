//! What all queues may take together, and those of one principal.
//!
//! These bounds are of the whole process. Its shards draw on them through one [`Pool`], in amounts
//! that last for many messages, and give back what they do not use.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    hash::{BuildHasherDefault, Hasher},
    num::NonZero,
    sync::Arc,
};

use contract::{Message, QuotaLimits, Refusal, internal};
use wire::Map;

use crate::queued::{EXPIRING_ENTRY_BYTES, queued_cost};

/// Names a principal whose queues and messages are counted: a keyed hash of the name of a user, or
/// of the address of one who has not logged in.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Account(NonZero<u64>);

impl Account {
    /// The account with this hash, whose key nobody outside knows.
    #[must_use]
    pub const fn new(hash: u64) -> Self {
        match NonZero::new(hash) {
            Some(hash) => Self(hash),
            None => Self(NonZero::<u64>::MAX),
        }
    }
}

/// A bound of the process.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Quota {
    /// Memory of all messages in queues.
    Bytes,
    /// The same of those that one principal sent.
    BytesOf(Account),
    /// Queues that exist because one principal made them.
    QueuesOf(Account),
}

/// Where the shards of a process draw on its quotas.
///
/// Its replies are an input of the shard like the time. Between two calls others may have drawn.
pub trait Pool: Debug + Send + Sync {
    /// As [`Ledger::draw`].
    fn draw(&self, quota: Quota, least: usize) -> usize;
    /// As [`Ledger::overdraw`].
    fn overdraw(&self, quota: Quota, amount: usize);
    /// As [`Ledger::give_back`].
    fn give_back(&self, quota: Quota, amount: usize);
}

/// What the shards of a process have drawn on its quotas: what is behind a [`Pool`].
#[derive(Debug)]
pub struct Ledger {
    limits: QuotaLimits,
    drawn: BTreeMap<Quota, usize>,
}

impl Ledger {
    /// A ledger of quotas on which nothing is drawn.
    #[must_use]
    pub const fn new(limits: QuotaLimits) -> Self {
        Self { limits, drawn: BTreeMap::new() }
    }

    /// Draws at least an amount, and what is likely to be required soon. Returns how much it drew:
    /// nothing, if less is left than is required.
    pub fn draw(&mut self, quota: Quota, least: usize) -> usize {
        let left = self.max(quota).saturating_sub(self.drawn(quota));
        if left < least {
            return 0;
        }
        // A small quota is not used up by one shard that does not use it.
        let step = match quota {
            Quota::Bytes => BYTES_STEP.min(self.max(quota) / 64),
            Quota::BytesOf(_) => ACCOUNT_BYTES_STEP.min(self.max(quota) / 64),
            Quota::QueuesOf(_) => 0,
        };
        let amount = least.max(step).min(left);
        self.overdraw(quota, amount);
        amount
    }

    /// Draws an amount, whatever is left.
    pub fn overdraw(&mut self, quota: Quota, amount: usize) {
        *self.drawn.entry(quota).or_default() += amount;
    }

    /// An amount that was drawn is not used.
    pub fn give_back(&mut self, quota: Quota, amount: usize) {
        let rest = self.drawn(quota).checked_sub(amount);
        match rest {
            Some(0) => drop(self.drawn.remove(&quota)),
            Some(rest) => drop(self.drawn.insert(quota, rest)),
            None => internal!("more is given back than was drawn"),
        }
    }

    /// How much is drawn.
    #[must_use]
    pub fn drawn(&self, quota: Quota) -> usize {
        self.drawn.get(&quota).copied().unwrap_or_default()
    }

    /// Whether nothing is drawn on any quota.
    #[must_use]
    pub fn is_unused(&self) -> bool {
        self.drawn.is_empty()
    }

    const fn max(&self, quota: Quota) -> usize {
        match quota {
            Quota::Bytes => self.limits.queued_bytes_max,
            Quota::BytesOf(_) => self.limits.queued_bytes_max_per_principal,
            Quota::QueuesOf(_) => self.limits.queues_max_per_principal,
        }
    }
}

/// What a shard has drawn, and uses of it.
#[derive(Debug)]
pub(crate) struct Quotas {
    pool: Arc<dyn Pool>,
    bytes: Share,
    accounts: AccountShares,
    /// Refused since the bytes of all queues were used up.
    pub(crate) refused_memory: u64,
    /// Refused since a principal's bytes or queues were.
    pub(crate) refused_principal: u64,
}

/// What is drawn for each account.
#[derive(Debug, Default)]
struct AccountShares {
    shares: Map<Account, AccountShare, BuildHasherDefault<Hashed>>,
    /// Those that changed since [`Quotas::give_back`].
    changed: Vec<Account>,
}

impl AccountShares {
    /// What is drawn for an account, to change.
    fn get(&mut self, account: Account) -> &mut AccountShare {
        let shares = self.shares.get_or_insert_with(account, AccountShare::default);
        if !shares.is_changed {
            shares.is_changed = true;
            self.changed.push(account);
        }
        shares
    }
}

/// Bytes that are drawn on a quota.
#[derive(Debug, Default)]
struct Share {
    drawn: usize,
    used: usize,
}

/// What is drawn for one account.
#[derive(Debug, Default)]
struct AccountShare {
    bytes: Share,
    queues: usize,
    /// It is in [`AccountShares::changed`].
    is_changed: bool,
}

/// What queues take, by account.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Usage {
    pub(crate) bytes: usize,
    pub(crate) accounts: BTreeMap<Account, AccountUsage>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct AccountUsage {
    pub(crate) bytes: usize,
    pub(crate) queues: usize,
}

impl Usage {
    pub(crate) fn add_message(&mut self, account: Option<Account>, message: &Message) {
        self.add_bytes(account, charged_bytes(message));
    }

    pub(crate) fn add_bytes(&mut self, account: Option<Account>, bytes: usize) {
        self.bytes += bytes;
        if let Some(account) = account {
            self.accounts.entry(account).or_default().bytes += bytes;
        }
    }

    pub(crate) fn add_queue(&mut self, account: Option<Account>) {
        if let Some(account) = account {
            self.accounts.entry(account).or_default().queues += 1;
        }
    }
}

impl Quotas {
    pub(crate) fn new(pool: Arc<dyn Pool>) -> Self {
        let (bytes, accounts) = (Share::default(), AccountShares::default());
        Self { pool, bytes, accounts, refused_memory: 0, refused_principal: 0 }
    }

    /// Charges for a message that is to enter a queue, or to wait there, if the quotas allow that.
    pub(crate) fn charge(
        &mut self,
        account: Option<Account>,
        message: &Message,
    ) -> Result<(), Refusal> {
        let bytes = charged_bytes(message);
        if let Some(account) = account
            && !self.accounts.get(account).bytes.take(Quota::BytesOf(account), bytes, &*self.pool)
        {
            self.refused_principal += 1;
            return Err(Refusal::PrincipalMemory);
        }
        if self.bytes.take(Quota::Bytes, bytes, &*self.pool) {
            return Ok(());
        }
        if let Some(account) = account {
            let share = &mut self.accounts.get(account).bytes;
            share.release(Quota::BytesOf(account), bytes, &*self.pool);
        }
        self.refused_memory += 1;
        Err(Refusal::QueueMemory)
    }

    /// Charges for a message that was in a queue before: beyond the quotas if it must be.
    pub(crate) fn charge_anyway(&mut self, account: Option<Account>, message: &Message) {
        self.charge_bytes_anyway(account, charged_bytes(message));
    }

    /// As [`Quotas::charge_anyway`], of a message that is charged with this much.
    pub(crate) fn charge_bytes_anyway(&mut self, account: Option<Account>, bytes: usize) {
        self.bytes.take_anyway(Quota::Bytes, bytes, &*self.pool);
        if let Some(account) = account {
            let share = &mut self.accounts.get(account).bytes;
            share.take_anyway(Quota::BytesOf(account), bytes, &*self.pool);
        }
    }

    /// A message is in no queue any more.
    pub(crate) fn uncharge(&mut self, account: Option<Account>, message: &Message) {
        self.uncharge_bytes(account, charged_bytes(message));
    }

    /// As [`Quotas::uncharge`], of a message that is charged with this much.
    pub(crate) fn uncharge_bytes(&mut self, account: Option<Account>, bytes: usize) {
        self.bytes.release(Quota::Bytes, bytes, &*self.pool);
        if let Some(account) = account {
            let share = &mut self.accounts.get(account).bytes;
            share.release(Quota::BytesOf(account), bytes, &*self.pool);
        }
    }

    /// Charges for a queue that is to be made, if the quotas allow that.
    pub(crate) fn charge_queue(&mut self, account: Option<Account>) -> Result<(), Refusal> {
        let Some(account) = account else { return Ok(()) };
        if self.pool.draw(Quota::QueuesOf(account), 1) == 0 {
            self.refused_principal += 1;
            return Err(Refusal::PrincipalQueues);
        }
        self.accounts.get(account).queues += 1;
        Ok(())
    }

    /// Charges for a queue that is made for a message which was in another: beyond the quota if it
    /// must be.
    pub(crate) fn add_queue(&mut self, account: Option<Account>) {
        let Some(account) = account else { return };
        self.pool.overdraw(Quota::QueuesOf(account), 1);
        self.accounts.get(account).queues += 1;
    }

    /// A queue has ended.
    pub(crate) fn remove_queue(&mut self, account: Option<Account>) {
        let Some(account) = account else { return };
        let queues = &mut self.accounts.get(account).queues;
        match queues.checked_sub(1) {
            Some(rest) => *queues = rest,
            None => return internal!("a queue ends that was not charged"),
        }
        self.pool.give_back(Quota::QueuesOf(account), 1);
    }

    /// Gives back what is not used, and forgets accounts that use nothing.
    pub(crate) fn give_back(&mut self) {
        self.bytes.give_back(Quota::Bytes, &*self.pool);
        let AccountShares { shares: accounts, changed } = &mut self.accounts;
        for account in changed.drain(..) {
            let Some(shares) = accounts.get_mut(&account) else {
                internal!("an account has changed that is not there");
                continue;
            };
            shares.is_changed = false;
            shares.bytes.give_back(Quota::BytesOf(account), &*self.pool);
            if shares.bytes.used == 0 && shares.queues == 0 {
                accounts.remove(&account);
            }
        }
    }

    pub(crate) const fn used_bytes(&self) -> usize {
        self.bytes.used
    }

    /// See [`crate::Shard::assert_consistent`].
    pub(crate) fn assert_is(&self, usage: &Usage) {
        assert_eq!(self.bytes.used, usage.bytes, "bytes in queues");
        assert!(self.bytes.used <= self.bytes.drawn, "{:?}", self.bytes);
        let accounts = &self.accounts.shares;
        for (account, expected) in &usage.accounts {
            let used = accounts.get(account).map(AccountShare::usage);
            assert_eq!(used, Some(*expected), "{account:?}");
        }
        let (mut used, mut is_drawn) = (0, true);
        accounts.all(|shares| {
            used += usize::from(shares.usage() != AccountUsage::default());
            is_drawn &= shares.bytes.used <= shares.bytes.drawn;
            is_drawn
        });
        assert!(is_drawn, "an account uses more than is drawn: {accounts:?}");
        assert_eq!(used, usage.accounts.len(), "accounts of nothing: {accounts:?}");
    }
}

impl AccountShare {
    const fn usage(&self) -> AccountUsage {
        AccountUsage { bytes: self.bytes.used, queues: self.queues }
    }
}

impl Share {
    fn take(&mut self, quota: Quota, amount: usize, pool: &dyn Pool) -> bool {
        let missing = (self.used + amount).saturating_sub(self.drawn);
        if missing > 0 {
            let drawn = pool.draw(quota, missing);
            if drawn == 0 {
                return false;
            }
            self.drawn += drawn;
        }
        self.used += amount;
        true
    }

    fn take_anyway(&mut self, quota: Quota, amount: usize, pool: &dyn Pool) {
        if !self.take(quota, amount, pool) {
            let missing = self.used + amount - self.drawn;
            pool.overdraw(quota, missing);
            self.drawn += missing;
            self.used += amount;
        }
    }

    fn release(&mut self, quota: Quota, amount: usize, pool: &dyn Pool) {
        match self.used.checked_sub(amount) {
            Some(used) => self.used = used,
            None => return internal!("more leaves the queues than was charged"),
        }
        // Others need not wait for the next time-out where it is much.
        if self.drawn - self.used > self.used + UNUSED_BYTES {
            self.give_back(quota, pool);
        }
    }

    fn give_back(&mut self, quota: Quota, pool: &dyn Pool) {
        let unused = self.drawn - self.used;
        if unused > 0 {
            pool.give_back(quota, unused);
            self.drawn = self.used;
        }
    }
}

/// What a message is charged with while it is in a queue, waits there, or is unsettled: always the
/// same, so that nothing is refused or drawn when it goes from one to the other.
fn charged_bytes(message: &Message) -> usize {
    charged_bytes_of(queued_cost(message), message.header.expires_unix_ms.is_some())
}

/// The same of a message that counts with this much in its queue.
pub(crate) const fn charged_bytes_of(cost: usize, expires: bool) -> usize {
    cost + if expires { EXPIRING_ENTRY_BYTES } else { 0 }
}

/// The hash of an [`Account`], which is one.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// What is drawn at once of [`Quota::Bytes`], where there is so much.
const BYTES_STEP: usize = 1 << 20;
/// What is drawn at once of [`Quota::BytesOf`].
const ACCOUNT_BYTES_STEP: usize = 64 << 10;
/// What may be unused until the next time-out, besides as much as is used.
const UNUSED_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_never_draws_more_than_the_bound_unless_told_to() {
        let limits = QuotaLimits { queued_bytes_max: 1000, ..QuotaLimits::default() };
        let mut ledger = Ledger::new(limits);
        for (least, expected, drawn, case) in [
            (1, 15, 15, "a step, and not all that is left"),
            (600, 600, 615, "more than a step"),
            (386, 0, 615, "more than is left"),
            (385, 385, 1000, "all that is left"),
            (1, 0, 1000, "nothing is left"),
        ] {
            assert_eq!(ledger.draw(Quota::Bytes, least), expected, "{case}");
            assert_eq!(ledger.drawn(Quota::Bytes), drawn, "{case}");
        }
        ledger.overdraw(Quota::Bytes, 100);
        ledger.give_back(Quota::Bytes, 100);
        assert_eq!(ledger.draw(Quota::Bytes, 1), 0, "what was drawn over the bound is not free");
        ledger.give_back(Quota::Bytes, 1000);
        assert!(ledger.is_unused(), "nothing is kept of what is not drawn");
    }

    #[test]
    fn each_account_has_its_own_queues() {
        let limits = QuotaLimits { queues_max_per_principal: 2, ..QuotaLimits::default() };
        let mut ledger = Ledger::new(limits);
        let (one, other) = (Account::new(1), Account::new(0));
        let drawn = [one, one, one, other].map(|a| ledger.draw(Quota::QueuesOf(a), 1));
        assert_eq!(drawn, [1, 1, 0, 1]);
    }
}
