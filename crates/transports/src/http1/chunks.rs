//! Where a body in chunks ends, and how large it will be at least (RFC 9112 section 7.1).

/// Reads the framing of a body in chunks as it arrives.
///
/// It decodes nothing; the size of a chunk is known before the chunk itself. White space behind a
/// size is refused where no extension follows, which no client sends.
#[derive(Debug, Default)]
pub(super) struct ChunkScanner {
    state: State,
    /// Of the size that is being read.
    size: u64,
    digits: usize,
    /// Of all chunks whose size is known.
    announced: u64,
    /// Of extensions, then of trailers.
    overhead: usize,
}

/// ```text
///                 +----------------------- next chunk ------------------------+
///                 v                                                           |
/// Size --;--> Extension --CR--> SizeLf --> Data --> DataCr --> DataLf --------+
///   +------------ CR ------------^   +- size 0 -> TrailerStart --CR--> EndLf --> Done
///                                                  |       ^
///                                                  v       |
///                                              Trailer --> TrailerLf
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    #[default]
    Size,
    /// White space behind the size.
    Blank,
    Extension,
    SizeLf,
    Data(u64),
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    Done,
}

/// Why a body cannot be had.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BodyError {
    /// It is larger than may be, or says that it will be.
    #[error("the request's body is too large")]
    TooLarge,
    /// It ends too early, or its chunks are malformed.
    #[error("the request's body is broken")]
    Broken,
}

impl ChunkScanner {
    /// Scans the next bytes of the body; returns how many of them belong to it. It ends where that
    /// is less than all, or where [`ChunkScanner::is_done`].
    ///
    /// # Errors
    /// When the chunks are malformed, or their sizes are more than `max` together.
    pub(super) fn scan(&mut self, bytes: &[u8], max: u64) -> Result<usize, BodyError> {
        let mut rest = bytes;
        while self.state != State::Done
            && let Some((&byte, behind)) = rest.split_first()
        {
            if let State::Data(left) = &mut self.state {
                let count = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= count as u64;
                rest = rest.get(count..).unwrap_or_default();
                if *left == 0 {
                    self.state = State::DataCr;
                }
            } else {
                self.state = self.step(byte, max)?;
                rest = behind;
            }
        }
        Ok(bytes.len() - rest.len())
    }

    /// Whether the body has ended.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The bytes that the body has at least: a size only grows with more digits.
    pub(super) const fn announced(&self) -> u64 {
        self.announced.saturating_add(self.size)
    }

    fn step(&mut self, byte: u8, max: u64) -> Result<State, BodyError> {
        Ok(match (self.state, byte) {
            (State::Size, _) if byte.is_ascii_hexdigit() => {
                self.digit(byte)?;
                State::Size
            }
            (State::Size, b'\r') if self.digits > 0 => {
                self.check_size(max)?;
                State::SizeLf
            }
            (State::Blank, b';') => State::Extension,
            (State::Size, b';') if self.digits > 0 => {
                self.check_size(max)?;
                State::Extension
            }
            (State::Blank, b' ' | b'\t') => {
                self.overhead()?;
                State::Blank
            }
            (State::Size, b' ' | b'\t') if self.digits > 0 => {
                self.check_size(max)?;
                self.overhead()?;
                State::Blank
            }
            (State::Extension, b'\r') => State::SizeLf,
            (State::Extension, _) if is_text(byte) => {
                self.overhead()?;
                State::Extension
            }
            (State::SizeLf, b'\n') => {
                let size = std::mem::take(&mut self.size);
                self.digits = 0;
                self.announced = self.announced.saturating_add(size);
                if size == 0 { State::TrailerStart } else { State::Data(size) }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size,
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::TrailerStart | State::Trailer, _) if is_text(byte) => {
                self.overhead()?;
                State::Trailer
            }
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::Done,
            _ => return Err(BodyError::Broken),
        })
    }

    fn digit(&mut self, byte: u8) -> Result<(), BodyError> {
        let digit = char::from(byte).to_digit(16).unwrap_or(0);
        self.size = self.size.saturating_mul(16).saturating_add(digit.into());
        self.digits += 1;
        if self.digits > SIZE_DIGITS_MAX { Err(BodyError::Broken) } else { Ok(()) }
    }

    /// A size is refused before any of its chunk has come.
    fn check_size(&self, max: u64) -> Result<(), BodyError> {
        if self.size > SIZE_MAX {
            return Err(BodyError::Broken);
        }
        let announced = self.announced.saturating_add(self.size);
        if announced > max { Err(BodyError::TooLarge) } else { Ok(()) }
    }

    fn overhead(&mut self) -> Result<(), BodyError> {
        self.overhead += 1;
        if self.overhead > OVERHEAD_BYTES_MAX { Err(BodyError::Broken) } else { Ok(()) }
    }
}

const fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

/// Digits of a size; some write zeros first.
const SIZE_DIGITS_MAX: usize = 32;
/// No message of any configuration has as much: such a size is nonsense, not merely too large.
const SIZE_MAX: u64 = u32::MAX as u64;
/// Most bytes of all extensions and trailers of a body. No client sends any.
const OVERHEAD_BYTES_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes behind the body, whole and for any split; `None`: it goes on.
    fn scan(bytes: &[u8], max: u64) -> Result<Option<usize>, BodyError> {
        let mut scanner = ChunkScanner::default();
        let whole = scanner.scan(bytes, max);
        for split in 0..bytes.len() {
            let mut scanner = ChunkScanner::default();
            let parts = scanner.scan(&bytes[..split], max).and_then(|first| {
                let second =
                    if scanner.is_done() { 0 } else { scanner.scan(&bytes[split..], max)? };
                Ok(first + second)
            });
            assert_eq!(whole, parts, "{} split at {split}", bytes.escape_ascii());
        }
        whole.map(|used| scanner.is_done().then(|| bytes.len() - used))
    }

    #[test]
    fn chunks_end_where_they_say() {
        use BodyError::{Broken, TooLarge};
        let cases: &[(&str, &[u8], Result<Option<usize>, BodyError>)] = &[
            ("one chunk", b"5\r\nhello\r\n0\r\n\r\n", Ok(Some(0))),
            ("no chunk", b"0\r\n\r\nGET", Ok(Some(3))),
            ("two, the next request", b"1\r\na\r\nA\r\n0123456789\r\n0\r\n\r\nGET /", Ok(Some(5))),
            ("marks within", b"8\r\n0\r\n\r\nabc\r\n0\r\n\r\n", Ok(Some(0))),
            ("zeros", b"0005\r\nhello\r\n000\r\n\r\n", Ok(Some(0))),
            ("an extension", b"5;a=b;c=\"d \"\r\nhello\r\n0;x\r\n\r\n", Ok(Some(0))),
            ("white space before it", b"5 \t;a\r\nhello\r\n0\r\n\r\n", Ok(Some(0))),
            ("trailers", b"0\r\nA: b\r\nC: d\r\n\r\n", Ok(Some(0))),
            ("half a size", b"5", Ok(None)),
            ("half a chunk", b"5\r\nhel", Ok(None)),
            ("no end", b"5\r\nhello\r\n", Ok(None)),
            ("no size", b"\r\n", Err(Broken)),
            ("no size, an extension", b";a\r\n", Err(Broken)),
            ("a sign", b"+5\r\nhello", Err(Broken)),
            ("a negative size", b"-1\r\n", Err(Broken)),
            ("a prefix", b"0x5\r\nhello", Err(Broken)),
            ("no hexadecimal digit", b"5g\r\n", Err(Broken)),
            ("white space first", b" 5\r\nhello", Err(Broken)),
            ("white space behind", b"5 \r\nhello", Err(Broken)),
            ("an underscore", b"1_0\r\n", Err(Broken)),
            ("LF alone", b"5\nhello", Err(Broken)),
            ("CR alone", b"5\rhello", Err(Broken)),
            ("LF in an extension", b"5;a\nhello", Err(Broken)),
            ("CR in an extension", b"5;a\rb\r\n", Err(Broken)),
            ("NUL in an extension", b"5;\0\r\n", Err(Broken)),
            ("a chunk that is longer", b"5\r\nhello!\r\n", Err(Broken)),
            ("no CR behind a chunk", b"5\r\nhello\n", Err(Broken)),
            ("LF alone at the end", b"0\r\n\n", Err(Broken)),
            ("LF alone in trailers", b"0\r\nA: b\nC: d\r\n", Err(Broken)),
            ("CR alone in trailers", b"0\r\nA: b\rC: d\r\n", Err(Broken)),
            ("the largest", b"64\r\n", Ok(None)),
            ("a byte more", b"65\r", Err(TooLarge)),
            ("a byte more with an extension", b"65;a", Err(TooLarge)),
            ("a byte more with white space", b"65 ", Err(TooLarge)),
            ("together", b"5\r\nhello\r\n5F\r\n", Ok(None)),
            ("a byte more together", b"5\r\nhello\r\n60\r", Err(TooLarge)),
            ("no such size", b"FFFFFFFFFFFFFFFF\r", Err(Broken)),
            ("more than 64 bits", b"10000000000000005\r\nhello", Err(Broken)),
            ("zeros without end", &[b'0'; 40], Err(Broken)),
        ];
        for (rule, bytes, expected) in cases {
            assert_eq!(scan(bytes, 100), *expected, "{rule}");
        }
        assert_eq!(scan(b"FFFFFFFF\r\n", u64::MAX), Ok(None));
        assert_eq!(scan(b"100000000\r\n", u64::MAX), Err(Broken));
    }

    #[test]
    fn extensions_and_trailers_have_a_bound() {
        let scan = |body: &[u8]| ChunkScanner::default().scan(body, u64::MAX);
        let long = |bytes| "a".repeat(bytes);
        let body = format!("1;{}\r\nx\r\n", long(OVERHEAD_BYTES_MAX));
        assert_eq!(scan(body.as_bytes()), Ok(body.len()));
        let body = format!("1;{}\r\nx\r\n1;a", long(OVERHEAD_BYTES_MAX));
        assert_eq!(scan(body.as_bytes()), Err(BodyError::Broken));
        let body = "1;abc\r\nx\r\n".repeat(OVERHEAD_BYTES_MAX / 3 + 1);
        assert_eq!(scan(body.as_bytes()), Err(BodyError::Broken), "many short ones");
        let body = format!("0\r\nA:{}", long(OVERHEAD_BYTES_MAX));
        assert_eq!(scan(body.as_bytes()), Err(BodyError::Broken));
        let body = format!("1{}", " ".repeat(OVERHEAD_BYTES_MAX + 1));
        assert_eq!(scan(body.as_bytes()), Err(BodyError::Broken));
        // The honest client nearest to it: very many small chunks.
        let body = "1\r\nx\r\n".repeat(100_000) + "0\r\n\r\n";
        assert_eq!(scan(body.as_bytes()), Ok(body.len()));
    }
}
