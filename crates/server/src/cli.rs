//! The command line.

use std::{
    fmt::Display,
    io::{self, IsTerminal as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use config::{Config, ConfigErrors, Log, LogFormat, describe};
use drive::{internal_errors, tasks};
use logging::Format;

use crate::{
    available::Available, configuration, demo, password, serve, store_command::StoreCommand,
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
    /// Look after a store that no gateway uses.
    #[command(subcommand)]
    Store(StoreCommand),
}

/// Runs the command of the process's arguments.
#[must_use]
pub fn run() -> ExitCode {
    logging::log_panics();
    internal_errors::watch();
    if let Err(error) = tasks::thread("log", logging::run) {
        // The standard error stays empty; this is seen on the standard output.
        drop(logging::print(&format!("passerelle: cannot start a thread: {error}\n")));
        return ExitCode::FAILURE;
    }
    let code = match Arguments::try_parse() {
        Ok(arguments) => carry_out(arguments.command),
        Err(error) => explain(&error),
    };
    logging::flush();
    code
}

fn carry_out(command: Command) -> ExitCode {
    let result = match command {
        Command::Serve { config } => load(config.clone()).and_then(|loaded| {
            start_log(loaded.log);
            serve::serve(loaded, config).map_err(|error| error.to_string())
        }),
        Command::Demo { config } => load(config.clone()).and_then(|loaded| {
            start_log(loaded.log);
            demo::run(&loaded, config.as_deref()).map_err(|error| error.to_string())
        }),
        Command::Check { config } => load(config).and_then(|mut config| {
            Available::of_process().complete(&mut config);
            print(describe(&config))
        }),
        Command::Password => password::run().and_then(print),
        Command::Store(command) => command.run(|line| print(line)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            logging::say(&format!("passerelle: {message}"));
            ExitCode::FAILURE
        }
    }
}

/// Says what clap has to say: help to the standard output, faults to the standard error.
fn explain(error: &clap::Error) -> ExitCode {
    let styled = error.render();
    let show = |terminal: bool| {
        if terminal { styled.ansi().to_string() } else { styled.to_string() }
    };
    if error.use_stderr() {
        logging::say(show(io::stderr().is_terminal()).trim_end());
        return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1));
    }
    match print(show(io::stdout().is_terminal()).trim_end()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            logging::say(&format!("passerelle: {message}"));
            ExitCode::FAILURE
        }
    }
}

fn load(file: Option<PathBuf>) -> Result<Config, String> {
    file.map_or_else(|| Ok(Config::default()), |file| configuration::load(&file))
        .map_err(|error: ConfigErrors| error.to_string())
}

fn print(what: impl Display) -> Result<(), String> {
    logging::print(&format!("{what}\n"))
        .map_err(|error| format!("the standard output cannot be written: {error}"))
}

fn start_log(log: Log) {
    let format = match log.format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    };
    logging::init(log.level.as_str(), format);
}
