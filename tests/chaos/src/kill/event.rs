//! The ledger: what the clients of a round wrote down, in the order in which it happened to them.
//!
//! What a client does is written down before it does it, what it is told when it has been told. So
//! what stands before something else in the ledger was so before.

use std::{
    fmt::{self, Display, Formatter},
    str::{FromStr, SplitWhitespace},
};

/// Something that a client did or was told, or that was done to the gateway.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Event {
    /// After so many failed attempts a message goes to the dead-letter queue.
    DeliveriesMax(u32),
    /// A queue with one consumer, which refuses nothing and does not leave.
    Ordered(String),
    /// A gateway is started; the one before it has ended.
    Start,
    /// It is told to end: all its consumers leave in good order, one after the other.
    Stop,
    /// A message is about to be sent, to a queue or a topic, perhaps in a transaction, and perhaps again.
    Send { message: MessageId, to: String, durable: bool, transaction: Option<u32> },
    /// The RECEIPT of a message came.
    Confirmed(MessageId),
    /// A COMMIT is about to be sent.
    Commit(u32),
    /// Its RECEIPT came.
    Committed(u32),
    /// A client is about to subscribe to a queue.
    Subscribe { subscription: u32, queue: String },
    /// A message was delivered: each delivery has a number of its own, and so has each subscription.
    Got { delivery: u32, message: MessageId, from: String, subscription: u32, redelivered: bool },
    /// An ACK is about to be sent, perhaps in a transaction.
    Ack { delivery: u32, transaction: Option<u32> },
    /// A NACK is about to be sent.
    Nack(u32),
    /// The RECEIPT of an ACK or NACK came.
    Settled(u32),
    /// The consumer is about to end a subscription in good order or, when it is `lost`, by closing
    /// its connection without a word.
    Left { subscription: u32, lost: bool },
    /// A browser is about to subscribe to a queue.
    Browse { browser: u32, queue: String },
    /// It was shown a message.
    Seen { browser: u32, message: MessageId },
    /// The RECEIPT of a durable subscription to a topic came.
    Bound { name: String, topic: String },
    /// All queues were emptied: what has not been delivered is nowhere.
    Empty,
}

/// A message: its producer, and its number there.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct MessageId {
    pub(crate) producer: u32,
    /// In the order in which the producer sent them, or committed what they were sent in.
    pub(crate) number: u32,
}

impl MessageId {
    /// As bodies have it.
    pub(crate) fn to_u64(self) -> u64 {
        u64::from(self.producer) << 32 | u64::from(self.number)
    }

    /// From a body.
    pub(crate) fn from_u64(id: u64) -> Self {
        let part = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or_default();
        Self { producer: part(id >> 32), number: part(id) }
    }
}

impl Display for MessageId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.producer, self.number)
    }
}

impl FromStr for MessageId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (producer, number) = text.split_once('-').ok_or(())?;
        let part = |text: &str| text.parse().map_err(drop);
        Ok(Self { producer: part(producer)?, number: part(number)? })
    }
}

impl Display for Event {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let within = |f: &mut Formatter<'_>, transaction: Option<u32>| match transaction {
            Some(transaction) => write!(f, " {transaction}"),
            None => Ok(()),
        };
        match self {
            Self::DeliveriesMax(count) => write!(f, "deliveries-max {count}"),
            Self::Ordered(queue) => write!(f, "ordered {queue}"),
            Self::Start => write!(f, "start"),
            Self::Stop => write!(f, "stop"),
            Self::Send { message, to, durable, transaction } => {
                let durable = if *durable { "durable" } else { "transient" };
                write!(f, "send {message} {to} {durable}")?;
                within(f, *transaction)
            }
            Self::Confirmed(message) => write!(f, "confirmed {message}"),
            Self::Commit(transaction) => write!(f, "commit {transaction}"),
            Self::Committed(transaction) => write!(f, "committed {transaction}"),
            Self::Subscribe { subscription, queue } => {
                write!(f, "subscribe {subscription} {queue}")
            }
            Self::Got { delivery, message, from, subscription, redelivered } => {
                let mark = if *redelivered { "redelivered" } else { "new" };
                write!(f, "got {delivery} {message} {from} {subscription} {mark}")
            }
            Self::Ack { delivery, transaction } => {
                write!(f, "ack {delivery}")?;
                within(f, *transaction)
            }
            Self::Nack(delivery) => write!(f, "nack {delivery}"),
            Self::Settled(delivery) => write!(f, "settled {delivery}"),
            Self::Left { subscription, lost } => {
                write!(f, "left {subscription} {}", if *lost { "lost" } else { "released" })
            }
            Self::Browse { browser, queue } => write!(f, "browse {browser} {queue}"),
            Self::Seen { browser, message } => write!(f, "seen {browser} {message}"),
            Self::Bound { name, topic } => write!(f, "bound {name} {topic}"),
            Self::Empty => write!(f, "empty"),
        }
    }
}

impl FromStr for Event {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        let mut words = line.split_whitespace();
        let words = &mut words;
        let event = match words.next().ok_or(())? {
            "deliveries-max" => Self::DeliveriesMax(parsed(words)?),
            "ordered" => Self::Ordered(parsed(words)?),
            "start" => Self::Start,
            "stop" => Self::Stop,
            "send" => Self::Send {
                message: parsed(words)?,
                to: parsed(words)?,
                durable: either(words, "durable", "transient")?,
                transaction: words.next().map(str::parse).transpose().map_err(drop)?,
            },
            "confirmed" => Self::Confirmed(parsed(words)?),
            "commit" => Self::Commit(parsed(words)?),
            "committed" => Self::Committed(parsed(words)?),
            "subscribe" => Self::Subscribe { subscription: parsed(words)?, queue: parsed(words)? },
            "got" => Self::Got {
                delivery: parsed(words)?,
                message: parsed(words)?,
                from: parsed(words)?,
                subscription: parsed(words)?,
                redelivered: either(words, "redelivered", "new")?,
            },
            "ack" => Self::Ack {
                delivery: parsed(words)?,
                transaction: words.next().map(str::parse).transpose().map_err(drop)?,
            },
            "nack" => Self::Nack(parsed(words)?),
            "settled" => Self::Settled(parsed(words)?),
            "left" => Self::Left {
                subscription: parsed(words)?,
                lost: either(words, "lost", "released")?,
            },
            "browse" => Self::Browse { browser: parsed(words)?, queue: parsed(words)? },
            "seen" => Self::Seen { browser: parsed(words)?, message: parsed(words)? },
            "bound" => Self::Bound { name: parsed(words)?, topic: parsed(words)? },
            "empty" => Self::Empty,
            _ => return Err(()),
        };
        if words.next().is_some() { Err(()) } else { Ok(event) }
    }
}

/// A ledger from its text, an event a line.
pub(crate) fn parse(text: &str) -> Result<Vec<Event>, String> {
    let lines = text.lines().enumerate();
    let event = |(index, line): (usize, &str)| {
        line.parse().map_err(|()| format!("line {}: not an event: {line:?}", index + 1))
    };
    lines.map(event).collect()
}

/// The text of a ledger.
pub(crate) fn text(events: &[Event]) -> String {
    events.iter().map(|event| format!("{event}\n")).collect()
}

fn parsed<T: FromStr>(words: &mut SplitWhitespace<'_>) -> Result<T, ()> {
    words.next().ok_or(())?.parse().map_err(drop)
}

fn either(words: &mut SplitWhitespace<'_>, yes: &str, no: &str) -> Result<bool, ()> {
    match words.next() {
        Some(word) if word == yes => Ok(true),
        Some(word) if word == no => Ok(false),
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_is_read_as_it_was_written() {
        let written = "deliveries-max 3\nordered /queue/ordered.0\nstart\n\
            send 1-1 /queue/a durable\nsend 1-2 /queue/a transient 7\nconfirmed 1-1\ncommit 7\n\
            committed 7\nsubscribe 4 /queue/a\ngot 1 1-1 /queue/a 4 new\ngot 2 1-1 /queue/a 5 redelivered\nack 1\nack 2 7\n\
            nack 2\nsettled 2\nleft 4 lost\nleft 5 released\nbrowse 1 /queue/a\nseen 1 1-1\n\
            bound /queue/s /topic/t\nstop\nempty\n";
        let events = parse(written).unwrap();
        assert_eq!(text(&events), written);
        for wrong in ["", "gone", "got 1 1-1 /queue/a 4", "ack 1 2 3", "left 4 maybe", "nack -1"] {
            assert!(wrong.parse::<Event>().is_err(), "{wrong}");
        }
        let id = MessageId { producer: 3, number: u32::MAX };
        assert_eq!(MessageId::from_u64(id.to_u64()), id);
    }
}
