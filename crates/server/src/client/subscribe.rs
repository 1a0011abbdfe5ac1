use std::{
    future::pending,
    io::{self, IsTerminal as _},
    time::Duration,
};

use clap::{Args, ValueEnum};
use drive::clock;
use stomp::{Frame, Verb};
use tokio::time;

use super::{
    Failure, Interrupts, Outcome, PROGRESS_INTERVAL, Progress, block_on, connection::Connection,
    json, meter::Meter, say, target::Target, units,
};

/// Prints the messages that come.
#[derive(Args, Debug)]
pub(crate) struct Subscribe {
    /// Where from: /topic/news, /topic/quotes.*, /queue/orders; several are subscribed to together.
    #[arg(value_name = "DESTINATION", required = true)]
    destinations: Vec<String>,
    /// End after so many messages.
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End when nothing has come for so long.
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    timeout: Option<Duration>,
    /// One JSON object a line: destination, headers, and body, or base64 where it is no UTF-8.
    #[arg(long)]
    json: bool,
    /// Print the headers of each message before its body.
    #[arg(long, conflicts_with = "json")]
    headers: bool,
    /// When a message has left its queue: `auto`, once it was sent here; else once it was printed.
    /// By default `client-individual`, and `auto` where all destinations are topics.
    #[arg(long, value_name = "MODE")]
    ack: Option<Ack>,
    /// How many messages of a queue may be on their way and not acknowledged.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    prefetch: Option<u32>,
    /// Only messages for which this condition holds, such as "region = 'EU' AND amount > 1000".
    #[arg(long, value_name = "CONDITION")]
    selector: Option<String>,
    /// Add a header to the subscription, such as browser:true or x-slow:latest; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME:VALUE", value_parser = units::header)]
    more: Vec<(String, String)>,
    /// Say nothing of rate and latency.
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    target: Target,
}

/// The modes of STOMP.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Ack {
    Auto,
    Client,
    ClientIndividual,
}

impl Subscribe {
    /// Prints until there is an end; `true`: what was awaited has come.
    pub(crate) fn run(self) -> Outcome {
        block_on(self.subscribe())
    }

    async fn subscribe(self) -> Outcome {
        let server = self.target.server()?;
        let mut interrupts = Interrupts::new()?;
        let mut connection = tokio::select! {
            connection = Connection::open(&self.target, &server) => connection?,
            () = interrupts.next() => return Ok(false),
        };
        for (index, destination) in self.destinations.iter().enumerate() {
            connection.send(&self.subscription(index, destination))?;
        }
        let mut receiving = Receiving {
            connection,
            ack: self.ack(),
            received: Meter::default(),
            text: Vec::new(),
            acks: Vec::new(),
        };
        // Where messages are on the terminal they say themselves that they come.
        let mut progress = Progress::new(!self.quiet && !io::stdout().is_terminal());
        let outcome = receiving.receive(&self, &mut interrupts, &mut progress).await;
        progress.clear();
        let Receiving { connection, received, .. } = receiving;
        // What was acknowledged is settled once the server says so.
        let outcome = match outcome {
            Ok(end) => connection.end(self.target.connect_timeout).await.map(|()| end),
            Err(failure) => Err(failure),
        };
        if !self.quiet {
            say(&received.describe("received"));
            if let Some(latencies) = received.describe_latencies() {
                say(&format!("on their way for: {latencies}"));
            }
        }
        let is_enough = match self.count {
            Some(count) => received.messages >= count,
            None => received.messages > 0,
        };
        // Whoever ends it without having said how many are to come had what there was.
        outcome.map(|end| is_enough || (end == End::Interrupted && self.count.is_none()))
    }

    fn ack(&self) -> Ack {
        let is_topic = |destination: &String| destination.starts_with("/topic/");
        let of_topics =
            if self.destinations.iter().all(is_topic) { Ack::Auto } else { Ack::ClientIndividual };
        self.ack.unwrap_or(of_topics)
    }

    fn subscription(&self, index: usize, destination: &str) -> Frame {
        let ack = self.ack();
        let mode = match ack {
            Ack::Auto => "auto",
            Ack::Client => "client",
            Ack::ClientIndividual => "client-individual",
        };
        let mut frame = Frame::new(Verb::Subscribe)
            .with("id", &index.to_string())
            .with("destination", destination)
            .with("ack", mode);
        for (name, value) in &self.more {
            frame = frame.with(name, value);
        }
        if let Some(selector) = &self.selector {
            frame = frame.with("selector", selector);
        }
        // What is not wanted is not to wait here: it would be kept from others.
        let wanted = self.count.and_then(|count| u32::try_from(count).ok()).unwrap_or(u32::MAX);
        let prefetch = self.prefetch.or_else(|| (ack != Ack::Auto).then(|| wanted.min(PREFETCH)));
        if let Some(prefetch) = prefetch {
            frame = frame.with("prefetch-count", &prefetch.to_string());
            frame = frame.with("activemq.prefetchSize", &prefetch.to_string());
        }
        frame
    }
}

/// Why there is an end without a failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    Enough,
    Silence,
    Interrupted,
    /// Who reads what is printed has read enough.
    Unread,
}

/// Messages of one connection.
struct Receiving {
    connection: Connection,
    ack: Ack,
    received: Meter,
    /// What is to be printed.
    text: Vec<u8>,
    /// The ids of what is to be acknowledged once that was printed.
    acks: Vec<String>,
}

impl Receiving {
    async fn receive(
        &mut self,
        how: &Subscribe,
        interrupts: &mut Interrupts,
        progress: &mut Progress,
    ) -> Result<End, Failure> {
        let mut refresh = time::interval(PROGRESS_INTERVAL);
        let mut heard_ns = clock::now().mono_ns;
        loop {
            let before = self.received.messages;
            let taken = self.take_messages(how);
            // What came before an ERROR is printed, too.
            if !self.print()? {
                return Ok(End::Unread);
            }
            taken?;
            let now_ns = clock::now().mono_ns;
            if self.received.messages > before {
                heard_ns = now_ns;
            }
            if how.count.is_some_and(|count| self.received.messages >= count) {
                return Ok(End::Enough);
            }
            let silence = async {
                match how.timeout {
                    Some(timeout) => {
                        let silent = Duration::from_nanos(now_ns.saturating_sub(heard_ns));
                        time::sleep(timeout.saturating_sub(silent)).await;
                    }
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = interrupts.next() => return Ok(End::Interrupted),
                _ = refresh.tick() => progress.show(&self.received.describe("received")),
                outcome = self.connection.turn() => outcome?,
                () = silence => return Ok(End::Silence),
            }
        }
    }

    /// Takes the messages that have come, up to those that are wanted.
    fn take_messages(&mut self, how: &Subscribe) -> Result<(), Failure> {
        while how.count.is_none_or(|count| self.received.messages < count) {
            let Some(frame) = self.connection.next()? else { return Ok(()) };
            if frame.verb != Verb::Message {
                continue;
            }
            self.received.count(frame.body.len(), clock::now().mono_ns);
            if let Some(sent_us) = sent_us(&frame) {
                self.received.took(clock::unix_us().saturating_sub(sent_us).saturating_mul(1000));
            }
            if self.ack != Ack::Auto
                && let Some(id) = frame.header("ack")
            {
                self.acks.push(id.to_owned());
            }
            if how.json {
                self.text.extend_from_slice(json::line(&frame).as_bytes());
                continue;
            }
            if how.headers {
                for (name, value) in frame.headers.iter() {
                    self.text.extend_from_slice(format!("{name}: {value}\n").as_bytes());
                }
                self.text.push(b'\n');
            }
            self.text.extend_from_slice(&frame.body);
            self.text.push(b'\n');
        }
        Ok(())
    }

    /// Prints what has come, and acknowledges it; `false`: there is no reader any more.
    fn print(&mut self) -> Result<bool, Failure> {
        if !self.text.is_empty() {
            match logging::write(&self.text) {
                Ok(()) => self.text.clear(),
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(false),
                Err(error) => {
                    let what = "the standard output cannot be written";
                    return Err(Failure::Local { what, error });
                }
            }
        }
        for id in std::mem::take(&mut self.acks) {
            self.connection.send(&Frame::new(Verb::Ack).with("id", &id))?;
        }
        Ok(true)
    }
}

/// When a message was sent: as its sender says by `pub --stamp`, or in milliseconds as the server does.
fn sent_us(frame: &Frame) -> Option<u64> {
    let stamp = || frame.header("sent-us")?.parse().ok();
    let timestamp = || frame.header("timestamp")?.parse::<u64>().ok()?.checked_mul(1000);
    stamp().or_else(timestamp)
}

/// Messages of a queue that may be on their way, where it is not said.
const PREFETCH: u32 = 100;
