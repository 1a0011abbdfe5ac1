//! The command line.

use std::{
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::{
    config::{Config, ConfigError, Log, LogFormat, describe},
    demo, password, serve,
};

/// A gateway between browsers and messaging: WebSocket, STOMP and HTTP in front of a broker.
#[derive(Debug, Parser)]
#[command(name = "passerelle", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve. Without a configuration: on http://127.0.0.1:8080/ with the embedded broker.
    Serve {
        /// The configuration.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Serve, with a market and an order desk to look at: the Trader.
    Demo {
        /// The configuration.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Read a configuration and say what it will do.
    Check {
        /// The configuration.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Read a password from standard input and print what to put into the configuration.
    Password,
}

/// Runs the command of the process's arguments.
#[must_use]
pub fn run() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Serve { config } => load(config).and_then(|config| {
            log_to_stderr(config.log);
            serve::serve(config).map_err(|error| error.to_string())
        }),
        Command::Demo { config } => load(config.clone()).and_then(|loaded| {
            log_to_stderr(loaded.log);
            demo::run(&loaded, config.as_deref()).map_err(|error| error.to_string())
        }),
        Command::Check { config } => load(config).and_then(|config| print(describe(&config))),
        Command::Password => password::run().and_then(print),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Nowhere else to say it.
            drop(writeln!(io::stderr().lock(), "passerelle: {message}"));
            ExitCode::FAILURE
        }
    }
}

fn load(file: Option<PathBuf>) -> Result<Config, String> {
    file.map_or_else(|| Ok(Config::default()), |file| Config::load(&file))
        .map_err(|error: ConfigError| error.to_string())
}

fn print(what: impl Display) -> Result<(), String> {
    writeln!(io::stdout().lock(), "{what}").map_err(|error| error.to_string())
}

fn log_to_stderr(log: Log) {
    let filter = EnvFilter::new(log.level.as_str());
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match log.format {
        LogFormat::Text => lines.with_target(false).init(),
        LogFormat::Json => lines.json().init(),
    }
}
