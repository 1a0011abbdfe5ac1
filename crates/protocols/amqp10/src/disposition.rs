use contract::{Operation, Settle};

use crate::{
    codes,
    error::{AmqpError, End, TRANSACTION_UNKNOWN},
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
        let Some(session) = self.sessions.get_mut(&channel) else { return };
        let id = session.id;
        for run in session.unsettled.change(ids.0, ids.1, EntryState::Gone) {
            let outgoing = self.links.get_mut(&run.link).and_then(|link| link.outgoing_mut());
            let Some(outgoing) = outgoing else { continue };
            let verdict = verdict.unwrap_or(outgoing.default_outcome);
            outgoing.unsettled = outgoing.unsettled.saturating_sub(run.count);
            outgoing.grant(run.link, false, cx);
            let Some((first, last)) = run.tags else {
                if !by_peer {
                    settle_sent(channel, run.ids, verdict, cx);
                }
                continue;
            };
            let (subscription, outcome) = (run.link.subscription(), verdict.outcome());
            let settle = Settle { subscription, tags: first..=last, outcome };
            let reply = (!by_peer)
                .then(|| self.pending.wait(Request::Settle { session: id, ids: run.ids, verdict }));
            cx.out.settle(settle, reply);
        }
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
        let Some(session) = self.sessions.get_mut(&channel) else { return Ok(()) };
        let state = EntryState::InTransaction { transaction, verdict, by_peer };
        let runs = session.unsettled.change(ids.0, ids.1, state);
        for run in &runs {
            self.transactions.count(transaction, run.count);
            let outgoing = self.links.get_mut(&run.link).and_then(|link| link.outgoing_mut());
            if let Some(outgoing) = outgoing {
                // What is settled in it does not count: its receiver may go on.
                outgoing.unsettled = outgoing.unsettled.saturating_sub(run.count);
            }
        }
        // It would receive without an end: what is in a transaction does not count.
        if let Some(error) = self.transactions.excess(transaction, cx.limits) {
            for run in runs {
                self.fail(run.link, &error, true, cx);
            }
        }
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
