//! Peers that stop, or all but stop, in the middle of something.

use std::{
    fmt,
    io::{self, ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use rustls::{ClientConnection, StreamOwned};

use super::{Attack, Form, Scene};
use crate::{
    client::{self, RESPONSE_MAX},
    gateway::{Addresses, STOP_MAX, Start},
};

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "slow peers at every stage, all at once",
        start: |form| {
            let limits = match form {
                Form::Quick => {
                    "login-timeout = \"2s\"\nwrite-timeout = \"3s\"\nassembly-timeout = \"3s\"\n\
                     ping-interval = \"2s\""
                }
                Form::Full => "",
            };
            Ok(Start { limits, ..Start::default() })
        },
        run: |scene| stages(scene, STAGES, scene.pick(5, 50)),
        ..Attack::USUAL
    },
    Attack { name: "slow: connected, silent", run: |scene| stage(scene, "silent"), ..FULL },
    Attack { name: "slow: half a TLS handshake", run: |scene| stage(scene, "tls"), ..FULL },
    Attack { name: "slow: half an HTTP request", run: |scene| stage(scene, "http"), ..FULL },
    Attack { name: "slow: half a WebSocket message", run: |scene| stage(scene, "ws"), ..FULL },
    Attack { name: "slow: half a STOMP frame", run: |scene| stage(scene, "stomp"), ..FULL },
    Attack { name: "slow: reads nothing", run: |scene| stage(scene, "unread"), ..FULL },
    Attack { name: "slow: never ends its side", run: |scene| stage(scene, "end"), ..FULL },
    Attack {
        name: "SIGTERM amid slow peers",
        served: false,
        ends: true,
        run: sigterm,
        ..Attack::USUAL
    },
];

const FULL: Attack = Attack { forms: &[Form::Full], ..Attack::USUAL };

/// Where a peer stops.
struct Stage {
    /// Which attack it belongs to.
    group: &'static str,
    name: &'static str,
    /// Whether it is at the listener with TLS.
    tls: bool,
    /// What it does at once.
    open: fn(&mut TcpStream, &Addresses) -> io::Result<Then>,
    /// Whether it reads what it gets.
    reads: bool,
    /// Whether the gateway may keep it: it is quiet, as an honest peer may be.
    may_stay: bool,
}

/// What a slow peer goes on doing.
#[derive(Debug)]
enum Then {
    /// Nothing.
    Silence,
    /// A byte of this each second.
    Drip(Vec<u8>),
    /// Nothing, within TLS.
    SilentTls {
        /// Kept so that it says nothing, not even a close.
        _session: Box<StreamOwned<ClientConnection, TcpStream>>,
    },
}

const STAGES: &[Stage] = &[
    Stage::new("silent", "connected", |_, _| Ok(Then::Silence)),
    Stage::tls("tls", "connected", |_, _| Ok(Then::Silence)),
    Stage::tls("tls", "half a ClientHello", |stream, addresses| {
        let hello = client::client_hello(&addresses.trust)?;
        let (sent, rest) = hello.split_at(hello.len() / 2);
        stream.write_all(sent)?;
        Ok(Then::Drip(rest.to_vec()))
    }),
    Stage::tls("tls", "after its handshake", |stream, addresses| {
        let stream = client::tls(&addresses.trust, stream.try_clone()?)?;
        Ok(Then::SilentTls { _session: Box::new(stream) })
    }),
    Stage::new("http", "half a request line", |stream, _| {
        drip(stream, b"GET /echo", "?x".repeat(1_000).as_bytes())
    }),
    Stage::new("http", "half a header", |stream, _| {
        drip(stream, b"GET / HTTP/1.1\r\nHost: localhost\r\nX-S", &[b'x'; 2_000])
    }),
    Stage::new("http", "half a WebSocket handshake", |stream, _| {
        let request = client::handshake_request("/echo");
        let (sent, rest) = request.split_at(request.len() / 2);
        drip(stream, sent.as_bytes(), rest.as_bytes())
    }),
    Stage::new("http", "half a POST body", |stream, _| {
        let head =
            "POST /topics/chaos HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\nx";
        drip(stream, head.as_bytes(), &[b'x'; 4_000])
    }),
    Stage::new("http", "half a chunk", |stream, _| {
        let head = "POST /topics/chaos HTTP/1.1\r\nHost: localhost\r\n\
                    Transfer-Encoding: chunked\r\n\r\n1000\r\nx";
        drip(stream, head.as_bytes(), &[b'x'; 4_000])
    }),
    Stage::new("ws", "half a frame's head", |stream, _| {
        client::handshake(stream, "/echo")?;
        drip(stream, &[0x81], &[])
    }),
    Stage::new("ws", "half a frame", |stream, _| {
        client::handshake(stream, "/echo")?;
        let frame = client::frame(0x81, &[b'x'; 10_000]);
        let (sent, rest) = frame.split_at(100);
        drip(stream, sent, rest)
    }),
    Stage::new("ws", "a message in fragments, without an end", |stream, _| {
        client::handshake(stream, "/echo")?;
        let fragments = client::frame(0x00, b"").repeat(1_000);
        drip(stream, &client::frame(0x01, b"begin"), &fragments)
    }),
    Stage::new("stomp", "half a CONNECT", |stream, _| {
        drip(stream, b"CONNECT\naccept-version:1.2\nhost:", &[b'x'; 2_000])
    }),
    Stage::new("stomp", "half a SEND's header", |stream, _| {
        stomp(stream)?;
        drip(stream, b"SEND\ndestination:/topic/", &[b'x'; 2_000])
    }),
    Stage::new("stomp", "half a SEND's body", |stream, _| {
        stomp(stream)?;
        let head = b"SEND\ndestination:/topic/chaos\ncontent-length:10000\n\nx";
        drip(stream, head, &[b'x'; 9_000])
    }),
    Stage::new("stomp", "half a SEND, over WebSocket", |stream, _| {
        client::handshake(stream, "/messaging")?;
        let connect = b"CONNECT\naccept-version:1.2\nhost:localhost\n\n\0";
        stream.write_all(&client::frame(0x81, connect))?;
        let half = client::frame(0x81, b"SEND\ndestination:/topic/chaos\n\nhel");
        drip(stream, &half, &client::frame(0x81, b"x").repeat(1_000))
    }),
    Stage::staying("unread", "a quiet subscriber", |stream, _| {
        stomp(stream)?;
        drip(stream, b"SUBSCRIBE\nid:1\ndestination:/topic/quiet\n\n\0", &[])
    }),
    Stage::deaf("unread", "replies", |stream, _| {
        client::handshake(stream, "/echo")?;
        let message = client::frame(0x82, &vec![0; 64 << 10]);
        stream.set_write_timeout(Some(Duration::from_millis(300)))?;
        for _ in 0..64 {
            if stream.write_all(&message).is_err() {
                break;
            }
        }
        Ok(Then::Drip(client::frame(0x8a, b"").repeat(100)))
    }),
    Stage::new("end", "after a close frame", |stream, _| {
        client::handshake(stream, "/echo")?;
        drip(stream, &client::frame(0x88, &[0x03, 0xe8]), &[])
    }),
    Stage::new("end", "after an error", |stream, _| {
        stomp(stream)?;
        drip(stream, b"NONSENSE\n\n\0", &[])
    }),
    Stage::new("end", "half-closed after a handshake", |stream, _| {
        client::handshake(stream, "/echo")?;
        stream.shutdown(Shutdown::Write)?;
        Ok(Then::Silence)
    }),
    Stage::new("end", "half-closed at once", |stream, _| {
        stream.shutdown(Shutdown::Write)?;
        Ok(Then::Silence)
    }),
];

type Open = fn(&mut TcpStream, &Addresses) -> io::Result<Then>;

impl Stage {
    const fn new(group: &'static str, name: &'static str, open: Open) -> Self {
        Self { group, name, tls: false, open, reads: true, may_stay: false }
    }

    const fn tls(group: &'static str, name: &'static str, open: Open) -> Self {
        Self { tls: true, ..Self::new(group, name, open) }
    }

    const fn deaf(group: &'static str, name: &'static str, open: Open) -> Self {
        Self { reads: false, ..Self::new(group, name, open) }
    }

    const fn staying(group: &'static str, name: &'static str, open: Open) -> Self {
        Self { may_stay: true, ..Self::new(group, name, open) }
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.group, self.name)
    }
}

/// A slow peer at work.
#[derive(Debug)]
struct Peer {
    stage: &'static Stage,
    stream: TcpStream,
    then: Then,
    dripped: usize,
    gone: bool,
}

/// Slow peers do not hold up the end.
fn sigterm(scene: &Scene<'_>) -> Result<(), String> {
    let peers = open(scene, STAGES, scene.pick(5, 50));
    scene.gateway.signal(Signal::TERM)?;
    let end = Instant::now() + STOP_MAX;
    while !scene.gateway.is_zombie() {
        if Instant::now() > end {
            return Err(format!("SIGTERM did not end it amid {} slow peers", peers.len()));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The stages of one group.
fn stage(scene: &Scene<'_>, group: &str) -> Result<(), String> {
    let (from, to) = STAGES
        .iter()
        .enumerate()
        .filter(|(_, stage)| stage.group == group)
        .fold((STAGES.len(), 0), |(from, to), (index, _)| (from.min(index), to.max(index + 1)));
    stages(scene, STAGES.get(from..to).unwrap_or_default(), 200)
}

/// So many peers at each stage, until the gateway has ended all of them that it should.
fn stages(scene: &Scene<'_>, stages: &'static [Stage], count: usize) -> Result<(), String> {
    let mut peers = open(scene, stages, count);
    let opened = peers.len();
    println!("    {opened} of {} peers got to their stage", stages.len() * count);
    if opened < stages.len() * count {
        return Err(format!("{} slow peers could not even begin", stages.len() * count - opened));
    }
    let start = Instant::now();
    let mut said = start;
    loop {
        peers.iter_mut().for_each(Peer::go_on);
        let left = peers.iter().filter(|peer| !peer.gone && !peer.stage.may_stay).count();
        let elapsed = start.elapsed();
        if left == 0 {
            println!("    all were ended after {:.1} s", elapsed.as_secs_f32());
            return stayed(&peers);
        }
        if elapsed > GONE_MAX {
            return Err(still_there(&peers));
        }
        if said.elapsed() > Duration::from_secs(10) {
            said = Instant::now();
            println!("    {left} are still there after {:.0} s", elapsed.as_secs_f32());
        }
        thread::sleep(DRIP_INTERVAL);
    }
}

/// Quiet peers, as honest ones may be, are left alone.
fn stayed(peers: &[Peer]) -> Result<(), String> {
    match peers.iter().find(|peer| peer.gone && peer.stage.may_stay) {
        None => Ok(()),
        Some(peer) => Err(format!("an honest peer was ended: {:?}", peer.stage)),
    }
}

fn still_there(peers: &[Peer]) -> String {
    let mut stages: Vec<(&Stage, usize)> = Vec::new();
    for peer in peers.iter().filter(|peer| !peer.gone && !peer.stage.may_stay) {
        match stages.iter_mut().find(|(stage, _)| std::ptr::eq(*stage, peer.stage)) {
            Some((_, count)) => *count += 1,
            None => stages.push((peer.stage, 1)),
        }
    }
    let list: Vec<String> =
        stages.iter().map(|(stage, count)| format!("{count} of \"{stage:?}\"")).collect();
    format!("not ended after {} s: {}", GONE_MAX.as_secs(), list.join(", "))
}

/// Peers that got to their stage.
fn open(scene: &Scene<'_>, stages: &'static [Stage], count: usize) -> Vec<Peer> {
    let addresses = &scene.gateway.addresses;
    let open = |stage: &'static Stage, source: Ipv4Addr| {
        let to = if stage.tls { addresses.tls } else { addresses.plain };
        let mut stream = client::connect(source, to, RESPONSE_MAX)?;
        let then = (stage.open)(&mut stream, addresses)?;
        stream.set_nonblocking(true)?;
        io::Result::Ok(Peer { stage, stream, then, dripped: 0, gone: false })
    };
    let open = &open;
    thread::scope(|threads| {
        let threads: Vec<_> = stages
            .iter()
            .map(|stage| {
                let source = scene.attacker();
                let open = move || (0..count).flat_map(|_| open(stage, source)).collect::<Vec<_>>();
                threads.spawn(open)
            })
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect()
    })
}

impl Peer {
    fn go_on(&mut self) {
        if self.gone {
            return;
        }
        if let Then::Drip(bytes) = &self.then
            && let Some(byte) = bytes.get(self.dripped..=self.dripped)
        {
            match self.stream.write_all(byte) {
                Ok(()) => self.dripped += 1,
                Err(error) => self.gone = error.kind() != ErrorKind::WouldBlock,
            }
        }
        // One that reads nothing sees its end when it writes.
        if !self.stage.reads {
            return;
        }
        let mut bytes = [0; 4 << 10];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.gone = true,
            Ok(_) => {}
            Err(error) => self.gone |= error.kind() != ErrorKind::WouldBlock,
        }
    }
}

fn drip(stream: &mut TcpStream, now: &[u8], later: &[u8]) -> io::Result<Then> {
    stream.write_all(now)?;
    Ok(Then::Drip(later.to_vec()))
}

/// Connects by STOMP over TCP, without a name.
fn stomp(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"CONNECT\naccept-version:1.2\nhost:localhost\n\n\0")?;
    let reply = client::read_until(stream, b"\0")?;
    if reply.starts_with(b"CONNECTED\n") {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&reply).into_owned()))
}

const DRIP_INTERVAL: Duration = Duration::from_secs(1);
/// More than every time-out of the gateway's defaults.
const GONE_MAX: Duration = Duration::from_secs(90);
