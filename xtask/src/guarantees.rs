//! `docs/guarantees.md` names the tests of each promise: all of them must be there.

use std::{fs, path::Path};

use crate::{
    failure::{Doing, Outcome},
    paths,
};

/// Adds what is named there and is nowhere.
pub(crate) fn check(faults: &mut Vec<String>) -> Outcome {
    let file = paths::root().join(PAGE);
    let page = fs::read_to_string(&file).doing(file.display())?;
    let mut sources = Vec::new();
    for folder in ["crates", "tests/chaos"] {
        collect(&paths::root().join(folder), &mut sources)?;
    }
    for named in named(&page) {
        let is_there = match named {
            Named::Source(path) => paths::root().join("crates").join(path).is_file(),
            Named::Suite(name) => paths::root().join("tests/interop/node").join(name).is_file(),
            Named::Function(name) => {
                let is_in = |source: &String| source.contains(&format!("fn {name}("));
                sources.iter().any(is_in)
            }
        };
        if !is_there {
            faults.push(format!("{PAGE}: there is no {named:?}"));
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Named<'a> {
    /// Below `crates`.
    Source(&'a str),
    /// Of third-party clients.
    Suite(&'a str),
    Function(&'a str),
}

/// What is named in code spans.
fn named(page: &str) -> impl Iterator<Item = Named<'_>> {
    let spans = page.split('`').skip(1).step_by(2);
    spans.filter_map(|span| {
        let is_name =
            span.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if span.ends_with(".rs") {
            Some(Named::Source(span))
        } else if span.ends_with(".test.mjs") {
            Some(Named::Suite(span))
        } else {
            let is_metric = span.starts_with("passerelle_");
            (is_name && span.contains('_') && !is_metric).then_some(Named::Function(span))
        }
    })
}

fn collect(folder: &Path, sources: &mut Vec<String>) -> Outcome {
    for entry in fs::read_dir(folder).doing(folder.display())? {
        let path = entry.doing(folder.display())?.path();
        if path.is_dir() {
            collect(&path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(fs::read_to_string(&path).doing(path.display())?);
        }
    }
    Ok(())
}

const PAGE: &str = "docs/guarantees.md";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_named_in_code_spans() {
        let page = "it is `durable`; `a/b.rs` (`it_holds`), `x.test.mjs`, `chaos kill`, it_is_not, `passerelle_x`";
        let expected =
            [Named::Source("a/b.rs"), Named::Function("it_holds"), Named::Suite("x.test.mjs")];
        assert!(named(page).eq(expected));
    }
}
