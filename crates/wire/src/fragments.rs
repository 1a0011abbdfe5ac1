/// Joins the fragments of a message. A message that comes in one piece is not copied.
///
/// Its caller bounds the size of a message.
#[derive(Debug, Default)]
pub struct Fragments {
    bytes: Vec<u8>,
}

impl Fragments {
    /// Adds the next fragment, and calls `whole` with the message if this is its `last` one.
    pub fn add(&mut self, fragment: &[u8], last: bool, whole: impl FnOnce(&[u8])) {
        if last && self.bytes.is_empty() {
            return whole(fragment);
        }
        self.bytes.extend_from_slice(fragment);
        if last {
            whole(&std::mem::take(&mut self.bytes));
        }
    }

    /// The memory of a message that has come in part.
    #[must_use]
    pub const fn memory(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_what_came_in_fragments() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("one piece", &["a."], &["a"]),
            ("three", &["a", "b", "c."], &["abc"]),
            ("an empty one", &["."], &[""]),
            ("an empty last one", &["a", "."], &["a"]),
            ("an empty first one", &["", "a."], &["a"]),
            ("one after the other", &["a", "b.", "c.", "d", "e."], &["ab", "c", "de"]),
            ("the last has not come", &["a.", "b"], &["a"]),
        ];
        for (rule, fragments, expected) in cases {
            let mut joined = Fragments::default();
            let mut messages = Vec::new();
            for fragment in *fragments {
                let (bytes, last) =
                    fragment.strip_suffix('.').map_or((*fragment, false), |f| (f, true));
                joined.add(bytes.as_bytes(), last, |message| messages.push(message.to_vec()));
                assert!(!last || joined.memory() == 0, "{rule}");
            }
            let expected: Vec<_> = expected.iter().map(|text| text.as_bytes().to_vec()).collect();
            assert_eq!(messages, expected, "{rule}");
        }
    }
}
