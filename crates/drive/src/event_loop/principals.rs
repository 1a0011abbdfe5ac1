//! Who is connected: the names of principals lead to their connections, whose logins end or are renewed.

use std::{collections::BTreeMap, mem, sync::Arc};

use auth::{Access, Action, Change};
use broker::Subscriber;
use contract::{Input, Notice, Principal, Reason};
use transports::Slot;

use super::{Core, connection::ConnectionKind, outlet::Request, slot_of};
use crate::clock;

/// Who is connected. Those who have not logged in are in no index, and share one value.
#[derive(Debug)]
pub(super) struct Principals {
    /// By name, with the [`crate::Cores::users_version`] of each login.
    connections: BTreeMap<Arc<str>, BTreeMap<Slot, u64>>,
    anonymous: Arc<Principal>,
}

/// What was changed of users and access rules.
#[derive(Debug)]
pub(crate) struct Reload {
    pub(crate) access: Access,
    /// The users whose connections end or are renewed, by name.
    pub(crate) changes: BTreeMap<Box<str>, Change>,
    /// See [`crate::Cores::users_version`].
    pub(crate) users_version: u64,
}

/// What is still to be compared with a reload.
#[derive(Clone, Copy, Debug)]
pub(super) enum Review {
    /// The login of a connection, and then its subscriptions.
    Connection(Slot),
    Subscription(Subscriber),
}

impl Default for Principals {
    fn default() -> Self {
        Self { connections: BTreeMap::new(), anonymous: Arc::new(Principal::anonymous()) }
    }
}

impl Principals {
    /// Notes that a connection is of this principal, by users with this version; returns what the
    /// connection keeps.
    fn add(&mut self, principal: &Principal, slot: Slot, users_version: u64) -> Arc<Principal> {
        if principal.is_anonymous() {
            return Arc::clone(&self.anonymous);
        }
        let slots = self.connections.entry(Arc::clone(&principal.name)).or_default();
        slots.insert(slot, users_version);
        Arc::new(principal.clone())
    }

    pub(super) fn remove(&mut self, principal: &Principal, slot: Slot) {
        if let Some(slots) = self.connections.get_mut(&principal.name) {
            slots.remove(&slot);
            if slots.is_empty() {
                self.connections.remove(&principal.name);
            }
        }
    }

    /// The connections of the principal with this name.
    fn of(&self, name: &str) -> impl Iterator<Item = Slot> {
        self.connections.get(name).into_iter().flat_map(BTreeMap::keys).copied()
    }

    /// Has the login of a connection be by users with this version; `false`: it was already, or by later
    /// ones.
    fn update(&mut self, name: &str, slot: Slot, users_version: u64) -> bool {
        let version = self.connections.get_mut(name).and_then(|slots| slots.get_mut(&slot));
        let Some(version) = version.filter(|version| **version < users_version) else {
            return false;
        };
        *version = users_version;
        true
    }
}

impl Core {
    /// A connection is of this principal from now on, by users with this version.
    pub(super) fn set_principal(&mut self, slot: Slot, principal: &Principal, users_version: u64) {
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let kept = &mut entry.state.context.principal;
        if let Some(before) = kept.take() {
            self.principals.remove(&before, slot);
        }
        *kept = Some(self.principals.add(principal, slot, users_version));
    }

    /// Takes users and access rules that were changed. Their connections are gone through in the
    /// turns to come, some at a time.
    pub(crate) fn reload(&mut self, reload: Arc<Reload>) {
        self.now = clock::now();
        let mut to_review = mem::take(&mut self.to_review);
        if let Some(before) = self.reload.take() {
            for review in &to_review {
                if let Review::Connection(slot) = *review {
                    self.review_login(slot, &before);
                }
            }
        }
        let is_about_all = self.tools.access != reload.access;
        if is_about_all {
            to_review = self.reactor.iter().map(|(slot, _)| Review::Connection(slot)).collect();
        } else {
            let changed = reload.changes.keys().flat_map(|name| self.principals.of(name));
            to_review.extend(changed.map(Review::Connection));
        }
        self.to_review = to_review;
        self.tools.access = reload.access.clone();
        self.users_version = reload.users_version;
        self.authorise_pending(&reload);
        self.reload = Some(reload);
    }

    /// Authorises again what was authorised by the rules before and is not carried out: a subscription
    /// would come to be behind the review of its connection. Of one that has gone none stays.
    fn authorise_pending(&mut self, reload: &Reload) {
        let mut pending = mem::take(&mut self.tools.pending_requests);
        for request in &mut pending {
            let Request::Command(id, token, command, _) = request else { continue };
            let slot = slot_of(*id);
            self.review_login(slot, reload);
            let Some(entry) = self.reactor.get_mut(slot) else { continue };
            let context = &mut entry.state.context;
            let subject = context.subject(&self.tools, slot);
            if let Err(refusal) = self.tools.authorise(&subject, Action::Command(command)) {
                context.has_denial = true;
                *request = Request::Denied(*id, *token, refusal);
            }
        }
        pending.append(&mut self.tools.pending_requests);
        self.tools.pending_requests = pending;
    }

    /// Goes through some more of the connections that a reload may be about, and their subscriptions.
    pub(super) fn review(&mut self) {
        let Some(reload) = self.reload.clone() else { return };
        for _ in 0..REVIEWS_PER_TURN {
            match self.to_review.pop_front() {
                Some(Review::Connection(slot)) => {
                    self.review_login(slot, &reload);
                    let connection = self.tools.id(slot);
                    for &subscription in self.shard.subscriptions(connection).iter().rev() {
                        let subscriber = Subscriber { connection, subscription };
                        self.to_review.push_front(Review::Subscription(subscriber));
                    }
                }
                Some(Review::Subscription(subscriber)) => self.cancel_if_forbidden(subscriber),
                None => {
                    self.reload = None;
                    return;
                }
            }
        }
    }

    /// A connection is about to be read: what its peer has sent is done by the login that it has now,
    /// also what began to come before.
    pub(super) fn review_reader(&mut self, slot: Slot) {
        if let Some(reload) = &self.reload {
            let reload = Arc::clone(reload);
            self.review_login(slot, &reload);
        }
    }

    /// Does what a change of users means for the login of a connection, unless that is newer.
    fn review_login(&mut self, slot: Slot, reload: &Reload) {
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let principal = &mut entry.state.context.principal;
        let Some(name) = principal.as_ref().map(|principal| &*principal.name) else { return };
        let Some(change) = reload.changes.get(name) else { return };
        if !self.principals.update(name, slot, reload.users_version) {
            return;
        }
        match change {
            Change::Ended => self.end_login(slot, REVOKED),
            Change::Renewed(renewed) => {
                let renewed = Arc::new(renewed.clone());
                *principal = Some(Arc::clone(&renewed));
                self.step(slot, Input::Notice(Notice::Renewed(renewed)));
                self.schedule_check(slot);
            }
        }
    }

    /// Ends a subscription that the principal of its connection may not have any more.
    fn cancel_if_forbidden(&mut self, subscriber: Subscriber) {
        let slot = slot_of(subscriber.connection);
        let Some(pattern) = self.shard.pattern_of(subscriber) else { return };
        let Some(entry) = self.reactor.get(slot) else { return };
        let subject = entry.state.context.subject(&self.tools, slot);
        if let Err(refusal) = self.tools.authorise(&subject, Action::Subscribe(&pattern)) {
            self.cancel(subscriber, refusal);
        }
    }

    /// Ends a connection whose login holds no more.
    pub(super) fn end_login(&mut self, slot: Slot, why: &str) {
        match self.reactor.get(slot).and_then(|entry| entry.state.life.kind()) {
            Some(ConnectionKind::Session(_)) => {
                self.step(slot, Input::GivenUp(Reason::Unauthenticated, why));
            }
            Some(ConnectionKind::Relay(_)) => self.close(slot, Reason::Unauthenticated, why),
            Some(ConnectionKind::Upstream(_)) | None => {}
        }
    }
}

/// Connections and subscriptions, in all, that a turn goes through at most after a reload.
pub(super) const REVIEWS_PER_TURN: usize = 1000;
/// What the peer is told whose user is gone or has another password.
pub(super) const REVOKED: &str = "this user was removed or its password was changed: log in again";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_its_connections_while_they_last() {
        let mut principals = Principals::default();
        let slot = |index| Slot { index, generation: 1 };
        let who = ["ann", "bob"].map(|name| Principal::new(name, []));
        for (index, principal) in (0..10).zip(who.iter().cycle()) {
            assert_eq!(*principals.add(principal, slot(index), 0), *principal);
        }
        let of = |principals: &Principals, name| {
            principals.of(name).map(|slot| slot.index).collect::<Vec<_>>()
        };
        assert_eq!(of(&principals, "ann"), [0, 2, 4, 6, 8]);
        principals.remove(&who[0], slot(4));
        principals.remove(&who[0], slot(5));
        assert_eq!(of(&principals, "ann"), [0, 2, 6, 8]);
        assert_eq!(of(&principals, "bob"), [1, 3, 5, 7, 9]);
        for index in 0..10 {
            who.iter().for_each(|principal| principals.remove(principal, slot(index)));
        }
        assert!(principals.connections.is_empty());
    }

    #[test]
    fn those_who_have_not_logged_in_share_one_value() {
        let mut principals = Principals::default();
        let anonymous = Principal::anonymous();
        let [one, other] =
            [0, 1].map(|index| principals.add(&anonymous, Slot { index, generation: 1 }, 0));
        assert!(Arc::ptr_eq(&one, &other));
        assert!(principals.connections.is_empty());
    }
}
