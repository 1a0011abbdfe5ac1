use std::error::Error;

use serde::{Deserialize, Serialize};

use crate::{
    dialect::Dialect,
    generator::Generator,
    peers::{Peer, Places},
    plan::{Order, Plan, Round, Shape},
    server::Server,
};

/// How long everything takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    pub(crate) warm_ms: u64,
    pub(crate) ms: u64,
    /// Rounds with a fixed rate, which show the latency.
    pub(crate) paced_rounds: usize,
}

/// The core of the load generator, and that of the server.
pub(crate) const LOAD_CORE: usize = 1;
pub(crate) const SERVER_CORES: &[usize] = &[0];

/// A server under load.
#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) name: String,
    generator: Generator,
}

impl Contender {
    pub(crate) fn new(name: &str, plan: &Plan) -> Result<Self, Box<dyn Error>> {
        let generator = Generator::start(plan).map_err(|error| format!("{name}: {error}"))?;
        Ok(Self { name: name.to_owned(), generator })
    }

    pub(crate) fn obey(&mut self, order: &Order) -> Result<Round, Box<dyn Error>> {
        self.generator.obey(order).map_err(|error| format!("{}: {error}", self.name).into())
    }

    /// How many bytes a message has, as it arrives.
    pub(crate) fn bytes_each(&mut self) -> Result<usize, Box<dyn Error>> {
        let round = self.obey(&Order::Flood { warm_ms: 200, ms: 300 })?;
        Ok(usize::try_from(round.bytes / round.messages.max(1))?)
    }
}

/// What one did in a cell.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) rounds: Vec<Round>,
    pub(crate) paced: Vec<Round>,
}

/// A comparison: the first entry is what the others are compared with.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Cell {
    pub(crate) scenario: String,
    pub(crate) name: String,
    pub(crate) entries: Vec<Entry>,
}

/// Lets each have its turn, again and again; every other time backwards.
pub(crate) fn compare(
    scenario: &str,
    name: &str,
    effort: Effort,
    per_second: Option<f64>,
    mut contenders: Vec<Contender>,
) -> Cell {
    let mut entries: Vec<Entry> = contenders
        .iter()
        .map(|contender| Entry {
            name: contender.name.clone(),
            rounds: Vec::new(),
            paced: Vec::new(),
        })
        .collect();
    let flood = Order::Flood { warm_ms: effort.warm_ms, ms: effort.ms };
    let pace = per_second.map(|per_second| Order::Pace {
        warm_ms: effort.warm_ms,
        ms: effort.ms,
        per_second,
    });
    let paced = pace.iter().flat_map(|order| std::iter::repeat_n(order, effort.paced_rounds));
    let orders = std::iter::repeat_n(&flood, effort.rounds).chain(paced);
    for (number, order) in orders.enumerate() {
        let mut turn: Vec<usize> = (0..contenders.len()).collect();
        if number % 2 == 1 {
            turn.reverse();
        }
        for index in turn {
            let (Some(contender), Some(entry)) =
                (contenders.get_mut(index), entries.get_mut(index))
            else {
                continue;
            };
            let rounds = if number < effort.rounds { &mut entry.rounds } else { &mut entry.paced };
            match contender.obey(order) {
                Ok(round) => rounds.push(round),
                Err(error) => eprintln!("{scenario}, {name}: {error}"),
            }
        }
    }
    Cell { scenario: scenario.to_owned(), name: name.to_owned(), entries }
}

/// A peer that runs.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    pub(crate) peer: &'a Peer,
    pub(crate) server: Server,
}

/// Starts these; who cannot is named and left out.
pub(crate) fn start_all<'a>(peers: &[&'a Peer], places: &Places) -> Vec<Running<'a>> {
    let mut running = Vec::new();
    for peer in peers {
        match (peer.start)(places, SERVER_CORES) {
            Ok(server) => running.push(Running { peer, server }),
            Err(error) => println!("skipped: {}: {error}", peer.name),
        }
    }
    running
}

impl Running<'_> {
    pub(crate) fn plan(&self, dialect: &Dialect, shape: Shape) -> Plan {
        Plan {
            address: self.server.address,
            processes: vec![self.server.id()],
            core: LOAD_CORE,
            framing: dialect.framing,
            shape,
        }
    }
}
