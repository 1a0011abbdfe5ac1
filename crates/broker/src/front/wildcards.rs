use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, Hasher as _, RandomState},
};

use contract::{Destination, Level, Pattern};
use hashbrown::HashTable;

/// The patterns with wildcards; each has a number.
///
/// Patterns of one [`Shape`] are in one table, by a hash of their words. A name is looked up once in
/// the table of each shape that it can have, by the hash of those of its words that the shape does
/// not leave open. So a look-up costs nothing for each pattern that does not match, and
/// [`Wildcards::allows`] bounds the number of shapes, whatever is subscribed to.
#[derive(Debug, Default)]
pub(super) struct Wildcards {
    shapes: BTreeMap<Shape, HashTable<Entry>>,
    /// How many patterns begin with a word of this hash, or with a wildcard: most names that no
    /// pattern matches are told by their first word.
    firsts: BTreeMap<Option<u64>, usize>,
    hasher: RandomState,
}

/// Where the wildcards of a pattern stand.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Shape {
    /// It ends with `>` or `#`.
    has_rest: bool,
    /// Levels, without that.
    levels: usize,
    /// A bit for each level: whether it is `*`.
    ones: u16,
}

#[derive(Debug)]
struct Entry {
    /// Of the words of the pattern.
    hash: u64,
    pattern: Pattern,
    number: usize,
}

impl Wildcards {
    /// Whether the wildcards of a pattern stand where they may.
    ///
    /// A name can have at most 2,100 shapes then: [`ONES_LEVELS`] make 2^10 without and 2^10 - 1
    /// with a rest, and [`REST_LEVELS`] some more.
    pub(super) fn allows(pattern: &Pattern) -> bool {
        let mut has_one = false;
        pattern.levels().enumerate().all(|(index, level)| match level {
            Level::Word(_) => true,
            Level::One => {
                has_one = true;
                index < ONES_LEVELS
            }
            Level::Rest => index < if has_one { ONES_LEVELS } else { REST_LEVELS },
        })
    }

    pub(super) fn get(&self, pattern: &Pattern) -> Option<usize> {
        let (shape, hash) = self.locate(pattern);
        Some(self.shapes.get(&shape)?.find(hash, |entry| entry.is_for(pattern))?.number)
    }

    /// Adds a pattern that is not there and that [`Wildcards::allows`].
    pub(super) fn insert(&mut self, pattern: Pattern, number: usize) {
        let (shape, hash) = self.locate(&pattern);
        *self.firsts.entry(self.first(&pattern)).or_default() += 1;
        let table = self.shapes.entry(shape).or_default();
        table.insert_unique(hash, Entry { hash, pattern, number }, |entry| entry.hash);
    }

    pub(super) fn remove(&mut self, pattern: &Pattern) {
        let (shape, hash) = self.locate(pattern);
        let Some(table) = self.shapes.get_mut(&shape) else { return };
        let Ok(entry) = table.find_entry(hash, |entry| entry.is_for(pattern)) else { return };
        entry.remove();
        if table.is_empty() {
            self.shapes.remove(&shape);
        } else if table.len() < table.capacity() / 4 {
            table.shrink_to(table.len() * 2, |entry| entry.hash);
        }
        let first = self.first(pattern);
        if let Some(count) = self.firsts.get_mut(&first) {
            *count -= 1;
            if *count == 0 {
                self.firsts.remove(&first);
            }
        }
    }

    /// Adds the numbers of all patterns that match. Returns how many tables were looked into.
    pub(super) fn matching(&self, destination: &Destination, found: &mut Vec<usize>) -> usize {
        if self.shapes.is_empty() {
            return 0;
        }
        let first = destination.levels().next().map(|word| hash_of(0, word, &self.hasher));
        if !self.firsts.contains_key(&None) && !self.firsts.contains_key(&first) {
            return 0;
        }
        let hashes = Hashes::new(destination, &self.hasher);
        let shapes = |has_rest, least, most| {
            let (least, most) = (Shape::first(has_rest, least), Shape::first(has_rest, most + 1));
            self.shapes.range(least..most)
        };
        let exact = shapes(false, hashes.levels, hashes.levels);
        let with_rest = shapes(true, 0, hashes.levels);
        let mut lookups = 0;
        for (shape, table) in exact.chain(with_rest) {
            lookups += 1;
            let hash = hashes.of(shape);
            let matches = |entry: &Entry| entry.hash == hash && entry.pattern.matches(destination);
            found.extend(table.find(hash, matches).map(|entry| entry.number));
        }
        lookups
    }

    /// The hash of the first word of a pattern that does not begin with a wildcard.
    fn first(&self, pattern: &Pattern) -> Option<u64> {
        match pattern.levels().next() {
            Some(Level::Word(word)) => Some(hash_of(0, word, &self.hasher)),
            Some(Level::One | Level::Rest) | None => None,
        }
    }

    /// The shape of a pattern, and the hash of its words.
    fn locate(&self, pattern: &Pattern) -> (Shape, u64) {
        let mut shape = Shape::first(false, 0);
        let mut hash = 0_u64;
        for level in pattern.levels() {
            match level {
                Level::Rest => {
                    shape.has_rest = true;
                    break;
                }
                Level::One => shape.ones |= 1 << shape.levels,
                Level::Word(word) => {
                    hash = hash.wrapping_add(hash_of(shape.levels, word, &self.hasher));
                }
            }
            shape.levels += 1;
        }
        (shape, hash)
    }
}

impl Shape {
    const fn first(has_rest: bool, levels: usize) -> Self {
        Self { has_rest, levels, ones: 0 }
    }
}

impl Entry {
    /// `>` and `#` are the same.
    fn is_for(&self, pattern: &Pattern) -> bool {
        self.pattern.levels().eq(pattern.levels())
    }
}

/// The hashes of a name's words.
struct Hashes {
    levels: usize,
    /// Of each of the first words.
    words: [u64; ONES_LEVELS],
    /// Of the words before each level where a rest may begin.
    before: [u64; REST_LEVELS],
    /// Of all words.
    all: u64,
}

impl Hashes {
    fn new(destination: &Destination, hasher: &RandomState) -> Self {
        let mut hashes =
            Self { levels: 0, words: [0; ONES_LEVELS], before: [0; REST_LEVELS], all: 0 };
        for word in destination.levels() {
            let hash = hash_of(hashes.levels, word, hasher);
            if let Some(before) = hashes.before.get_mut(hashes.levels) {
                *before = hashes.all;
            }
            if let Some(first) = hashes.words.get_mut(hashes.levels) {
                *first = hash;
            }
            hashes.all = hashes.all.wrapping_add(hash);
            hashes.levels += 1;
        }
        if let Some(before) = hashes.before.get_mut(hashes.levels) {
            *before = hashes.all;
        }
        hashes
    }

    /// The hash of those words that the pattern of this shape has, if it matches.
    fn of(&self, shape: &Shape) -> u64 {
        let words = if shape.has_rest { self.before.get(shape.levels) } else { None };
        let mut hash = *words.unwrap_or(&self.all);
        let mut ones = shape.ones;
        while let Some(word) = self.words.get(ones.trailing_zeros() as usize) {
            hash = hash.wrapping_sub(*word);
            ones &= ones - 1;
        }
        hash
    }
}

/// The hash of words is the sum of these, so that words can be left out of it. Its key is random:
/// a peer cannot choose words that collide.
fn hash_of(level: usize, word: &str, hasher: &RandomState) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(word.as_bytes());
    hasher.finish() ^ (level as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The first levels of a pattern, in which `*` may stand.
const ONES_LEVELS: usize = 10;
/// The first levels, in which `>` or `#` may stand if there is no `*`.
const REST_LEVELS: usize = 64;

#[cfg(test)]
mod tests {
    use testkit::Random;

    use super::*;

    #[test]
    fn finds_what_the_patterns_say_and_forgets_all() {
        let patterns = ["a.*", "*.b", "a.>", "a.b.#", ">", "*.*.c", "a.*.c", "*", "*.>"];
        let names = ["a", "b", "a.b", "a.c", "c.b", "a.b.c", "x.y.c", "a.b.c.d"];
        let patterns = patterns.map(pattern);
        let mut wildcards = Wildcards::default();
        for (number, pattern) in patterns.iter().enumerate() {
            wildcards.insert(pattern.clone(), number);
            assert_eq!(wildcards.get(pattern), Some(number));
        }
        for removed in 0..=patterns.len() {
            for name in names {
                let expected: Vec<usize> = (removed..patterns.len())
                    .filter(|&number| patterns[number].matches(&destination(name)))
                    .collect();
                assert_eq!(
                    matching(&wildcards, name),
                    expected,
                    "{name} without the first {removed}"
                );
            }
            if let Some(pattern) = patterns.get(removed) {
                wildcards.remove(pattern);
                assert_eq!(wildcards.get(pattern), None);
            }
        }
        assert!(wildcards.is_empty());
    }

    #[test]
    fn finds_what_random_patterns_say() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let levels = 1 + random.below(12);
            let mut wildcards = Wildcards::default();
            let mut patterns = Vec::new();
            for number in 0..400 {
                if random.once_in(4) && !patterns.is_empty() {
                    let (_, pattern) = patterns.swap_remove(random.below(patterns.len()));
                    wildcards.remove(&pattern);
                }
                let pattern = pattern(&text(&mut random, levels, &["a", "b", "*", "*2A"], true));
                if pattern.destination().is_none()
                    && Wildcards::allows(&pattern)
                    && wildcards.get(&pattern).is_none()
                {
                    wildcards.insert(pattern.clone(), number);
                    patterns.push((number, pattern));
                }
                let name = text(&mut random, levels + 1, &["a", "b", "*2A"], false);
                let matches =
                    |(_, pattern): &&(usize, Pattern)| pattern.matches(&destination(&name));
                let mut expected: Vec<_> =
                    patterns.iter().filter(matches).map(|&(number, _)| number).collect();
                expected.sort_unstable();
                assert_eq!(matching(&wildcards, &name), expected, "seed {seed}: {name}");
            }
            for (number, pattern) in patterns {
                assert_eq!(wildcards.get(&pattern), Some(number), "seed {seed}: {pattern}");
                wildcards.remove(&pattern);
            }
            assert!(wildcards.is_empty(), "seed {seed}");
        }
    }

    #[test]
    fn wildcards_are_in_the_first_levels() {
        let at = |level: usize, wildcards: &str| {
            Wildcards::allows(&pattern(&format!("{}{wildcards}", "a.".repeat(level - 1))))
        };
        assert!(at(10, "*") && at(10, "*.b.c.d") && at(9, "*.>") && at(64, ">") && at(64, "#"));
        assert!(!at(11, "*") && !at(11, "*.b.c.d") && !at(10, "*.>") && !at(65, ">"));
        assert!(Wildcards::allows(&pattern(&format!("{}>", "*.".repeat(9)))));
        assert!(!Wildcards::allows(&pattern(&format!("*.{}>", "a.".repeat(9)))));
    }

    /// All patterns that there can be of the words of a name, and one word more.
    #[test]
    fn a_publication_is_looked_up_in_few_tables() {
        let mut wildcards = Wildcards::default();
        let mut count = 0;
        let mut insert = |text: &str| {
            let pattern = pattern(text);
            if pattern.destination().is_none() && Wildcards::allows(&pattern) {
                wildcards.insert(pattern, count);
                count += 1;
            }
        };
        for levels in 1..70 {
            let ones_levels = if levels <= ONES_LEVELS || levels == 69 { ONES_LEVELS } else { 0 };
            for ones in 0..1_u32 << levels.min(ones_levels) {
                let level = |level| if level < 32 && ones >> level & 1 == 1 { "*" } else { "a" };
                let text = (0..levels).map(level).collect::<Vec<_>>().join(".");
                insert(&format!("{text}.b"));
                insert(&text);
                insert(&format!("{text}.>"));
            }
        }
        insert(">");
        assert!(count > 5_000, "{count}");
        for (levels, lookups) in
            [(1, 1 + 3), (5, 31 + 63), (10, 1023 + 1024), (69, 1023 + 1023 + 54), (200, 1023 + 54)]
        {
            let name = ["a"; 200][..levels].join(".");
            let mut found = Vec::new();
            assert_eq!(wildcards.matching(&destination(&name), &mut found), lookups, "{levels}");
        }
    }

    impl Wildcards {
        fn is_empty(&self) -> bool {
            self.shapes.is_empty() && self.firsts.is_empty()
        }
    }

    fn text(random: &mut Random, levels: usize, words: &[&str], may_end_wild: bool) -> String {
        let count = 1 + random.below(levels);
        let mut words: Vec<_> = (0..count).map(|_| random.pick(words)).collect();
        if may_end_wild && random.once_in(3) {
            words.push(random.pick(&[">", "#"]));
        }
        words.join(".")
    }

    fn matching(wildcards: &Wildcards, name: &str) -> Vec<usize> {
        let mut found = Vec::new();
        wildcards.matching(&destination(name), &mut found);
        found.sort_unstable();
        found
    }

    fn pattern(name: &str) -> Pattern {
        Pattern::parse(&format!("/topic/{name}")).unwrap()
    }

    fn destination(name: &str) -> Destination {
        Destination::parse(&format!("/topic/{name}")).unwrap()
    }
}
