use contract::{Data, Kind};

/// Puts the pieces of a message together. A message in one piece is not copied.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    pieces: Vec<u8>,
}

impl Assembly {
    /// Calls `whole` with the message when this piece ends it. The transport bounds its size.
    pub(super) fn add(&mut self, data: Data<'_>, whole: impl FnOnce(Kind, &[u8])) {
        if data.last && self.pieces.is_empty() {
            return whole(data.kind, data.bytes);
        }
        self.pieces.extend_from_slice(data.bytes);
        if data.last {
            whole(data.kind, &std::mem::take(&mut self.pieces));
        }
    }
}
