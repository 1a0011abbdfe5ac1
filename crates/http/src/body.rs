//! Bodies of HTTP responses.

use std::io;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};

/// The body of a response: some bytes, or a file as it is read.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A body of bytes.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A response without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(full(""));
    *response.status_mut() = status;
    response
}

/// A response that says something in one line of plain text.
pub(crate) fn text(status: StatusCode, line: &str) -> Response<Body> {
    let mut response = Response::new(full(format!("{line}\n")));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
    if !status.is_success() {
        response.extensions_mut().insert(Line(line.into()));
    }
    response
}

/// What a response of [`text`] that is no success says, for the log.
#[derive(Clone, Debug)]
pub(crate) struct Line(pub(crate) Box<str>);

/// Browsers are not to guess another type than the one said.
pub(crate) const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");
