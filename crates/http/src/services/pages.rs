//! The service `pages`: the web pages that are part of the binary.

use std::{
    borrow::Cow,
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
    ops::Range,
};

use bytes::Bytes;
use config::{Config, Listen, Service, ServiceKind};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use rust_embed::RustEmbed;
use serde_json::{Map, Value};

use super::representation::{Coding, Representation, content_type, read_only};
use crate::{
    About,
    body::{Body, full, text},
};

/// Who requests a page, and of what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit<'a> {
    pub(crate) config: &'a Config,
    pub(crate) about: &'a About,
    /// The listener that it came by.
    pub(crate) listen: Option<&'a Listen>,
    /// Whether [`ABOUT`] may tell what is for operators.
    pub(crate) is_operator: bool,
    /// The path of the service.
    pub(crate) base: &'a str,
}

/// The response to a request for a page. `rest` is what follows the path of the service; the pages find the
/// other services by [`SERVICES`], and [`ABOUT`] is what the first of them shows.
pub(crate) fn respond(
    visit: &Visit<'_>,
    rest: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Response<Body> {
    let file = |name: &str| match name {
        SERVICES => Some(File::listing(visit)),
        ABOUT => Some(File::about(visit)),
        _ => Built::file(name),
    };
    let rest = if rest.is_empty() && visit.about.has_market { TRADER } else { rest };
    respond_from(file, rest, method, headers)
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

impl File {
    /// Where the first service of each kind is that the pages use, as seen from the pages.
    fn listing(visit: &Visit<'_>) -> Self {
        let mut paths = Map::new();
        for service in &visit.config.services {
            let is_used = match service.kind {
                ServiceKind::Broker
                | ServiceKind::Echo
                | ServiceKind::Broadcast { .. }
                | ServiceKind::Topics
                | ServiceKind::Queues => true,
                ServiceKind::Pages
                | ServiceKind::Directory { .. }
                | ServiceKind::Proxy { .. }
                | ServiceKind::Metrics
                | ServiceKind::Health
                | ServiceKind::Readiness => false,
            };
            if is_used {
                let path = || relative(visit.base, &service.path).into();
                paths.entry(service.kind.as_str()).or_insert_with(path);
            }
        }
        if visit.about.has_market {
            paths.insert("trader".to_owned(), format!("./{TRADER}").into());
        }
        Self::of_json(paths)
    }

    /// Who may connect; for operators also where that is configured, and what else they have.
    fn about(visit: &Visit<'_>) -> Self {
        let Visit { config, about, listen, is_operator, base } = *visit;
        let login = match listen {
            _ if config.users.is_empty() => "none",
            Some(Listen { anonymous: true, .. }) => "optional",
            Some(_) | None => "required",
        };
        let is_local = listen.is_some_and(|listen| {
            listen.address.ip().is_loopback() && listen.forwarded_from.is_empty()
        });
        let mut members = Map::new();
        members.insert("version".to_owned(), about.version.into());
        members.insert("login".to_owned(), login.into());
        members.insert("local".to_owned(), is_local.into());
        if is_operator {
            let mut operator = Map::new();
            if let Some(file) = &about.file {
                operator.insert("file".to_owned(), (&**file).into());
            }
            let is_metrics = |service: &&Service| service.kind == ServiceKind::Metrics;
            if let Some(metrics) = config.services.iter().find(is_metrics) {
                operator.insert("metrics".to_owned(), relative(base, &metrics.path).into());
            }
            members.insert("operator".to_owned(), operator.into());
        }
        Self::of_json(members)
    }

    fn of_json(members: Map<String, Value>) -> Self {
        let text = Value::Object(members).to_string();
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&text);
        Self { bytes: text.into(), tag: format!("\"{hash:016x}\"") }
    }
}

/// The reference that leads from a folder to a path (RFC 3986 §4.2). It goes up no further than it
/// must, so that it holds behind proxies which put something in front of both, or take it away.
fn relative(folder: &str, path: &str) -> String {
    let parts = |path| str::split(path, '/').filter(|part| !part.is_empty());
    let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
    let shared = parts(folder).zip(parts(parents)).take_while(|(a, b)| a == b).count();
    // `./` keeps a colon in what follows from looking like a scheme.
    let mut reference = match parts(folder).count() - shared {
        0 => "./".to_owned(),
        up => "../".repeat(up),
    };
    for parent in parts(parents).skip(shared) {
        reference.extend([parent, "/"]);
    }
    reference + name
}

fn respond_from(
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
        return if name == WELCOME || name == TRADER {
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
        cache: HeaderValue::from_static(match name {
            ABOUT => NEVER_KEEP,
            _ if name.starts_with(HASHED) => KEEP,
            _ => REVALIDATE,
        }),
    };
    let mut response =
        representation.respond(method, headers, |part| full(slice(&file.bytes, part)));
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

/// Tells the pages where the other services are.
const SERVICES: &str = "services.json";

/// Tells the first page who may connect, and operators more.
pub(crate) const ABOUT: &str = "about.json";

/// The page of the demo's market.
const TRADER: &str = "trader.html";

/// The page that stands for the folder.
const WELCOME: &str = "index.html";

/// Where the names of files hold a hash of what is in them.
const HASHED: &str = "assets/";

const KEEP: &str = "public, max-age=31536000, immutable";
const REVALIDATE: &str = "no-cache";
/// It is not for everybody.
const NEVER_KEEP: &str = "no-store";

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
            ("the welcome page", "", "", 200, "home", "text/html; charset=utf-8", REVALIDATE),
            ("by its name", "index.html", "", 200, "home", "text/html; charset=utf-8", REVALIDATE),
            ("another page", "echo.html", "", 200, "echo", "text/html; charset=utf-8", REVALIDATE),
            ("hashed", "assets/a-1.js", "", 200, "js", "text/javascript; charset=utf-8", KEEP),
            ("coded", "assets/a-1.js", "br", 200, "br", "text/javascript; charset=utf-8", KEEP),
            ("another", "assets/a-1.js", "gzip", 200, "gz", "text/javascript; charset=utf-8", KEEP),
            ("not coded", "echo.html", "br", 200, "echo", "text/html; charset=utf-8", REVALIDATE),
            ("nothing", "none.html", "", 404, "no such page\n", "text/plain; charset=utf-8", ""),
            ("no folder", "assets/", "", 404, "no such page\n", "text/plain; charset=utf-8", ""),
            ("way out", "../a", "", 404, "no such page\n", "text/plain; charset=utf-8", ""),
        ];
        for (rule, rest, codings, status, body, kind, cache) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(codings));
            let response = respond_from(example, rest, &Method::GET, &headers);
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
        let response = respond_from(example, "", &Method::GET, &HeaderMap::new());
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"));
        assert_eq!(response.headers()[header::REFERRER_POLICY], "same-origin");
        let refusal = respond_from(example, "", &Method::POST, &HeaderMap::new());
        assert_eq!(refusal.status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[tokio::test]
    async fn tells_where_the_services_are() {
        let of = |services: Vec<(&str, &str)>| {
            let text = services.iter().fold(String::new(), |text, (path, kind)| {
                format!("{text}[[service]]\npath = \"{path}\"\ntype = \"{kind}\"\n")
            });
            Config::parse(&text, "test").unwrap()
        };
        let config = of(vec![
            ("/ui", "pages"),
            ("/ui/queues", "queues"),
            ("/messaging", "broker"),
            ("/a/second", "broker"),
            ("/", "echo"),
        ]);
        let expected = r#"{"broker":"../messaging","echo":"../","queues":"./queues"}"#;
        let mut about = About::default();
        let get_of = |config: &Config, about: &About, headers: &HeaderMap| {
            let visit = Visit { config, about, listen: None, is_operator: false, base: "/ui" };
            respond(&visit, SERVICES, &Method::GET, headers)
        };
        let get = |headers: &HeaderMap| get_of(&config, &about, headers);
        let response = get(&HeaderMap::new());
        let fields = response.headers().clone();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(fields[header::CONTENT_TYPE], "application/json");
        assert_eq!(fields[header::CACHE_CONTROL], REVALIDATE);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), expected);

        let known = HeaderMap::from_iter([(header::IF_NONE_MATCH, fields[header::ETAG].clone())]);
        assert_eq!(get(&known).status(), StatusCode::NOT_MODIFIED);
        let others = of(vec![("/ui", "pages"), ("/messaging", "broker")]);
        let moved = get_of(&others, &about, &known);
        assert_eq!(moved.status(), StatusCode::OK);
        about.has_market = true;
        let trading = get_of(&others, &about, &HeaderMap::new());
        let expected = r#"{"broker":"../messaging","trader":"./trader.html"}"#;
        assert_eq!(trading.into_body().collect().await.unwrap().to_bytes(), expected);
    }

    #[tokio::test]
    async fn tells_who_may_connect_and_operators_where_it_is_configured() {
        const USER: &str = "[[user]]\nname = \"ann\"\npassword = \"$argon2id$v=19$m=64,t=1,\
            p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc\"\n";
        let open = "[[listen]]\naddress = \"0.0.0.0:1\"\n";
        let cases = [
            (
                "the defaults",
                String::new(),
                false,
                r#"{"version":"1","login":"none","local":true}"#,
            ),
            (
                "with users",
                USER.to_owned(),
                false,
                r#"{"version":"1","login":"optional","local":true}"#,
            ),
            (
                "for other machines",
                format!("{USER}{open}"),
                false,
                r#"{"version":"1","login":"required","local":false}"#,
            ),
            (
                "an operator",
                String::new(),
                true,
                r#"{"version":"1","login":"none","local":true,"operator":{"file":"/gw.toml","metrics":"./metrics"}}"#,
            ),
        ];
        for (rule, text, is_operator, expected) in cases {
            let config = Config::parse(&text, "test").unwrap();
            let about = About { version: "1", file: Some("/gw.toml".into()), ..About::default() };
            let listen = config.listens.first();
            let visit = Visit { config: &config, about: &about, listen, is_operator, base: "/" };
            let response = respond(&visit, ABOUT, &Method::GET, &HeaderMap::new());
            assert_eq!(response.headers()[header::CACHE_CONTROL], NEVER_KEEP, "{rule}");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let sorted = |text: &[u8]| serde_json::from_slice::<Value>(text).unwrap();
            assert_eq!(sorted(&body), sorted(expected.as_bytes()), "{rule}");
        }
    }

    #[test]
    fn leads_from_folders_to_paths() {
        let cases = [
            ("beside the root", "/", "/messaging", "./messaging"),
            ("below it", "/", "/a/b", "./a/b"),
            ("up", "/ui", "/messaging", "../messaging"),
            ("up twice", "/a/b", "/messaging", "../../messaging"),
            ("no further than it must", "/a/b", "/a/messaging", "../messaging"),
            ("up and down", "/a/b", "/c/d/e", "../../c/d/e"),
            ("into the folder", "/ui", "/ui/messaging", "./messaging"),
            ("to a folder above it", "/a/b", "/a", "../../a"),
            ("to the root", "/ui", "/", "../"),
            ("a name that begins alike", "/ui", "/ui2", "../ui2"),
            ("no scheme", "/", "/a:b", "./a:b"),
            ("names in another order", "/a/b", "/b/a/c", "../../b/a/c"),
        ];
        for (rule, folder, path, expected) in cases {
            assert_eq!(relative(folder, path), expected, "{rule}");
        }
    }

    #[tokio::test]
    async fn says_that_nothing_was_built() {
        for rest in ["", "index.html"] {
            let response = respond_from(|_| None, rest, &Method::GET, &HeaderMap::new());
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            let page = response.into_body().collect().await.unwrap().to_bytes();
            let page = std::str::from_utf8(&page).unwrap();
            assert!(page.contains("cargo xtask web") && page.contains("cargo xtask demo"));
        }
        let other = respond_from(|_| None, "echo.html", &Method::GET, &HeaderMap::new());
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
