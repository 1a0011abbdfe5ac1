use std::{collections::BTreeMap, sync::Arc};

use contract::Principal;

use crate::{Mechanism, Password};

/// Who may log in. Cheap to clone; empty by default.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Users(Arc<BTreeMap<Box<str>, Arc<User>>>);

/// A user who may log in with a password, or by proving to know it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    principal: Principal,
    password: Password,
}

/// Why there can be no such user.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UserError {
    /// The name has no character.
    #[error("a user's name must not be empty")]
    Empty,
    /// A colon, which ends the name in HTTP Basic, or a control character.
    #[error("a user's name holds no colon and no control character")]
    Character,
    /// The name of the anonymous principal, or the one that stands for all users.
    #[error("`{0}` is no name for a user: it stands for {1}")]
    Reserved(&'static str, &'static str),
}

impl User {
    /// A user with roles.
    ///
    /// # Errors
    /// When the name is empty, means something else, or could not be sent by every protocol.
    pub fn new(
        name: &str,
        roles: impl IntoIterator<Item = Box<str>>,
        password: Password,
    ) -> Result<Self, UserError> {
        match name {
            "" => Err(UserError::Empty),
            "anonymous" => Err(UserError::Reserved("anonymous", "those who did not log in")),
            "*" => Err(UserError::Reserved("*", "all users")),
            _ if name.chars().any(|c| c == ':' || c.is_control()) => Err(UserError::Character),
            _ => Ok(Self { principal: Principal::new(name, roles), password }),
        }
    }

    /// Lets its logins end at a time, in milliseconds since 1970.
    #[must_use]
    pub const fn until(mut self, expires_unix_ms: Option<u64>) -> Self {
        self.principal.expires_unix_ms = expires_unix_ms;
        self
    }

    /// Who this is once logged in.
    #[must_use]
    pub const fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.principal.name
    }

    /// What checks the password.
    #[must_use]
    pub const fn password(&self) -> &Password {
        &self.password
    }
}

/// What other users mean for the connections of one who is logged in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// There is no such user any more, or it has another password: they end.
    Ended,
    /// It is this principal now.
    Renewed(Principal),
}

impl Users {
    /// Whom it is about that these users become others, by name. Those who were not there before are not
    /// connected.
    #[must_use]
    pub fn changes(&self, others: &Self) -> BTreeMap<Box<str>, Change> {
        let changed = |before: &Arc<User>| match others.get(before.name()) {
            Some(now) if now == before => None,
            Some(now) if now.password == before.password => {
                Some(Change::Renewed(now.principal.clone()))
            }
            Some(_) | None => Some(Change::Ended),
        };
        self.0.iter().filter_map(|(name, user)| Some((name.clone(), changed(user)?))).collect()
    }

    /// The user of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<User>> {
        self.0.get(name)
    }

    /// All users, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<User>> {
        self.0.values()
    }

    /// Whether there are users, and each can log in by this mechanism.
    #[must_use]
    pub fn all_have(&self, mechanism: Mechanism) -> bool {
        !self.is_empty() && self.iter().all(|user| user.password().scram(mechanism).is_some())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Some user of whom this is so, always the same for the same number; `None` when there is none.
    pub(crate) fn any(&self, number: usize, is_so: impl Fn(&User) -> bool) -> Option<&Arc<User>> {
        let first = number.checked_rem(self.len())?;
        let mut from_there = self.iter().skip(first).chain(self.iter().take(first));
        from_there.find(|user| is_so(user))
    }
}

/// Of two users with one name the later stays.
impl FromIterator<User> for Users {
    fn from_iter<T: IntoIterator<Item = User>>(users: T) -> Self {
        Self(Arc::new(users.into_iter().map(|user| (user.name().into(), Arc::new(user))).collect()))
    }
}

#[cfg(test)]
mod tests {
    use contract::Secret;

    use super::*;

    #[test]
    fn whom_a_change_of_users_is_about() {
        let [one, other] = ["x", "y"].map(|text| Password::make(&Secret::new(text)).unwrap());
        let user = |name, role: &str, password: &Password| {
            User::new(name, [role.into()], password.clone()).unwrap()
        };
        let before: Users = ["stays", "goes", "password", "roles", "expires"]
            .map(|name| user(name, "role", &one))
            .into_iter()
            .collect();
        let after: Users = [
            user("stays", "role", &one),
            user("comes", "role", &one),
            user("password", "role", &other),
            user("roles", "other", &one),
            user("expires", "role", &one).until(Some(7)),
        ]
        .into_iter()
        .collect();
        let renewed = |name| Change::Renewed(after.get(name).unwrap().principal().clone());
        let expected = [
            ("expires", renewed("expires")),
            ("goes", Change::Ended),
            ("password", Change::Ended),
            ("roles", renewed("roles")),
        ];
        let expected: BTreeMap<Box<str>, _> =
            expected.into_iter().map(|(name, change)| (name.into(), change)).collect();
        assert_eq!(before.changes(&after), expected);
        assert_eq!(after.changes(&after), BTreeMap::new());
    }

    #[test]
    fn names_that_no_protocol_could_send_are_refused() {
        let password = Password::make(&Secret::new("x")).unwrap();
        for (name, expected) in [
            ("ann", None),
            ("ann@example.com", None),
            ("Ünal", None),
            ("", Some("a user's name must not be empty")),
            ("a:b", Some("a user's name holds no colon and no control character")),
            ("a\n", Some("a user's name holds no colon and no control character")),
            (
                "anonymous",
                Some("`anonymous` is no name for a user: it stands for those who did not log in"),
            ),
            ("*", Some("`*` is no name for a user: it stands for all users")),
        ] {
            let actual = User::new(name, [], password.clone()).err().map(|e| e.to_string());
            assert_eq!(actual.as_deref(), expected, "{name:?}");
        }
    }
}
