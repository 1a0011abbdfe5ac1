//! The command line.

use std::{
    fmt::Display,
    io::{self, IsTerminal as _},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use config::{Config, ConfigErrors, Log, LogFormat, describe};
use drive::{internal_errors, tasks};
use logging::Format;

use crate::{
    available::Available,
    client::{self, Publish, Subscribe},
    configuration::Source,
    demo, init, password,
    serve::{self, VERSION},
    store_command::StoreCommand,
};

/// A gateway between browsers and messaging: WebSocket, STOMP and HTTP in front of a broker.
#[derive(Debug, Parser)]
#[command(name = NAME, version = VERSION, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve. Without a configuration: on http://127.0.0.1:8080/ with the embedded broker.
    Serve {
        #[command(flatten)]
        place: Place,
        /// The demo's market trades here: the pages begin with the Trader.
        #[arg(long, hide = true)]
        trader: bool,
    },
    /// Serve, with a market and an order desk to look at: the Trader.
    Demo(Place),
    /// Read a configuration and say what it will do, or all that is wrong with it.
    Check(Place),
    /// Write a configuration to begin with, in which each part is explained.
    Init {
        /// The file, which must not be there yet; `-` is the standard output.
        #[arg(value_name = "FILE", default_value = init::FILE)]
        file: PathBuf,
    },
    /// Send messages to a topic or a queue, of this gateway or of another STOMP server.
    Pub(Box<Publish>),
    /// Print the messages of topics and queues, of this gateway or of another STOMP server.
    Sub(Box<Subscribe>),
    /// Read a password from standard input and print what to put into the configuration.
    Password,
    /// Look after a store that no gateway uses.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Print what makes a shell complete the commands and options of this program.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// Where the configuration comes from.
#[derive(Args, Clone, Debug)]
struct Place {
    /// The configuration. By default the file that PASSERELLE_CONFIG names, else
    /// /etc/passerelle/passerelle.toml where that exists, else none.
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    /// The same, as an option.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen on this address, whatever the configuration says; a port alone is that of 127.0.0.1.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    listen: Option<SocketAddr>,
}

impl Place {
    fn source(self) -> Source {
        Source::find(self.file.or(self.config), self.listen)
    }
}

/// Reads an address to listen on.
fn address(text: &str) -> Result<SocketAddr, &'static str> {
    let port = text.parse().map(|port: u16| (Ipv4Addr::LOCALHOST, port).into());
    port.or_else(|_| text.parse()).map_err(|_| {
        "expected a port, or an IP address with a port, such as 127.0.0.1:8080, 0.0.0.0:8080 or \
         [::]:8080"
    })
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
        Command::Serve { place, trader } => load(place).and_then(|(config, source)| {
            start_log(config.log);
            serve::serve(config, source, trader).map_err(|error| error.to_string())
        }),
        Command::Demo(place) => load(place).and_then(|(config, source)| {
            start_log(config.log);
            demo::run(&config, &source).map_err(|error| error.to_string())
        }),
        Command::Check(place) => load(place).and_then(|(mut config, _)| {
            Available::of_process().complete(&mut config);
            print(describe(&config))
        }),
        Command::Pub(publish) => return conclude(publish.run()),
        Command::Sub(subscribe) => return conclude(subscribe.run()),
        Command::Init { file } => init::run(&file).and_then(print),
        Command::Password => password::run().and_then(print),
        Command::Store(command) => command.run(|line| print(line)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), NAME, &mut script);
            print(String::from_utf8_lossy(&script).trim_end())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            logging::say(&format!("passerelle: {message}"));
            ExitCode::FAILURE
        }
    }
}

/// The exit code of a client's command.
fn conclude(outcome: client::Outcome) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            logging::say(&format!("passerelle: {failure}"));
            ExitCode::from(failure.code())
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

fn load(place: Place) -> Result<(Config, Source), String> {
    let source = place.source();
    let config = source.load().map_err(|errors: ConfigErrors| errors.to_string())?;
    Ok((config, source))
}

fn print(what: impl Display) -> Result<(), String> {
    logging::print(&format!("{what}\n"))
        .map_err(|error| format!("the standard output cannot be written: {error}"))
}

/// The name of the program.
const NAME: &str = "passerelle";

fn start_log(log: Log) {
    let format = match log.format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    };
    logging::init(log.level.as_str(), format);
}
