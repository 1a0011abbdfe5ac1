mod carried;
mod reloads;

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::Mutex,
};

use auth::{Access, Users};
use bytes::Bytes;
use contract::{
    Body, BrokerLimits, ConflationKey, Destination, Kind, Message, Outbox, QuotaLimits, SlowPolicy,
    Subscribe, SubscriptionId,
};

use super::*;
use crate::cores::Settings;

/// Of as many the kernel takes far more than a turn may write, though no peer reads.
const READERS: usize = 64;
const MESSAGE_BYTES: usize = 1_000_000;
const MESSAGES: usize = 400;

#[test]
fn readers_of_large_messages_leave_others_their_turn() {
    let mut core = core();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peers: Vec<_> = (0..READERS).map(|_| connect(&mut core, &listener, Reader)).collect();
    while core.turn().unwrap().busy {}
    // Hands over what the turns below go on with.
    peers.push(connect(&mut core, &listener, Sender));
    // Each may always be handed one message.
    let bytes_max = SPENT_PER_TURN * BYTES_PER_SPENT + READERS * MESSAGE_BYTES;
    let mut written = 0;
    for turns in 0.. {
        let bytes = bytes_out(&core) - written;
        assert!(bytes <= bytes_max, "{bytes} bytes in a turn");
        written += bytes;
        assert!(turns < 1_000, "the kernel takes no more, and the core is busy");
        if !core.turn().unwrap().busy {
            break;
        }
    }
    assert!(written > 2 * bytes_max, "{written} bytes are no more than two turns may write");
    assert!(core.tools.pending_requests.is_empty() && core.tools.dirty.is_empty());
    drop(peers);
}

/// A subscription of its own kind among those of a topic, and replies, leave messages that come
/// together together for the others.
#[test]
fn one_buffered_subscription_breaks_no_run() {
    let mut core = core();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let seen = Seen::default();
    let reader = |name, on_slow| {
        let pattern = topic().into();
        TopicReader { name, pattern, on_slow, seen: Arc::clone(&seen) }
    };
    let peers = [
        connect(&mut core, &listener, reader("buffered", SlowPolicy::DropOldest)),
        connect(&mut core, &listener, reader("pushed", SlowPolicy::Close)),
        connect(&mut core, &listener, reader("pushed too", SlowPolicy::Close)),
        connect(&mut core, &listener, TopicSender(vec![topic(); 3])),
    ];
    while core.turn().unwrap().busy {}
    let all = |name| (1..4).map(move |id| (name, id));
    let expected: Vec<_> = ["pushed", "pushed too", "buffered"].into_iter().flat_map(all).collect();
    assert_eq!(*seen.lock().unwrap(), expected);
    drop(peers);
}

/// They could take more at any time.
#[test]
fn readers_of_the_latest_leave_others_their_turn() {
    const KEYS: usize = 100;
    let mut core = core();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let seen = Seen::default();
    let mut peers: Vec<_> = (0..READERS)
        .map(|_| {
            let reader = TopicReader {
                name: "latest",
                pattern: Pattern::parse("/topic/k.*").unwrap(),
                on_slow: SlowPolicy::Latest(ConflationKey::Destination),
                seen: Arc::clone(&seen),
            };
            connect(&mut core, &listener, reader)
        })
        .collect();
    while core.turn().unwrap().busy {}
    let topics = (0..KEYS).map(|key| Destination::parse(&format!("/topic/k.{key}")).unwrap());
    peers.push(connect(&mut core, &listener, TopicSender(topics.collect())));
    let (mut before, mut turns) = (0, 0);
    loop {
        let turn = core.turn().unwrap();
        let count = seen.lock().unwrap().len();
        assert!(count - before <= LATEST_PER_TURN, "{} in a turn", count - before);
        turns += usize::from(count > before);
        before = count;
        if !turn.busy {
            break;
        }
    }
    assert_eq!(before, READERS * KEYS);
    assert!(turns > READERS * KEYS / LATEST_PER_TURN, "{turns} turns");
    drop(peers);
}

/// Who got which message, in order.
type Seen = Arc<Mutex<Vec<(&'static str, u128)>>>;

struct TopicReader {
    name: &'static str,
    pattern: Pattern,
    on_slow: SlowPolicy,
    seen: Seen,
}

impl Session for TopicReader {
    fn handle(&mut self, input: Input<'_>, _: Now, out: &mut dyn Outbox) {
        match input {
            Input::Opened => {
                let subscribe = Subscribe {
                    on_slow: self.on_slow.clone(),
                    ..Subscribe::new(SubscriptionId(0), self.pattern.clone())
                };
                out.command(Token(0), Command::Subscribe(Box::new(subscribe)));
            }
            Input::Delivered(_, delivery) => {
                self.seen.lock().unwrap().push((self.name, delivery.message.id));
            }
            Input::Received(_)
            | Input::Replied(..)
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
}

/// Sends a message to each of these topics, all at a time.
struct TopicSender(Vec<Destination>);

impl Session for TopicSender {
    fn handle(&mut self, input: Input<'_>, _: Now, out: &mut dyn Outbox) {
        if matches!(input, Input::Opened) {
            for (id, topic) in (1..).zip(&self.0) {
                let message = Message::new(topic.clone(), id, 0, Body::Binary(Bytes::new()));
                out.command(Token(0), Command::Publish(Lane::default(), Arc::new(message)));
            }
        }
    }

    fn deadline(&self) -> Option<u64> {
        None
    }
}

fn topic() -> Destination {
    Destination::parse("/topic/a").unwrap()
}

/// Fills a queue.
struct Sender;

impl Session for Sender {
    fn handle(&mut self, input: Input<'_>, _: Now, out: &mut dyn Outbox) {
        if matches!(input, Input::Opened) {
            let body = Body::Binary(Bytes::from(vec![0; MESSAGE_BYTES]));
            let message = Arc::new(Message::new(queue(), 1, 0, body));
            for _ in 0..MESSAGES {
                let publish = Command::Publish(Lane::default(), Arc::clone(&message));
                out.command(Token(0), publish);
            }
        }
    }

    fn deadline(&self) -> Option<u64> {
        None
    }
}

/// Reads it.
struct Reader;

impl Session for Reader {
    fn handle(&mut self, input: Input<'_>, _: Now, out: &mut dyn Outbox) {
        match input {
            Input::Opened => {
                let subscribe = Subscribe {
                    credit: Some(u32::MAX),
                    ..Subscribe::new(SubscriptionId(0), queue().into())
                };
                out.command(Token(0), Command::Subscribe(Box::new(subscribe)));
            }
            Input::Delivered(_, delivery) => {
                out.send(Kind::Stream, &mut |to| {
                    to.extend_from_slice(delivery.message.body().bytes());
                });
            }
            Input::Received(_)
            | Input::Replied(..)
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
}

fn queue() -> Destination {
    Destination::parse("/queue/a").unwrap()
}

fn core() -> Core {
    core_of(Users::default())
}

fn core_of(users: Users) -> Core {
    let limits = Arc::new(ConnectionLimits::default());
    let service = Service {
        path: "/".into(),
        upstream: None,
        limits: Arc::clone(&limits),
        protocol_limits: Arc::default(),
    };
    let broker_limits = BrokerLimits { queue_bytes_max: 1 << 30, ..BrokerLimits::default() };
    let settings = Settings {
        services: vec![service],
        labels: vec!["test"],
        broker_limits: Arc::new(broker_limits),
        queue_rules: contract::QueueRules::default(),
        client_rules: contract::ClientRules::default(),
        quotas: QuotaLimits::default(),
        limits,
        users,
        access: Access::default(),
        store: None,
        io_uring: false,
        unsent_bytes_max_per_core: 1 << 30,
        inbound_bytes_max: 1 << 20,
    };
    let (_, cores) = Cores::new(settings, 1).unwrap();
    cores.into_iter().next().unwrap().into_core()
}

/// A peer that reads nothing.
fn connect(core: &mut Core, listener: &TcpListener, session: impl Session + 'static) -> TcpStream {
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, address) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    let kind = |_: &Opening<'_>, _| ConnectionKind::Session(Box::new(session));
    core.register(mio::net::TcpStream::from_std(stream), registration(address), kind).unwrap();
    peer
}

fn registration(peer: SocketAddr) -> Registration<'static> {
    Registration {
        service: 0,
        protocol: "test",
        framing: Framing::Stream,
        ping_interval: Duration::ZERO,
        subprotocol: "",
        host: "",
        anonymous: false,
        principal: Some(Principal::anonymous()),
        users_version: 0,
        peer,
        permit: None,
        early: &[],
    }
}

fn bytes_out(core: &Core) -> usize {
    let counts = core.reactor.iter().map(|(_, entry)| entry.state.context.counts.bytes_out);
    usize::try_from(counts.sum::<u64>()).unwrap()
}
