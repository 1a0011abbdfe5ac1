use std::{fmt, iter};

use crate::name::{self, Levels, Name, Wildcards};

/// A topic or a queue: its kind and the levels of its name.
///
/// Cheap to clone. There is at least one level; a level may be empty, unless it is the only one,
/// and has no control character. Levels and what separates them have at most
/// [`Destination::NAME_BYTES_MAX`] bytes.
///
/// Its text form, which operators write and read and which protocols without a form of their own
/// use, is that of [`Destination::parse`]; [`fmt::Display`] writes it.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Destination {
    pub(crate) kind: DestinationKind,
    pub(crate) name: Name,
}

/// The four kinds of destination.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum DestinationKind {
    /// Each message goes to every subscription.
    Topic,
    /// Each message goes to one consumer and waits for it.
    Queue,
    /// A topic that only its owner subscribes to and that is gone with it.
    TempTopic,
    /// A queue that only its owner consumes from and that is gone with it.
    TempQueue,
}

impl DestinationKind {
    /// What the text form of a destination of this kind begins with.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Topic => "/topic/",
            Self::Queue => "/queue/",
            Self::TempTopic => "/temp-topic/",
            Self::TempQueue => "/temp-queue/",
        }
    }

    /// Whether it belongs to one connection.
    #[must_use]
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::TempTopic | Self::TempQueue)
    }

    /// Whether each message goes to one consumer.
    #[must_use]
    pub const fn is_queue(self) -> bool {
        matches!(self, Self::Queue | Self::TempQueue)
    }

    const ALL: [Self; 4] = [Self::Topic, Self::Queue, Self::TempTopic, Self::TempQueue];
}

/// Why a string names no destination or pattern.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DestinationError {
    /// None of the four prefixes.
    #[error("a destination begins with /topic/, /queue/, /temp-topic/ or /temp-queue/")]
    Prefix,
    /// Nothing after the prefix, or nothing between two dots.
    #[error("a destination's name, and each of its levels between dots, must not be empty")]
    Empty,
    /// Longer than [`Destination::NAME_BYTES_MAX`].
    #[error("a destination's name is at most {} bytes long", Destination::NAME_BYTES_MAX)]
    TooLong,
    /// A control character.
    #[error("a destination's name holds no control characters")]
    Control,
    /// A `*`, `>` or `#` where none may stand.
    #[error(
        "wildcards stand only in subscriptions to topics: * for one whole level, > or # as the \
         whole last level; in a name, *2A, *3E and *23 stand for them, *2E for a dot, *0 for an empty level"
    )]
    Wildcard,
}

impl Destination {
    /// Longest name, in bytes.
    pub const NAME_BYTES_MAX: usize = 1024;

    /// A destination with these levels.
    ///
    /// # Errors
    /// When they are no levels of a destination.
    pub fn new<'a>(
        kind: DestinationKind,
        levels: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, DestinationError> {
        Ok(Self { kind, name: name::of_levels(levels)? })
    }

    /// Reads the text form: a prefix (`/topic/`, `/queue/`, `/temp-topic/` or `/temp-queue/`), and
    /// the levels with a dot between them.
    ///
    /// In a level `*2E` stands for a dot, `*2A`, `*3E` and `*23` for `*`, `>` and `#`; `*0` is a
    /// level without characters. No other `*`, and no `>` and `#`, may stand in a level: so each
    /// destination has one text.
    ///
    /// # Errors
    /// When it has none of the four prefixes, a bad name, or a wildcard.
    pub fn parse(text: &str) -> Result<Self, DestinationError> {
        let (kind, name) = split(text)?;
        let (name, _) = name::parse(name, Wildcards::Refused)?;
        Ok(Self { kind, name })
    }

    /// A temporary destination's name is the hexadecimal form of 128 random bits.
    #[must_use]
    pub fn temporary(kind: DestinationKind, random: u128) -> Self {
        debug_assert!(kind.is_temporary());
        Self { kind, name: Name::temporary(random) }
    }

    /// A built-in topic, which no peer can name: [`Destination::parse`] refuses its control
    /// character.
    #[must_use]
    pub fn hidden(name: &str) -> Self {
        Self { kind: DestinationKind::Topic, name: Name::hidden(name) }
    }

    /// Whether it was made by [`Destination::hidden`].
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.name.is_hidden()
    }

    /// The bits that name a temporary destination; `None` for any other destination.
    #[must_use]
    pub fn random(&self) -> Option<u128> {
        let name =
            self.name.single().filter(|name| self.kind.is_temporary() && name.len() == 32)?;
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        name.bytes().all(lower_hex).then(|| u128::from_str_radix(name, 16).ok()).flatten()
    }

    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> DestinationKind {
        self.kind
    }

    /// Bytes of the levels of the name and of what separates them; none of one that no peer named
    /// ([`Destination::hidden`]).
    #[must_use]
    pub fn name_bytes(&self) -> usize {
        if self.is_hidden() { 0 } else { self.name.len() }
    }

    /// The levels of the name.
    #[must_use]
    pub fn levels(&self) -> Levels<'_> {
        self.name.levels()
    }

    /// The queue that takes the dead letters of this one: `DLQ` and its levels.
    ///
    /// `None` for a topic or a temporary queue, which have none, for what is such a queue itself, and
    /// where the name would be too long.
    #[must_use]
    pub fn dead_letter_queue(&self) -> Option<Self> {
        if self.kind != DestinationKind::Queue || self.is_dead_letter_queue() {
            return None;
        }
        Self::new(self.kind, iter::once(DEAD_LETTERS).chain(self.levels())).ok()
    }

    /// The queue that takes the dead letters of the durable subscriptions to this topic: `DLQ`, `topic` and
    /// its levels. `None` for what is no topic, and where the name would be too long.
    #[must_use]
    pub fn topic_dead_letter_queue(&self) -> Option<Self> {
        let levels = [DEAD_LETTERS, "topic"].into_iter().chain(self.levels());
        let queue = || Self::new(DestinationKind::Queue, levels).ok();
        (self.kind == DestinationKind::Topic && !self.is_hidden()).then(queue).flatten()
    }

    /// Whether it takes the dead letters of a queue.
    #[must_use]
    pub fn is_dead_letter_queue(&self) -> bool {
        let mut levels = self.levels();
        // A queue's name is not empty.
        self.kind == DestinationKind::Queue
            && levels.next() == Some(DEAD_LETTERS)
            && levels.next().is_some_and(|level| !level.is_empty() || levels.next().is_some())
    }

    /// The queue whose dead letters it takes.
    #[must_use]
    pub fn dead_letters_of(&self) -> Option<Self> {
        self.is_dead_letter_queue()
            .then(|| Self::new(self.kind, self.levels().skip(1)).ok())
            .flatten()
    }

    /// The text form, in pieces: to write or compare it without an allocation.
    pub fn text(&self) -> impl Iterator<Item = &str> {
        iter::once(self.kind.prefix()).chain(self.name.text())
    }

    /// Whether this is its text form.
    #[must_use]
    pub fn is_written(&self, text: &str) -> bool {
        self.text().try_fold(text, str::strip_prefix) == Some("")
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text().try_for_each(|piece| f.write_str(piece))
    }
}

/// The first level of a dead-letter queue.
pub(crate) const DEAD_LETTERS: &str = "DLQ";

/// The kind that a string's prefix names, and what follows it.
pub(crate) fn split(text: &str) -> Result<(DestinationKind, &str), DestinationError> {
    DestinationKind::ALL
        .into_iter()
        .find_map(|kind| Some((kind, text.strip_prefix(kind.prefix())?)))
        .ok_or(DestinationError::Prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_names_are_128_random_bits() {
        let destination = Destination::temporary(DestinationKind::TempQueue, 0xabc);
        assert_eq!(destination.to_string(), "/temp-queue/00000000000000000000000000000abc");
        assert_eq!(destination.random(), Some(0xabc));
        assert_eq!(Destination::parse("/temp-queue/replies").unwrap().random(), None);
        assert_eq!(Destination::parse(&format!("/queue/{:032x}", 1)).unwrap().random(), None);
    }

    #[test]
    fn a_dead_letter_queue_has_the_level_dlq_before_those_of_its_queue() {
        for (rule, queue, expected) in [
            ("a level is added", "/queue/a.b", Some("/queue/DLQ.a.b")),
            ("escapes stay", "/queue/a*2Eb.*0", Some("/queue/DLQ.a*2Eb.*0")),
            ("an empty level first", "/queue/*0.a", Some("/queue/DLQ.*0.a")),
            ("a dead letter that fails again is dropped", "/queue/DLQ.a", None),
            ("whatever its queue is", "/queue/DLQ.DLQ.a", None),
            ("the level alone names a queue", "/queue/DLQ", Some("/queue/DLQ.DLQ")),
            ("no queue has an empty name", "/queue/DLQ.*0", Some("/queue/DLQ.DLQ.*0")),
            ("an escaped dot separates nothing", "/queue/DLQ*2Ea", Some("/queue/DLQ.DLQ*2Ea")),
            ("levels differ by case", "/queue/dlq.a", Some("/queue/DLQ.dlq.a")),
            ("a longer level", "/queue/DLQs.a", Some("/queue/DLQ.DLQs.a")),
            ("a topic", "/topic/a", None),
            ("a temporary queue", "/temp-queue/00000000000000000000000000000001", None),
        ] {
            let queue = Destination::parse(queue).unwrap();
            let dead_letters = queue.dead_letter_queue();
            let shown = dead_letters.as_ref().map(ToString::to_string);
            assert_eq!(shown.as_deref(), expected, "{rule}");
            if let Some(dead_letters) = dead_letters {
                assert!(dead_letters.is_dead_letter_queue(), "{rule}");
                assert_eq!(dead_letters.dead_letters_of(), Some(queue), "{rule}");
            }
        }
        for other in ["/queue/DLQ", "/queue/DLQ.*0", "/topic/DLQ.a", "/temp-queue/DLQ.a"] {
            let other = Destination::parse(other).unwrap();
            assert!(!other.is_dead_letter_queue(), "{other}");
            assert_eq!(other.dead_letters_of(), None, "{other}");
        }
        let longest = format!("/queue/{}", "a".repeat(Destination::NAME_BYTES_MAX));
        assert_eq!(Destination::parse(&longest).unwrap().dead_letter_queue(), None);
    }
}
