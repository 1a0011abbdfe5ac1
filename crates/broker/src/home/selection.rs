//! How a consumer that does not take any message finds its own in a queue: one with a selector, or one
//! that has said of messages that it cannot process them.
//!
//! It looks at the ready messages in the order of the queue, from where it stopped the last time, so
//! that it looks at each once. What becomes ready behind that place later (it is more urgent, or has
//! come back) is in a list of the queue, which each such consumer goes through as well. In a turn of the
//! core a bounded number of messages is looked at; the search goes on with the next event of the queue
//! in another turn, or when time has passed.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use contract::{Group, Message, Selector};

use super::paged::{AllReady, Ready};
use crate::{effort::Effort, queued::QueuePosition};

/// What a consumer that selects has seen of its queue.
#[derive(Debug)]
pub(super) struct Selection {
    /// `None`: it takes all but what is excluded.
    selector: Option<Arc<Selector>>,
    /// What was undeliverable to it. Some may have gone.
    excluded: BTreeSet<QueuePosition>,
    progress: Progress,
}

/// How far a search has come.
#[derive(Debug)]
struct Progress {
    /// The last position that it has looked at.
    last: Option<QueuePosition>,
    /// How many entries of [`Late`] it has looked at.
    seen: u64,
    /// What it selects of these and has not got. Some may have gone.
    found: BTreeSet<QueuePosition>,
}

/// What became ready at a position that a consumer that selects may have passed.
#[derive(Debug, Default)]
pub(super) struct Late {
    /// The consumers that select.
    consumers: usize,
    /// The last position that any of them has looked at.
    furthest: Option<QueuePosition>,
    /// The latest positions; those before them are forgotten.
    positions: VecDeque<QueuePosition>,
    /// How many there were ever.
    count: u64,
}

/// What came of a search.
pub(super) enum Search {
    Found(QueuePosition),
    Nothing,
    /// What comes next is on the disk.
    OnDisk(QueuePosition),
    /// No more may be spent in this turn.
    Unfinished,
}

impl Selection {
    pub(super) fn new(selector: Option<Arc<Selector>>, late: &mut Late) -> Self {
        late.consumers += 1;
        let progress = Progress { last: None, seen: late.count, found: BTreeSet::new() };
        Self { selector, excluded: BTreeSet::new(), progress }
    }

    /// The message at this position is not for it any more.
    pub(super) fn exclude(&mut self, position: QueuePosition) {
        self.excluded.insert(position);
        if self.excluded.len() > EXCLUDED_MAX {
            self.excluded.pop_first();
        }
    }

    /// Looks for the first message that it selects, of those that it is allowed.
    pub(super) fn search(
        &mut self,
        ready: AllReady<'_>,
        allows: impl Fn(Option<Group>) -> bool,
        late: &mut Late,
        effort: &mut Effort,
    ) -> Search {
        let Self { selector, excluded, progress } = self;
        let selector = selector.as_deref();
        let allows = |group, position| allows(group) && !excluded.contains(&position);
        let forgotten = late.count - late.positions.len() as u64;
        if progress.seen < forgotten {
            progress.begin_again(late);
        }
        while progress.seen < late.count {
            if effort.is_spent() {
                return Search::Unfinished;
            }
            let index = usize::try_from(progress.seen - forgotten).unwrap_or(usize::MAX);
            // What it has not passed yet it will come to.
            if let Some(position) = late.positions.get(index)
                && Some(*position) <= progress.last
            {
                if ready.group_on_disk(*position).is_some_and(|group| allows(group, *position)) {
                    return Search::OnDisk(*position);
                }
                if let Some(queued) = ready.in_memory.get(position)
                    && allows(queued.group(), *position)
                    && selects(selector, &queued.message, effort)
                {
                    progress.found.insert(*position);
                }
            }
            progress.seen += 1;
        }
        if progress.found.len() > FOUND_MAX {
            progress.begin_again(late);
        }
        while let Some(position) = progress.found.first() {
            // What it is not allowed any more is late again when it is.
            if ready.in_memory.get(position).is_some_and(|one| allows(one.group(), *position)) {
                return Search::Found(*position);
            }
            if ready.group_on_disk(*position).is_some_and(|group| allows(group, *position)) {
                return Search::OnDisk(*position);
            }
            progress.found.pop_first();
        }
        for one in ready.after(progress.last, 0) {
            if effort.is_spent() {
                return Search::Unfinished;
            }
            let (position, group) = match one {
                Ready::InMemory(queued) => (queued.position, queued.group()),
                Ready::OnDisk { position, group, .. } => (position, group),
            };
            let is_allowed = allows(group, position);
            if is_allowed && matches!(one, Ready::OnDisk { .. }) {
                return Search::OnDisk(position);
            }
            progress.last = Some(position);
            late.furthest = late.furthest.max(progress.last);
            let Ready::InMemory(queued) = one else {
                effort.pass();
                continue;
            };
            if !is_allowed {
                effort.pass();
            } else if selects(selector, &queued.message, effort) {
                return Search::Found(queued.position);
            }
        }
        Search::Nothing
    }
}

/// Whether a message is selected, which is spent on; without a selector all are.
fn selects(selector: Option<&Selector>, message: &Message, effort: &mut Effort) -> bool {
    match selector {
        Some(selector) => effort.selects(selector, message),
        None => {
            effort.pass();
            true
        }
    }
}

impl Progress {
    fn begin_again(&mut self, late: &Late) {
        self.last = None;
        self.seen = late.count;
        self.found.clear();
    }
}

impl Late {
    pub(super) const fn consumers(&self) -> usize {
        self.consumers
    }

    /// A message becomes ready.
    pub(super) fn became_ready(&mut self, position: QueuePosition) {
        if self.consumers > 0 && Some(position) <= self.furthest {
            self.positions.push_back(position);
            self.count += 1;
            if self.positions.len() > LATE_MAX {
                self.positions.pop_front();
            }
        }
    }

    /// Messages that are ready may be for others than before.
    pub(super) fn became_free(&mut self, in_order: impl Iterator<Item = QueuePosition>) {
        if self.consumers > 0 {
            // With one more all begin again.
            in_order.take(LATE_MAX + 1).for_each(|position| self.became_ready(position));
        }
    }

    pub(super) fn remove_consumer(&mut self) {
        self.consumers -= 1;
        if self.consumers == 0 {
            *self = Self::default();
        }
    }
}

/// Positions that a queue remembers: a consumer that has missed more begins again.
const LATE_MAX: usize = 1024;

/// Messages that a consumer has said it cannot process and that do not come to it again; of more, the
/// first may.
const EXCLUDED_MAX: usize = 1024;

/// Positions that a consumer remembers; with more it begins again.
const FOUND_MAX: usize = 1024;
