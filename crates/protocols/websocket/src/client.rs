//! The client's side of the handshake (RFC 6455 section 4.1).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::handshake::{accept_key, names};

/// What a client requests.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The server's host, and its port unless that is the scheme's own.
    pub host: &'a str,
    /// The path, and a query if there is one.
    pub path: &'a str,
    /// The one subprotocol that is offered; empty: none.
    pub subprotocol: &'a str,
    /// Random bits that the server cannot foresee.
    pub nonce: u128,
}

/// Why a connection is no WebSocket.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ResponseError {
    /// No HTTP/1.1 response.
    #[error("what it replies to the WebSocket handshake is no HTTP/1.1")]
    Malformed,
    /// Another status than 101.
    #[error("it replies with status {0} to the WebSocket handshake")]
    Status(u16),
    /// `Upgrade` or `Connection` is missing or wrong.
    #[error("its reply to the WebSocket handshake does not name the upgrade")]
    Upgrade,
    /// `Sec-WebSocket-Accept` is missing, or not that of the key.
    #[error("its reply to the WebSocket handshake has a wrong Sec-WebSocket-Accept")]
    Accept,
    /// A subprotocol that was not offered.
    #[error("its reply to the WebSocket handshake names a subprotocol that was not offered")]
    Subprotocol,
    /// An extension, of which none was offered.
    #[error("its reply to the WebSocket handshake names an extension that was not offered")]
    Extension,
}

impl Request<'_> {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Self { host, path, subprotocol, .. } = self;
        let key = self.key();
        let subprotocol = match *subprotocol {
            "" => String::new(),
            name => format!("Sec-WebSocket-Protocol: {name}\r\n"),
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{subprotocol}\r\n"
        );
        request.into_bytes()
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), ResponseError> {
        if !names(headers, &header::UPGRADE, "websocket")
            || !names(headers, &header::CONNECTION, "upgrade")
        {
            return Err(ResponseError::Upgrade);
        }
        let all = |name: &HeaderName| headers.get_all(name).iter().map(HeaderValue::as_bytes);
        if !all(&header::SEC_WEBSOCKET_ACCEPT).eq([accept_key(&self.key()).as_bytes()]) {
            return Err(ResponseError::Accept);
        }
        if all(&header::SEC_WEBSOCKET_PROTOCOL).any(|name| name != self.subprotocol.as_bytes()) {
            return Err(ResponseError::Subprotocol);
        }
        if all(&header::SEC_WEBSOCKET_EXTENSIONS).any(|value| !value.is_empty()) {
            return Err(ResponseError::Extension);
        }
        Ok(())
    }

    fn key(&self) -> String {
        STANDARD.encode(self.nonce.to_ne_bytes())
    }
}

/// Reads the response to a request as it comes: interim responses (RFC 9110 section 15.2), of which
/// up to 8 are skipped, and the final one.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    request: Request<'a>,
    /// Where it begins, behind the interim ones.
    start: usize,
    interim: usize,
    /// The bytes that were there when it was last parsed, or need not be.
    seen: usize,
}

impl<'a> Response<'a> {
    /// That to this request, of which nothing has come.
    #[must_use]
    pub const fn new(request: Request<'a>) -> Self {
        Self { request, start: 0, interim: 0, seen: 0 }
    }

    /// The length of what `received` begins with, up to the end of the response; `None`: it is not
    /// complete. `received` is all that came: what it was in the last call, and more.
    ///
    /// # Errors
    /// When the server does not agree, or to something else. None of the subprotocols, though one is
    /// offered, is agreement: then the server does not say what it speaks.
    pub fn parse(&mut self, received: &[u8]) -> Result<Option<usize>, ResponseError> {
        let news = received.get(self.seen..).unwrap_or_default();
        self.seen = received.len();
        // Each line is parsed once it is whole, which is linear as their number is bounded; what is
        // no HTTP may have no lines, but that is seen in its first bytes.
        if received.len() > BEGINNING_BYTES && !news.contains(&b'\n') {
            return Ok(None);
        }
        loop {
            let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
            let mut response = httparse::Response::new(&mut fields);
            let rest = received.get(self.start..).unwrap_or_default();
            let parsed = response.parse(rest).map_err(|_| ResponseError::Malformed)?;
            let httparse::Status::Complete(len) = parsed else { return Ok(None) };
            self.start += len;
            match (response.version, response.code) {
                (Some(1), Some(101)) => {
                    let headers = headers(response.headers)?;
                    return self.request.check(&headers).map(|()| Some(self.start));
                }
                (Some(1), Some(100..=199)) if self.interim < INTERIM_MAX => self.interim += 1,
                (Some(_), Some(status)) if status != 101 => {
                    return Err(ResponseError::Status(status));
                }
                _ => return Err(ResponseError::Malformed),
            }
        }
    }
}

fn headers(fields: &[httparse::Header<'_>]) -> Result<HeaderMap, ResponseError> {
    let mut headers = HeaderMap::new();
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_bytes(field.value);
        let (Ok(name), Ok(value)) = (name, value) else { return Err(ResponseError::Malformed) };
        headers.append(name, value);
    }
    Ok(headers)
}

/// Fields of a response that are read.
const FIELDS_MAX: usize = 64;
/// Interim responses that are skipped.
const INTERIM_MAX: usize = 8;
/// What comes first is parsed at every byte: an HTTP response is known by its version and status.
const BEGINNING_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of RFC 6455 section 1.3.
    const REQUEST: Request<'static> = Request {
        host: "server.example.com:8080",
        path: "/chat?a=b",
        subprotocol: "chat",
        nonce: u128::from_ne_bytes(*b"the sample nonce"),
    };

    #[test]
    fn a_request_is_as_the_standard_shows_it() {
        let expected = "GET /chat?a=b HTTP/1.1\r\nHost: server.example.com:8080\r\n\
             Upgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: chat\r\n\r\n";
        assert_eq!(REQUEST.encode(), expected.as_bytes());
        let without = Request { subprotocol: "", ..REQUEST };
        let expected = expected.replace("Sec-WebSocket-Protocol: chat\r\n", "");
        assert_eq!(without.encode(), expected.as_bytes());
    }

    #[test]
    fn a_response_agrees_or_not_wherever_it_is_split() {
        const ACCEPT: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        const UPGRADE: &str =
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
        let with = |more: &str| format!("{UPGRADE}{ACCEPT}{more}\r\n");
        let many: String = (0..FIELDS_MAX).map(|n| format!("a{n}: b\r\n")).collect();
        let interim = |count| "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(count);
        let cases: &[(&str, String, Option<ResponseError>)] = &[
            ("behind an interim response", format!("HTTP/1.1 100 Go on\r\n\r\n{}", with("")), None),
            ("behind several", format!("{}{}", interim(INTERIM_MAX), with("")), None),
            (
                "behind too many",
                format!("{}{}", interim(INTERIM_MAX + 1), with("")),
                Some(ResponseError::Status(103)),
            ),
            (
                "refused behind an interim response",
                format!("{}HTTP/1.1 403 Forbidden\r\n\r\n", interim(1)),
                Some(ResponseError::Status(403)),
            ),
            ("as the standard shows it", with("Sec-WebSocket-Protocol: chat\r\n"), None),
            ("no subprotocol", with(""), None),
            ("no extension", with("Sec-WebSocket-Extensions:\r\n"), None),
            (
                "any case, and lists",
                with("").replace(
                    "Upgrade: websocket\r\nConnection: Upgrade",
                    "upgrade: WebSocket\r\nconnection: keep-alive, UPGRADE",
                ),
                None,
            ),
            (
                "another subprotocol",
                with("Sec-WebSocket-Protocol: other\r\n"),
                Some(ResponseError::Subprotocol),
            ),
            (
                "two subprotocols",
                with("Sec-WebSocket-Protocol: chat, other\r\n"),
                Some(ResponseError::Subprotocol),
            ),
            (
                "an extension",
                with("Sec-WebSocket-Extensions: permessage-deflate\r\n"),
                Some(ResponseError::Extension),
            ),
            ("no accept", format!("{UPGRADE}\r\n"), Some(ResponseError::Accept)),
            ("two accepts", with(ACCEPT), Some(ResponseError::Accept)),
            ("another's accept", with("").replace("s3p", "S3p"), Some(ResponseError::Accept)),
            (
                "no upgrade",
                with("").replace("Upgrade: websocket\r\n", ""),
                Some(ResponseError::Upgrade),
            ),
            (
                "no connection",
                with("").replace("Connection: Upgrade\r\n", ""),
                Some(ResponseError::Upgrade),
            ),
            (
                "another status",
                "HTTP/1.1 403 Forbidden\r\n\r\n".into(),
                Some(ResponseError::Status(403)),
            ),
            (
                "success that is no upgrade",
                with("").replace("101 Switching Protocols", "200 OK"),
                Some(ResponseError::Status(200)),
            ),
            ("HTTP/1.0", with("").replace("HTTP/1.1", "HTTP/1.0"), Some(ResponseError::Malformed)),
            ("too many fields", with(&many), Some(ResponseError::Malformed)),
            (
                "another protocol",
                "220 mail.example.com\r\n\r\n".into(),
                Some(ResponseError::Malformed),
            ),
        ];
        for (rule, response, error) in cases {
            let bytes = [response.as_bytes(), b"\x81\x02hi"].concat();
            let expected = error.map_or(Ok(Some(response.len())), Err);
            assert_eq!(Response::new(REQUEST).parse(&bytes), expected, "{rule}");
            for split in 0..response.len() {
                let mut response = Response::new(REQUEST);
                let early = response.parse(&bytes[..split]);
                let may_be = [Ok(None), Err(ResponseError::Malformed), expected];
                assert!(may_be.contains(&early), "{rule}, split at {split}: {early:?}");
                assert!(error.is_some() || early == Ok(None), "{rule}, split at {split}");
                if early == Ok(None) {
                    assert_eq!(response.parse(&bytes), expected, "{rule}, split at {split}");
                }
            }
            let mut response = Response::new(REQUEST);
            let mut by_byte = (0..=bytes.len()).map(|end| response.parse(&bytes[..end]));
            let first = by_byte.find(|outcome| *outcome != Ok(None));
            assert_eq!(first, Some(expected), "{rule}, byte by byte");
        }
    }

    #[test]
    fn a_response_that_comes_by_the_byte_is_parsed_in_linear_time() {
        // Parsed from its beginning at every byte it would take days.
        let len = 8 << 20;
        let endless = format!("HTTP/1.1 101 Switching Protocols\r\na: {}", "b".repeat(len));
        let mut response = Response::new(REQUEST);
        for end in 0..endless.len() {
            assert_eq!(response.parse(&endless.as_bytes()[..end]), Ok(None));
        }
    }

    #[test]
    fn where_none_is_offered_no_subprotocol_may_be_named() {
        let request = Request { subprotocol: "", ..REQUEST };
        let response = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: a\r\n\r\n";
        assert_eq!(
            Response::new(request).parse(response.as_bytes()),
            Err(ResponseError::Subprotocol)
        );
    }
}
