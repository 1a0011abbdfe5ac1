use std::time::Duration;

use auth::Action;
use bytes::Bytes;
use contract::{Body as Content, Destination, DestinationKind, Limits, Message, Principal};
use http::{HeaderMap, Response, StatusCode, header, request::Parts};
use tokio::time;
use transports::http1::{BodyError, RequestBody};

use super::{
    content_coding::{coded_bytes_max, codings, decode, unsupported},
    refused,
};
use crate::{
    body::{Body, full, text},
    drive::{CoreRef, Publisher},
    gateway::Gateway,
};

/// Publishes the body of a request on the topic or queue that the path names.
pub(crate) async fn post(
    core: &CoreRef,
    gateway: &Gateway,
    limits: &Limits,
    principal: &Principal,
    kind: DestinationKind,
    rest: &str,
    head: &Parts,
    body: RequestBody,
) -> Response<Body> {
    let destination = match destination(kind, rest) {
        Ok(destination) => destination,
        Err(why) => return text(StatusCode::BAD_REQUEST, &why),
    };
    // Before the body is read; it is asked again when the message is published.
    if let Err(denial) =
        gateway.config.access.authorise(Some(principal), Action::Send(&destination))
    {
        return refused(denial.refusal);
    }
    let Ok(codings) = codings(&head.headers) else { return unsupported() };
    let max = limits.message_bytes_max;
    let received_max = if codings.is_empty() { max } else { coded_bytes_max(max) };
    let received = match time::timeout(BODY_TIMEOUT, body.collect(received_max)).await {
        Ok(Ok(bytes)) if codings.is_empty() => Ok(bytes),
        Ok(Ok(bytes)) => {
            // Few bytes may become many: no more than one body a core grows at a time.
            let _permit = gateway.decoding.acquire().await;
            decode(bytes, &codings, max).await
        }
        Ok(Err(error)) => Err(error),
        Err(_elapsed) => {
            return text(StatusCode::REQUEST_TIMEOUT, "the request's body took too long");
        }
    };
    let bytes = match received {
        Ok(bytes) => bytes,
        Err(BodyError::TooLarge) => {
            let why = format!("the message is larger than {max} bytes (limits.message-bytes-max)");
            return text(StatusCode::PAYLOAD_TOO_LARGE, &why);
        }
        Err(error @ BodyError::Broken) => {
            return text(StatusCode::BAD_REQUEST, &error.to_string());
        }
    };
    let content_type = content_type(&head.headers);
    let published = core
        .publish(Publisher::Peer(principal), |id, now| {
            let mut message = Message::new(destination, id, now.unix_ms, content(bytes));
            message.content_type = content_type;
            message
        })
        .await;
    match published {
        Ok(()) => {
            let mut response = Response::new(full(""));
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        Err(refusal) => refused(refusal),
    }
}

fn destination(kind: DestinationKind, rest: &str) -> Result<Destination, String> {
    let name = percent_decode(rest).ok_or("the path has a bad %-escape or is not UTF-8")?;
    Destination::parse(&format!("{}{name}", kind.prefix())).map_err(|error| error.to_string())
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            u8::try_from(digit(rest.next())? << 4 | digit(rest.next())?).ok()?
        } else {
            byte
        });
    }
    String::from_utf8(bytes).ok()
}

fn content(bytes: Bytes) -> Content {
    if std::str::from_utf8(&bytes).is_ok() { Content::Text(bytes) } else { Content::Binary(bytes) }
}

/// What the sender says of the body; curl's default for `-d` says nothing true.
fn content_type(headers: &HeaderMap) -> Option<Box<str>> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    (value != "application/x-www-form-urlencoded").then(|| value.into())
}

/// Time that a request's body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
