//! Some shards and the channels between them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use broker::{Effect, Event, Shard, ShardMessage, Subscriber};
use contract::{ConnectionId, Delivery, Limits, Now, Refusal, Reply, Token};

/// What reaches a connection.
#[derive(Debug)]
pub(crate) enum Outcome {
    Replied(ConnectionId, Token, Result<Reply, Refusal>),
    Delivered(Subscriber, Delivery),
}

pub(crate) struct World {
    pub(crate) shards: Vec<Shard>,
    pub(crate) channels: BTreeMap<(u16, u16), VecDeque<ShardMessage>>,
    pub(crate) now: Now,
    effects: Vec<Effect>,
    pub(crate) outcomes: Vec<Outcome>,
    /// Whether the counts of a shard are checked after each event.
    pub(crate) is_checked: bool,
}

impl World {
    pub(crate) fn new(cores: u16, limits: Limits) -> Self {
        let limits = Arc::new(limits);
        Self {
            shards: (0..cores).map(|core| Shard::new(core, cores, Arc::clone(&limits))).collect(),
            channels: BTreeMap::new(),
            now: Now { mono_ns: 0, unix_ms: 1_000_000 },
            effects: Vec::new(),
            outcomes: Vec::new(),
            is_checked: true,
        }
    }

    pub(crate) fn apply(&mut self, core: u16, event: Event) {
        let shard = &mut self.shards[usize::from(core)];
        shard.apply(event, self.now, &mut self.effects);
        if self.is_checked {
            shard.assert_consistent();
        }
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Reply(connection, token, result) => {
                    self.outcomes.push(Outcome::Replied(connection, token, result));
                }
                Effect::Deliver(subscriber, delivery) => {
                    self.outcomes.push(Outcome::Delivered(subscriber, delivery));
                }
                Effect::Fanout(subscribers, message) => {
                    let delivery = Delivery { message, tag: None, redeliveries: 0 };
                    let deliveries = subscribers
                        .iter()
                        .map(|&subscriber| Outcome::Delivered(subscriber, delivery.clone()));
                    self.outcomes.extend(deliveries);
                }
                Effect::Peer(to, message) => {
                    assert_ne!(to, core, "a shard sends nothing to itself");
                    self.channels.entry((core, to)).or_default().push_back(message);
                }
            }
        }
    }

    /// Carries one message; `false` if there is none on this channel.
    pub(crate) fn carry(&mut self, from: u16, to: u16) -> bool {
        let Some(message) = self.channels.get_mut(&(from, to)).and_then(VecDeque::pop_front) else {
            return false;
        };
        self.apply(to, Event::Peer(from, message));
        true
    }

    /// The channels that hold something.
    pub(crate) fn busy(&self) -> Vec<(u16, u16)> {
        self.channels
            .iter()
            .filter(|(_, channel)| !channel.is_empty())
            .map(|(&channel, _)| channel)
            .collect()
    }

    pub(crate) fn carry_all(&mut self) {
        while let Some(&(from, to)) = self.busy().first() {
            self.carry(from, to);
        }
    }

    pub(crate) fn advance(&mut self, ms: u64) {
        self.now.mono_ns += ms * 1_000_000;
        self.now.unix_ms += ms;
    }

    pub(crate) fn tick(&mut self) {
        for core in 0..u16::try_from(self.shards.len()).unwrap() {
            self.apply(core, Event::Tick);
        }
    }
}
