use std::error::Error;

use super::Context;
use crate::{
    compare::{Contender, SERVER_CORES, compare, plan},
    dialect::Stomp,
    peers::start_gateway,
    plan::Shape,
};

const SUBSCRIBERS: usize = 10_000;
const TOPICS: usize = 1000;

/// Quotes on a thousand topics, each for ten.
pub(crate) fn run(context: &mut Context) -> Result<(), Box<dyn Error>> {
    let server = start_gateway(&context.places, SERVER_CORES, "")?;
    let stomp = Stomp {
        path: Some("/messaging"),
        login: None,
        destination: "/topic/quotes.{n}",
        modulus: TOPICS,
    };
    let dialect = stomp.fan_out(100);
    for burst in [1, 100] {
        let name = format!("{SUBSCRIBERS} subscribers of {TOPICS} topics, {burst} quotes a turn");
        if !context.wants_cell(&name) {
            continue;
        }
        let shape = Shape::FanOut {
            subscribers: SUBSCRIBERS,
            opening: dialect.opening.clone(),
            publisher: dialect.publisher.clone(),
            messages: (0..TOPICS).map(|topic| stomp.message(topic, 100)).collect(),
            burst,
            deliveries_each: SUBSCRIBERS / TOPICS,
            stalled: 0,
        };
        let contender = Contender::new("passerelle", &plan(&server, dialect.framing, shape))?;
        context.add(compare("many topics", &name, &context.effort.orders(None), vec![contender]));
    }
    Ok(())
}
