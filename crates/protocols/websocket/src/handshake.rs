use base64::{
    Engine, alphabet,
    engine::{GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use sha1::{Digest, Sha1};

use crate::{
    Deflate, Version,
    lists::{elements, tokens},
};

/// What a service speaks over WebSocket.
#[derive(Clone, Copy, Debug)]
pub struct Service<'a> {
    /// The subprotocols.
    pub subprotocols: Subprotocols<'a>,
    /// Whether messages may be compressed.
    pub deflate: bool,
}

/// The subprotocols of a service.
#[derive(Clone, Copy, Debug)]
pub enum Subprotocols<'a> {
    /// These, preferred ones first.
    Of(&'a [&'a str]),
    /// The client's first choice: for a service that only passes bytes on. What is not a
    /// protocol but a way to negotiate one is passed over: `x-kaazing-handshake`.
    Any,
}

/// A request to become a WebSocket that is granted with 101 Switching Protocols.
#[derive(Clone, Debug)]
pub struct Accept {
    /// The version that the client speaks.
    pub version: Version,
    /// The subprotocol.
    pub subprotocol: Subprotocol,
    /// How messages may be compressed.
    pub deflate: Option<Deflate>,
    /// All headers of the response.
    pub headers: HeaderMap,
}

/// The outcome of the negotiation of subprotocols.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Subprotocol {
    /// It offers none.
    None,
    /// This one was chosen, and is named in the response.
    Chosen(String),
    /// It offers some and the service speaks none of them. The response names none, at which
    /// browsers close; a service that requires one refuses with [`Reject::Subprotocol`].
    Unsupported,
}

/// Why a request to become a WebSocket is refused. The text is one line, for the body of the
/// response and the log.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Reject {
    /// Not GET.
    #[error("a WebSocket is opened with GET")]
    Method,
    /// Not HTTP/1.1.
    #[error("a WebSocket is opened with HTTP/1.1")]
    HttpVersion,
    /// Content follows the request.
    #[error("a request to open a WebSocket has no body")]
    Body,
    /// `Upgrade` does not name `websocket`.
    #[error("a WebSocket is opened here: send `Upgrade: websocket`")]
    Upgrade,
    /// `Connection` does not name `Upgrade`.
    #[error("the Connection header must name Upgrade")]
    Connection,
    /// No version is named.
    #[error("Sec-WebSocket-Version is missing: send 13, 8 or 6")]
    NoVersion,
    /// The version is another one, or the header names no version.
    #[error("Sec-WebSocket-Version must be 13, 8 or 6")]
    OtherVersion,
    /// No key.
    #[error("Sec-WebSocket-Key is missing")]
    NoKey,
    /// A key of the wrong form, or several.
    #[error("Sec-WebSocket-Key must be 16 bytes in base64, once")]
    MalformedKey,
    /// The list of subprotocols is too long, or one stands in it twice (RFC 6455 section 4.1).
    #[error("Sec-WebSocket-Protocol must be a list of at most 64 different names")]
    Subprotocols,
    /// Subprotocols are offered, and none of these. Returned only by the caller, for
    /// [`Subprotocol::Unsupported`].
    #[error("Sec-WebSocket-Protocol must offer one of: {0}")]
    Subprotocol(String),
}

impl Reject {
    /// The status of the response.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Upgrade | Self::NoVersion | Self::OtherVersion => StatusCode::UPGRADE_REQUIRED,
            Self::HttpVersion
            | Self::Body
            | Self::Connection
            | Self::NoKey
            | Self::MalformedKey
            | Self::Subprotocols
            | Self::Subprotocol(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// Headers of the response, which say what is accepted (RFC 6455 section 4.4).
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if self.status() == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
        }
        if self.status() == StatusCode::UPGRADE_REQUIRED {
            headers.insert(header::UPGRADE, WEBSOCKET);
            headers.insert(header::CONNECTION, UPGRADE);
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13, 8, 6"));
        }
        headers
    }
}

/// The response to a request to become a WebSocket (RFC 6455 section 4.2).
///
/// What holds for every request (`Host`) and who may send it (the origin, a log-in) is not checked
/// here.
///
/// # Errors
/// When it is no such request, a malformed one, or one for a version that is not spoken.
pub fn handshake(
    method: &Method,
    http_version: http::Version,
    headers: &HeaderMap,
    service: &Service<'_>,
) -> Result<Accept, Reject> {
    check_request(method, http_version, headers)?;
    check_upgrade(headers)?;
    let version = version(headers)?;
    let key = key(headers)?;
    let subprotocol = subprotocol(headers, service.subprotocols)?;
    let deflate = match version {
        Version::Rfc6455 | Version::Hybi08 => deflate(headers, service.deflate),
        Version::Hybi06 => None,
    };

    let mut response = HeaderMap::new();
    response.insert(header::UPGRADE, WEBSOCKET);
    response.insert(header::CONNECTION, UPGRADE);
    response.extend(value(&accept_key(key)).map(|value| (header::SEC_WEBSOCKET_ACCEPT, value)));
    if let Subprotocol::Chosen(name) = &subprotocol {
        response.extend(value(name).map(|value| (header::SEC_WEBSOCKET_PROTOCOL, value)));
    }
    if let Some(deflate) = deflate {
        let agreed = value(&deflate.to_string());
        response.extend(agreed.map(|value| (header::SEC_WEBSOCKET_EXTENSIONS, value)));
    }
    Ok(Accept { version, subprotocol, deflate, headers: response })
}

/// What holds for any request.
fn check_request(
    method: &Method,
    http_version: http::Version,
    headers: &HeaderMap,
) -> Result<(), Reject> {
    if method != Method::GET {
        return Err(Reject::Method);
    }
    if http_version != http::Version::HTTP_11 {
        return Err(Reject::HttpVersion);
    }
    let empty = HeaderValue::from_static("0");
    let has_body = headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get_all(header::CONTENT_LENGTH).iter().any(|length| length != empty);
    if has_body {
        return Err(Reject::Body);
    }
    Ok(())
}

fn check_upgrade(headers: &HeaderMap) -> Result<(), Reject> {
    if !is_upgrade(headers) {
        return Err(Reject::Upgrade);
    }
    if !names(headers, &header::CONNECTION, "upgrade") {
        return Err(Reject::Connection);
    }
    Ok(())
}

/// Whether a request wants to become a WebSocket, well or badly: `Upgrade` names `websocket`, among
/// other protocols with or without a version (RFC 9110 section 7.8). `websocket` itself has none.
#[must_use]
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    names(headers, &header::UPGRADE, "websocket")
}

/// Whether a list names something, in any case.
pub(crate) fn names(headers: &HeaderMap, header: &HeaderName, name: &str) -> bool {
    tokens(headers, header).flatten().any(|token| token.eq_ignore_ascii_case(name))
}

/// Whatever is not understood is refused with the versions that are (RFC 6455 section 4.2.2).
fn version(headers: &HeaderMap) -> Result<Version, Reject> {
    match only(headers, &header::SEC_WEBSOCKET_VERSION, Reject::OtherVersion)? {
        None => Err(Reject::NoVersion),
        Some("13") => Ok(Version::Rfc6455),
        Some("8") => Ok(Version::Hybi08),
        Some("6") => Ok(Version::Hybi06),
        Some(_) => Err(Reject::OtherVersion),
    }
}

/// The key, which is 16 bytes in base64.
fn key(headers: &HeaderMap) -> Result<&str, Reject> {
    let key = only(headers, &header::SEC_WEBSOCKET_KEY, Reject::MalformedKey)?;
    let key = key.ok_or(Reject::NoKey)?;
    let mut bytes = [0; 18];
    match KEY.decode_slice(key, &mut bytes) {
        Ok(16) => Ok(key),
        Ok(_) | Err(_) => Err(Reject::MalformedKey),
    }
}

/// What shows that the server understood the key (RFC 6455 section 4.2.2).
pub(crate) fn accept_key(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.finalize())
}

fn subprotocol(headers: &HeaderMap, spoken: Subprotocols<'_>) -> Result<Subprotocol, Reject> {
    let mut offered: Vec<&str> = Vec::new();
    let mut is_any_offered = false;
    for (index, name) in tokens(headers, &header::SEC_WEBSOCKET_PROTOCOL).enumerate() {
        if index == SUBPROTOCOLS_MAX || name.is_some_and(|name| offered.contains(&name)) {
            return Err(Reject::Subprotocols);
        }
        is_any_offered |= name != Some(KAAZING_HANDSHAKE);
        offered.extend(name);
    }
    let chosen = match spoken {
        Subprotocols::Of(spoken) => spoken.iter().find(|name| offered.contains(name)),
        Subprotocols::Any => offered.iter().find(|name| **name != KAAZING_HANDSHAKE),
    };
    Ok(match chosen {
        Some(name) => Subprotocol::Chosen((*name).to_owned()),
        None if is_any_offered => Subprotocol::Unsupported,
        None => Subprotocol::None,
    })
}

fn deflate(headers: &HeaderMap, wanted: bool) -> Option<Deflate> {
    if !wanted {
        return None;
    }
    Deflate::choose(&elements(headers, &header::SEC_WEBSOCKET_EXTENSIONS))
}

/// The value of a header that must not be repeated.
fn only<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    otherwise: Reject,
) -> Result<Option<&'a str>, Reject> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().map(HeaderValue::to_str).transpose();
    match (value, values.next()) {
        (Ok(value), None) => Ok(value),
        (Ok(_) | Err(_), _) => Err(otherwise),
    }
}

/// Base64 and tokens, which any header can hold.
fn value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok()
}

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const UPGRADE: HeaderValue = HeaderValue::from_static("Upgrade");

/// Clients that make up 24 characters do not care what the last four bits are.
const KEY: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Offered by clients that can negotiate within the WebSocket itself. It is no subprotocol.
const KAAZING_HANDSHAKE: &str = "x-kaazing-handshake";

/// More are not looked through.
const SUBPROTOCOLS_MAX: usize = 64;
