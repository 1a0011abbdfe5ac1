use std::{collections::BTreeMap, sync::Arc};

use contract::Principal;

use crate::Password;

/// Who may log in. Cheap to clone; empty by default.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Users(Arc<BTreeMap<Box<str>, Arc<User>>>);

/// A user who may log in with a password.
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

impl Users {
    /// The user of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<User>> {
        self.0.get(name)
    }

    /// All users, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<User>> {
        self.0.values()
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

    /// Some user, always the same for the same number; `None` when there are none.
    pub(crate) fn any(&self, number: usize) -> Option<&Arc<User>> {
        self.iter().nth(number.checked_rem(self.len())?)
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
