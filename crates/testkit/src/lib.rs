//! Harnesses that every session's tests use: conversations that read as the protocol does, storms
//! of random input, and an outbox that records.
//!
//! A failed expectation panics, as an assertion does.

mod conversation;
mod memory;
mod model;
mod random;
mod recorder;
mod setup;
mod show;
mod storm;

pub use conversation::conversation;
pub use memory::{Counting, live_bytes};
pub use model::Model;
pub use random::Random;
pub use recorder::{Output, Recorder};
pub use setup::Setup;
pub use show::{parse_bytes, show_bytes};
pub use storm::{Peer, Storm, Tally};
