//! How many instructions a message of AMQP takes in user space: valgrind's callgrind counts them.
use std::{error::Error, fs, path::Path, process::Command};

use crate::{
    compare::{Contender, SERVER_CORES, plan},
    plan::{Client, Exchange, Framing, Order, Shape},
    server::{Readiness, Server},
};

/// What is counted, and how many messages the smaller run has.
const CASES: &[(&str, Exchange, usize)] = &[
    ("to a queue with a consumer, one at a time", queue(1), 1000),
    ("to a queue with a consumer, in bursts of 16", queue(16), 1600),
    ("to a topic with a subscriber, one at a time", topic(1, 1), 1000),
    ("to a topic with a subscriber, in bursts of 16", topic(1, 16), 1600),
    ("to a topic with 100 subscribers, one at a time", topic(100, 1), 100),
    ("to a topic with 100 subscribers, in bursts of 16", topic(100, 16), 160),
    ("a request and its reply", Exchange::Request, 1000),
];

const fn queue(burst: usize) -> Exchange {
    Exchange::Confirm { producers: 1, burst, durable: false }
}

const fn topic(subscribers: usize, burst: usize) -> Exchange {
    Exchange::FanOut { subscribers, burst }
}

/// The difference of a run and one of three times as many messages.
pub(crate) fn run(program: &Path) -> Result<(), Box<dyn Error>> {
    for (name, exchange, messages) in CASES.iter().copied() {
        let few = count(program, exchange, messages)?;
        let many = count(program, exchange, 3 * messages)?;
        let each = many.saturating_sub(few) / (2 * messages as u64);
        println!("{name}: {each} instructions a message of 100 B");
    }
    Ok(())
}

/// All that the gateway does for so many messages.
fn count(program: &Path, exchange: Exchange, messages: usize) -> Result<u64, Box<dyn Error>> {
    let folder = program.parent().unwrap_or_else(|| Path::new("."));
    let (config, out) = (folder.join("instructions.toml"), folder.join("instructions.callgrind"));
    let text = "threads = 1\n[[listen]]\naddress = \"127.0.0.1:0\"\n[log]\nlevel = \"warn\"\n";
    fs::write(&config, text)?;
    drop(fs::remove_file(&out));
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--quiet"]);
    command.arg(format!("--callgrind-out-file={}", out.display()));
    command.arg(program).args(["serve", "--config"]).arg(&config);
    let server = Server::start(&mut command, SERVER_CORES, Readiness::Says)?;
    let shape = Shape::Amqp { exchange, bytes: 100, client: Client::Light };
    let mut contender = Contender::new("passerelle", &plan(&server, Framing::Stream, shape))?;
    contender.obey(&Order::Count { messages })?;
    drop(contender);
    server.terminate()?;
    let text = fs::read_to_string(&out)?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")).ok_or("no totals")?;
    Ok(total.trim().parse()?)
}
