//! What a message and a connection cost, measured: `cargo xtask bench` and `cargo xtask measure`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures for people, far from the bounds of their types"
)]

mod backlog;
mod compare;
mod dialect;
mod gateway;
mod generator;
mod instructions;
mod load;
mod measure;
mod peers;
mod plan;
mod report;
mod scenarios;
mod server;
mod system;

use std::{error::Error, fs, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

use crate::{
    compare::Effort,
    peers::Places,
    scenarios::{Context, SCENARIOS},
};

#[derive(Debug, Parser)]
#[command(about = "What a message and a connection cost, measured")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show that the data plane of this gateway is the designed one
    Measure { program: PathBuf },
    /// Count what a message of AMQP costs in user space, by valgrind
    Instructions { program: PathBuf },
    /// Let durable messages wait, and measure what that takes, a start and their delivery
    Backlog {
        program: PathBuf,
        /// A folder for the store
        #[arg(long, default_value = "target/bench")]
        work: PathBuf,
        #[arg(long, default_value_t = 1_000_000)]
        messages: u64,
        #[arg(long, default_value_t = 1024)]
        bytes: usize,
    },
    /// Compare this gateway with its peers
    Run(Options),
    /// Be a server that does nothing but read and write
    Bare { kind: peers::bare::Kind },
    /// Be the load generator: take a plan and orders from the standard input
    Load,
}

#[derive(clap::Args, Debug)]
struct Options {
    program: PathBuf,
    /// Three short rounds instead of eleven
    #[arg(long)]
    quick: bool,
    /// How many rounds instead
    #[arg(long)]
    rounds: Option<usize>,
    /// Only scenarios whose name contains this
    #[arg(long)]
    only: Vec<String>,
    /// Only peers whose name contains this
    #[arg(long)]
    peer: Vec<String>,
    /// Only cells whose name contains this
    #[arg(long)]
    cell: Vec<String>,
    /// Let connections come and go for half an hour instead
    #[arg(long)]
    soak: bool,
    /// How long that takes
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// Where results go
    #[arg(long, default_value = "bench/results")]
    results: PathBuf,
    /// The folder of the peers
    #[arg(long, default_value = "bench/peers")]
    peers: PathBuf,
    /// A folder for what is built and written on the way
    #[arg(long, default_value = "target/bench")]
    work: PathBuf,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Measure { program } => return measure::run(&program),
        Command::Backlog { program, work, messages, bytes } => {
            backlog::run(&program, &work, messages, bytes)
        }
        Command::Instructions { program } => instructions::run(&program),
        Command::Run(options) => run(options),
        Command::Bare { kind } => peers::bare::serve(kind),
        Command::Load => load::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(&options.work)?;
    let mut failed = false;
    let effort = if options.quick {
        Effort { rounds: 3, warm_ms: 300, ms: 1000, paced_rounds: 1 }
    } else {
        Effort { rounds: 11, warm_ms: 300, ms: 2000, paced_rounds: 3 }
    };
    let effort = Effort { rounds: options.rounds.unwrap_or(effort.rounds), ..effort };
    let places = Places { gateway: options.program, peers: options.peers, work: options.work };
    let mut context = Context {
        places,
        effort,
        only_peers: options.peer,
        only_cells: options.cell,
        cells: Vec::new(),
        figures: Vec::new(),
    };
    let machine = format!(
        "{}, {} cores, Linux {}, {}, load average {} at the start, {} rounds of {} ms",
        system::processor(),
        std::thread::available_parallelism()?,
        system::kernel(),
        system::date(),
        system::load_average(),
        effort.rounds,
        effort.ms
    );
    println!("{machine}");
    system::raise_files_limit()?;
    if options.soak {
        scenarios::soak::run(&mut context, Duration::from_mins(options.minutes))?;
    } else {
        for (name, scenario) in SCENARIOS {
            let wanted = |only: &String| name.contains(only.as_str());
            if (options.only.is_empty() || options.only.iter().any(wanted))
                && let Err(error) = scenario(&mut context)
            {
                eprintln!("{name}: {error}");
                failed = true;
            }
        }
    }
    println!("\n{}", report::write(&options.results, &machine, &context.cells, &context.figures)?);
    println!("tables, charts and all rounds: {}", options.results.display());
    if failed { Err("not everything could be measured".into()) } else { Ok(()) }
}
