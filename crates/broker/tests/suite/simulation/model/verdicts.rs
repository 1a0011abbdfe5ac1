//! Whether publications and transactions were carried out. A reply says so; a message that comes, or
//! comes again, may show it before, or when the connection has gone.

use contract::{ConnectionId, DeadLetterReason, Outcome, Token};

use super::{
    Arrival, Model,
    queues::{Custody, Settling},
};

/// Names a command among all of a run.
pub(crate) type CommandId = (ConnectionId, Token);

/// A publication or a transaction, which is carried out as a whole or not at all.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// Whether it was carried out, when that is known.
    verdict: Option<bool>,
    pub(super) published: Vec<(String, u128)>,
    pub(super) settled: Vec<(String, u128)>,
}

impl Effects {
    pub(super) const fn verdict(&self) -> Option<bool> {
        self.verdict
    }
}

impl Model {
    /// It is known whether a command was carried out: all of it was, or nothing.
    pub(super) fn decide(&mut self, id: CommandId, verdict: bool) {
        let command = self.effects.entry(id).or_default();
        if let Some(known) = command.verdict {
            assert_eq!(known, verdict, "{id:?} is carried out by half");
            return;
        }
        command.verdict = Some(verdict);
        let published = std::mem::take(&mut command.published);
        let settled = std::mem::take(&mut command.settled);
        for (queue, message) in published {
            if verdict {
                self.queues.confirm(&queue, message);
            } else {
                self.queues.refuse(&queue, message);
            }
        }
        for (queue, message) in settled {
            // What came back meanwhile may be settled by another one.
            if let Some(settling) = self.settling(&queue, message).filter(|s| s.command == id) {
                self.end_settlement(&queue, message, settling, verdict);
            }
        }
    }

    fn end_settlement(
        &mut self,
        queue: &str,
        message: u128,
        settling: Settling,
        is_committed: bool,
    ) {
        if let Some(subscription) = self.subscription(settling.holder.subscriber) {
            subscription.settling.remove(&settling.tag);
        }
        if is_committed {
            if matches!(settling.outcome, Outcome::Undeliverable { .. })
                && self.lasts(settling.holder)
                && let Some(subscription) = self.subscription(settling.holder.subscriber)
            {
                subscription.excluded.insert(message);
            }
            self.queues.conclude(queue, message, settling.outcome);
        } else if self.lasts(settling.holder)
            && let Some(subscription) = self.subscription(settling.holder.subscriber)
        {
            subscription.unsettled.insert(settling.tag, message);
            subscription.restored += 1;
            self.queues.set_custody(queue, message, Custody::Consumer);
        } else {
            let fate = self.fate(settling).expect("a subscription that has ended");
            self.queues.conclude(queue, message, fate);
        }
    }

    /// What becomes of a delivery if the transaction that settles it is rolled back; `None`: its
    /// consumer has it again.
    fn fate(&self, settling: Settling) -> Option<Outcome> {
        let Settling { holder, tag, .. } = settling;
        (!self.lasts(holder)).then(|| self.fates[&(holder.serial, tag)])
    }

    /// What a message that comes from a queue shows of commands that are open.
    pub(super) fn find_out(&mut self, queue: &str, arrival: &Arrival) {
        self.find_out_origin(queue, arrival);
        let id = arrival.id;
        let Some(settling) = self.settling(queue, id) else { return };
        let Some(attempts) = self.queues.get(queue, id).map(|queued| queued.attempts) else {
            return;
        };
        let has_failed = arrival.redeliveries == attempts + 1;
        let as_committed = match settling.outcome {
            outcome if outcome.is_failed() => has_failed,
            Outcome::Released | Outcome::Failed | Outcome::Undeliverable { .. } => {
                arrival.redeliveries == attempts
            }
            Outcome::Accepted | Outcome::Rejected => false,
        };
        let as_rolled_back = match self.fate(settling) {
            Some(Outcome::Failed) => has_failed,
            Some(_) => arrival.redeliveries == attempts,
            None => false,
        };
        let outcome = if has_failed { Outcome::Failed } else { Outcome::Released };
        self.explain(queue, id, settling, (as_committed, as_rolled_back), outcome);
    }

    /// What it shows of the command that published it, or settled it where it died.
    pub(super) fn find_out_origin(&mut self, queue: &str, arrival: &Arrival) {
        let id = arrival.id;
        if let Some(command) = self.queues.get(queue, id).and_then(|queued| queued.command) {
            self.show(command, true);
        }
        if let Some((origin, reason)) = &arrival.dead {
            self.find_out_by_dead_letter(origin, id, *reason);
        }
    }

    fn find_out_by_dead_letter(&mut self, queue: &str, id: u128, reason: DeadLetterReason) {
        let Some(settling) = self.settling(queue, id) else { return };
        let is_worn_out = matches!(reason, DeadLetterReason::Failed(_));
        let as_committed = match settling.outcome {
            Outcome::Rejected => reason == DeadLetterReason::Rejected,
            Outcome::Accepted
            | Outcome::Released
            | Outcome::Failed
            | Outcome::Undeliverable { .. } => settling.outcome.is_failed() && is_worn_out,
        };
        let as_rolled_back = is_worn_out && self.fate(settling) == Some(Outcome::Failed);
        self.explain(queue, id, settling, (as_committed, as_rolled_back), Outcome::Failed);
    }

    /// A message that a transaction settled has returned with this outcome, as it would if that was
    /// committed, or as it would if that was rolled back and the consumer has ended.
    fn explain(
        &mut self,
        queue: &str,
        id: u128,
        settling: Settling,
        as_committed_or_rolled_back: (bool, bool),
        outcome: Outcome,
    ) {
        match as_committed_or_rolled_back {
            (true, false) => self.show(settling.command, true),
            (false, true) => self.show(settling.command, false),
            (true, true) => self.queues.conclude(queue, id, outcome),
            (false, false) => panic!("message {id} returns from {settling:?}"),
        }
    }

    pub(super) fn show_topic_message(&mut self, id: u128) {
        if let Some(&command) = self.topic_messages.get(&id) {
            self.show(command, true);
        }
    }

    /// Something shows whether a command was carried out.
    pub(super) fn show(&mut self, command: CommandId, verdict: bool) {
        self.tally.found_out += u64::from(self.verdict(command).is_none());
        self.decide(command, verdict);
    }

    pub(super) fn verdict(&self, command: CommandId) -> Option<bool> {
        self.effects.get(&command).and_then(|command| command.verdict)
    }

    fn settling(&self, queue: &str, id: u128) -> Option<Settling> {
        match self.queues.get(queue, id)?.custody {
            Custody::Settling(settling) => Some(settling),
            Custody::Queue | Custody::Consumer => None,
        }
    }
}
