//! Those who make more queues than there may be.

use std::{
    io,
    net::Ipv4Addr,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::{Attack, Scene};
use crate::{
    client::RESPONSE_MAX,
    gateway::Start,
    ledger::{self, Ledger},
    stomp::{Options, Stomp},
};

pub(super) const ATTACKS: &[Attack] = &[
    Attack { name: "queues without end, from one address", run: one_address, ..Attack::USUAL },
    Attack {
        name: "queues without end, from many addresses",
        start: |_| Ok(Start { limits: "queues-max = 2000", ..Start::default() }),
        run: many_addresses,
        ..Attack::USUAL
    },
];

/// A client makes queues until it is refused, in each way in which that can be done. All others make
/// queues as before, also one who logs in from that client's address.
fn one_address(scene: &Scene<'_>) -> Result<(), String> {
    for (name, make) in WAYS {
        let source = scene.attacker();
        let made = exhaust(scene, source, make)?;
        if made < QUEUES_MAX {
            return Err(format!("{name} made only {made} queues"));
        }
        for options in [Options::from(OTHER), Options { login: LOGIN, ..Options::from(source) }] {
            let failed = |error: io::Error| format!("another client, after {name}: {error}");
            for index in 0..3 {
                request(scene, options).map_err(failed)?;
                let mut ledger = Ledger::default();
                let queue = format!("other.{}.{index}", NAMES.fetch_add(1, Ordering::Relaxed));
                store(scene, options, &queue, &mut ledger).map_err(failed)?;
                die(scene, options, &queue, &mut ledger).map_err(failed)?;
                scene.count(&ledger);
            }
        }
    }
    Ok(())
}

/// As many clients as it takes until there may be no more queues. There are still temporary ones and
/// those of dead letters.
fn many_addresses(scene: &Scene<'_>) -> Result<(), String> {
    let failed = |error: io::Error| format!("another client: {error}");
    let options = Options::from(OTHER);
    let mut queues: Vec<_> =
        (0..20).map(|index| (format!("other.{index}"), Ledger::default())).collect();
    for (queue, ledger) in &mut queues {
        store(scene, options, queue, ledger).map_err(failed)?;
    }
    let Some((_, make)) = WAYS.first() else { return Ok(()) };
    let addresses = 3 * thread::available_parallelism().map_or(1, usize::from);
    let made: Result<Vec<usize>, String> = thread::scope(|threads| {
        let exhaust = || exhaust(scene, scene.attacker(), make);
        let threads: Vec<_> = (0..addresses).map(|_| threads.spawn(exhaust)).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    println!("    {} queues were made, from {addresses} addresses", made?.iter().sum::<usize>());
    match exhaust(scene, scene.attacker(), make)? {
        0 => {}
        made => return Err(format!("there was room for {made} more queues")),
    }
    for (queue, ledger) in &mut queues {
        request(scene, options).map_err(failed)?;
        die(scene, options, queue, ledger).map_err(failed)?;
        scene.count(ledger);
    }
    Ok(())
}

/// A request over a topic, with its reply through a temporary queue.
fn request(scene: &Scene<'_>, options: Options) -> io::Result<()> {
    let to = scene.gateway.addresses.plain;
    let mut server = Stomp::connect(to, options)?;
    server.subscribe("1", "/topic/other", "")?;
    let mut client = Stomp::connect(to, options)?;
    client.subscribe("1", "/temp-queue/reply", "")?;
    client.send("SEND", "destination:/topic/other\nreply-to:/temp-queue/reply\n", b"request")?;
    let none = || io::Error::other("a request or its reply did not come");
    let request = server.receive(RESPONSE_MAX)?.ok_or_else(none)?;
    server.publish(request.get("reply-to").ok_or_else(none)?, b"reply")?;
    client.receive(RESPONSE_MAX)?.ok_or_else(none)?;
    Ok(())
}

/// A message in a queue.
fn store(scene: &Scene<'_>, options: Options, queue: &str, ledger: &mut Ledger) -> io::Result<()> {
    let mut stomp = Stomp::connect(scene.gateway.addresses.plain, options)?;
    stomp.publish(&format!("/queue/{queue}"), &ledger::body(1, 100))?;
    ledger.confirm(1);
    Ok(())
}

/// Refuses it until it is a dead letter, and takes that out.
fn die(scene: &Scene<'_>, options: Options, queue: &str, ledger: &mut Ledger) -> io::Result<()> {
    let to = scene.gateway.addresses.plain;
    let mut stomp = Stomp::connect(to, options)?;
    stomp.subscribe("1", &format!("/queue/{queue}"), "ack:client-individual\n")?;
    for _ in 0..DELIVERIES_MAX {
        let message = stomp.receive(RESPONSE_MAX)?;
        let message = message.ok_or_else(|| io::Error::other("a refused message did not come"))?;
        stomp.settle("NACK", &message)?;
    }
    stomp.confirm("DISCONNECT", "", b"")?;
    match ledger.take_rest(to, options, queue)? {
        1 => Ok(()),
        _ => Err(io::Error::other("there is no dead letter")),
    }
}

type Make = fn(&mut Stomp, &str) -> io::Result<()>;

/// How a queue comes to be.
const WAYS: &[(&str, Make)] = &[
    ("SEND", |stomp, name| stomp.publish(&format!("/queue/{name}"), b"x")),
    ("SUBSCRIBE", |stomp, name| stomp.subscribe(name, &format!("/queue/{name}"), "")),
    ("SUBSCRIBE to temporary queues", |stomp, name| {
        stomp.subscribe(name, &format!("/temp-queue/{name}"), "")
    }),
];

/// Makes queues until that is refused again and again, each time on another connection. All stay
/// open meanwhile. Returns how many were made.
fn exhaust(scene: &Scene<'_>, source: Ipv4Addr, make: &Make) -> Result<usize, String> {
    let mut connections = Vec::new();
    let (mut made, mut refusals) = (0, 0);
    while refusals < 3 {
        let mut stomp = Stomp::connect(scene.gateway.addresses.plain, Options::from(source))
            .map_err(|error| format!("an attacker: {error}"))?;
        for _ in 0..TEMPORARY_MAX {
            let name = format!("endless.{}", NAMES.fetch_add(1, Ordering::Relaxed));
            if make(&mut stomp, &name).is_err() {
                refusals += 1;
                break;
            }
            made += 1;
        }
        connections.push(stomp);
        if made > QUEUES_MAX {
            return Err(format!("one address made more than {QUEUES_MAX} queues"));
        }
    }
    Ok(made)
}

static NAMES: AtomicUsize = AtomicUsize::new(0);
/// Defaults of the gateway.
const QUEUES_MAX: usize = 1_000;
const TEMPORARY_MAX: usize = 100;
const DELIVERIES_MAX: usize = 6;
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
const LOGIN: &str = "login:user-0\npasscode:secret\n";
