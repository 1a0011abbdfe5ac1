use std::collections::VecDeque;

use contract::{Credit, Token};

/// How many deliveries a subscription may get.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    now: Bounds,
    /// The drains that are not replied to, and the credit that was given after each.
    drains: VecDeque<(Token, Bounds)>,
}

/// Known to a range: deliveries that are in flight use up credit that is set, and come even if they
/// are more.
#[derive(Debug, Default)]
struct Bounds {
    least: u64,
    most: u64,
    was_set: bool,
    is_set_last: bool,
}

impl Allowance {
    pub(super) fn change(&mut self, credit: Credit) {
        let bounds = self.drains.back_mut().map_or(&mut self.now, |(_, bounds)| bounds);
        match credit {
            Credit::Add(count) => {
                bounds.least += u64::from(count);
                bounds.most += u64::from(count);
                bounds.is_set_last = false;
            }
            Credit::Set(count) => {
                let count = u64::from(count);
                bounds.least = count;
                bounds.most = bounds.most.max(count);
                bounds.was_set = true;
                bounds.is_set_last = true;
            }
        }
    }

    /// One comes from where the credit is: it uses up none that is given behind a drain.
    pub(super) fn take_one_here(&mut self) {
        assert!(self.now.most > 0, "more than the credit allows");
        self.now.most -= 1;
        self.now.least = self.now.least.saturating_sub(1);
    }

    pub(super) fn take_one(&mut self) {
        self.take_one_here();
        for (_, bounds) in self.drains.iter_mut().filter(|(_, bounds)| bounds.was_set) {
            bounds.least = bounds.least.saturating_sub(1);
        }
    }

    /// One that was used up is there again.
    pub(super) const fn give_back(&mut self) {
        self.now.least += 1;
        self.now.most += 1;
    }

    pub(super) fn is_draining(&self) -> bool {
        !self.drains.is_empty()
    }

    pub(super) fn drain(&mut self, token: Token) {
        self.drains.push_back((token, Bounds::default()));
    }

    /// A drain is replied to: what was allowed before it has come, or is allowed no more.
    pub(super) fn drained(&mut self, drain: Token) {
        let (first, bounds) = self.drains.pop_front().expect("a drain");
        assert_eq!(first, drain, "drains are replied to in order");
        self.now = bounds;
    }

    /// Nothing is in flight.
    pub(super) const fn rest(&mut self) {
        if self.now.is_set_last {
            self.now.most = self.now.least;
        }
    }

    /// Whether one more must come, when one is ready and nothing is in flight.
    pub(super) const fn is_left(&self) -> bool {
        self.now.least > 0
    }
}
