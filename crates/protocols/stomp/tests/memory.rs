//! What a session costs.

use std::sync::Arc;

use bytes::Bytes;
use contract::{
    Body, Data, Delivery, Destination, Input, Kind, Message, Principal, Reply, Session as _,
    SubscriptionId, Token,
};
use stomp::Session;
use testkit::{Output, Recorder, Setup, live_bytes};

#[global_allocator]
static ALLOCATOR: testkit::Counting = testkit::Counting;

#[test]
fn an_idle_session_is_small() {
    let setup = setup();
    let mut out = Recorder::new();
    // What is made once must not count.
    drop(subscribed(&setup, &mut out, "warm"));
    let before = live_bytes();
    let session = Box::new(subscribed(&setup, &mut Recorder::new(), "0"));
    let used = live_bytes() - before;
    assert!(used <= 512, "{used} bytes");
    drop(session);
    assert_eq!(live_bytes(), before);
}

#[test]
fn a_message_is_encoded_once_for_each_id() {
    let setup = setup();
    let mut out = Recorder::new();
    let body = Body::Text(Bytes::from_static(b"1.0832"));
    let destination = Destination::parse("/topic/a").unwrap();
    let message = Arc::new(Message::new(destination, 7, 0, body));
    let delivery = Delivery { message, tag: None, redeliveries: 0 };
    let mut sent = 0;
    for number in 0..1_000 {
        let mut own = Recorder::new();
        let mut session = subscribed(&setup, &mut own, &(number % 10).to_string());
        session.handle(Input::Delivered(SubscriptionId(0), &delivery), Setup::START, &mut out);
        sent += out.take().iter().filter(|output| matches!(output, Output::Share(..))).count();
    }
    assert_eq!(sent, 1_000);
    assert_eq!(out.encodings(), 10);
}

/// A peer that the transport knows.
fn setup() -> Setup {
    Setup { principal: Some(Principal::anonymous()), ..Setup::websocket("v12.stomp") }
}

/// A session with two subscriptions, one to a queue.
fn subscribed(setup: &Setup, out: &mut Recorder, id: &str) -> Session {
    let mut session = Session::open(&setup.opening(), Setup::START);
    let frames = format!(
        "CONNECT\naccept-version:1.2\nheart-beat:10000,10000\n\n\0\
         SUBSCRIBE\nid:{id}\ndestination:/topic/a\nreceipt:r\n\n\0\
         SUBSCRIBE\nid:{id}q\ndestination:/queue/a\nack:client\n\n\0"
    );
    let data = Data { kind: Kind::Text, bytes: frames.as_bytes(), last: true };
    session.handle(Input::Received(data), Setup::START, out);
    for token in [1, 2] {
        session.handle(Input::Replied(Token(token), Ok(Reply::Done)), Setup::START, out);
    }
    session
}
