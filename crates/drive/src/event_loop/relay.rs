use std::{fmt, io, sync::Arc};

use contract::{
    Data, End, Kind, Opening, Reason, Relay, RelayInput, RelayOutbox, STOPPING, internal,
};
use tokio::sync::oneshot;
use transports::{Reactor, Slot, Stream};
use websocket::Close;

use super::{
    Core, CoreRef, Registration,
    connection::{
        ClientEnd, Codec, Connection, ConnectionKind, Framing, Life, SentInPart, UpstreamEnd,
        UpstreamState,
    },
    name,
    outlet::Tools,
    service,
};
use crate::{
    connect::{self, Cause, Client, Opened, Unreachable},
    excerpt::{DETAIL_CHARS_MAX, excerpt},
    tasks,
};

impl CoreRef {
    /// Moves a socket into the reactor whose messages go to the upstream of its service, which is
    /// connected to. Nothing is read meanwhile.
    pub fn register_relay(
        &self,
        stream: Stream,
        registration: Registration<'_>,
        relay: Box<dyn Relay>,
    ) {
        let Ok(target) = stream.local_addr() else { return };
        let (source, subprotocol) = (registration.peer, registration.subprotocol.into());
        let service = registration.service;
        let (task, client_has_left) = oneshot::channel();
        let upstream = UpstreamState::Connecting { _task: task };
        let end = ClientEnd { relay: Some(relay), upstream, sent_in_part: SentInPart::default() };
        let kind = |_: &Opening<'_>, _| ConnectionKind::Relay(Box::new(end));
        let Ok(client) = self.with(|core| core.register(stream, registration, kind)) else {
            // The socket has gone, or there are no descriptors left.
            return;
        };
        let core = self.clone();
        let for_whom = Client { service, source, target, subprotocol };
        tasks::local(async move {
            tokio::select! {
                () = core.connect_relay(client, for_whom) => {}
                _ = client_has_left => {}
            }
        });
    }

    async fn connect_relay(&self, slot: Slot, client: Client) {
        let cores = self.with(|core| Arc::clone(&core.cores));
        let service = service(&cores, client.service);
        let Some(upstream) = &service.upstream else {
            return internal!("a relay of a service without an upstream");
        };
        let random = || self.with(|core| core.tools.entropy.next());
        match connect::connect(upstream, &service.path, &client, random).await {
            Ok(opened) => self.with(|core| core.relay_connected(slot, opened)),
            Err(unreachable) => self.with(|core| core.relay_failed(slot, &unreachable)),
        }
    }
}

impl Core {
    /// The upstream of a relay is connected: its socket becomes the other end.
    fn relay_connected(&mut self, client: Slot, opened: Opened) {
        let Opened { stream, early, permit } = opened;
        let framing = permit.address().framing();
        let Some(entry) = self.reactor.get(client) else { return };
        let context = &entry.state.context;
        let limits = &service(&self.cores, context.service).limits;
        let registration = Registration {
            service: context.service,
            protocol: self.tools.counters().name(context.protocol),
            framing,
            ping_interval: context.codec.ping_interval().unwrap_or(limits.ping_interval),
            subprotocol: "",
            host: "",
            anonymous: false,
            principal: None,
            users_version: 0,
            peer: context.peer,
            permit: None,
            early: &early,
        };
        let end = UpstreamEnd { client, permit };
        let Ok(upstream) =
            self.register(stream, registration, |_, _| ConnectionKind::Upstream(Box::new(end)))
        else {
            self.close(client, Reason::Busy, "out of descriptors");
            return;
        };
        let Some(end) = self.client_end(client) else {
            return self.remove(upstream, Reason::Lost);
        };
        end.upstream = UpstreamState::Connected(upstream);
        self.advance_relay(client, RelayInput::Opened);
        self.reactor.resume(client);
    }

    /// The upstream of a relay cannot be reached: the client is told that, the log why.
    fn relay_failed(&mut self, client: Slot, unreachable: &Unreachable) {
        let Some(entry) = self.reactor.get_mut(client) else { return };
        entry.state.context.detail = Some(excerpt(&unreachable.why, DETAIL_CHARS_MAX).into());
        let (reason, why) = match unreachable.cause {
            Cause::Upstream => (Reason::Upstream, "the upstream cannot be reached"),
            Cause::Gateway => (Reason::Busy, "too many connections"),
            Cause::Queue => (Reason::Busy, "too many connections at a time, try again later"),
        };
        self.close(client, reason, why);
    }

    /// The peer of a socket that is not read has closed its side. A WebSocket's has gone: where its
    /// upstream is being connected, that is for no one.
    pub(super) fn paused_peer_ended(&mut self, slot: Slot) {
        let Some(Connection { life, context }) = self.reactor.get(slot).map(|entry| &entry.state)
        else {
            return;
        };
        let Some(ConnectionKind::Relay(end)) = life.kind() else { return };
        if end.upstream().is_none() && matches!(context.codec, Codec::WebSocket(_)) {
            self.remove(slot, Reason::Lost);
        }
    }

    /// One of the ends of a relay has received something.
    pub(super) fn relay_received(&mut self, slot: Slot, data: Data<'_>) {
        let (client, from) = match self.reactor.get(slot).and_then(|entry| entry.state.life.kind())
        {
            Some(ConnectionKind::Relay(_)) => (slot, End::Client),
            Some(ConnectionKind::Upstream(end)) => (end.client, End::Upstream),
            Some(ConnectionKind::Session(_)) | None => return,
        };
        self.advance_relay(client, RelayInput::Received(from, data));
    }

    /// The gateway is stopping.
    pub(super) fn shut_down_relay(&mut self, client: Slot) {
        if self.client_end(client).is_some_and(|end| end.upstream().is_none()) {
            return self.send_close(client, Reason::Shutdown, STOPPING);
        }
        self.advance_relay(client, RelayInput::Shutdown);
    }

    /// Advances a relay by one input, once its upstream is connected.
    pub(super) fn advance_relay(&mut self, client: Slot, input: RelayInput<'_>) {
        let now = self.now;
        let Some(end) = self.client_end(client) else { return };
        let (Some(upstream), Some(mut relay)) = (end.upstream(), end.relay.take()) else { return };
        let sent_in_part = end.sent_in_part;
        let is_last = matches!(input, RelayInput::Closed(..));
        let mut outlet = self.relay_outlet(client, upstream, sent_in_part);
        relay.handle(input, now, &mut outlet);
        let RelayOutlet { sent_in_part, closed, .. } = outlet;
        if let Some((reason, message)) = closed {
            return self.send_close(client, reason, &message);
        }
        if is_last {
            return;
        }
        let deadline = relay.deadline();
        let Some(end) = self.client_end(client) else { return };
        end.relay = Some(relay);
        end.sent_in_part = sent_in_part;
        let check = self.reactor.get(client).map(|entry| entry.state.context.check_mono_ns);
        if deadline.zip(check).is_some_and(|(deadline, check)| deadline < check) {
            self.schedule_check(client);
        }
    }

    fn relay_outlet(
        &mut self,
        client: Slot,
        upstream: Slot,
        sent_in_part: SentInPart,
    ) -> RelayOutlet<'_> {
        let (reactor, tools) = (&mut self.reactor, &mut self.tools);
        RelayOutlet { reactor, tools, client, upstream, sent_in_part, closed: None }
    }

    fn client_end(&mut self, client: Slot) -> Option<&mut ClientEnd> {
        match self.reactor.get_mut(client)?.state.life.kind_mut()? {
            ConnectionKind::Relay(end) => Some(end),
            ConnectionKind::Upstream(_) | ConnectionKind::Session(_) => None,
        }
    }

    /// Whether little of what the other end of a relay was sent is unsent.
    pub(super) fn other_end_has_room(&self, slot: Slot) -> bool {
        let Some(entry) = self.other_end(slot).and_then(|other| self.reactor.get(other)) else {
            return false;
        };
        self.tools.outgoing.pending_bytes(&entry.socket) + entry.socket.backlog_bytes()
            < RELAY_BACKLOG_BYTES
    }

    /// The other socket of a relay, if there is one.
    fn other_end(&self, slot: Slot) -> Option<Slot> {
        match self.reactor.get(slot)?.state.life.kind()? {
            ConnectionKind::Relay(end) => end.upstream(),
            ConnectionKind::Upstream(end) => Some(end.client),
            ConnectionKind::Session(_) => None,
        }
    }

    /// One end has been written to: the other is read again, or paused.
    pub(super) fn relay_flushed(&mut self, slot: Slot) {
        let Some(other) = self.other_end(slot) else { return };
        let Some(entry) = self.reactor.get(slot) else { return };
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
        let Some(ConnectionKind::Upstream(_)) = entry.state.life.kind() else { return };
        self.note_upstream_error(slot, error);
        let is_reset = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
        let why = if is_reset.contains(&error.kind()) {
            "the upstream reset the connection"
        } else {
            "the connection to the upstream broke"
        };
        self.upstream_broke(slot, why);
    }

    /// The peer of a TLS connection has closed its side without saying so in TLS. Many clients do; what
    /// an upstream sends may have been meant to go on.
    pub(super) fn truncated(&mut self, slot: Slot) {
        let life = self.reactor.get(slot).map(|entry| &entry.state.life);
        match life.and_then(Life::kind) {
            Some(ConnectionKind::Upstream(_)) => self.upstream_broke(
                slot,
                "the upstream ended without a TLS close_notify: what it sent may be incomplete",
            ),
            Some(ConnectionKind::Session(_) | ConnectionKind::Relay(_)) | None => {
                self.half_closed(slot);
            }
        }
    }

    /// Ends both connections of a relay, that of the client after what was received before.
    fn upstream_broke(&mut self, slot: Slot, why: &str) {
        let Some(entry) = self.reactor.get(slot) else { return };
        let Some(ConnectionKind::Upstream(end)) = entry.state.life.kind() else { return };
        let client = end.client;
        self.advance_relay(client, RelayInput::Closed(End::Upstream, Reason::Upstream));
        self.close(client, Reason::Upstream, why);
        self.remove(slot, Reason::Upstream);
    }

    /// Logs what an upstream did wrong, if it is one that did.
    pub(super) fn note_upstream_error(&self, slot: Slot, error: &dyn fmt::Display) {
        let Some(entry) = self.reactor.get(slot) else { return };
        let Some(ConnectionKind::Upstream(end)) = entry.state.life.kind() else { return };
        let connection = name(self.tools.id(end.client));
        let upstream = &end.permit.address().label;
        tracing::warn!(%connection, upstream, %error, "the upstream's connection broke");
    }

    /// One end of a relay has gone: the other is closed, after its backlog. `received`: what the one
    /// closed its WebSocket with, which the other is told if it is a WebSocket.
    pub(super) fn close_other_end(
        &mut self,
        kind: ConnectionKind,
        slot: Slot,
        reason: Reason,
        received: Option<Close<'_>>,
    ) {
        match kind {
            ConnectionKind::Relay(end) => {
                let ClientEnd { relay, upstream, sent_in_part } = *end;
                let UpstreamState::Connected(upstream) = upstream else { return };
                if let Some(mut relay) = relay {
                    let now = self.now;
                    let mut outlet = self.relay_outlet(slot, upstream, sent_in_part);
                    relay.handle(RelayInput::Closed(End::Client, reason), now, &mut outlet);
                }
                // Whatever the client did wrong, to the upstream it has just gone.
                let gone = if reason == Reason::Normal { Reason::Normal } else { Reason::Lost };
                let code = websocket::close_code(gone);
                let close = received.unwrap_or(Close { code, reason: "" });
                self.send_close_with(upstream, gone, close);
            }
            ConnectionKind::Upstream(end) => {
                let UpstreamEnd { client, permit } = *end;
                self.advance_relay(client, RelayInput::Closed(End::Upstream, reason));
                if let Some(close) = received {
                    return self.send_close_with(client, reason, close);
                }
                let has_close = permit.address().framing() != Framing::Stream;
                let (reason, why) = upstream_end(reason, has_close);
                self.send_close(client, reason, why);
            }
            ConnectionKind::Session(_) => {}
        }
    }
}

/// What a client is told when its upstream ends for a reason. `has_close`: it does not end normally
/// without a close frame, as a stream does.
const fn upstream_end(reason: Reason, has_close: bool) -> (Reason, &'static str) {
    let why = match reason {
        Reason::Normal | Reason::Lost if !has_close => {
            return (Reason::Normal, "the upstream closed the connection");
        }
        Reason::Slow => "the upstream reads too slowly",
        Reason::Idle => "the upstream does not reply to a ping",
        Reason::Malformed | Reason::NotText => "the upstream does not keep to its protocol",
        Reason::TooLarge => "the upstream sent a message that is too large",
        Reason::Normal
        | Reason::Lost
        | Reason::Unauthenticated
        | Reason::Forbidden
        | Reason::Busy
        | Reason::Upstream
        | Reason::Shutdown
        | Reason::Internal => "the connection to the upstream ended",
    };
    (Reason::Upstream, why)
}

/// The [`RelayOutbox`] of a relay between two sockets of the reactor.
struct RelayOutlet<'a> {
    reactor: &'a mut Reactor<Connection>,
    tools: &'a mut Tools,
    client: Slot,
    upstream: Slot,
    sent_in_part: SentInPart,
    /// Why and with what words the relay closed, once it has.
    closed: Option<(Reason, String)>,
}

impl RelayOutbox for RelayOutlet<'_> {
    fn send(&mut self, to: End, kind: Kind, last: bool, encode: &mut dyn FnMut(&mut Vec<u8>)) {
        let (slot, sent_in_part) = match to {
            End::Client => (self.client, &mut self.sent_in_part.to_client),
            End::Upstream => (self.upstream, &mut self.sent_in_part.to_upstream),
        };
        let Some(entry) = self.reactor.get_mut(slot) else { return };
        let Connection { life, context } = &mut entry.state;
        if life.kind().is_none() {
            return;
        }
        let first = !std::mem::replace(sent_in_part, !last);
        let socket = &mut entry.socket;
        self.tools.send_piece(slot, socket, context, kind, (first, last), encode);
    }

    fn close(&mut self, reason: Reason, message: &str) {
        self.closed.get_or_insert_with(|| (reason, message.to_owned()));
    }
}

/// The backlog of one end of a relay from which on the other is not read.
const RELAY_BACKLOG_BYTES: usize = 64 << 10;
