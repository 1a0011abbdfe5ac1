use crate::Selector;

/// Why a text is not a selector, and where.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("column {column}: {fault}")]
pub struct SelectorError {
    /// The first character that is wrong, counted from 1.
    pub column: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a selector.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    /// Something else must stand here.
    #[error("expected {0}")]
    Expected(&'static str),
    /// A character that is not part of the language.
    #[error("unexpected character {0:?}")]
    Character(char),
    /// A string without its end.
    #[error("the string that begins here has no end")]
    UnterminatedString,
    /// Double quotes.
    #[error("a string stands in single quotes, and names stand in none")]
    DoubleQuote,
    /// `!=` or `==`.
    #[error("write = for equal and <> for not equal")]
    UnknownOperator,
    /// A number that is not written as in Java.
    #[error("malformed number")]
    MalformedNumber,
    /// A number that its type does not have.
    #[error("a number beyond the range of its type: 64 bits, double or float")]
    NumberRange,
    /// A header that selectors cannot refer to (3.8.1.1).
    #[error(
        "of the names with JMS there are JMSDeliveryMode, JMSPriority, JMSMessageID, JMSTimestamp, \
         JMSCorrelationID, JMSType, and those that begin with JMSX or JMS_"
    )]
    UnknownHeader,
    /// NULL as an operand.
    #[error("nothing is equal to NULL: write IS NULL or IS NOT NULL")]
    NullOperand,
    /// A comparison of a comparison.
    #[error("comparisons do not chain: join them with AND, or put one in parentheses")]
    Chained,
    /// An order of what has none.
    #[error("strings and conditions are compared with = and <> only")]
    Unordered,
    /// A number or a string where a condition must stand.
    #[error("expected a condition, which a number or a string is not")]
    NotCondition,
    /// A string or a condition where a number must stand.
    #[error("expected a number, which a string or a condition is not")]
    NotNumber,
    /// LIKE, IN or IS after something else than an identifier.
    #[error("the name of a property or header must stand before LIKE, IN and IS")]
    NotIdentifier,
    /// ESCAPE with a string of another length.
    #[error("ESCAPE takes a string of one character")]
    EscapeLength,
    /// The escape character before something else.
    #[error("in the pattern, the escape character must stand before %, _ or itself")]
    EscapeUse,
    /// See [`Selector::LIKE_CHARS_MAX`].
    #[error("a pattern with _ may have {} characters between two %", Selector::LIKE_CHARS_MAX)]
    LikeChars,
    /// See [`Selector::TEXT_BYTES_MAX`].
    #[error("a selector may have {} bytes", Selector::TEXT_BYTES_MAX)]
    TooLong,
    /// See [`Selector::DEPTH_MAX`].
    #[error("parentheses, NOT and signs may be nested {} levels deep", Selector::DEPTH_MAX)]
    TooDeep,
    /// See [`Selector::NODES_MAX`].
    #[error("a selector may have {} names, values and operators", Selector::NODES_MAX)]
    TooLarge,
}
