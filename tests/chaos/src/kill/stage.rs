//! What the clients of a round share: their ledger, and where the gateway is.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::SocketAddr,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use super::event::{Event, MessageId};

/// What the clients of a round share.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    ledger: Mutex<Ledger>,
    /// Messages that were confirmed or delivered, and are not acknowledged.
    depth: AtomicUsize,
    numbers: AtomicU32,
    life: Mutex<Life>,
    changed: Condvar,
    faults: Mutex<Vec<String>>,
}

#[derive(Debug, Default)]
struct Ledger {
    events: Vec<Event>,
    /// By delivery.
    messages: HashMap<u32, MessageId>,
    /// By transaction.
    sends: HashMap<u32, Vec<MessageId>>,
    got: HashSet<MessageId>,
    waiting: HashSet<MessageId>,
}

/// A gateway, from when it listens until its end.
#[derive(Clone, Copy, Debug, Default)]
struct Life {
    number: u32,
    /// Nothing once it is about to be ended: what its clients meet then is no fault.
    address: Option<SocketAddr>,
    /// There will be no other.
    is_last: bool,
    /// Clients of this one that have not met its end yet.
    clients: u32,
}

impl Stage {
    /// Writes something down.
    pub(crate) fn record(&self, event: Event) {
        let mut ledger = lock(&self.ledger);
        ledger.add(event);
        self.depth.store(ledger.waiting.len(), Ordering::Relaxed);
    }

    /// The ledger as far as it is written.
    pub(crate) fn events(&self) -> Vec<Event> {
        lock(&self.ledger).events.clone()
    }

    /// How many messages wait, as far as clients know.
    pub(crate) fn depth(&self) -> usize {
        self.depth.load(Ordering::Relaxed)
    }

    /// A number that nothing else has.
    pub(crate) fn number(&self) -> u32 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// A gateway listens.
    pub(crate) fn begin(&self, address: SocketAddr) {
        let mut life = lock(&self.life);
        *life = Life { number: life.number + 1, address: Some(address), ..*life };
        self.changed.notify_all();
    }

    /// It is about to be ended.
    pub(crate) fn end(&self) {
        lock(&self.life).address = None;
    }

    /// Waits until all clients have read what it sent them, and met its end.
    pub(crate) fn wait_for_clients(&self) {
        let mut life = lock(&self.life);
        while life.clients > 0 {
            life = self.changed.wait(life).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The clients are to end: there will be no other gateway for them.
    pub(crate) fn finish(&self) {
        self.end();
        lock(&self.life).is_last = true;
        self.changed.notify_all();
    }

    /// Runs a client in each life of the gateway. What it returns within one is a fault, unless
    /// the gateway was ended.
    pub(crate) fn attend(&self, name: &str, mut client: impl FnMut(SocketAddr) -> io::Result<()>) {
        let mut last = 0;
        while let Some((number, address)) = self.next_life(last) {
            last = number;
            let outcome = client(address);
            let mut life = lock(&self.life);
            life.clients -= 1;
            let lives = life.address.is_some();
            drop(life);
            self.changed.notify_all();
            if let Err(error) = outcome
                && lives
            {
                self.fault(format!("{name}: {error}"));
                return;
            }
        }
    }

    fn next_life(&self, last: u32) -> Option<(u32, SocketAddr)> {
        let mut life = lock(&self.life);
        loop {
            match *life {
                Life { is_last: true, .. } => return None,
                Life { number, address: Some(address), .. } if number > last => {
                    life.clients += 1;
                    return Some((number, address));
                }
                Life { .. } => {
                    life = self.changed.wait(life).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Something went wrong that the ledger does not tell.
    pub(crate) fn fault(&self, text: String) {
        lock(&self.faults).push(text);
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        lock(&self.faults).clone()
    }
}

impl Ledger {
    fn add(&mut self, event: Event) {
        match &event {
            Event::Confirmed(message) if !self.got.contains(message) => {
                self.waiting.insert(*message);
            }
            Event::Send { message, transaction: Some(transaction), .. } => {
                self.sends.entry(*transaction).or_default().push(*message);
            }
            Event::Committed(transaction) => {
                let sends = self.sends.remove(transaction).unwrap_or_default();
                let got = &self.got;
                self.waiting.extend(sends.into_iter().filter(|message| !got.contains(message)));
            }
            Event::Got { delivery, message, .. } => {
                self.messages.insert(*delivery, *message);
                self.got.insert(*message);
                self.waiting.insert(*message);
            }
            Event::Ack { delivery, .. } => {
                if let Some(message) = self.messages.get(delivery) {
                    self.waiting.remove(message);
                }
            }
            Event::Confirmed(_)
            | Event::DeliveriesMax(_)
            | Event::Ordered(_)
            | Event::Start
            | Event::Stop
            | Event::Send { .. }
            | Event::Commit(_)
            | Event::Subscribe { .. }
            | Event::Nack(_)
            | Event::Settled(_)
            | Event::Left { .. }
            | Event::Browse { .. }
            | Event::Seen { .. }
            | Event::Bound { .. }
            | Event::Empty => {}
        }
        self.events.push(event);
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
