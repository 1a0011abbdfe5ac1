use std::fmt;

use flate2::{Decompress, FlushDecompress, Status};

use crate::{FrameError, Unread, header::Header, mask};

/// Lends a core's decoders what they need to decompress.
///
/// No context outlives a message (RFC 7692 section 7.1.1), so that a connection holds one, of
/// about 48 KiB, only while it receives a compressed message.
#[derive(Default)]
pub struct InflaterPool {
    #[expect(clippy::vec_box, reason = "a decoder holds the box, so that it stays small")]
    free: Vec<Box<Inflater>>,
    /// Where the piece of a message that was decompressed last stands. Made when first required.
    pub(crate) scratch: Vec<u8>,
}

impl InflaterPool {
    /// An empty pool.
    #[must_use]
    pub const fn new() -> Self {
        Self { free: Vec::new(), scratch: Vec::new() }
    }

    pub(crate) fn lend(&mut self) -> Box<Inflater> {
        self.free.pop().unwrap_or_else(|| Box::new(Inflater::new()))
    }

    pub(crate) fn give_back(&mut self, mut inflater: Box<Inflater>) {
        if self.free.len() < FREE_MAX {
            inflater.reset();
            self.free.push(inflater);
        }
    }
}

impl fmt::Debug for InflaterPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InflaterPool").field("free", &self.free.len()).finish_non_exhaustive()
    }
}

/// Decompresses one message.
pub(crate) struct Inflater {
    stream: Decompress,
    /// Bytes of compressed data so far.
    consumed: u64,
    /// Bytes of the message so far.
    produced: u64,
    /// Whether what was consumed ends with a final block.
    ended: bool,
    /// How much of [`TAIL`] was consumed.
    tail: usize,
}

impl Inflater {
    fn new() -> Self {
        let stream = Decompress::new(false);
        Self { stream, consumed: 0, produced: 0, ended: false, tail: 0 }
    }

    fn reset(&mut self) {
        self.stream.reset(false);
        (self.consumed, self.produced, self.ended, self.tail) = (0, 0, false, 0);
    }

    /// Decompresses from the payload of a frame until the scratch is full or nothing is left.
    /// Counts the bytes in the scratch, also before an error; returns whether they end the message.
    pub(crate) fn inflate(
        &mut self,
        unread: &mut Unread<'_>,
        header: &mut Header,
        message_bytes_max: usize,
        scratch: &mut Vec<u8>,
        filled: &mut usize,
    ) -> Result<bool, FrameError> {
        scratch.resize(SCRATCH_BYTES, 0);
        let bytes_max = message_bytes_max as u64;
        while let Some(room) = scratch.get_mut(*filled..).filter(|room| !room.is_empty()) {
            // One more than may be, so that too much is noticed and stopped there.
            let most = bytes_max.saturating_sub(self.produced).saturating_add(1);
            let most = usize::try_from(most).unwrap_or(usize::MAX).min(room.len());
            let room = room.get_mut(..most).unwrap_or_default();
            let ended = if header.len > 0 {
                let chunk = unread.peek(header.len.min(CHUNK_BYTES));
                if chunk.is_empty() {
                    // What was consumed may hold more than found room the last time.
                    self.step(&[], room, filled)?;
                    return if self.produced > bytes_max {
                        Err(FrameError::MessageTooLarge(message_bytes_max))
                    } else {
                        Ok(false)
                    };
                }
                mask::apply(header.key, chunk);
                let consumed = self.payload(chunk, room, filled)?;
                if let Some(left) = chunk.get_mut(consumed..) {
                    mask::apply(mask::after(header.key, consumed), left);
                }
                let _consumed = unread.take(consumed as u64);
                header.advance(consumed);
                false
            } else if header.last {
                self.end(room, filled)?
            } else {
                return Ok(false);
            };
            if self.produced > bytes_max {
                return Err(FrameError::MessageTooLarge(message_bytes_max));
            }
            if ended {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Decompresses a part of the payload. A final block may be followed by others, which know
    /// nothing of those before it (RFC 7692 section 7.2.3.4).
    fn payload(
        &mut self,
        input: &[u8],
        room: &mut [u8],
        filled: &mut usize,
    ) -> Result<usize, FrameError> {
        if self.ended {
            self.stream.reset(false);
            self.ended = false;
        }
        let consumed = self.step(input, room, filled)?;
        self.consumed += consumed as u64;
        Ok(consumed)
    }

    /// Decompresses what is left when all the payload was consumed; returns whether that is all.
    fn end(&mut self, room: &mut [u8], filled: &mut usize) -> Result<bool, FrameError> {
        if self.tail == 0 && (self.ended || self.consumed == 0) {
            return Ok(true);
        }
        let full = *filled + room.len();
        self.tail += self.step(TAIL.get(self.tail..).unwrap_or_default(), room, filled)?;
        let all = self.tail == TAIL.len();
        if self.ended != all && *filled < full {
            return Err(FrameError::NotDeflate);
        }
        Ok(self.ended && all)
    }

    /// Decompresses once; returns the count of bytes consumed.
    fn step(
        &mut self,
        input: &[u8],
        room: &mut [u8],
        filled: &mut usize,
    ) -> Result<usize, FrameError> {
        let (before_in, before_out) = (self.stream.total_in(), self.stream.total_out());
        let status = self.stream.decompress(input, room, FlushDecompress::None);
        let consumed = count(self.stream.total_in() - before_in);
        let produced = count(self.stream.total_out() - before_out);
        *filled += produced;
        self.produced += produced as u64;
        self.ended = status.map_err(|_| FrameError::NotDeflate)? == Status::StreamEnd;
        let stuck = consumed == 0 && produced == 0 && !input.is_empty() && !self.ended;
        if stuck { Err(FrameError::NotDeflate) } else { Ok(consumed) }
    }
}

/// A part of a slice's length.
fn count(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").field("produced", &self.produced).finish_non_exhaustive()
    }
}

/// The compressed bytes that a message may have: the worst compression of the most it may hold.
pub(crate) fn deflated_bytes_max(message_bytes_max: usize) -> u64 {
    let most = message_bytes_max as u64;
    most.saturating_add(most / 8).saturating_add(64)
}

/// What the sender left out (RFC 7692 section 7.2.2), then a final block with nothing in it: only
/// a message that was whole ends exactly there.
const TAIL: [u8; 6] = [0x00, 0x00, 0xFF, 0xFF, 0x03, 0x00];

/// The memory of an [`Inflater`]: about 43 KiB of state and window, as zlib-rs or miniz have it.
pub(crate) const INFLATER_BYTES: usize = 48 << 10;

/// Bytes that are decompressed into one piece of a message.
const SCRATCH_BYTES: usize = 16 << 10;

/// Compressed bytes unmasked at a time; those that a full scratch leaves over are masked again.
const CHUNK_BYTES: u64 = 4 << 10;

/// Contexts kept for the next messages.
const FREE_MAX: usize = 16;
