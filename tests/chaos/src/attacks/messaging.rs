//! What subscribers and publishers may do to the broker.

use std::{
    io,
    net::Ipv4Addr,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{Attack, Scene};
use crate::{
    client::RESPONSE_MAX,
    ledger::{self, Ledger},
    stomp::{Carrier, Frame, Options, Stomp},
};

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "hostile wildcards, from ten connections",
        run: |scene| wildcards(scene, 10),
        ..Attack::USUAL
    },
    Attack {
        name: "hostile wildcards, from forty connections",
        run: |scene| wildcards(scene, 40),
        ..Attack::USUAL
    },
    Attack {
        name: "large messages of a topic through small windows",
        run: topic_through_small_windows,
        ..Attack::USUAL
    },
    Attack {
        name: "large messages of queues through small windows",
        run: queues_through_small_windows,
        ..Attack::USUAL
    },
];

/// Connections that subscribe to a thousand patterns each, made so that many of them almost match,
/// and send what none of them matches.
fn wildcards(scene: &Scene<'_>, connections: usize) -> Result<(), String> {
    let end = Instant::now() + scene.secs(4.0, 12.0);
    let [accepted, refused, sent] = &[const { AtomicUsize::new(0) }; 3];
    thread::scope(|threads| {
        for connection in 0..connections {
            let source = scene.attacker();
            let Some(&pattern) = PATTERNS.iter().cycle().nth(connection) else { continue };
            threads.spawn(move || {
                while Instant::now() < end {
                    let Ok(mut stomp) = subscribe_to_all(scene, source, connection, pattern) else {
                        refused.fetch_add(1, Ordering::Relaxed);
                        thread::sleep(PAUSE);
                        continue;
                    };
                    accepted.fetch_add(1, Ordering::Relaxed);
                    let sends = unmatched();
                    while Instant::now() < end && stomp.write(&sends).is_ok() {
                        sent.fetch_add(UNMATCHED, Ordering::Relaxed);
                        thread::sleep(PAUSE);
                    }
                }
            });
        }
    });
    let [accepted, refused, sent] =
        [accepted, refused, sent].map(|count| count.load(Ordering::Relaxed));
    println!(
        "    {accepted} sets of patterns were accepted, {refused} refused; {sent} messages were sent"
    );
    if accepted == 0 || refused == 0 {
        return Err("no set of patterns was accepted, or none refused".into());
    }
    Ok(())
}

type MakePattern = fn(usize, usize) -> String;

/// Patterns of an attacker's connection, by its number and that of the subscription.
const PATTERNS: &[MakePattern] = &[
    // Over 17 levels, and with 46 more behind them: refused.
    |connection, index| either(17, spread(connection, index)),
    |connection, index| either(17, spread(connection, index)) + &".a".repeat(46),
    // Over the levels where wildcards may stand, with as many more as there may be.
    |connection, index| either(10, index) + &".a".repeat(7 + connection % 50),
    |connection, index| {
        let rest = if connection % 12 == 3 { ".>" } else { ".#" };
        format!("{}.b{}{rest}", either(8, index), index / 256)
    },
    |connection, index| format!("a.b{index}{}.#", ".a".repeat(connection % 61)),
    // Of more bytes than a connection may have: refused.
    |_, index| format!("{}*.b{index}", format!("{}.", "x".repeat(90)).repeat(9)),
];

/// A level for each bit: `a` or `*`.
fn either(levels: usize, bits: usize) -> String {
    let levels: Vec<&str> =
        (0..levels).map(|level| if bits >> level & 1 == 0 { "a" } else { "*" }).collect();
    levels.join(".")
}

/// Other bits for each subscription of each connection.
fn spread(connection: usize, index: usize) -> usize {
    (connection * PATTERNS_MAX + index).wrapping_mul(0x9e37_79b1)
}

fn subscribe_to_all(
    scene: &Scene<'_>,
    source: Ipv4Addr,
    connection: usize,
    pattern: MakePattern,
) -> io::Result<Stomp> {
    let mut stomp = Stomp::connect(scene.gateway.addresses.plain, Options::from(source))?;
    let mut frames = String::new();
    for index in 1..PATTERNS_MAX {
        let pattern = pattern(connection, index);
        frames += &format!("SUBSCRIBE\nid:{index}\ndestination:/topic/{pattern}\n\n\0");
    }
    stomp.write(frames.as_bytes())?;
    stomp.subscribe("0", &format!("/topic/{}", pattern(connection, 0)), "")?;
    Ok(stomp)
}

/// Messages to names that patterns match but for the last level.
fn unmatched() -> Vec<u8> {
    let levels = [10, 17, 18, 20, 40, 62].into_iter().cycle().take(UNMATCHED);
    let frames = levels.map(|levels| {
        format!("SEND\ndestination:/topic/{}c\n\n{}\0", "a.".repeat(levels), "x".repeat(100))
    });
    frames.collect::<String>().into_bytes()
}

/// A subscription has what the defaults allow.
const PATTERNS_MAX: usize = 1_000;
/// Messages that an attacker sends at a time, and what it waits then.
const UNMATCHED: usize = 24;
const PAUSE: Duration = Duration::from_millis(50);

/// Readers that take little at a time, each in its own way, of messages as large as may be.
fn topic_through_small_windows(scene: &Scene<'_>) -> Result<(), String> {
    let to = scene.gateway.addresses.plain;
    let failed = |error: io::Error| format!("a reader of large messages: {error}");
    let topic = "/topic/large";
    let mut readers = Vec::new();
    for options in small_windows() {
        let mut stomp = Stomp::connect(to, options).map_err(failed)?;
        stomp.subscribe("1", topic, "").map_err(failed)?;
        readers.push(stomp);
    }
    let count = scene.pick(8, 40);
    let received: Vec<AtomicUsize> = readers.iter().map(|_| AtomicUsize::new(0)).collect();
    thread::scope(|threads| {
        let readers: Vec<_> = readers
            .into_iter()
            .zip(&received)
            .map(|(mut stomp, received)| {
                threads.spawn(move || {
                    for number in 0..count {
                        expect(&mut stomp, number)?;
                        received.fetch_add(1, Ordering::Relaxed);
                    }
                    io::Result::Ok(())
                })
            })
            .collect();
        let mut producer = Stomp::connect(to, Options::from(PRODUCER)).map_err(failed)?;
        for (number, len) in (0..count).zip(LARGE.into_iter().cycle()) {
            producer.publish(topic, &ledger::body(number as u64, len)).map_err(failed)?;
            // What none has taken stays within `unsent-bytes-max`.
            let end = Instant::now() + RESPONSE_MAX;
            let slowest = || received.iter().map(|received| received.load(Ordering::Relaxed)).min();
            while slowest() < number.checked_sub(1) && Instant::now() < end {
                thread::sleep(Duration::from_millis(1));
            }
        }
        for reader in readers {
            reader.join().map_err(|_| "a reader panicked")?.map_err(failed)?;
        }
        Ok(())
    })
}

/// The next message must be this one.
fn expect(stomp: &mut Stomp, number: usize) -> io::Result<Frame> {
    let Some(message) = stomp.receive(RESPONSE_MAX)? else {
        return Err(io::Error::other(format!("message {number} did not come")));
    };
    match ledger::number(&message.body)? {
        received if received == number as u64 => Ok(message),
        received => Err(io::Error::other(format!("{received} came instead of message {number}"))),
    }
}

/// The same readers of queues: all at once, and nothing is delivered twice or is dead.
fn queues_through_small_windows(scene: &Scene<'_>) -> Result<(), String> {
    let count = scene.pick(8, 40);
    thread::scope(|threads| {
        let queues: Vec<_> = small_windows()
            .flat_map(|options| CONSUMERS.map(|consumer| (options, consumer)))
            .enumerate()
            .map(|(index, (options, consumer))| {
                threads.spawn(move || {
                    let queue = format!("large.{index}");
                    let ledger = queue_through(scene, &queue, options, consumer, count);
                    ledger.map_err(|error| format!("{queue} ({consumer:?}, {options:?}): {error}"))
                })
            })
            .collect();
        for queue in queues {
            scene.count(&queue.join().map_err(|_| "a reader panicked")??);
        }
        Ok(())
    })
}

fn queue_through(
    scene: &Scene<'_>,
    queue: &str,
    options: Options,
    consumer: &str,
    count: usize,
) -> io::Result<Ledger> {
    let to = scene.gateway.addresses.plain;
    let destination = format!("/queue/{queue}");
    let mut ledger = Ledger::default();
    let mut producer = Stomp::connect(to, Options::from(PRODUCER))?;
    let mut reader = Stomp::connect(to, options)?;
    // Half of them wait in the queue when it subscribes.
    for (number, len) in (0..count).zip(LARGE.into_iter().cycle()) {
        if number == count / 2 {
            reader.subscribe("1", &destination, consumer)?;
        }
        producer.publish(&destination, &ledger::body(number as u64, len))?;
        ledger.confirm(number as u64);
    }
    for number in 0..count {
        let message = expect(&mut reader, number)?;
        if message.get("redelivered").is_some() {
            return Err(io::Error::other(format!("message {number} was delivered twice")));
        }
        if message.get("ack").is_some() {
            reader.settle("ACK", &message)?;
        }
        ledger.find(number as u64);
    }
    reader.confirm("DISCONNECT", "", b"")?;
    Ok(ledger)
}

/// How they take it: few bytes at a time, or through a receive buffer of some KiB.
fn small_windows() -> impl Iterator<Item = Options> {
    let usual = Options::from(READER);
    let windows = [
        Options { read_max: 1 << 10, pause: Duration::from_micros(100), ..usual },
        Options { receive_buffer: Some(4 << 10), ..usual },
        Options { receive_buffer: Some(16 << 10), pause: Duration::from_millis(1), ..usual },
    ];
    let carriers = [Carrier::Tcp, Carrier::WebSocket];
    carriers
        .into_iter()
        .flat_map(move |carrier| windows.map(|options| Options { carrier, ..options }))
}

/// What they say when they subscribe to a queue.
const CONSUMERS: [&str; 3] = [
    "ack:auto\n",
    "ack:client-individual\nprefetch-count:1\n",
    "ack:client-individual\nprefetch-count:3\n",
];
/// Up to the largest that is allowed.
const LARGE: [usize; 4] = [1 << 20, 300_000, (1 << 20) - 1, 70_000];
/// Honest clients of an attack.
const PRODUCER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);
const READER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 8);
