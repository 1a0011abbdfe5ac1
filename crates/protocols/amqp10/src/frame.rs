use contract::{Kind, Partial, SendBuffer};
use wire::extend_within;

use crate::{
    error::{AmqpError, End, FRAMING_ERROR},
    performative::{Channel, FrameType},
};

/// A whole frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: FrameType,
    pub(crate) channel: Channel,
    /// Its performative, and what follows that; empty to keep the connection alive.
    pub(crate) body: &'a [u8],
}

/// Takes frames out of what is received. One that comes in one piece is not copied.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The frame that has come in part, or has been returned.
    buffer: Vec<u8>,
    is_returned: bool,
    /// Frames that were begun.
    count: u32,
}

impl Decoder {
    /// The next frame; `None`: it is not complete.
    pub(crate) fn next<'d, 'b: 'd>(
        &'d mut self,
        bytes: &mut &'b [u8],
        frame_bytes_max: usize,
    ) -> Result<Option<Frame<'d>>, End> {
        if self.is_returned {
            self.is_returned = false;
            self.buffer.clear();
            self.buffer.shrink_to(KEPT_BYTES);
        }
        if self.buffer.is_empty() {
            if bytes.is_empty() {
                return Ok(None);
            }
            self.count = self.count.wrapping_add(1);
            if let Some(size) = size(bytes, frame_bytes_max)?
                && let Some((frame, rest)) = bytes.split_at_checked(size)
            {
                *bytes = rest;
                return parse(frame).map(Some);
            }
        }
        // First the size, then all of it.
        self.fill(bytes, HEADER_BYTES);
        let Some(size) = size(&self.buffer, frame_bytes_max)? else { return Ok(None) };
        self.fill(bytes, size);
        if self.buffer.len() < size {
            return Ok(None);
        }
        self.is_returned = true;
        parse(&self.buffer).map(Some)
    }

    fn fill(&mut self, bytes: &mut &[u8], len: usize) {
        let missing = len.saturating_sub(self.buffer.len()).min(bytes.len());
        let (taken, rest) = bytes.split_at(missing);
        extend_within(len, &mut self.buffer, taken);
        *bytes = rest;
    }

    /// The frame that has come in part.
    pub(crate) fn partial(&self) -> Option<Partial> {
        if self.is_returned || self.buffer.is_empty() {
            return None;
        }
        let body = self.buffer.len().checked_sub(HEADER_BYTES);
        let body_bytes = body.and_then(|bytes| u32::try_from(bytes).ok());
        Some(Partial { number: self.count, body_bytes })
    }

    pub(crate) const fn memory(&self) -> usize {
        self.buffer.capacity()
    }
}

/// The size that a frame says; `None`: that has not come.
#[inline]
fn size(bytes: &[u8], frame_bytes_max: usize) -> Result<Option<usize>, End> {
    let Some((size, _)) = bytes.split_first_chunk() else { return Ok(None) };
    let size = u32::from_be_bytes(*size) as usize;
    if size < HEADER_BYTES {
        return Err(malformed(format!("a frame has {HEADER_BYTES} bytes at least, not {size}")));
    }
    if size > frame_bytes_max {
        let error = AmqpError::new(
            FRAMING_ERROR,
            format!(
                "a frame of {size} bytes, where one may have {frame_bytes_max} (max-frame-size)"
            ),
        );
        return Err(End::Connection(contract::Reason::TooLarge, error));
    }
    Ok(Some(size))
}

#[inline]
fn parse(frame: &[u8]) -> Result<Frame<'_>, End> {
    let Some((&[_, _, _, _, offset, kind, high, low], _)) = frame.split_first_chunk() else {
        return Err(malformed("a frame without its header"));
    };
    let kind = match kind {
        0 => FrameType::Amqp,
        1 => FrameType::Sasl,
        _ => return Err(malformed(format!("no frames have the type {kind}"))),
    };
    let start = usize::from(offset) * 4;
    let body = frame.get(start..).filter(|_| start >= HEADER_BYTES);
    let body = body.ok_or_else(|| malformed("the data offset of a frame is outside of it"))?;
    Ok(Frame { kind, channel: u16::from_be_bytes([high, low]), body })
}

fn malformed(description: impl Into<String>) -> End {
    End::Connection(contract::Reason::Malformed, AmqpError::new(FRAMING_ERROR, description))
}

/// Appends a frame, of which `write` appends the body.
pub(crate) fn append(
    to: &mut SendBuffer,
    kind: FrameType,
    channel: Channel,
    write: impl FnOnce(&mut SendBuffer),
) {
    let start = to.own().len();
    let before = to.len_from(0);
    let [high, low] = channel.to_be_bytes();
    to.extend_from_slice(&[0, 0, 0, 0, 2, kind as u8, high, low]);
    write(to);
    let size = u32::try_from(to.len_from(0) - before).unwrap_or(u32::MAX);
    if let Some(place) = to.own_mut().get_mut(start..start + 4) {
        place.copy_from_slice(&size.to_be_bytes());
    }
}

/// What is sent on a transport that carries this.
pub(crate) const fn sent_as(kind: Kind) -> Kind {
    match kind {
        Kind::Stream => Kind::Stream,
        Kind::Text | Kind::Binary => Kind::Binary,
    }
}

pub(crate) const HEADER_BYTES: usize = 8;
/// Memory that an idle connection keeps for frames that come in part.
const KEPT_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(bytes: &[u8], split: usize, max: usize) -> Result<Vec<(u16, Vec<u8>)>, End> {
        let mut decoder = Decoder::default();
        let mut all = Vec::new();
        for mut piece in [&bytes[..split], &bytes[split..]] {
            while let Some(frame) = decoder.next(&mut piece, max)? {
                all.push((frame.channel, frame.body.to_vec()));
            }
        }
        Ok(all)
    }

    #[test]
    fn frames_come_in_any_pieces() {
        let mut buffer = SendBuffer::default();
        append(&mut buffer, FrameType::Amqp, 1, |to| to.extend_from_slice(b"hello"));
        append(&mut buffer, FrameType::Amqp, 2, |_| {});
        append(&mut buffer, FrameType::Sasl, 3, |to| to.extend_from_slice(&[7; 600]));
        let bytes = buffer.to_vec();
        for split in 0..=bytes.len() {
            let frames = frames(&bytes, split, 1000).unwrap();
            assert_eq!(frames, [(1, b"hello".to_vec()), (2, vec![]), (3, vec![7; 600])], "{split}");
        }
    }

    #[test]
    fn what_is_no_frame_is_refused_at_once() {
        let cases: &[(&str, &[u8])] = &[
            ("smaller than its header", &[0, 0, 0, 7]),
            ("larger than agreed", &[0, 0, 2, 1]),
            ("an offset in its header", &[0, 0, 0, 8, 1, 0, 0, 0]),
            ("an offset behind its end", &[0, 0, 0, 8, 3, 0, 0, 0]),
            ("no such type", &[0, 0, 0, 8, 2, 9, 0, 0]),
        ];
        for (rule, bytes) in cases {
            for split in 0..=bytes.len() {
                assert!(frames(bytes, split, 512).is_err(), "{rule}");
            }
        }
        assert_eq!(frames(&[0, 0, 0, 12, 3, 0, 0, 0, 1, 2, 3, 4], 5, 512).unwrap(), [(0, vec![])]);
    }
}
