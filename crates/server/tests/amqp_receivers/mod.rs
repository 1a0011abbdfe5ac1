//! A large message to a thousand receivers of AMQP that read nothing stays in memory once.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use amqp_types::Writer;

use crate::{MIB, MORE_MAX, SUBSCRIBERS, bytes_sent, connect, memory, start};

#[test]
fn a_body_for_many_receivers_is_in_memory_once() {
    for settled in [true, false] {
        for frame_bytes_max in [16 << 10, 64 << 10, u32::MAX] {
            stall(settled, frame_bytes_max);
        }
    }
}

fn stall(settled: bool, frame_bytes_max: u32) {
    let shown = format!("settled: {settled}, frames of {frame_bytes_max}");
    let gateway = start();
    let mut receivers = Vec::new();
    for _ in 0..SUBSCRIBERS {
        let mut stream = open(gateway.plain, frame_bytes_max, true, settled);
        wait_for(&mut stream, &[0, 0x53, ATTACH]);
        receivers.push(stream);
    }
    let mut sender = open(gateway.plain, frame_bytes_max, false, false);
    // The credit.
    wait_for(&mut sender, &[0, 0x53, FLOW]);
    let before = memory(&gateway);
    let body: Vec<u8> = (0..MIB).map(|n| u8::try_from(n / 7 % 251).unwrap()).collect();
    send(&mut sender, &body);
    wait_for(&mut sender, &[0, 0x53, DISPOSITION]);
    // The core responds to this when it has written what can be.
    let sent = bytes_sent(&gateway);
    let more = memory(&gateway).saturating_sub(before);
    println!("{shown}: {} KiB more, {} KiB sent", more >> 10, sent >> 10);
    // Of what each is to have the kernel takes a part.
    assert!(sent < SUBSCRIBERS * MIB * 9 / 10, "{shown}: {sent} bytes sent");
    assert!(more <= MIB + MORE_MAX, "{shown}: {more} bytes more");
    for receiver in receivers.iter_mut().step_by(499) {
        assert!(receive(receiver).ends_with(&body), "{shown}");
    }
}

/// A connection with a link: to or from a topic.
fn open(to: SocketAddr, frame_bytes_max: u32, receives: bool, settled: bool) -> TcpStream {
    let mut stream = connect(to);
    let mut bytes = b"AMQP\0\x01\0\0".to_vec();
    frame(&mut bytes, OPEN, &[], |fields| {
        fields.string(&format!("container-{}", stream.local_addr().unwrap().port()));
        fields.string("localhost");
        fields.u32(frame_bytes_max);
    });
    frame(&mut bytes, BEGIN, &[], |fields| {
        fields.null();
        fields.u32(0);
        fields.u32(100_000);
        fields.u32(100_000);
    });
    frame(&mut bytes, ATTACH, &[], |fields| {
        fields.string("link");
        fields.u32(0);
        fields.bool(receives);
        fields.u8(if receives { u8::from(settled) } else { 2 });
        fields.u8(0);
        let node = |fields: &mut Writer<'_>, is_topic: bool, code: u8, nulls: usize| {
            fields.composite(code, |node| {
                node.string(if is_topic { "large" } else { "client" });
                (0..nulls).for_each(|_| node.null());
                if is_topic {
                    node.symbol("topic");
                }
            });
        };
        node(fields, receives, 0x28, 9);
        node(fields, !receives, 0x29, 5);
        fields.null();
        fields.null();
        fields.u32(0);
    });
    if receives {
        frame(&mut bytes, FLOW, &[], |fields| {
            for number in [0, 100_000, 0, 100_000, 0, 0, 10] {
                fields.u32(number);
            }
        });
    }
    stream.write_all(&bytes).unwrap();
    stream
}

fn send(stream: &mut TcpStream, body: &[u8]) {
    let mut message = vec![0, 0x53, 0x75, 0xb0];
    message.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
    message.extend(body);
    let mut pieces = message.chunks(60_000).peekable();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next() {
        let more = pieces.peek().is_some();
        frame(&mut bytes, TRANSFER, piece, |fields| {
            fields.u32(0);
            fields.u32(0);
            fields.binary(b"tag");
            fields.u32(0);
            fields.bool(false);
            fields.bool(more);
        });
    }
    stream.write_all(&bytes).unwrap();
}

/// Appends a frame.
fn frame(to: &mut Vec<u8>, code: u8, payload: &[u8], write: impl FnOnce(&mut Writer<'_>)) {
    let mut body = Vec::new();
    Writer::new(&mut body).composite(code, write);
    body.extend(payload);
    to.extend(u32::try_from(body.len() + 8).unwrap().to_be_bytes());
    to.extend([2, 0, 0, 0]);
    to.extend(body);
}

/// The sections of the next message.
fn receive(stream: &mut TcpStream) -> Vec<u8> {
    let mut message = Vec::new();
    loop {
        let mut size = [0; 4];
        stream.read_exact(&mut size).unwrap();
        let mut rest = vec![0; u32::from_be_bytes(size) as usize - 4];
        stream.read_exact(&mut rest).unwrap();
        let body = rest.get(4..).unwrap();
        let Some(&[0, 0x53, TRANSFER, 0xc0, len]) = body.first_chunk() else { continue };
        let fields = body.get(6..5 + usize::from(len)).unwrap();
        message.extend(body.get(5 + usize::from(len)..).unwrap());
        // `more` is the last field that is there.
        if *fields.last().unwrap() != 0x41 || body.get(5) != Some(&6) {
            return message;
        }
    }
}

/// Reads what comes, until this is in it; nothing large follows.
fn wait_for(stream: &mut TcpStream, what: &[u8]) {
    let mut received = Vec::new();
    let mut buffer = [0; 512];
    while !received.windows(what.len()).any(|window| window == what) {
        let len = stream.read(&mut buffer).unwrap();
        assert!(len > 0, "closed after {:?}", String::from_utf8_lossy(&received));
        received.extend(buffer.get(..len).unwrap());
    }
}

const OPEN: u8 = 0x10;
const BEGIN: u8 = 0x11;
const ATTACH: u8 = 0x12;
const FLOW: u8 = 0x13;
const TRANSFER: u8 = 0x14;
const DISPOSITION: u8 = 0x15;
