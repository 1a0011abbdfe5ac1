//! What honest clients write down of the messages that they send and receive.

use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::stomp::{Options, Stomp};

/// The messages of one destination, by number.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// A RECEIPT came.
    confirmed: BTreeSet<u64>,
    /// It was received and, of a queue, acknowledged; or found as a dead letter.
    found: BTreeSet<u64>,
}

/// How many messages were confirmed, and how many of those are nowhere.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) confirmed: usize,
    pub(crate) lost: usize,
}

impl Ledger {
    /// The RECEIPT of a message came.
    pub(crate) fn confirm(&mut self, number: u64) {
        self.confirmed.insert(number);
    }

    /// A message was received, and settled where that is needed.
    pub(crate) fn find(&mut self, number: u64) {
        self.found.insert(number);
    }

    /// How many confirmed messages have not been found yet.
    pub(crate) fn missing(&self) -> usize {
        self.confirmed.difference(&self.found).count()
    }

    pub(crate) fn count(&self) -> Count {
        Count { confirmed: self.confirmed.len(), lost: self.missing() }
    }

    /// Takes what is left out of a queue and its dead-letter queue, until nothing is missing.
    /// Reports how many dead letters there were.
    pub(crate) fn take_rest(
        &mut self,
        to: SocketAddr,
        options: Options,
        queue: &str,
    ) -> io::Result<usize> {
        let mut stomp = Stomp::connect(to, options)?;
        let more = "ack:client-individual\nprefetch-count:10\n";
        stomp.subscribe("queue", &format!("/queue/{queue}"), more)?;
        stomp.subscribe("dead", &format!("/queue/DLQ.{queue}"), more)?;
        let mut dead = 0;
        let mut last = Instant::now();
        while self.missing() > 0 && last.elapsed() < SILENCE_MAX {
            let Some(message) = stomp.receive(Duration::from_millis(100))? else { continue };
            last = Instant::now();
            stomp.settle("ACK", &message)?;
            dead += usize::from(message.get("subscription") == Some("dead"));
            self.find(number(&message.body)?);
        }
        // So that the last acknowledgements are carried out.
        stomp.confirm("DISCONNECT", "", b"")?;
        Ok(dead)
    }
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.confirmed += other.confirmed;
        self.lost += other.lost;
    }
}

/// The body of a message, of at least so many bytes.
pub(crate) fn body(number: u64, len: usize) -> Vec<u8> {
    let mut body = format!("{number} {len} ").into_bytes();
    let fill = u8::try_from(number % 26).unwrap_or(0) + b'a';
    body.resize(len.max(body.len()), fill);
    body
}

/// The number of a message, if its body is as it was sent.
pub(crate) fn number(received: &[u8]) -> io::Result<u64> {
    let altered = || io::Error::other(format!("an altered message of {} bytes", received.len()));
    let text = received.get(..received.len().min(40)).unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let mut words = text.split(' ');
    let mut word = || words.next()?.parse::<u64>().ok();
    let (Some(number), Some(len)) = (word(), word()) else { return Err(altered()) };
    let len = usize::try_from(len).map_err(io::Error::other)?;
    if body(number, len) == received { Ok(number) } else { Err(altered()) }
}

/// After this, what has not come does not come.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(10);
