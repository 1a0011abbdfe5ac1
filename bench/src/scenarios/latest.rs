use std::{
    error::Error,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Barrier,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use memchr::memchr;
use rustix::process::setpriority_process;
use socket2::SockRef;

use super::Context;
use crate::{
    compare::{LOAD_CORE, SERVER_CORES, plan},
    dialect::Stomp,
    gateway::read_until,
    load::{Readers, Received, Stamp, open},
    peers::start_gateway,
    plan::{Framing, Shape},
    report::table::geometric_mean,
    server::Server,
    system,
};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// A thousand subscribers of the latest of 100 keys at 10,000 messages a second, half of them on
/// links of 10 kB/s: what it takes, how soon they have the newest, and what another subscriber notices.
pub(crate) fn run(context: &mut Context) -> Result {
    let server = start_gateway(&context.places, SERVER_CORES, "")?;
    let memory = |key: &str| system::memory(&server.family(), key) as f64 / 1e6;
    let began = Instant::now();
    system::stay_on(&[LOAD_CORE])?;
    let mut readers = subscribe(&server)?;
    let mut other = Other {
        publisher: connect(server.address, b"")?,
        subscriber: connect(
            server.address,
            b"SUBSCRIBE\nid:1\ndestination:/topic/other\nreceipt:r\n\n\0",
        )?,
    };
    let before = memory("VmRSS");
    let mut rounds = Vec::new();
    let mut round_next = 1;
    for _ in 0..context.effort.rounds.div_ceil(2) {
        let time = Duration::from_millis(2 * context.effort.ms);
        let calm = probe(&mut other, began, time)?;
        rounds
            .push((calm, load(&server, (&mut readers, &mut other), began, &mut round_next, time)?));
    }
    let mut figure = |what: &str, value: f64, unit: &str, most: Option<f64>| {
        context.figure("latest", "passerelle", what, value, unit, most);
    };
    figure("memory before", before, "MB", None);
    let bound = (SUBSCRIBERS * KEYS * MEMORY_OF_A_KEY) as f64 / 1e6;
    figure("memory beyond that", memory("VmHWM") - before, "MB", Some(bound));
    for (index, kind) in ["fast", "slow"].into_iter().enumerate() {
        let all = || rounds.iter().filter_map(|(_, loaded)| loaded.received.get(index));
        let last = all().map(|received| received.last).max().unwrap_or_default() as f64;
        figure(
            &format!("{kind}: messages up to the newest of all keys"),
            last,
            "",
            Some(2.0 * KEYS as f64),
        );
        let mut ages = Histogram::<u64>::new(3)?;
        all().try_for_each(|received| ages.add(&received.ages))?;
        let age = |quantile| ages.value_at_quantile(quantile) as f64 / 1e6;
        figure(&format!("{kind}: age of a message, median"), age(0.5), "ms", None);
        figure(&format!("{kind}: age of a message, p99"), age(0.99), "ms", None);
    }
    let mean = |of: fn(&(Histogram<u64>, Loaded)) -> f64| {
        let all: Vec<f64> = rounds.iter().map(of).collect();
        geometric_mean(&all).unwrap_or(f64::NAN)
    };
    figure("published", mean(|(_, loaded)| loaded.published), "/s", None);
    figure("delivered", mean(|(_, loaded)| loaded.delivered), "/s", None);
    figure("CPU of its core", mean(|(_, loaded)| loaded.cpu), "%", None);
    figure("another's p99, without", mean(|(calm, _)| p99_us(calm)), "µs", None);
    figure("another's p99, with", mean(|(_, loaded)| p99_us(&loaded.probed)), "µs", None);
    let ratio = mean(|(calm, loaded)| p99_us(&loaded.probed) / p99_us(calm));
    figure("another's p99, with by without", ratio, "", None);
    Ok(())
}

/// What happened in a round with load.
struct Loaded {
    /// Of the fast and of the slow.
    received: [Received; 2],
    probed: Histogram<u64>,
    /// A second.
    published: f64,
    delivered: f64,
    /// In per cent, while it was probed.
    cpu: f64,
}

fn subscribe(server: &Server) -> Result<Readers> {
    let stomp = Stomp { path: None, login: None, destination: "/topic/latest.*", modulus: 1 };
    let mut opening = stomp.connect();
    let mut subscribe = stomp.subscribe(0, stomp.destination);
    let at = memchr(b'\n', &subscribe.send).ok_or("no header")? + 1;
    subscribe.send.splice(at..at, *b"x-slow:latest\n");
    opening.push(subscribe);
    let plan = plan(server, Framing::Stream, Shape::Idle { opening: Vec::new() });
    let half = SUBSCRIBERS / 2;
    let fast = open(&plan, &opening, 0..half, None)?;
    let slow = open(&plan, &opening, half..SUBSCRIBERS, Some(SLOW_RECEIVE_BUFFER))?;
    Ok(Readers::new(fast, slow, KEYS)?)
}

/// Publishes for a moment, then for `time`, in which another subscriber is measured.
fn load(
    server: &Server,
    (readers, other): (&mut Readers, &mut Other),
    began: Instant,
    round_next: &mut u64,
    time: Duration,
) -> Result<Loaded> {
    let last_round = AtomicU64::new(0);
    let first = *round_next;
    let start = Instant::now();
    let (received, published, probed) = thread::scope(|threads| {
        let publisher = threads.spawn(|| {
            publish(server.address, began, first, SETTLE + time, &last_round)
                .map_err(|error| error.to_string())
        });
        let prober = threads.spawn(|| {
            thread::sleep(SETTLE);
            let processes = server.family();
            let cpu_ns = system::cpu_ns(&processes);
            let probed = probe(other, began, time).map_err(|error| error.to_string())?;
            Ok::<_, String>((probed, system::cpu_ns(&processes) - cpu_ns))
        });
        let received = readers.read(began, &last_round, SLOW_READS)?;
        let published = publisher.join().map_err(|_| "the publisher panicked")??;
        let probed = prober.join().map_err(|_| "the other subscriber panicked")??;
        Ok::<_, Box<dyn Error>>((received, published, probed))
    })?;
    let messages = (published.0 + 1 - first) * KEYS as u64;
    *round_next = published.0 + 1;
    let delivered: u64 = received.iter().map(|received| received.messages).sum();
    Ok(Loaded {
        received,
        probed: probed.0,
        published: messages as f64 / published.1.as_secs_f64(),
        delivered: delivered as f64 / start.elapsed().as_secs_f64(),
        cpu: probed.1 as f64 / time.as_nanos() as f64 * 100.0,
    })
}

/// Publishes all keys in turn; returns the last round, and how long it took.
fn publish(
    address: SocketAddr,
    began: Instant,
    first: u64,
    time: Duration,
    last_round: &AtomicU64,
) -> Result<(u64, Duration)> {
    let mut stream = connect(address, b"")?;
    SockRef::from(&stream).set_send_buffer_size(PUBLISHER_SEND_BUFFER)?;
    let start = Instant::now();
    let mut round = first;
    let mut count = 0;
    let mut frames = Vec::new();
    loop {
        // What was not written in time is not caught up with at once: a round at most.
        let due = (start.elapsed().as_secs_f64() * PER_SECOND) as usize;
        let due = due.min(count + KEYS);
        let is_over = start.elapsed() >= time;
        frames.clear();
        while count < due || (is_over && count % KEYS != 0) {
            let key = count % KEYS;
            round = first + (count / KEYS) as u64;
            frames.extend(format!("SEND\ndestination:/topic/latest.{key}\n\n").into_bytes());
            let body = frames.len();
            Stamp { key, round, sent_ns: nanos(began) }.write(&mut frames);
            frames.resize(body + BODY_BYTES, b'x');
            frames.push(0);
            count += 1;
        }
        stream.write_all(&frames)?;
        if is_over {
            break;
        }
        thread::sleep(Duration::from_millis(1));
    }
    let elapsed = start.elapsed();
    stream.write_all(b"SEND\ndestination:/topic/last\nreceipt:last\n\n\0")?;
    read_until(&mut stream, b"receipt-id:last\n\n\0")?;
    last_round.store(round, Ordering::Release);
    Ok((round, elapsed))
}

/// A publisher and a subscriber of another topic.
struct Other {
    publisher: TcpStream,
    subscriber: TcpStream,
}

/// How long messages take to the subscriber of another topic, in nanoseconds.
fn probe(other: &mut Other, began: Instant, time: Duration) -> Result<Histogram<u64>> {
    let Other { publisher, subscriber } = other;
    let count = (time.as_nanos() / PROBE_EVERY.as_nanos()) as u32;
    let ready = Barrier::new(2);
    thread::scope(|threads| {
        let sender = threads.spawn(|| {
            hurry();
            ready.wait();
            let start = Instant::now();
            for n in 0..count {
                thread::sleep((start + PROBE_EVERY * n).saturating_duration_since(Instant::now()));
                let mut frame = b"SEND\ndestination:/topic/other\n\n".to_vec();
                Stamp { key: 0, round: 1, sent_ns: nanos(began) }.write(&mut frame);
                frame.push(0);
                publisher.write_all(&frame)?;
            }
            io::Result::Ok(())
        });
        hurry();
        let mut latencies = Histogram::new(3)?;
        let mut received = Vec::new();
        let mut buffer = [0; 4096];
        ready.wait();
        while latencies.len() < u64::from(count) {
            let len = subscriber.read(&mut buffer)?;
            let now_ns = nanos(began);
            received
                .extend(buffer.get(..len).filter(|bytes| !bytes.is_empty()).ok_or("it closed")?);
            while let Some(end) = memchr(0, &received) {
                let frame: Vec<u8> = received.drain(..=end).collect();
                let stamp = Stamp::of(&frame).ok_or("not a message of the other topic")?;
                latencies.record(now_ns.saturating_sub(stamp.sent_ns))?;
            }
        }
        sender.join().map_err(|_| "the sender panicked")??;
        Ok(latencies)
    })
}

/// Connects and sends the frames.
fn connect(address: SocketAddr, frames: &[u8]) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(b"CONNECT\naccept-version:1.2\nhost:/\nheart-beat:0,0\n\n\0")?;
    read_until(&mut stream, b"\n\n\0")?;
    stream.write_all(frames)?;
    if !frames.is_empty() {
        read_until(&mut stream, b"\n\n\0")?;
    }
    Ok(stream)
}

/// Lets this thread run before others of its core, where that is allowed: what is measured is the
/// gateway, not the other clients.
fn hurry() {
    setpriority_process(None, -20).ok();
}

fn nanos(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn p99_us(latencies: &Histogram<u64>) -> f64 {
    latencies.value_at_quantile(0.99) as f64 / 1000.0
}

const SUBSCRIBERS: usize = 1000;
const KEYS: usize = 100;
const PER_SECOND: f64 = 10_000.0;
const BODY_BYTES: usize = 100;
/// 10 kB/s.
const SLOW_READS: (usize, Duration) = (1000, Duration::from_millis(100));
/// What the gateway has no time for stays with the publisher, most of it.
const PUBLISHER_SEND_BUFFER: usize = 64 << 10;
/// As small as the kernel has it.
const SLOW_RECEIVE_BUFFER: usize = 4096;
/// Of the messages that wait, one for each key and subscriber at most, and their places.
const MEMORY_OF_A_KEY: usize = 1024;
/// Until the buffers of the slow ones are full.
const SETTLE: Duration = Duration::from_secs(3);
const PROBE_EVERY: Duration = Duration::from_millis(2);
