//! A message as the log contains it.
//!
//! ```text
//! to | id (16) | durable (1) | priority (1) | arrived (8) | delay (4) | expires? (8) | group (2)
//! | dead letter? | sender? | content
//! ```
//!
//! The content begins with a byte: 0 for a body of text, 1 for one of bytes, 3 if these are UTF-8, 2 for
//! AMQP's sections.
//! `durable` is 0 or 1 as the sender said, or 2 where it did not. `group` is 0 where there is none, or one
//! more than the bucket, and 2^14 more if it is closed ([`contract::Group`]). A `?` is a byte, 0 or 1, that says
//! whether what it stands behind follows. Strings and bytes come after their length in 4 bytes, a
//! destination after its kind: as one string, with a NUL between two levels. Integers are big-endian.

use bytes::Bytes;
use contract::{
    Annotation, Body, Content, DeadLetter, DeadLetterReason, Destination, DestinationKind, Group,
    Header, Message, Parts, Properties, Sections, Sender,
};
use wire::Reader;

/// Appends a message but for its end, which it returns and which is to follow.
pub(crate) fn write_before_end<'a>(buffer: &mut Vec<u8>, message: &'a Message) -> &'a Bytes {
    let Message { to, id, header, sender, content, .. } = message;
    write_destination(buffer, to);
    buffer.extend(id.to_be_bytes());
    let Header { durable, priority, expires_unix_ms, arrived_unix_ms, delay_ms, group } = *header;
    buffer.extend([durable.map_or(UNSAID, u8::from), priority]);
    buffer.extend(arrived_unix_ms.to_be_bytes());
    buffer.extend(delay_ms.to_be_bytes());
    write_option(buffer, expires_unix_ms, |buffer, expires| buffer.extend(expires.to_be_bytes()));
    buffer.extend(group.map_or(0, Group::bits).to_be_bytes());
    write_option(buffer, message.dead_letter(), |buffer, DeadLetter { queue, reason }| {
        write_destination(buffer, queue);
        write_reason(buffer, *reason);
    });
    write_option(buffer, sender.as_ref().map(Sender::name), write_string);
    match content {
        Content::Parts(Parts { reply_to, correlation, content_type, properties, body }) => {
            buffer.push(match body {
                Body::Text(_) => TEXT,
                Body::Utf8(_) => UTF8,
                Body::Binary(_) => BINARY,
            });
            write_option(buffer, reply_to.as_ref(), write_destination);
            write_option(buffer, correlation.as_deref(), write_string);
            write_option(buffer, content_type.as_deref(), write_string);
            write_bytes(buffer, properties.as_bytes());
            let end = body.bytes();
            buffer.extend(length(end.len()));
            end
        }
        Content::Amqp(sections) => {
            buffer.push(AMQP);
            buffer.extend(sections.format().to_be_bytes());
            for end in sections.ends() {
                buffer.extend(end.to_be_bytes());
            }
            let end = sections.bytes();
            buffer.extend(length(end.len()));
            end
        }
    }
}

/// The header of a message that `reader` contains.
pub(crate) fn read_header(reader: &mut Reader<'_>) -> Option<Header> {
    skip_destination(reader)?;
    reader.take(16)?;
    read_header_behind(reader)
}

fn read_header_behind(reader: &mut Reader<'_>) -> Option<Header> {
    let durable = match reader.u8()? {
        UNSAID => None,
        durable => Some(flag(durable)?),
    };
    let priority = reader.u8().filter(|priority| *priority <= PRIORITY_MAX)?;
    let arrived_unix_ms = reader.u64()?;
    let delay_ms = reader.u32()?;
    let expires_unix_ms = read_option(reader, Reader::u64)?;
    let group = match reader.u16()? {
        0 => None,
        bits => Some(Group::from_bits(bits)?),
    };
    Some(Header { durable, priority, expires_unix_ms, arrived_unix_ms, delay_ms, group })
}

/// The message that `reader` contains, to its end; `None`: it is not one.
pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Message> {
    let to = read_destination(reader)?;
    let id = reader.array().map(u128::from_be_bytes)?;
    let header = read_header_behind(reader)?;
    let annotation = read_option(reader, |reader| {
        let queue = read_destination(reader)?;
        let reason = read_reason(reader)?;
        Some(Box::new(Annotation::DeadLetter(DeadLetter { queue, reason })))
    })?;
    let sender = read_option(reader, read_string)?.map(Sender::new);
    let content = read_content(reader)?;
    let mut message = Message::new(to, id, header.arrived_unix_ms, content);
    message.header = header;
    message.annotation = annotation;
    message.sender = sender;
    reader.is_empty().then_some(message)
}

fn skip_destination(reader: &mut Reader<'_>) -> Option<()> {
    reader.u8()?;
    read_bytes(reader).map(drop)
}

fn read_content(reader: &mut Reader<'_>) -> Option<Content> {
    let kind = reader.u8()?;
    if kind == AMQP {
        let format = reader.u32()?;
        let mut ends = [0; 5];
        for end in &mut ends {
            *end = reader.u32()?;
        }
        let bytes = Bytes::copy_from_slice(read_bytes(reader)?);
        return Some(Sections::new(bytes, ends, format)?.into());
    }
    let reply_to = read_option(reader, read_destination)?;
    let correlation = read_option(reader, read_string)?.map(Into::into);
    let content_type = read_option(reader, read_string)?.map(Into::into);
    let properties = Properties::from_bytes(read_bytes(reader)?)?;
    let body = read_bytes(reader)?;
    let body = match kind {
        TEXT if str::from_utf8(body).is_ok() => Body::Text(Bytes::copy_from_slice(body)),
        UTF8 if str::from_utf8(body).is_ok() => Body::Utf8(Bytes::copy_from_slice(body)),
        BINARY => Body::Binary(Bytes::copy_from_slice(body)),
        _ => return None,
    };
    Some(Parts { reply_to, correlation, content_type, properties, body }.into())
}

pub(crate) fn write_reason(buffer: &mut Vec<u8>, reason: DeadLetterReason) {
    match reason {
        DeadLetterReason::Rejected => buffer.push(REJECTED),
        DeadLetterReason::Failed(deliveries) => {
            buffer.push(FAILED);
            buffer.extend(deliveries.to_be_bytes());
        }
    }
}

pub(crate) fn read_reason(reader: &mut Reader<'_>) -> Option<DeadLetterReason> {
    match reader.u8()? {
        REJECTED => Some(DeadLetterReason::Rejected),
        FAILED => Some(DeadLetterReason::Failed(reader.u32()?)),
        _ => None,
    }
}

pub(crate) fn write_destination(buffer: &mut Vec<u8>, destination: &Destination) {
    buffer.push(match destination.kind() {
        DestinationKind::Topic => 0,
        DestinationKind::Queue => 1,
        DestinationKind::TempTopic => 2,
        DestinationKind::TempQueue => 3,
    });
    let start = buffer.len();
    buffer.extend([0; LENGTH_BYTES]);
    for (index, level) in destination.levels().enumerate() {
        if index > 0 {
            buffer.push(0);
        }
        buffer.extend(level.as_bytes());
    }
    let length = length(buffer.len() - start - LENGTH_BYTES);
    if let Some(into) = buffer.get_mut(start..start + LENGTH_BYTES) {
        into.copy_from_slice(&length);
    }
}

pub(crate) fn read_destination(reader: &mut Reader<'_>) -> Option<Destination> {
    let kind = match reader.u8()? {
        0 => DestinationKind::Topic,
        1 => DestinationKind::Queue,
        2 => DestinationKind::TempTopic,
        3 => DestinationKind::TempQueue,
        _ => return None,
    };
    Destination::new(kind, read_string(reader)?.split('\0')).ok()
}

fn write_option<T>(buffer: &mut Vec<u8>, value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
    buffer.push(u8::from(value.is_some()));
    if let Some(value) = value {
        write(buffer, value);
    }
}

fn read_option<'a, T>(
    reader: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Option<T>,
) -> Option<Option<T>> {
    if read_bool(reader)? { read(reader).map(Some) } else { Some(None) }
}

fn read_bool(reader: &mut Reader<'_>) -> Option<bool> {
    flag(reader.u8()?)
}

const fn flag(byte: u8) -> Option<bool> {
    match byte {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

pub(crate) fn write_string(buffer: &mut Vec<u8>, string: &str) {
    write_bytes(buffer, string.as_bytes());
}

fn write_bytes(buffer: &mut Vec<u8>, bytes: &[u8]) {
    buffer.extend(length(bytes.len()));
    buffer.extend(bytes);
}

pub(crate) fn read_string<'a>(reader: &mut Reader<'a>) -> Option<&'a str> {
    str::from_utf8(read_bytes(reader)?).ok()
}

fn read_bytes<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = reader.u32()?;
    reader.take(usize::try_from(length).ok()?)
}

/// The bytes of a length. A batch is refused long before one passes 32 bits.
fn length(bytes: usize) -> [u8; LENGTH_BYTES] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes()
}

const LENGTH_BYTES: usize = 4;
const PRIORITY_MAX: u8 = 9;
/// The sender did not say whether the message is durable.
const UNSAID: u8 = 2;

const REJECTED: u8 = 0;
const FAILED: u8 = 1;

const TEXT: u8 = 0;
const BINARY: u8 = 1;
const AMQP: u8 = 2;
const UTF8: u8 = 3;

#[cfg(test)]
mod tests {
    use contract::Value;
    use testkit::Random;

    use super::*;

    fn write(buffer: &mut Vec<u8>, message: &Message) {
        let end = write_before_end(buffer, message);
        buffer.extend_from_slice(end);
    }

    #[test]
    fn messages_read_as_they_were_written() {
        for message in messages() {
            let mut bytes = Vec::new();
            write(&mut bytes, &message);
            assert_eq!(read(&mut Reader::new(&bytes)).as_ref(), Some(&message));
            for end in 0..bytes.len() {
                assert_eq!(read(&mut Reader::new(&bytes[..end])), None, "{end} bytes of it");
            }
            bytes.push(0);
            assert_eq!(read(&mut Reader::new(&bytes)), None, "bytes behind it");
        }
    }

    #[test]
    fn whatever_the_bytes_are_nothing_panics() {
        let mut random = Random::new(1);
        for message in messages() {
            let mut bytes = Vec::new();
            write(&mut bytes, &message);
            for at in 0..bytes.len() {
                let mut damaged = bytes.clone();
                for value in [0, 1, 0x7f, 0xff, random.below(256)] {
                    damaged[at] = u8::try_from(value).unwrap();
                    // A message, or none.
                    drop(read(&mut Reader::new(&damaged)));
                }
            }
        }
    }

    fn messages() -> Vec<Message> {
        let queue = |text| Destination::parse(text).unwrap();
        let plain = Message::new(queue("/queue/a"), 1, 2, Body::Text("text".into()));
        let mut all = Message::new(queue("/topic/a.*0.b*2Ec"), u128::MAX, 7, {
            let mut parts = Parts::new(Body::Binary(vec![0, 0xff].into()));
            parts.reply_to = Some(queue("/temp-queue/00000000000000000000000000000001"));
            parts.correlation = Some("".into());
            parts.content_type = Some("text/plain".into());
            parts.properties.push("price", Value::F64(1.5));
            parts.properties.push("name", Value::String("\u{e9}"));
            parts
        });
        all.header.durable = Some(true);
        all.header.group = Some(Group::new("a", Some("-1")));
        all.sender = Some(Sender::new("ann"));
        all.header.delay_ms = u32::MAX;
        all.header.priority = 9;
        all.header.expires_unix_ms = Some(u64::MAX);
        let failed = DeadLetter { queue: queue("/queue/a"), reason: DeadLetterReason::Failed(7) };
        let failed = all.clone().into_dead_letter(queue("/queue/DLQ.a"), failed);
        let rejected = DeadLetter { queue: queue("/queue/a"), reason: DeadLetterReason::Rejected };
        let rejected = plain.clone().into_dead_letter(queue("/queue/DLQ.a"), rejected);
        let sections = Sections::new(Bytes::from_static(b"aappbbb"), [2, 4, 4, 7, 7], 3).unwrap();
        let amqp = Message::new(queue("/queue/a"), 1, 2, sections);
        let utf8 = Message::new(queue("/queue/a"), 1, 2, Body::Utf8("bytes".into()));
        vec![plain, all, failed, rejected, amqp, utf8]
    }
}
