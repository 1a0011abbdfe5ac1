use bytes::Bytes;
use contract::{
    Annotation, Body, DeadLetter, Delivery, Destination, DestinationKind, Group, Header, Kind,
    Message, Now, Numbered, Parts, Properties, SendBuffer, SubscriptionId, Value, is_text_type,
};

use crate::{Frame, Headers, Version, encode::Writer, fault::Fault};

/// The headers of a SEND: of repeated ones the first counts.
#[derive(Debug)]
pub(crate) struct SendHeaders<'f> {
    pub(crate) destination: Option<&'f str>,
    pub(crate) transaction: Option<&'f str>,
    pub(crate) reply_to: Option<&'f str>,
    content_type: Option<&'f str>,
    message_type: Option<&'f str>,
    correlation_id: Option<&'f str>,
    /// The user who sends it.
    pub(crate) user_id: Option<&'f str>,
    expires: Option<&'f str>,
    persistent: Option<&'f str>,
    priority: Option<&'f str>,
    delay: Option<&'f str>,
    deliver_at: Option<&'f str>,
    repeats: Option<&'f str>,
    producer_id: Option<&'f str>,
    producer_seq: Option<&'f str>,
    /// Which receivers see too.
    group: Option<&'f str>,
    group_sequence: Option<&'f str>,
    all: &'f Headers,
    /// Bytes that the other headers take as properties.
    properties_bytes: usize,
}

impl<'f> SendHeaders<'f> {
    pub(crate) fn read(frame: &'f Frame) -> Self {
        let mut read = Self {
            destination: None,
            transaction: None,
            reply_to: None,
            content_type: None,
            message_type: None,
            correlation_id: None,
            user_id: None,
            expires: None,
            persistent: None,
            priority: None,
            delay: None,
            deliver_at: None,
            repeats: None,
            producer_id: None,
            producer_seq: None,
            group: None,
            group_sequence: None,
            all: &frame.headers,
            properties_bytes: 0,
        };
        for (name, value) in frame.headers.iter() {
            match read.known(name) {
                Some(known) => _ = known.get_or_insert(value),
                None if NOT_FOR_RECEIVERS.contains(&name) => {}
                None => {
                    Group::read(name, value, &mut read.group, &mut read.group_sequence);
                    read.properties_bytes += Properties::bytes_of(name, value.into());
                }
            }
        }
        read
    }

    fn known(&mut self, name: &str) -> Option<&mut Option<&'f str>> {
        Some(match name {
            "destination" => &mut self.destination,
            "transaction" => &mut self.transaction,
            "reply-to" => &mut self.reply_to,
            "content-type" => &mut self.content_type,
            "amq-msg-type" => &mut self.message_type,
            "correlation-id" => &mut self.correlation_id,
            // As RabbitMQ, JMS and Artemis call it.
            "user-id" | "JMSXUserID" | "_AMQ_VALIDATED_USER" => &mut self.user_id,
            "expires" => &mut self.expires,
            "persistent" => &mut self.persistent,
            "priority" => &mut self.priority,
            // As ActiveMQ and RabbitMQ's plugin call it, and Artemis its end.
            "delivery-delay" | "AMQ_SCHEDULED_DELAY" | "x-delay" => &mut self.delay,
            "_AMQ_SCHED_DELIVERY" => &mut self.deliver_at,
            "AMQ_SCHEDULED_CRON" | "AMQ_SCHEDULED_PERIOD" | "AMQ_SCHEDULED_REPEAT" => {
                &mut self.repeats
            }
            "producer-id" => &mut self.producer_id,
            "producer-seq" => &mut self.producer_seq,
            _ => return None,
        })
    }

    /// The headers that STOMP does not know, in memory that they fill.
    fn properties(&mut self) -> Properties {
        let mut properties = Properties::with_capacity(self.properties_bytes);
        if self.properties_bytes > 0 {
            for (name, value) in self.all.iter() {
                if self.known(name).is_none()
                    && !NOT_FOR_RECEIVERS.contains(&name)
                    && properties.get(name).is_none()
                {
                    properties.push(name, value);
                }
            }
        }
        properties
    }

    /// How long a queue is to keep the message before it delivers it.
    fn delay_ms(&self, destination: &Destination, now: Now) -> Result<u32, Fault> {
        if self.repeats.is_some() {
            return Err(Fault::malformed(
                "messages are not repeated",
                "a message is delivered once: leave AMQ_SCHEDULED_CRON, AMQ_SCHEDULED_PERIOD and \
                 AMQ_SCHEDULED_REPEAT out",
            ));
        }
        let delay = match (self.delay, self.deliver_at) {
            (None, None) => return Ok(0),
            (Some(delay), _) => delay.parse().ok(),
            (None, Some(at)) => at
                .parse::<u64>()
                .ok()
                .and_then(|unix_ms| u32::try_from(unix_ms.saturating_sub(now.unix_ms)).ok()),
        };
        match delay {
            Some(delay) if delay > 0 && destination.kind() == DestinationKind::TempTopic => {
                Err(Fault::malformed(
                    "temporary topics do not delay",
                    "only a queue or a topic that lasts keeps a message until later: send it there, \
                     or without a delay",
                ))
            }
            Some(delay) => Ok(delay),
            None => Err(Fault::malformed(
                "bad delay",
                "a delay is a number of milliseconds, and at most 4294967295: seven weeks from now",
            )),
        }
    }

    /// What the body is. What the sender says counts more than what the frame came in: a message of a
    /// WebSocket that was text ended it, or it did not.
    fn body(&self, bytes: Bytes, came_in: Kind) -> Body {
        let is_text = match self.message_type {
            Some("text") => true,
            Some("bytes") => false,
            Some(_) | None => came_in == Kind::Text || self.content_type.is_some_and(is_text_type),
        };
        let is_utf8 = simdutf8::basic::from_utf8(&bytes).is_ok();
        Body::new(bytes, is_utf8, is_text)
    }

    /// Makes the message.
    pub(crate) fn message(
        mut self,
        body: Bytes,
        came_in: Kind,
        destination: Destination,
        reply_to: Option<Destination>,
        id: u128,
        user: Option<&str>,
        now: Now,
    ) -> Result<Message, Fault> {
        let numbered = Numbered::parse(user, self.producer_id, self.producer_seq)
            .map_err(|error| Fault::malformed("bad producer", error.to_string()))?;
        let body = self.body(body, came_in);
        let header = Header {
            durable: self.persistent.map(persistent).transpose()?,
            priority: self.priority.map_or(Ok(Header::PRIORITY_DEFAULT), priority)?,
            expires_unix_ms: self.expires.map_or(Ok(None), expires)?,
            delay_ms: self.delay_ms(&destination, now)?,
            group: self.group.map(|id| Group::new(id, self.group_sequence)),
            ..Header::new(now.unix_ms)
        };
        let parts = Parts {
            reply_to,
            correlation: self.correlation_id.map(Into::into),
            content_type: self.content_type.map(Into::into),
            properties: self.properties(),
            body,
        };
        let mut message = Message::new(destination, id, now.unix_ms, parts);
        message.header = header;
        message.annotation = numbered.map(|numbered| Box::new(Annotation::Numbered(numbered)));
        Ok(message)
    }
}

/// Appends a MESSAGE. `start` is its beginning, up to and with the `subscription` header.
pub(crate) fn encode(
    to: &mut SendBuffer,
    version: Version,
    start: &[u8],
    delivery: &Delivery,
    ack: Option<(SubscriptionId, u64)>,
) {
    let message = &*delivery.message;
    let (header, body_bytes) = (&message.header, message.body().bytes().len());
    let copied = if body_bytes > SendBuffer::COPIED_BYTES_MAX { 0 } else { body_bytes };
    let own = to.own_mut();
    own.reserve(start.len() + message.cost() - body_bytes + copied);
    own.extend_from_slice(start);
    let mut writer = Writer::resume(own, version);
    writer.number("message-id", format_args!("{:032x}", message.id));
    if let Some((subscription, number)) = ack {
        writer.number("ack", format_args!("{}-{number}", subscription.0));
    }
    writer.destination("destination", &message.to);
    writer.number("content-length", body_bytes);
    if let Some(content_type) = message.content_type() {
        writer.header("content-type", content_type);
    }
    writer.number("timestamp", header.arrived_unix_ms);
    if let Some(expires) = header.expires_unix_ms {
        writer.number("expires", expires);
    }
    if header.priority != Header::PRIORITY_DEFAULT {
        writer.number("priority", header.priority);
    }
    if header.durable == Some(true) {
        writer.header("persistent", "true");
    }
    if let Some(reply_to) = message.reply_to() {
        writer.destination("reply-to", &reply_to);
    }
    if let Some(correlation) = message.correlation() {
        writer.header("correlation-id", &correlation);
    }
    if let Some(user) = message.user() {
        writer.header("JMSXUserID", user);
        writer.header("user-id", user);
    }
    if delivery.redeliveries > 0 {
        writer.header("redelivered", "true");
        writer.number("delivery-count", u64::from(delivery.redeliveries) + 1);
    }
    if delivery.dropped > 0 {
        writer.number("x-dropped", delivery.dropped);
    }
    if let Some(DeadLetter { queue, reason }) = message.dead_letter() {
        writer.number("dlq-reason", reason);
        writer.destination("dlq-queue", queue);
    }
    for (name, value) in message.properties() {
        if !is_built_in(name) && version.can_name(name) {
            property(&mut writer, name, value);
        }
    }
    to.push(b'\n');
    to.append_body(message);
    to.push(0);
}

/// Appends the MESSAGE that tells a browser that it has been shown all of a queue, as ActiveMQ's.
pub(crate) fn encode_browse_end(
    to: &mut Vec<u8>,
    version: Version,
    start: &[u8],
    queue: &Destination,
) {
    to.extend_from_slice(start);
    let mut writer = Writer::resume(to, version);
    writer.number("message-id", 0);
    writer.destination("destination", queue);
    writer.header("browser", "end");
    writer.number("content-length", 0);
    writer.body(&[]);
}

/// Whether a property's name is that of a header of MESSAGE for which it must not stand in. Clients
/// trim names, though only STOMP 1.0 lets them: what they trim makes no other name.
pub(crate) fn is_built_in(name: &str) -> bool {
    let blank = |c: char| c.is_whitespace() || c.is_control() || c == BYTE_ORDER_MARK;
    BUILT_IN.contains(&name.trim_matches(blank))
}

/// A header for a property. STOMP has no types: numbers are written in digits, and bytes, which may
/// be no text, not at all.
fn property(writer: &mut Writer<'_>, name: &str, value: Value<'_>) {
    match value {
        Value::String(text) => writer.header(name, text),
        Value::Null => writer.header(name, ""),
        Value::Bool(value) => writer.number(name, value),
        Value::I8(value) => writer.number(name, value),
        Value::I16(value) => writer.number(name, value),
        Value::I32(value) => writer.number(name, value),
        Value::I64(value) => writer.number(name, value),
        Value::F32(value) => writer.number(name, format_args!("{value:?}")),
        Value::F64(value) => writer.number(name, format_args!("{value:?}")),
        Value::Bytes(_) => {}
    }
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

/// Headers of SEND that are between the sender and the gateway.
const NOT_FOR_RECEIVERS: [&str; 2] = ["content-length", "receipt"];

/// JavaScript's `trim` takes it for a blank.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Headers of MESSAGE that the gateway writes, and those of SEND that are not for receivers.
const BUILT_IN: [&str; 24] = [
    "JMSXUserID",
    "ack",
    "browser",
    "content-length",
    "content-type",
    "correlation-id",
    "delivery-count",
    "destination",
    "dlq-queue",
    "dlq-reason",
    "expires",
    "message-id",
    "persistent",
    "priority",
    "producer-id",
    "producer-seq",
    "receipt",
    "redelivered",
    "reply-to",
    "subscription",
    "timestamp",
    "transaction",
    "user-id",
    "x-dropped",
];

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use contract::{DeadLetterReason, Sections};

    use super::*;

    fn encoded(version: Version, delivery: &Delivery) -> String {
        let mut to = SendBuffer::default();
        encode(&mut to, version, b"", delivery, None);
        String::from_utf8(to.to_vec()).unwrap()
    }

    #[test]
    fn no_property_stands_in_for_a_built_in_header() {
        let destination = Destination::parse("/topic/a").unwrap();
        let mut parts = Parts::new(Body::Text("hi".into()));
        let blanks = BUILT_IN.into_iter().flat_map(|name| {
            ["{}", " {}", "{} ", "\t{}", "\r{}\n", "\0{}", "\u{a0}{}", "{}\u{feff}", "\u{1f} {}"]
                .map(|form| form.replace("{}", name))
        });
        for name in blanks {
            parts.properties.push(&name, "0");
        }
        for name in ["content-length:0 ", "Destination", "dlq- reason"] {
            parts.properties.push(name, "0");
        }
        parts.properties.push("own", "kept");
        let message = Message::new(destination, 1, 0, parts);
        let delivery = Delivery::new(Arc::new(message));
        let cases = [
            (Version::V1_0, "Destination:0\ndlq- reason:0\nown:kept\n\nhi\0"),
            (
                Version::V1_1,
                "content-length\\c0 :0\nDestination:0\ndlq- reason:0\nown:kept\n\nhi\0",
            ),
            (
                Version::V1_2,
                "content-length\\c0 :0\nDestination:0\ndlq- reason:0\nown:kept\n\nhi\0",
            ),
        ];
        for (version, expected) in cases {
            let text = encoded(version, &delivery);
            assert_eq!(text.split_once("timestamp:0\n").unwrap().1, expected, "{version}");
        }
    }

    #[test]
    fn only_the_gateway_says_that_a_message_is_a_dead_letter() {
        let mut parts = Parts::new(Body::Text("hi".into()));
        parts.properties.push("dlq-reason", "forged");
        parts.properties.push("dlq-queue", "/queue/forged");
        parts.properties.push("own", "kept");
        let to = Destination::parse("/queue/DLQ.a").unwrap();
        let mut message = Message::new(to, 1, 0, parts);
        let headers = |message: Message| {
            let delivery = Delivery::new(Arc::new(message));
            encoded(Version::V1_2, &delivery).split_once("timestamp:0\n").unwrap().1.to_owned()
        };
        assert_eq!(headers(message.clone()), "own:kept\n\nhi\0");
        let queue = Destination::parse("/queue/a").unwrap();
        let dead_letter = DeadLetter { queue, reason: DeadLetterReason::Failed(6) };
        message.annotation = Some(Box::new(Annotation::DeadLetter(dead_letter)));
        let expected = "dlq-reason:delivered 6 times without success\ndlq-queue:/queue/a\n\
                        own:kept\n\nhi\0";
        assert_eq!(headers(message), expected);
    }

    #[test]
    fn properties_of_any_type_are_shown_as_text() {
        let mut parts = Parts::new(Body::Text("hi".into()));
        for (name, value) in [
            ("null", Value::Null),
            ("a:b", Value::Bool(true)),
            ("byte", Value::I8(-1)),
            ("short", Value::I16(-2)),
            ("int", Value::I32(-3)),
            ("long", Value::I64(i64::MIN)),
            ("float", Value::F32(0.5)),
            ("double", Value::F64(-1e300)),
            ("bytes", Value::Bytes(b"ab")),
        ] {
            parts.properties.push(name, value);
        }
        let message = Message::new(Destination::parse("/topic/a").unwrap(), 1, 0, parts);
        let delivery = Delivery::new(Arc::new(message));
        let shown = encoded(Version::V1_2, &delivery);
        let expected = "timestamp:0\nnull:\na\\cb:true\nbyte:-1\nshort:-2\nint:-3\n\
                        long:-9223372036854775808\nfloat:0.5\ndouble:-1e300\n";
        assert!(shown.ends_with(&format!("{expected}\nhi\0")), "{shown}");
    }

    #[test]
    fn of_an_amqp_message_the_body_is_shown() {
        let sections = Sections::new(b"pb\0\xff"[..].into(), [0, 1, 1, 4, 4], 0).unwrap();
        let message = Message::new(Destination::parse("/topic/a").unwrap(), 1, 0, sections);
        let delivery = Delivery::new(Arc::new(message));
        let mut to = SendBuffer::default();
        encode(&mut to, Version::V1_2, b"", &delivery, None);
        let to = to.to_vec();
        assert!(to.ends_with(b"content-length:3\ntimestamp:0\n\nb\0\xff\0"), "{to:?}");
    }
}
