//! Who gets what: topics, queues, temporary destinations; pure.
//!
//! There is one [`Shard`] per core. What happens to it is an [`Event`], what is to be done an
//! [`Effect`]; shards talk by [`Parcel`]s, which the driver carries in order and at its leisure.
//!
//! A shard plays two branches. Its *front* knows the connections of its core, and the topics: a
//! publication goes to the subscriptions of this core and, once, to each shard that said it is
//! interested. Its *home* keeps the queues and the temporary destinations whose names fall to it
//! ([`home()`]); the fronts, its own included, talk to it by letters, so that there is one way for
//! everything, with one core and with many.
#![forbid(unsafe_code)]

mod dead_letter;
mod fanout;
mod front;
mod home;
mod link;
mod parcel;
mod placement;
mod queue;
mod shard;
mod stats;
mod temporary;
mod topics;
mod transaction;
mod trie;

pub use parcel::{Parcel, Subscriber};
pub use placement::home;
pub use shard::{Effect, Event, Shard};
pub use stats::{QueueDepth, Stats};
