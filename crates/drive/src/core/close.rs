use std::io;

use contract::{Assembly, Input, Reason};
use transports::{Flushed, Slot};

use super::{
    Core,
    connection::{Closing, Connection, Framing, Role},
    name,
    outlet::Ask,
    service,
};
use crate::excerpt::{DETAIL_CHARS_MAX, excerpt};

impl Core {
    /// Ends a connection in its transport's way, after what was said. Its session is told.
    pub(super) fn close(&mut self, slot: Slot, reason: Reason, message: &str) {
        self.last_words(slot, reason);
        self.say_close(slot, reason, message);
    }

    /// Ends a connection whose session wants that, or has none.
    pub(super) fn say_close(&mut self, slot: Slot, reason: Reason, message: &str) {
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        if matches!(entry.state.role, Role::Closing(_)) {
            return;
        }
        if !message.is_empty() && entry.state.link.detail.is_none() {
            entry.state.link.detail = Some(excerpt(message, DETAIL_CHARS_MAX).into());
        }
        if let Framing::WebSocket { version, .. } = entry.state.link.framing {
            self.tools.append(slot, &mut entry.socket, |out| {
                websocket::encode_close(out, version, websocket::close_code(reason), message);
            });
        }
        self.closing(slot, reason);
    }

    /// All was said: only what is unsent goes out.
    pub(super) fn closing(&mut self, slot: Slot, reason: Reason) {
        let closing = Closing { reason, until_mono_ns: None };
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let role = std::mem::replace(&mut entry.state.role, Role::Closing(closing));
        entry.state.link.held = None;
        if let Some(login) = entry.state.link.login.take() {
            self.cores.cancel_login(login);
        }
        if !entry.socket.has_pending() {
            self.tools.dirty.push(slot);
        }
        if entry.state.link.engaged {
            self.tools.asks.push_back(Ask::Gone(self.tools.id(slot)));
        }
        self.reactor.resume(slot);
        self.part_relay(role, reason);
        self.arm(slot);
    }

    /// Takes a connection out at once. Its session is told, if it still has one.
    pub(super) fn remove(&mut self, slot: Slot, reason: Reason) {
        self.last_words(slot, reason);
        let Some(entry) = self.reactor.get(slot) else { return };
        self.unsent -= entry.state.link.own_backlog;
        let Some(Connection { role, link }) = self.reactor.remove(slot) else { return };
        if let Some(login) = link.login {
            self.cores.cancel_login(login);
        }
        let reason = if let Role::Closing(closing) = &role { closing.reason } else { reason };
        if !link.is_upstream {
            let row = self.tools.counters().row(usize::from(link.service), link.protocol);
            row.open.subtract(1);
            if reason == Reason::Slow {
                row.slow.add(1);
            }
            tracing::info!(
                connection = %name(self.tools.id(slot)),
                peer = %link.peer,
                service = %service(&self.cores, link.service).path,
                protocol = self.tools.counters().name(link.protocol),
                principal = link.principal.as_ref().map(|principal| &*principal.name),
                reason = reason.as_str(),
                detail = link.detail.as_deref(),
                messages_in = link.counts.messages_in,
                messages_out = link.counts.messages_out,
                bytes_in = link.counts.bytes_in,
                bytes_out = link.counts.bytes_out,
                "closed"
            );
        }
        if link.engaged && !matches!(role, Role::Closing(_)) {
            self.tools.asks.push_back(Ask::Gone(self.tools.id(slot)));
        }
        self.part_relay(role, reason);
    }

    /// Tells a session that it is over. It may still speak to the broker, but not to the peer.
    pub(super) fn last_words(&mut self, slot: Slot, reason: Reason) {
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let (socket, connection) = (&mut entry.socket, &mut entry.state);
        let Role::Session(session) = &mut connection.role else { return };
        let input = Input::Closed(reason);
        let link = &mut connection.link;
        super::advance(session.as_mut(), input, self.now, slot, socket, link, &mut self.tools);
    }

    /// The peer has closed its side. What it sent before is still answered.
    pub(super) fn ended(&mut self, slot: Slot) {
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        if matches!(entry.state.role, Role::Upstream(_)) && entry.socket.is_broken() {
            return self.upstream_broke(slot, &io::ErrorKind::BrokenPipe.into());
        }
        let (socket, link) = (&entry.socket, &mut entry.state.link);
        let is_unsent = socket.has_pending() || socket.unsent_bytes() > 0;
        // A WebSocket does not close one side: whoever waits for its login has gone.
        let is_gone = link
            .login
            .is_some_and(|login| link.decoder.is_some() || !self.cores.half_closed(login));
        if socket.is_broken() || is_gone || !is_unsent && link.in_flight == 0 {
            return self.remove(slot, Reason::Lost);
        }
        link.ended = true;
        if link.in_flight == 0 {
            self.close(slot, Reason::Lost, "");
        }
        self.reactor.pause(slot);
    }

    /// The connection has broken. Nobody is told of a peer's: it left without a goodbye.
    pub(super) fn broke(&mut self, slot: Slot, error: &io::Error) {
        match self.reactor.get(slot).map(|entry| &entry.state.role) {
            Some(Role::Upstream(_)) => self.upstream_broke(slot, error),
            Some(Role::Session(_) | Role::Relay(_) | Role::Closing(_)) | None => {
                if self.reactor.get(slot).is_some_and(|entry| entry.state.link.login.is_some()) {
                    return self.remove(slot, Reason::Lost);
                }
                self.ended(slot);
            }
        }
    }

    /// Writes all that was said, and does what follows from it.
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
                    let link = &mut entry.state.link;
                    if written > 0 {
                        let counters = self.tools.counters();
                        counters.writes.add(1);
                        if !link.is_upstream {
                            let row = counters.row(usize::from(link.service), link.protocol);
                            row.bytes_out.add(written as u64);
                            row.messages_out.add(u64::from(link.sent));
                        }
                        link.counts.bytes_out += written as u64;
                        link.counts.messages_out += u64::from(std::mem::take(&mut link.sent));
                    }
                    if unsent != link.backlog || !matches!(entry.state.role, Role::Session(_)) {
                        let own = socket.own_unsent_bytes();
                        self.unsent =
                            self.unsent + own - std::mem::replace(&mut link.own_backlog, own);
                        link.backlog = unsent;
                        self.flushed.push(slot);
                        let service = usize::from(link.service);
                        let limit = self.limits.get(service).map_or(0, |l| l.unsent_bytes_max);
                        if unsent > limit {
                            slow.push(slot);
                        }
                    }
                }
                Err(_) => {
                    // What it sent before is still to be read, and then its end.
                    let link = &mut entry.state.link;
                    link.backlog = 0;
                    self.unsent -= std::mem::take(&mut link.own_backlog);
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
        let held = self.held();
        self.held_max = self.held_max.max(held);
        if self.held_max - held >= FREED_BYTES {
            self.held_max = held;
            self.cores.set_freed();
        }
    }

    /// The memory that the backlogs of this core take; what several share counts once.
    fn held(&self) -> usize {
        self.unsent + self.tools.outgoing.large_frame_bytes()
    }

    /// Whether that is more than it may be.
    fn is_over_budget(&self) -> bool {
        self.held() > self.cores.settings.unsent_bytes_max_per_core
    }

    /// A socket's backlog has changed.
    fn after_flush(&mut self, slot: Slot) {
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let backlog = entry.state.link.backlog;
        match &mut entry.state.role {
            Role::Closing(closing) => {
                if backlog == 0 && closing.until_mono_ns.is_none() {
                    closing.until_mono_ns = Some(self.now.mono_ns + CLOSE_TIMEOUT_NS);
                    entry.socket.finish();
                    if entry.state.link.ended {
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
            .map(|(slot, entry)| (entry.state.link.backlog, slot))
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
        let Connection { role, link } = &mut entry.state;
        let own = match role {
            Role::Session(session) => session.deadline().unwrap_or(u64::MAX),
            Role::Closing(closing) => closing.until_mono_ns.unwrap_or(u64::MAX),
            Role::Relay(_) | Role::Upstream(_) => u64::MAX,
        };
        let ping = if link.ping_ns == 0 || matches!(role, Role::Closing(_)) {
            u64::MAX
        } else if entry.socket.is_paused() {
            now + link.ping_ns
        } else {
            link.heard_mono_ns.saturating_add(link.ping_ns * if link.pinged { 2 } else { 1 })
        };
        let write = entry.socket.unsent_since().map_or(u64::MAX, |since| {
            contract::Now { mono_ns: since, unix_ms: 0 }.after(write_timeout)
        });
        let late = match role {
            Role::Session(_) if !entry.socket.is_paused() => link.late_at().unwrap_or(u64::MAX),
            Role::Session(_) | Role::Closing(_) | Role::Relay(_) | Role::Upstream(_) => u64::MAX,
        };
        let next = own.min(ping).min(write).min(late).max(now);
        if next < link.armed_mono_ns {
            link.armed_mono_ns = next;
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
        let link = &mut entry.state.link;
        if link.armed_mono_ns > now {
            // An entry of a deadline that moved; another one stands for what holds now.
            return;
        }
        link.armed_mono_ns = u64::MAX;
        let stalled = entry.socket.unsent_since().is_some_and(|since| {
            contract::Now { mono_ns: since, unix_ms: 0 }.after(write_timeout) <= now
        });
        if stalled {
            // It cannot be told: whatever was said would wait behind what it does not read.
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

    /// Whether what the peer began to send does not come in time, though it is read.
    fn is_late(&self, slot: Slot) -> bool {
        let Some(entry) = self.reactor.get(slot) else { return false };
        let Connection { role, link } = &entry.state;
        matches!(role, Role::Session(_))
            && !entry.socket.is_paused()
            && link.held.is_none()
            && link.late_at().is_some_and(|at| at <= self.now.mono_ns)
    }

    fn late(&mut self, slot: Slot) {
        let why = Assembly::text(self.limits(slot));
        tracing::info!(connection = %name(self.tools.id(slot)), detail = why, "late");
        self.step(slot, Input::Late(&why));
    }

    /// Pings a WebSocket that is silent, and ends one that did not answer.
    fn ping(&mut self, slot: Slot) {
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let Connection { role, link } = &mut entry.state;
        let Framing::WebSocket { version, .. } = link.framing else { return };
        // Nothing is heard from one that is not read.
        if link.ping_ns == 0 || matches!(role, Role::Closing(_)) || entry.socket.is_paused() {
            return;
        }
        let silence = self.now.mono_ns.saturating_sub(link.heard_mono_ns);
        if link.pinged && silence >= 2 * link.ping_ns {
            self.close(slot, Reason::Idle, "no answer to a ping");
        } else if !link.pinged && silence >= link.ping_ns {
            link.pinged = true;
            self.tools.append(slot, &mut entry.socket, |out| {
                websocket::encode_ping(out, version, b"");
            });
        }
    }

    /// Begins to say goodbye to everybody.
    pub(crate) fn start_draining(&mut self) {
        self.draining = self.reactor.iter().map(|(slot, _)| slot).collect();
        self.drain_next_mono_ns = 0;
        self.is_draining = true;
    }

    /// Says goodbye to some more.
    pub(super) fn drain(&mut self) {
        if self.drain_next_mono_ns > self.now.mono_ns {
            return;
        }
        for _ in 0..GOODBYES_PER_STEP {
            let Some(slot) = self.draining.pop_front() else {
                self.drain_next_mono_ns = u64::MAX;
                return;
            };
            match self.reactor.get(slot).map(|entry| &entry.state.role) {
                Some(Role::Session(_)) => self.step(slot, Input::Shutdown),
                Some(Role::Relay(_)) => {
                    self.say_close(slot, Reason::Shutdown, "the gateway is stopping");
                }
                Some(Role::Upstream(_) | Role::Closing(_)) | None => {}
            }
        }
        self.drain_next_mono_ns = self.now.mono_ns + GOODBYE_STEP_NS;
    }

    /// Whether everybody was said goodbye to and has gone.
    pub(super) fn is_finished(&self) -> bool {
        self.is_draining
            && self.draining.is_empty()
            && self.reactor.is_empty()
            && self.tools.handle().connections() == 0
    }
}

/// Time for the last bytes and the peer's end, after all was said: 2 s.
const CLOSE_TIMEOUT_NS: u64 = 2_000_000_000;
/// This much has to be freed before it is worth giving back to the kernel.
const FREED_BYTES: usize = 32 << 20;
/// For fewer sockets io_uring gains nothing.
const AHEAD_MIN: usize = 4;
/// Goodbyes are paced: tearing down hundreds of thousands at once can stall the machine.
const GOODBYES_PER_STEP: usize = 250;
const GOODBYE_STEP_NS: u64 = 10_000_000;
