//! Some shards and the rings between them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use broker::{Effect, Event, Parcel, Shard, Subscriber};
use contract::{ConnectionId, Delivery, Limits, Now, Refusal, Reply, Token};

/// What reaches a connection.
#[derive(Debug)]
pub(crate) enum Outcome {
    Replied(ConnectionId, Token, Result<Reply, Refusal>),
    Delivered(Subscriber, Delivery),
}

pub(crate) struct World {
    pub(crate) shards: Vec<Shard>,
    pub(crate) rings: BTreeMap<(u16, u16), VecDeque<Parcel>>,
    pub(crate) now: Now,
    effects: Vec<Effect>,
    pub(crate) outcomes: Vec<Outcome>,
}

impl World {
    pub(crate) fn new(cores: u16, limits: Limits) -> Self {
        let limits = Arc::new(limits);
        Self {
            shards: (0..cores).map(|core| Shard::new(core, cores, Arc::clone(&limits))).collect(),
            rings: BTreeMap::new(),
            now: Now { mono_ns: 0, unix_ms: 1_000_000 },
            effects: Vec::new(),
            outcomes: Vec::new(),
        }
    }

    pub(crate) fn apply(&mut self, core: u16, event: Event) {
        self.shards[usize::from(core)].apply(event, self.now, &mut self.effects);
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
                Effect::Peer(to, parcel) => {
                    assert_ne!(to, core, "a shard sends nothing to itself");
                    self.rings.entry((core, to)).or_default().push_back(parcel);
                }
            }
        }
    }

    /// Carries one parcel; `false` if there is none on this ring.
    pub(crate) fn carry(&mut self, from: u16, to: u16) -> bool {
        let Some(parcel) = self.rings.get_mut(&(from, to)).and_then(VecDeque::pop_front) else {
            return false;
        };
        self.apply(to, Event::Peer(from, parcel));
        true
    }

    /// The rings that hold something.
    pub(crate) fn busy(&self) -> Vec<(u16, u16)> {
        self.rings.iter().filter(|(_, ring)| !ring.is_empty()).map(|(&ring, _)| ring).collect()
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
