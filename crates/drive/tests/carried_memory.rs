//! Memory that carried sessions take while their tasks feed them as fast as they can, and take or
//! acknowledge nothing.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

mod common;

use std::{
    cell::Cell,
    future::poll_fn,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicIsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use contract::{BrokerLimits, ConnectionLimits, Now, Opening, Session};
use drive::{Arrival, Carrier, CoreRef, Cores, Pulled, Settings, tasks};
use testkit::live_bytes;

#[global_allocator]
static ALLOCATOR: testkit::Counting = testkit::Counting;

const CONNECTIONS: usize = 100;
const PIECE_BYTES: usize = 64 << 10;
const UNSENT_BYTES: usize = 1 << 20;
const UNSENT_BYTES_PER_CORE: usize = 16 << 20;
const QUEUE_BYTES: usize = 4 << 20;
/// What a core takes beside, for what it encodes in a turn above all.
const OTHER_BYTES: usize = 20 << 20;

#[test]
fn of_echoes_that_are_never_pulled() {
    let most = most_bytes(|storm| async move {
        let feeders: Vec<_> = (0..CONNECTIONS).map(|_| storm.start(echo_forever)).collect();
        for feeder in feeders {
            feeder.await.unwrap();
        }
    });
    assert_at_most(most, UNSENT_BYTES_PER_CORE + CONNECTIONS * 2 * PIECE_BYTES + OTHER_BYTES);
}

/// Feeds echoes until one is closed as too slow, three times.
async fn echo_forever(storm: Rc<Storm>) {
    for _ in 0..3 {
        let carrier = storm.carry(|_, _| Box::<echo::Echo>::default());
        // What is pulled and not acknowledged waits as well.
        assert_eq!(carrier.pull(0, 0).await, Pulled::Bytes(Bytes::new()));
        let mut fed = 0;
        while carrier.feed(Bytes::from(vec![b'x'; PIECE_BYTES])).await.is_ok() {
            storm.look();
            fed += PIECE_BYTES;
            if fed > PIECE_BYTES {
                storm.look();
                drop(carrier.pull(0, PIECE_BYTES).await);
            }
            assert!(fed < 100 << 20, "{fed} bytes were taken");
        }
    }
}

#[test]
fn of_publishers_to_a_full_queue() {
    let most = most_bytes(|storm| async move {
        let feeders: Vec<_> = (0..CONNECTIONS / 10).map(|_| storm.start(publish_forever)).collect();
        for feeder in feeders {
            feeder.await.unwrap();
        }
    });
    // 1 MiB is in flight for each, of messages that cost a little more than they are long.
    let each = (1 << 20) + 3 * PIECE_BYTES;
    assert_at_most(most, QUEUE_BYTES + CONNECTIONS / 10 * each * 5 / 4 + OTHER_BYTES);
}

async fn publish_forever(storm: Rc<Storm>) {
    let carrier = storm.carry(stomp);
    let body = ".".repeat(10_000);
    let piece = format!("SEND\ndestination:/queue/a\n\n{body}\0").repeat(6);
    let mut next = Bytes::from_static(b"CONNECT\naccept-version:1.2\n\n\0");
    while carrier.feed(next).await.is_ok() {
        storm.look();
        next = piece.clone().into();
    }
}

#[test]
fn of_sessions_whose_carriers_come_and_go() {
    let most = most_bytes(|storm| async move {
        // A session that reads nothing more, since its command has no reply yet.
        let carrier = storm.carry(stomp);
        let slot = carrier.slot();
        publish_until_it_waits(&storm, carrier).await;
        let mut refused = 0;
        for _ in 0..1_000 {
            let carrier = storm.core.attach(slot).unwrap();
            let mut feed = pin!(carrier.feed(Bytes::from(vec![b'\n'; PIECE_BYTES])));
            refused += u32::from(
                poll_fn(|context| Poll::Ready(feed.as_mut().poll(context).is_pending())).await,
            );
            storm.look();
        }
        assert!(refused > 900, "{refused} of 1,000 were not taken");
    });
    let waiting = (1 << 20) + 3 * PIECE_BYTES;
    assert_at_most(most, QUEUE_BYTES + waiting * 5 / 4 + OTHER_BYTES);
}

/// Publishes to a queue that is full in the end.
async fn publish_until_it_waits(storm: &Storm, carrier: Carrier) {
    let body = ".".repeat(10_000);
    let piece = format!("SEND\ndestination:/queue/a\n\n{body}\0").repeat(6);
    let mut next = Bytes::from_static(b"CONNECT\naccept-version:1.2\n\n\0");
    while tokio::time::timeout(Duration::from_millis(50), carrier.feed(next)).await.is_ok() {
        storm.look();
        next = piece.clone().into();
    }
}

#[test]
fn of_subscribers_that_are_away() {
    let most = most_bytes(|storm| async move {
        // Bodies that are copied for each, and others that are shared.
        for length in [1_000, 10_000] {
            send_to_others_away(&storm, length).await;
        }
    });
    assert_at_most(most, UNSENT_BYTES_PER_CORE + OTHER_BYTES);
}

async fn send_to_others_away(storm: &Storm, length: usize) {
    let mut away = Vec::new();
    for _ in 0..CONNECTIONS {
        let carrier = storm.carry(stomp);
        let frames = "CONNECT\naccept-version:1.2\n\n\0\
                      SUBSCRIBE\nid:s\ndestination:/topic/a\nreceipt:r\n\n\0";
        carrier.feed(frames.into()).await.unwrap();
        let mut received = Vec::new();
        while !received.ends_with(b"receipt-id:r\n\n\0") {
            let Pulled::Bytes(bytes) = carrier.pull(received.len() as u64, 1000).await else {
                panic!("the end");
            };
            received.extend(bytes);
        }
        away.push(carrier.slot());
    }
    let sender = storm.carry(stomp);
    sender.feed(Bytes::from_static(b"CONNECT\naccept-version:1.2\n\n\0")).await.unwrap();
    let frame = format!("SEND\ndestination:/topic/a\n\n{}\0", ".".repeat(length));
    for _ in 0..(4 << 20) / length {
        sender.feed(frame.clone().into()).await.unwrap();
        storm.look();
    }
    // All had more than they may.
    let left = away.iter().filter(|slot| storm.core.attach(**slot).is_ok()).count();
    assert_eq!(left, 0, "of those that are away");
}

fn stomp(opening: &Opening<'_>, now: Now) -> Box<dyn Session> {
    Box::new(stomp::Session::open(opening, now))
}

fn assert_at_most(most: isize, bound: usize) {
    assert!(most <= isize::try_from(bound).unwrap(), "{most} bytes, more than {bound}");
}

/// A core whose memory is watched.
struct Storm {
    core: CoreRef,
    before: isize,
    most: Cell<isize>,
}

impl Storm {
    fn look(&self) {
        self.most.set(self.most.get().max(live_bytes() - self.before));
    }

    fn carry(&self, open: fn(&Opening<'_>, Now) -> Box<dyn Session>) -> Carrier {
        let registration = common::registration(SocketAddr::from(([127, 0, 0, 1], 1)));
        self.core.carry(registration, open).unwrap()
    }

    /// Starts a task; what is returned tells of its end.
    fn start<F: Future<Output = ()> + 'static>(
        self: &Rc<Self>,
        run: impl FnOnce(Rc<Self>) -> F,
    ) -> tokio::sync::oneshot::Receiver<()> {
        let (done, end) = tokio::sync::oneshot::channel();
        let run = run(Rc::clone(self));
        tasks::local(async move {
            run.await;
            done.send(()).ok();
        });
        end
    }
}

/// Runs a storm on a core of its own; returns the most memory that was taken meanwhile.
fn most_bytes<F: Future<Output = ()> + 'static>(
    run: impl FnOnce(Rc<Storm>) -> F + Send + 'static,
) -> isize {
    let limits = ConnectionLimits {
        unsent_bytes_max: UNSENT_BYTES,
        write_timeout: Duration::from_millis(500),
        ..ConnectionLimits::default()
    };
    let broker_limits = BrokerLimits {
        queue_bytes_max: QUEUE_BYTES,
        publish_timeout: Duration::from_millis(500),
        ..BrokerLimits::default()
    };
    let settings = Settings {
        broker_limits: Arc::new(broker_limits),
        queue_rules: contract::QueueRules::default(),
        unsent_bytes_max_per_core: UNSENT_BYTES_PER_CORE,
        ..common::settings(limits)
    };
    let (cores, new) = Cores::new(settings, 1).unwrap();
    let most = Arc::new(AtomicIsize::new(0));
    let found = Arc::clone(&most);
    let all = Arc::clone(&cores);
    let core = new.into_iter().next().unwrap();
    let thread = tasks::thread("core", move || {
        core.run(move |core| {
            tasks::local(async move {
                let storm = Storm { core, before: live_bytes(), most: Cell::new(0) };
                let storm = Rc::new(storm);
                run(Rc::clone(&storm)).await;
                storm.look();
                found.store(storm.most.get(), Ordering::Relaxed);
                all.shut_down();
            });
            |_: Arrival| {}
        })
        .unwrap();
    });
    thread.unwrap().join().unwrap();
    most.load(Ordering::Relaxed)
}
