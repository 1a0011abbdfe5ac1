use std::cmp::Ordering;

/// The value of a header or a property.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// There is none.
    Null,
    /// A boolean.
    Bool(bool),
    /// An exact number of any size up to 64 bits.
    Integer(i64),
    /// A floating-point number of 32 bits.
    Float(f32),
    /// A floating-point number of 64 bits.
    Double(f64),
    /// A string.
    String(&'a str),
    /// What no operator is for, as bytes: unlike all others, and not null.
    Other,
}

/// A value while an expression is evaluated.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operand<'a> {
    Null,
    Bool(bool),
    Number(Number),
    String(&'a str),
    /// A string that also is what it spells.
    Coerced(&'a str),
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Integer(i64),
    Float(f32),
    Double(f64),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// Two numbers of one type.
enum Promoted {
    Integers(i64, i64),
    Floats(f32, f32),
    Doubles(f64, f64),
}

impl<'a> From<Value<'a>> for Operand<'a> {
    fn from(value: Value<'a>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Integer(value) => Self::Number(Number::Integer(value)),
            Value::Float(value) => Self::Number(Number::Float(value)),
            Value::Double(value) => Self::Number(Number::Double(value)),
            Value::String(text) => Self::String(text),
            Value::Other => Self::Other,
        }
    }
}

impl From<Option<Number>> for Operand<'_> {
    fn from(number: Option<Number>) -> Self {
        number.map_or(Self::Null, Self::Number)
    }
}

impl From<Option<bool>> for Operand<'_> {
    fn from(truth: Option<bool>) -> Self {
        truth.map_or(Self::Null, Self::Bool)
    }
}

impl<'a> Operand<'a> {
    /// Whether it is a string that fits; `None`: unknown.
    pub(crate) fn test(self, fits: impl FnOnce(&str) -> bool) -> Option<bool> {
        (!self.is_null()).then(|| self.string().is_some_and(fits))
    }

    pub(crate) const fn is_null(self) -> bool {
        matches!(self, Self::Null)
    }

    const fn string(self) -> Option<&'a str> {
        match self {
            Self::String(text) | Self::Coerced(text) => Some(text),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Other => None,
        }
    }

    /// The number that it is, or spells.
    pub(crate) fn number(self) -> Option<Number> {
        match self {
            Self::Number(number) => Some(number),
            Self::Coerced(text) => Number::spelt(text),
            Self::Null | Self::Bool(_) | Self::String(_) | Self::Other => None,
        }
    }

    /// The boolean that it is, or spells.
    fn bool(self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(value),
            Self::Coerced("true") => Some(true),
            Self::Coerced("false") => Some(false),
            Self::Null | Self::Coerced(_) | Self::Number(_) | Self::String(_) | Self::Other => None,
        }
    }

    /// As a condition; `None`: unknown.
    pub(crate) fn truth(self) -> Option<bool> {
        (!self.is_null()).then(|| self.bool().unwrap_or(false))
    }

    /// `None`: unknown.
    pub(crate) fn compare(self, comparison: Comparison, other: Self) -> Option<bool> {
        if self.is_null() || other.is_null() {
            return None;
        }
        if !comparison.is_of_order()
            && let (Some(a), Some(b)) = (self.string(), other.string())
        {
            return Some(comparison.holds_equal(a == b));
        }
        if let (Some(a), Some(b)) = (self.number(), other.number()) {
            return Some(comparison.holds(a.order(b)));
        }
        let is_equal = self.bool().zip(other.bool()).map(|(a, b)| a == b);
        Some(is_equal.is_some_and(|is_equal| comparison.holds_equal(is_equal)))
    }
}

impl Comparison {
    /// Whether it is for numbers alone.
    pub(crate) const fn is_of_order(self) -> bool {
        !matches!(self, Self::Equal | Self::NotEqual)
    }

    /// Whether it holds for what has no order.
    const fn holds_equal(self, is_equal: bool) -> bool {
        match self {
            Self::Equal => is_equal,
            Self::NotEqual => !is_equal,
            Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual => false,
        }
    }

    /// Whether it holds for numbers in this order; `None`: one is not a number.
    fn holds(self, order: Option<Ordering>) -> bool {
        match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::NotEqual => order != Some(Ordering::Equal),
            Self::Less => order == Some(Ordering::Less),
            Self::LessOrEqual => order.is_some_and(Ordering::is_le),
            Self::Greater => order == Some(Ordering::Greater),
            Self::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
        }
    }
}

impl Number {
    /// The number that a text spells as JSON does.
    fn spelt(text: &str) -> Option<Self> {
        let (digits, fraction) = split_number(text)?;
        let is_canonical = digits == "0" || (is_digits(digits) && !digits.starts_with('0'));
        if !is_canonical {
            return None;
        }
        if fraction.is_empty()
            && let Ok(integer) = text.parse()
        {
            return Some(Self::Integer(integer));
        }
        let is_fraction = {
            let (point, exponent) = fraction.split_once(['e', 'E']).unwrap_or((fraction, "0"));
            let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            let point = point.strip_prefix('.').unwrap_or(if point.is_empty() { "0" } else { "" });
            is_digits(point) && is_digits(exponent)
        };
        let double =
            is_fraction.then(|| text.parse().ok()).flatten().filter(|d: &f64| d.is_finite());
        double.map(Self::Double)
    }

    /// The rules of Java's binary numeric promotion (JLS 5.6), of which all exact types are one here.
    const fn promote(self, other: Self) -> Promoted {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => Promoted::Integers(a, b),
            (Self::Double(_), _) | (_, Self::Double(_)) => {
                Promoted::Doubles(self.as_double(), other.as_double())
            }
            (Self::Float(_), _) | (_, Self::Float(_)) => {
                Promoted::Floats(self.as_float(), other.as_float())
            }
        }
    }

    const fn as_double(self) -> f64 {
        match self {
            Self::Integer(value) => value as f64,
            Self::Float(value) => value as f64,
            Self::Double(value) => value,
        }
    }

    /// Of a number that is no double.
    #[expect(clippy::cast_possible_truncation, reason = "a double is never narrowed by promotion")]
    const fn as_float(self) -> f32 {
        match self {
            Self::Integer(value) => value as f32,
            Self::Float(value) => value,
            Self::Double(value) => value as f32,
        }
    }

    fn order(self, other: Self) -> Option<Ordering> {
        match self.promote(other) {
            Promoted::Integers(a, b) => Some(a.cmp(&b)),
            Promoted::Floats(a, b) => a.partial_cmp(&b),
            Promoted::Doubles(a, b) => a.partial_cmp(&b),
        }
    }

    /// `None`: an integer that has more than 64 bits, or is divided by zero.
    pub(crate) fn apply(self, operation: Arithmetic, other: Self) -> Option<Self> {
        match self.promote(other) {
            Promoted::Integers(a, b) => match operation {
                Arithmetic::Add => a.checked_add(b),
                Arithmetic::Subtract => a.checked_sub(b),
                Arithmetic::Multiply => a.checked_mul(b),
                Arithmetic::Divide => a.checked_div(b),
            }
            .map(Self::Integer),
            Promoted::Floats(a, b) => Some(Self::Float(match operation {
                Arithmetic::Add => a + b,
                Arithmetic::Subtract => a - b,
                Arithmetic::Multiply => a * b,
                Arithmetic::Divide => a / b,
            })),
            Promoted::Doubles(a, b) => Some(Self::Double(match operation {
                Arithmetic::Add => a + b,
                Arithmetic::Subtract => a - b,
                Arithmetic::Multiply => a * b,
                Arithmetic::Divide => a / b,
            })),
        }
    }

    /// `None`: the smallest integer has no positive counterpart.
    pub(crate) fn negated(self) -> Option<Self> {
        match self {
            Self::Integer(value) => value.checked_neg().map(Self::Integer),
            Self::Float(value) => Some(Self::Float(-value)),
            Self::Double(value) => Some(Self::Double(-value)),
        }
    }
}

/// The digits before a point or an exponent, without a sign, and the rest.
fn split_number(text: &str) -> Option<(&str, &str)> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit()).unwrap_or(unsigned.len());
    unsigned.split_at_checked(end)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spelt_as_json_spells_them() {
        use Number::{Double, Integer};
        let spelt = [
            ("0", Integer(0)),
            ("-0", Integer(0)),
            ("7", Integer(7)),
            ("-120", Integer(-120)),
            ("9223372036854775807", Integer(i64::MAX)),
            ("-9223372036854775808", Integer(i64::MIN)),
            ("9223372036854775808", Double(9_223_372_036_854_775_808.0)),
            ("0.5", Double(0.5)),
            ("-0.50", Double(-0.5)),
            ("1e3", Double(1000.0)),
            ("1.5E+2", Double(150.0)),
            ("12e-1", Double(1.2)),
        ];
        for (text, number) in spelt {
            assert_eq!(Number::spelt(text), Some(number), "{text}");
        }
        let others = [
            "", "-", "+1", "--1", "01", "00", "1.", ".5", "1.e1", "1e", "1e+", "e1", "1e1e1", " 1",
            "1 ", "1_0", "0x1", "1f", "1L", "NaN", "inf", "-inf", "infinity", "1.5.1", "1e999",
            "\u{661}", "-.5", "1-1", "1.-1",
        ];
        for text in others {
            assert_eq!(Number::spelt(text), None, "{text:?}");
        }
    }
}
