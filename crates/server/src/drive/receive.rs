use contract::{Data, Input, Kind, Limits, Reason};
use transports::{Read, Slot};
use websocket::{Event, Unread};

use super::{
    Core,
    connection::{Framing, Role},
    service,
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
                if self.is_busy(slot) {
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
        let Some(entry) = self.reactor.get_mut(slot) else { return true };
        let service = entry.state.link.service;
        // Out of its connection for the time being, so that others can be written to meanwhile.
        let Some(mut decoder) = entry.state.link.decoder.take() else { return true };
        let limits = std::sync::Arc::clone(&super::service(&self.gateway, service).limits);
        let mut inflaters = std::mem::take(&mut self.inflaters);
        let mut unread = Unread::new(bytes);
        let mut idle = true;
        loop {
            if self.is_busy(slot) {
                idle = false;
                self.reactor.pause(slot);
                if let Some(entry) = self.reactor.get_mut(slot) {
                    entry.state.link.held = Some(unread.rest().into());
                }
                break;
            }
            match decoder.next(&mut unread, &limits, &mut inflaters) {
                Ok(None) => break,
                Ok(Some(event)) => self.received_event(slot, event),
                Err(error) => {
                    tracing::debug!(connection = %super::name(self.tools.id(slot)), %error, "malformed");
                    self.close(slot, error.reason(), &error.to_string());
                    break;
                }
            }
        }
        self.inflaters = inflaters;
        if let Some(entry) = self.reactor.get_mut(slot) {
            entry.state.link.decoder = Some(decoder);
        }
        idle
    }

    fn received_event(&mut self, slot: Slot, event: Event<'_>) {
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let (socket, connection) = (&mut entry.socket, &mut entry.state);
        let Framing::WebSocket { version, .. } = connection.link.framing else { return };
        match event {
            Event::Data(data) => {
                if data.last {
                    connection.link.counts.messages_in += 1;
                    let link = &connection.link;
                    let row = self.tools.counters().row(usize::from(link.service), link.protocol);
                    row.messages_in.add(1);
                }
                match connection.role {
                    Role::Session(_) => {
                        self.step(slot, Input::Received(data));
                        self.work();
                    }
                    Role::Relay(_) => self.relay_to_upstream(slot, data),
                    Role::Upstream(_) | Role::Closing(_) => {}
                }
            }
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
    fn is_busy(&self, slot: Slot) -> bool {
        let Some(entry) = self.reactor.get(slot) else { return false };
        match &entry.state.role {
            Role::Session(_) => {
                entry.state.link.in_flight as usize >= self.limits(slot).commands_max
            }
            Role::Relay(relay) => !self.upstream_has_room(relay),
            Role::Upstream(_) | Role::Closing(_) => false,
        }
    }

    /// Commands under way below which a session that was too busy goes on.
    pub(super) fn busy_below(&self, slot: Slot) -> u32 {
        u32::try_from(self.limits(slot).commands_max / 2 + 1).unwrap_or(u32::MAX)
    }

    pub(super) fn limits(&self, slot: Slot) -> &Limits {
        let service_index = self.reactor.get(slot).map_or(0, |entry| entry.state.link.service);
        &service(&self.gateway, service_index).limits
    }
}
