/// Why a connection ended. Each protocol and each transport maps it in one exhaustive match.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Reason {
    /// The peer ended the connection as its protocol prescribes.
    Normal,
    /// The connection broke, or the peer closed it otherwise than its protocol prescribes.
    Lost,
    /// What the peer sent is not its protocol.
    Malformed,
    /// Text that is not UTF-8.
    NotText,
    /// A message, frame, header or transaction over its bound.
    TooLarge,
    /// The peer did not log in, reply or send a heartbeat in time.
    Idle,
    /// The peer reads too slowly: more is unsent than is allowed.
    Slow,
    /// The login or password is wrong, a login is required, or it holds no more.
    Unauthenticated,
    /// Not allowed for this user.
    Forbidden,
    /// A bound on the number of things is reached, or a destination stayed full.
    Busy,
    /// The upstream of a proxy is down or has closed.
    Upstream,
    /// The gateway is stopping.
    Shutdown,
    /// A bug of the gateway.
    Internal,
}

/// What a peer is told with [`Reason::Shutdown`], where its protocol has a text for it.
pub const STOPPING: &str = "the gateway is stopping";

impl Reason {
    /// The word for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Lost => "lost",
            Self::Malformed => "malformed",
            Self::NotText => "not-text",
            Self::TooLarge => "too-large",
            Self::Idle => "idle",
            Self::Slow => "slow",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Busy => "busy",
            Self::Upstream => "upstream",
            Self::Shutdown => "shutdown",
            Self::Internal => "internal",
        }
    }
}
