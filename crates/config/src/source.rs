use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    collections::BTreeSet,
    fmt,
    ops::RangeInclusive,
    path::Path,
    time::Duration,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use serde_json::Value as Json;

use crate::{
    ConfigError, ConfigErrors, Environment,
    outside::expand,
    section::{Key, Section},
    value,
};

/// The text of a configuration, where it comes from, and what was found wrong with it.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) text: &'a str,
    pub(crate) file: &'a str,
    environment: &'a dyn Environment,
    /// The lines that are no TOML.
    broken_lines: BTreeSet<usize>,
    errors: RefCell<Vec<(usize, String)>>,
    reported: Cell<usize>,
}

impl<'a> Source<'a> {
    pub(crate) const fn new(
        text: &'a str,
        file: &'a str,
        environment: &'a dyn Environment,
    ) -> Self {
        Self {
            text,
            file,
            environment,
            broken_lines: BTreeSet::new(),
            errors: RefCell::new(Vec::new()),
            reported: Cell::new(0),
        }
    }

    /// Notes that the text is no TOML from this byte on, before anything else is reported.
    pub(crate) fn report_broken(&mut self, start: usize, message: impl fmt::Display) {
        self.report(start, message);
        if self.broken_lines.len() < REPORTS_MAX {
            self.broken_lines.insert(self.line(start));
        }
    }

    /// Whether it is no TOML: what seems to be missing may be in what could not be read.
    pub(crate) fn is_broken(&self) -> bool {
        !self.broken_lines.is_empty()
    }

    /// Notes what is wrong from this byte on. Nothing more is said of a broken line.
    pub(crate) fn report(&self, start: usize, message: impl fmt::Display) {
        let reported = self.reported.replace(self.reported.get() + 1);
        if reported < REPORTS_MAX
            && (!self.is_broken() || !self.broken_lines.contains(&self.line(start)))
        {
            self.errors.borrow_mut().push((start, message.to_string()));
        }
    }

    /// As [`Source::report`], unless something is wrong there already.
    pub(crate) fn report_once(&self, start: usize, message: impl fmt::Display) {
        if self.errors.borrow().iter().all(|(other, _)| *other != start) {
            self.report(start, message);
        }
    }

    /// How often [`Source::report`] was called.
    pub(crate) fn reported(&self) -> usize {
        self.reported.get()
    }

    /// What was reported, in the order of the file.
    pub(crate) fn errors(&self) -> ConfigErrors {
        let mut errors = self.errors.take();
        errors.sort();
        errors.dedup();
        let shown = errors.iter().take(ConfigErrors::SHOWN_MAX);
        ConfigErrors {
            errors: shown.map(|(start, message)| self.error(*start, message)).collect(),
            more: errors.len().saturating_sub(ConfigErrors::SHOWN_MAX)
                + self.reported.get().saturating_sub(REPORTS_MAX),
        }
    }

    /// An error about the text from this byte on.
    pub(crate) fn error(&self, start: usize, message: &str) -> ConfigError {
        let (line, column) = self.position(start);
        ConfigError { file: self.file.into(), line, column, message: message.into() }
    }

    pub(crate) fn line(&self, start: usize) -> usize {
        self.position(start).0
    }

    /// The folder of the file.
    pub(crate) fn folder(&self) -> &'a Path {
        Path::new(self.file).parent().unwrap_or_else(|| Path::new(""))
    }

    fn position(&self, start: usize) -> (usize, usize) {
        let before = self.text.get(..start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        (before.matches('\n').count() + 1, column)
    }
}

/// A table of the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<'a> {
    source: &'a Source<'a>,
    section: &'static Section,
    entries: &'a DeTable<'a>,
    start: usize,
}

impl<'a> Table<'a> {
    /// Reports keys that the section does not have.
    pub(crate) fn open(
        source: &'a Source<'a>,
        section: &'static Section,
        entries: &'a DeTable<'a>,
        start: usize,
    ) -> Self {
        for key in entries.keys().filter(|key| section.key(key.get_ref()).is_none()) {
            source.report(key.span().start, section.unknown(key.get_ref()));
        }
        Self { source, section, entries, start }
    }

    /// The value of a key of the section, if the table has a right one.
    pub(crate) fn read<T: Form>(&self, key: &'static str) -> Option<T> {
        T::read(&self.get(key)?)
    }

    /// The value of a key that is required; `example` shows one.
    pub(crate) fn require<T: Form>(&self, key: &'static str, example: &str) -> Option<T> {
        if let Some(value) = self.get(key) {
            return T::read(&value);
        }
        let unknown = self.entries.keys().filter(|name| self.section.key(name.get_ref()).is_none());
        let is_misspelt =
            unknown.map(|name| self.section.meant(name.get_ref())).any(|meant| meant == Some(key));
        if !is_misspelt && !self.source.is_broken() {
            let header = self.section.header;
            let cure = match T::HINT {
                Some(hint) => format!(": {hint}"),
                None => format!(", such as {key} = \"{example}\""),
            };
            self.source.report(self.start, format_args!("{header} needs `{key}`{cure}"));
        }
        None
    }

    fn get(&self, key: &'static str) -> Option<Value<'a>> {
        Some(Value { source: self.source, key, value: self.entries.get(key)? })
    }

    /// Where it begins, in bytes.
    pub(crate) const fn start(&self) -> usize {
        self.start
    }

    /// The file it stands in.
    pub(crate) const fn source(&self) -> &'a Source<'a> {
        self.source
    }

    /// Where the keys of the section stand.
    pub(crate) fn places(&self) -> Vec<Place> {
        let place = |(name, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let items = value.get_ref().as_array().map(|list| {
                let starts = list.iter().map(|item| item.span().start);
                starts.collect()
            });
            let name: &Spanned<Cow<'_, str>> = name;
            Some(Place {
                key: self.section.key(name.get_ref())?.name,
                key_start: name.span().start,
                start: value.span().start,
                items: items.unwrap_or_default(),
            })
        };
        self.entries.iter().filter_map(place).collect()
    }

    /// Reports the keys that the predicate picks.
    pub(crate) fn refuse_keys(
        &self,
        is_refused: impl Fn(&Key) -> bool,
        message: impl Fn(&Key) -> String,
    ) {
        for name in self.entries.keys() {
            if let Some(key) = self.section.key(name.get_ref())
                && is_refused(key)
            {
                self.source.report(name.span().start, message(key));
            }
        }
    }
}

/// Where a key of a table stands, in bytes.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) key: &'static str,
    pub(crate) key_start: usize,
    pub(crate) start: usize,
    /// Where the items begin, if it is a list.
    pub(crate) items: Vec<usize>,
}

/// A type whose values can be written in a file.
pub(crate) trait Form: Sized {
    /// What the reference calls it.
    const NAME: &'static str;

    /// How to come by a value, where no example would do.
    const HINT: Option<&'static str> = None;

    /// The JSON schema of its values.
    fn schema() -> Json;

    /// Reads a value. What is wrong with it has been reported when there is none.
    fn read(value: &Value<'_>) -> Option<Self>;
}

/// The value of a key.
#[derive(Clone, Debug)]
pub(crate) struct Value<'a> {
    source: &'a Source<'a>,
    key: &'a str,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Value<'a> {
    /// Where it begins, in bytes.
    pub(crate) fn start(&self) -> usize {
        self.value.span().start
    }

    /// Its key.
    pub(crate) const fn key(&self) -> &'a str {
        self.key
    }

    /// The file it stands in.
    pub(crate) const fn source(&self) -> &'a Source<'a> {
        self.source
    }

    /// Reports what is wrong with it, and returns nothing.
    pub(crate) fn refuse<T>(&self, message: impl fmt::Display) -> Option<T> {
        self.source.report(self.start(), format_args!("`{}`: {message}", self.key));
        None
    }

    /// Reports a value of another type.
    fn expected<T>(&self, what: impl fmt::Display) -> Option<T> {
        self.refuse(format_args!("expected {what}"))
    }

    /// A string, with the environment variables that it names.
    pub(crate) fn string(&self) -> Option<Cow<'a, str>> {
        match self.value.get_ref().as_str() {
            Some(text) => self.expand(text),
            None => self.expected("a string in quotes"),
        }
    }

    /// A string that is a secret: it may stand in a file of its own.
    pub(crate) fn secret(&self) -> Option<Cow<'a, str>> {
        let text = self.string()?;
        let Some(file) = text.strip_prefix("file:") else { return Some(text) };
        let path = self.source.folder().join(file);
        match self.source.environment.file(&path) {
            Ok(text) => Some(text.trim_end().to_owned().into()),
            Err(error) => self.refuse(format_args!("{} cannot be read: {error}", path.display())),
        }
    }

    fn expand(&self, text: &'a str) -> Option<Cow<'a, str>> {
        expand(text, self.source.environment).map_or_else(|error| self.refuse(error), Some)
    }

    /// Reads the value that another text has for the same key. What is wrong with it is reported here.
    pub(crate) fn read_other<T>(
        &self,
        text: &str,
        read: impl FnOnce(&Value<'_>) -> Option<T>,
    ) -> Option<T> {
        let text = format!("{} = {text}", self.key);
        let source = Source::new(&text, self.source.file, self.source.environment);
        let Ok(document) = DeTable::parse(&text) else {
            return self.refuse("what it stands for is no TOML");
        };
        let value = document.get_ref().get(self.key)?;
        let read = read(&Value { source: &source, key: self.key, value });
        source.errors().iter().for_each(|error| self.source.report(self.start(), &error.message));
        read
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self) -> Option<bool> {
        self.as_flag().or_else(|| self.expected("true or false"))
    }

    /// A number, with a fraction or without, within bounds.
    pub(crate) fn number(&self, bounds: RangeInclusive<f64>) -> Option<f64> {
        let read = match self.value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse::<f64>(),
            DeValue::Float(number) => number.as_str().parse(),
            DeValue::Integer(_)
            | DeValue::String(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => return self.expected("a number"),
        };
        match read {
            Ok(number) if bounds.contains(&number) => Some(number),
            Ok(_) | Err(_) => {
                let (min, max) = bounds.into_inner();
                self.refuse(format_args!("expected a number from {min} to {max}"))
            }
        }
    }

    /// A whole number within bounds.
    pub(crate) fn count(&self, bounds: RangeInclusive<u64>) -> Option<u64> {
        let DeValue::Integer(number) = self.value.get_ref() else {
            return self.expected("a whole number");
        };
        let (min, max) = bounds.into_inner();
        if number.as_str().starts_with('-') {
            return self.refuse(format_args!("{number} is too small: at least {min}"));
        }
        match u64::from_str_radix(number.as_str(), number.radix()) {
            Ok(small) if small < min => {
                self.refuse(format_args!("{number} is too small: at least {min}"))
            }
            Ok(fitting) if fitting <= max => Some(fitting),
            Ok(_) | Err(_) if max < u64::MAX => {
                self.refuse(format_args!("{number} is too large: at most {max}"))
            }
            Ok(_) | Err(_) => self.refuse(format_args!("{number} is too large")),
        }
    }

    /// A number of bytes, from 1 on.
    pub(crate) fn bytes(&self) -> Option<usize> {
        let value = self.value.get_ref();
        if let Some(text) = value.as_str() {
            return value::bytes(&self.expand(text)?).map_or_else(|error| self.refuse(error), Some);
        }
        if value.is_integer() {
            let count = self.count(1..=u64::MAX)?;
            return usize::try_from(count).ok().or_else(|| self.refuse("too many bytes"));
        }
        self.expected("a number of bytes, or a string such as \"16MiB\"")
    }

    /// A duration.
    pub(crate) fn duration(&self) -> Option<Duration> {
        let value = self.value.get_ref();
        let written = self.source.text.get(self.value.span()).unwrap_or_default();
        let read = match value.as_str() {
            Some(text) => value::duration(&self.expand(text)?),
            None if value.is_integer() || value.is_float() => {
                value::duration(&format!("{written}s"))
            }
            None => return self.expected("a number of seconds, or a string such as \"500ms\""),
        };
        read.map_or_else(|error| self.refuse(error), Some)
    }

    /// A date and time with an offset, in milliseconds since 1970-01-01 UTC.
    pub(crate) fn unix_ms(&self) -> Option<u64> {
        let time = self.value.get_ref().as_datetime().ok_or(value::DATE_AND_TIME);
        time.and_then(value::unix_ms).map_or_else(|error| self.refuse(error), Some)
    }

    /// A list.
    pub(crate) fn list(&self) -> Option<impl Iterator<Item = Self> + use<'a>> {
        let Self { source, key, .. } = *self;
        let list = self.value.get_ref().as_array().or_else(|| self.expected("a list"))?;
        Some(list.iter().map(move |value| Self { source, key, value }))
    }

    /// A table.
    pub(crate) fn table(&self, section: &'static Section) -> Option<Table<'a>> {
        let Some(entries) = self.value.get_ref().as_table() else {
            let one = self.value.get_ref().is_array() && section.header.starts_with('[');
            let header = section.header;
            return self.expected(if one {
                format!("one table: write {header}")
            } else {
                "a table".into()
            });
        };
        Some(Table::open(self.source, section, entries, self.start()))
    }

    /// A table whose keys the operator chooses.
    pub(crate) fn entries(&self) -> Option<impl Iterator<Item = Self> + use<'a>> {
        let source = self.source;
        let entries = self.value.get_ref().as_table().or_else(|| self.expected("a table"))?;
        Some(entries.iter().map(move |(key, value)| Self { source, key: key.get_ref(), value }))
    }

    /// Values that are tables, each under a header of its own.
    pub(crate) fn tables(&self, section: &'static Section) -> Option<Vec<Self>> {
        let header = section.header;
        let Some(list) = self.value.get_ref().as_array() else {
            return self.expected(format_args!("a list: write {header}"));
        };
        if list.len() > TABLES_MAX {
            let many = list.len();
            return self.refuse(format_args!("{many} are too many: at most {TABLES_MAX}"));
        }
        Some(self.list()?.collect())
    }

    /// A value, or the values of a list.
    pub(crate) fn one_or_more(&self) -> Option<Vec<Self>> {
        match self.value.get_ref().as_array() {
            Some(list) if list.is_empty() => self.refuse("at least one is required"),
            Some(_) => Some(self.list()?.collect()),
            None => Some(vec![self.clone()]),
        }
    }

    /// Whether it is a string.
    pub(crate) fn is_string(&self) -> bool {
        self.value.get_ref().is_str()
    }

    /// Whether it is `true` or `false`.
    pub(crate) fn as_flag(&self) -> Option<bool> {
        self.value.get_ref().as_bool()
    }
}

/// Errors that are kept; in a file that is nowhere right there may be very many.
const REPORTS_MAX: usize = 1000;
/// Tables of one kind: enough for all, and their places fit 16 bits.
const TABLES_MAX: usize = 10_000;
