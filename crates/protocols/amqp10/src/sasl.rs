use amqp_types::{TypeError, Writer};
use contract::{Credentials, Login, Refusal, Secret};

use crate::{codes, error::End, performative::split};

/// What a peer says in a SASL frame.
#[derive(Debug)]
pub(crate) enum Said<'a> {
    Init { mechanism: &'a str, initial: Option<&'a [u8]> },
    Response(&'a [u8]),
}

impl<'a> Said<'a> {
    pub(crate) fn read(body: &'a [u8]) -> Result<Self, End> {
        let (code, mut fields, _) = split(body)?;
        match code {
            codes::SASL_INIT => {
                let mechanism = fields.symbol()?.ok_or(TypeError::Missing)?;
                Ok(Self::Init { mechanism, initial: fields.binary()? })
            }
            codes::SASL_RESPONSE => Ok(Self::Response(fields.binary()?.ok_or(TypeError::Missing)?)),
            _ => Err(End::decode("a SASL frame of a server, or one that does not exist")),
        }
    }
}

/// What a peer logs in with; `None`: that is nothing that can be checked.
pub(crate) fn login(mechanism: &str, initial: Option<&[u8]>) -> Option<Login> {
    match mechanism {
        ANONYMOUS => Some(Login::Anonymous),
        PLAIN => {
            let mut parts = initial?.split(|byte| *byte == 0);
            let mut part = || str::from_utf8(parts.next()?).ok();
            let (authorization, name, password) = (part()?, part()?, part()?);
            let is_itself = authorization.is_empty() || authorization == name;
            (parts.next().is_none() && is_itself).then(|| {
                Login::Password(Credentials { name: name.into(), password: Secret::new(password) })
            })
        }
        // The log-in has it, or refuses it.
        _ => Some(Login::Sasl { mechanism: mechanism.into(), initial: initial.map(Secret::new) }),
    }
}

/// The code of an outcome that is not "ok" (part 5, section 5.3.3.6).
pub(crate) const fn failure(refusal: Refusal) -> u8 {
    let is_temporary = matches!(refusal, Refusal::Busy | Refusal::Limit);
    if is_temporary { SYSTEM_TEMPORARY } else { AUTHENTICATION }
}

/// Offers what may succeed: SCRAM only where each user has a verifier, since clients take the strongest
/// that is offered, and ANONYMOUS only where it is accepted.
pub(crate) fn write_mechanisms(to: &mut Writer<'_>, scram_for_all: bool, anonymous: bool) {
    let offered = [(SCRAM, scram_for_all), (PLAIN, true), (ANONYMOUS, anonymous)];
    let mut mechanisms = Vec::with_capacity(offered.len());
    mechanisms.extend(offered.into_iter().filter(|(_, is)| *is).map(|(name, _)| name));
    to.composite(codes::SASL_MECHANISMS, |fields| fields.symbols(&mechanisms));
}

pub(crate) fn write_challenge(to: &mut Writer<'_>, challenge: &[u8]) {
    to.composite(codes::SASL_CHALLENGE, |fields| fields.binary(challenge));
}

pub(crate) fn write_outcome(to: &mut Writer<'_>, code: u8, data: &[u8]) {
    to.composite(codes::SASL_OUTCOME, |fields| {
        fields.u8(code);
        if !data.is_empty() {
            fields.binary(data);
        }
    });
}

const SCRAM: &str = "SCRAM-SHA-256";
pub(crate) const ANONYMOUS: &str = "ANONYMOUS";
pub(crate) const PLAIN: &str = "PLAIN";
pub(crate) const OK: u8 = 0;
pub(crate) const AUTHENTICATION: u8 = 1;
const SYSTEM_TEMPORARY: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_has_a_name_and_a_password() {
        let name = |initial: &[u8]| match login(PLAIN, Some(initial)) {
            Some(Login::Password(credentials)) => Some(credentials.name),
            _ => None,
        };
        assert_eq!(name(b"\0ann\0secret").as_deref(), Some("ann"));
        assert_eq!(name(b"ann\0ann\0secret").as_deref(), Some("ann"));
        assert_eq!(name(b"bob\0ann\0secret"), None, "as another user");
        for malformed in [&b""[..], b"ann", b"\0ann", b"\0ann\0a\0b", b"\0\xff\0a"] {
            assert_eq!(name(malformed), None, "{malformed:?}");
        }
        assert!(matches!(login(ANONYMOUS, Some(b"x@y")), Some(Login::Anonymous)));
        assert!(matches!(login("SCRAM-SHA-256", None), Some(Login::Sasl { .. })));
    }
}
