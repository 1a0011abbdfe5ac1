//! The open frames of both sides, with which a connection begins once its peer is logged in.

use std::time::Duration;

use contract::{Command, Principal, Reason, Token};

use crate::{
    codes,
    connection::{Connection, State},
    error::{AmqpError, End, INVALID_FIELD, NOT_ALLOWED},
    identity::Identity,
    idle::Idle,
    open::{CHANNEL_MAX, Context, Open},
    performative,
};

impl Connection {
    pub(crate) fn opened(
        &mut self,
        principal: &Principal,
        open: &performative::Open<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), End> {
        let refuse = |condition, what: &str| {
            Err(End::Connection(Reason::Malformed, AmqpError::new(condition, what)))
        };
        let shortest = self.protocol_limits.heartbeat_min;
        let problem = if open.max_frame_size < MIN_MAX_FRAME_BYTES {
            Some((INVALID_FIELD, "max-frame-size must be 512 or more".to_owned()))
        } else if open
            .idle_time_out
            .is_some_and(|ms| ms > 0 && Duration::from_millis(ms.into()) < shortest)
        {
            let what = format!(
                "an idle-time-out of less than {} s is not kept (limits.heartbeat-min)",
                shortest.as_secs_f64()
            );
            Some((NOT_ALLOWED, what))
        } else {
            None
        };
        if let Some((condition, what)) = problem {
            return refuse(condition, &what);
        }
        let ours = self.protocol_limits.heartbeat_offer;
        let idle = Idle::new(open.idle_time_out, ours, cx.now);
        let mut identity = Identity::new(principal, self.client_rules, open.container_id);
        let frame_bytes_max = (open.max_frame_size as usize).min(SENT_FRAME_BYTES_MAX);
        let is_sole = open.desired.symbols().any(|one| one == SOLE_CONNECTION);
        let claim = if is_sole { identity.claim(self.client_rules) } else { Ok(None) };
        let Ok(claim) = claim else {
            self.send_open(&[], true, cx);
            return refuse(INVALID_FIELD, "the container-id has control characters or is too long");
        };
        identity.is_exclusive = claim.is_some();
        self.token = Token(self.token.0 + 1);
        let opened =
            Open::new(identity, idle, (frame_bytes_max, open.channel_max), self.token.0 + 1);
        match claim {
            Some((client, contest)) => {
                cx.out.command(self.token, Command::Claim(client, contest));
                self.state = State::Claiming(Box::new(opened));
            }
            None => self.go_on(Box::new(opened), cx),
        }
        Ok(())
    }

    /// Says that the connection is open.
    pub(crate) fn go_on(&mut self, open: Box<Open>, cx: &mut Context<'_>) {
        let is_exclusive = open.identity.is_exclusive;
        let capabilities = if is_exclusive { &CAPABILITIES[..] } else { &CAPABILITIES[1..] };
        self.send_open(capabilities, false, cx);
        self.state = State::Open(open);
    }

    /// The gateway's open. `is_refused`: a close follows it, since another connection has the container-id.
    pub(crate) fn send_open(
        &mut self,
        capabilities: &[&str],
        is_refused: bool,
        cx: &mut Context<'_>,
    ) {
        self.has_opened = true;
        let host = &*self.host;
        let offered = self.protocol_limits.heartbeat_offer;
        let idle_ms = u32::try_from(offered.as_millis()).unwrap_or(u32::MAX);
        cx.send(0, |to| {
            to.composite(codes::OPEN, |fields| {
                fields.string(if host.is_empty() { CONTAINER } else { host });
                fields.null();
                fields.u32(u32::try_from(FRAME_BYTES_MAX).unwrap_or(u32::MAX));
                fields.u16(CHANNEL_MAX);
                if idle_ms > 0 {
                    fields.u32(idle_ms);
                } else {
                    fields.null();
                }
                fields.null();
                fields.null();
                fields.symbols(capabilities);
                fields.null();
                fields.map(|map| {
                    map.symbol("product");
                    map.string(CONTAINER);
                    map.symbol("version");
                    map.string(env!("CARGO_PKG_VERSION"));
                    if is_refused {
                        map.symbol("amqp:connection-establishment-failed");
                        map.bool(true);
                    }
                });
            });
        });
    }
}

const CONTAINER: &str = "passerelle";
pub(crate) const CONTAINER_IN_USE: &str =
    "another connection of this user has the same container-id";
const SOLE_CONNECTION: &str = "sole-connection-for-container";
/// What the gateway can do; the first, where the peer has its container-id for itself.
const CAPABILITIES: [&str; 4] =
    [SOLE_CONNECTION, "ANONYMOUS-RELAY", "DELAYED_DELIVERY", "SHARED-SUBS"];

/// The largest frame that a peer may send (max-frame-size), so that a large message comes in pieces.
pub(crate) const FRAME_BYTES_MAX: usize = 64 << 10;
/// The largest that is sent, though a peer takes larger ones: others have their turn between them.
const SENT_FRAME_BYTES_MAX: usize = 256 << 10;
/// The least that a peer must take (part 2, section 2.7.1).
const MIN_MAX_FRAME_BYTES: u32 = 512;
