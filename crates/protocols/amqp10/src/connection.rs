use std::{fmt, mem, sync::Arc};

use contract::{
    ClientRules, ConnectionLimits, Incoming, Input, Kind, Login, Notice, Now, Opening, Outbox,
    Partial, Principal, ProtocolLimits, Reason, Refusal, Reply, STOPPING, Step, Token,
};

use crate::{
    PLAIN_HEADER, SASL_HEADER, codes,
    error::{
        AmqpError, CONNECTION_FORCED, End, FRAMING_ERROR, RESOURCE_LIMIT_EXCEEDED,
        UNAUTHORIZED_ACCESS,
    },
    frame::{self, Decoder, Frame},
    link::LinkId,
    open::{Context, Open},
    opening::{CONTAINER_IN_USE, FRAME_BYTES_MAX},
    performative::{FrameType, Performative},
    sasl,
};

/// The server's side of one AMQP 1.0 connection.
pub struct Connection {
    limits: Arc<ConnectionLimits>,
    pub(crate) protocol_limits: Arc<ProtocolLimits>,
    pub(crate) client_rules: ClientRules,
    kind: Kind,
    pub(crate) host: Box<str>,
    scram_for_all: bool,
    anonymous: bool,
    /// The principal that the transport authenticated.
    known: Option<Principal>,
    /// Nothing carries the connection: its peer can neither send nor receive.
    is_detached: bool,
    /// The gateway's open was sent.
    pub(crate) has_opened: bool,
    /// When the login must have succeeded.
    until_mono_ns: u64,
    decoder: Decoder,
    /// What has come of a header, or waits for the login.
    unread: Vec<u8>,
    pub(crate) state: State,
    pub(crate) token: Token,
}

/// ```text
///         SASL header           init                accepted
/// Header -------------> Sasl --------> LoggingIn ---------------> Authenticated
///   |                     ^---- challenge --|                           | AMQP header
///   | AMQP header                                                       v
///   +----> LoggingIn (as nobody, or as who the transport knows) ----> Opening
///                                                                       | open
///                                                                       v
///                          Open <---- no other has it ---- Claiming (a container-id)
/// ```
#[derive(Debug)]
pub(crate) enum State {
    /// The first header is to come.
    Header,
    /// What the client says to the mechanisms is to come.
    Sasl {
        has_begun: bool,
    },
    LoggingIn {
        by_sasl: bool,
    },
    /// The header behind the login is to come.
    Authenticated(Principal),
    /// The open is to come.
    Opening(Principal),
    Claiming(Box<Open>),
    Open(Box<Open>),
    Closed,
}

impl Connection {
    /// A connection that has not begun.
    #[must_use]
    pub fn open(opening: &Opening<'_>, now: Now) -> Self {
        Self {
            limits: Arc::clone(opening.limits),
            protocol_limits: Arc::clone(opening.protocol_limits),
            client_rules: opening.client_rules,
            kind: opening.kind,
            host: opening.host.into(),
            scram_for_all: opening.scram_for_all,
            anonymous: opening.anonymous,
            known: opening.principal.cloned(),
            is_detached: false,
            has_opened: false,
            until_mono_ns: now.after(opening.limits.login_timeout),
            decoder: Decoder::default(),
            unread: Vec::new(),
            state: State::Header,
            token: Token(0),
        }
    }

    const fn opened_ref(&self) -> Option<&Open> {
        if let State::Open(open) = &self.state { Some(open) } else { None }
    }

    fn advance(&mut self, input: Input<'_>, now: Now, out: &mut dyn Outbox) -> Result<bool, End> {
        let (limits, protocol_limits) =
            (Arc::clone(&self.limits), Arc::clone(&self.protocol_limits));
        let mut cx = Context {
            limits: &limits,
            protocol_limits: &protocol_limits,
            kind: self.kind,
            now,
            out,
            sent: false,
        };
        let result = self.work(input, &mut cx);
        // A close ends what an open has begun (part 2, section 2.4.3).
        if matches!(result, Err(End::Connection(..))) && self.has_begun() && !self.has_opened {
            self.send_open(&[], false, &mut cx);
        }
        result.map(|()| cx.sent)
    }

    /// Whether the headers of the connection were exchanged. Before that there is nothing that a close
    /// could end: a login that is refused ends with its outcome.
    const fn has_begun(&self) -> bool {
        match self.state {
            State::Header
            | State::Sasl { .. }
            | State::LoggingIn { by_sasl: true }
            | State::Authenticated(_) => false,
            State::LoggingIn { by_sasl: false }
            | State::Opening(_)
            | State::Claiming(_)
            | State::Open(_)
            | State::Closed => true,
        }
    }

    fn work(&mut self, input: Input<'_>, cx: &mut Context<'_>) -> Result<(), End> {
        match input {
            Input::Opened => {}
            Input::Received(data) if data.kind == Kind::Text => {
                return Err(End::Connection(
                    Reason::Malformed,
                    AmqpError::new(FRAMING_ERROR, "AMQP is sent in binary messages"),
                ));
            }
            Input::Received(data) => self.received(data.bytes, cx)?,
            Input::Replied(token, result) => self.replied(token, result, cx)?,
            Input::Delivered(subscription, delivery) => {
                if let State::Open(open) = &mut self.state {
                    open.delivered(LinkId(subscription.0), delivery, cx);
                }
            }
            Input::Notice(notice) => self.noticed(&notice, cx)?,
            Input::Timeout => match &mut self.state {
                _ if self.is_detached => {}
                State::Open(open) => open.timed_out(cx)?,
                State::Closed => {}
                State::Header
                | State::Sasl { .. }
                | State::LoggingIn { .. }
                | State::Authenticated(_)
                | State::Opening(_)
                | State::Claiming(_)
                    if cx.now.mono_ns >= self.until_mono_ns =>
                {
                    let what = format!(
                        "a connection must be logged in and open within {} s",
                        self.limits.login_timeout.as_secs_f64()
                    );
                    return Err(End::Connection(
                        Reason::Idle,
                        AmqpError::new(RESOURCE_LIMIT_EXCEEDED, what),
                    ));
                }
                State::Header
                | State::Sasl { .. }
                | State::LoggingIn { .. }
                | State::Authenticated(_)
                | State::Opening(_)
                | State::Claiming(_) => {}
            },
            Input::GivenUp(reason, why) => {
                let condition = if reason == Reason::Unauthenticated {
                    UNAUTHORIZED_ACCESS
                } else {
                    RESOURCE_LIMIT_EXCEEDED
                };
                return Err(End::Connection(reason, AmqpError::new(condition, why)));
            }
            Input::Shutdown => {
                let error = AmqpError::new(CONNECTION_FORCED, STOPPING);
                return Err(End::Connection(Reason::Shutdown, error));
            }
            Input::Closed(_) => self.state = State::Closed,
        }
        Ok(())
    }

    fn noticed(&mut self, notice: &Notice, cx: &mut Context<'_>) -> Result<(), End> {
        match (notice, &mut self.state) {
            (Notice::Detached, _) => self.is_detached = true,
            (Notice::Attached, state) => {
                self.is_detached = false;
                if let State::Open(open) = state {
                    open.idle.received(cx.now);
                    open.idle.sent(cx.now);
                }
            }
            (Notice::Cancelled(id, refusal), State::Open(open)) => {
                open.cancelled(LinkId(id.0), *refusal, cx);
            }
            (Notice::Displaced, State::Open(_) | State::Claiming(_)) => {
                let what = "another connection of this user has taken over the container-id";
                return Err(End::Connection(Reason::Busy, AmqpError::new(CONNECTION_FORCED, what)));
            }
            (Notice::Cancelled(..) | Notice::Displaced | Notice::Renewed(_), _) => {}
        }
        Ok(())
    }

    fn received(&mut self, mut bytes: &[u8], cx: &mut Context<'_>) -> Result<(), End> {
        if let State::Open(open) = &mut self.state {
            open.idle.received(cx.now);
        }
        loop {
            match &mut self.state {
                State::Closed => return Ok(()),
                State::LoggingIn { .. } | State::Claiming(_) => return self.wait(bytes),
                State::Header | State::Authenticated(_) => {
                    let missing = (frame::HEADER_BYTES - self.unread.len()).min(bytes.len());
                    let (taken, rest) = bytes.split_at(missing);
                    self.unread.extend_from_slice(taken);
                    bytes = rest;
                    let Ok(header) = <[u8; 8]>::try_from(self.unread.as_slice()) else {
                        return Ok(());
                    };
                    self.unread = Vec::new();
                    self.begin(header, cx)?;
                }
                State::Sasl { .. } | State::Opening(_) | State::Open(_) => {
                    let is_open = matches!(self.state, State::Open(_));
                    let frame_bytes_max =
                        if is_open { FRAME_BYTES_MAX } else { FIRST_FRAME_BYTES_MAX };
                    let Some(frame) = self.decoder.next(&mut bytes, frame_bytes_max)? else {
                        return Ok(());
                    };
                    if let State::Open(open) = &mut self.state {
                        handle_frame(open, frame, cx)?;
                    } else {
                        let (frame_type, body) = (frame.kind, frame.body.to_vec());
                        self.frame(frame_type, &body, cx)?;
                    }
                }
            }
        }
    }

    /// A header: of the login, or of the connection.
    fn begin(&mut self, header: [u8; 8], cx: &mut Context<'_>) -> Result<(), End> {
        let is_first = matches!(self.state, State::Header);
        let kind = frame::sent_as(self.kind);
        if header == SASL_HEADER && is_first {
            cx.out.send(kind, &mut |to| to.extend_from_slice(&SASL_HEADER));
            // Who is known already says ANONYMOUS to stay so.
            let anonymous = self.anonymous || self.known.is_some();
            cx.send_frame(FrameType::Sasl, 0, |to| {
                sasl::write_mechanisms(to, self.scram_for_all, anonymous);
            });
            self.state = State::Sasl { has_begun: false };
            return Ok(());
        }
        cx.out.send(kind, &mut |to| to.extend_from_slice(&PLAIN_HEADER));
        if header != PLAIN_HEADER {
            let what =
                "AMQP 1.0 is spoken here, with or without SASL; TLS begins with its own bytes";
            return Err(End::Connection(Reason::Malformed, AmqpError::new(FRAMING_ERROR, what)));
        }
        let before = mem::replace(&mut self.state, State::LoggingIn { by_sasl: false });
        let principal = match before {
            State::Authenticated(principal) => Some(principal),
            State::Header
            | State::Sasl { .. }
            | State::LoggingIn { .. }
            | State::Opening(_)
            | State::Claiming(_)
            | State::Open(_)
            | State::Closed => self.known.clone(),
        };
        match principal {
            Some(principal) => self.state = State::Opening(principal),
            None => self.log_in(Login::Anonymous, cx),
        }
        Ok(())
    }

    fn log_in(&mut self, login: Login, cx: &mut Context<'_>) {
        self.token = Token(self.token.0 + 1);
        cx.out.login(self.token, login);
    }

    /// Keeps what comes until the peer is logged in.
    fn wait(&mut self, bytes: &[u8]) -> Result<(), End> {
        if self.unread.len() + bytes.len() > UNREAD_BYTES_MAX {
            let what = "wait for the login before sending more";
            let error = AmqpError::new(RESOURCE_LIMIT_EXCEEDED, what);
            return Err(End::Connection(Reason::TooLarge, error));
        }
        self.unread.extend_from_slice(bytes);
        Ok(())
    }

    /// A frame before the connection is open.
    fn frame(
        &mut self,
        frame_type: FrameType,
        body: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<(), End> {
        if body.is_empty() {
            return Ok(());
        }
        match (&mut self.state, frame_type) {
            (State::Sasl { has_begun }, FrameType::Sasl) => {
                let login = match sasl::Said::read(body)? {
                    sasl::Said::Init { mechanism, initial } if !*has_begun => {
                        match (&self.known, mechanism) {
                            (Some(principal), sasl::ANONYMOUS) => {
                                let principal = principal.clone();
                                return self.accepted(principal, true, &[], cx);
                            }
                            _ => sasl::login(mechanism, initial),
                        }
                    }
                    sasl::Said::Response(response) if *has_begun => {
                        Some(Login::Response(contract::Secret::new(response)))
                    }
                    sasl::Said::Init { .. } | sasl::Said::Response(_) => {
                        return Err(End::decode("a SASL frame that is not the next one"));
                    }
                };
                match login {
                    Some(login) => {
                        self.state = State::LoggingIn { by_sasl: true };
                        self.log_in(login, cx);
                        Ok(())
                    }
                    None => Err(login_refused(Refusal::Unauthenticated, cx)),
                }
            }
            (State::Opening(_), FrameType::Amqp) => {
                let State::Opening(principal) = mem::replace(&mut self.state, State::Closed) else {
                    return Ok(());
                };
                let Performative::Open(open) = Performative::read(body)? else {
                    return Err(End::illegal("the first frame of a connection is an open"));
                };
                self.opened(&principal, &open, cx)
            }
            _ => Err(End::decode("a frame of this type does not belong there")),
        }
    }

    fn replied(
        &mut self,
        token: Token,
        result: Result<Reply, Refusal>,
        cx: &mut Context<'_>,
    ) -> Result<(), End> {
        match &mut self.state {
            State::LoggingIn { by_sasl } if token == self.token => {
                let by_sasl = *by_sasl;
                match result {
                    Ok(Reply::Login(step)) => match *step {
                        Step::Accepted(principal, data) => {
                            self.accepted(principal, by_sasl, &data, cx)?;
                        }
                        Step::Challenge(challenge) => {
                            cx.send_frame(FrameType::Sasl, 0, |to| {
                                sasl::write_challenge(to, &challenge);
                            });
                            self.state = State::Sasl { has_begun: true };
                        }
                    },
                    Ok(Reply::Done | Reply::Drained) => {
                        contract::internal!("a login with the reply to a command");
                    }
                    Err(refusal) if by_sasl => return Err(login_refused(refusal, cx)),
                    Err(refusal) => {
                        let what = "log in: this gateway does not take connections without a login";
                        let error = if refusal == Refusal::Unauthenticated {
                            AmqpError::new(UNAUTHORIZED_ACCESS, what)
                        } else {
                            AmqpError::refused(refusal)
                        };
                        return Err(End::Connection(Reason::Unauthenticated, error));
                    }
                }
                self.read_unread(cx)
            }
            State::Claiming(_) if token == self.token => {
                let State::Claiming(open) = mem::replace(&mut self.state, State::Closed) else {
                    return Ok(());
                };
                if let Err(refusal) = result {
                    self.send_open(&[], true, cx);
                    let mut error = AmqpError::refused(refusal);
                    if refusal == Refusal::ClientIdInUse {
                        error = AmqpError::invalid_field("container-id", CONTAINER_IN_USE);
                    }
                    return Err(End::Connection(Reason::Busy, error));
                }
                self.go_on(open, cx);
                self.read_unread(cx)
            }
            State::Open(open) => {
                open.replied(token, result, cx);
                Ok(())
            }
            State::Header
            | State::Sasl { .. }
            | State::LoggingIn { .. }
            | State::Authenticated(_)
            | State::Opening(_)
            | State::Claiming(_)
            | State::Closed => Ok(()),
        }
    }

    /// The client is who it says it is.
    fn accepted(
        &mut self,
        principal: Principal,
        by_sasl: bool,
        data: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<(), End> {
        if by_sasl {
            cx.send_frame(FrameType::Sasl, 0, |to| sasl::write_outcome(to, sasl::OK, data));
            self.state = State::Authenticated(principal);
        } else {
            self.state = State::Opening(principal);
        }
        Ok(())
    }

    /// Works on what came while something was waited for.
    fn read_unread(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let unread = mem::take(&mut self.unread);
        self.received(&unread, cx)
    }
}

impl contract::Session for Connection {
    fn handle(&mut self, input: Input<'_>, now: Now, out: &mut dyn Outbox) {
        if matches!(self.state, State::Closed) {
            return;
        }
        let result = self.advance(input, now, out);
        match (result, &mut self.state) {
            (Ok(sent), State::Open(open)) if sent => open.idle.sent(now),
            (Ok(_), _) => {}
            (Err(End::Normal), state) => {
                *state = State::Closed;
                send_close(self.kind, None, out);
                out.close(Reason::Normal, "", None);
            }
            (Err(End::Connection(reason, error)), state) => {
                *state = State::Closed;
                if self.has_opened {
                    send_close(self.kind, Some(&error), out);
                }
                out.close(reason, error.condition, Some(&error.description));
            }
            (Err(End::Session(error)), state) => {
                contract::internal!("a session ends where there is none");
                *state = State::Closed;
                out.close(Reason::Internal, error.condition, Some(&error.description));
            }
        }
    }

    fn deadline(&self) -> Option<u64> {
        if self.is_detached {
            return None;
        }
        match self.opened_ref() {
            Some(open) => open.idle.deadline(),
            None if matches!(self.state, State::Closed) => None,
            None => Some(self.until_mono_ns),
        }
    }

    fn incoming(&self) -> Incoming {
        // Before that the time for the login bounds it.
        let (assembled, partial) = self.opened_ref().map_or((0, None), |open| {
            let partial = (open.assembled_bytes > 0)
                .then_some(Partial { number: u32::MAX, body_bytes: Some(open.assembled_total) });
            (open.assembled_bytes, self.decoder.partial().or(partial))
        });
        let bytes = self.decoder.memory() + self.unread.capacity() + assembled;
        Incoming { partial, bytes }
    }

    fn in_flight_bytes(&self) -> usize {
        self.opened_ref().map_or(0, |open| open.pending.bytes())
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

fn handle_frame(open: &mut Open, frame: Frame<'_>, cx: &mut Context<'_>) -> Result<(), End> {
    if frame.kind != FrameType::Amqp {
        return Err(End::decode("a SASL frame behind the login"));
    }
    // An empty one keeps the connection alive.
    if frame.body.is_empty() { Ok(()) } else { open.handle_frame(frame.channel, frame.body, cx) }
}

fn login_refused(refusal: Refusal, cx: &mut Context<'_>) -> End {
    let code = sasl::failure(refusal);
    cx.send_frame(FrameType::Sasl, 0, |to| sasl::write_outcome(to, code, &[]));
    End::Connection(Reason::Unauthenticated, AmqpError::refused(refusal))
}

fn send_close(kind: Kind, error: Option<&AmqpError>, out: &mut dyn Outbox) {
    out.send(frame::sent_as(kind), &mut |to| {
        frame::append(to, FrameType::Amqp, 0, |to| {
            amqp_types::Writer::new(to.own_mut()).composite(codes::CLOSE, |fields| {
                if let Some(error) = error {
                    error.write(fields);
                }
            });
        });
    });
}

/// The largest before an open was received.
const FIRST_FRAME_BYTES_MAX: usize = 4 << 10;
/// Bytes that may wait for a login.
const UNREAD_BYTES_MAX: usize = 64 << 10;
