use std::collections::VecDeque;

use contract::{Command, Token};

use crate::{link::LinkId, outcome::Verdict, session::SessionId};

/// The requests that wait for replies of the broker.
#[derive(Debug)]
pub(crate) struct Pending {
    queue: VecDeque<Option<(Request, usize)>>,
    /// The token of the next entry; that of each entry follows from its index.
    next: u64,
    /// What the entries take, and what they publish.
    bytes: usize,
    /// Those that wait.
    count: usize,
}

/// What was requested.
#[derive(Debug)]
pub(crate) enum Request {
    /// A message that came on a link, and its delivery-id; `is_settled`: its sender waits for nothing.
    Publish {
        link: LinkId,
        session: SessionId,
        delivery: u32,
        is_settled: bool,
        is_temporary: bool,
    },
    Declare(LinkId),
    Subscribe(LinkId),
    /// The end of a subscription, and what names the temporary destination that it read.
    Unsubscribe(LinkId, Option<u128>),
    /// Of a durable subscription.
    Delete(LinkId),
    /// Whether there is a durable subscription.
    Find(LinkId),
    Drain(LinkId),
    /// Deliveries with these ids, which are to be settled once that is carried out.
    Settle {
        session: SessionId,
        ids: (u32, u32),
        verdict: Verdict,
    },
    /// A transaction, and the delivery that discharges it.
    Discharge {
        link: LinkId,
        session: SessionId,
        delivery: u32,
        is_settled: bool,
        transaction: u64,
    },
    /// What is not waited for.
    Nothing,
}

impl Pending {
    /// The first token is this.
    pub(crate) const fn new(next: u64) -> Self {
        Self { queue: VecDeque::new(), next, bytes: 0, count: 0 }
    }

    /// Waits for the reply to the token.
    pub(crate) fn wait(&mut self, request: Request) -> Token {
        self.publish(request, 0)
    }

    /// Waits for the reply to the token, with which the broker has taken these bytes.
    pub(crate) fn publish(&mut self, request: Request, bytes: usize) -> Token {
        let token = Token(self.next);
        let bytes = ENTRY_BYTES + bytes;
        self.next += 1;
        self.bytes += bytes;
        self.count += 1;
        self.queue.push_back(Some((request, bytes)));
        token
    }

    /// What a token is of, which waits no longer.
    pub(crate) fn replied(&mut self, token: Token) -> Option<Request> {
        let first = self.next - self.queue.len() as u64;
        let index = usize::try_from(token.0.checked_sub(first)?).ok()?;
        let (request, bytes) = self.queue.get_mut(index)?.take()?;
        self.bytes -= bytes;
        self.count -= 1;
        while self.queue.pop_front_if(|entry| entry.is_none()).is_some() {}
        if self.queue.is_empty() {
            self.queue.shrink_to(KEPT);
        }
        Some(request)
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a request waits for the broker, which may be why nothing is read from the peer.
    pub(crate) const fn is_waiting(&self) -> bool {
        self.count > 0
    }
}

/// What a command takes where it waits: in rings that are filled to three quarters, as they are on
/// average.
const ENTRY_BYTES: usize =
    (size_of::<(Token, Command)>() + size_of::<Option<(Request, usize)>>()) * 4 / 3;
/// Entries that an empty ring keeps room for.
const KEPT: usize = 16;
