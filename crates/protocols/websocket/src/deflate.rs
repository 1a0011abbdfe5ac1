use std::fmt;

use flate2::{Compress, Compression, FlushCompress, Status};

use crate::Deflate;

/// Compresses the messages of all connections of a core.
///
/// No context outlives a message, so that one stream for each size of window is enough; each is
/// made when first required and takes about 440 KiB.
#[derive(Default)]
pub struct Deflater {
    streams: [Option<Box<Compress>>; Deflate::WINDOW_BITS_COUNT],
    scratch: Vec<u8>,
}

impl Deflater {
    /// A deflater that has compressed nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Compresses a whole message, if it is long enough and gets smaller.
    pub(crate) fn deflate(&mut self, agreed: Deflate, message: &[u8]) -> Option<&[u8]> {
        if message.len() < MESSAGE_BYTES_MIN {
            return None;
        }
        self.scratch.clear();
        self.scratch.shrink_to(SCRATCH_BYTES_KEPT);
        // The worst that fixed codes do to a byte are nine bits.
        self.scratch.reserve(message.len() + message.len() / 8 + 64);
        let bits = agreed.server_window_bits();
        let slot = self.streams.get_mut(agreed.window_index())?;
        let stream = slot.get_or_insert_with(|| {
            Box::new(Compress::new_with_window_bits(Compression::fast(), false, bits))
        });
        let status = stream.compress_vec(message, &mut self.scratch, FlushCompress::Sync);
        // Room that is left says that all of it was written.
        let complete = matches!(status, Ok(Status::Ok))
            && stream.total_in() == message.len() as u64
            && self.scratch.len() < self.scratch.capacity();
        if !complete {
            // Not reset: with output unwritten, zlib-rs 0.6.8 panics some messages later.
            *slot = None;
            return None;
        }
        stream.reset();
        let deflated = self.scratch.strip_suffix(&[0x00, 0x00, 0xFF, 0xFF])?;
        (deflated.len() < message.len()).then_some(deflated)
    }
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater").finish_non_exhaustive()
    }
}

/// Shorter messages cost more to compress than they save.
const MESSAGE_BYTES_MIN: usize = 64;

/// More is returned back after a large message.
const SCRATCH_BYTES_KEPT: usize = 64 << 10;
