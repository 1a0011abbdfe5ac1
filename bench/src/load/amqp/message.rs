use amqp_types::Writer;

/// A message as Qpid JMS sends a `BytesMessage`.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) durable: bool,
    pub(super) to: &'a str,
    /// The kind of its destination, as JMS has it.
    pub(super) to_kind: i8,
    /// Where the reply goes: to a temporary queue.
    pub(super) reply_to: Option<&'a str>,
    pub(super) bytes: usize,
}

pub(super) const QUEUE: i8 = 0;
pub(super) const TOPIC: i8 = 1;
pub(super) const TEMPORARY_QUEUE: i8 = 2;

impl Message<'_> {
    /// Its sections.
    pub(super) fn encode(&self) -> Vec<u8> {
        const HEADER: u8 = 0x70;
        const ANNOTATIONS: u8 = 0x72;
        const PROPERTIES: u8 = 0x73;
        const DATA: u8 = 0x75;
        const BYTES_MESSAGE: i8 = 3;
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.composite(HEADER, |fields| {
            if self.durable {
                fields.bool(true);
            }
        });
        writer.descriptor(ANNOTATIONS);
        writer.map(|map| {
            map.symbol("x-opt-jms-msg-type");
            map.i8(BYTES_MESSAGE);
            map.symbol("x-opt-jms-dest");
            map.i8(self.to_kind);
            if self.reply_to.is_some() {
                map.symbol("x-opt-jms-reply-to");
                map.i8(TEMPORARY_QUEUE);
            }
        });
        writer.composite(PROPERTIES, |fields| {
            fields.string("ID:5a1e2f0c-7d1b-4a6e-9a55-0d5f2c1b7e44:1:1:1-1");
            fields.null();
            fields.string(self.to);
            fields.null();
            fields.string_or_null(self.reply_to);
            fields.null();
            fields.symbol("application/octet-stream");
            fields.null();
            fields.null();
            fields.timestamp(1_796_000_000_000);
        });
        writer.descriptor(DATA);
        writer.binary(&vec![b'x'; self.bytes]);
        bytes
    }
}
