use std::{fmt, mem, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use contract::{
    ClientRules, ConnectionLimits, Credentials, Incoming, Input, Kind, Login, Notice, Now, Opening,
    Outbox, Principal, ProtocolLimits, Reason, Refusal, Reply, Secret, Step, Token, internal,
};

use crate::{
    Decoder, Frame, Verb, Version,
    durable::Identity,
    encode::Writer,
    fault::{End, Fault},
    heartbeat::{Heartbeat, Intervals},
    open::{Context, Open},
    unread::Unread,
};

/// The server's side of one STOMP connection.
pub struct Session {
    limits: Arc<ConnectionLimits>,
    protocol_limits: Arc<ProtocolLimits>,
    client_rules: ClientRules,
    kind: Kind,
    /// Nothing carries the connection: the client can neither send nor receive a heart-beat.
    is_detached: bool,
    decoder: Decoder,
    state: State,
}

/// ```text
///            CONNECT               accepted             DISCONNECT, or any error
/// Greeting ----------> LoggingIn ----------> Open ------------------------------> Closed
///     |      challenge |  ^   +---------- refused ---------------------------------^
///     |                v  | CONNECT with a response
///     |             Challenged
///     +------- CONNECT of a peer that the transport knows ------> Open
/// ```
enum State {
    Greeting(Box<Greeting>),
    LoggingIn(Box<LoggingIn>),
    Challenged(Box<LoggingIn>),
    Open(Box<Open>),
    Closed,
}

/// Before CONNECT.
struct Greeting {
    /// The principal that the transport authenticated.
    principal: Option<Principal>,
    /// The newest version that the subprotocol allows.
    newest: Version,
    /// When the login must have succeeded.
    until: u64,
}

/// CONNECT was received, and its login is being checked or goes on with the client's next CONNECT.
struct LoggingIn {
    version: Version,
    intervals: Intervals,
    until: u64,
    /// Of its last leg.
    token: Token,
    means: Means,
    /// The header `client-id`.
    client: Box<str>,
    /// What was received since that.
    unread: Unread,
}

/// What a client logs in with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Means {
    Nothing,
    Password,
    Sasl,
}

impl Session {
    /// A session that has not begun.
    #[must_use]
    pub fn open(opening: &Opening<'_>, now: Now) -> Self {
        Self {
            limits: Arc::clone(opening.limits),
            protocol_limits: Arc::clone(opening.protocol_limits),
            client_rules: opening.client_rules,
            kind: opening.kind,
            is_detached: false,
            decoder: Decoder::new(),
            state: State::Greeting(Box::new(Greeting {
                principal: opening.principal.cloned(),
                newest: Version::of_subprotocol(opening.subprotocol).unwrap_or(Version::V1_2),
                until: now.after(opening.limits.login_timeout),
            })),
        }
    }
}

impl contract::Session for Session {
    fn handle(&mut self, input: Input<'_>, now: Now, out: &mut dyn Outbox) {
        match (&input, &mut self.state) {
            (Input::Notice(Notice::Detached), _) => self.is_detached = true,
            (Input::Notice(Notice::Attached), state) => {
                self.is_detached = false;
                if let State::Open(open) = state {
                    open.heartbeat.restart(now);
                }
            }
            (Input::Timeout, State::Open(_)) if self.is_detached => return,
            _ => {}
        }
        let mut cx = Context {
            limits: &self.limits,
            protocol_limits: &self.protocol_limits,
            client_rules: self.client_rules,
            kind: self.kind,
            came_in: self.kind,
            now,
            out,
            sent: false,
        };
        let result = self.state.advance(input, &mut self.decoder, &mut cx);
        let sent = cx.sent;
        match (result, &mut self.state) {
            (Ok(()), State::Open(open)) if sent => open.heartbeat.sent(now),
            (Ok(()), _) => {}
            (Err(End::Normal), state) => {
                *state = State::Closed;
                out.close(Reason::Normal, "", None);
            }
            (Err(End::Fault(fault)), state) => {
                // On a WebSocket the close code says it.
                if fault.reason != Reason::Shutdown || self.kind == Kind::Stream {
                    let version = state.version();
                    out.send(self.kind, &mut |to| fault.encode(version, to.own_mut()));
                }
                *state = State::Closed;
                out.close(fault.reason, fault.message(), Some(fault.detail()));
            }
        }
    }

    fn deadline(&self) -> Option<u64> {
        match &self.state {
            State::Greeting(greeting) => Some(greeting.until),
            State::LoggingIn(login) | State::Challenged(login) => Some(login.until),
            State::Open(open) => open.deadline().filter(|_| !self.is_detached),
            State::Closed => None,
        }
    }

    fn incoming(&self) -> Incoming {
        let (partial, unread) = match &self.state {
            State::Open(open) if !open.is_leaving => (self.decoder.partial(), 0),
            // The time for the login bounds it.
            State::LoggingIn(login) => (None, login.unread.memory()),
            State::Greeting(_) | State::Challenged(_) | State::Open(_) | State::Closed => (None, 0),
        };
        Incoming { partial, bytes: self.decoder.partial_memory() + unread }
    }

    fn in_flight_bytes(&self) -> usize {
        match &self.state {
            State::Open(open) => open.pending.bytes(),
            State::Greeting(_) | State::LoggingIn(_) | State::Challenged(_) | State::Closed => 0,
        }
    }
}

impl State {
    fn advance(
        &mut self,
        input: Input<'_>,
        decoder: &mut Decoder,
        cx: &mut Context<'_>,
    ) -> Result<(), End> {
        match (&mut *self, input) {
            (Self::Closed, _) => Ok(()),
            (_, Input::Closed(_)) => {
                *self = Self::Closed;
                Ok(())
            }
            (_, Input::Shutdown) => {
                let detail = "the gateway is stopping: reconnect";
                Err(Fault::new(Reason::Shutdown, "gateway is stopping", detail).into())
            }
            (_, Input::GivenUp(reason, why)) => {
                let message = if reason == Reason::Idle {
                    "frame timed out"
                } else if reason == Reason::Unauthenticated {
                    "login ended"
                } else {
                    "frame refused"
                };
                Err(Fault::new(reason, message, why).into())
            }
            (_, Input::Received(data)) => {
                cx.came_in = data.kind;
                self.received(data.bytes, decoder, cx)
            }
            (Self::LoggingIn(login), Input::Replied(token, result)) if token == login.token => {
                let unread = mem::take(&mut login.unread);
                match logged_in(result, login.means)? {
                    Step::Accepted(principal, message) => {
                        let open = login.accept(&principal, &message, cx);
                        *self = Self::Open(Box::new(open));
                    }
                    Step::Challenge(challenge) => {
                        login.challenge(&challenge, cx);
                        self.transition(Self::Challenged);
                    }
                }
                unread.pieces().try_for_each(|(bytes, kind)| {
                    cx.came_in = kind;
                    self.received(bytes, decoder, cx)
                })
            }
            (Self::Greeting(greeting), Input::Timeout) => in_time(greeting.until, cx),
            (Self::LoggingIn(login) | Self::Challenged(login), Input::Timeout) => {
                in_time(login.until, cx)
            }
            (Self::Open(open), Input::Replied(token, result)) => {
                open.replied(token, result.err(), cx)
            }
            (Self::Open(open), Input::Delivered(id, delivery)) => {
                open.delivered(id, delivery, cx);
                Ok(())
            }
            (Self::Open(open), Input::Notice(Notice::Cancelled(id, refusal))) => {
                open.cancelled(id, refusal)
            }
            (Self::Open(open), Input::Timeout) => open.timed_out(cx),
            (
                Self::Greeting(_) | Self::LoggingIn(_) | Self::Challenged(_) | Self::Open(_),
                Input::Opened | Input::Replied(..) | Input::Delivered(..) | Input::Notice(_),
            ) => Ok(()),
        }
    }

    fn received(
        &mut self,
        mut bytes: &[u8],
        decoder: &mut Decoder,
        cx: &mut Context<'_>,
    ) -> Result<(), End> {
        if let Self::Open(open) = self {
            open.heartbeat.received(cx.now);
        }
        loop {
            match self {
                Self::Greeting(greeting) => {
                    let Some(frame) = decoder.next(&mut bytes, cx.frame_limits())? else {
                        return Ok(());
                    };
                    *self = connect(&frame, greeting, cx)?;
                    decoder.set_version(self.version());
                }
                Self::Challenged(login) => {
                    let Some(frame) = decoder.next(&mut bytes, cx.frame_limits())? else {
                        return Ok(());
                    };
                    login.respond(&frame, cx)?;
                    self.transition(Self::LoggingIn);
                }
                Self::LoggingIn(login) => {
                    if !login.unread.add(bytes, cx.came_in) {
                        let detail = "wait for CONNECTED before sending more";
                        return Err(Fault::new(Reason::TooLarge, "too early", detail).into());
                    }
                    return Ok(());
                }
                Self::Open(open) => {
                    if open.is_leaving {
                        return Ok(());
                    }
                    let Some(frame) = decoder.next(&mut bytes, cx.frame_limits())? else {
                        return Ok(());
                    };
                    open.handle_frame(frame, cx)?;
                }
                Self::Closed => return Ok(()),
            }
        }
    }

    /// Changes the state of a login.
    fn transition(&mut self, state: fn(Box<LoggingIn>) -> Self) {
        *self = match mem::replace(self, Self::Closed) {
            Self::LoggingIn(login) | Self::Challenged(login) => state(login),
            other @ (Self::Greeting(_) | Self::Open(_) | Self::Closed) => {
                internal!("a login that is none");
                other
            }
        };
    }

    fn version(&self) -> Version {
        match self {
            Self::Greeting(_) | Self::Closed => Version::V1_0,
            Self::LoggingIn(login) | Self::Challenged(login) => login.version,
            Self::Open(open) => open.version,
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

fn connect(frame: &Frame, greeting: &Greeting, cx: &mut Context<'_>) -> Result<State, Fault> {
    if !matches!(frame.verb, Verb::Connect | Verb::Stomp) {
        return Err(Fault::malformed(
            "not connected",
            format!("{} came before CONNECT: log in first", frame.verb.as_str()),
        )
        .with_receipt(frame.header("receipt")));
    }
    let version = Version::negotiate(frame.header("accept-version"), greeting.newest)
        .ok_or_else(|| no_version(greeting.newest))?;
    let intervals = match frame.header("heart-beat") {
        Some(text) if version > Version::V1_0 => Intervals::parse(text)?,
        _ => Intervals::default(),
    };
    let means = Means::of(frame)?;
    let (until, unread) = (greeting.until, Unread::default());
    let client = frame.header("client-id").unwrap_or_default().into();
    let login = LoggingIn { version, intervals, until, token: Token(0), means, client, unread };
    let with = match (means, &greeting.principal) {
        (Means::Sasl, _) => Login::Sasl {
            mechanism: frame.header(MECHANISM).unwrap_or_default().into(),
            initial: response(frame)?,
        },
        (Means::Password, _) => Login::Password(Credentials {
            name: frame.header("login").unwrap_or_default().into(),
            password: Secret::new(frame.header("passcode").unwrap_or_default()),
        }),
        (Means::Nothing, Some(principal)) => {
            return Ok(State::Open(Box::new(login.accept(principal, &[], cx))));
        }
        (Means::Nothing, None) => Login::Anonymous,
    };
    cx.out.login(login.token, with);
    Ok(State::LoggingIn(Box::new(login)))
}

impl Means {
    fn of(connect: &Frame) -> Result<Self, Fault> {
        let has = |header| connect.header(header).is_some();
        match (has(MECHANISM), has("login")) {
            (true, true) => Err(Fault::malformed(
                "login refused",
                "CONNECT has login and passcode, or sasl-mechanism, not both",
            )),
            (true, false) => Ok(Self::Sasl),
            (false, _) if has(RESPONSE) => Err(Fault::malformed(
                "login refused",
                "sasl-response without a CHALLENGE comes with sasl-mechanism",
            )),
            (false, true) => Ok(Self::Password),
            (false, false) => Ok(Self::Nothing),
        }
    }
}

impl LoggingIn {
    /// Sends the client what the mechanism's server says.
    fn challenge(&self, challenge: &[u8], cx: &mut Context<'_>) {
        cx.send(|to| {
            let mut writer = Writer::begin(to, self.version, Verb::Challenge);
            writer.header("sasl-challenge", &BASE64_STANDARD.encode(challenge));
            writer.body(&[]);
        });
    }

    /// Takes what the client says to that.
    fn respond(&mut self, frame: &Frame, cx: &mut Context<'_>) -> Result<(), Fault> {
        let is_connect = matches!(frame.verb, Verb::Connect | Verb::Stomp);
        let Some(response) = response(frame)?.filter(|_| is_connect) else {
            let detail = "after CHALLENGE comes CONNECT with the header sasl-response";
            return Err(
                Fault::malformed("not connected", detail).with_receipt(frame.header("receipt"))
            );
        };
        self.token = Token(self.token.0 + 1);
        cx.out.login(self.token, Login::Response(response));
        Ok(())
    }

    /// Tells the client that it is logged in, and what the mechanism's server says with that.
    fn accept(&self, principal: &Principal, message: &[u8], cx: &mut Context<'_>) -> Open {
        let ours = self.intervals.reply(cx.protocol_limits);
        let session = cx.out.random();
        cx.send(|to| {
            let mut writer = Writer::begin(to, self.version, Verb::Connected);
            writer.header("version", self.version.as_str());
            writer.header("server", SERVER);
            writer.number("session", format_args!("{session:032x}"));
            writer.number("heart-beat", format_args!("{},{}", ours.can, ours.wants));
            if !principal.is_anonymous() {
                writer.header("user-name", &principal.name);
            }
            if !message.is_empty() {
                writer.header("sasl-success", &BASE64_STANDARD.encode(message));
            }
            writer.body(&[]);
        });
        let heartbeat = Heartbeat::new(self.intervals, ours, cx.now);
        let identity = Identity::new(principal, cx.client_rules, self.client.clone());
        Open::new(self.version, heartbeat, identity, self.token.0 + 1)
    }
}

/// What a client says to a mechanism's server.
fn response(frame: &Frame) -> Result<Option<Secret<[u8]>>, Fault> {
    let decode = |text: &str| {
        BASE64_STANDARD.decode(text).map(Secret::new).map_err(|_| {
            Fault::malformed("login refused", "sasl-response is no base64 with its padding")
        })
    };
    frame.header(RESPONSE).map(decode).transpose()
}

fn in_time(until: u64, cx: &Context<'_>) -> Result<(), End> {
    if cx.now.mono_ns < until {
        return Ok(());
    }
    let detail = format!(
        "a connection must be logged in within {} s",
        cx.limits.login_timeout.as_secs_f64()
    );
    Err(Fault::new(Reason::Idle, "login timed out", detail).into())
}

fn no_version(newest: Version) -> Fault {
    let mut names: Vec<_> =
        Version::ALL.iter().filter(|one| **one <= newest).map(|one| one.as_str()).collect();
    names.reverse();
    let names = names.join(",");
    Fault::malformed("no common version", format!("accept-version must name one of {names}"))
        .with_versions(names)
}

fn logged_in(result: Result<Reply, Refusal>, means: Means) -> Result<Step, Fault> {
    match result {
        Err(Refusal::Unauthenticated) if means != Means::Password => {
            let detail = if means == Means::Nothing {
                "log in: CONNECT needs the headers login and passcode here"
            } else {
                "the login: the login or password is wrong; check the name and the password"
            };
            Err(Fault::new(Reason::Unauthenticated, "login refused", detail))
        }
        Ok(Reply::Login(step)) => Ok(*step),
        Ok(Reply::Done | Reply::Drained) => {
            internal!("a login with the reply to a command");
            Err(Fault::new(Reason::Internal, "internal error", "a bug of the gateway"))
        }
        Err(refusal) => Err(Fault::refused("the login", refusal)),
    }
}

const MECHANISM: &str = "sasl-mechanism";
const RESPONSE: &str = "sasl-response";

const SERVER: &str = concat!("passerelle/", env!("CARGO_PKG_VERSION"));
