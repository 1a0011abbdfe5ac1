//! The gateway's own ids at their end, which no peer can bring them to within a test.

use std::sync::Arc;

use amqp_types::{Fields, Writer};
use contract::{
    Body, Data, Delivery, Destination, Input, Kind, Message, Outcome, Principal, Reply,
    Session as _, SubscriptionId, Tag, Token,
};
use testkit::{Output, Recorder, Setup};

use crate::{
    Connection, PLAIN_HEADER, codes,
    connection::State,
    link::LinkEnd,
    performative::{Channel, Handle},
};

const CHANNEL: Channel = 0;
const HANDLE: Handle = 0;

fn frame(code: u8, write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, 2, 0, 0, 0];
    Writer::new(&mut bytes).composite(code, write);
    let size = u32::try_from(bytes.len()).unwrap();
    bytes[..4].copy_from_slice(&size.to_be_bytes());
    bytes
}

fn flow(next: u32, window: u32, count: u32, credit: u32) -> Vec<u8> {
    frame(codes::FLOW, |to| {
        for number in [next, window, 0, 1000, HANDLE, count, credit] {
            to.u32(number);
        }
    })
}

/// A connection with a link on which the peer receives, and what it does.
struct Play(Connection, Recorder);

impl Play {
    fn receive(&mut self, bytes: &[u8]) -> Vec<Output> {
        self.handle(Input::Received(Data { kind: Kind::Stream, bytes, last: true }))
    }

    fn handle(&mut self, input: Input<'_>) -> Vec<Output> {
        self.0.handle(input, Setup::START, &mut self.1);
        self.1.take()
    }

    fn deliver(&mut self, number: u64) -> Vec<u32> {
        let to = Destination::parse("/queue/q").unwrap();
        let message = Arc::new(Message::new(to, number.into(), 0, Body::Text("x".into())));
        let delivery = Delivery { tag: Some(Tag(number)), ..Delivery::new(message) };
        let outputs = self.handle(Input::Delivered(SubscriptionId(0), &delivery));
        sent(&outputs)
    }
}

/// The ids of deliveries that were sent.
fn sent(outputs: &[Output]) -> Vec<u32> {
    let id = |output: &Output| {
        let (Output::Send(_, bytes) | Output::Share(_, bytes)) = output else { return None };
        let mut fields =
            Fields::of(bytes.get(11..)?).ok().filter(|_| bytes[10] == codes::TRANSFER)?;
        fields.skip(1).ok()?;
        fields.u32().ok()?
    };
    outputs.iter().filter_map(id).collect()
}

#[test]
fn ids_of_transfers_and_deliveries_and_counts_go_round() {
    let mut setup = Setup::stream();
    setup.principal = Some(Principal::new("ann", []));
    let mut play = Play(Connection::open(&setup.opening(), Setup::START), Recorder::new());
    play.receive(&PLAIN_HEADER);
    play.receive(&frame(codes::OPEN, |to| to.string("c")));
    play.receive(&frame(codes::BEGIN, |to| {
        to.null();
        (0..3).for_each(|_| to.u32(100));
    }));
    play.receive(&frame(codes::ATTACH, |to| {
        to.string("link");
        to.u32(HANDLE);
        to.bool(true);
        to.null();
        to.null();
        to.composite(codes::SOURCE, |source| source.string("q"));
        to.composite(codes::TARGET, |_| {});
    }));
    play.handle(Input::Replied(Token(2), Ok(Reply::Done)));
    let end = u32::MAX - 1;
    let State::Open(open) = &mut play.0.state else { panic!("not open") };
    let session = open.sessions.get_mut(&CHANNEL).unwrap();
    (session.next_outgoing_id, session.next_delivery_id) = (end, end);
    for link in open.links.values_mut() {
        let LinkEnd::Outgoing(outgoing) = &mut link.end else { continue };
        outgoing.delivery_count = end;
    }
    play.receive(&flow(end, 3, end, 6));
    let ids: Vec<_> = (1..=6).flat_map(|number| play.deliver(number)).collect();
    assert_eq!(ids, [end, u32::MAX, 0], "as the window has room for");
    let ids = sent(&play.receive(&flow(end.wrapping_add(1), 3, end, 6)));
    assert_eq!(ids, [1]);
    let ids = sent(&play.receive(&flow(2, 3, 2, 5)));
    assert_eq!(ids, [2, 3], "the credit counts from 2");
    let outputs = play.receive(&frame(codes::DISPOSITION, |to| {
        to.bool(true);
        to.u32(u32::MAX);
        to.u32(1);
        to.bool(true);
        to.composite(codes::ACCEPTED, |_| {});
    }));
    let [Output::Settle(settle, _), ..] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!((settle.tags.clone(), settle.outcome), (Tag(2)..=Tag(4), Outcome::Accepted));
}
