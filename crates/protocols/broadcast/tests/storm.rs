//! Random messages, split anywhere; replies and deliveries in any order.

use broadcast::Broadcast;
use contract::Destination;
use testkit::{Peer, Random, Setup, Storm};

#[global_allocator]
static ALLOCATOR: testkit::Counting = testkit::Counting;

#[test]
fn a_session_withstands_a_storm() {
    // It leaves room for the recorder's own note of each token; a message that was kept each time
    // would go far beyond it.
    let storm = Storm::new(Setup::websocket(""), 256 << 10);
    let tally = storm.run(|_, _| Broadcast::new(Destination::hidden("broadcast-1")), words);
    tally.require(tally.commands > 100_000);
    tally.require(tally.deliveries > 10_000);
}

fn words(random: &mut Random, _: &mut Peer) -> Vec<u8> {
    (0..random.below(300)).map(|_| u8::try_from(random.below(256)).unwrap_or(0)).collect()
}
