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

    /// Adds a message.
    pub(super) fn push(&mut self, message: Arc<Waiting>) {
        self.bytes += message.bytes;
        self.messages.push_back(message);
    }

    /// Takes out the message that is next.
    pub(super) fn pop(&mut self) -> Option<Arc<Waiting>> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.bytes;
        if self.messages.is_empty() {
            self.messages.shrink_to(KEPT);
        }
        Some(message)
    }

    pub(super) fn assert_consistent(&self) {
        let bytes: usize = self.messages.iter().map(|message| message.bytes).sum();
        assert_eq!(self.bytes, bytes, "bytes that wait");
    }
}

/// Messages for which memory stays allocated.
const KEPT: usize = 16;
