//! Whose pages may use a service.
//!
//! A browser says in `Origin` whose page a request comes from. Without this check any page in the
//! world could use a gateway that its reader can reach.

use std::fmt;

use crate::{Authority, Listen, Scheme, Service, value::show_url};

/// Whose page a request comes from (RFC 6454). Two of the same origin are equal, however they
/// were spelt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origin {
    /// `null`: the browser does not say.
    Null,
    /// A page that came by HTTP; its port is named unless it is the scheme's.
    Web(Scheme, Authority),
    /// Something else that runs in a browser: `chrome-extension://…`, `file://`, in lower case.
    Other(Box<str>),
}

impl Origin {
    /// Reads an origin, as browsers send it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == "null" {
            return Some(Self::Null);
        }
        let (scheme, rest) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        let web = |scheme| {
            let authority = Authority::parse(rest).ok()?;
            let Authority { host, port } = authority;
            Some(Self::Web(scheme, Authority { host, port: port.filter(|&p| p != scheme.port()) }))
        };
        match &*scheme {
            "http" => web(Scheme::Http),
            "https" => web(Scheme::Https),
            _ if !is_scheme || text.len() > LENGTH_MAX => None,
            _ if rest.bytes().all(|b| b.is_ascii_graphic() && !b"/?#@\\\"'<>,".contains(&b)) => {
                Some(Self::Other(text.to_ascii_lowercase().into()))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Web(scheme, authority) => write!(f, "{}://{authority}", scheme.as_str()),
            Self::Other(origin) => f.write_str(origin),
        }
    }
}

/// An origin, not the gateway's own, whose pages may use a service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AllowedOrigin {
    /// `*`: every origin.
    Any,
    /// This one.
    One(Origin),
}

impl AllowedOrigin {
    /// Reads an item of `allow-origins`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        Origin::parse(text).map(Self::One).ok_or_else(|| {
            let shown = show_url(text);
            format!(
                "{shown} is no origin: write the scheme and the authority, such as \
                 https://app.example.com, or * for all"
            )
        })
    }
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::One(origin) => origin.fmt(f),
        }
    }
}

/// Whether the service lets pages of this origin in: they are the listener's own, or allowed.
///
/// Its own are those under one of the listener's names, by the scheme by which the listener is
/// reached. (A listener without names has the loopback addresses and `localhost`, with any port.)
/// What the request says in `Host` does not count: with DNS rebinding it is the attacker's.
#[must_use]
pub fn is_allowed(listen: &Listen, reached_by: Scheme, service: &Service, origin: &Origin) -> bool {
    let is_own = matches!(origin, Origin::Web(scheme, authority)
        if *scheme == reached_by && is_own(listen, reached_by, authority));
    is_own
        || service.allow_origins.iter().any(|allowed| match allowed {
            AllowedOrigin::Any => true,
            AllowedOrigin::One(allowed) => allowed == origin,
        })
}

/// Whether this authority, of this scheme, is one of the listener's own names.
#[must_use]
pub fn is_own(listen: &Listen, scheme: Scheme, authority: &Authority) -> bool {
    match &*listen.names {
        [] => authority.host.is_loopback(),
        names => names.iter().any(|name| {
            name.host == authority.host && name.port_of(scheme) == authority.port_of(scheme)
        }),
    }
}

/// The longest origin that is no page's by HTTP.
const LENGTH_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, ServiceKind};

    #[test]
    fn pages_are_allowed_by_their_origin() {
        use Scheme::{Http, Https};
        // The listener's names and how it is reached; what is allowed; the origin; whether it may.
        let cases: &[(&[&str], Scheme, &[&str], &str, bool)] = &[
            (&[], Http, &[], "http://localhost:8080", true),
            (&[], Http, &[], "http://LOCALHOST", true),
            (&[], Http, &[], "http://localhost.", true),
            (&[], Http, &[], "http://127.0.0.1:3000", true),
            (&[], Http, &[], "http://127.9.9.9", true),
            (&[], Http, &[], "http://[::1]:8080", true),
            (&[], Http, &[], "https://localhost:8080", false),
            (&[], Https, &[], "https://localhost:8080", true),
            (&[], Https, &[], "http://localhost:8080", false),
            (&[], Http, &[], "ftp://localhost", false),
            (&[], Http, &[], "ws://localhost", false),
            (&[], Http, &[], "file://localhost", false),
            (&[], Http, &[], "file://", false),
            (&[], Http, &[], "chrome-extension://localhost", false),
            (&[], Http, &[], "capacitor://localhost", false),
            (&[], Http, &[], "https://gw.example.com", false),
            (&[], Http, &[], "http://localhost.example.com", false),
            (&[], Http, &[], "http://a.localhost", false),
            (&[], Http, &[], "http://127.0.0.1.example.com", false),
            (&[], Http, &[], "http://192.168.0.1", false),
            (&[], Http, &[], "null", false),
            (&["gw.example.com:8443"], Https, &[], "https://gw.example.com:8443", true),
            (&["gw.example.com:8443"], Https, &[], "https://GW.example.com:8443", true),
            (&["gw.example.com:8443"], Https, &[], "https://gw.example.com", false),
            (&["gw.example.com:8443"], Http, &[], "http://gw.example.com:8443", true),
            (&["gw.example.com:8443"], Http, &[], "https://gw.example.com:8443", false),
            (&["gw.example.com:8443"], Http, &[], "http://localhost", false),
            (&["gw.example.com"], Https, &[], "https://gw.example.com", true),
            (&["gw.example.com"], Https, &[], "https://gw.example.com:443", true),
            (&["gw.example.com"], Https, &[], "https://gw.example.com:80", false),
            (&["gw.example.com:443"], Https, &[], "https://gw.example.com", true),
            (&["gw.example.com:443"], Http, &[], "http://gw.example.com", false),
            (&["gw.example.com:80"], Http, &[], "http://gw.example.com", true),
            (&["gw.example.com."], Http, &[], "http://gw.example.com", true),
            (&["gw.example.com"], Http, &[], "http://gw.example.com:80", true),
            (&["gw.example.com"], Http, &[], "ftp://gw.example.com", false),
            (&["gw.example.com"], Http, &[], "http://a.gw.example.com", false),
            (&[], Http, &["https://app.example.com"], "https://app.example.com", true),
            (&[], Http, &["https://app.example.com"], "https://app.example.com:443", true),
            (&[], Http, &["https://app.example.com:443"], "https://app.example.com", true),
            (&[], Http, &["https://app.example.com"], "http://app.example.com", false),
            (&[], Http, &["https://app.example.com"], "http://localhost:1", true),
            (&[], Http, &["HTTPS://App.example.com"], "https://app.example.com", true),
            (&[], Http, &["chrome-extension://abc"], "chrome-extension://abc", true),
            (&[], Http, &["chrome-extension://abc"], "chrome-extension://abcd", false),
            (&[], Http, &["file://"], "file://", true),
            (&[], Http, &["null"], "null", true),
            (&[], Http, &["*"], "https://any.example.com", true),
            (&[], Http, &["*"], "null", true),
        ];
        for (names, scheme, allowed, origin, expected) in cases {
            let mut listen = Config::default().listens.remove(0);
            listen.names = names.iter().map(|name| Authority::parse(name).unwrap()).collect();
            let mut service = Service::new("/echo", ServiceKind::Echo);
            service.allow_origins =
                allowed.iter().map(|text| AllowedOrigin::parse(text).unwrap()).collect();
            let actual = is_allowed(&listen, *scheme, &service, &Origin::parse(origin).unwrap());
            assert_eq!(actual, *expected, "{origin} at {names:?} by {scheme:?}, {allowed:?}");
        }
    }

    #[test]
    fn what_is_no_origin_is_not_read() {
        for text in [
            "",
            "localhost",
            "NULL",
            "//localhost",
            "http:localhost",
            "http://",
            "http:///",
            "http://localhost/",
            "http://localhost/path",
            "http://localhost?x",
            "http://user@localhost",
            "http://localhost@example.com",
            "http://localhost:x",
            "http://localhost:65536",
            "http://[::1].example.com",
            "http://[::1",
            "http://localhost http://evil.example",
            "http://localhost, http://evil.example",
            "http://localhost,http://evil.example",
            " http://localhost",
            "://localhost",
            "1x://localhost",
            "ht tp://localhost",
            "file:///",
            "file:///home",
            "app://a@b",
            "app://a b",
            "app://a,b",
            "app://é",
            "http://a\r\nb",
        ] {
            assert_eq!(Origin::parse(text), None, "{text:?}");
        }
        assert_eq!(Origin::parse(&format!("app://{}", "x".repeat(300))), None);
    }
}
