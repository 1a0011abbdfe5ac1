//! What is looked at before any service is: for whom a request is, and whose page sends it.

use config::{
    Authority, AuthorityError, Listen, Scheme, Service,
    origin::{self, Origin},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode, Version,
    header::{self, AsHeaderName},
    request::Parts,
};

/// For whom a request is: what its target names, or else its `Host` (RFC 9112 section 3.2); nothing
/// when it is of HTTP/1.0 and says neither.
///
/// On a loopback address that must be this machine, or a name of the listener. Otherwise a page
/// could let its own name lead to this machine (DNS rebinding) and read here what its visitor may.
/// Which port is named does not matter: proxies and port mappings change it or leave it out.
///
/// # Errors
/// When it is malformed, or for another host.
pub(crate) fn host<'h>(
    listen: &Listen,
    reached_by: Scheme,
    head: &'h Parts,
) -> Result<&'h str, HostRefusal> {
    let field = match only(&head.headers, header::HOST).map_err(|Several| HostRefusal::Several)? {
        Some(field) => {
            // What cannot be read is not `Authority` either.
            let text = str::from_utf8(field.as_bytes()).unwrap_or("\u{fffd}");
            let authority = Authority::parse(text)
                .map_err(|error| HostRefusal::Malformed(shown(field.as_bytes()), error))?;
            Some((text, authority))
        }
        None if head.version <= Version::HTTP_10 => None,
        None => return Err(HostRefusal::Missing),
    };
    let target = head.uri.authority().map(|target| {
        let text = target.as_str();
        Authority::parse(text)
            .map(|authority| (text, authority))
            .map_err(|error| HostRefusal::MalformedTarget(shown(text.as_bytes()), error))
    });
    check_scheme(reached_by, head)?;
    let Some((text, authority)) = target.transpose()?.or(field) else { return Ok("") };
    let is_of_listener = || listen.names.iter().any(|name| name.host == authority.host);
    let is_loopback = listen.address.ip().to_canonical().is_loopback();
    if is_loopback && !authority.host.is_loopback() && !is_of_listener() {
        return Err(HostRefusal::Misdirected(shown(text.as_bytes())));
    }
    Ok(text)
}

/// Refuses a target whose scheme is not spoken here (RFC 9110 section 7.4).
fn check_scheme(reached_by: Scheme, head: &Parts) -> Result<(), HostRefusal> {
    let Some(scheme) = head.uri.scheme_str() else { return Ok(()) };
    let is = |names: [&str; 2]| names.iter().any(|name| name.eq_ignore_ascii_case(scheme));
    match reached_by {
        _ if is(["http", "ws"]) => Ok(()),
        Scheme::Https if is(["https", "wss"]) => Ok(()),
        Scheme::Http | Scheme::Https => Err(HostRefusal::Scheme(shown(scheme.as_bytes()))),
    }
}

/// Why a request is for another host, or does not say for which.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum HostRefusal {
    /// HTTP/1.1 needs one.
    #[error("a request must have one Host header; there is none")]
    Missing,
    /// On several lines.
    #[error("a request must have one Host header; there are several")]
    Several,
    /// No host and port.
    #[error("Host: `{0}` is malformed: {1}")]
    Malformed(Box<str>, AuthorityError),
    /// No host and port, in the target.
    #[error("the target's host `{0}` is malformed: {1}")]
    MalformedTarget(Box<str>, AuthorityError),
    /// A target of another scheme.
    #[error("there are no targets of the scheme `{0}` here")]
    Scheme(Box<str>),
    /// Another host.
    #[error(
        "`{0}` is no name of this gateway: on a loopback address Host must name localhost, a \
         loopback address, or one of the `names` of the [[listen]]; add it there if it is its own"
    )]
    Misdirected(Box<str>),
}

impl HostRefusal {
    /// The status of the response.
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Missing | Self::Several | Self::Malformed(..) | Self::MalformedTarget(..) => {
                StatusCode::BAD_REQUEST
            }
            Self::Scheme(_) | Self::Misdirected(_) => StatusCode::MISDIRECTED_REQUEST,
        }
    }
}

/// What a request wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Aim {
    /// To be told something.
    Read,
    /// To do something.
    Act,
    /// A WebSocket.
    WebSocket,
}

/// Whether the page that sends a request may use the service. Returns its origin, if there is one.
///
/// Browsers name the origin of a page with every WebSocket, and with every request that acts. Where
/// one does not, it still says in `Sec-Fetch-Site` whether the page is of another site. What is no
/// browser says neither.
///
/// # Errors
/// When it may not.
pub(crate) fn origin<'h>(
    listen: &Listen,
    reached_by: Scheme,
    service: &Service,
    headers: &'h HeaderMap,
    aim: Aim,
) -> Result<Option<&'h HeaderValue>, OriginRefusal> {
    let check = |name| {
        let Some(field) = only(headers, &name).map_err(|Several| OriginRefusal::Several)? else {
            return Ok(None);
        };
        let said = field.to_str().ok().and_then(Origin::parse);
        let said = said.ok_or_else(|| OriginRefusal::Malformed(shown(field.as_bytes())))?;
        if origin::is_allowed(listen, reached_by, service, &said) {
            return Ok(Some(field));
        }
        let path = service.path.clone();
        Err(match said {
            Origin::Web(scheme, authority)
                if scheme != reached_by && origin::is_own(listen, scheme, &authority) =>
            {
                OriginRefusal::Scheme { origin: shown(field.as_bytes()), path, reached_by }
            }
            Origin::Null | Origin::Web(..) | Origin::Other(_) => {
                OriginRefusal::CrossOrigin { origin: shown(field.as_bytes()), path }
            }
        })
    };
    let named = check(header::ORIGIN)?;
    let named_by_draft = match aim {
        Aim::WebSocket => check(SEC_WEBSOCKET_ORIGIN)?,
        Aim::Read | Aim::Act => None,
    };
    if aim != Aim::Read && named.is_none() && named_by_draft.is_none() {
        // Another origin of the same site is another origin.
        let is_cross_origin = |site: &&HeaderValue| *site != "same-origin" && *site != "none";
        if let Some(site) = headers.get_all(SEC_FETCH_SITE).iter().find(is_cross_origin) {
            let path = service.path.clone();
            return Err(OriginRefusal::Site { site: shown(site.as_bytes()), path });
        }
    }
    Ok(named)
}

/// Why a page may not use a service.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum OriginRefusal {
    /// It is of another origin.
    #[error(
        "pages of the origin {origin} may not use {path}: add the origin to `allow-origins`, or \
         its host and port to `names` of the listener if they are the gateway's own pages"
    )]
    CrossOrigin {
        /// The origin.
        origin: Box<str>,
        /// The path of the service.
        path: Box<str>,
    },
    /// It is of an origin that would be our own with another scheme.
    #[error(
        "pages of the origin {origin} may not use {path}, which is reached by {}: add the origin \
         to `allow-origins`, or name the proxy that has TLS in `forwarded-from` of the listener",
        .reached_by.as_str()
    )]
    Scheme {
        /// The origin.
        origin: Box<str>,
        /// The path of the service.
        path: Box<str>,
        /// Our own scheme.
        reached_by: Scheme,
    },
    /// What the browser says is no origin.
    #[error("the page's origin `{0}` is malformed: it must be such as https://app.example.com")]
    Malformed(Box<str>),
    /// It says it on several lines.
    #[error("a request has one origin; there are several")]
    Several,
    /// The browser only says that it is of another site.
    #[error(
        "a page of another origin ({site}), whose name the browser does not say, may not use {path}"
    )]
    Site {
        /// What the browser says.
        site: Box<str>,
        /// The path of the service.
        path: Box<str>,
    },
}

/// A header that must not stand there twice does.
struct Several;

fn only(headers: &HeaderMap, name: impl AsHeaderName) -> Result<Option<&HeaderValue>, Several> {
    let mut fields = headers.get_all(name).iter();
    match (fields.next(), fields.next()) {
        (_, Some(_)) => Err(Several),
        (field, None) => Ok(field),
    }
}

/// A peer's words for logs and responses: shortened, and without what could break a line.
fn shown(bytes: &[u8]) -> Box<str> {
    let text = String::from_utf8_lossy(bytes);
    text.chars().filter(|c| !c.is_control()).take(SHOWN_MAX).collect::<String>().into()
}

const SHOWN_MAX: usize = 200;
const SEC_WEBSOCKET_ORIGIN: HeaderName = HeaderName::from_static("sec-websocket-origin");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

#[cfg(test)]
mod tests {
    use config::{AllowedOrigin, Config, ServiceKind};
    use http::Request;

    use super::*;

    #[test]
    fn a_request_is_for_us_or_says_what_is_wrong() {
        // The listener's address and names; version, target and `Host`s; for whom it is, or the
        // status and a word of the text.
        type Case = (
            &'static str,
            &'static [&'static str],
            (u8, &'static str, &'static [&'static str]),
            Result<&'static str, (u16, &'static str)>,
        );
        const LOCAL: &str = "127.0.0.1:80";
        let cases: &[Case] = &[
            (LOCAL, &[], (1, "/", &["localhost"]), Ok("localhost")),
            (LOCAL, &[], (1, "/", &["LOCALHOST.:9"]), Ok("LOCALHOST.:9")),
            (LOCAL, &[], (1, "/", &["127.0.0.1:8080"]), Ok("127.0.0.1:8080")),
            (LOCAL, &[], (1, "/", &["127.8.8.8"]), Ok("127.8.8.8")),
            (LOCAL, &[], (1, "/", &["[::1]:80"]), Ok("[::1]:80")),
            ("[::1]:80", &[], (1, "/", &["127.0.0.1"]), Ok("127.0.0.1")),
            (LOCAL, &[], (1, "*", &["localhost:"]), Ok("localhost:")),
            (LOCAL, &[], (1, "/", &["evil.example"]), Err((421, "`names`"))),
            (LOCAL, &[], (1, "*", &["evil.example"]), Err((421, "evil.example"))),
            ("[::1]:80", &[], (1, "/", &["evil.example"]), Err((421, "`names`"))),
            ("[::ffff:127.0.0.1]:80", &[], (1, "/", &["evil.example"]), Err((421, "`names`"))),
            (LOCAL, &[], (1, "/", &["a.localhost"]), Err((421, "`names`"))),
            (LOCAL, &[], (1, "/", &["192.168.0.1"]), Err((421, "`names`"))),
            (LOCAL, &[], (1, "/", &["localhost.evil.example"]), Err((421, "`names`"))),
            (LOCAL, &["gw:8443"], (1, "/", &["gw"]), Ok("gw")),
            (LOCAL, &["gw:8443"], (1, "/", &["GW:8443"]), Ok("GW:8443")),
            (LOCAL, &["gw"], (1, "/", &["gw.:8080"]), Ok("gw.:8080")),
            (LOCAL, &["gw"], (1, "/", &["127.0.0.1:80"]), Ok("127.0.0.1:80")),
            (LOCAL, &["gw"], (1, "/", &["other"]), Err((421, "`names`"))),
            ("10.0.0.1:80", &[], (1, "/", &["any.example"]), Ok("any.example")),
            ("0.0.0.0:80", &["gw"], (1, "/", &["any.example"]), Ok("any.example")),
            // Malformed, wherever one listens.
            (LOCAL, &[], (1, "/", &[]), Err((400, "none"))),
            ("0.0.0.0:80", &[], (1, "/", &[]), Err((400, "none"))),
            (LOCAL, &[], (1, "/", &["localhost", "localhost"]), Err((400, "several"))),
            (LOCAL, &[], (1, "/", &["localhost", "evil.example"]), Err((400, "several"))),
            (LOCAL, &[], (0, "/", &["localhost", "localhost"]), Err((400, "several"))),
            ("0.0.0.0:80", &[], (1, "/", &[""]), Err((400, "no host"))),
            ("0.0.0.0:80", &[], (1, "/", &["a b"]), Err((400, "`a b`"))),
            ("0.0.0.0:80", &[], (1, "/", &["a, b"]), Err((400, "more than one"))),
            ("0.0.0.0:80", &[], (1, "/", &["ann@localhost"]), Err((400, "@"))),
            ("0.0.0.0:80", &[], (1, "/", &["localhost/x"]), Err((400, "malformed"))),
            ("0.0.0.0:80", &[], (1, "/", &["localhost:99999"]), Err((400, "65535"))),
            ("0.0.0.0:80", &[], (1, "/", &["[::1"]), Err((400, "brackets"))),
            ("0.0.0.0:80", &[], (1, "/", &["gw\u{e9}"]), Err((400, "malformed"))),
            ("0.0.0.0:80", &[], (1, "/", &["gw\tb"]), Err((400, "`gwb`"))),
            // HTTP/1.0 need not say it, but what it says counts.
            (LOCAL, &[], (0, "/", &[]), Ok("")),
            (LOCAL, &[], (0, "/", &["localhost"]), Ok("localhost")),
            (LOCAL, &[], (0, "/", &["evil.example"]), Err((421, "`names`"))),
            (LOCAL, &[], (0, "/", &["a b"]), Err((400, "malformed"))),
            // The target overrides it.
            (LOCAL, &[], (1, "http://localhost/", &["evil.example"]), Ok("localhost")),
            (LOCAL, &[], (1, "http://evil.example/", &["localhost"]), Err((421, "`evil.example`"))),
            (LOCAL, &[], (1, "http://localhost/", &[]), Err((400, "none"))),
            (LOCAL, &[], (0, "http://localhost/", &[]), Ok("localhost")),
            (LOCAL, &[], (0, "http://evil.example/", &[]), Err((421, "`names`"))),
            (LOCAL, &[], (1, "http://localhost/", &["a b"]), Err((400, "Host"))),
            (LOCAL, &[], (1, "http://localhost/", &["a", "b"]), Err((400, "several"))),
            (LOCAL, &[], (1, "http://ann@localhost/", &["localhost"]), Err((400, "target"))),
            (LOCAL, &[], (1, "HTTP://localhost/", &["localhost"]), Ok("localhost")),
            (LOCAL, &[], (1, "ws://localhost/", &["localhost"]), Ok("localhost")),
            (LOCAL, &[], (1, "https://localhost/", &["localhost"]), Err((421, "`https`"))),
            (LOCAL, &[], (1, "ftp://localhost/", &["localhost"]), Err((421, "`ftp`"))),
            (LOCAL, &[], (1, "evil.example:443", &["localhost"]), Err((421, "`evil.example:443`"))),
        ];
        for (address, names, (version, target, hosts), expected) in cases {
            let mut listen = Config::default().listens.remove(0);
            listen.address = address.parse().unwrap();
            listen.names = names.iter().map(|name| Authority::parse(name).unwrap()).collect();
            let version = if *version == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
            let mut request = Request::builder().version(version).uri(*target);
            for host in *hosts {
                // As it comes over the network, where one byte may be one character.
                let bytes: Vec<u8> = host.chars().map(|c| u8::try_from(c).unwrap()).collect();
                request = request.header(header::HOST, HeaderValue::from_bytes(&bytes).unwrap());
            }
            let (head, ()) = request.body(()).unwrap().into_parts();
            let shown = format!("{version:?} {target} {hosts:?} at {address} {names:?}");
            match (host(&listen, Scheme::Http, &head), expected) {
                (Ok(actual), Ok(expected)) => assert_eq!(actual, *expected, "{shown}"),
                (Err(refusal), Err((status, word))) => {
                    assert_eq!(refusal.status(), *status, "{shown}: {refusal}");
                    assert!(refusal.to_string().contains(word), "{shown}: {refusal}");
                }
                (actual, _) => panic!("{shown}: {actual:?}"),
            }
        }
    }

    #[test]
    fn a_target_of_https_is_for_a_listener_that_is_reached_by_it() {
        let listen = Config::default().listens.remove(0);
        for scheme in ["http", "https", "ws", "wss", "HTTPS"] {
            let request = Request::builder().uri(format!("{scheme}://localhost/"));
            let request = request.header(header::HOST, "localhost").body(()).unwrap();
            assert_eq!(host(&listen, Scheme::Https, &request.into_parts().0), Ok("localhost"));
        }
    }

    #[test]
    fn a_page_may_or_is_told_why_not() {
        use Aim::{Act, Read, WebSocket};
        // What is allowed, what the request is for, its headers, and a word of the refusal.
        type Headers = &'static [(&'static str, &'static str)];
        const CROSS_ORIGIN: &str = "http://evil.example";
        const CROSS: (&str, &str) = ("sec-fetch-site", "cross-site");
        const NAMED: (&str, &str) = ("origin", "http://localhost:3000");
        let cases: &[(&str, Aim, Headers, Option<&str>)] = &[
            ("", Read, &[], None),
            ("", Act, &[], None),
            ("", WebSocket, &[], None),
            ("", Act, &[NAMED], None),
            ("", Act, &[NAMED, CROSS], None),
            ("", WebSocket, &[NAMED, CROSS], None),
            ("", Read, &[("origin", CROSS_ORIGIN)], Some("allow-origins")),
            ("", Act, &[("origin", CROSS_ORIGIN)], Some("allow-origins")),
            ("", Act, &[("origin", "https://localhost:3000")], Some("reached by http")),
            ("", Act, &[("origin", "null")], Some("allow-origins")),
            ("*", Act, &[("origin", CROSS_ORIGIN), CROSS], None),
            (CROSS_ORIGIN, Act, &[("origin", CROSS_ORIGIN), CROSS], None),
            // Two, even if both would be allowed, or none that is one.
            ("*", Act, &[NAMED, NAMED], Some("several")),
            ("*", Read, &[NAMED, ("origin", CROSS_ORIGIN)], Some("several")),
            ("*", WebSocket, &[NAMED, NAMED], Some("several")),
            ("*", Act, &[("origin", "")], Some("malformed")),
            ("*", Act, &[("origin", "localhost")], Some("malformed")),
            ("*", Act, &[("origin", "http://localhost/")], Some("malformed")),
            ("*", Act, &[("origin", "http://a, http://b")], Some("malformed")),
            ("*", Act, &[("origin", "http://localh\u{f6}st")], Some("malformed")),
            // No name, but the browser says that it is from elsewhere.
            ("", Act, &[CROSS], Some("cross-site")),
            ("*", Act, &[CROSS], Some("cross-site")),
            ("", WebSocket, &[CROSS], Some("cross-site")),
            ("", Act, &[("sec-fetch-site", "same-site")], Some("same-site")),
            ("", Act, &[("sec-fetch-site", "Cross-Site")], Some("another origin")),
            ("", Act, &[("sec-fetch-site", "same-origin"), CROSS], Some("cross-site")),
            ("", Act, &[("sec-fetch-site", "")], Some("another origin")),
            ("", Act, &[("sec-fetch-site", "same-origin")], None),
            ("", Act, &[("sec-fetch-site", "none")], None),
            ("", Read, &[CROSS], None),
            // The drafts of 2011 have a header of their own.
            ("", WebSocket, &[("sec-websocket-origin", "http://localhost")], None),
            ("", WebSocket, &[("sec-websocket-origin", "http://localhost"), CROSS], None),
            ("", WebSocket, &[("sec-websocket-origin", CROSS_ORIGIN)], Some("allow-origins")),
            (
                "",
                WebSocket,
                &[NAMED, ("sec-websocket-origin", CROSS_ORIGIN)],
                Some("allow-origins"),
            ),
            (CROSS_ORIGIN, WebSocket, &[("sec-websocket-origin", CROSS_ORIGIN)], None),
            ("", WebSocket, &[("sec-websocket-origin", "pmx")], Some("malformed")),
            (
                "*",
                WebSocket,
                &[("sec-websocket-origin", CROSS_ORIGIN), ("sec-websocket-origin", CROSS_ORIGIN)],
                Some("several"),
            ),
        ];
        for (allowed, aim, fields, expected) in cases {
            let config = Config::default();
            let mut service = config.services[0].clone();
            assert_eq!(service.kind, ServiceKind::Pages);
            service.allow_origins = match *allowed {
                "" => vec![],
                "*" => vec![AllowedOrigin::Any],
                one => vec![AllowedOrigin::One(Origin::parse(one).unwrap())],
            };
            let mut headers = HeaderMap::new();
            for (name, value) in *fields {
                let bytes: Vec<u8> = value.chars().map(|c| u8::try_from(c).unwrap()).collect();
                headers.append(*name, HeaderValue::from_bytes(&bytes).unwrap());
            }
            let shown = format!("{aim:?} {fields:?}, {allowed:?}");
            match origin(&config.listens[0], Scheme::Http, &service, &headers, *aim) {
                Ok(named) => {
                    assert_eq!(*expected, None, "{shown}");
                    assert_eq!(named, headers.get(header::ORIGIN), "{shown}");
                }
                Err(refusal) => {
                    let word = expected.unwrap_or_else(|| panic!("{shown}: {refusal}"));
                    assert!(refusal.to_string().contains(word), "{shown}: {refusal}");
                }
            }
        }
    }

    #[test]
    fn a_refusal_repeats_no_control_characters_and_not_all() {
        let long = "x".repeat(1000);
        assert_eq!(&*shown(b"a\r\n\x1b[31mb\x7f"), "a[31mb");
        assert_eq!(shown(long.as_bytes()).len(), 200);
    }
}
