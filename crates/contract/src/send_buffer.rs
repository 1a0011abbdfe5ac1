use std::{iter, mem, ops::Range};

use bytes::Bytes;

use crate::{Content, Message};

/// What a session appends its frames to: bytes of its own, and ranges of bytes that others send
/// too, as a message's body. Of those, large ones are referenced, and so never copied for a peer,
/// whatever stands before and behind them.
#[derive(Debug, Default)]
pub struct SendBuffer {
    own: Vec<u8>,
    /// In the order in which they stand.
    shared: Vec<SharedRange>,
}

/// Bytes that a [`SendBuffer`] references.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SharedRange {
    /// How many of the buffer's own bytes stand before it.
    pub at: usize,
    /// All the bytes that stay in memory for it.
    pub whole: Bytes,
    /// Those that are sent.
    pub range: Range<usize>,
}

/// A piece of what is in a [`SendBuffer`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Piece<'a> {
    /// A range of its own bytes.
    Own(Range<usize>),
    /// A range of others.
    Shared(&'a SharedRange),
}

impl SendBuffer {
    /// Ranges of others that are no longer are copied.
    pub const COPIED_BYTES_MAX: usize = 4 << 10;

    /// Appends a byte.
    pub fn push(&mut self, byte: u8) {
        self.own.push(byte);
    }

    /// Appends a copy of bytes.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.own.extend_from_slice(bytes);
    }

    /// Appends a message's body.
    pub fn append_body(&mut self, message: &Message) {
        let (whole, range) = match &message.content {
            Content::Parts(parts) => {
                let bytes = parts.body.bytes();
                (bytes, 0..bytes.len())
            }
            Content::Amqp(sections) => {
                let (whole, body) = (sections.bytes(), message.body().bytes());
                // It lies in them, or is empty.
                let start = body.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
                (whole, start..start.saturating_add(body.len()))
            }
        };
        self.append_shared(whole, range);
    }

    /// Appends a range of bytes that are not changed any more; nothing when it is outside of them.
    pub fn append_shared(&mut self, whole: &Bytes, range: Range<usize>) {
        let Some(bytes) = whole.get(range.clone()) else { return };
        if bytes.len() <= Self::COPIED_BYTES_MAX {
            self.own.extend_from_slice(bytes);
        } else {
            self.shared.push(SharedRange { at: self.own.len(), whole: whole.clone(), range });
        }
    }

    /// Its own bytes.
    #[must_use]
    pub const fn own(&self) -> &[u8] {
        self.own.as_slice()
    }

    /// Its own bytes, to append to.
    pub const fn own_mut(&mut self) -> &mut Vec<u8> {
        &mut self.own
    }

    /// Whether it references anything.
    #[must_use]
    pub const fn has_shared(&self) -> bool {
        !self.shared.is_empty()
    }

    /// The ranges that it references behind the first `from` of its own bytes.
    #[must_use]
    pub fn shared_from(&self, from: usize) -> &[SharedRange] {
        let first = self.shared.partition_point(|shared| shared.at < from);
        self.shared.get(first..).unwrap_or_default()
    }

    /// Bytes behind the first `from` of its own, with those that it references.
    #[must_use]
    pub fn len_from(&self, from: usize) -> usize {
        let own = self.own.len().saturating_sub(from);
        if self.shared.is_empty() {
            return own;
        }
        let shared: usize = self.shared_from(from).iter().map(|shared| shared.range.len()).sum();
        own + shared
    }

    /// What stands behind the first `from` of its own bytes, in order.
    pub fn pieces_from(&self, from: usize) -> impl Iterator<Item = Piece<'_>> {
        let mut at = from;
        let mut shared = self.shared_from(from).iter().peekable();
        iter::from_fn(move || {
            let end = shared.peek().map_or(self.own.len(), |next| next.at);
            if at < end {
                return Some(Piece::Own(mem::replace(&mut at, end)..end));
            }
            shared.next().map(Piece::Shared)
        })
    }

    /// Inserts bytes behind the first `at` of its own.
    pub fn insert(&mut self, at: usize, bytes: &[u8]) {
        let from = self.shared.partition_point(|shared| shared.at < at);
        self.own.splice(at..at, bytes.iter().copied());
        self.shared.iter_mut().skip(from).for_each(|shared| shared.at += bytes.len());
    }

    /// Takes out what stands behind the first `from` of its own bytes: these are appended to `own`,
    /// the rest is returned, with places in what was behind `from`.
    pub fn take_from(&mut self, from: usize, own: &mut Vec<u8>) -> Vec<SharedRange> {
        let first = self.shared.partition_point(|shared| shared.at < from);
        let mut shared = self.shared.split_off(first);
        shared.iter_mut().for_each(|shared| shared.at -= from);
        own.extend_from_slice(self.own.get(from..).unwrap_or_default());
        self.own.truncate(from);
        shared
    }

    /// Forgets what it references; its own bytes stay.
    pub fn clear_shared(&mut self) {
        self.shared.clear();
    }

    /// Takes everything out, keeping `capacity` bytes of memory at most.
    pub fn clear(&mut self, capacity: usize) {
        self.own.clear();
        self.own.shrink_to(capacity);
        self.shared.clear();
    }

    /// Everything in one piece.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.len_from(0));
        for piece in self.pieces_from(0) {
            match piece {
                Piece::Own(range) => all.extend_from_slice(self.own.get(range).unwrap_or_default()),
                Piece::Shared(shared) => all.extend_from_slice(shared.bytes()),
            }
        }
        all
    }
}

impl SharedRange {
    /// The bytes that are sent.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.whole.get(self.range.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: usize = SendBuffer::COPIED_BYTES_MAX + 1;

    fn large(byte: u8) -> Bytes {
        vec![byte; LARGE].into()
    }

    fn shown(buffer: &SendBuffer, from: usize) -> Vec<String> {
        let show = |piece| match piece {
            Piece::Own(range) => String::from_utf8(buffer.own()[range].to_vec()).unwrap(),
            Piece::Shared(shared) => {
                format!("{} x {}", shared.range.len(), char::from(shared.bytes()[0]))
            }
        };
        buffer.pieces_from(from).map(show).collect()
    }

    #[test]
    fn large_ranges_are_referenced_and_small_ones_copied() {
        let (a, b) = (large(b'a'), large(b'b'));
        let mut buffer = SendBuffer::default();
        buffer.extend_from_slice(b"head ");
        buffer.append_shared(&a, 0..LARGE);
        buffer.append_shared(&b, 0..LARGE);
        buffer.push(b'!');
        buffer.append_shared(&b, 1..LARGE);
        buffer.append_shared(&b, 7..7);
        buffer.append_shared(&b, 1..LARGE + 1);
        assert_eq!(buffer.own()[..7], *b"head !b");
        assert_eq!(buffer.own().len(), 6 + SendBuffer::COPIED_BYTES_MAX);
        assert_eq!(buffer.shared_from(0).len(), 2);
        assert_eq!(buffer.shared_from(0)[0].bytes().as_ptr(), a.as_ptr());
        assert_eq!(buffer.len_from(0), 6 + 3 * LARGE - 1);
        let expected = [&b"head "[..], &a, &b, b"!", &b[1..]].concat();
        assert!(buffer.to_vec() == expected);
        assert_eq!(shown(&buffer, 5)[..2], ["4097 x a", "4097 x b"]);
        assert_eq!(shown(&buffer, 6).len(), 1);
    }

    #[test]
    fn ranges_of_a_body_stand_between_frame_headers() {
        let body = Bytes::from([[b'1'; LARGE], [b'2'; LARGE]].concat());
        let mut buffer = SendBuffer::default();
        for (header, range) in [("transfer 1;", 0..LARGE), ("transfer 2;", LARGE..2 * LARGE)] {
            buffer.extend_from_slice(header.as_bytes());
            buffer.append_shared(&body, range);
        }
        assert_eq!(shown(&buffer, 0), ["transfer 1;", "4097 x 1", "transfer 2;", "4097 x 2"]);
        assert!(buffer.shared_from(0).iter().all(|shared| shared.whole == body));
    }

    #[test]
    fn what_is_inserted_or_taken_moves_the_ranges_behind_it() {
        let mut buffer = SendBuffer::default();
        buffer.append_shared(&large(b'a'), 0..LARGE);
        buffer.extend_from_slice(b"xyz");
        buffer.append_shared(&large(b'b'), 0..LARGE);
        buffer.extend_from_slice(b"end");
        buffer.insert(1, b"--");
        assert_eq!(shown(&buffer, 0), ["4097 x a", "x--yz", "4097 x b", "end"]);
        buffer.insert(0, b"0");
        assert_eq!(shown(&buffer, 0), ["0", "4097 x a", "x--yz", "4097 x b", "end"]);
        let mut own = Vec::new();
        let ranges = buffer.take_from(3, &mut own);
        assert_eq!(shown(&buffer, 0), ["0", "4097 x a", "x-"]);
        assert_eq!((own.as_slice(), ranges.len(), ranges[0].at), (&b"-yzend"[..], 1, 3));
    }

    #[test]
    fn bodies_of_any_content_are_appended() {
        let to = crate::Destination::parse("/topic/a").unwrap();
        let body = crate::Body::Binary(large(b'a'));
        let parts = Message::new(to.clone(), 1, 0, crate::Parts::new(body));
        let bytes = [b"p".to_vec(), vec![b'b'; LARGE], b"f".to_vec()].concat();
        let body_end = u32::try_from(LARGE + 1).unwrap();
        let ends = [0, 1, 1, body_end, body_end + 1];
        let sections = crate::Sections::new(bytes.into(), ends, 0).unwrap();
        let mut buffer = SendBuffer::default();
        buffer.append_body(&parts);
        buffer.append_body(&Message::new(to, 1, 0, sections));
        assert_eq!(shown(&buffer, 0), ["4097 x a", "4097 x b"]);
    }
}
