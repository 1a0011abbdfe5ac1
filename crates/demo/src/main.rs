//! The market of the demo: a feed that publishes quotes, and a desk that takes orders.
//!
//! Both are ordinary clients of the gateway, each with a connection of its own. What they compute
//! is in the pure modules `market` and `desk`; `floor` lets time pass and moves the messages.

mod book;
mod client;
mod clock;
mod desk;
mod floor;
mod instruments;
mod market;
mod messages;
mod random;
mod trader;

use std::{io, process::ExitCode, thread};

use clap::Parser;
use logging::Format;
use tokio::sync::mpsc;

use crate::{
    client::Client,
    floor::Floor,
    market::{HOUR_MS, Market},
};

/// A market of made-up instruments, with an order desk, for the Trader page of Passerelle.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where the gateway takes STOMP over TCP.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    connect: String,
    /// Start the random walk from this number; the same one makes the same market.
    #[arg(long)]
    seed: Option<u64>,
    /// Log in with this name.
    #[arg(long, requires = "passcode_file")]
    login: Option<String>,
    /// Log in with the first line of this file.
    #[arg(long, value_name = "FILE", requires = "login")]
    passcode_file: Option<std::path::PathBuf>,
}

/// Batches of quotes that wait to be written; beyond, they are skipped.
const QUOTES_MAX: usize = 8;
/// Batches of replies that wait to be written; beyond, the desk waits.
const REPLIES_MAX: usize = 8;

fn main() -> ExitCode {
    logging::log_panics();
    let code = match start() {
        Ok(code) => code,
        Err(error) => {
            logging::say(&format!("passerelle-demo-market: {error}"));
            ExitCode::FAILURE
        }
    };
    logging::flush();
    code
}

fn start() -> io::Result<ExitCode> {
    drop(thread::Builder::new().name("log".to_owned()).spawn(logging::run)?);
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => {
            logging::say(error.render().to_string().trim_end());
            return Ok(ExitCode::from(2));
        }
        Err(help) => {
            return logging::print(&help.render().to_string()).map(|()| ExitCode::SUCCESS);
        }
    };
    logging::init("info", Format::Text);
    trade(arguments)?;
    Ok(ExitCode::SUCCESS)
}

#[tokio::main(flavor = "current_thread")]
async fn trade(arguments: Arguments) -> io::Result<()> {
    let credentials = match arguments.login.zip(arguments.passcode_file) {
        Some((login, file)) => {
            let text = std::fs::read_to_string(file)?;
            Some((login, text.lines().next().unwrap_or_default().to_owned()))
        }
        None => None,
    };
    let client = |name, queue| Client {
        name,
        gateway: arguments.connect.clone(),
        credentials: credentials.clone(),
        queue,
    };
    let now_ms = clock::unix_ms();
    let market = Market::new(arguments.seed.unwrap_or(now_ms), now_ms, HOUR_MS);
    let (quotes, quotes_out) = mpsc::channel(QUOTES_MAX);
    let (replies, replies_out) = mpsc::channel(REPLIES_MAX);
    let (events_in, events) = mpsc::channel(client::EVENTS_MAX);
    // The feed consumes nothing: what its client tells goes nowhere, but must not fill up.
    let (feed_in, feed_events) = mpsc::channel(client::EVENTS_MAX);
    tokio::join!(
        Floor::new(market, quotes, replies).run(events, feed_events),
        client("feed", None).run(quotes_out, feed_in),
        client("desk", Some("/queue/orders")).run(replies_out, events_in),
    );
    Ok(())
}
