use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, mem,
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use contract::{Credentials, Login, Now, Principal, Refusal, SaslError, Secret, internal};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::{
    AddressKey, Change, Mechanism, Users,
    decoys::Decoys,
    exchanges::Exchanges,
    failures::Failures,
    fair_queue::{FairQueue, NameKey, Throttle},
    scram_exchange::{ClientFirst, ScramExchange, ScramProof},
    user::User,
};

/// Authenticates logins. Those that need no hashing are decided at once; for the others there are
/// [`Job`]s to run elsewhere, one for all logins with the same credentials at the same time.
///
/// ```text
///       authenticate        next              run, on another thread          finish
/// login -----> Decided
///        -----> Pending --------> Job ----------------------------> Verdict ---------> Finished
///        |         ^ cancel, or evicted for another
///        |         +------------------------------------------------> (no result, or Busy)
///        |         | the proof comes while its name or address is delayed
///        -----> Challenged ------------> Checked, Challenged, Decided
///                            respond
/// ```
///
/// A mechanism with a challenge is an exchange: what it has come to is kept here between its legs, by
/// the [`LoginId`] of the last. Its proof is verified at once where no delay is due, and else as any job:
/// so guesses by an exchange are no faster than others. From many addresses neither: after
/// [`Logins::WRONG_PROOFS_MAX`] wrong ones in a second, all proofs are jobs, and jobs wait. New proofs
/// come behind those for as long as any wait and wrong ones have part of a second.
///
/// `W` identifies a waiter: what is told the result. A verified secret is remembered for
/// [`Logins::REMEMBERED`] by a keyed hash, so that ten thousand reconnects are not ten thousand
/// password hashes. Without users credentials are ignored; with users wrong ones always fail,
/// even where anonymous logins are accepted. An unknown name is checked against a dummy hash, or is
/// challenged with a salt of its own that stays the same, and takes as long as a known one.
///
/// Jobs are queued until a thread is free to run one: round-robin over addresses and over the names
/// tried from one address, so that a flood from some does not delay the others. A failure delays
/// its address, and more so its name at that address, but not the name at other addresses. A
/// success halves the failures of its address.
pub struct Logins<W> {
    users: Users,
    /// How often they were replaced.
    users_version: u64,
    /// The version since which each user has gone or has another password, of all that there ever were.
    ended: BTreeMap<Box<str>, u64>,
    key: Hmac<Sha256>,
    /// The challenges to unknown names.
    decoys: Decoys,
    /// The digest verified last for each user, and when to forget it. At most one for each user.
    remembered: BTreeMap<Box<str>, (CredentialDigest, u64)>,
    /// Running and queued jobs.
    jobs: BTreeMap<CredentialDigest, PendingJob<W>>,
    /// The job of each waiter.
    waiting: BTreeMap<LoginId, (CredentialDigest, AddressKey)>,
    /// Those whose peer has closed its side.
    half_closed: BTreeSet<LoginId>,
    /// The number of waiters of each address.
    waiting_at: BTreeMap<AddressKey, usize>,
    exchanges: Exchanges<Exchange>,
    last_id: u64,
    queue: FairQueue<CredentialDigest>,
    throttle: FailureThrottle,
    /// When all wrong proofs so far are over, if each took [`WRONG_PROOF_NS`] behind the others.
    wrong_proofs_end_ns: u64,
    /// The longest delay of one name at one address.
    name_delay_max: Duration,
    /// The longest delay of one address.
    address_delay_max: Duration,
}

/// A keyed hash of a name and a password, or of the number of an exchange.
type CredentialDigest = [u8; 32];

/// What an exchange has come to.
enum Exchange {
    /// An empty challenge was sent: the client's first message follows.
    Begun(Mechanism),
    /// The client's proof follows.
    Challenged(Box<ScramExchange>),
}

/// Identifies a pending login, or an exchange.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct LoginId(u64);

/// The outcome of [`Logins::authenticate`].
#[derive(Debug)]
pub enum Authentication<W> {
    /// It is decided without a look at what the peer knows.
    Decided(W, Result<Accepted, Refusal>),
    /// It was checked at once.
    Checked(Finished<W>),
    /// The peer is to be told this; [`Logins::respond`] takes what it says to it.
    Challenged(W, LoginId, Vec<u8>),
    /// It waits for a job: a thread that waits for jobs should call [`Logins::next`]. Waiters that
    /// were evicted for it are to be told [`Refusal::Busy`].
    Pending(LoginId, Vec<W>),
}

/// A login that succeeded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Accepted {
    /// Who it is.
    pub principal: Principal,
    /// What the mechanism's server says with success; empty where it says nothing.
    pub message: Vec<u8>,
}

impl From<Principal> for Accepted {
    fn from(principal: Principal) -> Self {
        Self { principal, message: Vec::new() }
    }
}

/// Something to check: a password takes some 20 ms.
#[derive(Debug)]
pub struct Job {
    digest: CredentialDigest,
    check: Check,
}

#[derive(Debug)]
enum Check {
    /// Whether the credentials are those of a user. For an unknown name the user is a dummy: another.
    Password(Credentials, Arc<User>),
    Proof(Box<ScramProof>),
}

impl Check {
    /// How many there may be of one name at one address.
    const fn of_name_max(&self) -> usize {
        match self {
            Self::Password(..) => Logins::<()>::NAME_JOBS_MAX,
            Self::Proof(_) => Logins::<()>::NAME_PROOFS_MAX,
        }
    }
}

/// What a [`Job`] found.
#[derive(Debug)]
pub struct Verdict {
    name: Box<str>,
    digest: CredentialDigest,
    /// Who it is, and what is said with success.
    user: Option<(Arc<User>, Vec<u8>)>,
    /// It was a password, which may be remembered.
    is_password: bool,
}

/// Logins that a [`Verdict`] decided.
#[derive(Debug)]
pub struct Finished<W> {
    /// The name that was tried, as the peer sent it: not safe to show without escapes.
    pub name: Box<str>,
    /// All waiters of the job.
    pub waiters: Vec<W>,
    /// Their result.
    pub result: Result<Accepted, Refusal>,
    /// Of which users it is: [`Logins::users_version`] when it was decided.
    pub users_version: u64,
}

/// A job and its waiters.
struct PendingJob<W> {
    name: NameKey,
    /// `None` while it is running.
    job: Option<Job>,
    waiters: BTreeMap<LoginId, (AddressKey, W)>,
}

/// Delays by failures of an address, and of a name at an address.
#[derive(Debug)]
struct FailureThrottle {
    addresses: Failures<AddressKey>,
    names: Failures<(AddressKey, NameKey)>,
    now: Now,
}

impl Throttle for FailureThrottle {
    fn is_suspect(&self, address: AddressKey) -> bool {
        self.addresses.count(address, self.now) > 0
    }

    fn address_until(&self, address: AddressKey) -> u64 {
        self.addresses.until(address)
    }

    fn name_until(&self, address: AddressKey, name: NameKey) -> u64 {
        self.names.until((address, name))
    }
}

impl<W> Logins<W> {
    /// How long a verified secret is remembered.
    pub const REMEMBERED: Duration = Duration::from_secs(300);
    /// Running and queued jobs. For one more, a job of the address with most is evicted, if that has
    /// more than the newcomer; else the newcomer is refused as [`Refusal::Busy`].
    pub const JOBS_MAX: usize = 1000;
    /// Jobs of one address: what two threads do in half of the usual time for a login.
    pub const ADDRESS_JOBS_MAX: usize = 500;
    /// Jobs of an address with many failures. For one more, a job of the name with most is evicted;
    /// else the newcomer is refused as [`Refusal::Busy`].
    pub const SUSPECT_JOBS_MAX: usize = 16;
    /// Wrong proofs of all addresses in a second: as many passwords are checked in that by two threads.
    pub const WRONG_PROOFS_MAX: u64 = 100;
    /// Different passwords of one name at one address; those beyond are refused as
    /// [`Refusal::Busy`].
    pub const NAME_JOBS_MAX: usize = 4;
    /// Proofs of one name at one address, which differ where the password is the same: those of an
    /// application server that connects again with all that it has. The rest is refused as
    /// [`Refusal::Busy`].
    pub const NAME_PROOFS_MAX: usize = 64;
    /// Waiters; those beyond are refused as [`Refusal::Busy`].
    pub const WAITING_MAX: usize = 100_000;
    /// Those of one address.
    pub const ADDRESS_WAITING_MAX: usize = 50_000;
    /// Those whose peers have closed their side and may still read the reply.
    pub const HALF_CLOSED_MAX: usize = 16;

    /// Authenticates these users. The key should be random and known to this process alone;
    /// `login_timeout` is the time that a login may take.
    #[must_use]
    pub fn new(users: Users, key: &[u8; 64], login_timeout: Duration) -> Self {
        Self {
            decoys: Decoys::new(&users),
            users,
            users_version: 0,
            ended: BTreeMap::new(),
            key: Hmac::new(key.into()),
            remembered: BTreeMap::new(),
            jobs: BTreeMap::new(),
            waiting: BTreeMap::new(),
            half_closed: BTreeSet::new(),
            waiting_at: BTreeMap::new(),
            exchanges: Exchanges::new(),
            last_id: 0,
            queue: FairQueue::new(),
            throttle: FailureThrottle {
                addresses: Failures::new(),
                names: Failures::new(),
                now: Now::default(),
            },
            wrong_proofs_end_ns: 0,
            name_delay_max: login_timeout / 4,
            // All jobs that a suspect address may have are run in half of the time.
            address_delay_max: login_timeout / 32,
        }
    }

    /// Replaces the users. What was verified of passwords is forgotten, and exchanges and checks that
    /// have begun succeed only where the user's password has stayed the same. Returns whom it is about.
    pub fn set_users(&mut self, users: Users) -> BTreeMap<Box<str>, Change> {
        let changes = self.users.changes(&users);
        self.decoys.set_users(&users);
        self.users = users;
        self.users_version += 1;
        self.remembered.clear();
        let ended = changes.iter().filter(|(_, change)| **change == Change::Ended);
        self.ended.extend(ended.map(|(name, _)| (name.clone(), self.users_version)));
        changes
    }

    /// How often the users were replaced.
    #[must_use]
    pub const fn users_version(&self) -> u64 {
        self.users_version
    }

    /// Who it is now that has logged in when the users had an earlier [`Logins::users_version`].
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`] when the user is gone or has got another password since.
    pub fn principal_now(
        &self,
        principal: &Principal,
        users_version: u64,
    ) -> Result<Principal, Refusal> {
        if principal.is_anonymous() || users_version >= self.users_version {
            return Ok(principal.clone());
        }
        let has_ended = self.ended.get(&*principal.name).is_some_and(|&at| at > users_version);
        let user = self.users.get(&principal.name).filter(|_| !has_ended);
        user.map(|user| user.principal().clone()).ok_or(Refusal::Unauthenticated)
    }

    /// Decides a login, or queues it. `anonymous`: logins without credentials are accepted.
    pub fn authenticate(
        &mut self,
        login: &Login,
        anonymous: bool,
        address: AddressKey,
        now: Now,
        waiter: W,
    ) -> Authentication<W> {
        self.throttle.now = now;
        let credentials = match login {
            Login::Password(credentials) if !self.users.is_empty() => credentials,
            Login::Password(_) | Login::Anonymous if anonymous => {
                return Authentication::Decided(waiter, Ok(Principal::anonymous().into()));
            }
            Login::Password(_) | Login::Anonymous => {
                return Authentication::Decided(waiter, Err(Refusal::Unauthenticated));
            }
            Login::Sasl { mechanism, initial } => {
                return self.begin(mechanism, initial.as_ref(), address, waiter);
            }
            Login::Response(_) => {
                return Authentication::Decided(waiter, Err(SaslError::NoExchange.into()));
            }
        };
        let digest = self.digest(&credentials.name, credentials.password.expose());
        if let Some(result) = self.recall(&credentials.name, &digest, now) {
            return Authentication::Decided(waiter, result.map(Accepted::from));
        }
        let name = self.name_key(&credentials.name);
        let job = |this: &Self| {
            let known = this.users.get(&credentials.name);
            let user = known.filter(|user| user.password().has_hash());
            let user = user.or_else(|| this.dummy_user(&credentials.name))?;
            let check = Check::Password(credentials.clone(), Arc::clone(user));
            Some(Job { digest, check })
        };
        self.enqueue(digest, name, job, address, now, waiter)
    }

    /// Begins an exchange.
    fn begin(
        &mut self,
        mechanism: &str,
        initial: Option<&Secret<[u8]>>,
        address: AddressKey,
        waiter: W,
    ) -> Authentication<W> {
        let refuse = |waiter, error: SaslError| Authentication::Decided(waiter, Err(error.into()));
        let named = Mechanism::ALL.into_iter().find(|known| known.as_str() == mechanism);
        let Some(named) = named else {
            let error = match mechanism.ends_with("-PLUS") {
                true => SaslError::ChannelBinding,
                false => SaslError::Mechanism,
            };
            return refuse(waiter, error);
        };
        match initial {
            None => self.go_on(Exchange::Begun(named), Vec::new(), address, waiter),
            Some(message) => match self.challenge(named, message) {
                Err(error) => refuse(waiter, error),
                Ok((said, exchange)) => self.go_on(exchange, said, address, waiter),
            },
        }
    }

    /// Takes what the peer says to the challenge of an exchange, which goes on or is decided. One that
    /// was replaced meanwhile is refused as [`Refusal::Busy`].
    pub fn respond(
        &mut self,
        id: LoginId,
        response: &Secret<[u8]>,
        address: AddressKey,
        now: Now,
        waiter: W,
    ) -> Authentication<W> {
        self.throttle.now = now;
        let refuse = |waiter, error: SaslError| Authentication::Decided(waiter, Err(error.into()));
        let exchange = match self.exchanges.remove(id) {
            None => return Authentication::Decided(waiter, Err(Refusal::Busy)),
            Some(Exchange::Begun(mechanism)) => {
                return match self.challenge(mechanism, response) {
                    Err(error) => refuse(waiter, error),
                    Ok((said, exchange)) => self.go_on(exchange, said, address, waiter),
                };
            }
            Some(Exchange::Challenged(exchange)) => exchange,
        };
        let proof = match exchange.proof(response.expose()) {
            Err(error) => return refuse(waiter, error),
            Ok(proof) => Box::new(proof),
        };
        let (digest, name) = (self.exchange_digest(id), self.name_key(&proof.name));
        let until = self.throttle.address_until(address).max(self.jobs_from_ns());
        let is_due = self.throttle.name_until(address, name).max(until) <= now.mono_ns;
        // What wrong proofs have left of the second is for those that wait.
        let has_slot = self.wrong_proofs_end_ns <= now.mono_ns || self.queue.is_empty();
        if is_due && has_slot {
            let verdict = Job { digest, check: Check::Proof(proof) }.run();
            self.record_outcome(address, name, verdict.user.is_some(), now);
            let mut finished = self.conclude(verdict, now);
            finished.waiters.push(waiter);
            return Authentication::Checked(finished);
        }
        let job = |_: &Self| Some(Job { digest, check: Check::Proof(proof) });
        self.enqueue(digest, name, job, address, now, waiter)
    }

    /// Keeps an exchange until its peer goes on.
    fn go_on(
        &mut self,
        exchange: Exchange,
        challenge: Vec<u8>,
        address: AddressKey,
        waiter: W,
    ) -> Authentication<W> {
        self.last_id += 1;
        let id = LoginId(self.last_id);
        self.exchanges.insert(id, address, exchange);
        Authentication::Challenged(waiter, id, challenge)
    }

    /// The challenge to a client's first message. For a name without a verifier it is made up.
    fn challenge(
        &self,
        mechanism: Mechanism,
        message: &Secret<[u8]>,
    ) -> Result<(Vec<u8>, Exchange), SaslError> {
        let first = ClientFirst::parse(message.expose())?;
        let user = self.users.get(&first.name);
        let verifier = user.and_then(|user| user.password().scram(mechanism)).cloned();
        let user = user.filter(|_| verifier.is_some()).cloned();
        // Made for known names too, so that these take the same time.
        let decoy = self.decoys.verifier(mechanism, &first.name);
        let verifier = verifier.unwrap_or(decoy);
        let nonce = keyed(&self.key, &[b"nonce", &self.last_id.to_le_bytes()]);
        let nonce = BASE64_STANDARD.encode(nonce);
        let (said, exchange) = first.challenge(user, verifier, &nonce);
        Ok((said, Exchange::Challenged(Box::new(exchange))))
    }

    /// Queues a job, or joins one that has the same digest.
    fn enqueue(
        &mut self,
        digest: CredentialDigest,
        name: NameKey,
        job: impl FnOnce(&Self) -> Option<Job>,
        address: AddressKey,
        now: Now,
        waiter: W,
    ) -> Authentication<W> {
        let waiting_here = self.waiting_at.get(&address).copied().unwrap_or_default();
        if self.waiting.len() >= Self::WAITING_MAX || waiting_here >= Self::ADDRESS_WAITING_MAX {
            return Authentication::Decided(waiter, Err(Refusal::Busy));
        }
        let mut evicted = Vec::new();
        let is_queued = self.queue.contains(address, name, digest);
        let is_running = self.jobs.get(&digest).is_some_and(|pending| pending.job.is_none());
        if !is_queued && !is_running {
            // Without a password hash there is nothing to take the time of one.
            let Some(job) = job(self) else {
                return Authentication::Decided(waiter, Err(Refusal::Unauthenticated));
            };
            let of_name_max = job.check.of_name_max();
            if !self.make_room(address, name, digest, of_name_max, &mut evicted) {
                debug_assert!(evicted.is_empty(), "evicted, and still no room");
                return Authentication::Decided(waiter, Err(Refusal::Busy));
            }
            self.jobs.entry(digest).or_insert_with(|| PendingJob {
                name,
                job: Some(job),
                waiters: BTreeMap::new(),
            });
            self.queue.push(address, name, digest, now, &self.throttle);
        }
        let Some(pending) = self.jobs.get_mut(&digest) else {
            internal!("a queued login without a job");
            return Authentication::Decided(waiter, Err(Refusal::Busy));
        };
        self.last_id += 1;
        let id = LoginId(self.last_id);
        pending.waiters.insert(id, (address, waiter));
        self.waiting.insert(id, (digest, address));
        *self.waiting_at.entry(address).or_default() += 1;
        Authentication::Pending(id, evicted)
    }

    /// Forgets a waiter, or an exchange. A job without waiters is not run.
    pub fn cancel(&mut self, id: LoginId) {
        drop(self.exchanges.remove(id));
        let Some(&(digest, address)) = self.waiting.get(&id) else { return };
        let Some(pending) = self.jobs.get_mut(&digest) else {
            return internal!("a waiter without a job");
        };
        if pending.job.is_none() {
            // Its outcome is counted all the same.
            return;
        }
        pending.waiters.remove(&id);
        let name = pending.name;
        let is_alone = !pending.waiters.values().any(|(other, _)| *other == address);
        let is_last = pending.waiters.is_empty();
        self.forget_waiter(id);
        if is_alone {
            self.queue.remove(address, name, digest, &self.throttle);
        }
        if is_last {
            self.jobs.remove(&digest);
        }
    }

    /// Notes that the peer of a waiter has closed its side: it has gone, or is done with sending and
    /// reads the reply, as a script may. Nothing tells these apart before the reply, so that at most
    /// [`Logins::HALF_CLOSED_MAX`] may wait; one beyond is forgotten, and this is `false`.
    pub fn half_closed(&mut self, id: LoginId) -> bool {
        if !self.waiting.contains_key(&id) || self.half_closed.contains(&id) {
            return true;
        }
        if self.half_closed.len() >= Self::HALF_CLOSED_MAX {
            self.cancel(id);
            return false;
        }
        self.half_closed.insert(id)
    }

    /// The job to run next; else when there will be one, if one is queued.
    ///
    /// # Errors
    /// When there is none now.
    pub fn next(&mut self, now: Now) -> Result<Job, Option<u64>> {
        self.throttle.now = now;
        let jobs_from_ns = self.jobs_from_ns();
        if jobs_from_ns > now.mono_ns {
            return Err((!self.queue.is_empty()).then_some(jobs_from_ns));
        }
        loop {
            let digest = self.queue.next(now, &self.throttle)?;
            let Some(pending) = self.jobs.get_mut(&digest) else {
                internal!("a queued job that does not exist");
                continue;
            };
            let name = pending.name;
            let Some(job) = pending.job.take() else {
                internal!("a queued job that is running");
                continue;
            };
            for address in addresses(pending) {
                self.queue.remove(address, name, digest, &self.throttle);
            }
            return Ok(job);
        }
    }

    /// Ends a job: returns its waiters and their result.
    pub fn finish(&mut self, verdict: Verdict, now: Now) -> Finished<W> {
        self.throttle.now = now;
        let mut waiters = Vec::new();
        if let Some(pending) = self.jobs.remove(&verdict.digest) {
            for address in addresses(&pending) {
                self.record_outcome(address, pending.name, verdict.user.is_some(), now);
            }
            for (id, (_, waiter)) in pending.waiters {
                self.forget_waiter(id);
                waiters.push(waiter);
            }
        }
        Finished { waiters, ..self.conclude(verdict, now) }
    }

    /// The time before which no job is run, and no proof verified: there were too many wrong ones.
    const fn jobs_from_ns(&self) -> u64 {
        let burst_ns = (Self::WRONG_PROOFS_MAX - 1) * WRONG_PROOF_NS;
        self.wrong_proofs_end_ns.saturating_sub(burst_ns)
    }

    /// What a verdict means, if the user is still the one who was checked.
    fn conclude(&mut self, verdict: Verdict, now: Now) -> Finished<W> {
        let Verdict { name, digest, user, is_password } = verdict;
        if !is_password && user.is_none() {
            self.wrong_proofs_end_ns = self.wrong_proofs_end_ns.max(now.mono_ns) + WRONG_PROOF_NS;
        }
        let result = user.ok_or(Refusal::Unauthenticated).and_then(|(checked, message)| {
            let user = self.users.get(checked.name());
            let user = user.filter(|user| user.password() == checked.password());
            let principal = valid(user.ok_or(Refusal::Unauthenticated)?, now)?;
            if is_password {
                let forget_ns = now.after(Self::REMEMBERED);
                self.remembered.insert(checked.name().into(), (digest, forget_ns));
            }
            Ok(Accepted { principal, message })
        });
        Finished { name, waiters: Vec::new(), result, users_version: self.users_version }
    }

    fn record_outcome(&mut self, address: AddressKey, name: NameKey, is_success: bool, now: Now) {
        if is_success {
            self.throttle.names.remove_all((address, name));
            self.throttle.addresses.halve(address, now);
        } else {
            let (name_max, address_max) = (self.name_delay_max, self.address_delay_max);
            self.throttle.names.add((address, name), now, |count| {
                (NAME_DELAY_FIRST * (1 << count.saturating_sub(1).min(16))).min(name_max)
            });
            self.throttle.addresses.add(address, now, |count| {
                (ADDRESS_DELAY_EACH * count.saturating_sub(1)).min(address_max)
            });
        }
        self.queue.update(address, &self.throttle);
    }

    /// Whether another job can be queued within the bounds of its name, its address and of all;
    /// evicts jobs of an address or a name that has more.
    fn make_room(
        &mut self,
        address: AddressKey,
        name: NameKey,
        digest: CredentialDigest,
        of_name_max: usize,
        evicted: &mut Vec<W>,
    ) -> bool {
        let (at_address, of_name) = self.queue.count(address, name);
        let failures = self.throttle.addresses.count(address, self.throttle.now);
        let max =
            if failures >= SUSPECT_FROM { Self::SUSPECT_JOBS_MAX } else { Self::ADDRESS_JOBS_MAX };
        if of_name >= of_name_max {
            return false;
        }
        if at_address >= max {
            let Some((other, job)) = self.queue.last_of_name(address, of_name + 1) else {
                return false;
            };
            self.evict(address, other, job, evicted);
        }
        if self.jobs.len() < Self::JOBS_MAX || self.jobs.contains_key(&digest) {
            return true;
        }
        let Some((largest, other, job)) = self.queue.last_of_largest(address, &self.throttle)
        else {
            return !evicted.is_empty();
        };
        self.evict(largest, other, job, evicted);
        true
    }

    /// Removes a job from an address's queue, and its waiters there.
    fn evict(
        &mut self,
        address: AddressKey,
        name: NameKey,
        digest: CredentialDigest,
        evicted: &mut Vec<W>,
    ) {
        self.queue.remove(address, name, digest, &self.throttle);
        let Some(pending) = self.jobs.get_mut(&digest) else {
            return internal!("an evicted job that does not exist");
        };
        let waiters = mem::take(&mut pending.waiters);
        let (removed, kept): (Vec<_>, Vec<_>) =
            waiters.into_iter().partition(|(_, (other, _))| *other == address);
        pending.waiters = kept.into_iter().collect();
        if pending.waiters.is_empty() {
            self.jobs.remove(&digest);
        }
        for (id, (_, waiter)) in removed {
            self.forget_waiter(id);
            evicted.push(waiter);
        }
    }

    fn forget_waiter(&mut self, id: LoginId) {
        let Some((_, address)) = self.waiting.remove(&id) else {
            return internal!("a waiter that is not registered");
        };
        self.half_closed.remove(&id);
        let Some(count) = self.waiting_at.get_mut(&address) else {
            return internal!("a waiter that is not counted");
        };
        *count -= 1;
        if *count == 0 {
            self.waiting_at.remove(&address);
        }
    }

    fn recall(
        &mut self,
        name: &str,
        digest: &CredentialDigest,
        now: Now,
    ) -> Option<Result<Principal, Refusal>> {
        let &(remembered, forget_ns) = self.remembered.get(name)?;
        if now.mono_ns >= forget_ns {
            self.remembered.remove(name);
            return None;
        }
        let same: bool = remembered.ct_eq(digest).into();
        self.users.get(name).filter(|_| same).map(|user| valid(user, now))
    }

    /// The user whose password hash is the dummy hash for an unknown name: the same user each time,
    /// so that the cost is the same too, as with a known name.
    fn dummy_user(&self, name: &str) -> Option<&Arc<User>> {
        let [a, b, ..] = self.digest(name, "");
        self.users.any(u16::from_le_bytes([a, b]).into(), |user| user.password().has_hash())
    }

    fn name_key(&self, name: &str) -> NameKey {
        let [a, b, c, d, e, f, g, h, ..] = self.digest(name, "");
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    fn digest(&self, name: &str, password: &str) -> CredentialDigest {
        let parts = [&name.len().to_le_bytes(), name.as_bytes(), password.as_bytes()];
        keyed(&self.key, &parts)
    }

    /// Differs from all digests of names and passwords: no name is so long.
    fn exchange_digest(&self, id: LoginId) -> CredentialDigest {
        keyed(&self.key, &[&usize::MAX.to_le_bytes(), &id.0.to_le_bytes()])
    }
}

impl<W> fmt::Debug for Logins<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logins")
            .field("users", &self.users.len())
            .field("remembered", &self.remembered.len())
            .field("jobs", &self.jobs.len())
            .field("waiting", &self.waiting.len())
            .field("exchanges", &self.exchanges.len())
            .finish_non_exhaustive()
    }
}

impl Job {
    /// Checks it. A password takes some 20 ms of processor time and 19 MiB. Never panics.
    #[must_use]
    pub fn run(self) -> Verdict {
        let digest = self.digest;
        match self.check {
            Check::Password(Credentials { name, password }, user) => {
                let right = user.password().verify(&password);
                let same_name = *name == *user.name();
                let user = (right && same_name).then(|| (user, Vec::new()));
                Verdict { name, digest, user, is_password: true }
            }
            Check::Proof(mut proof) => {
                let name = mem::take(&mut proof.name);
                Verdict { name, digest, user: proof.verify(), is_password: false }
            }
        }
    }
}

#[cfg(test)]
impl LoginId {
    pub(crate) const fn of_test(number: u64) -> Self {
        Self(number)
    }
}

/// The principal of a user who was checked.
fn valid(user: &User, now: Now) -> Result<Principal, Refusal> {
    let principal = user.principal();
    if principal.has_expired(now) { Err(Refusal::Expired) } else { Ok(principal.clone()) }
}

fn keyed(key: &Hmac<Sha256>, parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = key.clone();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// The addresses of the waiters.
fn addresses<W>(pending: &PendingJob<W>) -> BTreeSet<AddressKey> {
    pending.waiters.values().map(|(address, _)| *address).collect()
}

/// Failures from which only few jobs of an address are queued.
const SUSPECT_FROM: u32 = 4;
/// Delay after the first failure of a name at an address; each further one doubles it.
const NAME_DELAY_FIRST: Duration = Duration::from_millis(100);
/// The time that a wrong proof takes of the [`Logins::WRONG_PROOFS_MAX`] of a second.
const WRONG_PROOF_NS: u64 = 1_000_000_000 / Logins::<()>::WRONG_PROOFS_MAX;
/// What each further failure adds to the delay of an address.
const ADDRESS_DELAY_EACH: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests;
