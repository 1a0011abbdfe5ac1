use std::{fmt, sync::Arc};

use crate::{Destination, DestinationError, DestinationKind, Principal};

/// What an operator says of the clients of the broker, whatever they speak.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ClientRules {
    /// Receivers see who sent a message, where its sender has logged in. Else they see it only where the
    /// sender says so itself.
    pub shows_senders: bool,
    /// What becomes of one that connects with the client id of another.
    pub same_client_id: SameClientId,
}

/// What becomes of a client that connects with the client id of another connection of its user.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SameClientId {
    /// It is refused, unless it wants to displace the other.
    #[default]
    Refuse,
    /// It displaces the other, unless it would rather be refused.
    Displace,
    /// Both are connected.
    Share,
}

/// Names a client: its user and the id that it gave. Client ids are a user's own; all who have not logged
/// in are one.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ClientName(Destination);

impl ClientName {
    /// A name.
    ///
    /// # Errors
    /// When one of the parts has a control character, or both are too long.
    pub fn new(user: Option<&str>, id: &str) -> Result<Self, DestinationError> {
        Destination::new(DestinationKind::Topic, [user.unwrap_or_default(), id]).map(Self)
    }

    /// Both parts, as the levels of a name: for who places them by destinations.
    #[must_use]
    pub const fn as_levels(&self) -> &Destination {
        &self.0
    }
}

/// What becomes of a connection that has a client id already, when another one wants it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Contest {
    /// It keeps the id. Of one that is just ending, the other has it.
    Refuse,
    /// It is told [`crate::Notice::Displaced`], and the other has the id once it has ended.
    Displace,
}

/// Who sent a message: the name that it logged in with. The messages of a session share it.
#[derive(Clone, Eq, PartialEq)]
pub struct Sender(Arc<Name>);

#[derive(Eq, PartialEq)]
struct Name(Box<str>);

impl Sender {
    /// A sender of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(Arc::new(Name(name.into())))
    }

    /// This user; `None`: it has not logged in.
    #[must_use]
    pub fn of(principal: &Principal) -> Option<Self> {
        (!principal.is_anonymous()).then(|| Self::new(&principal.name))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.0
    }

    /// Memory that it takes, in bytes, were it one message's alone.
    pub(crate) fn heap_bytes(&self) -> usize {
        crate::cost::shared_bytes(size_of::<Name>()) + crate::allocation_bytes(self.name().len())
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&self.name()).finish()
    }
}
