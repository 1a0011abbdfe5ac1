//! Random frames, in any order and cut anywhere, and random replies of the broker.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

#[expect(unreachable_pub, reason = "the fuzz target has it too")]
#[path = "replay/monitor.rs"]
mod monitor;

use amqp_types::Writer;
use amqp10::{PLAIN_HEADER, SASL_HEADER};
use contract::Principal;
use monitor::Monitored;
use testkit::{Counting, Peer, Random, Setup, Storm, Tally};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn frame(kind: u8, channel: u16, write: impl FnOnce(&mut Writer<'_>), payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, 2, kind];
    bytes.extend(channel.to_be_bytes());
    write(&mut Writer::new(&mut bytes));
    bytes.extend_from_slice(payload);
    let size = u32::try_from(bytes.len()).unwrap();
    bytes[..4].copy_from_slice(&size.to_be_bytes());
    bytes
}

fn number(random: &mut Random) -> u32 {
    match random.below(12) {
        0 => random.pick(&[u32::MAX, u32::MAX - 1, 1 << 31, (1 << 31) - 1, 70_000]),
        1..=3 => u32::try_from(random.below(2000)).unwrap(),
        _ => u32::try_from(random.below(12)).unwrap(),
    }
}

fn symbols(random: &mut Random) -> Vec<&'static str> {
    let all = ["queue", "topic", "temporary-queue", "temporary-topic", "shared", "global", "x"];
    (0..random.below(3)).map(|_| random.pick(&all)).collect()
}

fn terminus(random: &mut Random, to: &mut Writer<'_>, is_source: bool) {
    if random.once_in(12) {
        return to.null();
    }
    let address = random.pick(&["a", "a.b", "topic://t", "queue://q", "a.*", "", "temp"]);
    let is_dynamic = random.once_in(6);
    let (capabilities, durable) = (symbols(random), number(random) % 3);
    let filter = random.pick(&["a = 1", "a = ", "a LIKE '%'"]);
    let (is_copy, has_filter) = (random.once_in(4), random.once_in(4));
    to.composite(if is_source { 0x28 } else { 0x29 }, |fields| {
        if is_dynamic {
            fields.null();
        } else {
            fields.string(address);
        }
        fields.u32(durable);
        fields.null();
        fields.null();
        fields.bool(is_dynamic);
        fields.null();
        if !is_source {
            return fields.symbols(&capabilities);
        }
        if is_copy {
            fields.symbol("copy");
        } else {
            fields.null();
        }
        if has_filter {
            fields.map(|map| {
                map.symbol("jms-selector");
                map.encoded(Some(&{
                    let mut bytes = vec![0, 0x80, 0, 0, 0x46, 0x8c, 0, 0, 0, 4];
                    Writer::new(&mut bytes).string(filter);
                    bytes
                }));
                map.symbol("unknown");
                map.string("x");
            });
        } else {
            fields.null();
        }
        fields.null();
        fields.null();
        fields.symbols(&capabilities);
    });
}

/// Keeps the last transaction that was declared.
fn note_transaction(peer: &mut Peer) {
    let declared = |bytes: &Vec<u8>| {
        let at = bytes.windows(3).position(|part| part == [0x53, 0x33, 0xc0])?;
        let id = bytes.get(at + 7..at + 15)?;
        Some(u64::from_be_bytes(id.try_into().unwrap()))
    };
    if let Some(id) = peer.received.iter().find_map(declared) {
        peer.notes.retain(|note| !note.starts_with("tx"));
        peer.notes.insert(format!("tx{id}"));
    }
}

/// That one, or one of those around it.
fn transaction(random: &mut Random, peer: &Peer) -> u64 {
    let known = peer.notes.iter().find_map(|note| note.strip_prefix("tx")?.parse::<u64>().ok());
    let last = known.unwrap_or(0);
    if random.once_in(4) {
        last.wrapping_add(1).saturating_sub(random.below(4) as u64)
    } else {
        last
    }
}

fn message(random: &mut Random, peer: &Peer, is_control: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes);
    if random.once_in(2) {
        let (durable, ttl) = (random.once_in(2), number(random));
        writer.composite(0x70, |fields| {
            fields.bool(durable);
            fields.u8(9);
            fields.u32(ttl);
        });
    }
    if random.once_in(2) {
        let kind = random.pick(&[0_i8, 1, 2, 9]);
        writer.descriptor(0x72);
        writer.map(|map| {
            map.symbol("x-opt-jms-dest");
            map.i8(kind);
        });
    }
    if random.once_in(2) {
        let to = random.pick(&["a", "topic://b", "a.*"]);
        writer.composite(0x73, |fields| {
            fields.string("ID:1");
            fields.null();
            fields.string(to);
        });
    }
    match if is_control { 1 + random.below(2) } else { random.below(6) } {
        0 => writer.descriptor(0x31),
        1 => {
            writer.descriptor(0x77);
            writer.composite(0x31, |_| {});
        }
        2 => {
            let (id, fail) = (transaction(random, peer), random.once_in(3));
            writer.descriptor(0x77);
            writer.composite(0x32, |fields| {
                fields.binary(&id.to_be_bytes());
                fields.bool(fail);
            });
        }
        3 => {
            writer.descriptor(0x77);
            writer.string("hello");
        }
        _ => {
            let len = random.below(2000);
            writer.descriptor(0x75);
            writer.binary(&vec![7; len]);
        }
    }
    bytes
}

fn state(random: &mut Random, peer: &Peer, to: &mut Writer<'_>) {
    match random.below(8) {
        0 => to.null(),
        1 => to.composite(0x23, |fields| fields.u32(0)),
        2 | 7 => {
            let id = transaction(random, peer);
            to.composite(0x34, |fields| {
                fields.binary(&id.to_be_bytes());
                fields.composite(0x24, |_| {});
            });
        }
        3 => {
            let (failed, undeliverable) = (random.once_in(2), random.once_in(2));
            to.composite(0x27, |fields| {
                fields.bool(failed);
                fields.bool(undeliverable);
            });
        }
        code => to.composite(0x20 + u8::try_from(code).unwrap(), |_| {}),
    }
}

fn garbage(random: &mut Random) -> Vec<u8> {
    let all = [
        frame(0, 0, |to| to.composite(0x14, |fields| fields.u32(0)), b"\0S"),
        frame(0, 0, |to| to.composite(0x99, |_| {}), b""),
        frame(1, 0, |to| to.composite(0x41, |fields| fields.symbol("PLAIN")), b""),
        frame(0, 0, |to| to.string("no composite"), b""),
    ];
    let mut bytes = all[random.below(all.len())].clone();
    let at = random.below(bytes.len());
    bytes[at] = bytes[at].wrapping_add(u8::try_from(random.below(256)).unwrap());
    bytes
}

fn vocabulary(random: &mut Random, peer: &mut Peer) -> Vec<u8> {
    match peer.sent {
        0 => return PLAIN_HEADER.to_vec(),
        1 => {
            let (max_frame, sole) = (random.pick(&[512, 600, 5000, u32::MAX]), random.once_in(2));
            let idle = random.pick(&[0, 1000, 30_000]);
            let open = |to: &mut Writer<'_>| {
                to.composite(0x10, |fields| {
                    fields.string("client");
                    fields.null();
                    fields.u32(max_frame);
                    fields.null();
                    fields.u32(idle);
                    (0..3).for_each(|_| fields.null());
                    if sole {
                        fields.symbol("sole-connection-for-container");
                    }
                });
            };
            return frame(0, 0, open, b"");
        }
        2 | 3 => {
            let channel = u16::try_from(peer.sent - 2).unwrap();
            return frame(0, channel, |to| begin(random, to), b"");
        }
        _ => {}
    }
    note_transaction(peer);
    // A session that the gateway has ended is begun again.
    if let Some(at) = peer.received.iter().position(|bytes| bytes.get(9..11) == Some(&[0x53, 0x17]))
    {
        let bytes = peer.received.remove(at).unwrap();
        let channel = u16::from_be_bytes([bytes[6], bytes[7]]);
        peer.notes.retain(|note| !note.starts_with(&format!("{channel}:")));
        let end = frame(0, channel, |to| to.composite(0x17, |_| {}), b"");
        return [end, frame(0, channel, |to| begin(random, to), b"")].concat();
    }
    let channel = u16::try_from(random.below(2)).unwrap();
    let what = random.below(100);
    // Links are named as they are used: c:h:s where the peer sends, c:h:r where it receives, and c:h:k
    // where it controls transactions.
    let is_sender = (48..=77).contains(&what);
    let is_control = (68..=77).contains(&what);
    let end = if is_control {
        ":k"
    } else if is_sender {
        ":s"
    } else {
        ":r"
    };
    let known: Vec<u32> = peer
        .notes
        .iter()
        .filter(|note| note.starts_with(&format!("{channel}:")))
        .filter(|note| note.ends_with(end) || what >= 93)
        .filter_map(|note| note.split(':').nth(1)?.parse().ok())
        .collect();
    let needs_link = (23..=92).contains(&what) && !(78..=92).contains(&what);
    let what = if needs_link && known.is_empty() { 3 } else { what };
    let handle = if known.is_empty() || random.once_in(200) {
        u32::try_from(random.below(6)).unwrap()
    } else {
        random.pick(&known)
    };
    match what {
        0 if random.once_in(20) => garbage(random),
        1 if random.once_in(20) => frame(0, channel, |to| begin(random, to), b""),
        2 if random.once_in(4) => {
            peer.notes.retain(|note| !note.starts_with(&format!("{channel}:")));
            let end = frame(0, channel, |to| to.composite(0x17, |_| {}), b"");
            [end, frame(0, channel, |to| begin(random, to), b"")].concat()
        }
        3..=22 => {
            let name = format!("link-{}", random.below(30));
            let (role, mode) = (random.once_in(2), u8::try_from(random.below(3)).unwrap());
            let mode = if random.once_in(100) { 3 } else { mode };
            let settles_second = u8::from(random.once_in(4));
            let name = if random.once_in(40) { name.repeat(60) } else { name };
            let count = random.pick(&[0, 0, u32::MAX - 2]);
            let is_free = |handle: &u32| {
                let prefix = format!("{channel}:{handle}:");
                !peer.notes.iter().any(|note| note.starts_with(&prefix))
            };
            let Some(handle) = (0..12).find(is_free) else { return Vec::new() };
            let is_coordinator = !role && random.once_in(3);
            let kind = if role {
                "r"
            } else if is_coordinator {
                "k"
            } else {
                "s"
            };
            peer.notes.insert(format!("{channel}:{handle}:{kind}"));
            frame(
                0,
                channel,
                |to| {
                    to.composite(0x12, |fields| {
                        fields.string(&name);
                        fields.u32(handle);
                        fields.bool(role);
                        fields.u8(mode);
                        fields.u8(settles_second);
                        terminus(random, fields, true);
                        if is_coordinator {
                            fields.composite(0x30, |_| {});
                        } else {
                            terminus(random, fields, false);
                        }
                        fields.null();
                        fields.null();
                        fields.u32(count);
                    });
                },
                b"",
            )
        }
        23..=47 => {
            let fields_of: [u32; 3] = [number(random), number(random), number(random)];
            let (has_link, drain, echo) =
                (!random.once_in(5), random.once_in(4), random.once_in(6));
            let credit = number(random);
            let flow = |to: &mut Writer<'_>| {
                to.composite(0x13, |fields| {
                    let [next, window, count] = fields_of;
                    fields.u32(next);
                    fields.u32(window);
                    fields.u32(0);
                    fields.u32(1000);
                    if !has_link {
                        (0..5).for_each(|_| fields.null());
                    } else {
                        fields.u32(handle);
                        fields.u32(count);
                        fields.u32(credit);
                        fields.null();
                        fields.bool(drain);
                    }
                    fields.bool(echo);
                });
            };
            frame(0, channel, flow, b"")
        }
        48..=77 => {
            let (id, settled) = (number(random), random.once_in(3));
            let more = !is_control && random.once_in(6);
            let aborted = !is_control && random.once_in(30);
            let payload = message(random, peer, is_control);
            frame(
                0,
                channel,
                |to| {
                    to.composite(0x14, |fields| {
                        fields.u32(handle);
                        fields.u32(id);
                        fields.binary(b"tag");
                        fields.u32(0);
                        fields.bool(settled);
                        fields.bool(more);
                        fields.null();
                        if id % 3 == 0 {
                            state(random, peer, fields);
                        } else {
                            fields.null();
                        }
                        fields.null();
                        fields.bool(aborted);
                    });
                },
                &payload,
            )
        }
        78..=92 => {
            let (first, last) = (number(random), number(random));
            let (settled, role) = (random.once_in(2), !random.once_in(8));
            frame(
                0,
                channel,
                |to| {
                    to.composite(0x15, |fields| {
                        fields.bool(role);
                        fields.u32(first);
                        fields.u32(last);
                        fields.bool(settled);
                        state(random, peer, fields);
                    });
                },
                b"",
            )
        }
        93..=97 => {
            let closed = random.once_in(2);
            peer.notes.retain(|note| !note.starts_with(&format!("{channel}:{handle}:")));
            let detach = |to: &mut Writer<'_>| {
                to.composite(0x16, |fields| {
                    fields.u32(handle);
                    fields.bool(closed);
                });
            };
            frame(0, channel, detach, b"")
        }
        _ => frame(0, channel, |_| {}, b""),
    }
}

fn begin(random: &mut Random, to: &mut Writer<'_>) {
    let window = random.pick(&[0, 1, 5, 2048, u32::MAX]);
    let next = random.pick(&[0, 1 << 31, u32::MAX - 3]);
    let handle_max = random.once_in(12).then_some(4);
    to.composite(0x11, |fields| {
        fields.null();
        fields.u32(next);
        fields.u32(window);
        fields.u32(2048);
        fields.u32_or_null(handle_max);
    });
}

/// Makes a frame one that a peer should not send: a value of another type or width, a number of items
/// that is not that of the list, a piece that is missing.
fn spoil(random: &mut Random, bytes: &mut Vec<u8>) {
    let at = 8 + random.below(bytes.len().saturating_sub(8));
    match random.below(4) {
        0 => bytes.truncate(at),
        1 => drop(bytes.splice(at..at, [0x40])),
        _ => {
            let codes = [
                0x00, 0x40, 0x41, 0x43, 0x44, 0x45, 0x52, 0x53, 0x70, 0xa1, 0xc0, 0xd0, 0xf0, 0xff,
            ];
            if let Some(byte) = bytes.get_mut(at) {
                *byte = random.pick(&codes);
            }
        }
    }
    let size = u32::try_from(bytes.len()).unwrap();
    bytes[..4].copy_from_slice(&size.to_be_bytes());
}

/// What an open connection receives, now and then spoilt.
fn hostile(random: &mut Random, peer: &mut Peer) -> Vec<u8> {
    let mut bytes = vocabulary(random, peer);
    if peer.sent > 4 && bytes.len() > 8 && random.once_in(200) {
        spoil(random, &mut bytes);
    }
    bytes
}

#[test]
fn an_open_connection() {
    let mut setup = Setup::stream();
    setup.principal = Some(Principal::new("ann", []));
    let tally = Storm::new(setup, 8 << 20).run(Monitored::open, hostile);
    reached(tally);
}

#[test]
fn a_login() {
    let storm = Storm { seeds: 50, ..Storm::new(Setup::stream(), 8 << 20) };
    let tally = storm.run(Monitored::open, |random, peer| match peer.sent {
        0 => SASL_HEADER.to_vec(),
        1 => {
            let mechanism = random.pick(&["PLAIN", "ANONYMOUS", "SCRAM-SHA-256", "X"]);
            let init = |to: &mut Writer<'_>| {
                to.composite(0x41, |fields| {
                    fields.symbol(mechanism);
                    fields.binary(b"\0ann\0secret");
                });
            };
            frame(1, 0, init, b"")
        }
        2 => PLAIN_HEADER.to_vec(),
        _ if random.once_in(4) => {
            frame(1, 0, |to| to.composite(0x43, |fields| fields.binary(b"x")), b"")
        }
        sent => {
            peer.sent = sent - 2;
            let next = vocabulary(random, peer);
            peer.sent = sent;
            next
        }
    });
    tally.require(tally.sends > 1000);
}

fn reached(tally: Tally) {
    let Tally { sends, commands, transactions, settles, credits, deliveries, .. } = tally;
    tally.require(sends > 10_000 && commands > 10_000);
    tally.require(transactions > 10 && settles > 100 && credits > 1000);
    tally.require(deliveries > 10_000);
}
