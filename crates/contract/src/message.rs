use std::{fmt, sync::Arc};

use crate::{
    BodyView, Content, Destination, Group, Numbered, Sender, Tag, Value, allocation_bytes,
    cost::shared_bytes,
};

/// A message, in the form every protocol converts from and to.
///
/// The parts are those of AMQP 1.0: a header for the broker, annotations of the gateway, and the
/// sender's content, which no one on the way changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Where it was sent.
    pub to: Destination,
    /// Names it within this gateway: unique, the same for each receiver.
    pub id: u128,
    /// What the broker works by.
    pub header: Header,
    /// What few messages have; no receiver is shown it as something that the sender says.
    pub annotation: Option<Box<Annotation>>,
    /// Who sent it, if its receivers are to know: no sender can write it. Protocols that convert
    /// messages show it as `JMSXUserID`; what came as AMQP stays as it is.
    pub sender: Option<Sender>,
    /// What the sender says.
    pub content: Content,
    /// The memory of `to` is not this message's own. See [`Message::share_name`].
    shares_name: bool,
}

/// What the broker works by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// Whether the message is to survive a restart; `None`: its sender does not say, and the queue that
    /// it enters decides ([`crate::QueueSettings::keeps`]).
    pub durable: Option<bool>,
    /// 0 (lowest) to 9; 4 by default.
    pub priority: u8,
    /// When its time to live is over, in milliseconds since 1970; `None`: never.
    pub expires_unix_ms: Option<u64>,
    /// When the gateway received it, in milliseconds since 1970.
    pub arrived_unix_ms: u64,
    /// How long after that a queue keeps it before it delivers it, in milliseconds: seven weeks at most.
    pub delay_ms: u32,
    /// The group whose messages a queue delivers to one consumer; `None`: it is in none.
    pub group: Option<Group>,
}

impl Message {
    /// A message with a [`Header`] by default, received at this time in milliseconds since 1970.
    #[must_use]
    pub fn new(
        to: Destination,
        id: u128,
        arrived_unix_ms: u64,
        content: impl Into<Content>,
    ) -> Self {
        let (header, content) = (Header::new(arrived_unix_ms), content.into());
        Self { to, id, header, annotation: None, sender: None, content, shares_name: false }
    }

    /// The message as it goes to a dead-letter queue: sent there, without a time to live or a delay.
    #[must_use]
    pub fn into_dead_letter(mut self, to: Destination, dead_letter: DeadLetter) -> Self {
        self.to = to;
        self.shares_name = false;
        self.header.expires_unix_ms = None;
        self.header.delay_ms = 0;
        self.annotation = Some(Box::new(Annotation::DeadLetter(dead_letter)));
        self
    }

    /// Lets the message, if it is in one place only, share the memory of its destination with an
    /// equal one that outlives it, such as the name of the queue that it enters.
    /// [`Message::cost`] does not count that memory.
    pub fn share_name(self: &mut Arc<Self>, to: &Destination) {
        if let Some(message) = Arc::get_mut(self)
            && message.to == *to
        {
            message.to = to.clone();
            message.shares_name = true;
        }
    }

    /// Whether it has expired at this time.
    #[must_use]
    pub fn is_expired(&self, unix_ms: u64) -> bool {
        self.header.expires_unix_ms.is_some_and(|expires| expires <= unix_ms)
    }

    /// Why it is in a dead-letter queue, if the gateway has moved it to one.
    #[must_use]
    pub fn dead_letter(&self) -> Option<&DeadLetter> {
        match self.annotation.as_deref()? {
            Annotation::DeadLetter(dead_letter) => Some(dead_letter),
            Annotation::Numbered(_) => None,
        }
    }

    /// Its number, if its producer numbers its messages.
    #[must_use]
    pub fn numbered(&self) -> Option<&Numbered> {
        match self.annotation.as_deref()? {
            Annotation::Numbered(numbered) => Some(numbered),
            Annotation::DeadLetter(_) => None,
        }
    }

    /// The first property with this name; of [`crate::Sections`] also `type`, `JMSXGroupID` and
    /// `JMSXGroupSeq`, which are fields there.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<Value<'_>> {
        self.content.property(name)
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> BodyView<'_> {
        self.content.body()
    }

    /// Memory that it takes in an [`Arc`], in bytes, were it alone to have what it shares with
    /// others: what bounds and metrics count.
    ///
    /// The name of the queue that a dead letter was in is not counted: all dead letters from there
    /// share it.
    #[must_use]
    pub fn cost(&self) -> usize {
        let to = if self.shares_name { 0 } else { self.to.name.heap_bytes() };
        let annotation = self.annotation.as_ref().map_or(0, |annotation| {
            allocation_bytes(size_of::<Annotation>()) + annotation.heap_bytes()
        });
        let sender = self.sender.as_ref().map_or(0, Sender::heap_bytes);
        shared_bytes(size_of::<Self>()) + to + annotation + sender + self.content.heap_bytes()
    }
}

impl Header {
    /// [`Header::priority`] of a message whose sender named none.
    pub const PRIORITY_DEFAULT: u8 = 4;

    /// That of a message of which nothing is known but when it was received.
    #[must_use]
    pub const fn new(arrived_unix_ms: u64) -> Self {
        Self {
            durable: None,
            priority: Self::PRIORITY_DEFAULT,
            expires_unix_ms: None,
            arrived_unix_ms,
            delay_ms: 0,
            group: None,
        }
    }

    /// When a queue may deliver it first, in milliseconds since 1970; `None`: at once.
    #[must_use]
    pub fn due_unix_ms(&self) -> Option<u64> {
        let due = self.arrived_unix_ms.saturating_add(self.delay_ms.into());
        (self.delay_ms > 0).then_some(due)
    }
}

const _: () = assert!(size_of::<Header>() == 32);

/// What the gateway notes of a message, and no sender can write as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub enum Annotation {
    /// Why it is in a dead-letter queue.
    DeadLetter(DeadLetter),
    /// Its number, for the queues that it is sent to: it is not stored with the message, and a dead
    /// letter has none.
    Numbered(Numbered),
}

impl Annotation {
    fn heap_bytes(&self) -> usize {
        match self {
            Self::DeadLetter(_) => 0,
            Self::Numbered(numbered) => numbered.producer.heap_bytes(),
        }
    }
}

/// How a message came into a dead-letter queue.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeadLetter {
    /// The queue that it was in.
    pub queue: Destination,
    /// Why it did not stay there.
    pub reason: DeadLetterReason,
}

/// Why a message is dead-lettered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DeadLetterReason {
    /// A consumer rejected it.
    Rejected,
    /// It was delivered this many times, and each attempt failed.
    Failed(u32),
}

impl fmt::Display for DeadLetterReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected => f.write_str("rejected"),
            Self::Failed(deliveries) => write!(f, "delivered {deliveries} times without success"),
        }
    }
}

/// A message on its way to one subscription.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The message, shared by all its receivers.
    pub message: Arc<Message>,
    /// What to settle it by; `None` when it is settled without the session.
    pub tag: Option<Tag>,
    /// How many times it was delivered before, to anyone.
    pub redeliveries: u32,
    /// How many messages to the subscription were dropped since its last delivery: replaced by newer
    /// ones, expired while they waited, or without room ([`crate::SlowPolicy`]).
    pub dropped: u32,
}

impl Delivery {
    /// The first delivery of a message that is settled without the session.
    #[must_use]
    pub const fn new(message: Arc<Message>) -> Self {
        Self { message, tag: None, redeliveries: 0, dropped: 0 }
    }
}
