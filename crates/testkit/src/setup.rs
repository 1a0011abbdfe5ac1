use std::sync::Arc;

use contract::{ClientRules, ConnectionLimits, Kind, Now, Opening, Principal, ProtocolLimits};

/// What the sessions of a test are opened with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// As [`Opening::subprotocol`].
    pub subprotocol: &'static str,
    /// As [`Opening::kind`]; also the kind of what is received.
    pub kind: Kind,
    /// As [`Opening::principal`].
    pub principal: Option<Principal>,
    /// As [`Opening::limits`].
    pub limits: Arc<ConnectionLimits>,
    /// As [`Opening::protocol_limits`].
    pub protocol_limits: Arc<ProtocolLimits>,
    /// As [`Opening::client_rules`].
    pub client_rules: ClientRules,
    /// As [`Opening::scram_for_all`].
    pub scram_for_all: bool,
    /// As [`Opening::anonymous`].
    pub anonymous: bool,
}

impl Setup {
    /// When a session opens.
    pub const START: Now = Now { mono_ns: 0, unix_ms: 1_000_000 };

    /// A plain stream from an unknown peer, with the default limits.
    #[must_use]
    pub fn stream() -> Self {
        Self {
            subprotocol: "",
            kind: Kind::Stream,
            principal: None,
            limits: Arc::default(),
            protocol_limits: Arc::default(),
            client_rules: ClientRules::default(),
            scram_for_all: false,
            anonymous: true,
        }
    }

    /// A WebSocket with a subprotocol, from an unknown peer, with the default limits.
    #[must_use]
    pub fn websocket(subprotocol: &'static str) -> Self {
        Self { subprotocol, kind: Kind::Text, ..Self::stream() }
    }

    /// Changes the limits.
    #[must_use]
    pub fn limited(
        mut self,
        change: impl FnOnce(&mut ConnectionLimits, &mut ProtocolLimits),
    ) -> Self {
        change(Arc::make_mut(&mut self.limits), Arc::make_mut(&mut self.protocol_limits));
        self
    }

    /// What to open a session with.
    #[must_use]
    pub fn opening(&self) -> Opening<'_> {
        Opening {
            principal: self.principal.as_ref(),
            subprotocol: self.subprotocol,
            host: "localhost",
            kind: self.kind,
            limits: &self.limits,
            protocol_limits: &self.protocol_limits,
            client_rules: self.client_rules,
            scram_for_all: self.scram_for_all,
            anonymous: self.anonymous,
        }
    }
}
