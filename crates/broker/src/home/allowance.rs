use std::collections::VecDeque;

use contract::{Credit, Token};

use crate::shard_message::WINDOW_BYTES;

/// How many deliveries a subscription may get now: as many as it has credit for, and while less than
/// a window of bytes waits for its connection.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    credit: u32,
    /// Deliveries sent to its front.
    sent: u64,
    /// Bytes of those that are not written to its connection, as far as its front has said.
    unwritten_bytes: usize,
    /// Drains that wait for the window, and the changes of credit that came after the first.
    pending: VecDeque<Pending>,
}

#[derive(Debug)]
enum Pending {
    Drain(Token),
    Change(Credit, u64),
}

impl Allowance {
    /// The session changes the credit, when this number of deliveries had been handed to it.
    pub(super) fn change(&mut self, credit: Credit, delivered: u64) {
        if self.pending.is_empty() {
            self.apply(credit, delivered);
        } else if let (Credit::Add(more), Some(Pending::Change(Credit::Add(count), _))) =
            (credit, self.pending.back_mut())
        {
            *count = count.saturating_add(more);
        } else {
            if let Credit::Set(_) = credit {
                // What was changed before since the last drain means nothing any more.
                while self.pending.pop_back_if(|last| matches!(last, Pending::Change(..))).is_some()
                {
                }
            }
            self.pending.push_back(Pending::Change(credit, delivered));
        }
    }

    fn apply(&mut self, credit: Credit, delivered: u64) {
        self.credit = match credit {
            Credit::Add(count) => self.credit.saturating_add(count),
            Credit::Set(count) => {
                let in_flight = self.sent.saturating_sub(delivered);
                count.saturating_sub(u32::try_from(in_flight).unwrap_or(u32::MAX))
            }
        };
    }

    /// The session takes its credit back, once it has got what it has credit for.
    pub(super) fn drain(&mut self, token: Token) {
        self.pending.push_back(Pending::Drain(token));
    }

    /// The next drain that is done, after all was delivered that may be. `is_more`: there is a message
    /// that only the window keeps back.
    pub(super) fn next_drained(&mut self, is_more: bool) -> Option<Token> {
        let &Pending::Drain(token) = self.pending.front()? else { return None };
        if is_more && self.credit > 0 && self.is_window_full() {
            return None;
        }
        self.pending.pop_front();
        self.credit = 0;
        while let Some(&Pending::Change(credit, delivered)) = self.pending.front() {
            self.pending.pop_front();
            self.apply(credit, delivered);
        }
        Some(token)
    }

    /// No delivery follows. Returns the drains that wait.
    pub(super) fn end(&mut self) -> impl Iterator<Item = Token> + use<> {
        self.credit = 0;
        std::mem::take(&mut self.pending).into_iter().filter_map(|pending| match pending {
            Pending::Drain(token) => Some(token),
            Pending::Change(..) => None,
        })
    }

    pub(super) const fn allows_one(&self) -> bool {
        self.credit > 0 && !self.is_window_full()
    }

    /// One message may always be unwritten, however large.
    const fn is_window_full(&self) -> bool {
        self.unwritten_bytes >= WINDOW_BYTES
    }

    /// A delivery of this cost is sent.
    pub(super) const fn take_one(&mut self, bytes: usize) {
        self.credit = self.credit.saturating_sub(1);
        self.sent += 1;
        self.unwritten_bytes += bytes;
    }

    /// Deliveries of this cost were written to the connection.
    pub(super) const fn written(&mut self, bytes: usize) {
        self.unwritten_bytes = self.unwritten_bytes.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_counts_from_what_was_handed_over() {
        let mut allowance = Allowance::default();
        allowance.change(Credit::Add(5), 0);
        (0..3).for_each(|_| allowance.take_one(1));
        assert_eq!(allowance.credit, 2);
        for (set, delivered, left) in [(4, 3, 4), (4, 1, 2), (2, 1, 0), (1, 1, 0), (0, 3, 0)] {
            allowance.change(Credit::Set(set), delivered);
            assert_eq!(allowance.credit, left, "set to {set} after {delivered}");
        }
        allowance.change(Credit::Add(u32::MAX), 3);
        allowance.change(Credit::Add(1), 3);
        assert_eq!(allowance.credit, u32::MAX);
    }

    #[test]
    fn a_drain_waits_for_the_window_and_credit_after_it_stays() {
        let mut allowance = Allowance::default();
        allowance.change(Credit::Add(3), 0);
        allowance.take_one(WINDOW_BYTES - 1);
        assert!(allowance.allows_one(), "the window is not full");
        allowance.take_one(10 * WINDOW_BYTES);
        assert!(!allowance.allows_one());
        allowance.drain(Token(7));
        allowance.change(Credit::Add(2), 2);
        allowance.change(Credit::Add(2), 2);
        assert_eq!(allowance.next_drained(true), None);
        allowance.written(WINDOW_BYTES - 1);
        assert!(!allowance.allows_one());
        allowance.written(10 * WINDOW_BYTES);
        assert!(allowance.allows_one());
        allowance.take_one(1);
        assert_eq!(allowance.next_drained(true), Some(Token(7)));
        assert_eq!(allowance.credit, 4);
        allowance.take_one(2 * WINDOW_BYTES);
        allowance.drain(Token(8));
        allowance.drain(Token(9));
        assert_eq!(allowance.next_drained(false), Some(Token(8)), "nothing is ready");
        assert_eq!(allowance.next_drained(true), Some(Token(9)), "there is no credit");
        assert_eq!(allowance.next_drained(true), None);
    }
}
