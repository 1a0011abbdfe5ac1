//! What a session costs.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use contract::{
    Body, Command, Data, Delivery, Destination, Input, Kind, Message, Principal, Reply,
    Session as _, SubscriptionId, Token,
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
    assert!(used <= 528, "{used} bytes");
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
    let delivery = Delivery::new(message);
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

#[test]
fn a_message_takes_what_its_cost_says() {
    for (shape, frame) in shapes() {
        let setup = setup();
        let mut out = Recorder::new();
        let mut session = subscribed(&setup, &mut out, "0");
        out.take();
        // Two, so that the name of the last destination is of no use to the next.
        let frames = ["1", "2"].map(|n| frame.replace("{n}", n));
        let mut kept = Vec::with_capacity(1_000);
        let before = live_bytes();
        for token in 0..1_000 {
            let frame = &frames[token % 2];
            let data = Data { kind: Kind::Text, bytes: frame.as_bytes(), last: true };
            session.handle(Input::Received(data), Setup::START, &mut out);
            for output in out.take() {
                if let Output::Command(token, command) = output {
                    session.handle(Input::Replied(token, Ok(Reply::Done)), Setup::START, &mut out);
                    let Command::Publish(_, message) = command else {
                        panic!("{shape}: {command:?}")
                    };
                    if !message.to.is_written("/topic/b") {
                        kept.push(message);
                    }
                }
            }
        }
        drop(out);
        let taken = live_bytes() - before;
        let counted: isize = kept.iter().map(|message| message.cost() as isize).sum();
        let shown = format!("{shape}: {taken} bytes taken, {counted} counted");
        assert_eq!(kept.len(), 1_000, "{shown}");
        assert!(counted * 10 >= taken * 9 && counted * 10 <= taken * 11, "{shown}");
    }
}

#[test]
fn a_frame_in_part_takes_what_is_said_of_it() {
    let body = "x".repeat(60_000);
    let cases = [
        ("a line", "SEND\ndestination:/topic/a".into()),
        ("headers", format!("SEND\n{}", "a:b\n".repeat(90))),
        ("a long header", format!("SEND\ncorrelation-id:{}", &body[..10_000])),
        ("a body", format!("SEND\ndestination:/topic/a\n\n{body}")),
        ("a body of known length", format!("SEND\ncontent-length:70000\n\n{body}")),
    ];
    for (shape, frame) in cases {
        for size in [100, 4096] {
            let mut out = Recorder::new();
            let mut session = subscribed(&setup(), &mut out, "0");
            let before = live_bytes() - session.incoming().bytes as isize;
            for piece in frame.as_bytes().chunks(size) {
                let data = Data { kind: Kind::Text, bytes: piece, last: false };
                session.handle(Input::Received(data), Setup::START, &mut out);
            }
            let (taken, said) = (live_bytes() - before, session.incoming().bytes as isize);
            let shown = format!("{shape}, {size} at a time: {taken} bytes taken, {said} said");
            // What malloc adds to each of four allocations is left out.
            assert!((said - taken).abs() <= taken / 10 + 64, "{shown}");
        }
    }
}

#[test]
fn what_waits_for_replies_takes_what_the_session_says() {
    for (shape, frame) in shapes() {
        let in_transaction = frame.replace("SEND\n", "SEND\ntransaction:t\n");
        let receipt = frame.replace("SEND\n", "SEND\nreceipt:12345678901234567890123456789012\n");
        for (kind, frames) in [
            ("sends", frame.clone()),
            ("receipts", receipt),
            (
                "commits",
                format!("BEGIN\ntransaction:t\n\n\0{in_transaction}COMMIT\ntransaction:t\n\n\0"),
            ),
            (
                "behind a send",
                format!(
                    "{frame}{}",
                    "BEGIN\ntransaction:u\nreceipt:1\n\n\0ABORT\ntransaction:u\n\n\0".repeat(5)
                ),
            ),
        ] {
            let setup = setup();
            let mut out = Recorder::new();
            let mut session = subscribed(&setup, &mut out, "0");
            out.take();
            assert_eq!(session.in_flight_bytes(), 0);
            let before = live_bytes();
            let mut broker = VecDeque::new();
            // To where the rings are filled to three quarters.
            while broker.len() < if kind == "behind a send" { 128 } else { 768 } {
                let frames = frames.replace("{n}", &broker.len().to_string());
                let data = Data { kind: Kind::Text, bytes: frames.as_bytes(), last: true };
                session.handle(Input::Received(data), Setup::START, &mut out);
                for output in out.take() {
                    let Output::Command(token, command) = output else { panic!("{output:?}") };
                    broker.push_back((token, command));
                }
            }
            let (taken, counted) = (live_bytes() - before, session.in_flight_bytes() as isize);
            let shown = format!("{shape}, {kind}: {taken} bytes taken, {counted} counted");
            assert!(counted * 10 >= taken * 9 && counted * 10 <= taken * 11, "{shown}");
            for (token, command) in broker {
                drop(command);
                session.handle(Input::Replied(token, Ok(Reply::Done)), Setup::START, &mut out);
            }
            assert_eq!(session.in_flight_bytes(), 0, "{shape}, {kind}");
        }
    }
}

#[test]
fn open_transactions_take_no_more_than_their_bound() {
    for (shape, frame) in shapes() {
        for transactions in [1, 16] {
            let setup = setup().limited(|limits, _| limits.transaction_operations_max = 1_000_000);
            let mut out = Recorder::new();
            let mut session = subscribed(&setup, &mut out, "0");
            let mut send = |frame: String| {
                let data = Data { kind: Kind::Text, bytes: frame.as_bytes(), last: true };
                session.handle(Input::Received(data), Setup::START, &mut out);
                out.take().iter().all(|output| !matches!(output, Output::Close(..)))
            };
            let before = live_bytes();
            for n in 0..transactions {
                assert!(send(format!("BEGIN\ntransaction:{n}\n\n\0")));
            }
            let frame = frame.replace("SEND\n", "SEND\ntransaction:{t}\n");
            let frame = |n: usize| {
                frame.replace("{t}", &(n % transactions).to_string()).replace("{n}", &n.to_string())
            };
            let (mut n, mut taken) = (0, 0);
            while send(frame(n)) {
                taken = live_bytes() - before;
                n += 1;
            }
            let (least, most) = ((4 << 20) * 9 / 10, (4 << 20) * 11 / 10);
            assert!((least..=most).contains(&taken), "{shape}, {transactions}: {taken} bytes");
        }
    }
}

/// SEND frames of one kind, to names with a number.
fn shapes() -> [(&'static str, String); 8] {
    let long = "x".repeat(1_000);
    [
        ("tiny", "SEND\ndestination:/topic/a{n}\n\nhello\0".into()),
        ("with properties", "SEND\na:1\ndestination:/topic/a{n}\nb:2\na:3\n\nhello\0".into()),
        (
            "with many properties",
            format!("SEND\ndestination:/topic/a{{n}}\n{}\nhello\0", "p:q\n".repeat(90)),
        ),
        (
            "with a correlation-id of 15 kB",
            format!(
                "SEND\ndestination:/topic/a{{n}}\ncorrelation-id:{}\n\nhello\0",
                long.repeat(15)
            ),
        ),
        (
            "with a reply-to and a content-type",
            "SEND\ndestination:/topic/a{n}\nreply-to:/queue/r\ncontent-type:text/plain\n\nhi\0"
                .into(),
        ),
        ("to a long name", format!("SEND\ndestination:/topic/{long}.{{n}}\n\nhello\0")),
        (
            "with a body of 100 kB",
            format!("SEND\ndestination:/topic/a{{n}}\n\n{}\0", long.repeat(100)),
        ),
        (
            "behind much else",
            format!(
                "SEND\ndestination:/topic/b\n\n{}\0SEND\ndestination:/topic/a{{n}}\n\nhello\0",
                long.repeat(60)
            ),
        ),
    ]
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
