//! What connections say to the broker, and what comes back, on one core and on more; `stage.rs` says
//! what the lines mean.

mod buffered;
mod cancelling;
mod clients;
mod delays;
mod durable;
mod groups;
mod precedence;
mod queues;
mod readers;
mod selectors;
mod topics;
mod transactions;
mod undeliverable;
