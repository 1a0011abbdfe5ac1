//! Requests to become a WebSocket, and the exact responses.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is a finding")]

use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use websocket::{Service, Subprotocol, Subprotocols, handshake};

const STOMP: &[&str] = &["v12.stomp", "v11.stomp", "v10.stomp"];

/// The response to a request, as it goes over the wire, but for the blank line.
fn response(request: &[u8], subprotocols: Subprotocols<'_>) -> String {
    let (method, version, headers) = parse(request);
    let service = Service { subprotocols, deflate: true };
    let (status, headers, body) = match handshake(&method, version, &headers, &service) {
        Ok(accept) => (http::StatusCode::SWITCHING_PROTOCOLS, accept.headers, String::new()),
        Err(reject) => (reject.status(), reject.headers(), format!("\n{reject}")),
    };
    let mut response = status.to_string();
    for (name, value) in &headers {
        write!(response, "\n{name}: {}", value.to_str().unwrap()).unwrap();
    }
    response + &body
}

/// A request, lines ended by LF.
fn parse(request: &[u8]) -> (Method, Version, HeaderMap) {
    let mut lines = request.split(|byte| *byte == b'\n');
    let first = String::from_utf8(lines.next().unwrap().to_vec()).unwrap();
    let mut words = first.split(' ');
    let method = words.next().unwrap().parse().unwrap();
    let version = match words.nth(1).unwrap() {
        "HTTP/1.0" => Version::HTTP_10,
        "HTTP/1.1" => Version::HTTP_11,
        _ => Version::HTTP_2,
    };
    let mut headers = HeaderMap::new();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':').unwrap();
        headers.append(
            HeaderName::from_bytes(&line[..colon]).unwrap(),
            HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).unwrap(),
        );
    }
    (method, version, headers)
}

/// The example of RFC 6455 section 1.2, as small as it can be.
const GOOD: &str = "GET /chat HTTP/1.1\n\
    Host: server.example.com\n\
    Upgrade: websocket\n\
    Connection: Upgrade\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n\
    Sec-WebSocket-Version: 13";

const GRANTED: &str = "101 Switching Protocols\n\
    upgrade: websocket\n\
    connection: Upgrade\n\
    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// [`GOOD`] with one line put in place of another; nothing removes it.
fn with(old: &str, new: &[u8]) -> Vec<u8> {
    assert!(GOOD.contains(old), "{old}");
    let mut lines: Vec<&[u8]> = GOOD.split('\n').map(str::as_bytes).collect();
    let at = lines.iter().position(|line| line.starts_with(old.as_bytes())).unwrap();
    lines[at] = new;
    lines.retain(|line| !line.is_empty());
    lines.join(&b'\n')
}

/// [`GOOD`] with more lines.
fn and(lines: &[u8]) -> Vec<u8> {
    [GOOD.as_bytes(), b"\n", lines].concat()
}

#[test]
fn bad_requests_are_refused() {
    let method = "405 Method Not Allowed\nallow: GET\na WebSocket is opened with GET";
    let http = bad("a WebSocket is opened with HTTP/1.1");
    let body = bad("a request to open a WebSocket has no body");
    let upgrade = required("a WebSocket is opened here: send `Upgrade: websocket`");
    let connection = bad("the Connection header must name Upgrade");
    let no_version = required("Sec-WebSocket-Version is missing: send 13, 8 or 6");
    let other = required("Sec-WebSocket-Version must be 13, 8 or 6");
    let no_key = bad("Sec-WebSocket-Key is missing");
    let key = bad("Sec-WebSocket-Key must be 16 bytes in base64, once");
    let names = bad("Sec-WebSocket-Protocol must be a list of at most 64 different names");
    let many: Vec<String> = (0..65).map(|number| format!("p{number}")).collect();
    let many = format!("Sec-WebSocket-Protocol: {}", many.join(","));

    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("POST", with("GET", b"POST /chat HTTP/1.1"), method),
        ("HEAD", with("GET", b"HEAD /chat HTTP/1.1"), method),
        ("a method is upper-case", with("GET", b"get /chat HTTP/1.1"), method),
        ("CONNECT", with("GET", b"CONNECT /chat HTTP/1.1"), method),
        ("HTTP/1.0", with("GET", b"GET /chat HTTP/1.0"), &http),
        ("HTTP/2 does not upgrade", with("GET", b"GET /chat HTTP/2"), &http),
        ("a body of known length", and(b"Content-Length: 5"), &body),
        ("a body of two lengths", and(b"Content-Length: 0\nContent-Length: 5"), &body),
        ("a body in chunks", and(b"Transfer-Encoding: chunked"), &body),
        ("no Upgrade: a browser's address line", with("Upgrade", b""), &upgrade),
        ("an empty Upgrade", with("Upgrade", b"Upgrade:"), &upgrade),
        ("an Upgrade to HTTP/2", with("Upgrade", b"Upgrade: h2c"), &upgrade),
        ("not quite WebSocket", with("Upgrade", b"Upgrade: websockets"), &upgrade),
        ("a WebSocket with a version", with("Upgrade", b"Upgrade: websocket/13"), &upgrade),
        ("a WebSocket and a blank", with("Upgrade", b"Upgrade: web socket"), &upgrade),
        ("a quoted WebSocket", with("Upgrade", b"Upgrade: \"websocket\""), &upgrade),
        ("a version without a name", with("Upgrade", b"Upgrade: /websocket"), &upgrade),
        ("commas only for Upgrade", with("Upgrade", b"Upgrade: ,\t, ,"), &upgrade),
        ("another separator than a comma", with("Upgrade", b"Upgrade: h2c; websocket"), &upgrade),
        ("an Upgrade in Latin-1", with("Upgrade", b"Upgrade: websocket\xE9"), &upgrade),
        ("no Connection", with("Connection", b""), &connection),
        ("keep-alive only", with("Connection", b"Connection: keep-alive"), &connection),
        ("close", with("Connection", b"Connection: close"), &connection),
        ("a quoted option", with("Connection", b"Connection: \"Upgrade\""), &connection),
        (
            "an option with a blank",
            with("Connection", b"Connection: keep alive Upgrade"),
            &connection,
        ),
        ("an option with a version", with("Connection", b"Connection: Upgrade/1"), &connection),
        ("an empty list of options", with("Connection", b"Connection: , ,"), &connection),
        ("no version: a draft before 4", with("Sec-WebSocket-V", b""), &no_version),
        ("version 0", with("Sec-WebSocket-V", b"Sec-WebSocket-Version: 0"), &other),
        ("version 7", with("Sec-WebSocket-V", b"Sec-WebSocket-Version: 7"), &other),
        ("version 14", with("Sec-WebSocket-V", b"Sec-WebSocket-Version: 14"), &other),
        ("version 255", with("Sec-WebSocket-V", b"Sec-WebSocket-Version: 255"), &other),
        ("version 256", with("Sec-WebSocket-V", b"Sec-WebSocket-Version: 256"), &other),
        ("version 013", with("Sec-WebSocket-V", b"Sec-WebSocket-Version: 013"), &other),
        ("version +13", with("Sec-WebSocket-V", b"Sec-WebSocket-Version: +13"), &other),
        ("version -1", with("Sec-WebSocket-V", b"Sec-WebSocket-Version: -1"), &other),
        ("a version in words", with("Sec-WebSocket-V", b"Sec-WebSocket-Version: latest"), &other),
        ("an empty version", with("Sec-WebSocket-V", b"Sec-WebSocket-Version:"), &other),
        ("a version in Latin-1", with("Sec-WebSocket-V", b"Sec-WebSocket-Version: \xB9"), &other),
        (
            "a version of 40 digits",
            with("Sec-WebSocket-V", &[&b"Sec-WebSocket-Version: "[..], &[b'1'; 40]].concat()),
            &other,
        ),
        (
            "a version with a fraction",
            with("Sec-WebSocket-V", b"Sec-WebSocket-Version: 13.0"),
            &other,
        ),
        ("a quoted version", with("Sec-WebSocket-V", b"Sec-WebSocket-Version: \"13\""), &other),
        ("a list with one version", with("Sec-WebSocket-V", b"Sec-WebSocket-Version: 13,"), &other),
        ("a list of versions", with("Sec-WebSocket-V", b"Sec-WebSocket-Version: 13, 8"), &other),
        ("two versions", and(b"Sec-WebSocket-Version: 8"), &other),
        ("two versions, one of them in words", and(b"Sec-WebSocket-Version: latest"), &other),
        ("one version twice", and(b"Sec-WebSocket-Version: 13"), &other),
        ("no key", with("Sec-WebSocket-K", b""), &no_key),
        ("an empty key", with("Sec-WebSocket-K", b"Sec-WebSocket-Key:"), &key),
        (
            "a key of 15 bytes",
            with("Sec-WebSocket-K", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA"),
            &key,
        ),
        (
            "a key of 17 bytes",
            with("Sec-WebSocket-K", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA="),
            &key,
        ),
        (
            "a key of 18 bytes",
            with("Sec-WebSocket-K", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAAA"),
            &key,
        ),
        (
            "a long key",
            with("Sec-WebSocket-K", format!("Sec-WebSocket-Key: {}", "A".repeat(4096)).as_bytes()),
            &key,
        ),
        (
            "a key without its padding",
            with("Sec-WebSocket-K", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"),
            &key,
        ),
        (
            "a key in base64url",
            with("Sec-WebSocket-K", b"Sec-WebSocket-Key: __--IHNhbXBsZSBub25jZQ=="),
            &key,
        ),
        (
            "a key that is no base64",
            with("Sec-WebSocket-K", b"Sec-WebSocket-Key: 4 @1  46546xW%0l 1 5"),
            &key,
        ),
        (
            "a key in Latin-1",
            with("Sec-WebSocket-K", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ\xE9=="),
            &key,
        ),
        ("two keys", and(b"Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw=="), &key),
        ("a subprotocol twice", and(b"Sec-WebSocket-Protocol: v12.stomp, v12.stomp"), &names),
        (
            "twice in two headers",
            and(b"Sec-WebSocket-Protocol: a\nSec-WebSocket-Protocol: b, a"),
            &names,
        ),
        ("twice around what is ignored", and(b"Sec-WebSocket-Protocol: a, amqp/1.0, a"), &names),
        ("65 subprotocols", and(many.as_bytes()), &names),
        (
            "65 of which none can be one",
            and(format!("Sec-WebSocket-Protocol: {}", "/,".repeat(65)).as_bytes()),
            &names,
        ),
    ];
    assert!(cases.len() >= 40);
    for (rule, request, expected) in cases {
        assert_eq!(response(request, Subprotocols::Of(STOMP)), *expected, "{rule}");
    }
}

fn bad(message: &str) -> String {
    format!("400 Bad Request\n{message}")
}

fn required(message: &str) -> String {
    format!(
        "426 Upgrade Required\nupgrade: websocket\nconnection: Upgrade\n\
         sec-websocket-version: 13, 8, 6\n{message}"
    )
}

#[test]
fn good_requests_are_granted() {
    let many: Vec<String> = (0..64).map(|number| format!("p{number}")).collect();
    let many = format!("Sec-WebSocket-Protocol: {}", many.join(","));
    let stomp = |name| format!("{GRANTED}\nsec-websocket-protocol: {name}");
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("the example of the RFC", GOOD.into(), GRANTED),
        ("version 8", with("Sec-WebSocket-V", b"Sec-WebSocket-Version: 8"), GRANTED),
        ("names in any case", with("Upgrade", b"UPGRADE: WebSocket"), GRANTED),
        ("Firefox's Connection", with("Connection", b"Connection: keep-alive, Upgrade"), GRANTED),
        (
            "Connection in two headers",
            with("Connection", b"Connection: keep-alive\nConnection: upgrade"),
            GRANTED,
        ),
        ("several upgrades", with("Upgrade", b"Upgrade: h2c, websocket"), GRANTED),
        ("one with a version", with("Upgrade", b"Upgrade: websocket, HTTP/2.0"), GRANTED),
        ("one with a version first", with("Upgrade", b"Upgrade: HTTP/2.0,websocket"), GRANTED),
        ("in two lines", with("Upgrade", b"Upgrade: TLS/1.0\nUpgrade: websocket"), GRANTED),
        ("in two lines, the other way", and(b"Upgrade: h2c"), GRANTED),
        ("empty members", with("Upgrade", b"Upgrade: ,, websocket ,"), GRANTED),
        ("tabs", with("Upgrade", b"Upgrade: h2c\t,\twebsocket\t"), GRANTED),
        ("capitals", with("Upgrade", b"Upgrade: WEBSOCKET"), GRANTED),
        (
            "what is no protocol is ignored",
            with("Upgrade", b"Upgrade: a b, \xE9, websocket"),
            GRANTED,
        ),
        ("twice", with("Upgrade", b"Upgrade: websocket, WebSocket"), GRANTED),
        ("empty options", with("Connection", b"Connection: ,keep-alive,\t,UPGRADE,"), GRANTED),
        (
            "what is no option is ignored",
            with("Connection", b"Connection: a b, \xE9,Upgrade"),
            GRANTED,
        ),
        (
            "upgrade, then close",
            with("Connection", b"Connection: Upgrade\nConnection: close"),
            GRANTED,
        ),
        ("an empty body", and(b"Content-Length: 0"), GRANTED),
        (
            "the highest STOMP, whatever the client prefers",
            and(b"Sec-WebSocket-Protocol: v10.stomp, v12.stomp, v11.stomp"),
            &stomp("v12.stomp"),
        ),
        (
            "in several headers",
            and(b"Sec-WebSocket-Protocol: mqtt\nSec-WebSocket-Protocol: v11.stomp"),
            &stomp("v11.stomp"),
        ),
        ("no subprotocol that is spoken", and(b"Sec-WebSocket-Protocol: mqtt, V12.STOMP"), GRANTED),
        ("no subprotocol in the list", and(b"Sec-WebSocket-Protocol:"), GRANTED),
        ("commas only", and(b"Sec-WebSocket-Protocol: ,\t,"), GRANTED),
        (
            "empty members and tabs",
            and(b"Sec-WebSocket-Protocol: ,\tv11.stomp\t,,"),
            &stomp("v11.stomp"),
        ),
        (
            "what can be no name is ignored",
            and(b"Sec-WebSocket-Protocol: amqp/1.0, v12 stomp, \xE9, \"v12.stomp\", v10.stomp"),
            &stomp("v10.stomp"),
        ),
        ("nothing else", and(b"Sec-WebSocket-Protocol: amqp/1.0"), GRANTED),
        ("64 subprotocols", and(many.as_bytes()), GRANTED),
        ("another extension", and(b"Sec-WebSocket-Extensions: x-webkit-deflate-frame"), GRANTED),
        ("no extension", and(b"Sec-WebSocket-Extensions:"), GRANTED),
    ];
    for (rule, request, expected) in cases {
        assert_eq!(response(request, Subprotocols::Of(STOMP)), *expected, "{rule}");
    }
}

#[test]
fn the_draft_of_2011_is_granted_without_extension() {
    let request = b"GET /ws HTTP/1.1\n\
        Host: pmx\n\
        Upgrade: websocket\n\
        Connection: Upgrade\n\
        Sec-WebSocket-Version: 6\n\
        Sec-WebSocket-Origin: http://pmx\n\
        Sec-WebSocket-Extensions: deflate-stream\n\
        Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==";
    let granted = "101 Switching Protocols\n\
        upgrade: websocket\n\
        connection: Upgrade\n\
        sec-websocket-accept: HSmrc0sMlYUkAGmm5OPpG2HaGWk=";
    assert_eq!(response(request, Subprotocols::Of(STOMP)), granted);

    let (method, version, mut headers) = parse(request);
    headers.insert("sec-websocket-extensions", HeaderValue::from_static("permessage-deflate"));
    let service = Service { subprotocols: Subprotocols::Any, deflate: true };
    let accept = handshake(&method, version, &headers, &service).unwrap();
    assert_eq!((accept.version, accept.deflate), (websocket::Version::Hybi06, None));
}

const KAAZING: &str = "x-kaazing-handshake";

#[test]
fn what_became_of_the_subprotocols_is_told() {
    let cases: &[(&str, &str, Subprotocols<'_>, Subprotocol)] = &[
        ("none offered", "", Subprotocols::Of(STOMP), Subprotocol::None),
        ("none offered, any would do", "", Subprotocols::Any, Subprotocol::None),
        (
            "one is spoken",
            "x, v10.stomp",
            Subprotocols::Of(STOMP),
            Subprotocol::Chosen("v10.stomp".into()),
        ),
        ("none is spoken", "x, y", Subprotocols::Of(STOMP), Subprotocol::Unsupported),
        ("any does", "binary, amqp", Subprotocols::Any, Subprotocol::Chosen("binary".into())),
        (
            "any that can be one",
            "amqp/1.0, binary",
            Subprotocols::Any,
            Subprotocol::Chosen("binary".into()),
        ),
        ("what can be none is not spoken", "amqp/1.0", Subprotocols::Any, Subprotocol::Unsupported),
        ("Kaazing's clients", KAAZING, Subprotocols::Any, Subprotocol::None),
        ("Kaazing's clients, STOMP", KAAZING, Subprotocols::Of(STOMP), Subprotocol::None),
        (
            "Kaazing's clients with a subprotocol",
            "x-kaazing-handshake, binary",
            Subprotocols::Any,
            Subprotocol::Chosen("binary".into()),
        ),
        (
            "the other way",
            "binary,x-kaazing-handshake",
            Subprotocols::Any,
            Subprotocol::Chosen("binary".into()),
        ),
        (
            "Kaazing's clients with one that is not spoken",
            "x-kaazing-handshake, amqp",
            Subprotocols::Of(STOMP),
            Subprotocol::Unsupported,
        ),
    ];
    for (rule, offered, subprotocols, expected) in cases {
        let header = format!("Sec-WebSocket-Protocol: {offered}");
        let request = if offered.is_empty() { GOOD.into() } else { and(header.as_bytes()) };
        let (method, version, headers) = parse(&request);
        let service = Service { subprotocols: *subprotocols, deflate: false };
        let accept = handshake(&method, version, &headers, &service).unwrap();
        assert_eq!(accept.subprotocol, *expected, "{rule}");
    }
    let reject = websocket::Reject::Subprotocol(STOMP.join(", "));
    let message = "Sec-WebSocket-Protocol must offer one of: v12.stomp, v11.stomp, v10.stomp";
    assert_eq!((reject.status().as_u16(), reject.to_string().as_str()), (400, message));
}

#[test]
fn compression_is_agreed_on_by_rfc7692() {
    let agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    let with_bits = |bits: &str| format!("{agreed}; server_max_window_bits={bits}");
    let cases: &[(&str, &str, Option<&str>)] = &[
        ("no parameter", "permessage-deflate", Some(agreed)),
        ("Chrome and Firefox", "permessage-deflate; client_max_window_bits", Some(agreed)),
        (
            "a bound of the client's window",
            "permessage-deflate; client_max_window_bits=10",
            Some(agreed),
        ),
        (
            "8 bits of the client's window",
            "permessage-deflate; client_max_window_bits=8",
            Some(agreed),
        ),
        (
            "no context",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            Some(agreed),
        ),
        (
            "a server's window",
            "permessage-deflate; server_max_window_bits=9",
            Some(&with_bits("9")),
        ),
        ("the largest", "permessage-deflate; server_max_window_bits=15", Some(&with_bits("15"))),
        ("quoted", "permessage-deflate; server_max_window_bits=\"1\\0\"", Some(&with_bits("10"))),
        ("blanks", "\tpermessage-deflate ;server_max_window_bits = 12 ,", Some(&with_bits("12"))),
        ("zlib has no window of 8 bits", "permessage-deflate; server_max_window_bits=8", None),
        (
            "the next offer, then",
            "permessage-deflate; server_max_window_bits=8, permessage-deflate",
            Some(agreed),
        ),
        ("another extension first", "x; a=b, permessage-deflate", Some(agreed)),
        ("a server's window without bits", "permessage-deflate; server_max_window_bits", None),
        ("7 bits", "permessage-deflate; server_max_window_bits=7", None),
        ("16 bits", "permessage-deflate; client_max_window_bits=16", None),
        ("a leading zero", "permessage-deflate; server_max_window_bits=09", None),
        ("bits in words", "permessage-deflate; client_max_window_bits=ten", None),
        ("a value where none is", "permessage-deflate; server_no_context_takeover=1", None),
        ("the client's too", "permessage-deflate; client_no_context_takeover=true", None),
        ("an unknown parameter", "permessage-deflate; foo", None),
        (
            "a parameter twice",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=9",
            None,
        ),
        ("a name in capitals", "Permessage-Deflate", None),
        ("nothing after a semicolon", "permessage-deflate;", None),
        ("a parameter without a value", "permessage-deflate; client_max_window_bits=", None),
        ("an empty quoted value", "permessage-deflate; client_max_window_bits=\"\"", None),
        ("a quoted value that is no token", "permessage-deflate; a=\"1 2\"", None),
        ("an open quote", "permessage-deflate; client_max_window_bits=\"10", None),
        ("what follows a quote", "permessage-deflate; client_max_window_bits=\"10\"0", None),
        ("no comma", "x permessage-deflate", None),
        ("no comma behind it", "permessage-deflate x", None),
        (
            "a malformed offer, then a good one",
            "permessage-deflate;=, permessage-deflate",
            Some(agreed),
        ),
        ("another without a name", "; a, permessage-deflate", Some(agreed)),
        ("another with odd parameters", "x; a=; =b, permessage-deflate", Some(agreed)),
        ("another with a comma in quotes", "x; a=\"1, \\\" ,2\", permessage-deflate", Some(agreed)),
        ("what stands in quotes is no offer", "x; a=\"1, permessage-deflate, 2\"", None),
        ("a backslash at the end of a string", "x; a=\"1\\\\\", permessage-deflate", Some(agreed)),
        ("a quote that stays open takes all", "x; a=\"1, permessage-deflate", None),
        ("another in Latin-1", "x\u{e9}, permessage-deflate", Some(agreed)),
        ("two lines", "x; a=\"1\nSec-WebSocket-Extensions: permessage-deflate", Some(agreed)),
    ];
    for (rule, offer, expected) in cases {
        let request = and(format!("Sec-WebSocket-Extensions: {offer}").as_bytes());
        let mut lines = GRANTED.to_owned();
        if let Some(expected) = expected {
            write!(lines, "\nsec-websocket-extensions: {expected}").unwrap();
        }
        assert_eq!(response(&request, Subprotocols::Of(STOMP)), lines, "{rule}");
    }
    let (method, version, headers) = parse(&and(b"Sec-WebSocket-Extensions: permessage-deflate"));
    let service = Service { subprotocols: Subprotocols::Any, deflate: false };
    let accept = handshake(&method, version, &headers, &service).unwrap();
    assert_eq!(accept.deflate, None, "a service may not want it");
    assert!(!accept.headers.contains_key("sec-websocket-extensions"));
}
