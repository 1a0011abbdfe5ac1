//! Frames, as far as the load needs them.
use amqp_types::{Descriptor, Fields, TypeError, Value, Writer, descriptor, read};
use wire::Reader;

/// Appends a frame.
pub(super) fn append(
    to: &mut Vec<u8>,
    kind: Kind,
    code: u8,
    payload: &[u8],
    write: impl FnOnce(&mut Writer<'_>),
) {
    let start = to.len();
    to.extend_from_slice(&[0, 0, 0, 0, 2, kind as u8, 0, 0]);
    Writer::new(to).composite(code, write);
    to.extend_from_slice(payload);
    let size = u32::try_from(to.len() - start).unwrap_or(u32::MAX);
    if let Some(place) = to.get_mut(start..start + 4) {
        place.copy_from_slice(&size.to_be_bytes());
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Amqp = 0,
    Sasl = 1,
}

/// What a server says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Said<'a> {
    /// Nothing, to keep the connection alive.
    Nothing,
    /// The result of the login.
    Outcome(Option<u8>),
    Open,
    Begin {
        window: u32,
    },
    Attach {
        /// The server's, which may be another than the client's.
        handle: u32,
        /// The server receives on it.
        receives: bool,
        /// The address of its source.
        source: Option<&'a str>,
    },
    Flow {
        next_incoming: Option<u32>,
        window: u32,
        /// A link, its delivery-count and its credit.
        link: Option<(u32, u32, u32)>,
    },
    Transfer {
        delivery: Option<u32>,
        settled: bool,
        more: bool,
    },
    /// Deliveries were settled; whether all were accepted.
    Disposition {
        first: u32,
        last: u32,
        accepted: bool,
    },
    /// A link, a session or the connection ends.
    Ended,
    /// Mechanisms.
    Other,
}

/// Takes the next frame out of `bytes`; `None`: it is not complete.
pub(super) fn next<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (size, _) = bytes.split_first_chunk()?;
    let (frame, rest) = bytes.split_at_checked(u32::from_be_bytes(*size) as usize)?;
    *bytes = rest;
    let start = usize::from(*frame.get(4)?) * 4;
    frame.get(start..)
}

impl<'a> Said<'a> {
    /// Reads the body of a frame.
    pub(super) fn read(body: &'a [u8]) -> Result<Self, TypeError> {
        if body.is_empty() {
            return Ok(Self::Nothing);
        }
        let mut reader = Reader::new(body.get(1..).unwrap_or_default());
        let code = descriptor(&mut reader)?;
        let Value::List(list) = read(&mut reader)? else { return Err(TypeError::Field) };
        let mut fields = Fields::new(list);
        let Descriptor::Code(code) = code else { return Err(TypeError::Field) };
        Ok(match code {
            0x10 => Self::Open,
            0x11 => {
                fields.skip(2)?;
                Self::Begin { window: fields.u32()?.unwrap_or(0) }
            }
            0x12 => {
                fields.skip(1)?;
                let handle = fields.u32()?.ok_or(TypeError::Missing)?;
                let receives = fields.bool()?.unwrap_or(false);
                fields.skip(2)?;
                let source = fields.encoded()?.map(address).transpose()?.flatten();
                Self::Attach { handle, receives, source }
            }
            0x13 => {
                let next_incoming = fields.u32()?;
                let window = fields.u32()?.unwrap_or(0);
                fields.skip(2)?;
                let (handle, count, credit) = (fields.u32()?, fields.u32()?, fields.u32()?);
                let link = handle.map(|handle| (handle, count.unwrap_or(0), credit.unwrap_or(0)));
                Self::Flow { next_incoming, window, link }
            }
            0x14 => {
                fields.skip(1)?;
                let delivery = fields.u32()?;
                fields.skip(2)?;
                let settled = fields.bool()?.unwrap_or(false);
                let more = fields.bool()?.unwrap_or(false);
                Self::Transfer { delivery, settled, more }
            }
            0x15 => {
                fields.skip(1)?;
                let first = fields.u32()?.ok_or(TypeError::Missing)?;
                let last = fields.u32()?.unwrap_or(first);
                fields.skip(1)?;
                let state = fields.encoded()?;
                Self::Disposition { first, last, accepted: state.is_some_and(is_accepted) }
            }
            0x16..=0x18 => Self::Ended,
            0x44 => Self::Outcome(fields.u8()?),
            _ => Self::Other,
        })
    }
}

fn is_accepted(state: &[u8]) -> bool {
    matches!(read(&mut Reader::new(state)), Ok(Value::Described(Descriptor::Code(0x24), _)))
}

/// The address of a source or target.
fn address(encoded: &[u8]) -> Result<Option<&str>, TypeError> {
    match read(&mut Reader::new(encoded))? {
        Value::Described(_, list) => Fields::of(list)?.string(),
        Value::Null => Ok(None),
        _ => Err(TypeError::Field),
    }
}

pub(super) const OPEN: u8 = 0x10;
pub(super) const BEGIN: u8 = 0x11;
pub(super) const ATTACH: u8 = 0x12;
pub(super) const FLOW: u8 = 0x13;
pub(super) const TRANSFER: u8 = 0x14;
pub(super) const DISPOSITION: u8 = 0x15;
pub(super) const ACCEPTED: u8 = 0x24;
pub(super) const SOURCE: u8 = 0x28;
pub(super) const TARGET: u8 = 0x29;
pub(super) const SASL_INIT: u8 = 0x41;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_they_are_written_and_only_whole() {
        let mut bytes = Vec::new();
        append(&mut bytes, Kind::Amqp, DISPOSITION, &[], |fields| {
            fields.bool(true);
            fields.u32(7);
            fields.u32(9);
            fields.bool(true);
            fields.composite(ACCEPTED, |_| {});
        });
        append(&mut bytes, Kind::Amqp, TRANSFER, b"payload", |fields| {
            fields.u32(0);
            fields.u32(300);
            fields.binary(b"t");
            fields.null();
            fields.bool(true);
        });
        for len in 0..bytes.len() {
            let mut part = bytes.get(..len).unwrap();
            while next(&mut part).is_some() {}
            assert!(part.len() < bytes.len());
        }
        let mut all = bytes.as_slice();
        let said = Said::read(next(&mut all).unwrap()).unwrap();
        assert_eq!(said, Said::Disposition { first: 7, last: 9, accepted: true });
        let said = Said::read(next(&mut all).unwrap()).unwrap();
        assert_eq!(said, Said::Transfer { delivery: Some(300), settled: true, more: false });
        assert_eq!(next(&mut all), None);
        assert_eq!(Said::read(&[]).unwrap(), Said::Nothing);
    }
}
