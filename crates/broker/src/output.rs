use std::collections::VecDeque;

use crate::{
    event::Effect,
    shard_message::{Interest, Payload, ShardMessage, ToFront, ToHome},
    window::Windows,
};

/// Where a shard's parts put what they have to say to other shards and to the driver.
///
/// What a shard sends to itself waits in `own` and is processed before [`crate::Shard::apply`]
/// returns, so that there is one way for everything, with one core and with many.
pub(crate) struct ShardOutput<'a> {
    pub(crate) core: u16,
    pub(crate) own: VecDeque<Payload>,
    pub(crate) effects: &'a mut Vec<Effect>,
    pub(crate) windows: &'a mut Windows,
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

    /// The one place where what is in flight is counted.
    pub(crate) fn send(&mut self, to: u16, content: Payload) {
        if to == self.core {
            self.own.push_back(content);
        } else {
            self.windows.sent(to, content.published_bytes());
            self.effects.push(Effect::ToShard(to, ShardMessage(content)));
        }
    }
}
