use std::{fmt, sync::Arc};

use zeroize::Zeroize;

use crate::Now;

/// Who a peer is. Travels with the session; cheap to clone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Principal {
    /// The name it logged in with; `anonymous` when it did not.
    pub name: Arc<str>,
    /// What access rules may name besides the name itself.
    pub roles: Arc<[Box<str>]>,
    /// When the login ends, in milliseconds since 1970; the driver ends its connections then.
    pub expires_unix_ms: Option<u64>,
}

impl Principal {
    /// A user with roles, whose login does not end by itself.
    #[must_use]
    pub fn new(name: &str, roles: impl IntoIterator<Item = Box<str>>) -> Self {
        Self { name: name.into(), roles: roles.into_iter().collect(), expires_unix_ms: None }
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

    /// Whether its login has ended.
    #[must_use]
    pub fn has_expired(&self, now: Now) -> bool {
        self.expires_unix_ms.is_some_and(|at| at <= now.unix_ms)
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
    /// The first leg of a SASL exchange (RFC 4422), in place of one that the connection has begun.
    Sasl {
        /// The mechanism, as registered: `SCRAM-SHA-256`.
        mechanism: Box<str>,
        /// What the peer says with it; `None` where it waits for an empty challenge first.
        initial: Option<Secret<[u8]>>,
    },
    /// What the peer says to the last [`Step::Challenge`].
    Response(Secret<[u8]>),
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
    /// The peer is known. The bytes are for it: what its mechanism's server says with success, which
    /// may prove who the server is. Empty where it says nothing.
    Accepted(Principal, Vec<u8>),
    /// The mechanism's server says this; [`Login::Response`] continues.
    Challenge(Vec<u8>),
}

/// What is never printed and is wiped from memory when dropped.
pub struct Secret<T: ?Sized + Zeroize = str>(Box<T>);

impl<T: ?Sized + Zeroize> Secret<T> {
    /// Takes the secret; the caller should keep no copy.
    #[must_use]
    pub fn new(secret: impl Into<Box<T>>) -> Self {
        Self(secret.into())
    }

    /// The secret itself.
    #[must_use]
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized + Zeroize> Clone for Secret<T>
where
    Box<T>: Clone,
{
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: ?Sized + Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// For tests; what decides a login compares in constant time, in `auth`.
impl<T: ?Sized + Zeroize + PartialEq> PartialEq for Secret<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T: ?Sized + Zeroize + Eq> Eq for Secret<T> {}

impl<T: ?Sized + Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}
