//! The words and seams of Passerelle: what its parts say to each other.
//!
//! A *connection* is one peer on one transport. A *session* is the protocol logic of a connection.
//! A *subscription* is a session's interest in a [`Pattern`] of destinations. A *delivery* is one
//! message on its way to one subscription. A *shard* is the part of the broker that lives on one
//! core. A *service* is what a path of the configuration leads to.
#![forbid(unsafe_code)]

mod address;
mod assembly;
mod clients;
mod command;
mod content;
mod cost;
mod destination;
mod detection;
mod durable;
mod group;
mod internal;
mod limits;
mod message;
mod name;
mod pattern;
mod principal;
mod producer;
mod properties;
mod queue_rules;
mod reason;
mod relay;
mod sections;
mod selection;
mod send_buffer;
mod session;
mod view;

pub use address::{Address, AddressError};
pub use assembly::{Assembly, Partial};
pub use clients::{ClientName, ClientRules, Contest, SameClientId, Sender};
pub use command::{
    Command, ConflationKey, ConnectionId, Credit, Declare, Ending, Lane, Mode, Operation, Outcome,
    Precedence, Refusal, Reply, SaslError, Settle, Settlement, SlowPolicy, Subscribe,
    SubscriptionId, Tag, Token,
};
pub use content::{Body, BodyView, Content, Parts, Section, Sections, is_text_type};
pub use cost::allocation_bytes;
pub use destination::{Destination, DestinationError, DestinationKind};
pub use detection::Detection;
pub use durable::{Durable, DurableName};
pub use group::Group;
#[doc(hidden)]
pub use internal::report_internal_error;
pub use internal::set_internal_error_hook;
pub use limits::{BrokerLimits, ConnectionLimits, ProtocolLimits, QuotaLimits};
pub use message::{Annotation, DeadLetter, DeadLetterReason, Delivery, Header, Message};
pub use name::Levels;
pub use pattern::{Level, Pattern};
pub use principal::{Credentials, Login, Principal, Secret, Step};
pub use producer::{Numbered, NumberedError, Producer};
pub use properties::{Properties, Value};
pub use queue_rules::{DeadLetters, QueueRules, QueueSettings, Redelivery};
pub use reason::{Reason, STOPPING};
pub use relay::{End, Relay, RelayInput, RelayOutbox};
pub use sections::{AmqpBody, BareProperties, id_text};
pub use selector::{Selector, SelectorError, Strings};
pub use send_buffer::{Piece, SendBuffer, SharedRange};
pub use session::{Data, Incoming, Input, Kind, Notice, Now, Opening, Outbox, Session};
