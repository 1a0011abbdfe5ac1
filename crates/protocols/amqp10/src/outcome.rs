use amqp_types::{Fields, TypeError, Writer};
use contract::Outcome;

use crate::{codes, performative::composite};

/// What a receiver made of a delivery (part 3, section 3.4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    Accepted,
    Rejected,
    Released,
    Modified { failed: bool, undeliverable: bool },
}

/// The state of a delivery, as its peer says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum DeliveryState {
    Terminal(Verdict),
    /// In a transaction; without an outcome of a message that is sent.
    Transactional(TransactionId, Option<Verdict>),
    /// What is not an end, such as how much was received.
    Other,
}

/// Names a transaction of a connection; `None`: no transaction has such a name.
pub(crate) type TransactionId = Option<u64>;

impl DeliveryState {
    pub(crate) fn read(encoded: &[u8]) -> Result<Self, TypeError> {
        let (code, mut fields) = composite(encoded)?;
        if code == Some(codes::TRANSACTIONAL_STATE) {
            let id = fields.binary()?.ok_or(TypeError::Missing)?;
            let outcome = fields.encoded()?.map(composite).transpose()?;
            let verdict = match outcome {
                Some((code, fields)) => Verdict::read(code, fields)?,
                None => None,
            };
            return Ok(Self::Transactional(transaction_id(id), verdict));
        }
        Ok(Verdict::read(code, fields)?.map_or(Self::Other, Self::Terminal))
    }
}

impl Verdict {
    fn read(code: Option<u8>, mut fields: Fields<'_>) -> Result<Option<Self>, TypeError> {
        Ok(match code {
            Some(codes::ACCEPTED) => Some(Self::Accepted),
            Some(codes::REJECTED) => Some(Self::Rejected),
            Some(codes::RELEASED) => Some(Self::Released),
            Some(codes::MODIFIED) => {
                let failed = fields.bool()?.unwrap_or(false);
                let undeliverable = fields.bool()?.unwrap_or(false);
                Some(Self::Modified { failed, undeliverable })
            }
            _ => None,
        })
    }

    /// That of an encoded field.
    pub(crate) fn of(encoded: &[u8]) -> Result<Option<Self>, TypeError> {
        let (code, fields) = composite(encoded)?;
        Self::read(code, fields)
    }

    /// What that is to the broker.
    pub(crate) const fn outcome(self) -> Outcome {
        match self {
            Self::Accepted => Outcome::Accepted,
            Self::Rejected => Outcome::Rejected,
            Self::Released | Self::Modified { failed: false, undeliverable: false } => {
                Outcome::Released
            }
            Self::Modified { failed, undeliverable: true } => Outcome::Undeliverable { failed },
            Self::Modified { failed: true, undeliverable: false } => Outcome::Failed,
        }
    }

    pub(crate) fn write(self, to: &mut Writer<'_>) {
        match self {
            Self::Accepted => to.composite(codes::ACCEPTED, |_| {}),
            Self::Rejected => to.composite(codes::REJECTED, |_| {}),
            Self::Released => to.composite(codes::RELEASED, |_| {}),
            Self::Modified { failed, undeliverable } => to.composite(codes::MODIFIED, |fields| {
                fields.bool(failed);
                fields.bool(undeliverable);
            }),
        }
    }
}

pub(crate) fn transaction_id(bytes: &[u8]) -> TransactionId {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// A state in a transaction.
pub(crate) fn write_transactional(to: &mut Writer<'_>, id: u64, outcome: Verdict) {
    to.composite(codes::TRANSACTIONAL_STATE, |fields| {
        fields.binary(&id.to_be_bytes());
        outcome.write(fields);
    });
}
