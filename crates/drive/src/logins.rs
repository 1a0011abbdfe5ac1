//! Logins of sessions and of tasks: decided at once, or by the threads that hash.

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    sync::{Arc, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use auth::{
    Accepted, Access, AddressKey, Authentication, Finished, LoginId, Logins, Mechanism, Users,
};
use contract::{ConnectionId, Login, Principal, Refusal, Step, Token};
use tokio::sync::oneshot;

use crate::{
    clock,
    cores::{Cores, ToCore},
    entropy::Entropy,
    event_loop::Reload,
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
    /// A task, which is told the [`Cores::users_version`] of the outcome too.
    Task(oneshot::Sender<(Result<Step, Refusal>, u64)>),
}

/// What becomes of a login.
#[derive(Debug)]
pub enum Decision {
    /// It is decided, by users with this [`Cores::users_version`].
    Done(Result<Step, Refusal>, u64),
    /// The peer is to be told this, and the next login names this exchange; until then
    /// [`Cores::cancel_login`] says that it has gone.
    Challenge(LoginId, Vec<u8>),
    /// The requester is told; until then [`Cores::cancel_login`] says that it has gone.
    Later(LoginId),
}

impl Cores {
    /// Decides a login at once where that takes no time; otherwise the requester is told later.
    /// `exchange` is the one that its connection has begun: a [`Login::Response`] continues it, and any
    /// other login ends it.
    pub fn login(
        &self,
        login: &Login,
        exchange: Option<LoginId>,
        anonymous: bool,
        waiter: Waiter,
    ) -> Decision {
        let key = AddressKey::from(waiter.address);
        let (address, protocol) = (waiter.address, waiter.protocol);
        let mut logins = self.logins();
        let authentication = match (login, exchange) {
            (Login::Response(response), Some(exchange)) => {
                logins.respond(exchange, response, key, clock::now(), waiter)
            }
            (_, exchange) => {
                exchange.into_iter().for_each(|exchange| logins.cancel(exchange));
                logins.authenticate(login, anonymous, key, clock::now(), waiter)
            }
        };
        let users_version = logins.users_version();
        drop(logins);
        match authentication {
            Authentication::Decided(_, outcome) => {
                if let (Login::Password(credentials), Err(Refusal::Unauthenticated)) =
                    (login, &outcome)
                {
                    log_failure(&credentials.name, address, protocol, 1);
                }
                Decision::Done(outcome.map(accepted), users_version)
            }
            Authentication::Checked(finished) => {
                log_failures(&finished);
                Decision::Done(finished.result.map(accepted), users_version)
            }
            Authentication::Challenged(_, exchange, challenge) => {
                Decision::Challenge(exchange, challenge)
            }
            Authentication::Pending(id, evicted) => {
                self.hashing.notify_one();
                for waiter in evicted {
                    self.tell(waiter.requester, Err(Refusal::Busy), u64::MAX);
                }
                Decision::Later(id)
            }
        }
    }

    /// Replaces the users and the access rules. Remembered logins are forgotten; connections of users
    /// who are gone or have another password end, others learn what has changed for them, and
    /// subscriptions that are not allowed any more end.
    pub fn reload(&self, users: Users, access: &Access) {
        let mut logins = self.logins();
        self.scram_for_all.store(users.all_have(Mechanism::Sha256), Ordering::Relaxed);
        let changes = logins.set_users(users);
        // Within the lock, so that cores learn of reloads in their order.
        self.users_version.store(logins.users_version(), Ordering::Release);
        *self.lock_access() = access.clone();
        let reload = Arc::new(Reload {
            access: access.clone(),
            changes,
            users_version: logins.users_version(),
        });
        for core in self.handles() {
            core.send(ToCore::Reload(Arc::clone(&reload)));
        }
    }

    /// How often the users were replaced.
    #[must_use]
    pub fn users_version(&self) -> u64 {
        self.users_version.load(Ordering::Acquire)
    }

    /// As [`auth::Logins::principal_now`], with the version of the users by which that is so.
    pub(crate) fn principal_now(
        &self,
        principal: &Principal,
        users_version: u64,
    ) -> Result<(Principal, u64), Refusal> {
        let logins = self.logins();
        let principal = logins.principal_now(principal, users_version)?;
        Ok((principal, logins.users_version()))
    }

    /// The access rules.
    #[must_use]
    pub fn access(&self) -> Access {
        self.lock_access().clone()
    }

    fn lock_access(&self) -> MutexGuard<'_, Access> {
        self.access.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The waiter for this login has gone, or the peer of this exchange.
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
        log_failures(&finished);
        let outcome = finished.result.map(accepted);
        for waiter in finished.waiters {
            self.tell(waiter.requester, outcome.clone(), finished.users_version);
        }
    }

    /// Tells an outcome, which is of users with this version.
    fn tell(&self, requester: Requester, outcome: Result<Step, Refusal>, users_version: u64) {
        match requester {
            Requester::Session(id, token) => {
                if let Some(core) = self.handles().get(usize::from(id.core)) {
                    core.send(ToCore::Login(id, token, outcome, users_version));
                }
            }
            // A task that has gone in the meantime needs no reply.
            Requester::Task(task) => drop(task.send((outcome, users_version))),
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

fn accepted(Accepted { principal, message }: Accepted) -> Step {
    Step::Accepted(principal, message)
}

/// Logs logins that failed: one line however many tried the same from there.
fn log_failures(finished: &Finished<Waiter>) {
    if finished.result != Err(Refusal::Unauthenticated) {
        return;
    }
    let mut attempts = BTreeMap::<_, u32>::new();
    for waiter in &finished.waiters {
        *attempts.entry((waiter.address, waiter.protocol)).or_default() += 1;
    }
    for ((address, protocol), attempts) in attempts {
        log_failure(&finished.name, address, protocol, attempts);
    }
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
