//! Lines of `name: value`, as HTTP has read them. A response is one that HTTP can write.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use libfuzzer_sys::fuzz_target;
use websocket::{Service, Subprotocols};

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(64) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next().and_then(|name| HeaderName::from_bytes(name).ok());
        let value = parts.next().and_then(|value| HeaderValue::from_bytes(value.trim_ascii()).ok());
        if let (Some(name), Some(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let services = [
        Service { subprotocols: Subprotocols::Of(&["v12.stomp", "v11.stomp"]), deflate: true },
        Service { subprotocols: Subprotocols::Any, deflate: false },
    ];
    for service in &services {
        match websocket::handshake(&Method::GET, http::Version::HTTP_11, &headers, service) {
            Ok(accept) => {
                assert!(accept.headers.contains_key("sec-websocket-accept"));
                assert!(service.deflate || accept.deflate.is_none());
            }
            Err(reject) => {
                assert!(reject.status().is_client_error());
                assert!(!reject.to_string().contains('\n'));
                if reject.status() == StatusCode::UPGRADE_REQUIRED {
                    assert!(reject.headers().contains_key("sec-websocket-version"));
                }
            }
        }
    }
});
