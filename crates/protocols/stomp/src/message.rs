use contract::{Body, Delivery, Destination, Message, Now, SubscriptionId};

use crate::{Frame, Version, encode::Writer, fault::Fault};

/// Makes the message of a SEND.
pub(crate) fn from_send(
    frame: Frame,
    destination: Destination,
    reply_to: Option<Destination>,
    id: u128,
    now: Now,
) -> Result<Message, Fault> {
    let body = if simdutf8::basic::from_utf8(&frame.body).is_ok() {
        Body::Text(frame.body)
    } else {
        Body::Binary(frame.body)
    };
    let headers = &frame.headers;
    let mut message = Message {
        durable: headers.get("persistent").map_or(Ok(false), persistent)?,
        priority: headers.get("priority").map_or(Ok(Message::PRIORITY_DEFAULT), priority)?,
        expires_unix_ms: headers.get("expires").map_or(Ok(None), expires)?,
        reply_to,
        content_type: headers.get("content-type").map(Into::into),
        correlation_id: headers.get("correlation-id").map(Into::into),
        ..Message::new(destination, id, now.unix_ms, body)
    };
    for (name, value) in frame.headers.iter() {
        if !NOT_PROPERTIES.contains(&name) && message.properties.get(name).is_none() {
            message.properties.push(name, value);
        }
    }
    Ok(message)
}

/// Appends a MESSAGE. `start` is its beginning, up to and with the `subscription` header.
pub(crate) fn encode(
    to: &mut Vec<u8>,
    version: Version,
    start: &[u8],
    delivery: &Delivery,
    ack: Option<(SubscriptionId, u64)>,
) {
    let message = &*delivery.message;
    let body = message.body.bytes();
    to.reserve(start.len() + 256 + message.cost().saturating_sub(size_of::<Message>()));
    to.extend_from_slice(start);
    let mut writer = Writer::resume(to, version);
    writer.number("message-id", format_args!("{:032x}", message.id));
    if let Some((subscription, number)) = ack {
        writer.number("ack", format_args!("{}-{number}", subscription.0));
    }
    writer.header("destination", message.destination.as_str());
    writer.number("content-length", body.len());
    if let Some(content_type) = &message.content_type {
        writer.header("content-type", content_type);
    }
    writer.number("timestamp", message.timestamp_unix_ms);
    if let Some(expires) = message.expires_unix_ms {
        writer.number("expires", expires);
    }
    if message.priority != Message::PRIORITY_DEFAULT {
        writer.number("priority", message.priority);
    }
    if message.durable {
        writer.header("persistent", "true");
    }
    if let Some(reply_to) = &message.reply_to {
        writer.header("reply-to", reply_to.as_str());
    }
    if let Some(correlation_id) = &message.correlation_id {
        writer.header("correlation-id", correlation_id);
    }
    if delivery.redeliveries > 0 {
        writer.header("redelivered", "true");
        writer.number("delivery-count", u64::from(delivery.redeliveries) + 1);
    }
    for (name, value) in message.properties.iter() {
        if !OURS.contains(&name) {
            writer.header(name, value);
        }
    }
    writer.body(body);
}

fn persistent(text: &str) -> Result<bool, Fault> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Fault::malformed("bad persistent", "persistent must be true or false")),
    }
}

fn priority(text: &str) -> Result<u8, Fault> {
    match text.as_bytes() {
        [digit @ b'0'..=b'9'] => Ok(digit - b'0'),
        _ => Err(Fault::malformed("bad priority", "priority must be a digit from 0 to 9")),
    }
}

fn expires(text: &str) -> Result<Option<u64>, Fault> {
    match text.parse() {
        Ok(0) => Ok(None),
        Ok(unix_ms) => Ok(Some(unix_ms)),
        Err(_) => Err(Fault::malformed(
            "bad expires",
            "expires must be a time in milliseconds since 1970, or 0 for never",
        )),
    }
}

/// Headers of SEND that do not become properties: they speak to the gateway, or are parts of a
/// message of their own.
const NOT_PROPERTIES: [&str; 10] = [
    "content-length",
    "content-type",
    "correlation-id",
    "destination",
    "expires",
    "persistent",
    "priority",
    "receipt",
    "reply-to",
    "transaction",
];

/// Headers of MESSAGE that a property must not stand in for.
const OURS: [&str; 16] = [
    "ack",
    "content-length",
    "content-type",
    "correlation-id",
    "delivery-count",
    "destination",
    "expires",
    "message-id",
    "persistent",
    "priority",
    "receipt",
    "redelivered",
    "reply-to",
    "subscription",
    "timestamp",
    "transaction",
];
