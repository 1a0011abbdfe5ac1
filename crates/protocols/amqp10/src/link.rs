use std::{collections::VecDeque, sync::Arc};

use contract::{Delivery, Destination, DurableName, Message, SubscriptionId, Tag};

use crate::{
    outcome::Verdict,
    performative::{Channel, Handle, Role},
};

/// Names a link within its connection, and its subscription if it has one; not used again.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct LinkId(pub(crate) u32);

impl LinkId {
    pub(crate) const fn subscription(self) -> SubscriptionId {
        SubscriptionId(self.0)
    }
}

/// A link, of which the peer is the other end.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) channel: Channel,
    /// The same in both directions.
    pub(crate) handle: Handle,
    pub(crate) name: Box<str>,
    pub(crate) state: LinkState,
    /// What was made for the link, and is deleted with it.
    pub(crate) temporary: Option<Destination>,
    pub(crate) end: LinkEnd,
}

/// ```text
///            all is there             the peer's detach
/// Attaching ----------------> Attached ------------------> Closing --the broker's reply--> (gone)
///     |                          |                            ^
///     | refused                  | an error                   | (from Attaching too)
///     +---------> Detached <-----+
///                    | the peer's detach
///                    v
///                  (gone)
/// ```
#[derive(Debug)]
pub(crate) enum LinkState {
    /// The attach that is the reply, but for its beginning, waits for the broker.
    Attaching(Box<[u8]>),
    Attached,
    /// The gateway has sent a detach, and the peer has not.
    Detached,
    /// The peer has sent a detach; it is replied to when the broker has ended the subscription.
    Closing {
        closed: bool,
    },
}

/// The gateway's end of a link.
#[derive(Debug)]
pub(crate) enum LinkEnd {
    Incoming(Incoming),
    Outgoing(Box<Outgoing>),
    /// Of a durable subscription that the peer looks for, to delete it.
    Lookup(DurableName),
}

/// Receives messages.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) node: Node,
    pub(crate) delivery_count: u32,
    /// What is left of what the peer was given.
    pub(crate) credit: u32,
    /// Messages that wait for the broker.
    pub(crate) in_flight: u32,
    /// The peer settles what it sends.
    pub(crate) is_settled: bool,
    /// The peer settles once it has the outcome (receiver-settle-mode second).
    pub(crate) peer_settles: bool,
    pub(crate) assembly: Option<Assembly>,
}

/// Where messages go.
#[derive(Debug)]
pub(crate) enum Node {
    Destination(Destination),
    /// Where each says; the last one.
    Anonymous(Option<(Box<str>, Destination)>),
    Coordinator,
}

/// A message that has come in part.
#[derive(Debug)]
pub(crate) struct Assembly {
    pub(crate) delivery: u32,
    pub(crate) is_settled: bool,
    pub(crate) format: u32,
    pub(crate) transaction: Option<Option<u64>>,
    pub(crate) bytes: Vec<u8>,
}

/// Sends the deliveries of a subscription.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// How many the peer may still be sent.
    pub(crate) credit: u32,
    pub(crate) delivery_count: u32,
    /// How many the broker may still deliver.
    pub(crate) granted: u32,
    pub(crate) drain: Drain,
    /// A queue keeps each until it is settled.
    pub(crate) is_queue: bool,
    /// Each is the peer's when it is sent.
    pub(crate) is_settled: bool,
    /// The broker pays no heed to credit.
    pub(crate) is_pushed: bool,
    /// The durable or shared subscription that it reads.
    pub(crate) subscription: Option<DurableName>,
    /// The temporary destination of this connection that it reads.
    pub(crate) reads: Option<u128>,
    pub(crate) default_outcome: Verdict,
    /// What cannot be sent yet.
    pub(crate) unsent: VecDeque<Unsent>,
    pub(crate) unsent_bytes: usize,
    /// Bytes of what the link itself keeps of a topic: what is unsent, and unsettled in no transaction.
    pub(crate) kept_bytes: usize,
    /// That of the next message of a topic.
    pub(crate) next_order: u32,
    /// Those that are unsettled and in no transaction.
    pub(crate) unsettled: u32,
}

/// The request to use all credit up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Drain {
    /// The peer waits for it.
    pub(crate) is_wanted: bool,
    /// Requests that wait for the broker.
    pub(crate) requested: u32,
    /// Credit was given after the last.
    pub(crate) is_set_since: bool,
}

/// A delivery that is not sent, or not all of it.
#[derive(Debug)]
pub(crate) struct Unsent {
    pub(crate) message: Arc<Message>,
    pub(crate) tag: Option<Tag>,
    pub(crate) redeliveries: u32,
    /// Where it stands among those of a topic, as a serial number.
    pub(crate) order: u32,
    pub(crate) progress: Option<Progress>,
}

/// How far it is sent.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) delivery: u32,
    /// What stands before what others are sent too.
    pub(crate) header: Vec<u8>,
    pub(crate) sent: usize,
}

impl Incoming {
    pub(crate) const fn new(node: Node, delivery_count: u32, is_settled: bool) -> Self {
        Self {
            node,
            delivery_count,
            credit: 0,
            in_flight: 0,
            is_settled,
            peer_settles: false,
            assembly: None,
        }
    }
}

impl Incoming {
    /// What it has of the credit of its connection.
    pub(crate) const fn used(&self) -> u32 {
        self.credit + self.in_flight
    }
}

impl Outgoing {
    /// One that has sent nothing, of messages that are the peer's at once.
    pub(crate) const fn new(default_outcome: Verdict) -> Self {
        Self {
            credit: 0,
            delivery_count: 0,
            granted: 0,
            drain: Drain { is_wanted: false, requested: 0, is_set_since: false },
            is_queue: false,
            is_settled: true,
            is_pushed: false,
            subscription: None,
            reads: None,
            default_outcome,
            unsent: VecDeque::new(),
            unsent_bytes: 0,
            kept_bytes: 0,
            next_order: 0,
            unsettled: 0,
        }
    }
}

impl Unsent {
    pub(crate) fn new(delivery: &Delivery, order: u32) -> Self {
        Self {
            message: Arc::clone(&delivery.message),
            tag: delivery.tag,
            redeliveries: delivery.redeliveries,
            order,
            progress: None,
        }
    }
}

impl Link {
    /// The gateway's role.
    pub(crate) const fn role(&self) -> Role {
        match self.end {
            LinkEnd::Incoming(_) => Role::Receiver,
            LinkEnd::Outgoing(_) | LinkEnd::Lookup(_) => Role::Sender,
        }
    }

    pub(crate) const fn outgoing(&self) -> Option<&Outgoing> {
        match &self.end {
            LinkEnd::Outgoing(outgoing) => Some(outgoing),
            LinkEnd::Incoming(_) | LinkEnd::Lookup(_) => None,
        }
    }

    pub(crate) const fn outgoing_mut(&mut self) -> Option<&mut Outgoing> {
        match &mut self.end {
            LinkEnd::Outgoing(outgoing) => Some(outgoing),
            LinkEnd::Incoming(_) | LinkEnd::Lookup(_) => None,
        }
    }

    pub(crate) const fn incoming(&self) -> Option<&Incoming> {
        match &self.end {
            LinkEnd::Incoming(incoming) => Some(incoming),
            LinkEnd::Outgoing(_) | LinkEnd::Lookup(_) => None,
        }
    }

    pub(crate) const fn incoming_mut(&mut self) -> Option<&mut Incoming> {
        match &mut self.end {
            LinkEnd::Incoming(incoming) => Some(incoming),
            LinkEnd::Outgoing(_) | LinkEnd::Lookup(_) => None,
        }
    }
}
