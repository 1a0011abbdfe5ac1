use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::{Mechanism, Scram, Users};

/// Makes verifiers for users that there are not: each name has its own, which stays the same.
///
/// The key is made of what is kept of the first user's password, which only the operator knows: so a
/// restart changes nothing either.
pub(crate) struct Decoys {
    key: Hmac<Sha256>,
    /// The iterations and the length of the salt of the first user with a verifier, by mechanism.
    models: [(u32, usize); Mechanism::ALL.len()],
}

impl Decoys {
    /// For names that are none of these users'.
    pub(crate) fn new(users: &Users) -> Self {
        let mut key = Hmac::<Sha256>::new(&[0; 64].into());
        if let Some(first) = users.iter().next() {
            key.update(first.password().to_string().as_bytes());
        }
        let mut block = [0; 64];
        block.iter_mut().zip(key.finalize().into_bytes()).for_each(|(to, from)| *to = from);
        let models = Mechanism::ALL.map(|mechanism| {
            let first = users.iter().find_map(|user| user.password().scram(mechanism));
            first.map_or((Scram::ITERATIONS, SALT_BYTES), |first| {
                (first.iterations(), first.salt().len())
            })
        });
        Self { key: Hmac::new(&block.into()), models }
    }

    /// The verifier of a name.
    pub(crate) fn verifier(&self, mechanism: Mechanism, name: &str) -> Scram {
        let key = |purpose: &[u8]| -> [u8; 32] {
            let mut key = self.key.clone();
            for part in [purpose, mechanism.as_str().as_bytes(), name.as_bytes()] {
                key.update(part);
            }
            key.finalize().into_bytes().into()
        };
        let model = Mechanism::ALL.iter().zip(self.models).find(|(one, _)| **one == mechanism);
        let (iterations, salt_bytes) = model.map_or((Scram::ITERATIONS, SALT_BYTES), |(_, it)| it);
        let mut salt = [key(b"salt"), key(b"more salt")].concat();
        salt.truncate(salt_bytes);
        Scram::made_up(mechanism, iterations, &salt, key)
    }
}

/// The length of a salt that `passerelle password` makes.
const SALT_BYTES: usize = 16;
