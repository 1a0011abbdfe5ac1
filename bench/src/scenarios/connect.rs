use std::{error::Error, fmt::Write as _};

use super::Context;
use crate::{
    compare::{Contender, SERVER_CORES, compare, plan, start_all},
    dialect::Stomp,
    peers::{PASSERELLE, PEERS, Peer, password, start_gateway},
    plan::{Framing, Order, Shape},
};

/// Connections come and go.
pub(crate) fn rate(context: &mut Context) -> Result<(), Box<dyn Error>> {
    const CONNECTIONS: usize = 1000;
    let peers: Vec<&Peer> = [&PASSERELLE]
        .into_iter()
        .chain(PEERS.iter().filter(|peer| peer.echo.is_some() && !peer.is_third_party))
        .filter(|peer| context.wants(peer))
        .collect();
    let running = start_all(&peers, &context.places);
    let mut contenders = Vec::new();
    for running in &running {
        let Some(echo) = running.peer.echo else { continue };
        let dialect = echo(16);
        let plan = running.plan(&dialect, Shape::Idle { opening: dialect.opening.clone() });
        let mut contender = Contender::new(running.peer.name, &plan)?;
        contender.obey(&Order::Grow { connections: CONNECTIONS, batch: 50 })?;
        contenders.push(contender);
    }
    let orders = vec![Order::Return { batch: 50 }; context.effort.rounds];
    let name = format!("{CONNECTIONS} WebSockets, 50 at once");
    context.add(compare("connect rate", &name, &orders, contenders));
    Ok(())
}

/// Ten thousand clients with passwords return at once.
pub(crate) fn storm(context: &mut Context) -> Result<(), Box<dyn Error>> {
    const CLIENTS: usize = 10_000;
    const USERS: usize = 10;
    let line = password(&context.places, "secret")?;
    let mut users = String::new();
    for user in 0..USERS {
        writeln!(users, "[[user]]\nname = \"user-{user}\"\n{line}")?;
    }
    let server = start_gateway(&context.places, SERVER_CORES, &users)?;
    let stomp = Stomp {
        path: Some("/messaging"),
        login: Some(("user-{n}", "secret")),
        destination: "/topic/bench",
        modulus: USERS,
    };
    let plan = plan(&server, Framing::WebSocket, Shape::Idle { opening: stomp.connect() });
    let mut contender = Contender::new("passerelle", &plan)?;
    let first = contender.obey(&Order::Grow { connections: CLIENTS, batch: 500 })?;
    let again = contender.obey(&Order::Return { batch: 500 })?;
    for (what, round) in [("the first time", first), ("again", again)] {
        let seconds = round.elapsed_ns as f64 / 1e9;
        context.figure(
            "reconnect storm",
            "passerelle",
            &format!("{CLIENTS} log in, {what}"),
            seconds,
            "s",
            None,
        );
        let each = round.cpu_ns_each() / 1000.0;
        context.figure(
            "reconnect storm",
            "passerelle",
            &format!("CPU of each, {what}"),
            each,
            "µs",
            None,
        );
    }
    Ok(())
}
