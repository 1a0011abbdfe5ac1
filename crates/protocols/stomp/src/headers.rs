/// The headers of a frame, decoded, in the order in which they came: one allocation of text, and one of
/// where each ends.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Headers {
    text: String,
    /// For each header, where in `text` its name and its value end.
    ends: Vec<(u32, u32)>,
}

impl Headers {
    /// None yet, with room for this many bytes of names and values, and for this many headers.
    #[must_use]
    pub fn with_capacity(bytes: usize, count: usize) -> Self {
        Self { text: String::with_capacity(bytes), ends: Vec::with_capacity(count) }
    }

    /// Adds a header. The text of all must stay under 4 GiB, which
    /// [`contract::ProtocolLimits::header_bytes_max`] assures.
    pub fn push(&mut self, name: &str, value: &str) {
        let end = |text: &String| u32::try_from(text.len()).unwrap_or(u32::MAX);
        self.text.push_str(name);
        let name_end = end(&self.text);
        self.text.push_str(value);
        self.ends.push((name_end, end(&self.text)));
    }

    /// The memory that they take.
    #[must_use]
    pub const fn memory(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * size_of::<(u32, u32)>()
    }

    /// The first value with this name, which is the one that counts.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find_map(|(n, value)| (n == name).then_some(value))
    }

    /// All names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.ends.iter().map(move |&(name_end, value_end)| {
            let text =
                |from: u32, to: u32| self.text.get(from as usize..to as usize).unwrap_or_default();
            let header = (text(start, name_end), text(name_end, value_end));
            start = value_end;
            header
        })
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
    fn headers_keep_their_order() {
        let mut headers = Headers::default();
        for (name, value) in [("a", "1"), ("b", ""), ("", "x"), ("a", "2")] {
            headers.push(name, value);
        }
        let all: Vec<_> = headers.iter().collect();
        assert_eq!(all, [("a", "1"), ("b", ""), ("", "x"), ("a", "2")]);
        assert_eq!(headers.get("a"), Some("1"));
        assert_eq!(headers.get("c"), None);
    }
}
