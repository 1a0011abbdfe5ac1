use std::{
    collections::{BTreeSet, VecDeque},
    mem,
    sync::Arc,
};

use bytes::Bytes;

use contract::{
    Command, Credit, Declare, Destination, Mode, Operation, Outcome, Pattern, Settle, Settlement,
    Subscribe, SubscriptionId,
};

use crate::{
    Frame, Verb, Version,
    fault::Fault,
    message::SendHeaders,
    open::{Context, Open, give_credit},
    pending::What,
    subscriptions::{Acknowledgement, Deliveries, Taken, Which},
    transactions::LANE,
};

/// The frames of a client that is logged in.
impl Open {
    /// Works on a frame; its receipt comes when what it asks for is done.
    pub(crate) fn command(
        &mut self,
        mut frame: Frame,
        receipt: Option<Box<str>>,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let body = mem::take(&mut frame.body);
        let frame = &frame;
        match frame.verb {
            Verb::Send => self.send(frame, body, receipt, cx)?,
            Verb::Subscribe => self.subscribe(frame, receipt, cx)?,
            Verb::Unsubscribe => self.unsubscribe(frame, receipt, cx)?,
            Verb::Ack => {
                self.acknowledge(frame, Outcome::Accepted, receipt, cx)?;
            }
            Verb::Nack if self.version > Version::V1_0 => {
                self.acknowledge(frame, Outcome::Failed, receipt, cx)?;
            }
            Verb::Begin => {
                self.transactions.begin(needed(frame, "transaction")?, cx.limits)?;
                self.pending.done(What::Frame, receipt);
            }
            Verb::Commit => self.commit(needed(frame, "transaction")?, receipt, cx)?,
            Verb::Abort => {
                self.abort(needed(frame, "transaction")?, cx)?;
                self.pending.done(What::Frame, receipt);
            }
            Verb::Disconnect => {
                self.is_leaving = true;
                self.heartbeat.expect_nothing();
                self.pending.done(What::Disconnect, receipt);
            }
            Verb::Connect | Verb::Stomp => {
                return Err(Fault::malformed(
                    "already connected",
                    "a connection takes one CONNECT or STOMP frame: open another connection",
                ));
            }
            Verb::Nack => {
                return Err(Fault::malformed(
                    "unknown command",
                    "STOMP 1.0 has no NACK: ask for a newer version with accept-version",
                ));
            }
            Verb::Connected | Verb::Message | Verb::Receipt | Verb::Error => {
                return Err(Fault::malformed(
                    "unknown command",
                    format!("{} is sent by servers only", frame.verb.as_str()),
                ));
            }
        }
        Ok(())
    }

    fn send(
        &mut self,
        frame: &Frame,
        body: Bytes,
        receipt: Option<Box<str>>,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let headers = SendHeaders::read(frame);
        let named = headers.destination.ok_or_else(|| missing(frame.verb, "destination"))?;
        let named = match &self.last_sent_to {
            Some(last) if last.is_written(named) => Destination::clone(last),
            _ => {
                let parsed = parse(named, Destination::parse)?;
                self.last_sent_to = Some(Box::new(parsed.clone()));
                parsed
            }
        };
        let destination = if named.kind().is_temporary() {
            self.temporaries.resolve(&named).ok_or_else(|| unknown_temporary(&named))?
        } else {
            named
        };
        let transaction = headers.transaction;
        if let Some(transaction) = transaction {
            self.transactions.check(transaction)?;
        }
        let reply_to = match headers.reply_to {
            None => None,
            Some(text) => Some(self.real(parse(text, Destination::parse)?, cx)?),
        };
        let id = cx.out.message_id();
        let message = headers.message(body, destination, reply_to, id, cx.now)?;
        match transaction {
            Some(transaction) => {
                self.transactions.publish(transaction, message, cx)?;
                self.pending.done(What::Frame, receipt);
            }
            None => {
                let what = What::Send(message.to.clone());
                let token = self.pending.request(what, receipt);
                cx.out.command(token, Command::Publish(LANE, Arc::new(message)));
            }
        }
        Ok(())
    }

    /// The real destination of what the client names, made when it is a new temporary one.
    fn real(&mut self, named: Destination, cx: &mut Context<'_>) -> Result<Destination, Fault> {
        if !named.kind().is_temporary() {
            return Ok(named);
        }
        if let Some(real) = self.temporaries.resolve(&named) {
            return Ok(real);
        }
        if self.temporaries.len() >= cx.limits.temporary_max {
            return Err(Fault::limit(format!(
                "a connection may have at most {} temporary destinations (limits.temporary-max): use \
                 one for many answers",
                cx.limits.temporary_max
            )));
        }
        let real = self.temporaries.add(named.clone(), cx.out.random());
        let token = self.pending.request(What::Declare(named), None);
        cx.out.command(token, Command::Declare(Declare { destination: real.clone() }));
        Ok(real)
    }

    fn subscribe(
        &mut self,
        frame: &Frame,
        receipt: Option<Box<str>>,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let destination = needed(frame, "destination")?;
        let name = match self.version {
            Version::V1_0 => frame.header("id").unwrap_or(destination),
            Version::V1_1 | Version::V1_2 => needed(frame, "id")?,
        };
        let pattern = parse(destination, Pattern::parse)?;
        let acknowledgement = self.acknowledgement(frame)?;
        let mode = mode(frame, &pattern, acknowledgement)?;
        let prefetch = prefetch(frame, cx)?;
        if let Some((header, why)) = UNSUPPORTED.iter().find(|(h, _)| frame.header(h).is_some()) {
            return Err(Fault::malformed(
                "not supported",
                format!("the header {header} is not supported: {why}"),
            ));
        }
        if self.subscriptions.named(self.version, name).is_some() {
            return Err(Fault::malformed(
                "subscription exists",
                format!("this connection has a subscription with the id {name:?} already"),
            ));
        }
        if self.subscriptions.len() >= cx.limits.subscriptions_max {
            return Err(Fault::limit(format!(
                "a connection may have at most {} subscriptions (limits.subscriptions-max): use a \
                 wildcard, or end one first",
                cx.limits.subscriptions_max
            )));
        }
        let pattern = match pattern.destination() {
            Some(named) if named.kind().is_temporary() => self.real(named.clone(), cx)?.into(),
            _ => pattern,
        };
        let is_queue = pattern.kind().is_queue();
        let browsed = pattern.destination().filter(|_| mode == Mode::Browse).cloned();
        let version = self.version;
        let (deliveries, settlement) = match acknowledgement {
            _ if !is_queue => (Deliveries::Topic { count: 0 }, Settlement::Automatic),
            _ if mode == Mode::Browse => {
                (Deliveries::Browse { count: 0, stalled: None }, Settlement::Automatic)
            }
            Acknowledgement::Auto => (Deliveries::Automatic { count: 0 }, Settlement::Automatic),
            Acknowledgement::Client | Acknowledgement::Individual => {
                let deliveries = Deliveries::Unacked { list: VecDeque::new(), in_transactions: 0 };
                (deliveries, Settlement::Explicit)
            }
        };
        let id = self.subscriptions.add(name, version, acknowledgement, prefetch, deliveries);
        let token = self.pending.request(What::Subscribe(pattern.clone()), receipt);
        let subscribe = Subscribe { id, pattern, mode, settlement, credit: prefetch };
        cx.out.command(token, Command::Subscribe(Box::new(subscribe)));
        if let Some(queue) = browsed {
            let token = self.pending.request(What::Browse(id, queue), None);
            cx.out.command(token, Command::Drain(id));
        }
        Ok(())
    }

    fn acknowledgement(&self, frame: &Frame) -> Result<Acknowledgement, Fault> {
        match frame.header("ack").unwrap_or("auto") {
            "auto" => Ok(Acknowledgement::Auto),
            "client" => Ok(Acknowledgement::Client),
            "client-individual" if self.version > Version::V1_0 => Ok(Acknowledgement::Individual),
            _ => Err(Fault::malformed(
                "bad ack",
                "ack must be auto, client or, since STOMP 1.1, client-individual",
            )),
        }
    }

    fn unsubscribe(
        &mut self,
        frame: &Frame,
        receipt: Option<Box<str>>,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let name = match (frame.header("id"), self.version) {
            (None, Version::V1_0) => needed(frame, "destination")?,
            (None, Version::V1_1 | Version::V1_2) => needed(frame, "id")?,
            (Some(id), _) => id,
        };
        let subscription = self
            .subscriptions
            .named(self.version, name)
            .ok_or_else(|| unknown_subscription("UNSUBSCRIBE", name))?;
        subscription.is_leaving = true;
        let id = subscription.id;
        let token = self.pending.request(What::Unsubscribe(id), receipt);
        cx.out.command(token, Command::Unsubscribe(id));
        Ok(())
    }

    fn acknowledge(
        &mut self,
        frame: &Frame,
        outcome: Outcome,
        mut receipt: Option<Box<str>>,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let transaction = frame.header("transaction");
        if let Some(transaction) = transaction {
            self.transactions.check(transaction)?;
        }
        let (subscription, taken) = match self.take(frame, transaction.is_some())? {
            Some((subscription, taken)) if taken.count > 0 => (subscription, taken),
            Some(_) | None => {
                self.pending.done(What::Frame, receipt);
                return Ok(());
            }
        };
        let settles = taken.ranges.into_iter().map(|tags| Settle { subscription, tags, outcome });
        if let Some(transaction) = transaction {
            self.transactions.settle(transaction, settles, taken.count, cx)?;
            give_credit(subscription, taken.credit, cx);
            self.pending.done(What::Frame, receipt);
            return Ok(());
        }
        // They are carried out in order, the last of them last.
        let mut settles = settles.peekable();
        while let Some(settle) = settles.next() {
            let receipt = if settles.peek().is_none() { receipt.take() } else { None };
            let answer =
                receipt.map(|receipt| self.pending.request(What::Acknowledge, Some(receipt)));
            cx.out.settle(settle, answer);
        }
        give_credit(subscription, taken.credit, cx);
        Ok(())
    }

    /// Takes the deliveries that an ACK or NACK is about; `None` when their subscription ended
    /// while it was on its way, and with it the right to acknowledge them.
    fn take(
        &mut self,
        frame: &Frame,
        in_transaction: bool,
    ) -> Result<Option<(SubscriptionId, Taken)>, Fault> {
        let verb = frame.verb.as_str();
        if self.version == Version::V1_2 {
            let ack = needed(frame, "id")?;
            let unknown = || {
                Fault::malformed(
                    "unknown message",
                    format!(
                        "{verb} of {ack:?}: no message with this ack header waits for it, or it \
                         was acknowledged already"
                    ),
                )
            };
            let (id, number) = ack
                .split_once('-')
                .and_then(|(id, number)| {
                    Some((SubscriptionId(id.parse().ok()?), number.parse().ok()?))
                })
                .ok_or_else(unknown)?;
            let Some(subscription) = self.subscriptions.get_mut(id) else {
                return if self.subscriptions.existed(id) { Ok(None) } else { Err(unknown()) };
            };
            let tags =
                subscription.take(Which::Number(number), in_transaction).ok_or_else(unknown)?;
            return Ok(Some((id, tags)));
        }
        let message = needed(frame, "message-id")?;
        let unknown = || {
            Fault::malformed(
                "unknown message",
                format!(
                    "{verb} of {message:?}: no message with this message-id waits for it on this \
                     subscription, or it was acknowledged already"
                ),
            )
        };
        let which = Which::Message(u128::from_str_radix(message, 16).map_err(|_| unknown())?);
        let name = match (frame.header("subscription"), self.version) {
            (None, Version::V1_1 | Version::V1_2) => Some(needed(frame, "subscription")?),
            (name, _) => name,
        };
        match name {
            Some(name) => {
                let subscription = self
                    .subscriptions
                    .named(self.version, name)
                    .ok_or_else(|| unknown_subscription(verb, name))?;
                let tags = subscription.take(which, in_transaction).ok_or_else(unknown)?;
                Ok(Some((subscription.id, tags)))
            }
            // A topic's deliveries are not remembered, so that any message may be one of them.
            None => [true, false]
                .into_iter()
                .find_map(|is_queue| {
                    let mut some =
                        self.subscriptions.iter_mut().filter(|s| s.is_queue() == is_queue);
                    some.find_map(|one| Some((one.id, one.take(which, in_transaction)?)))
                })
                .map(Some)
                .ok_or_else(unknown),
        }
    }

    fn commit(
        &mut self,
        name: &str,
        receipt: Option<Box<str>>,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let operations = self.transactions.end(name)?;
        if operations.is_empty() {
            self.pending.done(What::Frame, receipt);
            return Ok(());
        }
        let settled: Vec<Settle> = settles(&operations).collect();
        let token = self.pending.request(What::Commit(name.into()), receipt);
        cx.out.command(token, Command::Transact(LANE, operations));
        for settle in settled {
            if let Some(subscription) = self.subscriptions.get_mut(settle.subscription) {
                subscription.forget(&settle.tags);
            }
        }
        Ok(())
    }

    /// The deliveries that the transaction was to settle count for `prefetch` again.
    fn abort(&mut self, name: &str, cx: &mut Context<'_>) -> Result<(), Fault> {
        let operations = self.transactions.end(name)?;
        let mut touched = BTreeSet::new();
        for settle in settles(&operations) {
            if let Some(subscription) = self.subscriptions.get_mut(settle.subscription) {
                subscription.give_back(&settle.tags);
                touched.insert(settle.subscription);
            }
        }
        for id in touched {
            if let Some(subscription) = self.subscriptions.get_mut(id) {
                let room = u32::try_from(subscription.room()).unwrap_or(u32::MAX);
                cx.out.credit(id, Credit::Set(room));
            }
        }
        Ok(())
    }
}

fn needed<'f>(frame: &'f Frame, header: &str) -> Result<&'f str, Fault> {
    frame.header(header).ok_or_else(|| missing(frame.verb, header))
}

fn missing(verb: Verb, header: &str) -> Fault {
    Fault::malformed("missing header", format!("{} needs the header {header}", verb.as_str()))
}

fn unknown_temporary(named: &Destination) -> Fault {
    Fault::malformed(
        "no such destination",
        format!(
            "this connection has no {named}: subscribe to it or name it in reply-to first; the one \
             of another connection is named as in its reply-to"
        ),
    )
}

fn parse<T>(
    text: &str,
    parse: impl Fn(&str) -> Result<T, contract::DestinationError>,
) -> Result<T, Fault> {
    parse(text).map_err(|error| Fault::malformed("bad destination", format!("{text:?}: {error}")))
}

/// What `browser`, a header of ActiveMQ's, says.
fn mode(frame: &Frame, pattern: &Pattern, acknowledgement: Acknowledgement) -> Result<Mode, Fault> {
    let detail = match frame.header("browser") {
        None | Some("false") => return Ok(Mode::Consume),
        Some("true") if !pattern.kind().is_queue() => "only queues can be browsed",
        Some("true") if acknowledgement != Acknowledgement::Auto => {
            "a browser takes nothing that could be acknowledged: ack must be auto"
        }
        Some("true") => return Ok(Mode::Browse),
        Some(_) => "browser must be true or false",
    };
    Err(Fault::malformed("bad browser", detail))
}

fn prefetch(frame: &Frame, cx: &Context<'_>) -> Result<u32, Fault> {
    let max = cx.limits.prefetch_max;
    let given = PREFETCH.iter().find_map(|name| Some((*name, frame.header(name)?)));
    let Some((name, text)) = given else {
        return Ok(cx.protocol_limits.prefetch_default.min(max).max(1));
    };
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return Err(Fault::malformed(
            "bad prefetch",
            format!("{name} must be a number of messages"),
        ));
    }
    Ok(text.parse().unwrap_or(u32::MAX).min(max).max(1))
}

fn settles(operations: &[Operation]) -> impl Iterator<Item = Settle> {
    operations.iter().filter_map(|operation| match operation {
        Operation::Settle(settle) => Some(settle.clone()),
        Operation::Publish(_) => None,
    })
}

fn unknown_subscription(verb: &str, name: &str) -> Fault {
    Fault::malformed(
        "unknown subscription",
        format!("{verb}: this connection has no subscription with the id {name:?}"),
    )
}

/// How many messages of a queue may be under way: ours, ActiveMQ's and RabbitMQ's spelling.
const PREFETCH: [&str; 3] = ["prefetch", "activemq.prefetchSize", "prefetch-count"];

/// Headers of SUBSCRIBE that change what is delivered; to ignore them would be to lie.
const UNSUPPORTED: [(&str, &str); 3] = [
    ("selector", "subscribe to fewer destinations instead"),
    ("activemq.subscriptionName", "subscriptions end with their connection; use a queue"),
    ("durable-subscription-name", "subscriptions end with their connection; use a queue"),
];
