use std::sync::Arc;

use amqp_types::{Fields, Writer};
use amqp10::{Connection, PLAIN_HEADER};
use contract::{
    Body, Command, Credit, Data, Delivery, Destination, Input, Kind, Message, Now, Principal,
    Reply, Session, Settle, SubscriptionId, Tag, Token,
};
use testkit::{Output, Recorder, Setup};

pub(crate) fn frame(channel: u16, write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, 2, 0];
    bytes.extend(channel.to_be_bytes());
    write(&mut Writer::new(&mut bytes));
    let size = u32::try_from(bytes.len()).unwrap();
    bytes[..4].copy_from_slice(&size.to_be_bytes());
    bytes
}

pub(crate) fn sasl_init() -> Vec<u8> {
    let mut bytes = frame(0, |to| {
        to.composite(0x41, |fields| {
            fields.symbol("PLAIN");
            fields.binary(b"\0ann\0secret");
        });
    });
    bytes[5] = 1;
    bytes
}

pub(crate) fn open(max_frame: u32, idle_ms: u32) -> Vec<u8> {
    frame(0, |to| {
        to.composite(0x10, |fields| {
            fields.string("c");
            fields.null();
            fields.u32(max_frame);
            fields.null();
            fields.u32(idle_ms);
        });
    })
}

pub(crate) fn begin(window: u32) -> Vec<u8> {
    begin_at(0, window)
}

/// A session whose first transfer has the id `next`.
pub(crate) fn begin_at(next: u32, window: u32) -> Vec<u8> {
    frame(0, |to| {
        to.composite(0x11, |fields| {
            fields.null();
            fields.u32(next);
            fields.u32(window);
            fields.u32(1000);
        });
    })
}

pub(crate) fn attach(handle: u32, is_receiver: bool) -> Vec<u8> {
    attach_at(handle, is_receiver, 0)
}

/// A link on which so many have been sent.
pub(crate) fn attach_at(handle: u32, is_receiver: bool, count: u32) -> Vec<u8> {
    frame(0, |to| {
        to.composite(0x12, |fields| {
            fields.string(&format!("link-{handle}"));
            fields.u32(handle);
            fields.bool(is_receiver);
            fields.null();
            fields.null();
            fields.composite(0x28, |source| source.string("q"));
            fields.composite(0x29, |target| target.string("q"));
            fields.null();
            fields.null();
            fields.u32(count);
        });
    })
}

pub(crate) fn flow(next_incoming: u32, window: u32, credit: u32) -> Vec<u8> {
    link_flow((next_incoming, window), (0, credit), false, false)
}

/// A flow of the link 0: the window from the next id on, and the credit from a count on.
pub(crate) fn link_flow(
    (next_incoming, window): (u32, u32),
    (count, credit): (u32, u32),
    drain: bool,
    echo: bool,
) -> Vec<u8> {
    frame(0, |to| {
        to.composite(0x13, |fields| {
            fields.u32(next_incoming);
            fields.u32(window);
            fields.u32(0);
            fields.u32(1000);
            fields.u32(0);
            fields.u32(count);
            fields.u32(credit);
            fields.null();
            fields.bool(drain);
            fields.bool(echo);
        });
    })
}

/// Settles what has these ids; in a transaction, where one is named.
pub(crate) fn disposition(first: u32, last: u32, transaction: Option<u64>) -> Vec<u8> {
    frame(0, |to| {
        to.composite(0x15, |fields| {
            fields.bool(true);
            fields.u32(first);
            fields.u32(last);
            fields.bool(true);
            match transaction {
                None => fields.composite(0x24, |_| {}),
                Some(id) => fields.composite(0x34, |state| {
                    state.binary(&id.to_be_bytes());
                    state.composite(0x24, |_| {});
                }),
            }
        });
    })
}

/// A link that controls transactions.
pub(crate) fn coordinator(handle: u32) -> Vec<u8> {
    frame(0, |to| {
        to.composite(0x12, |fields| {
            fields.string("transactions");
            fields.u32(handle);
            fields.bool(false);
            fields.null();
            fields.null();
            fields.composite(0x28, |_| {});
            fields.composite(0x30, |_| {});
        });
    })
}

/// What begins a transaction.
pub(crate) fn declare(handle: u32, id: u32) -> Vec<u8> {
    control(handle, id, |to| to.composite(0x31, |_| {}))
}

/// What ends a transaction.
pub(crate) fn discharge(handle: u32, id: u32, transaction: u64, fail: bool) -> Vec<u8> {
    control(handle, id, |to| {
        to.composite(0x32, |fields| {
            fields.binary(&transaction.to_be_bytes());
            fields.bool(fail);
        });
    })
}

fn control(handle: u32, id: u32, write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    frame(0, |to| {
        to.composite(0x14, |fields| {
            fields.u32(handle);
            fields.u32(id);
            fields.binary(b"t");
        });
        to.descriptor(0x77);
        write(to);
    })
}

pub(crate) fn transfer(id: u32, more: bool) -> Vec<u8> {
    frame(0, |to| {
        to.composite(0x14, |fields| {
            fields.u32(0);
            fields.u32(id);
            fields.binary(b"t");
            fields.null();
            fields.null();
            fields.bool(more);
        });
        to.descriptor(0x75);
        to.binary(b"x");
    })
}

pub(crate) fn detach(handle: u32) -> Vec<u8> {
    frame(0, |to| {
        to.composite(0x16, |fields| {
            fields.u32(handle);
            fields.bool(true);
        });
    })
}

pub(crate) fn end() -> Vec<u8> {
    frame(0, |to| to.composite(0x17, |_| {}))
}

/// A connection, and all that it sent.
pub(crate) struct Play {
    pub(crate) connection: Connection,
    pub(crate) out: Recorder,
    pub(crate) sent: Vec<Vec<u8>>,
    pub(crate) commands: Vec<Command>,
    pub(crate) settled: Vec<Settle>,
    /// The credit that subscriptions were given last.
    pub(crate) credit: u32,
    /// What the broker has not carried out; `None`: it carries out all at once.
    pub(crate) unanswered: Option<Vec<Token>>,
}

impl Play {
    pub(crate) fn new() -> Self {
        let mut setup = Setup::stream();
        setup.principal = Some(Principal::new("ann", []));
        let mut play = Self::with(&setup);
        play.receive(&PLAIN_HEADER);
        play
    }

    /// With a peer that has not logged in.
    pub(crate) fn unknown() -> Self {
        Self::with(&Setup::stream())
    }

    pub(crate) fn with(setup: &Setup) -> Self {
        let connection = Connection::open(&setup.opening(), Setup::START);
        let out = Recorder::new();
        let (sent, commands, settled) = (Vec::new(), Vec::new(), Vec::new());
        Self { connection, out, sent, commands, settled, credit: 0, unanswered: None }
    }

    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.handle(Input::Received(Data { kind: Kind::Stream, bytes, last: true }), Setup::START);
    }

    pub(crate) fn handle(&mut self, input: Input<'_>, now: Now) {
        self.connection.handle(input, now, &mut self.out);
        for output in self.out.take() {
            match output {
                Output::Send(_, bytes) | Output::Share(_, bytes) => self.sent.push(bytes),
                Output::Command(token, command) => {
                    let is_publication = matches!(command, Command::Publish(..));
                    self.commands.push(command);
                    if let Some(unanswered) = &mut self.unanswered {
                        unanswered.push(token);
                    } else if !is_publication {
                        let is_drain = matches!(self.commands.last(), Some(Command::Drain(_)));
                        let reply = if is_drain { Reply::Drained } else { Reply::Done };
                        self.handle(Input::Replied(token, Ok(reply)), now);
                    }
                }
                Output::Settle(settle, _) => self.settled.push(settle),
                Output::Credit(_, Credit::Set(credit) | Credit::Add(credit)) => {
                    self.credit = credit;
                }
                Output::Login(..) | Output::Close(..) => {}
            }
        }
    }

    pub(crate) fn deliver(&mut self, number: u64, body: &[u8]) {
        let to = Destination::parse("/queue/q").unwrap();
        let body = Body::Binary(body.to_vec().into());
        let message = Arc::new(Message::new(to, number.into(), 0, body));
        let delivery = Delivery { tag: Some(Tag(number)), ..Delivery::new(message) };
        self.handle(Input::Delivered(SubscriptionId(0), &delivery), Setup::START);
    }

    /// How many frames with this performative were sent.
    pub(crate) fn count(&self, code: u8) -> usize {
        self.sent.iter().filter(|bytes| bytes.get(8..11) == Some(&[0, 0x53, code])).count()
    }

    pub(crate) fn was_told(&self, text: &str) -> bool {
        self.sent.iter().any(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
    }

    /// The fields of the frames with this performative that were sent.
    pub(crate) fn fields(&self, code: u8) -> impl DoubleEndedIterator<Item = Fields<'_>> {
        let is_it = move |bytes: &&Vec<u8>| bytes.get(8..11) == Some(&[0, 0x53, code]);
        self.sent.iter().filter(is_it).map(|bytes| Fields::of(&bytes[11..]).unwrap())
    }

    /// The delivery-ids of the first transfers of what was sent.
    pub(crate) fn delivery_ids(&self) -> Vec<u32> {
        let id = |mut fields: Fields<'_>| {
            fields.skip(1).unwrap();
            fields.u32().unwrap()
        };
        self.fields(0x14).filter_map(id).collect()
    }

    /// What the last flow says: next-incoming-id, the count and the credit of the link, and whether it
    /// wants an echo.
    pub(crate) fn last_flow(&self) -> (u32, u32, u32, bool) {
        let mut fields = self.fields(0x13).next_back().unwrap();
        let next = fields.u32().unwrap().unwrap_or(0);
        fields.skip(4).unwrap();
        let (count, credit) = (fields.u32().unwrap(), fields.u32().unwrap());
        fields.skip(2).unwrap();
        let echo = fields.bool().unwrap().unwrap_or(false);
        (next, count.unwrap_or(0), credit.unwrap_or(0), echo)
    }
}
