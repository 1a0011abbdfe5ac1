//! What must hold when nothing is in flight, and when all is over.

use std::collections::{BTreeMap, BTreeSet};

use contract::{Now, Outcome};

use super::{
    CommandId, Effects, Model, Sent, bound::bound, commands::Kind, is_queue, is_temporary,
    queues::Custody, subscription::Phase,
};

/// How full a queue says it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Depth {
    pub(crate) ready: usize,
    pub(crate) unsettled: usize,
    pub(crate) blocked: usize,
}

impl Model {
    pub(crate) const fn see_time(&mut self, now: Now) {
        if self.latest_unix_ms < now.unix_ms {
            self.latest_unix_ms = now.unix_ms;
        }
        self.queues.now_ns = now.mono_ns;
    }

    /// Nothing is in flight: no command waits for what could be done.
    ///
    /// `has_waited`: time has passed until nothing came any more.
    pub(crate) fn rest(&mut self, depths: &BTreeMap<String, Depth>, has_waited: bool) {
        self.check_replies(has_waited);
        self.check_notices();
        self.check_topics();
        self.check_buffered(has_waited);
        self.check_browsers();
        let names: BTreeSet<String> = self.queues.names().chain(depths.keys().cloned()).collect();
        for name in names {
            self.check_depth(&name, depths.get(&name).copied().unwrap_or_default());
        }
        self.rest_bound();
        self.queues.rest();
        self.settle_precedence();
        self.tally.rests += 1;
    }

    /// Each command has its reply, but for publications that wait at a full queue, and drains of what a
    /// rate lets go later.
    fn check_replies(&mut self, has_waited: bool) {
        let mut waiting: BTreeMap<&str, Vec<&Sent>> = BTreeMap::new();
        for (connection, client) in &self.clients {
            for (token, pending) in &client.pending {
                let Kind::Publish(sent) = &pending.kind else {
                    if let Kind::Drain(holder) = &pending.kind
                        && let Some(drained) =
                            client.subscriptions.get(&holder.subscriber.subscription)
                        && drained.buffered.as_ref().is_some_and(|b| b.rate.is_some())
                        && !has_waited
                    {
                        continue;
                    }
                    panic!("no reply to {connection:?} {token:?} {pending:?}");
                };
                waiting.entry(&sent.to).or_default().push(sent);
            }
        }
        for (queue, waiting) in waiting {
            assert!(is_queue(queue), "no reply to publications to {queue}: {waiting:?}");
            let census = self.queues.census(queue, self.latest_unix_ms);
            let messages = census.ready_max + census.unsettled_max - waiting.len();
            let costs = waiting.iter().map(|sent| sent.cost);
            let bytes = census.bytes_max - costs.clone().sum::<usize>();
            let is_full = messages >= self.limits.broker.queue_messages_max
                || bytes + costs.max().unwrap_or_default() > self.limits.broker.queue_bytes_max;
            assert!(is_full, "publishers wait at {queue}: {waiting:?}, but {census:?}");
            self.tally.waiting += waiting.len() as u64;
        }
    }

    /// How many attempts to deliver each message have failed, as far as that is known.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = (&str, u128, u32)> {
        let is_known = |custody| !matches!(custody, Custody::Settling(_));
        let known = self
            .queues
            .all()
            .filter(move |(.., queued)| queued.is_certain && is_known(queued.custody));
        known.map(|(queue, id, queued)| (queue.as_str(), id, queued.attempts))
    }

    /// Each subscription that was cancelled has ended.
    fn check_notices(&self) {
        for client in self.clients.values() {
            let phases = client.subscriptions.values().map(|subscription| subscription.phase);
            assert!(!phases.into_iter().any(|phase| matches!(phase, Phase::Cancelled(_))));
        }
    }

    /// Each message to a topic has reached those who were subscribed before.
    fn check_topics(&mut self) {
        for (connection, client) in &self.clients {
            for (id, subscription) in client.subscriptions.iter().filter(|(_, s)| !s.is_ending()) {
                for (message, &command) in &subscription.awaited {
                    let verdict = self.verdict(command);
                    assert_ne!(
                        verdict,
                        Some(true),
                        "{message} did not reach {connection:?} {id:?}"
                    );
                }
            }
        }
        for client in self.clients.values_mut() {
            client.subscriptions.values_mut().for_each(|s| s.awaited.clear());
        }
    }

    /// Each subscription that may get what waits for it has got it, or was told that it was dropped.
    fn check_buffered(&mut self, has_waited: bool) {
        self.topic_messages_since_rest.clear();
        let (effects, is_narrow) = (&self.effects, self.rules.is_narrow);
        let verdict = |command| effects.get(&command).and_then(Effects::verdict);
        for client in self.clients.values_mut() {
            for subscription in client.subscriptions.values_mut() {
                subscription.allowance.rest();
                let is_unblocked = subscription.is_unblocked();
                let Some(buffered) = &mut subscription.buffered else { continue };
                if is_unblocked && (has_waited || buffered.rate.is_none()) {
                    let is_told = buffered.rest(verdict, is_narrow);
                    self.tally.told += u64::from(is_told && buffered.has_dropped());
                }
            }
        }
    }

    /// Each message that was ready and stays has been shown to those who browse.
    fn check_browsers(&mut self) {
        let subscriptions = self.clients.values_mut().flat_map(|c| c.subscriptions.values_mut());
        for subscription in subscriptions {
            subscription.allowance.rest();
            let Some(browse) = &subscription.browse else { continue };
            if subscription.phase != Phase::Confirmed || !subscription.allowance.is_left() {
                continue;
            }
            let queue = &subscription.pattern;
            for &id in browse.ready.iter().filter(|id| !subscription.got.contains(id)) {
                let stayed = self.queues.stayed(queue, id, browse.epoch, self.latest_unix_ms);
                assert!(!stayed, "message {id} in {queue} was not shown");
            }
        }
    }

    /// A queue holds what it must, and no message waits while a consumer does that selects it.
    fn check_depth(&self, name: &str, depth: Depth) {
        let census = self.queues.census(name, self.latest_unix_ms);
        let shown = format!("{name}: {depth:?}, but {census:?}");
        assert!((census.ready_min..=census.ready_max).contains(&depth.ready), "{shown}");
        assert!(
            (census.unsettled_min..=census.unsettled_max).contains(&depth.unsettled),
            "{shown}"
        );
        assert!(depth.blocked <= census.ready_max, "{shown}");
        let mut ready = self.queues.ready(name, self.latest_unix_ms);
        let is_stuck = ready.any(|sent| self.is_taken(name, sent));
        assert!(!is_stuck, "stuck: {shown}");
    }

    /// All clients have gone, and the queues are about to be emptied. Returns their names.
    pub(crate) fn begin_to_drain(&mut self) -> BTreeSet<String> {
        let ready = self.queues.all().filter(|(.., queued)| queued.is_certain);
        self.draining = Some(ready.map(|(_, id, _)| id).collect());
        let names = self.queues.names().filter(|name| !is_temporary(name));
        names
            .flat_map(|name| [self.queues.dead_letter_queue(&name), Some(name)])
            .flatten()
            .collect()
    }

    /// The queues are empty: each message was settled, is dead, has expired or was never taken.
    pub(crate) fn drained(&mut self) {
        for command in self.committed_unseen() {
            self.show(command, true);
        }
        let lasting = self.queues.all().filter(|(queue, ..)| !is_temporary(queue));
        for (queue, id, queued) in lasting {
            let has_expired = queued.sent.has_expired(self.latest_unix_ms);
            self.tally.expired += u64::from(queued.is_certain && has_expired);
            let is_lost = queued.custody == Custody::Queue && queued.is_certain && !has_expired;
            assert!(!is_lost, "message {id} is lost in {queue}: {queued:?}");
        }
    }

    /// Transactions of which nothing was heard, and that were committed since what they settled did
    /// not return.
    fn committed_unseen(&self) -> Vec<CommandId> {
        let mut committed = Vec::new();
        for (queue, id, queued) in self.queues.all().filter(|(queue, ..)| !is_temporary(queue)) {
            let Custody::Settling(settling) = queued.custody else { continue };
            let shows_dead_letter =
                self.rules.is_roomy && self.queues.dead_letter_queue(queue).is_some();
            let may_be_dead =
                !shows_dead_letter && queued.attempts + 1 >= self.queues.attempts_max(queue);
            let has_expired = queued.sent.has_expired(self.latest_unix_ms);
            let may_be_gone = bound(queue).is_some();
            if may_be_dead || may_be_gone || has_expired || !self.queues.keeps(queue) {
                continue;
            }
            let leaves = match settling.outcome {
                Outcome::Accepted => true,
                Outcome::Rejected => !shows_dead_letter,
                Outcome::Failed | Outcome::Released | Outcome::Undeliverable { .. } => false,
            };
            assert!(leaves, "message {id} is lost in {queue}: {queued:?}");
            committed.push(settling.command);
        }
        committed
    }
}
