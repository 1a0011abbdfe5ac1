use contract::{Operation, Settle};

use crate::{
    codes,
    error::{AmqpError, End, TRANSACTION_UNKNOWN},
    link::Link,
    open::{Context, Open},
    outcome::{DeliveryState, Verdict},
    pending::Request,
    performative::{Channel, Disposition, Role},
    unsettled::{EntryState, Run},
};

impl Open {
    pub(crate) fn disposition(
        &mut self,
        channel: Channel,
        disposition: &Disposition<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), End> {
        // What the peer has sent was settled by the gateway, which has forgotten it.
        if disposition.role == Role::Sender {
            return Ok(());
        }
        let state = disposition.state.map(DeliveryState::read).transpose()?;
        let ids = (disposition.first, disposition.last);
        match state {
            Some(DeliveryState::Transactional(transaction, verdict)) => {
                let verdict = verdict.unwrap_or(Verdict::Accepted);
                self.settle_in(channel, transaction, ids, verdict, disposition.settled, cx)
            }
            Some(DeliveryState::Terminal(verdict)) => {
                self.settle(channel, ids, Some(verdict), disposition.settled, cx);
                Ok(())
            }
            Some(DeliveryState::Other) | None if disposition.settled => {
                self.settle(channel, ids, None, true, cx);
                Ok(())
            }
            Some(DeliveryState::Other) | None => Ok(()),
        }
    }

    /// Says what became of deliveries; without a verdict, what the source says by default.
    fn settle(
        &mut self,
        channel: Channel,
        ids: (u32, u32),
        verdict: Option<Verdict>,
        by_peer: bool,
        cx: &mut Context<'_>,
    ) {
        let was_full = self.is_full(cx);
        let Some(session) = self.sessions.get_mut(&channel) else { return };
        let session_id = session.id;
        let (links, mut again) = (&self.links, Vec::new());
        let runs = session.unsettled.change(ids.0, ids.1, EntryState::Gone, |id, kept| {
            let outgoing = links.get(&id).and_then(Link::outgoing);
            let verdict = verdict.or_else(|| outgoing.map(|one| one.default_outcome));
            again.extend(verdict.and_then(|one| kept.again(one)).map(|unsent| (id, unsent)));
        });
        for run in &runs {
            let outgoing = self.links.get_mut(&run.link).and_then(|link| link.outgoing_mut());
            let Some(outgoing) = outgoing else { continue };
            let verdict = verdict.unwrap_or(outgoing.default_outcome);
            outgoing.unsettled = outgoing.unsettled.saturating_sub(run.count);
            outgoing.drop_kept(run.bytes, &mut self.kept_bytes);
            let Some((first, last)) = run.tags else {
                if !by_peer {
                    settle_sent(channel, run.ids, verdict, cx);
                }
                continue;
            };
            outgoing.grant(run.link, false, self.kept_bytes, cx);
            let (subscription, outcome) = (run.link.subscription(), verdict.outcome());
            let settle = Settle { subscription, tags: first..=last, outcome };
            let request = Request::Settle { session: session_id, ids: run.ids, verdict };
            let reply = (!by_peer).then(|| self.pending.wait(request));
            cx.out.settle(settle, reply);
        }
        self.take_back(again);
        self.go_on(&runs, was_full, cx);
    }

    /// Deliveries that are settled with a transaction.
    fn settle_in(
        &mut self,
        channel: Channel,
        transaction: Option<u64>,
        ids: (u32, u32),
        verdict: Verdict,
        by_peer: bool,
        cx: &mut Context<'_>,
    ) -> Result<(), End> {
        let Some(transaction) = transaction.filter(|id| self.transactions.is_open(*id)) else {
            return Err(End::Session(AmqpError::new(
                TRANSACTION_UNKNOWN,
                "a disposition in a transaction that is not open",
            )));
        };
        let was_full = self.is_full(cx);
        let Some(session) = self.sessions.get_mut(&channel) else { return Ok(()) };
        let state = EntryState::InTransaction { transaction, verdict, by_peer };
        let runs = session.unsettled.change(ids.0, ids.1, state, |_, _| {});
        for run in &runs {
            self.transactions.count(transaction, run.count, run.bytes);
            let outgoing = self.links.get_mut(&run.link).and_then(|link| link.outgoing_mut());
            if let Some(outgoing) = outgoing {
                // What is settled in it does not count: its receiver may go on.
                outgoing.unsettled = outgoing.unsettled.saturating_sub(run.count);
                outgoing.drop_kept(run.bytes, &mut self.kept_bytes);
            }
        }
        // It would receive without an end: what is in a transaction does not count.
        let has_kept = runs.iter().any(|run| run.bytes > 0);
        if let Some(error) = self.transactions.excess(transaction, has_kept, cx) {
            for run in &runs {
                self.fail(run.link, &error, true, cx);
            }
        }
        self.go_on(&runs, was_full, cx);
        Ok(())
    }

    /// What a transaction settles.
    pub(crate) fn settlements(&self, transaction: u64) -> Vec<(Channel, Run, Verdict, bool)> {
        let of_session = |(channel, session): (&Channel, &crate::session::Session)| {
            let channel = *channel;
            let runs = session.unsettled.in_transaction(transaction).into_iter();
            runs.map(move |(run, verdict, by_peer)| (channel, run, verdict, by_peer))
                .collect::<Vec<_>>()
        };
        self.sessions.iter().flat_map(of_session).collect()
    }
}

/// The operations of settlements.
pub(crate) fn operations(
    settlements: &[(Channel, Run, Verdict, bool)],
) -> impl Iterator<Item = Operation> {
    settlements.iter().filter_map(|(_, run, verdict, _)| {
        let (first, last) = run.tags?;
        let subscription = run.link.subscription();
        let outcome = verdict.outcome();
        Some(Operation::Settle(Settle { subscription, tags: first..=last, outcome }))
    })
}

/// Tells a receiver that its outcome holds.
pub(crate) fn settle_sent(
    channel: Channel,
    (first, last): (u32, u32),
    verdict: Verdict,
    cx: &mut Context<'_>,
) {
    cx.send(channel, |to| {
        to.composite(codes::DISPOSITION, |fields| {
            fields.bool(false);
            fields.u32(first);
            fields.u32(last);
            fields.bool(true);
            verdict.write(fields);
        });
    });
}
