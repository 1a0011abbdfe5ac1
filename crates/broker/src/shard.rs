use std::{collections::VecDeque, mem, sync::Arc};

use contract::{Limits, Now};

use crate::{
    event::{Effect, Event},
    front::Front,
    home::Home,
    outbox::Outbox,
    placement::Placement,
    shard_message::{Content, ShardMessage},
    stats::{QueueDepth, Stats},
    window::Windows,
};

/// The part of the broker that lives on one core, as a pure value.
///
/// The same events at the same times give the same effects.
#[derive(Debug)]
pub struct Shard {
    core: u16,
    front: Front,
    home: Home,
    windows: Windows,
    /// What it sends to itself; empty between calls, kept for its memory.
    own: VecDeque<Content>,
}

impl Shard {
    /// The shard of `core`, one of `cores`.
    #[must_use]
    pub fn new(core: u16, cores: u16, limits: Arc<Limits>) -> Self {
        let placement = Placement::new(cores);
        Self {
            core,
            front: Front::new(core, cores, placement.clone(), Arc::clone(&limits)),
            home: Home::new(placement, limits),
            windows: Windows::new(core, cores),
            own: VecDeque::new(),
        }
    }

    /// Advances the shard by one event; what is to be done is added to `effects`, in order.
    pub fn apply(&mut self, event: Event, now: Now, effects: &mut Vec<Effect>) {
        let (front, home) = (&mut self.front, &mut self.home);
        let own = mem::take(&mut self.own);
        let mut outbox = Outbox { core: self.core, own, effects, windows: &mut self.windows };
        match event {
            Event::Opened(connection, limits) => front.opened(connection, limits),
            Event::Command(connection, token, command) => {
                front.command(connection, token, command, &mut outbox);
            }
            Event::Settle(connection, settle, answer) => {
                front.settle(connection, settle, answer, &mut outbox);
            }
            Event::Credit(connection, subscription, credit) => {
                front.credit(connection, subscription, credit, &mut outbox);
            }
            Event::Gone(connection) => front.gone(connection, &mut outbox),
            Event::KeepInterest(pattern) => front.keep_interest(&pattern, &mut outbox),
            Event::Peer(from, ShardMessage(content)) => {
                let bytes = content.published_bytes();
                receive(front, home, from, content, now, &mut outbox);
                if let Some(report) = outbox.windows.processed(from, bytes) {
                    outbox.send(from, Content::WindowUpdate(report));
                }
            }
            Event::Tick => home.tick(now, &mut outbox),
        }
        while let Some(content) = outbox.own.pop_front() {
            receive(front, home, self.core, content, now, &mut outbox);
        }
        self.own = outbox.own;
    }

    /// What it has done and what it holds.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        self.front.add_stats(&mut stats);
        self.home.add_stats(&mut stats);
        stats
    }

    /// How full the queues are that live here.
    pub fn queues(&self) -> impl Iterator<Item = QueueDepth<'_>> {
        self.home.depths()
    }

    /// Panics unless the counts that are kept beside what they count agree with it; for tests,
    /// after each event. Linear in what the shard holds.
    pub fn assert_consistent(&self) {
        self.front.assert_consistent();
        self.home.assert_consistent();
    }

    /// Panics unless nothing is left of what connections did: they are gone, their queues are empty
    /// and no shard message is on its way. For tests.
    pub fn assert_empty(&self) {
        self.assert_consistent();
        self.front.assert_empty();
        self.home.assert_empty();
        self.windows.assert_empty();
    }
}

/// A message from the shard of core `from`, which may be this one.
fn receive(
    front: &mut Front,
    home: &mut Home,
    from: u16,
    content: Content,
    now: Now,
    outbox: &mut Outbox<'_>,
) {
    match content {
        Content::ToHome(message) => home.receive(from, message, now, outbox),
        Content::ToFront(message) => front.receive(message, outbox),
        Content::Interest(message) => front.interest(from, message, outbox),
        Content::WindowUpdate(bytes) => front.window_updated(from, bytes, outbox),
    }
}
