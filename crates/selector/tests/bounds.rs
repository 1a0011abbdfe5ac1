//! What a selector may have, and that the bounds suffice for the stack.

use selector::{Fault, Fields, HeaderField, Selector, Strings, Value};

struct Nothing;

impl Fields for Nothing {
    fn header(&self, _: HeaderField) -> Value<'_> {
        Value::Null
    }

    fn property(&self, _: &str) -> Value<'_> {
        Value::Null
    }
}

fn parse(text: &str) -> Result<Selector, Fault> {
    Selector::parse(text, Strings::Strict).map_err(|error| error.fault)
}

#[test]
fn nesting_is_bounded() {
    for (before, within, after) in [
        ("(", "a = 1", ")"),
        ("NOT ", "a = 1", ""),
        ("(TRUE AND ", "a", ")"),
        ("0 < -", "a", ""),
        ("a = 1 + (2 * ", "a", ")"),
    ] {
        // What is before the first level and the rest of it.
        let (once, level) = before.split_at(before.find(['(', 'N', '-']).unwrap());
        let nested =
            |depth: usize| format!("{once}{}{within}{}", level.repeat(depth), after.repeat(depth));
        let value = parse(&nested(Selector::DEPTH_MAX)).map(|selector| selector.evaluate(&Nothing));
        assert_eq!(value, Ok(None), "{before}");
        for deeper in [Selector::DEPTH_MAX + 1, 500] {
            assert_eq!(parse(&nested(deeper)).map(|_| ()), Err(Fault::TooDeep), "{before}");
        }
    }
}

#[test]
fn length_and_nodes_are_bounded() {
    let longest = format!("a = '{}'", "x".repeat(Selector::TEXT_BYTES_MAX - 6));
    assert!(parse(&longest).is_ok());
    assert_eq!(parse(&format!("{longest} ")).map(|_| ()), Err(Fault::TooLong));
    let split = "\u{20ac}".repeat(Selector::TEXT_BYTES_MAX);
    assert_eq!(parse(&split).map(|_| ()), Err(Fault::TooLong));
    for (first, more) in [("a", " OR a"), ("a", " AND a"), ("a = 1", " + 1"), ("a = 1", "*1")] {
        let text = |nodes: usize| format!("{first}{}", more.repeat(nodes / 2));
        let most = parse(&text(Selector::NODES_MAX - 3)).unwrap();
        assert!(most.cost() <= Selector::NODES_MAX && most.cost() > Selector::NODES_MAX - 4);
        assert_eq!(most.evaluate(&Nothing), None);
        assert_eq!(
            parse(&text(Selector::NODES_MAX + 2)).map(|_| ()),
            Err(Fault::TooLarge),
            "{more}"
        );
    }
    let strings = format!("a IN ('{}')", ["x"; 2000].join("','"));
    assert!(parse(&strings).is_ok(), "the strings of an IN are one node");
}
