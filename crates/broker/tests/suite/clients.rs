//! Client ids under disorder: connections that want to be the same few clients come and go on several
//! cores, and what the cores send each other is late. No two are one client at a time, who displaces
//! another comes to be it, and who is refused has waited and has seen another be it.

use std::collections::{BTreeMap, BTreeSet};

use broker::{Event, Leave, Shard};
use contract::{ClientName, Command, ConnectionId, Contest, Notice, Refusal, Token};
use testkit::Random;

use crate::world::{Limits, Outcome, World};

#[test]
fn no_two_connections_are_one_client() {
    let mut total = Tally::default();
    for seed in 0..SEEDS {
        let Tally { claimed, refused, displaced } = Run::new(seed).run();
        total.claimed += claimed;
        total.refused += refused;
        total.displaced += displaced;
    }
    let Tally { claimed, refused, displaced } = total;
    let least = [(claimed, 40), (refused, 4), (displaced, 4)];
    assert!(least.iter().all(|(count, each)| *count >= each * SEEDS), "{total:?}");
}

/// How much was tried.
#[derive(Debug, Default)]
struct Tally {
    claimed: u64,
    refused: u64,
    displaced: u64,
}

struct Run {
    seed: u64,
    random: Random,
    cores: u16,
    world: World,
    /// Those that are open: they have not begun to close.
    connections: BTreeMap<ConnectionId, Claim>,
    closing: Vec<ConnectionId>,
    /// The clients that any was or wanted to be.
    ever: BTreeSet<&'static str>,
    slot: u32,
    tally: Tally,
}

#[derive(Debug)]
struct Claim {
    client: &'static str,
    contest: Contest,
    since_ns: u64,
    is_holder: bool,
    /// Another was this client, or wanted to be.
    has_rival: bool,
    must_end: bool,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let cores = u16::try_from(1 + random.below(4)).unwrap();
        Self {
            seed,
            random,
            cores,
            world: World::new(cores, Limits::default()),
            connections: BTreeMap::new(),
            closing: Vec::new(),
            ever: BTreeSet::new(),
            slot: 0,
            tally: Tally::default(),
        }
    }

    fn run(mut self) -> Tally {
        for _ in 0..STEPS {
            self.step();
            self.observe();
        }
        self.end();
        self.tally
    }

    fn step(&mut self) {
        let open: Vec<ConnectionId> = self.connections.keys().copied().collect();
        match self.random.below(10) {
            0 | 1 if open.len() < 8 => self.connect(),
            2 if !open.is_empty() => {
                let connection = self.random.pick(&open);
                self.leave(connection);
            }
            3 if !self.closing.is_empty() => {
                let index = self.random.below(self.closing.len());
                let connection = self.closing.swap_remove(index);
                self.world.apply(connection.core, Event::Gone(connection));
            }
            4 => {
                let told = open.iter().find(|one| self.connections[one].must_end).copied();
                told.into_iter().for_each(|connection| self.leave(connection));
            }
            5 => {
                self.world.advance(self.random.below(300) as u64);
                let core = u16::try_from(self.random.below(self.cores.into())).unwrap();
                self.world.apply(core, Event::Timeout);
            }
            _ => {
                let busy = self.world.busy();
                if !busy.is_empty() {
                    let (from, to) = self.random.pick(&busy);
                    self.world.carry(from, to);
                }
            }
        }
    }

    fn connect(&mut self) {
        self.slot += 1;
        let core = u16::try_from(self.random.below(self.cores.into())).unwrap();
        let connection = ConnectionId { core, slot: self.slot, generation: 1 };
        let client = self.random.pick(&["a", "b", "c"]);
        let contest = self.random.pick(&[Contest::Refuse, Contest::Refuse, Contest::Displace]);
        let claim = Claim {
            client,
            contest,
            since_ns: self.world.now.mono_ns,
            is_holder: false,
            has_rival: !self.ever.insert(client),
            must_end: false,
        };
        self.connections.values_mut().filter(|other| other.client == client).for_each(|other| {
            other.has_rival = true;
        });
        self.connections.insert(connection, claim);
        let name = ClientName::new(Some("ann"), client).unwrap();
        let command = Command::Claim(name, contest);
        self.world.apply(core, Event::Command(connection, Token(1), command, None));
    }

    fn leave(&mut self, connection: ConnectionId) {
        self.connections.remove(&connection);
        if self.random.once_in(2) {
            self.closing.push(connection);
            let leave = self.random.pick(&[Leave::Orderly, Leave::Lost]);
            self.world.apply(connection.core, Event::Closing(connection, leave));
        } else {
            self.world.apply(connection.core, Event::Gone(connection));
        }
    }

    fn observe(&mut self) {
        let now_ns = self.world.now.mono_ns;
        for outcome in std::mem::take(&mut self.world.outcomes) {
            let shown = format!("seed {}: {outcome:?}", self.seed);
            match outcome {
                Outcome::Replied(connection, _, result) => {
                    // What comes to one that is closing, it does not hear.
                    let Some(claim) = self.connections.get(&connection) else { continue };
                    let (client, contest) = (claim.client, claim.contest);
                    let mut others = self.connections.values().filter(|one| one.client == client);
                    match result {
                        Ok(_) => {
                            assert!(others.all(|other| !other.is_holder), "{shown}");
                            self.connections.get_mut(&connection).unwrap().is_holder = true;
                            self.tally.claimed += 1;
                        }
                        Err(refusal) => {
                            assert_eq!(refusal, Refusal::ClientIdInUse, "{shown}");
                            assert_eq!(contest, Contest::Refuse, "{shown}");
                            assert!(claim.has_rival, "{shown}");
                            assert!(now_ns - claim.since_ns >= 500_000_000, "{shown}");
                            self.leave(connection);
                            self.tally.refused += 1;
                        }
                    }
                }
                Outcome::Noticed(connection, notice) => {
                    assert_eq!(notice, Notice::Displaced, "{shown}");
                    let Some(claim) = self.connections.get_mut(&connection) else { continue };
                    assert!(claim.is_holder && !claim.must_end && claim.has_rival, "{shown}");
                    claim.must_end = true;
                    self.tally.displaced += 1;
                }
                Outcome::Delivered(..) => panic!("{shown}"),
            }
        }
    }

    /// Those that are displaced end, and time passes: each client is one of those that wanted to be it.
    fn end(&mut self) {
        for _ in 0..100 {
            self.world.carry_all();
            self.observe();
            self.world.advance(100);
            self.world.time_out();
            self.observe();
            let told = self.connections.iter().find(|(_, claim)| claim.must_end);
            if let Some((&connection, _)) = told {
                self.leave(connection);
            }
        }
        let this = self;
        for client in ["a", "b", "c"] {
            let all = this.connections.values().filter(|claim| claim.client == client);
            let claims: Vec<&Claim> = all.collect();
            let holders = claims.iter().filter(|claim| claim.is_holder).count();
            assert_eq!(holders, claims.len().min(1), "seed {}: {claims:?}", this.seed);
            assert_eq!(holders, claims.len(), "seed {}: one waits for ever: {claims:?}", this.seed);
        }
        for connection in this.connections.keys().copied().collect::<Vec<_>>() {
            this.world.apply(connection.core, Event::Gone(connection));
        }
        for connection in std::mem::take(&mut this.closing) {
            this.world.apply(connection.core, Event::Gone(connection));
        }
        this.world.carry_all();
        let clients: usize = this.world.shards.iter().map(|shard| shard.stats().clients).sum();
        assert_eq!(clients, 0, "seed {}", this.seed);
        this.world.shards.iter().for_each(Shard::assert_empty);
    }
}

const SEEDS: u64 = 300;
const STEPS: usize = 600;
