//! The bounds of a service. What a bound is for stands at the bound; each is enforced where its
//! subject is made.

use std::time::Duration;

/// The bounds of a connection, whatever it speaks. Its transport and driver enforce some of them;
/// its session and its shard those of what it uses of the broker.
///
/// A connection takes up to `unsent_bytes_max` for its backlog, and as much for what waits for its
/// subscriptions to topics with credit or a policy, 256 KiB and a message of queues beside, `message_bytes_max` for a message received in part and [`ProtocolLimits::header_bytes_max`] for the header of its frame,
/// `pattern_bytes_max` for the names and selectors of its subscriptions,
/// [`ProtocolLimits::transaction_bytes_max`] for its open transactions, and 1 MiB, a message and a
/// transaction for what waits for replies of the broker ([`crate::Session::in_flight_bytes`]).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectionLimits {
    /// Bytes of one message (a WebSocket message, a STOMP body). Default: 1 MiB.
    pub message_bytes_max: usize,
    /// WebSocket frames of one message; an empty last one does not count. Default: 16,384.
    pub fragments_max: u32,
    /// Time from accept to a successful login. Default: 10 s.
    pub login_timeout: Duration,
    /// Time for the header of a frame, and that a body may take without a byte; zero: any.
    /// Default: 30 s.
    pub assembly_timeout: Duration,
    /// Bytes that must come of a body each second, averaged over that time. Default: 1 KiB.
    pub assembly_bytes_per_second_min: usize,
    /// Time after which a silent WebSocket is pinged, where its subprotocol allows it; as long
    /// again without a pong ends it. Zero: never. Default: 30 s.
    pub ping_interval: Duration,
    /// Bytes waiting for a slow peer before it is closed with [`crate::Reason::Slow`]; the same again,
    /// as [`crate::Message::cost`], of topics for all its subscriptions with a [`crate::SlowPolicy`] or
    /// credit. Default: 4 MiB.
    pub unsent_bytes_max: usize,
    /// Time a peer may take nothing of what waits for it before it is closed with
    /// [`crate::Reason::Slow`]. Default: 30 s.
    pub write_timeout: Duration,
    /// Commands of one session that wait for their replies; no more is read meanwhile, nor while
    /// they take too much ([`crate::Session::in_flight_bytes`]). Default: 1,000.
    pub commands_max: usize,
    /// Subscriptions of one connection. Default: 1,000.
    pub subscriptions_max: usize,
    /// Bytes of the names and selectors of all subscriptions of one connection. Default: 256 KiB.
    pub pattern_bytes_max: usize,
    /// Temporary destinations of one connection. Default: 100.
    pub temporary_max: usize,
    /// Unsettled deliveries of one subscription, whatever it requests; those that an open
    /// transaction settles do not count. Messages that wait for one with
    /// [`crate::SlowPolicy::DropOldest`]. Default: 1,000.
    pub prefetch_max: u32,
    /// Open transactions of one connection, of which each session of JMS has one. Default: 256.
    pub transactions_max: usize,
    /// Messages sent and deliveries settled in one transaction. Default: 10,000.
    pub transaction_operations_max: usize,
}

/// The bounds of a protocol: only the session of a connection knows of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProtocolLimits {
    /// Bytes of the header of a frame: its command line and header lines. Default: 16 KiB.
    pub header_bytes_max: usize,
    /// Headers of one frame. Default: 100.
    pub headers_max: usize,
    /// Shortest heart-beat interval agreed to, in either direction. Default: 1 s.
    pub heartbeat_min: Duration,
    /// Heart-beat interval offered. Default: 30 s.
    pub heartbeat_offer: Duration,
    /// As [`ConnectionLimits::prefetch_max`], where a subscription does not say. Default: 100.
    pub prefetch_default: u32,
    /// Bytes of the messages and settlements of all open transactions of one connection.
    /// Default: 4 MiB.
    pub transaction_bytes_max: usize,
}

/// The bounds of the broker, which all connections share.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BrokerLimits {
    /// Messages of one queue. Default: 100,000.
    pub queue_messages_max: usize,
    /// Memory of the messages of one queue, in bytes ([`crate::Message::cost`] and their entries).
    /// Default: 64 MiB.
    pub queue_bytes_max: usize,
    /// Queues of one core, of which [`Self::queues_reserved`] are temporary ones; dead-letter
    /// queues that a dead letter makes are made beyond it. Default: 10,000.
    pub queues_max: usize,
    /// Deliveries of one message before it goes to the dead-letter queue. Default: 6.
    pub deliveries_max: u32,
    /// Time a publisher waits at a full destination before it is refused. Default: 5 s.
    pub publish_timeout: Duration,
}

impl BrokerLimits {
    /// The part of [`Self::queues_max`] that is kept for temporary queues, so that requests have
    /// replies however many lasting queues there are: a tenth, at least 100, at most half.
    #[must_use]
    pub fn queues_reserved(&self) -> usize {
        (self.queues_max / 10).max(100).min(self.queues_max / 2)
    }
}

/// What all shards of the broker share, and one principal may have of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct QuotaLimits {
    /// Memory of the messages in all queues, in bytes, counted as for one. Default: 1 GiB.
    pub queued_bytes_max: usize,
    /// The same of those that one principal sent. Default: 512 MiB.
    pub queued_bytes_max_per_principal: usize,
    /// Queues that exist because one principal made them. Default: 1,000.
    pub queues_max_per_principal: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            message_bytes_max: 1 << 20,
            fragments_max: 16_384,
            login_timeout: Duration::from_secs(10),
            assembly_timeout: Duration::from_secs(30),
            assembly_bytes_per_second_min: 1 << 10,
            ping_interval: Duration::from_secs(30),
            unsent_bytes_max: 4 << 20,
            write_timeout: Duration::from_secs(30),
            commands_max: 1000,
            subscriptions_max: 1000,
            pattern_bytes_max: 256 << 10,
            temporary_max: 100,
            prefetch_max: 1000,
            transactions_max: 256,
            transaction_operations_max: 10_000,
        }
    }
}

impl ConnectionLimits {
    /// Deliveries that a subscription may have unsettled: what it prefetches, and what some open
    /// transactions settle, each as much as it may.
    #[must_use]
    pub const fn unsettled_max(&self) -> usize {
        let transactions = if self.transactions_max < FULL_TRANSACTIONS {
            self.transactions_max
        } else {
            FULL_TRANSACTIONS
        };
        let in_transactions = transactions.saturating_mul(self.transaction_operations_max);
        in_transactions.saturating_add(self.prefetch_max as usize)
    }
}

/// Open transactions that may be full of the deliveries of one subscription: a session of JMS has one, and
/// another that is being carried out.
const FULL_TRANSACTIONS: usize = 16;

impl Default for ProtocolLimits {
    fn default() -> Self {
        Self {
            header_bytes_max: 16 << 10,
            headers_max: 100,
            heartbeat_min: Duration::from_secs(1),
            heartbeat_offer: Duration::from_secs(30),
            prefetch_default: 100,
            transaction_bytes_max: 4 << 20,
        }
    }
}

impl Default for BrokerLimits {
    fn default() -> Self {
        Self {
            queue_messages_max: 100_000,
            queue_bytes_max: 64 << 20,
            queues_max: 10_000,
            deliveries_max: 6,
            publish_timeout: Duration::from_secs(5),
        }
    }
}

impl Default for QuotaLimits {
    fn default() -> Self {
        Self {
            queued_bytes_max: 1 << 30,
            queued_bytes_max_per_principal: 512 << 20,
            queues_max_per_principal: 1000,
        }
    }
}
