use std::mem;

use contract::{Message, Now, Selector};

/// What may be spent on selectors, in [`Message::selection_cost`], and on what is passed without one.
#[derive(Debug)]
pub(crate) struct Effort {
    /// All events of a turn have the same time.
    turn_mono_ns: u64,
    /// In this turn, and in each.
    left: usize,
    per_turn: usize,
    /// What was spent and not told.
    spent: usize,
}

impl Effort {
    pub(crate) const fn new() -> Self {
        let per_turn = TURN_COST_MAX;
        Self { turn_mono_ns: 0, left: per_turn, per_turn, spent: 0 }
    }

    /// Allows to look at more, if an event is of another turn than the last one.
    pub(crate) const fn renew(&mut self, now: Now) {
        if self.turn_mono_ns != now.mono_ns {
            self.turn_mono_ns = now.mono_ns;
            self.begin_turn();
        }
    }

    /// Allows to look at more.
    pub(crate) const fn begin_turn(&mut self) {
        self.left = self.per_turn;
    }

    pub(crate) const fn set_per_turn(&mut self, cost: usize) {
        self.per_turn = cost;
        self.left = cost;
    }

    pub(crate) const fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// A message was looked at, and nothing evaluated.
    pub(crate) const fn pass(&mut self) {
        self.left = self.left.saturating_sub(1);
        self.spent += 1;
    }

    /// Whether a selector selects a message, which is spent on.
    pub(crate) fn selects(&mut self, selector: &Selector, message: &Message) -> bool {
        let cost = 1 + message.selection_cost(selector);
        self.left = self.left.saturating_sub(cost);
        self.spent += cost;
        message.is_selected_by(selector)
    }

    /// See [`crate::Shard::take_lookups`].
    pub(crate) const fn take_spent(&mut self) -> usize {
        mem::replace(&mut self.spent, 0)
    }
}

/// What a turn may spend: some ten thousand simple selectors, or a few milliseconds.
const TURN_COST_MAX: usize = 256 << 10;
