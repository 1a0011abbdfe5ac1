use std::sync::Arc;

use bytes::Bytes;

use crate::{Destination, Tag};

/// A message, in the form every protocol converts from and to.
///
/// The parts are those of AMQP 1.0: a header for the broker, properties, application properties
/// and a body with a type. JMS maps to the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Where it was sent.
    pub destination: Destination,
    /// Names it within this gateway: unique, the same for each receiver.
    pub id: u128,
    /// Whether it is to survive a restart.
    pub durable: bool,
    /// 0 (lowest) to 9; 4 by default.
    pub priority: u8,
    /// When it becomes worthless, in milliseconds since 1970; `None`: never.
    pub expires_unix_ms: Option<u64>,
    /// When the gateway took it, in milliseconds since 1970.
    pub timestamp_unix_ms: u64,
    /// Where an answer is to be sent.
    pub reply_to: Option<Destination>,
    /// MIME type of the body, as the sender wrote it.
    pub content_type: Option<Box<str>>,
    /// What joins an answer to its question.
    pub correlation_id: Option<Box<str>>,
    /// The application's own names and values.
    pub properties: Properties,
    /// The content.
    pub body: Body,
}

impl Message {
    /// [`Message::priority`] of a message whose sender named none.
    pub const PRIORITY_DEFAULT: u8 = 4;

    /// A message with nothing but a destination, a name and a body.
    #[must_use]
    pub fn new(destination: Destination, id: u128, timestamp_unix_ms: u64, body: Body) -> Self {
        Self {
            destination,
            id,
            durable: false,
            priority: Self::PRIORITY_DEFAULT,
            expires_unix_ms: None,
            timestamp_unix_ms,
            reply_to: None,
            content_type: None,
            correlation_id: None,
            properties: Properties::default(),
            body,
        }
    }

    /// Whether it is worthless at this time.
    #[must_use]
    pub fn is_expired(&self, unix_ms: u64) -> bool {
        self.expires_unix_ms.is_some_and(|expires| expires <= unix_ms)
    }

    /// Memory it takes, in bytes; what the bounds of queues and rings count.
    #[must_use]
    pub fn cost(&self) -> usize {
        size_of::<Self>() + self.properties.text.len() + self.body.bytes().len()
    }
}

/// The content of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Body {
    /// UTF-8 text; whoever makes it has checked that.
    Text(Bytes),
    /// Bytes.
    Binary(Bytes),
}

impl Body {
    /// The bytes of either.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => bytes,
        }
    }
}

/// Names and values in the order in which they came, in one allocation of text and one of cuts.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Properties {
    text: String,
    /// For each property, where in `text` its name and its value end.
    ends: Vec<(u32, u32)>,
}

impl Properties {
    /// None yet, with room for this many bytes of names and values, and for this many properties.
    #[must_use]
    pub fn with_capacity(bytes: usize, count: usize) -> Self {
        Self { text: String::with_capacity(bytes), ends: Vec::with_capacity(count) }
    }

    /// Adds a property. The whole text must stay under 4 GiB, which every [`crate::Limits`] assures.
    pub fn push(&mut self, name: &str, value: &str) {
        let end = |text: &String| u32::try_from(text.len()).unwrap_or(u32::MAX);
        self.text.push_str(name);
        let name_end = end(&self.text);
        self.text.push_str(value);
        self.ends.push((name_end, end(&self.text)));
    }

    /// The first value with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find_map(|(n, value)| (n == name).then_some(value))
    }

    /// All names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.ends.iter().map(move |&(name_end, value_end)| {
            let cut =
                |from: u32, to: u32| self.text.get(from as usize..to as usize).unwrap_or_default();
            let property = (cut(start, name_end), cut(name_end, value_end));
            start = value_end;
            property
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// A message on its way to one subscription.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The message, shared by all its receivers.
    pub message: Arc<Message>,
    /// What to settle it by; `None` when it is settled already.
    pub tag: Option<Tag>,
    /// How many times it was delivered before, to anyone.
    pub redeliveries: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_keep_their_order() {
        let mut properties = Properties::default();
        for (name, value) in [("a", "1"), ("b", ""), ("", "x"), ("a", "2")] {
            properties.push(name, value);
        }
        let all: Vec<_> = properties.iter().collect();
        assert_eq!(all, [("a", "1"), ("b", ""), ("", "x"), ("a", "2")]);
        assert_eq!(properties.get("a"), Some("1"));
        assert_eq!(properties.get("c"), None);
    }
}
