//! A table of the file as data: its keys, and what the reference, the schema and errors say of them.

use serde_json::{Map, Value as Json, json};

/// A table of the file: what the reference and the schema say of it.
#[derive(Debug)]
pub(crate) struct Section {
    /// How it begins, or what it is.
    pub(crate) header: &'static str,
    /// What it is for: the lines of a doc comment.
    pub(crate) docs: &'static [&'static str],
    /// What may stand in it.
    pub(crate) keys: &'static [Key],
    /// Whose keys may stand in it too.
    pub(crate) more: &'static [&'static Self],
}

/// A key of a table.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it means: the lines of a doc comment.
    pub(crate) docs: &'static [&'static str],
    /// What the reference calls its values.
    pub(crate) form: &'static str,
    /// The JSON schema of its values.
    pub(crate) schema: fn() -> Json,
    /// What holds when it is left out, as the reference says it; `None`: it is required.
    pub(crate) default: Option<fn() -> String>,
    /// What has it: types of service, or `[limits]` for what no service may set; empty: all.
    pub(crate) of: &'static [&'static str],
}

impl Section {
    /// The key of this name.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.all().find(|key| key.name == name)
    }

    /// Its keys, in the order of the reference.
    pub(crate) fn all(&self) -> impl Iterator<Item = &'static Key> + use<> {
        self.keys.iter().chain(self.more.iter().flat_map(|section| section.keys))
    }

    /// What to say about a key that it does not have.
    pub(crate) fn unknown(&self, name: &str) -> String {
        let former = FORMER.iter().find(|(header, key, _)| (self.header, name) == (*header, *key));
        if let Some((_, _, instead)) = former {
            return format!("`{name}` no longer exists: {instead}");
        }
        let place = match self.header.starts_with(char::is_uppercase) {
            true => "at the top of the file".into(),
            false => format!("in {}", self.header),
        };
        format!("unknown key `{name}` {place}: {}", suggest(name, &self.names()))
    }

    /// The key that may have been meant by `wrong`.
    pub(crate) fn meant(&self, wrong: &str) -> Option<&'static str> {
        meant(wrong, &self.names())
    }

    /// The JSON schema of it.
    pub(crate) fn schema(&self) -> Json {
        let required = self.all().filter(|key| key.default.is_none() && key.of.is_empty());
        let required: Vec<_> = required.map(|key| key.name).collect();
        let property = |key: &Key| with((key.schema)(), [("description", &*text(key.docs))]);
        let properties: Map<_, _> =
            self.all().map(|key| (key.name.to_owned(), property(key))).collect();
        json!({
            "type": "object",
            "additionalProperties": false,
            "required": required,
            "properties": properties,
        })
    }

    fn names(&self) -> Vec<&'static str> {
        self.all().map(|key| key.name).collect()
    }
}

/// What may have been meant by `wrong`.
pub(crate) fn suggest(wrong: &str, right: &[&str]) -> String {
    match meant(wrong, right) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("expected one of {}", list(right)),
    }
}

/// The word that `wrong` is nearly, or begins with.
pub(crate) fn meant<'a>(wrong: &str, right: &[&'a str]) -> Option<&'a str> {
    let near = right.iter().map(|right| (strsim::damerau_levenshtein(wrong, right), *right));
    near.min()
        .filter(|(distance, near)| *distance <= 1 + near.len() / 5)
        .map(|(_, near)| near)
        .or_else(|| right.iter().copied().find(|right| wrong.starts_with(*right)))
}

pub(crate) fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// The text of a doc comment: a paragraph in a line.
pub(crate) fn text(docs: &[&str]) -> String {
    let paragraphs = docs.split(|line| line.is_empty());
    let line = |lines: &[&str]| lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    paragraphs.map(line).collect::<Vec<_>>().join("\n\n")
}

/// The object with these texts too.
pub(crate) fn with<const N: usize>(mut value: Json, texts: [(&str, &str); N]) -> Json {
    if let Json::Object(object) = &mut value {
        object.extend(texts.map(|(key, text)| (key.to_owned(), text.into())));
    }
    value
}

/// Keys that once were: their section, their name, and what to write instead.
const FORMER: &[(&str, &str, &str)] = &[(
    "[metrics]",
    "public",
    "metrics are served where a [[listen]] says operations = true (best one of its own, on an \
     address that only operators reach), and to users with a role of [operations] roles = [...]",
)];
