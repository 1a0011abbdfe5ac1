//! Every key of the configuration: what may stand in a file, and the reference page.

use std::fmt::Write as _;

use super::limits;

/// A table of the file.
#[derive(Debug)]
pub(super) struct Section {
    /// How it begins, or what it is.
    pub(super) header: &'static str,
    /// What it is for.
    pub(super) doc: &'static str,
    /// What may stand in it.
    pub(super) keys: &'static [Key],
}

/// A key of a table.
#[derive(Debug)]
pub(super) struct Key {
    /// Its name.
    pub(super) name: &'static str,
    /// What is written there.
    pub(super) value: &'static str,
    /// What is so when it is left out.
    pub(super) default: &'static str,
    /// What it means.
    pub(super) doc: &'static str,
    /// The types of service that have it; empty: all.
    pub(super) of: &'static [&'static str],
}

impl Section {
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// What to say about a key that it does not have.
    pub(super) fn unknown(&self, name: &str) -> String {
        let names: Vec<_> = self.keys.iter().map(|key| key.name).collect();
        let place = match self.header {
            TOP => "at the top of the file".into(),
            header => format!("in {header}"),
        };
        format!("unknown key `{name}` {place}: {}", suggest(name, &names))
    }
}

/// What somebody who wrote `wrong` may have meant.
pub(super) fn suggest(wrong: &str, right: &[&str]) -> String {
    let near = right.iter().map(|right| (strsim::damerau_levenshtein(wrong, right), right));
    match near.min() {
        Some((distance, near)) if distance <= 1 + near.len() / 5 => {
            format!("did you mean `{near}`?")
        }
        _ => match right.iter().find(|right| wrong.starts_with(*right)) {
            Some(start) => format!("did you mean `{start}`?"),
            None => format!("expected one of {}", list(right)),
        },
    }
}

pub(super) fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// The reference page, in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(INTRODUCTION);
    for section in SECTIONS {
        // Writing to a string cannot fail.
        let _infallible = write!(page, "\n## {}\n\n{}\n\n", section.header, section.doc);
        page.push_str("| key | value | default | |\n|---|---|---|---|\n");
        for Key { name, value, default, doc, of } in section.keys {
            let of = match of {
                [] => String::new(),
                types => format!("Of type {}. ", list(types)),
            };
            let _infallible = writeln!(page, "| `{name}` | {value} | {default} | {of}{doc} |");
        }
    }
    page
}

const INTRODUCTION: &str = "\
# The configuration file

`passerelle serve --config passerelle.toml` reads it, `passerelle check --config passerelle.toml`
says what it would do. It is TOML; unknown keys and contradictions are refused with their line.
Without a file, or for what it leaves out, the defaults hold. A file with a `[[listen]]` replaces
the default listener, one with a `[[service]]` replaces the default services.

Durations are seconds or texts such as `\"500ms\"`, `\"30s\"`, `\"5m\"`, `\"1h\"`; bytes are numbers or
texts such as `\"64KiB\"`, `\"16MiB\"`, `\"1GiB\"`. Relative paths start from the folder of the file.
";

const SECTIONS: &[&Section] = &[
    &ROOT,
    &LISTEN,
    &SERVICE,
    &limits::GLOBAL,
    &USER,
    &PASSWORD,
    &ACCESS,
    &LOG,
    &METRICS,
    &HEALTH,
    &SHUTDOWN,
    &MEMORY,
];

const fn key(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    doc: &'static str,
) -> Key {
    Key { name, value, default, doc, of: &[] }
}

const fn key_of(
    of: &'static [&'static str],
    name: &'static str,
    value: &'static str,
    default: &'static str,
    doc: &'static str,
) -> Key {
    Key { name, value, default, doc, of }
}

/// The types of service that are written in a file.
pub(super) const TYPES: &[&str] =
    &["broadcast", "broker", "directory", "echo", "pages", "proxy", "queues", "topics"];

const WEBSOCKETS: &[&str] = &["broadcast", "broker", "echo", "proxy"];

const TOP: &str = "The top of the file";

pub(super) static ROOT: Section = Section {
    header: TOP,
    doc: "Above all tables. The tables follow, each with a section below.",
    keys: &[
        key("threads", "a number", "the cores of the machine", "Cores to use."),
        key(
            "allow-origins",
            "a list",
            "none",
            "Foreign origins whose pages may use the services that do not have a list of their \
             own: `\"https://app.example.com\"` as browsers send it, `\"null\"`, or `\"*\"` for all.",
        ),
        key("listen", "tables", "127.0.0.1:8080", "Where peers connect: `[[listen]]`."),
        key("service", "tables", "the default services", "What they find: `[[service]]`."),
        key("limits", "a table", "", "Bounds of every service and of the broker: `[limits]`."),
        key("user", "tables", "none", "Who may log in: `[[user]]`."),
        key("access", "tables", "none", "Who may subscribe and send where: `[[access]]`."),
        key("log", "a table", "", "What is logged: `[log]`."),
        key("metrics", "a table", "", "The page `/metrics`: `[metrics]`."),
        key("health", "a table", "", "The pages `/healthz` and `/readyz`: `[health]`."),
        key("shutdown", "a table", "", "How the gateway stops: `[shutdown]`."),
        key("memory", "a table", "", "Bounds over many connections: `[memory]`."),
    ],
};

pub(super) static LISTEN: Section = Section {
    header: "[[listen]]",
    doc: "An address where peers connect: HTTP, WebSocket and STOMP over TCP on one port.",
    keys: &[
        key("address", "a text", "", "IP address and port, such as `\"0.0.0.0:8080\"`."),
        key(
            "names",
            "a list",
            "loopback addresses and `localhost`",
            "The authorities under which browsers find the gateway's own pages, such as \
             `\"gw.example.com:8443\"`: their origins are not foreign.",
        ),
        key(
            "anonymous",
            "true or false",
            "true on a loopback address, else false",
            "Whether one may come in without logging in. Wrong credentials always fail where \
             there are users.",
        ),
    ],
};

pub(super) static SERVICE: Section = Section {
    header: "[[service]]",
    doc: "What a path leads to, and all paths below it that are no other service's.",
    keys: &[
        key("path", "a text", "", "The path, such as `\"/messaging\"`."),
        key(
            "type",
            "a text",
            "",
            "`echo` sends back what it receives. `broadcast` sends what one receives to all. \
             `directory` has the files of a folder. `proxy` carries WebSockets to a TCP server. \
             `broker` speaks every protocol, chosen by subprotocol. `topics` and `queues` publish \
             what is POSTed below them. `pages` are the pages that come with the gateway.",
        ),
        key("allow-origins", "a list", "that of the top", "As at the top, for this service."),
        key("limits", "a table", "`[limits]`", "Bounds of this service: `[service.limits]`."),
        key_of(
            WEBSOCKETS,
            "compression",
            "true or false",
            "true",
            "Whether messages are deflated, for peers who can.",
        ),
        key_of(
            WEBSOCKETS,
            "ping",
            "a table",
            "`limits.ping-interval`, where the subprotocol allows it",
            "By subprotocol, after how much silence a WebSocket is pinged, or `false` for never: \
             `ping = { amqp = false, \"v12.stomp\" = \"10s\" }`.",
        ),
        key_of(
            &["broadcast"],
            "feed",
            "a text",
            "none",
            "Where more messages come from: `\"tcp://host:port\"` connects to a server whose lines \
             are messages, `\"udp://127.0.0.1:9999\"` receives datagrams there.",
        ),
        key_of(&["directory"], "root", "a text", "", "The folder."),
        key_of(
            &["directory"],
            "welcome",
            "a text",
            "`\"index.html\"`",
            "The file that stands for a folder.",
        ),
        key_of(&["proxy"], "connect", "a text", "", "The server: `\"tcp://host:port\"`."),
        key_of(
            &["proxy"],
            "text",
            "true or false",
            "false",
            "Whether what the server sends are text messages, cut at characters, else binary.",
        ),
        key_of(
            &["proxy"],
            "connect-timeout",
            "a duration",
            "`\"10s\"`",
            "How long a connection to the server may take.",
        ),
    ],
};

pub(super) static USER: Section = Section {
    header: "[[user]]",
    doc: "Somebody who may log in. Without users credentials are ignored.",
    keys: &[
        key("name", "a text", "", "The name, as it is sent."),
        key(
            "password",
            "a table or a text",
            "",
            "What `passerelle password` prints; or an Argon2id hash alone.",
        ),
        key("roles", "a list", "none", "What access rules may name besides the user."),
    ],
};

pub(super) static PASSWORD: Section = Section {
    header: "user.password",
    doc: "What is kept of a password. `passerelle password` makes it.",
    keys: &[
        key("argon2id", "a text", "", "A hash that checks the password."),
        key("scram-sha-1", "a text", "none", "A verifier for SCRAM-SHA-1."),
        key("scram-sha-256", "a text", "none", "A verifier for SCRAM-SHA-256."),
    ],
};

pub(super) static ACCESS: Section = Section {
    header: "[[access]]",
    doc: "Who may subscribe and send where. Without rules everybody may everything. With rules \
          the first whose destination matches decides, and a destination in no rule is for \
          nobody. A subscription with wildcards must lie within one rule that allows it and \
          overlap none before it that does not. Temporary destinations are outside the rules.\n\n\
          Lists name everybody (`\"*\"`), everybody who logged in (`\"user:*\"`), a user \
          (`\"user:ann\"`) or a role (`\"role:feeder\"`).",
    keys: &[
        key(
            "destination",
            "a text",
            "",
            "Such as `\"/queue/orders\"`; `*` stands for one level, a final `>` for the rest: \
             `\"/topic/quotes.>\"`; `\">\"` alone is every destination.",
        ),
        key("subscribe", "a list", "nobody", "Who may subscribe."),
        key("send", "a list", "nobody", "Who may send."),
    ],
};

pub(super) static LOG: Section = Section {
    header: "[log]",
    doc: "What is logged, to the standard error.",
    keys: &[
        key("format", "a text", "`\"text\"`", "`text` for people, `json` for programs."),
        key("level", "a text", "`\"info\"`", "`error`, `warn`, `info`, `debug` or `trace`."),
    ],
};

pub(super) static METRICS: Section = Section {
    header: "[metrics]",
    doc: "The page `/metrics`, for Prometheus.",
    keys: &[
        key("enabled", "true or false", "true", "Whether there is such a page."),
        key("public", "true or false", "false", "Whether other machines may read it."),
    ],
};

pub(super) static HEALTH: Section = Section {
    header: "[health]",
    doc: "The pages `/healthz` (the process lives) and `/readyz` (it takes new connections).",
    keys: &[key("enabled", "true or false", "true", "Whether there are such pages.")],
};

pub(super) static SHUTDOWN: Section = Section {
    header: "[shutdown]",
    doc: "How the gateway stops, once told to (SIGTERM).",
    keys: &[
        key(
            "grace",
            "a duration",
            "`\"1s\"`",
            "How long it still takes new connections while `/readyz` says 503.",
        ),
        key(
            "drain",
            "a duration",
            "`\"10s\"`",
            "How long the goodbyes may take before what is left is cut.",
        ),
    ],
};

pub(super) static MEMORY: Section = Section {
    header: "[memory]",
    doc: "Bounds over many connections.",
    keys: &[key(
        "unsent-bytes-max-per-core",
        "bytes",
        "`\"256MiB\"`",
        "What waits for slow peers, over all connections of a core; beyond, the largest backlog is \
         closed first.",
    )],
};
