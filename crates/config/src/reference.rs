//! The reference page and the JSON schema, made from the keys.

use std::fmt::Write as _;

use serde_json::Value;

use crate::{
    keys::Keys as _,
    section::{Key, list, text, with},
    tables::{Root, SECTIONS},
};

/// The reference page, in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(INTRODUCTION);
    for section in SECTIONS {
        let about = text(section.docs);
        // Writing to a string cannot fail.
        let _infallible = write!(page, "\n## {}\n\n{about}\n\n", section.header);
        page.push_str("| key | value | default | |\n|---|---|---|---|\n");
        for Key { name, form, default, docs, of, .. } in section.all() {
            let default = default.map_or_else(|| "required".into(), |default| default());
            let of = match of {
                [] => String::new(),
                [table] if table.starts_with('[') => format!("Only in `{table}`. "),
                types => format!("Of type {}. ", list(types)),
            };
            let doc = text(docs);
            let _infallible = writeln!(page, "| `{name}` | {form} | {default} | {of}{doc} |");
        }
    }
    page
}

/// The JSON schema, for editors.
#[must_use]
pub fn schema() -> Value {
    with(
        Root::SECTION.schema(),
        [
            ("$schema", "https://json-schema.org/draft/2020-12/schema"),
            ("title", "The configuration of Passerelle"),
        ],
    )
}

const INTRODUCTION: &str = "\
# The configuration file

`passerelle serve passerelle.toml` reads it, `passerelle check passerelle.toml` says what it would do,
and `passerelle init` writes one to begin with ([command-line.md](command-line.md)). It is TOML; unknown
keys, malformed values and contradictions are refused, all of them at once, each with its line and column.
Without a file, or for what it leaves out, the defaults hold. A file with a `[[listen]]` replaces
the default listener, one with a `[[service]]` replaces the default services.

Durations are seconds or strings such as `\"500ms\"`, `\"30s\"`, `\"5m\"`, `\"1h\"`; bytes are numbers or
strings such as `\"64KiB\"`, `\"16MiB\"`, `\"1GiB\"`. Relative paths start from the folder of the file.

`${NAME}` in a string stands for an environment variable, which must be there; `$${` is `${` itself. A password, its hash or its
verifiers may be `\"file:PATH\"`, and stand in that file, as `passerelle password` prints them. So no secret needs to be in the configuration:
`password = \"${ANN}\"`, `password = \"file:/run/secrets/ann\"`.

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
