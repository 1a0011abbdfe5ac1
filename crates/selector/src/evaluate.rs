use crate::{
    Strings,
    expression::{Between, Expression, HeaderField},
    value::{Comparison, Operand, Value},
};

/// The header and the properties of a message.
pub trait Fields {
    /// The value of a header.
    fn header(&self, field: HeaderField) -> Value<'_>;

    /// The value of the property with this name.
    fn property(&self, name: &str) -> Value<'_>;
}

/// An expression's values for one message.
pub(crate) struct Evaluation<'f, F> {
    pub(crate) fields: &'f F,
    pub(crate) strings: Strings,
}

impl<'f, F: Fields> Evaluation<'f, F> {
    /// The value of a condition, by the tables of 3.8.1.2; `None`: unknown.
    pub(crate) fn test(&self, expression: &'f Expression) -> Option<bool> {
        match expression {
            Expression::Not(operand) => self.test(operand).map(|value| !value),
            Expression::All(operands) => self.join(operands, true),
            Expression::Any(operands) => self.join(operands, false),
            Expression::Compare(comparison, operands) => {
                let [left, right] = &**operands;
                self.operand(left).compare(*comparison, self.operand(right))
            }
            Expression::Between(between, operands) => {
                let [value, low, high] = &**operands;
                let value = self.operand(value);
                let (above, below, joined) = match between {
                    Between::Within => (Comparison::GreaterOrEqual, Comparison::LessOrEqual, true),
                    Between::Outside => (Comparison::Less, Comparison::Greater, false),
                };
                let above = value.compare(above, self.operand(low));
                let below = value.compare(below, self.operand(high));
                join([above, below], joined)
            }
            Expression::In(identifier, strings) => self
                .operand(identifier)
                .test(|text| strings.binary_search_by(|string| (**string).cmp(text)).is_ok()),
            Expression::Like(identifier, like) => {
                self.operand(identifier).test(|text| like.matches(text))
            }
            Expression::IsNull(identifier) => Some(self.operand(identifier).is_null()),
            Expression::Bool(_)
            | Expression::Number(_)
            | Expression::String(_)
            | Expression::Header(_)
            | Expression::Property(_)
            | Expression::Negative(_)
            | Expression::Positive(_)
            | Expression::Arithmetic(..) => self.operand(expression).truth(),
        }
    }

    fn join(&self, operands: &'f [Expression], neutral: bool) -> Option<bool> {
        join(operands.iter().map(|operand| self.test(operand)), neutral)
    }

    fn operand(&self, expression: &'f Expression) -> Operand<'f> {
        match expression {
            Expression::Bool(value) => Operand::Bool(*value),
            Expression::Number(number) => Operand::Number(*number),
            Expression::String(text) => Operand::String(text),
            Expression::Header(field) => self.field(self.fields.header(*field)),
            Expression::Property(name) => self.field(self.fields.property(name)),
            Expression::Negative(operand) => {
                self.operand(operand).number().and_then(|number| number.negated()).into()
            }
            Expression::Positive(operand) => self.operand(operand).number().into(),
            Expression::Arithmetic(first, rest) => {
                let first = self.operand(first).number();
                let value = rest.iter().fold(first, |value, (operation, operand)| {
                    value?.apply(*operation, self.operand(operand).number()?)
                });
                value.into()
            }
            Expression::Not(_)
            | Expression::All(_)
            | Expression::Any(_)
            | Expression::Compare(..)
            | Expression::Between(..)
            | Expression::In(..)
            | Expression::Like(..)
            | Expression::IsNull(_) => self.test(expression).into(),
        }
    }

    fn field(&self, value: Value<'f>) -> Operand<'f> {
        match (value, self.strings) {
            (Value::String(text), Strings::Coerced) => Operand::Coerced(text),
            (value, _) => value.into(),
        }
    }
}

/// AND of all, where true is neutral, or OR, where false is: the other decides, else unknown.
fn join(operands: impl IntoIterator<Item = Option<bool>>, neutral: bool) -> Option<bool> {
    let mut joined = Some(neutral);
    for operand in operands {
        match operand {
            Some(value) if value != neutral => return operand,
            Some(_) => {}
            None => joined = None,
        }
    }
    joined
}
