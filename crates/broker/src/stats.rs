use contract::Pattern;

use crate::{queued::QueueId, shard_message::Subscriber};

/// Counts of one shard. Those named after what happened only grow; the sum over all shards is that
/// of the broker, but for `topics` and `transactions`, which each shard with a part in them counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Connections that have sent a command and are not gone.
    pub connections: usize,
    /// Subscriptions of this core's connections.
    pub subscriptions: usize,
    /// Patterns of topics with an interest, here or on another core.
    pub topics: usize,
    /// Queues at home here, temporary ones included.
    pub queues: usize,
    /// Clients at home here, whose ids connections have.
    pub clients: usize,
    /// Connections refused because another one of the same user had their client id.
    pub clients_refused: u64,
    /// Connections ended because another one wanted their client id.
    pub clients_displaced: u64,
    /// Transactions in flight, as coordinator or as participant.
    pub transactions: usize,
    /// Publications to topics by this core's connections.
    pub topic_published: u64,
    /// Deliveries of those and of others' to this core's subscriptions.
    pub topic_delivered: u64,
    /// Memory of messages to topics that wait for subscriptions here, in bytes.
    pub waiting_bytes: usize,
    /// Messages to topics that were dropped, since no more might wait for a subscription.
    pub topic_dropped: u64,
    /// Messages to topics that were replaced by newer ones while they waited for a subscription.
    pub topic_conflated: u64,
    /// Publications accepted for a queue, dead letters not included.
    pub queue_published: u64,
    /// Deliveries from queues handed to consumers of this core.
    pub queue_delivered: u64,
    /// Messages that left a queue because a consumer has them.
    pub queue_settled: u64,
    /// Messages that expired in a queue, or before they were published to a topic.
    pub expired: u64,
    /// Messages sent to a dead-letter queue.
    pub dead_lettered: u64,
    /// Messages dropped: in a temporary queue that was deleted, dead without a dead-letter queue, or
    /// in a dead-letter queue that was full, if not durable.
    pub dropped: u64,
    /// Those of them that were dead letters in a full dead-letter queue; none was durable.
    pub dead_letters_dropped: u64,
    /// Publications refused because a destination was full.
    pub refused_full: u64,
    /// Messages that did not enter a queue, since they had with the number of their producer.
    pub duplicates: u64,
    /// Messages in queues here that are in the store only.
    pub on_disk: usize,
    /// Messages that were loaded from the store.
    pub loaded: u64,
    /// Messages that the store has and that could not be loaded: their queue goes on without them.
    pub unreadable: u64,
    /// Memory of what is in queues here, in bytes.
    pub queued_bytes: usize,
    /// Publications and transactions refused because the memory of all queues was used up.
    pub refused_memory: u64,
    /// The same, and new queues, because what one principal may have was used up.
    pub refused_principal: u64,
}

/// How full a queue is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct QueueDepth<'a> {
    /// Its name.
    pub name: &'a QueueId,
    /// Messages that wait for a consumer, or for the store.
    pub ready: usize,
    /// Messages that wait for their time: their sender wants them later, or an attempt to deliver them
    /// has failed.
    pub delayed: usize,
    /// Messages that a consumer has not settled, or a transaction not decided.
    pub unsettled: usize,
    /// Memory that all these take, in bytes, their entries in the queue included.
    pub bytes: usize,
    /// Consumers.
    pub consumers: usize,
    /// Publications that wait for room.
    pub blocked: usize,
}

/// What subscriptions to topics lost, because more waited for them on a core than may.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shed {
    /// The last of them.
    pub from: Subscriber,
    /// Messages that were dropped, each counted for each subscription.
    pub dropped: u64,
    /// Subscriptions that ended.
    pub ended: u64,
}

/// Dead letters that were dropped, since their dead-letter queue was full and they were not durable.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LostDeadLetters {
    /// The first of these queues.
    pub queue: QueueId,
    /// How many, in all of them.
    pub count: u64,
}

/// A subscription that gets less than was published, as metrics show it.
#[derive(Clone, Copy, Debug)]
pub struct SlowSubscription<'a> {
    /// Whose it is.
    pub subscriber: Subscriber,
    /// What it subscribes to.
    pub pattern: &'a Pattern,
    /// Messages that were dropped, since no more might wait.
    pub dropped: u64,
    /// Messages that were replaced by newer ones.
    pub conflated: u64,
    /// Messages that wait.
    pub waiting: usize,
}
