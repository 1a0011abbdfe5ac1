//! Logins of sessions and of tasks: decided at once, or by the threads that hash.

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use auth::{AddressKey, Authentication, Finished, LoginId, Logins};
use contract::{ConnectionId, Login, Principal, Refusal, Token};
use tokio::sync::oneshot;

use crate::{
    clock,
    cores::{Cores, ToCore},
    entropy::Entropy,
    excerpt::excerpt,
    tasks,
};

/// Who waits for the outcome of a login.
#[derive(Debug)]
pub struct Waiter {
    /// Whom to tell.
    pub requester: Requester,
    /// The address it logs in from.
    pub address: IpAddr,
    /// What logs call what it speaks.
    pub protocol: &'static str,
}

/// Whom to tell the outcome of a login.
#[derive(Debug)]
pub enum Requester {
    /// A session, by its connection and token.
    Session(ConnectionId, Token),
    /// A task.
    Task(oneshot::Sender<Result<Principal, Refusal>>),
}

/// What becomes of a login.
#[derive(Debug)]
pub enum Decision {
    /// It is decided.
    Done(Result<Principal, Refusal>),
    /// The requester is told; until then [`Cores::cancel_login`] says that it has gone.
    Later(LoginId),
}

impl Cores {
    /// Decides a login at once where that takes no time; otherwise the requester is told later.
    pub fn login(&self, login: &Login, anonymous: bool, waiter: Waiter) -> Decision {
        let key = AddressKey::from(waiter.address);
        let (address, protocol) = (waiter.address, waiter.protocol);
        match self.logins().authenticate(login, anonymous, key, clock::now(), waiter) {
            Authentication::Decided(_, outcome) => {
                if let (Login::Password(credentials), Err(Refusal::Unauthenticated)) =
                    (login, &outcome)
                {
                    log_failure(&credentials.name, address, protocol, 1);
                }
                Decision::Done(outcome)
            }
            Authentication::Pending(id, evicted) => {
                self.hashing.notify_one();
                for waiter in evicted {
                    self.tell(waiter.requester, Err(Refusal::Busy));
                }
                Decision::Later(id)
            }
        }
    }

    /// The waiter for this login has gone.
    pub fn cancel_login(&self, id: LoginId) {
        self.logins().cancel(id);
    }

    /// The peer of the waiter for this login has closed its side; `false`: there are too many of
    /// those, and this one gets no reply.
    pub fn half_closed(&self, id: LoginId) -> bool {
        self.logins().half_closed(id)
    }

    /// Starts the threads that hash passwords.
    ///
    /// # Errors
    /// When the kernel has no more threads.
    pub fn start_hashing(self: &Arc<Self>) -> io::Result<()> {
        for index in 0..HASHING_THREADS {
            let cores = Arc::clone(self);
            drop(tasks::thread(&format!("hash-{index}"), move || cores.hash_passwords())?);
        }
        Ok(())
    }

    fn hash_passwords(&self) {
        let mut logins = self.logins();
        loop {
            let now = clock::now();
            match logins.next(now) {
                Ok(job) => {
                    drop(logins);
                    let verdict = job.run();
                    logins = self.logins();
                    let finished = logins.finish(verdict, clock::now());
                    drop(logins);
                    self.finished(finished);
                    logins = self.logins();
                }
                Err(None) => {
                    logins = self.hashing.wait(logins).unwrap_or_else(PoisonError::into_inner);
                }
                Err(Some(at_ns)) => {
                    let time = Duration::from_nanos(at_ns.saturating_sub(now.mono_ns));
                    let waited = self.hashing.wait_timeout(logins, time);
                    (logins, _) = waited.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    fn finished(&self, finished: Finished<Waiter>) {
        let Finished { name, waiters, result } = finished;
        if result.is_err() {
            // One line however many have asked the same from there.
            let mut attempts = BTreeMap::<_, u32>::new();
            for waiter in &waiters {
                *attempts.entry((waiter.address, waiter.protocol)).or_default() += 1;
            }
            for ((address, protocol), attempts) in attempts {
                log_failure(&name, address, protocol, attempts);
            }
        }
        for waiter in waiters {
            self.tell(waiter.requester, result.clone());
        }
    }

    fn tell(&self, requester: Requester, outcome: Result<Principal, Refusal>) {
        match requester {
            Requester::Session(id, token) => {
                if let Some(core) = self.handles().get(usize::from(id.core)) {
                    core.send(ToCore::Login(id, token, outcome));
                }
            }
            // A task that has gone in the meantime needs no reply.
            Requester::Task(task) => drop(task.send(outcome)),
        }
    }

    fn logins(&self) -> MutexGuard<'_, Logins<Waiter>> {
        self.logins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The key of the digests by which verified credentials are remembered.
pub(crate) fn login_key() -> [u8; 64] {
    let mut entropy = Entropy::default();
    let mut key = [0; 64];
    for part in key.chunks_mut(16) {
        part.copy_from_slice(&entropy.next().to_ne_bytes());
    }
    key
}

/// Logs that a login failed, in the words that `docs/security.md` promises to those who read it by
/// a program: the name comes last, quoted and escaped, so that it cannot forge what stands before.
fn log_failure(name: &str, address: IpAddr, protocol: &str, attempts: u32) {
    let address = address.to_canonical();
    let name = &*excerpt(name, NAME_CHARS_MAX);
    tracing::warn!(%address, %protocol, attempts, name, "login failed");
}

/// Two hash at a time: at 20 ms each, a hundred different users a second.
const HASHING_THREADS: usize = 2;
/// Characters of a name that are logged.
const NAME_CHARS_MAX: usize = 64;
