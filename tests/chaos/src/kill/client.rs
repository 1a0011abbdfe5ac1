//! A STOMP client that keeps the ledger.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use super::{
    durable::Durable,
    event::{Event, MessageId},
    stage::Stage,
};
use crate::{
    client::RESPONSE_MAX,
    ledger,
    stomp::{Frame, Options, Stomp},
};

/// A connection that writes down what it does and is told.
#[derive(Debug)]
pub(super) struct Client<'a> {
    stage: &'a Stage,
    stomp: Stomp,
    /// What is written down once a RECEIPT comes.
    awaited: BTreeMap<String, Vec<Event>>,
    subscriptions: BTreeMap<String, Subscription>,
}

#[derive(Clone, Debug)]
struct Subscription {
    number: u32,
    queue: String,
}

/// A message to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing<'a> {
    pub(super) message: MessageId,
    pub(super) to: &'a str,
    pub(super) bytes: usize,
    pub(super) durable: bool,
    pub(super) transaction: Option<u32>,
    /// It may be sent again, under the same number.
    pub(super) is_numbered: bool,
}

/// A message that was delivered.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) message: MessageId,
    delivery: u32,
    /// By which it is acknowledged.
    ack: String,
}

impl<'a> Client<'a> {
    /// Connects, with these headers beside.
    pub(super) fn connect(
        stage: &'a Stage,
        address: SocketAddr,
        login: &'static str,
    ) -> io::Result<Self> {
        let options = Options { login, ..Options::from(Ipv4Addr::LOCALHOST) };
        let stomp = Stomp::connect(address, options)?;
        Ok(Self { stage, stomp, awaited: BTreeMap::new(), subscriptions: BTreeMap::new() })
    }

    /// How many RECEIPTs have not come.
    pub(super) fn awaited(&self) -> usize {
        self.awaited.len()
    }

    /// Sends a message; the RECEIPT of one in a transaction is that of its COMMIT.
    pub(super) fn send(&mut self, outgoing: Outgoing<'_>) -> io::Result<()> {
        let Outgoing { message, to, bytes, durable, transaction, is_numbered } = outgoing;
        self.stage.record(Event::Send { message, to: to.to_owned(), durable, transaction });
        let mut header = format!("destination:{to}\n");
        if durable {
            header += "persistent:true\n";
        }
        if is_numbered {
            let MessageId { producer, number } = message;
            header += &format!("producer-id:{producer}\nproducer-seq:{number}\n");
        }
        header += &match transaction {
            Some(transaction) => format!("transaction:{transaction}\n"),
            None => self.receipt(vec![Event::Confirmed(message)]),
        };
        self.stomp.send("SEND", &header, &ledger::body(message.to_u64(), bytes))
    }

    pub(super) fn begin(&mut self) -> io::Result<u32> {
        let transaction = self.stage.number();
        self.stomp.send("BEGIN", &format!("transaction:{transaction}\n"), b"")?;
        Ok(transaction)
    }

    pub(super) fn commit(&mut self, transaction: u32) -> io::Result<()> {
        self.stage.record(Event::Commit(transaction));
        let receipt = self.receipt(vec![Event::Committed(transaction)]);
        self.stomp.send("COMMIT", &format!("transaction:{transaction}\n{receipt}"), b"")
    }

    pub(super) fn abort(&mut self, transaction: u32) -> io::Result<()> {
        self.stomp.send("ABORT", &format!("transaction:{transaction}\n"), b"")
    }

    /// Subscribes to a queue, or reads a durable subscription; confirmed when this returns.
    pub(super) fn subscribe(&mut self, queue: &str, more: &str) -> io::Result<()> {
        let number = self.stage.number();
        let id = number.to_string();
        self.stage.record(Event::Subscribe { subscription: number, queue: queue.to_owned() });
        let subscription = Subscription { number, queue: queue.to_owned() };
        self.subscriptions.insert(id.clone(), subscription);
        let (destination, name) = match Durable::of(queue) {
            Some(durable) => durable.target(),
            None => (queue, ""),
        };
        self.stomp.subscribe(&id, destination, &format!("{name}{more}"))
    }

    /// Acknowledges messages by one ACK, of the last of them.
    pub(super) fn acknowledge(
        &mut self,
        messages: &[Incoming],
        transaction: Option<u32>,
        wants_receipt: bool,
    ) -> io::Result<()> {
        let Some(last) = messages.last() else { return Ok(()) };
        for message in messages {
            self.stage.record(Event::Ack { delivery: message.delivery, transaction });
        }
        let mut header = format!("id:{}\n", last.ack);
        match transaction {
            Some(transaction) => header += &format!("transaction:{transaction}\n"),
            None if wants_receipt => {
                let settled = messages.iter().map(|message| Event::Settled(message.delivery));
                header += &self.receipt(settled.collect());
            }
            None => {}
        }
        self.stomp.send("ACK", &header, b"")
    }

    pub(super) fn refuse(&mut self, message: &Incoming, wants_receipt: bool) -> io::Result<()> {
        self.stage.record(Event::Nack(message.delivery));
        let mut header = format!("id:{}\n", message.ack);
        if wants_receipt {
            header += &self.receipt(vec![Event::Settled(message.delivery)]);
        }
        self.stomp.send("NACK", &header, b"")
    }

    /// The next message, or none in this time. RECEIPTs are written down meanwhile.
    pub(super) fn next(&mut self, timeout: Duration) -> io::Result<Option<Incoming>> {
        let end = Instant::now() + timeout;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Some(frame) = self.stomp.receive(left)? else { return Ok(None) };
            if !self.take_receipt(&frame) {
                return self.take_message(&frame).map(Some);
            }
        }
    }

    /// Waits for all RECEIPTs. No message comes here.
    pub(super) fn await_all(&mut self) -> io::Result<()> {
        while self.awaited() > 0 {
            self.next_receipt()?;
        }
        Ok(())
    }

    /// Waits for a RECEIPT, if one is awaited. No message comes here.
    pub(super) fn next_receipt(&mut self) -> io::Result<()> {
        if self.awaited.is_empty() {
            return Ok(());
        }
        let frame = self.stomp.receive(RESPONSE_MAX)?;
        let frame = frame.ok_or_else(|| io::Error::other("no RECEIPT came"))?;
        if self.take_receipt(&frame) { Ok(()) } else { Err(unexpected(&frame)) }
    }

    /// Looks at what is in a queue now. Returns how many messages there are.
    pub(super) fn browse(&mut self, queue: &str) -> io::Result<usize> {
        let browser = self.stage.number();
        self.stage.record(Event::Browse { browser, queue: queue.to_owned() });
        let header = format!("id:{browser}\ndestination:{queue}\nbrowser:true\n");
        self.stomp.send("SUBSCRIBE", &header, b"")?;
        for count in 0.. {
            let frame = self.stomp.receive(RESPONSE_MAX)?;
            let frame = frame.ok_or_else(|| io::Error::other("browsing has no end"))?;
            if frame.get("browser") == Some("end") {
                self.stomp.send("UNSUBSCRIBE", &format!("id:{browser}\n"), b"")?;
                return Ok(count);
            }
            let message = MessageId::from_u64(ledger::number(&frame.body)?);
            self.stage.record(Event::Seen { browser, message });
        }
        Ok(0)
    }

    /// Leaves, with messages that are not acknowledged: in good order, or without a word.
    pub(super) fn leave(mut self, lost: bool) -> io::Result<()> {
        for subscription in self.subscriptions.values() {
            self.stage.record(Event::Left { subscription: subscription.number, lost });
        }
        if lost {
            return Ok(());
        }
        let receipt = self.receipt(Vec::new());
        self.stomp.send("DISCONNECT", &receipt, b"")?;
        while !self.awaited.is_empty() {
            let frame = self.stomp.receive(RESPONSE_MAX)?;
            // What is delivered meanwhile is not looked at: it returns.
            self.take_receipt(&frame.ok_or_else(|| io::Error::other("no RECEIPT came"))?);
        }
        Ok(())
    }

    fn receipt(&mut self, events: Vec<Event>) -> String {
        let receipt = format!("r{}", self.stage.number());
        let header = format!("receipt:{receipt}\n");
        self.awaited.insert(receipt, events);
        header
    }

    fn take_receipt(&mut self, frame: &Frame) -> bool {
        if frame.command != "RECEIPT" {
            return false;
        }
        let events = frame.get("receipt-id").and_then(|receipt| self.awaited.remove(receipt));
        events.into_iter().flatten().for_each(|event| self.stage.record(event));
        true
    }

    fn take_message(&self, frame: &Frame) -> io::Result<Incoming> {
        let header = |name| frame.get(name).ok_or_else(|| unexpected(frame));
        let subscription = self.subscriptions.get(header("subscription")?);
        let subscription = subscription.ok_or_else(|| unexpected(frame))?;
        let queue = &subscription.queue;
        if let Some(source) = queue.strip_prefix("/queue/DLQ.")
            && frame.get("dlq-queue").and_then(queue_name).as_deref() != Some(source)
        {
            return Err(io::Error::other(format!("a dead letter of {queue} is none of it")));
        }
        let delivery = self.stage.number();
        let message = MessageId::from_u64(ledger::number(&frame.body)?);
        self.stage.record(Event::Got {
            delivery,
            message,
            from: queue.clone(),
            subscription: subscription.number,
            redelivered: frame.get("redelivered") == Some("true"),
        });
        Ok(Incoming { message, delivery, ack: header("ack")?.to_owned() })
    }
}

/// A destination by the name that its dead-letter queue has of it.
fn queue_name(destination: &str) -> Option<String> {
    let topic = |name| format!("topic.{name}");
    let queue = destination.strip_prefix("/queue/").map(str::to_owned);
    queue.or_else(|| destination.strip_prefix("/topic/").map(topic))
}

fn unexpected(frame: &Frame) -> io::Error {
    io::Error::other(format!("a frame that was not expected: {frame:?}"))
}
