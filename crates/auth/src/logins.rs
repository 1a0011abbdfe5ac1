use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use contract::{Credentials, Login, Now, Principal, Refusal};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::{Users, user::User};

/// Decides logins. Those that need no hashing are answered at once; for the others it gives a
/// [`Job`] to run elsewhere, one for all who ask the same at the same time.
///
/// ```text
///        ask                    run, on another thread               finish
/// login -----> Answer, Joined or Hash(job) ----------------> verdict -------> who waited, answer
/// ```
///
/// `W` names who waits for an answer. A verified secret is remembered for
/// [`Logins::REMEMBERED`] by a keyed hash, so that ten thousand reconnects are not ten thousand
/// password hashes. Without users credentials are ignored; with users wrong ones always fail,
/// also where one could come in without. A name that nobody has takes as long as one that
/// somebody has.
pub struct Logins<W> {
    users: Users,
    key: Hmac<Sha256>,
    /// Of each user the secret verified last, and when to forget it. Never more than users.
    remembered: BTreeMap<Box<str>, (Mark, u64)>,
    /// Who waits for which credentials.
    hashing: BTreeMap<Mark, Vec<W>>,
    waiting: usize,
}

/// A keyed hash of a name and a password.
type Mark = [u8; 32];

/// What becomes of a login.
#[derive(Debug)]
pub enum Ask<W> {
    /// It is decided.
    Answer(W, Result<Principal, Refusal>),
    /// Run this, then hand its verdict to [`Logins::finish`].
    Hash(Job),
    /// A job that is under way will answer it.
    Joined,
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
    mark: Mark,
    user: Option<Principal>,
}

impl<W> Logins<W> {
    /// How long a verified secret is remembered.
    pub const REMEMBERED: Duration = Duration::from_secs(300);
    /// Jobs under way; logins beyond are refused as [`Refusal::Busy`].
    pub const JOBS_MAX: usize = 1000;
    /// Logins that wait for a job; those beyond are refused as [`Refusal::Busy`].
    pub const WAITING_MAX: usize = 100_000;

    /// Decides for these users. The key should be random and known to this process alone.
    #[must_use]
    pub fn new(users: Users, key: &[u8; 64]) -> Self {
        Self {
            users,
            key: Hmac::new(key.into()),
            remembered: BTreeMap::new(),
            hashing: BTreeMap::new(),
            waiting: 0,
        }
    }

    /// Decides a login, or begins to. `anonymous`: one may come in without credentials.
    pub fn ask(&mut self, login: &Login, anonymous: bool, now: Now, waiter: W) -> Ask<W> {
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
        if self.waiting >= Self::WAITING_MAX {
            return Ask::Answer(waiter, Err(Refusal::Busy));
        }
        if let Some(waiters) = self.hashing.get_mut(&mark) {
            waiters.push(waiter);
            self.waiting += 1;
            return Ask::Joined;
        }
        let user = self.users.get(&credentials.name).or_else(|| self.stand_in(&credentials.name));
        let Some(user) = user.filter(|_| self.hashing.len() < Self::JOBS_MAX).cloned() else {
            return Ask::Answer(waiter, Err(Refusal::Busy));
        };
        self.hashing.insert(mark, vec![waiter]);
        self.waiting += 1;
        Ask::Hash(Job { credentials: credentials.clone(), mark, user })
    }

    /// Takes in what a job found: gives back all who waited for it, and their answer.
    pub fn finish(&mut self, verdict: Verdict, now: Now) -> (Vec<W>, Result<Principal, Refusal>) {
        let waiters = self.hashing.remove(&verdict.mark).unwrap_or_default();
        self.waiting -= waiters.len();
        let answer = verdict.user.ok_or(Refusal::Unauthenticated);
        if let Ok(principal) = &answer {
            let forget_ns = now.after(Self::REMEMBERED);
            self.remembered.insert((*principal.name).into(), (verdict.mark, forget_ns));
        }
        (waiters, answer)
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
            .field("hashing", &self.hashing.len())
            .field("waiting", &self.waiting)
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
        Verdict { mark: self.mark, user }
    }
}

#[cfg(test)]
mod tests {
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
        Logins::new(users.into_iter().collect(), &[7; 64])
    }

    fn password(name: &str, password: &str) -> Login {
        Login::Password(Credentials { name: name.into(), password: Secret::new(password) })
    }

    fn at(seconds: u64) -> Now {
        Now { mono_ns: seconds * 1_000_000_000, unix_ms: 0 }
    }

    /// The answer, and how many hashes it took.
    fn decide(logins: &mut Logins<u32>, login: &Login, anonymous: bool, now: Now) -> (String, u32) {
        let (answer, hashes) = match logins.ask(login, anonymous, now, 1) {
            Ask::Answer(_, answer) => (answer, 0),
            Ask::Hash(job) => {
                let (waiters, answer) = logins.finish(job.run(), now);
                assert_eq!(waiters, [1]);
                (answer, 1)
            }
            Ask::Joined => panic!("nobody asked before"),
        };
        (answer.map_or_else(|refusal| format!("{refusal:?}"), |p| p.name.to_string()), hashes)
    }

    #[test]
    fn credentials_are_judged() {
        let no_users = || Logins::new(Users::default(), &[7; 64]);
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
        let Ask::Hash(job) = logins.ask(&password("bob", "secret"), false, at(0), 1) else {
            panic!("bob is not known yet");
        };
        let (_, answer) = logins.finish(job.run(), at(0));
        assert_eq!(answer, Ok(Principal::new("bob", ["viewer".into()])));
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
        let mut jobs = Vec::new();
        for waiter in 0..10_000 {
            match logins.ask(&login, false, at(0), waiter) {
                Ask::Hash(job) => jobs.push(job),
                Ask::Joined => {}
                other @ Ask::Answer(..) => panic!("{other:?}"),
            }
        }
        assert_eq!(jobs.len(), 1);
        let (waiters, answer) = logins.finish(jobs.remove(0).run(), at(0));
        assert_eq!(waiters, (0..10_000).collect::<Vec<_>>());
        assert_eq!(&*answer.unwrap().name, "ann");
        assert_eq!(decide(&mut logins, &login, false, at(1)), ("ann".to_owned(), 0));
    }

    #[test]
    fn a_wrong_password_does_not_join_a_right_one() {
        let mut logins = logins();
        let Ask::Hash(right) = logins.ask(&password("ann", "secret"), false, at(0), 1) else {
            panic!();
        };
        let Ask::Hash(wrong) = logins.ask(&password("ann", "other"), false, at(0), 2) else {
            panic!();
        };
        assert_eq!(logins.finish(wrong.run(), at(0)), (vec![2], Err(Refusal::Unauthenticated)));
        let (waiters, answer) = logins.finish(right.run(), at(0));
        assert_eq!((waiters, answer.is_ok()), (vec![1], true));
    }

    #[test]
    fn a_name_and_password_are_not_confused_where_they_meet() {
        let logins = logins();
        assert_ne!(logins.mark("ann", "secret"), logins.mark("anns", "ecret"));
    }

    #[test]
    fn a_flood_of_guesses_is_bounded() {
        let mut logins = logins();
        let mut jobs = Vec::new();
        let guess = |n: usize| password("ann", &n.to_string());
        for n in 0..Logins::<u32>::JOBS_MAX {
            let Ask::Hash(job) = logins.ask(&guess(n), false, at(0), 0) else {
                panic!("guess {n}");
            };
            jobs.push(job);
        }
        let next = guess(Logins::<u32>::JOBS_MAX);
        assert_eq!(decide(&mut logins, &next, false, at(0)), ("Busy".to_owned(), 0));
        for waiter in jobs.len()..Logins::<u32>::WAITING_MAX {
            let waiter = u32::try_from(waiter).unwrap();
            assert!(matches!(logins.ask(&guess(0), false, at(0), waiter), Ask::Joined));
        }
        assert_eq!(decide(&mut logins, &guess(0), false, at(0)), ("Busy".to_owned(), 0));
        let (waiters, _) = logins.finish(jobs.remove(0).run(), at(0));
        assert_eq!(waiters.len(), Logins::<u32>::WAITING_MAX - Logins::<u32>::JOBS_MAX + 1);
        assert_eq!(decide(&mut logins, &next, false, at(0)), ("Unauthenticated".to_owned(), 1));
    }

    #[test]
    fn secrets_are_not_printed() {
        let mut logins = logins();
        let ask = logins.ask(&password("ann", "secret"), false, at(0), 1);
        let shown = format!("{ask:?} {logins:?}");
        assert!(!shown.contains("secret") && !shown.contains("argon2"), "{shown}");
    }
}
