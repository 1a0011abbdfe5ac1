use contract::{
    Assembly, ConnectionLimits, Incoming, Input, Now, Partial, Reason, Refusal, RelayInput,
    Session, internal,
};
use transports::{Entry, Slot};

use super::{
    Core,
    carry::AWAY_TIMEOUT_NS,
    connection::{Codec, Connection, ConnectionKind, Life},
    name,
};
use crate::inbound::InboundSender;

/// What a connection has a time for. [`Deadline::at`] says when it is due, and
/// `Core::deadline_passed` what happens then.
#[derive(Clone, Copy)]
enum Deadline {
    /// Taking something of what waits for the peer ([`ConnectionLimits::write_timeout`]).
    Write,
    /// The rest of what the peer began to send ([`Assembly`]).
    Assembly,
    /// The login of the peer ([`contract::Principal::expires_unix_ms`]).
    Login,
    /// The peer's end after a close ([`CLOSE_TIMEOUT_NS`]), or that a task takes the reason of the
    /// close ([`AWAY_TIMEOUT_NS`]).
    Linger,
    /// The return of a peer that is away ([`AWAY_TIMEOUT_NS`]).
    Away,
    /// What the session or relay has a time for: the login, heart-beats.
    Session,
    /// Something of a silent WebSocket ([`ConnectionLimits::ping_interval`]).
    Ping,
}

impl Deadline {
    /// All of them, in the order in which those that are due together are acted on.
    const ALL: [Self; 7] = [
        Self::Write,
        Self::Login,
        Self::Assembly,
        Self::Linger,
        Self::Away,
        Self::Session,
        Self::Ping,
    ];

    /// When it is due, on the clock of [`Now::mono_ns`]; `None`: not as things are.
    fn at(self, entry: &Entry<Connection>, limits: &ConnectionLimits, now: Now) -> Option<u64> {
        let Entry { socket, state: Connection { life, context } } = entry;
        match self {
            // Nothing is expected of a peer that is away but to come back.
            Self::Write | Self::Assembly | Self::Linger | Self::Ping
                if socket.away_since().is_some() =>
            {
                None
            }
            Self::Away => Some(socket.away_since()?.saturating_add(AWAY_TIMEOUT_NS)),
            Self::Write => {
                let since = Now { mono_ns: socket.backlog_since()?, unix_ms: 0 };
                Some(since.after(limits.write_timeout))
            }
            // The clock stops while the peer is not read, or what was read waits.
            Self::Assembly => {
                let runs = !socket.is_paused() && context.unread.is_none();
                life.session().filter(|_| runs).and_then(|_| context.late_at())
            }
            Self::Login => life.kind().and_then(|_| context.expiry_at(now)),
            Self::Linger => match life {
                Life::Lingering { until_mono_ns, .. } => Some(*until_mono_ns),
                Life::Open(_) | Life::HalfClosed(_) | Life::Away(_) | Life::Draining { .. } => None,
            },
            Self::Session => match life.kind()? {
                ConnectionKind::Session(session) => session.deadline(),
                ConnectionKind::Relay(end) => end.deadline(),
                ConnectionKind::Upstream(_) => None,
            },
            Self::Ping => {
                let (Codec::WebSocket(websocket), Some(_)) = (&context.codec, life.kind()) else {
                    return None;
                };
                // Nothing is heard from one that is not read.
                if socket.is_paused() {
                    return Some(now.mono_ns + websocket.ping.interval_ns()?);
                }
                websocket.ping.due_at()
            }
        }
    }
}

impl Core {
    /// Schedules the next check of a connection's deadlines for the earliest of them, if that is
    /// earlier than the check already scheduled.
    pub(super) fn schedule_check(&mut self, slot: Slot) {
        let Some(entry) = self.reactor.get(slot) else { return };
        let (limits, now) = (self.limits(slot), self.now);
        let due = Deadline::ALL.iter().filter_map(|deadline| deadline.at(entry, limits, now));
        let Some(next) = due.min() else { return };
        let next = next.max(now.mono_ns);
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let context = &mut entry.state.context;
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
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let context = &mut entry.state.context;
        if context.check_mono_ns > self.now.mono_ns {
            // The deadline has moved since; another check is scheduled for it.
            return;
        }
        context.check_mono_ns = u64::MAX;
        for deadline in Deadline::ALL {
            if self.has_passed(slot, deadline) {
                self.deadline_passed(slot, deadline);
            }
        }
        self.schedule_check(slot);
    }

    fn has_passed(&self, slot: Slot, deadline: Deadline) -> bool {
        let at = |entry| deadline.at(entry, self.limits(slot), self.now);
        self.reactor.get(slot).and_then(at).is_some_and(|at| at <= self.now.mono_ns)
    }

    /// What is due has not come.
    fn deadline_passed(&mut self, slot: Slot, deadline: Deadline) {
        match deadline {
            // It cannot be told: whatever is sent would wait behind what it does not read.
            Deadline::Write => self.remove(slot, Reason::Slow),
            Deadline::Assembly => {
                // What has come by now counts, however late the gateway itself is.
                self.read_socket(slot);
                if self.has_passed(slot, deadline) {
                    let why = Assembly::text(self.limits(slot));
                    tracing::info!(connection = %name(self.tools.id(slot)), detail = why, "late");
                    self.step(slot, Input::GivenUp(Reason::Idle, &why));
                }
            }
            Deadline::Login => self.end_login(slot, &Refusal::Expired.to_string()),
            Deadline::Linger | Deadline::Away => self.remove(slot, Reason::Lost),
            Deadline::Session => {
                self.step(slot, Input::Timeout);
                self.advance_relay(slot, RelayInput::Timeout);
            }
            Deadline::Ping => self.ping(slot),
        }
    }

    /// Pings a WebSocket that was silent, and ends one that has sent nothing since.
    fn ping(&mut self, slot: Slot) {
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let Codec::WebSocket(websocket) = &mut entry.state.context.codec else { return };
        if websocket.ping.is_sent {
            return self.close(slot, Reason::Idle, "no reply to a ping");
        }
        websocket.ping.is_sent = true;
        if let Some(sender) = self.tools.sender(entry.state.context.codec.framing()) {
            self.tools.append(slot, &mut entry.socket, |out| {
                websocket::encode_ping(out, sender, b"");
            });
        }
    }

    /// Updates the deadlines for the rest of what the peer has sent in part, and counts the memory
    /// that this takes.
    pub(super) fn update_inbound(&mut self, slot: Slot) {
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let Connection { life, context } = &mut entry.state;
        let incoming = life.session().map_or_else(Incoming::default, Session::incoming);
        let (message, decoder) = context.codec.partial();
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
        let Connection { life, context } = &mut entry.state;
        if life.session().is_none() {
            return;
        }
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
