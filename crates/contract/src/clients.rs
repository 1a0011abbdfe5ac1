use std::{fmt, sync::Arc};

use crate::Principal;

/// What an operator says of the clients of the broker, whatever they speak.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ClientRules {
    /// Receivers see who sent a message, where its sender has logged in. Else they see it only where the
    /// sender says so itself.
    pub shows_senders: bool,
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
