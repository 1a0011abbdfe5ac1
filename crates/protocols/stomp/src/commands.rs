use std::{
    borrow::Cow,
    collections::{BTreeSet, VecDeque},
    mem,
    sync::Arc,
};

use bytes::Bytes;

use contract::{
    Command, Credit, Declare, Destination, DestinationKind, Ending, Mode, Outcome, Pattern,
    Selector, Sender, Settle, Settlement, Strings, Subscribe, SubscriptionId,
};

use crate::{
    Frame, Verb, Version,
    durable::Identity,
    fault::Fault,
    flow::Flow,
    message::SendHeaders,
    open::{Context, Open, give_credit},
    pending::Request,
    precedence,
    subscriptions::{AckId, AckMode, Acknowledged, Deliveries},
    transactions::LANE,
};

/// The frames of a client that is logged in.
impl Open {
    /// Carries out what a frame requests; its receipt comes when that is done.
    pub(crate) fn carry_out(
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
                self.transactions.begin(required(frame, "transaction")?, cx.limits)?;
                self.pending.done(Request::Local, receipt);
            }
            Verb::Commit => self.commit(required(frame, "transaction")?, receipt, cx)?,
            Verb::Abort => {
                self.abort(required(frame, "transaction")?, cx)?;
                self.pending.done(Request::Local, receipt);
            }
            Verb::Disconnect => {
                self.is_leaving = true;
                self.heartbeat.expect_nothing();
                self.pending.done(Request::Disconnect, receipt);
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
            Verb::Connected | Verb::Challenge | Verb::Message | Verb::Receipt | Verb::Error => {
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
        let sender = match (&self.identity, headers.user_id) {
            (None, None) => None,
            (_, claimed) => self.identity().sender(claimed)?,
        };
        let id = cx.out.message_id();
        let mut message =
            headers.message(body, cx.came_in, destination, reply_to, id, self.user(), cx.now)?;
        message.sender = sender;
        match transaction {
            Some(transaction) => {
                self.transactions.publish(transaction, message, cx)?;
                self.pending.done(Request::Local, receipt);
            }
            None => {
                let request = Request::Send(message.to.clone());
                let token = self.pending.publish(request, receipt, message.cost());
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
                 one for many replies",
                cx.limits.temporary_max
            )));
        }
        let real = self.temporaries.add(named.clone(), cx.out.random());
        let token = self.pending.wait(Request::Declare(named), None);
        cx.out.command(token, Command::Declare(Declare { destination: real.clone() }));
        Ok(real)
    }

    /// `None`: it did not log in.
    fn user(&self) -> Option<&str> {
        self.identity.as_ref()?.user.as_ref().map(Sender::name)
    }

    fn identity(&self) -> Cow<'_, Identity> {
        self.identity.as_deref().map_or_else(Cow::default, Cow::Borrowed)
    }

    fn subscribe(
        &mut self,
        frame: &Frame,
        receipt: Option<Box<str>>,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let destination = required(frame, "destination")?;
        let name = match self.version {
            Version::V1_0 => frame.header("id").unwrap_or(destination),
            Version::V1_1 | Version::V1_2 => required(frame, "id")?,
        };
        let (destination, options) = precedence::split(destination);
        let precedence = precedence::read(frame, options)?;
        let pattern = parse(destination, Pattern::parse)?;
        let ack_mode = self.ack_mode(frame)?;
        let mode = mode(frame, &pattern, ack_mode)?;
        let durable = self.identity().durable(frame, pattern.kind())?;
        // It is read as a queue is.
        let flow_kind = if durable.is_some() { DestinationKind::Queue } else { pattern.kind() };
        let Flow { credit, on_slow, rate } = Flow::read(frame, flow_kind, cx)?;
        let selector = selector(frame, self.strings)?;
        self.check_subscribe(name, cx)?;
        let pattern = match pattern.destination() {
            Some(named) if named.kind().is_temporary() => self.real(named.clone(), cx)?.into(),
            _ => pattern,
        };
        let browsed = pattern.destination().filter(|_| mode == Mode::Browse).cloned();
        let is_queue = flow_kind.is_queue();
        let (deliveries, settlement) = deliveries(is_queue, mode, ack_mode, credit.is_some());
        let prefetch = credit.unwrap_or_default();
        let id =
            self.subscriptions.add(name, self.version, ack_mode, prefetch, is_queue, deliveries);
        let token = self.pending.wait(Request::Subscribe(pattern.clone()), receipt);
        let subscribe = Subscribe {
            id,
            pattern,
            mode,
            settlement,
            credit,
            on_slow,
            rate,
            selector,
            durable,
            precedence,
        };
        cx.out.command(token, Command::Subscribe(Box::new(subscribe)));
        if let Some(queue) = browsed {
            let token = self.pending.wait(Request::Browse(id, queue), None);
            cx.out.command(token, Command::Drain(id));
        }
        Ok(())
    }

    /// Whether a subscription may begin: its name is free, and the connection may have one more.
    fn check_subscribe(&mut self, name: &str, cx: &Context<'_>) -> Result<(), Fault> {
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
        Ok(())
    }

    fn ack_mode(&self, frame: &Frame) -> Result<AckMode, Fault> {
        match frame.header("ack").unwrap_or("auto") {
            "auto" => Ok(AckMode::Auto),
            "client" => Ok(AckMode::Client),
            "client-individual" if self.version > Version::V1_0 => Ok(AckMode::Individual),
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
        let durable = self.identity().named(frame)?;
        let name = match (frame.header("id"), self.version) {
            (None, _) if durable.is_some() => frame.header("destination").unwrap_or_default(),
            (None, Version::V1_0) => required(frame, "destination")?,
            (None, Version::V1_1 | Version::V1_2) => required(frame, "id")?,
            (Some(id), _) => id,
        };
        match (self.subscriptions.named(self.version, name), durable) {
            (Some(subscription), durable) => {
                subscription.is_leaving = true;
                let id = subscription.id;
                let token = self.pending.wait(Request::Unsubscribe(id), receipt);
                let ending = if durable.is_some() { Ending::Delete } else { Ending::Suspend };
                cx.out.command(token, Command::Unsubscribe(id, ending));
            }
            (None, Some(durable)) => {
                let token = self.pending.wait(Request::Delete, receipt);
                cx.out.command(token, Command::Delete(durable));
            }
            (None, None) => return Err(unknown_subscription("UNSUBSCRIBE", name)),
        }
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
        let acknowledged = self.acknowledged(frame, transaction.is_some())?;
        let Some((subscription, acknowledged @ Acknowledged { count: 1.., .. })) = acknowledged
        else {
            self.pending.done(Request::Local, receipt);
            return Ok(());
        };
        let Acknowledged { ranges, count, credit, is_queue } = acknowledged;
        let settles = ranges.into_iter().map(|tags| Settle { subscription, tags, outcome });
        if let Some(transaction) = transaction {
            self.transactions.settle(transaction, settles, count, is_queue, cx)?;
            give_credit(subscription, credit, cx);
            self.pending.done(Request::Local, receipt);
            return Ok(());
        }
        // They are carried out in order, the last of them last.
        let mut settles = settles.peekable();
        while let Some(settle) = settles.next() {
            let receipt = if settles.peek().is_none() { receipt.take() } else { None };
            let reply =
                receipt.map(|receipt| self.pending.wait(Request::Acknowledge, Some(receipt)));
            cx.out.settle(settle, reply);
        }
        give_credit(subscription, credit, cx);
        Ok(())
    }

    /// What an ACK or NACK settles; `None` when the subscription ended while it was in flight, and
    /// with it the right to acknowledge its deliveries.
    fn acknowledged(
        &mut self,
        frame: &Frame,
        in_transaction: bool,
    ) -> Result<Option<(SubscriptionId, Acknowledged)>, Fault> {
        match self.version {
            Version::V1_2 => self.acknowledged_by_id(frame, in_transaction),
            Version::V1_0 | Version::V1_1 => {
                self.acknowledged_by_message(frame, in_transaction).map(Some)
            }
        }
    }

    /// STOMP 1.2: the header `id` repeats the `ack` of a MESSAGE.
    fn acknowledged_by_id(
        &mut self,
        frame: &Frame,
        in_transaction: bool,
    ) -> Result<Option<(SubscriptionId, Acknowledged)>, Fault> {
        let ack = required(frame, "id")?;
        let unknown = || {
            let verb = frame.verb.as_str();
            Fault::malformed(
                "unknown message",
                format!(
                    "{verb} of {ack:?}: no message with this ack header waits for it, or it was \
                     acknowledged already"
                ),
            )
        };
        let (id, number) = ack
            .split_once('-')
            .and_then(|(id, number)| Some((SubscriptionId(id.parse().ok()?), number.parse().ok()?)))
            .ok_or_else(unknown)?;
        let Some(subscription) = self.subscriptions.get_mut(id) else {
            return if self.subscriptions.existed(id) { Ok(None) } else { Err(unknown()) };
        };
        let acknowledged = subscription.acknowledge(AckId::Number(number), in_transaction);
        Ok(Some((id, acknowledged.ok_or_else(unknown)?)))
    }

    /// STOMP 1.0 and 1.1: the header `message-id`, and since 1.1 `subscription`.
    fn acknowledged_by_message(
        &mut self,
        frame: &Frame,
        in_transaction: bool,
    ) -> Result<(SubscriptionId, Acknowledged), Fault> {
        let verb = frame.verb.as_str();
        let message = required(frame, "message-id")?;
        let unknown = || {
            Fault::malformed(
                "unknown message",
                format!(
                    "{verb} of {message:?}: no message with this message-id waits for it on this \
                     subscription, or it was acknowledged already"
                ),
            )
        };
        let id = AckId::Message(u128::from_str_radix(message, 16).map_err(|_| unknown())?);
        let name = match (frame.header("subscription"), self.version) {
            (None, Version::V1_1 | Version::V1_2) => Some(required(frame, "subscription")?),
            (name, _) => name,
        };
        if let Some(name) = name {
            let subscription = self
                .subscriptions
                .named(self.version, name)
                .ok_or_else(|| unknown_subscription(verb, name))?;
            let acknowledged = subscription.acknowledge(id, in_transaction).ok_or_else(unknown)?;
            return Ok((subscription.id, acknowledged));
        }
        // Of a topic without credit none is remembered, so that any message may be one of them.
        for remembers in [true, false] {
            for one in self.subscriptions.iter_mut().filter(|one| one.remembers() == remembers) {
                if let Some(acknowledged) = one.acknowledge(id, in_transaction) {
                    return Ok((one.id, acknowledged));
                }
            }
        }
        Err(unknown())
    }

    fn commit(
        &mut self,
        name: &str,
        receipt: Option<Box<str>>,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let transaction = self.transactions.end(name)?;
        for settle in transaction.settles() {
            if let Some(subscription) = self.subscriptions.get_mut(settle.subscription) {
                subscription.forget(&settle.tags);
            }
        }
        if transaction.operations.is_empty() {
            self.pending.done(Request::Local, receipt);
            return Ok(());
        }
        let request = Request::Commit(name.into());
        let token = self.pending.publish(request, receipt, transaction.bytes);
        cx.out.command(token, Command::Transact(LANE, transaction.operations));
        Ok(())
    }

    /// The deliveries that the transaction was to settle count for `prefetch` again.
    fn abort(&mut self, name: &str, cx: &mut Context<'_>) -> Result<(), Fault> {
        let transaction = self.transactions.end(name)?;
        let mut touched = BTreeSet::new();
        for settle in transaction.settles() {
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

fn required<'f>(frame: &'f Frame, header: &str) -> Result<&'f str, Fault> {
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
fn mode(frame: &Frame, pattern: &Pattern, ack_mode: AckMode) -> Result<Mode, Fault> {
    let detail = match frame.header("browser") {
        None | Some("false") => return Ok(Mode::Consume),
        Some("true") if !pattern.kind().is_queue() => "only queues can be browsed",
        Some("true") if ack_mode != AckMode::Auto => {
            "a browser takes nothing that could be acknowledged: ack must be auto"
        }
        Some("true") => return Ok(Mode::Browse),
        Some(_) => "browser must be true or false",
    };
    Err(Fault::malformed("bad browser", detail))
}

/// The header `selector`; an empty one selects all. ActiveMQ's prefixes say of it alone what strings count
/// as.
fn selector(frame: &Frame, strings: Strings) -> Result<Option<Arc<Selector>>, Fault> {
    let text = frame.header("selector").unwrap_or_default();
    let prefixed = |(prefix, strings)| Some((text.strip_prefix(prefix)?, strings));
    let (text, strings) = PREFIXES.into_iter().find_map(prefixed).unwrap_or((text, strings));
    if text.trim().is_empty() {
        return Ok(None);
    }
    match Selector::parse(text, strings) {
        Ok(selector) => Ok(Some(Arc::new(selector))),
        Err(error) => Err(Fault::malformed("bad selector", format!("selector, {error}"))),
    }
}

/// What a subscription keeps of its deliveries, and when they are settled.
const fn deliveries(
    is_queue: bool,
    mode: Mode,
    ack_mode: AckMode,
    has_credit: bool,
) -> (Deliveries, Settlement) {
    match ack_mode {
        AckMode::Auto if !is_queue => (Deliveries::Topic { count: 0 }, Settlement::Automatic),
        _ if !has_credit => (Deliveries::Topic { count: 0 }, Settlement::Automatic),
        _ if matches!(mode, Mode::Browse) => {
            (Deliveries::Browse { count: 0 }, Settlement::Automatic)
        }
        AckMode::Auto => (Deliveries::Automatic { count: 0 }, Settlement::Automatic),
        AckMode::Client | AckMode::Individual => {
            let deliveries = Deliveries::Unacked { list: VecDeque::new(), in_transactions: 0 };
            (deliveries, Settlement::Explicit)
        }
    }
}

const PREFIXES: [(&str, Strings); 2] = [
    ("convert_string_expressions:", Strings::Coerced),
    ("no_convert_string_expressions:", Strings::Strict),
];

fn unknown_subscription(verb: &str, name: &str) -> Fault {
    Fault::malformed(
        "unknown subscription",
        format!("{verb}: this connection has no subscription with the id {name:?}"),
    )
}
