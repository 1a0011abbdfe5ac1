use std::collections::BTreeMap;

use crate::reactor::Slot;

/// When to look at which socket again, in steps of [`Timers::STEP_NS`].
///
/// An entry costs eight bytes. An entry is never removed: a caller that is told that its time has come
/// checks whether it really has, and sets a new one when not. So a deadline that only moves away,
/// as with each message, costs nothing.
#[derive(Debug, Default)]
pub struct Timers {
    steps: BTreeMap<u64, Vec<Slot>>,
}

impl Timers {
    /// Times are rounded up to this, in nanoseconds: 16 ms.
    pub const STEP_NS: u64 = 16_000_000;

    /// Sets a time, on the clock of [`contract::Now::mono_ns`].
    pub fn set(&mut self, slot: Slot, mono_ns: u64) {
        self.steps.entry(mono_ns.div_ceil(Self::STEP_NS)).or_default().push(slot);
    }

    /// The next time at which something is due.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        self.steps.keys().next().map(|step| step * Self::STEP_NS)
    }

    /// Takes those whose time has come.
    pub fn due(&mut self, mono_ns: u64) -> Option<Vec<Slot>> {
        let entry = self.steps.first_entry()?;
        (entry.key() * Self::STEP_NS <= mono_ns).then(|| entry.remove())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_in_order_and_never_early() {
        let mut timers = Timers::default();
        let slot = |index| Slot { index, generation: 1 };
        timers.set(slot(1), 2 * Timers::STEP_NS);
        timers.set(slot(2), 1);
        timers.set(slot(3), Timers::STEP_NS);
        assert_eq!(timers.due(Timers::STEP_NS - 1), None);
        assert_eq!(timers.next(), Some(Timers::STEP_NS));
        assert_eq!(timers.due(Timers::STEP_NS), Some(vec![slot(2), slot(3)]));
        assert_eq!(timers.due(Timers::STEP_NS), None);
        assert_eq!(timers.due(u64::MAX), Some(vec![slot(1)]));
        assert_eq!(timers.next(), None);
    }
}
