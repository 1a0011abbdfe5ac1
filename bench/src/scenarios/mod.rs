//! What is compared.
mod amqp;
mod confirm;
mod connect;
mod cores;
mod echo;
mod fan_out;
mod idle;
mod latest;
mod proxy;
mod slow_disk;
pub(crate) mod soak;
mod stalled;
mod topics;
mod work;

use std::error::Error;

use crate::{
    compare::{Cell, Effort, Figure},
    peers::{Peer, Places},
    report,
};

/// What all scenarios share.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) places: Places,
    pub(crate) effort: Effort,
    /// Only these peers, besides the gateway; all if there are none.
    pub(crate) only_peers: Vec<String>,
    /// Only cells whose name contains one of these; all if there are none.
    pub(crate) only_cells: Vec<String>,
    pub(crate) cells: Vec<Cell>,
    pub(crate) figures: Vec<Figure>,
}

impl Context {
    pub(crate) fn wants(&self, peer: &Peer) -> bool {
        peer.name == "passerelle"
            || self.only_peers.is_empty()
            || self.only_peers.iter().any(|name| peer.name.contains(name.as_str()))
    }

    pub(crate) fn wants_cell(&self, name: &str) -> bool {
        self.only_cells.is_empty()
            || self.only_cells.iter().any(|part| name.contains(part.as_str()))
    }

    /// Keeps a comparison and shows it.
    pub(crate) fn add(&mut self, cell: Cell) {
        print!("{}", report::table::cell(&cell));
        self.cells.push(cell);
    }

    /// Keeps a figure and shows it.
    pub(crate) fn figure(
        &mut self,
        scenario: &str,
        who: &str,
        what: &str,
        value: f64,
        unit: &str,
        most: Option<f64>,
    ) {
        let figure = Figure {
            scenario: scenario.to_owned(),
            who: who.to_owned(),
            what: what.to_owned(),
            value,
            unit: unit.to_owned(),
            most,
        };
        print!("{}", report::table::figure(&figure));
        self.figures.push(figure);
    }
}

/// A scenario: its name on the command line, and what it does.
pub(crate) type Scenario = (&'static str, fn(&mut Context) -> Result<(), Box<dyn Error>>);

/// In the order in which they run.
pub(crate) const SCENARIOS: &[Scenario] = &[
    ("echo", echo::run),
    ("stomp", fan_out::stomp),
    ("broadcast", fan_out::broadcast),
    ("topics", topics::run),
    ("work", work::run),
    ("confirm", confirm::run),
    ("slow disk", slow_disk::run),
    ("amqp", amqp::light),
    ("jms", amqp::jms),
    ("proxy", proxy::run),
    ("connect", connect::rate),
    ("storm", connect::storm),
    ("stalled", stalled::run),
    ("latest", latest::run),
    ("cores", cores::run),
    ("start", idle::start),
    ("idle", idle::memory),
];
