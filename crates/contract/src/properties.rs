/// Names and values in the order in which they came, in one allocation of text and one of cuts.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Properties {
    text: String,
    /// For each property, where in `text` its name and its value end.
    ends: Vec<(u32, u32)>,
}

impl Properties {
    /// None yet, with room for this many bytes of names and values, and for this many properties.
    #[must_use]
    pub fn with_capacity(bytes: usize, count: usize) -> Self {
        Self { text: String::with_capacity(bytes), ends: Vec::with_capacity(count) }
    }

    /// Adds a property. The whole text must stay under 4 GiB, which every [`crate::Limits`] assures.
    pub fn push(&mut self, name: &str, value: &str) {
        let end = |text: &String| u32::try_from(text.len()).unwrap_or(u32::MAX);
        self.text.push_str(name);
        let name_end = end(&self.text);
        self.text.push_str(value);
        self.ends.push((name_end, end(&self.text)));
    }

    /// The first value with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find_map(|(n, value)| (n == name).then_some(value))
    }

    /// All names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.ends.iter().map(move |&(name_end, value_end)| {
            let cut =
                |from: u32, to: u32| self.text.get(from as usize..to as usize).unwrap_or_default();
            let property = (cut(start, name_end), cut(name_end, value_end));
            start = value_end;
            property
        })
    }

    pub(crate) const fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_keep_their_order() {
        let mut properties = Properties::default();
        for (name, value) in [("a", "1"), ("b", ""), ("", "x"), ("a", "2")] {
            properties.push(name, value);
        }
        let all: Vec<_> = properties.iter().collect();
        assert_eq!(all, [("a", "1"), ("b", ""), ("", "x"), ("a", "2")]);
        assert_eq!(properties.get("a"), Some("1"));
        assert_eq!(properties.get("c"), None);
    }
}
