//! Every key of the configuration: what may stand in a file, and what it means.

use crate::limits;

/// A table of the file.
#[derive(Debug)]
pub(crate) struct Section {
    /// How it begins, or what it is.
    pub(crate) header: &'static str,
    /// What it is for.
    pub(crate) doc: &'static str,
    /// What may stand in it.
    pub(crate) keys: &'static [Key],
}

/// A key of a table.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name.
    pub(crate) name: &'static str,
    /// What is written there.
    pub(crate) form: Form,
    /// What is so when it is left out.
    pub(crate) default: &'static str,
    /// What it means.
    pub(crate) doc: &'static str,
    /// The types of service that have it; empty: all.
    pub(crate) of: &'static [&'static str],
}

/// What is written as a value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    Text,
    Texts,
    Choice(&'static [&'static str]),
    Number,
    Flag,
    Duration,
    Bytes,
    /// A duration or `false`, by subprotocol.
    Pings,
    /// A text, or a table of these keys.
    Password(&'static Section),
    Table(&'static Section),
    Tables(&'static Section),
    /// One table of these keys, or a list of such tables.
    OneOrMore(&'static Section),
}

impl Form {
    /// What the reference calls it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Text | Self::Choice(_) => "a string",
            Self::Texts => "a list of strings",
            Self::Number => "a number",
            Self::Flag => "true or false",
            Self::Duration => "a duration",
            Self::Bytes => "bytes",
            Self::Pings | Self::Table(_) => "a table",
            Self::Password(_) => "a table or a string",
            Self::Tables(_) => "tables",
            Self::OneOrMore(_) => "a table, or a list of tables",
        }
    }
}

impl Section {
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// What to say about a key that it does not have.
    pub(crate) fn unknown(&self, name: &str) -> String {
        let former = FORMER.iter().find(|(header, key, _)| (self.header, name) == (*header, *key));
        if let Some((_, _, instead)) = former {
            return format!("`{name}` no longer exists: {instead}");
        }
        let names: Vec<_> = self.keys.iter().map(|key| key.name).collect();
        let place = match self.header {
            TOP => "at the top of the file".into(),
            header => format!("in {header}"),
        };
        format!("unknown key `{name}` {place}: {}", suggest(name, &names))
    }
}

/// Keys that once were: their section, their name, and what to write instead.
const FORMER: &[(&str, &str, &str)] = &[(
    "[metrics]",
    "public",
    "metrics are served where a [[listen]] says operations = true (best one of its own, on an \
     address that only operators reach), and to users with a role of [operations] roles = [...]",
)];

/// What somebody who wrote `wrong` may have meant.
pub(crate) fn suggest(wrong: &str, right: &[&str]) -> String {
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

pub(crate) fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// In the order of the reference.
pub(crate) const SECTIONS: &[&Section] = &[
    &ROOT,
    &LISTEN,
    &TLS,
    &SERVICE,
    &limits::GLOBAL,
    &USER,
    &PASSWORD,
    &ACCESS,
    &LOG,
    &OPERATIONS,
    &METRICS,
    &HEALTH,
    &HTTP,
    &SHUTDOWN,
    &MEMORY,
];

const fn key(name: &'static str, form: Form, default: &'static str, doc: &'static str) -> Key {
    Key { name, form, default, doc, of: &[] }
}

const fn key_of(
    of: &'static [&'static str],
    name: &'static str,
    form: Form,
    default: &'static str,
    doc: &'static str,
) -> Key {
    Key { name, form, default, doc, of }
}

/// The types of service that are written in a file.
pub(crate) const TYPES: &[&str] =
    &["broadcast", "broker", "directory", "echo", "pages", "proxy", "queues", "topics"];

/// The forms of a log.
pub(crate) const FORMATS: &[&str] = &["json", "text"];

/// The levels of a log.
pub(crate) const LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace"];

const WEBSOCKETS: &[&str] = &["broadcast", "broker", "echo", "proxy"];

const TOP: &str = "The top of the file";

pub(crate) static ROOT: Section = Section {
    header: TOP,
    doc: "Above all tables. The tables follow, each with a section below.",
    keys: &[
        key("threads", Form::Number, "the cores of the machine", "Cores to use."),
        key(
            "io-uring",
            Form::Flag,
            "false",
            "Whether what goes to many sockets at once is sent by io_uring (Linux 6.1 or later): less \
             CPU time for fan-out, 384 KiB more memory for each core.",
        ),
        key(
            "allow-origins",
            Form::Texts,
            "none",
            "Origins whose pages may use, cross-origin, the services that do not have a list of their \
             own: `\"https://app.example.com\"` as browsers send it, `\"null\"`, or `\"*\"` for all. \
             Requests that act (POST, a WebSocket) and whose browser says that they come from \
             another origin (`Sec-Fetch-Site`), but not from which, are refused all the same.",
        ),
        key(
            "listen",
            Form::Tables(&LISTEN),
            "127.0.0.1:8080",
            "Where peers connect: `[[listen]]`.",
        ),
        key(
            "service",
            Form::Tables(&SERVICE),
            "the default services",
            "What they find: `[[service]]`.",
        ),
        key(
            "limits",
            Form::Table(&limits::GLOBAL),
            "",
            "Bounds of every service and of the broker: `[limits]`.",
        ),
        key("user", Form::Tables(&USER), "none", "Who may log in: `[[user]]`."),
        key(
            "access",
            Form::Tables(&ACCESS),
            "none",
            "Who may subscribe and send where: `[[access]]`.",
        ),
        key("log", Form::Table(&LOG), "", "What is logged: `[log]`."),
        key(
            "operations",
            Form::Table(&OPERATIONS),
            "",
            "Who may see what is for operators: `[operations]`.",
        ),
        key("metrics", Form::Table(&METRICS), "", "The page `/metrics`: `[metrics]`."),
        key("health", Form::Table(&HEALTH), "", "The pages `/healthz` and `/readyz`: `[health]`."),
        key("http", Form::Table(&HTTP), "", "HTTP connections: `[http]`."),
        key("shutdown", Form::Table(&SHUTDOWN), "", "How the gateway stops: `[shutdown]`."),
        key("memory", Form::Table(&MEMORY), "", "Bounds over many connections: `[memory]`."),
    ],
};

pub(crate) static LISTEN: Section = Section {
    header: "[[listen]]",
    doc: "An address where peers connect: HTTP, WebSocket and STOMP over TCP on one port.",
    keys: &[
        key(
            "address",
            Form::Text,
            "",
            "IP address and port, such as `\"127.0.0.1:8080\"`; `\"0.0.0.0:8080\"` is all addresses of \
             IPv4, `\"[::]:8080\"` all of IPv6 and none of IPv4: for both write two `[[listen]]`.",
        ),
        key(
            "names",
            Form::Texts,
            "loopback addresses and `localhost`",
            "The hosts under which browsers find the gateway's own pages, as in the address bar: \
             `\"gw.example.com:8443\"`, without the port where it is the scheme's own. Origins with \
             that host and port, and the scheme by which the listener is reached (`https` with TLS, \
             or as a proxy of `forwarded-from` says, else `http`), are not cross-origin. On a loopback address a request whose `Host` is neither loopback nor one of \
             these, with whatever port, is answered with 421: a page may let its own name lead here. \
             (Programs of 2011 that say `Host: pmx` need `\"pmx\"` here.)",
        ),
        key(
            "anonymous",
            Form::Flag,
            "true on a loopback address, else false",
            "Whether login is optional. Wrong credentials always fail where \
             there are users.",
        ),
        key(
            "operations",
            Form::Flag,
            "false; true for the listener that there is without a `[[listen]]`",
            "Whether what is for operators (`/metrics`) is served here, to everybody who reaches \
             this address. Elsewhere it is for `[operations]` roles alone, and its paths are to all \
             others as if it did not exist. Behind a proxy leave it out: to the gateway all \
             requests of a proxy come from the proxy's address. A second `[[listen]]` that only \
             operators reach is the place for it.",
        ),
        key(
            "proxy-protocol-from",
            Form::Texts,
            "none",
            "The proxies, as addresses or networks (`[\"127.0.0.1\", \"10.0.0.0/8\"]`), that begin \
             each connection by saying whose it is, in the PROXY protocol, version 1 or 2, before \
             TLS. From them it is required; all others are served as they are.",
        ),
        key(
            "forwarded-from",
            Form::Texts,
            "none",
            "The proxies, as addresses or networks, that say by `Forwarded` or `X-Forwarded-For` \
             whose request it is, and by `proto` or `X-Forwarded-Proto` whether it came by HTTPS. \
             The sender is the last that is no such proxy. Where both fields are there and do not \
             agree, neither is believed: let the proxy set one and remove the other.",
        ),
        key(
            "connections-max-per-address",
            Form::Number,
            "no limit",
            "Connections that one address (of IPv6: one /64) may have here at a time. The proxies \
             of `proxy-protocol-from` and `forwarded-from` have no limit; behind the latter, \
             WebSockets are counted, by the address of the sender.",
        ),
        key(
            "tls",
            Form::OneOrMore(&TLS),
            "none",
            "Makes it `https`, `wss` and STOMP over TLS: `tls = { certificate = \"gw.pem\", key = \
             \"gw.key\" }`. Of several the one for the name that a peer asks for is used, and the \
             first where there is none.",
        ),
    ],
};

pub(crate) static TLS: Section = Section {
    header: "listen.tls",
    doc: "A certificate in PEM. SIGHUP makes the gateway read the files again, for new connections; \
          where one of them cannot be used, all stay as they were.",
    keys: &[
        key(
            "certificate",
            Form::Text,
            "",
            "The file of the certificate, followed by those that certify it.",
        ),
        key("key", Form::Text, "", "The file of its private key."),
    ],
};

pub(crate) static SERVICE: Section = Section {
    header: "[[service]]",
    doc: "What a path leads to, and all paths below it that are no other service's.",
    keys: &[
        key("path", Form::Text, "", "The path, such as `\"/messaging\"`."),
        key(
            "type",
            Form::Choice(TYPES),
            "",
            "`echo` sends back what it receives. `broadcast` sends what one receives to all. \
             `directory` has the files of a folder. `proxy` carries WebSockets to a TCP server. \
             `broker` speaks every protocol, chosen by subprotocol. `topics` and `queues` publish \
             what is POSTed below them. `pages` are the pages that come with the gateway.",
        ),
        key("allow-origins", Form::Texts, "that of the top", "As at the top, for this service."),
        key(
            "limits",
            Form::Table(&limits::OF_SERVICE),
            "`[limits]`",
            "Bounds of this service: `[service.limits]`.",
        ),
        key_of(
            WEBSOCKETS,
            "compression",
            Form::Flag,
            "true",
            "Whether messages are deflated, for peers who can.",
        ),
        key_of(
            WEBSOCKETS,
            "ping",
            Form::Pings,
            "`limits.ping-interval`, where the subprotocol allows it",
            "By subprotocol, after how much silence a WebSocket is pinged, or `false` for never: \
             `ping = { amqp = false, \"v12.stomp\" = \"10s\" }`.",
        ),
        key_of(
            &["broadcast"],
            "feed",
            Form::Text,
            "none",
            "Where more messages come from: `\"tcp://host:port\"` connects to a server whose lines \
             are messages, `\"udp://127.0.0.1:9999\"` receives datagrams there.",
        ),
        key_of(&["directory"], "root", Form::Text, "", "The folder."),
        key_of(
            &["directory"],
            "welcome",
            Form::Text,
            "`\"index.html\"`",
            "The file that stands for a folder.",
        ),
        key_of(&["proxy"], "connect", Form::Text, "", "The server: `\"tcp://host:port\"`."),
        key_of(
            &["proxy"],
            "text",
            Form::Flag,
            "false",
            "Whether what the server sends are text messages, split at characters, else binary.",
        ),
        key_of(
            &["proxy"],
            "connect-timeout",
            Form::Duration,
            "`\"10s\"`",
            "How long a connection to the server may take.",
        ),
    ],
};

pub(crate) static USER: Section = Section {
    header: "[[user]]",
    doc: "Somebody who may log in. Without users credentials are ignored.",
    keys: &[
        key("name", Form::Text, "", "The name, as it is sent."),
        key(
            "password",
            Form::Password(&PASSWORD),
            "",
            "What `passerelle password` prints; or an Argon2id hash alone.",
        ),
        key("roles", Form::Texts, "none", "What access rules may name besides the user."),
    ],
};

pub(crate) static PASSWORD: Section = Section {
    header: "user.password",
    doc: "What is kept of a password. `passerelle password` makes it.",
    keys: &[
        key("argon2id", Form::Text, "", "A hash that checks the password."),
        key("scram-sha-1", Form::Text, "none", "A verifier for SCRAM-SHA-1."),
        key("scram-sha-256", Form::Text, "none", "A verifier for SCRAM-SHA-256."),
    ],
};

pub(crate) static ACCESS: Section = Section {
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
            Form::Text,
            "",
            "Such as `\"/queue/orders\"`; `*` stands for one level, a final `>` for the rest: \
             `\"/topic/quotes.>\"`; `\">\"` alone is every destination.",
        ),
        key("subscribe", Form::Texts, "nobody", "Who may subscribe."),
        key("send", Form::Texts, "nobody", "Who may send."),
    ],
};

pub(crate) static LOG: Section = Section {
    header: "[log]",
    doc: "What is logged, to the standard error.",
    keys: &[
        key(
            "format",
            Form::Choice(FORMATS),
            "`\"text\"`",
            "`text` for people, `json` for programs.",
        ),
        key(
            "level",
            Form::Choice(LEVELS),
            "`\"info\"`",
            "`error`, `warn`, `info`, `debug` or `trace`.",
        ),
    ],
};

pub(crate) static OPERATIONS: Section = Section {
    header: "[operations]",
    doc: "Who may see what is for operators (`/metrics`), besides those who reach a listener with \
          `operations = true`.",
    keys: &[key(
        "roles",
        Form::Texts,
        "none",
        "The roles of users who may, on every listener, by HTTP Basic. They are not asked to log \
         in: send name and password with the request (`curl -u`, Prometheus' `basic_auth`). \
         Whoever sends none, wrong ones or those of another user finds nothing there.",
    )],
};

pub(crate) static METRICS: Section = Section {
    header: "[metrics]",
    doc: "The page `/metrics`, for Prometheus. It is for operators: see `operations` of \
          `[[listen]]`.",
    keys: &[key("enabled", Form::Flag, "true", "Whether there is such a page.")],
};

pub(crate) static HEALTH: Section = Section {
    header: "[health]",
    doc: "The pages `/healthz` (the process lives) and `/readyz` (it takes new connections).",
    keys: &[key("enabled", Form::Flag, "true", "Whether there are such pages.")],
};

pub(crate) static HTTP: Section = Section {
    header: "[http]",
    doc: "HTTP connections.",
    keys: &[key(
        "keep-alive",
        Form::Duration,
        "`\"75s\"`",
        "How long a connection may rest between two requests; more than a proxy in front keeps its \
         own, so that none breaks as it is used. 0: a response ends its connection. A header that has \
         begun has `login-timeout`.",
    )],
};

pub(crate) static SHUTDOWN: Section = Section {
    header: "[shutdown]",
    doc: "How the gateway stops, once told to (SIGTERM).",
    keys: &[
        key(
            "grace",
            Form::Duration,
            "`\"1s\"`",
            "How long it still takes new connections while `/readyz` says 503.",
        ),
        key(
            "drain",
            Form::Duration,
            "`\"10s\"`",
            "How long sessions may take to close before their connections are closed.",
        ),
    ],
};

pub(crate) static MEMORY: Section = Section {
    header: "[memory]",
    doc: "Bounds over many connections.",
    keys: &[key(
        "unsent-bytes-max-per-core",
        Form::Bytes,
        "`\"256MiB\"`",
        "What waits for slow peers, over all connections of a core; beyond, the largest backlog is \
         closed first.",
    )],
};
