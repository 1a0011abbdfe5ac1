use std::fmt;

use crate::{
    Destination, DestinationError, DestinationKind,
    destination::{DEAD_LETTERS, split},
    name::{self, ONE, REST, REST_HASH, Wildcards},
};

/// What a subscription or an access rule is about: a [`Destination`], or many by wildcards.
///
/// `*` stands for one level, a final `>` or `#` for zero or more.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Pattern {
    /// Its name may have wildcards.
    destination: Destination,
    is_wild: bool,
}

/// A level of a [`Pattern`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level<'a> {
    /// This word, which may be empty.
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
        let pattern = Self::parse_scope(text)?;
        if pattern.is_wild && pattern.kind() != DestinationKind::Topic {
            return Err(DestinationError::Wildcard);
        }
        Ok(pattern)
    }

    /// Reads the text form of an access rule's destination.
    ///
    /// # Errors
    /// As [`Destination::parse`]; wildcards are allowed in all names.
    pub fn parse_scope(text: &str) -> Result<Self, DestinationError> {
        let (kind, name) = split(text)?;
        let (name, is_wild) = name::parse(name, Wildcards::Allowed)?;
        Ok(Self { destination: Destination { kind, name }, is_wild })
    }

    /// The one destination it is about, or `None` when it has wildcards.
    #[must_use]
    pub fn destination(&self) -> Option<&Destination> {
        (!self.is_wild).then_some(&self.destination)
    }

    /// The kind of the destinations it matches.
    #[must_use]
    pub const fn kind(&self) -> DestinationKind {
        self.destination.kind()
    }

    /// As [`Destination::name_bytes`].
    #[must_use]
    pub fn name_bytes(&self) -> usize {
        self.destination.name_bytes()
    }

    /// The levels of the name.
    pub fn levels(&self) -> impl Iterator<Item = Level<'_>> {
        self.destination.levels().map(|level| match level {
            ONE => Level::One,
            REST | REST_HASH => Level::Rest,
            word => Level::Word(word),
        })
    }

    /// Whether dead-letter queues are what it is about, not merely among what it matches.
    #[must_use]
    pub fn names_dead_letter_queues(&self) -> bool {
        let mut levels = self.levels();
        self.kind() == DestinationKind::Queue
            && levels.next() == Some(Level::Word(DEAD_LETTERS))
            && levels
                .next()
                .is_some_and(|level| level != Level::Word("") || levels.next().is_some())
    }

    /// Whether it is about this destination.
    #[must_use]
    pub fn matches(&self, destination: &Destination) -> bool {
        if !self.is_wild {
            return self.destination == *destination;
        }
        if self.kind() != destination.kind() {
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

    /// Whether every destination that `other` matches is matched.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        if self.kind() != other.kind() {
            return false;
        }
        let (mut ours, mut theirs) = (self.levels(), other.levels());
        loop {
            match (ours.next(), theirs.next()) {
                (Some(Level::Rest), _) | (None, None) => return true,
                (Some(Level::One), Some(Level::Word(_) | Level::One)) => {}
                (Some(Level::Word(a)), Some(Level::Word(b))) if a == b => {}
                (Some(Level::One | Level::Word(_)) | None, _) => return false,
            }
        }
    }
}

impl From<Destination> for Pattern {
    fn from(destination: Destination) -> Self {
        Self { destination, is_wild: false }
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.destination, f)
    }
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
    fn a_pattern_names_dead_letter_queues_by_its_first_level() {
        for (pattern, expected) in [
            ("/queue/DLQ.a", true),
            ("/queue/DLQ.>", true),
            ("/queue/DLQ.*", true),
            ("/queue/DLQ.DLQ.a", true),
            ("/queue/DLQ.*0.a", true),
            ("/queue/DLQ", false),
            ("/queue/DLQ.*0", false),
            ("/queue/DLQ*2Ea", false),
            ("/queue/dlq.a", false),
            ("/queue/*.a", false),
            ("/queue/>", false),
            ("/topic/DLQ.>", false),
            ("/temp-queue/DLQ.a", false),
        ] {
            let pattern = Pattern::parse_scope(pattern).unwrap();
            assert_eq!(pattern.names_dead_letter_queues(), expected, "{pattern}");
            if let Some(destination) = pattern.destination() {
                assert_eq!(destination.is_dead_letter_queue(), expected, "{pattern}");
            }
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
}
