use std::{
    error::Error,
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use super::Context;
use crate::{
    compare::{Contender, Effort, SERVER_CORES, plan},
    peers::{PASSERELLE, PEERS, Peer, start_gateway, start_gateway_tls},
    plan::{Framing, Order, Plan, Shape, Step},
    server::Server,
    system,
};

/// Memory of a connection that says nothing: the slope between two counts.
pub(crate) fn memory(context: &mut Context) -> Result<(), Box<dyn Error>> {
    let peers = || [&PASSERELLE].into_iter().chain(PEERS);
    for peer in peers() {
        if let (Some(echo), true) = (peer.echo, context.wants(peer)) {
            slope(context, peer, "plain WebSocket", &echo(16).opening, 512.0);
        }
    }
    for peer in peers() {
        if let (Some(stomp), true) = (&peer.stomp, context.wants(peer)) {
            let mut opening = stomp.connect();
            opening.push(stomp.subscribe(0, "/topic/first"));
            opening.push(stomp.subscribe(1, "/topic/second"));
            slope(context, peer, "STOMP with two subscriptions", &opening, 2048.0);
        }
    }
    tls(context)
}

/// User and kernel memory of each connection.
#[derive(Clone, Copy, Debug)]
struct Memory {
    user: f64,
    kernel: f64,
}

fn slope(context: &mut Context, peer: &Peer, kind: &str, opening: &[Step], most: f64) {
    let measured = (peer.start)(&context.places, SERVER_CORES)
        .and_then(|server| measure(context.effort, peer, &server, opening, None));
    match measured {
        Ok(Memory { user, kernel }) => {
            let most = (peer.name == PASSERELLE.name).then_some(most);
            context.figure("idle memory", peer.name, &format!("user, {kind}"), user, "B", most);
            context.figure("idle memory", peer.name, &format!("kernel, {kind}"), kernel, "B", None);
        }
        Err(error) => println!("idle memory: skipped: {}: {error}", peer.name),
    }
}

fn tls(context: &mut Context) -> Result<(), Box<dyn Error>> {
    let opening = PASSERELLE.echo.ok_or("no echo")?(16).opening;
    let (server, certificate) = start_gateway_tls(&context.places, SERVER_CORES)?;
    let with = measure(context.effort, &PASSERELLE, &server, &opening, Some(certificate))?;
    let server = start_gateway(&context.places, SERVER_CORES, "")?;
    let without = measure(context.effort, &PASSERELLE, &server, &opening, None)?;
    let beyond = with.user - without.user;
    context.figure(
        "idle memory",
        PASSERELLE.name,
        "user, TLS beyond plain",
        beyond,
        "B",
        Some(12_288.0),
    );
    Ok(())
}

fn measure(
    effort: Effort,
    peer: &Peer,
    server: &Server,
    opening: &[Step],
    certificate: Option<Vec<u8>>,
) -> Result<Memory, Box<dyn Error>> {
    // Some products take minutes for more.
    let is_short = peer.is_third_party && effort.ms < 2000;
    let (few, many) = if is_short { (1000, 3000) } else { (5000, 15_000) };
    let shape = Shape::Idle { opening: opening.to_vec() };
    let plan = Plan { certificate, ..plan(server, Framing::WebSocket, shape) };
    let mut contender = Contender::new(peer.name, &plan)?;
    let mut reading = |connections| -> Result<Memory, Box<dyn Error>> {
        contender.obey(&Order::Grow { connections, batch: 50 })?;
        thread::sleep(Duration::from_secs(2));
        let user = system::memory(&server.family(), "RssAnon") as f64;
        Ok(Memory { user, kernel: system::kernel_memory() as f64 })
    };
    let (before, after) = (reading(few)?, reading(many)?);
    let more = (many - few) as f64;
    // The other end of each connection is on this machine, too.
    Ok(Memory {
        user: (after.user - before.user) / more,
        kernel: (after.kernel - before.kernel) / more / 2.0,
    })
}

/// From the start to the first response, and the memory at rest.
pub(crate) fn start(context: &mut Context) -> Result<(), Box<dyn Error>> {
    let mut times = Vec::new();
    let mut memory = 0;
    for _ in 0..context.effort.rounds {
        let began = Instant::now();
        let server = start_gateway(&context.places, SERVER_CORES, "")?;
        first_response(&server)?;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
        thread::sleep(Duration::from_millis(500));
        memory = system::memory(&server.family(), "VmRSS");
    }
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).copied().unwrap_or(f64::NAN);
    context.figure("start", "passerelle", "to the first response", median, "ms", Some(100.0));
    context.figure(
        "start",
        "passerelle",
        "resident at rest",
        memory as f64 / 1e6,
        "MB",
        Some(20.0),
    );
    Ok(())
}

fn first_response(server: &Server) -> Result<(), Box<dyn Error>> {
    let mut stream = TcpStream::connect(server.address)?;
    write!(stream, "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    if response.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(response.into()) }
}
