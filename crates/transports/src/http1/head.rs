//! Checks a request's head before anything acts on it: its form, its target, and where
//! its body ends (RFC 9112 sections 2, 3, 5 and 6).
//!
//! Whatever two parsers could understand in two ways is refused: behind a proxy that
//! reads it the other way, one request would be two.

use http::{StatusCode, Uri};

/// Why a request is refused before any service sees it. The connection ends with the response,
/// since what follows on it may be anything. The text is one line, for the response's body.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadRequest {
    /// The first line is no request line, or the peer speaks something else.
    #[error("this is not an HTTP/1.1 request: the first line must be `METHOD target HTTP/1.1`")]
    RequestLine,
    /// The target has none of the forms of RFC 9112 section 3.2.
    #[error("the request's target must be a path, or an http or https URL with a host, encoded")]
    Target,
    /// The target is longer than [`TARGET_BYTES_MAX`].
    #[error("the request's target is longer than {TARGET_BYTES_MAX} bytes")]
    TargetTooLong,
    /// Another version of HTTP.
    #[error("HTTP/1.1 is spoken here")]
    HttpVersion,
    /// CONNECT.
    #[error("this is no proxy: CONNECT is not for it")]
    Connect,
    /// A header line that is none: white space before the colon, a folded line, a control byte.
    #[error("a header line must be `name: value`, without control characters")]
    Header,
    /// More than [`HEAD_BYTES_MAX`] or [`HEADERS_MAX`].
    #[error("the request's head is larger than {HEAD_BYTES_MAX} bytes or {HEADERS_MAX} headers")]
    HeaderTooLarge,
    /// `chunked` is not the last coding, stands there twice, or is used in HTTP/1.0.
    #[error("Transfer-Encoding must be `chunked`, once, in HTTP/1.1")]
    TransferEncoding,
    /// A transfer coding other than `chunked`.
    #[error("no Transfer-Encoding but `chunked` is understood: use Content-Encoding")]
    TransferCoding,
    /// `Content-Length` is no number or stands there twice.
    #[error("Content-Length must be one number")]
    ContentLength,
    /// Both say where the body ends.
    #[error("a request has a Content-Length or a Transfer-Encoding, not both")]
    TwoLengths,
    /// A length that not even a file has.
    #[error("the request's body is too large")]
    BodyTooLarge,
}

impl BadRequest {
    /// The status of the response.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::RequestLine
            | Self::Target
            | Self::Header
            | Self::TransferEncoding
            | Self::ContentLength
            | Self::TwoLengths => StatusCode::BAD_REQUEST,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HttpVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Connect | Self::TransferCoding => StatusCode::NOT_IMPLEMENTED,
            Self::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }
}

/// A whole head.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Head {
    /// Its bytes, the empty line included.
    pub(super) len: usize,
    pub(super) body: BodyLength,
}

/// Where the body ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BodyLength {
    /// After `n` bytes.
    Known(u64),
    /// After the last chunk and the trailers.
    Chunked,
}

/// Reads a head as it arrives, each byte once.
#[derive(Debug, Default)]
pub(super) struct HeadScanner {
    scanned: usize,
    line_start: usize,
    version: Option<Version>,
    headers: usize,
    codings: Codings,
    content_length: Option<u64>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Version {
    Http10,
    Http11,
}

/// What the `Transfer-Encoding` lines say so far.
#[derive(Clone, Copy, Debug, Default)]
struct Codings {
    count: usize,
    chunked: usize,
    is_last_chunked: bool,
}

impl HeadScanner {
    /// Scans what has been received since the last call. `bytes` begin with the head; `None`: it goes on.
    ///
    /// An error is returned as soon as its bytes have been received.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Result<Option<Head>, BadRequest> {
        while let Some(&byte) = bytes.get(self.scanned) {
            let line = bytes.get(self.line_start..self.scanned).unwrap_or_default();
            self.scanned += 1;
            if byte == b'\n' {
                self.line_start = self.scanned;
                let is_end = self.line(line.strip_suffix(b"\r").unwrap_or(line))?;
                if is_end {
                    return Ok(Some(Head { len: self.scanned, body: self.body()? }));
                }
            } else if line.ends_with(b"\r") || (byte.is_ascii_control() && !b"\t\r".contains(&byte))
            {
                return Err(self.malformed());
            } else if self.version.is_none() && line.len() >= REQUEST_LINE_BYTES_MAX {
                let has_method = line.get(..METHOD_BYTES_MAX + 1).unwrap_or(line).contains(&b' ');
                return Err(if has_method { BadRequest::TargetTooLong } else { self.malformed() });
            }
            if self.scanned >= HEAD_BYTES_MAX {
                return Err(BadRequest::HeaderTooLarge);
            }
        }
        Ok(None)
    }

    /// Reads a line; returns whether it is the last.
    fn line(&mut self, line: &[u8]) -> Result<bool, BadRequest> {
        if self.version.is_none() {
            // Some old clients send an empty line behind a body (RFC 9112 section 2.2).
            if !line.is_empty() {
                self.version = Some(request_line(line)?);
            }
            return Ok(false);
        }
        if line.is_empty() {
            return Ok(true);
        }
        self.headers += 1;
        if self.headers > HEADERS_MAX {
            return Err(BadRequest::HeaderTooLarge);
        }
        let colon = line.iter().position(|&byte| byte == b':').ok_or(BadRequest::Header)?;
        let (name, value) = line.split_at(colon);
        let value = trim_blank(value.get(1..).unwrap_or_default());
        if !is_token(name) {
            return Err(BadRequest::Header);
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.codings.add(value);
        } else if name.eq_ignore_ascii_case(b"content-length") {
            if self.content_length.is_some() {
                return Err(BadRequest::ContentLength);
            }
            self.content_length = Some(content_length(value)?);
        }
        Ok(false)
    }

    /// Where the body ends (RFC 9112 section 6.3).
    fn body(&self) -> Result<BodyLength, BadRequest> {
        let codings = self.codings;
        if codings.count == 0 {
            return Ok(BodyLength::Known(self.content_length.unwrap_or(0)));
        }
        if self.version != Some(Version::Http11) || codings.chunked != 1 || !codings.is_last_chunked
        {
            return Err(BadRequest::TransferEncoding);
        }
        if self.content_length.is_some() {
            return Err(BadRequest::TwoLengths);
        }
        if codings.count > 1 {
            return Err(BadRequest::TransferCoding);
        }
        Ok(BodyLength::Chunked)
    }

    const fn malformed(&self) -> BadRequest {
        if self.version.is_none() { BadRequest::RequestLine } else { BadRequest::Header }
    }
}

impl Codings {
    /// An empty member counts as a coding, so that it is refused: not all pass over it alike.
    fn add(&mut self, value: &[u8]) {
        for member in value.split(|&byte| byte == b',') {
            self.count += 1;
            self.is_last_chunked = trim_blank(member).eq_ignore_ascii_case(b"chunked");
            self.chunked += usize::from(self.is_last_chunked);
        }
    }
}

fn request_line(line: &[u8]) -> Result<Version, BadRequest> {
    let mut words = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(BadRequest::RequestLine);
    };
    if !is_token(method) || method.len() > METHOD_BYTES_MAX {
        return Err(BadRequest::RequestLine);
    }
    let version = match (words.next(), words.next()) {
        (Some(b"HTTP/1.1"), None) => Version::Http11,
        (Some(b"HTTP/1.0"), None) => Version::Http10,
        (Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]), None)
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(BadRequest::HttpVersion);
        }
        // A blank within the target, most likely.
        (Some(_), Some(_)) => return Err(BadRequest::Target),
        (Some(_) | None, None) | (None, Some(_)) => return Err(BadRequest::RequestLine),
    };
    if target.len() > TARGET_BYTES_MAX {
        return Err(BadRequest::TargetTooLong);
    }
    check_target(method, target)?;
    Ok(version)
}

/// RFC 9112 section 3.2. A fragment stays with the client (RFC 9110 section 4.2.5).
fn check_target(method: &[u8], target: &[u8]) -> Result<(), BadRequest> {
    let uri = Uri::try_from(target).map_err(|_| BadRequest::Target)?;
    let is_http = uri.scheme().is_some() && matches!(uri.scheme_str(), Some("http" | "https"));
    let has_host = uri
        .authority()
        .is_some_and(|authority| !authority.host().is_empty() && !authority.as_str().contains('@'));
    let is_good = !target.contains(&b'#')
        && match target {
            _ if method == b"CONNECT" => uri.scheme().is_none() && has_host,
            b"*" => method == b"OPTIONS",
            [b'/', ..] => true,
            _ => is_http && has_host,
        };
    match is_good {
        true if method == b"CONNECT" => Err(BadRequest::Connect),
        true => Ok(()),
        false => Err(BadRequest::Target),
    }
}

fn content_length(value: &[u8]) -> Result<u64, BadRequest> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(BadRequest::ContentLength);
    }
    let text = str::from_utf8(value).map_err(|_| BadRequest::ContentLength)?;
    let length = text.parse().ok().filter(|&length| length <= CONTENT_LENGTH_MAX);
    length.ok_or(BadRequest::BodyTooLarge)
}

fn trim_blank(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// RFC 9110 section 5.6.2.
fn is_token(bytes: &[u8]) -> bool {
    let is_token_byte =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(is_token_byte)
}

/// Most bytes of a request's head.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// Most headers.
pub const HEADERS_MAX: usize = 100;
/// Most bytes of a target. RFC 9110 section 4.1 wants 8,000.
pub const TARGET_BYTES_MAX: usize = 16 << 10;
/// The largest file that Linux has. hyper keeps some larger numbers for itself.
const CONTENT_LENGTH_MAX: u64 = u64::MAX >> 1;
/// The longest registered method has 17.
const METHOD_BYTES_MAX: usize = 32;
/// A line as long as this has a target that is too long.
const REQUEST_LINE_BYTES_MAX: usize =
    METHOD_BYTES_MAX + TARGET_BYTES_MAX + " ".len() + " HTTP/1.1\r".len();

#[cfg(test)]
mod tests {
    use super::*;

    /// The result of a request line and headers, LF standing for CR LF.
    fn scan(head: &str) -> Result<BodyLength, BadRequest> {
        scan_bytes(format!("{head}\n\n").replace('\n', "\r\n").as_bytes())
    }

    /// The same, whole and a byte at a time.
    fn scan_bytes(bytes: &[u8]) -> Result<BodyLength, BadRequest> {
        let whole = HeadScanner::default().scan(bytes);
        let mut scanner = HeadScanner::default();
        let mut last = Ok(None);
        for end in 0..=bytes.len() {
            last = scanner.scan(&bytes[..end]);
            if last != Ok(None) {
                break;
            }
        }
        assert_eq!(whole, last, "{}", bytes.escape_ascii());
        let head = whole?.unwrap_or_else(|| panic!("no end: {}", bytes.escape_ascii()));
        assert_eq!(head.len, bytes.len());
        Ok(head.body)
    }

    const NONE: Result<BodyLength, BadRequest> = Ok(BodyLength::Known(0));

    #[test]
    fn a_target_has_one_of_four_forms() {
        use BadRequest::{Connect, RequestLine, Target};
        let cases: &[(&str, &str, Result<BodyLength, BadRequest>)] = &[
            ("origin-form", "GET / HTTP/1.1", NONE),
            ("a query", "GET /a/b?c=d&e=?/ HTTP/1.1", NONE),
            ("two slashes", "GET //a HTTP/1.1", NONE),
            ("escapes", "POST /topics/a%20b%2Fc HTTP/1.1", NONE),
            ("what browsers do not escape", "GET /a|b[c]^\\?{d}|`^' HTTP/1.1", NONE),
            ("curl escapes no UTF-8", "POST /topics/Grüße HTTP/1.1", NONE),
            ("absolute-form", "GET http://gw.example.com:80/a HTTP/1.1", NONE),
            ("without a path", "GET http://gw.example.com HTTP/1.1", NONE),
            ("https, in capitals", "GET HTTPS://gw/ HTTP/1.1", NONE),
            ("IPv6", "GET http://[::1]:8080/a HTTP/1.1", NONE),
            ("asterisk-form", "OPTIONS * HTTP/1.1", NONE),
            ("an asterisk for others", "GET * HTTP/1.1", Err(Target)),
            ("more than an asterisk", "OPTIONS *a HTTP/1.1", Err(Target)),
            ("asterisk, query", "OPTIONS *?a HTTP/1.1", Err(Target)),
            ("methods are case-sensitive", "options * HTTP/1.1", Err(Target)),
            ("no slash", "GET a/b HTTP/1.1", Err(Target)),
            ("a word", "GET topics HTTP/1.1", Err(Target)),
            ("a query alone", "GET ?a HTTP/1.1", Err(Target)),
            ("a backslash first", "GET \\a HTTP/1.1", Err(Target)),
            ("authority-form", "GET gw.example.com:443 HTTP/1.1", Err(Target)),
            ("authority-form for CONNECT", "CONNECT gw.example.com:443 HTTP/1.1", Err(Connect)),
            ("CONNECT of a path", "CONNECT /a HTTP/1.1", Err(Target)),
            ("CONNECT of a URL", "CONNECT http://gw/ HTTP/1.1", Err(Target)),
            ("another scheme", "GET ftp://gw/a HTTP/1.1", Err(Target)),
            ("a WebSocket's", "GET ws://gw/a HTTP/1.1", Err(Target)),
            ("a file", "GET file:///etc/passwd HTTP/1.1", Err(Target)),
            ("no host", "GET http:///a HTTP/1.1", Err(Target)),
            ("a port alone", "GET http://:80/a HTTP/1.1", Err(Target)),
            ("no authority", "GET http:/a HTTP/1.1", Err(Target)),
            ("a user", "GET http://ann@gw/a HTTP/1.1", Err(Target)),
            ("a fragment", "GET /a#b HTTP/1.1", Err(Target)),
            ("an empty fragment", "GET /# HTTP/1.1", Err(Target)),
            ("a fragment of a URL", "GET http://gw/a#b HTTP/1.1", Err(Target)),
            ("a blank", "GET /a b HTTP/1.1", Err(Target)),
            ("a blank too many", "GET  / HTTP/1.1", Err(Target)),
            ("a blank at the end", "GET / HTTP/1.1 ", Err(Target)),
            ("a tab", "GET /a\tb HTTP/1.1", Err(Target)),
            ("a tab for a blank", "GET\t/\tHTTP/1.1", Err(RequestLine)),
            ("a control byte", "GET /a\u{1}b HTTP/1.1", Err(RequestLine)),
            ("NUL", "GET /\0 HTTP/1.1", Err(RequestLine)),
            ("DEL", "GET /\u{7f} HTTP/1.1", Err(RequestLine)),
            ("no target", "GET HTTP/1.1", Err(RequestLine)),
            ("an empty target", "GET  HTTP/1.1", Err(Target)),
            ("HTTP/0.9", "GET /", Err(RequestLine)),
            ("no method", " / HTTP/1.1", Err(RequestLine)),
            ("a method that is no token", "G(T / HTTP/1.1", Err(RequestLine)),
            ("a method of 33 bytes", &format!("{} / HTTP/1.1", "M".repeat(33)), Err(RequestLine)),
            ("a method of 32 bytes", &format!("{} / HTTP/1.1", "M".repeat(32)), NONE),
            ("HTTP/1.0", "GET / HTTP/1.0", NONE),
            ("HTTP/2", "PRI * HTTP/2.0", Err(BadRequest::HttpVersion)),
            ("HTTP/1.2", "GET / HTTP/1.2", Err(BadRequest::HttpVersion)),
            ("in small letters", "GET / http/1.1", Err(RequestLine)),
            ("no minor version", "GET / HTTP/1", Err(RequestLine)),
            ("more digits", "GET / HTTP/1.10", Err(RequestLine)),
            ("another protocol", "SSH-2.0-OpenSSH_9.2", Err(RequestLine)),
        ];
        for (rule, line, expected) in cases {
            assert_eq!(scan(line), *expected, "{rule}: {line}");
        }
    }

    #[test]
    fn a_body_ends_in_one_place_only() {
        use BadRequest::{
            BodyTooLarge, ContentLength, TransferCoding, TransferEncoding, TwoLengths,
        };
        let chunked = Ok(BodyLength::Chunked);
        let cases: &[(&str, Result<BodyLength, BadRequest>)] = &[
            ("Host: a", NONE),
            ("Content-Length: 0", NONE),
            ("Content-Length: 5", Ok(BodyLength::Known(5))),
            ("content-LENGTH:\t 005\t", Ok(BodyLength::Known(5))),
            ("Content-Length: 9223372036854775807", Ok(BodyLength::Known(CONTENT_LENGTH_MAX))),
            ("Content-Length: 9223372036854775808", Err(BodyTooLarge)),
            ("Content-Length: 18446744073709551615", Err(BodyTooLarge)),
            ("Content-Length: 18446744073709551616", Err(BodyTooLarge)),
            ("Content-Length:", Err(ContentLength)),
            ("Content-Length: +5", Err(ContentLength)),
            ("Content-Length: -5", Err(ContentLength)),
            ("Content-Length: 5.0", Err(ContentLength)),
            ("Content-Length: 0x5", Err(ContentLength)),
            ("Content-Length: 5 5", Err(ContentLength)),
            ("Content-Length: 5,", Err(ContentLength)),
            ("Content-Length: 5, 5", Err(ContentLength)),
            ("Content-Length: 5, 6", Err(ContentLength)),
            ("Content-Length: \"5\"", Err(ContentLength)),
            ("Content-Length: ٥", Err(ContentLength)),
            ("Content-Length: 5\nContent-Length: 5", Err(ContentLength)),
            ("Content-Length: 5\nX: y\ncontent-length: 6", Err(ContentLength)),
            ("Transfer-Encoding: chunked", chunked),
            ("transfer-encoding:Chunked", chunked),
            ("Transfer-Encoding: \tchunked\t ", chunked),
            ("Transfer-Encoding: chunked, chunked", Err(TransferEncoding)),
            ("Transfer-Encoding: chunked\nTransfer-Encoding: chunked", Err(TransferEncoding)),
            ("Transfer-Encoding: chunked, gzip", Err(TransferEncoding)),
            ("Transfer-Encoding: chunked\nTransfer-Encoding: gzip", Err(TransferEncoding)),
            ("Transfer-Encoding: chunked, gzip, chunked", Err(TransferEncoding)),
            ("Transfer-Encoding: gzip", Err(TransferEncoding)),
            ("Transfer-Encoding: identity", Err(TransferEncoding)),
            ("Transfer-Encoding:", Err(TransferEncoding)),
            ("Transfer-Encoding: ,", Err(TransferEncoding)),
            ("Transfer-Encoding: chunked,", Err(TransferEncoding)),
            ("Transfer-Encoding: xchunked", Err(TransferEncoding)),
            ("Transfer-Encoding: chunkedx", Err(TransferEncoding)),
            ("Transfer-Encoding: chunked;a=b", Err(TransferEncoding)),
            ("Transfer-Encoding: \"chunked\"", Err(TransferEncoding)),
            ("Transfer-Encoding: chun\tked", Err(TransferEncoding)),
            ("Transfer-Encoding: chunked chunked", Err(TransferEncoding)),
            ("Transfer-Encoding: chun\u{212A}ed", Err(TransferEncoding)),
            ("Transfer-Encoding: gzip, chunked", Err(TransferCoding)),
            ("Transfer-Encoding: gzip\nTransfer-Encoding: chunked", Err(TransferCoding)),
            ("Transfer-Encoding: identity, chunked", Err(TransferCoding)),
            ("Transfer-Encoding: , chunked", Err(TransferCoding)),
            ("Transfer-Encoding: chunked\nContent-Length: 5", Err(TwoLengths)),
            ("Content-Length: 5\nTransfer-Encoding: chunked", Err(TwoLengths)),
            ("Content-Length: 0\nTransfer-Encoding: chunked", Err(TwoLengths)),
            ("Transfer-Encoding: chunked\nContent-Length: x", Err(ContentLength)),
        ];
        for (headers, expected) in cases {
            assert_eq!(
                scan(&format!("POST /topics/a HTTP/1.1\n{headers}")),
                *expected,
                "{headers}"
            );
        }
        let old = scan("POST /topics/a HTTP/1.0\nTransfer-Encoding: chunked");
        assert_eq!(old, Err(TransferEncoding), "HTTP/1.0 has no chunks");
        assert_eq!(scan("POST /a HTTP/1.0\nContent-Length: 5"), Ok(BodyLength::Known(5)));
    }

    #[test]
    fn a_header_line_is_a_name_a_colon_and_a_value() {
        let bad = Err(BadRequest::Header);
        let cases: &[(&str, &[u8], Result<BodyLength, BadRequest>)] = &[
            ("LF alone ends a line", b"GET / HTTP/1.1\nHost: a\n\n", NONE),
            ("empty lines first", b"\r\n\nGET / HTTP/1.1\r\n\r\n", NONE),
            ("an empty value", b"GET / HTTP/1.1\r\nA:\r\n\r\n", NONE),
            ("Latin-1, UTF-8", b"GET / HTTP/1.1\r\nA: \xE9\xC3\xA9\r\n\r\n", NONE),
            ("a tab in a value", b"GET / HTTP/1.1\r\nA: b\tc\r\n\r\n", NONE),
            ("any token", b"GET / HTTP/1.1\r\n!#$%&'*+-.^_`|~9: b\r\n\r\n", NONE),
            ("a blank before the colon", b"GET / HTTP/1.1\r\nContent-Length : 5\r\n\r\n", bad),
            ("a tab before the colon", b"GET / HTTP/1.1\r\nContent-Length\t: 5\r\n\r\n", bad),
            ("a folded line", b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", bad),
            ("folded with a tab", b"GET / HTTP/1.1\r\nA: b\r\n\tc: d\r\n\r\n", bad),
            ("folded at once", b"GET / HTTP/1.1\r\n A: b\r\n\r\n", bad),
            ("no colon", b"GET / HTTP/1.1\r\nA\r\n\r\n", bad),
            ("no name", b"GET / HTTP/1.1\r\n: b\r\n\r\n", bad),
            ("Latin-1 in a name", b"GET / HTTP/1.1\r\n\xE9: b\r\n\r\n", bad),
            ("a name with a bracket", b"GET / HTTP/1.1\r\nA(: b\r\n\r\n", bad),
            ("CR alone", b"GET / HTTP/1.1\r\nA: b\rTransfer-Encoding: chunked\r\n\r\n", bad),
            ("CR CR LF", b"GET / HTTP/1.1\r\nA: b\r\r\n\r\n", bad),
            ("CR alone at the end", b"GET / HTTP/1.1\r\n\r\r\n", bad),
            ("NUL", b"GET / HTTP/1.1\r\nA: \0\r\n\r\n", bad),
            ("a vertical tab", b"GET / HTTP/1.1\r\nTransfer-Encoding:\x0bchunked\r\n\r\n", bad),
            ("DEL", b"GET / HTTP/1.1\r\nA: \x7f\r\n\r\n", bad),
            ("CR in the request line", b"GET /\r HTTP/1.1\r\n\r\n", Err(BadRequest::RequestLine)),
            ("TLS", b"\x16\x03\x01\x02\x00\x01\x00", Err(BadRequest::RequestLine)),
        ];
        for (rule, bytes, expected) in cases {
            assert_eq!(scan_bytes(bytes), *expected, "{rule}");
        }
    }

    #[test]
    fn what_is_too_large_is_told_before_it_ends() {
        let scan = |bytes: &str| HeadScanner::default().scan(bytes.as_bytes());
        let target = |bytes: usize| format!("/{}", "a".repeat(bytes - 1));
        let line = format!("GET {} HTTP/1.1\r\n", target(TARGET_BYTES_MAX));
        assert_eq!(scan(&line), Ok(None));
        let line = format!("GET {} HTTP/1.1\r\n", target(TARGET_BYTES_MAX + 1));
        assert_eq!(scan(&line), Err(BadRequest::TargetTooLong));
        let line = format!("GET {}", target(REQUEST_LINE_BYTES_MAX));
        assert_eq!(scan(&line), Err(BadRequest::TargetTooLong));
        let line = "a".repeat(REQUEST_LINE_BYTES_MAX + 1);
        assert_eq!(scan(&line), Err(BadRequest::RequestLine));

        let head = |headers: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(headers));
        assert!(scan(&head(HEADERS_MAX)).is_ok_and(|head| head.is_some()));
        assert_eq!(scan(&head(HEADERS_MAX + 1)), Err(BadRequest::HeaderTooLarge));
        let value = |bytes: usize| format!("GET / HTTP/1.1\r\nA: {}", "b".repeat(bytes));
        let room = HEAD_BYTES_MAX - value(0).len();
        assert_eq!(scan(&value(room - 1)), Ok(None));
        assert_eq!(scan(&value(room)), Err(BadRequest::HeaderTooLarge));
        assert_eq!(scan(&"\r\n".repeat(HEAD_BYTES_MAX)), Err(BadRequest::HeaderTooLarge));
    }
}
