use contract::{Assembly, Incoming, Input, Now, Partial, Reason, internal};
use transports::Slot;
use websocket::Decoder;

use super::{
    Core,
    connection::{Connection, ConnectionKind, Framing},
    name,
};
use crate::inbound::InboundSender;

impl Core {
    /// Schedules the next check of a connection's deadlines for the earliest of them, if that is
    /// earlier than the check already scheduled.
    pub(super) fn schedule_check(&mut self, slot: Slot) {
        let now = self.now.mono_ns;
        let write_timeout = self.limits(slot).write_timeout;
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let Connection { kind, context } = &mut entry.state;
        let own = match kind {
            ConnectionKind::Session(session) => session.deadline().unwrap_or(u64::MAX),
            ConnectionKind::Closing(closing) => closing.until_mono_ns.unwrap_or(u64::MAX),
            ConnectionKind::Relay(_) | ConnectionKind::Upstream(_) => u64::MAX,
        };
        let ping = if context.ping_ns() == 0 || matches!(kind, ConnectionKind::Closing(_)) {
            u64::MAX
        } else if entry.socket.is_paused() {
            now + context.ping_ns()
        } else {
            context
                .heard_mono_ns
                .saturating_add(context.ping_ns() * if context.pinged { 2 } else { 1 })
        };
        let write = entry
            .socket
            .backlog_since()
            .map_or(u64::MAX, |since| Now { mono_ns: since, unix_ms: 0 }.after(write_timeout));
        let late = match kind {
            ConnectionKind::Session(_) if !entry.socket.is_paused() => {
                context.late_at().unwrap_or(u64::MAX)
            }
            ConnectionKind::Session(_)
            | ConnectionKind::Closing(_)
            | ConnectionKind::Relay(_)
            | ConnectionKind::Upstream(_) => u64::MAX,
        };
        let next = own.min(ping).min(write).min(late).max(now);
        if next < context.check_mono_ns {
            context.check_mono_ns = next;
            self.timers.set(slot, next);
        }
    }

    /// Checks the deadlines of the connections for which that is due.
    pub(super) fn check_deadlines(&mut self) {
        while let Some(slots) = self.timers.due(self.now.mono_ns) {
            for slot in slots {
                self.check_deadlines_of(slot);
            }
        }
    }

    fn check_deadlines_of(&mut self, slot: Slot) {
        let now = self.now.mono_ns;
        let write_timeout = self.limits(slot).write_timeout;
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let context = &mut entry.state.context;
        if context.check_mono_ns > now {
            // The deadline has moved since; another check is scheduled for it.
            return;
        }
        context.check_mono_ns = u64::MAX;
        let stalled = entry
            .socket
            .backlog_since()
            .is_some_and(|since| Now { mono_ns: since, unix_ms: 0 }.after(write_timeout) <= now);
        if stalled {
            // It cannot be told: whatever is sent would wait behind what it does not read.
            return self.remove(slot, Reason::Slow);
        }
        if self.is_late(slot) {
            // What has come by now counts, however late the gateway itself is.
            self.read_socket(slot);
            if self.is_late(slot) {
                return self.notify_late(slot);
            }
        }
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        match &entry.state.kind {
            ConnectionKind::Closing(closing)
                if closing.until_mono_ns.is_some_and(|at| at <= now) =>
            {
                return self.remove(slot, Reason::Lost);
            }
            ConnectionKind::Session(session) if session.deadline().is_some_and(|at| at <= now) => {
                self.step(slot, Input::Timeout);
            }
            ConnectionKind::Closing(_)
            | ConnectionKind::Session(_)
            | ConnectionKind::Relay(_)
            | ConnectionKind::Upstream(_) => {}
        }
        self.ping(slot);
        self.schedule_check(slot);
    }

    /// Whether the rest of what the peer began to send is late, though it is read.
    fn is_late(&self, slot: Slot) -> bool {
        let Some(entry) = self.reactor.get(slot) else { return false };
        let Connection { kind, context } = &entry.state;
        matches!(kind, ConnectionKind::Session(_))
            && !entry.socket.is_paused()
            && context.unread.is_none()
            && context.late_at().is_some_and(|at| at <= self.now.mono_ns)
    }

    fn notify_late(&mut self, slot: Slot) {
        let why = Assembly::text(self.limits(slot));
        tracing::info!(connection = %name(self.tools.id(slot)), detail = why, "late");
        self.step(slot, Input::GivenUp(Reason::Idle, &why));
    }

    /// Pings a WebSocket that is silent, and ends one that has sent nothing since.
    fn ping(&mut self, slot: Slot) {
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let Connection { kind, context } = &mut entry.state;
        let Framing::WebSocket { version, .. } = context.framing else { return };
        // Nothing is heard from one that is not read.
        if context.ping_ns() == 0
            || matches!(kind, ConnectionKind::Closing(_))
            || entry.socket.is_paused()
        {
            return;
        }
        let silence = self.now.mono_ns.saturating_sub(context.heard_mono_ns);
        if context.pinged && silence >= 2 * context.ping_ns() {
            self.close(slot, Reason::Idle, "no reply to a ping");
        } else if !context.pinged && silence >= context.ping_ns() {
            context.pinged = true;
            self.tools.append(slot, &mut entry.socket, |out| {
                websocket::encode_ping(out, version, b"");
            });
        }
    }

    /// Updates the deadlines for the rest of what the peer has sent in part, and counts the memory
    /// that this takes.
    pub(super) fn update_inbound(&mut self, slot: Slot) {
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let Connection { kind, context } = &mut entry.state;
        let incoming = match kind {
            ConnectionKind::Session(session) => session.incoming(),
            ConnectionKind::Relay(_) | ConnectionKind::Upstream(_) | ConnectionKind::Closing(_) => {
                Incoming::default()
            }
        };
        let message = context.decoder.as_ref().and_then(Decoder::partial);
        let decoder = message.and(context.decoder.as_ref()).map_or(0, Decoder::partial_memory);
        let bytes = incoming.bytes + decoder;
        let has_inbound = std::mem::replace(&mut context.has_inbound, bytes > 0);
        self.update_assemblies(slot, [message, incoming.partial]);
        if bytes > 0 || has_inbound {
            self.count_inbound(InboundSender::Socket(slot), bytes);
            self.make_inbound_room();
        }
    }

    fn update_assemblies(&mut self, slot: Slot, partials: [Option<Partial>; 2]) {
        let now = self.now;
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let ConnectionKind::Session(_) = &entry.state.kind else { return };
        let context = &mut entry.state.context;
        if context.unread.is_some() {
            // It is not the peer that is late: the clock starts again when this was decoded.
            context.assemblies = Default::default();
            return;
        }
        if let ([None, None], [None, None]) =
            (context.assemblies.map(|assembly| assembly.deadline()), partials)
        {
            return;
        }
        let Some(limits) = self.limits.get(usize::from(context.service)) else {
            return internal!("a connection of a service without limits");
        };
        for (assembly, partial) in context.assemblies.iter_mut().zip(partials) {
            assembly.observe(partial, limits, now);
        }
        if context.late_at().is_some_and(|at| at < context.check_mono_ns) {
            self.schedule_check(slot);
        }
    }
}

/// Time for the peer's end, after the last bytes were sent: 2 s.
pub(super) const CLOSE_TIMEOUT_NS: u64 = 2_000_000_000;
