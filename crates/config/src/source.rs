use std::{
    fmt,
    ops::{Range, RangeInclusive},
    path::Path,
    time::Duration,
};

use toml::{
    Spanned,
    de::{DeInteger, DeTable, DeValue},
};

use crate::{
    keys::{Key, Section},
    value,
};

/// What is wrong with a configuration, in the words of the file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub struct ConfigError {
    /// The file's name.
    pub file: Box<str>,
    /// The line, from 1; 0 when it is about the file as a whole.
    pub line: usize,
    /// The character within the line, from 1.
    pub column: usize,
    /// What is wrong and what to do.
    pub message: Box<str>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, message } = self;
        match line {
            0 => write!(f, "{file}: {message}"),
            _ => write!(f, "{file}:{line}:{column}: {message}"),
        }
    }
}

impl ConfigError {
    /// An error about the file as a whole.
    #[must_use]
    pub fn of_file(file: &str, message: impl fmt::Display) -> Self {
        Self { file: file.into(), line: 0, column: 0, message: message.to_string().into() }
    }
}

pub(crate) type Result<T> = std::result::Result<T, ConfigError>;

/// The text of a configuration, and where it comes from.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) text: &'a str,
    pub(crate) file: &'a str,
}

impl<'a> Source<'a> {
    /// An error about these bytes of the text.
    pub(crate) fn error(&self, at: &Range<usize>, message: impl fmt::Display) -> ConfigError {
        let (line, column) = self.place(at.start);
        ConfigError { file: self.file.into(), line, column, message: message.to_string().into() }
    }

    pub(crate) fn line(&self, at: &Range<usize>) -> usize {
        self.place(at.start).0
    }

    /// The folder of the file.
    pub(crate) fn folder(&self) -> &'a Path {
        Path::new(self.file).parent().unwrap_or_else(|| Path::new(""))
    }

    fn place(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        (before.matches('\n').count() + 1, column)
    }
}

/// A table of the file, all of whose keys are known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<'a> {
    source: &'a Source<'a>,
    section: &'static Section,
    entries: &'a DeTable<'a>,
    start: usize,
}

impl<'a> Table<'a> {
    /// Refuses keys that the section does not have.
    pub(crate) fn open(
        source: &'a Source<'a>,
        section: &'static Section,
        entries: &'a Spanned<DeTable<'a>>,
    ) -> Result<Self> {
        Self::from_parts(source, section, entries.get_ref(), entries.span().start)
    }

    fn from_parts(
        source: &'a Source<'a>,
        section: &'static Section,
        entries: &'a DeTable<'a>,
        start: usize,
    ) -> Result<Self> {
        let unknown = entries.keys().filter(|key| section.key(key.get_ref()).is_none());
        match unknown.min_by_key(|key| key.span().start) {
            Some(key) => Err(source.error(&key.span(), section.unknown(key.get_ref()))),
            None => Ok(Self { source, section, entries, start }),
        }
    }

    /// The value of a key of the section, if the table has it.
    pub(crate) fn get(&self, key: &'static str) -> Option<Value<'a>> {
        debug_assert!(self.section.key(key).is_some(), "{key} is in the reference");
        let value = self.entries.get(key)?;
        Some(Value { source: self.source, key, value })
    }

    /// The value of a key that must be there; `such_as` shows one.
    pub(crate) fn require(&self, key: &'static str, such_as: &str) -> Result<Value<'a>> {
        self.get(key).ok_or_else(|| {
            let header = self.section.header;
            self.error(format_args!("{header} needs `{key}`, such as {key} = {such_as}"))
        })
    }

    /// The first of its keys that the predicate picks, and where it stands.
    pub(crate) fn find(&self, pick: impl Fn(&Key) -> bool) -> Option<(&'static Key, Range<usize>)> {
        let keys = self.entries.keys();
        keys.filter_map(|key| Some((self.section.key(key.get_ref())?, key.span())))
            .filter(|(key, _)| pick(key))
            .min_by_key(|(_, span)| span.start)
    }

    /// An error about the table as a whole.
    pub(crate) fn error(&self, message: impl fmt::Display) -> ConfigError {
        self.source.error(&(self.start..self.start), message)
    }

    /// The file it stands in.
    pub(crate) const fn source(&self) -> &'a Source<'a> {
        self.source
    }
}

/// The value of a key.
#[derive(Clone, Debug)]
pub(crate) struct Value<'a> {
    source: &'a Source<'a>,
    key: &'a str,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Value<'a> {
    /// Where it stands.
    pub(crate) fn span(&self) -> Range<usize> {
        self.value.span()
    }

    /// Where it stands.
    pub(crate) fn line(&self) -> usize {
        self.source.line(&self.span())
    }

    /// An error about it without a message yet.
    pub(crate) fn place(&self) -> ConfigError {
        self.source.error(&self.span(), "")
    }

    /// The folder of the file.
    pub(crate) fn folder(&self) -> &'a Path {
        self.source.folder()
    }

    /// Its key.
    pub(crate) const fn key(&self) -> &'a str {
        self.key
    }

    /// An error about it, which begins with its key.
    pub(crate) fn error(&self, message: impl fmt::Display) -> ConfigError {
        self.source.error(&self.span(), format_args!("`{}`: {message}", self.key))
    }

    /// A string.
    pub(crate) fn text(&self) -> Result<&'a str> {
        self.value.get_ref().as_str().ok_or_else(|| self.expected("a string in quotes"))
    }

    /// A string that means something.
    pub(crate) fn read<T, E: fmt::Display>(
        &self,
        read: impl FnOnce(&'a str) -> std::result::Result<T, E>,
    ) -> Result<T> {
        read(self.text()?).map_err(|error| self.error(error))
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self) -> Result<bool> {
        self.value.get_ref().as_bool().ok_or_else(|| self.expected("true or false"))
    }

    /// A whole number within bounds.
    pub(crate) fn count<T: TryFrom<u64>>(&self, bounds: RangeInclusive<u64>) -> Result<T> {
        let DeValue::Integer(number) = self.value.get_ref() else {
            return Err(self.expected("a whole number"));
        };
        let (min, max) = bounds.into_inner();
        if number.as_str().starts_with('-') {
            return Err(self.error(format_args!("{number} is too small: at least {min}")));
        }
        match u64::from_str_radix(number.as_str(), number.radix()) {
            Ok(small) if small < min => {
                Err(self.error(format_args!("{number} is too small: at least {min}")))
            }
            Ok(large) if large > max => {
                Err(self.error(format_args!("{number} is too large: at most {max}")))
            }
            Ok(fitting) => T::try_from(fitting).map_err(|_| self.too_large(number)),
            Err(_) => Err(self.too_large(number)),
        }
    }

    fn too_large(&self, number: &DeInteger<'_>) -> ConfigError {
        self.error(format_args!("{number} is too large"))
    }

    /// A number of bytes, from 1 on.
    pub(crate) fn bytes(&self) -> Result<usize> {
        let value = self.value.get_ref();
        if let Some(text) = value.as_str() {
            return value::bytes(text).map_err(|error| self.error(error));
        }
        if value.is_integer() {
            return self.count(1..=u64::MAX);
        }
        Err(self.expected("a number of bytes, or a string such as \"16MiB\""))
    }

    /// A duration.
    pub(crate) fn duration(&self) -> Result<Duration> {
        let value = self.value.get_ref();
        let written = self.source.text.get(self.span()).unwrap_or_default();
        let read = match value.as_str() {
            Some(text) => value::duration(text),
            None if value.is_integer() || value.is_float() => {
                value::duration(&format!("{written}s"))
            }
            None => {
                return Err(self.expected("a number of seconds, or a string such as \"500ms\""));
            }
        };
        read.map_err(|error| self.error(error))
    }

    /// A list.
    pub(crate) fn list(&self) -> Result<impl Iterator<Item = Self> + use<'a>> {
        let (source, key) = (self.source, self.key);
        let list = self.value.get_ref().as_array().ok_or_else(|| self.expected("a list"))?;
        Ok(list.iter().map(move |value| Self { source, key, value }))
    }

    /// A table.
    pub(crate) fn table(&self, section: &'static Section) -> Result<Table<'a>> {
        let entries = self.value.get_ref().as_table().ok_or_else(|| {
            let one = self.value.get_ref().is_array() && section.header.starts_with('[');
            let header = section.header;
            self.expected(if one { format!("one table: write {header}") } else { "a table".into() })
        })?;
        Table::from_parts(self.source, section, entries, self.span().start)
    }

    /// A table whose keys the operator chooses.
    pub(crate) fn entries(&self) -> Result<impl Iterator<Item = Self> + use<'a>> {
        let source = self.source;
        let entries = self.value.get_ref().as_table().ok_or_else(|| self.expected("a table"))?;
        Ok(entries.iter().map(move |(key, value)| Self { source, key: key.get_ref(), value }))
    }

    /// Tables, each under a header of its own.
    pub(crate) fn tables(&self, section: &'static Section) -> Result<Vec<Table<'a>>> {
        let header = section.header;
        let list = self.value.get_ref().as_array();
        let list = list.ok_or_else(|| self.expected(format_args!("a list: write {header}")))?;
        if list.len() > TABLES_MAX {
            let many = list.len();
            return Err(self.error(format_args!("{many} are too many: at most {TABLES_MAX}")));
        }
        let (source, key) = (self.source, self.key);
        list.iter().map(|value| Self { source, key, value }.table(section)).collect()
    }

    /// A table, or the tables of a list.
    pub(crate) fn one_or_more(&self, section: &'static Section) -> Result<Vec<Table<'a>>> {
        if !self.value.get_ref().is_array() {
            return Ok(vec![self.table(section)?]);
        }
        let tables = self.list()?.map(|value| value.table(section)).collect::<Result<Vec<_>>>()?;
        if tables.is_empty() {
            return Err(self.error("at least one is required"));
        }
        Ok(tables)
    }

    /// Whether it is a string.
    pub(crate) fn is_text(&self) -> bool {
        self.value.get_ref().is_str()
    }

    /// Whether it is `true` or `false`.
    pub(crate) fn as_flag(&self) -> Option<bool> {
        self.value.get_ref().as_bool()
    }

    /// An error for a value of another type.
    pub(crate) fn expected(&self, what: impl fmt::Display) -> ConfigError {
        self.error(format_args!("expected {what}"))
    }
}

/// Tables of one kind: enough for all, and their places fit 16 bits.
const TABLES_MAX: usize = 10_000;
