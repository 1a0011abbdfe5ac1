//! Messages of AMQP and those of the broker.
#![expect(clippy::wildcard_enum_match_arm, reason = "the types of AMQP are complete")]

use std::ops::Range;

use amqp_types::{Fields, Items, TypeError, Value, Writer, check, read, skip};
use bytes::Bytes;
use contract::{
    Address, Body, Content, DeadLetter, Destination, DestinationKind, Group, Header, Message, Now,
    Parts, Sections, SendBuffer,
};
use wire::Reader;

use crate::{
    codes,
    error::{AmqpError, DECODE_ERROR, INVALID_FIELD, NOT_IMPLEMENTED},
    link::Node,
    terminus,
};

/// What the gateway reads of a message that has come.
#[derive(Debug, Default)]
pub(crate) struct Parsed<'a> {
    durable: Option<bool>,
    priority: Option<u8>,
    ttl_ms: Option<u32>,
    /// `x-opt-delivery-time`, in milliseconds since 1970.
    deliver_at_unix_ms: Option<i64>,
    /// `x-opt-jms-dest`.
    to_kind: Option<DestinationKind>,
    to: Option<&'a [u8]>,
    pub(crate) user_id: Option<&'a [u8]>,
    expires_unix_ms: Option<i64>,
    /// The group that a queue keeps together, and what closes it.
    group: Option<Group>,
    /// Where what is kept of it begins: behind the header and the delivery annotations.
    pub(crate) start: usize,
    /// Where each section ends, from there.
    pub(crate) ends: [u32; 5],
}

/// Looks at all of a message, so that no receiver gets what is malformed.
pub(crate) fn parse(payload: &[u8]) -> Result<Parsed<'_>, AmqpError> {
    let mut parsed = Parsed::default();
    let mut reader = Reader::new(payload);
    let mut last = 0;
    while !reader.is_empty() {
        let (code, content) = section(&mut reader).map_err(malformed)?;
        // Several sections of data or of sequences follow each other.
        let is_body = matches!(code, codes::DATA | codes::SEQUENCE | codes::VALUE);
        let is_after = code > last && !(is_body && last >= codes::DATA);
        let repeats = code == last && is_body && code != codes::VALUE;
        if !(is_after || repeats) {
            let what = "the sections of the message are not in their order";
            return Err(AmqpError::new(DECODE_ERROR, what));
        }
        last = code;
        let end = u32::try_from(reader.position()).unwrap_or(u32::MAX);
        match code {
            codes::HEADER => parsed.read_header(content).map_err(malformed)?,
            codes::DELIVERY_ANNOTATIONS => check(content).map_err(malformed)?,
            codes::MESSAGE_ANNOTATIONS => parsed.read_annotations(content).map_err(malformed)?,
            codes::PROPERTIES => parsed.read_properties(content).map_err(malformed)?,
            codes::APPLICATION_PROPERTIES | codes::FOOTER => {
                pairs(content, |_, _| Ok(())).map_err(malformed)?;
            }
            codes::DATA if matches!(content, [0xa0 | 0xb0, ..]) => {}
            codes::SEQUENCE | codes::VALUE => check(content).map_err(malformed)?,
            _ => return Err(malformed(TypeError::Field)),
        }
        parsed.ended(code, end);
    }
    parsed.finish();
    Ok(parsed)
}

/// The next section: its code, and the value that it is.
#[inline]
fn section<'a>(reader: &mut Reader<'a>) -> Result<(u8, &'a [u8]), TypeError> {
    if let &[0, 0x53, code, ..] = reader.rest() {
        reader.take(3);
        return Ok((code, skip(reader)?));
    }
    match read(reader)? {
        Value::Described(descriptor, content) => {
            Ok((codes::code(descriptor).ok_or(TypeError::Field)?, content))
        }
        _ => Err(TypeError::Field),
    }
}

/// Looks at all of the map that a section is.
#[inline]
fn pairs<'a>(
    content: &'a [u8],
    each: impl FnMut(&'a [u8], &'a [u8]) -> Result<(), TypeError>,
) -> Result<(), TypeError> {
    Items::of_map(content)?.check_pairs(each)
}

/// A message-id, or null.
fn is_id(value: Option<&[u8]>) -> bool {
    match value {
        None | Some([0x44 | 0x53 | 0x80 | 0x98 | 0xa0 | 0xb0, ..]) => true,
        Some([0xa1, _, text @ ..] | [0xb1, _, _, _, _, text @ ..]) => wire::is_text(text),
        Some(_) => false,
    }
}

impl<'a> Parsed<'a> {
    fn read_header(&mut self, content: &'a [u8]) -> Result<(), TypeError> {
        let mut fields = Fields::of(content)?;
        self.durable = fields.bool()?;
        self.priority = fields.u8()?;
        self.ttl_ms = fields.u32()?;
        fields.bool()?;
        fields.u32().map(drop)
    }

    fn read_annotations(&mut self, content: &'a [u8]) -> Result<(), TypeError> {
        pairs(content, |key, value| {
            let (&[0xa1 | 0xa3, _, ref name @ ..] | &[0xb1 | 0xb3, _, _, _, _, ref name @ ..]) =
                key
            else {
                return Ok(());
            };
            match name {
                b"x-opt-delivery-time" => {
                    self.deliver_at_unix_ms = match read(&mut Reader::new(value))? {
                        Value::I64(at) | Value::Timestamp(at) => Some(at),
                        _ => return Err(TypeError::Field),
                    };
                }
                b"x-opt-jms-dest" => {
                    self.to_kind = Address::kind(match value {
                        &[0x51, code] => Value::I8(code.cast_signed()),
                        value => read(&mut Reader::new(value))?,
                    });
                }
                b"x-opt-to-type" if self.to_kind.is_none() => {
                    self.to_kind = Address::kind(read(&mut Reader::new(value))?);
                }
                _ => {}
            }
            Ok(())
        })
    }

    fn read_properties(&mut self, content: &'a [u8]) -> Result<(), TypeError> {
        let mut fields = Fields::of(content)?;
        let message_id = fields.encoded()?;
        self.user_id = fields.binary()?;
        self.to = fields.utf8()?;
        let (_subject, _reply_to) = (fields.utf8()?, fields.utf8()?);
        if !(is_id(message_id) && is_id(fields.encoded()?)) {
            return Err(TypeError::Field);
        }
        let (_content_type, _content_encoding) = (fields.symbol()?, fields.symbol()?);
        self.expires_unix_ms = fields.timestamp()?;
        let _created = fields.timestamp()?;
        let group = fields.string()?;
        let sequence = fields.u32()?;
        let _reply_to_group = fields.utf8()?;
        self.group = group.map(|id| {
            // JMS has a signed number there, and a negative one closes the group.
            let sequence = sequence.map(|number| number.cast_signed().to_string());
            Group::new(id, sequence.as_deref())
        });
        Ok(())
    }

    /// A section ends; until [`Parsed::finish`] the ends are those in all that came, or 0.
    fn ended(&mut self, code: u8, end: u32) {
        let index = match code {
            codes::MESSAGE_ANNOTATIONS => 0,
            codes::PROPERTIES => 1,
            codes::APPLICATION_PROPERTIES => 2,
            codes::DATA | codes::SEQUENCE | codes::VALUE => 3,
            codes::FOOTER => 4,
            _ => {
                self.start = end as usize;
                return;
            }
        };
        if let Some(place) = self.ends.get_mut(index) {
            *place = end;
        }
    }

    /// Those that are missing end where the one before does.
    fn finish(&mut self) {
        let start = u32::try_from(self.start).unwrap_or(u32::MAX);
        let mut last = 0;
        for place in &mut self.ends {
            last = if *place == 0 { last } else { *place - start };
            *place = last;
        }
    }

    /// The encoded body, of all that came.
    pub(crate) fn body<'b>(&self, payload: &'b [u8]) -> Option<&'b [u8]> {
        let [_, _, start, end, _] = self.ends.map(|end| end as usize + self.start);
        payload.get(start..end)
    }

    /// What the broker works by.
    pub(crate) fn header(&self, to: &Destination, now: Now) -> Result<Header, AmqpError> {
        let positive = |at: i64| u64::try_from(at).ok().filter(|at| *at > 0);
        let ttl = self.ttl_ms.filter(|ttl| *ttl > 0);
        let expires_unix_ms = match ttl {
            Some(ttl) => Some(now.unix_ms.saturating_add(ttl.into())),
            None => self.expires_unix_ms.and_then(positive),
        };
        let due = self.deliver_at_unix_ms.and_then(positive).unwrap_or(0);
        let delay_ms = u32::try_from(due.saturating_sub(now.unix_ms)).map_err(|_| {
            let what = "x-opt-delivery-time is at most seven weeks from now";
            AmqpError::new(INVALID_FIELD, what)
        })?;
        if delay_ms > 0 && to.kind() == DestinationKind::TempTopic {
            let what = "temporary topics do not delay: leave x-opt-delivery-time out";
            return Err(AmqpError::new(NOT_IMPLEMENTED, what));
        }
        Ok(Header {
            durable: self.durable,
            priority: self.priority.unwrap_or(Header::PRIORITY_DEFAULT).min(PRIORITY_MAX),
            expires_unix_ms,
            delay_ms,
            group: self.group,
            ..Header::new(now.unix_ms)
        })
    }
}

/// The message of sections that were parsed.
pub(crate) fn message(
    to: Destination,
    id: u128,
    bytes: Bytes,
    ends: [u32; 5],
    format: u32,
    now: Now,
) -> Message {
    let content: Content = match Sections::new(bytes.clone(), ends, format) {
        Some(sections) => sections.into(),
        None => {
            contract::internal!("sections that are not those of their bytes");
            Body::Binary(bytes).into()
        }
    };
    Message::new(to, id, now.unix_ms, content)
}

impl Node {
    /// Where a message goes.
    pub(crate) fn destination(&mut self, parsed: &Parsed<'_>) -> Result<Destination, AmqpError> {
        match self {
            Self::Destination(destination) => Ok(destination.clone()),
            Self::Coordinator => Err(AmqpError::new(INVALID_FIELD, "no messages go there")),
            Self::Anonymous(last) => {
                let Some(to) = parsed.to else {
                    let what = "on a link without an address each message has a `to`";
                    return Err(AmqpError::new(INVALID_FIELD, what));
                };
                if let Some((text, destination)) = last
                    && text.as_bytes() == to
                    && parsed.to_kind.is_none_or(|kind| kind == destination.kind())
                {
                    return Ok(destination.clone());
                }
                let to = str::from_utf8(to).map_err(|_| malformed(TypeError::Content))?;
                let pattern = Address::pattern(to, parsed.to_kind)
                    .map_err(|error| AmqpError::new(INVALID_FIELD, format!("{to:?}: {error}")))?;
                let destination = terminus::destination(&pattern)?;
                *last = Some((to.into(), destination.clone()));
                Ok(destination)
            }
        }
    }
}

/// What is sent of a message behind what is its receiver's own: the same for all.
#[derive(Debug)]
pub(crate) struct Tail<'m> {
    whole: &'m Bytes,
    format: u32,
}

impl<'m> Tail<'m> {
    pub(crate) const fn of(message: &'m Message) -> Self {
        match &message.content {
            Content::Amqp(sections) => Self { whole: sections.bytes(), format: sections.format() },
            Content::Parts(parts) => Self { whole: parts.body.bytes(), format: 0 },
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.whole.len()
    }

    pub(crate) const fn format(&self) -> u32 {
        self.format
    }

    pub(crate) fn append(&self, to: &mut SendBuffer, range: Range<usize>) {
        if !range.is_empty() {
            to.append_shared(self.whole, range);
        }
    }
}

/// What a receiver is sent before the [`Tail`].
pub(crate) fn header(message: &Message, redeliveries: u32, now: Now) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    let header = &message.header;
    let ttl = header.expires_unix_ms.map(|at| at.saturating_sub(now.unix_ms).max(1));
    let mut writer = Writer::new(&mut bytes);
    writer.composite(codes::HEADER, |fields| {
        if header.durable == Some(true) {
            fields.bool(true);
        } else {
            fields.null();
        }
        if header.priority == Header::PRIORITY_DEFAULT {
            fields.null();
        } else {
            fields.u8(header.priority);
        }
        fields.u32_or_null(ttl.map(|ttl| u32::try_from(ttl).unwrap_or(u32::MAX)));
        fields.null();
        if redeliveries > 0 {
            fields.u32(redeliveries);
        }
    });
    if let Some(DeadLetter { queue, reason }) = message.dead_letter() {
        writer.descriptor(codes::DELIVERY_ANNOTATIONS);
        writer.map(|map| {
            map.symbol("x-opt-dlq-queue");
            map.string(&queue.to_string());
            map.symbol("x-opt-dlq-reason");
            map.string(&reason.to_string());
        });
    }
    if let Content::Parts(parts) = &message.content {
        write_parts(&mut bytes, message, parts);
    }
    bytes
}

/// The sections of a message that did not come as such, up to the bytes of its body.
fn write_parts(bytes: &mut Vec<u8>, message: &Message, parts: &Parts) {
    let mut writer = Writer::new(bytes);
    let is_text = matches!(parts.body, Body::Text(_));
    writer.descriptor(codes::MESSAGE_ANNOTATIONS);
    writer.map(|map| {
        map.symbol("x-opt-jms-dest");
        map.i8(Address::code(message.to.kind()));
        if let Some(reply_to) = &parts.reply_to {
            map.symbol("x-opt-jms-reply-to");
            map.i8(Address::code(reply_to.kind()));
        }
        map.symbol("x-opt-jms-msg-type");
        map.i8(if is_text { TEXT_MESSAGE } else { BYTES_MESSAGE });
    });
    let property = |name: &str| match parts.properties.get(name) {
        Some(contract::Value::String(text)) => Some(text),
        _ => None,
    };
    writer.composite(codes::PROPERTIES, |fields| {
        fields.string(&format!("ID:{:032x}", message.id));
        match &message.sender {
            Some(sender) => fields.binary(sender.name().as_bytes()),
            None => fields.null(),
        }
        fields.string(&Address::text(&message.to));
        fields.string_or_null(property("type"));
        fields.string_or_null(parts.reply_to.as_ref().map(Address::text).as_deref());
        fields.string_or_null(parts.correlation.as_deref());
        match parts.content_type.as_deref().filter(|one| one.is_ascii()) {
            Some(content_type) => fields.symbol(content_type),
            None => fields.null(),
        }
        fields.null();
        let time = |at: u64| i64::try_from(at).unwrap_or(i64::MAX);
        match message.header.expires_unix_ms {
            Some(at) => fields.timestamp(time(at)),
            None => fields.null(),
        }
        fields.timestamp(time(message.header.arrived_unix_ms));
        fields.string_or_null(Group::ID_NAMES.into_iter().find_map(property));
        let number = |name| match parts.properties.get(name)? {
            contract::Value::String(text) => text.parse::<i32>().ok(),
            contract::Value::I32(number) => Some(number),
            _ => None,
        };
        let sequence = Group::SEQUENCE_NAMES.into_iter().find_map(number);
        fields.u32_or_null(sequence.map(i32::cast_unsigned));
    });
    if !parts.properties.is_empty() {
        writer.descriptor(codes::APPLICATION_PROPERTIES);
        writer.map(|map| {
            for (name, value) in parts.properties.iter() {
                let is_group =
                    Group::ID_NAMES.contains(&name) || Group::SEQUENCE_NAMES.contains(&name);
                if name != "type" && !is_group {
                    map.string(name);
                    write_value(map, value);
                }
            }
        });
    }
    let len = parts.body.bytes().len();
    let (section, short, long) =
        if is_text { (codes::VALUE, 0xa1, 0xb1) } else { (codes::DATA, 0xa0, 0xb0) };
    bytes.extend_from_slice(&[0, 0x53, section]);
    match u8::try_from(len) {
        Ok(len) => bytes.extend_from_slice(&[short, len]),
        Err(_) => {
            bytes.push(long);
            bytes.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
        }
    }
}

fn write_value(to: &mut Writer<'_>, value: contract::Value<'_>) {
    use contract::Value as V;
    match value {
        V::Null => to.null(),
        V::Bool(value) => to.bool(value),
        V::I8(value) => to.i8(value),
        V::I16(value) => to.i16(value),
        V::I32(value) => to.i32(value),
        V::I64(value) => to.i64(value),
        V::F32(value) => to.f32(value),
        V::F64(value) => to.f64(value),
        V::String(value) => to.string(value),
        V::Bytes(value) => to.binary(value),
    }
}

fn malformed(error: TypeError) -> AmqpError {
    AmqpError::new(DECODE_ERROR, format!("the message: {error}"))
}

const PRIORITY_MAX: u8 = 9;
/// Values of `x-opt-jms-msg-type`.
const BYTES_MESSAGE: i8 = 3;
const TEXT_MESSAGE: i8 = 5;

#[cfg(test)]
mod tests {
    use contract::Section;

    use super::*;

    fn section(code: u8, write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.descriptor(code);
        write(&mut writer);
        bytes
    }

    #[test]
    fn what_is_the_brokers_is_read_and_the_rest_is_kept() {
        let header = section(codes::HEADER, |to| {
            to.list(|fields| {
                fields.bool(true);
                fields.u8(12);
                fields.u32(1000);
            });
        });
        let annotations = section(codes::MESSAGE_ANNOTATIONS, |to| {
            to.map(|map| {
                map.symbol("x-opt-jms-dest");
                map.i8(1);
            });
        });
        let properties = section(codes::PROPERTIES, |to| {
            to.list(|fields| {
                fields.null();
                fields.binary(b"ann");
                fields.string("news");
            });
        });
        let body = section(codes::VALUE, |to| to.string("hi"));
        let only = parse(&body).unwrap();
        assert_eq!(
            (only.ends, only.body(&body)),
            ([0, 0, 0, only.ends[4], only.ends[4]], Some(&body[..]))
        );
        let kept = [annotations, properties.clone(), body.clone()].concat();
        let payload = [header, kept.clone()].concat();
        let parsed = parse(&payload).unwrap();
        assert_eq!(payload[parsed.start..], kept);
        assert_eq!(parsed.body(&payload), Some(&body[..]));
        assert_eq!((parsed.to, parsed.user_id), (Some(&b"news"[..]), Some(&b"ann"[..])));
        let to = Node::Anonymous(None).destination(&parsed).unwrap();
        assert_eq!(to.to_string(), "/topic/news");
        let now = Now { mono_ns: 0, unix_ms: 5 };
        let read = parsed.header(&to, now).unwrap();
        assert_eq!((read.durable, read.priority), (Some(true), 9));
        assert_eq!(read.expires_unix_ms, Some(1005));
        let message = message(to, 1, kept.into(), parsed.ends, 0, now);
        let Content::Amqp(sections) = &message.content else { panic!("{message:?}") };
        assert_eq!(sections.get(Section::Properties), properties);
        assert_eq!(sections.get(Section::ApplicationProperties), b"");
        assert_eq!(sections.get(Section::Body), body);
        assert_eq!(sections.get(Section::Footer), b"");
    }

    #[test]
    fn sections_come_in_their_order_and_are_well_formed() {
        let data = section(codes::DATA, |to| to.binary(b"x"));
        let value = section(codes::VALUE, |to| to.string("x"));
        let header = section(codes::HEADER, |to| to.list(|_| {}));
        let footer = section(codes::FOOTER, |to| to.map(|_| {}));
        let cases: &[(&str, Vec<u8>, bool)] = &[
            ("nothing at all", vec![], true),
            ("only a body", value.clone(), true),
            ("only a header", header.clone(), true),
            ("data several times", [data.clone(), data.clone()].concat(), true),
            ("a footer", [value.clone(), footer.clone()].concat(), true),
            ("a header behind the body", [value.clone(), header.clone()].concat(), false),
            ("two headers", [header.clone(), header].concat(), false),
            ("two values", [value.clone(), value.clone()].concat(), false),
            ("a value behind data", [data, value].concat(), false),
            ("no section", vec![0x40], false),
            ("half of one", footer[..2].to_vec(), false),
            ("data that is text", section(codes::DATA, |to| to.string("x")), false),
            ("a map that is a list", section(codes::FOOTER, |to| to.list(|_| {})), false),
        ];
        for (rule, payload, expected) in cases {
            let parsed = parse(payload);
            assert_eq!(parsed.is_ok(), *expected, "{rule}");
            if let Ok(Parsed { start, ends, .. }) = parsed {
                assert_eq!(start + ends[4] as usize, payload.len(), "{rule}");
                assert!(ends.is_sorted(), "{rule}");
            }
        }
    }
}
