//! What it costs to read a message that has come: `cargo xtask bench --instructions` counts it.
use std::hint::black_box;

use amqp_types::Writer;
use contract::SendBuffer;

use crate::{
    codes,
    frame::{self, Decoder},
    mapping::{self, Parsed},
    performative::{FrameType, Performative, Transfer},
};

/// A frame with a small `TextMessage` to a queue, as Qpid JMS sends it.
fn frame() -> Vec<u8> {
    let mut frame = SendBuffer::default();
    frame::append(&mut frame, FrameType::Amqp, 1, |to| {
        let mut writer = Writer::new(to.own_mut());
        writer.composite(codes::TRANSFER, |fields| {
            fields.u32(0);
            fields.u32(7);
            fields.binary(&[7]);
            fields.u32(0);
            fields.bool(false);
        });
        writer.composite(codes::HEADER, |fields| fields.bool(true));
        writer.descriptor(codes::MESSAGE_ANNOTATIONS);
        writer.map(|map| {
            map.symbol("x-opt-jms-dest");
            map.i8(0);
            map.symbol("x-opt-jms-msg-type");
            map.i8(5);
        });
        writer.composite(codes::PROPERTIES, |fields| {
            fields.string("ID:5a1e2f0c-7d1b-4a6e-9a55-0d5f2c1b7e44:1:1:1-7");
            fields.null();
            fields.string("orders");
            (0..6).for_each(|_| fields.null());
            fields.timestamp(1_796_000_000_000);
        });
        writer.descriptor(codes::VALUE);
        writer.string("Hello, world");
    });
    frame.to_vec()
}

#[inline(never)]
fn decode<'a>(decoder: &'a mut Decoder, mut bytes: &'a [u8]) -> Option<(Transfer<'a>, Parsed<'a>)> {
    let frame = decoder.next(&mut bytes, 65_536).ok()??;
    let Ok(Performative::Transfer(transfer)) = Performative::read(frame.body) else { return None };
    let parsed = mapping::parse(transfer.payload).ok()?;
    Some((transfer, parsed))
}

/// How often it is read.
const COUNT: usize = 1000;

#[test]
fn a_transfer_of_qpid_jms_is_read() {
    let frame = frame();
    let mut decoder = Decoder::default();
    for _ in 0..COUNT {
        let Some((transfer, parsed)) = decode(&mut decoder, black_box(&frame)) else {
            panic!("it is not read")
        };
        assert_eq!((transfer.delivery_id, parsed.start), (Some(7), 7));
        assert_eq!(parsed.body(transfer.payload).map(<[u8]>::len), Some(17));
        black_box(&parsed);
    }
}
