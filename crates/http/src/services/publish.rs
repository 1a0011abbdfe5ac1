use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::pin,
    task::Poll,
    time::Duration,
};

use auth::Action;
use bytes::Bytes;
use config::Clients;
use contract::{
    Annotation, Assembly, Body as Content, ConnectionLimits, Destination, DestinationKind, Message,
    Numbered, Partial, Parts, Principal, Sender,
};
use drive::{CoreRef, INBOUND_FULL, InboundMessage, Publisher, Subject, clock};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, request};
use tokio::time;
use transports::http1::{BodyError, RequestBody};

use super::{
    content_coding::{Unsupported, coded_bytes_max, codings, decode, unsupported},
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
    let persistent = match persistent(&head.headers) {
        Ok(persistent) => persistent,
        Err(why) => return text(StatusCode::BAD_REQUEST, why),
    };
    let delay_ms = match delay_ms(&head.headers, kind) {
        Ok(delay_ms) => delay_ms,
        Err(why) => return text(StatusCode::BAD_REQUEST, why),
    };
    let numbered = match numbered(&head.headers, subject) {
        Ok(numbered) => numbered,
        Err(why) => return text(StatusCode::BAD_REQUEST, &why),
    };
    let sender = match sender(&head.headers, subject.principal, gateway.config.clients) {
        Ok(sender) => sender,
        Err(why) => return text(StatusCode::FORBIDDEN, &why),
    };
    // Before the body is read; it is checked again when the message is published.
    if let Err(refusal) = core.authorise(subject, Action::Send(&destination)) {
        return refused(refusal);
    }
    let bytes = match receive(core, body, &head.headers, gateway, limits).await {
        Ok(bytes) => bytes,
        Err(refusal) => return *refusal,
    };
    let content_type = content_type(&head.headers);
    let published = core
        .publish(Publisher::Peer { subject, users_version }, |id, now| {
            let body = content(bytes, content_type.as_deref());
            let parts = Parts { content_type, ..Parts::new(body) };
            let mut message = Message::new(destination, id, now.unix_ms, parts);
            message.header.durable = persistent;
            message.header.delay_ms = delay_ms;
            message.annotation = numbered.map(|one| Box::new(Annotation::Numbered(one)));
            message.sender = sender;
            message
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

/// Whether the sender wants the message to survive a restart, as STOMP's header of that name says it;
/// `None`: it does not say.
fn persistent(headers: &HeaderMap) -> Result<Option<bool>, &'static str> {
    match headers.get(PERSISTENT).map(HeaderValue::as_bytes) {
        None => Ok(None),
        Some(b"false") => Ok(Some(false)),
        Some(b"true") => Ok(Some(true)),
        Some(_) => Err("the header persistent must be true or false"),
    }
}

/// How long a queue is to keep the message before it delivers it, as STOMP's header of that name says
/// it, in milliseconds.
fn delay_ms(headers: &HeaderMap, kind: DestinationKind) -> Result<u32, &'static str> {
    let Some(value) = headers.get(DELIVERY_DELAY) else { return Ok(0) };
    match value.to_str().ok().and_then(|value| value.parse().ok()) {
        Some(delay) if delay > 0 && !kind.is_queue() => Err("only a queue can keep a message \
            until later: publish it to a queue, or without the header delivery-delay"),
        Some(delay) => Ok(delay),
        None => Err("the header delivery-delay must be a number of milliseconds, and at most \
            4294967295: seven weeks"),
    }
}

/// The number of the message, as STOMP's headers of these names say it.
fn numbered(headers: &HeaderMap, subject: &Subject<'_>) -> Result<Option<Numbered>, String> {
    let value = |name: HeaderName| match headers.get(name).map(HeaderValue::to_str) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(_)) => Err("producer-id and producer-seq must be ASCII".to_owned()),
    };
    let (name, sequence) = (value(PRODUCER_ID)?, value(PRODUCER_SEQ)?);
    let user = subject.principal.filter(|who| !who.is_anonymous()).map(|who| &*who.name);
    Numbered::parse(user, name, sequence).map_err(|error| error.to_string())
}

/// Whom receivers see as the sender, by STOMP's header `user-id`; else what is wrong with that.
fn sender(
    headers: &HeaderMap,
    principal: Option<&Principal>,
    clients: Clients,
) -> Result<Option<Sender>, String> {
    let sender = principal.and_then(Sender::of);
    match headers.get(USER_ID).or_else(|| headers.get(JMSX_USER_ID)) {
        None => Ok(sender.filter(|_| clients.show_senders)),
        Some(claimed) => match sender {
            Some(sender) if claimed.as_bytes() == sender.name().as_bytes() => Ok(Some(sender)),
            Some(sender) => Err(format!(
                "the header user-id must be the name of the user, {:?}, or be left out",
                sender.name()
            )),
            None => {
                Err("the header user-id names a user, and this request is of none: log in, or \
                leave it out"
                    .to_owned())
            }
        },
    }
}

/// What the sender says of the body; curl's default for `-d` says nothing true.
fn content_type(headers: &HeaderMap) -> Option<Box<str>> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    (value != "application/x-www-form-urlencoded").then(|| value.into())
}

/// Of a request: whether the message is to survive a restart.
const PERSISTENT: HeaderName = HeaderName::from_static("persistent");

/// Of a request: who sends the message, as RabbitMQ and JMS call it.
const USER_ID: HeaderName = HeaderName::from_static("user-id");
const JMSX_USER_ID: HeaderName = HeaderName::from_static("jmsxuserid");

/// Of a request: how long a queue is to keep the message before it delivers it.
const DELIVERY_DELAY: HeaderName = HeaderName::from_static("delivery-delay");

/// Of a request: who numbers the message, and its number.
const PRODUCER_ID: HeaderName = HeaderName::from_static("producer-id");
const PRODUCER_SEQ: HeaderName = HeaderName::from_static("producer-seq");
