use std::{fmt, mem, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use contract::{
    ClientRules, Command, ConnectionLimits, Contest, Credentials, Incoming, Input, Kind, Login,
    Notice, Now, Opening, Outbox, Principal, ProtocolLimits, Reason, Refusal, Reply, SameClientId,
    Secret, Step, Strings, Token, internal,
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
/// Greeting ----------> LoggingIn ---+------> Open ------------------------------> Closed
///                                   |          ^ no other connection has it
///                                   +----> Claiming   (with an exclusive client-id)
///     |      challenge |  ^   +---------- refused ---------------------------------^
///     |                v  | CONNECT with a response
///     |             Challenged
///     +------- CONNECT of a peer that the transport knows ------> Open
/// ```
enum State {
    Greeting(Box<Greeting>),
    LoggingIn(Box<LoggingIn>),
    Challenged(Box<LoggingIn>),
    Claiming(Box<Claiming>),
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
    /// The header `selector-strings`.
    strings: Strings,
    /// The header `displace`.
    displaces: Option<bool>,
    /// What was received since that.
    unread: Unread,
}

/// The client is logged in, and waits for the client id that it alone is to have.
struct Claiming {
    login: LoggingIn,
    principal: Principal,
    identity: Option<Box<Identity>>,
    /// What the mechanism's server says.
    message: Vec<u8>,
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
            State::Claiming(claiming) => Some(claiming.login.until),
            State::Open(open) => open.deadline().filter(|_| !self.is_detached),
            State::Closed => None,
        }
    }

    fn incoming(&self) -> Incoming {
        let (partial, unread) = match &self.state {
            State::Open(open) if !open.is_leaving => (self.decoder.partial(), 0),
            // The time for the login bounds it.
            State::LoggingIn(login) => (None, login.unread.memory()),
            State::Claiming(claiming) => (None, claiming.login.unread.memory()),
            State::Greeting(_) | State::Challenged(_) | State::Open(_) | State::Closed => (None, 0),
        };
        Incoming { partial, bytes: self.decoder.partial_memory() + unread }
    }

    fn in_flight_bytes(&self) -> usize {
        match &self.state {
            State::Open(open) => open.pending.bytes(),
            State::Greeting(_)
            | State::LoggingIn(_)
            | State::Challenged(_)
            | State::Claiming(_)
            | State::Closed => 0,
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
                match logged_in(result, login.means)? {
                    Step::Accepted(principal, message) => {
                        self.accept(principal, message, decoder, cx)
                    }
                    Step::Challenge(challenge) => {
                        login.challenge(&challenge, cx);
                        let unread = mem::take(&mut login.unread);
                        self.transition(Self::Challenged);
                        self.received_before(&unread, decoder, cx)
                    }
                }
            }
            (Self::Claiming(claiming), Input::Replied(token, result))
                if token == claiming.login.token =>
            {
                result.map_err(|refusal| Fault::refused("CONNECT", refusal))?;
                let Self::Claiming(claiming) = mem::replace(self, Self::Closed) else {
                    return Ok(());
                };
                let Claiming { mut login, principal, identity, message } = *claiming;
                let unread = mem::take(&mut login.unread);
                *self = Self::Open(Box::new(login.open(&principal, identity, &message, cx)));
                self.received_before(&unread, decoder, cx)
            }
            (Self::Greeting(greeting), Input::Timeout) => in_time(greeting.until, cx),
            (Self::LoggingIn(login) | Self::Challenged(login), Input::Timeout) => {
                in_time(login.until, cx)
            }
            (Self::Claiming(claiming), Input::Timeout) => in_time(claiming.login.until, cx),
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
            (Self::Claiming(_) | Self::Open(_), Input::Notice(Notice::Displaced)) => {
                Err(Fault::new(Reason::Busy, "displaced", DISPLACED).into())
            }
            (Self::Open(open), Input::Timeout) => open.timed_out(cx),
            (
                Self::Greeting(_)
                | Self::LoggingIn(_)
                | Self::Challenged(_)
                | Self::Claiming(_)
                | Self::Open(_),
                Input::Opened | Input::Replied(..) | Input::Delivered(..) | Input::Notice(_),
            ) => Ok(()),
        }
    }

    /// A client is who it says it is. It may have to wait until no other connection has its client id.
    fn accept(
        &mut self,
        principal: Principal,
        message: Vec<u8>,
        decoder: &mut Decoder,
        cx: &mut Context<'_>,
    ) -> Result<(), End> {
        let Self::LoggingIn(login) = mem::replace(self, Self::Closed) else {
            internal!("a login that is none");
            return Ok(());
        };
        let mut login = *login;
        let identity = Identity::new(&principal, cx.client_rules, login.client.clone());
        let claimed = identity.as_ref().map_or(Ok(None), |identity| identity.claimed())?;
        if let Some(client) = claimed {
            login.token = Token(login.token.0 + 1);
            let by_default = cx.client_rules.same_client_id == SameClientId::Displace;
            let displaces = login.displaces.unwrap_or(by_default);
            let contest = if displaces { Contest::Displace } else { Contest::Refuse };
            cx.out.command(login.token, Command::Claim(client, contest));
            *self = Self::Claiming(Box::new(Claiming { login, principal, identity, message }));
            return Ok(());
        }
        let unread = mem::take(&mut login.unread);
        *self = Self::Open(Box::new(login.open(&principal, identity, &message, cx)));
        self.received_before(&unread, decoder, cx)
    }

    /// Works on what came during the login.
    fn received_before(
        &mut self,
        unread: &Unread,
        decoder: &mut Decoder,
        cx: &mut Context<'_>,
    ) -> Result<(), End> {
        unread.pieces().try_for_each(|(bytes, kind)| {
            cx.came_in = kind;
            self.received(bytes, decoder, cx)
        })
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
                    let (login, known) = connect(&frame, greeting, cx)?;
                    *self = Self::LoggingIn(Box::new(login));
                    decoder.set_version(self.version());
                    if let Some(principal) = known {
                        self.accept(principal, Vec::new(), decoder, cx)?;
                    }
                }
                Self::Challenged(login) => {
                    let Some(frame) = decoder.next(&mut bytes, cx.frame_limits())? else {
                        return Ok(());
                    };
                    login.respond(&frame, cx)?;
                    self.transition(Self::LoggingIn);
                }
                Self::LoggingIn(login) => return login.wait(bytes, cx),
                Self::Claiming(claiming) => return claiming.login.wait(bytes, cx),
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
            other @ (Self::Greeting(_) | Self::Claiming(_) | Self::Open(_) | Self::Closed) => {
                internal!("a login that is none");
                other
            }
        };
    }

    fn version(&self) -> Version {
        match self {
            Self::Greeting(_) | Self::Closed => Version::V1_0,
            Self::LoggingIn(login) | Self::Challenged(login) => login.version,
            Self::Claiming(claiming) => claiming.login.version,
            Self::Open(open) => open.version,
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// What a CONNECT begins, and who the client is if the transport knows it and it says nothing else.
fn connect(
    frame: &Frame,
    greeting: &Greeting,
    cx: &mut Context<'_>,
) -> Result<(LoggingIn, Option<Principal>), Fault> {
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
    let displaces = match frame.header("displace") {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => return Err(Fault::malformed("bad displace", "displace must be true or false")),
    };
    // What STOMP sends has no types.
    let strings = match frame.header("selector-strings") {
        None | Some("coerced") => Strings::Coerced,
        Some("strict") => Strings::Strict,
        Some(_) => {
            let detail = "selector-strings must be coerced or strict";
            return Err(Fault::malformed("bad selector-strings", detail));
        }
    };
    let login = LoggingIn {
        version,
        intervals,
        until,
        token: Token(0),
        means,
        client,
        strings,
        displaces,
        unread,
    };
    let with = match (means, &greeting.principal) {
        (Means::Sasl, _) => Login::Sasl {
            mechanism: frame.header(MECHANISM).unwrap_or_default().into(),
            initial: response(frame)?,
        },
        (Means::Password, _) => Login::Password(Credentials {
            name: frame.header("login").unwrap_or_default().into(),
            password: Secret::new(frame.header("passcode").unwrap_or_default()),
        }),
        (Means::Nothing, Some(principal)) => return Ok((login, Some(principal.clone()))),
        (Means::Nothing, None) => Login::Anonymous,
    };
    cx.out.login(login.token, with);
    Ok((login, None))
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

    /// Keeps what the client sends until it is logged in.
    fn wait(&mut self, bytes: &[u8], cx: &Context<'_>) -> Result<(), End> {
        if self.unread.add(bytes, cx.came_in) {
            return Ok(());
        }
        let detail = "wait for CONNECTED before sending more";
        Err(Fault::new(Reason::TooLarge, "too early", detail).into())
    }

    /// Tells the client that it is logged in, and what the mechanism's server says with that.
    fn open(
        &self,
        principal: &Principal,
        identity: Option<Box<Identity>>,
        message: &[u8],
        cx: &mut Context<'_>,
    ) -> Open {
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
        Open::new(self.version, self.strings, heartbeat, identity, self.token.0 + 1)
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

const DISPLACED: &str = "another connection of this user has taken over the client-id: one client at a \
    time may have it";

const MECHANISM: &str = "sasl-mechanism";
const RESPONSE: &str = "sasl-response";

const SERVER: &str = concat!("passerelle/", env!("CARGO_PKG_VERSION"));
