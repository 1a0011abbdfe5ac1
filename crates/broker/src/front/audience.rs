/// Buffered subscriptions that are offered the same publications.
#[derive(Debug, Default)]
pub(super) struct Audience {
    /// Those for which messages wait alone, by their keys.
    buffered: Vec<usize>,
    /// The tables that the others share, by their keys; each has a subscription.
    tables: Vec<usize>,
}

/// Names an audience: that of a topic, or of one of its sieves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct AudienceId {
    pub(super) topic: usize,
    pub(super) sieve: Option<usize>,
}

impl Audience {
    pub(super) const fn is_empty(&self) -> bool {
        self.buffered.is_empty() && self.tables.is_empty()
    }

    pub(super) fn buffered(&self) -> &[usize] {
        &self.buffered
    }

    pub(super) fn tables(&self) -> &[usize] {
        &self.tables
    }

    /// Adds a subscription; returns its index in the list.
    pub(super) fn join(&mut self, key: usize) -> usize {
        self.buffered.push(key);
        self.buffered.len() - 1
    }

    /// Removes the subscription at this index; returns the one that is there now.
    pub(super) fn leave(&mut self, index: usize) -> Option<usize> {
        if index < self.buffered.len() {
            self.buffered.swap_remove(index);
        }
        self.buffered.get(index).copied()
    }

    pub(super) fn add_table(&mut self, key: usize) {
        self.tables.push(key);
    }

    pub(super) fn remove_table(&mut self, key: usize) {
        self.tables.retain(|&other| other != key);
    }
}
