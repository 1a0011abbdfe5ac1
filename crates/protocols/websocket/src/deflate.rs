use std::fmt;

use bytes::Bytes;
use contract::{SendBuffer, SharedRange};
use flate2::{Compress, Compression, FlushCompress, Status};
use wire::Map;

use crate::Deflate;

/// Compresses the messages of all connections of a core.
///
/// No context outlives a message, so that one stream for each size of window is enough; each is
/// made when first required and takes about 440 KiB.
///
/// What messages share ([`SendBuffer::append_shared`]) is compressed once, to blocks that are shared
/// too: DEFLATE lets one join what was compressed and flushed separately. What stands before and
/// behind it is stored as it is, which costs 5 bytes and no time.
#[derive(Default)]
pub struct Deflater {
    streams: [Option<Box<Compress>>; Deflate::WINDOW_BITS_COUNT],
    scratch: Vec<u8>,
    /// What ranges were compressed to, by their address, their length and the bits of the window.
    shared: Map<(usize, usize, u8), Compressed>,
    /// The memory that this keeps.
    shared_bytes: usize,
}

/// What a shared range was compressed to.
struct Compressed {
    /// Referenced, so that its address stays unique.
    _whole: Bytes,
    /// Whole blocks; `None`: it does not get smaller.
    blocks: Option<Bytes>,
}

impl Deflater {
    /// A deflater that has compressed nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets what it has compressed for several messages. To be called when these have been sent.
    pub fn forget_shared(&mut self) {
        self.shared.clear();
        self.shared_bytes = 0;
    }

    /// Compresses the message that begins behind the first `start` own bytes of `out`, if it is long
    /// enough and gets smaller; `false`: it stays as it is.
    pub(crate) fn deflate(&mut self, agreed: Deflate, out: &mut SendBuffer, start: usize) -> bool {
        if !out.shared_from(start).is_empty() {
            return self.deflate_shared(agreed, out, start);
        }
        let Some(message) = out.own().get(start..) else { return false };
        if message.len() < MESSAGE_BYTES_MIN {
            return false;
        }
        let Some(deflated) = self.compress(agreed, message) else { return false };
        let deflated = deflated.strip_suffix(&FLUSH_MARKER).unwrap_or_default();
        let is_smaller = !deflated.is_empty() && deflated.len() < message.len();
        if is_smaller {
            out.own_mut().truncate(start);
            out.extend_from_slice(deflated);
        }
        is_smaller
    }

    /// As [`Deflater::deflate`], for a message of which others share a part.
    fn deflate_shared(&mut self, agreed: Deflate, out: &mut SendBuffer, start: usize) -> bool {
        let blocks = out.shared_from(start).iter().map(|range| self.blocks_of(agreed, range));
        let Some(blocks) = blocks.collect::<Option<Vec<_>>>() else { return false };
        let own_bytes = out.own().len().saturating_sub(start);
        let stored_bytes =
            own_bytes + (blocks.len() + own_bytes / STORED_BYTES_MAX + 2) * STORE_BYTES;
        let block_bytes: usize = blocks.iter().map(Bytes::len).sum();
        if stored_bytes + block_bytes >= out.len_from(start) {
            return false;
        }
        let mut own = std::mem::take(&mut self.scratch);
        own.clear();
        let ranges = out.take_from(start, &mut own);
        let mut at = 0;
        for (index, (range, blocks)) in ranges.iter().zip(&blocks).enumerate() {
            store(out, own.get(at..range.at).unwrap_or_default());
            at = range.at;
            // The last block of a message ends without its marker (RFC 7692 section 7.2.1).
            let is_last = at == own.len() && index + 1 == ranges.len();
            let marker = if is_last { FLUSH_MARKER.len() } else { 0 };
            out.append_shared(blocks, 0..blocks.len().saturating_sub(marker));
        }
        if let Some(end) = own.get(at..).filter(|end| !end.is_empty()) {
            store(out, end);
            out.push(STORED);
        }
        self.scratch = own;
        true
    }

    /// The blocks to which a range is compressed, with the marker that flushes them.
    fn blocks_of(&mut self, agreed: Deflate, range: &SharedRange) -> Option<Bytes> {
        let bytes = range.bytes();
        let key = (bytes.as_ptr().addr(), bytes.len(), agreed.server_window_bits());
        if let Some(known) = self.shared.get(&key) {
            return known.blocks.clone();
        }
        let blocks = self.compress(agreed, bytes).filter(|blocks| blocks.len() < bytes.len());
        let blocks = blocks.map(Bytes::copy_from_slice);
        if self.shared.len() >= SHARED_MAX || self.shared_bytes > SHARED_BYTES_MAX {
            self.forget_shared();
        }
        self.shared_bytes += range.whole.len() + blocks.as_ref().map_or(0, Bytes::len);
        let compressed = Compressed { _whole: range.whole.clone(), blocks: blocks.clone() };
        self.shared.insert(key, compressed);
        blocks
    }

    /// Compresses bytes to blocks, the last of them an empty one that ends with [`FLUSH_MARKER`].
    fn compress(&mut self, agreed: Deflate, bytes: &[u8]) -> Option<&[u8]> {
        self.scratch.clear();
        self.scratch.shrink_to(SCRATCH_BYTES_KEPT);
        // The worst that fixed codes do to a byte are nine bits.
        self.scratch.reserve(bytes.len() + bytes.len() / 8 + 64);
        let bits = agreed.server_window_bits();
        let slot = self.streams.get_mut(agreed.window_index())?;
        let stream = slot.get_or_insert_with(|| {
            Box::new(Compress::new_with_window_bits(Compression::fast(), false, bits))
        });
        let status = stream.compress_vec(bytes, &mut self.scratch, FlushCompress::Sync);
        // Room that is left says that all of it was written.
        let complete = matches!(status, Ok(Status::Ok))
            && stream.total_in() == bytes.len() as u64
            && self.scratch.len() < self.scratch.capacity();
        if !complete {
            // Not reset: with output unwritten, zlib-rs 0.6.8 panics some messages later.
            *slot = None;
            return None;
        }
        stream.reset();
        self.scratch.ends_with(&FLUSH_MARKER).then_some(&self.scratch)
    }
}

/// Appends bytes as stored blocks (RFC 1951 section 3.2.4).
fn store(out: &mut SendBuffer, bytes: &[u8]) {
    for bytes in bytes.chunks(STORED_BYTES_MAX) {
        let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        out.push(STORED);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&(!len).to_le_bytes());
        out.extend_from_slice(bytes);
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

/// Ends what was flushed: the lengths of a stored block of nothing.
const FLUSH_MARKER: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// How a stored block begins that is not the last of its stream: three bits, and as many as fill
/// the byte.
const STORED: u8 = 0;

/// Bytes of one stored block, and what stands before them.
const STORED_BYTES_MAX: usize = u16::MAX as usize;
const STORE_BYTES: usize = 5;

/// Ranges that are remembered, for all sizes of window, and the memory kept for them: much more than
/// what is delivered to many together, so that it is compressed once for them.
const SHARED_MAX: usize = 1024;
const SHARED_BYTES_MAX: usize = 64 << 20;
