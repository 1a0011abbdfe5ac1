//! Subscribers that never read.

use std::{
    io,
    net::Ipv4Addr,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use socket2::SockRef;

use super::{Attack, Form, Scene};
use crate::{
    gateway::Start,
    ledger::{self, Ledger},
    stomp::{Carrier, Options, Stomp},
};

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "a thousand subscribers of topics that never read",
        start: |_| Ok(Start { memory: UNSENT, ..Start::default() }),
        run: topics,
        ..Attack::USUAL
    },
    Attack {
        name: "large bodies for a thousand that never read, behind headers of their own",
        start: |_| {
            let limits = "unsent-bytes-max = \"64MiB\"\nwrite-timeout = \"2m\"";
            Ok(Start { limits, memory: UNSENT, ..Start::default() })
        },
        run: bodies,
        ..Attack::USUAL
    },
    Attack {
        name: "a thousand consumers of queues that never read",
        start: |form| {
            let limits = match form {
                Form::Quick => "write-timeout = \"2s\"",
                Form::Full => "",
            };
            Ok(Start { limits, memory: UNSENT, ..Start::default() })
        },
        run: queues,
        ..Attack::USUAL
    },
];

/// What waits for them stays within its bounds.
fn topics(scene: &Scene<'_>) -> Result<(), String> {
    let memory_at_start = scene.gateway.memory("VmRSS");
    let subscribers = subscribe(scene, |index| {
        let size = if index % 10 < 8 { "small" } else { "large" };
        (format!("/topic/unread.{size}"), "")
    })?;
    let failed = |error: io::Error| format!("a publisher: {error}");
    let to = scene.gateway.addresses.plain;
    let mut publisher = Stomp::connect(to, Options::from(scene.attacker())).map_err(failed)?;
    let (small, large) = (ledger::body(0, 2_000), ledger::body(0, 256 << 10));
    let end = Instant::now() + scene.secs(4.0, 30.0);
    while Instant::now() < end {
        for _ in 0..scene.pick(40, 20) {
            publisher.send("SEND", "destination:/topic/unread.small\n", &small).map_err(failed)?;
        }
        publisher.publish("/topic/unread.large", &large).map_err(failed)?;
        thread::sleep(Duration::from_millis(100));
    }
    drop(subscribers);
    let most = memory_at_start + cores() * UNSENT_BYTES + MEMORY_BESIDE;
    match scene.gateway.memory("VmHWM") {
        peak if peak <= most => Ok(()),
        peak => Err(format!("it had {} MiB, of {} MiB at most", peak >> 20, most >> 20)),
    }
}

/// What waits for all of them is in memory once, and closes none.
fn bodies(scene: &Scene<'_>) -> Result<(), String> {
    let subscribers = subscribe(scene, |index| {
        let ack = if index.is_multiple_of(2) { "" } else { acknowledgement(index / 2) };
        ("/topic/unread.bodies".to_owned(), ack)
    })?;
    let memory_at_start = scene.gateway.memory("VmRSS");
    let failed = |error: io::Error| format!("a publisher: {error}");
    let to = scene.gateway.addresses.plain;
    let mut publisher = Stomp::connect(to, Options::from(scene.attacker())).map_err(failed)?;
    let body = ledger::body(0, 1 << 20);
    for _ in 0..BODIES {
        publisher.publish("/topic/unread.bodies", &body).map_err(failed)?;
        thread::sleep(scene.secs(0.1, 1.0));
    }
    let most = memory_at_start + BODIES * (1 << 20) + BODIES_BESIDE;
    let memory = scene.gateway.memory("VmRSS");
    let closed = scene.gateway.log().matches("reason=\"slow\"").count();
    drop(subscribers);
    if closed > 0 {
        return Err(format!("{closed} were closed"));
    }
    if memory > most {
        return Err(format!("it had {} MiB, of {} MiB at most", memory >> 20, most >> 20));
    }
    Ok(())
}

/// What they were sent goes back, and becomes a dead letter after as many of them as there may be.
fn queues(scene: &Scene<'_>) -> Result<(), String> {
    let names: Vec<String> = (0..QUEUES).map(|index| format!("unread.{index}")).collect();
    let mut consumers = subscribe(scene, |index| {
        let queue = index % QUEUES;
        (format!("/queue/unread.{queue}"), acknowledgement(queue))
    })?;
    let mut ledgers: Vec<Ledger> = names.iter().map(|_| Ledger::default()).collect();
    let failed = |error: io::Error| format!("the queues: {error}");
    let to = scene.gateway.addresses.plain;
    let mut producer = Stomp::connect(to, Options::from(PRODUCER)).map_err(failed)?;
    for number in 0..scene.pick(30, 120) {
        let len = if number % 10 == 9 { 256 << 10 } else { 500 };
        for (name, ledger) in names.iter().zip(&mut ledgers) {
            let body = ledger::body(number, len);
            producer.publish(&format!("/queue/{name}"), &body).map_err(failed)?;
            ledger.confirm(number);
        }
    }
    // In between those that take nothing of what waits for them are closed.
    thread::sleep(scene.secs(1.0, 20.0));
    leave(consumers.split_off(SUBSCRIBERS / 2));
    thread::sleep(scene.secs(2.0, 20.0));
    leave(consumers);

    let mut dead = 0;
    for (name, ledger) in names.iter().zip(&mut ledgers) {
        dead += ledger.take_rest(to, Options::from(PRODUCER), name).map_err(failed)?;
        scene.count(ledger);
    }
    println!("    {dead} messages were dead letters");
    Ok(())
}

/// Connects all, each to what it subscribes to and how.
fn subscribe(
    scene: &Scene<'_>,
    to: impl Fn(usize) -> (String, &'static str) + Sync,
) -> Result<Vec<Stomp>, String> {
    let next = AtomicUsize::new(0);
    let connect = || {
        let mut subscribers = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= SUBSCRIBERS {
                return io::Result::Ok(subscribers);
            }
            let carrier = if index.is_multiple_of(3) { Carrier::WebSocket } else { Carrier::Tcp };
            let options = Options { carrier, ..Options::from(scene.attacker()) };
            let mut stomp = Stomp::connect(scene.gateway.addresses.plain, options)?;
            let (destination, more) = to(index);
            stomp.subscribe(&format!("subscription-{index}"), &destination, more)?;
            subscribers.push((index, stomp));
        }
    };
    let subscribers: io::Result<Vec<_>> = thread::scope(|threads| {
        let threads: Vec<_> = (0..8).map(|_| threads.spawn(connect)).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let subscribers = subscribers.map_err(|error| format!("a subscriber: {error}"))?;
    let mut subscribers: Vec<_> = subscribers.into_iter().flatten().collect();
    subscribers.sort_by_key(|(index, _)| *index);
    Ok(subscribers.into_iter().map(|(_, stomp)| stomp).collect())
}

/// Consumers go without a word.
fn leave(consumers: Vec<Stomp>) {
    for consumer in consumers {
        drop(SockRef::from(consumer.stream()).set_linger(Some(Duration::ZERO)));
    }
}

/// How the consumers of a queue acknowledge.
fn acknowledgement(queue: usize) -> &'static str {
    match queue % 2 {
        0 => "ack:client-individual\n",
        _ => "ack:client\n",
    }
}

fn cores() -> u64 {
    thread::available_parallelism().map_or(1, |cores| cores.get() as u64)
}

const SUBSCRIBERS: usize = 1_000;
const QUEUES: usize = 20;
/// As many as may wait on one core, when each counts once.
const BODIES: u64 = 40;
/// For what a message takes while it comes, and for honest clients.
const BODIES_BESIDE: u64 = 24 << 20;
/// Less than the default, so that it is soon reached.
const UNSENT: &str = "unsent-bytes-max-per-core = \"64MiB\"";
const UNSENT_BYTES: u64 = 64 << 20;
/// For a thousand connections, and what messages are in flight.
const MEMORY_BESIDE: u64 = 96 << 20;
const PRODUCER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);
