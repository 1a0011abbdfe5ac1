use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::pin,
    task::Poll,
    time::Duration,
};

use auth::Action;
use bytes::Bytes;
use contract::{
    Assembly, Body as Content, ConnectionLimits, Destination, DestinationKind, Partial,
};
use drive::{CoreRef, INBOUND_FULL, InboundMessage, Publisher, Subject, clock};
use http::{HeaderMap, Response, StatusCode, request};
use tokio::time;
use transports::http1::{BodyError, RequestBody};

use super::{
    content_coding::{Unsupported, coded_bytes_max, codings, decode, unsupported},
    message_headers::MessageHeaders,
    percent_decoded, refused, unavailable,
};
use crate::{
    body::{Body, empty, text},
    gateway::Gateway,
};

/// Publishes the body of a request on the topic or queue that the path names.
pub(crate) async fn post(
    core: &CoreRef,
    gateway: &Gateway,
    limits: &ConnectionLimits,
    subject: &Subject<'_>,
    users_version: u64,
    kind: DestinationKind,
    rest: &str,
    head: &request::Parts,
    body: RequestBody,
) -> Response<Body> {
    let destination = match destination(kind, rest) {
        Ok(destination) => destination,
        Err(why) => return text(StatusCode::BAD_REQUEST, &why),
    };
    let read = MessageHeaders::read(&head.headers, subject.principal, gateway.config.clients);
    let headers = match read {
        Ok(headers) => headers,
        Err(error) => return text(error.status(), error.text()),
    };
    // Before the body is read; it is checked again when the message is published.
    if let Err(refusal) = core.authorise(subject, Action::Send(&destination)) {
        return refused(refusal);
    }
    let bytes = match receive(core, body, &head.headers, gateway, limits).await {
        Ok(bytes) => bytes,
        Err(refusal) => return *refusal,
    };
    let published = core
        .publish(Publisher::Peer { subject, users_version }, |id, now| {
            let body = content(bytes, headers.content_type.as_deref());
            headers.into_message(destination, id, now.unix_ms, body)
        })
        .await;
    match published {
        Ok(()) => empty(StatusCode::NO_CONTENT),
        Err(refusal) => refused(refusal),
    }
}

/// Receives a body and undoes its codings, within the limits; else says what is wrong with it.
async fn receive(
    core: &CoreRef,
    body: RequestBody,
    headers: &HeaderMap,
    gateway: &Gateway,
    limits: &ConnectionLimits,
) -> Result<Bytes, Box<Response<Body>>> {
    let codings = codings(headers).map_err(|Unsupported| Box::new(unsupported()))?;
    let max = limits.message_bytes_max;
    let received_max = if codings.is_empty() { max } else { coded_bytes_max(max) };
    let memory = Memory::new(core);
    let received = match in_time(body, received_max, limits, &memory).await {
        Ok(bytes) if !codings.is_empty() => {
            let decoding = async {
                // Few bytes may become many: no more than one body a core grows at a time.
                let _permit = gateway.decoding.acquire().await;
                decode(bytes, &codings, max, |bytes| memory.bytes.set(bytes)).await
            };
            memory.count(decoding).await
        }
        received => received,
    };
    received.map_err(|error| {
        Box::new(match error {
            NotReceived::Body(BodyError::TooLarge) => {
                let why =
                    format!("the message is larger than {max} bytes (limits.message-bytes-max)");
                text(StatusCode::PAYLOAD_TOO_LARGE, &why)
            }
            NotReceived::Body(error @ BodyError::Broken) => {
                text(StatusCode::BAD_REQUEST, &error.to_string())
            }
            NotReceived::Late => text(StatusCode::REQUEST_TIMEOUT, &Assembly::text(limits)),
            NotReceived::Full => unavailable(INBOUND_FULL),
        })
    })
}

/// Why a body was not received.
enum NotReceived {
    /// It is not as it should be.
    Body(BodyError),
    /// It was not received in time.
    Late,
    /// The memory for what peers send is full, and it is the largest.
    Full,
}

/// What a body takes while it is received.
struct Memory {
    bytes: Cell<usize>,
    message: RefCell<InboundMessage>,
}

impl Memory {
    fn new(core: &CoreRef) -> Self {
        Self { bytes: Cell::new(0), message: RefCell::new(core.inbound_message()) }
    }

    /// Counts what there is of the body whenever the rest is waited for.
    async fn count<T>(
        &self,
        receiving: impl Future<Output = Result<T, BodyError>>,
    ) -> Result<T, NotReceived> {
        let mut receiving = pin!(receiving);
        poll_fn(|context| match (receiving.as_mut().poll(context), self.bytes.get()) {
            (Poll::Ready(received), _) => Poll::Ready(received.map_err(NotReceived::Body)),
            (Poll::Pending, 0) => Poll::Pending,
            (Poll::Pending, bytes) => {
                let refused = self.message.borrow_mut().poll_refused(bytes, context);
                refused.map(|()| Err(NotReceived::Full))
            }
        })
        .await
    }
}

/// Collects a body that keeps up with the limits.
async fn in_time(
    body: RequestBody,
    max: usize,
    limits: &ConnectionLimits,
    memory: &Memory,
) -> Result<Bytes, NotReceived> {
    let assembly = Cell::new(Assembly::default());
    let total = Cell::new(0_u32);
    let came = |count: usize, bytes: usize| {
        memory.bytes.set(bytes);
        #[expect(clippy::cast_possible_truncation, reason = "it wraps")]
        total.set(total.get().wrapping_add(count as u32));
        let partial = Partial { number: 0, body_bytes: Some(total.get()) };
        let mut observed = assembly.get();
        observed.observe(Some(partial), limits, clock::now());
        assembly.set(observed);
    };
    came(0, 0);
    let mut collecting = pin!(memory.count(body.collect(max, came)));
    loop {
        let Some(until) = assembly.get().deadline() else { return collecting.await };
        let left = Duration::from_nanos(until.saturating_sub(clock::now().mono_ns));
        match time::timeout(left, &mut collecting).await {
            Ok(collected) => return collected,
            Err(_elapsed) if assembly.get().deadline() == Some(until) => {
                return Err(NotReceived::Late);
            }
            // More has come meanwhile.
            Err(_elapsed) => {}
        }
    }
}

fn destination(kind: DestinationKind, rest: &str) -> Result<Destination, String> {
    let name = percent_decoded(rest).ok_or("the path has a bad %-escape or is not UTF-8")?;
    Destination::parse(&format!("{}{name}", kind.prefix())).map_err(|error| error.to_string())
}

/// Text where the sender says so, or says nothing: HTTP has no other way of saying it.
fn content(bytes: Bytes, content_type: Option<&str>) -> Content {
    let is_utf8 = std::str::from_utf8(&bytes).is_ok();
    Content::new(bytes, is_utf8, content_type.is_none_or(contract::is_text_type))
}
