use std::ops::Range;

use bytes::Bytes;

use crate::{AmqpBody, Destination, Properties, Value, allocation_bytes};

/// What the sender of a message says, in the form in which it came.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Read apart, as protocols other than AMQP 1.0 write it.
    Parts(Parts),
    /// As an AMQP 1.0 peer encoded it.
    Amqp(Sections),
}

/// What the sender of a message says, part by part.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    /// Where a reply is to be sent.
    pub reply_to: Option<Destination>,
    /// What joins a reply to its request.
    pub correlation: Option<Box<str>>,
    /// MIME type of the body, as the sender wrote it.
    pub content_type: Option<Box<str>>,
    /// The application's own names and values.
    pub properties: Properties,
    /// The body.
    pub body: Body,
}

/// Encoded sections of an AMQP 1.0 message (part 3, section 3.2): the bare message, byte for byte,
/// with the message annotations before it and the footer behind it.
///
/// No one on the way changes them, so that signatures over them hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sections {
    /// In an allocation that they fill, as a [`Body`] is.
    bytes: Bytes,
    /// Where each [`Section`] ends.
    ends: [u32; 5],
    format: u32,
}

/// A part of [`Sections`], in the order in which they follow each other. Each may be empty.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Section {
    /// `message-annotations`.
    MessageAnnotations,
    /// `properties`.
    Properties,
    /// `application-properties`.
    ApplicationProperties,
    /// All `data`, all `amqp-sequence`, or the `amqp-value`.
    Body,
    /// `footer`.
    Footer,
}

/// The body of a message, by its type.
///
/// The bytes are to be in an allocation that they fill, as [`crate::Message::cost`] counts: no small
/// body keeps the large buffer that it was read into.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Body {
    /// UTF-8 text, which was checked where it was made.
    Text(Bytes),
    /// Bytes that are UTF-8, as was checked, though their sender does not call them text: bytes to JMS,
    /// and in a WebSocket's text message all the same.
    Utf8(Bytes),
    /// Bytes.
    Binary(Bytes),
}

/// The body of a message, whatever form its content has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyView<'a> {
    /// UTF-8 text.
    Text(&'a [u8]),
    /// Bytes that are UTF-8.
    Utf8(&'a [u8]),
    /// Bytes.
    Binary(&'a [u8]),
    /// The body of [`Sections`], encoded: one that is neither, as a map or a list is.
    Amqp(&'a [u8]),
}

impl Content {
    pub(crate) fn property(&self, name: &str) -> Option<Value<'_>> {
        match self {
            Self::Parts(parts) => parts.properties.get(name),
            Self::Amqp(sections) => sections.property(name),
        }
    }

    pub(crate) fn body(&self) -> BodyView<'_> {
        match self {
            Self::Parts(Parts { body: Body::Text(bytes), .. }) => BodyView::Text(bytes),
            Self::Parts(Parts { body: Body::Utf8(bytes), .. }) => BodyView::Utf8(bytes),
            Self::Parts(Parts { body: Body::Binary(bytes), .. }) => BodyView::Binary(bytes),
            Self::Amqp(sections) => match sections.body() {
                AmqpBody::Text(text) => BodyView::Text(text.as_bytes()),
                AmqpBody::Binary(bytes) if str::from_utf8(bytes).is_ok() => BodyView::Utf8(bytes),
                AmqpBody::Binary(bytes) => BodyView::Binary(bytes),
                AmqpBody::Empty => BodyView::Binary(&[]),
                AmqpBody::Structured(encoded) => BodyView::Amqp(encoded),
            },
        }
    }

    /// Memory that it takes beside its own size, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Parts(parts) => parts.heap_bytes(),
            Self::Amqp(sections) => allocation_bytes(sections.bytes.len()),
        }
    }
}

impl Parts {
    /// Nothing but a body.
    #[must_use]
    pub fn new(body: Body) -> Self {
        Self {
            reply_to: None,
            correlation: None,
            content_type: None,
            properties: Properties::default(),
            body,
        }
    }

    fn heap_bytes(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_deref().map_or(0, str::len);
        self.reply_to.as_ref().map_or(0, |reply_to| reply_to.name.heap_bytes())
            + allocation_bytes(text(&self.correlation))
            + allocation_bytes(text(&self.content_type))
            + allocation_bytes(self.properties.capacity())
            + allocation_bytes(self.body.bytes().len())
    }
}

impl Sections {
    /// Sections that end at these offsets of `bytes`, in the order of [`Section`]; `format` is the
    /// message-format of the transfer (0 for AMQP's own). `None`: the offsets are not in order, or
    /// the last one is not the end.
    #[must_use]
    pub fn new(bytes: Bytes, ends: [u32; 5], format: u32) -> Option<Self> {
        let is_whole = ends.last().is_some_and(|&end| end as usize == bytes.len());
        (is_whole && ends.is_sorted()).then_some(Self { bytes, ends, format })
    }

    /// The encoded section; empty when the message has none.
    #[must_use]
    pub fn get(&self, section: Section) -> &[u8] {
        self.bytes.get(self.range(section)).unwrap_or_default()
    }

    /// The bytes of all sections.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Where each [`Section`] ends in [`Sections::bytes`].
    #[must_use]
    pub const fn ends(&self) -> [u32; 5] {
        self.ends
    }

    /// Where a section is in [`Sections::bytes`].
    pub(crate) const fn range(&self, section: Section) -> Range<usize> {
        let [annotations, properties, application, body, footer] = self.ends;
        let (start, end) = match section {
            Section::MessageAnnotations => (0, annotations),
            Section::Properties => (annotations, properties),
            Section::ApplicationProperties => (properties, application),
            Section::Body => (application, body),
            Section::Footer => (body, footer),
        };
        start as usize..end as usize
    }

    /// The message-format.
    #[must_use]
    pub const fn format(&self) -> u32 {
        self.format
    }
}

impl Body {
    /// What these bytes are, by whether they are UTF-8 and whether their sender calls them text. Text in
    /// another encoding is bytes.
    #[must_use]
    pub const fn new(bytes: Bytes, is_utf8: bool, is_text: bool) -> Self {
        match (is_utf8, is_text) {
            (true, true) => Self::Text(bytes),
            (true, false) => Self::Utf8(bytes),
            (false, _) => Self::Binary(bytes),
        }
    }

    /// The bytes of any.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        match self {
            Self::Text(bytes) | Self::Utf8(bytes) | Self::Binary(bytes) => bytes,
        }
    }
}

/// Whether a MIME type is that of text in UTF-8: `text/...`, `application/json` or `...+json`, with
/// no `charset` but UTF-8 or US-ASCII.
#[must_use]
pub fn is_text_type(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let starts = |start: &str| {
        essence.get(..start.len()).is_some_and(|given| given.eq_ignore_ascii_case(start))
    };
    let ends = |end: &str| {
        let given = essence.len().checked_sub(end.len()).and_then(|at| essence.get(at..));
        given.is_some_and(|given| given.eq_ignore_ascii_case(end))
    };
    let is_text =
        starts("text/") || essence.eq_ignore_ascii_case("application/json") || ends("+json");
    is_text
        && parts.filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
            let charset = value.trim().trim_matches('"');
            !name.trim().eq_ignore_ascii_case("charset")
                || ["utf-8", "utf8", "us-ascii"].iter().any(|one| charset.eq_ignore_ascii_case(one))
        })
}

impl<'a> BodyView<'a> {
    /// The bytes of any.
    #[must_use]
    pub const fn bytes(self) -> &'a [u8] {
        match self {
            Self::Text(bytes) | Self::Utf8(bytes) | Self::Binary(bytes) | Self::Amqp(bytes) => {
                bytes
            }
        }
    }

    /// Whether its sender calls it text: to JMS it is a text message.
    #[must_use]
    pub const fn is_text(self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// Whether it is known to be UTF-8, so that a WebSocket's text message may contain it.
    #[must_use]
    pub const fn is_utf8(self) -> bool {
        matches!(self, Self::Text(_) | Self::Utf8(_))
    }
}

impl From<Body> for Content {
    fn from(body: Body) -> Self {
        Self::Parts(Parts::new(body))
    }
}

impl From<Parts> for Content {
    fn from(parts: Parts) -> Self {
        Self::Parts(parts)
    }
}

impl From<Sections> for Content {
    fn from(sections: Sections) -> Self {
        Self::Amqp(sections)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_of_parts_are_found() {
        let mut parts = Parts::new(Body::Text("hi".into()));
        parts.properties.push("price", Value::F64(1.5));
        let content = Content::from(parts);
        assert_eq!(content.property("price"), Some(Value::F64(1.5)));
        assert_eq!(content.property("size"), None);
        assert_eq!(content.body(), BodyView::Text(b"hi"));
    }

    #[test]
    fn text_is_what_is_called_so_and_is_utf8() {
        let body = |is_utf8, is_text| Body::new(Bytes::from_static(b"x"), is_utf8, is_text);
        let bytes = Bytes::from_static(b"x");
        assert_eq!(body(true, true), Body::Text(bytes.clone()));
        assert_eq!(body(true, false), Body::Utf8(bytes.clone()));
        assert_eq!(body(false, true), Body::Binary(bytes));
        for (content_type, expected) in [
            ("text/plain", true),
            ("TEXT/html; charset=UTF-8", true),
            ("text/csv;charset=\"us-ascii\";header=present", true),
            ("application/json", true),
            ("application/problem+JSON ; charset=utf8", true),
            ("text/plain;charset=iso-8859-1", false),
            ("application/json; Charset = utf-16", false),
            ("application/octet-stream", false),
            ("application/xml", false),
            ("application/jsonp", false),
            ("text", false),
            ("", false),
            ("\u{e9}\u{e9}\u{e9}", false),
        ] {
            assert_eq!(is_text_type(content_type), expected, "{content_type}");
        }
    }

    #[test]
    fn sections_are_kept_byte_for_byte() {
        use Section::{ApplicationProperties, Body, Footer, MessageAnnotations, Properties};
        let sections = Sections::new(Bytes::from_static(b"aappbbb"), [2, 4, 4, 7, 7], 0).unwrap();
        let all = [MessageAnnotations, Properties, ApplicationProperties, Body, Footer]
            .map(|section| sections.get(section));
        assert_eq!(all, [&b"aa"[..], b"pp", b"", b"bbb", b""]);
        assert_eq!(Content::from(sections).body(), BodyView::Amqp(b"bbb"), "not described");
        let bytes = Bytes::from_static(b"ab");
        assert_eq!(Sections::new(bytes.clone(), [0, 2, 1, 2, 2], 0), None, "not in order");
        assert_eq!(Sections::new(bytes.clone(), [0, 0, 0, 1, 1], 0), None, "bytes behind the end");
        assert_eq!(Sections::new(bytes, [0, 0, 0, 0, 3], 0), None, "an end behind the bytes");
    }
}
