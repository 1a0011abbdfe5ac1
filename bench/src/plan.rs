//! What the load generator is told, and what it replies: lines of JSON.
use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

/// The first line: whom to load, and how.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Plan {
    /// Where the server listens.
    pub(crate) address: SocketAddr,
    /// Its processes; their children count too.
    pub(crate) processes: Vec<u32>,
    /// The core to stay on.
    pub(crate) core: usize,
    pub(crate) framing: Framing,
    /// The certificate of a server that speaks TLS, in DER; only for idle connections.
    pub(crate) certificate: Option<Vec<u8>>,
    pub(crate) shape: Shape,
}

/// How messages are told apart in what the server sends. Each has [`MARK`] once in its payload.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Framing {
    /// All bytes are payload.
    Stream,
    /// An HTTP response, then WebSocket frames.
    WebSocket,
}

/// Stands once in each message, nowhere else in what a server sends.
pub(crate) const MARK: u8 = b'#';

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Shape {
    /// Each connection sends `depth` messages at once, and again when all have come back.
    Echo { connections: usize, depth: usize, message: Vec<u8>, opening: Vec<Step> },
    /// One connection publishes `burst` messages at once, and again when all deliveries are there.
    FanOut {
        subscribers: usize,
        opening: Vec<Step>,
        publisher: Vec<Step>,
        /// Sent one after the other, then from the first again.
        messages: Vec<Vec<u8>>,
        burst: usize,
        /// How many subscribers get each message.
        deliveries_each: usize,
        /// Subscribers beyond those who never read.
        stalled: usize,
    },
    /// Producers fill a queue, consumers acknowledge each message; over STOMP on TCP.
    Work {
        producers: usize,
        consumers: usize,
        producer: Vec<Step>,
        consumer: Vec<Step>,
        message: Vec<u8>,
        /// Messages in flight.
        depth: usize,
    },
    /// Each producer sends a message, and the next when its RECEIPT has come: [`MARK`] is in that and in no
    /// message. A consumer acknowledges each message; over STOMP on TCP.
    Confirm { producers: usize, producer: Vec<Step>, consumer: Option<Vec<Step>>, message: Vec<u8> },
    /// Clients of AMQP 1.0 over TCP, with payloads of so many bytes.
    Amqp { exchange: Exchange, bytes: usize, client: Client },
    /// Connections that are there and say nothing.
    Idle { opening: Vec<Step> },
}

/// What clients of AMQP do.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) enum Exchange {
    /// Each producer sends messages to a queue, and again when they are accepted; a consumer settles each message.
    Confirm { producers: usize, burst: usize, durable: bool },
    /// One publishes `burst` messages to a topic at once, and again when all subscribers have them.
    FanOut { subscribers: usize, burst: usize },
    /// A request to a queue, whose reply goes to a temporary queue; then the next.
    Request,
}

/// Who speaks AMQP.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Client {
    /// The load generator itself.
    Light,
    /// Apache Qpid JMS.
    Jms(Java),
}

/// A program of Java.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Java {
    pub(crate) class_path: String,
    pub(crate) source: PathBuf,
}

/// A part of how a connection is opened.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Step {
    /// In text, `{n}` stands for the number of the connection modulo `modulus`, `{host}` for the
    /// server's address.
    pub(crate) send: Vec<u8>,
    pub(crate) frame: Frame,
    pub(crate) modulus: usize,
    /// What the response has in it once it is complete.
    pub(crate) until: Vec<u8>,
}

/// What the text of a step travels in.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Frame {
    Bare,
    Text,
    Binary,
}

/// A further line: what to do now.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Order {
    /// As fast as it goes.
    Flood { warm_ms: u64, ms: u64 },
    /// A number of messages a second, whatever comes back: shows the latency.
    Pace { warm_ms: u64, ms: u64, per_second: f64 },
    /// So many messages, and no more; of AMQP, and not measured.
    Count { messages: usize },
    /// Opens connections, `batch` together, until there are `connections`.
    Grow { connections: usize, batch: usize },
    /// Drops all connections and opens as many again, `batch` together.
    Return { batch: usize },
}

/// The reply to the plan and to each order.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Reply {
    Ready,
    Round(Round),
    Failed(String),
}

/// What was counted between two moments.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Round {
    /// Messages that came to the load generator (connections, where those are counted).
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) elapsed_ns: u64,
    /// CPU time of the server.
    pub(crate) cpu_ns: u64,
    pub(crate) latency: Option<Latency>,
}

impl Round {
    /// CPU time of the server for each message.
    pub(crate) fn cpu_ns_each(&self) -> f64 {
        self.cpu_ns as f64 / self.messages.max(1) as f64
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.messages as f64 * 1e9 / self.elapsed_ns.max(1) as f64
    }
}

/// Microseconds from when a message should have been sent.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) p999_us: u64,
    pub(crate) max_us: u64,
}
