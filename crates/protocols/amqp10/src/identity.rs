use contract::{
    ClientName, ClientRules, Contest, DestinationError, DurableName, Principal, SameClientId,
    Sender,
};

/// Who a client is, to its durable subscriptions and to those who receive what it sends.
#[derive(Debug)]
pub(crate) struct Identity {
    /// `None`: it did not log in.
    pub(crate) user: Option<Sender>,
    /// Receivers see the user.
    is_shown: bool,
    /// Its container-id, which is JMS's client id.
    container: Box<str>,
    /// No other connection has the container-id.
    pub(crate) is_exclusive: bool,
}

impl Identity {
    pub(crate) fn new(principal: &Principal, rules: ClientRules, container: &str) -> Self {
        let user = Sender::of(principal);
        let (is_shown, container) = (rules.shows_senders, container.into());
        Self { user, is_shown, container, is_exclusive: false }
    }

    fn user_name(&self) -> Option<&str> {
        self.user.as_ref().map(Sender::name)
    }

    /// What to claim for a client that wants to be the only one with its container-id.
    pub(crate) fn claim(
        &self,
        rules: ClientRules,
    ) -> Result<Option<(ClientName, Contest)>, DestinationError> {
        let contest = match rules.same_client_id {
            SameClientId::Refuse => Contest::Refuse,
            SameClientId::Displace => Contest::Displace,
            SameClientId::Share => return Ok(None),
        };
        ClientName::new(self.user_name(), &self.container).map(|name| Some((name, contest)))
    }

    /// Whom receivers see as the sender of a message.
    pub(crate) fn sender(&self) -> Option<Sender> {
        self.user.clone().filter(|_| self.is_shown)
    }

    /// Whether the client may say that this user has sent a message.
    pub(crate) fn may_claim(&self, user: &[u8]) -> bool {
        self.user_name().is_some_and(|name| name.as_bytes() == user)
    }

    /// Names a subscription. `is_global`: of all clients of the user, whatever their container-ids.
    pub(crate) fn subscription(
        &self,
        name: &str,
        is_global: bool,
        is_durable: bool,
    ) -> Result<DurableName, DestinationError> {
        let client = if is_global { "" } else { &*self.container };
        let new = if is_durable { DurableName::new } else { DurableName::not_durable };
        new(self.user_name(), client, name)
    }
}
