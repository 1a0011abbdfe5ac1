//! What a link keeps of a topic, which itself keeps nothing: what was sent unsettled is sent again where
//! its receiver gives it back.

use contract::{ConnectionLimits, Outcome};

use crate::{
    flow::UNSENT_BYTES_MAX,
    link::{Link, LinkId, LinkState, Outgoing, Unsent},
    open::{Context, Open},
    outcome::Verdict,
    unsettled::{Origin, Run, serial},
};

impl Unsent {
    /// What is left of it once it is sent.
    pub(crate) fn origin(self, is_queue: bool) -> Origin {
        if is_queue {
            return self.tag.map_or(Origin::Nothing, Origin::Queued);
        }
        let Self { message, order, redeliveries, .. } = self;
        let redeliveries = u8::try_from(redeliveries).unwrap_or(u8::MAX);
        Origin::Kept { message, order, redeliveries }
    }

    /// What is sent again after this; `None`: nothing is. There is nobody else who could have it, and no
    /// dead letter of a topic.
    pub(crate) fn again(self, verdict: Verdict) -> Option<Self> {
        let failed = self.redeliveries + 1;
        match verdict.outcome() {
            Outcome::Released => Some(self),
            Outcome::Failed if failed < DELIVERIES_MAX => {
                Some(Self { redeliveries: failed, ..self })
            }
            Outcome::Accepted
            | Outcome::Failed
            | Outcome::Rejected
            | Outcome::Undeliverable { .. } => None,
        }
    }
}

impl Outgoing {
    /// Whether the link keeps what it sends.
    pub(crate) const fn is_kept(&self) -> bool {
        !self.is_queue && !self.is_settled
    }

    /// `all`: of the connection.
    pub(crate) const fn keep(&mut self, bytes: usize, all: &mut usize) {
        self.kept_bytes += bytes;
        *all += bytes;
    }

    pub(crate) const fn drop_kept(&mut self, bytes: usize, all: &mut usize) {
        self.kept_bytes = self.kept_bytes.saturating_sub(bytes);
        *all = all.saturating_sub(bytes);
    }

    /// Whether its connection keeps all that it may, and the link its own part of that.
    pub(crate) const fn is_full(&self, kept_bytes: usize, limits: &ConnectionLimits) -> bool {
        let unsettled_bytes = self.kept_bytes.saturating_sub(self.unsent_bytes);
        kept_bytes > limits.unsent_bytes_max && unsettled_bytes > UNSENT_BYTES_MAX
    }

    /// Whether something is to be settled first. Where the broker heeds credit, that does it
    /// ([`Self::grant`]).
    pub(crate) fn must_wait(&self, kept_bytes: usize, cx: &Context<'_>) -> bool {
        let must_wait = || {
            self.unsettled >= cx.limits.prefetch_max.max(1) || self.is_full(kept_bytes, cx.limits)
        };
        self.is_pushed && self.is_kept() && must_wait()
    }
}

impl Open {
    /// Whether the links keep all that they may together.
    pub(crate) const fn is_full(&self, cx: &Context<'_>) -> bool {
        self.kept_bytes > cx.limits.unsent_bytes_max
    }

    /// Puts messages before those that came after them.
    pub(crate) fn take_back(&mut self, messages: Vec<(LinkId, Unsent)>) {
        // The last one first, so that each is put to the front.
        for (id, message) in messages.into_iter().rev() {
            let link = self.links.get_mut(&id);
            let link = link.filter(|link| matches!(link.state, LinkState::Attached));
            let Some(outgoing) = link.and_then(|link| link.outgoing_mut()) else { continue };
            let bytes = message.message.cost();
            outgoing.unsent_bytes += bytes;
            outgoing.keep(bytes, &mut self.kept_bytes);
            let is_before =
                |one: &Unsent| one.progress.is_some() || serial(one.order, message.order) < 0;
            let at = outgoing.unsent.partition_point(is_before);
            outgoing.unsent.insert(at, message);
        }
    }

    /// Sends what links to topics may send, after these deliveries were settled or given back; and has
    /// more of their topics where there was no room (`was_full`).
    pub(crate) fn go_on<'a>(
        &mut self,
        runs: impl IntoIterator<Item = &'a Run>,
        was_full: bool,
        cx: &mut Context<'_>,
    ) {
        for run in runs.into_iter().filter(|run| run.tags.is_none()) {
            self.send_on(run.link, cx);
        }
        if was_full && !self.is_full(cx) {
            let is_kept = |link: &Link| link.outgoing().is_some_and(Outgoing::is_kept);
            let links = self.links.iter().filter(|(_, link)| is_kept(link));
            for id in links.map(|(id, _)| *id).collect::<Vec<_>>() {
                self.send_on(id, cx);
            }
        }
    }

    fn send_on(&mut self, id: LinkId, cx: &mut Context<'_>) {
        self.pump(id, cx);
        let link = self.links.get_mut(&id);
        let link = link.filter(|link| matches!(link.state, LinkState::Attached));
        if let Some(outgoing) = link.and_then(|link| link.outgoing_mut()) {
            outgoing.grant(id, false, self.kept_bytes, cx);
        }
    }
}

/// Deliveries of a message of a topic, before it is dropped: as many as queues have by default
/// ([`contract::BrokerLimits::deliveries_max`]).
const DELIVERIES_MAX: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_deliver_as_often_as_queues() {
        assert_eq!(DELIVERIES_MAX, contract::BrokerLimits::default().deliveries_max);
    }
}
