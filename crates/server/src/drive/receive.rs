use std::rc::Rc;

use contract::{Data, Input, Kind, Limits, Reason};
use transports::{Read, Slot};
use websocket::{Event, Unread};

use super::{
    Core,
    connection::{Framing, Role},
};

impl Core {
    /// Reads a socket once and hands on what came.
    pub(super) fn read(&mut self, slot: Slot) {
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        if let Some(mut held) = entry.state.link.held.take()
            && !self.received(slot, &mut held)
        {
            return;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let Some(entry) = self.reactor.get_mut(slot) else {
            self.buffer = buffer;
            return;
        };
        match entry.socket.read(&mut buffer) {
            Ok(Read::Bytes(count)) => {
                let now = self.now.mono_ns;
                let link = &mut entry.state.link;
                link.heard_mono_ns = now;
                link.pinged = false;
                link.counts.bytes_in += count as u64;
                if !matches!(entry.state.role, Role::Upstream(_)) {
                    let row = self.tools.counters().row(usize::from(link.service), link.protocol);
                    row.bytes_in.add(count as u64);
                }
                if self.received(slot, buffer.get_mut(..count).unwrap_or_default()) {
                    self.reactor.requeue(slot);
                }
            }
            Ok(Read::Nothing) => {}
            Ok(Read::End) | Err(_) => self.ended(slot),
        }
        self.buffer = buffer;
    }

    /// Hands on what came from a socket; `false`: it is busy, and the rest is kept for later.
    fn received(&mut self, slot: Slot, bytes: &mut [u8]) -> bool {
        let Some(entry) = self.reactor.get_mut(slot) else { return true };
        match (&entry.state.role, entry.state.link.framing) {
            (Role::Closing(_), Framing::Stream) => {}
            (Role::Upstream(_), _) => self.relay_from_upstream(slot, bytes),
            (_, Framing::Stream) => {
                let data = Data { kind: Kind::Stream, bytes, last: true };
                self.step(slot, Input::Received(data));
                self.work();
                let limits = self.shared_limits(slot);
                if self.is_busy(slot, &limits) {
                    self.reactor.pause(slot);
                    if let Some(entry) = self.reactor.get_mut(slot) {
                        // Marks it as one to go on with.
                        entry.state.link.held = Some(Box::default());
                    }
                    return false;
                }
            }
            (_, Framing::WebSocket { .. }) => return self.received_frames(slot, bytes),
        }
        true
    }

    fn received_frames(&mut self, slot: Slot, bytes: &mut [u8]) -> bool {
        let limits = self.shared_limits(slot);
        let Some(entry) = self.reactor.get_mut(slot) else { return true };
        // Out of its connection for the time being, so that others can be written to meanwhile.
        let Some(mut decoder) = entry.state.link.decoder.take() else { return true };
        let mut inflaters = std::mem::take(&mut self.inflaters);
        let mut unread = Unread::new(bytes);
        let mut idle = true;
        let mut messages = 0;
        loop {
            if self.is_busy(slot, &limits) {
                idle = false;
                self.reactor.pause(slot);
                if let Some(entry) = self.reactor.get_mut(slot) {
                    entry.state.link.held = Some(unread.rest().into());
                }
                break;
            }
            match decoder.next(&mut unread, &limits, &mut inflaters) {
                Ok(None) => break,
                Ok(Some(event)) => {
                    messages += u64::from(matches!(&event, Event::Data(data) if data.last));
                    self.received_event(slot, event);
                }
                Err(error) => {
                    tracing::debug!(connection = %super::name(self.tools.id(slot)), %error, "malformed");
                    self.close(slot, error.reason(), &error.to_string());
                    break;
                }
            }
        }
        self.inflaters = inflaters;
        if let Some(entry) = self.reactor.get_mut(slot) {
            let link = &mut entry.state.link;
            link.decoder = Some(decoder);
            link.counts.messages_in += messages;
            let row = self.tools.counters().row(usize::from(link.service), link.protocol);
            row.messages_in.add(messages);
        }
        idle
    }

    fn received_event(&mut self, slot: Slot, event: Event<'_>) {
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let (socket, connection) = (&mut entry.socket, &mut entry.state);
        let Framing::WebSocket { version, .. } = connection.link.framing else { return };
        match event {
            Event::Data(data) => match connection.role {
                Role::Session(_) => {
                    self.step(slot, Input::Received(data));
                    self.work();
                }
                Role::Relay(_) => self.relay_to_upstream(slot, data),
                Role::Upstream(_) | Role::Closing(_) => {}
            },
            Event::Ping(payload) => {
                if !matches!(connection.role, Role::Closing(_)) {
                    self.tools.append(slot, socket, |out| {
                        websocket::encode_pong(out, version, payload);
                    });
                }
            }
            Event::Pong(_) => {}
            Event::Close(close) => {
                if matches!(connection.role, Role::Closing(_)) {
                    self.remove(slot, Reason::Goodbye);
                } else {
                    let code = close.map_or(websocket::NO_CODE, |close| close.code);
                    self.tools.append(slot, socket, |out| {
                        websocket::encode_close(out, version, code, "");
                    });
                    self.closing(slot, Reason::Goodbye);
                }
            }
        }
    }

    /// Whether the session has as many commands under way as it may, or the back-end's backlog is
    /// full.
    fn is_busy(&self, slot: Slot, limits: &Limits) -> bool {
        let Some(entry) = self.reactor.get(slot) else { return false };
        match &entry.state.role {
            Role::Session(_) => entry.state.link.in_flight as usize >= limits.commands_max,
            Role::Relay(relay) => !self.upstream_has_room(relay),
            Role::Upstream(_) | Role::Closing(_) => false,
        }
    }

    pub(super) fn limits(&self, slot: Slot) -> &Limits {
        self.limits_of(slot)
    }

    fn shared_limits(&self, slot: Slot) -> Rc<Limits> {
        Rc::clone(self.limits_of(slot))
    }

    #[expect(clippy::indexing_slicing, reason = "there are limits for every service")]
    fn limits_of(&self, slot: Slot) -> &Rc<Limits> {
        let service = self.reactor.get(slot).map_or(0, |entry| entry.state.link.service);
        &self.limits[usize::from(service)]
    }
}
