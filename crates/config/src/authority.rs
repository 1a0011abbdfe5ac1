use core::net::{IpAddr, Ipv6Addr};
use std::fmt;

/// Whom a URL, a `Host` or an origin names: `host` or `host:port` (RFC 3986 section 3.2, without
/// user information). Two that name the same are equal, however they were spelt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Authority {
    /// The host.
    pub host: Host,
    /// The port; none, or an empty one, is that of the scheme.
    pub port: Option<u16>,
}

/// A host: a name, in lower case and without the dot that may end it, or an address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Host {
    /// A name.
    Name(Box<str>),
    /// An address; one of IPv4 is never written as one of IPv6.
    Address(IpAddr),
}

/// What a URL begins with, of those that browsers use to reach us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// `http`, and `ws`.
    Http,
    /// `https`, and `wss`.
    Https,
}

/// Why a string is no [`Authority`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AuthorityError {
    /// There is nothing, or only a port.
    #[error("it names no host")]
    Empty,
    /// User information, or what looks like it.
    #[error("there is an `@` in it; a name and a password have no place there")]
    UserInformation,
    /// More than one.
    #[error("it names more than one host")]
    List,
    /// Something that is no address in brackets, or an address of IPv6 without them.
    #[error("an IPv6 address stands in brackets, such as [::1], and has no zone")]
    Ipv6,
    /// Something that cannot be a port.
    #[error("the port is no number up to 65535")]
    Port,
    /// Something that cannot be a name.
    #[error("a host is an address, or names of letters, digits, `-` and `_` with dots between")]
    Name,
    /// Longer than a name can be.
    #[error("the host is longer than 253 characters")]
    TooLong,
}

impl Authority {
    /// Reads `host` or `host:port`.
    ///
    /// RFC 3986 would let a host have any characters; only those are taken that stand in names of
    /// hosts, which every browser and proxy reads in the same way.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, AuthorityError> {
        if text.contains('@') {
            return Err(AuthorityError::UserInformation);
        }
        if text.contains(',') {
            return Err(AuthorityError::List);
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(bracketed) => {
                let (address, port) = bracketed.split_once(']').ok_or(AuthorityError::Ipv6)?;
                let address: Ipv6Addr = address.parse().map_err(|_| AuthorityError::Ipv6)?;
                (Host::Address(IpAddr::V6(address).to_canonical()), port)
            }
            None => {
                let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                if port.get(1..).is_some_and(|port| port.contains(':')) {
                    return Err(AuthorityError::Ipv6);
                }
                (Host::parse(host)?, port)
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            None => return Err(AuthorityError::Port),
            Some("") => None,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                Some(digits.parse().map_err(|_| AuthorityError::Port)?)
            }
            Some(_) => return Err(AuthorityError::Port),
        };
        Ok(Self { host, port })
    }

    /// The port, of this scheme where none is named.
    #[must_use]
    pub fn port_of(&self, scheme: Scheme) -> u16 {
        self.port.unwrap_or_else(|| scheme.port())
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => f.write_str(name)?,
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}")?,
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl Host {
    /// Reads a name, or an address of IPv4.
    fn parse(text: &str) -> Result<Self, AuthorityError> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(IpAddr::V4(address)));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_label = |label: &str| {
            let is_of_names = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
            !label.is_empty() && label.bytes().all(is_of_names)
        };
        match name {
            "" if text.is_empty() => Err(AuthorityError::Empty),
            _ if name.len() > NAME_LENGTH_MAX => Err(AuthorityError::TooLong),
            _ if name.split('.').all(is_label) => Ok(Self::Name(name.to_ascii_lowercase().into())),
            _ => Err(AuthorityError::Name),
        }
    }

    /// Whether it is this machine to itself: `localhost`, or a loopback address.
    ///
    /// Names below `localhost` are not meant. RFC 6761 section 6.3 wants them to be loopback too,
    /// but resolvers there are that ask the network for them, and then they are anybody's.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => &**name == "localhost",
            Self::Address(address) => address.is_loopback(),
        }
    }
}

impl Scheme {
    /// As origins begin.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that is meant when none is named.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// RFC 1035 section 2.3.4 in characters, without the last dot.
const NAME_LENGTH_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_read_into_one_spelling() {
        use AuthorityError::{Empty, Ipv6, List, Name, Port, TooLong, UserInformation};
        let long = format!("{}.example", "a".repeat(63));
        let too_long = ["a"; 128].join(".");
        let cases: &[(&str, Result<&str, AuthorityError>)] = &[
            ("gw.example.com", Ok("gw.example.com")),
            ("gw.example.com:8443", Ok("gw.example.com:8443")),
            ("GW.Example.COM.:80", Ok("gw.example.com:80")),
            ("under_score-d", Ok("under_score-d")),
            ("xn--bcher-kva.example", Ok("xn--bcher-kva.example")),
            (&long, Ok(&long)),
            ("an empty port", Err(Name)),
            ("gw:", Ok("gw")),
            ("gw:0080", Ok("gw:80")),
            ("gw:65535", Ok("gw:65535")),
            ("127.0.0.1:8080", Ok("127.0.0.1:8080")),
            ("127.1", Ok("127.1")),
            ("[::1]", Ok("[::1]")),
            ("[0:0::1]:80", Ok("[::1]:80")),
            ("[::ffff:127.0.0.1]:80", Ok("127.0.0.1:80")),
            ("[FE80::A]", Ok("[fe80::a]")),
            ("", Err(Empty)),
            (":80", Err(Empty)),
            (".", Err(Name)),
            (".gw", Err(Name)),
            ("a..b", Err(Name)),
            ("gw..", Err(Name)),
            ("gw:65536", Err(Port)),
            ("gw:99999999999999999999", Err(Port)),
            ("gw:http", Err(Port)),
            ("gw:+80", Err(Port)),
            ("gw:-1", Err(Port)),
            ("gw:8 0", Err(Port)),
            ("gw: 80", Err(Port)),
            ("gw:80/", Err(Port)),
            ("[::1]80", Err(Port)),
            ("[::1]x", Err(Port)),
            ("gw:80:80", Err(Ipv6)),
            ("::1", Err(Ipv6)),
            ("[::1", Err(Ipv6)),
            ("[]", Err(Ipv6)),
            ("[127.0.0.1]", Err(Ipv6)),
            ("[fe80::1%25eth0]", Err(Ipv6)),
            ("[v1.x]", Err(Ipv6)),
            ("[::1]]:80", Err(Port)),
            ("::1]", Err(Ipv6)),
            ("user@gw", Err(UserInformation)),
            ("localhost:80@evil.example", Err(UserInformation)),
            ("a,b", Err(List)),
            ("a, b", Err(List)),
            ("a b", Err(Name)),
            (" a", Err(Name)),
            ("a\tb", Err(Name)),
            ("gw/path", Err(Name)),
            ("gw?x", Err(Name)),
            ("gw#x", Err(Name)),
            ("http://gw", Err(Port)),
            ("gw\\x", Err(Name)),
            ("local%68ost", Err(Name)),
            ("a!b", Err(Name)),
            ("*", Err(Name)),
            ("bücher.example", Err(Name)),
            ("gw\0", Err(Name)),
            (&too_long, Err(TooLong)),
        ];
        for (text, expected) in cases {
            let actual = Authority::parse(text);
            let shown = actual.as_ref().map(ToString::to_string);
            assert_eq!(shown.as_deref().map_err(|e| **e), *expected, "{text:?}");
            // What is shown is read as the same.
            if let Ok(authority) = actual {
                assert_eq!(Authority::parse(&authority.to_string()), Ok(authority), "{text:?}");
            }
        }
    }

    #[test]
    fn loopback_is_this_machine_and_no_name_that_another_can_have() {
        for (text, expected) in [
            ("localhost", true),
            ("LocalHost.:80", true),
            ("127.0.0.1", true),
            ("127.9.9.9:3000", true),
            ("[::1]:8080", true),
            ("[::ffff:127.0.0.1]", true),
            ("0.0.0.0", false),
            ("[::]", false),
            ("192.168.0.1", false),
            ("127.1", false),
            ("2130706433", false),
            ("a.localhost", false),
            ("localhost.example.com", false),
            ("127.0.0.1.example.com", false),
            ("127.0.0.1.nip.io", false),
            ("localhost.localdomain", false),
            ("[::127.0.0.1]", false),
            ("[::2]", false),
        ] {
            assert_eq!(Authority::parse(text).unwrap().host.is_loopback(), expected, "{text}");
        }
    }
}
