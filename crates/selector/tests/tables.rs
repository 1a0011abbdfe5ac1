//! What selectors say of a message, and which texts are none: `expressions.txt`, `coerced.txt` and
//! `refused.txt`.

use selector::{Fields, HeaderField, Selector, Strings, Value};

struct Message<'a>(&'a [(&'a str, Value<'a>)]);

impl Fields for Message<'_> {
    fn header(&self, field: HeaderField) -> Value<'_> {
        match field {
            HeaderField::DeliveryMode => Value::String("PERSISTENT"),
            HeaderField::Priority => Value::Integer(4),
            HeaderField::MessageId => Value::String("ID:1"),
            HeaderField::Timestamp => Value::Integer(1_700_000_000_000),
            HeaderField::CorrelationId => Value::Null,
            HeaderField::Type => Value::String("car"),
        }
    }

    fn property(&self, name: &str) -> Value<'_> {
        self.0.iter().find(|(other, _)| *other == name).map_or(Value::Null, |(_, value)| *value)
    }
}

const TYPED: Message<'_> = Message(&[
    ("age", Value::Integer(17)),
    ("big", Value::Integer(i64::MAX)),
    ("low", Value::Integer(i64::MIN)),
    ("weight", Value::Double(2500.5)),
    ("nan", Value::Double(f64::NAN)),
    ("ratio", Value::Float(0.1)),
    ("single", Value::Float(16_777_216.0)),
    ("yes", Value::Bool(true)),
    ("no", Value::Bool(false)),
    ("raw", Value::Other),
    ("color", Value::String("blue")),
    ("country", Value::String("UK")),
    ("name", Value::String("lose")),
    ("loose", Value::String("loose")),
    ("phone", Value::String("12993")),
    ("short", Value::String("123")),
    ("wrong", Value::String("1234")),
    ("underscored", Value::String("_foo")),
    ("bar", Value::String("bar")),
    ("percent", Value::String("100%")),
    ("bang", Value::String("a!b")),
    ("quoted", Value::String("it's")),
    ("empty", Value::String("")),
    ("two", Value::String("2")),
    ("umlaut", Value::String("Gr\u{f6}\u{df}e \u{20ac}")),
    ("face", Value::String("\u{1f600}")),
    ("$price", Value::Integer(5)),
    ("_x", Value::Integer(1)),
    ("gr\u{f6}\u{df}e", Value::Integer(42)),
    ("\u{65e5}\u{672c}", Value::String("jp")),
    ("a1", Value::String("digit")),
    ("\u{20ac}uro$_9", Value::Integer(9)),
    ("e\u{30b}", Value::String("combining")),
    ("order", Value::Integer(1)),
    ("likely", Value::Integer(2)),
    ("note", Value::Integer(3)),
    ("inner", Value::Integer(4)),
    ("island", Value::Integer(5)),
    ("JMSXGroupID", Value::String("g")),
    ("JMS_vendor", Value::Integer(7)),
    // Not to be found: they are headers.
    ("JMSPriority", Value::Integer(9)),
    ("JMSType", Value::String("forged")),
]);

const TEXT: Message<'_> = Message(&[
    ("n", Value::String("2")),
    ("m", Value::String("10")),
    ("copy", Value::String("2")),
    ("two", Value::String("2.0")),
    ("price", Value::String("19.90")),
    ("large", Value::String("9223372036854775807")),
    ("exponent", Value::String("1.5e3")),
    ("infinite", Value::String("1e999")),
    ("padded", Value::String("007")),
    ("blank", Value::String("")),
    ("word", Value::String("word")),
    ("yes", Value::String("true")),
    ("no", Value::String("false")),
    ("shouted", Value::String("TRUE")),
]);

fn check(table: &str, message: &Message<'_>, strings: Strings, rows_min: usize) {
    let rows = table.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut wrong = Vec::new();
    let mut count = 0;
    for row in rows {
        count += 1;
        let (expected, expression) = row.split_once(' ').expect("a value and an expression");
        let value = match Selector::parse(expression, strings) {
            Err(error) => error.to_string(),
            Ok(selector) => {
                let value = selector.evaluate(message);
                assert_eq!(selector.matches(message), value == Some(true));
                value.map_or_else(|| "unknown".to_owned(), |value| value.to_string())
            }
        };
        if value != expected {
            wrong.push(format!("{row}\n    is {value}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= rows_min, "{count} rows");
}

#[test]
fn expressions_have_their_values() {
    check(include_str!("expressions.txt"), &TYPED, Strings::Strict, 300);
}

#[test]
fn strings_spell_numbers_and_booleans_where_they_are_coerced() {
    check(include_str!("coerced.txt"), &TEXT, Strings::Coerced, 35);
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let table = include_str!("refused.txt");
    let mut rows = table.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut wrong = String::new();
    let mut count = 0;
    while let Some(text) = rows.next() {
        count += 1;
        let (column, fault) = rows.next().unwrap().split_once("^ ").unwrap();
        let expected = format!("column {}: {fault}", column.len() + 1);
        let error = Selector::parse(text, Strings::Strict)
            .map_or_else(|e| e.to_string(), |_| "fine".into());
        if error != expected {
            wrong += &format!("{text}\n    {error}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count >= 90, "{count} texts");
}

#[test]
fn blanks_are_those_of_java() {
    for blank in [" ", "\t", "\x0c", "\n", "\r", "\r\n"] {
        let text = ["", "age", "=", "17", ""].join(blank);
        let selector = Selector::parse(&text, Strings::Strict).unwrap();
        assert!(selector.matches(&TYPED));
        assert_eq!(selector.text(), text);
    }
    for other in ["\x0b", "\u{a0}", "\u{2003}", "\0", "\u{feff}"] {
        assert!(Selector::parse(&format!("age{other}= 17"), Strings::Strict).is_err(), "{other:?}");
    }
    for empty in ["", " \t"] {
        assert!(Selector::parse(empty, Strings::Strict).is_err(), "{empty:?}");
    }
}
