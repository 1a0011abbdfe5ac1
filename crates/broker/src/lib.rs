//! Who gets what: topics, queues, temporary destinations; pure.
//!
//! There is one [`Shard`] per core. What happens to it is an [`Event`], what is to be done an
//! [`Effect`]; shards send each other [`ShardMessage`]s, which the driver carries in order.
//!
//! A shard has two parts, which know nothing of each other. Its *front* (`front/`) knows the
//! connections of its core, and the topics: a publication goes to the subscriptions of this core
//! and, once, to each shard that has added its interest. Its *home* (`home/`) keeps the queues and
//! temporary destinations whose names fall to it ([`Placement`]). What they say to each other is in
//! `shard_message.rs`, by direction, and goes the same way whether they are on one core or on two.
//!
//! What must outlive the process goes to the store ([`Effect::Store`]), and what confirms it to a
//! client leaves when it is there ([`Event::Stored`]); `writes.rs` counts what is in flight.
#![forbid(unsafe_code)]

mod attempts;
mod effort;
mod event;
mod front;
mod home;
mod numbers;
mod output;
mod placement;
mod queued;
mod quota;
mod record;
mod shard;
mod shard_message;
mod stats;
mod window;
mod writes;

pub use event::{Effect, Event, Leave, LoadId, OnDisk, Restored, RestoredNumbers};
pub use numbers::Numbers;
pub use placement::Placement;
pub use queued::{QueueId, QueuePosition};
pub use quota::{Account, Ledger, Pool, Quota};
pub use record::{Attempts, Record, RecordBatch, Terms, TransactionId, WriteId};
pub use shard::Shard;
pub use shard_message::{ShardMessage, Subscriber};
pub use stats::{LostDeadLetters, QueueDepth, Shed, SlowSubscription, Stats};
pub use writes::{StoreGate, StoreStats};
