//! What a peer sends, from its first header on, to a connection with a small broker behind it (see
//! `replay`): no panic, nothing behind a close, nothing malformed sent, memory and replies bounded by what
//! came, and the same replies however it is split. Values that are well-formed can be passed over whole.
//!
//! Inputs are mutated frame by frame and value by value, so that what comes of it is AMQP for the most
//! part.
#![no_main]

#[path = "amqp/mutation.rs"]
mod mutation;
#[path = "../../crates/protocols/amqp10/tests/replay/mod.rs"]
mod replay;
#[path = "amqp/tree.rs"]
mod tree;

use libfuzzer_sys::{fuzz_crossover, fuzz_mutator, fuzz_target, fuzzer_mutate};
use replay::{Split, play};
use testkit::{Counting, Random};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fuzz_target!(|stream: &[u8]| {
    if amqp_types::check(stream).is_ok() {
        assert_eq!(amqp_types::skip(&mut wire::Reader::new(stream)), Ok(stream));
    }
    let whole = play(stream, Split::Whole);
    let len = 1 + stream.len() % 61;
    assert!(whole == play(stream, Split::Pieces(len)), "in pieces of {len}");
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut random = Random::new(seed.into());
    if random.once_in(8) {
        return fuzzer_mutate(data, size, max_size);
    }
    let mutated = mutation::mutate(&data[..size], &mut random, |bytes, random| {
        let len = bytes.len();
        bytes.resize(len + 64, 0);
        let max = len + random.below(64) + 1;
        let len = fuzzer_mutate(bytes, len, max);
        bytes.truncate(len);
    });
    put(&mutated, &mut data[..max_size])
});

fuzz_crossover!(|data1: &[u8], data2: &[u8], out: &mut [u8], seed: u32| {
    let mut random = Random::new(seed.into());
    put(&mutation::cross(data1, data2, &mut random), out)
});

fn put(from: &[u8], to: &mut [u8]) -> usize {
    let len = from.len().min(to.len());
    to[..len].copy_from_slice(&from[..len]);
    len
}
