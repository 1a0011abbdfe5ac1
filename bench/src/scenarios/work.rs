use std::error::Error;

use super::Context;
use crate::{
    compare::{Contender, SERVER_CORES, compare, plan},
    dialect::{Stomp, step},
    peers::start_gateway,
    plan::{Frame, Framing, Shape},
};

/// Ten fill a queue, ten empty it and acknowledge each message.
pub(crate) fn run(context: &mut Context) -> Result<(), Box<dyn Error>> {
    let server = start_gateway(&context.places, SERVER_CORES, "")?;
    let stomp = Stomp { path: None, login: None, destination: "/queue/work", modulus: 1 };
    let subscribe =
        "SUBSCRIBE\nid:0\ndestination:/queue/work\nack:client-individual\nreceipt:r\n\n\0";
    let mut consumer = stomp.connect();
    consumer.push(step(Frame::Bare, subscribe, "receipt-id:r"));
    for depth in [10, 1000] {
        let name = format!("100 B, {depth} messages in flight");
        if !context.wants_cell(&name) {
            continue;
        }
        let shape = Shape::Work {
            producers: 10,
            consumers: 10,
            producer: stomp.connect(),
            consumer: consumer.clone(),
            message: stomp.message(0, 100),
            depth,
        };
        let contender = Contender::new("passerelle", &plan(&server, Framing::Stream, shape))?;
        context.add(compare("queue work", &name, &context.effort.orders(None), vec![contender]));
    }
    Ok(())
}
