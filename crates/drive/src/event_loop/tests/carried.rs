//! Sessions that outlive what carries them, turn by turn: STOMP clients that a test carries, cuts off
//! anywhere and carries on, and what they have received by then.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    pin::pin,
    sync::Mutex,
    task::{Context as TaskContext, Poll, Waker},
};

use contract::{ProtocolLimits, Reason};
use stomp::{Decoder, Frame, FrameLimits, Verb, Version};
use testkit::Random;

use super::*;
use crate::event_loop::{carry::AWAY_TIMEOUT_NS, run::take_inbox};

/// How a client acknowledges what it reads of queues.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    Auto,
    /// The last of several.
    Client,
    /// Each, in any order.
    Individual,
    /// Some, together with as many messages that it sends.
    Transaction,
}

impl Mode {
    const ALL: [Self; 4] = [Self::Auto, Self::Client, Self::Individual, Self::Transaction];

    fn subscribe(self, to: &str, prefetch: &str) -> Vec<u8> {
        let ack = match self {
            Self::Auto => "auto",
            Self::Client => "client",
            Self::Individual | Self::Transaction => "client-individual",
        };
        let headers = [("id", "q"), ("destination", to), ("ack", ack), ("prefetch", prefetch)];
        frame(Verb::Subscribe, &headers, "")
    }
}

/// A conversation of a client that reads a queue and a topic, acknowledges, publishes, and leaves; and
/// what another publishes meanwhile.
fn conversation(mode: Mode) -> Vec<Step> {
    let mut steps = vec![
        Step::Client(frame(Verb::Connect, &[("accept-version", "1.2")], "")),
        // It is handed more when it acknowledges.
        Step::Client(mode.subscribe("/queue/a", "2")),
        Step::Client(subscribe("t", "/topic/a")),
        Step::Other(frame(Verb::Connect, &[("accept-version", "1.2")], "")),
    ];
    for number in 0..6 {
        steps.push(Step::Other(send("/queue/a", &format!("q{number}"))));
        steps.push(Step::Other(send("/topic/a", &format!("t{number}"))));
        if number % 3 == 0 {
            let receipt = format!("r{number}");
            let headers = [("destination", "/queue/b"), ("receipt", &*receipt)];
            steps.push(Step::Client(frame(Verb::Send, &headers, "x")));
        }
        if number == 1 || number == 3 {
            steps.push(Step::Acknowledge);
        }
    }
    steps.push(Step::Client(frame(Verb::Disconnect, &[("receipt", "bye")], "")));
    steps
}

enum Step {
    Client(Vec<u8>),
    Other(Vec<u8>),
    /// The client acknowledges all that it has.
    Acknowledge,
}

/// Cut off after any byte, and carried on from any byte before that which the client says it has, a
/// conversation is the same as without.
#[test]
fn a_conversation_goes_on_after_any_byte() {
    Mode::ALL.into_iter().for_each(goes_on_after_any_byte);
}

fn goes_on_after_any_byte(mode: Mode) {
    let (expected, _) = play(mode, usize::MAX, 0, &mut Random::new(0));
    assert_eq!(expected.iter().filter(|line| line.starts_with("Message")).count(), 12, "{mode:?}");
    let mut lost_at = 0;
    loop {
        let times = if mode == Mode::Auto { 0..3 } else { lost_at % 3..lost_at % 3 + 1 };
        for away_for in times {
            let mut random = Random::new((lost_at * 3 + away_for) as u64);
            let (lines, was_lost) = play(mode, lost_at, away_for, &mut random);
            assert_eq!(lines, expected, "{mode:?}, lost at {lost_at}, for {away_for} steps");
            if !was_lost {
                assert!(lost_at > 1_000, "a conversation of {lost_at} bytes");
                return;
            }
        }
        lost_at += 1;
    }
}

/// Plays the conversation, cut off once after so many bytes, and again within what it acknowledges;
/// returns what was received, and whether it came to the cut.
fn play(mode: Mode, lost_at: usize, away_for: usize, random: &mut Random) -> (Vec<String>, bool) {
    let world = World::new();
    let mut client = Client { mode, ..Client::new(&world) };
    let other = Client::new(&world);
    let mut away = 0;
    let mut was_lost = false;
    for step in conversation(mode) {
        match step {
            Step::Client(bytes) => {
                client.attach(&world);
                client.feed(&world, &bytes);
            }
            Step::Other(bytes) => other.feed(&world, &bytes),
            Step::Acknowledge => {
                client.attach(&world);
                if !was_lost && client.receive(lost_at, random) {
                    was_lost = true;
                    client.lose_carrier(random);
                    client.attach(&world);
                }
                client.receive(usize::MAX, random);
                let acks = client.acks(usize::MAX, random);
                let (before, after) = acks.split_at(random.below(acks.len() + 1));
                client.feed(&world, before);
                if was_lost {
                    client.lose_carrier(random);
                    client.attach(&world);
                }
                client.feed(&world, after);
            }
        }
        if client.carrier.is_none() && away < away_for {
            away += 1;
            continue;
        }
        client.attach(&world);
        if was_lost {
            client.receive(usize::MAX, random);
        } else if client.receive(lost_at, random) {
            was_lost = true;
            client.lose_carrier(random);
            world.turns();
        }
    }
    client.attach(&world);
    client.receive(usize::MAX, random);
    assert_eq!(client.end, Some(Pulled::End(Reason::Normal)));
    // Others get what it did not acknowledge, and what it sent.
    let unsettled = if mode == Mode::Auto { &[][..] } else { &["q4", "q5"][..] };
    assert_eq!(read_all(&world, "/queue/a"), unsettled, "{mode:?}, lost at {lost_at}");
    let sent = if mode == Mode::Transaction { &["q0", "q1", "q2", "q3"][..] } else { &[][..] };
    assert_eq!(read_all(&world, "/queue/done"), sent, "{mode:?}, lost at {lost_at}");
    (client.lines(), was_lost)
}

/// Of one that never comes back, others get exactly what it did not acknowledge.
#[test]
fn what_was_not_acknowledged_is_delivered_to_others() {
    for acked in 0.. {
        let world = World::new();
        let mut random = Random::new(acked);
        let other = Client::new(&world);
        other.feed(&world, &frame(Verb::Connect, &[("accept-version", "1.2")], ""));
        for number in 0..5 {
            other.feed(&world, &send("/queue/a", &number.to_string()));
        }
        let acked = usize::try_from(acked).unwrap();
        let mut client = Client::reader(&world);
        let was_lost = client.receive(acked, &mut random);
        client.acknowledge();
        client.lose_carrier(&mut Random::new(0));
        client.forget_after(client.acked);
        let has = bodies(&client.lines());
        world.pass(AWAY_TIMEOUT_NS);
        assert_eq!(world.core.attach(client.slot).err(), Some(Gone));
        let mut next = Client::reader(&world);
        next.receive(usize::MAX, &mut random);
        let both = [has, bodies(&next.lines())].concat();
        assert_eq!(both, ["0", "1", "2", "3", "4"], "{acked} bytes acknowledged");
        if !was_lost {
            assert!(acked > 400, "{acked} bytes");
            return;
        }
    }
}

/// Clients that are cut off, taken over and carried on at any time, and acknowledge what they like.
#[test]
fn nothing_is_lost_doubled_or_reordered_in_a_storm() {
    let mut settled = 0;
    for seed in 0..SEEDS {
        settled += storm(seed);
    }
    assert!(settled > 1000, "{settled} messages were acknowledged");
}

const SEEDS: u64 = 150;
const CLIENTS: usize = Mode::ALL.len();
const STEPS: usize = 400;

/// Returns how many messages were acknowledged by clients.
fn storm(seed: u64) -> usize {
    let random = &mut Random::new(seed);
    let world = World::new();
    let other = Client::new(&world);
    other.feed(&world, &frame(Verb::Connect, &[("accept-version", "1.2")], ""));
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|index| {
            let client = Client { mode: Mode::ALL[index], ..Client::new(&world) };
            client.feed(&world, &frame(Verb::Connect, &[("accept-version", "1.2")], ""));
            let prefetch = random.pick(&["1", "3", "100"]);
            client.feed(&world, &client.mode.subscribe(&format!("/queue/{index}"), prefetch));
            client.feed(&world, &subscribe("t", "/topic/a"));
            client
        })
        .collect();
    let (mut to_queues, mut to_topic, mut receipts) = ([0; CLIENTS], 0, [0; CLIENTS]);
    let mut unsent: [Vec<u8>; CLIENTS] = Default::default();
    for _ in 0..STEPS {
        let index = random.below(CLIENTS);
        let client = &mut clients[index];
        match random.below(13) {
            0 => {
                let body = format!("{}{}", to_queues[index], ".".repeat(random.below(300)));
                other.feed(&world, &send(&format!("/queue/{index}"), &body));
                to_queues[index] += 1;
            }
            1 => {
                // Some are shared by their backlogs.
                let length = random.pick(&[10, 300, 6000]);
                let body = format!("{to_topic}{}", ".".repeat(length));
                other.feed(&world, &send("/topic/a", &body));
                to_topic += 1;
            }
            2 => {
                let receipt = receipts[index].to_string();
                let headers = [("destination", "/topic/none"), ("receipt", &*receipt)];
                unsent[index].extend(frame(Verb::Send, &headers, "x"));
                receipts[index] += 1;
            }
            3 | 4 => {
                if let Some(carrier) = &client.carrier {
                    let split = random.below(unsent[index].len() + 1);
                    let rest = unsent[index].split_off(split);
                    let piece = std::mem::replace(&mut unsent[index], rest);
                    if poll(carrier.feed(piece.clone().into())).is_pending() {
                        drop(unsent[index].splice(..0, piece));
                    }
                }
            }
            5..=7 => client.take(random),
            8 => client.lose_carrier(random),
            9 => client.attach(&world),
            // Taken over from a carrier that is not known to be lost.
            10 => client.take_over(&world, random),
            11 => {
                let count = random.pick(&[1, 3, usize::MAX]);
                unsent[index].extend(client.acks(count, random));
            }
            _ => world.turns(),
        }
    }
    for (index, client) in clients.iter_mut().enumerate() {
        world.turns();
        client.attach(&world);
        client.feed(&world, &unsent[index]);
        client.receive(usize::MAX, random);
        while bodies(&client.lines()).len() < to_queues[index] {
            let acks = client.acks(usize::MAX, random);
            assert!(!acks.is_empty(), "seed {seed}, client {index}: no more");
            client.feed(&world, &acks);
            client.receive(usize::MAX, random);
        }
        let lines = client.lines();
        let numbers = |start: &str| -> Vec<usize> {
            let lines = lines.iter().filter_map(|line| line.strip_prefix(start));
            lines.map(|line| line.trim_end_matches('.').parse().unwrap()).collect()
        };
        let all = |count| (0..count).collect::<Vec<_>>();
        let case = format!("seed {seed}, client {index}");
        assert_eq!(numbers("Message q "), all(to_queues[index]), "{case}");
        assert_eq!(numbers("Message t "), all(to_topic), "{case}");
        assert_eq!(numbers("Receipt r"), all(receipts[index]), "{case}");
        // What it did not acknowledge is for others, once it has gone, and no other message is.
        client.acknowledge();
        client.lose_carrier(random);
        let number = |body: &String| -> usize { body.trim_end_matches('.').parse().unwrap() };
        world.core.with(|core| core.remove(client.slot, Reason::Lost));
        let left: Vec<_> =
            read_all(&world, &format!("/queue/{index}")).iter().map(number).collect();
        let unsettled = all(to_queues[index]).into_iter();
        let unsettled = unsettled.filter(|number| !client.settled.contains(number));
        let unsettled = unsettled.filter(|_| client.mode != Mode::Auto);
        assert_eq!(left, unsettled.collect::<Vec<_>>(), "{case}");
        if client.mode == Mode::Transaction {
            let mut sent: Vec<_> = read_all(&world, "/queue/done").iter().map(number).collect();
            sent.sort_unstable();
            assert_eq!(sent, client.settled.iter().copied().collect::<Vec<_>>(), "{case}");
        }
    }
    clients.iter().map(|client| client.settled.len()).sum()
}

/// What another client is handed of a queue.
fn read_all(world: &World, queue: &str) -> Vec<String> {
    let mut client = Client::new(world);
    client.feed(world, &frame(Verb::Connect, &[("accept-version", "1.2")], ""));
    client.feed(world, &subscribe("q", queue));
    client.receive(usize::MAX, &mut Random::new(0));
    client.acknowledge();
    bodies(&client.lines())
}

#[test]
fn a_carrier_that_was_replaced_carries_nothing() {
    let world = World::new();
    let mut client = Client::reader(&world);
    client.receive(10, &mut Random::new(0));
    let old = client.carrier.take().unwrap();
    assert!(poll(old.pull(client.seen.len() as u64, 1)).is_ready());
    let new = world.core.attach(client.slot).unwrap();
    assert_eq!(poll(old.feed(Bytes::from_static(b"\n"))), Poll::Ready(Err(Gone)));
    assert_eq!(poll(old.pull(0, 1)), Poll::Ready(Pulled::Gone));
    old.end();
    drop(old);
    world.turns();
    // It is not detached, nor half-closed, by what the old one does.
    assert_eq!(poll(new.feed(Bytes::from_static(b"\n"))), Poll::Ready(Ok(())));
    assert!(matches!(poll(new.pull(10, 100)), Poll::Ready(Pulled::Bytes(_))));
}

#[test]
fn what_has_a_part_in_a_core_can_be_dropped_within_a_call() {
    let world = World::new();
    let mut client = Client::reader(&world);
    let mut message = world.core.inbound_message();
    let waker = &mut TaskContext::from_waker(Waker::noop());
    assert!(message.poll_refused(1000, waker).is_pending());
    let is_away = |core: &Core, slot| {
        core.reactor.get(slot).is_some_and(|entry| entry.socket.away_since().is_some())
    };
    world.core.with(|core| {
        assert_ne!(core.cores.inbound().drawn(), 0);
        drop((client.carrier.take(), message));
        assert!(!is_away(core, client.slot), "in the middle of something");
    });
    take_inbox(&world.core, &mut |_| {});
    world.core.with(|core| {
        assert_eq!(core.cores.inbound().drawn(), 0);
        assert!(is_away(core, client.slot));
    });
    client.attach(&world);
    // One that another has replaced by then takes nothing from that.
    world.core.with(|_| drop(client.carrier.take()));
    let new = world.core.attach(client.slot).unwrap();
    take_inbox(&world.core, &mut |_| {});
    assert_eq!(poll(new.feed(Bytes::from_static(b"\n"))), Poll::Ready(Ok(())));
}

#[test]
fn only_what_waits_can_be_pulled() {
    let world = World::new();
    let client = Client::new(&world);
    client.feed(&world, &frame(Verb::Connect, &[("accept-version", "1.2")], ""));
    let carrier = client.carrier.as_ref().unwrap();
    let pull = |acked| poll(carrier.pull(acked, 1000));
    let Poll::Ready(Pulled::Bytes(first)) = pull(0) else { panic!("CONNECTED") };
    let end = first.len() as u64;
    assert_eq!(pull(end + 1), Poll::Ready(Pulled::NotKept), "never sent");
    assert_eq!(pull(0), Poll::Ready(Pulled::Bytes(first.clone())), "as before");
    assert_eq!(pull(5), Poll::Ready(Pulled::Bytes(first.slice(5..))));
    assert_eq!(pull(4), Poll::Ready(Pulled::NotKept), "acknowledged before");
    assert_eq!(poll(carrier.pull(end, 0)), Poll::Ready(Pulled::Bytes(Bytes::new())));
    assert_eq!(pull(end), Poll::Pending, "nothing more");
    assert_eq!(pull(u64::MAX), Poll::Ready(Pulled::NotKept));
}

#[test]
fn no_more_waits_for_one_that_is_away_than_for_a_slow_one() {
    let world = World::new();
    let mut client = Client::new(&world);
    client.feed(&world, &frame(Verb::Connect, &[("accept-version", "1.2")], ""));
    client.feed(&world, &subscribe("t", "/topic/a"));
    client.lose_carrier(&mut Random::new(0));
    let other = Client::new(&world);
    other.feed(&world, &frame(Verb::Connect, &[("accept-version", "1.2")], ""));
    let body = ".".repeat(100_000);
    let max = ConnectionLimits::default().unsent_bytes_max;
    for count in 1..=max / body.len() + 1 {
        assert!(world.has(client.slot), "{count} messages");
        other.feed(&world, &send("/topic/a", &body));
    }
    assert!(!world.has(client.slot));
    let slow =
        world.core.with(|core| core.counters().row(0, core.counters().label("test")).slow.get());
    assert_eq!(slow, 1);
}

#[test]
fn one_that_is_away_ends_with_the_gateway() {
    let world = World::new();
    let mut client = Client::reader(&world);
    client.lose_carrier(&mut Random::new(0));
    world.turns();
    assert!(world.has(client.slot));
    world.core.with(Core::start_shutdown);
    world.turns();
    assert!(!world.has(client.slot));
}

/// Whether it was away by then or is soon after, and whether it has all that was sent to it or not.
#[test]
fn a_peer_that_comes_back_learns_why_its_session_ended() {
    let almost = AWAY_TIMEOUT_NS - 1_000_000_000;
    let end = |world: &World, slot| {
        world.core.with(|core| core.close(slot, Reason::Forbidden, ""));
        world.turns();
    };
    for case in 0..8 {
        let [has_bytes, is_away_before, is_away_after] = [1, 2, 4].map(|bit| case & bit > 0);
        let random = &mut Random::new(case);
        let world = World::new();
        let mut client = Client::reader(&world);
        if !has_bytes {
            client.receive(usize::MAX, random);
            client.acknowledge();
        }
        if is_away_before {
            client.lose_carrier(random);
        }
        end(&world, client.slot);
        if is_away_after {
            client.lose_carrier(random);
        }
        // One that something carries is to take what waits for it in the time of any.
        let is_away = is_away_before || is_away_after;
        let time = if has_bytes && !is_away { 1_000_000_000 } else { almost };
        world.pass(time);
        client.attach(&world);
        client.receive(usize::MAX, random);
        assert_eq!(client.end, Some(Pulled::End(Reason::Forbidden)), "{case}");
        assert!(client.lines()[0].starts_with("Connected"), "{case}");
        assert!(!world.has(client.slot), "{case}");
    }
    for is_away in [false, true] {
        let world = World::new();
        let mut client = Client::new(&world);
        end(&world, client.slot);
        if is_away {
            client.lose_carrier(&mut Random::new(0));
        }
        world.pass(AWAY_TIMEOUT_NS);
        assert!(!world.has(client.slot), "kept for longer");
        assert_eq!(world.core.with(|core| core.connections()), 0);
    }
}

/// A session that is away is not lost, nor is one whose carrier goes because the gateway stops: what
/// it has not acknowledged returns to its queues uncounted.
#[test]
fn one_that_is_away_is_closed_by_the_shutdown() {
    for (case, lost_before, was_told) in
        [("before", true, false), ("as it begins", false, false), ("while it goes on", false, true)]
    {
        let world = World::new();
        let reasons = Arc::<Mutex<Vec<_>>>::default();
        let ended = Ended(Arc::clone(&reasons));
        let mut carrier =
            Some(world.core.carry(registration(ADDRESS), |_, _| Box::new(ended)).unwrap());
        let slot = carrier.as_ref().unwrap().slot();
        if lost_before {
            carrier = None;
        }
        world.turns();
        world.core.with(Core::start_shutdown);
        if was_told {
            world.turns();
        }
        drop(carrier);
        world.turns();
        assert!(!world.has(slot), "{case}");
        assert_eq!(*reasons.lock().unwrap(), [Reason::Shutdown], "{case}");
    }
}

/// Notes why it ends, and does not close when the gateway stops.
struct Ended(Arc<Mutex<Vec<Reason>>>);

impl Session for Ended {
    fn handle(&mut self, input: Input<'_>, _: Now, _: &mut dyn Outbox) {
        if let Input::Closed(reason) = input {
            self.0.lock().unwrap().push(reason);
        }
    }
    fn deadline(&self) -> Option<u64> {
        None
    }
}

#[test]
fn a_session_moves_from_one_transport_to_another() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = connect(&mut world.core.core.borrow_mut(), &listener, echo::Echo::default());
    let slot = world.core.core.borrow().reactor.iter().next().unwrap().0;
    let echo = |peer: &mut TcpStream, what: &[u8]| {
        peer.write_all(what).unwrap();
        let mut received = vec![0; what.len()];
        peer.set_nonblocking(true).unwrap();
        let mut got = 0;
        while got < what.len() {
            world.turns();
            match peer.read(&mut received[got..]) {
                Ok(count) => got += count,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        assert_eq!(received, what);
    };
    echo(&mut peer, b"over TCP");
    // The same connection, after a time in which what it sends waits in the kernel.
    let tcp = world.core.with(|core| core.detach(slot)).unwrap();
    world.turns();
    assert!(world.core.with(|core| core.detach(slot)).is_none(), "nothing carries it");
    peer.write_all(b"later, ").unwrap();
    world.turns();
    world.core.with(|core| core.attach(slot, tcp)).unwrap();
    let mut received = [0; 7];
    peer.set_nonblocking(false).unwrap();
    world.turns();
    peer.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"later, ");
    echo(&mut peer, b"over TCP again");
    // Then a task carries it on, at the position after all that was sent.
    drop(world.core.with(|core| core.detach(slot)).unwrap());
    peer.set_nonblocking(false).unwrap();
    assert_eq!(peer.read(&mut [0]).unwrap(), 0, "closed");
    let carrier = world.core.attach(slot).unwrap();
    assert!(poll(carrier.feed(Bytes::from_static(b"carried"))).is_ready());
    world.turns();
    let sent = "over TCPlater, over TCP again".len() as u64;
    let bytes = Bytes::from_static(b"carried");
    assert_eq!(poll(carrier.pull(sent, 100)), Poll::Ready(Pulled::Bytes(bytes)));
    assert_eq!(poll(carrier.pull(sent - 1, 100)), Poll::Ready(Pulled::NotKept));
}

const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// A core, with clients that this test carries.
struct World {
    core: CoreRef,
}

impl World {
    fn new() -> Self {
        Self { core: CoreRef::new(core()) }
    }

    /// Does all there is to do.
    fn turns(&self) {
        let is_done = |_: &usize| !self.core.core.borrow_mut().turn().unwrap().busy;
        assert!((0..10_000).any(|turn| is_done(&turn)), "never done");
    }

    /// Has deadlines pass that are due so much later.
    fn pass(&self, ns: u64) {
        self.core.with(|core| {
            core.now.mono_ns += ns + Timers::STEP_NS;
            core.check_deadlines();
        });
        self.turns();
    }

    fn has(&self, slot: Slot) -> bool {
        self.core.core.borrow().reactor.get(slot).is_some()
    }
}

/// A client and what it has received.
struct Client {
    carrier: Option<Carrier>,
    slot: Slot,
    /// All that was ever received of what is sent to it.
    seen: Vec<u8>,
    /// How much of that it still knows.
    position: usize,
    /// How much of that it has acknowledged.
    acked: usize,
    /// What came instead of bytes.
    end: Option<Pulled>,
    mode: Mode,
    /// How much of what it has received was looked through for messages.
    parsed: usize,
    /// What it has not acknowledged of the queue: where each ends, its `ack`, and its body.
    unsettled: Vec<(usize, String, String)>,
    /// The numbers of the messages that it has acknowledged.
    settled: BTreeSet<usize>,
    transactions: usize,
}

impl Client {
    fn new(world: &World) -> Self {
        let open = |opening: &Opening<'_>, now: Now| -> Box<dyn Session> {
            Box::new(stomp::Session::open(opening, now))
        };
        let carrier = world.core.carry(registration(ADDRESS), open).unwrap();
        let slot = carrier.slot();
        Self {
            carrier: Some(carrier),
            slot,
            seen: Vec::new(),
            position: 0,
            acked: 0,
            end: None,
            mode: Mode::Auto,
            parsed: 0,
            unsettled: Vec::new(),
            settled: BTreeSet::new(),
            transactions: 0,
        }
    }

    /// One that reads a queue.
    fn reader(world: &World) -> Self {
        let client = Self::new(world);
        client.feed(world, &frame(Verb::Connect, &[("accept-version", "1.2")], ""));
        client.feed(world, &subscribe("q", "/queue/a"));
        client
    }

    fn feed(&self, world: &World, bytes: &[u8]) {
        let carrier = self.carrier.as_ref().unwrap();
        world.turns();
        let bytes = Bytes::copy_from_slice(bytes);
        assert_eq!(poll(carrier.feed(bytes)), Poll::Ready(Ok(())));
        world.turns();
    }

    /// Is carried on, if nothing carries it.
    fn attach(&mut self, world: &World) {
        if self.carrier.is_none() {
            self.carrier = Some(world.core.attach(self.slot).unwrap());
        }
    }

    /// Its carrier is lost, and of what was received since it last acknowledged some may be, too.
    fn lose_carrier(&mut self, random: &mut Random) {
        if self.carrier.take().is_some() {
            self.position -= random.below(self.position - self.acked + 1);
        }
    }

    fn take_over(&mut self, world: &World, random: &mut Random) {
        let old = self.carrier.take();
        self.carrier = Some(world.core.attach(self.slot).unwrap());
        self.position -= random.below(self.position - self.acked + 1);
        drop(old);
    }

    /// Receives all there is, but of its first `upto` bytes only; returns whether there was more.
    fn receive(&mut self, upto: usize, random: &mut Random) -> bool {
        loop {
            if self.position >= upto {
                return true;
            }
            let acked = if random.once_in(3) {
                self.position
            } else {
                self.acked + random.below(self.position - self.acked + 1)
            };
            let most = (upto - acked).min(self.position - acked + 1 + random.below(100));
            if !self.pull(acked, most) {
                return false;
            }
        }
    }

    /// Receives something, if there is.
    fn take(&mut self, random: &mut Random) {
        if self.carrier.is_some() {
            let acked = self.acked + random.below(self.position - self.acked + 1);
            let max = random.pick(&[1, 100, 10_000]);
            self.pull(acked, 1 + random.below(max));
        }
    }

    /// What acknowledges messages of the queue that it knows, so many at most.
    fn acks(&mut self, count: usize, random: &mut Random) -> Vec<u8> {
        let mut decoder = Decoder::new();
        decoder.set_version(Version::V1_2);
        let mut rest = self.seen.get(self.parsed..self.position).unwrap_or_default();
        while let Some(frame) = decoder.next(&mut rest, frame_limits()).unwrap() {
            self.parsed = self.position - rest.len();
            if let Some(ack) = frame.header("ack") {
                let body = String::from_utf8(frame.body.to_vec()).unwrap();
                self.unsettled.push((self.parsed, ack.to_owned(), body));
            }
        }
        let known = self.unsettled.iter().filter(|(end, ..)| *end <= self.position).count();
        let mut some: Vec<_> = self.unsettled[..known.min(count)].to_vec();
        let ack =
            |id: &str, more: &[(&str, &str)]| frame(Verb::Ack, &[&[("id", id)], more].concat(), "");
        let mut bytes = Vec::new();
        match self.mode {
            Mode::Auto => {}
            Mode::Client => {
                bytes.extend(some.last().map(|(_, id, _)| ack(id, &[])).into_iter().flatten());
            }
            Mode::Individual => {
                let mut all = self.unsettled[..known].to_vec();
                some.iter_mut().for_each(|one| *one = all.swap_remove(random.below(all.len())));
                bytes.extend(some.iter().flat_map(|(_, id, _)| ack(id, &[])));
            }
            Mode::Transaction => {
                self.transactions += 1;
                let name = self.transactions.to_string();
                let transaction = ("transaction", &*name);
                bytes.extend(frame(Verb::Begin, &[transaction], ""));
                for (_, id, body) in &some {
                    bytes.extend(ack(id, &[transaction]));
                    let headers = [("destination", "/queue/done"), transaction];
                    bytes.extend(frame(Verb::Send, &headers, body));
                }
                // Not always: some are acknowledged again.
                let is_aborted = count != usize::MAX && random.once_in(4);
                let end = if is_aborted { Verb::Abort } else { Verb::Commit };
                bytes.extend(frame(end, &[transaction], ""));
                if is_aborted {
                    some.clear();
                }
            }
        }
        self.unsettled.retain(|one| !some.contains(one));
        let numbers =
            some.iter().filter_map(|(.., body)| body.trim_end_matches('.').parse::<usize>().ok());
        self.settled.extend(numbers);
        bytes
    }

    fn acknowledge(&mut self) {
        let carrier = self.carrier.as_ref().unwrap();
        let pulled = poll(carrier.pull(self.position as u64, 0));
        assert_eq!(pulled, Poll::Ready(Pulled::Bytes(Bytes::new())));
        self.acked = self.position;
    }

    /// Compares what comes with what came from there before; returns whether something came.
    fn pull(&mut self, acked: usize, max: usize) -> bool {
        let carrier = self.carrier.as_ref().unwrap();
        match poll(carrier.pull(acked as u64, max)) {
            Poll::Ready(Pulled::Bytes(bytes)) => {
                assert!(bytes.len() <= max);
                let known = &self.seen[acked..];
                let (again, new) = bytes.split_at(known.len().min(bytes.len()));
                assert_eq!(again, &known[..again.len()], "other bytes than before");
                self.seen.extend(new);
                self.acked = acked;
                self.position = self.position.max(acked + bytes.len());
                true
            }
            Poll::Ready(end) => {
                self.end.get_or_insert(end);
                false
            }
            Poll::Pending => {
                self.acked = acked;
                // What it was sent is all of what waits.
                assert!(acked == self.position || max == 0, "nothing at {acked}");
                false
            }
        }
    }

    fn forget_after(&mut self, position: usize) {
        self.seen.truncate(position);
    }

    /// The frames, without what differs between runs.
    fn lines(&self) -> Vec<String> {
        let mut decoder = Decoder::new();
        decoder.set_version(Version::V1_2);
        let limits = frame_limits();
        let mut rest = &*self.seen;
        let mut lines = Vec::new();
        while let Some(frame) = decoder.next(&mut rest, limits).unwrap() {
            let header = |name| frame.header(name).unwrap_or_default();
            lines.push(if frame.verb == Verb::Message {
                let body = str::from_utf8(&frame.body).unwrap();
                format!("Message {} {body}", header("subscription"))
            } else {
                format!("{:?} r{}", frame.verb, header("receipt-id"))
            });
        }
        lines
    }
}

fn frame_limits() -> FrameLimits {
    FrameLimits::new(&ConnectionLimits::default(), &ProtocolLimits::default())
}

fn bodies(lines: &[String]) -> Vec<String> {
    let bodies = lines.iter().filter_map(|line| line.strip_prefix("Message q "));
    bodies.map(str::to_owned).collect()
}

fn subscribe(id: &str, to: &str) -> Vec<u8> {
    frame(Verb::Subscribe, &[("id", id), ("destination", to)], "")
}

fn send(to: &str, body: &str) -> Vec<u8> {
    frame(Verb::Send, &[("destination", to)], body)
}

fn frame(verb: Verb, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let frame =
        headers.iter().fold(Frame::new(verb), |frame, (name, value)| frame.with(name, value));
    frame.with_body(body.to_owned()).encode(Version::V1_2, &mut bytes);
    bytes
}

/// Polls once: what is not ready is given up.
fn poll<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut TaskContext::from_waker(Waker::noop()))
}
