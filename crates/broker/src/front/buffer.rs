use std::{
    collections::VecDeque,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use contract::Message;

/// Messages that wait for one subscription, in the order in which they are to be delivered.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    messages: VecDeque<Arc<Waiting>>,
    /// What they cost.
    bytes: usize,
    /// What they cost when each is divided among those for which it waits, as it was when that was
    /// measured; what came since counts in full.
    share: usize,
    /// What it was when it was measured.
    measured: usize,
}

/// A message that waits. Its memory counts once, for however many subscriptions it waits.
#[derive(Debug)]
pub(super) struct Waiting {
    message: Arc<Message>,
    bytes: usize,
    total: Arc<AtomicUsize>,
}

impl Waiting {
    /// `total`: the bytes of all messages that wait.
    pub(super) fn new(message: &Arc<Message>, total: &Arc<AtomicUsize>) -> Arc<Self> {
        let bytes = message.cost();
        total.fetch_add(bytes, Ordering::Relaxed);
        Arc::new(Self { message: Arc::clone(message), bytes, total: Arc::clone(total) })
    }

    /// What it costs.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Deref for Waiting {
    type Target = Arc<Message>;

    fn deref(&self) -> &Arc<Message> {
        &self.message
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Buffer {
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// What the messages in it cost.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Its part in what waits, of which it learns late that others have let go.
    pub(super) const fn share(&self) -> usize {
        self.share
    }

    /// Whether little has come since its part was measured: no more than an eighth.
    pub(super) const fn is_measured(&self) -> bool {
        self.share <= self.measured + self.measured / 8
    }

    pub(super) fn measure(&mut self) {
        self.share = self.messages.iter().map(part).sum();
        self.measured = self.share;
    }

    /// The message that is next.
    pub(super) fn first(&self) -> Option<&Arc<Waiting>> {
        self.messages.front()
    }

    /// Adds a message.
    pub(super) fn push(&mut self, message: Arc<Waiting>) {
        self.bytes += message.bytes;
        self.share += message.bytes;
        self.messages.push_back(message);
    }

    /// Takes out the message that is next.
    pub(super) fn pop(&mut self) -> Option<Arc<Waiting>> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.bytes;
        let share = self.share.saturating_sub(part(&message));
        self.share = share.clamp(self.messages.len(), self.bytes);
        if self.messages.is_empty() {
            self.messages.shrink_to(KEPT);
        }
        Some(message)
    }

    pub(super) fn assert_consistent(&self) {
        let bytes: usize = self.messages.iter().map(|message| message.bytes).sum();
        assert_eq!(self.bytes, bytes, "bytes that wait");
        let parts = self.messages.len()..=bytes;
        assert!(parts.contains(&self.share), "{} is no part of {bytes} bytes", self.share);
    }
}

/// The part of a message that is of each for which it waits, in bytes.
fn part(message: &Arc<Waiting>) -> usize {
    message.bytes.div_ceil(Arc::strong_count(message))
}

/// Messages for which memory stays allocated.
const KEPT: usize = 16;
