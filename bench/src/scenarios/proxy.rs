use std::error::Error;

use super::Context;
use crate::{
    compare::{Contender, SERVER_CORES, compare, plan},
    dialect,
    peers::{start_bare, start_gateway},
    plan::{Frame, Shape},
};

/// An echo behind the gateway, by WebSocket, against the same echo directly, by TCP. The CPU time
/// is that of both servers.
pub(crate) fn run(context: &mut Context) -> Result<(), Box<dyn Error>> {
    let upstream = start_bare("echo", SERVER_CORES)?;
    let service = format!(
        "[[service]]\npath = \"/proxy\"\ntype = \"proxy\"\nconnect = \"tcp://{}\"\n",
        upstream.address
    );
    let gateway = start_gateway(&context.places, SERVER_CORES, &service)?;
    for (len, depth) in [(125, 1), (125, 16), (16 * 1024, 1)] {
        let name = format!("{len} B, depth {depth}, 100 connections");
        if !context.wants_cell(&name) {
            continue;
        }
        let through = dialect::websocket("/proxy", Frame::Binary, len);
        let directly = dialect::raw(len);
        let shape = |dialect: &dialect::Dialect| Shape::Echo {
            connections: 100,
            depth,
            message: dialect.message.clone(),
            opening: dialect.opening.clone(),
        };
        let mut through_plan = plan(&gateway, through.framing, shape(&through));
        through_plan.processes.push(upstream.id());
        let contenders = vec![
            Contender::new("through gateway", &through_plan)?,
            Contender::new("directly", &plan(&upstream, directly.framing, shape(&directly)))?,
        ];
        let pace = (depth == 1).then_some(2000.0);
        context.add(compare("proxy", &name, &context.effort.orders(pace), contenders));
    }
    Ok(())
}
