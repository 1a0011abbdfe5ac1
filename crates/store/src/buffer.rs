//! What is to be written next.

use bytes::Bytes;

/// Bytes for the end of a file. Those of large bodies are the messages' own: they are not copied.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    copied: Vec<u8>,
    /// Each with how much of `copied` comes before it.
    shared: Vec<(usize, Bytes)>,
    shared_bytes: usize,
}

/// How far a [`Buffer`] was filled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    copied: usize,
    shared: usize,
}

impl Buffer {
    pub(crate) const fn len(&self) -> usize {
        self.copied.len() + self.shared_bytes
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is copied so far, to append to.
    pub(crate) const fn copied(&mut self) -> &mut Vec<u8> {
        &mut self.copied
    }

    /// Appends what is not copied.
    pub(crate) fn share(&mut self, bytes: Bytes) {
        self.shared_bytes += bytes.len();
        self.shared.push((self.copied.len(), bytes));
    }

    pub(crate) const fn mark(&self) -> Mark {
        Mark { copied: self.copied.len(), shared: self.shared.len() }
    }

    /// Forgets what was appended since.
    pub(crate) fn truncate(&mut self, mark: Mark) {
        self.copied.truncate(mark.copied);
        self.shared_bytes -= self.shared.drain(mark.shared..).map(|(_, b)| b.len()).sum::<usize>();
    }

    /// Forgets all, and keeps little room.
    pub(crate) fn clear(&mut self) {
        self.truncate(Mark { copied: 0, shared: 0 });
        self.copied.shrink_to(KEPT_BYTES);
        self.shared.shrink_to(0);
    }

    /// All that is in it, in its order.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self.shared.iter().map(|(end, _)| *end).chain([self.copied.len()]);
        let starts = [0].into_iter().chain(self.shared.iter().map(|(end, _)| *end));
        let copied = starts.zip(ends).map(|(start, end)| self.copied.get(start..end));
        let shared = self.shared.iter().map(|(_, bytes)| &bytes[..]).chain([&[][..]]);
        let all =
            copied.zip(shared).flat_map(|(copied, shared)| [copied.unwrap_or_default(), shared]);
        all.filter(|piece| !piece.is_empty())
    }
}

/// Bodies of this size are not copied: below, a system call more costs more than the copy. The models
/// of the tests write small ones, both ways.
pub(crate) const SHARED_BYTES_MIN: usize = if cfg!(test) { 1 << 10 } else { 64 << 10 };

/// Room for a group as it is in most cases.
const KEPT_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_pieces_are_what_was_appended_in_its_order() {
        let mut buffer = Buffer::default();
        assert_eq!((buffer.pieces().count(), buffer.is_empty()), (0, true));
        buffer.copied().extend(b"ab");
        buffer.share(Bytes::from_static(b"cd"));
        buffer.share(Bytes::from_static(b"ef"));
        let mark = buffer.mark();
        buffer.copied().extend(b"gh");
        buffer.share(Bytes::from_static(b"ij"));
        buffer.copied().extend(b"kl");
        assert_eq!(
            (buffer.pieces().collect::<Vec<_>>().concat(), buffer.len()),
            (b"abcdefghijkl".to_vec(), 12)
        );
        buffer.truncate(mark);
        assert_eq!(
            (buffer.pieces().collect::<Vec<_>>().concat(), buffer.len()),
            (b"abcdef".to_vec(), 6)
        );
        buffer.clear();
        assert_eq!((buffer.pieces().count(), buffer.len()), (0, 0));
    }
}
