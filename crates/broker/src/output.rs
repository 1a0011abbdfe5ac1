use std::collections::VecDeque;

use contract::Now;

use crate::{
    event::Effect,
    quota::Quotas,
    record::WriteId,
    shard_message::{Interest, Payload, ShardMessage, ToFront, ToHome},
    window::Windows,
    writes::{Delayed, Writes},
};

/// Where a shard's parts put what they have to say to other shards, the store and the driver, with
/// the time at which they do.
///
/// What a shard sends to itself waits in `own` and is processed before [`crate::Shard::apply`]
/// returns, so that there is one way for everything, with one core and with many.
pub(crate) struct ShardOutput<'a> {
    pub(crate) core: u16,
    /// The time of the event.
    pub(crate) now: Now,
    pub(crate) own: VecDeque<Payload>,
    pub(crate) effects: &'a mut Vec<Effect>,
    pub(crate) windows: &'a mut Windows,
    pub(crate) writes: &'a mut Writes,
    pub(crate) quotas: &'a mut Quotas,
}

impl ShardOutput<'_> {
    pub(crate) fn send_home(&mut self, core: u16, message: ToHome) {
        self.send(core, Payload::ToHome(message));
    }

    pub(crate) fn send_front(&mut self, core: u16, message: ToFront) {
        self.send(core, Payload::ToFront(message));
    }

    pub(crate) fn send_interest(&mut self, core: u16, message: Interest) {
        self.send(core, Payload::Interest(message));
    }

    /// Sends when a batch is stored, or refused; at once if there is none, or it is.
    pub(crate) fn send_when_stored(&mut self, write: Option<WriteId>, to: u16, payload: Payload) {
        match write {
            Some(write) if self.writes.is_in_flight(write) => {
                self.writes.delay(Delayed { write, confirms: false, to, payload });
            }
            Some(_) | None => self.send(to, payload),
        }
    }

    /// Sends what confirms the batch of this event when that is stored, and
    /// [`Payload::into_refusal`] of it if it is refused.
    pub(crate) fn send_when_taken(&mut self, write: WriteId, to: u16, payload: Payload) {
        self.writes.delay(Delayed { write, confirms: true, to, payload });
    }

    /// As [`ShardOutput::send_when_taken`], of a batch that is in flight already.
    pub(crate) fn send_when_taken_too(&mut self, write: WriteId, to: u16, payload: Payload) {
        self.writes.delay_behind(Delayed { write, confirms: true, to, payload });
    }

    /// The one place where what is in flight between shards is counted.
    pub(crate) fn send(&mut self, to: u16, payload: Payload) {
        if to == self.core {
            self.own.push_back(payload);
        } else {
            self.windows.sent(to, payload.published_bytes());
            self.effects.push(Effect::ToShard(to, ShardMessage(payload)));
        }
    }
}
