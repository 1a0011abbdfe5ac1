use std::fmt;

use crate::{Destination, DestinationError, DestinationKind, Principal};

/// Names a durable subscription, or a shared one: who made it, the client id that it gave, and the name in
/// that. A shared one that is not durable has names of its own.
///
/// It names the subscription's queue too, so it is stable and has one text form. Client ids are a
/// user's own: nobody takes what waits for another by using its client id. All who have not logged in
/// are one.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DurableName(Destination);

/// What makes a subscription to topics a queue, by its name: one that is durable gets what is published
/// while nobody reads it, another one ends with its last consumer and is not stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Durable {
    /// Its name.
    pub name: DurableName,
    /// Several consumers may read it at a time, each message goes to one of them; else one may.
    pub is_shared: bool,
    /// It does not get what its consumer's own connection publishes.
    pub no_local: bool,
    /// A consumer that it has is ended for this one, with [`crate::Refusal::Displaced`].
    pub displaces: bool,
}

impl DurableName {
    /// A name; the client id may be empty.
    ///
    /// # Errors
    /// When one of the parts has a control character, or all are too long.
    pub fn new(user: Option<&str>, client: &str, name: &str) -> Result<Self, DestinationError> {
        let levels = [user.unwrap_or_default(), client, name];
        Destination::new(DestinationKind::Topic, levels).map(Self)
    }

    /// The name of a shared subscription that is not durable.
    ///
    /// # Errors
    /// As [`DurableName::new`].
    pub fn not_durable(
        user: Option<&str>,
        client: &str,
        name: &str,
    ) -> Result<Self, DestinationError> {
        let levels = [user.unwrap_or_default(), client, name, NOT_DURABLE];
        Destination::new(DestinationKind::Topic, levels).map(Self)
    }

    /// The name as this user uses it.
    ///
    /// # Errors
    /// As [`DurableName::new`].
    pub fn of(principal: &Principal, client: &str, name: &str) -> Result<Self, DestinationError> {
        Self::new((!principal.is_anonymous()).then_some(&principal.name), client, name)
    }

    /// The three parts, as the levels of a name: for those who keep queues by destinations.
    #[must_use]
    pub const fn as_levels(&self) -> &Destination {
        &self.0
    }

    /// The name of which [`DurableName::as_levels`] are these.
    #[must_use]
    pub fn from_levels(levels: Destination) -> Option<Self> {
        let is_durable = Self::is_durable(&levels);
        let is_name = is_durable
            || levels.levels().count() == 4 && levels.levels().next_back() == Some(NOT_DURABLE);
        (is_name && levels.kind() == DestinationKind::Topic).then_some(Self(levels))
    }

    /// Whether these are the levels of a durable subscription's name.
    #[must_use]
    pub fn is_durable(levels: &Destination) -> bool {
        levels.kind() == DestinationKind::Topic && levels.levels().count() == 3
    }
}

/// The last level of the names of shared subscriptions that are not durable.
const NOT_DURABLE: &str = "shared";

impl fmt::Display for DurableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("/subscription/")?;
        self.0.text().skip(1).try_for_each(|piece| f.write_str(piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_names_of_its_own() {
        let name = |user, client, name| DurableName::new(user, client, name).unwrap();
        assert_eq!(name(Some("ann"), "c.1", "n").to_string(), "/subscription/ann.c*2E1.n");
        assert_eq!(name(None, "", "n").to_string(), "/subscription/*0.*0.n");
        assert_ne!(name(Some("ann"), "c", "n"), name(Some("bob"), "c", "n"));
        assert_ne!(name(Some("a"), "b.c", "n"), name(Some("a.b"), "c", "n"));
        assert!(DurableName::new(None, "c", "a\nb").is_err());
        assert!(DurableName::new(None, "c", &"n".repeat(1024)).is_err());
        let anonymous = DurableName::of(&Principal::anonymous(), "c", "n");
        assert_eq!(anonymous, DurableName::new(None, "c", "n"));
        let levels = name(Some("ann"), "c", "n");
        assert_eq!(DurableName::from_levels(levels.as_levels().clone()), Some(levels));
        assert_eq!(DurableName::from_levels(Destination::parse("/topic/a.b").unwrap()), None);
        let shared = DurableName::not_durable(Some("ann"), "c", "n").unwrap();
        assert_eq!(shared.to_string(), "/subscription/ann.c.n.shared");
        assert_eq!(DurableName::from_levels(shared.as_levels().clone()), Some(shared.clone()));
        assert!(!DurableName::is_durable(shared.as_levels()));
        assert!(DurableName::is_durable(name(Some("ann"), "c", "n").as_levels()));
    }
}
