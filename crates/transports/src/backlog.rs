use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;

/// What was sent to a socket and the kernel has not accepted yet: copies of frames, and ranges of
/// what their receivers share.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    pieces: VecDeque<Piece>,
    /// Bytes of the pieces.
    bytes: usize,
    /// Those that no other socket shares.
    own_bytes: usize,
    /// Bytes of ciphertext that wait before the pieces.
    pub(crate) encrypted: usize,
    /// When the kernel last accepted something, on the clock of [`contract::Now::mono_ns`].
    pub(crate) since_mono_ns: u64,
}

impl Backlog {
    /// Without pieces yet.
    pub(crate) fn new(since_mono_ns: u64, encrypted: usize) -> Self {
        Self { since_mono_ns, encrypted, ..Self::default() }
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes + self.encrypted
    }

    pub(crate) const fn own_bytes(&self) -> usize {
        self.own_bytes + self.encrypted
    }

    /// The memory that would be free without it, if others that share some of it went too.
    pub(crate) fn memory(&self) -> usize {
        self.own_bytes() + self.pieces.iter().map(Piece::shared_memory).sum::<usize>()
    }

    pub(crate) fn copy(&mut self, frame: &[u8]) {
        self.bytes += frame.len();
        self.own_bytes += frame.len();
        if let Some(Piece::Own { bytes, .. }) = self.pieces.back_mut()
            && bytes.len() + frame.len() <= OWN_PIECE_BYTES
        {
            bytes.extend_from_slice(frame);
        } else {
            self.pieces.push_back(Piece::Own { bytes: frame.to_vec(), from: 0 });
        }
    }

    pub(crate) fn share(&mut self, whole: Arc<Counted>, range: Range<usize>) {
        self.bytes += range.len();
        self.pieces.push_back(Piece::Shared { whole, range });
    }

    pub(crate) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().map(Piece::rest)
    }

    /// The first bytes, at most so many; those of a shared piece are not copied.
    pub(crate) fn peek(&self, max: usize) -> Bytes {
        if let Some(Piece::Shared { whole, range }) = self.pieces.front() {
            return whole.bytes.slice(range.start..range.end.min(range.start.saturating_add(max)));
        }
        let mut first = Vec::new();
        for piece in &self.pieces {
            let Piece::Own { .. } = piece else { break };
            let rest = piece.rest();
            first.extend_from_slice(rest.get(..max - first.len()).unwrap_or(rest));
        }
        first.into()
    }

    pub(crate) fn consume(&mut self, mut count: usize) {
        self.bytes -= count;
        while let Some(piece) = self.pieces.front_mut() {
            let len = piece.rest().len();
            let taken = len.min(count);
            count -= taken;
            match piece {
                Piece::Own { from, .. } => {
                    *from += taken;
                    self.own_bytes -= taken;
                }
                Piece::Shared { range, .. } => range.start += taken,
            }
            if taken < len {
                return;
            }
            self.pieces.pop_front();
        }
    }
}

#[derive(Debug)]
enum Piece {
    Own { bytes: Vec<u8>, from: usize },
    Shared { whole: Arc<Counted>, range: Range<usize> },
}

impl Piece {
    /// Its part of what it references.
    fn shared_memory(&self) -> usize {
        match self {
            Self::Own { .. } => 0,
            Self::Shared { whole, .. } => whole.bytes.len().div_ceil(Arc::strong_count(whole)),
        }
    }

    fn rest(&self) -> &[u8] {
        match self {
            Self::Own { bytes, from } => bytes.get(*from..).unwrap_or_default(),
            Self::Shared { whole, range } => whole.bytes.get(range.clone()).unwrap_or_default(),
        }
    }
}

/// The bytes that backlogs share, each counted once, however many sockets wait to send them, and
/// since whatever turn.
#[derive(Debug, Default)]
pub(crate) struct SharedBytes {
    /// By address and length.
    entries: BTreeMap<(usize, usize), Weak<Counted>>,
    /// How many entries there may be before those are removed that no backlog has any more.
    entries_max: usize,
    total: Arc<AtomicUsize>,
}

/// Bytes that wait in some backlog.
#[derive(Debug)]
pub(crate) struct Counted {
    bytes: Bytes,
    total: Arc<AtomicUsize>,
}

impl SharedBytes {
    /// Memory of all that waits.
    pub(crate) fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// What is to be put into a backlog for these bytes.
    pub(crate) fn share(&mut self, bytes: &Bytes) -> Arc<Counted> {
        let key = (bytes.as_ptr().addr(), bytes.len());
        // While they wait, no others are at their address.
        if let Some(counted) = self.entries.get(&key).and_then(Weak::upgrade) {
            return counted;
        }
        if self.entries.len() >= self.entries_max {
            self.entries.retain(|_, counted| counted.strong_count() > 0);
            self.entries_max = (self.entries.len() * 2).max(ENTRIES_MIN);
        }
        let counted = Arc::new(Counted::new(bytes.clone(), &self.total));
        self.entries.insert(key, Arc::downgrade(&counted));
        counted
    }
}

impl Counted {
    fn new(bytes: Bytes, total: &Arc<AtomicUsize>) -> Self {
        total.fetch_add(bytes.len(), Ordering::Relaxed);
        Self { bytes, total: Arc::clone(total) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

/// Small frames are collected in pieces of this size.
const OWN_PIECE_BYTES: usize = 16 << 10;
/// Entries of bytes that no backlog has any more which are not worth removing.
const ENTRIES_MIN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(len: usize) -> Bytes {
        vec![0; len].into()
    }

    #[test]
    fn what_backlogs_share_counts_once_until_the_last_has_sent_it() {
        let (mut shared, body, other) = (SharedBytes::default(), bytes(10_000), bytes(5_000));
        let mut backlogs: Vec<Backlog> = (0..3).map(|_| Backlog::new(0, 0)).collect();
        for backlog in &mut backlogs {
            backlog.copy(b"header");
            backlog.share(shared.share(&body), 1_000..10_000);
        }
        assert_eq!(backlogs[1].memory(), 6 + 3_334, "each has a third of what they share");
        // A part of the same memory is counted by itself.
        backlogs[0].share(shared.share(&body.slice(..6_000)), 0..6_000);
        backlogs[0].share(shared.share(&other), 0..5_000);
        assert_eq!(shared.total(), 10_000 + 6_000 + 5_000);
        assert_eq!((backlogs[1].bytes(), backlogs[1].own_bytes()), (9_006, 6));
        backlogs[1].consume(9_005);
        assert_eq!((backlogs[1].bytes(), backlogs[1].own_bytes()), (1, 0));
        backlogs[1].consume(1);
        drop(backlogs.pop());
        assert_eq!(shared.total(), 21_000, "one has all of it left");
        backlogs[0].consume(9_006 + 6_000);
        assert_eq!(shared.total(), 5_000);
        backlogs.clear();
        assert_eq!(shared.total(), 0);
        assert_eq!(Arc::strong_count(&shared.share(&body)), 1, "counted anew");
    }

    #[test]
    fn entries_of_what_was_sent_are_removed() {
        let mut shared = SharedBytes::default();
        let waiting: Vec<_> = (0..100).map(|_| shared.share(&bytes(1))).collect();
        for _ in 0..10_000 {
            drop(shared.share(&bytes(5_000)));
            assert!(shared.entries.len() <= 200, "{} entries", shared.entries.len());
        }
        assert_eq!(shared.total(), waiting.len());
    }
}
