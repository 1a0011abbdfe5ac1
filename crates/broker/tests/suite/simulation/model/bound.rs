//! What the model knows of durable and shared subscriptions: queues that get what is published to topics.
//!
//! One is there for certain from the reply to a subscription until something is commanded that may delete
//! it. What is published meanwhile must come to it; what is published before or behind may.

use std::sync::Arc;

use contract::{
    ConnectionId, Durable, DurableName, Ending, Pattern, Selector, Settlement, Strings, Subscribe,
    SubscriptionId,
};

use super::{
    CommandId, Model, Sent, matches,
    selection::{SELECTORS, Selects},
    subscription::{Phase, Subscription},
};

/// A subscription that several connections may have, one after the other or together.
#[derive(Debug)]
pub(crate) struct Bound {
    /// As that of its queue.
    pub(crate) name: &'static str,
    client: &'static str,
    own_name: &'static str,
    topics: &'static str,
    /// Its index in [`SELECTORS`].
    selector: Option<usize>,
    is_shared: bool,
    no_local: bool,
    /// It is durable.
    pub(crate) lasts: bool,
}

const NONE: Bound = Bound {
    name: "",
    client: "c",
    own_name: "",
    topics: "/topic/>",
    selector: None,
    is_shared: false,
    no_local: false,
    lasts: true,
};

pub(crate) const BOUND: [Bound; 5] = [
    Bound { name: "/subscription/ann.c.one", own_name: "one", topics: "/topic/a.*", ..NONE },
    Bound { name: "/subscription/ann.c.two", own_name: "two", no_local: true, ..NONE },
    Bound {
        name: "/subscription/ann.d.three",
        client: "d",
        own_name: "three",
        selector: Some(2),
        ..NONE
    },
    Bound {
        name: "/subscription/ann.*0.four",
        client: "",
        own_name: "four",
        topics: "/topic/*.c",
        is_shared: true,
        ..NONE
    },
    Bound {
        name: "/subscription/ann.*0.five.shared",
        client: "",
        own_name: "five",
        is_shared: true,
        lasts: false,
        ..NONE
    },
];

/// The one whose queue has this name.
pub(crate) fn bound(name: &str) -> Option<&'static Bound> {
    BOUND.iter().find(|bound| bound.name == name)
}

impl Bound {
    pub(crate) fn durable_name(&self) -> DurableName {
        let new = if self.lasts { DurableName::new } else { DurableName::not_durable };
        new(Some("ann"), self.client, self.own_name).unwrap()
    }

    pub(crate) fn subscribe(&self, id: SubscriptionId) -> Subscribe {
        let selector = self
            .selector
            .map(|index| Arc::new(Selector::parse(SELECTORS[index].0, Strings::Strict).unwrap()));
        let durable = Durable {
            name: self.durable_name(),
            is_shared: self.is_shared,
            no_local: self.no_local,
            displaces: false,
        };
        Subscribe {
            credit: Some(0),
            settlement: if self.lasts { Settlement::Automatic } else { Settlement::Explicit },
            selector,
            durable: Some(Box::new(durable)),
            ..Subscribe::new(id, Pattern::parse(self.topics).unwrap())
        }
    }

    fn selects(&self) -> Selects {
        self.selector.map_or(|_, _| true, |index| SELECTORS[index].1)
    }

    fn takes(&self, to: &str, priority: u8, key: Option<&str>) -> bool {
        matches(self.topics, to) && self.selects()(priority, key)
    }
}

/// Whether one of [`BOUND`] is there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Presence {
    is_certain: bool,
    /// Commands that may have deleted it, or kept something from it.
    deletions: u64,
    /// One of them may be in flight.
    is_deleting: bool,
}

/// What is known of a subscription to one of [`BOUND`].
#[derive(Debug)]
pub(super) struct Joined {
    bound: &'static Bound,
    /// As it was requested.
    presence: Presence,
    /// The last message that was sent before it was confirmed.
    message_last: u128,
}

impl Joined {
    pub(super) fn new(bound: &'static Bound, presence: Presence) -> Self {
        Self { bound, presence, message_last: u128::MAX }
    }

    /// Its own connection published this message, and while it had the subscription.
    pub(super) fn is_local(
        &self,
        producer: ConnectionId,
        connection: ConnectionId,
        id: u128,
    ) -> bool {
        self.bound.no_local && producer == connection && id > self.message_last
    }
}

impl Model {
    pub(super) fn presence(&self, bound: &Bound) -> Presence {
        self.presences.get(bound.name).copied().unwrap_or_default()
    }

    /// A command may delete it: what it has may go.
    pub(super) fn may_delete(&mut self, name: &str) {
        let Some(bound) = bound(name) else { return };
        let presence = self.presences.entry(bound.name).or_default();
        presence.is_certain = false;
        presence.deletions += 1;
        presence.is_deleting = true;
        self.queues.loosen(bound.name, None);
    }

    /// A connection subscribes to one that does not get what that publishes: what it has published before
    /// may be carried out behind it.
    pub(super) fn may_be_local(&mut self, bound: &'static Bound, connection: ConnectionId) {
        if bound.no_local {
            self.presences.entry(bound.name).or_default().deletions += 1;
            self.queues.loosen(bound.name, Some(connection));
        }
    }

    /// A subscription ends, in this way.
    pub(super) fn leaves(&mut self, name: &str, ending: Ending) {
        if bound(name).is_some_and(|bound| ending == Ending::Delete || !bound.lasts) {
            self.may_delete(name);
        }
    }

    /// A subscription is confirmed.
    pub(super) fn joined(&mut self, connection: ConnectionId, id: SubscriptionId, serial: u64) {
        let message_last = self.message_last;
        let Some(client) = self.clients.get_mut(&connection) else { return };
        let subscription = client.subscriptions.get_mut(&id).filter(|one| one.serial == serial);
        let Some(joined) = subscription.and_then(|s| s.joined.as_mut()) else { return };
        joined.message_last = message_last;
        let before = joined.presence;
        let presence = self.presences.entry(joined.bound.name).or_default();
        if presence.deletions == before.deletions && !before.is_deleting {
            presence.is_certain = true;
        }
    }

    /// A message is published to a topic: it comes to those that are there.
    pub(super) fn publish_to_bound(&mut self, sent: &Sent, command: CommandId) {
        for bound in &BOUND {
            if !self.has_bound || !bound.takes(&sent.to, sent.priority, sent.key.as_deref()) {
                continue;
            }
            let is_optional = !self.must_get(bound, command.0);
            let sent = Sent { to: bound.name.to_owned(), ..sent.clone() };
            let published = (sent.to.clone(), sent.id);
            self.effects.entry(command).or_default().published.push(published);
            self.queues.publish(sent, command, is_optional);
        }
    }

    /// Whether it gets all that it selects and this connection publishes.
    fn must_get(&self, bound: &Bound, connection: ConnectionId) -> bool {
        let client = self.clients.get(&connection);
        let mut own = client.into_iter().flat_map(|client| client.subscriptions.values());
        let may_be_local = bound.no_local && own.any(|own| own.pattern == bound.name);
        self.presence(bound).is_certain && !may_be_local
    }

    /// The durable ones that must keep a message, and how often each may have been deleted.
    pub(crate) fn keepers(
        &self,
        connection: ConnectionId,
        to: &str,
        priority: u8,
        key: Option<&str>,
    ) -> impl Iterator<Item = (&'static str, u64)> {
        let keeps = move |bound: &&Bound| {
            self.has_bound
                && bound.lasts
                && bound.takes(to, priority, key)
                && self.must_get(bound, connection)
        };
        BOUND.iter().filter(keeps).map(|bound| (bound.name, self.presence(bound).deletions))
    }

    pub(crate) fn deletions(&self, name: &str) -> u64 {
        bound(name).map_or(0, |bound| self.presence(bound).deletions)
    }

    /// Those that a process must have which begins now.
    pub(crate) fn certain(&self) -> impl Iterator<Item = &'static Bound> {
        BOUND.iter().filter(|bound| bound.lasts && self.presence(bound).is_certain)
    }

    /// Nothing is in flight: what has a consumer is there.
    pub(super) fn rest_bound(&mut self) {
        let has_consumer = |name: &str| {
            let all = self.clients.values().flat_map(|client| client.subscriptions.values());
            let mut own = all.filter(|subscription| subscription.pattern == name);
            own.any(|subscription: &Subscription| subscription.phase == Phase::Confirmed)
        };
        let present: Vec<bool> = BOUND.iter().map(|bound| has_consumer(bound.name)).collect();
        for (bound, is_present) in BOUND.iter().zip(present) {
            let presence = self.presences.entry(bound.name).or_default();
            presence.is_deleting = false;
            presence.is_certain |= is_present;
        }
    }

    /// A queue has been emptied, and is not deleted yet.
    pub(crate) fn check_emptied(&self, name: &str) {
        let lost = self.queues.ready(name, self.latest_unix_ms).next();
        assert!(lost.is_none(), "lost in {name}: {lost:?}");
    }
}
