//! Random conditions, written in random ways, against what a model says of them; and random texts.

use selector::{Fields, HeaderField, Selector, Strings, Value};
use testkit::Random;

/// A condition. The names are those of [`Message`].
#[derive(Debug)]
enum Condition {
    Bool(Option<bool>),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Compare(Number, &'static str, Number),
    Between(Number, bool, Number, Number),
    IsNull(&'static str, bool),
    In(&'static str, bool, Vec<&'static str>),
}

#[derive(Debug)]
enum Number {
    Literal(i64),
    Name(&'static str),
    Negative(Box<Self>),
    Apply(Box<Self>, char, Box<Self>),
}

struct Message;

impl Fields for Message {
    fn header(&self, _: HeaderField) -> Value<'_> {
        Value::Integer(4)
    }

    fn property(&self, name: &str) -> Value<'_> {
        match name {
            "t" => Value::Bool(true),
            "f" => Value::Bool(false),
            "s" => Value::String("x"),
            _ => number_named(name).map_or(Value::Null, Value::Integer),
        }
    }
}

fn number_named(name: &str) -> Option<i64> {
    match name {
        "one" => Some(1),
        "many" => Some(i64::MAX - 2),
        "few" => Some(i64::MIN + 1),
        "JMSPriority" => Some(4),
        _ => None,
    }
}

impl Condition {
    fn random(depth: usize, random: &mut Random) -> Self {
        let deeper = |random: &mut Random| Box::new(Self::random(depth - 1, random));
        let number = |random: &mut Random| Number::random(depth.min(3), random);
        match random.below(if depth == 0 { 4 } else { 9 }) {
            0 => Self::Bool(random.pick(&[Some(true), Some(false), None])),
            1 => Self::IsNull(random.pick(&["s", "t", "none"]), random.once_in(2)),
            2 => {
                let count = random.below(4) + 1;
                let strings = (0..count).map(|_| random.pick(&["x", "y", "it's"])).collect();
                Self::In(random.pick(&["s", "one", "none"]), random.once_in(2), strings)
            }
            3 | 4 => {
                let comparison = random.pick(&["=", "<>", "<", "<=", ">", ">="]);
                Self::Compare(number(random), comparison, number(random))
            }
            5 => Self::Between(number(random), random.once_in(2), number(random), number(random)),
            6 => Self::Not(deeper(random)),
            7 => Self::And(deeper(random), deeper(random)),
            _ => Self::Or(deeper(random), deeper(random)),
        }
    }

    /// By the tables and the equivalences of 3.8.1.
    fn value(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => *value,
            Self::Not(operand) => operand.value().map(|value| !value),
            Self::And(a, b) => match (a.value(), b.value()) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Self::Or(a, b) => match (a.value(), b.value()) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Self::Compare(a, comparison, b) => {
                let (a, b) = (a.value()?, b.value()?);
                Some(match *comparison {
                    "=" => a == b,
                    "<>" => a != b,
                    "<" => a < b,
                    "<=" => a <= b,
                    ">" => a > b,
                    _ => a >= b,
                })
            }
            Self::Between(value, not, low, high) => {
                let (value, low, high) = (value.value()?, low.value(), high.value());
                let (above, below) = (low.map(|low| value >= low), high.map(|high| value <= high));
                let within = Self::And(Self::Bool(above).into(), Self::Bool(below).into()).value();
                within.map(|within| within != *not)
            }
            Self::IsNull(name, not) => Some((*name == "none") != *not),
            Self::In(name, not, strings) => match *name {
                "none" => None,
                name => Some((name == "s" && strings.contains(&"x")) != *not),
            },
        }
    }

    /// With parentheses where they must be, and sometimes elsewhere. `level`: 0 where OR may stand, 1
    /// where AND may, 2 where NOT may.
    fn write(&self, level: usize, to: &mut Writer<'_>) {
        let own = match self {
            Self::Or(..) => 0,
            Self::And(..) => 1,
            Self::Bool(_)
            | Self::Not(_)
            | Self::Compare(..)
            | Self::Between(..)
            | Self::IsNull(..)
            | Self::In(..) => 2,
        };
        let is_enclosed = own < level || to.random.once_in(6);
        if is_enclosed {
            to.push("(");
        }
        match self {
            Self::Bool(Some(true)) => to.push_any(&["TRUE", "t", "t", "true"]),
            Self::Bool(Some(false)) => to.push_any(&["FALSE", "f", "s", "one", "False"]),
            Self::Bool(None) => to.push_any(&["none", "nothing"]),
            Self::Not(operand) => {
                to.keyword("NOT");
                operand.write(2, to);
            }
            Self::And(a, b) | Self::Or(a, b) => {
                // Both join from the left, and it does not matter.
                a.write(own, to);
                to.keyword(if own == 0 { "OR" } else { "AND" });
                b.write(own, to);
            }
            Self::Compare(a, comparison, b) => {
                a.write(0, to);
                to.push(comparison);
                b.write(0, to);
            }
            Self::Between(value, not, low, high) => {
                value.write(0, to);
                to.not(*not);
                to.keyword("BETWEEN");
                low.write(0, to);
                to.keyword("AND");
                high.write(0, to);
            }
            Self::IsNull(name, not) => {
                to.push(name);
                to.keyword("IS");
                to.not(*not);
                to.keyword("NULL");
            }
            Self::In(name, not, strings) => {
                to.push(name);
                to.not(*not);
                to.keyword("IN");
                let strings: Vec<_> = strings.iter().map(|s| s.replace('\'', "''")).collect();
                to.push(&format!("('{}')", strings.join("' , '")));
            }
        }
        if is_enclosed {
            to.push(")");
        }
    }
}

impl Number {
    fn random(depth: usize, random: &mut Random) -> Self {
        let deeper = |random: &mut Random| Box::new(Self::random(depth - 1, random));
        match random.below(if depth == 0 { 2 } else { 5 }) {
            0 => Self::Literal(random.pick(&[0, 1, 2, 3, 7, i64::MAX, i64::MIN, -1])),
            1 => Self::Name(random.pick(&["one", "one", "many", "few", "none", "JMSPriority"])),
            2 => Self::Negative(deeper(random)),
            _ => Self::Apply(deeper(random), random.pick(&['+', '-', '*', '/']), deeper(random)),
        }
    }

    /// In more bits than there are; `None`: null.
    fn value(&self) -> Option<i128> {
        let value = match self {
            Self::Literal(value) => Some(i128::from(*value)),
            Self::Name(name) => number_named(name).map(i128::from),
            Self::Negative(operand) => operand.value().map(|value| -value),
            Self::Apply(a, operation, b) => {
                let (a, b) = (a.value()?, b.value()?);
                match operation {
                    '+' => Some(a + b),
                    '-' => Some(a - b),
                    '*' => Some(a * b),
                    _ => a.checked_div(b),
                }
            }
        };
        value.filter(|value| i64::try_from(*value).is_ok())
    }

    /// `level`: 0 where a sum may stand, 1 where a product may, 2 where a sign may.
    fn write(&self, level: usize, to: &mut Writer<'_>) {
        let own = match self {
            Self::Apply(_, '+' | '-', _) => 0,
            Self::Apply(..) => 1,
            Self::Literal(_) | Self::Name(_) | Self::Negative(_) => 2,
        };
        let is_enclosed = own < level || to.random.once_in(8);
        if is_enclosed {
            to.push("(");
        }
        match self {
            Self::Literal(value) if *value > 7 && to.random.once_in(2) => {
                to.push(&format!("{value:#x}"));
            }
            Self::Literal(value) => to.push(&value.to_string()),
            Self::Name(name) => to.push(name),
            Self::Negative(operand) => {
                to.push("-");
                // Or the sign would become the literal's.
                let is_literal = matches!(**operand, Self::Literal(_));
                operand.write(if is_literal { 3 } else { 2 }, to);
            }
            Self::Apply(a, operation, b) => {
                a.write(own, to);
                to.push(&operation.to_string());
                b.write(own + 1, to);
            }
        }
        if is_enclosed {
            to.push(")");
        }
    }
}

struct Writer<'r> {
    text: String,
    random: &'r mut Random,
}

impl Writer<'_> {
    fn push(&mut self, token: &str) {
        let blank = self.random.pick(&[" ", " ", "  ", "\t", "\n"]);
        self.text += token;
        self.text += blank;
    }

    fn push_any(&mut self, tokens: &[&str]) {
        let token = self.random.pick(tokens);
        self.push(token);
    }

    fn keyword(&mut self, keyword: &str) {
        if self.random.once_in(4) { self.push(&keyword.to_lowercase()) } else { self.push(keyword) }
    }

    fn not(&mut self, is_not: bool) {
        if is_not {
            self.keyword("NOT");
        }
    }
}

#[test]
fn conditions_have_the_values_of_the_model() {
    let (mut values, runs) = ([0; 3], 20_000);
    for seed in 0..runs {
        let mut random = Random::new(seed);
        let depth = random.below(5);
        let condition = Condition::random(depth, &mut random);
        let mut writer = Writer { text: String::new(), random: &mut random };
        condition.write(0, &mut writer);
        let text = writer.text;
        let selector = Selector::parse(&text, Strings::Strict)
            .unwrap_or_else(|error| panic!("seed {seed}: {text}\n{error}"));
        let value = selector.evaluate(&Message);
        assert_eq!(value, condition.value(), "seed {seed}: {text}\n{condition:?}");
        values[value.map_or(2, usize::from)] += 1;
    }
    assert!(values.iter().all(|count| *count > runs / 10), "{values:?}");
}

/// NOT of what is unlike is true, and unknown of what is null: the model has no place for it.
#[test]
fn the_laws_of_three_values_hold_for_any_condition() {
    let laws: [(&str, &str); 6] = [
        ("NOT (NOT (A))", "A"),
        ("NOT (A AND B)", "NOT (A) OR NOT (B)"),
        ("NOT (A OR B)", "NOT (A) AND NOT (B)"),
        ("A AND B", "B AND A"),
        ("A OR (B AND A)", "A"),
        ("A AND (B OR A)", "A"),
    ];
    let terms = [
        "t",
        "f",
        "s",
        "none",
        "one",
        "NOT one",
        "s = 1",
        "none = 1",
        "s LIKE 'x'",
        "one LIKE '1'",
        "one NOT IN ('1')",
        "s BETWEEN 1 AND 2",
        "one / 0 = 1",
        "s IS NULL",
        "1.5 > one",
    ];
    for (left, right) in laws {
        for a in terms {
            for b in terms {
                let value = |law: &str| {
                    let text = law.replace('A', "\0").replace('B', b);
                    let text = text.replace("\0ND", "AND").replace('\0', &format!("({a})"));
                    Selector::parse(&text, Strings::Strict).unwrap().evaluate(&Message)
                };
                assert_eq!(value(left), value(right), "{left} and {right} of {a}, {b}");
            }
        }
    }
}

#[test]
fn no_text_panics() {
    let parts = [
        "a",
        "t",
        "none",
        "=",
        "<>",
        "<",
        "'x'",
        "'",
        "(",
        ")",
        "AND",
        "OR",
        "NOT",
        "IN",
        "LIKE",
        "'%a_'",
        "ESCAPE",
        "'!'",
        "IS",
        "NULL",
        "BETWEEN",
        "1",
        "-",
        "+",
        "*",
        "/",
        "0x",
        "1e9",
        ".",
        "_",
        "'\u{e9}",
        "\u{e9}",
        "\0",
        ",",
        "9223372036854775808",
        "TRUE",
        "JMSType",
        "JMSX",
        "JMS",
    ];
    let mut parsed = 0;
    for seed in 0..200_000 {
        let mut random = Random::new(seed);
        let blank = random.pick(&["", " "]);
        let parts: Vec<_> = (0..random.below(9)).map(|_| random.pick(&parts)).collect();
        let text = parts.join(blank);
        for strings in [Strings::Strict, Strings::Coerced] {
            match Selector::parse(&text, strings) {
                Ok(selector) => {
                    parsed += 1;
                    let _ = selector.evaluate(&Message);
                }
                Err(error) => assert!(error.column <= text.chars().count() + 1, "{text}: {error}"),
            }
        }
    }
    assert!(parsed > 2000, "{parsed} were selectors");
}
