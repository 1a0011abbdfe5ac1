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

use std::io::IsTerminal as _;

use clap::Parser;
use tokio::sync::mpsc;
use tracing_subscriber::EnvFilter;

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
    /// Start the random walk from this number; the same one gives the same market.
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
/// Batches of answers that wait to be written; beyond, the desk waits.
const ANSWERS_MAX: usize = 8;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), std::io::Error> {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("info"))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    let arguments = Arguments::parse();
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
    let (answers, answers_out) = mpsc::channel(ANSWERS_MAX);
    let (events_in, events) = mpsc::channel(client::EVENTS_MAX);
    // The feed consumes nothing: what its client tells goes nowhere, but must not fill up.
    let (feed_in, feed_events) = mpsc::channel(client::EVENTS_MAX);
    tokio::join!(
        Floor::new(market, quotes, answers).run(events, feed_events),
        client("feed", None).run(quotes_out, feed_in),
        client("desk", Some("/queue/orders")).run(answers_out, events_in),
    );
    Ok(())
}
