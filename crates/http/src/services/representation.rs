//! What a file, on disk or in the binary, has to say over HTTP: which of its codings, whether the
//! peer has it already, which part of it (RFC 9110 §8, §12 to §14).

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use httpdate::HttpDate;

use crate::body::{Body, NO_SNIFF, full, text};

/// One coding of a file as it is now.
#[derive(Debug)]
pub(crate) struct Representation {
    /// Its type, whatever the coding.
    pub content_type: HeaderValue,
    /// How its bytes are coded.
    pub coding: Coding,
    /// A strong entity tag, quotes included; without commas.
    pub tag: String,
    /// When it was changed.
    pub modified: Option<HttpDate>,
    /// Bytes, as coded.
    pub length: u64,
    /// How long others may keep it.
    pub cache: HeaderValue,
}

/// A content coding.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Coding {
    /// `br`.
    Brotli,
    /// `gzip`.
    Gzip,
    /// As it is.
    Identity,
}

/// What a `Range` requests.
#[derive(Debug, Eq, PartialEq)]
enum Wanted {
    Whole,
    Part(Range<u64>),
    Nothing,
}

impl Representation {
    /// The response to a GET or HEAD. `body` makes the body of the bytes of a range.
    pub(crate) fn respond(
        &self,
        method: &Method,
        headers: &HeaderMap,
        body: impl FnOnce(Range<u64>) -> Body,
    ) -> Response<Body> {
        if self.has_changed(headers) {
            return text(StatusCode::PRECONDITION_FAILED, "the file has changed");
        }
        if self.is_known(headers) {
            return self.response(StatusCode::NOT_MODIFIED, full(Bytes::new()));
        }
        let (status, part) = match self.wanted(method, headers) {
            Wanted::Whole => (StatusCode::OK, 0..self.length),
            Wanted::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
            Wanted::Nothing => return self.out_of_range(),
        };
        let content_range =
            format!("bytes {}-{}/{}", part.start, part.end.saturating_sub(1), self.length);
        let length = part.end - part.start;
        let body = if method == Method::HEAD { full(Bytes::new()) } else { body(part) };
        let mut response = self.response(status, body);
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, self.content_type.clone());
        fields.insert(header::CONTENT_LENGTH, length.into());
        fields.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if let Some(token) = self.coding.token() {
            fields.insert(header::CONTENT_ENCODING, HeaderValue::from_static(token));
        }
        if status == StatusCode::PARTIAL_CONTENT {
            set(fields, header::CONTENT_RANGE, &content_range);
        }
        response
    }

    /// A response with what it says about the representation, whether it holds it or not.
    fn response(&self, status: StatusCode, body: Body) -> Response<Body> {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let fields = response.headers_mut();
        fields.insert(header::CACHE_CONTROL, self.cache.clone());
        fields.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        fields.insert(header::X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
        set(fields, header::ETAG, &self.tag);
        if let Some(modified) = self.modified {
            set(fields, header::LAST_MODIFIED, &modified.to_string());
        }
        response
    }

    fn out_of_range(&self) -> Response<Body> {
        let mut response = text(StatusCode::RANGE_NOT_SATISFIABLE, "no such part of the file");
        set(response.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{}", self.length));
        response
    }

    /// Whether the peer wants an older one only. `If-Match` is the better of the two.
    fn has_changed(&self, headers: &HeaderMap) -> bool {
        if headers.contains_key(header::IF_MATCH) {
            return !values(headers, header::IF_MATCH).any(|tag| tag == "*" || tag == self.tag);
        }
        self.after(headers, header::IF_UNMODIFIED_SINCE) == Some(true)
    }

    /// Whether the peer has it already. `If-None-Match` is the better of the two.
    fn is_known(&self, headers: &HeaderMap) -> bool {
        if headers.contains_key(header::IF_NONE_MATCH) {
            return values(headers, header::IF_NONE_MATCH)
                .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.tag);
        }
        self.after(headers, header::IF_MODIFIED_SINCE) == Some(false)
    }

    /// Whether it was changed after the date in a header, if that is known.
    fn after(&self, headers: &HeaderMap, name: HeaderName) -> Option<bool> {
        let date: HttpDate = headers.get(name)?.to_str().ok()?.parse().ok()?;
        Some(self.modified? > date)
    }

    /// Only GET has ranges. Those that we do not know, several at once among them, mean the whole.
    fn wanted(&self, method: &Method, headers: &HeaderMap) -> Wanted {
        // Peers that have our tag send no date here (§13.1.5), so that a date means another file.
        let same = headers.get(header::IF_RANGE).is_none_or(|tag| tag == self.tag.as_str());
        if method != Method::GET || !same {
            return Wanted::Whole;
        }
        let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
        range.and_then(|range| self.part(range)).unwrap_or(Wanted::Whole)
    }

    fn part(&self, range: &str) -> Option<Wanted> {
        let (unit, range) = range.split_once('=')?;
        let (first, last) = range.trim().split_once('-')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let part = match (first, last) {
            ("", suffix) => self.length.saturating_sub(number(suffix)?)..self.length,
            (first, "") => number(first)?..self.length,
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                if last < first {
                    return None;
                }
                first..last.saturating_add(1).min(self.length)
            }
        };
        Some(if part.is_empty() { Wanted::Nothing } else { Wanted::Part(part) })
    }
}

impl Coding {
    /// All of them, the best first.
    const ALL: [Self; 3] = [Self::Brotli, Self::Gzip, Self::Identity];

    /// What is added to the name of a file so coded.
    pub(crate) const fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Gzip => ".gz",
            Self::Identity => "",
        }
    }

    /// Its name in headers.
    const fn token(self) -> Option<&'static str> {
        match self {
            Self::Brotli => Some("br"),
            Self::Gzip => Some("gzip"),
            Self::Identity => None,
        }
    }

    /// What the peer takes, the most welcome first. The file as it is comes last where the peer
    /// does not want it, because there may be nothing else to give (§12.5.3).
    pub(crate) fn accepted(headers: &HeaderMap) -> Vec<Self> {
        let listed: Vec<(&str, f32)> =
            values(headers, header::ACCEPT_ENCODING).map(weighted).collect();
        let weight = |coding: Self| {
            let name = coding.token().unwrap_or("identity");
            let of = |name: &str| listed.iter().find(|(token, _)| token.eq_ignore_ascii_case(name));
            match of(name).or_else(|| of("*")) {
                Some(&(_, weight)) => weight,
                None if coding == Self::Identity => f32::MIN_POSITIVE,
                None => 0.0,
            }
        };
        let mut taken: Vec<Self> = Self::ALL
            .into_iter()
            .filter(|&coding| coding == Self::Identity || weight(coding) > 0.0)
            .collect();
        taken.sort_by(|&a, &b| weight(b).total_cmp(&weight(a)));
        taken
    }
}

/// The response to methods other than GET and HEAD.
pub(crate) fn read_only(method: &Method) -> Option<Response<Body>> {
    if method == Method::GET || method == Method::HEAD {
        return None;
    }
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are allowed here");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    Some(response)
}

/// The type of a file by its name. Text is taken to be UTF-8.
pub(crate) fn content_type(name: &str) -> HeaderValue {
    let guess = mime_guess::from_path(name).first_raw().unwrap_or("application/octet-stream");
    if guess.starts_with("text/") {
        let text = format!("{guess}; charset=utf-8");
        return HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(guess));
    }
    HeaderValue::from_static(guess)
}

/// The values of a header that is a list.
fn values(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// A coding and its weight. One that cannot be read does not count.
fn weighted(value: &str) -> (&str, f32) {
    let Some((token, weight)) = value.split_once(';') else { return (value, 1.0) };
    let weight = weight.trim().strip_prefix(['q', 'Q']).and_then(|q| q.strip_prefix('='));
    let weight = weight.and_then(|q| q.parse().ok()).filter(|q| (0.0..=1.0).contains(q));
    (token.trim_end(), weight.unwrap_or(0.0))
}

/// A number in decimal digits, the largest there is if it is larger.
fn number(digits: &str) -> Option<u64> {
    let decimal = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    decimal.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Sets a header to a string that can be one.
fn set(fields: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        fields.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use http_body_util::BodyExt as _;

    use super::*;

    const DIGITS: &[u8] = b"0123456789";
    const MODIFIED: &str = "Thu, 01 Jan 1970 00:00:10 GMT";
    const EARLIER: &str = "Thu, 01 Jan 1970 00:00:09 GMT";

    /// The rule, the request's headers, the status and the body that must come back.
    type Case = (&'static str, &'static [(&'static str, &'static str)], u16, &'static str);

    #[tokio::test]
    async fn responds_to_conditions_and_ranges() {
        let cases: &[Case] = &[
            ("no range: the whole", &[], 200, "0123456789"),
            ("its tag is known", &[("if-none-match", "\"t\"")], 304, ""),
            ("weak comparison", &[("if-none-match", "W/\"t\"")], 304, ""),
            ("one of a list", &[("if-none-match", "\"a\", \"t\"")], 304, ""),
            (
                "one of two lines",
                &[("if-none-match", "\"a\""), ("if-none-match", "\"t\"")],
                304,
                "",
            ),
            ("any", &[("if-none-match", "*")], 304, ""),
            ("another tag", &[("if-none-match", "\"u\"")], 200, "0123456789"),
            ("no quotes, no tag", &[("if-none-match", "t")], 200, "0123456789"),
            ("not since", &[("if-modified-since", MODIFIED)], 304, ""),
            ("since", &[("if-modified-since", EARLIER)], 200, "0123456789"),
            ("no date", &[("if-modified-since", "yesterday")], 200, "0123456789"),
            (
                "the tag decides, not the date",
                &[("if-none-match", "\"u\""), ("if-modified-since", MODIFIED)],
                200,
                "0123456789",
            ),
            ("still the same", &[("if-match", "\"t\"")], 200, "0123456789"),
            ("not the same", &[("if-match", "\"u\"")], 412, "the file has changed\n"),
            ("strong comparison", &[("if-match", "W/\"t\"")], 412, "the file has changed\n"),
            ("unmodified", &[("if-unmodified-since", MODIFIED)], 200, "0123456789"),
            ("modified", &[("if-unmodified-since", EARLIER)], 412, "the file has changed\n"),
            ("first bytes", &[("range", "bytes=0-2")], 206, "012"),
            ("one byte", &[("range", "bytes=9-9")], 206, "9"),
            ("to the end", &[("range", "bytes=7-")], 206, "789"),
            ("the end is cut", &[("range", "bytes=7-99")], 206, "789"),
            ("a suffix", &[("range", "bytes=-2")], 206, "89"),
            ("a longer suffix", &[("range", "bytes=-99")], 206, "0123456789"),
            ("a huge end", &[("range", "bytes=8-99999999999999999999")], 206, "89"),
            ("the largest end", &[("range", "bytes=8-18446744073709551615")], 206, "89"),
            ("beyond the end", &[("range", "bytes=10-")], 416, "no such part of the file\n"),
            ("an empty suffix", &[("range", "bytes=-0")], 416, "no such part of the file\n"),
            ("backwards", &[("range", "bytes=5-4")], 200, "0123456789"),
            ("several", &[("range", "bytes=0-1,3-4")], 200, "0123456789"),
            ("another unit", &[("range", "lines=0-1")], 200, "0123456789"),
            ("a sign is no digit", &[("range", "bytes=+1-2")], 200, "0123456789"),
            ("nothing", &[("range", "bytes=-")], 200, "0123456789"),
            ("if the same", &[("range", "bytes=0-0"), ("if-range", "\"t\"")], 206, "0"),
            ("if another", &[("range", "bytes=0-0"), ("if-range", "\"u\"")], 200, "0123456789"),
            ("if weak", &[("range", "bytes=0-0"), ("if-range", "W/\"t\"")], 200, "0123456789"),
            ("if a date", &[("range", "bytes=0-0"), ("if-range", MODIFIED)], 200, "0123456789"),
            ("known before ranged", &[("range", "bytes=0-0"), ("if-none-match", "*")], 304, ""),
        ];
        for (rule, request, status, body) in cases {
            let response = respond(&Method::GET, request);
            assert_eq!(response.status(), *status, "{rule}");
            let length = response.headers().get(header::CONTENT_LENGTH).cloned();
            let sent = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(sent, *body, "{rule}");
            if matches!(status, 200 | 206) {
                assert_eq!(length.unwrap(), body.len().to_string().as_str(), "{rule}");
            }
        }
    }

    #[tokio::test]
    async fn says_what_it_sends() {
        let part = respond(&Method::GET, &[("range", "bytes=2-4")]);
        let expected = [
            ("accept-ranges", "bytes"),
            ("cache-control", "no-cache"),
            ("content-encoding", "br"),
            ("content-length", "3"),
            ("content-range", "bytes 2-4/10"),
            ("content-type", "text/css; charset=utf-8"),
            ("etag", "\"t\""),
            ("last-modified", MODIFIED),
            ("vary", "accept-encoding"),
            ("x-content-type-options", "nosniff"),
        ];
        assert_eq!(fields(&part), expected);

        let known = respond(&Method::GET, &[("if-none-match", "\"t\"")]);
        let expected = [
            ("cache-control", "no-cache"),
            ("etag", "\"t\""),
            ("last-modified", MODIFIED),
            ("vary", "accept-encoding"),
            ("x-content-type-options", "nosniff"),
        ];
        assert_eq!(fields(&known), expected);

        let beyond = respond(&Method::GET, &[("range", "bytes=99-")]);
        assert_eq!(beyond.headers()[header::CONTENT_RANGE], "bytes */10");

        let head = respond(&Method::HEAD, &[("range", "bytes=2-4")]);
        assert_eq!(head.status(), StatusCode::OK, "only GET has ranges");
        assert_eq!(head.headers()[header::CONTENT_LENGTH], "10");
        assert!(head.into_body().collect().await.unwrap().to_bytes().is_empty());
    }

    #[test]
    fn orders_codings_by_weight() {
        use Coding::{Brotli, Gzip, Identity};
        let cases: &[(&str, &[&str], &[Coding])] = &[
            ("nothing said", &[], &[Identity]),
            ("an empty list", &[""], &[Identity]),
            ("browsers", &["gzip, deflate, br, zstd"], &[Brotli, Gzip, Identity]),
            ("over two lines", &["gzip", "br"], &[Brotli, Gzip, Identity]),
            ("by weight", &["br;q=0.5, gzip;q=0.8"], &[Gzip, Brotli, Identity]),
            ("spaces", &["br ; q=0.5 , gzip; Q=0.8"], &[Gzip, Brotli, Identity]),
            ("not wanted", &["br;q=0, gzip"], &[Gzip, Identity]),
            ("any", &["*"], &[Brotli, Gzip, Identity]),
            ("any but one", &["*, br;q=0.000"], &[Gzip, Identity]),
            ("rather as it is", &["identity, gzip;q=0.5"], &[Identity, Gzip]),
            ("as it is, unwanted", &["gzip, identity;q=0"], &[Gzip, Identity]),
            ("nothing wanted", &["*;q=0"], &[Identity]),
            ("upper case", &["GZIP"], &[Gzip, Identity]),
            ("a weight out of range", &["gzip;q=2"], &[Identity]),
            ("a weight that is none", &["gzip;q=NaN, br;q="], &[Identity]),
        ];
        for (rule, lines, expected) in cases {
            let mut headers = HeaderMap::new();
            for line in *lines {
                headers.append(header::ACCEPT_ENCODING, HeaderValue::from_static(line));
            }
            assert_eq!(Coding::accepted(&headers), *expected, "{rule}");
        }
    }

    #[test]
    fn knows_types_by_name() {
        let cases = [
            ("index.html", "text/html; charset=utf-8"),
            ("a.b/main.js", "text/javascript; charset=utf-8"),
            ("notes.TXT", "text/plain; charset=utf-8"),
            ("data.json", "application/json"),
            ("picture.svg", "image/svg+xml"),
            ("module.wasm", "application/wasm"),
            ("no-ending", "application/octet-stream"),
        ];
        for (name, expected) in cases {
            assert_eq!(content_type(name), expected, "{name}");
        }
    }

    #[test]
    fn allows_reading_only() {
        assert!(read_only(&Method::GET).is_none());
        assert!(read_only(&Method::HEAD).is_none());
        let refusal = read_only(&Method::POST).unwrap();
        assert_eq!(refusal.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(refusal.headers()[header::ALLOW], "GET, HEAD");
    }

    fn respond(method: &Method, request: &[(&'static str, &'static str)]) -> Response<Body> {
        let mut headers = HeaderMap::new();
        for (name, value) in request {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let digits = Representation {
            content_type: content_type("a.css"),
            coding: Coding::Brotli,
            tag: "\"t\"".to_owned(),
            modified: Some((SystemTime::UNIX_EPOCH + Duration::from_secs(10)).into()),
            length: 10,
            cache: HeaderValue::from_static("no-cache"),
        };
        digits.respond(method, &headers, |part| {
            let part = usize::try_from(part.start).unwrap()..usize::try_from(part.end).unwrap();
            full(Bytes::from_static(&DIGITS[part]))
        })
    }

    fn fields(response: &Response<Body>) -> Vec<(&str, &str)> {
        let fields = response.headers().iter();
        let mut fields: Vec<_> =
            fields.map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        fields.sort_unstable();
        fields
    }
}
