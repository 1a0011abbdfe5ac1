//! The headers of SUBSCRIBE that say how fast messages come, and what becomes of those that come
//! faster.

use std::num::NonZero;

use contract::{ConflationKey, DestinationKind, SlowPolicy};

use crate::{Frame, fault::Fault, message::is_built_in, open::Context};

/// How a subscription gets its messages.
#[derive(Debug)]
pub(crate) struct Flow {
    /// Deliveries that may wait for an acknowledgement or, without one, for being written; `None`: of
    /// a topic, any number.
    pub(crate) credit: Option<u32>,
    pub(crate) on_slow: SlowPolicy,
    /// Messages a second.
    pub(crate) rate: Option<NonZero<u32>>,
}

impl Flow {
    pub(crate) fn read(
        frame: &Frame,
        kind: DestinationKind,
        cx: &Context<'_>,
    ) -> Result<Self, Fault> {
        let prefetch = |names: &[&'static str]| prefetch(frame, names);
        let max = cx.limits.prefetch_max.max(1);
        // Zero is no bound in AMQP 0-9-1: the most that a queue may send, or all of a topic.
        let credit = match kind {
            DestinationKind::Queue | DestinationKind::TempQueue => {
                Some(match prefetch(&PREFETCH)? {
                    None => cx.protocol_limits.prefetch_default.clamp(1, max),
                    Some(0) => max,
                    Some(count) => max.min(count),
                })
            }
            DestinationKind::Topic => {
                let count = prefetch(&TOPIC_PREFETCH)?.filter(|&count| count > 0);
                count.map(|count| max.min(count))
            }
            DestinationKind::TempTopic => None,
        };
        if kind == DestinationKind::Topic {
            let rate = frame.header(MAX_RATE).map(rate).transpose()?;
            return Ok(Self { credit, on_slow: on_slow(frame, rate.is_some())?, rate });
        }
        if let Some(name) = [SLOW, KEY, MAX_RATE].into_iter().find(|n| frame.header(n).is_some()) {
            let why = if kind.is_queue() {
                "a queue drops no message: it waits for its consumers"
            } else {
                "not for temporary ones"
            };
            let detail = format!("the header {name} is for subscriptions to topics; {why}");
            return Err(Fault::malformed("topics only", detail));
        }
        Ok(Self { credit, on_slow: SlowPolicy::Close, rate: None })
    }
}

/// What `x-slow` and `x-key` say. With a rate, what is too much is replaced by what is newer, unless they
/// say something else.
fn on_slow(frame: &Frame, has_rate: bool) -> Result<SlowPolicy, Fault> {
    let key = frame.header(KEY);
    match frame.header(SLOW) {
        None if !has_rate && key.is_some() => Err(Fault::malformed(
            "bad x-key",
            "x-key goes with x-slow:latest, whose key it names, or with x-max-rate",
        )),
        Some("close" | "drop-oldest") if key.is_some() => {
            Err(Fault::malformed("bad x-key", "x-key goes with x-slow:latest, whose key it names"))
        }
        None if !has_rate => Ok(SlowPolicy::Close),
        Some("close") => Ok(SlowPolicy::Close),
        Some("drop-oldest") => Ok(SlowPolicy::DropOldest),
        None | Some("latest") => Ok(SlowPolicy::Latest(conflation_key(key)?)),
        Some(_) => {
            Err(Fault::malformed("bad x-slow", "x-slow must be close, drop-oldest or latest"))
        }
    }
}

fn conflation_key(name: Option<&str>) -> Result<ConflationKey, Fault> {
    match name {
        None | Some("destination") => Ok(ConflationKey::Destination),
        Some(name) if !name.is_empty() && !is_built_in(name) => {
            Ok(ConflationKey::Property(name.into()))
        }
        Some(_) => Err(Fault::malformed(
            "bad x-key",
            "x-key must be destination, or name a header of the senders' own",
        )),
    }
}

fn rate(text: &str) -> Result<NonZero<u32>, Fault> {
    is_number(text).then(|| text.parse().ok()).flatten().ok_or_else(|| {
        Fault::malformed(
            "bad x-max-rate",
            format!("x-max-rate must be a number of messages a second, from 1 to {}", u32::MAX),
        )
    })
}

fn prefetch(frame: &Frame, names: &[&str]) -> Result<Option<u32>, Fault> {
    let given = names.iter().find_map(|name| Some((*name, frame.header(name)?)));
    let Some((name, text)) = given else { return Ok(None) };
    if !is_number(text) {
        return Err(Fault::malformed(
            "bad prefetch",
            format!("{name} must be a number of messages"),
        ));
    }
    Ok(Some(text.parse().unwrap_or(u32::MAX)))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// How many messages of a queue may be in flight: the gateway's, ActiveMQ's and RabbitMQ's spelling.
const PREFETCH: [&str; 3] = ["prefetch", "activemq.prefetchSize", "prefetch-count"];
/// The same of a topic. Clients of ActiveMQ that acknowledge nothing of topics send theirs with every
/// subscription.
const TOPIC_PREFETCH: [&str; 2] = ["prefetch", "prefetch-count"];
const SLOW: &str = "x-slow";
const KEY: &str = "x-key";
const MAX_RATE: &str = "x-max-rate";
