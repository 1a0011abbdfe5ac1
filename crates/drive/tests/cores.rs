//! Cores with sockets and sessions, and nothing else: no HTTP, no configuration, no listener.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

mod common;

use std::{
    collections::VecDeque,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use broker::{Placement, Subscriber};
use bytes::Bytes;
use contract::{
    Body, Command, ConnectionId, ConnectionLimits, Destination, Input, Kind, Lane, Message, Now,
    Opening, Outbox, Reason, Refusal, Session, SubscriptionId, Token,
};
use drive::{Arrival, CoreRef, Cores, Registration, tasks};

#[test]
fn a_session_is_handed_in_by_its_constructor() {
    let gateway = Gateway::start(1, |_, _| Box::<echo::Echo>::default());
    let mut peer = gateway.connect();
    peer.write_all(b"hello").unwrap();
    assert_eq!(read(&mut peer, 5), b"hello");
    // What was sent before the end gets its reply.
    peer.write_all(b"bye").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"bye");
    gateway.stop();
}

#[test]
fn what_is_published_on_one_core_is_received_on_the_other() {
    let topic = || Destination::hidden("topic");
    let gateway = Gateway::start(2, move |_, _| Box::new(broadcast::Broadcast::new(topic())));
    let [mut sender, mut receiver] = [gateway.connect(), gateway.connect()];
    let [one, other] = gateway.cores.handles() else { panic!("two cores") };
    assert_eq!((one.connections(), other.connections()), (1, 1));
    // Until the other core has registered its connection, nothing is received there.
    receiver.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut received = [0; 5];
    let is_received = (0..200).any(|_| {
        sender.write_all(b"hello").unwrap();
        receiver.read_exact(&mut received).is_ok()
    });
    assert!(is_received && received == *b"hello");
    assert_eq!(read(&mut sender, 5), b"hello");
    drop((sender, receiver));
    gateway.stop();
}

#[test]
fn a_session_is_told_that_its_subscription_was_cancelled() {
    let topic = || Destination::hidden("topic");
    let gateway = Gateway::start(1, move |_, _| Box::new(broadcast::Broadcast::new(topic())));
    let mut peer = gateway.connect();
    peer.write_all(b"hello").unwrap();
    assert_eq!(read(&mut peer, 5), b"hello");
    // A broadcast has one subscription; here only its core knows the name of its connection.
    let cancelled = gateway.cores.call_all(|core| {
        for (slot, generation) in (0..8).flat_map(|slot| (0..8).map(move |other| (slot, other))) {
            let connection = ConnectionId { core: 0, slot, generation };
            let subscriber = Subscriber { connection, subscription: SubscriptionId(0) };
            core.with(|core| core.cancel(subscriber, Refusal::Forbidden));
        }
    });
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(cancelled);
    assert_eq!(peer.read(&mut [0]).unwrap(), 0, "closed");
    drop(peer);
    gateway.stop();
}

#[test]
fn a_core_that_is_shut_down_closes_its_connections_and_ends() {
    let gateway = Gateway::start(1, |_, _| Box::<echo::Echo>::default());
    let mut peer = gateway.connect();
    peer.write_all(b"hello").unwrap();
    assert_eq!(read(&mut peer, 5), b"hello");
    gateway.cores.shut_down();
    assert_eq!(peer.read(&mut [0]).unwrap(), 0, "closed");
    drop(peer);
    gateway.stop();
}

/// Fails when a core ends as soon as it has no connections itself: there is no reply then.
#[test]
fn a_core_without_connections_goes_on_until_all_have_none() {
    let far = far();
    let gateway = Gateway::start(2, move |_, _| {
        let body = Body::Binary(Bytes::from_static(b"last"));
        let message = Arc::new(Message::new(far.clone(), 1, 0, body));
        Box::new(Leaving { message, deadline_ns: None })
    });
    let mut peer = gateway.connect();
    peer.write_all(b"hello").unwrap();
    assert_eq!(read(&mut peer, 5), b"hello");
    gateway.cores.shut_down();
    assert_eq!(read(&mut peer, 4), b"done");
    assert_eq!(peer.read(&mut [0]).unwrap(), 0, "closed");
    drop(peer);
    let cores = Arc::clone(&gateway.cores);
    gateway.threads.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
    assert_eq!(cores.messages_left(), 1);
}

/// Sends what it receives back; publishes a message some time after it is to close, and closes when it has
/// the reply.
struct Leaving {
    message: Arc<Message>,
    deadline_ns: Option<u64>,
}

impl Session for Leaving {
    fn handle(&mut self, input: Input<'_>, now: Now, out: &mut dyn Outbox) {
        match input {
            Input::Received(data) => {
                let bytes = data.bytes.to_vec();
                out.send(Kind::Stream, &mut |to| to.extend_from_slice(&bytes));
            }
            Input::Shutdown => self.deadline_ns = Some(now.after(Duration::from_millis(200))),
            Input::Timeout => {
                self.deadline_ns = None;
                let publish = Command::Publish(Lane::default(), Arc::clone(&self.message));
                out.command(Token(0), publish);
            }
            Input::Replied(..) => {
                out.send(Kind::Stream, &mut |to| to.extend_from_slice(b"done"));
                out.close(Reason::Shutdown, "the end", None);
            }
            Input::Opened
            | Input::Delivered(..)
            | Input::Notice(_)
            | Input::GivenUp(..)
            | Input::Closed(_) => {}
        }
    }

    fn deadline(&self) -> Option<u64> {
        self.deadline_ns
    }
}

/// A queue on the second of two cores.
fn far() -> Destination {
    let mut queues = (0..).map(|n| Destination::parse(&format!("/queue/{n}")).unwrap());
    queues.find(|to| Placement::new(2).home(to) == 1).unwrap()
}

#[test]
fn a_session_with_much_in_flight_is_not_read() {
    // On the core on which there is no connection, so that replies take a turn.
    let far = far();
    let in_flight_max = Arc::new(AtomicUsize::new(0));
    let most = Arc::clone(&in_flight_max);
    let gateway = Gateway::start(2, move |_, _| {
        let body = Body::Binary(Bytes::from_static(&[0; 100_000]));
        let message = Arc::new(Message::new(far.clone(), 1, 0, body));
        let in_flight = VecDeque::new();
        Box::new(Publisher { message, in_flight, in_flight_max: Arc::clone(&most) })
    });
    let mut peer = gateway.connect();
    // 16 pieces come with one read, of which 11 are as much as may be in flight.
    peer.write_all(&[b'x'; 256 << 10]).unwrap();
    assert_eq!(read(&mut peer, 256 << 10), [b'x'; 256 << 10], "each gets its reply");
    let most = in_flight_max.load(Ordering::Relaxed);
    assert!((1 << 20..(1 << 20) + 101_000).contains(&most), "{most} bytes");
    drop(peer);
    gateway.stop();
}

/// Publishes a message for each piece that it receives, and sends the piece back when it has the
/// reply.
struct Publisher {
    message: Arc<Message>,
    in_flight: VecDeque<Vec<u8>>,
    in_flight_max: Arc<AtomicUsize>,
}

impl Session for Publisher {
    fn handle(&mut self, input: Input<'_>, _: Now, out: &mut dyn Outbox) {
        match input {
            Input::Received(data) => {
                self.in_flight.push_back(data.bytes.to_vec());
                self.in_flight_max.fetch_max(self.in_flight_bytes(), Ordering::Relaxed);
                let publish = Command::Publish(Lane::default(), Arc::clone(&self.message));
                out.command(Token(0), publish);
            }
            Input::Replied(..) => {
                let bytes = self.in_flight.pop_front().unwrap();
                out.send(Kind::Stream, &mut |to| to.extend_from_slice(&bytes));
            }
            Input::Opened
            | Input::Delivered(..)
            | Input::Notice(_)
            | Input::Timeout
            | Input::GivenUp(..)
            | Input::Shutdown
            | Input::Closed(_) => {}
        }
    }

    fn deadline(&self) -> Option<u64> {
        None
    }

    fn in_flight_bytes(&self) -> usize {
        self.in_flight.len() * self.message.cost()
    }
}

struct Gateway {
    cores: Arc<Cores>,
    listener: TcpListener,
    threads: Vec<JoinHandle<std::io::Result<()>>>,
}

impl Gateway {
    /// Runs cores whose connections all have such a session.
    fn start(
        count: usize,
        open: impl Fn(&Opening<'_>, Now) -> Box<dyn Session> + Clone + Send + 'static,
    ) -> Self {
        let settings = common::settings(ConnectionLimits::default());
        let (cores, new_cores) = Cores::new(settings, count).unwrap();
        let run = |core: drive::NewCore| {
            let open = open.clone();
            let start = move |core: CoreRef| {
                // Broadcasts confirm no subscription, so that each core knows the topic before.
                let topic = Destination::hidden("topic").into();
                core.with(|core| core.keep_interest(topic));
                move |arrival: Arrival| register(&core, arrival, &open)
            };
            tasks::thread("core", move || core.run(start)).unwrap()
        };
        let threads = new_cores.into_iter().map(run).collect();
        Self { cores, listener: TcpListener::bind("127.0.0.1:0").unwrap(), threads }
    }

    fn connect(&self) -> TcpStream {
        let peer = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        self.cores.least_loaded().unwrap().accept(stream, 0);
        peer
    }

    fn stop(self) {
        self.cores.shut_down();
        for thread in self.threads {
            thread.join().unwrap().unwrap();
        }
    }
}

fn register(
    core: &CoreRef,
    arrival: Arrival,
    open: &impl Fn(&Opening<'_>, Now) -> Box<dyn Session>,
) {
    let Arrival { stream, permit, .. } = arrival;
    let registration = common::registration(stream.peer_addr().unwrap());
    let registration = Registration { permit: Some(permit), ..registration };
    core.register(mio::net::TcpStream::from_std(stream).into(), registration, open);
}

fn read(peer: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    peer.read_exact(&mut bytes).unwrap();
    bytes
}
