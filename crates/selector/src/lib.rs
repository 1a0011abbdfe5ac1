//! Message selectors: the conditions of Jakarta Messaging 3.1, section 3.8.1, a subset of SQL-92's.
//!
//! A [`Selector`] is parsed and checked once, and then evaluated for each message without an
//! allocation. Where the specification leaves a choice:
//!
//! - Exact numbers have 64 bits, whatever their type in the message or their literal's suffix.
//!   Literals follow Java (decimal, `0x1F`, `017`, `0b11`, `1_000`, `57L`; `7.`, `.5`, `7E3`, `7D`,
//!   `7F`), but for hexadecimal floating-point ones. Other than in Java, `0xFFFFFFFF` is positive.
//! - What arithmetic cannot compute is null: a result of more than 64 bits, an integer divided by
//!   zero, an operand that is a string or a boolean. Floating-point arithmetic is Java's, with
//!   infinities and NaN.
//! - Unlike values that are compared, with `<>` too, make the comparison false; where one of them is
//!   null it is unknown. An identifier that stands as a condition is compared with TRUE.
//! - `NOT IN` and `NOT LIKE` are `NOT (.. IN ..)` and `NOT (.. LIKE ..)`, so that they are true of a
//!   number; `x NOT BETWEEN a AND b` is `x < a OR x > b`.
//! - Comparisons do not chain; one in parentheses may be compared with = and <>.
//! - A character, for `_` and for `ESCAPE`, is a Unicode scalar value. Identifiers have the
//!   characters that Java's have, but for invisible ones.
//! - The escape character stands before `%`, `_` or itself, as in SQL-92.
#![forbid(unsafe_code)]

mod error;
mod evaluate;
mod expression;
mod like;
mod parse;
mod token;
mod value;

pub use error::{Fault, SelectorError};
pub use evaluate::Fields;
pub use expression::HeaderField;
pub use value::Value;

use std::hash::{Hash, Hasher};

use self::{evaluate::Evaluation, expression::Expression, parse::Parser};

/// A condition on the header and the properties of a message.
#[derive(Debug)]
pub struct Selector {
    text: Box<str>,
    strings: Strings,
    condition: Expression,
    nodes: usize,
    bytes: usize,
}

/// What strings in messages count as.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Strings {
    /// Strings, as the specification has it: `'2'` is not equal to 2, nor greater than 1.
    Strict,
    /// For protocols whose properties have no types: where a number is required, also the number
    /// that they spell as JSON does (RFC 8259, section 6), and where a boolean is, `true` and `false`.
    Coerced,
}

impl Selector {
    /// The length of a selector, in bytes, at most.
    pub const TEXT_BYTES_MAX: usize = 8 << 10;
    /// Levels of parentheses, NOT and signs at most.
    pub const DEPTH_MAX: usize = 32;
    /// Identifiers, literals and operators at most; all strings of an IN are one.
    pub const NODES_MAX: usize = 512;
    /// Characters between two `%` of a LIKE at most, where `_` is one of them. What precedes the
    /// first `%` or follows the last may be longer.
    pub const LIKE_CHARS_MAX: usize = 64;

    /// Parses a selector.
    ///
    /// # Errors
    ///
    /// Where it is wrong and how, for the user who wrote it; also if it exceeds a bound. An empty
    /// text is no selector: it is for the caller to select all messages by it.
    pub fn parse(text: &str, strings: Strings) -> Result<Self, SelectorError> {
        let (condition, nodes) = Parser::parse(text)?;
        let bytes = size_of::<Self>() + allocation_bytes(text.len()) + condition.heap_bytes();
        Ok(Self { text: text.into(), strings, condition, nodes, bytes })
    }

    /// Its value for a message; `None`: unknown.
    #[must_use]
    pub fn evaluate(&self, fields: &impl Fields) -> Option<bool> {
        Evaluation { fields, strings: self.strings }.test(&self.condition)
    }

    /// Whether it selects a message: its value is true, not false or unknown.
    #[must_use]
    pub fn matches(&self, fields: &impl Fields) -> bool {
        self.evaluate(fields) == Some(true)
    }

    /// What strings count as.
    #[must_use]
    pub const fn strings(&self) -> Strings {
        self.strings
    }

    /// As it was written.
    #[must_use]
    pub const fn text(&self) -> &str {
        &self.text
    }

    /// Operations and look-ups of fields in an evaluation at most. Each takes a time linear in the
    /// values at most.
    #[must_use]
    pub const fn cost(&self) -> usize {
        self.nodes
    }

    /// Memory that it takes, in bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Those that were written alike select the same.
impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.strings == other.strings
    }
}

impl Eq for Selector {}

impl Hash for Selector {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
        self.strings.hash(state);
    }
}

/// What an allocation of this size takes, in bytes.
const fn allocation_bytes(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { (bytes + 8).next_multiple_of(16) }
}
