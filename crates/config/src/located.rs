//! What is read of tables: their keys, and where these stand.

use std::fmt;

use serde_json::{Value as Json, json};

use crate::{
    keys::Keys,
    source::{Form, Place, Source, Table, Value},
};

/// A table that was read, and where its keys stand.
#[derive(Debug)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    /// Where it begins, in bytes.
    pub(crate) start: usize,
    /// Whether nothing in it was reported as wrong: else it is not complete, and what contradicts
    /// it may be right.
    pub(crate) is_whole: bool,
    places: Vec<Place>,
}

impl<T: Keys> Located<T> {
    /// Reads the keys of a table; `reported`: what was reported before it was opened.
    pub(crate) fn of_table(table: &Table<'_>, reported: usize) -> Option<Self> {
        let value = T::of_table(table)?;
        let is_whole = table.source().reported() == reported;
        Some(Self { value, start: table.start(), is_whole, places: table.places() })
    }
}

impl<T> Located<T> {
    /// Whether it has no keys.
    pub(crate) const fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Where a key stands, if the table has it.
    pub(crate) fn place(&self, key: &str) -> Option<&Place> {
        self.places.iter().find(|place| place.key == key)
    }

    /// Reports what is wrong with the value of a key.
    pub(crate) fn refuse(&self, source: &Source<'_>, key: &str, message: impl fmt::Display) {
        let start = self.place(key).map_or(self.start, |place| place.start);
        source.report(start, format_args!("`{key}`: {message}"));
    }

    /// Reports what is wrong with an item of a list, of which all could be read if the table is
    /// whole.
    pub(crate) fn refuse_item(
        &self,
        source: &Source<'_>,
        (key, index): (&str, usize),
        message: impl fmt::Display,
    ) {
        let item = self.place(key).and_then(|place| place.items.get(index).copied());
        match item.filter(|_| self.is_whole) {
            Some(start) => source.report(start, format_args!("`{key}`: {message}")),
            None => self.refuse(source, key, message),
        }
    }
}

impl<T: Default> Default for Located<T> {
    fn default() -> Self {
        Self { value: T::default(), start: 0, is_whole: true, places: Vec::new() }
    }
}

impl<T: Keys> Form for Located<T> {
    const NAME: &'static str = "a table";

    fn schema() -> Json {
        T::SECTION.schema()
    }

    fn read(value: &Value<'_>) -> Option<Self> {
        let reported = value.source().reported();
        Self::of_table(&value.table(T::SECTION)?, reported)
    }
}

/// Tables, each under a header of its own.
#[derive(Debug)]
pub(crate) struct Tables<T> {
    /// Those that could be read.
    pub(crate) read: Vec<Located<T>>,
    /// How many there are.
    pub(crate) count: usize,
    /// Whether nothing in them was reported as wrong.
    pub(crate) is_whole: bool,
}

impl<T> Default for Tables<T> {
    fn default() -> Self {
        Self { read: Vec::new(), count: 0, is_whole: true }
    }
}

impl<T> Tables<T> {
    /// One that no file has.
    pub(crate) fn of(value: T) -> Self {
        let one = Located { value, start: 0, is_whole: true, places: Vec::new() };
        Self { read: vec![one], count: 1, is_whole: true }
    }
}

impl<T: Keys> Form for Tables<T> {
    const NAME: &'static str = "tables";

    fn schema() -> Json {
        json!({ "type": "array", "items": T::SECTION.schema() })
    }

    fn read(value: &Value<'_>) -> Option<Self> {
        let reported = value.source().reported();
        let tables = value.tables(T::SECTION)?;
        let count = tables.len();
        let read = tables.iter().filter_map(Located::read).collect();
        Some(Self { read, count, is_whole: value.source().reported() == reported })
    }
}

/// One table, or a list of such tables.
#[derive(Debug)]
pub(crate) struct OneOrMore<T>(Vec<T>);

impl<T> From<OneOrMore<T>> for Vec<T> {
    fn from(OneOrMore(tables): OneOrMore<T>) -> Self {
        tables
    }
}

impl<T: Keys + Form> Form for OneOrMore<T> {
    const NAME: &'static str = "a table, or a list of tables";

    fn schema() -> Json {
        let one = T::SECTION.schema();
        json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
    }

    fn read(value: &Value<'_>) -> Option<Self> {
        Some(Self(value.one_or_more()?.iter().filter_map(T::read).collect()))
    }
}
