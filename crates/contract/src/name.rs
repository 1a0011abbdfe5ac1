use std::{iter, str::Split, sync::Arc};

use crate::{Destination, DestinationError, cost::shared_bytes};

/// The levels of a destination or pattern, in one string.
///
/// No level has a control character: these are left to separate levels, and to stand for the
/// wildcards of a pattern. So names are equal where their levels are, and sort level by level.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Name(Arc<str>);

/// The levels of a [`Destination`].
pub type Levels<'a> = Split<'a, char>;

impl Name {
    /// One level of 32 hexadecimal digits.
    pub(crate) fn temporary(random: u128) -> Self {
        Self(format!("{random:032x}").into())
    }

    /// One level, which begins with what no peer can write.
    pub(crate) fn hidden(level: &str) -> Self {
        Self(format!("{HIDDEN}{level}").into())
    }

    pub(crate) fn is_hidden(&self) -> bool {
        self.0.starts_with(HIDDEN)
    }

    pub(crate) fn levels(&self) -> Levels<'_> {
        self.0.split(SEPARATOR)
    }

    /// The only level, if it is one.
    pub(crate) fn single(&self) -> Option<&str> {
        (!self.0.contains(SEPARATOR)).then_some(&*self.0)
    }

    /// Bytes of its levels and of what separates them.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Memory that it takes beside its own size, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        shared_bytes(self.0.len())
    }

    /// Its text, in pieces.
    pub(crate) fn text(&self) -> impl Iterator<Item = &str> {
        let mut rest = &*self.0;
        let mut begins_level = true;
        iter::from_fn(move || {
            if std::mem::take(&mut begins_level) && (rest.is_empty() || rest.starts_with(SEPARATOR))
            {
                return Some(EMPTY);
            }
            let run = rest.bytes().position(is_special).unwrap_or(rest.len());
            let (piece, next) = rest.split_at_checked(run.max(1))?;
            rest = next;
            begins_level = piece.starts_with(SEPARATOR);
            Some(match piece {
                "\0" => ".",
                ONE => "*",
                REST => ">",
                REST_HASH => "#",
                plain => ESCAPES
                    .into_iter()
                    .find_map(|(special, escape)| (special == plain).then_some(escape))
                    .unwrap_or(plain),
            })
        })
    }
}

/// Where wildcards may stand in a string.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wildcards {
    Refused,
    Allowed,
}

/// Reads a name's text; `true`: it has wildcards.
pub(crate) fn parse(text: &str, wildcards: Wildcards) -> Result<(Name, bool), DestinationError> {
    let mut builder = Builder::new();
    let mut is_wild = false;
    let mut levels = text.split('.').peekable();
    while let Some(level) = levels.next() {
        let wildcard = match level {
            "" => return Err(DestinationError::Empty),
            "*" => Some(ONE),
            ">" if levels.peek().is_none() => Some(REST),
            "#" if levels.peek().is_none() => Some(REST_HASH),
            _ => None,
        };
        builder.begin_level()?;
        match wildcard {
            Some(wildcard) if wildcards == Wildcards::Allowed => {
                is_wild = true;
                builder.push(wildcard)?;
            }
            Some(_) => return Err(DestinationError::Wildcard),
            None => builder.push_escaped(level)?,
        }
    }
    Ok((builder.finish()?, is_wild))
}

/// Makes a name of levels.
pub(crate) fn of_levels<'a>(
    levels: impl IntoIterator<Item = &'a str>,
) -> Result<Name, DestinationError> {
    let mut builder = Builder::new();
    for level in levels {
        builder.begin_level()?;
        builder.push_plain(level)?;
    }
    builder.finish()
}

/// A name as it is read, off the heap until it is whole.
struct Builder {
    bytes: [u8; Destination::NAME_BYTES_MAX],
    len: usize,
    has_level: bool,
}

impl Builder {
    const fn new() -> Self {
        Self { bytes: [0; Destination::NAME_BYTES_MAX], len: 0, has_level: false }
    }

    fn begin_level(&mut self) -> Result<(), DestinationError> {
        if std::mem::replace(&mut self.has_level, true) { self.push("\0") } else { Ok(()) }
    }

    /// Adds to the level what may have escapes.
    fn push_escaped(&mut self, text: &str) -> Result<(), DestinationError> {
        if text == EMPTY {
            return Ok(());
        }
        let mut rest = text;
        while let Some((plain, escaped)) = rest.find('*').map(|at| rest.split_at(at)) {
            self.push_unmarked(plain)?;
            let (special, behind) = ESCAPES
                .into_iter()
                .find_map(|(special, escape)| Some((special, escaped.strip_prefix(escape)?)))
                .ok_or(DestinationError::Wildcard)?;
            self.push(special)?;
            rest = behind;
        }
        self.push_unmarked(rest)
    }

    /// Adds what must have no wildcard in it.
    fn push_unmarked(&mut self, text: &str) -> Result<(), DestinationError> {
        if text.contains(['>', '#']) {
            return Err(DestinationError::Wildcard);
        }
        self.push_plain(text)
    }

    fn push_plain(&mut self, text: &str) -> Result<(), DestinationError> {
        if text.chars().any(char::is_control) {
            return Err(DestinationError::Control);
        }
        self.push(text)
    }

    fn push(&mut self, text: &str) -> Result<(), DestinationError> {
        let end = self.len + text.len();
        let room = self.bytes.get_mut(self.len..end).ok_or(DestinationError::TooLong)?;
        room.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }

    fn finish(self) -> Result<Name, DestinationError> {
        let name = self.bytes.get(..self.len).and_then(|bytes| str::from_utf8(bytes).ok());
        match name {
            None | Some("") => Err(DestinationError::Empty),
            Some(name) => Ok(Name(name.into())),
        }
    }
}

const fn is_special(byte: u8) -> bool {
    matches!(byte, 0 | 2..=4 | b'.' | b'*' | b'>' | b'#')
}

const SEPARATOR: char = '\0';
const HIDDEN: char = '\u{1}';

/// The levels that are wildcards: any one level; any levels, written `>` or `#`.
pub(crate) const ONE: &str = "\u{2}";
pub(crate) const REST: &str = "\u{3}";
pub(crate) const REST_HASH: &str = "\u{4}";

/// How a string says what would mean something else. Each has a `*` in a longer level, which without
/// escapes no name could have.
const EMPTY: &str = "*0";
const ESCAPES: [(&str, &str); 4] = [(".", "*2E"), ("*", "*2A"), (">", "*3E"), ("#", "*23")];
