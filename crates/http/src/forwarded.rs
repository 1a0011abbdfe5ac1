//! Whose request it is, as proxies that are believed say it: `Forwarded` (RFC 7239) and
//! `X-Forwarded-For` with `X-Forwarded-Proto`.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use config::Networks;
use http::{HeaderMap, HeaderName};

/// Who sends a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Sender {
    /// Its address; the port is 0 where no proxy says it.
    pub(crate) address: SocketAddr,
    /// Whether it came to the proxy by HTTPS; `None`: no proxy says it.
    pub(crate) is_https: Option<bool>,
    /// Both fields are there and do not agree, so that neither is believed.
    pub(crate) is_contradictory: bool,
}

impl Sender {
    /// The sender as known without its requests.
    pub(crate) const fn of(peer: SocketAddr) -> Self {
        Self { address: peer, is_https: None, is_contradictory: false }
    }

    /// Who sends a request that came from `peer`: the rightmost address that is not itself that of
    /// a believed proxy. What is left of it, anybody can have made up.
    ///
    /// A proxy that sets one of the fields often passes the other on as it came. So where both are
    /// there they must agree; else the sender is the proxy.
    pub(crate) fn find(peer: SocketAddr, headers: &HeaderMap, believed: &Networks) -> Self {
        if !believed.contains(peer.ip()) {
            return Self::of(peer);
        }
        let forwarded = headers
            .contains_key(&FORWARDED)
            .then(|| walk(peer, believed, members(headers, &FORWARDED).map(Hop::parse)));
        let protos = || members(headers, &X_FORWARDED_PROTO).map(is_https);
        let unofficial = headers.contains_key(&X_FORWARDED_FOR).then(|| {
            // One proxy often says the scheme for all that stand behind it.
            let first = protos().last().flatten();
            let protos = protos().chain(std::iter::repeat(first));
            let hops = members(headers, &X_FORWARDED_FOR).zip(protos);
            walk(
                peer,
                believed,
                hops.map(|(node, is_https)| Hop { node: self::node(node), is_https }),
            )
        });
        match (forwarded, unofficial) {
            (Some(one), Some(other)) if one.address.ip() != other.address.ip() => {
                Self { is_contradictory: true, ..Self::of(peer) }
            }
            (Some(one), Some(other)) => Self {
                is_https: match (one.is_https, other.is_https) {
                    (Some(a), Some(b)) if a != b => None,
                    (a, b) => a.or(b),
                },
                ..one
            },
            (Some(one), None) => {
                Self { is_https: one.is_https.or_else(|| protos().next().flatten()), ..one }
            }
            (None, Some(other)) => other,
            (None, None) => Self { is_https: protos().next().flatten(), ..Self::of(peer) },
        }
    }
}

/// What one proxy says of the sender of the request.
struct Hop {
    /// Its address; `None`: unknown, hidden or malformed.
    node: Option<SocketAddr>,
    is_https: Option<bool>,
}

impl Hop {
    /// Reads a `forwarded-element` (RFC 7239 4). Quoted commas and semicolons, which no pair that
    /// matters has, make it malformed.
    fn parse(element: &str) -> Self {
        let mut hop = Self { node: None, is_https: None };
        let mut has_node = false;
        // Between two semicolons there may be nothing.
        for pair in element.split(';').map(trim).filter(|pair| !pair.is_empty()) {
            let Some((name, value)) = pair.split_once('=') else { return Self::malformed() };
            let Some(value) = unquoted(value) else { return Self::malformed() };
            if name.eq_ignore_ascii_case("for") {
                if has_node {
                    return Self::malformed();
                }
                has_node = true;
                hop.node = node(&value);
            } else if name.eq_ignore_ascii_case("proto") {
                hop.is_https = is_https(&value);
            }
        }
        hop
    }

    const fn malformed() -> Self {
        Self { node: None, is_https: None }
    }
}

/// Goes from the gateway to the sender, as long as who speaks is believed.
fn walk(peer: SocketAddr, believed: &Networks, hops: impl Iterator<Item = Hop>) -> Sender {
    let mut sender = Sender::of(peer);
    for hop in hops {
        if !believed.contains(sender.address.ip()) {
            break;
        }
        sender.is_https = hop.is_https;
        match hop.node {
            Some(address) => sender.address = address,
            None => break,
        }
    }
    sender
}

/// The members of a list field from the last to the first (RFC 9110 5.6.1). What is not ASCII is
/// in no address: it is a member that is malformed.
fn members<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'h str> + use<'h> {
    let lines = headers.get_all(name).iter().rev();
    lines
        .flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b','))
        .map(|member| str::from_utf8(member).map_or("?", trim))
        .filter(|member| !member.is_empty())
}

/// Reads `192.0.2.7`, `2001:db8::7` or `[2001:db8::7]`, with a port or without.
fn node(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(address.to_canonical(), 0));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, port),
        _ => (text, ""),
    };
    let address = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?.into(),
        None => IpAddr::V4(host.parse().ok()?),
    };
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = match port {
        _ if host.len() == text.len() => 0,
        // A hidden port (RFC 7239 6.3).
        _ if port.starts_with('_') => 0,
        _ if is_number => port.parse().ok()?,
        _ => return None,
    };
    Some(SocketAddr::new(address.to_canonical(), port))
}

/// A token, or what a quoted string holds (RFC 9110 5.6.4).
fn unquoted(value: &str) -> Option<Cow<'_, str>> {
    let Some(rest) = value.strip_prefix('"') else {
        return (!value.contains('"')).then_some(Cow::Borrowed(value));
    };
    let inner = rest.strip_suffix('"')?;
    if !inner.contains(['"', '\\']) {
        return Some(Cow::Borrowed(inner));
    }
    let mut plain = String::new();
    let mut chars = inner.chars();
    while let Some(next) = chars.next() {
        match next {
            '"' => return None,
            '\\' => plain.push(chars.next()?),
            other => plain.push(other),
        }
    }
    Some(Cow::Owned(plain))
}

fn is_https(text: &str) -> Option<bool> {
    // WebSocket schemes are said by some for requests to upgrade.
    match text {
        _ if ["https", "wss"].iter().any(|word| text.eq_ignore_ascii_case(word)) => Some(true),
        _ if ["http", "ws"].iter().any(|word| text.eq_ignore_ascii_case(word)) => Some(false),
        _ => None,
    }
}

/// Without optional white space (RFC 9110 5.6.3).
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

const FORWARDED: HeaderName = http::header::FORWARDED;
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

#[cfg(test)]
mod tests {
    use config::Config;
    use http::HeaderValue;

    use super::*;

    fn believed() -> Networks {
        let text = "[[listen]]\naddress = '127.0.0.1:0'\n\
                    forwarded-from = ['127.0.0.1', '10.0.0.0/8', 'fd00::/8']";
        Config::parse(text, "gw.toml").unwrap().listens[0].forwarded_from.clone()
    }

    #[test]
    fn the_sender_is_the_last_that_is_no_proxy_of_ours() {
        // The peer; its fields; the sender; by HTTPS.
        let proxy = "127.0.0.1:9";
        let cases: &[(&str, &[&str], &str, Option<bool>)] = &[
            (proxy, &[], proxy, None),
            ("192.0.2.1:9", &["x-forwarded-for: 192.0.2.7"], "192.0.2.1:9", None),
            ("192.0.2.1:9", &["forwarded: for=192.0.2.7;proto=https"], "192.0.2.1:9", None),
            (proxy, &["x-forwarded-for: 192.0.2.7"], "192.0.2.7:0", None),
            ("[::ffff:127.0.0.1]:9", &["x-forwarded-for: 192.0.2.7"], "192.0.2.7:0", None),
            (proxy, &["x-forwarded-for: 192.0.2.6, 192.0.2.7"], "192.0.2.7:0", None),
            (proxy, &["x-forwarded-for: 192.0.2.7, 10.0.0.1"], "192.0.2.7:0", None),
            (
                proxy,
                &["x-forwarded-for: 192.0.2.7", "x-forwarded-for: 10.0.0.1"],
                "192.0.2.7:0",
                None,
            ),
            (proxy, &["x-forwarded-for: 10.0.0.2, 10.0.0.1"], "10.0.0.2:0", None),
            (proxy, &["x-forwarded-for: 192.0.2.7,, ,"], "192.0.2.7:0", None),
            (proxy, &["x-forwarded-for: 192.0.2.7, x, 10.0.0.1"], "10.0.0.1:0", None),
            (proxy, &["x-forwarded-for: 192.0.2.7, unknown"], proxy, None),
            (proxy, &["x-forwarded-for: 192.0.2.7, \u{e9}"], proxy, None),
            (proxy, &["x-forwarded-for: "], proxy, None),
            (proxy, &["x-forwarded-for: 192.0.2.7:4711"], "192.0.2.7:4711", None),
            (proxy, &["x-forwarded-for: 192.0.2.7:"], proxy, None),
            (proxy, &["x-forwarded-for: 192.0.2.7:99999"], proxy, None),
            (proxy, &["x-forwarded-for: 2001:db8::7"], "[2001:db8::7]:0", None),
            (proxy, &["x-forwarded-for: [2001:db8::7]"], "[2001:db8::7]:0", None),
            (proxy, &["x-forwarded-for: [2001:db8::7]:1"], "[2001:db8::7]:1", None),
            (proxy, &["x-forwarded-for: ::ffff:192.0.2.7"], "192.0.2.7:0", None),
            (proxy, &["forwarded: for=192.0.2.7"], "192.0.2.7:0", None),
            (proxy, &["forwarded: For=\"[2001:db8::7]:4711\""], "[2001:db8::7]:4711", None),
            (
                proxy,
                &["forwarded: for=\"[2001:db8::7]\";proto=https;by=_a"],
                "[2001:db8::7]:0",
                Some(true),
            ),
            (proxy, &["forwarded: for=\"192.0.2.7:_port\""], "192.0.2.7:0", None),
            (proxy, &["forwarded: for=\"192.0.2\\.7\""], "192.0.2.7:0", None),
            (
                proxy,
                &["forwarded: for=192.0.2.6, for=192.0.2.7;proto=http"],
                "192.0.2.7:0",
                Some(false),
            ),
            (
                proxy,
                &["forwarded: for=192.0.2.7;proto=https, for=10.0.0.1;proto=http"],
                "192.0.2.7:0",
                Some(true),
            ),
            (proxy, &["forwarded: for=unknown;proto=https"], proxy, Some(true)),
            (proxy, &["forwarded: for=192.0.2.7, for=_hidden"], proxy, None),
            (proxy, &["forwarded: for=192.0.2.7;"], "192.0.2.7:0", None),
            (proxy, &["forwarded: ; for=192.0.2.7;; proto=https"], "192.0.2.7:0", Some(true)),
            (proxy, &["forwarded: for=192.0.2.7, ;"], proxy, None),
            (proxy, &["forwarded: for=192.0.2.7;for=192.0.2.8"], proxy, None),
            (proxy, &["forwarded: for=\"192.0.2.7"], proxy, None),
            (proxy, &["forwarded: for=\"x, for=192.0.2.7"], "192.0.2.7:0", None),
            (proxy, &["forwarded: 192.0.2.7"], proxy, None),
            (proxy, &["forwarded: proto=https"], proxy, Some(true)),
            (proxy, &["forwarded: for=192.0.2.7", "forwarded: for=10.0.0.1"], "192.0.2.7:0", None),
            (proxy, &["x-forwarded-proto: https"], proxy, Some(true)),
            (
                proxy,
                &["x-forwarded-for: 192.0.2.7", "x-forwarded-proto: https"],
                "192.0.2.7:0",
                Some(true),
            ),
            (
                proxy,
                &["x-forwarded-for: 192.0.2.7", "x-forwarded-proto: gopher"],
                "192.0.2.7:0",
                None,
            ),
            (
                proxy,
                &["x-forwarded-for: 192.0.2.7, 10.0.0.1", "x-forwarded-proto: https"],
                "192.0.2.7:0",
                Some(true),
            ),
            (
                proxy,
                &["x-forwarded-for: 192.0.2.7, 10.0.0.1", "x-forwarded-proto: https, http"],
                "192.0.2.7:0",
                Some(true),
            ),
            (
                proxy,
                &["x-forwarded-for: 192.0.2.7", "x-forwarded-proto: https, http"],
                "192.0.2.7:0",
                Some(false),
            ),
            (
                proxy,
                &["x-forwarded-for: 192.0.2.7", "forwarded: for=\"192.0.2.7:1\";proto=https"],
                "192.0.2.7:1",
                Some(true),
            ),
            (
                proxy,
                &["x-forwarded-for: 192.0.2.7", "forwarded: for=192.0.2.8;proto=https"],
                proxy,
                None,
            ),
        ];
        for (peer, fields, address, is_https) in cases {
            let mut headers = HeaderMap::new();
            for field in *fields {
                let (name, value) = field.split_once(": ").unwrap();
                let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
                headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
            }
            let sender = Sender::find(peer.parse().unwrap(), &headers, &believed());
            let said = (sender.address.to_string(), sender.is_https);
            assert_eq!(said, ((*address).to_owned(), *is_https), "{peer} {fields:?}");
        }
    }
}
