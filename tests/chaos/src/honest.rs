//! The honest clients: an echo at a steady rate, and new connections that come all the time.

use std::{
    io,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    client::{self, RESPONSE_MAX},
    gateway::Addresses,
};

/// A kind of new connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Visit {
    /// Connect, open a WebSocket, be echoed once.
    Plain,
    /// The same over TLS.
    Tls,
    /// Publish by POST with the right password of a user who has not logged in before.
    Basic,
    /// Log in by STOMP, likewise.
    Stomp,
}

impl Visit {
    /// As the table calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Tls => "TLS",
            Self::Basic => "Basic login",
            Self::Stomp => "STOMP login",
        }
    }

    /// Does it once.
    pub(crate) fn pay(self, addresses: &Addresses) -> io::Result<()> {
        let to = if self == Self::Tls { addresses.tls } else { addresses.plain };
        let mut stream = client::connect(VISITOR, to, RESPONSE_MAX)?;
        match self {
            Self::Plain => {
                client::handshake(&mut stream, "/echo")?;
                client::echo(&mut stream, b"a visitor")
            }
            Self::Tls => {
                let mut stream = client::tls(&addresses.trust, stream)?;
                client::handshake(&mut stream, "/echo")?;
                client::echo(&mut stream, b"a visitor with TLS")
            }
            Self::Basic => match client::post(&mut stream, &addresses.next_user(), "secret")? {
                200..300 => Ok(()),
                status => {
                    Err(io::Error::other(format!("the response to a right login was {status}")))
                }
            },
            Self::Stomp => {
                if client::stomp_login(&mut stream, &addresses.next_user(), "secret")? {
                    Ok(())
                } else {
                    Err(io::Error::other("a right login was refused"))
                }
            }
        }
    }
}

/// What an honest client met.
#[derive(Debug)]
pub(crate) struct Sample {
    /// When it was due.
    pub(crate) at: Instant,
    /// How long it took, from when it was due; or what went wrong.
    pub(crate) result: Result<Duration, String>,
}

/// All that the honest clients met.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Of the echo.
    pub(crate) echo: Vec<Sample>,
    /// Of new connections.
    pub(crate) visits: Vec<(Visit, Sample)>,
}

/// The honest clients at work.
#[derive(Debug)]
pub(crate) struct Clients {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    addresses: Arc<Addresses>,
    stop: AtomicBool,
    ready: AtomicUsize,
    notes: Mutex<Notes>,
}

impl Clients {
    /// Starts them; the echo's connections are open when this returns.
    pub(crate) fn start(addresses: &Arc<Addresses>, visits: &[Visit]) -> Result<Self, String> {
        let shared = Arc::new(Shared {
            addresses: Arc::clone(addresses),
            stop: AtomicBool::new(false),
            ready: AtomicUsize::new(0),
            notes: Mutex::default(),
        });
        let mut threads = Vec::new();
        for index in 0..ECHO_CONNECTIONS {
            let shared = Arc::clone(&shared);
            threads.push(thread::spawn(move || shared.echo(index)));
        }
        for &visit in visits {
            let shared = Arc::clone(&shared);
            threads.push(thread::spawn(move || shared.visit(visit)));
        }
        let clients = Self { shared, threads };
        let end = Instant::now() + RESPONSE_MAX;
        while clients.shared.ready.load(Ordering::Relaxed) < ECHO_CONNECTIONS as usize {
            if Instant::now() > end {
                return Err("the honest echo could not be opened".into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(clients)
    }

    /// Stops them, as soon as what is in flight has its reply.
    pub(crate) fn stop(self) -> Notes {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            drop(thread.join());
        }
        std::mem::take(&mut *self.shared.notes())
    }
}

impl Shared {
    /// Sends at a fixed rate, whatever became of the messages before: a stall is felt by each
    /// message that was due meanwhile.
    fn echo(&self, index: u32) {
        let message = format!("message of connection {index}: {}", "x".repeat(64));
        let mut due = Instant::now() + ECHO_INTERVAL * index / ECHO_CONNECTIONS;
        let open = || {
            let mut stream = client::connect(ECHO, self.addresses.plain, RESPONSE_MAX)?;
            client::handshake(&mut stream, "/echo")?;
            io::Result::Ok(stream)
        };
        let mut stream = open();
        if stream.is_ok() {
            self.ready.fetch_add(1, Ordering::Relaxed);
        }
        while !self.stopped() {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let echoed = match &mut stream {
                Ok(stream) => client::echo(stream, message.as_bytes()),
                Err(error) => Err(io::Error::other(error.to_string())),
            };
            let result = echoed.map(|()| due.elapsed()).map_err(|error| error.to_string());
            let failed = result.is_err();
            self.notes().echo.push(Sample { at: due, result });
            if failed {
                self.pause(VISIT_INTERVAL);
                stream = open();
                due = Instant::now();
            }
            due += ECHO_INTERVAL;
        }
    }

    fn visit(&self, visit: Visit) {
        while !self.stopped() {
            let at = Instant::now();
            let paid = visit.pay(&self.addresses);
            let result = paid.map(|()| at.elapsed()).map_err(|error| error.to_string());
            self.notes().visits.push((visit, Sample { at, result }));
            self.pause(VISIT_INTERVAL);
        }
    }

    fn pause(&self, pause: Duration) {
        let end = Instant::now() + pause;
        while !self.stopped() && Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn notes(&self) -> std::sync::MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Two hundred messages a second in all.
const ECHO_CONNECTIONS: u32 = 4;
const ECHO_INTERVAL: Duration = Duration::from_millis(20);
/// Between one new connection and the next.
const VISIT_INTERVAL: Duration = Duration::from_millis(500);
/// Where honest clients come from. Attackers have addresses of their own.
const ECHO: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const VISITOR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
