//! The broker as its driver sees it: events in, effects out.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod attempts;
mod clients;
mod conversations;
mod cost;
mod credit;
mod disk;
mod durable;
mod groups;
mod interest;
mod later;
mod latest;
mod limits;
mod memory;
mod opening;
mod paging;
mod producers;
mod quotas;
mod real_store;
mod selectors;
mod simulation;
mod stage;
mod store;
mod waiting;
mod wildcards;
mod world;

#[global_allocator]
static ALLOCATOR: testkit::Counting = testkit::Counting;
