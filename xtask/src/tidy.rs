use std::{fs, path::Path};

use crate::{
    failure::{Doing, Failure, Outcome},
    guarantees, guide, names, paths, shell, walls,
};

/// Crates that do no I/O, read no clock, spawn nothing and lock nothing, besides `protocols/*`.
const PURE: &[&str] = &["amqp-types", "broker", "config", "contract", "selector", "wire"];

/// What no pure crate may depend on, however far away.
const RUNTIMES: &[&str] = &["async-std", "hyper", "mio", "rustls", "smol", "socket2", "tokio"];

/// What no pure crate may say, and what it should do instead. `clippy.toml` names more.
const WORDS: &[(&str, &str)] = &[
    (".elapsed()", "time is an input: take `now: Now`"),
    ("Instant", "time is an input: take `now: Now`"),
    ("SystemTime", "time is an input: take `now: Now`"),
    ("std::env", "configuration is handed in"),
    ("std::fs", "no I/O here"),
    (".is_dir()", "no I/O here"),
    (".exists()", "no I/O here"),
    ("std::io", "no I/O here"),
    ("std::net", "no I/O here"),
    ("std::process", "no I/O here"),
    ("std::thread", "no threads here"),
    ("Mutex", "nothing is shared between threads here"),
    ("RwLock", "nothing is shared between threads here"),
    ("Condvar", "nothing is shared between threads here"),
    ("HashMap", "its order is random: BTreeMap, or wire::Map"),
    ("HashSet", "its order is random: BTreeSet, or wire::Map"),
    ("getrandom", "randomness is handed in"),
    ("println!", "say it to the outbox"),
];

/// Where a word may stand: in the one place that keeps all others from it.
const EXCEPTIONS: &[(&str, &str)] = &[("crates/wire/src/map.rs", "HashMap")];

/// Checks that the pure crates stay pure, that names are the field's, and that the tests of the guarantees and what the
/// guide shows are there.
pub(crate) fn run() -> Outcome {
    let mut faults = Vec::new();
    walls::check(&mut faults)?;
    guarantees::check(&mut faults)?;
    guide::check(&mut faults)?;
    let mut pure = walls::protocols()?;
    pure.extend(PURE.iter().map(|name| paths::root().join("crates").join(name)));
    for folder in &pure {
        let name = walls::name(folder);
        dependencies(&name, &mut faults)?;
        let root = fs::read_to_string(folder.join("src/lib.rs")).doing(folder.display())?;
        if !root.contains("#![forbid(unsafe_code)]") {
            faults.push(format!("{name}: src/lib.rs does not say #![forbid(unsafe_code)]"));
        }
        sources(&folder.join("src"), &mut faults)?;
    }
    names::check_all(&mut faults)?;
    if faults.is_empty() {
        let pure: Vec<_> = pure.iter().map(|folder| walls::name(folder)).collect();
        println!("{} are pure, and names are those of the field", pure.join(", "));
        return Ok(());
    }
    Err(Failure::Failed(faults.join("\n")))
}

fn dependencies(name: &str, faults: &mut Vec<String>) -> Outcome {
    let tree = shell::output(shell::cargo().args([
        "tree",
        "--locked",
        "--quiet",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}",
        "--package",
        name,
    ]))?;
    for line in tree.lines() {
        let dependency = line.split(' ').next().unwrap_or_default();
        if RUNTIMES.contains(&dependency) {
            faults.push(format!(
                "{name} depends on {dependency}: see `cargo tree -p {name} -i {dependency}`"
            ));
        }
    }
    Ok(())
}

fn sources(folder: &Path, faults: &mut Vec<String>) -> Outcome {
    for entry in fs::read_dir(folder).doing(folder.display())? {
        let path = entry.doing(folder.display())?.path();
        if path.is_dir() {
            sources(&path, faults)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).doing(path.display())?;
            let shown = path.strip_prefix(paths::root()).unwrap_or(&path).display().to_string();
            let found = words(&text)
                .filter(|(_, word, _)| !EXCEPTIONS.contains(&(shown.as_str(), *word)))
                .map(|(line, word, instead)| format!("{shown}:{line}: `{word}`: {instead}"));
            faults.extend(found);
        }
    }
    Ok(())
}

/// The forbidden words of a source, with the numbers of their lines; comments are free.
fn words(text: &str) -> impl Iterator<Item = (usize, &'static str, &'static str)> {
    text.lines().enumerate().flat_map(|(index, line)| {
        let code = line.split("//").next().unwrap_or_default();
        let found = WORDS.iter().filter(move |(word, _)| has_word(code, word));
        found.map(move |&(word, instead)| (index + 1, word, instead))
    })
}

/// Whether `code` has `word` not as a part of a longer one.
pub(crate) fn has_word(code: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code.get(..at).and_then(|s| s.chars().next_back());
        let after = code.get(at + word.len()..).and_then(|s| s.chars().next());
        !before.is_some_and(part) && !after.is_some_and(part)
            || word.starts_with('.') && code.contains(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_forbidden_words_in_code_only() {
        let cases: &[(&str, &str, usize)] = &[
            ("a call", "let age = start.elapsed();", 1),
            ("a comment", "// start.elapsed() is forbidden", 0),
            ("a longer word", "struct InstantNoodles;", 0),
            ("a path", "use std::time::Instant;", 1),
            ("a module", "use std::io::Read;", 1),
            ("another module", "use std::iter::once;", 0),
        ];
        for (rule, text, count) in cases {
            assert_eq!(words(text).count(), *count, "{rule}");
        }
    }
}
