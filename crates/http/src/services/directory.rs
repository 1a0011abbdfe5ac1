//! The service `directory`: the files of a folder.

use std::{
    io::{self, ErrorKind},
    ops::Range,
    path::{Component, Path, PathBuf},
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use httpdate::HttpDate;
use hyper::body::{Frame, SizeHint};
use tokio::{
    fs,
    io::{AsyncRead as _, AsyncSeek as _, ReadBuf},
};

use super::{
    percent_decoded,
    representation::{Coding, Representation, content_type, read_only},
};
use crate::body::{Body, text};

/// The response to a request for a file under `root`. `rest` is what follows the service's own path,
/// as it stands in the request, without the slash between them; `welcome` is the file that stands
/// for its folder.
pub(crate) async fn respond(
    root: &Path,
    welcome: &str,
    rest: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Response<Body> {
    if let Some(refusal) = read_only(method) {
        return refusal;
    }
    match find(root, welcome, rest, headers).await {
        Ok(Found::File(representation, file)) => {
            representation.respond(method, headers, |part| Pieces::body(file, part))
        }
        Ok(Found::Folder) => with_slash(rest),
        Err(error) => failed(&error, rest),
    }
}

/// What a path leads to.
enum Found {
    File(Box<Representation>, fs::File),
    /// A folder, requested as if it were a file: links in its welcome file would lead astray.
    Folder,
}

async fn find(root: &Path, welcome: &str, rest: &str, headers: &HeaderMap) -> io::Result<Found> {
    let Some(inner) = inner_path(rest) else { return Err(ErrorKind::NotFound.into()) };
    let root = fs::canonicalize(root).await?;
    let mut path = root.join(inner);
    let as_folder = rest.is_empty() || rest.ends_with('/');
    if fs::metadata(inside(&root, &path).await?).await?.is_dir() {
        if !as_folder {
            return Ok(Found::Folder);
        }
        path.push(welcome);
    } else if as_folder {
        return Err(ErrorKind::NotFound.into());
    }
    for coding in Coding::accepted(headers) {
        match open(&root, &path, coding).await {
            Ok((representation, file)) => return Ok(Found::File(representation.into(), file)),
            // It is not required to put a coded variant beside the file.
            Err(_) if coding != Coding::Identity => {}
            Err(error) => return Err(error),
        }
    }
    Err(ErrorKind::NotFound.into())
}

/// The path inside the root, decoded. `None` where it leads out or to hidden files.
fn inner_path(rest: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    if rest.is_empty() {
        return Some(path);
    }
    for segment in rest.strip_suffix('/').unwrap_or(rest).split('/') {
        let name = percent_decoded(segment)?;
        let mut components = Path::new(&name).components();
        // One plain name, whatever the platform takes for separators, drives and parents.
        let (Some(Component::Normal(only)), None) = (components.next(), components.next()) else {
            return None;
        };
        if only != name.as_str() || name.starts_with('.') && name != ".well-known" {
            return None;
        }
        path.push(name);
    }
    Some(path)
}

/// Where a path really leads, if that is in the root, which is canonical.
async fn inside(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let real = fs::canonicalize(path).await?;
    if real.starts_with(root) { Ok(real) } else { Err(ErrorKind::NotFound.into()) }
}

/// Opens one coding of a file.
async fn open(root: &Path, path: &Path, coding: Coding) -> io::Result<(Representation, fs::File)> {
    let mut variant = path.to_owned().into_os_string();
    variant.push(coding.suffix());
    let real = inside(root, Path::new(&variant)).await?;
    // Before it is opened: opening a pipe would wait for its other end.
    if !fs::metadata(&real).await?.is_file() {
        return Err(ErrorKind::NotFound.into());
    }
    let file = fs::File::open(&real).await?;
    let metadata = file.metadata().await?;
    let modified = metadata.modified().ok().and_then(since_epoch);
    let representation = Representation {
        content_type: content_type(&path.to_string_lossy()),
        coding,
        tag: format!(
            "\"{:x}-{:x}{}\"",
            metadata.len(),
            modified.unwrap_or_default().as_nanos(),
            coding.suffix()
        ),
        modified: modified.map(|age| HttpDate::from(SystemTime::UNIX_EPOCH + age)),
        length: metadata.len(),
        cache: HeaderValue::from_static("no-cache"),
    };
    Ok((representation, file))
}

/// The time as HTTP can say it: files may be older than 1970 or from after 9999.
fn since_epoch(time: SystemTime) -> Option<Duration> {
    const YEAR_10000: Duration = Duration::from_secs(253_402_300_800);
    time.duration_since(SystemTime::UNIX_EPOCH).ok().filter(|age| *age < YEAR_10000)
}

/// Sends the peer to the same address with a slash. It is relative, as the service's own path is
/// not known here; `./` keeps a colon in the name from looking like a scheme.
pub(crate) fn with_slash(path: &str) -> Response<Body> {
    let name = path.rsplit('/').next().unwrap_or_default();
    let mut response = text(StatusCode::PERMANENT_REDIRECT, "a folder's address ends with a slash");
    if let Ok(location) = HeaderValue::try_from(format!("./{name}/")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn failed(error: &io::Error, rest: &str) -> Response<Body> {
    const ABSENT: [ErrorKind; 4] = [
        ErrorKind::InvalidFilename,
        ErrorKind::InvalidInput,
        ErrorKind::NotADirectory,
        ErrorKind::NotFound,
    ];
    if ABSENT.contains(&error.kind()) {
        return text(StatusCode::NOT_FOUND, "no such file");
    }
    if error.kind() == ErrorKind::PermissionDenied {
        return text(StatusCode::FORBIDDEN, "the gateway may not read this file");
    }
    tracing::warn!(%error, path = rest, "a file cannot be read");
    text(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read")
}

/// A part of a file, read piece by piece as the peer takes it.
struct Pieces {
    file: fs::File,
    /// Where to go before the first piece.
    start: Option<u64>,
    left: u64,
    piece: Box<[u8]>,
}

impl Pieces {
    /// The memory that one download takes, twice: the file's own buffer is as large.
    const PIECE_BYTES_MAX: usize = 64 * 1024;

    fn body(file: fs::File, part: Range<u64>) -> Body {
        let start = Some(part.start).filter(|start| *start > 0);
        let left = part.end - part.start;
        let piece = vec![0; Self::piece_len(left)].into();
        Self { file, start, left, piece }.boxed_unsync()
    }

    fn piece_len(left: u64) -> usize {
        usize::try_from(left).unwrap_or(usize::MAX).min(Self::PIECE_BYTES_MAX)
    }
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Self { file, start, left, piece } = self.get_mut();
        if let Some(start) = start.take()
            && let Err(error) = Pin::new(&mut *file).start_seek(io::SeekFrom::Start(start))
        {
            return Poll::Ready(Some(Err(error)));
        }
        let Some(room) = piece.get_mut(..Self::piece_len(*left)).filter(|room| !room.is_empty())
        else {
            return Poll::Ready(None);
        };
        let mut read = ReadBuf::new(room);
        if let Err(error) = ready!(Pin::new(file).poll_read(context, &mut read)) {
            return Poll::Ready(Some(Err(error)));
        }
        if read.filled().is_empty() {
            // Shorter than it was when its length was told.
            return Poll::Ready(Some(Err(ErrorKind::UnexpectedEof.into())));
        }
        *left = left.saturating_sub(u64::try_from(read.filled().len()).unwrap_or(u64::MAX));
        Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(read.filled())))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs as files, process, sync::atomic};

    use super::*;

    /// The rule, the path, what is accepted, the status, the body, and a header that must be there.
    type Case = (&'static str, &'static str, &'static str, u16, &'static str, &'static str);

    #[tokio::test]
    async fn serves_what_is_inside() {
        let place = Place::new();
        place.file("index.html", "home");
        place.file("a.txt", "text");
        place.file("a.txt.gz", "zipped");
        place.file("a.txt.br", "pressed");
        place.file("only.js.br", "pressed");
        place.file("100% sûr.txt", "odd");
        place.file("docs/index.html", "docs");
        place.file("docs/a:b/index.html", "colon");
        place.file("empty/.keep", "");
        place.file(".well-known/security.txt", "mail us");
        place.file(".secret", "hidden");
        place.file("docs/.git/config", "hidden");
        const ABSENT: &str = "no such file\n";
        const SLASH: &str = "a folder's address ends with a slash\n";
        let cases: &[Case] = &[
            (
                "the root's welcome file",
                "",
                "",
                200,
                "home",
                "content-type: text/html; charset=utf-8",
            ),
            ("a file", "a.txt", "", 200, "text", "content-type: text/plain; charset=utf-8"),
            ("the best coding", "a.txt", "gzip, br", 200, "pressed", "content-encoding: br"),
            (
                "its type stays",
                "a.txt",
                "br",
                200,
                "pressed",
                "content-type: text/plain; charset=utf-8",
            ),
            ("the coding wanted", "a.txt", "gzip", 200, "zipped", "content-encoding: gzip"),
            ("none beside it", "index.html", "br", 200, "home", "vary: accept-encoding"),
            (
                "a coded file by its name",
                "a.txt.gz",
                "",
                200,
                "zipped",
                "content-type: application/gzip",
            ),
            ("coded only", "only.js", "br", 404, ABSENT, ""),
            ("decoded", "100%25%20s%c3%bbr.txt", "", 200, "odd", ""),
            ("a folder's welcome file", "docs/", "", 200, "docs", "cache-control: no-cache"),
            ("a folder without its slash", "docs", "", 308, SLASH, "location: ./docs/"),
            ("no scheme", "docs/a:b", "", 308, SLASH, "location: ./a:b/"),
            ("no other host", "docs/a%3Ab", "", 308, SLASH, "location: ./a%3Ab/"),
            ("a folder without a welcome file", "empty/", "", 404, ABSENT, ""),
            ("a file with a slash", "a.txt/", "", 404, ABSENT, ""),
            ("below a file", "a.txt/b", "", 404, ABSENT, ""),
            ("nothing", "b.txt", "", 404, ABSENT, "x-content-type-options: nosniff"),
            ("well-known", ".well-known/security.txt", "", 200, "mail us", ""),
            ("hidden", ".secret", "", 404, ABSENT, ""),
            ("hidden below", "docs/.git/config", "", 404, ABSENT, ""),
            ("hidden, encoded", "%2esecret", "", 404, ABSENT, ""),
            ("up", "../outside.txt", "", 404, ABSENT, ""),
            ("up and down", "docs/../a.txt", "", 404, ABSENT, ""),
            ("up, encoded", "%2e%2e/outside.txt", "", 404, ABSENT, ""),
            ("a slash, encoded", "..%2foutside.txt", "", 404, ABSENT, ""),
            ("a slash inside, encoded", "docs%2findex.html", "", 404, ABSENT, ""),
            ("here", "./a.txt", "", 404, ABSENT, ""),
            ("absolute", "/etc/passwd", "", 404, ABSENT, ""),
            ("absolute, encoded", "%2fetc%2fpasswd", "", 404, ABSENT, ""),
            ("an empty level", "docs//index.html", "", 404, ABSENT, ""),
            ("a slash too many", "/", "", 404, ABSENT, ""),
            ("NUL", "a.txt%00", "", 404, ABSENT, ""),
            ("half an escape", "a.txt%2", "", 404, ABSENT, ""),
            ("no escape", "a%zz.txt", "", 404, ABSENT, ""),
            ("a sign is no digit", "a%+1.txt", "", 404, ABSENT, ""),
            ("not UTF-8", "%ff.txt", "", 404, ABSENT, ""),
            ("backslash", "..\\outside.txt", "", 404, ABSENT, ""),
            ("decoded once only", "%252e%252e/outside.txt", "", 404, ABSENT, ""),
        ];
        for (rule, rest, codings, status, body, field) in cases {
            let response = place.get(rest, &[("accept-encoding", codings)]).await;
            assert_eq!(response.status(), *status, "{rule}");
            if let Some((name, value)) = field.split_once(": ") {
                assert_eq!(response.headers()[name], *value, "{rule}");
            }
            assert_eq!(read(response).await, body.as_bytes(), "{rule}");
        }
        let long = place.get(&"a".repeat(5000), &[]).await;
        assert_eq!(long.status(), StatusCode::NOT_FOUND);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn follows_no_link_out() {
        use std::os::unix::fs::symlink;

        let place = Place::new();
        place.file("a.txt", "text");
        place.file("link.txt", "plain");
        files::write(place.0.join("outside.txt"), "secret").unwrap();
        let root = place.root();
        files::create_dir(root.join("docs")).unwrap();
        symlink(place.0.join("outside.txt"), root.join("out.txt")).unwrap();
        symlink(place.0.join("outside.txt"), root.join("link.txt.gz")).unwrap();
        symlink(place.0.join("outside.txt"), root.join("docs/index.html")).unwrap();
        symlink(&place.0, root.join("up")).unwrap();
        symlink("a.txt", root.join("in.txt")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        let cases = [
            ("inside", "in.txt", 200, "text"),
            ("a file outside", "out.txt", 404, "no such file\n"),
            ("through a folder outside", "up/outside.txt", 404, "no such file\n"),
            ("a folder outside", "up", 404, "no such file\n"),
            ("a welcome file outside", "docs/", 404, "no such file\n"),
            ("a variant outside", "link.txt", 200, "plain"),
            ("a circle", "loop", 500, "the file cannot be read\n"),
            ("no file", "socket", 404, "no such file\n"),
        ];
        for (rule, rest, status, body) in cases {
            let response = place.get(rest, &[("accept-encoding", "gzip")]).await;
            assert_eq!(response.status(), status, "{rule}");
            assert_eq!(read(response).await, body.as_bytes(), "{rule}");
        }
        drop(socket);
    }

    #[tokio::test]
    async fn knows_what_the_peer_has() {
        let place = Place::new();
        place.file("a.txt", "text");
        place.file("a.txt.gz", "text");
        let plain = place.get("a.txt", &[]).await;
        let zipped = place.get("a.txt", &[("accept-encoding", "gzip")]).await;
        let tag = plain.headers()[header::ETAG].to_str().unwrap();
        let date = plain.headers()[header::LAST_MODIFIED].to_str().unwrap();
        assert_ne!(zipped.headers()[header::ETAG], tag, "a tag for each coding");
        assert_eq!(place.get("a.txt", &[("if-none-match", tag)]).await.status(), 304);
        assert_eq!(place.get("a.txt", &[("if-modified-since", date)]).await.status(), 304);
        place.file("a.txt", "other");
        assert_eq!(place.get("a.txt", &[("if-none-match", tag)]).await.status(), 200);
    }

    #[tokio::test]
    async fn tells_no_times_beyond_http() {
        let place = Place::new();
        place.file("a.txt", "text");
        let file = files::File::options().write(true).open(place.root().join("a.txt")).unwrap();
        for (rule, time, told) in [
            ("before 1970", SystemTime::UNIX_EPOCH - Duration::from_secs(1), false),
            ("at its start", SystemTime::UNIX_EPOCH, true),
            ("year 9999", SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799), true),
            ("year 10000", SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_800), false),
        ] {
            // Not every file system keeps such times.
            if file.set_modified(time).is_ok()
                && file.metadata().unwrap().modified().unwrap() == time
            {
                let response = place.get("a.txt", &[]).await;
                assert_eq!(response.headers().contains_key(header::LAST_MODIFIED), told, "{rule}");
            }
        }
    }

    #[tokio::test]
    async fn sends_large_files_in_pieces() {
        let place = Place::new();
        let text: String = (0..40_000).map(|at| format!("{at:07}\n")).collect();
        place.file("large.txt", &text);
        let mut body = place.get("large.txt", &[]).await.into_body();
        let mut whole = Vec::new();
        while let Some(frame) = body.frame().await {
            let piece = frame.unwrap().into_data().unwrap();
            assert!(piece.len() <= Pieces::PIECE_BYTES_MAX);
            whole.extend_from_slice(&piece);
        }
        assert_eq!(whole, text.as_bytes());
        let cases = [
            ("bytes=8-15", 8..16),
            ("bytes=-8", 319_992..320_000),
            ("bytes=100000-299999", { 100_000..300_000 }),
        ];
        for (range, part) in cases {
            let response = place.get("large.txt", &[("range", range)]).await;
            assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT, "{range}");
            assert_eq!(read(response).await, text[part].as_bytes(), "{range}");
        }
    }

    #[tokio::test]
    async fn fails_when_a_file_shrinks() {
        let place = Place::new();
        place.file("a.txt", "0123456789");
        let response = place.get("a.txt", &[]).await;
        place.file("a.txt", "0123");
        let mut body = response.into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "0123");
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn only_reads() {
        let place = Place::new();
        place.file("a.txt", "text");
        let get = async |method: Method| {
            respond(&place.root(), "index.html", "a.txt", &method, &HeaderMap::new()).await
        };
        let head = get(Method::HEAD).await;
        assert_eq!(head.headers()[header::CONTENT_LENGTH], "4");
        assert!(read(head).await.is_empty());
        assert_eq!(get(Method::PUT).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    /// A folder of its own for a test, with the root in it.
    struct Place(PathBuf);

    impl Place {
        fn new() -> Self {
            static COUNT: atomic::AtomicUsize = atomic::AtomicUsize::new(0);
            let count = COUNT.fetch_add(1, atomic::Ordering::Relaxed);
            let name = format!("passerelle-directory-{}-{count}", process::id());
            let place = Self(env::temp_dir().join(name));
            files::create_dir_all(place.root()).unwrap();
            files::write(place.0.join("outside.txt"), "secret").unwrap();
            place
        }

        fn root(&self) -> PathBuf {
            self.0.join("root")
        }

        fn file(&self, name: &str, text: &str) {
            let path = self.root().join(name);
            files::create_dir_all(path.parent().unwrap()).unwrap();
            files::write(path, text).unwrap();
        }

        async fn get(&self, rest: &str, request: &[(&'static str, &str)]) -> Response<Body> {
            let mut headers = HeaderMap::new();
            for (name, value) in request {
                headers.append(*name, HeaderValue::from_str(value).unwrap());
            }
            respond(&self.root(), "index.html", rest, &Method::GET, &headers).await
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            drop(files::remove_dir_all(&self.0));
        }
    }

    async fn read(response: Response<Body>) -> Bytes {
        response.into_body().collect().await.unwrap().to_bytes()
    }
}
