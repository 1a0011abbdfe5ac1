//! What a request's body is coded with (RFC 9110 section 8.4), and the way back.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use tokio::task;
use transports::http1::BodyError;

use crate::body::{Body, text};

/// A content coding that is understood.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ContentCoding {
    /// `gzip` and `x-gzip` (RFC 1952), in one member or several.
    Gzip,
    /// `deflate`: zlib (RFC 1950), as it should be, or bare deflate (RFC 1951), as some send.
    Deflate,
    /// `br` (RFC 7932).
    Brotli,
}

/// There is a coding that is not understood, or more than [`CODINGS_MAX`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Unsupported;

/// The response to what is [`Unsupported`], which says what would do (RFC 9110 section 15.5.16).
pub(crate) fn unsupported() -> Response<Body> {
    let why = "the Content-Encoding must be gzip, br or deflate, or two of them";
    let mut response = text(StatusCode::UNSUPPORTED_MEDIA_TYPE, why);
    let understood = HeaderValue::from_static("gzip, br, deflate");
    response.headers_mut().insert(header::ACCEPT_ENCODING, understood);
    response
}

/// The codings of a body, in the order in which they were applied.
pub(crate) fn codings(headers: &HeaderMap) -> Result<Vec<ContentCoding>, Unsupported> {
    let lines = headers.get_all(header::CONTENT_ENCODING).iter();
    let members = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    let mut codings = Vec::new();
    for member in members {
        codings.push(match member.trim_ascii().to_ascii_lowercase().as_slice() {
            b"" | b"identity" => continue,
            b"gzip" | b"x-gzip" => ContentCoding::Gzip,
            b"deflate" => ContentCoding::Deflate,
            b"br" => ContentCoding::Brotli,
            _ => return Err(Unsupported),
        });
    }
    if codings.len() > CODINGS_MAX { Err(Unsupported) } else { Ok(codings) }
}

/// Undoes the codings. Other tasks of the core have their turns meanwhile; before each `takes` is
/// called with the memory in use.
///
/// # Errors
/// When a body is not what its coding says, or larger than `max` bytes without it: no more than
/// those are decoded.
pub(crate) async fn decode(
    body: Bytes,
    codings: &[ContentCoding],
    max: usize,
    takes: impl Fn(usize),
) -> Result<Bytes, BodyError> {
    let mut body = body;
    for (index, &coding) in codings.iter().enumerate().rev() {
        let max = if index == 0 { max } else { coded_bytes_max(max) };
        body = decode_one(&body, coding, max, &takes).await?;
    }
    Ok(body)
}

/// Bytes that a body of `max` bytes may have with a coding: one that cannot be compressed grows,
/// with the fixed codes of deflate to 9 bits a byte.
pub(crate) const fn coded_bytes_max(max: usize) -> usize {
    max.saturating_add(max >> 3).saturating_add(1024)
}

async fn decode_one(
    body: &[u8],
    coding: ContentCoding,
    max: usize,
    takes: impl Fn(usize),
) -> Result<Bytes, BodyError> {
    let mut rest = body;
    let mut decoder = Decoder::new(coding, rest);
    let mut members = 1;
    let mut decoded = Vec::new();
    let mut room = vec![0; STEP_BYTES];
    loop {
        let step = decoder.step(rest.get(..STEP_BYTES).unwrap_or(rest), &mut room)?;
        rest = rest.get(step.read..).unwrap_or_default();
        decoded.extend_from_slice(room.get(..step.written).unwrap_or_default());
        if decoded.len() > max {
            return Err(BodyError::TooLarge);
        }
        if step.is_end && rest.is_empty() {
            return Ok(decoded.into_boxed_slice().into());
        } else if step.is_end && coding == ContentCoding::Gzip && members < MEMBERS_MAX {
            members += 1;
            decoder = Decoder::new(coding, rest);
        } else if step.is_end || (step.read == 0 && step.written == 0) {
            return Err(BodyError::Broken);
        }
        takes(body.len() + decoded.capacity());
        task::yield_now().await;
    }
}

enum Decoder {
    Zlib(Decompress),
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
}

/// What one step did.
struct Step {
    read: usize,
    written: usize,
    is_end: bool,
}

impl Decoder {
    fn new(coding: ContentCoding, body: &[u8]) -> Self {
        match coding {
            ContentCoding::Gzip => Self::Zlib(Decompress::new_gzip(WINDOW_BITS)),
            ContentCoding::Deflate => Self::Zlib(Decompress::new(is_zlib(body))),
            ContentCoding::Brotli => {
                // Strict: without the extension of RFC 7932 that has windows of 1 GiB.
                let state = BrotliState::new_strict(
                    StandardAlloc::default(),
                    StandardAlloc::default(),
                    StandardAlloc::default(),
                );
                Self::Brotli(Box::new(state))
            }
        }
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, BodyError> {
        match self {
            Self::Zlib(state) => {
                let (read, written) = (state.total_in(), state.total_out());
                let status = state
                    .decompress(input, output, FlushDecompress::None)
                    .map_err(|_| BodyError::Broken)?;
                let since = |total: u64, before: u64| {
                    usize::try_from(total - before).map_err(|_| BodyError::Broken)
                };
                Ok(Step {
                    read: since(state.total_in(), read)?,
                    written: since(state.total_out(), written)?,
                    is_end: status == Status::StreamEnd,
                })
            }
            Self::Brotli(state) => {
                let (mut left, mut read) = (input.len(), 0);
                let (mut room, mut written) = (output.len(), 0);
                let mut total = 0;
                let result = BrotliDecompressStream(
                    &mut left,
                    &mut read,
                    input,
                    &mut room,
                    &mut written,
                    output,
                    &mut total,
                    state,
                );
                match result {
                    BrotliResult::ResultFailure => Err(BodyError::Broken),
                    BrotliResult::ResultSuccess => Ok(Step { read, written, is_end: true }),
                    BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {
                        Ok(Step { read, written, is_end: false })
                    }
                }
            }
        }
    }
}

/// Whether it begins with a header of zlib (RFC 1950 section 2.2). Deflate itself never does where
/// it was made by a compressor: that would be a stored block of odd form.
fn is_zlib(body: &[u8]) -> bool {
    match body {
        [method, flags, ..] => {
            method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]).is_multiple_of(31)
        }
        _ => true,
    }
}

/// Codings that are undone at most.
const CODINGS_MAX: usize = 2;
/// Members of a gzip body: a tool that makes many makes one of 64 KiB.
const MEMBERS_MAX: usize = 1024;
/// What is decoded at a time.
const STEP_BYTES: usize = 64 << 10;
/// The largest window.
const WINDOW_BITS: u8 = 15;

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{
        Compression,
        write::{DeflateEncoder, GzEncoder, ZlibEncoder},
    };

    use super::*;

    #[test]
    fn codings_are_a_list_in_any_case() {
        use ContentCoding::{Brotli, Deflate, Gzip};
        let cases: &[(&[&str], Result<&[ContentCoding], Unsupported>)] = &[
            (&[], Ok(&[])),
            (&[""], Ok(&[])),
            (&["identity"], Ok(&[])),
            (&["identity, Identity", ","], Ok(&[])),
            (&["gzip"], Ok(&[Gzip])),
            (&["GZip"], Ok(&[Gzip])),
            (&["x-gzip"], Ok(&[Gzip])),
            (&[",\tbr ,"], Ok(&[Brotli])),
            (&["deflate, identity"], Ok(&[Deflate])),
            (&["gzip, br"], Ok(&[Gzip, Brotli])),
            (&["gzip", "deflate"], Ok(&[Gzip, Deflate])),
            (&["gzip, gzip"], Ok(&[Gzip, Gzip])),
            (&["gzip, gzip, gzip"], Err(Unsupported)),
            (&["zstd"], Err(Unsupported)),
            (&["gzip, zstd"], Err(Unsupported)),
            (&["compress"], Err(Unsupported)),
            (&["aes128gcm"], Err(Unsupported)),
            (&["gzip;q=1"], Err(Unsupported)),
            (&["gzip br"], Err(Unsupported)),
            (&["\"gzip\""], Err(Unsupported)),
            (&["*"], Err(Unsupported)),
        ];
        for (lines, expected) in cases {
            let mut headers = HeaderMap::new();
            for line in *lines {
                headers.append(header::CONTENT_ENCODING, line.parse().unwrap());
            }
            assert_eq!(codings(&headers).as_deref(), expected.as_ref().copied(), "{lines:?}");
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(bytes: &[u8], level: Compression) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), level);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn raw(bytes: &[u8], level: Compression) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), level);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// "hello" in Brotli.
    const HELLO: &[u8] = b"\x0b\x02\x80hello\x03";

    #[tokio::test]
    async fn a_coding_is_undone() {
        let noise = noise(200_000);
        let levels = [Compression::none(), Compression::fast(), Compression::best()];
        for content in [&b""[..], b"a", b"hello", &[0; 100_000], &noise] {
            for level in levels {
                let mut cases = vec![
                    ("gzip", ContentCoding::Gzip, gzip(content)),
                    ("zlib", ContentCoding::Deflate, zlib(content, level)),
                    ("bare deflate", ContentCoding::Deflate, raw(content, level)),
                ];
                if content == b"hello" {
                    cases.push(("Brotli", ContentCoding::Brotli, HELLO.to_vec()));
                }
                for (name, coding, coded) in cases {
                    assert!(coded.len() <= coded_bytes_max(content.len()), "{name}");
                    let decoded = decode_one(&coded, coding, content.len(), |_| ()).await;
                    assert_eq!(decoded.as_deref(), Ok(content), "{name}");
                    if !content.is_empty() {
                        let decoded = decode_one(&coded, coding, content.len() - 1, |_| ()).await;
                        assert_eq!(decoded, Err(BodyError::TooLarge), "{name}");
                    }
                    for end in [0, 1, coded.len() / 2, coded.len() - 1] {
                        let decoded =
                            decode_one(&coded[..end], coding, content.len(), |_| ()).await;
                        assert_eq!(decoded, Err(BodyError::Broken), "{name} truncated at {end}");
                    }
                    let longer = [&coded[..], b"x"].concat();
                    assert_eq!(
                        decode_one(&longer, coding, 1 << 20, |_| ()).await,
                        Err(BodyError::Broken),
                        "{name}"
                    );
                }
            }
        }
    }

    #[tokio::test]
    async fn several_codings_are_undone_from_the_last() {
        use ContentCoding::{Deflate, Gzip};
        let content = noise(5000);
        let coded = zlib(&gzip(&content), Compression::fast());
        let decoded = decode(coded.clone().into(), &[Gzip, Deflate], content.len(), |_| ()).await;
        assert_eq!(decoded.as_deref(), Ok(&content[..]));
        let decoded = decode(coded.into(), &[Deflate, Gzip], content.len(), |_| ()).await;
        assert_eq!(decoded, Err(BodyError::Broken));
    }

    #[tokio::test]
    async fn gzip_has_members_of_a_bounded_number() {
        let decode = |bytes: Vec<u8>| decode(bytes.into(), &[ContentCoding::Gzip], 1 << 20, |_| ());
        let two = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(decode(two).await.as_deref(), Ok(&b"one two"[..]));
        let half = [gzip(b"one "), gzip(b"two")[..12].to_vec()].concat();
        assert_eq!(decode(half).await, Err(BodyError::Broken));
        assert!(decode(gzip(b"x").repeat(MEMBERS_MAX)).await.is_ok());
        assert_eq!(decode(gzip(b"").repeat(MEMBERS_MAX + 1)).await, Err(BodyError::Broken));
    }

    #[tokio::test]
    async fn noise_is_broken() {
        for coding in [ContentCoding::Gzip, ContentCoding::Deflate, ContentCoding::Brotli] {
            for seed in 0..200 {
                let bytes = noise(1000 + seed);
                let decoded =
                    decode(bytes[seed..].to_vec().into(), &[coding], 1 << 20, |_| ()).await;
                assert!(decoded.is_err(), "{coding:?} {seed}");
            }
        }
        // RFC 7932 has windows of 16 MiB at most; an extension of it has others.
        let large_window = b"\x11\x1e\x0b\x02\x80hello\x03";
        let decoded =
            decode(large_window[..].into(), &[ContentCoding::Brotli], 1 << 20, |_| ()).await;
        assert_eq!(decoded, Err(BodyError::Broken));
    }

    /// Bytes that cannot be compressed.
    fn noise(count: usize) -> Vec<u8> {
        let mut random = testkit::Random::new(1);
        (0..count).map(|_| u8::try_from(random.below(256)).unwrap()).collect()
    }
}
