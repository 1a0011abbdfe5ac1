//! Attacks on a running gateway: `tests/chaos`, built and run.
use crate::{failure::Outcome, gateway::Binaries, paths, shell};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
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

impl Options {
    /// What `cargo xtask test` runs.
    pub(crate) fn quick() -> Self {
        Self { quick: true, only: Vec::new(), list: false }
    }
}

/// Attacks the gateway and prints what honest clients noticed.
pub(crate) fn run(options: &Options) -> Outcome {
    let binaries = Binaries::build()?;
    shell::run(shell::cargo().args(["build", "--release", "--locked", "--package", "chaos"]))?;
    let mut chaos = shell::command(paths::target().join("release/chaos"));
    chaos.arg(binaries.gateway).arg("--work").arg(paths::folder("logs")?.join("chaos"));
    for name in &options.only {
        chaos.args(["--only", name]);
    }
    if options.quick {
        chaos.arg("--quick");
    }
    if options.list {
        chaos.arg("--list");
    }
    shell::run(&mut chaos)
}
