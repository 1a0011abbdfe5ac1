use std::{io, time::Duration};

use contract::{Data, Kind, Reason};
use transports::Slot;

use super::{
    Core, Registration,
    connection::{ConnectionKind, Framing, Relay, Upstream},
};

impl Core {
    /// The upstream of a proxied connection is connected: its socket becomes the other end.
    pub fn relay_connected(&mut self, relay: Slot, stream: mio::net::TcpStream, text: bool) {
        let Some(entry) = self.reactor.get(relay) else { return };
        let context = &entry.state.context;
        let registration = Registration {
            service: context.service,
            protocol: self.tools.counters().name(context.protocol),
            framing: Framing::Stream,
            ping_interval: Duration::ZERO,
            subprotocol: "",
            host: "",
            anonymous: false,
            principal: None,
            users_version: 0,
            peer: context.peer,
            permit: None,
            early: &[],
        };
        let upstream = Upstream { relay, text, partial_character: Vec::new() };
        let Ok(slot) =
            self.register(stream, registration, |_, _| ConnectionKind::Upstream(upstream.into()))
        else {
            self.close(relay, Reason::Busy, "out of descriptors");
            return;
        };
        if let Some(entry) = self.reactor.get_mut(relay)
            && let Some(ConnectionKind::Relay(end)) = entry.state.life.kind_mut()
        {
            end.upstream = Some(slot);
            self.reactor.resume(relay);
        } else {
            self.remove(slot, Reason::Lost);
        }
    }

    /// The upstream of a proxied connection cannot be reached.
    pub fn relay_failed(&mut self, relay: Slot, why: &str) {
        self.close(relay, Reason::Upstream, why);
    }

    /// Sends a fragment of the peer's message to the upstream.
    pub(super) fn relay_to_upstream(&mut self, slot: Slot, data: Data<'_>) {
        let Some(ConnectionKind::Relay(Relay { upstream: Some(upstream) })) =
            self.reactor.get(slot).and_then(|entry| entry.state.life.kind())
        else {
            return;
        };
        let upstream = *upstream;
        if let Some(entry) = self.reactor.get_mut(upstream) {
            self.tools.append(upstream, &mut entry.socket, |out| out.extend_from_slice(data.bytes));
        }
    }

    /// Sends the upstream's bytes to the peer, as one message.
    pub(super) fn relay_from_upstream(&mut self, slot: Slot, bytes: &[u8]) {
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let Some(ConnectionKind::Upstream(upstream)) = entry.state.life.kind_mut() else { return };
        let (relay, text) = (upstream.relay, upstream.text);
        let begun = std::mem::take(&mut upstream.partial_character);
        let joined;
        let mut bytes = bytes;
        if !begun.is_empty() {
            joined = [&begun, bytes].concat();
            bytes = &joined;
        }
        if text {
            match whole_characters(bytes) {
                Some(whole) => {
                    let (characters, partial_character) = bytes.split_at(whole);
                    upstream.partial_character = partial_character.to_vec();
                    bytes = characters;
                }
                None => {
                    self.close(relay, Reason::Upstream, "the upstream's bytes are not text");
                    return self.remove(slot, Reason::NotText);
                }
            }
        }
        if bytes.is_empty() {
            return;
        }
        let kind = if text { Kind::Text } else { Kind::Binary };
        let Some(entry) = self.reactor.get_mut(relay) else { return };
        let (socket, context) = (&mut entry.socket, &mut entry.state.context);
        self.tools.send(relay, socket, context, kind, |out| out.extend_from_slice(bytes));
    }

    /// Whether the upstream's backlog has room.
    pub(super) fn upstream_has_room(&self, relay: &Relay) -> bool {
        let Some(entry) = relay.upstream.and_then(|slot| self.reactor.get(slot)) else {
            return false;
        };
        self.tools.outgoing.pending_bytes(&entry.socket) + entry.socket.backlog_bytes()
            < RELAY_BACKLOG_BYTES
    }

    /// One end has been written to: the other is read again, or paused.
    pub(super) fn relay_flushed(&mut self, slot: Slot) {
        let Some(entry) = self.reactor.get(slot) else { return };
        let other = match entry.state.life.kind() {
            Some(ConnectionKind::Relay(relay)) => relay.upstream,
            Some(ConnectionKind::Upstream(upstream)) => Some(upstream.relay),
            Some(ConnectionKind::Session(_)) | None => None,
        };
        let Some(other) = other else { return };
        let has_room = entry.socket.backlog_bytes() < RELAY_BACKLOG_BYTES;
        let Some(paused) = self.reactor.get(other).map(|entry| entry.socket.is_paused()) else {
            return;
        };
        if has_room && paused {
            self.reactor.resume(other);
        } else if !has_room && !paused {
            self.reactor.pause(other);
        }
    }

    /// The connection to the upstream has broken, which is not its normal close.
    pub(super) fn upstream_failed(&mut self, slot: Slot, error: &io::Error) {
        let Some(entry) = self.reactor.get(slot) else { return };
        let Some(ConnectionKind::Upstream(upstream)) = entry.state.life.kind() else { return };
        let relay = upstream.relay;
        let upstream = &super::service(&self.cores, entry.state.context.service).upstream;
        let connection = super::name(self.tools.id(relay));
        tracing::warn!(%connection, upstream, %error, "the upstream's connection broke");
        let is_reset = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
        let why = if is_reset.contains(&error.kind()) {
            "the upstream reset the connection"
        } else {
            "the connection to the upstream broke"
        };
        self.close(relay, Reason::Upstream, why);
        self.remove(slot, Reason::Upstream);
    }

    /// One end of a relay has gone: the other is closed, after its backlog.
    pub(super) fn close_other_end(&mut self, kind: ConnectionKind, reason: Reason) {
        match kind {
            ConnectionKind::Relay(Relay { upstream: Some(upstream) }) => {
                self.closing(upstream, reason);
            }
            ConnectionKind::Upstream(upstream) => {
                let relay = upstream.relay;
                let (reason, why) = if reason == Reason::Slow {
                    (Reason::Upstream, "the upstream reads too slowly")
                } else if upstream.partial_character.is_empty() {
                    (Reason::Normal, "the upstream closed the connection")
                } else {
                    (Reason::Upstream, "the upstream ended within a character")
                };
                self.close(relay, reason, why);
            }
            ConnectionKind::Relay(Relay { upstream: None }) | ConnectionKind::Session(_) => {}
        }
    }
}

/// How many bytes are whole characters; `None`: not UTF-8.
fn whole_characters(bytes: &[u8]) -> Option<usize> {
    match std::str::from_utf8(bytes) {
        Ok(_) => Some(bytes.len()),
        Err(error) if error.error_len().is_none() => Some(error.valid_up_to()),
        Err(_) => None,
    }
}

/// The backlog of one end of a relay from which on the other is not read.
const RELAY_BACKLOG_BYTES: usize = 64 << 10;
