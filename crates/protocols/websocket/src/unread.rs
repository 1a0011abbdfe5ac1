/// Bytes that were read from the peer and not decoded yet.
#[derive(Debug)]
pub struct Unread<'b> {
    rest: &'b mut [u8],
}

impl<'b> Unread<'b> {
    /// Decodes these bytes, in place.
    #[must_use]
    pub const fn new(bytes: &'b mut [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not decoded: comes first the next time. As it was received.
    #[must_use]
    pub const fn rest(&self) -> &[u8] {
        self.rest
    }

    /// How many bytes were not decoded.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rest.len()
    }

    /// Whether all was decoded.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes up to `count` bytes.
    pub(crate) fn take(&mut self, count: u64) -> &'b mut [u8] {
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(self.rest.len());
        let (taken, rest) = std::mem::take(&mut self.rest).split_at_mut(count);
        self.rest = rest;
        taken
    }

    /// The next up to `count` bytes, not taken.
    pub(crate) fn peek(&mut self, count: u64) -> &mut [u8] {
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(self.rest.len());
        self.rest.split_at_mut(count).0
    }
}
