use std::{collections::VecDeque, sync::Arc};

use auth::{Access, Action};
use broker::{Account, Leave};
use contract::{
    Command, ConnectionId, Credit, Kind, Login, Message, Outbox, Reason, Refusal, SendBuffer,
    Settle, SubscriptionId, Token, internal,
};
use transports::{Outgoing, Slot, Socket};
use websocket::{Deflater, Sender};

use super::{
    authorise::DENIALS_LOGGED,
    connection::{Codec, Context, Framing},
};
use crate::{
    cores::{CoreHandle, Cores},
    counters::{Counters, Row},
    entropy::Entropy,
    excerpt::{DETAIL_CHARS_MAX, excerpt},
    log_limiter::LogLimiter,
    quotas::is_charged,
};

/// What a core lends to its sessions: one set for all of them.
pub(crate) struct Tools {
    pub(crate) outgoing: Outgoing,
    pub(crate) deflater: Deflater,
    pub(crate) entropy: Entropy,
    /// Requests of sessions that are still to be carried out.
    pub(crate) pending_requests: VecDeque<Request>,
    /// Sockets that have something to send, each once.
    pub(crate) dirty: Vec<Slot>,
    /// The upper half of message ids: random, so that they differ from those of other runs.
    pub(crate) message_epoch: u64,
    pub(crate) message_count: u64,
    pub(crate) core: u16,
    pub(crate) cores: Arc<Cores>,
    /// The access rules that hold on this core.
    pub(super) access: Access,
    /// Of lines about what they deny.
    pub(super) denials: LogLimiter<DENIALS_LOGGED>,
}

/// A request of a session to the broker or to logins.
#[derive(Debug)]
pub(crate) enum Request {
    /// The first command of a connection of this service follows.
    Opened(ConnectionId, u16),
    Command(ConnectionId, Token, Command, Option<Account>),
    Settle(ConnectionId, Settle, Option<Token>),
    Credit(ConnectionId, SubscriptionId, Credit),
    Login(ConnectionId, Token, Login),
    /// A command that the session may not have carried out.
    Denied(ConnectionId, Token, Refusal),
    /// So many more deliveries were written to the connection.
    Written(ConnectionId, usize),
    /// The session has ended; what it sent may still be written.
    Closing(ConnectionId, Leave),
    /// Nothing more is written.
    Gone(ConnectionId),
}

impl Tools {
    #[expect(clippy::indexing_slicing, reason = "every core has its handle")]
    pub(crate) fn handle(&self) -> &CoreHandle {
        &self.cores.handles()[usize::from(self.core)]
    }

    pub(crate) fn counters(&self) -> &Counters {
        self.handle().counters()
    }

    pub(crate) fn id(&self, slot: Slot) -> ConnectionId {
        ConnectionId { core: self.core, slot: slot.index, generation: slot.generation }
    }

    pub(crate) fn message_id(&mut self) -> u128 {
        self.message_count += 1;
        u128::from(self.message_epoch) << 64 | u128::from(self.message_count)
    }

    /// Random bits whose temporary destination is homed on this core.
    fn random(&mut self) -> u128 {
        let cores = self.cores.handles().len() as u128;
        loop {
            let random = self.entropy.next();
            let homed = (random - random % cores).checked_add(u128::from(self.core));
            if let Some(homed) = homed {
                return homed;
            }
        }
    }

    /// What is counted of a connection's service and protocol.
    pub(crate) fn row(&self, context: &Context) -> &Row {
        self.counters().row(context.service.into(), context.protocol)
    }

    /// Remembers that a socket must be flushed. To be called before something is appended for it.
    pub(crate) fn mark_dirty(&mut self, slot: Slot, socket: &Socket) {
        if !socket.has_pending() {
            self.dirty.push(slot);
        }
    }

    /// Sends something.
    pub(crate) fn append(
        &mut self,
        slot: Slot,
        socket: &mut Socket,
        encode: impl FnOnce(&mut Vec<u8>),
    ) {
        self.mark_dirty(slot, socket);
        self.outgoing.append(socket, |out| encode(out.own_mut()));
    }

    /// Sends a message in the connection's framing.
    pub(crate) fn send(
        &mut self,
        slot: Slot,
        socket: &mut Socket,
        context: &mut Context,
        kind: Kind,
        encode: impl FnOnce(&mut SendBuffer),
    ) {
        self.mark_dirty(slot, socket);
        let (framing, deflater) = (context.codec.framing(), &mut self.deflater);
        self.outgoing.append(socket, |out| frame(out, framing, kind, deflater, encode));
        context.sent += 1;
    }

    /// Sends a piece of a message in the connection's framing: its first, its last, both or neither.
    pub(crate) fn send_piece(
        &mut self,
        slot: Slot,
        socket: &mut Socket,
        context: &mut Context,
        kind: Kind,
        (first, last): (bool, bool),
        encode: impl FnOnce(&mut Vec<u8>),
    ) {
        self.mark_dirty(slot, socket);
        let framing = context.codec.framing();
        let (sender, deflate) = (self.sender(framing), framing.deflate());
        let deflater = &mut self.deflater;
        self.outgoing.append(socket, |out| {
            let Some(sender) = sender else { return encode(out.own_mut()) };
            let start = websocket::begin(out);
            encode(out.own_mut());
            if first && last {
                start.finish(out, sender, kind, deflate.map(|deflate| (deflater, deflate)));
            } else {
                start.finish_piece(out, sender, kind, first, last);
            }
        });
        context.sent += u32::from(last);
    }

    /// Who sends the next frame on a connection; `None`: there are no frames.
    pub(crate) fn sender(&mut self, framing: Framing) -> Option<Sender> {
        match framing {
            Framing::Stream => None,
            Framing::WebSocket { version, .. } => Some(Sender::Server(version)),
            Framing::WebSocketClient => {
                let [a, b, c, d, ..] = self.entropy.next().to_ne_bytes();
                Some(Sender::Client { key: [a, b, c, d] })
            }
        }
    }
}

#[inline]
fn frame(
    out: &mut SendBuffer,
    framing: Framing,
    kind: Kind,
    deflater: &mut Deflater,
    encode: impl FnOnce(&mut SendBuffer),
) {
    match framing {
        Framing::Stream => encode(out),
        Framing::WebSocket { version, deflate } => {
            let start = websocket::begin(out);
            encode(out);
            start.finish(out, version, kind, deflate.map(|deflate| (deflater, deflate)));
        }
        Framing::WebSocketClient => internal!("a session with an upstream"),
    }
}

/// The [`Outbox`] of a session on a socket of the reactor.
pub(crate) struct Outlet<'a> {
    pub(crate) slot: Slot,
    pub(crate) socket: &'a mut Socket,
    pub(crate) context: &'a mut Context,
    pub(crate) tools: &'a mut Tools,
    /// Why and with what words the session closed, once it has.
    pub(crate) closed: Option<(Reason, String)>,
}

impl Outlet<'_> {
    fn id(&self) -> ConnectionId {
        self.tools.id(self.slot)
    }

    /// Who is charged for what a command puts into queues.
    fn account(&self, command: &Command) -> Option<Account> {
        let principal = self.context.principal.as_deref()?;
        let accounts = &self.tools.cores.accounts;
        is_charged(command).then(|| accounts.of(principal, self.context.peer.ip()))
    }

    /// Whether the session may do something. Most end with the first denial: what else they have
    /// requested until they are told is counted only.
    fn authorise(&mut self, action: Action<'_>) -> Result<(), Refusal> {
        let subject = self.context.subject(self.tools, self.slot);
        self.tools.authorise(&subject, action)
    }

    /// Replies to a request that is not allowed.
    fn deny(&mut self, token: Token, refusal: Refusal) {
        self.context.has_denial = true;
        let denied = Request::Denied(self.id(), token, refusal);
        self.tools.pending_requests.push_back(denied);
    }
}

impl Outbox for Outlet<'_> {
    fn send(&mut self, kind: Kind, encode: &mut dyn FnMut(&mut SendBuffer)) {
        self.tools.send(self.slot, self.socket, self.context, kind, encode);
    }

    fn send_shared(
        &mut self,
        kind: Kind,
        message: &Arc<Message>,
        header: &[u8],
        encode: &mut dyn FnMut(&mut SendBuffer),
    ) {
        let tools = &mut *self.tools;
        tools.mark_dirty(self.slot, self.socket);
        let (framing, deflater) = (self.context.codec.framing(), &mut tools.deflater);
        let variant = variant(framing, kind);
        let encoded = tools.outgoing.append_shared(self.socket, message, variant, header, |out| {
            frame(out, framing, kind, deflater, encode);
        });
        if encoded { &tools.counters().encoded } else { &tools.counters().shared }.add(1);
        self.context.sent += 1;
    }

    fn command(&mut self, token: Token, command: Command) {
        self.context.in_flight += 1;
        let id = self.id();
        // A stream has no messages but what it publishes; those of a WebSocket are counted as they
        // come.
        if let (Command::Publish(..), Codec::Stream) = (&command, &self.context.codec) {
            self.context.counts.messages_in += 1;
            self.tools.row(self.context).messages_in.add(1);
        }
        if let Err(refusal) = self.authorise(Action::Command(&command)) {
            return self.deny(token, refusal);
        }
        if let Command::Subscribe(subscribe) = &command
            && subscribe.is_buffered()
            && let Err(error) = self.socket.set_unsent_max(KERNEL_UNSENT_MAX)
        {
            tracing::debug!(%error, "the kernel may hide seconds of messages");
        }
        if !self.context.is_registered {
            self.context.is_registered = true;
            let opened = Request::Opened(id, self.context.service);
            self.tools.pending_requests.push_back(opened);
        }
        let account = self.account(&command);
        self.tools.pending_requests.push_back(Request::Command(id, token, command, account));
    }

    fn settle(&mut self, settle: Settle, reply: Option<Token>) {
        let id = self.id();
        self.context.in_flight += u32::from(reply.is_some());
        match (self.authorise(Action::Other), reply) {
            (Ok(()), _) => {
                self.tools.pending_requests.push_back(Request::Settle(id, settle, reply));
            }
            (Err(refusal), Some(token)) => self.deny(token, refusal),
            // There is nothing to say: a peer that is not logged in has no deliveries.
            (Err(_), None) => {}
        }
    }

    fn credit(&mut self, subscription: SubscriptionId, credit: Credit) {
        let id = self.id();
        // A peer that is not logged in has no subscriptions.
        if self.authorise(Action::Other).is_ok() {
            self.tools.pending_requests.push_back(Request::Credit(id, subscription, credit));
        }
    }

    fn login(&mut self, token: Token, login: Login) {
        self.context.in_flight += 1;
        self.tools.pending_requests.push_back(Request::Login(
            self.tools.id(self.slot),
            token,
            login,
        ));
    }

    fn close(&mut self, reason: Reason, message: &str, detail: Option<&str>) {
        if let Some(detail) = detail {
            self.context.detail = Some(excerpt(detail, DETAIL_CHARS_MAX).into());
        }
        self.closed.get_or_insert_with(|| (reason, message.to_owned()));
    }

    fn random(&mut self) -> u128 {
        self.tools.random()
    }

    fn message_id(&mut self) -> u128 {
        self.tools.message_id()
    }

    fn backlog(&self) -> usize {
        self.socket.backlog_bytes()
    }
}

/// What the kernel may have for a connection that would rather get newer messages than all, in bytes.
const KERNEL_UNSENT_MAX: u32 = 4 << 10;

/// Names the ways in which the same bytes may be framed, for [`Outgoing::append_shared`].
fn variant(framing: Framing, kind: Kind) -> u32 {
    let kind = kind as u32;
    match framing {
        Framing::Stream => kind,
        Framing::WebSocket { version, deflate } => {
            let bits = deflate.map_or(0, |deflate| u32::from(deflate.server_window_bits()));
            kind | (version as u32 + 1) << 4 | bits << 8
        }
        Framing::WebSocketClient => {
            internal!("a session with an upstream");
            0
        }
    }
}
