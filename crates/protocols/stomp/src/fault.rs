use contract::{Reason, Refusal};

use crate::{FrameError, Verb, Version, encode::Writer};

/// Why a connection ends.
#[derive(Debug)]
pub(crate) enum End {
    /// An error, which the peer is told with an ERROR frame.
    Fault(Fault),
    /// DISCONNECT, and everything before it was confirmed.
    Normal,
}

/// An error that ends the connection.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) reason: Reason,
    /// Short: the `message` header.
    message: &'static str,
    /// What is wrong and how to mend it: the body.
    detail: String,
    /// The receipt that the frame requested.
    receipt: Option<Box<str>>,
    /// The versions that are spoken, when none was negotiated.
    versions: Option<String>,
}

impl Fault {
    pub(crate) fn new(reason: Reason, message: &'static str, detail: impl Into<String>) -> Self {
        Self { reason, message, detail: detail.into(), receipt: None, versions: None }
    }

    /// The peer broke a rule of the protocol.
    pub(crate) fn malformed(message: &'static str, detail: impl Into<String>) -> Self {
        Self::new(Reason::Malformed, message, detail)
    }

    /// A limit of the configuration is reached.
    pub(crate) fn limit(detail: impl Into<String>) -> Self {
        Self::new(Reason::Busy, "limit reached", detail)
    }

    /// A transaction is larger than the configuration lets one be: it never will be carried out.
    pub(crate) fn transaction_too_large(detail: impl Into<String>) -> Self {
        Self::new(Reason::TooLarge, "limit reached", detail)
    }

    /// The broker did not carry out `what`, or not all of it.
    pub(crate) fn refused(what: &str, refusal: Refusal) -> Self {
        let (reason, message, advice) = match refusal {
            Refusal::Unauthenticated => {
                (Reason::Unauthenticated, "login refused", "check the login and passcode headers")
            }
            Refusal::Expired => {
                (Reason::Unauthenticated, "login refused", "ask the operator to prolong it")
            }
            Refusal::Sasl(_) => {
                (Reason::Malformed, "login refused", "begin again with the header sasl-mechanism")
            }
            Refusal::Forbidden => {
                (Reason::Forbidden, "not allowed", "ask the operator for the right to do this")
            }
            Refusal::DeadLetterQueue => (
                Reason::Forbidden,
                "not allowed",
                "send to the queue itself, or ask the operator for the right to do this",
            ),
            Refusal::Full => (
                Reason::Busy,
                "destination full",
                "its consumers are too slow; reconnect and try again later",
            ),
            Refusal::Busy => (Reason::Busy, "too busy", "an ERROR ends a connection: reconnect"),
            Refusal::Limit => {
                (Reason::Busy, "limit reached", "end what is not required, or ask the operator")
            }
            Refusal::QueueMemory | Refusal::PrincipalMemory => (
                Reason::Busy,
                "memory full",
                "what was confirmed stays; consume it, or reconnect and try again later",
            ),
            Refusal::StoreFull | Refusal::NoStore => (
                Reason::Busy,
                "not stored",
                "what was confirmed stays; send without persistent:true, or try again later",
            ),
            Refusal::Queues | Refusal::PrincipalQueues => {
                (Reason::Busy, "limit reached", "consume what is in them: an empty queue ends")
            }
            Refusal::ClientIdInUse => (
                Reason::Busy,
                "client id in use",
                "wait until it has gone, CONNECT with displace:true to end it, or use another client-id",
            ),
            Refusal::DurableInUse => (
                Reason::Busy,
                "durable subscription in use",
                "wait until its consumer has gone, or subscribe with displace:true",
            ),
            Refusal::DurableShared => (
                Reason::Malformed,
                "durable subscription in use",
                "an UNSUBSCRIBE with its name deletes it",
            ),
            Refusal::Displaced => {
                (Reason::Busy, "displaced", "one client at a time may use this subscription")
            }
            Refusal::DuplicateId => (
                Reason::Malformed,
                "subscription exists",
                "choose another id, or UNSUBSCRIBE first",
            ),
            Refusal::TooDeep => {
                (Reason::Malformed, "bad destination", "subscribe with a > further to the left")
            }
            Refusal::PatternBytes => {
                (Reason::Busy, "limit reached", "use a wildcard, or end one first")
            }
            Refusal::NotFound => (
                Reason::Malformed,
                "no such destination",
                "a temporary destination is gone with the connection that made it",
            ),
            Refusal::Slow | Refusal::SlowCore => (
                Reason::Slow,
                "too slow",
                "read and acknowledge faster, or have older messages dropped with x-slow",
            ),
            Refusal::Stale => (
                Reason::Malformed,
                "transaction failed",
                "nothing of it was carried out; begin again after reconnecting",
            ),
        };
        Self::new(reason, message, format!("{what}: {refusal}; {advice}"))
    }

    pub(crate) fn with_receipt(mut self, receipt: Option<&str>) -> Self {
        self.receipt = self.receipt.or_else(|| receipt.map(Into::into));
        self
    }

    pub(crate) fn with_versions(mut self, versions: String) -> Self {
        self.versions = Some(versions);
        self
    }

    pub(crate) const fn message(&self) -> &'static str {
        self.message
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// Appends the ERROR frame.
    pub(crate) fn encode(&self, version: Version, to: &mut Vec<u8>) {
        let mut writer = Writer::begin(to, version, Verb::Error);
        writer.header("message", self.message);
        if let Some(receipt) = &self.receipt {
            writer.header("receipt-id", receipt);
        }
        if let Some(versions) = &self.versions {
            writer.header("version", versions);
        }
        writer.header("content-type", "text/plain");
        writer.number("content-length", self.detail.len());
        writer.body(self.detail.as_bytes());
    }
}

impl From<FrameError> for Fault {
    fn from(error: FrameError) -> Self {
        let (reason, message) = match error {
            FrameError::HeaderTooLarge(_)
            | FrameError::TooManyHeaders(_)
            | FrameError::BodyTooLarge(_) => (Reason::TooLarge, "frame too large"),
            FrameError::NotUtf8 => (Reason::NotText, "malformed frame"),
            FrameError::UnknownCommand => (Reason::Malformed, "unknown command"),
            FrameError::StrayNul
            | FrameError::NulInHeader
            | FrameError::NoColon
            | FrameError::NoName
            | FrameError::Escape
            | FrameError::Length
            | FrameError::NoNul
            | FrameError::Body => (Reason::Malformed, "malformed frame"),
        };
        Self::new(reason, message, error.to_string())
    }
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<FrameError> for End {
    fn from(error: FrameError) -> Self {
        Self::Fault(error.into())
    }
}
