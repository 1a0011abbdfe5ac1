//! What a path of the configuration leads to.

mod content_coding;
pub(crate) mod directory;
mod feed;
mod message_headers;
pub(crate) mod operation;
pub(crate) mod pages;
pub(crate) mod publish;
pub(crate) mod representation;

use config::{Proxy, ServiceKind};
use contract::Refusal;
use drive::Registration;
use http::{HeaderValue, Response, StatusCode, header};
use transports::Stream;

pub use feed::{keep_interests, start_feeds};

use crate::{
    body::{Body, text},
    gateway::Worker,
};

/// Registers a WebSocket with its service.
pub(crate) fn register(
    worker: &Worker,
    stream: Stream,
    registration: Registration<'_>,
    kind: &ServiceKind,
) {
    let (core, protocols) = (&worker.core, &worker.gateway.protocols);
    match kind {
        ServiceKind::Echo => core.register(stream, registration, |_, _| (protocols.echo)()),
        ServiceKind::Broadcast { .. } => {
            let topic = feed::topic(registration.service);
            core.register(stream, registration, |_, _| (protocols.broadcast)(topic));
        }
        ServiceKind::Proxy(Proxy { text, .. }) => {
            core.register_relay(stream, registration, (protocols.proxy)(*text));
        }
        ServiceKind::Broker => {
            let named = Some(registration.subprotocol).filter(|name| !name.is_empty());
            let Some(protocol) = protocols.by_subprotocol(named) else { return };
            core.register(stream, registration, protocol.open);
        }
        ServiceKind::Pages
        | ServiceKind::Directory { .. }
        | ServiceKind::Topics
        | ServiceKind::Queues
        | ServiceKind::Metrics
        | ServiceKind::Health
        | ServiceKind::Readiness => {}
    }
}

/// The response to a request that is refused.
pub(crate) fn refused(refusal: Refusal) -> Response<Body> {
    let status = match refusal {
        Refusal::Unauthenticated | Refusal::Expired => {
            return unauthenticated(&refusal.to_string());
        }
        Refusal::Forbidden | Refusal::DeadLetterQueue => StatusCode::FORBIDDEN,
        Refusal::NotFound => StatusCode::NOT_FOUND,
        Refusal::Stale
        | Refusal::DuplicateId
        | Refusal::ClientIdInUse
        | Refusal::DurableInUse
        | Refusal::DurableShared
        | Refusal::Displaced => StatusCode::CONFLICT,
        Refusal::TooDeep | Refusal::Sasl(_) => StatusCode::BAD_REQUEST,
        Refusal::Full
        | Refusal::Busy
        | Refusal::Limit
        | Refusal::Queues
        | Refusal::StoreFull
        | Refusal::NoStore
        | Refusal::QueueMemory
        | Refusal::PrincipalMemory
        | Refusal::PrincipalQueues
        | Refusal::PatternBytes
        | Refusal::Slow
        | Refusal::SlowCore => return unavailable(&refusal.to_string()),
    };
    text(status, &refusal.to_string())
}

/// The response to a request that may succeed later.
fn unavailable(why: &str) -> Response<Body> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, why);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// The response to a request without the right credentials (RFC 9110 15.5.2).
pub(crate) fn unauthenticated(line: &str) -> Response<Body> {
    let mut response = text(StatusCode::UNAUTHORIZED, line);
    let basic = HeaderValue::from_static("Basic realm=\"passerelle\", charset=\"UTF-8\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
    response
}

/// A part of a path without its percent-encoding; `None`: it is malformed, or not UTF-8.
fn percent_decoded(segment: &str) -> Option<String> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = segment.bytes();
    let mut plain = Vec::with_capacity(segment.len());
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => digit(bytes.next()?)? << 4 | digit(bytes.next()?)?,
            other => other,
        });
    }
    String::from_utf8(plain).ok()
}
