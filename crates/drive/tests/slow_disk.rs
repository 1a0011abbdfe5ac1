//! A store whose disk is slow: what waits for it is bounded, and nothing else waits.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]
#![expect(clippy::disallowed_methods, reason = "it sleeps on a thread of its own")]

mod common;

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, OnceLock},
    thread::{self, JoinHandle},
    time::Duration,
};

use broker::{LoadId, QueueId, QueuePosition, RecordBatch, StoreGate, StoreStats, WriteId};
use contract::{BrokerLimits, ConnectionLimits, Now, Opening, Refusal, Session};
use drive::{Arrival, CoreRef, Cores, Registration, Settings, tasks};
use store::{Completions, Options, WriteRefusal, files::SimulatedDisk};

/// Fails when `Writes::is_full` says that there is always room: 32 MiB are on their way to the disk then.
#[test]
fn a_thousand_producers_have_no_more_on_its_way_than_may_be() {
    raise_files_limit();
    let gateway = Gateway::start(EACH * PRODUCERS / 100);
    let mut producers: Vec<TcpStream> = (0..PRODUCERS).map(|_| gateway.connect()).collect();
    gateway.disk.stall(true);
    for (number, producer) in producers.iter_mut().enumerate() {
        let queue = number % 100;
        let frame = |receipt| send(&format!("/queue/{queue}"), "persistent:true\n", receipt);
        let frames: Vec<u8> = (0..EACH).flat_map(frame).collect();
        producer.write_all(&frames).unwrap();
    }
    let mut most = 0;
    for _ in 0..50 {
        thread::sleep(Duration::from_millis(100));
        most = most.max(gateway.in_flight_bytes());
    }
    assert!((4 << 20..(4 << 20) + 4096).contains(&most), "{most} bytes");
    gateway.disk.stall(false);
    for (number, producer) in producers.iter_mut().enumerate() {
        let expected: Vec<u8> = (0..EACH).flat_map(receipt).collect();
        let mut receipts = vec![0; expected.len()];
        producer.read_exact(&mut receipts).unwrap();
        assert_eq!(receipts, expected, "producer {number}");
    }
    assert_eq!(gateway.in_flight_bytes(), 0);
    drop(producers);
    gateway.stop();
}

/// Fails when `store::Store::write` waits until what it was given is stored: nothing comes then.
#[test]
fn what_is_not_durable_never_waits_for_the_disk() {
    let gateway = Gateway::start(1000);
    let mut producer = gateway.connect();
    let mut publisher = gateway.connect();
    let mut subscriber = gateway.connect();
    let subscribe = "SUBSCRIBE\nid:0\ndestination:/topic/t\nreceipt:0\n\n\0";
    subscriber.write_all(subscribe.as_bytes()).unwrap();
    read_until(&mut subscriber, &receipt(0));
    gateway.disk.stall(true);
    for number in 0..200 {
        producer.write_all(&send("/queue/q", "persistent:true\n", number)).unwrap();
        publisher.write_all(&send("/topic/t", "", number)).unwrap();
        read_until(&mut subscriber, b"x\0");
        read_until(&mut publisher, &receipt(number));
    }
    producer.set_nonblocking(true).unwrap();
    let nothing = producer.read(&mut [0]).unwrap_err();
    assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock, "nothing is stored");
    producer.set_nonblocking(false).unwrap();
    gateway.disk.stall(false);
    read_until(&mut producer, &receipt(199));
    drop((producer, publisher, subscriber));
    gateway.stop();
}

/// Fails when a session is not read while a command of it waits: what it acknowledges is behind that.
#[test]
fn a_producer_at_a_full_queue_acknowledges() {
    let gateway = Gateway::start(QUEUE_MESSAGES_MAX);
    let mut peer = gateway.connect();
    let subscribe = "SUBSCRIBE\nid:0\ndestination:/queue/q\nack:client-individual\n\
        prefetch-count:1\nreceipt:s\n\n\0";
    peer.write_all(subscribe.as_bytes()).unwrap();
    read_until(&mut peer, b"receipt-id:s\n\n\0");
    peer.write_all(&send("/queue/q", "", 0)).unwrap();
    let message = text(&read_until(&mut peer, b"x\0"));
    let ack = message.lines().find_map(|line| line.strip_prefix("ack:")).unwrap();
    for number in 1..QUEUE_MESSAGES_MAX {
        peer.write_all(&send("/queue/q", "", number)).unwrap();
        read_until(&mut peer, &receipt(number));
    }
    // There is no room for this one until its own connection acknowledges.
    peer.write_all(&send("/queue/q", "", 99)).unwrap();
    thread::sleep(Duration::from_millis(50));
    peer.write_all(format!("ACK\nid:{ack}\n\n\0").as_bytes()).unwrap();
    read_until(&mut peer, &receipt(99));
    drop(peer);
    gateway.stop();
}

fn send(to: &str, header: &str, receipt: usize) -> Vec<u8> {
    let body = "x".repeat(1024);
    format!("SEND\ndestination:{to}\n{header}receipt:{receipt}\n\n{body}\0").into_bytes()
}

fn receipt(number: usize) -> Vec<u8> {
    format!("RECEIPT\nreceipt-id:{number}\n\n\0").into_bytes()
}

/// What comes, until this has come.
fn read_until(peer: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    while !read.windows(end.len()).any(|found| found == end) {
        let len = peer.read(&mut buffer).unwrap_or_else(|error| {
            panic!("{error}: {:?} does not come, but {:?}", text(end), text(&read))
        });
        assert!(len > 0, "closed behind {:?}", text(&read));
        read.extend(buffer.get(..len).unwrap());
    }
    read
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A core with STOMP sessions, and a store.
struct Gateway {
    cores: Arc<Cores>,
    listener: TcpListener,
    core: JoinHandle<io::Result<()>>,
    store: Arc<OnDisk>,
    writer: JoinHandle<()>,
    disk: SimulatedDisk,
}

impl Gateway {
    fn start(queue_messages_max: usize) -> Self {
        let disk = SimulatedDisk::default();
        let files = Arc::new(disk.clone());
        let opened = store::open(files, Options::new(1, 7)).unwrap();
        let known = Arc::<OnceLock<Arc<Cores>>>::default();
        let (store, writer) = opened.start(ToCores(Arc::clone(&known)));
        let store = Arc::new(OnDisk { store, cores: Arc::clone(&known) });
        let broker_limits = BrokerLimits {
            queue_messages_max,
            publish_timeout: Duration::from_mins(1),
            ..BrokerLimits::default()
        };
        let settings = Settings {
            store: Some(Arc::<OnDisk>::clone(&store)),
            broker_limits: Arc::new(broker_limits),
            ..common::settings(ConnectionLimits::default())
        };
        let (cores, new_cores) = Cores::new(settings, 1).unwrap();
        known.set(Arc::clone(&cores)).unwrap();
        let start = |core: CoreRef| move |arrival: Arrival| register(&core, arrival);
        let [core] = <[_; 1]>::try_from(new_cores).unwrap_or_else(|_| panic!("one core"));
        let core = tasks::thread("core", move || core.run(start)).unwrap();
        let writer = tasks::thread("store", move || writer.run().unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { cores, listener, core, store, writer, disk }
    }

    /// A client that is connected.
    fn connect(&self) -> TcpStream {
        let mut peer = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        self.cores.least_loaded().unwrap().accept(stream, 0);
        peer.write_all(b"CONNECT\naccept-version:1.2\nhost:h\n\n\0").unwrap();
        assert!(text(&read_until(&mut peer, b"\n\n\0")).starts_with("CONNECTED"));
        peer
    }

    fn in_flight_bytes(&self) -> usize {
        self.store.store.in_flight_bytes(0)
    }

    fn stop(self) {
        self.cores.shut_down();
        self.core.join().unwrap().unwrap();
        self.store.store.close();
        self.writer.join().unwrap();
    }
}

fn register(core: &CoreRef, arrival: Arrival) {
    let Arrival { stream, permit, .. } = arrival;
    let registration = common::registration(stream.peer_addr().unwrap());
    let registration = Registration { permit: Some(permit), ..registration };
    let open = |opening: &Opening<'_>, now: Now| -> Box<dyn Session> {
        Box::new(stomp::Session::open(opening, now))
    };
    core.register(mio::net::TcpStream::from_std(stream).into(), registration, open);
}

/// What a core gives to the store.
#[derive(Debug)]
struct OnDisk {
    store: store::Store,
    cores: Arc<OnceLock<Arc<Cores>>>,
}

impl StoreGate for OnDisk {
    fn refusal(&self) -> Option<Refusal> {
        None
    }
}

impl drive::Store for OnDisk {
    fn write(&self, core: u16, batches: Vec<RecordBatch>) {
        self.store.write(core, batches);
    }

    fn stats(&self) -> Option<StoreStats> {
        None
    }

    fn load(&self, core: u16, id: LoadId, queue: QueueId, positions: Vec<QueuePosition>) {
        let read = |position| {
            let message = self.store.reader().read_from(&queue, position).unwrap();
            (position, message.map(Arc::new))
        };
        let messages = positions.into_iter().map(read).collect();
        self.cores.get().unwrap().loaded(core, id, queue, messages);
    }
}

/// What the store tells the core.
struct ToCores(Arc<OnceLock<Arc<Cores>>>);

impl Completions for ToCores {
    fn stored(&mut self, core: u16, upto: WriteId) {
        self.0.get().unwrap().stored(core, upto);
    }

    fn refused(&mut self, _: u16, _: WriteId, refusal: WriteRefusal) {
        panic!("{refusal}");
    }
}

/// Both ends of each connection are in this process.
fn raise_files_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    setrlimit(Resource::Nofile, raised).unwrap();
}

const PRODUCERS: usize = 1000;
/// Messages of a producer.
const EACH: usize = 32;
const QUEUE_MESSAGES_MAX: usize = 8;
