//! A conversation whose client writes and reads with fe2o3-amqp's types: the gateway's side has no socket here.

use std::{collections::VecDeque, sync::Arc};

use amqp_types::skip;
use amqp10::{Connection, PLAIN_HEADER, SASL_HEADER};
use contract::{
    Command, Content, Data, Delivery, Input, Kind, Login, Message, Principal, Refusal, Reply,
    Session, Step, Tag, Token,
};
use fe2o3_amqp::types::{
    definitions::{
        self, AmqpError, ErrorCondition, Fields, Handle, ReceiverSettleMode, Role, SenderSettleMode,
    },
    messaging::{
        self, Accepted, AmqpValue, ApplicationProperties, DeliveryState, MessageAnnotations,
        Modified, Outcome, Properties, Rejected, Released, Source, Target, TargetArchetype,
        message::__private::{Deserializable, Serializable},
    },
    performatives::{Attach, Begin, Close, Detach, Disposition, End, Flow, Open, Transfer},
    primitives::{Array, SimpleValue, Symbol, Timestamp, Value},
    sasl::{SaslCode, SaslInit, SaslMechanisms, SaslOutcome},
};
use serde_amqp::{
    from_slice,
    serde::{Serialize, de::DeserializeOwned},
    to_vec,
};
use testkit::{Output, Random, Recorder, Setup, show_bytes};
use wire::Reader;

use crate::generator::{ascii, writable};

/// The gateway's side of a connection, and what it has sent and wants done.
struct Gateway {
    connection: Connection,
    out: Recorder,
    sent: VecDeque<Vec<u8>>,
    commands: VecDeque<(Token, Command)>,
    logins: Vec<(Token, Login)>,
    settled: Vec<contract::Settle>,
}

impl Gateway {
    fn new() -> Self {
        let connection = Connection::open(&Setup::stream().opening(), Setup::START);
        let (out, sent, commands) = (Recorder::new(), VecDeque::new(), VecDeque::new());
        Self { connection, out, sent, commands, logins: Vec::new(), settled: Vec::new() }
    }

    fn handle(&mut self, input: Input<'_>) {
        self.connection.handle(input, Setup::START, &mut self.out);
        for output in self.out.take() {
            match output {
                Output::Send(_, bytes) | Output::Share(_, bytes) => self.split(&bytes),
                Output::Command(token, command) => self.commands.push_back((token, command)),
                Output::Login(token, login) => self.logins.push((token, login)),
                Output::Settle(settle, _) => self.settled.push(settle),
                Output::Credit(..) | Output::Close(..) => {}
            }
        }
    }

    fn split(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let size = match bytes.first_chunk() {
                Some(b"AMQP") => 8,
                Some(size) => u32::from_be_bytes(*size) as usize,
                None => panic!("{}", show_bytes(bytes)),
            };
            let (frame, rest) = bytes.split_at(size);
            self.sent.push_back(frame.to_vec());
            bytes = rest;
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.handle(Input::Received(Data { kind: Kind::Stream, bytes, last: true }));
    }

    /// A frame from the client.
    fn say(&mut self, frame_type: u8, performative: &impl Serialize, payload: &[u8]) {
        let mut frame = vec![0, 0, 0, 0, 2, frame_type, 0, 0];
        frame.extend(to_vec(performative).unwrap());
        frame.extend_from_slice(payload);
        let size = (frame.len() as u32).to_be_bytes();
        frame[..4].copy_from_slice(&size);
        self.receive(&frame);
    }

    /// The next frame that the gateway has sent, and what follows the performative.
    #[track_caller]
    fn said<T: DeserializeOwned>(&mut self) -> (T, Vec<u8>) {
        let frame = self.sent.pop_front().expect("a frame");
        let mut reader = Reader::new(&frame[8..]);
        let performative = skip(&mut reader).unwrap();
        let read = from_slice(performative)
            .unwrap_or_else(|error| panic!("{error}: {}", show_bytes(performative)));
        (read, reader.rest().to_vec())
    }

    #[track_caller]
    fn told<T: DeserializeOwned>(&mut self) -> T {
        let (read, rest) = self.said();
        assert!(rest.is_empty());
        read
    }

    /// The broker carries out the next command, or refuses it.
    #[track_caller]
    fn reply(&mut self, result: Result<Reply, Refusal>) -> Command {
        let (token, command) = self.commands.pop_front().expect("a command");
        self.handle(Input::Replied(token, result));
        command
    }
}

#[test]
fn a_conversation_with_random_fields_is_understood_by_both() {
    for seed in 0..500 {
        converse(&mut Random::new(seed));
    }
}

fn converse(random: &mut Random) {
    let mut gateway = Gateway::new();
    log_in(&mut gateway, random);
    open(&mut gateway, random);
    let message = publish(&mut gateway, random);
    deliver(&mut gateway, message, random);
    refuse(&mut gateway, random);
    let end = fitting(random, FRAME, |random| End { error: error(random) });
    gateway.say(0, &end, b"");
    assert_eq!(gateway.told::<End>(), End { error: None });
    gateway.say(0, &Close { error: error(random) }, b"");
    assert_eq!(gateway.told::<Close>(), Close { error: None });
}

fn log_in(gateway: &mut Gateway, random: &mut Random) {
    gateway.receive(&SASL_HEADER);
    assert_eq!(gateway.sent.pop_front().unwrap(), SASL_HEADER);
    let mechanisms: SaslMechanisms = gateway.told();
    assert_eq!(
        mechanisms.sasl_server_mechanisms.0,
        [Symbol::from("PLAIN"), Symbol::from("ANONYMOUS")]
    );
    let init = SaslInit {
        mechanism: Symbol::from("PLAIN"),
        initial_response: Some(b"\0ann\0secret".to_vec().into()),
        hostname: maybe(random, ascii),
    };
    gateway.say(1, &init, b"");
    let (token, login) = gateway.logins.pop().unwrap();
    assert!(matches!(login, Login::Password(credentials) if &*credentials.name == "ann"));
    let accepted = Step::Accepted(Principal::new("ann", []), Vec::new());
    gateway.handle(Input::Replied(token, Ok(Reply::Login(Box::new(accepted)))));
    let outcome: SaslOutcome = gateway.told();
    assert_eq!((outcome.code, outcome.additional_data), (SaslCode::Ok, None));
}

fn open(gateway: &mut Gateway, random: &mut Random) {
    gateway.receive(&PLAIN_HEADER);
    assert_eq!(gateway.sent.pop_front().unwrap(), PLAIN_HEADER);
    // Nothing larger is taken before the sizes are agreed.
    let open = fitting(random, 4000, |random| Open {
        container_id: name(random),
        hostname: maybe(random, ascii),
        max_frame_size: (1 << 20).into(),
        channel_max: (random.bits() as u16).into(),
        idle_time_out: maybe(random, |random| 1000 + random.bits() as u32 / 2),
        outgoing_locales: maybe(random, symbols),
        incoming_locales: maybe(random, symbols),
        offered_capabilities: maybe(random, symbols),
        desired_capabilities: maybe(random, symbols),
        properties: maybe(random, fields),
    });
    gateway.say(0, &open, b"");
    let ours: Open = gateway.told();
    assert_eq!(
        (&*ours.container_id, ours.max_frame_size.0, ours.channel_max.0),
        ("localhost", 65_536, 1023)
    );
    assert!(ours.idle_time_out.is_some());
    let begin = Begin {
        remote_channel: None,
        next_outgoing_id: u32::MAX,
        incoming_window: 2000 + random.bits() as u32 / 2,
        outgoing_window: random.bits() as u32,
        handle_max: Handle(u32::MAX),
        offered_capabilities: maybe(random, symbols),
        desired_capabilities: maybe(random, symbols),
        properties: maybe(random, fields),
    };
    gateway.say(0, &begin, b"");
    let ours: Begin = gateway.told();
    assert_eq!((ours.remote_channel, ours.next_outgoing_id), (Some(0), 0));
}

fn attach(name: &str, role: Role, random: &mut Random) -> Attach {
    let settle_modes = [SenderSettleMode::Unsettled, SenderSettleMode::Mixed];
    fitting(random, FRAME, |random| Attach {
        name: name.into(),
        handle: Handle(random.below(60_000) as u32),
        role: role.clone(),
        snd_settle_mode: random
            .pick(&[0, 1])
            .try_into()
            .map(|at: usize| settle_modes[at].clone())
            .unwrap(),
        rcv_settle_mode: ReceiverSettleMode::First,
        source: Some(Box::new(Source { dynamic_node_properties: None, ..Source::from("q") })),
        target: Some(Box::new(TargetArchetype::Target(Target::from("q")))),
        unsettled: None,
        incomplete_unsettled: false,
        initial_delivery_count: Some(random.bits() as u32),
        max_message_size: maybe(random, Random::bits),
        offered_capabilities: maybe(random, symbols),
        desired_capabilities: maybe(random, symbols),
        properties: maybe(random, fields),
    })
}

type Sent = messaging::Message<AmqpValue<Value>>;

/// The client sends a message; returns it, and what the broker has of it.
fn publish(gateway: &mut Gateway, random: &mut Random) -> (Sent, Arc<Message>) {
    let attach = attach(&name(random), Role::Sender, random);
    gateway.say(0, &attach, b"");
    let ours: Attach = gateway.told();
    assert_eq!(
        (&ours.name, &ours.role, &ours.target),
        (&attach.name, &Role::Receiver, &attach.target)
    );
    assert_eq!(ours.max_message_size, Some(1 << 20));
    let flow: Flow = gateway.told();
    assert_eq!((flow.handle, flow.link_credit), (Some(ours.handle), Some(100)));
    assert_eq!(flow.delivery_count, attach.initial_delivery_count);
    assert_eq!((flow.next_incoming_id, flow.drain), (Some(u32::MAX), false));

    let message = fitting_message(random, |random| Sent {
        header: None,
        delivery_annotations: None,
        message_annotations: maybe(random, |random| {
            let inserted =
                MessageAnnotations::builder().insert(Symbol(ascii(random)), writable(random, 2));
            inserted.build()
        }),
        properties: maybe(random, properties),
        application_properties: maybe(random, |random| {
            let simple = SimpleValue::try_from(writable(random, 0)).unwrap();
            ApplicationProperties::builder().insert(ascii(random), simple).build()
        }),
        body: AmqpValue(writable(random, 3)),
        footer: None,
    });
    let payload = to_vec(&Serializable(&message)).unwrap();
    let transfer = Transfer {
        handle: attach.handle,
        delivery_id: Some(u32::MAX),
        delivery_tag: Some(
            (0..random.below(32)).map(|_| random.bits() as u8).collect::<Vec<_>>().into(),
        ),
        message_format: maybe(random, |_| 0),
        settled: maybe(random, |_| false),
        more: false,
        rcv_settle_mode: None,
        state: None,
        resume: false,
        aborted: false,
        batchable: random.once_in(2),
    };
    gateway.say(0, &transfer, &payload);
    let Command::Publish(_, published) = gateway.reply(Ok(Reply::Done)) else {
        panic!("no publication")
    };
    let Content::Amqp(sections) = &published.content else { panic!("{published:?}") };
    assert_eq!(sections.bytes()[..], payload[..]);
    let disposition: Disposition = gateway.told();
    let state = Some(DeliveryState::Accepted(Accepted {}));
    assert_eq!((disposition.role, disposition.first), (Role::Receiver, u32::MAX));
    assert_eq!((disposition.settled, disposition.state), (true, state));
    (message, published)
}

/// The client receives it, and settles it.
fn deliver(gateway: &mut Gateway, (message, published): (Sent, Arc<Message>), random: &mut Random) {
    let mut attach = attach("receiver", Role::Receiver, random);
    attach.handle = Handle(65_535);
    gateway.say(0, &attach, b"");
    let Command::Subscribe(subscribe) = gateway.reply(Ok(Reply::Done)) else {
        panic!("no subscription")
    };
    let ours: Attach = gateway.told();
    assert_eq!((&ours.name, &ours.role), (&attach.name, &Role::Sender));
    assert_eq!(ours.source.as_ref().unwrap().address, attach.source.unwrap().address);
    let flow = Flow {
        next_incoming_id: Some(0),
        incoming_window: 2000,
        next_outgoing_id: 0,
        outgoing_window: random.bits() as u32,
        handle: Some(attach.handle.clone()),
        delivery_count: ours.initial_delivery_count,
        link_credit: Some(1 + random.bits() as u32 / 2),
        available: maybe(random, |random| random.bits() as u32),
        drain: false,
        echo: true,
        properties: maybe(random, fields),
    };
    gateway.say(0, &flow, b"");
    let echo: Flow = gateway.told();
    assert_eq!((echo.handle, echo.link_credit), (Some(ours.handle.clone()), flow.link_credit));

    let delivery = Delivery { tag: Some(Tag(7)), ..Delivery::new(published) };
    gateway.handle(Input::Delivered(subscribe.id, &delivery));
    let (transfer, payload): (Transfer, _) = gateway.said();
    assert_eq!((transfer.handle, transfer.more), (ours.handle, false));
    let received: Deserializable<messaging::Message<Value>> = from_slice(&payload).unwrap();
    let received = received.0;
    assert_eq!(received.body, message.body.0);
    assert_eq!(received.message_annotations, message.message_annotations);
    assert_eq!(received.properties, message.properties);
    assert_eq!(received.application_properties, message.application_properties);

    let modified = |delivery_failed, undeliverable_here, message_annotations| {
        Outcome::Modified(Modified { delivery_failed, undeliverable_here, message_annotations })
    };
    let outcome = match random.below(4) {
        0 => Outcome::Accepted(Accepted {}),
        1 => Outcome::Rejected(Rejected { error: error(random) }),
        2 => Outcome::Released(Released {}),
        _ => modified(maybe(random, |_| true), maybe(random, |_| false), maybe(random, fields)),
    };
    let wanted = match &outcome {
        Outcome::Accepted(_) => "Accepted",
        Outcome::Rejected(_) => "Rejected",
        Outcome::Modified(Modified { delivery_failed: Some(true), .. }) => "Failed",
        _ => "Released",
    };
    let disposition = Disposition {
        role: Role::Receiver,
        first: transfer.delivery_id.unwrap(),
        last: maybe(random, |_| transfer.delivery_id.unwrap()),
        settled: true,
        state: Some(outcome.into()),
        batchable: random.once_in(2),
    };
    gateway.say(0, &disposition, b"");
    let settle = gateway.settled.pop().expect("a settlement");
    assert_eq!(format!("{:?}", settle.outcome), wanted, "{disposition:?}");

    gateway.say(0, &Detach { handle: attach.handle, closed: true, error: error(random) }, b"");
    while !gateway.commands.is_empty() {
        gateway.reply(Ok(Reply::Done));
    }
    let detach: Detach = gateway.told();
    assert_eq!((detach.closed, detach.error), (true, None));
}

/// The broker refuses a subscription.
fn refuse(gateway: &mut Gateway, random: &mut Random) {
    let mut attach = attach("refused", Role::Receiver, random);
    attach.handle = Handle(65_535);
    gateway.say(0, &attach, b"");
    gateway.reply(Err(Refusal::Forbidden));
    let ours: Attach = gateway.told();
    assert_eq!((ours.name, ours.source), (attach.name, None));
    let detach: Detach = gateway.told();
    let error = detach.error.unwrap();
    assert_eq!(error.condition, ErrorCondition::AmqpError(AmqpError::UnauthorizedAccess));
    assert_eq!(error.description.as_deref(), Some("not allowed for this user"));
    gateway.say(0, &Detach { handle: attach.handle, closed: true, error: None }, b"");
}

/// One that is not too large for a frame.
fn fitting<T: Serialize>(random: &mut Random, most: usize, make: impl Fn(&mut Random) -> T) -> T {
    loop {
        let made = make(random);
        if to_vec(&made).unwrap().len() <= most {
            return made;
        }
    }
}

fn fitting_message(random: &mut Random, make: impl Fn(&mut Random) -> Sent) -> Sent {
    fitting(random, FRAME, |random| Serializable(make(random))).0
}

/// Bytes that a frame has room for.
const FRAME: usize = 65_000;

fn maybe<T>(random: &mut Random, make: impl FnOnce(&mut Random) -> T) -> Option<T> {
    random.once_in(2).then(|| make(random))
}

/// A name that is not too long.
fn name(random: &mut Random) -> String {
    let mut name = ascii(random);
    name.truncate(200);
    name
}

fn symbols(random: &mut Random) -> Array<Symbol> {
    Array((0..1 + random.below(3)).map(|_| Symbol(ascii(random))).collect())
}

fn fields(random: &mut Random) -> Fields {
    let mut fields = Fields::new();
    for _ in 0..random.below(4) {
        fields.insert(Symbol(ascii(random)), writable(random, 2));
    }
    fields
}

fn error(random: &mut Random) -> Option<definitions::Error> {
    maybe(random, |random| definitions::Error {
        condition: AmqpError::InternalError.into(),
        description: maybe(random, ascii),
        info: maybe(random, fields).map(Box::new),
    })
}

fn properties(random: &mut Random) -> Properties {
    Properties {
        message_id: maybe(random, |random| ascii(random).into()),
        user_id: None,
        to: maybe(random, ascii),
        subject: maybe(random, ascii),
        reply_to: maybe(random, ascii),
        correlation_id: maybe(random, |random| random.bits().into()),
        content_type: maybe(random, |random| Symbol(ascii(random))),
        content_encoding: maybe(random, |random| Symbol(ascii(random))),
        absolute_expiry_time: None,
        creation_time: maybe(random, |random| Timestamp::from_milliseconds(random.bits() as i64)),
        group_id: maybe(random, ascii),
        group_sequence: maybe(random, |random| random.bits() as u32),
        reply_to_group_id: maybe(random, ascii),
    }
}
