use contract::Credit;

/// How many deliveries a subscription may get.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    credit: u32,
    /// Deliveries sent to its front.
    sent: u64,
}

impl Allowance {
    /// The session changes it, when this number of deliveries had been handed to it.
    pub(super) fn change(&mut self, credit: Credit, delivered: u64) {
        self.credit = match credit {
            Credit::Add(count) => self.credit.saturating_add(count),
            Credit::Set(count) => {
                let in_flight = self.sent.saturating_sub(delivered);
                count.saturating_sub(u32::try_from(in_flight).unwrap_or(u32::MAX))
            }
        };
    }

    pub(super) const fn is_used_up(&self) -> bool {
        self.credit == 0
    }

    /// A delivery is sent.
    pub(super) const fn take_one(&mut self) {
        self.credit = self.credit.saturating_sub(1);
        self.sent += 1;
    }

    pub(super) const fn discard(&mut self) {
        self.credit = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_counts_from_what_was_handed_over() {
        let mut allowance = Allowance::default();
        allowance.change(Credit::Add(5), 0);
        (0..3).for_each(|_| allowance.take_one());
        assert_eq!(allowance.credit, 2);
        for (set, delivered, left) in [(4, 3, 4), (4, 1, 2), (2, 1, 0), (1, 1, 0), (0, 3, 0)] {
            allowance.change(Credit::Set(set), delivered);
            assert_eq!(allowance.credit, left, "set to {set} after {delivered}");
        }
        allowance.change(Credit::Add(u32::MAX), 3);
        allowance.change(Credit::Add(1), 3);
        assert_eq!(allowance.credit, u32::MAX);
    }
}
