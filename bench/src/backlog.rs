//! Many durable messages wait in a queue: what memory that takes, how long a start after `kill -9`, and
//! how soon and how fast they are delivered.

use std::{
    error::Error,
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::gateway::Gateway;

pub(crate) fn run(
    program: &Path,
    work: &Path,
    messages: u64,
    bytes: usize,
) -> Result<(), Box<dyn Error>> {
    let folder = work.join("backlog-store");
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(work)?;
    let path = std::path::absolute(&folder)?;
    let config = format!(
        "[store]\npath = {path:?}\n\
         [limits]\nqueue-messages-max = 100000000\nqueue-bytes-max = \"1024GiB\"\n\
         [memory]\nqueued-bytes-max = \"4096GiB\"\nqueued-bytes-max-per-principal = \"2048GiB\"\n"
    );
    println!("{messages} messages of {bytes} bytes");
    {
        let gateway = Gateway::start_with(program, 2, &config)?;
        let (empty, _) = gateway.resident();
        println!("memory without messages   {}", mib(empty));
        let start = Instant::now();
        fill(&gateway, messages, bytes)?;
        let seconds = start.elapsed().as_secs_f64();
        println!("confirmed                 {:.0} messages/s", messages as f64 / seconds);
        let (resident, most) = gateway.resident();
        println!("memory when filled        {} (at most {})", mib(resident), mib(most));
    }
    let start = Instant::now();
    let gateway = Gateway::start_with(program, 2, &config)?;
    println!("start                     {:.2} s", start.elapsed().as_secs_f64());
    let mut consumer = Client::connect(&gateway)?;
    let subscribed = Instant::now();
    consumer
        .send("SUBSCRIBE\nid:0\ndestination:/queue/backlog\nack:client\nprefetch:2000\n\n", &[])?;
    let mut first = None;
    let mut next = vec![0; PRODUCERS as usize];
    let mut ack = String::new();
    for count in 1..=messages {
        let frame = consumer.receive("MESSAGE")?;
        if first.is_none() {
            first = Some((subscribed.elapsed(), start.elapsed(), gateway.resident()));
        }
        // In order, by producer.
        let number = |name: &str| -> Option<u64> { frame.header(name)?.parse().ok() };
        let (producer, index) =
            number("producer").zip(number("index")).ok_or("a message of another")?;
        let expected = next.get_mut(producer as usize).ok_or("a producer of another")?;
        if index != *expected {
            return Err(format!("{index} of producer {producer} comes, and not {expected}").into());
        }
        *expected += 1;
        if count % 500 == 0 || count == messages {
            frame.header("ack").ok_or("no ack")?.clone_into(&mut ack);
            consumer.send(&format!("ACK\nid:{ack}\n\n"), &[])?;
        }
    }
    let seconds = subscribed.elapsed().as_secs_f64();
    if let Some((since_subscribed, since_start, (resident, most))) = first {
        println!(
            "first delivery            {:.1} ms after SUBSCRIBE, {:.2} s after the start",
            since_subscribed.as_secs_f64() * 1e3,
            since_start.as_secs_f64()
        );
        println!("memory at that time       {} (at most {})", mib(resident), mib(most));
    }
    println!(
        "delivered                 {:.0} messages/s, each once and in order",
        messages as f64 / seconds
    );
    let (resident, most) = gateway.resident();
    println!("memory at the end         {} (at most {})", mib(resident), mib(most));
    consumer.send("DISCONNECT\nreceipt:end\n\n", &[])?;
    consumer.receive("RECEIPT")?;
    drop(gateway);
    fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Some producers send all, and wait until it is confirmed.
fn fill(gateway: &Gateway, messages: u64, bytes: usize) -> Result<(), Box<dyn Error>> {
    let body = vec![b'x'; bytes];
    let share = |producer: u64| messages / PRODUCERS + u64::from(producer < messages % PRODUCERS);
    let produce = |producer: u64| -> io::Result<()> {
        let mut client = Client::connect(gateway)?;
        let count = share(producer);
        let mut confirmed = 0;
        for index in 0..count {
            let is_last = index + 1 == count;
            let wants_receipt = index % BATCH == BATCH - 1 || is_last;
            let receipt = if wants_receipt { format!("receipt:{index}\n") } else { String::new() };
            let head = format!(
                "SEND\ndestination:/queue/backlog\npersistent:true\nproducer:{producer}\n\
                 index:{index}\n{receipt}content-length:{}\n\n",
                body.len()
            );
            client.send(&head, &body)?;
            while is_last && confirmed < index + 1 || index.saturating_sub(confirmed) >= WINDOW {
                let receipt = client.receive("RECEIPT")?;
                let id = receipt.header("receipt-id").and_then(|id| id.parse::<u64>().ok());
                confirmed = id.ok_or_else(|| io::Error::other("a receipt of another"))? + 1;
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let producers: Vec<_> = (0..PRODUCERS).map(|n| scope.spawn(move || produce(n))).collect();
        for producer in producers {
            producer.join().map_err(|_| "a producer panicked")??;
        }
        Ok(())
    })
}

struct Client {
    read: BufReader<TcpStream>,
    write: TcpStream,
    pending: Vec<u8>,
}

struct Frame(String);

impl Frame {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.0.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    }
}

impl Client {
    fn connect(gateway: &Gateway) -> io::Result<Self> {
        let write = gateway.connect()?;
        write.set_read_timeout(Some(Duration::from_secs(60)))?;
        let read = BufReader::with_capacity(256 << 10, write.try_clone()?);
        let mut client = Self { read, write, pending: Vec::new() };
        client.send("CONNECT\naccept-version:1.2\nhost:localhost\n\n", &[])?;
        client.receive("CONNECTED")?;
        Ok(client)
    }

    /// Sends a frame, when a receipt or a read wants it, or there is much.
    fn send(&mut self, head: &str, body: &[u8]) -> io::Result<()> {
        self.pending.extend(head.as_bytes());
        self.pending.extend(body);
        self.pending.push(0);
        if self.pending.len() >= 64 << 10 { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write.write_all(&self.pending)?;
        self.pending.clear();
        Ok(())
    }

    /// The next frame, which is of this kind.
    fn receive(&mut self, command: &str) -> io::Result<Frame> {
        if self.read.buffer().is_empty() || !self.pending.is_empty() {
            self.flush()?;
        }
        let mut head = String::new();
        while head.len() < 2 || !head.ends_with("\n\n") {
            if self.read.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if head == "\n" {
                head.clear();
            }
        }
        let frame = Frame(head);
        let bytes = frame.header("content-length").and_then(|text| text.parse().ok());
        let mut body = vec![0; bytes.unwrap_or(0)];
        self.read.read_exact(&mut body)?;
        let mut rest = Vec::new();
        self.read.read_until(0, &mut rest)?;
        if frame.0.lines().next() == Some(command) {
            return Ok(frame);
        }
        let text = String::from_utf8_lossy(&rest).into_owned() + &String::from_utf8_lossy(&body);
        Err(io::Error::other(format!("not {command}: {}{text}", frame.0)))
    }
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

const PRODUCERS: u64 = 4;
/// Messages between two that a receipt is wanted of.
const BATCH: u64 = 100;
/// Messages of a producer that are not confirmed.
const WINDOW: u64 = 2_000;
