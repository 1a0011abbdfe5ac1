use std::{cell::RefCell, fmt};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::{PasswordHasher as _, phc::PasswordHash},
};
use contract::Secret;
use subtle::ConstantTimeEq as _;

use crate::{Mechanism, Scram};

/// What is kept of a password: a hash that checks it, and the verifiers with which a peer can
/// prove that it knows it without sending it. Either may be all there is.
///
/// Printed as the inline table that stands in a configuration.
#[derive(Clone, Eq, PartialEq)]
pub struct Password {
    argon2id: Option<PasswordHash>,
    scram: Vec<Scram>,
}

/// Why there is no such password.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PasswordError {
    /// Not the text form of an Argon2id hash.
    #[error("not an Argon2id hash (`$argon2id$v=19$…`): make one with `passerelle password`")]
    Argon2id,
    /// A hash that would take over [`Password::MEMORY_KIB_MAX`].
    #[error("this Argon2id hash needs more than {} MiB to check", Password::MEMORY_KIB_MAX >> 10)]
    Memory,
    /// The kernel returned no random bytes for the salts.
    #[error("the kernel returned no random bytes")]
    Random,
}

impl Password {
    /// Memory that checking one hash may take, in KiB.
    pub const MEMORY_KIB_MAX: u32 = 1 << 20;

    /// Hashes a password with fresh salts. Takes about 50 ms.
    ///
    /// # Errors
    /// When the kernel returns no random bytes.
    pub fn make(secret: &Secret) -> Result<Self, PasswordError> {
        let salt = || {
            let mut salt = [0; 16];
            getrandom::fill(&mut salt).map(|()| salt).map_err(|_| PasswordError::Random)
        };
        let argon2id = Argon2::default()
            .hash_password_with_salt(secret.expose().as_bytes(), &salt()?)
            .map_err(|_| PasswordError::Argon2id)?;
        let scram = [Mechanism::Sha1, Mechanism::Sha256]
            .map(|mechanism| Ok(Scram::derive(mechanism, secret, &salt()?, Scram::ITERATIONS)));
        Ok(Self { argon2id: Some(argon2id), scram: scram.into_iter().collect::<Result<_, _>>()? })
    }

    /// Reads the text form of an Argon2id hash (a PHC string).
    ///
    /// # Errors
    /// When it is none, or would take too much memory.
    pub fn parse(argon2id: &str) -> Result<Self, PasswordError> {
        let hash = PasswordHash::new(argon2id).map_err(|_| PasswordError::Argon2id)?;
        let params = Params::try_from(&hash).map_err(|_| PasswordError::Argon2id)?;
        if hash.algorithm.as_str() != "argon2id" || hash.salt.is_none() || hash.hash.is_none() {
            return Err(PasswordError::Argon2id);
        }
        if params.m_cost() > Self::MEMORY_KIB_MAX {
            return Err(PasswordError::Memory);
        }
        Ok(Self { argon2id: Some(hash), scram: Vec::new() })
    }

    /// A verifier alone: the password can be proved, but not checked where it is sent.
    #[must_use]
    pub fn of_verifier(scram: Scram) -> Self {
        Self { argon2id: None, scram: vec![scram] }
    }

    /// Adds a verifier.
    #[must_use]
    pub fn with(mut self, scram: Scram) -> Self {
        self.scram.retain(|other| other.mechanism() != scram.mechanism());
        self.scram.push(scram);
        self
    }

    /// The verifier of a mechanism, if it was kept.
    #[must_use]
    pub fn scram(&self, mechanism: Mechanism) -> Option<&Scram> {
        self.scram.iter().find(|scram| scram.mechanism() == mechanism)
    }

    /// Whether a password that is sent can be checked.
    #[must_use]
    pub const fn has_hash(&self) -> bool {
        self.argon2id.is_some()
    }

    /// Whether this is the password. Takes about 20 ms and 19 MiB, which the thread keeps for the
    /// next; compares in constant time.
    #[must_use]
    pub fn verify(&self, secret: &Secret) -> bool {
        self.compute(secret)
            .zip(self.argon2id.as_ref().and_then(|argon2id| argon2id.hash.as_ref()))
            .is_some_and(|(computed, expected)| computed.ct_eq(expected.as_bytes()).into())
    }

    /// The hash of another password with the same salt and parameters.
    fn compute(&self, secret: &Secret) -> Option<Vec<u8>> {
        let argon2id = self.argon2id.as_ref()?;
        let PasswordHash { version, salt, hash, .. } = argon2id;
        let params = Params::try_from(argon2id).ok()?;
        let version = version.map(Version::try_from).transpose().ok()?.unwrap_or_default();
        let blocks = params.block_count();
        let argon2 = Argon2::new(Algorithm::Argon2id, version, params);
        let mut computed = vec![0; hash.as_ref()?.as_bytes().len()];
        MEMORY.with_borrow_mut(|memory| {
            if memory.len() < blocks {
                *memory = Vec::new();
                memory.resize(blocks, Block::default());
            }
            let (secret, salt) = (secret.expose().as_bytes(), salt.as_ref()?);
            let used = memory.get_mut(..blocks)?;
            argon2.hash_password_into_with_memory(secret, salt, &mut computed, used).ok()?;
            if blocks > KEPT_BLOCKS_MAX {
                *memory = Vec::new();
            }
            Some(computed)
        })
    }
}

impl fmt::Display for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = "{ ";
        if let Some(argon2id) = &self.argon2id {
            write!(f, "{before}argon2id = \"{argon2id}\"")?;
            before = ", ";
        }
        for scram in &self.scram {
            let key = scram.mechanism().as_str().to_ascii_lowercase();
            write!(f, "{before}{key} = \"{scram}\"")?;
            before = ", ";
        }
        f.write_str(" }")
    }
}

/// Hashes do not belong into logs.
impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

thread_local! {
    /// What the thread's last hash was made in. Allocated anew for each, a thousand wrong
    /// passwords would leave hundreds of MiB of fragments behind.
    static MEMORY: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
}

/// More than this many KiB are not kept.
const KEPT_BLOCKS_MAX: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_password_checks_itself_alone() {
        let password = Password::make(&Secret::new("correct horse")).unwrap();
        for (secret, expected) in [
            ("correct horse", true),
            ("Correct horse", false),
            ("correct horse ", false),
            ("", false),
        ] {
            assert_eq!(password.verify(&Secret::new(secret)), expected, "{secret:?}");
        }
        assert_ne!(password, Password::make(&Secret::new("correct horse")).unwrap(), "salts");
        assert_eq!(format!("{password:?}"), "Password(***)");
    }

    /// All in the memory of one thread, whatever the one before left there.
    #[test]
    fn hashes_of_all_sizes_are_checked_one_after_another() {
        let hash = |version, m, t, p, len| {
            let params = Params::new(m, t, p, Some(len)).unwrap();
            let argon2 = Argon2::new(Algorithm::Argon2id, version, params);
            let hash = argon2.hash_password_with_salt(b"secret", b"some salt").unwrap();
            Password::parse(&hash.to_string()).unwrap()
        };
        let kept_max = u32::try_from(KEPT_BLOCKS_MAX).unwrap();
        let hashes = [
            hash(Version::V0x13, 64, 1, 1, 32),
            hash(Version::V0x13, kept_max + 64, 1, 4, 64),
            hash(Version::V0x10, 19_456, 2, 1, 16),
            hash(Version::V0x13, 100, 3, 3, 32),
        ];
        for hash in hashes.iter().chain(hashes.iter().rev()) {
            assert!(hash.verify(&Secret::new("secret")), "{hash}");
            assert!(!hash.verify(&Secret::new("Secret")), "{hash}");
            assert!(MEMORY.with_borrow(Vec::len) <= KEPT_BLOCKS_MAX);
        }
    }

    #[test]
    fn its_text_is_read_back() {
        let password = Password::make(&Secret::new("ü€")).unwrap();
        let text = password.to_string();
        let part = |key: &str| {
            let (_, rest) = text.split_once(&format!("{key} = \"")).unwrap();
            rest.split_once('"').unwrap().0.to_owned()
        };
        let read = Password::parse(&part("argon2id"))
            .unwrap()
            .with(Scram::parse(Mechanism::Sha1, &part("scram-sha-1")).unwrap())
            .with(Scram::parse(Mechanism::Sha256, &part("scram-sha-256")).unwrap());
        assert_eq!(read, password);
        assert!(read.verify(&Secret::new("ü€")));
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn only_argon2id_hashes_are_read() {
        let good = "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$\
                    CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(Password::parse(good).is_ok());
        for (rule, text, expected) in [
            ("a password", "secret".to_owned(), PasswordError::Argon2id),
            ("another algorithm", good.replace("argon2id", "argon2i"), PasswordError::Argon2id),
            ("bcrypt", "$2b$12$abcdefghijklmnopqrstuu".to_owned(), PasswordError::Argon2id),
            ("no hash", good.rsplit_once('$').unwrap().0.to_owned(), PasswordError::Argon2id),
            ("too little memory", good.replace("m=64", "m=1"), PasswordError::Argon2id),
            ("too much memory", good.replace("m=64", "m=2000000"), PasswordError::Memory),
        ] {
            assert_eq!(Password::parse(&text), Err(expected), "{rule}");
        }
    }
}
