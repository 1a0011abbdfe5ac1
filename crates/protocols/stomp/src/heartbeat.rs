use std::time::Duration;

use contract::{Now, ProtocolLimits};

use crate::fault::Fault;

/// The heart-beat intervals of a connection (§Heart-beating), in nanoseconds; zero: none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heartbeat {
    /// We send something at least this often.
    send_every: u64,
    sent_at: u64,
    /// The peer sends something at least this often; it has twice the time.
    receive_every: u64,
    received_at: u64,
}

/// The header `heart-beat`: how often its sender can send, and how often it wants to receive, in
/// milliseconds; zero: not.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Intervals {
    pub(crate) can: u64,
    pub(crate) wants: u64,
}

impl Intervals {
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse().unwrap_or(u64::MAX))
        };
        text.split_once(',')
            .and_then(|(can, wants)| Some(Self { can: number(can)?, wants: number(wants)? }))
            .ok_or_else(|| {
                Fault::malformed(
                    "bad heart-beat",
                    "heart-beat must be two numbers of milliseconds, as in heart-beat:10000,10000",
                )
            })
    }

    /// The gateway's intervals: what the peer wants, within the limits.
    pub(crate) fn reply(self, limits: &ProtocolLimits) -> Self {
        let ours = |theirs: u64| {
            let offer = millis(limits.heartbeat_offer);
            let least = millis(limits.heartbeat_min).min(offer);
            if theirs == 0 { 0 } else { theirs.clamp(least, offer) }
        };
        Self { can: ours(self.wants), wants: ours(self.can) }
    }
}

impl Heartbeat {
    /// The interval of a direction is the longer of what one side can and the other wants.
    pub(crate) fn new(theirs: Intervals, ours: Intervals, now: Now) -> Self {
        let every = |can: u64, wants: u64| {
            if can == 0 || wants == 0 { 0 } else { can.max(wants).saturating_mul(1_000_000) }
        };
        Self {
            send_every: every(ours.can, theirs.wants),
            sent_at: now.mono_ns,
            receive_every: every(theirs.can, ours.wants),
            received_at: now.mono_ns,
        }
    }

    pub(crate) const fn sent(&mut self, now: Now) {
        self.sent_at = now.mono_ns;
    }

    pub(crate) const fn received(&mut self, now: Now) {
        self.received_at = now.mono_ns;
    }

    /// Both sides count from now on.
    pub(crate) const fn restart(&mut self, now: Now) {
        self.sent_at = now.mono_ns;
        self.received_at = now.mono_ns;
    }

    /// From now on the peer need not send anything.
    pub(crate) const fn expect_nothing(&mut self) {
        self.receive_every = 0;
    }

    /// Whether it is time to send a heart-beat.
    pub(crate) fn send_due(&self, now: Now) -> bool {
        self.send_at().is_some_and(|at| at <= now.mono_ns)
    }

    /// Whether the peer was silent for too long.
    pub(crate) fn receive_due(&self, now: Now) -> bool {
        self.silent_at().is_some_and(|at| at <= now.mono_ns)
    }

    pub(crate) fn deadline(&self) -> Option<u64> {
        [self.send_at(), self.silent_at()].into_iter().flatten().min()
    }

    fn send_at(&self) -> Option<u64> {
        (self.send_every > 0).then(|| self.sent_at.saturating_add(self.send_every))
    }

    fn silent_at(&self) -> Option<u64> {
        let twice = self.receive_every.saturating_mul(2);
        (twice > 0).then(|| self.received_at.saturating_add(twice))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
