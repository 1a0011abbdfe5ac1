#![expect(clippy::wildcard_enum_match_arm, reason = "the types of AMQP are complete")]

use amqp_types::{Fields, Items, TypeError, Value, read};
use wire::Reader;

use crate::{codes, error::End};

/// Names a session within its connection, in one direction.
pub(crate) type Channel = u16;
/// Names a link within its session.
pub(crate) type Handle = u32;

/// What frames are about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum FrameType {
    Amqp = 0,
    Sasl = 1,
}

/// Which end of a link says something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    Sender,
    Receiver,
}

/// What a peer says in a frame.
#[derive(Debug)]
pub(crate) enum Performative<'a> {
    Open(Open<'a>),
    Begin(Begin),
    Attach(Box<Attach<'a>>),
    Flow(Flow),
    Transfer(Transfer<'a>),
    Disposition(Disposition<'a>),
    Detach(Detach),
    End,
    Close,
}

#[derive(Debug)]
pub(crate) struct Open<'a> {
    pub(crate) container_id: &'a str,
    pub(crate) max_frame_size: u32,
    pub(crate) channel_max: Channel,
    pub(crate) idle_time_out: Option<u32>,
    pub(crate) desired: Value<'a>,
}

#[derive(Debug)]
pub(crate) struct Begin {
    pub(crate) remote_channel: Option<u16>,
    pub(crate) next_outgoing_id: u32,
    pub(crate) incoming_window: u32,
    pub(crate) handle_max: u32,
}

#[derive(Debug)]
pub(crate) struct Attach<'a> {
    pub(crate) name: &'a str,
    pub(crate) handle: Handle,
    /// That of the peer.
    pub(crate) role: Role,
    /// 0: unsettled, 1: settled, 2: mixed.
    pub(crate) snd_settle_mode: u8,
    pub(crate) rcv_settle_mode: u8,
    /// Encoded.
    pub(crate) source: Option<&'a [u8]>,
    pub(crate) target: Option<&'a [u8]>,
    pub(crate) initial_delivery_count: u32,
    pub(crate) desired: Value<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    pub(crate) next_incoming_id: Option<u32>,
    pub(crate) incoming_window: u32,
    pub(crate) link: Option<LinkFlow>,
    pub(crate) echo: bool,
}

/// What a flow says of a link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkFlow {
    pub(crate) handle: Handle,
    pub(crate) delivery_count: Option<u32>,
    pub(crate) link_credit: Option<u32>,
    pub(crate) drain: bool,
}

#[derive(Debug)]
pub(crate) struct Transfer<'a> {
    pub(crate) handle: Handle,
    pub(crate) delivery_id: Option<u32>,
    pub(crate) message_format: u32,
    pub(crate) settled: Option<bool>,
    pub(crate) more: bool,
    /// Encoded.
    pub(crate) state: Option<&'a [u8]>,
    pub(crate) resume: bool,
    pub(crate) aborted: bool,
    /// What follows it.
    pub(crate) payload: &'a [u8],
}

#[derive(Debug)]
pub(crate) struct Disposition<'a> {
    pub(crate) role: Role,
    pub(crate) first: u32,
    pub(crate) last: u32,
    pub(crate) settled: bool,
    /// Encoded.
    pub(crate) state: Option<&'a [u8]>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Detach {
    pub(crate) handle: Handle,
    pub(crate) closed: bool,
}

impl<'a> Performative<'a> {
    /// Reads the body of a frame, which is not empty.
    pub(crate) fn read(body: &'a [u8]) -> Result<Self, End> {
        let (code, fields, payload) = split(body)?;
        Ok(match code {
            codes::TRANSFER => Self::Transfer(Transfer::read(fields, payload)?),
            codes::DISPOSITION => Self::Disposition(Disposition::read(fields)?),
            codes::FLOW => Self::Flow(Flow::read(fields)?),
            codes::OPEN => Self::Open(Open::read(fields)?),
            codes::BEGIN => Self::Begin(Begin::read(fields)?),
            codes::ATTACH => Self::Attach(Box::new(Attach::read(fields)?)),
            codes::DETACH => Self::Detach(Detach::read(fields)?),
            codes::END => Self::End,
            codes::CLOSE => Self::Close,
            _ => return Err(End::decode(format!("0x{code:02x} is the code of no performative"))),
        })
    }
}

/// The code of the composite that a body begins with, its fields, and what follows it.
pub(crate) fn split(body: &[u8]) -> Result<(u8, Fields<'_>, &[u8]), End> {
    // As nearly all begin.
    if let &[0, 0x53, code, 0xc0, size, ..] = body
        && let Some((list, payload)) = body.split_at_checked(5 + usize::from(size))
        && let Some(list) = list.get(3..)
    {
        return Ok((code, Fields::of(list)?, payload));
    }
    let mut reader = Reader::new(body);
    if reader.u8() != Some(0) {
        return Err(End::decode("a frame's body begins with a described list"));
    }
    let code = codes::code(amqp_types::descriptor(&mut reader)?);
    let Value::List(list) = read(&mut reader)? else {
        return Err(End::decode("a frame's body begins with a described list"));
    };
    let code = code.ok_or_else(|| End::decode("a performative that does not exist"))?;
    Ok((code, Fields::new(list), reader.rest()))
}

/// The code and the fields of a composite, such as a delivery state.
pub(crate) fn composite(encoded: &[u8]) -> Result<(Option<u8>, Fields<'_>), TypeError> {
    match read(&mut Reader::new(encoded))? {
        Value::Described(descriptor, inner) => Ok((codes::code(descriptor), Fields::of(inner)?)),
        _ => Err(TypeError::Field),
    }
}

const fn role(is_receiver: bool) -> Role {
    if is_receiver { Role::Receiver } else { Role::Sender }
}

fn must<T>(field: Option<T>) -> Result<T, TypeError> {
    field.ok_or(TypeError::Missing)
}

impl<'a> Open<'a> {
    fn read(mut fields: Fields<'a>) -> Result<Self, TypeError> {
        let container_id = must(fields.string()?)?;
        fields.skip(1)?;
        let max_frame_size = fields.u32()?.unwrap_or(u32::MAX);
        let channel_max = fields.u16()?.unwrap_or(u16::MAX);
        let idle_time_out = fields.u32()?;
        fields.skip(3)?;
        let desired = fields.value()?;
        Ok(Self { container_id, max_frame_size, channel_max, idle_time_out, desired })
    }
}

impl Begin {
    fn read(mut fields: Fields<'_>) -> Result<Self, TypeError> {
        let remote_channel = fields.u16()?;
        let next_outgoing_id = must(fields.u32()?)?;
        let incoming_window = must(fields.u32()?)?;
        must(fields.u32()?)?;
        let handle_max = fields.u32()?.unwrap_or(u32::MAX);
        Ok(Self { remote_channel, next_outgoing_id, incoming_window, handle_max })
    }
}

impl<'a> Attach<'a> {
    fn read(mut fields: Fields<'a>) -> Result<Self, TypeError> {
        let name = must(fields.string()?)?;
        let handle = must(fields.u32()?)?;
        let role = role(must(fields.bool()?)?);
        let snd_settle_mode = fields.u8()?.unwrap_or(2);
        let rcv_settle_mode = fields.u8()?.unwrap_or(0);
        let (source, target) = (fields.encoded()?, fields.encoded()?);
        fields.skip(2)?;
        let initial_delivery_count = fields.u32()?.unwrap_or(0);
        fields.skip(2)?;
        let desired = fields.value()?;
        Ok(Self {
            name,
            handle,
            role,
            snd_settle_mode,
            rcv_settle_mode,
            source,
            target,
            initial_delivery_count,
            desired,
        })
    }
}

impl Flow {
    fn read(mut fields: Fields<'_>) -> Result<Self, TypeError> {
        let next_incoming_id = fields.u32()?;
        let incoming_window = must(fields.u32()?)?;
        must(fields.u32()?)?;
        must(fields.u32()?)?;
        let handle = fields.u32()?;
        let (delivery_count, link_credit) = (fields.u32()?, fields.u32()?);
        fields.skip(1)?;
        let drain = fields.bool()?.unwrap_or(false);
        let echo = fields.bool()?.unwrap_or(false);
        let link = handle.map(|handle| LinkFlow { handle, delivery_count, link_credit, drain });
        Ok(Self { next_incoming_id, incoming_window, link, echo })
    }
}

impl<'a> Transfer<'a> {
    fn read(mut fields: Fields<'a>, payload: &'a [u8]) -> Result<Self, TypeError> {
        let handle = must(fields.u32()?)?;
        let delivery_id = fields.u32()?;
        fields.binary()?;
        let message_format = fields.u32()?.unwrap_or(0);
        let settled = fields.bool()?;
        let mut transfer = Self {
            handle,
            delivery_id,
            message_format,
            settled,
            more: false,
            state: None,
            resume: false,
            aborted: false,
            payload,
        };
        // Seldom.
        if !fields.is_empty() {
            transfer.read_more(fields)?;
        }
        Ok(transfer)
    }

    fn read_more(&mut self, mut fields: Fields<'a>) -> Result<(), TypeError> {
        self.more = fields.bool()?.unwrap_or(false);
        fields.u8()?;
        self.state = fields.encoded()?;
        self.resume = fields.bool()?.unwrap_or(false);
        self.aborted = fields.bool()?.unwrap_or(false);
        Ok(())
    }
}

impl<'a> Disposition<'a> {
    fn read(mut fields: Fields<'a>) -> Result<Self, TypeError> {
        let role = role(must(fields.bool()?)?);
        let first = must(fields.u32()?)?;
        let last = fields.u32()?.unwrap_or(first);
        let settled = fields.bool()?.unwrap_or(false);
        let state = fields.encoded()?;
        Ok(Self { role, first, last, settled, state })
    }
}

impl Detach {
    fn read(mut fields: Fields<'_>) -> Result<Self, TypeError> {
        let handle = must(fields.u32()?)?;
        let closed = fields.bool()?.unwrap_or(false);
        Ok(Self { handle, closed })
    }
}

/// The items of a map that a field may have.
pub(crate) fn map(value: Option<&[u8]>) -> Result<Option<Items<'_>>, TypeError> {
    match value.map(|encoded| read(&mut Reader::new(encoded))).transpose()? {
        Some(Value::Map(items)) => Ok(Some(items)),
        None | Some(Value::Null) => Ok(None),
        Some(_) => Err(TypeError::Field),
    }
}
