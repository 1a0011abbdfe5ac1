//! A message as one line of JSON, which `sub --json` prints and `pub --json` reads.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};
use stomp::Frame;

use super::messages::Message;

/// The line of a MESSAGE, with its end.
pub(super) fn line(frame: &Frame) -> String {
    let mut headers = Map::new();
    for (name, value) in frame.headers.iter().filter(|(name, _)| !OF_DELIVERY.contains(name)) {
        // Of repeated ones the first counts.
        headers.entry(name).or_insert_with(|| value.into());
    }
    let mut message = Map::new();
    let destination = frame.header("destination").unwrap_or_default();
    message.insert("destination".to_owned(), destination.into());
    message.insert("headers".to_owned(), headers.into());
    match str::from_utf8(&frame.body) {
        Ok(text) => message.insert("body".to_owned(), text.into()),
        Err(_) => message.insert("base64".to_owned(), STANDARD.encode(&frame.body).into()),
    };
    format!("{}\n", Value::Object(message))
}

/// Reads such a line. What is said of its delivery is left out: it is sent anew.
pub(super) fn read(line: &[u8]) -> Result<Message, String> {
    let value: Value = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let Value::Object(mut members) = value else {
        return Err("expected an object".to_owned());
    };
    let text = |name: &str, value: Value| match value {
        Value::String(text) => Ok(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        Value::Array(_) | Value::Object(_) => Err(format!("`{name}`: expected a string")),
    };
    let destination =
        members.remove("destination").map(|it| text("destination", it)).transpose()?;
    let mut headers = Vec::new();
    match members.remove("headers") {
        None => {}
        Some(Value::Object(all)) => {
            for (name, value) in all {
                if !OF_DELIVERY.contains(&&*name) && !OF_SENDER.contains(&&*name) {
                    let value = text(&name, value)?;
                    headers.push((name, value));
                }
            }
        }
        Some(_) => return Err("`headers`: expected an object".to_owned()),
    }
    let body = match (members.remove("body"), members.remove("base64")) {
        (None, None) => Vec::new(),
        (Some(Value::String(text)), None) => text.into_bytes(),
        // What is no string is sent as JSON.
        (Some(value), None) => value.to_string().into_bytes(),
        (None, Some(Value::String(text))) => {
            STANDARD.decode(text).map_err(|error| format!("`base64`: {error}"))?
        }
        (None, Some(_)) => return Err("`base64`: expected a string".to_owned()),
        (Some(_), Some(_)) => return Err("either `body` or `base64`".to_owned()),
    };
    match members.keys().next() {
        None => Ok(Message { destination, headers, body: body.into() }),
        Some(name) => Err(format!(
            "unknown member `{name}`: expected `destination`, `headers`, and `body` or `base64`"
        )),
    }
}

/// Headers of a delivery that say nothing of the message.
const OF_DELIVERY: &[&str] = &["destination", "subscription", "ack", "content-length"];
/// Headers that are not the sender's to say, or mean something else in a SEND.
const OF_SENDER: &[&str] = &[
    "message-id",
    "timestamp",
    "redelivered",
    "delivery-count",
    "receipt",
    "transaction",
    "producer-id",
    "producer-seq",
    "x-dropped",
];

#[cfg(test)]
mod tests {
    use stomp::Verb;

    use super::*;

    #[test]
    fn what_is_printed_is_read_as_the_same_message() {
        let frame = Frame::new(Verb::Message)
            .with("subscription", "0")
            .with("message-id", "7")
            .with("destination", "/queue/a")
            .with("kind", "a \"b\"")
            .with("kind", "second");
        for (body, member) in
            [(&b"h\xc3\xa9\n"[..], "\"body\":\"h\u{e9}\\n\""), (b"\xff", "\"base64\":\"/w==\"")]
        {
            let line = line(&frame.clone().with_body(body.to_vec()));
            assert!(line.contains(member) && line.ends_with("}\n"), "{line}");
            assert!(line.contains("\"message-id\":\"7\"") && !line.contains("subscription"));
            let message = read(line.as_bytes()).unwrap();
            assert_eq!(message.destination.as_deref(), Some("/queue/a"));
            assert_eq!(message.headers, [("kind".to_owned(), "a \"b\"".to_owned())]);
            assert_eq!(message.body, body);
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let cases = [
            ("nothing", "{}", None),
            ("a body that is JSON", "{\"body\":{\"a\":1}}", None),
            ("a number as header", "{\"headers\":{\"n\":1}}", None),
            ("a list", "[]", Some("expected an object")),
            ("two bodies", "{\"body\":\"\",\"base64\":\"\"}", Some("either `body` or `base64`")),
            ("a header that is none", "{\"headers\":{\"n\":[]}}", Some("`n`: expected a string")),
            (
                "another member",
                "{\"payload\":1}",
                Some(
                    "unknown member `payload`: expected `destination`, `headers`, and `body` or `base64`",
                ),
            ),
        ];
        for (rule, line, expected) in cases {
            assert_eq!(read(line.as_bytes()).err().as_deref(), expected, "{rule}");
        }
    }
}
