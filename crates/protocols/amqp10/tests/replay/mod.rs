//! Plays what a peer has sent, as it lies in `corpus/`, to a connection with a small broker behind it.
//!
//! The broker answers after each frame, and delivers a message wherever there is credit. A frame of the
//! type [`EVENT`] is none of the peer's: its bytes say, two by two, what else happens.

mod monitor;

use std::{mem, time::Duration};

use amqp_types::{Value, check, read, skip};
use amqp10::{Connection, PLAIN_HEADER, SASL_HEADER};
use contract::{
    Body, Content, Data, Destination, Input, Kind, Message, Notice, Now, Opening, Principal,
    Refusal, Reply, Sections, Session, Step,
};
use monitor::Monitored;
use testkit::{Model, Output, Recorder, Setup, live_bytes};
use wire::Reader;

/// The type of a frame that says what happens beside what the peer sends.
pub const EVENT: u8 = 0xee;

/// How what is received is split in pieces.
#[derive(Clone, Copy, Debug)]
pub enum Split {
    /// Each frame, or all up to the next answer of the broker, is one piece.
    Whole,
    /// Each has at most so many bytes.
    Pieces(usize),
}

/// Plays it, and looks at what the connection does. Returns what it sent.
///
/// # Panics
/// When it does what it never may.
pub fn play(stream: &[u8], split: Split) -> Vec<u8> {
    match split {
        Split::Whole => play_to(Monitored::open, stream, split),
        Split::Pieces(_) => play_to(Connection::open, stream, split),
    }
}

fn play_to<S: Session>(
    open: impl Fn(&Opening<'_>, Now) -> S,
    stream: &[u8],
    split: Split,
) -> Vec<u8> {
    let setup = setup();
    let mut player = Player {
        connection: open(&setup.opening(), Setup::START),
        out: Recorder::new(),
        model: Model::default(),
        setup,
        now: Setup::START,
        sent: Vec::new(),
        published: Vec::new(),
        delivered_bytes: 0,
        deliveries: 0,
        is_corked: false,
        is_over: false,
        refusal: None,
    };
    player.handle(Input::Opened);
    let mut unread = Vec::new();
    for unit in Units(stream) {
        match unit {
            Unit::Received(bytes) => unread.extend_from_slice(bytes),
            Unit::Event(events) => {
                player.receive(&mem::take(&mut unread), split);
                player.events(events);
            }
        }
        if !player.is_corked {
            player.receive(&mem::take(&mut unread), split);
            player.settle_down();
        }
    }
    player.receive(&unread, split);
    player.finish(stream.len())
}

/// Small limits: little is needed to reach them.
fn setup() -> Setup {
    Setup::stream().limited(|limits, protocol| {
        limits.message_bytes_max = 6_000;
        limits.prefetch_max = 6;
        limits.subscriptions_max = 6;
        limits.transactions_max = 2;
        limits.transaction_operations_max = 4;
        limits.temporary_max = 2;
        limits.unsent_bytes_max = 2_000;
        protocol.transaction_bytes_max = 8_000;
    })
}

struct Player<S> {
    connection: S,
    out: Recorder,
    model: Model,
    setup: Setup,
    now: Now,
    sent: Vec<u8>,
    /// Contents of the last messages that the peer has sent, which it is sent too.
    published: Vec<Content>,
    delivered_bytes: usize,
    deliveries: usize,
    /// The broker does not answer.
    is_corked: bool,
    is_over: bool,
    /// What the next command is refused with.
    refusal: Option<Refusal>,
}

impl<S: Session> Player<S> {
    fn receive(&mut self, bytes: &[u8], split: Split) {
        let len = match split {
            Split::Whole => bytes.len(),
            Split::Pieces(len) => len,
        };
        for piece in bytes.chunks(len.max(1)) {
            self.handle(Input::Received(Data { kind: Kind::Stream, bytes: piece, last: true }));
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        if self.is_over || self.out.is_closed() {
            return;
        }
        self.is_over = matches!(input, Input::Closed(_));
        self.connection.handle(input, self.now, &mut self.out);
        self.out.end_turn();
        for output in self.out.take() {
            self.model.apply(&output, &self.setup.limits);
            match output {
                Output::Send(_, bytes) | Output::Share(_, bytes) => self.sent.extend(bytes),
                Output::Command(_, contract::Command::Publish(_, message)) => {
                    self.published.truncate(7);
                    self.published.insert(0, message.content.clone());
                }
                Output::Command(..)
                | Output::Settle(..)
                | Output::Credit(..)
                | Output::Login(..)
                | Output::Close(..) => {}
            }
        }
    }

    /// The broker does what it has to do.
    fn settle_down(&mut self) {
        for _ in 0..4 {
            self.log_in(None);
            for index in 0..self.model.subscriptions() {
                self.deliver(index, 0);
            }
            while self.model.pending() > 0 {
                self.reply(0);
            }
        }
    }

    fn log_in(&mut self, refused: Option<Refusal>) {
        if let Some((token, is_exchange)) = self.model.login() {
            // An exchange goes on once.
            let step = if is_exchange && self.deliveries == 0 {
                self.deliveries = 1;
                Step::Challenge(b"go on".to_vec())
            } else {
                Step::Accepted(Principal::new("ann", []), Vec::new())
            };
            let reply = Reply::Login(Box::new(step));
            self.handle(Input::Replied(token, refused.map_or(Ok(reply), Err)));
        }
    }

    fn reply(&mut self, index: usize) {
        let refusal = self.refusal.take();
        if let Some((token, result)) = self.model.reply(index, refusal) {
            self.handle(Input::Replied(token, result));
        }
    }

    fn deliver(&mut self, index: usize, redeliveries: u32) {
        let content = self.content();
        let (now, id) = (self.now.unix_ms, self.deliveries as u128);
        let delivery = self
            .model
            .delivery(index, |to: &Destination| Message::new(to.clone(), id, now, content));
        if let Some((id, mut delivery)) = delivery {
            self.deliveries += 1;
            delivery.redeliveries = redeliveries;
            self.delivered_bytes += delivery.message.cost() + 1_000;
            self.handle(Input::Delivered(id, &delivery));
        }
    }

    /// Now one that the peer has sent, now a text, now more than a frame may have.
    fn content(&self) -> Content {
        let number = self.deliveries;
        if let Some(content) = self.published.get(number % 11) {
            return content.clone();
        }
        if number.is_multiple_of(5) {
            let mut bytes = vec![0, 0x53, 0x75, 0xb0, 0, 0, 4, 0];
            bytes.resize(8 + (4 << 8), b'x');
            let end = u32::try_from(bytes.len()).unwrap_or_default();
            if let Some(sections) = Sections::new(bytes.into(), [0, 0, 0, end, end], 0) {
                return sections.into();
            }
        }
        Body::Text(format!("message {number}").into()).into()
    }

    fn events(&mut self, events: &[u8]) {
        for event in events.chunks_exact(2) {
            let &[what, which] = event else { continue };
            let index = usize::from(which) % 16;
            match what % 15 {
                0 => self.is_corked = true,
                1 => self.is_corked = false,
                2 => {
                    let refusals = [
                        Refusal::Forbidden,
                        Refusal::Full,
                        Refusal::NotFound,
                        Refusal::Stale,
                        Refusal::DurableInUse,
                        Refusal::ClientIdInUse,
                    ];
                    self.refusal = refusals.get(index % refusals.len()).copied();
                }
                3 => self.log_in(Some(Refusal::Unauthenticated)),
                4 => self.reply(index % self.model.pending().max(1)),
                5 => self.deliver(index % self.model.subscriptions().max(1), u32::from(which / 16)),
                6 => {
                    if let Some(id) = self.model.cancel(index) {
                        self.handle(Input::Notice(Notice::Cancelled(id, Refusal::NotFound)));
                    }
                }
                7 => {
                    let later = Duration::from_secs(u64::from(which));
                    self.now.mono_ns = self.now.after(later);
                    self.now.unix_ms += u64::from(which) * 1_000;
                    if self.connection.deadline().is_some_and(|due| due <= self.now.mono_ns) {
                        self.handle(Input::Timeout);
                    }
                }
                8 => self.handle(Input::Notice(Notice::Detached)),
                9 => self.handle(Input::Notice(Notice::Attached)),
                10 => self.handle(Input::Notice(Notice::Displaced)),
                11 => self.out.set_backlog(usize::from(which) << 10),
                12 if which == 0 => self.handle(Input::Shutdown),
                13 if which == 0 => {
                    self.handle(Input::GivenUp(contract::Reason::Slow, "it does not come"));
                }
                14 if which == 0 => self.handle(Input::Closed(contract::Reason::Lost)),
                _ => {}
            }
        }
    }

    /// What must hold at the end.
    fn finish(self, received: usize) -> Vec<u8> {
        let Self { connection, out, sent, delivered_bytes, .. } = self;
        if out.is_closed() || self.is_over {
            assert_eq!(connection.deadline(), None, "a deadline after the end");
        }
        let incoming = connection.incoming().bytes;
        assert!(incoming <= 3 * received + (1 << 10), "{incoming} bytes wait, of {received}");
        let before = live_bytes();
        drop(connection);
        let kept = usize::try_from(before - live_bytes()).unwrap_or(0);
        let bound = 64 * received + 4 * delivered_bytes + (16 << 10);
        assert!(kept <= bound, "it kept {kept} bytes, having received {received}");
        let bound = 32 * received + 4 * delivered_bytes + (16 << 10);
        assert!(sent.len() <= bound, "it sent {}, having received {received}", sent.len());
        check_sent(&sent);
        sent
    }
}

/// What the gateway sends is AMQP: headers, frames that are no larger than any may be, performatives that
/// are well-formed, and nothing behind a close.
fn check_sent(mut sent: &[u8]) {
    let mut is_closed = false;
    while !sent.is_empty() {
        assert!(!is_closed, "{} bytes behind the close", sent.len());
        if let Some(rest) =
            sent.strip_prefix(&PLAIN_HEADER[..]).or_else(|| sent.strip_prefix(&SASL_HEADER[..]))
        {
            sent = rest;
            continue;
        }
        let Some((&[a, b, c, d, 2, kind @ (0 | 1), _, _], _)) = sent.split_first_chunk::<8>()
        else {
            panic!("no frame: {:?}", sent.get(..40));
        };
        let size = u32::from_be_bytes([a, b, c, d]) as usize;
        assert!((8..=256 << 10).contains(&size), "a frame of {size} bytes");
        let (frame, rest) = sent.split_at(size);
        sent = rest;
        let mut reader = Reader::new(frame.get(8..).unwrap_or_default());
        if reader.is_empty() {
            continue;
        }
        let performative = skip(&mut reader).expect("a performative");
        check(performative).expect("a performative that is well-formed");
        let Ok(Value::Described(amqp_types::Descriptor::Code(code), _)) =
            read(&mut Reader::new(performative))
        else {
            panic!("no performative: {performative:?}")
        };
        assert_eq!(code >= 0x40, kind == 1, "0x{code:02x} in a frame of type {kind}");
        assert!(reader.is_empty() || code == 0x14, "0x{code:02x} with a payload");
        is_closed = code == 0x18;
    }
}

/// A part of a stream.
pub enum Unit<'a> {
    /// A header, a frame, or what is none.
    Received(&'a [u8]),
    /// The bytes of a frame that says what happens.
    Event(&'a [u8]),
}

/// The parts of a stream.
pub struct Units<'a>(pub &'a [u8]);

impl<'a> Iterator for Units<'a> {
    type Item = Unit<'a>;

    fn next(&mut self) -> Option<Unit<'a>> {
        let Self(rest) = self;
        if rest.is_empty() {
            return None;
        }
        let size = rest.first_chunk().map_or(0, |size| u32::from_be_bytes(*size) as usize);
        let is_frame = (8..=rest.len()).contains(&size);
        let len = if is_frame { size } else { 8.min(rest.len()) };
        // What is neither a frame nor a header is all that is left.
        let len = if is_frame || rest.starts_with(b"AMQP") { len } else { rest.len() };
        let (unit, after) = rest.split_at(len);
        *rest = after;
        Some(match unit {
            [_, _, _, _, _, EVENT, _, _, events @ ..] if is_frame => Unit::Event(events),
            _ => Unit::Received(unit),
        })
    }
}
