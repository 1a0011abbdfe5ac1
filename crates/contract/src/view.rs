//! What a message says, for those who do not know in which form it came.

use std::borrow::Cow;

use crate::{Content, Destination, Message, Properties, Sections, Sender, Value, id_text};

impl Message {
    /// Where a reply is to be sent.
    #[must_use]
    pub fn reply_to(&self) -> Option<Cow<'_, Destination>> {
        match &self.content {
            Content::Parts(parts) => parts.reply_to.as_ref().map(Cow::Borrowed),
            Content::Amqp(sections) => sections.reply_to().map(Cow::Owned),
        }
    }

    /// What joins a reply to its request.
    #[must_use]
    pub fn correlation(&self) -> Option<Cow<'_, str>> {
        match &self.content {
            Content::Parts(parts) => parts.correlation.as_deref().map(Cow::Borrowed),
            Content::Amqp(sections) => sections.properties().correlation_id.and_then(id_text),
        }
    }

    /// MIME type of the body.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        match &self.content {
            Content::Parts(parts) => parts.content_type.as_deref(),
            Content::Amqp(sections) => sections.properties().content_type,
        }
    }

    /// The user who sent it, if its receivers are to know, or it says so itself.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        let said = || match &self.content {
            Content::Parts(_) => None,
            Content::Amqp(sections) => {
                sections.properties().user_id.and_then(|user| str::from_utf8(user).ok())
            }
        };
        self.sender.as_ref().map(Sender::name).or_else(said)
    }

    /// The application's own names and values, and those that AMQP has fields for and others have not:
    /// `type`, `JMSXGroupID` and `JMSXGroupSeq`.
    pub fn properties(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        let (parts, sections) = match &self.content {
            Content::Parts(parts) => (Some(&parts.properties), None),
            Content::Amqp(sections) => (None, Some(sections)),
        };
        let own = sections.into_iter().flat_map(Sections::application_properties);
        let fields = sections.into_iter().flat_map(|sections| {
            FIELDS.into_iter().filter_map(|name| Some((name, sections.field(name)?)))
        });
        parts.into_iter().flat_map(Properties::iter).chain(own).chain(fields)
    }
}

impl Sections {
    /// A property by name, which may be a field.
    pub(crate) fn property(&self, name: &str) -> Option<Value<'_>> {
        self.application_property(name).or_else(|| self.field(name))
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        match name {
            TYPE => self.properties().subject.map(Value::String),
            GROUP => self.properties().group_id.map(Value::String),
            GROUP_SEQUENCE => {
                // Signed, as JMS has it.
                self.properties().group_sequence.map(|number| Value::I32(number.cast_signed()))
            }
            _ => None,
        }
    }
}

const FIELDS: [&str; 3] = [TYPE, GROUP, GROUP_SEQUENCE];
const TYPE: &str = "type";
const GROUP: &str = "JMSXGroupID";
const GROUP_SEQUENCE: &str = "JMSXGroupSeq";

#[cfg(test)]
mod tests {
    use amqp_types::Writer;

    use super::*;
    use crate::BodyView;

    fn section(code: u8, write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.descriptor(code);
        write(&mut writer);
        bytes
    }

    fn message(properties: &[u8], application: &[u8], body: &[u8]) -> Message {
        let annotations = section(0x72, |to| {
            to.map(|map| {
                map.symbol("x-opt-jms-reply-to");
                map.i8(1);
            });
        });
        let mut bytes = Vec::new();
        let ends = [&annotations, properties, application, body, &[]].map(|section| {
            bytes.extend_from_slice(section);
            u32::try_from(bytes.len()).unwrap()
        });
        let sections = Sections::new(bytes.into(), ends, 0).unwrap();
        Message::new(Destination::parse("/queue/a").unwrap(), 1, 0, sections)
    }

    #[test]
    fn an_amqp_message_is_read_part_by_part() {
        let properties = section(0x73, |to| {
            to.list(|fields| {
                fields.null();
                fields.binary(b"ann");
                fields.null();
                fields.string("kind");
                fields.string("answers");
                fields.u64(17);
                fields.symbol("text/plain");
                (0..3).for_each(|_| fields.null());
                fields.string("group");
                fields.u32(3);
            });
        });
        let application = section(0x74, |to| {
            to.map(|map| {
                map.string("price");
                map.f64(1.5);
                map.string("list");
                map.list(|_| {});
            });
        });
        let body = section(0x77, |to| to.string("hi"));
        let message = message(&properties, &application, &body);
        assert_eq!(message.reply_to().unwrap().to_string(), "/topic/answers");
        assert_eq!(message.correlation().as_deref(), Some("AMQP_ULONG:17"));
        assert_eq!(message.content_type(), Some("text/plain"));
        assert_eq!(message.user(), Some("ann"));
        assert_eq!(message.property("price"), Some(Value::F64(1.5)));
        assert_eq!(message.property("list"), None, "a type that others do not have");
        assert!(message.properties().eq([
            ("price", Value::F64(1.5)),
            ("type", Value::String("kind")),
            ("JMSXGroupID", Value::String("group")),
            ("JMSXGroupSeq", Value::I32(3)),
        ]));
        assert_eq!(message.body(), BodyView::Text(b"hi"));
    }

    #[test]
    fn bodies_are_text_or_bytes_where_they_are_one_value() {
        let data = |bytes: &[u8]| section(0x75, |to| to.binary(bytes));
        let list = section(0x77, |to| to.list(|list| list.u32(1)));
        let two = [data(b"a"), data(b"b")].concat();
        let cases: &[(&str, &[u8], BodyView<'_>)] = &[
            ("data", &data(b"a"), BodyView::Utf8(b"a")),
            ("data that is no text", &data(&[0xff]), BodyView::Binary(&[0xff])),
            ("bytes as a value", &section(0x77, |to| to.binary(b"a")), BodyView::Utf8(b"a")),
            ("null", &section(0x77, |to| to.null()), BodyView::Binary(b"")),
            ("none", b"", BodyView::Binary(b"")),
            ("a list", &list, BodyView::Amqp(&list)),
            ("data twice", &two, BodyView::Amqp(&two)),
        ];
        for (rule, body, expected) in cases {
            let message = message(b"", b"", body);
            assert_eq!(message.body(), *expected, "{rule}");
            let mut buffer = crate::SendBuffer::default();
            buffer.append_body(&message);
            assert_eq!(buffer.to_vec(), expected.bytes(), "{rule}");
        }
    }
}
