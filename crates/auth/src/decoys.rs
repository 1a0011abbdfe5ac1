use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::{Mechanism, Scram, User, Users};

/// Makes verifiers for users that there are not: each name has its own, which stays the same.
///
/// The key is made of what is kept of the first user's password, which only the operator knows: so a
/// restart changes nothing either, unless that password was changed. Other users change no key: else
/// all made-up salts would change with the first user's password, and those of real users would not.
pub(crate) struct Decoys {
    key: Hmac<Sha256>,
    /// Each name has the iterations and the length of the salt of one of them, so that neither tells
    /// that a user exists.
    users: Users,
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
        Self { key: Hmac::new(&block.into()), users: users.clone() }
    }

    /// Makes them for names that are none of these users' from now on.
    pub(crate) fn set_users(&mut self, users: &Users) {
        if self.users.is_empty() {
            *self = Self::new(users);
        } else {
            self.users = users.clone();
        }
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
        let [a, b, ..] = key(b"model");
        let has_verifier = |user: &User| user.password().scram(mechanism).is_some();
        let model = self.users.any(u16::from_le_bytes([a, b]).into(), has_verifier);
        let model = model.and_then(|user| user.password().scram(mechanism));
        let (iterations, salt_bytes) = model.map_or((Scram::ITERATIONS, SALT_BYTES), |scram| {
            (scram.iterations(), scram.salt().len())
        });
        let mut salt = [key(b"salt"), key(b"more salt")].concat();
        salt.truncate(salt_bytes);
        Scram::made_up(mechanism, iterations, &salt, key)
    }
}

/// The length of a salt that `passerelle password` makes.
const SALT_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::Password;

    #[test]
    fn other_users_change_no_salt() {
        let user = |name: &str, password: &str| {
            let secret = contract::Secret::new(password);
            let scram = Scram::derive(Mechanism::Sha256, &secret, b"0123456789abcdef", 1);
            User::new(name, [], Password::of_verifier(scram)).unwrap()
        };
        let salt = |decoys: &Decoys| decoys.verifier(Mechanism::Sha256, "eve").salt().to_owned();
        let users = |all: &[(&str, &str)]| {
            all.iter().map(|(name, password)| user(name, password)).collect::<Users>()
        };
        let mut decoys = Decoys::new(&users(&[("bob", "x"), ("cid", "x")]));
        let before = salt(&decoys);
        for others in [[("bob", "y"), ("cid", "x")], [("ann", "x"), ("bob", "y")]] {
            decoys.set_users(&users(&others));
            assert_eq!(salt(&decoys), before, "{others:?}");
        }
        // Without users there was nothing to make a key of.
        let mut decoys = Decoys::new(&Users::default());
        decoys.set_users(&users(&[("bob", "x")]));
        assert_eq!(salt(&decoys), before);
    }

    #[test]
    fn a_decoy_looks_like_some_user_each_time() {
        let secret = contract::Secret::new("x");
        let user = |name: &str, salt: &[u8], iterations| {
            let scram = Scram::derive(Mechanism::Sha256, &secret, salt, iterations);
            User::new(name, [], Password::of_verifier(scram)).unwrap()
        };
        let all = [user("ann", b"0123456789abcdef", 4096), user("bob", b"01234567", 10_000)];
        let decoys = Decoys::new(&all.into_iter().collect());
        let look = |n: u32| {
            let scram = decoys.verifier(Mechanism::Sha256, &format!("other-{n}"));
            (scram.iterations(), scram.salt().len())
        };
        let looks: BTreeSet<_> = (0..64).map(look).collect();
        assert_eq!(looks, BTreeSet::from([(4096, 16), (10_000, 8)]));
        assert!((0..64).all(|n| look(n) == look(n)));
        let other = decoys.verifier(Mechanism::Sha1, "ann");
        assert_eq!((other.iterations(), other.salt().len()), (Scram::ITERATIONS, SALT_BYTES));
    }
}
