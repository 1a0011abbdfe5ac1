//! The reference page and the JSON schema, made from the keys.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::keys::{Form, Key, ROOT, SECTIONS, Section, list};

/// The reference page, in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(INTRODUCTION);
    for section in SECTIONS {
        // Writing to a string cannot fail.
        let _infallible = write!(page, "\n## {}\n\n{}\n\n", section.header, section.doc);
        page.push_str("| key | value | default | |\n|---|---|---|---|\n");
        for Key { name, form, default, doc, of } in section.keys {
            let is_table = matches!(form, Form::Table(_) | Form::Tables(_));
            let default = if default.is_empty() && !is_table { "required" } else { default };
            let of = match of {
                [] => String::new(),
                types => format!("Of type {}. ", list(types)),
            };
            let _infallible =
                writeln!(page, "| `{name}` | {} | {default} | {of}{doc} |", form.as_str());
        }
    }
    page
}

/// The JSON schema, for editors.
#[must_use]
pub fn schema() -> Value {
    with(
        object(&ROOT),
        [
            ("$schema", "https://json-schema.org/draft/2020-12/schema"),
            ("title", "The configuration of Passerelle"),
        ],
    )
}

/// The object with these texts too.
fn with<const N: usize>(mut value: Value, texts: [(&str, &str); N]) -> Value {
    if let Value::Object(object) = &mut value {
        object.extend(texts.map(|(key, text)| (key.to_owned(), text.into())));
    }
    value
}

fn object(section: &Section) -> Value {
    let is_required = |key: &&Key| {
        let is_table = matches!(key.form, Form::Table(_) | Form::Tables(_));
        key.default.is_empty() && key.of.is_empty() && !is_table
    };
    let required: Vec<_> = section.keys.iter().filter(is_required).map(|key| key.name).collect();
    let properties: Map<_, _> =
        section.keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    })
}

fn property(key: &Key) -> Value {
    let duration = json!({ "type": ["number", "string"], "minimum": 0 });
    let property = match key.form {
        Form::Text => json!({ "type": "string" }),
        Form::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Form::Choice(words) => json!({ "enum": words }),
        Form::Number => json!({ "type": "integer", "minimum": 1 }),
        Form::Flag => json!({ "type": "boolean" }),
        Form::Duration => duration,
        Form::Bytes => json!({ "type": ["integer", "string"], "minimum": 1 }),
        Form::Pings => json!({
            "type": "object",
            "additionalProperties": { "anyOf": [duration, { "const": false }] },
        }),
        Form::Password(section) => json!({ "anyOf": [{ "type": "string" }, object(section)] }),
        Form::Table(section) => object(section),
        Form::Tables(section) => json!({ "type": "array", "items": object(section) }),
        Form::OneOrMore(section) => json!({
            "anyOf": [object(section), { "type": "array", "items": object(section), "minItems": 1 }],
        }),
    };
    with(property, [("description", key.doc)])
}

const INTRODUCTION: &str = "\
# The configuration file

`passerelle serve --config passerelle.toml` reads it, `passerelle check --config passerelle.toml`
says what it would do. It is TOML; unknown keys and contradictions are refused with their line.
Without a file, or for what it leaves out, the defaults hold. A file with a `[[listen]]` replaces
the default listener, one with a `[[service]]` replaces the default services.

Durations are seconds or strings such as `\"500ms\"`, `\"30s\"`, `\"5m\"`, `\"1h\"`; bytes are numbers or
strings such as `\"64KiB\"`, `\"16MiB\"`, `\"1GiB\"`. Relative paths start from the folder of the file.

```toml
[[listen]]
address = \"127.0.0.1:8080\"
names = [\"gw.example.com\"]             # what browsers call it
# tls = { certificate = \"gw.pem\", key = \"gw.key\" }   # without a proxy

[[service]]
path = \"/messaging\"
type = \"broker\"
limits = { subscriptions-max = 100 }

[[service]]
path = \"/amqp\"
type = \"proxy\"
connect = \"tcp://rabbit.internal:5672\"
ping = { amqp = false }                 # Qpid JMS breaks when it is pinged

[[user]]
name = \"market\"
password = \"$argon2id$v=19$m=19456,t=2,p=1$…\"
roles = [\"feeder\"]

[[access]]
destination = \"/topic/quotes.>\"
subscribe = [\"*\"]
send = [\"role:feeder\"]
```
";
