/// Whether a connection speaks a protocol, by the bytes with which it begins.
///
/// A protocol that runs on plain TCP is recognised by a function from those bytes, which are all
/// that have come so far and at least one. For more of the same bytes it may return
/// [`Detection::Yes`] or [`Detection::No`] after [`Detection::More`], and nothing else after those.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Detection {
    /// It does.
    Yes,
    /// It does not, whatever follows.
    No,
    /// That is not clear yet.
    More,
}

impl Detection {
    /// The most bytes by which a protocol is detected: one that still requests more is not spoken.
    pub const BYTES_MAX: usize = 1024;

    /// Detects what begins with one of some texts.
    #[must_use]
    pub fn by_prefix(bytes: &[u8], prefixes: &[&[u8]]) -> Self {
        if prefixes.iter().any(|prefix| bytes.starts_with(prefix)) {
            Self::Yes
        } else if prefixes.iter().any(|prefix| prefix.starts_with(bytes)) {
            Self::More
        } else {
            Self::No
        }
    }
}
