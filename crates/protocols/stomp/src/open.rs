use std::mem;

use contract::{
    ClientRules, Command, ConnectionLimits, Credit, Delivery, Destination, Kind, Message, Now,
    Outbox, ProtocolLimits, Reason, Refusal, SendBuffer, Strings, SubscriptionId, Token,
};

use crate::{
    Frame, FrameLimits, Verb, Version,
    durable::Identity,
    encode::Writer,
    fault::{End, Fault},
    heartbeat::Heartbeat,
    message,
    pending::{Pending, Request},
    subscriptions::{AckMode, Deliveries, Subscription, Subscriptions},
    temporaries::Temporaries,
    transactions::Transactions,
};

/// What a handler works with.
pub(crate) struct Context<'a> {
    pub(crate) limits: &'a ConnectionLimits,
    pub(crate) protocol_limits: &'a ProtocolLimits,
    pub(crate) client_rules: ClientRules,
    /// What the transport prefers to carry.
    pub(crate) kind: Kind,
    /// What the bytes came in that are worked on.
    pub(crate) came_in: Kind,
    pub(crate) now: Now,
    pub(crate) out: &'a mut dyn Outbox,
    /// Whether anything was sent, which stands for a heart-beat.
    pub(crate) sent: bool,
}

impl Context<'_> {
    pub(crate) const fn frame_limits(&self) -> FrameLimits {
        FrameLimits::new(self.limits, self.protocol_limits)
    }

    pub(crate) fn send(&mut self, encode: impl Fn(&mut Vec<u8>)) {
        self.sent = true;
        self.out.send(self.kind, &mut |to| encode(to.own_mut()));
    }
}

/// A client that is logged in.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) version: Version,
    /// What strings count as in selectors.
    pub(crate) strings: Strings,
    /// DISCONNECT was received; what follows it is ignored.
    pub(crate) is_leaving: bool,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) identity: Option<Box<Identity>>,
    pub(crate) pending: Pending,
    pub(crate) subscriptions: Subscriptions,
    /// Where the last message was sent: most often the next one goes there too.
    pub(crate) last_sent_to: Option<Box<Destination>>,
    pub(crate) temporaries: Temporaries,
    pub(crate) transactions: Transactions,
}

impl Open {
    pub(crate) fn new(
        version: Version,
        strings: Strings,
        heartbeat: Heartbeat,
        identity: Option<Box<Identity>>,
        token_next: u64,
    ) -> Self {
        Self {
            version,
            strings,
            is_leaving: false,
            heartbeat,
            identity,
            pending: Pending::new(token_next),
            subscriptions: Subscriptions::default(),
            last_sent_to: None,
            temporaries: Temporaries::default(),
            transactions: Transactions::default(),
        }
    }

    pub(crate) fn deadline(&self) -> Option<u64> {
        self.heartbeat.deadline()
    }

    /// Works on a frame from the client.
    pub(crate) fn handle_frame(&mut self, frame: Frame, cx: &mut Context<'_>) -> Result<(), End> {
        let receipt = frame.header("receipt").map(Box::<str>::from);
        self.carry_out(frame, receipt.clone(), cx)
            .map_err(|fault| fault.with_receipt(receipt.as_deref()))?;
        self.flush(cx)
    }

    /// Works on the broker's reply.
    pub(crate) fn replied(
        &mut self,
        token: Token,
        refusal: Option<Refusal>,
        cx: &mut Context<'_>,
    ) -> Result<(), End> {
        let Some(entry) = self.pending.replied(token) else { return Ok(()) };
        if let Some(refusal) = refusal
            && !is_late_reply(&entry.request, refusal)
        {
            let fault = Fault::refused(&entry.describe(), refusal);
            return Err(fault.with_receipt(entry.receipt.as_deref()).into());
        }
        match &entry.request {
            Request::Unsubscribe(id) => drop(self.subscriptions.remove(*id)),
            Request::Browse(id, queue) => {
                let (id, queue) = (*id, queue.clone());
                self.browsed(id, queue, cx);
            }
            Request::Local
            | Request::Send(_)
            | Request::Subscribe(_)
            | Request::Delete
            | Request::Declare(_)
            | Request::Acknowledge
            | Request::Commit(_)
            | Request::Disconnect => {}
        }
        self.flush(cx)
    }

    /// Sends the receipts that are due.
    fn flush(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        while let Some(entry) = self.pending.pop_done() {
            if let Some(receipt) = &entry.receipt {
                cx.send(|to| {
                    let mut writer = Writer::begin(to, self.version, Verb::Receipt);
                    writer.header("receipt-id", receipt);
                    writer.body(&[]);
                });
            }
            if matches!(entry.request, Request::Disconnect) {
                return Err(End::Normal);
            }
        }
        Ok(())
    }

    /// Sends a message to the client.
    pub(crate) fn delivered(
        &mut self,
        id: SubscriptionId,
        delivery: &Delivery,
        cx: &mut Context<'_>,
    ) {
        let Some(subscription) = self.subscriptions.get_mut(id) else { return };
        let version = self.version;
        let kind = kind(&delivery.message, cx.kind);
        if subscription.ack_mode == AckMode::Auto {
            let start = subscription.start();
            let mut encode =
                |to: &mut SendBuffer| message::encode(to, version, start, delivery, None);
            // What is told to this subscription alone is in no frame that others share.
            if delivery.redeliveries == 0 && delivery.dropped == 0 {
                cx.out.send_shared(kind, &delivery.message, subscription.header(), &mut encode);
            } else {
                cx.out.send(kind, &mut encode);
            }
            cx.sent = true;
            subscription.count();
            return self.restore_credit(id, cx);
        }
        let number = match delivery.tag {
            Some(_) if subscription.is_leaving => return,
            Some(tag) => {
                subscription.remember(tag, delivery.message.id);
                tag.0
            }
            None => subscription.count(),
        };
        let ack = (version == Version::V1_2).then_some((id, number));
        let start = subscription.start();
        cx.out.send(kind, &mut |to| message::encode(to, version, start, delivery, ack));
        cx.sent = true;
    }

    /// Gives credit back for what was delivered: the broker delivers no faster than the client reads.
    fn restore_credit(&mut self, id: SubscriptionId, cx: &mut Context<'_>) {
        let subscription = self.subscriptions.get_mut(id);
        let Some(used) = subscription.and_then(Subscription::used_credit) else { return };
        let count = usize::try_from(mem::take(used)).unwrap_or(usize::MAX);
        give_credit(id, count, cx);
    }

    /// What a browser had credit for has come. If it used all of it there may be more.
    fn browsed(&mut self, id: SubscriptionId, queue: Destination, cx: &mut Context<'_>) {
        let version = self.version;
        let Some(subscription) = self.subscriptions.get_mut(id).filter(|one| !one.is_leaving)
        else {
            return;
        };
        let prefetch = subscription.prefetch;
        let Deliveries::Browse { count } = &mut subscription.deliveries else { return };
        if *count < u64::from(prefetch) {
            let start = subscription.start();
            cx.send(|to| message::encode_browse_end(to, version, start, &queue));
        } else {
            *count = 0;
            cx.out.credit(id, Credit::Add(prefetch));
            let token = self.pending.wait(Request::Browse(id, queue), None);
            cx.out.command(token, Command::Drain(id));
        }
    }

    /// The gateway has ended a subscription.
    pub(crate) fn cancelled(&mut self, id: SubscriptionId, refusal: Refusal) -> Result<(), End> {
        match self.subscriptions.remove(id) {
            // The client has given it up already.
            Some(subscription) if subscription.is_leaving => Ok(()),
            None => Ok(()),
            Some(subscription) => {
                // As escaped as the client has it in its MESSAGE frames.
                let start = String::from_utf8_lossy(subscription.start());
                let name = start.trim_end().split_once(':').map_or("", |(_, name)| name);
                let what = format!("the subscription {name:?} was ended");
                Err(Fault::refused(&what, refusal).into())
            }
        }
    }

    pub(crate) fn timed_out(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        if self.heartbeat.receive_due(cx.now) {
            if !self.pending.is_waiting() {
                return Err(Fault::new(
                    Reason::Idle,
                    "no heart-beat",
                    "nothing came for twice the heart-beat interval that was agreed on",
                )
                .into());
            }
            // A destination or the store is full, so that nothing is read: the silence is not the
            // client's.
            self.heartbeat.received(cx.now);
        }
        if self.heartbeat.send_due(cx.now) {
            self.heartbeat.sent(cx.now);
            if cx.out.backlog() == 0 {
                cx.send(|to| to.push(b'\n'));
            }
        }
        Ok(())
    }
}

/// What is sent to the temporary destination of a client that has gone is dropped: an ERROR would
/// end the connection of the service that replies to many.
fn is_late_reply(request: &Request, refusal: Refusal) -> bool {
    matches!(request, Request::Send(to) if to.kind().is_temporary()) && refusal == Refusal::NotFound
}

pub(crate) fn give_credit(subscription: SubscriptionId, count: usize, cx: &mut Context<'_>) {
    if count > 0 {
        cx.out.credit(subscription, Credit::Add(u32::try_from(count).unwrap_or(u32::MAX)));
    }
}

/// A WebSocket's text message cannot carry a body that is not UTF-8.
fn kind(message: &Message, preferred: Kind) -> Kind {
    if preferred == Kind::Text && !message.body().is_utf8() { Kind::Binary } else { preferred }
}
