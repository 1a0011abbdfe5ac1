//! Attacks on a running gateway, and its sudden end: `tests/chaos`, built and run.
use std::{
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{failure::Outcome, gateway::Binaries, paths, shell};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    attacks: Attacks,
}

#[derive(Debug, clap::Subcommand)]
enum Part {
    /// Kill the gateway at random moments under load, and see what its store has kept
    Kill(Kill),
}

#[derive(Debug, clap::Args)]
struct Attacks {
    /// A short form of it: two minutes
    #[arg(long)]
    quick: bool,
    /// Only attacks whose name contains this (may be given more than once)
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Name the attacks, run none
    #[arg(long)]
    list: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Kill {
    /// How often; 50 kills are a round, with a store of its own
    #[arg(long, default_value_t = 300)]
    count: u32,
    /// The seed of the first round; each other round has the next one. At random when not given
    #[arg(long)]
    seed: Option<u32>,
    /// Show that it can fail: `message` forgets one in the ledger, `store` what is on the disk
    #[arg(long, value_name = "WHAT")]
    forget: Option<String>,
}

impl Options {
    /// What `cargo xtask test` runs.
    pub(crate) fn quick() -> Self {
        Self { part: None, attacks: Attacks { quick: true, only: Vec::new(), list: false } }
    }
}

impl Kill {
    /// What `cargo xtask test` runs.
    pub(crate) fn quick() -> Self {
        Self { count: 300, seed: None, forget: None }
    }
}

/// Attacks the gateway and prints what honest clients noticed; or kills it.
pub(crate) fn run(options: &Options) -> Outcome {
    let Attacks { quick, only, list } = &options.attacks;
    if let Some(Part::Kill(options)) = &options.part {
        return kill(options);
    }
    let mut chaos = chaos("attack", "chaos")?;
    for name in only {
        chaos.args(["--only", name]);
    }
    if *quick {
        chaos.arg("--quick");
    }
    if *list {
        chaos.arg("--list");
    }
    shell::run(&mut chaos)
}

/// Kills the gateway at random moments, and prints which promises were not kept.
pub(crate) fn kill(options: &Kill) -> Outcome {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = options.seed.unwrap_or_else(|| now.subsec_micros());
    let mut kill = chaos("kill", "kill")?;
    kill.args(["--count", &options.count.to_string(), "--seed", &seed.to_string()]);
    if let Some(what) = &options.forget {
        kill.args(["--forget", what]);
    }
    shell::run(&mut kill)
}

/// The program, with the gateway that it runs and a folder for what it writes.
fn chaos(part: &str, folder: &str) -> Outcome<Command> {
    let binaries = Binaries::build()?;
    shell::run(shell::cargo().args(["build", "--release", "--locked", "--package", "chaos"]))?;
    let mut chaos = shell::command(paths::target().join("release/chaos"));
    chaos.arg(part).arg(binaries.gateway).arg("--work").arg(paths::folder("logs")?.join(folder));
    Ok(chaos)
}
