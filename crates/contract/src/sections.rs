//! What those who do not speak AMQP read of its sections.
#![expect(clippy::wildcard_enum_match_arm, reason = "the types of AMQP are complete")]

use std::borrow::Cow;

use amqp_types::{Descriptor, Fields, Items, TypeError, Value as Amqp, read};
use wire::Reader;

use crate::{Address, Destination, Section, Sections, Value};

/// The section `properties` of a message.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "each is a field of the standard, part 3, section 3.2.4")]
pub struct BareProperties<'a> {
    pub message_id: Option<Amqp<'a>>,
    pub user_id: Option<&'a [u8]>,
    pub to: Option<&'a str>,
    pub subject: Option<&'a str>,
    pub reply_to: Option<&'a str>,
    pub correlation_id: Option<Amqp<'a>>,
    pub content_type: Option<&'a str>,
    pub absolute_expiry_unix_ms: Option<i64>,
    pub creation_unix_ms: Option<i64>,
    pub group_id: Option<&'a str>,
    pub group_sequence: Option<u32>,
}

impl<'a> BareProperties<'a> {
    /// Those of the encoded list.
    ///
    /// # Errors
    /// When it is none, or a field has another type than it must have.
    pub fn of(list: &'a [u8]) -> Result<Self, TypeError> {
        let mut fields = Fields::of(list)?;
        let message_id = id(fields.value()?)?;
        let user_id = fields.binary()?;
        let to = address(fields.value()?)?;
        let subject = fields.string()?;
        let reply_to = address(fields.value()?)?;
        let correlation_id = id(fields.value()?)?;
        let content_type = fields.symbol()?;
        fields.symbol()?;
        let absolute_expiry_unix_ms = fields.timestamp()?;
        let creation_unix_ms = fields.timestamp()?;
        let group_id = fields.string()?;
        let group_sequence = fields.u32()?;
        fields.string()?;
        Ok(Self {
            message_id,
            user_id,
            to,
            subject,
            reply_to,
            correlation_id,
            content_type,
            absolute_expiry_unix_ms,
            creation_unix_ms,
            group_id,
            group_sequence,
        })
    }
}

fn id(value: Amqp<'_>) -> Result<Option<Amqp<'_>>, TypeError> {
    match value {
        Amqp::Null => Ok(None),
        Amqp::String(_) | Amqp::U64(_) | Amqp::Uuid(_) | Amqp::Binary(_) => Ok(Some(value)),
        _ => Err(TypeError::Field),
    }
}

fn address(value: Amqp<'_>) -> Result<Option<&str>, TypeError> {
    match value {
        Amqp::Null => Ok(None),
        Amqp::String(address) => Ok(Some(address)),
        _ => Err(TypeError::Field),
    }
}

/// A message id as JMS writes it (AMQP's mapping of JMS, section 3.2.1.1).
#[must_use]
pub fn id_text(id: Amqp<'_>) -> Option<Cow<'_, str>> {
    Some(match id {
        Amqp::String(text) => text.into(),
        Amqp::U64(number) => format!("AMQP_ULONG:{number}").into(),
        Amqp::Uuid(bytes) => {
            let digits = format!("{:032x}", u128::from_be_bytes(bytes));
            let parts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)];
            let parts = parts.map(|(from, to)| digits.get(from..to).unwrap_or_default());
            format!("AMQP_UUID:{}", parts.join("-")).into()
        }
        Amqp::Binary(bytes) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            format!("AMQP_BINARY:{digits}").into()
        }
        _ => return None,
    })
}

/// What the body of sections is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AmqpBody<'a> {
    /// An `amqp-value` that is a string, or data whose sender calls it text.
    Text(&'a str),
    /// A single `data`, or an `amqp-value` that is bytes.
    Binary(&'a [u8]),
    /// There is none, or it is null.
    Empty,
    /// A map, a list, several sections, or a value of another type.
    Structured(&'a [u8]),
}

impl Sections {
    /// Its properties; none where they cannot be read.
    #[must_use]
    pub fn properties(&self) -> BareProperties<'_> {
        let content = content(self.get(Section::Properties));
        content.and_then(|list| BareProperties::of(list).ok()).unwrap_or_default()
    }

    /// The application's own names and values; those of types that other protocols do not have are left
    /// out.
    pub fn application_properties(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        let pairs =
            map(self.get(Section::ApplicationProperties)).into_iter().flat_map(Items::pairs);
        pairs.filter_map(|(name, value)| Some((name.text()?, simple(value)?)))
    }

    /// Where a reply is to be sent.
    #[must_use]
    pub fn reply_to(&self) -> Option<Destination> {
        let address = self.properties().reply_to?;
        let annotations = map(self.get(Section::MessageAnnotations));
        let annotation = |name| annotations.and_then(|map| map.get(name)).and_then(Address::kind);
        let kind = annotation("x-opt-jms-reply-to").or_else(|| annotation("x-opt-reply-type"));
        Address::destination(address, kind)
    }

    pub(crate) fn application_property(&self, name: &str) -> Option<Value<'_>> {
        map(self.get(Section::ApplicationProperties))?.get(name).and_then(simple)
    }

    /// The body, as far as it is one value.
    #[must_use]
    pub fn body(&self) -> AmqpBody<'_> {
        let section = self.get(Section::Body);
        if section.is_empty() {
            return AmqpBody::Empty;
        }
        let mut reader = Reader::new(section);
        let first = read(&mut reader);
        let Ok(Amqp::Described(Descriptor::Code(code), content)) = first else {
            return AmqpBody::Structured(section);
        };
        if !reader.is_empty() {
            return AmqpBody::Structured(section);
        }
        match (code, read(&mut Reader::new(content))) {
            (VALUE, Ok(Amqp::String(text))) => AmqpBody::Text(text),
            (VALUE, Ok(Amqp::Null)) => AmqpBody::Empty,
            (VALUE, Ok(Amqp::Binary(bytes))) => AmqpBody::Binary(bytes),
            (DATA, Ok(Amqp::Binary(bytes))) => {
                let is_text = self.properties().content_type.is_some_and(crate::is_text_type);
                match str::from_utf8(bytes) {
                    Ok(text) if is_text => AmqpBody::Text(text),
                    _ => AmqpBody::Binary(bytes),
                }
            }
            _ => AmqpBody::Structured(section),
        }
    }
}

/// What a section describes.
fn content(section: &[u8]) -> Option<&[u8]> {
    match read(&mut Reader::new(section)).ok()? {
        Amqp::Described(_, content) => Some(content),
        _ => None,
    }
}

/// The map that a section is.
fn map(section: &[u8]) -> Option<Items<'_>> {
    match read(&mut Reader::new(content(section)?)).ok()? {
        Amqp::Map(items) => Some(items),
        _ => None,
    }
}

/// The value of a property, if it has a type that JMS has too; an unsigned one in the next larger.
fn simple(value: Amqp<'_>) -> Option<Value<'_>> {
    Some(match value {
        Amqp::Null => Value::Null,
        Amqp::Bool(value) => Value::Bool(value),
        Amqp::I8(value) => Value::I8(value),
        Amqp::I16(value) => Value::I16(value),
        Amqp::I32(value) => Value::I32(value),
        Amqp::I64(value) | Amqp::Timestamp(value) => Value::I64(value),
        Amqp::U8(value) => Value::I16(value.into()),
        Amqp::U16(value) => Value::I32(value.into()),
        Amqp::U32(value) => Value::I64(value.into()),
        Amqp::U64(value) => Value::I64(i64::try_from(value).ok()?),
        Amqp::F32(value) => Value::F32(value),
        Amqp::F64(value) => Value::F64(value),
        Amqp::String(text) | Amqp::Symbol(text) => Value::String(text),
        Amqp::Binary(bytes) => Value::Bytes(bytes),
        Amqp::Decimal(_)
        | Amqp::Char(_)
        | Amqp::Uuid(_)
        | Amqp::List(_)
        | Amqp::Map(_)
        | Amqp::Array(_)
        | Amqp::Described(..) => return None,
    })
}

const DATA: u64 = 0x75;
const VALUE: u64 = 0x77;
