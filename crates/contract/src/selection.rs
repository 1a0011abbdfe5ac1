use std::cell::OnceCell;

use selector::{Fields, HeaderField, Selector};

use crate::{BareProperties, Content, Message, Value};

impl Message {
    /// Whether a selector selects it.
    ///
    /// `JMSMessageID` is [`Message::id`] in 32 hexadecimal digits, `JMSTimestamp` is when the gateway
    /// received it, unless an AMQP message says both itself. `JMSType` is the property `type`, as it is
    /// in STOMP. The property `JMSXUserID` is [`Message::user`].
    #[must_use]
    pub fn is_selected_by(&self, selector: &Selector) -> bool {
        selector.matches(&Candidate { message: self, id: OnceCell::new() })
    }

    /// What [`Message::is_selected_by`] costs at most, in operations on a few short properties.
    #[must_use]
    pub fn selection_cost(&self, selector: &Selector) -> usize {
        let bytes = match &self.content {
            Content::Parts(parts) => {
                parts.properties.capacity() + parts.correlation.as_deref().map_or(0, str::len)
            }
            Content::Amqp(sections) => sections.ends()[2] as usize,
        };
        selector.cost() * (1 + bytes / SHORT_BYTES)
    }
}

struct Candidate<'m> {
    message: &'m Message,
    /// The digits of its id, once they are looked at.
    id: OnceCell<[u8; 32]>,
}

impl Candidate<'_> {
    /// What an AMQP message says of itself.
    fn bare(&self) -> Option<BareProperties<'_>> {
        match &self.message.content {
            Content::Parts(_) => None,
            Content::Amqp(sections) => Some(sections.properties()),
        }
    }

    fn correlation(&self) -> Option<&str> {
        match &self.message.content {
            Content::Parts(parts) => parts.correlation.as_deref(),
            Content::Amqp(sections) => {
                sections.properties().correlation_id.and_then(amqp_types::Value::text)
            }
        }
    }
}

impl Fields for Candidate<'_> {
    fn header(&self, field: HeaderField) -> selector::Value<'_> {
        let header = &self.message.header;
        match field {
            HeaderField::DeliveryMode if header.durable == Some(true) => {
                selector::Value::String("PERSISTENT")
            }
            HeaderField::DeliveryMode => selector::Value::String("NON_PERSISTENT"),
            HeaderField::Priority => selector::Value::Integer(header.priority.into()),
            HeaderField::Timestamp => {
                let arrived = || i64::try_from(header.arrived_unix_ms).unwrap_or(i64::MAX);
                let created = self.bare().and_then(|bare| bare.creation_unix_ms);
                selector::Value::Integer(created.unwrap_or_else(arrived))
            }
            HeaderField::MessageId => {
                let own = self.bare().and_then(|bare| bare.message_id?.text());
                if let Some(own) = own {
                    return selector::Value::String(own);
                }
                let digits = self.id.get_or_init(|| digits(self.message.id));
                str::from_utf8(digits).map_or(selector::Value::Null, selector::Value::String)
            }
            HeaderField::CorrelationId => {
                self.correlation().map_or(selector::Value::Null, selector::Value::String)
            }
            HeaderField::Type => self.property("type"),
        }
    }

    fn property(&self, name: &str) -> selector::Value<'_> {
        if name == USER_ID {
            return self.message.user().map_or(selector::Value::Null, selector::Value::String);
        }
        match self.message.property(name) {
            None | Some(Value::Null) => selector::Value::Null,
            Some(Value::Bool(value)) => selector::Value::Bool(value),
            Some(Value::I8(value)) => selector::Value::Integer(value.into()),
            Some(Value::I16(value)) => selector::Value::Integer(value.into()),
            Some(Value::I32(value)) => selector::Value::Integer(value.into()),
            Some(Value::I64(value)) => selector::Value::Integer(value),
            Some(Value::F32(value)) => selector::Value::Float(value),
            Some(Value::F64(value)) => selector::Value::Double(value),
            Some(Value::String(text)) => selector::Value::String(text),
            Some(Value::Bytes(_)) => selector::Value::Other,
        }
    }
}

/// The property that names the sender of a message (Jakarta Messaging 3.1, section 3.5.9).
const USER_ID: &str = "JMSXUserID";

/// Properties that are gone through, or a string that is compared, about as fast as anything is done.
const SHORT_BYTES: usize = 256;

/// In hexadecimal, as STOMP shows an id.
fn digits(id: u128) -> [u8; 32] {
    let mut digits = [b'0'; 32];
    for (digit, shift) in digits.iter_mut().rev().zip((0..128).step_by(4)) {
        let value = u32::try_from(id >> shift & 0xf).unwrap_or_default();
        *digit = char::from_digit(value, 16).and_then(|c| u8::try_from(c).ok()).unwrap_or(b'0');
    }
    digits
}

#[cfg(test)]
mod tests {
    use selector::Strings;

    use super::*;
    use crate::{Body, Destination, Parts, Sections, Sender};

    fn selects(message: &Message, condition: &str) -> bool {
        message.is_selected_by(&Selector::parse(condition, Strings::Strict).unwrap())
    }

    #[test]
    fn headers_and_properties_are_found() {
        let mut parts = Parts::new(Body::Text("x".into()));
        parts.correlation = Some("c".into());
        for (name, value) in [
            ("type", Value::String("car")),
            ("nothing", Value::Null),
            ("yes", Value::Bool(true)),
            ("byte", Value::I8(-1)),
            ("short", Value::I16(-2)),
            ("int", Value::I32(-3)),
            ("long", Value::I64(i64::MIN)),
            ("float", Value::F32(0.1)),
            ("double", Value::F64(0.1)),
            ("bytes", Value::Bytes(b"x")),
            ("JMSPriority", Value::I32(1)),
        ] {
            parts.properties.push(name, value);
        }
        let to = Destination::parse("/queue/a").unwrap();
        let mut message = Message::new(to, 0xff, 1_700_000_000_000, parts);
        for condition in [
            "JMSPriority = 4 AND JMSDeliveryMode = 'NON_PERSISTENT' AND JMSTimestamp = 1700000000000",
            "JMSMessageID = '000000000000000000000000000000ff' AND JMSMessageID LIKE '%ff'",
            "JMSCorrelationID = 'c' AND JMSType = 'car' AND type = 'car'",
            "nothing IS NULL AND none IS NULL AND yes AND byte = -1 AND short = -2 AND int = -3",
            "long = -9223372036854775808 AND float = 0.1F AND double = 0.1",
            "bytes IS NOT NULL AND NOT bytes = 'x'",
        ] {
            assert!(selects(&message, condition), "{condition}");
        }
        message.header.durable = Some(true);
        message.id = u128::MAX;
        assert!(selects(&message, "JMSDeliveryMode = 'PERSISTENT'"));
        assert!(selects(&message, "JMSXUserID IS NULL"));
        message.sender = Some(Sender::new("ann"));
        assert!(selects(&message, "JMSXUserID = 'ann'"));
        assert!(selects(&message, &format!("JMSMessageID = '{:032x}'", u128::MAX)));
    }

    #[test]
    fn what_is_long_costs_more() {
        let selector = Selector::parse("a LIKE '%b' AND b = 1", Strings::Strict).unwrap();
        let cost = |property: usize, correlation: usize| {
            let mut parts = Parts::new(Body::Binary(vec![0; 100_000].into()));
            parts.properties.push("a", &*"x".repeat(property));
            parts.correlation = Some("x".repeat(correlation).into());
            let message = Message::new(Destination::parse("/queue/a").unwrap(), 1, 0, parts);
            message.selection_cost(&selector)
        };
        assert_eq!(cost(1, 1), selector.cost());
        assert!(cost(20_000, 1) > 70 * selector.cost());
        assert!(cost(1, 20_000) > 70 * selector.cost());
    }

    #[test]
    fn of_an_amqp_message_the_header_is_found() {
        let to = Destination::parse("/queue/a").unwrap();
        let message =
            Message::new(to, 1, 0, Sections::new(b"x"[..].into(), [0, 0, 0, 1, 1], 0).unwrap());
        assert!(selects(&message, "JMSPriority = 4 AND a IS NULL AND JMSType IS NULL"));
        assert!(selects(&message, "JMSCorrelationID IS NULL"));
    }
}
