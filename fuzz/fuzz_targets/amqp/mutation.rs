//! Changes of what a peer sends, frame by frame.

use amqp_types::Writer;
use testkit::Random;
use wire::Reader;

use crate::{
    replay::{EVENT, Unit, Units},
    tree::Tree,
};

/// Changes something. `noise` changes bytes.
pub fn mutate(
    stream: &[u8],
    random: &mut Random,
    mut noise: impl FnMut(&mut Vec<u8>, &mut Random),
) -> Vec<u8> {
    let mut frames = frames(stream);
    for _ in 0..=random.below(3) {
        let (one, other) = (random.below(frames.len()), random.below(frames.len() + 1));
        match random.below(12) {
            _ if frames.is_empty() => frames.push(made(random)),
            0 => drop(frames.remove(one)),
            1 => frames.insert(other, frames[one].clone()),
            2 => {
                let other = other.min(frames.len() - 1);
                frames.swap(one, other);
            }
            3 | 4 => frames.insert(other, made(random)),
            5 => {
                noise(&mut frames[one], random);
                let frame = &mut frames[one];
                if !random.once_in(8) {
                    sized(frame);
                }
            }
            6 => frames[one].truncate(8 + random.below(64)),
            7 => {
                // Another channel, type or offset.
                let at = random.pick(&[4, 5, 6, 7, 7, 7]);
                if let Some(byte) = frames[one].get_mut(at) {
                    *byte = random.pick(&[0, 1, 2, 3, 0xff]);
                }
            }
            _ => values(&mut frames[one], random, &mut noise),
        }
    }
    frames.concat()
}

/// The beginning of one, and the end of another.
pub fn cross(first: &[u8], second: &[u8], random: &mut Random) -> Vec<u8> {
    let (mut first, mut second) = (frames(first), frames(second));
    first.truncate(random.below(first.len() + 1));
    second.drain(..random.below(second.len() + 1));
    first.extend(second);
    first.concat()
}

fn frames(stream: &[u8]) -> Vec<Vec<u8>> {
    let framed = |events: &[u8]| frame(EVENT, 0, |to| to.extend_from_slice(events));
    let one = |unit| match unit {
        Unit::Received(bytes) => bytes.to_vec(),
        Unit::Event(events) => framed(events),
    };
    Units(stream).map(one).collect()
}

fn frame(kind: u8, channel: u8, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, 2, kind, 0, channel];
    write(&mut bytes);
    sized(&mut bytes);
    bytes
}

/// Says the size that a frame has.
fn sized(frame: &mut [u8]) {
    let size = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    if let Some(place) = frame.first_chunk_mut() {
        *place = size.to_be_bytes();
    }
}

/// Changes a value of a frame.
fn values(
    bytes: &mut Vec<u8>,
    random: &mut Random,
    noise: &mut impl FnMut(&mut Vec<u8>, &mut Random),
) {
    let Some((header, body)) = bytes.split_at_checked(8) else { return };
    let mut reader = Reader::new(body);
    let mut trees = Vec::new();
    while let Some(tree) = Tree::read(&mut reader) {
        trees.push(tree);
    }
    let mut changed = header.to_vec();
    match random.below(trees.len()) {
        _ if trees.is_empty() => return noise(bytes, random),
        // The performative, for the most part.
        _ if random.once_in(2) => trees[0].mutate(random, noise),
        index => trees[index].mutate(random, noise),
    }
    for tree in &trees {
        tree.write(&mut Writer::new(&mut changed));
    }
    sized(&mut changed);
    *bytes = changed;
}

/// A frame that goes on from where a connection is.
fn made(random: &mut Random) -> Vec<u8> {
    let handle = random.below(3) as u32;
    let id = random.pick(&[0, 1, 2, 3, 10, u32::MAX]);
    let number = random.pick(&[0, 1, 2, 6, 100, 2048, u32::MAX]);
    let (yes, no) = (random.once_in(2), random.once_in(4));
    let channel = u8::from(random.once_in(8));
    let composite = |code, write: &dyn Fn(&mut Writer<'_>)| {
        frame(0, channel, |to| Writer::new(to).composite(code, write))
    };
    match random.below(16) {
        0 => frame(EVENT, 0, |to| {
            let events = 2 * (1 + random.below(3));
            to.extend((0..events).map(|_| random.below(20) as u8));
        }),
        1 => composite(0x10, &|to| {
            to.string("c");
            to.null();
            to.u32(random_frame(id));
        }),
        2 => composite(0x11, &|to| {
            to.null();
            to.u32(id);
            to.u32(number);
            to.u32(number);
        }),
        3..=5 => {
            let address = random.pick(&["q", "topic://t", "topic://a.*", "queue://other"]);
            let (dynamic, coordinator) = (no && yes, random.once_in(4));
            let mode = random.below(3) as u8;
            composite(0x12, &|to| {
                to.string(&format!("link-{handle}"));
                to.u32(handle);
                to.bool(yes);
                to.u8(mode);
                to.null();
                let node = |to: &mut Writer<'_>| {
                    if dynamic {
                        to.null();
                    } else {
                        to.string(address);
                    }
                    to.u32(u32::from(no));
                    to.null();
                    to.null();
                    to.bool(dynamic);
                };
                to.composite(0x28, node);
                if coordinator {
                    to.composite(0x30, |_| {});
                } else {
                    to.composite(0x29, node);
                }
                to.null();
                to.null();
                to.u32(id);
            })
        }
        6..=8 => composite(0x13, &|to| {
            to.u32(id);
            to.u32(number);
            to.u32(0);
            to.u32(number);
            to.u32(handle);
            to.u32(id);
            to.u32(number);
            to.null();
            to.bool(no);
            to.bool(yes && no);
        }),
        9..=11 => {
            let kind = random.below(4);
            let mut bytes = composite(0x14, &|to| {
                to.u32(handle);
                to.u32(id);
                to.binary(&[7]);
                to.u32(0);
                to.bool(yes && no);
                to.bool(no && !yes);
            });
            let mut to = Writer::new(&mut bytes);
            to.descriptor(if kind == 0 { 0x75 } else { 0x77 });
            match kind {
                0 => to.binary(b"body"),
                1 => to.composite(0x31, |_| {}),
                2 => to.composite(0x32, |to| to.binary(&u64::from(1 + id % 3).to_be_bytes())),
                _ => to.string("text"),
            }
            sized(&mut bytes);
            bytes
        }
        12 | 13 => {
            let state = random.pick(&[0x23, 0x24, 0x24, 0x25, 0x26, 0x27, 0x34]);
            composite(0x15, &|to| {
                to.bool(true);
                to.u32(id);
                to.u32(number);
                to.bool(yes);
                to.composite(state, |to| {
                    if state == 0x34 {
                        to.binary(&u64::from(1 + id % 3).to_be_bytes());
                        to.composite(0x24, |_| {});
                    }
                });
            })
        }
        14 => composite(0x16, &|to| {
            to.u32(handle);
            to.bool(yes);
        }),
        _ => composite(if no { 0x18 } else { 0x17 }, &|_| {}),
    }
}

/// A size of frames, most of them possible.
const fn random_frame(id: u32) -> u32 {
    if id == 1 { 0 } else { 512_u32.saturating_add(id) }
}
