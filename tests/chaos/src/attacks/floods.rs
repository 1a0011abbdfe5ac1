//! Many peers at once, and peers that talk nonsense.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use socket2::SockRef;

use super::{Attack, Form, Scene};
use crate::{
    client::{self, RESPONSE_MAX},
    honest::Visit,
};

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "a flood of ClientHellos, from one address",
        run: |scene| hellos(scene, 1, Leaving::Late),
        ..Attack::USUAL
    },
    Attack {
        name: "a flood of ClientHellos, from 64 addresses",
        run: |scene| hellos(scene, 64, Leaving::Late),
        served: false,
        forms: &[Form::Full],
        ..Attack::USUAL
    },
    Attack {
        name: "a flood of ClientHellos whose peers go at once",
        run: |scene| hellos(scene, 1, Leaving::AtOnce),
        ..Attack::USUAL
    },
    Attack {
        name: "a flood of wrong passwords, HTTP Basic",
        visits: &[Visit::Plain, Visit::Basic, Visit::Stomp],
        run: |scene| {
            wrong_passwords(scene, |stream, user, password| {
                client::post(stream, user, password).map(|status| status < 300)
            })
        },
        ..Attack::USUAL
    },
    Attack {
        name: "a flood of wrong passwords, STOMP",
        visits: &[Visit::Plain, Visit::Basic, Visit::Stomp],
        run: |scene| wrong_passwords(scene, client::stomp_login),
        ..Attack::USUAL
    },
    Attack {
        name: "a flood of connections that close at once",
        forms: &[Form::Full],
        run: |scene| connections(scene, |_| {}),
        ..Attack::USUAL
    },
    Attack {
        name: "a flood of connections that are reset at once",
        run: |scene| connections(scene, reset),
        ..Attack::USUAL
    },
    Attack {
        name: "a flood of WebSockets that are reset at once",
        run: |scene| {
            connections(scene, |stream| {
                drop(client::handshake(stream, "/echo"));
                reset(stream);
            })
        },
        ..Attack::USUAL
    },
    Attack { name: "garbage in WebSocket frames", run: garbage_frames, ..Attack::USUAL },
    Attack { name: "garbage instead of a protocol", run: garbage, ..Attack::USUAL },
    Attack { name: "huge HTTP headers", run: huge_headers, ..Attack::USUAL },
    Attack { name: "unread echoes", run: unread_echoes, ..Attack::USUAL },
    Attack { name: "subscribers that read nothing", run: unread_topic, ..Attack::USUAL },
];

/// When the peer of a hello goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Leaving {
    /// When the flood has ended.
    Late,
    /// Right behind its hello.
    AtOnce,
}

/// One recorded ClientHello again and again: it costs the attacker nothing and the gateway a
/// signature.
fn hellos(scene: &Scene<'_>, addresses: usize, leaving: Leaving) -> Result<(), String> {
    let gateway = &scene.gateway.addresses;
    let hello = client::client_hello(&gateway.trust).map_err(|error| error.to_string())?;
    let (count, time) = scene.pick((3_000, 1.5), (13_000, 6.0));
    let sources: Vec<Ipv4Addr> = (0..addresses).map(|_| scene.attacker()).collect();
    let sent = AtomicUsize::new(0);
    paced(count, Duration::from_secs_f32(time), |index, peers| {
        let source = sources.get(index % sources.len()).copied();
        let Ok(mut stream) = connect(source, gateway.tls) else { return };
        if stream.write_all(&hello).is_ok() {
            sent.fetch_add(1, Ordering::Relaxed);
        }
        match leaving {
            // The others end in good order, and their hello is read.
            Leaving::AtOnce if index % 2 == 0 => reset(&mut stream),
            Leaving::AtOnce => {}
            Leaving::Late => peers.push(stream),
        }
    });
    println!("    {} hellos were sent", sent.into_inner());
    Ok(())
}

/// A thousand at once, each with another wrong password, for names that honest users have.
fn wrong_passwords(
    scene: &Scene<'_>,
    log_in: fn(&mut TcpStream, &str, &str) -> io::Result<bool>,
) -> Result<(), String> {
    let to = scene.gateway.addresses.plain;
    let source = scene.attacker();
    let count = scene.pick(200, 1_000);
    let (refused, accepted) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|threads| {
        for index in 0..count {
            let (refused, accepted) = (&refused, &accepted);
            threads.spawn(move || {
                let Ok(mut stream) = connect(Some(source), to) else { return };
                let (user, password) = (format!("user-{}", index % 10), format!("wrong-{index}"));
                match log_in(&mut stream, &user, &password) {
                    Ok(true) => accepted.fetch_add(1, Ordering::Relaxed),
                    Ok(false) => refused.fetch_add(1, Ordering::Relaxed),
                    Err(_) => 0,
                };
            });
        }
    });
    println!("    {} of {count} were refused", refused.into_inner());
    match accepted.into_inner() {
        0 => Ok(()),
        accepted => Err(format!("{accepted} wrong passwords were accepted")),
    }
}

/// Connections as fast as they go.
fn connections(scene: &Scene<'_>, then: fn(&mut TcpStream)) -> Result<(), String> {
    let to = scene.gateway.addresses.plain;
    let end = Instant::now() + scene.secs(1.2, 6.0);
    let made = AtomicUsize::new(0);
    thread::scope(|threads| {
        for _ in 0..2 {
            let (source, made) = (scene.attacker(), &made);
            threads.spawn(move || {
                while Instant::now() < end {
                    let Ok(mut stream) = connect(Some(source), to) else { continue };
                    then(&mut stream);
                    made.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    println!("    {} connections", made.into_inner());
    Ok(())
}

/// Random bytes as frames, and frames that are wrong in one thing.
fn garbage_frames(scene: &Scene<'_>) -> Result<(), String> {
    let to = scene.gateway.addresses.plain;
    let end = Instant::now() + scene.secs(1.2, 6.0);
    let source = scene.attacker();
    let mut random = Random(0x5eed);
    while Instant::now() < end {
        let path = if random.next().is_multiple_of(2) { "/echo" } else { "/messaging" };
        let Ok(mut stream) = connect(Some(source), to) else { continue };
        if client::handshake(&mut stream, path).is_err() {
            continue;
        }
        let mut bytes = random.bytes(2_000);
        if random.next().is_multiple_of(2) {
            // A good head, so that what is behind it is looked at.
            let [first, ..] = random.next().to_ne_bytes();
            bytes = client::frame(first, &bytes);
        }
        drop(stream.write_all(&bytes));
        drop(stream.shutdown(Shutdown::Write));
        drain(&mut stream);
    }
    Ok(())
}

/// Random bytes, on both listeners.
fn garbage(scene: &Scene<'_>) -> Result<(), String> {
    let addresses = &scene.gateway.addresses;
    let end = Instant::now() + scene.secs(1.2, 6.0);
    let source = scene.attacker();
    let mut random = Random(0xbad);
    let openings: [&[u8]; 5] = [b"", b"\x16\x03\x01", b"CONNECT\n", b"GET / HTTP/1.1\r\n", b"PRI "];
    for opening in openings.into_iter().cycle().take_while(|_| Instant::now() < end) {
        for to in [addresses.plain, addresses.tls] {
            let Ok(mut stream) = connect(Some(source), to) else { continue };
            drop(stream.write_all(&[opening, &random.bytes(4_000)].concat()));
            drop(stream.shutdown(Shutdown::Write));
            drain(&mut stream);
        }
    }
    Ok(())
}

/// Heads of requests without an end, from many peers at once.
fn huge_headers(scene: &Scene<'_>) -> Result<(), String> {
    let to = scene.gateway.addresses.plain;
    let end = Instant::now() + scene.secs(1.2, 6.0);
    let one = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: {}", "x".repeat(4 << 20));
    let many = format!("GET / HTTP/1.1\r\n{}", "X-Many: 1\r\n".repeat(400_000));
    let target = format!("GET /{}", "x".repeat(4 << 20));
    let stomp = format!("CONNECT\n{}", "x:1\n".repeat(1_000_000));
    let heads = [one, many, target, stomp];
    thread::scope(|threads| {
        for head in heads.iter().chain(&heads) {
            let source = scene.attacker();
            threads.spawn(move || {
                while Instant::now() < end {
                    let Ok(mut stream) = connect(Some(source), to) else { continue };
                    // It is dropped in the middle.
                    drop(stream.write_all(head.as_bytes()));
                    drain(&mut stream);
                }
            });
        }
    });
    Ok(())
}

/// Peers that send what is sent back, and read none of it.
fn unread_echoes(scene: &Scene<'_>) -> Result<(), String> {
    let to = scene.gateway.addresses.plain;
    let time = scene.secs(1.2, 8.0);
    let message = client::frame(0x82, &vec![0; 256 << 10]);
    thread::scope(|threads| {
        for _ in 0..scene.pick(4, 16) {
            let (source, message) = (scene.attacker(), &message);
            threads.spawn(move || {
                let Ok(mut stream) = connect(Some(source), to) else { return };
                if client::handshake(&mut stream, "/echo").is_err() {
                    return;
                }
                // The gateway stops reading, or closes.
                drop(stream.set_write_timeout(Some(time)));
                let end = Instant::now() + time;
                while Instant::now() < end && stream.write_all(message).is_ok() {}
            });
        }
    });
    Ok(())
}

/// Subscribers that read none of what another attacker publishes as fast as it can.
fn unread_topic(scene: &Scene<'_>) -> Result<(), String> {
    let to = scene.gateway.addresses.plain;
    let connect = |source| {
        let mut stream = connect(Some(source), to)?;
        stream.write_all(b"CONNECT\naccept-version:1.2\nhost:localhost\n\n\0")?;
        client::read_until(&mut stream, b"\0")?;
        io::Result::Ok(stream)
    };
    let failed = |error: io::Error| format!("a STOMP client: {error}");
    let mut subscribers = Vec::new();
    for _ in 0..scene.pick(20, 200) {
        let mut stream = connect(scene.attacker()).map_err(failed)?;
        stream.write_all(b"SUBSCRIBE\nid:1\ndestination:/topic/flood\n\n\0").map_err(failed)?;
        subscribers.push(stream);
    }
    let mut publisher = connect(scene.attacker()).map_err(failed)?;
    let body = "x".repeat(64 << 10);
    let message = format!("SEND\ndestination:/topic/flood\n\n{body}\0");
    let end = Instant::now() + scene.secs(1.5, 40.0);
    while Instant::now() < end {
        publisher.write_all(message.as_bytes()).map_err(failed)?;
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Does `work` so many times, spread evenly over `time`, on a few threads. What it pushes is kept
/// until all are done.
fn paced<T: Send>(count: usize, time: Duration, work: impl Fn(usize, &mut Vec<T>) + Sync) {
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    let kept: Vec<Vec<T>> = thread::scope(|threads| {
        let run = || {
            let mut kept = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return kept;
                }
                let due = start + time.mul_f64(index as f64 / count as f64);
                thread::sleep(due.saturating_duration_since(Instant::now()));
                work(index, &mut kept);
            }
        };
        let threads: Vec<_> = (0..8).map(|_| threads.spawn(run)).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    drop(kept);
}

fn connect(source: Option<Ipv4Addr>, to: SocketAddr) -> io::Result<TcpStream> {
    client::connect(source.unwrap_or(Ipv4Addr::LOCALHOST), to, RESPONSE_MAX)
}

/// Makes its end an RST.
fn reset(stream: &mut TcpStream) {
    drop(SockRef::from(&*stream).set_linger(Some(Duration::ZERO)));
}

/// Reads until the end, or for not too long.
fn drain(stream: &mut TcpStream) {
    let mut bytes = [0; 16 << 10];
    drop(stream.set_read_timeout(Some(Duration::from_secs(1))));
    while let Ok(1..) = stream.read(&mut bytes) {}
}

/// Repeatable nonsense.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, len_max: usize) -> Vec<u8> {
        let len = usize::try_from(self.next()).unwrap_or(0) % len_max + 1;
        (0..len).map(|_| self.next().to_ne_bytes()[0]).collect()
    }
}
