//! Names of servers and their addresses, looked up on threads of their own: the system's resolver
//! blocks, for half a minute where a nameserver does not reply.

use std::{
    fmt, fs, io, mem,
    net::{IpAddr, ToSocketAddrs as _},
    sync::Arc,
    time::Duration,
};

use contract::Now;
use tokio::{sync::watch, time};

use crate::{clock, tasks};

/// A name, and what is known of its addresses.
///
/// There is one look-up of it at a time, on a thread of its own: all that come meanwhile wait for
/// that one, and it goes on when none waits any more. So there are never more of these threads than
/// names, and no name waits for another. A failure counts for as long as addresses that were found;
/// where there were some before, those are used meanwhile (RFC 8767).
pub(crate) struct Name {
    name: Box<str>,
    resolve: Arc<Resolve>,
    known: Arc<watch::Sender<Known>>,
}

/// Returns the addresses of a name. It may block.
type Resolve = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// All times are on the clock of [`Now::mono_ns`].
#[derive(Clone, Debug, Default)]
struct Known {
    /// What was found when addresses were last found.
    addresses: Vec<IpAddr>,
    /// How long they may be used while the name cannot be resolved.
    usable_until_mono_ns: u64,
    /// Why the last look-up found none.
    error: Option<Arc<io::Error>>,
    /// When the outcome of the last look-up is too old.
    fresh_until_mono_ns: u64,
    /// When the look-up in flight began.
    since_mono_ns: Option<u64>,
    /// The log says that the look-up in flight takes long.
    is_late: bool,
}

impl Name {
    /// A name, or an address as text, which is never looked up.
    pub(crate) fn new(name: Box<str>) -> Self {
        Self::resolved_by(name, Arc::new(system))
    }

    fn resolved_by(name: Box<str>, resolve: Arc<Resolve>) -> Self {
        let known = match name.parse() {
            Ok(address) => Known {
                addresses: vec![address],
                fresh_until_mono_ns: u64::MAX,
                ..Known::default()
            },
            Err(_) => Known::default(),
        };
        Self { name, resolve, known: Arc::new(watch::Sender::new(known)) }
    }

    /// Its addresses, in the order in which the system prefers them. Nothing bounds the time that
    /// takes, unless there are addresses from before: those are returned once a look-up has taken
    /// `fallback_timeout`, or [`FALLBACK_TIMEOUT_MAX`].
    ///
    /// # Errors
    /// When the system finds none, and has found none in the last day.
    pub(crate) async fn addresses(
        &self,
        fallback_timeout: Duration,
    ) -> Result<Vec<IpAddr>, Arc<io::Error>> {
        let mut known = self.known.subscribe();
        if let Some(since) = self.look_up() {
            let now = clock::now();
            let outcome = known.wait_for(|known| known.since_mono_ns.is_none());
            if self.known.borrow().is_usable(now) {
                let end =
                    Now { mono_ns: since, ..now }.after(fallback_timeout.min(FALLBACK_TIMEOUT_MAX));
                let left = Duration::from_nanos(end.saturating_sub(now.mono_ns));
                if time::timeout(left, outcome).await.is_err() {
                    self.log_late();
                }
            } else {
                // It cannot fail: what is waited for lives as long as this name.
                drop(outcome.await);
            }
        }
        self.known.borrow().outcome(clock::now())
    }

    /// Logs, once a look-up, that it takes long and addresses from before are used.
    fn log_late(&self) {
        // That is nothing to wait for.
        self.known.send_if_modified(|known| {
            if known.since_mono_ns.is_some() && !mem::replace(&mut known.is_late, true) {
                let (name, addresses) = (&*self.name, &known.addresses);
                tracing::warn!(name, ?addresses, "the look-up of a name takes long");
            }
            false
        });
    }

    /// Starts a look-up, if one is due. Returns when the one in flight began.
    fn look_up(&self) -> Option<u64> {
        let now = clock::now();
        let is_due = |known: &Known| {
            known.since_mono_ns.is_none() && known.fresh_until_mono_ns <= now.mono_ns
        };
        let begins = self.known.send_if_modified(|known| {
            let is_due = is_due(known);
            if is_due {
                known.since_mono_ns = Some(now.mono_ns);
                known.is_late = false;
            }
            is_due
        });
        if begins {
            let (name, resolve, known) =
                (self.name.clone(), Arc::clone(&self.resolve), Arc::clone(&self.known));
            let run = move || {
                let found = resolve(&name);
                known.send_modify(|known| known.looked_up(&name, found, clock::now()));
            };
            if let Err(error) = tasks::thread("lookup", run) {
                self.known.send_modify(|known| known.looked_up(&self.name, Err(error), now));
            }
        }
        self.known.borrow().since_mono_ns
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Name").field(&self.name).finish()
    }
}

impl Known {
    fn looked_up(&mut self, name: &str, found: io::Result<Vec<IpAddr>>, now: Now) {
        self.since_mono_ns = None;
        self.fresh_until_mono_ns = now.after(FRESH);
        match found {
            Ok(addresses) => {
                self.addresses = addresses;
                self.usable_until_mono_ns = now.after(USABLE);
                self.error = None;
            }
            Err(error) => {
                if self.error.is_none() && self.is_usable(now) {
                    let addresses = &self.addresses;
                    tracing::warn!(name, %error, ?addresses, "a name cannot be resolved any more");
                }
                self.error = Some(Arc::new(error));
            }
        }
    }

    /// Whether there are addresses that may be used while the name cannot be resolved.
    const fn is_usable(&self, now: Now) -> bool {
        self.usable_until_mono_ns > now.mono_ns
    }

    fn outcome(&self, now: Now) -> Result<Vec<IpAddr>, Arc<io::Error>> {
        match &self.error {
            Some(error) if !self.is_usable(now) => Err(Arc::clone(error)),
            _ => Ok(self.addresses.clone()),
        }
    }
}

/// As the system resolves names.
fn system(name: &str) -> io::Result<Vec<IpAddr>> {
    let found = (name, 0).to_socket_addrs().map_err(|error| {
        // Without descriptors the resolver says that there is no such name.
        fs::File::open("/dev/null").err().unwrap_or(error)
    })?;
    Ok(found.map(|address| address.ip()).collect())
}

/// For how long the outcome of a look-up counts: connections that come together cause one.
const FRESH: Duration = Duration::from_secs(1);
/// The longest that is waited for a look-up where there are addresses from before (RFC 8767 section
/// 5).
const FALLBACK_TIMEOUT_MAX: Duration = Duration::from_millis(1800);
/// For how long addresses may be used while their name cannot be resolved: a day, as there.
const USABLE: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, Sender},
    };

    use tracing::{
        Event, Level, Metadata, Subscriber,
        span::{Attributes, Id, Record},
    };

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::ZERO;

    /// A nameserver, whose replies are those that a test sends.
    struct Nameserver {
        /// A message for each look-up that has begun.
        begun: Receiver<()>,
        replies: Sender<io::Result<Vec<IpAddr>>>,
    }

    impl Nameserver {
        fn start() -> (Self, Name) {
            let (begin, begun) = mpsc::channel();
            let (replies, next) = mpsc::channel();
            let next = Mutex::new(next);
            let resolve = move |_: &str| {
                begin.send(()).unwrap();
                next.lock().unwrap().recv().unwrap()
            };
            let name = Name::resolved_by("server.test".into(), Arc::new(resolve));
            (Self { begun, replies }, name)
        }

        /// How many look-ups have begun since this was last called.
        fn begun(&self) -> usize {
            self.begun.try_iter().count()
        }

        fn finds(&self, address: &str) {
            self.replies.send(Ok(vec![address.parse().unwrap()])).unwrap();
        }

        fn fails(&self, why: &str) {
            self.replies.send(Err(io::Error::other(why))).unwrap();
        }
    }

    impl Name {
        /// As if the time for which an outcome counts had passed.
        fn make_old(&self) {
            self.known.send_modify(|known| known.fresh_until_mono_ns = 0);
        }

        async fn found(&self, fallback_timeout: Duration) -> String {
            match self.addresses(fallback_timeout).await {
                Ok(found) => format!("{found:?}"),
                Err(error) => error.to_string(),
            }
        }
    }

    /// Polls a look-up that does not end, as one that is given up.
    async fn give_up(name: &Name) {
        let waited = time::timeout(Duration::from_millis(1), name.addresses(LONG)).await;
        assert!(waited.is_err(), "{waited:?}");
    }

    #[tokio::test]
    async fn names_are_looked_up_and_addresses_are_not() {
        let loopback = Name::new("localhost".into()).addresses(LONG).await.unwrap();
        assert!(!loopback.is_empty() && loopback.iter().all(IpAddr::is_loopback), "{loopback:?}");
        for address in ["192.0.2.7", "2001:db8::7"] {
            let found = Name::new(address.into()).addresses(LONG).await.unwrap();
            assert_eq!(found, [address.parse::<IpAddr>().unwrap()]);
        }
        // RFC 6761 section 6.4.
        Name::new("none.invalid".into()).addresses(LONG).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_nameserver_that_does_not_reply_takes_one_thread_however_many_give_up() {
        let (server, name) = Nameserver::start();
        for _ in 0..40 {
            give_up(&name).await;
        }
        server.begun.recv().unwrap();
        assert_eq!(server.begun(), 0, "of the one look-up");
        // Another name is resolved meanwhile, and of this one whoever comes gets what is found.
        let other = Name::new("localhost".into());
        assert!(!other.addresses(LONG).await.unwrap().is_empty());
        server.finds("192.0.2.1");
        assert_eq!(name.found(LONG).await, "[192.0.2.1]");
        assert_eq!(server.begun(), 0);
    }

    #[tokio::test]
    async fn no_name_waits_for_another() {
        let silent: Vec<_> = (0..100).map(|_| Nameserver::start()).collect();
        for (server, name) in &silent {
            give_up(name).await;
            server.begun.recv().unwrap();
        }
        let (server, name) = Nameserver::start();
        server.finds("192.0.2.1");
        assert_eq!(name.found(LONG).await, "[192.0.2.1]");
        for (server, _) in &silent {
            server.fails("the end of the test");
        }
    }

    #[tokio::test]
    async fn an_outcome_is_shared_until_it_is_old() {
        let (server, name) = Nameserver::start();
        server.finds("192.0.2.1");
        server.fails("refused");
        for outcome in ["[192.0.2.1]", "refused"] {
            let together = [(); 3].map(|()| name.found(LONG));
            for found in together {
                assert_eq!(found.await, outcome);
            }
            assert_eq!(server.begun(), 1, "{outcome}");
            name.make_old();
            name.known.send_modify(|known| known.usable_until_mono_ns = 0);
        }
        server.finds("192.0.2.2");
        assert_eq!(name.found(LONG).await, "[192.0.2.2]", "after the failure");
    }

    /// Counts the lines of a thread's log.
    #[derive(Clone, Default)]
    struct Lines(Arc<AtomicUsize>);

    impl Subscriber for Lines {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            if *event.metadata().level() == Level::WARN {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    #[tokio::test]
    async fn a_look_up_that_takes_long_is_a_line_of_the_log() {
        let lines = Lines::default();
        let _guard = tracing::subscriber::set_default(lines.clone());
        let logged = || lines.0.load(Ordering::Relaxed);
        let (server, name) = Nameserver::start();
        server.finds("192.0.2.1");
        assert_eq!(name.found(LONG).await, "[192.0.2.1]");
        assert_eq!(logged(), 0);
        for look_up in 1..=2 {
            name.make_old();
            for _ in 0..3 {
                assert_eq!(name.found(SHORT).await, "[192.0.2.1]");
            }
            assert_eq!(logged(), look_up);
            server.finds("192.0.2.1");
            assert_eq!(name.found(LONG).await, "[192.0.2.1]");
            assert_eq!(logged(), look_up);
        }
    }

    #[tokio::test]
    async fn the_last_addresses_are_used_while_the_name_cannot_be_resolved() {
        let (server, name) = Nameserver::start();
        server.finds("192.0.2.1");
        assert_eq!(name.found(LONG).await, "[192.0.2.1]");
        // The nameserver does not reply.
        name.make_old();
        for _ in 0..3 {
            assert_eq!(name.found(SHORT).await, "[192.0.2.1]");
        }
        server.fails("no such name");
        // It replies that there is no such name.
        for _ in 0..3 {
            assert_eq!(name.found(LONG).await, "[192.0.2.1]");
            name.make_old();
            server.fails("no such name");
        }
        // That is so for too long.
        name.known.send_modify(|known| known.usable_until_mono_ns = 0);
        assert_eq!(name.found(LONG).await, "no such name");
        // It has moved.
        name.make_old();
        server.finds("192.0.2.2");
        assert_eq!(name.found(LONG).await, "[192.0.2.2]");
    }
}
