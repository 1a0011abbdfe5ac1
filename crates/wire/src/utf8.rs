/// Checks UTF-8 that is received in pieces, which may be split inside a character.
///
/// Fails at the first byte after which nothing could make the text valid.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Utf8 {
    /// The first bytes of a character whose rest has not been received.
    partial: [u8; 3],
    partial_len: u8,
}

/// Whether all of it is UTF-8.
#[must_use]
pub fn is_text(bytes: &[u8]) -> bool {
    // Below this the standard library's check is the faster one.
    if bytes.len() < 256 {
        bytes.is_ascii() || str::from_utf8(bytes).is_ok()
    } else {
        simdutf8::basic::from_utf8(bytes).is_ok()
    }
}

/// Not UTF-8, whatever may follow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotUtf8;

impl Utf8 {
    /// Before the first piece.
    #[must_use]
    pub const fn new() -> Self {
        Self { partial: [0; 3], partial_len: 0 }
    }

    /// Checks the next piece.
    ///
    /// # Errors
    /// When no continuation could be valid; what is pushed after that has no meaning.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), NotUtf8> {
        let bytes = self.end_character(bytes)?;
        let (whole, partial) = bytes.split_at(bytes.len() - partial_at_end(bytes));
        simdutf8::basic::from_utf8(whole).map_err(|_| NotUtf8)?;
        self.begin_character(partial)
    }

    /// Whether the text may end here: no character is incomplete.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.partial_len == 0
    }

    /// Completes the character that was split, if one was; returns what follows it.
    fn end_character<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], NotUtf8> {
        let mut rest = bytes;
        while !self.is_complete() {
            let Some((next, after)) = rest.split_first() else { break };
            rest = after;
            let mut character = [0; 4];
            let len = usize::from(self.partial_len) + 1;
            for (to, from) in character.iter_mut().zip(self.partial().iter().chain([next])) {
                *to = *from;
            }
            let character = character.get(..len).unwrap_or_default();
            self.partial_len = 0;
            if str::from_utf8(character).is_err() {
                self.begin_character(character)?;
            }
        }
        Ok(rest)
    }

    /// Remembers the beginning of a character. A whole one, or none, is no beginning.
    fn begin_character(&mut self, bytes: &[u8]) -> Result<(), NotUtf8> {
        match str::from_utf8(bytes) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() || bytes.len() > self.partial.len() => {
                Err(NotUtf8)
            }
            Err(_) => {
                for (to, from) in self.partial.iter_mut().zip(bytes) {
                    *to = *from;
                    self.partial_len += 1;
                }
                Ok(())
            }
        }
    }

    fn partial(&self) -> &[u8] {
        self.partial.get(..usize::from(self.partial_len)).unwrap_or_default()
    }
}

/// How many bytes at the end begin a character and do not end it.
fn partial_at_end(bytes: &[u8]) -> usize {
    for (index, byte) in bytes.iter().rev().take(3).enumerate() {
        let length = match byte {
            0xC0..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xFF => 4,
            0x80..=0xBF => continue,
            0x00..=0x7F => return 0,
        };
        return if index + 1 < length { index + 1 } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The standard library's result for the whole: valid, incomplete, or wrong.
    fn expected(bytes: &[u8]) -> Result<bool, NotUtf8> {
        match str::from_utf8(bytes) {
            Ok(_) => Ok(true),
            Err(error) if error.error_len().is_none() => Ok(false),
            Err(_) => Err(NotUtf8),
        }
    }

    fn check(pieces: &[&[u8]]) -> Result<bool, NotUtf8> {
        let mut utf8 = Utf8::new();
        for piece in pieces {
            utf8.push(piece)?;
        }
        Ok(utf8.is_complete())
    }

    #[test]
    fn every_split_gives_the_result_of_the_whole() {
        let long = "κόσμε — 𐍈 ".repeat(20);
        let cases: &[&[u8]] = &[
            b"",
            b"plain",
            "κόσμε".as_bytes(),
            "a€b𐍈c".as_bytes(),
            long.as_bytes(),
            b"\xE2\x82",
            b"\xF0\x90\x8D",
            b"ab\xF4\x90\x80\x80",
            b"\xED\xA0\x80",
            b"\xC0\xAF",
            b"\xE0\x80\xAF",
            b"\xF8\x88\x80\x80\x80",
            b"\x80",
            b"a\xFF",
            b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xF4\x90\x80\x80edited",
            b"\xC2\xC2\xA9",
        ];
        for bytes in cases {
            for split in 0..=bytes.len() {
                let (before, after) = bytes.split_at(split);
                assert_eq!(check(&[before, after]), expected(bytes), "{bytes:x?} split at {split}");
            }
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(check(&single), expected(bytes), "{bytes:x?} byte by byte");
        }
    }

    #[test]
    fn each_prefix_is_refused_as_soon_as_it_can_be() {
        // All that begin a character, with each kind of second and third byte.
        let (seconds, thirds) =
            ([0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0], [0x80, 0x41]);
        for first in 0x80..=0xFF {
            for second in seconds {
                for third in thirds {
                    let bytes: [u8; 3] = [first, second, third];
                    for end in 1..=3 {
                        let prefix = bytes.get(..end).unwrap();
                        let single: Vec<&[u8]> = prefix.chunks(1).collect();
                        assert_eq!(check(&single), expected(prefix), "{prefix:x?}");
                        assert_eq!(check(&[prefix]), expected(prefix), "{prefix:x?} at once");
                    }
                }
            }
        }
    }
}
