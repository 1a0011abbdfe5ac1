use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, mem,
    sync::Arc,
    time::Duration,
};

use contract::{Credentials, Login, Now, Principal, Refusal, internal};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::{
    AddressKey, Users,
    failures::Failures,
    turns::{NameKey, Record, Turns},
    user::User,
};

/// Decides logins. Those that need no hashing are answered at once; for the others there are
/// [`Job`]s to run elsewhere, one for all who ask the same at the same time.
///
/// ```text
///        ask               next                run, on another thread          finish
/// login -----> Answer
///        -----> Waiting --------> Job ----------------------------> Verdict ---------> Finished
///                  | cancel, or given up for another
///                  +------------------------------------------------> (no answer, or Busy)
/// ```
///
/// `W` names who waits for an answer. A verified secret is remembered for
/// [`Logins::REMEMBERED`] by a keyed hash, so that ten thousand reconnects are not ten thousand
/// password hashes. Without users credentials are ignored; with users wrong ones always fail,
/// also where one could come in without. A name that nobody has takes as long as one that
/// somebody has.
///
/// Jobs wait until a thread is free to run one. Addresses take turns, and the names tried from one
/// address do, so that a flood from some does not hold up the others. A failure slows down its
/// address, and more so its name at that address; the name stays as it was for all other
/// addresses. Success at an address halves what is held against it.
pub struct Logins<W> {
    users: Users,
    key: Hmac<Sha256>,
    /// Of each user the secret verified last, and when to forget it. Never more than users.
    remembered: BTreeMap<Box<str>, (Mark, u64)>,
    /// What is being checked, or waits for that.
    jobs: BTreeMap<Mark, Pending<W>>,
    /// Which job each waiter that is still to be answered waits for.
    waiting: BTreeMap<Ticket, (Mark, AddressKey)>,
    /// Of those the ones whose peer has closed its side.
    half_closed: BTreeSet<Ticket>,
    /// How many waiters each address has.
    waiting_at: BTreeMap<AddressKey, usize>,
    tickets: u64,
    turns: Turns<Mark>,
    guilt: Guilt,
    /// The longest delay of one name at one address.
    name_delay_max: Duration,
    /// The longest delay of one address.
    address_delay_max: Duration,
}

/// A keyed hash of a name and a password.
type Mark = [u8; 32];

/// Names a login that waits.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Ticket(u64);

/// What becomes of a login.
#[derive(Debug)]
pub enum Ask<W> {
    /// It is decided.
    Answer(W, Result<Principal, Refusal>),
    /// It waits for a job: a thread that waits for jobs should ask [`Logins::next`]. Others that
    /// were given up for it are to be told [`Refusal::Busy`].
    Waiting(Ticket, Vec<W>),
}

/// A password to check, which takes some 20 ms.
#[derive(Debug)]
pub struct Job {
    credentials: Credentials,
    mark: Mark,
    /// Against whose password. For an unknown name somebody else's, in vain.
    user: Arc<User>,
}

/// What a [`Job`] found.
#[derive(Debug)]
pub struct Verdict {
    name: Box<str>,
    mark: Mark,
    user: Option<Principal>,
}

/// Logins that a [`Verdict`] decided.
#[derive(Debug)]
pub struct Finished<W> {
    /// The name that was tried. What a peer sent: to be shown with care.
    pub name: Box<str>,
    /// All who waited for it.
    pub waiters: Vec<W>,
    /// Their answer.
    pub answer: Result<Principal, Refusal>,
}

/// A job and who waits for it.
struct Pending<W> {
    name: NameKey,
    /// `None` while it is run.
    job: Option<Job>,
    waiters: BTreeMap<Ticket, (AddressKey, W)>,
}

/// Failures by address, and by name at an address.
#[derive(Debug)]
struct Guilt {
    addresses: Failures<AddressKey>,
    names: Failures<(AddressKey, NameKey)>,
    now: Now,
}

impl Record for Guilt {
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
    /// Jobs under way. Of those beyond, one of the address with most is given up, where it has more
    /// than the newcomer; else the newcomer is refused as [`Refusal::Busy`].
    pub const JOBS_MAX: usize = 1000;
    /// Jobs of one address: what two threads do in half of the usual time for a login.
    pub const ADDRESS_JOBS_MAX: usize = 500;
    /// Jobs of an address with many failures. Of those beyond, one of the name with most is given
    /// up; else the newcomer is refused as [`Refusal::Busy`].
    pub const SUSPECT_JOBS_MAX: usize = 16;
    /// Different passwords of one name at one address; those beyond are refused as
    /// [`Refusal::Busy`].
    pub const NAME_JOBS_MAX: usize = 4;
    /// Logins that wait for a job; those beyond are refused as [`Refusal::Busy`].
    pub const WAITING_MAX: usize = 100_000;
    /// Those of one address.
    pub const ADDRESS_WAITING_MAX: usize = 50_000;
    /// Those whose peers have closed their side and may still read the answer.
    pub const HALF_CLOSED_MAX: usize = 16;

    /// Decides for these users. The key should be random and known to this process alone;
    /// `patience` is the time that a login may take.
    #[must_use]
    pub fn new(users: Users, key: &[u8; 64], patience: Duration) -> Self {
        Self {
            users,
            key: Hmac::new(key.into()),
            remembered: BTreeMap::new(),
            jobs: BTreeMap::new(),
            waiting: BTreeMap::new(),
            half_closed: BTreeSet::new(),
            waiting_at: BTreeMap::new(),
            tickets: 0,
            turns: Turns::new(),
            guilt: Guilt {
                addresses: Failures::new(),
                names: Failures::new(),
                now: Now::default(),
            },
            name_delay_max: patience / 4,
            // All that may wait at an address under suspicion get their turn in half of the time.
            address_delay_max: patience / 32,
        }
    }

    /// Decides a login, or begins to. `anonymous`: one may come in without credentials.
    pub fn ask(
        &mut self,
        login: &Login,
        anonymous: bool,
        address: AddressKey,
        now: Now,
        waiter: W,
    ) -> Ask<W> {
        self.guilt.now = now;
        let credentials = match login {
            Login::Password(credentials) if !self.users.is_empty() => credentials,
            Login::Password(_) | Login::Anonymous if anonymous => {
                return Ask::Answer(waiter, Ok(Principal::anonymous()));
            }
            Login::Password(_) | Login::Anonymous => {
                return Ask::Answer(waiter, Err(Refusal::Unauthenticated));
            }
        };
        let mark = self.mark(&credentials.name, credentials.password.expose());
        if let Some(principal) = self.recall(&credentials.name, &mark, now) {
            return Ask::Answer(waiter, Ok(principal));
        }
        let waiting_here = self.waiting_at.get(&address).copied().unwrap_or_default();
        if self.waiting.len() >= Self::WAITING_MAX || waiting_here >= Self::ADDRESS_WAITING_MAX {
            return Ask::Answer(waiter, Err(Refusal::Busy));
        }
        let name = self.name_key(&credentials.name);
        let mut given_up = Vec::new();
        let is_in_line = self.turns.contains(address, name, mark);
        let is_running = self.jobs.get(&mark).is_some_and(|pending| pending.job.is_none());
        if !is_in_line && !is_running {
            let has_room = self.make_room(address, name, mark, &mut given_up);
            let user =
                self.users.get(&credentials.name).or_else(|| self.stand_in(&credentials.name));
            let Some(user) = user.filter(|_| has_room).cloned() else {
                debug_assert!(given_up.is_empty(), "nobody is given up for nothing");
                return Ask::Answer(waiter, Err(Refusal::Busy));
            };
            self.jobs.entry(mark).or_insert_with(|| Pending {
                name,
                job: Some(Job { credentials: credentials.clone(), mark, user }),
                waiters: BTreeMap::new(),
            });
            self.turns.push(address, name, mark, now, &self.guilt);
        }
        let Some(pending) = self.jobs.get_mut(&mark) else {
            internal!("a login in line without a job");
            return Ask::Answer(waiter, Err(Refusal::Busy));
        };
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        pending.waiters.insert(ticket, (address, waiter));
        self.waiting.insert(ticket, (mark, address));
        *self.waiting_at.entry(address).or_default() += 1;
        Ask::Waiting(ticket, given_up)
    }

    /// Forgets a waiter that has gone. A job that nobody waits for is not run.
    pub fn cancel(&mut self, ticket: Ticket) {
        let Some(&(mark, address)) = self.waiting.get(&ticket) else { return };
        let Some(pending) = self.jobs.get_mut(&mark) else {
            return internal!("a login that waits for no job");
        };
        if pending.job.is_none() {
            // Its outcome counts all the same.
            return;
        }
        pending.waiters.remove(&ticket);
        let name = pending.name;
        let is_alone = !pending.waiters.values().any(|(other, _)| *other == address);
        let is_last = pending.waiters.is_empty();
        self.answered(ticket);
        if is_alone {
            self.turns.remove(address, name, mark, &self.guilt);
        }
        if is_last {
            self.jobs.remove(&mark);
        }
    }

    /// Takes note that the peer of a waiter has closed its side: it has gone, or is done with
    /// sending and reads the answer, as a script may. Nothing tells them apart before the answer,
    /// so that there may be [`Logins::HALF_CLOSED_MAX`] of them; one beyond is forgotten, and this
    /// is `false`.
    pub fn half_closed(&mut self, ticket: Ticket) -> bool {
        if !self.waiting.contains_key(&ticket) || self.half_closed.contains(&ticket) {
            return true;
        }
        if self.half_closed.len() >= Self::HALF_CLOSED_MAX {
            self.cancel(ticket);
            return false;
        }
        self.half_closed.insert(ticket)
    }

    /// The job to run next, for a thread that is free; else when there will be one, if one waits.
    ///
    /// # Errors
    /// When there is none now.
    pub fn next(&mut self, now: Now) -> Result<Job, Option<u64>> {
        self.guilt.now = now;
        loop {
            let mark = self.turns.next(now, &self.guilt)?;
            let Some(pending) = self.jobs.get_mut(&mark) else {
                internal!("a turn for a job that does not exist");
                continue;
            };
            let name = pending.name;
            let Some(job) = pending.job.take() else {
                internal!("a turn for a job that is running");
                continue;
            };
            for address in addresses(pending) {
                self.turns.remove(address, name, mark, &self.guilt);
            }
            return Ok(job);
        }
    }

    /// Takes in what a job found: gives back all who waited for it, and their answer.
    pub fn finish(&mut self, verdict: Verdict, now: Now) -> Finished<W> {
        self.guilt.now = now;
        let Verdict { name, mark, user } = verdict;
        let answer = user.ok_or(Refusal::Unauthenticated);
        let mut waiters = Vec::new();
        if let Some(pending) = self.jobs.remove(&mark) {
            for address in addresses(&pending) {
                self.judge(address, pending.name, answer.is_ok(), now);
            }
            for (ticket, (_, waiter)) in pending.waiters {
                self.answered(ticket);
                waiters.push(waiter);
            }
        }
        if let Ok(principal) = &answer {
            let forget_ns = now.after(Self::REMEMBERED);
            self.remembered.insert((*principal.name).into(), (mark, forget_ns));
        }
        Finished { name, waiters, answer }
    }

    fn judge(&mut self, address: AddressKey, name: NameKey, good: bool, now: Now) {
        if good {
            self.guilt.names.remove_all((address, name));
            self.guilt.addresses.halve(address, now);
        } else {
            let (name_max, address_max) = (self.name_delay_max, self.address_delay_max);
            self.guilt.names.add((address, name), now, |count| {
                (NAME_DELAY_FIRST * (1 << count.saturating_sub(1).min(16))).min(name_max)
            });
            self.guilt.addresses.add(address, now, |count| {
                (ADDRESS_DELAY_EACH * count.saturating_sub(1)).min(address_max)
            });
        }
        self.turns.update(address, &self.guilt);
    }

    /// Whether another job may wait, in the bounds of its name, its address and of all; gives up
    /// others of those who have more where that helps.
    fn make_room(
        &mut self,
        address: AddressKey,
        name: NameKey,
        mark: Mark,
        given_up: &mut Vec<W>,
    ) -> bool {
        let (at_address, of_name) = self.turns.count(address, name);
        let failures = self.guilt.addresses.count(address, self.guilt.now);
        let max =
            if failures >= SUSPECT_FROM { Self::SUSPECT_JOBS_MAX } else { Self::ADDRESS_JOBS_MAX };
        if of_name >= Self::NAME_JOBS_MAX {
            return false;
        }
        if at_address >= max {
            let Some((other, job)) = self.turns.last_of_name(address, of_name + 1) else {
                return false;
            };
            self.give_up(address, other, job, given_up);
        }
        if self.jobs.len() < Self::JOBS_MAX || self.jobs.contains_key(&mark) {
            return true;
        }
        let Some((largest, other, job)) = self.turns.last_of_largest(address, &self.guilt) else {
            return !given_up.is_empty();
        };
        self.give_up(largest, other, job, given_up);
        true
    }

    /// Takes a job out of an address's line, and those who wait for it there.
    fn give_up(&mut self, address: AddressKey, name: NameKey, mark: Mark, given_up: &mut Vec<W>) {
        self.turns.remove(address, name, mark, &self.guilt);
        let Some(pending) = self.jobs.get_mut(&mark) else {
            return internal!("a job in line that does not exist");
        };
        let waiters = mem::take(&mut pending.waiters);
        let (gone, stay): (Vec<_>, Vec<_>) =
            waiters.into_iter().partition(|(_, (other, _))| *other == address);
        pending.waiters = stay.into_iter().collect();
        if pending.waiters.is_empty() {
            self.jobs.remove(&mark);
        }
        for (ticket, (_, waiter)) in gone {
            self.answered(ticket);
            given_up.push(waiter);
        }
    }

    fn answered(&mut self, ticket: Ticket) {
        let Some((_, address)) = self.waiting.remove(&ticket) else {
            return internal!("a waiter of a job that waits for nothing");
        };
        self.half_closed.remove(&ticket);
        let Some(count) = self.waiting_at.get_mut(&address) else {
            return internal!("a waiter that its address does not count");
        };
        *count -= 1;
        if *count == 0 {
            self.waiting_at.remove(&address);
        }
    }

    fn recall(&mut self, name: &str, mark: &Mark, now: Now) -> Option<Principal> {
        let &(remembered, forget_ns) = self.remembered.get(name)?;
        if now.mono_ns >= forget_ns {
            self.remembered.remove(name);
            return None;
        }
        let same: bool = remembered.ct_eq(mark).into();
        self.users.get(name).filter(|_| same).map(|user| user.principal().clone())
    }

    /// Whose password an unknown name is checked against: as with a real user, the cost is the
    /// same each time.
    fn stand_in(&self, name: &str) -> Option<&Arc<User>> {
        let [a, b, ..] = self.mark(name, "");
        self.users.any(u16::from_le_bytes([a, b]).into())
    }

    fn name_key(&self, name: &str) -> NameKey {
        let [a, b, c, d, e, f, g, h, ..] = self.mark(name, "");
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    fn mark(&self, name: &str, password: &str) -> Mark {
        let mut mac = self.key.clone();
        mac.update(&name.len().to_le_bytes());
        mac.update(name.as_bytes());
        mac.update(password.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl<W> fmt::Debug for Logins<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logins")
            .field("users", &self.users.len())
            .field("remembered", &self.remembered.len())
            .field("jobs", &self.jobs.len())
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}

impl Job {
    /// Checks the password. Takes some 20 ms of processor time and 19 MiB, never panics.
    #[must_use]
    pub fn run(self) -> Verdict {
        let right = self.user.password().verify(&self.credentials.password);
        let same_name = *self.credentials.name == *self.user.name();
        let user = (right && same_name).then(|| self.user.principal().clone());
        Verdict { name: self.credentials.name, mark: self.mark, user }
    }
}

/// The addresses of those who wait.
fn addresses<W>(pending: &Pending<W>) -> BTreeSet<AddressKey> {
    pending.waiters.values().map(|(address, _)| *address).collect()
}

/// Failures from which few jobs of an address may wait.
const SUSPECT_FROM: u32 = 4;
/// Delay after the first failure of a name at an address; each further one doubles it.
const NAME_DELAY_FIRST: Duration = Duration::from_millis(100);
/// What each further failure adds to the delay of an address.
const ADDRESS_DELAY_EACH: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use argon2::{
        Algorithm, Argon2, Params, Version,
        password_hash::{PasswordHasher as _, phc::PasswordHash},
    };
    use contract::Secret;

    use super::*;
    use crate::Password;

    /// A hash of `secret` that takes little time.
    fn quick() -> Password {
        let params = Params::new(64, 1, 1, None).unwrap();
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hash: PasswordHash = argon2.hash_password_with_salt(b"secret", b"some salt").unwrap();
        Password::parse(&hash.to_string()).unwrap()
    }

    fn logins() -> Logins<u32> {
        let password = quick();
        let users = [("ann", "trader"), ("bob", "viewer")]
            .map(|(name, role)| User::new(name, [role.into()], password.clone()).unwrap());
        Logins::new(users.into_iter().collect(), &[7; 64], PATIENCE)
    }

    const PATIENCE: Duration = Duration::from_secs(10);

    /// The address of some host.
    fn host(number: u32) -> AddressKey {
        IpAddr::from(Ipv4Addr::from_bits(number)).into()
    }

    /// Asks, where it is expected to wait.
    fn waits(
        logins: &mut Logins<u32>,
        login: &Login,
        address: AddressKey,
        now: Now,
        waiter: u32,
    ) -> Ticket {
        match logins.ask(login, false, address, now, waiter) {
            Ask::Waiting(ticket, given_up) if given_up.is_empty() => ticket,
            other @ (Ask::Answer(..) | Ask::Waiting(..)) => panic!("{other:?}"),
        }
    }

    fn password(name: &str, password: &str) -> Login {
        Login::Password(Credentials { name: name.into(), password: Secret::new(password) })
    }

    fn at(seconds: u64) -> Now {
        Now { mono_ns: seconds * 1_000_000_000, unix_ms: 0 }
    }

    /// The answer, and how many hashes it took.
    fn decide(logins: &mut Logins<u32>, login: &Login, anonymous: bool, now: Now) -> (String, u32) {
        let (answer, hashes) = match logins.ask(login, anonymous, host(1), now, 1) {
            Ask::Answer(_, answer) => (answer, 0),
            Ask::Waiting(..) => {
                let later = logins.next(now).or_else(|at| {
                    let mono_ns = at.expect("one waits");
                    logins.next(Now { mono_ns, unix_ms: 0 })
                });
                let finished = logins.finish(later.unwrap().run(), now);
                assert_eq!(finished.waiters, [1]);
                (finished.answer, 1)
            }
        };
        (answer.map_or_else(|refusal| format!("{refusal:?}"), |p| p.name.to_string()), hashes)
    }

    #[test]
    fn credentials_are_judged() {
        let no_users = || Logins::new(Users::default(), &[7; 64], PATIENCE);
        let ann = password("ann", "secret");
        // The rule; users?; the login; may one come in without?; the answer; hashes.
        let cases: &[(&str, bool, Login, bool, &str, u32)] = &[
            ("without users credentials are ignored", false, ann.clone(), true, "anonymous", 0),
            ("no users, no anonymous", false, ann.clone(), false, "Unauthenticated", 0),
            ("nothing shown, nothing asked", false, Login::Anonymous, true, "anonymous", 0),
            ("a right password", true, ann, false, "ann", 1),
            ("a wrong password", true, password("ann", "Secret"), false, "Unauthenticated", 1),
            (
                "wrong fails with anonymous too",
                true,
                password("ann", ""),
                true,
                "Unauthenticated",
                1,
            ),
            (
                "an unknown name is hashed too",
                true,
                password("eve", "secret"),
                true,
                "Unauthenticated",
                1,
            ),
            ("an empty name", true, password("", ""), true, "Unauthenticated", 1),
            ("names have a case", true, password("Ann", "secret"), false, "Unauthenticated", 1),
            (
                "nobody is the reserved name",
                true,
                password("anonymous", ""),
                true,
                "Unauthenticated",
                1,
            ),
            ("nothing shown where one may", true, Login::Anonymous, true, "anonymous", 0),
            ("nothing shown where one must", true, Login::Anonymous, false, "Unauthenticated", 0),
        ];
        for (rule, users, login, anonymous, expected, hashes) in cases {
            let mut logins = if *users { logins() } else { no_users() };
            let actual = decide(&mut logins, login, *anonymous, at(0));
            assert_eq!(actual, ((*expected).to_owned(), *hashes), "{rule}");
        }
    }

    #[test]
    fn roles_come_with_the_login() {
        let mut logins = logins();
        waits(&mut logins, &password("bob", "secret"), host(1), at(0), 1);
        let job = logins.next(at(0)).unwrap();
        assert_eq!(
            logins.finish(job.run(), at(0)).answer,
            Ok(Principal::new("bob", ["viewer".into()]))
        );
    }

    #[test]
    fn a_verified_secret_is_remembered_for_five_minutes() {
        let mut logins = logins();
        let (right, wrong) = (password("ann", "secret"), password("ann", "secreT"));
        for (second, login, expected) in [
            (0, &right, ("ann", 1)),
            (1, &right, ("ann", 0)),
            (2, &wrong, ("Unauthenticated", 1)),
            (3, &wrong, ("Unauthenticated", 1)),
            (299, &right, ("ann", 0)),
            (300, &right, ("ann", 1)),
            (301, &right, ("ann", 0)),
        ] {
            let (answer, hashes) = decide(&mut logins, login, false, at(second));
            assert_eq!((&*answer, hashes), expected, "at {second} s");
        }
    }

    #[test]
    fn ten_thousand_reconnects_are_one_hash() {
        let mut logins = logins();
        let login = password("ann", "secret");
        for waiter in 0..10_000_u32 {
            // Half of them from one address.
            waits(&mut logins, &login, host(waiter.saturating_sub(5000)), at(0), waiter);
        }
        let job = logins.next(at(0)).unwrap();
        let finished = logins.finish(job.run(), at(0));
        assert!(logins.next(at(0)).is_err_and(|at| at.is_none()));
        assert_eq!(finished.waiters, (0..10_000).collect::<Vec<_>>());
        assert_eq!(&*finished.answer.unwrap().name, "ann");
        assert_eq!(decide(&mut logins, &login, false, at(1)), ("ann".to_owned(), 0));
    }

    #[test]
    fn a_wrong_password_does_not_join_a_right_one() {
        let mut logins = logins();
        waits(&mut logins, &password("ann", "secret"), host(1), at(0), 1);
        waits(&mut logins, &password("ann", "other"), host(1), at(0), 2);
        let (right, wrong) = (logins.next(at(0)).unwrap(), logins.next(at(0)).unwrap());
        let finished = logins.finish(wrong.run(), at(0));
        assert_eq!((finished.waiters, finished.answer), (vec![2], Err(Refusal::Unauthenticated)));
        let finished = logins.finish(right.run(), at(0));
        assert_eq!((finished.waiters, finished.answer.is_ok()), (vec![1], true));
    }

    #[test]
    fn a_name_and_password_are_not_confused_where_they_meet() {
        let logins = logins();
        assert_ne!(logins.mark("ann", "secret"), logins.mark("anns", "ecret"));
    }

    /// Runs jobs, one each 20 ms, until `waiter` is answered: how long that took.
    fn until_answered(logins: &mut Logins<u32>, waiter: u32, mut now: Now) -> Duration {
        let begin = now.mono_ns;
        loop {
            match logins.next(now) {
                Ok(job) => {
                    now.mono_ns += 20_000_000;
                    if logins.finish(job.run(), now).waiters.contains(&waiter) {
                        return Duration::from_nanos(now.mono_ns - begin);
                    }
                }
                Err(next) => now.mono_ns = next.expect("somebody waits"),
            }
            assert!(now.mono_ns - begin < 600_000_000_000, "never answered");
        }
    }

    #[test]
    fn a_flood_of_wrong_passwords_does_not_hold_up_others() {
        // Names and addresses that the 1,000 guesses come from.
        for (names, addresses) in [(1, 1), (1000, 1), (1, 20), (1000, 20), (1, 250), (1000, 250)] {
            let shown = format!("{names} names from {addresses} addresses");
            let mut logins = logins();
            for guess in 0..1000_u32 {
                let name = if names == 1 { "ann".to_owned() } else { format!("user {guess}") };
                let login = password(&name, &format!("guess {guess}"));
                logins.ask(&login, false, host(guess % addresses), at(0), guess);
            }
            // The flood's own name, and another, from elsewhere.
            let ask = logins.ask(&password("ann", "secret"), false, host(5000), at(0), 5000);
            assert!(matches!(ask, Ask::Waiting(..)), "{shown}: {ask:?}");
            let took = until_answered(&mut logins, 5000, at(0));
            assert!(took < PATIENCE, "{shown}: {took:?}");
            let ask = logins.ask(&password("bob", "secret"), false, host(5001), at(10), 5001);
            assert!(matches!(ask, Ask::Waiting(..)), "{shown}: {ask:?}");
            let took = until_answered(&mut logins, 5001, at(10));
            assert!(took <= Duration::from_secs(1), "{shown}: {took:?}");
            // Who is remembered is answered at once, wherever from.
            let ask = logins.ask(&password("ann", "secret"), false, host(0), at(10), 0);
            assert!(matches!(ask, Ask::Answer(_, Ok(_))), "{shown}: {ask:?}");
        }
    }

    #[test]
    fn others_behind_a_guessers_address_get_their_turn_in_time() {
        let mut logins = logins();
        let mut now = at(0);
        // One address guesses as fast as it may, for minutes.
        for guess in 0..100 {
            logins.ask(&password("ann", &guess.to_string()), false, host(1), now, guess);
            match logins.next(now) {
                Ok(job) => drop(logins.finish(job.run(), now)),
                Err(next) => now.mono_ns = next.unwrap(),
            }
        }
        assert!(now.mono_ns > 30_000_000_000, "it is slowed down: {now:?}");
        waits(&mut logins, &password("bob", "secret"), host(1), now, 1000);
        assert!(until_answered(&mut logins, 1000, now) < PATIENCE / 2);
    }

    #[test]
    fn many_users_behind_one_address_are_let_in() {
        let mut logins = logins();
        // Their names are not known, which makes no difference to waiting.
        for user in 0..Logins::<u32>::ADDRESS_JOBS_MAX {
            let waiter = u32::try_from(user).unwrap();
            waits(&mut logins, &password(&format!("u{user}"), ""), host(1), at(0), waiter);
        }
        let ask = logins.ask(&password("one more", ""), false, host(1), at(0), 0);
        assert!(matches!(ask, Ask::Answer(_, Err(Refusal::Busy))), "{ask:?}");
        waits(&mut logins, &password("ann", "secret"), host(2), at(0), 1000);
        assert!(until_answered(&mut logins, 1000, at(0)) < Duration::from_millis(100));
    }

    #[test]
    fn a_typing_error_costs_little() {
        let mut logins = logins();
        for typed in ["s", "se"] {
            waits(&mut logins, &password("ann", typed), host(1), at(0), 1);
            until_answered(&mut logins, 1, at(0));
        }
        waits(&mut logins, &password("ann", "secret"), host(1), at(1), 2);
        assert!(until_answered(&mut logins, 2, at(1)) < Duration::from_millis(300));
        assert_eq!(logins.guilt.addresses.count(host(1), at(1)), 1, "half is forgiven");
    }

    #[test]
    fn a_job_that_nobody_waits_for_is_not_run() {
        let mut logins = logins();
        let mut tickets = Vec::new();
        for waiter in 0..8 {
            let login = password(&format!("user {}", waiter / 2), "x");
            tickets.push(waits(&mut logins, &login, host(waiter % 2), at(0), waiter));
        }
        // All of user 0, one of user 1.
        for ticket in [0, 1, 2] {
            logins.cancel(tickets[ticket]);
        }
        let mut answered = Vec::new();
        while let Ok(job) = logins.next(at(60)) {
            logins.cancel(tickets[3]);
            answered.extend(logins.finish(job.run(), at(0)).waiters);
        }
        answered.sort_unstable();
        assert!(answered.ends_with(&[4, 5, 6, 7]), "{answered:?}");
        assert!(!answered.contains(&0) && !answered.contains(&2), "{answered:?}");
        assert!(logins.jobs.is_empty() && logins.waiting.is_empty());
        assert!(logins.waiting_at.is_empty());
    }

    #[test]
    fn few_of_those_that_closed_their_side_are_still_answered() {
        let mut logins = logins();
        let max = u32::try_from(Logins::<u32>::HALF_CLOSED_MAX).unwrap();
        let tickets: Vec<_> = (0..3 * max)
            .map(|n| waits(&mut logins, &password(&format!("user {n}"), "x"), host(n), at(0), n))
            .collect();
        let stay: Vec<_> = tickets[..2 * tickets.len() / 3]
            .iter()
            .filter(|ticket| logins.half_closed(**ticket))
            .copied()
            .collect();
        assert_eq!(stay, tickets[..tickets.len() / 3]);
        assert!(logins.half_closed(stay[0]), "saying it again changes nothing");
        // Where one of them has gone there is room for another.
        logins.cancel(stay[0]);
        assert!(logins.half_closed(tickets[tickets.len() - 1]));
        let mut answered = Vec::new();
        while let Ok(job) = logins.next(at(0)) {
            answered.extend(logins.finish(job.run(), at(0)).waiters);
        }
        answered.sort_unstable();
        assert_eq!(answered, (1..max).chain(2 * max..3 * max).collect::<Vec<_>>());
        assert!(logins.half_closed.is_empty());
    }

    #[test]
    fn a_full_queue_gives_up_those_of_the_address_with_most() {
        let mut logins = logins();
        let mut waiter = 0;
        for address in [1, 2] {
            for _ in 0..Logins::<u32>::ADDRESS_JOBS_MAX {
                let login = password(&format!("user {waiter}"), "x");
                waits(&mut logins, &login, host(address), at(0), waiter);
                waiter += 1;
            }
        }
        assert_eq!(logins.jobs.len(), Logins::<u32>::JOBS_MAX);
        let Ask::Waiting(_, given_up) =
            logins.ask(&password("ann", "secret"), false, host(3), at(0), 5000)
        else {
            panic!("refused");
        };
        assert_eq!(given_up.len(), 1);
        assert_eq!(logins.jobs.len(), Logins::<u32>::JOBS_MAX);
        assert!(until_answered(&mut logins, 5000, at(0)) < Duration::from_millis(100));
    }

    #[test]
    fn guesses_of_one_name_are_few_at_a_time() {
        let mut logins = logins();
        for guess in 0..4 {
            waits(&mut logins, &password("ann", &guess.to_string()), host(1), at(0), guess);
        }
        let ask = logins.ask(&password("ann", "4"), false, host(1), at(0), 4);
        assert!(matches!(ask, Ask::Answer(4, Err(Refusal::Busy))), "{ask:?}");
        // One that is in line already is joined; another address has a line of its own.
        waits(&mut logins, &password("ann", "0"), host(1), at(0), 5);
        waits(&mut logins, &password("ann", "4"), host(2), at(0), 6);
    }

    #[test]
    fn secrets_are_not_printed() {
        let mut logins = logins();
        let ask = logins.ask(&password("ann", "secret"), false, host(1), at(0), 1);
        let job = logins.next(at(0));
        let shown = format!("{ask:?} {job:?} {logins:?}");
        assert!(!shown.contains("secret") && !shown.contains("argon2"), "{shown}");
    }
}
