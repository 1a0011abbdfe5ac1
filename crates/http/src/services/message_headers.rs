//! What the headers of a POST say of the message: as STOMP's headers of these names do, and its
//! properties as JSON, since names of HTTP's headers have no case and their values no types.

use config::Clients;
use contract::{
    Annotation, Body, Destination, Group, Header, Message, Numbered, Parts, Principal, Properties,
    Sender, Value,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Number, Value as Json};

/// All that a POST says of its message but the body.
#[derive(Debug)]
pub(super) struct MessageHeaders {
    header: Header,
    pub(super) content_type: Option<Box<str>>,
    reply_to: Option<Destination>,
    correlation: Option<Box<str>>,
    properties: Properties,
    numbered: Option<Numbered>,
    sender: Option<Sender>,
}

/// What is wrong with the headers.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum HeaderError {
    /// In the user's words.
    Malformed(String),
    /// The message would be of someone else.
    Sender(String),
}

impl HeaderError {
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Sender(_) => StatusCode::FORBIDDEN,
        }
    }

    pub(super) fn text(&self) -> &str {
        let (Self::Malformed(text) | Self::Sender(text)) = self;
        text
    }
}

impl MessageHeaders {
    /// Reads the headers of a request to publish.
    ///
    /// # Errors
    /// When one of them is malformed, or says that the message is another's.
    pub(super) fn read(
        headers: &HeaderMap,
        principal: Option<&Principal>,
        clients: Clients,
    ) -> Result<Self, HeaderError> {
        let properties = properties(headers)?;
        let header = Header {
            durable: persistent(headers)?,
            priority: priority(headers)?,
            expires_unix_ms: expires(headers)?,
            delay_ms: delay_ms(headers)?,
            group: group(&properties),
            // Set when the message is made.
            ..Header::new(0)
        };
        Ok(Self {
            header,
            content_type: content_type(headers),
            reply_to: reply_to(headers)?,
            correlation: text(headers, &CORRELATION_ID)?.map(Into::into),
            properties,
            numbered: numbered(headers, principal)?,
            sender: sender(headers, principal, clients)?,
        })
    }

    /// The message that has them.
    pub(super) fn into_message(
        self,
        to: Destination,
        id: u128,
        now_unix_ms: u64,
        body: Body,
    ) -> Message {
        let Self { header, content_type, reply_to, correlation, properties, numbered, sender } =
            self;
        let parts = Parts { reply_to, correlation, content_type, properties, body };
        let mut message = Message::new(to, id, now_unix_ms, parts);
        message.header = Header { arrived_unix_ms: now_unix_ms, ..header };
        message.annotation = numbered.map(|one| Box::new(Annotation::Numbered(one)));
        message.sender = sender;
        message
    }
}

/// What a header says, if it is there.
fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, HeaderError> {
    match headers.get(name).map(HeaderValue::to_str) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(_)) => Err(malformed(&format!("the header {name} must be ASCII"))),
    }
}

fn malformed(why: &str) -> HeaderError {
    HeaderError::Malformed(why.to_owned())
}

/// Whether the sender wants the message to survive a restart; `None`: it does not say.
fn persistent(headers: &HeaderMap) -> Result<Option<bool>, HeaderError> {
    match headers.get(PERSISTENT).map(HeaderValue::as_bytes) {
        None => Ok(None),
        Some(b"false") => Ok(Some(false)),
        Some(b"true") => Ok(Some(true)),
        Some(_) => Err(malformed("the header persistent must be true or false")),
    }
}

/// The priority of the message. Browsers have one of the request in the same header (RFC 9218, section 5).
fn priority(headers: &HeaderMap) -> Result<u8, HeaderError> {
    match headers.get(PRIORITY).map(HeaderValue::as_bytes) {
        None => Ok(Header::PRIORITY_DEFAULT),
        Some([digit @ b'0'..=b'9']) => Ok(digit - b'0'),
        Some([b'u', b'=', ..] | [b'i', ..]) => Ok(Header::PRIORITY_DEFAULT),
        Some(_) => Err(malformed("the header priority must be a digit from 0 to 9")),
    }
}

/// When the message expires, in milliseconds since 1970. Pages that want nothing from a cache send a date or
/// -1 in the same header.
fn expires(headers: &HeaderMap) -> Result<Option<u64>, HeaderError> {
    let Some(text) = text(headers, &header::EXPIRES)? else { return Ok(None) };
    match text.parse() {
        Ok(0) => Ok(None),
        Ok(unix_ms) => Ok(Some(unix_ms)),
        Err(_) if text == "-1" || httpdate::parse_http_date(text).is_ok() => Ok(None),
        Err(_) => Err(malformed(
            "the header expires must be a time in milliseconds since 1970, or 0 for never",
        )),
    }
}

/// How long the message is kept before it is delivered, in milliseconds.
fn delay_ms(headers: &HeaderMap) -> Result<u32, HeaderError> {
    let Some(value) = headers.get(DELIVERY_DELAY) else { return Ok(0) };
    match value.to_str().ok().and_then(|value| value.parse().ok()) {
        Some(delay) => Ok(delay),
        None => Err(malformed(
            "the header delivery-delay must be a number of milliseconds, and at most 4294967295: \
             seven weeks",
        )),
    }
}

fn reply_to(headers: &HeaderMap) -> Result<Option<Destination>, HeaderError> {
    let parse = |text| {
        Destination::parse(text)
            .map_err(|error| HeaderError::Malformed(format!("the header reply-to: {error}")))
    };
    text(headers, &REPLY_TO)?.map(parse).transpose()
}

/// The number of the message.
fn numbered(
    headers: &HeaderMap,
    principal: Option<&Principal>,
) -> Result<Option<Numbered>, HeaderError> {
    let (name, sequence) = (text(headers, &PRODUCER_ID)?, text(headers, &PRODUCER_SEQ)?);
    let user = principal.filter(|who| !who.is_anonymous()).map(|who| &*who.name);
    Numbered::parse(user, name, sequence).map_err(|error| HeaderError::Malformed(error.to_string()))
}

/// Whom receivers see as the sender, by `user-id`.
fn sender(
    headers: &HeaderMap,
    principal: Option<&Principal>,
    clients: Clients,
) -> Result<Option<Sender>, HeaderError> {
    let sender = principal.and_then(Sender::of);
    let Some(claimed) = headers.get(USER_ID).or_else(|| headers.get(JMSX_USER_ID)) else {
        return Ok(sender.filter(|_| clients.show_senders));
    };
    match sender {
        Some(sender) if claimed.as_bytes() == sender.name().as_bytes() => Ok(Some(sender)),
        Some(sender) => Err(HeaderError::Sender(format!(
            "the header user-id must be the name of the user, {:?}, or be left out",
            sender.name()
        ))),
        None => Err(HeaderError::Sender(
            "the header user-id names a user, and this request is of none: log in, or leave it out"
                .to_owned(),
        )),
    }
}

/// What the sender says of the body; curl's default for `-d` says nothing true.
fn content_type(headers: &HeaderMap) -> Option<Box<str>> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    (value != "application/x-www-form-urlencoded").then(|| value.into())
}

/// The properties, with their types: a JSON object of strings, numbers, booleans and nulls.
fn properties(headers: &HeaderMap) -> Result<Properties, HeaderError> {
    let Some(text) = text(headers, &PROPERTIES)? else { return Ok(Properties::default()) };
    let Ok(Json::Object(object)) = serde_json::from_str(text) else {
        return Err(malformed(
            r#"the header properties must be a JSON object, such as {"region":"eu","n":7}"#,
        ));
    };
    let mut all = Vec::with_capacity(object.len());
    for (name, json) in &object {
        if RESERVED.contains(&&**name) {
            return Err(HeaderError::Malformed(format!(
                "the property {name:?} has a header of its own, or is the gateway's: leave it out \
                 of the header properties"
            )));
        }
        let value = match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::String(text) => Value::String(text),
            Json::Number(number) => number_value(number),
            Json::Array(_) | Json::Object(_) => {
                return Err(HeaderError::Malformed(format!(
                    "the property {name:?} must be a string, a number, a boolean or null"
                )));
            }
        };
        all.push((&**name, value));
    }
    let bytes = all.iter().map(|(name, value)| Properties::bytes_of(name, *value)).sum();
    let mut properties = Properties::with_capacity(bytes);
    all.into_iter().for_each(|(name, value)| properties.push(name, value));
    Ok(properties)
}

/// The smallest type that is right: receivers may read it as a wider one, and not the other way round
/// (Jakarta Messaging, section 3.5.4).
fn number_value(number: &Number) -> Value<'static> {
    match number.as_i64() {
        Some(whole) => i32::try_from(whole).map_or(Value::I64(whole), Value::I32),
        None => Value::F64(number.as_f64().unwrap_or(f64::NAN)),
    }
}

/// The group that properties of the names of STOMP, JMS and Artemis say.
fn group(properties: &Properties) -> Option<Group> {
    let text = |name: &&str| match properties.get(name)? {
        Value::String(text) => Some(text.to_owned()),
        Value::I32(number) => Some(number.to_string()),
        Value::Null
        | Value::Bool(_)
        | Value::I8(_)
        | Value::I16(_)
        | Value::I64(_)
        | Value::F32(_)
        | Value::F64(_)
        | Value::Bytes(_) => None,
    };
    let id = Group::ID_NAMES.iter().find_map(text)?;
    let sequence = Group::SEQUENCE_NAMES.iter().find_map(text);
    Some(Group::new(&id, sequence.as_deref()))
}

const PERSISTENT: HeaderName = HeaderName::from_static("persistent");
const PRIORITY: HeaderName = HeaderName::from_static("priority");
const CORRELATION_ID: HeaderName = HeaderName::from_static("correlation-id");
const REPLY_TO: HeaderName = HeaderName::from_static("reply-to");
const PROPERTIES: HeaderName = HeaderName::from_static("properties");

/// Who sends the message, as RabbitMQ and JMS call it.
const USER_ID: HeaderName = HeaderName::from_static("user-id");
const JMSX_USER_ID: HeaderName = HeaderName::from_static("jmsxuserid");

const DELIVERY_DELAY: HeaderName = HeaderName::from_static("delivery-delay");

/// Who numbers the message, and its number.
const PRODUCER_ID: HeaderName = HeaderName::from_static("producer-id");
const PRODUCER_SEQ: HeaderName = HeaderName::from_static("producer-seq");

/// What properties must not stand in for, by the names that receivers know: of HTTP's headers above, and of
/// what the gateway says.
const RESERVED: [&str; 17] = [
    "JMSXUserID",
    "_AMQ_VALIDATED_USER",
    "ack",
    "content-length",
    "content-type",
    "correlation-id",
    "delivery-delay",
    "destination",
    "expires",
    "message-id",
    "persistent",
    "priority",
    "producer-id",
    "producer-seq",
    "reply-to",
    "subscription",
    "user-id",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&'static str, &'static str)]) -> Result<Message, HeaderError> {
        let headers = headers
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let read = MessageHeaders::read(&headers.collect(), None, Clients::default())?;
        Ok(read.into_message(queue(), 7, 1000, Body::Text("x".into())))
    }

    fn queue() -> Destination {
        Destination::parse("/queue/q").unwrap()
    }

    #[test]
    fn all_that_a_message_can_have_is_said() {
        let message = read(&[
            ("priority", "9"),
            ("persistent", "true"),
            ("expires", "5000"),
            ("delivery-delay", "10"),
            ("correlation-id", "c-1"),
            ("reply-to", "/queue/replies"),
            ("content-type", "text/plain"),
            ("properties", r#"{"type":"tick","n":7,"large":5000000000,"rate":0.5,"is":true,"no":null,"JMSXGroupID":"g","JMSXGroupSeq":3}"#),
        ])
        .unwrap();
        let header = Header {
            durable: Some(true),
            priority: 9,
            expires_unix_ms: Some(5000),
            delay_ms: 10,
            group: Some(Group::new("g", Some("3"))),
            ..Header::new(1000)
        };
        assert_eq!(message.header, header);
        assert_eq!(message.correlation().as_deref(), Some("c-1"));
        assert_eq!(message.reply_to().map(|to| to.to_string()).as_deref(), Some("/queue/replies"));
        let found: Vec<_> = message.properties().collect();
        let expected = [
            ("type", Value::String("tick")),
            ("n", Value::I32(7)),
            ("large", Value::I64(5_000_000_000)),
            ("rate", Value::F64(0.5)),
            ("is", Value::Bool(true)),
            ("no", Value::Null),
            ("JMSXGroupID", Value::String("g")),
            ("JMSXGroupSeq", Value::I32(3)),
        ];
        let (mut found, mut expected) = (found, expected.to_vec());
        found.sort_by_key(|(name, _)| *name);
        expected.sort_by_key(|(name, _)| *name);
        assert_eq!(found, expected);
    }

    /// Browsers and proxies send these.
    #[test]
    fn what_http_itself_means_by_a_header_is_left_alone() {
        for (name, value) in [
            ("priority", "u=1, i"),
            ("priority", "i"),
            ("expires", "0"),
            ("expires", "-1"),
            ("expires", "Thu, 01 Dec 1994 16:00:00 GMT"),
        ] {
            assert_eq!(
                read(&[(name, value)]).unwrap().header,
                Header::new(1000),
                "{name}: {value}"
            );
        }
    }

    #[test]
    fn what_is_malformed_is_said_in_words() {
        for (name, value, why) in [
            ("priority", "10", "digit from 0 to 9"),
            ("persistent", "yes", "true or false"),
            ("expires", "soon", "milliseconds since 1970"),
            ("delivery-delay", "soon", "milliseconds"),
            ("reply-to", "nowhere", "reply-to"),
            ("properties", "n=7", "JSON object"),
            ("properties", r#"{"n":[1]}"#, "\"n\" must be a string"),
            ("properties", r#"{"JMSXUserID":"ann"}"#, "the gateway's"),
            ("properties", r#"{"priority":9}"#, "a header of its own"),
            ("user-id", "ann", "this request is of none"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert!(error.text().contains(why), "{name}: {value}: {}", error.text());
        }
    }
}
