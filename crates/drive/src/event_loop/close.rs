use std::io;

use broker::Leave;
use contract::{Input, Reason};
use transports::Slot;
use websocket::Close;

use super::{
    Core,
    carry::AWAY_TIMEOUT_NS,
    connection::{Codec, Connection, ConnectionKind, Life},
    deadlines::CLOSE_TIMEOUT_NS,
    name,
    outlet::Request,
    service,
};
use crate::excerpt::{DETAIL_CHARS_MAX, excerpt};

impl Core {
    /// Closes a connection in its transport's way, after its backlog. Its session is told.
    pub(super) fn close(&mut self, slot: Slot, reason: Reason, message: &str) {
        self.notify_closed(slot, reason);
        self.send_close(slot, reason, message);
    }

    /// Closes a connection whose session wants that, or which has none.
    pub(super) fn send_close(&mut self, slot: Slot, reason: Reason, message: &str) {
        let code = websocket::close_code(reason);
        self.send_close_with(slot, reason, Close { code, reason: message });
    }

    /// As [`Core::send_close`], with what a WebSocket is told: the code may be another protocol's.
    pub(super) fn send_close_with(&mut self, slot: Slot, reason: Reason, close: Close<'_>) {
        let message = close.reason;
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        if entry.state.life.kind().is_none() {
            return;
        }
        if !message.is_empty() && entry.state.context.detail.is_none() {
            entry.state.context.detail = Some(excerpt(message, DETAIL_CHARS_MAX).into());
        }
        if let Some(sender) = self.tools.sender(entry.state.context.codec.framing()) {
            self.tools.append(slot, &mut entry.socket, |out| {
                websocket::encode_close(out, sender, close.code, message);
            });
        }
        self.closing(slot, reason, None);
    }

    /// Sends nothing more but the backlog, and awaits the peer's end. `received`: what the peer closed
    /// its WebSocket with.
    pub(super) fn closing(&mut self, slot: Slot, reason: Reason, received: Option<Close<'_>>) {
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let Some(kind) = entry.state.life.drain(reason) else { return };
        entry.state.context.unread = None;
        self.forget_inbound(slot);
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        if let Some(login) = entry.state.context.login.take() {
            self.cores.cancel_login(login);
        }
        self.tools.mark_dirty(slot, &entry.socket);
        if entry.state.context.is_registered {
            let closing = Request::Closing(self.tools.id(slot), leave(reason));
            self.tools.pending_requests.push_back(closing);
        }
        self.reactor.resume(slot);
        self.close_other_end(kind, slot, reason, received);
        self.schedule_check(slot);
    }

    /// Takes a connection out at once. Its session is told, if it still has one.
    pub(super) fn remove(&mut self, slot: Slot, reason: Reason) {
        self.notify_closed(slot, reason);
        self.forget_inbound(slot);
        let Some(entry) = self.reactor.get(slot) else { return };
        self.own_backlog_bytes -= entry.state.context.own_backlog_bytes;
        let Some(Connection { life, context }) = self.reactor.remove(slot) else { return };
        if let Some(login) = context.login {
            self.cores.cancel_login(login);
        }
        if let Some(principal) = &context.principal {
            self.principals.remove(principal, slot);
        }
        let closed = life.closed();
        let reason = closed.unwrap_or(reason);
        if !context.is_upstream {
            let row = self.tools.row(&context);
            row.open.subtract(1);
            if reason == Reason::Slow {
                row.slow.add(1);
            }
            tracing::info!(
                connection = %name(self.tools.id(slot)),
                peer = %context.peer,
                service = %service(&self.cores, context.service).path,
                protocol = self.tools.counters().name(context.protocol),
                principal = context.principal.as_ref().map(|principal| &*principal.name),
                reason = reason.as_str(),
                detail = context.detail.as_deref(),
                messages_in = context.counts.messages_in,
                messages_out = context.counts.messages_out,
                bytes_in = context.counts.bytes_in,
                bytes_out = context.counts.bytes_out,
                "closed"
            );
        }
        self.forget_unwritten(slot);
        // The shard was told of one that lingers.
        if context.is_registered && !matches!(life, Life::Lingering { .. }) {
            let id = self.tools.id(slot);
            // One that goes without a word is lost.
            if closed.is_none() && leave(reason) == Leave::Orderly {
                self.tools.pending_requests.push_back(Request::Closing(id, Leave::Orderly));
            }
            self.tools.pending_requests.push_back(Request::Gone(id));
        }
        if let Life::Open(kind) | Life::HalfClosed(kind) | Life::Away(kind) = life {
            self.close_other_end(kind, slot, reason, None);
        }
    }

    /// All that a connection which drains had to send is written.
    pub(super) fn drained(&mut self, slot: Slot) {
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let Life::Draining { is_half_closed, .. } = entry.state.life else { return };
        entry.socket.finish();
        // The task that carries a connection is to learn why it has ended.
        if is_half_closed && !entry.socket.is_carried() {
            return self.remove(slot, Reason::Lost);
        }
        let timeout = if entry.socket.is_tcp() { CLOSE_TIMEOUT_NS } else { AWAY_TIMEOUT_NS };
        entry.state.life.linger(self.now.mono_ns + timeout);
        if entry.state.context.is_registered {
            self.tools.pending_requests.push_back(Request::Gone(self.tools.id(slot)));
        }
    }

    /// Tells a session that its connection is closed. It may still command the broker, but sends nothing.
    pub(super) fn notify_closed(&mut self, slot: Slot, reason: Reason) {
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let (socket, connection) = (&mut entry.socket, &mut entry.state);
        let Some(session) = connection.life.session_mut() else { return };
        let input = Input::Closed(reason);
        let context = &mut connection.context;
        super::advance(session, [input], self.now, slot, socket, context, &mut self.tools);
    }

    /// The peer has closed its side. What it sent before still gets its replies.
    pub(super) fn half_closed(&mut self, slot: Slot) {
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let Connection { life, context } = &mut entry.state;
        let socket = &entry.socket;
        if matches!(life.kind(), Some(ConnectionKind::Upstream(_))) && socket.is_broken() {
            return self.upstream_failed(slot, &io::ErrorKind::BrokenPipe.into());
        }
        let has_unsent = socket.has_pending() || socket.backlog_bytes() > 0;
        // A WebSocket does not close one side: the peer of its login has gone.
        let is_stream = matches!(context.codec, Codec::Stream);
        let is_gone =
            context.login.is_some_and(|login| !is_stream || !self.cores.half_closed(login));
        let is_done = !has_unsent && (context.in_flight == 0 || life.kind().is_none());
        // The task that carries a connection is to learn why it has ended.
        let is_done = is_done && !socket.is_carried();
        if socket.is_broken() || is_gone || is_done {
            return self.remove(slot, Reason::Lost);
        }
        life.half_close();
        if context.in_flight == 0 {
            self.close(slot, Reason::Lost, "");
        }
        self.reactor.pause(slot);
    }

    /// The connection has broken. That of a peer is logged as any that is lost.
    pub(super) fn connection_failed(&mut self, slot: Slot, error: &io::Error) {
        let Some(Connection { life, context }) = self.reactor.get(slot).map(|entry| &entry.state)
        else {
            return;
        };
        match life.kind() {
            Some(ConnectionKind::Upstream(_)) => self.upstream_failed(slot, error),
            Some(ConnectionKind::Session(_) | ConnectionKind::Relay(_)) | None => {
                if context.login.is_some() {
                    return self.remove(slot, Reason::Lost);
                }
                self.half_closed(slot);
            }
        }
    }

    /// Begins to close all connections with 1001 or their protocol's equivalent.
    pub(crate) fn start_shutdown(&mut self) {
        self.to_shut_down = self.reactor.iter().map(|(slot, _)| slot).collect();
        self.shutdown_next_mono_ns = 0;
        self.is_shutting_down = true;
    }

    /// Closes some more of them.
    pub(super) fn shut_down_some(&mut self) {
        if self.shutdown_next_mono_ns > self.now.mono_ns {
            return;
        }
        for _ in 0..CLOSES_PER_STEP {
            let Some(slot) = self.to_shut_down.pop_front() else {
                self.shutdown_next_mono_ns = u64::MAX;
                return;
            };
            let entry = self.reactor.get(slot);
            let is_away = entry.is_some_and(|entry| entry.socket.away_since().is_some());
            match entry.and_then(|entry| entry.state.life.kind()) {
                Some(ConnectionKind::Session(_)) => self.step(slot, Input::Shutdown),
                Some(ConnectionKind::Relay(_)) => self.shut_down_relay(slot),
                Some(ConnectionKind::Upstream(_)) | None => {}
            }
            if is_away {
                // It cannot be told.
                self.remove(slot, Reason::Shutdown);
            }
        }
        self.shutdown_next_mono_ns = self.now.mono_ns + CLOSE_STEP_NS;
    }

    /// Whether all connections were closed and have gone.
    pub(super) fn has_no_connections(&self) -> bool {
        self.is_shutting_down
            && self.to_shut_down.is_empty()
            && self.reactor.is_empty()
            && self.tools.handle().connections() == 0
    }
}

/// What a connection that ends for this reason means for deliveries that it has not settled: what
/// the gateway ends for a reason of its own is no failure of the consumer.
const fn leave(reason: Reason) -> Leave {
    match reason {
        Reason::Normal
        | Reason::Shutdown
        | Reason::Slow
        | Reason::Unauthenticated
        | Reason::Forbidden
        | Reason::Busy
        | Reason::Upstream
        | Reason::Internal => Leave::Orderly,
        Reason::Lost | Reason::Malformed | Reason::NotText | Reason::TooLarge | Reason::Idle => {
            Leave::Lost
        }
    }
}

/// Closes are paced: tearing down hundreds of thousands at once can stall the machine.
const CLOSES_PER_STEP: usize = 250;
const CLOSE_STEP_NS: u64 = 10_000_000;
