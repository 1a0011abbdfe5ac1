use std::{collections::BTreeMap, mem};

use amqp_types::Writer;
use contract::{
    Command, ConnectionLimits, Ending, Kind, Now, Outbox, ProtocolLimits, Reason, Refusal,
};

use crate::{
    codes,
    coordinator::Transactions,
    error::{AmqpError, End, ILLEGAL_STATE, NOT_IMPLEMENTED, RESOURCE_LIMIT_EXCEEDED},
    frame,
    identity::Identity,
    idle::Idle,
    link::{Link, LinkEnd, LinkId, LinkState},
    pending::{Pending, Request},
    performative::{Begin, Channel, FrameType, Performative, Role},
    session::{Session, SessionId, WINDOW},
    temporaries::Temporaries,
};

/// What a handler works with.
pub(crate) struct Context<'a> {
    pub(crate) limits: &'a ConnectionLimits,
    pub(crate) protocol_limits: &'a ProtocolLimits,
    /// What the transport carries.
    pub(crate) kind: Kind,
    pub(crate) now: Now,
    pub(crate) out: &'a mut dyn Outbox,
    /// Whether anything was sent, which keeps the connection alive.
    pub(crate) sent: bool,
}

impl Context<'_> {
    /// Sends a frame that has nothing but a performative.
    pub(crate) fn send(&mut self, channel: Channel, write: impl Fn(&mut Writer<'_>)) {
        self.send_frame(FrameType::Amqp, channel, write);
    }

    pub(crate) fn send_frame(
        &mut self,
        frame_type: FrameType,
        channel: Channel,
        write: impl Fn(&mut Writer<'_>),
    ) {
        self.sent = true;
        self.out.send(frame::sent_as(self.kind), &mut |to| {
            frame::append(to, frame_type, channel, |to| write(&mut Writer::new(to.own_mut())));
        });
    }
}

/// A connection that is open.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) identity: Identity,
    pub(crate) idle: Idle,
    /// The largest frame that the peer takes.
    pub(crate) frame_bytes_max: usize,
    /// The highest number of a session that the peer has room for.
    channel_max: Channel,
    pub(crate) sessions: BTreeMap<Channel, Session>,
    pub(crate) links: BTreeMap<LinkId, Link>,
    pub(crate) next_link: u32,
    next_session: u32,
    /// Links on which messages come.
    pub(crate) producers: u32,
    /// What these have of [`crate::link::Incoming::used`], all together.
    pub(crate) credit_used: u32,
    pub(crate) temporaries: Temporaries,
    /// Bytes of messages that have come in part.
    pub(crate) assembled_bytes: usize,
    /// Bytes that have come of them, wrapping.
    pub(crate) assembled_total: u32,
    pub(crate) pending: Pending,
    pub(crate) transactions: Transactions,
    /// The [`crate::link::Outgoing::kept_bytes`] of all links.
    pub(crate) kept_bytes: usize,
}

impl Open {
    pub(crate) fn new(
        identity: Identity,
        idle: Idle,
        (frame_bytes_max, channel_max): (usize, Channel),
        token_next: u64,
    ) -> Self {
        Self {
            identity,
            idle,
            frame_bytes_max,
            channel_max,
            sessions: BTreeMap::new(),
            links: BTreeMap::new(),
            next_link: 0,
            next_session: 0,
            producers: 0,
            credit_used: 0,
            temporaries: Temporaries::default(),
            assembled_bytes: 0,
            assembled_total: 0,
            pending: Pending::new(token_next),
            transactions: Transactions::default(),
            kept_bytes: 0,
        }
    }

    /// Works on a frame that is not empty.
    pub(crate) fn handle_frame(
        &mut self,
        channel: Channel,
        body: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<(), End> {
        let performative = Performative::read(body)?;
        match self.carry_out(channel, performative, cx) {
            Err(End::Session(error)) => {
                self.end_session(channel, Some(&error), cx);
                Ok(())
            }
            other => other,
        }
    }

    fn carry_out(
        &mut self,
        channel: Channel,
        performative: Performative<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), End> {
        if channel > CHANNEL_MAX {
            let what = format!("channel {channel}: channel-max is {CHANNEL_MAX}");
            return Err(End::out_of_range(what));
        }
        match (&performative, self.sessions.get(&channel)) {
            (Performative::Open(_), _) => return Err(End::illegal("a second open")),
            (Performative::Close, _) => return Err(End::Normal),
            (Performative::Begin(_), Some(_)) => {
                return Err(End::illegal(format!(
                    "a begin on channel {channel}, which has a session"
                )));
            }
            (Performative::Begin(_), None) => {}
            (_, None) => {
                return Err(End::illegal(format!("channel {channel} has no session: begin first")));
            }
            (Performative::End, Some(_)) => {}
            // What was sent before the peer has heard that it has ended.
            (_, Some(session)) if session.is_ended => return Ok(()),
            (_, Some(_)) => {}
        }
        match performative {
            Performative::Begin(begin) => self.begin(channel, &begin, cx),
            Performative::Attach(attach) => self.attach(channel, &attach, cx),
            Performative::Flow(flow) => self.flow(channel, flow, cx),
            Performative::Transfer(transfer) => self.transfer(channel, &transfer, cx),
            Performative::Disposition(disposition) => self.disposition(channel, &disposition, cx),
            Performative::Detach(detach) => self.detach(channel, detach, cx),
            Performative::End => {
                let is_ended = self.sessions.get(&channel).is_some_and(|session| session.is_ended);
                if !is_ended {
                    self.end_session(channel, None, cx);
                }
                self.sessions.remove(&channel);
                Ok(())
            }
            Performative::Open(_) | Performative::Close => Ok(()),
        }
    }

    fn begin(&mut self, channel: Channel, begin: &Begin, cx: &mut Context<'_>) -> Result<(), End> {
        if begin.remote_channel.is_some() {
            return Err(End::illegal("a begin that replies to none: remote-channel must be null"));
        }
        if channel > self.channel_max {
            let what =
                format!("a begin replies on its own channel: channel-max is {}", self.channel_max);
            let error = AmqpError::new(NOT_IMPLEMENTED, what);
            return Err(End::Connection(Reason::Malformed, error));
        }
        self.next_session = self.next_session.wrapping_add(1);
        self.sessions.insert(channel, Session::new(begin, channel, self.next_session));
        cx.send(channel, |to| {
            to.composite(codes::BEGIN, |fields| {
                fields.u16(channel);
                fields.u32(0);
                fields.u32(WINDOW);
                fields.u32(i32::MAX.cast_unsigned());
                fields.u32(HANDLE_MAX);
            });
        });
        Ok(())
    }

    /// Whether a session is there, so that it can be told of its deliveries.
    pub(crate) fn has_session(&self, id: SessionId) -> bool {
        self.sessions.get(&id.channel).is_some_and(|session| session.id == id && !session.is_ended)
    }

    /// Ends a session and its links, and says so.
    pub(crate) fn end_session(
        &mut self,
        channel: Channel,
        error: Option<&AmqpError>,
        cx: &mut Context<'_>,
    ) {
        let Some(session) = self.sessions.get_mut(&channel) else { return };
        session.is_ended = true;
        for id in mem::take(&mut session.handles).into_values() {
            let is_closing = |link: &Link| matches!(link.state, LinkState::Closing { .. });
            // What the broker does for one that the peer has detached ends already.
            if !self.links.get(&id).is_some_and(is_closing) {
                let ending = Ending::Suspend;
                self.release(id, Release { ending, is_subscribed: true, waits: false }, cx);
            }
            self.links.remove(&id);
        }
        cx.send(channel, |to| {
            to.composite(codes::END, |fields| {
                if let Some(error) = error {
                    error.write(fields);
                }
            });
        });
    }

    /// Ends what the broker does for a link. Returns whether its peer is to be told when that is done.
    pub(crate) fn release(&mut self, id: LinkId, release: Release, cx: &mut Context<'_>) -> bool {
        let Some(link) = self.links.get_mut(&id) else { return false };
        if matches!(link.state, LinkState::Detached) {
            return false;
        }
        let (channel, temporary) = (link.channel, link.temporary.take());
        let mut waits = false;
        match &mut link.end {
            LinkEnd::Incoming(incoming) => {
                self.producers = self.producers.saturating_sub(1);
                self.credit_used -= incoming.used();
                (incoming.credit, incoming.in_flight) = (0, 0);
                if let Some(assembly) = incoming.assembly.take() {
                    self.assembled_bytes -= assembly.bytes.capacity();
                    if let Some(Some(transaction)) = assembly.transaction {
                        let what = "a message was sent in part, and its link has ended";
                        self.transactions.fail(transaction, &AmqpError::new(ILLEGAL_STATE, what));
                    }
                }
                self.rollback_of(id, cx);
            }
            LinkEnd::Outgoing(outgoing) => {
                outgoing.unsent.clear();
                outgoing.drop_kept(outgoing.kept_bytes, &mut self.kept_bytes);
                let reads = outgoing.reads.take();
                if let Some(session) = self.sessions.get_mut(&channel) {
                    for transaction in session.unsettled.end_link(id) {
                        let what = "the link of a delivery that it was to settle has ended";
                        self.transactions.fail(transaction, &AmqpError::new(ILLEGAL_STATE, what));
                    }
                }
                if release.is_subscribed {
                    let token = self.pending.wait(Request::Unsubscribe(id, reads));
                    let subscription = id.subscription();
                    cx.out.command(token, Command::Unsubscribe(subscription, release.ending));
                    waits = release.waits;
                } else {
                    self.stopped_reading(reads, cx);
                }
            }
            LinkEnd::Lookup(_) => {}
        }
        if let Some(destination) = temporary {
            self.end_temporary(&destination, cx);
        }
        waits
    }

    /// Fails where a link more would be too many.
    pub(crate) fn check_links(&self, cx: &Context<'_>) -> Result<(), AmqpError> {
        if self.links.len() < cx.limits.subscriptions_max {
            return Ok(());
        }
        Err(AmqpError::new(
            RESOURCE_LIMIT_EXCEEDED,
            format!(
                "a connection may have at most {} links (limits.subscriptions-max)",
                cx.limits.subscriptions_max
            ),
        ))
    }

    pub(crate) fn timed_out(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        if self.idle.is_silent(cx.now) {
            if !self.pending.is_waiting() {
                let error = AmqpError::new(
                    RESOURCE_LIMIT_EXCEEDED,
                    "nothing came for twice the idle-time-out of the gateway's open",
                );
                return Err(End::Connection(Reason::Idle, error));
            }
            // A destination or the store is full, so that nothing is read: the silence is not the
            // client's.
            self.idle.received(cx.now);
        }
        if self.idle.send_due(cx.now) {
            self.idle.sent(cx.now);
            if cx.out.backlog() == 0 {
                cx.send(0, |_| {});
            }
        }
        Ok(())
    }

    /// The gateway has ended a subscription.
    pub(crate) fn cancelled(&mut self, id: LinkId, refusal: Refusal, cx: &mut Context<'_>) {
        self.fail(id, &AmqpError::refused(refusal), false, cx);
    }
}

/// How a link's subscription ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Release {
    pub(crate) ending: Ending,
    /// The broker has it still.
    pub(crate) is_subscribed: bool,
    /// The peer is told when it has ended.
    pub(crate) waits: bool,
}

/// Whether a role is that of a receiver, as frames have it.
pub(crate) const fn is_receiver(role: Role) -> bool {
    matches!(role, Role::Receiver)
}

/// The highest number of a session.
pub(crate) const CHANNEL_MAX: u16 = 1023;
/// The highest number of a link in a session.
pub(crate) const HANDLE_MAX: u32 = 65_535;
