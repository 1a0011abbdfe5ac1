use std::collections::VecDeque;

use bytes::Bytes;

/// What was sent to a socket and the kernel has not accepted yet: copies of small frames, shares of large ones.
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

    pub(crate) fn share(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.pieces.push_back(Piece::Shared(frame));
    }

    pub(crate) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().map(Piece::rest)
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
                Piece::Shared(bytes) => drop(bytes.split_to(taken)),
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
    Shared(Bytes),
}

impl Piece {
    fn rest(&self) -> &[u8] {
        match self {
            Self::Own { bytes, from } => bytes.get(*from..).unwrap_or_default(),
            Self::Shared(bytes) => bytes,
        }
    }
}

/// Small frames are collected in pieces of this size.
const OWN_PIECE_BYTES: usize = 16 << 10;
