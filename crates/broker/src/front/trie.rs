use std::collections::BTreeMap;

use contract::{Destination, Level, Levels, Pattern};

/// The patterns with wildcards, by level; each has a number.
///
/// Its depth is that of the deepest pattern, which [`LEVELS_MAX`] bounds.
#[derive(Debug, Default)]
pub(super) struct Trie {
    /// The pattern that ends here.
    here: Option<usize>,
    /// The pattern that ends with `>` or `#` below here.
    rest: Option<usize>,
    /// Below `*`.
    one: Option<Box<Self>>,
    words: BTreeMap<Box<str>, Self>,
}

/// Levels of a pattern with wildcards.
pub(super) const LEVELS_MAX: usize = 64;

impl Trie {
    pub(super) fn is_empty(&self) -> bool {
        self.here.is_none() && self.rest.is_none() && self.one.is_none() && self.words.is_empty()
    }

    pub(super) fn get(&self, pattern: &Pattern) -> Option<usize> {
        let mut node = self;
        for level in pattern.levels() {
            node = match level {
                Level::Rest => return node.rest,
                Level::One => node.one.as_deref()?,
                Level::Word(word) => node.words.get(word)?,
            };
        }
        node.here
    }

    /// Where the number of a pattern stands; made when missing.
    pub(super) fn entry(&mut self, pattern: &Pattern) -> &mut Option<usize> {
        let mut node = self;
        for level in pattern.levels() {
            node = match level {
                Level::Rest => return &mut node.rest,
                Level::One => node.one.get_or_insert_default(),
                Level::Word(word) => node.words.entry(word.into()).or_default(),
            };
        }
        &mut node.here
    }

    /// Removes a pattern and the nodes that only it needed.
    pub(super) fn remove(&mut self, pattern: &Pattern) {
        self.remove_levels(&mut pattern.levels());
    }

    fn remove_levels<'a>(&mut self, levels: &mut impl Iterator<Item = Level<'a>>) {
        match levels.next() {
            None => self.here = None,
            Some(Level::Rest) => self.rest = None,
            Some(Level::One) => {
                if let Some(below) = &mut self.one {
                    below.remove_levels(levels);
                    if below.is_empty() {
                        self.one = None;
                    }
                }
            }
            Some(Level::Word(word)) => {
                if let Some(below) = self.words.get_mut(word) {
                    below.remove_levels(levels);
                    if below.is_empty() {
                        self.words.remove(word);
                    }
                }
            }
        }
    }

    /// Adds the numbers of all patterns that match.
    pub(super) fn matching(&self, destination: &Destination, found: &mut Vec<usize>) {
        if !self.is_empty() {
            self.visit(destination.levels(), found);
        }
    }

    fn visit(&self, mut words: Levels<'_>, found: &mut Vec<usize>) {
        found.extend(self.rest);
        let Some(word) = words.next() else {
            found.extend(self.here);
            return;
        };
        if let Some(below) = self.words.get(word) {
            below.visit(words.clone(), found);
        }
        if let Some(below) = &self.one {
            below.visit(words, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_the_patterns_say_and_forgets_all() {
        let patterns = ["a.*", "*.b", "a.>", "a.b.#", ">", "*.*.c", "a.*.c", "*", "*.>"];
        let names = ["a", "b", "a.b", "a.c", "c.b", "a.b.c", "x.y.c", "a.b.c.d"];
        let patterns: Vec<Pattern> =
            patterns.iter().map(|p| Pattern::parse(&format!("/topic/{p}")).unwrap()).collect();
        let mut trie = Trie::default();
        for (number, pattern) in patterns.iter().enumerate() {
            *trie.entry(pattern) = Some(number);
            assert_eq!(trie.get(pattern), Some(number));
        }
        for removed in 0..=patterns.len() {
            for name in names {
                let destination = Destination::parse(&format!("/topic/{name}")).unwrap();
                let expected: Vec<usize> = (removed..patterns.len())
                    .filter(|&number| patterns[number].matches(&destination))
                    .collect();
                let mut found = Vec::new();
                trie.matching(&destination, &mut found);
                found.sort_unstable();
                assert_eq!(found, expected, "{name} without the first {removed}");
            }
            if let Some(pattern) = patterns.get(removed) {
                trie.remove(pattern);
                assert_eq!(trie.get(pattern), None);
            }
        }
        assert!(trie.is_empty());
    }
}
