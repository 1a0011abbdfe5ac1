use super::Core;

/// How far a core is with its end. It goes on with what others send it until all of them are without connections,
/// and some rounds longer: what one was sent may have it send something to another, which may do so again
/// (a delivery that returns, its dead letter).
#[derive(Debug, Default)]
pub(super) struct End {
    /// The rounds that all cores have come to the end of.
    open: usize,
    /// Those that this one has.
    done: usize,
    /// What it has counted of [`crate::Cores::messages_left`].
    messages_left: usize,
}

impl Core {
    /// All cores have come to the end of a round: what they sent in it is processed.
    pub(super) const fn round_ended(&mut self) {
        self.end.open += 1;
    }

    /// Whether nothing comes any more, neither from connections nor from other cores. To be called when
    /// all is done that has come.
    pub(super) fn has_ended(&mut self) -> bool {
        if !self.has_no_connections() {
            return false;
        }
        if self.end.done == self.end.open && self.end.done < ROUNDS {
            self.end.done += 1;
            self.count_messages_left();
            self.cores.core_ended_round();
        }
        self.end.open >= ROUNDS
    }

    /// Counts what ends with this core: what its queues have and the store has not.
    pub(super) fn count_messages_left(&mut self) {
        let is_stored = self.cores.settings.store.is_some();
        let left = self.shard.messages_left(is_stored);
        self.cores.add_messages_left(left, self.end.messages_left);
        self.end.messages_left = left;
    }
}

const ROUNDS: usize = 4;
