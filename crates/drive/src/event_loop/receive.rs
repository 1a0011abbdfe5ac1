use std::rc::Rc;

use contract::{ConnectionLimits, Data, Input, Kind, Reason, internal};
use transports::{Read, Slot};
use websocket::{Close, Event, Unread};

use super::{
    BYTES_PER_SPENT, Core,
    connection::{Codec, ConnectionKind},
};

impl Core {
    /// Reads a socket once and processes what was read.
    pub(super) fn read_socket(&mut self, slot: Slot) {
        self.review_reader(slot);
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        if let Some(mut unread) = entry.state.context.unread.take() {
            let done = self.process(slot, &mut unread);
            self.update_inbound(slot);
            if !done {
                return;
            }
            if let Some(entry) = self.reactor.get(slot) {
                entry.socket.wake();
            }
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let Some(entry) = self.reactor.get_mut(slot) else {
            self.buffer = buffer;
            return;
        };
        match entry.socket.read(&mut buffer) {
            Ok(Read::Bytes(count)) => {
                let now = self.now.mono_ns;
                let context = &mut entry.state.context;
                context.codec.heard(now);
                context.counts.bytes_in += count as u64;
                if !context.is_upstream {
                    self.tools.row(context).bytes_in.add(count as u64);
                }
                if self.process(slot, buffer.get_mut(..count).unwrap_or_default()) {
                    self.reactor.requeue(slot);
                }
                self.update_inbound(slot);
            }
            Ok(Read::Nothing) => {}
            Ok(Read::End) => self.half_closed(slot),
            Ok(Read::Truncated) => self.truncated(slot),
            Err(error) => self.connection_failed(slot, &error),
        }
        self.buffer = buffer;
        self.flush_if_large();
    }

    /// Processes what was read from a socket; `false`: the rest stays in `Context::unread`.
    fn process(&mut self, slot: Slot, bytes: &mut [u8]) -> bool {
        let Some(entry) = self.reactor.get_mut(slot) else { return true };
        match (entry.state.life.kind(), &entry.state.context.codec) {
            (None, Codec::Stream) => true,
            // In one piece, so that it is one message.
            (Some(ConnectionKind::Upstream(_)), Codec::Stream) => {
                if !bytes.is_empty() {
                    self.relay_received(slot, Data { kind: Kind::Stream, bytes, last: true });
                }
                if !self.other_end_has_room(slot) {
                    self.reactor.pause(slot);
                }
                true
            }
            (Some(kind), Codec::Stream) => {
                let has_session = matches!(kind, ConnectionKind::Session(_));
                self.process_stream(slot, bytes, has_session)
            }
            (_, Codec::WebSocket(_)) => self.process_frames(slot, bytes),
        }
    }

    /// Passes a stream to its session in pieces, between which other connections may have their turn.
    fn process_stream(&mut self, slot: Slot, mut bytes: &[u8], has_session: bool) -> bool {
        let limits = self.shared_limits(slot);
        let allowed = self.spent + SPENT_PER_READ;
        loop {
            if self.must_wait(slot, &limits, allowed, bytes) {
                return false;
            }
            let (piece, rest) = bytes.split_at(bytes.len().min(PIECE_BYTES));
            if piece.is_empty() {
                return true;
            }
            self.spent += piece.len() / BYTES_PER_SPENT;
            bytes = rest;
            let data = Data { kind: Kind::Stream, bytes: piece, last: true };
            self.received(slot, data, has_session);
            self.process_requests();
        }
    }

    /// Whether a connection is to be read no further for now; the rest of its bytes then is
    /// `Context::unread`.
    fn must_wait(
        &mut self,
        slot: Slot,
        limits: &ConnectionLimits,
        allowed: usize,
        rest: &[u8],
    ) -> bool {
        if self.is_busy(slot, limits) {
            self.process_requests();
        }
        let busy = self.is_busy(slot, limits);
        if !busy && self.spent <= allowed {
            return false;
        }
        let Some(entry) = self.reactor.get_mut(slot) else { return true };
        entry.state.context.unread = Some(rest.into());
        if busy {
            self.reactor.pause(slot);
        } else {
            // Behind all others that wait.
            self.reactor.resume(slot);
        }
        true
    }

    fn process_frames(&mut self, slot: Slot, bytes: &mut [u8]) -> bool {
        let limits = self.shared_limits(slot);
        let Some(entry) = self.reactor.get_mut(slot) else { return true };
        let Codec::WebSocket(websocket) = &mut entry.state.context.codec else { return true };
        let mut decoder = websocket.take_decoder();
        let has_session = entry.state.life.session().is_some();
        let mut inflaters = std::mem::take(&mut self.inflaters);
        let mut unread = Unread::new(bytes);
        let allowed = self.spent + SPENT_PER_READ;
        let mut done = true;
        let mut messages = 0;
        loop {
            if self.must_wait(slot, &limits, allowed, unread.rest()) {
                done = false;
                break;
            }
            let before = unread.len();
            let event = decoder.next(&mut unread, &limits, &mut inflaters);
            let payload = match &event {
                Ok(Some(Event::Data(data))) => {
                    messages += u64::from(data.last);
                    data.bytes.len()
                }
                Ok(_) | Err(_) => 0,
            };
            // What was decoded and is no payload are headers, also those of frames without any.
            let headers = (before - unread.len()).saturating_sub(payload);
            self.spent += 1 + payload / BYTES_PER_SPENT + headers / HEADER_BYTES_PER_SPENT;
            match event {
                Ok(None) => break,
                Ok(Some(event)) => {
                    self.process_event(slot, event, has_session);
                    // Requests that arrive together are carried out together.
                    if self.tools.pending_requests.len() >= REQUESTS_TOGETHER {
                        self.process_requests();
                    }
                    self.flush_if_much();
                }
                Err(error) => {
                    self.note_upstream_error(slot, &error);
                    self.close(slot, error.reason(), &error.to_string());
                    break;
                }
            }
        }
        self.inflaters = inflaters;
        if let Some(entry) = self.reactor.get_mut(slot) {
            let context = &mut entry.state.context;
            context.codec.put_decoder(decoder);
            context.counts.messages_in += messages;
            if !context.is_upstream {
                self.tools.row(context).messages_in.add(messages);
            }
        }
        self.process_requests();
        done
    }

    /// Passes on what a peer has sent, to the session or the relay, unless that has ended.
    fn received(&mut self, slot: Slot, data: Data<'_>, has_session: bool) {
        if has_session {
            self.step(slot, Input::Received(data));
        } else {
            self.relay_received(slot, data);
        }
    }

    fn process_event(&mut self, slot: Slot, event: Event<'_>, has_session: bool) {
        if let Event::Data(data) = event {
            return self.received(slot, data, has_session);
        }
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let (socket, connection) = (&mut entry.socket, &mut entry.state);
        let Some(sender) = self.tools.sender(connection.context.codec.framing()) else {
            return internal!("a WebSocket event on a stream");
        };
        match event {
            Event::Data(_) | Event::Pong(_) => {}
            Event::Ping(payload) => {
                if connection.life.kind().is_some() {
                    self.tools.append(slot, socket, |out| {
                        websocket::encode_pong(out, sender, payload);
                    });
                }
            }
            Event::Close(close) => {
                if connection.life.kind().is_none() {
                    self.remove(slot, Reason::Normal);
                } else {
                    let close = close.unwrap_or(Close { code: websocket::NO_CODE, reason: "" });
                    self.notify_closed(slot, Reason::Normal);
                    let Some(entry) = self.reactor.get_mut(slot) else { return };
                    self.tools.append(slot, &mut entry.socket, |out| {
                        websocket::encode_close(out, sender, close.code, close.reason);
                    });
                    self.closing(slot, Reason::Normal, Some(close));
                }
            }
        }
    }

    /// Whether the session has as much in flight as it may, or a relay's other end much unsent.
    fn is_busy(&self, slot: Slot, limits: &ConnectionLimits) -> bool {
        let Some(entry) = self.reactor.get(slot) else { return false };
        match entry.state.life.kind() {
            Some(ConnectionKind::Session(session)) => {
                entry.state.context.in_flight as usize >= limits.commands_max
                    || session.in_flight_bytes() >= IN_FLIGHT_BYTES_MAX
            }
            Some(ConnectionKind::Relay(_) | ConnectionKind::Upstream(_)) => {
                !self.other_end_has_room(slot)
            }
            None => false,
        }
    }

    /// Whether a session that was busy has so little in flight that it may go on.
    pub(super) fn has_room(&self, slot: Slot) -> bool {
        let Some(entry) = self.reactor.get(slot) else { return false };
        let Some(session) = entry.state.life.session() else { return false };
        entry.state.context.in_flight as usize <= self.limits(slot).commands_max / 2
            && session.in_flight_bytes() <= IN_FLIGHT_BYTES_MAX / 2
    }

    pub(super) fn limits(&self, slot: Slot) -> &ConnectionLimits {
        self.limits_of(slot)
    }

    fn shared_limits(&self, slot: Slot) -> Rc<ConnectionLimits> {
        Rc::clone(self.limits_of(slot))
    }

    #[expect(clippy::indexing_slicing, reason = "there are limits for every service")]
    fn limits_of(&self, slot: Slot) -> &Rc<ConnectionLimits> {
        let service = self.reactor.get(slot).map_or(0, |entry| entry.state.context.service);
        &self.limits[usize::from(service)]
    }
}

/// Commands, settlements and credits of one peer after which they are carried out.
const REQUESTS_TOGETHER: usize = 32;
/// Bytes of what one session has in flight; no more is read meanwhile. One message of any size may
/// be.
const IN_FLIGHT_BYTES_MAX: usize = 1 << 20;
/// A stream is passed on in pieces of this size.
const PIECE_BYTES: usize = 4 << 10;
/// Deliveries, or what costs as much, that one connection may cause before others come first.
const SPENT_PER_READ: usize = 2_000;
/// Bytes of the headers of frames that cost as much.
const HEADER_BYTES_PER_SPENT: usize = 32;
