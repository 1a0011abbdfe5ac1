use std::{
    collections::VecDeque,
    error::Error,
    io::{self, BufRead as _, ErrorKind, Write as _},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token};

use super::{amqp, connection::Connection, opening::open, stomp, window::Window};
use crate::{
    plan::{Order, Plan, Reply, Round, Shape, Step},
    system,
};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// Does what the lines on the standard input say, until they end.
pub(crate) fn run() -> Result {
    let mut lines = io::stdin().lock().lines();
    let plan: Plan = serde_json::from_str(&lines.next().ok_or("no plan")??)?;
    system::stay_on(&[plan.core])?;
    let mut load = match Kind::open(plan) {
        Ok(load) => load,
        Err(error) => return reply(&Reply::Failed(error.to_string())),
    };
    reply(&Reply::Ready)?;
    for line in lines {
        let order: Order = serde_json::from_str(&line?)?;
        match load.obey(&order) {
            Ok(round) => reply(&Reply::Round(round))?,
            Err(error) => return reply(&Reply::Failed(error.to_string())),
        }
    }
    Ok(())
}

fn reply(reply: &Reply) -> Result {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, reply)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

/// What is loaded with.
#[derive(Debug)]
enum Kind {
    /// Bytes that are made beforehand.
    Prepared(Box<Load>),
    Amqp(Box<amqp::Load>),
}

impl Kind {
    fn open(plan: Plan) -> Result<Self> {
        if let Shape::Amqp { exchange, bytes, .. } = plan.shape {
            return Ok(Self::Amqp(Box::new(amqp::Load::open(&plan, exchange, bytes)?)));
        }
        Ok(Self::Prepared(Box::new(Load::open(plan)?)))
    }

    fn obey(&mut self, order: &Order) -> Result<Round> {
        match self {
            Self::Prepared(load) => load.obey(order),
            Self::Amqp(load) => load.obey(order),
        }
    }
}

/// Connections, and what they wait for.
#[derive(Debug)]
struct Load {
    plan: Plan,
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    connections: Vec<Client>,
    /// Connections that never read.
    stalled: Vec<Connection>,
    /// Over all connections, what has still to come.
    outstanding: usize,
    /// When each message should have been published; when paced.
    published: Vec<u64>,
    message_next: usize,
}

/// A connection, and what it waits for.
#[derive(Debug)]
struct Client {
    connection: Connection,
    /// What has still to come back.
    waiting: usize,
    /// When that should have been sent; when paced.
    due: VecDeque<u64>,
    /// How many published messages have come; when paced.
    seen: usize,
    /// What has come, where it is looked at.
    inbox: Vec<u8>,
}

impl Load {
    fn open(plan: Plan) -> Result<Self> {
        let mut load = Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            buffer: vec![0; 256 * 1024],
            connections: Vec::new(),
            stalled: Vec::new(),
            outstanding: 0,
            published: Vec::new(),
            message_next: 0,
            plan,
        };
        match load.plan.shape.clone() {
            Shape::Echo { connections, opening, .. } => load.grow(&opening, connections, BATCH)?,
            Shape::FanOut { subscribers, opening, publisher, stalled, .. } => {
                load.grow(&opening, subscribers, BATCH)?;
                let numbers = subscribers..subscribers + stalled;
                load.stalled = open(&load.plan, &opening, numbers, Some(STALLED_BUFFER))?;
                load.grow(&publisher, subscribers + 1, 1)?;
            }
            Shape::Work { producers, consumers, producer, consumer, .. } => {
                load.grow(&producer, producers, BATCH)?;
                load.grow(&consumer, producers + consumers, BATCH)?;
            }
            Shape::Confirm { producers, producer, consumer, .. } => {
                load.grow(&producer, producers, BATCH)?;
                if let Some(consumer) = consumer {
                    load.grow(&consumer, producers + 1, 1)?;
                }
            }
            Shape::Idle { .. } | Shape::Amqp { .. } => {}
        }
        Ok(load)
    }

    fn obey(&mut self, order: &Order) -> Result<Round> {
        match (order, self.plan.shape.clone()) {
            (Order::Grow { connections, batch }, Shape::Idle { opening }) => {
                self.opened(&opening, *connections, *batch)
            }
            (Order::Return { batch }, Shape::Idle { opening }) => {
                let connections = self.connections.len();
                self.connections.clear();
                self.opened(&opening, connections, *batch)
            }
            (Order::Flood { .. } | Order::Pace { .. }, _) => self.exchange(order),
            (Order::Grow { .. } | Order::Return { .. } | Order::Count { .. }, _) => {
                Err("such connections have no such order".into())
            }
        }
    }

    /// Opens connections and says how long that took, and what it cost the server.
    fn opened(&mut self, opening: &[Step], connections: usize, batch: usize) -> Result<Round> {
        let messages = connections.saturating_sub(self.connections.len()) as u64;
        let processes = system::family(&self.plan.processes);
        let (began, cpu_ns) = (Instant::now(), system::cpu_ns(&processes));
        self.grow(opening, connections, batch)?;
        let elapsed_ns = u64::try_from(began.elapsed().as_nanos())?;
        let cpu_ns = system::cpu_ns(&processes).saturating_sub(cpu_ns);
        Ok(Round { messages, elapsed_ns, cpu_ns, ..Round::default() })
    }

    fn grow(&mut self, opening: &[Step], connections: usize, batch: usize) -> Result {
        while self.connections.len() < connections {
            let first = self.connections.len();
            let numbers = first..connections.min(first + batch);
            let opened = open(&self.plan, opening, numbers, None)?;
            for mut connection in opened {
                let token = Token(self.connections.len());
                let both = Interest::READABLE | Interest::WRITABLE;
                self.poll.registry().register(&mut connection.stream, token, both)?;
                self.connections.push(Client {
                    connection,
                    waiting: 0,
                    due: VecDeque::new(),
                    seen: 0,
                    inbox: Vec::new(),
                });
            }
        }
        Ok(())
    }

    /// Sends and receives for as long as the order says, then waits for what is in flight.
    fn exchange(&mut self, order: &Order) -> Result<Round> {
        let mut window = Window::new(order, system::family(&self.plan.processes));
        self.published.clear();
        self.connections.iter_mut().for_each(|client| client.seen = 0);
        let mut progress = Instant::now();
        let mut open = true;
        if !window.is_paced() {
            self.start()?;
        }
        while open || self.outstanding > 0 {
            if open && !window.goes_on() {
                open = false;
                window.stop();
            }
            while open && let Some(due_ns) = window.next_due() {
                self.send_due(due_ns)?;
            }
            // A paced sender must not oversleep.
            let timeout =
                if open && window.is_paced() { Duration::ZERO } else { Duration::from_millis(10) };
            if self.turn(timeout, open && !window.is_paced(), &mut window)? > 0 {
                progress = Instant::now();
            }
            if self.outstanding > 0 && progress.elapsed() > STUCK {
                return Err(format!("{} messages never came", self.outstanding).into());
            }
        }
        Ok(window.finish())
    }

    /// Takes what has come, sends more if `again`; says how many messages came.
    fn turn(&mut self, timeout: Duration, again: bool, window: &mut Window) -> Result<usize> {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let outcome = match self.poll.poll(&mut events, Some(timeout)) {
            Ok(()) => self.take(&events, again, window),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(0),
            Err(error) => Err(error.into()),
        };
        self.events = events;
        outcome
    }

    fn take(&mut self, events: &Events, again: bool, window: &mut Window) -> Result<usize> {
        let mut sum = 0;
        for event in events {
            let Some(client) = self.connections.get_mut(event.token().0) else { continue };
            if event.is_writable() {
                client.connection.flush()?;
            }
            if !event.is_readable() {
                continue;
            }
            let reads = match self.plan.shape {
                Shape::Work { .. } => true,
                Shape::Confirm { producers, .. } => event.token().0 >= producers,
                Shape::Echo { .. }
                | Shape::FanOut { .. }
                | Shape::Amqp { .. }
                | Shape::Idle { .. } => false,
            };
            let inbox = reads.then_some(&mut client.inbox);
            let arrived = client.connection.receive(&mut self.buffer, inbox)?;
            if !client.inbox.is_empty() {
                let acknowledgements = stomp::acknowledge(&mut client.inbox);
                client.connection.send(&acknowledgements)?;
            }
            sum += arrived.messages;
            window.count(arrived.messages, arrived.bytes);
            self.outstanding = self.outstanding.saturating_sub(arrived.messages);
            if window.is_paced() {
                let now_ns = window.now_ns();
                for _ in 0..arrived.messages {
                    let due_ns =
                        client.due.pop_front().or_else(|| self.published.get(client.seen).copied());
                    client.seen += 1;
                    window.note_latency(due_ns.unwrap_or(now_ns), now_ns);
                }
            }
            client.waiting = client.waiting.saturating_sub(arrived.messages);
            if again && arrived.messages > 0 {
                match &self.plan.shape {
                    Shape::Work { .. } => self.produce(arrived.messages)?,
                    Shape::Echo { depth, message, .. } if client.waiting == 0 => {
                        client.waiting = *depth;
                        self.outstanding += depth;
                        client.connection.send(&message.repeat(*depth))?;
                    }
                    Shape::Confirm { message, .. } => {
                        client.waiting = 1;
                        self.outstanding += 1;
                        client.connection.send(message)?;
                    }
                    Shape::FanOut { .. } if self.outstanding == 0 => self.publish()?,
                    Shape::Echo { .. }
                    | Shape::FanOut { .. }
                    | Shape::Amqp { .. }
                    | Shape::Idle { .. } => {}
                }
            }
        }
        Ok(sum)
    }

    /// The first messages of a flood.
    fn start(&mut self) -> Result {
        match &self.plan.shape {
            Shape::Echo { depth, message, .. } => {
                let burst = message.repeat(*depth);
                for client in &mut self.connections {
                    client.waiting = *depth;
                    self.outstanding += depth;
                    client.connection.send(&burst)?;
                }
                Ok(())
            }
            Shape::Confirm { producers, message, .. } => {
                for client in self.connections.iter_mut().take(*producers) {
                    client.waiting = 1;
                    self.outstanding += 1;
                    client.connection.send(message)?;
                }
                Ok(())
            }
            Shape::FanOut { .. } => self.publish(),
            Shape::Work { depth, .. } => self.produce(*depth),
            Shape::Amqp { .. } | Shape::Idle { .. } => Ok(()),
        }
    }

    fn publish(&mut self) -> Result {
        let Shape::FanOut { messages, burst, deliveries_each, .. } = &self.plan.shape else {
            return Ok(());
        };
        let mut bytes = Vec::new();
        for _ in 0..*burst {
            bytes.extend(messages.get(self.message_next).map_or(&[][..], Vec::as_slice));
            self.message_next = (self.message_next + 1) % messages.len();
        }
        self.outstanding += burst * deliveries_each;
        self.connections.last_mut().ok_or("no publisher")?.connection.send(&bytes)?;
        Ok(())
    }

    /// One message of a paced round.
    fn send_due(&mut self, due_ns: u64) -> Result {
        match &self.plan.shape {
            Shape::Echo { message, .. } => {
                self.message_next = (self.message_next + 1) % self.connections.len();
                let client = self.connections.get_mut(self.message_next).ok_or("no connection")?;
                client.due.push_back(due_ns);
                self.outstanding += 1;
                Ok(client.connection.send(message)?)
            }
            Shape::FanOut { messages, deliveries_each, .. } => {
                let message = messages.first().ok_or("nothing to publish")?;
                self.published.push(due_ns);
                self.outstanding += deliveries_each;
                Ok(self.connections.last_mut().ok_or("no publisher")?.connection.send(message)?)
            }
            Shape::Work { .. }
            | Shape::Confirm { .. }
            | Shape::Amqp { .. }
            | Shape::Idle { .. } => Ok(()),
        }
    }

    /// More messages for the queue, from one producer after the other.
    fn produce(&mut self, count: usize) -> Result {
        let Shape::Work { producers, message, .. } = &self.plan.shape else { return Ok(()) };
        for _ in 0..count {
            self.message_next = (self.message_next + 1) % producers;
            let client = self.connections.get_mut(self.message_next).ok_or("no producer")?;
            client.connection.send(message)?;
        }
        self.outstanding += count;
        Ok(())
    }
}

/// Connections that are opened together where nothing else is requested.
const BATCH: usize = 50;

/// The receive buffer of a connection that never reads.
const STALLED_BUFFER: usize = 4096;

/// How long nothing may come while something should.
const STUCK: Duration = Duration::from_secs(20);
