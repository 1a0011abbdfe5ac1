use crate::{Selector, allocation_bytes, error::Fault};

/// The pattern of a LIKE, split at each `%`. It is matched in a time linear in the text.
#[derive(Debug)]
pub(crate) struct Like {
    /// What the text begins with.
    start: Segment,
    /// What follows it, unless that is the end of the text.
    rest: Option<Rest>,
}

/// What follows the first `%`.
#[derive(Debug)]
struct Rest {
    /// What stands between two `%`, in order.
    middle: Box<[Searched]>,
    /// What the text ends with.
    end: Segment,
}

/// Characters that stand where the text begins or ends.
#[derive(Debug)]
enum Segment {
    Plain(Box<str>),
    /// With `None` for each `_`.
    Wild(Box<[Option<char>]>),
}

/// Characters that are searched for.
#[derive(Debug)]
enum Searched {
    Plain(Box<str>),
    Wild(Masks),
}

/// At most 64 characters with `_` among them, as sets of positions: bit `n` stands for the `n`-th.
#[derive(Debug)]
struct Masks {
    /// Where each of these stands, sorted.
    chars: Box<[(char, u64)]>,
    /// Where each `_` stands.
    any: u64,
    /// The last position.
    last: u64,
}

impl Like {
    pub(crate) fn parse(pattern: &str, escape: Option<char>) -> Result<Self, Fault> {
        let mut segments: Vec<Vec<Option<char>>> = Vec::new();
        let mut segment = Vec::new();
        let mut chars = pattern.chars();
        while let Some(char) = chars.next() {
            match char {
                _ if Some(char) == escape => match chars.next() {
                    Some(next) if "%_".contains(next) || Some(next) == escape => {
                        segment.push(Some(next));
                    }
                    Some(_) | None => return Err(Fault::EscapeUse),
                },
                '%' => segments.push(std::mem::take(&mut segment)),
                '_' => segment.push(None),
                _ => segment.push(Some(char)),
            }
        }
        let mut segments = segments.into_iter();
        let Some(start) = segments.next() else {
            return Ok(Self { start: Segment::new(&segment), rest: None });
        };
        let middle = segments.filter(|s| !s.is_empty()).map(|segment| Searched::new(&segment));
        let rest = Rest { middle: middle.collect::<Result<_, _>>()?, end: Segment::new(&segment) };
        Ok(Self { start: Segment::new(&start), rest: Some(rest) })
    }

    /// Memory that it takes beside its own size, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        let Some(Rest { middle, end }) = &self.rest else { return self.start.heap_bytes() };
        let each = middle.iter().map(|searched| match searched {
            Searched::Plain(plain) => allocation_bytes(plain.len()),
            Searched::Wild(masks) => allocation_bytes(size_of_val(&*masks.chars)),
        });
        let middle_bytes = allocation_bytes(size_of_val(&**middle)) + each.sum::<usize>();
        self.start.heap_bytes() + middle_bytes + end.heap_bytes()
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        let Some(text) = self.start.behind(text) else { return false };
        let Some(Rest { middle, end }) = &self.rest else { return text.is_empty() };
        let Some(text) = end.before(text) else { return false };
        // The first place that fits leaves most for those that follow.
        middle.iter().try_fold(text, |text, searched| searched.behind(text)).is_some()
    }
}

impl Segment {
    fn new(chars: &[Option<char>]) -> Self {
        plain(chars).map_or_else(|| Self::Wild(chars.into()), Self::Plain)
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Self::Plain(plain) => allocation_bytes(plain.len()),
            Self::Wild(wild) => allocation_bytes(size_of_val(&**wild)),
        }
    }

    /// What of the text follows it, if the text begins with it.
    fn behind<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Plain(plain) => text.strip_prefix(&**plain),
            Self::Wild(wild) => {
                let mut chars = text.chars();
                let fits = wild.iter().all(|expected| fits(*expected, chars.next()));
                fits.then_some(chars.as_str())
            }
        }
    }

    /// What of the text precedes it, if the text ends with it.
    fn before<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Plain(plain) => text.strip_suffix(&**plain),
            Self::Wild(wild) => {
                let mut chars = text.chars();
                let fits = wild.iter().rev().all(|expected| fits(*expected, chars.next_back()));
                fits.then_some(chars.as_str())
            }
        }
    }
}

impl Searched {
    fn new(chars: &[Option<char>]) -> Result<Self, Fault> {
        match plain(chars) {
            Some(plain) => Ok(Self::Plain(plain)),
            None => Masks::new(chars).map(Self::Wild),
        }
    }

    /// What of the text follows the first place where it stands.
    fn behind<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Plain(plain) => text.split_once(&**plain).map(|(_, behind)| behind),
            Self::Wild(masks) => masks.behind(text),
        }
    }
}

impl Masks {
    fn new(segment: &[Option<char>]) -> Result<Self, Fault> {
        if segment.len() > Selector::LIKE_CHARS_MAX {
            return Err(Fault::LikeChars);
        }
        let mut chars: Vec<(char, u64)> = Vec::new();
        let (mut any, mut last) = (0, 0);
        for (position, char) in segment.iter().enumerate() {
            last = 1 << position;
            match char {
                None => any |= last,
                Some(char) => match chars.binary_search_by_key(char, |(other, _)| *other) {
                    Ok(index) => chars.get_mut(index).into_iter().for_each(|(_, at)| *at |= last),
                    Err(index) => chars.insert(index, (*char, last)),
                },
            }
        }
        Ok(Self { chars: chars.into(), any, last })
    }

    /// The Shift-And algorithm: bit `n` of `found` says that the first `n + 1` characters stand before
    /// this point.
    fn behind<'t>(&self, text: &'t str) -> Option<&'t str> {
        let mut found = 0_u64;
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            let index = self.chars.binary_search_by_key(&char, |(other, _)| *other).ok();
            let at = index.and_then(|index| self.chars.get(index)).map_or(0, |(_, at)| *at);
            found = (found << 1 | 1) & (self.any | at);
            if found & self.last != 0 {
                return Some(chars.as_str());
            }
        }
        None
    }
}

fn fits(expected: Option<char>, char: Option<char>) -> bool {
    char.is_some() && (expected.is_none() || expected == char)
}

/// The characters, if none is `_`.
fn plain(chars: &[Option<char>]) -> Option<Box<str>> {
    chars.iter().copied().collect::<Option<String>>().map(Into::into)
}

#[cfg(test)]
mod tests {
    use testkit::Random;

    use super::*;

    /// By all ways to divide the text, which takes exponential time.
    fn matches(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['%', pattern @ ..] => (0..=text.len()).any(|n| matches(pattern, &text[n..])),
            ['_', pattern @ ..] => !text.is_empty() && matches(pattern, &text[1..]),
            [char, pattern @ ..] => text.first() == Some(char) && matches(pattern, &text[1..]),
        }
    }

    #[test]
    fn all_short_patterns_match_as_defined() {
        let mut random = Random::new(1);
        let (mut matched, cases) = (0, 40_000);
        for _ in 0..cases {
            let mut some = |of: &[char], max: usize| -> Vec<char> {
                (0..random.below(max)).map(|_| random.pick(of)).collect()
            };
            let pattern = some(&['a', 'b', '\u{e9}', '_', '%', '%'], 8);
            let text = some(&['a', 'a', 'b', '\u{e9}'], 9);
            let like = Like::parse(&pattern.iter().collect::<String>(), None).unwrap();
            let expected = matches(&pattern, &text);
            let text: String = text.into_iter().collect();
            assert_eq!(like.matches(&text), expected, "{text:?} LIKE {pattern:?}");
            matched += usize::from(expected);
        }
        assert!((cases / 10..cases / 2).contains(&matched), "{matched} matched");
    }

    /// Were it not linear, this would not end.
    #[test]
    fn a_pattern_cannot_take_more_than_linear_time() {
        let text = "a".repeat(1 << 20);
        for segment in ["a", "aaaaaaaaaaaaaaaa_", "_a"] {
            let like = Like::parse(&format!("%{}%b%", [segment; 100].join("%")), None).unwrap();
            assert!(!like.matches(&text));
        }
    }

    #[test]
    fn between_two_signs_underscores_are_bounded() {
        let pattern = |chars: usize| format!("{0}%{0}%{1}%{0}", "x_".repeat(99), "_".repeat(chars));
        assert!(Like::parse(&pattern(64), None).is_err(), "198 characters with _");
        let pattern = |chars: usize| format!("{0}%{1}%{0}", "x_".repeat(99), "_".repeat(chars));
        let ends = "xy".repeat(99);
        let like = Like::parse(&pattern(64), None).unwrap();
        assert!(like.matches(&format!("{ends}{}{ends}", "z".repeat(64))));
        assert!(!like.matches(&format!("{ends}{}{ends}", "z".repeat(63))));
        assert_eq!(Like::parse(&pattern(65), None).unwrap_err(), Fault::LikeChars);
    }
}
