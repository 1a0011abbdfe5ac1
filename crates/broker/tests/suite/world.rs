//! Some shards and the channels between them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use broker::{Effect, Event, Shard, ShardMessage, Subscriber};
use contract::{
    BrokerLimits, ConnectionId, ConnectionLimits, Delivery, Notice, Now, Refusal, Reply, Token,
};

/// What reaches a connection.
#[derive(Debug)]
pub(crate) enum Outcome {
    Replied(ConnectionId, Token, Result<Reply, Refusal>),
    Noticed(ConnectionId, Notice),
    Delivered(Subscriber, Delivery),
}

/// The limits of the broker, and those of connections that come with none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) broker: BrokerLimits,
    pub(crate) connection: ConnectionLimits,
}

pub(crate) struct World {
    pub(crate) shards: Vec<Shard>,
    channels: BTreeMap<(u16, u16), VecDeque<InFlight>>,
    pub(crate) now: Now,
    effects: Vec<Effect>,
    pub(crate) outcomes: Vec<Outcome>,
    /// When the cause of the last event came: a shard message when it was sent, others just now.
    pub(crate) caused_at: Now,
    /// Whether the counts of a shard are checked after each event.
    pub(crate) is_checked: bool,
}

struct InFlight {
    sent_at: Now,
    message: ShardMessage,
}

impl World {
    pub(crate) fn new(cores: u16, limits: Limits) -> Self {
        let (broker, connection) = (Arc::new(limits.broker), Arc::new(limits.connection));
        let shard = |core| Shard::new(core, cores, Arc::clone(&broker), Arc::clone(&connection));
        Self {
            shards: (0..cores).map(shard).collect(),
            channels: BTreeMap::new(),
            now: Now { mono_ns: 0, unix_ms: 1_000_000 },
            effects: Vec::new(),
            outcomes: Vec::new(),
            caused_at: Now::default(),
            is_checked: true,
        }
    }

    pub(crate) fn apply(&mut self, core: u16, event: Event) {
        self.cause(core, event, self.now);
    }

    fn cause(&mut self, core: u16, event: Event, caused_at: Now) {
        self.caused_at = caused_at;
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
                Effect::Notice(connection, notice) => {
                    self.outcomes.push(Outcome::Noticed(connection, notice));
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
                Effect::ToShard(to, message) => {
                    assert_ne!(to, core, "a shard sends nothing to itself");
                    let in_flight = InFlight { sent_at: self.now, message };
                    self.channels.entry((core, to)).or_default().push_back(in_flight);
                }
            }
        }
    }

    /// Carries one message; `false` if there is none on this channel.
    pub(crate) fn carry(&mut self, from: u16, to: u16) -> bool {
        let channel = self.channels.get_mut(&(from, to));
        let Some(InFlight { sent_at, message }) = channel.and_then(VecDeque::pop_front) else {
            return false;
        };
        self.cause(to, Event::FromShard(from, message), sent_at);
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

    /// Memory that is in flight, in bytes.
    pub(crate) fn in_flight_bytes(&self) -> usize {
        self.channels.values().flatten().map(|in_flight| in_flight.message.cost()).sum()
    }

    pub(crate) fn advance(&mut self, ms: u64) {
        self.now.mono_ns += ms * 1_000_000;
        self.now.unix_ms += ms;
    }

    pub(crate) fn time_out(&mut self) {
        for core in 0..u16::try_from(self.shards.len()).unwrap() {
            self.apply(core, Event::Timeout);
        }
    }
}
