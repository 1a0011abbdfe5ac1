use std::{sync::Arc, time::Duration};

use crate::{
    ClientRules, Command, ConnectionLimits, Credit, Delivery, Login, Message, Partial, Principal,
    ProtocolLimits, Reason, Refusal, Reply, SendBuffer, Settle, SubscriptionId, Token,
};

/// The protocol logic of one connection, as a pure state machine.
///
/// A session does no I/O, takes no locks and never reads the clock: what happens to it arrives as
/// an [`Input`], what it wants done is said to the [`Outbox`]. The same inputs at the same times
/// give the same outputs.
pub trait Session: Send {
    /// Advances the session by one input. `now` never goes back between calls.
    ///
    /// After it has called [`Outbox::close`], or was told [`Input::Closed`], it is dropped.
    fn handle(&mut self, input: Input<'_>, now: Now, out: &mut dyn Outbox);

    /// When to call [`Session::handle`] with [`Input::Timeout`] if nothing else comes first,
    /// in nanoseconds on the clock of [`Now::mono_ns`]. A call may come late, never early.
    fn deadline(&self) -> Option<u64>;

    /// What of the peer's has come and is not processed yet.
    fn incoming(&self) -> Incoming {
        Incoming::default()
    }

    /// Memory of what the session requested and that waits for its replies, in bytes: what it
    /// publishes, and what it keeps of the requests. What reads for the session stops while that
    /// is much.
    fn in_flight_bytes(&self) -> usize {
        0
    }
}

/// What happens to a session.
#[derive(Debug)]
pub enum Input<'a> {
    /// The connection is open; comes first, once.
    Opened,
    /// The peer sent something.
    Received(Data<'a>),
    /// The reply to the login, command or settlement with this token. At most one comes for each.
    Replied(Token, Result<Reply, Refusal>),
    /// A message for a subscription.
    Delivered(SubscriptionId, &'a Delivery),
    /// Something that the session did not request.
    Notice(Notice),
    /// The [`Session::deadline`] has passed.
    Timeout,
    /// The gateway gives the connection up: what the peer has sent in part does not come in time, or
    /// there is no memory for it, or its login holds no more. Say so, as the text does, and close.
    GivenUp(Reason, &'a str),
    /// The gateway is stopping: send a normal close.
    Shutdown,
    /// The peer has gone or the transport was closed: nothing can be sent any more.
    Closed(Reason),
}

/// What a session keeps of what its peer has sent, until it is complete.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Incoming {
    /// The frame that has come in part. What reads for the session allows it the time of
    /// [`crate::Assembly`].
    pub partial: Option<Partial>,
    /// The memory that this takes, and what else waits to be processed.
    pub bytes: usize,
}

/// What a session is told without having requested it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Notice {
    /// The gateway has ended this subscription from outside its session, for this reason; its
    /// unsettled deliveries go to others. No delivery follows. It may come for one that was refused
    /// meanwhile. The rights of its user may have been changed.
    Cancelled(SubscriptionId, Refusal),
    /// Another connection of its user takes the client id that this one has: it is to end.
    Displaced,
    /// The peer is this principal from now on: the same user, whose roles or end of the login were
    /// changed. What it may do any more is seen to elsewhere.
    Renewed(Arc<Principal>),
    /// Nothing carries the connection for now, but its peer may come back: what is sent waits for it.
    /// The peer sends nothing meanwhile, and cannot be expected to.
    Detached,
    /// The connection is carried again, after [`Notice::Detached`].
    Attached,
}

/// Both clocks, as the driver read them last.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Now {
    /// Nanoseconds since an arbitrary start; never goes back.
    pub mono_ns: u64,
    /// Milliseconds since 1970-01-01 UTC; may jump when the clock is set.
    pub unix_ms: u64,
}

impl Now {
    /// The monotonic time `delay` from now, in nanoseconds.
    #[must_use]
    pub fn after(self, delay: Duration) -> u64 {
        self.mono_ns.saturating_add(u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// A piece of what the peer sent.
///
/// A transport with messages gives a message in one piece or in several; all pieces of one
/// message have its kind, and only the final one is `last`. It may be split within a character.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Data<'a> {
    /// What the transport says it is.
    pub kind: Kind,
    /// The bytes; lent until `handle` returns.
    pub bytes: &'a [u8],
    /// Whether this ends a message. Always `true` for [`Kind::Stream`].
    pub last: bool,
}

/// What a transport says of the bytes it carries.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// A message of UTF-8 text, checked by the transport.
    Text,
    /// A message of bytes.
    Binary,
    /// A stream without messages, as TCP is.
    Stream,
}

/// What a session is opened with.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// Who the peer is, when the transport already knows (HTTP authentication, TLS).
    pub principal: Option<&'a Principal>,
    /// The subprotocol agreed on (`v12.stomp`); empty when the peer named none.
    pub subprotocol: &'a str,
    /// The host the peer requested; empty when it named none.
    pub host: &'a str,
    /// What the session should send on this transport, where its protocol leaves the choice.
    pub kind: Kind,
    /// The bounds of its connection.
    pub limits: &'a Arc<ConnectionLimits>,
    /// The bounds of its protocol.
    pub protocol_limits: &'a Arc<ProtocolLimits>,
    /// What holds for clients of the broker.
    pub client_rules: ClientRules,
    /// Every user can log in by SCRAM-SHA-256, so that it may be offered: clients take the strongest
    /// mechanism that is, whoever they are.
    pub scram_for_all: bool,
    /// Peers may log in as anonymous, so that it may be offered.
    pub anonymous: bool,
}

/// Where a session says what it wants done. Nothing follows [`Outbox::close`].
pub trait Outbox {
    /// Sends a message (or, on [`Kind::Stream`], bytes) that `encode` appends to the buffer it is
    /// given.
    fn send(&mut self, kind: Kind, encode: &mut dyn FnMut(&mut SendBuffer));

    /// As [`Outbox::send`], for what is the same for each subscription with the same `header`.
    ///
    /// `encode` is called once for each distinct `message` (by identity), `kind`, framing and
    /// `header` on this core and turn; what it wrote is sent to all others. `header` must therefore
    /// name all that the encoding depends on besides the message.
    fn send_shared(
        &mut self,
        kind: Kind,
        message: &Arc<Message>,
        header: &[u8],
        encode: &mut dyn FnMut(&mut SendBuffer),
    );

    /// Requests something of the broker; an [`Input::Replied`] with the token follows, exactly once
    /// unless the connection ends first.
    fn command(&mut self, token: Token, command: Command);

    /// Says what became of deliveries. Never waits. With a token, [`crate::Reply::Done`] comes once
    /// it was carried out at the queue and, of durable messages that were accepted, is stored; what is
    /// settled already is passed over. Other outcomes are not stored: if the process ends, those
    /// messages are delivered once more.
    fn settle(&mut self, settle: Settle, reply: Option<Token>);

    /// Says how many deliveries a subscription may get. Never waits.
    fn credit(&mut self, subscription: SubscriptionId, credit: Credit);

    /// Has the login of the peer checked; an [`Input::Replied`] with the token follows.
    fn login(&mut self, token: Token, login: Login);

    /// Ends the connection, once what was sent before has left. On a WebSocket `reason` becomes the
    /// close code and `message`, for the peer, the close reason, which has room for 123 bytes; on
    /// [`Kind::Stream`] nothing carries them. The log of the gateway has `detail`, where there is
    /// more to say than fits into the message.
    fn close(&mut self, reason: Reason, message: &str, detail: Option<&str>);

    /// 128 random bits, unpredictable to peers. A temporary destination named by them is homed
    /// on this core.
    fn random(&mut self) -> u128;

    /// A fresh [`Message::id`].
    fn message_id(&mut self) -> u128;

    /// Bytes sent that still wait for the network, those of this call not counted.
    fn backlog(&self) -> usize;
}
