//! The text form of destinations and patterns.

use contract::{Destination, DestinationError, DestinationKind, Level, Pattern};
use testkit::Random;

#[test]
fn escapes_write_what_would_mean_something_else() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("no escape", "/topic/a.b", &["a", "b"]),
        ("a wildcard's character in a level", "/topic/x*3E10", &["x>10"]),
        ("all of them", "/queue/*2A*3E*23", &["*>#"]),
        ("a level that is one", "/topic/a.*2A.*3E", &["a", "*", ">"]),
        ("a dot in a level", "/topic/a*2Eb.c", &["a.b", "c"]),
        ("a level that is a dot", "/queue/*2E", &["."]),
        ("an empty level", "/topic/a.*0.b", &["a", "", "b"]),
        ("empty levels alone", "/topic/*0.*0", &["", ""]),
        ("an escaped escape", "/queue/*2A0.*2A2E", &["*0", "*2E"]),
        (
            "others' escapes are none",
            r"/queue/%2E.a%.\2E.\.&gt;",
            &["%2E", "a%", r"\2E", r"\", "&gt;"],
        ),
        ("slashes are no levels", "/queue/a/b//c/", &["a/b//c/"]),
    ];
    for (rule, text, levels) in cases {
        let destination = Destination::parse(text).expect(rule);
        assert_eq!(destination.levels().collect::<Vec<_>>(), *levels, "{rule}");
        assert_eq!(destination.to_string(), *text, "{rule}");
        assert_eq!(Destination::new(destination.kind(), levels.iter().copied()), Ok(destination));
    }
}

#[test]
fn each_destination_has_one_text() {
    use DestinationError::{Control, Empty, TooLong, Wildcard};
    let cases: &[(&str, &str, DestinationError)] = &[
        ("codes have capitals", "/queue/x*3e10", Wildcard),
        ("only what needs it is escaped", "/queue/*61", Wildcard),
        ("nor is a control character written so", "/queue/*07", Wildcard),
        ("half an escape", "/queue/a*2", Wildcard),
        ("an empty level is a whole one", "/queue/a*0", Wildcard),
        ("and has nothing behind it", "/queue/*0a", Wildcard),
        ("a name is not empty", "/queue/*0", Empty),
        ("a control character", "/queue/a\u{85}", Control),
    ];
    for (rule, text, error) in cases {
        assert_eq!(Destination::parse(text), Err(*error), "{rule}");
        assert_eq!(Pattern::parse(text), Err(*error), "{rule}");
    }
    let kind = DestinationKind::Queue;
    assert_eq!(Destination::new(kind, []), Err(Empty));
    assert_eq!(Destination::new(kind, [""]), Err(Empty));
    assert_eq!(Destination::new(kind, ["a\0b"]), Err(Control), "what separates levels");
    let long = "a".repeat(1023);
    assert_eq!(Destination::new(kind, [&*long, ""]).expect("1,024 bytes").levels().count(), 2);
    assert_eq!(Destination::new(kind, [&*long, "b"]), Err(TooLong));
    let escaped = format!("/queue/{}", "*2E".repeat(1024));
    assert_eq!(Destination::parse(&escaped).expect("1,024 dots").to_string(), escaped);
}

#[test]
fn any_levels_are_read_back_from_their_text() {
    let mut random = Random::new(8);
    for run in 0..20_000 {
        let kind = random.pick(&KINDS);
        let levels: Vec<String> =
            (0..=random.below(4)).map(|_| words(&mut random, &["", "*", ">", "#", "."])).collect();
        let levels: Vec<&str> = levels.iter().map(String::as_str).collect();
        let shown = format!("run {run}: {levels:?}");
        let Ok(destination) = Destination::new(kind, levels.iter().copied()) else {
            assert_eq!(levels, [""], "{shown}");
            continue;
        };
        let text = destination.to_string();
        assert!(destination.is_written(&text), "{shown}");
        assert!(!destination.is_written(&format!("{text}a")), "{shown}");
        assert!(!destination.is_written(destination.kind().prefix()), "{shown}");
        assert_eq!(Destination::parse(&text), Ok(destination.clone()), "{shown}");
        let pattern = Pattern::parse(&text).expect(&shown);
        assert_eq!(pattern.destination(), Some(&destination), "{shown}: no wildcard");
        let words: Vec<Level<'_>> = levels.iter().map(|level| Level::Word(level)).collect();
        assert_eq!(pattern.levels().collect::<Vec<_>>(), words, "{shown}");
    }
}

#[test]
fn a_text_without_escapes_means_what_it_says() {
    let mut random = Random::new(9);
    let mut plain = 0;
    for run in 0..20_000 {
        let name = words(&mut random, &[".", ".", "*", ">", "#"]);
        let text = format!("{}{name}", random.pick(&KINDS).prefix());
        let shown = format!("run {run}: {text:?}");
        let destination = Destination::parse(&text);
        let is_plain =
            !name.contains(['*', '>', '#']) && name.split('.').all(|level| !level.is_empty());
        if is_plain {
            plain += 1;
            let destination = destination.as_ref().expect(&shown);
            assert!(destination.levels().eq(name.split('.')), "{shown}");
        }
        for written in [
            destination.map(|destination| destination.to_string()),
            Pattern::parse(&text).map(|pattern| pattern.to_string()),
            Pattern::parse_scope(&text).map(|pattern| pattern.to_string()),
        ] {
            assert!(written.is_err() || written == Ok(text.clone()), "{shown}: {written:?}");
        }
    }
    assert!(plain > 1_000, "{plain} names without escapes");
}

#[test]
fn wildcards_stand_for_levels_whatever_is_in_them() {
    let cases: &[(&str, &[&str], bool)] = &[
        ("/topic/a.*", &["a", "b.c"], true),
        ("/topic/a.*", &["a", ""], true),
        ("/topic/a.*", &["a"], false),
        ("/topic/*.*", &["", ""], true),
        ("/topic/a.>", &["a", ""], true),
        ("/topic/*2A", &["*"], true),
        ("/topic/*2A", &["b"], false),
        ("/topic/*.*2A", &["a", "*"], true),
        ("/topic/*.*2A", &["a", "b"], false),
        ("/topic/*0.*", &["", "a"], true),
        ("/topic/*0.*", &["b", "a"], false),
    ];
    for (pattern, levels, expected) in cases {
        let destination = Destination::new(DestinationKind::Topic, levels.iter().copied());
        let destination = destination.expect("levels");
        let pattern = Pattern::parse(pattern).expect("a pattern");
        assert_eq!(pattern.matches(&destination), *expected, "{pattern} and {destination}");
        assert_eq!(pattern.overlaps(&destination.clone().into()), *expected);
        assert_eq!(pattern.covers(&destination.into()), *expected);
    }
}

#[test]
fn names_sort_level_by_level() {
    let mut texts = ["/queue/a.c", "/queue/a!", "/queue/a.*0", "/queue/b", "/queue/a", "/topic/a"];
    texts.sort_by_key(|text| Destination::parse(text).expect("a destination"));
    let expected = ["/topic/a", "/queue/a", "/queue/a.*0", "/queue/a.c", "/queue/a!", "/queue/b"];
    assert_eq!(texts, expected);
}

/// Some of these and of what looks like parts of escapes.
fn words(random: &mut Random, special: &[&str]) -> String {
    let parts = ["a", "0", "2E", "*2A", "*0", "3", "/", "%", "\\", "é"];
    let count = random.below(5);
    (0..count)
        .map(|_| if random.once_in(2) { random.pick(special) } else { random.pick(&parts) })
        .collect()
}

const KINDS: [DestinationKind; 4] = [
    DestinationKind::Topic,
    DestinationKind::Queue,
    DestinationKind::TempTopic,
    DestinationKind::TempQueue,
];
