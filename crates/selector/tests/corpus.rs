//! Replays what is in `corpus/`, which the fuzzer starts from.

use std::{fs, path::Path};

use selector::{Fields, HeaderField, Selector, Strings, Value};

struct Message(&'static str);

impl Fields for Message {
    fn header(&self, _: HeaderField) -> Value<'_> {
        Value::String(self.0)
    }

    fn property(&self, _: &str) -> Value<'_> {
        Value::String(self.0)
    }
}

#[test]
fn the_corpus_is_read_and_evaluated() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let mut parsed = 0;
    for file in &files {
        let text = String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned();
        for strings in [Strings::Strict, Strings::Coerced] {
            let Ok(selector) = Selector::parse(&text, strings) else { continue };
            parsed += 1;
            let not = Selector::parse(&format!("NOT ({text})"), strings).unwrap();
            for message in ["", "2", "true", "it's"].map(Message) {
                let value = selector.evaluate(&message);
                assert_eq!(not.evaluate(&message), value.map(|value| !value), "{text}");
            }
        }
    }
    assert!(files.len() >= 14 && parsed >= 20, "{} files, {parsed} selectors", files.len());
}
