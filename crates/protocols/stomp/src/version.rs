use std::{borrow::Cow, fmt};

use crate::FrameError;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Version {
    /// STOMP 1.0: no escapes, no heart-beats, no NACK.
    #[default]
    V1_0,
    /// STOMP 1.1.
    V1_1,
    /// STOMP 1.2.
    V1_2,
}

impl Version {
    /// All versions, the newest first.
    pub const ALL: [Self; 3] = [Self::V1_2, Self::V1_1, Self::V1_0];

    /// The text in `version` and `accept-version`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0",
            Self::V1_1 => "1.1",
            Self::V1_2 => "1.2",
        }
    }

    /// The WebSocket subprotocol.
    #[must_use]
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::V1_0 => "v10.stomp",
            Self::V1_1 => "v11.stomp",
            Self::V1_2 => "v12.stomp",
        }
    }

    /// The version that a WebSocket subprotocol stands for.
    #[must_use]
    pub fn of_subprotocol(subprotocol: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.subprotocol() == subprotocol)
    }

    /// The newest version that `accept` (an `accept-version` header) names and that is not newer
    /// than `newest`. Without the header the peer speaks 1.0.
    #[must_use]
    pub fn negotiate(accept: Option<&str>, newest: Self) -> Option<Self> {
        let accept = accept.unwrap_or(Self::V1_0.as_str());
        let named = |version: &Self| accept.split(',').any(|name| name.trim() == version.as_str());
        Self::ALL.into_iter().filter(|version| *version <= newest).find(named)
    }

    /// Decodes a header's name or value (§Value Encoding of 1.2; 1.1 knows no `\r` and does not
    /// say what other escapes are, so that they stay as they came; 1.0 pads with spaces).
    pub(crate) fn unescape(self, text: &str) -> Result<Cow<'_, str>, FrameError> {
        if self == Self::V1_0 {
            return Ok(text.trim_matches(' ').into());
        }
        if !text.contains('\\') {
            return Ok(text.into());
        }
        let mut plain = String::with_capacity(text.len());
        let mut rest = text.chars();
        while let Some(char) = rest.next() {
            if char != '\\' {
                plain.push(char);
                continue;
            }
            match (rest.next(), self) {
                (Some('n'), _) => plain.push('\n'),
                (Some('c'), _) => plain.push(':'),
                (Some('\\'), _) => plain.push('\\'),
                (Some('r'), Self::V1_2) => plain.push('\r'),
                (_, Self::V1_2) => return Err(FrameError::Escape),
                (other, Self::V1_0 | Self::V1_1) => {
                    plain.push('\\');
                    plain.extend(other);
                }
            }
        }
        Ok(plain.into())
    }

    /// Whether a header of this name is read back as such. STOMP 1.0 has no escape for a colon: what
    /// one version calls `content-length:9 ` would be another header there.
    pub(crate) fn can_name(self, name: &str) -> bool {
        match self {
            Self::V1_0 => name.trim_matches(' ') == name && !name.contains([':', '\n', '\r', '\0']),
            Self::V1_1 => !name.contains(['\r', '\0']),
            Self::V1_2 => !name.contains('\0'),
        }
    }

    /// Encodes a header's name or value. What a version cannot express becomes a space, so that
    /// no value can end its line or its frame.
    pub(crate) fn escape(self, text: &str, to: &mut Vec<u8>) {
        let special = |byte| matches!(byte, 0 | b'\n' | b'\r' | b':' | b'\\');
        let plain = text.bytes().position(special).unwrap_or(text.len());
        let (plain, rest) = text.as_bytes().split_at(plain);
        to.extend_from_slice(plain);
        for byte in rest.iter().copied() {
            match (byte, self) {
                (0, _) | (b'\n' | b'\r', Self::V1_0) | (b'\r', Self::V1_1) => to.push(b' '),
                (_, Self::V1_0) => to.push(byte),
                (b'\n', _) => to.extend_from_slice(b"\\n"),
                (b'\r', _) => to.extend_from_slice(b"\\r"),
                (b':', _) => to.extend_from_slice(b"\\c"),
                (b'\\', _) => to.extend_from_slice(b"\\\\"),
                _ => to.push(byte),
            }
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Version::{V1_0, V1_1, V1_2};

    #[test]
    fn the_newest_common_version_is_agreed_on() {
        let cases: &[(&str, Option<&str>, Version, Option<Version>)] = &[
            ("no header means 1.0", None, V1_2, Some(V1_0)),
            ("the newest of many", Some("1.0,1.2,1.1"), V1_2, Some(V1_2)),
            ("not above the subprotocol", Some("1.0,1.1,1.2"), V1_1, Some(V1_1)),
            ("older than the subprotocol", Some("1.1"), V1_2, Some(V1_1)),
            ("unknown ones are passed over", Some("2.0, 1.1"), V1_2, Some(V1_1)),
            ("none in common", Some("2.0"), V1_2, None),
            ("none below the subprotocol", Some("1.2"), V1_0, None),
            ("an empty list", Some(""), V1_2, None),
        ];
        for (rule, accept, newest, expected) in cases {
            assert_eq!(Version::negotiate(*accept, *newest), *expected, "{rule}");
        }
    }

    #[test]
    fn escapes_depend_on_the_version() {
        let cases: &[(&str, Version, &str, Option<&str>)] = &[
            ("1.2 has four escapes", V1_2, r"a\nb\rc\cd\\e", Some("a\nb\rc:d\\e")),
            ("1.2 knows no others", V1_2, r"a\tb", None),
            ("1.2: a lone backslash at the end", V1_2, r"a\", None),
            ("1.1 has three escapes", V1_1, r"a\nb\cd\\e", Some("a\nb:d\\e")),
            ("1.1 leaves others alone", V1_1, r"a\rb\t\", Some(r"a\rb\t\")),
            ("1.0 has none", V1_0, r"a\nb", Some(r"a\nb")),
            ("1.0 pads with spaces", V1_0, " a b ", Some("a b")),
            ("1.1 does not trim", V1_1, " a b ", Some(" a b ")),
        ];
        for (rule, version, text, expected) in cases {
            let plain = version.unescape(text);
            assert_eq!(plain.as_deref().ok(), *expected, "{rule}");
        }
    }

    #[test]
    fn names_that_a_version_cannot_write_are_known() {
        let cases: &[(&str, &str, [bool; 3])] = &[
            ("plain", "a-b c", [true; 3]),
            ("a colon", "content-length:9", [false, true, true]),
            ("a line feed", "a\nb", [false, true, true]),
            ("a carriage return", "a\rb", [false, false, true]),
            ("a backslash", "a\\b", [true; 3]),
            ("a space before", " content-length", [false, true, true]),
            ("a space behind", "content-length ", [false, true, true]),
            ("a space alone", " ", [false, true, true]),
        ];
        for (rule, name, expected) in cases {
            assert_eq!(
                [V1_0, V1_1, V1_2].map(|version| version.can_name(name)),
                *expected,
                "{rule}"
            );
            for version in [V1_0, V1_1, V1_2].into_iter().filter(|version| version.can_name(name)) {
                let mut to = Vec::new();
                version.escape(name, &mut to);
                let read = version.unescape(str::from_utf8(&to).unwrap()).unwrap();
                assert_eq!(read, *name, "{rule}, {version}");
            }
        }
    }

    #[test]
    fn no_value_can_break_its_line() {
        let cases: &[(Version, &str)] =
            &[(V1_0, r"a:b\ c d e"), (V1_1, r"a\cb\\ c\nd e"), (V1_2, r"a\cb\\\rc\nd e")];
        for (version, expected) in cases {
            let mut to = Vec::new();
            version.escape("a:b\\\rc\nd\0e", &mut to);
            assert_eq!(str::from_utf8(&to).unwrap(), *expected, "{version}");
        }
    }
}
