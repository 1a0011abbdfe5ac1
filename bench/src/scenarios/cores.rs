use std::error::Error;

use super::Context;
use crate::{
    compare::{Contender, LOAD_CORE, SERVER_CORES, compare, plan},
    dialect,
    peers::{PASSERELLE, start_gateway},
    plan::{Frame, Shape},
};

/// What a message costs on two cores, one of which it shares with the load, against one.
pub(crate) fn run(context: &mut Context) -> Result<(), Box<dyn Error>> {
    let one = start_gateway(&context.places, SERVER_CORES, "")?;
    let both: Vec<usize> = SERVER_CORES.iter().copied().chain([LOAD_CORE]).collect();
    let two = start_gateway(&context.places, &both, "")?;
    let echo = dialect::websocket("/echo", Frame::Binary, 16);
    let stomp = PASSERELLE.stomp.as_ref().ok_or("no STOMP")?.fan_out(100);
    let shapes = [1, 16].into_iter().flat_map(|burst| {
        let echo_shape = Shape::Echo {
            connections: 100,
            depth: burst,
            message: echo.message.clone(),
            opening: echo.opening.clone(),
        };
        let stomp_shape = Shape::FanOut {
            subscribers: 1000,
            opening: stomp.opening.clone(),
            publisher: stomp.publisher.clone(),
            messages: vec![stomp.message.clone()],
            burst,
            deliveries_each: 1000,
            stalled: 0,
        };
        [
            (format!("echo, 16 B, depth {burst}, 100 connections"), echo_shape),
            (format!("STOMP fan-out, 100 B, 1 to 1000, {burst} a turn"), stomp_shape),
        ]
    });
    for (name, shape) in shapes {
        if !context.wants_cell(&name) {
            continue;
        }
        let contenders = vec![
            Contender::new("two cores", &plan(&two, echo.framing, shape.clone()))?,
            Contender::new("one core", &plan(&one, echo.framing, shape))?,
        ];
        context.add(compare("two cores", &name, &context.effort.orders(None), contenders));
    }
    Ok(())
}
