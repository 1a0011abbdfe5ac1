//! The messages of SCRAM (RFC 5802, RFC 7677), from the server's side.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use contract::SaslError;

use crate::{Scram, user::User};

/// What the client says first (RFC 5802 7, `client-first-message`).
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct ClientFirst {
    /// Who wants to log in.
    pub(crate) name: Box<str>,
    /// What the client's last message must repeat: its flag of channel binding and its
    /// authorization identity.
    gs2_header: Box<str>,
    bare: Box<str>,
    nonce: Box<str>,
}

/// An exchange in which the server has sent its challenge.
pub(crate) struct ScramExchange {
    pub(crate) name: Box<str>,
    /// `None`: there is no such user, or none who has a verifier of the mechanism. The verifier is
    /// made up then, and no proof fits.
    pub(crate) user: Option<Arc<User>>,
    verifier: Scram,
    gs2_header: Box<str>,
    /// Both nonces.
    nonce: Box<str>,
    /// `client-first-message-bare`, and the challenge behind a comma.
    said: String,
}

/// What the client says last, of which only its proof is not verified.
pub(crate) struct ScramProof {
    pub(crate) name: Box<str>,
    user: Option<Arc<User>>,
    verifier: Scram,
    /// All that was said (RFC 5802 3, `AuthMessage`).
    said: String,
    proof: Vec<u8>,
}

impl ClientFirst {
    /// Reads the client's first message.
    pub(crate) fn parse(message: &[u8]) -> Result<Self, SaslError> {
        let message = text(message)?;
        let (flag, rest) = message.split_once(',').ok_or(SaslError::Malformed)?;
        match flag {
            // `y`: the client has channel binding and takes the server to have none, which is so.
            "n" | "y" => {}
            _ if flag.starts_with("p=") => return Err(SaslError::ChannelBinding),
            _ => return Err(SaslError::Malformed),
        }
        let (authorization, bare) = rest.split_once(',').ok_or(SaslError::Malformed)?;
        let mut attributes = bare.split(',');
        let name = match attributes.next().and_then(|first| first.split_once('=')) {
            Some(("n", name)) => unescape(name)?,
            Some(("m", _)) => return Err(SaslError::Extension),
            _ => return Err(SaslError::Malformed),
        };
        match authorization.split_once('=') {
            None if authorization.is_empty() => {}
            Some(("a", other)) if unescape(other)? == name => {}
            Some(("a", _)) => return Err(SaslError::AuthorizationId),
            _ => return Err(SaslError::Malformed),
        }
        let nonce = attributes.next().and_then(|nonce| nonce.strip_prefix("r="));
        let nonce = nonce.filter(|nonce| is_nonce(nonce)).ok_or(SaslError::Malformed)?;
        if !attributes.all(is_attribute) {
            return Err(SaslError::Malformed);
        }
        let gs2_header = message.strip_suffix(bare).unwrap_or_default();
        Ok(Self { name, gs2_header: gs2_header.into(), bare: bare.into(), nonce: nonce.into() })
    }

    /// The challenge to it, and the exchange that goes on. `nonce` is the server's part.
    pub(crate) fn challenge(
        self,
        user: Option<Arc<User>>,
        verifier: Scram,
        nonce: &str,
    ) -> (Vec<u8>, ScramExchange) {
        let nonce = format!("{}{nonce}", self.nonce);
        let salt = BASE64_STANDARD.encode(verifier.salt());
        let challenge = format!("r={nonce},s={salt},i={}", verifier.iterations());
        let said = format!("{},{challenge}", self.bare);
        let exchange = ScramExchange {
            name: self.name,
            user,
            verifier,
            gs2_header: self.gs2_header,
            nonce: nonce.into(),
            said,
        };
        (challenge.into_bytes(), exchange)
    }
}

impl ScramExchange {
    /// Reads the client's last message (RFC 5802 7, `client-final-message`).
    pub(crate) fn proof(self, message: &[u8]) -> Result<ScramProof, SaslError> {
        let message = text(message)?;
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or(SaslError::Malformed)?;
        let mut attributes = without_proof.split(',');
        let binding = attributes.next().and_then(|binding| binding.strip_prefix("c="));
        let binding = binding.and_then(|binding| BASE64_STANDARD.decode(binding).ok());
        let nonce = attributes.next().and_then(|nonce| nonce.strip_prefix("r="));
        if binding.as_deref() != Some(self.gs2_header.as_bytes())
            || nonce != Some(&*self.nonce)
            || !attributes.all(is_attribute)
        {
            return Err(SaslError::Malformed);
        }
        let proof = BASE64_STANDARD.decode(proof).map_err(|_| SaslError::Malformed)?;
        let Self { name, user, verifier, mut said, .. } = self;
        said.push(',');
        said.push_str(without_proof);
        Ok(ScramProof { name, user, verifier, said, proof })
    }
}

impl ScramProof {
    /// The user, and what proves the server to the client (`server-final-message`), if the proof is
    /// right. Takes the same time for all names.
    pub(crate) fn verify(self) -> Option<(Arc<User>, Vec<u8>)> {
        let signature = self.verifier.verify(self.said.as_bytes(), &self.proof);
        let (user, signature) = self.user.zip(signature)?;
        Some((user, format!("v={}", BASE64_STANDARD.encode(signature)).into_bytes()))
    }
}

impl std::fmt::Debug for ScramProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScramProof").finish_non_exhaustive()
    }
}

fn text(message: &[u8]) -> Result<&str, SaslError> {
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(SaslError::TooLong);
    }
    str::from_utf8(message).map_err(|_| SaslError::Malformed)
}

/// Reads a name (`saslname`), in which `=2C` stands for a comma and `=3D` for an equals sign.
fn unescape(text: &str) -> Result<Box<str>, SaslError> {
    let mut parts = text.split('=');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (char, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (None, Some(rest)) => ('=', rest),
            (None, None) => return Err(SaslError::Malformed),
        };
        name.push(char);
        name.push_str(rest);
    }
    if name.is_empty() || name.contains('\0') {
        return Err(SaslError::Malformed);
    }
    Ok(name.into())
}

/// Whether it is a nonce: printable ASCII without a comma.
fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

/// Whether it may stand where attributes do that are passed over (`attr-val`).
fn is_attribute(text: &str) -> bool {
    text.split_once('=').is_some_and(|(name, value)| {
        matches!(name.as_bytes(), [name] if name.is_ascii_alphabetic())
            && !value.is_empty()
            && !value.contains('\0')
    })
}

/// Bytes of a message of the client. A name and a nonce have far fewer.
pub(crate) const MESSAGE_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use contract::Secret;

    use super::*;
    use crate::{Mechanism, Password};

    /// The examples of RFC 5802 5 and RFC 7677 3: mechanism, salt, the server's part of the nonce, and
    /// the four messages.
    const EXAMPLES: [(Mechanism, &str, &str, [&str; 4]); 2] = [
        (
            Mechanism::Sha1,
            "QSXCR+Q6sek8bf92",
            "3rfcNHYJY1ZVvWVs7j",
            [
                "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
                "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
                "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,\
                 p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
                "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            ],
        ),
        (
            Mechanism::Sha256,
            "W22ZaJ0SNY7soEsUEjb6gQ==",
            "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
            [
                "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
                "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,\
                 i=4096",
                "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                 p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ],
        ),
    ];

    fn challenged(example: usize, first: &str) -> (Vec<u8>, ScramExchange) {
        let (mechanism, salt, nonce, _) = EXAMPLES[example];
        let salt = BASE64_STANDARD.decode(salt).unwrap();
        let verifier = Scram::derive(mechanism, &Secret::new("pencil"), &salt, 4096);
        let user = User::new("user", [], Password::of_verifier(verifier.clone())).unwrap();
        ClientFirst::parse(first.as_bytes()).unwrap().challenge(Some(user.into()), verifier, nonce)
    }

    #[test]
    fn the_exchanges_of_the_standards_succeed() {
        for (index, (mechanism, _, _, [first, challenge, last, success])) in
            EXAMPLES.into_iter().enumerate()
        {
            let (said, exchange) = challenged(index, first);
            assert_eq!(str::from_utf8(&said), Ok(challenge), "{mechanism:?}");
            assert_eq!(&*exchange.name, "user");
            let (user, said) = exchange.proof(last.as_bytes()).unwrap().verify().unwrap();
            assert_eq!((user.name(), str::from_utf8(&said)), ("user", Ok(success)));
        }
    }

    #[test]
    fn what_a_client_may_say_first() {
        use SaslError::{AuthorizationId, ChannelBinding, Extension, Malformed, TooLong};
        let long = format!("n,,n=user,r={}", "x".repeat(MESSAGE_BYTES_MAX));
        let cases: &[(&str, &[u8], Result<&str, SaslError>)] = &[
            ("no binding", b"n,,n=user,r=x", Ok("user")),
            ("no binding, as the server has none", b"y,,n=user,r=x", Ok("user")),
            ("binding", b"p=tls-exporter,,n=user,r=x", Err(ChannelBinding)),
            ("an unknown flag", b"x,,n=user,r=x", Err(Malformed)),
            ("itself as authorization identity", b"n,a=user,n=user,r=x", Ok("user")),
            ("another as authorization identity", b"n,a=root,n=user,r=x", Err(AuthorizationId)),
            ("an empty authorization identity", b"n,a=,n=user,r=x", Err(Malformed)),
            ("something else there", b"n,b=user,n=user,r=x", Err(Malformed)),
            ("escapes", b"n,,n=a=2Cb=3Dc,r=x", Ok("a,b=c")),
            ("escapes in both", b"n,a=a=2Cb,n=a=2Cb,r=x", Ok("a,b")),
            ("an undefined escape", b"n,,n=a=2D,r=x", Err(Malformed)),
            ("half an escape", b"n,,n=a=2,r=x", Err(Malformed)),
            ("characters as they are", "n,,n=Ünal,r=x".as_bytes(), Ok("Ünal")),
            ("not UTF-8", b"n,,n=\xff,r=x", Err(Malformed)),
            ("a NUL in the name", b"n,,n=a\0,r=x", Err(Malformed)),
            ("no name", b"n,,n=,r=x", Err(Malformed)),
            ("a mandatory extension", b"n,,m=x,n=user,r=x", Err(Extension)),
            ("an extension to be passed over", b"n,,n=user,r=x,z=y", Ok("user")),
            ("a malformed extension", b"n,,n=user,r=x,zz", Err(Malformed)),
            ("an empty nonce", b"n,,n=user,r=", Err(Malformed)),
            ("a nonce that is not printable", b"n,,n=user,r=a b", Err(Malformed)),
            ("no nonce", b"n,,n=user", Err(Malformed)),
            ("the wrong order", b"n,,r=x,n=user", Err(Malformed)),
            ("no header", b"n=user,r=x", Err(Malformed)),
            ("nothing", b"", Err(Malformed)),
            ("too long", long.as_bytes(), Err(TooLong)),
        ];
        for (rule, message, expected) in cases {
            let name = ClientFirst::parse(message).map(|first| first.name);
            assert_eq!(name.as_deref(), expected.as_deref(), "{rule}");
        }
    }

    #[test]
    fn what_a_client_may_say_last() {
        const PROOF: &str = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let (_, _, _, [first, _, last, _]) = EXAMPLES[1];
        let changed = |from: &str, to: &str| {
            assert!(last.contains(from), "{from}");
            last.replace(from, to)
        };
        let malformed = Err(SaslError::Malformed);
        let cases: &[(&str, String, Result<bool, SaslError>)] = &[
            ("as it should be", last.to_owned(), Ok(true)),
            ("another proof", changed("p=dH", "p=dG"), Ok(false)),
            ("a proof of SHA-1", changed(PROOF, "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="), Ok(false)),
            ("an empty proof", changed(PROOF, ""), Ok(false)),
            ("no proof", changed(&format!(",p={PROOF}"), ""), malformed),
            ("a proof that is no base64", changed("p=dH", "p=!H"), malformed),
            ("an extension that was not proved", changed(",p=", ",z=y,p="), Ok(false)),
            ("a malformed extension", changed(",p=", ",z,p="), malformed),
            ("what stands behind the proof", format!("{last},z=y"), malformed),
            ("the client's part of the nonce changed", changed("rOpr", "rOpq"), malformed),
            ("the server's part of the nonce changed", changed("$k0", "$k1"), malformed),
            ("the client's part alone", changed("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", ""), malformed),
            ("a longer nonce", changed("$k0", "$k00"), malformed),
            ("another flag than before", changed("c=biws", "c=eSws"), malformed),
            ("data of a binding", changed("c=biws", "c=biwsAAAA"), malformed),
            ("a binding that is no base64", changed("c=biws", "c=!"), malformed),
            ("no binding", changed("c=biws,", ""), malformed),
            ("the wrong order", changed("c=biws,r=", "r=biws,c="), malformed),
            ("the first message again", first.to_owned(), malformed),
            ("nothing", String::new(), malformed),
            (
                "too long",
                changed(",p=", &format!(",z={},p=", "x".repeat(1024))),
                Err(SaslError::TooLong),
            ),
        ];
        for (rule, message, expected) in cases {
            let (_, exchange) = challenged(1, first);
            let verified = exchange.proof(message.as_bytes()).map(|proof| proof.verify().is_some());
            assert_eq!(verified, *expected, "{rule}");
        }
    }

    #[test]
    fn the_flag_and_the_identity_are_repeated() {
        for (first, binding, is_right) in [
            ("y,,n=user,r=x", "y,,", true),
            ("y,,n=user,r=x", "n,,", false),
            ("n,a=user,n=user,r=x", "n,a=user,", true),
            ("n,a=user,n=user,r=x", "n,,", false),
        ] {
            let (_, exchange) = challenged(1, first);
            let binding = BASE64_STANDARD.encode(binding);
            let last = format!("c={binding},r=x{},p=AAAA", EXAMPLES[1].2);
            assert_eq!(exchange.proof(last.as_bytes()).is_ok(), is_right, "{first}");
        }
    }

    /// As for an unknown name: a made-up verifier proves nothing, whatever it is.
    #[test]
    fn no_proof_fits_where_there_is_no_user() {
        let (_, _, nonce, [first, _, last, _]) = EXAMPLES[1];
        let salt = BASE64_STANDARD.decode(EXAMPLES[1].1).unwrap();
        let verifier = Scram::derive(Mechanism::Sha256, &Secret::new("pencil"), &salt, 4096);
        let first = ClientFirst::parse(first.as_bytes()).unwrap();
        let (_, exchange) = first.challenge(None, verifier, nonce);
        assert!(exchange.proof(last.as_bytes()).unwrap().verify().is_none());
    }
}
