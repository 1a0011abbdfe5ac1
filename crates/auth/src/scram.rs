use std::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use contract::Secret;
use hmac::{EagerHash, Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

/// What a server keeps to check a SCRAM login (RFC 5802): it proves the password to the peer and
/// the peer to it, and does not reveal the password.
///
/// Its text form is the one of RFC 5803: `SCRAM-SHA-256$<iterations>:<salt>$<stored>:<server>`.
#[derive(Clone, Eq, PartialEq)]
pub struct Scram {
    mechanism: Mechanism,
    iterations: u32,
    salt: Box<[u8]>,
    stored_key: Box<[u8]>,
    server_key: Box<[u8]>,
}

/// The hash of a SCRAM login.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Mechanism {
    /// SCRAM-SHA-1, which XMPP requires (RFC 6120).
    Sha1,
    /// SCRAM-SHA-256 (RFC 7677).
    Sha256,
}

/// Not the text form of a verifier of this mechanism.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a verifier of {mechanism} (`{mechanism}$…`): make one with `passerelle password`", mechanism = .0.as_str())]
pub struct ScramError(pub Mechanism);

impl Mechanism {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Sha1, Self::Sha256];

    /// The name in SASL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "SCRAM-SHA-1",
            Self::Sha256 => "SCRAM-SHA-256",
        }
    }

    const fn key_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}

impl Scram {
    /// Rounds of a new verifier. The peer computes them at each login.
    pub const ITERATIONS: u32 = 65_536;

    /// Derives a verifier from a password, whose characters are taken as they are.
    #[must_use]
    pub fn derive(mechanism: Mechanism, secret: &Secret, salt: &[u8], iterations: u32) -> Self {
        let (stored_key, server_key) = match mechanism {
            Mechanism::Sha1 => keys::<Sha1>(mechanism, secret, salt, iterations),
            Mechanism::Sha256 => keys::<Sha256>(mechanism, secret, salt, iterations),
        };
        Self { mechanism, iterations, salt: salt.into(), stored_key, server_key }
    }

    /// What stands for the verifier of a user that there is not. No password fits: that of the keys is
    /// known to none.
    pub(crate) fn made_up(
        mechanism: Mechanism,
        iterations: u32,
        salt: &[u8],
        key: impl Fn(&[u8]) -> [u8; 32],
    ) -> Self {
        let part = |purpose: &[u8]| {
            let mut bytes = key(purpose).to_vec();
            bytes.truncate(mechanism.key_len());
            bytes.into_boxed_slice()
        };
        let (stored_key, server_key) = (part(b"stored key"), part(b"server key"));
        Self { mechanism, iterations, salt: salt.into(), stored_key, server_key }
    }

    /// The server's signature (RFC 5802 3, `ServerSignature`) of all that was said, if the client's
    /// proof of it is right. Compares in constant time.
    pub(crate) fn verify(&self, said: &[u8], proof: &[u8]) -> Option<Vec<u8>> {
        match self.mechanism {
            Mechanism::Sha1 => self.verify_with::<Sha1>(said, proof),
            Mechanism::Sha256 => self.verify_with::<Sha256>(said, proof),
        }
    }

    fn verify_with<D: EagerHash + Digest>(&self, said: &[u8], proof: &[u8]) -> Option<Vec<u8>> {
        let client_signature = mac::<D>(&self.stored_key, said);
        let client_key: Vec<_> =
            client_signature.iter().zip(proof).map(|(one, other)| one ^ other).collect();
        let is_right = D::digest(&client_key).as_slice().ct_eq(&self.stored_key);
        let signature = mac::<D>(&self.server_key, said);
        (proof.len() == self.mechanism.key_len() && bool::from(is_right)).then_some(signature)
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// When it is not one of this mechanism.
    pub fn parse(mechanism: Mechanism, text: &str) -> Result<Self, ScramError> {
        Self::read(mechanism, text).ok_or(ScramError(mechanism))
    }

    /// The mechanism.
    #[must_use]
    pub const fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// The rounds, sent to the peer.
    #[must_use]
    pub const fn iterations(&self) -> u32 {
        self.iterations
    }

    /// The salt, sent to the peer.
    #[must_use]
    pub const fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// What checks the peer's proof.
    #[must_use]
    pub const fn stored_key(&self) -> &[u8] {
        &self.stored_key
    }

    /// What makes the server's proof.
    #[must_use]
    pub const fn server_key(&self) -> &[u8] {
        &self.server_key
    }

    fn read(mechanism: Mechanism, text: &str) -> Option<Self> {
        let (iterations, rest) =
            text.strip_prefix(mechanism.as_str())?.strip_prefix('$')?.split_once(':')?;
        let (salt, rest) = rest.split_once('$')?;
        let (stored_key, server_key) = rest.split_once(':')?;
        let key = |text: &str| {
            let key = BASE64_STANDARD.decode(text).ok()?;
            (key.len() == mechanism.key_len()).then(|| key.into_boxed_slice())
        };
        Some(Self {
            mechanism,
            iterations: iterations.parse().ok().filter(|&n| n > 0)?,
            salt: BASE64_STANDARD.decode(salt).ok().filter(|salt| !salt.is_empty())?.into(),
            stored_key: key(stored_key)?,
            server_key: key(server_key)?,
        })
    }
}

impl fmt::Display for Scram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base64 = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
        write!(
            f,
            "{}${}:{}${}:{}",
            self.mechanism.as_str(),
            self.iterations,
            base64(&self.salt),
            base64(&self.stored_key),
            base64(&self.server_key)
        )
    }
}

/// The keys are worth as much as a password hash: not printed.
impl fmt::Debug for Scram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scram({}, ***)", self.mechanism.as_str())
    }
}

/// StoredKey and ServerKey (RFC 5802 §3).
fn keys<D: EagerHash + Digest>(
    mechanism: Mechanism,
    secret: &Secret,
    salt: &[u8],
    iterations: u32,
) -> (Box<[u8]>, Box<[u8]>) {
    let mut salted = vec![0; mechanism.key_len()];
    pbkdf2::pbkdf2_hmac::<D>(secret.expose().as_bytes(), salt, iterations, &mut salted);
    let client_key = mac::<D>(&salted, b"Client Key");
    let keys = (D::digest(&client_key).as_slice().into(), mac::<D>(&salted, b"Server Key").into());
    zeroize::Zeroize::zeroize(&mut salted);
    keys
}

fn mac<D: EagerHash>(key: &[u8], message: &[u8]) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<D>::new_from_slice(key).expect("any key length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys follow from the examples of RFC 5802 §5 and RFC 7677 §3 (user `user`, password
    /// `pencil`, 4,096 rounds): the server signatures there are made with these server keys.
    #[test]
    fn the_examples_of_the_standards_come_out() {
        let cases = [
            (
                Mechanism::Sha1,
                "QSXCR+Q6sek8bf92",
                "n=user,r=fyko+d2lbbFgONRv9qkxdawL,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,\
                 s=QSXCR+Q6sek8bf92,i=4096,c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j",
                "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            ),
            (
                Mechanism::Sha256,
                "W22ZaJ0SNY7soEsUEjb6gQ==",
                "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                 s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,\
                 r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
                "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ),
        ];
        for (mechanism, salt, exchange, signature) in cases {
            let salt = BASE64_STANDARD.decode(salt).unwrap();
            let scram = Scram::derive(mechanism, &Secret::new("pencil"), &salt, 4096);
            let signed = match mechanism {
                Mechanism::Sha1 => mac::<Sha1>(scram.server_key(), exchange.as_bytes()),
                Mechanism::Sha256 => mac::<Sha256>(scram.server_key(), exchange.as_bytes()),
            };
            assert_eq!(BASE64_STANDARD.encode(signed), signature, "{mechanism:?}");
            assert_eq!(Scram::parse(mechanism, &scram.to_string()), Ok(scram), "{mechanism:?}");
        }
    }

    #[test]
    fn only_whole_verifiers_are_read() {
        let good = Scram::derive(Mechanism::Sha256, &Secret::new("x"), b"salt", 1).to_string();
        assert!(Scram::parse(Mechanism::Sha256, &good).is_ok());
        for (rule, text) in [
            ("another mechanism", good.replace("SHA-256", "SHA-1")),
            ("no rounds", good.replace("$1:", "$0:")),
            ("no salt", good.replace("c2FsdA==", "")),
            ("a short key", good.replace('=', "")),
            ("nothing", String::new()),
            ("a password", "secret".into()),
        ] {
            let error = Scram::parse(Mechanism::Sha256, &text);
            assert_eq!(error, Err(ScramError(Mechanism::Sha256)), "{rule}: {text}");
        }
    }
}
