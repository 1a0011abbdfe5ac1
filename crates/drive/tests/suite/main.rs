//! What every session can rely on, whatever carries it: each scenario runs over TCP, over TLS and with
//! a task that carries the connection, and asserts the same.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test says so by failing")]

#[path = "../common/mod.rs"]
mod common;
mod gateway;
mod peer;
mod scenarios;

use self::{gateway::Transport, scenarios::SCENARIOS};

#[test]
fn over_tcp() {
    run(Transport::Tcp);
}

#[test]
fn over_tls() {
    run(Transport::Tls);
}

#[test]
fn carried_by_a_task() {
    run(Transport::Carried);
}

fn run(transport: Transport) {
    for scenario in SCENARIOS {
        scenario(transport);
    }
}
