//! What is logged of the strings that peers send.

use std::borrow::Cow;

use contract::DestinationKind;

/// The beginning of a string. The names of temporary destinations are left out: who knows one may
/// send to it. Control characters are for the log to escape, as in all strings.
pub fn excerpt(text: &str, chars_max: usize) -> Cow<'_, str> {
    let end = text.char_indices().nth(chars_max).map_or(text.len(), |(end, _)| end);
    let mut rest = text.get(..end).unwrap_or(text);
    let mut shown = Cow::Borrowed("");
    while let Some(at) = temporary_name(rest) {
        let (before, name) = rest.split_at(at);
        rest = name.trim_start_matches(is_hex);
        shown = Cow::Owned(format!("{shown}{before}***"));
    }
    if shown.is_empty() { Cow::Borrowed(rest) } else { Cow::Owned(format!("{shown}{rest}")) }
}

/// Where the first name of a temporary destination begins.
fn temporary_name(text: &str) -> Option<usize> {
    let prefixes = [DestinationKind::TempTopic, DestinationKind::TempQueue].map(|k| k.prefix());
    let after = |prefix: &str| {
        let mut found = text.match_indices(prefix).map(|(at, _)| at + prefix.len());
        found.find(|at| text.get(*at..).is_some_and(|name| name.starts_with(is_hex)))
    };
    prefixes.into_iter().filter_map(after).min()
}

fn is_hex(c: char) -> bool {
    c.is_ascii_hexdigit()
}

/// Characters of a message that says what was wrong.
pub const DETAIL_CHARS_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_truncated_and_temporary_names_left_out() {
        let name = "0123456789abcdef0123456789abcdef";
        let long = "x".repeat(1000);
        let named = format!("SEND to /temp-queue/{name}: a /temp-topic/{name}, /temp-queue/{name}");
        for (text, expected) in [
            ("", ""),
            ("nothing of the kind", "nothing of the kind"),
            (&*long, &long[..DETAIL_CHARS_MAX]),
            (&*named, "SEND to /temp-queue/***: a /temp-topic/***, /temp-queue/***"),
            ("SEND to /temp-queue/x", "SEND to /temp-queue/x"),
            ("/temp-queue/x /temp-queue/ab", "/temp-queue/x /temp-queue/***"),
        ] {
            assert_eq!(excerpt(text, DETAIL_CHARS_MAX), expected);
        }
        assert_eq!(excerpt("äöü", 2), "äö");
    }
}
