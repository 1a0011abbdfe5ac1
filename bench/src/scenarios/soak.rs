use std::{
    error::Error,
    thread,
    time::{Duration, Instant},
};

use super::Context;
use crate::{
    compare::{Contender, SERVER_CORES, plan},
    peers::{PASSERELLE, start_gateway},
    plan::{Framing, Order, Shape},
    system,
};

/// Connections come and go for a long time; memory should stay where it was.
pub(crate) fn run(context: &mut Context, length: Duration) -> Result<(), Box<dyn Error>> {
    const CONNECTIONS: usize = 2000;
    let server = start_gateway(&context.places, SERVER_CORES, "")?;
    let stomp = PASSERELLE.stomp.as_ref().ok_or("no STOMP")?;
    let mut opening = stomp.connect();
    opening.push(stomp.subscribe(0, "/topic/shared"));
    opening.push(stomp.subscribe(1, "/topic/own.{n}"));
    opening.iter_mut().for_each(|step| step.modulus = usize::MAX);
    let plan = plan(&server, Framing::WebSocket, Shape::Idle { opening });
    let mut contender = Contender::new("passerelle", &plan)?;
    contender.obey(&Order::Grow { connections: CONNECTIONS, batch: 50 })?;

    let began = Instant::now();
    let mut returned = 0;
    let mut readings = Vec::new();
    while began.elapsed() < length {
        contender.obey(&Order::Return { batch: 50 })?;
        returned += CONNECTIONS;
        thread::sleep(Duration::from_millis(500));
        readings.push(system::memory(&server.family(), "RssAnon") as f64 / 1e6);
        if readings.len() % 60 == 1 {
            let memory = readings.last().copied().unwrap_or_default();
            println!(
                "soak: {} s, {returned} connections: {memory:.2} MB",
                began.elapsed().as_secs()
            );
        }
    }
    // The first quarter is the warm-up.
    let (_, rest) = readings.split_at(readings.len() / 4);
    let (first, last) = rest.split_at(rest.len() / 2);
    let most = |part: &[f64]| part.iter().copied().fold(0.0, f64::max);
    context.figure("soak", "passerelle", "connections made", returned as f64, "", None);
    context.figure("soak", "passerelle", "most memory, the middle", most(first), "MB", None);
    context.figure(
        "soak",
        "passerelle",
        "most memory, the end",
        most(last),
        "MB",
        Some(most(first) * 1.05),
    );
    Ok(())
}
