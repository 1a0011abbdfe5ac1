use std::io;

use contract::{Assembly, Input, Reason};
use transports::{Flushed, Slot};

use super::{
    Core,
    connection::{Closing, Connection, Framing, Role},
    name,
    outlet::Request,
    service,
};
use crate::excerpt::{DETAIL_CHARS_MAX, excerpt};

impl Core {
    /// Closes a connection in its transport's way, after what is unsent. Its session is told.
    pub(super) fn close(&mut self, slot: Slot, reason: Reason, message: &str) {
        self.notify_closed(slot, reason);
        self.send_close(slot, reason, message);
    }

    /// Closes a connection whose session wants that, or which has none.
    pub(super) fn send_close(&mut self, slot: Slot, reason: Reason, message: &str) {
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        if matches!(entry.state.role, Role::Closing(_)) {
            return;
        }
        if !message.is_empty() && entry.state.context.detail.is_none() {
            entry.state.context.detail = Some(excerpt(message, DETAIL_CHARS_MAX).into());
        }
        if let Framing::WebSocket { version, .. } = entry.state.context.framing {
            self.tools.append(slot, &mut entry.socket, |out| {
                websocket::encode_close(out, version, websocket::close_code(reason), message);
            });
        }
        self.closing(slot, reason);
    }

    /// Sends nothing more but what is unsent, and awaits the peer's end.
    pub(super) fn closing(&mut self, slot: Slot, reason: Reason) {
        let closing = Closing { reason, until_mono_ns: None };
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let role = std::mem::replace(&mut entry.state.role, Role::Closing(closing));
        entry.state.context.unread = None;
        if let Some(login) = entry.state.context.login.take() {
            self.cores.cancel_login(login);
        }
        if !entry.socket.has_pending() {
            self.tools.dirty.push(slot);
        }
        if entry.state.context.registered {
            self.tools.pending_requests.push_back(Request::Gone(self.tools.id(slot)));
        }
        self.reactor.resume(slot);
        self.close_other_end(role, reason);
        self.arm(slot);
    }

    /// Takes a connection out at once. Its session is told, if it still has one.
    pub(super) fn remove(&mut self, slot: Slot, reason: Reason) {
        self.notify_closed(slot, reason);
        let Some(entry) = self.reactor.get(slot) else { return };
        self.unsent -= entry.state.context.own_backlog;
        let Some(Connection { role, context }) = self.reactor.remove(slot) else { return };
        if let Some(login) = context.login {
            self.cores.cancel_login(login);
        }
        let reason = if let Role::Closing(closing) = &role { closing.reason } else { reason };
        if !context.is_upstream {
            let row = self.tools.counters().row(usize::from(context.service), context.protocol);
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
        if context.registered && !matches!(role, Role::Closing(_)) {
            self.tools.pending_requests.push_back(Request::Gone(self.tools.id(slot)));
        }
        self.close_other_end(role, reason);
    }

    /// Tells a session that its connection is closed. It may still command the broker, but sends nothing.
    pub(super) fn notify_closed(&mut self, slot: Slot, reason: Reason) {
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let (socket, connection) = (&mut entry.socket, &mut entry.state);
        let Role::Session(session) = &mut connection.role else { return };
        let input = Input::Closed(reason);
        let context = &mut connection.context;
        super::advance(session.as_mut(), input, self.now, slot, socket, context, &mut self.tools);
    }

    /// The peer has closed its side. What it sent before is still answered.
    pub(super) fn half_closed(&mut self, slot: Slot) {
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        if matches!(entry.state.role, Role::Upstream(_)) && entry.socket.is_broken() {
            return self.upstream_failed(slot, &io::ErrorKind::BrokenPipe.into());
        }
        let (socket, context) = (&entry.socket, &mut entry.state.context);
        let is_unsent = socket.has_pending() || socket.unsent_bytes() > 0;
        // A WebSocket does not close one side: the peer of its login has gone.
        let is_gone = context
            .login
            .is_some_and(|login| context.decoder.is_some() || !self.cores.half_closed(login));
        if socket.is_broken() || is_gone || !is_unsent && context.in_flight == 0 {
            return self.remove(slot, Reason::Lost);
        }
        context.half_closed = true;
        if context.in_flight == 0 {
            self.close(slot, Reason::Lost, "");
        }
        self.reactor.pause(slot);
    }

    /// The connection has broken. That of a peer is logged as any that is lost.
    pub(super) fn connection_failed(&mut self, slot: Slot, error: &io::Error) {
        match self.reactor.get(slot).map(|entry| &entry.state.role) {
            Some(Role::Upstream(_)) => self.upstream_failed(slot, error),
            Some(Role::Session(_) | Role::Relay(_) | Role::Closing(_)) | None => {
                if self.reactor.get(slot).is_some_and(|entry| entry.state.context.login.is_some()) {
                    return self.remove(slot, Reason::Lost);
                }
                self.half_closed(slot);
            }
        }
    }

    /// Writes what all sockets have to send, and does what follows from it.
    pub(super) fn flush(&mut self) {
        loop {
            self.flush_sockets();
            let flushed = std::mem::take(&mut self.flushed);
            for slot in flushed {
                self.after_flush(slot);
            }
            self.work();
            if self.tools.dirty.is_empty() && self.flushed.is_empty() {
                return;
            }
        }
    }

    /// Writes what all sockets have to send.
    pub(super) fn flush_sockets(&mut self) {
        let mut dirty = std::mem::take(&mut self.tools.dirty);
        let mut slow = Vec::new();
        if self.tools.outgoing.has_ring() && dirty.len() >= AHEAD_MIN {
            let entries = dirty.iter().filter_map(|slot| self.reactor.get(*slot));
            let sockets = entries.map(|entry| &entry.socket);
            if let Err(error) = self.tools.outgoing.send_ahead(sockets) {
                tracing::error!(%error, "io_uring has failed; each socket is written by itself now");
            }
        }
        for slot in dirty.drain(..) {
            let Some(entry) = self.reactor.get_mut(slot) else { continue };
            let socket = &mut entry.socket;
            let now = self.now.mono_ns;
            match self.tools.outgoing.flush(socket, now) {
                Ok(Flushed { written, unsent }) => {
                    let context = &mut entry.state.context;
                    if written > 0 {
                        let counters = self.tools.counters();
                        counters.writes.add(1);
                        if !context.is_upstream {
                            let row = counters.row(usize::from(context.service), context.protocol);
                            row.bytes_out.add(written as u64);
                            row.messages_out.add(u64::from(context.sent));
                        }
                        context.counts.bytes_out += written as u64;
                        context.counts.messages_out += u64::from(std::mem::take(&mut context.sent));
                    }
                    if unsent != context.backlog || !matches!(entry.state.role, Role::Session(_)) {
                        let own = socket.own_unsent_bytes();
                        self.unsent =
                            self.unsent + own - std::mem::replace(&mut context.own_backlog, own);
                        context.backlog = unsent;
                        self.flushed.push(slot);
                        let service = usize::from(context.service);
                        let limit = self.limits.get(service).map_or(0, |l| l.unsent_bytes_max);
                        if unsent > limit {
                            slow.push(slot);
                        }
                    }
                }
                Err(_) => {
                    // What it sent before is still to be read, and then its end.
                    let context = &mut entry.state.context;
                    context.backlog = 0;
                    self.unsent -= std::mem::take(&mut context.own_backlog);
                    self.reactor.resume(slot);
                }
            }
        }
        self.tools.dirty = dirty;
        self.tools.outgoing.clear();
        for slot in slow {
            self.remove(slot, Reason::Slow);
        }
        if self.is_over_budget() {
            self.close_largest();
        }
        let memory = self.backlog_memory();
        self.backlog_memory_max = self.backlog_memory_max.max(memory);
        if self.backlog_memory_max - memory >= FREED_BYTES {
            self.backlog_memory_max = memory;
            self.cores.set_freed();
        }
    }

    /// The memory that the backlogs of this core take; what several share counts once.
    fn backlog_memory(&self) -> usize {
        self.unsent + self.tools.outgoing.large_frame_bytes()
    }

    /// Whether that is more than it may be.
    fn is_over_budget(&self) -> bool {
        self.backlog_memory() > self.cores.settings.unsent_bytes_max_per_core
    }

    /// A socket's backlog has changed.
    fn after_flush(&mut self, slot: Slot) {
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let backlog = entry.state.context.backlog;
        match &mut entry.state.role {
            Role::Closing(closing) => {
                if backlog == 0 && closing.until_mono_ns.is_none() {
                    closing.until_mono_ns = Some(self.now.mono_ns + CLOSE_TIMEOUT_NS);
                    entry.socket.finish();
                    if entry.state.context.half_closed {
                        return self.remove(slot, Reason::Lost);
                    }
                }
            }
            Role::Session(_) if backlog == 0 => {
                self.step(slot, Input::Notice(contract::Notice::Flushed));
                return;
            }
            Role::Session(_) => {}
            Role::Relay(_) | Role::Upstream(_) => self.relay_flushed(slot),
        }
        self.arm(slot);
    }

    /// The backlogs of this core are over their budget: the largest go first.
    fn close_largest(&mut self) {
        let mut backlogs: Vec<(usize, Slot)> = self
            .reactor
            .iter()
            .map(|(slot, entry)| (entry.state.context.backlog, slot))
            .filter(|(backlog, _)| *backlog > 0)
            .collect();
        backlogs.sort_unstable_by(|a, b| b.cmp(a));
        for (_, slot) in backlogs {
            if !self.is_over_budget() {
                return;
            }
            self.remove(slot, Reason::Slow);
        }
    }

    /// Sets the time at which to look at a connection again, if it is earlier than the one set.
    pub(super) fn arm(&mut self, slot: Slot) {
        let now = self.now.mono_ns;
        let write_timeout = self.limits(slot).write_timeout;
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let Connection { role, context } = &mut entry.state;
        let own = match role {
            Role::Session(session) => session.deadline().unwrap_or(u64::MAX),
            Role::Closing(closing) => closing.until_mono_ns.unwrap_or(u64::MAX),
            Role::Relay(_) | Role::Upstream(_) => u64::MAX,
        };
        let ping = if context.ping_ns == 0 || matches!(role, Role::Closing(_)) {
            u64::MAX
        } else if entry.socket.is_paused() {
            now + context.ping_ns
        } else {
            context
                .heard_mono_ns
                .saturating_add(context.ping_ns * if context.pinged { 2 } else { 1 })
        };
        let write = entry.socket.unsent_since().map_or(u64::MAX, |since| {
            contract::Now { mono_ns: since, unix_ms: 0 }.after(write_timeout)
        });
        let late = match role {
            Role::Session(_) if !entry.socket.is_paused() => context.late_at().unwrap_or(u64::MAX),
            Role::Session(_) | Role::Closing(_) | Role::Relay(_) | Role::Upstream(_) => u64::MAX,
        };
        let next = own.min(ping).min(write).min(late).max(now);
        if next < context.armed_mono_ns {
            context.armed_mono_ns = next;
            self.timers.set(slot, next);
        }
    }

    /// Does what is due.
    pub(super) fn expire(&mut self) {
        while let Some(slots) = self.timers.due(self.now.mono_ns) {
            for slot in slots {
                self.due(slot);
            }
        }
    }

    fn due(&mut self, slot: Slot) {
        let now = self.now.mono_ns;
        let write_timeout = self.limits(slot).write_timeout;
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let context = &mut entry.state.context;
        if context.armed_mono_ns > now {
            // An entry of a deadline that moved; another one stands for what holds now.
            return;
        }
        context.armed_mono_ns = u64::MAX;
        let stalled = entry.socket.unsent_since().is_some_and(|since| {
            contract::Now { mono_ns: since, unix_ms: 0 }.after(write_timeout) <= now
        });
        if stalled {
            // It cannot be told: whatever is sent would wait behind what it does not read.
            return self.remove(slot, Reason::Slow);
        }
        if self.is_late(slot) {
            // What has come by now counts, however late the gateway itself is.
            self.read(slot);
            if self.is_late(slot) {
                return self.late(slot);
            }
        }
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        match &entry.state.role {
            Role::Closing(closing) if closing.until_mono_ns.is_some_and(|at| at <= now) => {
                return self.remove(slot, Reason::Lost);
            }
            Role::Session(session) if session.deadline().is_some_and(|at| at <= now) => {
                self.step(slot, Input::Timeout);
            }
            Role::Closing(_) | Role::Session(_) | Role::Relay(_) | Role::Upstream(_) => {}
        }
        self.ping(slot);
        self.arm(slot);
    }

    /// Whether the rest of what the peer began to send is late, though it is read.
    fn is_late(&self, slot: Slot) -> bool {
        let Some(entry) = self.reactor.get(slot) else { return false };
        let Connection { role, context } = &entry.state;
        matches!(role, Role::Session(_))
            && !entry.socket.is_paused()
            && context.unread.is_none()
            && context.late_at().is_some_and(|at| at <= self.now.mono_ns)
    }

    fn late(&mut self, slot: Slot) {
        let why = Assembly::text(self.limits(slot));
        tracing::info!(connection = %name(self.tools.id(slot)), detail = why, "late");
        self.step(slot, Input::Late(&why));
    }

    /// Pings a WebSocket that is silent, and ends one that did not answer.
    fn ping(&mut self, slot: Slot) {
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let Connection { role, context } = &mut entry.state;
        let Framing::WebSocket { version, .. } = context.framing else { return };
        // Nothing is heard from one that is not read.
        if context.ping_ns == 0 || matches!(role, Role::Closing(_)) || entry.socket.is_paused() {
            return;
        }
        let silence = self.now.mono_ns.saturating_sub(context.heard_mono_ns);
        if context.pinged && silence >= 2 * context.ping_ns {
            self.close(slot, Reason::Idle, "no answer to a ping");
        } else if !context.pinged && silence >= context.ping_ns {
            context.pinged = true;
            self.tools.append(slot, &mut entry.socket, |out| {
                websocket::encode_ping(out, version, b"");
            });
        }
    }

    /// Begins to close all connections with 1001 or their protocol's equivalent.
    pub(crate) fn start_draining(&mut self) {
        self.draining = self.reactor.iter().map(|(slot, _)| slot).collect();
        self.drain_next_mono_ns = 0;
        self.is_draining = true;
    }

    /// Closes some more of them.
    pub(super) fn drain(&mut self) {
        if self.drain_next_mono_ns > self.now.mono_ns {
            return;
        }
        for _ in 0..CLOSES_PER_STEP {
            let Some(slot) = self.draining.pop_front() else {
                self.drain_next_mono_ns = u64::MAX;
                return;
            };
            match self.reactor.get(slot).map(|entry| &entry.state.role) {
                Some(Role::Session(_)) => self.step(slot, Input::Shutdown),
                Some(Role::Relay(_)) => {
                    self.send_close(slot, Reason::Shutdown, "the gateway is stopping");
                }
                Some(Role::Upstream(_) | Role::Closing(_)) | None => {}
            }
        }
        self.drain_next_mono_ns = self.now.mono_ns + CLOSE_STEP_NS;
    }

    /// Whether all connections were closed and have gone.
    pub(super) fn is_finished(&self) -> bool {
        self.is_draining
            && self.draining.is_empty()
            && self.reactor.is_empty()
            && self.tools.handle().connections() == 0
    }
}

/// Time for the peer's end, after the last bytes were sent: 2 s.
const CLOSE_TIMEOUT_NS: u64 = 2_000_000_000;
/// This much has to be freed before it is worth giving back to the kernel.
const FREED_BYTES: usize = 32 << 20;
/// For fewer sockets io_uring gains nothing.
const AHEAD_MIN: usize = 4;
/// Closes are paced: tearing down hundreds of thousands at once can stall the machine.
const CLOSES_PER_STEP: usize = 250;
const CLOSE_STEP_NS: u64 = 10_000_000;
