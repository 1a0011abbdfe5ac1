use std::{collections::VecDeque, mem};

use contract::{Command, Destination, Pattern, SubscriptionId, Token, allocation_bytes};

/// The requests of the peer that wait for a reply or for their RECEIPT, in the order in which they
/// came.
#[derive(Debug)]
pub(crate) struct Pending {
    queue: VecDeque<Entry>,
    /// The token of the next entry; that of each entry follows from its index.
    next: u64,
    /// What the entries take, and what they publish.
    bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) request: Request,
    pub(crate) receipt: Option<Box<str>>,
    /// Bytes that wait for the reply in the broker.
    published: u32,
    done: bool,
}

/// What the peer requested with a frame, to say so when it is refused.
#[derive(Debug)]
pub(crate) enum Request {
    /// What needs nothing of the broker.
    Local,
    Send(Destination),
    Subscribe(Pattern),
    Browse(SubscriptionId, Destination),
    Unsubscribe(SubscriptionId),
    /// Of a durable subscription.
    Delete,
    Declare(Destination),
    Acknowledge,
    Commit(Box<str>),
    Disconnect,
}

impl Pending {
    /// The first token is this.
    pub(crate) const fn new(next: u64) -> Self {
        Self { queue: VecDeque::new(), next, bytes: 0 }
    }

    /// Waits for the reply to the token.
    pub(crate) fn wait(&mut self, request: Request, receipt: Option<Box<str>>) -> Token {
        self.publish(request, receipt, 0)
    }

    /// Waits for the reply to the token, with which the broker has taken these bytes.
    pub(crate) fn publish(
        &mut self,
        request: Request,
        receipt: Option<Box<str>>,
        bytes: usize,
    ) -> Token {
        let published = u32::try_from(COMMAND_BYTES + bytes).unwrap_or(u32::MAX);
        self.push(Entry { request, receipt, published, done: false })
    }

    /// Waits for nothing but its turn.
    pub(crate) fn done(&mut self, request: Request, receipt: Option<Box<str>>) {
        self.push(Entry { request, receipt, published: 0, done: true });
    }

    fn push(&mut self, entry: Entry) -> Token {
        let token = Token(self.next);
        self.next += 1;
        self.bytes += entry.bytes();
        self.queue.push_back(entry);
        token
    }

    /// Memory that the entries take, and what they publish.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes note of a reply; returns what it is to.
    pub(crate) fn replied(&mut self, token: Token) -> Option<&Entry> {
        let first = self.next - self.queue.len() as u64;
        let index = usize::try_from(token.0.checked_sub(first)?).ok()?;
        let entry = self.queue.get_mut(index).filter(|entry| !entry.done)?;
        entry.done = true;
        self.bytes -= mem::take(&mut entry.published) as usize;
        Some(entry)
    }

    /// Takes the first entry if it waits for nothing.
    pub(crate) fn pop_done(&mut self) -> Option<Entry> {
        let entry = self.queue.pop_front_if(|entry| entry.done)?;
        self.bytes -= entry.bytes();
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        Some(entry)
    }

    /// Whether a request waits for the broker, which may be why nothing is read from the peer.
    pub(crate) fn is_waiting(&self) -> bool {
        self.queue.iter().any(|entry| !entry.done)
    }
}

impl Entry {
    /// In a ring as that of [`COMMAND_BYTES`].
    fn bytes(&self) -> usize {
        let receipt = self.receipt.as_deref().map_or(0, str::len);
        size_of::<Self>() * 4 / 3 + allocation_bytes(receipt) + self.published as usize
    }

    /// Names the request, in a sentence.
    pub(crate) fn describe(&self) -> String {
        match &self.request {
            Request::Local => "the frame".to_owned(),
            Request::Send(destination) => format!("SEND to {destination}"),
            Request::Subscribe(pattern) => format!("SUBSCRIBE to {pattern}"),
            Request::Browse(_, queue) => format!("browsing {queue}"),
            Request::Unsubscribe(_) | Request::Delete => "UNSUBSCRIBE".to_owned(),
            Request::Declare(destination) => format!("the temporary destination {destination}"),
            Request::Acknowledge => "the acknowledgement".to_owned(),
            Request::Commit(transaction) => format!("COMMIT of transaction {transaction:?}"),
            Request::Disconnect => "DISCONNECT".to_owned(),
        }
    }
}

/// What a command takes where it waits: in a ring that is filled to three quarters, as it is on
/// average.
const COMMAND_BYTES: usize = size_of::<(Token, Command)>() * 4 / 3;
