//! Subscribers of the latest of many keys, half of whom read far slower than is published.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{Attack, Form, Scene};
use crate::{
    client::RESPONSE_MAX,
    ledger,
    stomp::{Carrier, Options, Stomp},
};

pub(super) const ATTACKS: &[Attack] = &[Attack {
    name: "subscribers of the latest of 100 keys, half of them at 10 kB/s",
    // A thousand of them and their threads take more than a machine has beside the gateway.
    forms: &[Form::Quick],
    run: latest,
    ..Attack::USUAL
}];

/// Each gets the newest of each key within two rounds of all keys, and what waits for them is bounded
/// by the number of keys.
fn latest(scene: &Scene<'_>) -> Result<(), String> {
    let subscribers = 100;
    let memory_at_start = scene.gateway.memory("VmRSS");
    let calm = probe(scene, Duration::from_secs(1))?;
    let is_over = AtomicBool::new(false);
    let (received, probed, sent) = thread::scope(|threads| {
        let readers: io::Result<Vec<_>> = (0..subscribers)
            .map(|index| {
                let stomp = subscribe(scene, index)?;
                let is_over = &is_over;
                let builder = thread::Builder::new().stack_size(STACK_BYTES);
                builder.spawn_scoped(threads, move || read(stomp, is_over))
            })
            .collect();
        let readers = readers.map_err(|error| format!("a subscriber: {error}"))?;
        let publisher = threads.spawn(|| publish(scene, &is_over));
        let probed = probe(scene, Duration::from_secs(2));
        let sent = publisher.join().unwrap_or_else(|_| Err(io::Error::other("it panicked")));
        let sent = sent.map_err(|error| format!("the publisher: {error}"))?;
        let mut received = Vec::new();
        for reader in readers {
            let read = reader.join().unwrap_or_else(|_| Err(io::Error::other("it panicked")));
            received.push(read.map_err(|error| format!("a subscriber: {error}"))?);
        }
        Ok::<_, String>((received, probed?, sent))
    })?;
    let published = sent.0 as f32 / sent.1.as_secs_f32();
    let delivered: usize = received.iter().map(|read| read.count).sum();
    let last = received.iter().map(|read| read.count_last).max().unwrap_or_default();
    println!(
        "    {} at {published:.0} a second to {subscribers}: {delivered} delivered; the newest of all keys \
         within {last} messages",
        sent.0
    );
    println!("    another subscriber: {calm} without, {probed} with them");
    if last > ROUNDS_MAX * KEYS {
        return Err(format!("the newest of all keys came within {last} messages"));
    }
    let peak = scene.gateway.memory("VmHWM");
    let most = memory_at_start + MEMORY_BESIDE + subscribers as u64 * MEMORY_OF_EACH;
    if peak > most {
        return Err(format!("it had {} MiB, of {} MiB at most", peak >> 20, most >> 20));
    }
    println!("    {} MiB more than at the start at most", (peak - memory_at_start) >> 20);
    Ok(())
}

fn subscribe(scene: &Scene<'_>, index: usize) -> io::Result<Stomp> {
    let carrier = if index.is_multiple_of(4) { Carrier::WebSocket } else { Carrier::Tcp };
    let mut options = Options { carrier, ..Options::from(scene.attacker()) };
    if index % 2 == 1 {
        // 10 kB/s.
        options.receive_buffer = Some(4_096);
        options.read_max = 1_000;
        options.pause = Duration::from_millis(100);
    } else {
        // As much as is published, with fewer wakes of a machine that has all of them.
        options.pause = Duration::from_millis(20);
    }
    let mut stomp = Stomp::connect(scene.gateway.addresses.plain, options)?;
    stomp.subscribe("1", "/topic/latest.*", "x-slow:latest\n")?;
    Ok(stomp)
}

/// What a subscriber got.
struct Received {
    count: usize,
    /// Of these, those that came when nothing was published any more.
    count_last: usize,
}

/// Reads until the newest of each key has come.
fn read(mut stomp: Stomp, is_over: &AtomicBool) -> io::Result<Received> {
    let mut newest = [None; KEYS];
    let mut received = Received { count: 0, count_last: 0 };
    loop {
        let was_over = is_over.load(Ordering::Relaxed);
        let Some(frame) = stomp.receive(RESPONSE_MAX)? else {
            return Err(io::Error::other(format!("no message came: {newest:?}")));
        };
        let key = frame.get("destination").and_then(|name| name.strip_prefix("/topic/latest."));
        let key = key.and_then(|key| key.parse::<usize>().ok());
        let Some(newest_of_key) = key.and_then(|key| newest.get_mut(key)) else { continue };
        let number = Some(ledger::number(&frame.body)?);
        if *newest_of_key >= number {
            return Err(io::Error::other("an older message came after a newer one"));
        }
        *newest_of_key = number;
        received.count += 1;
        received.count_last += usize::from(was_over);
        if newest.iter().all(|number| *number == Some(LAST)) {
            return Ok(received);
        }
    }
}

/// Publishes all keys in turn; the last round is marked. Returns how many, and in what time.
fn publish(scene: &Scene<'_>, is_over: &AtomicBool) -> io::Result<(usize, Duration)> {
    let mut stomp = Stomp::connect(scene.gateway.addresses.plain, Options::from(scene.attacker()))?;
    let begin = Instant::now();
    let end = begin + Duration::from_secs(2);
    let round = Duration::from_millis(100);
    let mut rounds = 0_usize;
    let mut due = begin;
    while Instant::now() < end {
        send_round(&mut stomp, rounds as u64)?;
        rounds += 1;
        due += round;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    send_round(&mut stomp, LAST)?;
    stomp.publish("/topic/other", b"x")?;
    is_over.store(true, Ordering::Relaxed);
    Ok(((rounds + 1) * KEYS, begin.elapsed()))
}

fn send_round(stomp: &mut Stomp, number: u64) -> io::Result<()> {
    let body = ledger::body(number, 100);
    (0..KEYS).try_for_each(|key| {
        stomp.send("SEND", &format!("destination:/topic/latest.{key}\n"), &body)
    })
}

/// How long messages take to a subscriber of another topic.
fn probe(scene: &Scene<'_>, time: Duration) -> Result<Latency, String> {
    let measure = || {
        let to = scene.gateway.addresses.plain;
        let mut stomp = Stomp::connect(to, Options::from(scene.attacker()))?;
        stomp.subscribe("1", "/topic/probe", "")?;
        let mut times = Vec::new();
        let end = Instant::now() + time;
        while Instant::now() < end {
            let begin = Instant::now();
            stomp.send("SEND", "destination:/topic/probe\n", b"x")?;
            if stomp.receive(RESPONSE_MAX)?.is_none() {
                return Err(io::Error::other("no message came"));
            }
            times.push(begin.elapsed());
            thread::sleep(Duration::from_millis(5));
        }
        times.sort_unstable();
        let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
        io::Result::Ok(Latency { median: at(50), p99: at(99) })
    };
    measure().map_err(|error| format!("another subscriber: {error}"))
}

struct Latency {
    median: Duration,
    p99: Duration,
}

impl std::fmt::Display for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1?} in the median, {:.1?} at 99 %", self.median, self.p99)
    }
}

const KEYS: usize = 100;
/// The number of the last round.
const LAST: u64 = 1_000_000;
/// Rounds of all keys within which the newest of each comes: what waits, what is on its way, and what
/// a slow reader has not read from its own kernel.
const ROUNDS_MAX: usize = 2;
/// For what is published, and what honest clients cause.
const MEMORY_BESIDE: u64 = 32 << 20;
/// Of a subscriber: its connection, and a message of each key that may be no other's.
const MEMORY_OF_EACH: u64 = 128 << 10;
const STACK_BYTES: usize = 128 << 10;
