use std::collections::VecDeque;

use contract::{Destination, Pattern, SubscriptionId, Token};

/// The frames whose RECEIPT or answer is due, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Pending {
    queue: VecDeque<Entry>,
    /// The token of the next entry; that of each entry follows from its place.
    next: u64,
    /// What the entries take.
    bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) what: What,
    pub(crate) receipt: Option<Box<str>>,
    done: bool,
}

/// What was asked, to say so when it is refused.
#[derive(Debug)]
pub(crate) enum What {
    /// Nothing of the broker.
    Frame,
    Send(Destination),
    Subscribe(Pattern),
    Browse(SubscriptionId, Destination),
    Unsubscribe(SubscriptionId),
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

    /// Waits for the answer to the token.
    pub(crate) fn request(&mut self, what: What, receipt: Option<Box<str>>) -> Token {
        self.push(what, receipt, false)
    }

    /// Waits for nothing but its turn.
    pub(crate) fn done(&mut self, what: What, receipt: Option<Box<str>>) {
        self.push(what, receipt, true);
    }

    fn push(&mut self, what: What, receipt: Option<Box<str>>, done: bool) -> Token {
        let token = Token(self.next);
        self.next += 1;
        let entry = Entry { what, receipt, done };
        self.bytes += entry.bytes();
        self.queue.push_back(entry);
        token
    }

    /// Memory that the entries take.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes note of an answer; gives what was asked.
    pub(crate) fn answered(&mut self, token: Token) -> Option<&Entry> {
        let first = self.next - self.queue.len() as u64;
        let place = usize::try_from(token.0.checked_sub(first)?).ok()?;
        let entry = self.queue.get_mut(place).filter(|entry| !entry.done)?;
        entry.done = true;
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

    /// Whether a SEND or a COMMIT waits, which may be why nothing is read from the peer.
    pub(crate) fn is_publishing(&self) -> bool {
        self.queue
            .iter()
            .any(|entry| !entry.done && matches!(entry.what, What::Send(_) | What::Commit(_)))
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.receipt.as_ref().map_or(0, |receipt| receipt.len())
    }

    /// Names what was asked, in a sentence.
    pub(crate) fn describe(&self) -> String {
        match &self.what {
            What::Frame => "the frame".to_owned(),
            What::Send(destination) => format!("SEND to {destination}"),
            What::Subscribe(pattern) => format!("SUBSCRIBE to {pattern}"),
            What::Browse(_, queue) => format!("browsing {queue}"),
            What::Unsubscribe(_) => "UNSUBSCRIBE".to_owned(),
            What::Declare(destination) => format!("the temporary destination {destination}"),
            What::Acknowledge => "the acknowledgement".to_owned(),
            What::Commit(transaction) => format!("COMMIT of transaction {transaction:?}"),
            What::Disconnect => "DISCONNECT".to_owned(),
        }
    }
}
