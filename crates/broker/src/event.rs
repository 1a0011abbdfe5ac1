use std::sync::Arc;

use contract::{
    Command, ConnectionId, ConnectionLimits, Credit, DeadLetterReason, Delivery, Group, Message,
    Notice, Pattern, Producer, QueueRules, Refusal, Reply, Settle, SubscriptionId, Token,
};

use crate::{
    numbers::Numbers,
    queued::{QueueId, QueuePosition, queued_cost_on_disk},
    quota::Account,
    record::{Attempts, RecordBatch, Terms, WriteId},
    shard_message::{ShardMessage, Subscriber},
};

/// What happens to a shard.
#[derive(Debug)]
pub enum Event {
    /// A connection of this core has these limits; comes before its first command. Without it, those
    /// of the shard apply.
    Opened(ConnectionId, Arc<ConnectionLimits>),
    /// A command of a connection of this core; an [`Effect::Reply`] with the token follows, exactly
    /// once unless the connection ends first. The account is charged for the queues that it makes,
    /// and for what it puts into queues; without one, only the total is.
    Command(ConnectionId, Token, Command, Option<Account>),
    /// As [`contract::Outbox::settle`]; with a token, an [`Effect::Reply`] follows.
    Settle(ConnectionId, Settle, Option<Token>),
    /// As [`contract::Outbox::credit`].
    Credit(ConnectionId, SubscriptionId, Credit),
    /// Ends a subscription of a connection of this core from outside, as
    /// [`Command::Unsubscribe`] does, unless it has ended; an [`Effect::Notice`] follows, or the
    /// reply if the connection unsubscribes meanwhile.
    Cancel(Subscriber, Refusal),
    /// This many more of the deliveries that a connection was handed by [`Effect::Deliver`], in that
    /// order, were written to its socket. That settles them where settlement is automatic; and
    /// [`Effect::Deliver`] hands a connection messages only while less than 256 KiB of them are not
    /// written, and those of a topic to one subscription only while less than 8 KiB are.
    Written(ConnectionId, usize),
    /// A connection sends nothing more, and is sent nothing more but what it was handed:
    /// [`Event::Written`] may still come. Its subscriptions end.
    Closing(ConnectionId, Leave),
    /// A connection has ended: the last event that names it. Without [`Event::Closing`] before, it
    /// was lost. What it was handed and is not written returns to its queues.
    Gone(ConnectionId),
    /// The core wants all publications to these topics from now on, whether it has subscriptions or
    /// not: so a later subscription to them needs no confirmation by the others. For a few topics
    /// that are known beforehand.
    KeepInterest(Pattern),
    /// What is said of queues from now on.
    QueueRules(QueueRules),
    /// The next message from the shard of this core.
    FromShard(u16, ShardMessage),
    /// The store has this batch, and all before it, for good.
    Stored(WriteId),
    /// The store has not taken this batch, and will not; it has all before it, for good. Only one that
    /// does nothing but add may be refused: [`crate::Record::only_add`].
    StoreRefused(WriteId, Refusal),
    /// The store is open, or could not be opened: what waits for that goes on. Comes behind what was in
    /// the store.
    StoreOpened(bool),
    /// A durable subscription was in the store when the process began; comes to all shards, before
    /// the messages in it and before any command.
    Bound(QueueId, Arc<Terms>),
    /// What the store had of a producer when the process began; comes before any command, to the home
    /// of the queue.
    RestoredNumbers(Box<RestoredNumbers>),
    /// A message was in the store when the process began; comes before any command, to the home of
    /// its queue.
    Restored(Box<Restored>),
    /// Messages were in the store when the process began, and their queue has what it works by; comes
    /// before any command, to the home of the queue. Only to a shard with
    /// [`crate::Shard::with_resident_bytes_max`].
    RestoredOnDisk(QueueId, Vec<OnDisk>),
    /// What was to be loaded; `None`: it cannot be read, or is not there any more.
    Loaded(LoadId, QueueId, Vec<(QueuePosition, Option<Arc<Message>>)>),
    /// Time has passed; expected every 100 ms or so.
    Timeout,
    /// Subscriptions that want the latest may be handed as much again, and selectors of subscriptions to
    /// topics may cost as much; expected while
    /// [`crate::Shard::is_turn_used`], after others had their turn.
    Turn,
}

/// A message that the store has kept.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The queue that it is in.
    pub queue: QueueId,
    /// Where in the queue.
    pub position: QueuePosition,
    /// The message.
    pub message: Arc<Message>,
    /// Why it is to leave for the dead-letter queue, if [`crate::Record::DeadLetter`] says so.
    pub dead_letter: Option<DeadLetterReason>,
    /// Those that have failed, as [`crate::Record::Attempted`] says.
    pub attempts: Attempts,
}

/// A producer that numbers its messages, as the store has kept it.
#[derive(Clone, Debug)]
pub struct RestoredNumbers {
    /// The queue that its messages went to.
    pub queue: QueueId,
    /// Who it is.
    pub producer: Producer,
    /// The numbers that have entered.
    pub numbers: Numbers,
}

/// What a queue works by of a message that the store has kept, and that is in no memory yet.
#[derive(Clone, Copy, Debug)]
pub struct OnDisk {
    /// Where in the queue.
    pub position: QueuePosition,
    /// What it takes in the store.
    pub bytes: u32,
    /// When it expires, in milliseconds since 1970.
    pub expires_unix_ms: Option<u64>,
    /// When it may be delivered first, if that was not at once.
    pub due_unix_ms: Option<u64>,
    /// The group that it is in.
    pub group: Option<Group>,
    /// Those that have failed, as [`crate::Record::Attempted`] says.
    pub attempts: Attempts,
}

impl OnDisk {
    /// What it counts with in its queue.
    pub(crate) const fn cost(&self) -> usize {
        queued_cost_on_disk(self.bytes)
    }
}

/// Names a load of one shard.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LoadId(pub u64);

/// How a connection ends, and so what becomes of deliveries that it has not settled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Leave {
    /// As its protocol prescribes, or since the gateway wants that: they are released.
    Orderly,
    /// Otherwise: those that were written count as a failed attempt.
    Lost,
}

/// What a shard wants done.
#[derive(Debug)]
pub enum Effect {
    /// The reply to a command.
    Reply(ConnectionId, Token, Result<Reply, Refusal>),
    /// What a connection is told without having requested it.
    Notice(ConnectionId, Notice),
    /// A message for one subscription.
    Deliver(Subscriber, Delivery),
    /// A publication to a topic, for each of these subscriptions: a delivery without tag or
    /// redeliveries.
    ///
    /// A caller that keeps the list beyond the next [`crate::Shard::apply`] causes it to be copied
    /// when it changes.
    Fanout(Arc<Vec<Subscriber>>, Arc<Message>),
    /// A batch for the store, in order; [`Event::Stored`] follows. The shard does not wait for it
    /// with anything else.
    Store(RecordBatch),
    /// Messages of a queue that the store has are to be loaded; [`Event::Loaded`] follows, with all of
    /// them. The shard does not wait for it with anything else.
    Load(LoadId, QueueId, Vec<QueuePosition>),
    /// The next message for the shard of this core.
    ToShard(u16, ShardMessage),
}
