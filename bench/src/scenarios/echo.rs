use std::error::Error;

use super::Context;
use crate::{
    compare::{Contender, compare, start_all},
    peers::{BARE_ECHO, PASSERELLE, PEERS, Peer},
    plan::Shape,
};

/// Connections, bytes, depth.
const CELLS: &[(usize, usize, usize)] = &[
    (100, 16, 1),
    (100, 16, 16),
    (100, 125, 1),
    (100, 125, 16),
    (100, 1024, 1),
    (100, 1024, 16),
    (100, 16 * 1024, 1),
    (5000, 125, 1),
];

/// What comes goes back, over binary messages.
pub(crate) fn run(context: &mut Context) -> Result<(), Box<dyn Error>> {
    let peers: Vec<&Peer> = [&PASSERELLE, &BARE_ECHO]
        .into_iter()
        .chain(PEERS.iter().filter(|peer| peer.echo.is_some()))
        .filter(|peer| context.wants(peer))
        .collect();
    let running = start_all(&peers, &context.places);
    for (connections, len, depth) in CELLS.iter().copied() {
        let name = format!("{len} B, depth {depth}, {connections} connections");
        if !context.wants_cell(&name) {
            continue;
        }
        let mut contenders = Vec::new();
        for running in &running {
            let Some(echo) = running.peer.echo else { continue };
            if running.peer.is_third_party && len != 16 {
                continue;
            }
            let dialect = echo(len);
            let shape = Shape::Echo {
                connections,
                depth,
                message: dialect.message.clone(),
                opening: dialect.opening.clone(),
            };
            match Contender::new(running.peer.name, &running.plan(&dialect, shape)) {
                Ok(contender) => contenders.push(contender),
                Err(error) => println!("echo, {name}: skipped: {error}"),
            }
        }
        let pace = (depth == 1).then_some(5_000.0);
        let orders = context.effort.orders(pace);
        context.add(compare("echo", &name, &orders, contenders));
    }
    Ok(())
}
