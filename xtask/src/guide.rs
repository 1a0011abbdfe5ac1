//! `docs/jms-provider.md` shows the files of `examples/jms`, which the JMS suite runs: what it shows must be there, word for
//! word, and no file may be left out.

use std::{fs, path::Path};

use crate::{
    failure::{Doing, Outcome},
    paths,
};

/// Adds what the guide shows otherwise than its file has it, and files that it does not link to.
pub(crate) fn check(faults: &mut Vec<String>) -> Outcome {
    let page = paths::root().join(PAGE);
    let page = fs::read_to_string(&page).doing(page.display())?;
    let examples = paths::root().join(EXAMPLES);
    for block in blocks(&page) {
        let line = block.line;
        let Some(file) = block.file else {
            faults.push(format!("{PAGE}:{line}: no link to a file of {EXAMPLES} before it"));
            continue;
        };
        let text = fs::read_to_string(examples.join(file)).unwrap_or_default();
        if !contains(&text, &block.text) {
            faults.push(format!("{PAGE}:{line}: {EXAMPLES}/{file} does not have this"));
        }
    }
    let mut files = Vec::new();
    collect(&examples, &mut files)?;
    for file in files {
        if !page.contains(&format!("{LINK}{file})")) {
            faults.push(format!("{PAGE}: it says nothing of {EXAMPLES}/{file}"));
        }
    }
    Ok(())
}

/// A fenced block of code.
#[derive(Debug, Eq, PartialEq)]
struct Block<'a> {
    /// The number of its first line.
    line: usize,
    /// The example that was linked to last before it.
    file: Option<&'a str>,
    text: Vec<&'a str>,
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut file = None;
    let mut open: Option<Block<'_>> = None;
    for (index, line) in page.lines().enumerate() {
        let is_fence = line.starts_with("```");
        match open.take() {
            Some(block) if is_fence => blocks.push(block),
            Some(mut block) => {
                block.text.push(line);
                open = Some(block);
            }
            None if is_fence => open = Some(Block { line: index + 2, file, text: Vec::new() }),
            None => {
                let link = line.rsplit_once(LINK).and_then(|(_, rest)| rest.split_once(')'));
                file = link.map(|(path, _)| path).or(file);
            }
        }
    }
    blocks
}

/// Whether `text` has these lines, one behind the other, maybe all of them further to the right.
fn contains(text: &str, block: &[&str]) -> bool {
    let lines: Vec<_> = text.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    !block.is_empty()
        && lines.windows(block.len()).any(|window| {
            let mut shift = None;
            window.iter().zip(block).all(|(line, shown)| {
                if line.is_empty() || shown.is_empty() {
                    return line == shown;
                }
                let right = indent(line).checked_sub(indent(shown));
                line.trim_start() == shown.trim_start()
                    && right.is_some()
                    && right == *shift.get_or_insert(right)
            })
        })
}

/// All files, as links name them, but for what Maven makes.
fn collect(folder: &Path, files: &mut Vec<String>) -> Outcome {
    for entry in fs::read_dir(folder).doing(folder.display())? {
        let path = entry.doing(folder.display())?.path();
        if path.is_dir() {
            if !path.ends_with("target") {
                collect(&path, files)?;
            }
        } else if let Ok(name) = path.strip_prefix(paths::root().join(EXAMPLES)) {
            files.push(name.display().to_string());
        }
    }
    files.sort();
    Ok(())
}

const PAGE: &str = "docs/jms-provider.md";
const EXAMPLES: &str = "examples/jms";
const LINK: &str = "](../examples/jms/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_of_the_file_linked_before_it() {
        let page = "[A](../examples/jms/A.java), and\n[B](../examples/jms/b/B.java):\n\n```java\nint b;\n```\n";
        let block = Block { line: 5, file: Some("b/B.java"), text: vec!["int b;"] };
        assert_eq!(blocks(page), [block]);
        let none = blocks("```\nx\n```\n");
        assert!(matches!(none.as_slice(), [Block { file: None, .. }]));
    }

    #[test]
    fn a_part_may_stand_further_to_the_left_than_in_its_file() {
        let file = "class A {\n    int a;\n\n    int f() {\n        return a;\n    }\n}\n";
        let cases: &[(&str, &[&str], bool)] = &[
            ("all", &["class A {", "    int a;"], true),
            ("a part", &["int a;", "", "int f() {", "    return a;", "}"], true),
            ("another indentation", &["int f() {", "return a;", "}"], false),
            ("another word", &["int b;"], false),
            ("a line left out", &["int a;", "int f() {"], false),
            ("nothing", &[], false),
        ];
        for (rule, block, expected) in cases {
            assert_eq!(contains(file, block), *expected, "{rule}");
        }
    }
}
