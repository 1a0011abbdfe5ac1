//! The honest clients: an echo and a producer at a steady rate, a consumer, and new connections that
//! come all the time.

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
    ledger::{self, Ledger, SILENCE_MAX},
    stomp::{Options, Stomp},
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
    /// Of messages, until their RECEIPT.
    pub(crate) sends: Vec<Sample>,
    /// Of the consumer.
    pub(crate) consumer: Option<String>,
    /// Of [`QUEUE`]; what the consumer refused is a dead letter.
    pub(crate) queue: Ledger,
    /// Of a topic.
    pub(crate) topic: Ledger,
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
    /// The producer sends no more.
    sent_all: AtomicBool,
    ready: AtomicUsize,
    notes: Mutex<Notes>,
}

impl Clients {
    /// Starts them; all but the new connections are open when this returns.
    pub(crate) fn start(addresses: &Arc<Addresses>, visits: &[Visit]) -> Result<Self, String> {
        let shared = Arc::new(Shared {
            addresses: Arc::clone(addresses),
            stop: AtomicBool::new(false),
            sent_all: AtomicBool::new(false),
            ready: AtomicUsize::new(0),
            notes: Mutex::default(),
        });
        // Before the producer sends anything.
        let mut consumer =
            subscribe(addresses).map_err(|error| format!("the consumer: {error}"))?;
        let mut threads = Vec::new();
        for index in 0..ECHO_CONNECTIONS {
            let shared = Arc::clone(&shared);
            threads.push(thread::spawn(move || shared.echo(index)));
        }
        let producing = Arc::clone(&shared);
        threads.push(thread::spawn(move || producing.produce()));
        let consuming = Arc::clone(&shared);
        threads.push(thread::spawn(move || consuming.consume(&mut consumer)));
        for &visit in visits {
            let shared = Arc::clone(&shared);
            threads.push(thread::spawn(move || shared.visit(visit)));
        }
        let clients = Self { shared, threads };
        let end = Instant::now() + RESPONSE_MAX;
        while clients.shared.ready.load(Ordering::Relaxed) < ECHO_CONNECTIONS as usize + 1 {
            if Instant::now() > end {
                return Err("the honest clients could not connect".into());
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
    fn echo(&self, index: u32) {
        let message = format!("message of connection {index}: {}", "x".repeat(64));
        let connect = || {
            let mut stream = client::connect(ECHO, self.addresses.plain, RESPONSE_MAX)?;
            client::handshake(&mut stream, "/echo")?;
            Ok(stream)
        };
        let echo = |stream: &mut _| client::echo(stream, message.as_bytes());
        let phase = ECHO_INTERVAL * index / ECHO_CONNECTIONS;
        self.at_a_rate(phase, connect, echo, |notes| &mut notes.echo);
    }

    /// Sends to the queue and to the topic in turn, mostly small messages.
    fn produce(&self) {
        let connect = || Stomp::connect(self.addresses.plain, Options::from(PRODUCER));
        let mut number = 0;
        let send = |stomp: &mut Stomp| {
            number += 1;
            let body = ledger::body(number, if number % 20 < 2 { 32 << 10 } else { 100 });
            if number % 2 == 0 {
                stomp.publish(&format!("/queue/{QUEUE}"), &body)?;
                self.notes().queue.confirm(number);
            } else {
                stomp.publish(TOPIC, &body)?;
                self.notes().topic.confirm(number);
            }
            Ok(())
        };
        self.at_a_rate(Duration::ZERO, connect, send, |notes| &mut notes.sends);
        self.sent_all.store(true, Ordering::Relaxed);
    }

    /// Does something at a fixed rate, whatever became of it before: a stall is felt by all that was
    /// due meanwhile.
    fn at_a_rate<T>(
        &self,
        phase: Duration,
        connect: impl Fn() -> io::Result<T>,
        mut act: impl FnMut(&mut T) -> io::Result<()>,
        samples: impl Fn(&mut Notes) -> &mut Vec<Sample>,
    ) {
        let mut due = Instant::now() + phase;
        let mut connection = connect();
        if connection.is_ok() {
            self.ready.fetch_add(1, Ordering::Relaxed);
        }
        while !self.stopped() {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let done = match &mut connection {
                Ok(connection) => act(connection),
                Err(error) => Err(io::Error::other(error.to_string())),
            };
            let result = done.map(|()| due.elapsed()).map_err(|error| error.to_string());
            let failed = result.is_err();
            samples(&mut self.notes()).push(Sample { at: due, result });
            if failed {
                self.pause(VISIT_INTERVAL);
                connection = connect();
                due = Instant::now();
            }
            due += ECHO_INTERVAL;
        }
    }

    fn consume(&self, stomp: &mut Stomp) {
        if let Err(error) = self.receive_all(stomp) {
            self.notes().consumer = Some(error.to_string());
        }
    }

    /// Until nothing of the topic is missing; what is left in the queue can be taken out later.
    fn receive_all(&self, stomp: &mut Stomp) -> io::Result<()> {
        let mut last = Instant::now();
        loop {
            let Some(message) = stomp.receive(Duration::from_millis(50))? else {
                let is_complete = self.notes().topic.missing() == 0;
                let sent_all = self.sent_all.load(Ordering::Relaxed);
                if sent_all && (is_complete || last.elapsed() > SILENCE_MAX) {
                    // So that the acknowledgements are carried out.
                    return stomp.confirm("DISCONNECT", "", b"");
                }
                continue;
            };
            last = Instant::now();
            let number = ledger::number(&message.body)?;
            if message.get("subscription") == Some("topic") {
                self.notes().topic.find(number);
            } else if number.is_multiple_of(REFUSED) {
                stomp.settle("NACK", &message)?;
            } else {
                stomp.settle("ACK", &message)?;
                self.notes().queue.find(number);
            }
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

fn subscribe(addresses: &Addresses) -> io::Result<Stomp> {
    let mut stomp = Stomp::connect(addresses.plain, Options::from(CONSUMER))?;
    let more = "ack:client-individual\nprefetch-count:10\n";
    stomp.subscribe("queue", &format!("/queue/{QUEUE}"), more)?;
    stomp.subscribe("topic", TOPIC, "")?;
    Ok(stomp)
}

/// The queue of the producer and the consumer.
pub(crate) const QUEUE: &str = "honest";
/// As deep as a hostile pattern, and found by none of them.
const TOPIC: &str = "/topic/honest.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a";
/// Messages of the queue whose number is a multiple become dead letters.
const REFUSED: u64 = 50;
/// Two hundred messages a second in all.
const ECHO_CONNECTIONS: u32 = 4;
const ECHO_INTERVAL: Duration = Duration::from_millis(20);
/// Between one new connection and the next.
const VISIT_INTERVAL: Duration = Duration::from_millis(500);
/// Where honest clients come from. Attackers have addresses of their own.
const ECHO: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const VISITOR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const PRODUCER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);
const CONSUMER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 5);
/// Takes out what is left.
pub(crate) const COLLECTOR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
