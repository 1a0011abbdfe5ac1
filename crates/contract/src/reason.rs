/// Why a connection ended. Each protocol and each transport maps it in one exhaustive match.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Reason {
    /// The peer said goodbye in its protocol's way.
    Goodbye,
    /// The peer closed, reset or left the network without a goodbye.
    Lost,
    /// What the peer sent is not its protocol.
    Malformed,
    /// Text that is not UTF-8.
    NotText,
    /// A message, frame or header over its bound.
    TooLarge,
    /// The peer did nothing in the time it had: to log in, to answer, to beat.
    Idle,
    /// The peer reads too slowly: more is unsent than may wait for it.
    Slow,
    /// The login or password is wrong, or a login is needed.
    Unauthenticated,
    /// Not allowed for this user.
    Forbidden,
    /// A bound on the number of things is reached, or a destination stayed full.
    Busy,
    /// What stands behind the gateway (a back-end of a proxy) is down or closed.
    Backend,
    /// The gateway is stopping.
    Shutdown,
    /// A fault of ours.
    Internal,
}

impl Reason {
    /// The word for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Goodbye => "goodbye",
            Self::Lost => "lost",
            Self::Malformed => "malformed",
            Self::NotText => "not-text",
            Self::TooLarge => "too-large",
            Self::Idle => "idle",
            Self::Slow => "slow",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Busy => "busy",
            Self::Backend => "backend",
            Self::Shutdown => "shutdown",
            Self::Internal => "internal",
        }
    }
}
