use std::{collections::BTreeMap, future::pending, time::Duration};

use clap::Args;
use drive::clock;
use stomp::{Frame, Verb};
use tokio::time;

use super::{
    Failure, Interrupts, Outcome, PROGRESS_INTERVAL, Progress, block_on,
    connection::Connection,
    messages::{Message, Messages},
    meter::Meter,
    say,
    target::Target,
    units::{self, grouped},
};

/// Sends messages, each of which is confirmed by a receipt.
#[derive(Args, Debug)]
pub(crate) struct Publish {
    /// Where to, such as /topic/news or /queue/orders.
    destination: String,
    /// The body. Without it, --file or --size each line of the standard input is a message.
    body: Option<String>,
    /// The file that is the body; `-` is the standard input.
    #[arg(short, long, value_name = "FILE", conflicts_with = "body")]
    file: Option<String>,
    /// Send bodies of this size, to measure: 512, 4KiB, 1MiB.
    #[arg(long, value_name = "BYTES", value_parser = units::bytes, conflicts_with_all = ["body", "file"])]
    size: Option<usize>,
    /// The lines of the standard input are messages as `sub --json` prints them; their `destination`
    /// counts where DESTINATION is `-`.
    #[arg(long, conflicts_with_all = ["body", "file", "size"])]
    json: bool,
    /// How many messages; of lines all by default, else one.
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Send no more than so many in a second.
    #[arg(long, value_name = "PER_SECOND", value_parser = units::rate)]
    rate: Option<f64>,
    /// Keep the message on disk, if it is for a queue.
    #[arg(long)]
    persistent: bool,
    /// Add a header; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME:VALUE", value_parser = units::header)]
    headers: Vec<(String, String)>,
    /// The type of the body; by default text/plain if it is UTF-8, else none.
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Add the time as `sent-us` (microseconds since 1970), by which `sub` knows the latency.
    #[arg(long)]
    stamp: bool,
    /// How many messages may wait for their receipts.
    #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    window: u32,
    /// Request no receipt for each message: only at the end is it known that all have arrived.
    #[arg(long)]
    unconfirmed: bool,
    /// How long receipts may stay out; then it fails.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = units::duration)]
    timeout: Duration,
    /// Say nothing of rate and latency.
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    target: Target,
}

impl Publish {
    /// Sends all; `true`: all were confirmed.
    pub(crate) fn run(self) -> Outcome {
        block_on(self.publish())
    }

    async fn publish(self) -> Outcome {
        let server = self.target.server()?;
        let mut messages = self.messages()?;
        let mut interrupts = Interrupts::new()?;
        let connection = tokio::select! {
            connection = Connection::open(&self.target, &server) => connection?,
            () = interrupts.next() => return Ok(false),
        };
        let mut sending = Sending {
            connection,
            left: match (&messages, self.count) {
                (Messages::Repeated(_), count) => Some(count.unwrap_or(1)),
                (Messages::Lines { .. }, count) => count,
            },
            has_more: true,
            number: 0,
            waiting: BTreeMap::new(),
            sent: Meter::default(),
            confirmed: 0,
            progressed: clock::now().mono_ns,
        };
        let mut progress = Progress::new(!self.quiet);
        let outcome = sending.send_all(&self, &mut messages, &mut interrupts, &mut progress).await;
        progress.clear();
        let all = match outcome {
            Ok(is_whole) => {
                let unconfirmed = sending.waiting.len();
                let end = sending.connection.end(self.timeout).await;
                (sending.sent, sending.confirmed, end.map(|()| is_whole && unconfirmed == 0))
            }
            Err(failure) => (sending.sent, sending.confirmed, Err(failure)),
        };
        let (sent, confirmed, outcome) = all;
        if !self.quiet {
            self.report(&sent, confirmed, outcome.is_ok());
        }
        outcome
    }

    fn messages(&self) -> Result<Messages, Failure> {
        if let Some(body) = &self.body {
            return Ok(Messages::repeated(body.clone().into_bytes()));
        }
        if let Some(size) = self.size {
            return Ok(Messages::repeated(vec![b'x'; size]));
        }
        match &self.file {
            Some(file) => Messages::of_file(file),
            None => Messages::of_lines(self.json),
        }
    }

    fn report(&self, sent: &Meter, confirmed: u64, has_ended: bool) {
        if self.unconfirmed {
            say(&sent.describe(if has_ended { "sent, all of which have arrived" } else { "sent" }));
        } else if confirmed < sent.messages {
            say(&format!("{}, {} of them confirmed", sent.describe("sent"), grouped(confirmed)));
        } else {
            say(&sent.describe("confirmed"));
        }
        if let Some(latencies) = sent.describe_latencies() {
            say(&format!("receipts after: {latencies}"));
        }
    }

    /// The frame of a message.
    fn frame(&self, message: Message) -> Result<Frame, Failure> {
        let destination = match (&*self.destination, message.destination) {
            ("-", Some(destination)) => destination,
            ("-", None) => {
                return Err(Failure::Usage("a message names no `destination`".to_owned()));
            }
            (named, _) => named.to_owned(),
        };
        let mut frame = Frame::new(Verb::Send).with("destination", &destination);
        // Those of the command line come first, and so count.
        for (name, value) in self.headers.iter().chain(&message.headers) {
            frame = frame.with(name, value);
        }
        if self.persistent {
            frame = frame.with("persistent", "true");
        }
        if let Some(content_type) = &self.content_type {
            frame = frame.with("content-type", content_type);
        } else if frame.header("content-type").is_none() && str::from_utf8(&message.body).is_ok() {
            frame = frame.with("content-type", "text/plain");
        }
        if self.stamp {
            frame = frame.with("sent-us", &clock::unix_us().to_string());
        }
        Ok(frame.with_body(message.body))
    }
}

/// A run of messages on one connection.
struct Sending {
    connection: Connection,
    /// How many are still to be sent, if that is known.
    left: Option<u64>,
    /// Whether there may be more.
    has_more: bool,
    number: u64,
    /// When those were sent that are not confirmed, by their receipts.
    waiting: BTreeMap<u64, u64>,
    sent: Meter,
    confirmed: u64,
    /// When the last receipt came, or none was awaited.
    progressed: u64,
}

impl Sending {
    /// Sends messages and awaits their receipts; `false`: it was told to stop before it had sent all.
    async fn send_all(
        &mut self,
        how: &Publish,
        messages: &mut Messages,
        interrupts: &mut Interrupts,
        progress: &mut Progress,
    ) -> Result<bool, Failure> {
        let mut is_whole = true;
        let started = clock::now().mono_ns;
        let mut refresh = time::interval(PROGRESS_INTERVAL);
        loop {
            self.take_receipts()?;
            let now_ns = clock::now().mono_ns;
            let has_more = self.has_more && self.left != Some(0);
            if !has_more && self.waiting.is_empty() && self.connection.unsent_bytes() == 0 {
                return Ok(is_whole);
            }
            let due_ns = how.rate.map_or(0, |rate| started + due(self.number, rate));
            let has_room = self.waiting.len() < how.window as usize
                && self.connection.unsent_bytes() < UNSENT_BYTES_MAX;
            let may_send = has_more && has_room && due_ns <= now_ns;
            let pause = async {
                if has_more && has_room && due_ns > now_ns {
                    time::sleep(Duration::from_nanos(due_ns - now_ns)).await;
                } else {
                    pending::<()>().await;
                }
            };
            if self.waiting.is_empty() {
                self.progressed = now_ns;
            }
            let late = how.timeout.saturating_sub(Duration::from_nanos(now_ns - self.progressed));
            tokio::select! {
                biased;
                () = interrupts.next() => {
                    // The second time nothing is awaited any more.
                    if !std::mem::replace(&mut self.has_more, false) {
                        return Ok(false);
                    }
                    is_whole = false;
                }
                _ = refresh.tick() => progress.show(&self.progress(how)),
                outcome = self.connection.turn() => outcome?,
                message = messages.next(), if may_send => match message? {
                    Some(message) => self.send(how, message)?,
                    None => self.has_more = false,
                },
                () = pause => {}
                () = time::sleep(late), if !self.waiting.is_empty() => {
                    return Err(Failure::Lost(format!(
                        "no receipt for {:?} (--timeout)", how.timeout
                    )));
                }
            }
        }
    }

    fn send(&mut self, how: &Publish, message: Message) -> Result<(), Failure> {
        let mut frame = how.frame(message)?;
        let now_ns = clock::now().mono_ns;
        self.sent.count(frame.body.len(), now_ns);
        if !how.unconfirmed {
            frame = frame.with("receipt", &self.number.to_string());
            self.waiting.insert(self.number, now_ns);
        }
        self.number += 1;
        self.left = self.left.map(|left| left.saturating_sub(1));
        self.connection.send(&frame)
    }

    fn take_receipts(&mut self) -> Result<(), Failure> {
        while let Some(frame) = self.connection.next()? {
            let id = frame.header("receipt-id").and_then(|id| id.parse().ok());
            if let Some(sent_ns) = id.and_then(|id: u64| self.waiting.remove(&id)) {
                let now_ns = clock::now().mono_ns;
                self.sent.took(now_ns.saturating_sub(sent_ns));
                self.sent.see(now_ns);
                self.confirmed += 1;
                self.progressed = now_ns;
            }
        }
        Ok(())
    }

    fn progress(&self, how: &Publish) -> String {
        let sent = grouped(self.sent.messages);
        if how.unconfirmed {
            return format!("{sent} sent");
        }
        format!("{sent} sent, {} confirmed", grouped(self.confirmed))
    }
}

/// When a message is due after the start, in nanoseconds.
fn due(number: u64, rate: f64) -> u64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a time that no run reaches"
    )]
    let due = (number as f64 / rate * 1e9) as u64;
    due
}

/// What waits for the socket before no more is read or made.
const UNSENT_BYTES_MAX: usize = 256 << 10;
