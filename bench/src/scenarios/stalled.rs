use std::error::Error;

use super::Context;
use crate::{
    compare::{Contender, SERVER_CORES, compare, plan},
    peers::{PASSERELLE, start_gateway},
    plan::Shape,
};

/// What 999 subscribers cost while one beside them reads nothing, against what they cost alone.
pub(crate) fn run(context: &mut Context) -> Result<(), Box<dyn Error>> {
    // It stays stalled, instead of being closed.
    let patient = "write-timeout = \"1h\"\nunsent-bytes-max = \"128MiB\"\n";
    let dialect = PASSERELLE.stomp.as_ref().ok_or("no STOMP")?.fan_out(100);
    for burst in [1, 16] {
        let name = format!("100 B, 1 to 999, {burst} a turn");
        if !context.wants_cell(&name) {
            continue;
        }
        let mut servers = Vec::new();
        let mut contenders = Vec::new();
        for (name, stalled) in [("one stalled", 1), ("none stalled", 0)] {
            let server = start_gateway(&context.places, SERVER_CORES, patient)?;
            let shape = Shape::FanOut {
                subscribers: 999,
                opening: dialect.opening.clone(),
                publisher: dialect.publisher.clone(),
                messages: vec![dialect.message.clone()],
                burst,
                deliveries_each: 999,
                stalled,
            };
            contenders.push(Contender::new(name, &plan(&server, dialect.framing, shape))?);
            servers.push(server);
        }
        context.add(compare("stalled subscriber", &name, &context.effort.orders(None), contenders));
    }
    Ok(())
}
