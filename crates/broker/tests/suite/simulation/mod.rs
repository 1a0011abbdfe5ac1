//! Clients that act at random on shards of one to eight cores, with shard messages in flight for any
//! time, watched by a model of what they may expect.
//!
//! A run follows from its seed. A failure shows the last lines of what happened, and the seed;
//! `SIMULATION_SEED=17 cargo test -p broker simulation` repeats a run and shows all of it,
//! `SIMULATION_SEEDS=20000` makes more runs.

mod client;
mod durability;
mod model;
mod schedule;
mod show;
mod trace;

use std::{collections::BTreeMap, env};

use broker::{Event, Quota, Shard, StoreGate as _};
use contract::{
    ConnectionId, Credit, Delivery, Destination, Ending, Pattern, Refusal, Subscribe,
    SubscriptionId, Value,
};
use testkit::Random;

use self::{
    durability::Promise,
    model::{Arrival, BOUND, CommandId, Depth, Model, Producer, Tally},
    schedule::{InFlight, Schedule, Step},
    trace::Trace,
};
use crate::{
    real_store::RealStore,
    world::{Outcome, World},
};

#[test]
fn the_broker_does_what_the_model_allows() {
    if let Some(seed) = number("SIMULATION_SEED") {
        Simulation::run(seed, usize::MAX);
        return;
    }
    let mut total = Tally::default();
    let seeds = number("SIMULATION_SEEDS").unwrap_or(SEEDS);
    for seed in 0..seeds {
        let (tally, hash) = Simulation::run(seed, 40);
        if seed % 16 == 0 {
            assert_eq!(hash, Simulation::run(seed, 40).1, "seed {seed} does not repeat");
        }
        total.add(&tally);
    }
    total.assert_covers(seeds);
}

/// One run.
struct Simulation {
    schedule: Schedule,
    random: Random,
    trace: Trace,
    world: World,
    model: Model,
    /// The store is.
    is_open: bool,
    /// What commands that are not confirmed do to the store.
    promises: BTreeMap<CommandId, Vec<Promise>>,
    latest_unix_ms: u64,
    /// Who sent each message.
    producers: BTreeMap<u128, Producer>,
    /// Connections that are closing and have not gone.
    closing: Vec<ConnectionId>,
    slot_last: u32,
    token_last: u64,
    message_last: u128,
}

impl Simulation {
    fn run(seed: u64, lines_max: usize) -> (Tally, u64) {
        let mut random = Random::new(seed);
        let schedule = Schedule::draw(seed, &mut random);
        let mut simulation = Self {
            world: World::new(schedule.cores, schedule.limits.clone()),
            model: Model::new(schedule.limits.clone(), schedule.rules, schedule.has_bound),
            is_open: true,
            trace: Trace::new(seed, lines_max),
            random,
            promises: BTreeMap::new(),
            latest_unix_ms: 0,
            producers: BTreeMap::new(),
            closing: Vec::new(),
            slot_last: 0,
            token_last: 0,
            message_last: 0,
            schedule,
        };
        let real = simulation.schedule.real_store;
        let store = real.map(|syncs| RealStore::new(seed, simulation.schedule.cores, syncs));
        simulation.world.store = store;
        simulation.trace.add(format!("{:?}", simulation.schedule));
        simulation.begin();
        for step in 0..STEPS {
            simulation.trace.begin_step(step);
            simulation.step();
            if step % RESTART_STEPS == RESTART_STEPS - 1 {
                simulation.check_restart();
            }
        }
        simulation.end();
        (simulation.model.tally, simulation.trace.hash())
    }

    fn begin(&mut self) {
        if self.schedule.keeps_interest {
            for core in 0..self.schedule.cores {
                let kept = Destination::parse(KEPT).unwrap();
                self.apply(core, Event::KeepInterest(kept.into()));
            }
            self.rest();
        }
    }

    fn step(&mut self) {
        let busy = self.world.busy();
        let connections: Vec<ConnectionId> = self.model.clients.keys().copied().collect();
        let (writing, reading) = (self.world.writing(), self.world.reading());
        let loading = self.world.loading();
        let world =
            InFlight { busy: &busy, writing: &writing, loading: &loading, reading: &reading };
        match self.schedule.next(&mut self.random, world, connections.len()) {
            Step::Carry { from, to, count } => {
                (0..count).for_each(|_| self.carry(from, to));
            }
            Step::Store(core, count) => self.store(core, count),
            Step::Load(core) => self.load(core),
            Step::Write(connection, count) => self.write(connection, count),
            Step::Pass(ms) => {
                self.world.advance(ms);
                self.trace.add(format!("it is {}", self.world.now.unix_ms));
            }
            Step::SetBack(ms) => {
                self.world.now.unix_ms -= ms;
                self.trace.add(format!("the clock is set back to {}", self.world.now.unix_ms));
            }
            Step::Timeout(core) => self.apply(core, Event::Timeout),
            Step::Turn(core) => self.apply(core, Event::Turn),
            Step::Disk if self.random.once_in(3) => self.open_store(!self.is_open),
            Step::Disk => self.world.gate.set(match self.world.gate.refusal() {
                Some(_) => None,
                None => Some(Refusal::StoreFull),
            }),
            Step::Connect(core) => drop(self.connect(core)),
            Step::Vanish if !self.closing.is_empty() && self.random.once_in(2) => {
                let connection = self.random.pick(&self.closing);
                self.vanish(connection);
            }
            Step::Vanish if !connections.is_empty() => {
                let connection = self.random.pick(&connections);
                if self.random.once_in(2) {
                    self.vanish(connection);
                } else {
                    self.close(connection);
                }
            }
            Step::Act if !connections.is_empty() => {
                let connection = self.random.pick(&connections);
                self.act(connection);
            }
            Step::Vanish | Step::Act => {}
            Step::Rest => self.rest(),
        }
    }

    fn connect(&mut self, core: u16) -> ConnectionId {
        self.slot_last += 1;
        let connection = ConnectionId { core, slot: self.slot_last, generation: 1 };
        self.model.connect(connection);
        connection
    }

    fn carry(&mut self, from: u16, to: u16) {
        if self.world.carry(from, to) {
            self.trace.add(format!("> {to}: from {from}"));
            self.observe();
        }
    }

    fn store(&mut self, core: u16, count: usize) {
        self.trace.add(format!("> {core}: stored"));
        self.world.store(core, count);
        self.observe();
    }

    fn load(&mut self, core: u16) {
        self.trace.add(format!("> {core}: loaded"));
        self.world.load(core);
        self.observe();
    }

    fn apply(&mut self, core: u16, event: Event) {
        self.trace.add(format!("> {core}: {}", show::event(&event)));
        self.world.apply(core, event);
        self.observe();
    }

    /// Tells the model what came of the last event.
    fn observe(&mut self) {
        self.model.see_time(self.world.now);
        self.latest_unix_ms = self.latest_unix_ms.max(self.world.now.unix_ms);
        for outcome in std::mem::take(&mut self.world.outcomes) {
            match outcome {
                Outcome::Replied(connection, token, result) => {
                    self.trace.add(show::reply(connection, token, result.as_ref()));
                    self.check_promises((connection, token), result.is_ok());
                    let now_ns = self.world.now.mono_ns;
                    self.model.replied((connection, token), result.map(drop), now_ns);
                }
                Outcome::Noticed(connection, notice) => {
                    self.trace.add(show::notice(connection, &notice));
                    self.model.noticed(connection, &notice);
                }
                Outcome::Delivered(subscriber, delivery) => {
                    let arrival = self.arrival(&delivery);
                    self.trace.add(show::delivery(subscriber, &delivery));
                    let subscription = self.model.subscription(subscriber);
                    let queue = subscription.map(|s| s.pattern.clone()).unwrap_or_default();
                    if self.is_durable(&queue, &delivery.message) {
                        self.check_is_stored(&queue, &arrival);
                    }
                    self.model.delivered(subscriber, &arrival, self.world.now.mono_ns);
                }
            }
        }
    }

    fn arrival(&self, delivery: &Delivery) -> Arrival {
        let message = &delivery.message;
        let dead = message.dead_letter();
        Arrival {
            id: message.id,
            to: message.to.to_string(),
            producer: self.producers[&message.id],
            priority: message.header.priority,
            cost: message.cost(),
            group: message.header.group,
            tag: delivery.tag,
            redeliveries: delivery.redeliveries,
            dropped: delivery.dropped,
            key: match message.property("key") {
                Some(Value::String(key)) => Some(key.to_owned()),
                _ => None,
            },
            dead: dead.map(|dead| (dead.queue.to_string(), dead.reason)),
            // From its home on another core, or on this one.
            left_unix_ms: self.world.caused_at.unix_ms.min(self.world.now.unix_ms),
        }
    }

    /// The store is open from now on, or it is not, as one that is opened with the first durable message.
    fn open_store(&mut self, is_open: bool) {
        self.is_open = is_open;
        for core in 0..self.schedule.cores {
            self.apply(core, Event::StoreOpened(is_open));
        }
    }

    /// All that is in flight arrives, is stored and is written, in any order; now and then time passes
    /// until nothing comes any more.
    fn rest(&mut self) {
        if !self.is_open {
            self.settle_down();
            self.open_store(true);
        }
        if self.world.gate.refusal().is_some() {
            self.settle_down();
            self.world.gate.set(None);
            for core in 0..self.schedule.cores {
                self.apply(core, Event::Timeout);
            }
        }
        self.settle_down();
        let has_waited = self.random.once_in(4);
        let mut quiet = 0;
        while has_waited && quiet < 3 {
            let before = self.model.tally.topic_deliveries;
            self.world.advance(100);
            for core in 0..self.schedule.cores {
                self.apply(core, Event::Timeout);
            }
            self.settle_down();
            quiet = if self.model.tally.topic_deliveries == before { quiet + 1 } else { 0 };
        }
        let queued = self.world.shards.iter().map(|shard| shard.stats().queued_bytes);
        assert!(queued.sum::<usize>() <= self.world.ledger.drawn(Quota::Bytes), "not drawn");
        let depths = self.world.shards.iter().flat_map(Shard::queues).map(|queue| {
            let (ready, unsettled, blocked) =
                (queue.ready + queue.delayed, queue.unsettled, queue.blocked);
            (queue.name.to_string(), Depth { ready, unsettled, blocked })
        });
        let depths: BTreeMap<String, Depth> = depths.collect();
        for (queue, depth) in depths.iter().filter(|(queue, _)| durability::is_kept(queue)) {
            self.check_disk(queue, depth.ready + depth.unsettled);
        }
        self.check_attempts();
        self.model.rest(&depths, has_waited);
    }

    fn settle_down(&mut self) {
        loop {
            let (busy, writing) = (self.world.busy(), self.world.writing());
            let (loading, reading) = (self.world.loading(), self.world.reading());
            if !writing.is_empty() && (busy.is_empty() || self.random.once_in(4)) {
                let core = self.random.pick(&writing);
                let count = 1 + self.random.below(4);
                self.store(core, count);
            } else if !loading.is_empty() && (busy.is_empty() || self.random.once_in(4)) {
                let core = self.random.pick(&loading);
                self.load(core);
            } else if !reading.is_empty() && (busy.is_empty() || self.random.once_in(4)) {
                let connection = self.random.pick(&reading);
                let count = 1 + self.random.below(4);
                self.write(connection, count);
            } else if !busy.is_empty() {
                let (from, to) = self.random.pick(&busy);
                self.carry(from, to);
            } else if let Some(&core) = self.world.deferring().first() {
                self.apply(core, Event::Turn);
            } else if let Some(&core) = self.world.searching().first() {
                // Another turn, and no more time than that.
                self.world.now.mono_ns += 1;
                self.apply(core, Event::Timeout);
            } else {
                break;
            }
        }
    }

    /// All go, the queues are emptied, and nothing is left.
    fn end(&mut self) {
        self.rest();
        for connection in self.model.clients.keys().copied().collect::<Vec<_>>() {
            self.vanish(connection);
            (0..self.random.below(9)).for_each(|_| self.step_in_flight());
        }
        for connection in self.closing.clone() {
            self.vanish(connection);
        }
        self.rest();
        if self.schedule.has_delays {
            self.world.advance(60_000);
            for core in 0..self.schedule.cores {
                self.apply(core, Event::Timeout);
            }
            self.rest();
        }
        let bound = BOUND.iter().filter(|bound| self.schedule.has_bound && bound.lasts);
        let bound: Vec<String> = bound.map(|bound| bound.name.to_owned()).collect();
        let queues =
            self.model.begin_to_drain().into_iter().filter(|queue| model::bound(queue).is_none());
        for queue in queues.chain(bound).collect::<Vec<_>>() {
            self.empty(&queue);
        }
        self.model.drained();
        self.world.advance(60_000);
        for core in 0..self.schedule.cores {
            self.apply(core, Event::Timeout);
        }
        self.rest();
        for core in 0..self.schedule.cores {
            self.apply(core, Event::Timeout);
        }
        self.world.shards.iter().for_each(Shard::assert_empty);
        for shard in &self.world.shards {
            assert_eq!(shard.stats().unreadable, 0, "what is stored can be loaded");
            self.model.tally.loaded += shard.stats().loaded;
        }
        assert!(self.world.ledger.is_unused(), "drawn and not given back: {:?}", self.world.ledger);
        self.world.assert_nothing_is_stored();
        self.model.tally.ends += self.world.store.as_ref().map_or(0, |store| store.ends);
    }

    fn step_in_flight(&mut self) {
        let busy = self.world.busy();
        if !busy.is_empty() {
            let (from, to) = self.random.pick(&busy);
            self.carry(from, to);
        }
    }

    /// A new client takes all that is in a queue.
    fn empty(&mut self, queue: &str) {
        let connection = self.connect(0);
        let id = SubscriptionId(1);
        let bound = model::bound(queue);
        let subscribe = bound.map_or_else(
            || {
                let pattern = Pattern::parse(queue).unwrap();
                Subscribe { credit: Some(0), ..Subscribe::new(id, pattern) }
            },
            |bound| bound.subscribe(id),
        );
        self.subscribe_as(connection, subscribe);
        loop {
            let before = self.model.tally.queue_deliveries;
            self.set_credit(connection, id, Credit::Add(6));
            self.rest();
            if self.model.tally.queue_deliveries == before {
                break;
            }
        }
        if bound.is_some() {
            self.model.check_emptied(queue);
            self.unsubscribe_as(connection, id, Ending::Delete);
            self.rest();
        }
        self.vanish(connection);
        self.rest();
    }
}

#[expect(clippy::disallowed_methods, reason = "the one who runs the tests sets it")]
fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().expect(variable))
}

const SEEDS: u64 = 400;
const STEPS: usize = 800;
/// Between two looks at what a process would have that began now.
const RESTART_STEPS: usize = 50;
/// A topic in which cores keep their interest.
const KEPT: &str = "/topic/a.b";
