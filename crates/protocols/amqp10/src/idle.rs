use std::time::Duration;

use contract::Now;

/// The times of a connection on which nothing is sent: the peer's, which must not pass, and the
/// gateway's own.
#[derive(Debug)]
pub(crate) struct Idle {
    /// After which something is sent, in nanoseconds; 0: never.
    send_after_ns: u64,
    /// After which the peer is gone.
    receive_within_ns: u64,
    sent_mono_ns: u64,
    received_mono_ns: u64,
}

impl Idle {
    /// What the peer said, in milliseconds, and what the gateway did.
    pub(crate) fn new(peer: Option<u32>, ours: Duration, now: Now) -> Self {
        let send_after_ns = u64::from(peer.unwrap_or(0)) * 1_000_000 / 2;
        let ours_ns = u64::try_from(ours.as_nanos()).unwrap_or(u64::MAX);
        Self {
            send_after_ns,
            // A peer may take half of its time, as it knows half of ours.
            receive_within_ns: ours_ns.saturating_mul(2),
            sent_mono_ns: now.mono_ns,
            received_mono_ns: now.mono_ns,
        }
    }

    pub(crate) const fn sent(&mut self, now: Now) {
        self.sent_mono_ns = now.mono_ns;
    }

    pub(crate) const fn received(&mut self, now: Now) {
        self.received_mono_ns = now.mono_ns;
    }

    pub(crate) const fn send_due(&self, now: Now) -> bool {
        self.send_after_ns > 0
            && now.mono_ns >= self.sent_mono_ns.saturating_add(self.send_after_ns)
    }

    pub(crate) const fn is_silent(&self, now: Now) -> bool {
        self.receive_within_ns > 0
            && now.mono_ns >= self.received_mono_ns.saturating_add(self.receive_within_ns)
    }

    pub(crate) fn deadline(&self) -> Option<u64> {
        let due = |from: u64, after: u64| (after > 0).then(|| from.saturating_add(after));
        let send = due(self.sent_mono_ns, self.send_after_ns);
        let receive = due(self.received_mono_ns, self.receive_within_ns);
        send.into_iter().chain(receive).min()
    }
}
