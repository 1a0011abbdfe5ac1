use std::{
    pin::Pin,
    task::{Context, Poll},
};

use contract::{Input, Reason};
use tokio::sync::oneshot;
use transports::Slot;

use super::{
    Core, CoreRef,
    connection::{Connection, ConnectionKind},
    output::FREED_BYTES,
};
use crate::{
    cores::ToCore,
    inbound::{INBOUND_FULL, InboundSender},
};

/// A message that a task receives. What it takes until this is dropped counts against the bound
/// of all that peers have sent in part.
#[derive(Debug)]
pub struct InboundMessage {
    core: CoreRef,
    /// Its number, and what ends when it is refused; one that is complete at once has none.
    counted: Option<(u64, oneshot::Receiver<()>)>,
}

impl CoreRef {
    /// A message that a task is about to receive.
    #[must_use]
    pub fn inbound_message(&self) -> InboundMessage {
        InboundMessage { core: self.clone(), counted: None }
    }
}

impl InboundMessage {
    /// Counts the memory that it takes now. Ready once it is refused, as there is not enough.
    pub fn poll_refused(&mut self, bytes: usize, context: &mut Context<'_>) -> Poll<()> {
        let mut core = self.core.core.borrow_mut();
        let (task, refused) = self.counted.get_or_insert_with(|| core.inbound.add_task());
        if core.inbound.has_task(*task) {
            core.count_inbound(InboundSender::Task(*task), bytes);
            if core.make_inbound_room() {
                self.core.work.notify_one();
            }
        }
        Pin::new(refused).poll(context).map(drop)
    }
}

impl Drop for InboundMessage {
    fn drop(&mut self) {
        if let Some((task, _)) = self.counted {
            self.core.with_when_free(move |core| core.end_inbound_task(task));
        }
    }
}

impl Core {
    /// Counts what an unfinished message takes; 0: there is none any more.
    pub(super) fn count_inbound(&mut self, from: InboundSender, bytes: usize) {
        self.inbound.set(&self.cores.inbound, self.index, from, bytes);
        if self.inbound.has_freed(FREED_BYTES) {
            self.cores.set_freed();
        }
    }

    /// Frees the memory of the largest unfinished messages until there is enough for those that
    /// are left; returns whether it did. Where another core has larger ones, that is told to, and
    /// meanwhile a little more is used than there is.
    pub(super) fn make_inbound_room(&mut self) -> bool {
        let mut has_refused = false;
        while !self.inbound.draw(&self.cores.inbound) {
            let Some((bytes, from)) = self.inbound.largest(&self.cores.inbound, self.index) else {
                break;
            };
            if let Some(other) = self.cores.inbound.larger_elsewhere(self.index, bytes)
                && self.inbound.overdraw(&self.cores.inbound)
            {
                self.tell_to_free(other);
                break;
            }
            self.refuse_inbound(from);
            has_refused = true;
        }
        has_refused
    }

    /// Another core needs memory, and knows of no larger message than one of this core.
    pub(super) fn free_inbound(&mut self) {
        self.cores.inbound.heard(self.index);
        self.inbound.give_back_spare(&self.cores.inbound);
        while self.cores.inbound.is_overdrawn() {
            let Some((bytes, from)) = self.inbound.largest(&self.cores.inbound, self.index) else {
                return;
            };
            // What the other knew may have changed.
            if let Some(other) = self.cores.inbound.larger_elsewhere(self.index, bytes) {
                return self.tell_to_free(other);
            }
            self.refuse_inbound(from);
            self.inbound.give_back_spare(&self.cores.inbound);
        }
    }

    fn tell_to_free(&self, core: usize) {
        if self.cores.inbound.tell(core)
            && let Some(core) = self.cores.handles().get(core)
        {
            core.send(ToCore::FreeInbound);
        }
    }

    /// Gives up an unfinished message, for the memory that it takes.
    fn refuse_inbound(&mut self, from: InboundSender) {
        self.counters().inbound_refused.add(1);
        if let Some(missed) = self.inbound.limiter.due(self.now) {
            tracing::warn!(
                missed,
                "the memory for incoming messages is full (memory.inbound-bytes-max): the largest \
                 that is incomplete is refused"
            );
        }
        match from {
            InboundSender::Task(task) => self.end_inbound_task(task),
            InboundSender::Socket(slot) => self.give_up_message(slot),
        }
    }

    fn give_up_message(&mut self, slot: Slot) {
        self.forget_inbound(slot);
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let Connection { life, context } = &mut entry.state;
        if let Some(decoder) = context.codec.decoder_mut() {
            decoder.give_up();
        }
        match life.kind() {
            Some(ConnectionKind::Session(_)) => {
                self.step(slot, Input::GivenUp(Reason::TooLarge, INBOUND_FULL));
            }
            Some(ConnectionKind::Relay(_)) => self.close(slot, Reason::TooLarge, INBOUND_FULL),
            Some(ConnectionKind::Upstream(_)) | None => {}
        }
    }

    fn end_inbound_task(&mut self, task: u64) {
        self.count_inbound(InboundSender::Task(task), 0);
        self.inbound.remove_task(task);
    }

    /// What a connection had received in part has been freed.
    pub(super) fn forget_inbound(&mut self, slot: Slot) {
        if let Some(entry) = self.reactor.get_mut(slot)
            && std::mem::take(&mut entry.state.context.has_inbound)
        {
            self.count_inbound(InboundSender::Socket(slot), 0);
        }
    }
}
