use std::{error::Error, fs, thread};

use super::{Context, confirm};
use crate::{
    compare::{Contender, SERVER_CORES, compare, plan},
    dialect::Stomp,
    peers::start_on_slow_disk,
    plan::{Framing, Order, Shape},
};

/// How late a topic is while each sync of the store takes long, and 32 producers wait for that, beside the
/// same without anything that is durable.
pub(crate) fn run(context: &mut Context) -> Result<(), Box<dyn Error>> {
    let folder = fs::canonicalize(&context.places.work)?.join("slow-disk");
    let topic = Stomp { path: None, login: None, destination: "/topic/bench", modulus: 1 };
    let (mut servers, mut contenders) = (Vec::new(), Vec::new());
    for (name, sync_ms) in [("syncs of 200 ms", 200), ("nothing durable", 0)] {
        let store = folder.join(name);
        drop(fs::remove_dir_all(&store));
        fs::create_dir_all(&store)?;
        let store = format!("[store]\npath = \"{}\"\n", store.display());
        let server = start_on_slow_disk(&context.places, SERVER_CORES, &store, sync_ms)?;
        let dialect = topic.fan_out(100);
        let shape = Shape::FanOut {
            subscribers: 10,
            opening: dialect.opening,
            publisher: dialect.publisher,
            messages: vec![dialect.message],
            burst: 1,
            deliveries_each: 10,
            stalled: 0,
        };
        contenders.push(Contender::new(name, &plan(&server, Framing::Stream, shape))?);
        servers.push(server);
    }
    let slow = servers.first().ok_or("no server")?;
    let producers = plan(slow, Framing::Stream, confirm::shape(32, true));
    let mut producers = Contender::new("producers", &producers)?;
    let effort = context.effort;
    let pace = Order::Pace { warm_ms: effort.warm_ms, ms: effort.ms, per_second: 500.0 };
    let orders = vec![pace; effort.rounds];
    let all_ms = 2 * effort.rounds as u64 * (effort.warm_ms + effort.ms);
    let (cell, produced) = thread::scope(|scope| {
        let all = Order::Flood { warm_ms: 0, ms: all_ms };
        let producing =
            scope.spawn(move || producers.obey(&all).map_err(|error| error.to_string()));
        let cell = compare("topic beside a slow disk", "100 B, 1 to 10", &orders, contenders);
        (cell, producing.join())
    });
    let produced = produced.map_err(|_| "the producers panicked")??;
    context.add(cell);
    let confirmed = produced.messages as f64;
    context.figure("slow disk", "passerelle", "confirmed meanwhile", confirmed, "messages", None);
    Ok(())
}
