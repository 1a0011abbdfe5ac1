//! What SUBSCRIBE says of a consumer of a queue beside others: that it wants all, and its priority; by
//! headers, or behind the destination as ActiveMQ has it.

use contract::Precedence;

use crate::{Frame, fault::Fault};

/// A destination, and the options behind it: `/queue/a?consumer.exclusive=true&consumer.priority=10`.
pub(crate) fn split(destination: &str) -> (&str, Option<&str>) {
    match destination.find("?consumer.") {
        Some(at) => {
            let (destination, options) = destination.split_at(at);
            (destination, options.strip_prefix('?'))
        }
        None => (destination, None),
    }
}

/// What the headers say, or else the options.
pub(crate) fn read(frame: &Frame, options: Option<&str>) -> Result<Precedence, Fault> {
    let given =
        |names: &[&'static str]| names.iter().find_map(|name| Some((*name, frame.header(name)?)));
    let (mut exclusive, mut priority) = (given(&EXCLUSIVE), given(&PRIORITY));
    for option in options.into_iter().flat_map(|options| options.split('&')) {
        match option.split_once('=') {
            Some(("consumer.exclusive", value)) => {
                exclusive.get_or_insert(("consumer.exclusive", value));
            }
            Some(("consumer.priority", value)) => {
                priority.get_or_insert(("consumer.priority", value));
            }
            _ => {
                return Err(bad(format!(
                    "{option:?}: the options of a destination are consumer.exclusive=true and \
                     consumer.priority=N; all else is said by headers"
                )));
            }
        }
    }
    let is_exclusive = match exclusive {
        None | Some((_, "false")) => false,
        Some((_, "true")) => true,
        Some((name, _)) => return Err(bad(format!("{name} must be true or false"))),
    };
    let priority = match priority {
        None => 0,
        Some((name, text)) => text.parse().map_err(|_| {
            bad(format!("{name} must be a whole number from {} to {}", i8::MIN, i8::MAX))
        })?,
    };
    Ok(Precedence { is_exclusive, priority })
}

fn bad(detail: String) -> Fault {
    Fault::malformed("bad consumer", detail)
}

/// The gateway's, ActiveMQ's, and RabbitMQ's, which is one of its queues.
const EXCLUSIVE: [&str; 3] = ["exclusive", "activemq.exclusive", "x-single-active-consumer"];

/// Artemis's, which is the gateway's, ActiveMQ's and RabbitMQ's.
const PRIORITY: [&str; 3] = ["consumer-priority", "activemq.priority", "x-priority"];
