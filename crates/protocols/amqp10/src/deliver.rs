use contract::{Delivery, internal};

use crate::{
    codes, frame,
    link::{LinkId, LinkState, Progress, Unsent},
    mapping::{self, Tail},
    open::{Context, Open},
    performative::{Channel, FrameType, Handle},
    session::Session,
};

impl Open {
    /// A message for a subscription.
    pub(crate) fn delivered(&mut self, id: LinkId, delivery: &Delivery, cx: &mut Context<'_>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if matches!(link.state, LinkState::Detached | LinkState::Closing { .. }) {
            // It goes back with the end of the subscription.
            return;
        }
        let Some(outgoing) = link.outgoing_mut() else {
            return internal!("a delivery for a link on which the peer sends");
        };
        outgoing.granted = outgoing.granted.saturating_sub(1);
        let bytes = delivery.message.cost();
        outgoing.unsent_bytes += bytes;
        outgoing.unsent.push_back(Unsent::new(delivery, outgoing.next_order));
        if outgoing.is_kept() {
            outgoing.next_order = outgoing.next_order.wrapping_add(1);
            outgoing.keep(bytes, &mut self.kept_bytes);
        }
        let is_too_much = outgoing.is_pushed && outgoing.unsent_bytes > cx.limits.unsent_bytes_max;
        self.pump(id, cx);
        let Some(outgoing) = self.links.get_mut(&id).and_then(|link| link.outgoing_mut()) else {
            return;
        };
        outgoing.give_back(id, cx);
        if outgoing.is_kept()
            && outgoing.granted > 0
            && outgoing.is_full(self.kept_bytes, cx.limits)
        {
            // What was granted before is taken back.
            outgoing.grant(id, true, self.kept_bytes, cx);
        }
        if is_too_much && !outgoing.unsent.is_empty() {
            let error = crate::error::AmqpError::refused(contract::Refusal::Slow);
            self.fail(id, &error, true, cx);
        }
    }

    /// Sends what a link holds, as far as its peer takes it.
    pub(crate) fn pump(&mut self, id: LinkId, cx: &mut Context<'_>) {
        let frame_bytes_max = self.frame_bytes_max;
        let Some(link) = self.links.get_mut(&id) else { return };
        let (channel, handle) = (link.channel, link.handle);
        let is_attached = matches!(link.state, LinkState::Attached);
        let Some(session) = self.sessions.get_mut(&channel).filter(|one| !one.is_ended) else {
            return;
        };
        let Some(outgoing) = link.outgoing_mut().filter(|_| is_attached) else { return };
        let is_settled = outgoing.is_settled;
        let mut has_sent = false;
        while let Some(unsent) = outgoing.unsent.front() {
            let is_begun = unsent.progress.is_some();
            if !is_begun && (outgoing.credit == 0 || outgoing.must_wait(self.kept_bytes, cx)) {
                break;
            }
            let Some(unsent) = outgoing.unsent.front_mut() else { break };
            let Some(delivery) =
                send(session, (channel, handle), unsent, is_settled, frame_bytes_max, cx)
            else {
                session.is_blocked = true;
                break;
            };
            let Some(unsent) = outgoing.unsent.pop_front() else { break };
            outgoing.unsent_bytes = outgoing.unsent_bytes.saturating_sub(unsent.message.cost());
            outgoing.credit = outgoing.credit.saturating_sub(1);
            outgoing.delivery_count = outgoing.delivery_count.wrapping_add(1);
            has_sent = true;
            if !is_settled {
                session.unsettled.push(delivery, id, unsent.origin(outgoing.is_queue));
                outgoing.unsettled += 1;
            }
        }
        if has_sent {
            outgoing.grant(id, false, self.kept_bytes, cx);
            if outgoing.unsent.is_empty() && outgoing.drain.is_wanted {
                self.finish_drain(id, cx);
            }
        }
    }
}

/// Sends a delivery, or what is left of it; `None`: the window of the session is closed before its end.
fn send(
    session: &mut Session,
    (channel, handle): (Channel, Handle),
    unsent: &mut Unsent,
    is_settled: bool,
    frame_bytes_max: usize,
    cx: &mut Context<'_>,
) -> Option<u32> {
    if session.remote_window == 0 {
        return None;
    }
    let message = &unsent.message;
    let progress = unsent.progress.get_or_insert_with(|| {
        let delivery = session.next_delivery_id;
        session.next_delivery_id = delivery.wrapping_add(1);
        let header = mapping::header(message, unsent.redeliveries, cx.now);
        Progress { delivery, header, sent: 0 }
    });
    let tail = Tail::of(message);
    let total = progress.header.len() + tail.len();
    loop {
        if session.remote_window == 0 {
            return None;
        }
        let is_first = progress.sent == 0;
        let room = frame_bytes_max.saturating_sub(TRANSFER_BYTES_MAX).max(1);
        let end = total.min(progress.sent + room);
        let (start, more) = (progress.sent, end < total);
        cx.sent = true;
        let delivery = progress.delivery;
        let header = &progress.header;
        cx.out.send(frame::sent_as(cx.kind), &mut |to| {
            frame::append(to, FrameType::Amqp, channel, |to| {
                amqp_types::Writer::new(to.own_mut()).composite(codes::TRANSFER, |fields| {
                    fields.u32(handle);
                    if is_first {
                        fields.u32(delivery);
                        fields.binary(&delivery.to_be_bytes());
                        fields.u32(tail.format());
                        fields.bool(is_settled);
                    } else {
                        (0..4).for_each(|_| fields.null());
                    }
                    if more {
                        fields.bool(true);
                    }
                });
                let own = header.get(start.min(header.len())..end.min(header.len()));
                to.extend_from_slice(own.unwrap_or_default());
                let behind = |at: usize| at.saturating_sub(header.len());
                tail.append(to, behind(start)..behind(end));
            });
        });
        session.remote_window -= 1;
        session.next_outgoing_id = session.next_outgoing_id.wrapping_add(1);
        progress.sent = end;
        if !more {
            return Some(delivery);
        }
    }
}

/// What a frame has beside its payload: its header, and a transfer with all the fields that are used.
const TRANSFER_BYTES_MAX: usize = 48;
