use std::mem;

use contract::{Command, ConnectionLimits, Credit, Outcome, Settle};

use crate::{
    codes,
    error::End,
    link::{LinkEnd, LinkId, LinkState, Outgoing, Unsent},
    open::{Context, Open},
    pending::Request,
    performative::{Channel, Flow, LinkFlow},
    session::{Session, WINDOW},
};

impl Open {
    pub(crate) fn flow(
        &mut self,
        channel: Channel,
        flow: Flow,
        cx: &mut Context<'_>,
    ) -> Result<(), End> {
        let Some(session) = self.sessions.get_mut(&channel) else { return Ok(()) };
        // Before the peer has the begin it counts from the beginning.
        let next = flow.next_incoming_id.unwrap_or(0);
        session.remote_window = left(flow.incoming_window, next, session.next_outgoing_id);
        let is_unblocked = session.remote_window > 0 && mem::take(&mut session.is_blocked);
        // Its credit first: it may be less than before.
        let mut link = None;
        if let Some(said) = flow.link {
            let id = self.link_of(channel, said.handle)?;
            self.link_flow(id, said, cx);
            link = Some(id);
        }
        if is_unblocked && let Some(session) = self.sessions.get(&channel) {
            let links: Vec<_> = session.handles.values().copied().collect();
            for id in links {
                self.pump(id, cx);
            }
        }
        if flow.echo {
            self.send_flow(channel, link, cx);
        }
        Ok(())
    }

    fn link_flow(&mut self, id: LinkId, flow: LinkFlow, cx: &mut Context<'_>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let is_attached = matches!(link.state, LinkState::Attached);
        let LinkEnd::Outgoing(outgoing) = &mut link.end else { return };
        if let Some(credit) = flow.link_credit {
            // Without a count the peer has not seen the attach.
            let count = flow.delivery_count.unwrap_or(0);
            outgoing.credit = left(credit, count, outgoing.delivery_count);
        }
        outgoing.drain.is_wanted = flow.drain;
        if is_attached {
            self.resume(id, cx);
        }
    }

    /// Has the broker deliver what a link has credit for, and drained what is to be.
    pub(crate) fn resume(&mut self, id: LinkId, cx: &mut Context<'_>) {
        self.pump(id, cx);
        let Some(outgoing) = self.links.get_mut(&id).and_then(|link| link.outgoing_mut()) else {
            return;
        };
        outgoing.grant(id, true, self.kept_bytes, cx);
        // The broker has heard of the credit first: it does not deliver that again.
        outgoing.give_back(id, cx);
        if outgoing.drain.is_wanted && outgoing.drain.requested == 0 {
            self.drain(id, cx);
        }
    }

    fn drain(&mut self, id: LinkId, cx: &mut Context<'_>) {
        let token = self.pending.wait(Request::Drain(id));
        let Some(outgoing) = self.links.get_mut(&id).and_then(|link| link.outgoing_mut()) else {
            return;
        };
        outgoing.drain.requested += 1;
        outgoing.drain.is_set_since = false;
        cx.out.command(token, Command::Drain(id.subscription()));
    }

    /// The broker has delivered what it could.
    pub(crate) fn drained(&mut self, id: LinkId, cx: &mut Context<'_>) {
        let kept_bytes = self.kept_bytes;
        let Some(outgoing) = self.links.get_mut(&id).and_then(|link| link.outgoing_mut()) else {
            return;
        };
        outgoing.drain.requested = outgoing.drain.requested.saturating_sub(1);
        let is_used_up = outgoing.granted == 0;
        if !outgoing.drain.is_set_since {
            outgoing.granted = 0;
        }
        if outgoing.drain.requested > 0 {
            return;
        }
        // Credit came after the request, or all that was granted was delivered: there may be more.
        let is_early = outgoing.drain.is_set_since && outgoing.granted > 0;
        let is_wanted = outgoing.drain.is_wanted;
        if is_wanted && (is_early || is_used_up && outgoing.grant(id, true, kept_bytes, cx)) {
            return self.drain(id, cx);
        }
        self.finish_drain(id, cx);
    }

    /// Tells the peer that a drain is done, if it is.
    pub(crate) fn finish_drain(&mut self, id: LinkId, cx: &mut Context<'_>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let (channel, is_attached) = (link.channel, matches!(link.state, LinkState::Attached));
        let Some(outgoing) = link.outgoing_mut() else { return };
        let drain = outgoing.drain;
        let may_send = outgoing.credit > 0 && !outgoing.must_wait(self.kept_bytes, cx);
        let is_sending = !outgoing.unsent.is_empty() && (may_send || outgoing.is_midway());
        if !is_attached || !drain.is_wanted || drain.requested > 0 || is_sending {
            return;
        }
        outgoing.delivery_count = outgoing.delivery_count.wrapping_add(outgoing.credit);
        outgoing.credit = 0;
        self.send_flow(channel, Some(id), cx);
        if let Some(outgoing) = self.links.get_mut(&id).and_then(|link| link.outgoing_mut()) {
            outgoing.drain.is_wanted = false;
        }
    }

    /// Gives a sender credit, where it has used half of what it may have. All senders of a connection
    /// together have no more than may wait for the broker, but one each: so what else comes on the
    /// connection is read.
    pub(crate) fn replenish(&mut self, id: LinkId, cx: &mut Context<'_>) {
        let (all, share) = credit_max(cx.limits, self.producers);
        let Some(link) = self.links.get_mut(&id) else { return };
        let (channel, is_attached) = (link.channel, matches!(link.state, LinkState::Attached));
        let Some(incoming) = link.incoming_mut() else { return };
        let used = incoming.used();
        // Senders that came before may have more than their share, and not use it.
        let free = all.saturating_sub(self.credit_used);
        let target = share.min(used + free).max(1);
        if !is_attached || used > target / 2 {
            return;
        }
        incoming.credit = target.saturating_sub(incoming.in_flight);
        self.credit_used += incoming.used() - used;
        self.send_flow(channel, Some(id), cx);
    }

    /// Opens the window of a session again, where half of it is used.
    pub(crate) fn widen(&mut self, channel: Channel, cx: &mut Context<'_>) {
        let Some(session) = self.sessions.get_mut(&channel) else { return };
        if session.incoming_window <= WINDOW / 2 {
            session.incoming_window = WINDOW;
            self.send_flow(channel, None, cx);
        }
    }

    /// Says how a session stands, and a link of it that is attached.
    pub(crate) fn send_flow(&self, channel: Channel, id: Option<LinkId>, cx: &mut Context<'_>) {
        let Some(session) = self.sessions.get(&channel) else { return };
        let link = id.and_then(|id| self.links.get(&id));
        let link = link.filter(|link| matches!(link.state, LinkState::Attached));
        cx.send(channel, |to| {
            to.composite(codes::FLOW, |fields| {
                write_session(fields, session);
                let Some(link) = link else { return };
                fields.u32(link.handle);
                let (count, credit, drain) = match &link.end {
                    LinkEnd::Incoming(one) => (one.delivery_count, one.credit, false),
                    LinkEnd::Outgoing(one) => (one.delivery_count, one.credit, one.drain.is_wanted),
                    LinkEnd::Lookup(_) => (0, 0, false),
                };
                fields.u32(count);
                fields.u32(credit);
                fields.null();
                if drain {
                    fields.bool(true);
                }
            });
        });
    }
}

fn write_session(fields: &mut amqp_types::Writer<'_>, session: &Session) {
    fields.u32(session.next_incoming_id);
    fields.u32(session.incoming_window);
    fields.u32(session.next_outgoing_id);
    fields.u32(i32::MAX.cast_unsigned());
}

impl Outgoing {
    /// A message is sent in part.
    fn is_midway(&self) -> bool {
        self.unsent.front().is_some_and(|unsent| unsent.progress.is_some())
    }

    /// Gives back what the broker has delivered before it heard that the peer takes no more: others may
    /// have it. What is the link's for good waits for its credit.
    pub(crate) fn give_back(&mut self, id: LinkId, cx: &mut Context<'_>) {
        let is_loose = |unsent: &mut Unsent| unsent.progress.is_none() && unsent.tag.is_some();
        while self.is_queue
            && self.unsent.len() > self.credit as usize
            && let Some(Unsent { message, tag: Some(tag), .. }) = self.unsent.pop_back_if(is_loose)
        {
            self.unsent_bytes = self.unsent_bytes.saturating_sub(message.cost());
            let (subscription, outcome) = (id.subscription(), Outcome::Released);
            cx.out.settle(Settle { subscription, tags: tag..=tag, outcome }, None);
        }
    }

    /// Gives the broker the credit that the peer has given, as far as may be unsettled; without
    /// `is_changed`, only where much was used. Returns whether it has any.
    ///
    /// `kept_bytes`: of the connection, what its links to topics keep.
    pub(crate) fn grant(
        &mut self,
        id: LinkId,
        is_changed: bool,
        kept_bytes: usize,
        cx: &mut Context<'_>,
    ) -> bool {
        if self.is_pushed {
            return false;
        }
        let room = cx.limits.prefetch_max.max(1).saturating_sub(self.unsettled);
        let unsent = u32::try_from(self.unsent.len()).unwrap_or(u32::MAX);
        let is_full = self.unsent_bytes > UNSENT_BYTES_MAX || self.is_full(kept_bytes, cx.limits);
        let most = if is_full { 0 } else { room };
        let wanted = self.credit.saturating_sub(unsent).min(most.saturating_sub(unsent));
        let is_due = if is_changed {
            wanted != self.granted
        } else {
            wanted > self.granted && self.granted <= wanted / 2
        };
        if is_due {
            self.granted = wanted;
            self.drain.is_set_since = true;
            cx.out.credit(id.subscription(), Credit::Set(wanted));
        }
        self.granted > 0
    }
}

/// What may still be sent to a peer that has counted up to `theirs`, and allows so many from there on. The
/// counts are serial numbers (RFC 1982); what is allowed is a number, the largest one too.
fn left(allowed: u32, theirs: u32, ours: u32) -> u32 {
    let uncounted = i64::from(ours.wrapping_sub(theirs).cast_signed());
    u32::try_from((i64::from(allowed) - uncounted).max(0)).unwrap_or(u32::MAX)
}

/// Messages that so many senders may have in flight, all together and one of them.
fn credit_max(limits: &ConnectionLimits, producers: u32) -> (u32, u32) {
    let all = u32::try_from(limits.commands_max / 2).unwrap_or(u32::MAX);
    (all, (all / producers.max(1)).clamp(1, CREDIT_MAX))
}

/// Messages that a sender may have in flight.
const CREDIT_MAX: u32 = 100;
/// Bytes of messages that wait for a link's session, above which the broker delivers no more to it.
pub(crate) const UNSENT_BYTES_MAX: usize = 256 << 10;
