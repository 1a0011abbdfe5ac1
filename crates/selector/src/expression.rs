use crate::{
    allocation_bytes,
    like::Like,
    value::{Arithmetic, Comparison, Number},
};

/// A parsed expression. What may be repeated without parentheses is a list, so that its depth is that
/// of the parentheses.
#[derive(Debug)]
pub(crate) enum Expression {
    Bool(bool),
    Number(Number),
    String(Box<str>),
    Header(HeaderField),
    Property(Box<str>),
    Not(Box<Self>),
    All(Box<[Self]>),
    Any(Box<[Self]>),
    Compare(Comparison, Box<[Self; 2]>),
    Between(Between, Box<[Self; 3]>),
    /// The strings are sorted.
    In(Box<Self>, Box<[Box<str>]>),
    Like(Box<Self>, Box<Like>),
    IsNull(Box<Self>),
    Negative(Box<Self>),
    Positive(Box<Self>),
    /// From left to right.
    Arithmetic(Box<Self>, Box<[(Arithmetic, Self)]>),
}

/// Whether a value is to be between two others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Between {
    Within,
    Outside,
}

/// A header of a message that a selector may refer to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HeaderField {
    /// `JMSDeliveryMode`: the string `PERSISTENT` or `NON_PERSISTENT`.
    DeliveryMode,
    /// `JMSPriority`: 0 to 9.
    Priority,
    /// `JMSMessageID`: a string.
    MessageId,
    /// `JMSTimestamp`: milliseconds since 1970.
    Timestamp,
    /// `JMSCorrelationID`: a string or null.
    CorrelationId,
    /// `JMSType`: a string or null.
    Type,
}

impl HeaderField {
    pub(crate) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "JMSDeliveryMode" => Self::DeliveryMode,
            "JMSPriority" => Self::Priority,
            "JMSMessageID" => Self::MessageId,
            "JMSTimestamp" => Self::Timestamp,
            "JMSCorrelationID" => Self::CorrelationId,
            "JMSType" => Self::Type,
            _ => return None,
        })
    }
}

/// What is known of an expression's type without a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Condition,
    Number,
    String,
    /// That of a header or property.
    Identifier,
}

impl Expression {
    /// Memory that it takes beside its own size, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        let boxed = |one: &Self| allocation_bytes(size_of::<Self>()) + one.heap_bytes();
        let list = |all: &[Self]| {
            allocation_bytes(size_of_val(all)) + all.iter().map(Self::heap_bytes).sum::<usize>()
        };
        match self {
            Self::Bool(_) | Self::Number(_) | Self::Header(_) => 0,
            Self::String(text) | Self::Property(text) => allocation_bytes(text.len()),
            Self::Not(one) | Self::IsNull(one) | Self::Negative(one) | Self::Positive(one) => {
                boxed(one)
            }
            Self::All(all) | Self::Any(all) => list(all),
            Self::Compare(_, all) => list(&**all),
            Self::Between(_, all) => list(&**all),
            Self::In(one, strings) => {
                let each = strings.iter().map(|string| allocation_bytes(string.len()));
                boxed(one) + allocation_bytes(size_of_val(&**strings)) + each.sum::<usize>()
            }
            Self::Like(one, like) => {
                boxed(one) + allocation_bytes(size_of::<Like>()) + like.heap_bytes()
            }
            Self::Arithmetic(one, rest) => {
                let each = rest.iter().map(|(_, operand)| operand.heap_bytes());
                boxed(one) + allocation_bytes(size_of_val(&**rest)) + each.sum::<usize>()
            }
        }
    }

    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Header(_) | Self::Property(_) => Kind::Identifier,
            Self::String(_) => Kind::String,
            Self::Number(_) | Self::Negative(_) | Self::Positive(_) | Self::Arithmetic(..) => {
                Kind::Number
            }
            Self::Bool(_)
            | Self::Not(_)
            | Self::All(_)
            | Self::Any(_)
            | Self::Compare(..)
            | Self::Between(..)
            | Self::In(..)
            | Self::Like(..)
            | Self::IsNull(_) => Kind::Condition,
        }
    }
}
