use std::error::Error;

use serde::{Deserialize, Serialize};

use crate::{
    dialect::Dialect,
    generator::Generator,
    peers::{Peer, Places},
    plan::{Framing, Order, Plan, Round, Shape},
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

impl Effort {
    /// Rounds as fast as it goes, then some at a number of messages a second.
    pub(crate) fn orders(self, per_second: Option<f64>) -> Vec<Order> {
        let (warm_ms, ms) = (self.warm_ms, self.ms);
        let flood = Order::Flood { warm_ms, ms };
        let pace = per_second.map(|per_second| Order::Pace { warm_ms, ms, per_second });
        let paced = pace.into_iter().flat_map(|pace| std::iter::repeat_n(pace, self.paced_rounds));
        std::iter::repeat_n(flood, self.rounds).chain(paced).collect()
    }
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
    /// None: it failed.
    pub(crate) rounds: Vec<Option<Round>>,
    pub(crate) paced: Vec<Option<Round>>,
}

/// A comparison: the first entry is what the others are compared with.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Cell {
    pub(crate) scenario: String,
    pub(crate) name: String,
    pub(crate) entries: Vec<Entry>,
}

/// Lets each have its turn, order by order; every other time backwards.
pub(crate) fn compare(
    scenario: &str,
    name: &str,
    orders: &[Order],
    mut contenders: Vec<Contender>,
) -> Cell {
    let entry = |contender: &Contender| Entry {
        name: contender.name.clone(),
        rounds: Vec::new(),
        paced: Vec::new(),
    };
    let mut entries: Vec<Entry> = contenders.iter().map(entry).collect();
    for (number, order) in orders.iter().enumerate() {
        let mut turn: Vec<_> = contenders.iter_mut().zip(&mut entries).collect();
        if number % 2 == 1 {
            turn.reverse();
        }
        for (contender, entry) in turn {
            let is_paced = matches!(order, Order::Pace { .. });
            let rounds = if is_paced { &mut entry.paced } else { &mut entry.rounds };
            match contender.obey(order) {
                Ok(round) => rounds.push(Some(round)),
                Err(error) => {
                    rounds.push(None);
                    eprintln!("{scenario}, {name}: {error}");
                }
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

/// A figure that stands for itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Figure {
    pub(crate) scenario: String,
    pub(crate) who: String,
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    /// What it should not exceed.
    pub(crate) most: Option<f64>,
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
        plan(&self.server, dialect.framing, shape)
    }
}

pub(crate) fn plan(server: &Server, framing: Framing, shape: Shape) -> Plan {
    Plan {
        address: server.address,
        processes: vec![server.id()],
        core: LOAD_CORE,
        framing,
        certificate: None,
        shape,
    }
}
