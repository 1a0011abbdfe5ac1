//! Which deliveries from queues were written to their connection's socket: what the broker settles
//! them by, and hands out more by.

use std::collections::VecDeque;

use broker::Subscriber;
use contract::{Delivery, Input};
use transports::{Slot, Socket};

use super::{
    Core,
    connection::Context,
    outlet::{Request, Tools},
    slot_of,
};

/// What a connection was handed and is not written to its socket.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    deliveries: VecDeque<Encoded>,
    /// Bytes of these.
    bytes: usize,
}

/// Where the encoding of a delivery is in all that is sent to its connection.
#[derive(Clone, Copy, Debug)]
struct Encoded {
    end: u64,
    bytes: usize,
}

impl Unwritten {
    fn push(&mut self, start: u64, end: u64) {
        let bytes = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
        self.bytes += bytes;
        self.deliveries.push_back(Encoded { end, bytes });
    }

    /// Everything up to here was written; returns how many more deliveries were with that.
    fn written(&mut self, upto: u64) -> usize {
        let mut count = 0;
        while let Some(delivery) = self.deliveries.pop_front_if(|delivery| delivery.end <= upto) {
            self.bytes -= delivery.bytes;
            count += 1;
        }
        if self.deliveries.is_empty() {
            self.deliveries.shrink_to(DELIVERIES_KEPT);
        }
        count
    }
}

impl Core {
    /// Hands a delivery to its session, and remembers where its encoding ends.
    pub(super) fn deliver(&mut self, subscriber: Subscriber, delivery: &Delivery) {
        let slot = slot_of(subscriber.connection);
        let Some(start) = self.encoded_end(slot) else { return };
        self.step(slot, Input::Delivered(subscriber.subscription, delivery));
        // Of one that has closed, nothing more is written.
        let Some(end) = self.encoded_end(slot) else { return };
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        // One of which nothing was encoded is written with what came before it.
        self.tools.mark_dirty(slot, &entry.socket);
        entry.state.context.has_unwritten = true;
        self.unwritten.get_or_insert_with(slot.index, Unwritten::default).push(start, end);
    }

    /// How much was sent to a session's peer since its connection began, with what still waits.
    fn encoded_end(&self, slot: Slot) -> Option<u64> {
        let entry = self.reactor.get(slot)?;
        entry.state.life.session()?;
        let (socket, context) = (&entry.socket, &entry.state.context);
        let waiting = self.tools.outgoing.pending_bytes(socket) + socket.backlog_bytes();
        let waiting = waiting - socket.encrypted_backlog_bytes();
        Some(context.counts.bytes_out + waiting as u64)
    }

    /// Forgets the deliveries of a connection that has gone.
    pub(super) fn forget_unwritten(&mut self, slot: Slot) {
        self.unwritten.remove(&slot.index);
    }
}

/// Reports to the shard what was written of a connection's deliveries, and returns how many bytes of
/// them are not. `unwritten` is what its core knows of it.
pub(super) fn report_written(
    unwritten: Option<&mut Unwritten>,
    slot: Slot,
    socket: &Socket,
    context: &mut Context,
    tools: &mut Tools,
) -> usize {
    let Some(unwritten) = unwritten else { return 0 };
    // A ciphertext is longer than what it was made of.
    let encrypted = socket.encrypted_backlog_bytes() as u64;
    let count = unwritten.written(context.counts.bytes_out.saturating_sub(encrypted));
    if count > 0 {
        tools.pending_requests.push_back(Request::Written(tools.id(slot), count));
    }
    context.has_unwritten = !unwritten.deliveries.is_empty();
    unwritten.bytes
}

/// Deliveries for which memory stays allocated while a connection lasts.
const DELIVERIES_KEPT: usize = 16;
