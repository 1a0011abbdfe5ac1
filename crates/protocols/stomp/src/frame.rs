use bytes::Bytes;

use crate::{Headers, Version, encode::Writer};

/// A frame, with its headers decoded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    /// Its command.
    pub verb: Verb,
    /// Its headers in the order in which they came. Of repeated ones the first counts, which is
    /// the one that [`Headers::get`] returns.
    pub headers: Headers,
    /// Its body; empty but in SEND, MESSAGE and ERROR.
    pub body: Bytes,
}

impl Frame {
    /// A frame without headers and body.
    #[must_use]
    pub fn new(verb: Verb) -> Self {
        Self { verb, headers: Headers::default(), body: Bytes::new() }
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push(name, value);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// Appends the encoded frame. A body gets its `content-length`.
    pub fn encode(&self, version: Version, to: &mut Vec<u8>) {
        let mut writer = Writer::begin(to, version, self.verb);
        for (name, value) in self.headers.iter().filter(|(name, _)| *name != "content-length") {
            writer.header(name, value);
        }
        if !self.body.is_empty() {
            writer.number("content-length", self.body.len());
        }
        writer.body(&self.body);
    }
}

/// The command of a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "each is the command of this name")]
pub enum Verb {
    Connect,
    Stomp,
    Send,
    Subscribe,
    Unsubscribe,
    Ack,
    Nack,
    Begin,
    Commit,
    Abort,
    Disconnect,
    Connected,
    /// Not of the standard: a challenge of SASL (`docs/stomp.md`).
    Challenge,
    Message,
    Receipt,
    Error,
}

impl Verb {
    /// All commands: the client's, then the server's.
    pub const ALL: [Self; 16] = [
        Self::Connect,
        Self::Stomp,
        Self::Send,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Ack,
        Self::Nack,
        Self::Begin,
        Self::Commit,
        Self::Abort,
        Self::Disconnect,
        Self::Connected,
        Self::Challenge,
        Self::Message,
        Self::Receipt,
        Self::Error,
    ];

    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::Stomp => "STOMP",
            Self::Send => "SEND",
            Self::Subscribe => "SUBSCRIBE",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::Ack => "ACK",
            Self::Nack => "NACK",
            Self::Begin => "BEGIN",
            Self::Commit => "COMMIT",
            Self::Abort => "ABORT",
            Self::Disconnect => "DISCONNECT",
            Self::Connected => "CONNECTED",
            Self::Challenge => "CHALLENGE",
            Self::Message => "MESSAGE",
            Self::Receipt => "RECEIPT",
            Self::Error => "ERROR",
        }
    }

    pub(crate) fn parse(word: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str().as_bytes() == word)
    }

    pub(crate) const fn has_body(self) -> bool {
        matches!(self, Self::Send | Self::Message | Self::Error)
    }

    /// CONNECT and CONNECTED keep the headers of 1.0, which have no escapes (§Value Encoding), and so
    /// does what stands between them.
    pub(crate) const fn has_escapes(self) -> bool {
        !matches!(self, Self::Connect | Self::Stomp | Self::Connected | Self::Challenge)
    }
}

/// The peer sent something that is no STOMP frame, or is too big.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FrameError {
    /// The first line of a frame is no command.
    #[error("the first line of a frame must be a STOMP command, in capitals")]
    UnknownCommand,
    /// A NUL where a command should be.
    #[error("a NUL where a command should be: a body with NULs needs a content-length")]
    StrayNul,
    /// A NUL before the empty line.
    #[error("a NUL in the header of a frame: an empty line must follow its headers")]
    NulInHeader,
    /// A header line without a colon.
    #[error("a header line has no colon: headers are written name:value")]
    NoColon,
    /// A header line that begins with a colon.
    #[error("a header has no name before its colon")]
    NoName,
    /// A backslash with something else than the version allows.
    #[error(
        "an undefined escape in a header: STOMP 1.2 has \\n, \\r, \\c and \\\\ for line feed, \
         carriage return, colon and backslash"
    )]
    Escape,
    /// A header that is not UTF-8.
    #[error("a header is not UTF-8")]
    NotUtf8,
    /// A `content-length` that is no number.
    #[error("content-length must be a number of bytes, in digits")]
    Length,
    /// No NUL where `content-length` says that the body ends.
    #[error(
        "no NUL after the body: content-length must count the bytes of the body, not its characters"
    )]
    NoNul,
    /// A body where none is allowed.
    #[error("only SEND, MESSAGE and ERROR frames have a body")]
    Body,
    /// More bytes in the header than [`contract::ProtocolLimits::header_bytes_max`].
    #[error(
        "the command and headers of a frame may have at most {0} bytes (limits.header-bytes-max)"
    )]
    HeaderTooLarge(usize),
    /// More headers than [`contract::ProtocolLimits::headers_max`].
    #[error("a frame may have at most {0} headers (limits.headers-max)")]
    TooManyHeaders(usize),
    /// A larger body than [`contract::ConnectionLimits::message_bytes_max`].
    #[error("the body of a frame may have at most {0} bytes (limits.message-bytes-max)")]
    BodyTooLarge(usize),
}
