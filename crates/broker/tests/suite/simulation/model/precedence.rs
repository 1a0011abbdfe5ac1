//! What the model knows of exclusive consumers: that nobody gets a message beside them.

use broker::Subscriber;

use super::{Model, Sent, Subscription, subscription::Phase};

impl Model {
    /// No exclusive consumer comes before the one that a message of a queue is delivered to.
    pub(super) fn check_precedence(&mut self, to: Subscriber, queue: &str) {
        let Some(subscription) = self.subscription(to) else { return };
        let own = subscription.precedence;
        let is_passed_by = |other: &Subscription| {
            let is_higher = other.precedence.priority > own.priority || !own.is_exclusive;
            other.is_settled && !other.is_ending() && is_higher
        };
        let passed = self.exclusive(queue).find(|other| is_passed_by(other));
        assert!(passed.is_none(), "{to:?} gets what {passed:?} is to get");
        self.tally.exclusive += u64::from(own.is_exclusive);
    }

    /// All that was in flight has arrived.
    pub(super) fn settle_precedence(&mut self) {
        let subscriptions = self.clients.values_mut().flat_map(|c| c.subscriptions.values_mut());
        subscriptions.for_each(|one| one.is_settled = one.phase == Phase::Confirmed);
    }

    /// Whether a message that is ready must go to a consumer, when nothing is in flight.
    pub(super) fn is_taken(&self, queue: &str, sent: &Sent) -> bool {
        let takes = |one: &Subscription| {
            let may_pass = one.excluded.contains(&sent.id) || one.may_exclude.contains(&sent.id);
            one.is_ready() && one.selects(sent) && !may_pass && self.has_group(queue, sent, one)
        };
        let priority = self.exclusive(queue).map(|one| one.precedence.priority).max();
        match priority {
            // Which of them gets all is not known.
            Some(priority) => {
                let mut first = self.exclusive(queue);
                first.all(|one| one.precedence.priority < priority || takes(one))
            }
            None => {
                let clients = self.clients.values();
                let mut all = clients.flat_map(|client| client.subscriptions.values());
                all.any(|one| one.pattern == queue && takes(one))
            }
        }
    }

    fn exclusive(&self, queue: &str) -> impl Iterator<Item = &Subscription> {
        let clients = self.clients.values();
        let all = clients.flat_map(|client| client.subscriptions.values());
        all.filter(move |one| {
            one.pattern == queue && one.precedence.is_exclusive && one.browse.is_none()
        })
    }
}
