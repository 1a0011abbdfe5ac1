use std::{fmt, net::IpAddr, str::FromStr};

/// Where a server is: `stomp://HOST:PORT`, `stomps://HOST:PORT`, `ws://HOST:PORT/PATH` or `wss://HOST:PORT/PATH`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Address {
    /// Whether TLS is spoken.
    pub(super) has_tls: bool,
    /// A name, or an address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// The path of a WebSocket; `None`: STOMP over TCP.
    pub(super) path: Option<String>,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let no_address = || {
            format!(
                "`{text}` is no address: write stomp://HOST:PORT, stomps://HOST:PORT (with TLS), \
                 ws://HOST:PORT/PATH or wss://HOST:PORT/PATH"
            )
        };
        let (scheme, rest) = text.split_once("://").unwrap_or(("stomp", text));
        let (has_tls, port) = match scheme {
            "stomp" | "tcp" => (false, None),
            "stomps" | "stomp+ssl" | "tls" => (true, None),
            "ws" | "http" => (false, Some(80)),
            "wss" | "https" => (true, Some(443)),
            _ => return Err(no_address()),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("a name and a password have no place in an address: use --user, and \
                 PASSERELLE_PASSWORD or --password-file"
                .to_owned());
        }
        let path = match (port, path) {
            (None, "" | "/") => None,
            (None, _) => return Err(no_address()),
            (Some(_), "" | "/") => Some(PATH.to_owned()),
            (Some(_), query) if query.starts_with('?') => Some(format!("{PATH}{query}")),
            (Some(_), path) => Some(path.to_owned()),
        };
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(no_address());
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or_else(no_address)?;
                host.parse::<IpAddr>().map_err(|_| no_address())?;
                (host, after.strip_prefix(':').map_or(Ok(port), |port| port.parse().map(Some)))
            }
            None => match authority.rsplit_once(':') {
                Some((host, port)) => (host, port.parse().map(Some)),
                None => (authority, Ok(port)),
            },
        };
        let port = port.ok().flatten().filter(|port| *port > 0).ok_or_else(no_address)?;
        if host.is_empty() || (host.contains(':') && !authority.starts_with('[')) {
            return Err(no_address());
        }
        Ok(Self { has_tls, host: host.to_owned(), port, path })
    }
}

impl Address {
    /// Host and port, as an HTTP request names them.
    pub(super) fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// Whether what is said there stays on this machine.
    pub(super) fn is_loopback(&self) -> bool {
        let is_loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
        self.host == "localhost" || self.host.parse().is_ok_and(is_loopback)
    }
}

/// Without the path's query, which may be a secret.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (&self.path, self.has_tls) {
            (None, false) => "stomp",
            (None, true) => "stomps",
            (Some(_), false) => "ws",
            (Some(_), true) => "wss",
        };
        let path = self.path.as_deref().unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default();
        write!(f, "{scheme}://{}{path}", self.authority())
    }
}

/// Where the gateway has its broker by default.
const PATH: &str = "/messaging";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let cases = [
            ("127.0.0.1:8080", "stomp://127.0.0.1:8080"),
            ("gw:61613", "stomp://gw:61613"),
            ("stomp://gw:61613/", "stomp://gw:61613"),
            ("tcp://[::1]:1", "stomp://[::1]:1"),
            ("stomps://gw:1", "stomps://gw:1"),
            ("stomp+ssl://gw:1", "stomps://gw:1"),
            ("ws://gw", "ws://gw:80/messaging"),
            ("http://gw:8080/", "ws://gw:8080/messaging"),
            ("wss://gw/a/b?token=x", "wss://gw:443/a/b"),
            ("wss://[::1]?token=x", "wss://[::1]:443/messaging"),
        ];
        for (text, expected) in cases {
            let address = text.parse::<Address>();
            assert_eq!(address.map(|it| it.to_string()).as_deref(), Ok(expected), "{text}");
        }
        let path = "wss://gw?token=x".parse::<Address>().unwrap().path;
        assert_eq!(path.as_deref(), Some("/messaging?token=x"));
        for text in [
            "",
            "gw",
            "stomp://gw",
            "gw:0",
            "gw:x",
            "gw:99999",
            ":1",
            "::1:1",
            "[::1",
            "[gw]:1",
            "mqtt://gw:1",
            "stomp://gw:1/path",
            "ws://gw:1/a b",
            "ws://gw\r\nX: y/",
            "[::1]x:1",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
        let with_password = "stomp://ann:secret@gw:1".parse::<Address>().unwrap_err();
        assert!(with_password.contains("--user") && !with_password.contains("secret"));
    }
}
