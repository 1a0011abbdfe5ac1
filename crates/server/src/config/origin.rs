//! Whose pages may use a service.
//!
//! A browser says in `Origin` whose page a request comes from. Without this check any page in the
//! world could use a gateway that its reader can reach.

use std::{fmt, net::IpAddr};

use super::{Listen, Service};

/// A foreign origin whose pages may use a service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AllowedOrigin {
    /// `*`: every origin.
    Any,
    /// `https://app.example.com`, in lower case, or `null`.
    One(Box<str>),
}

impl AllowedOrigin {
    /// Reads an item of `allow-origins`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let is_origin = text == "null"
            || text.split_once("://").is_some_and(|(scheme, authority)| {
                scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
                    && !scheme.is_empty()
                    && is_authority(authority)
            });
        match text {
            "*" => Ok(Self::Any),
            _ if is_origin => Ok(Self::One(text.to_ascii_lowercase().into())),
            _ => Err(format!(
                "`{text}` is no origin: write the scheme and the authority, such as \
                 https://app.example.com, or * for all"
            )),
        }
    }
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::One(origin) => f.write_str(origin),
        }
    }
}

/// Why a page may not use a service; for the log and the response.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "pages of the origin {origin} may not use {path}: add the origin to `allow-origins`, or its \
     host and port to `names` of the listener if they are the gateway's own pages"
)]
pub struct OriginRefusal {
    /// The origin, cut and without control characters.
    pub origin: Box<str>,
    /// The path of the service.
    pub path: Box<str>,
}

/// Whether a page of this origin may use the service.
///
/// It may when the origin's authority is one of the listener's names (a listener without names
/// has the loopback addresses and `localhost`, with any port), or when the origin is allowed. What
/// the request says in `Host` does not count: with DNS rebinding it is the attacker's.
///
/// # Errors
/// When not.
pub fn check(listen: &Listen, service: &Service, origin: &str) -> Result<(), OriginRefusal> {
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    let is_own = authority.is_some_and(|authority| is_own(listen, authority));
    let is_allowed = || {
        service.allow_origins.iter().any(|allowed| match allowed {
            AllowedOrigin::Any => true,
            AllowedOrigin::One(allowed) => allowed.eq_ignore_ascii_case(origin),
        })
    };
    if is_own || is_allowed() {
        return Ok(());
    }
    let shown: String = origin.chars().filter(|c| !c.is_control()).take(200).collect();
    Err(OriginRefusal { origin: shown.into(), path: service.path.clone() })
}

/// Whether an authority (`host` or `host:port`) is one of the listener's own names.
#[must_use]
pub fn is_own(listen: &Listen, authority: &str) -> bool {
    match &*listen.names {
        [] => is_loopback(authority),
        names => names.iter().any(|name| name.eq_ignore_ascii_case(authority)),
    }
}

/// Whether it is `host` or `host:port`.
pub(super) fn is_authority(text: &str) -> bool {
    super::value::host_port(text).is_some()
        || super::value::host_port(&format!("{text}:1")).is_some()
}

/// Whether it is a loopback address or `localhost`, with any port.
pub(crate) fn is_loopback(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::{super::ServiceKind, *};

    #[test]
    fn pages_are_let_in_by_their_origin() {
        // The listener's names; what is allowed; the origin; whether it may.
        let cases: &[(&[&str], &[&str], &str, bool)] = &[
            (&[], &[], "http://localhost:8080", true),
            (&[], &[], "http://LOCALHOST", true),
            (&[], &[], "http://127.0.0.1:3000", true),
            (&[], &[], "http://127.9.9.9", true),
            (&[], &[], "http://[::1]:8080", true),
            (&[], &[], "https://gw.example.com", false),
            (&[], &[], "http://localhost.example.com", false),
            (&[], &[], "http://127.0.0.1.example.com", false),
            (&[], &[], "http://localhost@example.com", false),
            (&[], &[], "http://192.168.0.1", false),
            (&[], &[], "http://[::1].example.com", false),
            (&[], &[], "null", false),
            (&[], &[], "localhost", false),
            (&[], &[], "", false),
            (&["gw.example.com:8443"], &[], "https://gw.example.com:8443", true),
            (&["gw.example.com:8443"], &[], "https://GW.example.com:8443", true),
            (&["gw.example.com:8443"], &[], "https://gw.example.com", false),
            (&["gw.example.com:8443"], &[], "http://localhost", false),
            (&["gw.example.com"], &[], "https://gw.example.com", true),
            (&[], &["https://app.example.com"], "https://app.example.com", true),
            (&[], &["https://app.example.com"], "http://app.example.com", false),
            (&[], &["https://app.example.com"], "http://localhost:1", true),
            (&[], &["HTTPS://App.example.com"], "https://app.example.com", true),
            (&[], &["null"], "null", true),
            (&[], &["*"], "https://any.example.com", true),
        ];
        for (names, allowed, origin, expected) in cases {
            let listen = Listen {
                address: ([127, 0, 0, 1], 8080).into(),
                names: names.iter().map(|&name| name.into()).collect(),
                anonymous: true,
                operations: false,
                tls: vec![],
            };
            let mut service = Service::new("/echo", ServiceKind::Echo);
            service.allow_origins =
                allowed.iter().map(|text| AllowedOrigin::parse(text).unwrap()).collect();
            let actual = check(&listen, &service, origin);
            assert_eq!(actual.is_ok(), *expected, "{origin} at {names:?}, {allowed:?}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_do_and_repeats_no_control_characters() {
        let listen = Listen {
            address: ([127, 0, 0, 1], 8080).into(),
            names: vec![],
            anonymous: true,
            operations: false,
            tls: Vec::new(),
        };
        let service = Service::new("/echo", ServiceKind::Echo);
        let refusal = check(&listen, &service, "https://a\r\nb").unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "pages of the origin https://ab may not use /echo: add the origin to `allow-origins`, \
             or its host and port to `names` of the listener if they are the gateway's own pages"
        );
    }
}
