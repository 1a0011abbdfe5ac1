use amqp_types::{TypeError, Writer};
use contract::{Reason, Refusal};

use crate::codes;

/// An error as AMQP says it: a condition, and what is wrong and what to do.
#[derive(Clone, Debug)]
pub(crate) struct AmqpError {
    pub(crate) condition: &'static str,
    pub(crate) description: String,
    /// The field that is meant.
    field: Option<&'static str>,
}

/// Why a connection ends, or one of its sessions.
#[derive(Debug)]
pub(crate) enum End {
    /// The peer has closed the connection.
    Normal,
    /// The gateway closes it.
    Connection(Reason, AmqpError),
    /// The gateway ends a session.
    Session(AmqpError),
}

impl AmqpError {
    pub(crate) fn new(condition: &'static str, description: impl Into<String>) -> Self {
        let mut description = description.into();
        let end = description.floor_char_boundary(DESCRIPTION_BYTES_MAX);
        description.truncate(end);
        Self { condition, description, field: None }
    }

    /// What a field of the peer's open cannot be, as its `info` says too: by that JMS knows a client id
    /// that is in use.
    pub(crate) fn invalid_field(field: &'static str, description: impl Into<String>) -> Self {
        Self { field: Some(field), ..Self::new(INVALID_FIELD, description) }
    }

    /// What the broker does not carry out.
    pub(crate) fn refused(refusal: Refusal) -> Self {
        let condition = match refusal {
            Refusal::Unauthenticated
            | Refusal::Expired
            | Refusal::Sasl(_)
            | Refusal::Forbidden
            | Refusal::DeadLetterQueue => UNAUTHORIZED_ACCESS,
            Refusal::Full
            | Refusal::Busy
            | Refusal::Limit
            | Refusal::QueueMemory
            | Refusal::PrincipalMemory
            | Refusal::PrincipalQueues
            | Refusal::StoreFull
            | Refusal::NoStore
            | Refusal::Queues
            | Refusal::PatternBytes
            | Refusal::Slow
            | Refusal::SlowCore => RESOURCE_LIMIT_EXCEEDED,
            Refusal::DurableInUse => RESOURCE_LOCKED,
            Refusal::DurableShared => NOT_ALLOWED,
            Refusal::ClientIdInUse | Refusal::TooDeep => INVALID_FIELD,
            Refusal::Displaced => STOLEN,
            Refusal::DuplicateId => INTERNAL_ERROR,
            Refusal::NotFound => NOT_FOUND,
            Refusal::Stale => TRANSACTION_ROLLBACK,
        };
        Self::new(condition, refusal.to_string())
    }

    pub(crate) fn write(&self, to: &mut Writer<'_>) {
        to.composite(codes::ERROR, |fields| {
            fields.symbol(self.condition);
            fields.string(&self.description);
            if let Some(field) = self.field {
                fields.map(|map| {
                    map.symbol("invalid-field");
                    map.symbol(field);
                });
            }
        });
    }
}

impl End {
    /// The peer has sent what is no AMQP.
    pub(crate) fn decode(description: impl Into<String>) -> Self {
        Self::Connection(Reason::Malformed, AmqpError::new(DECODE_ERROR, description))
    }

    /// The peer has sent a frame that does not belong there.
    pub(crate) fn illegal(description: impl Into<String>) -> Self {
        Self::Connection(Reason::Malformed, AmqpError::new(ILLEGAL_STATE, description))
    }

    /// The peer uses a number that is beyond what the connection or the session has.
    pub(crate) fn out_of_range(description: impl Into<String>) -> Self {
        Self::Connection(Reason::Malformed, AmqpError::new(FRAMING_ERROR, description))
    }

    pub(crate) fn session(condition: &'static str, description: impl Into<String>) -> Self {
        Self::Session(AmqpError::new(condition, description))
    }
}

impl From<TypeError> for End {
    fn from(error: TypeError) -> Self {
        Self::decode(error.to_string())
    }
}

/// Bytes of a description, which may quote what the peer has sent: with it, an error has room in the
/// smallest frame.
const DESCRIPTION_BYTES_MAX: usize = 300;

pub(crate) const INTERNAL_ERROR: &str = "amqp:internal-error";
pub(crate) const NOT_FOUND: &str = "amqp:not-found";
pub(crate) const UNAUTHORIZED_ACCESS: &str = "amqp:unauthorized-access";
pub(crate) const DECODE_ERROR: &str = "amqp:decode-error";
pub(crate) const RESOURCE_LIMIT_EXCEEDED: &str = "amqp:resource-limit-exceeded";
pub(crate) const NOT_ALLOWED: &str = "amqp:not-allowed";
pub(crate) const INVALID_FIELD: &str = "amqp:invalid-field";
pub(crate) const NOT_IMPLEMENTED: &str = "amqp:not-implemented";
pub(crate) const PRECONDITION_FAILED: &str = "amqp:precondition-failed";
pub(crate) const RESOURCE_LOCKED: &str = "amqp:resource-locked";
pub(crate) const RESOURCE_DELETED: &str = "amqp:resource-deleted";
pub(crate) const ILLEGAL_STATE: &str = "amqp:illegal-state";
pub(crate) const CONNECTION_FORCED: &str = "amqp:connection:forced";
pub(crate) const FRAMING_ERROR: &str = "amqp:connection:framing-error";
pub(crate) const FRAME_SIZE_TOO_SMALL: &str = "amqp:frame-size-too-small";
pub(crate) const WINDOW_VIOLATION: &str = "amqp:session:window-violation";
pub(crate) const HANDLE_IN_USE: &str = "amqp:session:handle-in-use";
pub(crate) const UNATTACHED_HANDLE: &str = "amqp:session:unattached-handle";
pub(crate) const TRANSFER_LIMIT_EXCEEDED: &str = "amqp:link:transfer-limit-exceeded";
pub(crate) const MESSAGE_SIZE_EXCEEDED: &str = "amqp:link:message-size-exceeded";
pub(crate) const STOLEN: &str = "amqp:link:stolen";
pub(crate) const TRANSACTION_UNKNOWN: &str = "amqp:transaction:unknown-id";
pub(crate) const TRANSACTION_ROLLBACK: &str = "amqp:transaction:rollback";
