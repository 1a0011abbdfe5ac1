use std::{fmt, sync::Arc};

/// Who a peer is. Travels with the session; cheap to clone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Principal {
    /// The name it logged in with; `anonymous` when it did not.
    pub name: Arc<str>,
    /// What access rules may name besides the name itself.
    pub roles: Arc<[Box<str>]>,
}

impl Principal {
    /// A user with roles.
    #[must_use]
    pub fn new(name: &str, roles: impl IntoIterator<Item = Box<str>>) -> Self {
        Self { name: name.into(), roles: roles.into_iter().collect() }
    }

    /// A peer that did not log in.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::new(ANONYMOUS, [])
    }

    /// Whether it did not log in. No user is called like that.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        *self.name == *ANONYMOUS
    }
}

const ANONYMOUS: &str = "anonymous";

/// What a peer authenticates with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Login {
    /// Nothing: it logs in as anonymous.
    Anonymous,
    /// A name and a password: STOMP's CONNECT, HTTP Basic, SASL PLAIN.
    Password(Credentials),
}

/// A name and a password.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Credentials {
    /// The name of the user.
    pub name: Box<str>,
    /// The password.
    pub password: Secret,
}

/// How far a login has come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// The peer is known.
    Accepted(Principal),
}

/// A string that is never printed and is wiped from memory when dropped.
#[derive(Clone, Default)]
pub struct Secret(Box<str>);

impl Secret {
    /// Takes the string; the caller should keep no copy.
    #[must_use]
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The string itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// For tests; what decides a login compares in constant time, in `auth`.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}
