use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token};

use super::{
    Result,
    client::Client,
    message::{Message, QUEUE, TEMPORARY_QUEUE, TOPIC},
    opening::{Link, open},
};
use crate::{
    load::window::Window,
    plan::{Exchange, Order, Plan, Round},
    system,
};

/// Connections, and what they wait for.
#[derive(Debug)]
pub(crate) struct Load {
    exchange: Exchange,
    processes: Vec<u32>,
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    clients: Vec<Client>,
    /// What each sends: of a request, the request and its reply.
    messages: Vec<Vec<u8>>,
    /// What has still to come.
    outstanding: usize,
    /// What may still be sent, where that is counted.
    left: Option<usize>,
    /// Confirmed messages whose consumer does not have them yet.
    unread: isize,
    /// Producers that wait for their consumer.
    paused: Vec<usize>,
    /// What the publisher has still to publish.
    unpublished: usize,
    /// When each message should have been published; when paced.
    published: Vec<u64>,
}

impl Load {
    pub(crate) fn open(plan: &Plan, exchange: Exchange, bytes: usize) -> Result<Self> {
        let mut load = Self {
            exchange,
            processes: plan.processes.clone(),
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            buffer: vec![0; 256 * 1024],
            clients: Vec::new(),
            messages: Vec::new(),
            outstanding: 0,
            left: None,
            unread: 0,
            paused: Vec::new(),
            unpublished: 0,
            published: Vec::new(),
        };
        let queue = |address| Link::From { address, capability: "queue", settled: false };
        let message =
            |to, to_kind, durable| Message { durable, to, to_kind, reply_to: None, bytes };
        match exchange {
            Exchange::Confirm { producers, durable, .. } => {
                for _ in 0..producers {
                    load.add(plan, &[Link::To(Some(CONFIRMED), "queue")])?;
                }
                load.add(plan, &[queue(CONFIRMED)])?;
                load.messages = vec![message(CONFIRMED, QUEUE, durable).encode()];
            }
            Exchange::FanOut { subscribers, .. } => {
                for _ in 0..subscribers {
                    let from = Link::From { address: PRICES, capability: "topic", settled: true };
                    load.add(plan, &[from])?;
                }
                load.add(plan, &[Link::To(Some(PRICES), "topic")])?;
                load.messages = vec![message(PRICES, TOPIC, false).encode()];
            }
            Exchange::Request => {
                load.add(plan, &[queue(REQUESTS), Link::To(None, "")])?;
                let links = [Link::FromTemporary, Link::To(Some(REQUESTS), "queue")];
                let reply_to = load.add(plan, &links)?.ok_or("a temporary queue has no address")?;
                let request =
                    Message { reply_to: Some(&reply_to), ..message(REQUESTS, QUEUE, false) };
                let reply = message(&reply_to, TEMPORARY_QUEUE, false).encode();
                load.messages = vec![request.encode(), reply];
            }
        }
        Ok(load)
    }

    fn add(&mut self, plan: &Plan, links: &[Link<'_>]) -> Result<Option<String>> {
        let name = format!("bench-{}-{}", std::process::id(), self.clients.len());
        let (mut client, temporary) = open(plan.address, &name, links)?;
        let both = Interest::READABLE | Interest::WRITABLE;
        let token = Token(self.clients.len());
        self.poll.registry().register(&mut client.stream, token, both)?;
        self.clients.push(client);
        Ok(temporary)
    }

    /// Sends and receives for as long as the order says, then waits for what is in flight.
    pub(crate) fn obey(&mut self, order: &Order) -> Result<Round> {
        let mut window = Window::new(order, system::family(&self.processes));
        self.published.clear();
        for client in &mut self.clients {
            client.seen = 0;
            // An empty frame: it was silent while others had their turn.
            client.state.outbox.extend_from_slice(&[0, 0, 0, 8, 2, 0, 0, 0]);
            client.flush()?;
        }
        self.left = match order {
            Order::Count { messages } => Some(*messages),
            _ => None,
        };
        let mut progress = Instant::now();
        let mut open = true;
        if !window.is_paced() {
            self.start(&window)?;
        }
        while open || self.outstanding > 0 || self.unread > 0 {
            let goes_on = match self.left {
                Some(left) => left > 0,
                None => window.goes_on(),
            };
            if open && !goes_on {
                open = false;
                window.stop();
                self.paused.clear();
            }
            while open && let Some(due_ns) = window.next_due() {
                self.published.push(due_ns);
                self.publish(1)?;
            }
            // A paced sender must not oversleep.
            let timeout =
                if open && window.is_paced() { Duration::ZERO } else { Duration::from_millis(10) };
            if self.turn(timeout, open && !window.is_paced(), &mut window)? {
                progress = Instant::now();
            }
            if progress.elapsed() > STUCK {
                let (outstanding, unread) = (self.outstanding, self.unread);
                return Err(format!("{outstanding} messages and {unread} never came").into());
            }
        }
        Ok(window.finish())
    }

    fn start(&mut self, window: &Window) -> Result {
        match self.exchange {
            Exchange::Confirm { producers, burst, .. } => {
                (0..producers).try_for_each(|producer| self.send(producer, burst, window))
            }
            Exchange::FanOut { burst, .. } => self.publish(burst),
            Exchange::Request => self.send(REQUESTER, 1, window),
        }
    }

    /// Messages that are waited for.
    fn send(&mut self, client: usize, count: usize, window: &Window) -> Result {
        let message = self.messages.first().map_or(&[][..], Vec::as_slice);
        let client = self.clients.get_mut(client).ok_or("no client")?;
        client.sent_ns = window.now_ns();
        for _ in 0..count {
            if !client.state.can_send() {
                return Err("no credit for a few messages".into());
            }
            client.state.send(message, false);
        }
        client.waiting = count;
        self.outstanding += count;
        self.left = self.left.map(|left| left.saturating_sub(count));
        Ok(client.flush()?)
    }

    /// So many more to all subscribers, as far as the server takes them.
    fn publish(&mut self, count: usize) -> Result {
        let Exchange::FanOut { subscribers, .. } = self.exchange else { return Ok(()) };
        self.left = self.left.map(|left| left.saturating_sub(count));
        self.unpublished += count;
        self.outstanding += count * subscribers;
        let message = self.messages.first().map_or(&[][..], Vec::as_slice);
        let client = self.clients.last_mut().ok_or("no publisher")?;
        while self.unpublished > 0 && client.state.can_send() {
            client.state.send(message, true);
            self.unpublished -= 1;
        }
        Ok(client.flush()?)
    }

    /// Takes what has come, sends more if `again`; says whether anything came.
    fn turn(&mut self, timeout: Duration, again: bool, window: &mut Window) -> Result<bool> {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        match self.poll.poll(&mut events, Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        let mut any = false;
        for event in &events {
            any |= self.take(event.token().0, event.is_readable(), again, window)?;
        }
        self.events = events;
        Ok(any)
    }

    fn take(
        &mut self,
        number: usize,
        readable: bool,
        again: bool,
        window: &mut Window,
    ) -> Result<bool> {
        let client = self.clients.get_mut(number).ok_or("no client")?;
        if !readable {
            client.flush()?;
            return Ok(false);
        }
        let arrived = client.receive(&mut self.buffer)?;
        let (messages, accepted) = (arrived.messages, arrived.accepted);
        match self.exchange {
            Exchange::Confirm { producers, burst, .. } if number < producers => {
                if accepted > 0 {
                    client.waiting = client.waiting.saturating_sub(accepted);
                    let (sent_ns, is_done) = (client.sent_ns, client.waiting == 0);
                    self.came(accepted, arrived.bytes, window);
                    window.note_latency(sent_ns, window.now_ns());
                    self.unread += accepted.cast_signed();
                    if again && is_done && self.unread < UNREAD_MAX {
                        self.send(number, burst, window)?;
                    } else if again && is_done {
                        self.paused.push(number);
                    }
                }
            }
            Exchange::Confirm { burst, .. } => {
                client.flush()?;
                self.unread -= messages.cast_signed();
                while again
                    && self.unread < UNREAD_MAX
                    && let Some(producer) = self.paused.pop()
                {
                    self.send(producer, burst, window)?;
                }
            }
            Exchange::FanOut { subscribers, burst } => {
                if number == subscribers {
                    self.publish(0)?;
                    return Ok(true);
                }
                client.flush()?;
                let seen = client.seen;
                client.seen += messages;
                if window.is_paced() {
                    let now_ns = window.now_ns();
                    let due = self.published.iter().skip(seen).take(messages);
                    due.for_each(|due_ns| window.note_latency(*due_ns, now_ns));
                }
                self.came(messages, arrived.bytes, window);
                if again && messages > 0 && self.outstanding == 0 {
                    self.publish(burst)?;
                }
            }
            Exchange::Request if number == REQUESTER => {
                let sent_ns = client.sent_ns;
                client.flush()?;
                if messages > 0 {
                    self.came(messages, arrived.bytes, window);
                    window.note_latency(sent_ns, window.now_ns());
                    if again {
                        self.send(number, 1, window)?;
                    }
                }
            }
            Exchange::Request => {
                let reply = self.messages.last().map_or(&[][..], Vec::as_slice);
                (0..messages).for_each(|_| client.state.send(reply, false));
                client.flush()?;
            }
        }
        Ok(messages + accepted > 0)
    }

    /// So many of what was waited for have come.
    fn came(&mut self, count: usize, bytes: usize, window: &mut Window) {
        window.count(count, bytes);
        self.outstanding = self.outstanding.saturating_sub(count);
    }
}

/// The number of the client that sends requests.
const REQUESTER: usize = 1;

const CONFIRMED: &str = "amqp.confirmed";
const PRICES: &str = "amqp.prices";
const REQUESTS: &str = "amqp.requests";

/// A queue with so many messages is long enough: who measures a producer alone measures half of the work.
const UNREAD_MAX: isize = 1000;

/// How long nothing may come while something should.
const STUCK: Duration = Duration::from_secs(20);
