use std::{fmt, sync::Arc};

/// The name of a topic or a queue: `/topic/a.b`, `/queue/a`, `/temp-topic/…`, `/temp-queue/…`.
///
/// Cheap to clone. The name is 1 to [`Destination::NAME_BYTES_MAX`] bytes of UTF-8 without
/// control characters; its levels, separated by `.`, are not empty and not wildcards.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Destination {
    kind: DestinationKind,
    /// The whole text, prefix included.
    text: Arc<str>,
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
    /// What a destination of this kind begins with.
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

/// Why a text names no destination or pattern.
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
         whole last level"
    )]
    Wildcard,
}

impl Destination {
    /// Longest name, without the prefix, in bytes.
    pub const NAME_BYTES_MAX: usize = 1024;

    /// Reads the text form.
    ///
    /// # Errors
    /// When it has none of the four prefixes, a bad name, or a wildcard.
    pub fn parse(text: &str) -> Result<Self, DestinationError> {
        let (kind, name) = split(text)?;
        if name.split('.').any(|level| level.contains(WILDCARDS)) {
            return Err(DestinationError::Wildcard);
        }
        Ok(Self { kind, text: text.into() })
    }

    /// A temporary destination's name is the hexadecimal form of 128 random bits.
    #[must_use]
    pub fn temporary(kind: DestinationKind, random: u128) -> Self {
        debug_assert!(kind.is_temporary());
        Self { kind, text: format!("{}{random:032x}", kind.prefix()).into() }
    }

    /// A topic of the gateway's own, which no peer can name: [`Destination::parse`] refuses its
    /// control character.
    #[must_use]
    pub fn hidden(name: &str) -> Self {
        let kind = DestinationKind::Topic;
        Self { kind, text: format!("{}{HIDDEN}{name}", kind.prefix()).into() }
    }

    /// Whether it was made by [`Destination::hidden`].
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.name().starts_with(HIDDEN)
    }

    /// The bits that name a temporary destination; `None` for any other destination.
    #[must_use]
    pub fn random(&self) -> Option<u128> {
        let name = self.name();
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (self.kind.is_temporary() && name.len() == 32 && name.bytes().all(lower_hex))
            .then(|| u128::from_str_radix(name, 16).ok())
            .flatten()
    }

    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> DestinationKind {
        self.kind
    }

    /// The whole text, prefix included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text after the prefix.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text.get(self.kind.prefix().len()..).unwrap_or_default()
    }

    /// The levels of the name.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.name().split('.')
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What a subscription or an access rule is about: a [`Destination`], or many topics by wildcards.
///
/// `*` stands for one level, a final `>` or `#` for zero or more.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Pattern {
    destination: Destination,
    wild: bool,
}

/// A level of a [`Pattern`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level<'a> {
    /// This word.
    Word(&'a str),
    /// `*`: any one level.
    One,
    /// A final `>` or `#`: any levels, or none.
    Rest,
}

impl Pattern {
    /// Reads the text form of a subscription's destination.
    ///
    /// # Errors
    /// As [`Destination::parse`]; wildcards are allowed in the names of topics.
    pub fn parse(text: &str) -> Result<Self, DestinationError> {
        let (kind, name) = split(text)?;
        let mut wild = false;
        let mut levels = name.split('.').peekable();
        while let Some(level) = levels.next() {
            let allowed = match level {
                "*" => true,
                ">" | "#" => levels.peek().is_none(),
                word if word.contains(WILDCARDS) => false,
                _ => continue,
            };
            if !allowed || kind != DestinationKind::Topic {
                return Err(DestinationError::Wildcard);
            }
            wild = true;
        }
        Ok(Self { destination: Destination { kind, text: text.into() }, wild })
    }

    /// The one destination it is about, or `None` when it has wildcards.
    #[must_use]
    pub fn destination(&self) -> Option<&Destination> {
        (!self.wild).then_some(&self.destination)
    }

    /// The kind of the destinations it matches.
    #[must_use]
    pub const fn kind(&self) -> DestinationKind {
        self.destination.kind
    }

    /// The whole text, prefix included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.destination.text
    }

    /// The levels of the name.
    pub fn levels(&self) -> impl Iterator<Item = Level<'_>> {
        let wild = self.wild;
        self.destination.levels().map(move |level| match level {
            "*" if wild => Level::One,
            ">" | "#" if wild => Level::Rest,
            word => Level::Word(word),
        })
    }

    /// Whether it is about this destination.
    #[must_use]
    pub fn matches(&self, destination: &Destination) -> bool {
        if !self.wild {
            return self.destination == *destination;
        }
        if self.kind() != destination.kind {
            return false;
        }
        let mut words = destination.levels();
        for level in self.levels() {
            match level {
                Level::Rest => return true,
                Level::One if words.next().is_some() => {}
                Level::Word(word) if words.next() == Some(word) => {}
                Level::One | Level::Word(_) => return false,
            }
        }
        words.next().is_none()
    }

    /// Whether some destination is matched by both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        if self.kind() != other.kind() {
            return false;
        }
        let (mut ours, mut theirs) = (self.levels(), other.levels());
        loop {
            match (ours.next(), theirs.next()) {
                (Some(Level::Rest), _) | (_, Some(Level::Rest)) | (None, None) => return true,
                (None, Some(_)) | (Some(_), None) => return false,
                (Some(Level::Word(a)), Some(Level::Word(b))) if a != b => return false,
                (Some(Level::Word(_) | Level::One), Some(Level::Word(_) | Level::One)) => {}
            }
        }
    }
}

impl From<Destination> for Pattern {
    fn from(destination: Destination) -> Self {
        Self { destination, wild: false }
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const HIDDEN: char = '\u{1}';
const WILDCARDS: [char; 3] = ['*', '>', '#'];

fn split(text: &str) -> Result<(DestinationKind, &str), DestinationError> {
    let (kind, name) = DestinationKind::ALL
        .into_iter()
        .find_map(|kind| Some((kind, text.strip_prefix(kind.prefix())?)))
        .ok_or(DestinationError::Prefix)?;
    if name.len() > Destination::NAME_BYTES_MAX {
        return Err(DestinationError::TooLong);
    }
    if name.split('.').any(str::is_empty) {
        return Err(DestinationError::Empty);
    }
    if name.chars().any(char::is_control) {
        return Err(DestinationError::Control);
    }
    Ok((kind, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_name_destinations_and_patterns() {
        use DestinationError::{Control, Empty, Prefix, TooLong, Wildcard};
        let long = format!("/queue/{}", "a".repeat(1025));
        let cases: &[(&str, &str, Result<(), DestinationError>, Result<(), DestinationError>)] = &[
            ("a topic", "/topic/a.b", Ok(()), Ok(())),
            ("a queue may hold slashes", "/queue/a/b", Ok(()), Ok(())),
            ("no prefix", "quotes", Err(Prefix), Err(Prefix)),
            ("another prefix", "/exchange/a", Err(Prefix), Err(Prefix)),
            ("no name", "/topic/", Err(Empty), Err(Empty)),
            ("an empty level", "/topic/a..b", Err(Empty), Err(Empty)),
            ("too long", &long, Err(TooLong), Err(TooLong)),
            ("a control character", "/topic/a\u{7}", Err(Control), Err(Control)),
            ("one level", "/topic/a.*.c", Err(Wildcard), Ok(())),
            ("the rest", "/topic/a.>", Err(Wildcard), Ok(())),
            ("the rest, as AMQP spells it", "/topic/#", Err(Wildcard), Ok(())),
            ("the rest is last", "/topic/>.a", Err(Wildcard), Err(Wildcard)),
            ("a wildcard is a whole level", "/topic/a*", Err(Wildcard), Err(Wildcard)),
            ("queues have no wildcards", "/queue/*", Err(Wildcard), Err(Wildcard)),
            ("nor have temporary topics", "/temp-topic/*", Err(Wildcard), Err(Wildcard)),
        ];
        for (rule, text, destination, pattern) in cases {
            assert_eq!(Destination::parse(text).map(drop), *destination, "{rule}");
            assert_eq!(Pattern::parse(text).map(drop), *pattern, "{rule}");
        }
    }

    #[test]
    fn patterns_match_and_overlap() {
        let matches = |pattern: &str, destination: &str| {
            let destination = Destination::parse(destination).unwrap();
            let pattern = Pattern::parse(pattern).unwrap();
            let matches = pattern.matches(&destination);
            assert_eq!(matches, pattern.overlaps(&destination.into()));
            matches
        };
        assert!(matches("/topic/a.*.c", "/topic/a.b.c"));
        assert!(!matches("/topic/a.*", "/topic/a"));
        assert!(!matches("/topic/a.*", "/topic/a.b.c"));
        assert!(matches("/topic/a.>", "/topic/a"));
        assert!(matches("/topic/a.#", "/topic/a.b.c"));
        assert!(!matches("/topic/a.>", "/topic/b.c"));
        assert!(!matches("/topic/>", "/queue/a"));
        let overlap = |a: &str, b: &str| {
            let (a, b) = (Pattern::parse(a).unwrap(), Pattern::parse(b).unwrap());
            assert_eq!(a.overlaps(&b), b.overlaps(&a));
            a.overlaps(&b)
        };
        assert!(overlap("/topic/*.b", "/topic/a.*"));
        assert!(overlap("/topic/>", "/topic/a.*"));
        assert!(overlap("/topic/a.b.>", "/topic/a.*"));
        assert!(!overlap("/topic/a.b.c.>", "/topic/a.*"));
        assert!(!overlap("/topic/*.b", "/topic/*.c"));
    }

    #[test]
    fn temporary_names_are_128_random_bits() {
        let destination = Destination::temporary(DestinationKind::TempQueue, 0xabc);
        assert_eq!(destination.as_str(), "/temp-queue/00000000000000000000000000000abc");
        assert_eq!(destination.random(), Some(0xabc));
        assert_eq!(Destination::parse("/temp-queue/replies").unwrap().random(), None);
        assert_eq!(Destination::parse(&format!("/queue/{:032x}", 1)).unwrap().random(), None);
    }
}
