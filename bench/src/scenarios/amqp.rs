use std::{error::Error, fs};

use super::Context;
use crate::{
    compare::{Contender, Effort, SERVER_CORES, compare, plan},
    peers::{artemis_with_amqp, qpid_jms, start_gateway},
    plan::{Client, Exchange, Framing, Order, Shape},
    server::Server,
};

/// AMQP 1.0 by clients that cost nothing.
pub(crate) fn light(context: &mut Context) -> Result<(), Box<dyn Error>> {
    run(context, "AMQP", &Client::Light)
}

/// AMQP 1.0 by Apache Qpid JMS.
pub(crate) fn jms(context: &mut Context) -> Result<(), Box<dyn Error>> {
    let client = Client::Jms(qpid_jms(&context.places)?);
    run(context, "JMS", &client)
}

/// An exchange, what a message has, and how many are published a second to show the latency.
type Case = (&'static str, Exchange, usize, Option<f64>);

const CASES: &[Case] = &[
    ("durable to a queue, 1 KiB, 1 producer", durable(1), 1024, None),
    ("durable to a queue, 1 KiB, 32 producers", durable(32), 1024, None),
    ("durable to a queue, 1 KiB, 128 producers", durable(128), 1024, None),
    ("topic, 100 B, 1 to 100, 1 a turn", topic(1), 100, Some(200.0)),
    ("topic, 100 B, 1 to 100, 16 a turn", topic(16), 100, None),
    ("request and reply, 100 B", Exchange::Request, 100, None),
];

const fn durable(producers: usize) -> Exchange {
    Exchange::Confirm { producers, burst: 1, durable: true }
}

const fn topic(burst: usize) -> Exchange {
    Exchange::FanOut { subscribers: 100, burst }
}

fn run(context: &mut Context, scenario: &str, client: &Client) -> Result<(), Box<dyn Error>> {
    let folder = fs::canonicalize(&context.places.work)?.join("amqp");
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder)?;
    let store = format!("[store]\npath = \"{}\"\n", folder.join("store").display());
    let mut servers: Vec<(&str, Server)> =
        vec![("passerelle", start_gateway(&context.places, SERVER_CORES, &store)?)];
    let is_wanted = context.only_peers.is_empty()
        || context.only_peers.iter().any(|only| ARTEMIS.contains(only.as_str()));
    if is_wanted {
        match artemis_with_amqp(&context.places, SERVER_CORES) {
            Ok(server) => servers.push((ARTEMIS, server)),
            Err(error) => println!("skipped: {ARTEMIS}: {error}"),
        }
    }
    for (name, exchange, bytes, per_second) in CASES.iter().copied() {
        if !context.wants_cell(name) {
            continue;
        }
        let mut contenders = Vec::new();
        for (who, server) in &servers {
            let shape = Shape::Amqp { exchange, bytes, client: client.clone() };
            let mut contender = Contender::new(who, &plan(server, Framing::Stream, shape))?;
            // What compiles while it runs does so before.
            let (warm_ms, ms) = (0, warm_up_ms(client, context.effort));
            contender.obey(&Order::Flood { warm_ms, ms })?;
            contenders.push(contender);
        }
        // What Qpid JMS takes on one core.
        let per_second = match client {
            Client::Light => per_second,
            Client::Jms(_) => per_second.map(|per_second| per_second / 10.0),
        };
        let orders = context.effort.orders(per_second);
        context.add(compare(scenario, name, &orders, contenders));
    }
    Ok(())
}

const fn warm_up_ms(client: &Client, effort: Effort) -> u64 {
    match client {
        Client::Light => effort.ms * 3,
        Client::Jms(_) => effort.ms * 6,
    }
}

const ARTEMIS: &str = "Artemis 2.44";
