use contract::Reason;
use transports::{Flushed, Slot};

use super::{
    BYTES_PER_SPENT, Core, SPENT_PER_TURN,
    connection::{Connection, ConnectionKind, Context},
    outlet::Tools,
    unwritten::report_written,
};

impl Core {
    /// Writes what all sockets have to send, and does what follows from it.
    pub(super) fn flush(&mut self) {
        loop {
            self.flush_sockets();
            let flushed = std::mem::take(&mut self.flushed);
            for slot in flushed {
                self.after_flush(slot);
            }
            self.process_requests();
            let is_done = self.tools.dirty.is_empty() && self.flushed.is_empty();
            // A queue that fills a socket as fast as it is written to leaves time for others.
            if is_done || self.spent > SPENT_PER_TURN {
                return;
            }
        }
    }

    /// Writes what all sockets have to send.
    pub(super) fn flush_sockets(&mut self) {
        let mut dirty = std::mem::take(&mut self.tools.dirty);
        self.send_ahead(&dirty);
        let mut slow = Vec::new();
        slow.extend(dirty.drain(..).filter(|slot| self.flush_socket(*slot)));
        self.tools.dirty = dirty;
        self.tools.outgoing.clear();
        for slot in slow {
            self.remove(slot, Reason::Slow);
        }
        if self.is_over_budget() {
            self.close_largest();
        }
        self.note_freed_memory();
    }

    /// Sends what lies in one piece in one system call, where there is io_uring.
    fn send_ahead(&mut self, dirty: &[Slot]) {
        if !self.tools.outgoing.has_ring() || dirty.len() < AHEAD_MIN {
            return;
        }
        let entries = dirty.iter().filter_map(|slot| self.reactor.get(*slot));
        let sockets = entries.map(|entry| &entry.socket);
        if let Err(error) = self.tools.outgoing.send_ahead(sockets) {
            tracing::error!(%error, "io_uring has failed; each socket is written by itself now");
        }
    }

    /// Writes what a socket has to send; `true`: its backlog is larger than it may be.
    fn flush_socket(&mut self, slot: Slot) -> bool {
        let Some(entry) = self.reactor.get_mut(slot) else { return false };
        if let Ok(flushed) = self.tools.outgoing.flush(&mut entry.socket, self.now.mono_ns) {
            self.tools.counters().writes.add(u64::from(flushed.written > 0));
            let Connection { life, context } = &mut entry.state;
            // Most often the kernel takes all.
            if flushed.backlog_bytes == 0
                && context.backlog_bytes == 0
                && !context.has_unwritten
                && life.session().is_some()
            {
                self.spent += count_written(&self.tools, context, flushed.written);
                return false;
            }
            return self.count_flushed(slot, flushed);
        }
        // What it sent before is still to be read, and then its end.
        let context = &mut entry.state.context;
        context.backlog_bytes = 0;
        self.own_backlog_bytes -= std::mem::take(&mut context.own_backlog_bytes);
        self.reactor.resume(slot);
        false
    }

    /// Counts what was written to a connection, or acknowledged by its peer, and what waits for it;
    /// `true`: that is more than it may be.
    pub(super) fn count_flushed(&mut self, slot: Slot, flushed: Flushed) -> bool {
        let Some(entry) = self.reactor.get_mut(slot) else { return false };
        let (socket, context) = (&entry.socket, &mut entry.state.context);
        let Flushed { written, backlog_bytes } = flushed;
        self.spent += count_written(&self.tools, context, written);
        let mut unwritten_bytes = 0;
        if context.has_unwritten {
            let unwritten = self.unwritten.get_mut(&slot.index);
            unwritten_bytes = report_written(unwritten, slot, socket, context, &mut self.tools);
        }
        if backlog_bytes == context.backlog_bytes && entry.state.life.session().is_some() {
            return false;
        }
        let own = socket.own_backlog_bytes();
        self.own_backlog_bytes =
            self.own_backlog_bytes + own - std::mem::replace(&mut context.own_backlog_bytes, own);
        context.backlog_bytes = backlog_bytes;
        socket.wake();
        self.flushed.push(slot);
        let limits = self.limits.get(usize::from(context.service));
        // Of queues a connection is handed no more than it takes, but one message may be large.
        backlog_bytes.saturating_sub(unwritten_bytes)
            > limits.map_or(0, |limits| limits.unsent_bytes_max)
    }

    /// Reports that backlogs have gone, once enough have that giving memory back is worth it.
    fn note_freed_memory(&mut self) {
        let memory = self.backlog_memory();
        self.backlog_memory_max = self.backlog_memory_max.max(memory);
        if self.backlog_memory_max - memory >= FREED_BYTES {
            self.backlog_memory_max = memory;
            self.cores.set_freed();
        }
    }

    /// The memory that the backlogs of this core take; what several share counts once.
    fn backlog_memory(&self) -> usize {
        self.own_backlog_bytes + self.tools.outgoing.shared_backlog_bytes()
    }

    /// Whether that is more than it may be.
    fn is_over_budget(&self) -> bool {
        self.backlog_memory() > self.cores.settings.unsent_bytes_max_per_core
    }

    /// A socket's backlog has changed.
    fn after_flush(&mut self, slot: Slot) {
        let Some(entry) = self.reactor.get(slot) else { return };
        let is_written = entry.state.context.backlog_bytes == 0 && !entry.socket.has_pending();
        match entry.state.life.kind() {
            Some(ConnectionKind::Session(_)) => {}
            Some(ConnectionKind::Relay(_) | ConnectionKind::Upstream(_)) => {
                self.relay_flushed(slot);
            }
            None if is_written => self.drained(slot),
            None => {}
        }
        self.schedule_check(slot);
    }

    /// The backlogs of this core are over their budget: those for which most memory is kept go first.
    /// Of what several share, each has a part.
    fn close_largest(&mut self) {
        let mut backlogs: Vec<(usize, Slot)> = self
            .reactor
            .iter()
            .map(|(slot, entry)| (entry.socket.backlog_memory(), slot))
            .filter(|(memory, _)| *memory > 0)
            .collect();
        backlogs.sort_unstable_by(|a, b| b.cmp(a));
        for (_, slot) in backlogs {
            if !self.is_over_budget() {
                return;
            }
            self.remove(slot, Reason::Slow);
        }
    }

    /// Large replies leave while they are in the processor's cache; small ones wait for the end of
    /// the turn, when each socket is written to once.
    pub(super) fn flush_if_large(&mut self) {
        let bytes = self.tools.outgoing.bytes();
        if bytes > CACHED_BYTES && bytes > LARGE_BYTES * self.tools.dirty.len() {
            self.flush_sockets();
        }
    }

    /// What is to be sent is not left to grow without end within a turn.
    pub(super) fn flush_if_much(&mut self) {
        let (encoded, pending) =
            (self.tools.outgoing.encoded_bytes(), self.tools.outgoing.total_pending_bytes());
        if encoded > FLUSH_BYTES || pending > FLUSH_PENDING_BYTES {
            self.flush_sockets();
        }
    }
}

/// Counts bytes that the kernel accepted, and the messages sent with them; returns what it has cost,
/// in deliveries.
#[inline]
fn count_written(tools: &Tools, context: &mut Context, bytes: usize) -> usize {
    if bytes == 0 {
        return 0;
    }
    let written = bytes as u64;
    let messages = u64::from(std::mem::take(&mut context.sent));
    if !context.is_upstream {
        let row = tools.row(context);
        row.bytes_out.add(written);
        row.messages_out.add(messages);
    }
    context.counts.bytes_out += written;
    context.counts.messages_out += messages;
    bytes / BYTES_PER_SPENT
}

/// Encoded bytes that are not left to grow further within a turn.
const FLUSH_BYTES: usize = 4 << 20;
/// As much for all sockets together, which most often share it: far less than the 4 GiB that a list
/// of segments may have.
const FLUSH_PENDING_BYTES: usize = 256 << 20;
/// Encoded bytes that stay in a processor's cache.
const CACHED_BYTES: usize = 64 << 10;
/// Bytes for a socket that are worth a write of their own.
const LARGE_BYTES: usize = 1 << 10;
/// This much has to be freed before it is worth giving back to the kernel.
pub(super) const FREED_BYTES: usize = 32 << 20;
/// For fewer sockets io_uring gains nothing.
const AHEAD_MIN: usize = 4;
