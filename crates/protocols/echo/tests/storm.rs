//! Random messages, split anywhere.

use echo::Echo;
use testkit::{Peer, Random, Setup, Storm};

#[global_allocator]
static ALLOCATOR: testkit::Counting = testkit::Counting;

#[test]
fn a_session_withstands_a_storm() {
    // A message that was kept each time would go far beyond it.
    let storm = Storm::new(Setup::websocket(""), 256 << 10);
    let tally = storm.run(|_, _| Echo::default(), words);
    tally.require(tally.sends > 100_000);
}

fn words(random: &mut Random, _: &mut Peer) -> Vec<u8> {
    (0..random.below(300)).map(|_| u8::try_from(random.below(256)).unwrap_or(0)).collect()
}
