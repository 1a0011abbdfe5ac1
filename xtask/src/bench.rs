//! What a message and a connection cost: `bench/`, built and run.
use std::path::PathBuf;

use crate::{
    failure::{Failure, Outcome},
    gateway::Binaries,
    paths, shell,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Three short rounds instead of eleven
    #[arg(long)]
    quick: bool,
    /// How many rounds instead
    #[arg(long)]
    rounds: Option<usize>,
    /// Only scenarios whose name contains this (may be given more than once)
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Only peers whose name contains this (may be given more than once)
    #[arg(long, value_name = "NAME")]
    peer: Vec<String>,
    /// Only cells whose name contains this (may be given more than once)
    #[arg(long, value_name = "TEXT")]
    cell: Vec<String>,
    /// Let 2,000 connections come and go for half an hour instead
    #[arg(long)]
    soak: bool,
    /// Let 1,000,000 durable messages wait instead, and measure that, a start and their delivery
    #[arg(long)]
    backlog: bool,
    /// Count the instructions of AMQP messages instead (with valgrind)
    #[arg(long)]
    instructions: bool,
}

/// Compares the gateway with its peers.
pub(crate) fn run(options: &Options) -> Outcome {
    let binaries = Binaries::build()?;
    let mut bench = shell::command(build()?);
    if options.instructions {
        decode_cost()?;
        return shell::run(bench.arg("instructions").arg(&binaries.gateway));
    }
    if options.backlog {
        bench.arg("backlog").arg(&binaries.gateway).arg("--work").arg(paths::folder("bench")?);
        return shell::run(&mut bench);
    }
    bench.arg("run").arg(&binaries.gateway).arg("--work").arg(paths::folder("bench")?);
    for name in &options.only {
        bench.args(["--only", name]);
    }
    for name in &options.peer {
        bench.args(["--peer", name]);
    }
    for name in &options.cell {
        bench.args(["--cell", name]);
    }
    if let Some(rounds) = options.rounds {
        bench.arg("--rounds").arg(rounds.to_string());
    }
    if options.quick {
        bench.arg("--quick");
    }
    if options.soak {
        bench.arg("--soak");
    }
    shell::run(&mut bench)
}

/// Shows that the data plane is the designed one.
pub(crate) fn measure() -> Outcome {
    let binaries = Binaries::build()?;
    shell::run(shell::command(build()?).arg("measure").arg(&binaries.gateway))
}

/// Counts what it takes to read a Transfer and its message.
fn decode_cost() -> Outcome {
    const READ: &str = "amqp10::decode_cost::decode";
    let mut build = shell::cargo();
    build.args(["test", "--release", "--locked", "--package", "amqp10", "--lib", "--no-run"]);
    let built = shell::output(build.arg("--message-format=json"))?;
    let program = built.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message.get("executable")?.as_str().map(str::to_owned)
    });
    let program = program.ok_or_else(|| Failure::Failed("no test program of amqp10".to_owned()))?;
    let file = paths::folder("bench")?.join("decode.callgrind");
    let mut count = shell::command("valgrind");
    count.args(["--tool=callgrind", "--quiet"]).arg(format!("--toggle-collect={READ}"));
    count.arg(format!("--callgrind-out-file={}", file.display())).arg(program);
    shell::run(count.args(["decode_cost", "--test-threads=1"]))?;
    let mut annotate = shell::command("callgrind_annotate");
    let shown = shell::output(annotate.arg("--inclusive=yes").arg(&file))?;
    // A thousand are read.
    for what in ["Decoder>::next", "Decoder::next", "Performative::read", "mapping::parse", READ] {
        let line = shown.lines().find(|line| line.contains(what) && !line.contains(" => "));
        if let Some(line) = line {
            println!("{}", line.trim());
        }
    }
    Ok(())
}

fn build() -> Outcome<PathBuf> {
    shell::run(shell::cargo().args(["build", "--release", "--locked", "--package", "bench"]))?;
    Ok(paths::target().join("release/bench"))
}
