//! The service `pages`: the web pages that are part of the binary.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use rust_embed::RustEmbed;

use super::representation::{Coding, Representation, content_type, read_only};
use crate::body::{Body, full, text};

/// Answers a request for a page. `rest` is what follows the service's own path.
pub(crate) fn answer(rest: &str, method: &Method, headers: &HeaderMap) -> Response<Body> {
    answer_from(Built::file, rest, method, headers)
}

/// What the build of `web` left, if there was one.
#[derive(RustEmbed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Built;

/// A file of the binary.
struct File {
    bytes: Bytes,
    /// Names these bytes and no others.
    tag: String,
}

impl Built {
    fn file(name: &str) -> Option<File> {
        let file = Self::get(name)?;
        let hash = file.metadata.sha256_hash();
        let tag = hash.first_chunk().map_or(0, |start| u128::from_be_bytes(*start));
        let bytes = match file.data {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => bytes.into(),
        };
        Some(File { bytes, tag: format!("\"{tag:032x}\"") })
    }
}

fn answer_from(
    file: impl Fn(&str) -> Option<File>,
    rest: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Response<Body> {
    if let Some(refusal) = read_only(method) {
        return refusal;
    }
    let name = if rest.is_empty() { WELCOME } else { rest };
    let variant = |coding: Coding| Some((coding, file(&format!("{name}{}", coding.suffix()))?));
    let Some((coding, file)) = Coding::accepted(headers).into_iter().find_map(variant) else {
        return if name == WELCOME {
            not_built()
        } else {
            text(StatusCode::NOT_FOUND, "no such page")
        };
    };
    let representation = Representation {
        content_type: content_type(name),
        coding,
        tag: file.tag,
        modified: None,
        length: u64::try_from(file.bytes.len()).unwrap_or(u64::MAX),
        cache: HeaderValue::from_static(if name.starts_with(HASHED) { KEEP } else { ASK }),
    };
    let mut response =
        representation.answer(method, headers, |part| full(slice(&file.bytes, part)));
    protect(response.headers_mut(), POLICY);
    response
}

/// What `/` says in a binary without pages.
fn not_built() -> Response<Body> {
    let mut response = Response::new(full(NOT_BUILT));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, content_type(WELCOME));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, crate::body::NO_SNIFF);
    protect(fields, NOT_BUILT_POLICY);
    response
}

/// Says what a browser must not let a page do, or others do with it.
fn protect(fields: &mut HeaderMap, policy: &'static str) {
    let cross_origin_opener_policy = HeaderName::from_static("cross-origin-opener-policy");
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, "same-origin"),
        (cross_origin_opener_policy, "same-origin"),
    ] {
        fields.insert(name, HeaderValue::from_static(value));
    }
}

fn slice(bytes: &Bytes, part: Range<u64>) -> Bytes {
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    bytes.slice(place(part.start)..place(part.end))
}

/// The page that stands for the folder.
const WELCOME: &str = "index.html";

/// Where the names of files hold a hash of what is in them.
const HASHED: &str = "assets/";

const KEEP: &str = "public, max-age=31536000, immutable";
const ASK: &str = "no-cache";

/// `'self'` includes WebSockets to the same host. Styles may be set by scripts: charts do.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; \
                      object-src 'none'; base-uri 'none'; form-action 'self'; \
                      frame-ancestors 'none'";

const NOT_BUILT: &str = include_str!("not_built.html");
const NOT_BUILT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                                form-action 'none'; frame-ancestors 'none'";

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn serves_what_was_built() {
        let cases = [
            ("the welcome page", "", "", 200, "home", "text/html; charset=utf-8", ASK),
            ("by its name", "index.html", "", 200, "home", "text/html; charset=utf-8", ASK),
            ("another page", "echo.html", "", 200, "echo", "text/html; charset=utf-8", ASK),
            ("hashed", "assets/a-1.js", "", 200, "js", "text/javascript; charset=utf-8", KEEP),
            ("coded", "assets/a-1.js", "br", 200, "br", "text/javascript; charset=utf-8", KEEP),
            ("another", "assets/a-1.js", "gzip", 200, "gz", "text/javascript; charset=utf-8", KEEP),
            ("not coded", "echo.html", "br", 200, "echo", "text/html; charset=utf-8", ASK),
            ("nothing", "none.html", "", 404, "no such page\n", "text/plain; charset=utf-8", ""),
            ("no folder", "assets/", "", 404, "no such page\n", "text/plain; charset=utf-8", ""),
            ("way out", "../a", "", 404, "no such page\n", "text/plain; charset=utf-8", ""),
        ];
        for (rule, rest, codings, status, body, kind, cache) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(codings));
            let response = answer_from(example, rest, &Method::GET, &headers);
            assert_eq!(response.status(), status, "{rule}");
            let fields = response.headers().clone();
            assert_eq!(fields[header::CONTENT_TYPE], kind, "{rule}");
            let said = fields.get(header::CACHE_CONTROL);
            assert_eq!(said.map_or("", |value| value.to_str().unwrap()), cache, "{rule}");
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), body, "{rule}");
        }
    }

    #[test]
    fn protects_pages() {
        let response = answer_from(example, "", &Method::GET, &HeaderMap::new());
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"));
        assert_eq!(response.headers()[header::REFERRER_POLICY], "same-origin");
        let refusal = answer_from(example, "", &Method::POST, &HeaderMap::new());
        assert_eq!(refusal.status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[tokio::test]
    async fn says_that_nothing_was_built() {
        for rest in ["", "index.html"] {
            let response = answer_from(|_| None, rest, &Method::GET, &HeaderMap::new());
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            let page = response.into_body().collect().await.unwrap().to_bytes();
            let page = std::str::from_utf8(&page).unwrap();
            assert!(page.contains("cargo xtask web") && page.contains("cargo xtask demo"));
        }
        let other = answer_from(|_| None, "echo.html", &Method::GET, &HeaderMap::new());
        assert_eq!(other.status(), StatusCode::NOT_FOUND);
    }

    #[test]
    fn embeds_whole_builds_only() {
        // With pages or without, each is in itself complete.
        assert_eq!(Built::iter().next().is_some(), Built::file(WELCOME).is_some());
    }

    fn example(name: &str) -> Option<File> {
        let bytes = match name {
            "index.html" => "home",
            "echo.html" => "echo",
            "assets/a-1.js" => "js",
            "assets/a-1.js.br" => "br",
            "assets/a-1.js.gz" => "gz",
            _ => return None,
        };
        Some(File { bytes: bytes.into(), tag: format!("\"{bytes}\"") })
    }
}
