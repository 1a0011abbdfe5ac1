use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};

use contract::{
    Command, ConnectionLimits, Credit, Delivery, Destination, DestinationKind, Login, Message,
    Operation, Refusal, Reply, Settle, Settlement, Subscribe, SubscriptionId, Tag, Token,
};

use crate::Output;

/// What a broker would know about a session, and what must hold of all that the session wants of it: only
/// what was delivered and is not settled is settled, and credit stays within its bound.
#[derive(Debug, Default)]
pub struct Model {
    login: Option<Token>,
    /// The login may be challenged.
    is_exchange: bool,
    pending: Vec<(Token, SentCommand)>,
    subscriptions: BTreeMap<SubscriptionId, Subscribed>,
}

#[derive(Debug)]
enum SentCommand {
    Unsubscribe(SubscriptionId),
    Drain(SubscriptionId),
    /// With the deliveries that it settles, which are unsettled again if it is refused.
    Transact(Vec<(SubscriptionId, Vec<Tag>)>),
    Other,
}

#[derive(Debug)]
struct Subscribed {
    destination: Destination,
    uses_credit: bool,
    /// What is delivered and not settled is the broker's still; a topic keeps nothing.
    is_kept: bool,
    explicit: bool,
    is_ending: bool,
    /// Deliveries of transactions that were refused, when others had taken their place.
    given_back: usize,
    credit: u32,
    tag_next: u64,
    unsettled: BTreeSet<Tag>,
}

impl Model {
    /// Takes note of what the session wants.
    ///
    /// # Panics
    /// When it may not want that.
    pub fn apply(&mut self, output: &Output, limits: &ConnectionLimits) {
        match output {
            Output::Send(..) | Output::Share(..) | Output::Close(..) => {}
            Output::Login(token, login) => {
                self.is_exchange = matches!(login, Login::Sasl { .. } | Login::Response(_));
                assert!(self.login.replace(*token).is_none(), "two logins at once");
            }
            Output::Settle(settle, reply) => {
                self.settle(settle);
                self.pending.extend(reply.map(|token| (token, SentCommand::Other)));
            }
            Output::Credit(id, credit) => {
                // It may be cancelled already, which the session does not know yet.
                let Some(subscribed) = self.subscriptions.get_mut(id) else { return };
                subscribed.credit = match *credit {
                    Credit::Add(count) => subscribed.credit.saturating_add(count),
                    Credit::Set(count) => count,
                };
                let unsettled = if subscribed.is_kept { subscribed.unsettled.len() } else { 0 };
                let in_flight = u32::try_from(unsettled).unwrap_or(u32::MAX);
                let allowed = subscribed.credit.saturating_add(in_flight);
                let allowed_max = limits.unsettled_max() + subscribed.given_back;
                assert!(allowed as usize <= allowed_max, "{id:?} has {allowed} in flight");
            }
            Output::Command(token, command) => {
                let command = match command {
                    Command::Subscribe(subscribe) => {
                        self.subscribe(subscribe, limits.prefetch_max);
                        SentCommand::Other
                    }
                    Command::Unsubscribe(id, _) => {
                        let subscribed = self.subscriptions.get_mut(id);
                        let was_ending =
                            subscribed.map(|one| mem::replace(&mut one.is_ending, true));
                        assert_eq!(
                            was_ending,
                            Some(false),
                            "{id:?} is to be subscribed, and not to end"
                        );
                        SentCommand::Unsubscribe(*id)
                    }
                    Command::Declare(declare) => {
                        assert!(declare.destination.random().is_some(), "{declare:?}");
                        SentCommand::Other
                    }
                    Command::Drain(id) => SentCommand::Drain(*id),
                    Command::Claim(..)
                    | Command::Publish(..)
                    | Command::Delete(_)
                    | Command::Find(_)
                    | Command::Undeclare(_) => SentCommand::Other,
                    Command::Transact(_, operations) => {
                        let settles = operations.iter().filter_map(|operation| match operation {
                            Operation::Settle(settle) => Some(settle),
                            Operation::Publish(_) => None,
                        });
                        let settled = settles.map(|one| (one.subscription, self.settle(one)));
                        SentCommand::Transact(settled.collect())
                    }
                };
                self.pending.push((*token, command));
            }
        }
    }

    /// The login that waits for its reply, which is given now, and whether it may be challenged.
    pub fn login(&mut self) -> Option<(Token, bool)> {
        self.login.take().map(|token| (token, self.is_exchange))
    }

    /// How many commands and settlements wait for their reply.
    #[must_use]
    pub const fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Replies to one of them.
    pub fn reply(
        &mut self,
        index: usize,
        refused: Option<Refusal>,
    ) -> Option<(Token, Result<Reply, Refusal>)> {
        if index >= self.pending.len() {
            return None;
        }
        let (token, command) = self.pending.swap_remove(index);
        let mut reply = Reply::Done;
        match command {
            SentCommand::Unsubscribe(id) => drop(self.subscriptions.remove(&id)),
            SentCommand::Drain(id) => {
                if let Some(subscribed) = self.subscriptions.get_mut(&id) {
                    subscribed.credit = 0;
                }
                reply = Reply::Drained;
            }
            SentCommand::Transact(settled) if refused.is_some() => {
                for (id, tags) in settled {
                    if let Some(subscribed) = self.subscriptions.get_mut(&id) {
                        subscribed.given_back += tags.len();
                        subscribed.unsettled.extend(tags);
                    }
                }
            }
            SentCommand::Transact(_) | SentCommand::Other => {}
        }
        Some((token, refused.map_or(Ok(reply), Err)))
    }

    /// How many subscriptions there are.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.subscriptions.len()
    }

    /// A message for one of them, if it has credit.
    pub fn delivery(
        &mut self,
        index: usize,
        message: impl FnOnce(&Destination) -> Message,
    ) -> Option<(SubscriptionId, Delivery)> {
        let (id, subscribed) = self.subscriptions.iter_mut().nth(index)?;
        if subscribed.uses_credit {
            subscribed.credit = subscribed.credit.checked_sub(1)?;
        }
        let tag = subscribed.explicit.then(|| {
            subscribed.tag_next += 1;
            Tag(subscribed.tag_next)
        });
        subscribed.unsettled.extend(tag);
        let message = message(&subscribed.destination);
        Some((*id, Delivery { tag, ..Delivery::new(Arc::new(message)) }))
    }

    /// Ends one of them.
    pub fn cancel(&mut self, index: usize) -> Option<SubscriptionId> {
        let id = *self.subscriptions.keys().nth(index)?;
        self.subscriptions.remove(&id);
        Some(id)
    }

    fn subscribe(&mut self, subscribe: &Subscribe, prefetch_max: u32) {
        assert!(subscribe.credit <= Some(prefetch_max), "{subscribe:?}");
        let is_explicit = subscribe.settlement == Settlement::Explicit;
        let subscribed = Subscribed {
            destination: subscribe
                .pattern
                .destination()
                .cloned()
                .unwrap_or_else(|| Destination::temporary(DestinationKind::TempTopic, 1)),
            // That of a topic is used until the delivery is written, which it is at once here.
            uses_credit: subscribe.pattern.kind().is_queue()
                || subscribe.credit.is_some() && is_explicit,
            is_kept: subscribe.pattern.kind().is_queue() || subscribe.durable.is_some(),
            explicit: is_explicit,
            is_ending: false,
            given_back: 0,
            credit: subscribe.credit.unwrap_or_default(),
            tag_next: 0,
            unsettled: BTreeSet::new(),
        };
        let before = self.subscriptions.insert(subscribe.id, subscribed);
        assert!(before.is_none(), "{:?} is subscribed twice", subscribe.id);
    }

    /// Returns the deliveries that are settled with that.
    fn settle(&mut self, settle: &Settle) -> Vec<Tag> {
        let Some(subscribed) = self.subscriptions.get_mut(&settle.subscription) else {
            return Vec::new();
        };
        for tag in [settle.tags.start(), settle.tags.end()] {
            assert!(subscribed.unsettled.contains(tag), "{settle:?} is not unsettled");
        }
        subscribed.unsettled.extract_if(settle.tags.clone(), |_| true).collect()
    }
}
