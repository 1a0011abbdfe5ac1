//! The text of a selector, whatever it is, is refused with a place in it, or has a value for each
//! message, which NOT inverts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use selector::{Fault, Fields, HeaderField, Selector, Strings, Value};

struct Message(usize);

impl Fields for Message {
    fn header(&self, field: HeaderField) -> Value<'_> {
        self.property(if field == HeaderField::Priority { "a" } else { "bc" })
    }

    fn property(&self, name: &str) -> Value<'_> {
        const VALUES: [Value<'_>; 12] = [
            Value::Null,
            Value::Bool(true),
            Value::Integer(2),
            Value::Integer(i64::MIN),
            Value::Float(0.1),
            Value::Double(f64::NAN),
            Value::String(""),
            Value::String("2"),
            Value::String("true"),
            Value::String("a_%!\u{e9}it's"),
            Value::String("-1.5e3"),
            Value::Other,
        ];
        VALUES[name.bytes().fold(self.0, |sum, byte| sum + usize::from(byte)) % VALUES.len()]
    }
}

fuzz_target!(|text: &str| {
    for strings in [Strings::Strict, Strings::Coerced] {
        let selector = match Selector::parse(text, strings) {
            Ok(selector) => selector,
            Err(error) => {
                assert!((1..=text.chars().count() + 1).contains(&error.column), "{error}");
                continue;
            }
        };
        assert_eq!(selector.text(), text);
        let not = match Selector::parse(&format!("NOT ({text})"), strings) {
            Ok(not) => not,
            Err(error) => {
                let bounds = [Fault::TooDeep, Fault::TooLarge, Fault::TooLong];
                assert!(bounds.contains(&error.fault), "{error}");
                continue;
            }
        };
        for message in (0..12).map(Message) {
            let value = selector.evaluate(&message);
            assert_eq!(not.evaluate(&message), value.map(|value| !value));
        }
    }
});
