use std::error::Error;

use super::Context;
use crate::{
    compare::{Contender, Running, compare, start_all},
    dialect::{self, Dialect},
    peers::{BARE_LOOP, PASSERELLE, PEERS, Peer},
    plan::Shape,
};

/// The payload.
const LEN: usize = 100;

/// Subscribers, messages a turn.
const CELLS: &[(usize, usize)] = &[(1000, 1), (1000, 16), (10_000, 1), (10_000, 16)];

/// One publishes to many, over STOMP.
pub(crate) fn stomp(context: &mut Context) -> Result<(), Box<dyn Error>> {
    run(context, "STOMP fan-out", |peer| Some(peer.stomp.as_ref()?.fan_out(LEN)))
}

/// One publishes to many, without a protocol above WebSocket.
pub(crate) fn broadcast(context: &mut Context) -> Result<(), Box<dyn Error>> {
    run(context, "broadcast", |peer| peer.broadcast.map(|broadcast| broadcast(LEN)))
}

fn run(
    context: &mut Context,
    scenario: &str,
    dialect: fn(&Peer) -> Option<Dialect>,
) -> Result<(), Box<dyn Error>> {
    let peers: Vec<&Peer> = [&PASSERELLE, &BARE_LOOP]
        .into_iter()
        .chain(PEERS.iter().filter(|peer| dialect(peer).is_some()))
        .filter(|peer| context.wants(peer))
        .collect();
    let running = start_all(&peers, &context.places);
    for (subscribers, burst) in CELLS.iter().copied() {
        let name = format!("{LEN} B, 1 to {subscribers}, {burst} a turn");
        if !context.wants_cell(&name) {
            continue;
        }
        let mut contenders: Vec<Contender> = Vec::new();
        for running in &running {
            if running.peer.is_third_party && subscribers > 1000 {
                continue;
            }
            // The bare loop writes what the gateway writes.
            let is_bare = running.peer.name == BARE_LOOP.name;
            let dialect = match contenders.first_mut() {
                Some(gateway) if is_bare => Some(dialect::raw(gateway.bytes_each()?)),
                _ => dialect(running.peer),
            };
            let Some(dialect) = dialect else { continue };
            match contender(running, &dialect, subscribers, burst) {
                Ok(contender) => contenders.push(contender),
                Err(error) => println!("{scenario}, {name}: skipped: {error}"),
            }
        }
        let pace = (burst == 1).then_some(20_000.0 / subscribers as f64);
        let orders = context.effort.orders(pace);
        context.add(compare(scenario, &name, &orders, contenders));
    }
    Ok(())
}

/// A publisher and its subscribers, of whom it is one where its messages come back.
fn contender(
    running: &Running<'_>,
    dialect: &Dialect,
    subscribers: usize,
    burst: usize,
) -> Result<Contender, Box<dyn Error>> {
    let shape = Shape::FanOut {
        subscribers: subscribers - usize::from(dialect.comes_back),
        opening: dialect.opening.clone(),
        publisher: dialect.publisher.clone(),
        messages: vec![dialect.message.clone()],
        burst,
        deliveries_each: subscribers,
        stalled: 0,
    };
    Contender::new(running.peer.name, &running.plan(dialect, shape))
}
