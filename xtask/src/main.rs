//! The project's own commands: `cargo xtask help` lists them.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command line speaks")]

mod bench;
mod browser;
mod chaos;
mod demo;
mod disorder;
mod failure;
mod fuzz;
mod gateway;
mod guarantees;
mod guide;
mod interop;
mod lint;
mod names;
mod paths;
mod selectors;
mod shell;
mod stamp;
mod steps;
mod test;
mod tidy;
mod tools;
mod walls;
mod web;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{failure::Outcome, steps::Steps};

/// The project's own commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the gateway and the pages, start the demo and print its address
    Demo {
        /// Where to listen
        #[arg(long, default_value = demo::DEFAULT)]
        listen: String,
    },
    /// Run everything that CI runs
    Test(test::Options),
    /// Run suites of third-party clients against the gateway; all of them when none is named
    Interop(interop::Options),
    /// Drive the pages in a real browser
    Browser,
    /// Check formatting, lints, documentation, spelling, manifests and licences
    Lint,
    /// Check licences, sources and banned crates (builds cargo-deny the first time)
    Deny,
    /// Check what the compiler cannot: that pure crates stay pure
    Tidy,
    /// Build the web pages into web/dist, unless they are up to date
    Web,
    /// Check that the fuzz targets compile
    Fuzz,
    /// Show that the data plane is the designed one
    Measure,
    /// Attack the gateway and see what honest clients notice; `kill` ends it again and again
    Chaos(chaos::Options),
    /// Let clients send, settle and fail at random, and account for each message
    Disorder(disorder::Options),
    /// Compare the values of message selectors with ActiveMQ's
    Selectors {
        /// Where the jars of libactivemq-java and its dependencies are
        #[arg(long, default_value = "/usr/share/java")]
        jars: PathBuf,
    },
    /// Compare the gateway with other servers
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Demo { listen } => demo::run(&listen),
        Command::Test(options) => test::run(&options),
        Command::Interop(options) => interop::run(&options),
        Command::Browser => browser::run(),
        Command::Lint => several(lint::steps),
        Command::Deny => lint::deny(),
        Command::Tidy => tidy::run(),
        Command::Web => web::build(),
        Command::Fuzz => fuzz::check(),
        Command::Measure => bench::measure(),
        Command::Chaos(options) => chaos::run(&options),
        Command::Disorder(options) => disorder::run(&options),
        Command::Selectors { jars } => selectors::run(&jars),
        Command::Bench(options) => bench::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            println!("\nxtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Runs all steps, whatever becomes of each.
fn several(add: fn(&mut Steps)) -> Outcome {
    let mut steps = Steps::default();
    add(&mut steps);
    steps.finish()
}
